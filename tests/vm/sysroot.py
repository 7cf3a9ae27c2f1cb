#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What to build with for another architecture or libc, and to run in guests.

usage: sysroot.py arm64|musl FOLDER

Makes FOLDER/sysroot-arm64 or -musl unless it is there, and prints its path.  For
arm64 headers and libraries of Debian's packages are unpacked there; for musl the
libraries are built of Debian's sources, and the headers that do not depend on
libc are this machine's.  Exits with 77 if it cannot be had here.
"""

import os
import pathlib
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position
import kernels

# The compiler is the machine's own, so these are of the same release.  The last
# line is for guests.
PACKAGES = '''
    libc6 libc6-dev linux-libc-dev libcrypt-dev libgcc-s1
    libcmocka0 libcmocka-dev
    libbsd-dev libmd-dev liburing2 liburing-dev systemtap-sdt-dev
    busybox-static util-linux libcap-ng0
'''.split()

# Those that the library and its tests include without a library of their own.
HEADERS = '''
    linux asm asm-generic bsd sys/sdt.h sys/sdt-config.h
'''.split()


def release():
    """The code name of the Debian release that this machine runs."""
    text = pathlib.Path('/etc/os-release').read_text(encoding='utf-8')
    for line in text.splitlines():
        if line.startswith('VERSION_CODENAME='):
            return line.split('=')[1].strip('"')
    raise kernels.Unavailable('not a release of Debian')


def unpack(apt, root):
    """Debian's own libraries of another architecture."""
    with tempfile.TemporaryDirectory() as work:
        apt.call('apt-get', 'download', *PACKAGES, cwd=work)
        for deb in sorted(pathlib.Path(work).glob('*.deb')):
            kernels.run(['dpkg', '-x', str(deb), str(root)])


def copy_headers(to):
    """What Linux and header-only libraries declare is the same for every
    libc, but must not bring the others of its folder along."""
    for path in HEADERS:
        found = [folder / path for folder in (
            pathlib.Path('/usr/include'),
            *pathlib.Path('/usr/include').glob('*-linux-gnu'))
            if (folder / path).exists()]
        if not found:
            raise kernels.Unavailable(f'no <{path}> on this machine')
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if found[0].is_dir() else shutil.copy
        copy(found[0], target)


def describe_libbsd(root):
    """Of it there are headers only."""
    file = root / 'lib/pkgconfig/libbsd.pc'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('includedir=${pcfiledir}/../../include\n'
                    'Name: libbsd\nDescription: headers of libbsd\n'
                    'Version: 0\nCflags: -I${includedir}\n',
                    encoding='ascii')


def build_cmocka(source, root, include):
    """The static library."""
    build = source / 'build'
    kernels.run(['cmake', '-S', str(source), '-B', str(build),
                 '-DCMAKE_C_COMPILER=musl-gcc', '-DCMAKE_BUILD_TYPE=Release',
                 f'-DCMAKE_C_FLAGS=-idirafter {include}',
                 f'-DCMAKE_INSTALL_PREFIX={root}',
                 '-DCMAKE_INSTALL_LIBDIR=lib', '-DBUILD_SHARED_LIBS=OFF',
                 '-DWITH_EXAMPLES=OFF'])
    kernels.run(['cmake', '--build', str(build), '--target', 'install'])


def build_liburing(source, root, include):
    """The static library, fit for a shared one."""
    kernels.run(['./configure', f'--cc=musl-gcc -fPIC -idirafter {include}',
                 f'--prefix={root}', f'--libdir={root}/lib',
                 f'--includedir={root}/include'], cwd=source)
    kernels.run(['make', 'install', 'ENABLE_SHARED=0'], cwd=source)


def build(apt, root):
    """The libraries for musl, at the place where they will be."""
    copy_headers(root / 'include')
    describe_libbsd(root)
    with tempfile.TemporaryDirectory() as work:
        for name, make_it in (('cmocka', build_cmocka),
                              ('liburing', build_liburing)):
            apt.call('apt-get', 'source', '--download-only', name, cwd=work)
            dsc = next(pathlib.Path(work).glob(f'{name}_*.dsc'))
            source = pathlib.Path(work, name)
            kernels.run(['dpkg-source', '--no-check', '-x', str(dsc),
                         str(source)])
            make_it(source, root, root / 'include')


def make(kind, folder):
    """The folder of the sysroot, which is made unless it is there."""
    folder = pathlib.Path(folder).resolve()
    root = folder / f'sysroot-{kind}'
    done = folder / f'sysroot-{kind}.done'
    arch = 'amd64' if kind == 'musl' else kind
    fill = build if kind == 'musl' else unpack
    with kernels.locked(folder):
        if done.exists() and root.is_dir():
            return root
        apt = kernels.Apt(release(), folder / 'apt', arch,
                          sources=kind == 'musl')
        for attempt in ('lists as they are', 'new lists'):
            shutil.rmtree(root, ignore_errors=True)
            try:
                # They may tell of what is not there any more.
                if attempt == 'new lists':
                    apt.update()
                fill(apt, root)
                break
            except kernels.Unavailable:
                if attempt == 'new lists':
                    raise
        done.touch()
    return root


def main():
    try:
        print(make(sys.argv[1], sys.argv[2]))
        return 0
    except kernels.Unavailable as why:
        print(f'skip: sysroot for {sys.argv[1]}: {why}', file=sys.stderr)
        return 77


if __name__ == '__main__':
    sys.exit(main())
