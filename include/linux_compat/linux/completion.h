/* SPDX-License-Identifier: MIT */
/* Completions under their kernel names. */
#ifndef GPUSVM_LINUX_COMPLETION_H
#define GPUSVM_LINUX_COMPLETION_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/kernel.h>

static inline void init_completion(struct completion *x)
{
	gpusvm_init_completion(x);
}

static inline void complete_all(struct completion *x)
{
	gpusvm_complete_all(x);
}

static inline bool completion_done(struct completion *x)
{
	return gpusvm_completion_done(x);
}

static inline void wait_for_completion(struct completion *x)
{
	gpusvm_wait_for_completion(x);
}

#endif /* GPUSVM_LINUX_COMPLETION_H */
