/*
 * test_vtab_surroundings.c -- what the machine and the application do around a store: a
 * full disk, a fork, many connections, a shared cache.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/sql.h"

static sqlite3 *open_path(const char *path, int flags)
{
    sqlite3 *db = NULL;

    CHECK_INT(sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL), SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static sqlite3 *open_db(const char *dir)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/test.db", dir);
    return open_path(path, 0);
}

#define CREATE \
    "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b); CREATE TABLE p(a INTEGER PRIMARY KEY)"

/* ---- a full disk ------------------------------------------------------------------------- */

/*
 * A file system of 6 MiB of our own, half of it taken, where that is allowed. Joint transactions until it is full;
 * all that was acknowledged is there, on both sides; reading goes on; and once there is
 * room again, so does writing, without opening anything anew.
 */
static void fill_up(const char *dir, const char *journal)
{
    sqlite3 *db;
    char sql[200], path[200];
    int64_t acknowledged = 0, alone = 0;
    int rc = SQLITE_OK;
    FILE *ballast;

    snprintf(path, sizeof(path), "%s/ballast", dir);
    ballast = fopen(path, "w");
    CHECK(ballast && ftruncate(fileno(ballast), 0) == 0);
    for (int i = 0; ballast && i < 16000; i++)
        fwrite(sql, 1, sizeof(sql), ballast);
    fflush(ballast);
    db = open_db(dir);
    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", journal);
    SQL(db, sql);
    SQL(db, CREATE);
    while (rc == SQLITE_OK && acknowledged < 1000) {
        rc = sql_rc(db, "BEGIN; INSERT INTO p SELECT coalesce(max(a), 0) + 1 FROM p; "
                     "INSERT INTO t SELECT max(a), randomblob(20000) FROM p; COMMIT");
        if (rc == SQLITE_OK)
            acknowledged++;
    }
    CHECK_INT(rc & 0xff, SQLITE_FULL);
    printf("  %s: full after %" PRId64 ": %s\n", journal, acknowledged, sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db))
        sql_rc(db, "ROLLBACK");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), acknowledged);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM p"), acknowledged);
    /* The log has room that was reserved before. */
    for (rc = SQLITE_OK; rc == SQLITE_OK && alone < 20; alone += rc == SQLITE_OK) {
        snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%d, randomblob(100000))", -10 - (int)alone);
        rc = sql_rc(db, sql);
    }
    CHECK((rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR);   /* IOERR: settling the database failed */
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t WHERE length(b) = 20000"), acknowledged);

    if (ballast)
        fclose(ballast);
    CHECK(remove(path) == 0);
    SQL(db, "BEGIN; INSERT INTO t VALUES(-2, 'room again'); INSERT INTO p VALUES(-2); COMMIT");
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    db = open_db(dir);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t JOIN p USING (a)"), acknowledged + 1);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), acknowledged + alone + 1);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void on_small_disk(const char *journal)
{
    pid_t pid;
    int status = 0;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {             /* mounts of its own */
        test_state.failures = 0;
        if (unshare(CLONE_NEWNS) != 0
            || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
            || mount("small", test_dir(), "tmpfs", 0, "size=6m") != 0) {
            printf("  no file system of our own here: %s\n", strerror(errno));
            exit(77);
        }
        fill_up(test_dir(), journal);
        umount(test_dir());
        fflush(stdout);
        _exit(test_state.failures ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
}

TEST(I_01_a_full_disk_loses_nothing_and_room_again_is_enough_in_wal_mode)
{
    test_dir();
    on_small_disk("WAL");
}

TEST(I_01_a_full_disk_loses_nothing_and_room_again_is_enough_in_delete_mode)
{
    test_dir();
    on_small_disk("DELETE");
}

/* A limit on the size of files: the signal must not come, and what is said is that it is full. */
TEST(I_15_a_limit_of_file_size_is_a_full_disk)
{
    pid_t pid;
    int status = 0;

    test_dir();
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        struct rlimit limit = { 400000, 400000 };
        sqlite3 *db;
        int rc = SQLITE_OK;
        int64_t n = 0;

        test_state.failures = 0;
        signal(SIGXFSZ, SIG_IGN);       /* as SQLite's own files need it */
        db = open_db(test_dir());
        SQL(db, "PRAGMA journal_mode = WAL");
        SQL(db, CREATE);
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        for (; rc == SQLITE_OK && n < 1000; n += rc == SQLITE_OK)
            rc = sql_rc(db, "INSERT INTO t SELECT coalesce(max(a), 0) + 1, randomblob(20000) FROM t");
        CHECK_INT(rc & 0xff, SQLITE_FULL);
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), n);
        printf("  after %" PRId64 ": %s\n", n, sqlite3_errmsg(db));
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
        fflush(stdout);
        _exit(test_state.failures ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- a fork ------------------------------------------------------------------------------ */

TEST(a_forked_child_is_refused_and_the_parent_goes_on)
{
    sqlite3 *db = open_db(test_dir());
    pid_t pid;
    int status = 0;

    SQL(db, "PRAGMA journal_mode = WAL");
    SQL(db, CREATE);
    SQL(db, "INSERT INTO t VALUES(1, 'parent')");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int rc = sql_rc(db, "INSERT INTO t VALUES(2, 'child')");

        printf("  the child: %d %s\n", rc, sqlite3_errmsg(db));
        fflush(stdout);
        _exit(rc != SQLITE_OK && strstr(sqlite3_errmsg(db), "fork") ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    SQL(db, "INSERT INTO t VALUES(3, 'parent')");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 4);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
    db = open_db(test_dir());
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 4);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* ---- many connections --------------------------------------------------------------------- */

TEST(two_hundred_connections_share_one_store)
{
    enum { COUNT = 200 };
    static sqlite3 *dbs[COUNT];
    char sql[100];

    dbs[0] = open_db(test_dir());
    SQL(dbs[0], "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    SQL(dbs[0], CREATE);
    for (int i = 1; i < COUNT; i++) {
        dbs[i] = open_db(test_dir());
        SQL(dbs[i], "PRAGMA synchronous = OFF");
    }
    for (int i = 0; i < COUNT; i++) {   /* each writes while all others hold a view */
        if (i % 2)
            SQL(dbs[i], "BEGIN; SELECT count(*) FROM t");
        snprintf(sql, sizeof(sql), "BEGIN; INSERT INTO t VALUES(%d, 1); INSERT INTO p VALUES(%d); COMMIT",
                 i, i);
        SQL(dbs[i % 2 ? i - 1 : i], sql);
    }
    for (int i = 1; i < COUNT; i += 2)
        CHECK_INT(sql_value(dbs[i], "SELECT count(*) FROM t"), i);
    for (int i = COUNT - 1; i >= 0; i--) {
        if (i % 2)
            SQL(dbs[i], "COMMIT");
        CHECK_INT(sql_value(dbs[i], "SELECT count(*) FROM t JOIN p USING (a)"), COUNT);
        CHECK_INT(sqlite3_close(dbs[i]), SQLITE_OK);
    }
}

/* ---- a shared cache ------------------------------------------------------------------------ */

TEST(connections_of_one_shared_cache_see_committed_rows_only)
{
    char path[200];
    sqlite3 *a, *b;

    snprintf(path, sizeof(path), "%s/test.db", test_dir());
    a = open_path(path, SQLITE_OPEN_SHAREDCACHE);
    b = open_path(path, SQLITE_OPEN_SHAREDCACHE);
    SQL(a, CREATE);
    SQL(a, "INSERT INTO t VALUES(1, 1)");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 1);
    SQL(a, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2)");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 1);
    CHECK_INT(sql_rc(b, "INSERT INTO t VALUES(3, 3)") & 0xff, SQLITE_LOCKED);
    SQL(a, "COMMIT");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 2);
    SQL(b, "INSERT INTO t VALUES(3, 3)");
    CHECK_INT(sql_value(a, "SELECT count(*) FROM t"), 3);
    CHECK_INT(sqlite3_close(a), SQLITE_OK);
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t JOIN p USING (a)"), 1);
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
}

/* Between BEGIN and COMMIT what was read stays locked for the others, as an ordinary table would: else the second SELECT
   would see a commit that the first did not. */
TEST(connections_of_one_shared_cache_see_no_half_of_a_commit)
{
    char path[200];
    sqlite3 *a, *b;

    snprintf(path, sizeof(path), "%s/test.db", test_dir());
    a = open_path(path, SQLITE_OPEN_SHAREDCACHE);
    b = open_path(path, SQLITE_OPEN_SHAREDCACHE);
    SQL(a, CREATE);
    SQL(a, "INSERT INTO t VALUES(1, 1)");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 1);       /* it knows the token now */
    SQL(b, "BEGIN");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 1);
    SQL(a, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2)");
    CHECK_INT(sql_rc(a, "COMMIT") & 0xff, SQLITE_LOCKED);
    CHECK_INT(sql_value(b, "SELECT (SELECT count(*) FROM t) + 10 * (SELECT count(*) FROM p)"), 1);
    SQL(b, "COMMIT");
    SQL(a, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2); COMMIT");
    CHECK_INT(sql_value(b, "SELECT count(*) FROM t JOIN p USING (a)"), 1);
    CHECK_INT(sqlite3_close(a), SQLITE_OK);
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
}

