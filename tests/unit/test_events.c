/* SPDX-License-Identifier: MIT */
/*
 * What an event of the source changes in the table of device pages, who is
 * told of it and in which order, and that no page becomes free before.
 */
#include "unit_migration.h"

#include <gpusvm/hooks.h>

#include "events.h"

#define N 8ul
#define FIRST 8ul

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

/* ---- Who is told ---- */

static struct mmu_interval_notifier subscription;
static struct mmu_notifier_range told;
static unsigned int times_told;
static int refs_when_told;

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	told = *range;
	times_told++;
	refs_when_told = gpusvm_page_refs(device_page(0));
	return true;
}

static const struct mmu_interval_notifier_ops ops = {
	.invalidate = invalidate,
};

static unsigned int log_errors;

static void count_errors(enum gpusvm_log_level level, const char *message,
			 void *priv)
{
	(void)message;
	(void)priv;
	log_errors += level == GPUSVM_LOG_ERROR;
}

/* Pages FIRST ... are on the device. */
static int setup(void **state)
{
	(void)state;
	no_memory = false;
	times_told = 0;
	log_errors = 0;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake_fill(window(FIRST), N, 1);
	if (migrate_out(FIRST) ||
	    gpusvm_mmu_interval_notifier_insert(&subscription, mm, fake->start,
						WINDOW << PAGE_SHIFT, &ops))
		return -1;
	gpusvm_set_log(count_errors, NULL, GPUSVM_LOG_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	gpusvm_mmu_interval_notifier_remove(&subscription);
	unmap_all();
	migration_teardown();
	return 0;
}

static struct source_event event_of(enum source_event_type type,
				    unsigned long first, unsigned long n)
{
	return (struct source_event){
		.type = type,
		.start = fake_addr(fake, first),
		.end = fake_addr(fake, first + n),
		.child_fd = -1,
	};
}

static struct applied_event apply(const struct source_event *event)
{
	struct applied_event applied;

	gpusvm_down_write(&mm->event_lock);
	gpusvm_event_apply(mm, event, &applied);
	gpusvm_up_write(&mm->event_lock);
	return applied;
}

static void assert_told(enum mmu_notifier_event event, unsigned long first,
			unsigned long n)
{
	assert_int_equal(times_told, 1);
	assert_int_equal(told.event, event);
	assert_int_equal(told.start, fake_addr(fake, first));
	assert_int_equal(told.end, fake_addr(fake, first + n));
	assert_int_equal(told.flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	assert_ptr_equal(told.mm, mm);
	assert_int_equal(mm->notifiers.active, 0);
	assert_int_equal(mm->notifiers.seq & 1, 0);
}

/* The whole life of an event that takes @n pages from FIRST on away. */
static void check_removal(enum source_event_type type,
			  enum mmu_notifier_event told_as)
{
	struct source_event event = event_of(type, FIRST - 2, 6);
	struct applied_event applied;
	unsigned long i;

	applied = apply(&event);
	assert_true(applied.notify);
	assert_int_equal(times_told, 0);
	assert_int_equal(mm->pt.npages, N - 4);
	assert_null(entry_at(FIRST + 3));
	assert_ptr_equal(entry_at(FIRST + 4), device_page(4));
	/* A device may use them until it has been told. */
	for (i = 0; i < 4; i++)
		assert_int_equal(gpusvm_page_refs(device_page(i)), 1);
	gpusvm_event_finish(mm, &applied);
	assert_told(told_as, FIRST - 2, 6);
	assert_int_equal(refs_when_told, 1);
	for (i = 0; i < N; i++)
		assert_int_equal(gpusvm_page_refs(device_page(i)), i >= 4);
	assert_int_equal(owner.refs, 1 + N - 4);
	assert_int_equal(mm->stats.events, 1);
}

static void unmap_takes_entries_then_tells_then_frees(void **state)
{
	(void)state;
	check_removal(SOURCE_UNMAP, MMU_NOTIFY_UNMAP);
}

static void remove_takes_entries_then_tells_then_frees(void **state)
{
	(void)state;
	check_removal(SOURCE_REMOVE, MMU_NOTIFY_CLEAR);
}

static void event_without_device_pages_is_told_all_the_same(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, 30, 4);
	struct applied_event applied = apply(&event);

	(void)state;
	assert_null(applied.removed);
	gpusvm_event_finish(mm, &applied);
	assert_told(MMU_NOTIFY_CLEAR, 30, 4);
	assert_int_equal(mm->pt.npages, N);
}

static void event_beside_subscriptions_frees_all_the_same(void **state)
{
	struct source_event event = event_of(SOURCE_UNMAP, FIRST, N);
	struct applied_event applied;

	(void)state;
	gpusvm_mmu_interval_notifier_remove(&subscription);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(times_told, 0);
	assert_nothing_on_device();
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(&subscription, mm,
							     fake->start,
							     PAGE_SIZE, &ops),
			 0);
}

