/* SPDX-License-Identifier: MIT */
/*
 * Devices: how a device reaches system memory.
 *
 * A device without a DMA mapping of its own reaches system memory by its CPU
 * address, which is what suits a simulator in the same process.  One that has
 * a bus or an IOMMU model plugs it in here.
 */
#ifndef GPUSVM_DEVICE_H
#define GPUSVM_DEVICE_H

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct gpusvm_dma_ops - A device's own view of system memory
 * @name: Name for reports
 * @map: Make @size bytes at CPU address @addr reachable, fill @dma_addr (not
 *	with 0); return 0 or a negative errno.  Called with the notifier lock
 *	held or during a migration: no malloc(), no memory that may migrate
 * @unmap: Undo @map
 */
struct gpusvm_dma_ops {
	const char *name;
	int (*map)(struct device *dev, unsigned long addr, size_t size,
		   enum dma_data_direction dir, dma_addr_t *dma_addr,
		   void *priv);
	void (*unmap)(struct device *dev, dma_addr_t dma_addr, size_t size,
		      enum dma_data_direction dir, void *priv);
};

/**
 * struct gpusvm_device_opts - Options of gpusvm_device_create()
 * @size: sizeof(struct gpusvm_device_opts)
 * @name: Name for reports, or NULL
 * @dma_ops: Its own view of system memory, both callbacks, or NULL for CPU
 *	addresses; must outlive the device
 * @priv: Passed to the callbacks
 */
struct gpusvm_device_opts {
	size_t size;
	const char *name;
	const struct gpusvm_dma_ops *dma_ops;
	void *priv;
};

/**
 * gpusvm_device_create() - Make a device
 * @dev: Filled with the device; the caller's until gpusvm_device_destroy()
 * @opts: Options, or NULL for the defaults
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
GPUSVM_API int gpusvm_device_create(struct device **dev,
				    const struct gpusvm_device_opts *opts)
	GPUSVM_MUST_CHECK;

/**
 * gpusvm_device_destroy() - Free a device that nothing uses any more
 * @dev: The device, or NULL
 */
GPUSVM_API void gpusvm_device_destroy(struct device *dev);

/**
 * gpusvm_device_priv() - The priv that a device was made with
 * @dev: The device
 */
GPUSVM_API void *gpusvm_device_priv(const struct device *dev);

/**
 * gpusvm_drm_device_create() - Make what drm_gpusvm_init() calls drm
 * @drm: Filled with the DRM device
 * @dev: Its device; must outlive it
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
GPUSVM_API int gpusvm_drm_device_create(struct drm_device **drm,
					struct device *dev) GPUSVM_MUST_CHECK;

/**
 * gpusvm_drm_device_destroy() - Free a DRM device
 * @drm: The DRM device, or NULL
 */
GPUSVM_API void gpusvm_drm_device_destroy(struct drm_device *drm);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_DEVICE_H */
