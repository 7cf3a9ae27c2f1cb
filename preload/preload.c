/* SPDX-License-Identifier: MIT */
/*
 * libgpusvm-preload.so: libc's calls that change memory, or the handler of
 * SIGSEGV, in a program that was not written for libgpusvm, with the hooks of
 * gpusvm/hooks.h in front.
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
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Newer than some headers. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static int (*next_brk)(void *addr);
static void *(*next_sbrk)(intptr_t increment);
static long (*next_syscall)(long number, ...);
static int (*next_sigaction)(int signum, const struct sigaction *action,
			     struct sigaction *old);
static sighandler_t (*next_signal)(int signum, sighandler_t handler);

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

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd,
		    off64_t offset)
{
	return gpusvm_mmap(addr, length, prot, flags, fd, offset);
}

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

/* libc's, too, takes a key of -1 to mean mprotect(). */
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

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	return gpusvm_fallocate(fd, mode, offset, length);
}

EXPORT int ftruncate(int fd, off_t length)
{
	return gpusvm_ftruncate(fd, length);
}

EXPORT int ftruncate64(int fd, off64_t length)
{
	return gpusvm_ftruncate(fd, length);
}

EXPORT int truncate(const char *path, off_t length)
{
	return gpusvm_truncate(path, length);
}

EXPORT int truncate64(const char *path, off64_t length)
{
	return gpusvm_truncate(path, length);
}

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

/* ---- The handler of SIGSEGV ---- */

EXPORT int sigaction(int signum, const struct sigaction *action,
		     struct sigaction *old)
{
	if (signum == SIGSEGV)
		return gpusvm_sigaction(signum, action, old);
	return NEXT(sigaction)(signum, action, old);
}

/* As glibc has it: the handler stays, and calls that it interrupts go on. */
EXPORT sighandler_t signal(int signum, sighandler_t handler)
{
	struct sigaction action = { .sa_handler = handler,
				    .sa_flags = SA_RESTART };
	struct sigaction old;

	if (signum != SIGSEGV)
		return NEXT(signal)(signum, handler);
	sigaddset(&action.sa_mask, signum);
	return gpusvm_sigaction(signum, &action, &old) ? SIG_ERR
						       : old.sa_handler;
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
		return change_other(number, a);
	default:
		return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4],
				     a[5]);
	}
}
