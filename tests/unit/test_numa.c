/* SPDX-License-Identifier: MIT */
/*
 * Memory from a NUMA node, on machines made of files: which node is the best,
 * what a node has, and where the pages really are.
 */
#include "unit_nodes.h"

#include <sys/mman.h>

#include "alloc.h"
#include "numa.h"

#define SIZE (4ul << 20)

/* ---- What is taken must be given back ---- */

void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
void __real_gpusvm_free_pages(void *ptr, size_t size);
void __wrap_gpusvm_free_pages(void *ptr, size_t size);

static size_t taken;
static bool no_memory;

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	void *ptr = no_memory ? NULL : __real_gpusvm_alloc_pages(size, align);

	taken += ptr ? size : 0;
	return ptr;
}

void __wrap_gpusvm_free_pages(void *ptr, size_t size)
{
	taken -= size;
	__real_gpusvm_free_pages(ptr, size);
}

static char log_line[512];

static void keep_line(enum gpusvm_log_level level, const char *message,
		      void *priv)
{
	(void)level;
	(void)priv;
	snprintf(log_line, sizeof(log_line), "%s", message);
}

static int setup(void **state)
{
	(void)state;
	one_node();
	taken = 0;
	no_memory = false;
	log_line[0] = '\0';
	gpusvm_set_log(keep_line, NULL, GPUSVM_LOG_INFO);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	fake_sys_reset();
	return taken ? -1 : 0;
}

static void several_nodes(const char *has_memory, const char *has_cpu,
			  const char *distance)
{
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_MBIND, bind_memory);
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, tell_node);
	fake_sys_hook(FAKE_SYS_NODE, on_node_0);
	bound_node = -1;
	found_node = -1;
	fake_sys_file(NODES "has_memory", has_memory);
	fake_sys_file(NODES "has_cpu", has_cpu);
	fake_sys_file(NODES "online", has_memory);
	fake_sys_file(NODES "node0/distance", distance);
}

static int take(int node, struct numa_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	return gpusvm_numa_take(memory, SIZE, node, 0);
}

static void check_best(int expected)
{
	struct numa_memory memory;

	assert_int_equal(take(-1, &memory), 0);
	assert_int_equal(memory.node, expected);
	assert_int_equal(bound_node, expected);
	gpusvm_numa_give_back(&memory);
}

static void assert_fails(int node, int expected)
{
	struct numa_memory memory;

	assert_int_equal(take(node, &memory), expected);
	assert_int_equal(taken, 0);
	assert_true(log_line[0]);
}

/* ---- Which node ---- */

static void take_on_one_node_is_emulated(void **state)
{
	struct numa_memory memory;
	unsigned long i;

	(void)state;
	assert_int_equal(take(-1, &memory), 0);
	assert_int_equal(memory.node, 0);
	assert_true(memory.emulated);
	assert_int_equal(memory.size, SIZE);
	assert_int_equal(memory.addr % (2ul << 20), 0);
	assert_non_null(strstr(log_line, "emulated"));
	for (i = 0; i < SIZE; i += PAGE_SIZE)
		*(volatile unsigned char *)(memory.addr + i) = 1;
	gpusvm_numa_give_back(&memory);
}

static void best_node_has_no_cpus(void **state)
{
	(void)state;
	several_nodes("0-3\n", "0,2-3\n", "10 11 20 30\n");
	check_best(1);
}

static bool on_node_1(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = 1;
	return true;
}

static void best_node_without_cpus_is_the_nearest(void **state)
{
	(void)state;
	several_nodes("0-3\n", "0-1\n", "10 20 40 30\n");
	check_best(3);
	fake_sys_file(NODES "node1/distance", "20 10 28 30\n");
	fake_sys_hook(FAKE_SYS_NODE, on_node_1);
	check_best(2);
}

