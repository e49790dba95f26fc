/*
 * test_vtab_process.c -- the extension as a part of a process: loaded, loaded twice, left
 * by exit(); and what a store costs that is filled, emptied, made and dropped again and again.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/sql.h"

static sqlite3 *open_plain(void)
{
    char path[200];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/test.db", test_dir());
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static sqlite3 *open_db(void)
{
    sqlite3 *db = open_plain();

    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    return db;
}

static int count_in(const char *path)
{
    struct dirent *entry;
    DIR *dir = opendir(path);
    int count = 0;

    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static int count_store_files(void)
{
    char path[200];

    snprintf(path, sizeof path, "%s/test.db-lsm", test_dir());
    return count_in(path);
}

static int64_t store_bytes(void)
{
    char path[200], file[500];
    struct dirent *entry;
    struct stat info;
    int64_t sum = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/test.db-lsm", test_dir());
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (stat(file, &info) == 0 && S_ISREG(info.st_mode))
            sum += info.st_size;
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* ---- loaded ---- */

static bool library(char *path, size_t size)
{
    const char *build = getenv("BUILD"), *flavour = getenv("FLAVOUR");

    snprintf(path, size, "%s/lsmvtab.so", build ? build : "build");
    return access(path, R_OK) == 0 && !(flavour && *flavour && strcmp(flavour, "plain") != 0);
}

TEST(P_10_the_library_stays_when_its_last_connection_is_closed)
{
    char path[300];
    sqlite3 *db;
    void *handle;

    if (!library(path, sizeof path)) {
        printf("  there is no %s in this flavour\n", path);
        return;
    }
    for (int i = 0; i < 3; i++) {
        db = open_plain();
        sqlite3_enable_load_extension(db, 1);
        CHECK_INT(sqlite3_load_extension(db, path, NULL, NULL), SQLITE_OK);
        if (i == 0)
            SQL(db, "CREATE VIRTUAL TABLE t USING lsm");
        SQL(db, "INSERT INTO t SELECT count(*), 'row' FROM t");
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), i + 1);
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
        handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
        CHECK(handle != NULL);
        if (handle)
            dlclose(handle);
    }
}

TEST(P_08_a_second_copy_of_the_extension_in_one_process_is_kept_out)
{
    sqlite3 *mine = open_db(), *other;
    char path[300];

    SQL(mine, "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 'mine')");
    if (library(path, sizeof path)) {
        other = open_plain();
        sqlite3_enable_load_extension(other, 1);
        CHECK_INT(sqlite3_load_extension(other, path, NULL, NULL), SQLITE_OK);
        CHECK_INT(sql_rc(other, "SELECT * FROM t") & 0xff, SQLITE_BUSY);
        CHECK_INT(sql_rc(other, "INSERT INTO t VALUES(2, 'other')") & 0xff, SQLITE_BUSY);
        CHECK_INT(sqlite3_close(other), SQLITE_OK);
        SQL(mine, "INSERT INTO t VALUES(3, 'mine')");       /* its lock was not dropped with the other's files */
        other = open_plain();
        sqlite3_enable_load_extension(other, 1);
        CHECK_INT(sqlite3_load_extension(other, path, NULL, NULL), SQLITE_OK);
        CHECK_INT(sql_rc(other, "SELECT * FROM t") & 0xff, SQLITE_BUSY);
        CHECK_INT(sqlite3_close(mine), SQLITE_OK);
        CHECK_INT(sql_value(other, "SELECT sum(key) FROM t"), 4);
        CHECK_INT(sqlite3_close(other), SQLITE_OK);
    } else {
        CHECK_INT(sqlite3_close(mine), SQLITE_OK);
    }
}

