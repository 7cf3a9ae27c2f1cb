/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: device memory in a file is read and written by requests
 * to the kernel, many at a time, and the caller sleeps until they are done.
 *
 * A few rings, so that the handler of a CPU fault need not wait for somebody
 * else's copy.  A caller has a ring to itself from its first request to its
 * last, and never leaves one under way: what it reads or writes is not its own
 * when it has returned.
 *
 * Buffers are not registered: that pins pages, and pinned pages do not move
 * (UFFDIO_MOVE).  Files are not either: it saves a look-up, which is little
 * beside a request, and a registered file outlives the closing of its
 * descriptor, whose number the next file may get.
 */
#include "engine.h"

#include <errno.h>
#include <gpusvm/pagemap.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page.h"
#include "page_size.h"
#include "run.h"
#include "sys.h"

#define MAX_RINGS 4u
#define DEFAULT_DEPTH 16u
#define MAX_DEPTH 256u
/* A 2 MiB range is several requests, which several workers can serve. */
#define REQUEST_MAX (512ul << 10)
/* What is written where there is no source. */
#define ZEROS_SIZE (64ul << 10)
/* How often a request may come back without progress. */
#define MAX_ATTEMPTS 1000u

/**
 * struct request - A read or write that is under way
 * @fd: File
 * @write: To the file
 * @addr: Memory, what is left of it
 * @len: Bytes that are left
 * @offset: Place in the file
 * @attempts: Times that it came back without progress
 */
struct request {
	int fd;
	bool write;
	unsigned long addr;
	unsigned int len;
	u64 offset;
	unsigned int attempts;
};

/**
 * struct ring - A ring and its requests
 * @lock: Held by the caller whose copy it makes
 * @uring: liburing's part
 * @dead: The kernel does not take requests any more
 * @err: The first error of the copy under way
 * @nfree: Entries of @free
 * @free: Numbers of requests that are not under way
 * @requests: The requests, as many as the ring is deep
 */
struct ring {
	pthread_mutex_t lock;
	struct io_uring uring;
	bool dead;
	int err;
	unsigned int nfree;
	unsigned int free[MAX_DEPTH];
	struct request requests[MAX_DEPTH];
};

/**
 * struct copy_uring - The engine
 * @engine: What others see
 * @pid: Process that has the rings
 * @zeros: Pages that read as zero
 * @depth: Requests of a ring
 * @nrings: How many rings
 * @rings: The rings
 */
struct copy_uring {
	struct gpusvm_copy_engine engine;
	pid_t pid;
	void *zeros;
	unsigned int depth;
	unsigned int nrings;
	struct ring rings[];
};

static struct copy_uring *to_uring(struct gpusvm_copy_engine *engine)
{
	return gpusvm_container_of(engine, struct copy_uring, engine);
}

/* ---- From arrays to requests ---- */

/**
 * struct cursor - A copy, and how far it got
 * @pages: As given to the callback
 * @dma_addr: As given to the callback
 * @npages: As given to the callback
 * @i: First entry that has no request yet
 * @write: To device memory
 * @zeros: What to write where there is no source
 */
struct cursor {
	struct page **pages;
	const dma_addr_t *dma_addr;
	unsigned long npages;
	unsigned long i;
	bool write;
	void *zeros;
};

/* Go to the next entry that needs a request; false at the end. */
static bool skip_to_work(struct cursor *c)
{
	for (; c->i < c->npages; c->i++)
		if (c->pages[c->i] && (c->write || c->dma_addr[c->i]))
			return true;
	return false;
}

/* The request for the entries from c->i on, where there is work. */
static int next_request(struct cursor *c, struct request *request)
{
	const struct page *page = c->pages[c->i];
	const struct dev_pagemap *pgmap = page->pgmap;
	unsigned long n;

	if (!pgmap->file)
		return -EOPNOTSUPP;
	*request = (struct request){
		.fd = pgmap->file->fd,
		.write = c->write,
		.offset = pgmap->file->offset +
			  (unsigned long)gpusvm_page_address(page) -
			  pgmap->range.start,
	};
	n = gpusvm_copy_run(c->pages, c->dma_addr, c->npages, c->i);
	if (n) {
		n = min(n, REQUEST_MAX >> PAGE_SHIFT);
		request->addr = c->dma_addr[c->i];
	} else {
		n = gpusvm_clear_run(c->pages, c->dma_addr, c->npages, c->i);
		n = min(n, ZEROS_SIZE >> PAGE_SHIFT);
		request->addr = (unsigned long)c->zeros;
	}
	request->len = (unsigned int)(n << PAGE_SHIFT);
	c->i += n;
	return 0;
}

