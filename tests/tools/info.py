#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs gpusvm-info, in both forms and in several straits, and checks what it
says: types, plausible values, that the forms agree, and the exit status.

usage: info.py CASE TOOL LIBRARY WITHOUT_USERFAULTFD VERSION SANITIZERS
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

CASE, TOOL, LIBRARY, WITHOUT_USERFAULTFD, VERSION, SANITIZERS = sys.argv[1:]

NOBODY = 65534
SKIPPED = 77

NUMBER = (int,)
MAYBE_NUMBER = (int, type(None))
TEXT = (str,)
MAYBE_TEXT = (str, type(None))
FLAG = (bool,)
ANSWER = {'ok': FLAG, 'error': MAYBE_TEXT}
LIMIT = {'soft': MAYBE_NUMBER, 'hard': MAYBE_NUMBER}
FEATURES = dict.fromkeys(
    '''userfaultfd kernel_faults fork_event move procmap_query pagemap_scan
    shmem_events cpu_faults events in_thread rwp'''.split(), FLAG)
# What a program misses with a source that does not have it.
BY_SOURCE = ('kernel_faults', 'fork_event', 'shmem_events', 'cpu_faults',
             'events')
SOURCES = {'userfaultfd': 'userfaultfd',
           'user': 'userfaultfd, user mode only',
           'mprotect': 'mprotect and SIGSEGV',
           'manual': 'manual (gpusvm_populate())',
           'sigbus': 'userfaultfd and SIGBUS',
           'rwp': 'userfaultfd with RWP'}
PROTECTING = ('mprotect', 'manual')

# What the report has, and of which type.  A list has elements of one kind.
SHAPE = {
    'format': NUMBER,
    'version': {'tool': TEXT, 'library': TEXT},
    'usable': FLAG,
    'reason': MAYBE_TEXT,
    'library': {
        'open': ANSWER,
        'source': MAYBE_TEXT,
        'wanted': MAYBE_TEXT,
        'technique': MAYBE_TEXT,
        'features': FEATURES,
        'device_memory': ANSWER,
        'device_node': MAYBE_NUMBER,
        'device_emulated': FLAG,
        'round_trip': ANSWER,
        'log': [{'level': TEXT, 'message': TEXT}],
    },
    'sources': [{
        'source': TEXT, 'open': ANSWER, 'missing': MAYBE_TEXT,
        'technique': MAYBE_TEXT, 'features': FEATURES, 'lost': [TEXT],
    }],
    'advice': [{'topic': TEXT, 'text': TEXT}],
    'userfaultfd': {
        'doors': {'syscall': ANSWER, 'device': ANSWER,
                  'user_mode_only': ANSWER},
        'chosen': MAYBE_TEXT,
        'killed': FLAG,
        'sysctl_unprivileged': MAYBE_NUMBER,
        'api': ANSWER,
        'mask': NUMBER,
        'features': dict.fromkeys(
            '''PAGEFAULT_FLAG_WP EVENT_FORK EVENT_REMAP EVENT_REMOVE
            MISSING_HUGETLBFS MISSING_SHMEM EVENT_UNMAP SIGBUS THREAD_ID
            MINOR_HUGETLBFS MINOR_SHMEM EXACT_ADDRESS WP_HUGETLBFS_SHMEM
            WP_UNPOPULATED POISON WP_ASYNC MOVE RWP RWP_ASYNC'''.split(),
            FLAG),
        'event_fork': ANSWER,
    },
    'interfaces': {
        'procmap_query': ANSWER, 'pagemap_scan': ANSWER,
        'madv_populate': ANSWER, 'madv_guard_install': ANSWER,
        'mremap_dontunmap': ANSWER, 'process_vm_readv': ANSWER,
        'membarrier': ANSWER,
    },
    'kernel': {
        'release': TEXT, 'machine': TEXT, 'page_size': NUMBER,
        'max_map_count': MAYBE_NUMBER, 'overcommit_memory': MAYBE_NUMBER,
        'huge_pages': {'enabled': MAYBE_TEXT, 'defrag': MAYBE_TEXT,
                       'bytes': MAYBE_NUMBER},
    },
    'process': {
        'uid': NUMBER, 'euid': NUMBER,
        'cap_sys_ptrace': (bool, type(None)), 'user_namespace': FLAG,
        'seccomp': MAYBE_TEXT, 'no_new_privs': (bool, type(None)),
        'mappings': MAYBE_NUMBER, 'cpus_online': NUMBER,
        'cpus_allowed': MAYBE_NUMBER,
        'limits': {'as': LIMIT, 'memlock': LIMIT, 'nofile': LIMIT},
    },
    'nodes': [{
        'node': NUMBER, 'memory_bytes': MAYBE_NUMBER,
        'free_bytes': MAYBE_NUMBER, 'cpus': TEXT, 'distances': [NUMBER],
        'device': FLAG,
    }],
    'measured': FLAG,
    'measuring': ANSWER,
    'measurements': [{
        'operation': TEXT, 'bytes': NUMBER, 'rounds': NUMBER,
        'median_ns': NUMBER, 'p10_ns': NUMBER, 'p90_ns': NUMBER,
    }],
}