/* In autocommit an open SELECT does the same, also one that began before the other connection was there. */
TEST(connections_of_one_shared_cache_see_no_half_of_a_commit_in_autocommit)
{
    char path[200];
    sqlite3 *a, *b;
    sqlite3_stmt *select;

    snprintf(path, sizeof(path), "%s/test.db", test_dir());
    b = open_path(path, SQLITE_OPEN_SHAREDCACHE);
    SQL(b, CREATE);
    SQL(b, "INSERT INTO t VALUES(1, 1), (2, 1); INSERT INTO p VALUES(1)");
    for (int is_there = 0; is_there <= 1; is_there++) {
        CHECK_INT(sql_value(b, "SELECT count(*) FROM t"), 2);   /* it knows the token now */
        CHECK_INT(sqlite3_prepare_v2(b, "SELECT b FROM t ORDER BY a", -1, &select, NULL), SQLITE_OK);
        if (is_there) {
            a = open_path(path, SQLITE_OPEN_SHAREDCACHE);
            CHECK_INT(sql_value(a, "SELECT count(*) FROM t"), 2);
        }
        CHECK_INT(sqlite3_step(select), SQLITE_ROW);
        if (!is_there)
            a = open_path(path, SQLITE_OPEN_SHAREDCACHE);
        SQL(a, "BEGIN; UPDATE t SET b = b + 1; UPDATE p SET a = a + 1");
        CHECK_INT(sql_rc(a, "COMMIT") & 0xff, SQLITE_LOCKED);
        CHECK_INT(sqlite3_step(select), SQLITE_ROW);
        CHECK_INT(sqlite3_column_int(select, 0), is_there + 1);
        CHECK_INT(sqlite3_finalize(select), SQLITE_OK);
        SQL(a, "BEGIN; UPDATE t SET b = b + 1; UPDATE p SET a = a + 1; COMMIT");
        CHECK_INT(sql_value(b, "SELECT max(b) FROM t"), is_there + 2);
        CHECK_INT(sql_value(b, "SELECT a FROM p"), is_there + 2);
        CHECK_INT(sqlite3_close(a), SQLITE_OK);
    }
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
}

