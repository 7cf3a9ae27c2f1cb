/* SPDX-License-Identifier: MIT */
/*
 * Pagemaps: what is refused, that two never overlap, that one in use stays,
 * and look-up of pages by number.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "page.h"
#include "page_size.h"
#include "pagemap.h"

#define WINDOW (1ul << 44)
#define PFN(n) ((WINDOW >> PAGE_SHIFT) + (n))

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc_array(n, size);
}

static void nothing(void *zone_device_data, unsigned long n)
{
	(void)n;
	(void)zone_device_data;
}

static const struct dev_pagemap_ops ops = { .get = nothing, .put = nothing };

/* Pages [first, first + n) of the window. */
static struct dev_pagemap pagemap(unsigned long first, unsigned long n)
{
	return (struct dev_pagemap){
		.type = MEMORY_DEVICE_PRIVATE,
		.ops = &ops,
		.range.start = WINDOW + first * PAGE_SIZE,
		.range.end = WINDOW + (first + n) * PAGE_SIZE - 1,
	};
}

static void assert_refused(struct dev_pagemap *pgmap, int expected)
{
	size_t blocks = gpusvm_alloc_live();

	assert_int_equal(gpusvm_pagemap_add(pgmap), expected);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_null(gpusvm_pfn_to_page(PFN(0)));
	if (pgmap)
		assert_int_equal(gpusvm_pagemap_remove(pgmap), -ENOENT);
}

static void add_of_bad_description_returns_einval(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);

	(void)state;
	assert_refused(NULL, -EINVAL);
	pgmap.nr_range = 2;
	assert_refused(&pgmap, -EINVAL);
	pgmap.nr_range = 1;
	pgmap.ops = NULL;
	assert_refused(&pgmap, -EINVAL);
	pgmap = pagemap(0, 4);
	pgmap.range.start++;
	assert_refused(&pgmap, -EINVAL);
	pgmap = pagemap(0, 4);
	pgmap.range.end++; /* as if it were exclusive */
	assert_refused(&pgmap, -EINVAL);
	pgmap = pagemap(4, 1);
	pgmap.range.end = WINDOW - 1;
	assert_refused(&pgmap, -EINVAL);
	/* The end, exclusive, would be 0. */
	pgmap.range.end = ~0ul;
	assert_refused(&pgmap, -EINVAL);
	pgmap.range.start = -PAGE_SIZE;
	assert_refused(&pgmap, -EINVAL);
	pgmap.range.start = 0;
	assert_refused(&pgmap, -EINVAL);
}

static void add_of_other_type_returns_eopnotsupp(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);

	(void)state;
	pgmap.type = MEMORY_DEVICE_COHERENT + 1;
	assert_refused(&pgmap, -EOPNOTSUPP);
	pgmap.type = 0;
	assert_refused(&pgmap, -EOPNOTSUPP);
}

static void add_of_coherent_memory_needs_its_nodes(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);

	(void)state;
	pgmap.type = MEMORY_DEVICE_COHERENT;
	assert_refused(&pgmap, -EINVAL);
	pgmap.nodes = 1 << 3;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), 0);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), 0);
}

/* It is where the program has it, if it has it. */
static void address_of_a_coherent_page_is_the_programs(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);
	struct page *page;

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), 0);
	page = &pgmap.pages[2];
	page->vaddr = 5 * PAGE_SIZE;
	assert_int_equal(gpusvm_page_address(page),
			 pgmap.range.start + 2 * PAGE_SIZE);
	pgmap.type = MEMORY_DEVICE_COHERENT;
	assert_int_equal(gpusvm_page_address(page), 5 * PAGE_SIZE);
	page->vaddr = 0;
	assert_int_equal(gpusvm_page_address(page),
			 pgmap.range.start + 2 * PAGE_SIZE);
	assert_int_equal(gpusvm_page_to_pfn(page),
			 (pgmap.range.start >> PAGE_SHIFT) + 2);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), 0);
}

static void add_without_memory_returns_enomem(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);

	(void)state;
	no_memory = true;
	assert_refused(&pgmap, -ENOMEM);
	no_memory = false;
}

static void add_of_overlap_returns_eexist(void **state)
{
	static const struct {
		unsigned long first, n;
	} overlaps[] = { { 10, 10 }, { 9, 2 },	{ 19, 5 },
			 { 12, 3 },  { 5, 30 }, { 10, 1 } };
	struct dev_pagemap pgmap = pagemap(10, 10), other;
	struct dev_pagemap before = pagemap(9, 1), after = pagemap(20, 1);
	size_t blocks;
	unsigned int i;

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), 0);
	blocks = gpusvm_alloc_live();
	for (i = 0; i < ARRAY_SIZE(overlaps); i++) {
		other = pagemap(overlaps[i].first, overlaps[i].n);
		assert_int_equal(gpusvm_pagemap_add(&other), -EEXIST);
		assert_null(other.pages);
	}
	assert_int_equal(gpusvm_alloc_live(), blocks);
	/* Twice the same is an overlap, too; what touches it is not. */
	other = pgmap;
	assert_int_equal(gpusvm_pagemap_add(&other), -EEXIST);
	assert_int_equal(gpusvm_pagemap_add(&before), 0);
	assert_int_equal(gpusvm_pagemap_add(&after), 0);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), 0);
	assert_int_equal(gpusvm_pagemap_remove(&before), 0);
	assert_int_equal(gpusvm_pagemap_remove(&after), 0);
}

