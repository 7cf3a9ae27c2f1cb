/* SPDX-License-Identifier: MIT */
/* What is printed: lines of text, or one JSON object. */
#ifndef GPUSVM_BENCH_REPORT_H
#define GPUSVM_BENCH_REPORT_H

#include "bench.h"

/* One line about a measure, for --list. */
void report_list(const struct measure *measure);

/* Around the outcomes. */
void report_begin(bool json, double seconds);
void report_end(bool json);

void report_outcome(bool json, const struct measure *measure,
		    const struct outcome *outcome);

#endif /* GPUSVM_BENCH_REPORT_H */
