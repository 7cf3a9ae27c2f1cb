#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Draw what gpusvm-bench --json has printed, as SVG: for each measure how far it
# is from what it should reach, on a logarithmic scale, with the 10th and the
# 90th percentile of its rounds.  To the right of the line is reached.
#
# usage: scripts/plot-bench.sh RESULT.json PLOT.svg
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 RESULT.json PLOT.svg" >&2
    exit 2
fi
for tool in gnuplot python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "$0: $tool is missing" >&2
        exit 1
    fi
done

data=$(mktemp)
trap 'rm -f "$data"' EXIT

# NAME SCORE LOW HIGH TEXT: a score is the ratio over its aim, or the aim over
# the ratio where less is better.
python3 - "$1" >"$data" <<'PYTHON'
import json
import sys

with open(sys.argv[1]) as result:
    measures = json.load(result)['measures']
for measure in measures:
    if 'ratio' not in measure or measure['reach'] is None:
        continue
    reach = measure['reach']
    low, score, high = (measure[key] / reach for key in ('p10', 'ratio', 'p90'))
    sign = '>='
    if measure['better'] == 'lower':
        low, score, high = 1 / high, 1 / score, 1 / low
        sign = '<='
    print('"%s" %g %g %g "%.2f (%s %.2f)"' % (
        measure['name'].replace('_', '\\\\_'), score, low, high,
        measure['ratio'], sign, reach))
PYTHON

gnuplot -e "data='$data'; result='$2'" - <<'GNUPLOT'
rows = int(system('wc -l <'.data))
set terminal svg size 900, 110 + 24 * rows dynamic background '#ffffff' \
    font 'sans-serif,12'
set output result
unset key
set logscale x 2
set xrange [1.0 / 16 : 128]
set yrange [rows - 0.4 : -0.6]
set xlabel 'times what is to be reached (right is better)'
set xtics ('1/16' 0.0625, '1/8' 0.125, '1/4' 0.25, '1/2' 0.5, '1' 1, '2' 2, \
    '4' 4, '8' 8, '16' 16)
set ytics nomirror
set grid xtics linecolor '#dddddd'
set arrow from 1, graph 0 to 1, graph 1 nohead linewidth 2 linecolor '#888888'
plot data using 2:0:3:4:yticlabels(1) with xerrorbars \
         pointtype 7 pointsize 0.7 linecolor '#3366aa', \
     data using (20):0:5 with labels left
GNUPLOT
