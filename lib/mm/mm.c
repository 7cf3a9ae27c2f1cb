/* SPDX-License-Identifier: MIT */
/* The life cycle of the mirrored address space, and what it tells of itself. */
#include "mm.h"

#include <errno.h>
#include <linux/kref.h>
#include <string.h>

#include "alloc.h"
#include "change.h"
#include "compiler.h"
#include "exclude.h"
#include "handler.h"
#include "huge_zero.h"
#include "lockdep.h"
#include "log.h"
#include "page_size.h"
#include "placement.h"
#include "scan.h"
#include "source.h"
#include "sys.h"
#include "vma.h"

#define STAGING_DEFAULT (64ul << 20)
#define WATCHDOG_DEFAULT_MS 10000ul

/* How long a page that was let go of may take to be free. */
#define PATIENCE_NS (1000ul * 1000 * 1000)
#define NAP_NS (50l * 1000)

/* What protections are given back by, at least. */
#define GUARD_BYTES (2ul << 20)

/* Below any mapping, and above what the kernel lets be mapped. */
#define WAKE_START (1ul << 16)

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mm_struct *current_mm;
static bool fork_registered;

static void cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static void init_locks(struct mm_struct *mm)
{
	gpusvm_init_rwsem(&mm->mmap_lock);
	gpusvm_init_rwsem(&mm->alive_lock);
	gpusvm_init_rwsem(&mm->event_lock);
	mm->mmap_lock.dep_map.name = "mmap_lock";
	pthread_mutex_init(&mm->pt_lock, NULL);
	pthread_mutex_init(&mm->drop_lock, NULL);
	pthread_mutex_init(&mm->staging.lock, NULL);
	cond_init_monotonic(&mm->migrated);
}

static unsigned long watchdog_ns(const struct gpusvm_mm_opts *opts)
{
	if (opts->watchdog_ms == ~0u)
		return 0;
	return (opts->watchdog_ms ? opts->watchdog_ms : WATCHDOG_DEFAULT_MS) *
	       1000000;
}

static struct mm_struct *mm_alloc(const struct gpusvm_mm_opts *opts)
{
	struct mm_struct *mm = gpusvm_alloc(sizeof(*mm));

	if (!mm)
		return NULL;
	mm->handler = gpusvm_handler_create();
	if (!mm->handler) {
		gpusvm_free(mm);
		return NULL;
	}
	kref_init(&mm->count);
	mm->pid = gpusvm_sys_getpid();
	gpusvm_notifiers_init(&mm->notifiers);
	gpusvm_traps_init(&mm->traps);
	gpusvm_staging_init(&mm->staging, opts->staging_bytes
						  ? opts->staging_bytes
						  : STAGING_DEFAULT);
	gpusvm_watchdog_init(&mm->watchdog, watchdog_ns(opts));
	init_locks(mm);
	gpusvm_under_way_init(mm);
	mm->technique = opts->technique;
	mm->cpu_fault_bytes = opts->cpu_fault_bytes;
	return mm;
}

/*
 * A source that guards moves pages and nothing else; and gives protections back
 * by no less than a huge page, not to split mappings.
 */
static int check_guard(struct mm_struct *mm)
{
	if (mm->technique == GPUSVM_TECHNIQUE_WRITE_PROTECT) {
		log_error("mm_open: write-protection needs userfaultfd");
		return -EOPNOTSUPP;
	}
	mm->technique = GPUSVM_TECHNIQUE_MOVE;
	if (mm->cpu_fault_bytes)
		mm->cpu_fault_bytes = max(mm->cpu_fault_bytes, GUARD_BYTES);
	log_info("address space opened: %s", mm->source->ops->name);
	return 0;
}

/* UFFDIO_MOVE if there is one and nothing else was asked for. */
static int choose_technique(struct mm_struct *mm)
{
	bool can_move = mm->features & GPUSVM_FEATURE_MOVE;

	if (mm->source->ops->guard)
		return check_guard(mm);

	if (mm->technique == GPUSVM_TECHNIQUE_WRITE_PROTECT &&
	    (mm->features & GPUSVM_FEATURE_RWP)) {
		log_error("mm_open: the source rwp has no write-protection");
		return -EOPNOTSUPP;
	}
	if (mm->technique == GPUSVM_TECHNIQUE_MOVE && !can_move) {
		log_error(
			"mm_open: this kernel has no UFFDIO_MOVE (Linux 6.8)");
		return -EOPNOTSUPP;
	}
	if (mm->technique == GPUSVM_TECHNIQUE_AUTO)
		mm->technique = can_move ? GPUSVM_TECHNIQUE_MOVE
					 : GPUSVM_TECHNIQUE_WRITE_PROTECT;
	if (mm->technique == GPUSVM_TECHNIQUE_MOVE)
		gpusvm_huge_zero_open(mm);
	else
		mm->features &= ~GPUSVM_FEATURE_MOVE;
	log_info("address space opened: %s, %s", mm->source->ops->name,
		 mm->technique == GPUSVM_TECHNIQUE_MOVE ? "move"
							: "write-protect");
	return 0;
}

