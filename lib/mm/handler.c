/* SPDX-License-Identifier: MIT */
/* The threads that serve faults and events: see handler.h. */
#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "alloc.h"
#include "compiler.h"
#include "cpu_fault.h"
#include "drop.h"
#include "events.h"
#include "in_thread.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "probe.h"
#include "sys.h"
#include "thread_start.h"
#include "threads.h"

/* Room for a driver's callbacks. */
#define STACK_SIZE (1ul << 20)

static bool push_job(struct handler *handler, const struct job *job)
{
	bool pushed;

	pthread_mutex_lock(&handler->lock);
	pushed = handler->njobs < HANDLER_JOBS;
	if (pushed)
		handler->jobs[(handler->first + handler->njobs++) %
			      HANDLER_JOBS] = *job;
	pthread_mutex_unlock(&handler->lock);
	return pushed;
}

static void signal_fd(int fd)
{
	unsigned long one = 1;

	gpusvm_sys_write(fd, &one, sizeof(one));
}

static void wake_handlers(struct handler *handler)
{
	signal_fd(handler->wake_fd);
}

/* Whether nobody reads who is not a spare; with the lock. */
static bool needs_spare(const struct handler *handler)
{
	return handler->working >= handler->nreaders;
}

/* Spares, too, if they are what reads now. */
static void wake_all_handlers(struct handler *handler)
{
	bool spares;

	pthread_mutex_lock(&handler->lock);
	spares = needs_spare(handler);
	pthread_mutex_unlock(&handler->lock);
	wake_handlers(handler);
	if (spares)
		signal_fd(handler->spare_fd);
}

/*
 * Take a job, if there is one and another thread is left to read; @done says
 * that the one before is.  What stays in the queue is for others, who may be
 * asleep: this job may take its time.
 */
static bool take_job(struct handler *handler, struct job *job, bool done)
{
	bool taken, more, alone = false;

	pthread_mutex_lock(&handler->lock);
	handler->working -= done;
	taken = handler->njobs && handler->working + 1 < handler->nthreads;
	if (taken) {
		*job = handler->jobs[handler->first];
		handler->first = (handler->first + 1) % HANDLER_JOBS;
		handler->njobs--;
		handler->working++;
		handler->taken++;
		alone = handler->spares_asleep && needs_spare(handler);
	}
	more = taken && handler->njobs;
	pthread_mutex_unlock(&handler->lock);
	if (more)
		wake_handlers(handler);
	if (alone)
		signal_fd(handler->spare_fd);
	return taken;
}

unsigned int gpusvm_handler_count(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->lock);
	epoch = handler->epoch;
	handler->in_epoch[epoch]++;
	pthread_mutex_unlock(&handler->lock);
	return epoch;
}

void gpusvm_handler_finish(struct mm_struct *mm, struct applied_event *applied,
			   unsigned int epoch)
{
	struct handler *handler = mm->handler;

	gpusvm_event_finish(mm, applied);
	pthread_mutex_lock(&handler->lock);
	if (!--handler->in_epoch[epoch])
		pthread_cond_broadcast(&handler->done);
	pthread_mutex_unlock(&handler->lock);
}

void gpusvm_handler_wait(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int epoch;

	pthread_mutex_lock(&handler->wait_lock);
	/* Whoever has read an event has counted it when this is free. */
	gpusvm_down_write(&mm->event_lock);
	pthread_mutex_lock(&handler->lock);
	epoch = handler->epoch;
	handler->epoch = !epoch;
	gpusvm_up_write(&mm->event_lock);
	while (handler->in_epoch[epoch])
		pthread_cond_wait(&handler->done, &handler->lock);
	pthread_mutex_unlock(&handler->lock);
	pthread_mutex_unlock(&handler->wait_lock);
}

/* Apply an event, and make the rest of it a job; under event_lock. */
static void apply_event(struct mm_struct *mm, const struct source_event *event,
			struct job *job)
{
	*job = (struct job){ .ops = NULL };
	gpusvm_event_apply(mm, event, &job->applied);
	job->epoch = gpusvm_handler_count(mm);
}

/*
 * Read one batch and apply its events to the table before anybody else can
 * read the next ones, so in their order; faults that a read returns ahead of
 * older events find the events applied.  *@nfaults faults are left in @events.
 * Returns how much there was.
 */
