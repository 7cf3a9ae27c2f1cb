/* SPDX-License-Identifier: MIT */
/*
 * Coherent device memory: what migrates stays in the program's mapping, where
 * CPU and device share it, until it is evicted or given up.
 *
 * Its node is that of all memory where there is one only, and node 0 where there
 * are several; tests/numa looks where the pages are.
 */
#include "fake_driver.h"

#include <gpusvm/devmem.h>
#include <gpusvm/fence.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE SZ_64K
#define NPAGES (SIZE / PS)

static struct fake_driver *create(void)
{
	const struct fake_driver_config config = { .coherent_nodes = 1 };

	return fake_driver_create(&config);
}

static struct gpusvm_stats stats(void)
{
	struct gpusvm_stats now = { .size = sizeof(now) };

	assert_ret(gpusvm_mm_get_stats(test_mm, &now), 0);
	return now;
}

static unsigned char *filled(unsigned int tag)
{
	unsigned char *mem = test_map(SIZE, SIZE);

	test_fill(mem, SIZE, tag);
	return mem;
}

/* All of the allocation is with the device, and with the CPU. */
static void assert_shared(struct fake_driver *d, unsigned char *mem,
			  struct fake_alloc *alloc)
{
	unsigned long i;

	assert_int_equal(test_resident(mem, SIZE), NPAGES);
	assert_int_equal(stats().device_pages, NPAGES);
	for (i = 0; i < NPAGES; i++)
		assert_ptr_equal(fake_alloc_page(alloc, i), mem + i * PS);
	assert_int_equal(d->copies_to_devmem, 0);
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(d->releases, 0);
}

static void assert_at_home(struct fake_driver *d)
{
	assert_int_equal(stats().device_pages, 0);
	assert_int_equal(d->releases, 1);
	assert_int_equal(fake_devmem_used(d), 0);
	assert_int_equal(d->copies_to_ram, 0);
}

/* ---- To the device ---- */

static void cpu_access_neither_faults_nor_brings_home(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct gpusvm_stats before = stats(), after;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_shared(d, mem, alloc);
	assert_filled(mem, SIZE, 1);
	test_fill(mem, SIZE, 2);
	assert_shared(d, mem, alloc);
	assert_true(fake_valid(d, range));
	after = stats();
	assert_int_equal(after.cpu_faults, before.cpu_faults);
	assert_int_equal(after.zero_faults, before.zero_faults);
	assert_int_equal(after.migrations_to_ram, before.migrations_to_ram);
	assert_int_equal(after.migrations_to_devmem,
			 before.migrations_to_devmem + 1);
	assert_int_equal(after.bytes_to_devmem, before.bytes_to_devmem + SIZE);
	assert_int_equal(after.in_place, before.in_place + 1);
	assert_int_equal(after.moved, before.moved);
	assert_int_equal(after.write_protected, before.write_protected);
}

static void cpu_and_device_see_what_the_other_writes(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range = fake_dev_range(d, mem, SIZE, NULL);

	(void)state;
	assert_dev_filled(d, range, 1);
	test_fill(mem, SIZE, 2);
	assert_dev_filled(d, range, 2);
	assert_ret(fake_dev_fill(d, range, 3), 0);
	assert_filled(mem, SIZE, 3);
	assert_true(fake_valid(d, range));
}

static void pages_are_device_pages_for_get_pages(void **state)
{
	const struct drm_gpusvm_ctx only = { .devmem_only = 1 };
	struct fake_driver *d = create();
	struct drm_gpusvm_range *range = fake_range_at(d, filled(1), SIZE);

	(void)state;
	assert_ret(fake_get_pages_ctx(d, range, &only), -EFAULT);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_ret(fake_get_pages_ctx(d, range, &only), 0);
	assert_true(range->flags.has_devmem_pages);
	assert_ptr_equal(range->dpagemap, &d->dpagemap);
	assert_int_equal(d->device_maps, NPAGES);
	assert_int_equal(range->dma_addr[0].proto, FAKE_PROTO);
}

static void migration_is_told_before_it_happens(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SIZE);
	const struct fake_event *event;

	(void)state;
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_MIGRATE, mem, SIZE),
			 1);
	event = fake_last_event(d, MMU_NOTIFY_MIGRATE, mem, SIZE);
	assert_ptr_equal(event->owner, d);
	assert_false(fake_valid(d, range));
}

