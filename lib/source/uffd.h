/* SPDX-License-Identifier: MIT */
/* What the two files of the userfaultfd source share. */
#ifndef GPUSVM_SOURCE_UFFD_H
#define GPUSVM_SOURCE_UFFD_H

#include "source.h"

/**
 * struct uffd - The userfaultfd source
 * @source: What users of it see; its fd has all events, and serves the program
 *	and staging memory
 * @wanted: With everything, for user mode only, or (AUTO) the best there is
 * @api: Features that the kernel granted
 * @zeros: A huge page's worth of zeros to copy from
 * @zeros_size: Its size in bytes
 */
struct uffd {
	struct source source;
	enum gpusvm_source wanted;
	unsigned long api;
	unsigned long zeros;
	unsigned long zeros_size;
};

/* Open the descriptor and negotiate; fills all but ops, wanted and zeros. */
int gpusvm_uffd_negotiate(struct uffd *uffd);

#endif /* GPUSVM_SOURCE_UFFD_H */
