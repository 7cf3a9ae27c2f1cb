/* SPDX-License-Identifier: MIT */
/*
 * Coherent device memory on machines with several memory nodes: on which node
 * each page is, that a CPU access brings none home and waits for nobody, and that
 * no store is lost while pages move.
 */
#include "nodes.h"
#include "pin.h"

#include <linux/mempolicy.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL (8ul << 20)

static unsigned long bit(int node)
{
	return 1ul << node;
}

/* The node farthest down the list, which has no CPUs if any has none. */
static int far_node(void)
{
	return nodes[num_nodes - 1];
}

static struct gpusvm_stats stats(void)
{
	struct gpusvm_stats now = { .size = sizeof(now) };

	assert_ret(gpusvm_mm_get_stats(test_mm, &now), 0);
	return now;
}

/* Bound to a node, without a page. */
static void renew(unsigned char *mem, size_t size, int node)
{
	set_policy(mem, size, MPOL_BIND, bit(node));
	assert_int_equal(gpusvm_madvise(mem, size, MADV_DONTNEED), 0);
}

/* ---- Where the pages are ---- */

static void check_round_trip(struct numa_device *device, unsigned char *mem,
			     size_t size, int from, int to)
{
	struct gpusvm_stats before;
	struct numa_alloc *alloc;

	renew(mem, size, from);
	test_fill(mem, size, 1);
	assert_on_nodes(mem, size, bit(from));
	assert_ret(numa_take(device, mem, size, &alloc), 0);
	assert_on_nodes(mem, size, bit(to));
	/* The policy says otherwise, and no access has it come home. */
	before = stats();
	assert_int_equal(before.device_pages, size / PS);
	assert_int_equal(test_resident(mem, size), size / PS);
	assert_filled(mem, size, 1);
	test_fill(mem, size, 2);
	assert_on_nodes(mem, size, bit(to));
	assert_int_equal(stats().device_pages, size / PS);
	assert_int_equal(stats().cpu_faults, before.cpu_faults);
	assert_int_equal(stats().zero_faults, before.zero_faults);
	assert_int_equal(stats().migrations_to_ram, before.migrations_to_ram);
	assert_ret(numa_evict(alloc), 0);
	assert_int_equal(stats().device_pages, 0);
	assert_on_nodes(mem, size, bit(from));
	assert_filled(mem, size, 2);
}

/* To each node from each node, and home. */
static void check_round_trips(unsigned char *mem, size_t size)
{
	unsigned int i, j;

	for (i = 0; i < num_nodes; i++) {
		struct numa_device *device =
			numa_coherent_create(POOL, nodes[i], 0);

		for (j = 0; j < num_nodes; j++)
			check_round_trip(device, mem, size, nodes[j], nodes[i]);
	}
}

static void coherent_small_pages_go_and_come(void **state)
{
	(void)state;
	needs_nodes();
	check_round_trips(test_map(SZ_2M, SZ_2M), SZ_2M);
	check_round_trips(test_map(SZ_64K, SZ_64K), SZ_64K);
	check_round_trips(test_map(PS, PS), PS);
}

static void coherent_huge_pages_go_and_come_whole(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	mem = test_map_huge(SZ_2M);
	if (!mem)
		test_skip("no transparent huge page to be had");
	check_round_trips(mem, SZ_2M);
	renew(mem, SZ_2M, nodes[0]);
	test_fill(mem, SZ_2M, 1);
	if (test_huge_bytes(mem) != SZ_2M)
		test_skip("no transparent huge page to be had again");
	device = numa_coherent_create(POOL, far_node(), 0);
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	assert_int_equal(test_huge_bytes(mem), SZ_2M);
	assert_ret(numa_evict(alloc), 0);
	assert_int_equal(test_huge_bytes(mem), SZ_2M);
	assert_on_nodes(mem, SZ_2M, bit(nodes[0]));
	assert_filled(mem, SZ_2M, 1);
}