def skip(reason):
    print('skip:', reason)
    sys.exit(SKIPPED)


def check(condition, *text):
    if not condition:
        print('FAILED:', *text)
        sys.exit(1)


def check_shape(value, shape, where='report'):
    if isinstance(shape, dict):
        check(isinstance(value, dict), where, 'is no object')
        check(list(value) == list(shape), where, 'has the keys', list(value),
              'and not', list(shape))
        for key, inner in shape.items():
            check_shape(value[key], inner, f'{where}.{key}')
    elif isinstance(shape, list):
        check(isinstance(value, list), where, 'is no list')
        for i, element in enumerate(value):
            check_shape(element, shape[0], f'{where}[{i}]')
    else:
        # A bool is an int in Python, and no number in JSON.
        check(type(value) in shape, where, 'is', repr(value))


def run(*options, before=(), text=False, **how):
    """Exit status and output; parsed unless it is text."""
    options = [*before, TOOL, *options]
    if not text:
        options.append('--json')
    done = subprocess.run(options, stdout=subprocess.PIPE, timeout=50,
                          check=False, **how)
    output = done.stdout.decode('ascii')
    print(f'--- {" ".join(options)}: exit status {done.returncode}')
    print(output)
    if done.returncode == SKIPPED:
        sys.exit(SKIPPED)
    if text:
        return done.returncode, output
    report = json.loads(output)
    check_shape(report, SHAPE)
    check_consistent(report)
    check(done.returncode == (0 if report['usable'] else 1),
          'exit status', done.returncode, 'usable', report['usable'])
    return done.returncode, report


def check_answers(value):
    """ok and error exclude each other, everywhere."""
    if isinstance(value, dict):
        if set(value) == set(ANSWER):
            check(value['ok'] == (value['error'] is None), 'answer', value)
        for inner in value.values():
            check_answers(inner)


def check_consistent(report):
    """What must hold on every machine and for every process."""
    library = report['library']
    uffd = report['userfaultfd']
    features = library['features']
    topics = [advice['topic'] for advice in report['advice']]

    check_answers(report)
    check(report['usable'] == (report['reason'] is None), 'usable or a reason')
    check(len(set(topics)) == len(topics), 'advice is given twice:', topics)
    for advice in report['advice']:
        check(re.search(r'\.$', advice['text']), 'no sentence:', advice)

    check(library['open']['ok'] or not report['usable'], 'closed but usable')
    if library['open']['ok']:
        check_open(library, uffd, report['interfaces'])
    else:
        check(library['source'] is None, 'source')
        check(library['technique'] is None, 'technique')
        check(uffd['chosen'] is None, 'door')
    check_sources(report)
    # A sentence for each better thing that is missing, and for no other.
    protects = library['source'] in PROTECTING
    for key, topic, everywhere in (
            ('kernel_faults', 'system_calls', True),
            ('events', 'events', True),
            ('cpu_faults', 'cpu_faults', True),
            ('fork_event', 'fork', False),
            ('move', 'technique', False),
            ('procmap_query', 'procmap_query', True),
            ('pagemap_scan', 'pagemap_scan', True),
            ('shmem_events', 'shmem_events', False)):
        check((topic in topics) ==
              (library['open']['ok'] and not features[key] and
               (everywhere or not protects)), topic)

    named = sum(1 << bit for bit, has in
                enumerate(uffd['features'].values()) if has)
    known = (1 << len(uffd['features'])) - 1
    check(named == uffd['mask'] & known, 'mask', uffd['mask'])
    check_machine(report)
    check_measurements(report)


