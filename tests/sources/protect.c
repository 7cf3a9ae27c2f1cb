/* SPDX-License-Identifier: MIT */
/*
 * The source that works by protection, with a real kernel: contents and
 * protections after a round trip, system calls, changes that are announced and
 * that are not.  For whose SIGSEGV it is see protect_signals.c.
 *
 * argv[1]: only the tests whose names have this in them.
 */
#include "device.h"
#include "many_threads.h"
#include "pattern.h"
#include "process_tests.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * What /proc/self/maps tells of [mem, mem + size).  Borders between parts that
 * are alike are left out: Linux 6.16 never takes them away.
 */
static void read_maps(const void *mem, size_t size, char *lines, size_t max)
{
	unsigned long start, end, last = 0;
	char line[512], prot[5], old[5] = "";
	FILE *file = fopen("/proc/self/maps", "r");
	size_t n = 0;

	check(file);
	lines[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		check(sscanf(line, "%lx-%lx %4s", &start, &end, prot) == 3);
		if (start < (unsigned long)mem + size &&
		    end > (unsigned long)mem) {
			if (start != last || strcmp(prot, old))
				n += (size_t)snprintf(lines + n, max - n,
						      "%lx %s\n", start, prot);
			check(n < max);
		}
		last = end;
		strcpy(old, prot);
	}
	fclose(file);
}

/* ---- Round trips ---- */

static void round_trip(int prot)
{
	char before[4096], away[4096], after[4096];
	unsigned char *mem = device_map(HUGE, RW);

	fill(mem, HUGE, 1);
	check(!mprotect(mem, HUGE, prot));
	read_maps(mem - PAGE, HUGE + 2 * PAGE, before, sizeof(before));
	/* A part in the middle, so that the mapping is split meanwhile. */
	check(!device_take(mem + 4 * SIZE, SIZE));
	check(device_pages() == SIZE / PAGE);
	read_maps(mem - PAGE, HUGE + 2 * PAGE, away, sizeof(away));
	check(strcmp(before, away));
	check(matches(mem, HUGE, 1));
	device_check_empty();
	read_maps(mem - PAGE, HUGE + 2 * PAGE, after, sizeof(after));
	check(!strcmp(before, after));
	if (prot & PROT_WRITE) {
		check(!device_take(mem + 4 * SIZE, SIZE));
		fill(mem, HUGE, 2);
		check(!device_take(mem, SIZE));
		check(matches(mem, HUGE, 2));
		device_check_empty();
		read_maps(mem - PAGE, HUGE + 2 * PAGE, after, sizeof(after));
		check(!strcmp(before, after));
	}
}

static void protections_are_the_programs_after_a_round_trip(void)
{
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	round_trip(RW);
	round_trip(RW | PROT_EXEC);
	round_trip(PROT_READ);
	check(!device_log_errors);
	device_close();
}

static void whole_mapping_makes_a_round_trip(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	unsigned int i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	for (i = 0; i < 20; i++) {
		fill(mem, HUGE, i);
		check(!device_take(mem, HUGE));
		check(matches(mem, HUGE, i));
	}
	device_close();
}

/* Pages that were never touched are accessible, and zero. */
static void untouched_memory_is_zero(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	mem[3 * PAGE] = 1;
	check(!device_take(mem, HUGE));
	for (i = 0; i < HUGE; i++)
		check(mem[i] == (i == 3 * PAGE));
	device_close();
}

static void locked_memory_is_refused(void)
{
	unsigned char *mem = device_map(SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 3);
	/* The bare call: that of a sanitizer does nothing. */
	if (syscall(SYS_mlock, mem, SIZE))
		skip("memory cannot be locked here");
	check(device_take(mem, SIZE) == -EBUSY);
	check(matches(mem, SIZE, 3));
	device_check_empty();
	device_close();
}

static void closing_brings_everything_home(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 4);
	check(!device_take(mem + SIZE, SIZE));
	check(!device_take(mem + 3 * SIZE, SIZE));
	device_close();
	check(matches(mem, 4 * SIZE, 4));
}

static void many_threads_wait_for_pages(void)
{
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check_many_threads();
	device_close();
}

/* ---- System calls ---- */

