# sql/views.sql as a user runs it.
top=$(cd "$(dirname "$0")/../.." && pwd)
ln -s "$LSM" lsmvtab.so
show() { sqlite3 -batch "$1" ".read $top/sql/views.sql" ".mode list" ".headers on" "${@:2}"; }
echo "an empty database:"
show app.db 'SELECT * FROM lsm_tables' 'SELECT * FROM lsm_level' 'SELECT * FROM lsm_space' \
    'SELECT * FROM lsm_stat' 'SELECT memory_used FROM lsm_overview'
sqlite3 -batch app.db -cmd '.load ./lsmvtab' <<'END'
CREATE VIRTUAL TABLE one USING lsm(a INTEGER PRIMARY KEY, b TEXT);
create virtual table two using  [lsm](a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO one SELECT i, 'row ' || i FROM n;
INSERT INTO one(one) VALUES('compact');
END
echo "two tables:"
show app.db 'SELECT * FROM lsm_tables' \
    'SELECT "table", level > 0, files, entries, tombstones, bytes > 0, raw_bytes > bytes FROM lsm_level' \
    'SELECT "table", entries, tombstones, ratio > 1 FROM lsm_space' \
    "SELECT count(*) > 20, count(DISTINCT name) = count(*) FROM lsm_stat" \
    'SELECT memory_used > 0, memory_used < memory_budget, memory_budget, table_bytes > 0 FROM lsm_overview'
echo "nothing of it stays:"
sqlite3 -batch app.db "SELECT count(*) FROM sqlite_schema WHERE type = 'view'"
