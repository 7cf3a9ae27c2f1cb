/* SPDX-License-Identifier: MIT */
/*
 * The glue between device pages and their allocation: its references, DMA
 * mappings that fail half way, and each answer to a CPU fault.
 */
#include "unit_svm_alloc.h"
#include "unit_thread.h"

#include <limits.h>

#include "sys.h"

static struct drm_gpusvm_zdd *create(void)
{
	struct drm_gpusvm_zdd *zdd;

	zdd = gpusvm_zdd_create(mm, &alloc.devmem, &vram, N);
	assert_non_null(zdd);
	return zdd;
}

/* The zdd of what filled_range() has put on the device; no reference. */
static struct drm_gpusvm_zdd *migrated(void)
{
	assert_int_equal(migrate(filled_range(), &alloc), 0);
	return vram.pages[0].zone_device_data;
}

static void create_without_memory_returns_null(void **state)
{
	struct drm_gpusvm_zdd *zdd = create();
	size_t blocks;
	unsigned int n;

	(void)state;
	/* A second staging run of this size is cut from the same piece. */
	gpusvm_zdd_put(zdd, 1);
	blocks = gpusvm_alloc_live();
	for (n = 1; n < 20; n++) {
		fail_alloc = n;
		zdd = gpusvm_zdd_create(mm, &alloc.devmem, &vram, N);
		if (zdd)
			break;
		assert_int_equal(fail_alloc, 0);
		assert_int_equal(gpusvm_alloc_live(), blocks);
	}
	fail_alloc = 0;
	assert_true(n > 3);
	gpusvm_zdd_put(zdd, 1);
}

static void last_put_detaches_then_releases(void **state)
{
	struct drm_gpusvm_zdd *zdd = create();

	(void)state;
	zdd->devmem = &alloc.devmem;
	gpusvm_zdd_get(zdd, 1);
	gpusvm_zdd_put(zdd, 1);
	assert_int_equal(releases, 0);
	assert_false(gpusvm_completion_done(&alloc.devmem.detached));
	gpusvm_zdd_put(zdd, 1);
	assert_int_equal(releases, 1);
	assert_true(gpusvm_completion_done(&alloc.devmem.detached));
}

static void put_without_allocation_releases_nothing(void **state)
{
	(void)state;
	gpusvm_zdd_put(create(), 1);
	assert_int_equal(releases, 0);
	assert_false(gpusvm_completion_done(&alloc.devmem.detached));
}

static void put_without_release_callback_detaches(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;
	struct drm_gpusvm_zdd *zdd;

	(void)state;
	ops.devmem_release = NULL;
	alloc.devmem.ops = &ops;
	zdd = create();
	zdd->devmem = &alloc.devmem;
	gpusvm_zdd_put(zdd, 1);
	assert_true(gpusvm_completion_done(&alloc.devmem.detached));
}

static void lock_and_unlock(void *zdd)
{
	if (gpusvm_zdd_lock(zdd, ~0ul))
		gpusvm_zdd_unlock(zdd);
}

static void unlock(void *zdd)
{
	gpusvm_zdd_unlock(zdd);
}

/* Of which any thread may be the one that releases it. */
static void lock_is_waited_for(void **state)
{
	struct drm_gpusvm_zdd *zdd = create();
	struct unit_thread waiters[3], other;
	unsigned int i;

	(void)state;
	assert_true(gpusvm_zdd_lock(zdd, 0));
	assert_false(gpusvm_zdd_lock(zdd, gpusvm_sys_now_ns() + 1000000));
	for (i = 0; i < 3; i++) {
		unit_thread_start(&waiters[i], lock_and_unlock, zdd);
		unit_thread_settle(&waiters[i]);
		assert_false(unit_thread_done(&waiters[i]));
	}
	unit_thread_start(&other, unlock, zdd);
	unit_thread_join(&other);
	for (i = 0; i < 3; i++)
		unit_thread_join(&waiters[i]);
	assert_true(gpusvm_zdd_lock(zdd, 0));
	gpusvm_zdd_unlock(zdd);
	gpusvm_zdd_put(zdd, 1);
}

