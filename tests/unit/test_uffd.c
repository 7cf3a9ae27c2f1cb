/* SPDX-License-Identifier: MIT */
/*
 * The userfaultfd source: each message becomes the right event, each operation
 * the right ioctl on the right descriptor, and partial results are told from
 * errors.
 */
#include "unit_uffd.h"

#include "page_size.h"

static int setup(void **state)
{
	(void)state;
	uffd_script_start();
	return uffd_source_open(GPUSVM_SOURCE_AUTO);
}

/* ---- Messages ---- */

static struct uffd_msg messages[SOURCE_BATCH];
static struct source_event events[SOURCE_BATCH];

static void give_messages(const unsigned long *args, const void *priv)
{
	assert_int_equal(args[0], UFFD);
	assert_int_equal(args[2], sizeof(messages));
	memcpy((void *)args[1], messages,
	       *(const unsigned int *)priv * sizeof(messages[0]));
}

static int read_messages(unsigned int n)
{
	int count;

	fake_sys_expect_fill(FAKE_SYS_READ, (long)(n * sizeof(messages[0])),
			     give_messages, &n);
	count = source->ops->read(source, events, SOURCE_BATCH);
	assert_script_played();
	return count;
}

static void fault(unsigned int i, unsigned long addr, unsigned long fault_flags)
{
	memset(&messages[i], 0, sizeof(messages[i]));
	messages[i].event = UFFD_EVENT_PAGEFAULT;
	messages[i].arg.pagefault.address = addr;
	messages[i].arg.pagefault.flags = fault_flags;
	messages[i].arg.pagefault.feat.ptid = 4711 + i;
}

static void read_decodes_faults(void **state)
{
	(void)state;
	fault(0, ADDR + 17, 0);
	fault(1, ADDR + PAGE_SIZE, UFFD_PAGEFAULT_FLAG_WRITE);
	fault(2, ADDR, UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	assert_int_equal(read_messages(3), 3);
	assert_int_equal(events[0].type, SOURCE_FAULT);
	assert_int_equal(events[0].start, ADDR);
	assert_int_equal(events[0].end, ADDR + PAGE_SIZE);
	assert_false(events[0].write || events[0].protect);
	assert_int_equal(events[0].tid, 4711);
	assert_int_equal(events[0].child_fd, -1);
	assert_int_equal(events[1].start, ADDR + PAGE_SIZE);
	assert_true(events[1].write);
	assert_false(events[1].protect);
	assert_int_equal(events[1].tid, 4712);
	assert_true(events[2].write && events[2].protect);
}

static void read_decodes_changes(void **state)
{
	(void)state;
	memset(messages, 0, sizeof(messages));
	messages[0].event = UFFD_EVENT_UNMAP;
	messages[0].arg.remove.start = ADDR;
	messages[0].arg.remove.end = ADDR + 5 * PAGE_SIZE;
	messages[1].event = UFFD_EVENT_REMOVE;
	messages[1].arg.remove.start = FROM;
	messages[1].arg.remove.end = FROM + PAGE_SIZE;
	messages[2].event = UFFD_EVENT_REMAP;
	messages[2].arg.remap.from = FROM;
	messages[2].arg.remap.to = ADDR;
	messages[2].arg.remap.len = 3 * PAGE_SIZE;
	messages[3].event = UFFD_EVENT_FORK;
	messages[3].arg.fork.ufd = 99;
	assert_int_equal(read_messages(4), 4);
	assert_int_equal(events[0].type, SOURCE_UNMAP);
	assert_int_equal(events[0].start, ADDR);
	assert_int_equal(events[0].end, ADDR + 5 * PAGE_SIZE);
	assert_int_equal(events[1].type, SOURCE_REMOVE);
	assert_int_equal(events[1].start, FROM);
	assert_int_equal(events[1].end, FROM + PAGE_SIZE);
	assert_int_equal(events[2].type, SOURCE_REMAP);
	assert_int_equal(events[2].start, FROM);
	assert_int_equal(events[2].end, FROM + 3 * PAGE_SIZE);
	assert_int_equal(events[2].to, ADDR);
	assert_int_equal(events[3].type, SOURCE_FORK);
	assert_int_equal(events[3].child_fd, 99);
}

static void read_skips_unknown_messages(void **state)
{
	(void)state;
	fault(0, ADDR, 0);
	fault(1, ADDR, 0);
	messages[1].event = 0x77;
	fault(2, ADDR + PAGE_SIZE, 0);
	assert_int_equal(read_messages(3), 2);
	assert_int_equal(events[1].start, ADDR + PAGE_SIZE);
}

static void read_of_a_full_batch_returns_all(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < SOURCE_BATCH; i++)
		fault(i, ADDR + i * PAGE_SIZE, 0);
	assert_int_equal(read_messages(SOURCE_BATCH), SOURCE_BATCH);
	assert_int_equal(events[SOURCE_BATCH - 1].tid, 4711 + SOURCE_BATCH - 1);
}

