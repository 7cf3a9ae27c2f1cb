/* SPDX-License-Identifier: MIT */
/*
 * Interval nodes.  The fields can be read; to search, use
 * drm_gpusvm_range_find() and drm_gpusvm_for_each_range().
 */
#ifndef GPUSVM_LINUX_INTERVAL_TREE_H
#define GPUSVM_LINUX_INTERVAL_TREE_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <linux/rbtree.h>

#endif /* GPUSVM_LINUX_INTERVAL_TREE_H */
