/* SPDX-License-Identifier: MIT */
/*
 * Runs a program that may not have a userfaultfd.
 *
 * usage: without_userfaultfd eperm|enosys|kill PROGRAM [ARGUMENT]...
 *
 * Exit status 77 if filters cannot be set here.
 */
#include "userfaultfd_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned int action;
	int err;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "eperm"))
		action = SECCOMP_RET_ERRNO | EPERM;
	else if (!strcmp(argv[1], "enosys"))
		action = SECCOMP_RET_ERRNO | ENOSYS;
	else if (!strcmp(argv[1], "kill"))
		action = SECCOMP_RET_KILL_PROCESS;
	else
		return 2;
	err = test_forbid_userfaultfd(action);
	if (err) {
		printf("skip: no seccomp filter: %s\n", strerror(-err));
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
