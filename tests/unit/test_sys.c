/* SPDX-License-Identifier: MIT */
/*
 * The system calls: each gives -errno and never -1, and the arguments of some
 * arrive where they should.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "compiler.h"
#include "page_size.h"
#include "sys.h"

#define NSEC_PER_MSEC 1000000l

/* Above the greatest that the kernel gives (PID_MAX_LIMIT). */
#define NO_TID (8 << 20)

/* ---- Errors ---- */

#define assert_error(call, expected) \
	assert_error_(call, expected, #call, __LINE__)

static void assert_error_(long got, int expected, const char *call, int line)
{
	/* What a container's seccomp filter says instead. */
	if (got == expected || got == -EPERM || got == -ENOSYS)
		return;
	print_error("%s: %ld, not %d\n", call, got, expected);
	_fail(__FILE__, line);
}

static void files_with_bad_arguments_return_errno(void **state)
{
	char byte = 0;

	(void)state;
	assert_error(gpusvm_sys_open("/nonexistent", O_RDONLY), -ENOENT);
	assert_error(gpusvm_sys_close(-1), -EBADF);
	assert_error(gpusvm_sys_read(-1, &byte, 1), -EBADF);
	assert_error(gpusvm_sys_pread(-1, &byte, 1, 0), -EBADF);
	assert_error(gpusvm_sys_write(-1, &byte, 1), -EBADF);
	assert_error(gpusvm_sys_getdents64(-1, &byte, 1), -EBADF);
	assert_error(gpusvm_sys_poll(NULL, 1, 0), -EFAULT);
	assert_error(gpusvm_sys_eventfd(0, -1), -EINVAL);
}

static void memory_with_bad_arguments_returns_errno(void **state)
{
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

	(void)state;
	assert_error(gpusvm_sys_mmap(0, 0, PROT_READ,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		     -EINVAL);
	assert_error(gpusvm_sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, -1,
				     0),
		     -EBADF);
	assert_error(gpusvm_sys_munmap(1, PAGE_SIZE), -EINVAL);
	assert_error(gpusvm_sys_mprotect(1, PAGE_SIZE, PROT_READ), -EINVAL);
	assert_error(gpusvm_sys_madvise(0, PAGE_SIZE, -1), -EINVAL);
	assert_error(gpusvm_sys_process_vm_readv(-1, &iov, 1, &iov, 1), -ESRCH);
	assert_error(gpusvm_sys_mbind(0, PAGE_SIZE, 9999, NULL, 0, 0), -EINVAL);
	assert_error(gpusvm_sys_move_pages(0, 0, NULL, NULL, NULL, -1),
		     -EINVAL);
	assert_error(gpusvm_sys_get_mempolicy(NULL, NULL, 0, 0, ~0ul), -EINVAL);
}

static void ioctls_with_bad_file_return_ebadf(void **state)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { 0 };
	struct uffdio_range range = { 0 };
	struct uffdio_copy copy = { 0 };
	struct uffdio_zeropage zero = { 0 };
	struct uffdio_writeprotect wp = { 0 };
	struct uffdio_rwprotect rwp = { 0 };
	struct uffdio_move move = { 0 };
	struct procmap_query query = { 0 };
	struct pm_scan_arg scan = { 0 };

	(void)state;
	assert_error(gpusvm_sys_userfaultfd(-1), -EINVAL);
	assert_error(gpusvm_sys_userfaultfd_dev(-1, 0), -EBADF);
	assert_error(gpusvm_sys_uffd_api(-1, &api), -EBADF);
	assert_error(gpusvm_sys_uffd_register(-1, &reg), -EBADF);
	assert_error(gpusvm_sys_uffd_unregister(-1, &range), -EBADF);
	assert_error(gpusvm_sys_uffd_wake(-1, &range), -EBADF);
	assert_error(gpusvm_sys_uffd_copy(-1, &copy), -EBADF);
	assert_error(gpusvm_sys_uffd_zeropage(-1, &zero), -EBADF);
	assert_error(gpusvm_sys_uffd_writeprotect(-1, &wp), -EBADF);
	assert_error(gpusvm_sys_uffd_rwprotect(-1, &rwp), -EBADF);
	assert_error(gpusvm_sys_uffd_move(-1, &move), -EBADF);
	assert_error(gpusvm_sys_procmap_query(-1, &query), -EBADF);
	assert_error(gpusvm_sys_pagemap_scan(-1, &scan), -EBADF);
}

