/* SPDX-License-Identifier: MIT */
/*
 * The report for programs.  Keys are stable: new ones may come, none changes
 * its meaning unless "format" does.  What is not known is null.
 */
#include <stdlib.h>
#include <string.h>

#include "info.h"
#include "json.h"

#define FORMAT 1

static void put_known(const char *key, long long value)
{
	if (value < 0)
		json_null(key);
	else
		json_number(key, value);
}

static void put_text(const char *key, const char *text)
{
	json_string(key, *text ? text : NULL);
}

static void put_flag(const char *key, int value)
{
	if (value < 0)
		json_null(key);
	else
		json_bool(key, value);
}

/* An answer of a probe: { "ok", "error" }. */
static void put_answer(const char *key, int err)
{
	json_object(key);
	json_bool("ok", err == 0);
	if (err < 0)
		json_string("error", strerror(-err));
	else
		json_string("error", err ? "not tried" : NULL);
	json_object_end();
}

static void put_system(const struct system_info *system)
{
	json_object("kernel");
	json_string("release", system->release);
	json_string("machine", system->machine);
	json_number("page_size", (long long)system->page_size);
	put_known("max_map_count", system->max_map_count);
	put_known("overcommit_memory", system->overcommit_memory);
	json_object("huge_pages");
	put_text("enabled", system->thp_enabled);
	put_text("defrag", system->thp_defrag);
	put_known("bytes", system->thp_bytes);
	json_object_end();
	json_object_end();
}

static void put_limit_value(const char *key, rlim_t value)
{
	if (value == RLIM_INFINITY)
		json_null(key);
	else
		json_number(key, (long long)value);
}

/* Here null means that there is no limit. */
static void put_limit(const char *key, const struct rlimit *limit)
{
	json_object(key);
	put_limit_value("soft", limit->rlim_cur);
	put_limit_value("hard", limit->rlim_max);
	json_object_end();
}

static void put_process(const struct process_info *process)
{
	static const char *const modes[] = { "off", "strict", "filter" };
	bool known = process->seccomp >= 0 && process->seccomp <= 2;

	json_object("process");
	json_number("uid", process->uid);
	json_number("euid", process->euid);
	put_flag("cap_sys_ptrace", process->cap_sys_ptrace);
	json_bool("user_namespace", process->user_namespace);
	json_string("seccomp", known ? modes[process->seccomp] : NULL);
	put_flag("no_new_privs", process->no_new_privs);
	put_known("mappings", process->mappings);
	json_number("cpus_online", process->cpus_online);
	put_known("cpus_allowed", process->cpus_allowed);
	json_object("limits");
	put_limit("as", &process->as);
	put_limit("memlock", &process->memlock);
	put_limit("nofile", &process->nofile);
	json_object_end();
	json_object_end();
}

static void put_uffd(const struct info *info)
{
	const struct uffd_info *uffd = &info->uffd;
	enum door door = used_door(uffd, info->library.source);
	size_t i;
	int d;

	json_object("userfaultfd");
	json_object("doors");
	for (d = 0; d < DOORS; d++)
		put_answer(door_names[d].key, uffd->door[d]);
	json_object_end();
	json_string("chosen", door < DOORS ? door_names[door].key : NULL);
	json_bool("killed", uffd->killed);
	put_known("sysctl_unprivileged", uffd->sysctl);
	put_answer("api", uffd->api_err);
	json_number("mask", (long long)uffd->features);
	json_object("features");
	for (i = 0; i < uffd_features_known; i++)
		json_bool(uffd_features[i].name, uffd->features >> i & 1);
	json_object_end();
	put_answer("event_fork", uffd->event_fork);
	json_object_end();
}

/* "10 20 20" as a list of numbers. */
static void put_distances(const char *text)
{
	char *end;
	long value;

	json_list("distances");
	for (;; text = end) {
		value = strtol(text, &end, 10);
		if (end == text)
			break;
		json_number(NULL, value);
	}
	json_list_end();
}

