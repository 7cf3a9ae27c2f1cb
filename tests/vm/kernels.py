# SPDX-License-Identifier: MIT
"""Kernels to boot, and what to build with for another architecture: Debian's
packages, taken by apt from the archive that this machine uses, unpacked into a
cache and never installed."""

import contextlib
import fcntl
import pathlib
import re
import shutil
import subprocess
import tempfile

# The flavour of each architecture that boots fastest.
FLAVOURS = {'amd64': 'cloud-amd64', 'arm64': 'cloud-arm64'}
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
NEWEST = 'newest'


class Unavailable(Exception):
    """What is needed cannot be had here; the text says what and why."""


def suites(release):
    """Where Debian has a kernel of that release, most likely first."""
    known = {
        '5.10': ['bullseye'],
        '6.1': ['bookworm'],
        '6.12': ['bookworm', 'bookworm-backports', 'trixie'],
    }
    return known.get(release, ['trixie-backports', 'sid'])


def run(command, **options):
    try:
        return subprocess.run(command, check=True, text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              **options).stdout
    except FileNotFoundError:
        raise Unavailable(f'{command[0]} is missing') from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ['no message']
        raise Unavailable(f'{command[0]} failed: {lines[-1]}') from None


def numbers(text):
    """What versions are ordered by."""
    return [int(n) for n in re.findall(r'\d+', text)]


def archives():
    """Addresses of the archive, and of security updates if there are any."""
    found = run(['apt-get', 'indextargets', '--format', '$(REPO_URI)',
                 'Created-By: Packages']).split()
    main = [uri for uri in found if re.search(r'/debian/?$', uri)]
    security = [uri for uri in found if re.search(r'/debian-security/?$', uri)]
    if not main:
        raise Unavailable("no Debian archive among this machine's apt sources")
    return main[0], security[:1]


class Apt:
    """apt with a state of its own, for one suite and architecture; @sources:
    for sources, too."""

    def __init__(self, suite, folder, arch, sources=False):
        name = suite + f'-{arch}' * (arch != 'amd64') + '-src' * sources
        self.folder = folder / name
        for part in ('lists/partial', 'cache/archives/partial', 'parts'):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        main, security = archives()
        lines = [f'deb [arch={arch} signed-by={KEYRING}] {main} {suite} main']
        if '-' not in suite and suite != 'sid':
            lines += [f'deb [arch={arch} signed-by={KEYRING}] {uri} '
                      f'{suite}-security main' for uri in security]
        # Without a name of architecture: sources have none.
        lines += [f'deb-src [signed-by={KEYRING}] {main} {suite} main'] \
            if sources else []
        (self.folder / 'sources.list').write_text('\n'.join(lines) + '\n')
        settings = {
            'Dir::State::lists': self.folder / 'lists',
            'Dir::State::status': '/dev/null',
            'Dir::Cache': self.folder / 'cache',
            'Dir::Etc::sourcelist': self.folder / 'sources.list',
            'Dir::Etc::sourceparts': self.folder / 'parts',
            'Dir::Etc::preferencesparts': self.folder / 'parts',
            'APT::Sandbox::User': 'root',
            'APT::Architecture': arch,
            'APT::Architectures': arch,
        }
        self.options = ['-qq']
        for name, value in settings.items():
            self.options += ['-o', f'{name}={value}']
        if not list((self.folder / 'lists').glob('*Packages*')):
            self.update()

    def update(self):
        self.call('apt-get', 'update')

    def call(self, program, *arguments, **options):
        return run([program, *self.options, *arguments], **options)

    def images(self, release, flavour):
        """Names of the packages with a kernel of that release, in order."""
        prefix = '[0-9]' if release == NEWEST else re.escape(release) + '[^0-9]'
        pattern = f'^linux-image-{prefix}.*[0-9]-{flavour}$'
        lines = self.call('apt-cache', 'search', '--names-only', pattern)
        return sorted((line.split()[0] for line in lines.splitlines()),
                      key=numbers)

    def has(self, package):
        try:
            return bool(self.call('apt-cache', 'show', package))
        except Unavailable:
            return False


def unpack(apt, image, folder):
    """All packages of a kernel, in a folder named after its version."""
    version = image.removeprefix('linux-image-')
    parts = [image] + [name for name in (f'linux-binary-{version}',
                                         f'linux-modules-{version}')
                       if apt.has(name)]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for package in parts:
            apt.call('apt-get', 'download', package, cwd=work)
        root = pathlib.Path(work, 'root')
        for deb in pathlib.Path(work).glob('*.deb'):
            run(['dpkg', '-x', str(deb), str(root)])
        images = [*root.glob('boot/vmlinuz-*'),
                  *root.glob('usr/lib/modules/*/vmlinuz')]
        if not images:
            raise Unavailable(f'{image} has no kernel in it')
        shutil.move(images[0], folder / f'vmlinuz-{version}')


def cached(release, flavour, folder):
    """The newest kernel of that release in the cache, or None."""
    prefix = r'\d' if release == NEWEST else re.escape(release) + r'(?!\d)'
    found = [path for path in folder.glob('vmlinuz-*')
             if re.fullmatch(fr'vmlinuz-(?={prefix}).*\d-{flavour}', path.name)]
    return max(found, key=lambda path: numbers(path.name), default=None)


@contextlib.contextmanager
def locked(folder):
    """Two at once would download the same."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(release, flavour, folder):
    reason = Unavailable(f'no kernel {release} in '
                         f'{", ".join(suites(release))}')
    for suite in suites(release):
        apt = Apt(suite, folder / 'apt',
                  'arm64' if 'arm64' in flavour else 'amd64')
        for attempt in ('lists as they are', 'new lists'):
            if attempt == 'new lists':
                apt.update()
            # A package may be there in name only, or not any more.
            for image in reversed(apt.images(release, flavour)[-3:]):
                try:
                    unpack(apt, image, folder)
                    return
                except Unavailable as error:
                    reason = error
    raise reason


def find(release, flavour, folder):
    """The file of a kernel: a path as given, or a release such as 6.12.

    NEWEST is the newest in the cache as soon as something has put it there, so
    that runs with the same cache boot the same.
    """
    if '/' in release:
        path = pathlib.Path(release)
        if not path.is_file():
            raise Unavailable(f'{release} is not a file')
        return path
    folder = pathlib.Path(folder).resolve()
    with locked(folder):
        marker = folder / ('newest' if flavour == FLAVOURS['amd64'] else
                           f'newest-{flavour}')
        if release == NEWEST and marker.exists():
            return folder / marker.read_text(encoding='ascii')
        path = None if release == NEWEST else cached(release, flavour, folder)
        if not path:
            fetch(release, flavour, folder)
            path = cached(release, flavour, folder)
        if release == NEWEST:
            marker.write_text(path.name, encoding='ascii')
        return path
