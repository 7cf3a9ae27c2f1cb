/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group N: more memory than the device has, memory that a child
 * gets, and memory that cannot migrate.
 */
#include "calls.h"
#include "model.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned int place[] = { 0, FAKE_ACCESS_MIGRATE };

/* ---- 154: over-commit ---- */

#define DEVICE_MEMORY (8 * SZ_1M)
#define BUFFERS 18
#define BUFFER_SIZE (SZ_512M / 1024)

/* Make room for a buffer by bringing home what has been there longest. */
static unsigned int make_room(struct fake_driver *d, unsigned int *hand)
{
	unsigned int evicted = 0, tries;

	for (tries = 0; tries < FAKE_MAX_ALLOCS &&
			fake_devmem_used(d) * PS + BUFFER_SIZE > DEVICE_MEMORY;
	     tries++) {
		struct fake_alloc *alloc =
			&d->allocs[(*hand)++ % FAKE_MAX_ALLOCS];

		if (alloc->state != FAKE_ALLOC_GIVEN)
			continue;
		assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
		test_wait_until(alloc->released == 1);
		evicted++;
	}
	return evicted;
}

static void overcommit(const struct test_calls *call)
{
	const struct fake_driver_config config = { .devmem_bytes =
							   DEVICE_MEMORY };
	struct fake_driver *d = fake_driver_create(&config);
	struct test_model *m[BUFFERS];
	unsigned int i, round, evicted = 0, hand = 0;

	for (i = 0; i < BUFFERS; i++)
		m[i] = test_model_create(d, test_map(BUFFER_SIZE, BUFFER_SIZE),
					 BUFFER_SIZE, FAKE_ACCESS_MIGRATE);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < BUFFERS; i++) {
			evicted += make_room(d, &hand);
			test_model_dev_check(m[i], 0, m[i]->cells);
			test_model_dev_write(m[i], 0, m[i]->cells);
		}
		/* One is replaced, one dropped, while on the device or not. */
		test_calls_replace(call, m[round]->mem, BUFFER_SIZE);
		test_model_zeroed(m[round], 0, m[round]->cells);
		assert_int_equal(call->madvise(m[BUFFERS - 1 - round]->mem,
					       BUFFER_SIZE, MADV_DONTNEED),
				 0);
		test_model_zeroed(m[BUFFERS - 1 - round], 0,
				  m[BUFFERS - 1 - round]->cells);
	}
	/* An eighth more than there is, twice. */
	assert_true(evicted >= 2);
	assert_true(fake_devmem_used(d) > 0);
	for (i = 0; i < BUFFERS; i++)
		test_model_cpu_check(m[i], 0, m[i]->cells);
	fake_driver_destroy(d);
}

static void conf_154_more_than_the_device_has(void **state)
{
	(void)state;
	for_each_calls(call)
		overcommit(call);
}

/* ---- 155: fork ---- */

