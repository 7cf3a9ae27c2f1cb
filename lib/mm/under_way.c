/* SPDX-License-Identifier: MIT */
/*
 * Copies that complete by a fence: waited for within the call (migration.h), or
 * beyond it (under_way.h).
 */
#include "under_way.h"

#include <errno.h>
#include <linux/list.h>

#include "alloc.h"
#include "compiler.h"
#include "in_thread.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "sys.h"
#include "thread_start.h"

/* Room for a driver's callbacks. */
#define STACK_SIZE (1ul << 20)
#define NSEC_PER_SEC 1000000000ul

/* ---- Within the call ---- */

int gpusvm_migration_set_fence(struct migration *m, struct gpusvm_fence *fence)
{
	if (m->fence)
		return -EBUSY;
	gpusvm_fence_hold(fence);
	pthread_mutex_lock(&m->mm->pt_lock);
	m->fence = fence;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return 0;
}

/* The first page of it that is still mapped somewhere; under pt_lock. */
static unsigned long address_of(const struct migration *m)
{
	unsigned long i, vaddr = 0;

	for (i = 0; i < m->npages && !vaddr; i++)
		if (m->pages[i] && READ_ONCE(m->pages[i]->migration) == m)
			vaddr = m->pages[i]->vaddr;
	return vaddr;
}

static void report(const struct migration *m, unsigned long waited_ns)
{
	log_warning("copy of %#lx to %s: fence %p has not been signalled for "
		    "%lu ms",
		    address_of(m), m->to_device ? "a device" : "RAM",
		    (void *)m->fence, waited_ns / 1000000);
}

int gpusvm_migration_wait_copied(struct migration *m, int err)
{
	unsigned long limit_ns = m->mm->watchdog.limit_ns;
	struct gpusvm_fence *fence = m->fence;
	int result;

	if (!fence)
		return err;
	if (limit_ns &&
	    !gpusvm_fence_wait_until(fence, gpusvm_sys_now_ns() + limit_ns)) {
		pthread_mutex_lock(&m->mm->pt_lock);
		report(m, limit_ns);
		pthread_mutex_unlock(&m->mm->pt_lock);
	}
	result = gpusvm_fence_wait(fence);
	pthread_mutex_lock(&m->mm->pt_lock);
	m->fence = NULL;
	pthread_mutex_unlock(&m->mm->pt_lock);
	gpusvm_fence_release(fence);
	return err ? err : result;
}

/* ---- Beyond it ---- */

static struct migration *migration_of(struct under_way *u)
{
	return gpusvm_container_of(u, struct migration, under_way);
}

static void wake_thread(struct under_way_list *list)
{
	__atomic_fetch_add(&list->wake, 1, __ATOMIC_RELEASE);
	gpusvm_sys_futex_wake(&list->wake, 1);
}

/*
 * By who signals the fence, on any thread and in signal handlers.  Once it is on
 * the stack the migration may end and its memory go; the address space stays
 * until @signalling says that we have left.
 */
