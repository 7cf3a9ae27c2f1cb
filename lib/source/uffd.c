/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd as a source of faults and events.
 *
 * Watched memory is registered for write-protect faults without protecting
 * anything, which gives events and costs nothing on touch; trapped memory is
 * registered for missing faults as well (limits of both: see source.h).
 */
#include "uffd.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page_size.h"
#include "park.h"
#include "sigbus.h"
#include "sys.h"

/* Zeros to copy from: one copy call of a huge page fills a staging area. */
#define ZEROS_SIZE (2ul << 20)

static struct uffd *to_uffd(struct source *source)
{
	return gpusvm_container_of(source, struct uffd, source);
}

static bool decode(const struct uffd_msg *msg, struct source_event *event)
{
	*event = (struct source_event){ .child_fd = -1 };
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		event->type = SOURCE_FAULT;
		event->start = PAGE_ALIGN_DOWN(msg->arg.pagefault.address);
		event->end = event->start + PAGE_SIZE;
		event->write = msg->arg.pagefault.flags &
			       UFFD_PAGEFAULT_FLAG_WRITE;
		event->protect =
			msg->arg.pagefault.flags &
			(UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_RWP);
		event->tid = (pid_t)msg->arg.pagefault.feat.ptid;
		return true;
	case UFFD_EVENT_UNMAP:
		event->type = SOURCE_UNMAP;
		event->start = msg->arg.remove.start;
		event->end = msg->arg.remove.end;
		return true;
	case UFFD_EVENT_REMOVE:
		event->type = SOURCE_REMOVE;
		event->start = msg->arg.remove.start;
		event->end = msg->arg.remove.end;
		return true;
	case UFFD_EVENT_REMAP:
		event->type = SOURCE_REMAP;
		event->start = msg->arg.remap.from;
		event->end = msg->arg.remap.from + msg->arg.remap.len;
		event->to = msg->arg.remap.to;
		return true;
	case UFFD_EVENT_FORK:
		event->type = SOURCE_FORK;
		event->child_fd = (int)msg->arg.fork.ufd;
		return true;
	}
	return false;
}

static int uffd_read(struct source *source, struct source_event *events,
		     int most)
{
	struct uffd_msg msg[SOURCE_BATCH];
	ssize_t n, i;
	int count = 0;

	n = gpusvm_sys_read(source->fd, msg,
			    (unsigned long)most * sizeof(msg[0]));
	for (i = 0; i < n / (ssize_t)sizeof(msg[0]); i++)
		count += decode(&msg[i], &events[count]);
	return count;
}

static int do_register(int fd, unsigned long start, unsigned long end,
		       unsigned long mode)
{
	struct uffdio_register reg = {
		.range = { .start = start, .len = end - start },
		.mode = mode,
	};

	return gpusvm_sys_uffd_register(fd, &reg);
}

static int uffd_watch(struct source *source, unsigned long start,
		      unsigned long end)
{
	return do_register(source->fd, start, end, UFFDIO_REGISTER_MODE_WP);
}

static int uffd_trap(struct source *source, unsigned long start,
		     unsigned long end)
{
	return do_register(source->fd, start, end,
			   UFFDIO_REGISTER_MODE_MISSING |
				   UFFDIO_REGISTER_MODE_WP);
}

/*
 * The kernel looks for pending events before it looks at the arguments: an
 * empty range is -EINVAL when there are none.
 */
static int uffd_settled(struct source *source)
{
	struct uffdio_zeropage zero = { .range = { .start = 0, .len = 0 } };

	return gpusvm_sys_uffd_zeropage(source->fd, &zero) == -EAGAIN ? -EAGAIN
								      : 0;
}

static int uffd_wake(struct source *source, unsigned long start,
		     unsigned long end)
{
	struct uffdio_range range = { .start = start, .len = end - start };

	return gpusvm_sys_uffd_wake(source->fd, &range);
}

/*
 * These ioctls report a partial result as -EAGAIN with a count, and the count
 * is an error code when nothing was done.
 */
static long progress(int err, __s64 done)
{
	if (!err || (err == -EAGAIN && done > 0))
		return (long)done;
	return err;
}

static long copy_to(int fd, unsigned long to, unsigned long from,
		    unsigned long len)
{
	struct uffdio_copy copy = { .dst = to, .src = from, .len = len };
	int err = gpusvm_sys_uffd_copy(fd, &copy);

	return progress(err, copy.copy);
}

static long move_to(int fd, unsigned long to, unsigned long from,
		    unsigned long len, unsigned long mode)
{
	struct uffdio_move move = {
		.dst = to,
		.src = from,
		.len = len,
		.mode = mode,
	};
	int err = gpusvm_sys_uffd_move(fd, &move);

	return progress(err, move.move);
}

/*
 * A write gets a page of its own at once; the shared zero page would make it
 * fault a second time.
 */
