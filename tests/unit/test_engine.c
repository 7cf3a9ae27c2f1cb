/* SPDX-License-Identifier: MIT */
/*
 * From pages to engines: each page is copied by the engine of its pagemap, by
 * memcpy() without one; entries without a page break nothing; the first error
 * ends it.
 */
#include "unit_copy.h"

#include <gpusvm/gpusvm.h>

static struct gpusvm_copy_engine *new_engine(void)
{
	const struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		.type = GPUSVM_COPY_MEMCPY,
	};
	struct gpusvm_copy_engine *engine;

	return gpusvm_copy_engine_create(&engine, &opts) ? NULL : engine;
}

/* ---- An engine of the program's ---- */

struct own_engine {
	struct gpusvm_copy_engine engine;
	unsigned int calls;
	/* Of the last call. */
	struct page **pages;
	unsigned long npages;
	bool to_ram;
	int err;
	bool destroyed;
};

static int note(struct gpusvm_copy_engine *engine, struct page **pages,
		unsigned long npages, bool to_ram)
{
	struct own_engine *own =
		gpusvm_container_of(engine, struct own_engine, engine);

	own->calls++;
	own->pages = pages;
	own->npages = npages;
	own->to_ram = to_ram;
	return own->err;
}

static int own_to_devmem(struct gpusvm_copy_engine *engine, struct page **pages,
			 dma_addr_t *dma_addr, unsigned long npages)
{
	assert_ptr_equal(dma_addr, copy_addr + (pages - copy_pages));
	return note(engine, pages, npages, false);
}

static int own_to_ram(struct gpusvm_copy_engine *engine, struct page **pages,
		      dma_addr_t *dma_addr, unsigned long npages)
{
	assert_ptr_equal(dma_addr, copy_addr + (pages - copy_pages));
	return note(engine, pages, npages, true);
}

static void own_destroy(struct gpusvm_copy_engine *engine)
{
	gpusvm_container_of(engine, struct own_engine, engine)->destroyed =
		true;
}

static const struct gpusvm_copy_engine_ops own_ops = {
	.name = "own",
	.to_devmem = own_to_devmem,
	.to_ram = own_to_ram,
	.destroy = own_destroy,
};

static void assert_last(const struct own_engine *own, unsigned int calls,
			unsigned long first, unsigned long n, bool to_ram)
{
	assert_int_equal(own->calls, calls);
	assert_ptr_equal(own->pages, copy_pages + first);
	assert_int_equal(own->npages, n);
	assert_int_equal(own->to_ram, to_ram);
}

static void pages_go_to_the_engine_of_their_pagemap(void **state)
{
	struct own_engine first = { .engine.ops = &own_ops };
	struct own_engine second = { .engine.ops = &own_ops };

	(void)state;
	copy_pgmap[0].engine = &first.engine;
	copy_pgmap[1].engine = &second.engine;
	assert_int_equal(
		gpusvm_copy_to_devmem(copy_pages, copy_addr, COPY_PAGES), 0);
	assert_last(&first, 1, 0, COPY_HALF, false);
	assert_last(&second, 1, COPY_HALF, COPY_HALF, false);
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES),
			 0);
	assert_last(&first, 2, 0, COPY_HALF, true);
	assert_last(&second, 2, COPY_HALF, COPY_HALF, true);

	/* Pages of one engine stay together. */
	copy_pages[0] = NULL;
	copy_pages[3] = NULL;
	copy_pages[COPY_HALF - 1] = NULL;
	copy_pages[COPY_PAGES - 1] = NULL;
	copy_pgmap[1].engine = &first.engine;
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES),
			 0);
	assert_last(&first, 3, 0, COPY_PAGES, true);
	assert_int_equal(second.calls, 2);
}

static void pages_without_an_engine_are_copied_by_memcpy(void **state)
{
	(void)state;
	copy_pgmap[0].engine = NULL;
	copy_both_and_check();
	/* It needs no file either. */
	copy_pgmap[0].file = NULL;
	copy_both_and_check();
}

static void the_first_error_ends_the_copy(void **state)
{
	struct own_engine first = { .engine.ops = &own_ops, .err = -EIO };
	struct own_engine second = { .engine.ops = &own_ops };

	(void)state;
	copy_pgmap[0].engine = &first.engine;
	copy_pgmap[1].engine = &second.engine;
	assert_int_equal(
		gpusvm_copy_to_devmem(copy_pages, copy_addr, COPY_PAGES), -EIO);
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES),
			 -EIO);
	assert_int_equal(second.calls, 0);
	second.err = 7;
	assert_int_equal(gpusvm_copy_to_ram(copy_pages + COPY_HALF,
					    copy_addr + COPY_HALF, 1),
			 7);
}

static void nothing_calls_no_engine(void **state)
{
	struct own_engine own = { .engine.ops = &own_ops };

	(void)state;
	copy_pgmap[0].engine = &own.engine;
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, 0), 0);
	memset(copy_pages, 0, sizeof(copy_pages));
	assert_int_equal(
		gpusvm_copy_to_devmem(copy_pages, copy_addr, COPY_PAGES), 0);
	assert_int_equal(own.calls, 0);
}

static void destroy_is_the_engines(void **state)
{
	const struct gpusvm_copy_engine_ops fixed = { .name = "fixed" };
	struct own_engine own = { .engine.ops = &own_ops };
	struct gpusvm_copy_engine other = { .ops = &fixed };

	(void)state;
	gpusvm_copy_engine_destroy(&own.engine);
	assert_true(own.destroyed);
	gpusvm_copy_engine_destroy(&other);
	gpusvm_copy_engine_destroy(NULL);
}

static void create_with_bad_options_returns_einval(void **state)
{
	struct gpusvm_copy_engine_opts opts = { .size = sizeof(opts) };
	struct gpusvm_copy_engine *engine = NULL;

	(void)state;
	assert_int_equal(gpusvm_copy_engine_create(NULL, &opts), -EINVAL);
	assert_int_equal(gpusvm_copy_engine_create(&engine, NULL), -EINVAL);
	opts.type = (enum gpusvm_copy_engine_type)(GPUSVM_COPY_URING + 1);
	assert_int_equal(gpusvm_copy_engine_create(&engine, &opts), -EINVAL);
	opts.type = GPUSVM_COPY_MEMCPY;
	opts.size--;
	assert_int_equal(gpusvm_copy_engine_create(&engine, &opts), -EINVAL);
	assert_null(engine);
}

#if !GPUSVM_HAVE_LIBURING
static void there_is_no_ring_without_liburing(void **state)
{
	const struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		.type = GPUSVM_COPY_URING,
	};
	struct gpusvm_copy_engine *engine = NULL;

	(void)state;
	assert_int_equal(gpusvm_copy_engine_create(&engine, &opts),
			 -EOPNOTSUPP);
	assert_null(engine);
}
#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		COPY_TESTS,
		copy_test(pages_go_to_the_engine_of_their_pagemap),
		copy_test(pages_without_an_engine_are_copied_by_memcpy),
		copy_test(the_first_error_ends_the_copy),
		copy_test(nothing_calls_no_engine),
		cmocka_unit_test(destroy_is_the_engines),
		cmocka_unit_test(create_with_bad_options_returns_einval),
#if !GPUSVM_HAVE_LIBURING
		cmocka_unit_test(there_is_no_ring_without_liburing),
#endif
	};

	copy_seed = unit_seed();
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
