/* SPDX-License-Identifier: MIT */
/*
 * The interval notifier protocol between threads: when readers wait,
 * subscriptions that begin and end during an event, events and readers in
 * parallel.
 */
#include "unit_interval_notifier.h"
#include "unit_thread.h"

static uint64_t seed;

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		notifier_test(read_begin_waits_for_the_end),
		notifier_test(insert_in_event_that_hit_is_deferred),
		notifier_test(insert_in_event_that_hit_nobody_waits_for_it),
		notifier_test(remove_of_deferred_insert_returns_at_once),
		notifier_test(remove_in_event_waits_for_its_end),
		notifier_test(parallel_reads_are_never_stale),
		notifier_test(parallel_insert_and_remove_leave_nothing),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("interval_notifier_threads", tests,
					   NULL, NULL);
}
