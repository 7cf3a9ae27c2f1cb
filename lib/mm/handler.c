/* SPDX-License-Identifier: MIT */
/* The threads that serve faults and events: see handler.h. */
#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "alloc.h"
#include "compiler.h"
#include "events.h"
#include "log.h"
#include "migration.h"
#include "page.h"
#include "page_size.h"
#include "sys.h"

/* Room for a driver's callbacks. */
#define STACK_SIZE (1ul << 20)

/*
 * Batches of events are counted by the epoch in which they were read, so that
 * who waits for those read so far need not keep out the next ones.
 */
static unsigned int epoch_enter(struct mm_struct *mm)
{
	struct handler *handler = &mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->epoch_lock);
	epoch = handler->epoch;
	handler->in_epoch[epoch]++;
	pthread_mutex_unlock(&handler->epoch_lock);
	return epoch;
}

static void epoch_leave(struct mm_struct *mm, unsigned int epoch)
{
	struct handler *handler = &mm->handler;

	pthread_mutex_lock(&handler->epoch_lock);
	if (!--handler->in_epoch[epoch])
		pthread_cond_broadcast(&handler->epoch_left);
	pthread_mutex_unlock(&handler->epoch_lock);
}

void gpusvm_handler_wait(struct mm_struct *mm)
{
	struct handler *handler = &mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->wait_lock);
	/* Whoever has read a batch has entered the epoch when this is free. */
	gpusvm_down_write(&mm->event_lock);
	pthread_mutex_lock(&handler->epoch_lock);
	epoch = handler->epoch;
	handler->epoch = !epoch;
	gpusvm_up_write(&mm->event_lock);
	while (handler->in_epoch[epoch])
		pthread_cond_wait(&handler->epoch_left, &handler->epoch_lock);
	pthread_mutex_unlock(&handler->epoch_lock);
	pthread_mutex_unlock(&handler->wait_lock);
}

/*
 * Read one batch and act on its events.  They are applied before anybody else
 * can read the next ones, so in their order; faults that a read returns ahead of
 * older events find the events applied.  The faults are left in @events, their
 * number is returned; *@any says whether there was anything.
 */
static int read_batch(struct mm_struct *mm, struct source_event *events,
		      bool *any)
{
	struct applied_event applied[SOURCE_BATCH];
	int i, n, nfaults = 0, napplied = 0;
	unsigned int epoch = 0;

	gpusvm_down_write(&mm->event_lock);
	n = mm->source->ops->read(mm->source, events);
	for (i = 0; i < n; i++) {
		if (events[i].type == SOURCE_FAULT)
			events[nfaults++] = events[i];
		else
			gpusvm_event_apply(mm, &events[i],
					   &applied[napplied++]);
	}
	if (napplied)
		epoch = epoch_enter(mm);
	gpusvm_up_write(&mm->event_lock);

	for (i = 0; i < napplied; i++)
		gpusvm_event_finish(mm, &applied[i]);
	if (napplied)
		epoch_leave(mm, epoch);
	*any = n > 0;
	return nfaults;
}

/* Let a thread that waits for a page touch it again. */
static void wake_page(struct mm_struct *mm, unsigned long addr)
{
	mm->source->ops->wake(mm->source, addr, addr + PAGE_SIZE);
}

/*
 * An absent page that is not on a device: memory that came home and was dropped
 * since, or was never touched beside some that is on a device.
 */
static int serve_absent(struct mm_struct *mm, const struct source_event *fault)
{
	int err;

	err = mm->source->ops->zero(mm->source, fault->start, fault->write);
	if (err == -EAGAIN)
		return err;
	if (err)
		wake_page(mm, fault->start);
	else
		gpusvm_mm_count(&mm->stats.zero_faults, 1);
	return 0;
}

/* A write to a page that is present: what protected it is over, or soon is. */
static int serve_protected(struct mm_struct *mm,
			   const struct source_event *fault)
{
	return mm->source->ops->protect(mm->source, fault->start,
					fault->start + PAGE_SIZE,
					false) == -EAGAIN
		       ? -EAGAIN
		       : 0;
}

