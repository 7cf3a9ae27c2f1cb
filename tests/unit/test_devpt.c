/* SPDX-License-Identifier: MIT */
/*
 * The device page table against a flat array: random entries, look-up, and
 * walks over intervals; its size follows what is in it.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "alloc.h"
#include "compiler.h"
#include "devpt.h"
#include "page.h"
#include "page_size.h"

#define NSLOTS 600ul

static uint64_t seed;
static struct devpt pt;
static struct page pages[NSLOTS];
static struct page *model[NSLOTS];
static size_t blocks;

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

/* Three clusters far from each other, each across several leaves. */
static unsigned long addr_of(unsigned long slot)
{
	static const unsigned long cluster[] = { 0x7000000000,
						 0x7000000000 + (1ul << 30),
						 0x10000 };

	return cluster[slot % 3] + (slot / 3) * PAGE_SIZE;
}

static int setup(void **state)
{
	(void)state;
	memset(&pt, 0, sizeof(pt));
	memset(pages, 0, sizeof(pages));
	memset(model, 0, sizeof(model));
	no_memory = false;
	blocks = gpusvm_alloc_live();
	return 0;
}

static int teardown(void **state)
{
	struct page *page;

	(void)state;
	while ((page = gpusvm_devpt_next(&pt, 0, ~0ul)))
		gpusvm_devpt_clear(&pt, page->vaddr);
	return pt.npages || gpusvm_alloc_live() != blocks ? -1 : 0;
}

static void get_of_empty_table_returns_null(void **state)
{
	(void)state;
	assert_null(gpusvm_devpt_get(&pt, 0));
	assert_null(gpusvm_devpt_get(&pt, addr_of(0)));
	assert_null(gpusvm_devpt_clear(&pt, addr_of(0)));
	assert_null(gpusvm_devpt_next(&pt, 0, ~0ul));
}

static void set_records_the_address(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(5), &pages[5]), 0);
	assert_int_equal(pages[5].vaddr, addr_of(5));
	assert_ptr_equal(gpusvm_devpt_get(&pt, addr_of(5)), &pages[5]);
	assert_null(gpusvm_devpt_get(&pt, addr_of(5) + PAGE_SIZE));
	assert_null(gpusvm_devpt_get(&pt, addr_of(5) - PAGE_SIZE));
	assert_int_equal(pt.npages, 1);
	assert_ptr_equal(gpusvm_devpt_clear(&pt, addr_of(5)), &pages[5]);
	assert_int_equal(pages[5].vaddr, 0);
	assert_int_equal(gpusvm_alloc_live(), blocks);
}

static void set_where_a_page_is_returns_eexist(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(1), &pages[1]), 0);
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(1), &pages[2]), -EEXIST);
	assert_ptr_equal(gpusvm_devpt_get(&pt, addr_of(1)), &pages[1]);
	assert_int_equal(pages[2].vaddr, 0);
	assert_int_equal(pt.npages, 1);
}

static void set_without_memory_returns_enomem(void **state)
{
	(void)state;
	no_memory = true;
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(1), &pages[1]), -ENOMEM);
	assert_int_equal(pt.npages, 0);
	assert_int_equal(pages[1].vaddr, 0);
	no_memory = false;
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(1), &pages[1]), 0);
	/* Its neighbour finds room beside it. */
	no_memory = true;
	assert_int_equal(gpusvm_devpt_set(&pt, addr_of(4), &pages[4]), 0);
}

static void next_stops_at_both_ends(void **state)
{
	unsigned long addr = addr_of(30);

	(void)state;
	assert_int_equal(gpusvm_devpt_set(&pt, addr, &pages[0]), 0);
	assert_ptr_equal(gpusvm_devpt_next(&pt, addr, addr + PAGE_SIZE),
			 &pages[0]);
	assert_null(gpusvm_devpt_next(&pt, addr + PAGE_SIZE, ~0ul));
	assert_null(gpusvm_devpt_next(&pt, 0, addr));
	assert_null(gpusvm_devpt_next(&pt, addr, addr));
}

