/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group M: what the checking build says to calls in the
 * invalidate callback.
 *
 * The callback runs on the main thread, with the driver locks held, so that
 * nothing else can be reported.  Forbidden functions are called for another
 * driver, whose memory the event does not hit: there they need not wait for
 * what the callback holds.
 */
#include "fake_driver.h"

#include <errno.h>
#include <sys/mman.h>

#include "interval_notifier.h"

#ifdef GPUSVM_DEBUG_LOCKS
#include "lockdep.h"
#endif

#ifdef GPUSVM_DEBUG_LOCKS

struct calls {
	struct fake_driver *d;
	struct drm_gpusvm_range *range;
	/* A driver of its own, and its ranges, the third on the device. */
	struct fake_driver *other;
	unsigned char *far;
	struct drm_gpusvm_range *foreign;
	struct drm_gpusvm_range *removed;
	struct fake_alloc *alloc;
	void (*call)(struct calls *c);
	unsigned int ran;
	unsigned long reports;
	bool expected_result;
};

static void at_invalidate(struct fake_driver *d, enum fake_hook where,
			  const void *arg, void *priv)
{
	struct calls *c = priv;
	unsigned long before = gpusvm_lockdep_reports();

	(void)d;
	(void)arg;
	if (where != FAKE_AT_INVALIDATE)
		return;
	c->ran++;
	c->call(c);
	c->reports = gpusvm_lockdep_reports() - before;
}

/* How many reports @call makes when it runs in the callback. */
static unsigned long reports_of(struct calls *c, void (*call)(struct calls *c))
{
	const struct mmu_notifier_range event = {
		.mm = test_mm,
		.start = drm_gpusvm_range_start(c->range),
		.end = drm_gpusvm_range_end(c->range),
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
	};

	c->call = call;
	c->ran = 0;
	c->expected_result = false;
	fake_driver_lock(c->d);
	fake_driver_lock(c->other);
	if (!gpusvm_notify_start(&event))
		gpusvm_notify_end(&event);
	fake_driver_unlock(c->other);
	fake_driver_unlock(c->d);
	return c->reports;
}

static const struct drm_gpusvm_ctx empty;

/* ---- Allowed ---- */

static void allowed(struct calls *c)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_notifier *notifier = c->range->notifier;
	unsigned long start = drm_gpusvm_range_start(c->range);
	struct drm_gpusvm_range *range = NULL;
	const struct mmu_notifier_range part = {
		.mm = test_mm,
		.start = start,
		.end = start + PS,
		.event = MMU_NOTIFY_UNMAP,
	};

	c->expected_result =
		drm_gpusvm_range_find(notifier, start, start + 1) == c->range &&
		drm_gpusvm_range_pages_valid(&c->d->gpusvm, c->range) &&
		!__drm_gpusvm_range_next(c->range) &&
		drm_gpusvm_notifier_size(notifier) == SZ_512M;
	drm_gpusvm_for_each_range(range, notifier, start, start + 1)
		drm_gpusvm_range_unmap_pages(&c->d->gpusvm, range, &ctx);
	drm_gpusvm_range_set_unmapped(c->range, &part);
	drm_gpusvm_range_put(drm_gpusvm_range_get(c->range));
}

/* ---- Forbidden ---- */

static void call_find_or_insert(struct calls *c)
{
	c->expected_result = drm_gpusvm_range_find_or_insert(
				     &c->other->gpusvm, (unsigned long)c->far,
				     0, ~0ul, &empty) == c->foreign;
}

static void call_remove(struct calls *c)
{
	drm_gpusvm_range_remove(&c->other->gpusvm, c->removed);
	c->expected_result = c->other->range_frees == 1;
}

static void call_get_pages(struct calls *c)
{
	c->expected_result = drm_gpusvm_range_get_pages(&c->other->gpusvm,
							c->foreign,
							&empty) == 0;
}

static void call_range_evict(struct calls *c)
{
	c->expected_result =
		drm_gpusvm_range_evict(&c->other->gpusvm, c->foreign) == 0;
}

static void call_evict_to_ram(struct calls *c)
{
	c->expected_result = drm_gpusvm_evict_to_ram(&c->alloc->base) == 0;
}

