/* SPDX-License-Identifier: MIT */
/*
 * The memcpy engine: what is adjacent on both sides is one call, what is not is
 * not, pages without a source are cleared, entries without a page or without a
 * destination are left alone.
 */
#include "unit.h"

#include <gpusvm/copy.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "alloc.h"
#include "compiler.h"
#include "page.h"
#include "page_size.h"

#define N 8ul

static uint64_t seed;

/* ---- Calls of memcpy() ---- */

void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);

static unsigned int calls;
static bool counting;

/* The address sanitizer of clang has its own memcpy() called. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CANNOT_COUNT
#endif
#endif

static void assert_calls(unsigned int counted, unsigned int expected)
{
#ifndef CANNOT_COUNT
	assert_int_equal(counted, expected);
#else
	(void)counted;
	(void)expected;
#endif
}

void *__wrap_memcpy(void *to, const void *from, size_t n)
{
	if (counting)
		calls++;
	return __real_memcpy(to, from, n);
}

/*
 * Two pagemaps whose page structures happen to be adjacent: pages 0 to 3 and 4
 * to 7.  Their memory is adjacent as well.
 */
static struct page array[N];
static struct dev_pagemap pgmap[2];
static unsigned char *device, *ram;
static struct page *pages[N];
static dma_addr_t addr[N];

static void fill(unsigned char *memory, unsigned int tag)
{
	unsigned long i;

	for (i = 0; i < N * PAGE_SIZE; i++)
		memory[i] = (unsigned char)(i * 7 + i / PAGE_SIZE + tag);
}

