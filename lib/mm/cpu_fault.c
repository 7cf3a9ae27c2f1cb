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
static int serve_absent(struct mm_struct *mm, const struct source_event *fault)
{
	int err;

	err = mm->source->ops->zero(mm->source, fault->start, fault->write);
	if (err == -EAGAIN)
		return err;
	if (err)
		gpusvm_cpu_fault_wake(mm, fault->start);
	else
		gpusvm_mm_count(&mm->stats.zero_faults, 1);
	return 0;
}

/* A write to a page that is present: what protected it is over, or soon is. */
static int serve_protected(struct mm_struct *mm,
			   const struct source_event *fault)
{
	int err = mm->source->ops->protect(mm->source, fault->start,
					   fault->start + PAGE_SIZE, false);

	if (err == -EAGAIN)
		return err;
	/* The mapping has gone, or is another one: that wakes nobody. */
	if (err)
		gpusvm_cpu_fault_wake(mm, fault->start);
	return 0;
}

static enum fault_wait why_it_waits(enum vm_fault_result result,
				    const struct vm_fault *vmf)
{
	if (result == VM_FAULT_TIMESLICE)
		return WAIT_TIMESLICE;
	return vmf->holder ? WAIT_MIGRATION : WAIT_PAGE;
}

void gpusvm_cpu_fault_migrate(struct mm_struct *mm, struct job *job)
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
		if (!vmf.woken)
			gpusvm_cpu_fault_wake(mm, vmf.address);
		gpusvm_watchdog_served(mm, vmf.start, vmf.end);
		gpusvm_mm_count(&mm->stats.cpu_faults, 1);
		break;
	case VM_FAULT_RETRY:
	case VM_FAULT_TIMESLICE:
		if (vmf.retry_ns)
			gpusvm_handler_retry_at(mm, vmf.retry_ns);
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

int gpusvm_cpu_fault_look_up(struct mm_struct *mm, struct job *job)
{
	const struct source_event *fault = &job->fault;
	struct page *page;
	enum fault_wait why = WAIT_MIGRATION;
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
		__atomic_store_n(&page->migration->met, true, __ATOMIC_SEQ_CST);
		moving = true;
		if (page->migration->fence)
			why = WAIT_COPY;
		if (page->migration->to_device)
			mover = page->migration->tid;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_read(&mm->event_lock);
	if (moving &&
	    !gpusvm_watchdog_waits(mm, fault->tid, fault->start, why, mover))
		gpusvm_sys_send_sigbus(fault->tid, fault->start);
	return result;
}
