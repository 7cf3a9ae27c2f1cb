/* SPDX-License-Identifier: MIT */
/*
 * Which doors to userfaultfd are open to this process, and what is behind.
 * The library asks the same questions, but tells only what it chose.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base/uapi.h"
#include "files.h"
#include "info.h"

#define FD_FLAGS (O_CLOEXEC | O_NONBLOCK)

const struct door_names door_names[DOORS] = {
	[DOOR_SYSCALL] = { "syscall", "userfaultfd(2)" },
	[DOOR_DEVICE] = { "device", "/dev/userfaultfd" },
	[DOOR_USER_MODE_ONLY] = { "user_mode_only", "UFFD_USER_MODE_ONLY" },
};

/* The kernel's order of bits; what is needed is what the library asks for. */
const struct uffd_feature uffd_features[] = {
	{ "PAGEFAULT_FLAG_WP", USE_NEEDED },
	{ "EVENT_FORK", USE_WANTED },
	{ "EVENT_REMAP", USE_NEEDED },
	{ "EVENT_REMOVE", USE_NEEDED },
	{ "MISSING_HUGETLBFS", USE_NONE },
	{ "MISSING_SHMEM", USE_NONE },
	{ "EVENT_UNMAP", USE_NEEDED },
	{ "SIGBUS", USE_WANTED },
	{ "THREAD_ID", USE_NEEDED },
	{ "MINOR_HUGETLBFS", USE_NONE },
	{ "MINOR_SHMEM", USE_NONE },
	{ "EXACT_ADDRESS", USE_NONE },
	{ "WP_HUGETLBFS_SHMEM", USE_WANTED },
	{ "WP_UNPOPULATED", USE_NONE },
	{ "POISON", USE_NONE },
	{ "WP_ASYNC", USE_NONE },
	{ "MOVE", USE_WANTED },
	{ "RWP", USE_WANTED },
	{ "RWP_ASYNC", USE_NONE },
};
const size_t uffd_features_known = ARRAY_SIZE(uffd_features);

static int open_device(void)
{
	int devfd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	if (devfd < 0)
		return -errno;
	fd = ioctl(devfd, USERFAULTFD_IOC_NEW, FD_FLAGS);
	if (fd < 0)
		fd = -errno;
	close(devfd);
	return fd;
}

int open_door(enum door door)
{
	int flags = FD_FLAGS;
	int fd;

	if (door == DOOR_DEVICE)
		return open_device();
	if (door == DOOR_USER_MODE_ONLY)
		flags |= UFFD_USER_MODE_ONLY;
	fd = (int)syscall(SYS_userfaultfd, flags);
	return fd < 0 ? -errno : fd;
}

static int try_door(enum door door)
{
	int fd = open_door(door);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/*
 * A seccomp filter may end the process instead of giving an error.  A child
 * goes first, so that there is somebody left to tell.
 */
static bool doors_kill(void)
{
	static const struct rlimit no_core = { 0, 0 };
	int status = 0;
	pid_t child;

	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		try_door(DOOR_SYSCALL);
		try_door(DOOR_DEVICE);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

enum door first_door(const struct uffd_info *uffd)
{
	int door;

	for (door = 0; door < DOORS; door++)
		if (!uffd->door[door])
			break;
	return (enum door)door;
}

enum door used_door(const struct uffd_info *uffd, enum gpusvm_source source)
{
	if (source == GPUSVM_SOURCE_USERFAULTFD ||
	    source == GPUSVM_SOURCE_USERFAULTFD_RWP)
		return first_door(uffd);
	if (source == GPUSVM_SOURCE_USERFAULTFD_SIGBUS)
		return uffd->door[DOOR_USER_MODE_ONLY] ? first_door(uffd)
						       : DOOR_USER_MODE_ONLY;
	return source == GPUSVM_SOURCE_USERFAULTFD_USER ? DOOR_USER_MODE_ONLY
							: DOORS;
}

/* The handshake works once for each descriptor. */
static int handshake(enum door door, uint64_t features, uint64_t *offered)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = open_door(door);
	int err = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api))
		err = -errno;
	close(fd);
	if (!err && offered)
		*offered = api.features;
	return err;
}

void probe_uffd(struct uffd_info *uffd)
{
	enum door door;
	int i;

	uffd->sysctl = read_number("/proc/sys/vm/unprivileged_userfaultfd");
	uffd->api_err = NOT_TRIED;
	uffd->event_fork = NOT_TRIED;
	uffd->killed = doors_kill();
	for (i = 0; i < DOORS; i++)
		uffd->door[i] = uffd->killed ? NOT_TRIED
					     : try_door((enum door)i);
	door = first_door(uffd);
	if (door == DOORS)
		return;
	uffd->api_err = handshake(door, 0, &uffd->features);
	if (!uffd->api_err && (uffd->features & UFFD_FEATURE_EVENT_FORK))
		uffd->event_fork =
			handshake(door, UFFD_FEATURE_EVENT_FORK, NULL);
}
