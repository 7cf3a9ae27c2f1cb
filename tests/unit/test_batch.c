/* SPDX-License-Identifier: MIT */
/*
 * gpusvm_migrate_batch_to_devmem(): what goes together and what that saves, what
 * goes by itself, and that each range has its own result whatever fails where.
 */
#include "unit_svm_alloc.h"

#include <gpusvm/batch.h>

#include "fence.h"

#define EACH 4ul /* pages of a range */
#define MOST 8ul /* ranges */

static struct allocation place[MOST];
static struct drm_gpusvm_range *range_of[MOST];
static struct gpusvm_batch_entry entries[MOST];
static unsigned long first_of[MOST];
static unsigned long count;

/* What the driver was told of migrations. */
static unsigned int events;
static unsigned long event_start, event_end;

static void note_event(struct drm_gpusvm *gpusvm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	if (mmu_range->event == MMU_NOTIFY_MIGRATE) {
		events++;
		event_start = mmu_range->start;
		event_end = mmu_range->end;
		assert_ptr_equal(mmu_range->owner, &vram);
	}
	invalidate(gpusvm, notifier, mmu_range);
}

static const struct drm_gpusvm_ops noting_ops = { .invalidate = note_event };

static int setup(void **state)
{
	svm_setup(state);
	drm_gpusvm_fini(svm);
	chunks[0] = EACH * PAGE_SIZE;
	count = 0;
	return svm_init(&noting_ops);
}

static void init_place(unsigned long i)
{
	place[i].first = i * EACH;
	drm_gpusvm_devmem_init(&place[i].devmem, dev, mm, &devmem_ops,
			       &dpagemap, EACH * PAGE_SIZE);
}

/* The next entry: the range at page @first of the window, filled. */
static void add(unsigned long first)
{
	unsigned long i = count++;

	first_of[i] = first;
	fake_fill(window(first), EACH, (unsigned int)(100 + first));
	range_of[i] = fault_at(first);
	assert_false(IS_ERR(range_of[i]));
	assert_int_equal(drm_gpusvm_range_size(range_of[i]), EACH * PAGE_SIZE);
	init_place(i);
	entries[i] = (struct gpusvm_batch_entry){
		.range = range_of[i],
		.devmem = &place[i].devmem,
		.err = 1,
	};
}

static void add_adjacent(unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i++)
		add(i * EACH);
	events = 0;
}

static int batch(void)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = 0 };
	int err;

	gpusvm_mm_read_lock(mm);
	err = gpusvm_migrate_batch_to_devmem(svm, entries, count, &ctx);
	gpusvm_mm_read_unlock(mm);
	return err;
}

static bool is_on_device(unsigned long i)
{
	unsigned long j, n = 0;

	for (j = 0; j < EACH; j++)
		n += gpusvm_devpt_get(&mm->pt,
				      fake_addr(fake, first_of[i] + j)) ==
		     &vram.pages[place[i].first + j];
	assert_true(n == 0 || n == EACH);
	return n;
}

/* On the device if it says so, else where it was; with its data in both cases. */
static void assert_consistent(unsigned long i)
{
	unsigned int tag = (unsigned int)(100 + first_of[i]);
	struct page *page = &vram.pages[place[i].first];
	unsigned long j;

	assert_int_equal(is_on_device(i), !entries[i].err);
	if (!entries[i].err) {
		assert_true(fake_matches(gpusvm_page_address(page), EACH, tag));
		for (j = 0; j < EACH; j++)
			assert_null(page[j].migration);
		return;
	}
	assert_true(fake_matches(window(first_of[i]), EACH, tag));
	for (j = 0; j < EACH; j++)
		assert_int_equal(gpusvm_page_refs(&page[j]), 0);
	assert_false(gpusvm_completion_done(&place[i].devmem.detached));
}

/* All, but for entry @i, which has @err. */
static void assert_all_but(unsigned long which, int err)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		assert_int_equal(entries[i].err, i == which ? err : 0);
		assert_consistent(i);
	}
	assert_int_equal(mm->notifiers.active, 0);
	assert_int_equal(maps, unmaps);
}

#define NONE MOST

static void bring_home(unsigned long i)
{
	assert_int_equal(drm_gpusvm_evict_to_ram(&place[i].devmem), 0);
	init_place(i);
}

/* ---- Together ---- */

