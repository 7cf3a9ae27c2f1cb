/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group H: which changes of memory reach the invalidate callback,
 * and as what.  What else happens in the callback is in conf_h_callback.c.
 */
#include "fake_driver.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct fake_driver_config small_notifiers = {
	.notifier_size = SZ_2M,
};

/* Two ranges of 64K with pages mapped for the device, 64K apart. */
struct pair {
	struct fake_driver *d;
	struct test_area *area;
	unsigned char *mem;
	struct drm_gpusvm_range *first;
	struct drm_gpusvm_range *second;
};

static void make_pair(struct pair *p)
{
	p->d = fake_driver_create(NULL);
	p->area = test_area_reserve(SZ_1M, SZ_1M);
	p->mem = test_area_anon(p->area, 0, 3 * SZ_64K);
	test_fill(p->mem, SZ_64K, 1);
	test_fill(p->mem + SZ_64K, SZ_64K, 2);
	test_fill(p->mem + 2 * SZ_64K, SZ_64K, 3);
	p->first = fake_range_at(p->d, p->mem, SZ_64K);
	p->second = fake_range_at(p->d, p->mem + 2 * SZ_64K, SZ_64K);
	assert_ret(fake_get_pages(p->d, p->first), 0);
	assert_ret(fake_get_pages(p->d, p->second), 0);
}

/* The latest event of its kind; asserts that it covers [addr, addr + size). */
static const struct fake_event *check_event(struct fake_driver *d,
					    enum mmu_notifier_event kind,
					    const void *addr, size_t size)
{
	const struct fake_event *event = fake_last_event(d, kind, addr, size);

	assert_non_null(event);
	assert_true(event->start <= (unsigned long)addr);
	assert_true(event->end >= (unsigned long)addr + size);
	assert_int_equal(event->flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	return event;
}

/* ---- 90: munmap ---- */

/* The order of callback and reuse of the address: conf_h_hooks.c. */
static void conf_090_munmap(void **state)
{
	struct pair p;

	(void)state;
	make_pair(&p);
	test_munmap_sync(p.mem, SZ_64K);
	assert_null(check_event(p.d, MMU_NOTIFY_UNMAP, p.mem, SZ_64K)->owner);
	assert_int_equal(p.first->flags.unmapped, 1);
	assert_false(fake_valid(p.d, p.first));
	assert_int_equal(p.second->flags.unmapped, 0);
	assert_true(fake_valid(p.d, p.second));
	assert_dev_filled(p.d, p.second, 3);
}

static void conf_090_munmap_across_mappings(void **state)
{
	struct pair p;

	(void)state;
	make_pair(&p);
	/* Three mappings, of which the middle one has no range. */
	assert_int_equal(mprotect(p.mem + SZ_64K, SZ_64K, PROT_READ), 0);
	test_munmap_sync(p.mem + SZ_32K, 2 * SZ_64K);
	check_event(p.d, MMU_NOTIFY_UNMAP, p.mem + SZ_32K, 2 * SZ_64K);
	assert_int_equal(p.first->flags.partial_unmap, 1);
	assert_int_equal(p.second->flags.partial_unmap, 1);
}

static void conf_090_mapped_over(void **state)
{
	struct pair p;

	(void)state;
	make_pair(&p);
	test_area_anon(p.area, 0, SZ_64K);
	gpusvm_mm_sync(test_mm);
	check_event(p.d, MMU_NOTIFY_UNMAP, p.mem, SZ_64K);
	assert_int_equal(p.first->flags.unmapped, 1);
	assert_int_equal(p.second->flags.unmapped, 0);
	assert_zeroed(p.mem, SZ_64K);
}

static void conf_090_munmap_of_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	test_munmap_sync(mem, SZ_64K);
	check_event(d, MMU_NOTIFY_UNMAP, mem, SZ_64K);
	assert_int_equal(range->flags.unmapped, 1);
	assert_int_equal(range->flags.partial_unmap, 0);
	assert_false(fake_valid(d, range));
	/* Freed without a copy, after the callback. */
	test_wait_until(alloc->released == 1);
	assert_int_equal(d->copies_to_ram, 0);
	assert_true(alloc->release_number >
		    fake_last_event(d, MMU_NOTIFY_UNMAP, mem, SZ_64K)->number);
}

