/* SPDX-License-Identifier: MIT */
/* On which CPU a thread is. */
#include <errno.h>
#include <sched.h>

#include "bench.h"

/*
 * What the process may use, which a pinned thread no longer tells; taken when
 * it is first asked for, and inherited by the children that measure.
 */
static const cpu_set_t *allowed(void)
{
	static cpu_set_t set;

	if (!CPU_COUNT(&set) && sched_getaffinity(0, sizeof(set), &set))
		CPU_ZERO(&set);
	return &set;
}

unsigned int cpu_count(void)
{
	return (unsigned int)CPU_COUNT(allowed());
}

int cpu_nth(unsigned int n)
{
	const cpu_set_t *set = allowed();
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, set) && !n--)
			return cpu;
	return -1;
}

int cpu_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}
