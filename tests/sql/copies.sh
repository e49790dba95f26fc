# Shows D-08.
# Copies of a database without its directory, of pairs, by links, beside other tools: what is not a pair says so.
# D-01 D-07 D-10 D-12 D-16
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
make() { sql $1 "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE p(a); BEGIN; INSERT INTO t VALUES(1, 'one'); INSERT INTO p VALUES(1); COMMIT; INSERT INTO t VALUES(2, 'two')"; }
make a.db
echo "== D-01 the database alone, by every way that SQLite has"
sqlite3 a.db "VACUUM INTO 'b.db'" ".backup c.db" ".dump p" >/dev/null
sqlite3 a.db ".clone d.db" >/dev/null 2>&1
for db in b.db c.db; do sql $db "SELECT * FROM t"; sql $db "SELECT a FROM p; INSERT INTO p VALUES(9); DROP TABLE t; SELECT count(*) FROM sqlite_master WHERE name LIKE 't%'"; ls -d $db-lsm 2>/dev/null; done
echo "== D-10 a symbolic link, a relative path, a change of directory: one store"
mkdir sub; ln -s ../a.db sub/link.db
sql sub/link.db "INSERT INTO t VALUES(3, 'through a link')"; ls -d sub/*-lsm 2>/dev/null
(cd sub; sql ../a.db "SELECT count(*) FROM t")
printf '%s\n' ".load $LSM" "ATTACH 'sub/link.db' AS l;" "INSERT INTO t VALUES(4, 'main');" "SELECT count(*) FROM l.t;" ".cd sub" "INSERT INTO t VALUES(5, 'elsewhere');" "SELECT count(*) FROM t;" | sqlite3 -batch a.db
ls -d sub/*-lsm 2>/dev/null
echo "== D-10 a hard link has another name, and so no store"
ln a.db hard.db; sql hard.db "SELECT * FROM t"; rm hard.db
echo "== D-16 a program without the extension reads, writes, vacuums and copies; then they still fit"
sqlite3 a.db "SELECT * FROM t" 2>&1
sqlite3 a.db "INSERT INTO p VALUES(2); CREATE INDEX i ON p(a); PRAGMA auto_vacuum = FULL; VACUUM; REINDEX; ANALYZE; PRAGMA journal_mode = WAL; PRAGMA page_size = 8192; PRAGMA journal_mode = DELETE; VACUUM; PRAGMA integrity_check" 2>&1
sql a.db "SELECT group_concat(a) FROM t; SELECT group_concat(a) FROM p; INSERT INTO t VALUES(6, 'after'); SELECT lsm_check()"
echo "== D-07 a pair is copied, both live on, then the halves are mixed"
cp a.db x.db; cp -r a.db-lsm x.db-lsm
for db in a.db x.db; do sql $db "BEGIN; INSERT INTO t VALUES('$db', 'joint'); INSERT INTO p VALUES('$db'); COMMIT"; done
cp a.db y.db; cp -r x.db-lsm y.db-lsm
sql y.db "SELECT * FROM t"; sql y.db "INSERT INTO t VALUES(9, 9)"; sql y.db "SELECT count(*) FROM p"
sql a.db "SELECT count(*) FROM t"; sql x.db "SELECT count(*) FROM t"
echo "== D-12 the directory is deleted while it is open: no commit is acknowledged into nowhere"
cp a.db z.db; cp -r a.db-lsm z.db-lsm
printf '%s\n' ".load $LSM" "SELECT count(*) FROM t;" ".shell rm -r z.db-lsm" "BEGIN; INSERT INTO t VALUES(10, 1); INSERT INTO p VALUES(10); COMMIT;" "INSERT INTO t VALUES(11, 1);" ".shell ls -d z.db-lsm" | sqlite3 -batch z.db 2>&1 | sed -E 's/[0-9]{6}\.log/N.log/; s/MANIFEST-[0-9]+/MANIFEST-N/; s/[0-9]{6}\.tmp/N.tmp/'
sql z.db "SELECT count(*) FROM p WHERE a = 10"; sql z.db "SELECT count(*) FROM t"
echo "== D-01 an older copy is put into the database while its store is open: reads go on, all else tells"
sql r.db "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE p(a); BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO p VALUES(1); COMMIT" ".backup old.db" >/dev/null
printf '%s\n' ".load $LSM" "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2); COMMIT;" "SELECT lsm_check();" ".restore old.db" "SELECT a FROM t;" "INSERT INTO t VALUES(3, 3);" "SELECT lsm_check();" "SELECT lsm_backup_all('r2.db');" "BEGIN; SELECT a FROM p; SELECT lsm_check();" | sqlite3 -batch r.db 2>&1
ls -d r2.db* 2>/dev/null; sql r.db "SELECT lsm_check()"
echo "== D-08 a pair is copied while a writer writes: told, or a state that once was, of both sides"
sql w.db "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); CREATE TABLE p(a INTEGER PRIMARY KEY)"
(echo ".load $LSM"
 for i in $(seq 1 200000); do
     if [ $((i % 2)) = 0 ]; then echo "INSERT INTO t VALUES($i, 'solo');"; else echo "BEGIN; INSERT INTO t VALUES($i, 'joint'); INSERT INTO p VALUES($i); COMMIT;"; fi
     [ $((i % 500)) = 0 ] && echo "INSERT INTO t(t) VALUES('flush');"
 done) >script
sqlite3 -batch w.db <script >/dev/null 2>&1 &
writer=$!
for i in $(seq 20); do
    sleep 0.0$i
    rm -rf h.db*
    [ $((i % 2)) = 0 ] && cp -r w.db-lsm h.db-lsm 2>/dev/null
    cp w.db h.db; cp w.db-wal h.db-wal 2>/dev/null
    [ $((i % 2)) = 0 ] || cp -r w.db-lsm h.db-lsm 2>/dev/null
    rm -f h.db-lsm/LOCK
    sql h.db "SELECT 'half', count(*) FROM p WHERE a NOT IN (SELECT a FROM t) HAVING count(*) > 0" "SELECT 'half', count(*) FROM t WHERE b = 'joint' AND a NOT IN (SELECT a FROM p) HAVING count(*) > 0" "SELECT 'a hole', max(a), count(*) FROM t HAVING max(a) <> count(*)" >said
    grep -E '^(half|a hole)' said
    grep -q Error said && told=1
done
kill -9 $writer; wait $writer 2>/dev/null
sql w.db "SELECT lsm_check(), max(a) = count(*) FROM t"
