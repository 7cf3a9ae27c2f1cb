/* SPDX-License-Identifier: MIT */
/* Errors in pointers under their kernel names. */
#ifndef GPUSVM_LINUX_ERR_H
#define GPUSVM_LINUX_ERR_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <errno.h>
#include <gpusvm/kernel.h>

#define ERR_PTR(error) gpusvm_err_ptr(error)
#define PTR_ERR(ptr) gpusvm_ptr_err(ptr)
#define IS_ERR(ptr) gpusvm_is_err(ptr)
#define ERR_CAST(ptr) ((void *)(ptr))

static inline bool IS_ERR_OR_NULL(const void *ptr)
{
	return !ptr || IS_ERR(ptr);
}

#endif /* GPUSVM_LINUX_ERR_H */