static int read_batch(struct mm_struct *mm, struct source_event *events,
		      int *nfaults)
{
	struct job jobs[SOURCE_BATCH];
	int i, n, most, njobs = 0;

	*nfaults = 0;
	gpusvm_down_write(&mm->event_lock);
	most = gpusvm_drop_follow(mm) ? 1 : SOURCE_BATCH;
	n = mm->source->ops->read(mm->source, events, most);
	for (i = 0; i < n; i++) {
		if (events[i].type == SOURCE_FAULT)
			events[(*nfaults)++] = events[i];
		else
			apply_event(mm, &events[i], &jobs[njobs++]);
	}
	gpusvm_up_write(&mm->event_lock);

	/* A full queue is no reason to forget an event. */
	for (i = 0; i < njobs; i++)
		if (!push_job(mm->handler, &jobs[i]))
			gpusvm_handler_finish(mm, &jobs[i].applied,
					      jobs[i].epoch);
	return n;
}

void gpusvm_handler_wake(struct mm_struct *mm)
{
	wake_handlers(mm->handler);
}

/*
 * The earlier of both; 0 stands for never.  The caller may be a spare, which
 * does not wait for that time: a reader has to.
 */
void gpusvm_handler_retry_at(struct mm_struct *mm, unsigned long ns)
{
	struct handler *handler = mm->handler;
	unsigned long old = READ_ONCE(handler->retry_ns);

	while (!old || ns < old) {
		if (__atomic_compare_exchange_n(&handler->retry_ns, &old, ns,
						true, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			wake_handlers(handler);
			return;
		}
	}
}

/*
 * An access that cannot be served ends as the kernel's would, and the next one
 * tries again.  One in a system call tries on until the copy works or the
 * process is killed: signals do not end it.
 */
static void fail(struct mm_struct *mm, const struct source_event *fault)
{
	gpusvm_sys_send_sigbus(fault->tid, fault->start);
	gpusvm_mm_wake_all(mm);
}

static void do_job(struct mm_struct *mm, struct job *job)
{
	if (!job->ops)
		gpusvm_handler_finish(mm, &job->applied, job->epoch);
	else if (gpusvm_cpu_fault_migrate(mm, job) == FAULT_FAILED)
		fail(mm, &job->fault);
}

static void do_jobs(struct mm_struct *mm)
{
	bool done = false;
	struct job job;

	while (take_job(mm->handler, &job, done)) {
		do_job(mm, &job);
		done = true;
	}
}

/* How soon a fault that found the queue full is retried. */
#define FULL_RETRY_NS (1000ul * 1000)

static void queue_fault(struct mm_struct *mm, struct job *job)
{
	if (push_job(mm->handler, job))
		return;
	job->ops->put(job->zone_device_data, 1);
	gpusvm_handler_retry_at(mm, gpusvm_sys_now_ns() + FULL_RETRY_NS);
}

void gpusvm_handler_give(struct mm_struct *mm, struct job *job)
{
	queue_fault(mm, job);
	wake_all_handlers(mm->handler);
}

static void serve_fault(struct mm_struct *mm, const struct source_event *fault)
{
	struct job job = { .fault = *fault };
	enum fault_result result;
	unsigned int attempt = 0;

	probe3(cpu_fault, fault->start, fault->write, fault->tid);
	while ((result = gpusvm_cpu_fault_look_up(mm, &job)) == FAULT_UNSETTLED)
		gpusvm_handler_settle(mm, attempt++);
	if (result == FAULT_JOB)
		queue_fault(mm, &job);
	else if (result == FAULT_FAILED)
		fail(mm, fault);
}

void gpusvm_handler_settle(struct mm_struct *mm, unsigned int attempt)
{
	struct source_event events[SOURCE_BATCH];
	bool found = false;
	int i, nfaults;

	while (read_batch(mm, events, &nfaults)) {
		for (i = 0; i < nfaults; i++)
			gpusvm_cpu_fault_wake(mm, events[i].start);
		found = true;
	}
	if (found)
		wake_all_handlers(mm->handler);
	/* The originator of an event has to run before the source settles. */
	gpusvm_threads_give_way(attempt);
}

void gpusvm_handler_wait_settled(struct mm_struct *mm)
{
	struct source *source = mm->source;
	unsigned int attempt = 0;

	while (source->ops->settled(source))
		gpusvm_handler_settle(mm, attempt++);
}

/* What is left after a batch that was not full makes poll() return at once. */
static void serve(struct mm_struct *mm)
{
	struct source_event events[SOURCE_BATCH];
	int i, nfaults, n;

	do {
		n = read_batch(mm, events, &nfaults);
		for (i = 0; i < nfaults; i++)
			serve_fault(mm, &events[i]);
		do_jobs(mm);
	} while (n == SOURCE_BATCH);
}

/* Nanoseconds until faults are to be retried; -1 for never. */
static long retry_timeout(struct mm_struct *mm)
{
	unsigned long at = READ_ONCE(mm->handler->retry_ns);
	unsigned long check_ns = gpusvm_watchdog_check_ns(mm);
	unsigned long now, first;

	if (!at && !check_ns)
		return -1;
	now = gpusvm_sys_now_ns();
	first = at && (!check_ns || at < check_ns) ? at : check_ns;
	if (now < first)
		return (long)(first - now);
	if (check_ns && now >= check_ns)
		gpusvm_watchdog_checked(mm);
	else if (!__atomic_compare_exchange_n(&mm->handler->retry_ns, &at, 0,
					      false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED))
		return 0;
	gpusvm_mm_wake_all(mm);
	return 0;
}

/*
 * A fault wakes the readers of all CPUs, and the one that is on the faulter's
 * should have it: two that read at once are in each other's way.  Most often
 * that is who served last, so the others give him a moment.  Returns whether it
 * is still there.
 */
static bool let_the_last_go_first(struct mm_struct *mm, const void *self)
{
	struct pollfd fd = { .fd = mm->source->fd, .events = POLLIN };

	if (READ_ONCE(mm->handler->last_reader) == self)
		return true;
	gpusvm_sys_yield();
	gpusvm_sys_poll(&fd, 1, 0);
	if (!fd.revents)
		return false;
	WRITE_ONCE(mm->handler->last_reader, self);
	return true;
}

/*
 * Wait for something to read, for time to retry, or for the eventfd @wake_fd.
 * @self is the same in every call of a thread, and of no other.
 */
static void wait_and_serve(struct mm_struct *mm, int wake_fd, const void *self)
{
	struct pollfd fds[] = {
		{ .fd = mm->source->fd, .events = POLLIN },
		{ .fd = wake_fd, .events = POLLIN },
	};
	unsigned long count;

	gpusvm_sys_poll(fds, ARRAY_SIZE(fds), retry_timeout(mm));
	/* The wake-up that tells to stop is for all. */
	if ((fds[1].revents & POLLIN) && !READ_ONCE(mm->handler->stop))
		gpusvm_sys_read(wake_fd, &count, sizeof(count));
	else if ((fds[0].revents & POLLIN) && !let_the_last_go_first(mm, self))
		return;
	serve(mm);
}

static void *reader_main(void *arg)
{
	struct mm_struct *mm = arg;

	gpusvm_in_thread_never(mm);
	serve(mm);
	while (!READ_ONCE(mm->handler->stop))
		wait_and_serve(mm, mm->handler->wake_fd, &mm);
	return NULL;
}

/*
 * How often a spare looks at the others while there is work, and how often
 * without any before it leaves it to them to wake it.
 */
#define LOOK_NS (1000l * 1000)
#define LOOKS 10u

/* Whether all others are at the jobs that they were at when @taken were. */
static bool is_needed(struct handler *handler, unsigned long taken)
{
	bool needed;

	pthread_mutex_lock(&handler->lock);
	needed = needs_spare(handler) && handler->taken == taken;
	pthread_mutex_unlock(&handler->lock);
	return needed;
}

/*
 * Sleep for a look's time, or until all others are at work if @long_sleep; or
 * until the stop.  Returns how many jobs had been taken before.
 */
static unsigned long spare_sleep(struct handler *handler, bool long_sleep)
{
	struct pollfd fd = { .fd = handler->spare_fd, .events = POLLIN };
	unsigned long count, taken;

	pthread_mutex_lock(&handler->lock);
	taken = handler->taken;
	long_sleep &= !needs_spare(handler);
	handler->spares_asleep += long_sleep;
	pthread_mutex_unlock(&handler->lock);
	gpusvm_sys_poll(&fd, 1, long_sleep ? -1 : LOOK_NS);
	if ((fd.revents & POLLIN) && !READ_ONCE(handler->stop))
		gpusvm_sys_read(handler->spare_fd, &count, sizeof(count));
	pthread_mutex_lock(&handler->lock);
	handler->spares_asleep -= long_sleep;
	pthread_mutex_unlock(&handler->lock);
	return taken;
}

/*
 * Reads only if the others are in callbacks for long, which may wait for a
 * fault: a thread more to wake would slow every other fault down.
 */
static void *spare_main(void *arg)
{
	struct mm_struct *mm = arg;
	struct handler *handler = mm->handler;
	unsigned long taken, last = 0;
	unsigned int quiet = 0;

	gpusvm_in_thread_never(mm);
	while (!READ_ONCE(handler->stop)) {
		taken = spare_sleep(handler, quiet >= LOOKS);
		quiet = taken == last ? quiet + 1 : 0;
		last = taken;
		while (is_needed(handler, taken) && !READ_ONCE(handler->stop))
			wait_and_serve(mm, handler->spare_fd, &mm);
	}
	return NULL;
}

struct handler *gpusvm_handler_create(void)
{
	struct handler *handler = gpusvm_alloc(sizeof(*handler));

	if (!handler)
		return NULL;
	handler->wake_fd = -1;
	pthread_mutex_init(&handler->lock, NULL);
	pthread_mutex_init(&handler->wait_lock, NULL);
	pthread_cond_init(&handler->done, NULL);
	return handler;
}

static int start_thread(struct mm_struct *mm, bool spare)
{
	struct handler *handler = mm->handler;
	unsigned int i = handler->nthreads;
	int err;

	err = gpusvm_thread_start(&handler->threads[i], &handler->stacks[i],
				  STACK_SIZE, spare ? spare_main : reader_main,
				  mm, "gpusvm-handler");
	if (err)
		return err;
	pthread_mutex_lock(&handler->lock);
	handler->nthreads++;
	handler->nreaders += !spare;
	pthread_mutex_unlock(&handler->lock);
	return 0;
}

/*
 * A reader on each CPU: a thread that touches a device page is served where it
 * was, and to wake a thread on another CPU takes several times as long.  Where
 * there are more CPUs than readers these go where the kernel puts them.
 */
static int start_readers(struct mm_struct *mm, unsigned int most)
{
	unsigned int cpus[HANDLER_READERS];
	unsigned int i, n, ncpus;
	int err = 0;

	ncpus = gpusvm_sys_cpus(cpus, HANDLER_READERS);
	n = min(ncpus, HANDLER_READERS);
	if (most)
		n = min(n, most);
	for (i = 0; i < n && !err; i++) {
		err = start_thread(mm, false);
		if (!err && n == ncpus)
			gpusvm_thread_pin(mm->handler->threads[i], cpus[i]);
	}
	return err;
}

int gpusvm_handler_start(struct mm_struct *mm, unsigned int most)
{
	struct handler *handler = mm->handler;
	int err;

	handler->wake_fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (handler->wake_fd < 0)
		return handler->wake_fd;
	handler->spare_fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (handler->spare_fd < 0) {
		gpusvm_sys_close(handler->wake_fd);
		return handler->spare_fd;
	}
	err = start_readers(mm, most);
	/* Two for jobs and one to read, at least. */
	do
		err = err ? err : start_thread(mm, true);
	while (!err && handler->nthreads < 3);
	if (err)
		gpusvm_handler_stop(mm);
	else
		gpusvm_in_thread_start(mm);
	return err;
}

void gpusvm_handler_stop(struct mm_struct *mm)
{
	struct handler *handler = mm->handler;
	unsigned int i, attempt = 0;

	WRITE_ONCE(handler->stop, true);
	/*
	 * One thread may take the wake-up that was for all, hence one for each
	 * look.  The end of a thread may unmap memory (a sanitizer's does), and
	 * waits until somebody has read the event: with the others gone, us.
	 */
	for (i = 0; i < handler->nthreads; i++) {
		while (pthread_tryjoin_np(handler->threads[i], NULL) == EBUSY) {
			wake_handlers(handler);
			signal_fd(handler->spare_fd);
			gpusvm_handler_settle(mm, attempt++);
		}
		gpusvm_free_pages(handler->stacks[i], STACK_SIZE);
	}
	gpusvm_in_thread_stop(mm);
	/* Room for whoever takes what they left. */
	handler->nthreads = 2;
	do_jobs(mm);
	handler->nthreads = 0;
	handler->nreaders = 0;
	gpusvm_sys_close(handler->spare_fd);
	gpusvm_sys_close(handler->wake_fd);
}
