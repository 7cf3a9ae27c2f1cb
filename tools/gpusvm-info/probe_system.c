/* SPDX-License-Identifier: MIT */
/* Settings of the system, and what this process may do and have. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "files.h"
#include "info.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define STATUS "/proc/self/status"

/* Of linux/capability.h, whose other names we do not want. */
#define CAP_SYS_PTRACE_BIT 19

/* sched_getaffinity() fails if the set is smaller than the kernel's. */
#define MAX_CPUS 8192

void probe_system(struct system_info *system)
{
	struct utsname name;

	if (!uname(&name)) {
		snprintf(system->release, sizeof(system->release), "%s",
			 name.release);
		snprintf(system->machine, sizeof(system->machine), "%s",
			 name.machine);
	}
	system->page_size = gpusvm_page_size();
	read_choice(THP "enabled", system->thp_enabled, NAME_SIZE);
	read_choice(THP "defrag", system->thp_defrag, NAME_SIZE);
	system->thp_bytes = read_number(THP "hpage_pmd_size");
	system->max_map_count = read_number("/proc/sys/vm/max_map_count");
	system->overcommit_memory =
		read_number("/proc/sys/vm/overcommit_memory");
}

static long count_lines(const char *path)
{
	FILE *file = fopen(path, "re");
	long lines = 0;
	int c;

	if (!file)
		return -1;
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static int status_number(const char *name)
{
	char value[NAME_SIZE];

	if (!find_field(STATUS, name, value, sizeof(value)))
		return -1;
	return atoi(value);
}

static int has_capability(unsigned int bit)
{
	char value[NAME_SIZE];

	if (!find_field(STATUS, "CapEff:", value, sizeof(value)))
		return -1;
	return (int)(strtoull(value, NULL, 16) >> bit & 1);
}

/* The first namespace maps every user to itself. */
static bool in_user_namespace(void)
{
	unsigned long inside, outside, count;
	char map[256];

	if (!read_text("/proc/self/uid_map", map, sizeof(map)) ||
	    sscanf(map, "%lu %lu %lu", &inside, &outside, &count) != 3)
		return false;
	return inside || outside || count != 4294967295ul;
}

static int count_allowed_cpus(void)
{
	size_t size = CPU_ALLOC_SIZE(MAX_CPUS);
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
	int count = -1;

	if (set && !sched_getaffinity(0, size, set))
		count = CPU_COUNT_S(size, set);
	CPU_FREE(set);
	return count;
}

void probe_process(struct process_info *process)
{
	process->uid = getuid();
	process->euid = geteuid();
	process->cap_sys_ptrace = has_capability(CAP_SYS_PTRACE_BIT);
	process->user_namespace = in_user_namespace();
	process->seccomp = status_number("Seccomp:");
	process->no_new_privs = status_number("NoNewPrivs:");
	process->mappings = count_lines("/proc/self/maps");
	process->cpus_online = (int)sysconf(_SC_NPROCESSORS_ONLN);
	process->cpus_allowed = count_allowed_cpus();
	getrlimit(RLIMIT_AS, &process->as);
	getrlimit(RLIMIT_MEMLOCK, &process->memlock);
	getrlimit(RLIMIT_NOFILE, &process->nofile);
}
