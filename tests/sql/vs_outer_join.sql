-- A condition of an outer join's ON excludes no row on the left, whatever its operator.
@TABLE t(a TEXT, b INTEGER, c, PRIMARY KEY(a, b))@
@TABLE u(a TEXT PRIMARY KEY COLLATE NOCASE, b)@
INSERT INTO t VALUES('abc', 1, 1), ('abd', 2, NULL), ('k1', 1, 'abc'), ('k12', 2, x'00'), (x'6b31', 3, 2.5), ('12', 4, 'x');
INSERT INTO u VALUES('abc', 1), ('K12', 'k12'), ('x', NULL), (x'6b31', 3);
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a GLOB 'k1*' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a GLOB 'k1*' AND u.a = t.a ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a GLOB 'k1*' WHERE t.a GLOB 'k*' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a GLOB 'ab*' AND u.a GLOB 'a*' WHERE t.a GLOB 'a*' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a GLOB 'k1*' WHERE t.a >= 'k1' AND t.a < 'k2' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a LIKE 'k1%' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a = 'k1' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a = 'abc' AND t.b > 1 ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a BETWEEN 'b' AND 'k1z' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a <> 'k1' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a IN ('k1', 'abd') ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a IS NULL ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON t.a IS NOT NULL ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t LEFT JOIN u ON (t.a, t.b) > ('abd', 1) ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM u LEFT JOIN t ON t.a GLOB 'k1*' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t RIGHT JOIN u ON u.a GLOB 'K1*' AND t.a GLOB 'k*' ORDER BY t.a, t.b, u.a;
SELECT quote(t.a), quote(u.a) FROM t FULL JOIN u ON t.a GLOB 'k1*' AND u.a GLOB 'k*' ORDER BY t.a, t.b, u.a;
SELECT quote(x.a), quote(u.a), quote(y.a) FROM t AS x JOIN u ON u.b = x.b LEFT JOIN t AS y ON x.a GLOB 'ab*' AND u.a GLOB 'a*' AND y.a GLOB 'ab*' ORDER BY 1, 2, 3;
SELECT count(*) FROM t WHERE a GLOB 'k1*'; SELECT count(*) FROM t WHERE a GLOB '1*'; SELECT count(*) FROM u WHERE a GLOB 'K1*'; SELECT count(*) FROM u WHERE a GLOB 'k1*';
SELECT quote(a) FROM t WHERE a GLOB 'k*' AND a GLOB 'k12*'; SELECT quote(a) FROM t WHERE a GLOB 'k*' AND a >= 'k12' AND a < 'k13' ORDER BY a;
SELECT quote(a) FROM u WHERE a GLOB 'a*' AND a >= 'A' AND a < 'B'; SELECT quote(a) FROM u WHERE a LIKE 'k%' AND a >= 'k1' COLLATE BINARY AND a < 'k2' COLLATE BINARY;