/* The exit code of a child. */
static int wait_for(pid_t pid)
{
	int status = -1;

	test_wait_until(waitpid(pid, &status, WNOHANG) == pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A child that waits for a byte, then says whether memory is as it was. */
static pid_t reader(struct test_model *m, const int *go)
{
	pid_t pid = fork();
	char byte;

	if (pid == 0) {
		if (go && read(go[0], &byte, 1) != 1)
			_exit(2);
		_exit(test_model_find_wrong(m, 0, m->cells) != m->cells);
	}
	assert_true(pid > 0);
	return pid;
}

static void conf_155_fork_read(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int p, round;

	(void)state;
	for (p = 0; p < 2; p++) {
		struct test_model *m = test_model_create(
			d, test_map(SZ_1M, SZ_1M), SZ_1M, place[p]);

		for (round = 0; round < 3; round++) {
			test_model_dev_write(m, 0, m->cells);
			assert_int_equal(wait_for(reader(m, NULL)), 0);
			test_model_cpu_check(m, 0, m->cells);
			test_model_dev_check(m, 0, m->cells);
		}
	}
}

/* The device and the parent write after fork(): the child does not see it. */
static void conf_155_fork_read_after(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned int p;

		for (p = 0; p < 2; p++) {
			struct test_model *m = test_model_create(
				d, test_map(SZ_1M, SZ_1M), SZ_1M, place[p]);
			int go[2];
			pid_t pid;

			test_model_dev_write(m, 0, m->cells);
			assert_int_equal(pipe(go), 0);
			pid = reader(m, go);
			test_model_dev_write(m, 0, m->cells / 2);
			test_model_cpu_write(m, m->cells / 4, m->cells / 2);
			assert_int_equal(
				call->madvise(m->mem, PS, MADV_DONTNEED), 0);
			test_model_zeroed(m, 0, 1);
			test_model_dev_check(m, 0, m->cells);
			assert_int_equal(write(go[1], "", 1), 1);
			assert_int_equal(wait_for(pid), 0);
			test_model_cpu_check(m, 0, m->cells);
			close(go[0]);
			close(go[1]);
		}
		fake_driver_destroy(d);
	}
}

/* ---- 156: memory that does not migrate ---- */

static void check_file(int fd, struct test_model *m)
{
	unsigned char *copy = gpusvm_alloc(m->cells * PS);
	unsigned char *mem = m->mem;

	assert_non_null(copy);
	assert_int_equal(pread(fd, copy, m->cells * PS, 0), m->cells * PS);
	test_model_moved(m, copy);
	test_model_cpu_check(m, 0, m->cells);
	test_model_moved(m, mem);
	gpusvm_free(copy);
}

static void play_file(const struct test_calls *call, int fd, int flags)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_1M, SZ_1M);
	unsigned char *mem = test_area_map(area, 0, SZ_1M,
					   PROT_READ | PROT_WRITE, flags, fd);
	struct test_model *m;

	assert_non_null(mem);
	m = test_model_create(d, mem, SZ_1M, FAKE_ACCESS_MIGRATE);
	test_model_play(m);
	test_model_dev_write(m, 0, m->cells);
	if (fd >= 0)
		check_file(fd, m);
	/* The pages go; what is in them is the file's. */
	assert_int_equal(call->madvise(mem, SZ_1M, MADV_DONTNEED), 0);
	test_model_dev_check(m, 0, m->cells);
	test_model_cpu_check(m, 0, m->cells);
	assert_int_equal(d->copies_to_devmem, 0);
	assert_int_equal(fake_devmem_used(d), 0);
	fake_driver_destroy(d);
}

static void conf_156_shared_memory(void **state)
{
	(void)state;
	for_each_calls(call)
		play_file(call, -1, MAP_SHARED | MAP_ANONYMOUS);
}

static void conf_156_shared_file(void **state)
{
	(void)state;
	for_each_calls(call) {
		int fd = memfd_create("conf_156", MFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, (off_t)SZ_1M), 0);
		play_file(call, fd, MAP_SHARED);
		close(fd);
	}
}

static int disk_file(size_t size)
{
	char path[] = "/var/tmp/gpusvm-conf_156-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		test_skip("no file in /var/tmp: %s", strerror(errno));
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void conf_156_file_on_disk(void **state)
{
	(void)state;
	for_each_calls(call) {
		int fd = disk_file(SZ_1M);

		play_file(call, fd, MAP_SHARED);
		close(fd);
	}
}

/* Copies of the file's pages: the device writes them and not the file. */
static void conf_156_private_file(void **state)
{
	int fd = disk_file(SZ_1M);

	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_1M, SZ_1M);
		unsigned char *mem = test_area_map(area, 0, SZ_1M,
						   PROT_READ | PROT_WRITE,
						   MAP_PRIVATE, fd);
		struct test_model *file, *m;

		assert_non_null(mem);
		m = test_model_create(d, mem, SZ_1M, FAKE_ACCESS_MIGRATE);
		file = test_model_create(d, mem, SZ_1M, 0);
		test_model_play(m);
		test_model_dev_write(m, 0, m->cells);
		check_file(fd, file);
		test_model_cpu_check(m, 0, m->cells);
		assert_int_equal(call->madvise(mem, SZ_1M, MADV_DONTNEED), 0);
		/* No event tells of files on disk, so this is for hooks. */
		if (call->announced) {
			test_model_dev_check(file, 0, file->cells);
			test_model_cpu_check(file, 0, file->cells);
		}
		assert_int_equal(d->copies_to_devmem, 0);
		fake_driver_destroy(d);
	}
	close(fd);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_154_more_than_the_device_has),
	conf_test(conf_155_fork_read),
	conf_test(conf_155_fork_read_after),
	conf_test(conf_156_shared_memory),
	conf_test(conf_156_shared_file),
	conf_test(conf_156_file_on_disk),
	conf_test(conf_156_private_file),
};

CONF_MAIN(tests)
