/* SPDX-License-Identifier: MIT */
/* The handler of SIGSEGV: see segv.h. */
#include "segv.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "compiler.h"
#include "page_size.h"
#include "sys.h"
#include "trapped.h"

/* Faults that are not read yet. */
#define QUEUE 256

/* Where threads wait, by the huge page that they touched. */
#define WORDS 64
#define WORD_SHIFT 21

/**
 * struct segv - The queue, and the program's action
 * @lock: Protects the queue and the actions; nobody who holds it is interrupted
 * @queue: A ring
 * @first: The oldest
 * @n: How many
 * @program: The action that was there before
 * @behind: The one before that, if @program may call us
 * @known: Somebody took our handler away and may call it ever after
 * @installed: We are in front of it
 * @pid: In which process
 * @fd: eventfd
 * @words: What threads wait for a change of
 */
static struct {
	pthread_mutex_t lock;
	struct source_event queue[QUEUE];
	unsigned int first;
	unsigned int n;
	struct sys_action program;
	struct sys_action behind;
	bool known;
	bool installed;
	pid_t pid;
	int fd;
	unsigned int words[WORDS];
} segv = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Not even a SIGSEGV that somebody sends, which would wait for it. */
static void lock_queue(unsigned long *mask)
{
	gpusvm_sys_block_all_signals(mask);
	pthread_mutex_lock(&segv.lock);
}

static void unlock_queue(const unsigned long *mask)
{
	pthread_mutex_unlock(&segv.lock);
	gpusvm_sys_restore_signals(mask);
}

/* ---- Threads that wait ---- */

static unsigned int *word_of(unsigned long addr)
{
	return &segv.words[(addr >> WORD_SHIFT) % WORDS];
}

void gpusvm_segv_wake(unsigned long start, unsigned long end)
{
	unsigned long at = start >> WORD_SHIFT;
	unsigned long last = (end - 1) >> WORD_SHIFT;
	unsigned int *word;

	/* After as many all have had their turn. */
	last = min(last, at + WORDS - 1);
	for (; at <= last; at++) {
		word = &segv.words[at % WORDS];
		__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
		gpusvm_sys_futex_wake(word, 0x7fffffff);
	}
}

static bool push(unsigned long addr, bool write, pid_t tid)
{
	unsigned long mask;
	bool pushed;

	lock_queue(&mask);
	pushed = segv.n < QUEUE;
	if (pushed)
		segv.queue[(segv.first + segv.n++) % QUEUE] =
			(struct source_event){
				.type = SOURCE_FAULT,
				.write = write,
				.start = PAGE_ALIGN_DOWN(addr),
				.end = PAGE_ALIGN_DOWN(addr) + PAGE_SIZE,
				.tid = tid,
				.child_fd = -1,
			};
	unlock_queue(&mask);
	return pushed;
}

/*
 * A thread that goes on does not wait any more: what it does next may be to
 * migrate that very page, and it must not be taken to wait for itself.
 */
static void withdraw(pid_t tid)
{
	struct source_event *event;
	unsigned long mask;
	unsigned int i;

	lock_queue(&mask);
	for (i = 0; i < segv.n; i++) {
		event = &segv.queue[(segv.first + i) % QUEUE];
		if (event->tid == tid)
			event->tid = 0;
	}
	unlock_queue(&mask);
}

int gpusvm_segv_read(struct source_event *events)
{
	unsigned long mask;
	int n = 0;

	lock_queue(&mask);
	for (; segv.n && n < SOURCE_BATCH; segv.n--) {
		events[n] = segv.queue[segv.first];
		segv.first = (segv.first + 1) % QUEUE;
		n += events[n].tid != 0;
	}
	unlock_queue(&mask);
	return n;
}

/* ---- The program's own ---- */

/* Where the signal frame tells; it only saves a page of zeros a second fault. */
static bool is_write(const void *context)
{
#if defined(__x86_64__)
	const ucontext_t *uc = context;

	return uc->uc_mcontext.gregs[REG_ERR] & 2;
#else
	(void)context;
	return true;
#endif
}

/*
 * As if we were not there: the kernel's default action.  What an instruction
 * raised, it raises again; what was sent, is sent again.
 */
