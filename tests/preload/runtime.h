/* SPDX-License-Identifier: MIT */
/*
 * A runtime such as a program might use without knowing of libgpusvm: it
 * mirrors the address space, has an interest in pages that it is told of, and
 * records what its invalidate callback is told.
 *
 * With RUNTIME_AUTO in the environment it starts by itself and takes an
 * interest in whatever memory the program has, on a thread of its own.  The
 * first time that it gets some it adds a line to the file that RUNTIME_AUTO
 * names: the source and the program.
 */
#ifndef TESTS_PRELOAD_RUNTIME_H
#define TESTS_PRELOAD_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

enum runtime_event {
	RUNTIME_UNMAP,
	RUNTIME_CLEAR,
	RUNTIME_PROTECTION,
	RUNTIME_OTHER
};

/* A call of the callback, about a page. */
struct runtime_record {
	enum runtime_event event;
	unsigned long page;
	int tid;
	/* Whether the page was there, and its first byte. */
	bool readable;
	unsigned char byte;
};

/* 0 or -errno */
int runtime_open(void);
void runtime_close(void);
/* Whether it is told of changes that nobody announces. */
bool runtime_has_events(void);
/* The same of shared memory. */
bool runtime_has_shared_events(void);
/* Have all pages mapped for the device, for reading. */
int runtime_watch(void *addr, size_t size);
/* Whether the device may still use a page. */
bool runtime_valid(const void *addr);
/* Wait until changes up to now have been told. */
void runtime_sync(void);
/* The first record about a page since the last reset, or NULL. */
const struct runtime_record *runtime_find(const void *addr);
void runtime_reset(void);

#endif /* TESTS_PRELOAD_RUNTIME_H */
