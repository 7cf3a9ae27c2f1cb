/* SPDX-License-Identifier: MIT */
/*
 * The cells of IGT's xe_exec_system_allocator that make sense here: a number
 * of jobs, each of which has the device write to what the CPU has allocated,
 * and the CPU look, with a buffer that is moved, freed, replaced, protected or
 * cut in between.  Names are the originals'; each cell is run with hooks and
 * with bare calls, in system memory and on the device.
 */
#include "calls.h"
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Buffer */
#define MALLOC (1u << 0)
#define MMAP (1u << 1)
#define HUGE (1u << 2)
#define SHARED (1u << 3)
#define FILED (1u << 4)
#define MLOCK (1u << 5)
/* After each job */
#define REMAP (1u << 8)
#define DONTUNMAP (1u << 9)
#define RO (1u << 10)
#define FREE (1u << 11)
#define NEW (1u << 12)
#define MADVISE (1u << 13)
#define MIDDLE (1u << 14)
/* Around it */
#define NOMEMSET (1u << 16)
#define RACE (1u << 17)
#define FORK_READ (1u << 18)
#define AFTER (1u << 19)
#define MULTI_FAULT (1u << 20)
#define EOCHECK (1u << 21)

struct jobs {
	const char *name;
	unsigned int count;
	size_t stride;
	size_t size;
};

static const struct jobs all_jobs[] = {
	{ "once", 1, 0, SZ_64K },
	{ "twice", 2, 2048, SZ_64K },
	{ "many", 12, 4096, SZ_64K },
	{ "many-stride", 12, 36864, SZ_512M / 1024 },
	{ "many-64k", 12, SZ_64K, SZ_1M },
	{ "many-large", 8, 7 * SZ_32K, SZ_2M },
};

struct mode {
	const char *name;
	unsigned int flags;
};

static const struct mode all_modes[] = {
	{ "malloc", MALLOC },
	{ "malloc-multi-fault", MALLOC | MULTI_FAULT },
	{ "malloc-fork-read", MALLOC | FORK_READ },
	{ "malloc-fork-read-after", MALLOC | FORK_READ | AFTER },
	{ "malloc-mlock", MALLOC | MLOCK },
	{ "malloc-race", MALLOC | RACE },
	{ "free", MALLOC | FREE },
	{ "free-race", MALLOC | FREE | RACE },
	{ "free-nomemset", MALLOC | FREE | NOMEMSET },
	{ "new", MALLOC | NEW },
	{ "new-race", MALLOC | NEW | RACE },
	{ "new-nomemset", MALLOC | NEW | NOMEMSET },
	{ "mmap", MMAP },
	{ "mmap-mlock", MMAP | MLOCK },
	{ "mmap-race", MMAP | RACE },
	{ "mmap-multi-fault", MMAP | MULTI_FAULT },
	{ "mmap-huge", MMAP | HUGE },
	{ "mmap-huge-nomemset", MMAP | HUGE | NOMEMSET },
	{ "mmap-shared", MMAP | SHARED },
	{ "mmap-file", MMAP | FILED },
	{ "mmap-file-mlock", MMAP | FILED | MLOCK },
	{ "mmap-free", MMAP | FREE },
	{ "mmap-free-race", MMAP | FREE | RACE },
	{ "mmap-free-huge", MMAP | FREE | HUGE },
	{ "mmap-free-nomemset", MMAP | FREE | NOMEMSET },
	{ "mmap-new", MMAP | NEW },
	{ "mmap-new-race", MMAP | NEW | RACE },
	{ "mmap-new-huge", MMAP | NEW | HUGE },
	{ "mmap-new-nomemset", MMAP | NEW | NOMEMSET },
	{ "mmap-madvise", MMAP | MADVISE },
	{ "mmap-middle-munmap", MMAP | MIDDLE },
	{ "mmap-middle-munmap-race", MMAP | MIDDLE | RACE },
	{ "mmap-remap", MMAP | REMAP },
	{ "mmap-remap-eocheck", MMAP | REMAP | EOCHECK },
	{ "mmap-remap-dontunmap", MMAP | REMAP | DONTUNMAP },
	{ "mmap-remap-dontunmap-eocheck", MMAP | REMAP | DONTUNMAP | EOCHECK },
	{ "mmap-remap-ro", MMAP | REMAP | RO },
	{ "mmap-remap-ro-eocheck", MMAP | REMAP | RO | EOCHECK },
	{ "mmap-remap-ro-dontunmap", MMAP | REMAP | RO | DONTUNMAP },
	{ "mmap-remap-shared", MMAP | REMAP | SHARED },
	{ "mmap-remap-madvise", MMAP | REMAP | MADVISE },
};

#define JOBS (sizeof(all_jobs) / sizeof(*all_jobs))
#define MODES (sizeof(all_modes) / sizeof(*all_modes))

