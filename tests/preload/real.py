#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program of the system says the same alone, with libgpusvm-preload.so, and
with a runtime besides that takes an interest in all its memory, by the best
source that there is and by mprotect.

usage: real.py SANITIZERS PRELOAD RUNTIME compileall|git|sqlite3|redis
"""
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading

SECONDS = 100
PACKAGES = ('json', 'email', 'logging')


def skip(reason):
    print(f'skip: {reason}')
    sys.exit(77)


def run(*command, cwd, env, stdin=None):
    """Output and status of a command, the same wherever it runs."""
    done = subprocess.run(command, cwd=cwd, env=env, input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=SECONDS, check=False)
    return f'status {done.returncode}\n'.encode() + done.stdout


def tree(folder, pattern):
    """The contents of the files in a folder."""
    return b''.join(
        f'{path.relative_to(folder)} '
        f'{hashlib.sha256(path.read_bytes()).hexdigest()}\n'.encode()
        for path in sorted(folder.rglob(pattern)))


def compileall(folder, env):
    library = pathlib.Path(sysconfig.get_path('stdlib'))
    for package in PACKAGES:
        shutil.copytree(library / package, folder / package,
                        ignore=shutil.ignore_patterns('__pycache__', 'test'))
    # With a process of its own per core, too.
    output = run(sys.executable, '-B', '-m', 'compileall', '-q', '-j', '2',
                 '--invalidation-mode', 'unchecked-hash', '.', cwd=folder,
                 env=env)
    return output + tree(folder, '*.pyc')


def git(folder, env):
    env = {**env, 'HOME': str(folder), 'GIT_CONFIG_NOSYSTEM': '1',
           'GIT_PAGER': 'cat'}
    for who in ('AUTHOR', 'COMMITTER'):
        env[f'GIT_{who}_NAME'] = 'nobody'
        env[f'GIT_{who}_EMAIL'] = 'nobody@localhost'
        env[f'GIT_{who}_DATE'] = '2000-01-01T00:00:00Z'
    output = run('git', 'init', '-q', '-b', 'main', '.', cwd=folder, env=env)
    for i in range(4):
        for j in range(25):
            text = '\n'.join(str(k * (i + 1) * (j + 1)) for k in range(200))
            (folder / f'file{j}').write_text(text)
        output += run('git', 'add', '.', cwd=folder, env=env)
        output += run('git', 'commit', '-q', '-m', f'commit {i}', cwd=folder,
                      env=env)
    for words in ('gc -q', 'fsck --full --no-progress', 'log --stat',
                  'rev-parse HEAD', 'diff HEAD~2'):
        output += run('git', *words.split(), cwd=folder, env=env)
    return output


SQL = b'''
PRAGMA mmap_size = 8388608;
PRAGMA page_size = 4096;
CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT, number INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO t SELECT i, printf('word %d', i * 7919 % 40009), i % 97 FROM n;
CREATE INDEX by_word ON t(word);
UPDATE t SET number = number + 1 WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT count(*), sum(number), max(word) FROM t;
SELECT number, count(*) FROM t GROUP BY number ORDER BY 2 DESC, 1 LIMIT 5;
VACUUM;
PRAGMA integrity_check;
'''


def sqlite3(folder, env):
    output = run('sqlite3', 'test.db', cwd=folder, env=env, stdin=SQL)
    return output + run('sqlite3', 'test.db',
                        'SELECT group_concat(word) FROM t;', cwd=folder,
                        env=env)


# What the server has in the end does not depend on how its clients took turns.
REDIS_STEPS = (
    'PING', 'DEBUG POPULATE 20000 item 120', 'DEBUG DIGEST',
    'SET key value', 'APPEND key s', 'INCRBY count 41', 'HSET map a 1 b 2',
    'ZADD scores 3 three 1 one 2 two', 'ZRANGE scores 0 -1 WITHSCORES',
    'EVAL ' + shlex.quote("""for i = 1, 3000 do
        redis.call('HSET', 'h' .. i % 50, i, string.rep('x', i % 700))
        if i % 3 == 0 then redis.call('DEL', 'item:' .. i) end
    end
    return redis.call('DBSIZE')""") + ' 0',
    'DEBUG DIGEST', 'MEMORY PURGE',
    # Forks, and reads what was written: the digest stays.
    'DEBUG RELOAD', 'DEBUG DIGEST', 'BGREWRITEAOF', 'GET key', 'GET count',
    'LLEN mylist', 'DBSIZE', 'FLUSHALL', 'DEBUG DIGEST', 'DBSIZE',
)


def redis_server(folder):
    """The server under its own name: Debian's redis-tools has it as another."""
    program = folder / 'redis-server'
    program.symlink_to(shutil.which('redis-server') or
                       shutil.which('redis-check-rdb'))
    return str(program)


