/* SPDX-License-Identifier: MIT */
/*
 * The fault handler: its threads come and go, and each kind of fault is served
 * as it must be, whatever the source says in between.
 *
 * The handler runs on threads of its own; the test pushes events and waits for
 * what follows.
 */
#include "unit_handler.h"

#include <dirent.h>
#include <fcntl.h>
#include <gpusvm/fence.h>

/* ---- Lack of memory and threads ---- */

void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);

static unsigned int fail_pages_in, fail_thread_in;

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	if (fail_pages_in && !--fail_pages_in)
		return NULL;
	return __real_gpusvm_alloc_pages(size, align);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	if (fail_thread_in && !--fail_thread_in)
		return EAGAIN;
	return __real_pthread_create(thread, attr, fn, arg);
}

/* ---- The owner of the pages ---- */

static enum vm_fault_result answer;
static unsigned int refuse;

/* On a handler thread. */
static enum vm_fault_result serve(struct vm_fault *vmf)
{
	struct page *page;

	if (__atomic_load_n(&refuse, __ATOMIC_RELAXED)) {
		__atomic_sub_fetch(&refuse, 1, __ATOMIC_RELAXED);
		if (answer != VM_FAULT_SIGBUS)
			vmf->retry_ns = 1; /* long ago: at once */
		return answer;
	}
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_clear(&mm->pt, vmf->address);
	pthread_mutex_unlock(&mm->pt_lock);
	if (page)
		gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static int setup_stopped(void **state)
{
	(void)state;
	fail_pages_in = 0;
	fail_thread_in = 0;
	refuse = 0;
	return handler_setup(serve);
}

static int setup(void **state)
{
	if (setup_stopped(state))
		return -1;
	return gpusvm_handler_start(mm, 0);
}

static unsigned int flags_of(unsigned long i)
{
	unsigned int flags;

	pthread_mutex_lock(&mm->pt_lock);
	flags = fake->flags[i];
	pthread_mutex_unlock(&mm->pt_lock);
	return flags;
}

static unsigned long count_entries(void)
{
	unsigned long n;

	pthread_mutex_lock(&mm->pt_lock);
	n = mm->pt.npages;
	pthread_mutex_unlock(&mm->pt_lock);
	return n;
}

static int refs_of_owner(void)
{
	return __atomic_load_n(&owner.refs, __ATOMIC_ACQUIRE);
}

/* ---- Threads ---- */

static bool is_handler(const char *tid)
{
	char path[300], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return !strcmp(name, "gpusvm-handler\n");
}

/* By name: sanitizers have threads of their own. */
static unsigned int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += is_handler(entry->d_name);
	closedir(dir);
	return n;
}

static void start_runs_at_least_three_threads(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_handler_start(mm, 0), 0);
	assert_in_range(mm->handler->nthreads, 3, HANDLER_MAX);
	assert_int_equal(count_threads(), mm->handler->nthreads);
	gpusvm_handler_stop(mm);
	assert_int_equal(mm->handler->nthreads, 0);
	unit_wait_until(count_threads() == 0);
	assert_int_equal(fcntl(mm->handler->wake_fd, F_GETFD), -1);
}

static void start_without_eventfd_returns_its_error(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_EVENTFD, -EMFILE, 1);
	assert_int_equal(gpusvm_handler_start(mm, 0), -EMFILE);
	assert_int_equal(mm->handler->nthreads, 0);
}

static void start_without_stack_stops_the_others(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n <= 2; n++) {
		fail_pages_in = n;
		mm->handler->stop = false;
		assert_int_equal(gpusvm_handler_start(mm, 0), -ENOMEM);
		assert_int_equal(mm->handler->nthreads, 0);
		unit_wait_until(count_threads() == 0);
	}
}

static void start_without_thread_stops_the_others(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n <= 2; n++) {
		fail_thread_in = n;
		mm->handler->stop = false;
		assert_int_equal(gpusvm_handler_start(mm, 0), -EAGAIN);
		assert_int_equal(mm->handler->nthreads, 0);
		unit_wait_until(count_threads() == 0);
	}
}

/* ---- Absent pages ---- */

static void fault_beside_device_pages_gets_zeros(void **state)
{
	(void)state;
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_TRAPPED;
	fake->flags[41] = FAKE_TRAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
	push_fault(40, false, false);
	push_fault(41, true, false);
	unit_wait_until(fake_present(fake_addr(fake, 40)) &&
			fake_present(fake_addr(fake, 41)));
	assert_int_equal(flags_of(40), FAKE_TRAPPED);
	assert_int_equal(count_entries(), N);
	unit_wait_until(counter(&mm->stats.zero_faults) == 2);
}

