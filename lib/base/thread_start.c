/* SPDX-License-Identifier: MIT */
/* See thread_start.h. */
#include "thread_start.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "alloc.h"
#include "page_size.h"

int gpusvm_thread_start(pthread_t *thread, void **stack, size_t size,
			void *(*fn)(void *arg), void *arg, const char *name)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	*stack = gpusvm_alloc_pages(size, PAGE_SIZE);
	if (!*stack)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, *stack, size);
	err = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		gpusvm_free_pages(*stack, size);
		return -EAGAIN;
	}
	pthread_setname_np(*thread, name);
	return 0;
}

void gpusvm_thread_pin(pthread_t thread, unsigned int cpu)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t size = CPU_ALLOC_SIZE(cpu + 1);

	if (!set)
		return;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	pthread_setaffinity_np(thread, size, set);
	CPU_FREE(set);
}
