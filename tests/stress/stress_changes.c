/* SPDX-License-Identifier: MIT */
/*
 * Memory is unmapped, mapped over, moved, dropped, protected and forked while
 * it migrates to the device and home all the time, and while other threads and
 * system calls read it.  Its contents are always what a simple model says.
 *
 * Memory is divided into arenas.  Each has a thread that alone changes it, by
 * the CPU or through the device, and so knows for each page what is in it: a
 * pattern, by its tag, or zeros.
 *
 * GPUSVM_STRESS_SECONDS: how long (5).
 * GPUSVM_TEST_LATER: if set, migrations go on after the call that started them,
 * many at a time (later.h).
 * GPUSVM_TEST_BATCH: if set, ranges of 64 KiB migrate in batches (batches.h).
 * GPUSVM_TEST_HOOKS: if set, changes are announced (gpusvm/hooks.h); they always
 * are where nothing else tells of them.
 */
#include "batches.h"
#include "fake_driver.h"
#include "later.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define DEFAULT_SECONDS 5
#define ARENAS 3
#define ARENA_SIZE (2 * SZ_2M)
/* Pages that one change is about, at most. */
#define MOST_PAGES 48
/* Tags of patterns begin above these. */
#define ZEROS 0u
#define GONE 1u

enum change {
	WRITE,
	READ,
	SYSTEM_CALL,
	DEVICE_WRITE,
	DEVICE_READ,
	DONTNEED,
	UNMAP,
	MAP_OVER,
	MOVE,
	MOVE_AND_KEEP,
	PROTECT,
	FORK,
	CLONE,
	CHANGES
};

/* How often each is made, per 1000. */
static const unsigned int weight[CHANGES] = {
	[WRITE] = 250,	      [READ] = 200,	  [SYSTEM_CALL] = 90,
	[DEVICE_WRITE] = 80,  [DEVICE_READ] = 80, [DONTNEED] = 80,
	[UNMAP] = 60,	      [MAP_OVER] = 60,	  [MOVE] = 50,
	[MOVE_AND_KEEP] = 20, [PROTECT] = 26,	  [FORK] = 2,
	[CLONE] = 2,
};

static const char *const name[CHANGES] = {
	[WRITE] = "write",
	[READ] = "read",
	[SYSTEM_CALL] = "system call",
	[DEVICE_WRITE] = "device write",
	[DEVICE_READ] = "device read",
	[DONTNEED] = "madvise",
	[UNMAP] = "munmap",
	[MAP_OVER] = "mmap over",
	[MOVE] = "mremap",
	[MOVE_AND_KEEP] = "mremap, source kept",
	[PROTECT] = "mprotect",
	[FORK] = "fork",
	[CLONE] = "clone",
};

/* The bare calls, or the hooks in their place. */
struct calls {
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd,
		      off_t offset);
	int (*munmap)(void *addr, size_t length);
	void *(*mremap)(void *addr, size_t old_size, size_t new_size, int flags,
			void *to);
	int (*mprotect)(void *addr, size_t length, int prot);
	int (*madvise)(void *addr, size_t length, int advice);
};

static void *bare_mremap(void *addr, size_t old_size, size_t new_size,
			 int flags, void *to)
{
	return mremap(addr, old_size, new_size, flags, to);
}

static const struct calls bare_calls = { mmap, munmap, bare_mremap, mprotect,
					 madvise };
static const struct calls hooks = { gpusvm_mmap, gpusvm_munmap, gpusvm_mremap,
				    gpusvm_mprotect, gpusvm_madvise };
static const struct calls *call = &bare_calls;

struct stress;

struct arena {
	struct stress *stress;
	unsigned int index;
	unsigned char *mem;
	unsigned long npages;
	/* What is in each page, and what was last done to it. */
	unsigned int *tag;
	enum change *last;
	unsigned int next_tag;
	/* A page, outside of what migrates; and a file to write to. */
	unsigned char *buffer;
	int file;
	unsigned long done[CHANGES];
	unsigned long refused[CHANGES];
};

struct stress {
	struct fake_driver *d;
	struct arena arena[ARENAS];
	unsigned char *mem;
	unsigned long end;
	unsigned int wrong;
	unsigned long touches;
	unsigned long migrations;
	unsigned int most_under_way;
};

static bool is_over(void *arg)
{
	struct stress *s = arg;

	/* However busy the machine is, something has come home. */
	return (test_now_ms() >= s->end && s->d->releases) ||
	       __atomic_load_n(&s->wrong, __ATOMIC_RELAXED) > 20;
}

