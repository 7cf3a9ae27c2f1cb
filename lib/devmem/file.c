/* SPDX-License-Identifier: MIT */
/*
 * Device memory in a file: one in memory (memfd, tmpfs) is mapped and can be
 * copied by address as well as by reads and writes; one on disk cannot, and its
 * pages have addresses that nobody can access, which only stand for them.
 *
 * The addresses are reserved apart from the private window, which is too small
 * for a disk.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <linux/magic.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "populate.h"
#include "sys.h"

/* An unnamed file in a directory: it goes when it is closed. */
static int open_in(const char *path, bool *direct)
{
	int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
	int fd = gpusvm_sys_open(path, flags | O_DIRECT);

	*direct = fd >= 0;
	if (fd == -EINVAL)
		fd = gpusvm_sys_open(path, flags);
	return fd;
}

static int open_file(struct file_memory *memory,
		     const struct gpusvm_devmem_pool_opts *opts)
{
	int flags;

	memory->own_fd = true;
	if (opts->type == GPUSVM_DEVMEM_MEMFD) {
		memory->file.fd =
			gpusvm_sys_memfd_create("gpusvm-devmem", MFD_CLOEXEC);
	} else if (opts->path) {
		memory->file.fd = open_in(opts->path, &memory->direct);
	} else {
		memory->own_fd = false;
		flags = gpusvm_sys_fd_flags(opts->fd);
		memory->file.fd = flags < 0 ? flags : opts->fd;
		memory->direct = flags >= 0 && (flags & O_DIRECT);
	}
	return min(memory->file.fd, 0);
}

/* Whether the last page of @size bytes is there: 0, -ENOSPC or -errno. */
static int check_last_page(int fd, size_t size)
{
	void *page = gpusvm_alloc_pages(PAGE_SIZE, PAGE_SIZE);
	ssize_t n;

	if (!page)
		return -ENOMEM;
	n = gpusvm_sys_pread(fd, page, PAGE_SIZE, (off_t)(size - PAGE_SIZE));
	gpusvm_free_pages(page, PAGE_SIZE);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)PAGE_SIZE ? 0 : -ENOSPC;
}

/*
 * Room for all of it now, not when a page is on its way: a full disk is no error
 * that a migration could do something about.
 */
static int make_room(int fd, size_t size)
{
	int err;

	do {
		err = gpusvm_sys_fallocate(fd, 0, 0, (off_t)size);
	} while (err == -EINTR);
	if (err && err != -EOPNOTSUPP && err != -ENODEV)
		return err;
	/*
	 * What cannot be made larger, as a disk, may be large enough; and a file
	 * that is must not be cut off behind that.
	 */
	if (err && check_last_page(fd, size) == -ENOSPC)
		gpusvm_sys_ftruncate(fd, (off_t)size);
	return check_last_page(fd, size);
}

static int reserve(struct file_memory *memory, size_t size)
{
	unsigned long alignment = huge_alignment(size);
	long addr;
	int err;

	if (__builtin_add_overflow(size, alignment, &memory->reserved_size))
		return -ENOMEM;
	addr = gpusvm_sys_mmap(0, memory->reserved_size, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			       0);
	if (addr < 0)
		return (int)addr;
	err = gpusvm_exclude((void *)addr, memory->reserved_size);
	if (err) {
		gpusvm_sys_munmap((unsigned long)addr, memory->reserved_size);
		return err;
	}
	memory->reserved = (unsigned long)addr;
	memory->addr = ALIGN_UP(memory->reserved, alignment);
	memory->size = size;
	return 0;
}

/* Populated, as device memory: a copy must not have to wait for the kernel. */
static int map(struct file_memory *memory)
{
	long addr;

	addr = gpusvm_sys_mmap(memory->addr, memory->size,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			       memory->file.fd, 0);
	if (addr < 0)
		return (int)addr;
	memory->file.mapped = true;
	gpusvm_sys_madvise(memory->addr, memory->size, MADV_HUGEPAGE);
	return gpusvm_populate_pages(memory->addr, memory->size, true) ? -ENOMEM
								       : 0;
}

int gpusvm_file_take(struct file_memory *memory, size_t size,
		     const struct gpusvm_devmem_pool_opts *opts)
{
	bool in_memory;
	int err;

	err = open_file(memory, opts);
	if (err) {
		log_error("device memory: no file%s%s (error %d)",
			  opts->path ? " in " : "",
			  opts->path ? opts->path : "", -err);
		return err;
	}
	in_memory = gpusvm_sys_fs_magic(memory->file.fd) == TMPFS_MAGIC;
	/* Which tmpfs accepts and ignores. */
	memory->direct &= !in_memory;
	err = make_room(memory->file.fd, size);
	if (err)
		log_error("device memory: no room for %zu bytes in the file "
			  "(error %d)",
			  size, -err);
	if (!err)
		err = reserve(memory, size);
	if (!err && in_memory)
		err = map(memory);
	if (err) {
		gpusvm_file_give_back(memory);
		return err;
	}
	log_info("device memory: %zu bytes in a file, %s", size,
		 in_memory	  ? "mapped"
		 : memory->direct ? "O_DIRECT"
				  : "through the page cache");
	return 0;
}

void gpusvm_file_give_back(struct file_memory *memory)
{
	if (memory->reserved) {
		gpusvm_sys_munmap(memory->reserved, memory->reserved_size);
		gpusvm_include((void *)memory->reserved, memory->reserved_size);
	}
	if (memory->own_fd)
		gpusvm_sys_close(memory->file.fd);
}
