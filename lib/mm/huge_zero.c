/* SPDX-License-Identifier: MIT */
/*
 * See huge_zero.h.  The version decides, and nothing that is tried: to look at
 * memory that does not exist may end the process, or more than that.  A kernel
 * that was mended without a new number only loses a few microseconds.
 */
#include "huge_zero.h"

#include "compiler.h"
#include "log.h"
#include "mm.h"
#include "page_size.h"
#include "scan.h"
#include "small_file.h"

/* The number at @text, and @text behind it and a dot. */
static unsigned int next_number(const char **text)
{
	unsigned int number = 0;

	while (**text >= '0' && **text <= '9')
		number = number * 10 + (unsigned int)(*(*text)++ - '0');
	if (**text == '.')
		(*text)++;
	return number;
}

bool gpusvm_huge_zero_is_spoiled(const char *release)
{
	unsigned int major = next_number(&release);
	unsigned int minor = next_number(&release);
	unsigned int patch = next_number(&release);

	if (major != 6 || minor < 16)
		return false;
	if (minor < 18)
		return true;
	return minor == 18 ? patch < 20 : minor == 19 && patch < 10;
}

void gpusvm_huge_zero_open(struct mm_struct *mm)
{
	char release[64];

	mm->splits_huge_zero =
		gpusvm_read_small_file("/proc/sys/kernel/osrelease", release,
				       sizeof(release)) > 0 &&
		gpusvm_huge_zero_is_spoiled(release);
	if (mm->splits_huge_zero)
		log_info("this kernel spoils huge zero pages that are moved: "
			 "they are split");
}

/* A page table, or data: neither becomes a huge zero page by being read. */
static bool is_safe(unsigned char state)
{
	return state && (state & (PAGE_IS_HUGE | PAGE_IS_PFNZERO)) !=
				(PAGE_IS_HUGE | PAGE_IS_PFNZERO);
}

unsigned long gpusvm_huge_zero_clip(struct mm_struct *mm, unsigned long from,
				    unsigned long len)
{
	unsigned long at, end = from + len;
	unsigned char state;

	if (!mm->splits_huge_zero)
		return len;
	for (at = ALIGN_UP(from, HUGE_PAGE_SIZE); at + HUGE_PAGE_SIZE <= end;
	     at += HUGE_PAGE_SIZE)
		if (gpusvm_scan_pages(mm, at, 1, &state) || !is_safe(state))
			return at > from ? at - from : PAGE_SIZE;
	return len;
}
