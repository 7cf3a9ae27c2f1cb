/* SPDX-License-Identifier: MIT */
/*
 * The least that serves a fault: a userfaultfd, a thread that polls and reads
 * it, and UFFDIO_COPY; or memcpy() and UFFDIO_MOVE, as the library has to serve
 * it whose driver does the copying.
 */
#ifndef GPUSVM_BENCH_BARE_H
#define GPUSVM_BENCH_BARE_H

#include <pthread.h>

#include "bench.h"

/* At most. */
#define BARE_HANDLERS 8u

/**
 * struct bare - A bare loop
 * @uffd: The userfaultfd
 * @staging_uffd: That of @staging
 * @moves: Whether it moves pages
 * @chunk: Bytes that a fault is served with
 * @stop_fd: Ends the handlers
 * @thread: The handlers
 * @nthreads: How many
 * @data: Memory whose faults it serves
 * @source: What is copied there
 * @staging: Where pages are that will move there
 * @served: Faults so far; atomic, as the handler counts
 * @err: What went wrong in the handler; atomic
 * @checked: @served at the last check
 */
struct bare {
	int uffd;
	int staging_uffd;
	bool moves;
	size_t chunk;
	int stop_fd;
	pthread_t thread[BARE_HANDLERS];
	unsigned int nthreads;
	struct area data;
	struct area source;
	struct area staging;
	size_t served;
	int err;
	size_t checked;
};

/* For @count faults.  The handler inherits the CPUs of the caller.  0, -errno, or SKIPPED. */
int bare_create(struct bare *bare, size_t count, size_t chunk, bool moves);
void bare_destroy(struct bare *bare);
/* Put the one handler on a CPU: 0 or -errno. */
int bare_pin(struct bare *bare, int cpu);
/* Have a handler on each CPU, as the library has: 0 or -errno. */
int bare_spread(struct bare *bare);
/* Whether @count faults at least were served since the last check: 0 or -errno. */
int bare_check(struct bare *bare, size_t count);
/* The first @count pieces are absent again: 0 or -errno. */
int bare_drop(struct bare *bare, size_t count);

#endif /* GPUSVM_BENCH_BARE_H */
