/* SPDX-License-Identifier: MIT */
/*
 * Taking memory from NUMA nodes, and seeing to it that it is really there.
 *
 * Pages are first asked for where they are preferred and not bound: what is
 * bound to a node that is full has the kernel kill programs (MPOL_BIND) instead of
 * telling.  Those that came from elsewhere are moved, for which the kernel makes
 * room by dropping what it caches of files.  On a kernel without NUMA there is
 * one node, number 0.
 */
#include "numa.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "populate.h"
#include "small_file.h"
#include "sys.h"

/* A number of kilobytes in meminfo, as bytes; 0 if it is not there. */
static size_t meminfo_bytes(const char *meminfo, const char *name)
{
	const char *line = strstr(meminfo, name);

	return line ? strtoul(line + strlen(name), NULL, 10) << 10 : 0;
}

/*
 * Bytes that can be had on a node: free, or cached contents of files.  From its
 * meminfo; SIZE_MAX if nobody says.
 */
static size_t free_on_node(int node)
{
	char path[64], buf[2048];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 node);
	if (gpusvm_read_small_file(path, buf, sizeof(buf)) <= 0)
		return SIZE_MAX;
	if (!strstr(buf, "MemFree:"))
		return SIZE_MAX;
	return meminfo_bytes(buf, "MemFree:") +
	       meminfo_bytes(buf, "Active(file):") +
	       meminfo_bytes(buf, "Inactive(file):");
}

/*
 * A node without CPUs is what device memory looks like: of these the nearest to
 * the caller, and the fastest of equally near ones.  Else the farthest.
 */
static int best_node(const struct nodes *memory)
{
	unsigned long distance, score, best_score = 0;
	int node, best = -1, here = gpusvm_nodes_local();
	struct nodes cpus;

	gpusvm_nodes_read("has_cpu", &cpus);
	for (node = 0; node < MAX_NODES; node++) {
		if (!gpusvm_nodes_has(memory, node))
			continue;
		distance = min(gpusvm_nodes_distance(here, node), 255ul);
		score = 1 + distance;
		if (!gpusvm_nodes_has(&cpus, node))
			score = (256 - distance) << 32 |
				min(gpusvm_nodes_bandwidth(node),
				    (unsigned long)UINT32_MAX);
		if (score > best_score) {
			best_score = score;
			best = node;
		}
	}
	return best;
}

/* One that is asked for and has no memory, or is not there; else -1. */
static int missing_node(const struct numa_memory *memory,
			const struct nodes *with_memory)
{
	int node;

	if (memory->node >= MAX_NODES)
		return memory->node;
	for (node = 0; node < MAX_NODES; node++)
		if (gpusvm_nodes_has(&memory->nodes, node) &&
		    !gpusvm_nodes_has(with_memory, node))
			return node;
	return -1;
}

static int choose_nodes(struct numa_memory *memory, int node,
			unsigned long several)
{
	struct nodes with_memory;

	gpusvm_nodes_read("has_memory", &with_memory);
	memory->emulated = gpusvm_nodes_count(&with_memory) == 1;
	memory->nodes = (struct nodes){ .mask = { several } };
	if (several)
		node = gpusvm_nodes_nth(&memory->nodes, 0);
	else if (node < 0)
		node = best_node(&with_memory);
	memory->node = node;
	if (node < MAX_NODES)
		gpusvm_nodes_add(&memory->nodes, node);
	node = missing_node(memory, &with_memory);
	if (node < 0)
		return 0;
	log_error("device memory: there is no NUMA node %d with memory", node);
	return -ENODEV;
}

static int check_free(const struct numa_memory *memory, size_t size)
{
	int n = gpusvm_nodes_count(&memory->nodes), i, node;
	size_t share = size / (size_t)n;

	for (i = 0; i < n; i++) {
		node = gpusvm_nodes_nth(&memory->nodes, (unsigned long)i);
		if (share <= free_on_node(node))
			continue;
		log_error("device memory: NUMA node %d has %zu bytes free, "
			  "%zu are asked for",
			  node, free_on_node(node), share);
		return -ENOMEM;
	}
	return 0;
}

static bool is_spread(const struct numa_memory *memory)
{
	return gpusvm_nodes_count(&memory->nodes) > 1;
}

