/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group M: the notifier lock, and a driver whose release callback
 * needs the driver lock.
 */
#include "fake_driver.h"

#include <errno.h>
#include <sys/mman.h>

/* How long a thread is watched that must not get on. */
#define WATCH_MS 100

#define DEFAULT_SECONDS 2
#define RANGES 8

/* ---- 146: readers share, the callback excludes them ---- */

struct sharing {
	struct fake_driver *d;
	bool locked;
	bool release;
	bool done;
};

static void *hold_the_lock(void *arg)
{
	struct sharing *s = arg;

	drm_gpusvm_notifier_lock(&s->d->gpusvm);
	__atomic_store_n(&s->locked, true, __ATOMIC_RELEASE);
	test_wait_for(__atomic_load_n(&s->release, __ATOMIC_ACQUIRE),
		      TEST_WAIT_MS);
	drm_gpusvm_notifier_unlock(&s->d->gpusvm);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void conf_146_readers_share(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct sharing s[3] = { { .d = d }, { .d = d }, { .d = d } };
	pthread_t thread[3];
	bool all = true;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		test_thread_start(&thread[i], hold_the_lock, &s[i]);
		all &= test_wait_for(__atomic_load_n(&s[i].locked,
						     __ATOMIC_ACQUIRE),
				     TEST_WAIT_MS);
	}
	/* All three have it at this moment, and a fourth gets it, too. */
	drm_gpusvm_notifier_lock(&d->gpusvm);
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	for (i = 0; i < 3; i++) {
		all &= !s[i].done;
		__atomic_store_n(&s[i].release, true, __ATOMIC_RELEASE);
	}
	for (i = 0; i < 3; i++)
		test_thread_join(thread[i]);
	assert_true(all);
}

static void conf_146_callback_waits_for_readers(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct sharing s = { .d = d };
	bool early, valid;
	pthread_t thread;

	(void)state;
	test_needs_events("a bare madvise()");
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	test_thread_start(&thread, hold_the_lock, &s);
	test_wait_for(__atomic_load_n(&s.locked, __ATOMIC_ACQUIRE),
		      TEST_WAIT_MS);
	/* Read by a thread of the library, which then waits for us. */
	assert_int_equal(madvise(mem, SZ_64K, MADV_DONTNEED), 0);
	early = test_wait_for(d->num_events > 0, WATCH_MS);
	valid = range->flags.has_dma_mapping;
	__atomic_store_n(&s.release, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	assert_false(early);
	assert_true(valid);
	test_wait_until(d->num_events > 0);
	gpusvm_mm_sync(test_mm);
	assert_false(fake_valid(d, range));
}

/* ---- 149: devmem_release hands over to a thread with the driver lock ---- */

struct deferred {
	struct fake_driver *d;
	struct drm_gpusvm_range *range[RANGES];
	unsigned char *mem;
	unsigned long end;
	bool stop;
	unsigned int released;
	unsigned int collected;
	unsigned long wrong;
	unsigned long touches;
};

static void defer_release(struct fake_driver *d, enum fake_hook where,
			  const void *arg, void *priv)
{
	struct deferred *f = priv;

	(void)d;
	(void)arg;
	if (where == FAKE_AT_RELEASE)
		__atomic_add_fetch(&f->released, 1, __ATOMIC_RELEASE);
}

static void *release_worker(void *arg)
{
	struct deferred *f = arg;

	for (;;) {
		bool stop = __atomic_load_n(&f->stop, __ATOMIC_ACQUIRE);

		while (f->collected <
		       __atomic_load_n(&f->released, __ATOMIC_ACQUIRE)) {
			fake_driver_lock(f->d);
			f->collected++;
			fake_driver_unlock(f->d);
		}
		if (stop)
			return NULL;
		test_relax();
	}
}

static void *cpu_touches(void *arg)
{
	struct deferred *f = arg;
	unsigned long touches = 0;

	while (test_now_ms() < f->end) {
		size_t at = test_random_below(RANGES * SZ_64K);

		if (*(volatile unsigned char *)(f->mem + at) !=
		    test_pattern(at, 1))
			__atomic_add_fetch(&f->wrong, 1, __ATOMIC_RELAXED);
		touches++;
	}
	__atomic_add_fetch(&f->touches, touches, __ATOMIC_RELAXED);
	return NULL;
}

static void migrate_and_evict(struct deferred *f)
{
	while (test_now_ms() < f->end) {
		struct drm_gpusvm_range *range =
			f->range[test_random_below(RANGES)];
		struct fake_alloc *alloc;

		if (fake_migrate(f->d, range, &alloc))
			continue;
		(void)!fake_get_pages(f->d, range);
		if (test_random_below(2) &&
		    drm_gpusvm_evict_to_ram(&alloc->base))
			f->wrong++;
	}
}

static void conf_149_release_that_needs_the_driver_lock(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct deferred *f = gpusvm_alloc(sizeof(*f));
	pthread_t worker, cpu[2];
	unsigned int i;

	(void)state;
	assert_non_null(f);
	test_cleanup(gpusvm_free, f);
	f->d = d;
	f->mem = test_map(RANGES * SZ_64K, SZ_64K);
	test_fill(f->mem, RANGES * SZ_64K, 1);
	for (i = 0; i < RANGES; i++)
		f->range[i] = fake_range_at(d, f->mem + i * SZ_64K, SZ_64K);
	f->end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS) / 2;
	d->hook_priv = f;
	d->hook = defer_release;
	test_thread_start(&worker, release_worker, f);
	for (i = 0; i < 2; i++)
		test_thread_start(&cpu[i], cpu_touches, f);
	migrate_and_evict(f);
	for (i = 0; i < 2; i++)
		test_thread_join(cpu[i]);
	/* Everything home, so that everything is released. */
	test_touch_read(f->mem, RANGES * SZ_64K);
	test_wait_for(fake_devmem_used(d) == 0, TEST_WAIT_MS);
	__atomic_store_n(&f->stop, true, __ATOMIC_RELEASE);
	test_thread_join(worker);
	d->hook = NULL;

	print_message("%u releases, %lu touches\n", f->collected, f->touches);
	assert_int_equal(f->wrong, 0);
	assert_true(f->collected > 0);
	assert_int_equal(f->collected, f->released);
	assert_filled(f->mem, RANGES * SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_146_readers_share),
	conf_test(conf_146_callback_waits_for_readers),
	conf_test(conf_149_release_that_needs_the_driver_lock),
};

CONF_MAIN(tests)
