/* SPDX-License-Identifier: MIT */
/*
 * The version that was built: that of the headers beside it, as a whole and in
 * its parts.
 */
#include "unit.h"

#include <gpusvm/gpusvm.h>

static void version_is_that_of_the_headers(void **state)
{
	(void)state;
	assert_string_equal(gpusvm_version(), GPUSVM_VERSION);
}

static void version_has_the_parts_of_the_headers(void **state)
{
	char version[64];

	(void)state;
	snprintf(version, sizeof(version), "%d.%d.%d", GPUSVM_VERSION_MAJOR,
		 GPUSVM_VERSION_MINOR, GPUSVM_VERSION_PATCH);
	assert_string_equal(gpusvm_version(), version);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_is_that_of_the_headers),
		cmocka_unit_test(version_has_the_parts_of_the_headers),
	};

	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
