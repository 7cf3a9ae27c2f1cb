/* SPDX-License-Identifier: MIT */
/* See changes.h. */
#include "changes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "../../lib/base/uapi.h"

/* ---- Memory ---- */

void *anonymous(void)
{
	return mmap(NULL, PAGES * PS, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int fd = -1;

static void *of_file(void)
{
	close(fd);
	fd = memfd_create("program", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)(PAGES * PS)))
		return MAP_FAILED;
	return mmap(NULL, PAGES * PS, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    0);
}

static void *of_segment(void)
{
	int id = shmget(IPC_PRIVATE, PAGES * PS, IPC_CREAT | 0600);
	void *mem = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	return mem;
}

bool has_break(void)
{
	return !brk(sbrk(0));
}

/* Above where the break is, which begins a page. */
void *of_heap(void)
{
	uintptr_t now = (uintptr_t)sbrk(0);

	sbrk((intptr_t)(-now & (PS - 1)));
	return sbrk((intptr_t)(PAGES * PS));
}

/* ---- Changes: of the first page, at least ---- */

int do_munmap(char *mem)
{
	return munmap(mem, PAGES * PS);
}

static int do_munmap_part(char *mem)
{
	return munmap(mem, PS);
}

static int do_mmap(char *mem)
{
	return mmap(mem, PS, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		    -1, 0) != mem;
}

static int do_mmap64(char *mem)
{
	return mmap64(mem, PS, PROT_READ,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != mem;
}

/* Somewhere else that is ours. */
static int do_mremap(char *mem)
{
	char *to = anonymous();

	return mremap(mem, PS, PS, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to ||
	       *to != BYTE;
}

static int do_mprotect(char *mem)
{
	return mprotect(mem, PS, PROT_NONE);
}

#ifdef __GLIBC__
static int do_pkey_mprotect(char *mem)
{
	return pkey_mprotect(mem, PS, PROT_NONE, -1);
}
#endif

static int do_dontneed(char *mem)
{
	return madvise(mem, PS, MADV_DONTNEED) || *mem;
}

static int do_remove(char *mem)
{
	return madvise(mem, PS, MADV_REMOVE) || *mem;
}

/*
 * On ourselves, as an allocator does; older kernels (6.1) do not allow it to
 * everybody, and it is told of all the same.
 */
static int has_failed(long ret, int pidfd)
{
	/* Before close(), which may leave an error of its own. */
	int failed = ret != (long)PS && !(ret < 0 && errno == EPERM);

	close(pidfd);
	return failed;
}

#ifdef __GLIBC__
/* Declared by newer headers only. */
ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n,
			int advice, unsigned int flags);

static int do_process_madvise(char *mem)
{
	const struct iovec iov = { mem, PS };
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	ssize_t ret = process_madvise(pidfd, &iov, 1, MADV_PAGEOUT, 0);

	return has_failed(ret, pidfd);
}
#endif

static int do_sys_process_madvise(char *mem)
{
	const struct iovec iov = { mem, PS };
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	long ret =
		syscall(SYS_process_madvise, pidfd, &iov, 1, MADV_PAGEOUT, 0);

	return has_failed(ret, pidfd);
}

static int do_remap_file_pages(char *mem)
{
	return remap_file_pages(mem, PS, 0, 1, 0);
}

static int do_sys_remap_file_pages(char *mem)
{
	return (int)syscall(SYS_remap_file_pages, mem, PS, 0, 1, 0);
}

static int do_sbrk(char *mem)
{
	(void)mem;
	return sbrk(-(intptr_t)(PAGES * PS)) == (void *)-1;
}

int do_brk(char *mem)
{
	return brk(mem);
}

static int do_shmdt(char *mem)
{
	return shmdt(mem);
}

static int do_ftruncate(char *mem)
{
	(void)mem;
	return ftruncate(fd, 0);
}

static int do_ftruncate64(char *mem)
{
	(void)mem;
	return ftruncate64(fd, 0);
}

static const char *path_of_file(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static int do_truncate(char *mem)
{
	(void)mem;
	return truncate(path_of_file(), 0);
}

static int do_truncate64(char *mem)
{
	(void)mem;
	return truncate64(path_of_file(), 0);
}

static int do_sys_truncate(char *mem)
{
	(void)mem;
	return (int)syscall(SYS_truncate, path_of_file(), 0l);
}

static int do_fallocate(char *mem)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)PS) ||
	       *mem;
}

static int do_fallocate64(char *mem)
{
	return fallocate64(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   (off_t)PS) ||
	       *mem;
}

static int do_sys_munmap(char *mem)
{
	return (int)syscall(SYS_munmap, mem, PAGES * PS);
}

static int do_sys_mprotect(char *mem)
{
	return (int)syscall(SYS_mprotect, mem, PS, PROT_NONE);
}

static int do_sys_madvise(char *mem)
{
	return (int)syscall(SYS_madvise, mem, PS, MADV_DONTNEED) || *mem;
}

