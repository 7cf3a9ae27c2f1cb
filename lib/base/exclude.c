/* SPDX-License-Identifier: MIT */
/*
 * Owns the array of excluded intervals, sorted by address.  Intervals may
 * overlap; each entry also knows how far it and those before it reach, so the
 * entry before an address and the one after it answer every question.
 *
 * The array lives in pages of the private window, not in a block: it stays for
 * the life of the process and must not look like a leak.
 */
#include "exclude.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"

#define FIRST_BYTES (64ul << 10)

struct exclusion {
	unsigned long start, end;
	/* The largest end up to and including this entry. */
	unsigned long reach;
	unsigned long count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct exclusion *excluded;
static size_t nexcluded;
static size_t excluded_bytes;
static bool own_data_done;

/*
 * As in alloc.c.  Registered after the allocator's, thus called before: the
 * array grows under this lock.
 */
static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor(102))) static void register_fork(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}

/* Round to pages; false for an interval that is empty or wraps. */
static bool to_pages(unsigned long addr, size_t size, unsigned long *start,
		     unsigned long *end)
{
	*start = PAGE_ALIGN_DOWN(addr);
	if (!size || __builtin_add_overflow(addr, size, end))
		return false;
	*end = PAGE_ALIGN_UP(*end);
	return *end != 0;
}

/* Number of entries that start at or below @addr. */
static size_t count_up_to(unsigned long addr)
{
	size_t low = 0, high = nexcluded;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (excluded[middle].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct exclusion *find(unsigned long start, unsigned long end)
{
	size_t i = count_up_to(start);

	while (i-- && excluded[i].start == start) {
		if (excluded[i].end == end)
			return &excluded[i];
	}
	return NULL;
}

static void update_reach(size_t i)
{
	unsigned long reach = i ? excluded[i - 1].reach : 0;

	for (; i < nexcluded; i++) {
		reach = max(reach, excluded[i].end);
		excluded[i].reach = reach;
	}
}

static int make_room(void)
{
	size_t bytes = excluded_bytes ? 2 * excluded_bytes : FIRST_BYTES;
	struct exclusion *array;

	if ((nexcluded + 1) * sizeof(*excluded) <= excluded_bytes)
		return 0;
	array = gpusvm_alloc_pages(bytes, PAGE_SIZE);
	if (!array)
		return -ENOMEM;
	if (nexcluded)
		memcpy(array, excluded, nexcluded * sizeof(*excluded));
	gpusvm_free_pages(excluded, excluded_bytes);
	excluded = array;
	excluded_bytes = bytes;
	return 0;
}

static int add(unsigned long start, unsigned long end)
{
	struct exclusion *e = find(start, end);
	size_t i;
	int err;

	if (e) {
		e->count++;
		return 0;
	}
	err = make_room();
	if (err)
		return err;
	i = count_up_to(start);
	e = &excluded[i];
	memmove(e + 1, e, (nexcluded - i) * sizeof(*e));
	*e = (struct exclusion){ .start = start, .end = end, .count = 1 };
	nexcluded++;
	update_reach(i);
	return 0;
}

static void remove_entry(struct exclusion *e)
{
	size_t i = (size_t)(e - excluded);

	nexcluded--;
	memmove(e, e + 1, (nexcluded - i) * sizeof(*e));
	update_reach(i);
}

int gpusvm_exclude(const void *addr, size_t size)
{
	unsigned long start, end;
	int err;

	if (!to_pages((unsigned long)addr, size, &start, &end)) {
		log_error("gpusvm_exclude: %zu bytes at %p are empty or wrap",
			  size, addr);
		return -EINVAL;
	}
	pthread_mutex_lock(&lock);
	err = add(start, end);
	pthread_mutex_unlock(&lock);
	return err;
}

int gpusvm_include(const void *addr, size_t size)
{
	unsigned long start, end;
	struct exclusion *e;

	if (!to_pages((unsigned long)addr, size, &start, &end))
		return -ENOENT;
	pthread_mutex_lock(&lock);
	e = find(start, end);
	if (e && !--e->count)
		remove_entry(e);
	pthread_mutex_unlock(&lock);
	return e ? 0 : -ENOENT;
}

static bool segment_contains(const struct dl_phdr_info *info,
			     const ElfW(Phdr) * segment, unsigned long addr)
{
	unsigned long start = info->dlpi_addr + segment->p_vaddr;

	return segment->p_type == PT_LOAD && addr >= start &&
	       addr - start < segment->p_memsz;
}

/*
 * The end of our own data, and nothing else in its last page: musl lends malloc()
 * what is left of that page, and what is excluded is no memory for a device.
 * Linkers put what is common behind everything else.
 */
#define FILLER_SIZE (64u << 10)
extern char gpusvm_exclude_filler[FILLER_SIZE]
	__attribute__((visibility("hidden")));
char gpusvm_exclude_filler[FILLER_SIZE] __attribute__((common));

/* Where our own data ends in a segment that ends at @end. */
static unsigned long end_of_own_data(unsigned long end)
{
	unsigned long filler = (unsigned long)gpusvm_exclude_filler;

	if (filler > PAGE_ALIGN_DOWN(end) || filler + FILLER_SIZE > end ||
	    end - filler - FILLER_SIZE >= sizeof(long))
		return end;
	return PAGE_ALIGN_DOWN(end);
}

/* Called for each loaded object; non-zero ends the walk and is its result. */
static int add_own_segments(struct dl_phdr_info *info, size_t info_size,
			    void *priv)
{
	const ElfW(Phdr) *segments = info->dlpi_phdr;
	unsigned long start, end;
	bool own = false;
	ElfW(Half) i;
	int err;

	(void)info_size;
	(void)priv;
	for (i = 0; i < info->dlpi_phnum; i++)
		own |= segment_contains(info, &segments[i],
					(unsigned long)&lock);
	if (!own)
		return 0;
	for (i = 0; i < info->dlpi_phnum; i++) {
		if (segments[i].p_type != PT_LOAD ||
		    !(segments[i].p_flags & PF_W))
			continue;
		start = info->dlpi_addr + segments[i].p_vaddr;
		end = end_of_own_data(start + segments[i].p_memsz);
		if (end <= start || !to_pages(start, end - start, &start, &end))
			continue;
		err = add(start, end);
		if (err)
			return err;
	}
	return 1;
}

int gpusvm_exclude_own_data(void)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!own_data_done) {
		err = min(dl_iterate_phdr(add_own_segments, NULL), 0);
		own_data_done = !err;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

bool gpusvm_exclude_clip(unsigned long addr, unsigned long *start,
			 unsigned long *end)
{
	unsigned long window_start, window_end;
	unsigned long below, above;
	size_t i;

	gpusvm_alloc_window(&window_start, &window_end);
	if (addr >= window_start && addr < window_end)
		return false;
	below = window_end <= addr ? window_end : 0;
	above = window_end <= addr ? ~0ul : window_start;

	pthread_mutex_lock(&lock);
	i = count_up_to(addr);
	if (i > 0)
		below = max(below, excluded[i - 1].reach);
	if (i < nexcluded)
		above = min(above, excluded[i].start);
	pthread_mutex_unlock(&lock);
	if (below > addr)
		return false;
	*start = max(*start, below);
	*end = min(*end, above);
	return true;
}
