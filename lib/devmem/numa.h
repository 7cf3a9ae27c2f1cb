/* SPDX-License-Identifier: MIT */
/* Memory from a NUMA node. */
#ifndef GPUSVM_DEVMEM_NUMA_H
#define GPUSVM_DEVMEM_NUMA_H

#include <stdbool.h>
#include <stddef.h>

#include "nodes.h"

/**
 * struct numa_memory - Populated memory on one node or several
 * @coherent: It is not populated: addresses only, for pages that others move to
 *	the nodes; set by the caller
 * @addr: First address
 * @size: Bytes
 * @node: The node that its pages were found on, or the first of several
 * @nodes: All of them
 * @emulated: The machine has no other node
 */
struct numa_memory {
	bool coherent;
	unsigned long addr;
	size_t size;
	int node;
	struct nodes nodes;
	bool emulated;
};

/*
 * Take @size bytes from those in the mask @nodes by turns; if that is 0 from
 * @node, or from the best node if it is negative.  Errors as
 * gpusvm_devmem_pool_create().
 */
int gpusvm_numa_take(struct numa_memory *memory, size_t size, int node,
		     unsigned long nodes);
void gpusvm_numa_give_back(struct numa_memory *memory);

#endif /* GPUSVM_DEVMEM_NUMA_H */
