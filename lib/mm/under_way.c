/* SPDX-License-Identifier: MIT */
/* Copies that complete by a fence: migration.h tells where they belong. */
#include <errno.h>

#include "compiler.h"
#include "fence.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "sys.h"

int gpusvm_migration_set_fence(struct migration *m, struct gpusvm_fence *fence)
{
	if (m->fence)
		return -EBUSY;
	gpusvm_fence_hold(fence);
	pthread_mutex_lock(&m->mm->pt_lock);
	m->fence = fence;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return 0;
}

/* The first page of it that is still mapped somewhere. */
static unsigned long address_of(const struct migration *m)
{
	unsigned long i, vaddr = 0;

	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = 0; i < m->npages && !vaddr; i++)
		if (m->pages[i] && READ_ONCE(m->pages[i]->migration) == m)
			vaddr = m->pages[i]->vaddr;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return vaddr;
}

static void report(const struct migration *m, unsigned long waited_ns)
{
	log_warning("copy of %#lx to %s: fence %p has not been signalled for "
		    "%lu ms",
		    address_of(m), m->to_device ? "a device" : "RAM",
		    (void *)m->fence, waited_ns / 1000000);
}

int gpusvm_migration_wait_copied(struct migration *m, int err)
{
	unsigned long limit_ns = m->mm->watchdog.limit_ns;
	struct gpusvm_fence *fence = m->fence;
	int result;

	if (!fence)
		return err;
	if (limit_ns &&
	    !gpusvm_fence_wait_until(fence, gpusvm_sys_now_ns() + limit_ns))
		report(m, limit_ns);
	result = gpusvm_fence_wait(fence);
	pthread_mutex_lock(&m->mm->pt_lock);
	m->fence = NULL;
	pthread_mutex_unlock(&m->mm->pt_lock);
	gpusvm_fence_release(fence);
	return err ? err : result;
}
