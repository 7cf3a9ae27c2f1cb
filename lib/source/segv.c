/* SPDX-License-Identifier: MIT */
/* SIGSEGV as a source of faults: see segv.h. */
#include "segv.h"

#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <signal.h>

#include "compiler.h"
#include "front.h"
#include "page_size.h"
#include "park.h"
#include "sys.h"
#include "trapped.h"

/* Faults that are not read yet. */
#define QUEUE 256

static bool serve(const siginfo_t *info, void *context);

static struct front front = FRONT_INIT(SIGSEGV, 0, serve);

/**
 * struct queue - Who waits
 * @lock: Protects the following; nobody who holds it is interrupted
 * @events: A ring
 * @first: The oldest
 * @n: How many
 * @fd: eventfd
 */
static struct {
	pthread_mutex_t lock;
	struct source_event events[QUEUE];
	unsigned int first;
	unsigned int n;
	int fd;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Not even a SIGSEGV that somebody sends, which would wait for it. */
static void lock_queue(unsigned long *mask)
{
	gpusvm_sys_block_all_signals(mask);
	pthread_mutex_lock(&queue.lock);
}

static void unlock_queue(const unsigned long *mask)
{
	pthread_mutex_unlock(&queue.lock);
	gpusvm_sys_restore_signals(mask);
}

static bool push(unsigned long addr, bool write, pid_t tid)
{
	unsigned long mask;
	bool pushed;

	lock_queue(&mask);
	pushed = queue.n < QUEUE;
	if (pushed)
		queue.events[(queue.first + queue.n++) % QUEUE] =
			(struct source_event){
				.type = SOURCE_FAULT,
				.write = write,
				.start = PAGE_ALIGN_DOWN(addr),
				.end = PAGE_ALIGN_DOWN(addr) + PAGE_SIZE,
				.tid = tid,
				.child_fd = -1,
			};
	unlock_queue(&mask);
	return pushed;
}

/*
 * A thread that goes on does not wait any more: what it does next may be to
 * migrate that very page, and it must not be taken to wait for itself.
 */
static void withdraw(pid_t tid)
{
	struct source_event *event;
	unsigned long mask;
	unsigned int i;

	lock_queue(&mask);
	for (i = 0; i < queue.n; i++) {
		event = &queue.events[(queue.first + i) % QUEUE];
		if (event->tid == tid)
			event->tid = 0;
	}
	unlock_queue(&mask);
}

int gpusvm_segv_read(struct source_event *events, int most)
{
	unsigned long mask;
	int n = 0;

	lock_queue(&mask);
	for (; queue.n && n < most; queue.n--) {
		events[n] = queue.events[queue.first];
		queue.first = (queue.first + 1) % QUEUE;
		n += events[n].tid != 0;
	}
	unlock_queue(&mask);
	return n;
}

/*
 * The word was @seen before the page was found to be trapped: if it came home
 * since then, the word is another one.
 */
static void wait_for_page(unsigned long addr, unsigned int seen, bool write)
{
	pid_t tid = gpusvm_sys_gettid();
	unsigned long one = 1;
	bool pushed = push(addr, write, tid);

	gpusvm_sys_write(queue.fd, &one, sizeof(one));
	if (!pushed) {
		gpusvm_sys_yield();
		return;
	}
	gpusvm_park_wait(addr, seen);
	withdraw(tid);
}

static bool serve(const siginfo_t *info, void *context)
{
	unsigned long addr = (unsigned long)info->si_addr;
	unsigned int seen;

	/*
	 * A copy of the process has our handler, but nobody who serves.  When
	 * the source has been closed all is home, and who was on his way here
	 * goes back once.
	 */
	if (info->si_code != SEGV_ACCERR || front.pid != gpusvm_sys_getpid())
		return false;
	seen = gpusvm_park_look(addr);
	switch (gpusvm_trapped_judge(addr, gpusvm_sys_gettid())) {
	case TRAPPED_OURS:
		/* The word changes after this does. */
		if (!READ_ONCE(front.installed))
			return false;
		wait_for_page(addr, seen, gpusvm_front_is_write(context));
		return true;
	case TRAPPED_AGAIN:
		return true;
	case TRAPPED_NOT_OURS:
		break;
	}
	return false;
}

int gpusvm_segv_start(int fd)
{
	queue.fd = fd;
	queue.first = 0;
	queue.n = 0;
	return gpusvm_front_start(&front);
}

void gpusvm_segv_stop(void)
{
	/* In a child another thread of the parent may have held it. */
	if (front.pid != gpusvm_sys_getpid())
		pthread_mutex_init(&queue.lock, NULL);
	gpusvm_front_stop(&front);
	gpusvm_park_wake(0, ~0ul);
}
