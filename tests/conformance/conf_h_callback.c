/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group H: what holds while the invalidate callback runs, and
 * the events of migrations.
 */
#include "fake_driver.h"

#include <string.h>
#include <sys/mman.h>

/* How long a thread is watched that must not get on. */
#define WATCH_MS 100

#define ALLOCS 16

static const struct fake_driver_config small_notifiers = {
	.notifier_size = SZ_2M,
};

/*
 * A callback that waits for a second thread, which must not get on before the
 * callback returns.  In memory that never migrates.
 */
struct blocked {
	struct fake_driver *d;
	struct drm_gpusvm_range *range;
	volatile unsigned char *mem;
	/* The event to look at, while armed. */
	enum mmu_notifier_event kind;
	bool armed;
	/* In the callback, the thread is to start. */
	bool go;
	/* What the thread got. */
	bool passed;
	unsigned char value;
	/* What the callback saw. */
	bool started;
	bool passed_early;
	bool retry;
	unsigned long seq;
	unsigned int calls;
};

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static struct blocked *make_blocked(struct fake_driver *d,
				    struct drm_gpusvm_range *range,
				    unsigned char *mem,
				    enum mmu_notifier_event kind)
{
	struct blocked *b = gpusvm_alloc(sizeof(*b));

	assert_non_null(b);
	test_cleanup(gpusvm_free, b);
	b->d = d;
	b->range = range;
	b->mem = mem;
	b->kind = kind;
	return b;
}

/* ---- 97: the locks and the sequence in the callback ---- */

static void *take_notifier_lock(void *arg)
{
	struct blocked *b = arg;

	if (!test_wait_for(is_set(&b->go), TEST_WAIT_MS))
		return NULL;
	set(&b->started);
	drm_gpusvm_notifier_lock(&b->d->gpusvm);
	set(&b->passed);
	drm_gpusvm_notifier_unlock(&b->d->gpusvm);
	return NULL;
}

static void watch_the_lock(struct fake_driver *d, enum fake_hook where,
			   const void *arg, void *priv)
{
	const struct mmu_notifier_range *event = arg;
	struct blocked *b = priv;

	(void)d;
	if (where != FAKE_AT_INVALIDATE || event->event != b->kind ||
	    !is_set(&b->armed) || b->calls++)
		return;
	b->retry = gpusvm_mmu_interval_read_retry(&b->range->notifier->notifier,
						  b->seq);
	set(&b->go);
	test_wait_for(is_set(&b->started), TEST_WAIT_MS);
	b->passed_early = test_wait_for(is_set(&b->passed), WATCH_MS);
}

static void conf_097_write_lock_is_held(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct blocked *b = make_blocked(d, range, mem, MMU_NOTIFY_CLEAR);
	pthread_t thread;

	(void)state;
	assert_ret(fake_get_pages(d, range), 0);
	b->seq = gpusvm_mmu_interval_read_begin(&range->notifier->notifier);
	assert_false(gpusvm_mmu_interval_read_retry(&range->notifier->notifier,
						    b->seq));
	b->armed = true;
	d->hook_priv = b;
	d->hook = watch_the_lock;
	test_thread_start(&thread, take_notifier_lock, b);
	test_madvise_sync(mem, SZ_64K, MADV_DONTNEED);
	set(&b->go);
	test_thread_join(thread);

	assert_int_equal(b->calls, 1);
	assert_true(b->retry);
	assert_false(b->passed_early);
	assert_true(b->passed);
	assert_true(gpusvm_mmu_interval_read_retry(&range->notifier->notifier,
						   b->seq));
}

/* ---- 98: each overlapped range, and no other ---- */

