#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print what Meson's testlog.json files say: why each skipped test did not
run, then "N passed, N failed, N skipped".  Fails if a test failed or there is
no result.

usage: test_summary.py TESTLOG...
"""

import json
import sys

PASSED = ('OK', 'EXPECTEDFAIL')
SKIPPED = ('SKIP',)


def reason(test):
    """The line that speaks of skipping, else the last one."""
    output = (test.get('stdout') or '') + '\n' + (test.get('stderr') or '')
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        if line.lower().startswith('skip'):
            return line.split(':', 1)[-1].strip()
    return lines[-1] if lines else 'gave no reason'


def results(paths):
    for path in paths:
        try:
            with open(path, encoding='utf-8', errors='replace') as log:
                for line in log:
                    yield json.loads(line)
        except FileNotFoundError:
            print(f'{path} is missing: no test ran')


def main():
    passed = failed = skipped = 0
    for test in results(sys.argv[1:]):
        if test['result'] in PASSED:
            passed += 1
        elif test['result'] in SKIPPED:
            skipped += 1
            print(f"skipped: {test['name']}: {reason(test)}")
        else:
            failed += 1
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return failed > 0 or passed + skipped == 0


sys.exit(main())
