/* SPDX-License-Identifier: MIT */
/*
 * The device has stopped before memory changes.  A device thread reads and
 * writes where its own page table says, under the notifier lock and only while
 * the pages are valid.  Other threads announce changes, and between begin and
 * end poison the pages, or unmap them and give the addresses to somebody else.
 * The device must never read poison, and never write after begin.
 *
 * What the device writes, and what it may read, is a word of its own: MARK.
 * The poisoner fills a page with POISON after begin, and looks, before end,
 * whether it is all still there.  So a device that reads POISON or makes a word
 * of it something else was not stopped.
 *
 * GPUSVM_STRESS_SECONDS: how long, all ten kinds of change together (5); each
 * is made at least LEAST times by each thread, however long that takes.
 */
#include "fake_driver.h"

#include <gpusvm/hooks.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define MARK 0x1111111111111111ul
#define POISON 0xbadbadbadbadbadul
#define CHANGERS 2
#define SLOT SZ_64K
#define DEFAULT_SECONDS 5
#define KINDS 10
/* Even then there is an end to it, which is a failure. */
#define LEAST 200
#define LEAST_WAIT_MS 30000

struct strict;

/* Part of the memory that one thread changes. */
struct changer {
	struct strict *strict;
	unsigned char *mem;
	unsigned long changes;
	/* Changes that met pages that were valid for the device. */
	unsigned long written_over;
	unsigned int failed;
	/* Somebody else has got the addresses: no more changes. */
	bool lost;
};

struct strict {
	struct fake_driver *d;
	void (*change)(struct changer *c);
	struct changer changer[CHANGERS];
	unsigned long end;
	unsigned long last_end;
	bool migrate;
	/* By the device: */
	unsigned long reads, writes, poison;
};

static bool has_done_enough(const struct changer *c)
{
	return __atomic_load_n(&c->lost, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&c->changes, __ATOMIC_RELAXED) >= LEAST;
}

static bool over(struct strict *s)
{
	unsigned long now = test_now_ms();
	unsigned int i;

	if (now < s->end)
		return false;
	for (i = 0; i < CHANGERS && now < s->last_end; i++)
		if (!has_done_enough(&s->changer[i]))
			return false;
	return true;
}

/* ---- The device ---- */

/* A whole page by words, so that the accesses take a while. */
static void use_page(struct strict *s, struct drm_gpusvm_range *range,
		     size_t offset)
{
	const struct drm_pagemap_device_addr *entry = range->dma_addr;
	size_t at = 0, i;
	unsigned long *mem;

	while (at + (PS << entry->order) <= offset)
		at += PS << entry++->order;
	if (entry->proto == DRM_INTERCONNECT_SYSTEM)
		mem = (unsigned long *)(uintptr_t)entry->addr;
	else
		mem = (unsigned long *)(s->d->devmem +
					(entry->addr - FAKE_DEVICE_BASE));
	mem += (offset - at) / sizeof(*mem);
	for (i = 0; i < PS / sizeof(*mem); i++) {
		unsigned long word = __atomic_load_n(&mem[i], __ATOMIC_RELAXED);

		/* The device wrote over what it should not see: once. */
		if (word && word != MARK)
			s->poison++;
		__atomic_store_n(&mem[i], MARK, __ATOMIC_RELAXED);
		if (i % 64 == 0)
			sched_yield();
	}
	s->reads++;
	s->writes++;
}

static void *device(void *arg)
{
	struct strict *s = arg;

	while (!over(s)) {
		struct changer *c = &s->changer[test_random_below(CHANGERS)];
		struct drm_gpusvm_range *range;
		unsigned int i;

		fake_driver_lock(s->d);
		fake_collect(s->d);
		range = fake_fault_devmem(s->d, c->mem);
		if (IS_ERR(range))
			goto unlock;
		if (s->migrate && !fake_valid(s->d, range))
			(void)!fake_migrate(s->d, range, NULL);
		if (fake_get_pages(s->d, range))
			goto unlock;
		/* As long as nobody says otherwise. */
		for (i = 0; i < 50; i++) {
			size_t offset = test_random_below(SLOT / PS) * PS;
			bool valid;

			drm_gpusvm_notifier_lock(&s->d->gpusvm);
			valid = drm_gpusvm_range_pages_valid(&s->d->gpusvm,
							     range);
			if (valid)
				use_page(s, range, offset);
			drm_gpusvm_notifier_unlock(&s->d->gpusvm);
			if (!valid)
				break;
		}
	unlock:
		fake_driver_unlock(s->d);
	}
	return NULL;
}

