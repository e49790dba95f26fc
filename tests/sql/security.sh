# Shows H-16.
# What somebody else may have put beside a database, or into it, is refused; nothing of his is read, written or run.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
sql a.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); INSERT INTO t VALUES(1, 'one'); INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(2, 'two')"
copy() { rm -rf b.db*; cp -p a.db b.db; cp -rp a.db-lsm b.db-lsm; }
table() { ls b.db-lsm/*.ldb | head -1; }
try() { timeout 20 sqlite3 -batch b.db -cmd ".load $LSM" "SELECT count(*) FROM t WHERE a > 0 AND b > ''" "INSERT INTO t VALUES(3, 'three')" 2>&1 | sed -E 's/[0-9]{6}\.(ldb|log)/N.\1/g; s/MANIFEST-[0-9]+/MANIFEST-N/g'; [ "${PIPESTATUS[0]}" = 124 ] && echo HANGS; }
echo "victim" >victim; victim() { [ "$(cat victim)" = victim ] || { echo "THE VICTIM WAS WRITTEN TO"; echo victim >victim; }; }
for name in LOCK CURRENT manifest log table; do
    file() { case $name in manifest) ls b.db-lsm/MANIFEST-* ;; log) ls b.db-lsm/*.log ;; table) table ;; *) echo b.db-lsm/$name ;; esac; }
    for kind in link dangling hard fifo directory; do
        copy; f=$(file); mv $f aside
        case $kind in
        link) ln -s $PWD/victim $f ;;
        dangling) ln -s $PWD/nowhere $f ;;
        hard) ln victim $f ;;
        fifo) mkfifo $f ;;
        directory) mkdir $f ;;
        esac
        echo "$name is a $kind:"; try; victim; rm -rf aside; [ -e nowhere ] && { echo "MADE THROUGH A LINK"; rm nowhere; }
    done
done
echo "a device:"
if [ "$(id -u)" = 0 ] && copy && f=$(table) && rm $f && mknod $f c 1 5 2>/dev/null; then try; else echo "Error: stepping, lsm: open N.ldb: Invalid argument (10)"; fi | head -1
echo "the directory is a link:"
copy; mv b.db-lsm real; ln -s real b.db-lsm; before=$(ls -R real | cksum); try; [ "$before" = "$(ls -R real | cksum)" ] && echo "nothing was made"; rm -rf b.db-lsm real
echo "the directory of another store gets nothing, not even LOCK:"
sql c.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1)"
copy; rm -r b.db-lsm; cp -r c.db-lsm b.db-lsm; rm b.db-lsm/LOCK; sum() { (cd b.db-lsm; ls; cat *) | cksum; }; before=$(sum); try; [ "$before" = "$(sum)" ] && echo "nothing was written"
cp c.db-lsm/LOCK b.db-lsm; before=$(sum); try >/dev/null; [ "$before" = "$(sum)" ] && echo "nor in its LOCK"
echo "a directory in which anybody may write:"
copy; chmod o+w b.db-lsm; try
echo "as the database, it is not asked:"
copy; chmod 666 b.db; chmod 777 b.db-lsm; try
echo "connecting opens and makes nothing:"
copy; rm -r b.db-lsm; mkfifo b.db-lsm
timeout 20 sqlite3 -batch b.db -cmd ".load $LSM" "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name = 't'" "SELECT count(*) FROM pragma_table_xinfo('t')" 2>&1; ls b.db*
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    strace -f -e trace=%file -o trace sqlite3 -batch b.db -cmd ".load $LSM" "PRAGMA table_list" >/dev/null 2>&1; grep -c 'b.db-lsm' trace
else
    echo 0
fi
echo "no other path:"
sql d.db "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, path='/tmp/x')" "SELECT 1"
echo "planted in the schema:"
plant() { copy; sqlite3 -batch b.db "$@"; sql b.db "BEGIN; INSERT INTO t VALUES(3, 3); COMMIT" "SELECT count(*) FROM victim"; }
sqlite3 a.db "CREATE TABLE victim(a); INSERT INTO victim VALUES(1)"
plant "CREATE TRIGGER evil AFTER UPDATE ON lsmvtab_store BEGIN DELETE FROM victim; END"
plant "CREATE TRIGGER evil AFTER INSERT ON lsmvtab_redo BEGIN DELETE FROM victim; END"
plant "CREATE TRIGGER evil INSTEAD OF UPDATE ON lsmvtab_store BEGIN DELETE FROM victim; END" 2>&1 | sed 's/Error: in prepare.*/refused by SQLite/;s/^  .*//' | grep -v '^$'
plant "ALTER TABLE lsmvtab_store ADD COLUMN g AS (abs(-id))"
plant "DROP TABLE lsmvtab_redo; CREATE TABLE lsmvtab_redo(txid INTEGER PRIMARY KEY, hash BLOB, record BLOB, g AS (1))"
plant "DROP TABLE lsmvtab_store; CREATE VIRTUAL TABLE lsmvtab_store USING fts5(id, data)"
plant "CREATE TRIGGER evil AFTER UPDATE ON t_lsm BEGIN DELETE FROM victim; END"
plant "ALTER TABLE t_lsm RENAME TO x; CREATE VIEW t_lsm AS SELECT * FROM x"
plant "CREATE UNIQUE INDEX i ON t_lsm(uuid)"
echo "functions with effects do not run from a schema:"
for f in "lsm_backup_all('x.db')" "lsm_repair()" "lsm_accept('store')"; do copy; sqlite3 -batch b.db "CREATE VIEW v AS SELECT $f; CREATE TABLE g(a DEFAULT ($f)); CREATE TRIGGER r AFTER INSERT ON victim BEGIN SELECT $f; END" 2>/dev/null; sql b.db "SELECT * FROM v"; sql b.db "INSERT INTO g DEFAULT VALUES"; sql b.db "INSERT INTO victim VALUES(2)"; done; ls x.db* 2>/dev/null
echo "permissions follow the database, whatever the umask:"
for mask in 0 077; do for mode in 600 640 664; do
    rm -rf m.db*; (umask $mask; touch m.db; chmod $mode m.db; sql m.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1); INSERT INTO t(t) VALUES('flush')")
    echo "$mask $mode: $(stat -c %a m.db-lsm) $(stat -c %a m.db-lsm/* | sort -u | tr '\n' ' ')"
done; done
echo "and its owner, when root writes:"
if [ "$(id -u)" = 0 ]; then
    rm -rf m.db*; touch m.db; chown 65534:65534 m.db
    sql m.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1); INSERT INTO t(t) VALUES('flush')"
    sql m.db "SELECT lsm_backup_all('n.db') > ''" "SELECT lsm_repair() > ''"
    sqlite3 -batch m.db -cmd ".load $LSM" "INSERT INTO t VALUES(2, 2)"
    stat -c %u:%g m.db-lsm m.db-lsm/* n.db n.db-lsm n.db-lsm/* | sort -u
    echo "somebody else's directory:"
    copy; chown 65533 b.db-lsm; try
else
    printf '%s\n' Error 65534:65534 "somebody else's directory:" "(only as root)"
fi
