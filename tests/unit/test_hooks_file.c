/* SPDX-License-Identifier: MIT */
/*
 * The calls about shared memory, files and the break: who is told of what, and
 * with which result they return.
 */
#include "unit_change.h"
#include "unit_thread.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/shm.h>

#include "uapi.h"
#include "vma.h"

#define FILE_PAGES 4ul
#define PLACES 10ul /* more than are told apart */
#define PIECES 8ul

/* What stat(2) tells, which need not be what mappings do. */
static unsigned long file_inode;
static int file_id_result;

static bool tell_file_id(const unsigned long *args, long *ret)
{
	*(unsigned long *)args[2] = file_inode;
	*(size_t *)args[3] = PAGE_SIZE;
	*ret = file_id_result;
	return true;
}

static unsigned long segment_pages;

static bool tell_shm_size(const unsigned long *args, long *ret)
{
	*(size_t *)args[1] = bytes(segment_pages) - 10;
	*ret = segment_pages ? 0 : -EACCES;
	return true;
}

/* ---- The break: page 2 of the program's memory, and a bit ---- */

static unsigned long program_break;

static bool move_break(const unsigned long *args, long *ret)
{
	*ret = (long)program_break;
	if (!args[0])
		return true;
	on_sys(args, ret);
	if (*ret == -1)
		errno = ENOMEM;
	return true;
}

static void kernel_moves_break_to(const unsigned long *args)
{
	program_break = args[0];
}

static void kernel_moves_break_by(const unsigned long *args)
{
	program_break += args[0];
}

static int setup(void **state)
{
	static const enum fake_sys_fn fns[] = {
		FAKE_SYS_SHMAT,	    FAKE_SYS_SHMDT, FAKE_SYS_FALLOCATE,
		FAKE_SYS_FTRUNCATE, FAKE_SYS_BRK,   FAKE_SYS_TRUNCATE,
	};
	unsigned int i;
	int err = hooks_setup(state);

	for (i = 0; i < ARRAY_SIZE(fns); i++)
		fake_sys_hook(fns[i], on_sys);
	fake_sys_hook(FAKE_SYS_FILE_ID, tell_file_id);
	fake_sys_hook(FAKE_SYS_SHM_SIZE, tell_shm_size);
	fake_sys_hook(FAKE_SYS_SBRK, move_break);
	file_id_result = 0;
	file_inode = 4711;
	segment_pages = 3;
	program_break = fake_addr(fake, FIRST + 3) + 100;
	return err;
}

#define file_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* ---- A file that the program has mapped in places ---- */

static int file = -1;

