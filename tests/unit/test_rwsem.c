/* SPDX-License-Identifier: MIT */
/*
 * The read-write semaphore: readers share it, a writer has it alone, and a
 * waiting writer goes before later readers.
 */
#include "unit_thread.h"

#include <gpusvm/kernel.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static uint64_t seed;

/* ---- Exclusion ---- */

#define NTHREADS 4
#define NROUNDS 20000
#define NWORDS 8

static struct {
	struct rw_semaphore sem;
	unsigned long words[NWORDS]; /* plain: the semaphore orders them */
} table;

static bool read_table(void)
{
	bool equal = true;
	unsigned int i;

	gpusvm_down_read(&table.sem);
	for (i = 1; i < NWORDS; i++)
		equal &= table.words[i] == table.words[0];
	gpusvm_up_read(&table.sem);
	return equal;
}

static void write_table(void)
{
	unsigned int i;

	gpusvm_down_write(&table.sem);
	for (i = 0; i < NWORDS; i++)
		table.words[i]++;
	gpusvm_up_write(&table.sem);
}

/* Returns how often it wrote, 0 if it saw half of a change. */
static void *read_and_write(void *arg)
{
	uint64_t random = seed + (uintptr_t)arg;
	uintptr_t writes = 0;
	unsigned int i;

	for (i = 0; i < NROUNDS; i++) {
		if (unit_random_below(&random, 4) == 0) {
			write_table();
			writes++;
		} else if (!read_table()) {
			return NULL;
		}
	}
	return (void *)writes;
}

static void writers_exclude_everybody(void **state)
{
	pthread_t threads[NTHREADS];
	uintptr_t total = 0, i;
	void *writes;

	(void)state;
	memset(&table, 0xa5, sizeof(table));
	memset(table.words, 0, sizeof(table.words));
	gpusvm_init_rwsem(&table.sem);
	for (i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						read_and_write, (void *)i),
				 0);
	for (i = 0; i < NTHREADS; i++) {
		pthread_join(threads[i], &writes);
		assert_non_null(writes);
		total += (uintptr_t)writes;
	}
	assert_int_equal(table.words[0], total);
}

static struct rw_semaphore shared;

static void *read_while_others_read(void *barrier)
{
	gpusvm_down_read(&shared);
	/* Hangs unless all of them are inside together. */
	pthread_barrier_wait(barrier);
	gpusvm_up_read(&shared);
	return NULL;
}

static void readers_share(void **state)
{
	pthread_t threads[NTHREADS];
	pthread_barrier_t barrier;
	unsigned int i;

	(void)state;
	gpusvm_init_rwsem(&shared);
	pthread_barrier_init(&barrier, NULL, NTHREADS);
	for (i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						read_while_others_read,
						&barrier),
				 0);
	for (i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
}

/* ---- Order ---- */

static struct {
	struct rw_semaphore sem;
	unsigned int turns;
} queue;

struct waiter {
	pthread_t thread;
	pid_t tid;
	unsigned int turn; /* 1 for who got the semaphore first */
};

static unsigned int take_turn(void)
{
	return __atomic_add_fetch(&queue.turns, 1, __ATOMIC_RELAXED);
}

static void *wait_to_write(void *arg)
{
	struct waiter *waiter = arg;

	__atomic_store_n(&waiter->tid, gettid(), __ATOMIC_RELEASE);
	gpusvm_down_write(&queue.sem);
	__atomic_store_n(&waiter->turn, take_turn(), __ATOMIC_RELEASE);
	gpusvm_up_write(&queue.sem);
	return NULL;
}

static void *wait_to_read(void *arg)
{
	struct waiter *waiter = arg;

	__atomic_store_n(&waiter->tid, gettid(), __ATOMIC_RELEASE);
	gpusvm_down_read(&queue.sem);
	__atomic_store_n(&waiter->turn, take_turn(), __ATOMIC_RELEASE);
	gpusvm_up_read(&queue.sem);
	return NULL;
}

/* Until it waits for the semaphore or has had it. */
static void start_waiter(struct waiter *waiter, void *(*fn)(void *))
{
	pid_t tid;

	assert_int_equal(pthread_create(&waiter->thread, NULL, fn, waiter), 0);
	while (!(tid = __atomic_load_n(&waiter->tid, __ATOMIC_ACQUIRE)))
		sched_yield();
	while (!unit_tid_sleeps(tid) &&
	       !__atomic_load_n(&waiter->turn, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void waiting_writer_goes_before_later_readers(void **state)
{
	struct waiter writer = { 0 }, reader = { 0 };

	(void)state;
	gpusvm_init_rwsem(&queue.sem);
	gpusvm_down_read(&queue.sem);
	start_waiter(&writer, wait_to_write);
	start_waiter(&reader, wait_to_read);
	gpusvm_up_read(&queue.sem);
	pthread_join(writer.thread, NULL);
	pthread_join(reader.thread, NULL);
	assert_int_equal(writer.turn, 1);
	assert_int_equal(reader.turn, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_exclude_everybody),
		cmocka_unit_test(readers_share),
		cmocka_unit_test(waiting_writer_goes_before_later_readers),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("rwsem", tests, NULL, NULL);
}
