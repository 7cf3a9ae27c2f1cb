/* SPDX-License-Identifier: MIT */
/*
 * Device memory of a node on machines that have several: which node is taken,
 * and one that is missing, full or forbidden.
 */
#include "nodes.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL (8ul << 20)

/* ---- Which node ---- */

static int default_node(void)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	struct numa_device *device = numa_device_create(POOL, -1, 0);

	assert_ret(gpusvm_devmem_pool_info(numa_device_pool(device), &info), 0);
	assert_false(info.emulated);
	assert_int_equal(info.nodes, 1ul << info.node);
	return info.node;
}

static void check_default_node(void)
{
	int here = this_node(), best = default_node();
	bool any_without = false;
	unsigned int i;

	for (i = 0; i < num_nodes; i++)
		any_without |= !node_has_cpus(nodes[i]);
	assert_int_equal(node_has_cpus(best), !any_without);
	for (i = 0; i < num_nodes; i++) {
		unsigned int best_is = node_distance(here, best);
		unsigned int it_is = node_distance(here, nodes[i]);

		if (any_without && !node_has_cpus(nodes[i]))
			assert_true(it_is >= best_is);
		if (!any_without)
			assert_true(it_is <= best_is);
	}
}

static void numa_default_node_is_the_best_from_here(void **state)
{
	unsigned int i;

	(void)state;
	needs_nodes();
	for (i = 0; i < num_nodes; i++)
		if (run_on_node(nodes[i]))
			check_default_node();
}

/* ---- Several ---- */

static void numa_pool_takes_from_several_nodes_by_turns(void **state)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	size_t on[64] = { 0 }, at, bytes;
	struct dev_pagemap *pgmap;
	struct numa_device *device;
	struct numa_alloc *alloc;
	unsigned long mask = 0;
	unsigned char *mem;
	unsigned int i;

	(void)state;
	needs_nodes();
	for (i = 0; i < num_nodes; i++)
		mask |= 1ul << nodes[i];
	bytes = 2 * num_nodes * SZ_2M;
	device = numa_device_create(bytes, -1, mask);
	assert_ret(gpusvm_devmem_pool_info(numa_device_pool(device), &info), 0);
	assert_int_equal(info.nodes, mask);
	assert_int_equal(info.node, nodes[0]);
	pgmap = gpusvm_devmem_pool_pagemap(numa_device_pool(device));
	assert_on_nodes((void *)pgmap->range.start, bytes, mask);
	for (at = 0; at < bytes; at += PS)
		on[node_of((char *)pgmap->range.start + at)]++;
	/* Huge pages, if there are, are a turn each. */
	for (i = 0; i < num_nodes; i++)
		assert_in_range(on[nodes[i]], SZ_2M / PS, 3 * SZ_2M / PS);
	mem = test_map(SZ_2M, SZ_2M);
	test_fill(mem, SZ_2M, 1);
	assert_ret(numa_take(device, mem, SZ_2M, &alloc), 0);
	assert_filled(mem, SZ_2M, 1);
}

/* ---- Missing ---- */

static void numa_missing_node_returns_enodev(void **state)
{
	(void)state;
	needs_nodes();
	assert_ret(try_pool(POOL, nodes[num_nodes - 1] + 1, 0), -ENODEV);
	assert_non_null(strstr(last_log, "no NUMA node"));
	assert_ret(try_pool(POOL, 0, 1ul << nodes[0] | 1ul << 63), -ENODEV);
	assert_non_null(strstr(last_log, "node 63"));
	assert_ret(try_coherent_pool(POOL, nodes[num_nodes - 1] + 1, 0),
		   -ENODEV);
	assert_non_null(strstr(last_log, "no NUMA node"));
}

/* ---- Full ---- */

static void numa_full_node_returns_enomem(void **state)
{
	int node;

	(void)state;
	needs_nodes();
	node = nodes[num_nodes - 1];
	/* File caches count as free, hence twice. */
	assert_ret(try_pool(2 * node_free(node) + SZ_512M, node, 0), -ENOMEM);
	assert_non_null(strstr(last_log, "free"));
	assert_ret(try_pool(POOL, node, 0), 0);
	assert_ret(try_coherent_pool(2 * node_free(node) + SZ_512M, node, 0),
		   -ENOMEM);
	assert_ret(try_coherent_pool(POOL, node, 0), 0);
}

