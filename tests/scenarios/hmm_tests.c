/* SPDX-License-Identifier: MIT */
/*
 * The scenarios of the kernel's tools/testing/selftests/mm/hmm-tests.c that
 * make sense here, under their names.  Buffers are of 256 pages, or of a huge
 * page; where the original has a fault count, ranges are counted.
 */
#include "calls.h"
#include "model.h"

#include <fcntl.h>
#include <gpusvm/hooks.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* 256 pages of 4 KiB, and in any case less than the largest range. */
#define SIZE SZ_1M
#define NPAGES (SIZE / PS)
#define NTIMES 5

static const struct drm_gpusvm_ctx read_only = { .read_only = 1 };

static unsigned char *new_buffer(void)
{
	return test_map(SIZE, SIZE);
}

static struct test_model *new_model(struct fake_driver *d, unsigned int flags)
{
	return test_model_create(d, new_buffer(), SIZE, flags);
}

/* ---- 2 to 5: anonymous memory, read and written by the device ---- */

static void anon_read(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, 0);

	(void)state;
	/* A page untouched, one of zeros, the others written. */
	test_touch_read(m->mem + PS, PS);
	test_model_cpu_write(m, 2, m->cells - 2);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ), 0);
	test_model_dev_check(m, 0, m->cells);
	assert_true(d->range_allocs <= SIZE / SZ_64K);
}

static void anon_read_prot(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, 0);
	struct drm_gpusvm_range *range;

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_NONE), 0);
	/* What is around it is inaccessible, too, and must not be in it. */
	range = fake_fault_ctx(d, m->mem, (unsigned long)m->mem,
			       (unsigned long)m->mem + SIZE, &read_only);
	if (!IS_ERR(range))
		assert_ret(fake_get_pages_ctx(d, range, &read_only), -EFAULT);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ), 0);
	test_model_cpu_check(m, 0, m->cells);
	test_model_dev_check(m, 0, m->cells);
}

