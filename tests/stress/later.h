/* SPDX-License-Identifier: MIT */
/*
 * A driver that starts migrations and goes on, many at a time, and an engine
 * that ends their copies on threads of its own: late, in any order, and now and
 * then with an error.
 */
#ifndef TESTS_STRESS_LATER_H
#define TESTS_STRESS_LATER_H

#include "fake_driver.h"

struct later_result {
	unsigned long migrations;
	/* Whose copy failed, or whose memory changed. */
	unsigned long undone;
	unsigned int most_under_way;
	/* What must not happen. */
	unsigned int wrong;
};

/*
 * Start the engine, which ends when the test does: before the driver is made,
 * whose end may need it.
 */
void later_start_engine(void);

/* Until @is_over(@arg); the memory that migrates is [mem, mem + size). */
void later_run(struct fake_driver *d, unsigned char *mem, size_t size,
	       bool (*is_over)(void *arg), void *arg,
	       struct later_result *result);

#endif /* TESTS_STRESS_LATER_H */
