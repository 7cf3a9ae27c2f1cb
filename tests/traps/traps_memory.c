/* SPDX-License-Identifier: MIT */
/*
 * Traps of memory and mappings (docs/traps.md): how many calls a migration
 * takes, what staging does, which memory moves, and what is left behind.
 */
#include "fake_driver.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm.h"
#include "sys.h"
#include "vma.h"

static bool uses_userfaultfd(void)
{
	return gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_USERFAULTFD;
}

/* ---- 1: each call that takes pages away costs an interrupt per CPU ---- */

static unsigned int flushes;

#define COUNTED(name, params, args, condition)                             \
	int __real_gpusvm_sys_##name params;                               \
	int __wrap_gpusvm_sys_##name params;                               \
	int __wrap_gpusvm_sys_##name params                                \
	{                                                                  \
		if (condition)                                             \
			__atomic_fetch_add(&flushes, 1, __ATOMIC_RELAXED); \
		return __real_gpusvm_sys_##name args;                      \
	}

COUNTED(uffd_move, (int uffd, struct uffdio_move *move), (uffd, move), true)
COUNTED(uffd_writeprotect, (int uffd, struct uffdio_writeprotect *wp),
	(uffd, wp), true)
COUNTED(uffd_rwprotect, (int uffd, struct uffdio_rwprotect *rwp), (uffd, rwp),
	true)
COUNTED(madvise, (unsigned long addr, size_t len, int advice),
	(addr, len, advice), advice == MADV_DONTNEED)
COUNTED(mprotect, (unsigned long addr, size_t len, int prot), (addr, len, prot),
	true)

/* Both ways, with every page there and with every second one. */
static void trap_01_pages_move_in_large_pieces(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct drm_gpusvm_range *range;
	unsigned char *mem;
	unsigned int step;
	size_t at;

	(void)state;
	for (step = 1; step <= 2; step++) {
		mem = test_map(SZ_2M, SZ_2M);
		range = fake_range_at(d, mem, SZ_2M);
		for (at = 0; at < SZ_2M; at += step * PS)
			mem[at] = 1;
		flushes = 0;
		assert_ret(fake_migrate(d, range, NULL), 0);
		assert_in_range(flushes, 1, 8);
		flushes = 0;
		assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
		assert_in_range(flushes, 0, 8);
		for (at = 0; at < SZ_2M; at += step * PS)
			assert_int_equal(mem[at], 1);
	}
}

/* ---- 10: staging is registered, so its empty pages are waited for ---- */

/*
 * Not seen by the thread sanitizer: the library wrote there when the page was
 * another one.
 */
__attribute__((no_sanitize_thread)) static char touch(const char *addr)
{
	return *(volatile const char *)addr;
}

/* As any other absent page, it is served with zeros. */
static void trap_10_touching_empty_staging_is_no_hang(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	const struct staging_piece *piece;
	unsigned int empty = 0;
	size_t at;

	(void)state;
	if (!uses_userfaultfd())
		test_skip("this source registers no staging");
	if (gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_IN_THREAD)
		test_skip("to touch it is a SIGBUS, which nobody waits for");
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	assert_filled(mem, SZ_64K, 1);
	for (piece = test_mm->staging.pieces; piece; piece = piece->next) {
		const char *base = piece->addr;

		for (at = 0; at < piece->size; at += PS) {
			if (test_page_present(base + at))
				continue;
			assert_int_equal(touch(base + at), 0);
			empty++;
		}
	}
	assert_true(empty > 0);
}

/* ---- 13: mappings are limited, and each border of a registration is one ---- */

static unsigned int count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int count = 0;
	int c;

	assert_non_null(maps);
	while ((c = getc(maps)) != EOF)
		count += c == '\n';
	fclose(maps);
	return count;
}

#define RANGES 128

/* Neighbours become one again, whether they are on the device or were. */
/*
 * Whether the kernel makes one mapping of what was guarded and taken as two.
 * Linux 6.12 does not: their pages have been of two origins.
 */
