/* SPDX-License-Identifier: MIT */
/*
 * The interval index against a model that looks at every interval: 200,000
 * random operations each on disjoint and on overlapping ones.
 */
#include "unit.h"

#include <limits.h>
#include <string.h>

#include "itree.h"

#define NSTEPS 200000
#define NNODES 100
#define SPACE 4096ul
#define LONGEST 256ul

static uint64_t seed;

struct model {
	struct rb_root_cached root;
	struct interval_tree_node nodes[NNODES];
	bool present[NNODES];
};

static bool overlaps(const struct interval_tree_node *node, unsigned long start,
		     unsigned long last)
{
	return node->start <= last && node->last >= start;
}

static bool before(const struct interval_tree_node *a,
		   const struct interval_tree_node *b)
{
	if (a->last != b->last)
		return a->last < b->last;
	if (a->start != b->start)
		return a->start < b->start;
	return a < b;
}

/* The first in order after @after (or of all) that overlaps, by looking. */
static struct interval_tree_node *
model_next(struct model *m, const struct interval_tree_node *after,
	   unsigned long start, unsigned long last)
{
	struct interval_tree_node *found = NULL, *node;
	unsigned int i;

	for (i = 0; i < NNODES; i++) {
		node = &m->nodes[i];
		if (!m->present[i] || !overlaps(node, start, last))
			continue;
		if (after && !before(after, node))
			continue;
		if (!found || before(node, found))
			found = node;
	}
	return found;
}

/* The last in order before @node, by looking. */
static struct interval_tree_node *
model_prev(struct model *m, const struct interval_tree_node *node)
{
	struct interval_tree_node *found = NULL;
	unsigned int i;

	for (i = 0; i < NNODES; i++) {
		if (m->present[i] && before(&m->nodes[i], node) &&
		    (!found || before(found, &m->nodes[i])))
			found = &m->nodes[i];
	}
	return found;
}

static void assert_leftmost(struct model *m)
{
	struct interval_tree_node *first = model_next(m, NULL, 0, ULONG_MAX);

	assert_ptr_equal(m->root.rb_leftmost, first ? &first->rb : NULL);
	assert_int_equal(m->root.rb_root.rb_node == NULL, first == NULL);
}

static void assert_neighbours(struct model *m, unsigned int i)
{
	struct interval_tree_node *node = &m->nodes[i];

	assert_ptr_equal(gpusvm_itree_next(node),
			 model_next(m, node, 0, ULONG_MAX));
	assert_ptr_equal(gpusvm_itree_prev(node), model_prev(m, node));
}

/* Put node @i in or take it out; @disjoint: only if it overlaps no other. */
static void toggle(struct model *m, unsigned int i, bool disjoint,
		   uint64_t *random)
{
	struct interval_tree_node *node = &m->nodes[i];

	if (m->present[i]) {
		gpusvm_itree_remove(&m->root, node);
		m->present[i] = false;
	} else {
		/* The links of a node that is not in the tree mean nothing. */
		memset(node, 0xa5, sizeof(*node));
		node->start = unit_random_below(random, SPACE);
		node->last = node->start +
			     unit_random_below(random, disjoint ? 64 : LONGEST);
		if (disjoint && model_next(m, NULL, node->start, node->last))
			return;
		gpusvm_itree_insert(&m->root, node);
		m->present[i] = true;
		assert_neighbours(m, i);
	}
	assert_leftmost(m);
}

static void assert_query(struct model *m, bool disjoint, uint64_t *random)
{
	unsigned long start = unit_random_below(random, SPACE + LONGEST);
	unsigned long last = start + unit_random_below(random, LONGEST);
	struct interval_tree_node *want = model_next(m, NULL, start, last);
	struct interval_tree_node *got;

	if (disjoint)
		assert_ptr_equal(gpusvm_itree_first(&m->root, start, last),
				 want);
	got = gpusvm_itree_first_any(&m->root, start, last, LONGEST);
	while (want) {
		assert_ptr_equal(got, want);
		want = model_next(m, want, start, last);
		got = gpusvm_itree_next_any(got, start, last, LONGEST);
	}
	assert_null(got);
}

