#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the installed tests in a guest with a kernel and memory nodes of choice.

    run.py --build BUILD [--arch amd64] [--kernel 6.12] [--flavour NAME]
           [--topology 2c2m] [--user root]
           [--suite NAME]... [--test PATTERN]... [--jobs N] [--json FILE]
    run.py [--kernel ...] --wrap PROGRAM [ARGUMENT...]

The first form takes the build's tests that are installed programs (configure
with -Dinstall_tests=true), prints the result of each, and the sum in the last
line.  The second runs one program from where it is, and is for Meson's
exe_wrapper.  Both exit with 77 if there is no guest to be had here.

Kernels are kept in $GPUSVM_VM_CACHE, or in vm-kernels in the build folder; so
are the libraries for another architecture, where scripts/cross.sh puts them.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position
import guest
import kernels
import sysroot

SKIPPED = 77
# How much slower a guest is, without hardware's help; for limits of time.
SLOW = 10
# A guest that dies in the middle of a test is started again for the others.
BOOTS = 5
# Time for it to start, on a machine that has more to do.
START = 300

SCRIPT = '''
cd /tmp
echo @start
export GPUSVM_TEST_SLOW={slow} GPUSVM_STRESS_SECONDS={stress}
export LD_LIBRARY_PATH={libraries}
t() {{
    name=$1 limit=$2
    shift 2
    echo "@begin $name"
    timeout -s KILL "$limit" {user} "$@" >/log 2>&1 </dev/null
    status=$?
    tail -n 200 /log
    echo
    echo "@end $status"
}}
'''


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0])
    parser.add_argument('--build', help='a build with -Dinstall_tests=true')
    parser.add_argument('--kernel', default='6.12',
                        help='release prefix, "newest", or a file')
    parser.add_argument('--arch', default='amd64',
                        choices=sorted(guest.MACHINES))
    parser.add_argument('--flavour', help='of the kernel, as arm64-16k '
                        '(default: cloud-amd64 or cloud-arm64)')
    parser.add_argument('--topology', default='2c2m',
                        choices=sorted(guest.TOPOLOGIES))
    parser.add_argument('--user', default='root', choices=['root', 'nobody'])
    parser.add_argument('--suite', action='append', default=[])
    parser.add_argument('--no-suite', action='append', default=[])
    parser.add_argument('--test', action='append', default=[],
                        help='names, with * and ?')
    parser.add_argument('--jobs', type=int, default=len(
        os.sched_getaffinity(0)), help='guests at once')
    parser.add_argument('--megabytes', type=int, default=384,
                        help='memory of each node')
    parser.add_argument('--repeat', type=int, default=1,
                        help='each test so many times')
    parser.add_argument('--stress', type=int, default=4,
                        help='GPUSVM_STRESS_SECONDS')
    parser.add_argument('--limit', type=float, default=float('inf'),
                        help='seconds for all; what is left then has failed')
    parser.add_argument('--append', default='', help='for the kernel')
    parser.add_argument('--json', help='write the results there, too')
    parser.add_argument('--verbose', action='store_true',
                        help='the output of every test')
    parser.add_argument('--wrap', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    end = time.monotonic() + options.limit
    options.left = lambda: max(end - time.monotonic(), 1)
    if not options.build and not options.wrap:
        parser.error('--build or --wrap is needed')
    options.cache = os.environ.get('GPUSVM_VM_CACHE') or \
        os.path.join(options.build or '', 'vm-kernels')
    return options


def prepare(options):
    """The kernel to boot; completes the options."""
    options.machine = guest.MACHINES[options.arch]
    options.sysroot = None
    if options.arch != 'amd64':
        options.sysroot = sysroot.make(options.arch, options.cache)
    return kernels.find(options.kernel,
                        options.flavour or kernels.FLAVOURS[options.arch],
                        options.cache)


def become(user, archive):
    """Put what is needed to run a program as @user into the archive, and
    return the words to put in front of the program's."""
    if user == 'root':
        return []
    archive.program('bin/setpriv', archive.program_named('setpriv'))
    return ['/bin/setpriv', '--reuid=65534', '--regid=65534',
            '--clear-groups', '--inh-caps=-all', '--no-new-privs']


# ---- What to run ----

def introspect(build, what):
    output = subprocess.run(['meson', 'introspect', f'--{what}', build],
                            check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


class Test:
    """A test of the build whose files are where they are when installed.

    @place: from a file of the build, perhaps by a relative name, to that"""

    def __init__(self, test, place):
        suites = [suite.split(':')[-1] for suite in test['suite']]
        self.suite = suites[0] if suites else ''
        self.name = f"{self.suite}/{test['name']}"
        self.seconds = (test['timeout'] or 30) * SLOW
        environment = {key: value for key, value in test['env'].items()
                       if key.startswith('GPUSVM_')}
        command = test['cmd']
        # What that script does is simple, and there is no Python in there.
        script = [os.path.basename(word) for word in command[:2]]
        if script[1:] == ['run.py'] and self.suite == 'preload':
            if command[3] != '-':
                environment['LD_PRELOAD'] = place(command[3])
            command = command[4:]
        words = [place(word) or word for word in command]
        self.runs = bool(place(command[0]))
        self.command = ['env', *(f'{key}={value}' for key, value
                                 in environment.items()), *words]

    def line(self):
        return shlex.join(['t', self.name, str(self.seconds), *self.command])


def choose(options, installed):
    def wanted(test):
        return (test.runs and
                (not options.suite or test.suite in options.suite) and
                test.suite not in options.no_suite and
                (not options.test or any(
                    fnmatch.fnmatch(test.name.split('/')[1], pattern)
                    for pattern in options.test)))

    def place(word):
        return installed.get(os.path.join(os.path.abspath(options.build), word))

    tests = [Test(test, place)
             for test in introspect(options.build, 'tests')]
    chosen = [test for test in tests if wanted(test)]
    if not chosen:
        sys.exit('no such test among the installed programs of the build; '
                 'is it configured with -Dinstall_tests=true?')
    return chosen * options.repeat


class Tree:
    """What the guests have in common: the installed files."""

    def __init__(self, options, installed):
        self.options = options
        self.work = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.work.name)
        subprocess.run(['meson', 'install', '-C', options.build, '--no-rebuild',
                        '--destdir', str(root), '--tags', 'runtime,tests',
                        '--strip', '--quiet'], check=True,
                       stdout=subprocess.DEVNULL)
        self.files = sorted(path for path in root.rglob('*') if path.is_file())
        self.root = root
        self.libraries = sorted({str(path.parent) for path in self.files
                                 if '.so' in path.name})
        assert installed

    def initramfs(self, tests):
        archive = guest.Initramfs(self.options.machine, self.options.sysroot)
        for path in self.files:
            archive.program(path.relative_to(self.root), path, self.libraries)
        prefix = become(self.options.user, archive)
        inside = ':'.join('/' + str(pathlib.Path(path).relative_to(self.root))
                          for path in self.libraries)
        script = SCRIPT.format(slow=SLOW, stress=self.options.stress,
                               libraries=inside, user=shlex.join(prefix))
        archive.text('script', script + '\n'.join(
            test.line() for test in tests) + '\n')
        return archive


# ---- Running it ----

def reason(output, status):
    """Why, in a line."""
    if status == SKIPPED:
        for line in output:
            if line.lower().startswith('skip'):
                return line.split(':', 1)[-1].strip()
    # Of CMocka, and of tests that are processes.
    named = [re.split(r'[]:]', line)[1].split('(status')[0].strip()
             for line in output
             if line.startswith(('[  FAILED  ]', 'FAILED: '))
             and 'test(s)' not in line]
    if status in (124, 137, 143):
        return 'took too long'
    if named:
        return ', '.join(dict.fromkeys(named))
    lines = [line for line in output if line.strip()]
    return (lines[-1].strip() if lines else 'no output') + \
        f' (status {status})'


class Result:
    def __init__(self, test, status, output, seconds=0.0):
        self.test = test
        self.output = output
        self.seconds = seconds
        self.state = {0: 'passed', SKIPPED: 'skipped'}.get(status, 'failed')
        self.reason = '' if status == 0 else reason(output, status)

    def show(self, verbose):
        note = f': {self.reason}' if self.reason else ''
        print(f'{self.state}: {self.test.name} ({self.seconds:.1f} s){note}',
              flush=True)
        if verbose or self.state == 'failed':
            for line in self.output:
                print(f'    {line}')


class NoStart(Exception):
    """The guest died before the first test; the text is its last words."""


def boot(options, kernel, tree, tests):
    """Run the tests in a guest; yields a result each until it dies."""
    machine = guest.Guest(options.machine, kernel, tree.initramfs(tests),
                          options.topology, options.megabytes,
                          more=options.append)
    waiting = list(tests)
    output = None
    started = False
    said = []
    began = time.monotonic()
    longest = max(test.seconds for test in tests) + 60
    for line in machine.lines(min(longest, options.left()), START):
        if options.left() <= 1:
            print('no time is left', flush=True)
            break
        if line == '@start':
            started = True
        elif not started:
            said.append(line)
        elif line.startswith('@begin '):
            output = []
            began = time.monotonic()
        elif line.startswith('@end ') and output is not None:
            yield Result(waiting.pop(0), int(line.split()[1]), output,
                         time.monotonic() - began)
            output = None
        elif output is not None:
            output.append(line)
    if waiting and output is not None:
        lines = output + [*machine.last_words(), 'the guest died']
        yield Result(waiting[0], -1, lines, time.monotonic() - began)
    for line in machine.complaints()[:20]:
        print(f'kernel: {line}', flush=True)
    if not started:
        raise NoStart('\n'.join(said + machine.last_words()))


def run_in_guests(options, kernel, tree, tests):
    """All results of one share of the tests."""
    results = []
    why = 'the guest did not come so far'
    for _ in range(BOOTS):
        if options.left() <= 1:
            why = 'no time was left'
            break
        try:
            for result in boot(options, kernel, tree, tests[len(results):]):
                result.show(options.verbose)
                results.append(result)
        except NoStart as error:
            print(f'the guest did not start:\n{error}', flush=True)
            why = f'no start: {str(error).splitlines()[-1]}'
        if len(results) == len(tests):
            break
    for test in tests[len(results):]:
        result = Result(test, -1, [why])
        result.show(options.verbose)
        results.append(result)
    return results


def summary(results):
    sums = {state: sum(result.state == state for result in results)
            for state in ('passed', 'failed', 'skipped')}
    print(', '.join(f'{count} {state}' for state, count in sums.items()))
    return 1 if sums['failed'] else 0


def run_suite(options):
    installed = introspect(options.build, 'installed')
    tests = choose(options, installed)
    kernel = prepare(options)
    tree = Tree(options, installed)
    print(f'{kernel.name}, {options.topology}, {options.user}', flush=True)
    shares = [tests[i::options.jobs] for i in range(options.jobs)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(lambda share: run_in_guests(options, kernel, tree,
                                                    share),
                        filter(None, shares))
        results = [result for share in done for result in share]
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({
            'kernel': kernel.name.removeprefix('vmlinuz-'),
            'topology': options.topology,
            'user': options.user,
            'results': [[result.test.name, result.state, result.reason,
                         round(result.seconds, 1)] for result in results],
        }), encoding='utf-8')
    return summary(results)


# ---- One program ----

def run_wrapped(options):
    program = os.path.abspath(options.wrap[0])
    if pathlib.Path(program).read_bytes()[:4] != b'\x7fELF' or \
            'python' in os.path.basename(program):
        raise kernels.Unavailable(f'{program} cannot run in a guest')
    kernel = prepare(options)
    archive = guest.Initramfs(options.machine, options.sysroot)
    prefix = become(options.user, archive)
    for path in [program, *filter(os.path.isfile, options.wrap[1:])]:
        archive.program(path, path)
    environment = [f'{key}={value}' for key, value in os.environ.items()
                   if key.startswith('GPUSVM_')]
    command = shlex.join([*prefix, 'env', f'GPUSVM_TEST_SLOW={SLOW}',
                          *environment, program, *options.wrap[1:]])
    archive.text('script', f'cd /tmp\n{command}\necho "@end $?"\n')
    machine = guest.Guest(options.machine, kernel, archive, options.topology,
                          options.megabytes, more=options.append)
    for line in machine.lines(3600, START):
        if line.startswith('@end '):
            return int(line.split()[1])
        print(line)
    print('the guest died', *machine.last_words(), sep='\n')
    return 1


def main():
    options = arguments()
    try:
        return run_wrapped(options) if options.wrap else run_suite(options)
    except kernels.Unavailable as why:
        print(f'skip: kernel {options.kernel}, {options.topology}, '
              f'{options.user}: {why}')
        if not options.wrap:
            print('0 passed, 0 failed, 1 skipped')
        return SKIPPED


if __name__ == '__main__':
    sys.exit(main())
