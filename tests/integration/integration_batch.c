/* SPDX-License-Identifier: MIT */
/*
 * Batches of ranges to the device against the kernel: what goes together is told
 * of once, and whatever is in the way of one range keeps no other, nor data.
 */
#include "fake_batch.h"
#include "fake_later.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANGES 32u /* of 64 KiB in 2 MiB */

static struct fake_batch batch;

/* The address of entry @i. */
static unsigned char *mem_of(unsigned int i)
{
	return (unsigned char *)drm_gpusvm_range_start(batch.entry[i].range);
}

/* All of [mem, mem + size) in ranges of @each bytes. */
static void add_all(struct fake_driver *d, unsigned char *mem, size_t size,
		    size_t each)
{
	size_t at;

	for (at = 0; at < size; at += each)
		assert_true(fake_batch_add(&batch,
					   fake_range_at(d, mem + at, each)));
}

static struct fake_driver *create(void)
{
	batch.d = fake_driver_create(NULL);
	batch.n = 0;
	return batch.d;
}

/* 2 MiB in ranges of 64 KiB, each with a pattern of its own. */
static unsigned char *fill_and_add(struct fake_driver *d)
{
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	unsigned int i;

	for (i = 0; i < RANGES; i++)
		test_fill(mem + i * SZ_64K, SZ_64K, 1 + i);
	add_all(d, mem, SZ_2M, SZ_64K);
	return mem;
}

static void assert_range(unsigned int i, int err)
{
	struct drm_gpusvm_range *range = batch.entry[i].range;

	assert_ret(batch.entry[i].err, err);
	if (!err) {
		assert_ret(fake_get_pages(batch.d, range), 0);
		assert_true(range->flags.has_devmem_pages);
		assert_dev_filled(batch.d, range, 1 + i);
	}
}

/* All are there, and right from both sides, but for @which, which has @err. */
static void assert_all_but(unsigned int which, int err)
{
	unsigned int i;

	for (i = 0; i < batch.n; i++)
		assert_range(i, i == which ? err : 0);
	for (i = 0; i < batch.n; i++)
		assert_filled(mem_of(i), SZ_64K, 1 + i);
}

#define NONE (~0u)

static void batch_is_told_of_once(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);
	const struct fake_event *event;

	(void)state;
	fake_reset(d);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, SZ_2M),
			 1);
	event = fake_last_event(d, MMU_NOTIFY_MIGRATE, mem, SZ_2M);
	assert_int_equal(event->start, (unsigned long)mem);
	assert_int_equal(event->end, (unsigned long)mem + SZ_2M);
	assert_ptr_equal(event->owner, d);
	assert_int_equal(event->ranges, RANGES);
	assert_int_equal(d->populates, RANGES);
	assert_int_equal(d->copies_to_devmem, RANGES);
	assert_all_but(NONE, 0);
}

/* As many pages go together as are trapped as a whole. */
#define WINDOW (512 * PS)

static void batch_is_told_of_once_per_window(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(2 * WINDOW, WINDOW) + WINDOW - SZ_1M;
	const struct fake_event *event;
	unsigned int i;

	(void)state;
	for (i = 0; i < RANGES; i++)
		test_fill(mem + i * SZ_64K, SZ_64K, 1 + i);
	add_all(d, mem, SZ_2M, SZ_64K);
	fake_reset(d);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, SZ_2M),
			 2);
	event = fake_last_event(d, MMU_NOTIFY_MIGRATE, mem, SZ_2M);
	assert_int_equal(event->start, (unsigned long)mem + SZ_1M);
	assert_all_but(NONE, 0);
}

static void large_ranges_are_told_of_one_by_one(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);

	(void)state;
	if (WINDOW > SZ_2M)
		test_skip("no range of the device's is as large as a window");
	test_fill(mem, 2 * SZ_2M, 1);
	add_all(d, mem, 2 * SZ_2M, SZ_2M);
	fake_reset(d);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_int_equal(
		fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, 2 * SZ_2M), 2);
	assert_filled(mem, 2 * SZ_2M, 1);
}

static void single_pages_go_together(void **state)
{
	struct fake_driver *d = create();
	size_t size = FAKE_BATCH_MOST * PS;
	unsigned char *mem = test_map(SZ_2M, SZ_2M);

	(void)state;
	test_fill(mem, size, 1);
	add_all(d, mem, size, PS);
	fake_reset(d);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, size),
			 1);
	assert_int_equal(fake_devmem_used(d), FAKE_BATCH_MOST);
	assert_filled(mem, size, 1);
}

static void huge_page_goes_in_ranges(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map_huge(SZ_2M);
	unsigned int i;

	(void)state;
	if (!mem)
		test_skip("the kernel gave no huge page");
	for (i = 0; i < RANGES; i++)
		test_fill(mem + i * SZ_64K, SZ_64K, 1 + i);
	add_all(d, mem, SZ_2M, SZ_64K);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_all_but(NONE, 0);
}