static bool taken_neighbours_join(void)
{
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	unsigned char *to = test_map(2 * SZ_64K, SZ_64K);
	struct vma vma;
	size_t at;

	for (at = 0; at < 2 * SZ_64K; at += SZ_64K) {
		test_touch_write(mem + at, SZ_64K);
		assert_int_equal(mprotect(mem + at, SZ_64K, PROT_NONE), 0);
		assert_ptr_equal(mremap(mem + at, SZ_64K, SZ_64K,
					MREMAP_MAYMOVE | MREMAP_FIXED |
						MREMAP_DONTUNMAP,
					to + at),
				 to + at);
	}
	assert_int_equal(gpusvm_vma_piece(test_mm, (unsigned long)mem, &vma),
			 0);
	return vma.end - (unsigned long)mem == 2 * SZ_64K;
}

static void trap_13_neighbours_share_a_mapping(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(RANGES * SZ_32K, SZ_2M);
	unsigned int i, before, most = 0;

	(void)state;
	if (test_announces() && !taken_neighbours_join())
		test_skip("this kernel does not join neighbours whose pages "
			  "were taken away");
	test_fill(mem, RANGES * SZ_32K, 1);
	before = count_mappings();
	for (i = 0; i < RANGES / 2; i++) {
		fake_migrate_span(d, mem + i * SZ_64K, SZ_64K);
		if (count_mappings() > most)
			most = count_mappings();
	}
	/* A border at each end, the same in staging; and buffers of stdio. */
	assert_true(most < before + 16);
	assert_filled(mem, RANGES * SZ_32K, 1);
	assert_true(count_mappings() < before + 16);
}

#define MOST_MAPPINGS (1u << 17)

static unsigned long max_mappings(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long max = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &max) != 1)
		max = 0;
	fclose(file);
	return max;
}

/* Every second page gets another protection, until the kernel has enough. */
static void use_up_mappings(unsigned char *mem, size_t size)
{
	size_t at;

	for (at = 0; at < size; at += 2 * PS)
		if (mprotect(mem + at, PS, PROT_READ))
			return;
	fail_msg("there are mappings left");
}

/*
 * Without any left nothing migrates that would take one, and nothing happens to
 * memory.
 */
static void trap_13_no_mappings_left(void **state)
{
	unsigned long max = max_mappings();
	struct fake_driver *d = fake_driver_create(NULL);
	/* Of the window that is trapped when it has many trapped parts. */
	size_t window = 512 * PS, size;
	struct test_area *area = test_area_reserve(3 * window, window);
	unsigned char *mem = test_area_anon(area, 0, 3 * window);
	struct drm_gpusvm_range *range;
	unsigned char *many;

	(void)state;
	if (test_others_map())
		test_skip("the thread sanitizer cannot do without mappings");
	if (!max || max > MOST_MAPPINGS)
		test_skip("vm.max_map_count is not known, or too high");
	size = (max + 2) * 2 * PS;
	many = mmap(NULL, size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(many, MAP_FAILED);
	test_fill(mem, 3 * window, 1);
	/* Not at the edge of the mapping, nor is the window around it. */
	range = fake_range_at(d, mem + window + SZ_1M, SZ_64K);
	use_up_mappings(many, size);
	assert_ret(fake_migrate(d, range, NULL), -ENOMEM);
	assert_int_equal(munmap(many, size), 0);
	assert_filled(mem, 3 * window, 1);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_filled(mem, 3 * window, 1);
}

#define SCATTERED 64

/* Many small pieces beside each other become one mapping. */
static void trap_13_scattered_pages_share_a_mapping(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	unsigned int i, before;

	(void)state;
	if (!uses_userfaultfd())
		test_skip("this source guards each by itself");
	test_fill(mem, SZ_2M, 1);
	before = count_mappings();
	for (i = 0; i < SCATTERED; i++)
		fake_migrate_span(d, mem + 2 * i * PS, PS);
	assert_true(count_mappings() < before + 16);
	assert_filled(mem, SZ_2M, 1);
}

/* ---- 14: to end a registration of write-protected pages takes long ---- */

/* Bit of /proc/self/pagemap (Linux 5.14) */
#define PM_UFFD_WP (1ull << 57)

static unsigned int count_protected(const unsigned char *mem, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned int count = 0;
	uint64_t entry;
	size_t at;

	assert_true(fd >= 0);
	for (at = 0; at < size; at += PS) {
		off_t offset = (off_t)(((uintptr_t)mem + at) / PS * 8);

		assert_int_equal(pread(fd, &entry, 8, offset), 8);
		count += entry & PM_UFFD_WP ? 1 : 0;
	}
	close(fd);
	return count;
}

/* So none is left protected: neither by success nor by failure. */
static void trap_14_nothing_stays_write_protected(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_2M);

	(void)state;
	test_fill(mem, SZ_2M, 1);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_filled(mem, SZ_2M, 1);
	assert_int_equal(count_protected(mem, SZ_2M), 0);
	fake_fault_arm(&d->fail_copy_to_devmem, -EIO, 1, 1);
	assert_ret(fake_migrate(d, range, NULL), -EIO);
	assert_filled(mem, SZ_2M, 1);
	assert_int_equal(count_protected(mem, SZ_2M), 0);
}