static void read_without_messages_returns_0(void **state)
{
	(void)state;
	assert_int_equal(read_messages(0), 0);
	fake_sys_expect(FAKE_SYS_READ, -EAGAIN);
	assert_int_equal(source->ops->read(source, events, SOURCE_BATCH), 0);
	assert_script_played();
}

/* ---- Registration ---- */

static struct uffdio_register reg;
static struct uffdio_range range;
static unsigned long fd;

static void note_register(const unsigned long *args, const void *priv)
{
	(void)priv;
	fd = args[0];
	reg = *(struct uffdio_register *)args[1];
}

static void note_range(const unsigned long *args, const void *priv)
{
	(void)priv;
	fd = args[0];
	range = *(struct uffdio_range *)args[1];
}

static void check_register(int (*op)(struct source *source, unsigned long start,
				     unsigned long end),
			   unsigned long mode, int expected_fd)
{
	fake_sys_expect_fill(FAKE_SYS_UFFD_REGISTER, 0, note_register, NULL);
	assert_int_equal(op(source, ADDR, ADDR + 3 * PAGE_SIZE), 0);
	assert_int_equal(fd, expected_fd);
	assert_int_equal(reg.range.start, ADDR);
	assert_int_equal(reg.range.len, 3 * PAGE_SIZE);
	assert_int_equal(reg.mode, mode);
	fake_sys_expect(FAKE_SYS_UFFD_REGISTER, -EINVAL);
	assert_int_equal(op(source, ADDR, ADDR + PAGE_SIZE), -EINVAL);
	assert_script_played();
}

static void watch_trap_and_stage_register(void **state)
{
	(void)state;
	check_register(source->ops->watch, UFFDIO_REGISTER_MODE_WP, UFFD);
	check_register(source->ops->trap,
		       UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
		       UFFD);
	check_register(source->ops->stage, UFFDIO_REGISTER_MODE_MISSING, UFFD);
}

static bool is_registered;

static void note_registered(const unsigned long *args, const void *priv)
{
	const struct uffdio_range *arg = (const void *)args[1];

	assert_int_equal(args[0], UFFD);
	assert_int_equal(arg->start, ADDR);
	assert_int_equal(arg->len, 3 * PAGE_SIZE);
	is_registered = *(const bool *)priv;
}

static void note_drop(const unsigned long *args, const void *priv)
{
	assert_int_equal(args[0], ADDR);
	assert_int_equal(args[1], 3 * PAGE_SIZE);
	assert_int_equal(args[2], MADV_DONTNEED);
	assert_int_equal(is_registered, *(const bool *)priv);
}

/* A drop of registered memory waits for somebody who reads the event. */
static void empty_drops_what_is_not_registered(void **state)
{
	static const bool yes = true, no;

	(void)state;
	is_registered = true;
	fake_sys_expect_fill(FAKE_SYS_UFFD_UNREGISTER, 0, note_registered, &no);
	fake_sys_expect_fill(FAKE_SYS_MADVISE, 0, note_drop, &no);
	fake_sys_expect_fill(FAKE_SYS_UFFD_REGISTER, 0, note_registered, &yes);
	source->ops->empty(source, ADDR, ADDR + 3 * PAGE_SIZE);
	assert_script_played();
	assert_true(is_registered);
	assert_int_equal(nlines, 0);
}

