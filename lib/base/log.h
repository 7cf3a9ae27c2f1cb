/* SPDX-License-Identifier: MIT */
/*
 * Messages to the program's log callback.  The only place that formats text;
 * it uses a buffer on the stack and neither malloc() nor stdio streams, so the
 * fault handler may log.
 */
#ifndef GPUSVM_BASE_LOG_H
#define GPUSVM_BASE_LOG_H

#include <gpusvm/gpusvm.h>

void gpusvm_log(enum gpusvm_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) gpusvm_log(GPUSVM_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) gpusvm_log(GPUSVM_LOG_WARNING, __VA_ARGS__)
#define log_info(...) gpusvm_log(GPUSVM_LOG_INFO, __VA_ARGS__)
#define log_debug(...) gpusvm_log(GPUSVM_LOG_DEBUG, __VA_ARGS__)

#endif /* GPUSVM_BASE_LOG_H */
