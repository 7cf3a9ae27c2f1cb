/* SPDX-License-Identifier: MIT */
/*
 * The fake driver's device: its DMA mapping, its memory with an allocator, the
 * copy callbacks, and the device's own reads and writes.
 */
#include "fake_driver.h"
#include "fake_internal.h"

#include <gpusvm/copy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DEVMEM_BYTES (8ul << 20)
/* What free device memory contains: data read too late shows. */
#define POISON 0xdb

int fake_tid(void)
{
	return (int)syscall(SYS_gettid);
}

/* ---- DMA mapping of system memory ---- */

static int dma_map(struct device *dev, unsigned long addr, size_t size,
		   enum dma_data_direction dir, dma_addr_t *dma_addr,
		   void *priv)
{
	struct fake_driver *d = priv;
	struct fake_map map = {
		.dma = true, .pfn = addr, .bytes = size, .dir = dir, .dev = dev
	};
	int err;

	fake_run_hook(d, FAKE_AT_DMA_MAP, NULL);
	err = fake_fault_fire(&d->fail_dma_map);
	if (err)
		return err;
	*dma_addr = addr + FAKE_DMA_OFFSET;
	map.addr = *dma_addr;
	fake_count(&d->dma_maps);
	fake_record_map(d, &map);
	return 0;
}

static void dma_unmap(struct device *dev, dma_addr_t dma_addr, size_t size,
		      enum dma_data_direction dir, void *priv)
{
	struct fake_driver *d = priv;
	struct fake_map map = { .unmap = true,
				.dma = true,
				.pfn = dma_addr - FAKE_DMA_OFFSET,
				.addr = dma_addr,
				.bytes = size,
				.dir = dir,
				.dev = dev };

	fake_count(&d->dma_unmaps);
	fake_record_map(d, &map);
}

static const struct gpusvm_dma_ops dma_ops = {
	.name = "fake",
	.map = dma_map,
	.unmap = dma_unmap,
};

/* ---- Mapping of device memory ---- */

static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum dma_data_direction dir)
{
	struct fake_driver *d =
		container_of(dpagemap, struct fake_driver, dpagemap);
	unsigned long pfn = gpusvm_page_to_pfn(page);
	struct fake_map map = {
		.pfn = pfn, .bytes = PS << order, .dir = dir, .dev = dev
	};

	fake_run_hook(d, FAKE_AT_DEVICE_MAP, page);
	if (fake_fault_fire(&d->fail_device_map))
		return drm_pagemap_device_addr_encode(
			(dma_addr_t)~0ull,
			(enum drm_interconnect_protocol)FAKE_PROTO, order, dir);
	map.addr = FAKE_DEVICE_BASE;
	if (d->pagemap.type == MEMORY_DEVICE_COHERENT)
		map.addr += (unsigned long)gpusvm_page_address(page);
	else
		map.addr += pfn * PS - (unsigned long)d->devmem;
	fake_count(&d->device_maps);
	fake_record_map(d, &map);
	return drm_pagemap_device_addr_encode(
		map.addr, (enum drm_interconnect_protocol)FAKE_PROTO, order,
		dir);
}

static void device_unmap(struct drm_pagemap *dpagemap, struct device *dev,
			 struct drm_pagemap_device_addr addr)
{
	struct fake_driver *d =
		container_of(dpagemap, struct fake_driver, dpagemap);
	struct fake_map map = { .unmap = true,
				.addr = addr.addr,
				.bytes = PS << addr.order,
				.dir = (enum dma_data_direction)addr.dir,
				.dev = dev };

	map.pfn =
		(addr.addr - FAKE_DEVICE_BASE + (unsigned long)d->devmem) / PS;
	fake_count(&d->device_unmaps);
	fake_record_map(d, &map);
}

/* ---- Allocator ---- */

static bool run_is_free(struct fake_driver *d, unsigned long first,
			unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		if (d->devmem_used[first + i])
			return false;
	return true;
}

/* First fit, naturally aligned; the number of pages if there is none. */
static unsigned long find_run(struct fake_driver *d, unsigned long npages)
{
	unsigned long total = d->devmem_bytes / PS;
	unsigned long first;

	for (first = 0; first + npages <= total; first += npages)
		if (run_is_free(d, first, npages))
			return first;
	return total;
}

