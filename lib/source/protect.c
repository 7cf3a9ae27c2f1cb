/* SPDX-License-Identifier: MIT */
/*
 * Protection as a source of faults, where there is no userfaultfd: memory on a
 * device is inaccessible to the CPU.  With the handler of SIGSEGV (segv.c) that
 * is the source mprotect, without it the source manual.
 *
 * Pages are taken by mremap(MREMAP_DONTUNMAP) after their mapping has become
 * inaccessible, so that a store lands before or waits, and come back by writing
 * to /proc/self/mem, which fills inaccessible memory, before it becomes
 * accessible again: nobody sees half of it.  The mapping itself stays where it
 * is, and becomes one with its neighbours again.
 *
 * Nothing tells of changes of mappings: see hooks.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "park.h"
#include "populate.h"
#include "segv.h"
#include "small_file.h"
#include "source.h"
#include "sys.h"
#include "trapped.h"

#define RW (PROT_READ | PROT_WRITE)

/**
 * struct protect - The source
 * @source: What users of it see
 * @mem_fd: /proc/self/mem
 * @manual: Without the handler of SIGSEGV
 * @pid: In which process
 */
struct protect {
	struct source source;
	int mem_fd;
	bool manual;
	pid_t pid;
};

static struct protect *to_protect(struct source *source)
{
	return gpusvm_container_of(source, struct protect, source);
}

/*
 * Readable again before the queue is looked at: who comes then is not missed.
 */
static int protect_read(struct source *source, struct source_event *events,
			int most)
{
	unsigned long count, one = 1;
	int n;

	if (gpusvm_sys_read(source->fd, &count, sizeof(count)) < 0)
		return 0;
	n = gpusvm_segv_read(events, most);
	if (n == most)
		gpusvm_sys_write(source->fd, &one, sizeof(one));
	return n;
}

/* There is nothing to be told of. */
static int protect_watch(struct source *source, unsigned long start,
			 unsigned long end)
{
	(void)source;
	(void)start;
	(void)end;
	return 0;
}

static int protect_settled(struct source *source)
{
	(void)source;
	return 0;
}

static int protect_wake(struct source *source, unsigned long start,
			unsigned long end)
{
	(void)source;
	gpusvm_park_wake(start, end);
	return 0;
}

static int protect_release(struct source *source, unsigned long start,
			   unsigned long end)
{
	long done = gpusvm_trapped_release(start, end);

	if (done)
		protect_wake(source, start, end);
	return done < 0 ? (int)done : 0;
}

static int protect_zero(struct source *source, unsigned long addr, bool write)
{
	unsigned long start = addr, end = addr + PAGE_SIZE;

	(void)write;
	if (gpusvm_trapped_find(addr, &start, &end) < 0)
		return -EEXIST;
	return protect_release(source, addr, addr + PAGE_SIZE);
}

static int protect_protect(struct source *source, unsigned long start,
			   unsigned long end, bool on)
{
	(void)source;
	(void)start;
	(void)end;
	(void)on;
	return -EOPNOTSUPP;
}

/* Whole pages of what could be written; -ENOMEM for none. */
static long fill_mapping(const struct protect *protect, unsigned long to,
			 unsigned long from, unsigned long len)
{
	unsigned long done = 0;
	ssize_t n;

	while (done < len) {
		n = gpusvm_sys_pwrite(protect->mem_fd, (void *)(from + done),
				      len - done, (off_t)(to + done));
		if (n <= 0 && n != -EINTR)
			break;
		done += n > 0 ? (unsigned long)n : 0;
	}
	done &= PAGE_MASK;
	return done ? (long)done : -ENOMEM;
}

static long protect_copy(struct source *source, unsigned long to,
			 unsigned long from, unsigned long len)
{
	long done = fill_mapping(to_protect(source), to, from, len);
	int err;

	if (done < 0)
		return done;
	err = protect_release(source, to, to + (unsigned long)done);
	return err ? err : done;
}

/*
 * The pages stay in staging: put there, they would bring along a mapping that
 * never becomes one with its neighbours again.
 */
