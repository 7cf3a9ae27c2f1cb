/* SPDX-License-Identifier: MIT */
/* See fake_source.h. */
#include "fake_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler.h"
#include "page_size.h"

/* The plans and the record of every source. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_it(void)
{
	pthread_mutex_lock(&lock);
}

static void unlock_it(void)
{
	pthread_mutex_unlock(&lock);
}

/* As in fake_sys.c: in the child the library closes its source. */
__attribute__((constructor(101))) static void unlock_in_children(void)
{
	pthread_atfork(lock_it, unlock_it, unlock_it);
}

static struct fake_source *to_fake(struct source *source)
{
	return gpusvm_container_of(source, struct fake_source, source);
}

unsigned long fake_addr(const struct fake_source *fake, unsigned long i)
{
	return fake->start + (i << PAGE_SHIFT);
}

/* ---- Pages ---- */

bool fake_present(unsigned long addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;
	ssize_t n;

	n = pread(fd, &entry, sizeof(entry),
		  (off_t)(addr >> PAGE_SHIFT) * (off_t)sizeof(entry));
	close(fd);
	return n == sizeof(entry) && entry >> 63;
}

static unsigned char *flags_at(struct fake_source *fake, unsigned long addr)
{
	unsigned long i = (addr - fake->start) >> PAGE_SHIFT;

	return addr >= fake->start && i < fake->npages ? &fake->flags[i] : NULL;
}

/* @nth word of the pattern of page @i. */
static unsigned long pattern(unsigned long i, unsigned int tag,
			     unsigned long nth)
{
	return (i + 1) * 0x9e3779b97f4a7c15ul + tag * 0xbf58476d1ce4e5b9ul +
	       nth;
}

void fake_fill(void *page, unsigned long npages, unsigned int tag)
{
	unsigned long words = PAGE_SIZE / sizeof(unsigned long), i;
	unsigned long *word = page;

	for (i = 0; i < npages * words; i++)
		word[i] = pattern(i / words, tag, i % words);
}

bool fake_matches(const void *page, unsigned long npages, unsigned int tag)
{
	unsigned long words = PAGE_SIZE / sizeof(unsigned long), i;
	const unsigned long *word = page;

	for (i = 0; i < npages * words; i++)
		if (word[i] != pattern(i / words, tag, i % words))
			return false;
	return true;
}

