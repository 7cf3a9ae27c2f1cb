/* SPDX-License-Identifier: MIT */
/*
 * Copies that complete by a fence: what is waited for, who is told, and what
 * ends migrations that go on after the call that started them.
 */
#include "unit_migration.h"
#include "unit_thread.h"

#include "fence.h"
#include "migration.h"

#define N 8ul
#define LIMIT_NS (20ul * 1000 * 1000)

void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);

static bool no_memory, no_thread;
static unsigned int threads;

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return no_memory ? NULL : __real_gpusvm_alloc_pages(size, align);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	threads++;
	return no_thread ? EAGAIN
			 : __real_pthread_create(thread, attr, fn, arg);
}

static struct gpusvm_fence *fence;
static unsigned int nlines;
static char line[512];

static void note_line(enum gpusvm_log_level level, const char *message,
		      void *priv)
{
	(void)priv;
	if (level > GPUSVM_LOG_WARNING)
		return;
	snprintf(line, sizeof(line), "%s", message);
	__atomic_fetch_add(&nlines, 1, __ATOMIC_RELEASE);
}

static unsigned int lines(void)
{
	return __atomic_load_n(&nlines, __ATOMIC_ACQUIRE);
}

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	assert_int_equal(gpusvm_fence_create(&fence), 0);
	mm->watchdog.limit_ns = 0;
	nlines = 0;
	no_memory = no_thread = false;
	threads = 0;
	gpusvm_set_log(note_line, NULL, GPUSVM_LOG_DEBUG);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_under_way_stop(mm);
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	gpusvm_fence_put(fence);
	unmap_all();
	migration_teardown();
	return 0;
}

static void copy_without_a_fence_is_over(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migration_wait_copied(&m, 0), 0);
	assert_int_equal(gpusvm_migration_wait_copied(&m, -EIO), -EIO);
}

static void first_error_is_the_callbacks(void **state)
{
	static const struct {
		int callback, fence, expected;
	} cases[] = {
		{ 0, 0, 0 },
		{ 0, -EIO, -EIO },
		{ -ENXIO, 0, -ENXIO },
		{ -ENXIO, -EIO, -ENXIO },
	};
	struct gpusvm_fence *each;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(gpusvm_fence_create(&each), 0);
		assert_int_equal(gpusvm_migration_set_fence(&m, each), 0);
		assert_int_equal(gpusvm_migration_set_fence(&m, fence), -EBUSY);
		assert_ptr_equal(m.fence, each);
		gpusvm_fence_signal(each, cases[i].fence);
		gpusvm_fence_put(each);
		assert_int_equal(
			gpusvm_migration_wait_copied(&m, cases[i].callback),
			cases[i].expected);
		assert_null(m.fence);
	}
}

static void wait_copied(void *arg)
{
	*(int *)arg = gpusvm_migration_wait_copied(&m, 0);
}

static void begin(void)
{
	fake_fill(window(8), N, 1);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, 8)), 0);
	copy_to_device();
	assert_int_equal(gpusvm_migration_set_fence(&m, fence), 0);
}

static void fence_that_takes_long_is_named(void **state)
{
	struct unit_thread thread;
	char expected[32];
	int err = 1;

	(void)state;
	mm->watchdog.limit_ns = LIMIT_NS;
	begin();
	unit_thread_start(&thread, wait_copied, &err);
	unit_wait_until(lines() == 1);
	snprintf(expected, sizeof(expected), "%#lx", fake_addr(fake, 8));
	assert_non_null(strstr(line, expected));
	snprintf(expected, sizeof(expected), "%p", (void *)fence);
	assert_non_null(strstr(line, expected));
	assert_non_null(strstr(line, "a device"));
	assert_false(unit_thread_done(&thread));
	gpusvm_fence_signal(fence, 0);
	unit_thread_join(&thread);
	assert_int_equal(err, 0);
	assert_int_equal(nlines, 1);
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_on_device(8, 0);
}

