/* SPDX-License-Identifier: MIT */
/*
 * Which sources of faults work here, each by itself, and what is lost with it:
 * the library tells only of the one that it chose.
 */
#include <stdlib.h>
#include <string.h>

#include "info.h"

const struct source_names source_names[SOURCES] = {
	{ GPUSVM_SOURCE_USERFAULTFD, "userfaultfd", "userfaultfd" },
	{ GPUSVM_SOURCE_USERFAULTFD_USER, "user",
	  "userfaultfd, user mode only" },
	{ GPUSVM_SOURCE_MPROTECT, "mprotect", "mprotect and SIGSEGV" },
	{ GPUSVM_SOURCE_MANUAL, "manual", "manual (gpusvm_populate())" },
	{ GPUSVM_SOURCE_USERFAULTFD_SIGBUS, "sigbus",
	  "userfaultfd and SIGBUS" },
	{ GPUSVM_SOURCE_USERFAULTFD_RWP, "rwp", "userfaultfd with RWP" },
};

const struct source_names *find_source(enum gpusvm_source source)
{
	size_t i;

	for (i = 0; i < SOURCES; i++)
		if (source_names[i].source == source)
			return &source_names[i];
	return NULL;
}

enum gpusvm_source source_of(unsigned long features)
{
	if (features & GPUSVM_FEATURE_IN_THREAD)
		return GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	if (features & GPUSVM_FEATURE_RWP)
		return GPUSVM_SOURCE_USERFAULTFD_RWP;
	if (features & GPUSVM_FEATURE_USERFAULTFD)
		return features & GPUSVM_FEATURE_KERNEL_FAULTS
			       ? GPUSVM_SOURCE_USERFAULTFD
			       : GPUSVM_SOURCE_USERFAULTFD_USER;
	return features & GPUSVM_FEATURE_CPU_FAULTS ? GPUSVM_SOURCE_MPROTECT
						    : GPUSVM_SOURCE_MANUAL;
}

bool source_protects(enum gpusvm_source source)
{
	return source == GPUSVM_SOURCE_MPROTECT ||
	       source == GPUSVM_SOURCE_MANUAL;
}

const struct source_names *wanted_source(void)
{
	const char *value = getenv(SOURCE_VARIABLE);
	size_t i;

	for (i = 0; value && i < SOURCES; i++)
		if (!strcmp(source_names[i].key, value))
			return &source_names[i];
	return NULL;
}

const char *technique_key(unsigned long features)
{
	if (features & GPUSVM_FEATURE_MOVE)
		return "move";
	return features & GPUSVM_FEATURE_USERFAULTFD ? "write-protect"
						     : "mremap";
}

static void try_source(struct source_info *info, enum gpusvm_source source)
{
	const struct gpusvm_mm_opts opts = { .size = sizeof(opts),
					     .source = source };
	struct mm_struct *mm;

	log_to(&info->log);
	info->err = gpusvm_mm_open(&mm, &opts);
	if (!info->err) {
		info->features = gpusvm_mm_features(mm);
		info->err = gpusvm_mm_close(mm);
	}
	log_to(NULL);
}

void probe_sources(struct source_info info[SOURCES], bool killed)
{
	size_t i;

	for (i = 0; i < SOURCES; i++) {
		info[i].err = NOT_TRIED;
		if (!killed || source_protects(source_names[i].source))
			try_source(&info[i], source_names[i].source);
	}
}

/* With an error the library's last word is what is missing. */
const char *source_missing(const struct source_info *info)
{
	const struct log_line *lines;
	size_t i = log_lines(&info->log, &lines);

	if (info->err == NOT_TRIED)
		return "a seccomp filter ends processes that ask for it";
	if (!info->err)
		return NULL;
	while (i--)
		if (lines[i].level == GPUSVM_LOG_ERROR)
			return lines[i].text;
	return strerror(-info->err);
}
