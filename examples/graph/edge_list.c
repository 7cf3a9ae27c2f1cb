/* SPDX-License-Identifier: MIT */
/*
 * Reads a graph from a text file: two unsigned numbers per line, an edge from
 * the first to the second; blank lines and lines that begin with # are
 * skipped.  The numbers may be any; nodes get indices in their order.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"

struct id_list {
	uint64_t *ids;
	size_t count;
	size_t capacity;
};

static void id_list_add(struct id_list *list, uint64_t id)
{
	list->ids = grow(list->ids, list->count, &list->capacity,
			 sizeof(*list->ids));
	list->ids[list->count++] = id;
}

static const char *skip_blanks(const char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

/* Parse one number at *@p, without a sign, and step over it. */
static bool parse_number(const char **p, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*number = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0;
}

/* Add the two numbers of a line to @ids; false if it is something else. */
static bool parse_line(const char *line, size_t length, struct id_list *ids)
{
	const char *p = skip_blanks(line);
	uint64_t from, to;

	if (p == line + length || *p == '#')
		return true;
	if (!parse_number(&p, &from) || !isspace((unsigned char)*p))
		return false;
	p = skip_blanks(p);
	if (!parse_number(&p, &to))
		return false;
	/* Not just "is it a NUL": there may be one inside the line. */
	if (skip_blanks(p) != line + length)
		return false;
	id_list_add(ids, from);
	id_list_add(ids, to);
	return true;
}

static int parse_file(FILE *file, const char *path, struct id_list *ids)
{
	char *line = NULL;
	size_t size = 0;
	unsigned long number = 0;
	ssize_t length;
	int err = 0;

	while (!err && (length = getline(&line, &size, file)) >= 0) {
		number++;
		if (parse_line(line, length, ids))
			continue;
		line[strcspn(line, "\r\n")] = '\0';
		fprintf(stderr, "%s:%lu: not two numbers: \"%.60s\"\n", path,
			number, line);
		err = -EINVAL;
	}
	free(line);
	if (!err && ferror(file)) {
		fprintf(stderr, "%s: cannot be read\n", path);
		err = -EIO;
	}
	if (!err && !ids->count) {
		fprintf(stderr, "%s: no edges\n", path);
		err = -EINVAL;
	}
	return err;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The different numbers of @ids in ascending order: the names of the nodes. */
static void name_nodes(struct edge_list *list, const struct id_list *ids)
{
	uint64_t *sorted = allocate(ids->count, sizeof(*sorted));
	size_t i;

	memcpy(sorted, ids->ids, ids->count * sizeof(*sorted));
	qsort(sorted, ids->count, sizeof(*sorted), compare_ids);
	for (i = 0; i < ids->count; i++)
		if (!i || sorted[i] != sorted[i - 1])
			sorted[list->nodes++] = sorted[i];
	list->ids = sorted;
	list->named = list->nodes;
}

static uint32_t node_of(const struct edge_list *list, uint64_t id)
{
	const uint64_t *found = bsearch(&id, list->ids, list->nodes,
					sizeof(*list->ids), compare_ids);

	return (uint32_t)(found - list->ids);
}

int edge_list_read(struct edge_list *list, const char *path)
{
	struct id_list ids = { 0 };
	FILE *file = fopen(path, "r");
	size_t i;
	int err;

	memset(list, 0, sizeof(*list));
	if (!file) {
		err = -errno;
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		return err;
	}
	err = parse_file(file, path, &ids);
	fclose(file);
	if (!err) {
		name_nodes(list, &ids);
		for (i = 0; i < ids.count; i += 2)
			edge_list_add(list, node_of(list, ids.ids[i]),
				      node_of(list, ids.ids[i + 1]));
	}
	free(ids.ids);
	return err;
}
