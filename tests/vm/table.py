# SPDX-License-Identifier: MIT
"""Results of run.py, cell by cell, as tables in Markdown."""

import collections
import re

HEAD = '''| kernel | topology | user | suites | passed | failed | skipped |
| --- | --- | --- | --- | --- | --- | --- |'''
REASONS = '''| | why | tests | where |
| --- | --- | --- | --- |'''


def short(reason):
    """A reason without what differs from run to run, fit for a table."""
    reason = re.sub(r'0x[0-9a-f]+', '...', reason.strip() or '-')
    return reason.replace('|', '/')[:110]


def release(kernel):
    """Without what is the distribution's, also a third number that is its."""
    found = re.match(r'[\d.]+\d', kernel)
    flavour = re.search(r' ?arm64(-\w+)?$', kernel)
    return (found.group().removesuffix('.0') if found else kernel) + \
        (' ' + flavour.group().strip() if found and flavour else '')


def row(cell):
    """Of the first table."""
    words = [release(cell['kernel']), cell['topology'], cell['user'],
             cell['suites']]
    if 'results' in cell:
        count = collections.Counter(result[1] for result in cell['results'])
        words += [str(count[state])
                  for state in ('passed', 'failed', 'skipped')]
    elif cell['state'] == 'failed':
        words += ['', f"all: {short(cell['reason'])}", '']
    else:
        words += ['', '', f"all: {short(cell['reason'])}"]
    return '| ' + ' | '.join(words) + ' |'


def reasons(cells):
    """Rows of the second table: why a test failed or was skipped."""
    others = collections.defaultdict(lambda: collections.defaultdict(set))
    for cell in cells:
        for name, state, why, _ in cell.get('results', ()):
            if state != 'passed':
                where = (release(cell['kernel']), cell['topology'],
                         cell['user'])
                others[state, short(why)][name].add(' '.join(where))
    for (state, why), tests in sorted(others.items()):
        where = set().union(*tests.values())
        places = f'{len(where)} of {len(cells)}' \
            if len(where) > 4 else ', '.join(sorted(where))
        names = sorted(tests)
        text = ', '.join(f'`{name}`' for name in names[:3])
        if len(names) > 3:
            text += f' and {len(names) - 3} more'
        yield f'| {state} | {why} | {text} | {places} |'


def text(cells):
    """Both tables."""
    lines = [HEAD, *map(row, cells)]
    others = list(reasons(cells))
    if others:
        lines += ['', REASONS, *others]
    return '\n'.join(lines) + '\n'
