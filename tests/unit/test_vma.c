/* SPDX-License-Identifier: MIT */
/*
 * The program's mappings: the ioctl and the parser of /proc/self/maps agree on
 * all of them, excluded memory is not there, and pieces that only registration
 * split are one.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compiler.h"
#include "fake_sys.h"
#include "mm.h"
#include "page_size.h"
#include "vma.h"

static struct mm_struct mm;
static bool have_query;

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	memset(&mm, 0, sizeof(mm));
	if (gpusvm_vma_open(&mm))
		return -1;
	have_query = mm.features & GPUSVM_FEATURE_PROCMAP_QUERY;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_vma_close(&mm);
	fake_sys_reset();
	return 0;
}

static void use_query(bool on)
{
	mm.features = on ? GPUSVM_FEATURE_PROCMAP_QUERY : 0;
}

static unsigned char *map(unsigned long npages, int prot)
{
	void *addr = mmap(NULL, npages << PAGE_SHIFT, prot,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(addr, MAP_FAILED);
	return addr;
}

/* ---- Both ways ---- */

static void assert_same(const struct vma *a, const struct vma *b)
{
	assert_int_equal(a->start, b->start);
	assert_int_equal(a->end, b->end);
	assert_int_equal(a->read, b->read);
	assert_int_equal(a->write, b->write);
	assert_int_equal(a->exec, b->exec);
	assert_int_equal(a->anon, b->anon);
	assert_int_equal(a->shared, b->shared);
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->inode, b->inode);
	assert_int_equal(a->dev, b->dev);
}

static int piece(bool query, unsigned long addr, struct vma *vma)
{
	use_query(query);
	return gpusvm_vma_piece(&mm, addr, vma);
}

static void check_both(unsigned long addr)
{
	struct vma a, b;
	int err = piece(true, addr, &a);

	assert_int_equal(piece(false, addr, &b), err);
	if (!err)
		assert_same(&a, &b);
}

static void piece_of_every_mapping_is_the_same_both_ways(void **state)
{
	unsigned long start, end, edges[2000];
	unsigned int i, n = 0;
	char line[8192];
	FILE *maps;

	(void)state;
	if (!have_query)
		skip();
	/* First the list: what reads it may map memory itself. */
	maps = fopen("/proc/self/maps", "r");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) && n + 2 < ARRAY_SIZE(edges)) {
		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		edges[n++] = start;
		edges[n++] = end;
	}
	fclose(maps);
	assert_true(n > 20);
	for (i = 0; i < n; i++) {
		/* The kernel's own page is in the file only. */
		if (edges[i] >> 63)
			continue;
		check_both(edges[i]);
		check_both(edges[i] - 1);
		check_both(edges[i] + PAGE_SIZE);
	}
}

static void next_is_the_piece_there_or_the_first_above(void **state)
{
	unsigned char *mem = map(8, PROT_READ);
	unsigned long addr = (unsigned long)mem;
	struct vma vma;
	unsigned int i;

	(void)state;
	munmap(mem + 2 * PAGE_SIZE, 3 * PAGE_SIZE);
	mprotect(mem + 6 * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	for (i = 0; i < 2; i++) {
		if (i && !have_query)
			break;
		use_query(i);
		assert_int_equal(gpusvm_vma_next(&mm, addr + 1, &vma), 0);
		assert_true(vma.start <= addr);
		assert_int_equal(vma.end, addr + 2 * PAGE_SIZE);
		assert_int_equal(gpusvm_vma_next(&mm, vma.end, &vma), 0);
		assert_int_equal(vma.start, addr + 5 * PAGE_SIZE);
		assert_int_equal(vma.end, addr + 6 * PAGE_SIZE);
		assert_true(vma.read && vma.anon);
		assert_int_equal(gpusvm_vma_next(&mm, vma.end, &vma), 0);
		assert_int_equal(vma.start, addr + 6 * PAGE_SIZE);
		assert_false(vma.read);
		/* Nothing is above; the others look nowhere else. */
		assert_int_equal(gpusvm_vma_next(&mm, ~0ul - PAGE_SIZE, &vma),
				 -ENOENT);
		assert_int_equal(gpusvm_vma_piece(&mm, addr + 2 * PAGE_SIZE,
						  &vma),
				 -ENOENT);
	}
	munmap(mem, 8 * PAGE_SIZE);
}

static void piece_of_file_tells_inode_and_offset(void **state)
{
	int fd = memfd_create("unit-vma", MFD_CLOEXEC), query;
	unsigned long addr;
	struct stat st;
	struct vma vma;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(8 * PAGE_SIZE)), 0);
	assert_int_equal(fstat(fd, &st), 0);
	addr = (unsigned long)mmap(NULL, 2 * PAGE_SIZE, PROT_READ, MAP_SHARED,
				   fd, (off_t)(3 * PAGE_SIZE));
	assert_int_not_equal(addr, MAP_FAILED);
	for (query = 0; query <= have_query; query++) {
		assert_int_equal(piece(query, addr + PAGE_SIZE, &vma), 0);
		assert_int_equal(vma.start, addr);
		assert_int_equal(vma.end, addr + 2 * PAGE_SIZE);
		assert_int_equal(vma.inode, st.st_ino);
		assert_int_equal(vma.offset, 3 * PAGE_SIZE);
		assert_true(vma.shared && vma.read);
		assert_false(vma.write || vma.exec || vma.anon);
	}
	munmap((void *)addr, 2 * PAGE_SIZE);
	close(fd);
}