static void system_call_gives_efault_until_populated(void)
{
	unsigned char *mem = device_map(SIZE, RW), byte;
	int fds[2];

	check(!pipe(fds));
	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check(!(device_features() & GPUSVM_FEATURE_KERNEL_FAULTS));
	mem[100] = 9;
	check(!device_take(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem + 100, 1l) == -1 &&
	      errno == EFAULT);
	check(!gpusvm_populate(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem + 100, 1l) == 1);
	check(read(fds[0], &byte, 1) == 1 && byte == 9);
	device_close();
}

/* ---- Changes ---- */

static void announced_protection_is_kept(void)
{
	char lines[4096];
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 11);
	check(!device_take(mem, SIZE));
	check(!gpusvm_mprotect(mem, SIZE, PROT_READ));
	device_check_empty();
	read_maps(mem, SIZE, lines, sizeof(lines));
	check(strstr(lines, " r--p\n"));
	check(matches(mem, 4 * SIZE, 11));
	device_close();
}

static void announced_move_takes_the_data_along(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);
	unsigned char *to = device_map(8 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 12);
	check(!device_take(mem + SIZE, SIZE));
	check(gpusvm_mremap(mem, 4 * SIZE, 8 * SIZE,
			    MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	check(matches(to, 4 * SIZE, 12));
	to[8 * SIZE - 1] = 1;
	device_close();
}

static void announced_growth_is_accessible(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW), *grown;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	check(!munmap(mem + SIZE, 3 * SIZE));
	fill(mem, SIZE, 13);
	check(!device_take(mem, SIZE));
	grown = gpusvm_mremap(mem, SIZE, 2 * SIZE, MREMAP_MAYMOVE, NULL);
	check(grown != MAP_FAILED);
	check(matches(grown, SIZE, 13));
	grown[2 * SIZE - 1] = 1;
	device_close();
}

static void announced_drop_gives_zeros(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	int fds[2];
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, SIZE, 14);
	check(!device_take(mem, SIZE));
	check(!gpusvm_madvise(mem, SIZE / 2, MADV_DONTNEED));
	/* At once, not when somebody touches it. */
	check(!pipe(fds) && syscall(SYS_write, fds[1], mem, 1l) == 1);
	for (i = 0; i < SIZE / 2; i++)
		check(!mem[i]);
	check(mem[SIZE / 2] == pattern(SIZE / 2, 14));
	device_close();
}

/* Between begin and end the memory is the caller's, as free() would want it. */
static void announced_change_may_touch_what_it_changes(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);
	struct gpusvm_change change;
	size_t i;

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 18);
	check(!device_take(mem, SIZE));
	check(!device_take(mem + SIZE, SIZE));
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, mem + SIZE, SIZE);
	check(matches(mem, 4 * SIZE, 18));
	check(!madvise(mem + SIZE, SIZE, MADV_DONTNEED));
	gpusvm_change_end(&change, true);
	check(matches(mem, SIZE, 18));
	for (i = SIZE; i < 2 * SIZE; i++)
		check(!mem[i]);
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, mem, 4 * SIZE);
	check(!munmap(mem, 4 * SIZE));
	gpusvm_change_end(&change, true);
	device_close();
}

/* What free() does: nobody tells, and the address is used again. */
static void unannounced_unmap_does_not_bring_data_back(void)
{
	unsigned char *mem = device_map(4 * SIZE, RW);

	check(!device_open(GPUSVM_SOURCE_MPROTECT));
	fill(mem, 4 * SIZE, 16);
	check(!device_take(mem, SIZE));
	check(!device_take(mem + 2 * SIZE, SIZE));
	check(!munmap(mem, SIZE));
	check(mmap(mem, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == mem);
	fill(mem, SIZE, 17);
	check(!munmap(mem + 2 * SIZE, SIZE));
	device_close();
	check(matches(mem, SIZE, 17));
	check(device_log_has("nobody announced"));
}

static const struct process_test tests[] = {
	TEST(protections_are_the_programs_after_a_round_trip),
	TEST(whole_mapping_makes_a_round_trip),
	TEST(untouched_memory_is_zero),
	TEST(locked_memory_is_refused),
	TEST(closing_brings_everything_home),
	TEST(many_threads_wait_for_pages),
	TEST(system_call_gives_efault_until_populated),
	TEST(announced_protection_is_kept),
	TEST(announced_move_takes_the_data_along),
	TEST(announced_growth_is_accessible),
	TEST(announced_drop_gives_zeros),
	TEST(announced_change_may_touch_what_it_changes),
	TEST(unannounced_unmap_does_not_bring_data_back),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
