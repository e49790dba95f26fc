# In a UTF-16 database text compares as UTF-16: U+0101 is below 'a' in little-endian bytes. Both kinds
# of table answer alike. The encoding is given before the extension is loaded, which fixes it.
cat >script <<'EOF'
@TABLE t(k TEXT PRIMARY KEY, v)@
@TABLE u(k, l INTEGER, PRIMARY KEY(k DESC, l))@
INSERT INTO t VALUES('a', 1), (char(257), 2), (char(8364), 3), ('b', 4), (char(353), 5), ('é', 6), (x'6100', 7);
INSERT INTO u SELECT k, v FROM t;
INSERT INTO u VALUES(5, char(257)), (7.5, 'b'), (7.5, char(257));
SELECT hex(k), v FROM t ORDER BY k;
SELECT hex(k), v FROM t ORDER BY k DESC LIMIT 3;
SELECT v FROM t WHERE k < 'a' ORDER BY v;
SELECT v FROM t WHERE k >= 'b' ORDER BY v;
SELECT v FROM t WHERE k BETWEEN char(257) AND 'a' ORDER BY v;
SELECT v FROM t WHERE k = char(257);
SELECT hex(min(k)), hex(max(k)) FROM t;
SELECT hex(k), hex(l) FROM u ORDER BY k, l;
SELECT count(*) FROM u WHERE k > 6;
SELECT count(*) FROM u WHERE k <= 'a';
SELECT hex(l) FROM u WHERE k = 7.5 AND l > 'a' ORDER BY l;
SELECT hex(l) FROM u WHERE k = 7.5 AND l < 'c' ORDER BY l DESC;
SELECT count(*) FROM (SELECT DISTINCT k FROM u);
EOF
for encoding in UTF-16le UTF-16be UTF-8; do
    sed -E 's/@TABLE ([a-z]+)\((.*)\)@/CREATE VIRTUAL TABLE \1 USING lsm(\2);/' script >lsm.sql
    sed -E 's/@TABLE ([a-z]+)\((.*)\)@/CREATE TABLE \1(\2) WITHOUT ROWID;/' script >plain.sql
    for kind in lsm plain; do
        rm -rf $kind.db*
        sqlite3 -batch $kind.db -cmd "PRAGMA encoding = '$encoding'" -cmd ".load $LSM" ".read $kind.sql" >$kind.out 2>&1
    done
    sqlite3 -batch lsm.db "PRAGMA encoding"
    diff plain.out lsm.out && echo "alike: $(wc -l <lsm.out) lines"
done
