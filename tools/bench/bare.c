/* SPDX-License-Identifier: MIT */
/* The bare userfaultfd loop: see bare.h. */
#include "bare.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uffd.h"

#define BATCH 16

/* The page may be there already: two messages for one are normal. */
static int copy(struct bare *bare, size_t at)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)bare->data.start + at,
		.src = (uintptr_t)bare->source.start + at,
		.len = bare->chunk,
	};
	struct uffdio_range range = {
		.start = copy.dst,
		.len = bare->chunk,
	};

	if (!ioctl(bare->uffd, UFFDIO_COPY, &copy))
		return 0;
	if (errno != EEXIST)
		return -errno;
	return ioctl(bare->uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}

static int copy_and_move(struct bare *bare, size_t at)
{
	uint8_t *staging = bare->staging.start + at;

	memcpy(staging, bare->source.start + at, bare->chunk);
	/* For the next to serve this, who hears of it by the kernel only. */
	__atomic_fetch_add(&bare->served, 0, __ATOMIC_RELEASE);
	return uffd_move(bare->uffd, bare->data.start + at, staging,
			 bare->chunk);
}

static void serve(struct bare *bare, uintptr_t addr)
{
	size_t at = addr - (uintptr_t)bare->data.start;
	int err;

	at -= at % bare->chunk;
	__atomic_fetch_add(&bare->served, 1, __ATOMIC_ACQUIRE);
	err = bare->moves ? copy_and_move(bare, at) : copy(bare, at);
	if (err)
		__atomic_store_n(&bare->err, err, __ATOMIC_RELAXED);
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

static int create_areas(struct bare *bare, size_t size)
{
	int err;

	err = area_create(&bare->data, size, false);
	if (!err)
		err = area_create(&bare->source, size, false);
	if (!err && bare->moves)
		err = area_create(&bare->staging, size, false);
	if (err)
		return err;
	area_fill(&bare->source);
	/* Page tables are there, as they are where data has been. */
	area_fill(&bare->data);
	return 0;
}

/* Pages move to staging by a userfaultfd of its own, as the library's do. */
static int open_uffds(struct bare *bare)
{
	uint64_t features = bare->moves ? UFFD_FEATURE_MOVE : 0;
	int err;

	err = uffd_open(&bare->uffd, features);
	if (!err)
		err = uffd_register(bare->uffd, &bare->data);
	if (!err && bare->moves)
		err = uffd_open(&bare->staging_uffd, features);
	if (!err && bare->moves)
		err = uffd_register(bare->staging_uffd, &bare->staging);
	return err;
}

static int start_handler(struct bare *bare)
{
	int err = -pthread_create(&bare->thread[bare->nthreads], NULL, handle,
				  bare);

	bare->nthreads += !err;
	return err;
}

int bare_create(struct bare *bare, size_t count, size_t chunk, bool moves)
{
	int err;

	*bare = (struct bare){
		.uffd = -1,
		.staging_uffd = -1,
		.moves = moves,
		.chunk = chunk,
		.stop_fd = eventfd(0, EFD_CLOEXEC),
	};
	if (bare->stop_fd < 0)
		return -errno;
	err = create_areas(bare, count * chunk);
	if (!err)
		err = open_uffds(bare);
	if (!err)
		err = bare_drop(bare, count);
	return err ? err : start_handler(bare);
}

void bare_destroy(struct bare *bare)
{
	uint64_t one = 1;

	if (write(bare->stop_fd, &one, sizeof(one)) != sizeof(one))
		return;
	while (bare->nthreads)
		pthread_join(bare->thread[--bare->nthreads], NULL);
	close(bare->stop_fd);
	close(bare->uffd);
	if (bare->moves)
		close(bare->staging_uffd);
	area_destroy(&bare->data);
	area_destroy(&bare->source);
	area_destroy(&bare->staging);
}

static int pin(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_setaffinity_np(thread, sizeof(set), &set);
}

int bare_pin(struct bare *bare, int cpu)
{
	return pin(bare->thread[0], cpu);
}

int bare_spread(struct bare *bare)
{
	unsigned int i, n = cpu_count();
	int err = 0;

	n = n < BARE_HANDLERS ? n : BARE_HANDLERS;
	while (!err && bare->nthreads < n)
		err = start_handler(bare);
	for (i = 0; !err && i < n; i++)
		err = pin(bare->thread[i], cpu_nth(i));
	return err;
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

int bare_drop(struct bare *bare, size_t count)
{
	size_t size = count * bare->chunk;

	if (bare->moves)
		return uffd_move(bare->staging_uffd, bare->staging.start,
				 bare->data.start, size);
	return madvise(bare->data.start, size, MADV_DONTNEED) ? -errno : 0;
}
