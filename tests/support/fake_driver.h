/* SPDX-License-Identifier: MIT */
/*
 * "D": a driver that records what the library asks of it, with device memory
 * that a test can look into.
 *
 * A struct fake_driver is a GPU SVM with chunks {2M, 64K, page}, notifiers of
 * 512 MiB and ops that record into fixed arrays; its device has 8 MiB of
 * memory of its own, or may use that much of the memory of nodes, in place
 * (coherent_nodes).  Everything that callbacks touch comes from
 * gpusvm_alloc(), the device memory is an excluded mapping.
 *
 * Locking: functions here take the driver lock themselves (it is recursive),
 * so a test only needs fake_driver_lock() around calls of the library that
 * want it, and around a range pointer that another thread might remove.
 * Counters are atomic and may be read at any time.
 *
 * Records carry a number from one counter per driver: what has a smaller
 * number happened before.
 *
 * Functions that assert are for the main thread; those that return an int or
 * bool may be used on any thread, except fake_driver_create() and _destroy().
 */
#ifndef TESTS_FAKE_DRIVER_H
#define TESTS_FAKE_DRIVER_H

#include "harness.h"

#include <linux/list.h>
#include <gpusvm/device.h>
#include <gpusvm/pagemap.h>

#define FAKE_MAX_EVENTS 1024
#define FAKE_MAX_MAPS 4096
#define FAKE_MAX_COPIES 256
#define FAKE_MAX_ALLOCS 256
#define FAKE_COPY_PAGES 512

/* Kind of address that the fake device uses for its own memory. */
#define FAKE_PROTO (DRM_INTERCONNECT_DRIVER + 4)
/* Its address 0; device addresses are never CPU addresses. */
#define FAKE_DEVICE_BASE (1ull << 52)
/* Added to CPU addresses by the DMA mapping of a driver with .dma set. */
#define FAKE_DMA_OFFSET (1ull << 56)

struct fake_driver;

typedef _Atomic unsigned int fake_counter;

/*
 * An error to be injected: the @at-th call from now on, and the @times - 1
 * after it, return @error.
 */
struct fake_fault {
	int error;
	unsigned int at;
	unsigned int times;
	unsigned int calls;
};

/* Arm, times 0 counts as 1; fake_fault_disarm() or error 0 for none. */
void fake_fault_arm(struct fake_fault *fault, int error, unsigned int at,
		    unsigned int times);
void fake_fault_disarm(struct fake_fault *fault);

/* Where fake_driver.hook is called, on whatever thread the callback is. */
enum fake_hook {
	FAKE_AT_INVALIDATE, /* before anything else; arg: mmu_notifier_range */
	FAKE_AT_INVALIDATE_END, /* last thing; arg as before */
	FAKE_AT_POPULATE,	/* arg: fake_alloc */
	FAKE_AT_COPY_TO_DEVMEM, /* before the copy; arg: NULL */
	FAKE_AT_COPY_TO_RAM,	/* before the copy; arg: NULL */
	FAKE_AT_RELEASE,	/* arg: fake_alloc */
	FAKE_AT_DEVICE_MAP,	/* arg: page */
	FAKE_AT_DMA_MAP,	/* arg: NULL */
};

/* One call of ops->invalidate. */
struct fake_event {
	unsigned long number;
	enum mmu_notifier_event event;
	unsigned long start;
	unsigned long end;
	void *owner;
	unsigned int flags;
	unsigned long notifier_start;
	unsigned long notifier_end;
	/* The notifier's sequence number in the callback. */
	unsigned long seq;
	/* Ranges of the notifier that the event overlaps. */
	unsigned int ranges;
	int tid;
};

/* One call of device_map/_unmap or of the device's DMA mapping. */
struct fake_map {
	unsigned long number;
	bool unmap;
	bool dma;
	/* Of the first device page; for DMA the CPU address. */
	unsigned long pfn;
	u64 addr;
	size_t bytes;
	enum dma_data_direction dir;
	struct device *dev;
};

/* One call of copy_to_devmem or copy_to_ram. */
struct fake_copy {
	unsigned long number;
	bool to_ram;
	unsigned long npages;
	/* Entries with both a page and an address. */
	unsigned long copied;
	/* Entries with a page and address 0. */
	unsigned long holes;
	/* Entries without a page. */
	unsigned long nopage;
	/* Bit set: entry had an address; the first FAKE_COPY_PAGES entries. */
	unsigned long has_addr[FAKE_COPY_PAGES / (8 * sizeof(long))];
	unsigned long has_page[FAKE_COPY_PAGES / (8 * sizeof(long))];
	int tid;
};

