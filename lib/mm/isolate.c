/* SPDX-License-Identifier: MIT */
/* Taking pages from the CPU: see isolate.h. */
#include "isolate.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "compiler.h"
#include "handler.h"
#include "huge_zero.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "populate.h"
#include "scan.h"
#include "source.h"
#include "sys.h"
#include "vma.h"

/* How often changes elsewhere may get in the way. */
#define MOVE_ATTEMPTS 1000

/* Pages whose state is looked at in one go. */
#define SCAN_BATCH 512ul

/*
 * One call moves within one piece of mapping only: the length up to the end of
 * that at @addr, at most @len; -EOPNOTSUPP if it is not shorter than @len.
 */
static long piece_length(struct mm_struct *mm, unsigned long addr,
			 unsigned long len)
{
	struct vma piece;

	if (gpusvm_vma_piece(mm, addr, &piece))
		return -EBUSY;
	if (piece.end - addr >= len)
		return -EOPNOTSUPP;
	return (long)(piece.end - addr);
}

static int prot_of(const struct vma *vma)
{
	return (vma->read ? PROT_READ : 0) | (vma->write ? PROT_WRITE : 0) |
	       (vma->exec ? PROT_EXEC : 0);
}

/*
 * What MADV_GUARD_INSTALL leaves (Linux 6.13) looks like a swapped page and
 * moves like one, but who copies it gets a SIGSEGV.  Reading tells.
 */
static bool is_readable(struct migration *m, unsigned long from,
			unsigned long len)
{
	unsigned char state[SCAN_BATCH];
	unsigned long i, n, end = from + len;

	for (; from < end; from += n << PAGE_SHIFT) {
		n = min((end - from) >> PAGE_SHIFT, SCAN_BATCH);
		if (gpusvm_scan_pages(m->mm, from, n, state))
			return false;
		for (i = 0; i < n; i++)
			if ((state[i] & PAGE_IS_SWAPPED) &&
			    gpusvm_populate_pages(from + (i << PAGE_SHIFT),
						  PAGE_SIZE, false))
				return false;
	}
	return true;
}

/*
 * Take the pages from @offset on, at most @len bytes.  A source that guards
 * must be told what protection there was, and it differs from piece to piece.
 */
static long take_piece(struct migration *m, unsigned long offset,
		       unsigned long len)
{
	struct source *source = m->mm->source;
	unsigned long from = m->start + offset;
	struct vma piece;
	int err;

	if (source->ops->guard) {
		if (gpusvm_vma_piece(m->mm, from, &piece) || !piece.anon ||
		    piece.guarded)
			return -EBUSY;
		len = min(len, piece.end - from);
		if (!is_readable(m, from, len))
			return -EBUSY;
		err = source->ops->guard(source, from, from + len,
					 prot_of(&piece));
		if (err)
			return err == -EINVAL ? -EBUSY : err;
	}
	return source->ops->take(source, m->run->addr + offset, from, len);
}

/*
 * A huge page stays one only where no page table is left of pages that were
 * there before.  To drop nothing frees it (Linux 6.14).
 */
static void make_room_for_huge_pages(struct migration *m)
{
	unsigned long step = HUGE_PAGE_SIZE >> PAGE_SHIFT;
	unsigned long i;

	for (i = 0; i + step <= m->npages; i += step)
		if (gpusvm_scan_is_huge(m->mm, m->start + (i << PAGE_SHIFT)))
			gpusvm_staging_drop(m->mm, m->run, i, step);
}

static unsigned long size_of(const struct migration *m)
{
	return m->npages << PAGE_SHIFT;
}

/*
 * How much from @offset on, of @m and what is taken with it, has its place in
 * staging in one piece.
 */
static unsigned long staged_in_one(const struct migration *m,
				   unsigned long offset)
{
	unsigned long len = size_of(m) - offset;

	for (; m->next && m->next->run == m->run->behind &&
	       size_of(m) == PAGE_SIZE << m->run->order;
	     m = m->next)
		len += size_of(m->next);
	return len;
}

/* @done bytes on; *@m is NULL at the end. */
static void advance(struct migration **m, unsigned long *offset,
		    unsigned long done)
{
	*offset += done;
	while (*m && *offset >= size_of(*m)) {
		*offset -= size_of(*m);
		*m = (*m)->next;
	}
}

