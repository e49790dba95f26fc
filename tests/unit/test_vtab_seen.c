/*
 * test_vtab_seen.c -- what a transaction, a statement and a SELECT that outlives both see, and when a write
 * is told that it does not see the newest (commit.md, R4, R18 to R20).
 */
#include "tests/sim/gap.h"
#include "tests/unit/vtab_t.h"

TEST(R19_a_transaction_sees_one_state)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *reader = open_db("test.db");

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    SQL(reader, "BEGIN");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 1);
    SQL(db, "INSERT INTO t VALUES(2, 2)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(3, 3); INSERT INTO p VALUES(3, 3); COMMIT");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 1);
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM p"), 0);
    SQL(reader, "COMMIT");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 3);

    /* The token is the same, the transaction is another one. */
    SQL(reader, "BEGIN");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 3);
    SQL(reader, "COMMIT");
    SQL(db, "INSERT INTO t VALUES(4, 4)");
    SQL(reader, "BEGIN");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 4);
    SQL(reader, "ROLLBACK");
    close_db(db);
    close_db(reader);
}

TEST(R18_the_snapshot_is_that_of_the_ordinary_tables)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *reader = open_db("test.db");

    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO p VALUES(1, 1); COMMIT");
    SQL(reader, "BEGIN");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM p"), 1);
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2, 2); COMMIT");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 1);      /* the first look at t */
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM p"), 1);
    SQL(reader, "COMMIT");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t, p"), 4);
    close_db(db);
    close_db(reader);
}

static void copy_database(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *copy = sqlite3_backup_init(to, "main", from, "main");

    CHECK_INT(sqlite3_backup_step(copy, -1), SQLITE_DONE);
    CHECK_INT(sqlite3_backup_finish(copy), SQLITE_OK);
}

TEST(R3_lsm_check_tells_an_older_copy_in_an_open_database_from_a_transaction_from_before)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *reader = open_db("test.db"), *old = open_db(":memory:");

    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO p VALUES(1, 1); COMMIT");
    copy_database(db, old);
    SQL(reader, "BEGIN");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM p"), 1);
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2, 2); COMMIT");
    CHECK_INT(sql_value(reader, "SELECT lsm_check() = 'ok'"), 1);
    SQL(reader, "COMMIT");
    copy_database(old, db);
    SQL_FAILS(db, "SELECT lsm_check()", SQLITE_CORRUPT_VTAB);
    SQL_FAILS(reader, "SELECT lsm_check()", SQLITE_CORRUPT_VTAB);
    SQL_FAILS(reader, "SELECT lsm_backup_all('copy.db')", SQLITE_CORRUPT_VTAB);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t, p"), 1);
    close_db(old);
    close_db(db);
    close_db(reader);
}

TEST(R4_a_write_after_anothers_is_busy_snapshot)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *other = open_db("test.db");

    SQL(db, "INSERT INTO t VALUES(1, 0)");
    SQL(db, "BEGIN");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 1"), 0);
    SQL(other, "UPDATE t SET b = b + 1 WHERE a = 1");           /* SQLite does not notice it */
    CHECK_INT(stat_value(other, "commits_joint"), 1);   /* CREATE's */
    SQL_FAILS(db, "UPDATE t SET b = 0 + 1 WHERE a = 1", SQLITE_BUSY_SNAPSHOT);
    SQL(db, "ROLLBACK");
    SQL(db, "BEGIN; UPDATE t SET b = b + 1 WHERE a = 1; COMMIT");
    CHECK_INT(sql_value(other, "SELECT b FROM t"), 2);
    close_db(db);
    close_db(other);
}

