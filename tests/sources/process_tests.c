/* SPDX-License-Identifier: MIT */
/* See process_tests.h. */
#include "process_tests.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"

#define SKIPPED 77
#define SECONDS 60 /* for one of them */

void skip(const char *why)
{
	printf("skip: %s\n", why);
	fflush(stdout);
	_exit(SKIPPED);
}

static int run(const struct process_test *test)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(device_seconds(SECONDS));
		test->run();
		fflush(stdout);
		_exit(0);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

int run_tests(const struct process_test *tests, size_t ntests, int argc,
	      char **argv)
{
	bool failed = false, passed = false;
	const struct process_test *test;
	int status;

	/* What is chosen here is the tests' business. */
	unsetenv("GPUSVM_SOURCE");
	for (test = tests; test < tests + ntests; test++) {
		if (argc > 1 && !strstr(test->name, argv[1]))
			continue;
		status = run(test);
		if (status == SKIPPED << 8) {
			printf("skipped: %s\n", test->name);
		} else if (status != test->status) {
			failed = true;
			printf("FAILED: %s (status %#x)\n", test->name,
			       (unsigned int)status);
		} else {
			passed = true;
			printf("ok: %s\n", test->name);
		}
	}
	return failed ? EXIT_FAILURE : passed ? EXIT_SUCCESS : SKIPPED;
}
