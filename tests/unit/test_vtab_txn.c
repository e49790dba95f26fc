/*
 * test_vtab_txn.c -- transactions over both stores, several connections, and the
 * traps of SQLite's virtual table interface (commit.md, sqlite-contract.md).
 */
#include "tests/unit/vtab_t.h"

/* ---- solo and joint ------------------------------------------------------------------- */

TEST(R5a_R5b_autocommit_is_solo_and_all_else_is_joint)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_blob *blob;

    SQL(db, "CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY)");
    SQL(db, "INSERT INTO t VALUES(1, 1)");
    SQL(db, "INSERT INTO t VALUES(2, 2), (3, 3)");
    SQL(db, "UPDATE t SET b = 5 WHERE a = 1");
    SQL(db, "DELETE FROM t WHERE a = 2");
    CHECK_INT(stat_value(db, "commits_solo"), 4);
    CHECK_INT(stat_value(db, "commits_joint"), 2);        /* the two that CREATE tables */

    SQL(db, "BEGIN; INSERT INTO t VALUES(4, 4); COMMIT");
    CHECK_INT(stat_value(db, "commits_joint"), 3);
    SQL(db, "SAVEPOINT s; INSERT INTO t VALUES(5, 5); RELEASE s");
    CHECK_INT(stat_value(db, "commits_joint"), 4);
    SQL(db, "CREATE TRIGGER g AFTER INSERT ON p BEGIN INSERT INTO t VALUES(new.a, new.b); END");
    SQL(db, "INSERT INTO p VALUES(10, 1)");
    CHECK_INT(stat_value(db, "commits_joint"), 5);
    SQL(db, "INSERT INTO t SELECT a + 100, b FROM p");          /* reads pages: safe, joint */
    CHECK_INT(stat_value(db, "commits_joint"), 6);

    /* A page dirtied before our statement began. */
    SQL(db, "INSERT INTO p VALUES(20, zeroblob(10))");
    CHECK_INT(stat_value(db, "commits_joint"), 7);
    CHECK(sqlite3_blob_open(db, "main", "p", "b", 20, 1, &blob) == SQLITE_OK);
    CHECK(sqlite3_blob_write(blob, "x", 1, 0) == SQLITE_OK);
    SQL(db, "INSERT INTO t VALUES(30, 30)");
    sqlite3_blob_close(blob);
    CHECK_INT(stat_value(db, "commits_joint"), 8);
    CHECK_INT(stat_value(db, "commits_solo"), 4);

    SQL(db, "INSERT INTO t VALUES(31, 31)");
    CHECK_INT(stat_value(db, "commits_solo"), 5);
    close_db(db);
}

/* BEGIN comes while our autocommit statement is still open: at COMMIT it is not that one. */
TEST(R5a_R5b_a_statement_overtaken_by_begin_is_joint)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;

    SQL(db, "INSERT INTO t VALUES(0, 0)");
    CHECK_INT(stat_value(db, "commits_solo"), 1);
    CHECK(sqlite3_prepare_v2(db, "INSERT INTO t VALUES(1, 1), (2, 2) RETURNING a", -1, &stmt, NULL)
          == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    SQL(db, "BEGIN");
    sqlite3_finalize(stmt);
    SQL(db, "PRAGMA user_version = 5");
    SQL(db, "COMMIT");
    CHECK_INT(stat_value(db, "commits_solo"), 1);
    CHECK_INT(stat_value(db, "commits_joint"), 2);      /* CREATE was the first */
    CHECK_INT(sql_value(db, "PRAGMA user_version"), 5);
    close_db(db);
}

TEST(R7_a_joint_commit_has_its_record_on_disk_or_in_the_database)
{
    static const char *const syncs[] = { "NORMAL", "FULL", "EXTRA" };
    sqlite3 *db = open_with_t("WAL");

    for (int i = 0; i < 3; i++) {
        int64_t before = stat_value(db, "log_syncs") + stat_value(db, "records_carried");
        char sql[200];

        snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s; BEGIN; INSERT INTO t VALUES(%d, 1); "
                 "INSERT INTO p VALUES(%d, 1); COMMIT", syncs[i], i, i);
        SQL(db, sql);
        CHECK(stat_value(db, "log_syncs") + stat_value(db, "records_carried") > before);
    }
    close_db(db);
}