static void conf_098_overlapped_ranges_only(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_1M, SZ_1M);
	struct drm_gpusvm_range *range[8];
	const struct fake_event *event;
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		test_fill(mem + i * SZ_64K, SZ_64K, i);
		range[i] = fake_range_at(d, mem + i * SZ_64K, SZ_64K);
		assert_ret(fake_get_pages(d, range[i]), 0);
	}
	/* The last page of 2, all of 3 and 4, the first page of 5. */
	fake_reset(d);
	test_madvise_sync(mem + 3 * SZ_64K - PS, 2 * SZ_64K + 2 * PS,
			  MADV_DONTNEED);
	event = fake_last_event(d, MMU_NOTIFY_CLEAR, mem, SZ_1M);
	assert_non_null(event);
	assert_int_equal(event->ranges, 4);
	for (i = 0; i < 8; i++)
		assert_int_equal(fake_valid(d, range[i]), i < 2 || i > 5);
	for (i = 0; i < 8; i++)
		if (i < 2 || i > 5)
			assert_dev_filled(d, range[i], i);
}

/* ---- 100 and 101: migrations raise events ---- */

static const struct fake_event *migrate_event(struct fake_driver *d,
					      unsigned char *mem, size_t size)
{
	const struct fake_event *event =
		fake_last_event(d, MMU_NOTIFY_MIGRATE, mem, size);

	assert_non_null(event);
	assert_true(event->start <= (unsigned long)mem);
	assert_true(event->end >= (unsigned long)mem + size);
	return event;
}

static void conf_100_events_of_migrations(void **state)
{
	static int token;
	const struct fake_driver_config config = { .owner = &token };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_ptr_equal(migrate_event(d, mem, SZ_64K)->owner, &token);

	fake_reset(d);
	assert_int_equal(mem[3 * PS], test_pattern(3 * PS, 1));
	assert_ptr_equal(migrate_event(d, mem, SZ_64K)->owner, &token);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_UNMAP, mem, SZ_64K),
			 0);

	assert_ret(fake_migrate(d, range, &alloc), 0);
	fake_reset(d);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_true(fake_count_events(d, MMU_NOTIFY_CLEAR, mem, PS) > 0);
	assert_true(fake_count_events(d, MMU_NOTIFY_CLEAR, mem + SZ_64K - PS,
				      PS) > 0);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, SZ_64K),
			 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_101_migration_invalidates(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(fake_valid(d, range));
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_false(fake_valid(d, range));

	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_int_equal(mem[0], test_pattern(0, 1));
	assert_false(fake_valid(d, range));

	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_false(fake_valid(d, range));
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_dev_filled(d, range, 1);
}

/* ---- 102: a CPU access waits for the callback ---- */

static void *read_a_byte(void *arg)
{
	struct blocked *b = arg;

	if (!test_wait_for(is_set(&b->go), TEST_WAIT_MS))
		return NULL;
	b->value = b->mem[0];
	set(&b->passed);
	return NULL;
}

static void watch_the_reader(struct fake_driver *d, enum fake_hook where,
			     const void *arg, void *priv)
{
	const struct mmu_notifier_range *event = arg;
	struct blocked *b = priv;

	(void)d;
	if (where != FAKE_AT_INVALIDATE_END || event->event != b->kind ||
	    !is_set(&b->armed) || b->calls++)
		return;
	b->passed_early = test_wait_for(is_set(&b->passed), WATCH_MS);
}

static void conf_102_cpu_waits_for_the_callback(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct blocked *b;
	pthread_t thread;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	b = make_blocked(d, range, mem, MMU_NOTIFY_MIGRATE);
	/* What the device writes last is what the CPU must see. */
	assert_ret(fake_dev_fill(d, range, 2), 0);
	b->armed = true;
	d->hook_priv = b;
	d->hook = watch_the_reader;
	test_thread_start(&thread, read_a_byte, b);
	set(&b->go);
	test_thread_join(thread);

	assert_int_equal(b->calls, 1);
	assert_false(b->passed_early);
	assert_true(b->passed);
	assert_int_equal(b->value, test_pattern(0, 2));
	assert_false(fake_valid(d, range));
	assert_filled(mem, SZ_64K, 2);
}

