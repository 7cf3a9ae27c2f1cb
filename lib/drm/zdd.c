/* SPDX-License-Identifier: MIT */
/*
 * Life of a zdd, and what a device page does when the CPU touches it.
 */
#include "zdd.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "dma.h"
#include "mm.h"
#include "nofault.h"
#include "page.h"
#include "page_size.h"
#include "probe.h"
#include "sys.h"
#include "threads.h"
#include "vma.h"

#define NSEC_PER_SEC 1000000000ul

_Static_assert(sizeof(dma_addr_t) >= sizeof(unsigned long), "pfns fit in addr");

struct drm_gpusvm_zdd *gpusvm_zdd_create(struct mm_struct *mm,
					 struct drm_gpusvm_devmem *devmem,
					 void *owner, unsigned long npages)
{
	struct drm_gpusvm_zdd *zdd = gpusvm_alloc(sizeof(*zdd));

	if (!zdd)
		return NULL;
	zdd->refcount = 1;
	zdd->ops = devmem->ops;
	zdd->dev = devmem->dev;
	zdd->owner = owner;
	zdd->dpagemap = devmem->dpagemap;
	zdd->addr = gpusvm_alloc_array(npages, sizeof(zdd->addr[0]));
	if (!zdd->addr || gpusvm_migration_init(&zdd->migration, mm, npages)) {
		gpusvm_free(zdd->addr);
		gpusvm_free(zdd);
		return NULL;
	}
	return zdd;
}

void gpusvm_zdd_get(struct drm_gpusvm_zdd *zdd, unsigned long n)
{
	__atomic_fetch_add(&zdd->refcount, n, __ATOMIC_RELAXED);
}

static void zdd_destroy(struct drm_gpusvm_zdd *zdd)
{
	struct drm_gpusvm_devmem *devmem = zdd->devmem;
	const struct drm_gpusvm_devmem_ops *ops = zdd->ops;
	void (*release)(struct drm_gpusvm_devmem * devmem);

	gpusvm_migration_fini(&zdd->migration);
	gpusvm_free(zdd->addr);
	gpusvm_free(zdd);
	if (!devmem)
		return;
	/* Without a release who waits for this frees the allocation, and ops. */
	release = ops->devmem_release;
	gpusvm_complete_all(&devmem->detached);
	if (release)
		release(devmem);
}

void gpusvm_zdd_put(struct drm_gpusvm_zdd *zdd, unsigned long n)
{
	if (__atomic_sub_fetch(&zdd->refcount, n, __ATOMIC_ACQ_REL) == 0)
		zdd_destroy(zdd);
}

/* What lock holds: whoever waits says so, and only then must be woken. */
enum {
	FREE,
	LOCKED,
	WAITED_FOR,
};