static void put_nodes(const struct info *info)
{
	const struct node_info *nodes = &info->nodes;
	size_t i;

	json_list("nodes");
	for (i = 0; i < nodes->count; i++) {
		const struct node *node = &nodes->node[i];

		json_object(NULL);
		json_number("node", node->id);
		put_known("memory_bytes", node->total);
		put_known("free_bytes", node->free);
		json_string("cpus", node->cpus);
		put_distances(node->distances ? node->distances : "");
		json_bool("device", node->id == info->library.node);
		json_object_end();
	}
	json_list_end();
}

static void put_features(unsigned long features)
{
	size_t i;

	json_object("features");
	for (i = 0; i < LIBRARY_FEATURES; i++)
		json_bool(library_features[i].key,
			  features & library_features[i].bit);
	json_object_end();
}

/* The features are those of a source that works, else all false. */
static void put_sources(const struct info *info)
{
	size_t i, j;

	json_list("sources");
	for (i = 0; i < SOURCES; i++) {
		const struct source_info *source = &info->source[i];

		json_object(NULL);
		json_string("source", source_names[i].key);
		put_answer("open", source->err);
		json_string("missing", source_missing(source));
		json_string("technique",
			    source->err ? NULL
					: technique_key(source->features));
		put_features(source->features);
		json_list("lost");
		for (j = 0; !source->err && j < LIBRARY_FEATURES; j++)
			if (library_features[j].by_source &&
			    !(source->features & library_features[j].bit))
				json_string(NULL, library_features[j].key);
		json_list_end();
		json_object_end();
	}
	json_list_end();
}

static void put_library(const struct library_info *library)
{
	bool open = !library->open_err;
	const struct log_line *lines;
	size_t count = log_lines(&library->log, &lines);
	size_t i;

	json_object("library");
	put_answer("open", library->open_err);
	json_string("source", open ? find_source(library->source)->key : NULL);
	json_string("wanted", getenv(SOURCE_VARIABLE));
	json_string("technique",
		    open ? technique_key(library->features) : NULL);
	put_features(library->features);
	put_answer("device_memory", library->pool_err);
	put_known("device_node", library->node);
	json_bool("device_emulated", library->emulated);
	put_answer("round_trip", library->check_err);
	json_list("log");
	for (i = 0; i < count; i++) {
		json_object(NULL);
		json_string("level", log_level_name(lines[i].level));
		json_string("message", lines[i].text);
		json_object_end();
	}
	json_list_end();
	json_object_end();
}

static void put_verdict(const struct verdict *verdict)
{
	size_t i;

	json_list("advice");
	for (i = 0; i < verdict->count; i++) {
		json_object(NULL);
		json_string("topic", verdict->advice[i].topic);
		json_string("text", verdict->advice[i].text);
		json_object_end();
	}
	json_list_end();
}

static void put_measurements(const struct measurements *m)
{
	size_t i;

	json_bool("measured", !m->skipped);
	if (m->skipped)
		put_answer("measuring", NOT_TRIED);
	else
		put_answer("measuring", m->err);
	json_list("measurements");
	for (i = 0; i < m->count; i++) {
		const struct result *result = &m->result[i];

		json_object(NULL);
		json_string("operation", result->key);
		json_number("bytes", (long long)result->bytes);
		json_number("rounds", result->rounds);
		json_number("median_ns", (long long)result->median_ns);
		json_number("p10_ns", (long long)result->p10_ns);
		json_number("p90_ns", (long long)result->p90_ns);
		json_object_end();
	}
	json_list_end();
}

void report_json(const struct info *info)
{
	int i;

	json_object(NULL);
	json_number("format", FORMAT);
	json_object("version");
	json_string("tool", GPUSVM_VERSION);
	json_string("library", gpusvm_version());
	json_object_end();
	json_bool("usable", info->verdict.usable);
	put_text("reason", info->verdict.reason);
	put_library(&info->library);
	put_sources(info);
	put_verdict(&info->verdict);
	put_uffd(info);
	json_object("interfaces");
	for (i = 0; i < INTERFACES; i++)
		put_answer(info->interface[i].key, info->interface[i].err);
	json_object_end();
	put_system(&info->system);
	put_process(&info->process);
	put_nodes(info);
	put_measurements(&info->measurements);
	json_object_end();
}
