/* SPDX-License-Identifier: MIT */
/*
 * Migrations to a device that go on after the call that started them: the copy
 * completes by a fence, and a thread of the address space ends them.
 *
 * That thread is not one of the fault handler's: to end a migration may take an
 * event that one of these has to read, and they may all wait for callbacks.  It
 * is started with the first such migration.
 *
 * Who signals a fence takes no lock here.  He may be late to leave, so he is
 * counted, and closing waits for him.
 */
#ifndef GPUSVM_MM_UNDER_WAY_H
#define GPUSVM_MM_UNDER_WAY_H

#include <pthread.h>
#include <stdbool.h>

#include "fence.h"

struct migration;
struct mm_struct;

/**
 * struct under_way - A migration's part of it
 * @entry: In the list of the address space; under pt_lock
 * @next: The one that was signalled before, until both are ended
 * @callback: What the fence calls
 * @since_ns: Since when
 * @reported: It has taken too long, and the log says so; under pt_lock
 * @end: Ends it
 */
struct under_way {
	struct list_head entry;
	struct under_way *next;
	struct fence_callback callback;
	unsigned long since_ns;
	bool reported;
	void (*end)(struct migration *m);
};

/**
 * struct under_way_list - All of an address space
 * @all: Those that were not ended; under pt_lock
 * @idle: The thread sleeps until it is woken, not until something is late; under
 *	pt_lock
 * @signalled: Those that are to be; atomic
 * @signalling: How many fences there are whose signal may come or is being
 *	dealt with; atomic
 * @wake: A futex, changed when there is something to do; atomic
 * @stop: The thread is to end; atomic
 * @lock: Protects the following
 * @running: There is a thread
 * @thread: The thread
 * @stack: Its stack
 */
struct under_way_list {
	struct list_head all;
	bool idle;
	struct under_way *signalled;
	unsigned int signalling;
	unsigned int wake;
	bool stop;
	pthread_mutex_t lock;
	bool running;
	pthread_t thread;
	void *stack;
};

/* Also in a forked child, which has neither thread nor migrations. */
void gpusvm_under_way_init(struct mm_struct *mm);

/*
 * See to it that there is the thread.  Uses malloc().  0, -ENOMEM or -EAGAIN.
 */
int gpusvm_under_way_start(struct mm_struct *mm);

/* When nothing is under way any more, and nothing will be. */
void gpusvm_under_way_stop(struct mm_struct *mm);

/*
 * Leave a migration, whose pages are taken and which has a fence, to the thread:
 * it calls @end when the fence is signalled, perhaps before this returns.  @end
 * calls gpusvm_under_way_remove() when nobody has to wait for it any more.
 */
void gpusvm_under_way_add(struct migration *m,
			  void (*end)(struct migration *m));
void gpusvm_under_way_remove(struct migration *m);

/*
 * Wait until nothing is under way, for a caller that keeps new ones out; up to
 * @deadline_ns, ~0 for ever.  0, or -EBUSY.
 */
int gpusvm_under_way_wait(struct mm_struct *mm, unsigned long deadline_ns);

#endif /* GPUSVM_MM_UNDER_WAY_H */
