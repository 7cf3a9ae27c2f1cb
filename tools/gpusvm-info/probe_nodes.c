/* SPDX-License-Identifier: MIT */
/* The NUMA nodes; a kernel without NUMA has one, number 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "info.h"

#define NODES "/sys/devices/system/node/"

/* Room for the distances of 1024 nodes. */
#define LIST_SIZE 8192

static char *read_list(const char *path)
{
	char text[LIST_SIZE];

	read_text(path, text, sizeof(text));
	return strdup(text);
}

static long long read_bytes(const char *path, const char *name)
{
	char value[NAME_SIZE];

	if (!find_field(path, name, value, sizeof(value)))
		return -1;
	return atoll(value) * 1024;
}

/* @dir and @meminfo as the kernel with NUMA or without has them. */
static void read_node(struct node *node, int id)
{
	char path[128];

	node->id = id;
	snprintf(path, sizeof(path), NODES "node%d/meminfo", id);
	node->total = read_bytes(path, "MemTotal:");
	node->free = read_bytes(path, "MemFree:");
	snprintf(path, sizeof(path), NODES "node%d/cpulist", id);
	node->cpus = read_list(path);
	snprintf(path, sizeof(path), NODES "node%d/distance", id);
	node->distances = read_list(path);
}

static void read_only_node(struct node *node)
{
	node->id = 0;
	node->total = read_bytes("/proc/meminfo", "MemTotal:");
	node->free = read_bytes("/proc/meminfo", "MemFree:");
	node->cpus = read_list("/sys/devices/system/cpu/online");
	node->distances = strdup("");
}

static struct node *add_node(struct node_info *nodes)
{
	struct node *bigger;

	bigger = realloc(nodes->node, (nodes->count + 1) * sizeof(*bigger));
	if (!bigger)
		return NULL;
	nodes->node = bigger;
	return memset(&bigger[nodes->count++], 0, sizeof(*bigger));
}

void probe_nodes(struct node_info *nodes)
{
	unsigned long first, last;
	char text[LIST_SIZE];
	struct node *node;
	char *at = text;
	char *end;
	size_t i;

	read_text(NODES "online", text, sizeof(text));
	while (*at >= '0' && *at <= '9') {
		first = strtoul(at, &end, 10);
		last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
		for (; first <= last; first++) {
			node = add_node(nodes);
			if (node)
				read_node(node, (int)first);
		}
		at = *end == ',' ? end + 1 : end;
	}
	if (!nodes->count) {
		node = add_node(nodes);
		if (node)
			read_only_node(node);
	}
	for (i = 0; i < nodes->count; i++)
		nodes->with_memory += nodes->node[i].total > 0;
}

void free_nodes(struct node_info *nodes)
{
	size_t i;

	for (i = 0; i < nodes->count; i++) {
		free(nodes->node[i].cpus);
		free(nodes->node[i].distances);
	}
	free(nodes->node);
}
