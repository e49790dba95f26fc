/*
 * test_vtab_guess.c -- a key that is compared with something unknown is taken for
 * one row, which makes UPDATE and DELETE cheap; until a text like '12' comes, which
 * equals a number beside 12 itself. Statements that were prepared before it must
 * still answer as an ordinary table does.
 */
#include <sqlite3.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

struct pair {                   /* the lsm table and an ordinary one, a database each */
    sqlite3 *db[2];
};

static bool run(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    bool ok = sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK;

    if (!ok)
        printf("  %s: %s\n", sql, error);
    sqlite3_free(error);
    return CHECK(ok);
}

static bool both(struct pair *p, const char *sql)
{
    return run(p->db[0], sql) && run(p->db[1], sql);
}

static bool pair_open(struct pair *p, const char *columns)
{
    char sql[200];

    for (int i = 0; i < 2; i++)
        if (!CHECK_INT(sqlite3_open(":memory:", &p->db[i]), SQLITE_OK))
            return false;
    CHECK_INT(sqlite3_lsmvtab_init(p->db[0], NULL, NULL), SQLITE_OK);
    snprintf(sql, sizeof(sql), "CREATE VIRTUAL TABLE t USING lsm(%s)", columns);
    run(p->db[0], sql);
    snprintf(sql, sizeof(sql), "CREATE TABLE t(%s) WITHOUT ROWID", columns);
    run(p->db[1], sql);
    return both(p, "INSERT INTO t VALUES(12, 0), ('a', 0), (x'00', 0)");
}

static void pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_close(p->db[i]), SQLITE_OK);
}

