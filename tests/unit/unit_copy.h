/* SPDX-License-Identifier: MIT */
/*
 * What every copy engine must do, as tests: the bytes that belong somewhere are
 * there afterwards, and no others have changed.
 *
 * A test program defines new_engine() and runs COPY_TESTS.  Device memory is a
 * memfd that is mapped, so that every engine can reach it; it belongs to two
 * pagemaps whose structures of pages are adjacent.  A model, copied page by
 * page, says what must come out.
 */
#ifndef TESTS_UNIT_COPY_H
#define TESTS_UNIT_COPY_H

#include "unit.h"

#include <errno.h>
#include <gpusvm/copy.h>
#include <gpusvm/pagemap.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc.h"
#include "compiler.h"
#include "page.h"
#include "page_size.h"

/* Runs of half of it are large enough for whatever an engine does at size. */
#define COPY_PAGES 320ul
#define COPY_HALF (COPY_PAGES / 2)
#define COPY_BYTES (COPY_PAGES * PAGE_SIZE)

/* The program's: the engine to test; a test fails if there is none. */
static struct gpusvm_copy_engine *new_engine(void);

static uint64_t copy_seed;
static struct gpusvm_copy_engine *copy_engine;
static struct page copy_array[COPY_PAGES];
static struct dev_pagemap copy_pgmap[2];
static struct gpusvm_pagemap_file copy_file[2];
static int copy_fd;
/* One page more than is used, for addresses that are not those of pages. */
static unsigned char *copy_device, *copy_ram;
static unsigned char *model_device, *model_ram;
static struct page *copy_pages[COPY_PAGES];
static dma_addr_t copy_addr[COPY_PAGES];

static inline void copy_fill(unsigned char *memory, size_t size,
			     unsigned int tag)
{
	uint64_t random = tag, value;
	size_t i;

	for (i = 0; i < size; i += sizeof(value)) {
		value = unit_random(&random);
		memcpy(memory + i, &value, sizeof(value));
	}
}

static inline void copy_refill(void)
{
	copy_fill(model_device, COPY_BYTES, 1);
	copy_fill(model_ram, COPY_BYTES + PAGE_SIZE, 2);
	memcpy(copy_device, model_device, COPY_BYTES);
	memcpy(copy_ram, model_ram, COPY_BYTES + PAGE_SIZE);
}

/* Where the halves of device memory are, in bytes. */
static inline void copy_place(unsigned int half, unsigned long offset)
{
	copy_pgmap[half].range.start = (u64)copy_device + offset;
	copy_pgmap[half].range.end =
		copy_pgmap[half].range.start + COPY_HALF * PAGE_SIZE - 1;
	copy_file[half].offset = offset;
}

static inline int copy_setup(void **state)
{
	unsigned long i;

	(void)state;
	copy_engine = new_engine();
	copy_fd = memfd_create("device memory", MFD_CLOEXEC);
	if (!copy_engine || copy_fd < 0 ||
	    ftruncate(copy_fd, (off_t)COPY_BYTES))
		return -1;
	copy_device = mmap(NULL, COPY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			   copy_fd, 0);
	copy_ram = gpusvm_alloc_pages(COPY_BYTES + PAGE_SIZE, PAGE_SIZE);
	model_device = malloc(COPY_BYTES);
	model_ram = malloc(COPY_BYTES + PAGE_SIZE);
	if (copy_device == MAP_FAILED || !copy_ram || !model_device ||
	    !model_ram)
		return -1;
	for (i = 0; i < COPY_PAGES; i++) {
		copy_array[i] =
			(struct page){ .pgmap = &copy_pgmap[i / COPY_HALF] };
		copy_pages[i] = &copy_array[i];
		copy_addr[i] = (dma_addr_t)copy_ram + i * PAGE_SIZE;
	}
	for (i = 0; i < 2; i++) {
		copy_file[i] = (struct gpusvm_pagemap_file){ .fd = copy_fd,
							     .mapped = true };
		copy_pgmap[i] = (struct dev_pagemap){
			.pages = copy_array + COPY_HALF * i,
			.engine = copy_engine,
			.file = &copy_file[i],
		};
		copy_place((unsigned int)i, COPY_HALF * i * PAGE_SIZE);
	}
	copy_refill();
	return 0;
}

