/* SPDX-License-Identifier: MIT */
/*
 * Owns the private window.  It is divided into granules of 64 KiB; a run of
 * them is free, or a slab of small objects, or one large block, or pages for a
 * thread's stack.  A table in front of the granules describes them, so blocks
 * need no header and a stray write into one does not damage the allocator.
 *
 * Two invariants carry the rest:
 * - memory of a free run reads as zero: it is new or was given back to the
 *   kernel;
 * - only the first and the last granule of a run have a kind, so neighbours of
 *   a run are found in one step and a pointer into a run is told from one to
 *   its start.
 *
 * Memory from heap.top on was never used and is not accessible yet.
 */
#include "alloc.h"

#include <gpusvm/gpusvm.h>
#include <linux/list.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "sys.h"

#define GRANULE (64ul << 10)
#define WINDOW_MAX (64ul << 30)
#define WINDOW_MIN (256ul << 20)
/* Making memory accessible is a system call: not one for each granule. */
#define GROW_GRANULES 16ul

#define OBJECT_MIN_SHIFT 6
#define OBJECT_MAX_SHIFT 15
#define NCLASSES (OBJECT_MAX_SHIFT - OBJECT_MIN_SHIFT + 1)
#define OBJECT_MAX (1ul << OBJECT_MAX_SHIFT)
#define MAP_WORDS ((GRANULE >> OBJECT_MIN_SHIFT) / 64)
#define NBINS 20

enum run_kind {
	RUN_INSIDE, /* zero: also what was never used */
	RUN_FREE,
	RUN_SLAB,
	RUN_BLOCK,
	RUN_PAGES,
	RUN_END,
};

struct granule {
	/* In a bin of free runs, or in a class's list of slabs with room. */
	struct list_head link;
	enum run_kind kind;
	/* Granules in the run; valid where the kind is. */
	unsigned int length;
	/* The rest is for slabs. */
	unsigned int class;
	unsigned int live;
	/* Objects from this one on were never used and read as zero. */
	unsigned int fresh;
	uint64_t in_use[MAP_WORDS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	unsigned long window_start, window_end;
	unsigned long granules_start, granules_end;
	/* Entries up to top are in use, memory up to table_end accessible. */
	struct granule *table, *top;
	unsigned long table_end;
	struct list_head bins[NBINS]; /* by ilog2 of the length */
	struct list_head slabs[NCLASSES];
	size_t live;
} heap;

_Static_assert(WINDOW_MAX / GRANULE <= 1ul << NBINS, "longest run has a bin");

/*
 * Without these, a fork while a thread allocates would leave the child a
 * locked lock.  What is registered first is called last before a fork, so the
 * handlers of upper layers may still allocate.
 */
static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor(101))) static void register_fork(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}

static unsigned long granule_address(const struct granule *g)
{
	return heap.granules_start + (unsigned long)(g - heap.table) * GRANULE;
}

/* The granule that @address lies in, NULL if it is not ours. */
static struct granule *granule_at(unsigned long address)
{
	struct granule *g;

	if (address < heap.granules_start || address >= heap.granules_end)
		return NULL;
	g = &heap.table[(address - heap.granules_start) / GRANULE];
	return g < heap.top ? g : NULL;
}

static int make_accessible(unsigned long address, size_t size)
{
	return gpusvm_sys_mprotect(address, size, PROT_READ | PROT_WRITE);
}