static void piece_tells_protection_and_kind(void **state)
{
	unsigned char *none = map(1, PROT_NONE);
	unsigned char *shared = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vma vma;
	int query;

	(void)state;
	for (query = 0; query <= have_query; query++) {
		assert_int_equal(piece(query, (unsigned long)none, &vma), 0);
		assert_false(vma.read || vma.write || vma.exec || vma.shared);
		assert_true(vma.anon);
		assert_int_equal(piece(query, (unsigned long)shared, &vma), 0);
		assert_true(vma.read && vma.write && vma.shared);
		assert_false(vma.anon);
		/* This very code. */
		assert_int_equal(
			piece(query, (unsigned long)&gpusvm_vma_find, &vma), 0);
		assert_true(vma.exec);
		assert_false(vma.write || vma.anon || vma.shared);
	}
	munmap(none, PAGE_SIZE);
	munmap(shared, PAGE_SIZE);
}

static void piece_of_hole_returns_enoent(void **state)
{
	unsigned char *mem = map(3, PROT_READ | PROT_WRITE);
	struct vma vma;
	int query;

	(void)state;
	munmap(mem + PAGE_SIZE, PAGE_SIZE);
	for (query = 0; query <= have_query; query++) {
		assert_int_equal(piece(query, (unsigned long)mem + PAGE_SIZE,
				       &vma),
				 -ENOENT);
		assert_int_equal(piece(query, 0, &vma), -ENOENT);
		assert_int_equal(piece(query, (1ul << 47) - 1, &vma), -ENOENT);
		assert_int_equal(piece(query, ~0ul, &vma), -ENOENT);
	}
	munmap(mem, PAGE_SIZE);
	munmap(mem + 2 * PAGE_SIZE, PAGE_SIZE);
}

/* ---- The parser ---- */

static int parse(const char *text, unsigned long addr, struct vma *vma)
{
	struct mm_struct other = { 0 };
	int err;

	fake_sys_reset();
	fake_sys_file("/proc/self/maps", text);
	fake_sys_fail(FAKE_SYS_PROCMAP_QUERY, -ENOTTY, 1);
	assert_int_equal(gpusvm_vma_open(&other), 0);
	assert_int_equal(other.features, 0);
	err = gpusvm_vma_piece(&other, addr, vma);
	gpusvm_vma_close(&other);
	fake_sys_reset();
	return err;
}

static void maps_line_is_parsed(void **state)
{
	static const char text[] =
		"00010000-00020000 r--p 00000000 00:00 0 \n"
		"deadbeef000-deadbef0000 -wxs 0abcd000 fd:1a 4294967999"
		"                 /a b\\012c (deleted)\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0"
		"                  [vsyscall]\n";
	struct vma vma;

	(void)state;
	assert_int_equal(parse(text, 0xdeadbeef000, &vma), 0);
	assert_int_equal(vma.start, 0xdeadbeef000);
	assert_int_equal(vma.end, 0xdeadbef0000);
	assert_false(vma.read);
	assert_true(vma.write && vma.exec && vma.shared);
	assert_int_equal(vma.offset, 0xabcd000);
	assert_int_equal(vma.dev, 0xfdull << 32 | 0x1a);
	assert_int_equal(vma.inode, 4294967999);
	assert_int_equal(parse(text, 0x1ffff, &vma), 0);
	assert_true(vma.read && vma.anon);
	assert_int_equal(parse(text, 0x20000, &vma), -ENOENT);
	assert_int_equal(parse(text, 0xffff, &vma), -ENOENT);
	assert_int_equal(parse(text, ~0ul, &vma), -ENOENT);
	assert_int_equal(parse("", 0x10000, &vma), -ENOENT);
}

