/* SPDX-License-Identifier: MIT */
/*
 * GPU Shared Virtual Memory, the interface of the Linux kernel's drm_gpusvm
 * (revision of v6.15) for user space: same names, fields, order and contracts.
 *
 * Where a signature alone does not say it, the contract is in the comment
 * here; docs/porting.md lists what differs from the kernel and why.
 */
#ifndef __DRM_GPUSVM_H__
#define __DRM_GPUSVM_H__

#include <drm/drm_pagemap.h>
#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dev_pagemap_ops;
struct drm_gpusvm;
struct drm_gpusvm_notifier;
struct drm_gpusvm_ops;
struct drm_gpusvm_range;
struct drm_gpusvm_devmem;

/**
 * struct drm_gpusvm_devmem_ops - What a driver does for its device memory
 *
 * The callbacks may run on a driver thread or on the library's fault handler.
 * There they must not touch memory that may be on the device, nor call
 * malloc(), nor take a lock that a thread holds while it may fault.
 */
struct drm_gpusvm_devmem_ops {
	/**
	 * @devmem_release: The last device page of an allocation is free
	 * (optional)
	 * @devmem_allocation: The allocation
	 *
	 * Called once, after @detached of the allocation completed, from any
	 * thread and possibly before drm_gpusvm_migrate_to_devmem() returned.
	 * The allocation is the driver's again.
	 */
	void (*devmem_release)(struct drm_gpusvm_devmem *devmem_allocation);

	/**
	 * @populate_devmem_pfn: Name the page frames of an allocation
	 * (required for migration)
	 * @devmem_allocation: The allocation
	 * @npages: Number of entries in @pfn
	 * @pfn: To be filled with page frame numbers, in address order
	 *
	 * Must give the same answer each time while the allocation lives.
	 *
	 * Return: 0, or a negative errno that the caller gets.
	 */
	int (*populate_devmem_pfn)(struct drm_gpusvm_devmem *devmem_allocation,
				   unsigned long npages, unsigned long *pfn);

	/**
	 * @copy_to_devmem: Copy system memory to device memory (required for
	 * migration)
	 * @pages: Device pages, the destinations
	 * @dma_addr: Sources; 0 where there is nothing to copy: the device
	 *	page must then read as zero
	 * @npages: Number of entries
	 *
	 * The data must be visible when it returns.
	 *
	 * Return: 0, or a negative errno: memory stays where it was.
	 */
	int (*copy_to_devmem)(struct page **pages,
			      dma_addr_t *dma_addr,
			      unsigned long npages);

	/**
	 * @copy_to_ram: Copy device memory to system memory (required for
	 * migration)
	 * @pages: Device pages, the sources; NULL where there is none
	 * @dma_addr: Destinations; 0 where nothing is to be copied, even if
	 *	the entry of @pages is set
	 * @npages: Number of entries
	 *
	 * Return: 0, or a negative errno: the pages stay on the device.
	 */
	int (*copy_to_ram)(struct page **pages,
			   dma_addr_t *dma_addr,
			   unsigned long npages);
};

/**
 * struct drm_gpusvm_devmem - One device memory allocation
 *
 * @dev: Device that it belongs to, or NULL
 * @mm: Address space that it serves; not a reference
 * @detached: Completes when no device page belongs to it any more
 * @ops: The driver's callbacks
 * @dpagemap: How its pages are mapped
 * @size: Size in bytes
 * @timeslice_expiration: The CPU gets the memory back from this time on, in
 *	jiffies (gpusvm_jiffies64())
 *
 * Embedded in the driver's object.  It must lie in memory that never migrates:
 * gpusvm_alloc() or gpusvm_exclude().
 */
struct drm_gpusvm_devmem {
	struct device *dev;
	struct mm_struct *mm;
	struct completion detached;
	const struct drm_gpusvm_devmem_ops *ops;
	struct drm_pagemap *dpagemap;
	size_t size;
	u64 timeslice_expiration;
};

