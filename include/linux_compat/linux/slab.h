/* SPDX-License-Identifier: MIT */
/*
 * Allocation under its kernel names, from gpusvm_alloc(): memory that never
 * migrates, so that callbacks may use it.  Flags say nothing here.
 */
#ifndef GPUSVM_LINUX_SLAB_H
#define GPUSVM_LINUX_SLAB_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/gpusvm.h>

typedef unsigned int gfp_t;

#define GFP_KERNEL 0u
#define GFP_NOWAIT 0u
#define GFP_ATOMIC 0u

static inline void *kzalloc(size_t size, gfp_t flags)
{
	(void)flags;
	return gpusvm_alloc(size);
}

static inline void *kcalloc(size_t n, size_t size, gfp_t flags)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return kzalloc(bytes, flags);
}

static inline void *kvcalloc(size_t n, size_t size, gfp_t flags)
{
	return kcalloc(n, size, flags);
}

static inline void *kvmalloc_array(size_t n, size_t size, gfp_t flags)
{
	return kcalloc(n, size, flags);
}

static inline void kfree(const void *ptr)
{
	gpusvm_free((void *)(unsigned long)ptr);
}

static inline void kvfree(const void *ptr)
{
	kfree(ptr);
}

#endif /* GPUSVM_LINUX_SLAB_H */
