/* SPDX-License-Identifier: MIT */
/*
 * The interval notifier protocol: who is told, when readers wait or start
 * again, events that nest and run in parallel, subscriptions that begin and end
 * during an event, refusal.
 */
#include "unit_thread.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "interval_notifier.h"
#include "mm.h"

#define BASE (1ul << 40)

static uint64_t seed;
static struct mm_struct mm;

struct subscription {
	struct mmu_interval_notifier notifier;
	unsigned int calls;
	unsigned int order; /* among all calls; 1 for the first */
	unsigned long seq;  /* of the last call */
	struct mmu_notifier_range range;
	bool refuse;
};

static unsigned int calls;

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	struct subscription *s =
		gpusvm_container_of(notifier, struct subscription, notifier);

	s->calls++;
	s->order = ++calls;
	s->seq = cur_seq;
	s->range = *range;
	if (s->refuse)
		return false;
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops ops = {
	.invalidate = invalidate,
};

static int setup(void **state)
{
	(void)state;
	gpusvm_notifiers_init(&mm.notifiers);
	calls = 0;
	return 0;
}

static void subscribe(struct subscription *s, unsigned long first,
		      unsigned long n)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &s->notifier, &mm, BASE + first, n, &ops),
			 0);
}

static void unsubscribe(struct subscription *s)
{
	gpusvm_mmu_interval_notifier_remove(&s->notifier);
}

static struct mmu_notifier_range event_at(unsigned long first, unsigned long n)
{
	return (struct mmu_notifier_range){
		.mm = &mm,
		.start = BASE + first,
		.end = BASE + first + n,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
		.owner = &mm,
	};
}

static void start(unsigned long first, unsigned long n)
{
	struct mmu_notifier_range range = event_at(first, n);

	assert_int_equal(gpusvm_notify_start(&range), 0);
}

static void end(unsigned long first, unsigned long n)
{
	struct mmu_notifier_range range = event_at(first, n);

	gpusvm_notify_end(&range);
}

static void assert_idle(void)
{
	assert_int_equal(mm.notifiers.active, 0);
	assert_int_equal(mm.notifiers.seq & 1, 0);
	assert_null(mm.notifiers.deferred);
}

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

/* ---- Waiting ---- */

struct reading {
	struct mmu_interval_notifier *notifier;
	unsigned long seq;
};

static void read_begin(void *arg)
{
	struct reading *r = arg;

	r->seq = gpusvm_mmu_interval_read_begin(r->notifier);
}

static void read_begin_waits_for_the_end(void **state)
{
	struct subscription s;
	struct reading r = { .notifier = &s.notifier };
	struct unit_thread t;

	(void)state;
	subscribe(&s, 0, 10);
	start(0, 10);
	start(5, 1);
	unit_thread_start(&t, read_begin, &r);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	end(0, 10);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	end(5, 1);
	unit_thread_join(&t);
	assert_int_equal(r.seq, s.seq);
	assert_false(gpusvm_mmu_interval_read_retry(&s.notifier, r.seq));
	unsubscribe(&s);
}

static void insert_in_event_that_hit_is_deferred(void **state)
{
	struct subscription old, new;
	struct reading r = { .notifier = &new.notifier };
	struct unit_thread t;

	(void)state;
	subscribe(&old, 0, 10);
	start(0, 10);
	subscribe(&new, 0, 10);
	start(0, 10);
	assert_int_equal(old.calls, 2);
	assert_int_equal(new.calls, 0);
	unit_thread_start(&t, read_begin, &r);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	end(0, 10);
	end(0, 10);
	unit_thread_join(&t);
	assert_false(gpusvm_mmu_interval_read_retry(&new.notifier, r.seq));
	start(0, 10);
	end(0, 10);
	assert_int_equal(new.calls, 1);
	assert_true(gpusvm_mmu_interval_read_retry(&new.notifier, r.seq));
	unsubscribe(&old);
	unsubscribe(&new);
	assert_idle();
}

