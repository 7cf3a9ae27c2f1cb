/* SPDX-License-Identifier: MIT */
/*
 * What the program prints about its work.
 */
#ifndef EXAMPLE_REPORT_H
#define EXAMPLE_REPORT_H

#include "algorithm.h"

void report_start(struct gpu *gpu);
void report_step(struct problem *problem, const char *what);
void report_names(const struct problem *problem, const struct edge_list *list);
void report_table(struct gpu *gpu);

/* Print the first differences; true if there are none. */
bool report_equal(const struct problem *device, const struct problem *cpu);

#endif /* EXAMPLE_REPORT_H */
