/* SPDX-License-Identifier: MIT */
/*
 * Completions: everybody who waits is let go and sees what was written before,
 * and the structure may go away at once.
 */
#include "unit.h"

#include <gpusvm/kernel.h>
#include <pthread.h>

#define NWAITERS 8

static void completion_before_complete_is_not_done(void **state)
{
	struct completion x = { .done = 123 };

	(void)state;
	gpusvm_init_completion(&x);
	assert_false(gpusvm_completion_done(&x));
}

static void completion_after_complete_stays_done(void **state)
{
	struct completion x;

	(void)state;
	gpusvm_init_completion(&x);
	gpusvm_complete_all(&x);
	assert_true(gpusvm_completion_done(&x));
	gpusvm_wait_for_completion(&x);
	gpusvm_wait_for_completion(&x);
	gpusvm_complete_all(&x);
	assert_true(gpusvm_completion_done(&x));
	gpusvm_init_completion(&x);
	assert_false(gpusvm_completion_done(&x));
}

struct message {
	struct completion ready;
	unsigned int value; /* plain: the completion orders it */
};

static void *wait_and_read(void *arg)
{
	struct message *message = arg;

	gpusvm_wait_for_completion(&message->ready);
	return (void *)(uintptr_t)message->value;
}

static void complete_all_releases_every_waiter(void **state)
{
	pthread_t threads[NWAITERS];
	struct message message = { 0 };
	unsigned int i;
	void *value;

	(void)state;
	gpusvm_init_completion(&message.ready);
	for (i = 0; i < NWAITERS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL,
						wait_and_read, &message),
				 0);
	}
	message.value = 42;
	gpusvm_complete_all(&message.ready);
	for (i = 0; i < NWAITERS; i++) {
		pthread_join(threads[i], &value);
		assert_int_equal((uintptr_t)value, 42);
	}
}

/* Two threads hand each other completions that live on the waiter's stack. */
#define ROUNDS 10000

static struct completion *posted;

/* Where processors take turns, as in QEMU, this ends the turn. */
static void spin(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void *complete_what_is_posted(void *arg)
{
	struct completion *x;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		while (!(x = __atomic_exchange_n(&posted, NULL,
						 __ATOMIC_ACQUIRE)))
			spin();
		gpusvm_complete_all(x);
	}
	return arg;
}

static void post_and_wait(void)
{
	struct completion x;

	gpusvm_init_completion(&x);
	__atomic_store_n(&posted, &x, __ATOMIC_RELEASE);
	gpusvm_wait_for_completion(&x);
}

static void completion_on_the_stack_may_go_away(void **state)
{
	pthread_t thread;
	unsigned int i;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, complete_what_is_posted,
					NULL),
			 0);
	for (i = 0; i < ROUNDS; i++)
		post_and_wait();
	pthread_join(thread, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(completion_before_complete_is_not_done),
		cmocka_unit_test(completion_after_complete_stays_done),
		cmocka_unit_test(complete_all_releases_every_waiter),
		cmocka_unit_test(completion_on_the_stack_may_go_away),
	};

	return cmocka_run_group_tests_name("completion", tests, NULL, NULL);
}
