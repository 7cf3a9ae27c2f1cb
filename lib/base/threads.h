/* SPDX-License-Identifier: MIT */
/*
 * Which thread this is, and what the others of the process are doing, as far as
 * the kernel tells: a way to wait until a madvise() that one of them was in,
 * nobody knows which, has ended.
 */
#ifndef GPUSVM_BASE_THREADS_H
#define GPUSVM_BASE_THREADS_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct thread_mark - A thread, and how far it had got
 * @tid: The thread; 0 once it has got on
 * @cpu_ns: The CPU time that it had used
 */
struct thread_mark {
	pid_t tid;
	unsigned long cpu_ns;
};

/*
 * Mark all threads but the caller.  Returns how many there are, of which at
 * most @max were marked; -errno if /proc does not tell.
 */
long gpusvm_threads_mark(struct thread_mark *marks, unsigned long max);

/*
 * Whether the thread has used @ns of CPU time since it was marked, or has
 * ended, or sleeps elsewhere than in the middle of madvise(): then a call of
 * that, if it takes less time, is over.
 */
bool gpusvm_thread_got_on(const struct thread_mark *mark, unsigned long ns);

/* Whether the thread sleeps, or has ended, or the kernel does not tell. */
bool gpusvm_thread_is_asleep(pid_t tid);

/* Let others run, who have to before the caller's next attempt. */
void gpusvm_threads_give_way(unsigned int attempt);

/*
 * Whether the kernel is about to give a thread, other than the caller, a signal
 * that was meant for it alone.  Not for real-time signals.
 */
bool gpusvm_threads_have_signal(int sig);

/*
 * The calling thread, without a system call.  A forked child has to say that it
 * is another one; the child of a bare clone() that does not is taken for its
 * parent.
 */
pid_t gpusvm_threads_self(void);
void gpusvm_threads_forget_self(void);

#endif /* GPUSVM_BASE_THREADS_H */
