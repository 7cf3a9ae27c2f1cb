/* SPDX-License-Identifier: MIT */
/* See thread_start.h. */
#include "thread_start.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <link.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc.h"
#include "page_size.h"

/**
 * struct start - What a thread begins with; its creator's
 * @fn: What it is to run
 * @arg: and with what
 * @stack: Its stack
 * @size: of that size
 * @err: Why it does not run
 * @ready: It runs, or does not
 */
struct start {
	void *(*fn)(void *arg);
	void *arg;
	uintptr_t stack;
	size_t size;
	int err;
	sem_t ready;
};

static int add_tls(struct dl_phdr_info *info, size_t size, void *sum)
{
	ElfW(Half) i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)sum += info->dlpi_phdr[i].p_memsz +
					  info->dlpi_phdr[i].p_align;
	return 0;
}

/*
 * musl has thread-local storage that is not small in memory of its own, on either
 * side of pthread_self() and next to the program's: a handler that touched it
 * while it is on a device would wait for itself.
 */
static void *run(void *arg)
{
	struct start *start = arg;
	void *(*fn)(void *arg) = start->fn;
	uintptr_t self = (uintptr_t)pthread_self();
	bool outside = self - start->stack >= start->size;
	size_t around = 2 * PAGE_SIZE;
	void *result, *fn_arg = start->arg;
	int err = 0;

	if (outside) {
		dl_iterate_phdr(add_tls, &around);
		err = gpusvm_exclude((void *)(self - around), 2 * around);
	}
	start->err = err;
	sem_post(&start->ready);
	if (err)
		return NULL;
	result = fn(fn_arg);
	if (outside)
		gpusvm_include((void *)(self - around), 2 * around);
	return result;
}

static int create(pthread_t *thread, const pthread_attr_t *attr,
		  struct start *start)
{
	if (pthread_create(thread, attr, run, start))
		return -EAGAIN;
	/* Signals are blocked. */
	while (sem_wait(&start->ready))
		;
	if (start->err)
		pthread_join(*thread, NULL);
	return start->err;
}

int gpusvm_thread_start(pthread_t *thread, void **stack, size_t size,
			void *(*fn)(void *arg), void *arg, const char *name)
{
	struct start start = { .fn = fn, .arg = arg, .size = size };
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	*stack = gpusvm_alloc_pages(size, PAGE_SIZE);
	if (!*stack)
		return -ENOMEM;
	start.stack = (uintptr_t)*stack;
	sem_init(&start.ready, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, *stack, size);
	err = create(thread, &attr, &start);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sem_destroy(&start.ready);
	if (err) {
		gpusvm_free_pages(*stack, size);
		return err;
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