/* ---- Moved mappings ---- */

static void remap_moves_entries_and_tells_of_the_old_place(void **state)
{
	struct source_event event = event_of(SOURCE_REMAP, FIRST, N);
	struct applied_event applied;
	unsigned long i;

	(void)state;
	event.to = fake_addr(fake, 40);
	applied = apply(&event);
	assert_null(applied.removed);
	gpusvm_event_finish(mm, &applied);
	assert_told(MMU_NOTIFY_UNMAP, FIRST, N);
	for (i = 0; i < N; i++) {
		assert_null(entry_at(FIRST + i));
		assert_on_device(40 + i, i);
	}
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(owner.refs, 1 + N);
}

/* Hooks look no further than these bounds. */
static void remap_widens_the_bounds(void **state)
{
	struct source_event event = event_of(SOURCE_REMAP, FIRST, N);
	struct applied_event applied;
	unsigned long start, end;

	(void)state;
	event.to = fake_addr(fake, WINDOW);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	gpusvm_notifiers_bounds(&mm->notifiers, &start, &end);
	assert_true(start <= fake_addr(fake, 0));
	assert_int_equal(end, fake_addr(fake, WINDOW + N));
	event = event_of(SOURCE_UNMAP, WINDOW, N);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
}

static void remap_over_device_pages_frees_those(void **state)
{
	struct source_event event = event_of(SOURCE_REMAP, FIRST, 4);
	struct applied_event applied;

	(void)state;
	event.to = fake_addr(fake, FIRST + 4);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_on_device(FIRST + 4, 0);
	assert_on_device(FIRST + 7, 3);
	assert_int_equal(gpusvm_page_refs(device_page(4)), 0);
	assert_int_equal(gpusvm_page_refs(device_page(7)), 0);
	assert_int_equal(mm->pt.npages, 4);
}

static void remap_without_memory_says_what_is_lost(void **state)
{
	struct source_event event = event_of(SOURCE_REMAP, FIRST, 1);
	struct applied_event applied;

	(void)state;
	/* So far away that it needs a leaf of its own. */
	event.to = event.start + (1ul << 30);
	no_memory = true;
	applied = apply(&event);
	no_memory = false;
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(log_errors, 1);
	assert_int_equal(mm->pt.npages, N - 1);
	assert_int_equal(gpusvm_page_refs(device_page(0)), 0);
	assert_on_device(FIRST + 1, 1);
	assert_int_equal(owner.refs, 1 + N - 1);
}

/* ---- Migrations ---- */

static void begin_home(void)
{
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, WINDOW)),
			 N);
}

static void unmap_of_moving_pages_leaves_them_to_the_migration(void **state)
{
	struct source_event event = event_of(SOURCE_UNMAP, FIRST, 4);
	struct applied_event applied;

	(void)state;
	begin_home();
	applied = apply(&event);
	assert_null(applied.removed);
	gpusvm_event_finish(mm, &applied);
	assert_null(entry_at(FIRST));
	assert_int_equal(device_page(0)->vaddr, 0);
	assert_ptr_equal(device_page(0)->migration, &m);
	assert_int_equal(gpusvm_page_refs(device_page(0)), 1);
	gpusvm_migrate_home_abort(&m);
	assert_int_equal(gpusvm_page_refs(device_page(0)), 0);
}

static void remove_while_dropping_is_remembered(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, FIRST, 2);
	struct applied_event applied;

	(void)state;
	begin_home();
	m.hold_removals = true;
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_true(device_page(0)->removed);
	assert_true(device_page(1)->removed);
	assert_false(device_page(2)->removed);
	assert_ptr_equal(entry_at(FIRST), device_page(0));
	/* An unmap is none of ours. */
	event.type = SOURCE_UNMAP;
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_null(entry_at(FIRST));
	gpusvm_migrate_home_abort(&m);
}

static void removal_of_our_own_changes_nothing(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, FIRST, N);
	struct applied_event applied;

	(void)state;
	mm->drop.m = &m;
	mm->drop.start = event.start;
	mm->drop.end = event.end;
	applied = apply(&event);
	assert_false(applied.notify);
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(times_told, 0);
	assert_int_equal(mm->pt.npages, N);
	assert_true(mm->drop.told);
	assert_int_equal(mm->stats.events, 0);
	mm->drop = (struct drop){ .m = NULL };
}

