/* SPDX-License-Identifier: MIT */
/*
 * Ready copy engines: functions to put in &struct drm_gpusvm_devmem_ops.
 *
 * They work on device memory that the CPU can reach at gpusvm_page_address()
 * and on devices that use CPU addresses (no struct gpusvm_dma_ops).
 */
#ifndef GPUSVM_COPY_H
#define GPUSVM_COPY_H

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * gpusvm_memcpy_to_devmem() - copy_to_devmem by memcpy
 * @pages: Device pages
 * @dma_addr: Sources; a page whose source is 0 is cleared
 * @npages: Number of entries
 *
 * Adjacent pages are copied at once.
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0.
 */
GPUSVM_API int gpusvm_memcpy_to_devmem(struct page **pages,
				       dma_addr_t *dma_addr,
				       unsigned long npages);

/**
 * gpusvm_memcpy_to_ram() - copy_to_ram by memcpy
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Destinations; entries of 0 are skipped
 * @npages: Number of entries
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0.
 */
GPUSVM_API int gpusvm_memcpy_to_ram(struct page **pages, dma_addr_t *dma_addr,
				    unsigned long npages);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_COPY_H */
