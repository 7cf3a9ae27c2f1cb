/* SPDX-License-Identifier: MIT */
/*
 * A system call without libc: whoever puts himself in front of libc's
 * functions, syscall(2) included (our own preload library does), is not
 * entered, and errno is left alone.
 */
#ifndef GPUSVM_BASE_RAW_SYSCALL_H
#define GPUSVM_BASE_RAW_SYSCALL_H

#if defined(__x86_64__) && defined(__LP64__)

static inline long raw_syscall(long number, long a, long b, long c, long d,
			       long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long raw_syscall(long number, long a, long b, long c, long d,
			       long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

#else

#include <errno.h>
#include <unistd.h>

static inline long raw_syscall(long number, long a, long b, long c, long d,
			       long e, long f)
{
	long ret = syscall(number, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}

#endif

#endif /* GPUSVM_BASE_RAW_SYSCALL_H */
