/* SPDX-License-Identifier: MIT */
/*
 * A program with a handler of SIGSEGV of its own, set by whatever name libc has
 * for that, before the address space is opened or after, while the source is
 * mprotect: it gets its own faults as ever, and those of memory on the device
 * are the library's.  With GPUSVM_TEST_SOURCE=sigbus a handler of SIGBUS, while
 * the source is that.
 *
 * Each test is a process.  argv[1]: only the tests whose names have this in
 * them.
 */
#include "../sources/device.h"

#include <errno.h>
#include <sched.h>
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

#define SIZE (64ul << 10)
#define SECONDS 30

/* Of libc, but not of all headers. */
sighandler_t bsd_signal(int signum, sighandler_t handler);
int __sigaction(int signum, const struct sigaction *action,
		struct sigaction *old);

/* By which memory on the device faults, and what else does so with it. */
static enum gpusvm_source source = GPUSVM_SOURCE_MPROTECT;
static int fault_signal = SIGSEGV;

static unsigned char *mem, *none;
static char *stack;

/* ---- The program's handlers ---- */

static sigjmp_buf back;
static volatile sig_atomic_t times;
static void *volatile fault_addr;
static volatile bool on_stack, fault_blocked, usr1_blocked;

static void note(const void *local)
{
	sigset_t now;

	times++;
	on_stack = (const char *)local >= stack &&
		   (const char *)local < stack + SIZE;
	sigprocmask(SIG_SETMASK, NULL, &now);
	fault_blocked = sigismember(&now, fault_signal);
	usr1_blocked = sigismember(&now, SIGUSR1);
}

static void on_fault(int sig)
{
	check(sig == fault_signal);
	note(&sig);
	siglongjmp(back, 1);
}

static void on_fault_info(int sig, siginfo_t *info, void *context)
{
	check(sig == fault_signal && context);
	fault_addr = info->si_addr;
	note(&sig);
	siglongjmp(back, 1);
}

/* ---- Ways to set one ---- */

static void by_sigaction_with(int flags)
{
	struct sigaction action = { .sa_flags = flags };

	if (flags & SA_SIGINFO)
		action.sa_sigaction = on_fault_info;
	else
		action.sa_handler = on_fault;
	sigaddset(&action.sa_mask, SIGUSR1);
	check(!sigaction(fault_signal, &action, NULL));
}

static void by_sigaction(void)
{
	by_sigaction_with(SA_SIGINFO);
}

static void by_sigaction_on_stack(void)
{
	by_sigaction_with(SA_SIGINFO | SA_ONSTACK);
}

static void by_sigaction_once(void)
{
	by_sigaction_with((int)SA_RESETHAND);
}

static void by_sigaction_nested(void)
{
	by_sigaction_with(SA_NODEFER);
}

#ifndef __GLIBC__
static sighandler_t sysv_signal(int signum, sighandler_t handler)
{
	struct sigaction action = { .sa_handler = handler,
				    .sa_flags = (int)SA_RESETHAND |
						SA_NODEFER };
	struct sigaction old;

	check(!sigaction(signum, &action, &old));
	return old.sa_handler;
}
#endif

static void by_signal(void)
{
	check(signal(fault_signal, on_fault) == SIG_DFL);
}

static void by_bsd_signal(void)
{
	check(bsd_signal(fault_signal, on_fault) == SIG_DFL);
}

/* Of glibc alone. */
#ifdef __GLIBC__
static void by_other_sigaction(void)
{
	struct sigaction action = { .sa_handler = on_fault };

	sigaddset(&action.sa_mask, SIGUSR1);
	check(!__sigaction(fault_signal, &action, NULL));
}

static void by_ssignal(void)
{
	check(ssignal(fault_signal, on_fault) == SIG_DFL);
}

/* What signal() is with -D_XOPEN_SOURCE alone. */
static void by_other_sysv_signal(void)
{
	check(__sysv_signal(fault_signal, on_fault) == SIG_DFL);
}
#endif

static void by_sysv_signal(void)
{
	check(sysv_signal(fault_signal, on_fault) == SIG_DFL);
}

/* Deprecated, and there all the same. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void by_sigset(void)
{
	check(sigset(fault_signal, on_fault) == SIG_DFL);
	/* Until it is set again the signal is held back. */
	check(sigset(fault_signal, SIG_HOLD) == on_fault);
	check(sigset(fault_signal, SIG_HOLD) == SIG_HOLD);
	check(sigset(fault_signal, on_fault) == SIG_HOLD);
	check(sigset(fault_signal, on_fault) == on_fault);
}