/* ---- Requests under way ---- */

/* There is an entry in the queue for each request that the ring has. */
static void queue_request(struct ring *ring, unsigned int index)
{
	struct request *r = &ring->requests[index];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (r->write)
		io_uring_prep_write(sqe, r->fd, (const void *)r->addr, r->len,
				    r->offset);
	else
		io_uring_prep_read(sqe, r->fd, (void *)r->addr, r->len,
				   r->offset);
	io_uring_sqe_set_data64(sqe, index);
}

static void end_request(struct ring *ring, unsigned int index, int err)
{
	ring->free[ring->nfree++] = index;
	if (err && !ring->err)
		ring->err = err;
}

/*
 * A request has come back with @res.  What is left is asked for again: a
 * transfer may be short at any time.
 */
static void complete_request(struct ring *ring, unsigned int index, int res)
{
	struct request *r = &ring->requests[index];

	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		end_request(ring, index, res);
	} else if (res >= (int)r->len || ring->err) {
		end_request(ring, index, 0);
	} else if (!res || (res < 0 && ++r->attempts == MAX_ATTEMPTS)) {
		/* Nothing comes from beyond the end of a file. */
		end_request(ring, index, res ? res : -EIO);
	} else {
		if (res > 0) {
			r->addr += (unsigned int)res;
			r->offset += (unsigned int)res;
			r->len -= (unsigned int)res;
			r->attempts = 0;
		}
		queue_request(ring, index);
	}
}

/* Returns how many there were. */
static unsigned int reap(struct ring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int index, n = 0;
	int res;

	while (!io_uring_peek_cqe(&ring->uring, &cqe)) {
		index = (unsigned int)io_uring_cqe_get_data64(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&ring->uring, cqe);
		complete_request(ring, index, res);
		n++;
	}
	return n;
}

/*
 * The kernel does not take what is queued: wait for what it has, and use the
 * ring no more, which still holds the rest.
 */
static void give_up(struct copy_uring *u, struct ring *ring, int err)
{
	struct io_uring_cqe *cqe;
	unsigned int queued = io_uring_sq_ready(&ring->uring);

	log_error("io_uring: requests are refused (error %d)", -err);
	ring->dead = true;
	ring->err = ring->err ? ring->err : err;
	while (u->depth - ring->nfree > queued) {
		if (io_uring_wait_cqe(&ring->uring, &cqe))
			gpusvm_sys_yield();
		reap(ring);
	}
}

static int run_copy(struct copy_uring *u, struct ring *ring, struct cursor *c)
{
	unsigned int index;
	bool more;
	int ret;

	ring->err = 0;
	for (;;) {
		while ((more = !ring->err && skip_to_work(c)) && ring->nfree) {
			index = ring->free[ring->nfree - 1];
			ret = next_request(c, &ring->requests[index]);
			if (ret) {
				ring->err = ret;
				continue;
			}
			ring->nfree--;
			queue_request(ring, index);
		}
		if (ring->nfree == u->depth)
			return ring->err;
		/* While there is more to ask for, as soon as there is room. */
		ret = io_uring_submit_and_wait(
			&ring->uring, more ? 1 : u->depth - ring->nfree);
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN &&
		    ret != -EBUSY) {
			give_up(u, ring, ret);
			return ring->err;
		}
		if (!reap(ring) && ret < 0)
			gpusvm_sys_yield();
	}
}

/* ---- The engine ---- */

/* A ring that nobody has, or the first one when there is none. */
static struct ring *take_ring(struct copy_uring *u)
{
	unsigned int i;

	for (i = 0; i < u->nrings; i++) {
		if (pthread_mutex_trylock(&u->rings[i].lock))
			continue;
		if (!u->rings[i].dead)
			return &u->rings[i];
		pthread_mutex_unlock(&u->rings[i].lock);
	}
	pthread_mutex_lock(&u->rings[0].lock);
	return &u->rings[0];
}

