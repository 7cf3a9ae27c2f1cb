/* SPDX-License-Identifier: MIT */
/* Starting threads of the library's own. */
#ifndef GPUSVM_BASE_THREAD_START_H
#define GPUSVM_BASE_THREAD_START_H

#include <pthread.h>
#include <stddef.h>

/*
 * Run @fn(@arg) on a new thread with a stack of @size bytes in private memory,
 * *@stack, its thread-local storage excluded from ranges, and all signals
 * blocked: a program's handlers do not run on it.
 * pthread_create() uses malloc(), so not in a callback.  When the thread has
 * been joined, gpusvm_free_pages(*@stack, @size).  0, -ENOMEM or -EAGAIN.
 */
int gpusvm_thread_start(pthread_t *thread, void **stack, size_t size,
			void *(*fn)(void *arg), void *arg, const char *name);

/* Run a thread on one CPU only, if that can be. */
void gpusvm_thread_pin(pthread_t thread, unsigned int cpu);

#endif /* GPUSVM_BASE_THREAD_START_H */
