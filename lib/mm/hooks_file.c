/* SPDX-License-Identifier: MIT */
/*
 * Announced calls, continued: shared memory, files, locking and placement.
 */
#include <errno.h>
#include <fcntl.h>
#include <gpusvm/hooks.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "change.h"
#include "compiler.h"
#include "hooks_args.h"
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
 * @inode: Its inode
 * @dev: Its device, as mappings of it tell
 * @any_dev: That is not known
 * @start: First byte
 * @end: End, exclusive
 */
struct extent {
	unsigned long inode;
	u64 dev;
	bool any_dev;
	unsigned long start;
	unsigned long end;
};

/*
 * What mappings of the file are known by.  stat(2) tells another device on some
 * file systems (btrfs, overlayfs), and even another inode for some files of the
 * latter, so this maps the file and looks.  A file that is not open for reading
 * cannot be mapped, nor be opened once more: to close that would give up the
 * locks that the process has on it.  Then files of the same number on other
 * devices are told of, too, which does no harm.
 */
static int identify(struct mm_struct *mm, int fd, const char *path,
		    struct extent *extent)
{
	struct vma vma = { 0 };
	size_t block;
	long addr;
	int err;

	err = gpusvm_sys_file_id(fd, path, &extent->inode, &block);
	if (err)
		return err;
	extent->any_dev = true;
	if (path)
		return 0;
	/* Of huge pages, no less than one can be mapped. */
	block = ALIGN_UP(max(block, 1ul), PAGE_SIZE);
	addr = gpusvm_sys_mmap(0, block, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE,
			       fd, 0);
	if (gpusvm_sys_is_error(addr))
		return 0;
	if (!gpusvm_vma_piece(mm, (unsigned long)addr, &vma) &&
	    gpusvm_vma_has_file(&vma)) {
		extent->inode = vma.inode;
		extent->dev = vma.dev;
		extent->any_dev = false;
	}
	gpusvm_sys_munmap((unsigned long)addr, block);
	return 0;
}

/* Where @vma maps the extent; false if it does not. */
static bool maps(const struct vma *vma, const struct extent *extent,
		 struct piece *piece)
{
	unsigned long offset = vma->offset;
	unsigned long first = max(extent->start, offset);
	unsigned long last = min(extent->end, offset + (vma->end - vma->start));

	if (vma->inode != extent->inode ||
	    (vma->dev != extent->dev && !extent->any_dev) || first >= last)
		return false;
	piece->start = vma->start + (first - offset);
	piece->end = vma->start + (last - offset);
	return true;
}

/* The places of the extent; if there are too many the last covers the rest. */
static unsigned int find_places(struct mm_struct *mm, int fd, const char *path,
				struct extent *extent, struct piece *pieces)
{
	unsigned long addr, end;
	unsigned int n = 0;
	struct piece piece;
	struct vma vma;

	gpusvm_notifiers_bounds(&mm->notifiers, &addr, &end);
	if (addr >= end || identify(mm, fd, path, extent))
		return 0;
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
 * struct split_change - A change of memory in several places
 * @call: Concerns nobody; keeps the address space from going, and makes who
 *	subscribes meanwhile wait
 * @pieces: The places
 * @n: How many
 */
struct split_change {
	struct gpusvm_change call;
	struct piece pieces[PIECES];
	unsigned int n;
};

static void begin_pieces(struct split_change *change,
			 enum mmu_notifier_event event)
{
	struct piece *piece;

	for (piece = change->pieces; piece < change->pieces + change->n;
	     piece++)
		gpusvm_change_begin_call(&piece->change, event,
					 (void *)piece->start,
					 piece->end - piece->start);
}

/* No private memory is in them, so no device has any of it. */
static void end_pieces(struct split_change *change)
{
	while (change->n--)
		gpusvm_change_end(&change->pieces[change->n].change, false);
	gpusvm_change_end(&change->call, false);
}

/* Announce a change of the extent of the file wherever it is mapped. */
static void begin_extent(struct split_change *change, int fd, const char *path,
			 struct extent *extent)
{
	struct mm_struct *mm = gpusvm_change_begin_none(&change->call);