static void best_node_of_equally_near_ones_is_the_fastest(void **state)
{
	(void)state;
	several_nodes("0-3\n", "0-1\n", "10 20 30 30\n");
	fake_sys_file(NODES "node2/access0/initiators/read_bandwidth", "99\n");
	fake_sys_file(NODES "node3/access0/initiators/read_bandwidth", "100\n");
	check_best(3);
	several_nodes("0-3\n", "0-1\n", "10 20 30 30\n");
	check_best(2);
}

static void best_node_with_cpus_is_the_farthest(void **state)
{
	(void)state;
	several_nodes("0-3\n", "0-3\n", "10 11 31 30\n");
	check_best(2);
}

static void best_node_has_memory(void **state)
{
	(void)state;
	several_nodes("0,2\n", "0,2\n", "10 255 20\n");
	fake_sys_file(NODES "possible", "0-2\n");
	check_best(2);
}

/* Of sparse numbers the kernel lists the distances without gaps. */
static void best_node_of_sparse_numbers_is_the_farthest(void **state)
{
	(void)state;
	several_nodes("0,2,5\n", "0,2,5\n", "10 20 30\n");
	check_best(5);
}

static void node_given_is_taken(void **state)
{
	struct numa_memory memory;

	(void)state;
	several_nodes("0-3\n", "0\n", "10 20 30 40\n");
	assert_int_equal(take(2, &memory), 0);
	assert_int_equal(memory.node, 2);
	assert_int_equal(bound_node, 2);
	assert_false(memory.emulated);
	gpusvm_numa_give_back(&memory);
}

static void node_that_does_not_exist_returns_enodev(void **state)
{
	(void)state;
	assert_fails(1, -ENODEV);
	assert_fails(1023, -ENODEV);
	assert_fails(1024, -ENODEV);
	assert_fails(2147483647, -ENODEV);
	assert_non_null(strstr(log_line, "2147483647"));
}

static void lists_of_nodes_are_parsed(void **state)
{
	static const struct {
		const char *list;
		int has[3], missing[3];
	} cases[] = {
		{ "0-2,5\n", { 0, 2, 5 }, { 3, 4, 6 } },
		{ "7", { 7, 7, 7 }, { 0, 6, 8 } },
		{ "1,3,64-65\n", { 1, 3, 65 }, { 0, 2, 66 } },
		{ "0,1020-5000\n", { 0, 1020, 1023 }, { 1, 1019, 1024 } },
	};
	struct numa_memory memory;
	unsigned int i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		several_nodes(cases[i].list, "0\n", "10\n");
		for (j = 0; j < 3; j++) {
			assert_fails(cases[i].missing[j], -ENODEV);
			assert_int_equal(take(cases[i].has[j], &memory), 0);
			gpusvm_numa_give_back(&memory);
		}
	}
}

static void machine_without_files_has_node_0(void **state)
{
	(void)state;
	several_nodes(NULL, NULL, NULL);
	check_best(0);
	several_nodes("", "", "");
	check_best(0);
	assert_fails(1, -ENODEV);
}

/* ---- What it has ---- */

static void more_than_is_free_returns_enomem(void **state)
{
	struct numa_memory memory;

	(void)state;
	several_nodes("0-1\n", "0\n", "10 20\n");
	fake_sys_file(NODES "node1/meminfo",
		      "Node 1 MemTotal:       16000000 kB\n"
		      "Node 1 MemFree:            4096 kB\n");
	assert_int_equal(take(1, &memory), 0);
	gpusvm_numa_give_back(&memory);
	several_nodes("0-1\n", "0\n", "10 20\n");
	fake_sys_file(NODES "node1/meminfo",
		      "Node 1 MemTotal:       16000000 kB\n"
		      "Node 1 MemFree:            4095 kB\n");
	assert_fails(1, -ENOMEM);
}

static void check_meminfo(const char *meminfo, bool enough)
{
	struct numa_memory memory;

	several_nodes("0-1\n", "0\n", "10 20\n");
	fake_sys_file(NODES "node1/meminfo", meminfo);
	if (!enough) {
		assert_fails(1, -ENOMEM);
		return;
	}
	assert_int_equal(take(1, &memory), 0);
	assert_int_equal(memory.size, SIZE);
	gpusvm_numa_give_back(&memory);
}

