/* SPDX-License-Identifier: MIT */
/*
 * The fake driver's life, its gpusvm callbacks, and its calls for ranges.  Its
 * device memory is in fake_device.c, the look into records in fake_records.c.
 */
#include "fake_driver.h"
#include "fake_internal.h"

#include <limits.h>
#include <string.h>

#define ADDRESS_SPACE (1ul << 48)

/* ---- Faults, numbers, locks ---- */

void fake_fault_arm(struct fake_fault *fault, int error, unsigned int at,
		    unsigned int times)
{
	__atomic_store_n(&fault->error, 0, __ATOMIC_SEQ_CST);
	fault->at = at;
	fault->times = times ? times : 1;
	__atomic_store_n(&fault->calls, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fault->error, error, __ATOMIC_SEQ_CST);
}

void fake_fault_disarm(struct fake_fault *fault)
{
	__atomic_store_n(&fault->error, 0, __ATOMIC_SEQ_CST);
}

int fake_fault_fire(struct fake_fault *fault)
{
	int error = __atomic_load_n(&fault->error, __ATOMIC_SEQ_CST);
	unsigned int call;

	if (!error)
		return 0;
	call = __atomic_add_fetch(&fault->calls, 1, __ATOMIC_SEQ_CST);
	return call >= fault->at && call - fault->at < fault->times ? error : 0;
}

unsigned long fake_number(struct fake_driver *d)
{
	return __atomic_add_fetch(&d->number, 1, __ATOMIC_SEQ_CST);
}

unsigned int fake_count(fake_counter *counter)
{
	return atomic_fetch_add(counter, 1);
}

void fake_run_hook(struct fake_driver *d, enum fake_hook where, const void *arg)
{
	void (*hook)(struct fake_driver *, enum fake_hook, const void *,
		     void *) = __atomic_load_n(&d->hook, __ATOMIC_ACQUIRE);

	if (hook)
		hook(d, where, arg, d->hook_priv);
}

void fake_driver_lock(struct fake_driver *d)
{
	pthread_mutex_lock(&d->lock.mutex);
	d->lock.owner = pthread_self();
	if (!d->lock.depth++)
		gpusvm_lockdep_acquire(&d->lock.dep_map);
}

void fake_driver_unlock(struct fake_driver *d)
{
	if (!--d->lock.depth)
		gpusvm_lockdep_release(&d->lock.dep_map);
	pthread_mutex_unlock(&d->lock.mutex);
}

void fake_notifier_lock(struct fake_driver *d)
{
	drm_gpusvm_notifier_lock(&d->gpusvm);
	d->notifier_locked = true;
}

void fake_notifier_unlock(struct fake_driver *d)
{
	d->notifier_locked = false;
	drm_gpusvm_notifier_unlock(&d->gpusvm);
}

/* ---- Callbacks ---- */

/*
 * notifier_alloc() is not told for whom: one pointer says it, set by every
 * call that may come here, on the calling thread.
 */
static __thread struct fake_driver *inserting;

/* A notifier that remembers its driver after its gpusvm pointer is gone. */
struct fake_notifier {
	struct drm_gpusvm_notifier base;
	struct fake_driver *driver;
};

static struct drm_gpusvm_notifier *notifier_alloc(void)
{
	struct fake_driver *d = inserting;
	struct fake_notifier *notifier;

	if (d && fake_fault_fire(&d->fail_notifier_alloc))
		return NULL;
	notifier = gpusvm_alloc(sizeof(*notifier));
	if (!notifier)
		return NULL;
	notifier->driver = d;
	if (d)
		fake_count(&d->notifier_allocs);
	return &notifier->base;
}

static void notifier_free(struct drm_gpusvm_notifier *base)
{
	struct fake_notifier *notifier =
		container_of(base, struct fake_notifier, base);

	if (notifier->driver) {
		fake_number(notifier->driver);
		fake_count(&notifier->driver->notifier_frees);
	}
	memset(notifier, 0x6b, sizeof(*notifier));
	gpusvm_free(notifier);
}

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *gpusvm)
{
	struct fake_driver *d =
		container_of(gpusvm, struct fake_driver, gpusvm);
	struct fake_range *range;

	if (fake_fault_fire(&d->fail_range_alloc))
		return NULL;
	range = gpusvm_alloc(sizeof(*range));
	if (!range)
		return NULL;
	INIT_LIST_HEAD(&range->collect);
	fake_count(&d->range_allocs);
	return &range->base;
}