/* ---- 91: madvise ---- */

static void conf_091_dontneed(void **state)
{
	struct pair p;

	(void)state;
	make_pair(&p);
	test_madvise_sync(p.mem, SZ_64K, MADV_DONTNEED);
	assert_null(check_event(p.d, MMU_NOTIFY_CLEAR, p.mem, SZ_64K)->owner);
	assert_int_equal(
		fake_count_events(p.d, MMU_NOTIFY_UNMAP, p.mem, SZ_64K), 0);
	assert_int_equal(p.first->flags.unmapped, 0);
	assert_false(fake_valid(p.d, p.first));
	assert_true(fake_valid(p.d, p.second));

	assert_ret(fake_get_pages(p.d, p.first), 0);
	assert_dev_zeroed(p.d, p.first);
	assert_dev_filled(p.d, p.second, 3);
}

static void conf_091_dontneed_of_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	fake_reset(d);
	test_madvise_sync(mem, SZ_64K, MADV_DONTNEED);
	check_event(d, MMU_NOTIFY_CLEAR, mem, SZ_64K);
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.unmapped, 0);
	test_wait_until(alloc->released == 1);
	assert_int_equal(d->copies_to_ram, 0);
	assert_zeroed(mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_zeroed(d, range);
}

static void conf_091_dontneed_of_a_part(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	test_madvise_sync(mem + PS, 2 * PS, MADV_DONTNEED);
	check_event(d, MMU_NOTIFY_CLEAR, mem + PS, 2 * PS);
	assert_false(fake_valid(d, range));
	assert_int_equal(alloc->released, 0);

	assert_zeroed(mem + PS, 2 * PS);
	assert_int_equal(test_match(mem, PS, 1), PS);
	assert_int_equal(mem[3 * PS], test_pattern(3 * PS, 1));
	assert_int_equal(mem[SZ_64K - 1], test_pattern(SZ_64K - 1, 1));
	test_wait_until(alloc->released == 1);
	assert_int_equal(fake_alloc_homecomings(alloc, 1), 0);
	assert_int_equal(fake_alloc_homecomings(alloc, 3), 1);
}

/* ---- 93: fork ---- */

/* That it comes before the fork is seen by the child's copy. */
static void conf_093_fork(void **state)
{
	struct pair p;
	int status;
	pid_t pid;

	(void)state;
	make_pair(&p);
	pid = fork();
	if (pid == 0)
		_exit(fake_last_event(p.d, MMU_NOTIFY_PROTECTION_PAGE, p.mem,
				      SZ_64K) == NULL);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	check_event(p.d, MMU_NOTIFY_PROTECTION_PAGE, p.mem, 3 * SZ_64K);
	assert_int_equal(p.first->flags.unmapped, 0);
	assert_false(fake_valid(p.d, p.first));
	assert_false(fake_valid(p.d, p.second));
	assert_ret(fake_get_pages(p.d, p.first), 0);
	assert_dev_filled(p.d, p.first, 1);
}

/* ---- 94: mremap ---- */

static void conf_094_mremap(void **state)
{
	struct pair p;
	unsigned char *to;

	(void)state;
	test_needs_events("a hook tells of the new place, too");
	make_pair(&p);
	to = p.area->base + SZ_1M - SZ_64K;
	test_mremap_sync(p.mem, SZ_64K, to);
	check_event(p.d, MMU_NOTIFY_UNMAP, p.mem, SZ_64K);
	assert_int_equal(p.first->flags.unmapped, 1);
	assert_int_equal(p.first->flags.partial_unmap, 0);
	assert_true(fake_valid(p.d, p.second));
	assert_null(fake_last_event(p.d, MMU_NOTIFY_UNMAP, to, SZ_64K));
	assert_null(fake_last_event(p.d, MMU_NOTIFY_CLEAR, to, SZ_64K));
	assert_filled(to, SZ_64K, 1);
}

