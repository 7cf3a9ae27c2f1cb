/* SPDX-License-Identifier: MIT */
/*
 * Pages that come home are first moved to the node where the program's memory
 * policy wants them, on a machine of four nodes that exists in answers only.
 */
#include "unit_migration.h"

#include "nodes.h"
#include "placement.h"

#define N 40ul
#define FIRST 8ul
#define BIND_STATIC (MPOL_BIND | 1 << 15)

/* What the mapping at an address has, and the thread. */
static int vma_mode, thread_mode;
static unsigned long vma_nodes, thread_nodes;
static int here;
/* Where staging's pages are, and how often that was asked. */
static signed char node_of[N];
static unsigned long queried, moved;
static int query_error;

static bool get_mempolicy(const unsigned long *args, long *ret)
{
	bool of_address = args[4] & MPOL_F_ADDR;

	memset((void *)args[1], 0, MAX_NODES / 8);
	*(int *)args[0] = of_address ? vma_mode : thread_mode;
	*(unsigned long *)args[1] = of_address ? vma_nodes : thread_nodes;
	*ret = 0;
	return true;
}

static bool move_pages(const unsigned long *args, long *ret)
{
	const int *nodes = (const int *)args[3];
	unsigned long i, n;

	*ret = query_error;
	for (i = 0; i < args[1] && !query_error; i++) {
		n = (((unsigned long *)args[2])[i] - m.run->addr) / PAGE_SIZE;
		assert_true(n < N);
		if (nodes && nodes[i] < 4)
			node_of[n] = (signed char)nodes[i];
		((int *)args[4])[i] = node_of[n];
		queried += !nodes;
		moved += !!nodes;
	}
	return true;
}

static bool cpu_is_here(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = here;
	return true;
}

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake_fill(window(FIRST), N, 1);
	mm->several_nodes = true;
	vma_mode = thread_mode = MPOL_DEFAULT;
	vma_nodes = thread_nodes = 0;
	here = 0;
	queried = moved = 0;
	query_error = 0;
	memset(node_of, 0, sizeof(node_of));
	fake_sys_hook(FAKE_SYS_GET_MEMPOLICY, get_mempolicy);
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, move_pages);
	fake_sys_hook(FAKE_SYS_NODE, cpu_is_here);
	return migrate_out(FIRST);
}

static int teardown(void **state)
{
	(void)state;
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N, 1));
	unmap_all();
	migration_teardown();
	return 0;
}

static void come_home(void)
{
	assert_int_equal(migrate_home(FIRST, N), N);
}

static void assert_all_on(int node)
{
	unsigned long i;

	for (i = 0; i < N; i++)
		assert_int_equal(node_of[i], node);
}

static void bound_pages_are_all_looked_at(void **state)
{
	(void)state;
	vma_mode = BIND_STATIC;
	vma_nodes = 1 << 2;
	memset(node_of, 2, N);
	node_of[7] = 0;
	node_of[N - 1] = 3;
	come_home();
	assert_all_on(2);
	assert_int_equal(moved, 2);
	assert_true(queried >= N);
}

static void any_of_the_bound_nodes_will_do(void **state)
{
	(void)state;
	vma_mode = MPOL_BIND;
	vma_nodes = 1 << 1 | 1 << 3;
	memset(node_of, 3, N / 2);
	here = 1;
	come_home();
	assert_int_equal(moved, N / 2);
	assert_int_equal(node_of[0], 3);
	assert_int_equal(node_of[N / 2], 1);
}

static void node_preferred_is_asked_for_in_samples(void **state)
{
	(void)state;
	vma_mode = MPOL_PREFERRED;
	vma_nodes = 1 << 1;
	memset(node_of, 1, N);
	come_home();
	assert_int_equal(moved, 0);
	assert_int_equal(queried, 3);
}

static void node_preferred_gets_all_if_a_sample_is_elsewhere(void **state)
{
	(void)state;
	vma_mode = MPOL_PREFERRED;
	vma_nodes = 1 << 1;
	memset(node_of, 1, N);
	node_of[16] = node_of[17] = 0;
	come_home();
	assert_all_on(1);
	assert_int_equal(moved, 2);
}

static void without_a_policy_pages_come_to_the_threads_node(void **state)
{
	(void)state;
	here = 3;
	come_home();
	assert_all_on(3);
}

static void without_one_of_its_own_that_of_the_thread_counts(void **state)
{
	(void)state;
	thread_mode = MPOL_BIND;
	thread_nodes = 1 << 2;
	come_home();
	assert_all_on(2);
}

static void pages_by_turns_are_by_address(void **state)
{
	unsigned long i;

	(void)state;
	vma_mode = MPOL_INTERLEAVE;
	vma_nodes = 1 << 0 | 1 << 2 | 1 << 3;
	come_home();
	for (i = 0; i < N; i++) {
		static const int turns[] = { 0, 2, 3 };
		unsigned long page = fake_addr(fake, FIRST + i) >> PAGE_SHIFT;

		assert_int_equal(node_of[i], turns[page % 3]);
	}
}

static void what_cannot_be_moved_comes_all_the_same(void **state)
{
	(void)state;
	vma_mode = MPOL_BIND;
	vma_nodes = 1 << 5;
	come_home();
	assert_all_on(0);
	assert_int_equal(moved, N);
}

static void what_cannot_be_asked_comes_all_the_same(void **state)
{
	(void)state;
	query_error = -EPERM;
	come_home();
	assert_int_equal(moved, 0);
}

static void policy_that_cannot_be_asked_is_none(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_GET_MEMPOLICY, -ENOSYS, 1);
	come_home();
	assert_int_equal(queried, 0);
}

static void one_node_asks_nothing(void **state)
{
	(void)state;
	mm->several_nodes = false;
	come_home();
	assert_int_equal(queried, 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GET_MEMPOLICY), 0);
}

static void several_nodes_are_known_from_their_files(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_file("/sys/devices/system/node/has_memory", "0,2\n");
	assert_true(gpusvm_placement_needed());
	fake_sys_reset();
	fake_sys_file("/sys/devices/system/node/has_memory", "0\n");
	assert_false(gpusvm_placement_needed());
	fake_sys_reset();
	fake_sys_file("/sys/devices/system/node/has_memory", NULL);
	assert_false(gpusvm_placement_needed());
	fake_sys_reset();
}

#define placement_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		placement_test(bound_pages_are_all_looked_at),
		placement_test(any_of_the_bound_nodes_will_do),
		placement_test(node_preferred_is_asked_for_in_samples),
		placement_test(
			node_preferred_gets_all_if_a_sample_is_elsewhere),
		placement_test(without_a_policy_pages_come_to_the_threads_node),
		placement_test(
			without_one_of_its_own_that_of_the_thread_counts),
		placement_test(pages_by_turns_are_by_address),
		placement_test(what_cannot_be_moved_comes_all_the_same),
		placement_test(what_cannot_be_asked_comes_all_the_same),
		placement_test(policy_that_cannot_be_asked_is_none),
		placement_test(one_node_asks_nothing),
		cmocka_unit_test(several_nodes_are_known_from_their_files),
	};

	return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
