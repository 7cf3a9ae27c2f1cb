# SPDX-License-Identifier: MIT
"""Headers, version script and library agree about what is exported.

Also, the static library has no global symbol without our prefix: linked
statically, we share one name space with the whole program.

usage: exports.py ALL_HEADERS MAP SHARED_LIBRARY STATIC_LIBRARY -- COMPILER...
"""

import re
import subprocess
import sys

from declarations import compile_output

EXPORTED = '__attribute__((visibility("default")))'
PREFIXES = ('gpusvm_', 'drm_gpusvm_')
# What sanitizers, coverage and <sys/sdt.h> add.
INSTRUMENTATION = re.compile(
    r'__(odr_asan|asan|tsan|ubsan|llvm|gcov|sancov)|_\.stapsdt\.base$')


def declared(all_headers, command):
    text = compile_output(command, f'#include "{all_headers}"\n', '-E', '-P',
                          '-x', 'c')
    parts = text.split(EXPORTED)[1:]
    return [re.match(r'[^(]*?(\w+)\s*\(', part).group(1) for part in parts]


def in_map(path):
    with open(path, encoding='utf-8') as file:
        text = re.sub(r'/\*.*?\*/', '', file.read(), flags=re.DOTALL)
    names = []
    for node in re.findall(r'global:(.*?)(?:local:|\})', text, re.DOTALL):
        names.append(re.findall(r'([^\s;]+);', node))
    return names


def symbols(path, *flags):
    output = subprocess.run(['nm', '--defined-only', *flags, path],
                            stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    found = set()
    for line in output.splitlines():
        words = line.split()
        # A is the version node itself.
        if len(words) == 3 and words[1] != 'A':
            found.add(words[2].split('@')[0])
    return found


def compare(what, names, expected):
    failed = False
    for name in sorted(set(names) - set(expected)):
        print(f'{name} is {what} but not declared GPUSVM_API')
        failed = True
    for name in sorted(set(expected) - set(names)):
        print(f'{name} is declared GPUSVM_API but not {what}')
        failed = True
    return failed


def main():
    separator = sys.argv.index('--')
    all_headers, map_file, shared, static = sys.argv[1:separator]
    expected = declared(all_headers, sys.argv[separator + 1:])
    nodes = in_map(map_file)
    failed = not expected

    failed |= compare('in the version script', sum(nodes, []), expected)
    for node in nodes:
        if node != sorted(set(node)):
            print('a node of the version script is not sorted')
            failed = True
    failed |= compare('exported', symbols(shared, '-D'), expected)
    for name in sorted(symbols(static, '-g')):
        if not name.startswith(PREFIXES) and not INSTRUMENTATION.match(name):
            print(f'{name} is global in the static library')
            failed = True
    print(f'{len(expected)} functions')
    return failed


sys.exit(main())
