/* SPDX-License-Identifier: MIT */
/* Lack of private memory, for tests that wrap its allocator. */
#ifndef TESTS_UNIT_SVM_ALLOC_H
#define TESTS_UNIT_SVM_ALLOC_H

#include "unit_svm.h"

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static unsigned int fail_alloc;

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now(&fail_alloc) ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return fails_now(&fail_alloc) ? NULL
				      : __real_gpusvm_alloc_array(n, size);
}

#endif /* TESTS_UNIT_SVM_ALLOC_H */
