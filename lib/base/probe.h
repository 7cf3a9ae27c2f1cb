/* SPDX-License-Identifier: MIT */
/*
 * Places where a tracer can look on (docs/tracing.md): one no-op instruction
 * each until somebody does, nothing at all without the option usdt.
 */
#ifndef GPUSVM_BASE_PROBE_H
#define GPUSVM_BASE_PROBE_H

#if GPUSVM_HAVE_USDT
#include <sys/sdt.h>
#define probe2(name, a, b) STAP_PROBE2(gpusvm, name, a, b)
#define probe3(name, a, b, c) STAP_PROBE3(gpusvm, name, a, b, c)
#else
#define probe2(name, a, b) ((void)(a), (void)(b))
#define probe3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif /* GPUSVM_BASE_PROBE_H */
