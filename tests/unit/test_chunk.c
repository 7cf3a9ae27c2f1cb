/* SPDX-License-Identifier: MIT */
/*
 * How large a range becomes: each limit by itself, and random limits together
 * against a model that looks at every page.
 */
#include "unit_svm.h"

#include "itree.h"

static uint64_t seed;
static const unsigned long sizes[] = { 16, 4, 1 }; /* in pages */
static unsigned long size_list[3];
static struct drm_gpusvm_notifier notifier;
static struct drm_gpusvm_range taken;
static struct drm_gpusvm_ctx ctx;

static int setup(void **state)
{
	unsigned int i;

	if (svm_setup(state))
		return -1;
	for (i = 0; i < 3; i++)
		size_list[i] = sizes[i] * PAGE_SIZE;
	svm->chunk_sizes = size_list;
	svm->num_chunks = 3;
	memset(&notifier, 0, sizeof(notifier));
	notifier.gpusvm = svm;
	notifier.itree.start = fake_addr(fake, 0);
	notifier.itree.last = fake_addr(fake, WINDOW) - 1;
	memset(&ctx, 0, sizeof(ctx));
	return 0;
}

/* In pages; 0 for none. */
static unsigned long chunk(unsigned long i, unsigned long first,
			   unsigned long end)
{
	unsigned long addr = fake_addr(fake, i);
	struct vma vma;

	assert_int_equal(gpusvm_vma_find(mm, addr, &vma), 0);
	return gpusvm_chunk_size(svm, &notifier, &vma, addr,
				 fake_addr(fake, first), fake_addr(fake, end),
				 &ctx) >>
	       PAGE_SHIFT;
}

static void take(unsigned long first, unsigned long n)
{
	taken.itree.start = fake_addr(fake, first);
	taken.itree.last = fake_addr(fake, first + n) - 1;
	gpusvm_itree_insert(&notifier.root, &taken.itree);
}

static void give(void)
{
	gpusvm_itree_remove(&notifier.root, &taken.itree);
}

static void chunk_without_limits_is_the_largest(void **state)
{
	(void)state;
	assert_int_equal(chunk(0, 0, WINDOW), 16);
	assert_int_equal(chunk(15, 0, WINDOW), 16);
	assert_int_equal(chunk(63, 0, WINDOW), 16);
}

static void chunk_stays_inside_gpuva(void **state)
{
	(void)state;
	assert_int_equal(chunk(5, 1, WINDOW), 4);
	assert_int_equal(chunk(1, 1, WINDOW), 1);
	assert_int_equal(chunk(5, 4, 8), 4);
	assert_int_equal(chunk(5, 5, 8), 1);
	assert_int_equal(chunk(5, 6, 8), 0);
}

static void chunk_stays_inside_the_notifier(void **state)
{
	(void)state;
	notifier.itree.last = fake_addr(fake, 8) - 1;
	assert_int_equal(chunk(5, 0, WINDOW), 4);
	notifier.itree.start = fake_addr(fake, 5);
	assert_int_equal(chunk(5, 0, WINDOW), 1);
}

static void chunk_stays_inside_the_mapping(void **state)
{
	(void)state;
	mprotect(window(6), PAGE_SIZE, PROT_READ);
	assert_int_equal(chunk(3, 0, WINDOW), 4);
	assert_int_equal(chunk(5, 0, WINDOW), 1);
	assert_int_equal(chunk(6, 0, WINDOW), 1);
	assert_int_equal(chunk(7, 0, WINDOW), 1);
	assert_int_equal(chunk(16, 0, WINDOW), 16);
	mprotect(window(6), PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void chunk_does_not_overlap_a_range(void **state)
{
	(void)state;
	take(4, 1);
	assert_int_equal(chunk(0, 0, WINDOW), 4);
	assert_int_equal(chunk(5, 0, WINDOW), 1);
	assert_int_equal(chunk(16, 0, WINDOW), 16);
	give();
}

static void chunk_up_to_the_threshold_is_populated(void **state)
{
	(void)state;
	ctx.check_pages_threshold = 4 * PAGE_SIZE;
	/* Larger ones are not looked at. */
	assert_int_equal(chunk(0, 0, WINDOW), 16);
	ctx.check_pages_threshold = 16 * PAGE_SIZE;
	assert_int_equal(chunk(0, 0, WINDOW), 1);
	fake_fill(window(0), 4, 1);
	assert_int_equal(chunk(0, 0, WINDOW), 4);
	fake_fill(window(0), 16, 1);
	assert_int_equal(chunk(0, 0, WINDOW), 16);
}

static void chunk_without_small_sizes_may_be_none(void **state)
{
	(void)state;
	svm->num_chunks = 1;
	assert_int_equal(chunk(5, 1, WINDOW), 0);
	assert_int_equal(chunk(17, 1, WINDOW), 16);
}

/* ---- Against a model ---- */

struct limits {
	unsigned long first, end; /* of gpuva */
	unsigned long slot_first, slot_end;
	unsigned long taken_first, taken_n;
	bool present[WINDOW];
};

static unsigned long model(const struct limits *l, unsigned long i)
{
	unsigned long s, j, start;
	bool fits;

	for (s = 0; s < 3; s++) {
		start = i - i % sizes[s];
		fits = true;
		for (j = start; j < start + sizes[s]; j++) {
			fits &= j >= l->first && j < l->end &&
				j >= l->slot_first && j < l->slot_end;
			if (sizes[s] == 1)
				continue;
			fits &= j < l->taken_first ||
				j >= l->taken_first + l->taken_n;
			fits &= sizes[s] * PAGE_SIZE >
					ctx.check_pages_threshold ||
				l->present[j];
		}
		if (fits)
			return sizes[s];
	}
	return 0;
}

static void random_limits_agree_with_the_model(void **state)
{
	struct limits l = { 0 };
	uint64_t random = seed;
	unsigned long round, i;

	(void)state;
	for (round = 0; round < 300; round++) {
		l.first = unit_random_below(&random, 20);
		l.end = WINDOW - unit_random_below(&random, 20);
		l.slot_first = 8 * unit_random_below(&random, 3);
		l.slot_end = WINDOW - 8 * unit_random_below(&random, 3);
		l.taken_first = unit_random_below(&random, WINDOW - 4);
		l.taken_n = 1 + unit_random_below(&random, 4);
		ctx.check_pages_threshold =
			unit_random_below(&random, 3) * 4 * PAGE_SIZE;
		notifier.itree.start = fake_addr(fake, l.slot_first);
		notifier.itree.last = fake_addr(fake, l.slot_end) - 1;
		i = unit_random_below(&random, WINDOW);
		fake_fill(window(i), 1, 1);
		l.present[i] = true;
		take(l.taken_first, l.taken_n);
		for (i = 0; i < WINDOW; i += 3)
			assert_int_equal(chunk(i, l.first, l.end),
					 model(&l, i));
		give();
	}
}

#define chunk_test(fn) cmocka_unit_test_setup_teardown(fn, setup, svm_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		chunk_test(chunk_without_limits_is_the_largest),
		chunk_test(chunk_stays_inside_gpuva),
		chunk_test(chunk_stays_inside_the_notifier),
		chunk_test(chunk_stays_inside_the_mapping),
		chunk_test(chunk_does_not_overlap_a_range),
		chunk_test(chunk_up_to_the_threshold_is_populated),
		chunk_test(chunk_without_small_sizes_may_be_none),
		chunk_test(random_limits_agree_with_the_model),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
