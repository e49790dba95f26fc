-- A second IN list is checked with its affinity; what was ignored leaves no text for a later error.
@TABLE t(a TEXT, b TEXT, c, PRIMARY KEY(a, b))@
INSERT INTO t VALUES('1', '1.0', 1), ('1', '01', 2), ('1', '1', 3), ('2', '1', 4);
CREATE TABLE n(i INTEGER, r REAL);
INSERT INTO n VALUES(1, 1.0), (2, 5.5);
SELECT c FROM t WHERE a IN ('1', '2') AND b IN (SELECT i FROM n) ORDER BY c;
SELECT c FROM t WHERE a IN (SELECT i FROM n) AND b IN (SELECT r FROM n) ORDER BY c;
@TABLE u(a REAL PRIMARY KEY)@
CREATE TABLE o(a INTEGER PRIMARY KEY, b);
CREATE TRIGGER oi AFTER INSERT ON o BEGIN INSERT INTO u VALUES(new.a); END;
INSERT INTO u VALUES(0);
INSERT OR IGNORE INTO o VALUES(0, 1), ('no number', 2);
SELECT * FROM u;
