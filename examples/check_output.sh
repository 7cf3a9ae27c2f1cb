#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs an example and looks at what it prints (both streams together).
#
#   check_output.sh [-s STATUS] [-e PATTERN]... PROGRAM [ARGUMENT]...
#
# STATUS is the exit status that is expected (default 0), and each PATTERN an
# extended regular expression that some line must match.  Exits 0 if all is as
# expected, 77 if the program says that it cannot run here, else with the
# program's status, or 1 if only the output is wrong.

expected=0
patterns=$(mktemp) && output=$(mktemp) || exit 99
trap 'rm -f "$patterns" "$output"' EXIT

while getopts s:e: option; do
    case $option in
        s) expected=$OPTARG ;;
        e) printf '%s\n' "$OPTARG" >>"$patterns" ;;
        *) exit 99 ;;
    esac
done
shift $((OPTIND - 1))

"$@" >"$output" 2>&1
status=$?
cat "$output"

if [ "$status" -ne "$expected" ]; then
    echo "check_output: exit status $status, not $expected" >&2
    [ "$status" -ne 0 ] || status=1
    exit "$status"
fi
missing=0
while IFS= read -r pattern; do
    grep -Eq -- "$pattern" "$output" && continue
    echo "check_output: no line matches: $pattern" >&2
    missing=1
done <"$patterns"
exit "$missing"
