/* SPDX-License-Identifier: MIT */
/*
 * The fault handler: threads that read the source, act on events and serve
 * CPU faults.
 *
 * Some of that is quick, and some waits for others: an invalidate callback for
 * a device to stop, which may itself wait in a fault.  What may wait is a job
 * in a queue.  Every thread takes jobs, but never all at once: one is always
 * left to read and to do what is quick.  That one may be a spare, which sleeps
 * while others read.
 *
 * They allocate nothing and touch no memory that may migrate.
 */
#ifndef GPUSVM_MM_HANDLER_H
#define GPUSVM_MM_HANDLER_H

#include <gpusvm/kernel.h>
#include <pthread.h>

#include "events.h"
#include "source.h"

/* Threads that read, at most, and those that do when all others work. */
#define HANDLER_READERS 8u
#define HANDLER_SPARES 2u
#define HANDLER_MAX (HANDLER_READERS + HANDLER_SPARES)
#define HANDLER_JOBS 256

struct dev_pagemap_ops;

/**
 * struct job - What may wait
 * @ops: For a fault: operations of the device page, else NULL
 * @zone_device_data: For a fault: the page's allocation, with a reference
 * @fault: For a fault: what the source told
 * @applied: For an event: what is left to be done
 * @epoch: For an event: when it was applied
 */
struct job {
	const struct dev_pagemap_ops *ops;
	void *zone_device_data;
	struct source_event fault;
	struct applied_event applied;
	unsigned int epoch;
};

/**
 * struct handler - The threads and how to reach them
 * @threads: The threads
 * @stacks: Their stacks, private memory
 * @nthreads: How many
 * @wake_fd: eventfd that makes readers look at the queue
 * @spare_fd: eventfd that makes spares look whether they are needed
 * @stop: They are to end; atomic
 * @last_reader: Who served a fault last, by something of his own; atomic
 * @retry_ns: When to let threads that wait for a fault try again, 0 for never
 * @failed_at: Address of the last fault that could not be served
 * @lock: Protects the following
 * @done: Signalled when the last event of an epoch is done
 * @jobs: Queue, a ring
 * @first: The oldest job
 * @njobs: How many there are
 * @nreaders: Threads that are no spares
 * @working: Threads that are at a job
 * @taken: Jobs that were ever taken
 * @spares_asleep: Spares that want to be told when @working is @nreaders
 * @epoch: 0 or 1: what an event that is applied now counts for
 * @in_epoch: Events applied in each epoch and not done
 * @wait_lock: Held by the one thread that waits for an epoch
 * @server: How threads serve their own faults, if they do
 */
struct handler {
	pthread_t threads[HANDLER_MAX];
	void *stacks[HANDLER_MAX];
	unsigned int nthreads;
	int wake_fd;
	int spare_fd;
	bool stop;
	const void *last_reader;
	unsigned long retry_ns;
	unsigned long failed_at;
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct job jobs[HANDLER_JOBS];
	unsigned int first;
	unsigned int njobs;
	unsigned int nreaders;
	unsigned int working;
	unsigned long taken;
	unsigned int spares_asleep;
	unsigned int epoch;
	unsigned long in_epoch[2];
	pthread_mutex_t wait_lock;
	struct fault_server server;
};

/* NULL without memory; freed by gpusvm_free(). */
struct handler *gpusvm_handler_create(void);

/* With @most readers; 0 for one on each CPU that the thread may run on. */
int gpusvm_handler_start(struct mm_struct *mm, unsigned int most);
void gpusvm_handler_stop(struct mm_struct *mm);

/*
 * Read what the source has, on the calling thread, and leave it to the handler;
 * threads that wait in a fault are let go to ask again.  For a thread that got
 * -EAGAIN from the source, any number of times.
 */
void gpusvm_handler_settle(struct mm_struct *mm, unsigned int attempt);

/* Until every change that had begun is in the device page table. */
void gpusvm_handler_wait_settled(struct mm_struct *mm);

/* Have a fault's job done by a handler thread. */
void gpusvm_handler_give(struct mm_struct *mm, struct job *job);

/* Let threads that wait for a fault try again at @ns. */
void gpusvm_handler_retry_at(struct mm_struct *mm, unsigned long ns);

/* Make readers that sleep look at the queue, and at the time to wait. */
void gpusvm_handler_wake(struct mm_struct *mm);

/*
 * Events are counted by the epoch in which they were applied, so that who waits
 * for those up to now need not keep out the next ones: count one while
 * event_lock is still held for writing, and say of which epoch it is when the
 * rest of it is to be done.
 */
unsigned int gpusvm_handler_count(struct mm_struct *mm);
void gpusvm_handler_finish(struct mm_struct *mm, struct applied_event *applied,
			   unsigned int epoch);

/*
 * Wait until every event that anyone has applied before has been acted on: read
 * from the source, or announced and at its end.
 */
void gpusvm_handler_wait(struct mm_struct *mm);

#endif /* GPUSVM_MM_HANDLER_H */
