/* SPDX-License-Identifier: MIT */
/*
 * Every second page of a large piece of memory is on the device, each a range
 * of its own.  Each would be a mapping by itself, and there are not so many: the
 * source makes one of them, or says that no more can be had; and all data is
 * there.
 *
 * scattered userfaultfd|mprotect [RANGES]
 */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RANGES 100000ul
#define PAGE gpusvm_page_size()
/* What the kernel allows unless told, of which half is the program's. */
#define MOST_MAPPINGS (65530ul / 2)

static unsigned long count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long count = 0;
	int c;

	check(maps);
	while ((c = getc(maps)) != EOF)
		count += c == '\n';
	fclose(maps);
	return count;
}

static unsigned long *word(unsigned char *mem, unsigned long page)
{
	return (unsigned long *)(mem + page * PAGE + page % 8 * 8);
}

/* How many went there; the first that cannot is the last that is tried. */
static unsigned long take_every_second(unsigned char *mem, unsigned long ranges,
				       int *err)
{
	unsigned long i;

	*err = 0;
	for (i = 0; i < ranges; i++) {
		*err = device_take(mem + 2 * i * PAGE, PAGE);
		if (*err)
			break;
	}
	return i;
}

static unsigned long run(enum gpusvm_source source, unsigned long ranges)
{
	unsigned char *mem =
		device_map(2 * ranges * PAGE, PROT_READ | PROT_WRITE);
	unsigned long page, taken, mappings;
	int err;

	for (page = 0; page < 2 * ranges; page++)
		*word(mem, page) = page + 1;
	device_bytes = ranges * PAGE;
	err = device_open(source);
	if (err == -EPERM || err == -ENOSYS) {
		printf("skipped: this source cannot be had here\n");
		exit(77);
	}
	check(!err);
	taken = take_every_second(mem, ranges, &err);
	check(device_pages() == taken);
	check(err == (taken < ranges ? -ENOMEM : 0));
	mappings = count_mappings();
	printf("%lu ranges on the device, %lu mappings\n", taken, mappings);
	check(mappings < MOST_MAPPINGS);

	for (page = 0; page < 2 * ranges; page++)
		check(*word(mem, page) == page + 1);
	device_check_empty();
	device_close();
	return taken;
}

int main(int argc, char **argv)
{
	unsigned long ranges = argc > 2 ? strtoul(argv[2], NULL, 10) : RANGES;

	check(argc > 1);
	if (sysconf(_SC_PAGESIZE) != (long)PAGE) {
		printf("skipped: pages are larger, and the ranges of these "
		       "tests "
		       "are not\n");
		return 77;
	}
	if (!strcmp(argv[1], "mprotect")) {
		/* Each is guarded by itself, and these are bounded. */
		check(run(GPUSVM_SOURCE_MPROTECT, ranges) >= 1000);
		return EXIT_SUCCESS;
	}
	check(run(GPUSVM_SOURCE_USERFAULTFD_USER, ranges) == ranges);
	return EXIT_SUCCESS;
}
