/* SPDX-License-Identifier: MIT */
/*
 * Faults that the thread that made them serves itself: what is done in it, what
 * is left to the handler, what is refused, and whose faults are not ours.
 */
#include "unit_handler.h"

#include "in_thread.h"
#include "nofault.h"
#include "sys.h"

/* ---- A source whose threads serve their faults ---- */

static struct source_ops ops;
static const struct fault_server *server;
static unsigned int ends;

static void take_server(struct source *source, const struct fault_server *s)
{
	(void)source;
	ends += !s;
	server = s;
}

/* ---- The owner of the pages ---- */

static enum vm_fault_result answer;
static pid_t served_by; /* atomic */

static enum vm_fault_result serve(struct vm_fault *vmf)
{
	struct page *page;

	__atomic_store_n(&served_by, gpusvm_sys_gettid(), __ATOMIC_RELEASE);
	assert_true(gpusvm_nofault_here());
	if (answer != VM_FAULT_DONE)
		return answer;
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_clear(&mm->pt, vmf->address);
	pthread_mutex_unlock(&mm->pt_lock);
	if (page)
		gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static int setup_without(void **state)
{
	(void)state;
	answer = VM_FAULT_DONE;
	server = NULL;
	served_by = 0;
	ends = 0;
	return handler_setup(serve);
}

static int setup(void **state)
{
	if (setup_without(state))
		return -1;
	ops = fake_source_ops;
	ops.serve = take_server;
	fake->source.ops = &ops;
	return gpusvm_handler_start(mm, 0);
}

static struct source_event describe_fault(unsigned long i)
{
	return (struct source_event){
		.type = SOURCE_FAULT,
		.untold = true,
		.start = fake_addr(fake, i),
		.end = fake_addr(fake, i + 1),
		.tid = gpusvm_sys_gettid(),
	};
}

static enum fault_result fault_at(unsigned long i, bool cramped)
{
	const struct source_event fault = describe_fault(i);

	return server->serve(server->arg, &fault, cramped);
}

/* ---- Tests ---- */

static void server_comes_and_goes_with_the_handler(void **state)
{
	(void)state;
	assert_non_null(server);
	gpusvm_handler_stop(mm);
	assert_null(server);
	assert_int_equal(ends, 1);
}

static void other_sources_have_none(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_handler_start(mm, 0), 0);
	assert_null(server);
	gpusvm_handler_stop(mm);
	assert_int_equal(ends, 0);
}

static void thread_brings_its_page_home(void **state)
{
	(void)state;
	assert_int_equal(fault_at(FIRST, false), FAULT_SERVED);
	assert_int_equal(served_by, gpusvm_sys_gettid());
	assert_int_equal(counter(&mm->stats.cpu_faults), 1);
	assert_false(gpusvm_nofault_here());
	assert_int_equal(owner.refs, (int)N);
}

static void cramped_thread_leaves_it_to_the_handler(void **state)
{
	(void)state;
	assert_int_equal(fault_at(FIRST, true), FAULT_WAITS);
	unit_wait_until(counter(&mm->stats.cpu_faults) == 1);
	assert_int_not_equal(__atomic_load_n(&served_by, __ATOMIC_ACQUIRE),
			     gpusvm_sys_gettid());
	assert_true(was_woken(FIRST));
}

/* The close waits for who is in the service, and nobody reads any more. */
static void cramped_thread_does_not_wait_for_the_end(void **state)
{
	const struct fault_server *last = server;
	const struct source_event fault = describe_fault(2);

	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 1000000,
						   .error = -EAGAIN });
	gpusvm_handler_stop(mm);
	assert_int_equal(last->serve(last->arg, &fault, true), FAULT_SERVED);
}

static void absent_page_is_zeros_if_it_is_ours(void **state)
{
	(void)state;
	/* The fake says no to what was not trapped: the library traps it. */
	assert_int_equal(fault_at(0, false), FAULT_SERVED);
	assert_true(fake_source_called(fake, FAKE_OP_TRAP, fake_addr(fake, 0)));
	assert_true(fake_present(fake_addr(fake, 0)));
	assert_int_equal(counter(&mm->stats.zero_faults), 1);
	/* It is there now, and whatever protected it goes. */
	assert_int_equal(fault_at(0, false), FAULT_PRESENT);
	assert_true(
		fake_source_called(fake, FAKE_OP_PROTECT, fake_addr(fake, 0)));
	assert_int_equal(owner.faults, 0);
}

