/* SPDX-License-Identifier: MIT */
/* The least of a device: memory goes to it, and comes home. */
#ifndef TESTS_SOURCES_DEVICE_H
#define TESTS_SOURCES_DEVICE_H

#include <gpusvm/gpusvm.h>
#include <stdbool.h>
#include <stddef.h>

/* Open with a source; 0 or -errno.  The last log lines are kept. */
int device_open(enum gpusvm_source source);
void device_close(void);
unsigned long device_features(void);
bool device_log_has(const char *text);
extern unsigned int device_log_errors;
/* How much memory it has, from the next opening on. */
extern size_t device_bytes;

/* Memory of its own, between guards; @size is a power of two. */
unsigned char *device_map(size_t size, int prot);

/* Send [addr, addr + size), one range, to the device; 0 or -errno. */
int device_take(void *addr, size_t size);
/*
 * Copies to RAM so far; what the callback does first, if it is not NULL; and
 * what it returns, if it is not 0.
 */
extern unsigned int device_copies;
extern void (*device_copying)(void);
extern int device_copy_error;

/* Call it with the notifier lock held. */
void device_with_notifier_lock(void (*fn)(void));

/* Pages on the device now. */
unsigned long device_pages(void);
/*
 * Fails unless there is none in time: who touched the last one goes on a moment
 * before it is counted as gone.
 */
void device_check_empty(void);

/* So many, or more on machines that were said to be slow. */
unsigned int device_seconds(unsigned int seconds);

/* Print and exit; for processes that are one test. */
#define check(condition)                                             \
	do {                                                         \
		if (!(condition))                                    \
			device_fail(#condition, __FILE__, __LINE__); \
	} while (0)
void device_fail(const char *what, const char *file, int line)
	__attribute__((noreturn));

#endif /* TESTS_SOURCES_DEVICE_H */
