# Shows H-19.
# Shadow objects that someone changed are refused, and their SQL does not run.
sql() { local db=$1; shift; sqlite3 -batch "$db" "$@"; }
lsm() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@"; }
lsm a.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE victim(a); INSERT INTO victim VALUES(1); INSERT INTO t VALUES(1, 1)"
copy() { rm -rf b.db*; cp a.db b.db; cp -r a.db-lsm b.db-lsm; }
try() { lsm b.db "BEGIN; INSERT INTO t VALUES(2, 2); COMMIT" "SELECT count(*) FROM t" "SELECT count(*) FROM victim"; }
copy; echo "a trigger on the token:"
sql b.db "CREATE TRIGGER evil AFTER UPDATE ON lsmvtab_store BEGIN DELETE FROM victim; END"; try
copy; echo "a view in its place:"
sql b.db "ALTER TABLE lsmvtab_store RENAME TO x; CREATE VIEW lsmvtab_store AS SELECT * FROM x"; try
copy; echo "an index on it:"
sql b.db "CREATE INDEX i ON lsmvtab_store(data)"; try
copy; echo "the row is gone:"
sql b.db "DELETE FROM lsmvtab_store"; try
copy; echo "the row is damaged:"
sql b.db "UPDATE lsmvtab_store SET data = zeroblob(64)"; try
copy; echo "the table is gone:"
sql b.db "DROP TABLE lsmvtab_store"; try
copy; echo "a newer format:"
sql b.db "UPDATE t_lsm SET format = 2"; try
copy; echo "another declaration:"
sql b.db "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)' WHERE name = 't'"; try
copy; echo "no shadow table:"
sql b.db "DROP TABLE t_lsm"; try; lsm b.db "SELECT lsm_check()"
copy; echo "another declaration in it:"
sql b.db "UPDATE t_lsm SET declaration = 'k'"; lsm b.db "SELECT lsm_check()"
copy; echo "whatever way the module was written:"
lsm b.db 'CREATE VIRTUAL TABLE "using x" USING/**/ "lsm"(a PRIMARY KEY)' 'CREATE VIRTUAL TABLE [v]using -- x
Lsm(a PRIMARY KEY)' "CREATE VIRTUAL TABLE f USING fts5(a, tokenize = 'trigram', prefix = '2')" "SELECT lsm_check()"
sql b.db 'DROP TABLE "using x_lsm"; DROP TABLE v_lsm; PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES('"'table', 'c', 'c', 0, 'CREATE VIRTUAL TABLE c USING csv(filename=''x using lsm'')')"; lsm b.db "SELECT lsm_check()"
copy; echo "as it was:"
try
echo "== and mended, where the store itself says that it belongs here"
sqlite3 a.db "CREATE TABLE IF NOT EXISTS p(a)"; lsm a.db "BEGIN; INSERT INTO t VALUES(3, 3); INSERT INTO p VALUES(3); COMMIT"; lsm a.db "CREATE VIRTUAL TABLE u USING lsm; INSERT INTO u VALUES(1, 'u')" "INSERT INTO t VALUES(4, 4)"
mend() {
    copy; sql b.db "$1"; echo "-- $1"; before=$(cksum <b.db)
    lsm b.db "SELECT count(*) FROM t" 2>&1 | sed 's/ at transaction [0-9]*/ at transaction N/'; lsm b.db "SELECT lsm_accept()" 2>&1 | sed 's/ at transaction [0-9]*/ at transaction N/'; [ "$before" = "$(cksum <b.db)" ] && echo "nothing was changed"
    lsm b.db "SELECT lsm_accept('store')" 2>&1 | sed 's/ at transaction [0-9]*/ at transaction N/'
    lsm b.db "SELECT lsm_check()" "SELECT lsm_accept()" "SELECT count(*) FROM t" "SELECT * FROM u" "SELECT count(*) FROM victim"
    lsm b.db "BEGIN; INSERT INTO t VALUES(9, 9); INSERT INTO p VALUES(9); COMMIT" "INSERT INTO t VALUES(10, 10)" "INSERT INTO t(t) VALUES('flush')"
    lsm b.db "SELECT count(*) FROM t JOIN p USING (a)" "SELECT max(a) FROM t" "SELECT count(*) FROM victim"
}
mend "DELETE FROM lsmvtab_store"
mend "UPDATE lsmvtab_store SET data = zeroblob(64)"
mend "UPDATE lsmvtab_store SET data = 'text'"
mend "DROP TABLE lsmvtab_store"
mend "DROP TABLE lsmvtab_redo"
mend "DROP TABLE lsmvtab_redo; DROP TABLE lsmvtab_store"
mend "CREATE TRIGGER evil AFTER UPDATE ON lsmvtab_store BEGIN DELETE FROM victim; END; CREATE TRIGGER evil2 BEFORE DELETE ON lsmvtab_redo BEGIN DELETE FROM victim; END"
mend "ALTER TABLE lsmvtab_store RENAME TO x; CREATE VIEW lsmvtab_store AS SELECT * FROM x; CREATE TRIGGER evil INSTEAD OF UPDATE ON lsmvtab_store BEGIN DELETE FROM victim; END"
mend "CREATE INDEX i ON lsmvtab_store(data)"
mend "DROP TABLE lsmvtab_store; CREATE TABLE lsmvtab_store(id, data, more)"
echo "-- behind a killed process the token that can be read says what it had committed last"
for lost in lsmvtab_redo lsmvtab_store; do
    rm -rf k.db*
    lsm k.db "PRAGMA journal_mode = WAL" "CREATE TABLE p(a); CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)" \
        "BEGIN; INSERT INTO t VALUES(1); INSERT INTO p VALUES(1); COMMIT" "BEGIN; INSERT INTO t VALUES(2); INSERT INTO p VALUES(2); COMMIT" \
        '.shell kill -9 $PPID' >/dev/null 2>&1
    sql k.db "DROP TABLE $lost"
    lsm k.db "SELECT lsm_accept()" "SELECT lsm_accept('store')" "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM p)" "SELECT lsm_check()"
