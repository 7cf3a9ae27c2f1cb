/* SPDX-License-Identifier: MIT */
/* The driver behind the measures: see rig.h. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include <gpusvm/copy.h>
#include <gpusvm/pagemap.h>

#define VA_END (1ul << 48)
#define NOTIFIER_SIZE (512 * MIB)

/* Memory that keeps changing, or is busy for longer, is an error. */
#define TRIES 10

static size_t pte_index(const struct rig *rig, uintptr_t addr)
{
	return (addr - (uintptr_t)rig->data.start) / gpusvm_page_size();
}

/* The device must not use what the event is about from now on. */
static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	struct rig *rig = gpusvm_container_of(svm, struct rig, svm);
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, event->start, event->end) {
		memset(&rig->pte[pte_index(rig, drm_gpusvm_range_start(range))],
		       0,
		       drm_gpusvm_range_size(range) / gpusvm_page_size() *
			       sizeof(rig->pte[0]));
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
		if (event->event == GPUSVM_MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, event);
	}
}

static struct slot *to_slot(struct drm_gpusvm_devmem *devmem)
{
	return gpusvm_container_of(devmem, struct slot, devmem);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	gpusvm_complete_all(&to_slot(devmem)->released);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = to_slot(devmem)->pfn + i;
	return 0;
}

static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode(
		(uintptr_t)gpusvm_page_address(page), DRM_INTERCONNECT_DRIVER,
		order, dir);
}

static const struct drm_gpusvm_ops svm_ops = { .invalidate = invalidate };

static const struct drm_pagemap_ops map_ops = { .device_map = device_map };

/* The one place where an engine is chosen. */
static const struct drm_gpusvm_devmem_ops engines[ENGINES] = {
	[ENGINE_MEMCPY] = {
		.devmem_release = devmem_release,
		.populate_devmem_pfn = populate_devmem_pfn,
		.copy_to_devmem = gpusvm_memcpy_to_devmem,
		.copy_to_ram = gpusvm_memcpy_to_ram,
	},
	[ENGINE_BEST] = {
		.devmem_release = devmem_release,
		.populate_devmem_pfn = populate_devmem_pfn,
		.copy_to_devmem = gpusvm_stream_to_devmem,
		.copy_to_ram = gpusvm_stream_to_ram,
	},
};

static int create_data(struct rig *rig, const struct rig_opts *opts)
{
	size_t size = opts->chunk * opts->count;
	int err;

	err = area_create(&rig->data, size, opts->huge);
	if (err || opts->no_devmem)
		return err;
	area_fill(&rig->data);
	if (opts->huge && area_huge_bytes(&rig->data) < size)
		return because(SKIPPED, "the kernel gave no huge pages");
	return 0;
}

