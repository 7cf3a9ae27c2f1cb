/* SPDX-License-Identifier: MIT */
/*
 * What user space needs around drm_gpusvm and the kernel does not: the
 * mirrored address space itself, memory that never migrates, the log and the
 * counters.
 */
#ifndef GPUSVM_GPUSVM_H
#define GPUSVM_GPUSVM_H

#include <gpusvm/kernel.h>
#include <gpusvm/version.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum gpusvm_technique - How pages are taken from the CPU for a migration
 * @GPUSVM_TECHNIQUE_AUTO: The best that the kernel offers
 * @GPUSVM_TECHNIQUE_MOVE: UFFDIO_MOVE (Linux 6.8) moves the pages themselves;
 *	memory that it refuses falls back to write-protection, which all sources
 *	by userfaultfd have but GPUSVM_SOURCE_USERFAULTFD_RWP
 * @GPUSVM_TECHNIQUE_WRITE_PROTECT: Write-protect, copy, drop.  Does not see
 *	pages that are pinned for I/O: do not migrate buffers of I/O in flight
 */
enum gpusvm_technique {
	GPUSVM_TECHNIQUE_AUTO,
	GPUSVM_TECHNIQUE_MOVE,
	GPUSVM_TECHNIQUE_WRITE_PROTECT,
};

/**
 * enum gpusvm_source - What tells of CPU faults and of changes of memory
 * @GPUSVM_SOURCE_AUTO: What the environment variable GPUSVM_SOURCE says
 *	(userfaultfd, user, mprotect, manual, sigbus or rwp); without it the first
 *	that works of userfaultfd, userfaultfd for user mode only, and mprotect
 * @GPUSVM_SOURCE_USERFAULTFD: userfaultfd with everything, for which a process
 *	needs a privilege on most machines
 * @GPUSVM_SOURCE_USERFAULTFD_USER: userfaultfd for user mode only, for which it
 *	needs none: system calls on device-resident memory give EFAULT
 * @GPUSVM_SOURCE_MPROTECT: What is on a device is made inaccessible, and a
 *	handler of SIGSEGV brings it home.  System calls on it give EFAULT, and
 *	changes of memory are noticed only if they are announced (gpusvm/hooks.h,
 *	libgpusvm-preload.so); threads that touch it must not block SIGSEGV
 * @GPUSVM_SOURCE_MANUAL: The same without the handler: gpusvm_populate() brings
 *	memory home, and who touches it before gets a SIGSEGV
 * @GPUSVM_SOURCE_USERFAULTFD_SIGBUS: userfaultfd whose faults raise a SIGBUS in
 *	the thread that touched the memory, which then brings it home itself:
 *	faster than to wake another thread, and a fault for each thread at a
 *	time.  Callbacks run in that signal handler, on the stack of whoever
 *	has the fault.  System calls on device-resident memory give EFAULT
 *	(gpusvm_populate() is for that); threads that touch it must not block
 *	SIGBUS, nor have their stack or thread-local storage on a device
 * @GPUSVM_SOURCE_USERFAULTFD_RWP: userfaultfd that can make every access to
 *	pages wait that are still there (UFFDIO_RWPROTECT, Linux 7.3), of the
 *	first kind that works of the two above.  So memory that threads never
 *	cease to do I/O with migrates, and is not -EBUSY; the data stays.
 *	Locked and read-only memory does not migrate
 */
enum gpusvm_source {
	GPUSVM_SOURCE_AUTO,
	GPUSVM_SOURCE_USERFAULTFD,
	GPUSVM_SOURCE_USERFAULTFD_USER,
	GPUSVM_SOURCE_MPROTECT,
	GPUSVM_SOURCE_MANUAL,
	GPUSVM_SOURCE_USERFAULTFD_SIGBUS,
	GPUSVM_SOURCE_USERFAULTFD_RWP,
};

