-- Five minutes with lsmvtab: sqlite3 tour.db < sql/tour.sql
.load ./lsmvtab

-- A table is declared as an ordinary one; its rows live in tour.db-lsm/.
CREATE VIRTUAL TABLE files USING lsm(path TEXT PRIMARY KEY, package TEXT, size INTEGER);
INSERT INTO files VALUES
  ('/usr/bin/env',  'coreutils', 48536),
  ('/usr/bin/ls',   'coreutils', 151344),
  ('/usr/bin/perl', 'perl-base', 3792104),
  ('/usr/share/doc/coreutils/copyright', 'coreutils', 16210),
  ('/usr/share/doc/perl/copyright', 'perl', 98214);

-- By key, by range of keys, backwards.
SELECT size FROM files WHERE path = '/usr/bin/ls';
SELECT path FROM files WHERE path >= '/usr/bin/' AND path < '/usr/bin0' ORDER BY path DESC LIMIT 2;
SELECT count(*), sum(size) FROM files WHERE path GLOB '/usr/share/doc/*';

-- Together with ordinary tables, in joins and in transactions.
CREATE TABLE packages(package TEXT PRIMARY KEY, section TEXT);
INSERT INTO packages VALUES('coreutils', 'utils'), ('perl-base', 'perl'), ('perl', 'perl');
SELECT section, count(*), sum(size) FROM files JOIN packages USING (package) GROUP BY section;

BEGIN;
UPDATE files SET size = size + 1 WHERE package = 'coreutils';
INSERT INTO packages VALUES('tar', 'utils');
SAVEPOINT s;
DELETE FROM files WHERE path GLOB '/usr/bin/*';
ROLLBACK TO s;
COMMIT;
SELECT count(*), sum(size) FROM files;

-- A key that is there: an error, or the new row instead of the old one.
INSERT OR IGNORE INTO files VALUES('/usr/bin/ls', 'busybox', 1);
INSERT OR REPLACE INTO files VALUES('/usr/bin/env', 'busybox', 2);
SELECT package, size FROM files WHERE path IN ('/usr/bin/env', '/usr/bin/ls');

-- Composite keys, descending ones; with no columns given it is (key, value).
CREATE VIRTUAL TABLE events USING lsm(
  device TEXT, at INTEGER, level REAL, PRIMARY KEY(device, at DESC), compression='zstd:3');
INSERT INTO events VALUES('a', 1, 0.5), ('a', 2, 0.75), ('b', 1, 1), ('a', 3, 2.5);
SELECT at, level FROM events WHERE device = 'a' LIMIT 2;

CREATE VIRTUAL TABLE kv USING lsm;
INSERT INTO kv VALUES(1, 'a number'), ('1', 'a text'), (x'31', 'a blob');
SELECT value FROM kv WHERE key = 1.0;

-- What the engine did.
INSERT INTO files(files) VALUES('compact');
SELECT sum(files), sum(entries) FROM lsm_levels('files');
SELECT value, unit FROM lsm_stats('files') WHERE name = 'memory_budget';
DROP TABLE kv;
