-- GROUP BY of key columns, with an ORDER BY of the same terms: SQLite then sorts nothing itself.
@TABLE t(a, b INTEGER, c TEXT, d REAL, PRIMARY KEY(a, b DESC, c))@
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) INSERT OR IGNORE INTO t SELECT i * 7 % 5, i * 3 % 4, char(97 + i * 11 % 6), i FROM n;
SELECT a, b, count(*) FROM t GROUP BY a, b ORDER BY a, b;
SELECT a, b, count(*) FROM t GROUP BY a, b ORDER BY a DESC, b DESC;
SELECT b, a, sum(d) FROM t GROUP BY b, a ORDER BY b DESC, a DESC LIMIT 7;
SELECT b, a, count(DISTINCT c) FROM t GROUP BY b, a ORDER BY b, a DESC LIMIT 7;
SELECT c, b, a FROM t GROUP BY c, b, a ORDER BY c, b, a LIMIT 9 OFFSET 3;
SELECT a, b FROM t WHERE a = 2 GROUP BY b, a ORDER BY b, a;
SELECT a, c, b FROM t WHERE a IN (1, 3) GROUP BY c, a, b ORDER BY c DESC, a DESC, b DESC;
SELECT DISTINCT b, a FROM t ORDER BY b, a;
SELECT DISTINCT b, a FROM t ORDER BY b DESC, a;
SELECT x.b, x.a, count(*) FROM t AS x JOIN t AS y ON y.a = x.b GROUP BY x.b, x.a ORDER BY x.b, x.a;
SELECT DISTINCT a, b, count(*) FROM t GROUP BY b, a ORDER BY b, a;
-- An aggregate over no rows is a row without a key to UPDATE ... FROM: nothing to update.
@TABLE one(k INTEGER PRIMARY KEY, v)@
INSERT INTO one VALUES(1, 1), (2, 2);
UPDATE one SET k = count(*) + 10 FROM (SELECT 1 WHERE 0);
UPDATE one SET k = count(*) + 20, v = 5 FROM (SELECT 1 WHERE 0);
SELECT * FROM one;
UPDATE one SET k = count(*) + 10 FROM (SELECT 1) WHERE k = 2;
SELECT * FROM one;