static void absent_pages_become_zeros(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(SIZE, SIZE);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	volatile unsigned char zero;

	(void)state;
	mem[0] = 1;
	zero = mem[PS]; /* which maps the zero page */
	assert_int_equal(zero, 0);
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_shared(d, mem, alloc);
	assert_true(test_page_exclusive(mem + PS));
	assert_true(test_page_exclusive(mem + SIZE - PS));
	mem[0] = 0;
	assert_zeroed(mem, SIZE);
	assert_dev_zeroed(d, range);
}

static void read_only_memory_migrates(void **state)
{
	const struct drm_gpusvm_ctx ctx = { .read_only = 1,
					    .devmem_possible = 1 };
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	assert_int_equal(mprotect(mem, SIZE, PROT_READ), 0);
	range = fake_fault_ctx(d, mem, (unsigned long)mem,
			       (unsigned long)mem + SIZE, &ctx);
	assert_ok_ptr(range);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_ret(fake_get_pages_ctx(d, range, &ctx), 0);
	assert_shared(d, mem, alloc);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SIZE, 1);
}

static void what_is_there_already_is_refused(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(2 * SIZE, SIZE);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, 2 * SIZE, 1);
	fake_migrate_span(d, mem, PS);
	range = fake_range_at(d, mem + SIZE, SIZE);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_ret(fake_migrate(d, range, NULL), -EFAULT);
	fake_remove(d, range);
	assert_int_equal(gpusvm_madvise(mem + SIZE, PS, MADV_DONTNEED), 0);
	range = fake_range_at(d, mem + SIZE, SIZE);
	assert_ret(fake_migrate(d, range, NULL), -EBUSY);
	assert_filled(mem, SIZE, 1);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_zeroed(mem + SIZE, PS);
}

/* The second device's page in the middle of the first's. */
static struct page *stranger;

static int populate_a_mix(struct drm_gpusvm_devmem *devmem,
			  unsigned long npages, unsigned long *pfn)
{
	int err = fake_devmem_ops.populate_devmem_pfn(devmem, npages, pfn);

	pfn[npages / 2] = gpusvm_page_to_pfn(stranger);
	return err;
}

static void check_mix(struct fake_driver *d, struct fake_driver *other)
{
	struct drm_gpusvm_devmem_ops ops = fake_devmem_ops;
	struct fake_alloc *alloc = fake_alloc_create(other, PS);
	unsigned char *mem = filled(1);

	assert_non_null(alloc);
	stranger = fake_alloc_struct_page(alloc, 0);
	ops.populate_devmem_pfn = populate_a_mix;
	d->devmem_ops = &ops;
	assert_ret(fake_migrate(d, fake_range_at(d, mem, SIZE), NULL), -EINVAL);
	assert_int_equal(stats().device_pages, 0);
	assert_filled(mem, SIZE, 1);
	fake_alloc_drop(alloc);
}

static void pages_of_two_kinds_are_refused(void **state)
{
	struct fake_driver *private = fake_driver_create(NULL);

	(void)state;
	check_mix(create(), private);
	check_mix(private, create());
	check_mix(create(), create());
}

static void copy_callbacks_are_required_all_the_same(void **state)
{
	struct fake_driver *d = create();
	struct drm_gpusvm_devmem_ops ops = fake_devmem_ops;

	(void)state;
	ops.copy_to_devmem = NULL;
	d->devmem_ops = &ops;
	assert_ret(fake_migrate(d, fake_range_at(d, filled(1), SIZE), NULL),
		   -EOPNOTSUPP);
	assert_int_equal(stats().device_pages, 0);
}

static void populate_error_leaves_memory_as_it_was(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SIZE);

	(void)state;
	fake_fault_arm(&d->fail_populate, -ENOSPC, 1, 1);
	assert_ret(fake_migrate(d, range, NULL), -ENOSPC);
	assert_int_equal(stats().device_pages, 0);
	assert_int_equal(fake_devmem_used(d), 0);
	assert_filled(mem, SIZE, 1);
	assert_ret(fake_migrate(d, range, NULL), 0);
}

static void start_is_over_at_once(void **state)
{
	const struct drm_gpusvm_ctx ctx = { 0 };
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SIZE);
	struct fake_alloc *alloc = fake_alloc_create(d, SIZE);
	struct gpusvm_fence *done;
	int err = -1;

	(void)state;
	assert_non_null(alloc);
	assert_ret(gpusvm_fence_create(&done), 0);
	fake_driver_lock(d);
	gpusvm_mm_read_lock(test_mm);
	alloc->state = FAKE_ALLOC_GIVEN;
	assert_ret(gpusvm_migrate_to_devmem_start(&d->gpusvm, range,
						  &alloc->base, &ctx, done),
		   0);
	gpusvm_mm_read_unlock(test_mm);
	fake_driver_unlock(d);
	assert_true(gpusvm_fence_done(done, &err));
	assert_ret(err, 0);
	gpusvm_fence_put(done);
	assert_shared(d, mem, alloc);
}

