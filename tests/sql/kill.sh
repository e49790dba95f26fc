# A writer is killed in the middle: what it had acknowledged is there, in both stores, and
# no transaction is there by half.
sqlite3 -batch test.db -cmd ".load $LSM" "PRAGMA journal_mode = ${MODE:-WAL}" "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)" "CREATE TABLE p(a INTEGER PRIMARY KEY)" >/dev/null
: >acknowledged
next=1
for cycle in 1 2 3 4 5 6 7 8; do
    (echo ".load $LSM"
     for i in $(seq $next $((next + 3000))); do
         if [ $((i % 2)) = 0 ]; then
             echo "INSERT INTO t VALUES($i, 'solo');"
         else
             echo "BEGIN; INSERT INTO t VALUES($i, 'joint'); INSERT INTO p VALUES($i); COMMIT;"
         fi
         echo "SELECT $i;"
     done) >script
    stdbuf -oL sqlite3 -batch -bail test.db <script >>acknowledged 2>>errors &
    writer=$!
    sleep 0.1$cycle
    kill -9 $writer
    wait $writer 2>/dev/null
    last=$(tail -n 1 acknowledged)
    last=${last:-0}
    sqlite3 -batch test.db -cmd ".load $LSM" \
        "SELECT 'lost', count(*) FROM (SELECT count(*) AS n FROM t WHERE a <= $last) WHERE n <> $last" \
        "SELECT 'half', a FROM p WHERE a NOT IN (SELECT a FROM t) UNION ALL SELECT 'half', a FROM t WHERE b = 'joint' AND a NOT IN (SELECT a FROM p)" \
        "SELECT 'too many' FROM t WHERE a > $last + 1" >check
    [ "$(cat check)" = "lost|0" ] || { echo "cycle $cycle, acknowledged $last:"; cat check; }
    next=$(sqlite3 -batch test.db -cmd ".load $LSM" "SELECT coalesce(max(a), 0) + 1 FROM t")
    # What was committed but not acknowledged counts as such from now on.
    [ "$next" -gt 1 ] && echo $((next - 1)) >>acknowledged
done
[ "$(tail -n 1 acknowledged)" -gt 8 ] && echo "rows were written"
cat errors
