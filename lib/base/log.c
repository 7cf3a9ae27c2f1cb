/* SPDX-License-Identifier: MIT */
/*
 * Owns the program's log callback.  The callback, its argument and its level
 * are copied together under a lock and called without it, so a callback may
 * log, or replace itself.
 */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "compiler.h"

#define MESSAGE_BYTES 512

struct sink {
	void (*fn)(enum gpusvm_log_level level, const char *message,
		   void *priv);
	void *priv;
	enum gpusvm_log_level level;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sink sink;
/* sink.level, or -1 without a callback: what nobody wants takes no lock. */
static int wanted = -1;

/* Without these, a fork during a message leaves the child a locked lock. */
static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor(101))) static void register_fork(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}

void gpusvm_set_log(void (*fn)(enum gpusvm_log_level level, const char *message,
			       void *priv),
		    void *priv, enum gpusvm_log_level level)
{
	pthread_mutex_lock(&lock);
	sink = (struct sink){ .fn = fn, .priv = priv, .level = level };
	WRITE_ONCE(wanted, fn ? (int)level : -1);
	pthread_mutex_unlock(&lock);
}

void gpusvm_log(enum gpusvm_log_level level, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	struct sink to;
	va_list args;

	if ((int)level > READ_ONCE(wanted))
		return;
	pthread_mutex_lock(&lock);
	to = sink;
	pthread_mutex_unlock(&lock);
	if (!to.fn || level > to.level)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	to.fn(level, message, to.priv);
}
