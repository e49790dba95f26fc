# A database and its directory belong together: what is missing or foreign is named.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@"; }
make() { sql "$1" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE p(a); INSERT INTO p VALUES('plain'); INSERT INTO t VALUES(1, '$1')"; }
make a.db
make b.db
echo "copied without its directory:"
cp a.db c.db
sql c.db 'SELECT * FROM t'
sql c.db "INSERT INTO t VALUES(2, 2)"
sql c.db 'SELECT * FROM p'
sql c.db 'PRAGMA table_list' | grep -v pin | grep -c lsm
[ -e c.db-lsm ] || echo "nothing was created"
echo "dropping it works:"
sql c.db 'DROP TABLE t; SELECT count(*) FROM sqlite_master WHERE name LIKE "t%"'
echo "the directory of another database:"
cp a.db d.db; cp -r b.db-lsm d.db-lsm
sql d.db 'SELECT * FROM t'
sql d.db "INSERT INTO t VALUES(2, 2)"
echo "a directory without its database:"
cp -r b.db-lsm e.db-lsm
sql e.db 'CREATE VIRTUAL TABLE t USING lsm'
sql e.db 'SELECT count(*) FROM sqlite_master'
echo "copied as a pair:"
cp a.db f.db; cp -r a.db-lsm f.db-lsm
sql f.db "SELECT * FROM t; INSERT INTO t VALUES(2, 'f'); SELECT count(*) FROM t"
echo "the directory is a file:"
cp a.db g.db; echo >g.db-lsm
sql g.db 'SELECT * FROM t'
cat g.db-lsm
echo "a symbolic link:"
cp a.db h.db; ln -s a.db-lsm h.db-lsm
sql h.db 'SELECT * FROM t'
echo "truncated:"
cp a.db i.db; cp -r a.db-lsm i.db-lsm; for f in i.db-lsm/MANIFEST-*; do truncate -s 10 "$f"; done
sql i.db 'SELECT * FROM t'
echo "the originals:"
sql a.db 'SELECT * FROM t'
sql b.db 'SELECT * FROM t'
