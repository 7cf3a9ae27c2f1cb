/* SPDX-License-Identifier: MIT */
/* Pages pinned as a registered buffer of io_uring: see pin.h. */
#include "pin.h"

#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int test_pin(void *addr, size_t size)
{
	struct iovec buffer = { addr, size };
	struct io_uring_params params;
	int ring;

	memset(&params, 0, sizeof(params));
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring >= 0 && syscall(SYS_io_uring_register, ring,
				 IORING_REGISTER_BUFFERS, &buffer, 1)) {
		close(ring);
		return -1;
	}
	return ring;
}

void test_unpin(int pin)
{
	/* To close the ring alone would do so later. */
	syscall(SYS_io_uring_register, pin, IORING_UNREGISTER_BUFFERS, NULL, 0);
	close(pin);
}
