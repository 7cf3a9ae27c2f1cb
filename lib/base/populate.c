/* SPDX-License-Identifier: MIT */
/* Having the kernel put pages where there are none. */
#include "populate.h"

#include <errno.h>
#include <sys/uio.h>

#include "compiler.h"
#include "page_size.h"
#include "sys.h"

#define BATCH 64ul

/* The kernel checks the advice before it sees that there is nothing to do. */
static bool kernel_populates(int advice)
{
	return gpusvm_sys_madvise(0, 0, advice) != -EINVAL;
}

/* Have the kernel read a byte of each page. */
static int read_pages(unsigned long start, unsigned long npages)
{
	struct iovec remote[BATCH];
	struct iovec local;
	char bytes[BATCH];
	unsigned long i, n;
	ssize_t done;

	for (; npages; npages -= n, start += n << PAGE_SHIFT) {
		n = min(npages, BATCH);
		for (i = 0; i < n; i++)
			remote[i] = (struct iovec){
				.iov_base = (void *)(start + (i << PAGE_SHIFT)),
				.iov_len = 1,
			};
		local = (struct iovec){ .iov_base = bytes, .iov_len = n };
		done = gpusvm_sys_process_vm_readv(gpusvm_sys_getpid(), &local,
						   1, remote, n);
		if (done < 0)
			return (int)done;
		if ((unsigned long)done < n)
			return -EFAULT;
	}
	return 0;
}

int gpusvm_populate_pages(unsigned long start, size_t len, bool write)
{
	int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
	int err = gpusvm_sys_madvise(start, len, advice);
	unsigned long addr;

	if (err != -EINVAL || kernel_populates(advice))
		return err;
	/* This can wait for a fault handler, a futex cannot. */
	err = read_pages(start, len >> PAGE_SHIFT);
	for (addr = start; !err && write && addr < start + len;
	     addr += PAGE_SIZE)
		if (gpusvm_sys_futex_or_nothing((unsigned int *)addr))
			err = -EAGAIN;
	return err;
}