/* So many lines, and so long, that several reads are needed. */
static void maps_of_many_lines_are_found(void **state)
{
	char *text = malloc(2000 * 200), *end = text;
	struct vma vma;
	unsigned long i;

	(void)state;
	assert_non_null(text);
	for (i = 1; i <= 2000; i++)
		end += sprintf(end,
			       "%08lx-%08lx rw-p 00000000 00:00 %lu %*s/x\n",
			       i << 16, (i << 16) + 0x8000, i, (int)(i % 90),
			       "");
	for (i = 1; i <= 2000; i += 7) {
		assert_int_equal(parse(text, i << 16, &vma), 0);
		assert_int_equal(vma.inode, i);
		assert_int_equal(parse(text, (i << 16) + 0x8000, &vma),
				 -ENOENT);
	}
	free(text);
}

static void maps_that_cannot_be_read_return_enoent(void **state)
{
	struct vma vma;

	(void)state;
	use_query(false);
	fake_sys_fail(FAKE_SYS_PREAD, -EIO, 1);
	assert_int_equal(gpusvm_vma_piece(&mm, (unsigned long)&vma, &vma),
			 -ENOENT);
}

static void open_without_proc_returns_its_error(void **state)
{
	struct mm_struct other = { 0 };

	(void)state;
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_int_equal(gpusvm_vma_open(&other), -EACCES);
}

/* ---- Exclusion ---- */