static struct fake_alloc *find_slot(struct fake_driver *d)
{
	unsigned int i;

	for (i = 0; i < FAKE_MAX_ALLOCS; i++) {
		struct fake_alloc *alloc =
			&d->allocs[d->next_alloc++ % FAKE_MAX_ALLOCS];

		if (alloc->state == FAKE_ALLOC_FREE ||
		    alloc->state == FAKE_ALLOC_RELEASED)
			return alloc;
	}
	return NULL;
}

static unsigned long page_index(struct fake_alloc *alloc, unsigned long i)
{
	return (unsigned long)((long)alloc->first + (long)i * alloc->step);
}

struct fake_alloc *fake_alloc_create(struct fake_driver *d, size_t size)
{
	unsigned long npages = (size + PS - 1) / PS;
	struct fake_alloc *alloc;
	unsigned long first, i;

	pthread_mutex_lock(&d->devmem_lock);
	first = find_run(d, npages);
	alloc = first < d->devmem_bytes / PS ? find_slot(d) : NULL;
	if (alloc) {
		memset(alloc, 0, sizeof(*alloc));
		alloc->driver = d;
		alloc->state = FAKE_ALLOC_OWNED;
		alloc->npages = npages;
		alloc->first = d->scatter ? first + npages - 1 : first;
		alloc->step = d->scatter ? -1 : 1;
		for (i = first; i < first + npages; i++) {
			d->devmem_used[i] = 1;
			d->devmem_homecomings[i] = 0;
		}
		memset(d->devmem + first * PS, 0, npages * PS);
	}
	pthread_mutex_unlock(&d->devmem_lock);
	if (alloc)
		drm_gpusvm_devmem_init(&alloc->base, d->dev, test_mm,
				       d->devmem_ops, &d->dpagemap, size);
	return alloc;
}

/*
 * Not seen by the thread sanitizer: that a test has read the memory before the
 * CPU brought it home is ordered by the kernel, and a report of each byte takes
 * minutes.
 */
__attribute__((no_sanitize_thread)) static void poison(unsigned char *mem,
						       size_t size)
{
	volatile unsigned char *at;

	for (at = mem; at < mem + size; at++)
		*at = POISON;
}

static void free_pages(struct fake_alloc *alloc, enum fake_alloc_state state)
{
	struct fake_driver *d = alloc->driver;
	unsigned long i;

	pthread_mutex_lock(&d->devmem_lock);
	for (i = 0; i < alloc->npages; i++) {
		unsigned long index = page_index(alloc, i);

		d->devmem_used[index] = 0;
		poison(d->devmem + index * PS, PS);
	}
	alloc->state = state;
	pthread_mutex_unlock(&d->devmem_lock);
}

void fake_alloc_drop(struct fake_alloc *alloc)
{
	free_pages(alloc, FAKE_ALLOC_RELEASED);
}

unsigned char *fake_alloc_page(struct fake_alloc *alloc, unsigned long i)
{
	return gpusvm_page_address(fake_alloc_struct_page(alloc, i));
}

struct page *fake_alloc_struct_page(struct fake_alloc *alloc, unsigned long i)
{
	unsigned long first = (unsigned long)alloc->driver->devmem / PS;

	return gpusvm_pfn_to_page(first + page_index(alloc, i));
}

unsigned int fake_alloc_homecomings(struct fake_alloc *alloc, unsigned long i)
{
	return alloc->driver->devmem_homecomings[page_index(alloc, i)];
}

unsigned long fake_devmem_used(struct fake_driver *d)
{
	unsigned long i, count = 0;

	pthread_mutex_lock(&d->devmem_lock);
	for (i = 0; i < d->devmem_bytes / PS; i++)
		count += d->devmem_used[i];
	pthread_mutex_unlock(&d->devmem_lock);
	return count;
}

/* ---- Callbacks for an allocation ---- */

static struct fake_alloc *to_alloc(struct drm_gpusvm_devmem *devmem)
{
	return container_of(devmem, struct fake_alloc, base);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	struct fake_alloc *alloc = to_alloc(devmem);
	struct fake_driver *d = alloc->driver;

