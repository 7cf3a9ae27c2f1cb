/* SPDX-License-Identifier: MIT */
/* What the library chooses here. */
#include <errno.h>
#include <stddef.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#include "info.h"

const struct library_feature library_features[LIBRARY_FEATURES] = {
	{ GPUSVM_FEATURE_USERFAULTFD, "userfaultfd",
	  "faults and events by userfaultfd", false },
	{ GPUSVM_FEATURE_KERNEL_FAULTS, "kernel_faults",
	  "system calls on device memory", true },
	{ GPUSVM_FEATURE_FORK_EVENT, "fork_event", "children of a bare clone()",
	  true },
	{ GPUSVM_FEATURE_MOVE, "move", "pages taken by UFFDIO_MOVE", false },
	{ GPUSVM_FEATURE_PROCMAP_QUERY, "procmap_query",
	  "mappings by PROCMAP_QUERY", false },
	{ GPUSVM_FEATURE_PAGEMAP_SCAN, "pagemap_scan",
	  "empty pages by PAGEMAP_SCAN", false },
	{ GPUSVM_FEATURE_SHMEM_EVENTS, "shmem_events",
	  "events of shared memory", true },
	{ GPUSVM_FEATURE_CPU_FAULTS, "cpu_faults",
	  "the CPU's touch brings home", true },
	{ GPUSVM_FEATURE_EVENTS, "events", "changes nobody announces", true },
	{ GPUSVM_FEATURE_IN_THREAD, "in_thread",
	  "who touches brings home himself", false },
	{ GPUSVM_FEATURE_RWP, "rwp", "busy pages are held to be taken", false },
};

static int open_pool(struct library_info *library, size_t bytes)
{
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = bytes,
		.node = -1,
		.owner = library,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	int err;

	err = gpusvm_devmem_pool_create(&library->pool, &opts);
	if (err)
		return err;
	err = gpusvm_devmem_pool_info(library->pool, &info);
	library->node = info.node;
	library->emulated = info.emulated;
	return err;
}

/* Whether to open it would end the process. */
static bool is_deadly(bool killed)
{
	const struct source_names *wanted = wanted_source();

	return killed && !(wanted && source_protects(wanted->source));
}

void library_open(struct library_info *library, bool killed, size_t pool_bytes)
{
	library->node = -1;
	library->check_err = NOT_TRIED;
	log_to(&library->log);
	library->open_err =
		is_deadly(killed) ? -EPERM : gpusvm_mm_open(&library->mm, NULL);
	if (!library->open_err) {
		library->features = gpusvm_mm_features(library->mm);
		library->source = source_of(library->features);
	}
	library->pool_err = open_pool(library, pool_bytes);
}

void library_close(struct library_info *library)
{
	if (library->mm)
		library->close_err = gpusvm_mm_close(library->mm);
	library->mm = NULL;
	if (!library->close_err)
		gpusvm_devmem_pool_destroy(library->pool);
	library->pool = NULL;
	log_to(NULL);
}
