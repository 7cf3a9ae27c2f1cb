/* SPDX-License-Identifier: MIT */
/* What should be in memory: see model.h. */
#include "model.h"

#include <gpusvm/hooks.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pages of 64K exist. */
#define MOST_PAGE 65536

/* Of all models, so that what is left over of another is seen. */
static unsigned int last_tag;

struct test_model *test_model_create(struct fake_driver *d, void *mem,
				     size_t size, unsigned int flags)
{
	struct test_model *m = gpusvm_alloc(sizeof(*m));

	assert_non_null(m);
	test_cleanup(gpusvm_free, m);
	m->d = d;
	m->mem = mem;
	m->cells = size / PS;
	m->flags = flags;
	assert_true(m->cells <= TEST_MODEL_CELLS);
	return m;
}

void test_model_moved(struct test_model *m, void *mem)
{
	m->mem = mem;
}

void test_model_zeroed(struct test_model *m, unsigned long first,
		       unsigned long n)
{
	memset(&m->tag[first], 0, n * sizeof(*m->tag));
}

static bool is_right(const unsigned char *data, unsigned int tag)
{
	if (!tag)
		return test_match_byte(data, PS, 0) == PS;
	return test_match(data, PS, tag) == PS;
}

static void complain(struct test_model *m, unsigned long cell, const char *who,
		     const unsigned char *data)
{
	fail_msg("%s at %p, cell %lu: not tag %u, begins with %#x, zeros: %d",
		 who, (void *)(m->mem + cell * PS), cell, m->tag[cell], data[0],
		 test_match_byte(data, PS, 0) == PS);
}

static void device(struct test_model *m, unsigned long cell,
		   unsigned char *buffer, bool write)
{
	assert_ret(fake_access(m->d, m->mem + cell * PS, buffer, PS,
			       m->flags | (write ? FAKE_ACCESS_WRITE : 0)),
		   0);
}

void test_model_cpu_write(struct test_model *m, unsigned long first,
			  unsigned long n)
{
	unsigned long i;

	for (i = first; i < first + n; i++) {
		m->tag[i] = ++last_tag;
		test_fill(m->mem + i * PS, PS, m->tag[i]);
	}
}

void test_model_dev_write(struct test_model *m, unsigned long first,
			  unsigned long n)
{
	unsigned char buffer[MOST_PAGE];
	unsigned long i;

	for (i = first; i < first + n; i++) {
		m->tag[i] = ++last_tag;
		test_fill(buffer, PS, m->tag[i]);
		device(m, i, buffer, true);
	}
}

unsigned long test_model_find_wrong(const struct test_model *m,
				    unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = first; i < first + n; i++)
		if (!is_right(m->mem + i * PS, m->tag[i]))
			return i;
	return m->cells;
}

void test_model_cpu_check(struct test_model *m, unsigned long first,
			  unsigned long n)
{
	unsigned long i = test_model_find_wrong(m, first, n);

	if (i < m->cells)
		complain(m, i, "the CPU", m->mem + i * PS);
}

void test_model_dev_check(struct test_model *m, unsigned long first,
			  unsigned long n)
{
	unsigned char buffer[MOST_PAGE];
	unsigned long i;

	for (i = first; i < first + n; i++) {
		device(m, i, buffer, false);
		if (!is_right(buffer, m->tag[i]))
			complain(m, i, "the device", buffer);
	}
}

void test_model_play(struct test_model *m)
{
	test_model_dev_check(m, 0, m->cells);
	test_model_dev_write(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
	test_model_cpu_write(m, 0, m->cells);
	test_model_dev_check(m, 0, m->cells);
}

int test_dev_poke(struct fake_driver *d, void *addr)
{
	char byte = 'x';

	return fake_access(d, addr, &byte, 1, FAKE_ACCESS_WRITE);
}

unsigned int test_malloc_migrates(void)
{
	return test_others_map() || test_announces() ? 0 : FAKE_ACCESS_MIGRATE;
}

/*
 * What is given back may be more than the block: the header before it, free
 * memory behind it up to the break.
 */
void test_free_block(void *mem)
{
	uintptr_t start = (uintptr_t)mem - PS;
	uintptr_t end = (uintptr_t)mem + malloc_usable_size(mem);
	uintptr_t top = (uintptr_t)sbrk(0);
	struct gpusvm_change change;

	if (start < top)
		end = top;
	if (!test_announces()) {
		free(mem);
		gpusvm_mm_sync(test_mm);
		return;
	}
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, (void *)start,
			    end - start);
	free(mem);
	gpusvm_change_end(&change, true);
}