	d->releasing++;
	alloc->detached_at_release = gpusvm_completion_done(&devmem->detached);
	alloc->release_number = fake_number(d);
	fake_run_hook(d, FAKE_AT_RELEASE, alloc);
	/* A second release would free somebody else's pages. */
	if (fake_count(&alloc->released) == 0)
		free_pages(alloc, FAKE_ALLOC_RELEASED);
	fake_count(&d->releases);
	d->releasing--;
}

static int populate(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		    unsigned long *pfn)
{
	struct fake_alloc *alloc = to_alloc(devmem);
	struct fake_driver *d = alloc->driver;
	unsigned long i;
	int err;

	fake_run_hook(d, FAKE_AT_POPULATE, alloc);
	fake_count(&d->populates);
	fake_count(&alloc->populated);
	err = fake_fault_fire(&d->fail_populate);
	if (err)
		return err;
	for (i = 0; i < npages; i++)
		pfn[i] = (unsigned long)d->devmem / PS + page_index(alloc, i);
	return 0;
}

static struct fake_driver *driver_of_pages(struct page **pages,
					   unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		if (pages[i])
			return fake_driver_of_pagemap(
				gpusvm_page_pagemap(pages[i]));
	return NULL;
}

static void record_entry(struct fake_copy *copy, unsigned long i, bool page,
			 bool addr)
{
	unsigned long word = i / (8 * sizeof(long));
	unsigned long bit = 1ul << (i % (8 * sizeof(long)));

	if (page && addr)
		copy->copied++;
	else if (page)
		copy->holes++;
	else
		copy->nopage++;
	if (i >= FAKE_COPY_PAGES)
		return;
	if (page)
		copy->has_page[word] |= bit;
	if (addr)
		copy->has_addr[word] |= bit;
}

static void record_copy(struct fake_driver *d, bool to_ram, struct page **pages,
			const dma_addr_t *dma_addr, unsigned long npages)
{
	struct fake_copy *copy = fake_record_copy(d, to_ram);
	unsigned long i;

	copy->npages = npages;
	for (i = 0; i < npages; i++)
		record_entry(copy, i, pages[i] != NULL, dma_addr[i] != 0);
}

static void *system_memory(dma_addr_t addr)
{
	if (addr >= FAKE_DMA_OFFSET)
		addr -= FAKE_DMA_OFFSET;
	return (void *)(uintptr_t)addr;
}

/* The ready engines know no addresses but the CPU's. */
static bool to_cpu_addresses(dma_addr_t *dma_addr, unsigned long npages)
{
	bool mapped = false;
	unsigned long i;

	for (i = 0; i < npages; i++) {
		if (dma_addr[i] < FAKE_DMA_OFFSET)
			continue;
		dma_addr[i] -= FAKE_DMA_OFFSET;
		mapped = true;
	}
	return mapped;
}

static int copy_by_engine(int (*copy)(struct page **pages, dma_addr_t *dma_addr,
				      unsigned long npages),
			  struct page **pages, dma_addr_t *dma_addr,
			  unsigned long npages)
{
	bool mapped = to_cpu_addresses(dma_addr, npages);
	int err = copy(pages, dma_addr, npages);
	unsigned long i;

	for (i = 0; mapped && i < npages; i++)
		if (dma_addr[i])
			dma_addr[i] += FAKE_DMA_OFFSET;
	return err;
}

static int copy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			  unsigned long npages)
{
	struct fake_driver *d = driver_of_pages(pages, npages);
	unsigned long i;
	int err;

	if (!d)
		return 0;
	fake_run_hook(d, FAKE_AT_COPY_TO_DEVMEM, NULL);
	fake_count(&d->copies_to_devmem);
	record_copy(d, false, pages, dma_addr, npages);
	err = fake_fault_fire(&d->fail_copy_to_devmem);
	if (err)
		return err;
	if (d->pagemap.engine)
		return copy_by_engine(gpusvm_copy_to_devmem, pages, dma_addr,
				      npages);
	for (i = 0; i < npages; i++)
		if (pages[i] && dma_addr[i])
			memcpy(gpusvm_page_address(pages[i]),
			       system_memory(dma_addr[i]), PS);
	return 0;
}

