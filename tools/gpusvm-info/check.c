/* SPDX-License-Identifier: MIT */
/* Whether it works: a page goes to the device, is changed there, comes home. */
#include <errno.h>

#include "driver.h"
#include "info.h"

static int round_trip(struct driver *driver)
{
	size_t i;
	uint64_t ns;
	int err, touched;

	for (i = 0; i < driver->size; i++)
		driver->data[i] = (uint8_t)i;
	err = driver_to_device(driver, &ns);
	if (err)
		return err;
	err = driver_increment(driver);
	/* Whatever went wrong there, it must come home before it is freed. */
	touched = driver_touch(driver);
	if (touched)
		return touched;
	for (i = 0; i < driver->size; i++)
		if (driver->data[i] != (uint8_t)(i + 1) && !err)
			err = -EIO;
	driver_wait(driver);
	return err;
}

void check_round_trip(struct library_info *library)
{
	struct driver *driver;

	if (!library->mm || !library->pool)
		return;
	library->check_err = driver_create(&driver, library->mm, library->pool,
					   gpusvm_page_size());
	if (library->check_err)
		return;
	library->check_err = round_trip(driver);
	driver_destroy(driver);
}
