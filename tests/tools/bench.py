#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs gpusvm-bench and checks what it prints: not how fast anything is.

usage: bench.py CASE TOOL VERSION
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

CASE, TOOL, VERSION = sys.argv[1:]

NOBODY = 65534
SKIPPED = 77

QUICK = '''roundtrip_2m_4k_memcpy roundtrip_2m_4k_best roundtrip_2m_thp_memcpy
    roundtrip_2m_thp_best roundtrip_2m_wp cpufault_4k cpufault_4k_in_thread
    cpufault_64k cpufault_2m cpufault_2m_best cpufault_any_cpu devfault_2m
    idle_touch idle_run munmap_unmirrored uring_2m uring_2m_cpu parallel_faults
    parallel_faults_in_thread batch_64k bound_cpufault_any_cpu bound_uring_2m
    bound_uring_2m_cpu bound_parallel_faults bound_roundtrip_2m_4k
    bound_roundtrip_2m_thp
    bound_roundtrip_2m_4k_best bound_roundtrip_2m_thp_best
    bound_roundtrip_2m_wp bound_cpufault_4k bound_cpufault_64k'''.split()
# A million ranges take a while to make.
LARGE = ['devfault_4k_hit', 'invalidate_1_of_1e6']

LINE = re.compile(r'(?P<name>\w+) ratio=(?P<ratio>[0-9.]+) '
                  r'p10=(?P<p10>[0-9.]+) p90=(?P<p90>[0-9.]+) '
                  r'ours=(?P<ours>[-+0-9.e]+) base=(?P<base>[-+0-9.e]+) '
                  r'unit=(?P<unit>\S+) '
                  r'baseline=(?P<baseline>.+) \((same CPU|unpinned)\)')
NO_LINE = re.compile(r'(\w+) skipped=(.+)')


def skip(reason):
    print('skip:', reason)
    sys.exit(SKIPPED)


def check(condition, *text):
    if not condition:
        print('FAILED:', *text)
        sys.exit(1)


def run(*args, status=0, before=()):
    result = subprocess.run([*before, TOOL, *args], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    print('$', *args, '\n' + result.stdout + result.stderr)
    check(result.returncode == status, 'exit status', result.returncode)
    return result


def listed():
    lines = run('--list').stdout.splitlines()
    return [line.split(':')[0] for line in lines]


def check_numbers(numbers, name):
    low, ratio, high = (float(numbers[key]) for key in ('p10', 'ratio', 'p90'))
    check(0 <= low <= ratio <= high, name, 'percentiles')
    check(float(numbers['ours']) > 0 and float(numbers['base']) > 0, name,
          'values')


def check_lines(names, *args, **kwargs):
    """One line for each, in order; returns how many were measured."""
    lines = run('--seconds', '0', *args, *names, **kwargs).stdout.splitlines()
    check(len(lines) == len(names), 'a line for each measure')
    measured = 0
    for name, line in zip(names, lines):
        match = LINE.fullmatch(line)
        if match:
            check(match['name'] == name, 'order')
            check_numbers(match, name)
            measured += 1
        else:
            match = NO_LINE.fullmatch(line)
            check(match and match[1] == name, 'line', line)
    return measured


def case_list():
    check(sorted(listed()) == sorted(QUICK + LARGE), 'names')
    for line in run('--list').stdout.splitlines():
        check(re.search(r' is better; against: .+ \((same CPU|unpinned)\)$'
                        if line.startswith('bound_') else
                        r'(higher is better, to reach: ratio >=|'
                        r'lower is better, to reach: ratio <=) [0-9.]+; '
                        r'against: .+ \((same CPU|unpinned)\)$', line), line)
    check(run('--list', 'idle_run').stdout.startswith('idle_run: '), 'one')


def case_usage():
    for args in (['--nonsense'], ['no_such_measure'], ['--seconds'],
                 ['--seconds', 'long'], ['--seconds', '-1'],
                 ['--seconds', 'nan'], ['--seconds', '1e9'],
                 ['idle_run', 'no_such_measure']):
        result = run(*args, status=2)
        check(not result.stdout and result.stderr, 'message on stderr')
    check(run('--help').stdout.startswith('usage: gpusvm-bench'), 'help')
    check(run('--version').stdout == 'gpusvm-bench %s\n' % VERSION, 'version')


def case_lines():
    order = [name for name in listed() if name in QUICK]
    if not check_lines(order):
        skip('nothing can be measured here')


def case_large():
    order = [name for name in listed() if name in LARGE]
    if not check_lines(order):
        skip('nothing can be measured here')


def case_json():
    names = ['cpufault_4k', 'idle_run', 'uring_2m', 'bound_cpufault_4k']
    report = json.loads(run('--json', '--seconds', '0.01', *names).stdout)
    check(report['format'] == 1 and report['version'] == VERSION, 'head')
    check(report['cpus'] >= 1 and report['seconds'] == 0.01, 'head')
    check([m['name'] for m in report['measures']] == names, 'names')
    for measure in report['measures']:
        check(measure['better'] in ('higher', 'lower')
              and (measure['reach'] is None or measure['reach'] > 0)
              and measure['placement'] in ('same CPU', 'unpinned')
              and measure['what'] and measure['baseline'] and measure['unit'],
              'words')
        check(measure['failed'] is None, measure['failed'])
        check((measure['skipped'] is None) == ('ratio' in measure), 'skipped')
        if 'ratio' in measure:
            check(measure['rounds'] >= 9, 'rounds')
            check_numbers(measure, measure['name'])


def case_unprivileged():
    """As nobody: measured or skipped, but nothing fails."""
    if os.geteuid() or not shutil.which('setpriv'):
        skip('needs root and setpriv')
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        # The build folder may be closed to others: the library, too.
        tool = shutil.copy(TOOL, folder)
        ldd = subprocess.run(['ldd', TOOL], stdout=subprocess.PIPE, text=True,
                             check=False)
        if ldd.returncode:
            skip("ldd knows nothing of this program's libc")
        for line in ldd.stdout.splitlines():
            match = re.search(r'=> (\S*libgpusvm\S*)', line)
            if match:
                shutil.copy(match[1], folder)
        result = subprocess.run(
            ['setpriv', '--reuid', str(NOBODY), '--regid', str(NOBODY),
             '--clear-groups', tool, '--seconds', '0', *QUICK],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, 'LD_LIBRARY_PATH': folder})
    print(result.stdout)
    check(result.returncode == 0, 'exit status', result.returncode)
    check(len(result.stdout.splitlines()) == len(QUICK), 'lines')


globals()['case_' + CASE]()
