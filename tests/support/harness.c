/* SPDX-License-Identifier: MIT */
/*
 * The main function of a test program: the address space, clean-ups, skips and
 * what must be the same afterwards as before.  Also time, threads and random
 * numbers.
 */
#include "harness.h"

#include <dirent.h>
#include <gpusvm/copy.h>
#include <gpusvm/hooks.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#ifdef TEST_INTERNAL
#include "alloc.h"
#endif

#define MAX_CLEANUPS 128

struct mm_struct *test_mm;
struct gpusvm_copy_engine *test_engine;

/* The thread sanitizer starts one of its own with the program's first. */
#ifdef __SANITIZE_THREAD__
#define SANITIZER_THREADS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZER_THREADS 1
#endif
#endif
#ifndef SANITIZER_THREADS
#define SANITIZER_THREADS 0
#endif

/*
 * munmap(), madvise() and a CPU fault order what the calling thread did before
 * them before the callbacks, and those before what it does next; but they do so
 * through the kernel, which the thread sanitizer does not see.  So it is told
 * not to report what the tests' own code reads or writes without a lock around
 * such a call; races with the library on both sides it still reports.
 */
#if SANITIZER_THREADS
const char *__tsan_default_suppressions(void);
const char *__tsan_default_options(void);

/* Memory enough to tell where the other access was. */
const char *__tsan_default_options(void)
{
	return "history_size=7";
}

const char *__tsan_default_suppressions(void)
{
	return "race:^drm_gpusvm_range_set_unmapped$\n"
	       "race:^gpusvm_range_unmap_locked$\n"
	       "race_top:tests/conformance/\n"
	       "race_top:tests/stress/\n"
	       "race_top:tests/support/\n";
}
#endif

bool test_others_map(void)
{
	return SANITIZER_THREADS;
}

static unsigned long features;

bool test_announces(void)
{
	return !(features & GPUSVM_FEATURE_EVENTS);
}

static struct {
	void (*fn)(void *arg);
	void *arg;
} cleanups[MAX_CLEANUPS];
static unsigned int num_cleanups;

static unsigned int num_skipped;
static unsigned int num_run;
static unsigned long log_errors;
static unsigned int slow = 1;
static bool verbose;
static uint64_t seed;
static struct gpusvm_mm_opts mm_opts = { .size = sizeof(mm_opts) };

/*
 * CMocka puts a handler of its own around every test, in the place of the
 * library's; here it goes behind that.  A sanitizer puts its own in the place of
 * this one.
 */
sighandler_t signal(int signum, sighandler_t handler)
{
	struct sigaction action = { .sa_handler = handler,
				    .sa_flags = SA_RESTART };
	struct sigaction old;

	sigaddset(&action.sa_mask, signum);
	return gpusvm_sigaction(signum, &action, &old) ? SIG_ERR
						       : old.sa_handler;
}

/* ---- Log ---- */

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	static const char *const names[] = { "error", "warning", "info",
					     "debug" };
	char line[512];
	int len;

	(void)priv;
	if (level == GPUSVM_LOG_ERROR)
		__atomic_fetch_add(&log_errors, 1, __ATOMIC_RELAXED);
	if (level > GPUSVM_LOG_WARNING && !verbose)
		return;
	len = snprintf(line, sizeof(line), "# gpusvm %s: %s\n", names[level],
		       message);
	if (len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
		return;
}

unsigned long test_log_errors(void)
{
	return __atomic_load_n(&log_errors, __ATOMIC_RELAXED);
}

size_t test_live_blocks(void)
{
#ifdef TEST_INTERNAL
	return gpusvm_alloc_live();
#else
	return 0;
#endif
}

/* ---- Clean-ups and skips ---- */

void test_cleanup(void (*fn)(void *arg), void *arg)
{
	if (num_cleanups == MAX_CLEANUPS)
		fail_msg("more than %d clean-ups", MAX_CLEANUPS);
	cleanups[num_cleanups].fn = fn;
	cleanups[num_cleanups].arg = arg;
	num_cleanups++;
}

