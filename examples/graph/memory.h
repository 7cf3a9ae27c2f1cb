/* SPDX-License-Identifier: MIT */
/*
 * Where the program's memory comes from: malloc() and mmap(), with one
 * exception, see memory.c.  All of these end the program when there is none.
 */
#ifndef EXAMPLE_MEMORY_H
#define EXAMPLE_MEMORY_H

#include <stddef.h>

/* Zeroed, for free(). */
void *allocate(size_t count, size_t size);

/* Room for one more element behind the @count that @array has. */
void *grow(void *array, size_t count, size_t *capacity, size_t size);

/* Zeroed pages, mapped for themselves. */
void *map_pages(size_t bytes);
void unmap_pages(void *start, size_t bytes);

#endif /* EXAMPLE_MEMORY_H */
