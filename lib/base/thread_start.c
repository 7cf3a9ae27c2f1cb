/* SPDX-License-Identifier: MIT */
/* See thread_start.h. */
#include "thread_start.h"

#include <errno.h>
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
