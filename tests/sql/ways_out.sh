# Shows D-04, D-05, D-18.
# The explicit ways out: what is wrong is named, what each gives up is said, nothing happens by itself.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
copy() { rm -rf $2.db $2.db-lsm; cp $1.db $2.db; cp -r $1.db-lsm $2.db-lsm; }
sum() { (cd "$1" && cat $(ls | grep -v LOCK) | cksum); }
sql app.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE VIRTUAL TABLE u USING lsm; CREATE TABLE p(a); BEGIN; INSERT INTO t VALUES(1, 'early'); INSERT INTO u VALUES(1, 'early'); INSERT INTO p VALUES('early'); COMMIT; INSERT INTO t(t) VALUES('flush')"
copy app early
for i in 2 3 4; do sql app.db "BEGIN; INSERT INTO t VALUES($i, 'late'); INSERT INTO p VALUES('late $i'); COMMIT"; done
sql app.db "INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(5, 'alone')"
copy app late
echo "== they fit"
sql late.db "SELECT lsm_accept()" "SELECT lsm_accept('store')" "SELECT lsm_accept('empty')"

echo "== database older than store"
copy late x; cp early.db x.db
sql x.db "SELECT * FROM t"
before=$(sum x.db-lsm); sql x.db "SELECT lsm_accept()"; sql x.db "SELECT * FROM t" "SELECT lsm_accept()" >/dev/null; sql x.db "INSERT INTO t VALUES(9, 9)"
[ "$before" = "$(sum x.db-lsm)" ] && cmp x.db early.db && echo "nothing was changed"
sql x.db "SELECT lsm_accept('empty')" "SELECT lsm_accept('nonsense')"
sql x.db "SELECT lsm_accept('store')" "SELECT group_concat(a) FROM t" "SELECT group_concat(a) FROM p"
sql x.db "INSERT INTO t VALUES(6, 'again'); BEGIN; INSERT INTO t VALUES(7, 'both'); INSERT INTO p VALUES('both'); COMMIT" "INSERT INTO t(t) VALUES('flush')"
sql x.db "SELECT group_concat(a) FROM t" "SELECT group_concat(a) FROM p"

echo "== in the connection that met the error"
copy late x; cp early.db x.db
printf '%s\n' ".load $LSM" "SELECT * FROM t;" "SELECT lsm_accept('store');" "SELECT count(*) FROM t;" "INSERT INTO t VALUES(8, 8);" | sqlite3 x.db 2>&1
sql x.db "SELECT count(*) FROM t"

echo "== store behind database"
copy late x; rm -r x.db-lsm; cp -r early.db-lsm x.db-lsm
sql x.db "SELECT * FROM t"
before=$(sum x.db-lsm); sql x.db "SELECT lsm_accept()"; [ "$before" = "$(sum x.db-lsm)" ] && cmp x.db late.db && echo "nothing was changed"
sql x.db "SELECT lsm_accept('store')" "SELECT group_concat(a) FROM t" "SELECT group_concat(a) FROM p"
sql x.db "BEGIN; INSERT INTO t VALUES(7, 'both'); INSERT INTO p VALUES('both'); COMMIT" "INSERT INTO t VALUES(8, 'solo')" "INSERT INTO t(t) VALUES('compact')"
sql x.db "SELECT group_concat(a) FROM t" "SELECT group_concat(a) FROM p"

echo "== the directory is gone"
copy late x; mv x.db-lsm aside
sql x.db "SELECT * FROM t"
sql x.db "CREATE VIRTUAL TABLE v USING lsm"
sql x.db "SELECT lsm_accept()" "SELECT lsm_accept('store')"; ls -d x.db-lsm 2>/dev/null
sql x.db "SELECT lsm_accept('empty')" "SELECT count(*) FROM t" "SELECT count(*) FROM p"
sql x.db "INSERT INTO t VALUES(1, 'anew'); CREATE VIRTUAL TABLE v USING lsm; INSERT INTO v VALUES(1, 2)"; sql x.db "SELECT * FROM t" "SELECT * FROM v"
echo "its old directory is a foreign one now:"
rm -r x.db-lsm; mv aside x.db-lsm; sql x.db "SELECT * FROM t"

echo "== the directory of another database"
copy late x; sql other.db "CREATE VIRTUAL TABLE o USING lsm; INSERT INTO o VALUES(1, 'of the other')"; rm -r x.db-lsm; cp -r other.db-lsm x.db-lsm
before=$(sum x.db-lsm); sql x.db "SELECT * FROM t" ; sql x.db "SELECT lsm_accept()"; sql x.db "SELECT lsm_accept('empty')"; sql x.db "SELECT lsm_accept('store')"
[ "$before" = "$(sum x.db-lsm)" ] && cmp x.db late.db && echo "nothing was changed"