/**
 * struct gpusvm_mm_opts - Options of gpusvm_mm_open()
 * @size: sizeof(struct gpusvm_mm_opts)
 * @technique: How pages are taken from the CPU
 * @staging_bytes: System memory kept for re-use by later migrations, at most;
 *	0 for the default of 64 MiB
 * @watchdog_ms: After how many milliseconds a CPU fault that nobody could serve
 *	is reported to the log, with what it waits for; 0 for the default of 10
 *	seconds, ~0u for never
 * @cpu_fault_bytes: How much comes home when the CPU touches a device page: an
 *	aligned window of that size, a power of two and at least a page; 0 for
 *	the whole allocation, as in the kernel.  What is left makes the range a
 *	mixed one: drm_gpusvm_range_get_pages() gives -EOPNOTSUPP until
 *	drm_gpusvm_range_evict().  At least 2 MiB with the source mprotect, which
 *	would split mappings
 * @source: What tells of CPU faults and of changes
 * @handlers: Threads that serve CPU faults, at most, besides a sleeping one or
 *	two for when they are all held up; 0 for one on each CPU that the
 *	calling thread may run on, and no more than 8
 *
 * Zeroed members mean the default.
 */
struct gpusvm_mm_opts {
	size_t size;
	enum gpusvm_technique technique;
	size_t staging_bytes;
	unsigned int watchdog_ms;
	size_t cpu_fault_bytes;
	enum gpusvm_source source;
	unsigned int handlers;
};

/* What gpusvm_mm_features() tells. */

/* Faults and events come from userfaultfd. */
#define GPUSVM_FEATURE_USERFAULTFD (1ul << 0)
/* System calls on device-resident memory work (else they give EFAULT). */
#define GPUSVM_FEATURE_KERNEL_FAULTS (1ul << 1)
/*
 * A child of a bare clone() reads device-resident memory right, unless the device
 * writes to it in that moment: fork() stops it first.
 */
#define GPUSVM_FEATURE_FORK_EVENT (1ul << 2)
/* UFFDIO_MOVE is used. */
#define GPUSVM_FEATURE_MOVE (1ul << 3)
/* Mappings are looked up by PROCMAP_QUERY, not by reading /proc/self/maps. */
#define GPUSVM_FEATURE_PROCMAP_QUERY (1ul << 4)
/* Untouched and zero pages are told apart from data by PAGEMAP_SCAN. */
#define GPUSVM_FEATURE_PAGEMAP_SCAN (1ul << 5)
/* Shared memory that is mapped for a device raises events, too. */
#define GPUSVM_FEATURE_SHMEM_EVENTS (1ul << 6)
/* The CPU's touch brings device-resident memory home (else it is a SIGSEGV). */
#define GPUSVM_FEATURE_CPU_FAULTS (1ul << 7)
/* Changes of memory that nobody announces are told by the kernel. */
#define GPUSVM_FEATURE_EVENTS (1ul << 8)
/* A thread that touches device-resident memory brings it home itself. */
#define GPUSVM_FEATURE_IN_THREAD (1ul << 9)
/* Pages that are busy are kept from everybody until they can be taken. */
#define GPUSVM_FEATURE_RWP (1ul << 10)

/**
 * gpusvm_mm_open() - Mirror the address space of this process
 * @mm: Filled with the address space
 * @opts: Options, or NULL for the defaults.  Only the first call of a process
 *	decides; later ones get the same object.
 *
 * A process has one mirrored address space; each successful open needs a
 * gpusvm_mm_close().  The first one starts the fault handler: a thread for each CPU
 * that the caller may run on, at most eight (&struct gpusvm_mm_opts.handlers
 * limits it), and one more, or two: at least three.
 *
 * Context: Any thread; may sleep.  Not from a callback.
 * Return: 0; -EINVAL for a bad argument or a bad GPUSVM_SOURCE in the
 * environment; -EPERM or -ENOSYS if the source that was asked for, or any, is
 * not to be had, the log says what to change (sysctl
 * vm.unprivileged_userfaultfd, /dev/userfaultfd, the seccomp filter, or the
 * kernel); -EOPNOTSUPP if @opts asks for a technique that the kernel or the
 * source does not have;
 * -EAGAIN or -ENOMEM for lack of resources.
 */
