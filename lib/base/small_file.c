/* SPDX-License-Identifier: MIT */
/* See small_file.h. */
#include "small_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

ssize_t gpusvm_read_small_file(const char *path, char *buf, size_t size)
{
	int fd = gpusvm_sys_open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = gpusvm_sys_read(fd, buf, size - 1);
	gpusvm_sys_close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

void gpusvm_append_number(char *text, unsigned int number)
{
	char digits[12];
	unsigned int n = 0;

	text += strlen(text);
	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n)
		*text++ = digits[--n];
	*text = '\0';
}

#define MAP_COUNT 65530ul

unsigned long gpusvm_max_map_count(void)
{
	unsigned long count = 0;
	char buf[24];

	if (gpusvm_read_small_file("/proc/sys/vm/max_map_count", buf,
				   sizeof(buf)) > 0)
		count = strtoul(buf, NULL, 10);
	return count ? count : MAP_COUNT;
}
