/* SPDX-License-Identifier: MIT */
/*
 * What the tests of announced changes share: N pages on a device, a subscriber
 * to the program's memory, and a record of what happened in which order.
 *
 * In the record "U", "C" and "P" are callbacks by the kind of event, "s" is the
 * system call and "." the end of an event.
 */
#ifndef TESTS_UNIT_CHANGE_H
#define TESTS_UNIT_CHANGE_H

#include "unit_migration.h"

#include <gpusvm/hooks.h>
#include <pthread.h>
#include <signal.h>

#include "change.h"

#define N 8ul
#define FIRST 8ul
#define MAX_TOLD 64u

/* ---- The address space of this process is the test's ---- */

struct mm_struct *__real_gpusvm_mm_current(void);
struct mm_struct *__wrap_gpusvm_mm_current(void);

static struct mm_struct *current;
static bool current_is_real;

struct mm_struct *__wrap_gpusvm_mm_current(void)
{
	return current_is_real ? __real_gpusvm_mm_current() : current;
}

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

/* ---- Locks that a signal handler could come upon ---- */

int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
void __real_gpusvm_down_read(struct rw_semaphore *sem);
void __wrap_gpusvm_down_read(struct rw_semaphore *sem);

static bool watch_locks;
static unsigned int locks_taken, open_locks;

static inline bool signals_blocked(void)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, SIGUSR1) && !sigismember(&now, SIGSEGV);
}

static inline void note_lock(const void *lock)
{
	if (!watch_locks ||
	    (lock != &mm->pt_lock && lock != &mm->notifiers.lock &&
	     lock != &mm->event_lock && lock != &mm->alive_lock))
		return;
	locks_taken++;
	open_locks += !signals_blocked();
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
	note_lock(lock);
	return __real_pthread_mutex_lock(lock);
}

void __wrap_gpusvm_down_read(struct rw_semaphore *sem)
{
	note_lock(sem);
	__real_gpusvm_down_read(sem);
}

/* ---- The record ---- */

static char trace[256];
static struct mmu_notifier_range told[MAX_TOLD];
static unsigned int times_told;
static unsigned int told_with_signals;
static bool source_tells;
static struct mmu_interval_notifier subscription;

static inline void note(char c)
{
	size_t len = strlen(trace);

	if (len + 1 < sizeof(trace))
		trace[len] = c;
}

static inline bool note_invalidate(struct mmu_interval_notifier *notifier,
				   const struct mmu_notifier_range *range,
				   unsigned long cur_seq)
{
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	assert_true(times_told < MAX_TOLD);
	told[times_told++] = *range;
	told_with_signals += !source_tells && !signals_blocked();
	note("UCPpdRME"[range->event]);
	/* As callbacks do; the program's is not to change by that. */
	errno = ECANCELED;
	return true;
}

static const struct mmu_interval_notifier_ops note_ops = {
	.invalidate = note_invalidate,
};

void __real_gpusvm_notify_end(const struct mmu_notifier_range *range);
void __wrap_gpusvm_notify_end(const struct mmu_notifier_range *range);

static bool quiet;

void __wrap_gpusvm_notify_end(const struct mmu_notifier_range *range)
{
	if (!quiet)
		note('.');
	__real_gpusvm_notify_end(range);
}

static inline void forget_record(void)
{
	memset(trace, 0, sizeof(trace));
	times_told = 0;
}

/*
 * The kernel changes the mapping, as far as the fake knows, and tells; its
 * caller goes on when the event is read.
 */
static inline void tell(enum source_event_type type, unsigned long first,
			unsigned long n, unsigned long to)
{
	source_tells = true;
	if (type == SOURCE_UNMAP)
		fake_source_unmap(fake, first, n);
	else if (type == SOURCE_REMOVE)
		fake_source_remove(fake, first, n);
	else
		fake_source_remap(fake, first, n, to);
	settle();
	source_tells = false;
}

/* ---- System calls ---- */

static unsigned long sys_args[6];
static unsigned int sys_calls;
static long sys_results[4];
static void (*sys_during)(const unsigned long *args);

static inline bool on_sys(const unsigned long *args, long *ret)
{
	note('s');
	memcpy(sys_args, args, sizeof(sys_args));
	*ret = sys_results[min(sys_calls, 3u)];
	sys_calls++;
	if (sys_during)
		sys_during(args);
	return true;
}

