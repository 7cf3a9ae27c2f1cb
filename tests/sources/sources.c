/* SPDX-License-Identifier: MIT */
/*
 * The sources that work by protection, with a real kernel: contents and
 * protections after a round trip, whose SIGSEGV is whose, system calls, fork,
 * changes that are announced and that are not, and which source is chosen where
 * userfaultfd is not to be had.
 *
 * Each test is a process, which the signals and filters of the others do not
 * concern.  argv[1]: only the tests whose names have this in them.
 */
#include "device.h"
#include "pattern.h"
#include "process_tests.h"
#include "userfaultfd_filter.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The lines of /proc/self/maps about [mem, mem + size). */
static void read_maps(const void *mem, size_t size, char *lines, size_t max)
{
	unsigned long start, end;
	char line[512];
	FILE *file = fopen("/proc/self/maps", "r");

	check(file);
	lines[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		check(sscanf(line, "%lx-%lx", &start, &end) == 2);
		if (start < (unsigned long)mem + size &&
		    end > (unsigned long)mem)
			strncat(lines, line, max - strlen(lines) - 1);
	}
	fclose(file);
}

static void wait_for(pid_t pid, int *status)
{
	check(waitpid(pid, status, 0) == pid);
}

/* ---- Round trips ---- */

static void round_trip(int prot)
{
	char before[4096], away[4096], after[4096];
	unsigned char *mem = device_map(HUGE, RW);

	fill(mem, HUGE, 1);
	check(!mprotect(mem, HUGE, prot));
	read_maps(mem - PAGE, HUGE + 2 * PAGE, before, sizeof(before));
	/* A part in the middle, so that the mapping is split meanwhile. */
	check(!device_take(mem + 4 * SIZE, SIZE));
	check(device_pages() == SIZE / PAGE);
	read_maps(mem - PAGE, HUGE + 2 * PAGE, away, sizeof(away));
	check(strcmp(before, away));
	check(matches(mem, HUGE, 1));
	device_check_empty();
	read_maps(mem - PAGE, HUGE + 2 * PAGE, after, sizeof(after));
	check(!strcmp(before, after));
	if (prot & PROT_WRITE) {
		check(!device_take(mem + 4 * SIZE, SIZE));
		fill(mem, HUGE, 2);
		check(!device_take(mem, SIZE));
		check(matches(mem, HUGE, 2));
		device_check_empty();
		read_maps(mem - PAGE, HUGE + 2 * PAGE, after, sizeof(after));
		check(!strcmp(before, after));
	}
}

static void protections_are_the_programs_after_a_round_trip(void)
{
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	round_trip(RW);
	round_trip(RW | PROT_EXEC);
	round_trip(PROT_READ);
	check(!device_log_errors);
	device_close();
}

static void whole_mapping_makes_a_round_trip(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	unsigned int i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	for (i = 0; i < 20; i++) {
		fill(mem, HUGE, i);
		check(!device_take(mem, HUGE));
		check(matches(mem, HUGE, i));
	}
	device_close();
}

/* Pages that were never touched are accessible, and zero. */
static void untouched_memory_is_zero(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	mem[3 * PAGE] = 1;
	check(!device_take(mem, HUGE));
	for (i = 0; i < HUGE; i++)
		check(mem[i] == (i == 3 * PAGE));
	device_close();
}

static void locked_memory_is_refused(void)
{
	unsigned char *mem = device_map(SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 3);
	/* The bare call: that of a sanitizer does nothing. */
	if (syscall(SYS_mlock, mem, SIZE))
		skip("memory cannot be locked here");
	check(device_take(mem, SIZE) == -EBUSY);
	check(matches(mem, SIZE, 3));
	device_check_empty();
	device_close();
}

static void closing_brings_everything_home(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 4);
	check(!device_take(mem + SIZE, SIZE));
	check(!device_take(mem + 3 * SIZE, SIZE));
	device_close();
	check(matches(mem, 4 * SIZE, 4));
}

/* Threads that touch the same and other pages all go on. */
static unsigned char *shared_mem;

static void *touch_all(void *arg)
{
	size_t i, start = (size_t)arg;

	for (i = 0; i < HUGE; i += PAGE)
		__atomic_fetch_add(
			(unsigned int *)(shared_mem + (start + i) % HUGE), 1,
			__ATOMIC_RELAXED);
	return NULL;
}

