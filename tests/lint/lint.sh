#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The rules of style that a machine can check; one at a time.
#
# usage: lint.sh CHECK SOURCE_ROOT
set -u

check=$1
here=$(cd "$(dirname "$0")" && pwd)
cd "$2" || exit 1

max_file_lines=620
max_function_lines=60

skip() {
    echo "skip: $1"
    exit 77
}

# Every file of the project, new ones included.
all_files() {
    if git ls-files >/dev/null 2>&1 && [ -n "$(git ls-files -co \
        --exclude-standard -- meson.build)" ]; then
        git ls-files -co --exclude-standard
    else
        find . -name '.git' -prune -o -path './build*' -prune -o \
            -type f -print | sed 's|^\./||'
    fi | sort | while read -r file; do
        if [ -f "$file" ]; then
            echo "$file"
        fi
    done
}

# files PATTERN: those whose name matches, an extended regular expression.
files() {
    all_files | grep -E "$1"
}

# must_be_empty EXPLANATION: fail if there is text on stdin.
must_be_empty() {
    found=$(cat)
    if [ -n "$found" ]; then
        echo "$found"
        echo "FAILED: $1"
        return 1
    fi
}

kernel_doc() {
    tool=
    for candidate in /usr/lib/linux-kbuild-*/scripts/kernel-doc; do
        if [ -x "$candidate" ]; then
            tool=$candidate
        fi
    done
    [ -n "$tool" ] || skip "kernel-doc (package linux-kbuild-*) is missing"

    copies=$(mktemp -d)
    trap 'rm -rf "$copies"' EXIT
    failed=0
    for header in include/drm/*.h include/gpusvm/*.h; do
        # kernel-doc does not know the word and takes it for a member.
        sed 's/__extension__ //' "$header" >"$copies/$(basename "$header")"
    done
    cd "$copies" || exit 1
    "$tool" -none -Werror ./*.h || failed=1
    return $failed
}

clang_format() {
    clang-format --version 2>/dev/null | grep -q 'version 14\.' ||
        skip "clang-format 14 is missing; other versions format differently"
    files '^(lib|examples|tests|tools)/.*\.(c|h|cpp)$' |
        xargs clang-format --dry-run -Werror
}

spdx() {
    files '(\.(c|h|cpp|in|sh|py|awk|map|md|yml|txt|1)|meson\.build)$|^\.ci/|^\.(clang-format|editorconfig)$' |
        while read -r file; do
            head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
                echo "$file"
        done | must_be_empty "no SPDX-License-Identifier: MIT at the top"
}

whitespace() {
    failed=0
    tab=$(printf '\t')
    text='(\.(c|h|cpp|in|sh|py|awk|map|md|yml|txt|1)|meson\.build|LICENSE)$|^\.'
    files "$text" | xargs grep -nE "[ $tab]+\$" |
        must_be_empty "trailing blanks" || failed=1
    files "$text" | while read -r file; do
        [ -z "$(tail -c 1 "$file")" ] || echo "$file"
    done | must_be_empty "no newline at the end" || failed=1
    files '\.(c|h|cpp|map)$' | xargs grep -nE "^ {8} *[^ \\\\]|^$tab* $tab" |
        must_be_empty "blanks where a tab belongs" || failed=1
    files '(\.(sh|py|awk|yml)|meson\.build|meson_options\.txt)$|^\.ci/' |
        xargs grep -n "$tab" |
        must_be_empty "tabs in a file that is indented by blanks" || failed=1
    return $failed
}

length() {
    failed=0
    files '^(lib|tools)/.*\.[ch]$' | while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le $max_file_lines ] || echo "$file: $lines lines"
    done | must_be_empty "files of more than $max_file_lines lines" || failed=1
    files '^(lib|tools)/.*\.c$' | xargs awk -v max=$max_function_lines '
        /^\{/ { start = FNR }
        /^\}/ {
            if (start && FNR - start - 1 > max)
                printf "%s:%d: %d lines\n", FILENAME, start, FNR - start - 1
            start = 0
        }' | must_be_empty "functions of more than $max_function_lines lines" ||
        failed=1
    return $failed
}

# grep_code REGEX: in the C files named on stdin, comments and strings aside.
grep_code() {
    xargs awk -f "$here/code_only.awk" |
        grep -E "^[^:]*:[0-9]*:(.*[^A-Za-z0-9_])?$1"
}

no_errno() {
    files '^lib/.*\.[ch]$' | grep -vE '^lib/base/(sys\.c|raw_syscall\.h)$' |
        grep_code 'errno([^A-Za-z0-9_.]|$)' |
        must_be_empty "errno outside of lib/base/sys.c and raw_syscall.h"
}

# The helpers in tests/support/ may: they poll, up to a time limit, for what
# sends no event.
no_sleep() {
    files '^tests/.*\.(c|h|cpp)$' | grep -v '^tests/support/' |
        grep_code '(sleep|usleep|nanosleep|clock_nanosleep) *\(' |
        must_be_empty "a test that sleeps instead of waiting for an event"
}

spelling() {
    command -v codespell >/dev/null || skip "codespell is missing"
    all_files | xargs codespell
}

shell() {
    command -v shellcheck >/dev/null || skip "shellcheck is missing"
    files '\.sh$|^\.ci/run$' | xargs shellcheck
}

case $check in
kernel-doc) kernel_doc ;;
clang-format) clang_format ;;
spdx) spdx ;;
whitespace) whitespace ;;
length) length ;;
errno) no_errno ;;
sleep) no_sleep ;;
codespell) spelling ;;
shellcheck) shell ;;
*)
    echo "no such check: $check"
    exit 1
    ;;
esac