/* The kernel gives up what it cached before it says that there is no more. */
static void cached_files_count_as_free(void **state)
{
	(void)state;
	check_meminfo("Node 1 MemTotal:       16000000 kB\n"
		      "Node 1 MemFree:            1024 kB\n"
		      "Node 1 Active:          9000000 kB\n"
		      "Node 1 Inactive:        6000000 kB\n"
		      "Node 1 Active(anon):    8999000 kB\n"
		      "Node 1 Inactive(anon):  5998000 kB\n"
		      "Node 1 Active(file):       1000 kB\n"
		      "Node 1 Inactive(file):     2072 kB\n",
		      true);
	check_meminfo("Node 1 MemTotal:       16000000 kB\n"
		      "Node 1 MemFree:            1024 kB\n"
		      "Node 1 Active:          9000000 kB\n"
		      "Node 1 Inactive:        6000000 kB\n"
		      "Node 1 Active(anon):    8999000 kB\n"
		      "Node 1 Inactive(anon):  5998000 kB\n"
		      "Node 1 Active(file):       1000 kB\n"
		      "Node 1 Inactive(file):     2071 kB\n",
		      false);
	/* One of the two kinds alone. */
	check_meminfo("Node 1 MemFree:               0 kB\n"
		      "Node 1 Inactive(file):     4096 kB\n",
		      true);
	check_meminfo("Node 1 MemFree:               0 kB\n"
		      "Node 1 Active(file):       4096 kB\n",
		      true);
}

static void lack_of_memory_returns_enomem(void **state)
{
	struct numa_memory memory;

	(void)state;
	no_memory = true;
	assert_int_equal(take(0, &memory), -ENOMEM);
	no_memory = false;
	/* MADV_HUGEPAGE, DONTFORK, POPULATE_WRITE. */
	fake_sys_fail(FAKE_SYS_MADVISE, -EFAULT, 3);
	assert_int_equal(take(0, &memory), -ENOMEM);
	assert_int_equal(taken, 0);
	fake_sys_fail(FAKE_SYS_MADVISE, -EINVAL, 2);
	assert_int_equal(take(0, &memory), -EINVAL);
	assert_int_equal(taken, 0);
	/* Without huge pages it goes on. */
	fake_sys_fail(FAKE_SYS_MADVISE, -EINVAL, 1);
	assert_int_equal(take(0, &memory), 0);
	gpusvm_numa_give_back(&memory);
}

/* ---- Where it is ---- */

static int take_coherent(int node, struct numa_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	memory->coherent = true;
	return gpusvm_numa_take(memory, SIZE, node, 0);
}

/* Addresses only, after one page was moved to see that it can be. */
static void coherent_memory_is_not_populated(void **state)
{
	struct numa_memory memory;
	unsigned char present[SIZE / 4096];
	size_t i;

	(void)state;
	several_nodes("0-3\n", "0\n", "10 20 30 40\n");
	found_node = 2;
	assert_int_equal(take_coherent(2, &memory), 0);
	assert_int_equal(memory.node, 2);
	assert_true(fake_sys_calls(FAKE_SYS_MOVE_PAGES));
	assert_non_null(strstr(log_line, "coherent"));
	assert_int_equal(mincore((void *)memory.addr, SIZE, present), 0);
	for (i = 0; i < SIZE / PAGE_SIZE; i++)
		assert_false(present[i] & 1);
	gpusvm_numa_give_back(&memory);
	/* Nothing is moved where there is one node. */
	one_node();
	assert_int_equal(take_coherent(-1, &memory), 0);
	assert_true(memory.emulated);
	assert_int_equal(fake_sys_calls(FAKE_SYS_MOVE_PAGES), 0);
	gpusvm_numa_give_back(&memory);
}

