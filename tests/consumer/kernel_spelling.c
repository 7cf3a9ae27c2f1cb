/* SPDX-License-Identifier: MIT */
/*
 * A driver in the kernel's spelling, built with the flags of libgpusvm-linux:
 * its own range type with a place in a garbage list, its own lock, and memory
 * that stays in RAM until it is unmapped.
 *
 * Exit status 77 if this machine has no userfaultfd for us.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <linux/compiler.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#define CHUNK (64ul << 10)

struct my_range {
	struct drm_gpusvm_range base;
	struct list_head garbage;
};

struct my_vm {
	struct drm_gpusvm svm;
	struct rw_semaphore lock;
	struct list_head garbage;
	struct completion unmapped;
	struct kref refcount;
};

static struct drm_gpusvm_range *my_range_alloc(struct drm_gpusvm *svm)
{
	struct my_range *range = kzalloc(sizeof(*range), GFP_KERNEL);

	(void)svm;
	if (!range)
		return NULL;
	INIT_LIST_HEAD(&range->garbage);
	return &range->base;
}

static void my_range_free(struct drm_gpusvm_range *range)
{
	kfree(container_of(range, struct my_range, base));
}

static void my_invalidate(struct drm_gpusvm *svm,
			  struct drm_gpusvm_notifier *notifier,
			  const struct mmu_notifier_range *mmu_range)
{
	struct my_vm *vm = container_of(svm, struct my_vm, svm);
	struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct drm_gpusvm_range *r = NULL;

	drm_gpusvm_for_each_range(r, notifier, mmu_range->start,
				  mmu_range->end) {
		struct my_range *range = container_of(r, struct my_range, base);

		drm_gpusvm_range_unmap_pages(svm, r, &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(r, mmu_range);
		if (list_empty(&range->garbage))
			list_add_tail(&range->garbage, &vm->garbage);
		complete_all(&vm->unmapped);
	}
}

static const struct drm_gpusvm_ops my_ops = {
	.range_alloc = my_range_alloc,
	.range_free = my_range_free,
	.invalidate = my_invalidate,
};

static const unsigned long my_chunks[] = { CHUNK };

/* The notifier lock keeps the callback away from the list. */
static struct my_range *my_next_garbage(struct my_vm *vm)
{
	struct my_range *range;

	drm_gpusvm_notifier_lock(&vm->svm);
	range = list_first_entry_or_null(&vm->garbage, struct my_range,
					 garbage);
	if (range)
		list_del_init(&range->garbage);
	drm_gpusvm_notifier_unlock(&vm->svm);
	return range;
}

static void my_collect_garbage(struct my_vm *vm)
{
	struct my_range *range;

	while ((range = my_next_garbage(vm)))
		drm_gpusvm_range_remove(&vm->svm, &range->base);
}

/* The device writes one word through the address that it was given. */
static int my_fault(struct my_vm *vm, unsigned long addr, unsigned long value)
{
	struct drm_gpusvm_ctx ctx = {};
	struct drm_gpusvm_range *range;
	int err;

	my_collect_garbage(vm);
	range = drm_gpusvm_range_find_or_insert(&vm->svm, addr, addr,
						addr + CHUNK, &ctx);
	if (IS_ERR(range))
		return PTR_ERR(range);
	err = drm_gpusvm_range_get_pages(&vm->svm, range, &ctx);
	if (err)
		return err;
	drm_gpusvm_notifier_lock(&vm->svm);
	if (!drm_gpusvm_range_pages_valid(&vm->svm, range))
		err = -EAGAIN;
	else if (range->dma_addr[0].proto != DRM_INTERCONNECT_SYSTEM)
		err = -ENXIO;
	else
		WRITE_ONCE(*(unsigned long *)range->dma_addr[0].addr, value);
	drm_gpusvm_notifier_unlock(&vm->svm);
	return err;
}

static void my_vm_release(struct kref *kref)
{
	struct my_vm *vm = container_of(kref, struct my_vm, refcount);

	down_write(&vm->lock);
	drm_gpusvm_fini(&vm->svm);
	up_write(&vm->lock);
	kfree(vm);
}

static int my_cycle(struct my_vm *vm)
{
	u64 start = get_jiffies_64();
	unsigned long *mem;
	void *area;
	int err;

	area = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -ENOMEM;
	mem = (void *)(((unsigned long)area + CHUNK - 1) & ~(CHUNK - 1));

	down_write(&vm->lock);
	err = my_fault(vm, (unsigned long)mem, 42);
	up_write(&vm->lock);
	if (err)
		return err;
	if (*mem != 42)
		return -EIO;

	/* Not every source tells of a munmap() that nobody announces. */
	if (gpusvm_munmap(area, 2 * CHUNK))
		return -EINVAL;
	gpusvm_mm_sync(vm->svm.mm);
	wait_for_completion(&vm->unmapped);
	down_write(&vm->lock);
	my_collect_garbage(vm);
	if (drm_gpusvm_has_mapping(&vm->svm, (unsigned long)mem,
				   (unsigned long)mem + CHUNK))
		err = -EEXIST;
	up_write(&vm->lock);
	return time_before64(get_jiffies_64(), start) ? -ETIME : err;
}

int main(void)
{
	struct mm_struct *mm;
	struct my_vm *vm;
	int err;

	err = gpusvm_mm_open(&mm, NULL);
	if (err == -EPERM || err == -ENOSYS) {
		printf("skip: no userfaultfd: %s\n", strerror(-err));
		return 77;
	}
	vm = kzalloc(sizeof(*vm), GFP_KERNEL);
	if (err || !vm)
		return 1;
	init_rwsem(&vm->lock);
	init_completion(&vm->unmapped);
	kref_init(&vm->refcount);
	INIT_LIST_HEAD(&vm->garbage);
	err = drm_gpusvm_init(&vm->svm, "kernel spelling", NULL, mm, NULL, 0,
			      1ul << 48, 512ul << 20, &my_ops, my_chunks,
			      sizeof(my_chunks) / sizeof(my_chunks[0]));
	if (err)
		return 1;
	drm_gpusvm_driver_set_lock(&vm->svm, &vm->lock);
	err = my_cycle(vm);
	if (err)
		fprintf(stderr, "kernel spelling: %s\n", strerror(-err));
	kref_put(&vm->refcount, my_vm_release);
	if (gpusvm_mm_close(mm))
		return 1;
	return err != 0;
}