static void run_random(bool disjoint)
{
	struct model m = { 0 };
	uint64_t random = seed;
	unsigned int step;

	for (step = 0; step < NSTEPS; step++) {
		if (unit_random(&random) & 1)
			toggle(&m,
			       (unsigned int)unit_random_below(&random, NNODES),
			       disjoint, &random);
		else
			assert_query(&m, disjoint, &random);
	}
}

static void random_disjoint_intervals_match_the_model(void **state)
{
	(void)state;
	run_random(true);
}

static void random_overlapping_intervals_match_the_model(void **state)
{
	(void)state;
	run_random(false);
}

static void search_in_empty_tree_finds_nothing(void **state)
{
	struct rb_root_cached root = { 0 };

	(void)state;
	assert_null(gpusvm_itree_first(&root, 0, ULONG_MAX));
	assert_null(gpusvm_itree_first_any(&root, 0, ULONG_MAX, 0));
}

static void intervals_at_the_ends_of_memory_are_found(void **state)
{
	struct interval_tree_node low = { .start = 0, .last = 0 };
	struct interval_tree_node high = { .start = ULONG_MAX,
					   .last = ULONG_MAX };
	struct rb_root_cached root = { 0 };

	(void)state;
	gpusvm_itree_insert(&root, &high);
	gpusvm_itree_insert(&root, &low);
	assert_ptr_equal(root.rb_leftmost, &low.rb);
	assert_ptr_equal(gpusvm_itree_first(&root, 0, ULONG_MAX), &low);
	assert_ptr_equal(gpusvm_itree_first(&root, 1, ULONG_MAX), &high);
	assert_null(gpusvm_itree_first(&root, 1, ULONG_MAX - 1));
	assert_ptr_equal(gpusvm_itree_first_any(&root, ULONG_MAX, ULONG_MAX, 1),
			 &high);
	assert_null(gpusvm_itree_first_any(&root, 1, ULONG_MAX - 1, 1));
	assert_ptr_equal(gpusvm_itree_next_any(&low, 0, ULONG_MAX, 1), &high);
}

static void whole_address_space_is_found_from_anywhere(void **state)
{
	struct interval_tree_node all = { .start = 1, .last = ULONG_MAX };
	struct interval_tree_node page = { .start = 4096, .last = 8191 };
	struct rb_root_cached root = { 0 };

	(void)state;
	gpusvm_itree_insert(&root, &all);
	gpusvm_itree_insert(&root, &page);
	assert_ptr_equal(gpusvm_itree_first_any(&root, 1, 1, ULONG_MAX), &all);
	assert_null(gpusvm_itree_first_any(&root, 0, 0, ULONG_MAX));
	assert_ptr_equal(gpusvm_itree_first_any(&root, 5000, 5000, ULONG_MAX),
			 &page);
	assert_ptr_equal(gpusvm_itree_next_any(&page, 5000, 5000, ULONG_MAX),
			 &all);
}

static void equal_intervals_are_all_kept(void **state)
{
	struct interval_tree_node nodes[3], *node;
	struct rb_root_cached root = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		nodes[i].start = 10;
		nodes[i].last = 20;
		gpusvm_itree_insert(&root, &nodes[i]);
	}
	node = gpusvm_itree_first_any(&root, 15, 15, 11);
	for (i = 0; i < 3; i++) {
		assert_ptr_equal(node, &nodes[i]);
		node = gpusvm_itree_next_any(node, 15, 15, 11);
	}
	assert_null(node);
	gpusvm_itree_remove(&root, &nodes[1]);
	assert_ptr_equal(gpusvm_itree_next(&nodes[0]), &nodes[2]);
	assert_ptr_equal(gpusvm_itree_prev(&nodes[2]), &nodes[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(search_in_empty_tree_finds_nothing),
		cmocka_unit_test(intervals_at_the_ends_of_memory_are_found),
		cmocka_unit_test(whole_address_space_is_found_from_anywhere),
		cmocka_unit_test(equal_intervals_are_all_kept),
		cmocka_unit_test(random_disjoint_intervals_match_the_model),
		cmocka_unit_test(random_overlapping_intervals_match_the_model),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("itree", tests, NULL, NULL);
}