/* ---- Home ---- */

static void eviction_brings_home(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct gpusvm_stats before = stats();
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_at_home(d);
	assert_true(alloc->detached_at_release);
	assert_false(fake_valid(d, range));
	assert_int_equal(fake_count_events(d, MMU_NOTIFY_CLEAR, mem, SIZE), 1);
	assert_filled(mem, SIZE, 1);
	assert_int_equal(stats().bytes_to_ram, before.bytes_to_ram + SIZE);
	assert_ret(fake_get_pages(d, range), 0);
	assert_false(range->flags.has_devmem_pages);
}

static void held_page_stays_until_it_is_let_go(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct fake_alloc *alloc;
	struct page *page;

	(void)state;
	fake_dev_range(d, mem, SIZE, &alloc);
	page = fake_alloc_struct_page(alloc, 3);
	gpusvm_page_get(page);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), -EBUSY);
	assert_int_equal(stats().device_pages, 1);
	/* Unlike with private memory nobody waits. */
	assert_filled(mem, SIZE, 1);
	gpusvm_page_put(page);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_at_home(d);
}

static void range_evict_leaves_coherent_pages(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	assert_shared(d, mem, alloc);
	assert_true(fake_valid(d, range));
	assert_ret(gpusvm_populate(mem, SIZE), 0);
	assert_shared(d, mem, alloc);
}

static void range_evict_mends_a_mix(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;

	(void)state;
	range = fake_dev_range(d, mem, SIZE, NULL);
	assert_int_equal(gpusvm_madvise(mem + PS, PS, MADV_DONTNEED), 0);
	assert_ret(fake_get_pages(d, range), -EOPNOTSUPP);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	/* Who has read the removal holds the page for a moment. */
	test_wait_until(d->releases == 1);
	assert_at_home(d);
	assert_ret(fake_get_pages(d, range), 0);
	assert_zeroed(mem + PS, PS);
	memset(mem + PS, 0, PS);
	assert_filled(mem, PS, 1);
}

/* Two allocations within what another device has as one range. */
static void range_evict_mends_two_allocations(void **state)
{
	struct fake_driver *a = create(), *b = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;

	(void)state;
	fake_migrate_span(a, mem, PS);
	fake_migrate_span(b, mem + PS, PS);
	range = fake_range_at(a, mem, SIZE);
	assert_ret(fake_get_pages(a, range), -EOPNOTSUPP);
	assert_ret(drm_gpusvm_range_evict(&a->gpusvm, range), 0);
	assert_at_home(a);
	assert_at_home(b);
	assert_ret(fake_get_pages(a, range), 0);
	assert_filled(mem, SIZE, 1);
}

/* ---- Whose ---- */

static void another_device_finds_them_as_they_are(void **state)
{
	struct fake_driver *a = create(), *b = fake_driver_create(NULL);
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	fake_dev_range(a, mem, SIZE, &alloc);
	range = fake_range_at(b, mem, SIZE);
	assert_ret(fake_get_pages(b, range), 0);
	/* Its driver says whether it reaches them. */
	assert_ptr_equal(range->dpagemap, &a->dpagemap);
	assert_dev_filled(b, range, 1);
	assert_shared(a, mem, alloc);
	fake_fault_arm(&a->fail_device_map, -1, 1, 1);
	fake_unmap_pages(b, range);
	assert_ret(fake_get_pages(b, range), -EFAULT);
	assert_ret(fake_migrate(b, range, NULL), -EFAULT);
	assert_shared(a, mem, alloc);
}

/* ---- Changes of the mapping ---- */

static void unmapped_pages_are_released(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);

	(void)state;
	fake_dev_range(d, mem, SIZE, NULL);
	test_munmap_sync(mem, SIZE);
	test_wait_until(d->releases == 1);
	assert_at_home(d);
	fake_collect(d);
}

static void dropped_pages_read_as_zeros(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);

	(void)state;
	fake_dev_range(d, mem, SIZE, NULL);
	test_madvise_sync(mem, SIZE, MADV_DONTNEED);
	test_wait_until(d->releases == 1);
	assert_at_home(d);
	assert_zeroed(mem, SIZE);
}

static void pages_move_with_the_mapping(void **state)
{
	struct fake_driver *d = create();
	struct test_area *area = test_area_reserve(2 * SIZE, SIZE);
	unsigned char *mem = test_area_anon(area, 0, SIZE);
	unsigned char *to = area->base + SIZE;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SIZE, 1);
	fake_dev_range(d, mem, SIZE, &alloc);
	test_mremap_sync(mem, SIZE, to);
	fake_collect(d);
	assert_shared(d, to, alloc);
	range = fake_range_at(d, to, SIZE);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(range->flags.has_devmem_pages);
	assert_dev_filled(d, range, 1);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_at_home(d);
	assert_filled(to, SIZE, 1);
}

