/* SPDX-License-Identifier: MIT */
/* Data that travels: see trip.h. */
#include "trip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More than a CPU has for itself. */
#define OTHER_BYTES (8 * MIB)
#define CACHE_LINE 64

/* A huge page that was split would be measured as what it is not. */
static int check_huge(const struct area *area, bool huge)
{
	if (huge && area_huge_bytes(area) < area->size)
		return because(-EIO, "huge pages were split");
	return 0;
}

static int create_base(struct trip *trip, bool huge)
{
	int err;

	err = area_create(&trip->base, TRIP_COUNT * TRIP_CHUNK, huge);
	if (err)
		return err;
	area_fill(&trip->base);
	if (huge && area_huge_bytes(&trip->base) < trip->base.size)
		return because(SKIPPED, "the kernel gave no huge pages");
	return 0;
}

int trip_check_and_mark(uint8_t *data, uint64_t old)
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

static void clear_marks(const struct area *area)
{
	size_t i;

	for (i = 0; i < area->size; i += gpusvm_page_size())
		*(volatile uint64_t *)(area->start + i) = 0;
}

/* Half of the ranges are out when the first round begins. */
static int start_side(struct trip *trip, struct trip_side *side,
		      int (*out)(struct trip *trip, uint64_t *ns))
{
	uint64_t ns;
	size_t i;
	int err = 0;

	for (i = 0; !err && i < TRIP_COUNT / 2; i++) {
		err = out(trip, &ns);
		trip_advance(side);
	}
	return err;
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
	trip->huge = config->huge;
	err = area_create(&trip->other, OTHER_BYTES, false);
	if (err)
		return err;
	area_fill(&trip->other);
	err = create_base(trip, config->base_huge);
	if (!err)
		err = rig_create(&trip->rig, &opts);
	for (i = 0; !err && i < TRIP_COUNT; i++)
		err = rig_insert(trip->rig, i);
	if (err)
		return err;
	trip->base_devmem = rig_base_devmem(trip->rig);
	clear_marks(&trip->base);
	clear_marks(&trip->rig->data);
	*state = trip;
	err = start_side(trip, &trip->ours_side, trip_ours_out);
	return err ? err : start_side(trip, &trip->base_side, trip_base_out);
}

int trip_teardown(void *state)
{
	struct trip *trip = state;
	size_t i;
	int err = 0;

	/* Those that are out. */
	for (i = 0; !err && i < TRIP_COUNT / 2; i++) {
		err = rig_home(trip->rig, trip_home_index(&trip->ours_side));
		trip_advance(&trip->ours_side);
	}
	if (!err)
		err = check_huge(&trip->rig->data, trip->huge);
	if (!err)
		err = rig_destroy(trip->rig);
	area_destroy(&trip->base);
	area_destroy(&trip->other);
	free(trip);
	return err;
}

void trip_cool(const struct trip *trip)
{
	size_t i;

	for (i = 0; i < trip->other.size; i += CACHE_LINE)
		touch(trip->other.start + i);
}

size_t trip_out_index(const struct trip_side *side)
{
	return side->next;
}

size_t trip_home_index(const struct trip_side *side)
{
	return (side->next + TRIP_COUNT / 2) % TRIP_COUNT;
}

void trip_advance(struct trip_side *side)
{
	side->next = (side->next + 1) % TRIP_COUNT;
}

int trip_ours_device_work(struct trip *trip)
{
	size_t i = trip_out_index(&trip->ours_side);

	return trip_check_and_mark(rig_device_data(trip->rig, i),
				   trip->ours_side.mark[i]++);
}

int trip_ours_cpu_work(struct trip *trip)
{
	size_t i = trip_home_index(&trip->ours_side);

	return trip_check_and_mark(rig_data(trip->rig, i),
				   trip->ours_side.mark[i]++);
}

int trip_ours_out(struct trip *trip, uint64_t *ns)
{
	size_t i = trip_out_index(&trip->ours_side);
	uint64_t since;
	int err;

	trip_cool(trip);
	since = now_ns();
	err = rig_out(trip->rig, i);
	*ns = now_ns() - since;
	return err ? err : trip_ours_device_work(trip);
}

int trip_ours_home(struct trip *trip, uint64_t *ns)
{
	size_t i = trip_home_index(&trip->ours_side);
	uint64_t since;
	int err;

	trip_cool(trip);
	since = now_ns();
	err = rig_home(trip->rig, i);
	*ns = now_ns() - since;
	return err ? err : trip_ours_cpu_work(trip);
}

static int base_copy(struct trip *trip, uint8_t *to, const uint8_t *from,
		     size_t i, uint64_t *ns)
{
	uint64_t since;

	trip_cool(trip);
	since = now_ns();
	memcpy(to + i * TRIP_CHUNK, from + i * TRIP_CHUNK, TRIP_CHUNK);
	*ns = now_ns() - since;
	return trip_check_and_mark(to + i * TRIP_CHUNK,
				   trip->base_side.mark[i]++);
}

int trip_base_out(struct trip *trip, uint64_t *ns)
{
	return base_copy(trip, trip->base_devmem, trip->base.start,
			 trip_out_index(&trip->base_side), ns);
}

int trip_base_home(struct trip *trip, uint64_t *ns)
{
	return base_copy(trip, trip->base.start, trip->base_devmem,
			 trip_home_index(&trip->base_side), ns);
}

int trip_base_roundtrip(struct trip *trip, double *value)
{
	uint64_t out_ns, home_ns;
	int err;

	err = trip_base_out(trip, &out_ns);
	if (!err)
		err = trip_base_home(trip, &home_ns);
	if (err)
		return err;
	trip_advance(&trip->base_side);
	*value = gb_per_s(2 * TRIP_CHUNK, out_ns + home_ns);
	return 0;
}