void test_forget_cleanup(void (*fn)(void *arg), void *arg)
{
	unsigned int i;

	for (i = num_cleanups; i-- > 0;) {
		if (cleanups[i].fn != fn || cleanups[i].arg != arg)
			continue;
		memmove(&cleanups[i], &cleanups[i + 1],
			(num_cleanups - i - 1) * sizeof(*cleanups));
		num_cleanups--;
		return;
	}
}

int test_setup(void **state)
{
	(void)state;
	num_cleanups = 0;
	num_run++;
	return 0;
}

int test_teardown(void **state)
{
	(void)state;
	while (num_cleanups > 0) {
		num_cleanups--;
		cleanups[num_cleanups].fn(cleanups[num_cleanups].arg);
	}
	/* The next test's memory may be where this one's was. */
	gpusvm_mm_sync(test_mm);
	return 0;
}

void test_note_skip(void)
{
	num_skipped++;
}

/* ---- Main ---- */

/* Without this look itself. */
static int count_fds(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    atoi(entry->d_name) != dirfd(dir))
			count++;
	closedir(dir);
	return count;
}

/*
 * A worker of the kernel's that io_uring has started: in Linux 6.12 one of
 * them stays when the last ring has gone, until the program ends.
 */
static bool is_ring_worker(const char *tid)
{
	char path[64], name[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return !strncmp(name, "iou-", 4);
}

static int count_threads(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !is_ring_worker(entry->d_name))
			count++;
	closedir(dir);
	return count;
}

static void read_environment(void)
{
	const char *value = getenv("GPUSVM_TEST_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = value ? strtoull(value, NULL, 0)
		     : (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 20);
	seed = seed ? seed : 1;
	print_message("seed: GPUSVM_TEST_SEED=%llu\n",
		      (unsigned long long)seed);

	value = getenv("GPUSVM_TEST_SLOW");
	slow = value ? (unsigned int)atoi(value) : 1;
	slow = slow ? slow : 1;
	verbose = getenv("GPUSVM_TEST_VERBOSE") != NULL;

	value = getenv("GPUSVM_TEST_TECHNIQUE");
	if (value && !strcmp(value, "move"))
		mm_opts.technique = GPUSVM_TECHNIQUE_MOVE;
	else if (value && !strcmp(value, "wp"))
		mm_opts.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;

	value = getenv("GPUSVM_TEST_SOURCE");
	if (value && !strcmp(value, "user"))
		mm_opts.source = GPUSVM_SOURCE_USERFAULTFD_USER;
	else if (value && !strcmp(value, "mprotect"))
		mm_opts.source = GPUSVM_SOURCE_MPROTECT;
	else if (value && !strcmp(value, "manual"))
		mm_opts.source = GPUSVM_SOURCE_MANUAL;
	else if (value && !strcmp(value, "sigbus"))
		mm_opts.source = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
	else if (value && !strcmp(value, "rwp"))
		mm_opts.source = GPUSVM_SOURCE_USERFAULTFD_RWP;
}

static int run(const struct CMUnitTest *tests, size_t num_tests)
{
	int failed =
		_cmocka_run_group_tests("tests", tests, num_tests, NULL, NULL);

	if (failed)
		return EXIT_FAILURE;
	if (num_run && num_skipped == num_run)
		return TEST_SKIPPED;
	return EXIT_SUCCESS;
}

static int cannot_start(const char *what, int err)
{
	print_message("no %s: %s\n", what, strerror(-err));
	if (err != -EPERM && err != -ENOSYS && err != -EOPNOTSUPP)
		return EXIT_FAILURE;
	print_message("skip: this machine has no %s\n", what);
	return TEST_SKIPPED;
}

int test_main(const struct CMUnitTest *tests, size_t num_tests, int argc,
	      char **argv)
{
	int fds, threads, err, result;

	read_environment();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);

	fds = count_fds();
	threads = count_threads();
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_DEBUG);
	err = gpusvm_mm_open(&test_mm, &mm_opts);
	if (err == -EOPNOTSUPP) {
		print_message("skipped: the source to be had here does not "
			      "have GPUSVM_TEST_TECHNIQUE\n");
		return TEST_SKIPPED;
	}
	if (err)
		return cannot_start("mirrored address space", err);
	err = test_engine_create(&test_engine);
	if (err)
		return cannot_start("copy engine", err);

	features = gpusvm_mm_features(test_mm);
	result = run(tests, num_tests);

	gpusvm_copy_engine_destroy(test_engine);
	err = gpusvm_mm_close(test_mm);
	if (err) {
		print_error("gpusvm_mm_close: %s\n", strerror(-err));
		return EXIT_FAILURE;
	}
	/* To suppress a report a sanitizer starts its symbolizer. */
	if (!SANITIZER_THREADS && count_fds() != fds) {
		print_error("%d file descriptors before, %d after\n", fds,
			    count_fds());
		return EXIT_FAILURE;
	}
	threads += SANITIZER_THREADS;
	if (!test_wait_for(count_threads() <= threads, TEST_WAIT_MS)) {
		print_error("%d threads before, %d after\n", threads,
			    count_threads());
		return EXIT_FAILURE;
	}
	return result;
}

