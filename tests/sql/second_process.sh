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
