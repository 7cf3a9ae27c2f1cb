/* SPDX-License-Identifier: MIT */
/*
 * Reads the package-dependency graph of a Debian machine from dpkg's status
 * file: a node is an installed package, an edge leads from a package to one
 * that it depends on (Depends, Pre-Depends) or recommends.
 *
 * "a | b" gives an edge to each alternative that is installed; versions
 * "(>= 1)" and suffixes ":any" are ignored; a name that no package has stands
 * for the packages that provide it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "graph.h"

#define NONE UINT32_MAX

/* A name that the file uses, of a package or of what packages provide. */
struct symbol {
	char *name;
	uint32_t package;
	uint32_t provider; /* first one, in providers[] */
	uint32_t next;	   /* with the same hash, in symbols[] */
};

struct provider {
	uint32_t package;
	uint32_t next;
};

/* "@package needs @symbol", kept until all packages are known. */
struct need {
	uint32_t package;
	uint32_t symbol;
};

struct dpkg {
	struct edge_list *list;
	size_t names_capacity;
	struct symbol *symbols;
	size_t symbol_count, symbol_capacity;
	struct provider *providers;
	size_t provider_count, provider_capacity;
	struct need *needs;
	size_t need_count, need_capacity;
	uint32_t buckets[4096];
};

/* The fields of one package that matter here; NULL where there is none. */
struct stanza {
	char *package;
	char *status;
	char *provides;
	char *needs;
};

static uint32_t find_symbol(struct dpkg *dpkg, const char *name, size_t length)
{
	uint32_t *bucket;
	unsigned int hash = 5381;
	struct symbol *symbol;
	uint32_t s;
	size_t i;

	for (i = 0; i < length; i++)
		hash = hash * 33 + (unsigned char)name[i];
	bucket = &dpkg->buckets[hash % 4096];
	for (s = *bucket; s != NONE; s = dpkg->symbols[s].next)
		if (!strncmp(dpkg->symbols[s].name, name, length) &&
		    !dpkg->symbols[s].name[length])
			return s;

	dpkg->symbols = grow(dpkg->symbols, dpkg->symbol_count,
			     &dpkg->symbol_capacity, sizeof(*dpkg->symbols));
	symbol = &dpkg->symbols[dpkg->symbol_count];
	symbol->name = allocate(length + 1, 1);
	memcpy(symbol->name, name, length);
	symbol->package = NONE;
	symbol->provider = NONE;
	symbol->next = *bucket;
	*bucket = (uint32_t)dpkg->symbol_count++;
	return *bucket;
}

static void add_provider(struct dpkg *dpkg, uint32_t package, uint32_t symbol)
{
	struct provider *provider;

	dpkg->providers = grow(dpkg->providers, dpkg->provider_count,
			       &dpkg->provider_capacity,
			       sizeof(*dpkg->providers));
	provider = &dpkg->providers[dpkg->provider_count];
	provider->package = package;
	provider->next = dpkg->symbols[symbol].provider;
	dpkg->symbols[symbol].provider = (uint32_t)dpkg->provider_count++;
}

static void add_need(struct dpkg *dpkg, uint32_t package, uint32_t symbol)
{
	dpkg->needs = grow(dpkg->needs, dpkg->need_count, &dpkg->need_capacity,
			   sizeof(*dpkg->needs));
	dpkg->needs[dpkg->need_count++] = (struct need){ package, symbol };
}

/* Call @add for each name in a list such as "a (>= 1), b:any | c". */
static void for_each_name(struct dpkg *dpkg, uint32_t package, const char *text,
			  void (*add)(struct dpkg *dpkg, uint32_t package,
				      uint32_t symbol))
{
	const char *p = text;
	size_t length;

	while (p && *p) {
		p += strspn(p, " \t\n,|");
		length = strcspn(p, " \t\n,|:([<");
		if (length)
			add(dpkg, package, find_symbol(dpkg, p, length));
		p += strcspn(p, ",|");
	}
}

static bool is_installed(const char *status)
{
	const char *last = status ? strrchr(status, ' ') : NULL;

	return last && !strcmp(last, " installed");
}