static inline int copy_teardown(void **state)
{
	(void)state;
	gpusvm_copy_engine_destroy(copy_engine);
	free(model_ram);
	free(model_device);
	gpusvm_free_pages(copy_ram, COPY_BYTES + PAGE_SIZE);
	munmap(copy_device, COPY_BYTES);
	close(copy_fd);
	return 0;
}

/* Page @i of the arrays in the model of device memory. */
static inline unsigned char *model_page(unsigned long i)
{
	unsigned long page = (unsigned long)(copy_pages[i] - copy_array);

	return model_device + copy_file[page / COPY_HALF].offset +
	       page % COPY_HALF * PAGE_SIZE;
}

static inline unsigned char *model_addr(unsigned long i)
{
	return model_ram + (copy_addr[i] - (dma_addr_t)copy_ram);
}

static inline void assert_as_model(void)
{
	assert_memory_equal(copy_device, model_device, COPY_BYTES);
	assert_memory_equal(copy_ram, model_ram, COPY_BYTES + PAGE_SIZE);
}

static inline void copy_out_and_check(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = first; i < first + n; i++) {
		if (copy_pages[i] && copy_addr[i])
			memcpy(model_page(i), model_addr(i), PAGE_SIZE);
		else if (copy_pages[i])
			memset(model_page(i), 0, PAGE_SIZE);
	}
	assert_int_equal(gpusvm_copy_to_devmem(copy_pages + first,
					       copy_addr + first, n),
			 0);
	assert_as_model();
}

static inline void copy_home_and_check(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = first; i < first + n; i++)
		if (copy_pages[i] && copy_addr[i])
			memcpy(model_addr(i), model_page(i), PAGE_SIZE);
	assert_int_equal(gpusvm_copy_to_ram(copy_pages + first,
					    copy_addr + first, n),
			 0);
	assert_as_model();
}

static inline void copy_both_and_check(void)
{
	copy_refill();
	copy_out_and_check(0, COPY_PAGES);
	copy_refill();
	copy_home_and_check(0, COPY_PAGES);
}

/* ---- Tests ---- */

static inline void all_sizes_are_copied(void **state)
{
	static const unsigned long sizes[] = {
		1, 2, 3, 4, 15, 16, 17, 63, 64, 127, 128, 129, 160, 320
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		copy_refill();
		copy_out_and_check(0, sizes[i]);
		copy_refill();
		copy_home_and_check(COPY_PAGES - sizes[i], sizes[i]);
	}
}

static inline void pagemaps_out_of_order_are_copied(void **state)
{
	(void)state;
	/* One copy across both would go wrong. */
	copy_place(0, COPY_HALF * PAGE_SIZE);
	copy_place(1, 0);
	copy_both_and_check();
}

static inline void scattered_pages_are_copied(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < COPY_PAGES; i++)
		copy_pages[i] = &copy_array[COPY_PAGES - 1 - i];
	copy_both_and_check();
	for (i = 0; i < COPY_PAGES; i++) {
		copy_pages[i] = &copy_array[i];
		copy_addr[i] = (dma_addr_t)copy_ram + (i ^ 1) * PAGE_SIZE;
	}
	copy_both_and_check();
}

static inline void holes_are_cleared(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < COPY_PAGES; i++)
		if (i % 5 == 1 || (i > 40 && i < 140) || i > 300)
			copy_addr[i] = 0;
	copy_both_and_check();
	memset(copy_addr, 0, sizeof(copy_addr));
	copy_both_and_check();
}

static inline void entries_without_page_are_skipped(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < COPY_PAGES; i++)
		if (i % 7 == 3 || i < 2 || (i > 100 && i < 130))
			copy_pages[i] = NULL;
	copy_both_and_check();
	for (i = 0; i < COPY_PAGES; i += 3)
		copy_addr[i] = 0;
	copy_both_and_check();
}

static inline void nothing_copies_nothing(void **state)
{
	(void)state;
	copy_out_and_check(0, 0);
	copy_home_and_check(0, 0);
	memset(copy_pages, 0, sizeof(copy_pages));
	copy_both_and_check();
	memset(copy_addr, 0, sizeof(copy_addr));
	copy_both_and_check();
}