static void removal_that_may_be_ours_is_told_and_left_to_us(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, FIRST, N - 1);
	struct applied_event applied;

	(void)state;
	mm->drop.m = &m;
	mm->drop.start = event.start;
	mm->drop.end = event.end + PAGE_SIZE;
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_told(MMU_NOTIFY_CLEAR, FIRST, N - 1);
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(mm->drop.nparts, 1);
	mm->drop = (struct drop){ .m = NULL };
}

static void removal_beyond_ours_is_the_programs(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, FIRST, N);
	struct applied_event applied;

	(void)state;
	mm->drop.m = &m;
	mm->drop.start = event.start + PAGE_SIZE;
	mm->drop.end = event.end;
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_told(MMU_NOTIFY_CLEAR, FIRST, N);
	assert_int_equal(mm->pt.npages, 0);
	assert_int_equal(mm->drop.nparts, 0);
	mm->drop = (struct drop){ .m = NULL };
}

/* ---- Changes that were announced ---- */

struct mm_struct *__wrap_gpusvm_mm_current(void);

struct mm_struct *__wrap_gpusvm_mm_current(void)
{
	return mm;
}

static void event_that_was_announced_is_not_told(void **state)
{
	struct source_event event = event_of(SOURCE_UNMAP, FIRST, N);
	struct applied_event applied;
	struct gpusvm_change change;

	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, window(FIRST),
			    N << PAGE_SHIFT);
	assert_int_equal(times_told, 1);
	applied = apply(&event);
	assert_false(applied.notify);
	assert_int_equal(mm->pt.npages, 0);
	gpusvm_event_finish(mm, &applied);
	gpusvm_change_end(&change, true);
	assert_told(MMU_NOTIFY_UNMAP, FIRST, N);
	assert_nothing_on_device();
	assert_int_equal(mm->stats.events, 1);
}

/* Nor is its end guessed: gpusvm_change_end() tells it. */
static void removal_that_was_announced_is_not_noted(void **state)
{
	struct source_event event = event_of(SOURCE_REMOVE, FIRST, 2);
	struct applied_event applied;
	struct gpusvm_change change;

	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, window(FIRST),
			    N << PAGE_SHIFT);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(mm->next_removal, 0);
	assert_int_equal(mm->pt.npages, N - 2);
	event = event_of(SOURCE_REMOVE, FIRST + N - 1, 2);
	applied = apply(&event);
	assert_true(applied.notify);
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(mm->next_removal, 1);
	gpusvm_change_end(&change, false);
	assert_int_equal(times_told, 2);
	assert_int_equal(mm->pt.npages, N - 3);
}

/* ---- Forks ---- */

static unsigned int closed_fd;

static bool note_close(const unsigned long *args, long *ret)
{
	*ret = 0;
	closed_fd = (unsigned int)args[0];
	return args[0] == 4711;
}

static void fork_serves_child_and_tells_everybody(void **state)
{
	struct source_event event = { .type = SOURCE_FORK, .child_fd = 4711 };
	struct applied_event applied;

	(void)state;
	fake_sys_hook(FAKE_SYS_CLOSE, note_close);
	applied = apply(&event);
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(times_told, 1);
	assert_int_equal(told.event, MMU_NOTIFY_PROTECTION_PAGE);
	assert_int_equal(told.start, 0);
	assert_int_equal(told.end, ~0ul);
	assert_int_equal(closed_fd, 4711);
	assert_true(fake_matches(fake->child + (FIRST << PAGE_SHIFT), N, 1));
	assert_int_equal(mm->pt.npages, N);
	/* fork() itself told them. */
	mm->forking = true;
	memset(fake->child_has, 0, WINDOW);
	applied = apply(&event);
	mm->forking = false;
	gpusvm_event_finish(mm, &applied);
	assert_int_equal(times_told, 1);
	assert_true(fake->child_has[FIRST]);
	fake_sys_hook(FAKE_SYS_CLOSE, NULL);
}

#define event_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		event_test(unmap_takes_entries_then_tells_then_frees),
		event_test(remove_takes_entries_then_tells_then_frees),
		event_test(event_without_device_pages_is_told_all_the_same),
		event_test(event_beside_subscriptions_frees_all_the_same),
		event_test(remap_moves_entries_and_tells_of_the_old_place),
		event_test(remap_widens_the_bounds),
		event_test(remap_over_device_pages_frees_those),
		event_test(remap_without_memory_says_what_is_lost),
		event_test(unmap_of_moving_pages_leaves_them_to_the_migration),
		event_test(remove_while_dropping_is_remembered),
		event_test(removal_of_our_own_changes_nothing),
		event_test(removal_that_may_be_ours_is_told_and_left_to_us),
		event_test(removal_beyond_ours_is_the_programs),
		event_test(event_that_was_announced_is_not_told),
		event_test(removal_that_was_announced_is_not_noted),
		event_test(fork_serves_child_and_tells_everybody),
	};

	return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
