#!/usr/bin/env bash
#
# render.sh -- write what README.md shows between its markers, and engine.svg, from
# results.tsv: the last run of each kind.
#
#   tests/bench/render.sh [DIR]       writes DIR/README.md and DIR/engine.svg; default: in place
#
# results.tsv, fields between tabs; a run and then its rows:
#
#   run  kind  date  commit  machine  options
#   row  label  side  value  unit  cpu_us  p50_us  p99_us  p99.9_us  judge  goal  aim
#
# kind: sql or engine. -1: not measured, 0 as goal or aim: none. cpu_us: processor time of all
# threads for one operation. judge: how sides are compared, as in the programs.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-render-XXXXXX")
trap 'rm -rf "$tmp"' EXIT

awk -v svg="$tmp/engine.svg" -f render.awk results.tsv README.md >"$tmp/README.md"
cp "$tmp/README.md" "$out/README.md"
if [ -f "$tmp/engine.svg" ]; then cp "$tmp/engine.svg" "$out/engine.svg"; fi