static void adjacent_ranges_go_together(void **state)
{
	static const unsigned long order[MOST] = { 3, 0, 7, 1, 6, 2, 5, 4 };
	unsigned long i;

	(void)state;
	for (i = 0; i < MOST; i++)
		add(order[i] * EACH);
	events = 0;
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TRAP], 1);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 1);
	assert_int_equal(events, 1);
	assert_int_equal(event_start, fake_addr(fake, 0));
	assert_int_equal(event_end, fake_addr(fake, MOST * EACH));
	assert_int_equal(copies_to_devmem, MOST);
	assert_int_equal(mm->stats.migrations_to_devmem, MOST);
	assert_int_equal(mm->stats.moved, MOST);
	/* Each comes home by itself. */
	for (i = 0; i < MOST; i += 2)
		bring_home(i);
	for (i = 0; i < MOST; i++)
		assert_int_equal(is_on_device(i), i % 2);
}

static void ranges_with_a_gap_go_apart(void **state)
{
	(void)state;
	add(0);
	add(EACH);
	add(3 * EACH);
	add(4 * EACH);
	add(5 * EACH);
	add(7 * EACH);
	events = 0;
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 3);
	assert_int_equal(events, 3);
}

static void untouched_pages_have_no_data(void **state)
{
	(void)state;
	add_adjacent(3);
	madvise(window(EACH + 1), (EACH + 1) << PAGE_SHIFT, MADV_DONTNEED);
	assert_int_equal(batch(), 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 1);
	assert_true(fake_is_zero(gpusvm_page_address(&vram.pages[EACH + 1]),
				 EACH + 1));
	assert_true(is_on_device(0) && is_on_device(1) && is_on_device(2));
}

/* What was used in one order and freed in another is one piece again. */
static void runs_of_staging_are_found_again(void **state)
{
	static const unsigned long order[MOST] = { 5, 2, 7, 0, 1, 6, 3, 4 };
	unsigned long i;

	(void)state;
	add_adjacent(MOST);
	assert_int_equal(batch(), 0);
	for (i = 0; i < MOST; i++)
		bring_home(order[i]);
	fake->count[FAKE_OP_TAKE] = 0;
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	/* Behind one that is in the middle, and then from the front. */
	assert_in_range(fake->count[FAKE_OP_TAKE], 1, 4);
}

static void take_in_parts_goes_on(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = ~0u,
						   .max_pages = 7 });
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 5);
	assert_int_equal(events, 1);
}

static void take_with_eagain_tries_again(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 6 });
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 50,
						   .error = -EAGAIN });
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 52);
}

static void pages_shared_with_a_child_are_written_to_first(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .error = -EBUSY });
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2);
}

/* ---- Copies that complete later ---- */

static struct gpusvm_fence *copied[MOST];
static unsigned int started;

/* Nobody could signal if the first were waited for before the last started. */
static int copy_later(struct page **pages, dma_addr_t *dma_addr,
		      unsigned long npages)
{
	int err = copy_to_devmem(pages, dma_addr, npages);
	unsigned int i;

	if (!err)
		err = gpusvm_fence_create(&copied[started]);
	if (err)
		return err;
	err = gpusvm_copy_completes(pages, npages, copied[started]);
	if (++started == MOST)
		for (i = 0; i < MOST; i++) {
			gpusvm_fence_signal(copied[i], i == 5 ? -EIO : 0);
			gpusvm_fence_put(copied[i]);
		}
	return err;
}

static void all_copies_start_before_one_is_waited_for(void **state)
{
	struct drm_gpusvm_devmem_ops ops = devmem_ops;
	unsigned long i;

	(void)state;
	add_adjacent(MOST);
	ops.copy_to_devmem = copy_later;
	for (i = 0; i < MOST; i++)
		place[i].devmem.ops = &ops;
	started = 0;
	assert_int_equal(batch(), -EIO);
	assert_all_but(5, -EIO);
	for (i = 0; i < MOST; i++)
		if (i != 5)
			bring_home(i);
}

/* ---- Each by itself ---- */

/* The page of the window that does not move. */
static unsigned long pinned;

static void keep_pinned(struct fake_source *f, const struct fake_call *call)
{
	unsigned long addr = fake_addr(f, pinned);

	if (call->op != FAKE_OP_TAKE)
		return;
	f->nplans = 0;
	if (addr >= call->start && addr < call->end)
		fake_source_plan(f, (struct fake_plan){ .op = FAKE_OP_TAKE,
							.times = 1,
							.error = -EBUSY });
}

