/* SPDX-License-Identifier: MIT */
/*
 * Lists of edges, and the packed graph that is built from one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* Copies hang below each other as a tree with this many children. */
#define COPY_FANOUT 4

void edge_list_add(struct edge_list *list, uint32_t from, uint32_t to)
{
	list->edges = grow(list->edges, list->count, &list->capacity,
			   sizeof(*list->edges));
	list->edges[list->count++] = (struct edge){ from, to };
}

/* The node with the most edges that leave it: where the search starts. */
uint32_t edge_list_root(const struct edge_list *list)
{
	uint32_t *degree = allocate(list->nodes, sizeof(*degree));
	uint32_t root = 0;
	uint32_t v;
	size_t i;

	for (i = 0; i < list->count; i++)
		degree[list->edges[i].from]++;
	for (v = 0; v < list->nodes; v++)
		if (degree[v] > degree[root])
			root = v;
	free(degree);
	return root;
}

/*
 * Make the list @copies times as long: copies of the graph, joined by one edge
 * each from the root of another copy to theirs.
 */
int edge_list_repeat(struct edge_list *list, uint32_t copies)
{
	uint32_t root = edge_list_root(list);
	uint32_t nodes = list->nodes;
	size_t count = list->count;
	uint32_t copy;
	size_t i;

	if ((uint64_t)nodes * copies >= NO_NODE) {
		fprintf(stderr,
			"graph: %" PRIu32 " copies are too many nodes\n",
			copies);
		return -EINVAL;
	}
	for (copy = 1; copy < copies; copy++) {
		uint32_t base = copy * nodes;
		uint32_t parent = (copy - 1) / COPY_FANOUT * nodes;

		for (i = 0; i < count; i++)
			edge_list_add(list, list->edges[i].from + base,
				      list->edges[i].to + base);
		edge_list_add(list, parent + root, base + root);
	}
	list->nodes = nodes * copies;
	return 0;
}

/* What the input calls a node; all copies of a node share its name. */
const char *edge_list_name(const struct edge_list *list, uint32_t node,
			   char *buf, size_t size)
{
	node %= list->named;
	if (list->names)
		return list->names[node];
	snprintf(buf, size, "%" PRIu64, list->ids[node]);
	return buf;
}

void edge_list_free(struct edge_list *list)
{
	uint32_t v;

	for (v = 0; list->names && v < list->named; v++)
		free(list->names[v]);
	free(list->names);
	free(list->ids);
	free(list->edges);
	memset(list, 0, sizeof(*list));
}

/* Size of both directions of a graph. */
size_t graph_bytes(uint64_t nodes, uint64_t edges)
{
	return 2 * ((nodes + 1) * sizeof(uint64_t) + edges * sizeof(uint32_t));
}

static void csr_alloc(struct csr *csr, uint64_t nodes, uint64_t edges)
{
	csr->offsets = allocate(nodes + 1, sizeof(*csr->offsets));
	csr->targets = allocate(edges, sizeof(*csr->targets));
}

/* A counting sort by source; edges of one node keep their order. */
static void csr_build(struct csr *csr, const struct edge_list *list,
		      bool reverse)
{
	uint64_t *next;
	uint32_t v;
	size_t i;

	csr_alloc(csr, list->nodes, list->count);
	for (i = 0; i < list->count; i++) {
		struct edge e = list->edges[i];

		csr->offsets[(reverse ? e.to : e.from) + 1]++;
	}
	for (v = 0; v < list->nodes; v++)
		csr->offsets[v + 1] += csr->offsets[v];

	next = allocate(list->nodes, sizeof(*next));
	memcpy(next, csr->offsets, list->nodes * sizeof(*next));
	for (i = 0; i < list->count; i++) {
		struct edge e = list->edges[i];

		if (reverse)
			csr->targets[next[e.to]++] = e.from;
		else
			csr->targets[next[e.from]++] = e.to;
	}
	free(next);
}

void graph_build(struct graph *graph, const struct edge_list *list)
{
	graph->nodes = list->nodes;
	graph->edges = list->count;
	csr_build(&graph->out, list, false);
	csr_build(&graph->in, list, true);
}

static void csr_copy(struct csr *copy, const struct csr *csr, uint64_t nodes,
		     uint64_t edges)
{
	csr_alloc(copy, nodes, edges);
	memcpy(copy->offsets, csr->offsets, (nodes + 1) * sizeof(uint64_t));
	memcpy(copy->targets, csr->targets, edges * sizeof(uint32_t));
}

void graph_copy(struct graph *copy, const struct graph *graph)
{
	copy->nodes = graph->nodes;
	copy->edges = graph->edges;
	csr_copy(&copy->out, &graph->out, graph->nodes, graph->edges);
	csr_copy(&copy->in, &graph->in, graph->nodes, graph->edges);
}

void graph_free(struct graph *graph)
{
	free(graph->out.offsets);
	free(graph->out.targets);
	free(graph->in.offsets);
	free(graph->in.targets);
}