/* The application reads with one statement and writes with another, without BEGIN. */
/* A statement waits for the process that has the store; when it comes in, its own view is old. */
TEST(R20_a_first_reader_with_an_old_view_of_a_flushed_store_is_told_to_begin_anew)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *reader;

    SQL(db, "INSERT INTO p VALUES(1, 1)");
    close_db(db);
    reader = open_db("test.db");
    SQL(reader, "BEGIN; SELECT * FROM p");
    db = open_db("test.db");
    for (int i = 0; i < 3; i++)
        SQL(db, "BEGIN; INSERT INTO t SELECT coalesce(max(a), 0) + 1, 1 FROM t; COMMIT");
    SQL(db, "INSERT INTO t(t) VALUES('flush')");
    close_db(db);               /* the store is closed; nobody has it */
    SQL_FAILS(reader, "SELECT * FROM t", SQLITE_BUSY_SNAPSHOT);
    CHECK(strstr(sqlite3_errmsg(reader), "begin anew") != NULL);
    SQL(reader, "COMMIT");
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 3);
    close_db(reader);
}

TEST(vtab_txn_own_writes_do_not_make_an_open_cursor_stale)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;
    int count = 0;

    SQL(db, "INSERT INTO t VALUES(1, 0), (2, 0), (3, 0), (4, 0)");
    CHECK(sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &stmt, NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        char sql[100];

        snprintf(sql, sizeof(sql), "UPDATE t SET b = b + 10 WHERE a = %d",
                 sqlite3_column_int(stmt, 0));
        SQL(db, sql);
        SQL(db, "INSERT INTO t VALUES((SELECT max(a) + 10 FROM t), 1)");
        count++;
    }
    CHECK_INT(count, 4);
    sqlite3_finalize(stmt);
    CHECK_INT(sql_value(db, "SELECT sum(b) FROM t"), 44);
    close_db(db);
}

/* A SELECT that saw what `end` takes back goes on with what is left. */
static void check_select_across(const char *write, const char *more, const char *end, int rows)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;
    int rc, count = 0;

    SQL(db, "INSERT INTO t VALUES(1, 1), (2, 2), (3, 3), (4, 4)");
    SQL(db, "INSERT INTO t(t, _arg) VALUES('memory', '1MB')");
    SQL(db, "BEGIN");
    SQL(db, write);
    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, more);
    SQL(db, end);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        count++;
        CHECK_INT(sqlite3_column_int(stmt, 1), sqlite3_column_int(stmt, 0));
    }
    CHECK_INT(rc, SQLITE_DONE);
    CHECK_INT(count, rows);
    sqlite3_finalize(stmt);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t WHERE a = b"), 4);
    SQL(db, "DROP TABLE t; DROP TABLE p");
    close_db(db);
}

#define CHANGES "INSERT INTO t VALUES(5, 0); UPDATE t SET b = 0 WHERE a = 3; DELETE FROM t WHERE a = 4"
#define LARGE_CHANGES "WITH n(i) AS (SELECT 5 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)" \
                      " INSERT INTO t SELECT i, randomblob(500) FROM n; DELETE FROM t WHERE a = 4"

/* S-09 */
TEST(vtab_txn_a_select_goes_on_after_rollback_took_back_what_it_saw)
{
    check_select_across(CHANGES, "", "ROLLBACK", 3);
    check_select_across(LARGE_CHANGES, "", "ROLLBACK", 3);
    check_select_across("INSERT INTO t VALUES(0, 0); " CHANGES, "", "ROLLBACK", 4);
}

TEST(vtab_txn_a_select_goes_on_after_a_savepoint_took_back_what_it_saw)
{
    check_select_across("SAVEPOINT s; " CHANGES, "", "ROLLBACK TO s", 3);
    check_select_across("SAVEPOINT s; " LARGE_CHANGES, "", "ROLLBACK TO s", 3);
    check_select_across("SAVEPOINT s; SAVEPOINT u; " CHANGES "; RELEASE u", "", "ROLLBACK TO s", 3);
    check_select_across("INSERT INTO t VALUES(9, 9); SAVEPOINT s; " CHANGES, "", "ROLLBACK TO s", 4);
    check_select_across("INSERT INTO t VALUES(9, 0); SAVEPOINT s; " CHANGES, "", "ROLLBACK TO s; ROLLBACK", 3);
}

