/* SPDX-License-Identifier: MIT */
/*
 * A source of faults and of events: the seam between the mirrored address
 * space and the kernel mechanism that tells of changes.
 *
 * Memory is in one of three states for a source: unknown; watched, when
 * changes of its mapping raise events and touching it costs nothing; trapped,
 * when in addition touching an absent page raises a fault and waits.
 *
 * Calls are thread-safe.  They return 0 or -errno unless said otherwise, and
 * -EAGAIN always means the same: the address space is changing and there is an
 * event to be read (or its originator still has to run); read and try again.
 */
#ifndef GPUSVM_SOURCE_SOURCE_H
#define GPUSVM_SOURCE_SOURCE_H

#include <gpusvm/gpusvm.h>
#include <sys/types.h>

enum source_event_type {
	SOURCE_FAULT,  /* a thread touched an absent trapped page, and waits */
	SOURCE_UNMAP,  /* [start, end) was unmapped */
	SOURCE_REMOVE, /* the pages of [start, end) are about to be dropped */
	SOURCE_REMAP,  /* [start, end) was moved to @to */
	SOURCE_FORK,   /* a child exists; @child_fd serves its faults */
};

/**
 * struct source_event - What a source tells
 * @type: What happened
 * @write: For a fault: it was a write
 * @protect: For a fault: the page is present but protected
 * @untold: For a fault: it is not known whether the page is absent, or
 *	write-protected, or no business of the source's
 * @start: First address; for a fault the page
 * @end: End, exclusive
 * @to: New first address of a remap
 * @tid: Thread that faulted
 * @child_fd: Descriptor for a child's faults; the receiver's, to be closed
 */
struct source_event {
	enum source_event_type type;
	bool write;
	bool protect;
	bool untold;
	unsigned long start;
	unsigned long end;
	unsigned long to;
	pid_t tid;
	int child_fd;
};

#define SOURCE_BATCH 16

/**
 * enum fault_result - What becomes of a fault
 * @FAULT_SERVED: The thread makes its access again
 * @FAULT_PRESENT: The same, but the page was there already
 * @FAULT_WAITS: It waits until the source is told to wake it
 * @FAULT_FAILED: It cannot be served, or is not the library's: a SIGBUS
 * @FAULT_JOB: A device page is to be brought home
 * @FAULT_UNSETTLED: The source must settle first
 */
enum fault_result {
	FAULT_SERVED,
	FAULT_PRESENT,
	FAULT_WAITS,
	FAULT_FAILED,
	FAULT_JOB,
	FAULT_UNSETTLED,
};

/**
 * struct fault_server - How a thread serves a fault of its own
 * @serve: Runs in a signal handler, with all signals blocked but those that an
 *	instruction raises; the first four of the results.  @cramped: there is
 *	little room on the stack
 * @arg: First argument of it
 */
struct fault_server {
	enum fault_result (*serve)(void *arg, const struct source_event *fault,
				   bool cramped);
	void *arg;
};

struct source;

