/* SPDX-License-Identifier: MIT */
/*
 * Conformance, groups L and M: threads of the CPU write to memory, drop it,
 * unmap it and protect it while the device maps it and uses it under the
 * notifier lock, and while it is evicted.  Nothing is lost, and the device
 * never sees a page that was given up before.
 *
 * Every slot of memory has one CPU thread that changes it.  It counts up in a
 * word, and says what the device must not see any more:
 *
 *	floor		older values than this are gone for good, because the
 *			memory was dropped and that event has been acted on
 *	published	the newest value that has been written, or 0 once it is
 *			being dropped
 *	epoch		changes when the memory is dropped
 */
#include "fake_driver.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define DEFAULT_SECONDS 2
#define SLOTS 8
#define CHANGERS 2
#define SLOT_SIZE SZ_64K

struct slot {
	unsigned char *mem;
	/* Where the word is; changes with each new mapping. */
	size_t offset;
	unsigned long value;
	unsigned long floor;
	unsigned long published;
	unsigned long epoch;
};

struct commit {
	struct fake_driver *d;
	struct test_area *area;
	struct slot slot[SLOTS];
	unsigned long end;
	unsigned int next_changer;
	/* By the device: looks that gave a value, and what was wrong. */
	unsigned long looks;
	unsigned long freed;
	unsigned long stale;
	unsigned long wrong_errors;
	/* By the driver */
	unsigned long not_evicted;
	int evict_err;
	unsigned long wrong_releases;
	/* By the CPU */
	unsigned long changes;
	unsigned long lost;
};

