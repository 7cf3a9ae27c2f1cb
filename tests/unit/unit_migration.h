/* SPDX-License-Identifier: MIT */
/*
 * What the tests of migrations share: one allocation of device pages, the fake
 * source with the program's memory, and the copies that a driver would make.
 */
#ifndef TESTS_UNIT_MIGRATION_H
#define TESTS_UNIT_MIGRATION_H

#include "unit_thread.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "handler.h"
#include "page_size.h"
#include "uapi.h"

#define WINDOW 64ul /* pages of program memory */

static struct fake_source *fake;
static struct mm_struct *mm;
static struct dev_pagemap *pgmap;
static struct fake_owner owner;
static struct migration m;

static inline void read_events(void *arg)
{
	(void)arg;
	gpusvm_handler_settle(mm, 0);
}

/*
 * What the kernel does: the event is read before the pages are dropped, and not
 * by the caller.
 */
static inline bool dontneed_raises_event(const unsigned long *args, long *ret)
{
	unsigned long first = (args[0] - fake->start) >> PAGE_SHIFT;
	struct unit_thread reader;

	(void)ret;
	if (args[2] == MADV_DONTNEED && args[0] >= fake->start &&
	    first < fake->npages) {
		fake_source_push(fake, (struct source_event){
					       .type = SOURCE_REMOVE,
					       .start = args[0],
					       .end = args[0] + args[1],
				       });
		unit_thread_start(&reader, read_events, NULL);
		unit_thread_join(&reader);
	}
	return false;
}

static inline bool no_sleep(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	return true;
}

static inline void migration_setup(enum gpusvm_technique technique,
				   unsigned long npages)
{
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_MADVISE, dontneed_raises_event);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, no_sleep);
	fake_sys_hook(FAKE_SYS_YIELD, no_sleep);
	fake = fake_source_create(WINDOW, technique);
	mm = fake->mm;
	pgmap = fake_devmem_create(npages);
	owner = (struct fake_owner){ .refs = 1 };
	assert_int_equal(gpusvm_migration_init(&m, mm, npages), 0);
}

/* All is over: no page in use, no reference, nothing allocated. */
static inline void migration_teardown(void)
{
	fake_source_finish(fake);
	assert_int_equal(mm->allocations, 1);
	gpusvm_migration_fini(&m);
	assert_int_equal(mm->allocations, 0);
	assert_int_equal(mm->count.refcount, 1);
	assert_int_equal(owner.refs, 1);
	assert_int_equal(mm->pt.npages, 0);
	assert_int_equal(mm->staging.bytes, fake_retired_bytes(fake));
	assert_true(fake_devmem_destroy(pgmap));
	assert_true(fake_source_destroy(fake));
	fake_sys_reset();
}

static inline void *window(unsigned long i)
{
	return (void *)fake_addr(fake, i);
}

static inline struct page *device_page(unsigned long i)
{
	return &pgmap->pages[i];
}

static inline void *device_memory(unsigned long i)
{
	return gpusvm_page_address(device_page(i));
}

/* Start to use the device's pages for the migration, in order. */
static inline void take_device_pages(void)
{
	unsigned long i;

	for (i = 0; i < m.npages; i++) {
		m.pages[i] = device_page(i);
		assert_int_equal(gpusvm_page_init(m.pages[i], &owner), 0);
	}
}

static inline void copy_to_device(void)
{
	unsigned long i;

	for (i = 0; i < m.npages; i++) {
		if (m.ram[i])
			memcpy(gpusvm_page_address(m.pages[i]),
			       (void *)m.ram[i], PAGE_SIZE);
		else
			memset(gpusvm_page_address(m.pages[i]), 0, PAGE_SIZE);
	}
}

static inline void copy_to_ram(void)
{
	unsigned long i;

	for (i = 0; i < m.npages; i++)
		if (m.ram[i])
			memcpy((void *)m.ram[i],
			       gpusvm_page_address(m.pages[i]), PAGE_SIZE);
}

static inline int migrate_out(unsigned long first)
{
	int err;

	take_device_pages();
	err = gpusvm_migrate_out_begin(&m, fake_addr(fake, first));
	if (err)
		return err;
	copy_to_device();
	err = gpusvm_migrate_out_commit(&m);
	if (err)
		gpusvm_migrate_out_abort(&m);
	return err;
}

static inline long migrate_home(unsigned long first, unsigned long n)
{
	if (gpusvm_migrate_home_begin(&m, fake_addr(fake, first),
				      fake_addr(fake, first + n)) <= 0)
		return 0;
	copy_to_ram();
	return gpusvm_migrate_home_commit(&m);
}

/* Read every event that is there. */
static inline void settle(void)
{
	gpusvm_handler_settle(mm, 0);
	fake_source_finish(fake);
	assert_int_equal(fake->nevents, 0);
}

/* The program unmaps everything, so that nothing stays on the device. */
static inline void unmap_all(void)
{
	fake_source_unmap(fake, 0, WINDOW);
	settle();
}

static inline struct page *entry_at(unsigned long i)
{
	return gpusvm_devpt_get(&mm->pt, fake_addr(fake, i));
}

/* Page @i of the program is page @j of the device, and rests there. */
static inline void assert_on_device(unsigned long i, unsigned long j)
{
	assert_ptr_equal(entry_at(i), device_page(j));
	assert_int_equal(device_page(j)->vaddr, fake_addr(fake, i));
	assert_int_equal(gpusvm_page_refs(device_page(j)), 1);
	assert_null(device_page(j)->migration);
	assert_false(fake_present(fake_addr(fake, i)));
}

/* No device page is in use, the program has its pages. */
static inline void assert_nothing_on_device(void)
{
	unsigned long i;

	assert_int_equal(mm->pt.npages, 0);
	for (i = 0; i < m.npages; i++) {
		assert_int_equal(gpusvm_page_refs(device_page(i)), 0);
		assert_int_equal(device_page(i)->vaddr, 0);
	}
	assert_int_equal(owner.refs, 1);
}

static inline bool any_flag(unsigned int flag)
{
	unsigned long i;

	for (i = 0; i < WINDOW; i++)
		if (fake->flags[i] & flag)
			return true;
	return false;
}

#endif /* TESTS_UNIT_MIGRATION_H */