/* A range within a huge page leaves the rest of that where it is. */
static void coherent_part_of_a_huge_page_goes_alone(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	mem = test_map_huge(SZ_2M);
	if (!mem)
		test_skip("no transparent huge page to be had");
	renew(mem, SZ_2M, nodes[0]);
	test_fill(mem, SZ_2M, 1);
	device = numa_coherent_create(POOL, far_node(), 0);
	assert_ret(numa_take(device, mem + SZ_64K, SZ_64K, &alloc), 0);
	assert_on_nodes(mem, SZ_64K, bit(nodes[0]));
	assert_on_nodes(mem + SZ_64K, SZ_64K, bit(far_node()));
	assert_on_nodes(mem + SZ_128K, SZ_2M - SZ_128K, bit(nodes[0]));
	assert_filled(mem, SZ_2M, 1);
	assert_ret(numa_evict(alloc), 0);
	assert_on_nodes(mem, SZ_2M, bit(nodes[0]));
	assert_filled(mem, SZ_2M, 1);
}

static void coherent_absent_pages_become_the_nodes(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	device = numa_coherent_create(POOL, far_node(), 0);
	mem = test_map(SZ_2M, SZ_2M);
	mem[PS] = 1;
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	assert_on_nodes(mem, SZ_2M, bit(far_node()));
	mem[PS] = 0;
	assert_zeroed(mem, SZ_2M);
}

static void coherent_several_nodes_take_turns(void **state)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	size_t on[64] = { 0 }, at;
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned long mask = 0;
	unsigned char *mem;
	unsigned int i;

	(void)state;
	needs_nodes();
	for (i = 0; i < num_nodes; i++)
		mask |= bit(nodes[i]);
	device = numa_coherent_create(POOL, -1, mask);
	assert_ret(gpusvm_devmem_pool_info(numa_device_pool(device), &info), 0);
	assert_int_equal(info.nodes, mask);
	mem = test_map(SZ_2M, SZ_2M);
	renew(mem, SZ_2M, nodes[0]);
	test_fill(mem, SZ_2M, 1);
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	for (at = 0; at < SZ_2M; at += PS)
		on[node_of(mem + at)]++;
	for (i = 0; i < num_nodes; i++)
		assert_true(on[nodes[i]] + 1 >= SZ_2M / PS / num_nodes);
	assert_filled(mem, SZ_2M, 1);
	assert_ret(numa_evict(alloc), 0);
	assert_on_nodes(mem, SZ_2M, bit(nodes[0]));
}

static void
coherent_without_a_policy_they_come_where_the_thread_runs(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned int i, rounds = 0;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	device = numa_coherent_create(POOL, far_node(), 0);
	mem = test_map(SZ_2M, SZ_2M);
	for (i = 0; i < 2 * num_nodes; i++) {
		int node = nodes[i % num_nodes];

		if (!run_on_node(node))
			continue;
		test_fill(mem, SZ_2M, i);
		assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
		assert_on_nodes(mem, SZ_2M, bit(far_node()));
		assert_ret(numa_evict(alloc), 0);
		assert_on_nodes(mem, SZ_2M, bit(node));
		assert_filled(mem, SZ_2M, i);
		rounds++;
	}
	assert_true(rounds);
}

/* ---- What cannot be moved ---- */

