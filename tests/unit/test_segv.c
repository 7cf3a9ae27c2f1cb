/* SPDX-License-Identifier: MIT */
/*
 * The handler of SIGSEGV, called as the kernel would: what it puts in the queue,
 * what it passes on, what becomes of the program's action.  The kernel's part is
 * played by the fake.
 */
#include "unit.h"
#include "unit_signal.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "fake_sys.h"
#include "front.h"
#include "page_size.h"
#include "park.h"
#include "segv.h"
#include "sys.h"
#include "trapped.h"

#define BASE (1ul << 30)

/* The action that the kernel has. */
static struct sys_action kernel_action;
static unsigned int queued;

static bool play_sigaction(const unsigned long *args, long *ret)
{
	const struct sys_action *action = (const void *)args[1];
	struct sys_action *old = (void *)args[2];

	assert_int_equal(args[0], SIGSEGV);
	if (old)
		*old = kernel_action;
	if (action)
		kernel_action = *action;
	*ret = 0;
	return true;
}

static bool play_queue(const unsigned long *args, long *ret)
{
	(void)args;
	queued++;
	*ret = 0;
	return true;
}

/* The eventfd becomes readable: the page comes home at once. */
static struct source_event told[SOURCE_BATCH];
static int ntold;
static bool reads;

static bool play_write(const unsigned long *args, long *ret)
{
	if (reads)
		ntold = gpusvm_segv_read(told, SOURCE_BATCH);
	gpusvm_trapped_forget(BASE, BASE + (16ul << PAGE_SHIFT));
	gpusvm_park_wake(BASE, BASE + (16ul << PAGE_SHIFT));
	*ret = (long)args[2];
	return true;
}

/* But for the allocator's own. */
static bool play_mprotect(const unsigned long *args, long *ret)
{
	*ret = 0;
	return args[0] >= BASE && args[0] < BASE + (16ul << PAGE_SHIFT);
}

static int calls;
static siginfo_t *seen_info;
static void *seen_context;
static unsigned long seen_mask;

static void program_info(int sig, siginfo_t *info, void *context)
{
	sigset_t mask;

	assert_int_equal(sig, SIGSEGV);
	calls++;
	seen_info = info;
	seen_context = context;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	memcpy(&seen_mask, &mask, sizeof(seen_mask));
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_SIGACTION, play_sigaction);
	fake_sys_hook(FAKE_SYS_QUEUE_SIGNAL, play_queue);
	fake_sys_hook(FAKE_SYS_WRITE, play_write);
	fake_sys_hook(FAKE_SYS_MPROTECT, play_mprotect);
	kernel_action = (struct sys_action){
		.handler = (void *)program_info,
		.flags = SA_SIGINFO,
		.mask = 1ul << (SIGUSR1 - 1),
	};
	calls = 0;
	queued = 0;
	ntold = 0;
	reads = true;
	gpusvm_trapped_reset(16, false);
	return 0;
}

static int teardown(void **state)
{
	struct source_event events[SOURCE_BATCH];

	(void)state;
	while (gpusvm_segv_read(events, SOURCE_BATCH))
		;
	gpusvm_segv_stop();
	gpusvm_trapped_reset(0, false);
	fake_sys_reset();
	return 0;
}

static void raise_fault(unsigned long addr, int code, bool write)
{
	unsigned long mask;
	siginfo_t info = { .si_signo = SIGSEGV, .si_code = code };
	ucontext_t context = { 0 };

	info.si_addr = (void *)addr;
	unit_tell_access(&context, write);
	gpusvm_sys_block_signals(&mask);
	gpusvm_sys_restore_signals(&mask);
	((void (*)(int, siginfo_t *, void *))kernel_action.handler)(
		SIGSEGV, &info, &context);
	/* The return from the signal. */
	gpusvm_sys_restore_signals(&mask);
}

static void trapped_page_is_put_in_the_queue(void **state)
{
	struct source_event events[SOURCE_BATCH];

	(void)state;
	assert_int_equal(gpusvm_segv_start(99), 0);
	assert_true(kernel_action.flags & SA_NODEFER);
	assert_true(kernel_action.flags & SA_ONSTACK);
	assert_int_equal(kernel_action.mask, 0);
	assert_int_equal(gpusvm_trapped_add(BASE, BASE + PAGE_SIZE, PROT_READ),
			 0);
	errno = 77;
	raise_fault(BASE + 123, SEGV_ACCERR, true);
	assert_int_equal(errno, 77);
	assert_int_equal(calls, 0);
	assert_int_equal(ntold, 1);
	assert_int_equal(told[0].type, SOURCE_FAULT);
	assert_int_equal(told[0].start, BASE);
	assert_int_equal(told[0].end, BASE + PAGE_SIZE);
	assert_int_equal(told[0].tid, gpusvm_sys_gettid());
#if UNIT_FRAME_TELLS
	assert_true(told[0].write);
#endif
	/* Who went on before it was read is not to be served. */
	reads = false;
	assert_int_equal(gpusvm_trapped_add(BASE, BASE + PAGE_SIZE, PROT_READ),
			 0);
	raise_fault(BASE + 123, SEGV_ACCERR, true);
	assert_int_equal(gpusvm_segv_read(events, SOURCE_BATCH), 0);
}

