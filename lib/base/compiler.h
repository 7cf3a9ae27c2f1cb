/* SPDX-License-Identifier: MIT */
/*
 * Small helpers that C lacks.  Nothing here knows about memory or devices.
 */
#ifndef GPUSVM_BASE_COMPILER_H
#define GPUSVM_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * A single load or store of a word that other threads change; orders nothing.
 * Where order matters the code says so with an __atomic builtin.
 */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* Between looks at what another CPU is about to change. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

#define min(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;      \
	})
#define max(a, b)                       \
	({                              \
		__typeof__(a) c_ = (a); \
		__typeof__(b) d_ = (b); \
		c_ > d_ ? c_ : d_;      \
	})

/* @align must be a power of two. */
#define ALIGN_DOWN(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define ALIGN_UP(x, align) ALIGN_DOWN((x) + ((__typeof__(x))(align)-1), align)

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

/* log2, rounded down; @n is not 0. */
static inline unsigned int ilog2(unsigned long n)
{
	return (unsigned int)(8 * sizeof(n)) - 1 -
	       (unsigned int)__builtin_clzl(n);
}

#endif /* GPUSVM_BASE_COMPILER_H */
