/* SPDX-License-Identifier: MIT */
/*
 * Devices and how they reach system memory: the DMA mapping of a device, which
 * is the CPU address itself for a device (or no device) without dma_ops.
 */
#ifndef GPUSVM_PAGE_DMA_H
#define GPUSVM_PAGE_DMA_H

#include <gpusvm/device.h>

/* The device behind @drm; NULL for NULL. */
struct device *gpusvm_drm_to_dev(const struct drm_device *drm);

/* Whether it uses CPU addresses: mapping for it means nothing. */
bool gpusvm_dma_is_direct(const struct device *dev);

/* 0, or what the device's map callback returned; *@dma_addr is never 0 then. */
int gpusvm_dma_map(struct device *dev, unsigned long addr, size_t size,
		   enum dma_data_direction dir, dma_addr_t *dma_addr);
void gpusvm_dma_unmap(struct device *dev, dma_addr_t dma_addr, size_t size,
		      enum dma_data_direction dir);

#endif /* GPUSVM_PAGE_DMA_H */