struct cell {
	char name[64];
	const struct jobs *jobs;
	unsigned int flags;
};

/* One run of a cell. */
struct run {
	struct fake_driver *d;
	const struct test_calls *call;
	const struct jobs *jobs;
	unsigned int flags;
	unsigned int access;
	struct test_area *area;
	unsigned char *buf;
	unsigned char *second;
	unsigned int slot;
	int fd;
	/* What the jobs have written, by offset; 0 for nothing. */
	uint64_t values[16];
};

static uint64_t value_of(unsigned int job)
{
	return 0xdeadbeef00000000ull + job + 1;
}

/* ---- Buffers ---- */

static unsigned char *slot_at(struct run *r, unsigned int slot)
{
	return r->area->base + slot % 3 * SZ_2M;
}

static unsigned char *map_buffer(struct run *r, void *at, size_t size)
{
	int flags = MAP_FIXED;
	void *mem;

	if (r->flags & FILED)
		flags |= MAP_SHARED;
	else
		flags |= MAP_ANONYMOUS |
			 (r->flags & SHARED ? MAP_SHARED : MAP_PRIVATE);
	mem = r->call->mmap(at, size, PROT_READ | PROT_WRITE, flags,
			    r->flags & FILED ? r->fd : -1);
	assert_ptr_equal(mem, at);
	madvise(mem, size, r->flags & HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return mem;
}

static unsigned char *get_buffer(struct run *r)
{
	unsigned char *mem;

	if (r->flags & MALLOC) {
		mem = aligned_alloc(PS, r->jobs->size);
		assert_non_null(mem);
		/* The C library may give what it was given back. */
		memset(mem, 0, r->jobs->size);
	} else {
		mem = map_buffer(r, slot_at(r, r->slot), r->jobs->size);
	}
	if (r->flags & MLOCK && mlock(mem, r->jobs->size)) {
		int error = errno;

		if (r->fd >= 0)
			close(r->fd);
		test_skip("mlock of %zu bytes: %s", r->jobs->size,
			  strerror(error));
	}
	if (!(r->flags & NOMEMSET))
		memset(mem, 0, r->jobs->size);
	return mem;
}

static void put_buffer(struct run *r, unsigned char *mem)
{
	if (r->flags & MALLOC) {
		if (r->flags & MLOCK)
			munlock(mem, r->jobs->size);
		test_free_block(mem);
	} else {
		assert_int_equal(r->call->munmap(mem, r->jobs->size), 0);
	}
}

/* ---- Jobs ---- */

static void run_job(struct run *r, unsigned int job)
{
	size_t offset = job * r->jobs->stride;
	uint64_t value = value_of(job);

	assert_ret(fake_access(r->d, r->buf + offset, &value, sizeof(value),
			       r->access | FAKE_ACCESS_WRITE),
		   0);
	if (r->flags & MULTI_FAULT)
		assert_ret(fake_access(r->d, r->second + offset, &value,
				       sizeof(value),
				       r->access | FAKE_ACCESS_WRITE),
			   0);
	r->values[job] = value;
}

static bool is_right(const struct run *r, const unsigned char *mem)
{
	unsigned int job;

	for (job = 0; job < r->jobs->count; job++) {
		uint64_t word;

		memcpy(&word, mem + job * r->jobs->stride, sizeof(word));
		if (word != r->values[job])
			return false;
	}
	return true;
}

static bool is_written_to_file(const struct run *r, unsigned int job)
{
	uint64_t word = 0;

	return pread(r->fd, &word, sizeof(word),
		     (off_t)(job * r->jobs->stride)) == sizeof(word) &&
	       word == r->values[job];
}

/* In a child, then here. */
static void fork_and_read(struct run *r, unsigned int job)
{
	int status = -1;
	pid_t pid;

	pid = fork();
	if (pid == 0)
		_exit(!is_right(r, r->buf));
	assert_true(pid > 0);
	if (r->flags & AFTER)
		run_job(r, job);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- What happens between jobs ---- */

static void move_buffer(struct run *r)
{
	size_t size = r->jobs->size;
	unsigned char *to = slot_at(r, r->slot + 1);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	unsigned char *from = r->buf;

	if (r->flags & DONTUNMAP)
		flags |= MREMAP_DONTUNMAP;
	if (r->flags & RO)
		assert_int_equal(r->call->mprotect(from, size, PROT_READ), 0);
	if (r->flags & MADVISE) {
		assert_int_equal(r->call->madvise(from, size, MADV_DONTNEED),
				 0);
		memset(r->values, 0, sizeof(r->values));
	}
	assert_ptr_equal(r->call->mremap(from, size, size, flags, to), to);
	if (r->flags & EOCHECK && r->flags & DONTUNMAP)
		assert_int_equal(from[0], 0);
	if (r->flags & RO)
		assert_int_equal(
			r->call->mprotect(to, size, PROT_READ | PROT_WRITE), 0);
	if (r->flags & DONTUNMAP)
		assert_int_equal(r->call->munmap(from, size), 0);
	r->buf = to;
	r->slot++;
}

static void cut_middle(struct run *r)
{
	size_t size = r->jobs->size / 4 / PS * PS;
	unsigned char *middle = r->buf + size;
	unsigned int job;

	assert_int_equal(r->call->munmap(middle, size), 0);
	map_buffer(r, middle, size);
	for (job = 0; job < r->jobs->count; job++) {
		unsigned char *at = r->buf + job * r->jobs->stride;

		if (at >= middle && at < middle + size)
			r->values[job] = 0;
	}
}

static void change_buffer(struct run *r)
{
	unsigned char *old = r->buf;

	if (r->flags & (FREE | NEW)) {
		if (r->flags & FREE)
			put_buffer(r, old);
		else
			r->slot++;
		r->buf = get_buffer(r);
		if (r->flags & NEW)
			put_buffer(r, old);
		memset(r->values, 0, sizeof(r->values));
	} else if (r->flags & REMAP) {
		move_buffer(r);
	} else if (r->flags & MADVISE) {
		assert_int_equal(r->call->madvise(r->buf, r->jobs->size,
						  MADV_DONTNEED),
				 0);
		memset(r->values, 0, sizeof(r->values));
	} else if (r->flags & MIDDLE) {
		cut_middle(r);
	}
}

static void run_jobs(struct run *r)
{
	unsigned int job;

	r->buf = get_buffer(r);
	if (r->flags & MULTI_FAULT) {
		r->slot += 2;
		r->second = get_buffer(r);
		r->slot -= 2;
	}
	for (job = 0; job < r->jobs->count; job++) {
		run_job(r, job);
		if (r->flags & FORK_READ)
			fork_and_read(r, job);
		/* The original's race is that nobody waits and looks. */
		if (!(r->flags & (RACE | EOCHECK)))
			assert_true(is_right(r, r->buf));
		if (r->flags & FILED)
			assert_true(is_written_to_file(r, job));
		change_buffer(r);
	}
	assert_true(is_right(r, r->buf));
	if (r->flags & MULTI_FAULT) {
		assert_true(is_right(r, r->second));
		put_buffer(r, r->second);
	}
	put_buffer(r, r->buf);
}

static void run_once(const struct cell *cell, const struct test_calls *call,
		     unsigned int access)
{
	struct run r = {
		.d = fake_driver_create(NULL),
		.call = call,
		.jobs = cell->jobs,
		.flags = cell->flags,
		.access = access,
		.fd = -1,
	};

	if (r.flags & MMAP)
		r.area = test_area_reserve(3 * SZ_2M, SZ_2M);
	if (r.flags & FILED) {
		r.fd = memfd_create("scenario", MFD_CLOEXEC);
		assert_true(r.fd >= 0);
		assert_int_equal(ftruncate(r.fd, (off_t)r.jobs->size), 0);
	}
	run_jobs(&r);
	if (r.flags & (SHARED | FILED))
		assert_int_equal(r.d->copies_to_devmem, 0);
	if (r.fd >= 0)
		close(r.fd);
	fake_driver_destroy(r.d);
	if (r.area)
		test_area_release(r.area);
}

static void run_cell(void **state)
{
	const struct cell *cell = *state;

	for_each_calls(call) {
		run_once(cell, call, 0);
		/*
		 * A bare mremap() of memory of which a part has been on a
		 * device may fail: docs/locking.md.
		 */
		if ((call->announced || !(cell->flags & REMAP)) &&
		    (!(cell->flags & MALLOC) || test_malloc_migrates()))
			run_once(cell, call, FAKE_ACCESS_MIGRATE);
	}
}

/* test_setup() and test_teardown() leave the state alone. */
int main(int argc, char **argv)
{
	static struct cell cells[JOBS * MODES];
	static struct CMUnitTest tests[JOBS * MODES];
	size_t i;

	for (i = 0; i < JOBS * MODES; i++) {
		cells[i].jobs = &all_jobs[i / MODES];
		cells[i].flags = all_modes[i % MODES].flags;
		snprintf(cells[i].name, sizeof(cells[i].name), "%s-%s",
			 cells[i].jobs->name, all_modes[i % MODES].name);
		tests[i] = (struct CMUnitTest){
			.name = cells[i].name,
			.test_func = run_cell,
			.setup_func = test_setup,
			.teardown_func = test_teardown,
			.initial_state = &cells[i],
		};
	}
	return test_main(tests, JOBS * MODES, argc, argv);
}
