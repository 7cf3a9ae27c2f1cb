/* SPDX-License-Identifier: MIT */
/*
 * Every system call and ioctl of the library, and nothing else.
 *
 * Each function makes one call, not through libc, so that a program's or our
 * own interposed wrappers are not entered, and returns what the kernel
 * returned, or -errno.  Nothing outside this file reads errno.  Tests link
 * another file with the same functions instead.
 */
#ifndef GPUSVM_BASE_SYS_H
#define GPUSVM_BASE_SYS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "uapi.h"

struct iovec;
struct pollfd;
struct timespec;

/* Files */
int gpusvm_sys_open(const char *path, int flags);
int gpusvm_sys_close(int fd);
ssize_t gpusvm_sys_read(int fd, void *buf, size_t len);
ssize_t gpusvm_sys_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t gpusvm_sys_write(int fd, const void *buf, size_t len);
ssize_t gpusvm_sys_pwrite(int fd, const void *buf, size_t len, off_t offset);
long gpusvm_sys_getdents64(int fd, void *buf, size_t len);
/* @timeout_ns < 0 waits for ever. */
int gpusvm_sys_poll(struct pollfd *fds, unsigned int nfds, long timeout_ns);
int gpusvm_sys_fallocate(int fd, int mode, off_t offset, off_t len);
int gpusvm_sys_ftruncate(int fd, off_t len);
int gpusvm_sys_truncate(const char *path, off_t len);
/*
 * Inode, and preferred size of transfers, of the open file @fd, or of @path if
 * that is not NULL.  -ENODEV if it is neither a regular file nor a disk.
 */
int gpusvm_sys_file_id(int fd, const char *path, unsigned long *inode,
		       size_t *block);
int gpusvm_sys_eventfd(unsigned int value, int flags);
int gpusvm_sys_memfd_create(const char *name, unsigned int flags);
/* O_*, as open() and fcntl() have set them. */
int gpusvm_sys_fd_flags(int fd);
/* The type of the file system that an open file is on, as <linux/magic.h>. */
long gpusvm_sys_fs_magic(int fd);

/* Memory; addresses, never error values, on success */
long gpusvm_sys_mmap(unsigned long addr, size_t len, int prot, int flags,
		     int fd, off_t offset);
int gpusvm_sys_munmap(unsigned long addr, size_t len);
long gpusvm_sys_mremap(unsigned long addr, size_t old_len, size_t new_len,
		       int flags, unsigned long to);
int gpusvm_sys_mprotect(unsigned long addr, size_t len, int prot);
int gpusvm_sys_pkey_mprotect(unsigned long addr, size_t len, int prot,
			     int pkey);
int gpusvm_sys_mlock(unsigned long addr, size_t len);
int gpusvm_sys_mlock2(unsigned long addr, size_t len, unsigned int flags);
int gpusvm_sys_shmdt(unsigned long addr);
long gpusvm_sys_shmat(int shmid, unsigned long addr, int flags);
/* Size of a segment. */
int gpusvm_sys_shm_size(int shmid, size_t *size);
/* libc's own, which keeps book of the break. */
int gpusvm_sys_brk(void *addr);
void *gpusvm_sys_sbrk(intptr_t increment);
int gpusvm_sys_madvise(unsigned long addr, size_t len, int advice);
long gpusvm_sys_process_madvise(int pidfd, const struct iovec *iov, size_t n,
				int advice, unsigned int flags);
int gpusvm_sys_remap_file_pages(unsigned long addr, size_t len, int prot,
				size_t page, int flags);
ssize_t gpusvm_sys_process_vm_readv(pid_t pid, const struct iovec *local,
				    unsigned long nlocal,
				    const struct iovec *remote,
				    unsigned long nremote);

/* Whether what should be an address, or a number that may be as large, is none. */
static inline bool gpusvm_sys_is_error(long ret)
{
	return ret < 0 && ret >= -4095;
}

/* Results and errno of libc: what libc's own function would have returned. */
long gpusvm_sys_to_libc(long ret);

/* userfaultfd */
int gpusvm_sys_userfaultfd(int flags);
/* One from /dev/userfaultfd (Linux 6.1), open as @devfd. */
int gpusvm_sys_userfaultfd_dev(int devfd, int flags);
int gpusvm_sys_uffd_api(int uffd, struct uffdio_api *api);
int gpusvm_sys_uffd_register(int uffd, struct uffdio_register *reg);
int gpusvm_sys_uffd_unregister(int uffd, struct uffdio_range *range);
int gpusvm_sys_uffd_wake(int uffd, struct uffdio_range *range);
int gpusvm_sys_uffd_copy(int uffd, struct uffdio_copy *copy);
int gpusvm_sys_uffd_zeropage(int uffd, struct uffdio_zeropage *zero);
int gpusvm_sys_uffd_writeprotect(int uffd, struct uffdio_writeprotect *wp);
int gpusvm_sys_uffd_rwprotect(int uffd, struct uffdio_rwprotect *rwp);
int gpusvm_sys_uffd_move(int uffd, struct uffdio_move *move);