static unsigned long load(const unsigned long *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(unsigned long *at, unsigned long value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* ---- The CPU's side ---- */

static volatile unsigned long *word_of(struct slot *s)
{
	return (volatile unsigned long *)(void *)(s->mem + s->offset);
}

/* Whether the CPU sees what it wrote, after doing @what. */
static bool check_word(struct slot *s, const char *what)
{
	unsigned long value = *word_of(s);

	if (value == s->published)
		return true;
	print_error("%s: the CPU reads %lu, not %lu, at %p\n", what, value,
		    s->published, (void *)(s->mem + s->offset));
	return false;
}

static bool write_word(struct slot *s)
{
	bool right = check_word(s, "before a write");

	*word_of(s) = ++s->value;
	store(&s->published, s->value);
	return right;
}

/*
 * Drop the memory, or map other memory in its place.  Not with test_munmap():
 * the pages are used by one thread, but the record of areas by all.
 */
static bool drop(struct slot *s, bool unmap)
{
	bool done;

	store(&s->published, 0);
	store(&s->epoch, s->epoch + 1);
	if (unmap)
		done = test_change(mmap, s->mem, SLOT_SIZE,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				   0) == s->mem;
	else
		done = !test_change(madvise, s->mem, SLOT_SIZE, MADV_DONTNEED);
	if (!done)
		print_error("%s: %s\n", unmap ? "mmap" : "madvise",
			    strerror(errno));
	gpusvm_mm_sync(test_mm);
	store(&s->floor, s->value);
	store(&s->epoch, s->epoch + 1);
	return check_word(s, unmap ? "mapped over" : "dropped") && done;
}

static bool protect(struct slot *s)
{
	bool right;

	if (test_change(mprotect, s->mem, SLOT_SIZE, PROT_READ)) {
		print_error("mprotect: %s\n", strerror(errno));
		return false;
	}
	right = check_word(s, "protected");
	return !test_change(mprotect, s->mem, SLOT_SIZE,
			    PROT_READ | PROT_WRITE) &&
	       right;
}

static bool change(struct slot *s)
{
	unsigned long what = test_random_below(100);

	if (what < 80)
		return write_word(s);
	if (what < 90)
		return drop(s, false);
	/*
	 * What is mapped in the place of memory that is just being taken by
	 * write-protection may be dropped with it: that needs the hooks of
	 * libc calls (docs/locking.md).
	 */
	if (what < 95)
		return drop(s,
			    gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE);
	return protect(s);
}

static void *changer(void *arg)
{
	struct commit *c = arg;
	unsigned int first =
		__atomic_fetch_add(&c->next_changer, 1, __ATOMIC_RELAXED);
	unsigned long changes = 0;

	while (test_now_ms() < c->end) {
		unsigned int i =
			first + CHANGERS * (unsigned int)test_random_below(
						   SLOTS / CHANGERS);

		if (!change(&c->slot[i]))
			__atomic_fetch_add(&c->lost, 1, __ATOMIC_RELAXED);
		changes++;
	}
	__atomic_fetch_add(&c->changes, changes, __ATOMIC_RELAXED);
	return NULL;
}

/* ---- The device's side ---- */

/* Errors that a device gets that is overtaken by the program. */
static bool is_expected(int err)
{
	return err == -EAGAIN || err == -EFAULT || err == -EPERM ||
	       err == -ENOENT || err == -EBUSY || err == -EINVAL;
}

static void look(struct commit *c, struct slot *s, unsigned int flags)
{
	unsigned long epoch = load(&s->epoch);
	unsigned long published = load(&s->published);
	unsigned long floor = load(&s->floor);
	unsigned long value = 0;
	int err;

	err = fake_access(c->d, s->mem + s->offset, &value, sizeof(value),
			  flags);
	if (err) {
		c->wrong_errors += !is_expected(err);
		return;
	}
	c->looks++;
	if (value && value <= floor) {
		c->freed++;
		print_error("%lu is from before %lu\n", value, floor);
	}
	if (epoch % 2 == 0 && load(&s->epoch) == epoch && value < published) {
		c->stale++;
		print_error("%lu, but %lu was written\n", value, published);
	}
}

static struct slot *random_slot(struct commit *c)
{
	return &c->slot[test_random_below(SLOTS)];
}

static void *looker(void *arg)
{
	struct commit *c = arg;

	while (test_now_ms() < c->end)
		look(c, random_slot(c), 0);
	return NULL;
}

/* ---- The driver's side ---- */

static struct fake_alloc *migrate(struct commit *c, struct slot *s)
{
	struct fake_alloc *alloc = NULL;
	struct drm_gpusvm_range *range;
	int err = -EAGAIN;

	fake_driver_lock(c->d);
	fake_collect(c->d);
	range = fake_fault_devmem(c->d, s->mem);
	if (!IS_ERR(range))
		err = fake_migrate(c->d, range, &alloc);
	fake_driver_unlock(c->d);
	return err ? NULL : alloc;
}

/* What has come home by itself meanwhile is a success, too. */
static void evict(struct commit *c, struct fake_alloc *alloc)
{
	int err = drm_gpusvm_evict_to_ram(&alloc->base);

	if (err) {
		c->not_evicted++;
		c->evict_err = err;
	} else if (!test_wait_for(alloc->released > 0, TEST_WAIT_MS) ||
		   alloc->released != 1) {
		c->wrong_releases++;
	}
}

/* ---- The tests ---- */

static struct commit *start(pthread_t *thread)
{
	struct commit *c = gpusvm_alloc(sizeof(*c));
	unsigned int i;

	assert_non_null(c);
	test_cleanup(gpusvm_free, c);
	c->d = fake_driver_create(NULL);
	/* The memory may be gone when the device looks at it. */
	c->d->careful = true;
	c->area = test_area_reserve(SLOTS * SLOT_SIZE, SZ_2M);
	for (i = 0; i < SLOTS; i++) {
		c->slot[i].mem =
			test_area_anon(c->area, i * SLOT_SIZE, SLOT_SIZE);
		c->slot[i].offset = i * (PS + 64) % SLOT_SIZE;
	}
	c->end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS);
	for (i = 0; i < CHANGERS; i++)
		test_thread_start(&thread[i], changer, c);
	return c;
}

static void finish(struct commit *c, pthread_t *thread)
{
	unsigned int i;

	for (i = 0; i < CHANGERS; i++)
		test_thread_join(thread[i]);
	print_message("%lu looks at %lu changes, %u times to the device, "
		      "%u home\n",
		      c->looks, c->changes, c->d->copies_to_devmem,
		      c->d->copies_to_ram);
	assert_int_equal(c->freed, 0);
	assert_int_equal(c->stale, 0);
	assert_int_equal(c->lost, 0);
	assert_int_equal(c->wrong_errors, 0);
	assert_int_equal(c->wrong_releases, 0);
	assert_ret(c->evict_err, 0);
	assert_int_equal(c->not_evicted, 0);
	assert_true(c->looks > 0);
	assert_true(c->changes > 0);
	assert_true(c->d->copies_to_devmem > 0);
	for (i = 0; i < SLOTS; i++)
		assert_int_equal(*word_of(&c->slot[i]), c->slot[i].published);
}

static void conf_143_eviction_against_everything(void **state)
{
	pthread_t thread[CHANGERS], device;
	struct commit *c = start(thread);
	unsigned long migrations = 0;

	(void)state;
	test_thread_start(&device, looker, c);
	while (test_now_ms() < c->end) {
		struct fake_alloc *alloc = migrate(c, random_slot(c));

		migrations += alloc != NULL;
		if (alloc && test_random_below(4))
			evict(c, alloc);
	}
	test_thread_join(device);
	finish(c, thread);
	/* Every allocation is released exactly once. */
	test_wait_until(c->d->releases >= migrations);
	assert_int_equal(c->d->releases, migrations);
	assert_int_equal(fake_devmem_used(c->d), 0);
}

static void conf_150_commit_protocol(void **state)
{
	pthread_t thread[CHANGERS];
	struct commit *c = start(thread);

	(void)state;
	while (test_now_ms() < c->end)
		look(c, random_slot(c),
		     test_random_below(2) ? FAKE_ACCESS_MIGRATE : 0);
	finish(c, thread);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_143_eviction_against_everything),
	conf_test(conf_150_commit_protocol),
};

CONF_MAIN(tests)