static void range_free(struct drm_gpusvm_range *base)
{
	struct fake_range *range = container_of(base, struct fake_range, base);
	struct fake_driver *d =
		container_of(base->gpusvm, struct fake_driver, gpusvm);
	unsigned long number = fake_number(d);

	pthread_mutex_lock(&d->collect_lock);
	if (range->queued)
		list_del_init(&range->collect);
	if (!d->first_range_free)
		d->first_range_free = number;
	d->last_range_free = number;
	pthread_mutex_unlock(&d->collect_lock);
	fake_count(&d->range_frees);
	memset(range, 0x6b, sizeof(*range));
	gpusvm_free(range);
}

static void queue_range(struct fake_driver *d, struct fake_range *range)
{
	pthread_mutex_lock(&d->collect_lock);
	if (!range->queued) {
		range->queued = true;
		list_add_tail(&range->collect, &d->collect);
	}
	pthread_mutex_unlock(&d->collect_lock);
}

static void record_event(struct fake_driver *d,
			 struct drm_gpusvm_notifier *notifier,
			 const struct mmu_notifier_range *mmu_range)
{
	struct drm_gpusvm_range *range = NULL;
	unsigned int i = fake_count(&d->num_events);
	struct fake_event *event = &d->events[i % FAKE_MAX_EVENTS];

	event->number = fake_number(d);
	event->event = mmu_range->event;
	event->start = mmu_range->start;
	event->end = mmu_range->end;
	event->owner = mmu_range->owner;
	event->flags = mmu_range->flags;
	event->notifier_start = drm_gpusvm_notifier_start(notifier);
	event->notifier_end = drm_gpusvm_notifier_end(notifier);
	event->seq = notifier->notifier.invalidate_seq;
	event->ranges = 0;
	event->tid = fake_tid();
	drm_gpusvm_for_each_range(range, notifier, mmu_range->start,
				  mmu_range->end)
		event->ranges++;
}

static void invalidate(struct drm_gpusvm *gpusvm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	struct fake_driver *d =
		container_of(gpusvm, struct fake_driver, gpusvm);
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	fake_run_hook(d, FAKE_AT_INVALIDATE, mmu_range);
	record_event(d, notifier, mmu_range);
	if (!d->passive) {
		drm_gpusvm_for_each_range(range, notifier, mmu_range->start,
					  mmu_range->end) {
			drm_gpusvm_range_unmap_pages(gpusvm, range, &ctx);
			if (mmu_range->event != MMU_NOTIFY_UNMAP)
				continue;
			drm_gpusvm_range_set_unmapped(range, mmu_range);
			queue_range(d, container_of(range, struct fake_range,
						    base));
		}
	}
	fake_run_hook(d, FAKE_AT_INVALIDATE_END, mmu_range);
}

const struct drm_gpusvm_ops fake_ops = {
	.notifier_alloc = notifier_alloc,
	.notifier_free = notifier_free,
	.range_alloc = range_alloc,
	.range_free = range_free,
	.invalidate = invalidate,
};

/* ---- Life ---- */

static void destroy(void *arg)
{
	fake_driver_destroy(arg);
}

static void init_locks(struct fake_driver *d)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->lock.mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	d->lock.dep_map.name = "fake driver lock";
	pthread_mutex_init(&d->collect_lock, NULL);
	pthread_mutex_init(&d->devmem_lock, NULL);
	INIT_LIST_HEAD(&d->collect);
}

struct fake_driver *
fake_driver_create_uninit(const struct fake_driver_config *config)
{
	static const struct fake_driver_config defaults;
	struct fake_driver *d = gpusvm_alloc(sizeof(*d));

	assert_non_null(d);
	config = config ? config : &defaults;
	init_locks(d);
	d->devmem_ops = &fake_devmem_ops;
	d->default_chunks[0] = SZ_2M;
	d->default_chunks[1] = SZ_64K;
	d->default_chunks[2] = PS;
	test_cleanup(destroy, d);
	fake_device_create(d, config);
	return d;
}

