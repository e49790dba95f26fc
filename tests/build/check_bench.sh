#!/usr/bin/env bash
#
# check_bench.sh -- the tables of tests/bench/README.md are those of results.tsv.
#
# Prints `ok NAME` / `FAIL NAME`.
set -u
cd "$(dirname "$0")/../bench" || exit 2

work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-check-bench-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
. ../claim.sh

# shows_its_results DIR: rendering DIR again changes nothing.
shows_its_results() {
    local again
    again=$(mktemp -d "$work/again-XXXXXX")
    "$1/render.sh" "$again" || return 1
    diff "$1/README.md" "$again/README.md" || return 1
    if [ -f "$again/engine.svg" ] || [ -f "$1/engine.svg" ]; then
        diff -q "$1/engine.svg" "$again/engine.svg" || return 1
    fi
}
differs() { ! shows_its_results "$1" >/dev/null 2>&1; }

# Every run names what it was made on, every row has all fields.
is_complete() {
    awk -F'\t' '$1 == "run" && (NF != 6 || $2 !~ /^(sql|engine)$/ || $3 !~ /^20..-..-..T/ || $4 == "" ||
                                $5 !~ /cores/ || $6 !~ /^n = /) ||
                $1 == "row" && (NF != 12 || $4 !~ /^[0-9.e+-]+$/) || $1 !~ /^(run|row|#.*)$/ {
                    print FILENAME ":" FNR ": " $0; bad = 1 } END { exit bad }' "$1"
}

copy() {
    mkdir "$work/$1"
    cp README.md render.sh render.awk results.tsv "$work/$1"
    [ ! -f engine.svg ] || cp engine.svg "$work/$1"
}

claim bench_readme_shows_its_results shows_its_results "$PWD"
claim bench_results_name_commit_machine_date_options is_complete results.tsv

copy edited
sed -i "/^<!-- begin sql/a | a row | of | somebody |" "$work/edited/README.md"
claim bench_check_refuses_an_edited_table differs "$work/edited"
copy newer
printf 'run\tsql\t2099-01-01T00:00Z\tnone\tnone, 1 cores\tn = 1\nrow\tscan\tlsm\t1\trows/s\t1\t-1\t-1\t-1\ttime\t2\t0\n' \
    >>"$work/newer/results.tsv"
claim bench_check_refuses_results_that_are_not_shown differs "$work/newer"
printf 'run\tsql\tyesterday\n' >"$work/bad.tsv"
refused() { ! is_complete "$1" >/dev/null; }
claim bench_check_refuses_a_run_without_its_machine refused "$work/bad.tsv"

exit $failed
