/* SPDX-License-Identifier: MIT */
/*
 * Taking memory from a NUMA node and finding out where it really is.
 *
 * What the machine has is read from /sys/devices/system/node; placement is
 * asked for by mbind() and verified by move_pages().  Built without numaif.h,
 * or on a kernel without NUMA, there is one node, number 0.
 */
#include "numa.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if GPUSVM_HAVE_NUMA
#include <numaif.h>
#else
#define MPOL_BIND 2
#endif

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "populate.h"
#include "small_file.h"
#include "sys.h"

#define MAX_NODES 1024

struct nodes {
	unsigned long mask[MAX_NODES / 64];
};

static bool has_node(const struct nodes *nodes, int node)
{
	return node >= 0 && node < MAX_NODES &&
	       (nodes->mask[node / 64] & (1ul << (node % 64)));
}

static int count_nodes(const struct nodes *nodes)
{
	unsigned long i;
	int n = 0;

	for (i = 0; i < ARRAY_SIZE(nodes->mask); i++)
		n += __builtin_popcountl(nodes->mask[i]);
	return n;
}

/* A list such as "0-2,5". */
static void parse_list(const char *text, struct nodes *nodes)
{
	unsigned long first, last;
	char *end;

	memset(nodes, 0, sizeof(*nodes));
	while (*text >= '0' && *text <= '9') {
		first = strtoul(text, &end, 10);
		last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
		for (; first <= last && first < MAX_NODES; first++)
			nodes->mask[first / 64] |= 1ul << (first % 64);
		text = *end == ',' ? end + 1 : end;
	}
}

/* Nodes of a kind ("has_memory", "has_cpu"); node 0 if nobody says. */
static void read_nodes(const char *kind, struct nodes *nodes)
{
	char path[64], buf[256];

	snprintf(path, sizeof(path), "/sys/devices/system/node/%s", kind);
	if (gpusvm_read_small_file(path, buf, sizeof(buf)) <= 0)
		strcpy(buf, "0");
	parse_list(buf, nodes);
}

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
 * The distance of @to, as node 0 sees it: its file has a number for each node
 * that is online, in order.
 */
static unsigned long distance_to(const struct nodes *online, int to)
{
	unsigned long distance = 0;
	char buf[4096];
	char *text = buf;
	int node;

	if (gpusvm_read_small_file("/sys/devices/system/node/node0/distance",
				   buf, sizeof(buf)) <= 0)
		return 0;
	for (node = 0; node <= to && *text; node++)
		if (has_node(online, node))
			distance = strtoul(text, &text, 10);
	return distance;
}

/* A node without CPUs is what device memory looks like; then the farthest. */
static int best_node(const struct nodes *memory)
{
	unsigned long score, best_score = 0;
	struct nodes cpus, online;
	int node, best = -1;

	read_nodes("has_cpu", &cpus);
	read_nodes("online", &online);
	for (node = 0; node < MAX_NODES; node++) {
		if (!has_node(memory, node))
			continue;
		score = 1 + distance_to(&online, node) +
			(has_node(&cpus, node) ? 0 : 1ul << 32);
		if (score > best_score) {
			best_score = score;
			best = node;
		}
	}
	return best;
}

static int check_node(const struct nodes *memory, int node, size_t size)
{
	if (!has_node(memory, node)) {
		log_error("device memory: there is no NUMA node %d with "
			  "memory",
			  node);
		return -ENODEV;
	}
	if (size > free_on_node(node)) {
		log_error("device memory: NUMA node %d has %zu bytes free, "
			  "%zu are asked for",
			  node, free_on_node(node), size);
		return -ENOMEM;
	}
	return 0;
}

static int bind_to_node(unsigned long addr, size_t size, int node)
{
	unsigned long mask[MAX_NODES / 64] = { 0 };
	int err;

	mask[node / 64] = 1ul << (node % 64);
	err = gpusvm_sys_mbind(addr, size, MPOL_BIND, mask, MAX_NODES, 0);
	if (!err || err == -ENOSYS)
		return 0;
	log_error("device memory: binding to NUMA node %d failed (error %d): "
		  "is it allowed for this process (cpuset)?",
		  node, -err);
	return -EPERM;
}

/* Where the pages are, looked at one in each huge page and the last. */
static int verify_placement(unsigned long addr, size_t size, int node)
{
	unsigned long step = max(2ul << 20, PAGE_SIZE), offset;
	int status, err;
	void *page;

	for (offset = 0; offset < size + step; offset += step) {
		page = (void *)(addr + min(offset, size - PAGE_SIZE));
		err = gpusvm_sys_move_pages(0, 1, &page, NULL, &status, 0);
		if (err == -ENOSYS)
			return 0;
		if (err || status < 0)
			return err ? err : status;
		if (status != node) {
			log_error("device memory: a page is on NUMA node %d "
				  "instead of %d",
				  status, node);
			return -EXDEV;
		}
	}
	return 0;
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

int gpusvm_numa_take(struct numa_memory *memory, size_t size, int node)
{
	struct nodes nodes;
	int err;

	read_nodes("has_memory", &nodes);
	if (node < 0)
		node = best_node(&nodes);
	err = check_node(&nodes, node, size);
	if (err)
		return err;
	memory->addr = (unsigned long)gpusvm_alloc_pages(size, max(2ul << 20,
								   PAGE_SIZE));
	if (!memory->addr)
		return -ENOMEM;
	memory->size = size;
	memory->node = node;
	memory->emulated = count_nodes(&nodes) == 1;
	err = bind_to_node(memory->addr, size, node);
	if (!err)
		err = populate(memory->addr, size);
	if (!err)
		err = verify_placement(memory->addr, size, node);
	if (err) {
		gpusvm_numa_give_back(memory);
		return err;
	}
	log_info("device memory: %zu bytes on NUMA node %d%s", size, node,
		 memory->emulated ? " (emulated: the only node)" : "");
	return 0;
}

void gpusvm_numa_give_back(struct numa_memory *memory)
{
	gpusvm_free_pages((void *)memory->addr, memory->size);
}
