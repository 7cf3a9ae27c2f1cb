/* SPDX-License-Identifier: MIT */
/*
 * Device memory in files: what is mapped is the file, what is not cannot be
 * touched, nobody offers it to a device, and after an error or the end nothing
 * is left of it.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "compiler.h"
#include "exclude.h"
#include "fake_sys.h"
#include "page.h"
#include "page_size.h"
#include "uapi.h"

#define BYTES (16 * PAGE_SIZE)

void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
int __real_gpusvm_exclude(const void *addr, size_t size);
int __wrap_gpusvm_exclude(const void *addr, size_t size);

static bool fail_alloc_pages, fail_exclude;

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return fail_alloc_pages ? NULL : __real_gpusvm_alloc_pages(size, align);
}

int __wrap_gpusvm_exclude(const void *addr, size_t size)
{
	return fail_exclude ? -ENOMEM : __real_gpusvm_exclude(addr, size);
}

/* ---- What the files are ---- */

/* The file is on another file system than it really is. */
static bool is_on_disk(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = EXT4_SUPER_MAGIC;
	return true;
}

/* A directory on a disk: what is opened there is a memfd. */
static int opened_flags[4];
static unsigned int opened;
static bool refuse_direct;

static bool open_unnamed(const unsigned long *args, long *ret)
{
	int flags = (int)args[1];

	if (strcmp((const char *)args[0], "/a/directory"))
		return false;
	opened_flags[opened++ % 4] = flags;
	*ret = refuse_direct && (flags & O_DIRECT)
		       ? -EINVAL
		       : memfd_create("unnamed", MFD_CLOEXEC);
	return true;
}

static bool no_room_at_all(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = -EOPNOTSUPP;
	return true;
}

static bool no_address_space(const unsigned long *args, long *ret)
{
	*ret = -ENOMEM;
	return args[0] == 0;
}

static bool no_file_mapping(const unsigned long *args, long *ret)
{
	*ret = -ENODEV;
	return args[4] != (unsigned long)-1;
}

static bool no_population(const unsigned long *args, long *ret)
{
	*ret = -EFAULT;
	return args[2] == MADV_POPULATE_WRITE;
}

/* ---- Pools ---- */

static void nothing(void *zone_device_data, unsigned long n)
{
	(void)n;
	(void)zone_device_data;
}

static const struct dev_pagemap_ops ops = { .get = nothing, .put = nothing };
static struct gpusvm_devmem_pool *pool;
static size_t blocks;
static int free_fd;

static struct gpusvm_devmem_pool_opts opts_of(enum gpusvm_devmem_type type)
{
	return (struct gpusvm_devmem_pool_opts){
		.size = sizeof(struct gpusvm_devmem_pool_opts),
		.bytes = BYTES,
		.pgmap_ops = &ops,
		.type = type,
	};
}

/* The descriptor that the next open will give. */
static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fail_alloc_pages = fail_exclude = false;
	refuse_direct = false;
	opened = 0;
	pool = NULL;
	blocks = gpusvm_alloc_live();
	free_fd = next_fd();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (gpusvm_devmem_pool_destroy(pool))
		return -1;
	fake_sys_reset();
	return gpusvm_alloc_live() == blocks && next_fd() == free_fd ? 0 : -1;
}

static void create(const struct gpusvm_devmem_pool_opts *opts)
{
	assert_int_equal(gpusvm_devmem_pool_create(&pool, opts), 0);
}

static struct dev_pagemap *pagemap(void)
{
	return gpusvm_devmem_pool_pagemap(pool);
}

static struct gpusvm_devmem_pool_info info(void)
{
	struct gpusvm_devmem_pool_info now = { .size = sizeof(now) };

	assert_int_equal(gpusvm_devmem_pool_info(pool, &now), 0);
	assert_int_equal(now.bytes, BYTES);
	assert_int_equal(now.node, -1);
	assert_false(now.emulated);
	return now;
}

static bool is_excluded(unsigned long addr)
{
	unsigned long start = addr, end = addr + 1;

	return !gpusvm_exclude_clip(addr, &start, &end);
}