static int teardown(void **state)
{
	/* The window becomes what it was. */
	if (file >= 0) {
		if (mmap(window(20), bytes(WINDOW - 20), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			return -1;
		close(file);
		file = -1;
	}
	return change_teardown(state);
}

static void create_file(void)
{
	file = memfd_create("hooks", MFD_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, (off_t)bytes(FILE_PAGES)), 0);
}

/* Pages [@page, @page + @n) of the file at @first. */
static void map_file(unsigned long first, unsigned long page, unsigned long n)
{
	assert_ptr_not_equal(mmap(window(first), bytes(n), PROT_READ,
				  MAP_SHARED | MAP_FIXED, file,
				  (off_t)bytes(page)),
			     MAP_FAILED);
}

static int punch(unsigned long page, unsigned long n)
{
	return gpusvm_fallocate(file,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(int64_t)bytes(page), (int64_t)bytes(n));
}

static void fallocate_tells_wherever_the_file_is_mapped(void **state)
{
	(void)state;
	create_file();
	map_file(20, 0, 4);
	map_file(30, 2, 2);
	map_file(40, 0, 1);
	assert_int_equal(punch(1, 2), 0);
	assert_string_equal(trace, "CCs..");
	assert_told(0, MMU_NOTIFY_CLEAR, 21, 2);
	assert_told(1, MMU_NOTIFY_CLEAR, 30, 1);
	assert_args((unsigned long)file,
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, bytes(1),
		    bytes(2), 0);
	/* Of parts of pages, too. */
	forget_record();
	assert_int_equal(gpusvm_fallocate(file, FALLOC_FL_ZERO_RANGE, 100, 1),
			 0);
	assert_string_equal(trace, "CCs..");
	assert_told(0, MMU_NOTIFY_CLEAR, 20, 1);
	assert_told(1, MMU_NOTIFY_CLEAR, 40, 1);
	/* By blocks on the disk that are zeroed. */
	forget_record();
	assert_int_equal(gpusvm_fallocate(file, FALLOC_FL_WRITE_ZEROES,
					  (int64_t)bytes(3), 1),
			 0);
	assert_string_equal(trace, "CCs..");
	assert_told(0, MMU_NOTIFY_CLEAR, 23, 1);
	assert_told(1, MMU_NOTIFY_CLEAR, 31, 1);
	assert_freed(0, 0);
}

static void fallocate_that_shifts_tells_of_all_behind(void **state)
{
	static const int modes[] = { FALLOC_FL_COLLAPSE_RANGE,
				     FALLOC_FL_INSERT_RANGE };
	unsigned int i;

	(void)state;
	create_file();
	map_file(20, 0, 4);
	for (i = 0; i < 2; i++) {
		forget_record();
		assert_int_equal(gpusvm_fallocate(file, modes[i],
						  (int64_t)bytes(1),
						  (int64_t)bytes(1)),
				 0);
		assert_told(0, MMU_NOTIFY_CLEAR, 21, 3);
	}
}

static void fallocate_that_drops_nothing_is_bare(void **state)
{
	(void)state;
	create_file();
	map_file(20, 0, 4);
	sys_returns(-ENOSPC);
	assert_int_equal(gpusvm_fallocate(file, 0, 0, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(gpusvm_fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 1), -1);
	assert_string_equal(trace, "ss");
}

static void ftruncate_tells_of_what_is_cut_off(void **state)
{
	(void)state;
	create_file();
	map_file(20, 0, 4);
	map_file(30, 2, 2);
	map_file(40, 0, 1);
	assert_int_equal(gpusvm_ftruncate(file, (int64_t)bytes(1) + 5), 0);
	assert_string_equal(trace, "CCs..");
	assert_told(0, MMU_NOTIFY_CLEAR, 21, 3);
	assert_told(1, MMU_NOTIFY_CLEAR, 30, 2);
	assert_args((unsigned long)file, bytes(1) + 5, 0, 0, 0);
	sys_returns(-EINVAL);
	assert_int_equal(gpusvm_ftruncate(file, 0), -1);
	assert_int_equal(errno, EINVAL);
}

static void more_places_than_pieces_are_told_all(void **state)
{
	unsigned long i;

	(void)state;
	create_file();
	for (i = 0; i < PLACES; i++)
		map_file(20 + 3 * i, 1, 1);
	assert_int_equal(punch(0, 4), 0);
	assert_string_equal(trace, "CCCCCCCCs........");
	for (i = 0; i < PIECES - 1; i++)
		assert_told((unsigned int)i, MMU_NOTIFY_CLEAR, 20 + 3 * i, 1);
	/* The last covers the rest. */
	assert_told(PIECES - 1, MMU_NOTIFY_CLEAR, 20 + 3 * (PIECES - 1),
		    3 * (PLACES - PIECES) + 1);
}

static unsigned long inode_of_mappings(void)
{
	struct vma vma;

	assert_int_equal(gpusvm_vma_piece(mm, fake_addr(fake, 20), &vma), 0);
	assert_true(vma.inode);
	return vma.inode;
}

/* It cannot be mapped to see what mappings of it are known by. */
static void file_that_is_only_written_is_known_by_its_number(void **state)
{
	char path[64];
	int all;

	(void)state;
	create_file();
	map_file(20, 0, 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	all = file;
	file = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(punch(1, 1), 0);
	assert_string_equal(trace, "s");
	file_inode = inode_of_mappings();
	forget_record();
	assert_int_equal(punch(1, 1), 0);
	assert_string_equal(trace, "Cs.");
	assert_told(0, MMU_NOTIFY_CLEAR, 21, 1);
	close(all);
}

static void truncate_tells_of_what_is_cut_off(void **state)
{
	static const char path[] = "/anywhere";

	(void)state;
	create_file();
	map_file(20, 0, 4);
	file_inode = inode_of_mappings();
	assert_int_equal(gpusvm_truncate(path, (int64_t)bytes(2) + 1), 0);
	assert_string_equal(trace, "Cs.");
	assert_told(0, MMU_NOTIFY_CLEAR, 22, 2);
	assert_args((unsigned long)path, bytes(2) + 1, 0, 0, 0);
	/* Of another file, and of none. */
	forget_record();
	file_inode++;
	assert_int_equal(gpusvm_truncate(path, 0), 0);
	file_id_result = -ENOENT;
	sys_returns(-ENOENT);
	assert_int_equal(gpusvm_truncate(path, 0), -1);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(trace, "ss");
}

static void other_files_concern_nobody(void **state)
{
	int other = memfd_create("hooks", MFD_CLOEXEC);

	(void)state;
	create_file();
	map_file(20, 0, 4);
	assert_true(other >= 0);
	/* Whatever number it has elsewhere. */
	file_inode = inode_of_mappings();
	assert_int_equal(gpusvm_ftruncate(other, 0), 0);
	file_id_result = -EBADF;
	sys_returns(-EBADF);
	assert_int_equal(punch(0, 4), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(gpusvm_ftruncate(-1, 0), -1);
	assert_string_equal(trace, "sss");
	close(other);
}

/* What looks at the file leaves nothing mapped. */
static void file_is_not_mapped_afterwards(void **state)
{
	unsigned int mapped, unmapped;

	(void)state;
	create_file();
	map_file(20, 0, 4);
	mapped = fake_sys_calls(FAKE_SYS_MMAP);
	unmapped = fake_sys_calls(FAKE_SYS_MUNMAP);
	assert_int_equal(punch(0, 1), 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_MMAP) - mapped, 1);
	assert_int_equal(fake_sys_calls(FAKE_SYS_MUNMAP) - unmapped, 1);
}

/* A device that maps the file meanwhile would keep what is dropped. */
static struct unit_thread subscriber;

static void subscribe_late(void *arg)
{
	(void)arg;
	gpusvm_change_subscribed();
}

static void subscribe_during_the_call(const unsigned long *args)
{
	(void)args;
	unit_thread_start(&subscriber, subscribe_late, NULL);
	unit_thread_settle(&subscriber);
	assert_false(unit_thread_done(&subscriber));
}

static void subscribing_waits_for_calls_on_files(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_NANOSLEEP, NULL);
	fake_sys_hook(FAKE_SYS_YIELD, NULL);
	file_inode = 4711;
	sys_during = subscribe_during_the_call;
	assert_int_equal(gpusvm_ftruncate(-1, 0), 0);
	unit_thread_join(&subscriber);
	assert_int_equal(punch(0, 1), 0);
	unit_thread_join(&subscriber);
	/* Also if an address space is opened meanwhile. */
	current = NULL;
	assert_int_equal(gpusvm_ftruncate(-1, 0), 0);
	unit_thread_join(&subscriber);
	assert_string_equal(trace, "sss");
}

/* ---- Shared memory ---- */

static void shmat_over_something_tells_what_goes(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(gpusvm_shmat(7, window(FIRST), SHM_REMAP),
			 window(FIRST));
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, 3);
	assert_args(7, fake_addr(fake, FIRST), SHM_REMAP, 0, 0);
	/* No event of the source comes for this one. */
	assert_freed(0, 3);
}

static void shmat_at_a_rounded_address_spares_the_next_page(void **state)
{
	void *inside = (char *)window(FIRST) + 100;

	(void)state;
	segment_pages = 2;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(gpusvm_shmat(7, inside, SHM_REMAP | SHM_RND),
			 window(FIRST));
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, 2);
	assert_args(7, (unsigned long)inside, SHM_REMAP | SHM_RND, 0, 0);
	assert_freed(0, 2);
}

