/* SPDX-License-Identifier: MIT */
/* Memory that the kernel has pinned for I/O. */
#ifndef TESTS_PIN_H
#define TESTS_PIN_H

#include <stddef.h>

/*
 * Pin the pages of [addr, addr + size); they stay so until test_unpin() of
 * what is returned, and for a moment longer.  Negative if that cannot be done
 * here.
 */
int test_pin(void *addr, size_t size);
void test_unpin(int pin);

#endif /* TESTS_PIN_H */
