/* SPDX-License-Identifier: MIT */
/*
 * libgpusvm-preload.so: libc's calls that change memory, or the handlers of
 * SIGSEGV and SIGBUS, in a program that was not written for libgpusvm, with the
 * hooks of gpusvm/hooks.h in front.
 *
 *	LD_PRELOAD=libgpusvm-preload.so program
 *
 * It opens nothing by itself: it matters when something in the process, a
 * runtime that the program uses, mirrors the address space with the same
 * libgpusvm.so.  Before that, and in a forked child, a call costs some
 * nanoseconds more than without it.
 *
 * The hooks make their system calls themselves, so nothing here can be entered
 * from there; only the break is libc's business, since it keeps book of it.
 * What libc does inside itself (free() that gives memory back, stacks of
 * threads) does not come by here, and is told by userfaultfd afterwards.
 *
 * A file that is truncated by opening it once more (O_TRUNC, creat(),
 * fopen("w")) does not come by here either: fopen() opens inside of libc, and
 * to look at the file behind each path that is opened would cost all who open
 * files for the sake of those who truncate what they have mapped.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/base/uapi.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * What is glibc's only: musl has none of it, or has it as macros, though programs
 * that were built with older versions of it look for the symbols.
 */
#ifndef __THROW
#define __THROW
#endif
#undef mmap64
#undef fallocate64
#undef ftruncate64
#undef truncate64

/* Under another name of libc's, too. */
#define ALIAS(name, of) \
	EXPORT extern __typeof__(of) name __THROW __attribute__((alias(#of)))

static int (*next_brk)(void *addr);
static void *(*next_sbrk)(intptr_t increment);
static long (*next_syscall)(long number, ...);
static int (*next_sigaction)(int signum, const struct sigaction *action,
			     struct sigaction *old);
static sighandler_t (*next_signal)(int signum, sighandler_t handler);
#ifdef __GLIBC__
static sighandler_t (*next_sysv_signal)(int signum, sighandler_t handler);
#endif
static sighandler_t (*next_sigset)(int signum, sighandler_t handler);
static int (*next_sigignore)(int signum);

/*
 * At start-up, when there is one thread: dlsym() is not for signal handlers.
 * Constructors that run before this one come by find_next() all the same.
 */
__attribute__((constructor(101))) static void find_all(void)
{
	*(void **)&next_brk = dlsym(RTLD_NEXT, "brk");
	*(void **)&next_sbrk = dlsym(RTLD_NEXT, "sbrk");
	*(void **)&next_syscall = dlsym(RTLD_NEXT, "syscall");
	*(void **)&next_sigaction = dlsym(RTLD_NEXT, "sigaction");
	*(void **)&next_signal = dlsym(RTLD_NEXT, "signal");
#ifdef __GLIBC__
	*(void **)&next_sysv_signal = dlsym(RTLD_NEXT, "sysv_signal");
#endif
	*(void **)&next_sigset = dlsym(RTLD_NEXT, "sigset");
	*(void **)&next_sigignore = dlsym(RTLD_NEXT, "sigignore");
}

#define NEXT(function)                \
	({                            \
		if (!next_##function) \
			find_all();   \
		next_##function;      \
	})

/* ---- Mappings ---- */

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd,
		  off_t offset)
{
	return gpusvm_mmap(addr, length, prot, flags, fd, offset);
}
ALIAS(mmap64, mmap);

EXPORT int munmap(void *addr, size_t length)
{
	return gpusvm_munmap(addr, length);
}

EXPORT void *mremap(void *old_address, size_t old_size, size_t new_size,
		    int flags, ...)
{
	void *new_address = NULL;
	va_list args;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_start(args, flags);
		new_address = va_arg(args, void *);
		va_end(args);
	}
	return gpusvm_mremap(old_address, old_size, new_size, flags,
			     new_address);
}

EXPORT int mprotect(void *addr, size_t length, int prot)
{
	return gpusvm_mprotect(addr, length, prot);
}

/* libc's, too, takes a key of -1 to mean mprotect(); musl has none. */
int pkey_mprotect(void *addr, size_t length, int prot, int pkey);
EXPORT int pkey_mprotect(void *addr, size_t length, int prot, int pkey)
{
	if (pkey == -1)
		return gpusvm_mprotect(addr, length, prot);
	return gpusvm_pkey_mprotect(addr, length, prot, pkey);
}

EXPORT int madvise(void *addr, size_t length, int advice)
{
	return gpusvm_madvise(addr, length, advice);
}

ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n,
			int advice, unsigned int flags);
EXPORT ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n,
			       int advice, unsigned int flags)
{
	return gpusvm_process_madvise(pidfd, iov, n, advice, flags);
}