static int copy(struct gpusvm_copy_engine *engine, struct cursor *c)
{
	struct copy_uring *u = to_uring(engine);
	struct ring *ring;
	int err;

	/* A child must not touch the rings, which it would share. */
	if (u->pid != gpusvm_sys_getpid())
		return -EFAULT;
	c->zeros = u->zeros;
	ring = take_ring(u);
	err = ring->dead ? -EIO : run_copy(u, ring, c);
	pthread_mutex_unlock(&ring->lock);
	return err;
}

static int to_devmem(struct gpusvm_copy_engine *engine, struct page **pages,
		     dma_addr_t *dma_addr, unsigned long npages)
{
	struct cursor c = {
		.pages = pages,
		.dma_addr = dma_addr,
		.npages = npages,
		.write = true,
	};

	return copy(engine, &c);
}

static int to_ram(struct gpusvm_copy_engine *engine, struct page **pages,
		  dma_addr_t *dma_addr, unsigned long npages)
{
	struct cursor c = {
		.pages = pages,
		.dma_addr = dma_addr,
		.npages = npages,
	};

	return copy(engine, &c);
}

static void destroy(struct gpusvm_copy_engine *engine)
{
	struct copy_uring *u = to_uring(engine);
	bool child = u->pid != gpusvm_sys_getpid();
	unsigned int i;

	for (i = 0; i < u->nrings; i++) {
		/* A child has the descriptor and not the mappings. */
		if (child) {
			gpusvm_sys_close(u->rings[i].uring.ring_fd);
			continue;
		}
		io_uring_queue_exit(&u->rings[i].uring);
		pthread_mutex_destroy(&u->rings[i].lock);
	}
	gpusvm_free_pages(u->zeros, ZEROS_SIZE);
	gpusvm_free(u);
}

static const struct gpusvm_copy_engine_ops ops = {
	.name = "uring",
	.to_devmem = to_devmem,
	.to_ram = to_ram,
	.destroy = destroy,
};

static int ring_init(struct ring *ring, unsigned int depth)
{
	/*
	 * Who waits is in the kernel: no interrupt has to tell it that there
	 * is something to do.  Linux 5.19 and later.
	 */
	struct io_uring_params params = { .flags = IORING_SETUP_COOP_TASKRUN };
	int err;

	err = io_uring_queue_init_params(depth, &ring->uring, &params);
	if (err == -EINVAL) {
		params = (struct io_uring_params){ .flags = 0 };
		err = io_uring_queue_init_params(depth, &ring->uring, &params);
	}
	if (err)
		return err;
	err = io_uring_ring_dontfork(&ring->uring);
	if (err) {
		io_uring_queue_exit(&ring->uring);
		return err;
	}
	pthread_mutex_init(&ring->lock, NULL);
	for (; ring->nfree < depth; ring->nfree++)
		ring->free[ring->nfree] = ring->nfree;
	return 0;
}

int gpusvm_copy_uring_create(struct gpusvm_copy_engine **engine,
			     const struct gpusvm_copy_engine_opts *opts)
{
	unsigned int n = min(gpusvm_sys_cpus(NULL, 0), MAX_RINGS);
	struct copy_uring *u;
	int err = -ENOMEM;

	if (opts->depth > MAX_DEPTH) {
		log_error("copy_engine_create: depth %u, at most %u",
			  opts->depth, MAX_DEPTH);
		return -EINVAL;
	}
	u = gpusvm_alloc(sizeof(*u) + n * sizeof(u->rings[0]));
	if (!u)
		return -ENOMEM;
	u->engine.ops = &ops;
	u->pid = gpusvm_sys_getpid();
	u->depth = opts->depth ? opts->depth : DEFAULT_DEPTH;
	u->zeros = gpusvm_alloc_pages(ZEROS_SIZE, PAGE_SIZE);
	if (!u->zeros)
		goto err_destroy;
	for (; u->nrings < n; u->nrings++) {
		err = ring_init(&u->rings[u->nrings], u->depth);
		if (err) {
			log_error("copy_engine_create: no ring (error %d): is "
				  "io_uring allowed (sysctl "
				  "kernel.io_uring_disabled, seccomp)?",
				  -err);
			goto err_destroy;
		}
	}
	*engine = &u->engine;
	return 0;

err_destroy:
	destroy(&u->engine);
	return err;
}
