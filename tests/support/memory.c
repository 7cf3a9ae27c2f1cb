/* SPDX-License-Identifier: MIT */
/*
 * Memory to test with: areas between guards, patterns, and what the CPU's page
 * table says about a page.
 */
#include "harness.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD SZ_64K

/* Bits of /proc/self/pagemap */
#define PM_EXCLUSIVE (1ull << 56)
#define PM_PRESENT (1ull << 63)

/* ---- Areas ---- */

static struct test_area *areas;

static void set_hole(struct test_area *area, const void *addr, size_t size,
		     bool hole)
{
	size_t first = (size_t)((const unsigned char *)addr - area->reserved);

	memset(area->hole + first / PS, hole, (size + PS - 1) / PS);
}

static struct test_area *find_area(const void *addr)
{
	const unsigned char *p = addr;
	struct test_area *area;

	for (area = areas; area; area = area->next)
		if (p >= area->base && p < area->base + area->size)
			return area;
	return NULL;
}

void test_area_note(const void *addr, size_t size, bool hole)
{
	struct test_area *area = find_area(addr);

	if (area)
		set_hole(area, addr, size, hole);
}

/*
 * Far below everything else, where the kernel puts nothing that it is not told
 * to: a hole there is filled by nobody, not even by a sanitizer.  Where that is
 * taken (by the shadow of the address sanitizer, say) it is a hint only.
 */
static void *low_hint(size_t size)
{
	static unsigned long next = 64ul << 30;
	const unsigned long gap = 1ul << 30;

	return (void *)(__atomic_fetch_add(&next, size + gap,
					   __ATOMIC_RELAXED) &
			~(gap - 1));
}

struct test_area *test_area_reserve(size_t size, size_t align)
{
	struct test_area *area = gpusvm_alloc(sizeof(*area));
	unsigned long start;

