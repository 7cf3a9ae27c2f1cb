/* SPDX-License-Identifier: MIT */
/* The threads that serve faults and events: see handler.h. */
#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "alloc.h"
#include "compiler.h"
#include "events.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "probe.h"
#include "sys.h"
#include "thread_start.h"

/* Room for a driver's callbacks. */
#define STACK_SIZE (1ul << 20)

static bool push_job(struct handler *handler, const struct job *job)
{
	bool pushed;

	pthread_mutex_lock(&handler->lock);
	pushed = handler->njobs < HANDLER_JOBS;
	if (pushed)
		handler->jobs[(handler->first + handler->njobs++) %
			      HANDLER_JOBS] = *job;
	pthread_mutex_unlock(&handler->lock);
	return pushed;
}

static void wake_handlers(struct handler *handler)
{
	unsigned long one = 1;

	gpusvm_sys_write(handler->wake_fd, &one, sizeof(one));
}

/*
 * Take a job, if there is one and another thread is left to read.  What stays
 * in the queue is for others, who may be asleep: this job may take its time.
 */
static bool take_job(struct handler *handler, struct job *job)
{
	bool taken, more;

	pthread_mutex_lock(&handler->lock);
	taken = handler->njobs && handler->working + 1 < handler->nthreads;
	if (taken) {
		*job = handler->jobs[handler->first];
		handler->first = (handler->first + 1) % HANDLER_JOBS;
		handler->njobs--;
		handler->working++;
	}
	more = taken && handler->njobs;
	pthread_mutex_unlock(&handler->lock);
	if (more)
		wake_handlers(handler);
	return taken;
}

static void end_job(struct handler *handler)
{
	pthread_mutex_lock(&handler->lock);
	handler->working--;
	pthread_mutex_unlock(&handler->lock);
}

unsigned int gpusvm_handler_count(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->lock);
	epoch = handler->epoch;
	handler->in_epoch[epoch]++;
	pthread_mutex_unlock(&handler->lock);
	return epoch;
}

void gpusvm_handler_finish(struct mm_struct *mm, struct applied_event *applied,
			   unsigned int epoch)
{
	struct handler *handler = mm->handler;

	gpusvm_event_finish(mm, applied);
	pthread_mutex_lock(&handler->lock);
	if (!--handler->in_epoch[epoch])
		pthread_cond_broadcast(&handler->done);
	pthread_mutex_unlock(&handler->lock);
}

void gpusvm_handler_wait(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->wait_lock);
	/* Whoever has read an event has counted it when this is free. */
	gpusvm_down_write(&mm->event_lock);
	pthread_mutex_lock(&handler->lock);
	epoch = handler->epoch;
	handler->epoch = !epoch;
	gpusvm_up_write(&mm->event_lock);
	while (handler->in_epoch[epoch])
		pthread_cond_wait(&handler->done, &handler->lock);
	pthread_mutex_unlock(&handler->lock);
	pthread_mutex_unlock(&handler->wait_lock);
}

/* Apply an event, and make the rest of it a job; under event_lock. */
static void apply_event(struct mm_struct *mm, const struct source_event *event,
			struct job *job)
{
	*job = (struct job){ .ops = NULL };
	gpusvm_event_apply(mm, event, &job->applied);
	job->epoch = gpusvm_handler_count(mm);
}

/*
 * Read one batch and apply its events to the table before anybody else can
 * read the next ones, so in their order; faults that a read returns ahead of
 * older events find the events applied.  The faults are left in @events, their
 * number is returned; *@any says whether there was anything.
 */
