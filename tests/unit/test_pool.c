/* SPDX-License-Identifier: MIT */
/*
 * The pool of device pages: bad options, alignment, exhaustion, use and re-use
 * at random, and no end while pages are in use.
 */
#include "unit_nodes.h"

#include <gpusvm/devmem.h>

#include "alloc.h"
#include "page.h"

#define NPAGES 64ul

static uint64_t seed;
static struct gpusvm_devmem_pool *pool;
static unsigned long first_pfn;
static size_t blocks;
static int owner;

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static unsigned int fail_in;

static bool fails_now(void)
{
	return fail_in && !--fail_in;
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_array(n, size);
}

static void nothing(void *zone_device_data, unsigned long n)
{
	(void)n;
	(void)zone_device_data;
}

static const struct dev_pagemap_ops ops = { .get = nothing, .put = nothing };

static struct gpusvm_devmem_pool_opts good_opts(void)
{
	return (struct gpusvm_devmem_pool_opts){
		.size = sizeof(struct gpusvm_devmem_pool_opts),
		.bytes = NPAGES * PAGE_SIZE,
		.node = -1,
		.owner = &owner,
		.pgmap_ops = &ops,
	};
}

static int setup(void **state)
{
	struct gpusvm_devmem_pool_opts opts = good_opts();

	(void)state;
	one_node();
	fail_in = 0;
	blocks = gpusvm_alloc_live();
	if (gpusvm_devmem_pool_create(&pool, &opts))
		return -1;
	first_pfn = gpusvm_devmem_pool_pagemap(pool)->range.start >> PAGE_SHIFT;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (gpusvm_devmem_pool_destroy(pool))
		return -1;
	fake_sys_reset();
	return gpusvm_alloc_live() == blocks ? 0 : -1;
}

static size_t free_pages(void)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };

	assert_int_equal(gpusvm_devmem_pool_info(pool, &info), 0);
	return info.free_bytes / PAGE_SIZE;
}

/* Page number in the pool. */
static unsigned long alloc_pages(unsigned long n)
{
	unsigned long pfn;

	assert_int_equal(gpusvm_devmem_pool_alloc(pool, n * PAGE_SIZE, &pfn),
			 0);
	assert_in_range(pfn, first_pfn, first_pfn + NPAGES - n);
	return pfn - first_pfn;
}

static void free_at(unsigned long first, unsigned long n)
{
	gpusvm_devmem_pool_free(pool, first_pfn + first, n * PAGE_SIZE);
}

static int try_alloc(unsigned long n)
{
	unsigned long pfn;

	return gpusvm_devmem_pool_alloc(pool, n * PAGE_SIZE, &pfn);
}

/* ---- Making one ---- */

static void assert_refused(struct gpusvm_devmem_pool_opts opts, int expected)
{
	struct gpusvm_devmem_pool *other;
	size_t before = gpusvm_alloc_live();

	assert_int_equal(gpusvm_devmem_pool_create(&other, &opts), expected);
	assert_int_equal(gpusvm_alloc_live(), before);
}

static void create_with_bad_options_returns_einval(void **state)
{
	struct gpusvm_devmem_pool_opts opts = good_opts();

	(void)state;
	assert_int_equal(gpusvm_devmem_pool_create(NULL, &opts), -EINVAL);
	assert_int_equal(gpusvm_devmem_pool_create(&pool, NULL), -EINVAL);
	opts.size++;
	assert_refused(opts, -EINVAL);
	opts = good_opts();
	opts.bytes = 0;
	assert_refused(opts, -EINVAL);
	opts.bytes = ~0ul;
	assert_refused(opts, -EINVAL);
	opts = good_opts();
	opts.pgmap_ops = NULL;
	assert_refused(opts, -EINVAL);
}

static void create_passes_errors_of_the_node(void **state)
{
	struct gpusvm_devmem_pool_opts opts = good_opts();

	(void)state;
	opts.node = 5;
	assert_refused(opts, -ENODEV);
	opts = good_opts();
	opts.bytes = 1ul << 50;
	assert_refused(opts, -ENOMEM);
}