static void pinned_page_keeps_its_range_only(void **state)
{
	(void)state;
	add_adjacent(MOST);
	pinned = 3 * EACH + 1;
	fake->hook = keep_pinned;
	assert_int_equal(batch(), -EBUSY);
	fake->hook = NULL;
	assert_all_but(3, -EBUSY);
	assert_int_equal(events, 1);
	/* All, 0 to 3, 2 and 3, 3 in vain, twice each; 0 and 1, 2, 4 to 7. */
	assert_int_equal(fake->count[FAKE_OP_TAKE], 4 * 2 + 3);
}

static int brought_home;

/* What went before, while another one of the batch is still on its way. */
static int bring_first_home(struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	brought_home =
		gpusvm_mm_bring_home(mm, fake_addr(fake, first_of[0]), 0, 0);
	return copy_to_devmem(pages, dma_addr, npages);
}

static void what_has_gone_can_come_home_before_the_rest_goes(void **state)
{
	static struct drm_gpusvm_devmem_ops ops;
	unsigned long i;

	(void)state;
	add_adjacent(MOST);
	pinned = 3 * EACH;
	fake->hook = keep_pinned;
	ops = devmem_ops;
	ops.copy_to_devmem = bring_first_home;
	place[MOST - 1].devmem.ops = &ops;
	brought_home = 1;
	assert_int_equal(batch(), -EBUSY);
	fake->hook = NULL;
	assert_int_equal(brought_home, 0);
	assert_int_equal(is_on_device(0), 0);
	assert_true(fake_matches(window(0), EACH, 100));
	for (i = 1; i < MOST; i++) {
		assert_int_equal(entries[i].err, i == 3 ? -EBUSY : 0);
		assert_consistent(i);
	}
}

#define SECOND 1000000000ul

static unsigned long now_ns;

static bool tell_time(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = (long)now_ns;
	return true;
}

static bool nap(const unsigned long *args, long *ret)
{
	(void)ret;
	now_ns += args[0];
	return true;
}

/* They do not wait for it together, and in halves, and alone. */
static void what_never_settles_is_waited_for_once_per_range(void **state)
{
	unsigned long i, start_ns = 1000 * SECOND;

	(void)state;
	add_adjacent(MOST);
	now_ns = start_ns;
	fake_sys_hook(FAKE_SYS_NOW_NS, tell_time);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	fake_source_fail(fake, FAKE_OP_SETTLED, -EAGAIN);
	assert_int_equal(batch(), -EBUSY);
	assert_in_range(now_ns - start_ns, MOST * SECOND,
			MOST * SECOND + SECOND / 2);
	for (i = 0; i < MOST; i++) {
		assert_int_equal(entries[i].err, -EBUSY);
		assert_consistent(i);
	}
}

static void refuse_more_than_one(struct fake_source *f,
				 const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	f->nplans = 0;
	if (call->end - call->start > EACH << PAGE_SHIFT)
		fake_source_plan(f, (struct fake_plan){ .op = FAKE_OP_TAKE,
							.times = 1,
							.error = -EINVAL });
}

static void what_cannot_be_moved_as_one_is_moved_apart(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fake->hook = refuse_more_than_one;
	assert_int_equal(batch(), 0);
	fake->hook = NULL;
	assert_all_but(NONE, 0);
	/* Halves, and halves of these. */
	assert_int_equal(fake->count[FAKE_OP_TAKE], 1 + 2 + 4 + 8);
	assert_int_equal(events, 1);
}

static void failure_in_the_middle_gives_all_back(void **state)
{
	(void)state;
	add_adjacent(MOST);
	/* Together in two steps, of which the second fails; then in halves. */
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 18 });
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .error = -ENOMEM });
	assert_int_equal(batch(), 0);
	assert_all_but(NONE, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2 + 2);
}

