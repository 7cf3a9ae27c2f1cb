/* SPDX-License-Identifier: MIT */
/* Bringing device pages home because of their address, on any thread. */
#include <errno.h>

#include "compiler.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "sys.h"

/* How long to sleep between attempts at a page that others hold. */
#define NAP_NS (50ul * 1000)

/* How long a page may stay held before everything else goes on without it. */
#define PATIENCE_NS (1000ul * 1000 * 1000)

static const struct dev_pagemap_ops *
find_page(struct mm_struct *mm, unsigned long addr, void **zone_device_data)
{
	const struct dev_pagemap_ops *ops = NULL;
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_get(&mm->pt, addr);
	if (page) {
		ops = page->pgmap->ops;
		*zone_device_data = page->zone_device_data;
		ops->get(*zone_device_data, 1);
	}
	pthread_mutex_unlock(&mm->pt_lock);
	return ops;
}

static void nap(unsigned long until_ns, unsigned long deadline_ns)
{
	unsigned long now = gpusvm_sys_now_ns();

	until_ns = min(max(until_ns, now + NAP_NS), deadline_ns);
	if (until_ns > now)
		gpusvm_sys_nanosleep((long)(until_ns - now));
}

int gpusvm_mm_bring_home(struct mm_struct *mm, unsigned long addr,
			 unsigned int flags, unsigned long deadline_ns)
{
	const struct dev_pagemap_ops *ops;
	enum vm_fault_result result;
	struct vm_fault vmf;

	for (;;) {
		vmf = (struct vm_fault){
			.mm = mm,
			.address = addr,
			.flags = flags,
		};
		ops = find_page(mm, addr, &vmf.zone_device_data);
		if (!ops)
			return 0;
		result = ops->migrate_to_ram(&vmf);
		ops->put(vmf.zone_device_data, 1);
		if (result == VM_FAULT_DONE)
			continue;
		gpusvm_mm_wake_all(mm);
		if (result == VM_FAULT_SIGBUS)
			return -EFAULT;
		/* A timeslice ends by itself, and is waited for. */
		if (result == VM_FAULT_TIMESLICE)
			deadline_ns =
				max(deadline_ns, vmf.retry_ns + PATIENCE_NS);
		if (gpusvm_sys_now_ns() >= deadline_ns)
			return -EBUSY;
		nap(vmf.retry_ns, deadline_ns);
	}
}

bool gpusvm_mm_next_device_page(struct mm_struct *mm, unsigned long *addr,
				unsigned long end, bool coherent)
{
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_next(&mm->pt, *addr, end);
	while (page && !coherent && gpusvm_page_is_coherent(page))
		page = gpusvm_devpt_next(&mm->pt, page->vaddr + PAGE_SIZE, end);
	if (page)
		*addr = page->vaddr;
	pthread_mutex_unlock(&mm->pt_lock);
	return page != NULL;
}

int gpusvm_mm_bring_all_home(struct mm_struct *mm)
{
	unsigned long addr;
	int err, last = 0;
	bool found;

	/* mremap() may put a page behind us: again until a pass finds none. */
	do {
		addr = 0;
		found = false;
		for (; gpusvm_mm_next_device_page(mm, &addr, ~0ul, true);
		     addr += PAGE_SIZE) {
			found = true;
			err = gpusvm_mm_bring_home(
				mm, addr,
				GPUSVM_FAULT_NO_TIMESLICE | GPUSVM_FAULT_LET_GO,
				gpusvm_sys_now_ns() + PATIENCE_NS);
			if (err)
				last = err;
		}
	} while (found && !last);
	return last;
}