def technique_of(features):
    if features['move']:
        return 'move'
    return 'write-protect' if features['userfaultfd'] else 'mremap'


def check_open(library, uffd, interfaces):
    """What the library has chosen fits what is there."""
    features, source = library['features'], library['source']

    check(source in SOURCES, 'source')
    check(library['technique'] == technique_of(features), 'technique')
    check(features['userfaultfd'] == (source not in PROTECTING), 'source')
    check(features['cpu_faults'] == (source != 'manual'), 'CPU faults')
    check(features['kernel_faults'] ==
          (source == 'userfaultfd' or
           source == 'rwp' and uffd['chosen'] != 'user_mode_only'),
          'kernel faults')
    check(features['events'] == features['userfaultfd'], 'events')
    check(features['in_thread'] == (source == 'sigbus'), 'in thread')
    check(features['rwp'] == (source == 'rwp'), 'RWP')
    if features['userfaultfd']:
        check(features['move'] == uffd['features']['MOVE'], 'MOVE')
        check(features['fork_event'] == (uffd['event_fork']['ok'] and
                                         source != 'sigbus'), 'fork')
        check(uffd['doors'][uffd['chosen']]['ok'], 'door')
        check(source in ('sigbus', 'rwp') or
              (uffd['chosen'] == 'user_mode_only') == (source == 'user'),
              'door')
    else:
        check(uffd['chosen'] is None, 'door')
    for key in 'procmap_query', 'pagemap_scan':
        check(features[key] == interfaces[key]['ok'], key)
    check(any('address space opened' in line['message']
              for line in library['log']), 'nothing in the log')


def check_sources(report):
    """Each was tried, and the library has the first that works, or was told
    which."""
    sources = report['sources']
    library = report['library']

    check([source['source'] for source in sources] == list(SOURCES), 'sources')
    for source in sources:
        features = source['features']
        if source['open']['ok']:
            check(source['missing'] is None, source)
            check(source['technique'] == technique_of(features), source)
            check(source['lost'] == [key for key in FEATURES
                                     if key in BY_SOURCE
                                     and not features[key]], source)
        else:
            check(source['missing'], source)
            check(source['technique'] is None, source)
            check(not source['lost'] and not any(features.values()), source)
        if library['open']['ok'] and source['source'] == library['source']:
            check(source['open']['ok'] and features == library['features'],
                  source)
    works = [source['source'] for source in sources if source['open']['ok']]
    better = [source for source in works[:1]
              if library['source'] and source != library['source']]
    check(library['wanted'] or not better, 'not the best source')
    check(not better or
          any(advice['topic'] == 'source' and better[0] in advice['text']
              for advice in report['advice']), 'no advice')


def check_machine(report):
    kernel, process = report['kernel'], report['process']
    nodes = report['nodes']

    check(kernel['release'] == os.uname().release, 'release')
    check(kernel['page_size'] == os.sysconf('SC_PAGE_SIZE'), 'page size')
    check(kernel['max_map_count'] is None or kernel['max_map_count'] > 0,
          'max_map_count')
    check(kernel['overcommit_memory'] in (None, 0, 1, 2), 'overcommit')
    check(process['mappings'] is None or process['mappings'] > 5, 'mappings')
    check(1 <= process['cpus_allowed'] <= process['cpus_online'], 'CPUs')
    check(len(nodes) > 0, 'no nodes')
    device = [node['node'] for node in nodes if node['device']]
    expected = report['library']['device_node']
    check(device == ([] if expected is None else [expected]), 'device node')
    for node in nodes:
        check(len(node['distances']) in (0, len(nodes)), 'distances')
        check((node['free_bytes'] or 0) <= (node['memory_bytes'] or 0),
              'more is free than there is')


