/* SPDX-License-Identifier: MIT */
/*
 * Announced calls, continued: shared memory, files, locking and placement.
 */
#include <errno.h>
#include <fcntl.h>
#include <gpusvm/hooks.h>
#include <linux/falloc.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "change.h"
#include "compiler.h"
#include "mm.h"
#include "page_size.h"
#include "sys.h"
#include "vma.h"

/* How long somebody may hold a page that is to come home. */
#define PATIENCE_NS (1000ul * 1000 * 1000)

/* Mappings of one file that are told apart. */
#define PIECES 8

void *gpusvm_shmat(int shmid, const void *addr, int flags)
{
	unsigned long start = (unsigned long)addr;
	struct gpusvm_change change;
	size_t size;
	long ret;

	if (!(flags & SHM_REMAP) || gpusvm_sys_shm_size(shmid, &size))
		size = 0;
	/* SHMLBA is a page wherever the library runs. */
	if (flags & SHM_RND)
		start &= PAGE_MASK;
	gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP, (void *)start,
				 size);
	ret = gpusvm_sys_shmat(shmid, (unsigned long)addr, flags);
	gpusvm_change_end(&change, ret >= 0);
	return (void *)gpusvm_sys_to_libc(ret);
}

/**
 * struct piece - A part of the address space that a change is about
 * @start: First address
 * @end: End, exclusive
 * @change: The change of it
 */
struct piece {
	unsigned long start;
	unsigned long end;
	struct gpusvm_change change;
};

/**
 * struct extent - A part of a file
 * @dev: Its device
 * @inode: Its inode
 * @start: First byte
 * @end: End, exclusive
 */
struct extent {
	unsigned long dev;
	unsigned long inode;
	unsigned long start;
	unsigned long end;
};

/* Where @vma maps the extent; false if it does not. */
static bool maps(const struct vma *vma, const struct extent *extent,
		 struct piece *piece)
{
	unsigned long offset = vma->offset;
	unsigned long first = max(extent->start, offset);
	unsigned long last = min(extent->end, offset + (vma->end - vma->start));

	if (vma->inode != extent->inode || vma->dev != extent->dev ||
	    first >= last)
		return false;
	piece->start = vma->start + (first - offset);
	piece->end = vma->start + (last - offset);
	return true;
}

/* The places of the extent; if there are too many the last covers the rest. */
static unsigned int find_places(struct mm_struct *mm,
				const struct extent *extent,
				struct piece *pieces)
{
	unsigned long addr, end;
	unsigned int n = 0;
	struct piece piece;
	struct vma vma;

	gpusvm_notifiers_bounds(&mm->notifiers, &addr, &end);
	for (; addr < end && !gpusvm_vma_next(mm, addr, &vma); addr = vma.end) {
		if (!maps(&vma, extent, &piece))
			continue;
		if (n < PIECES)
			pieces[n++] = piece;
		else
			pieces[n - 1].end = piece.end;
	}
	return n;
}

/**
 * struct file_change - A change of a part of a file
 * @call: Concerns nobody; keeps the address space from going, and makes who
 *	subscribes meanwhile wait
 * @pieces: Where it is mapped
 * @n: How many
 */
struct file_change {
	struct gpusvm_change call;
	struct piece pieces[PIECES];
	unsigned int n;
};

/* Announce a change of the extent of the file wherever it is mapped. */
static void begin_extent(struct file_change *change, int fd,
			 struct extent *extent)
{
	struct mm_struct *mm;
	struct piece *piece;

	change->n = 0;
	gpusvm_change_begin(&change->call, MMU_NOTIFY_CLEAR, NULL, 0);
	mm = gpusvm_mm_current();
	if (mm && gpusvm_mm_alive(mm) &&
	    !gpusvm_sys_file_id(fd, &extent->dev, &extent->inode))
		change->n = find_places(mm, extent, change->pieces);
	for (piece = change->pieces; piece < change->pieces + change->n;
	     piece++)
		gpusvm_change_begin_call(&piece->change, MMU_NOTIFY_CLEAR,
					 (void *)piece->start,
					 piece->end - piece->start);
}

static void end_extent(struct file_change *change)
{
	while (change->n--)
		gpusvm_change_end(&change->pieces[change->n].change, false);
	gpusvm_change_end(&change->call, false);
}

int gpusvm_fallocate(int fd, int mode, int64_t offset, int64_t length)
{
	bool drops = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
			     FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE);
	bool shifts = mode &
		      (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	struct extent extent = {
		.start = (unsigned long)offset & PAGE_MASK,
		.end = shifts ? ~0ul : (unsigned long)(offset + length),
	};
	struct file_change change;
	int err;

	if (drops)
		begin_extent(&change, fd, &extent);
	err = gpusvm_sys_fallocate(fd, mode, offset, length);
	if (drops)
		end_extent(&change);
	return (int)gpusvm_sys_to_libc(err);
}

