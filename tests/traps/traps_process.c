/* SPDX-License-Identifier: MIT */
/*
 * Traps of threads, children, the end, and of memory that cannot go along
 * (docs/traps.md).
 */
#include "fake_driver.h"
#include "pin.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- 3: who reads events must not wait for one ---- */

#define WAITERS 10

struct waiters {
	unsigned int blocked;
	unsigned int wrong;
	bool go_on;
	unsigned char *mem;
	/* Of a callback, on a thread of the library's most often. */
	const void *stack;
};

/* A copy home that waits for the main thread's migration. */
static void block_copy(struct fake_driver *d, enum fake_hook where,
		       const void *arg, void *priv)
{
	struct waiters *w = priv;

	(void)d;
	(void)arg;
	if (where != FAKE_AT_COPY_TO_RAM ||
	    __atomic_load_n(&w->go_on, __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&w->stack, __builtin_frame_address(0),
			 __ATOMIC_RELAXED);
	__atomic_fetch_add(&w->blocked, 1, __ATOMIC_RELEASE);
	if (!test_wait_for(__atomic_load_n(&w->go_on, __ATOMIC_ACQUIRE),
			   TEST_WAIT_MS))
		__atomic_fetch_add(&w->wrong, 1, __ATOMIC_RELAXED);
}

struct waiter {
	struct waiters *all;
	unsigned int index;
};

static void *touch_one(void *arg)
{
	struct waiter *w = arg;

	if (test_match(w->all->mem + w->index * SZ_64K, SZ_64K, w->index) !=
	    SZ_64K)
		__atomic_fetch_add(&w->all->wrong, 1, __ATOMIC_RELAXED);
	return NULL;
}

/*
 * More callbacks hang than there are handlers.  Events are read all the same,
 * the program's and those of the library's own calls.
 */
static void trap_03_one_thread_is_left_to_read(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	static struct waiters w;
	unsigned char *other = test_map(SZ_64K, SZ_64K);
	struct fake_driver *second = fake_driver_create(NULL);
	struct drm_gpusvm_range *range = fake_range_at(second, other, SZ_64K);
	struct waiter waiter[WAITERS];
	pthread_t thread[WAITERS];
	unsigned int i;

	(void)state;
	w = (struct waiters){ .mem = test_map(SZ_2M, SZ_2M) };
	for (i = 0; i < WAITERS; i++) {
		test_fill(w.mem + i * SZ_64K, SZ_64K, i);
		fake_migrate_span(d, w.mem + i * SZ_64K, SZ_64K);
	}
	d->hook_priv = &w;
	__atomic_store_n(&d->hook, block_copy, __ATOMIC_RELEASE);
	for (i = 0; i < WAITERS; i++) {
		waiter[i] = (struct waiter){ &w, i };
		test_thread_start(&thread[i], touch_one, &waiter[i]);
	}
	/* All handlers but one, where there are three. */
	test_wait_until(__atomic_load_n(&w.blocked, __ATOMIC_ACQUIRE) >= 2);

	test_fill(other, SZ_64K, 100);
	assert_ret(fake_migrate(second, range, NULL), 0);
	assert_int_equal(test_change(madvise, other, SZ_32K, MADV_DONTNEED), 0);
	assert_zeroed(other, SZ_32K);

	__atomic_store_n(&w.go_on, true, __ATOMIC_RELEASE);
	for (i = 0; i < WAITERS; i++)
		test_thread_join(thread[i]);
	assert_int_equal(w.wrong, 0);
	assert_int_equal(other[SZ_32K], test_pattern(SZ_32K, 100));
	/* Handlers' stacks never migrate, nor does what callbacks touch. */
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_IN_THREAD))
		assert_err_ptr(fake_fault(d, w.stack), -ENOENT);
	assert_err_ptr(fake_fault(d, d), -ENOENT);
}

/* ---- 6: children ---- */

