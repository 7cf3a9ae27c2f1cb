/* SPDX-License-Identifier: MIT */
/* Read-write semaphores under their kernel names. */
#ifndef GPUSVM_LINUX_RWSEM_H
#define GPUSVM_LINUX_RWSEM_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/kernel.h>

static inline void init_rwsem(struct rw_semaphore *sem)
{
	gpusvm_init_rwsem(sem);
}

static inline void down_read(struct rw_semaphore *sem)
{
	gpusvm_down_read(sem);
}

static inline void up_read(struct rw_semaphore *sem)
{
	gpusvm_up_read(sem);
}

static inline void down_write(struct rw_semaphore *sem)
{
	gpusvm_down_write(sem);
}

static inline void up_write(struct rw_semaphore *sem)
{
	gpusvm_up_write(sem);
}

#endif /* GPUSVM_LINUX_RWSEM_H */
