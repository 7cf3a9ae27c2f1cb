/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group F: drm_gpusvm_range_get_pages() while other threads
 * change the memory.
 */
#include "fake_driver.h"

#include <string.h>

#define ROUNDS 200

/* ---- 78: an invalidation between collection and mapping ---- */

static const unsigned long halves_chunks[] = { SZ_64K, SZ_32K };
static const struct fake_driver_config halves = {
	.chunks = halves_chunks,
	.num_chunks = 2,
};

/* In memory that never migrates: a callback waits for it. */
struct injection {
	struct fake_alloc *victim;
	bool wanted;
	bool done;
	bool in_time;
	int err;
};

static void *evict_when_wanted(void *arg)
{
	struct injection *inj = arg;

	if (!test_wait_for(__atomic_load_n(&inj->wanted, __ATOMIC_ACQUIRE),
			   TEST_WAIT_MS))
		return NULL;
	inj->err = drm_gpusvm_evict_to_ram(&inj->victim->base);
	__atomic_store_n(&inj->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * The other owner's half comes home as a part of the collection: meanwhile
 * have the half that was collected before evicted.
 */
static void inject(struct fake_driver *d, enum fake_hook where, const void *arg,
		   void *priv)
{
	struct injection *inj = priv;

	(void)d;
	(void)arg;
	if (where != FAKE_AT_COPY_TO_RAM ||
	    __atomic_exchange_n(&inj->wanted, true, __ATOMIC_ACQ_REL))
		return;
	inj->in_time = test_wait_for(
		__atomic_load_n(&inj->done, __ATOMIC_ACQUIRE), 2000);
}

static void conf_078_invalidated_while_collecting(void **state)
{
	struct fake_driver *other = fake_driver_create(&halves);
	struct fake_driver *d = fake_driver_create(&halves);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct injection *inj = gpusvm_alloc(sizeof(*inj));
	struct drm_gpusvm_range *range;
	bool in_time;
	pthread_t thread;
	int err;

	(void)state;
	assert_non_null(inj);
	test_fill(mem, SZ_64K, 1);
	inj->victim = fake_migrate_span(d, mem, SZ_32K);
	fake_migrate_span(other, mem + SZ_32K, SZ_32K);
	range = fake_range_at(d, mem, SZ_64K);
	other->hook_priv = inj;
	other->hook = inject;
	test_thread_start(&thread, evict_when_wanted, inj);

	err = fake_get_pages(d, range);
	/* Let the thread end also if the hook was never called. */
	__atomic_store_n(&inj->wanted, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	other->hook = NULL;
	in_time = inj->in_time;
	assert_ret(inj->err, 0);
	gpusvm_free(inj);
	if (!in_time)
		test_skip("an eviction waits while other memory comes home");

	/* All system memory by now, and that is what must be mapped. */
	assert_ret(err, 0);
	assert_true(fake_valid(d, range));
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_int_equal(fake_unbalanced_maps(d), 0);
	assert_int_equal(d->device_maps, d->device_unmaps);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

/* The CPU counts in the first word of the memory, so calls it home. */
struct counting {
	volatile unsigned long *word;
	unsigned long published;
	bool stop;
};

static void *count_up(void *arg)
{
	struct counting *c = arg;
	unsigned long value = 0;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(c->word, ++value, __ATOMIC_RELEASE);
		__atomic_store_n(&c->published, value, __ATOMIC_RELEASE);
		test_relax();
	}
	return NULL;
}

/* Whether a look at the word through the device showed an old value. */
static bool look(struct fake_driver *d, struct drm_gpusvm_range *range,
		 struct counting *c, unsigned int *looks)
{
	unsigned long published, value;

	published = __atomic_load_n(&c->published, __ATOMIC_ACQUIRE);
	if (fake_dev_read(d, range, 0, &value, sizeof(value)))
		return false;
	++*looks;
	if (value >= published)
		return false;
	print_error("the device reads %lu after %lu was written\n", value,
		    published);
	return true;
}

static void conf_078_never_stale(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct counting *c = gpusvm_alloc(sizeof(*c));
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	unsigned int round, looks = 0, stale = 0, wrong = 0;
	pthread_t thread;

	(void)state;
	assert_non_null(c);
	test_touch_write(mem, SZ_64K);
	memset(mem, 0, sizeof(unsigned long));
	c->word = (volatile unsigned long *)(void *)mem;
	test_thread_start(&thread, count_up, c);
	for (round = 0; round < ROUNDS; round++) {
		int err;

		if (round % 2)
			(void)!fake_migrate(d, range, NULL);
		err = fake_get_pages(d, range);
		/* A part may be home when the others were looked at. */
		if (err && err != -EOPNOTSUPP)
			wrong++;
		stale += look(d, range, c, &looks);
	}
	__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	assert_int_equal(stale, 0);
	assert_int_equal(wrong, 0);
	assert_true(looks > 0);
	assert_int_equal(*c->word, c->published);
	gpusvm_free(c);
}

/* ---- 79: invalidations without end ---- */

#define BIG (256ul << 20)
#define SCRATCH (300ul << 20)

struct noise {
	struct fake_driver *d;
	struct drm_gpusvm_range *range;
	bool stop;
	unsigned long rounds;
	int err;
};

static int make_noise(struct noise *n)
{
	struct fake_alloc *alloc;
	int err = fake_migrate(n->d, n->range, &alloc);

	if (!err)
		err = drm_gpusvm_evict_to_ram(&alloc->base);
	return err;
}

/* Each round raises events in every notifier around the scratch memory. */
static void *noise_thread(void *arg)
{
	struct noise *n = arg;

	while (!__atomic_load_n(&n->stop, __ATOMIC_ACQUIRE)) {
		int err = make_noise(n);

		if (err)
			n->err = err;
		__atomic_fetch_add(&n->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/*
 * [F] B5.  The big range takes so long to collect that an event comes in
 * between, at least in one of some attempts.
 */
static void conf_079_continuous_invalidation(void **state)
{
	const unsigned long big_chunks[] = { BIG };
	const struct fake_driver_config big = { .chunks = big_chunks,
						.num_chunks = 1 };
	const struct drm_gpusvm_ctx read_only = { .read_only = 1 };
	struct fake_driver *d = fake_driver_create(&big);
	struct test_area *area = test_area_reserve(SZ_512M, SZ_512M);
	unsigned char *mem = test_area_anon(area, 0, BIG);
	struct noise noise = { .d = fake_driver_create(NULL) };
	struct drm_gpusvm_range *range;
	unsigned long longest = 0;
	size_t blocks, after;
	pthread_t thread;
	int err = 0, i;

	(void)state;
	noise.range =
		fake_range_at(noise.d, test_area_anon(area, SCRATCH, PS), PS);
	assert_ret(make_noise(&noise), 0);
	blocks = test_live_blocks();
	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	assert_int_equal(drm_gpusvm_range_size(range), BIG);
	test_thread_start(&thread, noise_thread, &noise);
	test_wait_for(__atomic_load_n(&noise.rounds, __ATOMIC_ACQUIRE) > 0,
		      TEST_WAIT_MS);
	for (i = 0; i < 5 && err != -EBUSY; i++) {
		unsigned long start = test_now_ms();

		err = fake_get_pages_ctx(d, range, &read_only);
		if (test_now_ms() - start > longest)
			longest = test_now_ms() - start;
		fake_unmap_pages(d, range);
		if (err && err != -EBUSY)
			break;
	}
	__atomic_store_n(&noise.stop, true, __ATOMIC_RELEASE);
	test_thread_join(thread);

	print_message("%lu rounds of noise, %d calls, the longest %lu ms\n",
		      noise.rounds, i, longest);
	assert_ret(noise.err, 0);
	assert_true(longest < test_scaled_ms(4000));
	if (err == 0)
		test_skip("the events were never dense enough");
	assert_ret(err, -EBUSY);
	assert_false(fake_valid(d, range));
	assert_true(d->num_events > 0);

	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_true(fake_valid(d, range));
	fake_remove(d, range);
	after = test_live_blocks();
	assert_int_equal(after, blocks);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_078_invalidated_while_collecting),
	conf_test(conf_078_never_stale),
	conf_test(conf_079_continuous_invalidation),
};

CONF_MAIN(tests)