static void anon_write(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, 0);

	(void)state;
	test_model_dev_write(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

static void anon_write_prot(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, 0);

	(void)state;
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ), 0);
	test_model_dev_check(m, 0, 1);
	assert_ret(test_dev_poke(d, m->mem), -EPERM);
	test_model_cpu_check(m, 0, m->cells);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ | PROT_WRITE),
			 0);
	test_model_dev_write(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

/* ---- 6 and 7: children ---- */

/* A child has no device here until it opens one: it writes by the CPU. */
static void write_in_child(struct test_model *m, bool shared)
{
	int status = -1;
	pid_t pid;

	test_model_dev_write(m, 0, m->cells);
	pid = fork();
	if (pid == 0) {
		if (test_model_find_wrong(m, 0, m->cells) != m->cells)
			_exit(1);
		memset(m->mem, 0, SIZE / 2);
		_exit(m->mem[0] != 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (shared)
		test_model_zeroed(m, 0, m->cells / 2);
	test_model_dev_check(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

static void anon_write_child(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *huge;

	(void)state;
	write_in_child(new_model(d, 0), false);
	write_in_child(new_model(d, FAKE_ACCESS_MIGRATE), false);
	huge = test_map_huge(SZ_2M);
	if (!huge)
		return;
	memset(huge, 0, SIZE);
	write_in_child(test_model_create(d, huge, SIZE, FAKE_ACCESS_MIGRATE),
		       false);
}

static struct test_model *new_shared(struct fake_driver *d, int fd)
{
	struct test_area *area = test_area_reserve(SIZE, SIZE);
	unsigned char *mem = test_area_map(
		area, 0, SIZE, PROT_READ | PROT_WRITE,
		fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd);

	assert_non_null(mem);
	return test_model_create(d, mem, SIZE, FAKE_ACCESS_MIGRATE);
}

static void anon_write_child_shared(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);

	(void)state;
	write_in_child(new_shared(d, -1), true);
}

/* ---- 8 to 11: huge pages and files ---- */

/* Only PAGEMAP_SCAN (Linux 6.7) tells that it is one. */
static unsigned long entries_of_huge_page(void)
{
	return gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_PAGEMAP_SCAN
		       ? 1
		       : SZ_2M / PS;
}

static void anon_write_huge(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map_huge(SZ_2M);
	struct test_model *m;

	(void)state;
	if (!mem)
		test_skip("no huge pages");
	memset(mem, 0, SZ_2M);
	m = test_model_create(d, mem, SZ_2M, 0);
	test_model_dev_write(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
	assert_int_equal(fake_entries(fake_find(d, mem)),
			 entries_of_huge_page());
}

static int new_file(void)
{
	int fd = memfd_create("hmm_tests", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
	return fd;
}

static void file_read(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	int fd = new_file();
	struct test_model *m = new_shared(d, fd);

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	test_model_dev_check(m, 0, m->cells);
	close(fd);
}

static void file_write(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	int fd = new_file();
	struct test_model *m = new_shared(d, fd);
	unsigned char *copy = test_map(SIZE, SIZE), *mem = m->mem;

	(void)state;
	test_model_dev_write(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
	assert_int_equal(pread(fd, copy, SIZE, 0), SIZE);
	test_model_moved(m, copy);
	test_model_cpu_check(m, 0, m->cells);
	test_model_moved(m, mem);
	close(fd);
}

/* ---- 12 to 19: migration ---- */

/* All of it, in ranges of 64K; asserts that it went. */
static void migrate_all(struct test_model *m)
{
	unsigned long at;

	for (at = 0; at < m->cells * PS; at += SZ_64K) {
		struct drm_gpusvm_range *range =
			fake_range_at(m->d, m->mem + at, SZ_64K);

		drm_gpusvm_range_evict(&m->d->gpusvm, range);
		assert_ret(fake_migrate(m->d, range, NULL), 0);
		assert_ret(fake_get_pages(m->d, range), 0);
		assert_true(range->flags.has_devmem_pages);
	}
	/* What came home before is given back a moment after the CPU goes on. */
	test_wait_until(fake_devmem_used(m->d) == m->cells);
}

static void migrate(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	migrate_all(m);
	test_model_dev_check(m, 0, m->cells);
	assert_int_equal(fake_devmem_used(d), m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

static void migrate_fault(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	migrate_all(m);
	test_model_cpu_check(m, 0, m->cells / 2);
	migrate_all(m);
	test_model_dev_check(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

static void migrate_release(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);
	unsigned int i;

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	migrate_all(m);
	test_model_dev_write(m, 0, m->cells);
	for (i = 0; i < FAKE_MAX_ALLOCS; i++)
		if (d->allocs[i].state == FAKE_ALLOC_GIVEN)
			assert_ret(drm_gpusvm_evict_to_ram(&d->allocs[i].base),
				   0);
	test_wait_until(fake_devmem_used(d) == 0);
	test_model_cpu_check(m, 0, m->cells);
}

static void migrate_shared(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_shared(d, -1);
	struct drm_gpusvm_range *range = fake_fault_devmem(d, m->mem);

	(void)state;
	assert_ok_ptr(range);
	assert_ret(fake_migrate(d, range, NULL), -EINVAL);
	test_model_play(m);
	assert_int_equal(d->copies_to_devmem, 0);
}

/* The library has what the original asks of core mm only for anonymous memory. */
static void migrate_file_private(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SIZE, SIZE);
	int fd = new_file();
	unsigned char *mem = test_area_map(
		area, 0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	struct test_model *m;

	(void)state;
	assert_non_null(mem);
	m = test_model_create(d, mem, SIZE, FAKE_ACCESS_MIGRATE);
	test_model_cpu_write(m, 0, m->cells);
	test_model_play(m);
	assert_int_equal(d->copies_to_devmem, 0);
	close(fd);
}

static void migrate_mixed(void **state)
{
	struct fake_driver *d[2] = { fake_driver_create(NULL),
				     fake_driver_create(NULL) };
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	/* A page of zeros, the others written; on device 1, not for device 0. */
	test_touch_read(mem, PS);
	test_fill(mem + PS, SZ_64K - PS, 1);
	range = fake_range_at(d[1], mem, SZ_64K);
	assert_ret(fake_migrate(d[1], range, NULL), 0);
	range = fake_range_at(d[0], mem, SZ_64K);
	assert_true(fake_migrate(d[0], range, NULL) < 0);
	assert_zeroed(mem, PS);
	assert_filled(mem + PS, SZ_64K - PS, 1);
	/* A hole. */
	test_munmap_sync(mem + SZ_64K - PS, PS);
	assert_true(fake_migrate(d[0], range, NULL) < 0);
	assert_filled(mem + PS, SZ_64K - 2 * PS, 1);
}

static void migrate_multiple(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int i;

	(void)state;
	for (i = 0; i < NTIMES; i++) {
		struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);

		test_model_cpu_write(m, 0, m->cells);
		migrate_all(m);
		test_model_dev_check(m, 0, m->cells);
		test_model_cpu_check(m, 0, m->cells);
		test_wait_until(fake_devmem_used(d) == 0);
	}
}

static void anon_read_multiple(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int i;

	(void)state;
	for (i = 0; i < NTIMES; i++) {
		struct test_model *m = new_model(d, 0);

		test_model_cpu_write(m, 0, m->cells);
		test_model_dev_check(m, 0, m->cells);
	}
}

/* ---- 20: anon_teardown ---- */

static void *unmap_half(void *arg)
{
	unsigned char *mem = arg;

	test_area_note(mem + SIZE / 2, SIZE / 2, true);
	gpusvm_munmap(mem + SIZE / 2, SIZE / 2);
	return NULL;
}

static void anon_teardown(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char buffer[64];
	unsigned int i;

	(void)state;
	d->careful = true;
	for (i = 0; i < NTIMES; i++) {
		unsigned char *mem = new_buffer();
		pthread_t thread;
		size_t at;

		test_fill(mem, SIZE, i);
		test_thread_start(&thread, unmap_half, mem);
		for (at = 0; at < SIZE; at += PS) {
			int err = fake_access(d, mem + at, buffer,
					      sizeof(buffer),
					      i & 1 ? FAKE_ACCESS_MIGRATE : 0);
			size_t j;

			assert_true(!err || at >= SIZE / 2);
			for (j = 0; !err && j < sizeof(buffer); j++)
				assert_int_equal(buffer[j],
						 test_pattern(at + j, i));
		}
		test_thread_join(thread);
		assert_filled(mem, SIZE / 2, i);
	}
}

/* ---- 22 to 24 ---- */

/* What the device may do with each kind of page. */
static void snapshot(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(8 * SZ_64K, SZ_64K);
	const struct {
		int prot;
		bool written;
		int read;
		int write;
	} kinds[] = {
		{ PROT_NONE, false, -EFAULT, -EPERM },
		{ PROT_READ, false, 0, -EPERM },
		{ PROT_READ, true, 0, -EPERM },
		{ PROT_READ | PROT_WRITE, false, 0, 0 },
		{ PROT_READ | PROT_WRITE, true, 0, 0 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		unsigned char *mem = test_area_anon(area, i * SZ_64K, PS);
		char byte = 'x';
		int err;

		if (kinds[i].written)
			mem[0] = 'w';
		assert_int_equal(gpusvm_mprotect(mem, PS, kinds[i].prot), 0);
		err = fake_access(d, mem, &byte, 1, 0);
		assert_ret(err, kinds[i].read);
		if (!err)
			assert_int_equal(byte, kinds[i].written ? 'w' : 0);
		assert_ret(test_dev_poke(d, mem), kinds[i].write);
	}
	/* The reservation behind them is no hole, but nothing for a device. */
	assert_true(test_dev_poke(d, area->base + 7 * SZ_64K) < 0);
}

static void compound(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map_huge(SZ_2M);
	struct drm_gpusvm_range *range;

	(void)state;
	if (!mem)
		test_skip("no huge pages");
	range = fake_range_at(d, mem, SZ_2M);
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(fake_entries(range), entries_of_huge_page());
	assert_int_equal(gpusvm_mprotect(mem, SZ_2M, PROT_READ), 0);
	assert_ret(fake_get_pages(d, range), -EPERM);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_int_equal(fake_entries(range), entries_of_huge_page());
}

static void double_map(void **state)
{
	struct fake_driver *d[2] = { fake_driver_create(NULL),
				     fake_driver_create(NULL) };
	struct test_model *m = new_model(d[0], 0);

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ), 0);
	test_model_dev_check(m, 0, m->cells);
	m->d = d[1];
	test_model_dev_check(m, 0, m->cells);
	assert_int_equal(gpusvm_mprotect(m->mem, SIZE, PROT_READ | PROT_WRITE),
			 0);
	migrate_all(m);
	m->d = d[0];
	test_model_dev_check(m, 0, m->cells);
	assert_int_equal(fake_devmem_used(d[1]), 0);
}

/* ---- 26 and 27 ---- */

/* A system call's use of the pages brings them home. */
static void hmm_gup_test(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);
	unsigned char *copy = new_buffer();
	struct iovec to = { copy, SIZE }, from = { m->mem, SIZE };

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	migrate_all(m);
	assert_ret(gpusvm_populate(m->mem, SIZE), 0);
	assert_int_equal(process_vm_readv(getpid(), &to, 1, &from, 1, 0), SIZE);
	test_model_moved(m, copy);
	test_model_cpu_check(m, 0, m->cells);
	test_wait_until(fake_devmem_used(d) == 0);
}

static void hmm_cow_in_device(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_model *m = new_model(d, FAKE_ACCESS_MIGRATE);
	int go[2], status = -1;
	char byte;
	pid_t pid;

	(void)state;
	test_model_cpu_write(m, 0, m->cells);
	migrate_all(m);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0)
		_exit(read(go[0], &byte, 1) != 1 ||
		      test_model_find_wrong(m, 0, m->cells) != m->cells);
	assert_true(pid > 0);
	test_model_cpu_write(m, 0, m->cells);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	test_model_cpu_check(m, 0, m->cells);
	close(go[0]);
	close(go[1]);
}

/* ---- 28: huge pages that are empty, zero, freed or full ---- */

static void migrate_anon_huge(bool touch, bool write, bool freed, int error)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range;
	struct test_model *m = test_model_create(d, mem, SZ_2M, 0);

	madvise(mem, SZ_2M, MADV_HUGEPAGE);
	if (touch)
		test_touch_read(mem, SZ_2M);
	if (write)
		test_model_cpu_write(m, 0, m->cells);
	if (freed) {
		/* Its pages go when somebody wants them: here, at once. */
		assert_int_equal(gpusvm_madvise(mem, SZ_2M, MADV_DONTNEED), 0);
		test_model_zeroed(m, 0, m->cells);
	}
	range = fake_range_at(d, mem, SZ_2M);
	if (error) {
		fake_fault_arm(&d->fail_populate, error, 1, 1);
		assert_ret(fake_migrate(d, range, NULL), error);
		test_model_cpu_check(m, 0, m->cells / 4);
	}
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(range->flags.has_devmem_pages);
	test_model_dev_check(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
}

static void migrate_anon_huge_empty(void **state)
{
	(void)state;
	migrate_anon_huge(false, false, false, 0);
}

static void migrate_anon_huge_zero(void **state)
{
	(void)state;
	migrate_anon_huge(true, false, false, 0);
}

static void migrate_anon_huge_free(void **state)
{
	(void)state;
	migrate_anon_huge(true, true, true, 0);
}

static void migrate_anon_huge_fault(void **state)
{
	(void)state;
	migrate_anon_huge(false, true, false, 0);
}

static void migrate_anon_huge_err(void **state)
{
	(void)state;
	migrate_anon_huge(false, true, false, -ENOMEM);
}

static void migrate_anon_huge_zero_err(void **state)
{
	(void)state;
	migrate_anon_huge(true, false, false, -ENOMEM);
}

/* ---- 29 and 30: a part unmapped, or moved ---- */

static struct test_model *huge_on_device(struct fake_driver *d,
					 struct test_area *area)
{
	struct test_model *m = test_model_create(
		d, test_area_anon(area, 0, SZ_2M), SZ_2M, FAKE_ACCESS_MIGRATE);

	test_model_cpu_write(m, 0, m->cells);
	assert_ret(fake_migrate(d, fake_range_at(d, m->mem, SZ_2M), NULL), 0);
	return m;
}

static void migrate_partial_unmap_fault(void **state)
{
	static const size_t offsets[] = { 0, SZ_2M / 4, SZ_2M / 2 };
	unsigned int i;

	(void)state;
	for_each_calls(call) {
		for (i = 0; i < 3; i++) {
			struct fake_driver *d = fake_driver_create(NULL);
			struct test_area *area =
				test_area_reserve(SZ_2M, SZ_2M);
			struct test_model *m = huge_on_device(d, area);
			unsigned long first = offsets[i] / PS;
			unsigned long end = first + m->cells / 2;

			assert_int_equal(
				call->munmap(m->mem + offsets[i], SZ_1M), 0);
			test_model_cpu_check(m, 0, first);
			test_model_cpu_check(m, end, m->cells - end);
			test_model_dev_check(m, 0, first);
			test_model_dev_check(m, end, m->cells - end);
			test_wait_until(d->releases > 0);
			fake_driver_destroy(d);
			test_area_release(area);
		}
	}
}

static void remap_fault(const struct test_calls *call, size_t offset, int flags,
			bool before)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(3 * SZ_2M, SZ_2M);
	unsigned char *to = area->base + SZ_2M + offset;
	struct test_model *m;

	if (before) {
		m = huge_on_device(d, area);
	} else {
		m = test_model_create(d, test_area_anon(area, 0, SZ_2M), SZ_2M,
				      FAKE_ACCESS_MIGRATE);
		test_model_cpu_write(m, 0, m->cells);
	}
	assert_ptr_equal(call->mremap(m->mem, SZ_2M, SZ_2M,
				      MREMAP_MAYMOVE | MREMAP_FIXED | flags,
				      to),
			 to);
	if (flags)
		assert_zeroed(m->mem, SZ_2M);
	test_model_moved(m, to);
	if (!before)
		test_model_dev_write(m, 0, m->cells / 2);
	test_model_cpu_check(m, 0, m->cells);
	test_model_dev_check(m, 0, m->cells);
	fake_driver_destroy(d);
	test_area_release(area);
}

static void migrate_remap_fault(void **state)
{
	static const size_t offsets[] = { 0, SZ_2M / 4, SZ_2M / 2 };
	unsigned int i;

	(void)state;
	for_each_calls(call)
		for (i = 0; i < 12; i++)
			remap_fault(call, offsets[i / 4],
				    i & 1 ? MREMAP_DONTUNMAP : 0, i & 2);
}

/* ---- 1: open_close ---- */

static void open_close(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < NTIMES; i++)
		fake_driver_destroy(fake_driver_create(NULL));
}

static const struct CMUnitTest tests[] = {
	conf_test(open_close),
	conf_test(anon_read),
	conf_test(anon_read_prot),
	conf_test(anon_write),
	conf_test(anon_write_prot),
	conf_test(anon_write_child),
	conf_test(anon_write_child_shared),
	conf_test(anon_write_huge),
	conf_test(file_read),
	conf_test(file_write),
	conf_test(migrate),
	conf_test(migrate_file_private),
	conf_test(migrate_fault),
	conf_test(migrate_release),
	conf_test(migrate_shared),
	conf_test(migrate_mixed),
	conf_test(migrate_multiple),
	conf_test(anon_read_multiple),
	conf_test(anon_teardown),
	conf_test(snapshot),
	conf_test(compound),
	conf_test(double_map),
	conf_test(hmm_gup_test),
	conf_test(hmm_cow_in_device),
	conf_test(migrate_anon_huge_empty),
	conf_test(migrate_anon_huge_zero),
	conf_test(migrate_anon_huge_free),
	conf_test(migrate_anon_huge_fault),
	conf_test(migrate_anon_huge_err),
	conf_test(migrate_anon_huge_zero_err),
	conf_test(migrate_partial_unmap_fault),
	conf_test(migrate_remap_fault),
};

CONF_MAIN(tests)
