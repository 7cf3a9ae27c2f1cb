/* SPDX-License-Identifier: MIT */
/*
 * Asks the kernel for the page size before anything else of the library runs.
 */
#include "page_size.h"

#include <gpusvm/gpusvm.h>
#include <sys/auxv.h>

unsigned int gpusvm_page_shift;

/*
 * 101 is the first priority that is not reserved: other constructors, the
 * program's included, may use the library already.
 */
__attribute__((constructor(101))) static void read_page_size(void)
{
	gpusvm_page_shift = (unsigned int)__builtin_ctzl(getauxval(AT_PAGESZ));
}

unsigned long gpusvm_page_size(void)
{
	return PAGE_SIZE;
}
