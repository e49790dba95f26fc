/*
 * test_vtab_drop.c -- a table that is dropped while others read or have read it, and
 * the commands that a process finds undone after another died.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

static sqlite3 *open_db(const char *dir)
{
    char path[256];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/test.db", dir);
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_lsmvtab_init(db, NULL, NULL) & 0xff, SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

#define SQL(db, sql) CHECK_STR(run(db, sql) == SQLITE_OK ? "" : sqlite3_errmsg(db), "")

/* -1000 - code: an error. */
static int64_t value(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;
    int64_t result;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc != SQLITE_OK)
        return -1000 - rc;
    rc = sqlite3_step(stmt);
    result = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1000 - rc;
    sqlite3_finalize(stmt);
    return result;
}

static void begin(sqlite3 **a, sqlite3 **b)
{
    *a = open_db(test_dir());
    SQL(*a, "PRAGMA journal_mode = wal");
    SQL(*a, "CREATE VIRTUAL TABLE t USING lsm; CREATE VIRTUAL TABLE u USING lsm; CREATE TABLE p(a)");
    SQL(*a, "INSERT INTO t VALUES(1, 'one'), (2, 'two'); INSERT INTO u VALUES(1, 'u')");
    *b = open_db(test_dir());
}

static void end(sqlite3 *a, sqlite3 *b)
{
    CHECK_INT(sqlite3_close(a), SQLITE_OK);
    CHECK_INT(sqlite3_close(b), SQLITE_OK);
}

static bool has_tree_count(sqlite3 *db, int64_t wanted)
{
    return CHECK_INT(value(db, "SELECT value FROM lsm_stats('u') WHERE name = 'trees'"), wanted);
}

TEST(drop_leaves_the_rows_to_readers_of_older_snapshots_and_gives_them_up_afterwards)
{
    sqlite3 *a, *b;

    begin(&a, &b);
    SQL(b, "BEGIN");
    CHECK_INT(value(b, "SELECT count(*) FROM t"), 2);
    SQL(a, "DROP TABLE t; INSERT INTO u(u) VALUES('flush'); INSERT INTO u VALUES(2, 'v')");
    CHECK_INT(value(b, "SELECT count(*) FROM t"), 2);
    CHECK_INT(value(b, "SELECT value = 'two' FROM t WHERE key = 2"), 1);
    SQL(a, "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(9, 'new')");
    CHECK_INT(value(b, "SELECT count(*) FROM t"), 2);
    has_tree_count(a, 3);
    SQL(b, "COMMIT");
    CHECK_INT(value(b, "SELECT max(key) FROM t"), 9);
    SQL(a, "INSERT INTO u VALUES(3, 'w'); INSERT INTO u VALUES(4, 'w')");
    has_tree_count(a, 2);
    end(a, b);
}

TEST(drop_is_told_to_a_snapshot_that_comes_to_the_table_too_late)
{
    for (int known = 0; known < 2; known++) {
        sqlite3 *a, *b;

        begin(&a, &b);
        if (known)
            CHECK_INT(value(b, "SELECT count(*) FROM t"), 2);
        else
            CHECK_INT(value(b, "SELECT count(*) FROM u"), 1);
        SQL(b, "BEGIN");
        CHECK_INT(value(b, "SELECT count(*) FROM p"), 0);
        SQL(a, "DROP TABLE t; INSERT INTO u VALUES(2, 'v'); INSERT INTO u VALUES(3, 'v')");
        has_tree_count(a, 1);
        CHECK_INT(value(b, "SELECT count(*) FROM t"), -1000 - SQLITE_BUSY_SNAPSHOT);
        CHECK(strstr(sqlite3_errmsg(b), "t was dropped by another connection"));
        CHECK_INT(value(b, "SELECT 1 FROM t WHERE key = 1"), -1000 - SQLITE_BUSY_SNAPSHOT);
        SQL(b, "ROLLBACK");
        CHECK_INT(value(b, "SELECT count(*) FROM t"), -1000 - SQLITE_ERROR);
        end(a, b);
        {
            char command[300];
            snprintf(command, sizeof(command), "rm -r '%s'/test.db*", test_dir());
            CHECK_INT(system(command), 0);
        }
    }
}

TEST(drop_from_an_older_snapshot_does_not_take_what_another_committed_since)
{
    sqlite3 *a, *b;

    begin(&a, &b);
    SQL(b, "BEGIN");
    CHECK_INT(value(b, "SELECT count(*) FROM t"), 2);
    SQL(a, "INSERT INTO t VALUES(3, 'three')");
    CHECK_INT(run(b, "DROP TABLE t"), SQLITE_BUSY_SNAPSHOT);
    SQL(b, "ROLLBACK");
    CHECK_INT(value(b, "SELECT count(*) FROM t"), 3);
    SQL(b, "DROP TABLE t");
    end(a, b);
}

/* ---- after a process that died ----------------------------------------------------- */

static void die_after_a_joint(const char *dir, bool abandoned)
{
    pid_t pid;
    int status = 0;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        sqlite3 *db = open_db(dir);
        int rc = run(db, "INSERT INTO u VALUES(10, zeroblob(100000)); BEGIN; INSERT INTO p VALUES(1); "
                         "INSERT INTO u VALUES(11, 'joint'); COMMIT");

        if (rc == SQLITE_OK && abandoned)
            rc = run(db, "BEGIN; INSERT INTO p VALUES(2); INSERT INTO u VALUES(12, 'never')");
        _exit(rc == SQLITE_OK ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(flush_and_compact_decide_what_a_process_left_that_died)
{
    for (int way = 0; way < 4; way++) {         /* compact or flush; a last transaction abandoned or not */
        char path[256], command[300];
        sqlite3 *db = open_db(test_dir());

        SQL(db, way % 2 ? "PRAGMA journal_mode = wal" : "PRAGMA journal_mode = delete");
        SQL(db, "CREATE VIRTUAL TABLE u USING lsm; CREATE TABLE p(a); INSERT INTO u VALUES(1, 'u')");
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
        die_after_a_joint(test_dir(), way >= 2);
        db = open_db(test_dir());
        SQL(db, way % 2 ? "INSERT INTO u(u) VALUES('flush')" : "INSERT INTO u(u) VALUES('compact')");
        CHECK_INT(value(db, "SELECT sum(entries) FROM lsm_levels('u')"), 3);
        CHECK_INT(value(db, "SELECT count(*) FROM u"), 3);
        SQL(db, "INSERT INTO u(u) VALUES('compact')");
        CHECK_INT(value(db, "SELECT count(*) FROM u"), 3);
        CHECK_INT(value(db, "SELECT count(*) FROM p"), 1);
        CHECK_INT(sqlite3_close(db), SQLITE_OK);
        snprintf(path, sizeof(path), "%s", test_dir());
        snprintf(command, sizeof(command), "rm -r '%s'/test.db*", path);
        CHECK_INT(system(command), 0);
    }
}
