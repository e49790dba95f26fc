-- Maintenance of all lsm tables of a database: sqlite3 app.db < sql/maintain.sql
--
-- None of this is needed: the engine flushes and compacts as it goes. It is for the
-- moment after a big load or a big DELETE, and before a copy.
.load ./lsmvtab
.mode list

-- What there was. A table t of lsm has a t_lsm.
SELECT printf('%s: %d files, %d bytes', t.name, sum(l.files), sum(l.bytes))
FROM sqlite_schema AS t, lsm_levels(t.name) AS l
WHERE t.sql LIKE 'CREATE VIRTUAL TABLE %' AND t.name || '_lsm' IN (SELECT name FROM sqlite_schema)
GROUP BY t.name;

-- 'compact' brings all into the deepest level and drops what nobody needs any more.
-- 'flush' only brings what is in memory into tables, and starts a fresh log.
.once maintain.tmp
SELECT printf('INSERT INTO "%w"("%w") VALUES(''compact'');', name, name) FROM sqlite_schema
WHERE sql LIKE 'CREATE VIRTUAL TABLE %' AND name || '_lsm' IN (SELECT name FROM sqlite_schema) ORDER BY name;
.read maintain.tmp
.shell rm maintain.tmp

-- The ordinary side: the write-ahead log goes into the database, and its statistics are renewed.
.once /dev/null
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA optimize;

-- What there is now.
SELECT printf('%s: level %d, %d rows', t.name, l.level, l.entries)
FROM sqlite_schema AS t, lsm_levels(t.name) AS l
WHERE t.sql LIKE 'CREATE VIRTUAL TABLE %' AND t.name || '_lsm' IN (SELECT name FROM sqlite_schema) AND l.entries > 0
ORDER BY t.name, l.level;
