/* SPDX-License-Identifier: MIT */
/* The clock of timeslices, in the kernel's unit: a jiffy is a millisecond. */
#include <gpusvm/gpusvm.h>

#include "sys.h"

u64 gpusvm_jiffies64(void)
{
	return gpusvm_sys_now_ns() / (1000 * 1000);
}