static void fault_at_a_page_that_came_meanwhile_is_woken(void **state)
{
	(void)state;
	memset(window(40), 1, 1);
	push_fault(40, false, false);
	unit_wait_until(was_woken(40));
	assert_int_equal(*(unsigned char *)window(40), 1);
}

static void fault_with_eagain_tries_again(void **state)
{
	(void)state;
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_TRAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .times = 20,
						   .error = -EAGAIN });
	push_fault(40, false, false);
	unit_wait_until(fake_present(fake_addr(fake, 40)));
	assert_int_equal(fake_source_count(fake, FAKE_OP_ZERO), 21);
}

static void fault_on_protected_page_lets_the_write_go(void **state)
{
	(void)state;
	memset(window(40), 1, 1);
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_WATCHED | FAKE_PROTECTED;
	fake->flags[41] = FAKE_WATCHED | FAKE_PROTECTED;
	pthread_mutex_unlock(&mm->pt_lock);
	push_fault(40, true, true);
	unit_wait_until(flags_of(40) == FAKE_WATCHED);
	assert_int_equal(flags_of(41), FAKE_WATCHED | FAKE_PROTECTED);
}

/* That wakes nobody by itself. */
static void fault_on_protected_page_that_has_gone_is_woken(void **state)
{
	(void)state;
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_UNMAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
	push_fault(40, true, true);
	unit_wait_until(was_woken(40));
}

/* ---- Device pages ---- */

static void fault_on_device_page_asks_its_owner(void **state)
{
	(void)state;
	push_fault(FIRST + 2, false, false);
	unit_wait_until(was_woken(FIRST + 2));
	unit_wait_until(counter(&mm->stats.cpu_faults) == 1);
	unit_wait_until(refs_of_owner() == 1 + (int)N - 1);
	assert_int_equal(__atomic_load_n(&owner.faults, __ATOMIC_RELAXED), 1);
	assert_int_equal(count_entries(), N - 1);
	assert_int_equal(counter(&mm->stats.zero_faults), 0);
}

/* The thread is let go to fault again, and then the page can come. */
static void check_retry(enum vm_fault_result result)
{
	answer = result;
	__atomic_store_n(&refuse, 1, __ATOMIC_RELAXED);
	push_fault(FIRST, false, false);
	/* Everybody is woken: the address is not known any more. */
	unit_wait_until(fake_source_called(fake, FAKE_OP_WAKE, 1ul << 20));
	unit_wait_until(refs_of_owner() == 1 + (int)N);
	assert_int_equal(count_entries(), N);
	push_fault(FIRST, false, false);
	unit_wait_until(count_entries() == N - 1);
	unit_wait_until(refs_of_owner() == 1 + (int)N - 1);
}

static void fault_to_be_retried_wakes_everybody_in_time(void **state)
{
	(void)state;
	check_retry(VM_FAULT_RETRY);
}

static void fault_in_timeslice_wakes_everybody_in_time(void **state)
{
	(void)state;
	check_retry(VM_FAULT_TIMESLICE);
}

static unsigned long sigbus_tid, sigbus_addr;

static bool note_sigbus(const unsigned long *args, long *ret)
{
	*ret = 0;
	__atomic_store_n(&sigbus_addr, args[1], __ATOMIC_RELAXED);
	__atomic_store_n(&sigbus_tid, args[0], __ATOMIC_RELEASE);
	return true;
}

static void fault_that_cannot_be_served_raises_sigbus(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_SEND_SIGBUS, note_sigbus);
	answer = VM_FAULT_SIGBUS;
	__atomic_store_n(&refuse, 1, __ATOMIC_RELAXED);
	push_fault(FIRST + 1, false, false);
	unit_wait_until(__atomic_load_n(&sigbus_tid, __ATOMIC_ACQUIRE));
	assert_int_equal(sigbus_tid, 4711);
	assert_int_equal(sigbus_addr, fake_addr(fake, FIRST + 1));
	/* Who waits with it asks again. */
	unit_wait_until(fake_source_called(fake, FAKE_OP_WAKE, 1ul << 20));
	unit_wait_until(refs_of_owner() == 1 + (int)N);
	assert_int_equal(count_entries(), N);
	/* The data is there, and comes with the next access. */
	push_fault(FIRST + 1, false, false);
	unit_wait_until(count_entries() == N - 1);
}

/* Who migrates it wakes the thread. */
static void fault_on_migrating_page_waits(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, WINDOW)),
			 N);
	push_fault(FIRST, false, false);
	push_fault(40, false, false); /* so that we know when it was seen */
	unit_wait_until(was_woken(40));
	assert_int_equal(__atomic_load_n(&owner.faults, __ATOMIC_RELAXED), 0);
	gpusvm_migrate_home_abort(&m);
	push_fault(FIRST, false, false);
	unit_wait_until(was_woken(FIRST));
}

