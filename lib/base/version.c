/* SPDX-License-Identifier: MIT */
/*
 * The version that was built, as opposed to that of the headers in use.
 */
#include <gpusvm/gpusvm.h>

const char *gpusvm_version(void)
{
	return GPUSVM_BUILD_VERSION;
}
