/* SPDX-License-Identifier: MIT */
/* Engines that have state: made by gpusvm_copy_engine_create(). */
#ifndef GPUSVM_COPY_ENGINE_H
#define GPUSVM_COPY_ENGINE_H

#include <gpusvm/copy.h>

int gpusvm_copy_threads_create(struct gpusvm_copy_engine **engine,
			       const struct gpusvm_copy_engine_opts *opts);

/* -EOPNOTSUPP in a library that is built without liburing. */
int gpusvm_copy_uring_create(struct gpusvm_copy_engine **engine,
			     const struct gpusvm_copy_engine_opts *opts);

#endif /* GPUSVM_COPY_ENGINE_H */
