/* SPDX-License-Identifier: MIT */
/*
 * The machine's NUMA nodes: which there are, how far they are, and where pages
 * are and should be.
 */
#ifndef GPUSVM_BASE_NODES_H
#define GPUSVM_BASE_NODES_H

#include <stdbool.h>

#define MAX_NODES 1024

/* From <linux/mempolicy.h>, for those who are built without it. */
#ifndef MPOL_DEFAULT
enum {
	MPOL_DEFAULT,
	MPOL_PREFERRED,
	MPOL_BIND,
	MPOL_INTERLEAVE,
	MPOL_LOCAL,
};
#define MPOL_F_ADDR (1 << 1)
#define MPOL_MF_MOVE (1 << 1)
#endif
/* 5.15, 6.9 */
#define GPUSVM_MPOL_PREFERRED_MANY 5
#define GPUSVM_MPOL_WEIGHTED_INTERLEAVE 6

struct nodes {
	unsigned long mask[MAX_NODES / 64];
};

static inline bool gpusvm_nodes_has(const struct nodes *nodes, int node)
{
	return node >= 0 && node < MAX_NODES &&
	       (nodes->mask[node / 64] & (1ul << (node % 64)));
}

static inline void gpusvm_nodes_add(struct nodes *nodes, int node)
{
	nodes->mask[node / 64] |= 1ul << (node % 64);
}

int gpusvm_nodes_count(const struct nodes *nodes);
/* Number @n, from 0 on; -1 if there are not so many. */
int gpusvm_nodes_nth(const struct nodes *nodes, unsigned long n);

/* Those of a kind ("has_memory", "has_cpu", "online"); 0 if nobody says. */
void gpusvm_nodes_read(const char *kind, struct nodes *nodes);
/* As the firmware tells it: 10 is a node itself; 0 if nobody says. */
unsigned long gpusvm_nodes_distance(int from, int to);
/* Megabytes a second from the nearest CPUs (ACPI HMAT); 0 if nobody says. */
unsigned long gpusvm_nodes_bandwidth(int node);
/* The one of the CPU that the thread runs on, at this moment. */
int gpusvm_nodes_local(void);

/**
 * struct placement - Where pages should be
 * @nodes: Any of these will do
 * @node: The one to take if one is elsewhere
 * @spread: They are to be in turns, the page with address 0 on the first
 * @strict: No other node will do, if these are full
 * @err: Filled: why pages could not be moved at all (-ENOMEM: there is no room),
 *	or 0
 */
struct placement {
	struct nodes nodes;
	int node;
	bool spread;
	bool strict;
	int err;
};

/*
 * Move pages that are elsewhere, as far as that can be done; as if the first was
 * at @address.  With @step only one in so many is looked at, until one is
 * elsewhere.  Returns how many still are, or -errno.  Absent pages are nowhere.
 */
long gpusvm_nodes_place(unsigned long start, unsigned long npages,
			struct placement *placement, unsigned long address,
			unsigned long step);

/*
 * Fill @where with the node of each page; ~0ul for one that is absent, and for
 * all if nobody says.
 */
void gpusvm_nodes_find(unsigned long start, unsigned long npages,
		       unsigned long *where);

#endif /* GPUSVM_BASE_NODES_H */