TEST(R8_what_a_normal_connection_committed_is_settled_by_the_next_full_solo)
{
    sqlite3 *db = open_with_t("WAL");
    int64_t settles;

    SQL(db, "PRAGMA synchronous = FULL; BEGIN; INSERT INTO t VALUES(1, 1); COMMIT");
    settles = stat_value(db, "settles");
    SQL(db, "INSERT INTO t VALUES(2, 2)");
    CHECK_INT(stat_value(db, "settles"), settles);      /* FULL in WAL: its commit was synced */
    SQL(db, "PRAGMA synchronous = NORMAL; BEGIN; INSERT INTO t VALUES(3, 3); COMMIT");
    SQL(db, "PRAGMA synchronous = FULL; INSERT INTO t VALUES(4, 4)");
    CHECK_INT(stat_value(db, "settles"), settles + 1);
    close_db(db);
}

/* One statement, no page, two stores: a kill between their xSyncs would leave one half. */
TEST(R5c_a_statement_that_writes_two_stores_is_joint_in_both)
{
    sqlite3 *db = open_with_t("WAL");
    char sql[600];

    snprintf(sql, sizeof(sql), "ATTACH '%s/other.db' AS aux; "
             "CREATE VIRTUAL TABLE aux.w USING lsm(a INTEGER PRIMARY KEY, b); "
             "CREATE TEMP VIEW both AS SELECT 1 AS a; "
             "CREATE TEMP TRIGGER g INSTEAD OF INSERT ON both BEGIN "
             "INSERT INTO t VALUES(new.a, 1); INSERT INTO w VALUES(new.a, 2); END", test_dir());
    SQL(db, sql);
    SQL(db, "INSERT INTO t VALUES(1, 1)");
    SQL(db, "INSERT INTO w VALUES(1, 1)");
    CHECK_INT(stat_value(db, "commits_solo"), 1);
    SQL(db, "INSERT INTO both VALUES(2)");
    SQL(db, "INSERT INTO both VALUES(3)");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t JOIN w USING (a)"), 3);
    CHECK_INT(stat_value(db, "commits_solo"), 1);
    CHECK_INT(sql_value(db, "SELECT value FROM lsm_stats('w') WHERE name = 'commits_solo'"), 1);
    close_db(db);
}

TEST(vtab_txn_an_empty_transaction_writes_no_token)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "UPDATE t SET b = 1 WHERE a = 99");
    SQL(db, "BEGIN; DELETE FROM t; COMMIT");
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); ROLLBACK");
    CHECK_INT(stat_value(db, "commits_joint"), 1);      /* CREATE's */
    CHECK_INT(stat_value(db, "commits_solo"), 0);
    close_db(db);
}

/* S-11 */
TEST(vtab_txn_changes_and_last_insert_rowid_are_the_users)
{
    sqlite3 *db = open_with_t("DELETE");

    SQL(db, "INSERT INTO p VALUES(77, 0)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1), (2, 2), (3, 3); COMMIT");
    CHECK_INT(sqlite3_changes(db), 3);
    CHECK_INT(sqlite3_last_insert_rowid(db), 77);
    SQL(db, "CREATE VIRTUAL TABLE u USING lsm");
    CHECK_INT(sqlite3_last_insert_rowid(db), 77);
    close_db(db);
}

static int veto(void *on)
{
    return *(int *)on;
}

static void check_veto(const char *journal)
{
    sqlite3 *db = open_with_t(journal);
    sqlite3 *other = open_db("test.db");
    int on = 1;

    sqlite3_commit_hook(db, veto, &on);
    SQL_FAILS(db, "INSERT INTO t VALUES(1, 1)", SQLITE_CONSTRAINT_COMMITHOOK);
    SQL_FAILS(db, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2, 2); COMMIT",
              SQLITE_CONSTRAINT_COMMITHOOK);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 0);
    CHECK_INT(sql_value(other, "SELECT count(*) FROM t"), 0);
    on = 0;
    SQL(db, "INSERT INTO t VALUES(3, 3)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(4, 4); COMMIT");
    CHECK_INT(sql_value(other, "SELECT sum(a) FROM t"), 7);
    close_db(db);
    close_db(other);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 7);
    close_db(db);
}

/* S-16 */
TEST(vtab_txn_a_commit_hooks_veto_leaves_nothing_in_wal_mode)
{
    check_veto("WAL");
}

