/* SPDX-License-Identifier: MIT */
/* Memory of the program whose memory it is about. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define HUGE_PAGE (2 * MIB)

int area_create(struct area *area, size_t size, bool huge)
{
	/* A guard before it, what alignment takes, and a guard behind it. */
	size_t mapped = size + 3 * HUGE_PAGE;
	uint8_t *map, *start;
	int err;

	*area = (struct area){ .map = NULL };
	map = mmap(NULL, mapped, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	start = map + HUGE_PAGE;
	start += (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
	if (mprotect(start, size, PROT_READ | PROT_WRITE) ||
	    madvise(start, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)) {
		err = -errno;
		munmap(map, mapped);
		return err;
	}
	*area = (struct area){
		.start = start,
		.size = size,
		.map = map,
		.mapped = mapped,
	};
	return 0;
}

void area_destroy(struct area *area)
{
	if (area->map)
		munmap(area->map, area->mapped);
	*area = (struct area){ .map = NULL };
}

void area_fill(const struct area *area)
{
	unsigned long page = gpusvm_page_size();
	size_t i;

	for (i = 0; i < area->size; i += page)
		*(volatile uint8_t *)(area->start + i) = 1;
}

/* Of all mappings in the area: the kernel sees several where modes differ. */
static size_t huge_bytes(FILE *smaps, const struct area *area)
{
	uintptr_t start = (uintptr_t)area->start;
	unsigned long first, last, kib;
	bool inside = false;
	size_t bytes = 0;
	char line[512];

	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
			inside = start <= first && last <= start + area->size;
		else if (inside &&
			 sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			bytes += kib * KIB;
	}
	return bytes;
}

size_t area_huge_bytes(const struct area *area)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	size_t bytes;

	if (!smaps)
		return 0;
	bytes = huge_bytes(smaps, area);
	fclose(smaps);
	return bytes;
}