/* The kernel needs some of it, so not all can be had; nobody is killed. */
static void numa_all_of_a_node_is_had_or_not(void **state)
{
	size_t before, bytes;
	int node, err;

	(void)state;
	needs_nodes();
	node = nodes[num_nodes - 1];
	before = node_free(node);
	bytes = before & ~(SZ_2M - 1);
	if (bytes > 4ul << 30)
		test_skip("a node with more memory than this test may use");
	err = try_pool(bytes, node, 0);
	if (err) {
		assert_ret(err, -ENOMEM);
		assert_true(last_log[0]);
	}
	/* What was taken has been given back. */
	assert_true(node_free(node) + (64ul << 20) >= before);
	assert_ret(try_pool(POOL, node, 0), 0);
}

/* Nothing moves to a pool that is full, until something goes home. */
static void numa_eviction_makes_room(void **state)
{
	struct numa_device *device;
	struct numa_alloc *alloc[4], *one_more;
	unsigned char *mem;
	unsigned int i;

	(void)state;
	needs_nodes();
	device = numa_device_create(4 * SZ_2M, -1, 0);
	mem = test_map(5 * SZ_2M, SZ_2M);
	test_fill(mem, 5 * SZ_2M, 1);
	for (i = 0; i < 4; i++)
		assert_ret(numa_take(device, mem + i * SZ_2M, SZ_2M, &alloc[i]),
			   0);
	assert_ret(numa_take(device, mem + 4 * SZ_2M, SZ_2M, &one_more),
		   -ENOSPC);
	assert_int_equal(test_resident(mem + 4 * SZ_2M, SZ_2M), SZ_2M / PS);
	assert_ret(numa_evict(alloc[2]), 0);
	assert_ret(numa_take(device, mem + 4 * SZ_2M, SZ_2M, &one_more), 0);
	assert_int_equal(test_resident(mem + 4 * SZ_2M, SZ_2M), 0);
	assert_filled(mem, 5 * SZ_2M, 1);
}

/* ---- Forbidden ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

#define CANNOT 99

/*
 * In a process of its own, which may use the first node only: a control group
 * for it, in a file system that nobody else sees.
 */
static int confined(int forbidden)
{
	char folder[] = "/tmp/gpusvm-cgroup-XXXXXX", path[128], text[32];
	int err;

	if (unshare(CLONE_NEWNS) || !mkdtemp(folder) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return CANNOT;
	if (mount("none", folder, "cgroup2", 0, NULL)) {
		rmdir(folder);
		return CANNOT;
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", folder);
	write_file(path, "+cpuset");
	snprintf(path, sizeof(path), "%s/gpusvm-test", folder);
	mkdir(path, 0755);
	snprintf(text, sizeof(text), "%d", nodes[0]);
	snprintf(path, sizeof(path), "%s/gpusvm-test/cpuset.mems", folder);
	err = write_file(path, text) ? 0 : CANNOT;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	snprintf(path, sizeof(path), "%s/gpusvm-test/cgroup.procs", folder);
	if (!err && !write_file(path, text))
		err = CANNOT;
	if (!err && (try_pool(POOL, forbidden, 0) != -EPERM ||
		     !strstr(last_log, "cpuset")))
		err = 1;
	if (!err &&
	    (try_pool(POOL, 0, 1ul << nodes[0] | 1ul << forbidden) != -EPERM))
		err = 2;
	if (!err && try_pool(POOL, nodes[0], 0))
		err = 3;
	if (!err && try_coherent_pool(POOL, forbidden, 0) != -EPERM)
		err = 4;
	if (!err && try_coherent_pool(POOL, nodes[0], 0))
		err = 5;
	/* Back, for the group to go. */
	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	write_file(path, text);
	snprintf(path, sizeof(path), "%s/gpusvm-test", folder);
	rmdir(path);
	umount(folder);
	rmdir(folder);
	return err;
}

static void numa_forbidden_node_returns_eperm(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	needs_nodes();
	if (geteuid())
		test_skip("only root confines a process to some nodes");
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(confined(nodes[num_nodes - 1]));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CANNOT)
		test_skip("no control group with cpuset to be had");
	assert_int_equal(WEXITSTATUS(status), 0);
}

static const struct CMUnitTest tests[] = {
	conf_test(numa_default_node_is_the_best_from_here),
	conf_test(numa_pool_takes_from_several_nodes_by_turns),
	conf_test(numa_missing_node_returns_enodev),
	conf_test(numa_full_node_returns_enomem),
	conf_test(numa_all_of_a_node_is_had_or_not),
	conf_test(numa_eviction_makes_room),
	conf_test(numa_forbidden_node_returns_eperm),
};

CONF_MAIN(tests)