static void create_without_memory_returns_enomem(void **state)
{
	struct gpusvm_devmem_pool_opts opts = good_opts();
	unsigned int n;

	(void)state;
	/* The pool, and the structures of its pages. */
	for (n = 1; n <= 2; n++) {
		fail_in = n;
		assert_refused(opts, -ENOMEM);
		assert_int_equal(fail_in, 0);
	}
}

static void create_rounds_up_to_a_page(void **state)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	struct gpusvm_devmem_pool_opts opts = good_opts();
	struct gpusvm_devmem_pool *other;

	(void)state;
	opts.bytes = PAGE_SIZE + 1;
	assert_int_equal(gpusvm_devmem_pool_create(&other, &opts), 0);
	assert_int_equal(gpusvm_devmem_pool_info(other, &info), 0);
	assert_int_equal(info.bytes, 2 * PAGE_SIZE);
	assert_int_equal(info.free_bytes, 2 * PAGE_SIZE);
	assert_int_equal(gpusvm_devmem_pool_destroy(other), 0);
}

static void pool_has_a_pagemap(void **state)
{
	struct dev_pagemap *pgmap = gpusvm_devmem_pool_pagemap(pool);

	(void)state;
	assert_int_equal(pgmap->type, MEMORY_DEVICE_PRIVATE);
	assert_ptr_equal(pgmap->owner, &owner);
	assert_ptr_equal(pgmap->ops, &ops);
	assert_int_equal(pgmap->range.end + 1 - pgmap->range.start,
			 NPAGES * PAGE_SIZE);
	assert_ptr_equal(gpusvm_pfn_to_page(first_pfn), pgmap->pages);
}

static void info_fills_as_far_as_the_size_says(void **state)
{
	struct gpusvm_devmem_pool_info info;

	(void)state;
	memset(&info, 0xa5, sizeof(info));
	info.size = sizeof(size_t) - 1;
	assert_int_equal(gpusvm_devmem_pool_info(pool, &info), -EINVAL);
	assert_int_equal(gpusvm_devmem_pool_info(NULL, &info), -EINVAL);
	assert_int_equal(gpusvm_devmem_pool_info(pool, NULL), -EINVAL);
	info.size = offsetof(struct gpusvm_devmem_pool_info, bytes);
	assert_int_equal(gpusvm_devmem_pool_info(pool, &info), 0);
	assert_int_equal(info.node, 0);
	assert_true(info.emulated);
	assert_int_equal(info.bytes, 0xa5a5a5a5a5a5a5a5);
	info.size = sizeof(info) + 8;
	assert_int_equal(gpusvm_devmem_pool_info(pool, &info), 0);
	assert_int_equal(info.size, sizeof(info));
	assert_int_equal(info.bytes, NPAGES * PAGE_SIZE);
}

/* ---- Using it ---- */

static void alloc_with_bad_arguments_returns_einval(void **state)
{
	unsigned long pfn;

	(void)state;
	assert_int_equal(gpusvm_devmem_pool_alloc(NULL, PAGE_SIZE, &pfn),
			 -EINVAL);
	assert_int_equal(gpusvm_devmem_pool_alloc(pool, PAGE_SIZE, NULL),
			 -EINVAL);
	assert_int_equal(gpusvm_devmem_pool_alloc(pool, 0, &pfn), -EINVAL);
	assert_int_not_equal(gpusvm_devmem_pool_alloc(pool, ~0ul, &pfn), 0);
	assert_int_equal(free_pages(), NPAGES);
}

static void alloc_of_powers_of_two_is_aligned(void **state)
{
	static const unsigned long sizes[] = { 1, 2, 1, 4, 8, 2, 16, 1 };
	unsigned long first;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		first = alloc_pages(sizes[i]);
		assert_int_equal(first % sizes[i], 0);
	}
	assert_int_equal(free_pages(), NPAGES - 35);
	/* Others lie where there is room. */
	first = alloc_pages(3);
	free_at(first, 3);
	assert_int_equal(alloc_pages(3), first);
}

static void alloc_takes_the_first_that_fits(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < NPAGES; i++)
		assert_int_equal(alloc_pages(1), i);
	free_at(5, 1);
	free_at(8, 4);
	free_at(3, 1);
	assert_int_equal(alloc_pages(2), 8);
	assert_int_equal(alloc_pages(1), 3);
	assert_int_equal(alloc_pages(1), 5);
	assert_int_equal(alloc_pages(2), 10);
	assert_int_equal(free_pages(), 0);
	free_at(0, NPAGES);
	assert_int_equal(alloc_pages(1), 0);
}

