/* SPDX-License-Identifier: MIT */
/* See nodes.h. */
#include "nodes.h"

#include <dirent.h>
#include <gpusvm/copy.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "small_driver.h"

#define NODE "/sys/devices/system/node/node%d/"

int nodes[64];
unsigned int num_nodes;
char last_log[512];

/* ---- The machine ---- */

/* A line of a node's file that begins with @name, or the first one. */
static bool read_line(int node, const char *file, const char *name, char *line,
		      size_t size)
{
	char path[96];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), NODE "%s", node, file);
	f = fopen(path, "r");
	if (!f)
		return false;
	while (!found && fgets(line, (int)size, f))
		found = strstr(line, name) != NULL;
	fclose(f);
	return found;
}

static size_t meminfo(int node, const char *name)
{
	char line[256];

	if (!read_line(node, "meminfo", name, line, sizeof(line)))
		return 0;
	return strtoul(strchr(line, ':') + 1, NULL, 10) << 10;
}

size_t node_free(int node)
{
	return meminfo(node, "MemFree:");
}

bool node_has_cpus(int node)
{
	char line[256];

	return read_line(node, "cpulist", "", line, sizeof(line)) &&
	       line[0] >= '0' && line[0] <= '9';
}

unsigned int node_distance(int from, int to)
{
	char line[1024], *text = line;
	unsigned long distance = 0;
	unsigned int i;

	if (!read_line(from, "distance", "", line, sizeof(line)))
		return 0;
	/* All that are online have memory in these tests. */
	for (i = 0; i < num_nodes && nodes[i] <= to; i++)
		distance = strtoul(text, &text, 10);
	return (unsigned int)distance;
}

void needs_nodes(void)
{
	int node;

	num_nodes = 0;
	for (node = 0; node < 64; node++)
		if (meminfo(node, "MemTotal:"))
			nodes[num_nodes++] = node;
	if (num_nodes < 2)
		test_skip("this machine has one memory node");
}

int this_node(void)
{
	unsigned int node = 0;

	assert_int_equal(syscall(SYS_getcpu, NULL, &node, NULL), 0);
	return (int)node;
}

static void run_anywhere(void *arg)
{
	sched_setaffinity(0, sizeof(cpu_set_t), arg);
}

bool run_on_node(int node)
{
	static cpu_set_t before;
	char line[256];
	cpu_set_t set;

	if (!node_has_cpus(node) ||
	    !read_line(node, "cpulist", "", line, sizeof(line)))
		return false;
	test_forget_cleanup(run_anywhere, &before);
	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&set);
	CPU_SET(strtoul(line, NULL, 10), &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	test_cleanup(run_anywhere, &before);
	return true;
}

void set_policy(void *addr, size_t size, int mode, unsigned long mask)
{
	assert_int_equal(gpusvm_mbind(addr, size, mode, &mask, 65, 0), 0);
}

int node_of(const void *addr)
{
	void *page = (void *)((uintptr_t)addr & ~(PS - 1));
	int status = -1;

	if (syscall(SYS_move_pages, 0, 1ul, &page, NULL, &status, 0))
		return -errno;
	return status;
}

size_t pages_elsewhere(const void *addr, size_t size, unsigned long mask)
{
	size_t at, n = 0;
	int node;

	for (at = 0; at < size; at += PS) {
		node = node_of((const char *)addr + at);
		n += node < 0 || !(mask >> node & 1);
	}
	return n;
}

/* ---- The device ---- */

struct numa_device {
	struct gpusvm_devmem_pool *pool;
	struct drm_gpusvm svm;
	struct drm_pagemap dpagemap;
};

struct numa_alloc {
	struct drm_gpusvm_devmem devmem;
	struct numa_device *device;
	unsigned long pfn;
};

static void release(struct drm_gpusvm_devmem *devmem)
{
	struct numa_alloc *alloc =
		container_of(devmem, struct numa_alloc, devmem);

	gpusvm_devmem_pool_free(alloc->device->pool, alloc->pfn, devmem->size);
	gpusvm_free(alloc);
}

static int populate(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		    unsigned long *pfn)
{
	struct numa_alloc *alloc =
		container_of(devmem, struct numa_alloc, devmem);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = alloc->pfn + i;
	return 0;
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = gpusvm_memcpy_to_ram,
};

static const struct drm_gpusvm_ops svm_ops = {
	.invalidate = small_driver_invalidate,
};

static void keep_log(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)priv;
	if (level == GPUSVM_LOG_ERROR)
		snprintf(last_log, sizeof(last_log), "%s", message);
}