/**
 * struct drm_gpusvm_ops - What a driver does for a GPU SVM
 *
 * The alloc and free of a kind come in pairs or not at all.
 */
struct drm_gpusvm_ops {
	/**
	 * @notifier_alloc: Allocate a notifier (optional)
	 *
	 * Called with the driver lock held.  From gpusvm_alloc(), so that it
	 * never migrates.
	 *
	 * Return: Zeroed memory, or NULL.
	 */
	struct drm_gpusvm_notifier *(*notifier_alloc)(void);

	/**
	 * @notifier_free: Free a notifier (optional)
	 * @notifier: The notifier, empty
	 */
	void (*notifier_free)(struct drm_gpusvm_notifier *notifier);

	/**
	 * @range_alloc: Allocate a range (optional)
	 * @gpusvm: The GPU SVM
	 *
	 * Called with the driver lock and the address space lock held.  From
	 * gpusvm_alloc(), so that it never migrates.
	 *
	 * Return: Zeroed memory, or NULL; never an error pointer.
	 */
	struct drm_gpusvm_range *(*range_alloc)(struct drm_gpusvm *gpusvm);

	/**
	 * @range_free: Free a range (optional)
	 * @range: The range; its notifier may be gone
	 */
	void (*range_free)(struct drm_gpusvm_range *range);

	/**
	 * @invalidate: The CPU side of an address range changes (required)
	 * @gpusvm: The GPU SVM
	 * @notifier: The notifier that the event hit
	 * @mmu_range: The event; not clipped to the notifier
	 *
	 * Must stop the device's use of the addresses, then call
	 * drm_gpusvm_range_unmap_pages() with in_notifier for every range that
	 * the event overlaps; for MMU_NOTIFY_UNMAP also
	 * drm_gpusvm_range_set_unmapped().  Called with the notifier lock held
	 * for writing, on any thread.  It must not take the driver lock,
	 * allocate memory that may migrate or call another function of this
	 * library than those, range_find and the accessors.
	 */
	void (*invalidate)(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_notifier *notifier,
			   const struct mmu_notifier_range *mmu_range);
};

/**
 * struct drm_gpusvm_notifier - A slot of address space with its ranges
 *
 * @gpusvm: The GPU SVM
 * @notifier: Subscription to the events of the slot
 * @itree: The slot, in the tree of @gpusvm
 * @entry: Link in the address-ordered list of @gpusvm
 * @root: Tree of the ranges
 * @range_list: The ranges in address order
 * @flags: Flags
 * @flags.removed: The subscription has ended
 */
struct drm_gpusvm_notifier {
	struct drm_gpusvm *gpusvm;
	struct mmu_interval_notifier notifier;
	struct interval_tree_node itree;
	struct list_head entry;
	struct rb_root_cached root;
	struct list_head range_list;
	struct {
		u32 removed : 1;
	} flags;
};

/**
 * struct drm_gpusvm_range_flags - State of a range
 *
 * @migrate_devmem: The range may move to device memory; fixed at creation
 * @unmapped: Memory of the range was unmapped; it can only be removed
 * @partial_unmap: Only a part of it was
 * @has_devmem_pages: Device pages are mapped for the device
 * @has_dma_mapping: Pages are mapped for the device
 * @__flags: All of them, for a peek without the lock
 *
 * All but @migrate_devmem change only under the notifier lock, and always as
 * a whole word.
 */
struct drm_gpusvm_range_flags {
	__extension__ union {
		__extension__ struct {
			u16 migrate_devmem : 1;
			u16 unmapped : 1;
			u16 partial_unmap : 1;
			u16 has_devmem_pages : 1;
			u16 has_dma_mapping : 1;
		};
		u16 __flags;
	};
};

