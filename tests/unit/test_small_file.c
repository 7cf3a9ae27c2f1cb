/* SPDX-License-Identifier: MIT */
/* Small files of the kernel, and paths that are put together for them. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "fake_sys.h"
#include "small_file.h"

#define PATH "/proc/some/file"

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	return 0;
}

static void file_is_read_and_ended(void **state)
{
	char buf[16];

	(void)state;
	memset(buf, 'x', sizeof(buf));
	fake_sys_file(PATH, "65530\n");
	assert_int_equal(gpusvm_read_small_file(PATH, buf, sizeof(buf)), 6);
	assert_string_equal(buf, "65530\n");
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 1);
}

static void long_file_is_cut_off(void **state)
{
	char buf[5] = "....";

	(void)state;
	fake_sys_file(PATH, "65530\n");
	assert_int_equal(gpusvm_read_small_file(PATH, buf, sizeof(buf)), 4);
	assert_string_equal(buf, "6553");
}

static void empty_file_is_an_empty_string(void **state)
{
	char buf[4] = "...";

	(void)state;
	fake_sys_file(PATH, "");
	assert_int_equal(gpusvm_read_small_file(PATH, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
}

static void errors_are_passed(void **state)
{
	char buf[4] = "...";

	(void)state;
	fake_sys_file(PATH, NULL);
	assert_int_equal(gpusvm_read_small_file(PATH, buf, sizeof(buf)),
			 -ENOENT);
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 0);
	fake_sys_reset();
	fake_sys_file(PATH, "1");
	fake_sys_fail(FAKE_SYS_READ, -EIO, 1);
	assert_int_equal(gpusvm_read_small_file(PATH, buf, sizeof(buf)), -EIO);
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 1);
	assert_string_equal(buf, "...");
}

static void numbers_are_appended(void **state)
{
	char path[32] = "/a/";

	(void)state;
	gpusvm_append_number(path, 0);
	assert_string_equal(path, "/a/0");
	gpusvm_append_number(path, 4294967295u);
	assert_string_equal(path, "/a/04294967295");
	gpusvm_append_number(path, 4711);
	assert_string_equal(path, "/a/042949672954711");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(file_is_read_and_ended, setup),
		cmocka_unit_test_setup(long_file_is_cut_off, setup),
		cmocka_unit_test_setup(empty_file_is_an_empty_string, setup),
		cmocka_unit_test_setup(errors_are_passed, setup),
		cmocka_unit_test(numbers_are_appended),
	};

	return cmocka_run_group_tests_name("small_file", tests, NULL, NULL);
}
