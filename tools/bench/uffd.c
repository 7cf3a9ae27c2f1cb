/* SPDX-License-Identifier: MIT */
/* Calls of userfaultfd: see uffd.h. */
#include "uffd.h"

#include <errno.h>

int uffd_open(int *fd, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int door;

	for (*fd = -EPERM, door = 0; *fd < 0 && door < DOORS; door++)
		*fd = open_door((enum door)door);
	if (*fd < 0)
		return because(SKIPPED,
			       "this process may not have a userfaultfd");
	if (ioctl(*fd, UFFDIO_API, &api))
		return because(SKIPPED, "this kernel's userfaultfd lacks "
					"UFFDIO_MOVE (Linux 6.8)");
	return 0;
}

static int register_for(int fd, const struct area *area, uint64_t mode)
{
	struct uffdio_register arg = {
		.range = {
			.start = (uintptr_t)area->start,
			.len = area->size,
		},
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

int uffd_register(int fd, const struct area *area)
{
	return register_for(fd, area, UFFDIO_REGISTER_MODE_MISSING);
}

int uffd_register_wp(int fd, const struct area *area)
{
	return register_for(fd, area,
			    UFFDIO_REGISTER_MODE_MISSING |
				    UFFDIO_REGISTER_MODE_WP);
}

int uffd_protect(int fd, const uint8_t *start, size_t size)
{
	struct uffdio_writeprotect arg = {
		.range = { .start = (uintptr_t)start, .len = size },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

int uffd_copy(int fd, const uint8_t *dst, const uint8_t *src, size_t size)
{
	struct uffdio_copy arg;
	size_t done = 0;

	while (done < size) {
		arg = (struct uffdio_copy){
			.dst = (uintptr_t)dst + done,
			.src = (uintptr_t)src + done,
			.len = size - done,
		};
		if (ioctl(fd, UFFDIO_COPY, &arg) && errno != EAGAIN)
			return -errno;
		if (arg.copy < 0 && arg.copy != -EAGAIN)
			return (int)arg.copy;
		if (arg.copy > 0)
			done += (size_t)arg.copy;
	}
	return 0;
}

int uffd_move(int fd, const uint8_t *dst, const uint8_t *src, size_t size)
{
	struct uffdio_move arg;
	size_t done = 0;

	while (done < size) {
		arg = (struct uffdio_move){
			.dst = (uintptr_t)dst + done,
			.src = (uintptr_t)src + done,
			.len = size - done,
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