/**
 * struct drm_gpusvm_range - A piece of address space mapped for the device
 *
 * @gpusvm: The GPU SVM
 * @notifier: The notifier; valid while the range is in it
 * @refcount: References; the notifier's tree holds one
 * @itree: The addresses, in the tree of @notifier
 * @entry: Link in the address-ordered list of @notifier
 * @notifier_seq: Sequence number at which the pages were obtained
 * @dma_addr: Device addresses, packed: each entry covers its order's pages
 * @dpagemap: Pagemap of the device pages in @dma_addr, or NULL
 * @flags: State
 *
 * Never split, merged or resized.
 */
struct drm_gpusvm_range {
	struct drm_gpusvm *gpusvm;
	struct drm_gpusvm_notifier *notifier;
	struct kref refcount;
	struct interval_tree_node itree;
	struct list_head entry;
	unsigned long notifier_seq;
	struct drm_pagemap_device_addr *dma_addr;
	struct drm_pagemap *dpagemap;
	struct drm_gpusvm_range_flags flags;
};

/**
 * struct drm_gpusvm - The shared virtual memory of one device address space
 *
 * @name: Name, for reports
 * @drm: Device, or NULL
 * @mm: The mirrored address space
 * @device_private_page_owner: Token of the device memory that this device can
 *	use in place
 * @mm_start: First address served
 * @mm_range: Number of bytes served
 * @notifier_size: Bytes per notifier, a power of two; 512 MiB is a good value
 * @ops: The driver's callbacks
 * @chunk_sizes: Sizes a range may have, powers of two, descending
 * @num_chunks: Number of @chunk_sizes
 * @notifier_lock: Written while an event is delivered
 * @root: Tree of the notifiers
 * @notifier_list: The notifiers in address order
 * @lock_dep_map: The driver lock, for the checking build
 * @index: Library-private: ranges by address
 *
 * Embedded in the driver's object, which must lie in memory that never
 * migrates.  Not reference-counted: it must outlive every reference to one of
 * its ranges.
 */
struct drm_gpusvm {
	const char *name;
	struct drm_device *drm;
	struct mm_struct *mm;
	void *device_private_page_owner;
	unsigned long mm_start;
	unsigned long mm_range;
	unsigned long notifier_size;
	const struct drm_gpusvm_ops *ops;
	const unsigned long *chunk_sizes;
	int num_chunks;
	struct rw_semaphore notifier_lock;
	struct rb_root_cached root;
	struct list_head notifier_list;
	/*
	 * In the kernel under CONFIG_LOCKDEP only.  Always here: a driver and
	 * the library may be built with different options.
	 */
	struct lockdep_map *lock_dep_map;
	void *index;
};

/**
 * struct drm_gpusvm_ctx - What a call is to do
 *
 * @check_pages_threshold: Chunks of at most this many bytes are chosen only if
 *	every page is present already
 * @timeslice_ms: Milliseconds for which migrated memory stays on the device
 *	although the CPU asks for it
 * @in_notifier: Called from the invalidate callback
 * @read_only: The device only reads
 * @devmem_possible: New ranges may move to device memory
 * @devmem_only: Fail rather than map system memory
 */
struct drm_gpusvm_ctx {
	unsigned long check_pages_threshold;
	unsigned long timeslice_ms;
	unsigned int in_notifier :1;
	unsigned int read_only :1;
	unsigned int devmem_possible :1;
	unsigned int devmem_only :1;
};

/**
 * drm_gpusvm_init() - Initialise a GPU SVM
 * @gpusvm: The caller's storage; the page(s) it lies in are excluded from
 *	every range, because the fault handler uses it
 * @name: Name for reports, or NULL; must outlive @gpusvm
 * @drm: Device, or NULL
 * @mm: Address space from gpusvm_mm_open(); a reference is taken
 * @device_private_page_owner: Owner token of the device memory that this
 *	device uses in place
 * @mm_start: First address served
 * @mm_range: Number of bytes served, not 0
 * @notifier_size: Bytes per notifier: a power of two, at least a page
 * @ops: Callbacks; must outlive @gpusvm
 * @chunk_sizes: Powers of two, at least a page, descending; must outlive
 *	@gpusvm
 * @num_chunks: Number of entries in @chunk_sizes, at least 1
 *
 * Context: May sleep.
 * Return: 0; -EINVAL for a bad argument, @gpusvm is untouched then; -ENOMEM.
 */
