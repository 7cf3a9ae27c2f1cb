/* SPDX-License-Identifier: MIT */
/*
 * mremap() on a kernel that moves one of its mappings by a call: what a source
 * that guards has left in parts moves and grows all the same.
 */
#include "unit_change.h"

#include "remap.h"
#include "sys.h"
#include "uapi.h"

#include "vma.h"

#define FROM 20ul
#define TO 40ul

static struct source_ops guarding;
static const struct source_ops *without;
/* Of the calls for one mapping the one with this number fails, or all from it. */
static unsigned int calls, fails;
static bool fail_on;

static int guard(struct source *source, unsigned long start, unsigned long end,
		 int prot)
{
	(void)source;
	(void)start;
	(void)end;
	(void)prot;
	return 0;
}

static int guarded(struct source *source, unsigned long addr,
		   unsigned long *start, unsigned long *end)
{
	(void)source;
	(void)addr;
	(void)start;
	(void)end;
	return -ENOENT;
}

/* As before Linux 6.17. */
static bool one_mapping_at_once(const unsigned long *args, long *ret)
{
	struct vma vma;

	*ret = -EFAULT;
	if (gpusvm_vma_piece(mm, args[0], &vma) || vma.end < args[0] + args[1])
		return true;
	*ret = -ENOMEM;
	calls++;
	return fails && (fail_on ? calls >= fails : calls == fails);
}

/* Four pages in three parts, with data. */
static int setup(void **state)
{
	int err = change_setup(state);

	without = mm->source->ops;
	guarding = *without;
	guarding.guard = guard;
	guarding.guarded = guarded;
	mm->source->ops = &guarding;
	fake_sys_hook(FAKE_SYS_MREMAP, one_mapping_at_once);
	calls = fails = 0;
	fail_on = false;
	madvise(window(FROM + 1), bytes(1), MADV_DONTFORK);
	fake_fill(window(FROM), 4, 1);
	return err;
}

static int teardown(void **state)
{
	fake->source.ops = without;
	fake_sys_hook(FAKE_SYS_MREMAP, NULL);
	return change_teardown(state);
}

static long move(unsigned long old, unsigned long new, int flags)
{
	return gpusvm_remap_move(fake_addr(fake, FROM), bytes(old), bytes(new),
				 MREMAP_MAYMOVE | flags, fake_addr(fake, TO));
}

static bool is_mapped(unsigned long i)
{
	struct vma vma;

	return !gpusvm_vma_piece(mm, fake_addr(fake, i), &vma) && vma.write;
}

static void parts_move_to_a_place_given(void **state)
{
	(void)state;
	fake_fill(window(TO), 4, 2);
	assert_int_equal(move(4, 4, MREMAP_FIXED), fake_addr(fake, TO));
	assert_true(fake_matches(window(TO), 4, 1));
	assert_false(is_mapped(FROM));
	assert_false(is_mapped(FROM + 3));
	assert_true(is_mapped(FROM + 4));
	assert_true(is_mapped(TO + 4));
}

static void parts_move_to_a_place_of_the_kernels(void **state)
{
	long to;

	(void)state;
	to = move(4, 4, 0);
	assert_false(gpusvm_sys_is_error(to));
	assert_true(fake_matches((void *)to, 4, 1));
	assert_false(is_mapped(FROM));
	assert_int_equal(munmap((void *)to, bytes(4)), 0);
}

static void last_part_grows(void **state)
{
	unsigned char *last;
	long to;

	(void)state;
	to = move(4, 9, 0);
	assert_false(gpusvm_sys_is_error(to));
	assert_true(fake_matches((void *)to, 4, 1));
	last = (unsigned char *)to + bytes(9) - 1;
	assert_int_equal(*last, 0);
	*last = 1;
	assert_int_equal(munmap((void *)to, bytes(9)), 0);
	assert_true(is_mapped(FROM + 4));
}

static void tail_is_cut_off(void **state)
{
	(void)state;
	fake_fill(window(TO), 4, 2);
	assert_int_equal(move(4, 3, MREMAP_FIXED), fake_addr(fake, TO));
	assert_true(fake_matches(window(TO), 3, 1));
	assert_false(is_mapped(FROM + 3));
	assert_true(is_mapped(TO + 3));
}

