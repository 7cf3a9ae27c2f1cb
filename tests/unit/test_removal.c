/* SPDX-License-Identifier: MIT */
/*
 * Waiting for pages that the program drops: for which it waits, for whom, and
 * for how long.
 *
 * The other threads of the process are made up, and so is the clock, which
 * only naps make go on: what happens meanwhile happens at the n-th nap.
 */
#include "unit_migration.h"
#include "unit_thread.h"

#include "migration.h"
#include "mm.h"
#include "removal.h"
#include "scan.h"

#define N 16ul
#define FIRST 8ul

#define NSEC_PER_SEC (1000ul * 1000 * 1000)
#define MAX_THREADS 128u
#define MAX_NAPS 100000ul
#define FIRST_TID 5000000u /* above the greatest that the kernel gives */

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc_array(n, size);
}

/* ---- Time ---- */

static unsigned long now_ns, naps;
static void (*at_nap)(unsigned long nap);

static bool tell_time(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = (long)READ_ONCE(now_ns);
	return true;
}

static bool take_nap(const unsigned long *args, long *ret)
{
	(void)ret;
	WRITE_ONCE(now_ns, now_ns + args[0]);
	if (++naps > MAX_NAPS)
		fail_msg("it naps for ever");
	if (at_nap)
		at_nap(naps);
	return true;
}

/* ---- The other threads ---- */

static unsigned int nthreads, nlisted, nfiles;
static unsigned long cpu_ns[MAX_THREADS];
static struct stat_file {
	char path[64];
	char text[64];
} stat_files[4];

static bool list_threads(const unsigned long *args, long *ret)
{
	char *entry = (char *)args[1];
	unsigned short length = 32;
	unsigned long room = args[2];

	*ret = 0;
	for (; nlisted < nthreads && room >= length; room -= length) {
		memset(entry, 0, length);
		memcpy(entry + 16, &length, sizeof(length));
		snprintf(entry + 19, 12u, "%u", FIRST_TID + nlisted++);
		entry += length;
		*ret += length;
	}
	if (!*ret)
		nlisted = 0;
	return true;
}

static bool tell_cpu_ns(const unsigned long *args, long *ret)
{
	unsigned long i = args[0] - FIRST_TID;

	*ret = i < nthreads ? (long)cpu_ns[i] : -EINVAL;
	return true;
}

/* Until it is set, a thread looks as if it ended when it was looked at. */
static void set_state(unsigned int i, char letter)
{
	struct stat_file *file;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%u/stat", FIRST_TID + i);
	for (file = stat_files; file < stat_files + nfiles; file++)
		if (!strcmp(file->path, path))
			break;
	assert_true(file < stat_files + ARRAY_SIZE(stat_files));
	snprintf(file->text, sizeof(file->text), "%u (name) %c 1",
		 FIRST_TID + i, letter);
	if (file < stat_files + nfiles)
		return;
	strcpy(file->path, path);
	fake_sys_file(file->path, file->text);
	nfiles++;
}

/* ---- The address space ---- */

/* One other thread, which is runnable and does not run. */
static int setup(void **state)
{
	(void)state;
	no_memory = false;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	m.start = fake_addr(fake, FIRST);
	fake_fill(window(FIRST), N, 1);
	now_ns = 1000 * NSEC_PER_SEC;
	naps = 0;
	at_nap = NULL;
	nthreads = 1;
	nlisted = 0;
	nfiles = 0;
	memset(cpu_ns, 0, sizeof(cpu_ns));
	set_state(0, 'R');
	fake_sys_hook(FAKE_SYS_NOW_NS, tell_time);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, take_nap);
	fake_sys_hook(FAKE_SYS_GETDENTS64, list_threads);
	fake_sys_hook(FAKE_SYS_THREAD_CPU_NS, tell_cpu_ns);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unmap_all();
	migration_teardown();
	return 0;
}

static void note_bytes(unsigned long start, unsigned long end)
{
	gpusvm_down_write(&mm->event_lock);
	gpusvm_removal_note(mm, start, end);
	gpusvm_up_write(&mm->event_lock);
}

static void note(unsigned long first, unsigned long n)
{
	note_bytes(fake_addr(fake, first), fake_addr(fake, first + n));
}