static void conf_094_mremap_of_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_1M, SZ_1M);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	unsigned char *to = area->base + SZ_1M - SZ_64K;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_needs_events("device memory comes home first");
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	test_mremap_sync(mem, SZ_64K, to);
	check_event(d, MMU_NOTIFY_UNMAP, mem, SZ_64K);
	assert_int_equal(range->flags.unmapped, 1);
	assert_null(fake_last_event(d, MMU_NOTIFY_UNMAP, to, SZ_64K));
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(fake_collect(d), 1);

	/* The device finds it at the new place, as its own. */
	range = fake_range_at(d, to, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_dev_filled(d, range, 1);
	assert_filled(to, SZ_64K, 1);
	test_wait_until(alloc->released == 1);
}

/* ---- 95 and 96: which notifiers ---- */

static void conf_095_event_over_two_notifiers(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	const struct fake_event *below, *above;

	(void)state;
	assert_ret(fake_get_pages(d, fake_range_at(d, mem, SZ_2M)), 0);
	assert_ret(fake_get_pages(d, fake_range_at(d, mem + SZ_2M, SZ_2M)), 0);
	fake_reset(d);
	test_munmap_sync(mem + SZ_1M, SZ_2M);

	assert_int_equal(d->num_events, 2);
	below = &d->events[0];
	above = &d->events[1];
	assert_int_equal(below->event, MMU_NOTIFY_UNMAP);
	assert_int_equal(above->event, MMU_NOTIFY_UNMAP);
	assert_true(below->number < above->number);
	assert_int_equal(below->notifier_start, (unsigned long)mem);
	assert_int_equal(above->notifier_start, (unsigned long)mem + SZ_2M);
	assert_int_equal(below->start, (unsigned long)mem + SZ_1M);
	assert_int_equal(below->end, (unsigned long)mem + SZ_1M + SZ_2M);
	assert_int_equal(above->start, below->start);
	assert_int_equal(above->end, below->end);
	assert_int_equal(below->ranges, 1);
	assert_int_equal(above->ranges, 1);
}

static void conf_096_event_outside_all_notifiers(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	struct fake_driver *other = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_2M);

	(void)state;
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(fake_get_pages(other,
				  fake_range_at(other, mem + SZ_2M, SZ_2M)),
		   0);
	fake_reset(d);
	fake_reset(other);
	test_madvise_sync(mem + SZ_2M, SZ_2M, MADV_DONTNEED);
	assert_int_equal(d->num_events, 0);
	assert_true(fake_valid(d, range));
	assert_true(other->num_events > 0);
}

static void conf_096_event_outside_all_ranges(void **state)
{
	struct pair p;

	(void)state;
	make_pair(&p);
	fake_reset(p.d);
	test_madvise_sync(p.mem + SZ_64K, SZ_64K, MADV_DONTNEED);
	check_event(p.d, MMU_NOTIFY_CLEAR, p.mem + SZ_64K, SZ_64K);
	assert_int_equal(p.d->num_events, 1);
	assert_int_equal(p.d->events[0].ranges, 0);
	assert_true(fake_valid(p.d, p.first));
	assert_true(fake_valid(p.d, p.second));
	assert_dev_filled(p.d, p.first, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_090_munmap),
	conf_test(conf_090_munmap_across_mappings),
	conf_test(conf_090_mapped_over),
	conf_test(conf_090_munmap_of_device_memory),
	conf_test(conf_091_dontneed),
	conf_test(conf_091_dontneed_of_device_memory),
	conf_test(conf_091_dontneed_of_a_part),
	conf_test(conf_093_fork),
	conf_test(conf_094_mremap),
	conf_test(conf_094_mremap_of_device_memory),
	conf_test(conf_095_event_over_two_notifiers),
	conf_test(conf_096_event_outside_all_notifiers),
	conf_test(conf_096_event_outside_all_ranges),
};

CONF_MAIN(tests)