static void coherent_memory_that_no_page_moves_to_is_refused(void **state)
{
	struct numa_memory memory;

	(void)state;
	several_nodes("0-3\n", "0\n", "10 20 30 40\n");
	found_node = 1;
	assert_int_equal(take_coherent(2, &memory), -ENOMEM);
	assert_non_null(strstr(log_line, "cannot be moved"));
	fake_sys_fail(FAKE_SYS_MOVE_PAGES, -EPERM, 1);
	assert_int_equal(take_coherent(2, &memory), -EPERM);
	fake_sys_fail(FAKE_SYS_MBIND, -EINVAL, 1);
	assert_int_equal(take_coherent(2, &memory), -EPERM);
	assert_int_equal(take_coherent(4, &memory), -ENODEV);
	assert_int_equal(taken, 0);
}

static void node_not_allowed_returns_eperm(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_MBIND, -EINVAL, 1);
	assert_fails(0, -EPERM);
	assert_non_null(strstr(log_line, "cpuset"));
}

static void kernel_without_numa_is_fine(void **state)
{
	struct numa_memory memory;

	(void)state;
	fake_sys_fail(FAKE_SYS_MBIND, -ENOSYS, 1);
	fake_sys_fail(FAKE_SYS_MOVE_PAGES, -ENOSYS, 1);
	assert_int_equal(take(0, &memory), 0);
	gpusvm_numa_give_back(&memory);
}

static void pages_elsewhere_return_enomem(void **state)
{
	(void)state;
	several_nodes("0-1\n", "0\n", "10 20\n");
	found_node = 0;
	assert_fails(1, -ENOMEM);
	assert_non_null(strstr(log_line, "full"));
}

/* Where the page with each number is. */
static signed char place[SIZE / 4096];
static unsigned long first_page;
static unsigned int moves;

static bool find_or_move(const unsigned long *args, long *ret)
{
	void **pages = (void **)args[2];
	const int *nodes = (const int *)args[3];
	unsigned long i, n;

	moves += nodes != NULL;
	for (i = 0; i < args[1]; i++) {
		if (!first_page)
			first_page = (unsigned long)pages[i];
		n = ((unsigned long)pages[i] - first_page) / PAGE_SIZE;
		assert_true(n < SIZE / PAGE_SIZE);
		if (nodes && place[n] >= 0)
			place[n] = (signed char)nodes[i];
		((int *)args[4])[i] = place[n];
	}
	*ret = 0;
	return true;
}

/* Found among those that are where they should be, and moved. */
static void every_page_is_looked_at(void **state)
{
	static const unsigned long elsewhere[] = { 0,	1,   255,
						   256, 700, SIZE / 4096 - 1 };
	struct numa_memory memory;
	unsigned long i, n = SIZE / PAGE_SIZE;

	(void)state;
	several_nodes("0-1\n", "0\n", "10 20\n");
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, find_or_move);
	for (i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		memset(place, 1, sizeof(place));
		first_page = 0;
		moves = 0;
		place[elsewhere[i] % n] = 0;
		assert_int_equal(take(1, &memory), 0);
		assert_int_equal(place[elsewhere[i] % n], 1);
		assert_int_equal(moves, 1);
		assert_int_equal(first_page, memory.addr);
		gpusvm_numa_give_back(&memory);
	}
}

/* What the kernel has taken away already is bound when it comes back. */
static void absent_page_is_no_page_elsewhere(void **state)
{
	struct numa_memory memory;

	(void)state;
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, find_or_move);
	memset(place, 0, sizeof(place));
	first_page = 0;
	moves = 0;
	place[3] = -ENOENT;
	assert_int_equal(take(0, &memory), 0);
	assert_int_equal(moves, 0);
	gpusvm_numa_give_back(&memory);
}

static void pages_that_cannot_be_found_return_the_error(void **state)
{
	struct numa_memory memory;

	(void)state;
	fake_sys_fail(FAKE_SYS_MOVE_PAGES, -EPERM, 1);
	assert_int_equal(take(0, &memory), -EPERM);
	assert_int_equal(taken, 0);
}

