#!/usr/bin/env bash
#
# make.sh -- write the golden stores of a format version with the build at hand.
#
#   tests/golden/make.sh v1
#
#   v1/closed.db, closed.db-lsm/    made in DELETE mode, closed in good order
#   v1/killed.db, killed.db-lsm/    made in WAL mode; the writer was killed with a -wal file
#                                   there and a transaction under way
#   v1/expected                     what verify.sql gives, from ordinary tables
#   v1/expected-written             and after write.sql
#
# A golden store is made once for each released format and never again: it is what
# users have on their disks. So this refuses to touch one that is there.
set -eu
cd "$(dirname "$0")"
top=$(cd ../.. && pwd)
build=${BUILD:-build}
case $build in /*) ;; *) build=$top/$build ;; esac
lsm=$build/lsmvtab.so

version=${1:?usage: tests/golden/make.sh v1}
[ ! -e "$version" ] || { echo "$version is there: golden stores stay as they are" >&2; exit 1; }
[ -e "$lsm" ] || { echo "$lsm is missing (make)" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-golden-XXXXXX")
trap 'rm -rf "$work"' EXIT

# @TABLE name(columns; options)@ and @STEP command table@, as lsm tables or as ordinary ones.
as_lsm() {
    sed -E -e 's/^@TABLE ([a-z]+)\((.*); (.*)\)@$/CREATE VIRTUAL TABLE \1 USING lsm(\2, \3);/' \
        -e 's/^@TABLE ([a-z]+)\((.*)\)@$/CREATE VIRTUAL TABLE \1 USING lsm(\2);/' \
        -e "s/^@STEP ([a-z]+)=([0-9]+) ([a-z]+)@\$/INSERT INTO \3(\3, _arg) VALUES('\1', \2);/" \
        -e "s/^@STEP ([a-z]+) ([a-z]+)@\$/INSERT INTO \2(\2) VALUES('\1');/" "$1"
}
as_ordinary() {
    sed -E -e 's/^@TABLE ([a-z]+)\((.*); (.*)\)@$/CREATE TABLE \1(\2) WITHOUT ROWID;/' \
        -e 's/^@TABLE ([a-z]+)\((.*)\)@$/CREATE TABLE \1(\2) WITHOUT ROWID;/' -e '/^@STEP/d' "$1"
}
as_lsm fill.sql >"$work/lsm.sql"
as_ordinary fill.sql >"$work/ordinary.sql"

out=$work/$version
mkdir "$out"
sqlite3 -batch -bail "$out/closed.db" -cmd ".load $lsm" <"$work/lsm.sql"

{
    echo "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    cat "$work/lsm.sql"
    echo "BEGIN;"
    echo "DELETE FROM numbers; INSERT INTO plain VALUES(9, 'never committed');"
    echo ".shell kill -9 \$PPID"
} >"$work/killed.sql"
{ sqlite3 -batch -bail "$out/killed.db" -cmd ".load $lsm" <"$work/killed.sql" >/dev/null; } 2>/dev/null && exit 1
[ -s "$out/killed.db-wal" ]
rm -f "$out/killed.db-shm"

cat "$work/ordinary.sql" verify.sql | sqlite3 -batch -bail :memory: >"$out/expected"
cat "$work/ordinary.sql" write.sql verify.sql | sqlite3 -batch -bail :memory: >"$out/expected-written"
cp -r "$out" "$version"
ls -lR "$version"