static int create_pool(struct gpusvm_devmem_pool **pool,
		       enum gpusvm_devmem_type type, size_t bytes, int node,
		       unsigned long several, void *owner)
{
	const struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.type = type,
		.bytes = bytes,
		.node = node,
		.nodes = several,
		.owner = owner,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};

	last_log[0] = '\0';
	gpusvm_set_log(keep_log, NULL, GPUSVM_LOG_ERROR);
	return gpusvm_devmem_pool_create(pool, &opts);
}

static void destroy_device(void *arg)
{
	struct numa_device *device = arg;

	drm_gpusvm_fini(&device->svm);
	test_forget_cleanup(destroy_device, device);
	if (gpusvm_devmem_pool_destroy(device->pool))
		print_error("a pool that is in use\n");
	gpusvm_free(device);
}

static struct numa_device *create_device(enum gpusvm_devmem_type type,
					 size_t bytes, int node,
					 unsigned long several)
{
	static unsigned long chunks[3];
	struct numa_device *device = gpusvm_alloc(sizeof(*device));

	chunks[0] = SZ_2M;
	chunks[1] = SZ_64K;
	chunks[2] = PS;
	assert_non_null(device);
	assert_ret(create_pool(&device->pool, type, bytes, node, several,
			       device),
		   0);
	assert_ret(drm_gpusvm_init(&device->svm, "numa", NULL, test_mm, device,
				   0, 1ul << 48, SZ_512M, &svm_ops, chunks, 3),
		   0);
	test_cleanup(destroy_device, device);
	return device;
}

struct numa_device *numa_device_create(size_t bytes, int node,
				       unsigned long several)
{
	return create_device(GPUSVM_DEVMEM_NUMA, bytes, node, several);
}

struct numa_device *numa_coherent_create(size_t bytes, int node,
					 unsigned long several)
{
	return create_device(GPUSVM_DEVMEM_COHERENT, bytes, node, several);
}

struct gpusvm_devmem_pool *numa_device_pool(struct numa_device *device)
{
	return device->pool;
}

static int migrate(struct numa_device *device, struct drm_gpusvm_range *range,
		   struct numa_alloc **alloc)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	size_t size = drm_gpusvm_range_size(range);
	struct numa_alloc *new = gpusvm_alloc(sizeof(*new));
	int err;

	if (!new)
		return -ENOMEM;
	err = gpusvm_devmem_pool_alloc(device->pool, size, &new->pfn);
	if (err) {
		gpusvm_free(new);
		return err;
	}
	new->device = device;
	drm_gpusvm_devmem_init(&new->devmem, NULL, test_mm, &devmem_ops,
			       &device->dpagemap, size);
	gpusvm_mm_read_lock(test_mm);
	err = drm_gpusvm_migrate_to_devmem(&device->svm, range, &new->devmem,
					   &ctx);
	gpusvm_mm_read_unlock(test_mm);
	if (err)
		release(&new->devmem);
	else
		*alloc = new;
	return err;
}

int numa_take(struct numa_device *device, void *addr, size_t size,
	      struct numa_alloc **alloc)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	unsigned long start = (unsigned long)addr;
	struct drm_gpusvm_range *range;

	range = drm_gpusvm_range_find_or_insert(&device->svm, start, start,
						start + size, &ctx);
	if (IS_ERR(range))
		return (int)PTR_ERR(range);
	assert_int_equal(drm_gpusvm_range_size(range), size);
	return migrate(device, range, alloc);
}

unsigned char *numa_alloc_address(const struct numa_alloc *alloc)
{
	return (unsigned char *)(alloc->pfn * PS);
}

int numa_evict(struct numa_alloc *alloc)
{
	return drm_gpusvm_evict_to_ram(&alloc->devmem);
}

static int try_create(enum gpusvm_devmem_type type, size_t bytes, int node,
		      unsigned long several)
{
	static char owner;
	struct gpusvm_devmem_pool *pool;
	int err = create_pool(&pool, type, bytes, node, several, &owner);

	if (!err)
		assert_ret(gpusvm_devmem_pool_destroy(pool), 0);
	return err;
}

int try_pool(size_t bytes, int node, unsigned long several)
{
	return try_create(GPUSVM_DEVMEM_NUMA, bytes, node, several);
}

int try_coherent_pool(size_t bytes, int node, unsigned long several)
{
	return try_create(GPUSVM_DEVMEM_COHERENT, bytes, node, several);
}