static void call_migrate(struct calls *c)
{
	/* It may not migrate.  With the lock that the call wants, too. */
	gpusvm_mm_read_lock(test_mm);
	c->expected_result = drm_gpusvm_migrate_to_devmem(&c->other->gpusvm,
							  c->foreign,
							  &c->alloc->base,
							  &empty) == -EINVAL;
	gpusvm_mm_read_unlock(test_mm);
}

static void call_unmap_pages(struct calls *c)
{
	/* As if outside of a callback. */
	drm_gpusvm_range_unmap_pages(&c->other->gpusvm, c->foreign, &empty);
	c->expected_result = true;
}

static void call_notifier_lock(struct calls *c)
{
	drm_gpusvm_notifier_lock(&c->other->gpusvm);
	drm_gpusvm_notifier_unlock(&c->other->gpusvm);
	c->expected_result = true;
}

static void call_read_begin(struct calls *c)
{
	gpusvm_mmu_interval_read_begin(&c->foreign->notifier->notifier);
	c->expected_result = true;
}

static void call_mm_sync(struct calls *c)
{
	(void)c;
	gpusvm_mm_sync(test_mm);
	c->expected_result = true;
}

static void call_fini(struct calls *c)
{
	struct drm_gpusvm third;

	c->expected_result = !drm_gpusvm_init(&third, "third", NULL, test_mm, c,
					      0, 1ul << 48, SZ_512M, &fake_ops,
					      c->d->default_chunks, 3);
	if (c->expected_result)
		drm_gpusvm_fini(&third);
}

static void make_calls(struct calls *c)
{
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	/* In another slot of address space than what the event hits. */
	struct test_area *area = test_area_reserve(SZ_512M + SZ_1M, SZ_512M);
	size_t offset = ((unsigned long)area->base ^ (unsigned long)mem) <
					SZ_512M
				? SZ_512M
				: 0;

	c->d = fake_driver_create(NULL);
	c->range = fake_fault(c->d, mem);
	assert_ok_ptr(c->range);
	c->other = fake_driver_create(NULL);
	c->far = test_area_anon(area, offset, 3 * SZ_64K);
	c->foreign = fake_fault(c->other, c->far);
	assert_ok_ptr(c->foreign);
	c->removed = fake_range_at(c->other, c->far + SZ_64K, SZ_64K);
	test_fill(c->far + SZ_128K, SZ_64K, 1);
	fake_dev_range(c->other, c->far + SZ_128K, SZ_64K, &c->alloc);
	c->d->hook_priv = c;
	c->d->hook = at_invalidate;
}

#endif /* GPUSVM_DEBUG_LOCKS */

static void conf_147_what_the_callback_needs_is_allowed(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	struct calls *c = gpusvm_alloc(sizeof(*c));

	(void)state;
	assert_non_null(c);
	make_calls(c);
	test_cleanup(gpusvm_free, c);
	assert_ret(fake_get_pages(c->d, c->range), 0);
	assert_int_equal(reports_of(c, allowed), 0);
	assert_int_equal(c->ran, 1);
	assert_true(c->expected_result);
	assert_int_equal(c->range->flags.partial_unmap, 1);
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static void conf_147_the_rest_is_reported(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	static const struct {
		const char *name;
		void (*call)(struct calls *c);
	} forbidden[] = {
		{ "range_find_or_insert", call_find_or_insert },
		{ "range_remove", call_remove },
		{ "range_get_pages", call_get_pages },
		{ "range_evict", call_range_evict },
		{ "evict_to_ram", call_evict_to_ram },
		{ "migrate_to_devmem", call_migrate },
		{ "range_unmap_pages", call_unmap_pages },
		{ "notifier_lock", call_notifier_lock },
		{ "mmu_interval_read_begin", call_read_begin },
		{ "mm_sync", call_mm_sync },
		{ "fini", call_fini },
	};
	struct calls *c = gpusvm_alloc(sizeof(*c));
	unsigned int i;

	(void)state;
	assert_non_null(c);
	make_calls(c);
	test_cleanup(gpusvm_free, c);
	for (i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
		unsigned long reports = reports_of(c, forbidden[i].call);

		print_message("%s: %lu\n", forbidden[i].name, reports);
		assert_int_equal(c->ran, 1);
		assert_true(c->expected_result);
		assert_true(reports > 0);
	}
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_147_what_the_callback_needs_is_allowed),
	conf_test(conf_147_the_rest_is_reported),
};

CONF_MAIN(tests)
