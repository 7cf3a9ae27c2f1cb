/* SPDX-License-Identifier: MIT */
/* mremap(2), part by part where it must be. */
#include "remap.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "change.h"
#include "compiler.h"
#include "log.h"
#include "mm.h"
#include "source.h"
#include "sys.h"
#include "vma.h"

/* Whether [start, end) is in parts because of a source that guards. */
static bool in_parts(struct mm_struct *mm, unsigned long start,
		     unsigned long end)
{
	return mm && mm->source->ops->guard &&
	       gpusvm_vma_in_pieces(mm, start, end);
}

/*
 * Move the parts of [from, from + len), the last of which grows by @extra.
 * Returns how many bytes were moved.
 */
static size_t move_parts(struct mm_struct *mm, unsigned long from, size_t len,
			 size_t extra, int flags, unsigned long to, long *err)
{
	size_t done, part, grown;
	struct vma vma;
	long ret;

	*err = 0;
	for (done = 0; done < len; done += part) {
		*err = gpusvm_vma_piece(mm, from + done, &vma);
		if (*err)
			break;
		part = min(vma.end - from, len) - done;
		grown = done + part == len ? part + extra : part;
		ret = gpusvm_sys_mremap(from + done, part, grown,
					MREMAP_MAYMOVE | MREMAP_FIXED | flags,
					to + done);
		if (gpusvm_sys_is_error(ret)) {
			*err = ret;
			break;
		}
	}
	return done;
}

/*
 * Move [addr, addr + len) back from @to, where the place ends at @end.  What
 * cannot go back, for want of mappings, must not be lost: it stays where it is.
 */
static void move_back(struct mm_struct *mm, unsigned long addr, size_t len,
		      unsigned long to, unsigned long end)
{
	size_t done;
	long err;

	gpusvm_sys_munmap(to + len, end - (to + len));
	done = move_parts(mm, to, len, 0, 0, addr, &err);
	if (err)
		log_error("mremap: what was at %#lx..%#lx is at %#lx now: "
			  "neither the rest could follow nor this go back",
			  addr + done, addr + len, to + done);
}

static long move_all(struct mm_struct *mm, unsigned long addr, size_t old_len,
		     size_t new_len, int flags, unsigned long to)
{
	int place = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	size_t kept = min(old_len, new_len), done;
	long err, back;

	if (flags & MREMAP_FIXED)
		place |= MAP_FIXED;
	/* Where nobody else gets in between. */
	back = gpusvm_sys_mmap(flags & MREMAP_FIXED ? to : 0, new_len,
			       PROT_NONE, place, -1, 0);
	if (gpusvm_sys_is_error(back))
		return back;
	to = (unsigned long)back;
	done = move_parts(mm, addr, kept, new_len - kept,
			  flags & MREMAP_DONTUNMAP, to, &err);
	if (err) {
		move_back(mm, addr, done, to, to + new_len);
		return err;
	}
	if (kept < old_len)
		gpusvm_sys_munmap(addr + kept, old_len - kept);
	return (long)to;
}

long gpusvm_remap_move(unsigned long addr, size_t old_len, size_t new_len,
		       int flags, unsigned long to)
{
	struct gpusvm_change none;
	struct mm_struct *mm;
	long ret;

	ret = gpusvm_sys_mremap(addr, old_len, new_len, flags, to);
	if (ret != -EFAULT)
		return ret;
	mm = gpusvm_change_begin_none(&none);
	if (in_parts(mm, addr, addr + old_len))
		ret = move_all(mm, addr, old_len, new_len, flags, to);
	gpusvm_change_end(&none, false);
	return ret;
}

long gpusvm_remap_grow(unsigned long addr, size_t old_len, size_t new_len,
		       int flags)
{
	unsigned long end = addr + old_len;
	struct gpusvm_change none;
	struct mm_struct *mm;
	struct vma vma;
	long ret;

	ret = gpusvm_sys_mremap(addr, old_len, new_len, flags, 0);
	if (ret != -EFAULT)
		return ret;
	mm = gpusvm_change_begin_none(&none);
	if (in_parts(mm, addr, end) && !gpusvm_vma_piece(mm, end - 1, &vma)) {
		ret = gpusvm_sys_mremap(vma.start, end - vma.start,
					end - vma.start + new_len - old_len,
					flags, 0);
		if (!gpusvm_sys_is_error(ret))
			ret = (long)addr;
	}
	gpusvm_change_end(&none, false);
	return ret;
}
