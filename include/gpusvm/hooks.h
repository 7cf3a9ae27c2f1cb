/* SPDX-License-Identifier: MIT */
/*
 * Changes of memory with the kernel's promise: the device has stopped using the
 * pages before the CPU's mapping changes.
 *
 * userfaultfd tells of munmap() and its like when they are done, and of
 * mprotect() not at all.  Who calls these functions in their place, or puts
 * other changes between gpusvm_change_begin() and gpusvm_change_end(), has the
 * invalidate callbacks run before the change, and no migration at the same
 * time.  libgpusvm-preload.so puts them in the place of libc's in a program
 * that was not written for it.
 *
 * The functions named after a call of libc have its arguments, its result and
 * its errno, also where the library itself is out of memory: then the change
 * is made without the promise, and userfaultfd tells afterwards.  Memory in
 * which no device has ever been interested costs nothing but a look.
 *
 * Context, for all: any thread.  They may sleep, run invalidate callbacks on
 * the calling thread and wait for a migration of the same memory.  Not from a
 * callback, notifier lock not held.
 */
#ifndef GPUSVM_HOOKS_H
#define GPUSVM_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct gpusvm_change - A change under way
 * @priv: Library-private
 * @section: Library-private
 */
struct gpusvm_change {
	void *priv;
	unsigned int section;
};

/**
 * gpusvm_change_begin() - Stop the devices before memory changes
 * @change: Filled in, for gpusvm_change_end()
 * @event: MMU_NOTIFY_UNMAP if the mapping goes, MMU_NOTIFY_CLEAR if its pages
 *	do, MMU_NOTIFY_PROTECTION_VMA if its protection changes
 * @addr: First byte; rounded down to a page
 * @size: Bytes; the end is rounded up to a page
 *
 * Tells the subscribers; until gpusvm_change_end() no device can get at pages
 * of the interval, and nothing of it migrates to one.  Changes nest and run in
 * parallel.  With the sources mprotect and manual what the interval has on
 * devices comes home first if it is to be unmapped or dropped, which the calls
 * below do without.
 *
 * Context: Between begin and end make the change and nothing else of the
 * library: a device's first interest in an address waits for changes that go
 * on.
 */
GPUSVM_API void gpusvm_change_begin(struct gpusvm_change *change,
				    enum mmu_notifier_event event,
				    const void *addr, size_t size);

/**
 * gpusvm_change_end() - The change is made, or has failed
 * @change: From gpusvm_change_begin()
 * @done: Whether it was made: after MMU_NOTIFY_UNMAP and MMU_NOTIFY_CLEAR what
 *	the interval had on devices is dropped
 */
GPUSVM_API void gpusvm_change_end(struct gpusvm_change *change, bool done);

/**
 * gpusvm_populate() - Bring home what an interval has on devices
 * @addr: First byte; rounded down to a page
 * @size: Bytes; the end is rounded up to a page
 *
 * For system calls on such memory where they fail with EFAULT
 * (GPUSVM_FEATURE_KERNEL_FAULTS is missing), and before a burst of accesses.
 * Does not keep a device from taking the memory again.
 *
 * Return: 0, also if no address space is open; -EBUSY if pages are held, -EFAULT
 * if they could not be copied.
 */
GPUSVM_API int gpusvm_populate(const void *addr, size_t size);

/**
 * gpusvm_munmap() - munmap(2): MMU_NOTIFY_UNMAP
 * @addr: See munmap(2)
 * @length: See munmap(2)
 */
GPUSVM_API int gpusvm_munmap(void *addr, size_t length);

/**
 * gpusvm_mmap() - mmap(2): MMU_NOTIFY_UNMAP of what MAP_FIXED replaces
 * @addr: See mmap(2)
 * @length: See mmap(2)
 * @prot: See mmap(2)
 * @flags: See mmap(2)
 * @fd: See mmap(2)
 * @offset: See mmap(2)
 */
GPUSVM_API void *gpusvm_mmap(void *addr, size_t length, int prot, int flags,
			     int fd, int64_t offset);

/**
 * gpusvm_mremap() - mremap(2): MMU_NOTIFY_UNMAP of the old place and of what
 *	MREMAP_FIXED replaces, or of the tail that is cut off
 * @old_address: See mremap(2)
 * @old_size: See mremap(2)
 * @new_size: See mremap(2)
 * @flags: See mremap(2)
 * @new_address: See mremap(2); ignored without MREMAP_FIXED and
 *	MREMAP_DONTUNMAP
 *
 * What is on a device stays there, at the new address.
 */
GPUSVM_API void *gpusvm_mremap(void *old_address, size_t old_size,
			       size_t new_size, int flags, void *new_address);

/**
 * gpusvm_mprotect() - mprotect(2): MMU_NOTIFY_PROTECTION_VMA
 * @addr: See mprotect(2)
 * @length: See mprotect(2)
 * @prot: See mprotect(2)
 */
GPUSVM_API int gpusvm_mprotect(void *addr, size_t length, int prot);

/**
 * gpusvm_pkey_mprotect() - pkey_mprotect(2): MMU_NOTIFY_PROTECTION_VMA
 * @addr: See pkey_mprotect(2)
 * @length: See pkey_mprotect(2)
 * @prot: See pkey_mprotect(2)
 * @pkey: See pkey_mprotect(2)
 */
GPUSVM_API int gpusvm_pkey_mprotect(void *addr, size_t length, int prot,
				    int pkey);

/**
 * gpusvm_madvise() - madvise(2): MMU_NOTIFY_CLEAR for advice that drops or
 *	replaces pages (DONTNEED, FREE, REMOVE, GUARD_INSTALL, PAGEOUT,
 *	COLLAPSE, HWPOISON, SOFT_OFFLINE); else the bare call
 * @addr: See madvise(2)
 * @length: See madvise(2)
 * @advice: See madvise(2)
 */