GPUSVM_API int
gpusvm_mm_open(struct mm_struct **mm,
	       const struct gpusvm_mm_opts *opts) GPUSVM_MUST_CHECK;

/**
 * gpusvm_mm_close() - Undo one gpusvm_mm_open()
 * @mm: The address space
 *
 * The last one tells every notifier (MMU_NOTIFY_RELEASE, then UNMAP, of
 * everything), brings all device pages home and stops the fault handler.  A
 * &struct drm_gpusvm that still refers to @mm remains valid, and answers
 * -EFAULT.
 *
 * Context: May sleep.  Not from a callback, no lock of the library held.
 * Return: 0; -EINVAL if @mm is not open in this process; -EBUSY if device pages
 * are held, -EFAULT if they could not be copied: these stay on the device, the
 * address space stays open although its notifiers were told, and the call may
 * be repeated.
 */
GPUSVM_API int gpusvm_mm_close(struct mm_struct *mm);

/**
 * gpusvm_mm_features() - What works here
 * @mm: The address space
 *
 * Return: A set of GPUSVM_FEATURE_*.
 */
GPUSVM_API unsigned long gpusvm_mm_features(const struct mm_struct *mm);

/**
 * gpusvm_mm_sync() - Wait until past changes of memory have been acted on
 * @mm: The address space
 *
 * When it returns, every event of a munmap(), mremap() or madvise() that
 * returned before has reached the invalidate callbacks.  Call it before work is
 * sent to a device if memory has changed since: these calls return when the
 * event was read, not when it was acted on.
 *
 * Context: May sleep and may run callbacks on the calling thread.  Not from a
 * callback, notifier lock not held.
 */
GPUSVM_API void gpusvm_mm_sync(struct mm_struct *mm);

/**
 * gpusvm_mm_read_lock() - Keep the set of mappings stable for a migration
 * @mm: The address space
 *
 * What mmap_read_lock() is in the kernel.  It keeps out fork() and close, not
 * the program's own munmap().
 *
 * Context: Sleeps.  Inside the driver lock, outside everything else; not
 * recursive, and no fork() while it is held.
 */
GPUSVM_API void gpusvm_mm_read_lock(struct mm_struct *mm);

/**
 * gpusvm_mm_read_unlock() - Undo gpusvm_mm_read_lock()
 * @mm: The address space
 */
GPUSVM_API void gpusvm_mm_read_unlock(struct mm_struct *mm);

/**
 * struct gpusvm_stats - Counters of an address space since it was opened
 * @size: sizeof(struct gpusvm_stats), set by the caller
 * @cpu_faults: CPU accesses that brought device memory home
 * @zero_faults: CPU accesses to untouched memory next to device memory
 * @migrations_to_devmem: Ranges moved to device memory
 * @migrations_to_ram: Times that an allocation, or part of it, came home
 * @bytes_to_devmem: Bytes in the former, untouched pages included
 * @bytes_to_ram: Bytes in the latter
 * @moved: Of the migrations to device memory, those that moved the pages
 * @write_protected: Those that used write-protection
 * @events: Changes of memory that the kernel told of
 * @device_pages: Pages on a device now
 * @staging_bytes: System memory kept for re-use now
 * @in_place: Those of the migrations to coherent device memory
 */
struct gpusvm_stats {
	size_t size;
	u64 cpu_faults;
	u64 zero_faults;
	u64 migrations_to_devmem;
	u64 migrations_to_ram;
	u64 bytes_to_devmem;
	u64 bytes_to_ram;
	u64 moved;
	u64 write_protected;
	u64 events;
	u64 device_pages;
	u64 staging_bytes;
	u64 in_place;
};

