# sql/check.sql as a user runs it: whole, and with a byte of a table changed.
top=$(cd "$(dirname "$0")/../.." && pwd)
ln -s "$LSM" lsmvtab.so
echo "an empty database:"
sqlite3 -batch app.db <"$top/sql/check.sql"
sqlite3 -batch app.db -cmd '.load ./lsmvtab' <<'END'
CREATE VIRTUAL TABLE one USING lsm(a INTEGER PRIMARY KEY, b TEXT);
CREATE VIRTUAL TABLE "od'd ""two" USING lsm("a b" INTEGER, "c'd" INTEGER, "e%f" BLOB, PRIMARY KEY("c'd", "a b" DESC));
CREATE VIRTUAL TABLE none USING
    "lsm";
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO one SELECT i, 'row ' || i FROM n;
INSERT INTO "od'd ""two" SELECT a, a % 7, CASE a % 3 WHEN 0 THEN x'00' END FROM one;
INSERT INTO one(one) VALUES('flush');
INSERT INTO one VALUES(5000, 'in the log');
END
echo "three tables:"
sqlite3 -batch app.db <"$top/sql/check.sql"
table=$(ls app.db-lsm/*.ldb | head -1)
printf '\377' | dd of="$table" bs=1 seek=100 conv=notrunc 2>/dev/null
echo "one byte is another:"
sqlite3 -batch app.db <"$top/sql/check.sql" 2>said
cat said
rm said
ls