/* The end of user addresses, which no header tells, is the highest it takes. */
static int find_wake_end(struct mm_struct *mm)
{
	unsigned int bits;
	unsigned long end;

	for (bits = 56; bits >= 38; bits--) {
		end = (1ul << bits) - PAGE_SIZE;
		if (!mm->source->ops->wake(mm->source, WAKE_START, end)) {
			mm->wake_end = end;
			return 0;
		}
	}
	return -EINVAL;
}

static int open_source(struct mm_struct *mm, enum gpusvm_source wanted)
{
	int err;

	err = gpusvm_source_open(wanted, &mm->source);
	if (err)
		return err;
	mm->features |= mm->source->features;
	err = choose_technique(mm);
	if (!err)
		err = find_wake_end(mm);
	if (err)
		mm->source->ops->close(mm->source);
	return err;
}

static int mm_start(struct mm_struct *mm, const struct gpusvm_mm_opts *opts)
{
	int err;

	err = gpusvm_vma_open(mm);
	if (err)
		return err;
	err = gpusvm_scan_open(mm);
	if (err)
		goto err_vma;
	mm->several_nodes = gpusvm_placement_needed();
	err = open_source(mm, opts->source);
	if (err)
		goto err_scan;
	mm->fork_buffer = (unsigned long)gpusvm_alloc_pages(
		FORK_BATCH << PAGE_SHIFT, PAGE_SIZE);
	err = mm->fork_buffer ? gpusvm_handler_start(mm, opts->handlers)
			      : -ENOMEM;
	if (err)
		goto err_source;
	return 0;

err_source:
	if (mm->fork_buffer)
		gpusvm_free_pages((void *)mm->fork_buffer,
				  FORK_BATCH << PAGE_SHIFT);
	mm->source->ops->close(mm->source);
err_scan:
	gpusvm_scan_close(mm);
err_vma:
	gpusvm_vma_close(mm);
	return err;
}

static void mm_stop(struct mm_struct *mm)
{
	/* First: the end of a thread may take a reader of events. */
	gpusvm_under_way_stop(mm);
	gpusvm_handler_stop(mm);
	mm->source->ops->close(mm->source);
	gpusvm_traps_release(&mm->traps);
	gpusvm_staging_release(&mm->staging);
	gpusvm_free_pages((void *)mm->fork_buffer, FORK_BATCH << PAGE_SHIFT);
	gpusvm_scan_close(mm);
	gpusvm_vma_close(mm);
}

static int register_process(void)
{
	int err;

	if (fork_registered)
		return 0;
	err = gpusvm_exclude_own_data();
	if (!err)
		err = gpusvm_fork_register();
	fork_registered = !err;
	return err;
}

static const char *bad_opts(const struct gpusvm_mm_opts *opts)
{
	if (opts->technique < GPUSVM_TECHNIQUE_AUTO ||
	    opts->technique > GPUSVM_TECHNIQUE_WRITE_PROTECT)
		return "no such technique";
	if (opts->source < GPUSVM_SOURCE_AUTO ||
	    opts->source > GPUSVM_SOURCE_USERFAULTFD_RWP)
		return "no such source";
	if (opts->cpu_fault_bytes && (!is_power_of_2(opts->cpu_fault_bytes) ||
				      opts->cpu_fault_bytes < PAGE_SIZE))
		return "cpu_fault_bytes is not a power of two of at least a "
		       "page";
	return NULL;
}

/*
 * The options of a program that was built with an older library end sooner, and
 * those of a newer one later: what is unknown here must not be asked for.
 */
static int read_opts(const struct gpusvm_mm_opts *from,
		     struct gpusvm_mm_opts *opts)
{
	const unsigned char *bytes = (const unsigned char *)from;
	const char *bad = NULL;
	size_t i;

