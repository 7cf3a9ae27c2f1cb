/* SPDX-License-Identifier: MIT */
/*
 * The kernel's vocabulary, as far as drm_gpusvm.h embeds it or a driver reads
 * it: lists, references, interval nodes, the interval notifier, completions
 * and the read-write semaphore.
 *
 * Types are spelled as in the kernel here; a program sees gpusvm_list_head,
 * gpusvm_kref, GPUSVM_MMU_NOTIFY_UNMAP and so on unless it defines
 * GPUSVM_LINUX_NAMES (see names_begin.h).  Functions always carry gpusvm_; the
 * headers in linux_compat/ give them their kernel names.
 */
#ifndef GPUSVM_KERNEL_H
#define GPUSVM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GPUSVM_API __attribute__((visibility("default")))
#define GPUSVM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define GPUSVM_API
#define GPUSVM_MUST_CHECK
#endif

struct device;
struct drm_device;
struct mm_struct;
struct page;

#ifdef GPUSVM_LINUX_NAMES
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
#endif
typedef __u64 dma_addr_t;

/**
 * gpusvm_container_of() - The structure that a member is part of
 * @ptr: Pointer to the member
 * @type: Type of the structure
 * @member: Name of the member
 */
#define gpusvm_container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/**
 * gpusvm_err_ptr() - Put a negative errno in a pointer
 * @error: Negative errno
 *
 * Return: A pointer for which gpusvm_is_err() holds.
 */
static inline void *gpusvm_err_ptr(long error)
{
	return (void *)error;
}

/**
 * gpusvm_ptr_err() - The errno that a pointer carries
 * @ptr: A pointer for which gpusvm_is_err() holds
 *
 * Return: The negative errno.
 */
static inline long gpusvm_ptr_err(const void *ptr)
{
	return (long)ptr;
}

/**
 * gpusvm_is_err() - Whether a returned pointer is an error
 * @ptr: What a function returned that documents ERR_PTR
 *
 * Return: True if @ptr carries a negative errno.
 */
static inline bool gpusvm_is_err(const void *ptr)
{
	return (unsigned long)ptr >= (unsigned long)-4095L;
}

/**
 * struct list_head - Node and head of a doubly linked ring
 * @next: Next node
 * @prev: Previous node
 */
struct list_head {
	struct list_head *next, *prev;
};

/**
 * gpusvm_list_is_last() - Whether a node is the last one of its list
 * @node: The node
 * @head: The head of its list
 */
static inline bool gpusvm_list_is_last(const struct list_head *node,
				       const struct list_head *head)
{
	return node->next == head;
}

/**
 * struct kref - Reference count
 * @refcount: Current number of references; changed atomically
 */
struct kref {
	int refcount;
};

/**
 * struct rb_node - Node of a red-black tree
 * @rbe_left: Left child (library-private)
 * @rbe_right: Right child (library-private)
 * @rbe_parent: Parent (library-private)
 * @rbe_color: Colour (library-private)
 */
struct rb_node {
	struct rb_node *rbe_left;
	struct rb_node *rbe_right;
	struct rb_node *rbe_parent;
	int rbe_color;
};

/**
 * struct rb_root - Root of a red-black tree
 * @rb_node: Topmost node, NULL in an empty tree
 */
struct rb_root {
	struct rb_node *rb_node;
};

/**
 * struct rb_root_cached - Root of a red-black tree with its first node at hand
 * @rb_root: The root
 * @rb_leftmost: First node, NULL in an empty tree
 */
struct rb_root_cached {
	struct rb_root rb_root;
	struct rb_node *rb_leftmost;
};

/**
 * struct interval_tree_node - Interval in an interval tree
 * @rb: Tree linkage (library-private)
 * @start: First address
 * @last: Last address, inclusive
 */
struct interval_tree_node {
	struct rb_node rb;
	unsigned long start;
	unsigned long last;
};

/**
 * struct lockdep_map - Identity of a lock for the checking build
 * @name: Name that reports use, or NULL
 *
 * Embed one as dep_map in a driver's own lock, tell the library about every
 * acquire and release with gpusvm_lockdep_acquire() and
 * gpusvm_lockdep_release(), and drm_gpusvm_driver_set_lock() can check that
 * the lock is held where it must be.  Costs nothing outside the checking build
 * (-Ddebug_locks=true).
 */
struct lockdep_map {
	const char *name;
};

/**
 * gpusvm_lockdep_acquire() - The calling thread now holds a lock
 * @map: The lock's map
 *
 * Context: Any thread.  Does nothing outside the checking build.
 */
