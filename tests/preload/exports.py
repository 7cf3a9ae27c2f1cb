#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libgpusvm-preload.so exports the functions of libc that it replaces, no more.

usage: exports.py PRELOAD
"""
import re
import subprocess
import sys

EXPECTED = set('''
    brk fallocate fallocate64 ftruncate ftruncate64 madvise mbind mlock mlock2
    mmap mmap64 move_pages mprotect mremap munmap pkey_mprotect sbrk shmat shmdt
    sigaction signal syscall truncate truncate64
'''.split())
# What sanitizers and coverage add.
INSTRUMENTATION = re.compile(r'__(odr_asan|asan|tsan|ubsan|llvm|gcov|sancov)')


def main():
    output = subprocess.run(['nm', '-D', '--defined-only', sys.argv[1]],
                            stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    found = {line.split()[-1].split('@')[0] for line in output.splitlines()}
    found = {name for name in found if not INSTRUMENTATION.match(name)}
    for name in sorted(found - EXPECTED):
        print(f'{name} is exported')
    for name in sorted(EXPECTED - found):
        print(f'{name} is not exported')
    print(f'{len(found)} functions')
    return found != EXPECTED


if __name__ == '__main__':
    sys.exit(main())
