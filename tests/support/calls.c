/* SPDX-License-Identifier: MIT */
/* libc's calls that change memory, in two ways: see calls.h. */
#include "calls.h"

#include <gpusvm/hooks.h>
#include <sys/mman.h>

static void *hooked_mmap(void *addr, size_t length, int prot, int flags, int fd)
{
	void *mem = gpusvm_mmap(addr, length, prot, flags, fd, 0);

	if (mem != MAP_FAILED)
		test_area_note(mem, length, false);
	return mem;
}

static int hooked_munmap(void *addr, size_t length)
{
	test_area_note(addr, length, true);
	return gpusvm_munmap(addr, length);
}

/* The old place is a hole, as is a tail that was cut off. */
static void note_move(void *addr, size_t old_size, size_t new_size, int flags,
		      void *now)
{
	if (now == MAP_FAILED)
		return;
	if (now != addr && !(flags & MREMAP_DONTUNMAP))
		test_area_note(addr, old_size, true);
	else if (now == addr && new_size < old_size)
		test_area_note((char *)addr + new_size, old_size - new_size,
			       true);
	test_area_note(now, new_size, false);
}

static void *hooked_mremap(void *addr, size_t old_size, size_t new_size,
			   int flags, void *to)
{
	void *mem = gpusvm_mremap(addr, old_size, new_size, flags, to);

	note_move(addr, old_size, new_size, flags, mem);
	return mem;
}

static void *bare_mmap(void *addr, size_t length, int prot, int flags, int fd)
{
	void *mem = mmap(addr, length, prot, flags, fd, 0);

	if (mem != MAP_FAILED)
		test_area_note(mem, length, false);
	gpusvm_mm_sync(test_mm);
	return mem;
}

static int bare_munmap(void *addr, size_t length)
{
	int ret;

	test_area_note(addr, length, true);
	ret = munmap(addr, length);
	gpusvm_mm_sync(test_mm);
	return ret;
}

static void *bare_mremap(void *addr, size_t old_size, size_t new_size,
			 int flags, void *to)
{
	void *mem = mremap(addr, old_size, new_size, flags, to);

	note_move(addr, old_size, new_size, flags, mem);
	gpusvm_mm_sync(test_mm);
	return mem;
}

static int bare_madvise(void *addr, size_t length, int advice)
{
	int ret = madvise(addr, length, advice);

	gpusvm_mm_sync(test_mm);
	return ret;
}

const struct test_calls test_calls[TEST_CALLS] = {
	{
		.name = "hooks",
		.announced = true,
		.mmap = hooked_mmap,
		.munmap = hooked_munmap,
		.mremap = hooked_mremap,
		.mprotect = gpusvm_mprotect,
		.madvise = gpusvm_madvise,
	},
	{
		.name = "bare calls",
		.mmap = bare_mmap,
		.munmap = bare_munmap,
		.mremap = bare_mremap,
		.mprotect = mprotect,
		.madvise = bare_madvise,
	},
};

unsigned int test_calls_count(void)
{
	return test_announces() ? 1 : TEST_CALLS;
}

unsigned char *test_calls_replace(const struct test_calls *call, void *addr,
				  size_t size)
{
	void *mem = call->mmap(addr, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);

	assert_ptr_equal(mem, addr);
	madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}
