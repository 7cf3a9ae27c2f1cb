/* SPDX-License-Identifier: MIT */
/* The arguments of hooks: see hooks_args.h. */
#include "hooks_args.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

#include "compiler.h"
#include "sys.h"

/* In place of a descriptor, since Linux 6.14: this thread, this process. */
#define PIDFD_SELF_FIRST (-10001)
#define PIDFD_SELF_LAST (-10000)

#define FDINFO "/proc/self/fdinfo/"

ssize_t gpusvm_hooks_read(const void *from, void *to, size_t size)
{
	const struct iovec local = { to, size };
	const struct iovec remote = { (void *)(uintptr_t)from, size };

	return gpusvm_sys_process_vm_readv(gpusvm_sys_getpid(), &local, 1,
					   &remote, 1);
}

/* Behind FDINFO. */
static void put_number(char *to, unsigned int number)
{
	char digits[12];
	unsigned int n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n)
		*to++ = digits[--n];
	*to = '\0';
}

/* The number in the line "Pid:"; 0 if there is none, or it is negative. */
static pid_t find_pid(const char *info)
{
	const char *line = strstr(info, "\nPid:\t");
	pid_t pid = 0;

	if (!line)
		return 0;
	for (line += strlen("\nPid:\t"); *line >= '0' && *line <= '9'; line++)
		pid = pid * 10 + (*line - '0');
	return pid;
}

bool gpusvm_hooks_is_self(int pidfd)
{
	char path[sizeof(FDINFO) + 12] = FDINFO;
	char info[512];
	ssize_t n;
	pid_t pid;
	int fd;

	if (pidfd < 0)
		return pidfd >= PIDFD_SELF_FIRST && pidfd <= PIDFD_SELF_LAST;
	put_number(path + strlen(FDINFO), (unsigned int)pidfd);
	fd = gpusvm_sys_open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = gpusvm_sys_read(fd, info, sizeof(info) - 1);
	gpusvm_sys_close(fd);
	if (n <= 0)
		return false;
	info[n] = '\0';
	pid = find_pid(info);
	return pid && !gpusvm_sys_tgkill(gpusvm_sys_getpid(), pid, 0);
}
