/* SPDX-License-Identifier: MIT */
/*
 * What the smallest driver does in its callbacks: its device has no page tables
 * of its own and uses CPU addresses.
 */
#ifndef TESTS_SUPPORT_SMALL_DRIVER_H
#define TESTS_SUPPORT_SMALL_DRIVER_H

#include <drm/drm_gpusvm.h>
#include <gpusvm/pagemap.h>

/* Ranges lose their pages, and those whose memory has gone are marked. */
static inline void
small_driver_invalidate(struct drm_gpusvm *gpusvm,
			struct drm_gpusvm_notifier *notifier,
			const struct mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, event->start, event->end) {
		drm_gpusvm_range_unmap_pages(gpusvm, range, &ctx);
		if (event->event == MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, event);
	}
}

static inline struct drm_pagemap_device_addr
small_driver_device_map(struct drm_pagemap *dpagemap, struct device *dev,
			struct page *page, unsigned int order,
			enum dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode(
		(unsigned long)gpusvm_page_address(page),
		DRM_INTERCONNECT_DRIVER, order, dir);
}

#endif /* TESTS_SUPPORT_SMALL_DRIVER_H */