static int wait_for(pid_t pid)
{
	int status = -1;

	test_wait_until(waitpid(pid, &status, WNOHANG) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Calls no function that a thread of the parent may have a lock of. */
static void child_looks(const unsigned char *mem, size_t size, int go)
{
	char byte;

	if (go >= 0 && read(go, &byte, 1) != 1)
		syscall(SYS_exit_group, 2);
	syscall(SYS_exit_group, test_match(mem, size, 1) != size);
}

static void trap_06_child_has_the_data(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	bool told = gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_FORK_EVENT;
	unsigned int i;
	pid_t pid;

	(void)state;
	/* By fork(), and past its handlers. */
	for (i = 0; i < (told ? 2 : 1); i++) {
		test_fill(mem, SZ_64K, 1);
		fake_migrate_span(d, mem, SZ_64K);
		pid = i ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
			: fork();
		if (!pid)
			child_looks(mem, SZ_64K, -1);
		assert_true(pid > 0);
		assert_int_equal(wait_for(pid), 0);
		assert_filled(mem, SZ_64K, 1);
	}
}

/* Pages that a child shares do not move, until they are no more shared. */
static void trap_06_shared_with_a_child(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_2M);
	int go[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(go), 0);
	test_fill(mem, SZ_2M, 1);
	pid = fork();
	if (!pid)
		child_looks(mem, SZ_2M, go[0]);
	assert_true(pid > 0);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_filled(mem, SZ_2M, 1);
	test_fill(mem, SZ_2M, 2);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(wait_for(pid), 0);
	assert_filled(mem, SZ_2M, 2);
	close(go[0]);
	close(go[1]);
}

/* ---- 7: the end of a registration turns absent pages into zeros ---- */

#define TOUCHERS 3

struct touchers {
	const unsigned char *mem;
	unsigned int wrong;
	unsigned int rounds;
	bool stop;
};

static void *touch_all(void *arg)
{
	struct touchers *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		if (test_match(t->mem, SZ_2M, 1) != SZ_2M)
			__atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&t->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void trap_07_closing_brings_home_first(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct touchers t = { .mem = test_map(SZ_2M, SZ_2M) };
	unsigned char *other = test_map(SZ_2M, SZ_2M);
	pthread_t thread[TOUCHERS];
	unsigned int i;

	(void)state;
	test_fill((void *)(uintptr_t)t.mem, SZ_2M, 1);
	test_fill(other, SZ_2M, 2);
	for (i = 0; i < SZ_2M / SZ_64K; i++)
		fake_migrate_span(d, (void *)(uintptr_t)(t.mem + i * SZ_64K),
				  SZ_64K);
	fake_migrate_span(d, other, SZ_2M);
	for (i = 0; i < TOUCHERS; i++)
		test_thread_start(&thread[i], touch_all, &t);
	test_mm_close();
	i = __atomic_load_n(&t.rounds, __ATOMIC_ACQUIRE);
	test_wait_until(__atomic_load_n(&t.rounds, __ATOMIC_ACQUIRE) >=
			i + 2 * TOUCHERS);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < TOUCHERS; i++)
		test_thread_join(thread[i]);
	assert_int_equal(t.wrong, 0);
	assert_filled(other, SZ_2M, 2);
	assert_int_equal(fake_devmem_used(d), 0);
}

/* ---- 11: pages that are pinned ---- */

/* One of many: those that have moved by then come back, nothing changes. */
static void trap_11_pinned_page_stays(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_2M);
	int pin;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE))
		test_skip("only a move sees that pages are pinned");
	test_fill(mem, SZ_2M, 1);
	pin = test_pin(mem + SZ_1M, PS);
	if (pin < 0)
		test_skip("no page may be pinned here");
	assert_ret(fake_migrate(d, range, NULL), -EBUSY);
	assert_int_equal(test_resident(mem, SZ_2M), SZ_2M / PS);
	assert_filled(mem, SZ_2M, 1);
	test_fill(mem, SZ_2M, 2);
	test_unpin(pin);
	test_wait_until(fake_migrate(d, range, NULL) == 0);
	assert_filled(mem, SZ_2M, 2);
}

/* ---- 15: memory that does not move ---- */

static unsigned char of_data[3 * 65536] = { 1 };

static void check_stays(struct fake_driver *d, unsigned char *mem)
{
	struct drm_gpusvm_range *range = fake_fault_devmem(d, mem);
	char word[] = "device";

	assert_ok_ptr(range);
	assert_true(fake_migrate(d, range, NULL) < 0);
	assert_int_equal(fake_access(d, mem, word, 6,
				     FAKE_ACCESS_WRITE | FAKE_ACCESS_MIGRATE),
			 0);
	assert_memory_equal(mem, "device", 6);
	memcpy(mem, "memory", 6);
	assert_int_equal(fake_access(d, mem, word, 6, FAKE_ACCESS_MIGRATE), 0);
	assert_memory_equal(word, "memory", 6);
	assert_int_equal(d->copies_to_devmem, 0);
}

static void trap_15_memory_that_does_not_move(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(3 * SZ_64K, SZ_64K);
	int fd = memfd_create("trap", MFD_CLOEXEC);
	int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	unsigned char *mem;

	(void)state;
	assert_true(fd >= 0 && program >= 0);
	assert_int_equal(ftruncate(fd, (off_t)SZ_64K), 0);
	mem = test_area_map(area, 0, SZ_64K, PROT_READ | PROT_WRITE, MAP_SHARED,
			    fd);
	assert_non_null(mem);
	check_stays(d, mem);
	mem = test_area_map(area, SZ_64K, SZ_64K, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
	assert_non_null(mem);
	check_stays(d, mem);
	/* A file on disk, which cannot even be registered. */
	mem = test_area_map(area, 2 * SZ_64K, PS, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE, program);
	assert_non_null(mem);
	check_stays(d, mem);
	check_stays(d, of_data + sizeof(of_data) / 2);
	close(fd);
	close(program);
}

static const struct CMUnitTest tests[] = {
	conf_test(trap_03_one_thread_is_left_to_read),
	conf_test(trap_06_child_has_the_data),
	conf_test(trap_06_shared_with_a_child),
	conf_test(trap_07_closing_brings_home_first),
	conf_test(trap_11_pinned_page_stays),
	conf_test(trap_15_memory_that_does_not_move),
};

CONF_MAIN(tests)