/* Two objects of one connection were two transactions: the second's commit took the first's rows away. */
TEST(the_extension_may_be_registered_twice_with_one_connection)
{
    sqlite3 *db = open_db();

    SQL(db, "CREATE VIRTUAL TABLE t USING lsm; CREATE VIRTUAL TABLE u USING lsm; CREATE TABLE p(a)");
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    db = open_db();
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 0);
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1)");
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    SQL(db, "INSERT INTO u VALUES(1, 1); INSERT INTO p VALUES(1); COMMIT");
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    db = open_db();
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM u"), 1);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* ---- left ---- */

TEST(P_13_a_process_may_exit_while_the_worker_works)
{
    sqlite3 *db;

    for (int i = 0; i < 5; i++) {
        int status = 0;
        pid_t pid;

        test_dir();
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            static const char fill[] =
                "CREATE VIRTUAL TABLE IF NOT EXISTS t USING lsm(a INTEGER PRIMARY KEY, b);"
                "INSERT INTO t(t, _arg) VALUES('memory', '4 MB');"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                "REPLACE INTO t SELECT i, randomblob(200) FROM n";
            sqlite3_stmt *stmt;

            db = open_db();
            if (sql_rc(db, "PRAGMA busy_timeout = 10000") != SQLITE_OK || sql_rc(db, fill) != SQLITE_OK)
                _exit(1);
            /* A transaction and a cursor are open, and the worker flushes. */
            if (sql_rc(db, "BEGIN; DELETE FROM t WHERE a < 10") != SQLITE_OK ||
                sqlite3_prepare_v2(db, "SELECT * FROM t", -1, &stmt, NULL) != SQLITE_OK ||
                sqlite3_step(stmt) != SQLITE_ROW)
                _exit(2);
            test_state.dir[0] = '\0';
            exit(0);
        }
        waitpid(pid, &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        db = open_db();
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 20000);
        CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
    }
}