done
echo "-- another's directory is not taken for ours"
lsm c.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 'c')"
copy; rm -r b.db-lsm; cp -r c.db-lsm b.db-lsm; sql b.db "DELETE FROM lsmvtab_store"
lsm b.db "SELECT lsm_accept()"; lsm b.db "SELECT lsm_accept('store')"
echo "-- nor where there is none"
copy; rm -r b.db-lsm; sql b.db "DELETE FROM lsmvtab_store"
lsm b.db "SELECT lsm_accept()"; lsm b.db "SELECT lsm_accept('store')"; ls -d b.db-lsm 2>/dev/null
lsm b.db "SELECT lsm_accept('empty')" "SELECT count(*) FROM t" "INSERT INTO t VALUES(1, 1)" "SELECT lsm_check()"
echo "-- with the store open in the process"
copy; printf '%s\n' ".load $LSM" "SELECT count(*) FROM t;" "DELETE FROM lsmvtab_store;" "SELECT count(*) FROM t;" "SELECT lsm_accept('store') > '';" "SELECT count(*) FROM t;" "INSERT INTO t VALUES(11, 11);" "SELECT max(a) FROM t;" | sqlite3 b.db 2>&1
lsm b.db "SELECT max(a) FROM t"
echo "-- protected from ordinary SQL only where the application asks for it"
copy; printf '%s\n' ".load $LSM" ".dbconfig defensive on" "SELECT count(*) FROM t;" "DELETE FROM t_lsm;" "DROP TABLE t_lsm;" "UPDATE lsmvtab_store SET data = NULL;" "BEGIN; INSERT INTO t VALUES(11, 11); COMMIT;" | sqlite3 b.db 2>&1
echo "-- both are gone: no silent ok, no backup without rows, no second store"
copy; sql b.db "DROP TABLE lsmvtab_store" "DROP TABLE lsmvtab_redo"
lsm b.db "SELECT lsm_check()"; lsm b.db "SELECT lsm_backup_all('bad.db')"; ls -d bad.db* 2>/dev/null
lsm b.db "CREATE VIRTUAL TABLE more USING lsm"; mv b.db-lsm aside-lsm; lsm b.db "CREATE VIRTUAL TABLE more USING lsm"; ls -d b.db-lsm 2>/dev/null; mv aside-lsm b.db-lsm
lsm b.db "SELECT lsm_accept('store')" "SELECT lsm_check()"
echo "-- and the tables' own, too"
copy; for t in $(sqlite3 b.db "SELECT name FROM sqlite_master WHERE name LIKE '%\_lsm' ESCAPE '\' AND rootpage > 0") lsmvtab_store lsmvtab_redo; do sql b.db "DROP TABLE $t"; done
lsm b.db "SELECT lsm_check()"
