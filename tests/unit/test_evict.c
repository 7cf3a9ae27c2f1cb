/* SPDX-License-Identifier: MIT */
/*
 * Evicting: by range and by allocation, with every callback failing, pages that
 * are held, and an allocation that never was on the device.
 */
#include "unit_svm.h"

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static unsigned int fail_alloc;

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return fails_now(&fail_alloc) ? NULL
				      : __real_gpusvm_alloc_array(n, size);
}

static struct drm_gpusvm_range *migrated(void)
{
	struct drm_gpusvm_range *range = filled_range();

	assert_int_equal(migrate(range, &alloc), 0);
	return range;
}

static int evict(void)
{
	return drm_gpusvm_evict_to_ram(&alloc.devmem);
}

static void assert_home(void)
{
	assert_true(vram_is_free());
	assert_true(fake_matches(window(0), N, 1));
	assert_int_equal(releases, 1);
	assert_true(gpusvm_completion_done(&alloc.devmem.detached));
}

static void assert_still_there(void)
{
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(releases, 0);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
	assert_int_equal(maps, unmaps);
}

static void evict_brings_all_home(void **state)
{
	(void)state;
	migrated();
	assert_int_equal(evict(), 0);
	assert_home();
	assert_int_equal(copies_to_ram, 1);
	/* Detached already: nothing is asked for again. */
	assert_int_equal(evict(), 0);
	assert_int_equal(copies_to_ram, 1);
}

static void evict_of_moved_pages_finds_them(void **state)
{
	(void)state;
	migrated();
	fake_source_remap(fake, 0, N, 40);
	settle();
	assert_int_equal(evict(), 0);
	assert_true(vram_is_free());
	assert_true(fake_matches(window(40), N, 1));
}

static void evict_after_close_returns_efault(void **state)
{
	(void)state;
	migrated();
	mm->users = 0;
	assert_int_equal(evict(), -EFAULT);
	mm->users = 1;
	assert_still_there();
}

static void evict_without_memory_returns_enomem(void **state)
{
	unsigned int n;

	(void)state;
	migrated();
	for (n = 1; n <= 2; n++) {
		fail_alloc = n;
		assert_int_equal(evict(), -ENOMEM);
		assert_int_equal(fail_alloc, 0);
		assert_still_there();
	}
	assert_int_equal(evict(), 0);
	assert_home();
}

/* Three attempts, like the kernel. */
static void evict_with_callback_failing_once_tries_again(void **state)
{
	(void)state;
	migrated();
	fail_populate = 1;
	assert_int_equal(evict(), 0);
	assert_home();
}

static void evict_with_copy_failing_once_tries_again(void **state)
{
	(void)state;
	migrated();
	fail_to_ram = 1;
	assert_int_equal(evict(), 0);
	assert_int_equal(copies_to_ram, 2);
	assert_home();
}

static int never_copies(struct page **pages, dma_addr_t *dma_addr,
			unsigned long npages)
{
	(void)pages;
	(void)dma_addr;
	(void)npages;
	copies_to_ram++;
	return -EREMOTEIO;
}

static void evict_with_copy_always_failing_returns_its_error(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;

	(void)state;
	ops.copy_to_ram = never_copies;
	alloc.devmem.ops = &ops;
	migrated();
	assert_int_equal(evict(), -EREMOTEIO);
	assert_int_equal(copies_to_ram, 3);
	assert_still_there();
	ops.copy_to_ram = copy_to_ram;
	assert_int_equal(evict(), 0);
	assert_home();
}

static void evict_of_held_page_returns_ebusy(void **state)
{
	(void)state;
	migrated();
	gpusvm_page_get(&vram.pages[3]);
	assert_int_equal(evict(), -EBUSY);
	assert_int_equal(mm->pt.npages, 1);
	assert_int_equal(releases, 0);
	gpusvm_page_put(&vram.pages[3]);
	assert_int_equal(evict(), 0);
	assert_home();
}

static void evict_of_what_never_moved_returns_ebusy(void **state)
{
	static unsigned long now_ns;

	(void)state;
	fake_sys_clock(&now_ns, 10ul * 1000 * 1000);
	assert_int_equal(evict(), -EBUSY);
	fake_sys_clock(NULL, 0);
	assert_int_equal(copies_to_ram, 0);
	assert_int_equal(releases, 0);
}

static void range_evict_brings_its_pages_home(void **state)
{
	struct drm_gpusvm_range *range = migrated();

	(void)state;
	assert_int_equal(drm_gpusvm_range_evict(svm, range), 0);
	assert_home();
	assert_int_equal(drm_gpusvm_range_evict(svm, range), 0);
}

static void range_evict_that_fails_keeps_everything(void **state)
{
	struct drm_gpusvm_range *range = migrated();

	(void)state;
	fail_alloc = 1;
	assert_int_equal(drm_gpusvm_range_evict(svm, range), -ENOMEM);
	mm->users = 0;
	assert_int_equal(drm_gpusvm_range_evict(svm, range), -EFAULT);
	mm->users = 1;
	fail_to_ram = 1;
	assert_int_equal(drm_gpusvm_range_evict(svm, range), -EFAULT);
	assert_still_there();
	assert_int_equal(drm_gpusvm_range_evict(svm, range), 0);
	assert_home();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		svm_test(evict_brings_all_home),
		svm_test(evict_of_moved_pages_finds_them),
		svm_test(evict_after_close_returns_efault),
		svm_test(evict_without_memory_returns_enomem),
		svm_test(evict_with_callback_failing_once_tries_again),
		svm_test(evict_with_copy_failing_once_tries_again),
		svm_test(evict_with_copy_always_failing_returns_its_error),
		svm_test(evict_of_held_page_returns_ebusy),
		svm_test(evict_of_what_never_moved_returns_ebusy),
		svm_test(range_evict_brings_its_pages_home),
		svm_test(range_evict_that_fails_keeps_everything),
	};

	return cmocka_run_group_tests_name("evict", tests, NULL, NULL);
}