static void many_threads_wait_for_pages(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	pthread_t thread[8];
	size_t i, round;

	shared_mem = mem;
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	for (round = 0; round < 5; round++) {
		for (i = 0; i < HUGE; i += SIZE)
			check(!device_take(mem + i, SIZE));
		for (i = 0; i < 8; i++)
			check(!pthread_create(&thread[i], NULL, touch_all,
					      (void *)(i * 8 * SIZE)));
		for (i = 0; i < 8; i++)
			check(!pthread_join(thread[i], NULL));
	}
	for (i = 0; i < HUGE; i += PAGE)
		check(*(unsigned int *)(mem + i) == 40);
	device_close();
}

/* ---- Whose SIGSEGV it is ---- */

static sigjmp_buf back;
static volatile sig_atomic_t handled;
static void *volatile fault_addr;
static void *volatile fault_context;
static volatile sig_atomic_t blocked;

static void on_segv_info(int sig, siginfo_t *info, void *context)
{
	sigset_t now;

	handled = sig;
	fault_addr = info->si_addr;
	fault_context = context;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	blocked = sigismember(&now, SIGUSR1) && sigismember(&now, SIGSEGV);
	siglongjmp(back, 1);
}

static void on_segv(int sig)
{
	handled = sig;
	siglongjmp(back, 1);
}

/* A fault that is nobody's but the program's. */
static void fault_at(unsigned char *addr)
{
	handled = 0;
	if (!sigsetjmp(back, 1))
		*(volatile unsigned char *)addr = 1;
	check(handled == SIGSEGV);
}

static void set_action(void *handler, int flags)
{
	struct sigaction action = { .sa_flags = flags };

	action.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
	sigaddset(&action.sa_mask, SIGUSR1);
	check(!sigaction(SIGSEGV, &action, NULL));
}

static void programs_handler_gets_its_own_faults(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	unsigned char *none = device_map(SIZE, PROT_NONE);
	struct sigaction now;
	sigset_t mask;

	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 5);
	check(!device_take(mem, SIZE));
	fault_at(none + 123);
	check(fault_addr == none + 123);
	check(fault_context && blocked);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	check(!sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGUSR1));
	/* A hole, and an address that no mapping can have. */
	fault_at((unsigned char *)64);
	check(fault_addr == (void *)64);
	/* Ours is nothing that it hears of. */
	handled = 0;
	check(matches(mem, SIZE, 5));
	check(!handled);
	/* Memory that has been on the device and is the program's again. */
	check(!gpusvm_mprotect(mem, SIZE, PROT_READ));
	fault_at(mem + PAGE);
	check(fault_addr == mem + PAGE);
	device_close();

	check(!sigaction(SIGSEGV, NULL, &now));
	check((void *)now.sa_sigaction == (void *)on_segv_info);
	check(now.sa_flags & SA_SIGINFO && sigismember(&now.sa_mask, SIGUSR1));
}

static void handler_without_siginfo_is_called(void)
{
	unsigned char *none = device_map(SIZE, PROT_NONE);
	struct sigaction now;

	set_action((void *)on_segv, SA_RESETHAND);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fault_at(none);
	/* As it would be without us. */
	check(!gpusvm_sigaction(SIGSEGV, NULL, &now));
	check(now.sa_handler == SIG_DFL);
	device_close();
}

static void later_handler_goes_behind(void)
{
	struct sigaction action = { .sa_handler = on_segv }, old;
	unsigned char *none = device_map(SIZE, PROT_NONE);
	unsigned char *mem = device_map(SIZE, RW);

#ifdef __SANITIZE_THREAD__
	skip("the kernel knows of ThreadSanitizer's handler only");
#endif
	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check(!gpusvm_sigaction(SIGSEGV, &action, &old));
	check((void *)old.sa_sigaction == (void *)on_segv_info);
	fill(mem, SIZE, 6);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 6));
	fault_addr = NULL;
	fault_at(none);
	check(!fault_addr);
	device_close();
	check(!sigaction(SIGSEGV, NULL, &old));
	check(old.sa_handler == on_segv);
}

static struct sigaction found;
static int asked;

static void on_segv_later(int sig, siginfo_t *info, void *context)
{
	/* If that comes back for ever, the time limit ends it. */
	asked++;
	found.sa_sigaction(sig, info, context);
}

/* By a bare sigaction(), which takes ours away; and then there is a new one. */
static void later_handler_outlives_close_and_open(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };
	unsigned char *none = device_map(SIZE, PROT_NONE);
	unsigned char *mem = device_map(SIZE, RW);
	int i;

#ifdef __SANITIZE_THREAD__
	skip("the kernel knows of ThreadSanitizer's handler only");
