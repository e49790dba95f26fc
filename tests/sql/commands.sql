-- A command stands alone: what it would not use is named, and the command does not run.
CREATE VIRTUAL TABLE kv USING lsm;
INSERT INTO kv VALUES(1, 'one'), (2, 'two');
INSERT INTO kv(kv, _arg) VALUES('flush', 'now');
INSERT INTO kv(kv, _arg) VALUES('compact', 1);
INSERT INTO kv(kv, _arg) VALUES('delete-all', 0);
INSERT INTO kv(kv, key) VALUES('delete-all', 1);
INSERT INTO kv(kv, value) VALUES('check', 'x');
INSERT INTO kv(kv, _arg, value) VALUES('memory', '32MB', 'x');
SELECT count(*) FROM kv;
-- An argument without a command is no row.
INSERT INTO kv(key, _arg) VALUES(3, 'x');
SELECT count(*) FROM kv;
-- UPDATE runs none.
UPDATE kv SET kv = 'flush';
UPDATE kv SET kv = 'delete-all' WHERE key = 1;
UPDATE kv SET _arg = '1MB';
UPDATE kv SET value = 'uno', kv = NULL WHERE key = 1;
SELECT * FROM kv;
-- Those that do not exist.
INSERT INTO kv(kv) VALUES('flsh');
INSERT INTO kv(kv) VALUES('COMPCAT');
INSERT INTO kv(kv) VALUES('rebuild');
INSERT INTO kv(kv) VALUES('integrity-check');
INSERT INTO kv(kv) VALUES('delete-range');
INSERT INTO kv(kv) VALUES(12);
INSERT INTO kv(kv) VALUES('');
INSERT INTO kv(kv) VALUES('integrity-check of all that there is in this table and in its directory');
INSERT INTO kv(kv) VALUES('memory');
INSERT INTO kv(kv, _arg) VALUES('memory', 'much');
INSERT INTO kv(kv, _arg) VALUES('memory', '10');
-- A composite key's hidden column.
CREATE VIRTUAL TABLE ab USING lsm(a, b, PRIMARY KEY(a, b));
INSERT INTO ab VALUES(1, 2);
INSERT INTO ab(ab, _key) VALUES('flush', x'00');
INSERT INTO ab(ab, b) VALUES('flush', 1);
UPDATE ab SET ab = 'flush' WHERE a = 1;
UPDATE ab SET b = 3;
SELECT * FROM ab;
-- And what does run.
INSERT INTO kv(kv) VALUES('flush'), ('Compact'), ('optimize'), ('check');
INSERT INTO kv(kv, _arg) VALUES('memory', '32MB');
INSERT INTO kv(kv, key, value, _arg) VALUES('check', NULL, NULL, NULL);
SELECT value FROM lsm_stats('kv') WHERE name = 'memory_budget';
INSERT INTO kv(kv) VALUES('delete-all');
SELECT count(*) FROM kv;
