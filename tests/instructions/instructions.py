#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions of a path by callgrind, and compares them with the
table in docs/performance.md.

Instructions and not time: the same whatever else the machine does.  The first
time is not like the others, so the program goes the path few and many times.

usage: instructions.py CASE PROGRAM DOCUMENT COMPILER BUILDTYPE SANITIZERS LOCKS
"""
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile

CASE, PROGRAM, DOCUMENT, COMPILER, BUILDTYPE, SANITIZERS, LOCKS = sys.argv[1:]

SKIPPED = 77
FEW, MANY = 200, 1200

# The table is that of gcc 12 and -O2.  Another compiler or option, or a line of
# code, may change a count by this much without a word; more is a regression, or
# a table that is out of date.
TOLERANCE = 0.10


def skip(reason):
    print('skip:', reason)
    sys.exit(SKIPPED)


def fail(*text):
    print('FAILED:', *text)
    sys.exit(1)


def gives_userfaultfd(device):
    """Whether the device can be opened, and a seccomp filter lets it work."""
    USERFAULTFD_IOC_NEW = 0xaa00
    try:
        with open(device, 'rb+', buffering=0) as door:
            os.close(fcntl.ioctl(door, USERFAULTFD_IOC_NEW, os.O_CLOEXEC))
    except OSError:
        return False
    return True


def budgets():
    """The rows `| CASE | INSTRUCTIONS |...` of the document."""
    with open(DOCUMENT) as document:
        return {row[1]: int(row[2]) for row in re.finditer(
            r'^\| `(\w+)` \| (\d+) \|', document.read(), re.MULTILINE)}


def count(repetitions, folder):
    """Instructions of so many."""
    run = subprocess.run(
        ['valgrind', '--tool=callgrind', '--toggle-collect=repeat',
         '--callgrind-out-file=' + os.path.join(folder, 'out'),
         PROGRAM, CASE, str(repetitions)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if 'debuginfo reader' in run.stderr:
        skip('this Valgrind cannot read the debug information of ' + COMPILER)
    if run.returncode == SKIPPED:
        print(run.stdout, end='')
        sys.exit(SKIPPED)
    collected = re.search(r'Collected : (\d+)', run.stderr)
    if run.returncode or not collected:
        fail('valgrind', run.returncode, run.stdout, run.stderr)
    return int(collected[1])


if not shutil.which('valgrind'):
    skip('valgrind is missing')
if not gives_userfaultfd('/dev/userfaultfd'):
    skip('/dev/userfaultfd, the only way that Valgrind knows, gives us none')
if SANITIZERS != 'none':
    skip('a sanitizer counts as well')
if LOCKS == 'true':
    skip('the checking build counts as well')
if BUILDTYPE not in ('release', 'debugoptimized'):
    skip('the counts are those of an optimised build')
budget = budgets().get(CASE)
if not budget:
    fail('no row for', CASE, 'in', DOCUMENT)

with tempfile.TemporaryDirectory() as folder:
    each = (count(MANY, folder) - count(FEW, folder)) / (MANY - FEW)

print('%s: %.1f instructions, %d in the table' % (CASE, each, budget))
if each > budget * (1 + TOLERANCE):
    fail('more than before: find out why, or change the table with a reason')
if each < budget * (1 - TOLERANCE):
    fail('fewer than before: change the table, so that it stays so')
