/* SPDX-License-Identifier: MIT */
/* The copy engine that a test program is to use, from its environment. */
#ifndef TESTS_ENGINE_H
#define TESTS_ENGINE_H

#include <gpusvm/copy.h>

/*
 * The engine that GPUSVM_TEST_ENGINE names (memcpy, stream, threads, uring);
 * NULL if it is not set.  -EINVAL for another name, or what
 * gpusvm_copy_engine_create() returns.
 */
int test_engine_create(struct gpusvm_copy_engine **engine);

#endif /* TESTS_ENGINE_H */
