-- What a golden store holds. Each statement gives the same rows on any SQLite, so that
-- make.sh can run it on ordinary tables too: that is what is expected.
--
-- STEP lines become commands of the engine, or nothing for the ordinary tables: the rows
-- end up on several levels, with tombstones and older versions, and the last in the log.
@TABLE anything(key PRIMARY KEY, value)@
@TABLE numbers(id INTEGER PRIMARY KEY, r REAL NOT NULL DEFAULT 1.5, t TEXT, b BLOB, n NUMERIC; compression='zstd:3')@
@TABLE people(name TEXT COLLATE NOCASE, born INTEGER, note, PRIMARY KEY(name, born DESC); block_size=512, filter_bits=0)@
@TABLE trimmed(a TEXT COLLATE RTRIM, b REAL, c BLOB, PRIMARY KEY(b DESC, c, a); compression=none)@
@TABLE before(id INTEGER PRIMARY KEY, v)@
@TABLE dropped(id INTEGER PRIMARY KEY, v)@
@TABLE long(id INTEGER PRIMARY KEY, v)@
@TABLE longer(id INTEGER PRIMARY KEY, v; blob_threshold=64, compression=none)@
CREATE TABLE plain(id INTEGER PRIMARY KEY, v);

INSERT INTO anything VALUES
  (-9223372036854775808, 'least integer'), (9223372036854775807, 'greatest integer'),
  (9007199254740993, 'beyond a double'), (9007199254740992.0, 'a double'), (-1, NULL), (0, 0), (-0.5, -0.5),
  (1, 1.0), (2.0, 2), (1e300, 1e-300), (-1e300, 1), (9e999, 'infinity'), ('', 'empty text'),
  ('1', 'text of a number'), ('a', x''), ('A', 'upper'), ('a' || char(0) || 'b', 'with a zero'),
  (char(228, 8364, 128512), 'beyond ASCII'), (x'', 'empty blob'), (x'00', x'00'), (x'00ff', 'blob'),
  (x'ff', NULL), (zeroblob(30), zeroblob(20000));
INSERT INTO anything VALUES('long', (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
  SELECT group_concat(i * 7919 % 104729, ',') FROM n));
INSERT INTO numbers WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
  SELECT i * 3, i / 7.0, 'row ' || i, CAST(i * 7919 % 104729 AS BLOB), i % 5 FROM n;
INSERT INTO people WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  SELECT CASE i % 3 WHEN 0 THEN 'Ada' WHEN 1 THEN 'grace' ELSE 'Edsger' END || i % 40, 1900 + i, CASE i % 4 WHEN 0 THEN i END FROM n;
INSERT INTO trimmed SELECT t || CASE id % 2 WHEN 0 THEN '  ' ELSE '' END, -r, b FROM numbers WHERE id < 600;
INSERT INTO before VALUES(1, 'renamed');
INSERT INTO dropped SELECT id, t FROM numbers WHERE id < 300;
INSERT INTO plain VALUES(1, 'ordinary');
INSERT INTO long WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
  SELECT i, (WITH RECURSIVE w(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM w WHERE k < 40 + i * 3)
             SELECT group_concat((k + i) * 7919 % 104729, ',') FROM w) FROM n;
INSERT INTO longer SELECT id, v FROM long;
@STEP compact anything@
@STEP compact long@
@STEP compact longer@
DELETE FROM long WHERE id > 50 AND id <> 110;
UPDATE longer SET v = substr(v, 1, 300) WHERE id % 5 = 0;
@STEP compact long@
@STEP flush longer@
@STEP compact numbers@
@STEP compact people@
@STEP compact trimmed@

UPDATE numbers SET t = upper(t), b = NULL WHERE id % 10 = 0;
DELETE FROM numbers WHERE id BETWEEN 3000 AND 3999;
INSERT INTO numbers(id, t) VALUES(1, 'new'), (-5, 'negative'), (100000, 'large');
DELETE FROM people WHERE name = 'ADA3';
REPLACE INTO anything VALUES(1.0, 'replaced'), ('A', 'replaced');
ALTER TABLE before RENAME TO after;
DROP TABLE dropped;
@STEP flush numbers@

BEGIN;
UPDATE numbers SET n = n + 0.5 WHERE id % 100 = 0;
DELETE FROM numbers WHERE id IN (6, 9);
INSERT INTO people SELECT name, born + 1000, 'second' FROM people WHERE born < 1950;
SAVEPOINT s;
DELETE FROM trimmed;
ROLLBACK TO s;
UPDATE trimmed SET a = rtrim(a) || '.' WHERE c < x'33';
COMMIT;
@STEP flush numbers@

INSERT INTO numbers(id, r, t) VALUES(100001, -0.0, 'in the log');
BEGIN;
INSERT INTO numbers(id, r, t) VALUES(100002, 2, 'in the log');
DELETE FROM numbers WHERE id = 3;
INSERT INTO plain VALUES(2, 'with it');
COMMIT;
BEGIN;
DELETE FROM people;
ROLLBACK;
-- Documents, of which a dictionary is made; and noise that comes twice.
INSERT INTO long WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  SELECT 1000 + i, (WITH RECURSIVE w(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM w WHERE k < 14)
             SELECT '{"order":' || i || ',"items":[' || group_concat('{"sku":"SKU-' || ((k * 31 + i) * 7919 % 104729) ||
               '","quantity":' || (i * k % 9) || ',"price":' || ((i + k) * 7919 % 1000) ||
               '.5,"currency":"EUR","description":"item of order ' || i || '"}', ',') || ']}' FROM w) FROM n;
@STEP flush long@
INSERT INTO long WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
  SELECT 2000 + i, CAST(v || v AS BLOB) FROM (SELECT i, sha3(i, 512) || sha3(-i, 512) || sha3(i + 100, 512) || sha3(i + 200, 512) ||
    sha3(i + 300, 512) || sha3(i + 400, 512) || sha3(i + 500, 512) || sha3(i + 600, 512) || sha3(i + 700, 512) || sha3(i + 800, 512) AS v FROM n);
@STEP flush long@

-- More than its share of the memory: private tables, whose value logs nothing but the record knows.
@STEP memory=1048576 longer@
BEGIN;
UPDATE longer SET v = v || v WHERE id > 10;
INSERT INTO plain VALUES(20, 'with long values');
COMMIT;
INSERT INTO anything VALUES('last', 'in the log');