static char *content(sqlite3 *db)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_stmt *stmt = NULL;

    CHECK_INT(sqlite3_prepare_v2(db, "SELECT quote(k), v FROM t ORDER BY k", -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        sqlite3_str_appendf(text, "%s=%d ", sqlite3_column_text(stmt, 0), sqlite3_column_int(stmt, 1));
    sqlite3_finalize(stmt);
    return sqlite3_str_finish(text);
}

static void check_same(struct pair *p)
{
    char *a = content(p->db[0]), *b = content(p->db[1]);

    CHECK_STR(a, b);
    sqlite3_free(a);
    sqlite3_free(b);
}

/* Does the statement collect its rows in a table of its own first? */
static bool collects(sqlite3 *db, const char *sql)
{
    char *explain = sqlite3_mprintf("EXPLAIN %s", sql);
    sqlite3_stmt *stmt = NULL;
    bool found = false;

    CHECK_INT(sqlite3_prepare_v2(db, explain, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        found = found || strcmp((const char *)sqlite3_column_text(stmt, 1), "OpenEphemeral") == 0;
    sqlite3_finalize(stmt);
    sqlite3_free(explain);
    return found;
}

static void prepare(struct pair *p, const char *sql, sqlite3_stmt *stmt[2])
{
    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_prepare_v2(p->db[i], sql, -1, &stmt[i], NULL), SQLITE_OK);
}

static void finish(sqlite3_stmt *stmt[2])
{
    sqlite3_finalize(stmt[0]);
    sqlite3_finalize(stmt[1]);
}

/* Run both with ?1 = 12; they change as many rows. */
static void step_both(struct pair *p, sqlite3_stmt *stmt[2])
{
    for (int i = 0; i < 2; i++) {
        sqlite3_bind_int(stmt[i], 1, 12);
        CHECK_INT(sqlite3_step(stmt[i]), SQLITE_DONE);
        CHECK_INT(sqlite3_reset(stmt[i]), SQLITE_OK);
    }
    CHECK_INT(sqlite3_changes(p->db[0]), sqlite3_changes(p->db[1]));
    check_same(p);
}

TEST(update_and_delete_of_one_key_collect_no_rows)
{
    struct pair p;

    if (!pair_open(&p, "k PRIMARY KEY, v"))
        return;
    CHECK(!collects(p.db[0], "UPDATE t SET v = 1 WHERE k = ?"));
    CHECK(!collects(p.db[0], "DELETE FROM t WHERE k = ?"));
    CHECK(collects(p.db[0], "DELETE FROM t WHERE k > ?"));
    CHECK(collects(p.db[0], "DELETE FROM t WHERE k IN (?, ?)"));
    CHECK(collects(p.db[0], "DELETE FROM t WHERE k IS ?"));
    both(&p, "INSERT INTO t VALUES('12', 0)");
    CHECK(collects(p.db[0], "UPDATE t SET v = 1 WHERE k = ?"));
    CHECK(collects(p.db[0], "DELETE FROM t WHERE k = ?"));
    pair_close(&p);
}

TEST(write_prepared_before_text_like_a_number_came_finds_all_that_equals_it)
{
    static const char *const statements[] = {
        "UPDATE t SET v = v + 1 WHERE k = ?1", "UPDATE t SET v = v + 1 WHERE k = CAST(?1 AS INTEGER)",
        "UPDATE t SET v = v + 1 WHERE k = (SELECT n FROM u WHERE n = ?1)",
        "DELETE FROM t WHERE k = CAST(?1 AS INTEGER)", "DELETE FROM t WHERE k = (SELECT n FROM u WHERE n = ?1)",
        "DELETE FROM t WHERE k = ?1",
    };
    static const char *const columns[] = { "k PRIMARY KEY, v", "k BLOB PRIMARY KEY, v", "k TEXT PRIMARY KEY, v" };

    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
            for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
                sqlite3_stmt *stmt[2];
                struct pair p;

                if (!pair_open(&p, columns[c]))
                    return;
                both(&p, "CREATE TABLE u(n INTEGER); INSERT INTO u VALUES(12)");
                prepare(&p, statements[i], stmt);
                step_both(&p, stmt);
                if (in_transaction)
                    both(&p, "BEGIN");
                both(&p, "REPLACE INTO t VALUES('12', 10), ('012', 20), ('12.0', 30), (12, 40), ('b', 50)");
                step_both(&p, stmt);
                both(&p, "REPLACE INTO t VALUES('12', 10), ('012', 20)");
                step_both(&p, stmt);
                if (in_transaction)
                    both(&p, "COMMIT");
                check_same(&p);
                finish(stmt);
                pair_close(&p);
            }
}

TEST(reader_prepared_before_text_like_a_number_came_goes_on_where_no_two_keys_are_equal)
{
    static const char *const keys[] = { "k PRIMARY KEY, v", "k TEXT PRIMARY KEY, v",
                                        "k PRIMARY KEY, v", "k TEXT PRIMARY KEY, v" };

    for (int kind = 0; kind < 4; kind++) {
        sqlite3_stmt *stmt[2];
        struct pair p;

        if (!pair_open(&p, keys[kind]))
            return;
        prepare(&p, kind < 2 ? "SELECT v FROM t WHERE k = ?1"
                             : "SELECT v FROM t WHERE k = CAST(?1 AS INTEGER)", stmt);
        both(&p, "REPLACE INTO t VALUES('13', 1), ('-14.5', 2), (12, 3)");
        for (int value = 11; value < 15; value++) {
            int rows[2] = { 0, 0 }, sum[2] = { 0, 0 };

            for (int i = 0; i < 2; i++) {
                sqlite3_bind_int(stmt[i], 1, value);
                for (; sqlite3_step(stmt[i]) == SQLITE_ROW; rows[i]++)
                    sum[i] += sqlite3_column_int(stmt[i], 0);
                CHECK_INT(sqlite3_reset(stmt[i]), SQLITE_OK);
            }
            CHECK_INT(rows[0], rows[1]);
            CHECK_INT(sum[0], sum[1]);
        }
        finish(stmt);
        pair_close(&p);
    }
}

/* A statement that writes an ordinary table and reads ours in the middle: compiled again there, SQLite keeps what it has
   written when it is within BEGIN, and it would be written twice. */
TEST(write_of_an_ordinary_table_is_not_done_twice_where_the_guess_was_wrong)
{
    static const char *const columns[] = { "k PRIMARY KEY, v", "k BLOB PRIMARY KEY, v" };

    for (int kind = 0; kind < 8; kind++) {
        bool in_transaction = kind & 1, two = kind & 2;
        sqlite3_stmt *stmt[2];
        struct pair p;

        if (!pair_open(&p, columns[kind >> 2]))
            return;
        both(&p, "CREATE TABLE u(n INTEGER); INSERT INTO u VALUES(10), (11), (12), (13); CREATE TABLE w(n, v)");
        prepare(&p, "INSERT INTO w SELECT n, CASE WHEN n > 11 THEN (SELECT max(v) FROM t WHERE k = n) END FROM u", stmt);
        both(&p, two ? "REPLACE INTO t VALUES('13', 7), ('12', 8), ('012', 9)" : "REPLACE INTO t VALUES('13', 7)");
        if (in_transaction)
            both(&p, "BEGIN");
        CHECK_INT(sqlite3_step(stmt[1]), SQLITE_DONE);
        if (in_transaction && two) {
            CHECK_INT(sqlite3_step(stmt[0]), SQLITE_ERROR);
            both(&p, "ROLLBACK; BEGIN");
            finish(stmt);
            prepare(&p, "INSERT INTO w SELECT n, CASE WHEN n > 11 THEN (SELECT max(v) FROM t WHERE k = n) END FROM u", stmt);
            CHECK_INT(sqlite3_step(stmt[1]), SQLITE_DONE);
        }
        CHECK_INT(sqlite3_step(stmt[0]), SQLITE_DONE);
        for (int i = 0; i < 2; i++)
            sqlite3_reset(stmt[i]);
        if (in_transaction)
            both(&p, "COMMIT");
        both(&p, "DELETE FROM t; INSERT INTO t SELECT n || 'w' || count(*), sum(v) FROM w GROUP BY n");
        check_same(&p);
        finish(stmt);
        pair_close(&p);
    }
}

static int prepare_late(struct pair *p, const char *sql, sqlite3_stmt *stmt[2])
{
    if (!pair_open(p, "k TEXT PRIMARY KEY, v"))
        return 0;
    prepare(p, sql, stmt);
    both(p, "BEGIN; INSERT INTO t VALUES('012.0', 1), ('13', 2)");
    for (int i = 0; i < 2; i++)
        sqlite3_bind_int(stmt[i], 1, 13);
    return 1;
}

/* Told of one row, SQLite looks at the first that comes, which need not be it: where nothing tells what is written, the
   statement must not go on. */
TEST(write_that_explain_does_not_take_is_not_lost)
{
    sqlite3_stmt *stmt[2];
    struct pair p;

    if (!prepare_late(&p, ";\n; UPDATE t SET v = 9 WHERE k = CAST(?1 AS INTEGER)", stmt))
        return;
    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_step(stmt[i]), SQLITE_DONE);
    finish(stmt);
    check_same(&p);
    pair_close(&p);

    if (!prepare_late(&p, "/* comment */; UPDATE t SET v = 9 WHERE k = CAST(?1 AS INTEGER)", stmt))
        return;
    CHECK_INT(sqlite3_step(stmt[0]), SQLITE_ERROR);
    sqlite3_reset(stmt[0]);
    check_same(&p);
    finish(stmt);
    pair_close(&p);
}

