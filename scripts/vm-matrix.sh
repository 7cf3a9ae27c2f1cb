#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the tests in guests with several kernels, memory nodes and users, and
# print what came out as a table in Markdown: what docs/kernels.md carries.
# Progress goes to stderr.  Takes about five minutes for a cell of two CPUs.
#
# usage: scripts/vm-matrix.sh [ARGUMENT OF tests/vm/run.py...]
#
# Environment: KERNELS, TOPOLOGIES and USERS, lists of words; GPUSVM_VM_CACHE,
# where kernels are kept.
set -eu

cd "$(dirname "$0")/.."
kernels=${KERNELS-5.10 6.1 6.12 newest}
topologies=${TOPOLOGIES-1 1c1m 2c2m far hmat 4c}
users=${USERS-root nobody}
build='build-vm'

scripts/deps.sh vm >&2
if [ ! -f $build/build.ninja ]; then
    meson setup $build --buildtype=debugoptimized -Dinstall_tests=true >&2
fi
ninja -C $build >&2

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# All tests on each kernel with four nodes, and what looks at nodes on all.
for kernel in $kernels; do
    for user in $users; do
        for topology in $topologies; do
            only='--suite numa'
            [ "$topology" != 2c2m ] || only=
            echo "=== $kernel, $topology, $user" >&2
            # shellcheck disable=SC2086
            python3 -B tests/vm/run.py --build $build --kernel "$kernel" \
                --topology "$topology" --user "$user" \
                --json "$results/$kernel-$user-$topology.json" \
                $only "$@" >&2 || true
        done
    done
done
python3 -B tests/vm/table.py "$results"/*.json
