/* SPDX-License-Identifier: MIT */
/* What the library says about what it finds. */
#include <stdio.h>
#include <string.h>

#include "info.h"

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	struct log *log = priv;
	unsigned int i = atomic_fetch_add(&log->taken, 1);

	if (i >= LOG_LINES)
		return;
	log->line[i].level = level;
	snprintf(log->line[i].text, sizeof(log->line[i].text), "%s", message);
}

void log_to(struct log *log)
{
	if (log)
		gpusvm_set_log(log_line, log, GPUSVM_LOG_INFO);
	else
		gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
}

/* The library opens more than one descriptor and complains of each. */
size_t log_lines(const struct log *log, const struct log_line **out)
{
	static struct log_line unique[LOG_LINES];
	size_t n = atomic_load(&log->taken);
	size_t count = 0;
	size_t i, j;

	for (i = 0; i < n && i < LOG_LINES; i++) {
		for (j = 0; j < count; j++)
			if (!strcmp(unique[j].text, log->line[i].text))
				break;
		if (j == count)
			unique[count++] = log->line[i];
	}
	*out = unique;
	return count;
}

const char *log_level_name(enum gpusvm_log_level level)
{
	switch (level) {
	case GPUSVM_LOG_ERROR:
		return "error";
	case GPUSVM_LOG_WARNING:
		return "warning";
	case GPUSVM_LOG_INFO:
		return "info";
	default:
		return "debug";
	}
}