static void nobody_is_told_without_a_limit(void **state)
{
	struct unit_thread thread;
	int err = 1;

	(void)state;
	begin();
	unit_thread_start(&thread, wait_copied, &err);
	unit_thread_settle(&thread);
	assert_false(unit_thread_done(&thread));
	gpusvm_fence_signal(fence, -EIO);
	unit_thread_join(&thread);
	assert_int_equal(err, -EIO);
	assert_int_equal(nlines, 0);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_true(fake_matches(window(8), N, 1));
}

/* ---- Beyond the call ---- */

static void thread_is_started_once(void **state)
{
	(void)state;
	no_memory = true;
	assert_int_equal(gpusvm_under_way_start(mm), -ENOMEM);
	no_memory = false;
	no_thread = true;
	assert_int_equal(gpusvm_under_way_start(mm), -EAGAIN);
	no_thread = false;
	threads = 0;
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	assert_int_equal(threads, 1);
	gpusvm_under_way_stop(mm);
	gpusvm_under_way_stop(mm);
}

static unsigned int ended, wrong;
static int result;

static void end_it(struct migration *migration)
{
	wrong += migration != &m;
	result = gpusvm_migration_wait_copied(&m, 0);
	if (result)
		gpusvm_migrate_out_abort(&m);
	else
		result = gpusvm_migrate_out_commit(&m);
	gpusvm_under_way_remove(&m);
	__atomic_fetch_add(&ended, 1, __ATOMIC_RELEASE);
}

static bool has_ended(void)
{
	return __atomic_load_n(&ended, __ATOMIC_ACQUIRE) && !wrong;
}

static void add(void)
{
	ended = wrong = 0;
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	begin();
	assert_int_not_equal(m.tid, 0);
	gpusvm_under_way_add(&m, end_it);
}

static void signal_ends_the_migration(void **state)
{
	(void)state;
	add();
	/* Who started it is not who waits for himself. */
	assert_int_equal(m.tid, 0);
	assert_int_equal(gpusvm_under_way_wait(mm, 0), -EBUSY);
	assert_false(has_ended());
	gpusvm_fence_signal(fence, 0);
	assert_int_equal(gpusvm_under_way_wait(mm, ~0ul), 0);
	assert_int_equal(gpusvm_under_way_wait(mm, 0), 0);
	unit_wait_until(has_ended());
	assert_int_equal(result, 0);
	assert_null(m.fence);
	assert_on_device(8, 0);
}

static void error_undoes_the_migration(void **state)
{
	(void)state;
	add();
	gpusvm_fence_signal(fence, -EIO);
	assert_int_equal(gpusvm_under_way_wait(mm, ~0ul), 0);
	unit_wait_until(has_ended());
	assert_int_equal(result, -EIO);
	assert_nothing_on_device();
	assert_true(fake_matches(window(8), N, 1));
}

static void fence_may_have_been_signalled(void **state)
{
	(void)state;
	gpusvm_fence_signal(fence, 0);
	add();
	assert_int_equal(gpusvm_under_way_wait(mm, ~0ul), 0);
	unit_wait_until(has_ended());
	assert_on_device(8, 0);
}

static void wait_for_end(void *arg)
{
	*(int *)arg = gpusvm_under_way_wait(mm, ~0ul);
}

static void wait_lasts_until_the_end(void **state)
{
	struct unit_thread thread;
	int err = 1;

	(void)state;
	add();
	unit_thread_start(&thread, wait_for_end, &err);
	unit_thread_settle(&thread);
	assert_false(unit_thread_done(&thread));
	gpusvm_fence_signal(fence, 0);
	unit_thread_join(&thread);
	assert_int_equal(err, 0);
	assert_int_equal(mm->pt.npages, N);
	unit_wait_until(has_ended());
}