	*opts = (struct gpusvm_mm_opts){ .size = sizeof(*opts) };
	if (!from)
		return 0;
	if (from->size < sizeof(from->size))
		bad = "bad size";
	for (i = sizeof(*opts); !bad && i < from->size; i++)
		if (bytes[i])
			bad = "an option that this version does not have";
	if (!bad) {
		memcpy(opts, from, min(from->size, sizeof(*opts)));
		bad = bad_opts(opts);
	}
	if (bad)
		log_error("mm_open: %s", bad);
	return bad ? -EINVAL : 0;
}

static int open_current(const struct gpusvm_mm_opts *opts)
{
	struct mm_struct *mm;
	int err;

	if (current_mm) {
		current_mm->users++;
		return 0;
	}
	err = register_process();
	if (err)
		return err;
	mm = mm_alloc(opts);
	if (!mm)
		return -ENOMEM;
	err = mm_start(mm, opts);
	if (err) {
		gpusvm_mm_drop(mm);
		return err;
	}
	WRITE_ONCE(mm->users, 1);
	__atomic_store_n(&current_mm, mm, __ATOMIC_RELEASE);
	return 0;
}

int gpusvm_mm_open(struct mm_struct **mm, const struct gpusvm_mm_opts *opts)
{
	struct gpusvm_mm_opts read;
	int err;

	if (!mm)
		return -EINVAL;
	err = read_opts(opts, &read);
	if (err)
		return err;
	pthread_mutex_lock(&current_lock);
	err = open_current(&read);
	if (err == -ENOMEM)
		log_error("mm_open: no private memory; is a limit of the "
			  "address space in the way (RLIMIT_AS)?");
	*mm = err ? NULL : current_mm;
	pthread_mutex_unlock(&current_lock);
	return err;
}

static void notify_all(struct mm_struct *mm, enum mmu_notifier_event event)
{
	struct mmu_notifier_range range = {
		.mm = mm,
		.start = 0,
		.end = ~0ul,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = event,
	};

	gpusvm_notify_start(&range);
	gpusvm_notify_end(&range);
}

/*
 * Wait for those who let go of their last page just now.  What is held longer
 * has staging memory, which must not go before it.
 */
static int wait_for_allocations(struct mm_struct *mm)
{
	unsigned long end_ns = gpusvm_sys_now_ns() + PATIENCE_NS;

	while (__atomic_load_n(&mm->allocations, __ATOMIC_ACQUIRE)) {
		if (gpusvm_sys_now_ns() >= end_ns)
			return -EBUSY;
		gpusvm_sys_nanosleep(NAP_NS);
	}
	return 0;
}

/*
 * Nothing new may start once users is 0; what holds one of these locks is
 * waited for.  Page by page everything comes home before the source closes:
 * afterwards an absent page would read as zero.
 */
static int close_last(struct mm_struct *mm)
{
	int err;

	gpusvm_down_write(&mm->mmap_lock);
	err = gpusvm_under_way_wait(mm, gpusvm_sys_now_ns() + PATIENCE_NS);
	if (err) {
		gpusvm_up_write(&mm->mmap_lock);
		log_error("mm_close: a migration to a device does not end, the "
			  "address space stays open");
		return err;
	}
	notify_all(mm, MMU_NOTIFY_RELEASE);
	notify_all(mm, MMU_NOTIFY_UNMAP);
	err = gpusvm_mm_bring_all_home(mm);
	if (!err) {
		/* Pages that were unmapped are let go of when all are told. */
		gpusvm_mm_sync_pinned(mm);
		err = wait_for_allocations(mm);
	}
	if (err) {
		gpusvm_up_write(&mm->mmap_lock);
		log_error("mm_close: device pages could not come home, the "
			  "address space stays open");
		return err;
	}
	WRITE_ONCE(mm->users, 0);
	gpusvm_up_write(&mm->mmap_lock);

	gpusvm_down_write(&mm->alive_lock);
	gpusvm_up_write(&mm->alive_lock);
	__atomic_store_n(&current_mm, NULL, __ATOMIC_SEQ_CST);
	gpusvm_change_drain(mm);
	mm_stop(mm);
	return 0;
}

static int close_current(struct mm_struct *mm)
{
	int err;

	/* A child's copy of its parent's, or closed once too often. */
	if (!mm || mm != current_mm)
		return -EINVAL;
	if (mm->users > 1) {
		mm->users--;
		return 0;
	}
	err = close_last(mm);
	if (err)
		return err;
	gpusvm_mm_drop(mm);
	return 0;
}

int gpusvm_mm_close(struct mm_struct *mm)
{
	int err;

	pthread_mutex_lock(&current_lock);
	err = close_current(mm);
	pthread_mutex_unlock(&current_lock);
	return err;
}

