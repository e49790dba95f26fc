# lsm_backup_all: a pair that works, made while the original is in use; nothing is overwritten.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
sql app.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE p(a); INSERT INTO t VALUES(1, 'in a table'); INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(2, 'in the log'); INSERT INTO p VALUES('plain')"
echo "a backup:"
sql app.db "SELECT lsm_backup_all('copy.db')" "INSERT INTO t VALUES(3, 'later'); INSERT INTO p VALUES('later')"
sql copy.db "SELECT * FROM t" "SELECT * FROM p" "INSERT INTO t VALUES(4, 'of the copy'); SELECT count(*) FROM t"
sql app.db "SELECT group_concat(a) FROM t"
echo "links, not copies:"
stat -c %h app.db-lsm/*.ldb copy.db-lsm/*.ldb
echo "nothing is overwritten:"
sql app.db "SELECT lsm_backup_all('copy.db')"
mkdir other.db-lsm; sql app.db "SELECT lsm_backup_all('other.db')"; rmdir other.db-lsm
touch other.db-journal; sql app.db "SELECT lsm_backup_all('other.db')"; rm other.db-journal
ln -s copy.db link.db; sql app.db "SELECT lsm_backup_all('link.db')"; rm link.db
sql app.db "SELECT lsm_backup_all('')"
sql app.db "SELECT lsm_backup_all('no/such/directory.db')"
sql app.db "SELECT lsm_backup_all('other.db', 'nobody')"
ls
echo "not within a transaction that writes:"
sql app.db "BEGIN; INSERT INTO t VALUES(9, 9); SELECT lsm_backup_all('other.db')"
sql app.db "BEGIN; INSERT INTO p VALUES(9); SELECT lsm_backup_all('other.db')"
sql app.db "BEGIN; SELECT count(*) FROM t; SELECT 'ok' WHERE lsm_backup_all('reading.db') IS NOT NULL; COMMIT"
sql reading.db "SELECT count(*) FROM t"
echo "not from a view or a trigger:"
sql app.db "CREATE VIEW v AS SELECT lsm_backup_all('view.db'); SELECT * FROM v"; ls view.db 2>/dev/null
echo "a disk that is full:"
(trap '' XFSZ; ulimit -f 4; sql app.db "SELECT lsm_backup_all('full.db')"); ls full.db* 2>/dev/null
echo "of a backup, in every journal mode:"
from=copy
for mode in wal delete truncate persist; do
    sql $from.db "PRAGMA journal_mode = $mode; INSERT INTO t VALUES('$mode', 1); INSERT INTO p VALUES('$mode'); SELECT 'ok' WHERE lsm_backup_all('$mode.db') IS NOT NULL"
    from=$mode
done
sql persist.db "SELECT group_concat(a) FROM t" "SELECT group_concat(a) FROM p" "PRAGMA integrity_check"
echo "of an attached database, one in memory, and one without lsm tables:"
sql :memory: "ATTACH 'app.db' AS aux; SELECT 'ok' WHERE lsm_backup_all('aux.db', 'aux') IS NOT NULL"; sql aux.db "SELECT count(*) FROM t"
sql :memory: "CREATE VIRTUAL TABLE m USING lsm; INSERT INTO m VALUES(1, 'was in memory'); SELECT 'ok' WHERE lsm_backup_all('memory.db') IS NOT NULL"; sql memory.db "SELECT * FROM m"
sqlite3 plain.db "CREATE TABLE p(a); INSERT INTO p VALUES(1)"; sql plain.db "SELECT lsm_backup_all('plain2.db')"; sql plain2.db "SELECT * FROM p"; ls -d plain2.db*
echo "permissions:"
chmod 640 app.db; umask 0; sql app.db "SELECT 'ok' WHERE lsm_backup_all('mode.db') IS NOT NULL"; stat -c '%a' mode.db mode.db-lsm mode.db-lsm/CURRENT
echo "== within the store's own directory"
sql app.db "SELECT lsm_backup_all('app.db-lsm/copy.db')"; ls app.db-lsm/copy* 2>/dev/null
echo "== a table file that is a link, or was cut: no copy that fails when it is needed"
sql link.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); INSERT INTO t VALUES(1); INSERT INTO t(t) VALUES('flush')"
table=$(ls link.db-lsm/*.ldb)
mv "$table" aside; ln -s ../aside "$table"; sql link.db "SELECT lsm_backup_all('other.db')" | sed -E 's/[0-9]{6}/N/g'; ls -d other.db* 2>/dev/null
rm "$table"; head -c 100 aside >"$table"; sql link.db "SELECT lsm_backup_all('other.db')" | sed -E 's/[0-9]{6}/N/g'; ls -d other.db* 2>/dev/null
rm "$table"; mv aside "$table"; sql link.db "SELECT lsm_backup_all('other.db') LIKE '% 0 copied)'"
echo "== of a database that may only be read: the copy and the repaired store can be written to"
nobody() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
mkdir ours; chmod 777 ours; chmod a+rx . ..; cd ours
nobody sqlite3 -batch r.db -cmd ".load $LSM" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); INSERT INTO t VALUES(1); INSERT INTO t(t) VALUES('flush')"
chmod 444 r.db
nobody sqlite3 -batch r.db -cmd ".load $LSM" "SELECT lsm_backup_all('copy.db') > ''" 2>&1
nobody sqlite3 -batch r.db -cmd ".load $LSM" "SELECT lsm_repair() > ''" 2>&1
nobody sqlite3 -batch copy.db -cmd ".load $LSM" "INSERT INTO t VALUES(2); SELECT count(*) FROM t; SELECT lsm_check()" 2>&1
stat -c '%a %n' copy.db copy.db-lsm r.db-lsm-repaired; cd ..