/* Whether the thread slept before or not. */
static void migration_that_takes_long_is_named(void **state)
{
	char expected[32];

	(void)state;
	mm->watchdog.limit_ns = LIMIT_NS;
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	add();
	unit_wait_until(lines() == 1);
	snprintf(expected, sizeof(expected), "%#lx", fake_addr(fake, 8));
	assert_non_null(strstr(line, expected));
	snprintf(expected, sizeof(expected), "%p", (void *)fence);
	assert_non_null(strstr(line, expected));
	gpusvm_fence_signal(fence, 0);
	unit_wait_until(has_ended());
	/* Once, and the next one again. */
	assert_int_equal(nlines, 1);
}

/* A second one, added when the first was named and the thread sleeps on. */
static void next_one_is_named_too(void **state)
{
	static struct migration second;
	struct gpusvm_fence *other;

	(void)state;
	mm->watchdog.limit_ns = LIMIT_NS;
	add();
	unit_wait_until(lines() == 1);
	assert_int_equal(gpusvm_fence_create(&other), 0);
	second = (struct migration){ .mm = mm };
	assert_int_equal(gpusvm_migration_set_fence(&second, other), 0);
	gpusvm_under_way_add(&second, gpusvm_under_way_remove);
	unit_wait_until(lines() == 2);
	gpusvm_fence_signal(other, 0);
	gpusvm_fence_signal(fence, 0);
	assert_int_equal(gpusvm_under_way_wait(mm, ~0ul), 0);
	unit_wait_until(has_ended());
	gpusvm_fence_release(second.fence);
	gpusvm_fence_put(other);
}

/* Many fences, signalled on several threads: each ends once. */
#define MANY 64u
#define SIGNALLERS 4u

static struct migration many[MANY];
static struct gpusvm_fence *fences[MANY];
static unsigned int ends[MANY], next;

static void end_one(struct migration *migration)
{
	ends[migration - many]++;
	gpusvm_migration_wait_copied(migration, 0);
	gpusvm_under_way_remove(migration);
}

static void signal_some(void *arg)
{
	unsigned int i;

	(void)arg;
	while ((i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < MANY)
		gpusvm_fence_signal(fences[i], 0);
}

static void every_migration_ends_once(void **state)
{
	struct unit_thread signallers[SIGNALLERS];
	unsigned int i, round;

	(void)state;
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	for (round = 0; round < 50; round++) {
		next = 0;
		for (i = 0; i < MANY; i++) {
			many[i] = (struct migration){ .mm = mm };
			ends[i] = 0;
			assert_int_equal(gpusvm_fence_create(&fences[i]), 0);
			gpusvm_migration_set_fence(&many[i], fences[i]);
			gpusvm_under_way_add(&many[i], end_one);
		}
		for (i = 0; i < SIGNALLERS; i++)
			unit_thread_start(&signallers[i], signal_some, NULL);
		assert_int_equal(gpusvm_under_way_wait(mm, ~0ul), 0);
		for (i = 0; i < SIGNALLERS; i++)
			unit_thread_join(&signallers[i]);
		for (i = 0; i < MANY; i++) {
			assert_int_equal(ends[i], 1);
			gpusvm_fence_put(fences[i]);
		}
	}
	gpusvm_under_way_stop(mm);
	assert_int_equal(mm->under_way.signalling, 0);
}

#define under_way_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		under_way_test(copy_without_a_fence_is_over),
		under_way_test(first_error_is_the_callbacks),
		under_way_test(fence_that_takes_long_is_named),
		under_way_test(nobody_is_told_without_a_limit),
		under_way_test(thread_is_started_once),
		under_way_test(signal_ends_the_migration),
		under_way_test(error_undoes_the_migration),
		under_way_test(fence_may_have_been_signalled),
		under_way_test(wait_lasts_until_the_end),
		under_way_test(migration_that_takes_long_is_named),
		under_way_test(next_one_is_named_too),
		under_way_test(every_migration_ends_once),
	};

	return cmocka_run_group_tests_name("under_way", tests, NULL, NULL);
}