TEST(a_connection_with_a_cache_of_its_own_is_in_no_shared_ones_way)
{
    char path[200];
    sqlite3 *shared[2], *own;
    sqlite3_stmt *select;

    snprintf(path, sizeof(path), "%s/test.db", test_dir());
    own = open_path(path, 0);
    SQL(own, "PRAGMA journal_mode = WAL");
    SQL(own, CREATE);
    SQL(own, "INSERT INTO t VALUES(1, 1), (2, 1)");
    for (int i = 0; i < 2; i++) {
        shared[i] = open_path(path, SQLITE_OPEN_SHAREDCACHE);
        CHECK_INT(sql_value(shared[i], "SELECT count(*) FROM t"), 2);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_INT(sql_value(own, "SELECT count(*) FROM t"), 2 + i);
        CHECK_INT(sqlite3_prepare_v2(own, "SELECT b FROM t ORDER BY a", -1, &select, NULL), SQLITE_OK);
        CHECK_INT(sqlite3_step(select), SQLITE_ROW);
        SQL(shared[i], "BEGIN; INSERT INTO t SELECT max(a) + 1, 1 FROM t; INSERT INTO p SELECT max(a) FROM t; COMMIT");
        CHECK_INT(sqlite3_finalize(select), SQLITE_OK);
    }
    CHECK_INT(sql_value(own, "SELECT count(*) FROM t"), 4);
    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_close(shared[i]), SQLITE_OK);
    CHECK_INT(sqlite3_close(own), SQLITE_OK);
}

/* ---- an application that cleans up ------------------------------------------------------- */

/* As many do before they close: also statements that are not theirs. */
static int finalize_all(sqlite3 *db)
{
    sqlite3_stmt *stmt;
    int count = 0;

    while ((stmt = sqlite3_next_stmt(db, NULL)) != NULL) {
        sqlite3_finalize(stmt);
        count++;
    }
    return count;
}

TEST(an_application_may_finalize_every_statement_and_go_on_or_close)
{
    sqlite3 *db = open_db(test_dir());

    SQL(db, "PRAGMA journal_mode = WAL");
    SQL(db, CREATE);
    for (int i = 1; i <= 3; i++) {
        SQL(db, "INSERT INTO t SELECT coalesce(max(a), 0) + 1, 1 FROM t");
        SQL(db, "BEGIN");
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 2 * i - 1);
        CHECK(finalize_all(db) > 0);            /* there is one of ours, or this test proves nothing */
        CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 2 * i - 1);
        SQL(db, "INSERT INTO t SELECT max(a) + 1, 2 FROM t; INSERT INTO p SELECT max(a) FROM t");
        finalize_all(db);
        SQL(db, "COMMIT");
        finalize_all(db);
    }
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 6);
    SQL(db, "BEGIN");
    CHECK_INT(sql_value(db, "SELECT sum(b) FROM t"), 9);
    finalize_all(db);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);

    db = open_db(test_dir());
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t JOIN p USING (a)"), 3);
    finalize_all(db);
    SQL(db, "DROP TABLE t");
    finalize_all(db);
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    finalize_all(db);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}
