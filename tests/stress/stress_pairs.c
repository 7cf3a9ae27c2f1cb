/* SPDX-License-Identifier: MIT */
/*
 * Each pair of what may happen to memory of a device, at the same time, on the
 * same pages: device fault, CPU fault, munmap, mremap, madvise, mprotect, fork
 * and eviction; 28 pairs, changes by the hooks.
 *
 * A round begins with known contents, most of them on the device.  Then two
 * threads do one thing each, several times.  Afterwards, and in whatever they
 * read meanwhile, a page has what it had or, if one of the two gives memory up,
 * zeros; and the device has nothing that is not used.
 *
 * Where the other thread makes holes a thread reads by process_vm_readv(), else
 * by loads as well.  With a source that serves no faults of system calls (user,
 * mprotect) such a page comes home first, or it would not be read at all.
 *
 * GPUSVM_STRESS_SECONDS: how long, all pairs together (6).
 */
#include "fake_driver.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 64ul
#define MAX_PAGE 65536
#define SIZE (PAGES * PS)
#define TIMES 4
#define TAG 1000u

struct pair;

/* What one of the two threads does; each is done TIMES times in a round. */
struct action {
	const char *name;
	void (*act)(struct pair *p);
	/* It may leave zeros. */
	bool zeroes;
	/* What it is at is unmapped for a while. */
	bool holes;
};

struct pair {
	struct fake_driver *d;
	unsigned char *mem;
	/* Where mremap() moves pages to and back; as long as mem. */
	unsigned char *aside;
	const struct action *action[2];
	pthread_barrier_t start;
	pthread_barrier_t end;
	bool stop;
	unsigned int next;
	unsigned int wrong;
};

static bool may_be_zero(const struct pair *p)
{
	return p->action[0]->zeroes || p->action[1]->zeroes;
}

static bool may_be_hole(const struct pair *p)
{
	return p->action[0]->holes || p->action[1]->holes;
}

static bool is_right(const struct pair *p, unsigned long page,
		     const unsigned char *data)
{
	return test_match(data, PS, TAG + (unsigned int)page) == PS ||
	       (may_be_zero(p) && test_match_byte(data, PS, 0) == PS);
}

static void complain(struct pair *p, const char *who, unsigned long page)
{
	__atomic_fetch_add(&p->wrong, 1, __ATOMIC_RELAXED);
	print_error("%s and %s: %s finds page %lu wrong\n", p->action[0]->name,
		    p->action[1]->name, who, page);
}

/* A page as the kernel reads it for us; false if it is not there now. */
static bool read_page(const void *at, unsigned char *data)
{
	struct iovec local = { data, PS };
	struct iovec remote = { (void *)(uintptr_t)at, PS };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
	       (ssize_t)PS;
}

static void random_pages(unsigned long *first, unsigned long *n)
{
	*n = 1 + test_random_below(16);
	*first = test_random_below(PAGES - *n + 1);
}

/* ---- The actions ---- */

static void device_fault(struct pair *p)
{
	unsigned long page = test_random_below(PAGES);
	unsigned char data[MAX_PAGE];

	if (!fake_access(p->d, p->mem + page * PS, data, PS,
			 test_random_below(2) ? FAKE_ACCESS_MIGRATE : 0) &&
	    !is_right(p, page, data))
		complain(p, "the device", page);
}

static void cpu_fault(struct pair *p)
{
	unsigned long page = test_random_below(PAGES);
	unsigned char *at = p->mem + page * PS;
	unsigned char data[MAX_PAGE];
	bool read = true;

	if (may_be_hole(p) || test_random_below(2)) {
		if (!(gpusvm_mm_features(test_mm) &
		      GPUSVM_FEATURE_KERNEL_FAULTS))
			gpusvm_populate(at, PS);
		read = read_page(at, data);
	} else {
		memcpy(data, at, PS);
	}
	if (read && !is_right(p, page, data))
		complain(p, "the CPU", page);
}

static void unmap(struct pair *p)
{
	unsigned long first, n;
	unsigned char *at;

	random_pages(&first, &n);
	at = p->mem + first * PS;
	if (gpusvm_munmap(at, n * PS) ||
	    gpusvm_mmap(at, n * PS, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) != (void *)at)
		complain(p, strerror(errno), first);
}

#define MOVE_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED)

static bool is_mapped(void *page)
{
	unsigned char state;

	return !mincore(page, PS, &state);
}

/*
 * Where the other thread cut the mapping a part may have moved before the
 * kernel gave up.
 */
static void move_back(struct pair *p, unsigned long first, unsigned long n)
{
	unsigned long page;

	for (page = first; page < first + n; page++) {
		void *at = p->mem + page * PS, *from = p->aside + page * PS;

		if (is_mapped(at) ||
		    gpusvm_mremap(from, PS, PS, MOVE_FLAGS, at) == at)
			continue;
		/* The other thread's hole, which it may have filled by now. */
		(void)!gpusvm_mmap(at, PS, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS |
					   MAP_FIXED_NOREPLACE,
				   -1, 0);
	}
}

/* There and back. */
static void remap(struct pair *p)
{
	unsigned long first, n;
	unsigned char *at, *to;

	random_pages(&first, &n);
	at = p->mem + first * PS;
	to = p->aside + first * PS;
	if (gpusvm_mremap(at, n * PS, n * PS, MOVE_FLAGS, to) != (void *)to ||
	    gpusvm_mremap(to, n * PS, n * PS, MOVE_FLAGS, at) != (void *)at)
		move_back(p, first, n);
}