/* The thread that faults is the one that takes the page to the device. */
static void set_migration(bool copying)
{
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_get(&mm->pt, fake_addr(fake, FIRST));
	page->migration = &m;
	m.to_device = true;
	m.copying = copying;
	m.tid = 4711;
	fake->flags[FIRST] = FAKE_TRAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
}

static void unset_migration(void)
{
	pthread_mutex_lock(&mm->pt_lock);
	gpusvm_devpt_get(&mm->pt, fake_addr(fake, FIRST))->migration = NULL;
	m.copying = false;
	m.tid = 0;
	pthread_mutex_unlock(&mm->pt_lock);
}

static bool is_disturbed(void)
{
	bool disturbed;

	pthread_mutex_lock(&mm->pt_lock);
	disturbed = m.disturbed;
	pthread_mutex_unlock(&mm->pt_lock);
	return disturbed;
}

/* It would wait for itself; what it copies has been dropped or replaced. */
static void fault_of_who_copies_the_page_gets_zeros(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_SEND_SIGBUS, note_sigbus);
	__atomic_store_n(&sigbus_tid, 0, __ATOMIC_RELAXED);
	set_migration(true);
	push_fault(FIRST, false, false);
	unit_wait_until(fake_present(fake_addr(fake, FIRST)));
	unit_wait_until(is_disturbed());
	assert_int_equal(__atomic_load_n(&sigbus_tid, __ATOMIC_RELAXED), 0);
	unset_migration();
}

/* What a thread does that was woken, and finds no page. */
static void fault_again(unsigned long i)
{
	bool served;

	gpusvm_down_read(&mm->event_lock);
	served = !fake->nevents;
	gpusvm_up_read(&mm->event_lock);
	if (served)
		push_fault(i, false, false);
}

/* A driver that touches what it moves. */
static void fault_of_who_migrates_the_page_raises_sigbus(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_SEND_SIGBUS, note_sigbus);
	__atomic_store_n(&sigbus_tid, 0, __ATOMIC_RELAXED);
	set_migration(false);
	unit_wait_until((fault_again(FIRST),
			 __atomic_load_n(&sigbus_tid, __ATOMIC_ACQUIRE)));
	assert_int_equal(sigbus_tid, 4711);
	assert_int_equal(sigbus_addr, fake_addr(fake, FIRST));
	assert_false(is_disturbed());
	unset_migration();
}

static bool fence_named;

static void look_for_fence(enum gpusvm_log_level level, const char *message,
			   void *priv)
{
	(void)level;
	(void)priv;
	if (strstr(message, "the fence of its copy"))
		__atomic_store_n(&fence_named, true, __ATOMIC_RELEASE);
}

static void set_fence(struct gpusvm_fence *fence)
{
	pthread_mutex_lock(&mm->pt_lock);
	m.tid = 0;
	m.fence = fence;
	pthread_mutex_unlock(&mm->pt_lock);
}

static void fault_that_waits_for_a_fence_is_named(void **state)
{
	struct gpusvm_fence *fence;

	(void)state;
	assert_int_equal(gpusvm_fence_create(&fence), 0);
	__atomic_store_n(&fence_named, false, __ATOMIC_RELEASE);
	gpusvm_set_log(look_for_fence, NULL, GPUSVM_LOG_WARNING);
	mm->watchdog.limit_ns = 1000000;
	set_migration(false);
	set_fence(fence);
	unit_wait_until((fault_again(FIRST),
			 __atomic_load_n(&fence_named, __ATOMIC_ACQUIRE)));
	set_fence(NULL);
	unset_migration();
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	gpusvm_fence_put(fence);
}

/* ---- Many ---- */

static void events_beyond_a_batch_are_all_acted_on(void **state)
{
	unsigned long i;

	(void)state;
	gpusvm_down_write(&mm->event_lock);
	for (i = 0; i < N; i++) {
		fake_source_push(fake,
				 (struct source_event){
					 .type = SOURCE_REMAP,
					 .start = fake_addr(fake, FIRST + i),
					 .end = fake_addr(fake, FIRST + i + 1),
					 .to = fake_addr(fake, 40 + i) });
		fake_source_push(fake, (struct source_event){
					       .type = SOURCE_REMOVE,
					       .start = fake_addr(fake, 20),
					       .end = fake_addr(fake, 21) });
		fake_source_push(fake, (struct source_event){
					       .type = SOURCE_REMAP,
					       .start = fake_addr(fake, 40 + i),
					       .end = fake_addr(fake, 41 + i),
					       .to = fake_addr(fake, 50 + i) });
	}
	gpusvm_up_write(&mm->event_lock);
	unit_wait_until(counter(&mm->stats.events) == 3 * N);
	pthread_mutex_lock(&mm->pt_lock);
	for (i = 0; i < N; i++)
		if (entry_at(50 + i) != device_page(i))
			break;
	pthread_mutex_unlock(&mm->pt_lock);
	assert_int_equal(i, N);
}

