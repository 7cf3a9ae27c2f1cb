/* SPDX-License-Identifier: MIT */
/*
 * Closing the address space while others change it or hold on to a page: no
 * data is lost, and nothing is written to memory that was given back.
 */
#include "fake_driver.h"

#include <string.h>

/* ---- mremap() behind the pass that brings everything home ---- */

/* Moves @from to @to when the first page is on its way home. */
struct mover {
	void *from;
	void *to;
	bool go;
	bool done;
	bool moved;
};

static void *move_when_told(void *arg)
{
	struct mover *m = arg;

	if (test_wait_for(__atomic_load_n(&m->go, __ATOMIC_ACQUIRE),
			  TEST_WAIT_MS))
		m->moved = test_try_mremap(m->from, SZ_64K, m->to);
	__atomic_store_n(&m->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void wait_for_mover(struct fake_driver *d, enum fake_hook where,
			   const void *arg, void *priv)
{
	struct mover *m = priv;

	(void)d;
	(void)arg;
	if (where != FAKE_AT_COPY_TO_RAM ||
	    __atomic_exchange_n(&m->go, true, __ATOMIC_ACQ_REL))
		return;
	test_wait_for(__atomic_load_n(&m->done, __ATOMIC_ACQUIRE),
		      TEST_WAIT_MS);
}

static void close_finds_what_mremap_moved_behind_it(void **state)
{
	struct test_area *area = test_area_reserve(4 * SZ_2M, SZ_2M);
	struct fake_driver *d = fake_driver_create(NULL);
	struct mover *m = gpusvm_alloc(sizeof(*m));
	unsigned char *low, *middle, *high;
	struct fake_alloc *alloc[2];
	pthread_t thread;

	(void)state;
	assert_non_null(m);
	test_cleanup(gpusvm_free, m);
	low = test_area_anon(area, 0, SZ_64K);
	middle = test_area_anon(area, SZ_2M, SZ_64K);
	high = test_area_anon(area, 2 * SZ_2M, SZ_64K);
	test_fill(middle, SZ_64K, 1);
	test_fill(high, SZ_64K, 2);
	fake_dev_range(d, middle, SZ_64K, &alloc[0]);
	fake_dev_range(d, high, SZ_64K, &alloc[1]);
	m->from = high;
	m->to = low;
	test_thread_start(&thread, move_when_told, m);
	d->hook_priv = m;
	__atomic_store_n(&d->hook, wait_for_mover, __ATOMIC_RELEASE);

	test_mm_close();
	test_thread_join(thread);
	assert_true(m->go);
	assert_true(m->moved);
	assert_filled(low, SZ_64K, 2);
	assert_filled(middle, SZ_64K, 1);
	assert_int_equal(alloc[0]->released, 1);
	assert_int_equal(alloc[1]->released, 1);
	assert_int_equal(fake_devmem_used(d), 0);
	fake_driver_destroy(d);
	test_mm_reopen();
}

/* ---- A page that the driver holds ---- */

#define NBLOCKS 32

static void close_waits_for_a_held_page(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M), *block[NBLOCKS];
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	struct fake_alloc *alloc;
	struct page *page;
	unsigned int i;

	(void)state;
	test_fill(mem, SZ_2M, 1);
	fake_dev_range(d, mem, SZ_2M, &alloc);
	page = fake_alloc_struct_page(alloc, 7);
	gpusvm_page_get(page);
	test_munmap_sync(mem, SZ_2M);
	fake_driver_fini(d);

	assert_ret(gpusvm_mm_close(test_mm), -EBUSY);
	assert_ret(gpusvm_mm_get_stats(test_mm, &stats), 0);
	assert_int_equal(alloc->released, 0);
	for (i = 0; i < PS; i++)
		assert_int_equal(fake_alloc_page(alloc, 7)[i],
				 test_pattern(7 * PS + i, 1));
	/* Whatever closing gave back is somebody else's now. */
	for (i = 0; i < NBLOCKS; i++) {
		block[i] = gpusvm_alloc(SZ_1M);
		assert_non_null(block[i]);
		memset(block[i], 0x55, SZ_1M);
	}
	gpusvm_page_put(page);
	assert_int_equal(alloc->released, 1);
	for (i = 0; i < NBLOCKS; i++) {
		assert_int_equal(test_match_byte(block[i], SZ_1M, 0x55), SZ_1M);
		gpusvm_free(block[i]);
	}
	test_mm_close();
	fake_driver_destroy(d);
	test_mm_reopen();
}

static const struct CMUnitTest tests[] = {
	conf_test(close_finds_what_mremap_moved_behind_it),
	conf_test(close_waits_for_a_held_page),
};

CONF_MAIN(tests)
