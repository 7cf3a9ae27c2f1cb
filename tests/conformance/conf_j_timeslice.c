/* SPDX-License-Identifier: MIT */
/*
 * Conformance, groups J and L: how long memory stays on the device although
 * the CPU asks for it.
 */
#include "fake_driver.h"

#include <sys/mman.h>

#define TIMESLICE_MS 300
/* For ever, as far as a test can tell. */
#define LONG_MS (600ul * 1000)

/* A CPU access, on a thread of its own. */
struct access {
	volatile unsigned char *at;
	bool write;
	bool started;
	bool done;
	unsigned char value;
	unsigned long when;
};

static void *touch(void *arg)
{
	struct access *a = arg;

	__atomic_store_n(&a->started, true, __ATOMIC_RELEASE);
	if (a->write)
		*a->at = a->value;
	else
		a->value = *a->at;
	a->when = test_now_ms();
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	return NULL;
}

struct slice {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	/* Not before this. */
	unsigned long end;
};

static void make_slice(struct slice *s, unsigned long ms)
{
	s->d = fake_driver_create(NULL);
	s->mem = test_map(SZ_64K, SZ_64K);
	test_fill(s->mem, SZ_64K, 1);
	s->d->timeslice_ms = ms;
	/* Its start is in between; rounding may take a millisecond. */
	s->end = test_now_ms() + ms - 1;
	s->range = fake_dev_range(s->d, s->mem, SZ_64K, &s->alloc);
}

static struct access *make_access(struct slice *s, size_t offset, bool write)
{
	struct access *a = gpusvm_alloc(sizeof(*a));

	assert_non_null(a);
	test_cleanup(gpusvm_free, a);
	a->at = s->mem + offset;
	a->write = write;
	return a;
}

/* False if the slice was over before the device had done its work. */
static bool waits(bool write, unsigned long ms)
{
	struct access *a;
	struct slice s;
	pthread_t thread;
	int err;

	make_slice(&s, ms);
	a = make_access(&s, 3 * PS, write);
	a->value = 0x5a;
	test_thread_start(&thread, touch, a);
	test_wait_for(__atomic_load_n(&a->started, __ATOMIC_ACQUIRE),
		      TEST_WAIT_MS);
	/* The device goes on meanwhile, and that is what the CPU must see. */
	err = fake_dev_fill(s.d, s.range, 2);
	test_thread_join(thread);
	assert_true(a->done);
	if (err) {
		assert_true(test_now_ms() >= s.end);
		return false;
	}
	assert_true(a->when >= s.end);
	assert_true(a->when < s.end + test_scaled_ms(2000));
	test_wait_until(s.alloc->released == 1);
	assert_int_equal(s.d->copies_to_ram, 1);
	if (write) {
		assert_int_equal(s.mem[3 * PS], 0x5a);
		s.mem[3 * PS] = test_pattern(3 * PS, 2);
	} else {
		assert_int_equal(a->value, test_pattern(3 * PS, 2));
	}
	assert_filled(s.mem, SZ_64K, 2);
	return true;
}

static void check_waits(bool write)
{
	unsigned long ms;

	for (ms = TIMESLICE_MS; !waits(write, ms); ms *= 2)
		assert_true(ms < LONG_MS);
}

static void conf_125_reader_waits(void **state)
{
	(void)state;
	check_waits(false);
}

static void conf_125_writer_waits(void **state)
{
	(void)state;
	check_waits(true);
}

static void conf_125_no_timeslice(void **state)
{
	struct slice s;

	(void)state;
	make_slice(&s, 0);
	assert_filled(s.mem, SZ_64K, 1);
	assert_int_equal(s.d->copies_to_ram, 1);
	test_wait_until(s.alloc->released == 1);
}

static void conf_125_timeslice_has_run_out(void **state)
{
	struct slice s;
	unsigned long start;

	(void)state;
	make_slice(&s, 50);
	test_wait_until(test_now_ms() > s.end + 10);
	assert_int_equal(s.d->copies_to_ram, 0);
	start = test_now_ms();
	assert_filled(s.mem, SZ_64K, 1);
	assert_true(test_now_ms() - start < test_scaled_ms(2000));
}

/* What the CPU changes without touching it does not wait. */
static void conf_125_unmap_does_not_wait(void **state)
{
	struct slice s;

	(void)state;
	make_slice(&s, LONG_MS);
	test_munmap_sync(s.mem, SZ_32K);
	assert_false(fake_valid(s.d, s.range));
	test_madvise_sync(s.mem + SZ_32K, SZ_32K, MADV_DONTNEED);
	test_wait_until(s.alloc->released == 1);
	assert_zeroed(s.mem + SZ_32K, SZ_32K);
}

static void conf_126_eviction_ignores_the_timeslice(void **state)
{
	unsigned long start;
	struct slice s;

	(void)state;
	make_slice(&s, LONG_MS);
	start = test_now_ms();
	assert_ret(drm_gpusvm_evict_to_ram(&s.alloc->base), 0);
	assert_true(test_now_ms() - start < test_scaled_ms(5000));
	test_wait_until(s.alloc->released == 1);
	assert_filled(s.mem, SZ_64K, 1);
}

static void conf_126_eviction_helps_who_waits(void **state)
{
	struct access *a;
	struct slice s;
	pthread_t thread;
	bool early;
	int err;

	(void)state;
	make_slice(&s, LONG_MS);
	a = make_access(&s, 0, false);
	test_thread_start(&thread, touch, a);
	early = test_wait_for(__atomic_load_n(&a->done, __ATOMIC_ACQUIRE), 50);
	err = drm_gpusvm_evict_to_ram(&s.alloc->base);
	test_thread_join(thread);
	assert_false(early);
	assert_ret(err, 0);
	assert_int_equal(a->value, test_pattern(0, 1));
}

static void conf_145_range_evict_waits(void **state)
{
	unsigned long now;
	struct slice s;

	(void)state;
	make_slice(&s, TIMESLICE_MS);
	assert_ret(drm_gpusvm_range_evict(&s.d->gpusvm, s.range), 0);
	now = test_now_ms();
	assert_true(now >= s.end);
	assert_true(now < s.end + test_scaled_ms(2000));
	assert_int_equal(test_resident(s.mem, SZ_64K), SZ_64K / PS);
	test_wait_until(s.alloc->released == 1);
	assert_filled(s.mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_125_reader_waits),
	conf_test(conf_125_writer_waits),
	conf_test(conf_125_no_timeslice),
	conf_test(conf_125_timeslice_has_run_out),
	conf_test(conf_125_unmap_does_not_wait),
	conf_test(conf_126_eviction_ignores_the_timeslice),
	conf_test(conf_126_eviction_helps_who_waits),
	conf_test(conf_145_range_evict_waits),
};

CONF_MAIN(tests)
