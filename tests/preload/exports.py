#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libgpusvm-preload.so exports the functions of libc that it replaces, no more.

usage: exports.py PRELOAD [LIBC]
"""
import re
import subprocess
import sys

# Of the break and of signals glibc has several names each, to which programs may
# be bound.
EXPECTED = set('''
    brk sbrk __sbrk
    mmap mmap64 munmap mremap mprotect pkey_mprotect remap_file_pages
    madvise process_madvise mlock mlock2 mbind move_pages
    shmat shmdt
    fallocate fallocate64 ftruncate ftruncate64 truncate truncate64
    sigaction __sigaction signal bsd_signal ssignal
    sigset sigignore
    syscall
'''.split())
# What other libc do not have.
GLIBC = {'sysv_signal', '__sysv_signal'}
# What sanitizers, coverage and the start files of some libc add.
INSTRUMENTATION = re.compile(r'__(odr_asan|asan|tsan|ubsan|llvm|gcov|sancov)'
                             r'|_(init|fini)$')


def main():
    output = subprocess.run(['nm', '-D', '--defined-only', sys.argv[1]],
                            stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    found = {line.split()[-1].split('@')[0] for line in output.splitlines()}
    found = {name for name in found if not INSTRUMENTATION.match(name)}
    expected = EXPECTED | (GLIBC if 'glibc' in sys.argv[2:] else set())
    for name in sorted(found - expected):
        print(f'{name} is exported')
    for name in sorted(expected - found):
        print(f'{name} is not exported')
    print(f'{len(found)} functions')
    return found != expected


if __name__ == '__main__':
    sys.exit(main())
