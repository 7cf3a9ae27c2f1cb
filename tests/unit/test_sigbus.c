/* SPDX-License-Identifier: MIT */
/*
 * The handler of SIGBUS, called as the kernel would: what it asks the server
 * for, what it does with the answers, what it passes on, the end of the server
 * and of the source.  The kernel's part is played by the fake.
 */
#include "unit.h"
#include "unit_signal.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "alloc.h"
#include "fake_sys.h"
#include "front.h"
#include "page_size.h"
#include "park.h"
#include "sigbus.h"
#include "sys.h"

#define BASE (1ul << 30)

/* The action that the kernel has. */
static struct sys_action kernel_action;

static bool play_sigaction(const unsigned long *args, long *ret)
{
	const struct sys_action *action = (const void *)args[1];
	struct sys_action *old = (void *)args[2];

	assert_int_equal(args[0], SIGBUS);
	if (old)
		*old = kernel_action;
	if (action)
		kernel_action = *action;
	*ret = 0;
	return true;
}

static int calls;
static unsigned long seen_mask;

static void program_info(int sig, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)info;
	(void)context;
	assert_int_equal(sig, SIGBUS);
	calls++;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	memcpy(&seen_mask, &mask, sizeof(seen_mask));
}

static int naps;

static bool play_nap(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	naps++;
	return true;
}

static struct source_event asked;
static enum fault_result answer;
static bool was_cramped;
static int asks;
static int wrong_arg;

static enum fault_result serve(void *arg, const struct source_event *fault,
			       bool cramped)
{
	asks++;
	asked = *fault;
	was_cramped = cramped;
	if (arg != &wrong_arg)
		wrong_arg++;
	/* Whoever is waited for has just ended. */
	if (answer == FAULT_WAITS)
		gpusvm_park_wake(fault->start, fault->end);
	return answer;
}

static const struct fault_server server = { .serve = serve, .arg = &wrong_arg };

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_SIGACTION, play_sigaction);
	kernel_action = (struct sys_action){
		.handler = (void *)program_info,
		.flags = SA_SIGINFO,
		.mask = 1ul << (SIGUSR1 - 1),
	};
	calls = asks = naps = wrong_arg = 0;
	answer = FAULT_SERVED;
	return gpusvm_sigbus_start();
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_sigbus_serve(NULL);
	gpusvm_sigbus_stop();
	fake_sys_reset();
	return wrong_arg;
}

/* With an alternate stack that begins @below bytes below us, if not 0. */
static void raise_on(unsigned long addr, int code, bool write,
		     unsigned long below)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = code };
	ucontext_t context = { 0 };
	unsigned long mask;
	char here;

	info.si_addr = (void *)addr;
	if (below) {
		context.uc_stack.ss_sp = &here - below;
		context.uc_stack.ss_size = below + 4096;
	}
	unit_tell_access(&context, write);
	gpusvm_sys_block_signals(&mask);
	memcpy(&context.uc_sigmask, &mask, sizeof(mask));
	((void (*)(int, siginfo_t *, void *))kernel_action.handler)(
		SIGBUS, &info, &context);
	/* The return from the signal. */
	gpusvm_sys_restore_signals(&mask);
}

static void raise_fault(unsigned long addr)
{
	raise_on(addr, BUS_ADRERR, false, 0);
}

static void fault_is_served(void **state)
{
	(void)state;
	assert_true(kernel_action.flags & SA_NODEFER);
	assert_true(kernel_action.flags & SA_ONSTACK);
	assert_true(kernel_action.mask & (1ul << (SIGUSR2 - 1)));
	assert_false(kernel_action.mask & (1ul << (SIGBUS - 1)));
	assert_false(kernel_action.mask & (1ul << (SIGSEGV - 1)));
	gpusvm_sigbus_serve(&server);
	errno = 77;
	raise_on(BASE + 123, BUS_ADRERR, true, 0);
	assert_int_equal(errno, 77);
	assert_int_equal(calls, 0);
	assert_int_equal(asks, 1);
	assert_int_equal(asked.type, SOURCE_FAULT);
	assert_true(asked.untold);
	assert_int_equal(asked.start, BASE);
	assert_int_equal(asked.end, BASE + PAGE_SIZE);
	assert_int_equal(asked.tid, gpusvm_sys_gettid());
	assert_false(was_cramped);
#if UNIT_FRAME_TELLS
	assert_true(asked.write);
	raise_fault(BASE);
	assert_false(asked.write);
#endif
}

