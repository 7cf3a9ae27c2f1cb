/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: what every engine must do, with queues of every depth
 * and whatever the kernel may answer: short transfers, requests to be repeated,
 * errors, refusal to take requests, no ring at all.
 *
 * The engine's calls of liburing go through here, which changes requests before
 * the kernel sees them, or completions after it.
 */
#include "unit_copy.h"

#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <liburing.h>
#include <sys/wait.h>

int __real_io_uring_queue_init_params(unsigned int entries,
				      struct io_uring *ring,
				      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned int entries,
				      struct io_uring *ring,
				      struct io_uring_params *params);
int __real_io_uring_ring_dontfork(struct io_uring *ring);
int __wrap_io_uring_ring_dontfork(struct io_uring *ring);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n);
void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

/* ---- Rings and memory that cannot be had ---- */

static int init_error, dontfork_error;
static unsigned int fail_init, fail_dontfork;
static bool old_kernel, fail_alloc, fail_alloc_pages;

int __wrap_io_uring_queue_init_params(unsigned int entries,
				      struct io_uring *ring,
				      struct io_uring_params *params)
{
	if (fail_init && !--fail_init)
		return init_error;
	if (old_kernel && params->flags)
		return -EINVAL;
	return __real_io_uring_queue_init_params(entries, ring, params);
}

int __wrap_io_uring_ring_dontfork(struct io_uring *ring)
{
	if (fail_dontfork && !--fail_dontfork)
		return dontfork_error;
	return __real_io_uring_ring_dontfork(ring);
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fail_alloc ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return fail_alloc_pages ? NULL : __real_gpusvm_alloc_pages(size, align);
}

/* ---- What becomes of requests ---- */

/* Called for each request before the kernel sees it, and each completion. */
static void (*change_request)(struct io_uring_sqe *sqe);
static void (*change_result)(struct io_uring_cqe *cqe);
/* The n-th call to submit returns that, 0 for never. */
static unsigned int fail_submit;
static int submit_error;
/* The kernel takes the requests of the call that fails all the same. */
static bool taken_all_the_same;
static _Atomic unsigned int most_requests;

static void see_requests(struct io_uring *ring)
{
	unsigned int i, n = io_uring_sq_ready(ring);

	/* By one thread where it is looked at. */
	if (n > most_requests)
		most_requests = n;
	for (i = ring->sq.sqe_head; change_request && i != ring->sq.sqe_tail;
	     i++)
		change_request(&ring->sq.sqes[i & ring->sq.ring_mask]);
}

static void see_results(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int head;

	io_uring_for_each_cqe(ring, head, cqe) if (change_result)
		change_result(cqe);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int n)
{
	int ret;

	see_requests(ring);
	if (fail_submit && !--fail_submit) {
		if (taken_all_the_same)
			io_uring_submit(ring);
		return submit_error;
	}
	ret = __real_io_uring_submit_and_wait(ring, n);
	see_results(ring);
	return ret;
}

/* ---- The engine ---- */

static unsigned int depth = 16;

static int create(struct gpusvm_copy_engine **engine)
{
	const struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		.type = GPUSVM_COPY_URING,
		.depth = depth,
	};

	return gpusvm_copy_engine_create(engine, &opts);
}

static struct gpusvm_copy_engine *new_engine(void)
{
	struct gpusvm_copy_engine *engine;

	change_request = NULL;
	change_result = NULL;
	fail_submit = 0;
	taken_all_the_same = false;
	most_requests = 0;
	return create(&engine) ? NULL : engine;
}

static void replace_engine(unsigned int new_depth)
{
	gpusvm_copy_engine_destroy(copy_engine);
	depth = new_depth;
	copy_engine = new_engine();
	depth = 16;
	assert_non_null(copy_engine);
	copy_pgmap[0].engine = copy_engine;
	copy_pgmap[1].engine = copy_engine;
}

static int copy_out(void)
{
	return gpusvm_copy_to_devmem(copy_pages, copy_addr, COPY_PAGES);
}

static int copy_home(void)
{
	return gpusvm_copy_to_ram(copy_pages, copy_addr, COPY_PAGES);
}

static void every_depth_copies(void **state)
{
	static const unsigned int depths[] = { 1, 2, 3, 5, 256 };
	unsigned long i;
	unsigned int d;

	(void)state;
	for (i = 0; i < COPY_PAGES; i++)
		copy_addr[i] = (dma_addr_t)copy_ram + (i ^ 1) * PAGE_SIZE;
	for (d = 0; d < ARRAY_SIZE(depths); d++) {
		replace_engine(depths[d]);
		copy_both_and_check();
		assert_int_equal(most_requests, depths[d]);
	}
}