static void drop(unsigned long first, unsigned long n)
{
	assert_int_equal(madvise(window(first), n << PAGE_SHIFT, MADV_DONTNEED),
			 0);
}

static unsigned int scans(void)
{
	return fake_sys_calls(FAKE_SYS_PAGEMAP_SCAN) +
	       fake_sys_calls(FAKE_SYS_PREAD);
}

static unsigned long end_of(const struct migration *migration)
{
	return migration->start + (migration->npages << PAGE_SHIFT);
}

static bool pending(void)
{
	bool is_pending;

	gpusvm_down_read(&mm->event_lock);
	is_pending = gpusvm_removal_pending(mm, m.start, end_of(&m));
	gpusvm_up_read(&mm->event_lock);
	return is_pending;
}

/* How often it naps. */
static unsigned long wait_for(const struct migration *migration)
{
	unsigned long before = naps;

	gpusvm_removal_wait(mm, migration->start, end_of(migration));
	return naps - before;
}

/* A thread that has used a second by any measure has got on. */
static void get_on(unsigned int i)
{
	cpu_ns[i] += NSEC_PER_SEC;
}

static void get_on_at_2(unsigned long nap)
{
	if (nap == 2)
		get_on(0);
}

/* Nothing is waited for, and nothing is known that would have to be. */
static void assert_over(void)
{
	unsigned int before = scans();

	assert_false(pending());
	assert_int_equal(wait_for(&m), 0);
	assert_int_equal(scans(), before);
}

/* ---- What is waited for ---- */

static void wait_with_nothing_noted_looks_at_nothing(void **state)
{
	unsigned int opens = fake_sys_calls(FAKE_SYS_OPEN);

	(void)state;
	assert_over();
	assert_int_equal(fake_sys_calls(FAKE_SYS_OPEN), opens);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
}

static void wait_is_for_removals_that_overlap(void **state)
{
	static const struct {
		unsigned long first;
		unsigned long n;
		unsigned long naps;
	} cases[] = {
		{ 0, FIRST, 0 },	 { 0, FIRST + 1, 2 },
		{ FIRST + N - 1, 4, 2 }, { FIRST + N, 4, 0 },
		{ FIRST + 3, 1, 2 },	 { FIRST, N, 2 },
		{ 0, WINDOW, 2 },
	};
	unsigned int i, before;

	(void)state;
	at_nap = get_on_at_2;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		note(cases[i].first, cases[i].n);
		naps = 0;
		before = scans();
		assert_int_equal(pending(), cases[i].naps > 0);
		assert_int_equal(wait_for(&m), cases[i].naps);
		assert_int_equal(scans() > before, cases[i].naps > 0);
	}
}

static void wait_without_pages_there_looks_at_no_thread(void **state)
{
	(void)state;
	drop(FIRST, N);
	note(FIRST, N);
	assert_false(pending());
	assert_int_equal(wait_for(&m), 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
	/* A page elsewhere is none. */
	fake_fill(window(FIRST - 1), 1, 1);
	fake_fill(window(FIRST + N), 1, 1);
	assert_int_equal(wait_for(&m), 0);
	at_nap = get_on_at_2;
	fake_fill(window(FIRST + N - 1), 1, 1);
	assert_true(pending());
	assert_int_equal(wait_for(&m), 2);
}

static void wait_finds_the_last_page_of_a_long_range(void **state)
{
	unsigned long npages = 1030;
	unsigned char *memory = mmap(NULL, npages << PAGE_SHIFT,
				     PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct migration longer = {
		.mm = mm,
		.npages = npages,
		.start = (unsigned long)memory,
	};

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, npages << PAGE_SHIFT, MADV_NOHUGEPAGE);
	note_bytes(longer.start, longer.start + PAGE_SIZE);
	assert_int_equal(wait_for(&longer), 0);
	memory[(npages << PAGE_SHIFT) - 1] = 1;
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&longer), 2);
	munmap(memory, npages << PAGE_SHIFT);
}

static bool fail_scan(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = -EFAULT;
	return true;
}