static void drop(struct pair *p)
{
	unsigned long first, n;

	random_pages(&first, &n);
	/* ENOMEM: a hole of the other thread's. */
	if (gpusvm_madvise(p->mem + first * PS, n * PS, MADV_DONTNEED) &&
	    errno != ENOMEM)
		complain(p, strerror(errno), first);
}

static void protect(struct pair *p)
{
	unsigned long first, n;
	unsigned char *at;

	random_pages(&first, &n);
	at = p->mem + first * PS;
	if ((gpusvm_mprotect(at, n * PS, PROT_READ) && errno != ENOMEM) ||
	    (gpusvm_mprotect(at, n * PS, PROT_READ | PROT_WRITE) &&
	     errno != ENOMEM))
		complain(p, strerror(errno), first);
}

/* In a child: only system calls. */
static void check_in_child(const struct pair *p)
{
	unsigned long page;
	unsigned char data[MAX_PAGE];

	for (page = 0; page < PAGES; page++)
		if (read_page(p->mem + page * PS, data) &&
		    !is_right(p, page, data))
			_exit(1);
	_exit(0);
}

static void fork_child(struct pair *p)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		check_in_child(p);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		complain(p, "a child", 0);
}

static void evict(struct pair *p)
{
	struct drm_gpusvm_range *range;

	fake_driver_lock(p->d);
	fake_collect(p->d);
	range = fake_fault_devmem(p->d, p->mem + test_random_below(PAGES) * PS);
	if (!IS_ERR(range))
		(void)!drm_gpusvm_range_evict(&p->d->gpusvm, range);
	fake_driver_unlock(p->d);
}

static const struct action actions[] = {
	{ .name = "device fault", .act = device_fault },
	{ .name = "CPU fault", .act = cpu_fault },
	{ .name = "munmap", .act = unmap, .zeroes = true, .holes = true },
	{ .name = "mremap", .act = remap, .holes = true },
	{ .name = "madvise", .act = drop, .zeroes = true },
	{ .name = "mprotect", .act = protect },
	{ .name = "fork", .act = fork_child },
	{ .name = "evict", .act = evict },
};

#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

/* ---- Rounds ---- */

static void *actor(void *arg)
{
	struct pair *p = arg;
	unsigned int i, self;

	self = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
	for (;;) {
		pthread_barrier_wait(&p->start);
		if (p->stop)
			return NULL;
		for (i = 0; i < TIMES; i++)
			p->action[self]->act(p);
		pthread_barrier_wait(&p->end);
	}
}

static void begin_round(struct pair *p)
{
	unsigned long page;

	if (gpusvm_mmap(p->mem, SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) != (void *)p->mem)
		complain(p, strerror(errno), 0);
	for (page = 0; page < PAGES; page++)
		test_fill(p->mem + page * PS, PS, TAG + (unsigned int)page);
	for (page = 0; page < PAGES; page += 1 + test_random_below(24)) {
		unsigned char byte;

		fake_access(p->d, p->mem + page * PS, &byte, 1,
			    FAKE_ACCESS_MIGRATE);
	}
}

static void end_round(struct pair *p)
{
	unsigned long page;

	for (page = 0; page < PAGES; page++)
		if (!is_right(p, page, p->mem + page * PS))
			complain(p, "the end of the round", page);
}

static void play(struct pair *p, const struct action *a, const struct action *b,
		 unsigned long ms)
{
	unsigned long end = test_now_ms() + ms;
	pthread_t thread[2];
	unsigned int i;

	p->action[0] = a;
	p->action[1] = b;
	p->stop = false;
	p->next = 0;
	for (i = 0; i < 2; i++)
		test_thread_start(&thread[i], actor, p);
	do {
		begin_round(p);
		pthread_barrier_wait(&p->start);
		pthread_barrier_wait(&p->end);
		end_round(p);
	} while (test_now_ms() < end && p->wrong < 20);
	p->stop = true;
	pthread_barrier_wait(&p->start);
	for (i = 0; i < 2; i++)
		test_thread_join(thread[i]);
}

static void stress_pairs(void **state)
{
	const unsigned long chunks[] = { SZ_64K, PS };
	const struct fake_driver_config config = {
		.chunks = chunks,
		.num_chunks = 2,
		.devmem_bytes = 4 * SIZE,
	};
	struct pair *p;
	unsigned long a, b, ms = test_stress_ms(6) / 28;
	struct test_area *area;

	(void)state;
	p = gpusvm_alloc(sizeof(*p));
	assert_non_null(p);
	test_cleanup(gpusvm_free, p);
	area = test_area_reserve(2 * SIZE, SZ_2M);
	p->mem = test_area_anon(area, 0, SIZE);
	p->aside = p->mem + SIZE;
	p->d = fake_driver_create(&config);
	/* An error is easier to read than a signal. */
	p->d->careful = true;
	pthread_barrier_init(&p->start, NULL, 3);
	pthread_barrier_init(&p->end, NULL, 3);
	for (a = 0; a < ACTIONS; a++)
		for (b = a + 1; b < ACTIONS; b++)
			play(p, &actions[a], &actions[b], ms);
	assert_int_equal(p->wrong, 0);
	assert_true(p->d->releases > 0);
	/* In place nothing is copied. */
	assert_true(p->d->copies_to_devmem > 0 || p->d->pagemap.nodes);
	assert_true(p->d->copies_to_ram > 0 || p->d->pagemap.nodes);
	fake_driver_destroy(p->d);
}

static const struct CMUnitTest tests[] = {
	conf_test(stress_pairs),
};

CONF_MAIN(tests)
