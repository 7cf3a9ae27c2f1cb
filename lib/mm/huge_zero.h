/* SPDX-License-Identifier: MIT */
/*
 * A fault of Linux 6.16 to 6.18.19 and 6.19 to 6.19.9 (CVE-2026-31397):
 * UFFDIO_MOVE of a whole huge zero page, which is what untouched memory becomes
 * when it is read, leaves a mapping of memory that does not exist.  It is
 * right with small pieces, for which the kernel splits the huge page first.
 */
#ifndef GPUSVM_MM_HUGE_ZERO_H
#define GPUSVM_MM_HUGE_ZERO_H

#include <gpusvm/kernel.h>
#include <stdbool.h>

/* Whether a kernel of that release ("6.18.15+deb13-amd64") has the fault. */
bool gpusvm_huge_zero_is_spoiled(const char *release);

/* Look at the running kernel; sets mm->splits_huge_zero. */
void gpusvm_huge_zero_open(struct mm_struct *mm);

/*
 * How many of @len bytes from @from on, at least a page, may be moved in one
 * call, if another goes on from there.  What is not there yet may be read for
 * the first time meanwhile.
 */
unsigned long gpusvm_huge_zero_clip(struct mm_struct *mm, unsigned long from,
				    unsigned long len);

#endif /* GPUSVM_MM_HUGE_ZERO_H */
