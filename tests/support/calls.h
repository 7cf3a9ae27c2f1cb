/* SPDX-License-Identifier: MIT */
/*
 * libc's calls that change memory, in two ways: with the hooks of
 * gpusvm/hooks.h, and bare, followed by gpusvm_mm_sync().  What a test says of
 * contents must be true of both; that the device has stopped before the change
 * is true of the hooks only.  With a source that must be told of changes bare
 * calls go unnoticed, which is no news: there the hooks are the one way.
 *
 *	for_each_calls(call) {
 *		...
 *		assert_int_equal(call->munmap(mem, SZ_64K), 0);
 *	}
 *
 * Areas (harness.h) are told what is a hole of theirs.
 */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include "harness.h"

struct test_calls {
	const char *name;
	bool announced;
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd);
	int (*munmap)(void *addr, size_t length);
	/* @to is ignored without MREMAP_FIXED and MREMAP_DONTUNMAP. */
	void *(*mremap)(void *addr, size_t old_size, size_t new_size, int flags,
			void *to);
	int (*mprotect)(void *addr, size_t length, int prot);
	int (*madvise)(void *addr, size_t length, int advice);
};

#define TEST_CALLS 2
extern const struct test_calls test_calls[TEST_CALLS];

/* How many of these there are with this source, from the first. */
unsigned int test_calls_count(void);

#define for_each_calls(call)                             \
	for (const struct test_calls *call = test_calls; \
	     call < test_calls + test_calls_count(); call++)

/* Private anonymous memory, readable and writable, in the place of what is. */
unsigned char *test_calls_replace(const struct test_calls *call, void *addr,
				  size_t size);

#endif /* TESTS_CALLS_H */
