/* SPDX-License-Identifier: MIT */
/*
 * Children of fork(): they have the library's private memory, and they can end
 * what they inherited.
 */
#include "fake_driver.h"

#include <gpusvm/devmem.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CHILD_FINE,
	CHILD_SAW_OTHER_DATA,
	CHILD_MAY_CLOSE,
	CHILD_LEAKS
};

/* A child that waits for ever is ended by a signal. */
#define CHILD_MS 20000

static int wait_for(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- Memory that was a pool's ---- */

#define POOL_BYTES (8ul << 20)

/* Pools are not for children, their memory has to be when it is free again. */
static void make_and_destroy_pool(void)
{
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = POOL_BYTES,
		.node = -1,
		.owner = &opts,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	struct gpusvm_devmem_pool *pool;
	int err;

	err = gpusvm_devmem_pool_create(&pool, &opts);
	if (err == -EPERM || err == -ENOMEM)
		test_skip("no memory for a pool here");
	assert_ret(err, 0);
	assert_ret(gpusvm_devmem_pool_destroy(pool), 0);
}

static void child_has_blocks_where_a_pool_was(void **state)
{
	unsigned char *block;
	pid_t pid;

	(void)state;
	make_and_destroy_pool();
	/* As large as the pool, or it would be put elsewhere. */
	block = gpusvm_alloc(POOL_BYTES);
	assert_non_null(block);
	test_cleanup(gpusvm_free, block);
	test_fill(block, POOL_BYTES, 1);
	pid = fork();
	if (!pid)
		_exit(test_match(block, POOL_BYTES, 1) == POOL_BYTES
			      ? CHILD_FINE
			      : CHILD_SAW_OTHER_DATA);
	assert_int_equal(wait_for(pid), CHILD_FINE);
	assert_filled(block, POOL_BYTES, 1);
}

/* The address space and what a driver has of it, in a child. */
static int end_in_child(struct fake_driver *d, const unsigned char *mem)
{
	alarm((unsigned int)test_scaled_ms(CHILD_MS) / 1000);
	if (gpusvm_mm_close(test_mm) != -EINVAL)
		return CHILD_MAY_CLOSE;
	fake_driver_fini(d);
	if (d->range_frees != d->range_allocs ||
	    d->notifier_frees != d->notifier_allocs || !d->range_allocs ||
	    fake_unbalanced_maps(d))
		return CHILD_LEAKS;
	return test_match(mem, SZ_64K, 1) == SZ_64K ? CHILD_FINE
						    : CHILD_SAW_OTHER_DATA;
}

static void child_has_the_address_space_where_a_pool_was(void **state)
{
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_driver *d;
	pid_t pid;

	(void)state;
	/* Nothing else is in the way: the lowest memory is the pool's. */
	test_mm_close();
	make_and_destroy_pool();
	test_mm_reopen();
	d = fake_driver_create(NULL);
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	pid = fork();
	if (!pid)
		_exit(end_in_child(d, mem));
	assert_int_equal(wait_for(pid), CHILD_FINE);
	assert_filled(mem, SZ_64K, 1);
}

/* ---- A lock that another thread of the parent holds ---- */

/* In the order in which they become true. */
static struct {
	bool wanted;
	bool take;
	bool taken;
	bool let_go;
} lock;

static bool is_set(bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

/* Between the library's handler, which takes the lock itself, and the fork. */
static void before_fork(void)
{
	if (!is_set(&lock.wanted))
		return;
	set(&lock.take);
	test_wait_for(is_set(&lock.taken), TEST_WAIT_MS);
}

static void *hold_notifier_lock(void *arg)
{
	struct fake_driver *d = arg;

	if (!test_wait_for(is_set(&lock.take), TEST_WAIT_MS))
		return NULL;
	drm_gpusvm_notifier_lock(&d->gpusvm);
	set(&lock.taken);
	test_wait_for(is_set(&lock.let_go), TEST_WAIT_MS);
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	return NULL;
}

static void child_ends_gpusvm_whose_lock_was_held(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	pthread_t thread;
	bool taken;
	pid_t pid;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	test_thread_start(&thread, hold_notifier_lock, d);
	set(&lock.wanted);
	pid = fork();
	if (!pid)
		_exit(end_in_child(d, mem));
	taken = is_set(&lock.taken);
	__atomic_store_n(&lock.wanted, false, __ATOMIC_RELEASE);
	set(&lock.let_go);
	test_thread_join(thread);
	assert_true(taken);
	assert_int_equal(wait_for(pid), CHILD_FINE);

	/* The parent's goes on. */
	assert_int_equal(d->range_frees, 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(fake_valid(d, range));
	assert_dev_filled(d, range, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(child_has_blocks_where_a_pool_was),
	conf_test(child_has_the_address_space_where_a_pool_was),
	conf_test(child_ends_gpusvm_whose_lock_was_held),
};

/* Handlers are called in the reverse order: ours comes last. */
int main(int argc, char **argv)
{
	if (pthread_atfork(before_fork, NULL, NULL))
		return 1;
	return test_main(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
