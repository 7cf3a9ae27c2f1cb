/* SPDX-License-Identifier: MIT */
/*
 * The engine of threads: a large copy is cut into chunks that the caller and a
 * few threads take one after the other, each with streaming stores.
 *
 * There is one copy at a time.  A caller that finds the threads busy copies
 * alone instead of waiting: the handler of a CPU fault is not kept by somebody
 * else's copy.
 */
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "sys.h"
#include "thread_start.h"

#define MAX_THREADS 16u
#define DEFAULT_THREADS 4u
/* Most of it is never touched; the thread sanitizer wants some for itself. */
#define STACK_SIZE (1ul << 20)
/* Less is done before a thread has woken up. */
#define SPLIT_MIN (512ul << 10)
#define CHUNK (256ul << 10)

typedef int (*chunk_fn)(struct page **pages, dma_addr_t *dma_addr,
			unsigned long npages);

/**
 * struct copy_threads - The engine
 * @engine: What others see
 * @pid: Process that has the threads
 * @nhelpers: Threads besides the caller
 * @lock: Protects the following
 * @work: There are chunks to be taken, or it is over
 * @done: The last helper has ended its chunk
 * @stop: The helpers are to end
 * @fn: How the copy under way is made; NULL if there is none
 * @pages: Its arguments
 * @dma_addr: Its arguments
 * @npages: Its arguments
 * @next: First entry that nobody has taken
 * @busy: Helpers that are at a chunk
 * @err: The first error
 * @helpers: The threads
 */
struct copy_threads {
	struct gpusvm_copy_engine engine;
	pid_t pid;
	unsigned int nhelpers;
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	bool stop;
	chunk_fn fn;
	struct page **pages;
	dma_addr_t *dma_addr;
	unsigned long npages;
	unsigned long next;
	unsigned int busy;
	int err;
	struct {
		pthread_t thread;
		void *stack;
	} helpers[];
};

static struct copy_threads *to_threads(struct gpusvm_copy_engine *engine)
{
	return gpusvm_container_of(engine, struct copy_threads, engine);
}

/* Copy chunks until all are taken.  The lock is held, but for the copying. */
static void take_chunks(struct copy_threads *t)
{
	unsigned long first, n;
	int err;

	while (t->next < t->npages && !t->err) {
		first = t->next;
		n = min(t->npages - first, CHUNK >> PAGE_SHIFT);
		t->next += n;
		pthread_mutex_unlock(&t->lock);
		err = t->fn(t->pages + first, t->dma_addr + first, n);
		pthread_mutex_lock(&t->lock);
		if (err && !t->err)
			t->err = err;
	}
}

static void *helper_main(void *arg)
{
	struct copy_threads *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		if (!t->fn || t->next == t->npages || t->err) {
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		t->busy++;
		take_chunks(t);
		if (!--t->busy)
			pthread_cond_signal(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* False if others have the threads. */
static bool start_copy(struct copy_threads *t, chunk_fn fn, struct page **pages,
		       dma_addr_t *dma_addr, unsigned long npages)
{
	if (t->fn)
		return false;
	t->fn = fn;
	t->pages = pages;
	t->dma_addr = dma_addr;
	t->npages = npages;
	t->next = 0;
	t->err = 0;
	pthread_cond_broadcast(&t->work);
	return true;
}

static int copy(struct gpusvm_copy_engine *engine, chunk_fn fn,
		struct page **pages, dma_addr_t *dma_addr, unsigned long npages)
{
	struct copy_threads *t = to_threads(engine);
	bool shared;
	int err = 0;

	/* In a child the lock may be held for ever by a thread it lacks. */
	if (npages << PAGE_SHIFT < SPLIT_MIN || t->pid != gpusvm_sys_getpid())
		return fn(pages, dma_addr, npages);
	pthread_mutex_lock(&t->lock);
	shared = start_copy(t, fn, pages, dma_addr, npages);
	if (shared) {
		take_chunks(t);
		while (t->busy)
			pthread_cond_wait(&t->done, &t->lock);
		t->fn = NULL;
		err = t->err;
	}
	pthread_mutex_unlock(&t->lock);
	return shared ? err : fn(pages, dma_addr, npages);
}

static int to_devmem(struct gpusvm_copy_engine *engine, struct page **pages,
		     dma_addr_t *dma_addr, unsigned long npages)
{
	return copy(engine, gpusvm_stream_to_devmem, pages, dma_addr, npages);
}

static int to_ram(struct gpusvm_copy_engine *engine, struct page **pages,
		  dma_addr_t *dma_addr, unsigned long npages)
{
	return copy(engine, gpusvm_stream_to_ram, pages, dma_addr, npages);
}

static void destroy(struct gpusvm_copy_engine *engine)
{
	struct copy_threads *t = to_threads(engine);
	bool child = t->pid != gpusvm_sys_getpid();
	unsigned int i;

	if (!child) {
		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_cond_broadcast(&t->work);
		pthread_mutex_unlock(&t->lock);
	}
	for (i = 0; i < t->nhelpers; i++) {
		if (!child)
			pthread_join(t->helpers[i].thread, NULL);
		gpusvm_free_pages(t->helpers[i].stack, STACK_SIZE);
	}
	if (!child) {
		pthread_cond_destroy(&t->done);
		pthread_cond_destroy(&t->work);
		pthread_mutex_destroy(&t->lock);
	}
	gpusvm_free(t);
}

static const struct gpusvm_copy_engine_ops ops = {
	.name = "threads",
	.to_devmem = to_devmem,
	.to_ram = to_ram,
	.destroy = destroy,
};

int gpusvm_copy_threads_create(struct gpusvm_copy_engine **engine,
			       const struct gpusvm_copy_engine_opts *opts)
{
	unsigned int n = opts->nthreads;
	struct copy_threads *t;
	int err;

	if (n > MAX_THREADS) {
		log_error("copy_engine_create: %u threads, at most %u", n,
			  MAX_THREADS);
		return -EINVAL;
	}
	if (!n)
		n = min(gpusvm_sys_cpus(NULL, 0), DEFAULT_THREADS);
	t = gpusvm_alloc(sizeof(*t) + (n - 1) * sizeof(t->helpers[0]));
	if (!t)
		return -ENOMEM;
	t->engine.ops = &ops;
	t->pid = gpusvm_sys_getpid();
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->done, NULL);
	for (; t->nhelpers < n - 1; t->nhelpers++) {
		err = gpusvm_thread_start(&t->helpers[t->nhelpers].thread,
					  &t->helpers[t->nhelpers].stack,
					  STACK_SIZE, helper_main, t,
					  "gpusvm-copy");
		if (err) {
			log_error("copy_engine_create: no thread (error %d)",
				  -err);
			destroy(&t->engine);
			return err;
		}
	}
	*engine = &t->engine;
	return 0;
}