static unsigned char *page_at(struct arena *a, unsigned long page)
{
	return a->mem + page * PS;
}

/* ---- The model ---- */

static void complain(struct arena *a, unsigned long page, enum change change,
		     const char *what)
{
	__atomic_fetch_add(&a->stress->wrong, 1, __ATOMIC_RELAXED);
	print_error("%s: arena %u page %lu (%p), last was %s: %s\n",
		    name[change], a->index, page, (void *)page_at(a, page),
		    name[a->last[page]], what);
}

static bool is_right(const unsigned char *data, unsigned int tag)
{
	if (tag == ZEROS)
		return test_match_byte(data, PS, 0) == PS;
	return test_match(data, PS, tag) == PS;
}

/* Whether @data is what page @page should contain. */
static bool check(struct arena *a, unsigned long page, enum change change,
		  const unsigned char *data)
{
	char what[128];
	size_t at;

	if (is_right(data, a->tag[page]))
		return true;
	at = a->tag[page] == ZEROS ? test_match_byte(data, PS, 0)
				   : test_match(data, PS, a->tag[page]);
	snprintf(what, sizeof(what), "tag %u, but %#x at %#zx, zeros: %d",
		 a->tag[page], data[at], at,
		 test_match_byte(data, PS, 0) == PS);
	complain(a, page, change, what);
	/* Once is enough. */
	if (change != DEVICE_READ && change != SYSTEM_CALL)
		memset(page_at(a, page), 0, PS);
	return false;
}

static void record(struct arena *a, unsigned long first, unsigned long n,
		   enum change change, unsigned int tag)
{
	unsigned long page;

	for (page = first; page < first + n; page++) {
		a->tag[page] = tag;
		a->last[page] = change;
	}
}

static unsigned int new_tag(struct arena *a)
{
	return ++a->next_tag;
}

/* Somebody else got the addresses: they are not ours any more. */
static bool is_gone(struct arena *a, unsigned long first, unsigned long n)
{
	unsigned long page;

	for (page = first; page < first + n; page++)
		if (a->tag[page] == GONE)
			return true;
	return false;
}

/* ---- Changes; each says whether it could be made ---- */

static bool change_write(struct arena *a, unsigned long first, unsigned long n)
{
	unsigned long page;

	n = n < 4 ? n : 4;
	for (page = first; page < first + n; page++) {
		/* What was there must not have gone unnoticed. */
		check(a, page, WRITE, page_at(a, page));
		record(a, page, 1, WRITE, new_tag(a));
		test_fill(page_at(a, page), PS, a->tag[page]);
	}
	return true;
}

static bool change_read(struct arena *a, unsigned long first, unsigned long n)
{
	unsigned long page;

	for (page = first; page < first + n; page++)
		check(a, page, READ, page_at(a, page));
	return true;
}

static bool change_system_call(struct arena *a, unsigned long first,
			       unsigned long n)
{
	unsigned long features = gpusvm_mm_features(test_mm);

	(void)n;
	if (!(features & GPUSVM_FEATURE_KERNEL_FAULTS))
		return false;
	if (pwrite(a->file, page_at(a, first), PS, 0) != (ssize_t)PS ||
	    pread(a->file, a->buffer, PS, 0) != (ssize_t)PS)
		complain(a, first, SYSTEM_CALL, strerror(errno));
	else
		check(a, first, SYSTEM_CALL, a->buffer);
	return true;
}

static bool change_device(struct arena *a, unsigned long first, bool write)
{
	enum change change = write ? DEVICE_WRITE : DEVICE_READ;
	unsigned int tag = new_tag(a);
	int err;

	if (write)
		test_fill(a->buffer, PS, tag);
	/* It must have heard of what this thread changed by bare calls. */
	gpusvm_mm_sync(test_mm);
	err = fake_access(a->stress->d, page_at(a, first), a->buffer, PS,
			  write ? FAKE_ACCESS_WRITE : 0);
	/* Others got in between too often. */
	if (err == -EAGAIN || err == -EBUSY)
		return false;
	if (err)
		complain(a, first, change, strerror(-err));
	else if (write)
		record(a, first, 1, change, tag);
	else
		check(a, first, change, a->buffer);
	return true;
}

static bool change_dontneed(struct arena *a, unsigned long first,
			    unsigned long n)
{
	if (call->madvise(page_at(a, first), n * PS, MADV_DONTNEED))
		complain(a, first, DONTNEED, strerror(errno));
	record(a, first, n, DONTNEED, ZEROS);
	return true;
}

