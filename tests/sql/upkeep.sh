# S-07: everything that SQLite does to a database in its life; the token survives and the pair still fits. S-10, D-19.
run() { { echo ".load $LSM"; cat; } | sqlite3 -batch test.db 2>&1; }
run <<'END'
CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b TEXT);
CREATE TABLE p(a INTEGER PRIMARY KEY, b);
BEGIN; INSERT INTO t VALUES(1, 'one'); INSERT INTO p VALUES(1, 'one'); COMMIT;
ALTER TABLE p ADD COLUMN c DEFAULT 'new'; ALTER TABLE p RENAME COLUMN b TO bb; ALTER TABLE p RENAME TO q;
BEGIN; INSERT INTO t VALUES(2, 'two'); INSERT INTO q VALUES(2, 'two', 'x'); COMMIT;
CREATE INDEX i ON q(bb); REINDEX; ANALYZE; PRAGMA optimize;
INSERT INTO t VALUES(3, 'three');
VACUUM;
BEGIN; INSERT INTO t VALUES(4, 'four'); DELETE FROM q WHERE a = 1; COMMIT;
PRAGMA page_size = 8192; VACUUM; PRAGMA page_size;
PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA incremental_vacuum;
INSERT INTO t VALUES(5, 'five');
PRAGMA journal_mode = WAL;
BEGIN; INSERT INTO t VALUES(6, 'six'); INSERT INTO q VALUES(6, 'six', 'x'); COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA journal_mode = PERSIST;
BEGIN; INSERT INTO t VALUES(7, 'seven'); INSERT INTO q VALUES(7, 'seven', 'x'); COMMIT;
PRAGMA journal_mode = TRUNCATE;
INSERT INTO t VALUES(8, 'eight');
PRAGMA journal_mode = DELETE;
PRAGMA user_version = 5; PRAGMA application_id = 77;
DROP TABLE q; CREATE TABLE q(a); DROP INDEX IF EXISTS i;
SELECT group_concat(a) FROM t;
END
echo "opened again"
run <<'END'
SELECT lsm_check();
SELECT group_concat(b) FROM t;
PRAGMA integrity_check;
.print RETURNING, UPSERT, a table into itself
INSERT INTO t VALUES(9, 'nine') RETURNING a, b;
UPDATE t SET b = b || '!' WHERE a > 7 RETURNING *;
DELETE FROM t WHERE a < 3 RETURNING b;
INSERT INTO t VALUES(9, 'x') ON CONFLICT(a) DO UPDATE SET b = 'y';
INSERT INTO t SELECT a + 100, b FROM t; SELECT count(*), sum(a) FROM t;
.print the row of the token is deleted (D-19)
DELETE FROM lsmvtab_store;
SELECT * FROM t LIMIT 1;
INSERT INTO t VALUES(1000, 1);
SELECT count(*) FROM lsmvtab_store;
END