static void shmat_elsewhere_is_bare(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(gpusvm_shmat(7, NULL, 0), window(40));
	assert_ptr_equal(gpusvm_shmat(7, (char *)window(FIRST) + 1, SHM_RND),
			 window(40));
	/* Nor if the segment cannot be had anyway. */
	segment_pages = 0;
	sys_returns(-EACCES);
	assert_ptr_equal(gpusvm_shmat(7, window(FIRST), SHM_REMAP), (void *)-1);
	assert_int_equal(errno, EACCES);
	assert_string_equal(trace, "sss");
	assert_freed(0, 0);
}

static void shmdt_tells_of_the_attachment(void **state)
{
	(void)state;
	create_file();
	map_file(20, 0, 4);
	assert_int_equal(gpusvm_shmdt(window(20)), 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, 20, 4);
	assert_args(fake_addr(fake, 20), 0, 0, 0, 0);
	/* In pieces by now, and another one behind it. */
	forget_record();
	assert_int_equal(mprotect(window(22), PAGE_SIZE, PROT_NONE), 0);
	map_file(24, 0, 4);
	assert_int_equal(gpusvm_shmdt(window(20)), 0);
	assert_told(0, MMU_NOTIFY_UNMAP, 20, 4);
	/* Nothing there. */
	forget_record();
	sys_returns(-EINVAL);
	assert_int_equal(gpusvm_shmdt((char *)window(20) + 1), -1);
	assert_int_equal(gpusvm_shmdt(NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_string_equal(trace, "ss");
}

/* The first segment of all has the identifier 0, and that as inode number. */
static bool inode_is_0(const unsigned long *args, long *ret)
{
	struct procmap_query *query = (struct procmap_query *)args[1];

	*ret = ioctl((int)args[0], PROCMAP_QUERY, query) ? -errno : 0;
	query->inode = 0;
	return true;
}

static void shmdt_tells_of_a_segment_with_inode_0(void **state)
{
	(void)state;
	if (!(mm->features & GPUSVM_FEATURE_PROCMAP_QUERY))
		skip();
	create_file();
	map_file(20, 0, 4);
	fake_sys_hook(FAKE_SYS_PROCMAP_QUERY, inode_is_0);
	assert_int_equal(gpusvm_shmdt(window(20)), 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, 20, 4);
	/* What has no file at all is not a segment. */
	forget_record();
	assert_int_equal(gpusvm_shmdt(window(30)), 0);
	assert_string_equal(trace, "s");
}

/* What the program has mapped in the middle, or in the front, stays. */
static void shmdt_spares_what_is_in_holes(void **state)
{
	(void)state;
	create_file();
	map_file(20, 0, 1);
	map_file(23, 3, 1);
	/* Another part, elsewhere. */
	map_file(25, 0, 1);
	assert_int_equal(gpusvm_shmdt(window(20)), 0);
	assert_string_equal(trace, "UUs..");
	assert_told(0, MMU_NOTIFY_UNMAP, 20, 1);
	assert_told(1, MMU_NOTIFY_UNMAP, 23, 1);
	forget_record();
	assert_int_equal(gpusvm_shmdt(window(22)), 0);
	assert_string_equal(trace, "s");
	map_file(24, 2, 1);
	forget_record();
	assert_int_equal(gpusvm_shmdt(window(22)), 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, 24, 1);
	assert_freed(0, 0);
}

/* ---- The break ---- */

static void brk_downwards_tells_what_goes(void **state)
{
	(void)state;
	sys_during = kernel_moves_break_to;
	assert_int_equal(gpusvm_brk((char *)window(FIRST) + 1), 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST + 1, 3);
	assert_args(fake_addr(fake, FIRST) + 1, 0, 0, 0, 0);
	assert_freed(1, 3);
	sys_during = NULL;
	sys_returns(-ENOMEM);
	assert_int_equal(gpusvm_brk(window(FIRST)), -1);
	assert_int_equal(errno, ENOMEM);
	assert_freed(1, 3);
}

/* glibc returns 0 for what the kernel refused, as long as it is lower. */
static void break_that_did_not_move_drops_nothing(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_brk(NULL), 0);
	assert_string_equal(trace, "Us.");
	sys_returns((long)program_break);
	assert_ptr_equal(gpusvm_sbrk(-(intptr_t)bytes(N)),
			 (void *)program_break);
	assert_string_equal(trace, "Us.Us.");
	assert_freed(0, 0);
}

static void brk_upwards_or_within_a_page_is_bare(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_brk(window(FIRST + N)), 0);
	assert_int_equal(gpusvm_brk((char *)window(FIRST + 3) + 1), 0);
	assert_string_equal(trace, "ss");
	assert_freed(0, 0);
}