EXPORT int remap_file_pages(void *addr, size_t size, int prot, size_t pgoff,
			    int flags)
{
	return gpusvm_remap_file_pages(addr, size, prot, pgoff, flags);
}

/* ---- The break ---- */

/* To the next page: one of which a part is left stays. */
static uintptr_t page_up(uintptr_t addr)
{
	return (addr + gpusvm_page_size() - 1) & ~(gpusvm_page_size() - 1);
}

/* Announce that what is above @end goes; the break is at @now. */
static void begin_break(struct gpusvm_change *change, uintptr_t end,
			uintptr_t now)
{
	end = page_up(end);
	now = page_up(now);
	gpusvm_change_begin(change, GPUSVM_MMU_NOTIFY_UNMAP, (void *)end,
			    end < now ? now - end : 0);
}

EXPORT int brk(void *addr)
{
	struct gpusvm_change change;
	int ret;

	begin_break(&change, (uintptr_t)addr, (uintptr_t)NEXT(sbrk)(0));
	ret = NEXT(brk)(addr);
	gpusvm_change_end(&change, !ret);
	return ret;
}

EXPORT void *sbrk(intptr_t increment)
{
	struct gpusvm_change change;
	uintptr_t now;
	void *ret;

	if (increment >= 0)
		return NEXT(sbrk)(increment);
	now = (uintptr_t)NEXT(sbrk)(0);
	begin_break(&change, now + (uintptr_t)increment, now);
	ret = NEXT(sbrk)(increment);
	gpusvm_change_end(&change, ret != (void *)-1);
	return ret;
}
ALIAS(__sbrk, sbrk);

/* ---- Shared memory, files, locking and placement ---- */

EXPORT void *shmat(int shmid, const void *addr, int flags)
{
	return gpusvm_shmat(shmid, addr, flags);
}

EXPORT int shmdt(const void *addr)
{
	return gpusvm_shmdt(addr);
}

EXPORT int mlock(const void *addr, size_t length)
{
	return gpusvm_mlock(addr, length);
}

EXPORT int mlock2(const void *addr, size_t length, unsigned int flags)
{
	return gpusvm_mlock2(addr, length, flags);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return gpusvm_fallocate(fd, mode, offset, length);
}
ALIAS(fallocate64, fallocate);

EXPORT int ftruncate(int fd, off_t length)
{
	return gpusvm_ftruncate(fd, length);
}
ALIAS(ftruncate64, ftruncate);

EXPORT int truncate(const char *path, off_t length)
{
	return gpusvm_truncate(path, length);
}
ALIAS(truncate64, truncate);

/* libnuma's. */
long mbind(void *addr, unsigned long length, int mode,
	   const unsigned long *nodemask, unsigned long maxnode,
	   unsigned int flags);
EXPORT long mbind(void *addr, unsigned long length, int mode,
		  const unsigned long *nodemask, unsigned long maxnode,
		  unsigned int flags)
{
	return gpusvm_mbind(addr, length, mode, nodemask, maxnode, flags);
}

long move_pages(int pid, unsigned long count, void **pages, const int *nodes,
		int *status, int flags);
EXPORT long move_pages(int pid, unsigned long count, void **pages,
		       const int *nodes, int *status, int flags)
{
	return gpusvm_move_pages(pid, count, pages, nodes, status, flags);
}

