/* SPDX-License-Identifier: MIT */
/*
 * The private allocator: what blocks look like, that they do not touch each
 * other, that memory and address space come back, and that threads, forks and
 * lack of memory do it no harm.  Whole pages are in test_alloc_pages.c.
 */
#include "unit_alloc.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "compiler.h"

#define BLOCK_ALIGN 64

static uint64_t seed;
static unsigned int errors_logged;

static void count_error(enum gpusvm_log_level level, const char *message,
			void *priv)
{
	(void)level;
	(void)message;
	(void)priv;
	errors_logged++;
}

/* ---- The window ---- */

/* In a child, which ends with what @check returns. */
static int with_address_space(size_t bytes, int (*check)(size_t bytes))
{
	struct rlimit limit;
	unsigned long pages;
	pid_t child = fork();
	FILE *statm;

	if (child)
		return exit_status(child);
	statm = fopen("/proc/self/statm", "r");
	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		_exit(100);
	limit.rlim_cur = limit.rlim_max = pages * PAGE_SIZE + bytes;
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(101);
	_exit(check(bytes));
}

static int window_fits(size_t bytes)
{
	unsigned long start, end;
	void *ptr = gpusvm_alloc(100);

	gpusvm_alloc_window(&start, &end);
	if (!ptr || end - start > bytes || end - start < bytes / 4)
		return 1;
	memset(ptr, 1, 100);
	gpusvm_free(ptr);
	return 0;
}

static int nothing_fits(size_t bytes)
{
	unsigned long start, end;

	(void)bytes;
	if (gpusvm_alloc(100) || gpusvm_alloc(MIB) ||
	    gpusvm_alloc_pages(PAGE_SIZE, PAGE_SIZE))
		return 1;
	gpusvm_alloc_window(&start, &end);
	return start || end || gpusvm_alloc_live();
}

/* Has to be the first test: the window is reserved once. */
static void window_before_first_allocation_is_empty(void **state)
{
	unsigned long start = 1, end = 1;

	(void)state;
	gpusvm_alloc_window(&start, &end);
	assert_int_equal(start, 0);
	assert_int_equal(end, 0);
}

static void window_with_little_address_space_is_smaller(void **state)
{
	(void)state;
	assert_int_equal(with_address_space(GIB + 64 * MIB, window_fits), 0);
}

static void alloc_without_address_space_returns_null(void **state)
{
	(void)state;
	assert_int_equal(with_address_space(64 * MIB, nothing_fits), 0);
}

static int read_byte(unsigned long address)
{
	char byte;
	struct iovec local = { .iov_base = &byte, .iov_len = 1 };
	struct iovec remote = { .iov_base = (void *)address, .iov_len = 1 };

	return (int)gpusvm_sys_process_vm_readv(gpusvm_sys_getpid(), &local, 1,
						&remote, 1);
}

static void window_contains_blocks_and_has_guards(void **state)
{
	void *small = gpusvm_alloc(1);
	void *large = gpusvm_alloc(MIB);
	unsigned long start, end;

	(void)state;
	gpusvm_alloc_window(&start, &end);
	assert_true((unsigned long)small > start);
	assert_true((unsigned long)small < end);
	assert_true((unsigned long)large > start);
	assert_true((unsigned long)large + MIB < end);
	assert_int_equal(read_byte((unsigned long)small), 1);
	assert_int_equal(read_byte(start), -EFAULT);
	assert_int_equal(read_byte(start + PAGE_SIZE - 1), -EFAULT);
	assert_int_equal(read_byte(end - PAGE_SIZE), -EFAULT);
	assert_int_equal(read_byte(end - 1), -EFAULT);
	gpusvm_free(small);
	gpusvm_free(large);
}

/* ---- Blocks ---- */

static const size_t sizes[] = {
	0,	1,    63,      64,	 65,	       128,	 129,
	1000,	4096, 4097,    16 * KIB, 32 * KIB,     64 * KIB, 65 * KIB,
	100000, MIB,  MIB + 1, 3 * MIB,	 32 * KIB + 1,
};

