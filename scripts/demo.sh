#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build the release and run the main workload, examples/graph.
set -eu

cd "$(dirname "$0")/.."
scripts/deps.sh
if [ ! -f build-release/build.ninja ]; then
    meson setup build-release --buildtype=release -Dtests=disabled
fi
ninja -C build-release
exec build-release/examples/graph