static int copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
		       unsigned long npages)
{
	struct fake_driver *d = driver_of_pages(pages, npages);
	unsigned long i;
	int err;

	if (!d)
		return 0;
	fake_run_hook(d, FAKE_AT_COPY_TO_RAM, NULL);
	fake_count(&d->copies_to_ram);
	record_copy(d, true, pages, dma_addr, npages);
	err = fake_fault_fire(&d->fail_copy_to_ram);
	if (!err && d->pagemap.engine)
		err = copy_by_engine(gpusvm_copy_to_ram, pages, dma_addr,
				     npages);
	if (err)
		return err;
	for (i = 0; i < npages; i++) {
		unsigned char *source;
		unsigned long index;

		if (!pages[i] || !dma_addr[i])
			continue;
		source = gpusvm_page_address(pages[i]);
		if (!d->pagemap.engine)
			memcpy(system_memory(dma_addr[i]), source, PS);
		index = (unsigned long)(source - d->devmem) / PS;
		fake_count(&d->devmem_homecomings[index]);
	}
	return 0;
}

const struct drm_gpusvm_devmem_ops fake_devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram,
};

/* ---- Life ---- */

struct fake_driver *fake_driver_of_pagemap(struct dev_pagemap *pagemap)
{
	return container_of(pagemap, struct fake_driver, pagemap);
}

/* In a file, which every engine can reach, in the place of what is there. */
static void map_file(struct fake_driver *d)
{
	d->file.fd = memfd_create("fake device memory", MFD_CLOEXEC);
	assert_true(d->file.fd >= 0);
	d->file.mapped = true;
	assert_int_equal(ftruncate(d->file.fd, (off_t)d->devmem_bytes), 0);
	assert_ptr_equal(mmap(d->devmem, d->devmem_bytes,
			      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			      d->file.fd, 0),
			 d->devmem);
	d->pagemap.file = &d->file;
	d->pagemap.engine = test_engine;
}

