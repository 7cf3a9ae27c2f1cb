/* SPDX-License-Identifier: MIT */
/*
 * Whether the library can be used here, and for each better thing that is
 * missing: why, and what to change.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "info.h"

/* Mappings left to a program before it should care. */
#define MAPPINGS_LOW 16384

/* The library's window of address space shrinks down to this. */
#define WINDOW_MIN (256ul << 20)
#define WINDOW_MAX (64ul << 30)

__attribute__((format(printf, 3, 4))) static void
advise(struct verdict *verdict, const char *topic, const char *format, ...)
{
	struct advice *advice;
	va_list args;

	if (verdict->count == ADVICE_MAX)
		return;
	advice = &verdict->advice[verdict->count++];
	advice->topic = topic;
	va_start(args, format);
	vsnprintf(advice->text, sizeof(advice->text), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3))) static void
unusable(struct verdict *verdict, const char *format, ...)
{
	va_list args;

	if (!verdict->usable)
		return;
	verdict->usable = false;
	va_start(args, format);
	vsnprintf(verdict->reason, sizeof(verdict->reason), format, args);
	va_end(args);
}

static bool has(const struct info *info, unsigned long feature)
{
	return info->library.features & feature;
}

/* Why there is no userfaultfd at all, and what to change. */
static void advise_userfaultfd(struct info *info)
{
	struct verdict *verdict = &info->verdict;
	int err = info->uffd.door[DOOR_SYSCALL];

	if (info->uffd.killed)
		advise(verdict, "userfaultfd",
		       "The seccomp filter kills instead of giving an error: "
		       "allow userfaultfd in it, or set " SOURCE_VARIABLE
		       "=mprotect.");
	else if (err == -EMFILE || err == -ENFILE)
		advise(verdict, "userfaultfd",
		       "There are no descriptors left: raise RLIMIT_NOFILE "
		       "(ulimit -n).");
	else if (info->process.seccomp == 2)
		advise(verdict, "userfaultfd",
		       "A seccomp filter is in force: allow userfaultfd in it "
		       "(container engines: --security-opt seccomp=FILE), or "
		       "give the container the device /dev/userfaultfd.");
	else if (err == -ENOSYS)
		advise(verdict, "userfaultfd",
		       "This kernel is built without CONFIG_USERFAULTFD: take "
		       "another one.");
	else
		advise(verdict, "userfaultfd",
		       "Run as root, or sysctl vm.unprivileged_userfaultfd=1, "
		       "or give access to /dev/userfaultfd; Linux 5.11 and "
		       "later let every process serve its own faults.");
}

/* None of the ladder works, or what was asked for does not. */
static void no_source(struct info *info)
{
	const struct source_names *wanted = wanted_source();
	struct verdict *verdict = &info->verdict;
	const struct source_names *last =
		wanted ? wanted : find_source(GPUSVM_SOURCE_MPROTECT);
	const char *missing =
		source_missing(&info->source[last - source_names]);

	/* It worked when it was tried. */
	if (!missing)
		missing = strerror(-info->library.open_err);
	if (info->uffd.killed && !wanted)
		unusable(verdict, "a seccomp filter ends processes that ask "
				  "for userfaultfd (SIGSYS)");
	else if (wanted)
		unusable(verdict,
			 SOURCE_VARIABLE " asks for %s, which does not work "
					 "here: %s",
			 wanted->key, missing);
	else
		unusable(verdict,
			 "there is no userfaultfd for this process, and "
			 "mprotect cannot take its place: %s",
			 missing);
	if (first_door(&info->uffd) == DOORS)
		advise_userfaultfd(info);
}

/* A source was refused for what it is, not for lack of something. */
static bool is_refusal(int err)
{
	return err == -EPERM || err == -ENOSYS || err == -EACCES;
}

