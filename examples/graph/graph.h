/* SPDX-License-Identifier: MIT */
/*
 * The graph: read as a list of edges, then packed into arrays (compressed
 * sparse rows) that live in plain malloc() memory.  Nothing here knows of a
 * device.
 */
#ifndef EXAMPLE_GRAPH_H
#define EXAMPLE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

#define NO_NODE UINT32_MAX

struct edge {
	uint32_t from;
	uint32_t to;
};

/* As read.  Nodes are named by the input: by @names or, if NULL, by @ids. */
struct edge_list {
	struct edge *edges;
	size_t count;
	size_t capacity;
	uint32_t nodes;
	char **names;
	uint64_t *ids;
	uint32_t named;
};

/* The edges of node v lead to targets[offsets[v]] .. targets[offsets[v+1]-1] */
struct csr {
	uint64_t *offsets;
	uint32_t *targets;
};

struct graph {
	uint32_t nodes;
	uint64_t edges;
	struct csr out;
	struct csr in;
};

/*
 * The readers print what is wrong and return a negative errno: -EINVAL if it
 * is the contents of the file.
 */
int edge_list_read(struct edge_list *list, const char *path);
int dpkg_read(struct edge_list *list, const char *path);

void edge_list_add(struct edge_list *list, uint32_t from, uint32_t to);
uint32_t edge_list_root(const struct edge_list *list);
int edge_list_repeat(struct edge_list *list, uint32_t copies);
const char *edge_list_name(const struct edge_list *list, uint32_t node,
			   char *buf, size_t size);
void edge_list_free(struct edge_list *list);

size_t graph_bytes(uint64_t nodes, uint64_t edges);
void graph_build(struct graph *graph, const struct edge_list *list);
void graph_copy(struct graph *copy, const struct graph *graph);
void graph_free(struct graph *graph);

#endif /* EXAMPLE_GRAPH_H */
