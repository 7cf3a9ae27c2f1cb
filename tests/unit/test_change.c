/* SPDX-License-Identifier: MIT */
/*
 * Announced changes on one thread: who is told and when, what becomes of device
 * pages, and that what the source tells of the same change is known.
 */
#include "unit_change.h"

static struct gpusvm_change change;

static void begin(enum mmu_notifier_event event, unsigned long first,
		  unsigned long n)
{
	gpusvm_change_begin(&change, event, window(first), bytes(n));
}

/* ---- Who is told ---- */

static void begin_tells_before_and_end_after(void **state)
{
	static const enum mmu_notifier_event events[] = {
		MMU_NOTIFY_UNMAP,
		MMU_NOTIFY_CLEAR,
		MMU_NOTIFY_PROTECTION_VMA,
	};
	static const char *const expected[] = { "U.", "C.", "P." };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		forget_record();
		begin(events[i], 2, 3);
		assert_int_equal(times_told, 1);
		assert_told(0, events[i], 2, 3);
		assert_int_equal(mm->notifiers.active, 1);
		assert_int_equal(mm->stats.events, i + 1);
		gpusvm_change_end(&change, true);
		assert_string_equal(trace, expected[i]);
		assert_int_equal(mm->notifiers.active, 0);
		assert_null(mm->changes);
	}
	assert_freed(0, 0);
}

static void begin_rounds_to_pages(void **state)
{
	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, (char *)window(2) + 5,
			    PAGE_SIZE - 4);
	gpusvm_change_end(&change, false);
	assert_told(0, MMU_NOTIFY_CLEAR, 2, 2);
}

static void empty_and_wrapping_intervals_concern_nobody(void **state)
{
	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(FIRST), 0);
	gpusvm_change_end(&change, true);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP,
			    (char *)window(FIRST) + 1, 0);
	gpusvm_change_end(&change, true);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(FIRST), ~0ul);
	gpusvm_change_end(&change, true);
	assert_string_equal(trace, "");
	assert_freed(0, 0);
}

/* The section is all that there is of it. */
static void assert_bare(void)
{
	assert_null(change.priv);
	assert_null(mm->changes);
	assert_int_equal(gpusvm_alloc_live(), live_before);
	assert_false(gpusvm_change_was_told(&change));
	gpusvm_change_tell_again(&change);
	gpusvm_change_end(&change, true);
	assert_string_equal(trace, "");
	assert_freed(0, 0);
}

static void memory_beside_subscriptions_and_devices_is_free(void **state)
{
	unsigned int blocks = fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS);

	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP,
			    (char *)window(0) - PAGE_SIZE, PAGE_SIZE);
	assert_null(change.priv);
	gpusvm_change_end(&change, true);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(WINDOW),
			    PAGE_SIZE);
	assert_null(change.priv);
	gpusvm_change_end(&change, true);
	assert_string_equal(trace, "");
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), blocks);
}

static void gaps_between_subscriptions_are_free(void **state)
{
	struct mmu_interval_notifier above;

	(void)state;
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &above, mm, fake_addr(fake, WINDOW + 8),
				 PAGE_SIZE, &note_ops),
			 0);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(WINDOW),
			    bytes(8));
	assert_bare();
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(WINDOW),
			    bytes(9));
	gpusvm_change_end(&change, false);
	assert_int_equal(times_told, 1);
	gpusvm_mmu_interval_notifier_remove(&above);
}

static void device_pages_concern_without_a_subscription(void **state)
{
	(void)state;
	gpusvm_mmu_interval_notifier_remove(&subscription);
	begin(MMU_NOTIFY_UNMAP, 0, FIRST);
	assert_null(change.priv);
	gpusvm_change_end(&change, true);
	begin(MMU_NOTIFY_UNMAP, FIRST + N - 1, 4);
	assert_non_null(change.priv);
	gpusvm_change_end(&change, true);
	assert_int_equal(times_told, 0);
	assert_freed(N - 1, 1);
	subscribe_window();
}

static void no_open_address_space_is_free(void **state)
{
	(void)state;
	current = NULL;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	assert_bare();
	/* Nor a closed one, which is also a child's. */
	current = mm;
	mm->users = 0;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	mm->users = 1;
	assert_bare();
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), 0);
}

static void no_private_memory_makes_it_bare(void **state)
{
	(void)state;
	no_memory = true;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	no_memory = false;
	assert_bare();
	/* The source tells afterwards, as ever. */
	tell(SOURCE_UNMAP, FIRST, N, 0);
	assert_string_equal(trace, "U.");
	assert_freed(0, N);
}

/* ---- What becomes of device pages ---- */

static void change_that_fails_drops_nothing(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	gpusvm_change_end(&change, false);
	begin(MMU_NOTIFY_CLEAR, FIRST, N);
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "U.C.");
	assert_freed(0, 0);
	assert_on_device(FIRST, 0);
}

static void change_of_protection_drops_nothing(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_PROTECTION_VMA, FIRST, N);
	gpusvm_change_end(&change, true);
	assert_freed(0, 0);
}