static int ignore_fault(void)
{
	return sigignore(fault_signal);
}
#pragma GCC diagnostic pop

/* As those do who pass libc by, but not syscall(). */
static void by_number(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} action = { .handler = on_fault, .mask = 1ul << (SIGUSR1 - 1) }, old;

	memset(&old, 0xff, sizeof(old));
	check(!syscall(SYS_rt_sigaction, fault_signal, &action, &old, 8l));
	check(old.handler == SIG_DFL && !old.flags && !old.mask);
	check(!syscall(SYS_rt_sigaction, fault_signal, NULL, &old, 8l));
	check(old.handler == on_fault && old.mask == action.mask);
	check(syscall(SYS_rt_sigaction, fault_signal, &action, NULL, 4l) ==
		      -1 &&
	      errno == EINVAL);
}

/* ONCE: then it is the default action again. */
enum {
	ONCE = 1,
	INFO = 2,
	STACK = 4,
	NESTED = 8,
	MASK = 16
};

static const struct way {
	const char *name;
	void (*set)(void);
	unsigned int traits;
} ways[] = {
	{ "sigaction", by_sigaction, INFO | MASK },
	{ "sigaction, SA_ONSTACK", by_sigaction_on_stack, INFO | STACK | MASK },
	{ "sigaction, SA_RESETHAND", by_sigaction_once, ONCE | MASK },
	{ "sigaction, SA_NODEFER", by_sigaction_nested, NESTED | MASK },
	{ "signal", by_signal, 0 },
	{ "bsd_signal", by_bsd_signal, 0 },
	{ "sysv_signal", by_sysv_signal, ONCE | NESTED },
#ifdef __GLIBC__
	{ "__sigaction", by_other_sigaction, MASK },
	{ "ssignal", by_ssignal, 0 },
	{ "__sysv_signal", by_other_sysv_signal, ONCE | NESTED },
#endif
	{ "sigset", by_sigset, 0 },
	{ "SYS_rt_sigaction", by_number, MASK },
};

/* ---- What is done with it ---- */

/* Nobody but the library hears of it. */
static void round_trip(unsigned char byte)
{
	int before = times;
	size_t i;

	for (i = 0; i < SIZE; i++)
		mem[i] = (unsigned char)(byte + i / 4096);
	check(!device_take(mem, SIZE));
	check(device_pages() == SIZE / gpusvm_page_size());
	for (i = 0; i < SIZE; i++)
		check(mem[i] == (unsigned char)(byte + i / 4096));
	check(times == before);
	/* The page is the CPU's a moment before it is no more the device's. */
	while (device_pages())
		sched_yield();
}

static void own_fault(const struct way *way)
{
	int before = times;
	sigset_t now;

	fault_addr = NULL;
	if (!sigsetjmp(back, 1))
		*(volatile unsigned char *)(none + 123) = 1;
	check(times == before + 1);
	check(!(way->traits & INFO) || fault_addr == none + 123);
	check(!(way->traits & STACK) || on_stack);
	check(fault_blocked == !(way->traits & NESTED));
	check(usr1_blocked == !!(way->traits & MASK));
	sigprocmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, fault_signal) && !sigismember(&now, SIGUSR1));
}

static void check_told(const struct way *way, bool reset)
{
	struct sigaction now;

	check(!sigaction(fault_signal, NULL, &now));
	if (reset) {
		check(now.sa_handler == SIG_DFL);
		return;
	}
	if (way->traits & INFO)
		check(now.sa_sigaction == on_fault_info);
	else
		check(now.sa_handler == on_fault);
	check(!(now.sa_flags & SA_SIGINFO) == !(way->traits & INFO));
	check(!(now.sa_flags & SA_ONSTACK) == !(way->traits & STACK));
	check(!(now.sa_flags & (int)SA_RESETHAND) == !(way->traits & ONCE));
	check(!(now.sa_flags & SA_NODEFER) == !(way->traits & NESTED));
	check(sigismember(&now.sa_mask, SIGUSR1) == !!(way->traits & MASK));
}

static void open_source(void)
{
	int err = device_open(source);

	if (err)
		printf("the source: %s\n", strerror(-err));
	check(!err);
}

static void handler(const struct way *way, bool late)
{
	if (!late)
		way->set();
	open_source();
	round_trip(1);
	if (late)
		way->set();
	check_told(way, false);
	round_trip(2);
	own_fault(way);
	check_told(way, way->traits & ONCE);
	round_trip(3);
	if (!(way->traits & ONCE))
		own_fault(way);
	device_close();
	check_told(way, way->traits & ONCE);
	if (!(way->traits & ONCE))
		own_fault(way);
}