static long protect_move(struct source *source, unsigned long to,
			 unsigned long from, unsigned long len)
{
	(void)source;
	(void)to;
	(void)from;
	(void)len;
	return -EINVAL;
}

/*
 * mremap() would unlock locked memory for good.  This advice is the only call
 * that tells, of one page, and it is about to go anyway.
 */
static bool is_locked(unsigned long addr)
{
	return gpusvm_sys_madvise(addr, PAGE_SIZE, MADV_COLD) == -EINVAL;
}

static int protect_guard(struct source *source, unsigned long start,
			 unsigned long end, int prot)
{
	(void)source;
	/* What could not be written comes back all the same. */
	if (!(prot & PROT_READ) || is_locked(start))
		return -EINVAL;
	return gpusvm_trapped_add(start, end, prot);
}

static long move_pages(unsigned long to, unsigned long from, unsigned long len)
{
	long ret = gpusvm_sys_mremap(
		from, len, len,
		MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);

	return gpusvm_sys_is_error(ret) ? ret : 0;
}

/* Staging that a call has left unmapped or inaccessible; without pages. */
static void renew_staging(unsigned long addr, unsigned long len, int flags)
{
	long ret = gpusvm_sys_mmap(
		addr, len, RW,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	if (ret == (long)addr)
		gpusvm_sys_madvise(addr, len, MADV_DONTFORK);
	else if (ret != -EEXIST)
		log_error("staging at %#lx is lost: error %ld", addr, -ret);
}

/*
 * mremap() unmaps what is in the way before it knows whether it can move.  What
 * it moves is staging now, but has the advice that the program gave.
 */
static long take_pages(unsigned long to, unsigned long from, unsigned long len)
{
	long err = move_pages(to, from, len);

	if (err) {
		renew_staging(to, len, MAP_FIXED_NOREPLACE);
		return err;
	}
	err = gpusvm_sys_mprotect(to, len, RW);
	if (!err) {
		gpusvm_sys_madvise(to, len, MADV_DONTFORK);
		return 0;
	}
	/* It is a mapping by itself, so this needs no memory. */
	if (move_pages(from, to, len))
		log_error("the pages at %#lx are lost in staging", from);
	else
		renew_staging(to, len, MAP_FIXED);
	return err;
}

static long protect_take(struct source *source, unsigned long to,
			 unsigned long from, unsigned long len)
{
	long err = take_pages(to, from, len);

	if (!err)
		return (long)len;
	protect_release(source, from, from + len);
	return err == -ENOMEM ? -ENOMEM : -EINVAL;
}

static int protect_stage(struct source *source, unsigned long start,
			 unsigned long end)
{
	(void)source;
	(void)start;
	(void)end;
	return 0;
}

static int protect_empty(struct source *source, unsigned long start,
			 unsigned long end)
{
	(void)source;
	return gpusvm_sys_madvise(start, end - start, MADV_DONTNEED);
}

static long protect_fill(struct source *source, unsigned long to,
			 unsigned long len)
{
	int err = gpusvm_populate_pages(to, len, true);

	(void)source;
	/* Nobody else drops pages of staging: there is no memory for them. */
	if (err == -EAGAIN)
		err = -ENOMEM;
	return err ? err : (long)len;
}

static long protect_child_copy(struct source *source, int child_fd,
			       unsigned long to, unsigned long from,
			       unsigned long len)
{
	(void)source;
	(void)child_fd;
	(void)to;
	(void)from;
	(void)len;
	return -EOPNOTSUPP;
}

static void protect_forget(struct source *source, unsigned long start,
			   unsigned long end)
{
	(void)source;
	gpusvm_trapped_forget(start, end);
}

static int protect_guarded(struct source *source, unsigned long addr,
			   unsigned long *start, unsigned long *end)
{
	(void)source;
	return gpusvm_trapped_find(addr, start, end);
}

static void protect_close(struct source *source)
{
	struct protect *protect = to_protect(source);

	if (!protect->manual)
		gpusvm_segv_stop();
	gpusvm_trapped_reset(0, protect->pid != gpusvm_sys_getpid());
	gpusvm_sys_close(source->fd);
	gpusvm_sys_close(protect->mem_fd);
	gpusvm_free(protect);
}

#define PROTECT_OPS(kind)                                                     \
	{                                                                     \
		.name = (kind), .close = protect_close, .read = protect_read, \
		.watch = protect_watch, .trap = protect_watch,                \
		.settled = protect_settled, .wake = protect_wake,             \
		.zero = protect_zero, .protect = protect_protect,             \
		.copy = protect_copy, .move = protect_move,                   \
		.take = protect_take, .stage = protect_stage,                 \
		.empty = protect_empty, .fill = protect_fill,                 \
		.child_copy = protect_child_copy, .guard = protect_guard,     \
		.release = protect_release, .forget = protect_forget,         \
		.guarded = protect_guarded,                                   \
	}

static const struct source_ops mprotect_ops = PROTECT_OPS("mprotect");
static const struct source_ops manual_ops = PROTECT_OPS("manual");

/* ---- Opening ---- */

/* Whether the kernel does what taking and giving back needs, on two pages. */
static int try_out(const struct protect *protect, unsigned long pages)
{
	unsigned long other = pages + PAGE_SIZE;

	*(volatile unsigned long *)pages = 1;
	if (move_pages(other, pages, PAGE_SIZE)) {
		log_error("no pages can be taken: "
			  "mremap(MREMAP_DONTUNMAP) is needed (Linux 5.7)");
		return -ENOSYS;
	}
	if (gpusvm_sys_mprotect(pages, PAGE_SIZE, PROT_NONE) ||
	    fill_mapping(protect, pages, other, PAGE_SIZE) < 0 ||
	    gpusvm_sys_mprotect(pages, PAGE_SIZE, RW) ||
	    *(volatile unsigned long *)pages != 1) {
		log_error(
			"no pages can be given back: the kernel refuses "
			"writes to /proc/self/mem (see proc_mem.force_override "
			"of its command line)");
		return -EPERM;
	}
	return 0;
}

static int open_memory(struct protect *protect)
{
	void *pages;
	int err;

	protect->mem_fd = gpusvm_sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (protect->mem_fd < 0) {
		log_error("/proc/self/mem cannot be opened: error %d",
			  -protect->mem_fd);
		return protect->mem_fd;
	}
	pages = gpusvm_alloc_pages(2 * PAGE_SIZE, PAGE_SIZE);
	err = pages ? try_out(protect, (unsigned long)pages) : -ENOMEM;
	if (pages)
		gpusvm_free_pages(pages, 2 * PAGE_SIZE);
	if (err)
		gpusvm_sys_close(protect->mem_fd);
	return err;
}

static int start(struct protect *protect)
{
	int fd, err;

	fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return fd;
	protect->source.fd = fd;
	gpusvm_trapped_reset(min(gpusvm_max_map_count() / TRAPPED_SHARE,
				 TRAPPED_MOST),
			     false);
	err = protect->manual ? 0 : gpusvm_segv_start(fd);
	if (err)
		gpusvm_sys_close(fd);
	return err;
}

int gpusvm_protect_open(enum gpusvm_source wanted, struct source **source)
{
	struct protect *protect = gpusvm_alloc(sizeof(*protect));
	int err;

	if (!protect)
		return -ENOMEM;
	protect->manual = wanted == GPUSVM_SOURCE_MANUAL;
	protect->pid = gpusvm_sys_getpid();
	protect->source.ops = protect->manual ? &manual_ops : &mprotect_ops;
	protect->source.features = protect->manual ? 0
						   : GPUSVM_FEATURE_CPU_FAULTS;
	err = open_memory(protect);
	if (!err) {
		err = start(protect);
		if (err)
			gpusvm_sys_close(protect->mem_fd);
	}
	if (err) {
		gpusvm_free(protect);
		return err;
	}
	*source = &protect->source;
	return 0;
}
