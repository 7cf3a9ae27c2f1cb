/* SPDX-License-Identifier: MIT */
/*
 * Breadth-first search and PageRank.
 *
 * Both give the same result to the last bit wherever they run, with any number
 * of workers: in the search all writers of a word write the same value, and in
 * PageRank each node sums up its own in-edges, in the order of the array.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algorithm.h"
#include "worker.h"

#define DAMPING 0.85
#define CONVERGED 1e-12

struct search_args {
	const uint64_t *offsets;
	const uint32_t *targets;
	uint32_t *level;
	uint32_t depth;
};

/* Nodes of the current level reach nodes of the next one. */
static void search_kernel(struct gpu_worker *w, const void *args,
			  uint64_t begin, uint64_t end)
{
	const struct search_args *a = args;
	uint64_t v, e, last;
	uint32_t *level;

	for (v = begin; v < end; v++) {
		if (load_u32(w, &a->level[v]) != a->depth)
			continue;
		e = load_u64(w, &a->offsets[v]);
		last = load_u64(w, &a->offsets[v + 1]);
		for (; e < last; e++) {
			level = &a->level[load_u32(w, &a->targets[e])];
			if (load_u32(w, level) == UNREACHED)
				store_u32(w, level, a->depth + 1);
		}
	}
}

struct rank_args {
	const uint64_t *offsets;
	const uint32_t *sources;
	const double *share;
	double *next;
};

/* A node gets the shares of those that point to it. */
static void rank_kernel(struct gpu_worker *w, const void *args, uint64_t begin,
			uint64_t end)
{
	const struct rank_args *a = args;
	uint64_t v, e, last;
	uint32_t source;
	double sum;

	for (v = begin; v < end; v++) {
		sum = 0;
		e = load_u64(w, &a->offsets[v]);
		last = load_u64(w, &a->offsets[v + 1]);
		for (; e < last; e++) {
			source = load_u32(w, &a->sources[e]);
			sum += load_double(w, &a->share[source]);
		}
		store_double(w, &a->next[v], sum);
	}
}

static int run_kernel(struct problem *p, gpu_kernel *kernel, const void *args,
		      size_t size)
{
	if (p->gpu)
		return gpu_launch(p->gpu, kernel, args, size, p->graph.nodes);
	kernel(NULL, args, 0, p->graph.nodes);
	return 0;
}

static void report(struct problem *p, const char *what)
{
	if (p->progress)
		p->progress(p, what);
}

static uint32_t count_level(const struct problem *p, uint32_t depth)
{
	uint32_t count = 0;
	uint32_t v;

	for (v = 0; v < p->graph.nodes; v++)
		count += p->level[v] == depth;
	return count;
}

int breadth_first_search(struct problem *p, uint32_t root)
{
	struct search_args args = {
		.offsets = p->graph.out.offsets,
		.targets = p->graph.out.targets,
		.level = p->level,
	};
	uint32_t found;
	char what[64];
	int err;

	memset(p->level, 0xff, p->graph.nodes * sizeof(*p->level));
	p->level[root] = 0;
	do {
		err = run_kernel(p, search_kernel, &args, sizeof(args));
		if (err)
			return err;
		found = count_level(p, ++args.depth);
		snprintf(what, sizeof(what),
			 "search level %2" PRIu32 ": %8" PRIu32 " nodes",
			 args.depth, found);
		report(p, what);
	} while (found);
	return 0;
}

/*
 * The shares live for one round only.  Their memory is unmapped while it is
 * on the device: work for the garbage collector.
 */
static double *new_shares(const struct problem *p)
{
	return map_pages(p->graph.nodes * sizeof(double));
}

static void drop_shares(const struct problem *p, double *shares)
{
	unmap_pages(shares, p->graph.nodes * sizeof(*shares));
	/*
	 * The next shares may come to lie at the same addresses: the device
	 * must have heard of the munmap() before it is sent there.
	 */
	if (p->gpu)
		gpusvm_mm_sync(p->gpu->mm);
}

/* Fill the shares; returns the rank of nodes that point nowhere. */
static double spread_rank(const struct problem *p, double *share)
{
	const uint64_t *offsets = p->graph.out.offsets;
	double dangling = 0;
	uint32_t v;

	for (v = 0; v < p->graph.nodes; v++) {
		uint64_t degree = offsets[v + 1] - offsets[v];

		if (degree)
			share[v] = p->rank[v] / (double)degree;
		else
			dangling += p->rank[v];
	}
	return dangling;
}

/* Add what every node gets alike; returns how much the ranks have changed. */
static double finish_round(struct problem *p, double dangling)
{
	double n = p->graph.nodes;
	double base = (1 - DAMPING) / n + DAMPING * dangling / n;
	double *old = p->rank;
	double change = 0;
	uint32_t v;

	for (v = 0; v < p->graph.nodes; v++) {
		double delta;

		p->next[v] = base + DAMPING * p->next[v];
		delta = p->next[v] - old[v];
		change += delta < 0 ? -delta : delta;
	}
	p->rank = p->next;
	p->next = old;
	return change;
}

int pagerank(struct problem *p)
{
	struct rank_args args = {
		.offsets = p->graph.in.offsets,
		.sources = p->graph.in.targets,
	};
	unsigned int round;
	double change = 1;
	double *shares;
	double dangling;
	char what[64];
	uint32_t v;
	int err;

	for (v = 0; v < p->graph.nodes; v++)
		p->rank[v] = 1.0 / p->graph.nodes;
	for (round = 1; round <= p->rounds && change > CONVERGED; round++) {
		shares = new_shares(p);
		dangling = spread_rank(p, shares);
		args.share = shares;
		args.next = p->next;
		err = run_kernel(p, rank_kernel, &args, sizeof(args));
		drop_shares(p, shares);
		if (err)
			return err;
		change = finish_round(p, dangling);
		snprintf(what, sizeof(what), "rank round %4u: changed %.2e",
			 round, change);
		report(p, what);
	}
	return 0;
}

size_t problem_bytes(uint64_t nodes, uint64_t edges)
{
	/* level, rank, next and the shares of a round */
	return graph_bytes(nodes, edges) +
	       nodes * (sizeof(uint32_t) + 3 * sizeof(double));
}

/* Allocate the results of a problem whose graph is there. */
void problem_init(struct problem *p, unsigned int rounds)
{
	p->level = allocate(p->graph.nodes, sizeof(*p->level));
	p->rank = allocate(p->graph.nodes, sizeof(*p->rank));
	p->next = allocate(p->graph.nodes, sizeof(*p->next));
	p->rounds = rounds;
}

/* The same problem in other memory. */
void problem_copy(struct problem *copy, const struct problem *p)
{
	memset(copy, 0, sizeof(*copy));
	graph_copy(&copy->graph, &p->graph);
	problem_init(copy, p->rounds);
}

void problem_free(struct problem *p)
{
	graph_free(&p->graph);
	free(p->level);
	free(p->rank);
	free(p->next);
}
