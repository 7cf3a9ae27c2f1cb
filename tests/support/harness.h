/* SPDX-License-Identifier: MIT */
/*
 * What every test program that needs a mirrored address space shares: the main
 * function, memory to test with, time limits and random numbers.
 *
 * A program is a list of CMocka tests and TEST_MAIN(tests):
 *
 *	static void conf_011_notifier_is_aligned(void **state)
 *	{
 *		struct fake_driver *d = fake_driver_create(NULL);
 *		unsigned char *mem = test_map(SZ_2M, SZ_2M);
 *		...
 *	}
 *
 *	static const struct CMUnitTest tests[] = {
 *		conf_test(conf_011_notifier_is_aligned),
 *	};
 *	CONF_MAIN(tests)
 *
 * What test_map() and fake_driver_create() made goes away when the test ends,
 * also when it fails half way: conf_test() runs the clean-ups.
 *
 * CMocka's assertions jump out of the function.  Use them on the main thread
 * only and not with a lock held that other threads wait for; other threads
 * record what they see, or use the helpers that return a bool.
 *
 * Environment: GPUSVM_TEST_SEED repeats a run, GPUSVM_TEST_TECHNIQUE=move or
 * wp picks how pages are taken from the CPU, GPUSVM_TEST_SOURCE=user, mprotect,
 * manual, sigbus or rwp what tells of faults, GPUSVM_TEST_ENGINE=stream, threads or uring
 * what the fake driver copies with, GPUSVM_TEST_COHERENT=mask has its memory be
 * that of these nodes, in place, GPUSVM_TEST_SLOW=n multiplies all time
 * limits, GPUSVM_TEST_VERBOSE=1 shows every log line.  The first argument is a
 * pattern that selects tests.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#ifdef NDEBUG
#error "tests need assertions"
#endif

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <pthread.h>
#include <cmocka.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <linux/err.h>

#include "../../lib/base/uapi.h"

#define SZ_32K (32ul << 10)
#define SZ_64K (64ul << 10)
#define SZ_128K (128ul << 10)
#define SZ_1M (1ul << 20)
#define SZ_2M (2ul << 20)
#define SZ_512M (512ul << 20)

#define PS (gpusvm_page_size())

#define TEST_SKIPPED 77

/* The address space; open while tests run. */
extern struct mm_struct *test_mm;
/* The copy engine that was asked for, or NULL. */
extern struct gpusvm_copy_engine *test_engine;

/* ---- Main function ---- */

#define conf_test(function) \
	cmocka_unit_test_setup_teardown(function, test_setup, test_teardown)

/*
 * Opens the address space and runs the tests; 77 with the reason printed if
 * there is no userfaultfd to be had or every test skipped itself.  Fails also
 * if the address space cannot be closed, or file descriptors or threads are
 * left over.
 */
#define CONF_MAIN(tests)                                                      \
	int main(int argc, char **argv)                                       \
	{                                                                     \
		return test_main(tests, sizeof(tests) / sizeof(*tests), argc, \
				 argv);                                       \
	}

int test_main(const struct CMUnitTest *tests, size_t num_tests, int argc,
	      char **argv);
int test_setup(void **state);
int test_teardown(void **state);

/* Leave the test, which counts as skipped; main thread only. */
#define test_skip(...)                                  \
	do {                                            \
		test_note_skip();                       \
		print_message("skipped: " __VA_ARGS__); \
		print_message("\n");                    \
		skip();                                 \
	} while (0)
void test_note_skip(void);

/*
 * Have @fn(@arg) called when the test ends, last registered first;
 * test_forget_cleanup() when it has been done already.  Both on the main
 * thread.
 */
void test_cleanup(void (*fn)(void *arg), void *arg);
void test_forget_cleanup(void (*fn)(void *arg), void *arg);

/*
 * Close the address space for the last time, as the test program's own
 * reference is the only one, and open it again.  For assertions about a closed
 * one, in programs of their own.
 */
void test_mm_close(void);
void test_mm_reopen(void);

/* Log lines at error level so far: each is a caller's mistake or worse. */
unsigned long test_log_errors(void);

/*
 * Blocks of the library-private allocator in use.  0 always in programs that
 * link the shared library; count leaks in those of the internal one.
 */
size_t test_live_blocks(void);

/* ---- Assertions ---- */