/* Nothing was flushed and nothing closed: only what the first commit wrote says that the store is a database's. */
TEST(R15_a_store_whose_process_died_at_once_is_not_taken_over)
{
    char path[200], aside[200];
    int status = 0;
    sqlite3 *db;
    pid_t pid;

    snprintf(path, sizeof path, "%s/test.db", test_dir());
    snprintf(aside, sizeof aside, "%s/aside.db", test_dir());
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        db = open_db();
        if (sql_rc(db, "CREATE VIRTUAL TABLE t USING lsm; BEGIN; INSERT INTO t VALUES(1, 1); COMMIT") != SQLITE_OK)
            _exit(1);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(rename(path, aside), 0);
    db = open_db();
    CHECK_INT(sql_rc(db, "CREATE VIRTUAL TABLE t USING lsm"), SQLITE_CORRUPT_VTAB);
    CHECK(strstr(sqlite3_errmsg(db), "a store that this database does not know") != NULL);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    CHECK_INT(rename(aside, path), 0);
    db = open_db();
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* ---- again and again ---- */

TEST(S_05_G_06_tables_made_and_rolled_back_or_dropped_leave_no_files_and_descriptors)
{
    sqlite3 *db = open_db();
    int files, fds, rounds = test_long() ? 5000 : 300;

    SQL(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    SQL(db, "CREATE VIRTUAL TABLE keep USING lsm; INSERT INTO keep VALUES(1, 1)");
    SQL(db, "INSERT INTO keep(keep) VALUES('flush')");
    files = count_store_files();
    fds = count_in("/proc/self/fd");
    for (int i = 0; i < rounds; i++) {
        SQL(db, "BEGIN; CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1); INSERT INTO keep VALUES(-1, 1); ROLLBACK");
        SQL(db, "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 1)");
        SQL(db, "DROP TABLE t; REPLACE INTO keep VALUES(2, 2)");
    }
    SQL(db, "INSERT INTO keep(keep) VALUES('flush')");
    SQL(db, "REPLACE INTO keep VALUES(3, 3); INSERT INTO keep(keep) VALUES('compact')");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM keep"), 3);
    printf("  files %d, at first %d; descriptors %d, at first %d\n", count_store_files(), files,
           count_in("/proc/self/fd"), fds);
    CHECK(count_store_files() <= files + 4);
    CHECK(count_in("/proc/self/fd") <= fds + 8);
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    db = open_db();
    CHECK_INT(sql_value(db, "SELECT count(*) FROM keep"), 3);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

TEST(G_06_many_tiny_transactions_are_bounded_in_files_and_descriptors)
{
    sqlite3 *db = open_db();
    sqlite3_stmt *stmt = NULL;
    int fds, most = 0, count = test_long() ? 1000000 : 20000;

    SQL(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    SQL(db, "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)");
    SQL(db, "INSERT INTO t(t, _arg) VALUES('memory', '4 MB')");
    fds = count_in("/proc/self/fd");
    CHECK_INT(sqlite3_prepare_v2(db, "REPLACE INTO t VALUES(?, randomblob(100))", -1, &stmt, NULL), SQLITE_OK);
    for (int i = 0; i < count; i++) {
        sqlite3_bind_int(stmt, 1, i % 5000);
        if (!CHECK_INT(sqlite3_step(stmt), SQLITE_DONE))
            break;
        sqlite3_reset(stmt);
        if (i % 1000 == 0 && count_store_files() > most)
            most = count_store_files();
    }
    sqlite3_finalize(stmt);
    printf("  at most %d files; descriptors %d, at first %d\n", most, count_in("/proc/self/fd"), fds);
    CHECK(most < 60);
    CHECK(count_in("/proc/self/fd") < fds + 60);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 5000);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

TEST(G_07_what_is_deleted_gives_its_space_back)
{
    sqlite3 *db = open_db();
    int64_t full, emptied, again;

    SQL(db, "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)");
    SQL(db, "INSERT INTO t(t, _arg) VALUES('memory', '4 MB')");
    SQL(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
            "INSERT INTO t SELECT i, randomblob(200) FROM n");
    SQL(db, "INSERT INTO t(t) VALUES('compact')");
    full = store_bytes();
    for (int i = 0; i < 150; i++) {     /* tombstones only, here and there */
        char sql[100];
        snprintf(sql, sizeof sql, "DELETE FROM t WHERE a %% 150 = %d", i);
        SQL(db, sql);
    }
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 0);
    SQL(db, "INSERT INTO t(t) VALUES('compact')");
    emptied = store_bytes();
    SQL(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
            "INSERT INTO t SELECT i * 10, randomblob(200) FROM n");
    SQL(db, "INSERT INTO t(t) VALUES('compact')");
    again = store_bytes();
    printf("  full %" PRId64 ", emptied %" PRId64 ", a tenth again %" PRId64 "\n", full, emptied, again);
    CHECK(emptied < full / 5);  /* a log of the deletes may still be there */
    CHECK(again < full / 3);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 3000);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

TEST(M_05_a_limit_on_sqlites_memory_fails_statements_and_loses_nothing)
{
    sqlite3 *db = open_db();
    int failed = 0;

    SQL(db, "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); CREATE TABLE p(a)");
    SQL(db, "INSERT INTO t VALUES(1, 'one')");
    for (int64_t extra = 0; extra < 3000000; extra = extra * 3 / 2 + 1000) {
        int rc;

        sqlite3_hard_heap_limit64(sqlite3_memory_used() + extra);
        rc = sql_rc(db, "BEGIN; INSERT INTO t VALUES(2, randomblob(500000)); INSERT INTO p VALUES(2); COMMIT");
        sqlite3_hard_heap_limit64(0);
        if (!sqlite3_get_autocommit(db))
            sql_rc(db, "ROLLBACK");
        CHECK(rc == SQLITE_OK || (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_TOOBIG ||
              (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_ABORT);
        failed += rc != SQLITE_OK;
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), rc == SQLITE_OK ? 2 : 1);
        CHECK_INT(sql_value(db, "SELECT count(*) FROM p"), rc == SQLITE_OK ? 1 : 0);
        SQL(db, "BEGIN; DELETE FROM t WHERE a = 2; DELETE FROM p; COMMIT");
    }
    CHECK(failed > 3);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}
