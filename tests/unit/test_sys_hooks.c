/* SPDX-License-Identifier: MIT */
/* The system calls that hooks make: they do it, and return what they should. */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "page_size.h"
#include "sys.h"

/* They are not libc's, which would have set errno. */
#define assert_error(call, expected)              \
	do {                                      \
		errno = 0;                        \
		assert_int_equal(call, expected); \
		assert_int_equal(errno, 0);       \
	} while (0)

static void hooked_calls_with_bad_arguments_return_errno(void **state)
{
	const struct iovec iov = { NULL, 0 };
	unsigned long inode;
	size_t size = 1;

	(void)state;
	assert_error(gpusvm_sys_mremap(1, PAGE_SIZE, PAGE_SIZE, 0, 0), -EINVAL);
	assert_error(gpusvm_sys_pkey_mprotect(1, PAGE_SIZE, 0, -1), -EINVAL);
	assert_error(gpusvm_sys_mlock(-2 * PAGE_SIZE, PAGE_SIZE), -ENOMEM);
	assert_error(gpusvm_sys_mlock2(0, PAGE_SIZE, ~0u), -EINVAL);
	assert_error(gpusvm_sys_shmdt(1), -EINVAL);
	assert_error(gpusvm_sys_shmat(-1, 0, 0), -EINVAL);
	assert_error(gpusvm_sys_fallocate(-1, 0, 0, 1), -EBADF);
	assert_error(gpusvm_sys_ftruncate(-1, 0), -EBADF);
	/* libc has its break and its errno. */
	assert_int_equal(gpusvm_sys_brk((void *)~0xfffful), -ENOMEM);
	assert_error(gpusvm_sys_truncate("", 0), -ENOENT);
	assert_error(gpusvm_sys_remap_file_pages(0, PAGE_SIZE, ~0, 0, 0),
		     -EINVAL);
	assert_error(gpusvm_sys_process_madvise(-1, &iov, 1, 0, ~0u), -EINVAL);
	assert_error(gpusvm_sys_file_id(-1, NULL, &inode, &size), -EBADF);
	assert_error(gpusvm_sys_file_id(-1, "", &inode, &size), -ENOENT);
	assert_error(gpusvm_sys_file_id(-1, "/", &inode, &size), -ENODEV);
	assert_error(gpusvm_sys_shm_size(-1, &size), -EINVAL);
	assert_int_equal(size, 0);
}

static void to_libc_sets_errno_for_errors_only(void **state)
{
	(void)state;
	errno = 0;
	assert_int_equal(gpusvm_sys_to_libc(0), 0);
	assert_int_equal(gpusvm_sys_to_libc(5), 5);
	/* An address. */
	assert_int_equal(gpusvm_sys_to_libc(-4096), -4096);
	assert_int_equal(errno, 0);
	assert_int_equal(gpusvm_sys_to_libc(-4095), -1);
	assert_int_equal(errno, 4095);
	assert_int_equal(gpusvm_sys_to_libc(-EPERM), -1);
	assert_int_equal(errno, EPERM);
}

static void mremap_moves_what_it_must(void **state)
{
	long from = gpusvm_sys_mmap(0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long to = gpusvm_sys_mmap(0, PAGE_SIZE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(from > 0 && to > 0);
	((char *)from)[3] = 7;
	/* All five arguments count. */
	assert_int_equal(gpusvm_sys_mremap((unsigned long)from, 2 * PAGE_SIZE,
					   PAGE_SIZE,
					   MREMAP_MAYMOVE | MREMAP_FIXED,
					   (unsigned long)to),
			 to);
	assert_int_equal(((char *)to)[3], 7);
	assert_int_equal(gpusvm_sys_mlock((unsigned long)to, PAGE_SIZE), 0);
	assert_int_equal(gpusvm_sys_mlock2((unsigned long)to, PAGE_SIZE, 0), 0);
	assert_int_equal(gpusvm_sys_munmap((unsigned long)to, PAGE_SIZE), 0);
}

static void files_change_and_are_known_by_their_inode(void **state)
{
	const char *folder = getenv("TMPDIR");
	unsigned long inode = 0;
	char path[PATH_MAX];
	size_t block = 0;
	struct stat st;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/sys_hooks.XXXXXX",
		 folder ? folder : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(gpusvm_sys_ftruncate(fd, 3 * PAGE_SIZE), 0);
	assert_int_equal(gpusvm_sys_fallocate(fd, 0, 0, 5 * PAGE_SIZE), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 5 * PAGE_SIZE);
	assert_int_equal(gpusvm_sys_file_id(fd, NULL, &inode, &block), 0);
	assert_int_equal(inode, st.st_ino);
	assert_int_equal(block, st.st_blksize);
	inode = 0;
	assert_int_equal(gpusvm_sys_file_id(-1, path, &inode, &block), 0);
	assert_int_equal(inode, st.st_ino);
	assert_int_equal(gpusvm_sys_truncate(path, PAGE_SIZE), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, PAGE_SIZE);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(gpusvm_sys_close(fd), 0);
}

static void shared_memory_has_its_size(void **state)
{
	int id = shmget(IPC_PRIVATE, 3 * PAGE_SIZE - 5, 0600);
	size_t size;
	long addr;

	(void)state;
	if (id < 0)
		skip();
	addr = gpusvm_sys_shmat(id, 0, 0);
	shmctl(id, IPC_RMID, NULL);
	assert_true(addr > 0);
	assert_int_equal(gpusvm_sys_shm_size(id, &size), 0);
	assert_int_equal(size, 3 * PAGE_SIZE - 5);
	assert_int_equal(gpusvm_sys_shmdt((unsigned long)addr), 0);
}

static void break_is_libcs(void **state)
{
	char *now = gpusvm_sys_sbrk(0);

	(void)state;
	/* musl's brk() fails whatever it is asked. */
	if (brk(now)) {
		print_message("skipped: this libc has no break\n");
		skip();
	}
	assert_ptr_equal(now, sbrk(0));
	assert_ptr_equal(gpusvm_sys_sbrk((intptr_t)PAGE_SIZE), now);
	assert_ptr_equal(sbrk(0), now + PAGE_SIZE);
	assert_int_equal(gpusvm_sys_brk(now), 0);
	assert_ptr_equal(sbrk(0), now);
}

static void blocked_signals_are_all_but_faults(void **state)
{
	static const int faults[] = { SIGSEGV, SIGBUS,	SIGFPE,
				      SIGILL,  SIGTRAP, SIGABRT };
	sigset_t before, blocked, after;
	unsigned long old;
	unsigned int i;

	(void)state;
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	gpusvm_sys_block_signals(&old);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	gpusvm_sys_restore_signals(&old);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		assert_false(sigismember(&blocked, faults[i]));
	assert_true(sigismember(&blocked, SIGUSR1));
	assert_true(sigismember(&blocked, SIGINT));
	assert_true(sigismember(&blocked, SIGRTMAX));
	assert_true(sigismember(&after, SIGUSR2));
	assert_false(sigismember(&after, SIGUSR1));
	sigemptyset(&before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hooked_calls_with_bad_arguments_return_errno),
		cmocka_unit_test(to_libc_sets_errno_for_errors_only),
		cmocka_unit_test(mremap_moves_what_it_must),
		cmocka_unit_test(files_change_and_are_known_by_their_inode),
		cmocka_unit_test(shared_memory_has_its_size),
		cmocka_unit_test(break_is_libcs),
		cmocka_unit_test(blocked_signals_are_all_but_faults),
	};

	return cmocka_run_group_tests_name("sys_hooks", tests, NULL, NULL);
}
