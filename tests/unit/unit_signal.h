/* SPDX-License-Identifier: MIT */
/* Signal frames as the kernel makes them. */
#ifndef TESTS_UNIT_SIGNAL_H
#define TESTS_UNIT_SIGNAL_H

#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

/* Whether a frame says that a fault was a write. */
#if defined(__x86_64__) || defined(__aarch64__)
#define UNIT_FRAME_TELLS 1
#else
#define UNIT_FRAME_TELLS 0
#endif

/* Put into a frame what an access was: a page fault's. */
static inline void unit_tell_access(ucontext_t *uc, bool write)
{
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_ERR] = write ? 2 : 0;
#elif defined(__aarch64__)
	/* Behind another record, as floating point's is always there. */
	const unsigned int other[] = { 0x46508001, 528 };
	const unsigned int ours[] = { 0x45535201, 16,
				      0x92000007u | (write ? 1u << 6 : 0) };
	char *records = (char *)uc->uc_mcontext.__reserved;

	memcpy(records, other, sizeof(other));
	memcpy(records + 528, ours, sizeof(ours));
#else
	(void)uc;
	(void)write;
#endif
}

#endif /* TESTS_UNIT_SIGNAL_H */
