/* SPDX-License-Identifier: MIT */
/*
 * drm_gpusvm_migrate_to_devmem(): each reason to refuse, and what every failure
 * on the way leaves behind: memory as it was, no device page in use, the
 * allocation the driver's.
 */
#include "unit_svm_alloc.h"

#include "fence.h"

/* As if it had never been tried, and the next attempt works. */
static void assert_undone(struct drm_gpusvm_range *range, size_t blocks)
{
	assert_true(vram_is_free());
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_int_equal(maps, unmaps);
	assert_int_equal(releases, 0);
	assert_false(gpusvm_completion_done(&alloc.devmem.detached));
	assert_true(fake_matches(window(0), N, 1));
	assert_int_equal(mm->notifiers.active, 0);
	assert_int_equal(mm->notifiers.seq & 1, 0);
	fake_source_forget_plans(fake);
	assert_int_equal(migrate(range, &alloc), 0);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
	assert_int_equal(releases, 0);
}

static void migrate_moves_data_and_binds_the_allocation(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	assert_int_equal(migrate(range, &alloc), 0);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(copies_to_devmem, 1);
	assert_int_equal(maps, N);
	assert_int_equal(unmaps, N);
	assert_true(invalidations > 0);
	/* It dies with its last page, detached first. */
	fake_source_unmap(fake, 0, N);
	settle();
	assert_int_equal(releases, 1);
	assert_true(gpusvm_completion_done(&alloc.devmem.detached));
	assert_true(vram_is_free());
}

static void assert_refused(struct drm_gpusvm_range *range, int expected)
{
	assert_int_equal(migrate(range, &alloc), expected);
	assert_true(vram_is_free());
	assert_int_equal(copies_to_devmem, 0);
	assert_int_equal(maps, 0);
}

static void migrate_checks_what_it_is_given(void **state)
{
	static const struct drm_gpusvm_devmem_ops empty;
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = gpusvm_alloc_live();
	struct drm_gpusvm_devmem_ops ops;

	(void)state;
	range->flags.migrate_devmem = 0;
	assert_refused(range, -EINVAL);
	range->flags.migrate_devmem = 1;
	alloc.devmem.ops = NULL;
	assert_refused(range, -EOPNOTSUPP);
	alloc.devmem.ops = &empty;
	assert_refused(range, -EOPNOTSUPP);
	alloc.devmem.ops = &ops;
	ops = devmem_ops;
	ops.populate_devmem_pfn = NULL;
	assert_refused(range, -EOPNOTSUPP);
	ops = devmem_ops;
	ops.copy_to_devmem = NULL;
	assert_refused(range, -EOPNOTSUPP);
	ops = devmem_ops;
	ops.copy_to_ram = NULL;
	assert_refused(range, -EOPNOTSUPP);
	alloc.devmem.ops = &devmem_ops;
	alloc.devmem.size = (N - 1) * PAGE_SIZE;
	assert_refused(range, -EINVAL);
	alloc.devmem.size = N * PAGE_SIZE;
	mm->users = 0;
	assert_refused(range, -EFAULT);
	mm->users = 1;
	assert_undone(range, blocks);
}

static void map_over(unsigned long first, unsigned long n, int prot, int flags)
{
	assert_ptr_equal(mmap(window(first), n << PAGE_SHIFT, prot,
			      MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0),
			 window(first));
}

