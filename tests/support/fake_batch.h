/* SPDX-License-Identifier: MIT */
/* Batches of a fake driver: gpusvm_migrate_batch_to_devmem() as documented. */
#ifndef TESTS_FAKE_BATCH_H
#define TESTS_FAKE_BATCH_H

#include "fake_driver.h"

#include <gpusvm/batch.h>

#define FAKE_BATCH_MOST 128u

/**
 * struct fake_batch - Ranges that are to go together
 * @d: The driver
 * @n: How many
 * @entry: The entries
 * @alloc: Their allocations; after the call of those that went, else NULL
 */
struct fake_batch {
	struct fake_driver *d;
	unsigned int n;
	struct gpusvm_batch_entry entry[FAKE_BATCH_MOST];
	struct fake_alloc *alloc[FAKE_BATCH_MOST];
};

/*
 * One more, into an allocation of its own; false if there is no room.  Any
 * thread, with the driver lock if the range might be removed.
 */
bool fake_batch_add(struct fake_batch *batch, struct drm_gpusvm_range *range);
/* Both locks; the allocations of those that did not go are dropped. */
int fake_batch_migrate(struct fake_batch *batch);

#endif /* TESTS_FAKE_BATCH_H */