static void room_on_an_alternate_stack_is_told(void **state)
{
	(void)state;
	gpusvm_sigbus_serve(&server);
	raise_on(BASE, BUS_ADRERR, false, 32ul << 10);
	assert_true(was_cramped);
	/* The sanitizers' frames are larger than ours. */
	raise_on(BASE, BUS_ADRERR, false, 256ul << 10);
	assert_false(was_cramped);
}

static void other_signals_are_the_programs(void **state)
{
	void *own = gpusvm_alloc(64);
	int n = 0;

	(void)state;
	gpusvm_sigbus_serve(&server);
	raise_on(BASE, BUS_ADRALN, false, 0);
	assert_int_equal(calls, ++n);
	raise_on(BASE, BUS_MCEERR_AR, false, 0);
	assert_int_equal(calls, ++n);
	raise_on(BASE, SI_QUEUE, false, 0);
	assert_int_equal(calls, ++n);
	/* An absent page of staging would be filled. */
	raise_fault((unsigned long)own);
	assert_int_equal(calls, ++n);
	assert_int_equal(asks, 0);
	gpusvm_free(own);
	answer = FAULT_FAILED;
	raise_fault(BASE);
	assert_int_equal(calls, ++n);
	assert_int_equal(asks, 1);
}

/* And not all that was blocked for the service. */
static void program_has_the_mask_that_it_expects(void **state)
{
	(void)state;
	answer = FAULT_FAILED;
	gpusvm_sigbus_serve(&server);
	raise_fault(BASE);
	assert_int_equal(calls, 1);
	assert_true(seen_mask & (1ul << (SIGUSR1 - 1)));
	assert_true(seen_mask & (1ul << (SIGBUS - 1)));
	assert_false(seen_mask & (1ul << (SIGUSR2 - 1)));
}

/* The word has changed before it sleeps; or this would not return. */
static void waiting_thread_misses_no_wake(void **state)
{
	(void)state;
	answer = FAULT_WAITS;
	gpusvm_sigbus_serve(&server);
	raise_fault(BASE);
	assert_int_equal(calls, 0);
	assert_int_equal(asks, 1);
}

/* A page that is there and faults all the same is no business of ours. */
static void present_page_is_tried_some_times(void **state)
{
	int i;

	(void)state;
	answer = FAULT_PRESENT;
	gpusvm_sigbus_serve(&server);
	for (i = 0; i < 100000 && !calls; i++)
		raise_fault(BASE);
	assert_int_equal(calls, 1);
	assert_in_range(i, 100, 10000);
	/* Whatever else happens in between begins it anew. */
	calls = 0;
	for (i = 0; i < 100000; i++) {
		answer = i % 50 ? FAULT_PRESENT : FAULT_SERVED;
		raise_fault(BASE);
	}
	answer = FAULT_PRESENT;
	for (i = 0; i < 100000; i++)
		raise_fault(BASE + (i % 2) * PAGE_SIZE);
	assert_int_equal(calls, 0);
}

/* As of a thread that slept here while others closed and opened again. */
static void fault_before_the_server_waits_for_it(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_NANOSLEEP, play_nap);
	raise_fault(BASE);
	assert_int_equal(naps, 1);
	assert_int_equal(calls, 0);
	gpusvm_sigbus_serve(&server);
	raise_fault(BASE);
	assert_int_equal(naps, 1);
	assert_int_equal(asks, 1);
}

