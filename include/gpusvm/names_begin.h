/* SPDX-License-Identifier: MIT */
/*
 * Start of the spelling map: between this file and names_end.h the public
 * headers are written with the kernel's names, and a program that did not ask
 * for those names gets them as gpusvm_*.  A macro of the program's own with
 * one of these names is put aside and comes back unchanged.
 *
 * No include guard: every public header opens and closes the map itself.
 * With GPUSVM_LINUX_NAMES both files are empty and the kernel's names stand.
 */
#ifndef GPUSVM_LINUX_NAMES
#pragma push_macro("u16")
#undef u16
#define u16 __u16
#pragma push_macro("u32")
#undef u32
#define u32 __u32
#pragma push_macro("u64")
#undef u64
#define u64 __u64
#pragma push_macro("dma_addr_t")
#undef dma_addr_t
#define dma_addr_t gpusvm_dma_addr_t
#pragma push_macro("list_head")
#undef list_head
#define list_head gpusvm_list_head
#pragma push_macro("kref")
#undef kref
#define kref gpusvm_kref
#pragma push_macro("rb_node")
#undef rb_node
#define rb_node gpusvm_rb_node
#pragma push_macro("rb_root")
#undef rb_root
#define rb_root gpusvm_rb_root
#pragma push_macro("rb_root_cached")
#undef rb_root_cached
#define rb_root_cached gpusvm_rb_root_cached
#pragma push_macro("interval_tree_node")
#undef interval_tree_node
#define interval_tree_node gpusvm_interval_tree_node
#pragma push_macro("rw_semaphore")
#undef rw_semaphore
#define rw_semaphore gpusvm_rw_semaphore
#pragma push_macro("completion")
#undef completion
#define completion gpusvm_completion
#pragma push_macro("lockdep_map")
#undef lockdep_map
#define lockdep_map gpusvm_lockdep_map
#pragma push_macro("mmu_notifier_event")
#undef mmu_notifier_event
#define mmu_notifier_event gpusvm_mmu_notifier_event
#pragma push_macro("mmu_notifier_range")
#undef mmu_notifier_range
#define mmu_notifier_range gpusvm_mmu_notifier_range
#pragma push_macro("mmu_interval_notifier")
#undef mmu_interval_notifier
#define mmu_interval_notifier gpusvm_mmu_interval_notifier
#pragma push_macro("mmu_interval_notifier_ops")
#undef mmu_interval_notifier_ops
#define mmu_interval_notifier_ops gpusvm_mmu_interval_notifier_ops
#pragma push_macro("dma_data_direction")
#undef dma_data_direction
#define dma_data_direction gpusvm_dma_data_direction
#pragma push_macro("memory_type")
#undef memory_type
#define memory_type gpusvm_memory_type
#pragma push_macro("dev_pagemap")
#undef dev_pagemap
#define dev_pagemap gpusvm_dev_pagemap
#pragma push_macro("dev_pagemap_ops")
#undef dev_pagemap_ops
#define dev_pagemap_ops gpusvm_dev_pagemap_ops
#pragma push_macro("MMU_NOTIFY_UNMAP")
#undef MMU_NOTIFY_UNMAP
#define MMU_NOTIFY_UNMAP GPUSVM_MMU_NOTIFY_UNMAP
#pragma push_macro("MMU_NOTIFY_CLEAR")
#undef MMU_NOTIFY_CLEAR
#define MMU_NOTIFY_CLEAR GPUSVM_MMU_NOTIFY_CLEAR
#pragma push_macro("MMU_NOTIFY_PROTECTION_VMA")
#undef MMU_NOTIFY_PROTECTION_VMA
#define MMU_NOTIFY_PROTECTION_VMA GPUSVM_MMU_NOTIFY_PROTECTION_VMA
#pragma push_macro("MMU_NOTIFY_PROTECTION_PAGE")
#undef MMU_NOTIFY_PROTECTION_PAGE
#define MMU_NOTIFY_PROTECTION_PAGE GPUSVM_MMU_NOTIFY_PROTECTION_PAGE
#pragma push_macro("MMU_NOTIFY_SOFT_DIRTY")
#undef MMU_NOTIFY_SOFT_DIRTY
#define MMU_NOTIFY_SOFT_DIRTY GPUSVM_MMU_NOTIFY_SOFT_DIRTY
#pragma push_macro("MMU_NOTIFY_RELEASE")
#undef MMU_NOTIFY_RELEASE
#define MMU_NOTIFY_RELEASE GPUSVM_MMU_NOTIFY_RELEASE
#pragma push_macro("MMU_NOTIFY_MIGRATE")
#undef MMU_NOTIFY_MIGRATE
#define MMU_NOTIFY_MIGRATE GPUSVM_MMU_NOTIFY_MIGRATE
#pragma push_macro("MMU_NOTIFY_EXCLUSIVE")
#undef MMU_NOTIFY_EXCLUSIVE
#define MMU_NOTIFY_EXCLUSIVE GPUSVM_MMU_NOTIFY_EXCLUSIVE
#pragma push_macro("DMA_BIDIRECTIONAL")
#undef DMA_BIDIRECTIONAL
#define DMA_BIDIRECTIONAL GPUSVM_DMA_BIDIRECTIONAL
#pragma push_macro("DMA_TO_DEVICE")
#undef DMA_TO_DEVICE
#define DMA_TO_DEVICE GPUSVM_DMA_TO_DEVICE
#pragma push_macro("DMA_FROM_DEVICE")
#undef DMA_FROM_DEVICE
#define DMA_FROM_DEVICE GPUSVM_DMA_FROM_DEVICE
#pragma push_macro("DMA_NONE")
#undef DMA_NONE
#define DMA_NONE GPUSVM_DMA_NONE
#pragma push_macro("MEMORY_DEVICE_PRIVATE")
#undef MEMORY_DEVICE_PRIVATE
#define MEMORY_DEVICE_PRIVATE GPUSVM_MEMORY_DEVICE_PRIVATE
#pragma push_macro("MEMORY_DEVICE_COHERENT")
#undef MEMORY_DEVICE_COHERENT
#define MEMORY_DEVICE_COHERENT GPUSVM_MEMORY_DEVICE_COHERENT
#endif