/* ---- 16: what is copied home is no huge page any more ---- */

static unsigned long page_table_kilobytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long kilobytes = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmPTE: %lu kB", &kilobytes) == 1)
			break;
	fclose(file);
	return kilobytes;
}

/* Whether the table of pages that are dropped goes with them (Linux 6.14). */
static bool page_tables_are_dropped(void)
{
	size_t span = PS / sizeof(void *) * PS, n = 16, i;
	unsigned char *mem = test_map(n * span, span);
	unsigned long before;

	for (i = 0; i < n; i++)
		mem[i * span] = 1;
	before = page_table_kilobytes();
	assert_int_equal(madvise(mem, n * span, MADV_DONTNEED), 0);
	return page_table_kilobytes() + n / 2 * (PS >> 10) <= before;
}

static void trap_16_huge_page_stays_huge(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	unsigned char *mem;
	unsigned int i;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE))
		test_skip("only a move takes a huge page as a whole");
	if (!page_tables_are_dropped())
		test_skip("this kernel keeps empty page tables, and staging "
			  "has had small pages");
	mem = test_map(SZ_2M, SZ_2M);
	test_fill(mem, SZ_2M, 1);
	alloc = fake_migrate_span(d, mem, SZ_2M);
	assert_filled(mem, SZ_2M, 1);
	test_wait_until(alloc->released == 1);

	mem = test_map_huge(SZ_2M);
	if (!mem)
		test_skip("no transparent huge page to be had");
	range = fake_range_at(d, mem, SZ_2M);
	for (i = 0; i < 3; i++) {
		test_fill(mem, SZ_2M, i);
		assert_ret(fake_migrate(d, range, NULL), 0);
		assert_int_equal(test_huge_bytes(mem), 0);
		assert_filled(mem, SZ_2M, i);
		assert_int_equal(test_huge_bytes(mem), SZ_2M);
	}
}

/* ---- 17: pages kept for re-use are memory that nobody else has ---- */

#define MUCH (80ul << 20)

static void trap_17_staging_is_bounded(void **state)
{
	const struct fake_driver_config config = { .devmem_bytes = MUCH };
	struct fake_driver *d = fake_driver_create(&config);
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	unsigned char *mem = test_map(MUCH, SZ_2M);
	const struct staging_piece *piece;
	size_t at, resident = 0;

	(void)state;
	for (at = 0; at < MUCH; at += SZ_2M) {
		test_touch_write(mem + at, SZ_2M);
		fake_migrate_span(d, mem + at, SZ_2M);
		assert_ret(gpusvm_mm_get_stats(test_mm, &stats), 0);
		assert_true(stats.staging_bytes <= test_mm->staging.limit);
	}
	assert_int_equal(stats.device_pages, MUCH / PS);
	/* And no page that is not counted. */
	for (piece = test_mm->staging.pieces; piece; piece = piece->next)
		for (at = 0; at < piece->size; at += PS)
			resident += test_page_present((char *)piece->addr + at);
	assert_true(resident * PS <= test_mm->staging.limit);
	assert_true(test_mm->staging.limit < MUCH);
	for (at = 0; at < MUCH; at += PS)
		assert_int_equal(mem[at], 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(trap_01_pages_move_in_large_pieces),
	conf_test(trap_10_touching_empty_staging_is_no_hang),
	conf_test(trap_13_neighbours_share_a_mapping),
	conf_test(trap_13_no_mappings_left),
	conf_test(trap_13_scattered_pages_share_a_mapping),
	conf_test(trap_14_nothing_stays_write_protected),
	conf_test(trap_16_huge_page_stays_huge),
	conf_test(trap_17_staging_is_bounded),
};

CONF_MAIN(tests)
