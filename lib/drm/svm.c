/* SPDX-License-Identifier: MIT */
/*
 * Life of a GPU SVM, and questions about the whole of it.
 */
#include "svm.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <linux/list.h>

#include "compiler.h"
#include "log.h"
#include "mm.h"
#include "nofault.h"
#include "page_size.h"
#include "sys.h"

static bool is_page_multiple(unsigned long size)
{
	return is_power_of_2(size) && size >= PAGE_SIZE;
}

static const char *bad_chunks(const unsigned long *chunk_sizes, int num_chunks)
{
	int i;

	if (!chunk_sizes || num_chunks < 1)
		return "no chunk sizes";
	for (i = 0; i < num_chunks; i++) {
		if (!is_page_multiple(chunk_sizes[i]))
			return "a chunk size is no power of two of at least a "
			       "page";
		if (i && chunk_sizes[i] >= chunk_sizes[i - 1])
			return "chunk sizes do not descend";
	}
	return NULL;
}

static const char *bad_ops(const struct drm_gpusvm_ops *ops)
{
	if (!ops || !ops->invalidate)
		return "no invalidate callback";
	if (!ops->notifier_alloc != !ops->notifier_free)
		return "only one of notifier_alloc and notifier_free";
	if (!ops->range_alloc != !ops->range_free)
		return "only one of range_alloc and range_free";
	return NULL;
}

static const char *bad_window(unsigned long mm_start, unsigned long mm_range,
			      unsigned long notifier_size)
{
	if (!mm_range || mm_start + mm_range < mm_start)
		return "the address window is empty or wraps";
	if (!is_page_multiple(notifier_size))
		return "the notifier size is no power of two of at least a "
		       "page";
	return NULL;
}

/*
 * The fault handler uses the structure when it delivers an event: were it on a
 * device, the handler would wait for itself.
 */
static int keep_from_migrating(struct drm_gpusvm *gpusvm)
{
	return gpusvm_exclude(gpusvm, sizeof(*gpusvm));
}

int drm_gpusvm_init(struct drm_gpusvm *gpusvm, const char *name,
		    struct drm_device *drm, struct mm_struct *mm,
		    void *device_private_page_owner, unsigned long mm_start,
		    unsigned long mm_range, unsigned long notifier_size,
		    const struct drm_gpusvm_ops *ops,
		    const unsigned long *chunk_sizes, int num_chunks)
{
	const char *bad;
	int err;

	bad = !gpusvm || !mm ? "no gpusvm or no mm" : bad_ops(ops);
	if (!bad)
		bad = bad_window(mm_start, mm_range, notifier_size);
	if (!bad)
		bad = bad_chunks(chunk_sizes, num_chunks);
	if (bad) {
		log_error("drm_gpusvm_init: %s", bad);
		return -EINVAL;
	}
	err = keep_from_migrating(gpusvm);
	if (err)
		return err;

	*gpusvm = (struct drm_gpusvm){
		.name = name,
		.drm = drm,
		.mm = mm,
		.device_private_page_owner = device_private_page_owner,
		.mm_start = mm_start,
		.mm_range = mm_range,
		.notifier_size = notifier_size,
		.ops = ops,
		.chunk_sizes = chunk_sizes,
		.num_chunks = num_chunks,
	};
	INIT_LIST_HEAD(&gpusvm->notifier_list);
	gpusvm_init_rwsem(&gpusvm->notifier_lock);
	gpusvm->notifier_lock.dep_map.name = "notifier_lock";
	gpusvm_mm_grab(mm);
	return 0;
}

/*
 * The subscription ends before the first range goes: no callback may find a
 * notifier half empty.
 */
static void fini_notifier(struct drm_gpusvm *gpusvm,
			  struct drm_gpusvm_notifier *notifier)
{
	struct drm_gpusvm_range *range, *next;

	gpusvm_notifier_unsubscribe(notifier);
	list_for_each_entry_safe(range, next, &notifier->range_list, entry)
		gpusvm_range_unlink(gpusvm, range);
	gpusvm_notifier_remove(gpusvm, notifier);
}

void drm_gpusvm_fini(struct drm_gpusvm *gpusvm)
{
	struct drm_gpusvm_notifier *notifier, *next;

	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	/* Who held it is not in this process. */
	if (gpusvm->mm->pid != gpusvm_sys_getpid())
		gpusvm_init_rwsem(&gpusvm->notifier_lock);
	list_for_each_entry_safe(notifier, next, &gpusvm->notifier_list, entry)
		fini_notifier(gpusvm, notifier);
	gpusvm_mm_drop(gpusvm->mm);
	gpusvm_include(gpusvm, sizeof(*gpusvm));
}

void drm_gpusvm_free(struct drm_gpusvm *gpusvm)
{
	if (!gpusvm)
		return;
	drm_gpusvm_fini(gpusvm);
	gpusvm_free(gpusvm);
}

bool drm_gpusvm_has_mapping(struct drm_gpusvm *gpusvm, unsigned long start,
			    unsigned long end)
{
	struct drm_gpusvm_notifier *notifier;

	check_driver_lock(gpusvm);
	if (start >= end)
		return false;
	list_for_each_entry(notifier, &gpusvm->notifier_list, entry)
		if (drm_gpusvm_range_find(notifier, start, end))
			return true;
	return false;
}

void drm_gpusvm_notifier_lock(struct drm_gpusvm *gpusvm)
{
	lockdep_check_not_in_callback();
	gpusvm_down_read(&gpusvm->notifier_lock);
	gpusvm_nofault_enter();
}

void drm_gpusvm_notifier_unlock(struct drm_gpusvm *gpusvm)
{
	gpusvm_nofault_leave();
	gpusvm_up_read(&gpusvm->notifier_lock);
}

void gpusvm_driver_set_lock_map(struct drm_gpusvm *gpusvm,
				struct lockdep_map *map)
{
	lockdep_check(!gpusvm->lock_dep_map, "the driver lock was set already");
	if (!gpusvm->lock_dep_map)
		gpusvm->lock_dep_map = map;
}
