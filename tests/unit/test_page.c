/* SPDX-License-Identifier: MIT */
/*
 * A device page: it is used by one at a time, refers to its allocation while
 * it is, and knows its number and address.
 */
#include "unit_thread.h"

#include <errno.h>

#include "compiler.h"
#include "page.h"
#include "page_size.h"

#define NPAGES 8ul
#define WINDOW (1ul << 44) /* nothing is mapped there */

static int refs;
static void *last_put;

static void get(void *zone_device_data, unsigned long n)
{
	(void)zone_device_data;
	__atomic_add_fetch(&refs, (int)n, __ATOMIC_RELAXED);
}

static void put(void *zone_device_data, unsigned long n)
{
	__atomic_store_n(&last_put, zone_device_data, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&refs, (int)n, __ATOMIC_RELAXED);
}

static const struct dev_pagemap_ops ops = { .get = get, .put = put };

static struct dev_pagemap pgmap = {
	.type = MEMORY_DEVICE_PRIVATE,
	.ops = &ops,
};

static int setup(void **state)
{
	(void)state;
	refs = 0;
	last_put = NULL;
	pgmap.range.start = WINDOW;
	pgmap.range.end = WINDOW + NPAGES * PAGE_SIZE - 1;
	return gpusvm_pagemap_add(&pgmap);
}

static int teardown(void **state)
{
	(void)state;
	return gpusvm_pagemap_remove(&pgmap);
}

static void init_of_free_page_takes_references(void **state)
{
	struct page *page = pgmap.pages + 3;
	int data;

	(void)state;
	page->vaddr = 4711;
	page->removed = true;
	page->next = page;
	assert_int_equal(gpusvm_page_init(page, &data), 0);
	assert_int_equal(gpusvm_page_refs(page), 1);
	assert_int_equal(refs, 1);
	assert_ptr_equal(page->zone_device_data, &data);
	assert_int_equal(page->vaddr, 0);
	assert_false(page->removed);
	assert_null(page->migration);
	gpusvm_page_put(page);
	assert_int_equal(gpusvm_page_refs(page), 0);
	assert_int_equal(refs, 0);
	assert_ptr_equal(last_put, &data);
}

static void init_of_used_page_returns_ebusy(void **state)
{
	struct page *page = pgmap.pages;
	int data, other;

	(void)state;
	assert_int_equal(gpusvm_page_init(page, &data), 0);
	assert_int_equal(gpusvm_page_init(page, &other), -EBUSY);
	assert_ptr_equal(page->zone_device_data, &data);
	assert_int_equal(refs, 1);
	gpusvm_page_put(page);
	assert_int_equal(gpusvm_page_init(page, &other), 0);
	gpusvm_page_put(page);
	assert_ptr_equal(last_put, &other);
}

static void put_of_held_page_keeps_it(void **state)
{
	struct page *page = pgmap.pages;

	(void)state;
	assert_int_equal(gpusvm_page_init(page, page), 0);
	gpusvm_page_get(page);
	assert_int_equal(gpusvm_page_refs(page), 2);
	gpusvm_page_put(page);
	assert_int_equal(refs, 1);
	assert_null(last_put);
	assert_int_equal(gpusvm_page_init(page, NULL), -EBUSY);
	gpusvm_page_put(page);
	assert_int_equal(refs, 0);
}

static void list_pages(struct page **pages)
{
	unsigned long i;

	for (i = 0; i < NPAGES; i++)
		pages[i] = pgmap.pages + i;
}

static void init_of_many_takes_all_or_none(void **state)
{
	struct page *pages[NPAGES];
	int data, other;
	unsigned long i;

	(void)state;
	list_pages(pages);
	assert_int_equal(gpusvm_page_init(pages[5], &data), 0);
	assert_int_equal(gpusvm_pages_init(pages, NPAGES, &other), -EBUSY);
	for (i = 0; i < NPAGES; i++)
		assert_int_equal(gpusvm_page_refs(pages[i]), i == 5);
	assert_ptr_equal(pages[5]->zone_device_data, &data);
	assert_int_equal(refs, 1);
	gpusvm_page_put(pages[5]);

	pages[3] = pages[0]; /* nobody can have a page twice */
	assert_int_equal(gpusvm_pages_init(pages, NPAGES, &other), -EBUSY);
	assert_int_equal(refs, 0);
	pages[3] = pgmap.pages + 3;
	assert_int_equal(gpusvm_pages_init(pages, NPAGES, &other), 0);
	assert_int_equal(refs, NPAGES);
	gpusvm_pages_put(pages, NPAGES);
}

static void put_of_many_keeps_those_that_are_held(void **state)
{
	struct page *pages[NPAGES];
	unsigned long i;
	int data;

	(void)state;
	list_pages(pages);
	assert_int_equal(gpusvm_pages_init(pages, NPAGES, &data), 0);
	gpusvm_page_get(pages[2]);
	gpusvm_pages_put(pages, NPAGES);
	for (i = 0; i < NPAGES; i++)
		assert_int_equal(gpusvm_page_refs(pages[i]), i == 2);
	assert_int_equal(refs, 1);
	gpusvm_page_put(pages[2]);
	assert_int_equal(refs, 0);
}

static void number_and_address_follow_the_pagemap(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < NPAGES; i++) {
		assert_int_equal(gpusvm_page_to_pfn(pgmap.pages + i),
				 (WINDOW >> PAGE_SHIFT) + i);
		assert_ptr_equal(gpusvm_page_address(pgmap.pages + i),
				 (void *)(WINDOW + i * PAGE_SIZE));
		assert_ptr_equal(gpusvm_page_pagemap(pgmap.pages + i), &pgmap);
	}
}

/* ---- Parallel users ---- */

static unsigned int owners_inside, violations, successes;

static void use_page(void *arg)
{
	struct page *page = pgmap.pages;
	int i;

	for (i = 0; i < 20000; i++) {
		if (gpusvm_page_init(page, arg))
			continue;
		if (__atomic_add_fetch(&owners_inside, 1, __ATOMIC_RELAXED) !=
			    1 ||
		    page->zone_device_data != arg)
			__atomic_add_fetch(&violations, 1, __ATOMIC_RELAXED);
		gpusvm_page_get(page);
		gpusvm_page_put(page);
		__atomic_sub_fetch(&owners_inside, 1, __ATOMIC_RELAXED);
		gpusvm_page_put(page);
		__atomic_add_fetch(&successes, 1, __ATOMIC_RELAXED);
	}
}

static void init_in_parallel_has_one_winner(void **state)
{
	struct unit_thread t[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		unit_thread_start(&t[i], use_page, &t[i]);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		unit_thread_join(&t[i]);
	assert_int_equal(violations, 0);
	assert_true(successes > 0);
	assert_int_equal(refs, 0);
	assert_int_equal(gpusvm_page_refs(pgmap.pages), 0);
}

#define page_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		page_test(init_of_free_page_takes_references),
		page_test(init_of_used_page_returns_ebusy),
		page_test(put_of_held_page_keeps_it),
		page_test(init_of_many_takes_all_or_none),
		page_test(put_of_many_keeps_those_that_are_held),
		page_test(number_and_address_follow_the_pagemap),
		page_test(init_in_parallel_has_one_winner),
	};

	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
