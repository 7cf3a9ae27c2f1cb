/* SPDX-License-Identifier: MIT */
/*
 * The fault handler with one reader, as on a machine with one CPU: spares sleep
 * while it reads, and take over when it is held up.
 */
#include "unit_handler.h"

#include <dirent.h>
#include <stdlib.h>

static bool page_is_held, answered;

/* The driver holds the page until the test lets go. */
static enum vm_fault_result serve(struct vm_fault *vmf)
{
	struct page *page;

	if (!__atomic_load_n(&answered, __ATOMIC_RELAXED)) {
		__atomic_store_n(&page_is_held, true, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&answered, __ATOMIC_ACQUIRE))
			sched_yield();
		vmf->retry_ns = 1; /* long ago: at once */
		return VM_FAULT_RETRY;
	}
	pthread_mutex_lock(&mm->pt_lock);
	page = gpusvm_devpt_clear(&mm->pt, vmf->address);
	pthread_mutex_unlock(&mm->pt_lock);
	if (page)
		gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static unsigned int spares_asleep(void)
{
	unsigned int n;

	pthread_mutex_lock(&mm->handler->lock);
	n = mm->handler->spares_asleep;
	pthread_mutex_unlock(&mm->handler->lock);
	return n;
}

static struct mmu_interval_notifier notifier;

static int setup(void **state)
{
	int err;

	(void)state;
	page_is_held = false;
	answered = false;
	let_go = false;
	err = handler_setup(serve);
	if (!err)
		err = gpusvm_handler_start(mm, 1);
	if (!err)
		err = gpusvm_mmu_interval_notifier_insert(&notifier, mm,
							  fake_addr(fake, 50),
							  4 * PAGE_SIZE,
							  &waiting_ops);
	assert_int_equal(mm->handler->nreaders, 1);
	assert_int_equal(mm->handler->nthreads, 3);
	unit_wait_until(spares_asleep() == 2);
	return err;
}

static int teardown(void **state)
{
	__atomic_store_n(&let_go, true, __ATOMIC_RELEASE);
	__atomic_store_n(&answered, true, __ATOMIC_RELEASE);
	gpusvm_mmu_interval_notifier_remove(&notifier);
	return handler_teardown(state);
}

/* An event whose callback waits. */
static void hold_one_up(void)
{
	unsigned int before = __atomic_load_n(&waiting, __ATOMIC_RELAXED);

	push((struct source_event){ .type = SOURCE_REMOVE,
				    .start = fake_addr(fake, 50),
				    .end = fake_addr(fake, 51) });
	unit_wait_until(__atomic_load_n(&waiting, __ATOMIC_RELAXED) ==
			before + 1);
}

static void two_threads_held_up_leave_one_to_read(void **state)
{
	(void)state;
	hold_one_up();
	hold_one_up();
	pthread_mutex_lock(&mm->pt_lock);
	fake->flags[40] = FAKE_TRAPPED;
	pthread_mutex_unlock(&mm->pt_lock);
	push_fault(40, false, false);
	unit_wait_until(fake_present(fake_addr(fake, 40)));
}

/* Sleeping in poll(), that is. */
static unsigned int count_sleeping_handlers(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int n = 0;
	struct dirent *entry;
	char path[300], name[32];
	FILE *file;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
			 entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		n += fgets(name, sizeof(name), file) &&
		     !strcmp(name, "gpusvm-handler\n") &&
		     unit_tid_sleeps((pid_t)atoi(entry->d_name));
		fclose(file);
	}
	closedir(dir);
	return n;
}

/*
 * The reader waits without an end by the time that a spare finds out that a
 * fault is to be made again.
 */
static void retry_of_a_spare_wakes_everybody_in_time(void **state)
{
	(void)state;
	hold_one_up();
	push_fault(FIRST, false, false);
	unit_wait_until(__atomic_load_n(&page_is_held, __ATOMIC_ACQUIRE));
	__atomic_store_n(&let_go, true, __ATOMIC_RELEASE);
	unit_wait_until(!__atomic_load_n(&waiting, __ATOMIC_RELAXED));
	unit_wait_until(count_sleeping_handlers() == 2);
	__atomic_store_n(&answered, true, __ATOMIC_RELEASE);
	/* Everybody is woken: the address is not known any more. */
	unit_wait_until(fake_source_called(fake, FAKE_OP_WAKE, 1ul << 20));
}

#define spare_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		spare_test(two_threads_held_up_leave_one_to_read),
		spare_test(retry_of_a_spare_wakes_everybody_in_time),
	};

	return cmocka_run_group_tests_name("handler_spare", tests, NULL, NULL);
}