static void alloc_any_size_is_zeroed_and_aligned(void **state)
{
	size_t round, i;
	void *ptr;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			ptr = gpusvm_alloc(sizes[i]);
			assert_non_null(ptr);
			assert_int_equal((uintptr_t)ptr % BLOCK_ALIGN, 0);
			assert_true(all_bytes(ptr, 0, sizes[i]));
			memset(ptr, 0xff, sizes[i]);
			gpusvm_free(ptr);
		}
	}
}

static void alloc_of_locked_memory_is_zeroed(void **state)
{
	size_t size = 40 * KIB;
	void *ptr = gpusvm_alloc(size), *again;

	(void)state;
	assert_non_null(ptr);
	if (mlock(ptr, size)) {
		gpusvm_free(ptr);
		skip();
	}
	memset(ptr, 0xff, size);
	gpusvm_free(ptr);
	again = gpusvm_alloc(size);
	assert_ptr_equal(again, ptr);
	assert_true(all_bytes(again, 0, size));
	munlock(again, size);
	gpusvm_free(again);
}

static void alloc_too_large_returns_null(void **state)
{
	size_t live = gpusvm_alloc_live();

	(void)state;
	assert_null(gpusvm_alloc(SIZE_MAX));
	assert_null(gpusvm_alloc(SIZE_MAX - 64 * KIB));
	assert_null(gpusvm_alloc(SIZE_MAX / 2));
	assert_null(gpusvm_alloc(64 * GIB));
	assert_null(gpusvm_alloc_array(SIZE_MAX, 2));
	assert_null(gpusvm_alloc_array(1ul << 32, 1ul << 32));
	assert_int_equal(gpusvm_alloc_live(), live);
}

static void alloc_array_of_elements_is_zeroed(void **state)
{
	uint64_t *array = gpusvm_alloc_array(1000, sizeof(*array));

	(void)state;
	assert_non_null(array);
	assert_true(all_bytes(array, 0, 1000 * sizeof(*array)));
	gpusvm_free(array);
	array = gpusvm_alloc_array(0, sizeof(*array));
	assert_non_null(array);
	gpusvm_free(array);
}

struct block {
	unsigned char *ptr;
	size_t size;
	unsigned char value;
};

/* Most are small, as most are in the library. */
static size_t random_size(uint64_t *random)
{
	unsigned int bits = (unsigned int)unit_random_below(random, 19);

	return 1 + unit_random_below(random, 1ul << bits);
}

/* False if the block was damaged or a new one is not zeroed. */
static bool toggle(struct block *block, uint64_t *random)
{
	bool good;

	if (block->ptr) {
		good = all_bytes(block->ptr, block->value, block->size);
		gpusvm_free(block->ptr);
		block->ptr = NULL;
		return good;
	}
	block->size = random_size(random);
	block->value = (unsigned char)(1 + unit_random_below(random, 255));
	block->ptr = gpusvm_alloc(block->size);
	if (!block->ptr || !all_bytes(block->ptr, 0, block->size))
		return false;
	memset(block->ptr, block->value, block->size);
	return true;
}

static void alloc_random_sizes_keep_their_contents(void **state)
{
	static struct block blocks[500];
	size_t live = gpusvm_alloc_live(), count = 0, i;
	uint64_t random = seed;
	unsigned int step;

	(void)state;
	for (step = 0; step < 20000; step++) {
		i = unit_random_below(&random, ARRAY_SIZE(blocks));
		assert_true(toggle(&blocks[i], &random));
		count = blocks[i].ptr ? count + 1 : count - 1;
		assert_int_equal(gpusvm_alloc_live(), live + count);
	}
	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		if (blocks[i].ptr)
			assert_true(toggle(&blocks[i], &random));
	}
	assert_int_equal(gpusvm_alloc_live(), live);
}

