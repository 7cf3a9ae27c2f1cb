/* SPDX-License-Identifier: MIT */
/* What drivers expect from mm.h. */
#ifndef GPUSVM_LINUX_MM_H
#define GPUSVM_LINUX_MM_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <linux/memremap.h>
#include <linux/mmap_lock.h>

#endif /* GPUSVM_LINUX_MM_H */
