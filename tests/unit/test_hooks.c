/* SPDX-License-Identifier: MIT */
/*
 * The calls that change mappings: devices stop before the system call, its
 * result is the caller's, and device pages are where the mapping is.
 */
#include "unit_change.h"

#include <sys/uio.h>

#include "hooks_args.h"
#include "uapi.h"

/* ---- munmap() ---- */

static void kernel_unmaps(const unsigned long *args)
{
	tell(SOURCE_UNMAP, (args[0] - fake->start) >> PAGE_SHIFT,
	     args[1] >> PAGE_SHIFT, 0);
}

static void munmap_tells_calls_and_ends(void **state)
{
	(void)state;
	sys_during = kernel_unmaps;
	assert_int_equal(gpusvm_munmap(window(FIRST), bytes(3)), 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, 3);
	assert_args(fake_addr(fake, FIRST), bytes(3), 0, 0, 0);
	assert_freed(0, 3);
	assert_int_equal(errno, 0);
}

static void munmap_untold_drops_all_the_same(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_munmap(window(FIRST), bytes(3)), 0);
	assert_string_equal(trace, "Us.");
	assert_freed(0, 3);
}

static void munmap_that_fails_drops_nothing(void **state)
{
	(void)state;
	sys_returns(-EINVAL);
	assert_int_equal(gpusvm_munmap((char *)window(FIRST) + 1, bytes(3)),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_args(fake_addr(fake, FIRST) + 1, bytes(3), 0, 0, 0);
	assert_string_equal(trace, "Us.");
	assert_freed(0, 0);
}

/* ---- mmap() ---- */

static void *map_fixed(int flags)
{
	return gpusvm_mmap(window(FIRST), bytes(3), PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 4096);
}

static void mmap_over_something_tells_what_goes(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(map_fixed(MAP_FIXED), window(FIRST));
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, 3);
	assert_args(fake_addr(fake, FIRST), bytes(3), PROT_READ,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~0ul);
	assert_int_equal(sys_args[5], 4096);
	assert_freed(0, 3);
}

static void mmap_elsewhere_is_bare(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, 30));
	assert_ptr_equal(map_fixed(0), window(30));
	assert_ptr_equal(map_fixed(MAP_FIXED_NOREPLACE), window(30));
	assert_ptr_equal(map_fixed(MAP_FIXED_NOREPLACE | MAP_FIXED),
			 window(30));
	assert_string_equal(trace, "sss");
	assert_freed(0, 0);
}

static void mmap_that_fails_drops_nothing(void **state)
{
	(void)state;
	sys_returns(-ENOMEM);
	assert_ptr_equal(map_fixed(MAP_FIXED), MAP_FAILED);
	assert_int_equal(errno, ENOMEM);
	assert_ptr_equal(map_fixed(0), MAP_FAILED);
	assert_string_equal(trace, "Us.s");
	assert_freed(0, 0);
}

/* ---- mprotect() ---- */

static void mprotect_tells_of_protection(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_mprotect(window(FIRST), bytes(3), PROT_READ),
			 0);
	assert_args(fake_addr(fake, FIRST), bytes(3), PROT_READ, 0, 0);
	assert_int_equal(
		gpusvm_pkey_mprotect(window(FIRST), bytes(2), PROT_NONE, 5), 0);
	assert_args(fake_addr(fake, FIRST), bytes(2), PROT_NONE, 5, 0);
	assert_string_equal(trace, "Ps.Ps.");
	assert_told(0, MMU_NOTIFY_PROTECTION_VMA, FIRST, 3);
	assert_told(1, MMU_NOTIFY_PROTECTION_VMA, FIRST, 2);
	assert_freed(0, 0);
	sys_returns(-EACCES);
	assert_int_equal(gpusvm_mprotect(window(FIRST), bytes(3), PROT_READ),
			 -1);
	assert_int_equal(errno, EACCES);
	errno = 0;
	assert_int_equal(gpusvm_pkey_mprotect(window(FIRST), bytes(2),
					      PROT_NONE, 5),
			 -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(mm->notifiers.active, 0);
}

