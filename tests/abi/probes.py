# SPDX-License-Identifier: MIT
"""Check that docs/tracing.md names the static probes of the library, and none
but them.

usage: probes.py LIBRARY DOCUMENT
"""

import re
import subprocess
import sys


def main():
    library, document = sys.argv[1:]
    notes = subprocess.run(['readelf', '-n', '-W', library],
                           stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    found = set(re.findall(r'Provider: gpusvm\s+Name: (\w+)', notes))
    with open(document, encoding='utf-8') as text:
        told = set(re.findall(r'^\| `(\w+)` \|', text.read(), re.MULTILINE))
    for name in sorted(found ^ told):
        print(f'{name}: only in', 'the library' if name in found else document)
    print(f'{len(found)} probes')
    return bool(found ^ told) or not found


sys.exit(main())
