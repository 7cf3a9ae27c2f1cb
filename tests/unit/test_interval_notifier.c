/* SPDX-License-Identifier: MIT */
/*
 * The interval notifier protocol on one thread: who is told, when readers start
 * again, events that nest, refusal.
 */
#include "unit_interval_notifier.h"

#include <errno.h>

/* ---- Who is told ---- */

static void insert_empty_or_wrapping_returns_eoverflow(void **state)
{
	struct mmu_interval_notifier n;

	(void)state;
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(&n, &mm, BASE, 0,
							     &ops),
			 -EOVERFLOW);
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(&n, &mm, ~0ul, 2,
							     &ops),
			 -EOVERFLOW);
	assert_int_equal(
		gpusvm_mmu_interval_notifier_insert(&n, &mm, 1, ~0ul, &ops), 0);
	gpusvm_mmu_interval_notifier_remove(&n);
	assert_idle();
}

static void event_calls_who_overlaps_in_order(void **state)
{
	struct subscription s[5];

	(void)state;
	subscribe(&s[3], 300, 100);
	subscribe(&s[1], 100, 100);
	subscribe(&s[2], 200, 100);
	subscribe(&s[4], 400, 100);
	subscribe(&s[0], 0, 100);
	start(199, 102);
	assert_int_equal(s[0].calls, 0);
	assert_int_equal(s[1].order, 1);
	assert_int_equal(s[2].order, 2);
	assert_int_equal(s[3].order, 3);
	assert_int_equal(s[4].calls, 0);
	/* The event comes as it is, not clipped. */
	assert_int_equal(s[2].range.start, BASE + 199);
	assert_int_equal(s[2].range.end, BASE + 301);
	assert_int_equal(s[2].range.event, MMU_NOTIFY_CLEAR);
	assert_ptr_equal(s[2].range.owner, &mm);
	end(199, 102);
	assert_int_equal(calls, 3);
	unsubscribe(&s[0]);
	unsubscribe(&s[1]);
	unsubscribe(&s[2]);
	unsubscribe(&s[3]);
	unsubscribe(&s[4]);
	assert_idle();
}

static void event_at_the_edges_hits_exactly(void **state)
{
	struct subscription s;

	(void)state;
	subscribe(&s, 100, 100);
	start(0, 100);
	end(0, 100);
	start(200, 100);
	end(200, 100);
	assert_int_equal(s.calls, 0);
	start(0, 101);
	end(0, 101);
	start(199, 1);
	end(199, 1);
	assert_int_equal(s.calls, 2);
	unsubscribe(&s);
}

static void event_calls_nested_and_equal_intervals(void **state)
{
	struct subscription outer, inner, twin;

	(void)state;
	subscribe(&outer, 0, 1000);
	subscribe(&inner, 500, 10);
	subscribe(&twin, 500, 10);
	start(505, 1);
	end(505, 1);
	start(100, 1);
	end(100, 1);
	assert_int_equal(outer.calls, 2);
	assert_int_equal(inner.calls, 1);
	assert_int_equal(twin.calls, 1);
	unsubscribe(&twin);
	unsubscribe(&inner);
	unsubscribe(&outer);
}

static void event_after_remove_calls_nobody(void **state)
{
	struct subscription s;

	(void)state;
	subscribe(&s, 0, 10);
	unsubscribe(&s);
	start(0, 10);
	assert_int_equal(mm.notifiers.seq & 1, 0);
	end(0, 10);
	assert_int_equal(s.calls, 0);
}

/* ---- Whether anybody would be told ---- */

static bool concerned(unsigned long first, unsigned long n)
{
	return gpusvm_notifiers_concern(&mm.notifiers, BASE + first,
					BASE + first + n);
}

