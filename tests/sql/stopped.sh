# P-05: a writer is stopped in its transaction. Others wait as long as they said and no longer; its lock is not taken
# away; when it goes on, both have what they committed. P-01: the same for two writers that only take turns.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
mkfifo gate; : >first
stdbuf -oL sqlite3 -batch test.db <gate >first &
owner=$!
exec 9>gate
echo ".load $LSM" >&9; echo ".timeout 20000" >&9      # its COMMIT may meet the reader that has waited for it
echo "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY, b); CREATE TABLE p(a); INSERT INTO t VALUES(1, 1); BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2); SELECT 'ready';" >&9
while ! grep -q ready first; do sleep 0.05; done
kill -STOP $owner
echo "while it is stopped:"
sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 300" "INSERT INTO t VALUES(3, 3)" 2>&1 | sed 's/ (process.*)//'
sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 300" "SELECT * FROM t" 2>&1 | sed 's/ (process.*)//'
sqlite3 -batch test.db "SELECT count(*) FROM p"
kill -CONT $owner
echo "COMMIT;" >&9
exec 9>&-
echo "when it has gone on:"
sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 20000" "INSERT INTO t VALUES(4, 4); SELECT group_concat(a) FROM t; SELECT group_concat(a) FROM p; SELECT lsm_check()"
wait
echo "taking turns:"
for who in 1 2; do
    for i in $(seq 20); do sqlite3 -batch test.db -cmd ".load $LSM" -cmd ".timeout 20000" "BEGIN IMMEDIATE; INSERT INTO t SELECT 'w$who.$i', count(*) FROM t; INSERT INTO p SELECT 'w$who.$i'; COMMIT" 2>&1; done &
done
wait
sql test.db "SELECT count(*), count(DISTINCT b) FROM t WHERE a LIKE 'w%'; SELECT count(*) FROM p WHERE a IN (SELECT a FROM t)"