/* An event of it might be for ever unread. */
static void empty_without_mappings_drops_nothing(void **state)
{
	static const bool no;

	(void)state;
	is_registered = true;
	fake_sys_expect(FAKE_SYS_UFFD_UNREGISTER, -ENOMEM);
	assert_int_equal(source->ops->empty(source, ADDR, ADDR + 3 * PAGE_SIZE),
			 -ENOMEM);
	fake_sys_expect_fill(FAKE_SYS_UFFD_UNREGISTER, 0, note_registered, &no);
	fake_sys_expect_fill(FAKE_SYS_MADVISE, 0, note_drop, &no);
	fake_sys_expect(FAKE_SYS_UFFD_REGISTER, -ENOMEM);
	source->ops->empty(source, ADDR, ADDR + 3 * PAGE_SIZE);
	assert_script_played();
	assert_int_equal(nlines, 1);
	assert_int_equal(log_level, GPUSVM_LOG_ERROR);
}

static void wake_wakes_the_range(void **state)
{
	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_WAKE, 0, note_range, NULL);
	assert_int_equal(source->ops->wake(source, ADDR, ADDR + PAGE_SIZE), 0);
	assert_int_equal(fd, UFFD);
	assert_int_equal(range.start, ADDR);
	assert_int_equal(range.len, PAGE_SIZE);
	fake_sys_expect(FAKE_SYS_UFFD_WAKE, -EINVAL);
	assert_int_equal(source->ops->wake(source, ADDR, ADDR + PAGE_SIZE),
			 -EINVAL);
	assert_script_played();
}

static void settled_tells_only_eagain(void **state)
{
	static const long errors[] = { -EINVAL, -EAGAIN, 0, -ENOENT };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fake_sys_expect(FAKE_SYS_UFFD_ZEROPAGE, errors[i]);
		assert_int_equal(source->ops->settled(source),
				 errors[i] == -EAGAIN ? -EAGAIN : 0);
	}
	assert_script_played();
}

/* ---- Pages ---- */

static struct uffdio_copy copied;
static struct uffdio_move moved;
static struct uffdio_writeprotect protected;

/* @priv: what the kernel says was done. */
static void note_copy(const unsigned long *args, const void *priv)
{
	struct uffdio_copy *copy = (struct uffdio_copy *)args[1];

	fd = args[0];
	copied = *copy;
	copy->copy = *(const long *)priv;
}

static void note_move(const unsigned long *args, const void *priv)
{
	struct uffdio_move *move = (struct uffdio_move *)args[1];

	fd = args[0];
	moved = *move;
	move->move = *(const long *)priv;
}

static void note_zero(const unsigned long *args, const void *priv)
{
	(void)priv;
	fd = args[0];
	range = ((struct uffdio_zeropage *)args[1])->range;
}

static void note_protect(const unsigned long *args, const void *priv)
{
	(void)priv;
	fd = args[0];
	protected = *(struct uffdio_writeprotect *)args[1];
}

/* What the kernel returns and fills in, and what that means. */
static const struct {
	long ret, done, expected;
} results[] = {
	{ 0, 8 * 4096, 8 * 4096 },     { -EAGAIN, 3 * 4096, 3 * 4096 },
	{ -EAGAIN, -EAGAIN, -EAGAIN }, { -EAGAIN, 0, -EAGAIN },
	{ -EEXIST, -EEXIST, -EEXIST }, { -ENOENT, -ENOENT, -ENOENT },
	{ -EINVAL, 0, -EINVAL },       { -ENOMEM, -ENOMEM, -ENOMEM },
	{ -EFAULT, 4096, -EFAULT },
};

