/* SPDX-License-Identifier: MIT */
/*
 * The streaming engine: large runs are written past the caches, which spares
 * reading the destination's lines before they are overwritten, and leaves in
 * the caches what the program works with.
 *
 * SSE2's stores, which every x86-64 has: wider ones are no faster, as memory
 * sets the pace.  How the limits were found, and why this is not left to
 * libpmem, is in docs/performance.md.  Other machines have memcpy().
 */
#include <gpusvm/copy.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "run.h"

/* What a device will read, or nobody for a while. */
#define TO_DEVMEM_MIN (16ul << 10)
/*
 * What the CPU has asked for: of less than this it soon reads the most part,
 * and had better find it in the caches.
 */
#define TO_RAM_MIN (256ul << 10)

#ifdef __SSE2__
#define BLOCK 64ul

/* False without a copy if it cannot be done in whole blocks. */
static bool stream(void *to, const void *from, size_t size)
{
	const __m128i *src = from;
	__m128i *dst = to, a, b, c, d;
	size_t i;

	if (((uintptr_t)to | size) % BLOCK)
		return false;
	for (i = 0; i < size; i += BLOCK, src += 4, dst += 4) {
		a = _mm_loadu_si128(src);
		b = _mm_loadu_si128(src + 1);
		c = _mm_loadu_si128(src + 2);
		d = _mm_loadu_si128(src + 3);
		_mm_stream_si128(dst, a);
		_mm_stream_si128(dst + 1, b);
		_mm_stream_si128(dst + 2, c);
		_mm_stream_si128(dst + 3, d);
	}
	/* Such stores are not ordered with those that tell of them. */
	_mm_sfence();
	return true;
}
#else
static bool stream(void *to, const void *from, size_t size)
{
	(void)to;
	(void)from;
	(void)size;
	return false;
}
#endif

static void copy_out(void *to, const void *from, size_t size)
{
	if (size < TO_DEVMEM_MIN || !stream(to, from, size))
		memcpy(to, from, size);
}

static void copy_home(void *to, const void *from, size_t size)
{
	if (size < TO_RAM_MIN || !stream(to, from, size))
		memcpy(to, from, size);
}

int gpusvm_stream_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	return gpusvm_runs_to_devmem(pages, dma_addr, npages, copy_out);
}

int gpusvm_stream_to_ram(struct page **pages, dma_addr_t *dma_addr,
			 unsigned long npages)
{
	return gpusvm_runs_to_ram(pages, dma_addr, npages, copy_home);
}