/* /proc/self/maps and /proc/self/pagemap */
int gpusvm_sys_procmap_query(int fd, struct procmap_query *query);
/* The number of regions written. */
int gpusvm_sys_pagemap_scan(int fd, struct pm_scan_arg *arg);

/* NUMA; masks of @maxnode bits */
int gpusvm_sys_mbind(unsigned long addr, size_t len, int mode,
		     const unsigned long *mask, unsigned long maxnode,
		     unsigned int flags);
int gpusvm_sys_move_pages(pid_t pid, unsigned long count, void **pages,
			  const int *nodes, int *status, int flags);
int gpusvm_sys_get_mempolicy(int *mode, unsigned long *mask,
			     unsigned long maxnode, unsigned long addr,
			     unsigned long flags);

/* The node of the CPU that the thread runs on. */
int gpusvm_sys_node(void);

/* Threads and time */
pid_t gpusvm_sys_getpid(void);
pid_t gpusvm_sys_gettid(void);
/*
 * All signals but those that an instruction raises.  The kernel kills who
 * faults with the signal blocked, so these remain: memory of a program may be
 * meant to.
 */
static inline unsigned long gpusvm_sys_sent_signals(void)
{
	static const int kept[] = { SIGSEGV, SIGBUS,  SIGFPE,
				    SIGILL,  SIGTRAP, SIGABRT };
	unsigned long mask = ~0ul;
	unsigned int i;

	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		mask &= ~(1ul << (kept[i] - 1));
	return mask;
}

/* Block those. */
void gpusvm_sys_block_signals(unsigned long *old);
/* Block the others, too: for what takes a lock that their handler takes. */
void gpusvm_sys_block_all_signals(unsigned long *old);
void gpusvm_sys_restore_signals(const unsigned long *old);
int gpusvm_sys_futex_wait(unsigned int *word, unsigned int value,
			  const struct timespec *timeout);
int gpusvm_sys_futex_wake(unsigned int *word, int count);
/*
 * An atomic write to *@word, in the kernel, that leaves it as it is: of a bitwise
 * or with 0.  Whoever waits there may be woken.  -EFAULT if it may not be
 * written, or is kept by a userfaultfd, for which this does not wait.
 */
int gpusvm_sys_futex_or_nothing(unsigned int *word);
void gpusvm_sys_yield(void);
/* Signal @sig to a thread of the process; with 0 it only tells if there is one */
int gpusvm_sys_tgkill(pid_t pid, pid_t tid, int sig);
int gpusvm_sys_membarrier(int cmd);
/* CPUs that this thread may run on: how many, and at most @most of them. */
unsigned int gpusvm_sys_cpus(unsigned int *cpus, unsigned int most);
/* Sleep for @ns nanoseconds, less if a signal comes. */
void gpusvm_sys_nanosleep(long ns);
/* CLOCK_MONOTONIC in nanoseconds. */
unsigned long gpusvm_sys_now_ns(void);
/* CPU time of a thread of this process, in nanoseconds. */
long gpusvm_sys_thread_cpu_ns(pid_t tid);
/*
 * Send a SIGBUS with @addr to a thread of this process.  Its code is BUS_ADRERR
 * if that is the calling thread, else SI_QUEUE: the kernel lets nobody forge
 * another thread's fault.
 */
int gpusvm_sys_send_sigbus(pid_t tid, unsigned long addr);

/* Signals */

/**
 * struct sys_action - What the kernel does about a signal; see sigaction(2)
 * @handler: Function, SIG_DFL or SIG_IGN
 * @flags: SA_*
 * @restorer: The kernel's business; ours if NULL
 * @mask: Bit n - 1 for signal n
 */
struct sys_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

/* Either may be NULL. */
int gpusvm_sys_sigaction(int sig, const struct sys_action *action,
			 struct sys_action *old);
/* To and from libc's structure. */
void gpusvm_sys_from_libc_action(const struct sigaction *from,
				 struct sys_action *to);
void gpusvm_sys_to_libc_action(const struct sys_action *from,
			       struct sigaction *to);
/* Block these, too, in the calling thread. */
void gpusvm_sys_add_blocked(unsigned long mask);
/* Send a thread of this process the signal that @info tells. */
int gpusvm_sys_queue_signal(pid_t tid, const siginfo_t *info);
/*
 * Whether a signal handler that returns to @address was called by the kernel;
 * false also if that is not known on this architecture.
 */
bool gpusvm_sys_is_restorer(const void *address);
/* What a signal handler must leave as it was. */
int gpusvm_sys_save_error(void);
void gpusvm_sys_restore_error(int saved);

#endif /* GPUSVM_BASE_SYS_H */