static void dma_map_maps_what_has_an_address(void **state)
{
	struct drm_gpusvm_zdd *zdd = create();
	unsigned long i;

	(void)state;
	for (i = 0; i < N; i += 2)
		zdd->migration.ram[i] = fake_addr(fake, i);
	assert_int_equal(gpusvm_zdd_dma_map(zdd, DMA_TO_DEVICE), 0);
	for (i = 0; i < N; i++)
		assert_int_equal(zdd->addr[i],
				 i % 2 ? 0 : fake_addr(fake, i) + BUS);
	gpusvm_zdd_dma_unmap(zdd, DMA_TO_DEVICE);
	assert_int_equal(maps, N / 2);
	assert_int_equal(unmaps, N / 2);
	for (i = 0; i < N; i++)
		assert_int_equal(zdd->addr[i], 0);
	gpusvm_zdd_put(zdd, 1);
}

static void dma_map_that_fails_unmaps_what_it_mapped(void **state)
{
	struct drm_gpusvm_zdd *zdd = create();
	unsigned int k;
	unsigned long i;

	(void)state;
	for (i = 0; i < N; i++)
		zdd->migration.ram[i] = fake_addr(fake, i);
	for (k = 1; k <= N; k++) {
		maps = unmaps = 0;
		fail_map = k;
		assert_int_equal(gpusvm_zdd_dma_map(zdd, DMA_TO_DEVICE),
				 -EFAULT);
		assert_int_equal(maps, k - 1);
		assert_int_equal(unmaps, k - 1);
		for (i = 0; i < N; i++)
			assert_int_equal(zdd->addr[i], 0);
	}
	gpusvm_zdd_put(zdd, 1);
}

/* ---- CPU faults ---- */

static enum vm_fault_result fault(struct vm_fault *vmf, unsigned long i,
				  unsigned int flags)
{
	*vmf = (struct vm_fault){
		.mm = mm,
		.address = fake_addr(fake, i),
		.zone_device_data = vram.pages[0].zone_device_data,
		.flags = flags,
	};
	return gpusvm_zdd_migrate_to_ram(vmf);
}

static void fault_brings_all_home(void **state)
{
	struct drm_gpusvm_zdd *zdd = migrated();
	struct vm_fault vmf;

	(void)state;
	gpusvm_zdd_get(zdd, 1);
	assert_int_equal(fault(&vmf, 5, 0), VM_FAULT_DONE);
	assert_true(vram_is_free());
	assert_true(fake_matches(window(0), N, 1));
	assert_int_equal(copies_to_ram, 1);
	assert_int_equal(maps, unmaps);
	assert_int_equal(releases, 0);
	gpusvm_zdd_put(zdd, 1);
	assert_int_equal(releases, 1);
}

static void fault_while_locked_is_retried(void **state)
{
	struct drm_gpusvm_zdd *zdd = migrated();
	struct vm_fault vmf;

	(void)state;
	assert_true(gpusvm_zdd_lock(zdd, 0));
	assert_false(gpusvm_zdd_lock(zdd, 0));
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_RETRY);
	assert_int_equal(vmf.retry_ns, 0); /* who has the lock wakes it */
	gpusvm_zdd_unlock(zdd);
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(copies_to_ram, 0);
}

static void fault_in_timeslice_waits_for_its_end(void **state)
{
	struct vm_fault vmf;

	(void)state;
	migrated();
	alloc.devmem.timeslice_expiration = gpusvm_jiffies64() + 1000000;
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_TIMESLICE);
	assert_int_equal(vmf.retry_ns,
			 alloc.devmem.timeslice_expiration * 1000 * 1000);
	assert_int_equal(copies_to_ram, 0);
	gpusvm_zdd_get(vmf.zone_device_data, 1);
	assert_int_equal(fault(&vmf, 0, GPUSVM_FAULT_NO_TIMESLICE),
			 VM_FAULT_DONE);
	gpusvm_zdd_put(vmf.zone_device_data, 1);
	assert_true(vram_is_free());
}

