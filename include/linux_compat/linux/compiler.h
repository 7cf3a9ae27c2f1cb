/* SPDX-License-Identifier: MIT */
/* Compiler helpers under their kernel names. */
#ifndef GPUSVM_LINUX_COMPILER_H
#define GPUSVM_LINUX_COMPILER_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* One load or store of a word that other threads change; orders nothing. */
#ifndef READ_ONCE
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#endif
#ifndef WRITE_ONCE
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#endif

#endif /* GPUSVM_LINUX_COMPILER_H */
