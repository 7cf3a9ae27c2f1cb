/* SPDX-License-Identifier: MIT */
/* What the library chooses here, and what it says about that. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#include "info.h"

const struct library_feature library_features[LIBRARY_FEATURES] = {
	{ GPUSVM_FEATURE_USERFAULTFD, "userfaultfd",
	  "faults and events by userfaultfd" },
	{ GPUSVM_FEATURE_KERNEL_FAULTS, "kernel_faults",
	  "system calls on device memory" },
	{ GPUSVM_FEATURE_FORK_EVENT, "fork_event",
	  "children of a bare clone()" },
	{ GPUSVM_FEATURE_MOVE, "move", "pages taken by UFFDIO_MOVE" },
	{ GPUSVM_FEATURE_PROCMAP_QUERY, "procmap_query",
	  "mappings by PROCMAP_QUERY" },
	{ GPUSVM_FEATURE_PAGEMAP_SCAN, "pagemap_scan",
	  "empty pages by PAGEMAP_SCAN" },
	{ GPUSVM_FEATURE_SHMEM_EVENTS, "shmem_events",
	  "events of shared memory" },
};

/* Any thread may log, so a line is taken before it is written. */
static struct log_line lines[LOG_LINES];
static atomic_uint taken;

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	unsigned int i = atomic_fetch_add(&taken, 1);

	(void)priv;
	if (i >= LOG_LINES)
		return;
	lines[i].level = level;
	snprintf(lines[i].text, sizeof(lines[i].text), "%s", message);
}

/* The library opens more than one descriptor and complains of each. */
size_t library_log(const struct log_line **out)
{
	static struct log_line unique[LOG_LINES];
	size_t n = atomic_load(&taken);
	size_t count = 0;
	size_t i, j;

	for (i = 0; i < n && i < LOG_LINES; i++) {
		for (j = 0; j < count; j++)
			if (!strcmp(unique[j].text, lines[i].text))
				break;
		if (j == count)
			unique[count++] = lines[i];
	}
	*out = unique;
	return count;
}

const char *log_level_name(enum gpusvm_log_level level)
{
	switch (level) {
	case GPUSVM_LOG_ERROR:
		return "error";
	case GPUSVM_LOG_WARNING:
		return "warning";
	case GPUSVM_LOG_INFO:
		return "info";
	default:
		return "debug";
	}
}

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

void library_open(struct library_info *library, bool killed, size_t pool_bytes)
{
	library->node = -1;
	library->check_err = NOT_TRIED;
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_INFO);
	library->open_err = killed ? -EPERM
				   : gpusvm_mm_open(&library->mm, NULL);
	if (!library->open_err)
		library->features = gpusvm_mm_features(library->mm);
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
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
}
