/* SPDX-License-Identifier: MIT */
/*
 * The library's door to the kernel.  Libc's functions are passed by, also where
 * it has one: it may be interposed, by the program or by ourselves, and then
 * would lead back into the library.  The exceptions are those that keep book in
 * libc (the break) and look-ups that nobody interposes.
 */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "raw_syscall.h"

#define NSEC_PER_SEC 1000000000l

#define ARG(x) ((long)(x))
#define call0(nr) raw_syscall(nr, 0, 0, 0, 0, 0, 0)
#define call1(nr, a) raw_syscall(nr, ARG(a), 0, 0, 0, 0, 0)
#define call2(nr, a, b) raw_syscall(nr, ARG(a), ARG(b), 0, 0, 0, 0)
#define call3(nr, a, b, c) raw_syscall(nr, ARG(a), ARG(b), ARG(c), 0, 0, 0)
#define call4(nr, a, b, c, d) \
	raw_syscall(nr, ARG(a), ARG(b), ARG(c), ARG(d), 0, 0)
#define call5(nr, a, b, c, d, e) \
	raw_syscall(nr, ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), 0)
#define call6(nr, a, b, c, d, e, f) \
	raw_syscall(nr, ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), ARG(f))

/* What a function of libc returned, in the library's own error convention. */
static long result(long ret)
{
	return ret == -1 ? -errno : ret;
}

long gpusvm_sys_to_libc(long ret)
{
	if (!gpusvm_sys_is_error(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)call3(SYS_ioctl, fd, request, arg);
}

static struct timespec to_timespec(long ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC_PER_SEC,
				  .tv_nsec = ns % NSEC_PER_SEC };
}

int gpusvm_sys_open(const char *path, int flags)
{
	return (int)call4(SYS_openat, AT_FDCWD, path, flags, 0);
}

/* Never to be repeated: the descriptor is gone even after -EINTR. */
int gpusvm_sys_close(int fd)
{
	return (int)call1(SYS_close, fd);
}

ssize_t gpusvm_sys_read(int fd, void *buf, size_t len)
{
	return call3(SYS_read, fd, buf, len);
}

ssize_t gpusvm_sys_pread(int fd, void *buf, size_t len, off_t offset)
{
	return call4(SYS_pread64, fd, buf, len, offset);
}

ssize_t gpusvm_sys_write(int fd, const void *buf, size_t len)
{
	return call3(SYS_write, fd, buf, len);
}

ssize_t gpusvm_sys_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return call4(SYS_pwrite64, fd, buf, len, offset);
}

long gpusvm_sys_getdents64(int fd, void *buf, size_t len)
{
	return call3(SYS_getdents64, fd, buf, len);
}

