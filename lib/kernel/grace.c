/* SPDX-License-Identifier: MIT */
/* The waiting side of grace periods: see grace.h. */
#include "grace.h"

#include "sys.h"

#define NAP_NS (50l * 1000)
#define YIELDS 16

static void wait_for_half(struct grace *grace)
{
	unsigned long period =
		__atomic_fetch_add(&grace->period, 1, __ATOMIC_SEQ_CST);
	unsigned int i;

	/*
	 * Not a mere load: who enters after that has seen us, and with us what
	 * our caller did.
	 */
	for (i = 0; __atomic_fetch_add(&grace->inside[period & 1], 0,
				       __ATOMIC_SEQ_CST);
	     i++) {
		if (i < YIELDS)
			gpusvm_sys_yield();
		else
			gpusvm_sys_nanosleep(NAP_NS);
	}
}

/*
 * Two halves, since who read the parity before the first may add to its count
 * after it was found zero.
 */
void gpusvm_grace_wait(struct grace *grace)
{
	pthread_mutex_lock(&grace->lock);
	wait_for_half(grace);
	wait_for_half(grace);
	pthread_mutex_unlock(&grace->lock);
}

void gpusvm_grace_reset(struct grace *grace)
{
	unsigned int generation = grace->generation + 1;

	*grace = (struct grace)GRACE_INIT;
	grace->generation = generation;
}