static void memory_that_is_not_mapped_is_copied(void **state)
{
	unsigned char *window;
	unsigned int i;

	(void)state;
	window = mmap(NULL, COPY_BYTES, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(window, MAP_FAILED);
	for (i = 0; i < 2; i++) {
		copy_file[i].mapped = false;
		copy_pgmap[i].range.start =
			(u64)window + i * COPY_HALF * PAGE_SIZE;
	}
	copy_both_and_check();
	munmap(window, COPY_BYTES);
}

static void memory_without_a_file_is_refused(void **state)
{
	(void)state;
	copy_pgmap[1].file = NULL;
	assert_int_equal(copy_out(), -EOPNOTSUPP);
	assert_int_equal(copy_home(), -EOPNOTSUPP);
	copy_pgmap[1].file = &copy_file[1];
	copy_both_and_check();
}

/* ---- Short transfers and repetitions ---- */

static uint64_t injected;

static void shorten(struct io_uring_sqe *sqe)
{
	if (unit_random_below(&injected, 3))
		sqe->len = 1 + (uint32_t)unit_random_below(&injected, sqe->len);
}

static void short_transfers_are_continued(void **state)
{
	unsigned long i;

	(void)state;
	injected = copy_seed;
	change_request = shorten;
	copy_both_and_check();
	for (i = 20; i < 60; i++)
		copy_addr[i] = 0;
	copy_both_and_check();
}

static void interrupt(struct io_uring_cqe *cqe)
{
	if (!unit_random_below(&injected, 2))
		cqe->res = unit_random_below(&injected, 2) ? -EINTR : -EAGAIN;
}

static void interrupted_requests_are_repeated(void **state)
{
	(void)state;
	injected = copy_seed;
	change_result = interrupt;
	copy_both_and_check();
	change_request = shorten;
	copy_both_and_check();
}

static unsigned int interruptions;

static void interrupt_always(struct io_uring_cqe *cqe)
{
	interruptions++;
	cqe->res = -EAGAIN;
}

static void repetitions_come_to_an_end(void **state)
{
	(void)state;
	interruptions = 0;
	change_result = interrupt_always;
	assert_int_equal(copy_out(), -EAGAIN);
	assert_in_range(interruptions, 1000, 100000);
	change_result = NULL;
	copy_both_and_check();
}

static void interrupted_submissions_are_repeated(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EBUSY };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		submit_error = errors[i / 2];
		taken_all_the_same = i % 2;
		fail_submit = 1;
		copy_both_and_check();
		assert_int_equal(fail_submit, 0);
	}
}

/* ---- Errors ---- */

static unsigned int bad_request;

static void spoil_one(struct io_uring_sqe *sqe)
{
	if (bad_request && !--bad_request)
		sqe->fd = -1;
}

static void an_error_ends_the_copy_and_spoils_no_other(void **state)
{
	unsigned long i;
	unsigned int n;

	(void)state;
	for (i = 0; i < COPY_PAGES; i++)
		copy_addr[i] = (dma_addr_t)copy_ram + (i ^ 1) * PAGE_SIZE;
	for (n = 1; n <= COPY_PAGES; n += 53) {
		change_request = spoil_one;
		bad_request = n;
		assert_int_equal(copy_out(), -EBADF);
		bad_request = n;
		assert_int_equal(copy_home(), -EBADF);
		change_request = NULL;
		copy_both_and_check();
	}
}

static void fail_with_eio(struct io_uring_cqe *cqe)
{
	cqe->res = -EIO;
}

static void errors_reach_the_caller(void **state)
{
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);

	(void)state;
	change_result = fail_with_eio;
	assert_int_equal(copy_out(), -EIO);
	assert_int_equal(copy_home(), -EIO);
	change_result = NULL;
	assert_true(full >= 0);
	copy_file[1].fd = full;
	assert_int_equal(copy_out(), -ENOSPC);
	copy_file[1].fd = copy_fd;
	close(full);
	copy_both_and_check();
}

static void what_lies_beyond_the_end_is_an_error(void **state)
{
	off_t half = (off_t)(COPY_HALF * PAGE_SIZE);

	(void)state;
	assert_int_equal(ftruncate(copy_fd, half), 0);
	assert_int_equal(copy_home(), -EIO);
	assert_int_equal(ftruncate(copy_fd, half + 100), 0);
	assert_int_equal(copy_home(), -EIO);
	/* Writing makes it longer. */
	assert_int_equal(copy_out(), 0);
	assert_int_equal(lseek(copy_fd, 0, SEEK_END), COPY_BYTES);
	copy_both_and_check();
}

