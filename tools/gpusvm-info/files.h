/* SPDX-License-Identifier: MIT */
/* Small files of /proc and /sys. */
#ifndef GPUSVM_INFO_FILES_H
#define GPUSVM_INFO_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* The contents without the last newline; false, and "", if there is no file. */
bool read_text(const char *path, char *text, size_t size);

/* The first number in a file, or -1. */
long read_number(const char *path);

/* The word in brackets, as in "always [madvise] never"; else the whole text. */
void read_choice(const char *path, char *word, size_t size);

/*
 * Find "name" in lines of "name value"; true, and what is behind the name and
 * blanks up to the end of the line, if it is there.
 */
bool find_field(const char *path, const char *name, char *value, size_t size);

#endif /* GPUSVM_INFO_FILES_H */