static void wait_that_cannot_scan_takes_pages_for_there(void **state)
{
	(void)state;
	drop(FIRST, N);
	note(FIRST, N);
	at_nap = get_on_at_2;
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, fail_scan);
	fake_sys_hook(FAKE_SYS_PREAD, fail_scan);
	assert_true(pending());
	assert_int_equal(wait_for(&m), 2);
}

static void wait_is_not_for_removals_of_a_second_ago(void **state)
{
	(void)state;
	note(FIRST, N);
	now_ns += NSEC_PER_SEC;
	assert_over();
	now_ns--;
	assert_true(pending());
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
}

/* The last ones; its own comes first or last of them. */
static void wait_is_for_as_many_removals_as_are_remembered(void **state)
{
	unsigned int i, j;

	(void)state;
	at_nap = get_on_at_2;
	for (i = 0; i < 3 * REMOVALS; i++)
		note(0, FIRST);
	assert_over();
	for (j = 0; j < 3; j++) {
		note(FIRST, 1);
		for (i = 0; i < REMOVALS - 1; i++)
			note(0, FIRST);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		assert_over();
		note(FIRST + N - 1, 1);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		assert_over();
		/* So that the next round does not begin at the same place. */
		for (i = 0; i < REMOVALS / 2 + 1; i++)
			note(0, FIRST);
	}
}

/* ---- Its end ---- */

static void wait_ends_when_the_thread_has_got_on(void **state)
{
	unsigned long start = now_ns;

	(void)state;
	note(FIRST, N);
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
	/* It naps, but not for long. */
	assert_in_range(now_ns - start, 1, 10 * 1000 * 1000);
	assert_over();
	/* The pages stayed, and the next removal is a new one. */
	assert_true(fake_matches(window(FIRST), N, 1));
	note(FIRST, N);
	naps = 0;
	assert_int_equal(wait_for(&m), 2);
}

static void drop_at_3(unsigned long nap)
{
	if (nap == 2)
		drop(FIRST, N - 1);
	if (nap == 3)
		drop(FIRST, N);
}

static void wait_ends_when_the_pages_have_gone(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = drop_at_3;
	assert_int_equal(wait_for(&m), 3);
	assert_int_equal(wait_for(&m), 0);
	/* Nobody knows whether the call has ended. */
	fake_fill(window(FIRST), N, 2);
	naps = 0;
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
}

static void wait_for_who_never_gets_on_ends_after_a_second(void **state)
{
	unsigned long start;

	(void)state;
	note(FIRST, N);
	now_ns += NSEC_PER_SEC / 2;
	start = now_ns;
	assert_in_range(wait_for(&m), 10, MAX_NAPS);
	assert_in_range(now_ns - start, NSEC_PER_SEC,
			NSEC_PER_SEC + 10 * 1000 * 1000);
	assert_over();
}

/* ---- For whom ---- */

static void sleep_at_2(unsigned long nap)
{
	if (nap == 2)
		set_state(0, 'S');
}

static void wait_is_not_for_threads_that_sleep(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = sleep_at_2;
	assert_int_equal(wait_for(&m), 2);
	assert_over();
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
	/* Nobody was in the call any more, so this one is over, too. */
	set_state(0, 'R');
	assert_over();
}

static void wait_without_other_threads_ends_at_once(void **state)
{
	(void)state;
	nthreads = 0;
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
	assert_int_not_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
	assert_over();
}

static unsigned int resting, busy;

/* One is seen asleep, and then runs again. */
static void rest_at_1_and_3(unsigned long nap)
{
	if (nap == 1)
		set_state(resting, 'S');
	if (nap == 2)
		set_state(resting, 'R');
	if (nap == 3)
		get_on(busy);
}

static void wait_is_for_every_thread_once(void **state)
{
	(void)state;
	nthreads = 3;
	set_state(2, 'R');
	at_nap = rest_at_1_and_3;
	for (resting = 0; resting <= 2; resting += 2) {
		busy = 2 - resting;
		note(FIRST, N);
		naps = 0;
		assert_int_equal(wait_for(&m), 3);
		assert_over();
	}
}

static unsigned int slow;

static void slow_gets_on_at_2(unsigned long nap)
{
	if (nap == 2)
		get_on(slow);
}

