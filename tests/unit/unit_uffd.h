/* SPDX-License-Identifier: MIT */
/*
 * A kernel with userfaultfd, as a script: what the tests of lib/source/ share.
 */
#ifndef TESTS_UNIT_UFFD_H
#define TESTS_UNIT_UFFD_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "alloc.h"
#include "compiler.h"
#include "fake_sys.h"
#include "source.h"
#include "uapi.h"
#include "uffd.h"

#define UFFD 10
#define PROBE 11
#define DEVICE 20

#define NEEDED                                                       \
	(UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |      \
	 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
	 UFFD_FEATURE_THREAD_ID)
#define WANTED                                         \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_MOVE | \
	 UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

/* What the kernel has. */
static unsigned long kernel_features;
/* What was asked for by each handshake, and on which descriptor. */
static unsigned long asked[8];
static unsigned int asked_of[8];
static unsigned int nasked;
/* Descriptors that were closed, and flags of those opened. */
static unsigned long closed[16];
static unsigned int nclosed;
static unsigned long flags[16];
static unsigned int nflags;
/* The last lines of the log. */
static char log_line[512];
static unsigned int nlines;
static enum gpusvm_log_level log_level;

static inline void keep_line(enum gpusvm_log_level level, const char *message,
			     void *priv)
{
	(void)priv;
	nlines++;
	log_level = level;
	snprintf(log_line, sizeof(log_line), "%s", message);
}

static inline void note_close(const unsigned long *args, const void *priv)
{
	(void)priv;
	closed[nclosed++] = args[0];
}

static inline void note_flags(const unsigned long *args, const void *priv)
{
	(void)priv;
	flags[nflags++] = args[0];
}

static inline void note_device_flags(const unsigned long *args,
				     const void *priv)
{
	(void)priv;
	flags[nflags++] = args[1];
}

static inline void grant(const unsigned long *args, const void *priv)
{
	struct uffdio_api *api = (struct uffdio_api *)args[1];

	(void)priv;
	assert_int_equal(api->api, UFFD_API);
	asked_of[nasked] = (unsigned int)args[0];
	asked[nasked++] = api->features;
	api->features = kernel_features;
}

static inline void expect_open(long ret)
{
	fake_sys_expect_fill(FAKE_SYS_USERFAULTFD, ret, note_flags, NULL);
}

static inline void expect_close(void)
{
	fake_sys_expect_fill(FAKE_SYS_CLOSE, 0, note_close, NULL);
}

static inline void expect_api(long ret)
{
	fake_sys_expect_fill(FAKE_SYS_UFFD_API, ret, grant, NULL);
}

/* A probe tells the features. */
static inline void expect_probe(void)
{
	expect_open(PROBE);
	expect_api(0);
	expect_close();
}

/* A descriptor is had at the first door, and all it asks for. */
static inline void expect_descriptor(int fd)
{
	expect_open(fd);
	expect_probe();
	expect_api(0);
}

static inline void uffd_script_start(void)
{
	static const enum fake_sys_fn strict[] = {
		FAKE_SYS_OPEN,
		FAKE_SYS_CLOSE,
		FAKE_SYS_READ,
		FAKE_SYS_YIELD,
		FAKE_SYS_USERFAULTFD,
		FAKE_SYS_USERFAULTFD_DEV,
		FAKE_SYS_UFFD_API,
		FAKE_SYS_UFFD_REGISTER,
		FAKE_SYS_UFFD_UNREGISTER,
		FAKE_SYS_MADVISE,
		FAKE_SYS_UFFD_WAKE,
		FAKE_SYS_UFFD_COPY,
		FAKE_SYS_UFFD_ZEROPAGE,
		FAKE_SYS_UFFD_WRITEPROTECT,
		FAKE_SYS_UFFD_RWPROTECT,
		FAKE_SYS_UFFD_MOVE,
	};

	fake_sys_reset();
	fake_sys_strict(strict, ARRAY_SIZE(strict));
	kernel_features = NEEDED | WANTED | UFFD_FEATURE_SIGBUS;
	nasked = 0;
	nclosed = 0;
	nflags = 0;
	nlines = 0;
	log_line[0] = '\0';
	gpusvm_set_log(keep_line, NULL, GPUSVM_LOG_WARNING);
}

static inline void assert_script_played(void)
{
	const char *problem = fake_sys_problem();

	if (problem)
		fail_msg("%s", problem);
}

static inline bool was_closed(unsigned long fd)
{
	unsigned int i;

	for (i = 0; i < nclosed; i++)
		if (closed[i] == fd)
			return true;
	return false;
}

/* ---- A source that was opened, for what is asked of it ---- */

#define ADDR 0x700000000000ul
#define FROM 0x600000000000ul

static struct source *source;

/* After uffd_script_start(), and what else the kernel is to have. */
static inline int uffd_source_open(enum gpusvm_source wanted)
{
	expect_descriptor(UFFD);
	if (gpusvm_uffd_open(wanted, &source))
		return -1;
	nclosed = 0;
	return 0;
}

static inline int uffd_source_close(void **state)
{
	(void)state;
	expect_close();
	source->ops->close(source);
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	if (fake_sys_problem() || !was_closed(UFFD))
		return -1;
	fake_sys_reset();
	return gpusvm_alloc_live() ? -1 : 0;
}

#endif /* TESTS_UNIT_UFFD_H */
