/* SPDX-License-Identifier: MIT */
/*
 * On machines with several memory nodes: where pages lie on the device and when
 * they have come home, one by one.
 */
#include "nodes.h"

#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>

#define POOL (8ul << 20)

static bool moves(void)
{
	return gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE;
}

static unsigned long bit(int node)
{
	return 1ul << node;
}

/* Another node with memory than this one. */
static int other_node(int node)
{
	unsigned int i;

	for (i = 0; i < num_nodes; i++)
		if (nodes[i] != node)
			return nodes[i];
	return -1;
}

/* To each node from each node, and home. */
static void check_round_trips(unsigned char *mem, size_t size)
{
	struct numa_alloc *alloc;
	unsigned int i, j;

	for (i = 0; i < num_nodes; i++) {
		struct numa_device *device =
			numa_device_create(POOL, nodes[i], 0);

		for (j = 0; j < num_nodes; j++) {
			set_policy(mem, size, MPOL_BIND, bit(nodes[j]));
			/* Untouched, so that the policy counts. */
			assert_int_equal(
				gpusvm_madvise(mem, size, MADV_DONTNEED), 0);
			test_fill(mem, size, j);
			assert_on_nodes(mem, size, bit(nodes[j]));
			assert_ret(numa_take(device, mem, size, &alloc), 0);
			assert_on_nodes(numa_alloc_address(alloc), size,
					bit(nodes[i]));
			assert_int_equal(test_match(numa_alloc_address(alloc),
						    size, j),
					 size);
			assert_filled(mem, size, j);
			assert_on_nodes(mem, size, bit(nodes[j]));
		}
	}
}

static void numa_small_pages_lie_where_they_should(void **state)
{
	(void)state;
	needs_nodes();
	check_round_trips(test_map(SZ_2M, SZ_2M), SZ_2M);
}

static void numa_small_ranges_lie_where_they_should(void **state)
{
	(void)state;
	needs_nodes();
	check_round_trips(test_map(SZ_64K, SZ_64K), SZ_64K);
	check_round_trips(test_map(PS, PS), PS);
}

static void numa_huge_pages_lie_where_they_should(void **state)
{
	unsigned char *mem;

	(void)state;
	needs_nodes();
	mem = test_map_huge(SZ_2M);
	if (!mem)
		test_skip("no transparent huge page to be had");
	check_round_trips(mem, SZ_2M);
}

static void check_pool_pages(int node, unsigned long several, unsigned long in)
{
	struct numa_device *device = numa_device_create(POOL, node, several);
	struct dev_pagemap *pgmap =
		gpusvm_devmem_pool_pagemap(numa_device_pool(device));

	assert_on_nodes((void *)pgmap->range.start, POOL, in);
}

static void numa_pool_is_on_its_node_page_by_page(void **state)
{
	unsigned int i;

	(void)state;
	needs_nodes();
	for (i = 0; i < num_nodes; i++)
		check_pool_pages(nodes[i], 0, bit(nodes[i]));
}

/* What staging has been given is of another node then. */
static void check_new_policy(unsigned char *mem, size_t size, bool fault)
{
	struct numa_device *device = numa_device_create(POOL, nodes[0], 0);
	struct numa_alloc *alloc;
	unsigned int i;

	for (i = 0; i < num_nodes; i++) {
		test_fill(mem, size, i);
		assert_ret(numa_take(device, mem, size, &alloc), 0);
		set_policy(mem, size, MPOL_BIND, bit(nodes[i]));
		if (!fault)
			assert_ret(numa_evict(alloc), 0);
		assert_filled(mem, size, i);
		assert_on_nodes(mem, size, bit(nodes[i]));
	}
}

static void numa_policy_set_meanwhile_counts(void **state)
{
	(void)state;
	needs_nodes();
	check_new_policy(test_map(SZ_2M, SZ_2M), SZ_2M, false);
	check_new_policy(test_map(SZ_64K, SZ_64K), SZ_64K, false);
}

static void numa_policy_set_meanwhile_counts_for_a_fault(void **state)
{
	(void)state;
	needs_nodes();
	check_new_policy(test_map(SZ_2M, SZ_2M), SZ_2M, true);
	check_new_policy(test_map(SZ_64K, SZ_64K), SZ_64K, true);
}

