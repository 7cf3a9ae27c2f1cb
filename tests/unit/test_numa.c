/* SPDX-License-Identifier: MIT */
/*
 * Memory from a NUMA node, on machines made of files: which node is the best,
 * what a node has, and where the pages really are.
 */
#include "unit_nodes.h"

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
	return gpusvm_numa_take(memory, SIZE, node);
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

static void pages_elsewhere_return_exdev(void **state)
{
	(void)state;
	several_nodes("0-1\n", "0\n", "10 20\n");
	found_node = 0;
	assert_fails(1, -EXDEV);
}

static unsigned long last_looked_at;

static bool note_page(const unsigned long *args, long *ret)
{
	last_looked_at = (unsigned long)*(void **)args[2];
	return tell_node(args, ret);
}

static void last_page_is_looked_at(void **state)
{
	struct numa_memory memory;

	(void)state;
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, note_page);
	assert_int_equal(take(0, &memory), 0);
	assert_int_equal(last_looked_at, memory.addr + SIZE - PAGE_SIZE);
	gpusvm_numa_give_back(&memory);
}

static bool page_is_absent(const unsigned long *args, long *ret)
{
	*(int *)args[4] = -ENOENT;
	*ret = 0;
	return true;
}

static void pages_that_cannot_be_found_return_the_error(void **state)
{
	struct numa_memory memory;

	(void)state;
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, page_is_absent);
	assert_int_equal(take(0, &memory), -ENOENT);
	fake_sys_fail(FAKE_SYS_MOVE_PAGES, -EPERM, 1);
	assert_int_equal(take(0, &memory), -EPERM);
	assert_int_equal(taken, 0);
}

#define numa_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		numa_test(take_on_one_node_is_emulated),
		numa_test(best_node_has_no_cpus),
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
		numa_test(node_not_allowed_returns_eperm),
		numa_test(kernel_without_numa_is_fine),
		numa_test(pages_elsewhere_return_exdev),
		numa_test(last_page_is_looked_at),
		numa_test(pages_that_cannot_be_found_return_the_error),
	};

	return cmocka_run_group_tests_name("numa", tests, NULL, NULL);
}