static void old_mapping_stays_if_asked_for(void **state)
{
	(void)state;
	assert_int_equal(move(4, 4, MREMAP_FIXED | MREMAP_DONTUNMAP),
			 fake_addr(fake, TO));
	assert_true(fake_matches(window(TO), 4, 1));
	assert_true(is_mapped(FROM) && is_mapped(FROM + 3));
	assert_int_equal(*(unsigned char *)window(FROM), 0);
}

static void what_fails_half_done_is_undone(void **state)
{
	struct vma vma;

	(void)state;
	for (fails = 1; fails <= 3; fails++) {
		calls = 0;
		assert_int_equal(move(4, 4, 0), -ENOMEM);
		assert_true(fake_matches(window(FROM), 4, 1));
		/* Into the place of what was there, and out of it. */
		fake_fill(window(TO), 4, 2);
		calls = 0;
		assert_int_equal(move(4, 6, MREMAP_FIXED), -ENOMEM);
		assert_true(fake_matches(window(FROM), 4, 1));
		assert_false(is_mapped(TO));
		assert_false(is_mapped(TO + 5));
		assert_int_equal(gpusvm_sys_mmap(fake_addr(fake, TO), bytes(6),
						 PROT_READ | PROT_WRITE,
						 MAP_PRIVATE | MAP_ANONYMOUS |
							 MAP_FIXED,
						 -1, 0),
				 fake_addr(fake, TO));
	}
	assert_int_equal(gpusvm_vma_piece(mm, fake_addr(fake, FROM + 1), &vma),
			 0);
}

/* Where it is then is in the log. */
static void what_cannot_be_undone_is_not_lost(void **state)
{
	unsigned char first, rest;

	(void)state;
	first = *(unsigned char *)window(FROM);
	rest = *(unsigned char *)window(FROM + 1);
	fake_fill(window(TO), 6, 2);
	fails = 2;
	fail_on = true;
	assert_int_equal(move(4, 6, MREMAP_FIXED), -ENOMEM);
	assert_false(is_mapped(FROM));
	assert_true(fake_matches(window(TO), 1, 1));
	assert_int_equal(*(unsigned char *)window(TO), first);
	assert_false(is_mapped(TO + 1));
	assert_false(is_mapped(TO + 5));
	assert_true(is_mapped(FROM + 1) && is_mapped(FROM + 3));
	assert_int_equal(*(unsigned char *)window(FROM + 1), rest);
}

static void last_part_grows_where_it_is(void **state)
{
	(void)state;
	assert_int_equal(munmap(window(FROM + 4), bytes(2)), 0);
	assert_int_equal(gpusvm_remap_grow(fake_addr(fake, FROM), bytes(4),
					   bytes(6), 0),
			 fake_addr(fake, FROM));
	assert_true(fake_matches(window(FROM), 4, 1));
	assert_true(is_mapped(FROM + 5));
	/* Now there is no room. */
	assert_int_equal(gpusvm_remap_grow(fake_addr(fake, FROM), bytes(6),
					   bytes(7), 0),
			 -ENOMEM);
}

/* What the program has in parts is for the kernel to refuse. */
static void programs_own_parts_are_refused(void **state)
{
	(void)state;
	assert_int_equal(mprotect(window(FROM), bytes(1), PROT_READ), 0);
	assert_int_equal(move(4, 4, MREMAP_FIXED), -EFAULT);
	assert_int_equal(gpusvm_remap_grow(fake_addr(fake, FROM), bytes(4),
					   bytes(6), 0),
			 -EFAULT);
	assert_int_equal(
		mprotect(window(FROM), bytes(1), PROT_READ | PROT_WRITE), 0);
	/* Nor is it tried for a source that does not guard, or for none. */
	guarding.guard = NULL;
	assert_int_equal(move(4, 4, MREMAP_FIXED), -EFAULT);
	current = NULL;
	assert_int_equal(move(4, 4, MREMAP_FIXED), -EFAULT);
	assert_int_equal(calls, 0);
}

int main(void)
{
#define remap_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {
		remap_test(parts_move_to_a_place_given),
		remap_test(parts_move_to_a_place_of_the_kernels),
		remap_test(last_part_grows),
		remap_test(tail_is_cut_off),
		remap_test(old_mapping_stays_if_asked_for),
		remap_test(what_fails_half_done_is_undone),
		remap_test(what_cannot_be_undone_is_not_lost),
		remap_test(last_part_grows_where_it_is),
		remap_test(programs_own_parts_are_refused),
	};

	return cmocka_run_group_tests_name("remap", tests, NULL, NULL);
}