	change->n = mm ? find_places(mm, fd, path, extent, change->pieces) : 0;
	begin_pieces(change, MMU_NOTIFY_CLEAR);
}

int gpusvm_fallocate(int fd, int mode, int64_t offset, int64_t length)
{
	bool drops = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
			     FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE |
			     FALLOC_FL_WRITE_ZEROES);
	bool shifts = mode &
		      (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	struct extent extent = {
		.start = (unsigned long)offset & PAGE_MASK,
		.end = shifts ? ~0ul : (unsigned long)(offset + length),
	};
	struct split_change change;
	int err;

	if (drops)
		begin_extent(&change, fd, NULL, &extent);
	err = gpusvm_sys_fallocate(fd, mode, offset, length);
	if (drops)
		end_pieces(&change);
	return (int)gpusvm_sys_to_libc(err);
}

int gpusvm_ftruncate(int fd, int64_t length)
{
	struct extent extent = {
		.start = (unsigned long)length & PAGE_MASK,
		.end = ~0ul,
	};
	struct split_change change;
	int err;

	begin_extent(&change, fd, NULL, &extent);
	err = gpusvm_sys_ftruncate(fd, length);
	end_pieces(&change);
	return (int)gpusvm_sys_to_libc(err);
}

int gpusvm_truncate(const char *path, int64_t length)
{
	struct extent extent = {
		.start = (unsigned long)length & PAGE_MASK,
		.end = ~0ul,
	};
	struct split_change change;
	int err;

	begin_extent(&change, -1, path, &extent);
	err = gpusvm_sys_truncate(path, length);
	end_pieces(&change);
	return (int)gpusvm_sys_to_libc(err);
}

/*
 * The mappings of a segment that was attached at @addr: as the kernel, from the
 * first that is where it was put.  In between may be what is not of it.
 */
static unsigned int find_segment(struct mm_struct *mm, unsigned long addr,
				 struct piece *pieces)
{
	struct vma vma, segment = { 0 };
	unsigned long at, end;
	unsigned int n = 0;

	gpusvm_notifiers_bounds(&mm->notifiers, &at, &end);
	for (at = addr; at < end && !gpusvm_vma_next(mm, at, &vma);
	     at = vma.end) {
		if (!vma.shared || !gpusvm_vma_has_file(&vma) ||
		    vma.offset != vma.start - addr)
			continue;
		if (!n)
			segment = vma;
		if (vma.inode != segment.inode || vma.dev != segment.dev)
			continue;
		if (n && (n == PIECES || pieces[n - 1].end == vma.start))
			pieces[n - 1].end = vma.end;
		else
			pieces[n++] = (struct piece){ .start = vma.start,
						      .end = vma.end };
	}
	return n;
}

int gpusvm_shmdt(const void *addr)
{
	unsigned long start = (unsigned long)addr;
	struct split_change change;
	struct mm_struct *mm;
	int err;

	mm = gpusvm_change_begin_none(&change.call);
	/* What does not begin with a page the kernel refuses. */
	change.n = mm && !(start & ~PAGE_MASK)
			   ? find_segment(mm, start, change.pieces)
			   : 0;
	begin_pieces(&change, MMU_NOTIFY_UNMAP);
	err = gpusvm_sys_shmdt(start);
	end_pieces(&change);
	return (int)gpusvm_sys_to_libc(err);
}

static int bring_home(struct mm_struct *mm, unsigned long start,
		      unsigned long end)
{
	int err, last = 0;

	for (; gpusvm_mm_next_device_page(mm, &start, end, false);
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

/*
 * From the lowest to the highest of the pages.  The list may lead nowhere: then
 * the kernel refuses the call when it has done what comes before that.
 */
static void find_bounds(void **pages, unsigned long count, unsigned long *start,
			unsigned long *end)
{
	unsigned long some[64], i;
	ssize_t n;

	*start = ~0ul;
	*end = 0;
	for (; count; pages += ARRAY_SIZE(some)) {
		n = gpusvm_hooks_read(pages, some,
				      min(count, ARRAY_SIZE(some)) *
					      sizeof(some[0]));
		for (i = 0; n > 0 && i < (size_t)n / sizeof(some[0]); i++) {
			*start = min(*start, some[i] & PAGE_MASK);
			*end = max(*end, (some[i] & PAGE_MASK) + PAGE_SIZE);
		}
		if (n != sizeof(some))
			break;
		count -= ARRAY_SIZE(some);
	}
	if (count && n < 0 && n != -EFAULT) {
		/* Nobody may read by that call here: it may be any of them. */
		*start = 0;
		*end = PAGE_MASK;
	}
}

long gpusvm_move_pages(int pid, unsigned long count, void **pages,
		       const int *nodes, int *status, int flags)
{
	bool ours = nodes && (!pid || pid == gpusvm_sys_getpid());
	unsigned long start = 0, end = 0;
	struct gpusvm_change change;
	int err;

	if (ours)
		find_bounds(pages, count, &start, &end);
	gpusvm_change_begin_call(&change, MMU_NOTIFY_CLEAR, (void *)start,
				 start < end ? end - start : 0);
	err = gpusvm_sys_move_pages(pid, count, pages, nodes, status, flags);
	gpusvm_change_end(&change, false);
	return gpusvm_sys_to_libc(err);
}
