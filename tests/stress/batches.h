/* SPDX-License-Identifier: MIT */
/*
 * A driver that moves neighbours to its device in batches, best with small
 * chunks, and evicts some again.
 */
#ifndef TESTS_STRESS_BATCHES_H
#define TESTS_STRESS_BATCHES_H

#include "fake_driver.h"

struct batches_result {
	unsigned long batches;
	unsigned long migrations;
	unsigned long stayed;
	/* What must not happen. */
	unsigned int wrong;
};

/* Until @is_over(@arg); the memory that migrates is [mem, mem + size). */
void batches_run(struct fake_driver *d, unsigned char *mem, size_t size,
		 bool (*is_over)(void *arg), void *arg,
		 struct batches_result *result);

#endif /* TESTS_STRESS_BATCHES_H */