static int set_policy(const struct numa_memory *memory, int mode)
{
	int err = gpusvm_sys_mbind(memory->addr, memory->size, mode,
				   memory->nodes.mask, MAX_NODES, 0);

	if (!err || err == -ENOSYS)
		return 0;
	log_error("device memory: the kernel refuses NUMA node %d (error %d): "
		  "is it allowed for this process (cpuset)?",
		  memory->node, -err);
	return -EPERM;
}

/*
 * That a page moves there: the process may not be allowed to move any.  With
 * the node preferred, it mostly is there at once.
 */
static int try_move(const struct numa_memory *memory)
{
	struct placement placement = { .nodes = memory->nodes,
				       .node = memory->node };
	long elsewhere;

	if (gpusvm_populate_pages(memory->addr, PAGE_SIZE, true))
		return -ENOMEM;
	elsewhere = gpusvm_nodes_place(memory->addr, 1, &placement,
				       memory->addr, 1);
	/* It may have been a huge one. */
	gpusvm_sys_madvise(memory->addr, memory->size, MADV_DONTNEED);
	if (!elsewhere)
		return 0;
	log_error("device memory: a page cannot be moved to NUMA node %d "
		  "(error %ld)",
		  memory->node, elsewhere < 0 ? -elsewhere : -placement.err);
	return elsewhere < 0 ? (int)elsewhere : -ENOMEM;
}

/* A forbidden one among several would go unnoticed. */
static int try_each_node(struct numa_memory *memory)
{
	const struct nodes all = memory->nodes;
	int node, err = 0;

	for (node = 0; node < MAX_NODES && !err; node++) {
		if (!gpusvm_nodes_has(&all, node))
			continue;
		memory->nodes = (struct nodes){ 0 };
		gpusvm_nodes_add(&memory->nodes, node);
		memory->node = node;
		err = set_policy(memory, MPOL_PREFERRED);
		if (!err && memory->coherent && !memory->emulated)
			err = try_move(memory);
	}
	memory->nodes = all;
	if (!err)
		memory->node = gpusvm_nodes_nth(&all, 0);
	return err;
}

static int populate(unsigned long addr, size_t size)
{
	int err;

	gpusvm_sys_madvise(addr, size, MADV_HUGEPAGE);
	/* A forked child must not make these pages copy-on-write. */
	err = gpusvm_sys_madvise(addr, size, MADV_DONTFORK);
	if (err)
		return err;
	return gpusvm_populate_pages(addr, size, true) ? -ENOMEM : 0;
}

/* All pages where they were asked for, or an error. */
static int place(const struct numa_memory *memory)
{
	struct placement placement = {
		.nodes = memory->nodes,
		.node = memory->node,
	};
	long elsewhere;

	elsewhere = gpusvm_nodes_place(memory->addr, memory->size >> PAGE_SHIFT,
				       &placement, memory->addr, 1);
	if (elsewhere < 0)
		return (int)elsewhere;
	if (elsewhere) {
		log_error("device memory: %ld pages of %zu bytes are not on "
			  "NUMA node %d, which is full",
			  elsewhere, memory->size, memory->node);
		return -ENOMEM;
	}
	/* Also what the kernel takes away and brings back. */
	return is_spread(memory) ? 0 : set_policy(memory, MPOL_BIND);
}

static int take(struct numa_memory *memory)
{
	int err = try_each_node(memory);

	if (err || memory->coherent)
		return err;
	if (is_spread(memory))
		err = set_policy(memory, MPOL_INTERLEAVE);
	if (!err)
		err = populate(memory->addr, memory->size);
	return err ? err : place(memory);
}

int gpusvm_numa_take(struct numa_memory *memory, size_t size, int node,
		     unsigned long nodes)
{
	int err;

	err = choose_nodes(memory, node, nodes);
	if (!err)
		err = check_free(memory, size);
	if (err)
		return err;
	memory->addr =
		(unsigned long)gpusvm_alloc_pages(size, huge_alignment(size));
	if (!memory->addr)
		return -ENOMEM;
	memory->size = size;
	err = take(memory);
	if (err) {
		gpusvm_numa_give_back(memory);
		return err;
	}
	log_info("device memory: %zu%s bytes on NUMA node %d%s%s", size,
		 memory->coherent ? " coherent" : "", memory->node,
		 is_spread(memory) ? " and others" : "",
		 memory->emulated ? " (emulated: the only node)" : "");
	return 0;
}

void gpusvm_numa_give_back(struct numa_memory *memory)
{
	gpusvm_free_pages((void *)memory->addr, memory->size);
}
