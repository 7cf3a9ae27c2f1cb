#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print what Meson's testlog.json files say: why each skipped test did not
run, the end of what each failed one printed, then "N passed, N failed, N
skipped".  Fails if a test failed or there is no result.

usage: test_summary.py TESTLOG...
"""

import json
import sys

PASSED = ('OK', 'EXPECTEDFAIL')
SKIPPED = ('SKIP',)
TAIL = 40


def printed(test):
    output = (test.get('stdout') or '') + '\n' + (test.get('stderr') or '')
    return [line.rstrip() for line in output.splitlines() if line.strip()]


def reason(test):
    """The line that speaks of skipping, else the last one."""
    lines = [line.strip() for line in printed(test)]
    for line in lines:
        if line.lower().startswith('skip'):
            return line.split(':', 1)[-1].strip()
    return lines[-1] if lines else 'gave no reason'


def tell_failure(test):
    """In the form that tests/vm/run.py has, too."""
    print(f"failed: {test['name']} ({test['duration']:.1f} s): "
          f"{test['result']}, status {test['returncode']}")
    for line in printed(test)[-TAIL:]:
        print(f'    {line}')


def results(paths):
    for path in paths:
        try:
            with open(path, encoding='utf-8', errors='replace') as log:
                for line in log:
                    yield json.loads(line)
        except FileNotFoundError:
            print(f'{path} is missing: no test ran')


def main():
    passed = skipped = 0
    failed = []
    for test in results(sys.argv[1:]):
        if test['result'] in PASSED:
            passed += 1
        elif test['result'] in SKIPPED:
            skipped += 1
            print(f"skipped: {test['name']}: {reason(test)}")
        else:
            failed.append(test)
    for test in failed:
        tell_failure(test)
    print(f'{passed} passed, {len(failed)} failed, {skipped} skipped')
    return bool(failed) or passed + skipped == 0


sys.exit(main())