/* Map what munmap() or mremap() has left behind. */
static void map_again(struct arena *a, unsigned long first, unsigned long n,
		      enum change change)
{
	void *at = page_at(a, first);
	void *mem = call->mmap(
		at, n * PS, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (mem != MAP_FAILED && mem != at)
		call->munmap(mem, n * PS);
	record(a, first, n, change, mem == at ? ZEROS : GONE);
}

static bool change_unmap(struct arena *a, unsigned long first, unsigned long n)
{
	if (call->munmap(page_at(a, first), n * PS)) {
		complain(a, first, UNMAP, strerror(errno));
		return false;
	}
	if (test_random_below(2))
		gpusvm_mm_sync(test_mm);
	map_again(a, first, n, UNMAP);
	return true;
}

static bool change_map_over(struct arena *a, unsigned long first,
			    unsigned long n, enum change change)
{
	if (call->mmap(page_at(a, first), n * PS, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		       0) == MAP_FAILED)
		complain(a, first, change, strerror(errno));
	record(a, first, n, change, ZEROS);
	return true;
}

/* Over other pages of the arena. */
static bool change_move(struct arena *a, unsigned long first, unsigned long n,
			bool keep)
{
	enum change change = keep ? MOVE_AND_KEEP : MOVE;
	unsigned long to = test_random_below(a->npages - n);
	void *mem;

	if ((to < first + n && first < to + n) || is_gone(a, to, n))
		return false;
	mem = call->mremap(page_at(a, first), n * PS, n * PS,
			   MREMAP_MAYMOVE | MREMAP_FIXED |
				   (keep ? MREMAP_DONTUNMAP : 0),
			   page_at(a, to));
	if (mem == MAP_FAILED) {
		/* Across mappings a part may have moved, or been unmapped. */
		change_map_over(a, first, n, change);
		change_map_over(a, to, n, change);
		return false;
	}
	memcpy(&a->tag[to], &a->tag[first], n * sizeof(*a->tag));
	memcpy(&a->last[to], &a->last[first], n * sizeof(*a->last));
	if (keep)
		record(a, first, n, change, ZEROS);
	else
		map_again(a, first, n, change);
	return true;
}

/*
 * Read-only memory is taken by write-protection, for which bare calls later on
 * are not promised to be seen in time: see is_promised().
 */
static void keep_from_migrating(struct arena *a, bool on)
{
	if (call == &hooks)
		return;
	if (on)
		fake_driver_lock(a->stress->d);
	else
		fake_driver_unlock(a->stress->d);
}

static bool change_protect(struct arena *a, unsigned long first,
			   unsigned long n)
{
	keep_from_migrating(a, true);
	if (call->mprotect(page_at(a, first), n * PS, PROT_READ))
		complain(a, first, PROTECT, strerror(errno));
	if (test_random_below(2) && !is_right(page_at(a, first), a->tag[first]))
		complain(a, first, PROTECT, "wrong while protected");
	if (call->mprotect(page_at(a, first), n * PS, PROT_READ | PROT_WRITE))
		complain(a, first, PROTECT, strerror(errno));
	keep_from_migrating(a, false);
	return true;
}

/*
 * In a child: the number of the first wrong page, from 1, or 0.  A sanitizer's
 * _exit() takes locks that may be held by threads that a bare clone() left
 * behind.
 */
static void child(struct arena *a)
{
	unsigned long page;

	for (page = 0; page < a->npages; page++)
		if (a->tag[page] != GONE &&
		    !is_right(page_at(a, page), a->tag[page])) {
			(void)!write(a->file, &page, sizeof(page));
			syscall(SYS_exit_group, 1);
		}
	syscall(SYS_exit_group, 0);
}

static bool change_fork(struct arena *a, bool bare)
{
	unsigned long page = 0;
	int status = -1;
	pid_t pid;

	if (bare && !(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_FORK_EVENT))
		return false;
	lseek(a->file, 0, SEEK_SET);
	/*
	 * Without the handlers of fork() in the second case, and so without
	 * anybody who stops the device.
	 */
	if (bare)
		fake_driver_lock(a->stress->d);
	pid = bare ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	if (pid == 0)
		child(a);
	if (bare)
		fake_driver_unlock(a->stress->d);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		complain(a, 0, bare ? CLONE : FORK, strerror(errno));
	} else if (status) {
		(void)!pread(a->file, &page, sizeof(page), 0);
		complain(a, page % a->npages, bare ? CLONE : FORK,
			 "wrong in the child");
	}
	return true;
}