static int create_pool(struct rig *rig, const struct rig_opts *opts)
{
	struct gpusvm_devmem_pool_opts pool_opts = {
		.size = sizeof(pool_opts),
		.bytes = opts->chunk * opts->count + opts->devmem,
		.node = -1,
		.owner = rig,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	int err;

	if (opts->no_devmem)
		return 0;
	err = gpusvm_devmem_pool_create(&rig->pool, &pool_opts);
	if (err)
		return because(SKIPPED, "no device memory: %s", strerror(-err));
	if (!opts->devmem)
		return 0;
	rig->base_bytes = opts->devmem;
	return gpusvm_devmem_pool_alloc(rig->pool, opts->devmem,
					&rig->base_pfn);
}

static int open_mm(struct rig *rig, const struct rig_opts *opts)
{
	struct gpusvm_mm_opts mm_opts = {
		.size = sizeof(mm_opts),
		.technique = opts->technique,
		.source = opts->source,
	};
	int err = gpusvm_mm_open(&rig->mm, &mm_opts);

	if (err == -EPERM || err == -ENOSYS || err == -EOPNOTSUPP)
		return because(SKIPPED,
			       "the library cannot be used here so: %s",
			       strerror(-err));
	if (err)
		return err;
	if (!(gpusvm_mm_features(rig->mm) & GPUSVM_FEATURE_CPU_FAULTS))
		return because(SKIPPED, "the source does not serve CPU faults");
	return 0;
}

static int create_parts(struct rig *rig, const struct rig_opts *opts)
{
	size_t i;
	int err;

	rig->pte = gpusvm_alloc(opts->count * opts->chunk / gpusvm_page_size() *
				sizeof(rig->pte[0]));
	rig->slot = gpusvm_alloc(opts->count * sizeof(rig->slot[0]));
	rig->entry = gpusvm_alloc(opts->count * sizeof(rig->entry[0]));
	if (!rig->pte || !rig->slot || !rig->entry)
		return -ENOMEM;
	for (i = 0; i < opts->count; i++)
		rig->slot[i].rig = rig;
	err = create_data(rig, opts);
	if (!err)
		err = create_pool(rig, opts);
	if (!err)
		err = drm_gpusvm_init(&rig->svm, "gpusvm-bench", NULL, rig->mm,
				      rig, 0, VA_END, NOTIFIER_SIZE, &svm_ops,
				      &rig->chunk, 1);
	return err;
}

/* A rig that is half made is left to the end of the process. */
int rig_create(struct rig **out, const struct rig_opts *opts)
{
	struct rig *rig = gpusvm_alloc(sizeof(*rig));
	int err;

	if (!rig)
		return -ENOMEM;
	rig->chunk = opts->chunk;
	rig->count = opts->count;
	rig->ops = &engines[opts->engine];
	rig->dpagemap.ops = &map_ops;
	err = open_mm(rig, opts);
	if (!err)
		err = create_parts(rig, opts);
	*out = rig;
	return err;
}

int rig_destroy(struct rig *rig)
{
	int err;

	drm_gpusvm_fini(&rig->svm);
	err = gpusvm_mm_close(rig->mm);
	if (err)
		return err;
	if (rig->base_bytes)
		gpusvm_devmem_pool_free(rig->pool, rig->base_pfn,
					rig->base_bytes);
	err = gpusvm_devmem_pool_destroy(rig->pool);
	area_destroy(&rig->data);
	gpusvm_free(rig->entry);
	gpusvm_free(rig->slot);
	gpusvm_free(rig->pte);
	gpusvm_free(rig);
	return err;
}

uint8_t *rig_data(const struct rig *rig, size_t i)
{
	return rig->data.start + i * rig->chunk;
}

static uint8_t *pfn_address(unsigned long pfn)
{
	return gpusvm_page_address(gpusvm_pfn_to_page(pfn));
}

uint8_t *rig_device_data(const struct rig *rig, size_t i)
{
	return pfn_address(rig->slot[i].pfn);
}

uint8_t *rig_base_devmem(const struct rig *rig)
{
	return pfn_address(rig->base_pfn);
}

struct drm_gpusvm_range *rig_find(struct rig *rig, uintptr_t addr,
				  const struct drm_gpusvm_ctx *ctx)
{
	return drm_gpusvm_range_find_or_insert(&rig->svm, addr, 0, VA_END, ctx);
}

int rig_commit(struct rig *rig, struct drm_gpusvm_range *range)
{
	size_t done = 0, n = drm_gpusvm_range_size(range) / gpusvm_page_size();
	const struct drm_pagemap_device_addr *entry;
	uint64_t *pte;
	size_t i;

	drm_gpusvm_notifier_lock(&rig->svm);
	if (!drm_gpusvm_range_pages_valid(&rig->svm, range)) {
		drm_gpusvm_notifier_unlock(&rig->svm);
		return -EAGAIN;
	}
	pte = &rig->pte[pte_index(rig, drm_gpusvm_range_start(range))];
	for (entry = range->dma_addr; done < n; entry++)
		for (i = 0; i < 1ul << entry->order; i++, done++)
			pte[done] = (entry->addr + i * gpusvm_page_size()) | 1;
	drm_gpusvm_notifier_unlock(&rig->svm);
	return 0;
}

int rig_insert(struct rig *rig, size_t i)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	struct drm_gpusvm_range *range;

	range = rig_find(rig, (uintptr_t)rig_data(rig, i), &ctx);
	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);
	rig->slot[i].range = range;
	return 0;
}

