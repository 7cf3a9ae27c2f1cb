/* SPDX-License-Identifier: MIT */
/* See engine.h. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int test_engine_create(struct gpusvm_copy_engine **engine)
{
	static const char *const names[] = {
		[GPUSVM_COPY_MEMCPY] = "memcpy",
		[GPUSVM_COPY_STREAM] = "stream",
		[GPUSVM_COPY_THREADS] = "threads",
		[GPUSVM_COPY_URING] = "uring",
	};
	struct gpusvm_copy_engine_opts opts = {
		.size = sizeof(opts),
		/* Several, also on one CPU. */
		.nthreads = 3,
	};
	const char *name = getenv("GPUSVM_TEST_ENGINE");
	unsigned int i;

	*engine = NULL;
	if (!name)
		return 0;
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i], name))
			continue;
		opts.type = (enum gpusvm_copy_engine_type)i;
		return gpusvm_copy_engine_create(engine, &opts);
	}
	return -EINVAL;
}
