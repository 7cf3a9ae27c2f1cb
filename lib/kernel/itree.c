/* SPDX-License-Identifier: MIT */
/*
 * The order of intervals and the searches in it.  Balancing is left to the
 * macros of <bsd/sys/tree.h>.
 */
#include "itree.h"

#include <bsd/sys/tree.h>
#include <stddef.h>

/*
 * What the macros take for a node and a root.  They expect the links in a
 * member, which the public struct rb_node has no need of; the layout is the
 * same, and may_alias makes it legal to look at one as the other.
 */
struct link {
	RB_ENTRY(link) rb;
} __attribute__((may_alias));

struct tree {
	struct link *rbh_root;
} __attribute__((may_alias));

_Static_assert(sizeof(struct link) == sizeof(struct rb_node), "same size");
_Static_assert(offsetof(struct link, rb.rbe_left) ==
		       offsetof(struct rb_node, rbe_left),
	       "same layout");
_Static_assert(offsetof(struct link, rb.rbe_right) ==
		       offsetof(struct rb_node, rbe_right),
	       "same layout");
_Static_assert(offsetof(struct link, rb.rbe_parent) ==
		       offsetof(struct rb_node, rbe_parent),
	       "same layout");
_Static_assert(offsetof(struct link, rb.rbe_color) ==
		       offsetof(struct rb_node, rbe_color),
	       "same layout");
_Static_assert(sizeof(struct tree) == sizeof(struct rb_root), "same size");

static struct tree *to_tree(struct rb_root_cached *root)
{
	return (struct tree *)&root->rb_root;
}

static struct link *to_link(struct interval_tree_node *node)
{
	return (struct link *)&node->rb;
}

static struct interval_tree_node *to_node(void *link)
{
	if (!link)
		return NULL;
	return gpusvm_container_of(link, struct interval_tree_node, rb);
}

static int compare_words(unsigned long a, unsigned long b)
{
	return (a > b) - (a < b);
}

static int compare(struct link *link_a, struct link *link_b)
{
	const struct interval_tree_node *a = to_node(link_a);
	const struct interval_tree_node *b = to_node(link_b);
	int order = compare_words(a->last, b->last);

	if (!order)
		order = compare_words(a->start, b->start);
	if (!order)
		order = compare_words((unsigned long)a, (unsigned long)b);
	return order;
}

/* RB_GENERATE_STATIC() does not compile: libbsd switches off its __unused. */
RB_GENERATE_INTERNAL(tree, link, rb, compare, __attribute__((unused)) static)

void gpusvm_itree_insert(struct rb_root_cached *root,
			 struct interval_tree_node *node)
{
	struct interval_tree_node *first = to_node(root->rb_leftmost);

	RB_INSERT(tree, to_tree(root), to_link(node));
	if (!first || compare(to_link(node), to_link(first)) < 0)
		root->rb_leftmost = &node->rb;
}

void gpusvm_itree_remove(struct rb_root_cached *root,
			 struct interval_tree_node *node)
{
	struct interval_tree_node *next;

	if (root->rb_leftmost == &node->rb) {
		next = gpusvm_itree_next(node);
		root->rb_leftmost = next ? &next->rb : NULL;
	}
	RB_REMOVE(tree, to_tree(root), to_link(node));
}

/* The first node in order that ends at or after @start. */
static struct interval_tree_node *
first_to_end_at(const struct rb_root_cached *root, unsigned long start)
{
	struct interval_tree_node *node, *found = NULL;
	struct rb_node *rb = root->rb_root.rb_node;

	while (rb) {
		node = to_node(rb);
		if (node->last >= start) {
			found = node;
			rb = rb->rbe_left;
		} else {
			rb = rb->rbe_right;
		}
	}
	return found;
}

/*
 * Disjoint intervals have the same order by start, which is next to the links:
 * in a struct drm_gpusvm_range, one cache line for each level and not two.
 */
struct interval_tree_node *gpusvm_itree_first(const struct rb_root_cached *root,
					      unsigned long start,
					      unsigned long last)
{
	struct interval_tree_node *node, *before = NULL, *after = NULL;
	struct rb_node *rb = root->rb_root.rb_node;

	while (rb) {
		node = to_node(rb);
		if (node->start <= start) {
			before = node;
			rb = rb->rbe_right;
		} else {
			after = node;
			rb = rb->rbe_left;
		}
	}
	if (before && before->last >= start)
		return before;
	return after && after->start <= last ? after : NULL;
}

/* The first node from @node on, which ends at or after the interval's start. */
static struct interval_tree_node *
first_overlap_from(struct interval_tree_node *node, unsigned long last,
		   unsigned long longest)
{
	for (; node; node = gpusvm_itree_next(node)) {
		if (node->start <= last)
			return node;
		/* Those that follow end no earlier, so start after @last. */
		if (node->last - last >= longest)
			return NULL;
	}
	return NULL;
}

struct interval_tree_node *
gpusvm_itree_first_any(const struct rb_root_cached *root, unsigned long start,
		       unsigned long last, unsigned long longest)
{
	return first_overlap_from(first_to_end_at(root, start), last, longest);
}

struct interval_tree_node *
gpusvm_itree_next_any(struct interval_tree_node *node, unsigned long start,
		      unsigned long last, unsigned long longest)
{
	(void)start;
	return first_overlap_from(gpusvm_itree_next(node), last, longest);
}

struct interval_tree_node *gpusvm_itree_prev(struct interval_tree_node *node)
{
	return to_node(RB_PREV(tree, NULL, to_link(node)));
}

struct interval_tree_node *gpusvm_itree_next(struct interval_tree_node *node)
{
	return to_node(RB_NEXT(tree, NULL, to_link(node)));
}
