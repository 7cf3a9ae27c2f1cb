/* SPDX-License-Identifier: MIT */
/*
 * The streaming engine: what every engine must do, and memcpy() for what is too
 * small, on either side of each limit.
 */
#include "unit_copy.h"

/* ---- Calls of memcpy() ---- */

void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);

static unsigned long by_memcpy;
static bool counting;

void *__wrap_memcpy(void *to, const void *from, size_t n)
{
	if (counting)
		by_memcpy += n;
	return __real_memcpy(to, from, n);
}

static struct gpusvm_copy_engine *new_engine(void)
{
	const struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		.type = GPUSVM_COPY_STREAM,
	};
	struct gpusvm_copy_engine *engine;

	return gpusvm_copy_engine_create(&engine, &opts) ? NULL : engine;
}

/* The address sanitizer of clang has its own memcpy() called. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CANNOT_COUNT
#endif
#endif

#if !defined(CANNOT_COUNT) && defined(__SSE2__)
static bool streams(int (*copy)(struct page **, dma_addr_t *, unsigned long),
		    size_t size)
{
	by_memcpy = 0;
	counting = true;
	assert_int_equal(copy(copy_pages, copy_addr, size >> PAGE_SHIFT), 0);
	counting = false;
	assert_true(by_memcpy == 0 || by_memcpy == size);
	return !by_memcpy;
}

static void small_copies_go_through_the_caches(void **state)
{
	(void)state;
	if (PAGE_SIZE > 4096) {
		print_message("skipped: the limits are less than a page\n");
		skip();
	}
	assert_false(streams(gpusvm_stream_to_devmem, 12ul << 10));
	assert_true(streams(gpusvm_stream_to_devmem, 16ul << 10));
	assert_false(streams(gpusvm_stream_to_ram, 252ul << 10));
	assert_true(streams(gpusvm_stream_to_ram, 256ul << 10));
	/* Stores past the caches are of whole blocks. */
	copy_addr[0] += 8;
	assert_false(streams(gpusvm_stream_to_ram, PAGE_SIZE));
}
#else
static void small_copies_go_through_the_caches(void **state)
{
	(void)state;
	print_message("skipped: memcpy() is not seen, or all there is\n");
	skip();
}
#endif

static void pages_that_are_not_mapped_are_refused(void **state)
{
	(void)state;
	copy_file[0].mapped = false;
	assert_int_equal(gpusvm_copy_to_devmem(copy_pages, copy_addr, 8),
			 -EOPNOTSUPP);
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, 8),
			 -EOPNOTSUPP);
	copy_addr[0] = 0;
	assert_int_equal(gpusvm_copy_to_devmem(copy_pages, copy_addr, 1),
			 -EOPNOTSUPP);
	copy_addr[0] = (dma_addr_t)copy_ram;
	assert_as_model();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		COPY_TESTS,
		copy_test(small_copies_go_through_the_caches),
		copy_test(pages_that_are_not_mapped_are_refused),
	};

	copy_seed = unit_seed();
	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
