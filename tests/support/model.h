/* SPDX-License-Identifier: MIT */
/*
 * What should be in memory that the CPU and the device write in turns: a tag
 * of a pattern for each cell of a page's size, which need not be aligned.
 *
 * Functions assert, so they are for the main thread; a failure names the cell.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "fake_driver.h"

#define TEST_MODEL_CELLS 4096

struct test_model {
	struct fake_driver *d;
	unsigned char *mem;
	unsigned long cells;
	/* Of fake_access(): whether the device takes the memory. */
	unsigned int flags;
	/* 0 is a cell of zeros. */
	unsigned int tag[TEST_MODEL_CELLS];
};

/* @size is cut to whole cells; the memory is zeros. */
struct test_model *test_model_create(struct fake_driver *d, void *mem,
				     size_t size, unsigned int flags);
/* The same contents at another place, or nothing known but zeros there. */
void test_model_moved(struct test_model *m, void *mem);
void test_model_zeroed(struct test_model *m, unsigned long first,
		       unsigned long n);

void test_model_cpu_write(struct test_model *m, unsigned long first,
			  unsigned long n);
void test_model_dev_write(struct test_model *m, unsigned long first,
			  unsigned long n);
void test_model_cpu_check(struct test_model *m, unsigned long first,
			  unsigned long n);
void test_model_dev_check(struct test_model *m, unsigned long first,
			  unsigned long n);
/* First wrong cell, as the CPU sees it, or m->cells; any process or thread. */
unsigned long test_model_find_wrong(const struct test_model *m,
				    unsigned long first, unsigned long n);
/* A round by both on all cells, each reading what the other wrote. */
void test_model_play(struct test_model *m);

/*
 * Flags of fake_access() for memory of malloc(): FAKE_ACCESS_MIGRATE, but not
 * where a sanitizer has memory of its own around it, without which it cannot
 * even serve a fault, nor where nobody tells of what libc does to it.
 */
unsigned int test_malloc_migrates(void);

/*
 * free(), and wait until what it tells has been acted on; announced if nothing
 * else tells.
 */
void test_free_block(void *mem);

/* What the device gets that writes a byte at an address: 0 or an error. */
int test_dev_poke(struct fake_driver *d, void *addr);

#endif /* TESTS_MODEL_H */