static void no_address_space(struct info *info)
{
	struct verdict *verdict = &info->verdict;
	int err = info->library.open_err;

	if (err == -EINVAL && getenv(SOURCE_VARIABLE) && !wanted_source()) {
		unusable(verdict, SOURCE_VARIABLE " names no source");
		advise(verdict, "source",
		       "Set " SOURCE_VARIABLE " to userfaultfd, user, "
		       "mprotect, manual, sigbus or rwp, or not at all.");
		return;
	}
	if (is_refusal(err) &&
	    (wanted_source() || first_door(&info->uffd) == DOORS)) {
		no_source(info);
		return;
	}
	unusable(verdict, "gpusvm_mm_open() fails: %s", strerror(-err));
	if (err == -ENOMEM && info->process.as.rlim_cur < WINDOW_MAX)
		advise(verdict, "address_space_limit",
		       "The library reserves at least %lu MiB of addresses: "
		       "raise RLIMIT_AS (ulimit -v).",
		       WINDOW_MIN >> 20);
	else if (err == -EMFILE || err == -EPERM)
		/* -EPERM of the first door, as a later one found none left. */
		advise(verdict, "descriptors",
		       "The library keeps five descriptors: raise "
		       "RLIMIT_NOFILE (ulimit -n).");
	else if (err == -EAGAIN)
		advise(verdict, "threads",
		       "The fault handler's threads cannot be started: raise "
		       "RLIMIT_NPROC or the cgroup's pids.max.");
	else if (err == -ENOENT)
		advise(verdict, "proc", "Mount /proc.");
}

/* The best source that works is not the one in use. */
static void judge_choice(struct info *info)
{
	const struct source_names *used = find_source(info->library.source);
	size_t i;

	for (i = 0; &source_names[i] < used && info->source[i].err; i++)
		;
	if (&source_names[i] >= used)
		return;
	if (has(info, GPUSVM_FEATURE_IN_THREAD))
		advise(&info->verdict, "source",
		       SOURCE_VARIABLE "=%s serves faults sooner and system "
				       "calls not at all: %s works here, too.",
		       used->key, source_names[i].key);
	else
		advise(&info->verdict, "source",
		       SOURCE_VARIABLE "=%s asks for less than there is: %s "
				       "works here, so unset it.",
		       used->key, source_names[i].key);
}

/* Without userfaultfd the program has to do a part. */
static void judge_protection(struct info *info)
{
	struct verdict *verdict = &info->verdict;

	if (first_door(&info->uffd) == DOORS)
		advise_userfaultfd(info);
	advise(verdict, "system_calls",
	       "System calls on device memory fail with EFAULT: "
	       "gpusvm_populate() before them.");
	advise(verdict, "events",
	       "Changes of memory go unnoticed unless they are announced: by "
	       "the functions of gpusvm/hooks.h, or with "
	       "LD_PRELOAD=libgpusvm-preload.so.");
	if (!has(info, GPUSVM_FEATURE_CPU_FAULTS))
		advise(verdict, "cpu_faults",
		       "A program that touches device memory gets a SIGSEGV: "
		       "gpusvm_populate() before.");
}

/* What was asked for has its price. */
static void judge_in_thread(struct verdict *verdict)
{
	advise(verdict, "system_calls",
	       "System calls on device memory fail with EFAULT: "
	       "gpusvm_populate() before them.");
	advise(verdict, "fork",
	       "A child of a bare clone() reads device memory as zeros "
	       "(fork() is safe).");
}

static void judge_source(struct info *info)
{
	struct verdict *verdict = &info->verdict;
	bool ptrace = info->process.cap_sys_ptrace == 1;

	judge_choice(info);
	if (source_protects(info->library.source)) {
		judge_protection(info);
		return;
	}
	if (has(info, GPUSVM_FEATURE_IN_THREAD)) {
		judge_in_thread(verdict);
		return;
	}
	if (!has(info, GPUSVM_FEATURE_KERNEL_FAULTS))
		advise(verdict, "system_calls",
		       "System calls on device memory fail with EFAULT, for "
		       "the userfaultfd is for user mode only: run as root%s, "
		       "or sysctl vm.unprivileged_userfaultfd=1, or give "
		       "access to /dev/userfaultfd.",
		       info->process.user_namespace
			       ? " (outside of this user namespace)"
			       : "");
	if (has(info, GPUSVM_FEATURE_FORK_EVENT))
		return;
	advise(verdict, "fork",
	       "A child of a bare clone() reads device memory as zeros "
	       "(fork() is safe): %s.",
	       ptrace && !info->process.user_namespace
		       ? "this kernel's userfaultfd has no EVENT_FORK"
		       : "EVENT_FORK needs CAP_SYS_PTRACE, outside of user "
			 "namespaces");
}

