# SPDX-License-Identifier: MIT
"""What a compiler sees in the public headers; shared by the tests here."""

import json
import re
import subprocess
import sys

SKIP = 77


def compile_output(command, source, *flags):
    """Run a compiler on a source text and return what it prints."""
    result = subprocess.run([*command, *flags, '-'], input=source,
                            stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout


def system_includes(headers):
    """The lines by which our headers include other people's."""
    lines = set()
    for path in headers:
        with open(path, encoding='utf-8') as header:
            for line in header:
                found = re.match(r'#\s*include\s*<(?!drm/|gpusvm/)', line)
                if found:
                    lines.add(line)
    return ''.join(sorted(lines))


def top_level(command, source, language='c'):
    """The declarations of a source text at file scope, from clang."""
    if not command or not command[0].endswith('clang'):
        print('skip: clang is not installed')
        sys.exit(SKIP)
    tree = json.loads(compile_output(
        command, source, '-fsyntax-only', '-Xclang', '-ast-dump=json',
        '-x', language))
    return list(flatten(tree))


def flatten(node):
    """Look through extern "C"."""
    for child in node.get('inner', []):
        if child['kind'] == 'LinkageSpecDecl':
            yield from flatten(child)
        else:
            yield child


def fields_of(record):
    """The names of a record's fields, those of nested ones as a.b."""
    nested = []
    for child in record.get('inner', []):
        if child['kind'] in ('RecordDecl', 'CXXRecordDecl'):
            nested = [] if 'name' in child else list(fields_of(child))
        elif child['kind'] == 'FieldDecl':
            name = child.get('name')
            if name:
                yield name
            if re.search(r'\((unnamed|anonymous)', child['type']['qualType']):
                for inner in nested:
                    yield name + '.' + inner if name else inner
            nested = []
