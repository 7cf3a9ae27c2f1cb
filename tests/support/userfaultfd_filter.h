/* SPDX-License-Identifier: MIT */
/*
 * A seccomp filter like those of container engines, under which there is no
 * userfaultfd: neither by userfaultfd(2) nor by the ioctl of /dev/userfaultfd.
 */
#ifndef TESTS_USERFAULTFD_FILTER_H
#define TESTS_USERFAULTFD_FILTER_H

/*
 * For the calling thread, what it starts and what it executes, for ever.
 * @action is what happens at an attempt: SECCOMP_RET_ERRNO | EPERM, ...
 * 0, or -errno if filters cannot be set here.
 */
int test_forbid_userfaultfd(unsigned int action);

#endif /* TESTS_USERFAULTFD_FILTER_H */