int fake_driver_init(struct fake_driver *d,
		     const struct fake_driver_config *config)
{
	static const struct fake_driver_config defaults;
	int err;

	config = config ? config : &defaults;
	err = drm_gpusvm_init(
		&d->gpusvm, config->name ? config->name : "fake",
		config->no_device ? NULL : d->drm, test_mm,
		config->owner ? config->owner : d, config->mm_start,
		config->mm_range ? config->mm_range
				 : ADDRESS_SPACE - config->mm_start,
		config->notifier_size ? config->notifier_size : SZ_512M,
		config->ops ? config->ops : &fake_ops,
		config->chunks ? config->chunks : d->default_chunks,
		config->num_chunks ? config->num_chunks : 3);
	if (err)
		return err;
	drm_gpusvm_driver_set_lock(&d->gpusvm, &d->lock);
	d->live = true;
	return 0;
}

struct fake_driver *fake_driver_create(const struct fake_driver_config *config)
{
	struct fake_driver *d = fake_driver_create_uninit(config);

	assert_ret(fake_driver_init(d, config), 0);
	return d;
}

/* A test that failed half way may have left locks taken. */
static void drop_locks(struct fake_driver *d)
{
	if (d->notifier_locked)
		fake_notifier_unlock(d);
	while (d->lock.depth && pthread_equal(d->lock.owner, pthread_self()))
		fake_driver_unlock(d);
}

void fake_driver_fini(struct fake_driver *d)
{
	if (!d->live)
		return;
	d->live = false;
	fake_driver_lock(d);
	drm_gpusvm_fini(&d->gpusvm);
	fake_driver_unlock(d);
}

void fake_driver_destroy(struct fake_driver *d)
{
	test_forget_cleanup(destroy, d);
	drop_locks(d);
	d->hook = NULL;
	fake_fault_disarm(&d->fail_populate);
	fake_fault_disarm(&d->fail_copy_to_ram);
	fake_fault_disarm(&d->fail_dma_map);
	fake_driver_fini(d);
	if (!fake_device_destroy(d)) {
		/* The reason for a failure in a clean-up is not shown. */
		print_message("%lu pages of device memory are still in use\n",
			      fake_devmem_used(d));
		fail_msg("device memory of a driver is still in use");
	}
	pthread_mutex_destroy(&d->lock.mutex);
	pthread_mutex_destroy(&d->collect_lock);
	pthread_mutex_destroy(&d->devmem_lock);
	gpusvm_free(d);
}

/* ---- Ranges ---- */

struct drm_gpusvm_range *fake_fault_ctx(struct fake_driver *d, const void *addr,
					unsigned long gpuva_start,
					unsigned long gpuva_end,
					const struct drm_gpusvm_ctx *ctx)
{
	static const struct drm_gpusvm_ctx empty;
	struct drm_gpusvm_range *range;

	fake_driver_lock(d);
	inserting = d;
	range = drm_gpusvm_range_find_or_insert(&d->gpusvm, (unsigned long)addr,
						gpuva_start, gpuva_end,
						ctx ? ctx : &empty);
	inserting = NULL;
	fake_driver_unlock(d);
	return range;
}

struct drm_gpusvm_range *fake_fault(struct fake_driver *d, const void *addr)
{
	return fake_fault_ctx(d, addr, 0, ULONG_MAX, NULL);
}

struct drm_gpusvm_range *fake_fault_devmem(struct fake_driver *d,
					   const void *addr)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };

	return fake_fault_ctx(d, addr, 0, ULONG_MAX, &ctx);
}

struct drm_gpusvm_range *fake_range_at(struct fake_driver *d, const void *addr,
				       size_t size)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	unsigned long start = (unsigned long)addr;
	struct drm_gpusvm_range *range =
		fake_fault_ctx(d, addr, start, start + size, &ctx);

	assert_ok_ptr(range);
	assert_int_equal(drm_gpusvm_range_start(range), start);
	assert_int_equal(drm_gpusvm_range_size(range), size);
	return range;
}

