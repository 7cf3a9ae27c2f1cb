/* SPDX-License-Identifier: MIT */
/*
 * A driver in the kernel's spelling, run in user space.
 *
 * The first part is what a kernel driver has in its port_svm.c: a VM that
 * embeds the GPU SVM, ranges, buffer objects in device memory, a device fault
 * handler, the invalidate callback and a garbage collector.  It is built with
 * the flags of pkg-config libgpusvm-linux.  The second part is what only user
 * space needs: the stand-ins for hardware, and a main() that drives it.
 */
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/slab.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/hooks.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_SIZE gpusvm_page_size()
#define SZ_2M (2ul << 20)
#define SZ_512M (512ul << 20)

/* The window of addresses that the device sees, and its memory. */
#define PORT_VM_SIZE (8 * SZ_2M)
#define PORT_VRAM_BLOCKS 4
#define PORT_VRAM_SIZE (PORT_VRAM_BLOCKS * SZ_2M)
#define PORT_INTERCONNECT_VRAM DRM_INTERCONNECT_DRIVER

/* Rounds of one fault: memory that changes all the time is an error. */
#define PORT_FAULT_TRIES 10

/* A lock type of our own; its dep_map lets the checking build check it. */
struct port_lock {
	pthread_mutex_t mutex;
	struct lockdep_map dep_map;
};

struct port_device {
	struct dev_pagemap pagemap;
	struct drm_pagemap dpagemap;
	struct port_lock vram_lock;
	bool vram_used[PORT_VRAM_BLOCKS];
};

struct port_vm {
	struct drm_gpusvm svm;
	struct port_device *device;
	struct mm_struct *mm;
	struct port_lock lock;
	unsigned long start;
	unsigned long chunk_sizes[2];

	/* Held by the device while it works: taking it stops the device. */
	struct port_lock engine_lock;
	dma_addr_t *page_table;

	struct {
		struct port_lock lock;
		struct list_head range_list;
		unsigned int collected;
	} garbage_collector;
};

struct port_range {
	struct drm_gpusvm_range base;
	struct list_head garbage_collector_link;
};

struct port_bo {
	struct drm_gpusvm_devmem devmem;
	struct kref refcount;
	struct port_device *device;
	unsigned int block;
};

static void port_lock_init(struct port_lock *lock, const char *name)
{
	pthread_mutex_init(&lock->mutex, NULL);
	lock->dep_map.name = name;
}

static void port_lock(struct port_lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
	gpusvm_lockdep_acquire(&lock->dep_map);
}

static void port_unlock(struct port_lock *lock)
{
	gpusvm_lockdep_release(&lock->dep_map);
	pthread_mutex_unlock(&lock->mutex);
}

static struct port_vm *to_port_vm(struct drm_gpusvm *svm)
{
	return container_of(svm, struct port_vm, svm);
}

static struct port_range *to_port_range(struct drm_gpusvm_range *range)
{
	return container_of(range, struct port_range, base);
}

static struct port_bo *to_port_bo(struct drm_gpusvm_devmem *devmem)
{
	return container_of(devmem, struct port_bo, devmem);
}

/* Ranges and their invalidation. */

static struct drm_gpusvm_range *port_range_alloc(struct drm_gpusvm *svm)
{
	struct port_range *range = kzalloc(sizeof(*range), GFP_KERNEL);

	(void)svm;
	if (!range)
		return NULL;
	INIT_LIST_HEAD(&range->garbage_collector_link);
	return &range->base;
}

static void port_range_free(struct drm_gpusvm_range *range)
{
	kfree(to_port_range(range));
}

static dma_addr_t *port_pte(struct port_vm *vm, unsigned long addr)
{
	return &vm->page_table[(addr - vm->start) / PAGE_SIZE];
}

/* Under the engine lock. */
static void port_zap_range(struct port_vm *vm, struct drm_gpusvm_range *range)
{
	unsigned long npages = drm_gpusvm_range_size(range) / PAGE_SIZE;

	memset(port_pte(vm, drm_gpusvm_range_start(range)), 0,
	       npages * sizeof(*vm->page_table));
}

static void port_garbage_collector_add(struct port_vm *vm,
				       struct port_range *range)
{
	port_lock(&vm->garbage_collector.lock);
	if (list_empty(&range->garbage_collector_link))
		list_add_tail(&range->garbage_collector_link,
			      &vm->garbage_collector.range_list);
	port_unlock(&vm->garbage_collector.lock);
}