static void range_on_a_device_keeps_itself_only(void **state)
{
	(void)state;
	add_adjacent(3);
	assert_int_equal(migrate(range_of[1], &place[1]), 0);
	init_place(3);
	entries[1].devmem = &place[3].devmem;
	fake->count[FAKE_OP_TAKE] = 0;
	assert_int_equal(batch(), -EFAULT);
	assert_int_equal(entries[0].err, 0);
	assert_int_equal(entries[1].err, -EFAULT);
	assert_int_equal(entries[2].err, 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2);
	assert_true(is_on_device(0) && is_on_device(1) && is_on_device(2));
	assert_int_equal(gpusvm_page_refs(&vram.pages[3 * EACH]), 0);
	assert_int_equal(releases, 0);
}

static void range_named_twice_goes_once(void **state)
{
	(void)state;
	add_adjacent(2);
	entries[2] = entries[0];
	init_place(2);
	entries[2].devmem = &place[2].devmem;
	count = 3;
	assert_int_equal(batch(), -EFAULT);
	count = 2;
	assert_int_equal(entries[0].err + entries[2].err, -EFAULT);
	assert_int_equal(entries[1].err, 0);
	assert_int_equal(mm->pt.npages, 2 * EACH);
}

static void write_protection_goes_range_by_range(void **state)
{
	(void)state;
	add_adjacent(3);
	mm->technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;
	assert_int_equal(batch(), 0);
	mm->technique = GPUSVM_TECHNIQUE_MOVE;
	assert_int_equal(mm->stats.write_protected, 3);
	assert_int_equal(events, 1);
	assert_true(is_on_device(0) && is_on_device(1) && is_on_device(2));
}

/* ---- Errors are of one ---- */

static void copy_that_fails_is_of_its_range(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fail_to_devmem = 4;
	assert_int_equal(batch(), -EREMOTEIO);
	assert_all_but(3, -EREMOTEIO);
	assert_int_equal(copies_to_devmem, MOST);
}

static void dma_mapping_that_fails_is_of_its_range(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fail_map = 4 * EACH + 2;
	assert_int_equal(batch(), -EFAULT);
	assert_all_but(4, -EFAULT);
}

static void driver_without_pages_keeps_its_range_only(void **state)
{
	(void)state;
	add_adjacent(MOST);
	fail_populate = 3;
	assert_int_equal(batch(), -ENXIO);
	assert_all_but(2, -ENXIO);
	/* Those before it, and those behind it. */
	assert_int_equal(events, 2);
}

static void entries_are_checked_one_by_one(void **state)
{
	unsigned long i;

	(void)state;
	add_adjacent(MOST);
	range_of[1]->flags.migrate_devmem = 0;
	place[3].devmem.size += PAGE_SIZE;
	place[5].devmem.ops = NULL;
	entries[6].range = NULL;
	entries[7].devmem = NULL;
	assert_int_equal(batch(), -EINVAL);
	assert_int_equal(entries[0].err, 0);
	assert_int_equal(entries[1].err, -EINVAL);
	assert_int_equal(entries[2].err, 0);
	assert_int_equal(entries[3].err, -EINVAL);
	assert_int_equal(entries[4].err, 0);
	assert_int_equal(entries[5].err, -EOPNOTSUPP);
	assert_int_equal(entries[6].err, -EINVAL);
	assert_int_equal(entries[7].err, -EINVAL);
	range_of[1]->flags.migrate_devmem = 1;
	for (i = 0; i < count; i++)
		assert_consistent(i);
}

static void batch_of_nothing_is_done(void **state)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = 0 };

	(void)state;
	gpusvm_mm_read_lock(mm);
	assert_int_equal(gpusvm_migrate_batch_to_devmem(svm, NULL, 0, &ctx), 0);
	assert_int_equal(gpusvm_migrate_batch_to_devmem(svm, NULL, 1, &ctx),
			 -EINVAL);
	gpusvm_mm_read_unlock(mm);
}

static void memory_that_cannot_be_trapped_stays(void **state)
{
	unsigned long i;

	(void)state;
	add_adjacent(3);
	fake_source_fail(fake, FAKE_OP_TRAP, -ENOMEM);
	assert_int_equal(batch(), -ENOMEM);
	for (i = 0; i < 3; i++) {
		assert_int_equal(entries[i].err, -ENOMEM);
		assert_consistent(i);
	}
}