bool fake_is_zero(const void *page, unsigned long npages)
{
	const unsigned long *word = page;
	unsigned long i;

	for (i = 0; i < npages * PAGE_SIZE / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

/* ---- Plans and events ---- */

void fake_source_plan(struct fake_source *fake, struct fake_plan plan)
{
	pthread_mutex_lock(&lock);
	if (fake->nplans == FAKE_MAX_PLANS)
		abort();
	fake->plans[fake->nplans++] = plan;
	pthread_mutex_unlock(&lock);
}

void fake_source_fail(struct fake_source *fake, enum fake_op op, long error)
{
	fake_source_plan(fake, (struct fake_plan){ .op = op,
						   .times = ~0u,
						   .error = error });
}

void fake_source_forget_plans(struct fake_source *fake)
{
	pthread_mutex_lock(&lock);
	fake->nplans = 0;
	pthread_mutex_unlock(&lock);
}

void fake_source_forget_calls(struct fake_source *fake)
{
	pthread_mutex_lock(&lock);
	fake->ncalls = 0;
	pthread_mutex_unlock(&lock);
}

/* The plan for this call of an operation, or NULL. */
static struct fake_plan *next_plan(struct fake_source *fake, enum fake_op op)
{
	struct fake_plan *plan;

	for (plan = fake->plans; plan < fake->plans + fake->nplans; plan++) {
		if (plan->op != op || !plan->times)
			continue;
		if (!plan->skip) {
			plan->times--;
			return plan;
		}
		plan->skip--;
	}
	return NULL;
}

/* A call begins.  Its planned error, or 0 with *@len made smaller as planned. */
static long begin(struct fake_source *fake, enum fake_op op,
		  unsigned long start, unsigned long *len, long arg)
{
	struct fake_call call = {
		.op = op,
		.start = start,
		.end = start + *len,
		.arg = arg,
	};
	struct fake_plan *plan;
	long err = 0;

	if (fake->hook)
		fake->hook(fake, &call);
	pthread_mutex_lock(&lock);
	if (fake->ncalls < FAKE_MAX_CALLS)
		fake->calls[fake->ncalls++] = call;
	fake->count[op]++;
	plan = next_plan(fake, op);
	if (plan && plan->max_pages)
		*len = min(*len, plan->max_pages << PAGE_SHIFT);
	if (plan)
		err = plan->error;
	pthread_mutex_unlock(&lock);
	return err;
}

unsigned int fake_source_count(struct fake_source *fake, enum fake_op op)
{
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = fake->count[op];
	pthread_mutex_unlock(&lock);
	return n;
}

bool fake_source_called(struct fake_source *fake, enum fake_op op,
			unsigned long addr)
{
	bool called = false;
	unsigned int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < fake->ncalls; i++)
		called |= fake->calls[i].op == op &&
			  addr >= fake->calls[i].start &&
			  addr < fake->calls[i].end;
	pthread_mutex_unlock(&lock);
	return called;
}

void fake_source_push(struct fake_source *fake, struct source_event event)
{
	if (fake->nevents == FAKE_MAX_EVENTS)
		abort();
	fake->events[fake->nevents++] = event;
	if (fake->source.fd >= 0)
		eventfd_write(fake->source.fd, 1);
}

static void push_range(struct fake_source *fake, enum source_event_type type,
		       unsigned long first, unsigned long n, unsigned long to)
{
	fake_source_push(fake, (struct source_event){
				       .type = type,
				       .start = fake_addr(fake, first),
				       .end = fake_addr(fake, first + n),
				       .to = to,
				       .child_fd = -1,
			       });
}

static void drop(unsigned long addr, unsigned long n)
{
	madvise((void *)addr, n << PAGE_SHIFT, MADV_DONTNEED);
}

void fake_source_unmap(struct fake_source *fake, unsigned long first,
		       unsigned long n)
{
	drop(fake_addr(fake, first), n);
	memset(fake->flags + first, FAKE_UNMAPPED, n);
	push_range(fake, SOURCE_UNMAP, first, n, 0);
}

void fake_source_remove(struct fake_source *fake, unsigned long first,
			unsigned long n)
{
	drop(fake_addr(fake, first), n);
	push_range(fake, SOURCE_REMOVE, first, n, 0);
}

/* Pages that are present move, too; both places are in the window. */
void fake_source_remap(struct fake_source *fake, unsigned long first,
		       unsigned long n, unsigned long to)
{
	unsigned long i;

	for (i = 0; i < n; i++) {
		drop(fake_addr(fake, to + i), 1);
		if (fake_present(fake_addr(fake, first + i)))
			memcpy((void *)fake_addr(fake, to + i),
			       (void *)fake_addr(fake, first + i), PAGE_SIZE);
		fake->flags[to + i] = fake->flags[first + i];
		fake->flags[first + i] = FAKE_UNMAPPED;
	}
	drop(fake_addr(fake, first), n);
	push_range(fake, SOURCE_REMAP, first, n, fake_addr(fake, to));
}

/* Whether memory is changing; a fault that nobody has read changes nothing. */
static bool is_changing(const struct fake_source *fake)
{
	unsigned int i;

	for (i = 0; i < fake->nevents; i++)
		if (fake->events[i].type != SOURCE_FAULT)
			return true;
	return false;
}

/* ---- Operations ---- */

static void fake_close(struct source *source)
{
	unsigned long len = 0;

	begin(to_fake(source), FAKE_OP_CLOSE, 0, &len, 0);
}

static int fake_read(struct source *source, struct source_event *events,
		     int most)
{
	struct fake_source *fake = to_fake(source);
	unsigned long len = 0;
	eventfd_t readable;
	unsigned int n;

	if (begin(fake, FAKE_OP_READ, 0, &len, 0))
		return 0;
	n = min(fake->nevents, (unsigned int)most);
	memcpy(events, fake->events, n * sizeof(*events));
	fake->nevents -= n;
	if (fake->source.fd >= 0 && !fake->nevents)
		eventfd_read(fake->source.fd, &readable);
	memmove(fake->events, fake->events + n,
		fake->nevents * sizeof(*events));
	return (int)n;
}

/* Change the flags of [start, end), what of it is in the window. */
static int change(struct source *source, enum fake_op op, unsigned long start,
		  unsigned long end, unsigned int set)
{
	struct fake_source *fake = to_fake(source);
	unsigned long len = end - start, addr;
	unsigned char *flags;
	long err;

	err = begin(fake, op, start, &len, 0);
	if (err)
		return (int)err;
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		flags = flags_at(fake, addr);
		if (flags && !(*flags & FAKE_UNMAPPED))
			*flags |= (unsigned char)set;
	}
	return 0;
}