static void set_run_without_memory_leaves_what_is_there(void **state)
{
	unsigned long addr = addr_of(0), i;
	struct page *run[NSLOTS];

	(void)state;
	for (i = 0; i < ARRAY_SIZE(run); i++)
		run[i] = &pages[i];
	assert_int_equal(gpusvm_devpt_set(&pt, addr, run[0]), 0);
	no_memory = true;
	assert_int_equal(gpusvm_devpt_set_run(&pt, addr + PAGE_SIZE, run + 1,
					      NSLOTS - 1),
			 -ENOMEM);
	assert_in_range(pt.npages, 2, NSLOTS - 1);
	for (i = 0; i < pt.npages; i++)
		assert_ptr_equal(gpusvm_devpt_get(&pt,
						  addr + (i << PAGE_SHIFT)),
				 run[i]);
	assert_int_equal(run[i]->vaddr, 0);
}

/* ---- At random ---- */

/* As many as stand side by side from @slot on, and are set or not. */
static unsigned long run_length(unsigned long slot, unsigned long most,
				bool set)
{
	unsigned long n = 0;

	for (; n < most && slot < NSLOTS && !model[slot] != set; slot += 3)
		n++;
	return n;
}

static void step_run(uint64_t *random)
{
	unsigned long slot = unit_random_below(random, NSLOTS);
	unsigned long most = unit_random_below(random, NSLOTS / 3);
	bool set = unit_random_below(random, 2);
	unsigned long i, n = run_length(slot, most, !set);
	struct page *run[NSLOTS];

	for (i = 0; i < n; i++)
		run[i] = &pages[slot + 3 * i];
	if (set)
		assert_int_equal(
			gpusvm_devpt_set_run(&pt, addr_of(slot), run, n), 0);
	else
		gpusvm_devpt_clear_run(&pt, addr_of(slot), n);
	for (i = 0; i < n; i++)
		model[slot + 3 * i] = set ? run[i] : NULL;
}

static void step(uint64_t *random)
{
	unsigned long slot = unit_random_below(random, NSLOTS);
	unsigned long run = unit_random_below(random, 40);
	bool set = unit_random_below(random, 2);
	int expected;

	for (; run-- && slot < NSLOTS; slot += 3) {
		if (set) {
			expected = model[slot] ? -EEXIST : 0;
			assert_int_equal(gpusvm_devpt_set(&pt, addr_of(slot),
							  &pages[slot]),
					 expected);
			model[slot] = &pages[slot];
		} else {
			assert_ptr_equal(gpusvm_devpt_clear(&pt, addr_of(slot)),
					 model[slot]);
			model[slot] = NULL;
		}
	}
}

static void check_all(void)
{
	unsigned long slot, n = 0;

	for (slot = 0; slot < NSLOTS; slot++) {
		assert_ptr_equal(gpusvm_devpt_get(&pt, addr_of(slot)),
				 model[slot]);
		assert_int_equal(pages[slot].vaddr,
				 model[slot] ? addr_of(slot) : 0);
		n += model[slot] != NULL;
	}
	assert_int_equal(pt.npages, n);
}

/* The lowest of the model in [start, end). */
static struct page *model_next(unsigned long start, unsigned long end)
{
	struct page *best = NULL;
	unsigned long slot, addr;

	for (slot = 0; slot < NSLOTS; slot++) {
		addr = addr_of(slot);
		if (model[slot] && addr >= start && addr < end &&
		    (!best || addr < best->vaddr))
			best = model[slot];
	}
	return best;
}

static void check_walk(uint64_t *random)
{
	unsigned long start = addr_of(unit_random_below(random, NSLOTS));
	unsigned long end = addr_of(unit_random_below(random, NSLOTS));
	struct page *page;

	while ((page = gpusvm_devpt_next(&pt, start, end))) {
		assert_ptr_equal(page, model_next(start, end));
		start = page->vaddr + PAGE_SIZE;
	}
	assert_null(model_next(start, end));
}

static void random_changes_agree_with_the_model(void **state)
{
	uint64_t random = seed;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		step(&random);
		step_run(&random);
		if (i % 50 == 0) {
			check_all();
			check_walk(&random);
		}
	}
	check_all();
}

#define devpt_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		devpt_test(get_of_empty_table_returns_null),
		devpt_test(set_records_the_address),
		devpt_test(set_where_a_page_is_returns_eexist),
		devpt_test(set_without_memory_returns_enomem),
		devpt_test(next_stops_at_both_ends),
		devpt_test(set_run_without_memory_leaves_what_is_there),
		devpt_test(random_changes_agree_with_the_model),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("devpt", tests, NULL, NULL);
}