TEST(vtab_txn_a_select_backwards_and_by_in_goes_on_after_rollback)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;
    int a;

    SQL(db, "INSERT INTO t VALUES(1, 1), (2, 2), (3, 3), (4, 4)");
    SQL(db, "BEGIN; " CHANGES);
    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t WHERE a IN (1, 2, 4, 5) ORDER BY a DESC", -1, &stmt, NULL)
          == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(stmt, 0), 5);
    SQL(db, "ROLLBACK");
    CHECK_INT(sqlite3_column_int(stmt, 1), 0);
    for (a = 4; a > 0; a -= a == 4 ? 2 : 1) {
        CHECK(sqlite3_step(stmt) == SQLITE_ROW);
        CHECK_INT(sqlite3_column_int(stmt, 0), a);
        CHECK_INT(sqlite3_column_int(stmt, 1), a);
    }
    CHECK_INT(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    close_db(db);
}

TEST(vtab_txn_a_select_goes_on_after_a_rollback_of_what_it_did_not_see)
{
    check_select_across("", CHANGES, "ROLLBACK", 3);
    check_select_across("INSERT INTO t VALUES(9, 9)", "SAVEPOINT s; " CHANGES, "ROLLBACK TO s", 4);
    check_select_across("INSERT INTO t VALUES(9, 9); SAVEPOINT s; INSERT INTO t VALUES(5, 0); ROLLBACK TO s", CHANGES,
                        "ROLLBACK TO s", 4);
}

/* Two connections to a table with two rows. */
static sqlite3 *begin_two(sqlite3 **other)
{
    sqlite3 *db = open_with_t("WAL");

    *other = open_db("test.db");
    SQL(db, "INSERT INTO t VALUES(1, 1), (2, 2)");
    return db;
}

static void end_two(sqlite3 *db, sqlite3 *other)
{
    close_db(other);
    SQL(db, "DROP TABLE t; DROP TABLE p");
    close_db(db);
}

/* S-09, R4: the SELECT is all that the connection still has of what it read. */
static void check_write_after_anothers(const char *end)
{
    sqlite3 *other, *db = begin_two(&other);
    sqlite3_stmt *stmt;

    SQL(db, "BEGIN; INSERT INTO t VALUES(9, 9)");
    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, end);
    SQL(other, "UPDATE t SET b = b + 100");
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(stmt, 1), 2);
    SQL_FAILS(db, "UPDATE t SET b = 2 + 1 WHERE a = 2", SQLITE_BUSY_SNAPSHOT);
    sqlite3_finalize(stmt);
    SQL(db, "UPDATE t SET b = b + 1 WHERE a = 2");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 103);
    end_two(db, other);
}

TEST(R4_a_write_after_anothers_is_busy_snapshot_while_a_select_from_before_the_end_is_open)
{
    check_write_after_anothers("ROLLBACK");
    check_write_after_anothers("COMMIT");
}

static void write_by_another(void *other, enum gap_at at)
{
    if (at != GAP_SYNC)
        SQL(other, "UPDATE t SET b = b + 100 WHERE a = 2");
}

/* SQLite lets go of the write lock before it calls xCommit or xRollback. */
static void check_write_after_one_in_the_gap(const char *write, const char *end, int rc)
{
    sqlite3 *other, *db = begin_two(&other);
    sqlite3_stmt *stmt;
    int64_t b;

    CHECK(gap_register(db, write_by_another, other) == SQLITE_OK);
    SQL(other, "PRAGMA synchronous = NORMAL");          /* a solo; in FULL it would need a checkpoint, and be joint */
    SQL(db, "CREATE VIRTUAL TABLE temp.gap USING gap");
    b = sql_value(db, "SELECT b FROM t WHERE a = 2");
    SQL(db, "BEGIN; DELETE FROM temp.gap WHERE 0");
    SQL(db, write);
    CHECK(sqlite3_prepare_v2(db, "SELECT b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, end);
    CHECK_INT(sqlite3_step(stmt), rc);
    if (rc == SQLITE_ROW) {
        CHECK_INT(sqlite3_column_int(stmt, 0), b);
        SQL_FAILS(db, "UPDATE t SET b = 2 + 1 WHERE a = 2", SQLITE_BUSY_SNAPSHOT);
    }
    sqlite3_finalize(stmt);
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), b + 100);
    SQL(db, "DROP TABLE temp.gap");
    end_two(db, other);
}

