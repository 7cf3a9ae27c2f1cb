# SPDX-License-Identifier: MIT
"""Check that layout.c has every public type, field and enumerator.

usage: layout_complete.py PROGRAM HEADER -- COMPILER...
"""

import subprocess
import sys

from declarations import fields_of, top_level


def wanted(header, command):
    """What the table must have; the kernel's types have the kernel's names."""
    seen_ours = False
    for node in top_level(command, f'#include "{header}"\n'):
        name = node.get('name', '')
        # Everything after the first declaration of kernel.h is ours.
        seen_ours = seen_ours or name == 'drm_device' or name == 'device'
        # All of ours have names; some of libc's do not.
        if not seen_ours or not name:
            continue
        if node['kind'] == 'RecordDecl' and node.get('completeDefinition'):
            yield f'struct {name}'
            for field in fields_of(node):
                yield f'struct {name}.{field}'
        elif node['kind'] == 'EnumDecl':
            for child in node.get('inner', []):
                if child['kind'] == 'EnumConstantDecl':
                    yield child['name']


def labels(program):
    """The first column; a type's name has a blank in it."""
    output = subprocess.run([program], stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    for line in output.splitlines():
        words = line.split()
        yield ' '.join(words[:2] if words[0] == 'struct' else words[:1])


def main():
    separator = sys.argv.index('--')
    program, header = sys.argv[1:separator]
    names = list(wanted(header, sys.argv[separator + 1:]))
    missing = [name for name in names if name not in set(labels(program))]
    for name in missing:
        print(f'layout.c lacks {name}')
    print(f'{len(names)} names')
    return bool(missing) or not names


sys.exit(main())