static void what_cannot_be_trapped_is_none_of_ours(void **state)
{
	static const long errors[] = { -EINVAL, -EBUSY, -ENOMEM };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		fake_source_plan(fake, (struct fake_plan){
					       .op = FAKE_OP_TRAP,
					       .times = 1,
					       .error = errors[i],
				       });
		assert_int_equal(fault_at(1, false), FAULT_FAILED);
	}
	assert_int_equal(fake_source_count(fake, FAKE_OP_ZERO), 0);
	/* Beyond the end of shared memory. */
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 1,
						   .error = -EFAULT });
	assert_int_equal(fault_at(1, false), FAULT_FAILED);
	/* It has just gone: the next access tells. */
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 1,
						   .error = -ENOENT });
	assert_int_equal(fault_at(1, false), FAULT_PRESENT);
}

static void unsettled_source_is_asked_again(void **state)
{
	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 3,
						   .error = -EAGAIN });
	assert_int_equal(fault_at(2, false), FAULT_SERVED);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 3,
						   .error = -EAGAIN });
	assert_int_equal(fault_at(3, true), FAULT_SERVED);
}

static void held_page_is_waited_for(void **state)
{
	(void)state;
	answer = VM_FAULT_RETRY;
	assert_int_equal(fault_at(FIRST, false), FAULT_WAITS);
	answer = VM_FAULT_TIMESLICE;
	assert_int_equal(fault_at(FIRST, false), FAULT_WAITS);
	assert_false(gpusvm_nofault_here());
}

static bool no_signal(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = 0;
	return true;
}

/* The caller makes a signal of it, and not this. */
static void failing_page_is_told_and_others_go_on(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_SEND_SIGBUS, no_signal);
	answer = VM_FAULT_SIGBUS;
	assert_int_equal(fault_at(FIRST, false), FAULT_FAILED);
	assert_int_equal(fake_sys_calls(FAKE_SYS_SEND_SIGBUS), 0);
	assert_true(fake_source_count(fake, FAKE_OP_WAKE) > 0);
	/* Nobody but the handler can tell this one. */
	assert_int_equal(fault_at(FIRST, true), FAULT_WAITS);
	unit_wait_until(fake_sys_calls(FAKE_SYS_SEND_SIGBUS) == 1);
}

static char logged[512];

static void keep_log(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)priv;
	if (level == GPUSVM_LOG_ERROR)
		snprintf(logged, sizeof(logged), "%s", message);
}

static void fault_where_none_may_be_is_refused(void **state)
{
	int refs = owner.refs;

	(void)state;
	logged[0] = '\0';
	gpusvm_set_log(keep_log, NULL, GPUSVM_LOG_ERROR);
	gpusvm_nofault_enter();
	assert_int_equal(fault_at(FIRST, false), FAULT_FAILED);
	assert_non_null(strstr(logged, "in a callback"));
	assert_int_equal(owner.refs, refs);
	assert_int_equal(served_by, 0);
	/* What needs nobody's lock is served. */
	assert_int_equal(fault_at(4, false), FAULT_SERVED);
	gpusvm_nofault_leave();
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
}

#define in_thread_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, handler_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		in_thread_test(server_comes_and_goes_with_the_handler),
		cmocka_unit_test_setup_teardown(other_sources_have_none,
						setup_without,
						handler_teardown),
		in_thread_test(thread_brings_its_page_home),
		in_thread_test(cramped_thread_leaves_it_to_the_handler),
		in_thread_test(cramped_thread_does_not_wait_for_the_end),
		in_thread_test(absent_page_is_zeros_if_it_is_ours),
		in_thread_test(what_cannot_be_trapped_is_none_of_ours),
		in_thread_test(unsettled_source_is_asked_again),
		in_thread_test(held_page_is_waited_for),
		in_thread_test(failing_page_is_told_and_others_go_on),
		in_thread_test(fault_where_none_may_be_is_refused),
	};

	return cmocka_run_group_tests_name("in_thread", tests, NULL, NULL);
}
