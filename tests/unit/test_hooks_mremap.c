/* SPDX-License-Identifier: MIT */
/*
 * mremap() in all its forms: who is told, and that device pages are where the
 * mapping is afterwards.
 */
#include "unit_change.h"

#include "uapi.h"

/* ---- mremap(): cut off ---- */

static void *resize(unsigned long old, unsigned long new, int flags,
		    unsigned long to)
{
	return gpusvm_mremap(window(FIRST), bytes(old), bytes(new), flags,
			     window(to));
}

static void mremap_that_shrinks_drops_the_tail(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(resize(N, 3, MREMAP_MAYMOVE, 40), window(FIRST));
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST + 3, N - 3);
	assert_args(fake_addr(fake, FIRST), bytes(N), bytes(3), MREMAP_MAYMOVE,
		    0);
	assert_freed(3, N - 3);
	assert_on_device(FIRST + 2, 2);
	sys_returns(-EFAULT);
	assert_ptr_equal(resize(3, 1, 0, 40), MAP_FAILED);
	assert_int_equal(errno, EFAULT);
	assert_freed(3, N - 3);
}

/* ---- mremap(): grow ---- */

static void mremap_that_grows_in_place_is_bare(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), window(FIRST));
	assert_args(fake_addr(fake, FIRST), bytes(N), bytes(12), 0, 0);
	assert_ptr_equal(resize(N, N, 0, 0), window(FIRST));
	assert_string_equal(trace, "ss");
	assert_freed(0, 0);
}

static void mremap_that_cannot_grow_in_place_moves(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, 30));
	sys_results[0] = -ENOMEM;
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), window(30));
	/* As in the kernel, once more at the end. */
	assert_string_equal(trace, "sUsU..");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_told(1, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_args(fake_addr(fake, FIRST), bytes(N), bytes(12), MREMAP_MAYMOVE,
		    0);
	assert_on_device(30, 0);
	assert_on_device(30 + N - 1, N - 1);
	assert_null(entry_at(FIRST));
	assert_freed(0, 0);
}

/* Another thread unmapped what was behind it. */
static void mremap_that_can_grow_in_place_by_then_stays(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	sys_results[0] = -ENOMEM;
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), window(FIRST));
	assert_string_equal(trace, "sUs.");
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + N - 1, N - 1);
	assert_freed(0, 0);
}

static void kernel_remaps(const unsigned long *args)
{
	if (sys_calls == 2)
		tell(SOURCE_REMAP, FIRST, args[1] >> PAGE_SHIFT, 30);
}

static void mremap_told_by_the_source_moves_once(void **state)
{
	(void)state;
	sys_during = kernel_remaps;
	sys_returns((long)fake_addr(fake, 30));
	sys_results[0] = -ENOMEM;
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), window(30));
	assert_string_equal(trace, "sUsU..");
	assert_on_device(30, 0);
	assert_freed(0, 0);
}

static void mremap_that_may_not_move_returns_enomem(void **state)
{
	(void)state;
	sys_returns(-ENOMEM);
	assert_ptr_equal(resize(N, 12, 0, 0), MAP_FAILED);
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(trace, "s");
	/* Nowhere to go. */
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), MAP_FAILED);
	assert_string_equal(trace, "ssUs.");
	assert_freed(0, 0);
	sys_returns(-EFAULT);
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), MAP_FAILED);
	assert_int_equal(errno, EFAULT);
	assert_string_equal(trace, "ssUs.s");
}

/* ---- mremap(): move ---- */

/* Pages 40 ... of the program have device pages of another allocation. */
#define OTHERS 3ul

static struct fake_owner other;
static struct dev_pagemap *second;

static void put_others_at(unsigned long first)
{
	unsigned long i;

	other = (struct fake_owner){ .refs = 1 };
	second = fake_devmem_create(OTHERS);
	for (i = 0; i < OTHERS; i++) {
		assert_int_equal(gpusvm_page_init(&second->pages[i], &other),
				 0);
		assert_int_equal(gpusvm_devpt_set(&mm->pt,
						  fake_addr(fake, first + i),
						  &second->pages[i]),
				 0);
	}
}

static void assert_others_gone(void)
{
	assert_int_equal(other.refs, 1);
	assert_true(fake_devmem_destroy(second));
}

#define MOVE_TO (MREMAP_MAYMOVE | MREMAP_FIXED)

