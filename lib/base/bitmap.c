/* SPDX-License-Identifier: MIT */
/* See bitmap.h. */
#include "bitmap.h"

#include "compiler.h"

#define BITS 64ul

unsigned long gpusvm_bitmap_find(const unsigned long *map, unsigned long first,
				 unsigned long end, bool value)
{
	unsigned long word;

	while (first < end) {
		word = map[first / BITS];
		word = (value ? word : ~word) >> (first % BITS);
		if (word)
			return min(first + (unsigned long)__builtin_ctzl(word),
				   end);
		first = ALIGN_DOWN(first, BITS) + BITS;
	}
	return end;
}

unsigned long gpusvm_bitmap_fill(unsigned long *map, unsigned long first,
				 unsigned long n, bool value)
{
	unsigned long count, mask, other, changed = 0;

	for (; n; n -= count, first += count) {
		count = min(n, BITS - first % BITS);
		mask = (~0ul >> (BITS - count)) << (first % BITS);
		other = (map[first / BITS] ^ (value ? ~0ul : 0)) & mask;
		map[first / BITS] ^= other;
		changed += (unsigned long)__builtin_popcountl(other);
	}
	return changed;
}
