/* SPDX-License-Identifier: MIT */
/*
 * Small files that the kernel makes up, as in /proc and /sys.  Without stdio,
 * for signal handlers and the threads that serve faults.
 */
#ifndef GPUSVM_BASE_SMALL_FILE_H
#define GPUSVM_BASE_SMALL_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * The beginning of a file, at most @size - 1 bytes, and '\0' behind it.  Its
 * length or -errno.
 */
ssize_t gpusvm_read_small_file(const char *path, char *buf, size_t size);

/* Append @number to the string @text, for which there is room. */
void gpusvm_append_number(char *text, unsigned int number);

/* vm.max_map_count, or what the kernel has without it being set. */
unsigned long gpusvm_max_map_count(void);

#endif /* GPUSVM_BASE_SMALL_FILE_H */