static void threads_with_bad_arguments_return_errno(void **state)
{
	unsigned int word = 1;

	(void)state;
	assert_error(gpusvm_sys_futex_wait(&word, 0, NULL), -EAGAIN);
	assert_error(gpusvm_sys_futex_wait((void *)1, 0, NULL), -EINVAL);
	assert_error(gpusvm_sys_futex_wake((void *)1, 1), -EINVAL);
	assert_error(gpusvm_sys_thread_cpu_ns(NO_TID), -EINVAL);
	assert_error(gpusvm_sys_send_sigbus(-1, 0), -EINVAL);
	assert_error(gpusvm_sys_tgkill(getpid(), NO_TID, 0), -ESRCH);
	assert_error(gpusvm_sys_tgkill(getpid(), -1, 0), -EINVAL);
	assert_error(gpusvm_sys_membarrier(1 << 30), -EINVAL);
}

/* ---- Files ---- */

static void eventfd_written_and_read_gives_the_sum(void **state)
{
	uint64_t value = 4;
	int fd = gpusvm_sys_eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(gpusvm_sys_write(fd, &value, sizeof(value)),
			 sizeof(value));
	value = 0;
	assert_int_equal(gpusvm_sys_read(fd, &value, sizeof(value)),
			 sizeof(value));
	assert_int_equal(value, 7);
	assert_int_equal(gpusvm_sys_read(fd, &value, sizeof(value)), -EAGAIN);
	assert_int_equal(gpusvm_sys_close(fd), 0);
	assert_int_equal(gpusvm_sys_close(fd), -EBADF);
}

static void pread_at_offset_reads_there(void **state)
{
	int fd = gpusvm_sys_open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char text[3];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(gpusvm_sys_pread(fd, text, sizeof(text), 1),
			 sizeof(text));
	assert_memory_equal(text, "ELF", sizeof(text));
	assert_int_equal(gpusvm_sys_close(fd), 0);
}

