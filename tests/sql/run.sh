#!/usr/bin/env bash
#
# run.sh -- SQL through the stock sqlite3 shell with the built extension.
#
#   tests/sql/run.sh [--update] [NAME...]
#
#   <name>.sql      each in an empty directory, the database is test.db; what is printed,
#                   errors too, is compared with <name>.out
#   vs_<name>.sql   the same for an lsm table and for an ordinary WITHOUT ROWID table:
#                   @TABLE t(...)@ becomes either, and both must print the same
#   <name>.sh       for what needs files or processes: gets $LSM (what to .load)
#
# Paths, UUIDs and process numbers are replaced by DIR, UUID and PID before comparing.
# --update writes the .out files from what is printed: read them before they are committed.
set -u
cd "$(dirname "$0")" || exit 2
here=$PWD
build=${BUILD:-build}
case $build in /*) ;; *) build=$here/../../$build ;; esac
export LSM=$build/lsmvtab.so
update=
[ "${1:-}" = --update ] && { update=1; shift; }
[ -e "$LSM" ] || { echo "FAIL sql: $LSM is missing (make)"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-sql-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
failed=0

# Everything that differs from run to run.
plain() {
    sed -E -e "s|$work/[a-z]+|DIR|g" -e 's/[0-9a-f]{32}/UUID/g' -e 's/process [0-9]+/process PID/g' \
        -e 's/pid [0-9]+/pid PID/g' -e 's/near line [0-9]+/near line/' \
        -e 's/since [0-9]+ s/since N s/' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+Z?/TIME/g'
}

# shell DIR FILE: the shell reads FILE in DIR.
shell() {
    (cd "$1" && { echo ".load $LSM"; cat "$2"; } | stdbuf -oL timeout 120 sqlite3 -batch test.db 2>&1)
}

fresh() {
    rm -rf "${work:?}/$1"
    mkdir "$work/$1"
    echo "$work/$1"
}

verdict() {     # NAME EXPECTED ACTUAL
    if diff -u "$2" "$3" >"$work/diff"; then
        echo "ok sql_$1"
    else
        sed 's/^/    /' "$work/diff" | head -60
        echo "FAIL sql_$1"
        failed=1
    fi
}

for path in *.sql *.sh; do
    name=${path%.*}
    case $path in run.sh | '*'*) continue ;; esac
    if [ $# -gt 0 ]; then
        case " $* " in *" $name "*) ;; *) continue ;; esac
    fi
    case $path in
    vs_*.sql)
        sed -E 's/@TABLE ([a-z]+)\((.*)\)@/CREATE VIRTUAL TABLE \1 USING lsm(\2);/' "$path" >"$work/a.sql"
        sed -E 's/@TABLE ([a-z]+)\((.*)\)@/CREATE TABLE \1(\2) WITHOUT ROWID;/' "$path" >"$work/b.sql"
        shell "$(fresh lsm)" "$work/a.sql" | plain >"$work/actual"
        shell "$(fresh plain)" "$work/b.sql" | plain >"$work/expected"
        verdict "$name" "$work/expected" "$work/actual"
        continue ;;
    *.sql) shell "$(fresh dir)" "$here/$path" | plain >"$work/actual" ;;
    *.sh) (cd "$(fresh dir)" && timeout 120 bash "$here/$path" 2>&1) | plain >"$work/actual" ;;
    esac
    [ -n "$update" ] && cp "$work/actual" "$name.out"
    verdict "$name" "$name.out" "$work/actual"
done
exit $failed
