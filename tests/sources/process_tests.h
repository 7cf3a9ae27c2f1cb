/* SPDX-License-Identifier: MIT */
/*
 * Tests that are a process each, which the signals and filters of the others do
 * not concern.
 */
#ifndef TESTS_SOURCES_PROCESS_TESTS_H
#define TESTS_SOURCES_PROCESS_TESTS_H

#include <stddef.h>

struct process_test {
	const char *name;
	void (*run)(void);
	int status; /* what it is to end with, as wait(2) gives it */
};

#define TEST_ENDS(function, ending)                                       \
	{                                                                 \
		.name = #function, .run = (function), .status = (ending), \
	}
#define TEST(function) TEST_ENDS(function, 0)

/* End the test, which cannot run here. */
void skip(const char *why) __attribute__((noreturn));

/*
 * Run them, or only those whose names have argv[1] in them; returns what main()
 * is to return.
 */
int run_tests(const struct process_test *tests, size_t ntests, int argc,
	      char **argv);

#endif /* TESTS_SOURCES_PROCESS_TESTS_H */
