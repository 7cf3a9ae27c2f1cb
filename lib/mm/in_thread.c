/* SPDX-License-Identifier: MIT */
/* Faults that threads serve themselves: see in_thread.h. */
#include "in_thread.h"

#include "compiler.h"
#include "cpu_fault.h"
#include "handler.h"
#include "log.h"
#include "mm.h"
#include "nofault.h"
#include "page.h"
#include "probe.h"
#include "source.h"
#include "sys.h"

/* Between looks at a source that others make settle. */
#define NAP_NS (50l * 1000)

/*
 * To read events takes stack; a handler thread reads them, too.  At the end there
 * is none, and the close waits for us: the access is made again, and finds nobody
 * who serves.
 */
static enum fault_result look_up(struct mm_struct *mm, struct job *job,
				 bool cramped)
{
	enum fault_result result;
	unsigned int attempt = 0;

	while ((result = gpusvm_cpu_fault_look_up(mm, job)) ==
	       FAULT_UNSETTLED) {
		if (!cramped)
			gpusvm_handler_settle(mm, attempt++);
		else if (READ_ONCE(mm->handler->stop))
			return FAULT_SERVED;
		else
			gpusvm_sys_nanosleep(NAP_NS);
	}
	return result;
}

/*
 * To bring the page home, or to wait for who does, might be to wait for this
 * thread, which holds a lock that they need.
 */
static enum fault_result refuse(const struct job *job, enum fault_result result)
{
	log_error(
		"CPU fault at %#lx: thread %d touches memory of a device in a "
		"callback or with notifier_lock held, SIGBUS",
		job->fault.start, (int)job->fault.tid);
	if (result == FAULT_JOB)
		job->ops->put(job->zone_device_data, 1);
	return FAULT_FAILED;
}

static enum fault_result bring_home(struct mm_struct *mm, struct job *job)
{
	enum fault_result result;

	gpusvm_nofault_enter();
	result = gpusvm_cpu_fault_migrate(mm, job);
	gpusvm_nofault_leave();
	/* Who has met our lock tries on. */
	if (result == FAULT_FAILED)
		gpusvm_mm_wake_all(mm);
	return result;
}

static enum fault_result serve(void *arg, const struct source_event *fault,
			       bool cramped)
{
	struct job job = { .fault = *fault };
	struct mm_struct *mm = arg;
	enum fault_result result;

	probe3(cpu_fault, fault->start, fault->write, fault->tid);
	result = look_up(mm, &job, cramped);
	if ((result == FAULT_JOB || result == FAULT_WAITS) &&
	    gpusvm_nofault_here())
		return refuse(&job, result);
	if (result != FAULT_JOB)
		return result;
	if (!cramped)
		return bring_home(mm, &job);
	gpusvm_handler_give(mm, &job);
	return FAULT_WAITS;
}

void gpusvm_in_thread_never(struct mm_struct *mm)
{
	unsigned long mask = gpusvm_sys_sent_signals();

	gpusvm_nofault_enter();
	/* A SIGBUS that is blocked kills before it can be told of. */
	if (mm->source->ops->serve)
		gpusvm_sys_restore_signals(&mask);
}

void gpusvm_in_thread_start(struct mm_struct *mm)
{
	struct fault_server *server = &mm->handler->server;

	*server = (struct fault_server){ .serve = serve, .arg = mm };
	if (mm->source->ops->serve)
		mm->source->ops->serve(mm->source, server);
}

void gpusvm_in_thread_stop(struct mm_struct *mm)
{
	if (mm->source->ops->serve)
		mm->source->ops->serve(mm->source, NULL);
}
