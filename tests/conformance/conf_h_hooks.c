/* SPDX-License-Identifier: MIT */
/*
 * Conformance, groups C, F and H: what the hooks of libc's calls promise.  The
 * callback runs on the thread that makes the change, and before it: the page is
 * still there to be read, as it was and with the rights that it had.
 */
#include "fake_driver.h"

#include <gpusvm/hooks.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct drm_gpusvm_ctx read_only = { .read_only = 1 };

/* What the callback found at an address. */
struct look {
	unsigned char *at;
	enum mmu_notifier_event event;
	unsigned int calls;
	bool there;
	bool writable;
	unsigned char byte;
	unsigned int children;
	int tid;
	struct fake_alloc *alloc;
	unsigned int released;
};

/*
 * Anything that may be gone is read by a system call.  Writes back what was
 * read, to know whether it may be.
 */
static void look(struct fake_driver *d, enum fake_hook where, const void *arg,
		 void *priv)
{
	const struct mmu_notifier_range *range = arg;
	struct look *l = priv;
	struct iovec local = { &l->byte, 1 };
	struct iovec remote = { l->at, 1 };

	(void)d;
	if (where != FAKE_AT_INVALIDATE || range->event != l->event ||
	    range->start > (unsigned long)l->at ||
	    range->end <= (unsigned long)l->at || l->calls++)
		return;
	l->tid = (int)syscall(SYS_gettid);
	l->children = waitpid(-1, NULL, WNOHANG) != -1;
	if (l->alloc) {
		l->released = l->alloc->released;
		return;
	}
	l->there = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
	l->writable = process_vm_writev(getpid(), &local, 1, &remote, 1, 0) ==
		      1;
}

static void look_at(struct fake_driver *d, struct look *l, void *at,
		    enum mmu_notifier_event event)
{
	*l = (struct look){ .at = at, .event = event };
	d->hook_priv = l;
	d->hook = look;
}

static void check_look(struct fake_driver *d, const struct look *l,
		       unsigned char byte)
{
	d->hook = NULL;
	assert_true(l->calls > 0);
	assert_int_equal(l->tid, syscall(SYS_gettid));
	assert_true(l->there);
	assert_true(l->writable);
	assert_int_equal(l->byte, byte);
}

/* A range of 64K, mapped for the device, with the pattern 1. */
static struct drm_gpusvm_range *mapped_range(struct fake_driver *d,
					     unsigned char *mem)
{
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	return range;
}

/* ---- 23 and 65: memory made read-only ---- */

static void conf_023_read_only_by_hook(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);

	(void)state;
	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, PROT_READ), 0);
	assert_false(fake_valid(d, range));
	assert_err_ptr(fake_fault(d, mem), -EPERM);
	assert_ptr_equal(fake_fault_ctx(d, mem, 0, ULONG_MAX, &read_only),
			 range);
	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE),
			 0);
	assert_ptr_equal(fake_fault(d, mem), range);
	assert_int_equal(d->range_allocs, 1);
}

static void conf_065_read_only_by_hook(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);

	(void)state;
	/* No device can write from the moment on when the CPU cannot. */
	assert_int_equal(gpusvm_mprotect(mem + PS, PS, PROT_READ), 0);
	assert_ret(fake_dev_write(d, range, 0, "x", 1), -EAGAIN);
	assert_ret(fake_get_pages(d, range), -EPERM);
	assert_false(fake_valid(d, range));
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_dev_filled(d, range, 1);

	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE),
			 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(fake_dev_fill(d, range, 2), 0);
	assert_filled(mem, SZ_64K, 2);
}

static void conf_065_read_only_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, PROT_READ), 0);
	assert_ret(fake_dev_write(d, range, 0, "x", 1), -EAGAIN);
	assert_ret(fake_get_pages(d, range), -EPERM);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_dev_filled(d, range, 1);
	/* It comes home to where nobody may write. */
	assert_filled(mem, SZ_64K, 1);
}

/* ---- 90: the mapping goes ---- */

static void unmap(struct test_area *area, unsigned char *mem)
{
	test_area_note(mem, SZ_64K, true);
	(void)area;
	assert_int_equal(gpusvm_munmap(mem, SZ_64K), 0);
}

static void map_over(struct test_area *area, unsigned char *mem)
{
	(void)area;
	assert_ptr_equal(gpusvm_mmap(mem, SZ_64K, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				     -1, 0),
			 mem);
}

