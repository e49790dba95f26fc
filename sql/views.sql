-- What the engine counts, as views: sqlite3 app.db, then .read sql/views.sql
--
-- They are temporary: they go with the connection and change nothing in the database.
.load ./lsmvtab

-- The lsm tables of the database: each t has a t_lsm.
CREATE TEMP VIEW lsm_tables AS
  SELECT name FROM main.sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE %' AND name || '_lsm' IN (SELECT name FROM main.sqlite_schema)
  ORDER BY name;

-- Each level that has something.
CREATE TEMP VIEW lsm_level AS
  SELECT t.name AS "table", l.level, l.files, l.bytes, l.raw_bytes, l.entries, l.tombstones,
    round(l.score, 2) AS score
  FROM lsm_tables AS t, lsm_levels(t.name) AS l WHERE l.files > 0;

-- Each table: what is in its files, and how well it was compressed.
CREATE TEMP VIEW lsm_space AS
  SELECT t.name AS "table", sum(l.entries) AS entries, sum(l.tombstones) AS tombstones,
    sum(l.bytes) AS bytes, sum(l.raw_bytes) AS raw_bytes,
    round(1.0 * sum(l.raw_bytes) / nullif(sum(l.bytes), 0), 2) AS ratio
  FROM lsm_tables AS t, lsm_levels(t.name) AS l GROUP BY t.name;

-- The store of the database: all that it counts. Its tables share it, so any may be asked.
CREATE TEMP VIEW lsm_stat AS
  SELECT s.name, s.value, s.unit
  FROM (SELECT name FROM lsm_tables LIMIT 1) AS t, lsm_stats(t.name) AS s;

-- The few that are looked at first.
CREATE TEMP VIEW lsm_overview AS
  SELECT
    (SELECT value FROM lsm_stat WHERE name = 'memory_used') AS memory_used,
    (SELECT value FROM lsm_stat WHERE name = 'memory_budget') AS memory_budget,
    (SELECT value FROM lsm_stat WHERE name = 'log_size') AS log_size,
    (SELECT value FROM lsm_stat WHERE name = 'table_bytes') AS table_bytes,
    (SELECT value FROM lsm_stat WHERE name = 'stall_us') / 1000 AS stall_ms,
    (SELECT round(1.0 * (SELECT sum(value) FROM lsm_stat
       WHERE name IN ('log_bytes_written', 'flush_bytes_written', 'compact_bytes_written'))
       / nullif((SELECT value FROM lsm_stat WHERE name = 'log_bytes_written'), 0), 2)) AS write_amp,
    (SELECT round(100.0 * hits.value / nullif(hits.value + misses.value, 0), 1)
     FROM lsm_stat AS hits, lsm_stat AS misses
     WHERE hits.name = 'cache_hits' AND misses.name = 'cache_misses') AS cache_hit_percent;
