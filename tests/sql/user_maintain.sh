# sql/maintain.sql as a user runs it: without a table, with tables, with odd names.
top=$(cd "$(dirname "$0")/../.." && pwd)
maintain() { sqlite3 -batch app.db <"$top/sql/maintain.sql" | sed -E 's/[0-9]+ bytes/N bytes/; s/level [0-9]/level N/'; }
ln -s "$LSM" lsmvtab.so
echo "an empty database:"
maintain
sqlite3 -batch app.db -cmd '.load ./lsmvtab' <<'END'
CREATE TABLE plain(a);
CREATE VIRTUAL TABLE one USING
    lsm(a INTEGER PRIMARY KEY, b TEXT);
CREATE VIRTUAL TABLE "od'd ""two" USING lsm("a b" INTEGER, "c'd" INTEGER, PRIMARY KEY("c'd", "a b" DESC));
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO one SELECT i, 'row ' || i FROM n;
INSERT INTO "od'd ""two" SELECT a, a % 7 FROM one;
DELETE FROM one WHERE a % 10;
END
echo "two tables:"
maintain
echo "and again:"
maintain
ls
