/* SPDX-License-Identifier: MIT */
/*
 * The userfaultfd source that can keep pages from everybody: how it registers,
 * which faults it tells of, and that nothing comes home protected.
 */
#include "unit_uffd.h"

#include "page_size.h"

static int setup(void **state)
{
	(void)state;
	uffd_script_start();
	kernel_features |= UFFD_FEATURE_RWP;
	return uffd_source_open(GPUSVM_SOURCE_USERFAULTFD_RWP);
}

static void give_fault(const unsigned long *args, const void *priv)
{
	struct uffd_msg *msg = (struct uffd_msg *)args[1];

	memset(msg, 0, sizeof(*msg));
	msg->event = UFFD_EVENT_PAGEFAULT;
	msg->arg.pagefault.address = ADDR + 17;
	msg->arg.pagefault.flags = *(const unsigned long *)priv;
}

static struct source_event read_fault(unsigned long fault_flags)
{
	struct source_event events[SOURCE_BATCH];

	fake_sys_expect_fill(FAKE_SYS_READ, sizeof(struct uffd_msg), give_fault,
			     &fault_flags);
	assert_int_equal(source->ops->read(source, events, SOURCE_BATCH), 1);
	assert_script_played();
	assert_int_equal(events[0].type, SOURCE_FAULT);
	assert_int_equal(events[0].start, ADDR);
	return events[0];
}

static void read_tells_present_pages_from_absent_ones(void **state)
{
	struct source_event event;

	(void)state;
	event = read_fault(0);
	assert_false(event.protect || event.write);
	event = read_fault(UFFD_PAGEFAULT_FLAG_RWP);
	assert_true(event.protect);
	assert_false(event.write);
	event = read_fault(UFFD_PAGEFAULT_FLAG_RWP | UFFD_PAGEFAULT_FLAG_WRITE);
	assert_true(event.protect && event.write);
}

static void note_mode(const unsigned long *args, const void *priv)
{
	const struct uffdio_register *reg = (const void *)args[1];

	assert_int_equal(args[0], UFFD);
	assert_int_equal(reg->range.start, ADDR);
	assert_int_equal(reg->range.len, PAGE_SIZE);
	assert_int_equal(reg->mode, *(const unsigned long *)priv);
}

/* The kernel has a mapping registered for one kind of protection only. */
static void nothing_is_registered_for_write_protection(void **state)
{
	unsigned long mode = UFFDIO_REGISTER_MODE_RWP;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_REGISTER, 0, note_mode, &mode);
	assert_int_equal(source->ops->watch(source, ADDR, ADDR + PAGE_SIZE), 0);
	mode |= UFFDIO_REGISTER_MODE_MISSING;
	fake_sys_expect_fill(FAKE_SYS_UFFD_REGISTER, -ENOMEM, note_mode, &mode);
	assert_int_equal(source->ops->trap(source, ADDR, ADDR + PAGE_SIZE),
			 -ENOMEM);
	mode = UFFDIO_REGISTER_MODE_MISSING;
	fake_sys_expect_fill(FAKE_SYS_UFFD_REGISTER, 0, note_mode, &mode);
	assert_int_equal(source->ops->stage(source, ADDR, ADDR + PAGE_SIZE), 0);
	assert_script_played();
}

static struct uffdio_rwprotect protected;

static void note_protect(const unsigned long *args, const void *priv)
{
	(void)priv;
	assert_int_equal(args[0], UFFD);
	protected = *(struct uffdio_rwprotect *)args[1];
}

static void protect_keeps_readers_out(void **state)
{
	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_RWPROTECT, 0, note_protect, NULL);
	assert_int_equal(source->ops->protect(source, ADDR,
					      ADDR + 2 * PAGE_SIZE, true),
			 0);
	assert_int_equal(protected.range.start, ADDR);
	assert_int_equal(protected.range.len, 2 * PAGE_SIZE);
	assert_int_equal(protected.mode, UFFDIO_RWPROTECT_MODE_RWP);
	fake_sys_expect_fill(FAKE_SYS_UFFD_RWPROTECT, -EAGAIN, note_protect,
			     NULL);
	assert_int_equal(source->ops->protect(source, ADDR, ADDR + PAGE_SIZE,
					      false),
			 -EAGAIN);
	assert_int_equal(protected.mode, 0);
	assert_script_played();
}

static void give_moved(const unsigned long *args, const void *priv)
{
	struct uffdio_move *move = (struct uffdio_move *)args[1];

	assert_int_equal(move->dst, ADDR);
	assert_int_equal(move->src, FROM);
	assert_int_equal(move->len, 4 * PAGE_SIZE);
	/* Who waits could do nothing yet. */
	assert_int_equal(move->mode, UFFDIO_MOVE_MODE_DONTWAKE);
	move->move = *(const long *)priv;
}

static void note_wake(const unsigned long *args, const void *priv)
{
	const struct uffdio_range *range = (const void *)args[1];

	(void)priv;
	assert_int_equal(range->start, ADDR);
	assert_int_equal(range->len, 3 * PAGE_SIZE);
}

static long move_four(long ret, long moved)
{
	fake_sys_expect_fill(FAKE_SYS_UFFD_MOVE, ret, give_moved, &moved);
	return source->ops->move(source, ADDR, FROM, 4 * PAGE_SIZE);
}

static void what_was_moved_is_let_go(void **state)
{
	long part = 3 * (long)PAGE_SIZE;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_MOVE, -EAGAIN, give_moved, &part);
	fake_sys_expect_fill(FAKE_SYS_UFFD_RWPROTECT, 0, note_protect, NULL);
	assert_int_equal(source->ops->move(source, ADDR, FROM, 4 * PAGE_SIZE),
			 part);
	assert_int_equal(protected.range.start, ADDR);
	assert_int_equal(protected.range.len, part);
	assert_int_equal(protected.mode, 0);
	assert_script_played();
	/* Nothing came: nothing is to be let go. */
	assert_int_equal(move_four(-EBUSY, -EBUSY), -EBUSY);
	assert_int_equal(move_four(-EAGAIN, -EAGAIN), -EAGAIN);
	assert_script_played();
}

/* Their faults end the protection page by page, so they must have them. */
static void what_cannot_be_let_go_is_woken(void **state)
{
	long part = 3 * (long)PAGE_SIZE;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_MOVE, -EAGAIN, give_moved, &part);
	fake_sys_expect(FAKE_SYS_UFFD_RWPROTECT, -EAGAIN);
	fake_sys_expect_fill(FAKE_SYS_UFFD_WAKE, 0, note_wake, NULL);
	assert_int_equal(source->ops->move(source, ADDR, FROM, 4 * PAGE_SIZE),
			 part);
	assert_script_played();
}

#define rwp_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, uffd_source_close)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		rwp_test(read_tells_present_pages_from_absent_ones),
		rwp_test(nothing_is_registered_for_write_protection),
		rwp_test(protect_keeps_readers_out),
		rwp_test(what_was_moved_is_let_go),
		rwp_test(what_cannot_be_let_go_is_woken),
	};

	return cmocka_run_group_tests_name("uffd_rwp", tests, NULL, NULL);
}
