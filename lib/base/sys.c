/* SPDX-License-Identifier: MIT */
/*
 * The library's door to the kernel.  Everything goes through syscall(2), also
 * where libc has a wrapper: a wrapper may be interposed, by the program or by
 * ourselves, and then would lead back into the library.
 *
 * syscall(2) has variable arguments, where an int leaves half of its slot
 * undefined: it is cast if the kernel takes a long.
 */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000l

/* What syscall(2) returned, in the library's own error convention. */
static long result(long ret)
{
	return ret == -1 ? -errno : ret;
}

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)result(syscall(SYS_ioctl, fd, request, arg));
}

static struct timespec to_timespec(long ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC_PER_SEC,
				  .tv_nsec = ns % NSEC_PER_SEC };
}

int gpusvm_sys_open(const char *path, int flags)
{
	return (int)result(syscall(SYS_openat, AT_FDCWD, path, flags, 0));
}

/* Never to be repeated: the descriptor is gone even after -EINTR. */
int gpusvm_sys_close(int fd)
{
	return (int)result(syscall(SYS_close, fd));
}

ssize_t gpusvm_sys_read(int fd, void *buf, size_t len)
{
	return result(syscall(SYS_read, fd, buf, len));
}

ssize_t gpusvm_sys_pread(int fd, void *buf, size_t len, off_t offset)
{
	return result(syscall(SYS_pread64, fd, buf, len, offset));
}

ssize_t gpusvm_sys_write(int fd, const void *buf, size_t len)
{
	return result(syscall(SYS_write, fd, buf, len));
}

long gpusvm_sys_getdents64(int fd, void *buf, size_t len)
{
	return result(syscall(SYS_getdents64, fd, buf, len));
}

int gpusvm_sys_poll(struct pollfd *fds, unsigned int nfds, long timeout_ns)
{
	struct timespec timeout = to_timespec(timeout_ns);

	return (int)result(syscall(SYS_ppoll, fds, nfds,
				   timeout_ns < 0 ? NULL : &timeout, NULL, 0l));
}

int gpusvm_sys_eventfd(unsigned int value, int flags)
{
	return (int)result(syscall(SYS_eventfd2, value, flags));
}

long gpusvm_sys_mmap(unsigned long addr, size_t len, int prot, int flags,
		     int fd, off_t offset)
{
	return result(syscall(SYS_mmap, addr, len, (long)prot, (long)flags,
			      (long)fd, offset));
}

int gpusvm_sys_munmap(unsigned long addr, size_t len)
{
	return (int)result(syscall(SYS_munmap, addr, len));
}

int gpusvm_sys_mprotect(unsigned long addr, size_t len, int prot)
{
	return (int)result(syscall(SYS_mprotect, addr, len, (long)prot));
}

int gpusvm_sys_madvise(unsigned long addr, size_t len, int advice)
{
	return (int)result(syscall(SYS_madvise, addr, len, advice));
}

ssize_t gpusvm_sys_process_vm_readv(pid_t pid, const struct iovec *local,
				    unsigned long nlocal,
				    const struct iovec *remote,
				    unsigned long nremote)
{
	return result(syscall(SYS_process_vm_readv, pid, local, nlocal, remote,
			      nremote, 0l));
}

int gpusvm_sys_userfaultfd(int flags)
{
	return (int)result(syscall(SYS_userfaultfd, flags));
}

int gpusvm_sys_userfaultfd_dev(int devfd, int flags)
{
	return (int)result(
		syscall(SYS_ioctl, devfd, USERFAULTFD_IOC_NEW, (long)flags));
}

int gpusvm_sys_uffd_api(int uffd, struct uffdio_api *api)
{
	return do_ioctl(uffd, UFFDIO_API, api);
}

int gpusvm_sys_uffd_register(int uffd, struct uffdio_register *reg)
{
	return do_ioctl(uffd, UFFDIO_REGISTER, reg);
}

int gpusvm_sys_uffd_wake(int uffd, struct uffdio_range *range)
{
	return do_ioctl(uffd, UFFDIO_WAKE, range);
}