GPUSVM_API void gpusvm_lockdep_acquire(struct lockdep_map *map);

/**
 * gpusvm_lockdep_release() - The calling thread no longer holds a lock
 * @map: The lock's map
 *
 * Context: Any thread.  Does nothing outside the checking build.
 */
GPUSVM_API void gpusvm_lockdep_release(struct lockdep_map *map);

/**
 * struct rw_semaphore - Read-write lock that may be slept on
 * @dep_map: Identity for the checking build
 * @storage: Library-private
 */
struct rw_semaphore {
	struct lockdep_map dep_map;
	unsigned long storage[8];
};

/**
 * gpusvm_init_rwsem() - Initialise a semaphore
 * @sem: The semaphore
 */
GPUSVM_API void gpusvm_init_rwsem(struct rw_semaphore *sem);

/**
 * gpusvm_down_read() - Lock for reading
 * @sem: The semaphore
 *
 * Waiting writers go first, so a thread must not take it twice.
 *
 * Context: Sleeps while a writer holds it or waits for it.
 */
GPUSVM_API void gpusvm_down_read(struct rw_semaphore *sem);

/**
 * gpusvm_up_read() - Release a read lock
 * @sem: The semaphore
 */
GPUSVM_API void gpusvm_up_read(struct rw_semaphore *sem);

/**
 * gpusvm_down_write() - Lock for writing
 * @sem: The semaphore
 *
 * Context: Sleeps until nobody else holds it.
 */
GPUSVM_API void gpusvm_down_write(struct rw_semaphore *sem);

/**
 * gpusvm_up_write() - Release a write lock
 * @sem: The semaphore
 */
GPUSVM_API void gpusvm_up_write(struct rw_semaphore *sem);

/**
 * struct completion - One-shot event that threads can wait for
 * @done: Library-private: whether it has happened, and is waited for
 */
struct completion {
	unsigned int done;
};

/**
 * gpusvm_init_completion() - Set a completion to "not yet"
 * @x: The completion
 */
GPUSVM_API void gpusvm_init_completion(struct completion *x);

/**
 * gpusvm_complete_all() - Let every present and future waiter go
 * @x: The completion
 *
 * Context: Any thread; does not sleep or allocate.
 */
GPUSVM_API void gpusvm_complete_all(struct completion *x);

/**
 * gpusvm_completion_done() - Whether it has happened
 * @x: The completion
 */
GPUSVM_API bool gpusvm_completion_done(struct completion *x);

/**
 * gpusvm_wait_for_completion() - Wait until it has happened
 * @x: The completion
 *
 * Context: Sleeps.
 */
GPUSVM_API void gpusvm_wait_for_completion(struct completion *x);

/**
 * enum mmu_notifier_event - Why an address range is invalidated
 * @MMU_NOTIFY_UNMAP: The addresses go away (munmap, mremap, mmap over them)
 * @MMU_NOTIFY_CLEAR: The pages go away, the mapping stays (madvise, eviction)
 * @MMU_NOTIFY_PROTECTION_VMA: Protection of a mapping changes (mprotect)
 * @MMU_NOTIFY_PROTECTION_PAGE: Protection of pages changes (fork)
 * @MMU_NOTIFY_SOFT_DIRTY: Soft-dirty accounting; not raised in user space
 * @MMU_NOTIFY_RELEASE: The address space is closed
 * @MMU_NOTIFY_MIGRATE: Pages move to or from device memory; the event's owner
 *	is the page owner of the migration
 * @MMU_NOTIFY_EXCLUSIVE: Device-exclusive access; not raised in user space
 */
enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP = 0,
	MMU_NOTIFY_CLEAR,
	MMU_NOTIFY_PROTECTION_VMA,
	MMU_NOTIFY_PROTECTION_PAGE,
	MMU_NOTIFY_SOFT_DIRTY,
	MMU_NOTIFY_RELEASE,
	MMU_NOTIFY_MIGRATE,
	MMU_NOTIFY_EXCLUSIVE,
};

/* The callback of this event may sleep; an event without it may be refused. */
#define GPUSVM_RANGE_BLOCKABLE 1u
#ifdef GPUSVM_LINUX_NAMES
#define MMU_NOTIFIER_RANGE_BLOCKABLE GPUSVM_RANGE_BLOCKABLE
#endif