static void copy_tells_progress_from_errors(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(results); i++) {
		fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, results[i].ret,
				     note_copy, &results[i].done);
		assert_int_equal(source->ops->copy(source, ADDR, FROM,
						   8 * 4096),
				 results[i].expected);
		assert_int_equal(fd, UFFD);
		assert_int_equal(copied.dst, ADDR);
		assert_int_equal(copied.src, FROM);
		assert_int_equal(copied.len, 8 * 4096);
		assert_int_equal(copied.mode, 0); /* it wakes */
	}
	assert_script_played();
}

static void move_tells_progress_from_errors(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(results); i++) {
		fake_sys_expect_fill(FAKE_SYS_UFFD_MOVE, results[i].ret,
				     note_move, &results[i].done);
		assert_int_equal(source->ops->move(source, ADDR, FROM,
						   8 * 4096),
				 results[i].expected);
		assert_int_equal(fd, UFFD);
		assert_int_equal(moved.dst, ADDR);
		assert_int_equal(moved.src, FROM);
		assert_int_equal(moved.mode, 0);
	}
	assert_script_played();
}

static void take_moves_to_staging_and_allows_holes(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(results); i++) {
		fake_sys_expect_fill(FAKE_SYS_UFFD_MOVE, results[i].ret,
				     note_move, &results[i].done);
		assert_int_equal(source->ops->take(source, ADDR, FROM,
						   8 * 4096),
				 results[i].expected);
		assert_int_equal(fd, UFFD);
		assert_int_equal(moved.dst, ADDR);
		assert_int_equal(moved.src, FROM);
		assert_int_equal(moved.len, 8 * 4096);
		assert_int_equal(moved.mode, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	}
	assert_script_played();
}

static void fill_copies_zeros_of_a_huge_page_at_most(void **state)
{
	static const long done = 2 << 20;
	struct uffd *uffd = gpusvm_container_of(source, struct uffd, source);
	unsigned long i;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, 0, note_copy, &done);
	assert_int_equal(source->ops->fill(source, ADDR, 64ul << 20), done);
	assert_int_equal(fd, UFFD);
	assert_int_equal(copied.dst, ADDR);
	assert_int_equal(copied.len, uffd->zeros_size);
	for (i = 0; i < copied.len / 8; i++)
		if (((const unsigned long *)copied.src)[i])
			break;
	assert_int_equal(i, copied.len / 8);
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, -ENOMEM, note_copy, &done);
	assert_int_equal(source->ops->fill(source, ADDR, PAGE_SIZE), -ENOMEM);
	assert_int_equal(copied.len, PAGE_SIZE);
	assert_script_played();
}

static void zero_for_reading_maps_the_zero_page(void **state)
{
	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_ZEROPAGE, 0, note_zero, NULL);
	assert_int_equal(source->ops->zero(source, ADDR, false), 0);
	assert_int_equal(fd, UFFD);
	assert_int_equal(range.start, ADDR);
	assert_int_equal(range.len, PAGE_SIZE);
	fake_sys_expect(FAKE_SYS_UFFD_ZEROPAGE, -EEXIST);
	assert_int_equal(source->ops->zero(source, ADDR, false), -EEXIST);
	assert_script_played();
}

static void zero_for_writing_gives_a_page(void **state)
{
	long done = (long)PAGE_SIZE, failed = -EEXIST;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, 0, note_copy, &done);
	assert_int_equal(source->ops->zero(source, ADDR, true), 0);
	assert_int_equal(fd, UFFD);
	assert_int_equal(copied.dst, ADDR);
	assert_int_equal(copied.len, PAGE_SIZE);
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, -EEXIST, note_copy, &failed);
	assert_int_equal(source->ops->zero(source, ADDR, true), -EEXIST);
	assert_script_played();
}