int gpusvm_ftruncate(int fd, int64_t length)
{
	struct extent extent = {
		.start = (unsigned long)length & PAGE_MASK,
		.end = ~0ul,
	};
	struct file_change change;
	int err;

	begin_extent(&change, fd, &extent);
	err = gpusvm_sys_ftruncate(fd, length);
	end_extent(&change);
	return (int)gpusvm_sys_to_libc(err);
}

/* The segment's mapping begins at @addr; it may be in pieces by now. */
static size_t segment_size(unsigned long addr)
{
	struct gpusvm_change none;
	struct vma vma, next;
	struct mm_struct *mm;
	size_t size = 0;

	gpusvm_change_begin(&none, MMU_NOTIFY_UNMAP, NULL, 0);
	mm = gpusvm_mm_current();
	if (mm && gpusvm_mm_alive(mm) && !gpusvm_vma_piece(mm, addr, &vma)) {
		while (!gpusvm_vma_piece(mm, vma.end, &next) &&
		       next.inode == vma.inode && next.dev == vma.dev &&
		       next.offset == next.start - addr)
			vma.end = next.end;
		size = vma.end - addr;
	}
	gpusvm_change_end(&none, false);
	return size;
}

int gpusvm_shmdt(const void *addr)
{
	struct gpusvm_change change;
	int err;

	gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP, addr,
				 segment_size((unsigned long)addr));
	err = gpusvm_sys_shmdt((unsigned long)addr);
	gpusvm_change_end(&change, !err);
	return (int)gpusvm_sys_to_libc(err);
}

static int bring_home(struct mm_struct *mm, unsigned long start,
		      unsigned long end)
{
	int err, last = 0;

	for (; gpusvm_mm_next_device_page(mm, &start) && start < end;
	     start += PAGE_SIZE) {
		err = gpusvm_mm_bring_home(mm, start, 0,
					   gpusvm_sys_now_ns() + PATIENCE_NS);
		if (err)
			last = err;
	}
	return last;
}

int gpusvm_populate(const void *addr, size_t size)
{
	unsigned long start = (unsigned long)addr & PAGE_MASK;
	unsigned long end = ALIGN_UP((unsigned long)addr + size, PAGE_SIZE);
	struct gpusvm_change none;
	struct mm_struct *mm;
	unsigned long mask;
	bool pinned;
	int saved, err = 0;

	/* Keeps the structure there until it is pinned. */
	mm = gpusvm_change_begin_none(&none);
	if (!mm || !READ_ONCE(mm->pt.npages)) {
		gpusvm_change_end(&none, false);
		return 0;
	}
	saved = gpusvm_sys_save_error();
	gpusvm_sys_block_signals(&mask);
	pinned = gpusvm_mm_pin(mm);
	gpusvm_change_end(&none, false);
	if (pinned) {
		err = bring_home(mm, start, end);
		gpusvm_mm_unpin(mm);
	}
	gpusvm_sys_restore_signals(&mask);
	gpusvm_sys_restore_error(saved);
	return err;
}

int gpusvm_mlock(const void *addr, size_t length)
{
	if (gpusvm_populate(addr, length))
		return (int)gpusvm_sys_to_libc(-EAGAIN);
	return (int)gpusvm_sys_to_libc(
		gpusvm_sys_mlock((unsigned long)addr, length));
}

int gpusvm_mlock2(const void *addr, size_t length, unsigned int flags)
{
	if (gpusvm_populate(addr, length))
		return (int)gpusvm_sys_to_libc(-EAGAIN);
	return (int)gpusvm_sys_to_libc(
		gpusvm_sys_mlock2((unsigned long)addr, length, flags));
}

long gpusvm_mbind(void *addr, unsigned long length, int mode,
		  const unsigned long *nodemask, unsigned long maxnode,
		  unsigned int flags)
{
	bool moves = flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL);
	struct gpusvm_change change;
	int err;

	gpusvm_change_begin_call(&change, MMU_NOTIFY_CLEAR, addr,
				 moves ? length : 0);
	err = gpusvm_sys_mbind((unsigned long)addr, length, mode, nodemask,
			       maxnode, flags);
	gpusvm_change_end(&change, false);
	return gpusvm_sys_to_libc(err);
}

long gpusvm_move_pages(int pid, unsigned long count, void **pages,
		       const int *nodes, int *status, int flags)
{
	bool ours = nodes && (!pid || pid == gpusvm_sys_getpid());
	unsigned long i, start = ~0ul, end = 0;
	struct gpusvm_change change;
	int err;

	for (i = 0; ours && i < count; i++) {
		start = min(start, (unsigned long)pages[i]);
		end = max(end, (unsigned long)pages[i] + 1);
	}
	gpusvm_change_begin_call(&change, MMU_NOTIFY_CLEAR, (void *)start,
				 start < end ? end - start : 0);
	err = gpusvm_sys_move_pages(pid, count, pages, nodes, status, flags);
	gpusvm_change_end(&change, false);
	return gpusvm_sys_to_libc(err);
}