/* The node of a package; one name may come once per architecture. */
static uint32_t add_package(struct dpkg *dpkg, const char *name)
{
	uint32_t s = find_symbol(dpkg, name, strlen(name));
	struct edge_list *list = dpkg->list;

	if (dpkg->symbols[s].package != NONE)
		return dpkg->symbols[s].package;
	list->names = grow(list->names, list->nodes, &dpkg->names_capacity,
			   sizeof(*list->names));
	list->names[list->nodes] = allocate(strlen(name) + 1, 1);
	strcpy(list->names[list->nodes], name);
	dpkg->symbols[s].package = list->nodes;
	return list->nodes++;
}

static void end_stanza(struct dpkg *dpkg, struct stanza *stanza)
{
	uint32_t package;

	if (stanza->package && is_installed(stanza->status)) {
		package = add_package(dpkg, stanza->package);
		for_each_name(dpkg, package, stanza->provides, add_provider);
		for_each_name(dpkg, package, stanza->needs, add_need);
	}
	free(stanza->package);
	free(stanza->status);
	free(stanza->provides);
	free(stanza->needs);
	memset(stanza, 0, sizeof(*stanza));
}

/* Where the value of a field goes, or NULL if it is of no interest. */
static char **find_field(struct stanza *stanza, const char *line, size_t length)
{
	const struct {
		const char *name;
		char **value;
	} fields[] = {
		{ "Package", &stanza->package },
		{ "Status", &stanza->status },
		{ "Provides", &stanza->provides },
		{ "Depends", &stanza->needs },
		{ "Pre-Depends", &stanza->needs },
		{ "Recommends", &stanza->needs },
	};
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (strlen(fields[i].name) == length &&
		    !strncasecmp(fields[i].name, line, length))
			return fields[i].value;
	return NULL;
}

/* Fields that share a value are joined by a comma, as in one long list. */
static void append(char **value, const char *text, const char *separator)
{
	size_t old = *value ? strlen(*value) : 0;
	size_t size = old + strlen(separator) + strlen(text) + 1;
	char *joined = allocate(size, 1);

	if (*value)
		snprintf(joined, size, "%s%s%s", *value, separator, text);
	else
		snprintf(joined, size, "%s", text);
	free(*value);
	*value = joined;
}

static void parse(struct dpkg *dpkg, FILE *file)
{
	struct stanza stanza = { 0 };
	char **field = NULL;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) >= 0) {
		size_t name = strcspn(line, ":\n");

		if (line[0] == '\n') {
			end_stanza(dpkg, &stanza);
			field = NULL;
			continue;
		}
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == ' ' || line[0] == '\t') {
			if (field)
				append(field, line, "");
			continue;
		}
		field = find_field(&stanza, line, name);
		if (field && line[name] == ':')
			append(field,
			       line + name + 1 + strspn(line + name + 1, " "),
			       ",");
	}
	end_stanza(dpkg, &stanza);
	free(line);
}

static void resolve(struct dpkg *dpkg)
{
	size_t i;

	for (i = 0; i < dpkg->need_count; i++) {
		struct need need = dpkg->needs[i];
		struct symbol symbol = dpkg->symbols[need.symbol];
		uint32_t p;

		if (symbol.package != NONE) {
			edge_list_add(dpkg->list, need.package, symbol.package);
			continue;
		}
		for (p = symbol.provider; p != NONE;
		     p = dpkg->providers[p].next)
			if (dpkg->providers[p].package != need.package)
				edge_list_add(dpkg->list, need.package,
					      dpkg->providers[p].package);
	}
	dpkg->list->named = dpkg->list->nodes;
}

int dpkg_read(struct edge_list *list, const char *path)
{
	struct dpkg *dpkg;
	FILE *file = fopen(path, "r");
	size_t i;
	int err = 0;

	memset(list, 0, sizeof(*list));
	if (!file) {
		err = -errno;
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		return err;
	}
	dpkg = allocate(1, sizeof(*dpkg));
	dpkg->list = list;
	memset(dpkg->buckets, 0xff, sizeof(dpkg->buckets));
	parse(dpkg, file);
	fclose(file);
	resolve(dpkg);
	if (!list->count) {
		fprintf(stderr, "%s: no installed packages\n", path);
		err = -EINVAL;
	}
	for (i = 0; i < dpkg->symbol_count; i++)
		free(dpkg->symbols[i].name);
	free(dpkg->symbols);
	free(dpkg->providers);
	free(dpkg->needs);
	free(dpkg);
	return err;
}
