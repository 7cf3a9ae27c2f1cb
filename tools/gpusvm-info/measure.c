/* SPDX-License-Identifier: MIT */
/*
 * What it costs here to move memory to the device and to fault it home, with
 * the memcpy engine, beside the bare copy and the bare system call.
 */
#include <errno.h>

#include "driver.h"
#include "info.h"

#define SIZES 3

/* Every page must have data, or there is nothing to copy. */
static void fill(const struct driver *driver, uint8_t value)
{
	size_t i;

	for (i = 0; i < driver->size; i += gpusvm_page_size())
		driver->data[i] = value;
}

static int move_round(struct driver *driver, struct series *out,
		      struct series *home)
{
	uint64_t ns, since;
	int err;

	fill(driver, (uint8_t)(home->rounds + 1));
	err = driver_to_device(driver, &ns);
	if (err)
		return err;
	series_add(out, ns);
	since = now_ns();
	err = driver_touch(driver);
	series_add(home, now_ns() - since);
	if (!err)
		driver_wait(driver);
	return err;
}

static int measure_moves(struct measurements *m,
			 const struct library_info *library, size_t size)
{
	struct series out, home;
	struct driver *driver;
	int err;

	err = driver_create(&driver, library->mm, library->pool, size);
	if (err)
		return err;
	err = series_init(&out);
	if (series_init(&home))
		err = -ENOMEM;
	while (!err && series_wants_more(&out))
		err = move_round(driver, &out, &home);
	if (err)
		out.rounds = home.rounds = 0;
	if (library->features & GPUSVM_FEATURE_CPU_FAULTS)
		series_finish(&home, m, "cpu_fault", "CPU fault home", size);
	else
		series_finish(&home, m, "populate", "populate()", size);
	series_finish(&out, m, "migrate_to_devmem", "migration to device",
		      size);
	driver_destroy(driver);
	return err;
}

static void note(struct measurements *m, int err)
{
	if (!m->err)
		m->err = err;
}

void measure(struct measurements *m, const struct info *info)
{
	const size_t sizes[SIZES] = { 4096, 64 << 10, MEASURE_BYTES };
	size_t i;

	/* Where a page failed to make the round trip, others will, too. */
	for (i = 0; i < SIZES && !info->library.check_err; i++)
		if (sizes[i] >= gpusvm_page_size())
			note(m, measure_moves(m, &info->library, sizes[i]));
	note(m, measure_memcpy(m));
	if (first_door(&info->uffd) != DOORS)
		note(m, measure_uffd(m));
}