/* Whether the pages from @offset on are still where they are to be taken from. */
static bool is_in_place(const struct migration *m, unsigned long offset)
{
	unsigned long i = offset >> PAGE_SHIFT;
	const struct migration *each;
	bool in_place = true;

	pthread_mutex_lock(&m->mm->pt_lock);
	for_each_taken_with(each, m) {
		for (; i < each->npages && in_place; i++)
			in_place = each->pages[i]->vaddr ==
				   each->start + (i << PAGE_SHIFT);
		i = 0;
	}
	pthread_mutex_unlock(&m->mm->pt_lock);
	return in_place;
}

/* 0 if what is left can be taken after changes were read, which may be there. */
static int let_changes_pass(struct migration *m, unsigned long offset,
			    unsigned int attempt)
{
	gpusvm_up_read(&m->mm->event_lock);
	gpusvm_handler_settle(m->mm, attempt);
	gpusvm_down_read(&m->mm->event_lock);
	return is_in_place(m, offset) ? 0 : -EBUSY;
}

/*
 * Pages that are kept from everybody are let go sooner or later by those who had
 * them before.
 */
static bool passes(long err, unsigned long until_ns, unsigned int attempt)
{
	return err == -EBUSY ? gpusvm_sys_now_ns() < until_ns
			     : err == -EAGAIN && attempt < MOVE_ATTEMPTS;
}

int gpusvm_isolate_move(struct migration *m, unsigned long until_ns)
{
	unsigned long offset = 0, len = staged_in_one(m, 0), call;
	unsigned int attempt = 0;
	struct migration *each;
	long done;
	int err;

	for_each_taken_with(each, m)
		make_room_for_huge_pages(each);
	while (m) {
		call = gpusvm_huge_zero_clip(m->mm, m->start + offset, len);
		done = take_piece(m, offset, call);
		if (done == -EINVAL) {
			done = piece_length(m->mm, m->start + offset, call);
			if (done < 0)
				return (int)done;
			len = (unsigned long)done;
		} else if (done > 0) {
			advance(&m, &offset, (unsigned long)done);
			len = m ? staged_in_one(m, offset) : 0;
			attempt = 0;
		} else if (passes(done, until_ns, attempt)) {
			err = let_changes_pass(m, offset, attempt++);
			if (err)
				return err;
		} else {
			return done == -ENOMEM ? -ENOMEM : -EBUSY;
		}
	}
	return 0;
}

static bool has_data(unsigned char state)
{
	return state && !(state & PAGE_IS_PFNZERO);
}

/*
 * Note where the data of the @n pages from @first on is, which all have the
 * same state.
 */
static void note_data(struct migration *m, unsigned long first, unsigned long n,
		      unsigned char state)
{
	unsigned long addr = m->run->addr + (first << PAGE_SHIFT);
	unsigned long i;

	for (i = first; i < first + n; i++, addr += PAGE_SIZE)
		m->ram[i] = has_data(state) ? addr : 0;
}

/* How many of @n states are as the first one. */
static unsigned long same_state(const unsigned char *state, unsigned long n)
{
	unsigned long i = 1;

	while (i < n && state[i] == state[0])
		i++;
	return i;
}

/*
 * Which pages of the run are there.  If that cannot be had, all of them are made
 * to be there: zeros are what an absent one stands for.
 */
static void scan_run(struct migration *m, unsigned long first, unsigned long n,
		     unsigned char *state)
{
	unsigned long addr = m->run->addr + (first << PAGE_SHIFT);
	struct source *source = m->mm->source;
	unsigned int attempt = 0;
	unsigned long i;

	if (!gpusvm_scan_pages(m->mm, addr, n, state))
		return;
	memset(state, PAGE_IS_PRESENT, n);
	for (i = 0; i < n; i++)
		while (source->ops->fill(source, addr + (i << PAGE_SHIFT),
					 PAGE_SIZE) == -EAGAIN)
			gpusvm_handler_settle(m->mm, attempt++);
}

/* Note what @n pages of the run from @first on are. */
static void note_moved(struct migration *m, unsigned long first,
		       unsigned long n, const unsigned char *state)
{
	unsigned long i, same;

	for (i = 0; i < n; i += same) {
		same = same_state(state + i, n - i);
		note_data(m, first + i, same, state[i]);
		gpusvm_staging_set_filled(m->run, first + i, same, state[i]);
	}
}