/* ---- The handlers of SIGSEGV and SIGBUS ---- */

/*
 * All names that programs bind to, as glibc has them.  <signal.h> makes
 * __sysv_signal() of signal() where only X/Open's is wanted; BSD's sigvec() is
 * for programs of before 2014, and siginterrupt() changes nothing that matters
 * of a handler that is not the program's.
 */

/* Of which signals the library may have a handler. */
static bool may_be_ours(long signum)
{
	return signum == SIGSEGV || signum == SIGBUS;
}

EXPORT int sigaction(int signum, const struct sigaction *action,
		     struct sigaction *old)
{
	if (may_be_ours(signum))
		return gpusvm_sigaction(signum, action, old);
	return NEXT(sigaction)(signum, action, old);
}
ALIAS(__sigaction, sigaction);

static sighandler_t set_handler(int signum, sighandler_t handler, int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
	struct sigaction old;

	if (!(flags & SA_NODEFER))
		sigaddset(&action.sa_mask, signum);
	return gpusvm_sigaction(signum, &action, &old) ? SIG_ERR
						       : old.sa_handler;
}

/* BSD's: the handler stays, and calls that it interrupts go on. */
EXPORT sighandler_t signal(int signum, sighandler_t handler)
{
	if (!may_be_ours(signum) || handler == SIG_ERR)
		return NEXT(signal)(signum, handler);
	return set_handler(signum, handler, SA_RESTART);
}
ALIAS(bsd_signal, signal);
ALIAS(ssignal, signal);

#ifdef __GLIBC__
/* System V's: the handler is for one signal, and does not block it. */
EXPORT sighandler_t sysv_signal(int signum, sighandler_t handler)
{
	if (!may_be_ours(signum) || handler == SIG_ERR)
		return NEXT(sysv_signal)(signum, handler);
	return set_handler(signum, handler, (int)SA_RESETHAND | SA_NODEFER);
}
ALIAS(__sysv_signal, sysv_signal);
#endif

/* System V's later one: SIG_HOLD blocks the signal, others let it through. */
EXPORT sighandler_t sigset(int signum, sighandler_t handler)
{
	bool hold = handler == SIG_HOLD;
	struct sigaction old;
	sigset_t set, before;

	if (!may_be_ours(signum) || handler == SIG_ERR)
		return NEXT(sigset)(signum, handler);
	if (gpusvm_sigaction(signum, NULL, &old) ||
	    (!hold && set_handler(signum, handler, 0) == SIG_ERR))
		return SIG_ERR;
	sigemptyset(&set);
	sigaddset(&set, signum);
	if (sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, &before))
		return SIG_ERR;
	return sigismember(&before, signum) ? SIG_HOLD : old.sa_handler;
}

