/* SPDX-License-Identifier: MIT */
/*
 * Fences: signalled once, by anybody, with a result that all who wait get; and
 * what becomes of one that nobody can signal any more.
 */
#include "unit_thread.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <signal.h>

#include "alloc.h"
#include "fence.h"
#include "sys.h"

#define NWAITERS 8
#define NSIGNALLERS 4
#define ROUNDS 2000

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static bool no_memory;
static unsigned int nlines;
static size_t blocks;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

static void count_line(enum gpusvm_log_level level, const char *message,
		       void *priv)
{
	(void)level;
	(void)message;
	(void)priv;
	nlines++;
}

static int setup(void **state)
{
	(void)state;
	no_memory = false;
	nlines = 0;
	blocks = gpusvm_alloc_live();
	gpusvm_set_log(count_line, NULL, GPUSVM_LOG_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	return 0;
}

static struct gpusvm_fence *create(void)
{
	struct gpusvm_fence *fence = NULL;

	assert_int_equal(gpusvm_fence_create(&fence), 0);
	assert_non_null(fence);
	return fence;
}

static void create_says_what_is_wrong(void **state)
{
	struct gpusvm_fence *fence = (void *)1;

	(void)state;
	assert_int_equal(gpusvm_fence_create(NULL), -EINVAL);
	no_memory = true;
	assert_int_equal(gpusvm_fence_create(&fence), -ENOMEM);
	assert_null(fence);
}

static void fence_is_done_when_it_was_signalled(void **state)
{
	struct gpusvm_fence *fence = create();
	int err = 123;

	(void)state;
	assert_false(gpusvm_fence_done(fence, &err));
	assert_int_equal(err, 123);
	assert_int_equal(gpusvm_fence_signal(fence, 0), 0);
	assert_true(gpusvm_fence_done(fence, NULL));
	assert_true(gpusvm_fence_done(fence, &err));
	assert_int_equal(err, 0);
	assert_int_equal(gpusvm_fence_wait(fence), 0);
	assert_int_equal(gpusvm_fence_wait(fence), 0);
	gpusvm_fence_put(fence);
	gpusvm_fence_put(NULL);
	assert_int_equal(nlines, 0);
}

static void first_signal_counts(void **state)
{
	struct gpusvm_fence *fence = create();
	int err = 0;

	(void)state;
	assert_int_equal(gpusvm_fence_signal(fence, -EIO), 0);
	assert_int_equal(gpusvm_fence_signal(fence, 0), -EALREADY);
	assert_int_equal(gpusvm_fence_signal(fence, -ENXIO), -EALREADY);
	assert_true(gpusvm_fence_done(fence, &err));
	assert_int_equal(err, -EIO);
	assert_int_equal(gpusvm_fence_wait(fence), -EIO);
	gpusvm_fence_put(fence);
}

static void wait_until_gives_up_in_time(void **state)
{
	struct gpusvm_fence *fence = create();

	(void)state;
	assert_false(gpusvm_fence_wait_until(fence, 0));
	assert_false(
		gpusvm_fence_wait_until(fence, gpusvm_sys_now_ns() + 1000000));
	gpusvm_fence_signal(fence, 0);
	assert_true(gpusvm_fence_wait_until(fence, 0));
	gpusvm_fence_put(fence);
}

/* ---- Others wait ---- */

struct message {
	struct gpusvm_fence *fence;
	bool with_time;
	unsigned int value; /* plain: the fence orders it */
	unsigned int read;
	int err;
};

static void wait_and_read(void *arg)
{
	struct message *message = arg;

	if (message->with_time)
		gpusvm_fence_wait_until(message->fence, ~0ul);
	__atomic_fetch_add(&message->err, gpusvm_fence_wait(message->fence),
			   __ATOMIC_RELAXED);
	__atomic_fetch_add(&message->read, message->value, __ATOMIC_RELAXED);
}

static void check_all_waiters(bool with_time)
{
	struct message message = { .fence = create(), .with_time = with_time };
	struct unit_thread threads[NWAITERS];
	unsigned int i;

	for (i = 0; i < NWAITERS; i++)
		unit_thread_start(&threads[i], wait_and_read, &message);
	for (i = 0; i < NWAITERS; i++) {
		unit_thread_settle(&threads[i]);
		assert_false(unit_thread_done(&threads[i]));
	}
	message.value = 42;
	assert_int_equal(gpusvm_fence_signal(message.fence, -EIO), 0);
	for (i = 0; i < NWAITERS; i++)
		unit_thread_join(&threads[i]);
	assert_int_equal(message.read, NWAITERS * 42);
	assert_int_equal(message.err, NWAITERS * -EIO);
	gpusvm_fence_put(message.fence);
}

static void signal_wakes_every_waiter(void **state)
{
	(void)state;
	check_all_waiters(false);
	check_all_waiters(true);
}

/* Who waits may put the last reference but that of who signals. */
static void signal_and_put(void *arg)
{
	gpusvm_fence_signal(arg, 7);
	gpusvm_fence_put(arg);
}

static void waiter_may_put_first(void **state)
{
	struct unit_thread thread;
	struct gpusvm_fence *fence;
	unsigned int i;

	(void)state;
	for (i = 0; i < ROUNDS / 10; i++) {
		fence = create();
		unit_thread_start(&thread, signal_and_put,
				  gpusvm_fence_get(fence));
		assert_int_equal(gpusvm_fence_wait(fence), 7);
		gpusvm_fence_put(fence);
		unit_thread_join(&thread);
	}
}

/* ---- Several signal ---- */

struct race {
	struct gpusvm_fence *fences[ROUNDS];
	unsigned int won;
	int next_err;
};

static void signal_all(void *arg)
{
	struct race *race = arg;
	int mine = __atomic_add_fetch(&race->next_err, 1, __ATOMIC_RELAXED);
	unsigned int i;
	int err;

	for (i = 0; i < ROUNDS; i++) {
		if (gpusvm_fence_signal(race->fences[i], mine))
			continue;
		__atomic_fetch_add(&race->won, 1, __ATOMIC_RELAXED);
		if (!gpusvm_fence_done(race->fences[i], &err) || err != mine)
			__atomic_fetch_add(&race->won, ROUNDS,
					   __ATOMIC_RELAXED);
	}
}

static void one_of_several_signals_counts(void **state)
{
	static struct race race;
	struct unit_thread threads[NSIGNALLERS];
	unsigned int i;

	(void)state;
	for (i = 0; i < ROUNDS; i++)
		race.fences[i] = create();
	for (i = 0; i < NSIGNALLERS; i++)
		unit_thread_start(&threads[i], signal_all, &race);
	for (i = 0; i < NSIGNALLERS; i++)
		unit_thread_join(&threads[i]);
	assert_int_equal(race.won, ROUNDS);
	for (i = 0; i < ROUNDS; i++)
		gpusvm_fence_put(race.fences[i]);
}

/* ---- References ---- */

static void unused_fence_is_just_freed(void **state)
{
	struct gpusvm_fence *fence = create();

	(void)state;
	assert_ptr_equal(gpusvm_fence_get(fence), fence);
	gpusvm_fence_put(fence);
	assert_int_equal(gpusvm_alloc_live(), blocks + 1);
	gpusvm_fence_put(fence);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_int_equal(nlines, 0);
}

static void fence_that_nobody_can_signal_is_an_error(void **state)
{
	struct gpusvm_fence *fence = create();
	int err = 0;

	(void)state;
	gpusvm_fence_hold(fence);
	gpusvm_fence_get(fence);
	gpusvm_fence_put(fence);
	assert_false(gpusvm_fence_done(fence, NULL));
	gpusvm_fence_put(fence);
	assert_true(gpusvm_fence_done(fence, &err));
	assert_int_equal(err, -EDEADLK);
	assert_int_equal(nlines, 1);
	gpusvm_fence_release(fence);
}

static void result_outlives_who_signalled(void **state)
{
	struct gpusvm_fence *fence = create();
	int err = -1;

	(void)state;
	gpusvm_fence_hold(fence);
	gpusvm_fence_signal(fence, 0);
	gpusvm_fence_put(fence);
	assert_true(gpusvm_fence_done(fence, &err));
	assert_int_equal(err, 0);
	assert_int_equal(nlines, 0);
	gpusvm_fence_release(fence);
}

/* ---- What is called ---- */

struct called {
	struct fence_callback callback;
	struct gpusvm_fence *fence;
	unsigned int calls;
	bool was_done;
};

/* It may go away in the call. */
static void note_call(struct fence_callback *callback)
{
	struct called *called =
		gpusvm_container_of(callback, struct called, callback);

	called->calls++;
	called->was_done = gpusvm_fence_done(called->fence, NULL);
	callback->next = (void *)1;
}

static void signal_calls_all_once(void **state)
{
	struct gpusvm_fence *fence = create();
	struct called called[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		called[i] = (struct called){ .callback.func = note_call,
					     .fence = fence };
		if (i < 2)
			assert_true(
				gpusvm_fence_call(fence, &called[i].callback));
	}
	gpusvm_fence_signal(fence, 0);
	gpusvm_fence_signal(fence, 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(called[i].calls, 1);
		assert_true(called[i].was_done);
	}
	/* Too late: that is the caller's business. */
	assert_false(gpusvm_fence_call(fence, &called[2].callback));
	assert_int_equal(called[2].calls, 0);
	gpusvm_fence_put(fence);
}

static void signal_it(void *fence)
{
	gpusvm_fence_signal(fence, 0);
}

/* Either it is called, or the caller is told. */
static void call_is_never_lost(void **state)
{
	unsigned int i, told, late = 0;
	struct unit_thread thread;
	struct called called;

	(void)state;
	for (i = 0; i < ROUNDS / 10; i++) {
		called = (struct called){ .callback.func = note_call,
					  .fence = create() };
		unit_thread_start(&thread, signal_it, called.fence);
		told = !gpusvm_fence_call(called.fence, &called.callback);
		unit_thread_join(&thread);
		assert_int_equal(called.calls + told, 1);
		late += told;
		gpusvm_fence_put(called.fence);
	}
	printf("%u of %u were late\n", late, i);
}

/* ---- Signal handlers ---- */

static struct gpusvm_fence *for_handler;

static void handler(int sig)
{
	(void)sig;
	gpusvm_fence_signal(for_handler, 0);
}

/* Of the very thread that waits, too: it holds no lock meanwhile. */
static void signal_handler_may_signal(void **state)
{
	const struct sigaction action = { .sa_handler = handler };
	struct message message = { .fence = create() };
	struct unit_thread thread;
	struct sigaction old;

	(void)state;
	for_handler = message.fence;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	unit_thread_start(&thread, wait_and_read, &message);
	unit_thread_settle(&thread);
	pthread_kill(thread.thread, SIGUSR1);
	unit_thread_join(&thread);
	assert_int_equal(message.err, 0);
	sigaction(SIGUSR1, &old, NULL);
	gpusvm_fence_put(message.fence);
}

#define fence_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		fence_test(create_says_what_is_wrong),
		fence_test(fence_is_done_when_it_was_signalled),
		fence_test(first_signal_counts),
		fence_test(wait_until_gives_up_in_time),
		fence_test(signal_wakes_every_waiter),
		fence_test(waiter_may_put_first),
		fence_test(one_of_several_signals_counts),
		fence_test(unused_fence_is_just_freed),
		fence_test(fence_that_nobody_can_signal_is_an_error),
		fence_test(result_outlives_who_signalled),
		fence_test(signal_calls_all_once),
		fence_test(call_is_never_lost),
		fence_test(signal_handler_may_signal),
	};

	return cmocka_run_group_tests_name("fence", tests, NULL, NULL);
}