/* ---- 103: one callback at a time, and every gpusvm its own ---- */

struct crowd {
	struct fake_driver *d;
	struct fake_alloc *alloc[2][ALLOCS];
	unsigned int inside;
	unsigned int most;
	unsigned int ready;
};

struct evictor {
	struct crowd *crowd;
	unsigned int half;
	unsigned int errors;
};

static void count_inside(struct fake_driver *d, enum fake_hook where,
			 const void *arg, void *priv)
{
	struct crowd *c = priv;
	unsigned int inside;

	(void)d;
	(void)arg;
	if (where == FAKE_AT_INVALIDATE) {
		inside = __atomic_add_fetch(&c->inside, 1, __ATOMIC_SEQ_CST);
		if (inside > c->most)
			c->most = inside;
		test_relax();
	} else if (where == FAKE_AT_INVALIDATE_END) {
		__atomic_sub_fetch(&c->inside, 1, __ATOMIC_SEQ_CST);
	}
}

static void *evict_a_half(void *arg)
{
	struct evictor *e = arg;
	struct crowd *c = e->crowd;
	unsigned int i;

	__atomic_add_fetch(&c->ready, 1, __ATOMIC_SEQ_CST);
	test_wait_for(__atomic_load_n(&c->ready, __ATOMIC_SEQ_CST) == 2,
		      TEST_WAIT_MS);
	for (i = 0; i < ALLOCS; i++)
		e->errors += drm_gpusvm_evict_to_ram(
				     &c->alloc[e->half][i]->base) != 0;
	return NULL;
}

static void conf_103_concurrent_events(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	struct fake_driver *other = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct crowd *c = gpusvm_alloc(sizeof(*c));
	struct evictor evictor[2];
	pthread_t thread[2];
	unsigned int i, j;

	(void)state;
	assert_non_null(c);
	test_cleanup(gpusvm_free, c);
	test_fill(mem, 2 * SZ_2M, 1);
	for (i = 0; i < 2; i++) {
		for (j = 0; j < ALLOCS; j++)
			fake_dev_range(d, mem + i * SZ_2M + j * SZ_64K, SZ_64K,
				       &c->alloc[i][j]);
		/* Its own view of the same memory, not mapped. */
		fake_range_at(other, mem + i * SZ_2M, SZ_2M);
	}
	fake_reset(d);
	fake_reset(other);
	d->hook_priv = c;
	d->hook = count_inside;
	for (i = 0; i < 2; i++) {
		evictor[i] = (struct evictor){ .crowd = c, .half = i };
		test_thread_start(&thread[i], evict_a_half, &evictor[i]);
	}
	for (i = 0; i < 2; i++)
		test_thread_join(thread[i]);
	d->hook = NULL;

	assert_int_equal(evictor[0].errors + evictor[1].errors, 0);
	assert_int_equal(c->most, 1);
	for (i = 0; i < 2; i++) {
		for (j = 0; j < ALLOCS; j++) {
			unsigned char *at = mem + i * SZ_2M + j * SZ_64K;

			assert_true(fake_count_events(d, MMU_NOTIFY_CLEAR, at,
						      SZ_64K) > 0);
			assert_int_equal(fake_count_events(other,
							   MMU_NOTIFY_CLEAR, at,
							   SZ_64K),
					 fake_count_events(d, MMU_NOTIFY_CLEAR,
							   at, SZ_64K));
		}
	}
	assert_filled(mem, 2 * SZ_2M, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_097_write_lock_is_held),
	conf_test(conf_098_overlapped_ranges_only),
	conf_test(conf_100_events_of_migrations),
	conf_test(conf_101_migration_invalidates),
	conf_test(conf_102_cpu_waits_for_the_callback),
	conf_test(conf_103_concurrent_events),
};

CONF_MAIN(tests)
