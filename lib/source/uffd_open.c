/* SPDX-License-Identifier: MIT */
/*
 * Getting a userfaultfd: which door is open to this process, and which
 * features the kernel behind it has.
 */
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "log.h"
#include "sys.h"

#define FD_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* Without these the address space cannot be mirrored (Linux 5.7 has them). */
#define FEATURES_NEEDED                                              \
	(UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |      \
	 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
	 UFFD_FEATURE_THREAD_ID)
#define FEATURES_WANTED                                \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_MOVE | \
	 UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

static int open_device(int flags)
{
	int devfd, fd;

	devfd = gpusvm_sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (devfd < 0)
		return devfd;
	fd = gpusvm_sys_userfaultfd_dev(devfd, flags);
	gpusvm_sys_close(devfd);
	return fd;
}

#define WHAT_TO_CHANGE                                        \
	"set sysctl vm.unprivileged_userfaultfd=1, or allow " \
	"access to /dev/userfaultfd"

/* Faults of system calls are served, too. */
static int open_full(void)
{
	int fd, err = gpusvm_sys_userfaultfd(FD_FLAGS);

	if (err >= 0)
		return err;
	fd = open_device(FD_FLAGS);
	return fd >= 0 ? fd : err;
}

/* At warning level if something else can stand in for it. */
static void tell_why_not(const struct uffd *uffd, int err)
{
	enum gpusvm_log_level level = uffd->wanted == GPUSVM_SOURCE_AUTO
					      ? GPUSVM_LOG_WARNING
					      : GPUSVM_LOG_ERROR;

	if (err != -EPERM && err != -ENOSYS)
		gpusvm_log(GPUSVM_LOG_ERROR, "no userfaultfd: error %d", -err);
	else if (uffd->wanted == GPUSVM_SOURCE_USERFAULTFD_USER)
		gpusvm_log(
			level,
			"no userfaultfd for user mode only (error %d): allow "
			"userfaultfd in the seccomp filter of this "
			"container; Linux 5.11 is needed",
			-err);
	else
		gpusvm_log(level,
			   "no userfaultfd (error %d): " WHAT_TO_CHANGE
			   ", or allow userfaultfd in the seccomp filter of "
			   "this container",
			   -err);
}

/* Faults of system calls are refused anyway, so no privilege is needed. */
static int open_sigbus(const struct uffd *uffd, unsigned long *features)
{
	int fd;

	*features |= GPUSVM_FEATURE_IN_THREAD;
	fd = gpusvm_sys_userfaultfd(FD_FLAGS | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		fd = open_full();
	if (fd < 0)
		tell_why_not(uffd, fd);
	return fd;
}

/*
 * Full service first; a descriptor that serves no faults of system calls is
 * open to every process on most machines, and better than nothing.
 */
static int open_fd(const struct uffd *uffd, unsigned long *features)
{
	int fd, err = -EPERM;

	*features = GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_CPU_FAULTS |
		    GPUSVM_FEATURE_EVENTS;
	if (uffd->wanted == GPUSVM_SOURCE_USERFAULTFD_SIGBUS)
		return open_sigbus(uffd, features);
	if (uffd->wanted != GPUSVM_SOURCE_USERFAULTFD_USER) {
		err = open_full();
		if (err >= 0) {
			*features |= GPUSVM_FEATURE_KERNEL_FAULTS;
			return err;
		}
	}
	if (uffd->wanted != GPUSVM_SOURCE_USERFAULTFD) {
		fd = gpusvm_sys_userfaultfd(FD_FLAGS | UFFD_USER_MODE_ONLY);
		/* Before Linux 5.11 the flag is unknown. */
		if (fd < 0 && uffd->wanted != GPUSVM_SOURCE_AUTO)
			err = fd == -EINVAL ? -ENOSYS : fd;
		if (fd >= 0 && uffd->wanted != GPUSVM_SOURCE_USERFAULTFD_USER)
			log_warning("userfaultfd is restricted: system calls "
				    "on device-resident memory will give "
				    "EFAULT (" WHAT_TO_CHANGE ")");
		if (fd >= 0)
			return fd;
	}
	tell_why_not(uffd, err);
	return err;
}

/*
 * What the kernel has is told by a first descriptor, since the handshake can
 * be made only once; what this process may use (EVENT_FORK needs
 * CAP_SYS_PTRACE) only by trying.
 */
static int handshake(int fd, unsigned long wanted, unsigned long *granted)
{
	struct uffdio_api api = { .api = UFFD_API };
	int err, probe;

	probe = gpusvm_sys_userfaultfd(FD_FLAGS | UFFD_USER_MODE_ONLY);
	if (probe < 0)
		probe = gpusvm_sys_userfaultfd(FD_FLAGS);
	if (probe < 0)
		probe = open_device(FD_FLAGS);
	if (probe < 0)
		return probe;
	err = gpusvm_sys_uffd_api(probe, &api);
	gpusvm_sys_close(probe);
	if (err)
		return err;

	wanted &= api.features;
	api = (struct uffdio_api){ .api = UFFD_API, .features = wanted };
	err = gpusvm_sys_uffd_api(fd, &api);
	if (err == -EPERM && (wanted & UFFD_FEATURE_EVENT_FORK)) {
		wanted &= ~(unsigned long)UFFD_FEATURE_EVENT_FORK;
		api = (struct uffdio_api){ .api = UFFD_API,
					   .features = wanted };
		err = gpusvm_sys_uffd_api(fd, &api);
	}
	*granted = wanted;
	return err;
}

static unsigned long features_of(unsigned long api)
{
	unsigned long features = 0;

	if (api & UFFD_FEATURE_EVENT_FORK)
		features |= GPUSVM_FEATURE_FORK_EVENT;
	if (api & UFFD_FEATURE_MOVE)
		features |= GPUSVM_FEATURE_MOVE;
	if (api & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
		features |= GPUSVM_FEATURE_SHMEM_EVENTS;
	if (api & UFFD_FEATURE_RWP)
		features |= GPUSVM_FEATURE_RWP;
	return features;
}

int gpusvm_uffd_negotiate(struct uffd *uffd)
{
	unsigned long needed = FEATURES_NEEDED, wanted = FEATURES_WANTED;
	int err, fd;

	/*
	 * A child would have SIGBUSes as long as its descriptor is open, and
	 * nobody there who serves them.
	 */
	if (uffd->wanted == GPUSVM_SOURCE_USERFAULTFD_SIGBUS) {
		needed |= UFFD_FEATURE_SIGBUS;
		wanted &= ~(unsigned long)UFFD_FEATURE_EVENT_FORK;
	}
	/* What is kept from everybody cannot be copied, only moved. */
	if (uffd->wanted == GPUSVM_SOURCE_USERFAULTFD_RWP)
		needed |= UFFD_FEATURE_RWP | UFFD_FEATURE_MOVE;

	fd = open_fd(uffd, &uffd->source.features);
	if (fd < 0)
		return fd;
	err = handshake(fd, needed | wanted, &uffd->api);
	if (!err && (uffd->api & needed) != needed) {
		log_error("userfaultfd of this kernel has features %#lx, too "
			  "few: Linux %s is needed",
			  uffd->api,
			  uffd->wanted == GPUSVM_SOURCE_USERFAULTFD_RWP
				  ? "7.3"
				  : "5.7");
		err = -ENOSYS;
	}
	if (err) {
		gpusvm_sys_close(fd);
		return err;
	}
	uffd->source.fd = fd;
	uffd->source.features |= features_of(uffd->api);
	return 0;
}