static int read_batch(struct mm_struct *mm, struct source_event *events,
		      bool *any)
{
	int i, n, nfaults = 0, njobs = 0;
	struct job jobs[SOURCE_BATCH];

	gpusvm_down_write(&mm->event_lock);
	n = mm->source->ops->read(mm->source, events);
	for (i = 0; i < n; i++) {
		if (events[i].type == SOURCE_FAULT)
			events[nfaults++] = events[i];
		else
			apply_event(mm, &events[i], &jobs[njobs++]);
	}
	gpusvm_up_write(&mm->event_lock);

	/* A full queue is no reason to forget an event. */
	for (i = 0; i < njobs; i++)
		if (!push_job(mm->handler, &jobs[i]))
			gpusvm_handler_finish(mm, &jobs[i].applied,
					      jobs[i].epoch);
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

static enum fault_wait why_it_waits(enum vm_fault_result result,
				    const struct vm_fault *vmf)
{
	if (result == VM_FAULT_TIMESLICE)
		return WAIT_TIMESLICE;
	return vmf->holder ? WAIT_MIGRATION : WAIT_PAGE;
}

static void serve_device(struct mm_struct *mm, struct job *job)
{
	enum vm_fault_result result;
	struct vm_fault vmf = {
		.mm = mm,
		.address = job->fault.start,
		.zone_device_data = job->zone_device_data,
	};

	result = job->ops->migrate_to_ram(&vmf);
	switch (result) {
	case VM_FAULT_DONE:
		wake_page(mm, vmf.address);
		gpusvm_watchdog_served(mm, vmf.start, vmf.end);
		gpusvm_mm_count(&mm->stats.cpu_faults, 1);
		break;
	case VM_FAULT_RETRY:
	case VM_FAULT_TIMESLICE:
		if (vmf.retry_ns)
			retry_at(mm->handler, vmf.retry_ns);
		if (!gpusvm_watchdog_waits(mm, job->fault.tid, vmf.address,
					   why_it_waits(result, &vmf),
					   vmf.holder))
			gpusvm_sys_send_sigbus(job->fault.tid, vmf.address);
		break;
	case VM_FAULT_SIGBUS:
		/*
		 * The data stays on the device, and the next access tries
		 * again; this one ends as the kernel's would.  One in a system
		 * call tries on until the copy works or the process is
		 * killed: signals do not end it.
		 */
		if (READ_ONCE(mm->handler->failed_at) != vmf.address)
			log_error("CPU fault at %#lx: it cannot come home, "
				  "SIGBUS for thread %d",
				  vmf.address, (int)job->fault.tid);
		WRITE_ONCE(mm->handler->failed_at, vmf.address);
		gpusvm_sys_send_sigbus(job->fault.tid, vmf.address);
		gpusvm_mm_wake_all(mm);
		break;
	}
	job->ops->put(job->zone_device_data, 1);
}

static void do_job(struct mm_struct *mm, struct job *job)
{
	if (job->ops)
		serve_device(mm, job);
	else
		gpusvm_handler_finish(mm, &job->applied, job->epoch);
}

static void do_jobs(struct mm_struct *mm)
{
	struct job job;

	while (take_job(mm->handler, &job)) {
		do_job(mm, &job);
		end_job(mm->handler);
	}
}

/*
 * Find out what stands at the address.  What is decided under these locks is
 * overtaken neither by an event nor by a migration to the device, which enters
 * its pages under pt_lock.  1 if a device page does: @job is to be done; 0 if
 * the fault is served; -EAGAIN if the source must settle first.
 */
static int look_up(struct mm_struct *mm, struct job *job)
{
	const struct source_event *fault = &job->fault;
	struct page *page;
	bool moving = false;
	pid_t mover = 0;
	int result = 0;

	gpusvm_down_read(&mm->event_lock);
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_get(&mm->pt, fault->start);
	if (!page) {
		result = fault->protect ? serve_protected(mm, fault)
					: serve_absent(mm, fault);
	} else if (!page->migration) {
		job->ops = page->pgmap->ops;
		job->zone_device_data = page->zone_device_data;
		job->ops->get(job->zone_device_data, 1);
		result = 1;
	} else if (page->migration->copying &&
		   page->migration->tid == fault->tid) {
		/*
		 * It found a page that is not there any more; an event that
		 * nobody has read yet tells why.  It will give up.
		 */
		page->migration->disturbed = true;
		result = serve_absent(mm, fault);
	} else {
		/* Who migrates it wakes the thread afterwards. */
		moving = true;
		if (page->migration->to_device)
			mover = page->migration->tid;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_read(&mm->event_lock);
	if (moving && !gpusvm_watchdog_waits(mm, fault->tid, fault->start,
					     WAIT_MIGRATION, mover))
		gpusvm_sys_send_sigbus(fault->tid, fault->start);
	return result;
}

/* How soon a fault that found the queue full is retried. */
#define FULL_RETRY_NS (1000ul * 1000)

static void serve_fault(struct mm_struct *mm, const struct source_event *fault)
{
	struct job job = { .fault = *fault };
	unsigned int attempt = 0;
	int result;

	probe3(cpu_fault, fault->start, fault->write, fault->tid);
	while ((result = look_up(mm, &job)) == -EAGAIN)
		gpusvm_handler_settle(mm, attempt++);
	if (!result || push_job(mm->handler, &job))
		return;
	job.ops->put(job.zone_device_data, 1);
	retry_at(mm->handler, gpusvm_sys_now_ns() + FULL_RETRY_NS);
}

void gpusvm_handler_settle(struct mm_struct *mm, unsigned int attempt)
{
	struct source_event events[SOURCE_BATCH];
	bool any = true, found = false;
	int i, n;

	while (any) {
		n = read_batch(mm, events, &any);
		for (i = 0; i < n; i++)
			wake_page(mm, events[i].start);
		found |= any;
	}
	if (found)
		wake_handlers(mm->handler);
	/* The originator of an event has to run before the source settles. */
	if (attempt < 16)
		gpusvm_sys_yield();
	else
		gpusvm_sys_nanosleep(50 * 1000);
}

static void serve(struct mm_struct *mm)
{
	struct source_event events[SOURCE_BATCH];
	bool any = true;
	int i, n;

	while (any) {
		n = read_batch(mm, events, &any);
		for (i = 0; i < n; i++)
			serve_fault(mm, &events[i]);
		do_jobs(mm);
	}
}

/* Nanoseconds until faults are to be retried; -1 for never. */
static long retry_timeout(struct mm_struct *mm)
{
	unsigned long at = READ_ONCE(mm->handler->retry_ns);
	unsigned long check_ns = gpusvm_watchdog_check_ns(mm);
	unsigned long now, first;

	if (!at && !check_ns)
		return -1;
	now = gpusvm_sys_now_ns();
	first = at && (!check_ns || at < check_ns) ? at : check_ns;
	if (now < first)
		return (long)(first - now);
	if (check_ns && now >= check_ns)
		gpusvm_watchdog_checked(mm);
	else if (!__atomic_compare_exchange_n(&mm->handler->retry_ns, &at, 0,
					      false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED))
		return 0;
	gpusvm_mm_wake_all(mm);
	return 0;
}

static void *handler_main(void *arg)
{
	struct mm_struct *mm = arg;
	struct handler *handler = mm->handler;
	struct pollfd fds[] = {
		{ .fd = mm->source->fd, .events = POLLIN },
		{ .fd = handler->wake_fd, .events = POLLIN },
	};
	unsigned long count;

	while (!READ_ONCE(handler->stop)) {
		serve(mm);
		gpusvm_sys_poll(fds, ARRAY_SIZE(fds), retry_timeout(mm));
		if ((fds[1].revents & POLLIN) && !READ_ONCE(handler->stop))
			gpusvm_sys_read(handler->wake_fd, &count,
					sizeof(count));
	}
	return NULL;
}

struct handler *gpusvm_handler_create(void)
{
	struct handler *handler = gpusvm_alloc(sizeof(*handler));

	if (!handler)
		return NULL;
	handler->wake_fd = -1;
	pthread_mutex_init(&handler->lock, NULL);
	pthread_mutex_init(&handler->wait_lock, NULL);
	pthread_cond_init(&handler->done, NULL);
	return handler;
}

int gpusvm_handler_start(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int i, n;
	int err;

	handler->wake_fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (handler->wake_fd < 0)
		return handler->wake_fd;
	/* Two for jobs and one to read, at least. */
	n = min(max(gpusvm_sys_ncpus(), 2u) + 1, (unsigned int)HANDLER_MAX);
	for (i = 0; i < n; i++) {
		err = gpusvm_thread_start(&handler->threads[i],
					  &handler->stacks[i], STACK_SIZE,
					  handler_main, mm, "gpusvm-handler");
		if (err) {
			gpusvm_handler_stop(mm);
			return err;
		}
		pthread_mutex_lock(&handler->lock);
		handler->nthreads++;
		pthread_mutex_unlock(&handler->lock);
	}
	return 0;
}

void gpusvm_handler_stop(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int i, attempt = 0;

	WRITE_ONCE(handler->stop, true);
	/*
	 * One thread may take the wake-up that was for all, hence one for each
	 * look.  The end of a thread may unmap memory (a sanitizer's does), and
	 * waits until somebody has read the event: with the others gone, us.
	 */
	for (i = 0; i < handler->nthreads; i++) {
		while (pthread_tryjoin_np(handler->threads[i], NULL) == EBUSY) {
			wake_handlers(handler);
			gpusvm_handler_settle(mm, attempt++);
		}
		gpusvm_free_pages(handler->stacks[i], STACK_SIZE);
	}
	/* Room for whoever takes what they left. */
	handler->nthreads = 2;
	do_jobs(mm);
	handler->nthreads = 0;
	gpusvm_sys_close(handler->wake_fd);
}