/* ---- Callbacks that wait ---- */

static void wait_for_events(void *arg)
{
	gpusvm_handler_wait(arg);
}

static void waiting_callbacks_leave_one_thread_to_serve(void **state)
{
	struct mmu_interval_notifier notifier;
	struct unit_thread t;
	unsigned int i;

	(void)state;
	let_go = false;
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &notifier, mm, fake_addr(fake, 50),
				 4 * PAGE_SIZE, &waiting_ops),
			 0);
	for (i = 0; i < 2 * HANDLER_MAX; i++)
		push((struct source_event){ .type = SOURCE_REMOVE,
					    .start = fake_addr(fake, 50),
					    .end = fake_addr(fake, 51) });
	unit_wait_until(__atomic_load_n(&waiting, __ATOMIC_RELAXED) ==
			mm->handler->nthreads - 1);
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_TRAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
	push_fault(40, false, false);
	unit_wait_until(fake_present(fake_addr(fake, 40)));
	/* Who waits for the events waits for the callbacks. */
	unit_thread_start(&t, wait_for_events, mm);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	__atomic_store_n(&let_go, true, __ATOMIC_RELEASE);
	unit_thread_join(&t);
	assert_int_equal(counter(&mm->stats.events), 2 * HANDLER_MAX);
	gpusvm_mmu_interval_notifier_remove(&notifier);
}

/* What the threads leave in the queue is done, too. */
static void stop_does_what_is_left(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < N; i++)
		push((struct source_event){
			.type = SOURCE_UNMAP,
			.start = fake_addr(fake, FIRST + i),
			.end = fake_addr(fake, FIRST + i + 1),
		});
	gpusvm_handler_settle(mm, 0);
	gpusvm_handler_stop(mm);
	assert_nothing_on_device();
	assert_int_equal(mm->handler->njobs, 0);
}

static void settle_lets_faulting_threads_ask_again(void **state)
{
	(void)state;
	push_fault(FIRST, false, false);
	push((struct source_event){ .type = SOURCE_UNMAP,
				    .start = fake_addr(fake, FIRST),
				    .end = fake_addr(fake, FIRST + 2) });
	settle();
	assert_true(was_woken(FIRST));
	assert_int_equal(owner.faults, 0);
	assert_int_equal(mm->pt.npages, N - 2);
	assert_int_equal(fake_sys_calls(FAKE_SYS_NANOSLEEP), 0);
	/* It yields first, and sleeps when that does not help. */
	gpusvm_handler_settle(mm, 1000);
	assert_int_equal(fake_sys_calls(FAKE_SYS_NANOSLEEP), 1);
}

#define handler_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, handler_teardown)
#define stopped_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup_stopped, handler_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		stopped_test(start_runs_at_least_three_threads),
		stopped_test(start_without_eventfd_returns_its_error),
		stopped_test(start_without_stack_stops_the_others),
		stopped_test(start_without_thread_stops_the_others),
		stopped_test(settle_lets_faulting_threads_ask_again),
		handler_test(fault_beside_device_pages_gets_zeros),
		handler_test(fault_at_a_page_that_came_meanwhile_is_woken),
		handler_test(fault_with_eagain_tries_again),
		handler_test(fault_on_protected_page_lets_the_write_go),
		handler_test(fault_on_protected_page_that_has_gone_is_woken),
		handler_test(fault_on_device_page_asks_its_owner),
		handler_test(fault_to_be_retried_wakes_everybody_in_time),
		handler_test(fault_in_timeslice_wakes_everybody_in_time),
		handler_test(fault_that_cannot_be_served_raises_sigbus),
		handler_test(fault_on_migrating_page_waits),
		handler_test(fault_of_who_copies_the_page_gets_zeros),
		handler_test(fault_of_who_migrates_the_page_raises_sigbus),
		handler_test(fault_that_waits_for_a_fence_is_named),
		handler_test(events_beyond_a_batch_are_all_acted_on),
		handler_test(waiting_callbacks_leave_one_thread_to_serve),
		handler_test(stop_does_what_is_left),
	};

	return cmocka_run_group_tests_name("handler", tests, NULL, NULL);
}
