# sql/tour.sql as a user runs it, twice: the second time its tables are there.
top=$(cd "$(dirname "$0")/../.." && pwd)
ln -s "$LSM" lsmvtab.so
sqlite3 -batch tour.db <"$top/sql/tour.sql"
ls
echo "again:"
sqlite3 -batch tour.db <"$top/sql/tour.sql" 2>&1 >/dev/null | grep -E 'near line'