GPUSVM_API int gpusvm_madvise(void *addr, size_t length, int advice);

struct iovec;

/**
 * gpusvm_process_madvise() - process_madvise(2): if @pidfd is of this process,
 *	as gpusvm_madvise() for each vector
 * @pidfd: See process_madvise(2)
 * @iov: See process_madvise(2)
 * @n: See process_madvise(2)
 * @advice: See process_madvise(2)
 * @flags: See process_madvise(2)
 */
GPUSVM_API long gpusvm_process_madvise(int pidfd, const struct iovec *iov,
				       size_t n, int advice,
				       unsigned int flags);

/**
 * gpusvm_remap_file_pages() - remap_file_pages(2): MMU_NOTIFY_UNMAP of what is
 *	replaced
 * @addr: See remap_file_pages(2)
 * @size: See remap_file_pages(2)
 * @prot: See remap_file_pages(2)
 * @pgoff: See remap_file_pages(2)
 * @flags: See remap_file_pages(2)
 */
GPUSVM_API int gpusvm_remap_file_pages(void *addr, size_t size, int prot,
				       size_t pgoff, int flags);

/**
 * gpusvm_brk() - brk(2): MMU_NOTIFY_UNMAP of what a lower break cuts off
 * @addr: See brk(2)
 */
GPUSVM_API int gpusvm_brk(void *addr);

/**
 * gpusvm_sbrk() - sbrk(2): MMU_NOTIFY_UNMAP of what a lower break cuts off
 * @increment: See sbrk(2)
 */
GPUSVM_API void *gpusvm_sbrk(intptr_t increment);

/**
 * gpusvm_shmat() - shmat(2): MMU_NOTIFY_UNMAP of what SHM_REMAP replaces
 * @shmid: See shmat(2)
 * @addr: See shmat(2)
 * @flags: See shmat(2)
 */
GPUSVM_API void *gpusvm_shmat(int shmid, const void *addr, int flags);

/**
 * gpusvm_shmdt() - shmdt(2): MMU_NOTIFY_UNMAP
 * @addr: See shmdt(2)
 */
GPUSVM_API int gpusvm_shmdt(const void *addr);

/**
 * gpusvm_mlock() - mlock(2): what is on a device comes home first
 * @addr: See mlock(2)
 * @length: See mlock(2)
 */
GPUSVM_API int gpusvm_mlock(const void *addr, size_t length);

/**
 * gpusvm_mlock2() - mlock2(2): what is on a device comes home first
 * @addr: See mlock2(2)
 * @length: See mlock2(2)
 * @flags: See mlock2(2)
 */
GPUSVM_API int gpusvm_mlock2(const void *addr, size_t length,
			     unsigned int flags);

/**
 * gpusvm_mbind() - mbind(2): MMU_NOTIFY_CLEAR if it moves pages
 * @addr: See mbind(2)
 * @length: See mbind(2)
 * @mode: See mbind(2)
 * @nodemask: See mbind(2)
 * @maxnode: See mbind(2)
 * @flags: See mbind(2)
 */
GPUSVM_API long gpusvm_mbind(void *addr, unsigned long length, int mode,
			     const unsigned long *nodemask,
			     unsigned long maxnode, unsigned int flags);

/**
 * gpusvm_move_pages() - move_pages(2): MMU_NOTIFY_CLEAR of each page of this
 *	process, if @nodes asks for moves
 * @pid: See move_pages(2)
 * @count: See move_pages(2)
 * @pages: See move_pages(2)
 * @nodes: See move_pages(2)
 * @status: See move_pages(2)
 * @flags: See move_pages(2)
 */
GPUSVM_API long gpusvm_move_pages(int pid, unsigned long count, void **pages,
				  const int *nodes, int *status, int flags);

struct sigaction;

/**
 * gpusvm_sigaction() - sigaction(2), behind the library's signal handler
 * @signum: See sigaction(2)
 * @action: See sigaction(2)
 * @old: See sigaction(2)
 *
 * With the source mprotect the library has a handler of SIGSEGV, with the source
 * sigbus one of SIGBUS, which passes on what is not its own.  This sets and
 * tells the program's action, that is what it passes on to.  A program that calls sigaction() itself after
 * gpusvm_mm_open() takes the library's handler away, and must call that for
 * what it does not know.  Otherwise the bare call.
 */
GPUSVM_API int gpusvm_sigaction(int signum, const struct sigaction *action,
				struct sigaction *old);

/**
 * gpusvm_fallocate() - fallocate(2): MMU_NOTIFY_CLEAR wherever the file is
 *	mapped, for modes that drop pages
 * @fd: See fallocate(2)
 * @mode: See fallocate(2)
 * @offset: See fallocate(2)
 * @length: See fallocate(2)
 */
GPUSVM_API int gpusvm_fallocate(int fd, int mode, int64_t offset, int64_t length);

/**
 * gpusvm_ftruncate() - ftruncate(2): MMU_NOTIFY_CLEAR wherever the file is
 *	mapped beyond its new end
 * @fd: See ftruncate(2)
 * @length: See ftruncate(2)
 */
GPUSVM_API int gpusvm_ftruncate(int fd, int64_t length);

/**
 * gpusvm_truncate() - truncate(2): MMU_NOTIFY_CLEAR wherever the file is mapped
 *	beyond its new end
 * @path: See truncate(2)
 * @length: See truncate(2)
 *
 * Also of files with the same inode number on other devices.  A file that is
 * truncated by opening it (O_TRUNC) is not told of, nor what other processes
 * do.
 */
GPUSVM_API int gpusvm_truncate(const char *path, int64_t length);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_HOOKS_H */
