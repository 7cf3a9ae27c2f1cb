# SPDX-License-Identifier: MIT
"""No macro of the public headers has a name that a program may want.

usage: names_macros.py ALL_HEADERS PUBLIC_HEADER... -- COMPILER...
"""

import re
import sys

from declarations import compile_output, system_includes

ALLOWED = re.compile(
    r'(gpusvm_|GPUSVM_|drm_gpusvm_|__DRM_GPUSVM_H__$|_DRM_PAGEMAP_H_$)')


def macros(command, source):
    names = set()
    for line in compile_output(command, source, '-E', '-dM',
                               '-x', 'c').splitlines():
        names.add(re.match(r'#define (\w+)', line).group(1))
    return names


def main():
    separator = sys.argv.index('--')
    all_headers, *headers = sys.argv[1:separator]
    command = sys.argv[separator + 1:]
    ours = (macros(command, f'#include "{all_headers}"\n') -
            macros(command, system_includes(headers)))
    bad = sorted(name for name in ours if not ALLOWED.match(name))
    for name in bad:
        print(f'macro without our prefix: {name}')
    print(f'{len(ours)} macros')
    return bool(bad) or not ours


sys.exit(main())
