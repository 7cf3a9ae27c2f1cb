/* SPDX-License-Identifier: MIT */
/* The report for people: a section for each subject, a line for each fact. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "info.h"

#define WIDTH 78
#define TEXT_SIZE 128

/* One fact.  Its name is a column wide. */
__attribute__((format(printf, 2, 3))) static void line(const char *name,
						       const char *format, ...)
{
	va_list args;

	printf("  %-32s ", name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void section(const char *title)
{
	printf("\n%s\n", title);
}

static const char *yes_no(int value)
{
	return value < 0 ? "unknown" : value ? "yes" : "no";
}

/* A sentence, broken between words. */
static void paragraph(const char *topic, const char *text)
{
	size_t column = 0;
	size_t word;

	printf("  %s:", topic);
	column = strlen(topic) + 3;
	while (*text) {
		word = strcspn(text, " ");
		if (column + 1 + word > WIDTH) {
			printf("\n   ");
			column = 3;
		}
		printf(" %.*s", (int)word, text);
		column += 1 + word;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void answer(const char *name, int err)
{
	if (err == NOT_TRIED)
		line(name, "not tried");
	else if (err)
		line(name, "no (%s)", strerror(-err));
	else
		line(name, "yes");
}

/* 4 KiB, 24.5 GiB: the largest unit of which there is at least one. */
static const char *size_text(char text[TEXT_SIZE], long long bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 0)
		return "unknown";
	for (; value >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	if (value == (double)(long long)value)
		snprintf(text, TEXT_SIZE, "%.0f %s", value, units[unit]);
	else
		snprintf(text, TEXT_SIZE, "%.1f %s", value, units[unit]);
	return text;
}

static const char *number_text(char text[TEXT_SIZE], long value)
{
	if (value < 0)
		return "unknown";
	snprintf(text, TEXT_SIZE, "%ld", value);
	return text;
}

static const char *technique_text(unsigned long features)
{
	if (features & GPUSVM_FEATURE_MOVE)
		return "move (UFFDIO_MOVE)";
	return features & GPUSVM_FEATURE_USERFAULTFD
		       ? "write-protect (UFFDIO_WRITEPROTECT)"
		       : "mremap (MREMAP_DONTUNMAP)";
}

static void put_result(const struct info *info)
{
	const struct library_info *library = &info->library;
	enum door door = used_door(&info->uffd, library->source);

	printf("gpusvm-info %s, libgpusvm %s\n", GPUSVM_VERSION,
	       gpusvm_version());
	section("Result");
	if (info->verdict.usable)
		line("usable", "yes");
	else
		line("usable", "no: %s", info->verdict.reason);
	if (library->open_err)
		return;
	line("source", "%s%s%s%s", find_source(library->source)->title,
	     door < DOORS ? ", by " : "",
	     door < DOORS ? door_names[door].title : "",
	     wanted_source() ? ", as " SOURCE_VARIABLE " says" : "");
	line("technique", "%s", technique_text(library->features));
}

/* What a program does without, with a source that works. */
static void put_lost(unsigned long features)
{
	char text[400] = "";
	size_t used = 0;
	size_t i;

	for (i = 0; i < LIBRARY_FEATURES; i++)
		if (library_features[i].by_source &&
		    !(features & library_features[i].bit))
			used += (size_t)snprintf(text + used,
						 sizeof(text) - used, "%s%s",
						 used ? ", " : "",
						 library_features[i].title);
	paragraph("  without", used ? text : "nothing");
}

static void put_sources(const struct info *info)
{
	const char *missing;
	size_t i;

	section("Sources, best first");
	for (i = 0; i < SOURCES; i++) {
		const struct source_names *names = &source_names[i];
		const struct source_info *source = &info->source[i];

		if (source->err) {
			answer(names->title, source->err);
			missing = source_missing(source);
			if (missing)
				paragraph("  missing", missing);
			continue;
		}
		line(names->title, "yes, %s%s",
		     technique_text(source->features),
		     names->source == info->library.source ? ", in use" : "");
		put_lost(source->features);
	}
}

static void put_library(const struct library_info *library)
{
	const struct log_line *lines;
	size_t count = log_lines(&library->log, &lines);
	char text[TEXT_SIZE];
	size_t i;

	section("Library");
	answer("address space opens", library->open_err);
	for (i = 0; i < LIBRARY_FEATURES; i++)
		line(library_features[i].title, "%s",
		     yes_no(!!(library->features & library_features[i].bit)));
	answer("device memory on a node", library->pool_err);
	if (!library->pool_err)
		line("device node", "%s%s", number_text(text, library->node),
		     library->emulated ? " (emulated: the only node)" : "");
	answer("a page went and came home", library->check_err);
	for (i = 0; i < count; i++)
		paragraph(log_level_name(lines[i].level), lines[i].text);
}

static void put_verdict(const struct verdict *verdict)
{
	size_t i;

	if (verdict->count)
		section("What could be better");
	for (i = 0; i < verdict->count; i++)
		paragraph(verdict->advice[i].topic, verdict->advice[i].text);
}

static void put_uffd(const struct uffd_info *uffd)
{
	static const char *const uses[] = {
		[USE_NEEDED] = "needed",
		[USE_WANTED] = "wanted",
		[USE_NONE] = "not used",
	};
	char text[TEXT_SIZE];
	size_t i;
	int d;

	section("userfaultfd");
	for (d = 0; d < DOORS; d++)
		answer(door_names[d].title, uffd->door[d]);
	line("unprivileged_userfaultfd", "%s", number_text(text, uffd->sysctl));
	if (uffd->api_err) {
		answer("features", uffd->api_err);
		return;
	}
	line("features", "%#" PRIx64, uffd->features);
	for (i = 0; i < uffd_features_known; i++)
		line(uffd_features[i].name, "%-3s  %s",
		     yes_no(uffd->features >> i & 1),
		     uses[uffd_features[i].use]);
	if (uffd->features >> uffd_features_known)
		line("unknown features", "%#" PRIx64,
		     uffd->features >> uffd_features_known
					       << uffd_features_known);
	answer("EVENT_FORK is allowed", uffd->event_fork);
}

static void put_interfaces(const struct interface_info interface[INTERFACES])
{
	int i;

	section("Other calls");
	for (i = 0; i < INTERFACES; i++) {
		const struct interface_info *call = &interface[i];

		if (call->err)
			line(call->title, "no (%s; Linux %s)",
			     strerror(-call->err), call->since);
		else
			line(call->title, "yes");
	}
}

static void put_system(const struct info *info)
{
	const struct system_info *system = &info->system;
	char text[TEXT_SIZE], current[TEXT_SIZE];

	section("Kernel");
	line("release", "%s, %s", system->release, system->machine);
	line("page size", "%s", size_text(text, (long long)system->page_size));
	if (*system->thp_enabled)
		line("huge pages", "%s, enabled: %s, defrag: %s",
		     size_text(text, system->thp_bytes), system->thp_enabled,
		     system->thp_defrag);
	else
		line("huge pages", "none");
	line("vm.max_map_count", "%s (mappings now: %s)",
	     number_text(text, system->max_map_count),
	     number_text(current, info->process.mappings));
	line("vm.overcommit_memory", "%s",
	     number_text(text, system->overcommit_memory));
}

static const char *limit_text(char text[TEXT_SIZE], rlim_t value, bool bytes)
{
	if (value == RLIM_INFINITY)
		return "unlimited";
	if (bytes)
		return size_text(text, (long long)value);
	return number_text(text, (long)value);
}

static void put_limit(const char *name, const struct rlimit *limit, bool bytes)
{
	char soft[TEXT_SIZE], hard[TEXT_SIZE];

	line(name, "%s (hard: %s)", limit_text(soft, limit->rlim_cur, bytes),
	     limit_text(hard, limit->rlim_max, bytes));
}

static void put_process(const struct process_info *process)
{
	static const char *const modes[] = { "off", "strict", "filter" };
	bool known = process->seccomp >= 0 && process->seccomp <= 2;
	char text[TEXT_SIZE];

	section("Process");
	line("user", "%u (effective: %u)", process->uid, process->euid);
	line("CAP_SYS_PTRACE", "%s%s", yes_no(process->cap_sys_ptrace),
	     process->user_namespace ? ", in a user namespace" : "");
	line("seccomp", "%s", known ? modes[process->seccomp] : "unknown");
	line("no_new_privs", "%s", yes_no(process->no_new_privs));
	line("CPUs", "%s of %d", number_text(text, process->cpus_allowed),
	     process->cpus_online);
	put_limit("RLIMIT_AS", &process->as, true);
	put_limit("RLIMIT_MEMLOCK", &process->memlock, true);
	put_limit("RLIMIT_NOFILE", &process->nofile, false);
}

static void put_nodes(const struct info *info)
{
	char total[TEXT_SIZE], free[TEXT_SIZE], name[TEXT_SIZE];
	size_t i;

	section("Nodes");
	for (i = 0; i < info->nodes.count; i++) {
		const struct node *node = &info->nodes.node[i];
		bool cpus = node->cpus && *node->cpus;

		snprintf(name, sizeof(name), "node %d", node->id);
		line(name, "%s, free: %s, %s%s, distances: %s%s",
		     size_text(total, node->total), size_text(free, node->free),
		     cpus ? "CPUs: " : "no CPUs", cpus ? node->cpus : "",
		     node->distances && *node->distances ? node->distances
							 : "unknown",
		     node->id == info->library.node ? ", device" : "");
	}
}

static void put_measurements(const struct measurements *m)
{
	char text[TEXT_SIZE];
	size_t i;

	if (m->skipped)
		return;
	section("Cost (median, 10 % to 90 % of the rounds)");
	for (i = 0; i < m->count; i++) {
		const struct result *r = &m->result[i];

		printf("  %-24s %-7s %9.1f us  %9.1f .. %-9.1f %6.2f GB/s\n",
		       r->title, size_text(text, (long long)r->bytes),
		       (double)r->median_ns / 1e3, (double)r->p10_ns / 1e3,
		       (double)r->p90_ns / 1e3,
		       r->median_ns ? (double)r->bytes / (double)r->median_ns
				    : 0.0);
	}
	if (m->err)
		line("a measurement failed", "%s", strerror(-m->err));
}

void report_text(const struct info *info)
{
	put_result(info);
	put_verdict(&info->verdict);
	put_sources(info);
	put_library(&info->library);
	put_uffd(&info->uffd);
	put_interfaces(info->interface);
	put_system(info);
	put_process(&info->process);
	put_nodes(info);
	put_measurements(&info->measurements);
}