/* All is home, but pages that were dropped are trapped until the close. */
static void fault_after_the_server_waits_for_the_close(void **state)
{
	struct sys_action ours;

	(void)state;
	fake_sys_hook(FAKE_SYS_NANOSLEEP, play_nap);
	gpusvm_sigbus_serve(&server);
	gpusvm_sigbus_serve(NULL);
	raise_fault(BASE);
	assert_int_equal(naps, 1);
	ours = kernel_action;
	gpusvm_sigbus_stop();
	assert_ptr_equal(kernel_action.handler, (void *)program_info);
	/* It was on its way: the next would not come here. */
	kernel_action = ours;
	raise_fault(BASE);
	assert_int_equal(calls, 0);
	assert_int_equal(asks, 0);
	kernel_action = (struct sys_action){ .handler = SIG_IGN };
}

static bool inside, go_on;

static enum fault_result
serve_slowly(void *arg, const struct source_event *fault, bool cramped)
{
	(void)arg;
	(void)fault;
	(void)cramped;
	__atomic_store_n(&inside, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&go_on, __ATOMIC_SEQ_CST))
		sched_yield();
	__atomic_store_n(&inside, false, __ATOMIC_SEQ_CST);
	return FAULT_SERVED;
}

static const struct fault_server slow = { .serve = serve_slowly };

static void *fault_once(void *arg)
{
	(void)arg;
	raise_fault(BASE);
	return NULL;
}

/* Lets the thread go on when it is waited for. */
static bool play_waiting(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	__atomic_store_n(&go_on, true, __ATOMIC_SEQ_CST);
	return false;
}

static void end_waits_for_who_is_inside(void **state)
{
	pthread_t thread;

	(void)state;
	go_on = false;
	gpusvm_sigbus_serve(&slow);
	assert_int_equal(pthread_create(&thread, NULL, fault_once, NULL), 0);
	while (!__atomic_load_n(&inside, __ATOMIC_SEQ_CST))
		sched_yield();
	fake_sys_hook(FAKE_SYS_NANOSLEEP, play_waiting);
	gpusvm_sigbus_serve(NULL);
	assert_true(go_on);
	assert_false(inside);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void exchanged_action_is_behind_us(void **state)
{
	struct sys_action mine = { .handler = SIG_IGN }, old;

	(void)state;
	assert_true(gpusvm_front_exchange(SIGBUS, &mine, &old));
	assert_ptr_equal(old.handler, (void *)program_info);
	/* Of another signal we are not in front. */
	assert_false(gpusvm_front_exchange(SIGSEGV, NULL, &old));
	assert_false(gpusvm_front_exchange(0, NULL, &old));
	assert_false(gpusvm_front_exchange(100000, NULL, &old));
	gpusvm_sigbus_stop();
	assert_ptr_equal(kernel_action.handler, SIG_IGN);
	assert_false(gpusvm_front_exchange(SIGBUS, NULL, &old));
}

static void kernel_refuses(void **state)
{
	(void)state;
	gpusvm_sigbus_stop();
	fake_sys_fail(FAKE_SYS_SIGACTION, -EINVAL, 1);
	assert_int_equal(gpusvm_sigbus_start(), -EINVAL);
	fake_sys_fail(FAKE_SYS_SIGACTION, -EINVAL, 2);
	assert_int_equal(gpusvm_sigbus_start(), -EINVAL);
	assert_false(gpusvm_front_exchange(SIGBUS, NULL, NULL));
}

#define sigbus_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		sigbus_test(fault_is_served),
		sigbus_test(room_on_an_alternate_stack_is_told),
		sigbus_test(other_signals_are_the_programs),
		sigbus_test(program_has_the_mask_that_it_expects),
		sigbus_test(waiting_thread_misses_no_wake),
		sigbus_test(present_page_is_tried_some_times),
		sigbus_test(fault_before_the_server_waits_for_it),
		sigbus_test(fault_after_the_server_waits_for_the_close),
		sigbus_test(end_waits_for_who_is_inside),
		sigbus_test(exchanged_action_is_behind_us),
		sigbus_test(kernel_refuses),
	};

	return cmocka_run_group_tests_name("sigbus", tests, NULL, NULL);
}