static void sbrk_downwards_tells_what_goes(void **state)
{
	(void)state;
	sys_returns((long)program_break);
	sys_during = kernel_moves_break_by;
	assert_int_equal(gpusvm_sbrk(-100 - (intptr_t)bytes(2)),
			 sys_results[0]);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST + 1, 3);
	assert_freed(1, 3);
	sys_during = NULL;
	sys_returns(-1);
	assert_ptr_equal(gpusvm_sbrk(-(intptr_t)bytes(4)), (void *)-1);
	assert_int_equal(errno, ENOMEM);
	assert_freed(1, 3);
}

static void sbrk_upwards_is_bare(void **state)
{
	(void)state;
	sys_returns((long)program_break);
	assert_ptr_equal(gpusvm_sbrk(0), (void *)program_break);
	assert_string_equal(trace, "");
	assert_ptr_equal(gpusvm_sbrk(1), (void *)program_break);
	assert_string_equal(trace, "s");
	assert_freed(0, 0);
}

static void no_address_space_makes_all_bare(void **state)
{
	(void)state;
	current = NULL;
	assert_ptr_equal(gpusvm_shmat(7, window(FIRST), SHM_REMAP), NULL);
	assert_int_equal(gpusvm_shmdt(window(FIRST)), 0);
	assert_int_equal(gpusvm_brk(window(FIRST)), 0);
	assert_ptr_equal(gpusvm_sbrk(-1), NULL);
	assert_int_equal(punch(0, 4), 0);
	assert_int_equal(gpusvm_ftruncate(-1, 0), 0);
	assert_int_equal(gpusvm_truncate("/", 0), 0);
	assert_string_equal(trace, "sssssss");
	assert_int_equal(fake_sys_calls(FAKE_SYS_FILE_ID), 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), 0);
	assert_freed(0, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		file_test(fallocate_tells_wherever_the_file_is_mapped),
		file_test(fallocate_that_shifts_tells_of_all_behind),
		file_test(fallocate_that_drops_nothing_is_bare),
		file_test(ftruncate_tells_of_what_is_cut_off),
		file_test(more_places_than_pieces_are_told_all),
		file_test(file_that_is_only_written_is_known_by_its_number),
		file_test(truncate_tells_of_what_is_cut_off),
		file_test(other_files_concern_nobody),
		file_test(file_is_not_mapped_afterwards),
		file_test(subscribing_waits_for_calls_on_files),
		file_test(shmat_over_something_tells_what_goes),
		file_test(shmat_at_a_rounded_address_spares_the_next_page),
		file_test(shmat_elsewhere_is_bare),
		file_test(shmdt_tells_of_a_segment_with_inode_0),
		file_test(shmdt_spares_what_is_in_holes),
		file_test(shmdt_tells_of_the_attachment),
		file_test(brk_downwards_tells_what_goes),
		file_test(brk_upwards_or_within_a_page_is_bare),
		file_test(break_that_did_not_move_drops_nothing),
		file_test(sbrk_downwards_tells_what_goes),
		file_test(sbrk_upwards_is_bare),
		file_test(no_address_space_makes_all_bare),
	};

	return cmocka_run_group_tests_name("hooks_file", tests, NULL, NULL);
}
