-- What goes in comes out, also through tables on disk.
CREATE VIRTUAL TABLE t USING lsm(k PRIMARY KEY, v);
INSERT INTO t VALUES(1, 1.0), (2, -0.0), (3, 9007199254740993), (4, 9223372036854775807), (5, -9223372036854775808), (6, 1e308 * 10), (7, 'a' || char(0) || 'b'), (8, x''), (9, ''), (10, NULL), (11, zeroblob(100000)), (12, printf('%.*c', 5000, 'x'));
INSERT INTO t VALUES('text', 1), (x'00ff', 2), (1.5, 3), (-0.0, 4), (1e300, 5);
INSERT INTO t(t) VALUES('compact');
SELECT quote(k), typeof(v), CASE WHEN length(v) > 1000 THEN length(v) ELSE quote(v) END FROM t;
SELECT quote(k) FROM t WHERE k = 0;
SELECT hex(v) FROM t WHERE k = 7;
CREATE VIRTUAL TABLE n USING lsm(k NOCASE_TEXT COLLATE NOCASE PRIMARY KEY, v REAL, i INTEGER);
INSERT INTO n VALUES('Abc', 1, '7'), ('abd', '2.5', 7.0), ('ABE', 'x', 'y');
INSERT INTO n VALUES('aBC', 1, 1);
SELECT k, v, typeof(v), quote(i) FROM n ORDER BY k DESC;
SELECT k FROM n WHERE k = 'ABC';
