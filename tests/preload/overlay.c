/* SPDX-License-Identifier: MIT */
/*
 * A file of which stat(2) tells another device than its mappings do: on an
 * overlayfs whose layers are on file systems of their own.  The device is
 * stopped before the file is truncated or punched, by descriptor or by path.
 *
 * usage: overlay
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PS ((size_t)sysconf(_SC_PAGESIZE))
#define PAGES 4
#define SKIPPED 77

static unsigned int failed;

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			printf("%s:%d: %s\n", __func__, __LINE__, #condition); \
			failed++;                                              \
		}                                                              \
	} while (0)

static _Noreturn void skip(const char *what)
{
	printf("skip: %s: %s\n", what, strerror(errno));
	exit(SKIPPED);
}

static void make(const char *path, const char *with)
{
	static char page[1 << 16];
	unsigned int i;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	memset(page, *with, PS);
	for (i = 0; i < PAGES; i++)
		CHECK(write(fd, page, PS) == (ssize_t)PS);
	close(fd);
}

/* Mounts over /tmp that nobody else sees, and that end with the process. */
static void mount_overlay(void)
{
	const char *const parts[] = { "lower", "upper", "merged" };
	unsigned int i;

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("gpusvm", "/tmp", "tmpfs", 0, NULL))
		skip("no mounts of our own");
	CHECK(!chdir("/tmp"));
	for (i = 0; i < 3; i++)
		CHECK(!mkdir(parts[i], 0755));
	CHECK(!mount("gpusvm", "lower", "tmpfs", 0, NULL));
	CHECK(!mount("gpusvm", "upper", "tmpfs", 0, NULL));
	CHECK(!mkdir("upper/data", 0755) && !mkdir("upper/work", 0755));
	make("lower/file", "l");
	if (mount("gpusvm", "merged", "overlay", 0,
		  "lowerdir=lower,upperdir=upper/data,workdir=upper/work"))
		skip("no overlayfs");
}

/* The device that a mapping's line in /proc/self/maps has. */
static dev_t device_of(const void *mem)
{
	unsigned long start, end;
	unsigned int major, minor;
	char line[512];
	dev_t dev = 0;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %*s %*x %x:%x", &start, &end, &major,
			   &minor) == 4 &&
		    start <= (unsigned long)mem && (unsigned long)mem < end)
			dev = makedev(major, minor);
	fclose(maps);
	return dev;
}

static int by_ftruncate(const char *path)
{
	int fd = open(path, O_RDWR);
	int ret = ftruncate(fd, 0);

	close(fd);
	return ret;
}

static int by_ftruncate_of_write_only(const char *path)
{
	int fd = open(path, O_WRONLY);
	int ret = ftruncate(fd, 0);

	close(fd);
	return ret;
}

static int by_fallocate(const char *path)
{
	int fd = open(path, O_RDWR);
	int ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    (off_t)PS);

	close(fd);
	return ret;
}

static int by_truncate(const char *path)
{
	return truncate(path, 0);
}

static void check(const char *name, const char *path,
		  int (*change)(const char *path))
{
	const struct runtime_record *rec;
	int fd = open(path, O_RDWR);
	struct stat st;
	char *mem;

	CHECK(fd >= 0 && !fstat(fd, &st));
	mem = mmap(NULL, PAGES * PS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(mem != MAP_FAILED);
	close(fd);
	mem[0] = 'm';
	CHECK(!runtime_watch(mem, PAGES * PS));
	runtime_reset();
	CHECK(change(path) == 0);
	rec = runtime_find(mem);
	printf("%-12s %-26s st_dev %s that of the mapping, %s\n", path, name,
	       st.st_dev == device_of(mem) ? "is" : "is not",
	       rec ? "told" : "not told");
	CHECK(rec && rec->event == RUNTIME_CLEAR && rec->readable &&
	      rec->byte == 'm');
	CHECK(rec && rec->tid == (int)syscall(SYS_gettid));
	CHECK(munmap(mem, PAGES * PS) == 0);
	runtime_sync();
}

static void check_all(const char *path)
{
	static const struct {
		const char *name;
		int (*change)(const char *path);
	} changes[] = {
		{ "fallocate", by_fallocate },
		{ "ftruncate", by_ftruncate },
		{ "ftruncate, only for writing", by_ftruncate_of_write_only },
		{ "truncate", by_truncate },
	};
	size_t i;

	for (i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		check(changes[i].name, path, changes[i].change);
		make(path, "n");
	}
}

int main(void)
{
	int err;

	mount_overlay();
	err = runtime_open();
	if (err) {
		printf("skip: no mirrored address space: %s\n", strerror(-err));
		return SKIPPED;
	}
	make("merged/new", "u");
	check_all("merged/new");
	/* From below, copied up by the first who opens it for writing. */
	check_all("merged/file");
	runtime_close();
	printf("%u checks failed\n", failed);
	return failed != 0;
}
