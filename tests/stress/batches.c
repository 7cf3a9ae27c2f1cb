/* SPDX-License-Identifier: MIT */
/* See batches.h. */
#include "batches.h"

#include <errno.h>

#include "fake_batch.h"

#define MOST 40u

/* Neighbours from @at on; the driver lock is held. */
static void gather(struct fake_batch *batch, unsigned char *at,
		   unsigned char *end)
{
	unsigned int most = 1 + (unsigned int)test_random_below(MOST);
	struct drm_gpusvm_range *range;

	for (; at < end && batch->n < most;
	     at = (unsigned char *)drm_gpusvm_range_end(range)) {
		range = fake_fault_devmem(batch->d, at);
		if (IS_ERR(range))
			return;
		if (!range->flags.unmapped && !fake_batch_add(batch, range))
			return;
	}
}

/* The mapping changed, or it is on the device, or there was no memory. */
static bool is_expected(int err)
{
	return err == -EBUSY || err == -EFAULT || err == -ENOENT ||
	       err == -EINVAL || err == -ENOMEM;
}

/* The first error, and of each range what is said of it. */
static void account(const struct fake_batch *batch, int err,
		    struct batches_result *result)
{
	int first = 0, each;
	unsigned int i;

	for (i = 0; i < batch->n; i++) {
		each = batch->entry[i].err;
		first = first ? first : each;
		result->migrations += !each;
		result->stayed += each != 0;
		if (each && !is_expected(each)) {
			print_error("a range of a batch ended with %d\n", each);
			result->wrong++;
		}
	}
	if (err != first) {
		print_error("a batch ended with %d, not %d\n", err, first);
		result->wrong++;
	}
}

void batches_run(struct fake_driver *d, unsigned char *mem, size_t size,
		 bool (*is_over)(void *arg), void *arg,
		 struct batches_result *result)
{
	static struct fake_batch batch;
	unsigned int i;

	while (!is_over(arg)) {
		batch.d = d;
		batch.n = 0;
		fake_driver_lock(d);
		fake_collect(d);
		gather(&batch, mem + test_random_below(size), mem + size);
		account(&batch, fake_batch_migrate(&batch), result);
		fake_driver_unlock(d);
		result->batches++;
		/* They may have come home already, or be held by a fork. */
		for (i = 0; i < batch.n; i++)
			if (batch.alloc[i] && test_random_below(4) == 0)
				drm_gpusvm_evict_to_ram(&batch.alloc[i]->base);
	}
}