#endif
	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	action.sa_sigaction = on_segv_later;
	check(!sigaction(SIGSEGV, &action, &found));
	fill(mem, SIZE, 19);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 19));
	check(asked > 0);
	device_close();
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	asked = 0;
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 19));
	check(!asked);
	/* They leave by siglongjmp(), and the next is at the same place. */
	for (i = 1; i <= 3; i++) {
		fault_at(none + 5);
		check(fault_addr == none + 5);
#if defined(__x86_64__) || defined(__aarch64__)
		check(asked == i);
#endif
	}
	device_close();
	asked = 0;
	fault_at(none);
	check(asked == 1);
}

/* What ends a process with @handler, of a fault or of a signal that is sent. */
static int end_of(void *handler, bool sent)
{
	unsigned char *none = device_map(SIZE, PROT_NONE);
	int status;
	pid_t pid;

	pid = fork();
	check(pid >= 0);
	if (!pid) {
		prctl(PR_SET_DUMPABLE, 1);
		signal(SIGSEGV, (void (*)(int))handler);
		check(!device_open(GPUSVM_SOURCE_MPROTECT));
		if (sent)
			raise(SIGSEGV);
		else
			*(volatile unsigned char *)none = 1;
		_exit(3);
	}
	wait_for(pid, &status);
	return status;
}

static bool died(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void default_action_kills(void)
{
	int status;

	check(died(end_of((void *)SIG_DFL, false)));
	check(died(end_of((void *)SIG_DFL, true)));
	check(died(end_of((void *)SIG_IGN, false)));
	status = end_of((void *)SIG_IGN, true);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void errno_is_left_alone(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	volatile unsigned char byte;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	mem[0] = 7;
	check(!device_take(mem, SIZE));
	errno = 1234;
	byte = mem[0];
	check(errno == 1234 && byte == 7);
	device_close();
}

static void fault_on_an_alternate_stack(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	stack_t stack = { .ss_size = 64 << 10 };

	stack.ss_sp = malloc(stack.ss_size);
	check(stack.ss_sp && !sigaltstack(&stack, NULL));
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 8);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 8));
	device_close();
	stack.ss_flags = SS_DISABLE;
	check(!sigaltstack(&stack, NULL));
	free(stack.ss_sp);
}

/* ---- System calls ---- */

static void system_call_gives_efault_until_populated(void)
{
	unsigned char *mem = device_map(SIZE, RW), byte;
	int fds[2];

	check(!pipe(fds));
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check(!(device_features() & GPUSVM_FEATURE_KERNEL_FAULTS));
	mem[100] = 9;
	check(!device_take(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem + 100, 1l) == -1 &&
	      errno == EFAULT);
	check(!gpusvm_populate(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem + 100, 1l) == 1);
	check(read(fds[0], &byte, 1) == 1 && byte == 9);
	device_close();
}

static void manual_source_waits_for_populate(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	struct sigaction now;

	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MANUAL));
	check(!(device_features() &
		(GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
		 GPUSVM_FEATURE_EVENTS | GPUSVM_FEATURE_KERNEL_FAULTS)));
	check(!sigaction(SIGSEGV, NULL, &now));
	check((void *)now.sa_sigaction == (void *)on_segv_info);
	fill(mem, SIZE, 10);
	check(!device_take(mem, SIZE));
	fault_at(mem + 77);
	check(fault_addr == mem + 77);
	check(!gpusvm_populate(mem, SIZE));
	check(matches(mem, SIZE, 10));
	device_close();
}

/* ---- Changes ---- */

static void announced_protection_is_kept(void)
{
	char lines[4096];
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 11);
	check(!device_take(mem, SIZE));
	check(!gpusvm_mprotect(mem, SIZE, PROT_READ));
	device_check_empty();
	read_maps(mem, SIZE, lines, sizeof(lines));
	check(strstr(lines, " r--p "));
	check(matches(mem, 4 * SIZE, 11));
	device_close();
}

static void announced_move_takes_the_data_along(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);
	unsigned char *to = device_map(8 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 12);
	check(!device_take(mem + SIZE, SIZE));
	check(gpusvm_mremap(mem, 4 * SIZE, 8 * SIZE,
			    MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	check(matches(to, 4 * SIZE, 12));
	to[8 * SIZE - 1] = 1;
	device_close();
}

static void announced_growth_is_accessible(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW), *grown;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check(!munmap(mem + SIZE, 3 * SIZE));
	fill(mem, SIZE, 13);
	check(!device_take(mem, SIZE));
	grown = gpusvm_mremap(mem, SIZE, 2 * SIZE, MREMAP_MAYMOVE, NULL);
	check(grown != MAP_FAILED);
	check(matches(grown, SIZE, 13));
	grown[2 * SIZE - 1] = 1;
	device_close();
}

