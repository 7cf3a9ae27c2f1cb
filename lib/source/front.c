/* SPDX-License-Identifier: MIT */
/* A signal handler in front of the program's: see front.h. */
#include "front.h"

#include <linux/membarrier.h>
#include <string.h>
#include <ucontext.h>

#include "compiler.h"
#include "threads.h"

/* How long to wait for signals on their way, each time and in all. */
#define NAP_NS (50l * 1000)
#define PATIENCE_NS (1000ul * 1000 * 1000)

/* Those that have been started, by signal. */
static struct front *fronts[_NSIG];

/* Not even a signal that somebody sends, whose handler would wait for it. */
static void lock_front(struct front *front, unsigned long *mask)
{
	gpusvm_sys_block_all_signals(mask);
	pthread_mutex_lock(&front->lock);
}

static void unlock_front(struct front *front, const unsigned long *mask)
{
	pthread_mutex_unlock(&front->lock);
	gpusvm_sys_restore_signals(mask);
}

/* The first word of libc's larger set has the kernel's signals. */
unsigned long gpusvm_front_mask(const void *context)
{
	const ucontext_t *uc = context;
	unsigned long mask;

	memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
	return mask;
}

#if defined(__x86_64__)
static bool is_write(const ucontext_t *uc)
{
	return uc->uc_mcontext.gregs[REG_ERR] & 2;
}
#elif defined(__aarch64__)
/* The kernel's struct esr_context, whose header libc's may not go with. */
struct record {
	unsigned int magic;
	unsigned int size;
	unsigned long syndrome;
};

#define SYNDROME_MAGIC 0x45535201u
#define SYNDROME_WRITE (1ul << 6)
/* Of a cache line, which is no write, though it is said to be one. */
#define SYNDROME_CACHE (1ul << 8)

/* One record after another, up to one without magic. */
static bool is_write(const ucontext_t *uc)
{
	const char *records = (const char *)uc->uc_mcontext.__reserved;
	size_t end = sizeof(uc->uc_mcontext.__reserved), at;
	struct record record;

	for (at = 0; at + sizeof(record) <= end; at += record.size) {
		memcpy(&record, records + at, sizeof(record));
		if (record.magic == SYNDROME_MAGIC)
			return (record.syndrome & SYNDROME_WRITE) &&
			       !(record.syndrome & SYNDROME_CACHE);
		if (!record.magic || !record.size)
			break;
	}
	return true;
}
#else
static bool is_write(const ucontext_t *uc)
{
	(void)uc;
	return true;
}
#endif

bool gpusvm_front_is_write(const void *context)
{
	return is_write(context);
}

/* ---- The program's own ---- */

/*
 * As if we were not there: the kernel's default action.  What an instruction
 * raised, it raises again; what was sent, is sent again.
 */
static void die(const siginfo_t *info)
{
	const struct sys_action action = { .handler = SIG_DFL };

	gpusvm_sys_sigaction(info->si_signo, &action, NULL);
	if (info->si_code <= 0)
		gpusvm_sys_queue_signal(gpusvm_sys_gettid(), info);
}

/* Nobody can ignore what an instruction raises. */
static void ignore(const siginfo_t *info)
{
	if (info->si_code > 0)
		die(info);
}

/*
 * The mask that the program's handler may expect; our return from the signal
 * undoes it, as the program's would.
 */
static void block_for(const struct front *front,
		      const struct sys_action *action, const void *context)
{
	unsigned long mask = action->mask;

	if (front->blocked) {
		unsigned long before = gpusvm_front_mask(context);

		gpusvm_sys_restore_signals(&before);
	}
	if (!(action->flags & SA_NODEFER))
		mask |= 1ul << (front->sig - 1);
	gpusvm_sys_add_blocked(mask);
}

/* The signal that the program's handler has from us. */
static __thread const void *passed_on
	__attribute__((tls_model("initial-exec")));

/*
 * Whether the program's handler gave us the same signal back: it was there when
 * we were in front of another one, and passes on to us what it does not know.
 * If it left by siglongjmp() another signal may be at the same place.
 */
static bool came_back(const struct front *front, const void *context,
		      const void *return_address)
{
	return READ_ONCE(front->known) && passed_on == context &&
	       !gpusvm_sys_is_restorer(return_address);
}

static void chain(struct front *front, siginfo_t *info, void *context,
		  struct sys_action *from)
{
	const void *outer = passed_on;
	struct sys_action action;
	unsigned long mask;

