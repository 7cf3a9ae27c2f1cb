/* SPDX-License-Identifier: MIT */
/*
 * CPU faults that are not served: who waits where, how long, and for whom.
 *
 * A thread has one fault at a time, so a thread is what is watched.  A fault
 * that waits for longer than the limit is reported once; one that waits for its
 * own thread can never be served, and ends in a SIGBUS.
 */
#ifndef GPUSVM_MM_WATCHDOG_H
#define GPUSVM_MM_WATCHDOG_H

#include <gpusvm/kernel.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/* Threads that are watched at a time. */
#define WATCHED 64

/**
 * struct watched - A thread that waits
 * @tid: The thread; 0 if this place is free
 * @addr: The page
 * @since_ns: When it was first found waiting there
 * @seen_ns: And last
 * @itself_ns: Since when for itself; 0 if it does not
 * @reported: It has been
 */
struct watched {
	pid_t tid;
	unsigned long addr;
	unsigned long since_ns;
	unsigned long seen_ns;
	unsigned long itself_ns;
	bool reported;
};

/**
 * struct watchdog - What is watched
 * @lock: Protects the following
 * @limit_ns: How long a fault may wait; 0 for ever
 * @check_ns: When to look at who still waits; 0 if nobody does
 * @watched: Who waits
 */
struct watchdog {
	pthread_mutex_t lock;
	unsigned long limit_ns;
	unsigned long check_ns;
	struct watched watched[WATCHED];
};

/**
 * enum fault_wait - What a fault waits for
 * @WAIT_MIGRATION: The end of a migration
 * @WAIT_COPY: The same, whose copy completes by a fence
 * @WAIT_PAGE: Somebody holds the page
 * @WAIT_TIMESLICE: The end of a timeslice
 */
enum fault_wait {
	WAIT_MIGRATION,
	WAIT_COPY,
	WAIT_PAGE,
	WAIT_TIMESLICE,
};

void gpusvm_watchdog_init(struct watchdog *watchdog, unsigned long limit_ns);

/*
 * Thread @tid cannot be served at @addr because of what thread @holder (0 if
 * nobody knows) does.  Returns false if it never will be: it waits for itself.
 */
bool gpusvm_watchdog_waits(struct mm_struct *mm, pid_t tid, unsigned long addr,
			   enum fault_wait why, pid_t holder);

/*
 * Threads that waited in [start, end) were served, or need not wait any more:
 * their next fault there is another one.
 */
void gpusvm_watchdog_served(struct mm_struct *mm, unsigned long start,
			    unsigned long end);

/*
 * When to let everybody who waits ask again, so that who still does shows; 0
 * for never.
 */
unsigned long gpusvm_watchdog_check_ns(struct mm_struct *mm);

/* That was done. */
void gpusvm_watchdog_checked(struct mm_struct *mm);

#endif /* GPUSVM_MM_WATCHDOG_H */