static void getdents64_lists_a_directory_once(void **state)
{
	int fd = gpusvm_sys_open("/proc/self/task",
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[4096] __attribute__((aligned(8)));
	const struct dirent *entry;
	unsigned int found = 0;
	char self[16];
	long len, at;

	(void)state;
	assert_true(fd >= 0);
	snprintf(self, sizeof(self), "%d", (int)gettid());
	len = gpusvm_sys_getdents64(fd, buf, sizeof(buf));
	assert_true(len > 0);
	for (at = 0; at < len; at += entry->d_reclen) {
		entry = (const void *)(buf + at);
		found += !strcmp(entry->d_name, self);
	}
	assert_int_equal(at, len);
	assert_int_equal(found, 1);
	assert_int_equal(gpusvm_sys_getdents64(fd, buf, sizeof(buf)), 0);
	assert_int_equal(gpusvm_sys_close(fd), 0);
	assert_int_equal(gpusvm_sys_getdents64(fd, buf, sizeof(buf)), -EBADF);
}

static void poll_waits_for_event_or_timeout(void **state)
{
	int fd = gpusvm_sys_eventfd(0, EFD_CLOEXEC);
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	unsigned long before = gpusvm_sys_now_ns();
	uint64_t value = 1;

	(void)state;
	assert_int_equal(gpusvm_sys_poll(&pollfd, 1, 0), 0);
	assert_int_equal(gpusvm_sys_poll(&pollfd, 1, NSEC_PER_MSEC), 0);
	assert_true(gpusvm_sys_now_ns() - before >= NSEC_PER_MSEC);
	assert_int_equal(gpusvm_sys_write(fd, &value, sizeof(value)),
			 sizeof(value));
	assert_int_equal(gpusvm_sys_poll(&pollfd, 1, -1), 1);
	assert_int_equal(pollfd.revents, POLLIN);
	assert_int_equal(gpusvm_sys_close(fd), 0);
}

/* ---- Memory ---- */

static void mmap_gives_memory_that_madvise_clears(void **state)
{
	long ret = gpusvm_sys_mmap(0, PAGE_SIZE, PROT_READ,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long addr = (unsigned long)ret;
	char *memory = (char *)addr;

	(void)state;
	assert_true(ret > 0);
	assert_int_equal(gpusvm_sys_mprotect(addr, PAGE_SIZE,
					     PROT_READ | PROT_WRITE),
			 0);
	memory[5] = 1;
	assert_int_equal(gpusvm_sys_madvise(addr, PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(memory[5], 0);
	assert_int_equal(gpusvm_sys_munmap(addr, PAGE_SIZE), 0);
}

static void process_vm_readv_of_self_copies(void **state)
{
	char from[] = "abc", to[sizeof(from)] = "";
	struct iovec local = { .iov_base = to, .iov_len = sizeof(to) };
	struct iovec remote = { .iov_base = from, .iov_len = sizeof(from) };

	(void)state;
	assert_int_equal(gpusvm_sys_process_vm_readv(gpusvm_sys_getpid(),
						     &local, 1, &remote, 1),
			 sizeof(from));
	assert_string_equal(to, from);
}

static void userfaultfd_opens_and_speaks_the_api(void **state)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = gpusvm_sys_userfaultfd(O_CLOEXEC | O_NONBLOCK |
					UFFD_USER_MODE_ONLY);

	(void)state;
	/* Before Linux 5.11 the flag is unknown. */
	if (fd == -EINVAL)
		fd = gpusvm_sys_userfaultfd(O_CLOEXEC | O_NONBLOCK);
	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	assert_int_equal(gpusvm_sys_uffd_api(fd, &api), 0);
	assert_int_equal(api.api, UFFD_API);
	assert_true(api.ioctls & 1ull << _UFFDIO_REGISTER);
	/* Once is all, with features that need no privilege, too. */
	api = (struct uffdio_api){ .api = UFFD_API };
	assert_int_equal(gpusvm_sys_uffd_api(fd, &api), -EINVAL);
	assert_int_equal(gpusvm_sys_close(fd), 0);
}

static void userfaultfd_from_device_opens(void **state)
{
	int device = gpusvm_sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	(void)state;
	if (device < 0)
		skip();
	fd = gpusvm_sys_userfaultfd_dev(device, O_CLOEXEC | O_NONBLOCK);
	/* By a seccomp filter, for one. */
	if (fd == -EPERM) {
		close(device);
		skip();
	}
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(gpusvm_sys_close(fd), 0);
	assert_int_equal(gpusvm_sys_close(device), 0);
}

/* Linux 6.11 */
static void procmap_query_finds_the_mapping(void **state)
{
	int fd = gpusvm_sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	unsigned long here = (unsigned long)&fd;
	struct procmap_query query = { .size = sizeof(query),
				       .query_addr = here };
	int ret;

	(void)state;
	assert_true(fd >= 0);
	ret = gpusvm_sys_procmap_query(fd, &query);
	assert_int_equal(gpusvm_sys_close(fd), 0);
	if (ret == -ENOTTY)
		skip();
	assert_int_equal(ret, 0);
	assert_true(query.vma_start <= here);
	assert_true(query.vma_end > here);
	assert_true(query.vma_flags & PROCMAP_QUERY_VMA_WRITABLE);
}

/* Linux 6.7 */
static void pagemap_scan_finds_the_page(void **state)
{
	int fd = gpusvm_sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long here = PAGE_ALIGN_DOWN((unsigned long)&fd);
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = here,
		.end = here + PAGE_SIZE,
		.vec = (unsigned long)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	int ret;

	(void)state;
	assert_true(fd >= 0);
	ret = gpusvm_sys_pagemap_scan(fd, &arg);
	assert_int_equal(gpusvm_sys_close(fd), 0);
	if (ret == -ENOTTY)
		skip();
	assert_int_equal(ret, 1);
	assert_int_equal(region.start, here);
	assert_int_equal(region.categories, PAGE_IS_PRESENT);
}

static void move_pages_without_nodes_tells_where_a_page_is(void **state)
{
	void *page = (void *)PAGE_ALIGN_DOWN((unsigned long)&page);
	int status = -1, mode = -1;
	int ret = gpusvm_sys_move_pages(0, 1, &page, NULL, &status, 0);

	(void)state;
	if (ret == -ENOSYS || ret == -EPERM)
		skip();
	assert_int_equal(ret, 0);
	assert_true(status >= 0);
	assert_int_equal(gpusvm_sys_get_mempolicy(&mode, NULL, 0, 0, 0), 0);
	assert_true(mode >= 0);
}

/* ---- Threads and time ---- */

static void ids_are_those_of_libc(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_sys_getpid(), getpid());
	assert_int_equal(gpusvm_sys_gettid(), gettid());
	assert_int_equal(gpusvm_sys_tgkill(getpid(), gettid(), 0), 0);
}

static void now_ns_is_the_monotonic_clock(void **state)
{
	struct timespec before, after;
	unsigned long now;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	gpusvm_sys_yield();
	gpusvm_sys_nanosleep(1000);
	now = gpusvm_sys_now_ns();
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(now,
			(uint64_t)before.tv_sec * 1000000000 +
				(uint64_t)before.tv_nsec + 1000,
			(uint64_t)after.tv_sec * 1000000000 +
				(uint64_t)after.tv_nsec);
}

static long own_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return used.tv_sec * 1000000000l + used.tv_nsec;
}

static void *tell_cpu_ns(void *arg)
{
	return (void *)gpusvm_sys_thread_cpu_ns(*(pid_t *)arg);
}

/* Asked by the thread itself, and by another, which has used less. */
static void thread_cpu_ns_is_the_time_of_that_thread(void **state)
{
	pid_t self = gpusvm_sys_gettid();
	long before, used, after;
	pthread_t thread;
	void *told;

	(void)state;
	while (own_cpu_ns() < 10 * NSEC_PER_MSEC)
		gpusvm_sys_yield();
	before = own_cpu_ns();
	used = gpusvm_sys_thread_cpu_ns(self);
	after = own_cpu_ns();
	assert_in_range(used, before, after);

	assert_int_equal(pthread_create(&thread, NULL, tell_cpu_ns, &self), 0);
	pthread_join(thread, &told);
	assert_in_range((long)told, after, own_cpu_ns());
	assert_int_equal(gpusvm_sys_thread_cpu_ns(NO_TID), -EINVAL);
}

static void futex_wait_with_timeout_times_out(void **state)
{
	struct timespec timeout = { .tv_nsec = NSEC_PER_MSEC };
	unsigned int word = 0;

	(void)state;
	assert_int_equal(gpusvm_sys_futex_wait(&word, 0, &timeout), -ETIMEDOUT);
	assert_int_equal(gpusvm_sys_futex_wake(&word, 1), 0);
}

static void *wait_on_futex(void *arg)
{
	return (void *)(long)gpusvm_sys_futex_wait(arg, 0, NULL);
}

static void futex_wake_wakes_a_waiter(void **state)
{
	unsigned int word = 0;
	pthread_t thread;
	void *ret;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, wait_on_futex, &word),
			 0);
	while (!gpusvm_sys_futex_wake(&word, 1))
		gpusvm_sys_yield();
	pthread_join(thread, &ret);
	assert_ptr_equal(ret, NULL);
}

