#!/usr/bin/env bash
#
# run.sh -- the demo itself is tested: it ends well on a small directory, cleans up,
# works again, and its checks fail on what they are there for.
#
# Prints `ok NAME` / `FAIL NAME`. BUILD is the directory of the extension.
set -u
cd "$(dirname "$0")/../.." || exit 2

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
export LSM=$build/lsmvtab.so
[ -e "$LSM" ] || { echo "FAIL demo: $LSM is missing (make)"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-demotest-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
. tests/claim.sh

# A directory with what a real one has: links, an empty file, odd names, much that is alike.
tree=$work/tree
mkdir -p "$tree/a b/c" "$tree/docs" "$work/tmp"
for i in $(seq 1 1500); do echo "$i" >"$tree/docs/$i.txt"; done
ln -s nowhere "$tree/a b/dangling"
ln -s ../docs/1.txt "$tree/a b/link"
: >"$tree/a b/c/empty"
printf x >"$tree/a b/c/$(printf 'quote\047s \303\244 \377')"

whole() { TMPDIR=$work/tmp DEMO_ROOT=$tree tests/demo/demo.sh >"$work/whole" 2>&1; }
says() { grep -E "$1" "$work/whole" >&2 || { cat "$work/whole"; return 1; }; }

claim demo_ends_well whole
claim demo_verifies_every_row says '^   source  .* 1,504 rows'
claim demo_counts_its_checks says '^All [0-9]+ checks were right'
claim demo_kills_six_times says '^ *kills survived without a difference +6$'
claim demo_leaves_nothing_behind bash -c "[ -z \"\$(ls -A '$work/tmp')\" ]"
claim demo_works_again whole

# ---- its checks can fail ----

db=$work/db
demo() { "$work/demo" "$1" "$LSM" "$db" "$tree" usr "${2:-0}" >"$work/chapter" 2>&1; }
shown() { demo "$@" || { cat "$work/chapter"; return 1; }; }
lsm() { sqlite3 -batch "$db/lsm.db" -cmd ".load $LSM" "$@"; }
fails() {       # CHAPTER TEXT [ARGUMENT]
    demo "$1" "${3:-0}" && { echo "$1 did not fail"; cat "$work/chapter"; return 1; }
    grep -F "$2" "$work/chapter" >/dev/null || { cat "$work/chapter"; return 1; }
}
mkdir "$db"
gcc -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wpedantic -Werror -I. tests/demo/*.c \
    -o "$work/demo" -lsqlite3 || { echo "FAIL demo_program_builds"; exit 1; }
claim demo_chapters_run_alone demo load
sleep 1.1       # what follows is later than the load by the clock of the file system

lsm "UPDATE files SET size = size + 1 WHERE path GLOB '*/7.txt'"
claim demo_sees_a_changed_row fails verify 'FAIL the lsm table and the ordinary'
sqlite3 "$db/ordinary.db" "UPDATE files SET size = size + 1 WHERE path GLOB '*/7.txt'"
claim demo_sees_a_row_unlike_the_source fails verify 'FAIL the source'
for table in lsm ordinary; do
    sqlite3 "$db/$table.db" -cmd ".load $LSM" \
        "UPDATE files SET size = size - 1 WHERE path GLOB '*/7.txt'"
done
lsm "DELETE FROM files WHERE path GLOB '*/8.txt'"
claim demo_sees_a_missing_row fails verify 'FAIL the lsm table and the ordinary'
sqlite3 "$db/ordinary.db" "DELETE FROM files WHERE path GLOB '*/8.txt'"
claim demo_sees_a_row_that_both_lack fails verify 'FAIL the source'
rm "$tree/docs/8.txt"
echo more >>"$tree/docs/9.txt"
claim demo_excuses_files_that_changed_meanwhile shown verify
lsm "UPDATE files SET size = 5 WHERE path GLOB '*/10.txt'"
claim demo_sees_a_different_answer fails query 'the two sides answer differently'
lsm "UPDATE files SET size = 3 WHERE path GLOB '*/10.txt'"

claim demo_kill_runs_alone demo kill
commits=$(lsm 'SELECT max(n) FROM again_plain')
claim demo_finds_what_was_acknowledged demo check-again "$commits"
claim demo_allows_one_commit_in_flight demo check-again $((commits - 1))
claim demo_sees_a_lost_commit fails check-again FAIL $((commits + 1))
claim demo_sees_a_commit_from_nowhere fails check-again FAIL $((commits - 2))
lsm "CREATE TABLE kept AS SELECT * FROM again WHERE n = 3 LIMIT 1;
     DELETE FROM again WHERE path = (SELECT path FROM kept)"
claim demo_sees_half_a_commit fails check-again FAIL "$commits"
lsm "INSERT INTO again SELECT * FROM kept"
claim demo_sees_it_whole_again demo check-again "$commits"
exit $failed
