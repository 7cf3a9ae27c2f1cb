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

int uffd_register(int fd, const struct area *area)
{
	struct uffdio_register arg = {
		.range = {
			.start = (uintptr_t)area->start,
			.len = area->size,
		},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
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
