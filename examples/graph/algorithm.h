/* SPDX-License-Identifier: MIT */
/*
 * Breadth-first search and PageRank, for the device or for the CPU alone.
 *
 * The steps over all nodes are kernels that run on the device.  What is done
 * between them (counting, redistributing, deciding whether to go on) is plain
 * CPU code on the same arrays.
 */
#ifndef EXAMPLE_ALGORITHM_H
#define EXAMPLE_ALGORITHM_H

#include "gpu.h"
#include "graph.h"

#define UNREACHED UINT32_MAX

struct problem {
	struct gpu *gpu; /* NULL: the CPU runs the kernels, too */
	struct graph graph;
	uint32_t *level; /* result of the search */
	double *rank;	 /* result of PageRank */
	double *next;
	unsigned int rounds;

	/* Told of each level and each round; may be NULL. */
	void (*progress)(struct problem *problem, const char *what);
};

/* Size of the arrays that the device works on. */
size_t problem_bytes(uint64_t nodes, uint64_t edges);
void problem_init(struct problem *problem, unsigned int rounds);
void problem_copy(struct problem *copy, const struct problem *problem);
void problem_free(struct problem *problem);

/* 0, or a negative errno of the device. */
int breadth_first_search(struct problem *problem, uint32_t root);
int pagerank(struct problem *problem);

#endif /* EXAMPLE_ALGORITHM_H */
