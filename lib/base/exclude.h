/* SPDX-License-Identifier: MIT */
/*
 * The parts of the address space that no range may cover: the private
 * allocator's window, the library's own data, and what the program excluded
 * with gpusvm_exclude().
 *
 * The intervals live in a growing array in private memory, sorted and
 * disjoint after overlaps are joined for look-up; gpusvm_exclude() and
 * gpusvm_include() (declared in gpusvm/gpusvm.h) count how often an identical
 * interval was given.
 */
#ifndef GPUSVM_BASE_EXCLUDE_H
#define GPUSVM_BASE_EXCLUDE_H

#include <stdbool.h>

/*
 * Exclude the writable data of the object (library or program) that this code
 * is linked into, once per process.  0 or -ENOMEM.
 */
int gpusvm_exclude_own_data(void);

/*
 * If @addr is excluded return false.  Else return true and clip [*@start,
 * *@end), which contains @addr, so that nothing in it is excluded.
 */
bool gpusvm_exclude_clip(unsigned long addr, unsigned long *start,
			 unsigned long *end);

#endif /* GPUSVM_BASE_EXCLUDE_H */