/**
 * struct mmu_notifier_range - One invalidation event
 * @mm: The address space
 * @start: First address
 * @end: End address, exclusive
 * @flags: MMU_NOTIFIER_RANGE_BLOCKABLE or 0
 * @event: What happens
 * @owner: For MMU_NOTIFY_MIGRATE the owner of the device pages, else NULL
 */
struct mmu_notifier_range {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	unsigned int flags;
	enum mmu_notifier_event event;
	void *owner;
};

struct mmu_interval_notifier;

/**
 * struct mmu_interval_notifier_ops - What a subscriber does on an event
 * @invalidate: Called before the change.  Must take the subscriber's lock,
 *	call gpusvm_mmu_interval_set_seq() with @cur_seq under it and stop the
 *	use of the range.  If the event is not blockable and the lock cannot be
 *	had it may return false: the change does not happen.
 */
struct mmu_interval_notifier_ops {
	bool (*invalidate)(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range,
			   unsigned long cur_seq);
};

/**
 * struct mmu_interval_notifier - Subscription to the events of an interval
 * @interval_tree: The interval
 * @ops: The subscriber's callback
 * @mm: The address space
 * @deferred: Library-private
 * @invalidate_seq: Sequence number of the last event that hit it; odd
 */
struct mmu_interval_notifier {
	struct interval_tree_node interval_tree;
	const struct mmu_interval_notifier_ops *ops;
	struct mm_struct *mm;
	struct mmu_interval_notifier *deferred;
	unsigned long invalidate_seq;
};

/**
 * gpusvm_mmu_interval_notifier_insert() - Subscribe to an interval
 * @notifier: Storage of the subscription; must not itself be in memory that
 *	can migrate (use gpusvm_alloc() or gpusvm_exclude())
 * @mm: The address space
 * @start: First address
 * @length: Length in bytes
 * @ops: Callback
 *
 * Context: May sleep.  Not from a callback.
 * Return: 0; -EOVERFLOW if the interval is empty or wraps.
 */
GPUSVM_API int gpusvm_mmu_interval_notifier_insert(
	struct mmu_interval_notifier *notifier, struct mm_struct *mm,
	unsigned long start, unsigned long length,
	const struct mmu_interval_notifier_ops *ops) GPUSVM_MUST_CHECK;

/**
 * gpusvm_mmu_interval_notifier_remove() - End a subscription
 * @notifier: The subscription
 *
 * Waits for callbacks that run; afterwards none runs and none will.
 *
 * Context: Sleeps.  Not from a callback, nor with a lock that one takes.
 */
GPUSVM_API void
gpusvm_mmu_interval_notifier_remove(struct mmu_interval_notifier *notifier);

/**
 * gpusvm_mmu_interval_read_begin() - Start to use what an interval maps
 * @notifier: The subscription
 *
 * Waits while an event that hit the interval is in progress.
 *
 * Context: Sleeps.  Not from a callback, nor with a lock that one takes.
 * Return: The sequence number for gpusvm_mmu_interval_read_retry().
 */
GPUSVM_API unsigned long
gpusvm_mmu_interval_read_begin(struct mmu_interval_notifier *notifier);

/**
 * gpusvm_mmu_interval_read_retry() - Whether what was read is out of date
 * @notifier: The subscription
 * @seq: What gpusvm_mmu_interval_read_begin() returned
 *
 * Context: Under the lock under which the callback sets the sequence.
 * Return: True if an event came in between; start again.
 */
static inline bool
gpusvm_mmu_interval_read_retry(struct mmu_interval_notifier *notifier,
			       unsigned long seq)
{
	return notifier->invalidate_seq != seq;
}

/**
 * gpusvm_mmu_interval_set_seq() - Record an event in a subscription
 * @notifier: The subscription
 * @cur_seq: The sequence number that the callback was given
 *
 * Context: In the callback, under the subscriber's lock.
 */
static inline void
gpusvm_mmu_interval_set_seq(struct mmu_interval_notifier *notifier,
			    unsigned long cur_seq)
{
	__atomic_store_n(&notifier->invalidate_seq, cur_seq, __ATOMIC_RELEASE);
}

/**
 * enum dma_data_direction - Who reads and who writes a mapping
 * @DMA_BIDIRECTIONAL: Both sides do both
 * @DMA_TO_DEVICE: The device only reads
 * @DMA_FROM_DEVICE: The device only writes
 * @DMA_NONE: Neither
 */
enum dma_data_direction {
	DMA_BIDIRECTIONAL = 0,
	DMA_TO_DEVICE = 1,
	DMA_FROM_DEVICE = 2,
	DMA_NONE = 3,
};

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_KERNEL_H */
