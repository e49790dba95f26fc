-- Ways to load much: sqlite3 load.db < sql/load.sql
--
-- One transaction for many rows is what makes loading fast. It may be larger than
-- memory: what does not fit is written out as sorted files before the COMMIT.
.load ./lsmvtab
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE VIRTUAL TABLE words USING lsm(word TEXT PRIMARY KEY, length INTEGER, spelled TEXT);

-- From a query. In key order or not: both work.
INSERT INTO words
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
  SELECT printf('%x', i * 7919 % 1048583), length(printf('%x', i * 7919 % 1048583)), printf('%d', i)
  FROM n;
SELECT count(*), sum(length) FROM words;

-- From a CSV file: .import is one transaction here because of BEGIN.
.mode csv
.once load.csv
SELECT word || '+', length + 1, spelled FROM words;
BEGIN;
.import load.csv words
COMMIT;
.shell rm load.csv
.mode list
SELECT count(*), sum(length) FROM words;

-- From a table that exists: the whole of it, then only what is new.
CREATE TABLE old(word TEXT PRIMARY KEY, length INTEGER, spelled TEXT) WITHOUT ROWID;
INSERT INTO old SELECT * FROM words WHERE length < 5;
INSERT INTO old VALUES('z', 1, 'new');
INSERT OR IGNORE INTO words SELECT * FROM old;
SELECT changes();

-- INSERT OR REPLACE where the old row does not matter.
INSERT OR REPLACE INTO words SELECT word, length, upper(spelled) FROM old;
SELECT count(*), sum(length) FROM words;

-- A counter: UPSERT is not for virtual tables, this is.
INSERT OR REPLACE INTO words
  SELECT 'z', coalesce((SELECT length FROM words WHERE word = 'z'), 0) + 1, 'counted';
SELECT * FROM words WHERE word = 'z';

-- After a big load: sort everything once, at a moment of your choice.
INSERT INTO words(words) VALUES('compact');
SELECT count(*) AS levels_in_use FROM lsm_levels('words') WHERE files > 0;
