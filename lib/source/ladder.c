/* SPDX-License-Identifier: MIT */
/* The choice of a source: the best there is, or the one that was asked for. */
#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "log.h"
#include "source.h"

static const char *const names[] = {
	[GPUSVM_SOURCE_USERFAULTFD] = "userfaultfd",
	[GPUSVM_SOURCE_USERFAULTFD_USER] = "user",
	[GPUSVM_SOURCE_MPROTECT] = "mprotect",
	[GPUSVM_SOURCE_MANUAL] = "manual",
	[GPUSVM_SOURCE_USERFAULTFD_SIGBUS] = "sigbus",
	[GPUSVM_SOURCE_USERFAULTFD_RWP] = "rwp",
};

/* What the environment asks for; -EINVAL if it names no source. */
static int from_environment(enum gpusvm_source *wanted)
{
	const char *value = getenv("GPUSVM_SOURCE");
	unsigned int i;

	if (!value || !*value)
		return 0;
	for (i = GPUSVM_SOURCE_USERFAULTFD; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		*wanted = (enum gpusvm_source)i;
		return 0;
	}
	log_error("mm_open: GPUSVM_SOURCE is none of userfaultfd, user, "
		  "mprotect, manual, sigbus, rwp");
	return -EINVAL;
}

static int open_best(struct source **source)
{
	int err = gpusvm_uffd_open(GPUSVM_SOURCE_AUTO, source);

	if (err != -EPERM && err != -ENOSYS && err != -EACCES)
		return err;
	err = gpusvm_protect_open(GPUSVM_SOURCE_MPROTECT, source);
	if (!err)
		log_warning("without userfaultfd mprotect and SIGSEGV are "
			    "used: system calls on device-resident memory give "
			    "EFAULT (gpusvm_populate() is for that), and "
			    "changes of memory that are not announced "
			    "(gpusvm/hooks.h) go unnoticed");
	return err;
}

int gpusvm_source_open(enum gpusvm_source wanted, struct source **source)
{
	int err;

	if (wanted == GPUSVM_SOURCE_AUTO) {
		err = from_environment(&wanted);
		if (err)
			return err;
	}
	switch (wanted) {
	case GPUSVM_SOURCE_USERFAULTFD:
	case GPUSVM_SOURCE_USERFAULTFD_USER:
	case GPUSVM_SOURCE_USERFAULTFD_SIGBUS:
	case GPUSVM_SOURCE_USERFAULTFD_RWP:
		return gpusvm_uffd_open(wanted, source);
	case GPUSVM_SOURCE_MPROTECT:
	case GPUSVM_SOURCE_MANUAL:
		return gpusvm_protect_open(wanted, source);
	case GPUSVM_SOURCE_AUTO:
		break;
	}
	return open_best(source);
}
