#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run a program with or without libgpusvm-preload.so.

usage: run.py SANITIZERS PRELOAD|- PROGRAM [ARGUMENT...]

Sanitizers put their own functions in the place of libc's and want to be loaded
first, so the tests are skipped with them.  The thread sanitizer knows neither
threads in a child of fork() nor that a system call orders a callback, of which
the program is full, so with that it is skipped, too.
"""
import os
import subprocess
import sys


def main():
    sanitizers, preload, *command = sys.argv[1:]
    program = os.path.basename(command[0])
    if sanitizers != 'none' and preload != '-' or \
            sanitizers == 'thread' and program == 'preload_program':
        print(f'skip: built with the {sanitizers} sanitizer')
        return 77
    if preload != '-':
        os.environ['LD_PRELOAD'] = preload
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
