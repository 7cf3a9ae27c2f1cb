/* SPDX-License-Identifier: MIT */
/*
 * A signal handler of the library in front of the program's own: what the
 * library does not serve goes on to the action that the program had, as the
 * kernel would have it.
 *
 * One per signal and process, as the signal's action is.
 */
#ifndef GPUSVM_SOURCE_FRONT_H
#define GPUSVM_SOURCE_FRONT_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sys.h"

/**
 * struct front - The handler of a signal; static memory, as it may be called
 *	for as long as the process lives
 * @sig: The signal
 * @blocked: Signals that are blocked while @serve runs, besides those that the
 *	thread has blocked.  It may unblock them, and the program's handler has
 *	them as it expects
 * @serve: True if the access is to be made again, false if the signal is the
 *	program's
 * @lock: Protects the actions; nobody who holds it is interrupted
 * @program: The action that was there before
 * @behind: The one before that, if @program may call us
 * @known: Somebody took our handler away and may call it ever after
 * @installed: We are in front of it
 * @pid: In which process
 */
struct front {
	int sig;
	unsigned long blocked;
	bool (*serve)(const siginfo_t *info, void *context);
	pthread_mutex_t lock;
	struct sys_action program;
	struct sys_action behind;
	bool known;
	bool installed;
	pid_t pid;
};

#define FRONT_INIT(signal, blocks, fn)                               \
	{                                                            \
		.sig = (signal), .blocked = (blocks), .serve = (fn), \
		.lock = PTHREAD_MUTEX_INITIALIZER                    \
	}

/* Put ourselves in front of the program's action. */
int gpusvm_front_start(struct front *front);

/*
 * When nothing is trapped any more: wait for signals on their way, and give the
 * program its action back, unless it has set another one meanwhile.
 * That one may call us: then the signal goes on to the action before us.
 */
void gpusvm_front_stop(struct front *front);

/*
 * sigaction() of @sig by the program while we are in front: of the action
 * behind us.  False if we are not.
 */
bool gpusvm_front_exchange(int sig, const struct sys_action *action,
			   struct sys_action *old);

/* The signals that the thread had blocked when the signal came. */
unsigned long gpusvm_front_mask(const void *context);

/*
 * Whether a fault was a write, where the signal frame tells; true elsewhere.
 * It only saves a page of zeros a second fault.
 */
bool gpusvm_front_is_write(const void *context);

#endif /* GPUSVM_SOURCE_FRONT_H */
