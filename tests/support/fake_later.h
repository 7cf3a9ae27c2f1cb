/* SPDX-License-Identifier: MIT */
/*
 * Copies of a fake driver that complete later, by a fence: the callback puts
 * them in a queue, from which a test ends them, in any order and on any thread.
 */
#ifndef TESTS_FAKE_LATER_H
#define TESTS_FAKE_LATER_H

#include "fake_driver.h"

#include <gpusvm/fence.h>

/* For fake_driver.devmem_ops: copies to the device are later; or both are. */
extern const struct drm_gpusvm_devmem_ops fake_later_ops;
extern const struct drm_gpusvm_devmem_ops fake_later_both_ops;

/* A copy that was started; the fence is a reference. */
struct fake_later {
	struct page **pages;
	dma_addr_t *dma_addr;
	unsigned long npages;
	struct gpusvm_fence *fence;
	bool to_ram;
};

/* Copies that were started and not taken. */
unsigned int fake_later_count(void);
/* Copies whose fence a test signalled, since the program began. */
unsigned int fake_later_signalled(void);
/* Take the @i-th, the oldest first; false if there are not so many. */
bool fake_later_take(unsigned int i, struct fake_later *later);
/* Make it, unless @err, and signal; put the fence.  Any thread. */
void fake_later_end(const struct fake_later *later, int err);
/* Both. */
bool fake_later_complete(unsigned int i, int err);
/* All there are. */
void fake_later_complete_all(void);

/*
 * gpusvm_migrate_to_devmem_start() as documented, into an allocation of the
 * caller, which it keeps on failure.  @done is filled with a fence of the
 * caller's, also after a failure.
 */
int fake_later_start(struct fake_driver *d, struct drm_gpusvm_range *range,
		     struct fake_alloc *alloc, struct gpusvm_fence **done);
/*
 * Wait for it, and put it: how the migration ended.  The allocation is the
 * caller's again if that is an error.
 */
int fake_later_wait(struct fake_alloc *alloc, struct gpusvm_fence *done);

#endif /* TESTS_FAKE_LATER_H */
