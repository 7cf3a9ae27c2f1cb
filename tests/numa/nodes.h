/* SPDX-License-Identifier: MIT */
/*
 * The nodes of this machine, where pages are, and a device whose memory is that
 * of nodes.
 */
#ifndef TESTS_NUMA_NODES_H
#define TESTS_NUMA_NODES_H

#include "harness.h"

#include <gpusvm/devmem.h>

/* Nodes with memory, in order, and those of them that have CPUs. */
extern int nodes[64];
extern unsigned int num_nodes;
bool node_has_cpus(int node);
/* As the firmware tells. */
unsigned int node_distance(int from, int to);
/* In bytes, now. */
size_t node_free(int node);

/* Skip the test unless there are several nodes with memory. */
void needs_nodes(void);
/* Have this thread run on a CPU of the node; false if it has none. */
bool run_on_node(int node);
int this_node(void);

/* Memory policy of an area; by gpusvm_mbind() */
void set_policy(void *addr, size_t size, int mode, unsigned long mask);

/* The node of a page, or -errno. */
int node_of(const void *addr);
/* How many of the pages are elsewhere than on the nodes of the mask. */
size_t pages_elsewhere(const void *addr, size_t size, unsigned long mask);
#define assert_on_nodes(addr, size, mask) \
	assert_int_equal(pages_elsewhere((addr), (size), (mask)), 0)

struct numa_device;
struct numa_alloc;

/* Goes away with the test. */
struct numa_device *numa_device_create(size_t bytes, int node,
				       unsigned long several);
/* The same whose memory is coherent. */
struct numa_device *numa_coherent_create(size_t bytes, int node,
					 unsigned long several);
struct gpusvm_devmem_pool *numa_device_pool(struct numa_device *device);
/* Send memory, one range, to the device; 0 or -errno, and what it became. */
int numa_take(struct numa_device *device, void *addr, size_t size,
	      struct numa_alloc **alloc);
/* Where its first byte is. */
unsigned char *numa_alloc_address(const struct numa_alloc *alloc);
int numa_evict(struct numa_alloc *alloc);

/* A pool that cannot be had: the error, and the last log line. */
int try_pool(size_t bytes, int node, unsigned long several);
int try_coherent_pool(size_t bytes, int node, unsigned long several);
extern char last_log[512];

#endif /* TESTS_NUMA_NODES_H */
