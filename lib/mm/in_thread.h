/* SPDX-License-Identifier: MIT */
/*
 * Faults that the thread that made them serves itself, in a signal handler: it
 * brings the page home, or waits for whoever is at it.  The handler threads are
 * left with events, with timeslices that end, and with the faults of threads
 * that have too little stack.
 *
 * For a source that has faults of this kind; with any other nothing is done.
 */
#ifndef GPUSVM_MM_IN_THREAD_H
#define GPUSVM_MM_IN_THREAD_H

struct mm_struct;

/* When the handler threads run; before they are gone. */
void gpusvm_in_thread_start(struct mm_struct *mm);
void gpusvm_in_thread_stop(struct mm_struct *mm);

/*
 * To be called first by a thread of the library's own: its faults on memory of
 * a device are driver's errors, which end in a line in the log and a SIGBUS.
 */
void gpusvm_in_thread_never(struct mm_struct *mm);

#endif /* GPUSVM_MM_IN_THREAD_H */
