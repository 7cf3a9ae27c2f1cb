/* SPDX-License-Identifier: MIT */
/*
 * What the tests of staging memory share: an address space, runs, and what the
 * kernel has of them.
 */
#ifndef TESTS_UNIT_STAGING_H
#define TESTS_UNIT_STAGING_H

#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <sys/mman.h>

#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "page_size.h"
#include "staging.h"

static struct fake_source *fake;
static struct mm_struct *mm;

static inline int staging_setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake = fake_source_create(1, GPUSVM_TECHNIQUE_MOVE);
	mm = fake->mm;
	return 0;
}

static inline int staging_teardown(void **state)
{
	(void)state;
	return fake_source_destroy(fake) ? 0 : -1;
}

static inline struct staging_run *create(struct staging_run **owner,
					 unsigned long n)
{
	assert_int_equal(gpusvm_staging_create(mm, n, owner), 0);
	assert_non_null(*owner);
	return *owner;
}

static inline void destroy(struct staging_run **owner)
{
	gpusvm_staging_destroy(mm, owner);
	assert_null(*owner);
}

static inline unsigned char *page_of(const struct staging_run *run,
				     unsigned long i)
{
	return (unsigned char *)run->addr + (i << PAGE_SHIFT);
}

/* How many pages the kernel has there; those that the run says must agree. */
static inline unsigned long count_present(const struct staging_run *run)
{
	unsigned long i, n = 0;
	bool filled;

	for (i = 0; i < 1ul << run->order; i++) {
		filled = run->filled[i / 64] & (1ul << (i % 64));
		assert_int_equal(fake_present((unsigned long)page_of(run, i)),
				 filled);
		n += filled;
	}
	assert_int_equal(run->nfilled, n);
	return n;
}

static inline void get_filled(struct staging_run **owner, unsigned long n)
{
	assert_int_equal(gpusvm_staging_get_filled(mm, owner, n), 0);
	assert_true(count_present(*owner) >= n);
}

#endif /* TESTS_UNIT_STAGING_H */
