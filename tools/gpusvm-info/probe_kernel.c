/* SPDX-License-Identifier: MIT */
/*
 * Calls of the kernel that are newer than the oldest kernel that the library
 * works with, or that a seccomp filter may forbid.  Each is tried on memory of
 * its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../lib/base/uapi.h"
#include "info.h"

static size_t page_size(void)
{
	return gpusvm_page_size();
}

static void *map_page(void)
{
	void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

static int probe_madvise(int advice)
{
	void *page = map_page();
	int err;

	if (!page)
		return -ENOMEM;
	err = madvise(page, page_size(), advice) ? -errno : 0;
	munmap(page, page_size());
	return err;
}

static int probe_populate(void)
{
	return probe_madvise(MADV_POPULATE_WRITE);
}

static int probe_guard(void)
{
	return probe_madvise(MADV_GUARD_INSTALL);
}

static int probe_dontunmap(void)
{
	void *page = map_page();
	void *moved;
	int err = 0;

	if (!page)
		return -ENOMEM;
	moved = mremap(page, page_size(), page_size(),
		       MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (moved == MAP_FAILED)
		err = -errno;
	else
		munmap(moved, page_size());
	munmap(page, page_size());
	return err;
}

static int probe_ioctl(const char *path, unsigned long request, void *argument)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = ioctl(fd, request, argument) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int probe_procmap(void)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_addr = (uintptr_t)&query,
	};

	return probe_ioctl("/proc/self/maps", PROCMAP_QUERY, &query);
}

static int probe_pagemap(void)
{
	uintptr_t start;
	struct page_region region;
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};

	start = (uintptr_t)&scan & ~((uintptr_t)page_size() - 1);
	scan.start = start;
	scan.end = start + page_size();
	return probe_ioctl("/proc/self/pagemap", PAGEMAP_SCAN, &scan);
}

static int probe_readv(void)
{
	char from = 1, to = 0;
	struct iovec local = { &to, 1 };
	struct iovec remote = { &from, 1 };

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1)
		return 0;
	return -errno;
}

static int probe_membarrier(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (commands < 0)
		return -errno;
	return commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED ? 0 : -EOPNOTSUPP;
}

static const struct interface_info interfaces[INTERFACES] = {
	[IF_PROCMAP_QUERY] = { "procmap_query", "PROCMAP_QUERY", "6.11",
			       probe_procmap, NOT_TRIED },
	[IF_PAGEMAP_SCAN] = { "pagemap_scan", "PAGEMAP_SCAN", "6.7",
			      probe_pagemap, NOT_TRIED },
	[IF_POPULATE] = { "madv_populate", "MADV_POPULATE_WRITE", "5.14",
			  probe_populate, NOT_TRIED },
	[IF_GUARD_INSTALL] = { "madv_guard_install", "MADV_GUARD_INSTALL",
			       "6.13", probe_guard, NOT_TRIED },
	[IF_DONTUNMAP] = { "mremap_dontunmap", "MREMAP_DONTUNMAP", "5.7",
			   probe_dontunmap, NOT_TRIED },
	[IF_PROCESS_VM_READV] = { "process_vm_readv", "process_vm_readv(2)",
				  "3.2", probe_readv, NOT_TRIED },
	[IF_MEMBARRIER] = { "membarrier", "membarrier(2)", "4.14",
			    probe_membarrier, NOT_TRIED },
};

void probe_interfaces(struct interface_info interface[INTERFACES])
{
	int i;

	for (i = 0; i < INTERFACES; i++) {
		interface[i] = interfaces[i];
		interface[i].err = interface[i].probe();
	}
}
