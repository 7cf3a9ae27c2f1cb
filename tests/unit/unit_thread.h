/* SPDX-License-Identifier: MIT */
/*
 * A thread that a unit test starts to see it wait: whether it sleeps, whether
 * it has returned, and a join with a time limit.  All on the main thread.
 */
#ifndef TESTS_UNIT_THREAD_H
#define TESTS_UNIT_THREAD_H

#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define UNIT_WAIT_S unit_seconds(30)

struct unit_thread {
	pthread_t thread;
	pid_t tid;
	bool done;
	void (*fn)(void *arg);
	void *arg;
};

static inline void *unit_thread_main(void *arg)
{
	struct unit_thread *t = arg;

	__atomic_store_n(&t->tid, gettid(), __ATOMIC_RELEASE);
	t->fn(t->arg);
	__atomic_store_n(&t->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static inline void unit_thread_start(struct unit_thread *t,
				     void (*fn)(void *arg), void *arg)
{
	*t = (struct unit_thread){ .fn = fn, .arg = arg };
	if (pthread_create(&t->thread, NULL, unit_thread_main, t))
		fail_msg("no thread");
}

static inline bool unit_thread_done(struct unit_thread *t)
{
	return __atomic_load_n(&t->done, __ATOMIC_ACQUIRE);
}

/* Whether a thread of this process sleeps: its state after the last ")". */
static inline bool unit_tid_sleeps(pid_t tid)
{
	char path[64], line[512], *state;
	bool result = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fgets(line, sizeof(line), file)) {
		state = strrchr(line, ')');
		result = state && state[1] == ' ' && state[2] == 'S';
	}
	fclose(file);
	return result;
}

/* Fail the test unless @condition comes true in time. */
#define unit_wait_until(condition)                                          \
	do {                                                                \
		time_t end_ = time(NULL) + UNIT_WAIT_S;                     \
		while (!(condition)) {                                      \
			if (time(NULL) > end_)                              \
				fail_msg("waited in vain: %s", #condition); \
			sched_yield();                                      \
		}                                                           \
	} while (0)

/* Until the thread waits for something, or has returned. */
static inline void unit_thread_settle(struct unit_thread *t)
{
	unit_wait_until(__atomic_load_n(&t->tid, __ATOMIC_ACQUIRE));
	unit_wait_until(unit_thread_done(t) || unit_tid_sleeps(t->tid));
}

static inline void unit_thread_join(struct unit_thread *t)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += UNIT_WAIT_S;
	if (pthread_timedjoin_np(t->thread, NULL, &end))
		fail_msg("a thread does not end");
}

#endif /* TESTS_UNIT_THREAD_H */