static void move_away(struct test_area *area, unsigned char *mem)
{
	unsigned char *to = area->base + area->size - SZ_64K;

	test_area_note(mem, SZ_64K, true);
	test_area_note(to, SZ_64K, false);
	assert_ptr_equal(gpusvm_mremap(mem, SZ_64K, SZ_64K,
				       MREMAP_MAYMOVE | MREMAP_FIXED, to),
			 to);
	assert_filled(to, SZ_64K, 1);
}

/* The range is the tail of a longer mapping. */
static void shrink(struct test_area *area, unsigned char *mem)
{
	test_area_note(mem, SZ_64K, true);
	assert_ptr_equal(gpusvm_mremap(area->base, 2 * SZ_64K, SZ_64K, 0, NULL),
			 area->base);
}

static void (*const unmaps[])(struct test_area *area,
			      unsigned char *mem) = { unmap, map_over,
						      move_away, shrink };

static void conf_090_before_the_mapping_goes(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(unmaps) / sizeof(*unmaps); i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_1M, SZ_64K);
		unsigned char *mem =
			test_area_anon(area, 0, 2 * SZ_64K) + SZ_64K;
		struct drm_gpusvm_range *range = mapped_range(d, mem);
		struct look l;

		look_at(d, &l, mem + PS, MMU_NOTIFY_UNMAP);
		unmaps[i](area, mem);
		check_look(d, &l, test_pattern(PS, 1));
		/* Told already: there is nothing to wait for. */
		assert_int_equal(range->flags.unmapped, 1);
		assert_int_equal(range->flags.partial_unmap, 0);
		assert_false(fake_valid(d, range));
		fake_driver_destroy(d);
	}
}

static void conf_090_before_device_memory_goes(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(unmaps) / sizeof(*unmaps); i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_1M, SZ_64K);
		unsigned char *mem =
			test_area_anon(area, 0, 2 * SZ_64K) + SZ_64K;
		struct fake_alloc *alloc;
		struct look l;

		test_fill(mem, SZ_64K, 1);
		fake_dev_range(d, mem, SZ_64K, &alloc);
		look_at(d, &l, mem + PS, MMU_NOTIFY_UNMAP);
		l.alloc = alloc;
		unmaps[i](area, mem);
		d->hook = NULL;
		assert_true(l.calls > 0);
		assert_int_equal(l.tid, syscall(SYS_gettid));
		assert_int_equal(l.released, 0);
		/* What was moved has come home to be compared. */
		test_wait_until(alloc->released == 1);
		fake_driver_destroy(d);
	}
}

static void conf_090_before_shared_memory_goes(void **state)
{
	int id = shmget(IPC_PRIVATE, SZ_64K, IPC_CREAT | 0600);
	struct fake_driver *d = fake_driver_create(NULL);
	struct drm_gpusvm_range *range;
	unsigned char *mem;
	struct look l;

	(void)state;
	if (id < 0)
		test_skip("no System V shared memory");
	mem = gpusvm_shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	assert_ptr_not_equal(mem, (void *)-1);
	test_fill(mem, SZ_64K, 1);
	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(d, range), 0);
	look_at(d, &l, mem, MMU_NOTIFY_UNMAP);
	assert_int_equal(gpusvm_shmdt(mem), 0);
	check_look(d, &l, test_pattern(0, 1));
	assert_int_equal(range->flags.unmapped, 1);
}

/* A page that is kept in part is kept. */
static void conf_090_before_the_break_falls(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct drm_gpusvm_range *kept, *gone;
	unsigned char *old = gpusvm_sbrk(0), *mem;
	struct look l;

	(void)state;
	if (gpusvm_sbrk((intptr_t)(4 * PS)) == (void *)-1)
		test_skip("the break cannot be moved");
	mem = (unsigned char *)(((uintptr_t)old + PS - 1) & ~(PS - 1));
	test_fill(mem, 2 * PS, 1);
	kept = fake_fault_ctx(d, mem, (unsigned long)mem,
			      (unsigned long)mem + PS, &read_only);
	gone = fake_fault_ctx(d, mem + PS, (unsigned long)mem + PS,
			      (unsigned long)mem + 2 * PS, &read_only);
	assert_ok_ptr(kept);
	assert_ok_ptr(gone);
	assert_ret(fake_get_pages(d, kept), 0);
	assert_ret(fake_get_pages(d, gone), 0);

	look_at(d, &l, mem + PS, MMU_NOTIFY_UNMAP);
	assert_int_equal(gpusvm_brk(mem + 1), 0);
	check_look(d, &l, test_pattern(PS, 1));
	assert_int_equal(gone->flags.unmapped, 1);
	assert_int_equal(kept->flags.unmapped, 0);
	assert_true(fake_valid(d, kept));
	assert_int_equal(test_match(mem, PS, 1), PS);
	assert_int_equal(gpusvm_brk(old), 0);
}

