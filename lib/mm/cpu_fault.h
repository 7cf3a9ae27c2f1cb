/* SPDX-License-Identifier: MIT */
/*
 * A CPU fault: what stands at the address, and bringing it home.  For the
 * threads of the fault handler.
 */
#ifndef GPUSVM_MM_CPU_FAULT_H
#define GPUSVM_MM_CPU_FAULT_H

struct job;
struct mm_struct;

/*
 * Find out what stands at the address.  What is decided under these locks is
 * overtaken neither by an event nor by a migration to the device, which enters
 * its pages under pt_lock.  1 if a device page does: @job is to be done; 0 if
 * the fault is served; -EAGAIN if the source must settle first.
 */
int gpusvm_cpu_fault_look_up(struct mm_struct *mm, struct job *job);

/* Do the job: bring the device page home, and let the thread go on. */
void gpusvm_cpu_fault_migrate(struct mm_struct *mm, struct job *job);

/* Let a thread that waits for a page touch it again. */
void gpusvm_cpu_fault_wake(struct mm_struct *mm, unsigned long addr);

#endif /* GPUSVM_MM_CPU_FAULT_H */