def check_measurements(report):
    for result in report['measurements']:
        check(0 < result['p10_ns'] <= result['median_ns'] <= result['p90_ns'],
              'times', result)
        check(result['rounds'] >= 4, 'rounds', result)


def check_forms_agree(report, text):
    """Every feature and answer of the report is a line of the text, too."""
    def line(name):
        found = re.search(rf'^  {re.escape(name)} +(.*)$', text, re.MULTILINE)
        check(found, 'no line', name)
        return found.group(1)

    def agrees(name, value):
        word = 'yes' if value else 'no'
        check(re.match(rf'{word}\b', line(name)), name, 'is not', word)

    uffd = report['userfaultfd']
    agrees('usable', report['usable'])
    if report['library']['technique']:
        check(line('technique').startswith(report['library']['technique']),
              'technique')
    for source in report['sources']:
        title = SOURCES[source['source']]
        if source['open']['error'] != 'not tried':
            agrees(title, source['open']['ok'])
        check(('in use' in line(title)) ==
              (source['source'] == report['library']['source']), title)
    if report['library']['open']['ok']:
        check(line('source').startswith(SOURCES[report['library']['source']]),
              'source')
    if uffd['api']['ok']:
        check(int(re.match(r'0x[0-9a-f]+$', line('features')).group(), 16) ==
              uffd['mask'], 'mask')
        for name, value in uffd['features'].items():
            agrees(name, value)
    for key, name in (('syscall', r'userfaultfd(2)'),
                      ('device', '/dev/userfaultfd'),
                      ('user_mode_only', 'UFFD_USER_MODE_ONLY')):
        if not uffd['killed']:
            agrees(name, uffd['doors'][key]['ok'])
    for key, name in (('procmap_query', 'PROCMAP_QUERY'),
                      ('pagemap_scan', 'PAGEMAP_SCAN'),
                      ('madv_populate', 'MADV_POPULATE_WRITE'),
                      ('madv_guard_install', 'MADV_GUARD_INSTALL'),
                      ('mremap_dontunmap', 'MREMAP_DONTUNMAP')):
        agrees(name, report['interfaces'][key]['ok'])
    check(str(report['kernel']['max_map_count']) in line('vm.max_map_count'),
          'max_map_count')
    words = ' '.join(text.split())
    for source in report['sources']:
        check(' '.join((source['missing'] or '').split()) in words, 'missing')
    for advice in report['advice']:
        check(' '.join(advice['text'].split()) in words, 'advice', advice)


def both_forms(*options, **how):
    status, report = run(*options, **how)
    text_status, text = run(*options, text=True, **how)
    check(status == text_status, 'exit status of text', text_status)
    check_forms_agree(report, text)
    return report


def case_report():
    report = both_forms('--no-measure')
    check(report['version'] == {'tool': VERSION, 'library': VERSION},
          'version')
    check(not report['measured'] and not report['measurements'], 'measured')
    # Where a source works the library's own tests pass.
    if any(source['open']['ok'] for source in report['sources']):
        check(report['usable'], report['reason'])
        check(report['library']['round_trip']['ok'] or
              not report['library']['device_memory']['ok'], 'no round trip')


def case_measurements():
    report = both_forms()
    check(report['measured'], 'not measured')
    if report['library']['round_trip']['error'] == 'not tried':
        skip('the library cannot move memory here')
    check(report['measuring']['ok'], 'a measurement failed')
    median = {(result['operation'], result['bytes']): result['median_ns']
              for result in report['measurements']}
    page = report['kernel']['page_size']
    sizes = [size for size in (4096, 65536, 2 << 20) if size >= page]
    expected = {(operation, size) for size in sizes
                for operation in ('cpu_fault', 'migrate_to_devmem')}
    expected.add(('memcpy', 2 << 20))
    uffd = report['userfaultfd']
    if any(door['ok'] for door in uffd['doors'].values()):
        expected.add(('uffdio_move' if uffd['features']['MOVE']
                      else 'uffdio_writeprotect', 2 << 20))
    check(set(median) == expected, 'measured', set(median))
    for operation, size in median:
        check(100 < median[operation, size] < 10**9, operation, size)


