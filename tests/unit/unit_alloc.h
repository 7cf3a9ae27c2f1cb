/* SPDX-License-Identifier: MIT */
/* What the tests of the private allocator share: contents, and children. */
#ifndef TESTS_UNIT_ALLOC_H
#define TESTS_UNIT_ALLOC_H

#include "unit.h"

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "page_size.h"
#include "sys.h"

#define KIB (1ul << 10)
#define MIB (1ul << 20)
#define GIB (1ul << 30)

static inline bool all_bytes(const void *ptr, unsigned char value, size_t size)
{
	const unsigned char *bytes = ptr;
	size_t i;

	for (i = 0; i < size; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

static inline int exit_status(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif /* TESTS_UNIT_ALLOC_H */