static void announced_drop_gives_zeros(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	int fds[2];
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 14);
	check(!device_take(mem, SIZE));
	check(!gpusvm_madvise(mem, SIZE / 2, MADV_DONTNEED));
	/* At once, not when somebody touches it. */
	check(!pipe(fds) && syscall(SYS_write, fds[1], mem, 1l) == 1);
	for (i = 0; i < SIZE / 2; i++)
		check(!mem[i]);
	check(mem[SIZE / 2] == pattern(SIZE / 2, 14));
	device_close();
}

/* Between begin and end the memory is the caller's, as free() would want it. */
static void announced_change_may_touch_what_it_changes(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);
	struct gpusvm_change change;
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 18);
	check(!device_take(mem, SIZE));
	check(!device_take(mem + SIZE, SIZE));
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, mem + SIZE, SIZE);
	check(matches(mem, 4 * SIZE, 18));
	check(!madvise(mem + SIZE, SIZE, MADV_DONTNEED));
	gpusvm_change_end(&change, true);
	check(matches(mem, SIZE, 18));
	for (i = SIZE; i < 2 * SIZE; i++)
		check(!mem[i]);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, mem, 4 * SIZE);
	check(!munmap(mem, 4 * SIZE));
	gpusvm_change_end(&change, true);
	device_close();
}

static void announced_unmap_is_forgotten(void)
{
	unsigned char *mem = device_map(SIZE, RW);

	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 15);
	check(!device_take(mem, SIZE));
	check(!gpusvm_munmap(mem, SIZE));
	device_check_empty();
	fault_at(mem);
	check(mmap(mem, SIZE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem);
	fault_at(mem);
	device_close();
}

/* What free() does: nobody tells, and the address is used again. */
static void unannounced_unmap_does_not_bring_data_back(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 16);
	check(!device_take(mem, SIZE));
	check(!device_take(mem + 2 * SIZE, SIZE));
	check(!munmap(mem, SIZE));
	check(mmap(mem, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == mem);
	fill(mem, SIZE, 17);
	check(!munmap(mem + 2 * SIZE, SIZE));
	device_close();
	check(matches(mem, SIZE, 17));
	check(device_log_has("nobody announced"));
}

/* ---- Fork ---- */

static void child_has_data_and_the_programs_handler(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	struct sigaction now;
	int status;
	pid_t pid;

	set_action((void *)on_segv_info, SA_SIGINFO);
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 18);
	check(!device_take(mem, SIZE));
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		check(matches(mem, SIZE, 18));
		check(!sigaction(SIGSEGV, NULL, &now));
		check((void *)now.sa_sigaction == (void *)on_segv_info);
		fill(mem, SIZE, 19);
		_exit(0);
	}
	wait_for(pid, &status);
	check(WIFEXITED(status) && !WEXITSTATUS(status));
	check(matches(mem, SIZE, 18));
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 18));
	device_close();
}

/* ---- The choice ---- */

/* As in a container. */
static void forbid_userfaultfd(void)
{
	if (test_forbid_userfaultfd(SECCOMP_RET_ERRNO | EPERM))
		skip("seccomp filters cannot be had here");
}

static void without_userfaultfd_mprotect_is_used(void)
{
	unsigned char *mem = device_map(SIZE, RW);

	forbid_userfaultfd();
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!device_log_errors);
	check(device_log_has("vm.unprivileged_userfaultfd"));
	check(device_log_has("EFAULT") && device_log_has("gpusvm_populate"));
	check(device_features() & GPUSVM_FEATURE_CPU_FAULTS);
	check(!(device_features() &
		(GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_EVENTS)));
	fill(mem, SIZE, 20);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 20));
	device_close();
}