static void untold_change_drops_at_the_end(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST + 2, 3);
	assert_freed(0, 0);
	gpusvm_change_end(&change, true);
	assert_freed(2, 3);
	begin(MMU_NOTIFY_CLEAR, FIRST, 5);
	assert_freed(2, 3);
	gpusvm_change_end(&change, true);
	assert_freed(0, 5);
	assert_string_equal(trace, "U.C.");
	assert_on_device(FIRST + 5, 5);
}

static void untold_move_takes_pages_along(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, 4);
	gpusvm_change_end_moved(&change, fake_addr(fake, 40));
	assert_string_equal(trace, "U.");
	assert_on_device(40, 0);
	assert_on_device(43, 3);
	assert_on_device(FIRST + 4, 4);
	assert_null(entry_at(FIRST));
	assert_freed(0, 0);
}

static void pages_are_free_when_the_change_is_over(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	assert_freed(0, 0);
	tell(SOURCE_UNMAP, FIRST, N, 0);
	/* Everybody was told before: nothing is waited for. */
	assert_freed(0, N);
	gpusvm_change_end(&change, true);
	assert_freed(0, N);
}

/* ---- What the source tells of the same change ---- */

static void told_unmap_is_not_told_twice(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	assert_false(gpusvm_change_was_told(&change));
	tell(SOURCE_UNMAP, FIRST, N, 0);
	assert_true(gpusvm_change_was_told(&change));
	assert_freed(0, N);
	assert_int_equal(mm->stats.events, 1);
	gpusvm_change_end(&change, true);
	assert_string_equal(trace, "U.");
	assert_freed(0, N);
}

static void told_remap_moves_once(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	tell(SOURCE_REMAP, FIRST, N, 40);
	assert_on_device(40, 0);
	/* Had it moved again, these would be gone. */
	tell(SOURCE_REMAP, 40, N, FIRST);
	assert_string_equal(trace, "UU.");
	gpusvm_change_end_moved(&change, fake_addr(fake, 40));
	assert_on_device(FIRST, 0);
	assert_string_equal(trace, "UU..");
	assert_freed(0, 0);
}

/* By another thread, into the place that has just become free. */
static void what_was_moved_into_a_change_stays(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, 40, N);
	tell(SOURCE_REMAP, FIRST, N, 40);
	gpusvm_change_end(&change, true);
	assert_on_device(40, 0);
	assert_freed(0, 0);
}

/* One for each mapping, or each part that userfaultfd knows of. */
static void told_removals_in_parts_are_not_told_again(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_CLEAR, FIRST, N);
	tell(SOURCE_REMOVE, FIRST, 2, 0);
	assert_freed(0, 2);
	tell(SOURCE_REMOVE, FIRST + 2, 3, 0);
	assert_freed(0, 5);
	assert_true(gpusvm_change_was_told(&change));
	assert_string_equal(trace, "C");
	/* Of the rest nobody told. */
	gpusvm_change_end(&change, true);
	assert_freed(0, N);
	assert_string_equal(trace, "C.");
	/* None of them is waited for by a migration. */
	assert_int_equal(mm->next_removal, 0);
}

static void removals_told_before_a_failure_stay(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_CLEAR, FIRST, N);
	tell(SOURCE_REMOVE, FIRST, 2, 0);
	gpusvm_change_end(&change, false);
	assert_freed(0, 2);
	assert_string_equal(trace, "C.");
}

static void events_beyond_the_change_are_told(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST + 2, 4);
	tell(SOURCE_UNMAP, FIRST + 1, 5, 0);
	assert_string_equal(trace, "UU.");
	assert_told(1, MMU_NOTIFY_UNMAP, FIRST + 1, 5);
	tell(SOURCE_REMAP, FIRST + 2, 5, 40);
	assert_string_equal(trace, "UU.U.");
	assert_false(gpusvm_change_was_told(&change));
	tell(SOURCE_UNMAP, FIRST, 1, 0);
	assert_string_equal(trace, "UU.U.U.");
	gpusvm_change_end(&change, false);
}

static void events_of_another_kind_are_told(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	tell(SOURCE_REMOVE, FIRST, 1, 0);
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "UC..");
	assert_int_equal(mm->next_removal, 1);
	forget_record();
	begin(MMU_NOTIFY_CLEAR, FIRST, N);
	tell(SOURCE_UNMAP, FIRST, 1, 0);
	tell(SOURCE_REMAP, FIRST + 1, 1, 40);
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "CU.U..");
	forget_record();
	begin(MMU_NOTIFY_PROTECTION_VMA, FIRST, N);
	tell(SOURCE_REMOVE, FIRST + 2, 1, 0);
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "PC..");
}

static void events_after_the_end_are_told(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	gpusvm_change_end(&change, false);
	tell(SOURCE_UNMAP, FIRST, N, 0);
	assert_string_equal(trace, "U.U.");
}

static void fork_during_a_change_is_told(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, 0, WINDOW);
	fake_source_push(fake, (struct source_event){ .type = SOURCE_FORK,
						      .child_fd = -1 });
	source_tells = true;
	settle();
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "Up..");
}

