# sql/load.sql as a user runs it.
top=$(cd "$(dirname "$0")/../.." && pwd)
ln -s "$LSM" lsmvtab.so
sqlite3 -batch load.db <"$top/sql/load.sql"
ls
echo "what it loaded is there in another process:"
sqlite3 -batch load.db -cmd '.load ./lsmvtab' 'SELECT count(*), count(DISTINCT word), sum(length) FROM words'