static void add_twice_leaves_the_pages(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);
	struct page *pages;
	size_t blocks = gpusvm_alloc_live();
	unsigned long i;

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), 0);
	pages = pgmap.pages;
	assert_int_equal(gpusvm_page_init(&pages[2], NULL), 0);
	assert_int_equal(gpusvm_pagemap_add(&pgmap), -EEXIST);
	assert_ptr_equal(pgmap.pages, pages);
	for (i = 0; i < 4; i++) {
		assert_ptr_equal(gpusvm_pfn_to_page(PFN(i)), &pages[i]);
		assert_ptr_equal(gpusvm_page_pagemap(&pages[i]), &pgmap);
		assert_int_equal(gpusvm_page_refs(&pages[i]), i == 2);
	}
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), -EBUSY);
	no_memory = true;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), -ENOMEM);
	no_memory = false;
	assert_ptr_equal(pgmap.pages, pages);
	gpusvm_page_put(&pages[2]);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), 0);
	assert_null(gpusvm_pfn_to_page(PFN(0)));
	assert_int_equal(gpusvm_alloc_live(), blocks);
}

static void remove_of_pages_in_use_returns_ebusy(void **state)
{
	struct dev_pagemap pgmap = pagemap(0, 4);

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&pgmap), 0);
	assert_int_equal(gpusvm_page_init(&pgmap.pages[3], NULL), 0);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), -EBUSY);
	assert_ptr_equal(gpusvm_pfn_to_page(PFN(3)), &pgmap.pages[3]);
	gpusvm_page_put(&pgmap.pages[3]);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), 0);
	assert_null(pgmap.pages);
	assert_int_equal(gpusvm_pagemap_remove(&pgmap), -ENOENT);
}

static void look_up_finds_pages_of_all_pagemaps(void **state)
{
	struct dev_pagemap a = pagemap(0, 4), b = pagemap(4, 4),
			   c = pagemap(100, 1);
	unsigned long i;

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&a), 0);
	assert_int_equal(gpusvm_pagemap_add(&b), 0);
	assert_int_equal(gpusvm_pagemap_add(&c), 0);
	for (i = 0; i < 8; i++)
		assert_ptr_equal(gpusvm_pfn_to_page(PFN(i)),
				 i < 4 ? &a.pages[i] : &b.pages[i - 4]);
	assert_ptr_equal(gpusvm_pfn_to_page(PFN(100)), c.pages);
	assert_null(gpusvm_pfn_to_page(PFN(8)));
	assert_null(gpusvm_pfn_to_page(PFN(99)));
	assert_null(gpusvm_pfn_to_page(PFN(101)));
	assert_null(gpusvm_pfn_to_page(PFN(0) - 1));
	assert_null(gpusvm_pfn_to_page(~0ul));
	/* The middle one of the list goes. */
	assert_int_equal(gpusvm_pagemap_remove(&b), 0);
	assert_null(gpusvm_pfn_to_page(PFN(4)));
	assert_ptr_equal(gpusvm_pfn_to_page(PFN(3)), &a.pages[3]);
	assert_int_equal(gpusvm_pagemap_remove(&a), 0);
	assert_int_equal(gpusvm_pagemap_remove(&c), 0);
}

static void look_up_of_many_needs_all(void **state)
{
	struct dev_pagemap a = pagemap(0, 2), b = pagemap(2, 2);
	unsigned long pfn[] = { PFN(3), PFN(0), PFN(2), PFN(0) };
	struct page *pages[4];

	(void)state;
	assert_int_equal(gpusvm_pagemap_add(&a), 0);
	assert_int_equal(gpusvm_pagemap_add(&b), 0);
	assert_int_equal(gpusvm_pfns_to_pages(pfn, pages, 4), 0);
	assert_ptr_equal(pages[0], &b.pages[1]);
	assert_ptr_equal(pages[1], &a.pages[0]);
	assert_ptr_equal(pages[2], &b.pages[0]);
	assert_ptr_equal(pages[3], &a.pages[0]);
	pfn[2] = PFN(4);
	assert_int_equal(gpusvm_pfns_to_pages(pfn, pages, 4), -EINVAL);
	assert_int_equal(gpusvm_pfns_to_pages(pfn, pages, 2), 0);
	assert_int_equal(gpusvm_pfns_to_pages(pfn, pages, 0), 0);
	assert_int_equal(gpusvm_pagemap_remove(&a), 0);
	assert_int_equal(gpusvm_pagemap_remove(&b), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_of_bad_description_returns_einval),
		cmocka_unit_test(add_of_other_type_returns_eopnotsupp),
		cmocka_unit_test(add_of_coherent_memory_needs_its_nodes),
		cmocka_unit_test(address_of_a_coherent_page_is_the_programs),
		cmocka_unit_test(add_without_memory_returns_enomem),
		cmocka_unit_test(add_of_overlap_returns_eexist),
		cmocka_unit_test(add_twice_leaves_the_pages),
		cmocka_unit_test(remove_of_pages_in_use_returns_ebusy),
		cmocka_unit_test(look_up_finds_pages_of_all_pagemaps),
		cmocka_unit_test(look_up_of_many_needs_all),
	};

	return cmocka_run_group_tests_name("pagemap", tests, NULL, NULL);
}