	lock_front(front, &mask);
	action = *from;
	if (action.flags & SA_RESETHAND)
		*from = (struct sys_action){ .handler = SIG_DFL };
	unlock_front(front, &mask);

	if (action.handler == SIG_DFL) {
		die(info);
	} else if (action.handler == SIG_IGN) {
		ignore(info);
	} else {
		block_for(front, &action, context);
		passed_on = context;
		((void (*)(int, siginfo_t *, void *))action.handler)(
			front->sig, info, context);
		passed_on = outer;
	}
}

static void handle(int sig, siginfo_t *info, void *context)
{
	struct front *front = READ_ONCE(fronts[sig]);
	int saved = gpusvm_sys_save_error();
	bool served = front->serve(info, context);

	gpusvm_sys_restore_error(saved);
	if (served)
		return;
	chain(front, info, context,
	      came_back(front, context, __builtin_return_address(0))
		      ? &front->behind
		      : &front->program);
}

/* ---- Coming and going ---- */

/*
 * Who has us behind him already has what we were in front of.  Who is new may
 * have us behind him all the same, if anybody has.
 */
static void put_behind(struct front *front, const struct sys_action *old)
{
	unsigned long mask;

	if (old->handler == (void *)handle)
		return;
	lock_front(front, &mask);
	front->behind = front->program;
	front->program = *old;
	unlock_front(front, &mask);
}

int gpusvm_front_start(struct front *front)
{
	struct sys_action action = {
		.handler = (void *)handle,
		.flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
		.mask = front->blocked,
	};
	struct sys_action old;
	int err;

	front->pid = gpusvm_sys_getpid();
	err = gpusvm_sys_sigaction(front->sig, NULL, &old);
	if (err)
		return err;
	put_behind(front, &old);
	WRITE_ONCE(fronts[front->sig], front);
	WRITE_ONCE(front->installed, true);
	/* A call that a sent signal interrupts goes on as it would have. */
	action.flags |= old.flags & SA_RESTART;
	err = gpusvm_sys_sigaction(front->sig, &action, NULL);
	if (err)
		WRITE_ONCE(front->installed, false);
	return err;
}

/*
 * A fault that was met before may not be a signal yet, or not be handled: the
 * kernel looks at the action only then, and the program's would not know it.
 */
static void wait_for_late_signals(const struct front *front)
{
	unsigned long end_ns = gpusvm_sys_now_ns() + PATIENCE_NS;

	/* Nobody is between the one and the other any more. */
	if (gpusvm_sys_membarrier(MEMBARRIER_CMD_GLOBAL))
		gpusvm_sys_nanosleep(NAP_NS);
	while (gpusvm_threads_have_signal(front->sig) &&
	       gpusvm_sys_now_ns() < end_ns)
		gpusvm_sys_nanosleep(NAP_NS);
}

/* What was behind us is in front again, and may call us. */
static void step_aside(struct front *front)
{
	unsigned long mask;

	lock_front(front, &mask);
	gpusvm_sys_sigaction(front->sig, &front->program, NULL);
	if (front->known)
		front->program = front->behind;
	unlock_front(front, &mask);
}

void gpusvm_front_stop(struct front *front)
{
	struct sys_action now;

	/* In a child another thread of the parent may have held it. */
	if (front->pid != gpusvm_sys_getpid())
		pthread_mutex_init(&front->lock, NULL);
	else if (READ_ONCE(front->installed))
		wait_for_late_signals(front);
	WRITE_ONCE(front->installed, false);
	if (gpusvm_sys_sigaction(front->sig, NULL, &now))
		return;
	if (now.handler != (void *)handle)
		WRITE_ONCE(front->known, true);
	else
		step_aside(front);
}

bool gpusvm_front_exchange(int sig, const struct sys_action *action,
			   struct sys_action *old)
{
	struct front *front;
	unsigned long mask;
	bool in_front;

	if (sig <= 0 || sig >= (int)ARRAY_SIZE(fronts))
		return false;
	front = READ_ONCE(fronts[sig]);
	if (!front)
		return false;
	lock_front(front, &mask);
	in_front = READ_ONCE(front->installed) &&
		   front->pid == gpusvm_sys_getpid();
	if (in_front && old)
		*old = front->program;
	if (in_front && action)
		front->program = *action;
	unlock_front(front, &mask);
	return in_front;
}