static void signalled(struct fence_callback *callback)
{
	struct under_way *u =
		gpusvm_container_of(callback, struct under_way, callback);
	struct under_way_list *list = &migration_of(u)->mm->under_way;

	u->next = __atomic_load_n(&list->signalled, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&list->signalled, &u->next, u, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	wake_thread(list);
	__atomic_fetch_sub(&list->signalling, 1, __ATOMIC_RELEASE);
}

/* All that was signalled, in that order. */
static struct under_way *take_signalled(struct under_way_list *list)
{
	struct under_way *u, *next, *first = NULL;

	for (u = __atomic_exchange_n(&list->signalled, NULL, __ATOMIC_ACQUIRE);
	     u; u = next) {
		next = u->next;
		u->next = first;
		first = u;
	}
	return first;
}

static void end_signalled(struct under_way_list *list)
{
	struct under_way *u, *next;

	for (u = take_signalled(list); u; u = next) {
		next = u->next;
		u->end(migration_of(u));
	}
}

/* Name what takes too long, once; true if there is something to look at later. */
static bool look_for_late_ones(struct mm_struct *mm)
{
	unsigned long waited_ns, now_ns = gpusvm_sys_now_ns();
	struct migration *m;
	struct under_way *u;
	bool more = false;

	pthread_mutex_lock(&mm->pt_lock);
	list_for_each_entry(u, &mm->under_way.all, entry) {
		m = migration_of(u);
		if (u->reported || !m->fence ||
		    gpusvm_fence_done(m->fence, NULL))
			continue;
		waited_ns = now_ns - u->since_ns;
		if (now_ns < u->since_ns || waited_ns < mm->watchdog.limit_ns) {
			more = true;
			continue;
		}
		u->reported = true;
		report(m, waited_ns);
	}
	mm->under_way.idle = !more;
	pthread_mutex_unlock(&mm->pt_lock);
	return more;
}

/* Something late is named after the limit, and before twice that. */
static void sleep_until_woken(struct mm_struct *mm, unsigned int seen)
{
	unsigned long limit_ns = mm->watchdog.limit_ns;
	const struct timespec limit = {
		.tv_sec = (time_t)(limit_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(limit_ns % NSEC_PER_SEC),
	};
	bool look = limit_ns && look_for_late_ones(mm);

	gpusvm_sys_futex_wait(&mm->under_way.wake, seen, look ? &limit : NULL);
}

static void *thread_main(void *arg)
{
	struct mm_struct *mm = arg;
	struct under_way_list *list = &mm->under_way;
	unsigned int seen;

	gpusvm_in_thread_never(mm);
	while (!READ_ONCE(list->stop)) {
		seen = __atomic_load_n(&list->wake, __ATOMIC_ACQUIRE);
		end_signalled(list);
		if (!READ_ONCE(list->stop))
			sleep_until_woken(mm, seen);
	}
	return NULL;
}

void gpusvm_under_way_init(struct mm_struct *mm)
{
	struct under_way_list *list = &mm->under_way;

	*list = (struct under_way_list){ .running = false };
	INIT_LIST_HEAD(&list->all);
	pthread_mutex_init(&list->lock, NULL);
}

int gpusvm_under_way_start(struct mm_struct *mm)
{
	struct under_way_list *list = &mm->under_way;
	int err = 0;

	pthread_mutex_lock(&list->lock);
	if (!list->running)
		err = gpusvm_thread_start(&list->thread, &list->stack,
					  STACK_SIZE, thread_main, mm,
					  "gpusvm-migrate");
	if (!err)
		list->running = true;
	pthread_mutex_unlock(&list->lock);
	return err;
}

void gpusvm_under_way_stop(struct mm_struct *mm)
{
	struct under_way_list *list = &mm->under_way;

	if (!list->running)
		return;
	WRITE_ONCE(list->stop, true);
	wake_thread(list);
	pthread_join(list->thread, NULL);
	gpusvm_free_pages(list->stack, STACK_SIZE);
	list->running = false;
	while (__atomic_load_n(&list->signalling, __ATOMIC_ACQUIRE))
		gpusvm_sys_yield();
}

void gpusvm_under_way_add(struct migration *m, void (*end)(struct migration *m))
{
	struct under_way *u = &m->under_way;
	struct mm_struct *mm = m->mm;
	struct under_way_list *list = &mm->under_way;
	bool idle;

	*u = (struct under_way){
		.callback.func = signalled,
		.since_ns = gpusvm_sys_now_ns(),
		.end = end,
	};
	pthread_mutex_lock(&mm->pt_lock);
	/* Nobody's own any more: who started it may wait for it. */
	m->tid = 0;
	idle = list->idle;
	list_add_tail(&u->entry, &list->all);
	pthread_mutex_unlock(&mm->pt_lock);
	__atomic_fetch_add(&list->signalling, 1, __ATOMIC_RELAXED);
	if (!gpusvm_fence_call(m->fence, &u->callback))
		signalled(&u->callback);
	/* It is to look at the time from now on. */
	if (idle)
		wake_thread(list);
}

void gpusvm_under_way_remove(struct migration *m)
{
	struct mm_struct *mm = m->mm;

	pthread_mutex_lock(&mm->pt_lock);
	list_del(&m->under_way.entry);
	pthread_cond_broadcast(&mm->migrated);
	pthread_mutex_unlock(&mm->pt_lock);
}

int gpusvm_under_way_wait(struct mm_struct *mm, unsigned long deadline_ns)
{
	const struct timespec at = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	int err = 0;

	pthread_mutex_lock(&mm->pt_lock);
	while (!list_empty(&mm->under_way.all) && !err) {
		if (deadline_ns == ~0ul)
			pthread_cond_wait(&mm->migrated, &mm->pt_lock);
		else if (pthread_cond_timedwait(&mm->migrated, &mm->pt_lock,
						&at))
			err = -EBUSY;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	return err;
}
