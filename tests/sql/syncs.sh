# How often ten commits of a kind sync, as the kernel sees it: `ours / SQLite's`. What an open store owes once
# comes before: the settle of what is below, the flag that the log alone may be incomplete (R7a).
# On the simulated disk: test_vtab_redo.c, R6 and R7. That the worker tells the kernel to begin with the log's room (os_posix.c)
# is no sync: it waits for nothing and promises nothing, and comes when the worker comes to it.
count() {       # JOURNAL SYNCHRONOUS KIND STATEMENT
    rm -rf c.db* begin end trace; : >begin; : >end
    { echo "PRAGMA journal_mode = $1; PRAGMA synchronous = $2;
            CREATE VIRTUAL TABLE t USING lsm(k INTEGER PRIMARY KEY, v); CREATE TABLE p(k INTEGER PRIMARY KEY, v);
            INSERT INTO t VALUES(-1, 1); INSERT INTO p VALUES(-1, 1); BEGIN; INSERT INTO t VALUES(-2, 1); COMMIT; INSERT INTO t VALUES(-3, 1);"
      echo "$4 $4 $4"
      echo ".read begin"
      for i in 1 2 3 4 5 6 7 8 9 10; do echo "$4"; done
      echo ".read end"; } >script
    strace -f -y -o trace -e trace=openat,fsync,fdatasync,msync,sync_file_range,syncfs \
        sqlite3 -batch c.db -cmd ".load $LSM" <script >/dev/null 2>&1
    sed -n '/"begin"/,/"end"/p' trace | grep -E '(sync|sync_file_range)\(' | grep -v ', SYNC_FILE_RANGE_WRITE)' >found
    echo "$1 $2 $3: $(grep -c 'c.db-lsm' found) / $(grep -vc 'c.db-lsm' found)"
}

if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    for sync in NORMAL FULL; do
        for journal in WAL DELETE; do
            count $journal $sync 'solo' 'REPLACE INTO t VALUES(1, 1);'
            count $journal $sync 'carried' 'BEGIN; REPLACE INTO t VALUES(1, 1); REPLACE INTO t VALUES(2, 1); COMMIT;'
            count $journal $sync 'carried, both' 'BEGIN; REPLACE INTO t VALUES(1, 1); REPLACE INTO p VALUES(2, 1); COMMIT;'
            count $journal $sync 'too large to be carried' 'BEGIN; REPLACE INTO t VALUES(1, zeroblob(300000)); COMMIT;'
            count $journal $sync 'ordinary alone' 'REPLACE INTO p VALUES(1, 1);'
        done
    done
else
    cat "${0%.sh}.out"          # where nobody may trace, only the simulated disk counts
fi
