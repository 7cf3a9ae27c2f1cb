/* SPDX-License-Identifier: MIT */
/*
 * What the arguments of a hook mean, where that is not plain: the kernel checks
 * them only afterwards, so a hook must not trust them.
 */
#ifndef GPUSVM_MM_HOOKS_ARGS_H
#define GPUSVM_MM_HOOKS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Read what a pointer points to, if it does: how many bytes, fewer at the end
 * of a mapping, or -errno.
 */
ssize_t gpusvm_hooks_read(const void *from, void *to, size_t size);

/* Whether the descriptor is one of this process or of a thread of it. */
bool gpusvm_hooks_is_self(int pidfd);

#endif /* GPUSVM_MM_HOOKS_ARGS_H */
