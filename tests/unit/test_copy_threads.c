/* SPDX-License-Identifier: MIT */
/*
 * The engine of threads: what every engine must do; a caller that finds the
 * threads busy, or is a forked child, copies alone; errors reach the caller;
 * nothing is left of an engine that cannot be made.
 */
#include "unit_copy.h"

#include <gpusvm/gpusvm.h>
#include <sys/wait.h>
#include <time.h>

#define THREADS 3u

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);
void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static unsigned int fail_thread, fail_stack, created;
static bool fail_alloc;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	if (fail_thread && !--fail_thread)
		return EAGAIN;
	created++;
	return __real_pthread_create(thread, attr, fn, arg);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	if (fail_stack && !--fail_stack)
		return NULL;
	return __real_gpusvm_alloc_pages(size, align);
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fail_alloc ? NULL : __real_gpusvm_alloc(size);
}

/* ---- Chunks, and who copies them ---- */

int __real_gpusvm_stream_to_devmem(struct page **pages, dma_addr_t *dma_addr,
				   unsigned long npages);
int __wrap_gpusvm_stream_to_devmem(struct page **pages, dma_addr_t *dma_addr,
				   unsigned long npages);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Chunks wait until so many are being copied at once. */
static unsigned int meet, inside;
static bool met;
/* Not that thread's, which notes what it is given. */
static pthread_t exempt;
static unsigned long exempt_npages;

static void wait_for_others(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += unit_seconds(20);
	pthread_mutex_lock(&lock);
	inside++;
	met |= inside >= meet;
	pthread_cond_broadcast(&changed);
	while (!met && !pthread_cond_timedwait(&changed, &lock, &until))
		;
	inside--;
	pthread_mutex_unlock(&lock);
}

int __wrap_gpusvm_stream_to_devmem(struct page **pages, dma_addr_t *dma_addr,
				   unsigned long npages)
{
	if (meet && pthread_equal(pthread_self(), exempt))
		exempt_npages = npages;
	else if (meet)
		wait_for_others();
	return __real_gpusvm_stream_to_devmem(pages, dma_addr, npages);
}

static int create(struct gpusvm_copy_engine **engine, unsigned int nthreads)
{
	const struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		.type = GPUSVM_COPY_THREADS,
		.nthreads = nthreads,
	};

	created = 0;
	return gpusvm_copy_engine_create(engine, &opts);
}

static struct gpusvm_copy_engine *new_engine(void)
{
	struct gpusvm_copy_engine *engine;

	return create(&engine, THREADS) ? NULL : engine;
}

static void number_of_threads_includes_the_caller(void **state)
{
	struct gpusvm_copy_engine *engine = NULL;
	unsigned int n;

	(void)state;
	for (n = 1; n <= 16; n += 5) {
		assert_int_equal(create(&engine, n), 0);
		assert_int_equal(created, n - 1);
		gpusvm_copy_engine_destroy(engine);
	}
	assert_int_equal(create(&engine, 0), 0);
	assert_in_range(created, 0, 3);
	gpusvm_copy_engine_destroy(engine);
	assert_int_equal(create(&engine, 17), -EINVAL);
}

static void failures_leave_nothing(void **state)
{
	struct gpusvm_copy_engine *engine = NULL;
	size_t blocks = gpusvm_alloc_live();
	unsigned int n;

	(void)state;
	fail_alloc = true;
	assert_int_equal(create(&engine, THREADS), -ENOMEM);
	fail_alloc = false;
	for (n = 1; n < THREADS; n++) {
		fail_thread = n;
		assert_int_equal(create(&engine, THREADS), -EAGAIN);
		fail_stack = n;
		assert_int_equal(create(&engine, THREADS), -ENOMEM);
		assert_int_equal(fail_thread + fail_stack, 0);
	}
	assert_null(engine);
	assert_int_equal(gpusvm_alloc_live(), blocks);
}

static void errors_reach_the_caller(void **state)
{
	(void)state;
	/* The last chunk of several. */
	copy_file[1].mapped = false;
	assert_int_equal(gpusvm_copy_to_devmem(copy_pages, copy_addr,
					       COPY_PAGES),
			 -EOPNOTSUPP);
	assert_int_equal(gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES),
			 -EOPNOTSUPP);
	/* The engine has not suffered. */
	copy_file[1].mapped = true;
	copy_both_and_check();
}

static void all_threads_take_part(void **state)
{
	(void)state;
	met = false;
	meet = THREADS;
	copy_out_and_check(0, COPY_PAGES);
	meet = 0;
	/* The chunks of one copy were under way at the same time. */
	assert_true(met);
}

static void *copy_all(void *arg)
{
	(void)arg;
	return (void *)(long)gpusvm_copy_to_devmem(copy_pages, copy_addr,
						   COPY_PAGES);
}

static void who_finds_the_threads_busy_copies_alone(void **state)
{
	pthread_t thread;
	void *err;

	(void)state;
	met = false;
	exempt = pthread_self();
	exempt_npages = 0;
	meet = THREADS + 1;
	assert_int_equal(pthread_create(&thread, NULL, copy_all, NULL), 0);
	pthread_mutex_lock(&lock);
	while (!inside)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);

	assert_ptr_equal(copy_all(NULL), NULL);
	assert_int_equal(exempt_npages, COPY_PAGES);

	pthread_mutex_lock(&lock);
	met = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	assert_int_equal(pthread_join(thread, &err), 0);
	assert_null(err);
	meet = 0;
	exempt = 0;
	memcpy(model_device, model_ram, COPY_BYTES);
	assert_as_model();
}

static void small_copies_are_not_split(void **state)
{
	unsigned long npages = (320ul << 10) >> PAGE_SHIFT;

	(void)state;
	exempt = pthread_self();
	meet = THREADS + 1;
	copy_out_and_check(0, npages);
	meet = 0;
	exempt = 0;
	assert_int_equal(exempt_npages, npages);
}

static void child_copies_alone(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* Both, and without the threads nobody would end it. */
		if (gpusvm_copy_to_devmem(copy_pages, copy_addr, COPY_PAGES) ||
		    memcmp(copy_device, model_ram, COPY_BYTES))
			_exit(1);
		memset(copy_ram, 0, COPY_BYTES);
		if (gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES) ||
		    memcmp(copy_ram, model_ram, COPY_BYTES))
			_exit(2);
		gpusvm_copy_engine_destroy(copy_engine);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		COPY_TESTS,
		cmocka_unit_test(number_of_threads_includes_the_caller),
		cmocka_unit_test(failures_leave_nothing),
		copy_test(all_threads_take_part),
		copy_test(who_finds_the_threads_busy_copies_alone),
		copy_test(small_copies_are_not_split),
		copy_test(errors_reach_the_caller),
		copy_test(child_copies_alone),
	};

	copy_seed = unit_seed();
	return cmocka_run_group_tests_name("copy_threads", tests, NULL, NULL);
}