enum fake_alloc_state {
	FAKE_ALLOC_FREE,
	/* The driver's: not migrated yet, or migration failed. */
	FAKE_ALLOC_OWNED,
	/* The library has (or had) the reference. */
	FAKE_ALLOC_GIVEN,
	/* devmem_release was called; may be looked at until it is re-used. */
	FAKE_ALLOC_RELEASED,
};

/* A device memory allocation. */
struct fake_alloc {
	struct drm_gpusvm_devmem base;
	struct fake_driver *driver;
	_Atomic enum fake_alloc_state state;
	unsigned long npages;
	/* Index of page i in the device's memory: first + i * step. */
	unsigned long first;
	long step;
	fake_counter populated;
	fake_counter released;
	unsigned long release_number;
	/* Whether base.detached was complete when devmem_release came. */
	bool detached_at_release;
};

struct fake_range {
	struct drm_gpusvm_range base;
	/* In fake_driver.collect when set_unmapped was called. */
	struct list_head collect;
	bool queued;
};

struct fake_driver_config {
	const char *name;
	/* 0: 0 and 2^47 */
	unsigned long mm_start;
	unsigned long mm_range;
	/* 0: 512 MiB */
	unsigned long notifier_size;
	/* NULL: {2M, 64K, page} */
	const unsigned long *chunks;
	int num_chunks;
	/* NULL: the recording ones */
	const struct drm_gpusvm_ops *ops;
	/* NULL: the driver itself; of the gpusvm and of its device memory */
	void *owner;
	void *pagemap_owner;
	/* 0: 8 MiB */
	size_t devmem_bytes;
	/* The device has a DMA mapping, which adds FAKE_DMA_OFFSET */
	bool dma;
	/* drm is NULL */
	bool no_device;
	/* The pagemap has no device_unmap */
	bool no_device_unmap;
	/* Its memory is coherent: that of these nodes, a bit for each */
	unsigned long coherent_nodes;
};

struct fake_driver {
	struct drm_gpusvm gpusvm;
	struct dev_pagemap pagemap;
	/* With a copy engine: what device memory is in. */
	struct gpusvm_pagemap_file file;
	struct drm_pagemap dpagemap;
	struct device *dev;
	struct drm_device *drm;
	bool live;

	/* The driver lock, as drm_gpusvm_driver_set_lock() was told. */
	struct {
		pthread_mutex_t mutex;
		struct lockdep_map dep_map;
		unsigned int depth;
		pthread_t owner;
	} lock;
	/* Notifier lock held by the main thread, for clean-up. */
	bool notifier_locked;

	/* ---- What a test may set before or between calls ---- */

	void (*hook)(struct fake_driver *d, enum fake_hook where,
		     const void *arg, void *priv);
	void *hook_priv;
	/* The callback records but leaves ranges alone. */
	bool passive;
	/* New allocations get their pages in descending order. */
	bool scatter;
	/* New allocations use these instead of fake_devmem_ops. */
	const struct drm_gpusvm_devmem_ops *devmem_ops;
	/* Device reads and writes of system memory give EFAULT, not SIGSEGV. */
	bool careful;
	/* Passed on by fake_migrate() */
	unsigned long timeslice_ms;

	struct fake_fault fail_notifier_alloc;
	struct fake_fault fail_range_alloc;
	struct fake_fault fail_populate;
	struct fake_fault fail_copy_to_devmem;
	struct fake_fault fail_copy_to_ram;
	struct fake_fault fail_device_map;
	struct fake_fault fail_dma_map;

	/* ---- What was recorded; counters run on beyond the arrays ---- */

	unsigned long number;
	fake_counter notifier_allocs, notifier_frees;
	fake_counter range_allocs, range_frees;
	fake_counter populates, copies_to_devmem, copies_to_ram, releases;
	fake_counter device_maps, device_unmaps, dma_maps, dma_unmaps;
	fake_counter num_events, num_maps, num_copies;
	/* Numbers of the first and last range_free since the last reset. */
	unsigned long first_range_free, last_range_free;
	struct fake_event events[FAKE_MAX_EVENTS];
	struct fake_map maps[FAKE_MAX_MAPS];
	struct fake_copy copies[FAKE_MAX_COPIES];

	/* ---- Inside ---- */