static void protect_sets_the_mode(void **state)
{
	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_WRITEPROTECT, 0, note_protect, NULL);
	assert_int_equal(source->ops->protect(source, ADDR,
					      ADDR + 2 * PAGE_SIZE, true),
			 0);
	assert_int_equal(fd, UFFD);
	assert_int_equal(protected.range.start, ADDR);
	assert_int_equal(protected.range.len, 2 * PAGE_SIZE);
	assert_int_equal(protected.mode, UFFDIO_WRITEPROTECT_MODE_WP);
	fake_sys_expect_fill(FAKE_SYS_UFFD_WRITEPROTECT, -EAGAIN, note_protect,
			     NULL);
	assert_int_equal(source->ops->protect(source, ADDR, ADDR + PAGE_SIZE,
					      false),
			 -EAGAIN);
	assert_int_equal(protected.mode, 0);
	assert_script_played();
}

/* ---- Children ---- */

#define CHILD 30

static void give_child_fork(const unsigned long *args, const void *priv)
{
	struct uffd_msg *msg = (struct uffd_msg *)args[1];

	(void)priv;
	assert_int_equal(args[0], CHILD);
	memset(msg, 0, sizeof(*msg));
	msg->event = UFFD_EVENT_FORK;
	msg->arg.fork.ufd = 31;
}

/* It waits until its own event is read; its child's descriptor is closed. */
static void child_copy_reads_the_childs_events(void **state)
{
	long done = (long)PAGE_SIZE, none = -EAGAIN;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, -EAGAIN, note_copy, &none);
	fake_sys_expect_fill(FAKE_SYS_READ, sizeof(struct uffd_msg),
			     give_child_fork, NULL);
	expect_close();
	fake_sys_expect(FAKE_SYS_READ, -EAGAIN);
	fake_sys_expect(FAKE_SYS_YIELD, 0);
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, 0, note_copy, &done);
	assert_int_equal(source->ops->child_copy(source, CHILD, ADDR, FROM,
						 PAGE_SIZE),
			 PAGE_SIZE);
	assert_script_played();
	assert_int_equal(fd, CHILD);
	assert_true(was_closed(31));
}

static void child_copy_that_fails_returns_the_error(void **state)
{
	long done = -ENOENT;

	(void)state;
	fake_sys_expect_fill(FAKE_SYS_UFFD_COPY, -ENOENT, note_copy, &done);
	assert_int_equal(source->ops->child_copy(source, CHILD, ADDR, FROM,
						 PAGE_SIZE),
			 -ENOENT);
	assert_script_played();
}

/* ---- Opening ---- */

static void open_that_fails_leaves_nothing(void **state)
{
	size_t blocks = gpusvm_alloc_live();
	struct source *other = NULL;

	(void)state;
	expect_open(-ENOSYS);
	fake_sys_expect(FAKE_SYS_OPEN, -ENOENT);
	expect_open(-ENOSYS);
	assert_int_equal(gpusvm_uffd_open(GPUSVM_SOURCE_AUTO, &other), -ENOSYS);
	assert_script_played();
	assert_null(other);
	assert_int_equal(gpusvm_alloc_live(), blocks);
}

#define uffd_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, uffd_source_close)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		uffd_test(read_decodes_faults),
		uffd_test(read_decodes_changes),
		uffd_test(read_skips_unknown_messages),
		uffd_test(read_of_a_full_batch_returns_all),
		uffd_test(read_without_messages_returns_0),
		uffd_test(watch_trap_and_stage_register),
		uffd_test(empty_drops_what_is_not_registered),
		uffd_test(empty_without_mappings_drops_nothing),
		uffd_test(wake_wakes_the_range),
		uffd_test(settled_tells_only_eagain),
		uffd_test(copy_tells_progress_from_errors),
		uffd_test(move_tells_progress_from_errors),
		uffd_test(take_moves_to_staging_and_allows_holes),
		uffd_test(fill_copies_zeros_of_a_huge_page_at_most),
		uffd_test(zero_for_reading_maps_the_zero_page),
		uffd_test(zero_for_writing_gives_a_page),
		uffd_test(protect_sets_the_mode),
		uffd_test(child_copy_reads_the_childs_events),
		uffd_test(child_copy_that_fails_returns_the_error),
		uffd_test(open_that_fails_leaves_nothing),
	};

	return cmocka_run_group_tests_name("uffd", tests, NULL, NULL);
}
