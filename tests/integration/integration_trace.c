/* SPDX-License-Identifier: MIT */
/*
 * A series of faults and changes of memory that was recorded in a kernel, Linux
 * 7.3.4 with small pages, with the ranges, notifiers, flags, return codes and
 * events of its own drm_gpusvm.  All but events are the same here; docs/porting.md
 * tells which events differ, and why.
 */
#include "fake_driver.h"

#include <gpusvm/hooks.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where it was. */
#define BASE 0x200000000000ul
#define NOTIFIER_SIZE SZ_512M
#define SZ_16M (16ul << 20)
/* Where no notifier is. */
#define AWAY (1ul << 30)

#define UNMAPPED 2u
#define PARTIAL 4u

static struct fake_driver *d;

static void *at(unsigned long offset)
{
	return (void *)(BASE + offset);
}

static void unmap_all(void *arg)
{
	(void)arg;
	munmap(at(0), 2 * SZ_16M);
	munmap(at(AWAY), 2 * SZ_2M);
}

static void map(unsigned long offset, size_t size)
{
	void *mem = mmap(at(offset), size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			 0);

	if (mem != at(offset))
		test_skip("the addresses of the recording are taken");
	assert_int_equal(madvise(mem, size, MADV_NOHUGEPAGE), 0);
}

/* As the recording has them. */
static unsigned int flags_of(const struct drm_gpusvm_range *range)
{
	return (range->flags.unmapped ? UNMAPPED : 0) |
	       (range->flags.partial_unmap ? PARTIAL : 0);
}

static void assert_range(struct drm_gpusvm_range *range, unsigned long start,
			 unsigned long end, unsigned int flags)
{
	struct drm_gpusvm_notifier *notifier = range->notifier;

	assert_int_equal(drm_gpusvm_range_start(range), BASE + start);
	assert_int_equal(drm_gpusvm_range_end(range), BASE + end);
	assert_int_equal(drm_gpusvm_notifier_start(notifier), BASE);
	assert_int_equal(drm_gpusvm_notifier_end(notifier),
			 BASE + NOTIFIER_SIZE);
	assert_int_equal(flags_of(range), flags);
}

/* A fault of the device, of which these bytes may be its business. */
static long fault_within(unsigned long offset, unsigned long first,
			 unsigned long last, const struct drm_gpusvm_ctx *ctx,
			 struct drm_gpusvm_range **range)
{
	*range = fake_fault_ctx(d, at(offset), BASE + first, BASE + last, ctx);
	return IS_ERR(*range) ? PTR_ERR(*range) : fake_get_pages(d, *range);
}

static void fault(unsigned long offset, unsigned long start, unsigned long end)
{
	struct drm_gpusvm_range *range;

	assert_ret(fault_within(offset, 0, NOTIFIER_SIZE, NULL, &range), 0);
	assert_range(range, start, end, 0);
}

/* The only events since the last look. */
static void assert_events(unsigned int n)
{
	unsigned int i;

	for (i = 0; d->num_events != n && i < d->num_events; i++)
		print_message("event %u: %d of %#lx-%#lx\n", i,
			      d->events[i].event, d->events[i].start,
			      d->events[i].end);
	assert_int_equal(d->num_events, n);
}

/* The only event since the last look, but for @more like it. */
static void assert_event(enum mmu_notifier_event event, unsigned long start,
			 unsigned long end, unsigned int more)
{
	unsigned int i;

	assert_events(1 + more);
	for (i = 0; i <= more; i++) {
		assert_int_equal(d->events[i].event, event);
		assert_int_equal(d->events[i].start, BASE + start);
		assert_int_equal(d->events[i].end, BASE + end);
		assert_int_equal(d->events[i].notifier_start, BASE);
	}
	fake_reset(d);
}

static void faults_find_the_recorded_ranges(void)
{
	struct drm_gpusvm_ctx checks = { .check_pages_threshold = SZ_1M };
	struct drm_gpusvm_range *range;

	fault(0x3123, 0, SZ_2M);
	fault(SZ_2M - 1, 0, SZ_2M);
	fault(0x1005000, 0x1005000, 0x1006000);
	fault(0x1014000, 0x1010000, 0x1020000);
	fault(0x1027fff, 0x1027000, 0x1028000);
	assert_ret(fault_within(0x412345, 0x410000, 0x420000, NULL, &range), 0);
	assert_range(range, 0x410000, 0x420000, 0);
	assert_ret(fault_within(0x4000000, 0, NOTIFIER_SIZE, NULL, &range),
		   -ENOENT);
	assert_ret(fault_within(0x800000, 0, NOTIFIER_SIZE, &checks, &range),
		   0);
	assert_range(range, 0x800000, 0xa00000, 0);
}