static struct {
    sqlite3 *db;
    bool now;
} interrupt;

static int authorize(void *ctx, int op, const char *a, const char *b, const char *c, const char *d)
{
    (void)ctx, (void)a, (void)b, (void)c, (void)d;
    if (interrupt.now && op == SQLITE_UPDATE)
        sqlite3_interrupt(interrupt.db);
    return SQLITE_OK;
}

/* It rolls back the transaction; the statement that is asked about must not go on behind it. */
TEST(interrupt_of_the_question_what_a_statement_writes_ends_the_statement)
{
    sqlite3_stmt *stmt[2];
    struct pair p;

    for (int empty = 0; empty < 2; empty++) {
        if (!pair_open(&p, "k TEXT PRIMARY KEY, v"))
            return;
        sqlite3_set_authorizer(p.db[0], authorize, NULL);
        interrupt.db = p.db[0];
        if (empty)
            run(p.db[0], "DROP TABLE t; CREATE VIRTUAL TABLE t USING lsm(k TEXT PRIMARY KEY, v)");
        prepare(&p, "UPDATE t SET v = 9 WHERE k = CAST(?1 AS INTEGER)", stmt);
        if (empty)
            run(p.db[0], "INSERT INTO t VALUES(12, 0), ('a', 0), (x'00', 0)");
        both(&p, "BEGIN");
        run(p.db[0], empty ? "INSERT INTO t VALUES('c', 1)" : "INSERT INTO t VALUES('013', 1), ('13', 2)");
        sqlite3_bind_int(stmt[0], 1, 13);
        interrupt.now = true;
        CHECK_INT(sqlite3_step(stmt[0]), SQLITE_INTERRUPT);
        interrupt.now = false;
        finish(stmt);
        CHECK(sqlite3_get_autocommit(p.db[0]));
        run(p.db[1], "ROLLBACK");
        check_same(&p);
        pair_close(&p);
    }
}

