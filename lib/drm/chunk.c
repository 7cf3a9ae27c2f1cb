/* SPDX-License-Identifier: MIT */
/* How large a new range becomes. */
#include "svm.h"

#include "compiler.h"
#include "fault_in.h"
#include "page_size.h"

static bool is_inside(unsigned long start, unsigned long end,
		      unsigned long outer_start, unsigned long outer_end)
{
	return start >= outer_start && end <= outer_end;
}

/*
 * Larger chunks than the threshold are taken without looking: what is sparse
 * in them is cheaper to move than to map page by page.
 */
static bool is_populated_enough(struct drm_gpusvm *gpusvm, unsigned long start,
				unsigned long end,
				const struct drm_gpusvm_ctx *ctx)
{
	return end - start > ctx->check_pages_threshold ||
	       gpusvm_pages_present(gpusvm->mm, start, end,
				    gpusvm->device_private_page_owner);
}

unsigned long gpusvm_chunk_size(struct drm_gpusvm *gpusvm,
				struct drm_gpusvm_notifier *notifier,
				struct vma *vma, unsigned long addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx)
{
	unsigned long start, end, size;
	int i;

	for (i = 0; i < gpusvm->num_chunks; i++) {
		size = gpusvm->chunk_sizes[i];
		start = ALIGN_DOWN(addr, size);
		end = start + size;
		if (!is_inside(start, end, drm_gpusvm_notifier_start(notifier),
			       drm_gpusvm_notifier_end(notifier)) ||
		    !is_inside(start, end, gpuva_start, gpuva_end) ||
		    !gpusvm_vma_covers(gpusvm->mm, vma, start, end))
			continue;
		/* A page can neither overlap nor be made any smaller. */
		if (size == PAGE_SIZE)
			return size;
		if (!drm_gpusvm_range_find(notifier, start, end) &&
		    is_populated_enough(gpusvm, start, end, ctx))
			return size;
	}
	return 0;
}