/* A returned 0 or -errno. */
#define assert_ret(actual, expected) \
	test_assert_ret((actual), (expected), #actual, __FILE__, __LINE__)
void test_assert_ret(long actual, long expected, const char *what,
		     const char *file, int line);

/* A returned pointer that must carry, or must not carry, an errno. */
#define assert_err_ptr(ptr, expected)                                         \
	do {                                                                  \
		const void *ptr_ = (ptr);                                     \
		test_assert_ret(IS_ERR(ptr_) ? PTR_ERR(ptr_) : 0, (expected), \
				#ptr, __FILE__, __LINE__);                    \
	} while (0)
#define assert_ok_ptr(ptr)                                               \
	do {                                                             \
		const void *ok_ = (ptr);                                 \
		test_assert_ret(IS_ERR(ok_) ? PTR_ERR(ok_) : 0, 0, #ptr, \
				__FILE__, __LINE__);                     \
		assert_non_null(ok_);                                    \
	} while (0)

/*
 * Whether others map memory in this process at any time, as the thread
 * sanitizer does: then a hole may be filled.
 */
bool test_others_map(void);

/* For what must be told of by the kernel, or comes with userfaultfd only. */
#define test_needs_events(why)                                                \
	do {                                                                  \
		if (test_announces())                                         \
			test_skip("this source is told of no changes: " why); \
	} while (0)

/*
 * Whether changes of memory are to be announced because the source does not
 * tell of them; the helpers below do.
 */
bool test_announces(void);

/* A call of libc that changes memory, by its hook if it is to be announced. */
#define test_change(name, ...) \
	(test_announces() ? gpusvm_##name(__VA_ARGS__) : name(__VA_ARGS__))

/* ---- Time ---- */

/* How long a test waits for something that must happen. */
#define TEST_WAIT_MS 10000

/* Milliseconds of a clock that never goes back. */
unsigned long test_now_ms(void);
/* @ms, longer on machines that were said to be slow. */
unsigned long test_scaled_ms(unsigned long ms);
/*
 * How often to do what is a race: @rounds, or no more than 20 times on machines
 * that were said to be ten times as slow.  Where processors take turns, in QEMU, threads that
 * never sleep keep the others from a round for a tick, or for many.
 */
unsigned int test_scaled_rounds(unsigned int rounds);
/* How long a stress test runs: GPUSVM_STRESS_SECONDS, or @seconds. */
unsigned long test_stress_ms(unsigned int seconds);
/* Let others run; between two looks at a condition. */
void test_relax(void);

/* Whether @condition came true within @ms; any thread. */
#define test_wait_for(condition, ms)                                      \
	({                                                                \
		unsigned long end__ = test_now_ms() + test_scaled_ms(ms); \
		bool ok__;                                                \
		while (!(ok__ = (condition)) && test_now_ms() < end__)    \
			test_relax();                                     \
		ok__;                                                     \
	})

/* Fail unless @condition comes true; main thread. */
#define test_wait_until(condition)                                       \
	do {                                                             \
		if (!test_wait_for(condition, TEST_WAIT_MS))             \
			fail_msg("waited in vain until %s", #condition); \
	} while (0)

/* Start a thread; main thread.  Joining fails the test after a time limit. */
void test_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);
void *test_thread_join(pthread_t thread);

/* ---- Random numbers ---- */

/* The same sequence for the same seed; one state per thread that asks. */
uint64_t test_random(void);
/* 0 ... @limit - 1 */
unsigned long test_random_below(unsigned long limit);

/* ---- Memory ---- */

/*
 * Memory between two inaccessible guard areas, so that its mapping is exactly
 * that long and does not merge with a neighbour.
 */
struct test_area {
	unsigned char *base;
	size_t size;
	unsigned char *reserved;
	size_t reserved_size;
	/* A byte per page of the reservation: test_munmap() gave it back. */
	unsigned char *hole;
	struct test_area *next;
};

/*
 * Reserve @size inaccessible bytes aligned to @align (a power of two); pieces
 * of it become usable with test_area_map().  Released when the test ends.
 */
struct test_area *test_area_reserve(size_t size, size_t align);
/* As mmap() at @offset with MAP_FIXED; without huge pages. */
unsigned char *test_area_map(struct test_area *area, size_t offset, size_t size,
			     int prot, int flags, int fd);
/* The same, private, anonymous, readable and writable. */
unsigned char *test_area_anon(struct test_area *area, size_t offset,
			      size_t size);
void test_area_release(void *area);

/* An area that is private anonymous memory, untouched, without huge pages. */
unsigned char *test_map(size_t size, size_t align);
/* The same with huge pages, populated; NULL if there are none. */
unsigned char *test_map_huge(size_t size);
/*
 * Have malloc() take a mapping for what is larger than @mmap_threshold, and give
 * what is free at the end of the heap back if that is more than @trim_threshold.
 * False if this libc's cannot be told.
 */
bool test_tune_malloc(size_t mmap_threshold, size_t trim_threshold);
/* Have malloc() give back what it can. */
void test_trim_malloc(void);
/* Bytes of huge pages in the mapping that @addr is in (smaps). */
size_t test_huge_bytes(const void *addr);
/*
 * munmap() a part of an area for good: whatever the kernel then puts there is
 * not the area's.  _sync waits until the event has been acted on.
 */
void test_munmap(void *addr, size_t size);
void test_munmap_sync(void *addr, size_t size);
/* Who changes memory by other calls tells the area that it is in, if any. */
void test_area_note(const void *addr, size_t size, bool hole);
/* mremap() to another place in an area, mapped over what was there. */
void test_mremap(void *addr, size_t size, void *to);
void test_mremap_sync(void *addr, size_t size, void *to);
/* test_mremap() on a thread that the test waits for; whether it worked. */
bool test_try_mremap(void *addr, size_t size, void *to);
/* madvise(), and wait until its event has been acted on. */
void test_madvise_sync(void *addr, size_t size, int advice);

/* Fill with a pattern that differs per @tag and per byte, and look for it. */
void test_fill(void *addr, size_t size, unsigned int tag);
/* Offset of the first byte that differs, or @size. */
size_t test_match(const void *addr, size_t size, unsigned int tag);
/* What test_fill() puts at @offset. */
unsigned char test_pattern(size_t offset, unsigned int tag);
/* Offset of the first byte that is not @value, or @size. */
size_t test_match_byte(const void *addr, size_t size, unsigned char value);
#define assert_filled(addr, size, tag) \
	assert_int_equal(test_match((addr), (size), (tag)), (size))
#define assert_zeroed(addr, size) \
	assert_int_equal(test_match_byte((addr), (size), 0), (size))

/* Touch one byte per page. */
void test_touch_read(const void *addr, size_t size);
void test_touch_write(void *addr, size_t size);

/* How many pages the CPU's page table has (mincore); the zero page counts. */
size_t test_resident(const void *addr, size_t size);
/* Whether the page table has this page (pagemap). */
bool test_page_present(const void *addr);
/* Whether it is a page of this process alone, so not the zero page. */
bool test_page_exclusive(const void *addr);

#endif /* TESTS_HARNESS_H */