/* None goes if one cannot; those that went are back. */
static void coherent_pinned_page_keeps_all(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;
	int pin;

	(void)state;
	needs_nodes();
	device = numa_coherent_create(POOL, far_node(), 0);
	mem = test_map(SZ_2M, SZ_2M);
	renew(mem, SZ_2M, nodes[0]);
	test_fill(mem, SZ_2M, 1);
	pin = test_pin(mem + SZ_1M, PS);
	if (pin < 0)
		test_skip("no page can be pinned here");
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), -EBUSY);
	assert_on_nodes(mem, SZ_2M, bit(nodes[0]));
	assert_int_equal(stats().device_pages, 0);
	test_unpin(pin);
	assert_true(test_wait_for(!numa_take(device, mem, SZ_2M, &alloc),
				  TEST_WAIT_MS));
	assert_on_nodes(mem, SZ_2M, bit(far_node()));
	/* Home the others come without it. */
	pin = test_pin(mem + SZ_1M, PS);
	assert_true(pin >= 0);
	assert_ret(numa_evict(alloc), -EBUSY);
	assert_int_equal(stats().device_pages, 1);
	assert_on_nodes(mem, SZ_1M, bit(nodes[0]));
	assert_on_nodes(mem + SZ_1M, PS, bit(far_node()));
	test_unpin(pin);
	assert_true(test_wait_for(!numa_evict(alloc), TEST_WAIT_MS));
	assert_on_nodes(mem, SZ_2M, bit(nodes[0]));
	assert_filled(mem, SZ_2M, 1);
}

/* What a pool in the hands of this process leaves of a node. */
static struct gpusvm_devmem_pool *fill_node(int node)
{
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.node = node,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	struct gpusvm_devmem_pool *pool = NULL;
	size_t left = 0;

	for (; !pool && left < node_free(node); left += SZ_2M) {
		opts.bytes = (node_free(node) - left) & ~(SZ_2M - 1);
		if (gpusvm_devmem_pool_create(&pool, &opts))
			pool = NULL;
	}
	return pool;
}

static void coherent_full_node_takes_all_or_nothing(void **state)
{
	struct numa_alloc *alloc[64];
	struct gpusvm_devmem_pool *pool;
	struct numa_device *device;
	size_t size = 64 * SZ_2M, done;
	unsigned char *mem;
	unsigned int i;
	int err = 0;

	(void)state;
	needs_nodes();
	if (node_free(far_node()) > 4ul << 30)
		test_skip("a node with more memory than this test may use");
	if (node_free(nodes[0]) < size + SZ_512M / 4)
		test_skip("too little memory on the first node");
	device = numa_coherent_create(size, far_node(), 0);
	mem = test_map(size, SZ_2M);
	renew(mem, size, nodes[0]);
	test_fill(mem, size, 1);
	pool = fill_node(far_node());
	assert_non_null(pool);
	for (i = 0; i < 64 && !err; i++)
		err = numa_take(device, mem + i * SZ_2M, SZ_2M, &alloc[i]);
	done = (i - (err != 0)) * SZ_2M;
	/* The pool left less than all this. */
	assert_ret(err, -ENOMEM);
	assert_on_nodes(mem, done, bit(far_node()));
	assert_on_nodes(mem + done, size - done, bit(nodes[0]));
	assert_int_equal(stats().device_pages, done / PS);
	assert_filled(mem, size, 1);
	assert_ret(gpusvm_devmem_pool_destroy(pool), 0);
	assert_ret(numa_take(device, mem + done, SZ_2M, &alloc[i - 1]), 0);
	assert_on_nodes(mem + done, SZ_2M, bit(far_node()));
	for (i = 0; i * SZ_2M <= done; i++)
		assert_ret(numa_evict(alloc[i]), 0);
	assert_on_nodes(mem, size, bit(nodes[0]));
	assert_filled(mem, size, 1);
}

/* ---- fork() ---- */

/* With a child that lives the pages are shared, and only copies can move. */
static void coherent_pages_shared_with_a_child_come_as_copies(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;
	int status, go[2];
	pid_t pid;
	char byte;

	(void)state;
	needs_nodes();
	device = numa_coherent_create(POOL, far_node(), 0);
	mem = test_map(SZ_64K, SZ_64K);
	renew(mem, SZ_64K, nodes[0]);
	test_fill(mem, SZ_64K, 1);
	assert_ret(numa_take(device, mem, SZ_64K, &alloc), 0);
	assert_int_equal(pipe(go), 0);
	/* By fork() they would come home first. */
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	assert_true(pid >= 0);
	if (!pid) {
		_exit(read(go[0], &byte, 1) == 1 &&
				      test_match(mem, SZ_64K, 1) == SZ_64K
			      ? 0
			      : 1);
	}
	assert_on_nodes(mem, SZ_64K, bit(far_node()));
	assert_ret(numa_evict(alloc), 0);
	assert_on_nodes(mem, SZ_64K, bit(nodes[0]));
	test_fill(mem, SZ_64K, 2);
	assert_ret(numa_take(device, mem, SZ_64K, &alloc), 0);
	assert_on_nodes(mem, SZ_64K, bit(far_node()));
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_filled(mem, SZ_64K, 2);
	close(go[0]);
	close(go[1]);
}

