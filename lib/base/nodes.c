/* SPDX-License-Identifier: MIT */
/*
 * What the machine has is read from /sys/devices/system/node; without that
 * there is one node, number 0.
 */
#include "nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "page_size.h"
#include "small_file.h"
#include "sys.h"

#define NODES "/sys/devices/system/node/"

int gpusvm_nodes_count(const struct nodes *nodes)
{
	unsigned long i;
	int n = 0;

	for (i = 0; i < ARRAY_SIZE(nodes->mask); i++)
		n += __builtin_popcountl(nodes->mask[i]);
	return n;
}

int gpusvm_nodes_nth(const struct nodes *nodes, unsigned long n)
{
	int node;

	for (node = 0; node < MAX_NODES; node++)
		if (gpusvm_nodes_has(nodes, node) && !n--)
			return node;
	return -1;
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
			gpusvm_nodes_add(nodes, (int)first);
		text = *end == ',' ? end + 1 : end;
	}
}

void gpusvm_nodes_read(const char *kind, struct nodes *nodes)
{
	char path[64], buf[256];

	snprintf(path, sizeof(path), NODES "%s", kind);
	if (gpusvm_read_small_file(path, buf, sizeof(buf)) <= 0)
		strcpy(buf, "0");
	parse_list(buf, nodes);
}

/* The file has a number for each node that is online, in order. */
unsigned long gpusvm_nodes_distance(int from, int to)
{
	unsigned long distance = 0;
	char path[64], buf[4096];
	struct nodes online;
	char *text = buf;
	int node;

	snprintf(path, sizeof(path), NODES "node%d/distance", from);
	if (gpusvm_read_small_file(path, buf, sizeof(buf)) <= 0)
		return 0;
	gpusvm_nodes_read("online", &online);
	for (node = 0; node <= to && *text; node++)
		if (gpusvm_nodes_has(&online, node))
			distance = strtoul(text, &text, 10);
	return distance;
}

unsigned long gpusvm_nodes_bandwidth(int node)
{
	char path[96], buf[32];

	snprintf(path, sizeof(path),
		 NODES "node%d/access0/initiators/read_bandwidth", node);
	if (gpusvm_read_small_file(path, buf, sizeof(buf)) <= 0)
		return 0;
	return strtoul(buf, NULL, 10);
}

int gpusvm_nodes_local(void)
{
	int node = gpusvm_sys_node();

	return node < 0 ? 0 : node;
}

#define BATCH 256ul

/* Pages of a batch: where they are, and those that are to go elsewhere. */
struct batch {
	void *pages[BATCH];
	int status[BATCH];
	int target[BATCH];
	unsigned long count;
};

static int wanted(const struct placement *placement, unsigned long address)
{
	unsigned long count;

	if (!placement->spread)
		return placement->node;
	count = (unsigned long)gpusvm_nodes_count(&placement->nodes);
	return gpusvm_nodes_nth(&placement->nodes,
				(address >> PAGE_SHIFT) % count);
}

/*
 * Leave in the batch the pages that are elsewhere.  The first is at @start;
 * their place counts as if that was @address.
 */
static int look(struct batch *batch, const struct placement *placement,
		unsigned long start, unsigned long address)
{
	unsigned long i, n = 0;
	int err, node, target;

	err = gpusvm_sys_move_pages(0, batch->count, batch->pages, NULL,
				    batch->status, 0);
	if (err)
		return err;
	for (i = 0; i < batch->count; i++) {
		node = batch->status[i];
		target = wanted(placement,
				address - start +
					(unsigned long)batch->pages[i]);
		if (node < 0 ||
		    (placement->spread
			     ? node == target
			     : gpusvm_nodes_has(&placement->nodes, node)))
			continue;
		batch->pages[n] = batch->pages[i];
		batch->target[n++] = target;
	}
	batch->count = n;
	return 0;
}

static void fill(struct batch *batch, unsigned long start, unsigned long npages,
		 unsigned long step)
{
	unsigned long i;

	batch->count = 0;
	for (i = 0; i < npages; i += step)
		batch->pages[batch->count++] =
			(void *)(start + (i << PAGE_SHIFT));
}

static long place_batch(unsigned long start, unsigned long npages,
			struct placement *placement, unsigned long address,
			unsigned long step)
{
	struct batch batch;
	int err;

	fill(&batch, start, npages, step);
	err = look(&batch, placement, start, address);
	if (!err && batch.count && step > 1) {
		fill(&batch, start, npages, 1);
		err = look(&batch, placement, start, address);
	}
	if (err || !batch.count)
		return err;
	/* To a node given: the kernel makes room there, and kills nobody. */
	err = gpusvm_sys_move_pages(0, batch.count, batch.pages, batch.target,
				    batch.status, MPOL_MF_MOVE);
	placement->err = min(placement->err, err);
	err = look(&batch, placement, start, address);
	return err ? err : (long)batch.count;
}

/*
 * A kernel without nodes has no move_pages(2), and one node, where all is; where
 * there are several somebody keeps us from it.
 */
static int without_call(void)
{
	struct nodes memory;

	gpusvm_nodes_read("has_memory", &memory);
	return gpusvm_nodes_count(&memory) > 1 ? -EPERM : 0;
}

long gpusvm_nodes_place(unsigned long start, unsigned long npages,
			struct placement *placement, unsigned long address,
			unsigned long step)
{
	unsigned long done, n, offset;
	long elsewhere = 0, ret;

	placement->err = 0;
	for (done = 0; done < npages; done += n) {
		n = min(npages - done, BATCH);
		offset = done << PAGE_SHIFT;
		ret = place_batch(start + offset, n, placement,
				  address + offset, step);
		if (ret < 0)
			return ret == -ENOSYS ? without_call() : ret;
		elsewhere += ret;
	}
	return elsewhere;
}

void gpusvm_nodes_find(unsigned long start, unsigned long npages,
		       unsigned long *where)
{
	unsigned long done, n, i;
	struct batch batch;
	int err;

	for (done = 0; done < npages; done += n) {
		n = min(npages - done, BATCH);
		fill(&batch, start + (done << PAGE_SHIFT), n, 1);
		err = gpusvm_sys_move_pages(0, n, batch.pages, NULL,
					    batch.status, 0);
		for (i = 0; i < n; i++)
			where[done + i] = (unsigned long)max(
				err ? -1l : (long)batch.status[i], -1l);
	}
}
