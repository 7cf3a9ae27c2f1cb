/* SPDX-License-Identifier: MIT */
/*
 * libc's calls that change mappings of memory, announced: gpusvm/hooks.h tells
 * what each does, change.h how.
 *
 * Results and errno are those of the system call.
 */
#include <errno.h>
#include <gpusvm/hooks.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "change.h"
#include "compiler.h"
#include "hooks_args.h"
#include "mm.h"
#include "page_size.h"
#include "remap.h"
#include "source.h"
#include "sys.h"
#include "vma.h"

/*
 * A source that guards puts a protection of its own in the place of the
 * program's: what is on a device comes home before a change of that.  After the
 * begin nothing goes there any more; no page comes home twice.
 */
static int unguard(const struct gpusvm_change *change, unsigned long addr,
		   size_t length)
{
	const struct change *announced = change->priv;

	if (!announced || !announced->range.mm->source->ops->guard)
		return 0;
	return gpusvm_populate((void *)addr, length) ? -ENOMEM : 0;
}

int gpusvm_munmap(void *addr, size_t length)
{
	struct gpusvm_change change;
	int err;

	gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP, addr, length);
	err = gpusvm_sys_munmap((unsigned long)addr, length);
	gpusvm_change_end(&change, !err);
	return (int)gpusvm_sys_to_libc(err);
}

void *gpusvm_mmap(void *addr, size_t length, int prot, int flags, int fd,
		  int64_t offset)
{
	bool replaces = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) ==
			MAP_FIXED;
	struct gpusvm_change change;
	long ret;

	if (replaces)
		gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP, addr,
					 length);
	ret = gpusvm_sys_mmap((unsigned long)addr, length, prot, flags, fd,
			      offset);
	if (replaces)
		gpusvm_change_end(&change, !gpusvm_sys_is_error(ret));
	return (void *)gpusvm_sys_to_libc(ret);
}

/* Cut off the tail: what is left does not move. */
static long shrink(unsigned long addr, size_t old_len, size_t new_len,
		   int flags)
{
	struct gpusvm_change change;
	long ret;

	gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP,
				 (void *)(addr + new_len), old_len - new_len);
	ret = gpusvm_sys_mremap(addr, old_len, new_len, flags, 0);
	gpusvm_change_end(&change, !gpusvm_sys_is_error(ret));
	return ret;
}

static bool unite_pieces(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	return gpusvm_notifiers_concern(&mm->notifiers, start, end) &&
	       gpusvm_vma_in_pieces(mm, start, end) &&
	       !mm->source->ops->trap(mm->source, start, end);
}

/*
 * What is one mapping for the program may be several for the kernel, because
 * the source traps a part of it; mremap() then fails, perhaps half done (6.17).
 * True if it is one now, and was not.
 */
static bool unite(unsigned long start, unsigned long end)
{
	struct gpusvm_change none;
	struct mm_struct *mm;
	unsigned long mask;
	bool united = false;

	mm = gpusvm_change_begin_none(&none);
	if (mm) {
		gpusvm_sys_block_signals(&mask);
		united = unite_pieces(mm, start, end);
		gpusvm_sys_restore_signals(&mask);
	}
	gpusvm_change_end(&none, false);
	return united;
}

/*
 * The pages go elsewhere, perhaps in the place of others, perhaps without a
 * tail that is cut off.  An entry that has been moved must not be taken for one
 * of those that it replaced, hence the order in which the changes end.
 */
static long move(unsigned long addr, size_t old_len, size_t new_len, int flags,
		 unsigned long to)
{
	size_t kept = min(old_len, new_len);
	struct gpusvm_change head, tail, replaced;
	bool done, moved;
	long ret;

	gpusvm_change_begin_move(&replaced, to,
				 flags & MREMAP_FIXED ? new_len : 0);
	gpusvm_change_begin_move(&tail, addr + kept, old_len - kept);
	gpusvm_change_begin_move(&head, addr, kept);
	unite(addr, addr + old_len);
	ret = unguard(&head, addr, kept);
	if (!ret)
		ret = unguard(&tail, addr + kept, old_len - kept);
	/* Not before: what comes home brings its neighbours along. */
	gpusvm_change_close(&head);
	gpusvm_change_close(&tail);
	gpusvm_change_close(&replaced);
	if (!ret)
		ret = gpusvm_remap_move(addr, old_len, new_len, flags, to);
	done = !gpusvm_sys_is_error(ret);
	/* What was in the way of growing may have gone meanwhile. */
	moved = done && (unsigned long)ret != addr;
	gpusvm_change_end(&replaced, done && !gpusvm_change_was_told(&head));
	gpusvm_change_end(&tail, done);
	if (moved && !(flags & MREMAP_DONTUNMAP))
		gpusvm_change_tell_again(&head);
	if (moved)
		gpusvm_change_end_moved(&head, (unsigned long)ret);
	else
		gpusvm_change_end(&head, false);
	return ret;
}