def case_usage():
    for option in '--help', '-h':
        status, text = run(option, text=True)
        check(status == 0 and text.startswith('usage: gpusvm-info'), option)
    for option in '--version', '-V':
        status, text = run(option, text=True)
        check(status == 0 and text == f'gpusvm-info {VERSION}\n', option)
    for option in '--nonsense', '-x', '--json=1', 'argument':
        done = subprocess.run([TOOL, option], capture_output=True, timeout=50,
                              check=False)
        check(done.returncode == 2, option, done.returncode)
        check(not done.stdout, option, 'prints', done.stdout)
        check(b'usage: gpusvm-info' in done.stderr, option, done.stderr)
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([TOOL, '-n'], stdout=full, timeout=50,
                              stderr=subprocess.DEVNULL, check=False)
    check(done.returncode == 1, 'no room for the report', done.returncode)


def case_unprivileged():
    global TOOL
    if os.geteuid() != 0:
        skip('only root can become another user')
    with tempfile.TemporaryDirectory() as root:
        # Where nobody may come, whoever owns the build.
        os.chmod(root, 0o755)
        for folder, name in ('tools', TOOL), ('lib', LIBRARY):
            os.mkdir(os.path.join(root, folder), 0o755)
            shutil.copy(name, os.path.join(root, folder))
        TOOL = os.path.join(root, 'tools', os.path.basename(TOOL))
        link = os.path.join(root, 'lib', 'libgpusvm.so.0')
        if not os.path.exists(link):
            os.symlink(os.path.basename(LIBRARY), link)
        environment = dict(os.environ,
                           LD_LIBRARY_PATH=os.path.join(root, 'lib'))
        report = both_forms('-n', user=NOBODY, group=NOBODY, extra_groups=[],
                            cwd='/', env=environment)
    check(report['usable'] or not any(source['open']['ok']
                                      for source in report['sources']),
          report['reason'])
    check(report['process']['uid'] == NOBODY, 'uid')
    check(report['process']['cap_sys_ptrace'] is False, 'capability')
    check(not report['userfaultfd']['event_fork']['ok'], 'EVENT_FORK')
    uffd = report['userfaultfd']
    if (report['process']['seccomp'] != 'filter' and
            uffd['sysctl_unprivileged'] == 0 and
            not uffd['doors']['device']['ok']):
        check(not uffd['doors']['syscall']['ok'], 'system call')
        check(report['library']['source'] != 'userfaultfd', 'source')
        check('vm.unprivileged_userfaultfd' in report['sources'][0]['missing'],
              'what is missing')
        text = ' '.join(advice['text'] for advice in report['advice'])
        check('vm.unprivileged_userfaultfd=1' in text, 'no advice')
        check('/dev/userfaultfd' in text, 'no advice')


def refused(how, *options, **environment):
    return both_forms('-n', *options, before=[WITHOUT_USERFAULTFD, how],
                      env={**os.environ, **environment})


def check_refused(report):
    check(report['userfaultfd']['chosen'] is None, 'door')
    check(report['process']['seccomp'] == 'filter', 'seccomp')
    check(report['interfaces']['madv_populate']['ok'], 'other calls')
    check(any(advice['topic'] == 'userfaultfd' and 'seccomp' in advice['text']
              for advice in report['advice']), 'advice')
    for source in report['sources']:
        if source['source'] in PROTECTING:
            continue
        check(not source['open']['ok'] and 'seccomp' in source['missing'],
              source)