/* ---- 91: pages go ---- */

static void conf_091_before_pages_go(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);
	struct look l;

	(void)state;
	look_at(d, &l, mem + PS, MMU_NOTIFY_CLEAR);
	assert_int_equal(gpusvm_madvise(mem, SZ_64K, MADV_DONTNEED), 0);
	check_look(d, &l, test_pattern(PS, 1));
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.unmapped, 0);
	assert_zeroed(mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_zeroed(d, range);
}

/* ---- 92: mprotect ---- */

static void check_protect(int (*protect)(void *mem, size_t size, int prot))
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(3 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);
	struct drm_gpusvm_range *other = mapped_range(d, mem + 2 * SZ_64K);
	const struct fake_event *event;
	struct look l;

	look_at(d, &l, mem + PS, MMU_NOTIFY_PROTECTION_VMA);
	assert_int_equal(protect(mem, SZ_64K, PROT_NONE), 0);
	check_look(d, &l, test_pattern(PS, 1));
	event = fake_last_event(d, MMU_NOTIFY_PROTECTION_VMA, mem, SZ_64K);
	assert_int_equal(event->start, (unsigned long)mem);
	assert_int_equal(event->end, (unsigned long)mem + SZ_64K);
	assert_int_equal(event->flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	assert_null(event->owner);
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.unmapped, 0);
	assert_true(fake_valid(d, other));
	assert_ret(fake_get_pages(d, range), -EFAULT);

	assert_int_equal(protect(mem, SZ_64K, PROT_READ | PROT_WRITE), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
}

static void conf_092_mprotect(void **state)
{
	(void)state;
	check_protect(gpusvm_mprotect);
}

/* A key of -1 is the kernel's mprotect(). */
static int protect_by_key(void *mem, size_t size, int prot)
{
	return gpusvm_pkey_mprotect(mem, size, prot, -1);
}

static void conf_092_pkey_mprotect(void **state)
{
	unsigned char *mem = test_map(PS, PS);

	(void)state;
	if (protect_by_key(mem, PS, PROT_READ))
		test_skip("no pkey_mprotect(): %s", strerror(errno));
	check_protect(protect_by_key);
}

static void conf_092_mprotect_of_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	assert_int_equal(gpusvm_mprotect(mem + PS, PS, PROT_NONE), 0);
	assert_non_null(
		fake_last_event(d, MMU_NOTIFY_PROTECTION_VMA, mem + PS, PS));
	assert_ret(fake_dev_write(d, range, 0, "x", 1), -EAGAIN);
	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE),
			 0);
	/* Nothing has moved for it, but where a guard's protection was there. */
	assert_int_equal(d->copies_to_ram > 0, test_announces());
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

/* The device was stopped for nothing, and nothing else has changed. */
static void conf_092_mprotect_that_fails(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);

	(void)state;
	assert_int_equal(gpusvm_mprotect(mem, SZ_64K, 0x40000000), -1);
	assert_int_equal(errno, EINVAL);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

/* ---- 93: fork ---- */

static void conf_093_before_there_is_a_child(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = mapped_range(d, mem);
	struct look l;
	int status;
	pid_t pid;

	(void)state;
	look_at(d, &l, mem + PS, MMU_NOTIFY_PROTECTION_PAGE);
	pid = fork();
	if (pid == 0)
		_exit(mem[PS] != test_pattern(PS, 1));
	assert_true(pid > 0);
	assert_false(fake_valid(d, range));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	check_look(d, &l, test_pattern(PS, 1));
	assert_int_equal(l.children, 0);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_023_read_only_by_hook),
	conf_test(conf_065_read_only_by_hook),
	conf_test(conf_065_read_only_device_memory),
	conf_test(conf_090_before_the_mapping_goes),
	conf_test(conf_090_before_device_memory_goes),
	conf_test(conf_090_before_shared_memory_goes),
	conf_test(conf_090_before_the_break_falls),
	conf_test(conf_091_before_pages_go),
	conf_test(conf_092_mprotect),
	conf_test(conf_092_pkey_mprotect),
	conf_test(conf_092_mprotect_of_device_memory),
	conf_test(conf_092_mprotect_that_fails),
	conf_test(conf_093_before_there_is_a_child),
};

CONF_MAIN(tests)
