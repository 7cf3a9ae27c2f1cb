/* SPDX-License-Identifier: MIT */
/*
 * Owns the record of the locks that each thread holds, in the checking build.
 * A lock is counted, not told apart by mode: held for reading or for writing
 * is the same to every check of the library.
 */
#include "lockdep.h"

#ifdef GPUSVM_DEBUG_LOCKS

#include "log.h"

#define MAX_HELD 32

struct held {
	const struct lockdep_map *map;
	unsigned int count;
};

/* initial-exec: other models may call malloc() at a thread's first access. */
#define THREAD_LOCAL static __thread __attribute__((tls_model("initial-exec")))

THREAD_LOCAL struct held held[MAX_HELD];
THREAD_LOCAL unsigned int nheld;
THREAD_LOCAL unsigned int callback_depth;

static unsigned long reports;

static struct held *find(const struct lockdep_map *map)
{
	unsigned int i;

	for (i = 0; i < nheld; i++) {
		if (held[i].map == map)
			return &held[i];
	}
	return NULL;
}

static const char *name_of(const struct lockdep_map *map)
{
	return map->name ? map->name : "unnamed lock";
}

static void count_report(void)
{
	__atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED);
}

void gpusvm_lockdep_acquire(struct lockdep_map *map)
{
	struct held *h = find(map);

	if (h) {
		h->count++;
		return;
	}
	if (nheld == MAX_HELD) {
		count_report();
		log_error("lockdep: %s: too many locks held", name_of(map));
		return;
	}
	held[nheld++] = (struct held){ .map = map, .count = 1 };
}

void gpusvm_lockdep_release(struct lockdep_map *map)
{
	struct held *h = find(map);

	if (!h) {
		count_report();
		log_error("lockdep: %s: released but not held", name_of(map));
		return;
	}
	if (!--h->count)
		*h = held[--nheld];
}

bool gpusvm_lockdep_held(const struct lockdep_map *map)
{
	return find(map) != NULL;
}

void gpusvm_lockdep_report(const char *function, const char *what)
{
	count_report();
	log_error("lockdep: %s: %s", function, what);
}

unsigned long gpusvm_lockdep_reports(void)
{
	return __atomic_load_n(&reports, __ATOMIC_RELAXED);
}

void gpusvm_lockdep_callback_enter(void)
{
	callback_depth++;
}

void gpusvm_lockdep_callback_leave(void)
{
	callback_depth--;
}

bool gpusvm_lockdep_in_callback(void)
{
	return callback_depth != 0;
}

#else

void gpusvm_lockdep_acquire(struct lockdep_map *map)
{
	(void)map;
}

void gpusvm_lockdep_release(struct lockdep_map *map)
{
	(void)map;
}

#endif