/* ---- Several at once ---- */

static int bind_modes[8];
static unsigned int binds;

static bool note_bind(const unsigned long *args, long *ret)
{
	if (binds < ARRAY_SIZE(bind_modes))
		bind_modes[binds++] = (int)args[2];
	return bind_memory(args, ret);
}

static int take_several(unsigned long nodes, struct numa_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	return gpusvm_numa_take(memory, SIZE, 0, nodes);
}

static void several_nodes_are_taken_from_by_turns(void **state)
{
	struct numa_memory memory;

	(void)state;
	several_nodes("0-3\n", "0\n", "10 20 30 40\n");
	fake_sys_hook(FAKE_SYS_MBIND, note_bind);
	binds = 0;
	found_node = 3;
	assert_int_equal(take_several(0xa, &memory), 0);
	assert_int_equal(memory.node, 1);
	assert_int_equal(memory.nodes.mask[0], 0xa);
	/* Each alone, to be told of one that is forbidden. */
	assert_int_equal(binds, 3);
	assert_int_equal(bind_modes[0], MPOL_PREFERRED);
	assert_int_equal(bind_modes[1], MPOL_PREFERRED);
	assert_int_equal(bind_modes[2], MPOL_INTERLEAVE);
	gpusvm_numa_give_back(&memory);
	/* Not on any of them. */
	found_node = 2;
	assert_int_equal(take_several(0xa, &memory), -ENOMEM);
}

static void one_of_several_nodes_may_be_missing(void **state)
{
	struct numa_memory memory;

	(void)state;
	several_nodes("0-2\n", "0\n", "10 20 30\n");
	assert_int_equal(take_several(0xa, &memory), -ENODEV);
	assert_non_null(strstr(log_line, "node 3"));
	fake_sys_fail(FAKE_SYS_MBIND, -EINVAL, 2);
	assert_int_equal(take_several(0x6, &memory), -EPERM);
	assert_non_null(strstr(log_line, "node 2"));
	assert_int_equal(taken, 0);
	fake_sys_file(NODES "node2/meminfo", "Node 2 MemFree: 2047 kB\n");
	assert_int_equal(take_several(0x6, &memory), -ENOMEM);
	several_nodes("0-2\n", "0\n", "10 20 30\n");
	fake_sys_file(NODES "node2/meminfo", "Node 2 MemFree: 2048 kB\n");
	found_node = 1;
	assert_int_equal(take_several(0x6, &memory), 0);
	gpusvm_numa_give_back(&memory);
}

#define numa_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		numa_test(take_on_one_node_is_emulated),
		numa_test(best_node_has_no_cpus),
		numa_test(best_node_without_cpus_is_the_nearest),
		numa_test(best_node_of_equally_near_ones_is_the_fastest),
		numa_test(best_node_with_cpus_is_the_farthest),
		numa_test(best_node_has_memory),
		numa_test(best_node_of_sparse_numbers_is_the_farthest),
		numa_test(node_given_is_taken),
		numa_test(node_that_does_not_exist_returns_enodev),
		numa_test(lists_of_nodes_are_parsed),
		numa_test(machine_without_files_has_node_0),
		numa_test(more_than_is_free_returns_enomem),
		numa_test(cached_files_count_as_free),
		numa_test(lack_of_memory_returns_enomem),
		numa_test(coherent_memory_is_not_populated),
		numa_test(coherent_memory_that_no_page_moves_to_is_refused),
		numa_test(node_not_allowed_returns_eperm),
		numa_test(kernel_without_numa_is_fine),
		numa_test(pages_elsewhere_return_enomem),
		numa_test(every_page_is_looked_at),
		numa_test(absent_page_is_no_page_elsewhere),
		numa_test(pages_that_cannot_be_found_return_the_error),
		numa_test(several_nodes_are_taken_from_by_turns),
		numa_test(one_of_several_nodes_may_be_missing),
	};

	return cmocka_run_group_tests_name("numa", tests, NULL, NULL);
}
