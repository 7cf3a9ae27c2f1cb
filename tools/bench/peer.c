/* SPDX-License-Identifier: MIT */
/* A process without the library: see peer.h. */
#include "peer.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

struct answer {
	int err;
	double value;
};

/* Until the parent closes its end, or dies. */
static void serve(int ask_fd, int answer_fd,
		  int (*round)(void *arg, double *value), void *arg)
{
	struct answer answer;
	char byte;

	while (read(ask_fd, &byte, 1) == 1) {
		answer = (struct answer){ .err = 0 };
		answer.err = round(arg, &answer.value);
		if (write(answer_fd, &answer, sizeof(answer)) !=
		    (ssize_t)sizeof(answer))
			return;
	}
}

static int open_pipes(int *ask, int *answer)
{
	int err;

	if (pipe(ask))
		return -errno;
	if (!pipe(answer))
		return 0;
	err = -errno;
	close(ask[0]);
	close(ask[1]);
	return err;
}

int peer_create(struct peer *peer, int (*round)(void *arg, double *value),
		void *arg)
{
	int ask[2], answer[2];
	int err;

	err = open_pipes(ask, answer);
	if (err)
		return err;
	peer->pid = fork();
	if (!peer->pid) {
		close(ask[1]);
		close(answer[0]);
		serve(ask[0], answer[1], round, arg);
		_exit(0);
	}
	err = peer->pid < 0 ? -errno : 0;
	close(ask[0]);
	close(answer[1]);
	peer->ask_fd = ask[1];
	peer->answer_fd = answer[0];
	return err;
}

int peer_run(struct peer *peer, double *value)
{
	struct answer answer;

	if (write(peer->ask_fd, "", 1) != 1 ||
	    read(peer->answer_fd, &answer, sizeof(answer)) !=
		    (ssize_t)sizeof(answer))
		return -EPIPE;
	*value = answer.value;
	return answer.err;
}

void peer_destroy(struct peer *peer)
{
	close(peer->ask_fd);
	close(peer->answer_fd);
	while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
