/* SPDX-License-Identifier: MIT */
/* See fake_batch.h. */
#include "fake_batch.h"

bool fake_batch_add(struct fake_batch *batch, struct drm_gpusvm_range *range)
{
	struct fake_alloc *alloc;

	if (batch->n == FAKE_BATCH_MOST)
		return false;
	alloc = fake_alloc_create(batch->d, drm_gpusvm_range_size(range));
	if (!alloc)
		return false;
	batch->alloc[batch->n] = alloc;
	batch->entry[batch->n++] = (struct gpusvm_batch_entry){
		.range = range,
		.devmem = &alloc->base,
		/* What the call must overwrite. */
		.err = 1,
	};
	return true;
}

int fake_batch_migrate(struct fake_batch *batch)
{
	struct fake_driver *d = batch->d;
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = d->timeslice_ms };
	unsigned int i;
	int err;

	fake_driver_lock(d);
	gpusvm_mm_read_lock(test_mm);
	/* One may be released before the call returns. */
	for (i = 0; i < batch->n; i++)
		batch->alloc[i]->state = FAKE_ALLOC_GIVEN;
	err = gpusvm_migrate_batch_to_devmem(&d->gpusvm, batch->entry, batch->n,
					     &ctx);
	gpusvm_mm_read_unlock(test_mm);
	fake_driver_unlock(d);
	for (i = 0; i < batch->n; i++) {
		if (!batch->entry[i].err)
			continue;
		batch->alloc[i]->state = FAKE_ALLOC_OWNED;
		fake_alloc_drop(batch->alloc[i]);
		batch->alloc[i] = NULL;
	}
	return err;
}
