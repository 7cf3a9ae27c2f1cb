/* SPDX-License-Identifier: MIT */
/*
 * The shortest tour: one pointer, one device fault that moves what it points to
 * to device memory, a device that changes it there, one CPU read that brings it
 * home.  (One thread plays both sides, so no driver lock; see graph/ for more.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/pagemap.h>

#define SIZE (64ul << 10)
#define CALL(call) check(#call, call)

/* From gpusvm_alloc(): the library's fault handler must never fault on it. */
struct hello {
	struct drm_gpusvm svm;
	struct drm_gpusvm_devmem devmem;
	struct drm_pagemap dpagemap;
	unsigned long pfn;
};

static void check(const char *call, long err)
{
	if (!err)
		return;
	fprintf(stderr, "%.40s...: %s\n", call, strerror((int)-err));
	exit(strstr(call, "mm_open") ? 77 : 1);
}

/* A real driver stops the device first.  Ours works only inside main(). */
static void invalidate(struct drm_gpusvm *svm, struct drm_gpusvm_notifier *n,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, n, event->start, event->end)
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
}
