/* SPDX-License-Identifier: MIT */
/*
 * The read-write semaphore on a POSIX read-write lock, which lives in the
 * semaphore's storage so that the public header does without pthread.h.  glibc
 * prefers readers unless told; the kernel does not let them starve writers.
 *
 * The POSIX calls fail only for a lock that is used wrongly, which the checking
 * build reports before they do.
 */
#include <gpusvm/kernel.h>
#include <pthread.h>

#include "lockdep.h"

_Static_assert(sizeof(pthread_rwlock_t) <=
		       sizeof(((struct rw_semaphore *)NULL)->storage),
	       "the lock fits");
_Static_assert(_Alignof(pthread_rwlock_t) <= _Alignof(unsigned long),
	       "the lock is aligned");

static pthread_rwlock_t *lock_of(struct rw_semaphore *sem)
{
	return (pthread_rwlock_t *)(void *)sem->storage;
}

void gpusvm_init_rwsem(struct rw_semaphore *sem)
{
	pthread_rwlockattr_t attr;

	sem->dep_map.name = NULL;
	pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
	pthread_rwlock_init(lock_of(sem), &attr);
	pthread_rwlockattr_destroy(&attr);
}

void gpusvm_down_read(struct rw_semaphore *sem)
{
	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	pthread_rwlock_rdlock(lock_of(sem));
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_read(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}

void gpusvm_down_write(struct rw_semaphore *sem)
{
	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	pthread_rwlock_wrlock(lock_of(sem));
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_write(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}
