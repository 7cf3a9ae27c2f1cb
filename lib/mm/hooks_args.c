/* SPDX-License-Identifier: MIT */
/* The arguments of hooks: see hooks_args.h. */
#include "hooks_args.h"

#include <string.h>
#include <sys/uio.h>

#include "compiler.h"
#include "small_file.h"
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
	pid_t pid;

	if (pidfd < 0)
		return pidfd >= PIDFD_SELF_FIRST && pidfd <= PIDFD_SELF_LAST;
	gpusvm_append_number(path, (unsigned int)pidfd);
	if (gpusvm_read_small_file(path, info, sizeof(info)) <= 0)
		return false;
	pid = find_pid(info);
	return pid && !gpusvm_sys_tgkill(gpusvm_sys_getpid(), pid, 0);
}
