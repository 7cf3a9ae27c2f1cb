/* SPDX-License-Identifier: MIT */
/* See fake_sys.h. */
#include "fake_sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "sys.h"

#define MAX_STEPS 64
#define MAX_FILES 16
#define FIRST_FD 100000

struct step {
	enum fake_sys_fn fn;
	long ret;
	fake_sys_fill fill;
	const void *priv;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_it(void)
{
	pthread_mutex_lock(&lock);
}

static void unlock_it(void)
{
	pthread_mutex_unlock(&lock);
}

/*
 * A handler thread may be in here when another one forks.  Before the library's
 * handlers are there: in the child they make calls.
 */
__attribute__((constructor(101))) static void unlock_in_children(void)
{
	pthread_atfork(lock_it, unlock_it, unlock_it);
}

static struct {
	bool strict[FAKE_SYS_COUNT];
	struct step steps[MAX_STEPS];
	unsigned int nsteps;
	unsigned int played;
	char problem[128];

	struct {
		unsigned int in;
		long error;
	} failure[FAKE_SYS_COUNT];
	fake_sys_hook_fn hook[FAKE_SYS_COUNT];
	unsigned long *now_ns;
	unsigned long step_ns;
	struct {
		const char *path;
		const char *contents;
		size_t offset;
	} files[MAX_FILES];
	unsigned int nfiles;
	unsigned int calls[FAKE_SYS_COUNT];
} fake;

void fake_sys_reset(void)
{
	pthread_mutex_lock(&lock);
	memset(&fake, 0, sizeof(fake));
	pthread_mutex_unlock(&lock);
}

void fake_sys_strict(const enum fake_sys_fn *fns, unsigned int n)
{
	pthread_mutex_lock(&lock);
	while (n--)
		fake.strict[fns[n]] = true;
	pthread_mutex_unlock(&lock);
}

void fake_sys_expect_fill(enum fake_sys_fn fn, long ret, fake_sys_fill fill,
			  const void *priv)
{
	pthread_mutex_lock(&lock);
	if (fake.nsteps == MAX_STEPS)
		snprintf(fake.problem, sizeof(fake.problem), "long script");
	else
		fake.steps[fake.nsteps++] = (struct step){
			.fn = fn, .ret = ret, .fill = fill, .priv = priv
		};
	pthread_mutex_unlock(&lock);
}

void fake_sys_expect(enum fake_sys_fn fn, long ret)
{
	fake_sys_expect_fill(fn, ret, NULL, NULL);
}

const char *fake_sys_problem(void)
{
	pthread_mutex_lock(&lock);
	if (!fake.problem[0] && fake.played < fake.nsteps)
		snprintf(fake.problem, sizeof(fake.problem),
			 "call %u of the script, function %d, never came",
			 fake.played, fake.steps[fake.played].fn);
	pthread_mutex_unlock(&lock);
	return fake.problem[0] ? fake.problem : NULL;
}

void fake_sys_fail(enum fake_sys_fn fn, long error, unsigned int nth)
{
	pthread_mutex_lock(&lock);
	fake.failure[fn].in = nth;
	fake.failure[fn].error = error;
	pthread_mutex_unlock(&lock);
}

void fake_sys_hook(enum fake_sys_fn fn, fake_sys_hook_fn hook)
{
	pthread_mutex_lock(&lock);
	fake.hook[fn] = hook;
	pthread_mutex_unlock(&lock);
}

void fake_sys_clock(unsigned long *now_ns, unsigned long step_ns)
{
	pthread_mutex_lock(&lock);
	fake.now_ns = now_ns;
	fake.step_ns = step_ns;
	pthread_mutex_unlock(&lock);
}

void fake_sys_file(const char *path, const char *contents)
{
	pthread_mutex_lock(&lock);
	if (fake.nfiles < MAX_FILES) {
		fake.files[fake.nfiles].path = path;
		fake.files[fake.nfiles++].contents = contents;
	}
	pthread_mutex_unlock(&lock);
}

unsigned int fake_sys_calls(enum fake_sys_fn fn)
{
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = fake.calls[fn];
	pthread_mutex_unlock(&lock);
	return n;
}

/* The following run with the lock held. */

static long play(enum fake_sys_fn fn, const unsigned long *args)
{
	struct step *step = &fake.steps[fake.played];

	if (fake.played == fake.nsteps || step->fn != fn) {
		if (!fake.problem[0])
			snprintf(fake.problem, sizeof(fake.problem),
				 "function %d was called at step %u of %u", fn,
				 fake.played, fake.nsteps);
		return -ENOSYS;
	}
	fake.played++;
	if (step->fill)
		step->fill(args, step->priv);
	return step->ret;
}

static bool is_planned_failure(enum fake_sys_fn fn)
{
	return fake.failure[fn].in && !--fake.failure[fn].in;
}

static bool tell_time(enum fake_sys_fn fn, long *ret)
{
	if (fn != FAKE_SYS_NOW_NS || !fake.now_ns)
		return false;
	/* One that stands is not written to: the test may read it meanwhile. */
	*ret = fake.step_ns
		       ? (long)__atomic_add_fetch(fake.now_ns, fake.step_ns,
						  __ATOMIC_RELAXED)
		       : (long)__atomic_load_n(fake.now_ns, __ATOMIC_RELAXED);
	return true;
}

static bool open_file(const char *path, long *ret)
{
	unsigned int i;

	for (i = 0; i < fake.nfiles; i++) {
		if (strcmp(fake.files[i].path, path))
			continue;
		fake.files[i].offset = 0;
		*ret = fake.files[i].contents ? FIRST_FD + (long)i : -ENOENT;
		return true;
	}
	return false;
}

static bool read_file(const unsigned long *args, bool at, long *ret)
{
	unsigned long i = args[0] - FIRST_FD;
	size_t offset, len;

	if (i >= fake.nfiles)
		return false;
	offset = at ? args[3] : fake.files[i].offset;
	len = strlen(fake.files[i].contents);
	len = offset < len ? len - offset : 0;
	len = len < args[2] ? len : args[2];
	memcpy((void *)args[1], fake.files[i].contents + offset, len);
	fake.files[i].offset = offset + len;
	*ret = (long)len;
	return true;
}

static bool is_file(enum fake_sys_fn fn, const unsigned long *args, long *ret)
{
	switch (fn) {
	case FAKE_SYS_OPEN:
		return open_file((const char *)args[0], ret);
	case FAKE_SYS_READ:
		return read_file(args, false, ret);
	case FAKE_SYS_PREAD:
		return read_file(args, true, ret);
	case FAKE_SYS_CLOSE:
		*ret = 0;
		return args[0] - FIRST_FD < fake.nfiles;
	default:
		return false;
	}
}

/* The hook is called without the lock: it may make calls itself. */
static bool answered(enum fake_sys_fn fn, const unsigned long *args, long *ret)
{
	fake_sys_hook_fn hook = NULL;
	bool done = true;

	pthread_mutex_lock(&lock);
	fake.calls[fn]++;
	if (fake.strict[fn])
		*ret = play(fn, args);
	else if (is_planned_failure(fn))
		*ret = fake.failure[fn].error;
	else if (fake.hook[fn])
		hook = fake.hook[fn];
	else
		done = tell_time(fn, ret) || is_file(fn, args, ret);
	pthread_mutex_unlock(&lock);
	return hook ? hook(args, ret) : done;
}

#define A(x) ((unsigned long)(x))

#define DEFINE_CALL(type, name, fn, params, pass, ...)         \
	type fake_sys_real_##name params;                      \
	type gpusvm_sys_##name params                          \
	{                                                      \
		const unsigned long args[6] = { __VA_ARGS__ }; \
		long ret = 0;                                  \
                                                               \
		if (answered(FAKE_SYS_##fn, args, &ret))       \
			return (type)ret;                      \
		return fake_sys_real_##name pass;              \
	}

#define DEFINE_REAL(type, name, params, pass)     \
	type fake_sys_real_##name params;         \
	type gpusvm_sys_##name params             \
	{                                         \
		return fake_sys_real_##name pass; \
	}

DEFINE_CALL(int, open, OPEN, (const char *path, int flags), (path, flags),
	    A(path), A(flags))
DEFINE_CALL(int, close, CLOSE, (int fd), (fd), A(fd))
DEFINE_CALL(ssize_t, read, READ, (int fd, void *buf, size_t len),
	    (fd, buf, len), A(fd), A(buf), len)
DEFINE_CALL(ssize_t, pread, PREAD,
	    (int fd, void *buf, size_t len, off_t offset),
	    (fd, buf, len, offset), A(fd), A(buf), len, A(offset))
DEFINE_CALL(ssize_t, write, WRITE, (int fd, const void *buf, size_t len),
	    (fd, buf, len), A(fd), A(buf), len)
DEFINE_CALL(long, getdents64, GETDENTS64, (int fd, void *buf, size_t len),
	    (fd, buf, len), A(fd), A(buf), len)
DEFINE_CALL(int, poll, POLL,
	    (struct pollfd * fds, unsigned int nfds, long timeout_ns),
	    (fds, nfds, timeout_ns), A(fds), nfds, A(timeout_ns))
DEFINE_CALL(int, eventfd, EVENTFD, (unsigned int value, int flags),
	    (value, flags), value, A(flags))
DEFINE_CALL(int, memfd_create, MEMFD_CREATE,
	    (const char *name, unsigned int flags), (name, flags), A(name),
	    flags)
DEFINE_CALL(int, fd_flags, FD_FLAGS, (int fd), (fd), A(fd))
DEFINE_CALL(long, fs_magic, FS_MAGIC, (int fd), (fd), A(fd))
DEFINE_CALL(long, mmap, MMAP,
	    (unsigned long addr, size_t len, int prot, int flags, int fd,
	     off_t offset),
	    (addr, len, prot, flags, fd, offset), addr, len, A(prot), A(flags),
	    A(fd), A(offset))
DEFINE_CALL(int, munmap, MUNMAP, (unsigned long addr, size_t len), (addr, len),
	    addr, len)
DEFINE_CALL(ssize_t, pwrite, PWRITE,
	    (int fd, const void *buf, size_t len, off_t offset),
	    (fd, buf, len, offset), A(fd), A(buf), len, A(offset))
DEFINE_CALL(long, mremap, MREMAP,
	    (unsigned long addr, size_t old_len, size_t new_len, int flags,
	     unsigned long to),
	    (addr, old_len, new_len, flags, to), addr, old_len, new_len,
	    A(flags), to)
DEFINE_CALL(int, sigaction, SIGACTION,
	    (int sig, const struct sys_action *action, struct sys_action *old),
	    (sig, action, old), A(sig), A(action), A(old))
DEFINE_CALL(int, queue_signal, QUEUE_SIGNAL, (pid_t tid, const siginfo_t *info),
	    (tid, info), A(tid), A(info))
DEFINE_CALL(int, mprotect, MPROTECT, (unsigned long addr, size_t len, int prot),
	    (addr, len, prot), addr, len, A(prot))
DEFINE_CALL(int, madvise, MADVISE, (unsigned long addr, size_t len, int advice),
	    (addr, len, advice), addr, len, A(advice))
DEFINE_CALL(int, pkey_mprotect, PKEY_MPROTECT,
	    (unsigned long addr, size_t len, int prot, int pkey),
	    (addr, len, prot, pkey), addr, len, A(prot), A(pkey))
DEFINE_CALL(int, mlock, MLOCK, (unsigned long addr, size_t len), (addr, len),
	    addr, len)
DEFINE_CALL(int, mlock2, MLOCK2,
	    (unsigned long addr, size_t len, unsigned int flags),
	    (addr, len, flags), addr, len, flags)
DEFINE_CALL(int, shmdt, SHMDT, (unsigned long addr), (addr), addr)
DEFINE_CALL(long, shmat, SHMAT, (int shmid, unsigned long addr, int flags),
	    (shmid, addr, flags), A(shmid), addr, A(flags))
DEFINE_CALL(int, shm_size, SHM_SIZE, (int shmid, size_t *size), (shmid, size),
	    A(shmid), A(size))
DEFINE_CALL(int, brk, BRK, (void *addr), (addr), A(addr))
DEFINE_CALL(void *, sbrk, SBRK, (intptr_t increment), (increment), A(increment))
DEFINE_CALL(int, fallocate, FALLOCATE,
	    (int fd, int mode, off_t offset, off_t len),
	    (fd, mode, offset, len), A(fd), A(mode), A(offset), A(len))
DEFINE_CALL(int, ftruncate, FTRUNCATE, (int fd, off_t len), (fd, len), A(fd),
	    A(len))
DEFINE_CALL(int, truncate, TRUNCATE, (const char *path, off_t len), (path, len),
	    A(path), A(len))
DEFINE_CALL(int, file_id, FILE_ID,
	    (int fd, const char *path, unsigned long *inode, size_t *block),
	    (fd, path, inode, block), A(fd), A(path), A(inode), A(block))
DEFINE_CALL(long, process_madvise, PROCESS_MADVISE,
	    (int pidfd, const struct iovec *iov, size_t n, int advice,
	     unsigned int flags),
	    (pidfd, iov, n, advice, flags), A(pidfd), A(iov), n, A(advice),
	    flags)
DEFINE_CALL(int, remap_file_pages, REMAP_FILE_PAGES,
	    (unsigned long addr, size_t len, int prot, size_t page, int flags),
	    (addr, len, prot, page, flags), addr, len, A(prot), page, A(flags))
DEFINE_CALL(ssize_t, process_vm_readv, PROCESS_VM_READV,
	    (pid_t pid, const struct iovec *local, unsigned long nlocal,
	     const struct iovec *remote, unsigned long nremote),
	    (pid, local, nlocal, remote, nremote), A(pid), A(local), nlocal,
	    A(remote), nremote)
DEFINE_CALL(int, userfaultfd, USERFAULTFD, (int flags), (flags), A(flags))
DEFINE_CALL(int, userfaultfd_dev, USERFAULTFD_DEV, (int devfd, int flags),
	    (devfd, flags), A(devfd), A(flags))
DEFINE_CALL(int, uffd_api, UFFD_API, (int fd, struct uffdio_api *api),
	    (fd, api), A(fd), A(api))
DEFINE_CALL(int, uffd_register, UFFD_REGISTER,
	    (int fd, struct uffdio_register *reg), (fd, reg), A(fd), A(reg))
DEFINE_CALL(int, uffd_unregister, UFFD_UNREGISTER,
	    (int fd, struct uffdio_range *range), (fd, range), A(fd), A(range))
DEFINE_CALL(int, uffd_wake, UFFD_WAKE, (int fd, struct uffdio_range *range),
	    (fd, range), A(fd), A(range))
DEFINE_CALL(int, uffd_copy, UFFD_COPY, (int fd, struct uffdio_copy *copy),
	    (fd, copy), A(fd), A(copy))
DEFINE_CALL(int, uffd_zeropage, UFFD_ZEROPAGE,
	    (int fd, struct uffdio_zeropage *zero), (fd, zero), A(fd), A(zero))
DEFINE_CALL(int, uffd_writeprotect, UFFD_WRITEPROTECT,
	    (int fd, struct uffdio_writeprotect *wp), (fd, wp), A(fd), A(wp))
DEFINE_CALL(int, uffd_rwprotect, UFFD_RWPROTECT,
	    (int fd, struct uffdio_rwprotect *rwp), (fd, rwp), A(fd), A(rwp))
DEFINE_CALL(int, uffd_move, UFFD_MOVE, (int fd, struct uffdio_move *move),
	    (fd, move), A(fd), A(move))
DEFINE_CALL(int, procmap_query, PROCMAP_QUERY,
	    (int fd, struct procmap_query *query), (fd, query), A(fd), A(query))
DEFINE_CALL(int, pagemap_scan, PAGEMAP_SCAN, (int fd, struct pm_scan_arg *arg),
	    (fd, arg), A(fd), A(arg))
DEFINE_CALL(int, mbind, MBIND,
	    (unsigned long addr, size_t len, int mode,
	     const unsigned long *mask, unsigned long maxnode,
	     unsigned int flags),
	    (addr, len, mode, mask, maxnode, flags), addr, len, A(mode),
	    A(mask), maxnode, flags)
DEFINE_CALL(int, move_pages, MOVE_PAGES,
	    (pid_t pid, unsigned long count, void **pages, const int *nodes,
	     int *status, int flags),
	    (pid, count, pages, nodes, status, flags), A(pid), count, A(pages),
	    A(nodes), A(status), A(flags))
DEFINE_CALL(int, get_mempolicy, GET_MEMPOLICY,
	    (int *mode, unsigned long *mask, unsigned long maxnode,
	     unsigned long addr, unsigned long flags),
	    (mode, mask, maxnode, addr, flags), A(mode), A(mask), maxnode, addr,
	    flags)
DEFINE_CALL(int, futex_or_nothing, FUTEX_OR_NOTHING, (unsigned int *word),
	    (word), A(word))
DEFINE_CALL(unsigned long, now_ns, NOW_NS, (void), (), 0)
DEFINE_CALL(long, thread_cpu_ns, THREAD_CPU_NS, (pid_t tid), (tid), A(tid))
DEFINE_CALL(int, send_sigbus, SEND_SIGBUS, (pid_t tid, unsigned long addr),
	    (tid, addr), A(tid), addr)
DEFINE_CALL(int, node, NODE, (void), (), 0)
DEFINE_CALL(pid_t, getpid, GETPID, (void), (), 0)
DEFINE_CALL(int, tgkill, TGKILL, (pid_t pid, pid_t tid, int sig),
	    (pid, tid, sig), A(pid), A(tid), A(sig))
DEFINE_CALL(int, membarrier, MEMBARRIER, (int cmd), (cmd), A(cmd))
DEFINE_REAL(int, save_error, (void), ())
DEFINE_REAL(pid_t, gettid, (void), ())
DEFINE_REAL(unsigned int, cpus, (unsigned int *cpus, unsigned int most),
	    (cpus, most))
DEFINE_REAL(int, futex_wait,
	    (unsigned int *word, unsigned int value,
	     const struct timespec *timeout),
	    (word, value, timeout))
DEFINE_REAL(int, futex_wake, (unsigned int *word, int count), (word, count))

void fake_sys_real_yield(void);
void gpusvm_sys_yield(void)
{
	const unsigned long args[6] = { 0 };
	long ret = 0;

	if (!answered(FAKE_SYS_YIELD, args, &ret))
		fake_sys_real_yield();
}

void fake_sys_real_nanosleep(long ns);
void gpusvm_sys_nanosleep(long ns)
{
	const unsigned long args[6] = { A(ns) };
	long ret = 0;

	if (!answered(FAKE_SYS_NANOSLEEP, args, &ret))
		fake_sys_real_nanosleep(ns);
}

void fake_sys_real_block_signals(unsigned long *old);
void gpusvm_sys_block_signals(unsigned long *old)
{
	const unsigned long args[6] = { A(old) };
	long ret = 0;

	if (!answered(FAKE_SYS_BLOCK_SIGNALS, args, &ret))
		fake_sys_real_block_signals(old);
}

void fake_sys_real_restore_signals(const unsigned long *old);
void gpusvm_sys_restore_signals(const unsigned long *old)
{
	const unsigned long args[6] = { A(old) };
	long ret = 0;

	if (!answered(FAKE_SYS_RESTORE_SIGNALS, args, &ret))
		fake_sys_real_restore_signals(old);
}

void fake_sys_real_add_blocked(unsigned long mask);
void gpusvm_sys_add_blocked(unsigned long mask)
{
	fake_sys_real_add_blocked(mask);
}

void fake_sys_real_restore_error(int saved);
void gpusvm_sys_restore_error(int saved)
{
	fake_sys_real_restore_error(saved);
}
