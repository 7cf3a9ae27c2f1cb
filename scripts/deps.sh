#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install what is missing to build (Debian 12); with the argument "test" also
# the programs that are run under the preload library, and with "ci" what the
# slower checks of .ci/run use besides, with "vm" what guests with several memory
# nodes need (tests/vm), with "arm64" what a build for that architecture and its
# guests need, or with "musl" what a build for that libc needs.  Says and does
# nothing if everything is there.
#
# usage: scripts/deps.sh [test|ci|vm|arm64|musl]
set -eu

packages='meson ninja-build gcc g++ pkg-config libc6-dev
    libcmocka-dev libbsd-dev liburing-dev systemtap-sdt-dev'
# Of Redis the tools only, which have the server in them: its own package would
# start one.
test_packages='git redis-tools sqlite3'
ci_packages='clang libclang-rt-14-dev clang-format linux-kbuild-6.1 codespell
    abigail-tools shellcheck valgrind gnuplot-nox'
vm_packages='qemu-system-x86 busybox-static'
# Libraries come by tests/vm/sysroot.py.
arm64_packages='gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-system-arm'
musl_packages='musl-tools cmake dpkg-dev make'

case "${1-}" in
'') ;;
test) packages="$packages $test_packages" ;;
vm) packages="$packages $vm_packages" ;;
arm64) packages="$packages $arm64_packages" ;;
musl) packages="$packages $musl_packages" ;;
ci) packages="$packages $test_packages $ci_packages" ;;
*)
    echo "usage: $0 [test|ci|vm|arm64|musl]" >&2
    exit 2
    ;;
esac

# The package names are words.
# shellcheck disable=SC2086
set -- $packages

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "deps.sh: not a Debian system; these packages must be there: $*" >&2
    exit 0
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" \
    2>/dev/null | sed -n 's/ installed$//p') || true
missing=
for package; do
    if ! printf '%s\n' "$installed" | grep -qxF "$package"; then
        missing="$missing $package"
    fi
done
if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "deps.sh: neither root nor sudo; install as root:$missing" >&2
    exit 1
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

echo "deps.sh: installing$missing"
# Stale lists may do, so a failure here is not the end.
apt update || echo "deps.sh: apt-get update failed, going on" >&2
# shellcheck disable=SC2086
if ! apt install -y --no-install-recommends $missing >/dev/null; then
    echo "deps.sh: apt-get could not install:$missing" >&2
    exit 1
fi
