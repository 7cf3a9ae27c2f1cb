/* SPDX-License-Identifier: MIT */
/*
 * Trapping memory without running out of mappings.
 *
 * What is trapped is a mapping by itself for the kernel, and of these a process
 * has vm.max_map_count; with none left not even munmap() works.  So where a
 * window has many trapped parts, or the address space has, all of the window is
 * trapped: its parts become one mapping, and one with that of the next window.
 * What that costs is a fault served by a handler at each first touch of memory
 * that was never on a device but lies between such.
 */
#ifndef GPUSVM_MM_TRAP_H
#define GPUSVM_MM_TRAP_H

#include <gpusvm/kernel.h>
#include <pthread.h>

struct mm_struct;

/* Parts of one window after which it is trapped as a whole. */
#define TRAP_WINDOW_PARTS 16u

/* Parts are at most this share of vm.max_map_count, two mappings each, */
#define TRAP_SHARE 8
/* and at most so many. */
#define TRAP_MOST 8192ul

/**
 * struct traps - What is trapped, in windows with some of it
 * @lock: Protects the others; nothing else is taken while it is held but the
 *	allocator's
 * @windows: struct trap_window, by address
 * @nparts: Parts in all of them
 * @limit: What @nparts is kept below
 */
struct traps {
	pthread_mutex_t lock;
	struct rb_root_cached windows;
	unsigned long nparts;
	unsigned long limit;
};

void gpusvm_traps_init(struct traps *traps);
void gpusvm_traps_release(struct traps *traps);

/*
 * Trap [start, end), and perhaps what is around it in the same mapping.
 * -errno of the source; -ENOMEM if there is no mapping left even so, or no
 * private memory.
 */
int gpusvm_trap(struct mm_struct *mm, unsigned long start, unsigned long end);

/* Mappings of [start, end) have gone, and their traps with them. */
void gpusvm_trap_forget(struct mm_struct *mm, unsigned long start,
			unsigned long end);

#endif /* GPUSVM_MM_TRAP_H */
