/* SPDX-License-Identifier: MIT */
/*
 * The log: which messages pass, what they look like, and that a callback is
 * never called with the argument of another.
 */
#include "unit.h"

#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler.h"
#include "log.h"

static struct record {
	unsigned int count;
	enum gpusvm_log_level level;
	char message[4096];
} last;

static void remember(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	struct record *record = priv;

	record->count++;
	record->level = level;
	snprintf(record->message, sizeof(record->message), "%s", message);
}

static int reset(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	last = (struct record){ 0 };
	return 0;
}

static void log_without_callback_is_discarded(void **state)
{
	(void)state;
	log_error("nobody hears this");
	gpusvm_set_log(remember, &last, GPUSVM_LOG_DEBUG);
	gpusvm_set_log(NULL, &last, GPUSVM_LOG_DEBUG);
	log_error("nor this");
	assert_int_equal(last.count, 0);
}

static void log_passes_level_text_and_argument(void **state)
{
	(void)state;
	gpusvm_set_log(remember, &last, GPUSVM_LOG_DEBUG);
	log_warning("%s is %d", "answer", 42);
	assert_int_equal(last.count, 1);
	assert_int_equal(last.level, GPUSVM_LOG_WARNING);
	assert_string_equal(last.message, "answer is 42");
}

static void log_less_important_than_level_is_discarded(void **state)
{
	static const unsigned int expected[] = { 1, 2, 3, 4 };
	unsigned int level;

	(void)state;
	for (level = GPUSVM_LOG_ERROR; level <= GPUSVM_LOG_DEBUG; level++) {
		last.count = 0;
		gpusvm_set_log(remember, &last, (enum gpusvm_log_level)level);
		log_error("e");
		log_warning("w");
		log_info("i");
		log_debug("d");
		assert_int_equal(last.count, expected[level]);
	}
}

static void log_of_long_message_is_cut(void **state)
{
	char text[3000];
	size_t length;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	gpusvm_set_log(remember, &last, GPUSVM_LOG_DEBUG);
	log_error("%s", text);
	length = strlen(last.message);
	assert_in_range(length, 100, sizeof(text) - 1);
	assert_memory_equal(last.message, text, length);
}

static void replace_itself(enum gpusvm_log_level level, const char *message,
			   void *priv)
{
	gpusvm_set_log(remember, priv, GPUSVM_LOG_DEBUG);
	gpusvm_log(level, "again: %s", message);
}

static void log_from_the_callback_works(void **state)
{
	(void)state;
	gpusvm_set_log(replace_itself, &last, GPUSVM_LOG_ERROR);
	log_error("message");
	assert_int_equal(last.count, 1);
	assert_string_equal(last.message, "again: message");
}

/* ---- Threads ---- */

static bool stop;
static bool mismatch;
static unsigned long calls;
static int argument_a, argument_b;

static void check(const void *priv, const void *expected,
		  enum gpusvm_log_level level, enum gpusvm_log_level least)
{
	if (priv != expected || level > least)
		WRITE_ONCE(mismatch, true);
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

static void callback_a(enum gpusvm_log_level level, const char *message,
		       void *priv)
{
	(void)message;
	check(priv, &argument_a, level, GPUSVM_LOG_ERROR);
}

static void callback_b(enum gpusvm_log_level level, const char *message,
		       void *priv)
{
	(void)message;
	check(priv, &argument_b, level, GPUSVM_LOG_DEBUG);
}

static void *keep_logging(void *arg)
{
	while (!READ_ONCE(stop)) {
		log_error("one");
		log_info("two");
	}
	return arg;
}

static void switch_callbacks(unsigned long times)
{
	unsigned long i;

	for (i = 0; i < times; i++) {
		gpusvm_set_log(callback_a, &argument_a, GPUSVM_LOG_ERROR);
		gpusvm_set_log(NULL, &mismatch, GPUSVM_LOG_INFO);
		gpusvm_set_log(callback_b, &argument_b, GPUSVM_LOG_DEBUG);
	}
}

/* A lock left behind would hang the child. */
static int log_in_child(void)
{
	alarm(unit_seconds(20));
	gpusvm_set_log(remember, &last, GPUSVM_LOG_DEBUG);
	log_error("from the child");
	return last.count != 1;
}

static void set_log_while_logging_keeps_callback_and_argument(void **state)
{
	int failed = 0, status;
	pthread_t threads[2];
	unsigned int i;
	pid_t child;

	(void)state;
	stop = false;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, keep_logging,
						NULL),
				 0);
	/* Switch until the loggers have had their share. */
	while (__atomic_load_n(&calls, __ATOMIC_RELAXED) < 20000)
		switch_callbacks(100);
	for (i = 0; i < 30; i++) {
		child = fork();
		if (!child)
			_exit(log_in_child());
		if (waitpid(child, &status, 0) != child || status)
			failed++;
	}
	WRITE_ONCE(stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_false(mismatch);
	assert_int_equal(failed, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(log_without_callback_is_discarded,
				       reset),
		cmocka_unit_test_setup(log_passes_level_text_and_argument,
				       reset),
		cmocka_unit_test_setup(
			log_less_important_than_level_is_discarded, reset),
		cmocka_unit_test_setup(log_of_long_message_is_cut, reset),
		cmocka_unit_test_setup(log_from_the_callback_works, reset),
		cmocka_unit_test_setup(
			set_log_while_logging_keeps_callback_and_argument,
			reset),
	};

	return cmocka_run_group_tests_name("log", tests, reset, NULL);
}