/* Everything that the kernel was given has come to an end on return. */
static void a_ring_that_is_refused_is_not_used_again(void **state)
{
	unsigned int rings = 1;
	int err;

	(void)state;
	submit_error = -EBADR;
	taken_all_the_same = true;
	fail_submit = 1;
	assert_int_equal(copy_out(), -EBADR);
	/* It all fits in a ring. */
	memcpy(model_device, model_ram, COPY_BYTES);
	assert_as_model();
	/* The other rings still work, until there is none. */
	taken_all_the_same = false;
	for (;; rings++) {
		fail_submit = 1;
		err = copy_home();
		if (err != -EBADR)
			break;
	}
	assert_int_equal(err, -EIO);
	assert_int_equal(fail_submit, 1);
	assert_in_range(rings, 1, 4);
	assert_as_model();
	replace_engine(16);
	copy_both_and_check();
}

/* ---- Life ---- */

static void create_without_a_ring_fails(void **state)
{
	static const int errors[] = { -EPERM, -ENOSYS, -ENOMEM, -EMFILE };
	struct gpusvm_copy_engine *engine = NULL;
	size_t blocks = gpusvm_alloc_live();
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		init_error = errors[i];
		fail_init = 1 + i % 2;
		/* There is a second ring where there is a second CPU. */
		if (create(&engine) == 0) {
			gpusvm_copy_engine_destroy(engine);
			engine = NULL;
			assert_int_equal(fail_init, 1);
			continue;
		}
		fail_init = 1;
		assert_int_equal(create(&engine), errors[i]);
	}
	fail_init = 0;
	dontfork_error = -EINVAL;
	fail_dontfork = 1;
	assert_int_equal(create(&engine), -EINVAL);
	fail_alloc = true;
	assert_int_equal(create(&engine), -ENOMEM);
	fail_alloc = false;
	fail_alloc_pages = true;
	assert_int_equal(create(&engine), -ENOMEM);
	fail_alloc_pages = false;
	depth = 257;
	assert_int_equal(create(&engine), -EINVAL);
	depth = 16;
	assert_null(engine);
	assert_int_equal(gpusvm_alloc_live(), blocks);
}

static void old_kernels_have_fewer_flags(void **state)
{
	(void)state;
	old_kernel = true;
	replace_engine(0);
	old_kernel = false;
	copy_both_and_check();
}

static void child_has_no_ring(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (copy_out() != -EFAULT)
			_exit(1);
		if (copy_home() != -EFAULT)
			_exit(2);
		gpusvm_copy_engine_destroy(copy_engine);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	copy_both_and_check();
}

/* Where there is no page cache between the disk and the pages. */
static void a_file_on_disk_is_copied(void **state)
{
	unsigned char *back;
	int fd;

	(void)state;
	fd = open(".", O_RDWR | O_TMPFILE | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0) {
		print_message("skipped: the working directory has no unnamed "
			      "files with O_DIRECT: %s\n",
			      strerror(errno));
		skip();
	}
	copy_file[0].fd = fd;
	copy_file[1].fd = fd;
	assert_int_equal(copy_out(), 0);
	back = gpusvm_alloc_pages(COPY_BYTES, PAGE_SIZE);
	assert_non_null(back);
	assert_int_equal(pread(fd, back, COPY_BYTES, 0), COPY_BYTES);
	assert_memory_equal(back, model_ram, COPY_BYTES);
	gpusvm_free_pages(back, COPY_BYTES);
	memset(copy_ram, 0, COPY_BYTES);
	assert_int_equal(copy_home(), 0);
	assert_memory_equal(copy_ram, model_ram, COPY_BYTES);
	close(fd);
}

static bool have_uring(void)
{
	struct gpusvm_copy_engine *engine;
	int err = create(&engine);

	if (!err)
		gpusvm_copy_engine_destroy(engine);
	else
		printf("skip: no io_uring: %s\n", strerror(-err));
	return !err;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		COPY_TESTS,
		copy_test(every_depth_copies),
		copy_test(memory_that_is_not_mapped_is_copied),
		copy_test(memory_without_a_file_is_refused),
		copy_test(short_transfers_are_continued),
		copy_test(interrupted_requests_are_repeated),
		copy_test(repetitions_come_to_an_end),
		copy_test(interrupted_submissions_are_repeated),
		copy_test(an_error_ends_the_copy_and_spoils_no_other),
		copy_test(errors_reach_the_caller),
		copy_test(what_lies_beyond_the_end_is_an_error),
		copy_test(a_ring_that_is_refused_is_not_used_again),
		cmocka_unit_test(create_without_a_ring_fails),
		copy_test(old_kernels_have_fewer_flags),
		copy_test(child_has_no_ring),
		copy_test(a_file_on_disk_is_copied),
	};

	copy_seed = unit_seed();
	if (!have_uring())
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("uring", tests, NULL, NULL);
}