/* One range, of which each half has a policy of its own. */
static void numa_policies_of_neighbours_are_kept_apart(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	device = numa_device_create(POOL, -1, 0);
	mem = test_map(SZ_2M, SZ_2M);
	test_fill(mem, SZ_2M, 1);
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	set_policy(mem, SZ_1M, MPOL_BIND, bit(nodes[0]));
	set_policy(mem + SZ_1M, SZ_1M, MPOL_BIND, bit(nodes[num_nodes - 1]));
	assert_ret(numa_evict(alloc), 0);
	assert_filled(mem, SZ_2M, 1);
	assert_on_nodes(mem, SZ_1M, bit(nodes[0]));
	assert_on_nodes(mem + SZ_1M, SZ_1M, bit(nodes[num_nodes - 1]));
}

static void numa_without_a_policy_it_is_where_the_thread_runs(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned int i, rounds = 0;
	unsigned char *mem;

	(void)state;
	needs_nodes();
	device = numa_device_create(POOL, -1, 0);
	mem = test_map(SZ_2M, SZ_2M);
	for (i = 0; i < 2 * num_nodes; i++) {
		if (!run_on_node(nodes[i % num_nodes]))
			continue;
		test_fill(mem, SZ_2M, i);
		assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
		assert_ret(numa_evict(alloc), 0);
		assert_filled(mem, SZ_2M, i);
		/* Without a move the kernel asks its own thread, as here. */
		assert_on_nodes(mem, SZ_2M, bit(nodes[i % num_nodes]));
		rounds++;
	}
	assert_true(rounds >= 2);
}

static void numa_pages_by_turns_come_home_by_turns(void **state)
{
	size_t on[64] = { 0 }, at;
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned long mask = 0;
	unsigned char *mem;
	unsigned int i;

	(void)state;
	needs_nodes();
	if (!moves())
		test_skip("without a move pages come home one by one");
	for (i = 0; i < num_nodes; i++)
		mask |= bit(nodes[i]);
	device = numa_device_create(POOL, -1, 0);
	mem = test_map(SZ_2M, SZ_2M);
	test_fill(mem, SZ_2M, 1);
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	set_policy(mem, SZ_2M, MPOL_INTERLEAVE, mask);
	assert_ret(numa_evict(alloc), 0);
	assert_filled(mem, SZ_2M, 1);
	for (at = 0; at < SZ_2M; at += PS)
		on[node_of(mem + at)]++;
	for (i = 0; i < num_nodes; i++)
		assert_true(on[nodes[i]] + 1 >= SZ_2M / PS / num_nodes);
}

static void numa_two_devices_on_two_nodes(void **state)
{
	struct numa_device *a, *b;
	struct numa_alloc *on_a, *on_b;
	unsigned char *mem;
	int first, second;

	(void)state;
	needs_nodes();
	first = nodes[num_nodes - 1];
	second = other_node(first);
	a = numa_device_create(POOL, first, 0);
	b = numa_device_create(POOL, second, 0);
	mem = test_map(2 * SZ_2M, SZ_2M);
	test_fill(mem, 2 * SZ_2M, 1);
	assert_ret(numa_take(a, mem, SZ_2M, &on_a), 0);
	assert_ret(numa_take(b, mem + SZ_2M, SZ_2M, &on_b), 0);
	assert_on_nodes(numa_alloc_address(on_a), SZ_2M, bit(first));
	assert_on_nodes(numa_alloc_address(on_b), SZ_2M, bit(second));
	/* From one to the other, by way of home. */
	assert_ret(numa_evict(on_a), 0);
	assert_ret(numa_take(b, mem, SZ_2M, &on_a), 0);
	assert_on_nodes(numa_alloc_address(on_a), SZ_2M, bit(second));
	assert_filled(mem, 2 * SZ_2M, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(numa_small_pages_lie_where_they_should),
	conf_test(numa_small_ranges_lie_where_they_should),
	conf_test(numa_huge_pages_lie_where_they_should),
	conf_test(numa_pool_is_on_its_node_page_by_page),
	conf_test(numa_policy_set_meanwhile_counts),
	conf_test(numa_policy_set_meanwhile_counts_for_a_fault),
	conf_test(numa_policies_of_neighbours_are_kept_apart),
	conf_test(numa_without_a_policy_it_is_where_the_thread_runs),
	conf_test(numa_pages_by_turns_come_home_by_turns),
	conf_test(numa_two_devices_on_two_nodes),
};

CONF_MAIN(tests)