static void forced_source_that_is_not_there_says_why(void)
{
	forbid_userfaultfd();
	check(device_open(GPUSVM_SOURCE_USERFAULTFD) == -EPERM);
	check(device_log_errors == 1);
	check(device_log_has("vm.unprivileged_userfaultfd"));
	check(device_log_has("/dev/userfaultfd"));
	check(device_open(GPUSVM_SOURCE_USERFAULTFD_USER) == -EPERM);
	check(device_log_errors == 1);
	check(device_log_has("seccomp"));
	setenv("GPUSVM_SOURCE", "userfaultfd", 1);
	check(device_open(GPUSVM_SOURCE_AUTO) == -EPERM);
	setenv("GPUSVM_SOURCE", "magic", 1);
	check(device_open(GPUSVM_SOURCE_AUTO) == -EINVAL);
	check(device_log_has("GPUSVM_SOURCE"));
	/* The option goes first. */
	check(!device_open(GPUSVM_SOURCE_MANUAL));
	device_close();
	check(device_open((enum gpusvm_source)7) == -EINVAL);
}

static void environment_chooses(void)
{
	setenv("GPUSVM_SOURCE", "mprotect", 1);
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!(device_features() & GPUSVM_FEATURE_USERFAULTFD));
	check(device_features() & GPUSVM_FEATURE_CPU_FAULTS);
	device_close();
	setenv("GPUSVM_SOURCE", "manual", 1);
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!(device_features() & GPUSVM_FEATURE_CPU_FAULTS));
	device_close();
}

static void user_mode_only_serves_user_mode_only(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	int err = device_open(GPUSVM_SOURCE_USERFAULTFD_USER);
	int fds[2];

	if (err == -EPERM || err == -ENOSYS)
		skip("userfaultfd for user mode only cannot be had here");
	check(!err && !pipe(fds));
	check(device_features() & GPUSVM_FEATURE_USERFAULTFD);
	check(device_features() & GPUSVM_FEATURE_EVENTS);
	check(!(device_features() & GPUSVM_FEATURE_KERNEL_FAULTS));
	fill(mem, SIZE, 21);
	check(!device_take(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem, 1l) == -1 && errno == EFAULT);
	check(matches(mem, SIZE, 21));
	device_close();
}

static void rwp_needs_no_signal(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	struct sigaction segv, bus;
	long written;
	int fds[2];
	int err;

	setenv("GPUSVM_SOURCE", "rwp", 1);
	err = device_open(GPUSVM_SOURCE_AUTO);
	check(err != -ENOSYS || device_log_has("Linux 7.3"));
	if (err == -EPERM || err == -ENOSYS)
		skip("there is no UFFD_FEATURE_RWP here (Linux 7.3)");
	check(!err && !pipe(fds));
	check(device_features() & GPUSVM_FEATURE_RWP);
	check(device_features() & GPUSVM_FEATURE_MOVE);
	check(device_features() & GPUSVM_FEATURE_EVENTS);
	fill(mem, SIZE, 22);
	check(!device_take(mem, SIZE));
	check(!sigaction(SIGSEGV, NULL, &segv) && segv.sa_handler == SIG_DFL);
	check(!sigaction(SIGBUS, NULL, &bus) && bus.sa_handler == SIG_DFL);
	written = syscall(SYS_write, fds[1], mem, 1l);
	if (device_features() & GPUSVM_FEATURE_KERNEL_FAULTS)
		check(written == 1);
	else
		check(written == -1 && errno == EFAULT);
	check(matches(mem, SIZE, 22));
	device_close();
}

static const struct process_test tests[] = {
	TEST(protections_are_the_programs_after_a_round_trip),
	TEST(whole_mapping_makes_a_round_trip),
	TEST(untouched_memory_is_zero),
	TEST(locked_memory_is_refused),
	TEST(closing_brings_everything_home),
	TEST(many_threads_wait_for_pages),
	TEST(programs_handler_gets_its_own_faults),
	TEST(handler_without_siginfo_is_called),
	TEST(later_handler_goes_behind),
	TEST(later_handler_outlives_close_and_open),
	TEST(default_action_kills),
	TEST(errno_is_left_alone),
	TEST(fault_on_an_alternate_stack),
	TEST(system_call_gives_efault_until_populated),
	TEST(manual_source_waits_for_populate),
	TEST(announced_protection_is_kept),
	TEST(announced_move_takes_the_data_along),
	TEST(announced_growth_is_accessible),
	TEST(announced_drop_gives_zeros),
	TEST(announced_change_may_touch_what_it_changes),
	TEST(announced_unmap_is_forgotten),
	TEST(unannounced_unmap_does_not_bring_data_back),
	TEST(child_has_data_and_the_programs_handler),
	TEST(without_userfaultfd_mprotect_is_used),
	TEST(forced_source_that_is_not_there_says_why),
	TEST(environment_chooses),
	TEST(user_mode_only_serves_user_mode_only),
	TEST(rwp_needs_no_signal),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
