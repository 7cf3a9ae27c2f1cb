#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every public header compiles on its own, twice in a row and without a
# warning, in both spellings; every linux/ shim does in the kernel's, and none
# hides a header that the system has.
#
# usage: headers.sh LANGUAGE COMPAT_DIR HEADER... -- COMPILER...
set -u

language=$1
compat_dir=$2
shift 2
headers=
while [ "$1" != -- ]; do
    headers="$headers $1"
    shift
done
shift

failed=0

# compile WHAT SOURCE FLAG...
compile() {
    what=$1
    source=$2
    shift 2
    if ! printf '%b' "$source" | "$@" -fsyntax-only -Wall -Wextra -Werror \
        -x "$language" -; then
        echo "FAILED: $what"
        failed=1
    fi
}

for header in $headers; do
    once="#include <$header>\n"
    case $header in
    gpusvm/names_begin.h)
        continue
        ;;
    gpusvm/names_end.h)
        once="#include <gpusvm/names_begin.h>\n$once"
        ;;
    linux/*)
        compile "$header" "$once$once" "$@" -DGPUSVM_LINUX_NAMES \
            "-I$compat_dir"
        if printf '%b' "$once" | "$@" -E -x "$language" - \
            >/dev/null 2>&1; then
            echo "FAILED: the system has a $header of its own"
            failed=1
        fi
        continue
        ;;
    esac
    compile "$header" "$once$once" "$@"
    compile "$header, kernel spelling" "$once$once" "$@" -DGPUSVM_LINUX_NAMES
done
exit $failed
