/* SPDX-License-Identifier: MIT */
/* Data that travels: see trip.h. */
#include "trip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int create_base(struct trip *trip, bool huge)
{
	int err;

	err = area_create(&trip->base, TRIP_COUNT * TRIP_CHUNK, huge);
	if (err)
		return err;
	area_fill(&trip->base);
	if (huge && area_huge_bytes(&trip->base) < trip->base.size)
		return skip("the kernel gave no huge pages");
	return 0;
}

/* Each page begins with the mark of who wrote it last. */
static int check_and_mark(uint8_t *data, uint64_t old)
{
	volatile uint64_t *word;
	size_t i;

	for (i = 0; i < TRIP_CHUNK; i += gpusvm_page_size()) {
		word = (volatile uint64_t *)(data + i);
		if (*word != old)
			return -EIO;
		*word = old + 1;
	}
	return 0;
}

static void clear_marks(uint8_t *data, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += gpusvm_page_size())
		*(volatile uint64_t *)(data + i) = 0;
}

int trip_setup(void **state, const void *opaque)
{
	const struct trip_config *config = opaque;
	const struct rig_opts opts = {
		.chunk = TRIP_CHUNK,
		.count = TRIP_COUNT,
		.huge = config->huge,
		.engine = config->engine,
		.technique = config->technique,
		.devmem = TRIP_COUNT * TRIP_CHUNK,
	};
	struct trip *trip = calloc(1, sizeof(*trip));
	size_t i;
	int err;

	if (!trip)
		return -ENOMEM;
	err = create_base(trip, config->base_huge);
	if (!err)
		err = rig_create(&trip->rig, &opts);
	for (i = 0; !err && i < TRIP_COUNT; i++)
		err = rig_insert(trip->rig, i);
	if (err)
		return err;
	trip->base_devmem = rig_base_devmem(trip->rig);
	clear_marks(trip->base.start, trip->base.size);
	clear_marks(trip->rig->data.start, trip->rig->data.size);
	*state = trip;
	return 0;
}

int trip_teardown(void *state)
{
	struct trip *trip = state;
	int err;

	err = rig_destroy(trip->rig);
	area_destroy(&trip->base);
	free(trip);
	return err;
}

int trip_ours_device_work(struct trip *trip)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < TRIP_COUNT; i++)
		err = check_and_mark(rig_device_data(trip->rig, i),
				     trip->ours_mark);
	trip->ours_mark++;
	return err;
}

int trip_ours_cpu_work(struct trip *trip)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < TRIP_COUNT; i++)
		err = check_and_mark(rig_data(trip->rig, i), trip->ours_mark);
	trip->ours_mark++;
	return err;
}

static int base_work(struct trip *trip, uint8_t *data)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < TRIP_COUNT; i++)
		err = check_and_mark(data + i * TRIP_CHUNK, trip->base_mark);
	trip->base_mark++;
	return err;
}

int trip_ours_out(struct trip *trip, uint64_t *ns)
{
	uint64_t since = now_ns();
	size_t i;
	int err;

	for (i = 0; i < TRIP_COUNT; i++) {
		err = rig_out(trip->rig, i);
		if (err)
			return err;
	}
	*ns = now_ns() - since;
	return trip_ours_device_work(trip);
}

int trip_ours_home(struct trip *trip, uint64_t *ns)
{
	uint64_t since = now_ns();
	size_t i;
	int err;

	for (i = 0; i < TRIP_COUNT; i++) {
		err = rig_home(trip->rig, i);
		if (err)
			return err;
	}
	*ns = now_ns() - since;
	return trip_ours_cpu_work(trip);
}

/* Range by range, as the library does. */
static uint64_t copy_all(uint8_t *to, const uint8_t *from)
{
	uint64_t since = now_ns();
	size_t i;

	for (i = 0; i < TRIP_COUNT; i++)
		memcpy(to + i * TRIP_CHUNK, from + i * TRIP_CHUNK, TRIP_CHUNK);
	return now_ns() - since;
}

int trip_base_out(struct trip *trip, uint64_t *ns)
{
	*ns = copy_all(trip->base_devmem, trip->base.start);
	return base_work(trip, trip->base_devmem);
}

int trip_base_home(struct trip *trip, uint64_t *ns)
{
	*ns = copy_all(trip->base.start, trip->base_devmem);
	return base_work(trip, trip->base.start);
}