TEST(vtab_txn_a_commit_hooks_veto_leaves_nothing_in_delete_mode)
{
    check_veto("DELETE");
}

/* A reader keeps its lock: COMMIT is BUSY, the transaction stays, xSync comes again. */
TEST(R14_a_busy_commit_may_go_on_or_be_rolled_back)
{
    sqlite3 *db = open_with_t("DELETE");
    sqlite3 *reader = open_db("test.db");

    SQL(db, "INSERT INTO p VALUES(1, 1)");
    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1)");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    CHECK_INT(sql_value(reader, "SELECT count(*) FROM t"), 0);      /* its own token is no evidence */
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    SQL(db, "ROLLBACK");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 0);
    SQL(reader, "COMMIT");

    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 2)");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    SQL(db, "INSERT INTO t VALUES(3, 3); INSERT INTO p VALUES(3, 3)");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    SQL(reader, "COMMIT");
    SQL(db, "COMMIT");
    CHECK_INT(sql_value(reader, "SELECT sum(a) FROM t"), 5);

    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL_FAILS(db, "INSERT INTO t VALUES(4, 4)", SQLITE_BUSY);
    SQL(reader, "COMMIT");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 5);
    SQL(db, "INSERT INTO t VALUES(4, 4)");
    close_db(db);
    close_db(reader);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 9);
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM p"), 4);
    close_db(db);
}

/* What asks outside of a statement of the transaction must not take the token for evidence either. */
TEST(R14_lsm_check_behind_a_busy_commit_shows_nobody_what_may_be_rolled_back)
{
    sqlite3 *db = open_with_t("DELETE");
    sqlite3 *reader = open_db("test.db");

    SQL(db, "INSERT INTO p VALUES(1, 1); INSERT INTO t VALUES(1, 1)");
    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 2); INSERT INTO p VALUES(2, 2); SAVEPOINT s; INSERT INTO t VALUES(3, 3); "
            "INSERT INTO p VALUES(3, 3); DELETE FROM t WHERE a = 1; DELETE FROM p WHERE a = 1");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    SQL(reader, "COMMIT");
    SQL(db, "ROLLBACK TO s; COMMIT");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 3);
    CHECK_INT(sql_value(reader, "SELECT sum(a) FROM t"), 3);
    CHECK_INT(sql_value(reader, "SELECT sum(a) FROM p"), 3);

    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL(db, "BEGIN; INSERT INTO t VALUES(4, 4); INSERT INTO p VALUES(4, 4)");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    SQL(db, "ROLLBACK");
    SQL(reader, "COMMIT");
    SQL(db, "INSERT INTO t VALUES(5, 5)");
    CHECK_INT(sql_value(reader, "SELECT sum(a) FROM t"), 8);
    close_db(db);
    close_db(reader);
}

/* ---- life of connections -------------------------------------------------------------------- */

/* P-11 */
TEST(vtab_txn_close_in_a_transaction_and_with_an_open_statement)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3_stmt *stmt;

    SQL(db, "INSERT INTO t VALUES(1, 1), (2, 2)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(3, 3)");
    close_db(db);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 2);
    CHECK(sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &stmt, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK_INT(sqlite3_close(db), SQLITE_BUSY);
    CHECK_INT(sqlite3_close_v2(db), SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    CHECK(sqlite3_step(stmt) == SQLITE_DONE);
    sqlite3_finalize(stmt);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 2);
    close_db(db);
}

/* D-11 */
TEST(vtab_txn_a_moved_database_file_is_refused)
{
    sqlite3 *db = open_with_t("DELETE");
    char from[200], to[200];

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    snprintf(from, sizeof(from), "%s/test.db", test_dir());
    snprintf(to, sizeof(to), "%s/moved.db", test_dir());
    CHECK(rename(from, to) == 0);
    CHECK_INT(sql_rc(db, "INSERT INTO t VALUES(2, 2)") & 0xff, SQLITE_READONLY);
    CHECK(rename(to, from) == 0);
    SQL(db, "INSERT INTO t VALUES(3, 3)");
    close_db(db);
}

static int count_tree(void *count, struct lsm_slice name)
{
    (void)name;
    ++*(int *)count;
    return 0;
}