/* ---- More than one ---- */

static void nested_changes_take_their_own_events(void **state)
{
	struct gpusvm_change outer, inner;

	(void)state;
	gpusvm_change_begin(&outer, MMU_NOTIFY_UNMAP, window(FIRST), bytes(N));
	gpusvm_change_begin(&inner, MMU_NOTIFY_UNMAP, window(FIRST + 2),
			    bytes(2));
	assert_int_equal(mm->notifiers.active, 2);
	tell(SOURCE_UNMAP, FIRST + 2, 2, 0);
	assert_true(gpusvm_change_was_told(&inner));
	assert_false(gpusvm_change_was_told(&outer));
	gpusvm_change_end(&inner, true);
	assert_freed(2, 2);
	tell(SOURCE_UNMAP, FIRST, N, 0);
	assert_true(gpusvm_change_was_told(&outer));
	gpusvm_change_end(&outer, true);
	assert_string_equal(trace, "UU..");
	assert_freed(0, N);
}

static void changes_end_in_any_order(void **state)
{
	static const unsigned char orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
		{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	struct gpusvm_change changes[3];
	unsigned int i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		for (j = 0; j < 3; j++)
			gpusvm_change_begin(&changes[j], MMU_NOTIFY_CLEAR,
					    window(j), PAGE_SIZE);
		for (j = 0; j < 3; j++) {
			gpusvm_change_end(&changes[orders[i][j]], true);
			assert_false(gpusvm_change_is_near(
				mm, fake_addr(fake, orders[i][j]),
				fake_addr(fake, orders[i][j] + 1)));
		}
		assert_null(mm->changes);
	}
	assert_int_equal(times_told, 18);
}

static void near_is_what_overlaps(void **state)
{
	unsigned long start = fake_addr(fake, 20), end = fake_addr(fake, 22);

	(void)state;
	assert_false(gpusvm_change_is_near(mm, 0, ~0ul));
	begin(MMU_NOTIFY_CLEAR, 20, 2);
	assert_true(gpusvm_change_is_near(mm, 0, ~0ul));
	assert_true(gpusvm_change_is_near(mm, start + 1, start + 2));
	assert_true(gpusvm_change_is_near(mm, end - 1, ~0ul));
	assert_false(gpusvm_change_is_near(mm, 0, start));
	assert_false(gpusvm_change_is_near(mm, end, ~0ul));
	gpusvm_change_end(&change, false);
	assert_false(gpusvm_change_is_near(mm, 0, ~0ul));
}

static void tell_again_is_one_event_more(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	gpusvm_change_tell_again(&change);
	assert_string_equal(trace, "UU.");
	assert_told(1, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_int_equal(mm->notifiers.active, 1);
	gpusvm_change_end(&change, false);
	assert_string_equal(trace, "UU..");
}

/* ---- Signals ---- */

static void locks_are_taken_with_signals_blocked(void **state)
{
	sigset_t before, after;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	watch_locks = true;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	watch_locks = false;
	assert_false(signals_blocked());
	watch_locks = true;
	assert_false(gpusvm_change_was_told(&change));
	gpusvm_change_tell_again(&change);
	gpusvm_change_end_moved(&change, fake_addr(fake, 40));
	/* Nor in the look at what turns out to concern nobody. */
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(WINDOW),
			    PAGE_SIZE);
	assert_null(change.priv);
	gpusvm_change_end(&change, true);
	watch_locks = false;
	assert_true(locks_taken > 8);
	assert_int_equal(open_locks, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&before, &after, 8);
	sigdelset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		change_test(begin_tells_before_and_end_after),
		change_test(begin_rounds_to_pages),
		change_test(empty_and_wrapping_intervals_concern_nobody),
		change_test(memory_beside_subscriptions_and_devices_is_free),
		change_test(gaps_between_subscriptions_are_free),
		change_test(device_pages_concern_without_a_subscription),
		change_test(no_open_address_space_is_free),
		change_test(no_private_memory_makes_it_bare),
		change_test(change_that_fails_drops_nothing),
		change_test(change_of_protection_drops_nothing),
		change_test(untold_change_drops_at_the_end),
		change_test(untold_move_takes_pages_along),
		change_test(pages_are_free_when_the_change_is_over),
		change_test(told_unmap_is_not_told_twice),
		change_test(told_remap_moves_once),
		change_test(what_was_moved_into_a_change_stays),
		change_test(told_removals_in_parts_are_not_told_again),
		change_test(removals_told_before_a_failure_stay),
		change_test(events_beyond_the_change_are_told),
		change_test(events_of_another_kind_are_told),
		change_test(events_after_the_end_are_told),
		change_test(fork_during_a_change_is_told),
		change_test(nested_changes_take_their_own_events),
		change_test(changes_end_in_any_order),
		change_test(near_is_what_overlaps),
		change_test(tell_again_is_one_event_more),
		change_test(locks_are_taken_with_signals_blocked),
	};

	return cmocka_run_group_tests_name("change", tests, NULL, NULL);
}