void gpusvm_isolate_moved(struct migration *m)
{
	unsigned char state[SCAN_BATCH];
	unsigned long i, first, n, part, offset = 0;

	while (m) {
		n = min(staged_in_one(m, offset) >> PAGE_SHIFT, SCAN_BATCH);
		scan_run(m, offset >> PAGE_SHIFT, n, state);
		for (i = 0; i < n; i += part) {
			first = offset >> PAGE_SHIFT;
			part = min(n - i, m->npages - first);
			note_moved(m, first, part, state + i);
			advance(&m, &offset, part << PAGE_SHIFT);
		}
	}
}

/*
 * Older kernels protect within one piece of mapping at a time only.  A piece
 * that is another mapping by now keeps no other from being let go.
 */
static int protect(struct migration *m, bool on)
{
	unsigned long addr, next, end = m->start + (m->npages << PAGE_SHIFT);
	struct source *source = m->mm->source;
	struct vma piece;
	int err = 0;

	for (addr = m->start; addr < end; addr = next) {
		next = addr + PAGE_SIZE;
		if (gpusvm_vma_piece(m->mm, addr, &piece)) {
			err = -ENOENT;
		} else {
			next = min(piece.end, end);
			err = source->ops->protect(source, addr, next, on);
		}
		if (err && (on || err == -EAGAIN))
			return err;
	}
	return 0;
}

int gpusvm_isolate_protect(struct migration *m)
{
	int err = protect(m, true);

	return !err || err == -EAGAIN ? err : -EBUSY;
}

void gpusvm_isolate_unprotect(struct migration *m)
{
	unsigned int attempt = 0;

	while (protect(m, false) == -EAGAIN)
		gpusvm_handler_settle(m->mm, attempt++);
	gpusvm_watchdog_served(m->mm, m->start, gpusvm_migration_limit(m));
}

/*
 * Through the kernel, not by loads: memory that the program unmaps under us
 * must give an error and not a signal.
 */
static int copy_run(struct migration *m, unsigned long first, unsigned long n)
{
	struct iovec remote = {
		.iov_base = (void *)(m->start + (first << PAGE_SHIFT)),
		.iov_len = n << PAGE_SHIFT,
	};
	struct iovec local = {
		.iov_base = (void *)m->ram[first],
		.iov_len = n << PAGE_SHIFT,
	};
	ssize_t done;

	done = gpusvm_sys_process_vm_readv(gpusvm_sys_getpid(), &local, 1,
					   &remote, 1);
	return done == (ssize_t)local.iov_len ? 0 : -EBUSY;
}

static int copy_data(struct migration *m)
{
	unsigned long i, n;
	int err = 0;

	for (i = 0; i < m->npages && !err; i += n) {
		for (n = 0; i + n < m->npages && m->ram[i + n]; n++)
			;
		if (n)
			err = copy_run(m, i, n);
		else
			n = 1;
	}
	return err;
}

static void set_copying(struct migration *m, bool on)
{
	pthread_mutex_lock(&m->mm->pt_lock);
	m->copying = on;
	if (on)
		m->disturbed = false;
	pthread_mutex_unlock(&m->mm->pt_lock);
}

int gpusvm_isolate_copy(struct migration *m)
{
	unsigned char state[SCAN_BATCH];
	unsigned long i, first, n, same;
	int err;

	err = gpusvm_staging_get_filled(m->mm, &m->run, m->npages);
	if (err)
		return err;
	for (first = 0; first < m->npages; first += n) {
		n = min(m->npages - first, SCAN_BATCH);
		err = gpusvm_scan_pages(m->mm, m->start + (first << PAGE_SHIFT),
					n, state);
		if (err)
			break;
		for (i = 0; i < n; i += same) {
			same = same_state(state + i, n - i);
			note_data(m, first + i, same, state[i]);
		}
	}
	if (!err) {
		set_copying(m, true);
		err = copy_data(m);
		set_copying(m, false);
	}
	if (m->disturbed)
		err = -EBUSY;
	if (err)
		gpusvm_staging_put(m->mm, m->run);
	return err ? -EBUSY : 0;
}