/* Whether there is memory that the kernel can read. */
static bool can_be_read(unsigned long addr)
{
	int fds[2];
	bool can;

	assert_int_equal(pipe(fds), 0);
	can = write(fds[1], (const void *)addr, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return can;
}

/* What is written to the file is in memory, and the other way round. */
static void assert_mapped(void)
{
	unsigned char *at = (unsigned char *)pagemap()->range.start;
	const struct gpusvm_pagemap_file *file = pagemap()->file;
	char text[8];

	assert_true(info().mapped);
	assert_false(info().direct);
	assert_true(file->mapped);
	assert_int_equal(pwrite(file->fd, "to file", 8,
				(off_t)(file->offset + 3 * PAGE_SIZE)),
			 8);
	assert_string_equal(at + 3 * PAGE_SIZE, "to file");
	strcpy((char *)at + BYTES - 8, "to page");
	assert_int_equal(
		pread(file->fd, text, 8, (off_t)(file->offset + BYTES - 8)), 8);
	assert_string_equal(text, "to page");
}

static void assert_not_mapped(void)
{
	unsigned long page;

	assert_false(info().mapped);
	assert_false(pagemap()->file->mapped);
	for (page = pagemap()->range.start; page < pagemap()->range.end;
	     page += PAGE_SIZE)
		assert_false(can_be_read(page));
}

static void assert_placed(void)
{
	unsigned long start = pagemap()->range.start;

	assert_int_equal(start % (2ul << 20), 0);
	assert_int_equal(pagemap()->range.end + 1 - start, BYTES);
	assert_true(is_excluded(start));
	assert_true(is_excluded(start + BYTES - 1));
	assert_ptr_equal(
		gpusvm_page_address(gpusvm_pfn_to_page(start >> PAGE_SHIFT)),
		(void *)start);
}

/* ---- Tests ---- */

static void memfd_is_mapped(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_MEMFD);
	unsigned long start;

	(void)state;
	create(&opts);
	assert_placed();
	assert_mapped();
	start = pagemap()->range.start;
	assert_int_equal(gpusvm_devmem_pool_destroy(pool), 0);
	pool = NULL;
	assert_false(can_be_read(start));
	assert_false(is_excluded(start));
}

static void file_on_tmpfs_is_mapped(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);

	(void)state;
	fake_sys_hook(FAKE_SYS_OPEN, open_unnamed);
	opts.path = "/a/directory";
	create(&opts);
	assert_placed();
	assert_mapped();
}

static void file_on_disk_is_not_mapped(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);

	(void)state;
	fake_sys_hook(FAKE_SYS_OPEN, open_unnamed);
	fake_sys_hook(FAKE_SYS_FS_MAGIC, is_on_disk);
	opts.path = "/a/directory";
	create(&opts);
	assert_placed();
	assert_not_mapped();
	assert_true(info().direct);
	assert_int_equal(opened, 1);
	assert_int_equal(opened_flags[0],
			 O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT);
	/* There is room for all of it. */
	assert_int_equal(lseek(pagemap()->file->fd, 0, SEEK_END), BYTES);
}

static void file_without_direct_access_goes_through_the_cache(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);

	(void)state;
	refuse_direct = true;
	fake_sys_hook(FAKE_SYS_OPEN, open_unnamed);
	fake_sys_hook(FAKE_SYS_FS_MAGIC, is_on_disk);
	opts.path = "/a/directory";
	create(&opts);
	assert_not_mapped();
	assert_false(info().direct);
	assert_int_equal(opened, 2);
	assert_int_equal(opened_flags[1], O_TMPFILE | O_RDWR | O_CLOEXEC);
}

static void given_file_stays_open(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);
	int fd = memfd_create("given", MFD_CLOEXEC);

	(void)state;
	opts.fd = fd;
	create(&opts);
	assert_mapped();
	assert_int_equal(pagemap()->file->fd, fd);
	assert_int_equal(gpusvm_devmem_pool_destroy(pool), 0);
	pool = NULL;
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);

	/* A disk: it has a size that cannot be changed. */
	fake_sys_hook(FAKE_SYS_FS_MAGIC, is_on_disk);
	fake_sys_hook(FAKE_SYS_FALLOCATE, no_room_at_all);
	fake_sys_hook(FAKE_SYS_FTRUNCATE, no_room_at_all);
	create(&opts);
	assert_not_mapped();
	assert_false(info().direct);
	assert_int_equal(gpusvm_devmem_pool_destroy(pool), 0);
	pool = NULL;
	close(fd);
}

static void engine_goes_to_the_pagemap(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_MEMFD);

	(void)state;
	opts.engine = (struct gpusvm_copy_engine *)&opts;
	create(&opts);
	assert_ptr_equal(pagemap()->engine, opts.engine);
}

/* ---- Errors ---- */

static unsigned long last_start;

static bool note_mapping(const unsigned long *args, long *ret)
{
	(void)ret;
	last_start = args[0];
	return false;
}

static void assert_refused(const struct gpusvm_devmem_pool_opts *opts,
			   int expected)
{
	unsigned int mapped = fake_sys_calls(FAKE_SYS_MMAP);
	unsigned int unmapped = fake_sys_calls(FAKE_SYS_MUNMAP);

	fake_sys_hook(FAKE_SYS_MUNMAP, note_mapping);
	last_start = 0;
	assert_int_equal(gpusvm_devmem_pool_create(&pool, opts), expected);
	assert_null(pool);
	assert_int_equal(next_fd(), free_fd);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	if (fake_sys_calls(FAKE_SYS_MUNMAP) > unmapped) {
		assert_true(last_start && !is_excluded(last_start));
		assert_true(fake_sys_calls(FAKE_SYS_MMAP) > mapped);
	}
}

