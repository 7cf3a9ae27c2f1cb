/* SPDX-License-Identifier: MIT */
/*
 * Notifiers: made once per slot, listed in order, undone when anything fails,
 * and how an event reaches the driver.
 */
#include "unit_svm.h"

#define SLOT (4ul << 20)

static unsigned int allocs, frees;
static bool no_memory;

static struct drm_gpusvm_notifier *notifier_alloc(void)
{
	if (no_memory)
		return NULL;
	allocs++;
	return gpusvm_alloc(sizeof(struct drm_gpusvm_notifier));
}

static void notifier_free(struct drm_gpusvm_notifier *notifier)
{
	frees++;
	gpusvm_free(notifier);
}

static const struct drm_gpusvm_ops counting_ops = {
	.notifier_alloc = notifier_alloc,
	.notifier_free = notifier_free,
	.invalidate = invalidate,
};

static int setup(void **state)
{
	if (svm_setup(state))
		return -1;
	svm->ops = &counting_ops;
	allocs = frees = 0;
	no_memory = false;
	return 0;
}

static int teardown(void **state)
{
	svm_teardown(state);
	return allocs == frees ? 0 : -1;
}

static struct drm_gpusvm_notifier *get(unsigned long addr, bool created)
{
	struct drm_gpusvm_notifier *notifier;
	bool is_new;

	notifier = gpusvm_notifier_get(svm, addr, &is_new);
	assert_false(IS_ERR(notifier));
	assert_int_equal(is_new, created);
	return notifier;
}

static void get_makes_one_per_slot(void **state)
{
	struct drm_gpusvm_notifier *notifier = get(5 * SLOT + 17, true);

	(void)state;
	assert_int_equal(drm_gpusvm_notifier_start(notifier), 5 * SLOT);
	assert_int_equal(drm_gpusvm_notifier_end(notifier), 6 * SLOT);
	assert_int_equal(drm_gpusvm_notifier_size(notifier), SLOT);
	assert_ptr_equal(notifier->gpusvm, svm);
	assert_true(list_empty(&notifier->range_list));
	gpusvm_notifier_insert(svm, notifier);
	assert_ptr_equal(get(6 * SLOT - 1, false), notifier);
	assert_ptr_equal(gpusvm_notifier_find(svm, 0, ~0ul), notifier);
	assert_null(gpusvm_notifier_find(svm, 6 * SLOT, 7 * SLOT));
	assert_null(gpusvm_notifier_find(svm, 0, 5 * SLOT));
	assert_int_equal(allocs, 1);
	gpusvm_notifier_remove(svm, notifier);
	assert_int_equal(frees, 1);
	assert_null(gpusvm_notifier_find(svm, 0, ~0ul));
}

static void get_without_memory_returns_enomem(void **state)
{
	bool created;

	(void)state;
	no_memory = true;
	assert_int_equal(PTR_ERR(gpusvm_notifier_get(svm, SLOT, &created)),
			 -ENOMEM);
	assert_true(list_empty(&svm->notifier_list));
	assert_null(mm->notifiers.tree.rb_root.rb_node);
}

static void get_without_insert_is_undone_by_destroy(void **state)
{
	size_t blocks = gpusvm_alloc_live();
	struct drm_gpusvm_notifier *notifier = get(SLOT, true);

	(void)state;
	assert_non_null(mm->notifiers.tree.rb_root.rb_node);
	gpusvm_notifier_destroy(svm, notifier);
	assert_null(mm->notifiers.tree.rb_root.rb_node);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_int_equal(frees, 1);
}

static void insert_keeps_the_list_in_order(void **state)
{
	static const unsigned long slots[] = { 7, 2, 9, 4, 1, 8 };
	struct drm_gpusvm_notifier *notifier;
	unsigned long last = 0;
	unsigned int i, n = 0;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(slots); i++)
		gpusvm_notifier_insert(svm, get(slots[i] * SLOT, true));
	list_for_each_entry(notifier, &svm->notifier_list, entry) {
		assert_true(drm_gpusvm_notifier_start(notifier) > last);
		last = drm_gpusvm_notifier_start(notifier);
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(slots));
	/* fini frees them. */
}

static void event_sets_the_sequence_and_calls_the_driver(void **state)
{
	struct mmu_notifier_range event = {
		.mm = mm,
		.start = SLOT,
		.end = SLOT + PAGE_SIZE,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
	};
	struct drm_gpusvm_notifier *notifier = get(SLOT, true);
	unsigned long seq;

	(void)state;
	gpusvm_notifier_insert(svm, notifier);
	seq = gpusvm_mmu_interval_read_begin(&notifier->notifier);
	assert_int_equal(gpusvm_notify_start(&event), 0);
	assert_int_equal(invalidations, 1);
	assert_true(gpusvm_mmu_interval_read_retry(&notifier->notifier, seq));
	gpusvm_notify_end(&event);
	/* The driver is not even asked if it may not wait. */
	event.flags = 0;
	seq = gpusvm_mmu_interval_read_begin(&notifier->notifier);
	assert_int_equal(gpusvm_notify_start(&event), -EAGAIN);
	assert_int_equal(invalidations, 1);
	assert_false(gpusvm_mmu_interval_read_retry(&notifier->notifier, seq));
	/* Nobody hears of it after the end of the subscription. */
	gpusvm_notifier_unsubscribe(notifier);
	gpusvm_notifier_unsubscribe(notifier);
	assert_int_equal(gpusvm_notify_start(&event), 0);
	gpusvm_notify_end(&event);
	assert_int_equal(invalidations, 1);
}

#define notifier_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		notifier_test(get_makes_one_per_slot),
		notifier_test(get_without_memory_returns_enomem),
		notifier_test(get_without_insert_is_undone_by_destroy),
		notifier_test(insert_keeps_the_list_in_order),
		notifier_test(event_sets_the_sequence_and_calls_the_driver),
	};

	return cmocka_run_group_tests_name("notifier", tests, NULL, NULL);
}