/* ---- Actions that are no handlers ---- */

static void sent_signal_is_ignored(void)
{
	open_source();
	check(!ignore_fault());
	check(!raise(fault_signal));
	round_trip(1);
	check(signal(fault_signal, SIG_DFL) == SIG_IGN);
	device_close();
}

/* musl leaves it to the kernel, which does not mind. */
#ifdef __GLIBC__
static void bad_handlers_are_refused(void)
{
	open_source();
	by_signal();
	errno = 0;
	check(signal(fault_signal, SIG_ERR) == SIG_ERR && errno == EINVAL);
	errno = 0;
	check(sysv_signal(fault_signal, SIG_ERR) == SIG_ERR && errno == EINVAL);
	check(signal(fault_signal, on_fault) == on_fault);
	round_trip(1);
	device_close();
}
#endif

static void other_signals_are_libcs(void)
{
	struct sigaction now;

	open_source();
	check(signal(SIGUSR2, on_fault) == SIG_DFL);
	check(sysv_signal(SIGUSR2, SIG_IGN) == on_fault);
	check(!sigaction(SIGUSR2, NULL, &now) && now.sa_handler == SIG_IGN);
	check(now.sa_flags & (int)SA_RESETHAND);
	round_trip(1);
	device_close();
}

/* Expected to end by it. */
static void handler_for_once_is_for_once(void)
{
	static const struct way once = { .traits = ONCE | NESTED };

	open_source();
	by_sysv_signal();
	own_fault(&once);
	round_trip(1);
	/* Without a core. */
	check(!prctl(PR_SET_DUMPABLE, 0));
	*(volatile unsigned char *)none = 1;
}

/* ---- Each in a process ---- */

static const char *wanted = "";
static bool failed;

/* Memory that nobody may touch: of a file that ends before. */
static void cut_off(void *addr)
{
	int fd = memfd_create("none", MFD_CLOEXEC);

	check(fd >= 0);
	check(mmap(addr, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   fd, 0) == addr);
	close(fd);
}

static void set_up(void)
{
	stack_t alternate = { .ss_size = SIZE };

	alarm(device_seconds(SECONDS));
	mem = device_map(SIZE, PROT_READ | PROT_WRITE);
	none = device_map(SIZE, PROT_NONE);
	if (fault_signal == SIGBUS)
		cut_off(none);
	stack = (char *)device_map(SIZE, PROT_READ | PROT_WRITE);
	alternate.ss_sp = stack;
	check(!sigaltstack(&alternate, NULL));
}

static void end(const char *name, pid_t pid, int expected)
{
	int status = -1;

	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	printf("%s: %s\n", name, status == expected ? "ok" : "FAILED");
	failed |= status != expected;
}

static void run(const char *name, void (*test)(void), int expected)
{
	pid_t pid;

	if (!strstr(name, wanted))
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		set_up();
		test();
		fflush(stdout);
		_exit(0);
	}
	end(name, pid, expected);
}

static void run_way(const struct way *way, bool late)
{
	char name[64];
	pid_t pid;

	snprintf(name, sizeof(name), "%s, %s", way->name,
		 late ? "after the open" : "before the open");
	if (!strstr(name, wanted))
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		set_up();
		handler(way, late);
		fflush(stdout);
		_exit(0);
	}
	end(name, pid, 0);
}

/* In a process of its own, as each of them. */
static bool can_be_had(void)
{
	int err, status = -1;
	pid_t pid = fork();

	if (!pid) {
		err = device_open(source);
		_exit(err == -EPERM || err == -ENOSYS);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	return !status;
}

int main(int argc, char **argv)
{
	const char *value = getenv("GPUSVM_TEST_SOURCE");
	size_t i;

	if (value && !strcmp(value, "sigbus")) {
		source = GPUSVM_SOURCE_USERFAULTFD_SIGBUS;
		fault_signal = SIGBUS;
	}
	if (!can_be_had()) {
		printf("skip: this source cannot be had here\n");
		return 77;
	}
	if (argc > 1)
		wanted = argv[1];
	for (i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		run_way(&ways[i], false);
		run_way(&ways[i], true);
	}
	run("sent_signal_is_ignored", sent_signal_is_ignored, 0);
#ifdef __GLIBC__
	run("bad_handlers_are_refused", bad_handlers_are_refused, 0);
#endif
	run("other_signals_are_libcs", other_signals_are_libcs, 0);
	run("handler_for_once_is_for_once", handler_for_once_is_for_once,
	    fault_signal);
	return failed;
}
