/* SPDX-License-Identifier: MIT */
/* The table of what is trapped by its protection: see trapped.h. */
#include "trapped.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <sys/mman.h>

#include "compiler.h"
#include "itree.h"
#include "page_size.h"
#include "sys.h"

/* Threads whose last fault is remembered. */
#define SUSPECTS 64

struct interval {
	struct interval_tree_node node;
	int prot;
};

/**
 * struct suspect - A thread that had a fault which may have been ours
 * @tid: The thread
 * @addr: Where
 * @released: How often something had been released by then
 */
struct suspect {
	pid_t tid;
	unsigned long addr;
	unsigned long released;
};

/**
 * struct table - The table
 * @lock: Protects it, and the protections of what is in it
 * @intervals: Disjoint, with the last address inclusive
 * @count: How many
 * @limit: How many there may be
 * @low: First address that ever was trapped, in this process
 * @high: End of these
 * @released: How often something was released
 * @suspects: By thread
 */
static struct {
	pthread_mutex_t lock;
	struct rb_root_cached intervals;
	unsigned long count;
	unsigned long limit;
	unsigned long low;
	unsigned long high;
	unsigned long released;
	struct suspect suspects[SUSPECTS];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER, .low = ~0ul };

/* Not even a SIGSEGV that somebody sends: its handler may have a fault. */
static void lock_table(unsigned long *mask)
{
	gpusvm_sys_block_all_signals(mask);
	pthread_mutex_lock(&table.lock);
}

static void unlock_table(const unsigned long *mask)
{
	pthread_mutex_unlock(&table.lock);
	gpusvm_sys_restore_signals(mask);
}

static struct interval *first(unsigned long start, unsigned long end)
{
	struct interval_tree_node *node =
		gpusvm_itree_first(&table.intervals, start, end - 1);

	return node ? gpusvm_container_of(node, struct interval, node) : NULL;
}

static void insert(struct interval *interval, unsigned long start,
		   unsigned long end, int prot)
{
	interval->node.start = start;
	interval->node.last = end - 1;
	interval->prot = prot;
	gpusvm_itree_insert(&table.intervals, &interval->node);
	table.count++;
}

static void delete (struct interval *interval)
{
	gpusvm_itree_remove(&table.intervals, &interval->node);
	table.count--;
}

/*
 * Take [start, end), all of it inside @interval, out of the table.  @spare
 * becomes the upper part if one remains on both sides; returns what is left.
 */
static struct interval *cut(struct interval *interval, unsigned long start,
			    unsigned long end, struct interval *spare)
{
	unsigned long first_addr = interval->node.start;
	unsigned long end_addr = interval->node.last + 1;

	delete (interval);
	if (first_addr < start) {
		insert(interval, first_addr, start, interval->prot);
		if (end < end_addr) {
			insert(spare, end, end_addr, interval->prot);
			spare = NULL;
		}
	} else if (end < end_addr) {
		insert(interval, end, end_addr, interval->prot);
	} else {
		gpusvm_free(interval);
	}
	return spare;
}

/* Whether [start, end) leaves a part of @interval on both sides. */
static bool splits(const struct interval *interval, unsigned long start,
		   unsigned long end)
{
	return interval->node.start < start && interval->node.last + 1 > end;
}

static void empty(void)
{
	struct interval *interval;

	while ((interval = first(0, ~0ul))) {
		delete (interval);
		gpusvm_free(interval);
	}
}

void gpusvm_trapped_reset(unsigned long limit, bool fork)
{
	unsigned long mask;

	/*
	 * Another thread of the parent may have held it, in the middle of a
	 * change: what the child got of the tree is not to be followed.  Its
	 * memory is the child's loss.
	 */
	if (fork) {
		pthread_mutex_init(&table.lock, NULL);
		table.intervals = (struct rb_root_cached){ { NULL }, NULL };
		table.count = 0;
	}
	lock_table(&mask);
	empty();
	table.limit = limit;
	/* A thread may be on its way to the handler with one of these. */
	table.released++;
	unlock_table(&mask);
}

/* Without giving anything back; @spare is there if it is needed. */
static struct interval *forget(unsigned long start, unsigned long end,
			       struct interval *spare)
{
	struct interval *interval;