static void find_stops_at_excluded_memory(void **state)
{
	unsigned char *mem = map(10, PROT_READ | PROT_WRITE);
	unsigned long addr = (unsigned long)mem;
	struct vma vma;

	(void)state;
	assert_int_equal(gpusvm_exclude(mem, PAGE_SIZE), 0);
	assert_int_equal(gpusvm_exclude(mem + 4 * PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(gpusvm_vma_find(&mm, addr, &vma), -ENOENT);
	assert_int_equal(gpusvm_vma_find(&mm, addr + 2 * PAGE_SIZE, &vma), 0);
	assert_int_equal(vma.start, addr + PAGE_SIZE);
	assert_int_equal(vma.end, addr + 4 * PAGE_SIZE);
	assert_true(gpusvm_vma_covers(&mm, &vma, vma.start, vma.end));
	assert_false(
		gpusvm_vma_covers(&mm, &vma, vma.start, vma.end + PAGE_SIZE));
	assert_false(gpusvm_vma_covers(&mm, &vma, addr, vma.end));
	/* The kernel's own view of it goes on. */
	assert_int_equal(gpusvm_vma_piece(&mm, addr, &vma), 0);
	assert_true(vma.end >= addr + 10 * PAGE_SIZE);
	gpusvm_include(mem, PAGE_SIZE);
	gpusvm_include(mem + 4 * PAGE_SIZE, PAGE_SIZE);
	munmap(mem, 10 * PAGE_SIZE);
}

static void find_of_private_memory_returns_enoent(void **state)
{
	void *block = gpusvm_alloc(100);
	struct vma vma;

	(void)state;
	assert_int_equal(gpusvm_vma_find(&mm, (unsigned long)block, &vma),
			 -ENOENT);
	gpusvm_free(block);
}

/* ---- Joining ---- */

/* Pages 2 to 5 of 8 are a mapping of their own for the kernel. */
static unsigned char *map_split(void)
{
	unsigned char *mem = map(8, PROT_READ | PROT_WRITE);

	madvise(mem + 2 * PAGE_SIZE, 4 * PAGE_SIZE, MADV_DONTFORK);
	return mem;
}

static void covers_joins_pieces_of_one_mapping(void **state)
{
	unsigned char *mem = map_split();
	unsigned long addr = (unsigned long)mem;
	struct vma vma;
	int query;

	(void)state;
	for (query = 0; query <= have_query; query++) {
		use_query(query);
		assert_int_equal(
			gpusvm_vma_find(&mm, addr + 3 * PAGE_SIZE, &vma), 0);
		assert_int_equal(vma.start, addr + 2 * PAGE_SIZE);
		assert_int_equal(vma.end, addr + 6 * PAGE_SIZE);
		assert_true(gpusvm_vma_covers(&mm, &vma, addr,
					      addr + 8 * PAGE_SIZE));
		assert_true(vma.start <= addr);
		assert_true(vma.end >= addr + 8 * PAGE_SIZE);
	}
	munmap(mem, 8 * PAGE_SIZE);
}

static void covers_stops_at_other_protection(void **state)
{
	unsigned char *mem = map_split();
	unsigned long addr = (unsigned long)mem;
	struct vma vma;

	(void)state;
	assert_int_equal(
		mprotect(mem + 2 * PAGE_SIZE, 4 * PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(gpusvm_vma_find(&mm, addr + 3 * PAGE_SIZE, &vma), 0);
	assert_false(gpusvm_vma_covers(&mm, &vma, addr + 2 * PAGE_SIZE,
				       addr + 7 * PAGE_SIZE));
	assert_false(gpusvm_vma_covers(&mm, &vma, addr + PAGE_SIZE,
				       addr + 6 * PAGE_SIZE));
	assert_true(gpusvm_vma_covers(&mm, &vma, addr + 2 * PAGE_SIZE,
				      addr + 6 * PAGE_SIZE));
	munmap(mem, 8 * PAGE_SIZE);
}

static void covers_stops_at_holes(void **state)
{
	unsigned char *mem = map(8, PROT_READ | PROT_WRITE);
	unsigned long addr = (unsigned long)mem;
	struct vma vma;

	(void)state;
	munmap(mem + 5 * PAGE_SIZE, PAGE_SIZE);
	assert_int_equal(gpusvm_vma_find(&mm, addr, &vma), 0);
	assert_true(gpusvm_vma_covers(&mm, &vma, addr, addr + 5 * PAGE_SIZE));
	assert_false(gpusvm_vma_covers(&mm, &vma, addr, addr + 6 * PAGE_SIZE));
	assert_int_equal(gpusvm_vma_find(&mm, addr + 6 * PAGE_SIZE, &vma), 0);
	assert_false(gpusvm_vma_covers(&mm, &vma, addr + 4 * PAGE_SIZE,
				       addr + 7 * PAGE_SIZE));
	munmap(mem, 5 * PAGE_SIZE);
	munmap(mem + 6 * PAGE_SIZE, 2 * PAGE_SIZE);
}

/* Two mappings of one file go on only if the file does. */
static void covers_of_file_needs_adjacent_offsets(void **state)
{
	unsigned char *mem = map(4, PROT_NONE);
	unsigned long addr = (unsigned long)mem;
	int fd = memfd_create("vma", MFD_CLOEXEC), i;
	off_t offset[] = { 0, 1, 5 };
	struct vma vma;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)(8 * PAGE_SIZE)), 0);
	for (i = 0; i < 3; i++)
		assert_ptr_not_equal(mmap(mem + (unsigned long)i * PAGE_SIZE,
					  PAGE_SIZE, PROT_READ,
					  MAP_SHARED | MAP_FIXED, fd,
					  offset[i] * (off_t)PAGE_SIZE),
				     MAP_FAILED);
	madvise(mem, PAGE_SIZE, MADV_DONTFORK);
	assert_int_equal(gpusvm_vma_find(&mm, addr + PAGE_SIZE, &vma), 0);
	assert_int_equal(vma.start, addr + PAGE_SIZE);
	assert_true(gpusvm_vma_covers(&mm, &vma, addr, addr + 2 * PAGE_SIZE));
	assert_int_equal(vma.offset, 0);
	assert_false(gpusvm_vma_covers(&mm, &vma, addr, addr + 3 * PAGE_SIZE));
	munmap(mem, 4 * PAGE_SIZE);
	close(fd);
}

#define vma_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		vma_test(piece_of_every_mapping_is_the_same_both_ways),
		vma_test(next_is_the_piece_there_or_the_first_above),
		vma_test(piece_of_file_tells_inode_and_offset),
		vma_test(piece_tells_protection_and_kind),
		vma_test(piece_of_hole_returns_enoent),
		vma_test(maps_line_is_parsed),
		vma_test(maps_of_many_lines_are_found),
		vma_test(maps_that_cannot_be_read_return_enoent),
		vma_test(open_without_proc_returns_its_error),
		vma_test(find_stops_at_excluded_memory),
		vma_test(find_of_private_memory_returns_enoent),
		vma_test(covers_joins_pieces_of_one_mapping),
		vma_test(covers_stops_at_other_protection),
		vma_test(covers_stops_at_holes),
		vma_test(covers_of_file_needs_adjacent_offsets),
	};

	return cmocka_run_group_tests_name("vma", tests, NULL, NULL);
}
