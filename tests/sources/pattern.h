/* SPDX-License-Identifier: MIT */
/* Sizes of memory, and what is in it: no two pages of it look alike. */
#ifndef TESTS_SOURCES_PATTERN_H
#define TESTS_SOURCES_PATTERN_H

#include <gpusvm/gpusvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#define SIZE (64ul << 10)
#define HUGE (2ul << 20)
#define PAGE gpusvm_page_size()
#define RW (PROT_READ | PROT_WRITE)

/* The byte at @i; @tag tells one filling from another. */
static inline unsigned char pattern(size_t i, unsigned int tag)
{
	return (unsigned char)(i * 7 + i / PAGE + tag);
}

static inline void fill(unsigned char *mem, size_t size, unsigned int tag)
{
	size_t i;

	for (i = 0; i < size; i++)
		mem[i] = pattern(i, tag);
}

static inline bool matches(const unsigned char *mem, size_t size,
			   unsigned int tag)
{
	size_t i;

	for (i = 0; i < size; i++)
		if (mem[i] != pattern(i, tag))
			return false;
	return true;
}

static inline bool is_zero(const unsigned char *mem, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++)
		if (mem[i])
			return false;
	return true;
}

#endif /* TESTS_SOURCES_PATTERN_H */