static void mremap_over_others_drops_those(void **state)
{
	(void)state;
	put_others_at(40);
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, N, MOVE_TO, 40), window(40));
	assert_string_equal(trace, "UUs.U..");
	assert_told(0, MMU_NOTIFY_UNMAP, 40, N);
	assert_told(1, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_told(2, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_args(fake_addr(fake, FIRST), bytes(N), bytes(N), MOVE_TO,
		    fake_addr(fake, 40));
	assert_others_gone();
	assert_on_device(40, 0);
	assert_on_device(40 + N - 1, N - 1);
	assert_freed(0, 0);
}

/* In the kernel's order: what is replaced, what has moved, what is cut off. */
static void kernel_replaces_and_cuts(const unsigned long *args)
{
	unsigned long to = (args[4] - fake->start) >> PAGE_SHIFT;
	unsigned long old = args[1] >> PAGE_SHIFT, new = args[2] >> PAGE_SHIFT;

	tell(SOURCE_UNMAP, to, new, 0);
	tell(SOURCE_REMAP, FIRST, min(old, new), to);
	if (old > new)
		tell(SOURCE_UNMAP, FIRST + new, old - new, 0);
}

static void mremap_over_others_told_drops_those_once(void **state)
{
	(void)state;
	put_others_at(40);
	sys_during = kernel_replaces_and_cuts;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, N, MOVE_TO, 40), window(40));
	assert_string_equal(trace, "UUs.U..");
	assert_others_gone();
	assert_on_device(40, 0);
	assert_on_device(40 + N - 1, N - 1);
	assert_freed(0, 0);
}

/* What moved there must not be taken for what was there. */
static void
kernel_moves_without_telling_what_it_replaced(const unsigned long *args)
{
	(void)args;
	tell(SOURCE_REMAP, FIRST, N, 40);
}

static void mremap_told_in_part_keeps_what_moved(void **state)
{
	(void)state;
	sys_during = kernel_moves_without_telling_what_it_replaced;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, N, MOVE_TO, 40), window(40));
	assert_on_device(40, 0);
	assert_freed(0, 0);
}

static void check_move_and_shrink(void)
{
	put_others_at(40);
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, 5, MOVE_TO, 40), window(40));
	assert_string_equal(trace, "UUUs..U..");
	assert_told(0, MMU_NOTIFY_UNMAP, 40, 5);
	assert_told(1, MMU_NOTIFY_UNMAP, FIRST + 5, N - 5);
	assert_told(2, MMU_NOTIFY_UNMAP, FIRST, 5);
	assert_told(3, MMU_NOTIFY_UNMAP, FIRST, 5);
	assert_others_gone();
	assert_on_device(40, 0);
	assert_on_device(44, 4);
	assert_freed(5, N - 5);
}

static void mremap_that_moves_and_shrinks(void **state)
{
	(void)state;
	check_move_and_shrink();
}

static void mremap_that_moves_and_shrinks_told(void **state)
{
	(void)state;
	sys_during = kernel_replaces_and_cuts;
	check_move_and_shrink();
}

static void mremap_that_leaves_the_old_mapping(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, N, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 20),
			 window(40));
	/* The kernel does not tell a second time there, nor where @to is. */
	assert_string_equal(trace, "Us.");
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST, N);
	assert_args(fake_addr(fake, FIRST), bytes(N), bytes(N),
		    MREMAP_MAYMOVE | MREMAP_DONTUNMAP, fake_addr(fake, 20));
	assert_on_device(40, 0);
	assert_null(entry_at(FIRST));
	assert_freed(0, 0);
}

static void kernel_fails_half_done(const unsigned long *args)
{
	(void)args;
	tell(SOURCE_UNMAP, 40, N, 0);
}

static void mremap_that_fails_half_done_keeps_the_source(void **state)
{
	(void)state;
	put_others_at(40);
	sys_during = kernel_fails_half_done;
	sys_returns(-EFAULT);
	assert_ptr_equal(resize(N, N, MOVE_TO, 40), MAP_FAILED);
	assert_int_equal(errno, EFAULT);
	assert_string_equal(trace, "UUs..");
	assert_others_gone();
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + N - 1, N - 1);
	assert_freed(0, 0);
}

static void mremap_that_fails_at_once_keeps_all(void **state)
{
	unsigned long i;

	(void)state;
	put_others_at(40);
	sys_returns(-EINVAL);
	assert_ptr_equal(resize(N, 5, MOVE_TO, 40), MAP_FAILED);
	assert_string_equal(trace, "UUUs...");
	assert_on_device(FIRST, 0);
	assert_int_equal(mm->pt.npages, N + OTHERS);
	for (i = 0; i < OTHERS; i++)
		gpusvm_page_put(
			gpusvm_devpt_clear(&mm->pt, fake_addr(fake, 40 + i)));
	assert_others_gone();
}

static void mremap_of_nothing_is_the_kernels_to_refuse(void **state)
{
	unsigned long addr = fake_addr(fake, FIRST);

	(void)state;
	sys_returns(-EINVAL);
	assert_ptr_equal(gpusvm_mremap((void *)(addr + 1), 5, 7, MOVE_TO,
				       window(40)),
			 MAP_FAILED);
	assert_args(addr + 1, 5, 7, MOVE_TO, fake_addr(fake, 40));
	assert_ptr_equal(gpusvm_mremap((void *)addr, 5, 0, MOVE_TO, window(40)),
			 MAP_FAILED);
	assert_args(addr, 5, 0, MOVE_TO, fake_addr(fake, 40));
	assert_ptr_equal(gpusvm_mremap((void *)addr, ~0ul, 5, 0, NULL),
			 MAP_FAILED);
	assert_args(addr, ~0ul, 5, 0, 0);
	assert_string_equal(trace, "sss");
	assert_int_equal(errno, EINVAL);
	assert_freed(0, 0);
}