static void judge_technique(struct info *info)
{
	struct verdict *verdict = &info->verdict;

	bool protects = source_protects(info->library.source);
	bool writes_protect = !protects && !has(info, GPUSVM_FEATURE_MOVE);

	if (writes_protect)
		advise(verdict, "technique",
		       "Pages are write-protected and copied twice, and pages "
		       "that are pinned for I/O are not seen: UFFDIO_MOVE "
		       "needs Linux 6.8.");
	if (writes_protect && info->interface[IF_PROCESS_VM_READV].err)
		advise(verdict, "process_vm_readv",
		       "Memory cannot be copied without UFFDIO_MOVE as "
		       "process_vm_readv() fails (%s): allow it in the seccomp "
		       "filter.",
		       strerror(-info->interface[IF_PROCESS_VM_READV].err));
	if (!has(info, GPUSVM_FEATURE_PROCMAP_QUERY))
		advise(verdict, "procmap_query",
		       "Each device fault reads /proc/self/maps, which is slow "
		       "with many mappings: PROCMAP_QUERY needs Linux 6.11.");
	if (!has(info, GPUSVM_FEATURE_PAGEMAP_SCAN))
		advise(verdict, "pagemap_scan",
		       "Untouched pages are found by reading "
		       "/proc/self/pagemap, and zero pages are copied as data: "
		       "PAGEMAP_SCAN needs Linux 6.7.");
	if (!protects && !has(info, GPUSVM_FEATURE_SHMEM_EVENTS))
		advise(verdict, "shmem_events",
		       "Changes of shared memory that is mapped for a device "
		       "are not seen: WP_HUGETLBFS_SHMEM needs Linux 5.19.");
}

static void judge_memory(struct info *info)
{
	const struct system_info *system = &info->system;
	const struct process_info *process = &info->process;
	struct verdict *verdict = &info->verdict;

	if (system->max_map_count >= 0 && process->mappings >= 0 &&
	    system->max_map_count - process->mappings < MAPPINGS_LOW)
		advise(verdict, "max_map_count",
		       "A mapping that is watched in parts is split, and this "
		       "system allows %ld mappings only: sysctl "
		       "vm.max_map_count=65530 or more.",
		       system->max_map_count);
	if (!strcmp(system->thp_enabled, "never"))
		advise(verdict, "huge_pages",
		       "Memory moves page by page as huge pages are off: echo "
		       "madvise >/sys/kernel/mm/transparent_hugepage/enabled, "
		       "and madvise(MADV_HUGEPAGE) in the program.");
	if (!info->library.open_err && process->as.rlim_cur < 2 * WINDOW_MAX)
		advise(verdict, "address_space_limit",
		       "The library's private memory and device memory have "
		       "to share what RLIMIT_AS leaves: raise it (ulimit -v "
		       "unlimited).");
}

static void judge_device(struct info *info)
{
	const struct library_info *library = &info->library;
	struct verdict *verdict = &info->verdict;

	if (library->pool_err == -EPERM)
		advise(verdict, "device_memory",
		       "There is no device memory on a NUMA node, as mbind() "
		       "is refused: allow mbind and move_pages in the seccomp "
		       "filter, or the node in the cpuset.");
	else if (library->pool_err)
		advise(verdict, "device_memory",
		       "There is no device memory on a NUMA node: %s.",
		       strerror(-library->pool_err));
	else if (library->emulated)
		advise(verdict, "nodes",
		       "Device memory is as near as any other, as there is one "
		       "node only: take a machine with several nodes or CXL "
		       "memory, or boot with numa=fake=2 "
		       "(CONFIG_NUMA_EMU).");
}

void judge(struct info *info)
{
	struct library_info *library = &info->library;
	struct verdict *verdict = &info->verdict;

	verdict->usable = true;
	if (library->open_err) {
		no_address_space(info);
	} else {
		judge_source(info);
		judge_technique(info);
	}
	if (library->check_err < 0)
		unusable(verdict,
			 "a page did not go to the device and come home: %s",
			 strerror(-library->check_err));
	if (library->close_err)
		unusable(verdict, "gpusvm_mm_close() fails: %s",
			 strerror(-library->close_err));
	judge_memory(info);
	judge_device(info);
}
