/* SPDX-License-Identifier: MIT */
/*
 * The heap is on the device while malloc() and free() give its memory back and
 * take it again: inside libc, past all hooks.  Nobody deadlocks, and no block
 * loses what is in it.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS 160
#define THREADS 3
#define ROUNDS 6

struct block {
	unsigned char *mem;
	size_t size;
	unsigned int tag;
};

static void allocate(struct block *b, size_t size)
{
	static unsigned int last_tag;

	b->size = size;
	b->tag = __atomic_add_fetch(&last_tag, 1, __ATOMIC_RELAXED);
	b->mem = malloc(size);
	if (b->mem)
		test_fill(b->mem, size, b->tag);
}

static bool is_right(const struct block *b)
{
	return b->mem && test_match(b->mem, b->size, b->tag) == b->size;
}

static size_t random_size(void)
{
	return test_random_below(8) ? 1 + test_random_below(6000)
				    : 1 + test_random_below(100000);
}

/*
 * The device takes the pages of a block, and what else is around.  If nobody
 * tells it what libc does, it may find that its memory has gone.
 */
static void take(struct fake_driver *d, const struct block *b)
{
	unsigned char byte = 0;
	int err = fake_access(d, b->mem + b->size / 2, &byte, 1,
			      test_malloc_migrates());

	assert_true(!err || err == -EBUSY || err == -EAGAIN ||
		    (err == -EFAULT && test_announces()));
	if (!err)
		assert_int_equal(byte, test_pattern(b->size / 2, b->tag));
}

static void heap_trimmed(void **state)
{
	struct block blocks[BLOCKS];
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int i, round;

	(void)state;
	test_tune_malloc(SZ_512M, 0);
	for (i = 0; i < BLOCKS; i++)
		allocate(&blocks[i], random_size());
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < BLOCKS; i += 7)
			take(d, &blocks[i]);
		/* From the end, so that the break falls; then holes. */
		for (i = BLOCKS - 1; i >= BLOCKS / 2; i--)
			free(blocks[i].mem);
		for (i = round & 1; i < BLOCKS / 2; i += 2)
			free(blocks[i].mem);
		test_trim_malloc();
		for (i = 1 - (round & 1); i < BLOCKS / 2; i += 2)
			assert_true(is_right(&blocks[i]));
		for (i = round & 1; i < BLOCKS / 2; i += 2)
			allocate(&blocks[i], random_size());
		for (i = BLOCKS / 2; i < BLOCKS; i++)
			allocate(&blocks[i], random_size());
	}
	for (i = 0; i < BLOCKS; i++) {
		assert_true(is_right(&blocks[i]));
		free(blocks[i].mem);
	}
	gpusvm_mm_sync(test_mm);
	fake_driver_destroy(d);
	test_tune_malloc(SZ_512M, SZ_128K);
}

/* ---- Threads, whose arenas are mappings ---- */

struct trimmer {
	struct block blocks[BLOCKS];
	/* What the main thread may have the device look at. */
	unsigned char *shown;
	unsigned int rounds;
	unsigned int wrong;
};

static void *trim_all_the_time(void *arg)
{
	struct trimmer *t = arg;
	unsigned int i, round;

	for (round = 0; round < 4 * ROUNDS; round++) {
		for (i = 0; i < BLOCKS; i++)
			allocate(&t->blocks[i], random_size());
		__atomic_store_n(&t->shown, t->blocks[0].mem, __ATOMIC_RELEASE);
		for (i = BLOCKS - 1; i > 0; i--) {
			t->wrong += !is_right(&t->blocks[i]);
			free(t->blocks[i].mem);
		}
		test_trim_malloc();
		t->wrong += !is_right(&t->blocks[0]);
		free(t->blocks[0].mem);
		__atomic_fetch_add(&t->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static unsigned int rounds_of(struct trimmer *t)
{
	return __atomic_load_n(&t->rounds, __ATOMIC_ACQUIRE);
}

static void heap_of_threads(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct trimmer *t = gpusvm_alloc(THREADS * sizeof(*t));
	pthread_t thread[THREADS];
	unsigned int i, done = 0, seen = 0;

	(void)state;
	assert_non_null(t);
	test_cleanup(gpusvm_free, t);
	d->careful = true;
	for (i = 0; i < THREADS; i++)
		test_thread_start(&thread[i], trim_all_the_time, &t[i]);
	while (done < THREADS) {
		for (done = i = 0; i < THREADS; i++) {
			unsigned char *mem =
				__atomic_load_n(&t[i].shown, __ATOMIC_ACQUIRE);
			unsigned char byte;

			done += rounds_of(&t[i]) == 4 * ROUNDS;
			/* It may be freed by now, or be another's. */
			if (mem && !fake_access(d, mem, &byte, 1,
						test_malloc_migrates()))
				seen++;
		}
	}
	for (i = 0; i < THREADS; i++) {
		test_thread_join(thread[i]);
		assert_int_equal(t[i].wrong, 0);
	}
	assert_true(seen > 0);
	fake_driver_destroy(d);
}

static const struct CMUnitTest tests[] = {
	conf_test(heap_trimmed),
	conf_test(heap_of_threads),
};

CONF_MAIN(tests)
