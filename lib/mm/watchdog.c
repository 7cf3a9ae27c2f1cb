/* SPDX-License-Identifier: MIT */
/* Faults that wait too long: see watchdog.h. */
#include "watchdog.h"

#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "handler.h"
#include "log.h"
#include "mm.h"
#include "sys.h"

/* After that a thread that waits for itself is believed to. */
#define ITSELF_NS (200ul * 1000 * 1000)

void gpusvm_watchdog_init(struct watchdog *watchdog, unsigned long limit_ns)
{
	*watchdog = (struct watchdog){ .limit_ns = limit_ns };
	pthread_mutex_init(&watchdog->lock, NULL);
}

/* The thread's place, or a free one, or that of who has waited least. */
static struct watched *find_place(struct watchdog *watchdog, pid_t tid)
{
	struct watched *place, *best = watchdog->watched;

	for (place = watchdog->watched; place < watchdog->watched + WATCHED;
	     place++) {
		if (place->tid == tid)
			return place;
		if (best->tid &&
		    (!place->tid || place->since_ns > best->since_ns))
			best = place;
	}
	return best;
}

static const char *reason(enum fault_wait why)
{
	switch (why) {
	case WAIT_MIGRATION:
		return "its allocation is being migrated";
	case WAIT_COPY:
		return "the fence of its copy is not signalled";
	case WAIT_PAGE:
		return "the driver holds the page";
	default:
		return "a timeslice runs";
	}
}

/* True if the thread has waited too long by now, the first time. */
static bool note(struct watchdog *watchdog, pid_t tid, unsigned long addr,
		 bool itself, unsigned long now_ns, unsigned long *since_ns)
{
	struct watched *place = find_place(watchdog, tid);

	/* Who has not asked for so long was served, and this is a new fault. */
	if (place->tid != tid || place->addr != addr ||
	    now_ns - place->seen_ns > 2 * max(watchdog->limit_ns, ITSELF_NS))
		*place = (struct watched){
			.tid = tid,
			.addr = addr,
			.since_ns = now_ns,
		};
	place->seen_ns = now_ns;
	/* It may have waited for others before. */
	if (!itself || !place->itself_ns)
		place->itself_ns = itself ? now_ns : 0;
	*since_ns = itself ? place->itself_ns : place->since_ns;
	if (!watchdog->check_ns)
		WRITE_ONCE(watchdog->check_ns, now_ns + watchdog->limit_ns);
	/* Another look, for the same thread, may have been a moment later. */
	if (place->reported || now_ns < place->since_ns ||
	    now_ns - place->since_ns < watchdog->limit_ns)
		return false;
	place->reported = true;
	return true;
}

bool gpusvm_watchdog_waits(struct mm_struct *mm, pid_t tid, unsigned long addr,
			   enum fault_wait why, pid_t holder)
{
	struct watchdog *watchdog = &mm->watchdog;
	unsigned long since_ns, check_ns, now_ns = gpusvm_sys_now_ns();
	bool late, sooner, itself = tid == holder;

	if ((!watchdog->limit_ns && !itself) || !tid)
		return true;
	pthread_mutex_lock(&watchdog->lock);
	check_ns = watchdog->check_ns;
	late = note(watchdog, tid, addr, itself, now_ns, &since_ns);
	/* The message may be an old one, of a fault that was served since. */
	if (itself)
		WRITE_ONCE(watchdog->check_ns, now_ns + ITSELF_NS);
	sooner = !check_ns || watchdog->check_ns < check_ns;
	pthread_mutex_unlock(&watchdog->lock);
	/* Readers that sleep do so until the time that there was before. */
	if (sooner)
		gpusvm_handler_wake(mm);
	if (itself) {
		if (now_ns - since_ns < ITSELF_NS)
			return true;
		log_error("CPU fault at %#lx: thread %d itself migrates that "
			  "memory; keep its stack and what callbacks touch off "
			  "the devices (gpusvm_exclude())",
			  addr, (int)tid);
		return false;
	}
	if (late)
		log_warning("CPU fault at %#lx: thread %d has waited for %lu "
			    "ms: %s (thread %d)",
			    addr, (int)tid, (now_ns - since_ns) / 1000000,
			    reason(why), (int)holder);
	return true;
}

void gpusvm_watchdog_served(struct mm_struct *mm, unsigned long start,
			    unsigned long end)
{
	struct watchdog *watchdog = &mm->watchdog;
	struct watched *place;

	if (!gpusvm_watchdog_check_ns(mm))
		return;
	pthread_mutex_lock(&watchdog->lock);
	for (place = watchdog->watched; place < watchdog->watched + WATCHED;
	     place++)
		if (place->addr >= start && place->addr < end)
			place->tid = 0;
	pthread_mutex_unlock(&watchdog->lock);
}

unsigned long gpusvm_watchdog_check_ns(struct mm_struct *mm)
{
	return READ_ONCE(mm->watchdog.check_ns);
}

/* Who still waits will say so, and be looked at again after the limit. */
void gpusvm_watchdog_checked(struct mm_struct *mm)
{
	struct watchdog *watchdog = &mm->watchdog;

	pthread_mutex_lock(&watchdog->lock);
	WRITE_ONCE(watchdog->check_ns, 0);
	pthread_mutex_unlock(&watchdog->lock);
}