	assert_non_null(area);
	area->size = size;
	area->reserved_size = size + align + 2 * GUARD;
	area->hole = gpusvm_alloc(area->reserved_size / PS);
	assert_non_null(area->hole);
	area->reserved = mmap(low_hint(area->reserved_size),
			      area->reserved_size, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
	assert_ptr_not_equal(area->reserved, MAP_FAILED);
	start = (unsigned long)area->reserved + GUARD + align - 1;
	area->base = (unsigned char *)(start & ~(align - 1));
	area->next = areas;
	areas = area;
	test_cleanup(test_area_release, area);
	return area;
}

unsigned char *test_area_map(struct test_area *area, size_t offset, size_t size,
			     int prot, int flags, int fd)
{
	void *want = area->base + offset;
	void *mem;

	assert_true(offset + size <= area->size);
	mem = test_change(mmap, want, size, prot, flags | MAP_FIXED, fd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	assert_ptr_equal(mem, want);
	set_hole(area, mem, size, false);
	/* Not supported by every kind of mapping, nor needed by those. */
	madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

unsigned char *test_area_anon(struct test_area *area, size_t offset,
			      size_t size)
{
	unsigned char *mem = test_area_map(area, offset, size,
					   PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1);

	assert_non_null(mem);
	return mem;
}

/* Leave alone what the kernel may have put into the holes. */
static void unmap_area(struct test_area *area)
{
	size_t pages = area->reserved_size / PS;
	size_t first, end;

	for (first = 0; first < pages; first = end) {
		for (end = first + 1;
		     end < pages && area->hole[end] == area->hole[first]; end++)
			;
		if (!area->hole[first])
			test_change(munmap, area->reserved + first * PS,
				    (end - first) * PS);
	}
}

void test_area_release(void *arg)
{
	struct test_area *area = arg;
	struct test_area **link;

	test_forget_cleanup(test_area_release, area);
	for (link = &areas; *link && *link != area; link = &(*link)->next)
		;
	if (*link)
		*link = area->next;
	unmap_area(area);
	gpusvm_mm_sync(test_mm);
	gpusvm_free(area->hole);
	gpusvm_free(area);
}

unsigned char *test_map(size_t size, size_t align)
{
	return test_area_anon(test_area_reserve(size, align), 0, size);
}

bool test_tune_malloc(size_t mmap_threshold, size_t trim_threshold)
{
#ifdef __GLIBC__
	return mallopt(M_MMAP_THRESHOLD, (int)mmap_threshold) &&
	       mallopt(M_TRIM_THRESHOLD, (int)trim_threshold);
#else
	(void)mmap_threshold;
	(void)trim_threshold;
	return false;
#endif
}

void test_trim_malloc(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

size_t test_huge_bytes(const void *addr)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start, end, kib;
	bool inside = false;
	size_t bytes = 0;
	char line[512];

	if (!smaps)
		return 0;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)addr >= start &&
				 (unsigned long)addr < end;
		else if (inside &&
			 sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			bytes = kib << 10;
	}
	fclose(smaps);
	return bytes;
}

unsigned char *test_map_huge(size_t size)
{
	unsigned char *mem = test_map(size, SZ_2M);

	if (madvise(mem, size, MADV_HUGEPAGE))
		return NULL;
	test_touch_write(mem, size);
	return test_huge_bytes(mem) >= size ? mem : NULL;
}

void test_munmap(void *addr, size_t size)
{
	struct test_area *area = find_area(addr);

	if (area)
		set_hole(area, addr, size, true);
	assert_int_equal(test_change(munmap, addr, size), 0);
}

void test_munmap_sync(void *addr, size_t size)
{
	test_munmap(addr, size);
	gpusvm_mm_sync(test_mm);
}

bool test_try_mremap(void *addr, size_t size, void *to)
{
	struct test_area *from_area = find_area(addr);
	struct test_area *to_area = find_area(to);

	if (test_change(mremap, addr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			to) != to)
		return false;
	if (from_area)
		set_hole(from_area, addr, size, true);
	if (to_area)
		set_hole(to_area, to, size, false);
	return true;
}

void test_mremap(void *addr, size_t size, void *to)
{
	assert_true(test_try_mremap(addr, size, to));
}

void test_mremap_sync(void *addr, size_t size, void *to)
{
	test_mremap(addr, size, to);
	gpusvm_mm_sync(test_mm);
}

void test_madvise_sync(void *addr, size_t size, int advice)
{
	assert_int_equal(test_change(madvise, addr, size, advice), 0);
	gpusvm_mm_sync(test_mm);
}

/* ---- Contents ---- */

unsigned char test_pattern(size_t offset, unsigned int tag)
{
	uint64_t x = (offset >> 3) + 1 + ((uint64_t)tag << 40);

	x *= 0x9e3779b97f4a7c15ull;
	/* Low bytes do not depend on the tag yet. */
	x ^= x >> 33;
	/* Never 0, so that it differs from memory that was never written. */
	return (unsigned char)((x >> (8 * (offset & 7))) | 1);
}

void test_fill(void *addr, size_t size, unsigned int tag)
{
	unsigned char *p = addr;
	size_t i;

	for (i = 0; i < size; i++)
		p[i] = test_pattern(i, tag);
}

size_t test_match(const void *addr, size_t size, unsigned int tag)
{
	const unsigned char *p = addr;
	size_t i;

	for (i = 0; i < size && p[i] == test_pattern(i, tag); i++)
		;
	return i;
}

size_t test_match_byte(const void *addr, size_t size, unsigned char value)
{
	const unsigned char *p = addr;
	size_t i;

	for (i = 0; i < size && p[i] == value; i++)
		;
	return i;
}

void test_touch_read(const void *addr, size_t size)
{
	const volatile unsigned char *p = addr;
	size_t i;

	for (i = 0; i < size; i += PS)
		(void)p[i];
}

void test_touch_write(void *addr, size_t size)
{
	volatile unsigned char *p = addr;
	size_t i;

	for (i = 0; i < size; i += PS)
		p[i] = 1;
}

/* ---- Presence ---- */

size_t test_resident(const void *addr, size_t size)
{
	unsigned char present[512];
	size_t done, count = 0;

	for (done = 0; done < size; done += sizeof(present) * PS) {
		size_t part = size - done;
		size_t i;

		if (part > sizeof(present) * PS)
			part = sizeof(present) * PS;
		/* mincore()'s first parameter lacks a const. */
		if (mincore((void *)((uintptr_t)addr + done), part, present))
			return (size_t)-1;
		for (i = 0; i < part / PS; i++)
			count += present[i] & 1;
	}
	return count;
}

static uint64_t pagemap_entry(const void *addr)
{
	off_t offset = (off_t)((uintptr_t)addr / PS * sizeof(uint64_t));
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (pread(fd, &entry, sizeof(entry), offset) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

bool test_page_present(const void *addr)
{
	return pagemap_entry(addr) & PM_PRESENT;
}

bool test_page_exclusive(const void *addr)
{
	uint64_t entry = pagemap_entry(addr);

	return (entry & PM_PRESENT) && (entry & PM_EXCLUSIVE);
}