static bool make_change(struct arena *a, enum change change,
			unsigned long first, unsigned long n)
{
	switch (change) {
	case WRITE:
		return change_write(a, first, n);
	case READ:
		return change_read(a, first, n);
	case SYSTEM_CALL:
		return change_system_call(a, first, n);
	case DEVICE_WRITE:
	case DEVICE_READ:
		return change_device(a, first, change == DEVICE_WRITE);
	case DONTNEED:
		return change_dontneed(a, first, n);
	case UNMAP:
		return change_unmap(a, first, n);
	case MAP_OVER:
		return change_map_over(a, first, n, MAP_OVER);
	case MOVE:
	case MOVE_AND_KEEP:
		return change_move(a, first, n, change == MOVE_AND_KEEP);
	case PROTECT:
		return change_protect(a, first, n);
	default:
		return change_fork(a, change == CLONE);
	}
}

/* ---- Threads ---- */

static enum change random_change(void)
{
	unsigned long at = test_random_below(1000);
	enum change change = 0;

	while (change < CHANGES - 1 && at >= weight[change])
		at -= weight[change++];
	return change;
}

/*
 * What is mapped over memory that is just being taken by write-protection may
 * be dropped with it: that needs the hooks of libc calls (docs/locking.md,
 * "What userfaultfd cannot promise").
 */
static bool is_promised(enum change change)
{
	return call == &hooks ||
	       (gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE) ||
	       (change != UNMAP && change != MAP_OVER && change != MOVE &&
		change != MOVE_AND_KEEP);
}

/* An interval of pages: often one page, or aligned as ranges are. */
static void random_pages(struct arena *a, unsigned long *first,
			 unsigned long *n)
{
	*n = 1 + test_random_below(test_random_below(2) ? MOST_PAGES : 4);
	if (test_random_below(8) == 0)
		*n = SZ_64K / PS;
	*first = test_random_below(a->npages - *n);
	if (*n == SZ_64K / PS)
		*first -= *first % *n;
}

static void *changer(void *arg)
{
	struct arena *a = arg;
	unsigned long first, n, page;

	while (!is_over(a->stress)) {
		enum change change = random_change();

		random_pages(a, &first, &n);
		if (is_gone(a, first, n) || !is_promised(change))
			continue;
		if (make_change(a, change, first, n))
			a->done[change]++;
		else
			a->refused[change]++;
	}
	for (page = 0; page < a->npages; page++)
		if (a->tag[page] != GONE)
			check(a, page, READ, page_at(a, page));
	return NULL;
}

/*
 * Read wherever there is something, so that it comes home.  By a system call,
 * as there may be nothing.
 */
static void *toucher(void *arg)
{
	bool served = gpusvm_mm_features(test_mm) &
		      GPUSVM_FEATURE_KERNEL_FAULTS;
	struct stress *s = arg;

	while (!is_over(s)) {
		unsigned char byte;
		struct iovec local = { &byte, 1 };
		struct iovec remote = {
			s->mem + test_random_below(ARENAS * ARENA_SIZE), 1
		};

		if (!served)
			(void)!gpusvm_populate(remote.iov_base, 1);
		(void)!process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		s->touches++;
	}
	return NULL;
}

/* The only one that migrates, so that nobody re-uses what it evicts. */
static void migrate_all_the_time(struct stress *s)
{
	while (!is_over(s)) {
		unsigned char *at =
			s->mem + test_random_below(ARENAS * ARENA_SIZE);
		struct drm_gpusvm_range *range;
		struct fake_alloc *alloc;
		int err = -EAGAIN;

		fake_driver_lock(s->d);
		fake_collect(s->d);
		range = fake_fault_devmem(s->d, at);
		if (!IS_ERR(range) && !range->flags.unmapped)
			err = fake_migrate(s->d, range, &alloc);
		fake_driver_unlock(s->d);
		if (err)
			continue;
		s->migrations++;
		/* It may have come home already, or be held by a fork. */
		if (test_random_below(4) == 0)
			drm_gpusvm_evict_to_ram(&alloc->base);
	}
}