static void changes_are_told_as_recorded(void)
{
	struct drm_gpusvm_range *range;

	fake_reset(d);
	assert_int_equal(gpusvm_madvise(at(0x1000), PS, MADV_DONTNEED), 0);
	assert_event(MMU_NOTIFY_CLEAR, 0x1000, 0x2000, 0);

	fault(0, 0, SZ_2M);
	fake_reset(d);
	assert_int_equal(gpusvm_mprotect(at(0x2000), PS, PROT_READ), 0);
	assert_event(MMU_NOTIFY_PROTECTION_VMA, 0x2000, 0x3000, 0);
	assert_ret(fault_within(0x2000, 0, NOTIFIER_SIZE, NULL, &range),
		   -EPERM);

	fault(0x201000, SZ_2M, 2 * SZ_2M);
	fake_reset(d);
	assert_int_equal(gpusvm_munmap(at(0x201000), PS), 0);
	assert_event(MMU_NOTIFY_UNMAP, 0x201000, 0x202000, 0);
	range = fake_fault(d, at(0x205000));
	assert_ok_ptr(range);
	assert_range(range, SZ_2M, 2 * SZ_2M, UNMAPPED | PARTIAL);
}

/* Before the child exists, for all of the memory at once. */
static void fork_is_told_of_once(void)
{
	int status;
	pid_t child;

	fake_reset(d);
	child = fork();
	if (!child)
		_exit(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_events(1);
	assert_int_equal(d->events[0].event, MMU_NOTIFY_PROTECTION_PAGE);
	assert_int_equal(d->events[0].ranges, 7);
}

static void moves_are_told_as_recorded(void)
{
	void *moved;

	fake_reset(d);
	moved = gpusvm_mremap(at(0xa00000), SZ_1M, SZ_1M,
			      MREMAP_MAYMOVE | MREMAP_FIXED, at(AWAY));
	assert_ptr_equal(moved, at(AWAY));
	assert_event(MMU_NOTIFY_UNMAP, 0xa00000, 0xb00000, 1);

	fault(0xc00000, 0xc00000, 0xe00000);
	fake_reset(d);
	moved = gpusvm_mremap(at(0xc00000), SZ_2M, SZ_2M,
			      MREMAP_MAYMOVE | MREMAP_FIXED, at(AWAY + SZ_2M));
	assert_ptr_equal(moved, at(AWAY + SZ_2M));
	assert_event(MMU_NOTIFY_UNMAP, 0xc00000, 0xe00000, 1);
}

static void assert_what_is_left(void)
{
	static const struct {
		unsigned long start, end;
		unsigned int flags;
	} left[] = {
		{ 0, 0x200000, 0 },
		{ 0x200000, 0x400000, UNMAPPED | PARTIAL },
		{ 0x410000, 0x420000, 0 },
		{ 0x800000, 0xa00000, 0 },
		{ 0xc00000, 0xe00000, UNMAPPED },
		{ 0x1005000, 0x1006000, 0 },
		{ 0x1010000, 0x1020000, 0 },
		{ 0x1027000, 0x1028000, 0 },
	};
	struct drm_gpusvm_range *range;
	unsigned int i;

	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		range = fake_find(d, at(left[i].start));
		assert_non_null(range);
		assert_range(range, left[i].start, left[i].end, left[i].flags);
	}
	assert_int_equal(fake_notifier_count(d), 1);
}

static void recording_of_a_kernel_is_repeated(void **state)
{
	(void)state;
	if (test_others_map())
		test_skip("a sanitizer has these addresses");
	if (PS != 4096)
		test_skip("it was recorded with pages of 4 KiB");
	test_cleanup(unmap_all, NULL);
	map(0, SZ_16M);
	map(0x1005000, 0x23000);
	d = fake_driver_create(NULL);
	faults_find_the_recorded_ranges();
	changes_are_told_as_recorded();
	fork_is_told_of_once();
	moves_are_told_as_recorded();
	assert_what_is_left();
}

static const struct CMUnitTest tests[] = {
	conf_test(recording_of_a_kernel_is_repeated),
};

CONF_MAIN(tests)
