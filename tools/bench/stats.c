/* SPDX-License-Identifier: MIT */
/* Values of rounds, and what they come to. */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

int samples_add(struct samples *samples, double ours, double base)
{
	unsigned int room = samples->room ? 2 * samples->room : 64;
	struct sample *grown;

	if (samples->count == samples->room) {
		grown = realloc(samples->sample, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		samples->sample = grown;
		samples->room = room;
	}
	samples->sample[samples->count++] = (struct sample){
		.ours = ours,
		.base = base,
	};
	return 0;
}

void samples_free(struct samples *samples)
{
	free(samples->sample);
	*samples = (struct samples){ .count = 0 };
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Between the two nearest of the sorted values. */
static double percentile(const double *sorted, unsigned int n, double percent)
{
	double place = percent / 100 * (n - 1);
	unsigned int below = (unsigned int)place;

	if (below + 1 == n)
		return sorted[below];
	return sorted[below] +
	       (place - below) * (sorted[below + 1] - sorted[below]);
}

/*
 * The ratio is taken round by round: what disturbs the machine for longer than
 * a round disturbs both sides of it.
 */
int samples_sum_up(const struct samples *samples, struct outcome *outcome)
{
	unsigned int i, n = samples->count;
	double *values = calloc(n, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		values[i] = samples->sample[i].ours;
	qsort(values, n, sizeof(*values), compare);
	outcome->ours = percentile(values, n, 50);

	for (i = 0; i < n; i++)
		values[i] = samples->sample[i].base;
	qsort(values, n, sizeof(*values), compare);
	outcome->base = percentile(values, n, 50);

	for (i = 0; i < n; i++)
		values[i] = samples->sample[i].ours / samples->sample[i].base;
	qsort(values, n, sizeof(*values), compare);
	outcome->ratio = percentile(values, n, 50);
	outcome->p10 = percentile(values, n, 10);
	outcome->p90 = percentile(values, n, 90);
	outcome->rounds = n;
	free(values);
	return 0;
}