echo "== the directory of another database, whose process was killed: only that can show what was committed"
killed() { sqlite3 -batch $1.db ".load $LSM" "CREATE VIRTUAL TABLE o USING lsm; CREATE TABLE p(a)" "BEGIN; INSERT INTO o VALUES(1, 'of $1'); INSERT INTO p VALUES(1); COMMIT" '.shell kill -9 $PPID' >/dev/null 2>&1; }
(killed one; killed two) 2>/dev/null
mv one.db-lsm aside; mv two.db-lsm one.db-lsm
sql one.db "SELECT * FROM o" "SELECT lsm_accept()"; sql one.db "SELECT lsm_accept('empty')"
mv one.db-lsm two.db-lsm; mv aside one.db-lsm; sql one.db "SELECT * FROM o"; sql two.db "SELECT * FROM o"

echo "== an older database, from before a DROP TABLE"
copy late x; sql x.db "DROP TABLE t; INSERT INTO u(u) VALUES('flush')"; cp late.db x.db
sql x.db "SELECT * FROM t"; sql x.db "SELECT * FROM u" "SELECT lsm_accept()" "SELECT lsm_check()"; sql x.db "DROP TABLE t" "SELECT lsm_check()"

echo "== damaged"
copy late x; for f in x.db-lsm/MANIFEST-*; do truncate -s 10 "$f"; done
sql x.db "SELECT * FROM t"
sql x.db "SELECT lsm_accept()"
before=$(sum x.db-lsm); sql x.db "SELECT lsm_repair()"; [ "$before" = "$(sum x.db-lsm)" ] && cmp x.db late.db && echo "nothing was changed"
sql x.db "SELECT lsm_repair()"
sql x.db "SELECT * FROM t"
mv x.db-lsm x.db-lsm-damaged && mv x.db-lsm-repaired x.db-lsm
sql x.db "SELECT group_concat(a) FROM t" "SELECT * FROM u" "BEGIN; INSERT INTO t VALUES(7, 'both'); INSERT INTO p VALUES('both'); COMMIT; INSERT INTO t VALUES(8, 'solo')"
sql x.db "SELECT count(*) FROM t" "SELECT count(*) FROM p"
echo "a table file:"
copy late x; f=$(ls x.db-lsm/*.ldb | head -1); printf 'XXXX' | dd of=$f bs=1 seek=60 conv=notrunc 2>/dev/null
sql x.db "SELECT * FROM t"
sql x.db "SELECT lsm_repair()" | sed -E 's/[0-9]{6}\.ldb/N.ldb/'
echo "what lsm_accept() sees of files without reading them whole:"
mv $f kept; sql x.db "SELECT lsm_accept()" | sed -E 's/[0-9]{6}\.ldb/N.ldb/'
head -c 100 kept >$f; sql x.db "SELECT lsm_accept()" | sed -E 's/[0-9]{6}\.ldb/N.ldb/'
echo "one that is whole:"
rm -r x.db-lsm-repaired; copy late x; sql x.db "SELECT lsm_repair()"
mv x.db-lsm y && mv x.db-lsm-repaired x.db-lsm; sql x.db "SELECT group_concat(a) FROM t"
echo "what was noted about keys that look like numbers, in a damaged block:"
sql n.db "CREATE VIRTUAL TABLE t USING lsm(k TEXT PRIMARY KEY, v, block_size=512); WITH s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 200) INSERT INTO t SELECT printf('%04d', i), i FROM s; INSERT INTO t(t) VALUES('compact')"
printf 'damaged' | dd of="$(ls n.db-lsm/*.ldb)" bs=1 seek=70 conv=notrunc 2>/dev/null
sql n.db "SELECT lsm_repair()" | grep -c 'could not be read'; rm -r n.db-lsm && mv n.db-lsm-repaired n.db-lsm
sql n.db "SELECT count(*) < 200 FROM t" "SELECT v FROM t WHERE k = CAST(150 AS INTEGER)"
echo "== the row of lsmvtab_store is lost, and the MANIFEST damaged: repair, then accept"
for lost in "DELETE FROM lsmvtab_store" "DROP TABLE lsmvtab_redo" "DROP TABLE lsmvtab_store; DROP TABLE lsmvtab_redo"; do
    rm -rf w.db*
    sql w.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); CREATE VIRTUAL TABLE u USING lsm; INSERT INTO t VALUES(1), (2); INSERT INTO u VALUES(1, 1)" "INSERT INTO t(t) VALUES('flush')" "INSERT INTO t VALUES(3)"
    sqlite3 -batch w.db "$lost"
    for f in w.db-lsm/MANIFEST-*; do printf 'XXXX' | dd of=$f bs=1 seek=90 conv=notrunc 2>/dev/null; done
    sql w.db "SELECT lsm_repair()" | sed 's/MANIFEST-[0-9]*/MANIFEST-N/g'
    mv w.db-lsm w.db-lsm-damaged && mv w.db-lsm-repaired w.db-lsm
    sql w.db "SELECT lsm_accept('store')" "SELECT lsm_check()" "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)" "INSERT INTO t VALUES(4)" "SELECT count(*) FROM t"
done
echo "== a repair goes round what cannot be read, and takes nothing from where an open does not"
big() { sql v.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); INSERT INTO t VALUES(1, zeroblob(5000)), (2, 'short')" "INSERT INTO t(t) VALUES('flush')"; }
rm -rf v.db*; big; f=$(ls v.db-lsm/*.vlog); rm $f; mkdir $f
sql v.db "SELECT lsm_repair()" | sed -E 's/[0-9]{6}\.vlog/N.vlog/g'
rm -rf v.db*; big; rm -rf other.db*; sql other.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1)"
cp other.db-lsm/MANIFEST-* v.db-lsm/MANIFEST-000099; rm v.db-lsm/CURRENT
sql v.db "SELECT lsm_repair()" | sed -E 's/MANIFEST-[0-9]{6}/MANIFEST-N/g'
rm -rf v.db*; big; chmod o+w v.db-lsm; sql v.db "SELECT lsm_repair()"
rm -rf v.db*; big; rm -rf v.db-lsm; mkdir v.db-lsm; sql v.db "SELECT lsm_repair()"; ls -d v.db-lsm-repaired 2>/dev/null
echo "== not from a view"
sql x.db "CREATE VIEW w AS SELECT lsm_accept('store'); SELECT * FROM w"
sql x.db "CREATE VIEW w2 AS SELECT lsm_repair(); SELECT * FROM w2"
sql :memory: "SELECT lsm_accept()"
sqlite3 none.db "CREATE TABLE p(a)"; sql none.db "SELECT lsm_accept()" "SELECT lsm_repair()"
sql x.db "BEGIN; INSERT INTO p VALUES(1); SELECT lsm_accept('store')"
echo "== in words that say what to do"
sql c.db "CREATE VIRTUAL TABLE t USING lsm; CREATE TABLE p(a)"; copy c early
for i in 1 2 3; do sql c.db "BEGIN; INSERT INTO t VALUES($i, $i); INSERT INTO p VALUES($i); COMMIT"; [ $i = 2 ] && copy c two; done
rm -r c.db-lsm; cp -r two.db-lsm c.db-lsm
sql c.db "SELECT * FROM t"
sql c.db "SELECT lsm_accept()"
printf '%s\n' ".load $LSM" "SELECT count(*) FROM t;" "SELECT lsm_accept('empty');" | sqlite3 late.db 2>&1
rm -r c.db-lsm; sql c.db "SELECT lsm_repair()"
sql c.db "DROP TABLE t" "SELECT lsm_accept()" "SELECT lsm_accept('empty')"

echo "== what a repair says to do can be given to a shell, whatever the name"
name="it's a \$(name) & more.db"
sql "$name" "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 'here'); INSERT INTO t(t) VALUES('flush')"
rm "$name"-lsm/CURRENT "$name"-lsm/MANIFEST*
eval "$(sql "$name" "SELECT lsm_repair()" | sed -n 's/.*To use the new one: //p')"
sql "$name" "SELECT * FROM t" "SELECT lsm_check()"; ls -d *more.db*

echo "== a young store without its MANIFEST: the name of its one tree is known to the database alone"
sql young.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)" "INSERT INTO t VALUES(1); BEGIN; INSERT INTO t VALUES(2); COMMIT"
rm young.db-lsm/MANIFEST*; sql young.db "SELECT lsm_repair()" | tail -n +3; mv young.db-lsm aside; mv young.db-lsm-repaired young.db-lsm
sql young.db "SELECT count(*) FROM t" "SELECT lsm_check()"
echo "of two nobody knows which is which:"
sql twins.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)" "CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY)" "INSERT INTO t VALUES(1); BEGIN; INSERT INTO u VALUES(2); COMMIT"
rm twins.db-lsm/MANIFEST*; sql twins.db "SELECT lsm_repair()" | tail -n +3

echo "== a backup that was put over a directory which was not emptied: nothing is accepted that cannot be shown"
for journal in DELETE WAL; do
    rm -rf over.db* kept.db*
    sql over.db "PRAGMA journal_mode = $journal" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); CREATE TABLE p(a); BEGIN; INSERT INTO t VALUES(1); INSERT INTO p VALUES(1); COMMIT" "SELECT lsm_backup_all('kept.db') > ''"
    sql over.db "BEGIN; INSERT INTO t VALUES(2); INSERT INTO p VALUES(2); COMMIT"; sql over.db "INSERT INTO t(t) VALUES('flush')"; sql over.db "BEGIN; INSERT INTO t VALUES(3); INSERT INTO p VALUES(3); COMMIT"
    cp kept.db over.db; cp -r kept.db-lsm/. over.db-lsm/
    sql over.db "SELECT count(*) FROM t"; sql over.db "SELECT lsm_accept()"; sql over.db "SELECT lsm_accept('store')"; cmp kept.db over.db
    rm -r over.db-lsm; cp -r kept.db-lsm over.db-lsm; sql over.db "SELECT count(*) FROM t" "SELECT lsm_check()"
done