/* ---- Stores meanwhile ---- */

#define WRITERS 2

struct writer {
	unsigned char *mem;
	size_t size;
	uint64_t seed;
	unsigned long *added;
	bool *stop;
	pthread_t thread;
};

/* A word of each page, at random. */
static void *add_words(void *arg)
{
	struct writer *w = arg;
	uint64_t x = w->seed;
	size_t page;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		page = (x >> 33) % (w->size / PS);
		__atomic_fetch_add((unsigned long *)(w->mem + page * PS), 1,
				   __ATOMIC_RELAXED);
		w->added[page]++;
	}
	return NULL;
}

static void check_stores(unsigned char *mem, size_t size)
{
	unsigned long end = test_now_ms() + test_stress_ms(1);
	unsigned long *added, rounds = 0, trips = 0, sum;
	struct writer writers[WRITERS];
	struct numa_device *devices[2];
	struct numa_alloc *alloc;
	bool stop = false, failed = false;
	size_t page;
	unsigned int i;

	devices[0] = numa_coherent_create(POOL, far_node(), 0);
	devices[1] = numa_coherent_create(POOL, nodes[0], 0);
	memset(mem, 0, size);
	added = gpusvm_alloc(WRITERS * (size / PS) * sizeof(*added));
	assert_non_null(added);
	for (i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){
			.mem = mem,
			.size = size,
			.seed = test_random(),
			.added = added + i * (size / PS),
			.stop = &stop,
		};
		test_thread_start(&writers[i].thread, add_words, &writers[i]);
	}
	do {
		struct numa_device *device = devices[rounds++ % 2];
		int err = numa_take(device, mem, size, &alloc);

		/* A page was just in use. */
		if (err == -EBUSY)
			continue;
		failed = err || numa_evict(alloc);
		trips += !failed;
	} while (!failed && (!trips || test_now_ms() < end));
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < WRITERS; i++)
		test_thread_join(writers[i].thread);
	assert_false(failed);
	for (page = 0; page < size / PS; page++) {
		for (sum = 0, i = 0; i < WRITERS; i++)
			sum += writers[i].added[page];
		assert_int_equal(*(unsigned long *)(mem + page * PS), sum);
	}
	assert_int_equal(stats().cpu_faults, 0);
	gpusvm_free(added);
}

static void coherent_no_store_is_lost(void **state)
{
	unsigned char *huge;

	(void)state;
	needs_nodes();
	check_stores(test_map(SZ_64K, SZ_64K), SZ_64K);
	check_stores(test_map(SZ_2M, SZ_2M), SZ_2M);
	huge = test_map_huge(SZ_2M);
	if (huge)
		check_stores(huge, SZ_2M);
}

static const struct CMUnitTest tests[] = {
	conf_test(coherent_small_pages_go_and_come),
	conf_test(coherent_huge_pages_go_and_come_whole),
	conf_test(coherent_part_of_a_huge_page_goes_alone),
	conf_test(coherent_absent_pages_become_the_nodes),
	conf_test(coherent_several_nodes_take_turns),
	conf_test(coherent_without_a_policy_they_come_where_the_thread_runs),
	conf_test(coherent_pinned_page_keeps_all),
	conf_test(coherent_full_node_takes_all_or_nothing),
	conf_test(coherent_pages_shared_with_a_child_come_as_copies),
	conf_test(coherent_no_store_is_lost),
};

CONF_MAIN(tests)