static void alloc_rounds_up_to_a_page(void **state)
{
	unsigned long pfn;

	(void)state;
	assert_int_equal(gpusvm_devmem_pool_alloc(pool, PAGE_SIZE + 1, &pfn),
			 0);
	assert_int_equal(free_pages(), NPAGES - 2);
	gpusvm_devmem_pool_free(pool, pfn, PAGE_SIZE + 1);
	assert_int_equal(free_pages(), NPAGES);
}

static void alloc_beyond_the_end_returns_enospc(void **state)
{
	unsigned long i;

	(void)state;
	assert_int_equal(try_alloc(NPAGES + 1), -ENOSPC);
	assert_int_equal(alloc_pages(NPAGES), 0);
	assert_int_equal(try_alloc(1), -ENOSPC);
	free_at(0, NPAGES);
	for (i = 0; i < NPAGES; i++)
		assert_int_equal(alloc_pages(1), i);
	assert_int_equal(try_alloc(1), -ENOSPC);
	assert_int_equal(free_pages(), 0);
	free_at(NPAGES - 1, 1);
	assert_int_equal(alloc_pages(1), NPAGES - 1);
}

static void alloc_in_fragments_returns_enospc(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < NPAGES; i++)
		alloc_pages(1);
	for (i = 0; i < NPAGES; i += 2)
		free_at(i, 1);
	assert_int_equal(free_pages(), NPAGES / 2);
	assert_int_equal(try_alloc(2), -ENOSPC);
	/* Three in a row, but for two only where it is aligned. */
	free_at(9, 1);
	assert_int_equal(alloc_pages(2), 8);
}

static void destroy_with_pages_in_use_returns_ebusy(void **state)
{
	struct page *page = gpusvm_pfn_to_page(first_pfn + alloc_pages(1));

	(void)state;
	assert_int_equal(gpusvm_page_init(page, NULL), 0);
	assert_int_equal(gpusvm_devmem_pool_destroy(pool), -EBUSY);
	assert_int_equal(free_pages(), NPAGES - 1);
	gpusvm_page_put(page);
	assert_int_equal(gpusvm_devmem_pool_destroy(NULL), 0);
}

static void random_use_never_overlaps(void **state)
{
	struct {
		unsigned long first, n;
	} held[NPAGES] = { 0 };
	unsigned char used[NPAGES] = { 0 };
	unsigned long i, j, n, pfn, in_use = 0;
	uint64_t random = seed;

	(void)state;
	for (i = 0; i < 20000; i++) {
		j = unit_random_below(&random, NPAGES);
		if (held[j].n) {
			free_at(held[j].first, held[j].n);
			memset(used + held[j].first, 0, held[j].n);
			in_use -= held[j].n;
			held[j].n = 0;
			continue;
		}
		n = 1 + unit_random_below(&random, 12);
		if (gpusvm_devmem_pool_alloc(pool, n * PAGE_SIZE, &pfn))
			continue;
		held[j].first = pfn - first_pfn;
		held[j].n = n;
		assert_null(memchr(used + held[j].first, 1, n));
		memset(used + held[j].first, 1, n);
		in_use += n;
		assert_int_equal(free_pages(), NPAGES - in_use);
	}
}

#define pool_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		pool_test(create_with_bad_options_returns_einval),
		pool_test(create_passes_errors_of_the_node),
		pool_test(create_without_memory_returns_enomem),
		pool_test(create_rounds_up_to_a_page),
		pool_test(pool_has_a_pagemap),
		pool_test(info_fills_as_far_as_the_size_says),
		pool_test(alloc_with_bad_arguments_returns_einval),
		pool_test(alloc_of_powers_of_two_is_aligned),
		pool_test(alloc_takes_the_first_that_fits),
		pool_test(alloc_rounds_up_to_a_page),
		pool_test(alloc_beyond_the_end_returns_enospc),
		pool_test(alloc_in_fragments_returns_enospc),
		pool_test(destroy_with_pages_in_use_returns_ebusy),
		pool_test(random_use_never_overlaps),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