/* ---- madvise() ---- */

static void advice_that_drops_is_told_and_drops(void **state)
{
	static const int advice[] = { MADV_DONTNEED, MADV_FREE, MADV_REMOVE,
				      MADV_DONTNEED_LOCKED,
				      MADV_GUARD_INSTALL };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		forget_record();
		assert_int_equal(gpusvm_madvise(window(FIRST + i), PAGE_SIZE,
						advice[i]),
				 0);
		assert_args(fake_addr(fake, FIRST + i), PAGE_SIZE,
			    (unsigned long)advice[i], 0, 0);
		assert_string_equal(trace, "Cs.");
		assert_told(0, MMU_NOTIFY_CLEAR, FIRST + i, 1);
		assert_freed(0, i + 1);
	}
}

static void advice_that_replaces_is_told_and_keeps(void **state)
{
	static const int advice[] = { MADV_PAGEOUT, MADV_COLLAPSE,
				      MADV_HWPOISON, MADV_SOFT_OFFLINE };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		forget_record();
		assert_int_equal(
			gpusvm_madvise(window(FIRST), bytes(N), advice[i]), 0);
		assert_string_equal(trace, "Cs.");
	}
	assert_freed(0, 0);
}

static void other_advice_is_bare(void **state)
{
	static const int advice[] = { MADV_NORMAL,   MADV_WILLNEED,
				      MADV_HUGEPAGE, MADV_DONTFORK,
				      MADV_COLD,     9999 };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(advice); i++)
		assert_int_equal(
			gpusvm_madvise(window(FIRST), bytes(N), advice[i]), 0);
	assert_string_equal(trace, "ssssss");
	assert_freed(0, 0);
}

static void kernel_removes_in_two(const unsigned long *args)
{
	unsigned long first = (args[0] - fake->start) >> PAGE_SHIFT;
	unsigned long n = args[1] >> PAGE_SHIFT;

	tell(SOURCE_REMOVE, first, 1, 0);
	tell(SOURCE_REMOVE, first + 1, n - 1, 0);
}

static void madvise_told_for_each_mapping_is_told_once(void **state)
{
	(void)state;
	sys_during = kernel_removes_in_two;
	assert_int_equal(gpusvm_madvise(window(FIRST), bytes(5), MADV_DONTNEED),
			 0);
	assert_string_equal(trace, "Cs.");
	assert_freed(0, 5);
}

static void madvise_over_holes_drops_what_was_there(void **state)
{
	(void)state;
	sys_returns(-ENOMEM);
	assert_int_equal(
		gpusvm_madvise(window(FIRST - 2), bytes(5), MADV_DONTNEED), -1);
	assert_int_equal(errno, ENOMEM);
	assert_freed(0, 3);
	sys_returns(-EINVAL);
	assert_int_equal(gpusvm_madvise(window(FIRST), bytes(5), MADV_DONTNEED),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_freed(0, 3);
}

/* ---- Without an address space, without memory ---- */

static void call_everything(void)
{
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(map_fixed(MAP_FIXED), window(40));
	assert_ptr_equal(gpusvm_mremap(window(FIRST), bytes(N), bytes(3), 0,
				       NULL),
			 window(40));
	assert_ptr_equal(gpusvm_mremap(window(FIRST), bytes(N), bytes(12),
				       MREMAP_MAYMOVE | MREMAP_FIXED,
				       window(40)),
			 window(40));
	sys_returns(0);
	assert_int_equal(gpusvm_munmap(window(FIRST), bytes(N)), 0);
	assert_int_equal(gpusvm_mprotect(window(FIRST), bytes(N), 0), 0);
	assert_int_equal(gpusvm_pkey_mprotect(window(FIRST), bytes(N), 0, 0),
			 0);
	assert_int_equal(gpusvm_madvise(window(FIRST), bytes(N), MADV_FREE), 0);
	assert_string_equal(trace, "sssssss");
	assert_freed(0, 0);
}

static void no_address_space_makes_all_bare(void **state)
{
	(void)state;
	current = NULL;
	call_everything();
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), 0);
}

