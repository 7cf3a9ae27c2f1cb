/* SPDX-License-Identifier: MIT */
/* Reference counts under their kernel names. */
#ifndef GPUSVM_LINUX_KREF_H
#define GPUSVM_LINUX_KREF_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/kernel.h>

static inline void kref_init(struct kref *kref)
{
	__atomic_store_n(&kref->refcount, 1, __ATOMIC_RELAXED);
}

static inline int kref_read(const struct kref *kref)
{
	return __atomic_load_n(&kref->refcount, __ATOMIC_RELAXED);
}

static inline void kref_get(struct kref *kref)
{
	__atomic_fetch_add(&kref->refcount, 1, __ATOMIC_RELAXED);
}

static inline bool kref_get_unless_zero(struct kref *kref)
{
	int old = kref_read(kref);

	while (old && !__atomic_compare_exchange_n(&kref->refcount, &old,
						   old + 1, true,
						   __ATOMIC_RELAXED,
						   __ATOMIC_RELAXED))
		;
	return old != 0;
}

static inline int kref_put(struct kref *kref,
			   void (*release)(struct kref *kref))
{
	if (__atomic_fetch_sub(&kref->refcount, 1, __ATOMIC_ACQ_REL) != 1)
		return 0;
	release(kref);
	return 1;
}

#endif /* GPUSVM_LINUX_KREF_H */