	while ((interval = first(start, end)))
		spare = cut(interval, max(start, interval->node.start),
			    min(end, interval->node.last + 1), spare);
	table.released++;
	return spare;
}

/*
 * In the table before it is inaccessible: a fault must find it there.
 */
int gpusvm_trapped_add(unsigned long start, unsigned long end, int prot)
{
	struct interval *interval = gpusvm_alloc(sizeof(*interval));
	struct interval *spare = gpusvm_alloc(sizeof(*spare));
	unsigned long mask;
	int err = -ENOMEM;

	if (interval && spare) {
		lock_table(&mask);
		spare = forget(start, end, spare);
		if (table.count < table.limit) {
			insert(interval, start, end, prot);
			table.low = min(table.low, start);
			table.high = max(table.high, end);
			err = gpusvm_sys_mprotect(start, end - start,
						  PROT_NONE);
			if (err)
				delete (interval);
			else
				interval = NULL;
		}
		unlock_table(&mask);
	}
	gpusvm_free(spare);
	gpusvm_free(interval);
	return err;
}

long gpusvm_trapped_release(unsigned long start, unsigned long end)
{
	struct interval *spare = NULL, *interval;
	unsigned long mask, from, to;
	long done = 0;
	int err = 0;

	lock_table(&mask);
	while (!err && (interval = first(start, end))) {
		from = max(start, interval->node.start);
		to = min(end, interval->node.last + 1);
		if (splits(interval, from, to) && !spare)
			spare = gpusvm_alloc(sizeof(*spare));
		if (splits(interval, from, to) && !spare)
			err = -ENOMEM;
		if (!err)
			err = gpusvm_sys_mprotect(from, to - from,
						  interval->prot);
		/* The kernel's -ENOMEM may be for a hole, too: see mm/. */
		if (err)
			break;
		spare = cut(interval, from, to, spare);
		table.released++;
		done += (long)(to - from);
	}
	unlock_table(&mask);
	gpusvm_free(spare);
	return err ? err : done;
}

void gpusvm_trapped_forget(unsigned long start, unsigned long end)
{
	struct interval *spare = gpusvm_alloc(sizeof(*spare));
	const struct interval *interval;
	unsigned long mask;

	lock_table(&mask);
	interval = first(start, end);
	/*
	 * Without memory too little goes, rather than too much: pages on a
	 * device that nobody knows to be trapped would be lost, and a fault
	 * there the program's.
	 */
	if (spare || (interval && !splits(interval, start, end)))
		spare = forget(start, end, spare);
	unlock_table(&mask);
	gpusvm_free(spare);
}

int gpusvm_trapped_find(unsigned long addr, unsigned long *start,
			unsigned long *end)
{
	struct interval *interval;
	unsigned long mask;
	int prot = -ENOENT;

	lock_table(&mask);
	while ((interval = first(*start, *end))) {
		if (interval->node.start > addr) {
			*end = interval->node.start;
		} else if (interval->node.last < addr) {
			*start = interval->node.last + 1;
		} else {
			*start = max(*start, interval->node.start);
			*end = min(*end, interval->node.last + 1);
			prot = interval->prot;
			break;
		}
	}
	unlock_table(&mask);
	return prot;
}

/*
 * A fault that finds nothing may be of a page that came home between the access
 * and now: let it be made again.  If nothing was released since the thread had
 * the same fault, it was the program's.
 */
enum trapped_verdict gpusvm_trapped_judge(unsigned long addr, pid_t tid)
{
	struct suspect *suspect = &table.suspects[(unsigned int)tid % SUSPECTS];
	enum trapped_verdict verdict = TRAPPED_NOT_OURS;
	unsigned long mask;

	lock_table(&mask);
	if (addr < table.low || addr >= table.high) {
		;
	} else if (first(addr, addr + 1)) {
		verdict = TRAPPED_OURS;
	} else if (suspect->tid != tid || suspect->addr != addr ||
		   suspect->released != table.released) {
		verdict = TRAPPED_AGAIN;
		*suspect = (struct suspect){ .tid = tid,
					     .addr = addr,
					     .released = table.released };
	}
	unlock_table(&mask);
	return verdict;
}

unsigned long gpusvm_trapped_count(void)
{
	unsigned long mask, count;

	lock_table(&mask);
	count = table.count;
	unlock_table(&mask);
	return count;
}