static void migrate_checks_the_mapping(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	munmap(window(0), PAGE_SIZE);
	assert_refused(range, -ENOENT);
	map_over(0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	munmap(window(4), PAGE_SIZE);
	assert_refused(range, -EINVAL);
	map_over(4, 1, PROT_READ, MAP_PRIVATE);
	assert_refused(range, -EINVAL);
	map_over(0, N, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_refused(range, -EBUSY);
	map_over(0, N, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static void migrate_without_memory_is_undone(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = gpusvm_alloc_live();
	unsigned int n;
	int err;

	(void)state;
	for (n = 1; n < 50; n++) {
		fail_alloc = n;
		err = migrate(range, &alloc);
		if (fail_alloc) /* there was none to fail */
			break;
		assert_int_equal(err, -ENOMEM);
		assert_true(vram_is_free());
		assert_int_equal(releases, 0);
		assert_true(fake_matches(window(0), N, 1));
	}
	fail_alloc = 0;
	assert_int_equal(err, 0);
	assert_true(n > 5);
	fake_source_unmap(fake, 0, N);
	settle();
	/* The piece of staging memory stays for what comes next. */
	assert_in_range(gpusvm_alloc_live(), blocks, blocks + 2);
}

/* So that staging memory is there and blocks can be counted. */
static size_t warm_up(struct drm_gpusvm_range *range)
{
	assert_int_equal(migrate(range, &alloc), 0);
	assert_int_equal(drm_gpusvm_evict_to_ram(&alloc.devmem), 0);
	assert_int_equal(releases, 1);
	releases = 0;
	init_allocation(&alloc, 0);
	return gpusvm_alloc_live();
}

static void migrate_with_failing_callback_is_undone(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = warm_up(range);

	(void)state;
	fail_populate = 1;
	assert_int_equal(migrate(range, &alloc), -ENXIO);
	fail_to_devmem = 1;
	assert_int_equal(migrate(range, &alloc), -EREMOTEIO);
	fail_map = 1;
	assert_int_equal(migrate(range, &alloc), -EFAULT);
	fail_map = N;
	assert_int_equal(migrate(range, &alloc), -EFAULT);
	assert_undone(range, blocks);
}

static void migrate_with_failing_source_is_undone(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = warm_up(range);

	(void)state;
	fake_source_fail(fake, FAKE_OP_TAKE, -EBUSY);
	assert_int_equal(migrate(range, &alloc), -EBUSY);
	fake_source_forget_plans(fake);
	fake_source_fail(fake, FAKE_OP_TRAP, -ENOMEM);
	assert_int_equal(migrate(range, &alloc), -ENOMEM);
	assert_undone(range, blocks);
}

static void migrate_to_pages_in_use_is_undone(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = warm_up(range);

	(void)state;
	/* The tenth is somebody's: the nine before it are given back. */
	vram.pages[9].refcount = 1;
	assert_int_equal(migrate(range, &alloc), -EBUSY);
	vram.pages[9].refcount = 0;
	assert_undone(range, blocks);
}

static int populate_unknown(struct drm_gpusvm_devmem *devmem,
			    unsigned long npages, unsigned long *pfn)
{
	populate(devmem, npages, pfn);
	pfn[npages - 1] = 1;
	return 0;
}

static void migrate_to_unknown_pages_is_undone(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = warm_up(range);

	(void)state;
	ops.populate_devmem_pfn = populate_unknown;
	alloc.devmem.ops = &ops;
	assert_int_equal(migrate(range, &alloc), -EINVAL);
	alloc.devmem.ops = &devmem_ops;
	assert_undone(range, blocks);
}

static void migrate_twice_returns_efault(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	struct allocation second;

	(void)state;
	assert_int_equal(migrate(range, &alloc), 0);
	init_allocation(&second, N);
	assert_int_equal(migrate(range, &second), -EFAULT);
	assert_int_equal(releases, 0);
	assert_int_equal(mm->pt.npages, N);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
}

/* ---- Beyond the call ---- */

static struct gpusvm_fence *copied;

static int copy_later(struct page **pages, dma_addr_t *dma_addr,
		      unsigned long npages)
{
	int err = copy_to_devmem(pages, dma_addr, npages);

	return err ? err : gpusvm_copy_completes(pages, npages, copied);
}

static int start(struct drm_gpusvm_range *range, struct gpusvm_fence *done)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = 0 };
	int err;

	gpusvm_mm_read_lock(mm);
	err = gpusvm_migrate_to_devmem_start(svm, range, &alloc.devmem, &ctx,
					     done);
	gpusvm_mm_read_unlock(mm);
	return err;
}

static void make_fences(struct gpusvm_fence **done)
{
	assert_int_equal(gpusvm_fence_create(&copied), 0);
	assert_int_equal(gpusvm_fence_create(done), 0);
}

static void put_fences(struct gpusvm_fence *done)
{
	gpusvm_fence_put(copied);
	gpusvm_fence_put(done);
}

static void start_holds_nothing_but_the_pages(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;
	struct drm_gpusvm_range *range = filled_range();
	struct gpusvm_fence *done;
	struct drm_gpusvm_zdd *zdd;

	(void)state;
	make_fences(&done);
	ops.copy_to_devmem = copy_later;
	alloc.devmem.ops = &ops;
	assert_int_equal(start(range, done), 0);
	assert_false(gpusvm_fence_done(done, NULL));
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(mm->notifiers.active, 0);
	assert_int_equal(unmaps, 0);
	zdd = vram.pages[0].zone_device_data;
	assert_int_equal(zdd->holder, 0);
	assert_null(zdd->devmem);
	assert_false(gpusvm_zdd_lock(zdd, 0));
	gpusvm_fence_signal(copied, 0);
	assert_int_equal(gpusvm_fence_wait(done), 0);
	assert_int_equal(unmaps, N);
	assert_ptr_equal(zdd->devmem, &alloc.devmem);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
	put_fences(done);
	assert_int_equal(drm_gpusvm_evict_to_ram(&alloc.devmem), 0);
	assert_true(fake_matches(window(0), N, 1));
}

static void start_that_fails_later_is_undone(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;
	struct drm_gpusvm_range *range = filled_range();
	size_t blocks = warm_up(range);
	struct gpusvm_fence *done;

	(void)state;
	make_fences(&done);
	ops.copy_to_devmem = copy_later;
	alloc.devmem.ops = &ops;
	assert_int_equal(start(range, done), 0);
	gpusvm_fence_signal(copied, -EIO);
	assert_int_equal(gpusvm_fence_wait(done), -EIO);
	put_fences(done);
	alloc.devmem.ops = &devmem_ops;
	/* The thread's last reference to the fence may be on its way. */
	gpusvm_under_way_stop(mm);
	assert_undone(range, blocks);
}

static void start_without_memory_is_undone(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	struct gpusvm_fence *done;
	unsigned int n;
	int err;

	(void)state;
	make_fences(&done);
	for (n = 1; n < 50; n++) {
		fail_alloc = n;
		err = start(range, done);
		if (fail_alloc) /* there was none to fail */
			break;
		assert_int_equal(err, -ENOMEM);
		assert_false(gpusvm_fence_done(done, NULL));
		assert_true(vram_is_free());
		assert_true(fake_matches(window(0), N, 1));
	}
	fail_alloc = 0;
	assert_int_equal(err, 0);
	assert_true(n > 5);
	/* By a copy within the call. */
	assert_true(gpusvm_fence_done(done, NULL));
	put_fences(done);
}

static void start_checks_what_it_is_given(void **state)
{
	struct drm_gpusvm_range *range = filled_range();
	struct gpusvm_fence *done;

	(void)state;
	make_fences(&done);
	assert_int_equal(start(range, NULL), -EINVAL);
	alloc.devmem.size = PAGE_SIZE;
	assert_int_equal(start(range, done), -EINVAL);
	alloc.devmem.size = N * PAGE_SIZE;
	fail_to_devmem = 1;
	assert_int_equal(start(range, done), -EREMOTEIO);
	assert_false(gpusvm_fence_done(done, NULL));
	put_fences(done);
	assert_true(vram_is_free());
}

/* ---- Timeslices ---- */

#define NOW_MS (100ul * 24 * 3600 * 1000) /* since the machine was started */
#define DAY_MS (24ul * 3600 * 1000)

static unsigned long now_ns = NOW_MS * 1000 * 1000;

static void migrate_sets_the_end_of_the_timeslice(void **state)
{
	static const unsigned long timeslices[] = { 0, 1, 300, DAY_MS };
	struct drm_gpusvm_range *range = filled_range();
	unsigned int i;

	(void)state;
	fake_sys_clock(&now_ns, 0);
	for (i = 0; i < ARRAY_SIZE(timeslices); i++) {
		assert_int_equal(migrate_for(range, &alloc, timeslices[i]), 0);
		assert_int_equal(alloc.devmem.timeslice_expiration,
				 NOW_MS + timeslices[i]);
		assert_int_equal(drm_gpusvm_evict_to_ram(&alloc.devmem), 0);
		assert_true(vram_is_free());
		assert_true(fake_matches(window(0), N, 1));
		init_allocation(&alloc, 0);
	}
}

/* Neither the milliseconds nor what they are in nanoseconds overflow. */
static void migrate_for_ever_is_a_very_long_timeslice(void **state)
{
	static const unsigned long timeslices[] = { ~0ul, ~0ul - NOW_MS,
						    1ul << 63,
						    ~0ul / 1000000 + 1,
						    ~0ul / 1000000 };
	struct drm_gpusvm_range *range = filled_range();
	unsigned int i;

	(void)state;
	fake_sys_clock(&now_ns, 0);
	for (i = 0; i < ARRAY_SIZE(timeslices); i++) {
		assert_int_equal(migrate_for(range, &alloc, timeslices[i]), 0);
		assert_in_range(alloc.devmem.timeslice_expiration,
				NOW_MS + 7 * DAY_MS, ~0ul / 2 / 1000000);
		assert_int_equal(drm_gpusvm_evict_to_ram(&alloc.devmem), 0);
		assert_true(vram_is_free());
		assert_true(fake_matches(window(0), N, 1));
		init_allocation(&alloc, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		svm_test(migrate_moves_data_and_binds_the_allocation),
		svm_test(migrate_checks_what_it_is_given),
		svm_test(migrate_checks_the_mapping),
		svm_test(migrate_without_memory_is_undone),
		svm_test(migrate_with_failing_callback_is_undone),
		svm_test(migrate_with_failing_source_is_undone),
		svm_test(migrate_to_pages_in_use_is_undone),
		svm_test(migrate_to_unknown_pages_is_undone),
		svm_test(migrate_twice_returns_efault),
		svm_test(start_holds_nothing_but_the_pages),
		svm_test(start_that_fails_later_is_undone),
		svm_test(start_without_memory_is_undone),
		svm_test(start_checks_what_it_is_given),
		svm_test(migrate_sets_the_end_of_the_timeslice),
		svm_test(migrate_for_ever_is_a_very_long_timeslice),
	};

	return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
