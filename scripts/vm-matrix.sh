#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the tests in guests with several kernels, memory nodes and users, and
# print what came out as a table in Markdown: what docs/kernels.md carries, and
# gets by --update.  Progress, with the time of each cell, goes to stderr.
#
# What was interrupted goes on where it was: results are kept as long as nothing
# has been built since, in vm-matrix of the build, with a log for each cell.
#
# usage: scripts/vm-matrix.sh [--update] [--again] [--keep] [--no-run]
#
# Environment: KERNELS, TOPOLOGIES and USERS, lists of words; JOBS, cells at once
# (one for each CPU); GPUSVM_VM_CACHE, where kernels are kept; FLAVOUR, arm64 or
# arm64-16k for guests of that architecture with pages of that size.
set -eu

cd "$(dirname "$0")/.."
build='build-vm'

if [ -n "${FLAVOUR-}" ]; then
    build='build-arm64'
    BUILD=$build scripts/cross.sh arm64 >&2
else
    # Where that cannot be had each cell says so.
    scripts/deps.sh vm >&2 || true
    if [ ! -f $build/build.ninja ]; then
        meson setup $build --buildtype=debugoptimized \
            -Dinstall_tests=true >&2
    fi
    ninja -C $build >&2
fi
exec python3 -B tests/vm/matrix.py --build $build "$@"
