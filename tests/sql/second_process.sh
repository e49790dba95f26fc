# Another process has the store: the message names it, nothing is lost or made.
mkfifo gate
: >first
(echo ".load $LSM"
 echo "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); INSERT INTO t VALUES(1, 'first'); SELECT 'ready';"
 cat gate) | stdbuf -oL sqlite3 -batch test.db >first &
owner=$!
exec 9>gate
while ! grep -q ready first; do sleep 0.05; done
before=$(ls test.db-lsm | sort | cksum)
echo "reading:"
sqlite3 -batch test.db -cmd ".load $LSM" 'SELECT * FROM t'
echo "reading, as somebody who may not write:"
nobody() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
chmod a+rx . .. test.db-lsm; chmod a+r test.db test.db-lsm/*
nobody sqlite3 -batch -readonly test.db -cmd ".load $LSM" 'SELECT * FROM t'
echo "writing, after a wait:"
sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 300" "INSERT INTO t VALUES(2, 'second')"
echo "other tables:"
sqlite3 -batch test.db -cmd ".load $LSM" "CREATE TABLE p(a); INSERT INTO p VALUES(5); SELECT * FROM p"
[ "$before" = "$(ls test.db-lsm | sort | cksum)" ] && echo "no file was made"
echo "a second process that waits long enough:"
(sleep 0.5; echo "SELECT 'done';" >&9) &
exec 9>&-
sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 20000" "SELECT * FROM t"
wait $owner

echo "a reader who may not write keeps the writer out:"
chmod a+r test.db test.db-lsm/*
mkfifo gate2
: >second
(echo ".load $LSM"
 echo "SELECT 'reads', * FROM t;"
 cat gate2) | nobody stdbuf -oL sqlite3 -batch -readonly test.db >second &
reader=$!
exec 9>gate2
for i in $(seq 600); do grep -q reads second && break; sleep 0.05; done
sqlite3 -batch test.db -cmd ".load $LSM" "INSERT INTO t VALUES(2, 'second')" 2>&1
nobody sqlite3 -batch -readonly test.db -cmd ".load $LSM" "SELECT 'two readers', * FROM t"
exec 9>&-
wait $reader
sqlite3 -batch test.db -cmd ".load $LSM" "INSERT INTO t VALUES(2, 'second'); SELECT * FROM t"

echo "an old snapshot behind a lock that nobody can look past is no older database:"
sqlite3 -batch old.db -cmd ".load $LSM" "PRAGMA journal_mode = WAL" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); CREATE TABLE p(a); BEGIN; INSERT INTO t VALUES(1); INSERT INTO p VALUES(1); COMMIT"
mkfifo gate3 gate4; : >third; : >fourth
(echo ".load $LSM"; echo "SELECT 'open', count(*) FROM t;"; cat gate3) | stdbuf -oL sqlite3 -batch old.db >third &
other=$!
exec 9>gate3
for i in $(seq 600); do grep -q open third && break; sleep 0.05; done
(echo ".load $LSM"; echo "PRAGMA locking_mode = EXCLUSIVE; BEGIN; SELECT 'begun', a FROM p; INSERT INTO p VALUES(5);"; cat gate4) 9>&- | stdbuf -oL sqlite3 -batch old.db >fourth 2>&1 9>&- &
exclusive=$!
exec 8>gate4
for i in $(seq 600); do grep -q 'locked' fourth && break; sleep 0.05; done
echo "BEGIN; INSERT INTO t VALUES(2); INSERT INTO p VALUES(2); COMMIT;" >&9; exec 9>&-; wait $other
printf '%s\n' "SELECT a FROM t;" "COMMIT;" "PRAGMA locking_mode = NORMAL;" "SELECT 'then', group_concat(a) FROM t;" >&8; exec 8>&-; wait $exclusive
cat fourth
