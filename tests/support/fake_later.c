/* SPDX-License-Identifier: MIT */
/* See fake_later.h. */
#include "fake_later.h"

#include <string.h>

static struct {
	pthread_mutex_t lock;
	struct fake_later queue[FAKE_MAX_ALLOCS];
	unsigned int n;
	fake_counter signalled;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int copy_now(const struct fake_later *later)
{
	if (later->to_ram)
		return fake_devmem_ops.copy_to_ram(
			later->pages, later->dma_addr, later->npages);
	return fake_devmem_ops.copy_to_devmem(later->pages, later->dma_addr,
					      later->npages);
}

static bool push(const struct fake_later *later)
{
	bool pushed;

	pthread_mutex_lock(&all.lock);
	pushed = all.n < FAKE_MAX_ALLOCS;
	if (pushed)
		all.queue[all.n++] = *later;
	pthread_mutex_unlock(&all.lock);
	return pushed;
}

/* What cannot be later is made now. */
static int start(struct fake_later *later)
{
	int err = gpusvm_fence_create(&later->fence);

	if (err)
		return err;
	err = gpusvm_copy_completes(later->pages, later->npages, later->fence);
	if (err) {
		gpusvm_fence_put(later->fence);
		return copy_now(later);
	}
	if (!push(later))
		fake_later_end(later, 0);
	return 0;
}

static int copy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			  unsigned long npages)
{
	struct fake_later later = {
		.pages = pages,
		.dma_addr = dma_addr,
		.npages = npages,
	};

	return start(&later);
}

static int copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
		       unsigned long npages)
{
	struct fake_later later = {
		.pages = pages,
		.dma_addr = dma_addr,
		.npages = npages,
		.to_ram = true,
	};

	return start(&later);
}

static void release(struct drm_gpusvm_devmem *devmem)
{
	fake_devmem_ops.devmem_release(devmem);
}

static int populate(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		    unsigned long *pfn)
{
	return fake_devmem_ops.populate_devmem_pfn(devmem, npages, pfn);
}

static int copy_to_ram_now(struct page **pages, dma_addr_t *dma_addr,
			   unsigned long npages)
{
	return fake_devmem_ops.copy_to_ram(pages, dma_addr, npages);
}

const struct drm_gpusvm_devmem_ops fake_later_ops = {
	.devmem_release = release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram_now,
};

const struct drm_gpusvm_devmem_ops fake_later_both_ops = {
	.devmem_release = release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram,
};

unsigned int fake_later_count(void)
{
	unsigned int n;

	pthread_mutex_lock(&all.lock);
	n = all.n;
	pthread_mutex_unlock(&all.lock);
	return n;
}

unsigned int fake_later_signalled(void)
{
	return all.signalled;
}

bool fake_later_take(unsigned int i, struct fake_later *later)
{
	bool found;

	pthread_mutex_lock(&all.lock);
	found = i < all.n;
	if (found) {
		*later = all.queue[i];
		memmove(&all.queue[i], &all.queue[i + 1],
			(--all.n - i) * sizeof(*later));
	}
	pthread_mutex_unlock(&all.lock);
	return found;
}

void fake_later_end(const struct fake_later *later, int err)
{
	if (!err)
		err = copy_now(later);
	/* First: who waits for the fence may look. */
	all.signalled++;
	gpusvm_fence_signal(later->fence, err);
	gpusvm_fence_put(later->fence);
}

bool fake_later_complete(unsigned int i, int err)
{
	struct fake_later later;

	if (!fake_later_take(i, &later))
		return false;
	fake_later_end(&later, err);
	return true;
}

void fake_later_complete_all(void)
{
	while (fake_later_complete(0, 0))
		;
}

int fake_later_start(struct fake_driver *d, struct drm_gpusvm_range *range,
		     struct fake_alloc *alloc, struct gpusvm_fence **done)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = d->timeslice_ms };
	int err = gpusvm_fence_create(done);

	if (err)
		return err;
	fake_driver_lock(d);
	gpusvm_mm_read_lock(test_mm);
	/* It may be released before the call returns. */
	alloc->state = FAKE_ALLOC_GIVEN;
	err = gpusvm_migrate_to_devmem_start(&d->gpusvm, range, &alloc->base,
					     &ctx, *done);
	if (err)
		alloc->state = FAKE_ALLOC_OWNED;
	gpusvm_mm_read_unlock(test_mm);
	fake_driver_unlock(d);
	return err;
}

int fake_later_wait(struct fake_alloc *alloc, struct gpusvm_fence *done)
{
	int err = gpusvm_fence_wait(done);

	gpusvm_fence_put(done);
	if (err)
		alloc->state = FAKE_ALLOC_OWNED;
	return err;
}