static int fake_watch(struct source *source, unsigned long start,
		      unsigned long end)
{
	return change(source, FAKE_OP_WATCH, start, end, FAKE_WATCHED);
}

static int fake_trap(struct source *source, unsigned long start,
		     unsigned long end)
{
	return change(source, FAKE_OP_TRAP, start, end,
		      FAKE_WATCHED | FAKE_TRAPPED);
}

static int fake_settled(struct source *source)
{
	struct fake_source *fake = to_fake(source);
	unsigned long len = 0;
	long err = begin(fake, FAKE_OP_SETTLED, 0, &len, 0);

	return err ? (int)err : is_changing(fake) ? -EAGAIN : 0;
}

static int fake_wake(struct source *source, unsigned long start,
		     unsigned long end)
{
	unsigned long len = end - start;

	return (int)begin(to_fake(source), FAKE_OP_WAKE, start, &len, 0);
}

/* What a page that is to be put at @addr meets there. */
static long check_place(struct fake_source *fake, unsigned long addr)
{
	unsigned char *flags = flags_at(fake, addr);

	if (is_changing(fake))
		return -EAGAIN;
	if (!flags || (*flags & FAKE_UNMAPPED) || !(*flags & FAKE_TRAPPED))
		return -ENOENT;
	return fake_present(addr) ? -EEXIST : 0;
}

static int fake_zero(struct source *source, unsigned long addr, bool write)
{
	struct fake_source *fake = to_fake(source);
	unsigned long len = PAGE_SIZE;
	long err = begin(fake, FAKE_OP_ZERO, addr, &len, write);

	if (!err)
		err = check_place(fake, addr);
	if (!err)
		memset((void *)addr, 0, PAGE_SIZE);
	return (int)err;
}

static int fake_protect(struct source *source, unsigned long start,
			unsigned long end, bool on)
{
	struct fake_source *fake = to_fake(source);
	unsigned long len = end - start, addr;
	long err = begin(fake, FAKE_OP_PROTECT, start, &len, on);
	unsigned char *flags;

	if (!err && is_changing(fake))
		err = -EAGAIN;
	for (addr = start; addr < end && !err; addr += PAGE_SIZE) {
		flags = flags_at(fake, addr);
		if (!flags || (*flags & FAKE_UNMAPPED))
			return -ENOENT;
		*flags = (unsigned char)(*flags & ~FAKE_PROTECTED);
		*flags |= on ? FAKE_PROTECTED : 0;
	}
	return (int)err;
}

