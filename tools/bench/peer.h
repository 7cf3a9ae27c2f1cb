/* SPDX-License-Identifier: MIT */
/*
 * A process without the library: forked before the address space is opened, it
 * does what the parent does, when it is asked to, and measures itself.
 */
#ifndef GPUSVM_BENCH_PEER_H
#define GPUSVM_BENCH_PEER_H

#include <sys/types.h>

/**
 * struct peer - The other process
 * @pid: Its number
 * @ask_fd: A byte written there asks for a round
 * @answer_fd: Where its values come from
 */
struct peer {
	pid_t pid;
	int ask_fd;
	int answer_fd;
};

/*
 * Fork; the child calls @round(@arg, &value) whenever it is asked to.  No
 * threads before.  0 or -errno.
 */
int peer_create(struct peer *peer, int (*round)(void *arg, double *value),
		void *arg);
/* One round: 0 or what it returned. */
int peer_run(struct peer *peer, double *value);
void peer_destroy(struct peer *peer);

#endif /* GPUSVM_BENCH_PEER_H */
