/* SPDX-License-Identifier: MIT */
/* The calls of userfaultfd that baselines and bounds are made of. */
#ifndef GPUSVM_BENCH_UFFD_H
#define GPUSVM_BENCH_UFFD_H

#include "../../lib/base/uapi.h"
#include "bench.h"

/* A userfaultfd with @features: 0, -errno, or SKIPPED. */
int uffd_open(int *fd, uint64_t features);
/* Its faults on absent pages of @area are ours: 0 or -errno. */
int uffd_register(int fd, const struct area *area);
/* Those on protected pages, too. */
int uffd_register_wp(int fd, const struct area *area);
/* Let stores there wait: 0 or -errno. */
int uffd_protect(int fd, const uint8_t *start, size_t size);
/* Put a copy of @src at @dst, where no pages are: 0 or -errno. */
int uffd_copy(int fd, const uint8_t *dst, const uint8_t *src, size_t size);
/* Move the pages at @src to @dst, which @fd has registered: 0 or -errno. */
int uffd_move(int fd, const uint8_t *dst, const uint8_t *src, size_t size);

#endif /* GPUSVM_BENCH_UFFD_H */
