/* SPDX-License-Identifier: MIT */
/*
 * Where threads wait in a signal handler until a page that they touched may be
 * touched again: words that change when anything happens there, one for many
 * huge pages.
 *
 * Who waits looks at the word first, then finds out that he has to wait, and
 * sleeps only if the word is still the same: so whoever lets him go may do so
 * at any time after the first look.
 */
#ifndef GPUSVM_SOURCE_PARK_H
#define GPUSVM_SOURCE_PARK_H

/* The word of @addr, before it is known whether to wait. */
unsigned int gpusvm_park_look(unsigned long addr);

/* Until the word is not @seen any more, or a signal comes. */
void gpusvm_park_wait(unsigned long addr, unsigned int seen);

/* Let threads that wait in [start, end) go on. */
void gpusvm_park_wake(unsigned long start, unsigned long end);

#endif /* GPUSVM_SOURCE_PARK_H */