/* The library maps memory itself. */
static inline bool on_sys_in_window(const unsigned long *args, long *ret)
{
	if (args[0] < fake_addr(fake, 0) - PAGE_SIZE ||
	    args[0] > fake_addr(fake, WINDOW))
		return false;
	return on_sys(args, ret);
}

static inline void sys_returns(long ret)
{
	unsigned int i;

	sys_calls = 0;
	for (i = 0; i < ARRAY_SIZE(sys_results); i++)
		sys_results[i] = ret;
}

/* ---- Life of a test ---- */

static size_t live_before;
static unsigned int log_warnings;

static inline void count_warnings(enum gpusvm_log_level level,
				  const char *message, void *priv)
{
	(void)message;
	(void)priv;
	log_warnings += level == GPUSVM_LOG_WARNING;
}

static inline void subscribe_window(void)
{
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &subscription, mm, fake->start,
				 WINDOW << PAGE_SHIFT, &note_ops),
			 0);
}

/* Pages FIRST ... are on the device. */
static inline int change_setup(void **state)
{
	(void)state;
	current_is_real = no_memory = watch_locks = quiet = source_tells =
		false;
	locks_taken = open_locks = log_warnings = told_with_signals = 0;
	sys_during = NULL;
	sys_returns(0);
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	current = mm;
	fake_fill(window(FIRST), N, 1);
	if (migrate_out(FIRST))
		return -1;
	subscribe_window();
	gpusvm_set_log(count_warnings, NULL, GPUSVM_LOG_WARNING);
	forget_record();
	live_before = gpusvm_alloc_live();
	return 0;
}

static inline int change_teardown(void **state)
{
	(void)state;
	watch_locks = false;
	assert_null(mm->changes);
	assert_int_equal(mm->notifiers.active, 0);
	assert_int_equal(mm->notifiers.seq & 1, 0);
	assert_int_equal(told_with_signals, 0);
	assert_false(signals_blocked());
	/* No section is left open. */
	gpusvm_change_subscribed();
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	gpusvm_mmu_interval_notifier_remove(&subscription);
	unmap_all();
	migration_teardown();
	return 0;
}

#define change_test(fn) \
	cmocka_unit_test_setup_teardown(fn, change_setup, change_teardown)

/* ---- Assertions ---- */

static inline void assert_told(unsigned int i, enum mmu_notifier_event event,
			       unsigned long first, unsigned long n)
{
	assert_true(i < times_told);
	assert_int_equal(told[i].event, event);
	assert_int_equal(told[i].start, fake_addr(fake, first));
	assert_int_equal(told[i].end, fake_addr(fake, first + n));
	assert_int_equal(told[i].flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	assert_ptr_equal(told[i].mm, mm);
}

/* Of the device's pages [first, first + n) are free and the others in use. */
static inline void assert_freed(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < N; i++)
		assert_int_equal(gpusvm_page_refs(device_page(i)),
				 i < first || i >= first + n);
	assert_int_equal(owner.refs, 1 + N - n);
	assert_int_equal(mm->pt.npages, N - n);
}

static inline size_t bytes(unsigned long npages)
{
	return npages << PAGE_SHIFT;
}

/* ---- Tests of the hooks ---- */

static inline int hooks_setup(void **state)
{
	int err = change_setup(state);

	fake_sys_hook(FAKE_SYS_MUNMAP, on_sys_in_window);
	fake_sys_hook(FAKE_SYS_MMAP, on_sys_in_window);
	fake_sys_hook(FAKE_SYS_MPROTECT, on_sys_in_window);
	fake_sys_hook(FAKE_SYS_MADVISE, on_sys_in_window);
	fake_sys_hook(FAKE_SYS_PKEY_MPROTECT, on_sys);
	fake_sys_hook(FAKE_SYS_MREMAP, on_sys);
	errno = 0;
	return err;
}

#define hook_test(fn) \
	cmocka_unit_test_setup_teardown(fn, hooks_setup, change_teardown)

static inline void assert_args(unsigned long a, unsigned long b,
			       unsigned long c, unsigned long d,
			       unsigned long e)
{
	const unsigned long args[] = { a, b, c, d, e };

	assert_memory_equal(sys_args, args, sizeof(args));
}

#endif /* TESTS_UNIT_CHANGE_H */
