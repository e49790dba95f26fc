#!/usr/bin/env bash
# Shows D-17.
#
# run.sh -- every golden store is opened by this build, verified, and written to.
#
# Prints `ok NAME` / `FAIL NAME`. BUILD is the directory of the extension.
set -u
cd "$(dirname "$0")" || exit 2
top=$(cd ../.. && pwd)
build=${BUILD:-build}
case $build in /*) ;; *) build=$top/$build ;; esac
lsm=$build/lsmvtab.so
[ -e "$lsm" ] || { echo "FAIL golden: $lsm is missing (make)"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-golden-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
ln -s "$lsm" "$work/lsmvtab.so"
. ../claim.sh

sums() { find "$1" -type f -exec md5sum {} + | sort -k2; }
shell() { (cd "$work" && sqlite3 -batch -bail store.db -cmd '.load ./lsmvtab' "$@"); }

copy() {        # VERSION STORE
    rm -rf "$work"/store.db*
    local suffix
    for suffix in "" -wal -lsm; do
        [ ! -e "$1/$2.db$suffix" ] || cp -r "$1/$2.db$suffix" "$work/store.db$suffix"
    done
}
holds() {       # EXPECTED
    shell <verify.sql >"$work/actual" && diff "$1" "$work/actual"
}
# The store was made with rows in the log and on several levels; opening changes no table.
has_levels() {
    local found
    found=$(shell "SELECT count(DISTINCT level) FROM lsm_levels('numbers') WHERE files > 0")
    shell "SELECT * FROM lsm_levels('numbers') WHERE files > 0"
    [ "$found" -ge 2 ] && [ -n "$(find "$work/store.db-lsm" -name '*.log' -size +100c)" ]
}
writes() { shell <write.sql; }
compacts() { shell "INSERT INTO numbers(numbers) VALUES('compact')" "INSERT INTO people(people) VALUES('compact')"; }
checks() {
    (cd "$work" && sqlite3 -batch store.db <"$top/sql/check.sql") >"$work/check"
    cat "$work/check"
    [ "$(grep -c ': ok, ' "$work/check")" -eq 7 ] && grep -qx 'database: ok' "$work/check"
}
# With one byte of a table changed the store says so, and gives no wrong row.
sees_damage() {
    local table
    table=$(find "$work/store.db-lsm" -name '*.ldb' -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
    printf '\377\377' | dd of="$table" bs=1 seek=200 conv=notrunc 2>/dev/null
    ! shell 'SELECT count(*), sum(length(b)) FROM numbers; SELECT count(b) FROM trimmed;
        SELECT sum(length(value)) FROM anything; SELECT count(note) FROM people' && grep -q 'corrupt' "$work/said"
}

for version in v[0-9]*; do
    [ -d "$version" ] || { echo "FAIL golden: there is no store"; exit 1; }
    sums "$version" >"$work/before"
    for path in "$version"/*.db; do
        store=$(basename "$path" .db)
        name=golden_${version}_$store
        copy "$version" "$store"
        claim "${name}_has_rows_on_levels_and_in_the_log" has_levels
        claim "${name}_holds_its_rows" holds "$version/expected"
        claim "${name}_holds_them_again" holds "$version/expected"
        claim "${name}_can_be_written" writes
        claim "${name}_holds_what_was_written" holds "$version/expected-written"
        claim "${name}_can_be_compacted" compacts
        claim "${name}_holds_it_still" holds "$version/expected-written"
        claim "${name}_passes_the_checks" checks
        copy "$version" "$store"
        claim "${name}_is_not_trusted_when_damaged" sees_damage
    done
    claim "golden_${version}_is_as_it_was" diff "$work/before" <(sums "$version")
done
exit $failed
