/* SPDX-License-Identifier: MIT */
/*
 * Coherent device memory: pages that move where they are, on a machine of four
 * nodes that exists in answers only.  What is in the way is a page that does not
 * move, a node that is full, and what the program does meanwhile.
 */
#include "unit_migration.h"

#include "cpu_fault.h"
#include "in_place.h"
#include "nodes.h"

#define N 16ul
#define FIRST 8ul
#define ASIDE 40ul
#define DEVICE 2

#define FOREVER 1000000u

/* Where the program's pages are. */
static int node_of[WINDOW];
/* How often a page does not move when it is asked to. */
static unsigned int busy[WINDOW];
static unsigned int full_nodes; /* a bit for each */
static int query_error;
static unsigned long moves;
static void (*at_move)(void);
/* The program's policy, and where the thread runs. */
static int mode;
static unsigned long policy;
static int here;
static unsigned long
	shared; /* pages that become free once written: a bit each */

static unsigned long index_of(const void *page)
{
	return ((unsigned long)page - fake->start) >> PAGE_SHIFT;
}

static int move_one(unsigned long i, int node, long *ret)
{
	if (!fake_present(fake_addr(fake, i)))
		return -ENOENT;
	if (node < 0 || node == node_of[i])
		return node_of[i];
	moves++;
	if (full_nodes >> node & 1) {
		*ret = -ENOMEM;
	} else if (busy[i]) {
		busy[i]--;
		*ret += *ret >= 0;
	} else {
		node_of[i] = node;
	}
	return node_of[i];
}

static bool move_pages(const unsigned long *args, long *ret)
{
	const int *nodes = (const int *)args[3];
	void **pages = (void **)args[2];
	void (*once)(void) = at_move;
	unsigned long i;

	if (nodes && once) {
		at_move = NULL;
		once();
	}
	*ret = query_error;
	for (i = 0; i < args[1] && !query_error; i++) {
		assert_true(index_of(pages[i]) < WINDOW);
		((int *)args[4])[i] = move_one(index_of(pages[i]),
					       nodes ? nodes[i] : -1, ret);
	}
	return true;
}

static bool get_mempolicy(const unsigned long *args, long *ret)
{
	memset((void *)args[1], 0, MAX_NODES / 8);
	*(int *)args[0] = mode;
	*(unsigned long *)args[1] = policy;
	*ret = mode < 0 ? -EPERM : 0;
	return true;
}

static bool cpu_is_here(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = here;
	return true;
}

/* To write to a page that is shared is to have another one. */
static bool write_shared(const unsigned long *args, long *ret)
{
	unsigned long i;

	(void)ret;
	if (args[2] != MADV_POPULATE_WRITE)
		return false;
	for (i = index_of((void *)args[0]);
	     i < index_of((void *)(args[0] + args[1])); i++)
		if (shared >> i & 1)
			busy[i] = 0;
	return false;
}

static int setup(void **state)
{
	unsigned long i;

	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake_fill(window(FIRST), N, 1);
	pgmap->type = MEMORY_DEVICE_COHERENT;
	m.nodes = 1 << DEVICE;
	mm->several_nodes = true;
	for (i = 0; i < WINDOW; i++) {
		node_of[i] = (int)i % 2;
		busy[i] = 0;
	}
	full_nodes = 0;
	query_error = 0;
	moves = 0;
	at_move = NULL;
	mode = MPOL_DEFAULT;
	policy = 0;
	here = 0;
	shared = 0;
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, move_pages);
	fake_sys_hook(FAKE_SYS_GET_MEMPOLICY, get_mempolicy);
	fake_sys_hook(FAKE_SYS_NODE, cpu_is_here);
	fake_sys_hook(FAKE_SYS_MADVISE, write_shared);
	fake_sys_file("/sys/devices/system/node/has_memory", "0-3\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	m.let_go = false;
	unmap_all();
	migration_teardown();
	return 0;
}

static int out(void)
{
	int err;

	take_device_pages();
	err = gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST));
	return err ? err : gpusvm_migrate_out_commit(&m);
}

