/* SPDX-License-Identifier: MIT */
/* Many threads at the same memory, part by part on the device. */
#ifndef TESTS_SOURCES_MANY_THREADS_H
#define TESTS_SOURCES_MANY_THREADS_H

#include "device.h"
#include "pattern.h"

#include <pthread.h>

#define THREADS 8u
#define ROUNDS 5u

struct adder {
	pthread_t thread;
	unsigned char *mem;
	size_t start;
};

static inline void *add_to_all(void *arg)
{
	const struct adder *adder = arg;
	size_t i;

	for (i = 0; i < HUGE; i += PAGE)
		__atomic_fetch_add((unsigned int *)(adder->mem +
						    (adder->start + i) % HUGE),
				   1, __ATOMIC_RELAXED);
	return NULL;
}

/*
 * All go on, and nothing that they add is lost, whether they wait for the same
 * page or for others.  With the device open.
 */
static inline void check_many_threads(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	struct adder adders[THREADS];
	unsigned int round;
	size_t i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < HUGE; i += SIZE)
			check(!device_take(mem + i, SIZE));
		for (i = 0; i < THREADS; i++) {
			adders[i].mem = mem;
			adders[i].start = i * (round % 2) * 8 * SIZE;
			check(!pthread_create(&adders[i].thread, NULL,
					      add_to_all, &adders[i]));
		}
		for (i = 0; i < THREADS; i++)
			check(!pthread_join(adders[i].thread, NULL));
	}
	for (i = 0; i < HUGE; i += PAGE)
		check(*(unsigned int *)(mem + i) == THREADS * ROUNDS);
}

#endif /* TESTS_SOURCES_MANY_THREADS_H */
