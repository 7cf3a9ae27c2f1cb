/* SPDX-License-Identifier: MIT */
/*
 * mremap(2) of memory that is one mapping for the program and several for the
 * kernel.
 *
 * A source that guards changes the protection of parts and back, and moves
 * their pages away; the kernel may not join the parts again then, and before
 * Linux 6.17 moves no two of its mappings by one call (-EFAULT).
 */
#ifndef GPUSVM_MM_REMAP_H
#define GPUSVM_MM_REMAP_H

#include <stddef.h>

/*
 * As the system call; if that cannot be, part by part.  Other threads can see
 * some parts moved and some not yet.
 */
long gpusvm_remap_move(unsigned long addr, size_t old_len, size_t new_len,
		       int flags, unsigned long to);

/* Grow without moving. */
long gpusvm_remap_grow(unsigned long addr, size_t old_len, size_t new_len,
		       int flags);

#endif /* GPUSVM_MM_REMAP_H */