static bool reserve_window(void)
{
	size_t size, table_size;
	long address = 0;

	for (size = WINDOW_MAX; size >= WINDOW_MIN; size /= 2) {
		address = gpusvm_sys_mmap(
			0, size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (address > 0)
			break;
	}
	if (address <= 0)
		return false;
	heap.window_start = (unsigned long)address;
	heap.window_end = heap.window_start + size;
	heap.table_end = heap.window_start + PAGE_SIZE;
	heap.table = heap.top = (void *)heap.table_end;
	table_size = size / GRANULE * sizeof(struct granule);
	heap.granules_start = ALIGN_UP(heap.table_end + table_size, GRANULE);
	heap.granules_end = ALIGN_DOWN(heap.window_end - PAGE_SIZE, GRANULE);
	return true;
}

static bool heap_ready(void)
{
	size_t i;

	if (likely(heap.window_end))
		return true;
	if (!reserve_window())
		return false;
	for (i = 0; i < ARRAY_SIZE(heap.bins); i++)
		INIT_LIST_HEAD(&heap.bins[i]);
	for (i = 0; i < ARRAY_SIZE(heap.slabs); i++)
		INIT_LIST_HEAD(&heap.slabs[i]);
	return true;
}

static void tag_run(struct granule *g, unsigned long length, enum run_kind kind)
{
	struct granule *last = g + length - 1;

	g->length = last->length = (unsigned int)length;
	last->kind = kind == RUN_FREE ? RUN_FREE : RUN_END;
	g->kind = kind;
}

static void untag_run(struct granule *g)
{
	g[g->length - 1].kind = RUN_INSIDE;
	g->kind = RUN_INSIDE;
}

/* Make [@g, @g + @length), which has no tags, a free run. */
static void insert_free(struct granule *g, unsigned long length)
{
	struct granule *next = g + length;

	if (g > heap.table && g[-1].kind == RUN_FREE) {
		g -= g[-1].length;
		length += g->length;
		list_del(&g->link);
		untag_run(g);
	}
	if (next < heap.top && next->kind == RUN_FREE) {
		length += next->length;
		list_del(&next->link);
		untag_run(next);
	}
	tag_run(g, length, RUN_FREE);
	list_add(&g->link, &heap.bins[ilog2(length)]);
}

static struct granule *find_free(unsigned long length)
{
	struct granule *g;
	size_t bin;

	for (bin = ilog2(length); bin < ARRAY_SIZE(heap.bins); bin++) {
		list_for_each_entry(g, &heap.bins[bin], link) {
			if (g->length >= length)
				return g;
		}
	}
	return NULL;
}

/* Move the top so that a run of at least @length becomes free. */
static bool grow(unsigned long length)
{
	struct granule *g = heap.top;
	unsigned long address = granule_address(g);
	unsigned long left = (heap.granules_end - address) / GRANULE;
	unsigned long n = max(length, GROW_GRANULES);
	unsigned long table_end;

	n = min(n, left);
	if (n < length)
		return false;
	table_end = PAGE_ALIGN_UP((unsigned long)(g + n));
	if (table_end > heap.table_end) {
		if (make_accessible(heap.table_end, table_end - heap.table_end))
			return false;
		heap.table_end = table_end;
	}
	if (make_accessible(address, n * GRANULE))
		return false;
	heap.top += n;
	insert_free(g, n);
	return true;
}

/* @align is a power of two and at least GRANULE. */
static struct granule *alloc_run(size_t size, size_t align, enum run_kind kind)
{
	unsigned long length, span, lead, rest;
	struct granule *g;

	if (!size || size > WINDOW_MAX || align > WINDOW_MAX || !heap_ready())
		return NULL;
	length = ALIGN_UP(size, GRANULE) / GRANULE;
	span = length + align / GRANULE - 1;
	g = find_free(span);
	if (!g && grow(span))
		g = find_free(span);
	if (!g)
		return NULL;
	lead = (ALIGN_UP(granule_address(g), align) - granule_address(g)) /
	       GRANULE;
	rest = g->length - lead - length;
	list_del(&g->link);
	untag_run(g);
	tag_run(g + lead, length, kind);
	if (lead)
		insert_free(g, lead);
	if (rest)
		insert_free(g + lead + length, rest);
	return g + lead;
}

/* Give the memory of an allocated run back and make it read as zero. */
static void clear_run(const struct granule *g)
{
	unsigned long address = granule_address(g);
	size_t size = g->length * GRANULE;

	/* The kernel does not drop what mlockall() locked. */
	if (gpusvm_sys_madvise(address, size, MADV_DONTNEED))
		memset((void *)address, 0, size);
}

static void free_run(struct granule *g)
{
	unsigned long length = g->length;

	untag_run(g);
	insert_free(g, length);
}

static unsigned int size_class(size_t size)
{
	if (size <= 1ul << OBJECT_MIN_SHIFT)
		return 0;
	return ilog2(size - 1) + 1 - OBJECT_MIN_SHIFT;
}

static unsigned int object_shift(const struct granule *slab)
{
	return slab->class + OBJECT_MIN_SHIFT;
}

static bool slab_full(const struct granule *slab)
{
	return slab->live == GRANULE >> object_shift(slab);
}

static struct granule *slab_create(unsigned int class)
{
	struct granule *slab = alloc_run(GRANULE, GRANULE, RUN_SLAB);

	if (!slab)
		return NULL;
	slab->class = class;
	slab->live = 0;
	slab->fresh = 0;
	memset(slab->in_use, 0, sizeof(slab->in_use));
	list_add(&slab->link, &heap.slabs[class]);
	return slab;
}

static void *slab_take(struct granule *slab)
{
	unsigned int word = 0, bit, object;
	void *ptr;

	while (!~slab->in_use[word])
		word++;
	bit = (unsigned int)__builtin_ctzll(~slab->in_use[word]);
	slab->in_use[word] |= 1ull << bit;
	slab->live++;
	if (slab_full(slab))
		list_del(&slab->link);

	object = word * 64 + bit;
	ptr = (void *)(granule_address(slab) +
		       ((unsigned long)object << object_shift(slab)));
	if (object < slab->fresh)
		memset(ptr, 0, 1ul << object_shift(slab));
	else
		slab->fresh = object + 1;
	return ptr;
}

static void *slab_alloc(unsigned int class)
{
	struct granule *slab;

	if (!heap_ready())
		return NULL;
	slab = list_first_entry_or_null(&heap.slabs[class], struct granule,
					link);
	if (!slab)
		slab = slab_create(class);
	return slab ? slab_take(slab) : NULL;
}

/* False if @offset is not that of an object in use. */
static bool slab_free(struct granule *slab, unsigned long offset)
{
	struct list_head *slabs = &heap.slabs[slab->class];
	unsigned long object = offset >> object_shift(slab);
	uint64_t *word = &slab->in_use[object / 64];
	uint64_t bit = 1ull << object % 64;

	if (offset != object << object_shift(slab) || !(*word & bit))
		return false;
	if (slab_full(slab))
		list_add(&slab->link, slabs);
	*word &= ~bit;
	slab->live--;
	/* Keep one for a class whose only object comes and goes. */
	if (!slab->live && slabs->next != slabs->prev) {
		list_del(&slab->link);
		clear_run(slab);
		free_run(slab);
	}
	return true;
}

/*
 * Free a run of @kind that starts at @address; false if there is none.  The
 * kernel may need long for the memory, so that happens without the lock, while
 * the run looks allocated but cannot be freed again.
 */
static bool run_free_at(unsigned long address, enum run_kind kind)
{
	struct granule *g = granule_at(address);

	if (!g || g->kind != kind || address != granule_address(g))
		return false;
	g->kind = RUN_END;
	pthread_mutex_unlock(&lock);
	/* Pages may have been advised, bound or registered: start anew. */
	if (kind != RUN_PAGES ||
	    gpusvm_sys_mmap(
		    address, g->length * GRANULE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		    0) != (long)address)
		clear_run(g);
	pthread_mutex_lock(&lock);
	free_run(g);
	return true;
}

void *gpusvm_alloc(size_t size)
{
	struct granule *g;
	void *ptr = NULL;

	pthread_mutex_lock(&lock);
	if (size <= OBJECT_MAX) {
		ptr = slab_alloc(size_class(size));
	} else {
		g = alloc_run(size, GRANULE, RUN_BLOCK);
		if (g)
			ptr = (void *)granule_address(g);
	}
	if (ptr)
		heap.live++;
	pthread_mutex_unlock(&lock);
	return ptr;
}

void *gpusvm_alloc_array(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return gpusvm_alloc(bytes);
}

void gpusvm_free(void *ptr)
{
	unsigned long address = (unsigned long)ptr;
	struct granule *g;
	bool freed;

	if (!ptr)
		return;
	pthread_mutex_lock(&lock);
	g = granule_at(address);
	if (g && g->kind == RUN_SLAB)
		freed = slab_free(g, address % GRANULE);
	else
		freed = run_free_at(address, RUN_BLOCK);
	if (freed)
		heap.live--;
	pthread_mutex_unlock(&lock);
	if (!freed)
		log_error("gpusvm_free: %p is not an allocated block", ptr);
}

void *gpusvm_alloc_pages(size_t size, size_t align)
{
	struct granule *g;

	pthread_mutex_lock(&lock);
	g = alloc_run(size, max(align, GRANULE), RUN_PAGES);
	pthread_mutex_unlock(&lock);
	return g ? (void *)granule_address(g) : NULL;
}

void gpusvm_free_pages(void *ptr, size_t size)
{
	bool freed;

	if (!ptr)
		return;
	pthread_mutex_lock(&lock);
	freed = run_free_at((unsigned long)ptr, RUN_PAGES);
	pthread_mutex_unlock(&lock);
	if (!freed)
		log_error("gpusvm_free_pages: %zu bytes at %p are not ours",
			  size, ptr);
}

void gpusvm_alloc_window(unsigned long *start, unsigned long *end)
{
	pthread_mutex_lock(&lock);
	*start = heap.window_start;
	*end = heap.window_end;
	pthread_mutex_unlock(&lock);
}

size_t gpusvm_alloc_live(void)
{
	size_t live;

	pthread_mutex_lock(&lock);
	live = heap.live;
	pthread_mutex_unlock(&lock);
	return live;
}