static void free_of_what_is_not_a_block_is_reported(void **state)
{
	char *small = gpusvm_alloc(100), *large = gpusvm_alloc(MIB);
	char *pages = gpusvm_alloc_pages(MIB, MIB);
	size_t live = gpusvm_alloc_live();
	char other;

	(void)state;
	errors_logged = 0;
	gpusvm_set_log(count_error, NULL, GPUSVM_LOG_ERROR);
	gpusvm_free(NULL);
	gpusvm_free_pages(NULL, PAGE_SIZE);
	assert_int_equal(errors_logged, 0);
	gpusvm_free(&other);
	gpusvm_free(small + 64);
	gpusvm_free(small + 1);
	gpusvm_free(large + 64);
	gpusvm_free(large + 64 * KIB);
	gpusvm_free(large + MIB - 64 * KIB);
	gpusvm_free(pages);
	gpusvm_free_pages(large, MIB);
	assert_int_equal(errors_logged, 8);
	assert_int_equal(gpusvm_alloc_live(), live);
	gpusvm_free(small);
	gpusvm_free(small);
	gpusvm_free(large);
	gpusvm_free(large);
	gpusvm_free_pages(pages, MIB);
	gpusvm_free_pages(pages, MIB);
	assert_int_equal(errors_logged, 11);
	assert_int_equal(gpusvm_alloc_live(), live - 2);
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
}

/* ---- Memory and address space come back ---- */

static size_t resident_pages(void *ptr, size_t size)
{
	unsigned char resident[MIB / 4096];
	size_t count = 0, i;

	assert_int_equal(mincore(ptr, size, resident), 0);
	for (i = 0; i < size / PAGE_SIZE; i++)
		count += resident[i] & 1;
	return count;
}

static void free_large_block_gives_memory_back(void **state)
{
	void *ptr = gpusvm_alloc(MIB);

	(void)state;
	assert_int_equal(resident_pages(ptr, MIB), 0);
	memset(ptr, 1, MIB);
	assert_int_equal(resident_pages(ptr, MIB), MIB / PAGE_SIZE);
	gpusvm_free(ptr);
	assert_int_equal(resident_pages(ptr, MIB), 0);
}

static void free_all_of_many_small_blocks_gives_memory_back(void **state)
{
	static void *blocks[10000];
	size_t pages = 0, i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		blocks[i] = gpusvm_alloc(1024);
		memset(blocks[i], 1, 1024);
	}
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		gpusvm_free(blocks[i]);
	for (i = 0; i < ARRAY_SIZE(blocks); i += PAGE_SIZE / 1024) {
		pages += resident_pages(
			(void *)PAGE_ALIGN_DOWN((unsigned long)blocks[i]),
			PAGE_SIZE);
	}
	/* One slab stays for the next one. */
	assert_in_range(pages, 0, 64 * KIB / PAGE_SIZE);
}

static void free_large_block_gives_address_space_back(void **state)
{
	unsigned int i;
	void *ptr;

	(void)state;
	for (i = 0; i < 1000; i++) {
		ptr = gpusvm_alloc(GIB);
		assert_non_null(ptr);
		gpusvm_free(ptr);
	}
}

static void free_in_any_order_makes_one_run_again(void **state)
{
	void *blocks[64], *whole;
	uint64_t random = seed;
	size_t n, left, i;

	(void)state;
	for (n = 0; n < ARRAY_SIZE(blocks); n++) {
		blocks[n] = gpusvm_alloc(GIB);
		if (!blocks[n])
			break;
	}
	/* The table and the guards leave no room for the last one. */
	assert_in_range(n, 1, ARRAY_SIZE(blocks) - 1);
	for (left = n; left; left--) {
		i = unit_random_below(&random, left);
		gpusvm_free(blocks[i]);
		blocks[i] = blocks[left - 1];
	}
	whole = gpusvm_alloc(n * GIB);
	assert_non_null(whole);
	gpusvm_free(whole);
}

