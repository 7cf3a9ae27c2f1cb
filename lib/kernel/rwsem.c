/* SPDX-License-Identifier: MIT */
/*
 * The read-write semaphore on a POSIX read-write lock, which lives in the
 * semaphore's storage so that the public header does without pthread.h.  glibc
 * prefers readers unless told; the kernel does not let them starve writers.
 *
 * As in the kernel who finds it taken tries for a while before he sleeps: it is
 * held for short, at most for a call that moves pages, and to be woken on another
 * CPU takes longer than that.
 *
 * The POSIX calls fail only for a lock that is used wrongly, which the checking
 * build reports before they do.
 */
#include <gpusvm/kernel.h>
#include <pthread.h>

#include "compiler.h"
#include "lockdep.h"
#include "sys.h"

_Static_assert(sizeof(pthread_rwlock_t) <=
		       sizeof(((struct rw_semaphore *)NULL)->storage),
	       "the lock fits");
_Static_assert(_Alignof(pthread_rwlock_t) <= _Alignof(unsigned long),
	       "the lock is aligned");

/*
 * About what a move of some pages takes that has to interrupt another CPU of a
 * virtual machine.
 */
#define SPIN_NS 20000ul
/* That many times at most, if the clock stands still. */
#define SPIN_TRIES 2000u

/*
 * Whether the holder may be on another CPU: as far as who made the last one may
 * run.  The library's own threads are pinned.  Atomic.
 */
static bool several_cpus;

static bool try_for_a_while(pthread_rwlock_t *lock,
			    int (*try)(pthread_rwlock_t *lock))
{
	unsigned int tries = SPIN_TRIES;
	unsigned long end_ns;

	if (!READ_ONCE(several_cpus))
		return false;
	end_ns = gpusvm_sys_now_ns() + SPIN_NS;
	do {
		cpu_relax();
		if (!try(lock))
			return true;
	} while (--tries && gpusvm_sys_now_ns() < end_ns);
	return false;
}

static pthread_rwlock_t *lock_of(struct rw_semaphore *sem)
{
	return (pthread_rwlock_t *)(void *)sem->storage;
}

void gpusvm_init_rwsem(struct rw_semaphore *sem)
{
	pthread_rwlockattr_t attr;

	WRITE_ONCE(several_cpus, gpusvm_sys_cpus(NULL, 0) > 1);
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
	pthread_rwlock_t *lock = lock_of(sem);

	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	if (pthread_rwlock_tryrdlock(lock) &&
	    !try_for_a_while(lock, pthread_rwlock_tryrdlock))
		pthread_rwlock_rdlock(lock);
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_read(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}

void gpusvm_down_write(struct rw_semaphore *sem)
{
	pthread_rwlock_t *lock = lock_of(sem);

	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	if (pthread_rwlock_trywrlock(lock) &&
	    !try_for_a_while(lock, pthread_rwlock_trywrlock))
		pthread_rwlock_wrlock(lock);
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_write(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}
