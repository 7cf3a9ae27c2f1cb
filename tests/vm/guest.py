# SPDX-License-Identifier: MIT
"""A guest under QEMU: its memory nodes, what is in it, and what it says.

The initramfs has busybox, the programs and the shared libraries that they need.
Its init runs a script and writes what that says to a terminal of its own, line
by line; another one is the kernel's console.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import threading

from kernels import Unavailable, run

@dataclasses.dataclass
class Machine:
    """What QEMU runs for an architecture.

    @board: a plain one
    @hmat: the board that tells how fast nodes are; None if there is none
    @terminals: arguments for a terminal that is QEMU's output
    @output: that terminal in the guest
    """
    qemu: str
    board: str
    hmat: str
    cpu: str
    terminals: list
    output: str
    append: str


# On arm64 without firmware, which would make one node of all; its machine has
# one serial port.
MACHINES = {
    'amd64': Machine(
        # Without "fast" instructions for strings, which QEMU does byte by byte:
        # pages are cleared and copied in half the time.
        'qemu-system-x86_64', 'pc', 'pc,hmat=on', 'max,-erms',
        ['-serial', 'stdio'], 'ttyS1', 'console=ttyS0 tsc=reliable no_timer_check'),
    'arm64': Machine(
        'qemu-system-aarch64', 'virt', None, 'max,pauth-impdef=on',
        ['-device', 'virtio-serial-pci',
         '-chardev', 'stdio,id=output,signal=off',
         '-device', 'virtconsole,chardev=output'],
        'hvc0', 'console=ttyAMA0'),
}

INIT = '''#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/tmp
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /dev/shm
# Not a file system of its own: programs may be below it.
chmod 1777 /tmp
ip link set lo up
# What differs from kernel to kernel otherwise.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
echo 0 >/proc/sys/kernel/numa_balancing
stty -F /dev/OUTPUT raw -echo
sh /script </dev/null >/dev/OUTPUT 2>&1
sync
poweroff -f
'''


def cpus(*nodes):
    """Arguments for nodes that each are 'cpu' or 'memory'."""
    arguments = []
    count = 0
    for number, kind in enumerate(nodes):
        node = f'node,nodeid={number},memdev=m{number}'
        if kind == 'cpu':
            node += f',cpus={count}'
            count += 1
        arguments += ['-numa', node]
    return count, arguments


def distances(table):
    arguments = []
    for source, row in enumerate(table):
        for target, value in enumerate(row):
            if source != target:
                arguments += ['-numa', f'dist,src={source},dst={target},'
                                       f'val={value}']
    return arguments


def hmat():
    """Two CPU nodes; the first memory-only node is twice as fast as the
    second, though farther by its number."""
    count, arguments = cpus('cpu', 'cpu', 'memory', 'memory')
    arguments = [text + f',initiator={number % 2}'
                 if text.startswith('node,') else text
                 for text, number in zip(arguments, (0, 0, 0, 1, 0, 2, 0, 3))]
    for initiator in (0, 1):
        for target in range(4):
            near = target == initiator
            latency = 40 if near else (80 if target < 2 else 100 * target)
            speed = 40 if near else (20 if target < 2 else 16 // target)
            common = (f'hmat-lb,initiator={initiator},target={target},'
                      'hierarchy=memory')
            arguments += [
                '-numa', f'{common},data-type=access-latency,'
                         f'latency={latency}',
                '-numa', f'{common},data-type=access-bandwidth,'
                         f'bandwidth={speed}G']
    return count, arguments


def far():
    count, arguments = cpus('cpu', 'cpu', 'memory', 'memory')
    return count, arguments + distances([[10, 20, 28, 40], [20, 10, 40, 28],
                                         [28, 40, 10, 40], [40, 28, 40, 10]])


# Name: number of nodes, and number of CPUs with QEMU's arguments.
TOPOLOGIES = {
    '1': (1, lambda: cpus('cpu')),
    '1c1m': (2, lambda: cpus('cpu', 'memory')),
    '2c2m': (4, lambda: cpus('cpu', 'cpu', 'memory', 'memory')),
    '4c': (4, lambda: cpus('cpu', 'cpu', 'cpu', 'cpu')),
    'far': (4, far),
    'hmat': (4, hmat),
}


class Initramfs:
    """An archive of files (cpio, "newc") that grows in memory.

    @machine: an entry of MACHINES
    @sysroot: where the libraries are; None for those of this machine
    """

    def __init__(self, machine, sysroot=None):
        self.data = bytearray()
        self.paths = set()
        self.sysroot = sysroot
        busybox = self.program_named('busybox')
        # It must run alone: the libraries of a script come later.
        if libraries(busybox, (), sysroot):
            raise Unavailable('busybox is not static (package '
                              'busybox-static)')
        for folder in ('dev', 'proc', 'sys', 'tmp'):
            self.folder(folder)
        self.file('bin/busybox', busybox)
        self.text('init', INIT.replace('OUTPUT', machine.output))
        self.text('etc/passwd', 'root:x:0:0::/tmp:/bin/sh\n'
                                'nobody:x:65534:65534::/tmp:/bin/sh\n')
        self.text('etc/group', 'root:x:0:\nnogroup:x:65534:\n')

    def program_named(self, name):
        """The file of a program, as a shell finds it."""
        found = shutil.which(name) if not self.sysroot else \
            next(filter(os.path.isfile, (f'{self.sysroot}/{folder}/{name}'
                                         for folder in ('bin', 'usr/bin'))),
                 None)
        if not found:
            raise Unavailable(f'{name} is missing')
        return found

    def entry(self, path, mode, content):
        name = path.encode() + b'\0'
        fields = [len(self.paths) + 1, mode, 0, 0, 1, 0, len(content), 0, 0,
                  0, 0, len(name), 0]
        header = b'070701' + b''.join(b'%08x' % value for value in fields)
        for part in (header + name, content):
            self.data += part
            self.data += bytes(-len(part) % 4)
        self.paths.add(path)

    def folder(self, path):
        if path and path != '/' and path not in self.paths:
            self.folder(os.path.dirname(path))
            self.entry(path, stat.S_IFDIR | 0o755, b'')

    def add(self, path, content):
        path = str(path).lstrip('/')
        if path not in self.paths:
            self.folder(os.path.dirname(path))
            self.entry(path, stat.S_IFREG | 0o755, content)

    def text(self, path, content):
        self.add(path, content.encode())

    def file(self, path, source):
        """A file of the host, and the libraries that it needs unless they
        are in the archive already."""
        self.add(path, pathlib.Path(source).read_bytes())

    def program(self, path, source, also=()):
        """A file and the libraries that it needs; folders in which to look
        for them first are in @also."""
        self.file(path, source)
        for place, library in libraries(source, also, self.sysroot):
            self.file(place, library)

    def write(self, path):
        self.entry('TRAILER!!!', 0, b'')
        pathlib.Path(path).write_bytes(self.data)


def needed(program):
    """What an ELF file says that it needs: names of libraries, and the path
    of the loader."""
    output = subprocess.run(['readelf', '-ld', str(program)], check=False,
                            text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout
    return re.findall(r'\(NEEDED\).*\[(.*)\]|interpreter: (.*)\]', output)


def libraries_below(sysroot, program, also, found):
    """Adds to @found what a program needs, and what that needs."""
    folders = [*also, *(pathlib.Path(sysroot, folder) for folder in (
        'lib/aarch64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'lib'))]
    for name, loader in needed(program):
        path = next(filter(os.path.isfile, (
            os.path.join(folder, os.path.basename(name or loader))
            for folder in folders)), None)
        place = loader or f'/lib/{name}'
        if path and place not in found:
            found[place] = path
            libraries_below(sysroot, path, also, found)


def libraries(program, also=(), sysroot=None):
    """The shared libraries of a program: where the loader is to find them, and
    where they are here."""
    if sysroot:
        found = {}
        libraries_below(sysroot, program, also, found)
        return list(found.items())
    environment = dict(os.environ, LD_LIBRARY_PATH=':'.join(map(str, also)))
    output = subprocess.run(['ldd', str(program)], check=False, text=True,
                            env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout
    return [(path, path) for path in re.findall(
        r'^\s*(?:\S+ => )?(/\S+) \(', output, re.MULTILINE)]


def mortal():
    """What to put in front of a command that is to end with its parent, also
    if that is killed."""
    setpriv = shutil.which('setpriv')
    return [setpriv, '--pdeathsig', 'KILL'] if setpriv else []


class Guest:
    """One boot.  Iterate over it for the lines that its script says."""

    def __init__(self, machine, kernel, initramfs, topology, megabytes=384,
                 threads='single', more=''):
        """@threads: 'multi' lets CPUs run at once, but some kernels die of
        it while they boot: QEMU runs instructions that they are patching."""
        if not shutil.which(machine.qemu):
            raise Unavailable(f'{machine.qemu} is missing')
        if topology == 'hmat' and not machine.hmat:
            raise Unavailable(f'{machine.qemu} has no HMAT')
        self.work = tempfile.TemporaryDirectory()
        self.console = pathlib.Path(self.work.name, 'console')
        initrd = pathlib.Path(self.work.name, 'initrd')
        initramfs.write(initrd)
        nodes, describe = TOPOLOGIES[topology]
        count, numa = describe()
        memory = []
        for node in range(nodes):
            memory += ['-object',
                       f'memory-backend-ram,id=m{node},size={megabytes}M']
        board = machine.hmat if topology == 'hmat' else machine.board
        command = [
            *mortal(), machine.qemu, '-accel', f'tcg,thread={threads}',
            '-cpu', machine.cpu, '-machine', board, '-smp', str(count),
            '-m', f'{nodes * megabytes}M', *memory, *numa,
            '-nodefaults', '-no-user-config', '-display', 'none',
            '-no-reboot', '-kernel', str(kernel), '-initrd', str(initrd),
            '-serial', f'file:{self.console}', *machine.terminals,
            '-append', f'{machine.append} quiet panic=-1 nokaslr '
                       'mitigations=off random.trust_cpu=on '
                       f'proc_mem.force_override=always {more}']
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT,
                                        text=True, errors='replace')

    def lines(self, seconds, start):
        """What it says until it ends or has been silent for @seconds, or for
        @start seconds until the first line."""
        timer = None
        limit = start
        try:
            while True:
                timer = threading.Timer(limit, self.process.kill)
                timer.start()
                line = self.process.stdout.readline()
                timer.cancel()
                if not line:
                    return
                limit = seconds
                yield line.rstrip('\r\n')
        finally:
            if timer:
                timer.cancel()
            self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def said(self):
        """The lines of the console."""
        if not self.console.exists():
            return []
        return self.console.read_text(errors='replace').strip().splitlines()

    def last_words(self):
        """What the console says of how it died; not empty."""
        return self.said()[-30:] or ['its console is empty']

    def complaints(self):
        """What the kernel did not like.  Of a machine that has too much else
        to do, these are soft lockups: nothing gets on but its clock."""
        return [line for line in self.said()
                if re.search(r'BUG:|WARNING:|Oops|stall', line)]