static long home(void)
{
	long n = gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
					   fake_addr(fake, WINDOW));

	return n > 0 ? gpusvm_migrate_home_commit(&m) : n;
}

static void assert_all_on(int node)
{
	unsigned long i;

	for (i = FIRST; i < FIRST + N; i++)
		assert_int_equal(node_of[i], node);
}

/* Everything is as before the first attempt. */
static void assert_put_back(void)
{
	unsigned long i;

	assert_nothing_on_device();
	for (i = FIRST; i < FIRST + N; i++)
		assert_int_equal(node_of[i], i % 2);
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_int_equal(mm->stats.migrations_to_devmem, 0);
}

static void assert_with_both(void)
{
	unsigned long i;

	assert_int_equal(mm->pt.npages, N);
	for (i = 0; i < N; i++) {
		assert_ptr_equal(entry_at(FIRST + i), device_page(i));
		assert_null(device_page(i)->migration);
		assert_true(fake_present(fake_addr(fake, FIRST + i)));
	}
}

/* ---- To the device ---- */

static void out_moves_all_to_the_node(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	assert_all_on(DEVICE);
	assert_with_both();
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_int_equal(mm->stats.in_place, 1);
	assert_int_equal(mm->stats.moved, 0);
	assert_int_equal(mm->stats.write_protected, 0);
	assert_int_equal(mm->stats.bytes_to_devmem, N * PAGE_SIZE);
}

static void out_neither_traps_nor_stages(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	assert_true(fake_source_count(fake, FAKE_OP_WATCH));
	assert_int_equal(fake_source_count(fake, FAKE_OP_TRAP), 0);
	assert_int_equal(fake_source_count(fake, FAKE_OP_PROTECT), 0);
	assert_int_equal(fake_source_count(fake, FAKE_OP_TAKE), 0);
	assert_int_equal(fake_source_count(fake, FAKE_OP_FILL), 0);
	assert_int_equal(mm->staging.bytes, 0);
	assert_int_equal(home(), N);
	assert_int_equal(fake_source_count(fake, FAKE_OP_FILL), 0);
	assert_int_equal(fake_source_count(fake, FAKE_OP_MOVE), 0);
	assert_int_equal(fake_source_count(fake, FAKE_OP_COPY), 0);
}

static void out_makes_absent_pages(void **state)
{
	(void)state;
	assert_int_equal(
		madvise(window(FIRST + 3), 2 * PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(out(), 0);
	assert_all_on(DEVICE);
	assert_with_both();
	assert_true(fake_is_zero(window(FIRST + 3), 2));
}

static void out_by_turns(void **state)
{
	unsigned long i, page;

	(void)state;
	m.nodes = 1 << 0 | 1 << 3;
	assert_int_equal(out(), 0);
	for (i = FIRST; i < FIRST + N; i++) {
		page = fake_addr(fake, i) >> PAGE_SHIFT;
		assert_int_equal(node_of[i], page % 2 ? 3 : 0);
	}
}

/* A turn that cannot be had goes to another of the nodes. */
static void out_by_turns_may_end_on_any_of_them(void **state)
{
	(void)state;
	m.nodes = 1 << 0 | 1 << 3;
	full_nodes = 1 << 3;
	assert_int_equal(out(), 0);
	assert_all_on(0);
	mode = MPOL_BIND;
	policy = 1 << 1;
	assert_int_equal(home(), N);
	full_nodes = 1 << 0;
	assert_int_equal(out(), 0);
	assert_all_on(3);
}

static void out_tries_again_what_was_busy(void **state)
{
	(void)state;
	busy[FIRST + 5] = 2;
	assert_int_equal(out(), 0);
	assert_all_on(DEVICE);
}

static void out_of_a_held_page_puts_all_back(void **state)
{
	(void)state;
	busy[FIRST + 5] = FOREVER;
	assert_int_equal(out(), -EBUSY);
	assert_put_back();
	busy[FIRST + 5] = 0;
	assert_int_equal(out(), 0);
}

static void out_to_a_full_node_puts_all_back(void **state)
{
	(void)state;
	full_nodes = 1 << DEVICE;
	assert_int_equal(out(), -ENOMEM);
	assert_put_back();
	/* No attempt more than that. */
	assert_int_equal(moves, N);
}

static void out_that_may_not_ask_returns_ebusy(void **state)
{
	(void)state;
	query_error = -EPERM;
	assert_int_equal(out(), -EBUSY);
	assert_put_back();
}

static void out_without_memory_for_absent_pages_returns_ebusy(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_MADVISE, -ENOMEM, 1);
	assert_int_equal(out(), -EBUSY);
	assert_put_back();
}

static void out_on_one_node_moves_nothing(void **state)
{
	(void)state;
	mm->several_nodes = false;
	assert_int_equal(out(), 0);
	assert_with_both();
	assert_int_equal(home(), N);
	assert_nothing_on_device();
	assert_int_equal(fake_sys_calls(FAKE_SYS_MOVE_PAGES), 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GET_MEMPOLICY), 0);
}