/* Whether there is a source that guards; it is not to be used by that. */
static bool source_guards(void)
{
	struct gpusvm_change none;
	struct mm_struct *mm = gpusvm_change_begin_none(&none);
	bool guards = mm && mm->source->ops->guard;

	gpusvm_change_end(&none, false);
	return guards;
}

/* What is added has the protection of what was there, so not a guard's. */
static long grow_in_place(unsigned long addr, size_t old_len, size_t new_len,
			  int flags)
{
	struct gpusvm_change change;
	long ret;

	gpusvm_change_begin(&change, MMU_NOTIFY_PROTECTION_VMA, (void *)addr,
			    source_guards() ? old_len : 0);
	ret = unguard(&change, addr, old_len);
	/* Not -ENOMEM, which would have it moved. */
	if (ret)
		ret = -EAGAIN;
	else
		ret = gpusvm_remap_grow(addr, old_len, new_len,
					flags & ~MREMAP_MAYMOVE);
	gpusvm_change_end(&change, false);
	return ret;
}

/* The kernel moves what cannot grow where it is; to know, ask for that first. */
static long grow(unsigned long addr, size_t old_len, size_t new_len, int flags)
{
	long ret = grow_in_place(addr, old_len, new_len, flags);

	if (ret == -EFAULT && unite(addr, addr + old_len))
		ret = grow_in_place(addr, old_len, new_len, flags);
	if (ret == -ENOMEM && (flags & MREMAP_MAYMOVE))
		ret = move(addr, old_len, new_len, flags, 0);
	return ret;
}

static long remap(unsigned long addr, size_t old_len, size_t new_len, int flags,
		  unsigned long to)
{
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		return move(addr, old_len, new_len, flags, to);
	if (new_len < old_len)
		return shrink(addr, old_len, new_len, flags);
	return grow(addr, old_len, new_len, flags);
}

void *gpusvm_mremap(void *old_address, size_t old_size, size_t new_size,
		    int flags, void *new_address)
{
	unsigned long addr = (unsigned long)old_address;
	unsigned long to = (unsigned long)new_address;
	size_t old_len = ALIGN_UP(old_size, PAGE_SIZE);
	size_t new_len = ALIGN_UP(new_size, PAGE_SIZE);
	long ret;

	/*
	 * What is not as it should be is for the kernel to refuse; and an old
	 * size of 0, which is another mapping of the same, replaces at most.
	 */
	if ((addr & ~PAGE_MASK) || !new_len ||
	    (!old_len && !(flags & MREMAP_FIXED)))
		ret = gpusvm_sys_mremap(addr, old_size, new_size, flags, to);
	else
		ret = remap(addr, old_len, new_len, flags, to);
	return (void *)gpusvm_sys_to_libc(ret);
}

/* Takes no part of a page, and rounds the address down. */
int gpusvm_remap_file_pages(void *addr, size_t size, int prot, size_t pgoff,
			    int flags)
{
	unsigned long start = (unsigned long)addr & PAGE_MASK;
	struct gpusvm_change change;
	int err;

	gpusvm_change_begin_call(&change, MMU_NOTIFY_UNMAP, (void *)start,
				 size & PAGE_MASK);
	err = gpusvm_sys_remap_file_pages((unsigned long)addr, size, prot,
					  pgoff, flags);
	gpusvm_change_end(&change, !err);
	return (int)gpusvm_sys_to_libc(err);
}

/* @pkey is NULL for the call without one. */
static int protect(void *addr, size_t length, int prot, const int *pkey)
{
	unsigned long start = (unsigned long)addr;
	struct gpusvm_change change;
	int err;

	gpusvm_change_begin(&change, MMU_NOTIFY_PROTECTION_VMA, addr, length);
	err = unguard(&change, start, length);
	if (!err)
		err = pkey ? gpusvm_sys_pkey_mprotect(start, length, prot,
						      *pkey)
			   : gpusvm_sys_mprotect(start, length, prot);
	gpusvm_change_end(&change, !err);
	return (int)gpusvm_sys_to_libc(err);
}

int gpusvm_mprotect(void *addr, size_t length, int prot)
{
	return protect(addr, length, prot, NULL);
}

int gpusvm_pkey_mprotect(void *addr, size_t length, int prot, int pkey)
{
	return protect(addr, length, prot, &pkey);
}

