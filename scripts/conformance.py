#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write docs/conformance.md: which test covers which conformance assertion.

A test is a function conf_NNN_short_description in tests/conformance/*.c; NNN
is the number of the assertion.  With --check nothing is written: the exit
status says whether the file is up to date.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / 'tests' / 'conformance'
OUTPUT = ROOT / 'docs' / 'conformance.md'

LAST = 162
GROUPS = (
    ('A', 'init and fini', 1),
    ('B', 'notifiers', 11),
    ('C', 'find_or_insert', 19),
    ('D', 'lookup', 47),
    ('E', 'references', 53),
    ('F', 'get_pages', 58),
    ('G', 'unmap_pages and pages_valid', 85),
    ('H', 'the invalidate callback', 90),
    ('I', 'set_unmapped and collection', 105),
    ('J', 'migrate_to_devmem', 111),
    ('K', 'CPU faults on device memory', 129),
    ('L', 'eviction', 137),
    ('M', 'locks and robustness', 146),
    ('N', 'end to end', 151),
)
MISSING = 'no test'

DEFINITION = re.compile(
    r'^static void (conf_(\d{3})_(\w+))\(void \*\*\w+\)', re.MULTILINE)


def fail(message):
    sys.exit(f'conformance.py: {message}')


def read_tests():
    """{number: [(title, file name)]}, in the order of files and lines."""
    tests = {}
    names = set()
    for path in sorted(SOURCES.glob('*.c')):
        text = path.read_text()
        for name, digits, words in DEFINITION.findall(text):
            number = int(digits)
            if not 1 <= number <= LAST:
                fail(f'{path.name}: {name}: no such assertion')
            if name in names:
                fail(f'{path.name}: {name} exists twice')
            # CMocka's own names for it, and the harness's.
            if not re.search(rf'(conf_test|cmocka_unit_test\w*)\(\s*{name}\b',
                             text):
                fail(f'{path.name}: {name} is not in the list of tests')
            names.add(name)
            tests.setdefault(number, []).append(
                (words.replace('_', ' '), path.name))
    return tests


def rows(number, tests):
    if number in tests:
        for title, name in tests[number]:
            yield f'| {number} | {title} | {name} |'
    else:
        yield f'| {number} | {MISSING} | |'


def count_line(tests):
    functions = sum(len(found) for found in tests.values())
    missing = LAST - len(tests)
    return (f'{len(tests)} of {LAST} assertions have a test, {functions} tests '
            f'in all; {missing} have none.')


def document(tests):
    lines = [
        '<!-- SPDX-License-Identifier: MIT -->',
        '# Conformance',
        '',
        count_line(tests),
        '',
        'The assertions say how GPU SVM behaves towards a driver; each has a',
        'number.  A test in `tests/conformance/` carries the number in its',
        'name, `conf_NNN_...`, and the rest of the name is the title here.',
        '`scripts/conformance.py` writes this file.',
    ]
    ends = [first for _, _, first in GROUPS[1:]] + [LAST + 1]
    for (letter, title, first), end in zip(GROUPS, ends):
        lines += ['', f'## {letter}. {title}', '',
                  '| number | test | file |', '| --- | --- | --- |']
        for number in range(first, end):
            lines += rows(number, tests)
    return '\n'.join(lines) + '\n'


def main():
    if sys.argv[1:] not in ([], ['--check']):
        fail('usage: conformance.py [--check]')
    text = document(read_tests())
    if not sys.argv[1:]:
        OUTPUT.parent.mkdir(exist_ok=True)
        OUTPUT.write_text(text)
        return
    if not OUTPUT.exists() or OUTPUT.read_text() != text:
        fail(f'{OUTPUT.relative_to(ROOT)} is out of date: '
             'run scripts/conformance.py')


if __name__ == '__main__':
    main()
