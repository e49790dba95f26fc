# Shows D-02, D-03, D-06.
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
echo "two copies of one pair, both written to by lsm tables alone, then mixed:"
cp a.db j.db; cp -r a.db-lsm j.db-lsm
sql a.db "INSERT INTO t VALUES(3, 'a')"; sql a.db "INSERT INTO t VALUES(4, 'a')"; sql j.db "INSERT INTO t VALUES(3, 'j')"; sql j.db "INSERT INTO t VALUES(4, 'j')"
cp a.db k.db; cp -r j.db-lsm k.db-lsm; cp j.db l.db; cp -r a.db-lsm l.db-lsm
sql k.db "SELECT * FROM t" 2>&1 | sed 's/transaction [0-9]*/transaction N/g'
sql l.db "SELECT * FROM t" 2>&1 | sed 's/transaction [0-9]*/transaction N/g'
cp a.db m.db; cp -r a.db-lsm m.db-lsm; sql m.db "INSERT INTO t VALUES(5, 'm')"; rm -r m.db-lsm; cp -r a.db-lsm m.db-lsm; sql m.db "SELECT * FROM t" 2>&1 | sed 's/transaction [0-9]*/transaction N/g'
cp a.db n.db; cp -r a.db-lsm n.db-lsm; sql n.db "SELECT count(*) FROM t"; rm -r n.db-lsm; cp -r a.db-lsm n.db-lsm; sql n.db "SELECT count(*) FROM t"
echo "an older database beside the directory, by transactions of processes that closed it:"
for mode in DELETE TRUNCATE PERSIST WAL; do
    rm -rf o.db* old.db*
    sql o.db "PRAGMA journal_mode=$mode; CREATE TABLE p(a); CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); INSERT INTO t VALUES(1)"
    cp o.db old.db
    for i in 2 3; do sql o.db "PRAGMA journal_mode=$mode; BEGIN; INSERT INTO t VALUES($i); INSERT INTO p VALUES($i); COMMIT" >/dev/null; done
    cp -r o.db-lsm old.db-lsm
    sql old.db "SELECT * FROM t" 2>&1 | sed -E 's/transaction [0-9]+/transaction N/g; s/at [0-9]+\)/at N)/'
    sql old.db "SELECT substr(lsm_accept(), 1, 24)"
    sql o.db "SELECT count(*), (SELECT count(*) FROM p) FROM t"
done
echo "a new database in the place of one whose process was killed:"
for mode in "DELETE NORMAL" "WAL NORMAL" "WAL FULL"; do
    for rows in "INSERT INTO t VALUES(1)" "BEGIN; INSERT INTO t VALUES(1); COMMIT" "SELECT 1"; do
        rm -rf q.db* aside.db*
        sql q.db "PRAGMA journal_mode=${mode% *}; PRAGMA synchronous=${mode#* }; CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)" "$rows" \
            '.shell kill -9 $PPID' >/dev/null 2>&1
        for f in q.db q.db-wal q.db-shm; do [ -e $f ] && mv $f aside.db${f#q.db}; done
        sql q.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)"
        rm -f q.db q.db-wal q.db-shm q.db-journal; for f in aside.db*; do mv $f q.db${f#aside.db}; done
        sql q.db "SELECT count(*) FROM t"
    done
done
echo "a new database beside another's directory:"
cp -r a.db-lsm new.db-lsm
sql new.db 'CREATE TABLE p(a)' 'SELECT lsm_accept()' 'CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)'
rm -r new.db-lsm
sql new.db 'SELECT lsm_accept()' 'CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)' 'DROP TABLE t' 'SELECT lsm_accept()'
echo "the directory is a file:"
cp a.db g.db; echo >g.db-lsm
sql g.db 'SELECT * FROM t' 'SELECT lsm_accept()'
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
echo "an older database restored beneath an open store:"
sqlite3 -batch r.db 2>&1 <<EOF | sed -E 's/transaction [0-9]+/transaction N/g; s/at [0-9]+\)/at N)/'
.load $LSM
CREATE TABLE p(a PRIMARY KEY, b); CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b);
BEGIN; INSERT INTO t VALUES(1, 'r'); INSERT INTO p VALUES(1, 'r'); COMMIT;
.backup old.db
BEGIN; INSERT INTO t VALUES(2, 'r'); INSERT INTO p VALUES(2, 'r'); COMMIT;
.restore old.db
SELECT (SELECT group_concat(a) FROM t), (SELECT group_concat(a) FROM p);
INSERT INTO t VALUES(3, 'r');
BEGIN; INSERT INTO p VALUES(3, 'r'); INSERT INTO t VALUES(3, 'r');
ROLLBACK;
SELECT substr(lsm_accept(), 1, 23);
SELECT lsm_accept('store');
INSERT INTO t VALUES(3, 'r');
SELECT (SELECT group_concat(a) FROM t), (SELECT group_concat(a) FROM p);
EOF