GPUSVM_API int drm_gpusvm_init(struct drm_gpusvm *gpusvm,
			       const char *name, struct drm_device *drm,
			       struct mm_struct *mm,
			       void *device_private_page_owner,
			       unsigned long mm_start, unsigned long mm_range,
			       unsigned long notifier_size,
			       const struct drm_gpusvm_ops *ops,
			       const unsigned long *chunk_sizes, int num_chunks)
	GPUSVM_MUST_CHECK;

/**
 * drm_gpusvm_fini() - End a GPU SVM
 * @gpusvm: The GPU SVM
 *
 * Removes every notifier and range.  Calls neither the invalidate callback nor
 * moves memory: device pages stay, and come home when the CPU touches them.
 * A range with further references lives on until its last put; @gpusvm must
 * outlive that.
 *
 * Context: Driver lock held.  Not from the invalidate callback.
 */
GPUSVM_API void drm_gpusvm_fini(struct drm_gpusvm *gpusvm);

/**
 * drm_gpusvm_free() - End a GPU SVM and free its storage
 * @gpusvm: A GPU SVM in storage from gpusvm_alloc(), or NULL
 *
 * The kernel declares this function and defines it nowhere.  Here it is
 * drm_gpusvm_fini(), then gpusvm_free() of @gpusvm.
 *
 * Context: As drm_gpusvm_fini().
 */
GPUSVM_API void drm_gpusvm_free(struct drm_gpusvm *gpusvm);

/**
 * drm_gpusvm_range_find_or_insert() - The range of a device fault
 * @gpusvm: The GPU SVM
 * @fault_addr: Faulting address
 * @gpuva_start: First address that the device mapping may cover
 * @gpuva_end: Its end, exclusive
 * @ctx: Uses read_only, devmem_possible and check_pages_threshold
 *
 * A new range has the largest chunk size that is aligned around @fault_addr
 * and inside the mapping, the notifier, and [@gpuva_start, @gpuva_end), without
 * overlapping another range.
 *
 * Context: Driver lock held; may sleep.  Address space lock and notifier lock
 * not held.
 * Return: The range, owned by the notifier's tree: take a reference to keep it
 * beyond the driver lock.  It may be flagged unmapped if the driver did not
 * collect it.  Or ERR_PTR: -EINVAL outside the window or no chunk fits;
 * -EFAULT the address space is closed; -ENOENT no mapping; -EPERM not
 * writable and not read_only; -ENOMEM; -EBUSY an announced change of memory
 * (gpusvm/hooks.h) does not end.
 */
GPUSVM_API struct drm_gpusvm_range *
drm_gpusvm_range_find_or_insert(struct drm_gpusvm *gpusvm,
				unsigned long fault_addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx)
	GPUSVM_MUST_CHECK;

/**
 * drm_gpusvm_range_remove() - Remove a range
 * @gpusvm: The GPU SVM
 * @range: The range; the device must have stopped using it
 *
 * Unmaps its pages and drops the tree's reference; the last range of a
 * notifier takes the notifier along.
 *
 * Context: Driver lock held; may sleep.  Not from the invalidate callback.
 */
GPUSVM_API void drm_gpusvm_range_remove(struct drm_gpusvm *gpusvm,
					struct drm_gpusvm_range *range);

/**
 * drm_gpusvm_range_evict() - Bring every device page of a range home
 * @gpusvm: The GPU SVM
 * @range: The range
 *
 * As if the CPU read the whole range: pages of any owner come home, pages that
 * were never touched get populated.  Waits for timeslices.  Coherent pages stay,
 * since a CPU access leaves them there, if the whole range is of one allocation;
 * part of a mix, which drm_gpusvm_range_get_pages() refuses, they come home, too.
 *
 * Context: May sleep.  Address space lock and notifier lock not held.
 * Return: 0; -EFAULT address space closed, hole in the range or a failed copy;
 * -ENOMEM; -EBUSY events kept coming for a second.
 */
