/* SPDX-License-Identifier: MIT */
/*
 * Memory that other threads never cease to do I/O with, while it migrates.  Its
 * pages are pinned whenever one looks, so they may stay where they are; a
 * source that can keep them from everybody for a moment takes them.  Either way
 * nothing that is stored there is lost, by I/O or by the CPU.
 */
#include "fake_driver.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE SZ_64K
#define READERS 2
#define ADDERS 2
#define ROUNDS 40

/* Behind what is only read: a page to add to, and one that I/O writes to. */
#define READ_SIZE (SIZE - 2 * PS)
#define ADD_AT READ_SIZE
#define WRITE_AT (READ_SIZE + PS)

/**
 * struct busy - A thread that uses the memory
 * @mem: The memory
 * @stop: Until this is set
 * @done: How often it did what it does
 * @wrong: How often it found something else than what must be there
 */
struct busy {
	pthread_t thread;
	unsigned char *mem;
	bool *stop;
	unsigned long done;
	unsigned long wrong;
};

static bool goes_on(const struct busy *b)
{
	return !__atomic_load_n(b->stop, __ATOMIC_ACQUIRE);
}

/* Pages are pinned while they are copied; EFAULT without KERNEL_FAULTS. */
static void *read_for_ever(void *arg)
{
	struct busy *b = arg;
	unsigned char *buffer = gpusvm_alloc(SIZE);
	struct iovec remote = { b->mem, READ_SIZE };
	struct iovec local = { buffer, READ_SIZE };
	ssize_t n;

	while (buffer && goes_on(b)) {
		n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		if (n < 0)
			continue;
		b->done++;
		b->wrong += test_match(buffer, (size_t)n, 1) != (size_t)n;
	}
	gpusvm_free(buffer);
	return NULL;
}

/* What was written is there when it is read, whatever happened in between. */
static void *write_for_ever(void *arg)
{
	unsigned long number = 0, found;
	struct busy *b = arg;
	struct iovec remote = { b->mem + WRITE_AT, sizeof(number) };
	struct iovec written = { &number, sizeof(number) };
	struct iovec read = { &found, sizeof(found) };

	while (goes_on(b)) {
		number++;
		while (process_vm_writev(getpid(), &written, 1, &remote, 1, 0) <
			       0 &&
		       goes_on(b))
			;
		while (process_vm_readv(getpid(), &read, 1, &remote, 1, 0) <
			       0 &&
		       goes_on(b))
			found = number;
		b->done++;
		b->wrong += goes_on(b) && found != number;
	}
	return NULL;
}

static void *add_for_ever(void *arg)
{
	struct busy *b = arg;

	for (; goes_on(b); b->done++)
		__atomic_fetch_add((unsigned long *)(b->mem + ADD_AT), 1,
				   __ATOMIC_RELAXED);
	return NULL;
}

static void start(struct busy *b, unsigned char *mem, bool *stop,
		  void *(*fn)(void *))
{
	*b = (struct busy){ .mem = mem, .stop = stop };
	test_thread_start(&b->thread, fn, b);
}

static void busy_memory_is_taken_or_stays(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SIZE, SIZE);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SIZE);
	struct busy busy[READERS + ADDERS + 1];
	unsigned long features = gpusvm_mm_features(test_mm);
	unsigned int i, n = 0, taken = 0;
	unsigned long added = 0;
	bool stop = false;
	int err;

	(void)state;
	test_fill(mem, SIZE, 1);
	memset(mem + ADD_AT, 0, PS);
	while (n < READERS)
		start(&busy[n++], mem, &stop, read_for_ever);
	while (n < READERS + ADDERS)
		start(&busy[n++], mem, &stop, add_for_ever);
	/* Write-protection does not see that a page is being written to. */
	if (features & GPUSVM_FEATURE_MOVE)
		start(&busy[n++], mem, &stop, write_for_ever);
	/* Held pages are taken sooner or later. */
	for (i = 0; i < ROUNDS || (!taken && (features & GPUSVM_FEATURE_RWP));
	     i++) {
		err = fake_migrate(d, range, NULL);
		if (err != -EBUSY && err != -EFAULT)
			assert_ret(err, 0);
		taken += !err;
		assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < n; i++)
		test_thread_join(busy[i].thread);
	print_message("taken: %u of %u\n", taken, i);
	for (i = 0; i < n; i++)
		assert_int_equal(busy[i].wrong, 0);
	for (i = READERS; i < READERS + ADDERS; i++)
		added += busy[i].done;
	assert_int_equal(*(unsigned long *)(mem + ADD_AT), added);
	assert_filled(mem, READ_SIZE, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(busy_memory_is_taken_or_stays),
};

CONF_MAIN(tests)