int gpusvm_sys_poll(struct pollfd *fds, unsigned int nfds, long timeout_ns)
{
	struct timespec timeout = to_timespec(timeout_ns);

	return (int)call5(SYS_ppoll, fds, nfds,
			  timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

int gpusvm_sys_eventfd(unsigned int value, int flags)
{
	return (int)call2(SYS_eventfd2, value, flags);
}

int gpusvm_sys_memfd_create(const char *name, unsigned int flags)
{
	return (int)call2(SYS_memfd_create, name, flags);
}

int gpusvm_sys_fd_flags(int fd)
{
	return (int)call2(SYS_fcntl, fd, F_GETFL);
}

long gpusvm_sys_fs_magic(int fd)
{
	struct statfs fs;
	long err = call2(SYS_fstatfs, fd, &fs);

	return err ? err : (long)fs.f_type;
}

long gpusvm_sys_mmap(unsigned long addr, size_t len, int prot, int flags,
		     int fd, off_t offset)
{
	return call6(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int gpusvm_sys_munmap(unsigned long addr, size_t len)
{
	return (int)call2(SYS_munmap, addr, len);
}

int gpusvm_sys_mprotect(unsigned long addr, size_t len, int prot)
{
	return (int)call3(SYS_mprotect, addr, len, prot);
}

long gpusvm_sys_mremap(unsigned long addr, size_t old_len, size_t new_len,
		       int flags, unsigned long to)
{
	return call5(SYS_mremap, addr, old_len, new_len, flags, to);
}

int gpusvm_sys_pkey_mprotect(unsigned long addr, size_t len, int prot, int pkey)
{
	return (int)call4(SYS_pkey_mprotect, addr, len, prot, pkey);
}

int gpusvm_sys_mlock(unsigned long addr, size_t len)
{
	return (int)call2(SYS_mlock, addr, len);
}

int gpusvm_sys_mlock2(unsigned long addr, size_t len, unsigned int flags)
{
	return (int)call3(SYS_mlock2, addr, len, flags);
}

int gpusvm_sys_shmdt(unsigned long addr)
{
	return (int)call1(SYS_shmdt, addr);
}

long gpusvm_sys_shmat(int shmid, unsigned long addr, int flags)
{
	return call3(SYS_shmat, shmid, addr, flags);
}

int gpusvm_sys_shm_size(int shmid, size_t *size)
{
	int saved = errno;
	struct shmid_ds ds;
	int err = (int)result(shmctl(shmid, IPC_STAT, &ds));

	errno = saved;
	*size = err ? 0 : ds.shm_segsz;
	return err;
}

int gpusvm_sys_brk(void *addr)
{
	return (int)result(brk(addr));
}

void *gpusvm_sys_sbrk(intptr_t increment)
{
	return sbrk(increment);
}

int gpusvm_sys_fallocate(int fd, int mode, off_t offset, off_t len)
{
	return (int)call4(SYS_fallocate, fd, mode, offset, len);
}

int gpusvm_sys_ftruncate(int fd, off_t len)
{
	return (int)call2(SYS_ftruncate, fd, len);
}

int gpusvm_sys_truncate(const char *path, off_t len)
{
	return (int)call2(SYS_truncate, path, len);
}

/* libc's own, as its structure is not the kernel's everywhere. */
int gpusvm_sys_file_id(int fd, const char *path, unsigned long *inode,
		       size_t *block)
{
	int saved = errno;
	struct stat st;
	int err;

	err = path ? stat(path, &st) : fstat(fd, &st);
	if (err)
		err = -errno;
	else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		err = -ENODEV;
	errno = saved;
	if (err)
		return err;
	*inode = st.st_ino;
	*block = (size_t)st.st_blksize;
	return 0;
}

int gpusvm_sys_madvise(unsigned long addr, size_t len, int advice)
{
	return (int)call3(SYS_madvise, addr, len, advice);
}

long gpusvm_sys_process_madvise(int pidfd, const struct iovec *iov, size_t n,
				int advice, unsigned int flags)
{
	return call5(SYS_process_madvise, pidfd, iov, n, advice, flags);
}

int gpusvm_sys_remap_file_pages(unsigned long addr, size_t len, int prot,
				size_t page, int flags)
{
	return (int)call5(SYS_remap_file_pages, addr, len, prot, page, flags);
}

ssize_t gpusvm_sys_process_vm_readv(pid_t pid, const struct iovec *local,
				    unsigned long nlocal,
				    const struct iovec *remote,
				    unsigned long nremote)
{
	return call6(SYS_process_vm_readv, pid, local, nlocal, remote, nremote,
		     0);
}

int gpusvm_sys_userfaultfd(int flags)
{
	return (int)call1(SYS_userfaultfd, flags);
}

int gpusvm_sys_userfaultfd_dev(int devfd, int flags)
{
	return (int)call3(SYS_ioctl, devfd, USERFAULTFD_IOC_NEW, flags);
}

int gpusvm_sys_uffd_api(int uffd, struct uffdio_api *api)
{
	return do_ioctl(uffd, UFFDIO_API, api);
}

int gpusvm_sys_uffd_register(int uffd, struct uffdio_register *reg)
{
	return do_ioctl(uffd, UFFDIO_REGISTER, reg);
}

int gpusvm_sys_uffd_unregister(int uffd, struct uffdio_range *range)
{
	return do_ioctl(uffd, UFFDIO_UNREGISTER, range);
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

int gpusvm_sys_uffd_rwprotect(int uffd, struct uffdio_rwprotect *rwp)
{
	return do_ioctl(uffd, UFFDIO_RWPROTECT, rwp);
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
	return (int)call6(SYS_mbind, addr, len, mode, mask, maxnode, flags);
}

int gpusvm_sys_move_pages(pid_t pid, unsigned long count, void **pages,
			  const int *nodes, int *status, int flags)
{
	return (int)call6(SYS_move_pages, pid, count, pages, nodes, status,
			  flags);
}

int gpusvm_sys_get_mempolicy(int *mode, unsigned long *mask,
			     unsigned long maxnode, unsigned long addr,
			     unsigned long flags)
{
	return (int)call5(SYS_get_mempolicy, mode, mask, maxnode, addr, flags);
}

pid_t gpusvm_sys_getpid(void)
{
	return (pid_t)call0(SYS_getpid);
}

int gpusvm_sys_node(void)
{
	unsigned int node = 0;
	long ret = call3(SYS_getcpu, NULL, &node, NULL);

	return ret < 0 ? (int)ret : (int)node;
}

pid_t gpusvm_sys_gettid(void)
{
	return (pid_t)call0(SYS_gettid);
}

void gpusvm_sys_block_signals(unsigned long *old)
{
	unsigned long mask = gpusvm_sys_sent_signals();

	call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

void gpusvm_sys_block_all_signals(unsigned long *old)
{
	unsigned long mask = ~0ul;

	call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

void gpusvm_sys_restore_signals(const unsigned long *old)
{
	call4(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, sizeof(*old));
}

int gpusvm_sys_futex_wait(unsigned int *word, unsigned int value,
			  const struct timespec *timeout)
{
	return (int)call6(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout,
			  NULL, 0);
}

int gpusvm_sys_futex_or_nothing(unsigned int *word)
{
	unsigned int nobody_waits_here = 0;
	long ret;

	ret = call6(SYS_futex, &nobody_waits_here, FUTEX_WAKE_OP_PRIVATE, 0,
		    NULL, word,
		    FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 2047));
	return ret < 0 ? (int)ret : 0;
}

int gpusvm_sys_futex_wake(unsigned int *word, int count)
{
	return (int)call6(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL,
			  NULL, 0);
}

unsigned int gpusvm_sys_cpus(unsigned int *cpus, unsigned int most)
{
	unsigned long mask[8192 / 64] = { 0 };
	unsigned int i, n = 0;

	/* Nobody can be refused to see its own; more CPUs than this can be. */
	if (call3(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0)
		mask[0] = 1;
	for (i = 0; i < sizeof(mask) * 8; i++) {
		if (!(mask[i / 64] & (1ul << (i % 64))))
			continue;
		if (n < most)
			cpus[n] = i;
		n++;
	}
	return n;
}

void gpusvm_sys_yield(void)
{
	call0(SYS_sched_yield);
}

int gpusvm_sys_tgkill(pid_t pid, pid_t tid, int sig)
{
	return (int)call3(SYS_tgkill, pid, tid, sig);
}

int gpusvm_sys_membarrier(int cmd)
{
	return (int)call3(SYS_membarrier, cmd, 0, 0);
}

void gpusvm_sys_nanosleep(long ns)
{
	struct timespec duration = to_timespec(ns);

	call2(SYS_nanosleep, &duration, NULL);
}

unsigned long gpusvm_sys_now_ns(void)
{
	struct timespec now;

	/* libc's needs no system call. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * NSEC_PER_SEC +
	       (unsigned long)now.tv_nsec;
}

/* The clock's number is the kernel's interface (posix-timers.h). */
#define THREAD_CPU_CLOCK(tid) ((int)((~(unsigned int)(tid) << 3) | 6))

long gpusvm_sys_thread_cpu_ns(pid_t tid)
{
	struct timespec used;
	long err;

	err = call2(SYS_clock_gettime, THREAD_CPU_CLOCK(tid), &used);
	return err ? err : used.tv_sec * NSEC_PER_SEC + used.tv_nsec;
}

int gpusvm_sys_send_sigbus(pid_t tid, unsigned long addr)
{
	siginfo_t info = { 0 };

	info.si_signo = SIGBUS;
	/* BUS_ADRERR for another thread gives EPERM. */
	info.si_code = tid == gpusvm_sys_gettid() ? BUS_ADRERR : SI_QUEUE;
	info.si_addr = (void *)addr;
	return (int)call4(SYS_rt_tgsigqueueinfo, gpusvm_sys_getpid(), tid,
			  SIGBUS, &info);
}

/*
 * The return from a handler is a system call, which the kernel leaves to the
 * program: on x86-64 always, on arm64 if it likes.  Debuggers know it by these
 * very instructions, and look at the byte before.  The flag is SA_RESTORER, which
 * some libc define and others hide.
 */
#if defined(__x86_64__) && defined(__LP64__)
#define WITH_RESTORER 0x04000000ul
void gpusvm_sys_restorer(void);
__asm__(".text\n"
	"	nop\n"
	".hidden gpusvm_sys_restorer\n"
	".globl gpusvm_sys_restorer\n"
	".type gpusvm_sys_restorer, @function\n"
	"gpusvm_sys_restorer:\n"
	"	mov $15, %rax\n"
	"	syscall\n"
	".size gpusvm_sys_restorer, . - gpusvm_sys_restorer\n");
#define RESTORER ((void *)gpusvm_sys_restorer)
#elif defined(__aarch64__)
#define WITH_RESTORER 0x04000000ul
void gpusvm_sys_restorer(void);
__asm__(".text\n"
	"	nop\n"
	".hidden gpusvm_sys_restorer\n"
	".globl gpusvm_sys_restorer\n"
	".type gpusvm_sys_restorer, %function\n"
	"gpusvm_sys_restorer:\n"
	"	mov x8, #139\n"
	"	svc #0\n"
	".size gpusvm_sys_restorer, . - gpusvm_sys_restorer\n");
#define RESTORER ((void *)gpusvm_sys_restorer)
#else
#define WITH_RESTORER 0ul
#define RESTORER NULL
#endif

/* struct sys_action is the kernel's own on the architectures there are. */
int gpusvm_sys_sigaction(int sig, const struct sys_action *action,
			 struct sys_action *old)
{
	struct sys_action full;

	if (action) {
		full = *action;
		if (!full.restorer) {
			full.flags |= WITH_RESTORER;
			full.restorer = RESTORER;
		}
	}
	return (int)call4(SYS_rt_sigaction, sig, action ? &full : NULL, old,
			  sizeof(full.mask));
}

/* The first word of libc's larger set has the kernel's signals. */
void gpusvm_sys_from_libc_action(const struct sigaction *from,
				 struct sys_action *to)
{
	*to = (struct sys_action){
		.handler = (void *)from->sa_sigaction,
		.flags = (unsigned int)from->sa_flags,
	};
	memcpy(&to->mask, &from->sa_mask, sizeof(to->mask));
}

void gpusvm_sys_to_libc_action(const struct sys_action *from,
			       struct sigaction *to)
{
	memset(to, 0, sizeof(*to));
	to->sa_sigaction = (void (*)(int, siginfo_t *, void *))from->handler;
	to->sa_flags = (int)(from->flags & ~WITH_RESTORER);
	memcpy(&to->sa_mask, &from->mask, sizeof(from->mask));
}

void gpusvm_sys_add_blocked(unsigned long mask)
{
	call4(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, sizeof(mask));
}

int gpusvm_sys_queue_signal(pid_t tid, const siginfo_t *info)
{
	return (int)call4(SYS_rt_tgsigqueueinfo, gpusvm_sys_getpid(), tid,
			  info->si_signo, info);
}

bool gpusvm_sys_is_restorer(const void *address)
{
	return address && address == RESTORER;
}

int gpusvm_sys_save_error(void)
{
	return errno;
}

void gpusvm_sys_restore_error(int saved)
{
	errno = saved;
}
