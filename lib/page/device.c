/* SPDX-License-Identifier: MIT */
/* struct device and struct drm_device, and DMA mapping through them. */
#include "dma.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "log.h"

struct device {
	struct gpusvm_device_opts opts;
};

struct drm_device {
	struct device *dev;
};

int gpusvm_device_create(struct device **dev,
			 const struct gpusvm_device_opts *opts)
{
	static const struct gpusvm_device_opts defaults = {
		.size = sizeof(defaults),
	};

	if (!opts)
		opts = &defaults;
	if (!dev || opts->size != sizeof(*opts) ||
	    (opts->dma_ops && (!opts->dma_ops->map || !opts->dma_ops->unmap))) {
		log_error("device_create: bad size, or only one of map and "
			  "unmap");
		return -EINVAL;
	}
	*dev = gpusvm_alloc(sizeof(**dev));
	if (!*dev)
		return -ENOMEM;
	(*dev)->opts = *opts;
	return 0;
}

void gpusvm_device_destroy(struct device *dev)
{
	gpusvm_free(dev);
}

void *gpusvm_device_priv(const struct device *dev)
{
	return dev->opts.priv;
}

int gpusvm_drm_device_create(struct drm_device **drm, struct device *dev)
{
	if (!drm || !dev)
		return -EINVAL;
	*drm = gpusvm_alloc(sizeof(**drm));
	if (!*drm)
		return -ENOMEM;
	(*drm)->dev = dev;
	return 0;
}

void gpusvm_drm_device_destroy(struct drm_device *drm)
{
	gpusvm_free(drm);
}

struct device *gpusvm_drm_to_dev(const struct drm_device *drm)
{
	return drm ? drm->dev : NULL;
}

bool gpusvm_dma_is_direct(const struct device *dev)
{
	return !dev || !dev->opts.dma_ops;
}

int gpusvm_dma_map(struct device *dev, unsigned long addr, size_t size,
		   enum dma_data_direction dir, dma_addr_t *dma_addr)
{
	const struct gpusvm_dma_ops *ops = dev ? dev->opts.dma_ops : NULL;

	*dma_addr = addr;
	return ops ? ops->map(dev, addr, size, dir, dma_addr, dev->opts.priv)
		   : 0;
}

void gpusvm_dma_unmap(struct device *dev, dma_addr_t dma_addr, size_t size,
		      enum dma_data_direction dir)
{
	const struct gpusvm_dma_ops *ops = dev ? dev->opts.dma_ops : NULL;

	if (ops)
		ops->unmap(dev, dma_addr, size, dir, dev->opts.priv);
}