/* ---- What the program does meanwhile ---- */

static void unmap_some(void)
{
	fake_source_unmap(fake, FIRST + 2, 3);
	gpusvm_handler_settle(mm, 0);
}

static void out_while_pages_are_unmapped_lets_those_go(void **state)
{
	(void)state;
	at_move = unmap_some;
	assert_int_equal(out(), 0);
	fake_source_finish(fake);
	assert_int_equal(mm->pt.npages, N - 3);
	assert_int_equal(gpusvm_page_refs(device_page(2)), 0);
	assert_int_equal(owner.refs, 1 + N - 3);
	assert_null(entry_at(FIRST + 4));
	assert_non_null(entry_at(FIRST + 5));
}

static void remap_some(void)
{
	fake_source_remap(fake, FIRST + 2, 3, ASIDE);
	gpusvm_handler_settle(mm, 0);
}

static void out_while_pages_move_away_returns_ebusy(void **state)
{
	(void)state;
	at_move = remap_some;
	assert_int_equal(out(), -EBUSY);
	fake_source_finish(fake);
	assert_nothing_on_device();
}

static void home_while_pages_move_away_leaves_those(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	at_move = remap_some;
	assert_int_equal(home(), N - 3);
	fake_source_finish(fake);
	assert_int_equal(mm->pt.npages, 3);
	assert_ptr_equal(entry_at(ASIDE), device_page(2));
	assert_int_equal(home(), 3);
	assert_nothing_on_device();
}

static void home_while_pages_are_unmapped_lets_those_go(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	at_move = unmap_some;
	assert_int_equal(home(), N - 3);
	fake_source_finish(fake);
	assert_nothing_on_device();
}

/* ---- Home ---- */

static void home_is_where_the_policy_says(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	mode = MPOL_BIND;
	policy = 1 << 3;
	assert_int_equal(home(), N);
	assert_all_on(3);
	assert_nothing_on_device();
	assert_int_equal(mm->stats.migrations_to_ram, 1);
	assert_int_equal(mm->stats.bytes_to_ram, N * PAGE_SIZE);
}

static void home_without_a_policy_is_the_threads_node(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	here = 1;
	assert_int_equal(home(), N);
	assert_all_on(1);
}

static void home_that_cannot_be_asked_for_is_the_threads_node(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	mode = -1;
	here = 1;
	assert_int_equal(home(), N);
	assert_all_on(1);
}

static void home_of_a_preference_may_be_another_node(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	mode = MPOL_PREFERRED;
	policy = 1 << 1;
	full_nodes = 1 << 1 | 1 << 0;
	assert_int_equal(home(), N);
	assert_all_on(3);
}

static void home_on_any_of_the_bound_nodes(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	mode = MPOL_BIND;
	policy = 1 << 1 | 1 << 3;
	full_nodes = 1 << 1;
	assert_int_equal(home(), N);
	assert_all_on(3);
}

static void home_that_is_full_leaves_all_with_the_device(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	mode = MPOL_BIND;
	policy = 1 << 1;
	full_nodes = 1 << 1;
	assert_int_equal(home(), -ENOMEM);
	assert_all_on(DEVICE);
	assert_with_both();
	full_nodes = 0;
	assert_int_equal(home(), N);
	assert_all_on(1);
}

