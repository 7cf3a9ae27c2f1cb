/* SPDX-License-Identifier: MIT */
/* Having the kernel put pages where there are none. */
#ifndef GPUSVM_BASE_POPULATE_H
#define GPUSVM_BASE_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * madvise(MADV_POPULATE_READ or _WRITE) of whole pages, on kernels before 5.14,
 * too: no data changes, and what has gone or may not be accessed is an error and
 * not a signal.  Errors are those of madvise(); there also -EAGAIN for pages
 * that are being kept from writers.
 */
int gpusvm_populate_pages(unsigned long start, size_t len, bool write);

#endif /* GPUSVM_BASE_POPULATE_H */