static bool drops_pages(int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_GUARD_INSTALL:
		return true;
	default:
		return false;
	}
}

/* Pages that stay in the mapping, but are not the same afterwards. */
static bool replaces_pages(int advice)
{
	switch (advice) {
	case MADV_PAGEOUT:
	case MADV_COLLAPSE:
	case MADV_HWPOISON:
	case MADV_SOFT_OFFLINE:
		return true;
	default:
		return false;
	}
}

int gpusvm_madvise(void *addr, size_t length, int advice)
{
	bool drops = drops_pages(advice);
	bool concerns = drops || replaces_pages(advice);
	struct gpusvm_change change;
	int err;

	if (concerns)
		gpusvm_change_begin_call(&change, MMU_NOTIFY_CLEAR, addr,
					 length);
	err = gpusvm_sys_madvise((unsigned long)addr, length, advice);
	/* -ENOMEM tells of holes; what was there is dropped. */
	if (concerns)
		gpusvm_change_end(&change, drops && (!err || err == -ENOMEM));
	return (int)gpusvm_sys_to_libc(err);
}

/* What the kernel takes at once. */
#define MOST_VECTORS 1024

/* Each as madvise() has it; the sum, or the first error if that is 0. */
static long advise_each(int pidfd, const struct iovec *iov, size_t n,
			int advice, unsigned int flags)
{
	struct gpusvm_change change;
	struct iovec part;
	long ret, done = 0;
	size_t i;

	/* What is wrong with the other arguments. */
	if (!n)
		return gpusvm_sys_process_madvise(pidfd, iov, n, advice, flags);
	for (i = 0; i < n; i++) {
		/* What cannot be read is for the kernel to refuse. */
		if (gpusvm_hooks_read(&iov[i], &part, sizeof(part)) !=
		    sizeof(part)) {
			ret = gpusvm_sys_process_madvise(pidfd, &iov[i], 1,
							 advice, flags);
			return done ? done : ret;
		}
		gpusvm_change_begin_call(&change, MMU_NOTIFY_CLEAR,
					 part.iov_base, part.iov_len);
		ret = gpusvm_sys_process_madvise(pidfd, &part, 1, advice,
						 flags);
		gpusvm_change_end(&change,
				  drops_pages(advice) &&
					  (ret >= 0 || ret == -ENOMEM));
		if (ret < 0)
			return done ? done : ret;
		done += ret;
	}
	return done;
}

long gpusvm_process_madvise(int pidfd, const struct iovec *iov, size_t n,
			    int advice, unsigned int flags)
{
	bool concerns = drops_pages(advice) || replaces_pages(advice);
	bool ours = false;
	struct gpusvm_change call;
	long ret = 0;

	if (gpusvm_change_begin_none(&call) && concerns && n <= MOST_VECTORS)
		ours = gpusvm_hooks_is_self(pidfd);
	if (!ours)
		ret = gpusvm_sys_process_madvise(pidfd, iov, n, advice, flags);
	gpusvm_change_end(&call, false);
	if (ours)
		ret = advise_each(pidfd, iov, n, advice, flags);
	return gpusvm_sys_to_libc(ret);
}

/* What lies between a lower break and the present one is unmapped. */
static void begin_break(struct gpusvm_change *change, unsigned long from)
{
	unsigned long to = (unsigned long)gpusvm_sys_sbrk(0);

	from = ALIGN_UP(from, PAGE_SIZE);
	to = ALIGN_UP(to, PAGE_SIZE);
	gpusvm_change_begin_call(change, MMU_NOTIFY_UNMAP, (void *)from,
				 from < to ? to - from : 0);
}

/* libc does not say so if the kernel left the break where it was. */
static void end_break(struct gpusvm_change *change, unsigned long from)
{
	gpusvm_change_end(change, (unsigned long)gpusvm_sys_sbrk(0) <= from);
}

int gpusvm_brk(void *addr)
{
	struct gpusvm_change change;
	int err;

	begin_break(&change, (unsigned long)addr);
	err = gpusvm_sys_brk(addr);
	end_break(&change, (unsigned long)addr);
	return (int)gpusvm_sys_to_libc(err);
}

void *gpusvm_sbrk(intptr_t increment)
{
	struct gpusvm_change change;
	unsigned long to;
	void *old;

	if (increment >= 0)
		return gpusvm_sys_sbrk(increment);
	to = (unsigned long)gpusvm_sys_sbrk(0) + (unsigned long)increment;
	begin_break(&change, to);
	old = gpusvm_sys_sbrk(increment);
	end_break(&change, to);
	return old;
}
