/* SPDX-License-Identifier: MIT */
/*
 * A machine with NUMA nodes, as files and answers: what the tests of
 * lib/devmem/ share.
 */
#ifndef TESTS_UNIT_NODES_H
#define TESTS_UNIT_NODES_H

#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

#include "compiler.h"
#include "fake_sys.h"
#include "page_size.h"

#define NODES "/sys/devices/system/node/"

/* The node that mbind() was last told, and where move_pages() says pages are */
static int bound_node;
static int found_node;

static inline bool bind_memory(const unsigned long *args, long *ret)
{
	const unsigned long *mask = (const unsigned long *)args[3];
	unsigned int i;

	for (i = 0; i < args[4]; i++)
		if (mask[i / 64] & (1ul << (i % 64)))
			bound_node = (int)i;
	*ret = 0;
	return true;
}

static inline bool tell_node(const unsigned long *args, long *ret)
{
	unsigned long i;

	for (i = 0; i < args[1]; i++)
		((int *)args[4])[i] = found_node < 0 ? bound_node : found_node;
	*ret = 0;
	return true;
}

static inline bool on_node_0(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = 0;
	return true;
}

/* One node, with CPUs and plenty of memory. */
static inline void one_node(void)
{
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_MBIND, bind_memory);
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, tell_node);
	fake_sys_hook(FAKE_SYS_NODE, on_node_0);
	bound_node = -1;
	found_node = -1;
	fake_sys_file(NODES "has_memory", "0\n");
	fake_sys_file(NODES "has_cpu", "0\n");
	fake_sys_file(NODES "online", "0\n");
	fake_sys_file(NODES "node0/distance", "10\n");
	fake_sys_file(NODES "node0/meminfo",
		      "Node 0 MemTotal:       16000000 kB\n"
		      "Node 0 MemFree:        15000000 kB\n"
		      "Node 0 MemUsed:         1000000 kB\n");
}

#endif /* TESTS_UNIT_NODES_H */
