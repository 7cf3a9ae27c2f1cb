/* SPDX-License-Identifier: MIT */
/*
 * A source of faults and events that is no kernel mechanism, and an address
 * space around it, for tests of mm/.
 *
 * The program's memory is a window of real pages.  A page is present if the
 * page table of the process has it, so scans and copies see the truth; what
 * the kernel would know besides (trapped, write-protected, no mapping) is a
 * byte per page.  The operations then do to the pages what userfaultfd would,
 * and return what it would: -EAGAIN while there are changes to be read, -EEXIST
 * for a page that is present, -ENOENT for one without a mapping or a trap,
 * partial results.  A plan injects any other result into any call.
 *
 * Without a handler thread events are read when the code under test settles the
 * source, or by the test.  With one, push them with event_lock held for writing
 * and read counters with fake_source_count().
 */
#ifndef TESTS_FAKE_SOURCE_H
#define TESTS_FAKE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "migration.h"
#include "mm.h"
#include "page.h"
#include "source.h"

enum fake_op {
	FAKE_OP_CLOSE,
	FAKE_OP_READ,
	FAKE_OP_WATCH,
	FAKE_OP_TRAP,
	FAKE_OP_SETTLED,
	FAKE_OP_WAKE,
	FAKE_OP_ZERO,
	FAKE_OP_PROTECT,
	FAKE_OP_COPY,
	FAKE_OP_MOVE,
	FAKE_OP_TAKE,
	FAKE_OP_STAGE,
	FAKE_OP_EMPTY,
	FAKE_OP_FILL,
	FAKE_OP_CHILD_COPY,
	FAKE_OPS,
};

/* Flags of a page. */
#define FAKE_WATCHED 1u
#define FAKE_TRAPPED 2u
#define FAKE_PROTECTED 4u
#define FAKE_UNMAPPED 8u /* the mapping is gone, as far as anybody can tell */

/**
 * struct fake_plan - What shall happen to some calls of an operation
 * @op: The operation
 * @skip: Calls that go as ever before
 * @times: Calls it is about
 * @error: What they return; 0 for none
 * @max_pages: They do that many pages at most; 0 for all
 */
struct fake_plan {
	enum fake_op op;
	unsigned int skip;
	unsigned int times;
	long error;
	unsigned long max_pages;
};

/* One call: [start, end) is where, @arg the write, on or child_fd. */
struct fake_call {
	enum fake_op op;
	unsigned long start;
	unsigned long end;
	long arg;
};

#define FAKE_MAX_PLANS 8
#define FAKE_MAX_EVENTS 64
#define FAKE_MAX_CALLS 4096

/**
 * struct fake_source - The source
 * @source: What the code under test sees
 * @mm: The address space around it
 * @start: The program's memory
 * @npages: Its length
 * @flags: A byte per page
 * @events: Not read yet
 * @nevents: How many
 * @plans: What shall happen
 * @nplans: How many
 * @calls: What happened
 * @ncalls: How many; only the first FAKE_MAX_CALLS are kept
 * @count: Calls by operation
 * @hook: Called at the start of every operation
 * @child: What was copied to a child, page by page
 * @child_has: Which pages those are
 */
struct fake_source {
	struct source source;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long npages;
	unsigned char *flags;
	struct source_event events[FAKE_MAX_EVENTS];
	unsigned int nevents;
	struct fake_plan plans[FAKE_MAX_PLANS];
	unsigned int nplans;
	struct fake_call calls[FAKE_MAX_CALLS];
	unsigned int ncalls;
	unsigned int count[FAKE_OPS];
	void (*hook)(struct fake_source *fake, const struct fake_call *call);
	unsigned char *child;
	bool *child_has;
};

extern const struct source_ops fake_source_ops;

/* The whole of it: source, address space, @npages of untouched memory. */
struct fake_source *fake_source_create(unsigned long npages,
				       enum gpusvm_technique technique);
/* Releases everything; false if blocks or table entries are left over. */
bool fake_source_destroy(struct fake_source *fake);

/* Memory in runs of staging that nobody owns. */
unsigned long fake_retired_bytes(struct fake_source *fake);

/* Without a handler thread: do what is left to be done of events read. */
void fake_source_finish(struct fake_source *fake);

void fake_source_plan(struct fake_source *fake, struct fake_plan plan);
/* Every call from now on fails. */
void fake_source_fail(struct fake_source *fake, enum fake_op op, long error);
void fake_source_forget_plans(struct fake_source *fake);
void fake_source_forget_calls(struct fake_source *fake);

/* Calls of an operation so far; and whether one was at @addr. */
unsigned int fake_source_count(struct fake_source *fake, enum fake_op op);
bool fake_source_called(struct fake_source *fake, enum fake_op op,
			unsigned long addr);

void fake_source_push(struct fake_source *fake, struct source_event event);
/* The event of a change of pages [first, first + n), and its effect. */
void fake_source_unmap(struct fake_source *fake, unsigned long first,
		       unsigned long n);
void fake_source_remove(struct fake_source *fake, unsigned long first,
			unsigned long n);
void fake_source_remap(struct fake_source *fake, unsigned long first,
		       unsigned long n, unsigned long to);

/* Address of page @i of the program's memory. */
unsigned long fake_addr(const struct fake_source *fake, unsigned long i);
/* Whether the page table has this page; without touching it. */
bool fake_present(unsigned long addr);
/* Fill pages with what differs per page and @tag, and compare. */
void fake_fill(void *page, unsigned long npages, unsigned int tag);
bool fake_matches(const void *page, unsigned long npages, unsigned int tag);
bool fake_is_zero(const void *page, unsigned long npages);

/* ---- Device memory ---- */

/**
 * struct fake_owner - An allocation that device pages belong to
 * @refs: References; 1 from its creation
 * @put: Called before a reference is put, if there is one
 * @fault: Serves migrate_to_ram
 * @faults: Calls of it
 * @read_error: What read_pages returns
 * @reads: Calls of it
 * @priv: The test's
 */
struct fake_owner {
	int refs;
	void (*put)(void);
	enum vm_fault_result (*fault)(struct vm_fault *vmf);
	unsigned int faults;
	int read_error;
	unsigned int reads;
	void *priv;
};

/* A pagemap with memory behind it, of @npages free pages. */
struct dev_pagemap *fake_devmem_create(unsigned long npages);
/* False if a page is still in use. */
bool fake_devmem_destroy(struct dev_pagemap *pgmap);

#endif /* TESTS_FAKE_SOURCE_H */