/* ---- Threads and forks ---- */

#define NTHREADS 4
#define NSHARED 64

static struct {
	pthread_mutex_t lock;
	struct block blocks[NSHARED];
	bool failed;
	bool stop;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Blocks are freed by other threads than those that allocated them. */
static void *allocate_and_free(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg;
	struct block mine = { 0 }, other;
	unsigned int step, i;
	bool good = true;

	for (step = 0; step < 5000 && !READ_ONCE(shared.stop); step++) {
		good &= toggle(&mine, &random);
		i = (unsigned int)unit_random_below(&random, NSHARED);
		pthread_mutex_lock(&shared.lock);
		other = shared.blocks[i];
		shared.blocks[i] = mine;
		pthread_mutex_unlock(&shared.lock);
		mine = other;
	}
	if (mine.ptr)
		good &= toggle(&mine, &random);
	if (!good)
		WRITE_ONCE(shared.failed, true);
	return NULL;
}

static void start_threads(pthread_t *threads)
{
	uintptr_t i;

	shared.stop = false;
	for (i = 0; i < NTHREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL,
						allocate_and_free, (void *)i),
				 0);
	}
}

static void join_threads(pthread_t *threads)
{
	uint64_t random = seed;
	unsigned int i;

	for (i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < NSHARED; i++) {
		if (shared.blocks[i].ptr)
			assert_true(toggle(&shared.blocks[i], &random));
	}
	assert_false(shared.failed);
}

static void alloc_from_many_threads_keeps_contents(void **state)
{
	size_t live = gpusvm_alloc_live();
	pthread_t threads[NTHREADS];

	(void)state;
	start_threads(threads);
	join_threads(threads);
	assert_int_equal(gpusvm_alloc_live(), live);
}

static int use_in_child(void)
{
	struct block blocks[20] = { 0 };
	uint64_t random = seed;
	unsigned int i;

	/* A lock left behind would hang the child. */
	alarm(unit_seconds(20));
	for (i = 0; i < 2 * ARRAY_SIZE(blocks); i++) {
		if (!toggle(&blocks[i % ARRAY_SIZE(blocks)], &random))
			return 1;
	}
	return 0;
}

static void fork_while_threads_allocate_leaves_child_usable(void **state)
{
	pthread_t threads[NTHREADS];
	bool good = true;
	unsigned int i;
	pid_t child;

	(void)state;
	start_threads(threads);
	for (i = 0; i < 50 && good; i++) {
		child = fork();
		if (!child)
			_exit(use_in_child());
		good = exit_status(child) == 0;
	}
	WRITE_ONCE(shared.stop, true);
	join_threads(threads);
	assert_true(good);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_before_first_allocation_is_empty),
		cmocka_unit_test(window_with_little_address_space_is_smaller),
		cmocka_unit_test(alloc_without_address_space_returns_null),
		cmocka_unit_test(window_contains_blocks_and_has_guards),
		cmocka_unit_test(alloc_any_size_is_zeroed_and_aligned),
		cmocka_unit_test(alloc_of_locked_memory_is_zeroed),
		cmocka_unit_test(alloc_too_large_returns_null),
		cmocka_unit_test(alloc_array_of_elements_is_zeroed),
		cmocka_unit_test(alloc_random_sizes_keep_their_contents),
		cmocka_unit_test(free_of_what_is_not_a_block_is_reported),
		cmocka_unit_test(free_large_block_gives_memory_back),
		cmocka_unit_test(
			free_all_of_many_small_blocks_gives_memory_back),
		cmocka_unit_test(free_large_block_gives_address_space_back),
		cmocka_unit_test(free_in_any_order_makes_one_run_again),
		cmocka_unit_test(alloc_from_many_threads_keeps_contents),
		cmocka_unit_test(
			fork_while_threads_allocate_leaves_child_usable),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
