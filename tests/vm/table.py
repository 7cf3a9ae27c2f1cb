#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print results that run.py wrote as JSON, as tables in Markdown.

usage: table.py FILE...
"""

import collections
import json
import pathlib
import re
import sys


def short(reason):
    """A reason without what differs from run to run, fit for a table."""
    reason = re.sub(r'0x[0-9a-f]+', '...', reason.strip() or '-')
    return reason.replace('|', '/')[:110]


def version(run):
    return [int(n) for n in re.findall(r'\d+', run['kernel'])]


def main():
    runs = [json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
            for path in sys.argv[1:]]
    runs.sort(key=lambda run: (version(run), run['user'] != 'root',
                               run['topology']))
    print('| kernel | topology | user | passed | failed | skipped |')
    print('| --- | --- | --- | --- | --- | --- |')
    others = collections.defaultdict(lambda: collections.defaultdict(set))
    for run in runs:
        count = collections.Counter(state for _, state, _ in run['results'])
        kernel = re.match(r'[\d.]+', run['kernel']).group()
        print(f"| {kernel} | {run['topology']} | {run['user']} | "
              f"{count['passed']} | {count['failed']} | {count['skipped']} |")
        for name, state, why in run['results']:
            if state != 'passed':
                where = f"{kernel} {run['topology']} {run['user']}"
                others[state, short(why)][name].add(where)
    print()
    print('| | why | tests | where |')
    print('| --- | --- | --- | --- |')
    for (state, why), tests in sorted(others.items()):
        where = set().union(*tests.values())
        places = f'{len(where)} of {len(runs)}' \
            if len(where) > 4 else ', '.join(sorted(where))
        names = sorted(tests)
        text = ', '.join(f'`{name}`' for name in names[:3])
        if len(names) > 3:
            text += f' and {len(names) - 3} more'
        print(f'| {state} | {why} | {text} | {places} |')


main()