static int tree_count(void)
{
    struct lsm_options options;
    struct lsm_db *store;
    char path[200];
    int count = 0;

    snprintf(path, sizeof(path), "%s/test.db-lsm", test_dir());
    lsm_options_init(&options);
    options.wait_for_token = true;
    if (!CHECK_OK(lsm_db_open(path, &options, &store)))
        return -1;
    CHECK_OK(lsm_tree_list(store, count_tree, &count));
    CHECK_OK(lsm_db_close(store));
    return count;
}

/* C-28 */
TEST(vtab_txn_trees_of_dropped_tables_are_swept)
{
    sqlite3 *db = open_with_t("WAL");

    for (int i = 0; i < 5; i++) {
        SQL(db, "CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY)");
        SQL(db, "INSERT INTO u VALUES(1), (2)");
        SQL(db, "DROP TABLE u");
    }
    SQL(db, "BEGIN; CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY); ROLLBACK");
    close_db(db);
    CHECK(tree_count() > 1);
    db = open_db("test.db");
    SQL(db, "INSERT INTO t VALUES(1, 1)");
    close_db(db);
    CHECK_INT(tree_count(), 1);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    close_db(db);
}

/* ---- tables dropped in the transaction that wrote to them ----------------------------------------- */

/* What another process would find. */
static sqlite3 *reopen(sqlite3 *db)
{
    close_db(db);
    return open_db("test.db");
}

TEST(vtab_txn_a_drop_behind_a_write_commits)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO u VALUES(1); INSERT INTO p VALUES(1, 1);"
            "DROP TABLE t; INSERT INTO u VALUES(2); COMMIT");
    SQL_FAILS(db, "SELECT * FROM t", SQLITE_ERROR);
    SQL(db, "BEGIN; INSERT INTO u VALUES(3); DROP TABLE u; COMMIT");
    SQL_FAILS(db, "SELECT * FROM u", SQLITE_ERROR);
    SQL(db, CREATE_T "; INSERT INTO t VALUES(5, 5)");
    db = reopen(db);
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 5);
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM p"), 1);
    SQL(db, "INSERT INTO t VALUES(6, 6)");
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    close_db(db);
    CHECK_INT(tree_count(), 1);         /* what was committed for the dropped ones is gone with them */
}

TEST(vtab_txn_a_drop_behind_a_write_is_rolled_back)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 2); DROP TABLE t; ROLLBACK");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 1);
    SQL(db, "INSERT INTO t VALUES(4, 4)");
    db = reopen(db);
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 5);
    close_db(db);
}

/* Nothing touches the table after ROLLBACK TO: only the stand-in hears of the COMMIT. */
TEST(vtab_txn_a_table_that_a_savepoint_brings_back_has_its_rows)
{
    static const char *const inside[] = { "DROP TABLE t", "DROP TABLE t; " CREATE_T,
                                          "DROP TABLE t; " CREATE_T "; INSERT INTO t VALUES(64, 1)",
                                          "INSERT INTO t VALUES(64, 1); DROP TABLE t",
                                          "DROP TABLE t; ROLLBACK TO s; DROP TABLE t",
                                          "SAVEPOINT i; DROP TABLE t; RELEASE i",
                                          "ALTER TABLE t RENAME TO x; DROP TABLE x" };
    sqlite3 *db = open_with_t("WAL");
    char sql[300];

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        for (int more = 0; more < 2; more++) {
            snprintf(sql, sizeof(sql), "BEGIN; INSERT INTO t VALUES(2, 2); SAVEPOINT s; %s; ROLLBACK TO s; "
                     "%s; COMMIT", inside[i], more ? "INSERT INTO t VALUES(4, 4)" : "SELECT 1");
            SQL(db, sql);
            CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), more ? 7 : 3);
            db = reopen(db);
            CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), more ? 7 : 3);
            SQL(db, "DELETE FROM t WHERE a > 1");
        }
    }
    close_db(db);
}

TEST(vtab_txn_a_savepoint_before_the_write_takes_it_back_with_the_drop)
{
    sqlite3 *db = open_with_t("DELETE");

    SQL(db, "INSERT INTO t VALUES(1, 1)");
    SQL(db, "BEGIN; SELECT * FROM t; SAVEPOINT s; INSERT INTO t VALUES(2, 2); SAVEPOINT r; DROP TABLE t; "
            "ROLLBACK TO s; COMMIT");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 1);
    SQL(db, "BEGIN; SAVEPOINT s; INSERT INTO t VALUES(2, 2); DROP TABLE t; ROLLBACK TO s; "
            "INSERT INTO t VALUES(4, 4); SAVEPOINT r; INSERT INTO t VALUES(8, 8); DROP TABLE t; "
            "ROLLBACK TO r; RELEASE s; COMMIT");
    db = reopen(db);
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 5);
    close_db(db);
}

