# D-09: names of databases. The directory has the whole name and a suffix; what is too long is told, and nothing is made.
sql() { local db=$1; shift; sqlite3 -batch "$db" -cmd ".load $LSM" "$@" 2>&1; }
try() {
    sql "$1" "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 'one'); INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(2, 'two')"
    sql "$1" "SELECT count(*), lsm_check() FROM t"
}
nl='new
line.db'
for name in 'with space.db' "quote's.db" 'double"quote.db' '%41%s%n.db' '?query#hash.db' "$nl" "$(printf 'e\314\201.db')" "$(printf '\303\251.db')" "$(printf '\377\376.db')" '-dash.db' 'a;b$(c)`d`.db' '.hidden' 'no-suffix' 'x.db-lsm' 'x.db-wal-lsm.db'; do
    printf '%s: ' "$(printf '%s' "$name" | tr '\n\377\376' '/xy')"
    try "./$name"
    [ -d "./$name-lsm" ] || echo "its directory is elsewhere"
done
echo "one name in two forms of Unicode is two databases:"
ls -d ./*.db-lsm | grep -c "$(printf '\314\201\|\303\251')"
echo "as a URI, with parameters:"
try "file:uri.db?cache=private&mode=rwc"; ls -d uri.db*
sql "file:uri.db?mode=ro" "SELECT count(*) FROM t"; sql "file:uri.db?mode=ro" "INSERT INTO t VALUES(3, 3)"
sql "file:uri.db?immutable=1" "SELECT count(*) FROM t"
try "file:percent%20%41.db"; ls -d percent*
echo "long names:"
long=$(printf '%247s' '' | tr ' ' x)      # with -journal it is 255 bytes
try "$long"; ls -d xxx*-lsm | wc -c
long=$(printf '%248s' '' | tr ' ' x)
try "$long" | sed "s/$long/LONG/g"; sqlite3 "$long" "SELECT count(*) FROM sqlite_master" 2>&1; ls -d "$long-lsm" 2>/dev/null
deep=$PWD; for i in 1 2; do deep=$deep/$(printf '%200s' '' | tr ' ' d); mkdir "$deep" || exit; done
try "$deep/a.db"; ls "$deep"
for i in 1 2; do deep=$deep/$(printf '%200s' '' | tr ' ' d); mkdir "$deep"; done
try "$deep/a.db" | cut -c 1-30; ls "$deep"

echo "a database that was deserialized has the name of a file that is not its own:"
sql x "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY); INSERT INTO t VALUES(1)"
sqlite3 -batch plain.db "CREATE TABLE p(a)"
sql :memory: ".open --deserialize plain.db" ".load $LSM" "CREATE VIRTUAL TABLE t USING lsm(a PRIMARY KEY)"
sqlite3 -batch x ".load $LSM" ".open --deserialize x" ".load $LSM" "INSERT INTO t VALUES(2)" 2>&1
sql x "SELECT count(*) FROM t"