static void wait_is_for_any_of_many_threads(void **state)
{
	static const unsigned int places[] = { 63, 64, 99 };
	unsigned int i;

	(void)state;
	nthreads = 100;
	set_state(0, 'S');
	at_nap = slow_gets_on_at_2;
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		slow = places[i];
		set_state(slow, 'R');
		note(FIRST, N);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		set_state(slow, 'S');
	}
}

/* ---- How much time a thread needs ---- */

static unsigned long step_ns;

static void use_time(unsigned long nap)
{
	(void)nap;
	cpu_ns[0] += step_ns;
}

/* The CPU time that a removal of so many pages is waited for. */
static unsigned long time_for(unsigned long npages)
{
	note_bytes(m.start, m.start + (npages << PAGE_SHIFT));
	return wait_for(&m) * step_ns;
}

static void thread_needs_more_time_for_more_pages(void **state)
{
	unsigned long one, many;

	(void)state;
	at_nap = use_time;
	step_ns = 10 * 1000;
	one = time_for(1);
	/* A call that was held up by an interrupt is not taken for over. */
	assert_in_range(one, 500 * 1000, 10 * 1000 * 1000);
	many = time_for(1001);
	/* At least what it takes to free a page. */
	assert_in_range(many - one, 1000 * 500, 1000 * 10000);
	/* The longer of two at a time, whichever was first. */
	note(FIRST + N - 1, 1);
	assert_int_equal(time_for(1001), many);
	note_bytes(m.start, m.start + (1001 << PAGE_SHIFT));
	note(FIRST + N - 1, 1);
	assert_int_equal(wait_for(&m) * step_ns, many);
}

/* A thread that runs has used it before it is given up. */
static void thread_that_runs_gets_on_whatever_was_removed(void **state)
{
	unsigned long start = now_ns;

	(void)state;
	at_nap = use_time;
	step_ns = 500 * 1000;
	assert_in_range(time_for(1ul << 34), 1, 3 * NSEC_PER_SEC / 4);
	assert_true(now_ns - start < NSEC_PER_SEC);
	assert_over();
}

/* ---- What comes meanwhile ---- */

static void remove_again_at_2(unsigned long nap)
{
	if (nap == 2)
		note(FIRST + 1, 1);
	if (nap == 3 || nap == 5)
		get_on(0);
}

static void wait_does_not_forget_a_later_removal(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = remove_again_at_2;
	assert_int_equal(wait_for(&m), 3);
	assert_int_equal(wait_for(&m), 2);
	assert_over();
}

static void start_at_2(unsigned long nap)
{
	if (nap == 2) {
		nthreads = 2;
		set_state(1, 'R');
	}
	if (nap == 3)
		get_on(0);
}

static void get_on_a_little(unsigned long nap)
{
	if (nap == 1)
		cpu_ns[0] += 3 * 1000 * 1000;
	if (nap == 4)
		get_on(0);
}

/* Enough for what was waited for is not enough for something bigger. */
static void wait_does_not_forget_a_bigger_removal_elsewhere(void **state)
{
	struct migration other = m;

	(void)state;
	other.start = fake_addr(fake, FIRST + N);
	fake_fill(window(FIRST + N), N, 2);
	note_bytes(other.start, other.start + (10000 << PAGE_SHIFT));
	note(FIRST, N);
	at_nap = get_on_a_little;
	assert_int_equal(wait_for(&m), 1);
	assert_int_equal(wait_for(&other), 3);
	assert_over();
}

static void wait_in_thread(void *arg)
{
	const struct migration *migration = arg;

	gpusvm_removal_wait(mm, migration->start, end_of(migration));
}

/* The time at which it is told is later than any that was read before. */
static void wait_is_for_removals_told_while_it_locks(void **state)
{
	static struct unit_thread waiter;

	(void)state;
	at_nap = get_on_at_2;
	gpusvm_down_write(&mm->event_lock);
	unit_thread_start(&waiter, wait_in_thread, &m);
	unit_thread_settle(&waiter);
	WRITE_ONCE(now_ns, now_ns + 1);
	gpusvm_removal_note(mm, m.start, m.start + PAGE_SIZE);
	gpusvm_up_write(&mm->event_lock);
	unit_thread_join(&waiter);
	assert_int_equal(naps, 2);
	assert_over();
}

