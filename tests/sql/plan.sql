-- What xBestIndex makes of constraints (the grammar: ext/vtab.h).
CREATE VIRTUAL TABLE t USING lsm(a TEXT, b INTEGER, c, d TEXT COLLATE NOCASE, PRIMARY KEY(a, b DESC, d));
CREATE VIRTUAL TABLE i USING lsm(k INTEGER PRIMARY KEY, v);
.eqp on
SELECT * FROM t;
SELECT * FROM t WHERE a = 'x';
SELECT * FROM t WHERE a = 'x' AND b = 3 AND d = 'y';
SELECT * FROM t WHERE a = 'x' AND b > 3 ORDER BY b;
SELECT * FROM t WHERE a = 'x' AND b > 3 ORDER BY b DESC;
SELECT * FROM t WHERE a > 'x' AND a <= 'y' ORDER BY a, b DESC;
SELECT * FROM t ORDER BY a DESC, b;
SELECT * FROM t ORDER BY a, b;
SELECT * FROM t WHERE a IN ('x', 'y') AND b = 1 ORDER BY a;
SELECT * FROM t WHERE a IN ('x', 'y') AND b IN (1, 2);
SELECT * FROM t WHERE a GLOB 'ab*';
SELECT * FROM t WHERE a LIKE 'ab%';
SELECT * FROM t WHERE a = 'x' COLLATE NOCASE;
SELECT * FROM t WHERE a = 'x' AND b = 1 AND d = 'y' ORDER BY d;
SELECT a FROM t WHERE b = 1;
SELECT a, count(*) FROM t GROUP BY a;
SELECT DISTINCT b, a FROM t;
SELECT min(k) FROM i;
SELECT max(k) FROM i;
SELECT * FROM i WHERE k = 5;
SELECT * FROM i WHERE k BETWEEN 5 AND 7 ORDER BY k DESC LIMIT 3;
SELECT * FROM i WHERE k = 5 OR k = 7;
SELECT * FROM i, t WHERE i.k = t.b AND t.a = 'x';
