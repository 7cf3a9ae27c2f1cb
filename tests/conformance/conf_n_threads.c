/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group N: many threads on one address space, bad addresses, the
 * end of a gpusvm under load, and two devices.
 */
#include "calls.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- 159: everybody at the same pages ---- */

#define WORKERS 4
#define WORDS 64
#define ROUNDS 60

struct race {
	struct fake_driver *d;
	const struct test_calls *call;
	unsigned char *mem;
	size_t size;
	unsigned int failed;
	unsigned int working;
	unsigned int accesses;
};

/* Any word ever written: which word it is, who wrote, and a check of both. */
static uint64_t make_word(unsigned int index, unsigned int who)
{
	uint64_t low = (uint64_t)who << 16 | index;

	return low | (~low << 32);
}

static bool is_word(uint64_t word, unsigned int index)
{
	uint32_t low = (uint32_t)word;

	return !word || ((low & 0xffff) == index &&
			 (uint32_t)(word >> 32) == (uint32_t)~low);
}

struct worker {
	struct race *race;
	unsigned int who;
};

static uint64_t *word_at(struct race *r, unsigned int index)
{
	return (uint64_t *)(r->mem + r->size / WORDS * index);
}

static bool is_fine(int err)
{
	return !err || err == -EAGAIN || err == -EBUSY;
}

/* By the CPU and by the device in turns, without any order among threads. */
static void *race_worker(void *arg)
{
	struct worker *w = arg;
	struct race *r = w->race;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned int index = (unsigned int)test_random_below(WORDS);
		uint64_t word = make_word(index, w->who);
		int err = 0;

		switch (test_random_below(4)) {
		case 0:
			__atomic_store_n(word_at(r, index), word,
					 __ATOMIC_RELAXED);
			break;
		case 1:
			word = __atomic_load_n(word_at(r, index),
					       __ATOMIC_RELAXED);
			break;
		case 2:
			err = fake_access(
				r->d, word_at(r, index), &word, sizeof(word),
				FAKE_ACCESS_WRITE | FAKE_ACCESS_MIGRATE);
			break;
		default:
			err = fake_access(r->d, word_at(r, index), &word,
					  sizeof(word), 0);
			word = err ? 0 : word;
		}
		if (!is_fine(err) || !is_word(word, index))
			__atomic_fetch_add(&r->failed, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&r->accesses, 1, __ATOMIC_RELEASE);
	}
	__atomic_fetch_sub(&r->working, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_at_work(struct race *r)
{
	return __atomic_load_n(&r->working, __ATOMIC_ACQUIRE) > 0;
}

/*
 * The words stay: what is dropped is between them.  Not all the time, or the
 * device's faults would find changes for a second each and give up.
 */
static void *race_changer(void *arg)
{
	struct race *r = arg;
	size_t slot = r->size / WORDS;

	while (is_at_work(r)) {
		unsigned int accesses =
			__atomic_load_n(&r->accesses, __ATOMIC_ACQUIRE);
		unsigned char *at =
			r->mem + test_random_below(WORDS) * slot + PS;

		if (r->call->madvise(at, slot - PS, MADV_DONTNEED))
			__atomic_fetch_add(&r->failed, 1, __ATOMIC_RELAXED);
		(void)!test_wait_for(__atomic_load_n(&r->accesses,
						     __ATOMIC_ACQUIRE) !=
						     accesses ||
					     !is_at_work(r),
				     TEST_WAIT_MS);
	}
	return NULL;
}

static void race(const struct test_calls *call)
{
	struct race r = {
		.d = fake_driver_create(NULL),
		.call = call,
		.mem = test_map(SZ_2M, SZ_2M),
		.size = SZ_2M,
		.working = WORKERS,
	};
	uint64_t zero = 0;
	struct worker worker[WORKERS];
	pthread_t thread[WORKERS], changer;
	unsigned int i;

	/* An error is easier to read than a signal. */
	r.d->careful = true;
	/* It begins on the device. */
	assert_ret(fake_access(r.d, r.mem, &zero, sizeof(zero),
			       FAKE_ACCESS_MIGRATE),
		   0);
	assert_true(r.d->copies_to_devmem > 0);
	for (i = 0; i < WORKERS; i++) {
		worker[i] = (struct worker){ &r, i + 1 };
		test_thread_start(&thread[i], race_worker, &worker[i]);
	}
	test_thread_start(&changer, race_changer, &r);
	for (i = 0; i < WORKERS; i++)
		test_thread_join(thread[i]);
	test_thread_join(changer);
	assert_int_equal(r.failed, 0);
	for (i = 0; i < WORDS; i++)
		assert_true(is_word(*word_at(&r, i), i));
	fake_driver_destroy(r.d);
}

static void conf_159_threads_at_the_same_pages(void **state)
{
	(void)state;
	for_each_calls(call)
		race(call);
}

/* ---- 160: a bad address ---- */

static void conf_160_bad_address(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
		unsigned char *mem = test_area_anon(area, 0, SZ_1M);
		struct test_model *m =
			test_model_create(d, mem, SZ_1M, FAKE_ACCESS_MIGRATE);
		unsigned char *gone =
			test_area_anon(area, SZ_1M + SZ_64K, SZ_64K);

		test_model_play(m);
		assert_int_equal(call->munmap(gone, SZ_64K), 0);
		/* A hole, nothing at all, no rights, no canonical address. */
		assert_ret(test_dev_poke(d, gone), -ENOENT);
		assert_ret(test_dev_poke(d, NULL), -ENOENT);
		/* The reservation around it is PROT_NONE. */
		assert_true(test_dev_poke(d, mem + SZ_1M) < 0);
		assert_ret(test_dev_poke(d, (void *)(1ul << 48)), -EINVAL);
		assert_ret(test_dev_poke(d, (void *)~0ul), -EINVAL);
		/* Half of a job is good. */
		{
			char buffer[16];

			assert_true(fake_access(d, mem + SZ_1M - 8, buffer, 16,
						0) < 0);
		}
		/* Everybody else goes on. */
		test_model_play(m);
		test_calls_replace(call, gone, SZ_64K);
		assert_ret(test_dev_poke(d, gone), 0);
		assert_int_equal(*gone, 'x');
		fake_driver_destroy(d);
	}
}