GPUSVM_API int drm_gpusvm_range_evict(struct drm_gpusvm *gpusvm,
				      struct drm_gpusvm_range *range);

/**
 * drm_gpusvm_range_get() - Take a reference to a range
 * @range: The range
 *
 * Context: Any.
 * Return: @range.
 */
GPUSVM_API struct drm_gpusvm_range *
drm_gpusvm_range_get(struct drm_gpusvm_range *range);

/**
 * drm_gpusvm_range_put() - Drop a reference to a range
 * @range: The range
 *
 * Context: Any; the last one calls the range_free callback.
 */
GPUSVM_API void drm_gpusvm_range_put(struct drm_gpusvm_range *range);

/**
 * drm_gpusvm_range_pages_valid() - Whether the range's device addresses hold
 * @gpusvm: The GPU SVM
 * @range: The range
 *
 * The last step before a driver writes device page table entries, in the same
 * section of the notifier lock.
 *
 * Context: Notifier lock held.
 * Return: True if the addresses may be used.
 */
GPUSVM_API bool drm_gpusvm_range_pages_valid(struct drm_gpusvm *gpusvm,
					     struct drm_gpusvm_range *range);

/**
 * drm_gpusvm_range_get_pages() - Make the pages of a range usable for a device
 * @gpusvm: The GPU SVM
 * @range: The range
 * @ctx: Uses read_only and devmem_only
 *
 * Faults every page in and fills the range's dma_addr.  Call it after a
 * migration, never before: migration invalidates.
 *
 * Context: Driver lock held; may sleep.  Address space lock and notifier lock
 * not held.  Not from the invalidate callback.
 * Return: 0; -EFAULT a page cannot be had, the range was unmapped, mapping for
 * the device failed, devmem_only met system memory, or the address space is
 * closed; -EPERM not writable; -EOPNOTSUPP pages of mixed placement: evict the
 * range and try again; -EBUSY events kept coming for a second; -ENOMEM.
 */
GPUSVM_API int drm_gpusvm_range_get_pages(struct drm_gpusvm *gpusvm,
					  struct drm_gpusvm_range *range,
					  const struct drm_gpusvm_ctx *ctx)
	GPUSVM_MUST_CHECK;

/**
 * drm_gpusvm_range_unmap_pages() - Undo drm_gpusvm_range_get_pages()
 * @gpusvm: The GPU SVM
 * @range: The range
 * @ctx: Uses in_notifier
 *
 * Context: In the invalidate callback with in_notifier set; elsewhere without
 * it, with the driver lock held and the notifier lock not.
 */
GPUSVM_API void drm_gpusvm_range_unmap_pages(struct drm_gpusvm *gpusvm,
					     struct drm_gpusvm_range *range,
					     const struct drm_gpusvm_ctx *ctx);

/**
 * drm_gpusvm_migrate_to_devmem() - Move a range to device memory
 * @gpusvm: The GPU SVM
 * @range: The range
 * @devmem_allocation: Where to; as large as the range
 * @ctx: Uses timeslice_ms
 *
 * All or nothing.  On success the caller's reference to the allocation is
 * the library's and ends with devmem_release, which may happen before this
 * function returns; on failure it stays the caller's and memory is as before.
 *
 * To coherent device memory (MEMORY_DEVICE_COHERENT) the kernel moves the pages,
 * which stay in the program's mapping; the callbacks that copy must be there but
 * are not called.
 *
 * Context: Driver lock held, address space lock held (gpusvm_mm_read_lock());
 * may sleep.
 * Return: 0; -EINVAL the range may not migrate, is not inside one mapping, the
 * allocation is not as large, or a page frame number is not device memory, or is
 * coherent memory's among others; -EOPNOTSUPP a callback is missing; -ENOENT no
 * mapping; -EBUSY not private anonymous memory, a page is pinned or on a device
 * already, or a device page is in use; -EFAULT all is on a device already, a DMA
 * mapping failed, or the address space is closed; -ENOMEM, also if the nodes of
 * coherent memory are full; else what a callback returned.
 */