TEST(R4_a_write_is_told_of_anothers_that_came_before_xcommit_or_xrollback_while_a_select_is_open)
{
    check_write_after_one_in_the_gap("INSERT INTO t VALUES(9, 9)", "COMMIT", SQLITE_ROW);
    check_write_after_one_in_the_gap("UPDATE t SET b = 0 WHERE a = 9", "COMMIT", SQLITE_ROW);
    check_write_after_one_in_the_gap("UPDATE t SET b = 0 WHERE a = 9", "ROLLBACK", SQLITE_ROW);
    check_write_after_one_in_the_gap("INSERT INTO t VALUES(9, 9)", "ROLLBACK", SQLITE_ABORT_ROLLBACK);
}

/* R19: a SELECT from before BEGIN is open; the transaction's own reads are its reads all the same. */
TEST(R19_a_pin_from_before_begin_lasts_as_long_as_the_transaction_that_reads_by_it)
{
    sqlite3 *other, *db = begin_two(&other);
    sqlite3_stmt *stmt;

    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, "BEGIN");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 2);
    sqlite3_finalize(stmt);
    SQL(other, "UPDATE t SET b = b + 100");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 2);
    SQL_FAILS(db, "UPDATE t SET b = 2 + 1 WHERE a = 2", SQLITE_BUSY_SNAPSHOT);
    SQL(db, "ROLLBACK");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 102);
    end_two(db, other);
}

/* Nothing tells of the end of its transactions: none may last beyond it. */
TEST(R19_with_query_only_each_transaction_sees_what_was_committed_before_it)
{
    sqlite3 *other, *db = begin_two(&other);
    sqlite3_stmt *stmt;

    SQL(db, "PRAGMA query_only = 1");
    for (int b = 102; b < 500; b += 100) {
        SQL(other, "UPDATE t SET b = b + 100");
        SQL(db, "BEGIN");
        CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), b);
        SQL(db, "COMMIT");
    }
    SQL(db, "BEGIN");
    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(other, "UPDATE t SET b = b + 100");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 402);
    sqlite3_finalize(stmt);
    SQL(db, "COMMIT; PRAGMA query_only = 0");
    SQL(other, "UPDATE t SET b = b + 100");
    SQL(db, "BEGIN IMMEDIATE; UPDATE t SET b = b + 1 WHERE a = 2; COMMIT");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 603);

    SQL(db, "BEGIN");           /* one state again */
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 603);
    SQL(other, "UPDATE t SET b = b + 100");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 603);
    SQL(db, "COMMIT");
    end_two(db, other);
}

/* R18: SQLite's own snapshot stays while a SELECT is open. */
TEST(R19_a_pin_lasts_beyond_a_commit_while_a_select_is_open)
{
    sqlite3 *other, *db = begin_two(&other);
    sqlite3_stmt *stmt;

    SQL(db, "BEGIN");
    CHECK(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, "COMMIT");
    SQL(other, "UPDATE t SET b = b + 100");
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 2);
    sqlite3_finalize(stmt);
    CHECK_INT(sql_value(db, "SELECT b FROM t WHERE a = 2"), 102);
    end_two(db, other);
}

TEST(vtab_txn_a_select_goes_on_after_the_commit_of_what_it_saw)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;

    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1), (2, 2), (3, 3), (4, 4)");
    CHECK(sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, "COMMIT");
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, "BEGIN; INSERT INTO t VALUES(5, 5)");
    SQL(db, "ROLLBACK");
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK_INT(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    close_db(db);
}

/* P-17 */
TEST(vtab_txn_p17_read_uncommitted_is_refused)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    close_db(db);
    db = open_db("test.db");
    SQL(db, "PRAGMA read_uncommitted = 1");
    SQL_FAILS(db, "SELECT * FROM t", SQLITE_ERROR);
    SQL(db, "PRAGMA read_uncommitted = 0");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    close_db(db);
}
