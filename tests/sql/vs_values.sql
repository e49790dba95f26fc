-- Shows S-15.
@TABLE t(a, b INTEGER, c TEXT, d REAL, e NUMERIC, f BLOB, PRIMARY KEY(a, b))@
INSERT INTO t VALUES(1, '5', 5, 5, '5.0', '5'), (1.0, 6, 1.5, '1e2', 'abc', x'35'), ('1', 7, NULL, '', '', NULL);
INSERT INTO t VALUES(x'31', '08', 08, 08, 08, 08), ('A', -1, 'é', 1e400, -1e400, 0.0), ('a', 9223372036854775807, '9223372036854775808', 9223372036854775807, '9223372036854775808', 1);
SELECT quote(a), quote(b), quote(c), quote(d), quote(e), quote(f) FROM t ORDER BY a, b;
SELECT quote(a) FROM t WHERE a = 1 ORDER BY b;
SELECT quote(a) FROM t WHERE a > 1 ORDER BY a DESC, b DESC;
SELECT quote(a), quote(b) FROM t WHERE a IN (1, '1', x'31') AND b > 5 ORDER BY a, b;
SELECT typeof(a), typeof(b), typeof(c), typeof(d), typeof(e), typeof(f) FROM t ORDER BY a, b;
SELECT count(*), count(c), sum(b > 6), total(d) FROM t WHERE a >= 1;
SELECT quote(a) FROM t WHERE (a, b) > (1, 5) ORDER BY a, b;
SELECT DISTINCT quote(a) FROM t ORDER BY 1;
