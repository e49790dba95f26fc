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
sql b.db "DROP TABLE t_lsm"; try
copy; echo "as it was:"
try