GPUSVM_API int
drm_gpusvm_migrate_to_devmem(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_range *range,
			     struct drm_gpusvm_devmem *devmem_allocation,
			     const struct drm_gpusvm_ctx *ctx)
	GPUSVM_MUST_CHECK;

/**
 * drm_gpusvm_evict_to_ram() - Bring an allocation home
 * @devmem_allocation: The allocation; the caller must keep it alive
 *
 * Needs neither lock nor range, ignores timeslices, tries three times.  If it is
 * migrating just now, that is waited for, up to a second.
 *
 * Context: May sleep.  The address space lock may be held, the notifier lock
 * not; not from a callback.
 * Return: 0 when no page belongs to it any more; -EBUSY pages are held or still
 * migrating, or it never was on the device; -EFAULT the address space is
 * closed; -EINVAL a page frame number is not device memory; -ENOMEM; else what a
 * callback returned.
 */
GPUSVM_API int
drm_gpusvm_evict_to_ram(struct drm_gpusvm_devmem *devmem_allocation);

/**
 * drm_gpusvm_pagemap_ops_get() - The callbacks that device memory needs
 *
 * To be put in the ops of a &struct dev_pagemap.
 *
 * Return: The same table each time.
 */
GPUSVM_API const struct dev_pagemap_ops *drm_gpusvm_pagemap_ops_get(void);

/**
 * drm_gpusvm_has_mapping() - Whether an interval has ranges
 * @gpusvm: The GPU SVM
 * @start: First address
 * @end: End, exclusive
 *
 * Context: Driver lock held.
 * Return: True if a range overlaps, whatever its state.
 */
GPUSVM_API bool drm_gpusvm_has_mapping(struct drm_gpusvm *gpusvm,
				       unsigned long start, unsigned long end);

/**
 * drm_gpusvm_range_find() - First range of a notifier in an interval
 * @notifier: The notifier
 * @start: First address
 * @end: End, exclusive
 *
 * Context: Driver lock or notifier lock held.
 * Return: The range with the lowest address that overlaps, or NULL.
 */
GPUSVM_API struct drm_gpusvm_range *
drm_gpusvm_range_find(struct drm_gpusvm_notifier *notifier, unsigned long start,
		      unsigned long end);

/**
 * drm_gpusvm_range_set_unmapped() - Flag a range whose memory is unmapped
 * @range: The range
 * @mmu_range: The event
 *
 * Context: In the invalidate callback.
 */
GPUSVM_API void
drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *range,
			      const struct mmu_notifier_range *mmu_range);

/**
 * drm_gpusvm_devmem_init() - Initialise a device memory allocation
 * @devmem_allocation: The caller's storage, in memory that never migrates
 * @dev: Device, or NULL
 * @mm: Address space that it will serve
 * @ops: Callbacks; must outlive the allocation
 * @dpagemap: How its pages are mapped
 * @size: Size in bytes: that of the range it is for
 *
 * Context: Any.
 */
GPUSVM_API void
drm_gpusvm_devmem_init(struct drm_gpusvm_devmem *devmem_allocation,
		       struct device *dev, struct mm_struct *mm,
		       const struct drm_gpusvm_devmem_ops *ops,
		       struct drm_pagemap *dpagemap, size_t size);

/**
 * gpusvm_driver_set_lock_map() - What drm_gpusvm_driver_set_lock() calls
 * @gpusvm: The GPU SVM
 * @map: The map of the driver lock
 */
GPUSVM_API void gpusvm_driver_set_lock_map(struct drm_gpusvm *gpusvm,
					   struct lockdep_map *map);

/**
 * drm_gpusvm_driver_set_lock() - Say which lock protects the ranges
 * @gpusvm: The GPU SVM
 * @lock: Pointer to a lock with a member dep_map, see &struct lockdep_map
 *
 * The checking build (-Ddebug_locks=true) then reports calls without it.  A
 * second call is reported and changes nothing.
 */