/* ---- 161: the end, with everything going on ---- */

#define TEARDOWNS 4

struct teardown {
	struct fake_driver *d;
	const struct test_calls *call;
	unsigned char *mem;
	bool stop;
	unsigned int failed;
	unsigned int rounds;
};

static bool over(struct teardown *t)
{
	return __atomic_load_n(&t->stop, __ATOMIC_ACQUIRE);
}

/* Until the driver is gone, which it learns under the driver lock. */
static void *device_faults(void *arg)
{
	struct teardown *t = arg;

	while (!over(t)) {
		unsigned char *at = t->mem + test_random_below(SZ_2M);
		char byte = 'w';
		int err = 0;

		fake_driver_lock(t->d);
		if (t->d->live)
			err = fake_access(t->d, at, &byte, 1,
					  FAKE_ACCESS_WRITE |
						  FAKE_ACCESS_MIGRATE);
		fake_driver_unlock(t->d);
		if (!is_fine(err) && err != -ENOENT && err != -EFAULT)
			__atomic_fetch_add(&t->failed, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&t->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *cpu_accesses(void *arg)
{
	struct teardown *t = arg;

	while (!over(t)) {
		unsigned char byte =
			*(volatile unsigned char *)(t->mem +
						    test_random_below(SZ_2M));

		if (byte && byte != 'w')
			__atomic_fetch_add(&t->failed, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&t->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *replaces(void *arg)
{
	struct teardown *t = arg;

	while (!over(t)) {
		unsigned char *at =
			t->mem + test_random_below(SZ_2M / SZ_64K) * SZ_64K;

		if (t->call->mmap(at, SZ_64K, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				  -1) != at)
			__atomic_fetch_add(&t->failed, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&t->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * Memory that is just being taken by write-protection must not be replaced by
 * a bare call: docs/locking.md, "What userfaultfd cannot promise".
 */
static bool may_replace(const struct test_calls *call)
{
	return call->announced ||
	       (gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE);
}

static void tear_down(const struct test_calls *call)
{
	void *(*const work[])(
		void *) = { device_faults, device_faults, cpu_accesses,
			    may_replace(call) ? replaces : cpu_accesses };
	struct teardown t = {
		.d = fake_driver_create(NULL),
		.call = call,
		.mem = test_map(SZ_2M, SZ_2M),
	};
	pthread_t thread[4];
	unsigned int i, unmaps;

	t.d->careful = true;
	for (i = 0; i < 4; i++)
		test_thread_start(&thread[i], work[i], &t);
	test_wait_until((t.d->copies_to_devmem > 1 || !may_replace(call)) &&
			__atomic_load_n(&t.rounds, __ATOMIC_RELAXED) > 100);
	fake_driver_fini(t.d);
	unmaps = t.d->num_events;
	/* Nobody is told any more, and what is on the device comes home. */
	i = __atomic_load_n(&t.rounds, __ATOMIC_RELAXED);
	test_wait_until(__atomic_load_n(&t.rounds, __ATOMIC_RELAXED) > i + 50);
	assert_int_equal(t.d->num_events, unmaps);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 4; i++)
		test_thread_join(thread[i]);
	assert_int_equal(t.failed, 0);
	assert_int_equal(t.d->range_allocs, t.d->range_frees);
	assert_int_equal(t.d->notifier_allocs, t.d->notifier_frees);
	fake_driver_destroy(t.d);
}

static void conf_161_teardown(void **state)
{
	unsigned int i;

	(void)state;
	for_each_calls(call)
		for (i = 0; i < TEARDOWNS / 2; i++)
			tear_down(call);
}

/* ---- 162: two devices ---- */

static void conf_162_two_devices(void **state)
{
	static const struct fake_driver_config config[2] = {
		{ .name = "first" }, { .name = "second" }
	};

	(void)state;
	for_each_calls(call) {
		struct fake_driver *d[2] = { fake_driver_create(&config[0]),
					     fake_driver_create(&config[1]) };
		unsigned char *mem = test_map(SZ_1M, SZ_1M);
		struct test_model *m = test_model_create(d[0], mem, SZ_1M, 0);
		unsigned int i;

		for (i = 0; i < 4; i++) {
			struct fake_driver *near = d[i % 2];
			struct fake_driver *far = d[1 - i % 2];

			/* To one; the other gets it from home. */
			m->d = near;
			m->flags = FAKE_ACCESS_MIGRATE;
			test_model_dev_write(m, 0, m->cells);
			assert_true(fake_devmem_used(near) > 0);
			m->d = far;
			m->flags = 0;
			test_model_dev_check(m, 0, m->cells);
			test_wait_until(fake_devmem_used(near) == 0);
			test_model_dev_write(m, 0, m->cells / 2);
			/* The first sees what the second wrote. */
			m->d = near;
			test_model_dev_check(m, 0, m->cells);
			test_model_cpu_check(m, 0, m->cells);
			/* A change stops both. */
			assert_int_equal(
				call->madvise(mem, SZ_64K, MADV_DONTNEED), 0);
			test_model_zeroed(m, 0, SZ_64K / PS);
			assert_false(fake_valid(near, fake_find(near, mem)));
			assert_false(fake_valid(far, fake_find(far, mem)));
			test_model_dev_check(m, 0, m->cells);
		}
		fake_driver_destroy(d[0]);
		fake_driver_destroy(d[1]);
	}
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_159_threads_at_the_same_pages),
	conf_test(conf_160_bad_address),
	conf_test(conf_161_teardown),
	conf_test(conf_162_two_devices),
};

CONF_MAIN(tests)