/* Staging is used again, in whatever order its pieces became free. */
static void batches_go_to_and_fro(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);
	unsigned int i, round;

	(void)state;
	for (round = 0; round < 5; round++) {
		assert_ret(fake_batch_migrate(&batch), 0);
		for (i = 0; i < RANGES; i++)
			assert_range(i, 0);
		/* One by one, in another order. */
		for (i = 0; i < RANGES; i++) {
			unsigned int at = (i * 13 + round) % RANGES;

			assert_filled(mem + at * SZ_64K, SZ_64K, 1 + at);
		}
		for (i = 0; i < RANGES; i++)
			drm_gpusvm_evict_to_ram(&batch.alloc[i]->base);
		batch.n = 0;
		add_all(d, mem, SZ_2M, SZ_64K);
	}
	for (i = 0; i < batch.n; i++)
		fake_alloc_drop(batch.alloc[i]);
}

/* ---- In the way ---- */

static void range_on_the_device_keeps_itself_only(void **state)
{
	struct fake_driver *d = create();

	(void)state;
	fill_and_add(d);
	assert_ret(fake_migrate(d, batch.entry[7].range, NULL), 0);
	assert_ret(fake_batch_migrate(&batch), -EFAULT);
	assert_all_but(7, -EFAULT);
}

/* Locked memory takes another way (write-protection), or none. */
static void locked_page_keeps_no_other_range(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);
	int err;

	(void)state;
	/* The bare call: a sanitizer makes nothing of mlock(). */
	if (syscall(SYS_mlock, mem + 9 * SZ_64K + PS, PS))
		test_skip("memory cannot be locked here: %s", strerror(errno));
	err = fake_batch_migrate(&batch);
	if (err != -EBUSY)
		assert_ret(err, 0);
	assert_all_but(9, err);
}

static void pages_that_a_child_shares_go(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);
	int status = -1, hold[2];
	unsigned int i;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (!pid) {
		close(hold[1]);
		(void)!read(hold[0], &byte, 1);
		for (i = 0; i < RANGES; i++)
			if (test_match(mem + i * SZ_64K, SZ_64K, 1 + i) !=
			    SZ_64K)
				_exit(1);
		_exit(0);
	}
	close(hold[0]);
	assert_ret(fake_batch_migrate(&batch), 0);
	assert_all_but(NONE, 0);
	close(hold[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void mapping_that_is_gone_keeps_its_ranges_only(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);
	unsigned int i;

	(void)state;
	test_munmap_sync(mem + 4 * SZ_64K, 2 * SZ_64K);
	assert_ret(fake_batch_migrate(&batch), -ENOENT);
	for (i = 0; i < RANGES; i++)
		assert_range(i, i == 4 || i == 5 ? -ENOENT : 0);
	for (i = 0; i < RANGES; i++)
		if (i != 4 && i != 5)
			assert_filled(mem_of(i), SZ_64K, 1 + i);
}

/* ---- Errors of the driver ---- */

static void error_of_a_callback_is_of_its_range(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = fill_and_add(d);

	(void)state;
	fake_fault_arm(&d->fail_copy_to_devmem, -EREMOTEIO, 12, 1);
	assert_ret(fake_batch_migrate(&batch), -EREMOTEIO);
	assert_all_but(11, -EREMOTEIO);
	/* The others have come home; once more. */
	fake_driver_lock(d);
	for (batch.n = 0; batch.n < RANGES;)
		assert_true(fake_batch_add(&batch, batch.entry[batch.n].range));
	fake_driver_unlock(d);
	fake_fault_arm(&d->fail_populate, -EXFULL, 3, 1);
	assert_ret(fake_batch_migrate(&batch), -EXFULL);
	assert_all_but(2, -EXFULL);
	assert_filled(mem, SZ_64K, 1);
}

/* ---- Copies that complete later ---- */

static unsigned int most_at_a_time;

/* The fourth of them fails. */
static void *complete_all(void *arg)
{
	const unsigned int *expected = arg;

	test_wait_until(fake_later_count() >= *expected);
	most_at_a_time = fake_later_count();
	fake_later_complete(3, -EREMOTEIO);
	fake_later_complete_all();
	return NULL;
}

static void all_copies_are_started_first(void **state)
{
	struct fake_driver *d = create();
	bool together = gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE;
	unsigned int expected = RANGES;
	pthread_t thread;

	(void)state;
	if (!together)
		test_skip("ranges go one by one without UFFDIO_MOVE");
	d->devmem_ops = &fake_later_ops;
	fill_and_add(d);
	test_thread_start(&thread, complete_all, &expected);
	assert_ret(fake_batch_migrate(&batch), -EREMOTEIO);
	test_thread_join(thread);
	assert_int_equal(most_at_a_time, RANGES);
	assert_all_but(3, -EREMOTEIO);
}

static const struct CMUnitTest tests[] = {
	conf_test(batch_is_told_of_once),
	conf_test(batch_is_told_of_once_per_window),
	conf_test(large_ranges_are_told_of_one_by_one),
	conf_test(single_pages_go_together),
	conf_test(huge_page_goes_in_ranges),
	conf_test(batches_go_to_and_fro),
	conf_test(range_on_the_device_keeps_itself_only),
	conf_test(locked_page_keeps_no_other_range),
	conf_test(pages_that_a_child_shares_go),
	conf_test(mapping_that_is_gone_keeps_its_ranges_only),
	conf_test(error_of_a_callback_is_of_its_range),
	conf_test(all_copies_are_started_first),
};

CONF_MAIN(tests)
