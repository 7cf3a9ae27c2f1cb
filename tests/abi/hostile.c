/* SPDX-License-Identifier: MIT */
/*
 * A program that already has the kernel's names for things of its own, as
 * libdrm, ccan and libbpf users do.  Our headers, included before or after,
 * must neither disturb them nor be disturbed.  All of its own things differ in
 * kind or size from the kernel's, so that a mix-up cannot go unnoticed.
 */
#include <stdio.h>
/* Some libc have none of their own. */
#if __has_include(<sys/queue.h>)
#include <sys/queue.h>
#else
#include <bsd/sys/queue.h>
#endif

#ifdef HEADERS_FIRST
#include "all_headers.h"
#endif

struct list_head {
	char own[3];
};

struct completion {
	char own[5];
};

struct rw_semaphore {
	char own[7];
};

#define kref own_kref
struct kref {
	char own[11];
};

#define MMU_NOTIFY_UNMAP "own unmap"
#define MEMORY_DEVICE_PRIVATE 0x77

typedef unsigned char u32;
typedef float u64;
typedef struct {
	char own[13];
} dma_addr_t;

struct queued {
	int value;
	LIST_ENTRY(queued) link;
};
LIST_HEAD(queue, queued);

#ifdef HEADERS_LAST
#include "all_headers.h"
#endif

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			failed = 1;                                            \
		}                                                              \
	} while (0)

static int own_things_are_kept(void)
{
	int failed = 0;
	struct own_kref through_macro;
	struct queue queue;
	struct queued item;

	CHECK(sizeof(struct list_head) == 3);
	CHECK(sizeof(struct completion) == 5);
	CHECK(sizeof(struct rw_semaphore) == 7);
	CHECK(sizeof(struct kref) == 11);
	CHECK(sizeof(through_macro) == 11);
	CHECK(sizeof(MMU_NOTIFY_UNMAP) == sizeof("own unmap"));
	CHECK(MEMORY_DEVICE_PRIVATE == 0x77);
	CHECK(sizeof(u32) == 1);
	CHECK((u64)0.5 > 0);
	CHECK(sizeof(dma_addr_t) == 13);

	LIST_INIT(&queue);
	item.value = 42;
	LIST_INSERT_HEAD(&queue, &item, link);
	CHECK(LIST_FIRST(&queue)->value == 42);
	return failed;
}

static int the_library_s_are_usable(void)
{
	int failed = 0;
	struct gpusvm_list_head head;
	struct gpusvm_list_head node;
	struct gpusvm_kref references;
	struct gpusvm_mmu_notifier_range event;
	struct drm_gpusvm_range range;
	struct drm_pagemap_device_addr addr;
	gpusvm_dma_addr_t bus = ~(gpusvm_dma_addr_t)0;

	head.next = head.prev = &node;
	node.next = node.prev = &head;
	CHECK(gpusvm_list_is_last(&node, &head));
	references.refcount = 1;
	CHECK(references.refcount == 1);
	event.event = GPUSVM_MMU_NOTIFY_UNMAP;
	CHECK(event.event == 0);
	CHECK(GPUSVM_MEMORY_DEVICE_PRIVATE == 1);
	CHECK(bus == ~0ull);

	range.itree.start = 0x1000;
	range.itree.last = 0x2fff;
	CHECK(drm_gpusvm_range_size(&range) == 0x2000);
	addr = drm_pagemap_device_addr_encode(bus, DRM_INTERCONNECT_DRIVER, 9,
					      GPUSVM_DMA_BIDIRECTIONAL);
	CHECK(addr.addr == bus && addr.order == 9);
	return failed;
}

int main(void)
{
	return own_things_are_kept() | the_library_s_are_usable();
}
