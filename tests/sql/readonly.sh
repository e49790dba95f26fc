# Databases that may not be written.
sqlite3 -batch a.db -cmd ".load $LSM" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); INSERT INTO t VALUES(1, 1)"
echo "opened read-only:"
sqlite3 -batch -readonly a.db -cmd ".load $LSM" "SELECT * FROM t" "BEGIN; SELECT * FROM t; COMMIT" "INSERT INTO t VALUES(2, 2)" 
echo "query_only:"
sqlite3 -batch a.db -cmd ".load $LSM" "PRAGMA query_only = 1; BEGIN; SELECT * FROM t; SELECT * FROM t; COMMIT; INSERT INTO t VALUES(2, 2)"
echo "as it was:"
sqlite3 -batch a.db -cmd ".load $LSM" "SELECT * FROM t"