static void die(const siginfo_t *info)
{
	const struct sys_action action = { .handler = SIG_DFL };

	gpusvm_sys_sigaction(SIGSEGV, &action, NULL);
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
static void block_for(const struct sys_action *action)
{
	unsigned long mask = action->mask;

	if (!(action->flags & SA_NODEFER))
		mask |= 1ul << (SIGSEGV - 1);
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
static bool came_back(const void *context, const void *return_address)
{
	return READ_ONCE(segv.known) && passed_on == context &&
	       !gpusvm_sys_is_restorer(return_address);
}

static void chain(int sig, siginfo_t *info, void *context,
		  struct sys_action *from)
{
	const void *outer = passed_on;
	struct sys_action action;
	unsigned long mask;

	lock_queue(&mask);
	action = *from;
	if (action.flags & SA_RESETHAND)
		*from = (struct sys_action){ .handler = SIG_DFL };
	unlock_queue(&mask);

	if (action.handler == SIG_DFL) {
		die(info);
	} else if (action.handler == SIG_IGN) {
		ignore(info);
	} else {
		block_for(&action);
		passed_on = context;
		((void (*)(int, siginfo_t *, void *))action.handler)(sig, info,
								     context);
		passed_on = outer;
	}
}

/* ---- The handler ---- */

/*
 * Wait for a change of the word, which was @seen before the page was found to
 * be trapped: if it came home since then, the word is another one.
 */
static void wait_for_page(unsigned long addr, unsigned int seen, bool write)
{
	pid_t tid = gpusvm_sys_gettid();
	unsigned long one = 1;
	bool pushed = push(addr, write, tid);

	gpusvm_sys_write(segv.fd, &one, sizeof(one));
	if (!pushed) {
		gpusvm_sys_yield();
		return;
	}
	gpusvm_sys_futex_wait(word_of(addr), seen, NULL);
	withdraw(tid);
}

/* True if the access is to be made again. */
static bool serve(const siginfo_t *info, const void *context)
{
	unsigned long addr = (unsigned long)info->si_addr;
	unsigned int seen;

	/*
	 * A copy of the process has our handler, but nobody who serves.  When
	 * the source has been closed all is home, and who was on his way here
	 * goes back once.
	 */
	if (info->si_code != SEGV_ACCERR || segv.pid != gpusvm_sys_getpid())
		return false;
	seen = __atomic_load_n(word_of(addr), __ATOMIC_ACQUIRE);
	switch (gpusvm_trapped_judge(addr, gpusvm_sys_gettid())) {
	case TRAPPED_OURS:
		/* The word changes after this does. */
		if (!READ_ONCE(segv.installed))
			return false;
		wait_for_page(addr, seen, is_write(context));
		return true;
	case TRAPPED_AGAIN:
		return true;
	case TRAPPED_NOT_OURS:
		break;
	}
	return false;
}

static void handle(int sig, siginfo_t *info, void *context)
{
	int saved = gpusvm_sys_save_error();
	bool served = serve(info, context);

	gpusvm_sys_restore_error(saved);
	if (served)
		return;
	chain(sig, info, context,
	      came_back(context, __builtin_return_address(0)) ? &segv.behind
							      : &segv.program);
}

/*
 * Who has us behind him already has what we were in front of.  Who is new may
 * have us behind him all the same, if anybody has.
 */
static void put_behind(const struct sys_action *old)
{
	unsigned long mask;

	if (old->handler == (void *)handle)
		return;
	lock_queue(&mask);
	segv.behind = segv.program;
	segv.program = *old;
	unlock_queue(&mask);
}

int gpusvm_segv_start(int fd)
{
	struct sys_action action = {
		.handler = (void *)handle,
		.flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	struct sys_action old;
	int err;

	segv.fd = fd;
	segv.first = 0;
	segv.n = 0;
	segv.pid = gpusvm_sys_getpid();
	err = gpusvm_sys_sigaction(SIGSEGV, NULL, &old);
	if (err)
		return err;
	put_behind(&old);
	WRITE_ONCE(segv.installed, true);
	/* A call that a sent signal interrupts goes on as it would have. */
	action.flags |= old.flags & SA_RESTART;
	err = gpusvm_sys_sigaction(SIGSEGV, &action, NULL);
	if (err)
		WRITE_ONCE(segv.installed, false);
	return err;
}

/* What was behind us is in front again, and may call us. */
static void step_aside(void)
{
	unsigned long mask;

	lock_queue(&mask);
	gpusvm_sys_sigaction(SIGSEGV, &segv.program, NULL);
	if (segv.known)
		segv.program = segv.behind;
	unlock_queue(&mask);
}

void gpusvm_segv_stop(void)
{
	struct sys_action now;

	/* In a child another thread of the parent may have held it. */
	if (segv.pid != gpusvm_sys_getpid())
		pthread_mutex_init(&segv.lock, NULL);
	WRITE_ONCE(segv.installed, false);
	if (!gpusvm_sys_sigaction(SIGSEGV, NULL, &now)) {
		if (now.handler != (void *)handle)
			WRITE_ONCE(segv.known, true);
		else
			step_aside();
	}
	gpusvm_segv_wake(0, ~0ul);
}

bool gpusvm_segv_exchange(const struct sys_action *action,
			  struct sys_action *old)
{
	unsigned long mask;
	bool in_front;

	lock_queue(&mask);
	in_front = READ_ONCE(segv.installed) && segv.pid == gpusvm_sys_getpid();
	if (in_front && old)
		*old = segv.program;
	if (in_front && action)
		segv.program = *action;
	unlock_queue(&mask);
	return in_front;
}