/* What writes tables of ours is taken back as a whole, and compiled again: also what a trigger writes. */
TEST(trigger_that_writes_by_key_is_compiled_again_where_the_guess_was_wrong)
{
    for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
        sqlite3_stmt *stmt[2];
        struct pair p;

        if (!pair_open(&p, "k PRIMARY KEY, v"))
            return;
        both(&p, "CREATE TABLE u(n INTEGER); CREATE TABLE w(n, v);"
                 "CREATE TRIGGER r AFTER INSERT ON w BEGIN UPDATE t SET v = v + 1 WHERE k = (SELECT n FROM u WHERE n = new.n); END;"
                 "INSERT INTO u VALUES(12), (13)");
        prepare(&p, "INSERT INTO w SELECT column1, 0 FROM (VALUES(?1 - 2), (?1 - 1), (?1), (?1 + 1))", stmt);
        if (in_transaction)
            both(&p, "BEGIN");
        step_both(&p, stmt);
        both(&p, "REPLACE INTO t VALUES('12', 10), ('012', 20)");
        step_both(&p, stmt);
        if (in_transaction)
            both(&p, "COMMIT");
        both(&p, "INSERT INTO t SELECT 'w' || count(*), 0 FROM w");
        check_same(&p);
        finish(stmt);
        pair_close(&p);
    }
}

/* What the tree notes about such keys stays when its rows go by a range: the connection, and others, know that it was noted. */
TEST(text_like_a_number_is_found_after_all_rows_were_deleted)
{
    static const struct {
        const char *command, *same;
    } deletes[] = {
        { "INSERT INTO t(t) VALUES('delete-all')", "DELETE FROM t" },
        { "SELECT lsm_delete_range('t', NULL, NULL)", "DELETE FROM t" },
        { "SELECT lsm_delete_range('t', NULL, 'z')", "DELETE FROM t WHERE k < 'z'" },
    };

    for (size_t i = 0; i < sizeof(deletes) / sizeof(deletes[0]); i++) {
        struct pair p;

        if (!pair_open(&p, "k TEXT PRIMARY KEY, v"))
            return;
        both(&p, "INSERT INTO t VALUES('13', 1); INSERT INTO t VALUES('14', 1)");
        run(p.db[0], deletes[i].command);
        run(p.db[1], deletes[i].same);
        both(&p, "INSERT INTO t VALUES('012', 1), ('15', 2)");
        both(&p, "INSERT OR REPLACE INTO t VALUES('found ' || (SELECT count(*) FROM t WHERE k = CAST(12 AS INTEGER)), 0)");
        check_same(&p);
        pair_close(&p);
    }
}

TEST(key_of_an_empty_table_is_not_taken_for_one_row)
{
    struct pair p;

    if (!pair_open(&p, "k PRIMARY KEY, v"))
        return;
    both(&p, "DELETE FROM t");
    run(p.db[0], "INSERT INTO t(t) VALUES('compact')");
    CHECK(collects(p.db[0], "DELETE FROM t WHERE k = ?"));
    pair_close(&p);
}

/* Compiled on an empty table, a write of one row is compiled again, once, when there are rows; and it writes each row once. */
TEST(write_compiled_on_an_empty_table_is_compiled_again_within_a_transaction)
{
    static const char *const statements[] = {
        "UPDATE t SET v = v + 1 WHERE k = 'a' || ?1", "DELETE FROM t WHERE k = 'a' || ?1",
        "UPDATE t SET v = v + 1 FROM u WHERE k = 'a' || (u.n + ?1)", "INSERT INTO t SELECT 'b' || u.n || ?1, v FROM u, t WHERE k = 'a' || u.n",
    };

    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        sqlite3_stmt *stmt[2];
        struct pair p;

        if (!pair_open(&p, "k TEXT PRIMARY KEY, v"))
            return;
        both(&p, "DROP TABLE t");
        run(p.db[0], "CREATE VIRTUAL TABLE t USING lsm(k TEXT PRIMARY KEY, v)");
        run(p.db[1], "CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID");
        both(&p, "CREATE TABLE u(n INTEGER); INSERT INTO u VALUES(0), (1), (2), (3)");
        prepare(&p, statements[i], stmt);
        step_both(&p, stmt);
        both(&p, "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 40) INSERT INTO t SELECT 'a' || i, i FROM s");
        both(&p, "BEGIN");
        for (int n = 0; n < 20; n++) {
            for (int side = 0; side < 2; side++) {
                sqlite3_bind_int(stmt[side], 1, n);
                CHECK_INT(sqlite3_step(stmt[side]), SQLITE_DONE);
                CHECK_INT(sqlite3_reset(stmt[side]), SQLITE_OK);
            }
            CHECK_INT(sqlite3_changes(p.db[0]), sqlite3_changes(p.db[1]));
        }
        both(&p, "COMMIT");
        check_same(&p);
        CHECK_INT(sqlite3_stmt_status(stmt[0], SQLITE_STMTSTATUS_REPREPARE, 0), 1);
        finish(stmt);
        pair_close(&p);
    }
}

