/* SPDX-License-Identifier: MIT */
/*
 * A thread of the library's own: on private memory, deaf to signals, and
 * nothing left behind when it cannot be had.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "alloc.h"
#include "exclude.h"
#include "thread_start.h"

#define SIZE (1ul << 20) /* a sanitizer needs most of it */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

static bool no_thread, no_memory;
static void *last_stack;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	return no_thread ? EAGAIN
			 : __real_pthread_create(thread, attr, fn, arg);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	last_stack = no_memory ? NULL : __real_gpusvm_alloc_pages(size, align);
	return last_stack;
}

/* More than a libc has room for next to a thread's stack. */
static __thread volatile char storage[4000];

struct seen {
	unsigned long local;
	bool self_is_private;
	bool storage_is_private;
	sigset_t blocked;
	char name[16];
};

/* In the window, or excluded. */
static bool is_private(unsigned long addr)
{
	unsigned long start = 0, end = ~0ul, first, last;

	gpusvm_alloc_window(&first, &last);
	return (addr >= first && addr < last) ||
	       !gpusvm_exclude_clip(addr, &start, &end);
}

static void *look_around(void *arg)
{
	struct seen *seen = arg;

	seen->local = (unsigned long)__builtin_frame_address(0);
	seen->self_is_private = is_private((unsigned long)pthread_self());
	seen->storage_is_private =
		is_private((unsigned long)storage) &&
		is_private((unsigned long)storage + sizeof(storage) - 1);
	pthread_sigmask(SIG_BLOCK, NULL, &seen->blocked);
	return arg;
}

static void thread_has_a_private_stack_and_no_signals(void **state)
{
	unsigned long start, end;
	struct seen seen;
	sigset_t before, after;
	pthread_t thread;
	void *stack, *result;
	int sig;

	(void)state;
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(gpusvm_thread_start(&thread, &stack, SIZE, look_around,
					     &seen, "look-around"),
			 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	assert_ptr_equal(result, &seen);
	gpusvm_alloc_window(&start, &end);
	assert_in_range(stack, start, end - SIZE);
	assert_in_range(seen.local, stack, (unsigned long)stack + SIZE - 1);
	assert_true(seen.self_is_private);
	assert_true(seen.storage_is_private);
	for (sig = 1; sig < 32; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP)
			assert_int_equal(sigismember(&seen.blocked, sig), 1);
		assert_int_equal(sigismember(&after, sig),
				 sigismember(&before, sig));
	}
	gpusvm_free_pages(stack, SIZE);
}

static void failures_leave_nothing(void **state)
{
	pthread_t thread;
	void *stack, *first;
	struct seen seen;

	(void)state;
	no_memory = true;
	assert_int_equal(gpusvm_thread_start(&thread, &stack, SIZE, look_around,
					     &seen, "none"),
			 -ENOMEM);
	no_memory = false;
	no_thread = true;
	assert_int_equal(gpusvm_thread_start(&thread, &stack, SIZE, look_around,
					     &seen, "none"),
			 -EAGAIN);
	/* What it took is there to be taken again. */
	first = last_stack;
	assert_int_equal(gpusvm_thread_start(&thread, &stack, SIZE, look_around,
					     &seen, "none"),
			 -EAGAIN);
	assert_ptr_equal(last_stack, first);
	no_thread = false;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(thread_has_a_private_stack_and_no_signals),
		cmocka_unit_test(failures_leave_nothing),
	};

	return cmocka_run_group_tests_name("thread_start", tests, NULL, NULL);
}