def case_refused():
    for how in 'eperm', 'enosys':
        report = refused(how)
        check_refused(report)
        check(not report['userfaultfd']['killed'], how)
        if not report['sources'][2]['open']['ok']:
            skip('mprotect does not work here')
        check(report['usable'], 'not usable:', report['reason'])
        check(report['library']['source'] == 'mprotect', 'source')
        check(report['library']['round_trip']['ok'] or
              not report['library']['device_memory']['ok'], 'no round trip')
        # What was asked for has no substitute.
        for wanted in 'userfaultfd', 'user':
            report = refused(how, GPUSVM_SOURCE=wanted)
            check_refused(report)
            check(not report['usable'] and wanted in report['reason'], wanted)
    # Also with what is measured, partly without the library.
    run(before=[WITHOUT_USERFAULTFD, 'eperm'])


def case_killed():
    report = refused('kill')
    check_refused(report)
    check(report['userfaultfd']['killed'], 'killed')
    # The library would try userfaultfd, unless told what to use.
    check(not report['usable'], 'usable')
    check([source['open']['error'] for source in report['sources']] ==
          ['not tried', 'not tried', None, None, 'not tried', 'not tried'],
          report['sources'])
    run(before=[WITHOUT_USERFAULTFD, 'kill'])
    report = refused('kill', GPUSVM_SOURCE='mprotect')
    check_refused(report)
    check(report['usable'], 'not usable:', report['reason'])


def case_chosen():
    """What the environment says is used, and what is lost by it told."""
    works = [source['source'] for source in run('-n')[1]['sources']
             if source['open']['ok']]
    if not set(PROTECTING) <= set(works):
        skip('mprotect does not work here')
    for wanted in works:
        env = {**os.environ, 'GPUSVM_SOURCE': wanted}
        report = both_forms('-n', env=env)
        check(report['usable'], report['reason'])
        check(report['library']['wanted'] == wanted, wanted)
        check(report['library']['source'] == wanted, wanted)
        check(report['library']['round_trip']['ok'] or
              not report['library']['device_memory']['ok'], 'no round trip')
        # check_sources() has seen to it that the best one is named.
        check(any(advice['topic'] == 'source' for advice in report['advice'])
              == (wanted != works[0]), wanted)
        measured = {result['operation']
                    for result in run(env=env)[1]['measurements']}
        check(not report['library']['device_memory']['ok'] or
              ('populate' if wanted == 'manual' else 'cpu_fault') in measured,
              wanted, measured)
    report = both_forms('-n', env={**os.environ, 'GPUSVM_SOURCE': 'uffd'})
    check(not report['usable'] and 'GPUSVM_SOURCE' in report['reason'],
          'a source that there is not')
    check(any(advice['topic'] == 'source' and 'mprotect' in advice['text']
              for advice in report['advice']), 'advice')


def limited(which, limit):
    return {'preexec_fn': lambda: resource.setrlimit(which, (limit, limit))}


def case_no_address_space():
    if SANITIZERS != 'none':
        skip('sanitizers reserve terabytes of address space')
    if not run('-n')[1]['usable']:
        skip('the library cannot be used here')
    report = both_forms('-n', **limited(resource.RLIMIT_AS, 128 << 20))
    check(not report['usable'], 'usable without address space')
    check(report['process']['limits']['as']['soft'] == 128 << 20, 'limit')
    check(any('RLIMIT_AS' in advice['text'] for advice in report['advice']),
          'advice')
    # A smaller window is enough.
    report = both_forms('-n', **limited(resource.RLIMIT_AS, 8 << 30))
    check(report['usable'], 'not usable with 8 GiB')
    check(any('RLIMIT_AS' in advice['text'] for advice in report['advice']),
          'advice')


def case_no_descriptors():
    if SANITIZERS != 'none':
        skip('sanitizers need descriptors of their own')
    for limit in 4, 5, 6, 7, 8:
        report = both_forms('-n', **limited(resource.RLIMIT_NOFILE, limit))
        check(report['usable'] or
              any('RLIMIT_NOFILE' in advice['text']
                  for advice in report['advice']), 'advice for', limit)


globals()['case_' + CASE]()