/* What is in the middle of memory that was private once is still trapped. */
static void absent_pages_in_trapped_memory_become_zeros(void **state)
{
	struct fake_driver *d = create(), *private = fake_driver_create(NULL);
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	fake_migrate_span(private, mem, SIZE);
	assert_filled(mem, SIZE, 1);
	test_madvise_sync(mem, SIZE, MADV_DONTNEED);
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_shared(d, mem, alloc);
	assert_dev_zeroed(d, range);
	test_fill(mem, SIZE, 2);
	assert_dev_filled(d, range, 2);
}

static void private_memory_comes_home_first(void **state)
{
	struct fake_driver *d = create(), *private = fake_driver_create(NULL);
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	fake_migrate_span(private, mem, PS);
	range = fake_range_at(d, mem, SIZE);
	assert_ret(fake_migrate(d, range, NULL), -EBUSY);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_shared(d, mem, alloc);
	assert_filled(mem, SIZE, 1);
}

/* ---- fork() ---- */

static void child_reads_them_and_they_come_home_first(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = filled(1);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	int status, go[2];
	pid_t pid;
	char byte;

	(void)state;
	range = fake_dev_range(d, mem, SIZE, &alloc);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		bool same = read(go[0], &byte, 1) == 1 &&
			    test_match(mem, SIZE, 1) == SIZE;

		memset(mem, 0, SIZE);
		_exit(same ? 0 : 1);
	}
	assert_at_home(d);
	assert_false(fake_valid(d, range));
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(range->flags.has_devmem_pages);
	/* What the device writes is not the child's. */
	assert_ret(fake_dev_fill(d, range, 2), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_filled(mem, SIZE, 2);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	assert_filled(mem, SIZE, 2);
	close(go[0]);
	close(go[1]);
}

/* ---- A pool ---- */

static void pool_tells_what_it_is(void **state)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	const struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = SZ_2M,
		.node = 0,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
		.type = GPUSVM_DEVMEM_COHERENT,
	};
	struct gpusvm_devmem_pool *pool;
	struct dev_pagemap *pgmap;

	(void)state;
	assert_ret(gpusvm_devmem_pool_create(&pool, &opts), 0);
	pgmap = gpusvm_devmem_pool_pagemap(pool);
	assert_int_equal(pgmap->type, MEMORY_DEVICE_COHERENT);
	assert_int_equal(pgmap->nodes, 1);
	assert_ret(gpusvm_devmem_pool_info(pool, &info), 0);
	assert_int_equal(info.node, 0);
	assert_int_equal(info.nodes, 1);
	assert_true(info.mapped);
	assert_int_equal(info.free_bytes, SZ_2M);
	/* It takes nothing: what it has to give is the program's own. */
	assert_int_equal(test_resident((void *)pgmap->range.start, SZ_2M), 0);
	assert_ret(gpusvm_devmem_pool_destroy(pool), 0);
}

static const struct CMUnitTest tests[] = {
	conf_test(cpu_access_neither_faults_nor_brings_home),
	conf_test(cpu_and_device_see_what_the_other_writes),
	conf_test(pages_are_device_pages_for_get_pages),
	conf_test(migration_is_told_before_it_happens),
	conf_test(absent_pages_become_zeros),
	conf_test(read_only_memory_migrates),
	conf_test(what_is_there_already_is_refused),
	conf_test(pages_of_two_kinds_are_refused),
	conf_test(copy_callbacks_are_required_all_the_same),
	conf_test(populate_error_leaves_memory_as_it_was),
	conf_test(start_is_over_at_once),
	conf_test(eviction_brings_home),
	conf_test(held_page_stays_until_it_is_let_go),
	conf_test(range_evict_leaves_coherent_pages),
	conf_test(range_evict_mends_a_mix),
	conf_test(range_evict_mends_two_allocations),
	conf_test(another_device_finds_them_as_they_are),
	conf_test(unmapped_pages_are_released),
	conf_test(dropped_pages_read_as_zeros),
	conf_test(pages_move_with_the_mapping),
	conf_test(absent_pages_in_trapped_memory_become_zeros),
	conf_test(private_memory_comes_home_first),
	conf_test(child_reads_them_and_they_come_home_first),
	conf_test(pool_tells_what_it_is),
};

CONF_MAIN(tests)