static void concern_is_what_overlaps(void **state)
{
	struct subscription low, high;

	(void)state;
	assert_false(gpusvm_notifiers_concern(&mm.notifiers, 0, ~0ul));
	subscribe(&low, 100, 10);
	subscribe(&high, 200, 10);
	assert_false(concerned(0, 100));
	assert_true(concerned(0, 101));
	assert_true(concerned(109, 1));
	assert_false(concerned(110, 90));
	assert_true(concerned(110, 91));
	assert_true(concerned(209, 100));
	assert_false(concerned(210, 100));
	assert_true(gpusvm_notifiers_concern(&mm.notifiers, 0, ~0ul));
	assert_int_equal(calls, 0);
	unsubscribe(&low);
	assert_false(concerned(100, 10));
	unsubscribe(&high);
	assert_false(gpusvm_notifiers_concern(&mm.notifiers, 0, ~0ul));
}

/* It is not in the tree yet, but has returned to who subscribed. */
static void concern_counts_who_is_deferred(void **state)
{
	struct subscription old, new;

	(void)state;
	subscribe(&old, 0, 10);
	start(0, 10);
	subscribe(&new, 100, 10);
	assert_true(concerned(100, 10));
	end(0, 10);
	assert_true(concerned(100, 10));
	assert_false(concerned(50, 10));
	unsubscribe(&old);
	unsubscribe(&new);
}

static void bounds_are_all_there_have_been(void **state)
{
	unsigned long first, last;
	struct subscription s;

	(void)state;
	gpusvm_notifiers_bounds(&mm.notifiers, &first, &last);
	assert_true(first >= last);
	subscribe(&s, 100, 10);
	unsubscribe(&s);
	subscribe(&s, 300, 50);
	unsubscribe(&s);
	subscribe(&s, 200, 10);
	gpusvm_notifiers_bounds(&mm.notifiers, &first, &last);
	assert_int_equal(first, BASE + 100);
	assert_int_equal(last, BASE + 350);
	unsubscribe(&s);
}

/* ---- Sequence numbers ---- */

static void fresh_subscription_reads_at_once(void **state)
{
	struct subscription s;
	unsigned long seq;

	(void)state;
	subscribe(&s, 0, 10);
	seq = gpusvm_mmu_interval_read_begin(&s.notifier);
	assert_int_equal(seq & 1, 1);
	assert_false(gpusvm_mmu_interval_read_retry(&s.notifier, seq));
	unsubscribe(&s);
}

static void event_makes_readers_start_again(void **state)
{
	struct subscription hit, other;
	unsigned long seq, other_seq;

	(void)state;
	subscribe(&hit, 0, 10);
	subscribe(&other, 10, 10);
	seq = gpusvm_mmu_interval_read_begin(&hit.notifier);
	other_seq = gpusvm_mmu_interval_read_begin(&other.notifier);
	start(0, 10);
	assert_int_equal(hit.seq & 1, 1);
	assert_int_equal(hit.seq, mm.notifiers.seq);
	assert_true(gpusvm_mmu_interval_read_retry(&hit.notifier, seq));
	/* Who was not hit does not even wait. */
	assert_int_equal(gpusvm_mmu_interval_read_begin(&other.notifier),
			 other_seq);
	assert_false(
		gpusvm_mmu_interval_read_retry(&other.notifier, other_seq));
	end(0, 10);
	assert_true(gpusvm_mmu_interval_read_retry(&hit.notifier, seq));
	seq = gpusvm_mmu_interval_read_begin(&hit.notifier);
	assert_false(gpusvm_mmu_interval_read_retry(&hit.notifier, seq));
	unsubscribe(&hit);
	unsubscribe(&other);
	assert_idle();
}

static void two_events_have_two_numbers(void **state)
{
	struct subscription s;
	unsigned long first;

	(void)state;
	subscribe(&s, 0, 10);
	start(0, 1);
	end(0, 1);
	first = s.seq;
	start(0, 1);
	end(0, 1);
	assert_true(s.seq > first);
	unsubscribe(&s);
}