static bool trylock(struct drm_gpusvm_zdd *zdd)
{
	unsigned int free = FREE;

	if (!__atomic_compare_exchange_n(&zdd->lock, &free, LOCKED, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	WRITE_ONCE(zdd->holder, gpusvm_threads_self());
	return true;
}

bool gpusvm_zdd_lock(struct drm_gpusvm_zdd *zdd, unsigned long deadline_ns)
{
	struct timespec left;
	unsigned long now_ns;

	if (trylock(zdd))
		return true;
	while (__atomic_exchange_n(&zdd->lock, WAITED_FOR, __ATOMIC_SEQ_CST) !=
	       FREE) {
		now_ns = gpusvm_sys_now_ns();
		if (now_ns >= deadline_ns)
			return false;
		left.tv_sec = (time_t)((deadline_ns - now_ns) / NSEC_PER_SEC);
		left.tv_nsec = (long)((deadline_ns - now_ns) % NSEC_PER_SEC);
		gpusvm_sys_futex_wait(&zdd->lock, WAITED_FOR, &left);
	}
	WRITE_ONCE(zdd->holder, gpusvm_threads_self());
	return true;
}

/*
 * On failure the holder wakes who waits: he looks at @met after he released the
 * lock, which is free from then on or was not yet when it was set.
 */
static bool trylock_or_meet(struct drm_gpusvm_zdd *zdd)
{
	if (trylock(zdd))
		return true;
	__atomic_store_n(&zdd->migration.met, true, __ATOMIC_SEQ_CST);
	return trylock(zdd);
}

static void unlock(struct drm_gpusvm_zdd *zdd)
{
	WRITE_ONCE(zdd->holder, 0);
	if (__atomic_exchange_n(&zdd->lock, FREE, __ATOMIC_SEQ_CST) ==
	    WAITED_FOR)
		gpusvm_sys_futex_wake(&zdd->lock, 1);
}

void gpusvm_zdd_unlock(struct drm_gpusvm_zdd *zdd)
{
	struct migration *m = &zdd->migration;

	unlock(zdd);
	if (__atomic_exchange_n(&m->met, false, __ATOMIC_SEQ_CST))
		gpusvm_mm_wake_all(m->mm);
}

void gpusvm_zdd_dma_unmap(struct drm_gpusvm_zdd *zdd,
			  enum dma_data_direction dir)
{
	unsigned long i;

	if (gpusvm_dma_is_direct(zdd->dev))
		return;
	for (i = 0; i < zdd->migration.npages; i++) {
		if (zdd->addr[i])
			gpusvm_dma_unmap(zdd->dev, zdd->addr[i], PAGE_SIZE,
					 dir);
		zdd->addr[i] = 0;
	}
}

int gpusvm_zdd_dma_map(struct drm_gpusvm_zdd *zdd, enum dma_data_direction dir)
{
	const struct migration *m = &zdd->migration;
	unsigned long i;
	int err = 0;

	if (gpusvm_dma_is_direct(zdd->dev)) {
		for (i = 0; i < m->npages; i++)
			zdd->addr[i] = m->ram[i];
		return 0;
	}
	for (i = 0; i < m->npages; i++)
		zdd->addr[i] = 0;
	for (i = 0; i < m->npages && !err; i++) {
		if (!m->ram[i])
			continue;
		err = gpusvm_dma_map(zdd->dev, m->ram[i], PAGE_SIZE, dir,
				     &zdd->addr[i]);
		if (err)
			zdd->addr[i] = 0;
	}
	if (err)
		gpusvm_zdd_dma_unmap(zdd, dir);
	return err ? -EFAULT : 0;
}

int gpusvm_zdd_start_copy(struct drm_gpusvm_zdd *zdd, bool to_device)
{
	const struct drm_gpusvm_devmem_ops *ops = zdd->ops;
	struct migration *m = &zdd->migration;
	int err;

	zdd->in_copy = true;
	gpusvm_nofault_enter();
	if (to_device)
		err = ops->copy_to_devmem(m->pages, zdd->addr, m->npages);
	else
		err = ops->copy_to_ram(m->pages, zdd->addr, m->npages);
	gpusvm_nofault_leave();
	zdd->in_copy = false;
	return err;
}

/*
 * On the thread that is in the callback, for the allocation that it is in the
 * callback for: another one may read pages of it for a child.
 */
int gpusvm_zdd_copy_completes(void *zone_device_data,
			      struct gpusvm_fence *fence)
{
	struct drm_gpusvm_zdd *zdd = zone_device_data;

	if (READ_ONCE(zdd->holder) != gpusvm_threads_self() || !zdd->in_copy)
		return -EOPNOTSUPP;
	return gpusvm_migration_set_fence(&zdd->migration, fence);
}

static long copy_home(struct drm_gpusvm_zdd *zdd,
		      const struct mmu_notifier_range *range)
{
	struct migration *m = &zdd->migration;
	long n;
	int err;

	n = gpusvm_migrate_home_begin(m, range->start, range->end);
	if (n <= 0)
		return n;
	if (gpusvm_migration_in_place(m))
		return gpusvm_migrate_home_commit(m);
	err = gpusvm_zdd_dma_map(zdd, DMA_FROM_DEVICE);
	if (!err) {
		err = gpusvm_zdd_start_copy(zdd, false);
		err = gpusvm_migration_wait_copied(m, err);
		gpusvm_zdd_dma_unmap(zdd, DMA_FROM_DEVICE);
	}
	if (err) {
		gpusvm_migrate_home_abort(m);
		return err;
	}
	return gpusvm_migrate_home_commit(m);
}

long gpusvm_zdd_bring_home(struct drm_gpusvm_zdd *zdd,
			   const struct mmu_notifier_range *range)
{
	long n;

	probe2(to_ram_start, range->start, range->end);
	gpusvm_notify_start(range);
	n = copy_home(zdd, range);
	gpusvm_notify_end(range);
	probe3(to_ram_end, range->start, range->end, n);
	return n;
}

/* How long a CPU fault waits before it looks again at a page that is held. */
#define RETRY_NS (1000ul * 1000)

/*
 * The window that comes home with a page: its allocation's size around the
 * address, or what the program chose, within the mapping.
 */
static void fault_window(const struct drm_gpusvm_zdd *zdd,
			 const struct vm_fault *vmf,
			 struct mmu_notifier_range *range)
{
	unsigned long size = zdd->migration.npages << PAGE_SHIFT;
	unsigned long chosen = vmf->mm->cpu_fault_bytes;
	struct vma vma;

	if (chosen)
		size = min(size, chosen);

	*range = (struct mmu_notifier_range){
		.mm = vmf->mm,
		.start = vmf->address - vmf->address % size,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_MIGRATE,
		.owner = zdd->owner,
	};
	range->end = range->start + size;
	/* One page is never in two mappings. */
	if (size == PAGE_SIZE || gpusvm_vma_find(vmf->mm, vmf->address, &vma) ||
	    gpusvm_vma_covers(vmf->mm, &vma, range->start, range->end))
		return;
	range->start = max(range->start, vma.start);
	range->end = min(range->end, vma.end);
}

static bool timeslice_runs(struct drm_gpusvm_zdd *zdd, struct vm_fault *vmf)
{
	u64 expiration;

	if ((vmf->flags & GPUSVM_FAULT_NO_TIMESLICE) || !zdd->devmem)
		return false;
	expiration = READ_ONCE(zdd->devmem->timeslice_expiration);
	if (gpusvm_jiffies64() >= expiration)
		return false;
	vmf->retry_ns = expiration * 1000 * 1000;
	return true;
}

/*
 * Runs on the fault handler.  A migration that has the lock may be waiting for
 * this very thread to read an event: try the lock, and let the CPU wait.
 */
enum vm_fault_result gpusvm_zdd_migrate_to_ram(struct vm_fault *vmf)
{
	struct drm_gpusvm_zdd *zdd = vmf->zone_device_data;
	const struct migration *m = &zdd->migration;
	struct mmu_notifier_range range;
	long n;

	if (!trylock_or_meet(zdd)) {
		vmf->holder = READ_ONCE(zdd->holder);
		return VM_FAULT_RETRY;
	}
	if (timeslice_runs(zdd, vmf)) {
		unlock(zdd);
		return VM_FAULT_TIMESLICE;
	}
	fault_window(zdd, vmf, &range);
	zdd->migration.let_go = vmf->flags & GPUSVM_FAULT_LET_GO;
	n = gpusvm_zdd_bring_home(zdd, &range);
	zdd->migration.let_go = false;
	if (n > 0) {
		vmf->woken = vmf->address >= m->woken &&
			     vmf->address < m->woken_end;
		gpusvm_zdd_unlock(zdd);
		return VM_FAULT_DONE;
	}
	unlock(zdd);
	if (n < 0)
		return VM_FAULT_SIGBUS;
	/* Nothing could come: it went meanwhile, or the driver holds it. */
	vmf->retry_ns = gpusvm_sys_now_ns() + RETRY_NS;
	return VM_FAULT_RETRY;
}

int gpusvm_zdd_read_pages(struct drm_gpusvm_zdd *zdd, struct page **pages,
			  dma_addr_t *addr, unsigned long npages)
{
	unsigned long i, mapped;
	int err = 0;

	for (mapped = 0; mapped < npages && !err; mapped += !err)
		err = gpusvm_dma_map(zdd->dev, addr[mapped], PAGE_SIZE,
				     DMA_FROM_DEVICE, &addr[mapped]);
	if (!err) {
		gpusvm_nofault_enter();
		err = zdd->ops->copy_to_ram(pages, addr, npages);
		gpusvm_nofault_leave();
	}
	for (i = 0; i < mapped; i++)
		gpusvm_dma_unmap(zdd->dev, addr[i], PAGE_SIZE, DMA_FROM_DEVICE);
	return err;
}