void rig_remove(struct rig *rig, size_t i)
{
	drm_gpusvm_range_remove(&rig->svm, rig->slot[i].range);
	rig->slot[i].range = NULL;
}

static void free_device_pages(struct rig *rig, size_t i)
{
	gpusvm_devmem_pool_free(rig->pool, rig->slot[i].pfn, rig->chunk);
}

static void init_slot(struct rig *rig, struct slot *slot)
{
	gpusvm_init_completion(&slot->released);
	drm_gpusvm_devmem_init(&slot->devmem, NULL, rig->mm, rig->ops,
			       &rig->dpagemap, rig->chunk);
}

static int out_once(struct rig *rig, struct slot *slot)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	int err;

	init_slot(rig, slot);
	gpusvm_mm_read_lock(rig->mm);
	err = drm_gpusvm_migrate_to_devmem(&rig->svm, slot->range,
					   &slot->devmem, &ctx);
	gpusvm_mm_read_unlock(rig->mm);
	return err;
}

int rig_out(struct rig *rig, size_t i)
{
	struct slot *slot = &rig->slot[i];
	int tries, err;

	err = gpusvm_devmem_pool_alloc(rig->pool, rig->chunk, &slot->pfn);
	if (err)
		return err;
	for (tries = 0; tries < TRIES; tries++) {
		err = out_once(rig, slot);
		if (err != -EAGAIN && err != -EBUSY)
			break;
	}
	if (err)
		free_device_pages(rig, i);
	return err;
}

/* Those that stayed are the first *@n entries afterwards. */
static int out_all_once(struct rig *rig, size_t *n)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	size_t i, stayed = 0;
	int err;

	for (i = 0; i < *n; i++)
		init_slot(rig, to_slot(rig->entry[i].devmem));
	gpusvm_mm_read_lock(rig->mm);
	err = gpusvm_migrate_batch_to_devmem(&rig->svm, rig->entry, *n, &ctx);
	gpusvm_mm_read_unlock(rig->mm);
	for (i = 0; i < *n; i++)
		if (rig->entry[i].err)
			rig->entry[stayed++] = rig->entry[i];
	*n = stayed;
	return err;
}

int rig_out_all(struct rig *rig, size_t first, size_t n)
{
	struct slot *slot = &rig->slot[first];
	int tries, err = 0;
	size_t i;

	for (i = 0; !err && i < n; i++, slot++) {
		err = gpusvm_devmem_pool_alloc(rig->pool, rig->chunk,
					       &slot->pfn);
		rig->entry[i] = (struct gpusvm_batch_entry){
			.range = slot->range,
			.devmem = &slot->devmem,
		};
	}
	if (err)
		return err;
	for (tries = 0; tries < TRIES; tries++) {
		err = out_all_once(rig, &n);
		if (err != -EAGAIN && err != -EBUSY)
			break;
	}
	return err;
}

int rig_map(struct rig *rig, size_t i)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	struct drm_gpusvm_range *range = rig->slot[i].range;
	int tries, err = -EAGAIN;

	for (tries = 0; err == -EAGAIN && tries < TRIES; tries++) {
		err = drm_gpusvm_range_get_pages(&rig->svm, range, &ctx);
		if (!err)
			err = rig_commit(rig, range);
	}
	return err;
}

int rig_home(struct rig *rig, size_t i)
{
	int err = drm_gpusvm_evict_to_ram(&rig->slot[i].devmem);

	if (!err)
		rig_reap(rig, i);
	return err;
}

void rig_reap(struct rig *rig, size_t i)
{
	gpusvm_wait_for_completion(&rig->slot[i].released);
	free_device_pages(rig, i);
}