static void nested_events_end_with_the_last(void **state)
{
	struct subscription a, b;
	unsigned long seq;

	(void)state;
	subscribe(&a, 0, 10);
	subscribe(&b, 10, 10);
	seq = mm.notifiers.seq;
	start(0, 10);
	start(10, 10);
	start(100, 10); /* hits nobody */
	assert_int_equal(a.seq, b.seq);
	end(0, 10);
	assert_int_equal(mm.notifiers.seq, seq | 1);
	end(10, 10);
	assert_int_equal(mm.notifiers.seq, seq | 1);
	end(100, 10);
	assert_int_equal(mm.notifiers.seq, seq + 2);
	unsubscribe(&a);
	unsubscribe(&b);
	assert_idle();
}

/* ---- Refusal ---- */

static void start_nonblockable_refused_returns_eagain(void **state)
{
	struct mmu_notifier_range range = event_at(0, 30);
	struct subscription s[3];
	unsigned long seq;

	(void)state;
	subscribe(&s[0], 0, 10);
	subscribe(&s[1], 10, 10);
	subscribe(&s[2], 20, 10);
	s[1].refuse = true;
	range.flags = 0;
	seq = gpusvm_mmu_interval_read_begin(&s[0].notifier);
	assert_int_equal(gpusvm_notify_start(&range), -EAGAIN);
	assert_idle(); /* no end follows */
	assert_int_equal(s[0].calls, 1);
	assert_int_equal(s[2].calls, 0);
	/* Who had been told starts again, though nothing changed. */
	assert_true(gpusvm_mmu_interval_read_retry(&s[0].notifier, seq));
	gpusvm_mmu_interval_read_begin(&s[0].notifier);
	unsubscribe(&s[0]);
	unsubscribe(&s[1]);
	unsubscribe(&s[2]);
}

static void start_nonblockable_refused_leaves_other_event(void **state)
{
	struct mmu_notifier_range range = event_at(0, 10);
	struct subscription s;

	(void)state;
	subscribe(&s, 0, 10);
	start(0, 10);
	s.refuse = true;
	range.flags = 0;
	assert_int_equal(gpusvm_notify_start(&range), -EAGAIN);
	assert_int_equal(mm.notifiers.active, 1);
	assert_int_equal(mm.notifiers.seq & 1, 1);
	end(0, 10);
	assert_idle();
	unsubscribe(&s);
}

/* Only who cannot wait may be refused: every other start has its end. */
static void start_blockable_refused_goes_on(void **state)
{
	struct mmu_notifier_range range = event_at(0, 20);
	struct subscription s[2];

	(void)state;
	subscribe(&s[0], 0, 10);
	subscribe(&s[1], 10, 10);
	s[0].refuse = true;
	assert_int_equal(gpusvm_notify_start(&range), 0);
	assert_int_equal(s[1].calls, 1);
	gpusvm_notify_end(&range);
	assert_idle();
	unsubscribe(&s[0]);
	unsubscribe(&s[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		notifier_test(insert_empty_or_wrapping_returns_eoverflow),
		notifier_test(event_calls_who_overlaps_in_order),
		notifier_test(event_at_the_edges_hits_exactly),
		notifier_test(event_calls_nested_and_equal_intervals),
		notifier_test(event_after_remove_calls_nobody),
		notifier_test(concern_is_what_overlaps),
		notifier_test(concern_counts_who_is_deferred),
		notifier_test(bounds_are_all_there_have_been),
		notifier_test(fresh_subscription_reads_at_once),
		notifier_test(event_makes_readers_start_again),
		notifier_test(two_events_have_two_numbers),
		notifier_test(nested_events_end_with_the_last),
		notifier_test(start_nonblockable_refused_returns_eagain),
		notifier_test(start_nonblockable_refused_leaves_other_event),
		notifier_test(start_blockable_refused_goes_on),
	};

	return cmocka_run_group_tests_name("interval_notifier", tests, NULL,
					   NULL);
}
