/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group M: with the notifier lock held the library neither
 * allocates nor touches memory that might be on a device.
 *
 * The linker puts the functions below in front of the lock and the allocators
 * (--wrap); what touches device memory shows in the counters of faults.
 */
#include "fake_driver.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/mman.h>

void *__real_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void __real_gpusvm_down_read(struct rw_semaphore *sem);
void __real_gpusvm_up_read(struct rw_semaphore *sem);
void __real_gpusvm_down_write(struct rw_semaphore *sem);
void __real_gpusvm_up_write(struct rw_semaphore *sem);
void *__wrap_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_gpusvm_down_read(struct rw_semaphore *sem);
void __wrap_gpusvm_up_read(struct rw_semaphore *sem);
void __wrap_gpusvm_down_write(struct rw_semaphore *sem);
void __wrap_gpusvm_up_write(struct rw_semaphore *sem);

/* The lock to look at. */
static struct rw_semaphore *watched;
/* Sections of it, what was allocated in them, and touched. */
static unsigned int sections;
static unsigned int allocations;
static unsigned int faults;

static __thread unsigned int held;
static __thread unsigned long faults_before;

static unsigned long count_faults(void)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };

	if (gpusvm_mm_get_stats(test_mm, &stats))
		return 0;
	return stats.cpu_faults + stats.zero_faults;
}

static void enter(struct rw_semaphore *sem)
{
	if (sem != __atomic_load_n(&watched, __ATOMIC_ACQUIRE))
		return;
	__atomic_add_fetch(&sections, 1, __ATOMIC_RELAXED);
	held++;
	faults_before = count_faults();
}

static void leave(struct rw_semaphore *sem)
{
	/* It may have been locked before it was looked at. */
	if (sem != __atomic_load_n(&watched, __ATOMIC_ACQUIRE) || !held)
		return;
	held--;
	if (count_faults() != faults_before)
		__atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
}

static void allocating(void)
{
	if (held)
		__atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
}

void __wrap_gpusvm_down_read(struct rw_semaphore *sem)
{
	__real_gpusvm_down_read(sem);
	enter(sem);
}

void __wrap_gpusvm_up_read(struct rw_semaphore *sem)
{
	leave(sem);
	__real_gpusvm_up_read(sem);
}

void __wrap_gpusvm_down_write(struct rw_semaphore *sem)
{
	__real_gpusvm_down_write(sem);
	enter(sem);
}

void __wrap_gpusvm_up_write(struct rw_semaphore *sem)
{
	leave(sem);
	__real_gpusvm_up_write(sem);
}

void *__wrap_gpusvm_alloc(size_t size)
{
	allocating();
	return __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	allocating();
	return __real_gpusvm_alloc_array(n, size);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	allocating();
	return __real_gpusvm_alloc_pages(size, align);
}

void *__wrap_malloc(size_t size)
{
	allocating();
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocating();
	return __real_calloc(n, size);
}

static void stop_watching(void *arg)
{
	(void)arg;
	__atomic_store_n(&watched, NULL, __ATOMIC_RELEASE);
}

static void watch(struct fake_driver *d)
{
	sections = allocations = faults = 0;
	test_cleanup(stop_watching, NULL);
	__atomic_store_n(&watched, &d->gpusvm.notifier_lock, __ATOMIC_RELEASE);
}

static void check_clean(unsigned int at_least)
{
	print_message("%u sections\n", sections);
	assert_true(sections >= at_least);
	assert_int_equal(allocations, 0);
	assert_int_equal(faults, 0);
}

/* The trap itself. */
static void conf_148_allocations_are_seen(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	void *block;

	(void)state;
	watch(d);
	drm_gpusvm_notifier_lock(&d->gpusvm);
	block = gpusvm_alloc(64);
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	gpusvm_free(block);
	assert_int_equal(sections, 1);
	assert_int_equal(allocations, 1);
}

static void conf_148_system_memory(void **state)
{
	const struct fake_driver_config config = { .dma = true };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range;
	unsigned int i;

	(void)state;
	watch(d);
	for (i = 0; i < 3; i++) {
		range = fake_fault(d, mem);
		assert_ok_ptr(range);
		assert_ret(fake_get_pages(d, range), 0);
		assert_ret(fake_get_pages(d, range), 0);
		fake_unmap_pages(d, range);
		assert_ret(fake_get_pages(d, range), 0);
		test_madvise_sync(mem, SZ_1M, MADV_DONTNEED);
		assert_ret(fake_get_pages(d, range), 0);
		fake_remove(d, range);
	}
	check_clean(3 * 5);
}

static void conf_148_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	unsigned int i;

	(void)state;
	/* Beside memory that is on the device all the time. */
	test_fill(mem, 2 * SZ_64K, 1);
	fake_migrate_span(d, mem + SZ_64K, SZ_64K);
	watch(d);
	for (i = 0; i < 3; i++) {
		range = fake_range_at(d, mem, SZ_64K);
		assert_ret(fake_migrate(d, range, &alloc), 0);
		assert_ret(fake_get_pages(d, range), 0);
		fake_unmap_pages(d, range);
		assert_ret(fake_get_pages(d, range), 0);
		if (i == 0)
			assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
		else if (i == 1)
			assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range),
				   0);
		else
			test_munmap_sync(mem, SZ_64K);
		fake_remove(d, range);
	}
	check_clean(3 * 5);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_148_allocations_are_seen),
	conf_test(conf_148_system_memory),
	conf_test(conf_148_device_memory),
};

CONF_MAIN(tests)