static void create_passes_errors_of_opening(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);

	(void)state;
	opts.path = "/nowhere/at/all";
	assert_refused(&opts, -ENOENT);
	opts.path = "/a/directory";
	fake_sys_hook(FAKE_SYS_OPEN, open_unnamed);
	fake_sys_fail(FAKE_SYS_OPEN, -EOPNOTSUPP, 1);
	assert_refused(&opts, -EOPNOTSUPP);
	opts.path = NULL;
	opts.fd = -1;
	assert_refused(&opts, -EBADF);
	opts = opts_of(GPUSVM_DEVMEM_MEMFD);
	fake_sys_fail(FAKE_SYS_MEMFD_CREATE, -EMFILE, 1);
	assert_refused(&opts, -EMFILE);
	opts.type = (enum gpusvm_devmem_type)(GPUSVM_DEVMEM_COHERENT + 1);
	assert_refused(&opts, -EINVAL);
}

static void create_passes_lack_of_room(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);

	(void)state;
	fake_sys_hook(FAKE_SYS_OPEN, open_unnamed);
	fake_sys_hook(FAKE_SYS_FS_MAGIC, is_on_disk);
	opts.path = "/a/directory";
	fake_sys_fail(FAKE_SYS_FALLOCATE, -ENOSPC, 1);
	assert_refused(&opts, -ENOSPC);
	fake_sys_fail(FAKE_SYS_PREAD, -EIO, 1);
	assert_refused(&opts, -EIO);
	/* A disk that is too small. */
	fake_sys_fail(FAKE_SYS_FALLOCATE, -EOPNOTSUPP, 1);
	fake_sys_fail(FAKE_SYS_FTRUNCATE, -EINVAL, 1);
	assert_refused(&opts, -ENOSPC);
}

static void files_without_fallocate_are_made_longer(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_MEMFD);

	(void)state;
	fake_sys_hook(FAKE_SYS_FALLOCATE, no_room_at_all);
	create(&opts);
	assert_mapped();
}

static void large_files_without_fallocate_are_not_cut_off(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_FILE);
	struct stat st;

	(void)state;
	opts.path = NULL;
	opts.fd = memfd_create("large", MFD_CLOEXEC);
	assert_true(opts.fd >= 0);
	assert_int_equal(ftruncate(opts.fd, (off_t)opts.bytes + 4711), 0);
	fake_sys_hook(FAKE_SYS_FALLOCATE, no_room_at_all);
	create(&opts);
	assert_int_equal(fstat(opts.fd, &st), 0);
	assert_int_equal(st.st_size, opts.bytes + 4711);
	assert_int_equal(gpusvm_devmem_pool_destroy(pool), 0);
	pool = NULL;
	close(opts.fd);
}

static void interrupted_allocation_goes_on(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_MEMFD);

	(void)state;
	fake_sys_fail(FAKE_SYS_FALLOCATE, -EINTR, 1);
	create(&opts);
	assert_mapped();
	assert_int_equal(fake_sys_calls(FAKE_SYS_FALLOCATE), 2);
}

static void create_passes_lack_of_memory(void **state)
{
	struct gpusvm_devmem_pool_opts opts = opts_of(GPUSVM_DEVMEM_MEMFD);

	(void)state;
	fail_alloc_pages = true;
	assert_refused(&opts, -ENOMEM);
	fail_alloc_pages = false;
	fake_sys_hook(FAKE_SYS_MMAP, no_address_space);
	assert_refused(&opts, -ENOMEM);
	fake_sys_hook(FAKE_SYS_MMAP, NULL);
	fail_exclude = true;
	assert_refused(&opts, -ENOMEM);
	fail_exclude = false;
	fake_sys_hook(FAKE_SYS_MMAP, no_file_mapping);
	assert_refused(&opts, -ENODEV);
	assert_int_not_equal(last_start, 0);
	fake_sys_hook(FAKE_SYS_MMAP, NULL);
	fake_sys_hook(FAKE_SYS_MADVISE, no_population);
	assert_refused(&opts, -ENOMEM);
	assert_int_not_equal(last_start, 0);
	fake_sys_hook(FAKE_SYS_MADVISE, NULL);
	create(&opts);
	assert_mapped();
}

#define file_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		file_test(memfd_is_mapped),
		file_test(file_on_tmpfs_is_mapped),
		file_test(file_on_disk_is_not_mapped),
		file_test(file_without_direct_access_goes_through_the_cache),
		file_test(given_file_stays_open),
		file_test(engine_goes_to_the_pagemap),
		file_test(create_passes_errors_of_opening),
		file_test(create_passes_lack_of_room),
		file_test(files_without_fallocate_are_made_longer),
		file_test(large_files_without_fallocate_are_not_cut_off),
		file_test(interrupted_allocation_goes_on),
		file_test(create_passes_lack_of_memory),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
