/* SPDX-License-Identifier: MIT */
/* A library that is loaded late and knows nothing of anything. */
#include <sys/mman.h>

int plugin_change(void *mem, size_t size);

int plugin_change(void *mem, size_t size)
{
	return munmap(mem, size);
}