static void port_invalidate(struct drm_gpusvm *svm,
			    struct drm_gpusvm_notifier *notifier,
			    const struct mmu_notifier_range *mmu_range)
{
	struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct port_vm *vm = to_port_vm(svm);
	struct drm_gpusvm_range *r = NULL;

	port_lock(&vm->engine_lock);
	drm_gpusvm_for_each_range(r, notifier, mmu_range->start, mmu_range->end)
		port_zap_range(vm, r);
	port_unlock(&vm->engine_lock);

	r = NULL;
	drm_gpusvm_for_each_range(r, notifier, mmu_range->start,
				  mmu_range->end) {
		drm_gpusvm_range_unmap_pages(svm, r, &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(r, mmu_range);
		port_garbage_collector_add(vm, to_port_range(r));
	}
}

static const struct drm_gpusvm_ops port_gpusvm_ops = {
	.range_alloc = port_range_alloc,
	.range_free = port_range_free,
	.invalidate = port_invalidate,
};

/* The flags without the notifier lock: may be out of date, never torn. */
static struct drm_gpusvm_range_flags
port_peek_flags(const struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range_flags flags = {
		.__flags = READ_ONCE(range->flags.__flags),
	};

	return flags;
}

/* VM lock held. */
static void port_garbage_collector(struct port_vm *vm)
{
	struct port_range *range;

	port_lock(&vm->garbage_collector.lock);
	while (!list_empty(&vm->garbage_collector.range_list)) {
		range = list_first_entry(&vm->garbage_collector.range_list,
					 struct port_range,
					 garbage_collector_link);
		list_del(&range->garbage_collector_link);
		port_unlock(&vm->garbage_collector.lock);

		if (port_peek_flags(&range->base).partial_unmap)
			drm_gpusvm_range_evict(&vm->svm, &range->base);
		drm_gpusvm_range_remove(&vm->svm, &range->base);
		vm->garbage_collector.collected++;

		port_lock(&vm->garbage_collector.lock);
	}
	port_unlock(&vm->garbage_collector.lock);
}

/* Device memory: a buffer object has a block of 2 MiB, whatever its size. */

static void port_bo_release(struct kref *kref)
{
	struct port_bo *bo = container_of(kref, struct port_bo, refcount);

	port_lock(&bo->device->vram_lock);
	bo->device->vram_used[bo->block] = false;
	port_unlock(&bo->device->vram_lock);
	kfree(bo);
}

static void port_bo_put(struct port_bo *bo)
{
	kref_put(&bo->refcount, port_bo_release);
}

static void port_devmem_release(struct drm_gpusvm_devmem *devmem)
{
	port_bo_put(to_port_bo(devmem));
}

static int port_populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
				    unsigned long npages, unsigned long *pfn)
{
	struct port_bo *bo = to_port_bo(devmem);
	unsigned long first =
		(bo->device->pagemap.range.start + bo->block * SZ_2M) /
		PAGE_SIZE;
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = first + i;
	return 0;
}

/* The copy engine is the library's; hardware would have its own. */
static const struct drm_gpusvm_devmem_ops port_devmem_ops = {
	.devmem_release = port_devmem_release,
	.populate_devmem_pfn = port_populate_devmem_pfn,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = gpusvm_memcpy_to_ram,
};

static struct drm_pagemap_device_addr
port_device_map(struct drm_pagemap *dpagemap, struct device *dev,
		struct page *page, unsigned int order,
		enum dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode((dma_addr_t)page_address(page),
					      PORT_INTERCONNECT_VRAM, order,
					      dir);
}

static const struct drm_pagemap_ops port_pagemap_ops = {
	.device_map = port_device_map,
};

static struct port_bo *port_bo_alloc(struct port_vm *vm, size_t size)
{
	struct port_device *device = vm->device;
	struct port_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL);
	unsigned int block;

	if (!bo)
		return ERR_PTR(-ENOMEM);

	port_lock(&device->vram_lock);
	for (block = 0; block < PORT_VRAM_BLOCKS; block++)
		if (!device->vram_used[block])
			break;
	if (block < PORT_VRAM_BLOCKS)
		device->vram_used[block] = true;
	port_unlock(&device->vram_lock);

	if (block == PORT_VRAM_BLOCKS) {
		kfree(bo);
		return ERR_PTR(-ENOSPC);
	}
	kref_init(&bo->refcount);
	bo->device = device;
	bo->block = block;
	drm_gpusvm_devmem_init(&bo->devmem, NULL, vm->mm, &port_devmem_ops,
			       &device->dpagemap, size);
	return bo;
}

/* Move a range to device memory. */
static int port_alloc_vram(struct port_vm *vm, struct drm_gpusvm_range *range,
			   const struct drm_gpusvm_ctx *ctx)
{
	struct port_bo *bo = port_bo_alloc(vm, drm_gpusvm_range_size(range));
	int err;

	if (IS_ERR(bo))
		return PTR_ERR(bo);

	mmap_read_lock(vm->mm);
	err = drm_gpusvm_migrate_to_devmem(&vm->svm, range, &bo->devmem, ctx);
	mmap_read_unlock(vm->mm);
	if (err)
		port_bo_put(bo);
	return err;
}