static void start_all_the_time(struct stress *s)
{
	struct later_result result = { .wrong = 0 };

	later_run(s->d, s->mem, ARENAS * ARENA_SIZE, is_over, s, &result);
	s->migrations = result.migrations;
	__atomic_fetch_add(&s->wrong, result.wrong, __ATOMIC_RELAXED);
	s->most_under_way = result.most_under_way;
	print_message("%lu undone, at most %u under way\n", result.undone,
		      result.most_under_way);
}

static void batch_all_the_time(struct stress *s)
{
	struct batches_result result = { .wrong = 0 };

	batches_run(s->d, s->mem, ARENAS * ARENA_SIZE, is_over, s, &result);
	s->migrations = result.migrations;
	__atomic_fetch_add(&s->wrong, result.wrong, __ATOMIC_RELAXED);
	print_message("%lu batches, %lu ranges stayed\n", result.batches,
		      result.stayed);
}

/* ---- The test ---- */

static void make_arena(struct stress *s, unsigned int i)
{
	struct arena *a = &s->arena[i];

	a->stress = s;
	a->index = i;
	a->mem = s->mem + i * ARENA_SIZE;
	a->npages = ARENA_SIZE / PS;
	a->next_tag = GONE + i * 1000000000u;
	a->tag = gpusvm_alloc(a->npages * sizeof(*a->tag));
	assert_non_null(a->tag);
	test_cleanup(gpusvm_free, a->tag);
	a->last = gpusvm_alloc(a->npages * sizeof(*a->last));
	assert_non_null(a->last);
	test_cleanup(gpusvm_free, a->last);
	a->buffer = gpusvm_alloc(PS);
	assert_non_null(a->buffer);
	test_cleanup(gpusvm_free, a->buffer);
	a->file = memfd_create("stress", MFD_CLOEXEC);
	assert_true(a->file >= 0);
}

static void tell(struct stress *s)
{
	unsigned int change, i;

	for (change = 0; change < CHANGES; change++) {
		unsigned long done = 0, refused = 0;

		for (i = 0; i < ARENAS; i++) {
			done += s->arena[i].done[change];
			refused += s->arena[i].refused[change];
		}
		print_message("%-20s %8lu, %lu could not be made\n",
			      name[change], done, refused);
	}
	print_message("%lu migrations, %u times home, %lu touches\n",
		      s->migrations, s->d->copies_to_ram, s->touches);
}

static void stress_changes(void **state)
{
	const unsigned long small_chunks[] = { SZ_64K, PS };
	struct fake_driver_config config = {
		.devmem_bytes = 2 * ARENAS * ARENA_SIZE,
	};
	struct stress *s = gpusvm_alloc(sizeof(*s));
	pthread_t thread[ARENAS], touching;
	bool later = getenv("GPUSVM_TEST_LATER") != NULL;
	bool batches = getenv("GPUSVM_TEST_BATCH") != NULL;
	struct test_area *area;
	unsigned int i;

	(void)state;
	if (test_announces() || getenv("GPUSVM_TEST_HOOKS"))
		call = &hooks;
	assert_non_null(s);
	test_cleanup(gpusvm_free, s);
	area = test_area_reserve(ARENAS * ARENA_SIZE, SZ_2M);
	s->mem = test_area_anon(area, 0, ARENAS * ARENA_SIZE);
	for (i = 0; i < ARENAS; i++)
		make_arena(s, i);
	if (later)
		later_start_engine();
	if (batches) {
		config.chunks = small_chunks;
		config.num_chunks = 2;
	}
	s->d = fake_driver_create(&config);
	/* An error is easier to read than a signal. */
	s->d->careful = true;

	s->end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS);
	for (i = 0; i < ARENAS; i++)
		test_thread_start(&thread[i], changer, &s->arena[i]);
	test_thread_start(&touching, toucher, s);
	if (later)
		start_all_the_time(s);
	else if (batches)
		batch_all_the_time(s);
	else
		migrate_all_the_time(s);
	for (i = 0; i < ARENAS; i++)
		test_thread_join(thread[i]);
	test_thread_join(touching);
	for (i = 0; i < ARENAS; i++)
		close(s->arena[i].file);

	tell(s);
	assert_int_equal(s->wrong, 0);
	assert_true(s->migrations > 0);
	assert_true(s->d->releases > 0);
	/* In place nothing is copied. */
	assert_true(s->d->copies_to_ram > 0 || s->d->pagemap.nodes);
	assert_true(!later || s->most_under_way > 1);
	fake_driver_destroy(s->d);
}

static const struct CMUnitTest tests[] = {
	conf_test(stress_changes),
};

CONF_MAIN(tests)