static void home_of_a_held_page_leaves_that_one(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	busy[FIRST + 5] = FOREVER;
	assert_int_equal(home(), N - 1);
	assert_int_equal(mm->pt.npages, 1);
	assert_ptr_equal(entry_at(FIRST + 5), device_page(5));
	assert_int_equal(node_of[FIRST + 5], DEVICE);
	assert_int_equal(home(), 0);
	busy[FIRST + 5] = 0;
	assert_int_equal(home(), 1);
	assert_nothing_on_device();
}

static void home_of_a_shared_page_is_a_copy(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	busy[FIRST + 5] = FOREVER;
	shared = 1ul << (FIRST + 5);
	assert_int_equal(home(), N);
	assert_nothing_on_device();
}

static void home_at_the_close_lets_go_of_what_stays(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	busy[FIRST + 5] = FOREVER;
	m.let_go = true;
	assert_int_equal(home(), N);
	assert_nothing_on_device();
	assert_int_equal(node_of[FIRST + 4], 0);
	assert_int_equal(node_of[FIRST + 5], DEVICE);
}

static void home_of_absent_pages_moves_nothing(void **state)
{
	(void)state;
	assert_int_equal(out(), 0);
	assert_int_equal(madvise(window(FIRST), N * PAGE_SIZE, MADV_DONTNEED),
			 0);
	moves = 0;
	assert_int_equal(home(), N);
	assert_nothing_on_device();
	assert_int_equal(moves, 0);
}

/* ---- CPU faults ---- */

/* The memory was trapped for another device once, and the page dropped. */
static void fault_at_an_entry_is_served_with_zeros(void **state)
{
	struct job job = {
		.fault = { .type = SOURCE_FAULT,
			   .start = fake_addr(fake, FIRST),
			   .end = fake_addr(fake, FIRST + 1) },
	};

	(void)state;
	assert_int_equal(out(), 0);
	fake->flags[FIRST] |= FAKE_TRAPPED;
	assert_int_equal(madvise(window(FIRST), PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(gpusvm_cpu_fault_look_up(mm, &job), FAULT_SERVED);
	assert_int_equal(fake_source_count(fake, FAKE_OP_ZERO), 1);
	assert_int_equal(owner.faults, 0);
	assert_ptr_equal(entry_at(FIRST), device_page(0));
}

#define in_place_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		in_place_test(out_moves_all_to_the_node),
		in_place_test(out_neither_traps_nor_stages),
		in_place_test(out_makes_absent_pages),
		in_place_test(out_by_turns),
		in_place_test(out_by_turns_may_end_on_any_of_them),
		in_place_test(out_tries_again_what_was_busy),
		in_place_test(out_of_a_held_page_puts_all_back),
		in_place_test(out_to_a_full_node_puts_all_back),
		in_place_test(out_that_may_not_ask_returns_ebusy),
		in_place_test(
			out_without_memory_for_absent_pages_returns_ebusy),
		in_place_test(out_on_one_node_moves_nothing),
		in_place_test(out_while_pages_are_unmapped_lets_those_go),
		in_place_test(out_while_pages_move_away_returns_ebusy),
		in_place_test(home_while_pages_move_away_leaves_those),
		in_place_test(home_while_pages_are_unmapped_lets_those_go),
		in_place_test(home_is_where_the_policy_says),
		in_place_test(home_without_a_policy_is_the_threads_node),
		in_place_test(
			home_that_cannot_be_asked_for_is_the_threads_node),
		in_place_test(home_of_a_preference_may_be_another_node),
		in_place_test(home_on_any_of_the_bound_nodes),
		in_place_test(home_that_is_full_leaves_all_with_the_device),
		in_place_test(home_of_a_held_page_leaves_that_one),
		in_place_test(home_of_a_shared_page_is_a_copy),
		in_place_test(home_at_the_close_lets_go_of_what_stays),
		in_place_test(home_of_absent_pages_moves_nothing),
		in_place_test(fault_at_an_entry_is_served_with_zeros),
	};

	return cmocka_run_group_tests_name("in_place", tests, NULL, NULL);
}
