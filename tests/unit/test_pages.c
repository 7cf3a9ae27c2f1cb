/* SPDX-License-Identifier: MIT */
/*
 * The pages of a range: mappings that fail half way, events that come in
 * between, and how long a call goes on in vain.  Time is the test's.
 */
#include "unit_svm.h"

static unsigned long now_ns;

static bool is_valid(struct drm_gpusvm_range *range)
{
	bool valid;

	drm_gpusvm_notifier_lock(svm);
	valid = drm_gpusvm_range_pages_valid(svm, range);
	drm_gpusvm_notifier_unlock(svm);
	return valid;
}

static void get_maps_every_page(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	unsigned long i, j, seen = 0;

	(void)state;
	assert_false(is_valid(range));
	assert_int_equal(get_pages(range), 0);
	assert_true(is_valid(range));
	for (i = 0, j = 0; i < N; i += 1ul << range->dma_addr[j++].order) {
		assert_int_equal(range->dma_addr[j].addr,
				 fake_addr(fake, i) + BUS);
		assert_int_equal(range->dma_addr[j].proto,
				 DRM_INTERCONNECT_SYSTEM);
		seen += 1ul << range->dma_addr[j].order;
	}
	assert_int_equal(seen, N);
	/* Once more costs nothing. */
	i = maps;
	assert_int_equal(get_pages(range), 0);
	assert_int_equal(maps, i);
}

static void get_with_failing_map_undoes_the_others(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	unsigned int k;

	(void)state;
	for (k = 1; k <= N; k++) {
		maps = unmaps = 0;
		fail_map = k;
		assert_int_equal(get_pages(range), -EFAULT);
		assert_int_equal(maps, k - 1);
		assert_int_equal(unmaps, k - 1);
		assert_false(is_valid(range));
		assert_null(range->dma_addr);
	}
	assert_int_equal(get_pages(range), 0);
}

static void get_with_failing_device_map_undoes_the_others(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	unsigned int k;

	(void)state;
	assert_int_equal(migrate(range, &alloc), 0);
	for (k = 1; k <= N; k++) {
		device_maps = device_unmaps = 0;
		fail_device_map = k;
		assert_int_equal(get_pages(range), -EFAULT);
		assert_int_equal(device_maps, k);
		assert_int_equal(device_unmaps, k - 1);
		assert_false(is_valid(range));
		assert_null(range->dpagemap);
	}
	assert_int_equal(get_pages(range), 0);
	assert_ptr_equal(range->dpagemap, &dpagemap);
	device_unmaps = 0;
	drm_gpusvm_range_unmap_pages(svm, range, &(struct drm_gpusvm_ctx){ 0 });
	assert_int_equal(device_unmaps, N);
	assert_null(range->dpagemap);
	/* A second time there is nothing to undo. */
	drm_gpusvm_range_unmap_pages(svm, range, &(struct drm_gpusvm_ctx){ 0 });
	assert_int_equal(device_unmaps, N);
}

static unsigned int events_left;

/* While the pages are collected somebody drops one. */
static void raise_event(struct fake_source *f, const struct fake_call *call)
{
	struct mmu_notifier_range range = {
		.mm = mm,
		.start = fake_addr(f, 0),
		.end = fake_addr(f, 1),
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
	};

	if (call->op != FAKE_OP_WATCH || !events_left)
		return;
	events_left--;
	gpusvm_notify_start(&range);
	gpusvm_notify_end(&range);
}

static void get_with_event_in_between_starts_again(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	fake->hook = raise_event;
	events_left = 3;
	assert_int_equal(get_pages(range), 0);
	fake->hook = NULL;
	assert_int_equal(events_left, 0);
	assert_int_equal(maps - unmaps, N);
	assert_true(is_valid(range));
}

static void get_with_events_for_ever_returns_ebusy(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = gpusvm_alloc_live();

	(void)state;
	fake->hook = raise_event;
	events_left = ~0u;
	now_ns = 1000ul * 1000 * 1000;
	fake_sys_clock(&now_ns, 10ul * 1000 * 1000);
	assert_int_equal(get_pages(range), -EBUSY);
	fake_sys_clock(NULL, 0);
	fake->hook = NULL;
	assert_in_range(now_ns, 2000ul * 1000 * 1000, 3000ul * 1000 * 1000);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_false(is_valid(range));
}

static void get_of_unmapped_range_returns_efault(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	fake_source_unmap(fake, 3, 1);
	settle();
	assert_int_equal(range->flags.unmapped, 1);
	assert_int_equal(range->flags.partial_unmap, 1);
	assert_int_equal(get_pages(range), -EFAULT);
	assert_int_equal(maps, 0);
}

static void get_for_devmem_only_needs_devmem(void **state)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_only = 1 };
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	assert_int_equal(drm_gpusvm_range_get_pages(svm, range, &ctx), -EFAULT);
	assert_int_equal(get_pages(range), 0);
	assert_int_equal(drm_gpusvm_range_get_pages(svm, range, &ctx), -EFAULT);
	assert_int_equal(migrate(range, &alloc), 0);
	assert_int_equal(drm_gpusvm_range_get_pages(svm, range, &ctx), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
}

static void get_of_mixed_pages_returns_eopnotsupp(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	const struct drm_gpusvm_ctx ctx = { 0 };

	(void)state;
	assert_int_equal(migrate(range, &alloc), 0);
	fake_source_remove(fake, N - 1, 1);
	settle();
	assert_int_equal(get_pages(range), -EOPNOTSUPP);
	assert_int_equal(device_maps, device_unmaps);
	assert_int_equal(drm_gpusvm_range_evict(svm, range), 0);
	assert_int_equal(drm_gpusvm_range_get_pages(svm, range, &ctx), 0);
	assert_true(fake_matches(window(0), N - 1, 1));
	assert_true(fake_is_zero(window(N - 1), 1));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		svm_test(get_maps_every_page),
		svm_test(get_with_failing_map_undoes_the_others),
		svm_test(get_with_failing_device_map_undoes_the_others),
		svm_test(get_with_event_in_between_starts_again),
		svm_test(get_with_events_for_ever_returns_ebusy),
		svm_test(get_of_unmapped_range_returns_efault),
		svm_test(get_for_devmem_only_needs_devmem),
		svm_test(get_of_mixed_pages_returns_eopnotsupp),
	};

	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
