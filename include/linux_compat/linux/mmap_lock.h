/* SPDX-License-Identifier: MIT */
/* The address space lock under its kernel names. */
#ifndef GPUSVM_LINUX_MMAP_LOCK_H
#define GPUSVM_LINUX_MMAP_LOCK_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/gpusvm.h>

static inline void mmap_read_lock(struct mm_struct *mm)
{
	gpusvm_mm_read_lock(mm);
}

static inline void mmap_read_unlock(struct mm_struct *mm)
{
	gpusvm_mm_read_unlock(mm);
}

#endif /* GPUSVM_LINUX_MMAP_LOCK_H */
