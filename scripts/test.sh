#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build and run all tests.  The last line is "N passed, N failed, N skipped";
# before it every skipped test says why.
#
# usage: scripts/test.sh [ARGUMENT OF meson test...]
# GPUSVM_STRESS_SECONDS: how long each stress test runs (2)
set -eu

cd "$(dirname "$0")/.."
scripts/deps.sh test
if [ ! -f build/build.ninja ]; then
    meson setup build --buildtype=debugoptimized
fi
ninja -C build

# There are a hundred of them.
GPUSVM_STRESS_SECONDS=${GPUSVM_STRESS_SECONDS:-2}
export GPUSVM_STRESS_SECONDS

log=build/meson-logs/testlog.json
rm -f "$log"
status=0
meson test -C build --no-rebuild --print-errorlogs "$@" || status=$?
python3 -B scripts/test_summary.py "$log" || status=1
exit "$status"