/* A row of another key is none of the two, whatever column tells it apart. */
TEST(reader_of_a_composite_key_goes_on_where_no_two_keys_are_equal)
{
    static const char *const keys[] = { "k TEXT, a TEXT, v, PRIMARY KEY(k, a)", "k TEXT, a, v, PRIMARY KEY(a, k)",
                                        "k TEXT, a TEXT COLLATE NOCASE, v, PRIMARY KEY(k, a DESC)", "k TEXT, a BLOB, v, PRIMARY KEY(k, a)" };

    for (int kind = 0; kind < 4; kind++) {
        sqlite3_stmt *stmt[2];
        struct pair p;
        int v[2];

        for (int i = 0; i < 2; i++) {
            char sql[200];

            CHECK_INT(sqlite3_open(":memory:", &p.db[i]), SQLITE_OK);
            CHECK_INT(sqlite3_lsmvtab_init(p.db[i], NULL, NULL), SQLITE_OK);
            snprintf(sql, sizeof(sql), i ? "CREATE TABLE t(%s) WITHOUT ROWID" : "CREATE VIRTUAL TABLE t USING lsm(%s)", keys[kind]);
            run(p.db[i], sql);
        }
        both(&p, "INSERT INTO t VALUES('a', 'p', 1), ('b', 'q', 2)");
        prepare(&p, "SELECT v FROM t WHERE k = ?1 AND a = ?2", stmt);
        both(&p, "INSERT INTO t VALUES('012', 'p', 3), ('12', 'p', 4), ('12', 'q', 5), ('12', 'P2', 6), ('12', x'70', 7), ('13', 'q', 8)");
        for (int i = 0; i < 2; i++) {
            sqlite3_bind_int(stmt[i], 1, 12);
            sqlite3_bind_text(stmt[i], 2, "q", -1, SQLITE_STATIC);
            CHECK_INT(sqlite3_step(stmt[i]), SQLITE_ROW);
            v[i] = sqlite3_column_int(stmt[i], 0);
            CHECK_INT(sqlite3_step(stmt[i]), SQLITE_DONE);
        }
        CHECK_INT(v[0], v[1]);
        finish(stmt);
        pair_close(&p);
    }
}

TEST(reader_of_two_equal_keys_prepared_before_they_came_must_be_prepared_again)
{
    sqlite3_stmt *stmt;
    struct pair p;

    if (!pair_open(&p, "k PRIMARY KEY, v"))
        return;
    sqlite3_prepare_v2(p.db[0], "SELECT count(*) FROM t WHERE k = CAST(?1 AS INTEGER)", -1, &stmt, NULL);
    sqlite3_bind_int(stmt, 1, 12);
    CHECK_INT(sqlite3_step(stmt), SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(stmt, 0), 1);
    sqlite3_reset(stmt);
    both(&p, "INSERT INTO t VALUES('12', 0)");
    CHECK_INT(sqlite3_step(stmt), SQLITE_ERROR);
    CHECK_STR(sqlite3_errmsg(p.db[0]),
              "lsm: a key like '12' came into t since this statement was prepared: prepare it again");
    sqlite3_finalize(stmt);
    sqlite3_prepare_v2(p.db[0], "SELECT count(*) FROM t WHERE k = CAST(?1 AS INTEGER)", -1, &stmt, NULL);
    sqlite3_bind_int(stmt, 1, 12);
    CHECK_INT(sqlite3_step(stmt), SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(stmt, 0), 2);
    sqlite3_finalize(stmt);
    pair_close(&p);
}
