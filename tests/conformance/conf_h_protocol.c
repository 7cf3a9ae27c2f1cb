/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group H: events that no system call of a test can raise, made
 * with the library's own functions.
 */
#include "fake_driver.h"

#include "interval_notifier.h"

/* How long a thread is watched that must not get on. */
#define WATCH_MS 100

static void describe(struct mmu_notifier_range *event, unsigned char *mem,
		     size_t size, unsigned int flags)
{
	*event = (struct mmu_notifier_range){
		.mm = test_mm,
		.start = (unsigned long)mem,
		.end = (unsigned long)mem + size,
		.flags = flags,
		.event = MMU_NOTIFY_CLEAR,
	};
}

/* ---- 97: who reads during an event waits for its end ---- */

struct reader {
	struct mmu_interval_notifier *notifier;
	unsigned long seq;
	bool started;
	bool done;
};

static void *read_begin(void *arg)
{
	struct reader *r = arg;

	__atomic_store_n(&r->started, true, __ATOMIC_RELEASE);
	r->seq = gpusvm_mmu_interval_read_begin(r->notifier);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void conf_097_reader_waits_for_the_end(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct reader r = { .notifier = &range->notifier->notifier };
	struct mmu_notifier_range first, second;
	unsigned long before;
	bool early;
	pthread_t thread;

	(void)state;
	assert_ret(fake_get_pages(d, range), 0);
	describe(&first, mem, SZ_64K, MMU_NOTIFIER_RANGE_BLOCKABLE);
	describe(&second, mem + SZ_64K, SZ_64K, MMU_NOTIFIER_RANGE_BLOCKABLE);
	before = gpusvm_mmu_interval_read_begin(r.notifier);
	assert_false(gpusvm_mmu_interval_read_retry(r.notifier, before));

	assert_ret(gpusvm_notify_start(&first), 0);
	assert_true(gpusvm_mmu_interval_read_retry(r.notifier, before));
	test_thread_start(&thread, read_begin, &r);
	test_wait_for(__atomic_load_n(&r.started, __ATOMIC_ACQUIRE),
		      TEST_WAIT_MS);
	/* Until the last of two events that overlap in time has ended. */
	assert_ret(gpusvm_notify_start(&second), 0);
	gpusvm_notify_end(&first);
	early = test_wait_for(__atomic_load_n(&r.done, __ATOMIC_ACQUIRE),
			      WATCH_MS);
	gpusvm_notify_end(&second);
	test_thread_join(thread);

	assert_false(early);
	assert_true(r.done);
	assert_false(gpusvm_mmu_interval_read_retry(r.notifier, r.seq));
	assert_false(fake_valid(d, range));
	assert_int_equal(d->num_events, 2);
	assert_ret(fake_get_pages(d, range), 0);
}

static void conf_097_event_elsewhere_holds_nobody_up(void **state)
{
	const struct fake_driver_config small = { .notifier_size = SZ_2M };
	struct fake_driver *d = fake_driver_create(&small);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct drm_gpusvm_range *other = fake_range_at(d, mem + SZ_2M, SZ_64K);
	struct mmu_notifier_range event;

	(void)state;
	describe(&event, mem + SZ_2M, SZ_64K, MMU_NOTIFIER_RANGE_BLOCKABLE);
	assert_ret(gpusvm_notify_start(&event), 0);
	/* Would not return if it waited. */
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(fake_valid(d, range));
	gpusvm_notify_end(&event);
	assert_true(fake_valid(d, range));
	assert_ret(fake_get_pages(d, other), 0);
}

static void conf_097_new_notifier_during_an_event(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct fake_driver *late = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct mmu_notifier_range event;
	struct reader r = { .done = false };
	bool early;
	pthread_t thread;

	(void)state;
	assert_non_null(range);
	describe(&event, mem, SZ_64K, MMU_NOTIFIER_RANGE_BLOCKABLE);
	assert_ret(gpusvm_notify_start(&event), 0);
	range = fake_range_at(late, mem, SZ_64K);
	r.notifier = &range->notifier->notifier;
	assert_int_equal(late->num_events, 0);
	test_thread_start(&thread, read_begin, &r);
	early = test_wait_for(__atomic_load_n(&r.done, __ATOMIC_ACQUIRE),
			      WATCH_MS);
	gpusvm_notify_end(&event);
	test_thread_join(thread);
	assert_false(early);
	assert_ret(fake_get_pages(late, range), 0);
	assert_true(fake_valid(late, range));

	/* Events reach it from now on. */
	assert_ret(gpusvm_notify_start(&event), 0);
	gpusvm_notify_end(&event);
	assert_int_equal(late->num_events, 1);
	assert_false(fake_valid(late, range));
}

/* ---- 99: an event that may not block ---- */

static void conf_099_non_blockable_event(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct mmu_interval_notifier *notifier;
	struct mmu_notifier_range event;
	unsigned long seq;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	notifier = &range->notifier->notifier;
	seq = gpusvm_mmu_interval_read_begin(notifier);
	describe(&event, mem, SZ_64K, 0);
	assert_ret(gpusvm_notify_start(&event), -EAGAIN);
	assert_int_equal(d->num_events, 0);
	assert_false(gpusvm_mmu_interval_read_retry(notifier, seq));
	assert_true(fake_valid(d, range));
	assert_dev_filled(d, range, 1);

	/* It has been called off altogether: nobody waits for its end. */
	assert_int_equal(gpusvm_mmu_interval_read_begin(notifier), seq);
	test_fill(mem, SZ_64K, 2);
	fake_unmap_pages(d, range);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 2);
}

static void conf_099_non_blockable_event_for_nobody(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct mmu_notifier_range event;

	(void)state;
	describe(&event, mem, SZ_64K, 0);
	assert_ret(gpusvm_notify_start(&event), 0);
	gpusvm_notify_end(&event);
	assert_int_equal(d->num_events, 0);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_097_reader_waits_for_the_end),
	conf_test(conf_097_event_elsewhere_holds_nobody_up),
	conf_test(conf_097_new_notifier_during_an_event),
	conf_test(conf_099_non_blockable_event),
	conf_test(conf_099_non_blockable_event_for_nobody),
};

CONF_MAIN(tests)