/* The earlier of both; 0 stands for never. */
static void retry_at(struct handler *handler, unsigned long ns)
{
	unsigned long old = READ_ONCE(handler->retry_ns);

	while ((!old || ns < old) &&
	       !__atomic_compare_exchange_n(&handler->retry_ns, &old, ns, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void serve_device(struct mm_struct *mm,
			 const struct dev_pagemap_ops *ops,
			 struct vm_fault *vmf, const struct source_event *fault)
{
	switch (ops->migrate_to_ram(vmf)) {
	case VM_FAULT_DONE:
		wake_page(mm, fault->start);
		gpusvm_mm_count(&mm->stats.cpu_faults, 1);
		break;
	case VM_FAULT_RETRY:
	case VM_FAULT_TIMESLICE:
		if (vmf->retry_ns)
			retry_at(&mm->handler, vmf->retry_ns);
		break;
	case VM_FAULT_SIGBUS:
		/*
		 * The data stays on the device, and the next access tries
		 * again; this one ends as the kernel's would.  One in a system
		 * call tries on until the copy works or the process is
		 * killed: signals do not end it.
		 */
		if (READ_ONCE(mm->handler.failed_at) != fault->start)
			log_error("CPU fault at %#lx: it cannot come home, "
				  "SIGBUS for thread %d",
				  fault->start, (int)fault->tid);
		WRITE_ONCE(mm->handler.failed_at, fault->start);
		gpusvm_sys_send_sigbus(fault->tid, fault->start);
		gpusvm_mm_wake_all(mm);
		break;
	}
	ops->put(vmf->zone_device_data);
}

/*
 * Find out what stands at the address.  What is decided under these locks is
 * overtaken neither by an event nor by a migration to the device, which enters
 * its pages under pt_lock.  Fills @vmf and returns the operations if a device
 * page does; otherwise the fault is served, or *@err is -EAGAIN.
 */
static const struct dev_pagemap_ops *look_up(struct mm_struct *mm,
					     const struct source_event *fault,
					     struct vm_fault *vmf, int *err)
{
	const struct dev_pagemap_ops *ops = NULL;
	struct page *page;

	*err = 0;
	gpusvm_down_read(&mm->event_lock);
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_get(&mm->pt, fault->start);
	if (!page) {
		*err = fault->protect ? serve_protected(mm, fault)
				      : serve_absent(mm, fault);
	} else if (!page->migration) {
		ops = page->pgmap->ops;
		vmf->zone_device_data = page->zone_device_data;
		ops->get(vmf->zone_device_data);
	} /* else who migrates it wakes the thread afterwards */
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_read(&mm->event_lock);
	return ops;
}

/* -EAGAIN if the source must settle first. */
static int serve_fault(struct mm_struct *mm, const struct source_event *fault)
{
	struct vm_fault vmf = { .mm = mm, .address = fault->start };
	const struct dev_pagemap_ops *ops;
	int err;

	ops = look_up(mm, fault, &vmf, &err);
	if (ops)
		serve_device(mm, ops, &vmf, fault);
	return err;
}

void gpusvm_handler_settle(struct mm_struct *mm, unsigned int attempt)
{
	struct source_event events[SOURCE_BATCH];
	bool any = true;
	int i, n;

	while (any) {
		n = read_batch(mm, events, &any);
		for (i = 0; i < n; i++)
			wake_page(mm, events[i].start);
	}
	/* The originator of an event has to run before the source settles. */
	if (attempt < 16)
		gpusvm_sys_yield();
	else
		gpusvm_sys_nanosleep(50 * 1000);
}

static void serve(struct mm_struct *mm)
{
	struct source_event events[SOURCE_BATCH];
	unsigned int attempt;
	bool any = true;
	int i, n;

	while (any) {
		n = read_batch(mm, events, &any);
		for (i = 0; i < n; i++) {
			attempt = 0;
			while (serve_fault(mm, &events[i]) == -EAGAIN)
				gpusvm_handler_settle(mm, attempt++);
		}
	}
}

/* Nanoseconds until faults are to be retried; -1 for never. */
static long retry_timeout(struct mm_struct *mm)
{
	unsigned long now, at = READ_ONCE(mm->handler.retry_ns);

	if (!at)
		return -1;
	now = gpusvm_sys_now_ns();
	if (now < at)
		return (long)(at - now);
	if (__atomic_compare_exchange_n(&mm->handler.retry_ns, &at, 0, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		gpusvm_mm_wake_all(mm);
	return 0;
}

static void *handler_main(void *arg)
{
	struct mm_struct *mm = arg;
	struct pollfd fds[] = {
		{ .fd = mm->source->fd, .events = POLLIN },
		{ .fd = mm->handler.stop_fd, .events = POLLIN },
	};

	while (!(fds[1].revents & POLLIN)) {
		serve(mm);
		gpusvm_sys_poll(fds, ARRAY_SIZE(fds), retry_timeout(mm));
	}
	return NULL;
}

static int thread_start(struct mm_struct *mm, unsigned int i)
{
	struct handler *handler = &mm->handler;
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	handler->stacks[i] = gpusvm_alloc_pages(STACK_SIZE, PAGE_SIZE);
	if (!handler->stacks[i])
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, handler->stacks[i], STACK_SIZE);
	err = pthread_create(&handler->threads[i], &attr, handler_main, mm);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		gpusvm_free_pages(handler->stacks[i], STACK_SIZE);
		return -EAGAIN;
	}
	pthread_setname_np(handler->threads[i], "gpusvm-handler");
	return 0;
}

void gpusvm_handler_init(struct handler *handler)
{
	*handler = (struct handler){ .stop_fd = -1 };
	pthread_mutex_init(&handler->epoch_lock, NULL);
	pthread_mutex_init(&handler->wait_lock, NULL);
	pthread_cond_init(&handler->epoch_left, NULL);
}

int gpusvm_handler_start(struct mm_struct *mm)
{
	struct handler *handler = &mm->handler;
	unsigned int i, n;
	int err;

	handler->stop_fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (handler->stop_fd < 0)
		return handler->stop_fd;
	n = gpusvm_sys_ncpus();
	n = min(max(n, 2u), (unsigned int)HANDLER_MAX);
	for (i = 0; i < n; i++) {
		err = thread_start(mm, i);
		if (err) {
			gpusvm_handler_stop(mm);
			return err;
		}
		handler->nthreads++;
	}
	return 0;
}

void gpusvm_handler_stop(struct mm_struct *mm)
{
	struct handler *handler = &mm->handler;
	unsigned long one = 1;
	unsigned int i;

	gpusvm_sys_write(handler->stop_fd, &one, sizeof(one));
	for (i = 0; i < handler->nthreads; i++) {
		pthread_join(handler->threads[i], NULL);
		gpusvm_free_pages(handler->stacks[i], STACK_SIZE);
	}
	handler->nthreads = 0;
	gpusvm_sys_close(handler->stop_fd);
}