/* Who came since cannot be in a call that began before. */
static void wait_is_not_for_new_threads(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = start_at_2;
	assert_int_equal(wait_for(&m), 3);
	assert_over();
}

/* ---- If nothing can be known ---- */

static void assert_waits_by_the_clock(void)
{
	unsigned long start = now_ns;

	assert_in_range(wait_for(&m), 10, MAX_NAPS);
	assert_in_range(now_ns - start, NSEC_PER_SEC,
			NSEC_PER_SEC + 10 * 1000 * 1000);
	assert_over();
}

static void wait_without_proc_is_by_the_clock(void **state)
{
	(void)state;
	set_state(0, 'S');
	note(FIRST, N);
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_waits_by_the_clock();
	note(FIRST, N);
	fake_sys_fail(FAKE_SYS_GETDENTS64, -EIO, 2);
	assert_waits_by_the_clock();
	/* Nothing was wrong with it but that. */
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
}

static void wait_without_proc_ends_when_the_pages_have_gone(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = drop_at_3;
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_int_equal(wait_for(&m), 3);
}

static void wait_without_memory_is_by_the_clock(void **state)
{
	(void)state;
	set_state(0, 'S');
	note(FIRST, N);
	no_memory = true;
	assert_waits_by_the_clock();
	no_memory = false;
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
}

/* ---- All together ---- */

/* As the kernel does it: the event comes, and the pages are there still. */
static void push_removal(void)
{
	fake_source_push(fake, (struct source_event){
				       .type = SOURCE_REMOVE,
				       .start = fake_addr(fake, FIRST),
				       .end = fake_addr(fake, FIRST + N),
			       });
}

static void migrate_what_is_being_dropped(void)
{
	at_nap = drop_at_3;
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(naps, 3);
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + N - 1, N - 1);
	assert_true(fake_is_zero(device_memory(0), N));
}

static void migration_takes_nothing_that_is_being_dropped(void **state)
{
	(void)state;
	push_removal();
	settle();
	migrate_what_is_being_dropped();
}

static void remove_then_trap(struct fake_source *f,
			     const struct fake_call *call)
{
	if (call->op != FAKE_OP_TRAP)
		return;
	f->hook = NULL;
	push_removal();
}

static void migration_itself_reads_of_the_removal(void **state)
{
	(void)state;
	fake->hook = remove_then_trap;
	migrate_what_is_being_dropped();
}

#define removal_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		removal_test(wait_with_nothing_noted_looks_at_nothing),
		removal_test(wait_is_for_removals_that_overlap),
		removal_test(wait_without_pages_there_looks_at_no_thread),
		removal_test(wait_finds_the_last_page_of_a_long_range),
		removal_test(wait_that_cannot_scan_takes_pages_for_there),
		removal_test(wait_is_not_for_removals_of_a_second_ago),
		removal_test(wait_is_for_as_many_removals_as_are_remembered),
		removal_test(wait_ends_when_the_thread_has_got_on),
		removal_test(wait_ends_when_the_pages_have_gone),
		removal_test(wait_for_who_never_gets_on_ends_after_a_second),
		removal_test(wait_is_not_for_threads_that_sleep),
		removal_test(wait_without_other_threads_ends_at_once),
		removal_test(wait_is_for_every_thread_once),
		removal_test(wait_is_for_any_of_many_threads),
		removal_test(thread_needs_more_time_for_more_pages),
		removal_test(thread_that_runs_gets_on_whatever_was_removed),
		removal_test(wait_does_not_forget_a_later_removal),
		removal_test(wait_does_not_forget_a_bigger_removal_elsewhere),
		removal_test(wait_is_for_removals_told_while_it_locks),
		removal_test(wait_is_not_for_new_threads),
		removal_test(wait_without_proc_is_by_the_clock),
		removal_test(wait_without_proc_ends_when_the_pages_have_gone),
		removal_test(wait_without_memory_is_by_the_clock),
		removal_test(migration_takes_nothing_that_is_being_dropped),
		removal_test(migration_itself_reads_of_the_removal),
	};

	return cmocka_run_group_tests_name("removal", tests, NULL, NULL);
}