/**
 * struct source_ops - One kind of source
 * @name: For reports
 * @close: Release everything; threads that wait in a fault go on
 * @read: Fill @events with at most @most of them, which is at most
 *	SOURCE_BATCH, and return how many, 0 if there is none; never waits
 * @watch: Watch [start, end); -EINVAL if this kind of memory cannot be
 * @trap: Trap [start, end)
 * @settled: 0 if every change that began has been read and its originator has
 *	gone on, else -EAGAIN
 * @wake: Let threads that wait in [start, end) touch their page again
 * @zero: Put a page of zeros at an absent trapped page, writable at once if
 *	@write, and wake; -EEXIST if a page is present
 * @protect: Let writes to [start, end) wait (@on), or let them go; with
 *	GPUSVM_FEATURE_RWP all accesses to pages that are present
 * @copy: Put copies of @len bytes at @from to absent trapped pages, and wake;
 *	returns how many bytes were done, or -errno if none
 * @move: Move the pages at @from, which must be private to the caller, there;
 *	otherwise as @copy
 * @take: Move the pages of [from, from + len) to absent staging pages; pages
 *	that are absent stay so; returns as @copy does
 * @stage: Make memory usable as staging: a destination of @take and @fill
 * @empty: Drop the pages of staging memory; raises no event.  -ENOMEM without
 *	mappings, and the pages are still there
 * @fill: Put pages of zeros, ready to be written, at absent staging pages;
 *	returns as @copy does
 * @child_copy: As @copy, in a child
 *
 * A source whose faults the threads serve themselves has this, too:
 * @serve: Faults are served by @server from now on; with NULL nobody is in it
 *	any more when this returns, and who has a fault waits for the close
 *
 * A source that traps by taking the program's protection away has these,
 * and others have none of them (NULL):
 * @guard: Let accesses to [start, end) wait, which is mapped with the protection
 *	@prot as one piece; @take follows, and undoes it if it fails.  -EINVAL if
 *	such memory cannot be taken; -ENOMEM
 * @release: Give what is guarded in [start, end) its protection back; absent
 *	pages read as zero
 * @forget: [start, end) was unmapped: nothing of it is guarded any more
 * @guarded: The program's protection of @addr if it is guarded, else -ENOENT;
 *	[*start, *end) is cut to what this is true of
 */
struct source_ops {
	const char *name;
	void (*close)(struct source *source);
	int (*read)(struct source *source, struct source_event *events,
		    int most);
	int (*watch)(struct source *source, unsigned long start,
		     unsigned long end);
	int (*trap)(struct source *source, unsigned long start,
		    unsigned long end);
	int (*settled)(struct source *source);
	int (*wake)(struct source *source, unsigned long start,
		    unsigned long end);
	int (*zero)(struct source *source, unsigned long addr, bool write);
	int (*protect)(struct source *source, unsigned long start,
		       unsigned long end, bool on);
	long (*copy)(struct source *source, unsigned long to,
		     unsigned long from, unsigned long len);
	long (*move)(struct source *source, unsigned long to,
		     unsigned long from, unsigned long len);
	long (*take)(struct source *source, unsigned long to,
		     unsigned long from, unsigned long len);
	int (*stage)(struct source *source, unsigned long start,
		     unsigned long end);
	int (*empty)(struct source *source, unsigned long start,
		     unsigned long end);
	long (*fill)(struct source *source, unsigned long to,
		     unsigned long len);
	long (*child_copy)(struct source *source, int child_fd,
			   unsigned long to, unsigned long from,
			   unsigned long len);
	void (*serve)(struct source *source, const struct fault_server *server);
	int (*guard)(struct source *source, unsigned long start,
		     unsigned long end, int prot);
	int (*release)(struct source *source, unsigned long start,
		       unsigned long end);
	void (*forget)(struct source *source, unsigned long start,
		       unsigned long end);
	int (*guarded)(struct source *source, unsigned long addr,
		       unsigned long *start, unsigned long *end);
};

/**
 * struct source - A source in use; embedded in its implementation
 * @ops: What it does
 * @features: GPUSVM_FEATURE_* that hold
 * @fd: Becomes readable when there is something to read
 */
struct source {
	const struct source_ops *ops;
	unsigned long features;
	int fd;
};

/*
 * Open a source: what the option or, if that leaves it open, the environment
 * says, else the best there is.  A log line tells what is lost, and why; or,
 * with an error, what to change.  -EINVAL if the environment names no source;
 * -EPERM, -ENOSYS, -ENOMEM or another error.
 */
int gpusvm_source_open(enum gpusvm_source wanted, struct source **source);

/* The kinds: userfaultfd, and (mprotect, manual) protection. */
int gpusvm_uffd_open(enum gpusvm_source wanted, struct source **source);
int gpusvm_protect_open(enum gpusvm_source wanted, struct source **source);

#endif /* GPUSVM_SOURCE_SOURCE_H */
