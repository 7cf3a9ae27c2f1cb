/* SPDX-License-Identifier: MIT */
/* What a CPU fault finds, and what is done about it: see cpu_fault.h. */
#include "cpu_fault.h"

#include <errno.h>

#include "compiler.h"
#include "handler.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "sys.h"

void gpusvm_cpu_fault_wake(struct mm_struct *mm, unsigned long addr)
{
	mm->source->ops->wake(mm->source, addr, addr + PAGE_SIZE);
}

/*
 * An absent page that is not on a device: memory that came home and was dropped
 * since, or was never touched beside some that is on a device.
 */
static enum fault_result serve_absent(struct mm_struct *mm,
				      const struct source_event *fault)
{
	int err;

	err = mm->source->ops->zero(mm->source, fault->start, fault->write);
	if (err == -EAGAIN)
		return FAULT_UNSETTLED;
	if (err)
		gpusvm_cpu_fault_wake(mm, fault->start);
	else
		gpusvm_mm_count(&mm->stats.zero_faults, 1);
	return FAULT_SERVED;
}

/* A write to a page that is present: what protected it is over, or soon is. */
static enum fault_result serve_protected(struct mm_struct *mm,
					 const struct source_event *fault)
{
	int err = mm->source->ops->protect(mm->source, fault->start,
					   fault->start + PAGE_SIZE, false);

	if (err == -EAGAIN)
		return FAULT_UNSETTLED;
	/* The mapping has gone, or is another one: that wakes nobody. */
	if (err)
		gpusvm_cpu_fault_wake(mm, fault->start);
	return FAULT_SERVED;
}

/*
 * Any of these, or none of ours: a file that was cut off, memory of another
 * userfaultfd.  The kernel would fill that one, too, but lets nobody trap what
 * is another's or cannot be; what is trapped stays as it is.
 */
static enum fault_result serve_untold(struct mm_struct *mm,
				      const struct source_event *fault)
{
	const struct source_ops *ops = mm->source->ops;
	int err;

	if (ops->trap(mm->source, fault->start, fault->end))
		return FAULT_FAILED;
	err = ops->zero(mm->source, fault->start, fault->write);
	if (!err) {
		gpusvm_mm_count(&mm->stats.zero_faults, 1);
		return FAULT_SERVED;
	}
	if (err == -EEXIST)
		err = ops->protect(mm->source, fault->start, fault->end, false);
	if (err == -EAGAIN)
		return FAULT_UNSETTLED;
	/* Another thread may have been served, or the mapping has just gone. */
	return !err || err == -ENOENT ? FAULT_PRESENT : FAULT_FAILED;
}

static enum fault_result serve_page(struct mm_struct *mm,
				    const struct source_event *fault)
{
	if (fault->untold)
		return serve_untold(mm, fault);
	return fault->protect ? serve_protected(mm, fault)
			      : serve_absent(mm, fault);
}

static enum fault_wait why_it_waits(enum vm_fault_result result,
				    const struct vm_fault *vmf)
{
	if (result == VM_FAULT_TIMESLICE)
		return WAIT_TIMESLICE;
	return vmf->holder ? WAIT_MIGRATION : WAIT_PAGE;
}

enum fault_result gpusvm_cpu_fault_migrate(struct mm_struct *mm,
					   struct job *job)
{
	enum fault_result served = FAULT_FAILED;
	enum vm_fault_result result;
	struct vm_fault vmf = {
		.mm = mm,
		.address = job->fault.start,
		.zone_device_data = job->zone_device_data,
	};

	result = job->ops->migrate_to_ram(&vmf);
	switch (result) {
	case VM_FAULT_DONE:
		if (!vmf.woken)
			gpusvm_cpu_fault_wake(mm, vmf.address);
		gpusvm_mm_count(&mm->stats.cpu_faults, 1);
		served = FAULT_SERVED;
		break;
	case VM_FAULT_RETRY:
	case VM_FAULT_TIMESLICE:
		if (vmf.retry_ns)
			gpusvm_handler_retry_at(mm, vmf.retry_ns);
		if (gpusvm_watchdog_waits(mm, job->fault.tid, vmf.address,
					  why_it_waits(result, &vmf),
					  vmf.holder))
			served = FAULT_WAITS;
		break;
	case VM_FAULT_SIGBUS:
		/* The data stays on the device, and the next access tries. */
		if (READ_ONCE(mm->handler->failed_at) != vmf.address)
			log_error("CPU fault at %#lx: it cannot come home, "
				  "SIGBUS for thread %d",
				  vmf.address, (int)job->fault.tid);
		WRITE_ONCE(mm->handler->failed_at, vmf.address);
		break;
	}
	job->ops->put(job->zone_device_data, 1);
	return served;
}

enum fault_result gpusvm_cpu_fault_look_up(struct mm_struct *mm,
					   struct job *job)
{
	const struct source_event *fault = &job->fault;
	enum fault_result result = FAULT_WAITS;
	struct page *page;
	enum fault_wait why = WAIT_MIGRATION;
	pid_t mover = 0;

	gpusvm_down_read(&mm->event_lock);
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_get(&mm->pt, fault->start);
	/*
	 * Of coherent memory no data is elsewhere: an absent page was dropped,
	 * or is wanted by a migration of it.
	 */
	if (!page || gpusvm_page_is_coherent(page)) {
		result = serve_page(mm, fault);
	} else if (!page->migration) {
		job->ops = page->pgmap->ops;
		job->zone_device_data = page->zone_device_data;
		job->ops->get(job->zone_device_data, 1);
		result = FAULT_JOB;
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
		__atomic_store_n(&page->migration->met, true, __ATOMIC_SEQ_CST);
		if (page->migration->fence)
			why = WAIT_COPY;
		if (page->migration->to_device)
			mover = page->migration->tid;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_read(&mm->event_lock);
	if (result == FAULT_SERVED)
		gpusvm_watchdog_served(mm, fault->start,
				       fault->start + PAGE_SIZE);
	if (result == FAULT_WAITS &&
	    !gpusvm_watchdog_waits(mm, fault->tid, fault->start, why, mover))
		return FAULT_FAILED;
	return result;
}
