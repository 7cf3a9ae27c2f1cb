/* SPDX-License-Identifier: MIT */
/* What the source files of the fake driver share. */
#ifndef TESTS_FAKE_INTERNAL_H
#define TESTS_FAKE_INTERNAL_H

#include "fake_driver.h"

#include <stdatomic.h>

/* The error that this call is to fail with, or 0. */
int fake_fault_fire(struct fake_fault *fault);

/* The next number of a record. */
unsigned long fake_number(struct fake_driver *d);
/* One more; what it was before. */
unsigned int fake_count(fake_counter *counter);
void fake_run_hook(struct fake_driver *d, enum fake_hook where,
		   const void *arg);
int fake_tid(void);

/* The device and its memory; asserts. */
void fake_device_create(struct fake_driver *d,
			const struct fake_driver_config *config);
/* Evicts what is left; false if pages cannot be had back. */
bool fake_device_destroy(struct fake_driver *d);

/* The driver of a pagemap. */
struct fake_driver *fake_driver_of_pagemap(struct dev_pagemap *pagemap);

/* Record a mapping or its end. */
void fake_record_map(struct fake_driver *d, const struct fake_map *map);
/* The next copy record, empty. */
struct fake_copy *fake_record_copy(struct fake_driver *d, bool to_ram);

#endif /* TESTS_FAKE_INTERNAL_H */
