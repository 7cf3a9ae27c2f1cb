# SPDX-License-Identifier: MIT
"""No declaration of the public headers has a name that a program may want.

usage: names_declarations.py LANGUAGE ALL_HEADERS PUBLIC_HEADER... -- CLANG...
"""

import re
import sys

from declarations import flatten, system_includes, top_level

ALLOWED = re.compile(
    r'(gpusvm_|GPUSVM_|drm_gpusvm(_|$)|__drm_gpusvm_|drm_pagemap'
    r'|DRM_INTERCONNECT_|drm_interconnect_)')
# Named by pointer only: a program may complete them as it likes, or libc does.
OPAQUE = {'device', 'drm_device', 'iovec', 'mm_struct', 'page', 'sigaction'}

SCOPES = ('RecordDecl', 'CXXRecordDecl', 'EnumDecl')


def names(nodes, language):
    """The names at file scope: in C, tags inside of a struct belong there."""
    found = set()
    for node in nodes:
        # Implicit ones are the compiler's built-in functions.
        if 'name' in node and not node.get('isImplicit'):
            found.add(node['name'])
        if node['kind'] == 'EnumDecl' or (
                node['kind'] in SCOPES and language == 'c'):
            found |= names((child for child in flatten(node)
                            if child['kind'] in SCOPES or
                            child['kind'] == 'EnumConstantDecl'), language)
    return found


def main():
    separator = sys.argv.index('--')
    language, all_headers, *headers = sys.argv[1:separator]
    command = sys.argv[separator + 1:]
    ours = (names(top_level(command, f'#include "{all_headers}"\n', language),
                  language) -
            names(top_level(command, system_includes(headers), language),
                  language))
    bad = sorted(name for name in ours
                 if not ALLOWED.match(name) and name not in OPAQUE)
    for name in bad:
        print(f'declaration without our prefix: {name}')
    print(f'{len(ours)} declarations')
    return bool(bad) or not ours


sys.exit(main())
