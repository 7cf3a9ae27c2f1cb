/* SPDX-License-Identifier: MIT */
/* Copy engines by themselves. */
#include "bench.h"

static int setup_uring(void **state, const void *config)
{
	(void)state;
	(void)config;
	return because(SKIPPED, "this version has no uring engine");
}

const struct measure engine_measures[] = {
	{
		.name = "uring_2m",
		.what = "2 MiB by the uring engine, both ways",
		.baseline = "memcpy of the same bytes",
		.unit = "GB/s",
		.better = HIGHER,
		.reach = 0.75,
		.placement = UNPINNED,
		.setup = setup_uring,
	},
	{ .name = NULL },
};
