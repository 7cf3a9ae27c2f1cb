/* SPDX-License-Identifier: MIT */
/* Which source is chosen: by option, by environment, and by what is there. */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "source.h"

int __wrap_gpusvm_uffd_open(enum gpusvm_source wanted, struct source **source);
int __wrap_gpusvm_protect_open(enum gpusvm_source wanted,
			       struct source **source);

static int uffd_error, protect_error;
static int uffd_wanted, protect_wanted;
static struct source uffd, protect;
static unsigned int lines[GPUSVM_LOG_DEBUG + 1];

int __wrap_gpusvm_uffd_open(enum gpusvm_source wanted, struct source **source)
{
	uffd_wanted = (int)wanted;
	*source = &uffd;
	return uffd_error;
}

int __wrap_gpusvm_protect_open(enum gpusvm_source wanted,
			       struct source **source)
{
	protect_wanted = (int)wanted;
	*source = &protect;
	return protect_error;
}

static void count_line(enum gpusvm_log_level level, const char *message,
		       void *priv)
{
	(void)message;
	(void)priv;
	lines[level]++;
}

static int setup(void **state)
{
	(void)state;
	unsetenv("GPUSVM_SOURCE");
	uffd_error = protect_error = 0;
	uffd_wanted = protect_wanted = -1;
	memset(lines, 0, sizeof(lines));
	gpusvm_set_log(count_line, NULL, GPUSVM_LOG_DEBUG);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unsetenv("GPUSVM_SOURCE");
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	return 0;
}

static void auto_takes_userfaultfd(void **state)
{
	struct source *source;

	(void)state;
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source), 0);
	assert_ptr_equal(source, &uffd);
	assert_int_equal(uffd_wanted, GPUSVM_SOURCE_AUTO);
	assert_int_equal(protect_wanted, -1);
}

static void auto_falls_back_to_mprotect_and_says_so(void **state)
{
	static const int errors[] = { -EPERM, -ENOSYS, -EACCES };
	struct source *source;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		uffd_error = errors[i];
		assert_int_equal(
			gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source), 0);
		assert_ptr_equal(source, &protect);
		assert_int_equal(protect_wanted, GPUSVM_SOURCE_MPROTECT);
		assert_int_equal(lines[GPUSVM_LOG_WARNING], i + 1);
	}
	protect_error = -ENOSYS;
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source),
			 -ENOSYS);
	assert_int_equal(lines[GPUSVM_LOG_WARNING], 3);
}

/* A lack of something is no reason to do with less for good. */
static void auto_without_descriptors_fails(void **state)
{
	struct source *source;

	(void)state;
	uffd_error = -EMFILE;
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source),
			 -EMFILE);
	assert_int_equal(protect_wanted, -1);
}

static void environment_decides_what_the_option_leaves_open(void **state)
{
	static const struct {
		const char *value;
		int wanted;
	} cases[] = {
		{ "userfaultfd", GPUSVM_SOURCE_USERFAULTFD },
		{ "user", GPUSVM_SOURCE_USERFAULTFD_USER },
		{ "mprotect", GPUSVM_SOURCE_MPROTECT },
		{ "manual", GPUSVM_SOURCE_MANUAL },
		{ "sigbus", GPUSVM_SOURCE_USERFAULTFD_SIGBUS },
		{ "rwp", GPUSVM_SOURCE_USERFAULTFD_RWP },
		{ "", GPUSVM_SOURCE_AUTO },
	};
	struct source *source;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uffd_wanted = protect_wanted = -1;
		setenv("GPUSVM_SOURCE", cases[i].value, 1);
		assert_int_equal(
			gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source), 0);
		assert_int_equal(source == &uffd ? uffd_wanted : protect_wanted,
				 cases[i].wanted);
		assert_int_equal(
			gpusvm_source_open(GPUSVM_SOURCE_MANUAL, &source), 0);
		assert_int_equal(protect_wanted, GPUSVM_SOURCE_MANUAL);
	}
	setenv("GPUSVM_SOURCE", "mprotectt", 1);
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_AUTO, &source),
			 -EINVAL);
	assert_int_equal(lines[GPUSVM_LOG_ERROR], 1);
}

static void forced_source_has_no_other(void **state)
{
	struct source *source;

	(void)state;
	uffd_error = -EPERM;
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_USERFAULTFD, &source),
			 -EPERM);
	assert_int_equal(gpusvm_source_open(GPUSVM_SOURCE_USERFAULTFD_USER,
					    &source),
			 -EPERM);
	assert_int_equal(protect_wanted, -1);
}

#define ladder_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ladder_test(auto_takes_userfaultfd),
		ladder_test(auto_falls_back_to_mprotect_and_says_so),
		ladder_test(auto_without_descriptors_fails),
		ladder_test(environment_decides_what_the_option_leaves_open),
		ladder_test(forced_source_has_no_other),
	};

	return cmocka_run_group_tests_name("ladder", tests, NULL, NULL);
}
