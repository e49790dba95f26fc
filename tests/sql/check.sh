# Shows B-13, H-17.
# lsm_check() and the command 'check': what is whole is 'ok'; of what is not, each fault is named; nothing is written.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
sql a.db "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); CREATE VIRTUAL TABLE u USING lsm; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, 'row ' || i FROM n; INSERT INTO u SELECT * FROM t; INSERT INTO t(t) VALUES('flush'); INSERT INTO u VALUES(0, 'in the log')"
copy() { rm -rf b.db*; cp a.db b.db; cp -r a.db-lsm b.db-lsm; }
sum() { (cd b.db-lsm && cat $(ls | grep -v LOCK) | cksum); }
plainly() { sed -E 's/[0-9]{6}\.(ldb|log)/N.\1/g; s/MANIFEST-[0-9]+/MANIFEST-N/g; s/offset [0-9]+/offset N/; s/[0-9]+ bytes/N bytes/g; s/size [0-9]+/size N/; s/[0-9]+, not [0-9]+/X, not Y/'; }
try() { before=$(sum); sql b.db "SELECT lsm_check()" | plainly; sql b.db "INSERT INTO t(t) VALUES('check')" | plainly; [ "$before" = "$(sum)" ] || echo "SOMETHING WAS WRITTEN"; }
damage() { printf "\\$(printf %o $((255 - $(od -An -tu1 -j"$2" -N1 "$1"))))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
table() { ls b.db-lsm/*.ldb | head -1; }
size() { stat -c %s "$1"; }
echo "== whole"
copy; try
echo "== no lsm tables, and no such schema"
sqlite3 none.db "CREATE TABLE p(a)"; sql none.db "SELECT lsm_check()"; ls -d none.db*; sql b.db "SELECT lsm_check('nobody')"; sql b.db "SELECT lsm_check(NULL)"
echo "== in memory, attached, within a transaction, beside an open cursor"
sql :memory: "CREATE VIRTUAL TABLE m USING lsm; INSERT INTO m VALUES(1, 2); SELECT lsm_check(); ATTACH 'b.db' AS aux; SELECT lsm_check('aux'); SELECT lsm_check('main')"
sql b.db "BEGIN; INSERT INTO t VALUES(-1, 'mine'); SELECT lsm_check(); INSERT INTO t(t) VALUES('check'); ROLLBACK; SELECT count(*) FROM t; SELECT lsm_check() FROM t LIMIT 2"
echo "== not from a view or a trigger"
sql b.db "CREATE VIEW v AS SELECT lsm_check(); SELECT * FROM v; DROP VIEW v"
echo "== a byte of a table: a block, the index, the footer"
for at in 100 $(($(size "$(table)") - 200)) $(($(size "$(table)") - 4)); do copy; damage "$(table)" $at; try; done
echo "== two tables: both are named"
copy; for f in b.db-lsm/*.ldb; do damage $f 100; done; sql b.db "SELECT lsm_check()" | plainly
echo "== a table is gone, shorter, longer, another one"
copy; rm "$(table)"; try
copy; truncate -s -1 "$(table)"; try
copy; echo x >>"$(table)"; try
copy; set -- b.db-lsm/*.ldb; mv "$1" x; mv "$2" "$1"; mv x "$2"; try
echo "== the log, before its end"
copy; damage b.db-lsm/*.log 150; try
echo "== MANIFEST and CURRENT"
copy; damage b.db-lsm/MANIFEST-* 120; try
copy; damage b.db-lsm/CURRENT 3; try
echo "== what is not a store's, and what nothing needs any more"
copy; echo >b.db-lsm/stranger; cp "$(table)" b.db-lsm/999999.ldb; sql b.db "SELECT lsm_check()"; ls b.db-lsm | grep -c -e stranger -e 999999
echo "== files of terabytes without a block: nobody reads them"
for f in MANIFEST log ldb; do copy; truncate -s 1T "$(ls b.db-lsm/*$f* | head -1)"; timeout 20 sqlite3 -batch b.db -cmd ".load $LSM" "SELECT count(*) FROM t" 2>&1 | plainly; done
echo "== a table whose rows are nowhere"
copy; sqlite3 b.db "UPDATE u_lsm SET uuid = x'00112233445566778899aabbccddeeff'"; sql b.db "SELECT lsm_check()"
echo "== the directory is gone, or foreign"
copy; rm -r b.db-lsm; sql b.db "SELECT lsm_check()"; ls -d b.db-lsm 2>/dev/null
sql c.db "CREATE VIRTUAL TABLE t USING lsm"; cp -r c.db-lsm b.db-lsm; sql b.db "SELECT lsm_check()"
echo "== damaged while it is open"
copy; (echo ".load $LSM"; echo "SELECT count(*) FROM t WHERE a = 1;"; echo ".shell printf XX | dd of=\$(ls b.db-lsm/MANIFEST-*) bs=1 seek=120 conv=notrunc 2>/dev/null"; echo "SELECT lsm_check();") | sqlite3 -batch b.db 2>&1 | plainly
echo "== tables of others whose names end as ours do"
sqlite3 -batch theirs.db "CREATE TABLE foo_lsm(x)"; sql theirs.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); INSERT INTO t VALUES(1)" "SELECT lsm_check()" "SELECT lsm_backup_all('ours.db') > ''"