/* test_main() needs one to close, also when the test has failed. */
static void reopen(void *arg)
{
	int err = gpusvm_mm_open(&test_mm, &mm_opts);

	(void)arg;
	if (!err)
		return;
	print_error("second gpusvm_mm_open: %s\n", strerror(-err));
	exit(EXIT_FAILURE);
}

void test_mm_close(void)
{
	assert_ret(gpusvm_mm_close(test_mm), 0);
	test_cleanup(reopen, NULL);
}

void test_mm_reopen(void)
{
	test_forget_cleanup(reopen, NULL);
	reopen(NULL);
}

/* ---- Assertions ---- */

void test_assert_ret(long actual, long expected, const char *what,
		     const char *file, int line)
{
	if (actual == expected)
		return;
	print_error("%s: %ld (%s), not %ld (%s)\n", what, actual,
		    actual < 0 ? strerror((int)-actual) : "", expected,
		    expected < 0 ? strerror((int)-expected) : "");
	_fail(file, line);
}

/* ---- Time and threads ---- */

unsigned long test_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * 1000 +
	       (unsigned long)now.tv_nsec / 1000000;
}

unsigned long test_scaled_ms(unsigned long ms)
{
	return ms * slow;
}

unsigned long test_stress_ms(unsigned int seconds)
{
	const char *value = getenv("GPUSVM_STRESS_SECONDS");

	return (value ? strtoul(value, NULL, 0) : seconds) * 1000;
}

unsigned int test_scaled_rounds(unsigned int rounds)
{
	return slow >= 10 && rounds > 20 ? 20 : rounds;
}

void test_relax(void)
{
	struct timespec moment = { 0, 50000 };

	nanosleep(&moment, NULL);
}

void test_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
}

void *test_thread_join(pthread_t thread)
{
	struct timespec until;
	void *result = NULL;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(test_scaled_ms(3 * TEST_WAIT_MS) / 1000);
	if (pthread_timedjoin_np(thread, &result, &until))
		fail_msg("a thread does not end");
	return result;
}

/* ---- Random numbers ---- */

/* xorshift64* */
uint64_t test_random(void)
{
	static unsigned int threads;
	static __thread uint64_t x;

	if (!x)
		x = seed +
		    0x9e3779b97f4a7c15ull *
			    __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545f4914f6cdd1dull;
}

unsigned long test_random_below(unsigned long limit)
{
	return test_random() % limit;
}
