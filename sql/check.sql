-- Is everything readable and in order? sqlite3 app.db < sql/check.sql
--
-- Every row of every lsm table is read, forwards and backwards: each block is checked
-- against its sum on the way, and a bad one ends the query with an error that names
-- file and offset. The ordinary side is checked by SQLite.
.load ./lsmvtab
.mode list
SELECT 'lsmvtab ' || lsm_version();
SELECT 'database: ' || integrity_check FROM pragma_integrity_check;

-- One query for each table, of which each t has a t_lsm: all columns forwards, the key backwards.
.once check.tmp
SELECT printf('WITH a AS (SELECT count(*) AS n, total(length(quote("%w"))) AS size, '
  || 'total(%s) AS all_size FROM "%w"), b AS (SELECT count(*) AS n, total(length(quote("%w"))) '
  || 'AS size FROM (SELECT "%w" FROM "%w" ORDER BY "%w" DESC)) '
  || 'SELECT printf(''%%s: %%s, %%d rows'', ''%q'', CASE WHEN a.n = b.n AND a.size = b.size '
  || 'AND a.all_size >= a.size THEN ''ok'' ELSE ''FORWARDS AND BACKWARDS DIFFER'' END, a.n) '
  || 'FROM a, b;', key, every, name, key, key, name, key, name)
FROM (
  SELECT t.name,
    (SELECT c.name FROM pragma_table_xinfo(t.name) AS c WHERE pk = 1) AS key,
    (SELECT group_concat(printf('length(quote("%w"))', c.name), ' + ')
     FROM pragma_table_info(t.name) AS c) || ' + length(quote("' ||
    (SELECT replace(c.name, '"', '""') FROM pragma_table_xinfo(t.name) AS c WHERE pk = 1)
      || '"))' AS every
  FROM sqlite_schema AS t
  WHERE t.sql LIKE 'CREATE VIRTUAL TABLE %' AND t.name || '_lsm' IN (SELECT name FROM sqlite_schema)
) ORDER BY name;
.read check.tmp
.shell rm check.tmp
