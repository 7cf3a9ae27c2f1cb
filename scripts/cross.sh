#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build for arm64, in build-arm64, or for musl instead of glibc, in build-musl,
# with what Debian has; tests/vm/run.py --arch arm64 runs the tests of the
# former.  Exits with 77 if what is needed cannot be had here.
#
# usage: scripts/cross.sh arm64|musl [ARGUMENT OF meson setup...]
#
# Environment: BUILD, another folder to build in; GPUSVM_VM_CACHE, where the
# libraries and kernels are kept (default: vm-kernels in the build folder).
set -eu

cd "$(dirname "$0")/.."
kind=${1-}
case $kind in
arm64) file=--cross-file tests=true ;;
musl) file=--native-file tests=false ;;
*)
    echo "usage: $0 arm64|musl [ARGUMENT OF meson setup...]" >&2
    exit 2
    ;;
esac
shift
build=${BUILD:-build-$kind}
cache=${GPUSVM_VM_CACHE:-$build/vm-kernels}

scripts/deps.sh "$kind" >&2 || exit 77
mkdir -p "$build" "$cache"
sysroot=$(python3 -B tests/vm/sysroot.py "$kind" "$cache")
if [ ! -f "$build/build.ninja" ]; then
    printf "[constants]\nsysroot = '%s'\n" "$sysroot" >"$build/sysroot.ini"
    # What the environment names is the compiler of glibc and this machine.
    env -u CC -u CXX meson setup "$build" $file "$build/sysroot.ini" \
        $file "scripts/cross/$kind.ini" --buildtype=debugoptimized \
        -Dinstall_tests=$tests "$@"
fi
ninja -C "$build"