/* xSync has seen the table gone; then the savepoint brings it back. */
TEST(vtab_txn_a_busy_commit_of_a_drop_then_the_table_is_brought_back)
{
    sqlite3 *db = open_db("test.db");
    sqlite3 *reader = open_db("test.db");

    for (int created = 0; created < 2; created++) {
        SQL(db, "CREATE TABLE IF NOT EXISTS p(a); INSERT INTO p VALUES(1)");
        if (!created)
            SQL(db, CREATE_T);
        SQL(reader, "BEGIN; SELECT * FROM p");
        SQL(db, "BEGIN");
        if (created)
            SQL(db, CREATE_T);
        SQL(db, "INSERT INTO t VALUES(1, 1); SAVEPOINT s; DROP TABLE t");
        SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
        SQL(reader, "COMMIT");
        SQL(db, "ROLLBACK TO s; COMMIT");
        CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 1);
        close_db(reader);
        db = reopen(db);
        reader = open_db("test.db");
        CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 1);
        SQL(db, "DROP TABLE t");
    }
    close_db(reader);
    close_db(db);
}

TEST(vtab_txn_a_large_transaction_may_drop_what_it_wrote)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "INSERT INTO t(t, _arg) VALUES('memory', '1MB')");
    SQL(db, "BEGIN; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000) "
            "INSERT INTO t SELECT i, randomblob(200) FROM c; SAVEPOINT s; DROP TABLE t; ROLLBACK TO s; COMMIT");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 5000);
    SQL(db, "BEGIN; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000) "
            "INSERT INTO t SELECT i + 10000, randomblob(200) FROM c; DROP TABLE t; COMMIT");
    SQL(db, CREATE_T "; INSERT INTO t VALUES(1, 1)");
    CHECK_INT(sql_value(db, "SELECT lsm_check() = 'ok'"), 1);
    db = reopen(db);
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    close_db(db);
}

TEST(vtab_txn_two_stores_drop_in_one_transaction)
{
    sqlite3 *db = open_with_t("WAL");
    char sql[300];

    snprintf(sql, sizeof(sql), "ATTACH '%s/other.db' AS o; CREATE VIRTUAL TABLE o.u USING lsm(a PRIMARY KEY)",
             test_dir());
    SQL(db, sql);
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO u VALUES(1); SAVEPOINT s; DROP TABLE t; "
            "DROP TABLE u; ROLLBACK TO s; COMMIT");
    CHECK_INT(sql_value(db, "SELECT (SELECT sum(a) FROM t) + (SELECT sum(a) FROM u)"), 2);
    SQL(db, "BEGIN; INSERT INTO t VALUES(2, 1); INSERT INTO u VALUES(2); DROP TABLE u; COMMIT");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 3);
    SQL_FAILS(db, "SELECT * FROM u", SQLITE_ERROR);
    close_db(db);
}

TEST(vtab_txn_without_the_stand_in_such_a_drop_is_refused)
{
    sqlite3 *db = open_with_t("WAL");

    SQL(db, "DROP TABLE temp.lsmvtab_pin");
    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1); SAVEPOINT s");
    SQL_FAILS(db, "DROP TABLE t", SQLITE_LOCKED);
    SQL(db, "ROLLBACK TO s; COMMIT");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 1);
    SQL(db, "DROP TABLE t");
    close_db(db);
}

/* ---- tables made in the transaction ------------------------------------------------------------- */

/* C-27 */
TEST(vtab_txn_a_first_table_rolled_back_can_be_made_again)
{
    sqlite3 *db = open_db("test.db");

    SQL(db, "BEGIN; " CREATE_T "; INSERT INTO t VALUES(1, 1); ROLLBACK");
    SQL(db, "BEGIN; SAVEPOINT a; " CREATE_T "; INSERT INTO t VALUES(1, 1); ROLLBACK TO a; COMMIT");
    SQL(db, "BEGIN; SAVEPOINT a; " CREATE_T "; INSERT INTO t VALUES(1, 1); ROLLBACK TO a; "
            CREATE_T "; INSERT INTO t VALUES(2, 2); COMMIT");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 2);
    close_db(db);
    db = open_db("test.db");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 2);
    close_db(db);
}