EXPORT int sigignore(int signum)
{
	if (!may_be_ours(signum))
		return NEXT(sigignore)(signum);
	return set_handler(signum, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

/* ---- The same by number ---- */

/* The kernel's own brk(): it returns the break, and libc knows nothing of it */
static long syscall_brk(long addr)
{
	uintptr_t now = (uintptr_t)NEXT(syscall)(SYS_brk, 0l);
	struct gpusvm_change change;
	long ret;

	begin_break(&change, addr ? (uintptr_t)addr : now, now);
	ret = NEXT(syscall)(SYS_brk, addr);
	gpusvm_change_end(&change, addr && ret == addr);
	return ret;
}

/* The kernel's own structure. */
struct kernel_action {
	sighandler_t handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

static long syscall_sigaction(int signum, const struct kernel_action *action,
			      struct kernel_action *old)
{
	struct sigaction from, to;

	memset(&from, 0, sizeof(from));
	if (action) {
		from.sa_handler = action->handler;
		from.sa_flags = (int)action->flags;
		memcpy(&from.sa_mask, &action->mask, sizeof(action->mask));
	}
	if (gpusvm_sigaction(signum, action ? &from : NULL, &to))
		return -1;
	if (old) {
		*old = (struct kernel_action){
			.handler = to.sa_handler,
			.flags = (unsigned int)to.sa_flags,
		};
		memcpy(&old->mask, &to.sa_mask, sizeof(old->mask));
	}
	return 0;
}

static long change_mapping(long number, const long *a)
{
	switch (number) {
	case SYS_mmap:
		return (long)gpusvm_mmap((void *)a[0], (size_t)a[1], (int)a[2],
					 (int)a[3], (int)a[4], a[5]);
	case SYS_mremap:
		return (long)gpusvm_mremap((void *)a[0], (size_t)a[1],
					   (size_t)a[2], (int)a[3],
					   (void *)a[4]);
	case SYS_munmap:
		return gpusvm_munmap((void *)a[0], (size_t)a[1]);
	case SYS_mprotect:
		return gpusvm_mprotect((void *)a[0], (size_t)a[1], (int)a[2]);
	case SYS_pkey_mprotect:
		return gpusvm_pkey_mprotect((void *)a[0], (size_t)a[1],
					    (int)a[2], (int)a[3]);
	case SYS_madvise:
		return gpusvm_madvise((void *)a[0], (size_t)a[1], (int)a[2]);
	case SYS_process_madvise:
		return gpusvm_process_madvise((int)a[0],
					      (const struct iovec *)a[1],
					      (size_t)a[2], (int)a[3],
					      (unsigned int)a[4]);
	case SYS_remap_file_pages:
		return gpusvm_remap_file_pages((void *)a[0], (size_t)a[1],
					       (int)a[2], (size_t)a[3],
					       (int)a[4]);
	default:
		return syscall_brk(a[0]);
	}
}

static long change_other(long number, const long *a)
{
	switch (number) {
	case SYS_shmat:
		return (long)gpusvm_shmat((int)a[0], (const void *)a[1],
					  (int)a[2]);
	case SYS_shmdt:
		return gpusvm_shmdt((const void *)a[0]);
	case SYS_mlock:
		return gpusvm_mlock((const void *)a[0], (size_t)a[1]);
	case SYS_mlock2:
		return gpusvm_mlock2((const void *)a[0], (size_t)a[1],
				     (unsigned int)a[2]);
	case SYS_mbind:
		return gpusvm_mbind((void *)a[0], (unsigned long)a[1],
				    (int)a[2], (const unsigned long *)a[3],
				    (unsigned long)a[4], (unsigned int)a[5]);
	case SYS_move_pages:
		return gpusvm_move_pages((int)a[0], (unsigned long)a[1],
					 (void **)a[2], (const int *)a[3],
					 (int *)a[4], (int)a[5]);
	case SYS_fallocate:
		return gpusvm_fallocate((int)a[0], (int)a[1], a[2], a[3]);
	case SYS_truncate:
		return gpusvm_truncate((const char *)a[0], a[1]);
	default:
		return gpusvm_ftruncate((int)a[0], a[1]);
	}
}

EXPORT long syscall(long number, ...)
{
	va_list args;
	long a[6];
	int i;

	/* Which of them were given only the kernel knows, as in libc's own. */
	va_start(args, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);

	switch (number) {
	case SYS_mmap:
	case SYS_mremap:
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_pkey_mprotect:
	case SYS_madvise:
	case SYS_process_madvise:
	case SYS_remap_file_pages:
	case SYS_brk:
		return change_mapping(number, a);
	case SYS_shmat:
	case SYS_shmdt:
	case SYS_mlock:
	case SYS_mlock2:
	case SYS_mbind:
	case SYS_move_pages:
	case SYS_fallocate:
	case SYS_ftruncate:
	case SYS_truncate:
		return change_other(number, a);
	case SYS_rt_sigaction:
		/* Of a set of another size there is none, says the kernel. */
		if (!may_be_ours(a[0]) || a[3] != sizeof(unsigned long))
			break;
		return syscall_sigaction((int)a[0],
					 (const struct kernel_action *)a[1],
					 (struct kernel_action *)a[2]);
	default:
		break;
	}
	return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