int gpusvm_sys_uffd_copy(int uffd, struct uffdio_copy *copy)
{
	return do_ioctl(uffd, UFFDIO_COPY, copy);
}

int gpusvm_sys_uffd_zeropage(int uffd, struct uffdio_zeropage *zero)
{
	return do_ioctl(uffd, UFFDIO_ZEROPAGE, zero);
}

int gpusvm_sys_uffd_writeprotect(int uffd, struct uffdio_writeprotect *wp)
{
	return do_ioctl(uffd, UFFDIO_WRITEPROTECT, wp);
}

int gpusvm_sys_uffd_move(int uffd, struct uffdio_move *move)
{
	return do_ioctl(uffd, UFFDIO_MOVE, move);
}

int gpusvm_sys_procmap_query(int fd, struct procmap_query *query)
{
	return do_ioctl(fd, PROCMAP_QUERY, query);
}

int gpusvm_sys_pagemap_scan(int fd, struct pm_scan_arg *arg)
{
	return do_ioctl(fd, PAGEMAP_SCAN, arg);
}

int gpusvm_sys_mbind(unsigned long addr, size_t len, int mode,
		     const unsigned long *mask, unsigned long maxnode,
		     unsigned int flags)
{
	return (int)result(syscall(SYS_mbind, addr, len, (long)mode, mask,
				   maxnode, flags));
}

int gpusvm_sys_move_pages(pid_t pid, unsigned long count, void **pages,
			  const int *nodes, int *status, int flags)
{
	return (int)result(syscall(SYS_move_pages, pid, count, pages, nodes,
				   status, flags));
}

int gpusvm_sys_get_mempolicy(int *mode, unsigned long *mask,
			     unsigned long maxnode, unsigned long addr,
			     unsigned long flags)
{
	return (int)result(
		syscall(SYS_get_mempolicy, mode, mask, maxnode, addr, flags));
}

pid_t gpusvm_sys_getpid(void)
{
	return (pid_t)syscall(SYS_getpid);
}

pid_t gpusvm_sys_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

int gpusvm_sys_futex_wait(unsigned int *word, unsigned int value,
			  const struct timespec *timeout)
{
	return (int)result(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
				   timeout, NULL, 0));
}

int gpusvm_sys_futex_wake(unsigned int *word, int count)
{
	return (int)result(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count,
				   NULL, NULL, 0));
}

unsigned int gpusvm_sys_ncpus(void)
{
	unsigned long mask[1024 / 64] = { 0 };
	unsigned int i, n = 0;

	if (syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0)
		return 1;
	for (i = 0; i < sizeof(mask) / sizeof(mask[0]); i++)
		n += (unsigned int)__builtin_popcountl(mask[i]);
	return n;
}

void gpusvm_sys_yield(void)
{
	syscall(SYS_sched_yield);
}

void gpusvm_sys_nanosleep(long ns)
{
	struct timespec duration = to_timespec(ns);

	syscall(SYS_nanosleep, &duration, NULL);
}

unsigned long gpusvm_sys_now_ns(void)
{
	struct timespec now = { 0 };

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * NSEC_PER_SEC +
	       (unsigned long)now.tv_nsec;
}

/* The clock's number is the kernel's interface (posix-timers.h). */
#define THREAD_CPU_CLOCK(tid) ((int)((~(unsigned int)(tid) << 3) | 6))

long gpusvm_sys_thread_cpu_ns(pid_t tid)
{
	struct timespec used;
	long err;

	err = result(syscall(SYS_clock_gettime, THREAD_CPU_CLOCK(tid), &used));
	return err ? err : used.tv_sec * NSEC_PER_SEC + used.tv_nsec;
}

int gpusvm_sys_send_sigbus(pid_t tid, unsigned long addr)
{
	siginfo_t info = { 0 };

	info.si_signo = SIGBUS;
	/* BUS_ADRERR for another thread gives EPERM. */
	info.si_code = tid == gpusvm_sys_gettid() ? BUS_ADRERR : SI_QUEUE;
	info.si_addr = (void *)addr;
	return (int)result(syscall(SYS_rt_tgsigqueueinfo, gpusvm_sys_getpid(),
				   tid, SIGBUS, &info));
}