/* A device that has addresses of its own need not keep to pages. */
static inline void any_alignment_is_copied(void **state)
{
	static const unsigned int shifts[] = {
		1, 2, 8, 15, 16, 32, 63, 64, 512
	};
	unsigned int s;
	unsigned long i;

	(void)state;
	for (s = 0; s < ARRAY_SIZE(shifts); s++) {
		for (i = 0; i < COPY_PAGES; i++)
			copy_addr[i] = (dma_addr_t)copy_ram + shifts[s] +
				       i * PAGE_SIZE;
		copy_both_and_check();
	}
}

static inline void any_mix_is_copied(void **state)
{
	uint64_t random = copy_seed;
	unsigned long i, j, round, from, scattered;
	struct page *page;

	(void)state;
	for (round = 0; round < 40; round++) {
		scattered = unit_random_below(&random, 3) ? 40 : 2;
		for (i = 0; i < COPY_PAGES; i++) {
			copy_pages[i] = &copy_array[i];
			copy_addr[i] = (dma_addr_t)copy_ram + i * PAGE_SIZE;
		}
		for (i = 0; i < COPY_PAGES; i++) {
			if (unit_random_below(&random, scattered))
				continue;
			/* No page twice: what comes last would be chance. */
			j = unit_random_below(&random, COPY_PAGES);
			page = copy_pages[i];
			copy_pages[i] = copy_pages[j];
			copy_pages[j] = page;
		}
		for (i = 0; i < COPY_PAGES; i++) {
			from = unit_random_below(&random, scattered);
			if (!from)
				copy_addr[i] = 0;
			else if (from == 1)
				copy_pages[i] = NULL;
		}
		copy_both_and_check();
	}
}

/* ---- Several at once ---- */

#define COPIERS 4ul
#define COPIER_PAGES (COPY_PAGES / COPIERS)
#define COPIER_ROUNDS 30u

static inline void *copy_often(void *arg)
{
	unsigned long first = (unsigned long)arg * COPIER_PAGES;
	unsigned char *ram = copy_ram + first * PAGE_SIZE;
	size_t size = COPIER_PAGES * PAGE_SIZE;
	unsigned char *data = malloc(size);
	unsigned int round;
	bool good = data;

	for (round = 0; good && round < COPIER_ROUNDS; round++) {
		copy_fill(data, size, (unsigned int)first + round + 10);
		memcpy(ram, data, size);
		good = !gpusvm_copy_to_devmem(copy_pages + first,
					      copy_addr + first, COPIER_PAGES);
		memset(ram, 0xee, size);
		good = good &&
		       !gpusvm_copy_to_ram(copy_pages + first,
					   copy_addr + first, COPIER_PAGES) &&
		       !memcmp(ram, data, size);
	}
	free(data);
	return (void *)(unsigned long)good;
}

static inline void copies_at_once_do_not_disturb_each_other(void **state)
{
	pthread_t thread[COPIERS];
	unsigned long i;
	void *good[COPIERS];

	(void)state;
	for (i = 0; i < COPIERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, copy_often,
						(void *)i),
				 0);
	for (i = 0; i < COPIERS; i++)
		assert_int_equal(pthread_join(thread[i], &good[i]), 0);
	for (i = 0; i < COPIERS; i++)
		assert_non_null(good[i]);
}

#define copy_test(fn) \
	cmocka_unit_test_setup_teardown(fn, copy_setup, copy_teardown)

#define COPY_TESTS                                           \
	copy_test(all_sizes_are_copied),                     \
		copy_test(pagemaps_out_of_order_are_copied), \
		copy_test(scattered_pages_are_copied),       \
		copy_test(holes_are_cleared),                \
		copy_test(entries_without_page_are_skipped), \
		copy_test(nothing_copies_nothing),           \
		copy_test(any_alignment_is_copied),          \
		copy_test(any_mix_is_copied),                \
		copy_test(copies_at_once_do_not_disturb_each_other)

#endif /* TESTS_UNIT_COPY_H */
