/* SPDX-License-Identifier: MIT */
/*
 * The fault handler: threads that read the source, act on events and serve
 * CPU faults.
 *
 * There are at least two: while one waits in an invalidate callback for a
 * device to stop, that device may itself wait in a fault.
 *
 * They allocate nothing and touch no memory that may migrate.
 */
#ifndef GPUSVM_MM_HANDLER_H
#define GPUSVM_MM_HANDLER_H

#include <gpusvm/kernel.h>
#include <pthread.h>

#define HANDLER_MAX 8

/**
 * struct handler - The threads and how to reach them
 * @threads: The threads
 * @stacks: Their stacks, private memory
 * @nthreads: How many
 * @stop_fd: eventfd that ends them
 * @retry_ns: When to let threads that wait for a fault try again, 0 for never
 * @failed_at: Address of the last fault that could not be served
 * @epoch_lock: Protects the following
 * @epoch: 0 or 1: what a batch that is read now counts for
 * @in_epoch: Batches read in each epoch and not finished
 * @epoch_left: Signalled when one of these becomes 0
 * @wait_lock: Held by the one thread that waits for an epoch
 */
struct handler {
	pthread_t threads[HANDLER_MAX];
	void *stacks[HANDLER_MAX];
	unsigned int nthreads;
	int stop_fd;
	unsigned long retry_ns;
	unsigned long failed_at;
	pthread_mutex_t epoch_lock;
	unsigned int epoch;
	unsigned long in_epoch[2];
	pthread_cond_t epoch_left;
	pthread_mutex_t wait_lock;
};

void gpusvm_handler_init(struct handler *handler);
int gpusvm_handler_start(struct mm_struct *mm);
void gpusvm_handler_stop(struct mm_struct *mm);

/*
 * Read what the source has and act on the events, on the calling thread;
 * threads that wait in a fault are let go to ask again.  For a thread that got
 * -EAGAIN from the source, any number of times.
 */
void gpusvm_handler_settle(struct mm_struct *mm, unsigned int attempt);

/* Wait until every event that anyone has read before has been acted on. */
void gpusvm_handler_wait(struct mm_struct *mm);

#endif /* GPUSVM_MM_HANDLER_H */