/* Put pages there, from @from, which loses them if @move. */
static long put_pages(struct fake_source *fake, unsigned long to,
		      unsigned long from, unsigned long len, bool move)
{
	unsigned long done;
	long err = 0;

	for (done = 0; done < len && !err; done += PAGE_SIZE) {
		err = check_place(fake, to + done);
		if (!err && move && !fake_present(from + done))
			err = -ENOENT;
		if (err)
			break;
		memcpy((void *)(to + done), (void *)(from + done), PAGE_SIZE);
		if (move)
			drop(from + done, 1);
	}
	return done ? (long)done : err;
}

static long fake_copy(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	struct fake_source *fake = to_fake(source);
	long err = begin(fake, FAKE_OP_COPY, to, &len, 0);

	return err ? err : put_pages(fake, to, from, len, false);
}

static long fake_move(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	struct fake_source *fake = to_fake(source);
	long err = begin(fake, FAKE_OP_MOVE, to, &len, 0);

	return err ? err : put_pages(fake, to, from, len, true);
}

static long fake_take(struct source *source, unsigned long to,
		      unsigned long from, unsigned long len)
{
	struct fake_source *fake = to_fake(source);
	long err = begin(fake, FAKE_OP_TAKE, from, &len, 0);
	unsigned long done;

	if (err)
		return err;
	if (is_changing(fake))
		return -EAGAIN;
	for (done = 0; done < len; done += PAGE_SIZE) {
		if (!fake_present(from + done))
			continue;
		if (fake_present(to + done))
			return done ? (long)done : -EEXIST;
		memcpy((void *)(to + done), (void *)(from + done), PAGE_SIZE);
		drop(from + done, 1);
	}
	return (long)len;
}

/* One page touched must not bring its neighbours. */
static int fake_stage(struct source *source, unsigned long start,
		      unsigned long end)
{
	unsigned long len = end - start;

	madvise((void *)start, len, MADV_NOHUGEPAGE);
	return (int)begin(to_fake(source), FAKE_OP_STAGE, start, &len, 0);
}

static int fake_empty(struct source *source, unsigned long start,
		      unsigned long end)
{
	unsigned long len = end - start;
	long err = begin(to_fake(source), FAKE_OP_EMPTY, start, &len, 0);

	if (!err)
		drop(start, len >> PAGE_SHIFT);
	return (int)err;
}

static long fake_fill_op(struct source *source, unsigned long to,
			 unsigned long len)
{
	long err = begin(to_fake(source), FAKE_OP_FILL, to, &len, 0);
	unsigned long done;

	if (err)
		return err;
	for (done = 0; done < len; done += PAGE_SIZE) {
		if (fake_present(to + done))
			return done ? (long)done : -EEXIST;
		memset((void *)(to + done), 0, PAGE_SIZE);
	}
	return (long)len;
}

static long fake_child_copy(struct source *source, int child_fd,
			    unsigned long to, unsigned long from,
			    unsigned long len)
{
	struct fake_source *fake = to_fake(source);
	long err = begin(fake, FAKE_OP_CHILD_COPY, to, &len, child_fd);
	unsigned long i, done;

	for (done = 0; done < len && !err; done += PAGE_SIZE) {
		i = (to + done - fake->start) >> PAGE_SHIFT;
		if (i >= fake->npages)
			return -ENOENT;
		if (fake->child_has[i])
			return -EEXIST;
		fake->child_has[i] = true;
		memcpy(fake->child + (i << PAGE_SHIFT), (void *)(from + done),
		       PAGE_SIZE);
	}
	return err ? err : (long)len;
}

const struct source_ops fake_source_ops = {
	.name = "fake",
	.close = fake_close,
	.read = fake_read,
	.watch = fake_watch,
	.trap = fake_trap,
	.settled = fake_settled,
	.wake = fake_wake,
	.zero = fake_zero,
	.protect = fake_protect,
	.copy = fake_copy,
	.move = fake_move,
	.take = fake_take,
	.stage = fake_stage,
	.empty = fake_empty,
	.fill = fake_fill_op,
	.child_copy = fake_child_copy,
};
