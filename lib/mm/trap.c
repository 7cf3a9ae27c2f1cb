/* SPDX-License-Identifier: MIT */
/* Windows of trapped memory: see trap.h. */
#include "trap.h"

#include <errno.h>

#include "alloc.h"
#include "bitmap.h"
#include "compiler.h"
#include "itree.h"
#include "mm.h"
#include "page_size.h"
#include "small_file.h"
#include "source.h"
#include "vma.h"

#define WINDOW_PAGES 512ul
#define WINDOW_SIZE (WINDOW_PAGES << PAGE_SHIFT)

/**
 * struct trap_window - A window of which some is trapped
 * @node: In the tree, with its addresses
 * @nparts: Runs of bits in @trapped
 * @trapped: Its trapped pages.  Some may not be any more, never the reverse but
 *	for a mapping that mremap() brought along
 */
struct trap_window {
	struct interval_tree_node node;
	unsigned int nparts;
	unsigned long trapped[BITMAP_WORDS(WINDOW_PAGES)];
};

static struct trap_window *to_window(struct interval_tree_node *node)
{
	return node ? gpusvm_container_of(node, struct trap_window, node)
		    : NULL;
}

void gpusvm_traps_init(struct traps *traps)
{
	*traps = (struct traps){
		.limit = min(gpusvm_max_map_count() / TRAP_SHARE, TRAP_MOST),
	};
	pthread_mutex_init(&traps->lock, NULL);
}

static struct trap_window *first_window(struct traps *traps,
					unsigned long start, unsigned long end)
{
	return to_window(gpusvm_itree_first(&traps->windows, start, end - 1));
}

static void remove_window(struct traps *traps, struct trap_window *window)
{
	traps->nparts -= window->nparts;
	gpusvm_itree_remove(&traps->windows, &window->node);
	gpusvm_free(window);
}

void gpusvm_traps_release(struct traps *traps)
{
	struct trap_window *window;

	while ((window = first_window(traps, 0, ~0ul)))
		remove_window(traps, window);
}

/* The window that begins at @start, new if need be; NULL without memory. */
static struct trap_window *get_window(struct traps *traps, unsigned long start)
{
	struct trap_window *window;

	window = first_window(traps, start, start + WINDOW_SIZE);
	if (window)
		return window;
	window = gpusvm_alloc(sizeof(*window));
	if (!window)
		return NULL;
	window->node.start = start;
	window->node.last = start + WINDOW_SIZE - 1;
	gpusvm_itree_insert(&traps->windows, &window->node);
	return window;
}

static unsigned int count_parts(const struct trap_window *window)
{
	unsigned long i = 0, end = WINDOW_PAGES;
	unsigned int n = 0;

	while ((i = gpusvm_bitmap_find(window->trapped, i, end, true)) < end) {
		i = gpusvm_bitmap_find(window->trapped, i, end, false);
		n++;
	}
	return n;
}

static void note(struct traps *traps, struct trap_window *window,
		 unsigned long start, unsigned long end, bool trapped)
{
	if (!gpusvm_bitmap_fill(window->trapped,
				(start - window->node.start) >> PAGE_SHIFT,
				(end - start) >> PAGE_SHIFT, trapped))
		return;
	traps->nparts -= window->nparts;
	window->nparts = count_parts(window);
	traps->nparts += window->nparts;
}

void gpusvm_trap_forget(struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	struct traps *traps = &mm->traps;
	struct trap_window *window;
	unsigned long next;

	pthread_mutex_lock(&traps->lock);
	while (start < end && (window = first_window(traps, start, end))) {
		next = window->node.last + 1;
		note(traps, window, max(start, window->node.start),
		     min(end, next), false);
		if (!window->nparts)
			remove_window(traps, window);
		start = next;
	}
	pthread_mutex_unlock(&traps->lock);
}

/*
 * Widen [*start, *end) to the window, as far as the same mapping goes.  The
 * kernel has it in pieces; the program's is meant.
 */
static void widen(struct mm_struct *mm, const struct trap_window *window,
		  unsigned long *start, unsigned long *end)
{
	unsigned long last = window->node.last + 1;
	struct vma vma;

	if (gpusvm_vma_find(mm, *start, &vma))
		return;
	gpusvm_vma_covers(mm, &vma, *start, last);
	gpusvm_vma_covers(mm, &vma, window->node.start, min(vma.end, last));
	*start = max(vma.start, window->node.start);
	*end = max(*end, min(vma.end, last));
}

static int trap_widened(struct mm_struct *mm, struct trap_window *window,
			unsigned long start, unsigned long end)
{
	int err;

	widen(mm, window, &start, &end);
	err = mm->source->ops->trap(mm->source, start, end);
	if (!err)
		note(&mm->traps, window, start, end, true);
	return err;
}

/*
 * Parts that would be too many become one, unless something in between cannot
 * be trapped, as what the program has registered with a userfaultfd of its own.
 */
static int trap_window(struct mm_struct *mm, struct trap_window *window,
		       unsigned long start, unsigned long end)
{
	struct source *source = mm->source;
	struct traps *traps = &mm->traps;
	int err;

	note(traps, window, start, end, true);
	if (window->nparts <= TRAP_WINDOW_PARTS &&
	    traps->nparts <= traps->limit) {
		err = source->ops->trap(source, start, end);
		return err == -ENOMEM ? trap_widened(mm, window, start, end)
				      : err;
	}
	err = trap_widened(mm, window, start, end);
	return err && err != -ENOMEM ? source->ops->trap(source, start, end)
				     : err;
}

int gpusvm_trap(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned long first = start - start % WINDOW_SIZE;
	struct trap_window *window;
	int err = -ENOMEM;

	/* More than a window, or a part of two, comes in large parts only. */
	if (end > first + WINDOW_SIZE || end - start >= WINDOW_SIZE)
		return mm->source->ops->trap(mm->source, start, end);

	pthread_mutex_lock(&mm->traps.lock);
	window = get_window(&mm->traps, first);
	if (window)
		err = trap_window(mm, window, start, end);
	pthread_mutex_unlock(&mm->traps.lock);
	return err;
}
