/* SPDX-License-Identifier: MIT */
/* See later.h. */
#include "later.h"

#include "fake_later.h"

#define MOST 24u
#define COMPLETERS 2

static const struct drm_gpusvm_devmem_ops *const kinds[] = {
	&fake_later_ops,
	&fake_later_both_ops,
	&fake_devmem_ops,
};

struct slot {
	struct fake_alloc *alloc;
	struct gpusvm_fence *done;
};

struct later {
	struct fake_driver *d;
	unsigned char *mem;
	size_t size;
	struct slot slot[MOST];
	unsigned int n;
	struct later_result *result;
};

/* ---- The engine ---- */

static struct {
	pthread_t thread[COMPLETERS];
	bool stop;
} engine;

/* Copies gather for a while; those for the CPU, which cannot fail, less. */
static void *completer(void *arg)
{
	struct fake_later later;
	unsigned int n;

	while ((n = fake_later_count()) ||
	       !__atomic_load_n(&engine.stop, __ATOMIC_ACQUIRE)) {
		if (n < test_random_below(MOST) && test_random_below(16)) {
			test_relax();
			continue;
		}
		if (!n || !fake_later_take((unsigned int)test_random_below(n),
					   &later))
			continue;
		fake_later_end(&later, !later.to_ram && !test_random_below(16)
					       ? -EREMOTEIO
					       : 0);
	}
	return arg;
}

static void stop_engine(void *arg)
{
	unsigned int i;

	(void)arg;
	__atomic_store_n(&engine.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < COMPLETERS; i++)
		pthread_join(engine.thread[i], NULL);
}

void later_start_engine(void)
{
	unsigned int i;

	for (i = 0; i < COMPLETERS; i++)
		test_thread_start(&engine.thread[i], completer, NULL);
	test_cleanup(stop_engine, NULL);
}

/* ---- The driver ---- */

static void end_slot(struct later *l, unsigned int i)
{
	struct slot slot = l->slot[i];
	int err;

	l->slot[i] = l->slot[--l->n];
	err = fake_later_wait(slot.alloc, slot.done);
	if (!err) {
		l->result->migrations++;
		/* It may have come home already, or be held by a fork. */
		if (test_random_below(4) == 0)
			drm_gpusvm_evict_to_ram(&slot.alloc->base);
		return;
	}
	l->result->undone++;
	/* The copy's own, or the mapping changed, or there was no memory. */
	if (err != -EREMOTEIO && err != -EBUSY && err != -ENOMEM) {
		print_error("a migration ended with %d\n", err);
		l->result->wrong++;
	}
	fake_alloc_drop(slot.alloc);
}

static void end_what_is_done(struct later *l)
{
	unsigned int i = 0;

	while (i < l->n) {
		if (gpusvm_fence_done(l->slot[i].done, NULL))
			end_slot(l, i);
		else
			i++;
	}
}

static void start_in(struct later *l, struct drm_gpusvm_range *range)
{
	struct slot *slot = &l->slot[l->n];

	slot->alloc = fake_alloc_create(l->d, drm_gpusvm_range_size(range));
	if (!slot->alloc)
		return;
	if (fake_later_start(l->d, range, slot->alloc, &slot->done)) {
		if (gpusvm_fence_done(slot->done, NULL))
			l->result->wrong++;
		gpusvm_fence_put(slot->done);
		fake_alloc_drop(slot->alloc);
		return;
	}
	l->n++;
	if (l->n > l->result->most_under_way)
		l->result->most_under_way = l->n;
}

static void start_one(struct later *l)
{
	unsigned char *at = l->mem + test_random_below(l->size);
	struct drm_gpusvm_range *range;

	fake_driver_lock(l->d);
	fake_collect(l->d);
	l->d->devmem_ops = kinds[test_random_below(3)];
	range = fake_fault_devmem(l->d, at);
	if (!IS_ERR(range) && !range->flags.unmapped)
		start_in(l, range);
	fake_driver_unlock(l->d);
}

/* One that goes on, or has ended and nobody has looked. */
static void evict_one(struct later *l)
{
	unsigned int i = (unsigned int)test_random_below(l->n);

	drm_gpusvm_evict_to_ram(&l->slot[i].alloc->base);
}

void later_run(struct fake_driver *d, unsigned char *mem, size_t size,
	       bool (*is_over)(void *arg), void *arg,
	       struct later_result *result)
{
	struct later l = { .d = d, .mem = mem, .size = size, .result = result };

	while (!is_over(arg)) {
		end_what_is_done(&l);
		if (l.n == MOST)
			end_slot(&l, (unsigned int)test_random_below(MOST));
		else if (l.n && test_random_below(16) == 0)
			evict_one(&l);
		else
			start_one(&l);
	}
	while (l.n)
		end_slot(&l, 0);
}
