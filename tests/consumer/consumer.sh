#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install the build into a temporary root and use it the way a program outside
# of the tree does: with what pkg-config says and nothing else; C and C++,
# shared and static, in both spellings.  Also the example in README.md, and the
# installed tools.
#
# usage: consumer.sh SOURCE_ROOT BUILD_ROOT PREFIX LIBDIR INCLUDEDIR VERSION
#        [PROGRAM MAN_PAGE]...
# environment: CC, CXX (empty if there is none), CFLAGS
set -u

source_root=$1
build_root=$2
prefix=$3
libdir=$4
includedir=$5
version=$6
shift 6

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/shared
static_root=$work/static
# For a program that takes a few milliseconds, so that a hang has a name.
seconds=30
failed=0
not_run=

fail() {
    echo "FAILED: $*"
    failed=1
}

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$prefix/$1" ;;
    esac
}

libdir=$(absolute "$libdir")
includedir=$(absolute "$includedir")

# pkg ROOT ARGUMENT...: pkg-config that sees ROOT and nothing of the system.
pkg() {
    pkg_root=$1
    shift
    PKG_CONFIG_SYSROOT_DIR=$pkg_root \
        PKG_CONFIG_LIBDIR=$pkg_root$libdir/pkgconfig \
        PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
        pkg-config "$@"
}

# expected_files FILE...: of the library, and FILE.
expected_files() {
    (cd "$source_root/include" && find . -name '*.h') |
        sed "s|^\.|$includedir/libgpusvm|"
    echo "$includedir/libgpusvm/gpusvm/version.h"
    for name in libgpusvm.so libgpusvm.so.0 "libgpusvm.so.$version" \
        libgpusvm-preload.so libgpusvm.a \
        pkgconfig/libgpusvm.pc pkgconfig/libgpusvm-linux.pc; do
        echo "$libdir/$name"
    done
    for name; do
        absolute "$name"
    done
}

check_installed_files() {
    expected_files "$@" | LC_ALL=C sort >"$work/expected"
    (cd "$root" && find . ! -type d) | sed 's|^\.||' |
        LC_ALL=C sort >"$work/found"
    diff "$work/expected" "$work/found" ||
        fail "what is installed (>) is not what is meant to be (<)"
}

# Tools, as installed, find the library and know their version.
check_tools() {
    while [ $# -ge 2 ]; do
        said=$(LD_LIBRARY_PATH=$root$libdir timeout -k 5 "$seconds" \
            "$root$(absolute "$1")" --version)
        [ "$said" = "$(basename "$1") $version" ] ||
            fail "$1 --version says: $said"
        shift 2
    done
}

check_soname() {
    readelf -d "$root$libdir/libgpusvm.so" |
        grep -q 'SONAME.*\[libgpusvm\.so\.0\]' ||
        fail "the soname is not libgpusvm.so.0"
    [ "$(pkg "$root" --modversion libgpusvm)" = "$version" ] ||
        fail "pkg-config's version is not $version"
}

# try TITLE ROOT PACKAGE SOURCE COMPILER...: build and run.
try() {
    title=$1
    try_root=$2
    package=$3
    source=$4
    shift 4
    status=1
    if [ "$try_root" = "$static_root" ]; then
        flags=$(pkg "$try_root" --static --cflags --libs "$package")
    else
        flags=$(pkg "$try_root" --cflags --libs "$package")
    fi
    # CFLAGS and what pkg-config says are lists of words.
    # shellcheck disable=SC2086
    if ! "$@" -Wall -Wextra -Werror ${CFLAGS-} "$source" \
        -o "$work/program" $flags; then
        fail "$title does not build with: $flags"
        return
    fi

    needed=$(readelf -d "$work/program" | grep -c 'NEEDED.*libgpusvm')
    if [ "$try_root" = "$static_root" ]; then
        [ "$needed" -eq 0 ] || fail "$title is not linked statically"
    else
        [ "$needed" -eq 1 ] || fail "$title is not linked with the library"
    fi

    status=0
    LD_LIBRARY_PATH=$root$libdir timeout -k 5 "$seconds" "$work/program" \
        >"$work/output" 2>&1 || status=$?
    sed "s|^|$title: |" "$work/output"
    if [ "$status" -eq 77 ]; then
        not_run=$title
    elif [ "$status" -eq 124 ]; then
        fail "$title hangs"
    elif [ "$status" -ne 0 ]; then
        fail "$title exits with $status"
    fi
}

# The first C example of the README.
try_readme() {
    awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' \
        "$source_root/README.md" >"$work/readme.c"
    try "README.md" "$root" libgpusvm "$work/readme.c" "$@"
    if [ "$status" -eq 0 ] && [ "$(cat "$work/output")" != 42 ]; then
        fail "README.md's example does not print 42"
    fi
}

DESTDIR=$root meson install -C "$build_root" --no-rebuild --quiet \
    >"$work/log" 2>&1 || {
    cat "$work/log"
    fail "meson install"
    exit 1
}
check_installed_files "$@"
check_tools "$@"
check_soname

# The linker takes the static library where it finds no other.
cp -a "$root" "$static_root"
rm -f "$static_root$libdir"/libgpusvm.so*

here=$source_root/tests/consumer
# A compiler may come with arguments.
# shellcheck disable=SC2086
{
    for from in "$root" "$static_root"; do
        kind=$(basename "$from")
        try "c, $kind" "$from" libgpusvm "$here/device_fault.c" \
            $CC -std=gnu11
        if [ -n "$CXX" ]; then
            try "c++, $kind" "$from" libgpusvm "$here/device_fault.c" \
                $CXX -std=c++17 -x c++
        fi
        try "kernel spelling, $kind" "$from" libgpusvm-linux \
            "$here/kernel_spelling.c" $CC -std=gnu11
    done
    try_readme $CC -std=gnu11
}

if [ $failed -eq 0 ] && [ -n "$not_run" ]; then
    echo "skip: everything builds, but there is no userfaultfd to run it"
    exit 77
fi
exit $failed
