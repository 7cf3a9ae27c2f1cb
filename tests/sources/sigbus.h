/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the source sigbus share: that it is there, memory on the
 * device, and what sanitizers do to SIGBUS.
 */
#ifndef TESTS_SOURCES_SIGBUS_H
#define TESTS_SOURCES_SIGBUS_H

#include "device.h"
#include "pattern.h"
#include "process_tests.h"

#include <errno.h>

/*
 * Sanitizers have handlers of their own, where the program sees its own; the
 * thread sanitizer calls the program's late, with all signals blocked.
 */
#ifdef __SANITIZE_THREAD__
#define OTHERS_HANDLE true
#define HANDLED_LATE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || \
	__has_feature(undefined_behavior_sanitizer)
#define OTHERS_HANDLE true
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define OTHERS_HANDLE true
#endif
#ifndef OTHERS_HANDLE
#define OTHERS_HANDLE false
#endif
#ifndef HANDLED_LATE
#define HANDLED_LATE false
#endif

static inline void open_device(void)
{
	int err = device_open(GPUSVM_SOURCE_USERFAULTFD_SIGBUS);

	if (err == -EPERM)
		skip("userfaultfd is not permitted here");
	if (err == -ENOSYS)
		skip("there is no userfaultfd here");
	check(!err);
}

/* Memory on the device. */
static inline unsigned char *take(size_t size, unsigned int tag)
{
	unsigned char *mem = device_map(size, RW);

	fill(mem, size, tag);
	check(!device_take(mem, size));
	return mem;
}

#endif /* TESTS_SOURCES_SIGBUS_H */
