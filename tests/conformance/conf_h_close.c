/* SPDX-License-Identifier: MIT */
/* Conformance, group H: the end of the address space. */
#include "fake_driver.h"

#include <limits.h>

static const struct fake_driver_config small_notifiers = {
	.notifier_size = SZ_2M,
};

/* RELEASE of everything came before UNMAP of everything. */
static void check_teardown(struct fake_driver *d)
{
	const struct fake_event *release, *unmap;

	release = fake_last_event(d, MMU_NOTIFY_RELEASE, NULL, LONG_MAX);
	assert_non_null(release);
	assert_int_equal(release->start, 0);
	assert_true(release->end >= LONG_MAX);
	unmap = fake_last_event(d, MMU_NOTIFY_UNMAP, NULL, LONG_MAX);
	assert_non_null(unmap);
	assert_int_equal(unmap->start, 0);
	assert_true(unmap->end >= LONG_MAX);
	assert_true(release->number < unmap->number);
}

static void conf_104_teardown(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range[3];
	struct fake_alloc *alloc;
	unsigned int i;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	test_fill(mem + SZ_64K, SZ_64K, 2);
	range[0] = fake_range_at(d, mem, SZ_64K);
	assert_ret(fake_get_pages(d, range[0]), 0);
	range[1] = fake_dev_range(d, mem + SZ_64K, SZ_64K, &alloc);
	/* Never mapped, and in another notifier. */
	range[2] = fake_range_at(d, mem + SZ_2M, SZ_2M);
	fake_reset(d);

	test_mm_close();
	check_teardown(d);
	/* Each event once per notifier. */
	assert_int_equal(
		fake_count_events(d, MMU_NOTIFY_RELEASE, NULL, LONG_MAX), 2);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_UNMAP, NULL, LONG_MAX),
			 2);
	for (i = 0; i < 3; i++) {
		assert_false(fake_valid(d, range[i]));
		assert_int_equal(range[i]->flags.unmapped, 1);
		assert_int_equal(range[i]->flags.partial_unmap, 0);
	}
	assert_int_equal(alloc->released, 1);
	assert_filled(mem, SZ_64K, 1);
	assert_filled(mem + SZ_64K, SZ_64K, 2);

	assert_int_equal(fake_collect(d), 3);
	assert_int_equal(d->notifier_frees, 2);
	fake_driver_destroy(d);
	test_mm_reopen();
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_104_teardown),
};

CONF_MAIN(tests)