/* Write the page table, if the addresses still hold. */
static int port_bind(struct port_vm *vm, struct drm_gpusvm_range *range)
{
	unsigned long addr = drm_gpusvm_range_start(range);
	unsigned long end = drm_gpusvm_range_end(range);
	struct drm_pagemap_device_addr *entry;
	unsigned long i;

	drm_gpusvm_notifier_lock(&vm->svm);
	if (!drm_gpusvm_range_pages_valid(&vm->svm, range)) {
		drm_gpusvm_notifier_unlock(&vm->svm);
		return -EAGAIN;
	}
	port_lock(&vm->engine_lock);
	for (entry = range->dma_addr; addr < end; entry++) {
		for (i = 0; i < 1ul << entry->order; i++) {
			*port_pte(vm, addr) = entry->addr + i * PAGE_SIZE;
			addr += PAGE_SIZE;
		}
	}
	port_unlock(&vm->engine_lock);
	drm_gpusvm_notifier_unlock(&vm->svm);
	return 0;
}

/* One round of a fault: 0, -EAGAIN for another one, or another error. */
static int port_map_range(struct port_vm *vm, unsigned long fault_addr)
{
	struct drm_gpusvm_ctx ctx = { .devmem_possible = true };
	struct drm_gpusvm_range *range;
	int err;

	port_garbage_collector(vm);

	range = drm_gpusvm_range_find_or_insert(&vm->svm, fault_addr, vm->start,
						vm->start + PORT_VM_SIZE, &ctx);
	if (IS_ERR(range))
		return PTR_ERR(range);

	/* Without room on the device system memory is good enough. */
	if (port_peek_flags(range).migrate_devmem)
		port_alloc_vram(vm, range, &ctx);

	err = drm_gpusvm_range_get_pages(&vm->svm, range, &ctx);
	if (err == -EOPNOTSUPP) {
		drm_gpusvm_range_evict(&vm->svm, range);
		return -EAGAIN;
	}
	if (err == -EFAULT || err == -EPERM)
		return -EAGAIN; /* perhaps the mapping has just changed */
	if (err)
		return err;
	return port_bind(vm, range);
}

static int port_handle_fault(struct port_vm *vm, unsigned long fault_addr)
{
	int tries = PORT_FAULT_TRIES;
	int err;

	port_lock(&vm->lock);
	do {
		err = port_map_range(vm, fault_addr);
	} while (err == -EAGAIN && --tries);
	port_unlock(&vm->lock);

	return err == -EAGAIN ? -EFAULT : err;
}

static int port_svm_init(struct port_vm *vm)
{
	int err;

	port_lock_init(&vm->lock, "port VM");
	port_lock_init(&vm->engine_lock, "port engine");
	port_lock_init(&vm->garbage_collector.lock, "port garbage collector");
	INIT_LIST_HEAD(&vm->garbage_collector.range_list);

	vm->chunk_sizes[0] = SZ_2M;
	vm->chunk_sizes[1] = PAGE_SIZE;
	err = drm_gpusvm_init(&vm->svm, "port SVM", NULL, vm->mm, vm->device,
			      vm->start, PORT_VM_SIZE, SZ_512M,
			      &port_gpusvm_ops, vm->chunk_sizes, 2);
	if (err)
		return err;
	drm_gpusvm_driver_set_lock(&vm->svm, &vm->lock);
	return 0;
}

static void port_svm_fini(struct port_vm *vm)
{
	port_lock(&vm->lock);
	port_garbage_collector(vm);
	drm_gpusvm_fini(&vm->svm);
	port_unlock(&vm->lock);
}

/*
 * From here on user space: the hardware, and a program that uses it.
 */