/* Another mapping of shared memory; the first one stays. */
static void mremap_of_size_0_replaces_at_most(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(0, 2, MREMAP_MAYMOVE, 0), window(40));
	assert_args(fake_addr(fake, FIRST), 0, bytes(2), MREMAP_MAYMOVE,
		    fake_addr(fake, 0));
	assert_string_equal(trace, "s");
	put_others_at(40);
	assert_ptr_equal(resize(0, OTHERS, MOVE_TO, 40), window(40));
	assert_args(fake_addr(fake, FIRST), 0, bytes(OTHERS), MOVE_TO,
		    fake_addr(fake, 40));
	assert_string_equal(trace, "sUs.");
	assert_told(0, MMU_NOTIFY_UNMAP, 40, OTHERS);
	assert_others_gone();
	assert_freed(0, 0);
}

static void mremap_rounds_sizes_as_the_kernel_does(void **state)
{
	(void)state;
	sys_returns((long)fake_addr(fake, FIRST));
	assert_ptr_equal(gpusvm_mremap(window(FIRST), bytes(N) - 5,
				       bytes(2) + 1, 0, NULL),
			 window(FIRST));
	assert_told(0, MMU_NOTIFY_UNMAP, FIRST + 3, N - 3);
	assert_freed(3, N - 3);
	/* The same number of pages: nothing goes. */
	assert_ptr_equal(gpusvm_mremap(window(FIRST), bytes(3) - 1,
				       bytes(3) - 2, 0, NULL),
			 window(FIRST));
	assert_int_equal(times_told, 1);
}

/* ---- Mappings in pieces ---- */

static void mremap_unites_what_the_source_split(void **state)
{
	unsigned int traps = fake_source_count(fake, FAKE_OP_TRAP);

	(void)state;
	/* One mapping for the program, two for the kernel. */
	madvise(window(FIRST + 4), bytes(4), MADV_DONTFORK);
	sys_returns((long)fake_addr(fake, FIRST));
	sys_results[0] = -EFAULT;
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), window(FIRST));
	assert_string_equal(trace, "ss");
	assert_int_equal(fake_source_count(fake, FAKE_OP_TRAP), traps + 1);
	assert_true(fake_source_called(fake, FAKE_OP_TRAP,
				       fake_addr(fake, FIRST + N - 1)));
	/* Before a move, too. */
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, N, MOVE_TO, 40), window(40));
	assert_int_equal(fake_source_count(fake, FAKE_OP_TRAP), traps + 2);
	/* Not what the program itself has in pieces. */
	mprotect(window(FIRST + 4), bytes(4), PROT_READ);
	sys_returns(-EFAULT);
	assert_ptr_equal(resize(N, 12, MREMAP_MAYMOVE, 0), MAP_FAILED);
	assert_int_equal(sys_calls, 1);
	assert_int_equal(fake_source_count(fake, FAKE_OP_TRAP), traps + 2);
	mprotect(window(FIRST + 4), bytes(4), PROT_READ | PROT_WRITE);
	madvise(window(FIRST + 4), bytes(4), MADV_DOFORK);
}

static void locks_are_taken_with_signals_blocked(void **state)
{
	(void)state;
	put_others_at(40);
	watch_locks = true;
	sys_returns((long)fake_addr(fake, 40));
	assert_ptr_equal(resize(N, 5, MOVE_TO, 40), window(40));
	watch_locks = false;
	assert_true(locks_taken > 10);
	assert_int_equal(open_locks, 0);
	assert_others_gone();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		hook_test(mremap_that_shrinks_drops_the_tail),
		hook_test(mremap_that_grows_in_place_is_bare),
		hook_test(mremap_that_cannot_grow_in_place_moves),
		hook_test(mremap_that_can_grow_in_place_by_then_stays),
		hook_test(mremap_told_by_the_source_moves_once),
		hook_test(mremap_that_may_not_move_returns_enomem),
		hook_test(mremap_over_others_drops_those),
		hook_test(mremap_over_others_told_drops_those_once),
		hook_test(mremap_told_in_part_keeps_what_moved),
		hook_test(mremap_that_moves_and_shrinks),
		hook_test(mremap_that_moves_and_shrinks_told),
		hook_test(mremap_that_leaves_the_old_mapping),
		hook_test(mremap_that_fails_half_done_keeps_the_source),
		hook_test(mremap_that_fails_at_once_keeps_all),
		hook_test(mremap_of_nothing_is_the_kernels_to_refuse),
		hook_test(mremap_of_size_0_replaces_at_most),
		hook_test(mremap_rounds_sizes_as_the_kernel_does),
		hook_test(mremap_unites_what_the_source_split),
		hook_test(locks_are_taken_with_signals_blocked),
	};

	return cmocka_run_group_tests_name("hooks_mremap", tests, NULL, NULL);
}
