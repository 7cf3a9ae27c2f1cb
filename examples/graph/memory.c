/* SPDX-License-Identifier: MIT */
/*
 * The program's memory is plain malloc() memory: the device works with any.
 *
 * What lies beside an array may share a range with it and moves along.  For a
 * program's own memory that is fine.  A sanitizer's must not: the library's
 * fault handler needs it, too.  So in a program that has a sanitizer built in,
 * arrays get whole blocks as large as the largest range.
 */
#include <gpusvm/hooks.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define BLOCK (2ul << 20)

static size_t whole_blocks(size_t bytes)
{
	return SANITIZED ? (bytes + BLOCK - 1) & ~(BLOCK - 1) : bytes;
}

static void out_of_memory(size_t count, size_t size)
{
	fprintf(stderr, "graph: no memory for %zu x %zu bytes\n", count, size);
	exit(1);
}

void *allocate(size_t count, size_t size)
{
	void *array;

	if (!count)
		count = 1;
	if (SANITIZED) {
		array = aligned_alloc(BLOCK, whole_blocks(count * size));
		if (array)
			memset(array, 0, count * size);
	} else {
		array = calloc(count, size);
	}
	if (!array)
		out_of_memory(count, size);
	return array;
}

void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return array;
	*capacity = *capacity ? 2 * *capacity : 64;
	array = reallocarray(array, *capacity, size);
	if (!array)
		out_of_memory(*capacity, size);
	return array;
}

/* With a sanitizer more than that, of which the ends are given back. */
void *map_pages(size_t bytes)
{
	size_t slack = SANITIZED ? BLOCK : 0;
	size_t size = whole_blocks(bytes);
	char *start = mmap(NULL, size + slack, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t head;

	if (start == MAP_FAILED)
		out_of_memory(1, size);
	if (!slack)
		return start;
	head = BLOCK - (uintptr_t)start % BLOCK;
	munmap(start, head);
	if (head < slack)
		munmap(start + head + size, slack - head);
	return start + head;
}

/*
 * Announced: the device has stopped before the memory goes, and the library
 * learns of it also where the kernel tells of nothing.
 */
void unmap_pages(void *start, size_t bytes)
{
	gpusvm_munmap(start, whole_blocks(bytes));
}