/* The token that the BUSY commit wrote goes without a callback. */
static void check_vanish(bool has_store)
{
    sqlite3 *db = open_db("test.db");
    sqlite3 *reader = open_db("test.db");

    SQL(db, "CREATE TABLE p(a)");
    if (has_store)
        SQL(db, "CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY)");
    SQL(reader, "BEGIN; SELECT * FROM p");
    SQL(db, "BEGIN; SAVEPOINT a; " CREATE_T "; INSERT INTO t VALUES(1, 1)");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    SQL(reader, "COMMIT");
    SQL(db, "ROLLBACK TO a; INSERT INTO p VALUES(1); COMMIT");
    if (has_store) {
        SQL(db, "INSERT INTO u VALUES(1)");
        SQL(db, "BEGIN; INSERT INTO u VALUES(2); COMMIT");
        SQL(db, "INSERT INTO u VALUES(3)");
        CHECK_INT(sql_value(reader, "SELECT sum(a) FROM u"), 6);
    }
    close_db(reader);
    close_db(db);
    db = open_db("test.db");
    if (has_store)
        CHECK_INT(sql_value(db, "SELECT sum(a) FROM u"), 6);
    SQL(db, CREATE_T "; INSERT INTO t VALUES(5, 5)");
    CHECK_INT(sql_value(db, "SELECT sum(a) FROM t"), 5);
    close_db(db);
}

/* ROLLBACK TO behind a BUSY commit sends nobody a call. Without a look at xSync the rows would be written again. */
TEST(vtab_txn_rows_of_a_table_that_was_taken_back_are_not_written)
{
    sqlite3 *db = open_db("test.db");
    sqlite3 *reader = open_db("test.db");
    int64_t written;

    SQL(db, "CREATE TABLE p(a, b)");
    SQL(db, CREATE_T);
    SQL(reader, "BEGIN; SELECT * FROM p");
    /* One row: a statement of several has a savepoint of its own, and from then on there are calls. */
    SQL(db, "BEGIN; SAVEPOINT a; CREATE VIRTUAL TABLE u USING lsm(a PRIMARY KEY, b);"
            "INSERT INTO u VALUES(1, randomblob(100000))");
    SQL_FAILS(db, "COMMIT", SQLITE_BUSY);
    SQL(reader, "COMMIT");
    SQL(db, "ROLLBACK TO a; INSERT INTO p VALUES(1, 1); COMMIT");
    written = stat_value(db, "log_bytes_written");
    CHECK(written > 100000 && written < 150000);
    close_db(reader);
    close_db(db);
}

TEST(vtab_txn_a_busy_commit_then_the_new_table_is_rolled_back)
{
    check_vanish(true);
}

TEST(vtab_txn_a_busy_commit_then_the_first_table_is_rolled_back)
{
    check_vanish(false);
}

TEST(vtab_txn_a_second_writer_waits_for_the_first_ones_locks_only)
{
    sqlite3 *db = open_with_t("WAL");
    sqlite3 *other = open_db("test.db");

    SQL(db, "BEGIN; INSERT INTO t VALUES(1, 1)");
    SQL_FAILS(other, "INSERT INTO t VALUES(2, 2)", SQLITE_BUSY);
    SQL(db, "ROLLBACK");
    SQL(other, "INSERT INTO t VALUES(2, 2)");
    SQL(db, "INSERT INTO t VALUES(3, 3)");
    CHECK_INT(sql_value(other, "SELECT sum(a) FROM t"), 5);
    close_db(db);
    close_db(other);
}

/* D-13 */
TEST(vtab_txn_one_file_attached_twice_is_one_store)
{
    sqlite3 *db = open_with_t("WAL");
    char sql[300];

    snprintf(sql, sizeof(sql), "ATTACH '%s/test.db' AS again", test_dir());
    SQL(db, sql);
    SQL(db, "INSERT INTO t VALUES(1, 1)");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM again.t"), 1);
    SQL(db, "INSERT INTO again.t VALUES(2, 2)");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM main.t"), 2);
    SQL(db, "DETACH again");
    CHECK_INT(sql_value(db, "SELECT count(*) FROM t"), 2);
    close_db(db);
}
