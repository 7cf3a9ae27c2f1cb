/* SPDX-License-Identifier: MIT */
/*
 * A CPU fault: what stands at the address, and bringing it home.  For the
 * threads of the fault handler, and for those that serve a fault of their own.
 */
#ifndef GPUSVM_MM_CPU_FAULT_H
#define GPUSVM_MM_CPU_FAULT_H

#include "source.h"

struct job;
struct mm_struct;

/*
 * Find out what stands at the address.  What is decided under these locks is
 * overtaken neither by an event nor by a migration to the device, which enters
 * its pages under pt_lock.
 */
enum fault_result gpusvm_cpu_fault_look_up(struct mm_struct *mm,
					   struct job *job);

/*
 * Do the job: bring the device page home, and let the thread go on.  Served,
 * waits or failed.
 */
enum fault_result gpusvm_cpu_fault_migrate(struct mm_struct *mm,
					   struct job *job);

/* Let a thread that waits for a page touch it again. */
void gpusvm_cpu_fault_wake(struct mm_struct *mm, unsigned long addr);

#endif /* GPUSVM_MM_CPU_FAULT_H */
