/* SPDX-License-Identifier: MIT */
/*
 * What the tests of taking and of dropping pages share: a migration in the
 * middle, with pages that belong to no step of it yet.
 */
#ifndef TESTS_UNIT_ISOLATE_H
#define TESTS_UNIT_ISOLATE_H

#include "unit_migration.h"

#define N 12ul
#define FIRST 4ul

static inline int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	m.start = fake_addr(fake, FIRST);
	take_device_pages();
	return 0;
}

static inline int teardown(void **state)
{
	unsigned long i;

	(void)state;
	fake_source_forget_plans(fake);
	for (i = 0; i < N; i++) {
		if (m.pages[i]->vaddr)
			gpusvm_devpt_clear(&mm->pt, m.pages[i]->vaddr);
		gpusvm_page_put(m.pages[i]);
	}
	gpusvm_staging_put(mm, m.run);
	migration_teardown();
	return 0;
}

static inline void split_at(unsigned long i)
{
	madvise(window(i), (WINDOW - i) << PAGE_SHIFT, MADV_DONTFORK);
}

#endif /* TESTS_UNIT_ISOLATE_H */