static bool blocked_at_restore;

static bool look_at_mask(const unsigned long *args, long *ret)
{
	sigset_t now;

	(void)args;
	(void)ret;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	blocked_at_restore = sigismember(&now, SIGUSR1) &&
			     sigismember(&now, SIGSEGV);
	return false;
}

/* Its handler would take the lock again. */
static void no_signal_comes_while_the_queue_is_locked(void **state)
{
	struct source_event events[SOURCE_BATCH];
	sigset_t now;

	(void)state;
	fake_sys_hook(FAKE_SYS_RESTORE_SIGNALS, look_at_mask);
	assert_int_equal(gpusvm_segv_read(events, SOURCE_BATCH), 0);
	assert_true(blocked_at_restore);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	assert_false(sigismember(&now, SIGSEGV));
}

/* Then nobody waits, and the access is made again. */
static void full_queue_is_no_end(void **state)
{
	unsigned int i;

	(void)state;
	reads = false;
	assert_int_equal(gpusvm_segv_start(99), 0);
	for (i = 0; i < 300; i++) {
		assert_int_equal(gpusvm_trapped_add(BASE, BASE + PAGE_SIZE,
						    PROT_READ),
				 0);
		raise_fault(BASE, SEGV_ACCERR, false);
	}
	assert_int_equal(calls, 0);
}

static void other_faults_are_the_programs(void **state)
{
	static const int codes[] = { SEGV_ACCERR, SEGV_MAPERR, SI_USER,
				     SI_TKILL };
	unsigned int i;

	(void)state;
	assert_int_equal(gpusvm_segv_start(99), 0);
	assert_int_equal(gpusvm_trapped_add(BASE, BASE + PAGE_SIZE, PROT_READ),
			 0);
	for (i = 0; i < 4; i++) {
		raise_fault(i ? BASE : BASE + PAGE_SIZE, codes[i], false);
		assert_int_equal(calls, i + 1);
		assert_non_null(seen_info);
		assert_non_null(seen_context);
	}
	/* As the program's mask wants it, and itself. */
	assert_true(seen_mask & (1ul << (SIGUSR1 - 1)));
	assert_true(seen_mask & (1ul << (SIGSEGV - 1)));
	assert_int_equal(queued, 0);
}

static void default_action_is_the_kernels(void **state)
{
	(void)state;
	kernel_action = (struct sys_action){ .handler = SIG_DFL };
	assert_int_equal(gpusvm_segv_start(99), 0);
	raise_fault(64, SEGV_MAPERR, false);
	assert_ptr_equal(kernel_action.handler, SIG_DFL);
	assert_int_equal(queued, 0);
	/* One that was sent would not come again. */
	assert_int_equal(gpusvm_segv_start(99), 0);
	raise_fault(0, SI_USER, false);
	assert_ptr_equal(kernel_action.handler, SIG_DFL);
	assert_int_equal(queued, 1);
}

static void ignored_is_ignored_only_if_sent(void **state)
{
	(void)state;
	kernel_action = (struct sys_action){ .handler = SIG_IGN };
	assert_int_equal(gpusvm_segv_start(99), 0);
	raise_fault(0, SI_USER, false);
	assert_ptr_not_equal(kernel_action.handler, SIG_DFL);
	assert_int_equal(queued, 0);
	raise_fault(64, SEGV_MAPERR, false);
	assert_ptr_equal(kernel_action.handler, SIG_DFL);
}

static void one_shot_handler_is_called_once(void **state)
{
	(void)state;
	kernel_action.flags |= SA_RESETHAND;
	assert_int_equal(gpusvm_segv_start(99), 0);
	raise_fault(64, SEGV_MAPERR, false);
	assert_int_equal(calls, 1);
	raise_fault(64, SEGV_MAPERR, false);
	assert_int_equal(calls, 1);
	assert_ptr_equal(kernel_action.handler, SIG_DFL);
}