static int setup(void **state)
{
	unsigned long i;

	(void)state;
	device = gpusvm_alloc_pages(2 * N * PAGE_SIZE, PAGE_SIZE);
	if (!device)
		return -1;
	ram = device + N * PAGE_SIZE;
	fill(device, 1);
	fill(ram, 100);
	for (i = 0; i < N; i++) {
		array[i] = (struct page){ .pgmap = &pgmap[i / 4] };
		pages[i] = &array[i];
		addr[i] = (dma_addr_t)ram + i * PAGE_SIZE;
	}
	for (i = 0; i < 2; i++) {
		pgmap[i].pages = array + 4 * i;
		pgmap[i].range.start = (u64)device + 4 * i * PAGE_SIZE;
		pgmap[i].range.end = pgmap[i].range.start + 4 * PAGE_SIZE - 1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_free_pages(device, 2 * N * PAGE_SIZE);
	return 0;
}

static unsigned int to_devmem(unsigned long n)
{
	calls = 0;
	counting = true;
	assert_int_equal(gpusvm_memcpy_to_devmem(pages, addr, n), 0);
	counting = false;
	return calls;
}

static unsigned int to_ram(unsigned long n)
{
	calls = 0;
	counting = true;
	assert_int_equal(gpusvm_memcpy_to_ram(pages, addr, n), 0);
	counting = false;
	return calls;
}

/* The value that fill() put at byte @offset. */
static unsigned char value(unsigned long offset, unsigned int tag)
{
	return (unsigned char)(offset * 7 + offset / PAGE_SIZE + tag);
}

/* Page @i of @memory is what fill(, @tag) put in page @j. */
static bool is_page(const unsigned char *memory, unsigned long i,
		    unsigned long j, unsigned int tag)
{
	unsigned long k;

	for (k = 0; k < PAGE_SIZE; k++)
		if (memory[i * PAGE_SIZE + k] != value(j * PAGE_SIZE + k, tag))
			return false;
	return true;
}

static bool is_zero(const unsigned char *memory, unsigned long i)
{
	unsigned long k;

	for (k = 0; k < PAGE_SIZE; k++)
		if (memory[i * PAGE_SIZE + k])
			return false;
	return true;
}

static void adjacent_pages_are_one_copy(void **state)
{
	unsigned long i;

	(void)state;
	assert_calls(to_devmem(4), 1);
	for (i = 0; i < N; i++)
		assert_true(i < 4 ? is_page(device, i, i, 100)
				  : is_page(device, i, i, 1));
	fill(device, 1);
	assert_calls(to_ram(3), 1);
	for (i = 0; i < N; i++)
		assert_true(i < 3 ? is_page(ram, i, i, 1)
				  : is_page(ram, i, i, 100));
}

static void pages_of_two_pagemaps_are_two_copies(void **state)
{
	unsigned long i;

	(void)state;
	/* Somewhere else, so that one copy would go wrong. */
	pgmap[1].range.start = (u64)device;
	pgmap[0].range.start = (u64)device + 4 * PAGE_SIZE;
	assert_calls(to_devmem(N), 2);
	for (i = 0; i < N; i++)
		assert_true(is_page(device, (i + 4) % N, i, 100));
	fill(device, 1);
	assert_calls(to_ram(N), 2);
	for (i = 0; i < N; i++)
		assert_true(is_page(ram, i, (i + 4) % N, 1));
}

static void scattered_addresses_are_single_copies(void **state)
{
	dma_addr_t first = addr[0];
	unsigned long i;

	(void)state;
	addr[0] = addr[1];
	addr[1] = first;
	assert_calls(to_devmem(4), 3);
	assert_true(is_page(device, 0, 1, 100));
	assert_true(is_page(device, 1, 0, 100));
	assert_true(is_page(device, 2, 2, 100));
	assert_true(is_page(device, 3, 3, 100));
	for (i = 4; i < N; i++)
		assert_true(is_page(device, i, i, 1));
}

static void scattered_pages_are_single_copies(void **state)
{
	(void)state;
	pages[0] = &array[2];
	pages[2] = &array[0];
	assert_calls(to_ram(4), 4);
	assert_true(is_page(ram, 0, 2, 1));
	assert_true(is_page(ram, 1, 1, 1));
	assert_true(is_page(ram, 2, 0, 1));
	assert_true(is_page(ram, 3, 3, 1));
}

static void pages_without_source_are_cleared(void **state)
{
	(void)state;
	addr[1] = 0;
	addr[3] = 0;
	assert_calls(to_devmem(4), 2);
	assert_true(is_page(device, 0, 0, 100));
	assert_true(is_zero(device, 1));
	assert_true(is_page(device, 2, 2, 100));
	assert_true(is_zero(device, 3));
	assert_true(is_page(device, 4, 4, 1));
}

static void entries_without_page_or_destination_are_skipped(void **state)
{
	(void)state;
	pages[1] = NULL;
	addr[2] = 0;
	assert_calls(to_ram(4), 2);
	assert_true(is_page(ram, 0, 0, 1));
	assert_true(is_page(ram, 1, 1, 100));
	assert_true(is_page(ram, 2, 2, 100));
	assert_true(is_page(ram, 3, 3, 1));
	/* There is nothing to clear either. */
	addr[1] = 0;
	assert_calls(to_devmem(2), 1);
	assert_true(is_page(device, 1, 1, 1));
}

static void nothing_copies_nothing(void **state)
{
	(void)state;
	assert_calls(to_devmem(0), 0);
	assert_calls(to_ram(0), 0);
	memset(pages, 0, sizeof(pages));
	memset(addr, 0, sizeof(addr));
	assert_calls(to_devmem(N), 0);
	assert_calls(to_ram(N), 0);
	assert_true(is_page(device, 0, 0, 1));
	assert_true(is_page(ram, 0, 0, 100));
}

/* Any mix gives what copying page by page gives. */
static void random_mixes_copy_right(void **state)
{
	unsigned long source[N];
	uint64_t random = seed;
	unsigned long i, round;

	(void)state;
	for (round = 0; round < 300; round++) {
		fill(device, 1);
		for (i = 0; i < N; i++) {
			pages[i] = unit_random_below(&random, 5) ? &array[i]
								 : NULL;
			source[i] = unit_random_below(&random, 3)
					    ? i
					    : unit_random_below(&random, N);
			addr[i] = unit_random_below(&random, 5)
					  ? (dma_addr_t)ram +
						    source[i] * PAGE_SIZE
					  : 0;
		}
		to_devmem(N);
		for (i = 0; i < N; i++)
			assert_true(!pages[i] ? is_page(device, i, i, 1)
				    : addr[i]
					    ? is_page(device, i, source[i], 100)
					    : is_zero(device, i));
	}
}

#define copy_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		copy_test(adjacent_pages_are_one_copy),
		copy_test(pages_of_two_pagemaps_are_two_copies),
		copy_test(scattered_addresses_are_single_copies),
		copy_test(scattered_pages_are_single_copies),
		copy_test(pages_without_source_are_cleared),
		copy_test(entries_without_page_or_destination_are_skipped),
		copy_test(nothing_copies_nothing),
		copy_test(random_mixes_copy_right),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("memcpy", tests, NULL, NULL);
}
