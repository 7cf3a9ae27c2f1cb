/* SPDX-License-Identifier: MIT */
/*
 * A fake of lib/base/sys.c: the same functions, so that the archive's member is
 * not linked.
 *
 * A call is answered by the first of these that applies:
 *	1. a script, for the functions that a strict test names: calls must come
 *	   in that order, and a call that was not expected is noted;
 *	2. an error planned for the n-th call of a function;
 *	3. a hook that the test set for the function, or its clock;
 *	4. a file that the test gave contents to (open, read, pread, close);
 *	5. the real system call.
 *
 * Any thread may call the functions; set up on the main thread.
 */
#ifndef TESTS_FAKE_SYS_H
#define TESTS_FAKE_SYS_H

#include <stdbool.h>

enum fake_sys_fn {
	FAKE_SYS_OPEN,
	FAKE_SYS_CLOSE,
	FAKE_SYS_READ,
	FAKE_SYS_PREAD,
	FAKE_SYS_WRITE,
	FAKE_SYS_PWRITE,
	FAKE_SYS_GETDENTS64,
	FAKE_SYS_POLL,
	FAKE_SYS_EVENTFD,
	FAKE_SYS_MEMFD_CREATE,
	FAKE_SYS_FD_FLAGS,
	FAKE_SYS_FS_MAGIC,
	FAKE_SYS_MMAP,
	FAKE_SYS_MUNMAP,
	FAKE_SYS_MREMAP,
	FAKE_SYS_MPROTECT,
	FAKE_SYS_MADVISE,
	FAKE_SYS_PKEY_MPROTECT,
	FAKE_SYS_MLOCK,
	FAKE_SYS_MLOCK2,
	FAKE_SYS_SHMDT,
	FAKE_SYS_SHMAT,
	FAKE_SYS_SHM_SIZE,
	FAKE_SYS_BRK,
	FAKE_SYS_SBRK,
	FAKE_SYS_FALLOCATE,
	FAKE_SYS_FTRUNCATE,
	FAKE_SYS_TRUNCATE,
	FAKE_SYS_FILE_ID,
	FAKE_SYS_PROCESS_MADVISE,
	FAKE_SYS_REMAP_FILE_PAGES,
	FAKE_SYS_PROCESS_VM_READV,
	FAKE_SYS_FUTEX_OR_NOTHING,
	FAKE_SYS_USERFAULTFD,
	FAKE_SYS_USERFAULTFD_DEV,
	FAKE_SYS_UFFD_API,
	FAKE_SYS_UFFD_REGISTER,
	FAKE_SYS_UFFD_UNREGISTER,
	FAKE_SYS_UFFD_WAKE,
	FAKE_SYS_UFFD_COPY,
	FAKE_SYS_UFFD_ZEROPAGE,
	FAKE_SYS_UFFD_WRITEPROTECT,
	FAKE_SYS_UFFD_RWPROTECT,
	FAKE_SYS_UFFD_MOVE,
	FAKE_SYS_PROCMAP_QUERY,
	FAKE_SYS_PAGEMAP_SCAN,
	FAKE_SYS_MBIND,
	FAKE_SYS_MOVE_PAGES,
	FAKE_SYS_GET_MEMPOLICY,
	FAKE_SYS_NODE,
	FAKE_SYS_GETPID,
	FAKE_SYS_BLOCK_SIGNALS,
	FAKE_SYS_RESTORE_SIGNALS,
	FAKE_SYS_YIELD,
	FAKE_SYS_TGKILL,
	FAKE_SYS_MEMBARRIER,
	FAKE_SYS_NANOSLEEP,
	FAKE_SYS_NOW_NS,
	FAKE_SYS_THREAD_CPU_NS,
	FAKE_SYS_SEND_SIGBUS,
	FAKE_SYS_SIGACTION,
	FAKE_SYS_QUEUE_SIGNAL,
	FAKE_SYS_COUNT,
};

/* Forget everything: all calls are real ones. */
void fake_sys_reset(void);

/*
 * The script.  After fake_sys_strict() the calls of these functions are never
 * real.  @fill sees the arguments, pointers included, and may change what they
 * point to.
 */
typedef void (*fake_sys_fill)(const unsigned long *args, const void *priv);

void fake_sys_strict(const enum fake_sys_fn *fns, unsigned int n);
void fake_sys_expect(enum fake_sys_fn fn, long ret);
void fake_sys_expect_fill(enum fake_sys_fn fn, long ret, fake_sys_fill fill,
			  const void *priv);
/* NULL if all of the script was played and nothing else happened. */
const char *fake_sys_problem(void);

/* Call number @nth of @fn from now on, 1 for the next, returns @error. */
void fake_sys_fail(enum fake_sys_fn fn, long error, unsigned int nth);

/* Return true with *@ret set to answer a call. */
typedef bool (*fake_sys_hook_fn)(const unsigned long *args, long *ret);

void fake_sys_hook(enum fake_sys_fn fn, fake_sys_hook_fn hook);

/*
 * A clock of the test's, in place of a hook of FAKE_SYS_NOW_NS: it tells
 * *@now_ns, which goes on by @step_ns with each look, before it is told.  The
 * test may set it meanwhile, atomically if other threads look.  NULL for the
 * real clock.
 */
void fake_sys_clock(unsigned long *now_ns, unsigned long step_ns);

/* Contents for the file at @path; NULL for a file that does not exist. */
void fake_sys_file(const char *path, const char *contents);

/* Calls of @fn since the last reset. */
unsigned int fake_sys_calls(enum fake_sys_fn fn);

#endif /* TESTS_FAKE_SYS_H */
