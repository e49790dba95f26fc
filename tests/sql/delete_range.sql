-- One operation for many rows: delete-all and lsm_delete_range.
CREATE VIRTUAL TABLE kv USING lsm;
INSERT INTO kv VALUES(1,'a'),(2,'b'),(3.5,'c'),('a','d'),('b','e'),(x'00','f');
SELECT quote(lsm_delete_range('kv', 2, 'b'));
SELECT group_concat(quote(key)) FROM kv;
-- Within a transaction it is a write like any.
BEGIN; SAVEPOINT s;
SELECT quote(lsm_delete_range('main.kv', NULL, NULL));
SELECT count(*) FROM kv;
ROLLBACK TO s;
SELECT count(*) FROM kv;
INSERT INTO kv(kv) VALUES('delete-all');
INSERT INTO kv VALUES(9,'z');
SELECT group_concat(quote(key)) FROM kv;
ROLLBACK;
SELECT group_concat(quote(key)) FROM kv;
-- Bounds are converted as the column stores them; a DESC column keeps [lo, hi) by value.
CREATE VIRTUAL TABLE d USING lsm(a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY(a DESC, b));
INSERT INTO d VALUES('x',1,1),('Y',2,2),('z',3,3),('y',9,9),('5',0,0);
SELECT quote(lsm_delete_range('d', 'y', 'Z'));
SELECT group_concat(a||b) FROM d;
SELECT quote(lsm_delete_range('d', 5, 'x'));
SELECT group_concat(a||b) FROM d;
SELECT quote(lsm_delete_range('d', 'z', 'a'));
SELECT quote(lsm_delete_range('d', 'x', NULL));
SELECT count(*) FROM d;
-- After a flush and a compaction nothing comes back, and no table is left.
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO kv SELECT i, 'v' || i FROM n WHERE i > 1;
INSERT INTO kv(kv) VALUES('flush');
SELECT quote(lsm_delete_range('kv', 10, 4990));
SELECT count(*) FROM kv;
INSERT INTO kv(kv) VALUES('compact');
SELECT count(*), min(value), max(value) FROM kv;
INSERT INTO kv(kv) VALUES('delete-all');
INSERT INTO kv(kv) VALUES('compact');
SELECT count(*) FROM kv;
SELECT sum(files) FROM lsm_levels('kv');
SELECT sum(jobs) > 0, sum(bytes_written) > 0, sum(runs), sum(range_deletes) FROM lsm_levels('kv');
SELECT name FROM lsm_stats('kv') WHERE name IN ('put_timed', 'next_total_us', 'values_held');
SELECT value > 3 FROM lsm_stats('kv') WHERE name = 'range_deletes';
-- What is refused.
INSERT INTO kv(kv) VALUES('delete-range');
SELECT lsm_delete_range('nothing', 1, 2);
SELECT lsm_delete_range(NULL, 1, 2);
CREATE VIEW v AS SELECT lsm_delete_range('d', NULL, NULL);
SELECT * FROM v;
CREATE TABLE ordinary(a, "ordinary" INT);
SELECT lsm_delete_range('sqlite_master', 1, 2);