static void closed_address_space_makes_all_bare(void **state)
{
	(void)state;
	mm->users = 0;
	call_everything();
	mm->users = 1;
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), 0);
}

static void no_memory_makes_all_bare(void **state)
{
	(void)state;
	no_memory = true;
	call_everything();
	no_memory = false;
}

/* ---- process_madvise() ---- */

static bool is_self, self_asked;

bool __wrap_gpusvm_hooks_is_self(int pidfd);
bool __wrap_gpusvm_hooks_is_self(int pidfd)
{
	assert_int_equal(pidfd, 7);
	self_asked = true;
	return is_self;
}

static struct iovec advised[4];
static unsigned int times_advised;

static bool advise(const unsigned long *args, long *ret)
{
	if (args[1] == (unsigned long)advised) {
		/* The program's own, all at once. */
		note('s');
		*ret = sys_results[0];
		return true;
	}
	assert_int_equal(args[2], 1);
	assert_true(times_advised < ARRAY_SIZE(advised));
	on_sys(args, ret);
	assert_memory_equal((void *)args[1], &advised[times_advised],
			    sizeof(advised[0]));
	if (!*ret)
		*ret = (long)advised[times_advised].iov_len;
	times_advised++;
	return true;
}

static int advise_setup(void **state)
{
	int err = hooks_setup(state);

	fake_sys_hook(FAKE_SYS_PROCESS_MADVISE, advise);
	is_self = true;
	self_asked = false;
	times_advised = 0;
	advised[0] = (struct iovec){ window(FIRST), bytes(1) };
	advised[1] = (struct iovec){ window(40), 0 };
	advised[2] = (struct iovec){ window(FIRST + 3), bytes(2) };
	return err;
}

#define advise_test(fn) \
	cmocka_unit_test_setup_teardown(fn, advise_setup, change_teardown)

static void process_madvise_on_ourselves_is_madvise_of_each(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_process_madvise(7, advised, 3, MADV_DONTNEED,
						0),
			 bytes(3));
	assert_string_equal(trace, "Cs.sCs.");
	assert_told(0, MMU_NOTIFY_CLEAR, FIRST, 1);
	assert_told(1, MMU_NOTIFY_CLEAR, FIRST + 3, 2);
	assert_int_equal(sys_args[0], 7);
	assert_int_equal(sys_args[3], MADV_DONTNEED);
	assert_int_equal(mm->pt.npages, N - 3);
}

static void process_madvise_that_replaces_drops_nothing(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_process_madvise(7, advised, 1, MADV_PAGEOUT, 0),
			 bytes(1));
	assert_string_equal(trace, "Cs.");
	assert_freed(0, 0);
}