struct mm_struct *gpusvm_mm_current_lock(void)
{
	pthread_mutex_lock(&current_lock);
	return current_mm;
}

struct mm_struct *gpusvm_mm_current(void)
{
	return __atomic_load_n(&current_mm, __ATOMIC_SEQ_CST);
}

void gpusvm_mm_current_unlock(void)
{
	pthread_mutex_unlock(&current_lock);
}

/*
 * The threads are not there, and the descriptors are the parent's: one of them
 * left open would keep its mirror alive.  Other threads may have held the
 * locks.  The structure stays for the gpusvm objects that the child inherited.
 */
void gpusvm_mm_current_forget(void)
{
	struct mm_struct *mm = current_mm;

	gpusvm_change_forget(mm);
	if (!mm)
		return;
	current_mm = NULL;
	WRITE_ONCE(mm->users, 0);
	init_locks(mm);
	gpusvm_under_way_init(mm);
	gpusvm_notifiers_reset(&mm->notifiers);
	gpusvm_sys_close(mm->handler->wake_fd);
	gpusvm_sys_close(mm->handler->spare_fd);
	mm->source->ops->close(mm->source);
	gpusvm_scan_close(mm);
	gpusvm_vma_close(mm);
}

void gpusvm_mm_grab(struct mm_struct *mm)
{
	kref_get(&mm->count);
}

static void mm_release(struct kref *count)
{
	struct mm_struct *mm =
		gpusvm_container_of(count, struct mm_struct, count);

	gpusvm_free(mm->handler);
	gpusvm_free(mm);
}

void gpusvm_mm_drop(struct mm_struct *mm)
{
	kref_put(&mm->count, mm_release);
}

bool gpusvm_mm_alive(const struct mm_struct *mm)
{
	return READ_ONCE(mm->users) > 0;
}

bool gpusvm_mm_pin(struct mm_struct *mm)
{
	gpusvm_down_read(&mm->alive_lock);
	if (gpusvm_mm_alive(mm))
		return true;
	gpusvm_up_read(&mm->alive_lock);
	return false;
}

void gpusvm_mm_unpin(struct mm_struct *mm)
{
	gpusvm_up_read(&mm->alive_lock);
}

void gpusvm_mm_watch(struct mm_struct *mm, unsigned long start,
		     unsigned long end)
{
	mm->source->ops->watch(mm->source, start, end);
}

void gpusvm_mm_wake_all(struct mm_struct *mm)
{
	mm->source->ops->wake(mm->source, WAKE_START, mm->wake_end);
}

unsigned long gpusvm_mm_features(const struct mm_struct *mm)
{
	return mm ? mm->features : 0;
}

void gpusvm_mm_sync_pinned(struct mm_struct *mm)
{
	gpusvm_handler_settle(mm, 0);
	gpusvm_handler_wait(mm);
}

void gpusvm_mm_sync(struct mm_struct *mm)
{
	lockdep_check_not_in_callback();
	if (!mm || !gpusvm_mm_pin(mm))
		return;
	gpusvm_mm_sync_pinned(mm);
	gpusvm_mm_unpin(mm);
}

void gpusvm_mm_read_lock(struct mm_struct *mm)
{
	gpusvm_down_read(&mm->mmap_lock);
}

void gpusvm_mm_read_unlock(struct mm_struct *mm)
{
	gpusvm_up_read(&mm->mmap_lock);
}

/* All but the size, and all of one type. */
#define STATS_COUNTERS                                 \
	((sizeof(struct gpusvm_stats) -                \
	  offsetof(struct gpusvm_stats, cpu_faults)) / \
	 sizeof(u64))

int gpusvm_mm_get_stats(struct mm_struct *mm, struct gpusvm_stats *stats)
{
	struct gpusvm_stats now;
	unsigned long i;

	if (!mm || !stats || stats->size < sizeof(stats->size))
		return -EINVAL;
	for (i = 0; i < STATS_COUNTERS; i++)
		(&now.cpu_faults)[i] = READ_ONCE((&mm->stats.cpu_faults)[i]);
	pthread_mutex_lock(&mm->pt_lock);
	now.device_pages = mm->pt.npages;
	pthread_mutex_unlock(&mm->pt_lock);
	pthread_mutex_lock(&mm->staging.lock);
	now.staging_bytes = mm->staging.bytes;
	pthread_mutex_unlock(&mm->staging.lock);
	now.size = min(stats->size, sizeof(now));
	memcpy(stats, &now, now.size);
	return 0;
}
