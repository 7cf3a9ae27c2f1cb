/* SPDX-License-Identifier: MIT */
/*
 * What the tests of waiting for pages that the program drops share.
 *
 * The other threads of the process are made up, and so is the clock, which
 * only naps make go on: what happens meanwhile happens at the n-th nap.
 */
#ifndef TESTS_UNIT_REMOVAL_H
#define TESTS_UNIT_REMOVAL_H

#include "unit_migration.h"

#include "migration.h"
#include "mm.h"
#include "removal.h"

#define N 16ul
#define FIRST 8ul

#define NSEC_PER_SEC (1000ul * 1000 * 1000)
#define MAX_THREADS 128u
#define MAX_NAPS 100000ul
#define FIRST_TID 5000000u /* above the greatest that the kernel gives */

/* ---- Time ---- */

static unsigned long now_ns, naps;
static void (*at_nap)(unsigned long nap);

static inline bool take_nap(const unsigned long *args, long *ret)
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

static inline bool list_threads(const unsigned long *args, long *ret)
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

static inline bool tell_cpu_ns(const unsigned long *args, long *ret)
{
	unsigned long i = args[0] - FIRST_TID;

	*ret = i < nthreads ? (long)cpu_ns[i] : -EINVAL;
	return true;
}

/* Until it is set, a thread looks as if it ended when it was looked at. */
static inline void set_state(unsigned int i, char letter)
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
static inline int removal_setup(void **state)
{
	(void)state;
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
	fake_sys_clock(&now_ns, 0);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, take_nap);
	fake_sys_hook(FAKE_SYS_GETDENTS64, list_threads);
	fake_sys_hook(FAKE_SYS_THREAD_CPU_NS, tell_cpu_ns);
	return 0;
}

static inline int removal_teardown(void **state)
{
	(void)state;
	unmap_all();
	migration_teardown();
	return 0;
}

static inline void note_bytes(unsigned long start, unsigned long end)
{
	gpusvm_down_write(&mm->event_lock);
	gpusvm_removal_note(mm, start, end);
	gpusvm_up_write(&mm->event_lock);
}

static inline void note(unsigned long first, unsigned long n)
{
	note_bytes(fake_addr(fake, first), fake_addr(fake, first + n));
}

static inline unsigned int scans(void)
{
	return fake_sys_calls(FAKE_SYS_PAGEMAP_SCAN) +
	       fake_sys_calls(FAKE_SYS_PREAD);
}

static inline unsigned long end_of(const struct migration *migration)
{
	return migration->start + (migration->npages << PAGE_SHIFT);
}

static inline bool pending(void)
{
	bool is_pending;

	gpusvm_down_read(&mm->event_lock);
	is_pending = gpusvm_removal_pending(mm, m.start, end_of(&m));
	gpusvm_up_read(&mm->event_lock);
	return is_pending;
}

/* How often it naps. */
static inline unsigned long wait_for(const struct migration *migration)
{
	unsigned long before = naps;

	gpusvm_removal_wait(mm, migration->start, end_of(migration));
	return naps - before;
}

/* A thread that has used a second by any measure has got on. */
static inline void get_on(unsigned int i)
{
	cpu_ns[i] += NSEC_PER_SEC;
}

static inline void get_on_at_2(unsigned long nap)
{
	if (nap == 2)
		get_on(0);
}

/* Nothing is waited for, and nothing is known that would have to be. */
static inline void assert_over(void)
{
	unsigned int before = scans();

	assert_false(pending());
	assert_int_equal(wait_for(&m), 0);
	assert_int_equal(scans(), before);
}

#endif /* TESTS_UNIT_REMOVAL_H */