static int do_sys_mmap(char *mem)
{
	return syscall(SYS_mmap, mem, PS, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		       0) != (long)mem;
}

static int do_sys_mremap(char *mem)
{
	char *to = anonymous();

	return syscall(SYS_mremap, mem, PS, PS, MREMAP_MAYMOVE | MREMAP_FIXED,
		       to) != (long)to;
}

static int do_sys_brk(char *mem)
{
	long now = syscall(SYS_brk, 0l);
	int ret = syscall(SYS_brk, mem) != (long)mem;

	/* libc does not know; it gets back what it had. */
	return ret || syscall(SYS_brk, now) != now;
}

static int do_sys_fallocate(char *mem)
{
	return (int)syscall(SYS_fallocate, fd,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0l,
			    PS) ||
	       *mem;
}

static int do_sys_ftruncate(char *mem)
{
	(void)mem;
	return (int)syscall(SYS_ftruncate, fd, 0l);
}

static int do_sys_shmdt(char *mem)
{
	return (int)syscall(SYS_shmdt, mem);
}

const struct change changes[] = {
	{ "munmap", anonymous, do_munmap, RUNTIME_UNMAP, LATER },
	{ "munmap, a part", anonymous, do_munmap_part, RUNTIME_UNMAP, LATER },
	{ "mmap", anonymous, do_mmap, RUNTIME_UNMAP, LATER },
	{ "mmap64", anonymous, do_mmap64, RUNTIME_UNMAP, LATER },
	{ "mremap", anonymous, do_mremap, RUNTIME_UNMAP, LATER },
	{ "mprotect", anonymous, do_mprotect, RUNTIME_PROTECTION, NEVER },
#ifdef __GLIBC__
	/* musl has no functions for these two. */
	{ "pkey_mprotect", anonymous, do_pkey_mprotect, RUNTIME_PROTECTION,
	  NEVER },
	{ "process_madvise", anonymous, do_process_madvise, RUNTIME_CLEAR,
	  NEVER },
#endif
	{ "madvise", anonymous, do_dontneed, RUNTIME_CLEAR, LATER },
	{ "madvise, a file", of_file, do_remove, RUNTIME_CLEAR, LATER_SHARED },
	{ "remap_file_pages", of_file, do_remap_file_pages, RUNTIME_UNMAP,
	  UNHEARD_OF },
	{ "munmap, a file", of_file, do_munmap, RUNTIME_UNMAP, LATER_SHARED },
	{ "sbrk", of_heap, do_sbrk, RUNTIME_UNMAP, LATER },
	{ "brk", of_heap, do_brk, RUNTIME_UNMAP, LATER },
	{ "shmdt", of_segment, do_shmdt, RUNTIME_UNMAP, UNHEARD_OF },
	{ "ftruncate", of_file, do_ftruncate, RUNTIME_CLEAR, NEVER },
	{ "ftruncate64", of_file, do_ftruncate64, RUNTIME_CLEAR, NEVER },
	{ "truncate", of_file, do_truncate, RUNTIME_CLEAR, NEVER },
	{ "truncate64", of_file, do_truncate64, RUNTIME_CLEAR, NEVER },
	{ "fallocate", of_file, do_fallocate, RUNTIME_CLEAR, NEVER },
	{ "fallocate64", of_file, do_fallocate64, RUNTIME_CLEAR, NEVER },
	{ "SYS_munmap", anonymous, do_sys_munmap, RUNTIME_UNMAP, LATER },
	{ "SYS_mprotect", anonymous, do_sys_mprotect, RUNTIME_PROTECTION,
	  NEVER },
	{ "SYS_madvise", anonymous, do_sys_madvise, RUNTIME_CLEAR, LATER },
	{ "SYS_mmap", anonymous, do_sys_mmap, RUNTIME_UNMAP, LATER },
	{ "SYS_mremap", anonymous, do_sys_mremap, RUNTIME_UNMAP, LATER },
	{ "SYS_brk", of_heap, do_sys_brk, RUNTIME_UNMAP, LATER },
	{ "SYS_fallocate", of_file, do_sys_fallocate, RUNTIME_CLEAR, NEVER },
	{ "SYS_ftruncate", of_file, do_sys_ftruncate, RUNTIME_CLEAR, NEVER },
	{ "SYS_truncate", of_file, do_sys_truncate, RUNTIME_CLEAR, NEVER },
	{ "SYS_process_madvise", anonymous, do_sys_process_madvise,
	  RUNTIME_CLEAR, NEVER },
	{ "SYS_remap_file_pages", of_file, do_sys_remap_file_pages,
	  RUNTIME_UNMAP, UNHEARD_OF },
	{ "SYS_shmdt", of_segment, do_sys_shmdt, RUNTIME_UNMAP, UNHEARD_OF },
};

const size_t num_changes = sizeof(changes) / sizeof(*changes);
