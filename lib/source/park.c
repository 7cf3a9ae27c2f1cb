/* SPDX-License-Identifier: MIT */
/* Where threads wait for a page: see park.h. */
#include "park.h"

#include "compiler.h"
#include "sys.h"

/* By the 2 MiB that they touched. */
#define WORDS 64
#define WORD_SHIFT 21

/**
 * struct place - Where threads wait
 * @word: What they wait for a change of
 * @waiters: How many there are, or more: one that leaves its signal handler by
 *	siglongjmp() is never counted out
 */
static struct place {
	unsigned int word;
	unsigned int waiters;
} places[WORDS];

static struct place *place_of(unsigned long addr)
{
	return &places[(addr >> WORD_SHIFT) % WORDS];
}

unsigned int gpusvm_park_look(unsigned long addr)
{
	return __atomic_load_n(&place_of(addr)->word, __ATOMIC_ACQUIRE);
}

void gpusvm_park_wait(unsigned long addr, unsigned int seen)
{
	struct place *place = place_of(addr);

	/* Who changes the word and does not find us here, we do not miss. */
	__atomic_fetch_add(&place->waiters, 1, __ATOMIC_SEQ_CST);
	gpusvm_sys_futex_wait(&place->word, seen, NULL);
	__atomic_fetch_sub(&place->waiters, 1, __ATOMIC_SEQ_CST);
}

void gpusvm_park_wake(unsigned long start, unsigned long end)
{
	unsigned long at = start >> WORD_SHIFT;
	unsigned long last = (end - 1) >> WORD_SHIFT;
	struct place *place;

	/* After as many all have had their turn. */
	last = min(last, at + WORDS - 1);
	for (; at <= last; at++) {
		place = &places[at % WORDS];
		__atomic_fetch_add(&place->word, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&place->waiters, __ATOMIC_SEQ_CST))
			gpusvm_sys_futex_wake(&place->word, 0x7fffffff);
	}
}
