/* SPDX-License-Identifier: MIT */
/* Memory of all kinds, and calls that change it. */
#ifndef TESTS_PRELOAD_CHANGES_H
#define TESTS_PRELOAD_CHANGES_H

#include "runtime.h"

#include <unistd.h>

#define PS ((size_t)sysconf(_SC_PAGESIZE))
#define BYTE 0x41
#define PAGES 4

/*
 * What happens without the hooks.  LATER_SHARED: told of it later if the kernel
 * tells of shared memory (Linux 5.19), else never.  UNHEARD_OF: never told of, and the device
 * would keep pages of what is mapped there next; not even tried.
 */
enum bare {
	LATER,
	LATER_SHARED,
	NEVER,
	UNHEARD_OF
};

/* A call that changes the first page of some memory, at least; 0 if it worked */
struct change {
	const char *name;
	void *(*make)(void);
	int (*make_change)(char *mem);
	enum runtime_event event;
	enum bare bare;
};

extern const struct change changes[];
extern const size_t num_changes;

/* Memory of PAGES pages, or MAP_FAILED; that of the heap begins a page. */
void *anonymous(void);
void *of_heap(void);

int do_munmap(char *mem);
int do_brk(char *mem);
/* musl has none: its calls fail whatever they are asked. */
bool has_break(void);

#endif /* TESTS_PRELOAD_CHANGES_H */
