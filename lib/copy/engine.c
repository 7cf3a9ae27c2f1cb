/* SPDX-License-Identifier: MIT */
/*
 * From the pages of a copy to the engine that copies them, and the engines that
 * have no state.
 */
#include "engine.h"

#include <errno.h>
#include <stdbool.h>

#include "log.h"
#include "page.h"

/* ---- Without state ---- */

static int memcpy_to_devmem(struct gpusvm_copy_engine *engine,
			    struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	(void)engine;
	return gpusvm_memcpy_to_devmem(pages, dma_addr, npages);
}

static int memcpy_to_ram(struct gpusvm_copy_engine *engine, struct page **pages,
			 dma_addr_t *dma_addr, unsigned long npages)
{
	(void)engine;
	return gpusvm_memcpy_to_ram(pages, dma_addr, npages);
}

static int stream_to_devmem(struct gpusvm_copy_engine *engine,
			    struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	(void)engine;
	return gpusvm_stream_to_devmem(pages, dma_addr, npages);
}

static int stream_to_ram(struct gpusvm_copy_engine *engine, struct page **pages,
			 dma_addr_t *dma_addr, unsigned long npages)
{
	(void)engine;
	return gpusvm_stream_to_ram(pages, dma_addr, npages);
}

static const struct gpusvm_copy_engine_ops memcpy_ops = {
	.name = "memcpy",
	.to_devmem = memcpy_to_devmem,
	.to_ram = memcpy_to_ram,
};

static const struct gpusvm_copy_engine_ops stream_ops = {
	.name = "stream",
	.to_devmem = stream_to_devmem,
	.to_ram = stream_to_ram,
};

/* Constant, but for the type that callers hold. */
static struct gpusvm_copy_engine memcpy_engine = { .ops = &memcpy_ops };
static struct gpusvm_copy_engine stream_engine = { .ops = &stream_ops };

/* ---- Life ---- */

#if !GPUSVM_HAVE_LIBURING
int gpusvm_copy_uring_create(struct gpusvm_copy_engine **engine,
			     const struct gpusvm_copy_engine_opts *opts)
{
	(void)engine;
	(void)opts;
	log_error("copy_engine_create: built without liburing");
	return -EOPNOTSUPP;
}
#endif

int gpusvm_copy_engine_create(struct gpusvm_copy_engine **engine,
			      const struct gpusvm_copy_engine_opts *opts)
{
	if (!engine || !opts || opts->size != sizeof(*opts)) {
		log_error("copy_engine_create: no options, or a bad size in "
			  "them");
		return -EINVAL;
	}
	switch (opts->type) {
	case GPUSVM_COPY_MEMCPY:
		*engine = &memcpy_engine;
		return 0;
	case GPUSVM_COPY_STREAM:
		*engine = &stream_engine;
		return 0;
	case GPUSVM_COPY_THREADS:
		return gpusvm_copy_threads_create(engine, opts);
	case GPUSVM_COPY_URING:
		return gpusvm_copy_uring_create(engine, opts);
	}
	log_error("copy_engine_create: no engine has the type %d",
		  (int)opts->type);
	return -EINVAL;
}

void gpusvm_copy_engine_destroy(struct gpusvm_copy_engine *engine)
{
	if (engine && engine->ops->destroy)
		engine->ops->destroy(engine);
}

/* ---- Dispatch ---- */

static struct gpusvm_copy_engine *engine_of(const struct page *page)
{
	return page->pgmap->engine ? page->pgmap->engine : &memcpy_engine;
}

/*
 * The engine of the first page from @i on, and how many entries are its; NULL
 * if there are only entries without a page.
 */
static struct gpusvm_copy_engine *next_engine(struct page **pages,
					      unsigned long npages,
					      unsigned long i, unsigned long *n)
{
	struct gpusvm_copy_engine *engine = NULL;
	unsigned long end;

	for (end = i; end < npages; end++) {
		if (!pages[end])
			continue;
		if (!engine)
			engine = engine_of(pages[end]);
		else if (engine_of(pages[end]) != engine)
			break;
	}
	*n = end - i;
	return engine;
}

/* Each engine copies its own, in one direction. */
static int dispatch(struct page **pages, dma_addr_t *dma_addr,
		    unsigned long npages, bool to_devmem)
{
	const struct gpusvm_copy_engine_ops *ops;
	struct gpusvm_copy_engine *engine;
	unsigned long i, n;
	int err = 0;

	for (i = 0; i < npages && !err; i += n) {
		engine = next_engine(pages, npages, i, &n);
		if (!engine)
			break;
		ops = engine->ops;
		err = (to_devmem ? ops->to_devmem : ops->to_ram)(
			engine, pages + i, dma_addr + i, n);
	}
	return err;
}

int gpusvm_copy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			  unsigned long npages)
{
	return dispatch(pages, dma_addr, npages, true);
}

int gpusvm_copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
		       unsigned long npages)
{
	return dispatch(pages, dma_addr, npages, false);
}
