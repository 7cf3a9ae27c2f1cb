/* SPDX-License-Identifier: MIT */
/* The bare userfaultfd loop: see bare.h. */
#include "bare.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/base/uapi.h"

#define BATCH 16

/* The page may be there already: two messages for one are normal. */
static void serve(struct bare *bare, uintptr_t addr)
{
	size_t page = gpusvm_page_size();
	uintptr_t start = addr & ~(uintptr_t)(page - 1);
	struct uffdio_copy copy = {
		.dst = start,
		.src = (uintptr_t)bare->source.start +
		       (start - (uintptr_t)bare->data.start),
		.len = page,
	};
	struct uffdio_range range = { .start = start, .len = page };

	__atomic_fetch_add(&bare->served, 1, __ATOMIC_RELAXED);
	if (!ioctl(bare->uffd, UFFDIO_COPY, &copy))
		return;
	if (errno == EEXIST && !ioctl(bare->uffd, UFFDIO_WAKE, &range))
		return;
	__atomic_store_n(&bare->err, -errno, __ATOMIC_RELAXED);
}

static void *handle(void *arg)
{
	struct bare *bare = arg;
	struct pollfd fds[] = {
		{ .fd = bare->uffd, .events = POLLIN },
		{ .fd = bare->stop_fd, .events = POLLIN },
	};
	struct uffd_msg messages[BATCH];
	ssize_t i, n;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		n = read(bare->uffd, messages, sizeof(messages));
		for (i = 0; i < n / (ssize_t)sizeof(messages[0]); i++)
			if (messages[i].event == UFFD_EVENT_PAGEFAULT)
				serve(bare, messages[i].arg.pagefault.address);
	}
	return NULL;
}

static int open_uffd(int *fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	int door;

	for (*fd = -EPERM, door = 0; *fd < 0 && door < DOORS; door++)
		*fd = open_door((enum door)door);
	if (*fd < 0)
		return because(SKIPPED,
			       "this process may not have a userfaultfd");
	return ioctl(*fd, UFFDIO_API, &api) ? -errno : 0;
}

static int watch_area(struct bare *bare)
{
	struct uffdio_register arg = {
		.range = {
			.start = (uintptr_t)bare->data.start,
			.len = bare->data.size,
		},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(bare->uffd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

int bare_create(struct bare *bare, size_t pages)
{
	size_t size = pages * gpusvm_page_size();
	int err;

	*bare = (struct bare){ .stop_fd = eventfd(0, EFD_CLOEXEC) };
	if (bare->stop_fd < 0)
		return -errno;
	err = open_uffd(&bare->uffd);
	if (err)
		return err;
	err = area_create(&bare->data, size, false);
	if (!err)
		err = area_create(&bare->source, size, false);
	if (err)
		return err;
	area_fill(&bare->source);
	/* Page tables are there, as they are where data has been. */
	area_fill(&bare->data);
	err = bare_drop(bare);
	if (!err)
		err = watch_area(bare);
	if (!err)
		err = -pthread_create(&bare->thread, NULL, handle, bare);
	return err;
}

void bare_destroy(struct bare *bare)
{
	uint64_t one = 1;

	if (write(bare->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(bare->thread, NULL);
	close(bare->uffd);
	close(bare->stop_fd);
	area_destroy(&bare->data);
	area_destroy(&bare->source);
}

int bare_pin(struct bare *bare, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_setaffinity_np(bare->thread, sizeof(set), &set);
}

int bare_check(struct bare *bare, size_t count)
{
	size_t served = __atomic_load_n(&bare->served, __ATOMIC_RELAXED);
	size_t since = served - bare->checked;

	bare->checked = served;
	if (__atomic_load_n(&bare->err, __ATOMIC_RELAXED))
		return __atomic_load_n(&bare->err, __ATOMIC_RELAXED);
	return since < count ? -EIO : 0;
}

int bare_drop(struct bare *bare)
{
	return madvise(bare->data.start, bare->data.size, MADV_DONTNEED)
		       ? -errno
		       : 0;
}