static int uffd_zero(struct source *source, unsigned long addr, bool write)
{
	struct uffdio_zeropage zero = {
		.range = { .start = addr, .len = PAGE_SIZE },
	};
	long done;

	if (!write)
		return gpusvm_sys_uffd_zeropage(source->fd, &zero);
	done = copy_to(source->fd, addr, to_uffd(source)->zeros, PAGE_SIZE);
	return done < 0 ? (int)done : 0;
}

static int uffd_protect(struct source *source, unsigned long start,
			unsigned long end, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = start, .len = end - start },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return gpusvm_sys_uffd_writeprotect(source->fd, &wp);
}

static long uffd_copy(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	return copy_to(source->fd, to, from, len);
}

static long uffd_move(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	return move_to(source->fd, to, from, len, 0);
}

/*
 * Staging belongs to the descriptor that tells of changes: then a move fails as
 * long as one is not read, and what mremap() has just put there is not taken
 * for what was there before.
 */
static long uffd_take(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	return move_to(source->fd, to, from, len,
		       UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
}

static int uffd_stage(struct source *source, unsigned long start,
		      unsigned long end)
{
	return do_register(source->fd, start, end,
			   UFFDIO_REGISTER_MODE_MISSING);
}

/*
 * Memory that is not registered is dropped without an event, which somebody
 * would have to read first; the caller may keep them all from it.
 */
static int uffd_empty(struct source *source, unsigned long start,
		      unsigned long end)
{
	struct uffdio_range range = { .start = start, .len = end - start };
	int err = gpusvm_sys_uffd_unregister(source->fd, &range);

	if (err)
		return err;
	gpusvm_sys_madvise(start, end - start, MADV_DONTNEED);
	if (uffd_stage(source, start, end))
		log_error("staging at %#lx is lost: it cannot be registered",
			  start);
	return 0;
}

static long uffd_fill(struct source *source, unsigned long to,
		      unsigned long len)
{
	struct uffd *uffd = to_uffd(source);

	return copy_to(source->fd, to, uffd->zeros, min(len, uffd->zeros_size));
}

/*
 * A child that changes its own mappings waits until the event has been read,
 * and until then takes no pages.  Its events concern nobody here; a child of
 * its own gets what has been copied so far.
 */
static void drain_child(int child_fd)
{
	struct uffd_msg msg;

	while (gpusvm_sys_read(child_fd, &msg, sizeof(msg)) == sizeof(msg))
		if (msg.event == UFFD_EVENT_FORK)
			gpusvm_sys_close((int)msg.arg.fork.ufd);
}

#define CHILD_ATTEMPTS 10000

static long uffd_child_copy(struct source *source, int child_fd,
			    unsigned long to, unsigned long from,
			    unsigned long len)
{
	int attempt;
	long done;

	(void)source;
	for (attempt = 0; attempt < CHILD_ATTEMPTS; attempt++) {
		done = copy_to(child_fd, to, from, len);
		if (done != -EAGAIN)
			break;
		drain_child(child_fd);
		gpusvm_sys_yield();
	}
	return done;
}

static void uffd_close(struct source *source)
{
	struct uffd *uffd = to_uffd(source);

	gpusvm_sys_close(source->fd);
	gpusvm_free_pages((void *)uffd->zeros, uffd->zeros_size);
	gpusvm_free(uffd);
}

static const struct source_ops uffd_ops = {
	.name = "userfaultfd",
	.close = uffd_close,
	.read = uffd_read,
	.watch = uffd_watch,
	.trap = uffd_trap,
	.settled = uffd_settled,
	.wake = uffd_wake,
	.zero = uffd_zero,
	.protect = uffd_protect,
	.copy = uffd_copy,
	.move = uffd_move,
	.take = uffd_take,
	.stage = uffd_stage,
	.empty = uffd_empty,
	.fill = uffd_fill,
	.child_copy = uffd_child_copy,
};

/* ---- Faults by SIGBUS: nobody waits in the kernel, so it wakes nobody ---- */

static int sigbus_wake(struct source *source, unsigned long start,
		       unsigned long end)
{
	(void)source;
	gpusvm_park_wake(start, end);
	return 0;
}

static int sigbus_zero(struct source *source, unsigned long addr, bool write)
{
	int err = uffd_zero(source, addr, write);

	if (!err)
		gpusvm_park_wake(addr, addr + PAGE_SIZE);
	return err;
}

static int sigbus_protect(struct source *source, unsigned long start,
			  unsigned long end, bool on)
{
	int err = uffd_protect(source, start, end, on);

	if (!err && !on)
		gpusvm_park_wake(start, end);
	return err;
}

static long woken(unsigned long to, long done)
{
	if (done > 0)
		gpusvm_park_wake(to, to + (unsigned long)done);
	return done;
}

static long sigbus_copy(struct source *source, unsigned long to,
			unsigned long from, unsigned long len)
{
	return woken(to, uffd_copy(source, to, from, len));
}

static long sigbus_move(struct source *source, unsigned long to,
			unsigned long from, unsigned long len)
{
	return woken(to, uffd_move(source, to, from, len));
}

static void sigbus_serve(struct source *source,
			 const struct fault_server *server)
{
	(void)source;
	gpusvm_sigbus_serve(server);
}

/* In this order: whoever has a fault has none any more when the first is done */
static void sigbus_close(struct source *source)
{
	uffd_close(source);
	gpusvm_sigbus_stop();
}

static const struct source_ops sigbus_ops = {
	.name = "userfaultfd by SIGBUS",
	.close = sigbus_close,
	.read = uffd_read,
	.watch = uffd_watch,
	.trap = uffd_trap,
	.settled = uffd_settled,
	.wake = sigbus_wake,
	.zero = sigbus_zero,
	.protect = sigbus_protect,
	.copy = sigbus_copy,
	.move = sigbus_move,
	.take = uffd_take,
	.stage = uffd_stage,
	.empty = uffd_empty,
	.fill = uffd_fill,
	.child_copy = uffd_child_copy,
	.serve = sigbus_serve,
};

/* ---- Pages that are present can be kept from everybody ---- */

/*
 * A mapping cannot be registered for write-protection as well (Linux 7.3), nor
 * ever be from then on.
 */
static int rwp_watch(struct source *source, unsigned long start,
		     unsigned long end)
{
	return do_register(source->fd, start, end, UFFDIO_REGISTER_MODE_RWP);
}

static int rwp_trap(struct source *source, unsigned long start,
		    unsigned long end)
{
	return do_register(source->fd, start, end,
			   UFFDIO_REGISTER_MODE_MISSING |
				   UFFDIO_REGISTER_MODE_RWP);
}

static int rwp_protect(struct source *source, unsigned long start,
		       unsigned long end, bool on)
{
	struct uffdio_rwprotect rwp = {
		.range = { .start = start, .len = end - start },
		.mode = on ? UFFDIO_RWPROTECT_MODE_RWP : 0,
	};

	return gpusvm_sys_uffd_rwprotect(source->fd, &rwp);
}

/*
 * Pages that are moved to such a mapping come protected, whatever they were
 * (Linux 7.3).  If that cannot be ended now, as a change has begun, a fault on
 * each page will end it.
 */
static long rwp_move(struct source *source, unsigned long to,
		     unsigned long from, unsigned long len)
{
	long done =
		move_to(source->fd, to, from, len, UFFDIO_MOVE_MODE_DONTWAKE);
	unsigned long end = to + (unsigned long)done;

	if (done > 0 && rwp_protect(source, to, end, false))
		uffd_wake(source, to, end);
	return done;
}

static const struct source_ops rwp_ops = {
	.name = "userfaultfd with RWP",
	.close = uffd_close,
	.read = uffd_read,
	.watch = rwp_watch,
	.trap = rwp_trap,
	.settled = uffd_settled,
	.wake = uffd_wake,
	.zero = uffd_zero,
	.protect = rwp_protect,
	.copy = uffd_copy,
	.move = rwp_move,
	.take = uffd_take,
	.stage = uffd_stage,
	.empty = uffd_empty,
	.fill = uffd_fill,
	.child_copy = uffd_child_copy,
};

/* ---- Opening ---- */

static const struct source_ops *ops_of(enum gpusvm_source wanted)
{
	switch (wanted) {
	case GPUSVM_SOURCE_USERFAULTFD_SIGBUS:
		return &sigbus_ops;
	case GPUSVM_SOURCE_USERFAULTFD_RWP:
		return &rwp_ops;
	default:
		return &uffd_ops;
	}
}

static int negotiate(struct uffd *uffd)
{
	int err = gpusvm_uffd_negotiate(uffd);

	if (err || uffd->wanted != GPUSVM_SOURCE_USERFAULTFD_SIGBUS)
		return err;
	err = gpusvm_sigbus_start();
	if (err)
		gpusvm_sys_close(uffd->source.fd);
	return err;
}

int gpusvm_uffd_open(enum gpusvm_source wanted, struct source **source)
{
	struct uffd *uffd = gpusvm_alloc(sizeof(*uffd));
	int err;

	if (!uffd)
		return -ENOMEM;
	uffd->source.ops = ops_of(wanted);
	uffd->wanted = wanted;
	uffd->zeros_size = max(ZEROS_SIZE, PAGE_SIZE);
	uffd->zeros =
		(unsigned long)gpusvm_alloc_pages(uffd->zeros_size, PAGE_SIZE);
	err = uffd->zeros ? negotiate(uffd) : -ENOMEM;
	if (err) {
		if (uffd->zeros)
			gpusvm_free_pages((void *)uffd->zeros,
					  uffd->zeros_size);
		gpusvm_free(uffd);
		return err;
	}
	*source = &uffd->source;
	return 0;
}