static void insert_in_event_that_hit_nobody_waits_for_it(void **state)
{
	struct subscription s;
	struct reading r = { .notifier = &s.notifier };
	struct unit_thread t;

	(void)state;
	start(0, 10);
	subscribe(&s, 0, 10);
	unit_thread_start(&t, read_begin, &r);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	end(0, 10);
	unit_thread_join(&t);
	assert_int_equal(s.calls, 0);
	unsubscribe(&s);
	assert_idle();
}

static void remove_of_deferred_insert_returns_at_once(void **state)
{
	struct subscription s, new[3];

	(void)state;
	subscribe(&s, 0, 10);
	start(0, 10);
	subscribe(&new[0], 0, 10);
	subscribe(&new[1], 0, 10);
	subscribe(&new[2], 0, 10);
	unsubscribe(&new[1]);
	end(0, 10);
	start(0, 10);
	end(0, 10);
	assert_int_equal(new[0].calls, 1);
	assert_int_equal(new[1].calls, 0);
	assert_int_equal(new[2].calls, 1);
	unsubscribe(&new[0]);
	unsubscribe(&new[2]);
	unsubscribe(&s);
	assert_idle();
}

static void remove_in_thread(void *arg)
{
	gpusvm_mmu_interval_notifier_remove(arg);
}

static void remove_in_event_waits_for_its_end(void **state)
{
	struct subscription gone, unrelated;
	struct unit_thread t[2];

	(void)state;
	subscribe(&gone, 0, 10);
	subscribe(&unrelated, 10, 10);
	start(0, 10);
	unit_thread_start(&t[0], remove_in_thread, &gone.notifier);
	unit_thread_start(&t[1], remove_in_thread, &unrelated.notifier);
	unit_thread_settle(&t[0]);
	unit_thread_settle(&t[1]);
	assert_false(unit_thread_done(&t[0]));
	assert_false(unit_thread_done(&t[1]));
	end(0, 10);
	unit_thread_join(&t[0]);
	unit_thread_join(&t[1]);
	start(0, 20);
	end(0, 20);
	assert_int_equal(gone.calls, 1);
	assert_int_equal(unrelated.calls, 0);
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

/* ---- All of it, in parallel ---- */

#define NSUBS 6
#define NEVENTS 4000

static struct {
	struct mmu_interval_notifier notifier;
	pthread_mutex_t lock;
	unsigned int inside; /* events between start and end */
} subs[NSUBS];

static unsigned int stale, validated;
static bool stop;

static bool invalidate_locked(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range,
			      unsigned long cur_seq)
{
	size_t i = (notifier->interval_tree.start - BASE) / 10;

	(void)range;
	pthread_mutex_lock(&subs[i].lock);
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	subs[i].inside++;
	pthread_mutex_unlock(&subs[i].lock);
	return true;
}

static const struct mmu_interval_notifier_ops locked_ops = {
	.invalidate = invalidate_locked,
};

static void make_events(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg;
	unsigned long first, n, i, j;
	struct mmu_notifier_range range;

	for (i = 0; i < NEVENTS; i++) {
		first = unit_random_below(&random, NSUBS);
		n = 1 + unit_random_below(&random, NSUBS - first);
		range = event_at(10 * first, 10 * n);
		gpusvm_notify_start(&range);
		for (j = first; j < first + n; j++) {
			pthread_mutex_lock(&subs[j].lock);
			subs[j].inside--;
			pthread_mutex_unlock(&subs[j].lock);
		}
		gpusvm_notify_end(&range);
	}
}

static void read_for_ever(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg;
	unsigned long i, seq;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		i = unit_random_below(&random, NSUBS);
		seq = gpusvm_mmu_interval_read_begin(&subs[i].notifier);
		pthread_mutex_lock(&subs[i].lock);
		if (!gpusvm_mmu_interval_read_retry(&subs[i].notifier, seq)) {
			if (subs[i].inside)
				__atomic_add_fetch(&stale, 1, __ATOMIC_RELAXED);
			__atomic_add_fetch(&validated, 1, __ATOMIC_RELAXED);
		}
		pthread_mutex_unlock(&subs[i].lock);
	}
}