#define drm_gpusvm_driver_set_lock(gpusvm, lock) \
	gpusvm_driver_set_lock_map((gpusvm), &(lock)->dep_map)

/**
 * drm_gpusvm_notifier_lock() - Keep events out
 * @gpusvm: The GPU SVM
 *
 * A read lock: holders share it, delivery of events waits.  Not recursive.
 *
 * Context: May sleep.  Never in the invalidate callback.  While it is held:
 * no access to memory that may be on the device, no malloc().
 */
GPUSVM_API void drm_gpusvm_notifier_lock(struct drm_gpusvm *gpusvm);

/**
 * drm_gpusvm_notifier_unlock() - Let events in
 * @gpusvm: The GPU SVM
 */
GPUSVM_API void drm_gpusvm_notifier_unlock(struct drm_gpusvm *gpusvm);

/**
 * drm_gpusvm_range_start() - First address of a range
 * @range: The range
 */
static inline unsigned long
drm_gpusvm_range_start(struct drm_gpusvm_range *range)
{
	return range->itree.start;
}

/**
 * drm_gpusvm_range_end() - End address of a range, exclusive
 * @range: The range
 */
static inline unsigned long
drm_gpusvm_range_end(struct drm_gpusvm_range *range)
{
	return range->itree.last + 1;
}

/**
 * drm_gpusvm_range_size() - Size of a range in bytes
 * @range: The range
 */
static inline unsigned long
drm_gpusvm_range_size(struct drm_gpusvm_range *range)
{
	return drm_gpusvm_range_end(range) - drm_gpusvm_range_start(range);
}

/**
 * drm_gpusvm_notifier_start() - First address of a notifier
 * @notifier: The notifier
 */
static inline unsigned long
drm_gpusvm_notifier_start(struct drm_gpusvm_notifier *notifier)
{
	return notifier->itree.start;
}

/**
 * drm_gpusvm_notifier_end() - End address of a notifier, exclusive
 * @notifier: The notifier
 */
static inline unsigned long
drm_gpusvm_notifier_end(struct drm_gpusvm_notifier *notifier)
{
	return notifier->itree.last + 1;
}

/**
 * drm_gpusvm_notifier_size() - Size of a notifier in bytes
 * @notifier: The notifier
 */
static inline unsigned long
drm_gpusvm_notifier_size(struct drm_gpusvm_notifier *notifier)
{
	return drm_gpusvm_notifier_end(notifier) -
	       drm_gpusvm_notifier_start(notifier);
}

/**
 * __drm_gpusvm_range_next() - Next range of a notifier
 * @range: The range, or NULL
 *
 * Context: Driver lock or notifier lock held.
 * Return: The next one by address; NULL after the last and for NULL.
 */
static inline struct drm_gpusvm_range *
__drm_gpusvm_range_next(struct drm_gpusvm_range *range)
{
	if (range && !gpusvm_list_is_last(&range->entry,
					  &range->notifier->range_list))
		return gpusvm_container_of(range->entry.next,
					   struct drm_gpusvm_range, entry);

	return NULL;
}

/**
 * drm_gpusvm_for_each_range() - Visit the ranges of a notifier in an interval
 * @range__: Iterator; if not NULL on entry, where to start
 * @notifier__: The notifier
 * @start__: First address
 * @end__: End, exclusive
 *
 * The body must not remove the current range.
 *
 * Context: Driver lock or notifier lock held.
 */
#define drm_gpusvm_for_each_range(range__, notifier__, start__, end__)	\
	for ((range__) = (range__) ? (range__) :			\
	     drm_gpusvm_range_find((notifier__), (start__), (end__));	\
	     (range__) && (drm_gpusvm_range_start(range__) < (end__));	\
	     (range__) = __drm_gpusvm_range_next(range__))

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* __DRM_GPUSVM_H__ */