/* Device memory: any addresses that nothing else uses. */
static int port_device_init(struct port_device *device)
{
	void *vram = mmap(NULL, PORT_VRAM_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *added;
	int err;

	if (vram == MAP_FAILED)
		return -errno;
	err = gpusvm_exclude(vram, PORT_VRAM_SIZE);
	if (err)
		return err;
	port_lock_init(&device->vram_lock, "port VRAM");
	device->dpagemap.ops = &port_pagemap_ops;
	device->pagemap.type = MEMORY_DEVICE_PRIVATE;
	device->pagemap.ops = drm_gpusvm_pagemap_ops_get();
	device->pagemap.owner = device;
	device->pagemap.range.start = (u64)vram;
	device->pagemap.range.end = (u64)vram + PORT_VRAM_SIZE - 1;
	added = devm_memremap_pages(NULL, &device->pagemap);
	return IS_ERR(added) ? PTR_ERR(added) : 0;
}

static void port_device_fini(struct port_device *device)
{
	void *vram = (void *)device->pagemap.range.start;

	devm_memunmap_pages(NULL, &device->pagemap);
	gpusvm_include(vram, PORT_VRAM_SIZE);
	munmap(vram, PORT_VRAM_SIZE);
}

/* A kernel on the device: add to @count words, with a fault where needed. */
static int port_device_add(struct port_vm *vm, const unsigned int *words,
			   unsigned long count, unsigned int value)
{
	unsigned long page_mask = PAGE_SIZE - 1;
	unsigned long i = 0;
	int faults = 0;
	int err;

	while (i < count) {
		unsigned long addr = (unsigned long)&words[i];
		dma_addr_t pte;

		port_lock(&vm->engine_lock);
		pte = *port_pte(vm, addr);
		if (pte)
			*(unsigned int *)(pte + (addr & page_mask)) += value;
		port_unlock(&vm->engine_lock);
		if (pte) {
			i++;
			continue;
		}
		err = port_handle_fault(vm, addr);
		if (err)
			return err;
		if (++faults > PORT_FAULT_TRIES)
			return -EFAULT;
	}
	return faults;
}

static bool expect(const char *what, bool right)
{
	printf("%-52s %s\n", what, right ? "ok" : "WRONG");
	return right;
}

static bool all_words(const unsigned int *words, unsigned long count,
		      unsigned int value)
{
	while (count--)
		if (*words++ != value)
			return false;
	return true;
}

/* Device faults, CPU faults, unmapping.  False if something went wrong. */
static bool run(struct port_vm *vm)
{
	unsigned long count = SZ_2M / sizeof(unsigned int);
	unsigned int *low = (unsigned int *)vm->start;
	unsigned int *high = low + count;
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	unsigned long i;
	bool ok = true;

	for (i = 0; i < 2 * count; i++)
		low[i] = 1;

	ok &= expect("device adds 41: one fault",
		     port_device_add(vm, low, count, 41) == 1);
	ok &= expect("device adds 6 elsewhere: one fault",
		     port_device_add(vm, high, count, 6) == 1);
	ok &= expect("device adds 6 there again: no fault",
		     port_device_add(vm, high, count, 6) == 0);
	gpusvm_mm_get_stats(vm->mm, &stats);
	ok &= expect("both ranges are on the device",
		     stats.device_pages * PAGE_SIZE == 2 * SZ_2M);

	ok &= expect("the CPU reads 42", all_words(low, count, 42));
	ok &= expect("device adds 1 to it: a fault again",
		     port_device_add(vm, low, count, 1) == 1);

	/* By its hook, as not every source tells of a bare munmap(). */
	gpusvm_munmap(high, SZ_2M);
	gpusvm_mm_sync(vm->mm);
	ok &= expect("a fault on unmapped memory is an error",
		     port_handle_fault(vm, (unsigned long)high) == -ENOENT);
	ok &= expect("its range was collected",
		     vm->garbage_collector.collected == 1);
	ok &= expect("the CPU reads 43", all_words(low, count, 43));
	return ok;
}

/* The window, aligned so that its memory makes ranges of 2 MiB. */
static unsigned long map_memory(void)
{
	void *memory = mmap(NULL, PORT_VM_SIZE + SZ_2M, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return 0;
	return ((unsigned long)memory + SZ_2M - 1) & ~(SZ_2M - 1);
}

int main(void)
{
	struct port_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	struct port_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL);
	bool ok;
	int err;

	if (!vm || !device)
		return 1;
	vm->device = device;
	vm->start = map_memory();
	vm->page_table = kvcalloc(PORT_VM_SIZE / PAGE_SIZE,
				  sizeof(*vm->page_table), GFP_KERNEL);
	if (!vm->start || !vm->page_table)
		return 1;

	err = gpusvm_mm_open(&vm->mm, NULL);
	if (err) {
		fprintf(stderr, "gpusvm_mm_open: %s\n", strerror(-err));
		return err == -EPERM || err == -ENOSYS ? 77 : 1;
	}
	err = port_device_init(device);
	if (!err)
		err = port_svm_init(vm);
	if (err) {
		fprintf(stderr, "no device: %s\n", strerror(-err));
		return 1;
	}

	ok = run(vm);

	port_svm_fini(vm);
	ok &= expect("everything came home", !gpusvm_mm_close(vm->mm));
	port_device_fini(device);
	kvfree(vm->page_table);
	kfree(vm);
	kfree(device);
	if (ok)
		printf("verified\n");
	return ok ? 0 : 1;
}
