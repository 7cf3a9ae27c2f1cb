/* SPDX-License-Identifier: MIT */
/* What the fake driver recorded, and questions about it. */
#include "fake_driver.h"
#include "fake_internal.h"

#include <string.h>

void fake_record_map(struct fake_driver *d, const struct fake_map *map)
{
	unsigned int i = fake_count(&d->num_maps);
	struct fake_map *slot = &d->maps[i % FAKE_MAX_MAPS];

	*slot = *map;
	slot->number = fake_number(d);
}

struct fake_copy *fake_record_copy(struct fake_driver *d, bool to_ram)
{
	unsigned int i = fake_count(&d->num_copies);
	struct fake_copy *copy = &d->copies[i % FAKE_MAX_COPIES];

	memset(copy, 0, sizeof(*copy));
	copy->number = fake_number(d);
	copy->to_ram = to_ram;
	copy->tid = fake_tid();
	return copy;
}

void fake_reset(struct fake_driver *d)
{
	d->notifier_allocs = d->notifier_frees = 0;
	d->range_allocs = d->range_frees = 0;
	d->populates = d->copies_to_devmem = d->copies_to_ram = 0;
	d->releases = 0;
	d->device_maps = d->device_unmaps = d->dma_maps = d->dma_unmaps = 0;
	d->num_events = d->num_maps = d->num_copies = 0;
	d->first_range_free = d->last_range_free = 0;
}

static unsigned int recorded(unsigned int count, unsigned int max)
{
	return count < max ? count : max;
}

static bool event_matches(const struct fake_event *e,
			  enum mmu_notifier_event event, const void *start,
			  size_t size)
{
	unsigned long from = (unsigned long)start;

	return e->event == event && e->start < from + size && e->end > from;
}

const struct fake_event *fake_last_event(struct fake_driver *d,
					 enum mmu_notifier_event event,
					 const void *start, size_t size)
{
	const struct fake_event *last = NULL;
	unsigned int i, n = recorded(d->num_events, FAKE_MAX_EVENTS);

	for (i = 0; i < n; i++) {
		const struct fake_event *e = &d->events[i];

		if (event_matches(e, event, start, size) &&
		    (!last || e->number > last->number))
			last = e;
	}
	return last;
}

unsigned int fake_count_events(struct fake_driver *d,
			       enum mmu_notifier_event event, const void *start,
			       size_t size)
{
	unsigned int i, n = recorded(d->num_events, FAKE_MAX_EVENTS);
	unsigned int count = 0;

	for (i = 0; i < n; i++)
		count += event_matches(&d->events[i], event, start, size);
	return count;
}

/* How often a mapping, alive since record @i, was undone before the next one. */
static unsigned int undone(struct fake_driver *d, unsigned int i,
			   unsigned int n)
{
	const struct fake_map *map = &d->maps[i];
	unsigned int count = 0;

	for (i++; i < n; i++) {
		const struct fake_map *later = &d->maps[i];

		if (later->dma != map->dma || later->addr != map->addr)
			continue;
		if (!later->unmap)
			break;
		count += later->bytes == map->bytes;
	}
	return count;
}

unsigned int fake_unbalanced_maps(struct fake_driver *d)
{
	unsigned int i, n = d->num_maps;
	unsigned int bad = 0, unmaps = 0, maps = 0;

	if (n > FAKE_MAX_MAPS)
		fail_msg("%u mapping records do not fit", n);
	for (i = 0; i < n; i++) {
		if (d->maps[i].unmap) {
			unmaps++;
			continue;
		}
		maps++;
		bad += undone(d, i, n) != 1;
	}
	return bad + (unmaps > maps ? unmaps - maps : 0);
}

unsigned long fake_last_unmap(struct fake_driver *d)
{
	unsigned int i, n = recorded(d->num_maps, FAKE_MAX_MAPS);
	unsigned long last = 0;

	for (i = 0; i < n; i++)
		if (d->maps[i].unmap && d->maps[i].number > last)
			last = d->maps[i].number;
	return last;
}

const struct fake_copy *fake_last_copy(struct fake_driver *d, bool to_ram)
{
	unsigned int i, n = recorded(d->num_copies, FAKE_MAX_COPIES);
	const struct fake_copy *last = NULL;

	for (i = 0; i < n; i++) {
		const struct fake_copy *copy = &d->copies[i];

		if (copy->to_ram == to_ram &&
		    (!last || copy->number > last->number))
			last = copy;
	}
	return last;
}

bool fake_copy_had_addr(const struct fake_copy *copy, unsigned long i)
{
	return copy->has_addr[i / (8 * sizeof(long))] >>
		       (i % (8 * sizeof(long))) &
	       1;
}
