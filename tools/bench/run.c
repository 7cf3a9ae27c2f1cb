/* SPDX-License-Identifier: MIT */
/* One measure: its rounds, in a process that has done nothing else. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS_MIN 9
#define WARM_UP 2

static char why[REASON_SIZE];

int because(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	return err;
}

static void fail(struct outcome *outcome, const char *what, int err)
{
	if (outcome->err)
		return; /* the first one is the cause */
	outcome->err = err;
	if (*why)
		memcpy(outcome->reason, why, sizeof(why));
	else
		snprintf(outcome->reason, sizeof(outcome->reason), "%s: %s",
			 what, strerror(-err));
}

/* Who goes first alternates: neither always finds what the other one left. */
static int run_round(const struct measure *measure, void *state,
		     unsigned int round, struct sample *sample)
{
	int err;

	if (round % 2) {
		err = measure->base(state, &sample->base);
		return err ? err : measure->ours(state, &sample->ours);
	}
	err = measure->ours(state, &sample->ours);
	return err ? err : measure->base(state, &sample->base);
}

/* The first rounds, one in each order, warm up and are not counted. */
static int run_rounds(const struct measure *measure, void *state,
		      double seconds, struct samples *samples)
{
	uint64_t deadline_ns = 0;
	struct sample sample;
	unsigned int round;
	int err;

	for (round = 0; samples->count < ROUNDS_MIN || now_ns() < deadline_ns;
	     round++) {
		if (round == WARM_UP)
			deadline_ns = now_ns() + (uint64_t)(seconds * 1e9);
		err = run_round(measure, state, round, &sample);
		if (!err && round >= WARM_UP)
			err = samples_add(samples, sample.ours, sample.base);
		if (err)
			return err;
	}
	return 0;
}

static void measure_here(const struct measure *measure, double seconds,
			 struct outcome *outcome)
{
	struct samples samples = { .count = 0 };
	void *state = NULL;
	int err = 0;

	if (measure->placement == SAME_CPU)
		err = cpu_pin(cpu_nth(cpu_count() - 1));
	if (err) {
		fail(outcome, "pinning to a CPU", err);
		return;
	}
	err = measure->setup(&state, measure->config);
	if (err) {
		fail(outcome, "setup", err);
		return;
	}
	err = run_rounds(measure, state, seconds, &samples);
	if (!err)
		err = samples_sum_up(&samples, outcome);
	if (err)
		fail(outcome, "round", err);
	err = measure->teardown(state);
	if (err)
		fail(outcome, "end", err);
	samples_free(&samples);
}

static void read_outcome(int fd, struct outcome *outcome, pid_t child)
{
	ssize_t n = read(fd, outcome, sizeof(*outcome));
	int status;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (n == (ssize_t)sizeof(*outcome))
		return;
	*outcome = (struct outcome){ .err = -ECHILD };
	if (WIFSIGNALED(status))
		snprintf(outcome->reason, sizeof(outcome->reason),
			 "ended by signal %d", WTERMSIG(status));
	else
		snprintf(outcome->reason, sizeof(outcome->reason),
			 "exited with %d", WEXITSTATUS(status));
}

void run_measure(const struct measure *measure, double seconds,
		 struct outcome *outcome)
{
	int fds[2];
	pid_t child;

	*outcome = (struct outcome){ .err = 0 };
	if (pipe(fds)) {
		fail(outcome, "pipe", -errno);
		return;
	}
	fflush(stdout); /* the child must not write it once more */
	child = fork();
	if (child < 0) {
		fail(outcome, "fork", -errno);
		close(fds[0]);
		close(fds[1]);
		return;
	}
	if (!child) {
		close(fds[0]);
		measure_here(measure, seconds, outcome);
		_exit(write(fds[1], outcome, sizeof(*outcome)) !=
		      (ssize_t)sizeof(*outcome));
	}
	close(fds[1]);
	read_outcome(fds[0], outcome, child);
	close(fds[0]);
}
