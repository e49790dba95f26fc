# Shows I-16.
# Databases that may not be written.
sqlite3 -batch a.db -cmd ".load $LSM" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); INSERT INTO t VALUES(1, 1)"
echo "opened read-only:"
sqlite3 -batch -readonly a.db -cmd ".load $LSM" "SELECT * FROM t" "BEGIN; SELECT * FROM t; COMMIT" "INSERT INTO t VALUES(2, 2)" 
echo "query_only:"
sqlite3 -batch a.db -cmd ".load $LSM" "PRAGMA query_only = 1; BEGIN; SELECT * FROM t; SELECT * FROM t; COMMIT; INSERT INTO t VALUES(2, 2)"
echo "as it was:"
sqlite3 -batch a.db -cmd ".load $LSM" "SELECT * FROM t"
echo "a directory that may not be written:"
mkdir ro; mv a.db a.db-lsm ro; chmod -R a+rX ro; chmod a+rx . ..; chmod -R a-w ro
nobody() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
cd ro
before=$(ls -R . | cksum)
nobody sqlite3 -batch a.db -cmd ".load $LSM" "SELECT * FROM t"
nobody sqlite3 -batch a.db -cmd ".load $LSM" "INSERT INTO t VALUES(2, 2)"
nobody sqlite3 -batch -readonly a.db -cmd ".load $LSM" "SELECT * FROM t"
[ "$before" = "$(ls -R . | cksum)" ] && echo "nothing was made"
cd ..; chmod -R u+w ro
