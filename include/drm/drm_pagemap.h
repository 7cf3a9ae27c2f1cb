/* SPDX-License-Identifier: MIT */
/*
 * How device memory is made reachable for a device: the driver's side of an
 * address that drm_gpusvm_range_get_pages() hands out.
 */
#ifndef _DRM_PAGEMAP_H_
#define _DRM_PAGEMAP_H_

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct drm_pagemap;

/**
 * enum drm_interconnect_protocol - What kind of address a device address is
 * @DRM_INTERCONNECT_SYSTEM: Bus address of a page in system memory
 * @DRM_INTERCONNECT_DRIVER: First value that belongs to the driver; it may
 *	number its own kinds from here on
 */
enum drm_interconnect_protocol {
	DRM_INTERCONNECT_SYSTEM,
	DRM_INTERCONNECT_DRIVER,
};

/**
 * struct drm_pagemap_device_addr - Address under which a device reaches pages
 * @addr: The address; for DRM_INTERCONNECT_SYSTEM what the device's DMA
 *	mapping returned, which is the CPU address unless the device has
 *	its own mapping (see gpusvm/device.h)
 * @proto: &enum drm_interconnect_protocol or a driver's own value
 * @order: The entry covers (page size << @order) bytes
 * @dir: &enum dma_data_direction
 */
struct drm_pagemap_device_addr {
	dma_addr_t addr;
	u64 proto : 54;
	u64 order : 8;
	u64 dir : 2;
};

/**
 * drm_pagemap_device_addr_encode() - Make a device address
 * @addr: The address
 * @proto: Its kind
 * @order: log2 of the number of pages that it covers
 * @dir: Direction of access
 *
 * Return: The device address.
 */
static inline struct drm_pagemap_device_addr
drm_pagemap_device_addr_encode(dma_addr_t addr,
			       enum drm_interconnect_protocol proto,
			       unsigned int order,
			       enum dma_data_direction dir)
{
	struct drm_pagemap_device_addr encoded;

	encoded.addr = addr;
	encoded.proto = (u64)proto & ((1ULL << 54) - 1);
	encoded.order = order & 0xff;
	encoded.dir = (u64)dir & 3;
	return encoded;
}

/**
 * struct drm_pagemap_ops - How a driver maps its device memory
 */
struct drm_pagemap_ops {
	/**
	 * @device_map: Make one entry of device memory reachable for a device
	 * @dpagemap: The pagemap of the page
	 * @dev: The device that will use the address; may be another one than
	 *	@dpagemap's, or NULL if the gpusvm has no device
	 * @page: First device page
	 * @order: log2 of the number of pages
	 * @dir: Direction of access
	 *
	 * Called with the notifier lock held: must not allocate memory that
	 * may migrate.
	 *
	 * Return: The device address; an @addr of ~0 says that it failed.
	 */
	struct drm_pagemap_device_addr (*device_map)(struct drm_pagemap *dpagemap,
						     struct device *dev,
						     struct page *page,
						     unsigned int order,
						     enum dma_data_direction dir);

	/**
	 * @device_unmap: Undo @device_map (optional)
	 * @dpagemap: The pagemap
	 * @dev: The device that used the address
	 * @addr: What @device_map returned
	 */
	void (*device_unmap)(struct drm_pagemap *dpagemap,
			     struct device *dev,
			     struct drm_pagemap_device_addr addr);
};

/**
 * struct drm_pagemap - Device memory as a driver offers it to GPU SVM
 * @ops: How it is mapped
 * @dev: The device that owns the memory
 *
 * The driver's object; it must outlive every allocation made from it.
 */
struct drm_pagemap {
	const struct drm_pagemap_ops *ops;
	struct device *dev;
};

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* _DRM_PAGEMAP_H_ */