static struct {
	pid_t tid;
	int code;
	unsigned long addr;
	unsigned int count;
} caught;

static void catch_sigbus(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	caught.tid = gpusvm_sys_gettid();
	caught.code = info->si_code;
	caught.addr = (unsigned long)info->si_addr;
	__atomic_fetch_add(&caught.count, 1, __ATOMIC_RELEASE);
}

static void *send_to_thread(void *arg)
{
	pid_t tid = *(pid_t *)arg;

	return (void *)(long)gpusvm_sys_send_sigbus(tid, 0x123450000ul);
}

static void send_sigbus_reaches_the_thread(void **state)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO }, old;
	pid_t self = gpusvm_sys_gettid();
	pthread_t thread;
	void *ret;

	(void)state;
	action.sa_sigaction = catch_sigbus;
	assert_int_equal(sigaction(SIGBUS, &action, &old), 0);
	caught.count = 0;
	assert_int_equal(gpusvm_sys_send_sigbus(self, 0x543210000ul), 0);
	assert_int_equal(__atomic_load_n(&caught.count, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(caught.tid, self);
	assert_int_equal(caught.code, BUS_ADRERR);
	assert_int_equal(caught.addr, 0x543210000ul);

	assert_int_equal(pthread_create(&thread, NULL, send_to_thread, &self),
			 0);
	pthread_join(thread, &ret);
	assert_ptr_equal(ret, NULL);
	while (__atomic_load_n(&caught.count, __ATOMIC_ACQUIRE) < 2)
		gpusvm_sys_yield();
	assert_int_equal(caught.tid, self);
	assert_int_equal(caught.code, SI_QUEUE);
	assert_int_equal(caught.addr, 0x123450000ul);
	sigaction(SIGBUS, &old, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_with_bad_arguments_return_errno),
		cmocka_unit_test(memory_with_bad_arguments_returns_errno),
		cmocka_unit_test(ioctls_with_bad_file_return_ebadf),
		cmocka_unit_test(threads_with_bad_arguments_return_errno),
		cmocka_unit_test(eventfd_written_and_read_gives_the_sum),
		cmocka_unit_test(pread_at_offset_reads_there),
		cmocka_unit_test(getdents64_lists_a_directory_once),
		cmocka_unit_test(poll_waits_for_event_or_timeout),
		cmocka_unit_test(mmap_gives_memory_that_madvise_clears),
		cmocka_unit_test(process_vm_readv_of_self_copies),
		cmocka_unit_test(userfaultfd_opens_and_speaks_the_api),
		cmocka_unit_test(userfaultfd_from_device_opens),
		cmocka_unit_test(procmap_query_finds_the_mapping),
		cmocka_unit_test(pagemap_scan_finds_the_page),
		cmocka_unit_test(
			move_pages_without_nodes_tells_where_a_page_is),
		cmocka_unit_test(ids_are_those_of_libc),
		cmocka_unit_test(now_ns_is_the_monotonic_clock),
		cmocka_unit_test(thread_cpu_ns_is_the_time_of_that_thread),
		cmocka_unit_test(futex_wait_with_timeout_times_out),
		cmocka_unit_test(futex_wake_wakes_a_waiter),
		cmocka_unit_test(send_sigbus_reaches_the_thread),
	};

	return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
