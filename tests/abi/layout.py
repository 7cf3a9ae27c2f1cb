# SPDX-License-Identifier: MIT
"""Compare the tables that the layout programs print.

usage: layout.py PROGRAM...
"""

import subprocess
import sys


def table(program):
    output = subprocess.run([program], stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    return output.splitlines()


def main():
    reference, *others = sys.argv[1:]
    expected = table(reference)
    failed = not expected
    for program in others:
        found = table(program)
        for line in sorted(set(expected) ^ set(found)):
            origin = reference if line in expected else program
            print(f'{line}    <- only in {origin}')
            failed = True
    print(f'{len(expected)} lines')
    return failed


sys.exit(main())
