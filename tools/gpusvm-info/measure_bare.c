/* SPDX-License-Identifier: MIT */
/*
 * The floor that the library stands on: a plain copy, and the system call that
 * takes the pages, on a userfaultfd of our own.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../lib/base/uapi.h"
#include "info.h"

int measure_memcpy(struct measurements *m)
{
	uint8_t *from = area_map(MEASURE_BYTES);
	uint8_t *to = area_map(MEASURE_BYTES);
	struct series series;
	uint64_t since;
	int err = -ENOMEM;

	if (!from || !to)
		goto out;
	err = series_init(&series);
	if (err)
		goto out;
	while (series_wants_more(&series)) {
		memset(from, (int)series.rounds, MEASURE_BYTES);
		since = now_ns();
		memcpy(to, from, MEASURE_BYTES);
		/* The copy is used, whatever the compiler thinks. */
		__asm__ volatile("" : : "r"(to) : "memory");
		series_add(&series, now_ns() - since);
	}
	series_finish(&series, m, "memcpy", "memcpy()", MEASURE_BYTES);
out:
	if (from)
		area_unmap(from, MEASURE_BYTES);
	if (to)
		area_unmap(to, MEASURE_BYTES);
	return err;
}

/* All of it, however many calls the kernel wants for that. */
static int move(int fd, uintptr_t dst, uintptr_t src)
{
	struct uffdio_move arg;
	size_t done = 0;

	while (done < MEASURE_BYTES) {
		arg = (struct uffdio_move){
			.dst = dst + done,
			.src = src + done,
			.len = MEASURE_BYTES - done,
		};
		if (ioctl(fd, UFFDIO_MOVE, &arg) && errno != EAGAIN)
			return -errno;
		if (arg.move < 0 && arg.move != -EAGAIN)
			return (int)arg.move;
		if (arg.move > 0)
			done += (size_t)arg.move;
	}
	return 0;
}

static int protect(int fd, uintptr_t start, bool on)
{
	struct uffdio_writeprotect arg = {
		.range = { .start = start, .len = MEASURE_BYTES },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

static int do_register(int fd, uintptr_t start, uint64_t mode)
{
	struct uffdio_register arg = {
		.range = { .start = start, .len = MEASURE_BYTES },
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

static int measure_move(struct measurements *m, int fd, uintptr_t a,
			uintptr_t b)
{
	struct series series;
	uint64_t since;
	int err;

	err = do_register(fd, a, UFFDIO_REGISTER_MODE_MISSING);
	if (!err)
		err = do_register(fd, b, UFFDIO_REGISTER_MODE_MISSING);
	if (!err)
		err = series_init(&series);
	if (err)
		return err;
	/* Back and forth: @a has the pages in every other round. */
	while (!err && series_wants_more(&series)) {
		since = now_ns();
		err = move(fd, series.rounds % 2 ? a : b,
			   series.rounds % 2 ? b : a);
		series_add(&series, now_ns() - since);
	}
	if (err)
		series.rounds = 0;
	series_finish(&series, m, "uffdio_move", "bare UFFDIO_MOVE",
		      MEASURE_BYTES);
	return err;
}

static int measure_protect(struct measurements *m, int fd, uintptr_t a)
{
	struct series series;
	uint64_t since;
	int err;

	err = do_register(fd, a, UFFDIO_REGISTER_MODE_WP);
	if (!err)
		err = series_init(&series);
	if (err)
		return err;
	while (!err && series_wants_more(&series)) {
		since = now_ns();
		err = protect(fd, a, true);
		series_add(&series, now_ns() - since);
		if (!err)
			err = protect(fd, a, false);
	}
	if (err)
		series.rounds = 0;
	series_finish(&series, m, "uffdio_writeprotect",
		      "bare UFFDIO_WRITEPROTECT", MEASURE_BYTES);
	return err;
}

/* A descriptor with UFFDIO_MOVE, or with write-protection; or -errno. */
static int open_uffd(bool *can_move)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = -EPERM;
	int pass, door;

	*can_move = true;
	for (pass = 0; pass < 2; pass++) {
		for (door = 0, fd = -EPERM; fd < 0 && door < DOORS; door++)
			fd = open_door((enum door)door);
		if (fd < 0)
			return fd;
		api.features = *can_move ? UFFD_FEATURE_MOVE
					 : UFFD_FEATURE_PAGEFAULT_FLAG_WP;
		if (!ioctl(fd, UFFDIO_API, &api))
			return fd;
		close(fd);
		*can_move = false;
		api = (struct uffdio_api){ .api = UFFD_API };
	}
	return -EOPNOTSUPP;
}

int measure_uffd(struct measurements *m)
{
	uint8_t *a, *b;
	bool can_move;
	int fd, err = -ENOMEM;

	fd = open_uffd(&can_move);
	if (fd < 0)
		return fd;
	a = area_map(MEASURE_BYTES);
	b = area_map(MEASURE_BYTES);
	if (a && b) {
		memset(a, 1, MEASURE_BYTES);
		err = can_move ? measure_move(m, fd, (uintptr_t)a, (uintptr_t)b)
			       : measure_protect(m, fd, (uintptr_t)a);
	}
	close(fd);
	if (a)
		area_unmap(a, MEASURE_BYTES);
	if (b)
		area_unmap(b, MEASURE_BYTES);
	return err;
}
