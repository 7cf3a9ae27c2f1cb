/* SPDX-License-Identifier: MIT */
/* Time under its kernel names; a jiffy is a millisecond. */
#ifndef GPUSVM_LINUX_JIFFIES_H
#define GPUSVM_LINUX_JIFFIES_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/gpusvm.h>

#define HZ 1000

static inline u64 get_jiffies_64(void)
{
	return gpusvm_jiffies64();
}

static inline unsigned long msecs_to_jiffies(unsigned int msecs)
{
	return msecs;
}

/* Right across a wrap, too. */
#define time_after64(a, b) ((__s64)((b) - (a)) < 0)
#define time_before64(a, b) time_after64(b, a)

#endif /* GPUSVM_LINUX_JIFFIES_H */
