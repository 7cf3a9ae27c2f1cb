/* SPDX-License-Identifier: MIT */
/*
 * The sources that work by protection, with a real kernel: whose SIGSEGV is
 * whose, before, while and after the source is open, and in a child.
 *
 * argv[1]: only the tests whose names have this in them.
 */
#include "device.h"
#include "pattern.h"
#include "process_tests.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for(pid_t pid, int *status)
{
	check(waitpid(pid, status, 0) == pid);
}

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

/* ---- No handler of ours; memory that has gone; a child ---- */

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

static const struct process_test tests[] = {
	TEST(programs_handler_gets_its_own_faults),
	TEST(handler_without_siginfo_is_called),
	TEST(later_handler_goes_behind),
	TEST(later_handler_outlives_close_and_open),
	TEST(default_action_kills),
	TEST(errno_is_left_alone),
	TEST(fault_on_an_alternate_stack),
	TEST(manual_source_waits_for_populate),
	TEST(announced_unmap_is_forgotten),
	TEST(child_has_data_and_the_programs_handler),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