static void process_madvise_that_fails_tells_how_far_it_got(void **state)
{
	(void)state;
	sys_results[2] = -EINVAL;
	assert_int_equal(gpusvm_process_madvise(7, advised, 3, MADV_DONTNEED,
						0),
			 bytes(1));
	assert_int_equal(mm->pt.npages, N - 1);
	times_advised = 0;
	sys_returns(-EPERM);
	assert_int_equal(
		gpusvm_process_madvise(7, advised, 3, MADV_DONTNEED, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_string_equal(trace, "Cs.sCs.Cs.");
}

static void process_madvise_elsewhere_is_bare(void **state)
{
	(void)state;
	is_self = false;
	assert_int_equal(
		gpusvm_process_madvise(7, advised, 3, MADV_DONTNEED, 0), 0);
	assert_true(self_asked);
	is_self = true;
	self_asked = false;
	assert_int_equal(
		gpusvm_process_madvise(7, advised, 3, MADV_WILLNEED, 0), 0);
	assert_int_equal(
		gpusvm_process_madvise(7, advised, 1025, MADV_DONTNEED, 0), 0);
	current = NULL;
	assert_int_equal(
		gpusvm_process_madvise(7, advised, 3, MADV_DONTNEED, 0), 0);
	assert_false(self_asked);
	assert_string_equal(trace, "ssss");
	assert_freed(0, 0);
}

static void process_madvise_of_a_list_that_is_not_there_is_bare(void **state)
{
	struct iovec *nowhere = (struct iovec *)8;

	(void)state;
	fake_sys_hook(FAKE_SYS_PROCESS_MADVISE, on_sys);
	sys_returns(-EFAULT);
	assert_int_equal(
		gpusvm_process_madvise(7, nowhere, 2, MADV_DONTNEED, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_string_equal(trace, "s");
	assert_args(7, 8, 1, MADV_DONTNEED, 0);
}

/* ---- remap_file_pages() ---- */

static void remap_file_pages_tells_what_goes(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_REMAP_FILE_PAGES, on_sys);
	/* The kernel rounds both down. */
	assert_int_equal(gpusvm_remap_file_pages((char *)window(FIRST) + 5,
						 bytes(2) + 9, 0, 3, 1),
			 0);
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, 2);
	assert_args(fake_addr(fake, FIRST) + 5, bytes(2) + 9, 0, 3, 1);
	sys_returns(-EINVAL);
	assert_int_equal(gpusvm_remap_file_pages(window(FIRST + 4), bytes(1), 0,
						 0, 0),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_freed(0, 2);
}

/* ---- errno ---- */

static void success_leaves_errno_alone(void **state)
{
	(void)state;
	errno = EDOM;
	assert_int_equal(gpusvm_mprotect(window(FIRST), bytes(1), PROT_READ),
			 0);
	assert_int_equal(gpusvm_pkey_mprotect(window(FIRST), bytes(1),
					      PROT_READ, -1),
			 0);
	assert_int_equal(gpusvm_madvise(window(FIRST), bytes(1), MADV_DONTNEED),
			 0);
	assert_int_equal(gpusvm_munmap(window(FIRST + 1), bytes(1)), 0);
	sys_returns((long)fake_addr(fake, FIRST + 2));
	assert_ptr_equal(gpusvm_mmap(window(FIRST + 2), bytes(1), PROT_READ,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				     -1, 0),
			 window(FIRST + 2));
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(gpusvm_mremap(window(FIRST + 3), bytes(2), bytes(1),
				       MREMAP_MAYMOVE | MREMAP_FIXED,
				       window(40)),
			 window(40));
	assert_string_equal(trace, "Ps.Ps.Cs.Us.Us.UUUs..U..");
	assert_int_equal(errno, EDOM);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		hook_test(munmap_tells_calls_and_ends),
		hook_test(munmap_untold_drops_all_the_same),
		hook_test(munmap_that_fails_drops_nothing),
		hook_test(mmap_over_something_tells_what_goes),
		hook_test(mmap_elsewhere_is_bare),
		hook_test(mmap_that_fails_drops_nothing),
		hook_test(mprotect_tells_of_protection),
		hook_test(advice_that_drops_is_told_and_drops),
		hook_test(advice_that_replaces_is_told_and_keeps),
		hook_test(other_advice_is_bare),
		hook_test(madvise_told_for_each_mapping_is_told_once),
		hook_test(madvise_over_holes_drops_what_was_there),
		hook_test(no_address_space_makes_all_bare),
		hook_test(closed_address_space_makes_all_bare),
		hook_test(no_memory_makes_all_bare),
		advise_test(process_madvise_on_ourselves_is_madvise_of_each),
		advise_test(process_madvise_that_replaces_drops_nothing),
		advise_test(process_madvise_that_fails_tells_how_far_it_got),
		advise_test(process_madvise_elsewhere_is_bare),
		advise_test(
			process_madvise_of_a_list_that_is_not_there_is_bare),
		hook_test(remap_file_pages_tells_what_goes),
		hook_test(success_leaves_errno_alone),
	};

	return cmocka_run_group_tests_name("hooks", tests, NULL, NULL);
}
