/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the address space's life share: one with a fake source, and
 * a look for memory and descriptors that are left behind.
 */
#ifndef TESTS_UNIT_MM_H
#define TESTS_UNIT_MM_H

#include "unit_fds.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "mm.h"
#include "page_size.h"

/* ---- The source is the test's ---- */

int __wrap_gpusvm_source_open(enum gpusvm_source wanted,
			      struct source **source);

static struct fake_source *fake;
static int uffd_error;

int __wrap_gpusvm_source_open(enum gpusvm_source wanted, struct source **source)
{
	(void)wanted;
	*source = &fake->source;
	return uffd_error;
}

static unsigned int log_errors;

static inline void count_errors(enum gpusvm_log_level level,
				const char *message, void *priv)
{
	(void)message;
	(void)priv;
	__atomic_fetch_add(&log_errors, level == GPUSVM_LOG_ERROR,
			   __ATOMIC_RELAXED);
}

static size_t blocks_before;
static unsigned int fds_before;

static inline int mm_setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake = fake_source_create(16, GPUSVM_TECHNIQUE_MOVE);
	fake->source.features = GPUSVM_FEATURE_USERFAULTFD |
				GPUSVM_FEATURE_MOVE;
	uffd_error = 0;
	log_errors = 0;
	gpusvm_set_log(count_errors, NULL, GPUSVM_LOG_INFO);
	blocks_before = gpusvm_alloc_live();
	fds_before = unit_count_fds();
	return 0;
}

static inline int mm_teardown(void **state)
{
	(void)state;
	fake_sys_reset();
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	assert_int_equal(gpusvm_alloc_live(), blocks_before);
	assert_int_equal(unit_count_fds(), fds_before);
	return fake_source_destroy(fake) ? 0 : -1;
}

static inline struct mm_struct *open_with(enum gpusvm_technique technique)
{
	struct gpusvm_mm_opts opts = {
		.size = sizeof(opts),
		.technique = technique,
	};
	struct mm_struct *mm = NULL;

	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_non_null(mm);
	return mm;
}

static inline struct mm_struct *open_default(void)
{
	struct mm_struct *mm = NULL;

	assert_int_equal(gpusvm_mm_open(&mm, NULL), 0);
	assert_non_null(mm);
	return mm;
}

#endif /* TESTS_UNIT_MM_H */
