-- Shows D-14.
-- Attached, temporary and memory databases.
ATTACH 'other.db' AS o;
CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b);
CREATE VIRTUAL TABLE o.t USING lsm(a PRIMARY KEY, b);
BEGIN; INSERT INTO t VALUES(1, 'main'); INSERT INTO o.t VALUES(1, 'other'); COMMIT;
SELECT * FROM t JOIN o.t AS x USING (a);
BEGIN; INSERT INTO t VALUES(2, 'main'); INSERT INTO o.t VALUES(2, 'other'); ROLLBACK;
SELECT count(*) FROM t; SELECT count(*) FROM o.t;
.shell ls
DETACH o;
ATTACH 'other.db' AS p;
SELECT * FROM p.t;
ATTACH ':memory:' AS m;
CREATE VIRTUAL TABLE m.t USING lsm(a PRIMARY KEY, b);
INSERT INTO m.t VALUES(1, 'memory');
SELECT * FROM m.t;
DETACH m;
ATTACH ':memory:' AS m;
SELECT * FROM m.t;
CREATE VIRTUAL TABLE m.t USING lsm(a PRIMARY KEY, b);
SELECT count(*) FROM m.t;
CREATE VIRTUAL TABLE temp.x USING lsm(a PRIMARY KEY, b);
INSERT INTO x VALUES(1, 'temp');
SELECT * FROM x;
.shell ls