/* Were it to be retried in the past, the handler would never sleep. */
static void fault_in_endless_timeslice_is_retried_much_later(void **state)
{
	static const unsigned long timeslices[] = { ~0ul, 1ul << 63,
						    ~0ul / 1000000 + 1,
						    ~0ul / 1000000 };
	const unsigned long day_ns = 24ul * 3600 * 1000000000;
	struct drm_gpusvm_range *range = filled_range();
	enum vm_fault_result result;
	struct drm_gpusvm_zdd *zdd;
	struct vm_fault vmf;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(timeslices); i++) {
		assert_int_equal(migrate_for(range, &alloc, timeslices[i]), 0);
		zdd = vram.pages[0].zone_device_data;
		gpusvm_zdd_get(zdd, 1);
		result = fault(&vmf, 0, 0);
		gpusvm_zdd_put(zdd, 1);
		assert_int_equal(result, VM_FAULT_TIMESLICE);
		assert_in_range(vmf.retry_ns, gpusvm_sys_now_ns() + day_ns,
				LONG_MAX);
		assert_int_equal(copies_to_ram, i);
		assert_int_equal(drm_gpusvm_evict_to_ram(&alloc.devmem), 0);
		assert_true(vram_is_free());
		assert_true(fake_matches(window(0), N, 1));
		init_allocation(&alloc, 0);
	}
}

static void fault_with_failing_copy_is_a_sigbus(void **state)
{
	struct vm_fault vmf;
	unsigned int k;

	(void)state;
	migrated();
	fail_to_ram = 1;
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_SIGBUS);
	fail_map = N / 2;
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_SIGBUS);
	for (k = 0; k < N; k++)
		assert_null(vram.pages[k].migration);
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(maps, unmaps);
	assert_true(fake_matches((void *)vram.range.start, N, 1));
	assert_int_equal(mm->notifiers.active, 0);
	/* It may work the next time. */
	gpusvm_zdd_get(vmf.zone_device_data, 1);
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_DONE);
	gpusvm_zdd_put(vmf.zone_device_data, 1);
	assert_true(fake_matches(window(0), N, 1));
}

static void fault_on_held_pages_is_retried_soon(void **state)
{
	struct vm_fault vmf;
	unsigned long i;

	(void)state;
	migrated();
	for (i = 0; i < N; i++)
		gpusvm_page_get(&vram.pages[i]);
	assert_int_equal(fault(&vmf, 0, 0), VM_FAULT_RETRY);
	assert_int_not_equal(vmf.retry_ns, 0);
	for (i = 0; i < N; i++)
		gpusvm_page_put(&vram.pages[i]);
	assert_int_equal(mm->pt.npages, N);
}

/* ---- Reading for a child ---- */

static void read_copies_and_leaves_pages(void **state)
{
	struct drm_gpusvm_zdd *zdd = migrated();
	struct page *pages[3];
	dma_addr_t addr[3];
	unsigned long i;

	(void)state;
	for (i = 0; i < 3; i++) {
		pages[i] = &vram.pages[i];
		addr[i] = fake_addr(fake, 40 + i);
	}
	assert_int_equal(gpusvm_zdd_read_pages(zdd, pages, addr, 3), 0);
	assert_true(fake_matches(window(40), 3, 1));
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(maps, unmaps);
}

static void read_that_fails_unmaps(void **state)
{
	struct drm_gpusvm_zdd *zdd = migrated();
	struct page *pages[3];
	dma_addr_t addr[3];
	unsigned int k, i;

	(void)state;
	for (k = 1; k <= 4; k++) {
		for (i = 0; i < 3; i++) {
			pages[i] = &vram.pages[i];
			addr[i] = fake_addr(fake, 40 + i);
		}
		maps = unmaps = 0;
		fail_map = k <= 3 ? k : 0;
		fail_to_ram = k == 4;
		assert_int_equal(gpusvm_zdd_read_pages(zdd, pages, addr, 3),
				 k <= 3 ? -EIO : -EREMOTEIO);
		assert_int_equal(maps, k - 1);
		assert_int_equal(unmaps, k - 1);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		svm_test(create_without_memory_returns_null),
		svm_test(last_put_detaches_then_releases),
		svm_test(put_without_allocation_releases_nothing),
		svm_test(put_without_release_callback_detaches),
		svm_test(lock_is_waited_for),
		svm_test(dma_map_maps_what_has_an_address),
		svm_test(dma_map_that_fails_unmaps_what_it_mapped),
		svm_test(fault_brings_all_home),
		svm_test(fault_while_locked_is_retried),
		svm_test(fault_in_timeslice_waits_for_its_end),
		svm_test(fault_in_endless_timeslice_is_retried_much_later),
		svm_test(fault_with_failing_copy_is_a_sigbus),
		svm_test(fault_on_held_pages_is_retried_soon),
		svm_test(read_copies_and_leaves_pages),
		svm_test(read_that_fails_unmaps),
	};

	return cmocka_run_group_tests_name("zdd", tests, NULL, NULL);
}