/**
 * gpusvm_mm_get_stats() - Read the counters
 * @mm: The address space
 * @stats: Filled as far as its size member says
 *
 * Context: Any thread.
 * Return: 0, or -EINVAL.
 */
GPUSVM_API int gpusvm_mm_get_stats(struct mm_struct *mm,
				   struct gpusvm_stats *stats);

/**
 * gpusvm_exclude() - Keep memory out of every range
 * @addr: First byte; rounded down to a page
 * @size: Bytes; the end is rounded up to a page
 *
 * For everything that callbacks touch and that does not come from
 * gpusvm_alloc(), and for the stacks of threads that call the library, if
 * pointers into them are given to a device.  Excluded memory looks unmapped to the library: a device
 * fault in it gives -ENOENT, chunks stop at its edge.  Memory that is on a
 * device already is not brought home.
 *
 * Context: Any thread; not from a callback.
 * Return: 0; -EINVAL for an empty or wrapping interval; -ENOMEM.
 */
GPUSVM_API int gpusvm_exclude(const void *addr, size_t size);

/**
 * gpusvm_include() - Undo gpusvm_exclude()
 * @addr: As given to gpusvm_exclude()
 * @size: As given to gpusvm_exclude()
 *
 * Context: Any thread; not from a callback.
 * Return: 0; -ENOENT if that interval was not excluded.
 */
GPUSVM_API int gpusvm_include(const void *addr, size_t size);

/**
 * gpusvm_alloc() - Allocate memory that never migrates
 * @size: Bytes
 *
 * For drivers' ranges, notifiers, allocations and whatever else callbacks
 * touch.  Never calls malloc(), so it may be used in callbacks.
 *
 * Context: Any thread.
 * Return: Zeroed memory aligned to 64 bytes at least, or NULL; the caller
 * frees it with gpusvm_free().
 */
GPUSVM_API void *gpusvm_alloc(size_t size) GPUSVM_MUST_CHECK;

/**
 * gpusvm_free() - Free memory from gpusvm_alloc()
 * @ptr: The memory, or NULL
 *
 * Context: Any thread.
 */
GPUSVM_API void gpusvm_free(void *ptr);

/**
 * enum gpusvm_log_level - Importance of a message
 * @GPUSVM_LOG_ERROR: A call failed because of what the caller did, or data is
 *	in danger
 * @GPUSVM_LOG_WARNING: Something works with less
 * @GPUSVM_LOG_INFO: What was chosen at open
 * @GPUSVM_LOG_DEBUG: For the library's own developers
 */
enum gpusvm_log_level {
	GPUSVM_LOG_ERROR,
	GPUSVM_LOG_WARNING,
	GPUSVM_LOG_INFO,
	GPUSVM_LOG_DEBUG,
};

/**
 * gpusvm_set_log() - Where messages go
 * @fn: Called with one line without a newline, or NULL to discard (default).
 *	Any thread may call it, also the fault handler, with locks held: it
 *	must not call the library nor touch memory that may be on a device;
 *	write(2) of its argument is safe
 * @priv: Passed to @fn
 * @level: Least important level to pass on
 *
 * Context: Any thread.
 */
GPUSVM_API void gpusvm_set_log(void (*fn)(enum gpusvm_log_level level,
					  const char *message, void *priv),
			       void *priv, enum gpusvm_log_level level);

/**
 * gpusvm_jiffies64() - Time in the unit of timeslice_expiration
 *
 * Return: Milliseconds of a clock that never goes back.
 */
GPUSVM_API u64 gpusvm_jiffies64(void);

/**
 * gpusvm_page_size() - Size of a page
 *
 * Return: Bytes.
 */
GPUSVM_API unsigned long gpusvm_page_size(void);

/**
 * gpusvm_version() - Version of the library that is running
 *
 * Return: For example "0.1.0".
 */
GPUSVM_API const char *gpusvm_version(void);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_GPUSVM_H */