static void parallel_reads_are_never_stale(void **state)
{
	struct unit_thread events[2], readers[2];
	uintptr_t i;

	(void)state;
	for (i = 0; i < NSUBS; i++) {
		pthread_mutex_init(&subs[i].lock, NULL);
		assert_int_equal(gpusvm_mmu_interval_notifier_insert(
					 &subs[i].notifier, &mm, BASE + 10 * i,
					 10, &locked_ops),
				 0);
	}
	for (i = 0; i < 2; i++)
		unit_thread_start(&readers[i], read_for_ever, (void *)i);
	for (i = 0; i < 2; i++)
		unit_thread_start(&events[i], make_events, (void *)(i + 2));
	for (i = 0; i < 2; i++)
		unit_thread_join(&events[i]);
	unit_wait_until(__atomic_load_n(&validated, __ATOMIC_RELAXED));
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		unit_thread_join(&readers[i]);
	assert_int_equal(stale, 0);
	assert_idle();
	for (i = 0; i < NSUBS; i++)
		gpusvm_mmu_interval_notifier_remove(&subs[i].notifier);
}

static bool ignore(struct mmu_interval_notifier *notifier,
		   const struct mmu_notifier_range *range,
		   unsigned long cur_seq)
{
	(void)range;
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops ignore_ops = {
	.invalidate = ignore,
};

static void come_and_go(void *arg)
{
	struct mmu_interval_notifier notifier;
	unsigned long i;
	bool *failed = arg;

	for (i = 0; i < 500; i++) {
		if (gpusvm_mmu_interval_notifier_insert(&notifier, &mm,
							BASE + 10 * (i % NSUBS),
							10, &ignore_ops)) {
			*failed = true;
			return;
		}
		if (i % 3 == 0)
			gpusvm_mmu_interval_read_begin(&notifier);
		gpusvm_mmu_interval_notifier_remove(&notifier);
	}
}

static void hit_for_ever(void *arg)
{
	struct mmu_notifier_range range = event_at(0, 10 * NSUBS);

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		gpusvm_notify_start(&range);
		gpusvm_notify_end(&range);
	}
}

static void parallel_insert_and_remove_leave_nothing(void **state)
{
	struct unit_thread comers[2], hitter;
	bool failed[2] = { false, false };

	(void)state;
	stop = false;
	unit_thread_start(&hitter, hit_for_ever, NULL);
	unit_thread_start(&comers[0], come_and_go, &failed[0]);
	unit_thread_start(&comers[1], come_and_go, &failed[1]);
	unit_thread_join(&comers[0]);
	unit_thread_join(&comers[1]);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	unit_thread_join(&hitter);
	assert_false(failed[0] || failed[1]);
	assert_idle();
	assert_null(mm.notifiers.tree.rb_root.rb_node);
}

#define notifier_test(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		notifier_test(insert_empty_or_wrapping_returns_eoverflow),
		notifier_test(event_calls_who_overlaps_in_order),
		notifier_test(event_at_the_edges_hits_exactly),
		notifier_test(event_calls_nested_and_equal_intervals),
		notifier_test(event_after_remove_calls_nobody),
		notifier_test(fresh_subscription_reads_at_once),
		notifier_test(event_makes_readers_start_again),
		notifier_test(two_events_have_two_numbers),
		notifier_test(nested_events_end_with_the_last),
		notifier_test(read_begin_waits_for_the_end),
		notifier_test(insert_in_event_that_hit_is_deferred),
		notifier_test(insert_in_event_that_hit_nobody_waits_for_it),
		notifier_test(remove_of_deferred_insert_returns_at_once),
		notifier_test(remove_in_event_waits_for_its_end),
		notifier_test(start_nonblockable_refused_returns_eagain),
		notifier_test(start_nonblockable_refused_leaves_other_event),
		notifier_test(start_blockable_refused_goes_on),
		notifier_test(parallel_reads_are_never_stale),
		notifier_test(parallel_insert_and_remove_leave_nothing),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("interval_notifier", tests, NULL,
					   NULL);
}