def redis(folder, env):
    path = str(folder / 'socket')
    with subprocess.Popen(
            (redis_server(folder), '--port', '0', '--unixsocket', path,
             '--save', '', '--enable-debug-command', 'local'),
            cwd=folder, env=env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as server:
        timer = threading.Timer(SECONDS, server.kill)
        timer.start()
        try:
            said = b''
            for line in server.stdout:
                said += line
                if b'ready to accept connections at' in line:
                    break
            else:
                return b'no server: ' + said
            done = run('redis-benchmark', '-s', path, '-q', '-n', '3000', '-t',
                       'set,get,incr,lpush,lrange_100,mset', cwd=folder,
                       env=env)
            output = done.splitlines()[0] + b'\n'
            for step in REDIS_STEPS:
                output += run('redis-cli', '-s', path, *shlex.split(step),
                              cwd=folder, env=env)
            server.send_signal(signal.SIGTERM)
            server.stdout.read()
            return output + f'server {server.wait()}\n'.encode()
        finally:
            timer.cancel()
            server.kill()


PROGRAMS = {
    'compileall': (compileall, ()),
    'git': (git, ('git',)),
    'sqlite3': (sqlite3, ('sqlite3',)),
    'redis': (redis, ('redis-server|redis-check-rdb', 'redis-cli',
                      'redis-benchmark')),
}


def main():
    sanitizers, preload, runtime, name = sys.argv[1:]
    if sanitizers != 'none':
        skip(f'built with the {sanitizers} sanitizer')
    function, needed = PROGRAMS[name]
    for program in needed:
        if not any(map(shutil.which, program.split('|'))):
            skip(f'{program} is missing')

    plain = {key: value for key, value in os.environ.items()
             if key not in ('LD_PRELOAD', 'GPUSVM_SOURCE')}
    preloaded = {**plain, 'LD_PRELOAD': preload}
    mirrored = {**plain, 'LD_PRELOAD': f'{preload}:{runtime}'}
    environments = (
        ('alone', plain, None),
        ('preloaded', preloaded, None),
        # By whatever is to be had here.
        ('mirrored', mirrored, ''),
        ('mirrored by mprotect', {**mirrored, 'GPUSVM_SOURCE': 'mprotect'},
         'mprotect'),
    )
    outputs = {}
    idle = []
    for how, env, source in environments:
        # The same path each time: some write it into what they write.
        with tempfile.TemporaryDirectory(prefix='gpusvm-') as top:
            folder = pathlib.Path(top) / 'work'
            folder.mkdir()
            mirrors = pathlib.Path(top) / 'mirrors'
            mirrors.touch()
            if source is not None:
                env = {**env, 'RUNTIME_AUTO': str(mirrors)}
            outputs[how] = function(folder, env).replace(top.encode(), b'TOP')
            lines = mirrors.read_text().splitlines()
        print(f'{how}: {len(outputs[how])} bytes, {len(lines)} mirrors')
        if source is not None and not any(line.startswith(source)
                                          for line in lines):
            idle.append(how)
    failed = (b'status 0' not in outputs['alone'] or
              re.search(rb'^(ERR|status [^0]|no server)', outputs['alone'],
                        re.MULTILINE) is not None)
    if failed:
        print(f'alone it does not work: {outputs["alone"][-300:]!r}')
    for how in idle:
        failed = True
        print(f'{how}: nothing was mirrored')
    for how, output in outputs.items():
        if output != outputs['alone']:
            failed = True
            lines = set(output.splitlines()) - set(
                outputs['alone'].splitlines())
            print(f'{how} is different:')
            for line in sorted(lines)[:10]:
                print(f'  {line[:300]!r}')
    return failed


if __name__ == '__main__':
    sys.exit(main())
