/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group J: a migration to the device that fails half way leaves
 * memory as it was.
 */
#include "fake_driver.h"

#include <errno.h>
#include <sys/mman.h>

#define PAGES_64K (SZ_64K / PS)

static const size_t sizes[] = { SZ_64K, SZ_2M };

/* Half of it has data, the other half was never touched. */
struct victim {
	struct fake_driver *d;
	unsigned char *mem;
	size_t size;
	struct drm_gpusvm_range *range;
};

static void make_victim(struct victim *v, size_t size, bool dma)
{
	const struct fake_driver_config config = { .dma = dma };

	v->d = fake_driver_create(&config);
	v->size = size;
	v->mem = test_map(size, SZ_2M);
	v->range = fake_range_at(v->d, v->mem, size);
	test_fill(v->mem, size / 2, 1);
}

/* Try to migrate, and find everything as before. */
static void check_failure(struct victim *v, int expected)
{
	struct fake_alloc *alloc;
	size_t half = v->size / 2;

	assert_ret(fake_migrate(v->d, v->range, &alloc), expected);
	assert_int_equal(v->d->releases, 0);
	assert_int_equal(alloc->released, 0);
	assert_false(gpusvm_completion_done(&alloc->base.detached));
	assert_int_equal(fake_devmem_used(v->d), 0);
	assert_int_equal(v->d->copies_to_ram, 0);
	assert_int_equal(v->d->dma_maps, v->d->dma_unmaps);

	assert_filled(v->mem, half, 1);
	test_fill(v->mem, half, 2);
	assert_filled(v->mem, half, 2);
	assert_zeroed(v->mem + half, half);
	test_touch_write(v->mem + half, PS);
	test_madvise_sync(v->mem + half, half, MADV_DONTNEED);
	test_fill(v->mem, half, 1);
}

/* And with nothing in the way it works. */
static void check_recovery(struct victim *v)
{
	assert_ret(fake_migrate(v->d, v->range, NULL), 0);
	assert_ret(fake_get_pages(v->d, v->range), 0);
	assert_int_equal(v->range->flags.has_devmem_pages, 1);
	assert_filled(v->mem, v->size / 2, 1);
	assert_zeroed(v->mem + v->size / 2, v->size / 2);
	test_wait_until(v->d->releases == 1);
	fake_driver_destroy(v->d);
}

static void conf_120_populate_fails(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct victim v;

		make_victim(&v, sizes[i], false);
		fake_fault_arm(&v.d->fail_populate, -ENOSPC, 1, 1);
		check_failure(&v, -ENOSPC);
		assert_int_equal(v.d->copies_to_devmem, 0);
		check_recovery(&v);
	}
}

static void conf_120_copy_fails(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct victim v;

		make_victim(&v, sizes[i], false);
		fake_fault_arm(&v.d->fail_copy_to_devmem, -EIO, 1, 3);
		check_failure(&v, -EIO);
		check_failure(&v, -EIO);
		check_failure(&v, -EIO);
		check_recovery(&v);
	}
}

static void conf_120_dma_mapping_fails(void **state)
{
	unsigned int k;

	(void)state;
	for (k = 1; k <= PAGES_64K / 2; k++) {
		struct victim v;

		make_victim(&v, SZ_64K, true);
		fake_fault_arm(&v.d->fail_dma_map, -EIO, k, 1);
		check_failure(&v, -EFAULT);
		assert_int_equal(v.d->dma_maps, k - 1);
		assert_int_equal(fake_unbalanced_maps(v.d), 0);
		assert_int_equal(v.d->copies_to_devmem, 0);
		check_recovery(&v);
	}
}

/* Names of pages that are no device memory, or of pages in use. */
static int wrong_pages(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		       unsigned long *pfn)
{
	int err = fake_devmem_ops.populate_devmem_pfn(devmem, npages, pfn);

	pfn[npages - 1] = 1;
	return err;
}

static int same_pages(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		      unsigned long *pfn)
{
	int err = fake_devmem_ops.populate_devmem_pfn(devmem, npages, pfn);

	pfn[npages - 1] = pfn[0];
	return err;
}

static void conf_120_populate_names_wrong_pages(void **state)
{
	struct drm_gpusvm_devmem_ops ops = fake_devmem_ops;
	struct victim v;
	struct fake_alloc *alloc;
	unsigned int i;

	(void)state;
	make_victim(&v, SZ_64K, false);
	v.d->devmem_ops = &ops;
	for (i = 0; i < 2; i++) {
		ops.populate_devmem_pfn = i ? same_pages : wrong_pages;
		assert_int_not_equal(fake_migrate(v.d, v.range, &alloc), 0);
		assert_int_equal(alloc->released, 0);
		assert_int_equal(v.d->copies_to_devmem, 0);
		assert_filled(v.mem, SZ_32K, 1);
		assert_zeroed(v.mem + SZ_32K, SZ_32K);
		test_madvise_sync(v.mem + SZ_32K, SZ_32K, MADV_DONTNEED);
	}
	v.d->devmem_ops = &fake_devmem_ops;
	check_recovery(&v);
}

/* The CPU tries to write while the migration runs that will fail. */
struct writer {
	volatile unsigned char *at;
	bool go;
	bool done;
};

static void *write_when_told(void *arg)
{
	struct writer *w = arg;

	if (!test_wait_for(__atomic_load_n(&w->go, __ATOMIC_ACQUIRE),
			   TEST_WAIT_MS))
		return NULL;
	*w->at = 0x5a;
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void let_write(struct fake_driver *d, enum fake_hook where,
		      const void *arg, void *priv)
{
	struct writer *w = priv;

	(void)d;
	(void)arg;
	if (where != FAKE_AT_COPY_TO_DEVMEM)
		return;
	__atomic_store_n(&w->go, true, __ATOMIC_RELEASE);
	/* It waits for the end of the migration. */
	test_wait_for(__atomic_load_n(&w->done, __ATOMIC_ACQUIRE), 20);
}

static void conf_120_writer_survives_the_failure(void **state)
{
	struct writer *w = gpusvm_alloc(sizeof(*w));
	struct victim v;
	pthread_t thread;
	int err;

	(void)state;
	assert_non_null(w);
	test_cleanup(gpusvm_free, w);
	make_victim(&v, SZ_64K, false);
	w->at = v.mem + PS + 17;
	v.d->hook_priv = w;
	v.d->hook = let_write;
	fake_fault_arm(&v.d->fail_copy_to_devmem, -EIO, 1, 1);
	test_thread_start(&thread, write_when_told, w);
	err = fake_migrate(v.d, v.range, NULL);
	__atomic_store_n(&w->go, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	v.d->hook = NULL;
	assert_ret(err, -EIO);
	assert_true(w->done);
	assert_int_equal(v.mem[PS + 17], 0x5a);
	v.mem[PS + 17] = test_pattern(PS + 17, 1);
	assert_filled(v.mem, SZ_32K, 1);
	check_recovery(&v);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_120_populate_fails),
	conf_test(conf_120_copy_fails),
	conf_test(conf_120_dma_mapping_fails),
	conf_test(conf_120_populate_names_wrong_pages),
	conf_test(conf_120_writer_survives_the_failure),
};

CONF_MAIN(tests)