void fake_remove(struct fake_driver *d, struct drm_gpusvm_range *range)
{
	fake_driver_lock(d);
	drm_gpusvm_range_remove(&d->gpusvm, range);
	fake_driver_unlock(d);
}

int fake_get_pages_ctx(struct fake_driver *d, struct drm_gpusvm_range *range,
		       const struct drm_gpusvm_ctx *ctx)
{
	int err;

	fake_driver_lock(d);
	err = drm_gpusvm_range_get_pages(&d->gpusvm, range, ctx);
	fake_driver_unlock(d);
	return err;
}

int fake_get_pages(struct fake_driver *d, struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_ctx ctx = { .read_only = 0 };

	return fake_get_pages_ctx(d, range, &ctx);
}

void fake_unmap_pages(struct fake_driver *d, struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 0 };

	fake_driver_lock(d);
	drm_gpusvm_range_unmap_pages(&d->gpusvm, range, &ctx);
	fake_driver_unlock(d);
}

bool fake_valid(struct fake_driver *d, struct drm_gpusvm_range *range)
{
	bool valid;

	drm_gpusvm_notifier_lock(&d->gpusvm);
	valid = drm_gpusvm_range_pages_valid(&d->gpusvm, range);
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	return valid;
}

bool fake_has_mapping(struct fake_driver *d, unsigned long start,
		      unsigned long end)
{
	bool has;

	fake_driver_lock(d);
	has = drm_gpusvm_has_mapping(&d->gpusvm, start, end);
	fake_driver_unlock(d);
	return has;
}

struct drm_gpusvm_range *fake_find(struct fake_driver *d, const void *addr)
{
	unsigned long start = (unsigned long)addr;
	struct drm_gpusvm_range *range = NULL;
	struct drm_gpusvm_notifier *notifier;

	fake_driver_lock(d);
	list_for_each_entry(notifier, &d->gpusvm.notifier_list, entry) {
		if (start >= drm_gpusvm_notifier_start(notifier) &&
		    start < drm_gpusvm_notifier_end(notifier))
			range = drm_gpusvm_range_find(notifier, start,
						      start + 1);
	}
	fake_driver_unlock(d);
	return range;
}

unsigned int fake_notifier_count(struct fake_driver *d)
{
	struct drm_gpusvm_notifier *notifier;
	unsigned int count = 0;

	fake_driver_lock(d);
	list_for_each_entry(notifier, &d->gpusvm.notifier_list, entry)
		count++;
	fake_driver_unlock(d);
	return count;
}

struct drm_gpusvm_notifier *fake_notifier(struct fake_driver *d, unsigned int i)
{
	struct drm_gpusvm_notifier *notifier, *found = NULL;

	fake_driver_lock(d);
	list_for_each_entry(notifier, &d->gpusvm.notifier_list, entry) {
		if (i-- == 0) {
			found = notifier;
			break;
		}
	}
	fake_driver_unlock(d);
	return found;
}

unsigned int fake_refcount(struct drm_gpusvm_range *range)
{
	return (unsigned int)__atomic_load_n(&range->refcount.refcount,
					     __ATOMIC_SEQ_CST);
}

static struct fake_range *pop_collected(struct fake_driver *d)
{
	struct fake_range *range;

	pthread_mutex_lock(&d->collect_lock);
	range = list_first_entry_or_null(&d->collect, struct fake_range,
					 collect);
	if (range) {
		list_del_init(&range->collect);
		range->queued = false;
	}
	pthread_mutex_unlock(&d->collect_lock);
	return range;
}

unsigned int fake_collect(struct fake_driver *d)
{
	struct fake_range *range;
	unsigned int count = 0;

	fake_driver_lock(d);
	while ((range = pop_collected(d))) {
		/* Best effort: what is unmapped cannot come home. */
		if (range->base.flags.partial_unmap)
			drm_gpusvm_range_evict(&d->gpusvm, &range->base);
		drm_gpusvm_range_remove(&d->gpusvm, &range->base);
		count++;
	}
	fake_driver_unlock(d);
	return count;
}