/* Device memory: page aligned to 2 MiB, excluded, described by the pagemap. */
static void create_devmem(struct fake_driver *d,
			  const struct fake_driver_config *config)
{
	size_t bytes = config->devmem_bytes ? config->devmem_bytes
					    : DEVMEM_BYTES;
	const char *nodes = getenv("GPUSVM_TEST_COHERENT");
	unsigned long start;
	char *map;

	map = mmap(NULL, bytes + SZ_2M, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	start = ((unsigned long)map + SZ_2M - 1) & ~(SZ_2M - 1);
	if (start > (unsigned long)map)
		munmap(map, start - (unsigned long)map);
	if ((unsigned long)map + SZ_2M > start)
		munmap((void *)(start + bytes),
		       (unsigned long)map + SZ_2M - start);
	d->devmem = (unsigned char *)start;
	d->devmem_bytes = bytes;
	assert_ret(gpusvm_exclude(d->devmem, bytes), 0);
	if (test_engine)
		map_file(d);

	d->devmem_used = gpusvm_alloc(bytes / PS * sizeof(*d->devmem_used));
	d->devmem_homecomings =
		gpusvm_alloc(bytes / PS * sizeof(*d->devmem_homecomings));
	d->allocs = gpusvm_alloc(FAKE_MAX_ALLOCS * sizeof(*d->allocs));
	assert_non_null(d->devmem_used);
	assert_non_null(d->devmem_homecomings);
	assert_non_null(d->allocs);

	d->pagemap.nodes = config->coherent_nodes;
	if (!d->pagemap.nodes && nodes)
		d->pagemap.nodes = strtoul(nodes, NULL, 0);
	d->pagemap.type = d->pagemap.nodes ? MEMORY_DEVICE_COHERENT
					   : MEMORY_DEVICE_PRIVATE;
	d->pagemap.ops = drm_gpusvm_pagemap_ops_get();
	d->pagemap.owner = config->pagemap_owner ? config->pagemap_owner
			   : config->owner	 ? config->owner
						 : d;
	d->pagemap.range.start = start;
	d->pagemap.range.end = start + bytes - 1;
	assert_ret(gpusvm_pagemap_add(&d->pagemap), 0);
}

void fake_device_create(struct fake_driver *d,
			const struct fake_driver_config *config)
{
	const struct gpusvm_device_opts opts = {
		.size = sizeof(opts),
		.name = config->name ? config->name : "fake",
		.dma_ops = config->dma ? &dma_ops : NULL,
		.priv = d,
	};

	assert_ret(gpusvm_device_create(&d->dev, &opts), 0);
	assert_ret(gpusvm_drm_device_create(&d->drm, d->dev), 0);
	d->dpagemap_ops.device_map = device_map;
	if (!config->no_device_unmap)
		d->dpagemap_ops.device_unmap = device_unmap;
	d->dpagemap.ops = &d->dpagemap_ops;
	d->dpagemap.dev = d->dev;
	create_devmem(d, config);
}

/* Bring home, or drop, what a test left on the device. */
static void evict_leftovers(struct fake_driver *d)
{
	unsigned int i;

	for (i = 0; i < FAKE_MAX_ALLOCS; i++) {
		struct fake_alloc *alloc = &d->allocs[i];

		if (alloc->state == FAKE_ALLOC_OWNED)
			fake_alloc_drop(alloc);
		else if (alloc->state == FAKE_ALLOC_GIVEN)
			drm_gpusvm_evict_to_ram(&alloc->base);
	}
}

bool fake_device_destroy(struct fake_driver *d)
{
	if (d->allocs) {
		evict_leftovers(d);
		/* A last put may still be on its way on another thread. */
		if (!test_wait_for(fake_devmem_used(d) == 0 && !d->releasing,
				   TEST_WAIT_MS))
			return false;
		if (gpusvm_pagemap_remove(&d->pagemap))
			return false;
	}
	if (d->devmem) {
		gpusvm_include(d->devmem, d->devmem_bytes);
		munmap(d->devmem, d->devmem_bytes);
	}
	if (d->pagemap.file)
		close(d->file.fd);
	gpusvm_free(d->allocs);
	gpusvm_free(d->devmem_homecomings);
	gpusvm_free(d->devmem_used);
	gpusvm_drm_device_destroy(d->drm);
	gpusvm_device_destroy(d->dev);
	return true;
}

/* ---- Migration ---- */

int fake_migrate_to(struct fake_driver *d, struct drm_gpusvm_range *range,
		    struct fake_alloc *alloc)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = d->timeslice_ms };
	int err;

	fake_driver_lock(d);
	gpusvm_mm_read_lock(test_mm);
	/* It may be released before the call returns. */
	alloc->state = FAKE_ALLOC_GIVEN;
	err = drm_gpusvm_migrate_to_devmem(&d->gpusvm, range, &alloc->base,
					   &ctx);
	if (err)
		alloc->state = FAKE_ALLOC_OWNED;
	gpusvm_mm_read_unlock(test_mm);
	fake_driver_unlock(d);
	return err;
}

int fake_migrate(struct fake_driver *d, struct drm_gpusvm_range *range,
		 struct fake_alloc **out)
{
	struct fake_alloc *alloc =
		fake_alloc_create(d, drm_gpusvm_range_size(range));
	int err;

	if (out)
		*out = alloc;
	if (!alloc)
		return -ENOSPC;
	err = fake_migrate_to(d, range, alloc);
	if (err)
		fake_alloc_drop(alloc);
	return err;
}

struct fake_alloc *fake_migrate_span(struct fake_driver *d, void *addr,
				     size_t size)
{
	struct drm_gpusvm_range *range = fake_range_at(d, addr, size);
	struct fake_alloc *alloc;

	assert_ret(fake_migrate(d, range, &alloc), 0);
	fake_remove(d, range);
	return alloc;
}

struct drm_gpusvm_range *fake_dev_range(struct fake_driver *d, void *addr,
					size_t size, struct fake_alloc **alloc)
{
	struct drm_gpusvm_range *range = fake_range_at(d, addr, size);

	assert_ret(fake_migrate(d, range, alloc), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(range->flags.has_devmem_pages);
	return range;
}
