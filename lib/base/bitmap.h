/* SPDX-License-Identifier: MIT */
/* Bitmaps in words: bit i is bit i % 64 of word i / 64.  The caller locks. */
#ifndef GPUSVM_BASE_BITMAP_H
#define GPUSVM_BASE_BITMAP_H

#include <stdbool.h>

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

/* The first bit in [first, end) that is @value, or @end. */
unsigned long gpusvm_bitmap_find(const unsigned long *map, unsigned long first,
				 unsigned long end, bool value);

/* Make @n bits from @first on @value; how many were not. */
unsigned long gpusvm_bitmap_fill(unsigned long *map, unsigned long first,
				 unsigned long n, bool value);

#endif /* GPUSVM_BASE_BITMAP_H */