/* ---- Changes ---- */

static void fill(struct changer *c, unsigned long value)
{
	unsigned long *mem = (unsigned long *)c->mem;
	size_t i;

	for (i = 0; i < SLOT / sizeof(*mem); i++)
		__atomic_store_n(&mem[i], value, __ATOMIC_RELAXED);
}

/* Nobody has written over the poison. */
static void check(struct changer *c, unsigned long value)
{
	unsigned long *mem = (unsigned long *)c->mem;
	size_t i;

	for (i = 0; i < SLOT / sizeof(*mem); i++)
		if (__atomic_load_n(&mem[i], __ATOMIC_RELAXED) != value)
			c->written_over++;
}

/* What was announced, but did not happen: poison, and take it away. */
static void poison(struct changer *c, enum mmu_notifier_event event)
{
	struct gpusvm_change change;

	gpusvm_change_begin(&change, event, c->mem, SLOT);
	fill(c, POISON);
	sched_yield();
	check(c, POISON);
	fill(c, 0);
	gpusvm_change_end(&change, false);
}

static void poison_clear(struct changer *c)
{
	poison(c, MMU_NOTIFY_CLEAR);
}

static void poison_protection(struct changer *c)
{
	poison(c, MMU_NOTIFY_PROTECTION_VMA);
}

/* Where there is nothing; the kernel may have given it to another thread. */
static bool map_again(struct changer *c, int prot)
{
	void *mem = gpusvm_mmap(
		c->mem, SLOT, prot,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	__atomic_store_n(&c->lost, mem != c->mem, __ATOMIC_RELAXED);
	return mem == c->mem;
}

/* Unmapped, and at once somebody else's, who has other data there. */
static void reuse(struct changer *c)
{
	struct gpusvm_change change;

	test_area_note(c->mem, SLOT, true);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, c->mem, SLOT);
	c->failed += munmap(c->mem, SLOT) != 0;
	if (map_again(c, PROT_READ | PROT_WRITE)) {
		fill(c, POISON);
		sched_yield();
		check(c, POISON);
		fill(c, 0);
	}
	gpusvm_change_end(&change, true);
}

/* The hooks themselves: a device that goes on gets SIGSEGV. */
static void hook_munmap(struct changer *c)
{
	test_area_note(c->mem, SLOT, true);
	c->failed += gpusvm_munmap(c->mem, SLOT) != 0;
	map_again(c, PROT_READ | PROT_WRITE);
}

static void hook_mprotect(struct changer *c)
{
	c->failed += gpusvm_mprotect(c->mem, SLOT, PROT_NONE) != 0;
	sched_yield();
	c->failed += gpusvm_mprotect(c->mem, SLOT, PROT_READ | PROT_WRITE) != 0;
}

static void hook_madvise(struct changer *c)
{
	struct gpusvm_change change;

	/* Poison of ours that the device must not meet afterwards either. */
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, c->mem, SLOT);
	fill(c, POISON);
	gpusvm_madvise(c->mem, SLOT, MADV_DONTNEED);
	check(c, 0);
	gpusvm_change_end(&change, true);
}

/* Away and back; where it was there is nothing, then nothing to be read. */
static void hook_mremap(struct changer *c)
{
	unsigned char *away = c->mem + SZ_1M;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	test_area_note(c->mem, SLOT, true);
	c->failed += gpusvm_mremap(c->mem, SLOT, SLOT, flags, away) != away;
	if (!map_again(c, PROT_NONE))
		return;
	sched_yield();
	/* The other place remains ours, for the next time. */
	c->failed += gpusvm_mremap(away, SLOT, SLOT, flags | MREMAP_DONTUNMAP,
				   c->mem) != c->mem;
}

