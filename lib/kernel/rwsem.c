/* SPDX-License-Identifier: MIT */
/*
 * The read-write semaphore on a POSIX read-write lock, which lives in the
 * semaphore's storage so that the public header does without pthread.h.  glibc
 * prefers readers unless told, other libc cannot be told; the kernel does not let
 * them starve writers.
 *
 * As in the kernel who finds it taken tries for a while before he sleeps: it is
 * held for short, at most for a call that moves pages, and to be woken on another
 * CPU takes longer than that.
 *
 * The POSIX calls fail only for a lock that is used wrongly, which the checking
 * build reports before they do.
 */
#include <gpusvm/kernel.h>
#include <limits.h>
#include <pthread.h>

#include "compiler.h"
#include "lockdep.h"
#include "sys.h"

/**
 * struct lock - What is in the storage
 * @rwlock: The lock
 * @writers: That wait for it, unless @rwlock prefers them; a futex
 */
struct lock {
	pthread_rwlock_t rwlock;
	unsigned int writers;
};

_Static_assert(sizeof(struct lock) <=
		       sizeof(((struct rw_semaphore *)NULL)->storage),
	       "the lock fits");
_Static_assert(_Alignof(struct lock) <= _Alignof(unsigned long),
	       "the lock is aligned");

static struct lock *to_lock(struct rw_semaphore *sem)
{
	return (struct lock *)(void *)sem->storage;
}

static pthread_rwlock_t *lock_of(struct rw_semaphore *sem)
{
	return &to_lock(sem)->rwlock;
}

#ifdef __GLIBC__
static void prefer_writers(pthread_rwlockattr_t *attr)
{
	pthread_rwlockattr_setkind_np(
		attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
}

static void wait_to_read(struct lock *lock)
{
	pthread_rwlock_rdlock(&lock->rwlock);
}

static void wait_to_write(struct lock *lock)
{
	pthread_rwlock_wrlock(&lock->rwlock);
}
#else
static void prefer_writers(pthread_rwlockattr_t *attr)
{
	(void)attr;
}

static void wait_to_read(struct lock *lock)
{
	unsigned int writers;

	while ((writers = __atomic_load_n(&lock->writers, __ATOMIC_ACQUIRE)))
		gpusvm_sys_futex_wait(&lock->writers, writers, NULL);
	pthread_rwlock_rdlock(&lock->rwlock);
}

static void wait_to_write(struct lock *lock)
{
	__atomic_fetch_add(&lock->writers, 1, __ATOMIC_RELEASE);
	pthread_rwlock_wrlock(&lock->rwlock);
	if (__atomic_sub_fetch(&lock->writers, 1, __ATOMIC_RELEASE) == 0)
		gpusvm_sys_futex_wake(&lock->writers, INT_MAX);
}
#endif

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

static bool try_to_read(struct lock *lock)
{
	return !READ_ONCE(lock->writers) &&
	       !pthread_rwlock_tryrdlock(&lock->rwlock);
}

static bool try_to_write(struct lock *lock)
{
	return !pthread_rwlock_trywrlock(&lock->rwlock);
}

static bool try_for_a_while(struct lock *lock, bool (*try)(struct lock *lock))
{
	unsigned int tries = SPIN_TRIES;
	unsigned long end_ns;

	if (!READ_ONCE(several_cpus))
		return false;
	end_ns = gpusvm_sys_now_ns() + SPIN_NS;
	do {
		cpu_relax();
		if (try(lock))
			return true;
	} while (--tries && gpusvm_sys_now_ns() < end_ns);
	return false;
}

void gpusvm_init_rwsem(struct rw_semaphore *sem)
{
	pthread_rwlockattr_t attr;

	WRITE_ONCE(several_cpus, gpusvm_sys_cpus(NULL, 0) > 1);
	sem->dep_map.name = NULL;
	pthread_rwlockattr_init(&attr);
	prefer_writers(&attr);
	pthread_rwlock_init(lock_of(sem), &attr);
	to_lock(sem)->writers = 0;
	pthread_rwlockattr_destroy(&attr);
}

void gpusvm_down_read(struct rw_semaphore *sem)
{
	struct lock *lock = to_lock(sem);

	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	if (!try_to_read(lock) && !try_for_a_while(lock, try_to_read))
		wait_to_read(lock);
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_read(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}

void gpusvm_down_write(struct rw_semaphore *sem)
{
	struct lock *lock = to_lock(sem);

	lockdep_check(!gpusvm_lockdep_held(&sem->dep_map), "lock taken twice");
	if (!try_to_write(lock) && !try_for_a_while(lock, try_to_write))
		wait_to_write(lock);
	gpusvm_lockdep_acquire(&sem->dep_map);
}

void gpusvm_up_write(struct rw_semaphore *sem)
{
	gpusvm_lockdep_release(&sem->dep_map);
	pthread_rwlock_unlock(lock_of(sem));
}
