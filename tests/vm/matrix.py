#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the tests in guests, kernel by kernel, topology by topology, as root and
as a user without privilege, and print the table that docs/kernels.md carries.

A result is kept in the build folder and taken as long as nothing has been built
since, so what was interrupted goes on where it was.  Progress goes to stderr.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position
import guest
import table

SKIPPED = 77
ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/kernels.md'
BEGIN = '<!-- scripts/vm-matrix.sh: begin -->\n'
END = '<!-- scripts/vm-matrix.sh: end -->\n'

# Of the kernel, for arm64; what there is for that.
FLAVOUR = os.environ.get('FLAVOUR')
KERNELS = '6.12' if FLAVOUR else '5.10 6.1 6.12 6.16 6.18 7.3'
TOPOLOGIES = '2c2m 1 1c1m 4c far' + ('' if FLAVOUR else ' hmat')

# On this one everything runs; on the others what looks at nodes.
WHOLE = '2c2m'


def words(name, default):
    return os.environ.get(name, default).split()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', required=True,
                        help='a build with -Dinstall_tests=true')
    parser.add_argument('--jobs', type=int, help='cells at once', default=int(
        os.environ.get('JOBS') or len(os.sched_getaffinity(0))))
    parser.add_argument('--again', action='store_true',
                        help='run what has a result, too')
    parser.add_argument('--keep', action='store_true',
                        help='take results of older builds, too')
    parser.add_argument('--no-run', action='store_true',
                        help='only say what results there are')
    parser.add_argument('--update', action='store_true',
                        help='write the table to docs/kernels.md')
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def built(build):
    """When the last of what is run was built."""
    output = subprocess.run(['meson', 'introspect', '--installed', build],
                            check=True, stdout=subprocess.PIPE).stdout
    return max(os.path.getmtime(path) for path in json.loads(output)
               if os.path.isfile(path) and path.startswith(
                   os.path.abspath(build)))


class Cell:
    """Of the matrix; its result and its log are files in @folder."""

    def __init__(self, kernel, topology, user, folder):
        self.kernel = kernel
        self.topology = topology
        self.user = user
        self.suites = 'all but stress' if topology == WHOLE else 'numa, vm'
        self.name = f'{kernel}, {topology}, {user}'
        self.path = folder / '-'.join(
            (kernel, *filter(None, [FLAVOUR]), topology, f'{user}.json'))
        self.log = self.path.with_suffix('.log')

    def order(self):
        """What tells most comes first."""
        return self.topology != WHOLE, self.user != 'root'

    def result(self, since=0.0):
        """Of an earlier run, if there is one that is not older than that."""
        try:
            if self.path.stat().st_mtime < since:
                return None
            return self.complete(json.loads(self.path.read_text()))
        except (FileNotFoundError, ValueError):
            return None

    def complete(self, found):
        return {'kernel': self.kernel, 'topology': self.topology,
                'user': self.user, 'suites': self.suites, **found}

    def without_results(self, state, reason):
        return self.complete({'state': state, 'reason': reason})

    def run(self, build):
        chosen = ['--no-suite', 'stress'] if self.topology == WHOLE else \
            ['--suite', 'numa', '--suite', 'vm']
        if FLAVOUR:
            chosen += ['--arch', 'arm64', '--flavour', FLAVOUR]
        self.path.unlink(missing_ok=True)
        with open(self.log, 'w', encoding='utf-8') as log:
            status = subprocess.run(
                [*guest.mortal(), sys.executable, '-B',
                 ROOT / 'tests/vm/run.py',
                 '--build', build, '--kernel', self.kernel,
                 '--topology', self.topology, '--user', self.user,
                 '--jobs', '1', '--stress', '2', '--json', self.path, *chosen],
                check=False, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT).returncode
        return self.result() or self.explained(status)

    def explained(self, status):
        """No result: it could not be had here, or the runner failed."""
        said = self.log.read_text(encoding='utf-8', errors='replace')
        found = re.search(r'^skip: .*?: (.*)$', said, re.MULTILINE)
        if status == SKIPPED and found:
            return self.without_results('skipped', found.group(1))
        lines = said.strip().splitlines() or ['no output']
        return self.without_results('failed', lines[-1])


def sums(result):
    if 'results' not in result:
        return f"{result['state']}: {result['reason']}"
    states = [test[1] for test in result['results']]
    return ', '.join(f'{states.count(state)} {state}'
                     for state in ('passed', 'failed', 'skipped'))


def take(cell, options, since):
    """Its result, from a run unless there is one."""
    result = None if options.again else cell.result(since)
    if result or options.no_run:
        return result or cell.without_results('skipped', 'has not been run')
    began = time.monotonic()
    result = cell.run(options.build)
    seconds = int(time.monotonic() - began)
    say(f'{cell.name}: {sums(result)} '
        f'({seconds // 60}:{seconds % 60:02}; {cell.log})')
    return result


def update(text):
    """Between the marks of the page."""
    page = PAGE.read_text(encoding='utf-8')
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f'{before}{BEGIN}{text}{END}{after}', encoding='utf-8')


def failed(result):
    return result.get('state') == 'failed' or any(
        test[1] == 'failed' for test in result.get('results', ()))


def main():
    options = arguments()
    if options.update and any(name in os.environ for name in (
            'FLAVOUR', 'KERNELS', 'TOPOLOGIES', 'USERS')):
        sys.exit('--update is for the whole matrix')
    folder = pathlib.Path(options.build, 'vm-matrix')
    folder.mkdir(exist_ok=True)
    cells = [Cell(kernel, topology, user, folder)
             for kernel in words('KERNELS', KERNELS)
             for topology in words('TOPOLOGIES', TOPOLOGIES)
             for user in words('USERS', 'root nobody')]
    since = 0.0 if options.keep else built(options.build)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {cell: pool.submit(take, cell, options, since)
                   for cell in sorted(cells, key=Cell.order)}
        results = [running[cell].result() for cell in cells]
    text = table.text(results)
    sys.stdout.write(text)
    if options.update:
        update(text)
    return 1 if any(map(failed, results)) else 0


if __name__ == '__main__':
    sys.exit(main())
