/* SPDX-License-Identifier: MIT */
/* Are descriptors left behind? */
#ifndef TESTS_UNIT_FDS_H
#define TESTS_UNIT_FDS_H

#include "unit.h"

#include <dirent.h>

/* Those that are open, and always the same few more: to compare. */
static inline unsigned int unit_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#endif /* TESTS_UNIT_FDS_H */