	pthread_mutex_t collect_lock;
	struct list_head collect;
	pthread_mutex_t devmem_lock;
	unsigned char *devmem;
	size_t devmem_bytes;
	unsigned char *devmem_used;
	fake_counter *devmem_homecomings;
	/* devmem_release is at work, and looks at the driver until its end. */
	fake_counter releasing;
	struct fake_alloc *allocs;
	unsigned int next_alloc;
	struct drm_pagemap_ops dpagemap_ops;
	unsigned long default_chunks[3];
};

/* The recording ops, to build variants of. */
extern const struct drm_gpusvm_ops fake_ops;
extern const struct drm_gpusvm_devmem_ops fake_devmem_ops;

/* ---- Life ---- */

/* NULL for the defaults.  Destroyed when the test ends. */
struct fake_driver *fake_driver_create(const struct fake_driver_config *config);
/* drm_gpusvm_fini() under the driver lock; destroy does not do it again. */
void fake_driver_fini(struct fake_driver *d);
/* fini, bring allocations home, give the device memory back. */
void fake_driver_destroy(struct fake_driver *d);
/*
 * Everything but drm_gpusvm_init(): what a test of init() itself starts from.
 * fake_driver_init() then calls it; fake_driver_create() is both.
 */
struct fake_driver *
fake_driver_create_uninit(const struct fake_driver_config *config);
int fake_driver_init(struct fake_driver *d,
		     const struct fake_driver_config *config);

void fake_driver_lock(struct fake_driver *d);
void fake_driver_unlock(struct fake_driver *d);
/* The notifier lock, released by the clean-up if an assertion jumps out. */
void fake_notifier_lock(struct fake_driver *d);
void fake_notifier_unlock(struct fake_driver *d);

/* Forget the records, keep the state. */
void fake_reset(struct fake_driver *d);

/* ---- Ranges ---- */

/* find_or_insert without limits and with an empty context. */
struct drm_gpusvm_range *fake_fault(struct fake_driver *d, const void *addr);
/* The same with devmem_possible. */
struct drm_gpusvm_range *fake_fault_devmem(struct fake_driver *d,
					   const void *addr);
/* With everything; ctx NULL for an empty one. */
struct drm_gpusvm_range *fake_fault_ctx(struct fake_driver *d, const void *addr,
					unsigned long gpuva_start,
					unsigned long gpuva_end,
					const struct drm_gpusvm_ctx *ctx);
/* A range that may migrate and is exactly this; asserts. */
struct drm_gpusvm_range *fake_range_at(struct fake_driver *d, const void *addr,
				       size_t size);
void fake_remove(struct fake_driver *d, struct drm_gpusvm_range *range);
int fake_get_pages(struct fake_driver *d, struct drm_gpusvm_range *range);
int fake_get_pages_ctx(struct fake_driver *d, struct drm_gpusvm_range *range,
		       const struct drm_gpusvm_ctx *ctx);
/* unmap_pages outside of a callback */
void fake_unmap_pages(struct fake_driver *d, struct drm_gpusvm_range *range);
/* pages_valid under the notifier lock */
bool fake_valid(struct fake_driver *d, struct drm_gpusvm_range *range);
bool fake_has_mapping(struct fake_driver *d, unsigned long start,
		      unsigned long end);
/* The range at an address under the driver lock, or NULL. */
struct drm_gpusvm_range *fake_find(struct fake_driver *d, const void *addr);
/* Number of notifiers, and the i-th (0 is the lowest) or NULL. */
unsigned int fake_notifier_count(struct fake_driver *d);
struct drm_gpusvm_notifier *fake_notifier(struct fake_driver *d,
					  unsigned int i);
unsigned int fake_refcount(struct drm_gpusvm_range *range);

/*
 * The garbage collector: remove what was flagged unmapped, after bringing
 * home what is left of partial ones.  Returns how many it removed.
 */
unsigned int fake_collect(struct fake_driver *d);

/* ---- Device memory ---- */

/* An allocation of @size bytes, cleared, owned by the caller; NULL if full. */
struct fake_alloc *fake_alloc_create(struct fake_driver *d, size_t size);
/* Give one back that the library does not have; no devmem_release counted. */
void fake_alloc_drop(struct fake_alloc *alloc);
/* The CPU's view of device page @i of an allocation. */
unsigned char *fake_alloc_page(struct fake_alloc *alloc, unsigned long i);
struct page *fake_alloc_struct_page(struct fake_alloc *alloc, unsigned long i);
/* How often the data of its page @i was copied to RAM. */
unsigned int fake_alloc_homecomings(struct fake_alloc *alloc, unsigned long i);
/* Pages of the device's memory in use. */
unsigned long fake_devmem_used(struct fake_driver *d);

