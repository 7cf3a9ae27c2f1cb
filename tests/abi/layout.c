/* SPDX-License-Identifier: MIT */
/*
 * Prints size and place of everything in the public headers.  Compiled in both
 * spellings, and as C++: the tables must be the same.  layout_complete.py
 * tells what is missing here.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "all_headers.h"

/* From here on the kernel's names are right in both spellings. */
#include <gpusvm/names_begin.h>

#define TYPE(type) printf("%s %zu\n", #type, sizeof(type))

#define FIELD(type, field)                                              \
	printf("%s.%s %zu %zu\n", #type, #field, offsetof(type, field), \
	       sizeof(((type *)0)->field))

/* Which bits a bit-field has. */
#define BITS(type, field)                             \
	do {                                          \
		type object;                          \
		memset(&object, 0, sizeof(object));   \
		object.field--;                       \
		printf("%s.%s", #type, #field);       \
		print_bytes(&object, sizeof(object)); \
	} while (0)

#define VALUE(name) printf("%s %d\n", #name, (int)(name))

static void print_bytes(const void *object, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)object;
	size_t i;

	for (i = 0; i < size; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

static void scalars(void)
{
	TYPE(u16);
	TYPE(u32);
	TYPE(u64);
	TYPE(dma_addr_t);

	VALUE(MMU_NOTIFY_UNMAP);
	VALUE(MMU_NOTIFY_CLEAR);
	VALUE(MMU_NOTIFY_PROTECTION_VMA);
	VALUE(MMU_NOTIFY_PROTECTION_PAGE);
	VALUE(MMU_NOTIFY_SOFT_DIRTY);
	VALUE(MMU_NOTIFY_RELEASE);
	VALUE(MMU_NOTIFY_MIGRATE);
	VALUE(MMU_NOTIFY_EXCLUSIVE);
	VALUE(DMA_BIDIRECTIONAL);
	VALUE(DMA_TO_DEVICE);
	VALUE(DMA_FROM_DEVICE);
	VALUE(DMA_NONE);
	VALUE(MEMORY_DEVICE_PRIVATE);
	VALUE(MEMORY_DEVICE_COHERENT);
	VALUE(DRM_INTERCONNECT_SYSTEM);
	VALUE(DRM_INTERCONNECT_DRIVER);
	VALUE(GPUSVM_COPY_MEMCPY);
	VALUE(GPUSVM_COPY_STREAM);
	VALUE(GPUSVM_COPY_THREADS);
	VALUE(GPUSVM_COPY_URING);
	VALUE(GPUSVM_DEVMEM_NUMA);
	VALUE(GPUSVM_DEVMEM_MEMFD);
	VALUE(GPUSVM_DEVMEM_FILE);
	VALUE(GPUSVM_DEVMEM_COHERENT);
	VALUE(GPUSVM_TECHNIQUE_AUTO);
	VALUE(GPUSVM_TECHNIQUE_MOVE);
	VALUE(GPUSVM_TECHNIQUE_WRITE_PROTECT);
	VALUE(GPUSVM_SOURCE_AUTO);
	VALUE(GPUSVM_SOURCE_USERFAULTFD);
	VALUE(GPUSVM_SOURCE_USERFAULTFD_USER);
	VALUE(GPUSVM_SOURCE_MPROTECT);
	VALUE(GPUSVM_SOURCE_MANUAL);
	VALUE(GPUSVM_SOURCE_USERFAULTFD_SIGBUS);
	VALUE(GPUSVM_SOURCE_USERFAULTFD_RWP);
	VALUE(GPUSVM_LOG_ERROR);
	VALUE(GPUSVM_LOG_WARNING);
	VALUE(GPUSVM_LOG_INFO);
	VALUE(GPUSVM_LOG_DEBUG);
}

static void trees_and_lists(void)
{
	TYPE(struct list_head);
	FIELD(struct list_head, next);
	FIELD(struct list_head, prev);
	TYPE(struct kref);
	FIELD(struct kref, refcount);
	TYPE(struct rb_node);
	FIELD(struct rb_node, rbe_left);
	FIELD(struct rb_node, rbe_right);
	FIELD(struct rb_node, rbe_parent);
	FIELD(struct rb_node, rbe_color);
	TYPE(struct rb_root);
	FIELD(struct rb_root, rb_node);
	TYPE(struct rb_root_cached);
	FIELD(struct rb_root_cached, rb_root);
	FIELD(struct rb_root_cached, rb_leftmost);
	TYPE(struct interval_tree_node);
	FIELD(struct interval_tree_node, rb);
	FIELD(struct interval_tree_node, start);
	FIELD(struct interval_tree_node, last);
}

static void locks_and_events(void)
{
	TYPE(struct lockdep_map);
	FIELD(struct lockdep_map, name);
	TYPE(struct rw_semaphore);
	FIELD(struct rw_semaphore, dep_map);
	FIELD(struct rw_semaphore, storage);
	TYPE(struct completion);
	FIELD(struct completion, done);
	TYPE(struct mmu_notifier_range);
	FIELD(struct mmu_notifier_range, mm);
	FIELD(struct mmu_notifier_range, start);
	FIELD(struct mmu_notifier_range, end);
	FIELD(struct mmu_notifier_range, flags);
	FIELD(struct mmu_notifier_range, event);
	FIELD(struct mmu_notifier_range, owner);
	TYPE(struct mmu_interval_notifier_ops);
	FIELD(struct mmu_interval_notifier_ops, invalidate);
	TYPE(struct mmu_interval_notifier);
	FIELD(struct mmu_interval_notifier, interval_tree);
	FIELD(struct mmu_interval_notifier, ops);
	FIELD(struct mmu_interval_notifier, mm);
	FIELD(struct mmu_interval_notifier, deferred);
	FIELD(struct mmu_interval_notifier, invalidate_seq);
}

static void pagemaps(void)
{
	TYPE(struct gpusvm_change);
	FIELD(struct gpusvm_change, priv);
	FIELD(struct gpusvm_change, section);
	TYPE(struct dev_pagemap);
	FIELD(struct dev_pagemap, type);
	FIELD(struct dev_pagemap, ops);
	FIELD(struct dev_pagemap, owner);
	FIELD(struct dev_pagemap, nr_range);
	FIELD(struct dev_pagemap, range);
	FIELD(struct dev_pagemap, range.start);
	FIELD(struct dev_pagemap, range.end);
	FIELD(struct dev_pagemap, engine);
	FIELD(struct dev_pagemap, file);
	FIELD(struct dev_pagemap, nodes);
	FIELD(struct dev_pagemap, pages);
	FIELD(struct dev_pagemap, next);
	TYPE(struct gpusvm_pagemap_file);
	FIELD(struct gpusvm_pagemap_file, fd);
	FIELD(struct gpusvm_pagemap_file, mapped);
	FIELD(struct gpusvm_pagemap_file, offset);
	TYPE(struct drm_pagemap_device_addr);
	FIELD(struct drm_pagemap_device_addr, addr);
	BITS(struct drm_pagemap_device_addr, proto);
	BITS(struct drm_pagemap_device_addr, order);
	BITS(struct drm_pagemap_device_addr, dir);
	TYPE(struct drm_pagemap_ops);
	FIELD(struct drm_pagemap_ops, device_map);
	FIELD(struct drm_pagemap_ops, device_unmap);
	TYPE(struct drm_pagemap);
	FIELD(struct drm_pagemap, ops);
	FIELD(struct drm_pagemap, dev);
}

static void ranges(void)
{
	TYPE(struct drm_gpusvm_notifier);
	FIELD(struct drm_gpusvm_notifier, gpusvm);
	FIELD(struct drm_gpusvm_notifier, notifier);
	FIELD(struct drm_gpusvm_notifier, itree);
	FIELD(struct drm_gpusvm_notifier, entry);
	FIELD(struct drm_gpusvm_notifier, root);
	FIELD(struct drm_gpusvm_notifier, range_list);
	FIELD(struct drm_gpusvm_notifier, flags);
	BITS(struct drm_gpusvm_notifier, flags.removed);
	TYPE(struct drm_gpusvm_range_flags);
	BITS(struct drm_gpusvm_range_flags, migrate_devmem);
	BITS(struct drm_gpusvm_range_flags, unmapped);
	BITS(struct drm_gpusvm_range_flags, partial_unmap);
	BITS(struct drm_gpusvm_range_flags, has_devmem_pages);
	BITS(struct drm_gpusvm_range_flags, has_dma_mapping);
	FIELD(struct drm_gpusvm_range_flags, __flags);
	TYPE(struct drm_gpusvm_range);
	FIELD(struct drm_gpusvm_range, gpusvm);
	FIELD(struct drm_gpusvm_range, notifier);
	FIELD(struct drm_gpusvm_range, refcount);
	FIELD(struct drm_gpusvm_range, itree);
	FIELD(struct drm_gpusvm_range, entry);
	FIELD(struct drm_gpusvm_range, notifier_seq);
	FIELD(struct drm_gpusvm_range, dma_addr);
	FIELD(struct drm_gpusvm_range, dpagemap);
	FIELD(struct drm_gpusvm_range, flags);
}

static void gpusvm(void)
{
	TYPE(struct drm_gpusvm_ops);
	FIELD(struct drm_gpusvm_ops, notifier_alloc);
	FIELD(struct drm_gpusvm_ops, notifier_free);
	FIELD(struct drm_gpusvm_ops, range_alloc);
	FIELD(struct drm_gpusvm_ops, range_free);
	FIELD(struct drm_gpusvm_ops, invalidate);
	TYPE(struct drm_gpusvm);
	FIELD(struct drm_gpusvm, name);
	FIELD(struct drm_gpusvm, drm);
	FIELD(struct drm_gpusvm, mm);
	FIELD(struct drm_gpusvm, device_private_page_owner);
	FIELD(struct drm_gpusvm, mm_start);
	FIELD(struct drm_gpusvm, mm_range);
	FIELD(struct drm_gpusvm, notifier_size);
	FIELD(struct drm_gpusvm, ops);
	FIELD(struct drm_gpusvm, chunk_sizes);
	FIELD(struct drm_gpusvm, num_chunks);
	FIELD(struct drm_gpusvm, notifier_lock);
	FIELD(struct drm_gpusvm, root);
	FIELD(struct drm_gpusvm, notifier_list);
	FIELD(struct drm_gpusvm, lock_dep_map);
	FIELD(struct drm_gpusvm, index);
	TYPE(struct drm_gpusvm_ctx);
	FIELD(struct drm_gpusvm_ctx, check_pages_threshold);
	FIELD(struct drm_gpusvm_ctx, timeslice_ms);
	BITS(struct drm_gpusvm_ctx, in_notifier);
	BITS(struct drm_gpusvm_ctx, read_only);
	BITS(struct drm_gpusvm_ctx, devmem_possible);
	BITS(struct drm_gpusvm_ctx, devmem_only);
	TYPE(struct drm_gpusvm_devmem_ops);
	FIELD(struct drm_gpusvm_devmem_ops, devmem_release);
	FIELD(struct drm_gpusvm_devmem_ops, populate_devmem_pfn);
	FIELD(struct drm_gpusvm_devmem_ops, copy_to_devmem);
	FIELD(struct drm_gpusvm_devmem_ops, copy_to_ram);
	TYPE(struct drm_gpusvm_devmem);
	FIELD(struct drm_gpusvm_devmem, dev);
	FIELD(struct drm_gpusvm_devmem, mm);
	FIELD(struct drm_gpusvm_devmem, detached);
	FIELD(struct drm_gpusvm_devmem, ops);
	FIELD(struct drm_gpusvm_devmem, dpagemap);
	FIELD(struct drm_gpusvm_devmem, size);
	FIELD(struct drm_gpusvm_devmem, timeslice_expiration);
}

static void user_space(void)
{
	TYPE(struct gpusvm_mm_opts);
	FIELD(struct gpusvm_mm_opts, size);
	FIELD(struct gpusvm_mm_opts, technique);
	FIELD(struct gpusvm_mm_opts, staging_bytes);
	FIELD(struct gpusvm_mm_opts, watchdog_ms);
	FIELD(struct gpusvm_mm_opts, cpu_fault_bytes);
	FIELD(struct gpusvm_mm_opts, source);
	FIELD(struct gpusvm_mm_opts, handlers);
	TYPE(struct gpusvm_stats);
	FIELD(struct gpusvm_stats, size);
	FIELD(struct gpusvm_stats, cpu_faults);
	FIELD(struct gpusvm_stats, zero_faults);
	FIELD(struct gpusvm_stats, migrations_to_devmem);
	FIELD(struct gpusvm_stats, migrations_to_ram);
	FIELD(struct gpusvm_stats, bytes_to_devmem);
	FIELD(struct gpusvm_stats, bytes_to_ram);
	FIELD(struct gpusvm_stats, moved);
	FIELD(struct gpusvm_stats, write_protected);
	FIELD(struct gpusvm_stats, events);
	FIELD(struct gpusvm_stats, device_pages);
	FIELD(struct gpusvm_stats, staging_bytes);
	FIELD(struct gpusvm_stats, in_place);
	TYPE(struct gpusvm_dma_ops);
	FIELD(struct gpusvm_dma_ops, name);
	FIELD(struct gpusvm_dma_ops, map);
	FIELD(struct gpusvm_dma_ops, unmap);
	TYPE(struct gpusvm_device_opts);
	FIELD(struct gpusvm_device_opts, size);
	FIELD(struct gpusvm_device_opts, name);
	FIELD(struct gpusvm_device_opts, dma_ops);
	FIELD(struct gpusvm_device_opts, priv);
	TYPE(struct gpusvm_copy_engine_ops);
	FIELD(struct gpusvm_copy_engine_ops, name);
	FIELD(struct gpusvm_copy_engine_ops, to_devmem);
	FIELD(struct gpusvm_copy_engine_ops, to_ram);
	FIELD(struct gpusvm_copy_engine_ops, destroy);
	TYPE(struct gpusvm_copy_engine);
	FIELD(struct gpusvm_copy_engine, ops);
	TYPE(struct gpusvm_batch_entry);
	FIELD(struct gpusvm_batch_entry, range);
	FIELD(struct gpusvm_batch_entry, devmem);
	FIELD(struct gpusvm_batch_entry, err);
	TYPE(struct gpusvm_copy_engine_opts);
	FIELD(struct gpusvm_copy_engine_opts, size);
	FIELD(struct gpusvm_copy_engine_opts, type);
	FIELD(struct gpusvm_copy_engine_opts, nthreads);
	FIELD(struct gpusvm_copy_engine_opts, depth);
	TYPE(struct gpusvm_devmem_pool_opts);
	FIELD(struct gpusvm_devmem_pool_opts, size);
	FIELD(struct gpusvm_devmem_pool_opts, bytes);
	FIELD(struct gpusvm_devmem_pool_opts, node);
	FIELD(struct gpusvm_devmem_pool_opts, owner);
	FIELD(struct gpusvm_devmem_pool_opts, pgmap_ops);
	FIELD(struct gpusvm_devmem_pool_opts, type);
	FIELD(struct gpusvm_devmem_pool_opts, path);
	FIELD(struct gpusvm_devmem_pool_opts, fd);
	FIELD(struct gpusvm_devmem_pool_opts, engine);
	FIELD(struct gpusvm_devmem_pool_opts, nodes);
	TYPE(struct gpusvm_devmem_pool_info);
	FIELD(struct gpusvm_devmem_pool_info, size);
	FIELD(struct gpusvm_devmem_pool_info, node);
	FIELD(struct gpusvm_devmem_pool_info, emulated);
	FIELD(struct gpusvm_devmem_pool_info, bytes);
	FIELD(struct gpusvm_devmem_pool_info, free_bytes);
	FIELD(struct gpusvm_devmem_pool_info, mapped);
	FIELD(struct gpusvm_devmem_pool_info, direct);
	FIELD(struct gpusvm_devmem_pool_info, nodes);
}

int main(void)
{
	scalars();
	trees_and_lists();
	locks_and_events();
	pagemaps();
	ranges();
	gpusvm();
	user_space();
	return 0;
}