/* Every allocation once: some go, some do not, and each says which. */
static void batch_without_memory_is_consistent(void **state)
{
	unsigned long i, gone = 0;
	unsigned int n;
	int err = 0;

	(void)state;
	add_adjacent(4);
	for (n = 1; n < 80; n++) {
		fail_alloc = n;
		err = batch();
		if (fail_alloc) /* there was none to fail */
			break;
		for (i = 0; i < count; i++) {
			assert_true(entries[i].err == 0 ||
				    entries[i].err == -ENOMEM);
			assert_consistent(i);
			gone += !entries[i].err;
		}
		for (i = 0; i < count; i++)
			if (!entries[i].err)
				bring_home(i);
	}
	fail_alloc = 0;
	assert_int_equal(err, 0);
	assert_all_but(NONE, 0);
	assert_true(n > 3 * 4);
	assert_true(gone > 0);
}

/* ---- Changes meanwhile ---- */

static void unmap_some(struct fake_source *f, const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	f->hook = NULL;
	fake_source_unmap(f, EACH + 1, EACH);
}

static void memory_unmapped_meanwhile_is_gone(void **state)
{
	unsigned int tag = 100;
	struct page *page;
	unsigned long i;

	(void)state;
	add_adjacent(4);
	fake->hook = unmap_some;
	(void)!batch();
	assert_null(fake->hook);
	settle();
	/* The first and the last range were not touched. */
	assert_int_equal(entries[0].err, 0);
	assert_int_equal(entries[3].err, 0);
	assert_consistent(0);
	assert_consistent(3);
	/* The fake would let new mappings there migrate: they are zeros. */
	for (i = EACH + 1; i <= 2 * EACH; i++) {
		page = gpusvm_devpt_get(&mm->pt, fake_addr(fake, i));
		assert_true(fake_is_zero(
			page ? gpusvm_page_address(page) : window(i), 1));
	}
	/* What is left of the second: on either side, and right. */
	page = gpusvm_devpt_get(&mm->pt, fake_addr(fake, EACH));
	assert_true(
		fake_matches(page ? gpusvm_page_address(page) : window(EACH), 1,
			     tag + EACH));
}

static void move_away(struct fake_source *f, const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	f->hook = NULL;
	fake_source_remap(f, 2 * EACH, EACH, 10 * EACH);
}

static void memory_moved_meanwhile_is_where_it_went(void **state)
{
	struct page *page;

	(void)state;
	add_adjacent(4);
	fake->hook = move_away;
	(void)!batch();
	settle();
	assert_int_equal(entries[0].err, 0);
	assert_int_equal(entries[1].err, 0);
	assert_int_equal(entries[3].err, 0);
	assert_consistent(0);
	assert_consistent(1);
	assert_consistent(3);
	page = gpusvm_devpt_get(&mm->pt, fake_addr(fake, 10 * EACH));
	assert_true(fake_matches(page ? gpusvm_page_address(page)
				      : window(10 * EACH),
				 EACH, 100 + 2 * EACH));
}

#define batch_test(fn) cmocka_unit_test_setup_teardown(fn, setup, svm_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		batch_test(adjacent_ranges_go_together),
		batch_test(ranges_with_a_gap_go_apart),
		batch_test(untouched_pages_have_no_data),
		batch_test(runs_of_staging_are_found_again),
		batch_test(take_in_parts_goes_on),
		batch_test(take_with_eagain_tries_again),
		batch_test(pages_shared_with_a_child_are_written_to_first),
		batch_test(all_copies_start_before_one_is_waited_for),
		batch_test(pinned_page_keeps_its_range_only),
		batch_test(what_has_gone_can_come_home_before_the_rest_goes),
		batch_test(what_never_settles_is_waited_for_once_per_range),
		batch_test(what_cannot_be_moved_as_one_is_moved_apart),
		batch_test(failure_in_the_middle_gives_all_back),
		batch_test(range_on_a_device_keeps_itself_only),
		batch_test(range_named_twice_goes_once),
		batch_test(write_protection_goes_range_by_range),
		batch_test(copy_that_fails_is_of_its_range),
		batch_test(dma_mapping_that_fails_is_of_its_range),
		batch_test(driver_without_pages_keeps_its_range_only),
		batch_test(entries_are_checked_one_by_one),
		batch_test(batch_of_nothing_is_done),
		batch_test(memory_that_cannot_be_trapped_stays),
		batch_test(batch_without_memory_is_consistent),
		batch_test(memory_unmapped_meanwhile_is_gone),
		batch_test(memory_moved_meanwhile_is_where_it_went),
	};

	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