/*
 * Allocate and drm_gpusvm_migrate_to_devmem() as documented: both locks, drop
 * on failure.  *@alloc, if wanted, is the allocation, also after a failure
 * (already dropped then).
 */
int fake_migrate(struct fake_driver *d, struct drm_gpusvm_range *range,
		 struct fake_alloc **alloc);
/* The same into an allocation of the caller, which it keeps on failure. */
int fake_migrate_to(struct fake_driver *d, struct drm_gpusvm_range *range,
		    struct fake_alloc *alloc);
/*
 * Put exactly [addr, addr + size) on the device without keeping a range;
 * asserts.  @size must be one of the driver's chunks.
 */
struct fake_alloc *fake_migrate_span(struct fake_driver *d, void *addr,
				     size_t size);
/* fake_range_at(), migrate, get_pages: a "dev range"; asserts. */
struct drm_gpusvm_range *fake_dev_range(struct fake_driver *d, void *addr,
					size_t size, struct fake_alloc **alloc);

/* ---- The device's access ---- */

/*
 * Read or write through range->dma_addr, under the notifier lock; any thread.
 * 0; -EAGAIN if the pages are not valid; -EFAULT for a bad address or, with
 * d->careful, if system memory is gone.
 */
int fake_dev_read(struct fake_driver *d, struct drm_gpusvm_range *range,
		  size_t offset, void *buf, size_t len);
int fake_dev_write(struct fake_driver *d, struct drm_gpusvm_range *range,
		   size_t offset, const void *buf, size_t len);
/*
 * Add to a word in device memory, with which the CPU cannot interfere as long
 * as it is there; -EAGAIN if the pages are not valid or not on the device.
 */
int fake_dev_add(struct fake_driver *d, struct drm_gpusvm_range *range,
		 size_t offset, unsigned long value);
/* The same with test patterns for the whole range; as test_match(). */
size_t fake_dev_match(struct fake_driver *d, struct drm_gpusvm_range *range,
		      unsigned int tag);
size_t fake_dev_match_byte(struct fake_driver *d,
			   struct drm_gpusvm_range *range, unsigned char value);
int fake_dev_fill(struct fake_driver *d, struct drm_gpusvm_range *range,
		  unsigned int tag);
#define assert_dev_filled(d, range, tag)                      \
	assert_int_equal(fake_dev_match((d), (range), (tag)), \
			 drm_gpusvm_range_size(range))
#define assert_dev_zeroed(d, range)                            \
	assert_int_equal(fake_dev_match_byte((d), (range), 0), \
			 drm_gpusvm_range_size(range))

/* The fault handler: what to do before a device access. */
#define FAKE_ACCESS_WRITE 1u
#define FAKE_ACCESS_MIGRATE 2u
/*
 * Access [addr, addr + len) as a device with a fault handler does: collect,
 * find_or_insert, migrate if asked, get_pages, check, copy; at most 100 rounds
 * per range.  Any thread.  0 or what stopped it.
 */
int fake_access(struct fake_driver *d, void *addr, void *buf, size_t len,
		unsigned int flags);

/* Entries of range->dma_addr that cover the range; 0 if they do not fit. */
unsigned long fake_entries(struct drm_gpusvm_range *range);

/* ---- Records ---- */

/* The latest event of a kind that overlaps [start, end), or NULL. */
const struct fake_event *fake_last_event(struct fake_driver *d,
					 enum mmu_notifier_event event,
					 const void *start, size_t size);
/* How many. */
unsigned int fake_count_events(struct fake_driver *d,
			       enum mmu_notifier_event event, const void *start,
			       size_t size);
/* Mappings that were not undone exactly once, in a log that did not overflow.*/
unsigned int fake_unbalanced_maps(struct fake_driver *d);
/* Number of the last undone mapping; 0 if none. */
unsigned long fake_last_unmap(struct fake_driver *d);
/* The latest copy in a direction, or NULL. */
const struct fake_copy *fake_last_copy(struct fake_driver *d, bool to_ram);
bool fake_copy_had_addr(const struct fake_copy *copy, unsigned long i);

#endif /* TESTS_FAKE_DRIVER_H */
