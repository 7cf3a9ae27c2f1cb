/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: CMocka with the headers that it needs first, and
 * random numbers from a seed that is printed and can be given again.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#ifdef NDEBUG
#error "tests need assertions"
#endif

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define UNIT_SKIPPED 77

/* The seed of this run; repeat one with GPUSVM_TEST_SEED. */
static inline uint64_t unit_seed(void)
{
	const char *given = getenv("GPUSVM_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0)
			      : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ull;

	printf("GPUSVM_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* So many, or more on machines that were said to be slow. */
static inline unsigned int unit_seconds(unsigned int seconds)
{
	const char *given = getenv("GPUSVM_TEST_SLOW");
	unsigned int slow = given ? (unsigned int)atoi(given) : 1;

	return slow ? seconds * slow : seconds;
}

/* splitmix64: any state is a good one; one state per thread. */
static inline uint64_t unit_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* 0 ... @limit - 1 */
static inline unsigned long unit_random_below(uint64_t *state,
					      unsigned long limit)
{
	return unit_random(state) % limit;
}

#endif /* TESTS_UNIT_H */