static void *change_all_the_time(void *arg)
{
	struct changer *c = arg;

	while (!over(c->strict) && !c->lost) {
		unsigned long writes =
			__atomic_load_n(&c->strict->writes, __ATOMIC_RELAXED);

		c->strict->change(c);
		__atomic_fetch_add(&c->changes, 1, __ATOMIC_RELAXED);
		/* Until the device has come some way again, if it does. */
		while (!over(c->strict) &&
		       __atomic_load_n(&c->strict->writes, __ATOMIC_RELAXED) <
			       writes + 2)
			sched_yield();
	}
	return NULL;
}

/* ---- The tests ---- */

static void run(void (*change)(struct changer *c), bool migrate)
{
	struct strict s = {
		.d = fake_driver_create(NULL),
		.change = change,
		.migrate = migrate,
	};
	struct test_area *area = test_area_reserve(2 * SZ_1M, SZ_1M);
	pthread_t thread[CHANGERS], device_thread;
	unsigned int i;

	for (i = 0; i < CHANGERS; i++) {
		s.changer[i].strict = &s;
		s.changer[i].mem = test_area_anon(area, i * SZ_128K, SLOT);
	}
	s.end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS) / KINDS;
	s.last_end = s.end + test_scaled_ms(LEAST_WAIT_MS);
	test_thread_start(&device_thread, device, &s);
	for (i = 0; i < CHANGERS; i++)
		test_thread_start(&thread[i], change_all_the_time,
				  &s.changer[i]);
	for (i = 0; i < CHANGERS; i++)
		test_thread_join(thread[i]);
	test_thread_join(device_thread);
	for (i = 0; i < CHANGERS; i++)
		test_area_note(s.changer[i].mem, SLOT, s.changer[i].lost);

	print_message("%lu pages used, %u times to the device; changes:",
		      s.writes, s.d->copies_to_devmem);
	for (i = 0; i < CHANGERS; i++)
		print_message(" %lu", s.changer[i].changes);
	print_message("\n");
	assert_int_equal(s.poison, 0);
	for (i = 0; i < CHANGERS; i++) {
		assert_int_equal(s.changer[i].written_over, 0);
		assert_int_equal(s.changer[i].failed, 0);
		assert_true(has_done_enough(&s.changer[i]));
	}
	assert_true(s.writes > 0);
	assert_true(!migrate || s.d->copies_to_devmem > 0);
	fake_driver_destroy(s.d);
}

static void strict_clear(void **state)
{
	(void)state;
	run(poison_clear, false);
}

static void strict_protection(void **state)
{
	(void)state;
	run(poison_protection, false);
}

static void strict_reuse(void **state)
{
	(void)state;
	run(reuse, false);
}

static void strict_reuse_of_device_memory(void **state)
{
	(void)state;
	run(reuse, true);
}

static void strict_munmap(void **state)
{
	(void)state;
	run(hook_munmap, false);
}

static void strict_munmap_of_device_memory(void **state)
{
	(void)state;
	run(hook_munmap, true);
}

static void strict_mprotect(void **state)
{
	(void)state;
	run(hook_mprotect, false);
}

static void strict_madvise(void **state)
{
	(void)state;
	run(hook_madvise, false);
}

static void strict_mremap(void **state)
{
	(void)state;
	run(hook_mremap, false);
}

static void strict_mremap_of_device_memory(void **state)
{
	(void)state;
	run(hook_mremap, true);
}

static const struct CMUnitTest tests[] = {
	conf_test(strict_clear),    conf_test(strict_protection),
	conf_test(strict_reuse),    conf_test(strict_reuse_of_device_memory),
	conf_test(strict_munmap),   conf_test(strict_munmap_of_device_memory),
	conf_test(strict_mprotect), conf_test(strict_madvise),
	conf_test(strict_mremap),   conf_test(strict_mremap_of_device_memory),
};

_Static_assert(sizeof(tests) / sizeof(*tests) == KINDS, "time for each");

CONF_MAIN(tests)