static void exchanged_action_is_behind_us(void **state)
{
	struct sys_action mine = { .handler = SIG_IGN, .flags = SA_RESTART };
	struct sys_action old;

	(void)state;
	assert_false(gpusvm_front_exchange(SIGSEGV, &mine, &old));
	assert_int_equal(gpusvm_segv_start(99), 0);
	assert_true(gpusvm_front_exchange(SIGSEGV, NULL, &old));
	assert_ptr_equal(old.handler, (void *)program_info);
	assert_true(gpusvm_front_exchange(SIGSEGV, &mine, NULL));
	raise_fault(0, SI_USER, false);
	assert_int_equal(calls, 0);
	gpusvm_segv_stop();
	assert_ptr_equal(kernel_action.handler, SIG_IGN);
	assert_false(gpusvm_front_exchange(SIGSEGV, NULL, &old));
}

/* Who came later stays, and may still call us. */
static void later_action_is_left_alone(void **state)
{
	struct sys_action ours;

	(void)state;
	assert_int_equal(gpusvm_segv_start(99), 0);
	ours = kernel_action;
	kernel_action = (struct sys_action){ .handler = SIG_IGN };
	gpusvm_segv_stop();
	assert_ptr_equal(kernel_action.handler, SIG_IGN);
	kernel_action = ours;
	raise_fault(64, SEGV_ACCERR, false);
	assert_int_equal(calls, 1);
	kernel_action = (struct sys_action){ .handler = SIG_IGN };
}

/* The thread had the fault before all came home, and is here after that. */
static void fault_that_outlives_us_is_made_again(void **state)
{
	struct sys_action ours;

	(void)state;
	assert_int_equal(gpusvm_segv_start(99), 0);
	ours = kernel_action;
	assert_int_equal(gpusvm_trapped_add(BASE, BASE + PAGE_SIZE, PROT_READ),
			 0);
	gpusvm_segv_stop();
	gpusvm_trapped_reset(0, false);
	kernel_action = ours;
	raise_fault(BASE + 8, SEGV_ACCERR, false);
	assert_int_equal(calls, 0);
	raise_fault(BASE + 8, SEGV_ACCERR, false);
	assert_int_equal(calls, 1);
	kernel_action = (struct sys_action){ .handler = SIG_IGN };
}

static struct sys_action behind_later;
static int later_calls;

/* It passes on to what was there when it came: ours. */
static void later_info(int sig, siginfo_t *info, void *context)
{
	/* An endless recursion would end with this, rather than the stack. */
	assert_true(++later_calls < 10);
	((void (*)(int, siginfo_t *, void *))behind_later.handler)(sig, info,
								   context);
}

/* @later: it is asked, too. */
static void assert_program_asked_once(bool later)
{
	calls = later_calls = 0;
	raise_fault(64, SEGV_MAPERR, false);
	assert_int_equal(calls, 1);
	assert_int_equal(later_calls, later);
}

static void later_action_that_outlives_us_may_call_us(void **state)
{
	struct sys_action later = { .handler = (void *)later_info,
				    .flags = SA_SIGINFO };
	int i;

	(void)state;
	assert_int_equal(gpusvm_segv_start(99), 0);
	assert_program_asked_once(false);
	behind_later = kernel_action;
	kernel_action = later;
	assert_program_asked_once(true);
	for (i = 0; i < 3; i++) {
		gpusvm_segv_stop();
		assert_ptr_equal(kernel_action.handler, (void *)later_info);
		assert_program_asked_once(true);
		assert_int_equal(gpusvm_segv_start(99), 0);
		assert_ptr_not_equal(kernel_action.handler, (void *)later_info);
		assert_program_asked_once(true);
	}
	/* It goes, and leaves what it found. */
	gpusvm_segv_stop();
	kernel_action = behind_later;
	assert_program_asked_once(false);
	assert_int_equal(gpusvm_segv_start(99), 0);
	assert_program_asked_once(false);
}

static void kernel_refuses(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_SIGACTION, -EINVAL, 1);
	assert_int_equal(gpusvm_segv_start(99), -EINVAL);
	fake_sys_fail(FAKE_SYS_SIGACTION, -EINVAL, 2);
	assert_int_equal(gpusvm_segv_start(99), -EINVAL);
	assert_false(gpusvm_front_exchange(SIGSEGV, NULL, NULL));
}

#define segv_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		segv_test(trapped_page_is_put_in_the_queue),
		segv_test(no_signal_comes_while_the_queue_is_locked),
		segv_test(full_queue_is_no_end),
		segv_test(other_faults_are_the_programs),
		segv_test(default_action_is_the_kernels),
		segv_test(ignored_is_ignored_only_if_sent),
		segv_test(one_shot_handler_is_called_once),
		segv_test(exchanged_action_is_behind_us),
		segv_test(later_action_is_left_alone),
		segv_test(fault_that_outlives_us_is_made_again),
		segv_test(later_action_that_outlives_us_may_call_us),
		segv_test(kernel_refuses),
	};

	return cmocka_run_group_tests_name("segv", tests, NULL, NULL);
}
