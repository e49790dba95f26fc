/*
 * test_vtab_note.c -- keys that are text like '12' compared with numbers: a tree's note about them makes it one
 * place or two (ext/vtab_note.c), and the answers are an ordinary table's, whatever converts what. Statements that
 * were prepared before such keys came are among them.
 */
#include <math.h>
#include <sqlite3.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

static const char *const shapes[] = {
    "k TEXT PRIMARY KEY, a, v", "k PRIMARY KEY, a, v", "k BLOB PRIMARY KEY, a, v", "k TEXT COLLATE NOCASE PRIMARY KEY, a, v",
    "k TEXT, a TEXT, v, PRIMARY KEY(k, a)", "k, a, v, PRIMARY KEY(a, k)", "k, a TEXT, v, PRIMARY KEY(k DESC, a)",
    "k, a, v, PRIMARY KEY(k, a DESC)", "k TEXT, a INTEGER, v, PRIMARY KEY(k, a)", "k NUMERIC PRIMARY KEY, a, v",
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

#define STATEMENTS 12

static struct {
    sqlite3 *db[2];             /* the lsm table's, and an ordinary one's */
    struct {
        sqlite3_stmt *stmt[2];
        char *sql;
        bool is_write;
    } kept[STATEMENTS];
} w;

static void both(const char *sql)
{
    for (int i = 0; i < 2; i++) {
        char *error = NULL;

        if (!CHECK_INT(sqlite3_exec(w.db[i], sql, NULL, NULL, &error), SQLITE_OK))
            printf("  %s: %s\n", sql, error);
        sqlite3_free(error);
    }
}

static void begin(const char *columns)
{
    char sql[200];

    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_open(":memory:", &w.db[i]), SQLITE_OK);
    CHECK_INT(sqlite3_lsmvtab_init(w.db[0], NULL, NULL), SQLITE_OK);
    snprintf(sql, sizeof(sql), "CREATE VIRTUAL TABLE t USING lsm(%s)", columns);
    CHECK_INT(sqlite3_exec(w.db[0], sql, NULL, NULL, NULL), SQLITE_OK);
    snprintf(sql, sizeof(sql), "CREATE TABLE t(%s) WITHOUT ROWID", columns);
    CHECK_INT(sqlite3_exec(w.db[1], sql, NULL, NULL, NULL), SQLITE_OK);
    both("CREATE TABLE u(i INTEGER, t TEXT, n NUMERIC, b, r REAL)");
}

static void forget(int i)
{
    for (int side = 0; side < 2; side++) {
        sqlite3_finalize(w.kept[i].stmt[side]);
        w.kept[i].stmt[side] = NULL;
    }
    sqlite3_free(w.kept[i].sql);
    w.kept[i].sql = NULL;
}

static void end(void)
{
    for (int i = 0; i < STATEMENTS; i++)
        forget(i);
    for (int i = 0; i < 2; i++)
        CHECK_INT(sqlite3_close(w.db[i]), SQLITE_OK);
}

/* A value as SQL. `odd`: also text that is a number and not as it is printed. */
static const char *value(char out[40], bool odd)
{
    static const char *const odds[] = { "'012'", "'1.0'", "' 3'", "'1e1'", "'+4'", "'-0'", "'7 '", "'9223372036854775808'", "'.5'" };
    static const char *const others[] = { "'a'", "'A'", "x'3132'", "''", "1.5", "12.0", "'9223372036854775807'", "9223372036854775807",
                                          "-9223372036854775808", "9.2233720368547758e18", "'0'", "0.0", "'-'", "':'", "'Inf'", "'-Inf'", "9e999", "-9e999" };
    int n = (int)test_below(24) - 4;

    switch (test_below(odd ? 8 : 6)) {
    case 0: case 1:
        snprintf(out, 40, "'%d'", n);
        return out;
    case 2: case 3:
        snprintf(out, 40, "%d", n);
        return out;
    case 4:
        snprintf(out, 40, "%d.0", n);
        return out;
    case 5:
        return others[test_below(sizeof(others) / sizeof(others[0]))];
    default:
        return odds[test_below(sizeof(odds) / sizeof(odds[0]))];
    }
}

static const char *const sides[] = { "?1", "CAST(?1 AS INTEGER)", "CAST(?1 AS TEXT)", "CAST(?1 AS REAL)", "(SELECT i FROM u)", "(SELECT t FROM u)",
                                     "(SELECT n FROM u)", "(SELECT b FROM u)", "(SELECT r FROM u)", "u.i", "u.t", "u.n", "u.b", "u.r" };
#define SIDES (sizeof(sides) / sizeof(sides[0]))

/* A condition on one column; `from_u`: it names u. */
static char *condition(const char *column, bool *from_u)
{
    static const char *const forms[] = { "%s = %s", "%s = %s", "%s = %s", "%s IS %s", "%s IN (%s, 3, '4')", "%s <= %s", "%s > %s", "+%s = %s" };
    size_t side = test_below(SIDES);
    char out[40];

    if (test_below(6) == 0)
        return sqlite3_mprintf("%s = %s", column, value(out, true));
    *from_u = *from_u || side >= 9;
    return sqlite3_mprintf(forms[test_below(8)], column, sides[side]);
}

static char *statement(bool *is_write)
{
    /* By values that SQLite computes: it takes a column that equals something for one value, and does not sort by it. */
    static const char *const orders[] = { "quote(k), quote(a)", "v, quote(k), quote(a)" };
    bool from_u = false;
    char *where = condition("k", &from_u);

    if (test_below(2))
        where = sqlite3_mprintf("%z AND %z", where, condition("a", &from_u));
    *is_write = test_below(5) == 0;
    if (*is_write && test_below(6) == 0 && !from_u)
        return sqlite3_mprintf("DELETE FROM t WHERE %z", where);
    if (*is_write)
        return sqlite3_mprintf("UPDATE t SET v = v + 1%s WHERE %z", from_u ? " FROM u" : "", where);
    return sqlite3_mprintf("SELECT quote(k), quote(a), v FROM t%s WHERE %z ORDER BY %s", from_u ? ", u" : "", where,
                           orders[test_below(2)]);
}

/* What it gives, or its error: "" for that, since the engine's may name what it is. */
static char *result(sqlite3_stmt *stmt, sqlite3 *db, int *rc)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    while ((*rc = sqlite3_step(stmt)) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            sqlite3_str_appendf(text, "%s|", sqlite3_column_text(stmt, i));
    sqlite3_str_appendf(text, "%d", sqlite3_stmt_readonly(stmt) ? 0 : sqlite3_changes(db));
    sqlite3_reset(stmt);
    return sqlite3_str_finish(text);
}

static void bind(int i)
{
    sqlite3_stmt *pick;
    char sql[60], out[40];

    snprintf(sql, sizeof(sql), "SELECT %s", value(out, true));
    CHECK_INT(sqlite3_prepare_v2(w.db[1], sql, -1, &pick, NULL), SQLITE_OK);
    sqlite3_step(pick);
    for (int side = 0; side < 2; side++)
        sqlite3_bind_value(w.kept[i].stmt[side], 1, sqlite3_column_value(pick, 0));
    sqlite3_finalize(pick);
}

/* True: the lsm side asked for the statement to be prepared again, as README says it may. */
static bool run_kept(int i)
{
    char *a, *b;
    int rc_a, rc_b;

    if (!w.kept[i].sql) {
        w.kept[i].sql = statement(&w.kept[i].is_write);
        for (int side = 0; side < 2; side++)
            if (!CHECK_INT(sqlite3_prepare_v2(w.db[side], w.kept[i].sql, -1, &w.kept[i].stmt[side], NULL), SQLITE_OK))
                printf("  %s\n", w.kept[i].sql);
    }
    bind(i);
    a = result(w.kept[i].stmt[0], w.db[0], &rc_a);
    if (rc_a == SQLITE_ERROR && strstr(sqlite3_errmsg(w.db[0]), "prepare it again") && !w.kept[i].is_write) {
        sqlite3_free(a);
        forget(i);
        return true;
    }
    b = result(w.kept[i].stmt[1], w.db[1], &rc_b);
    if (!CHECK_INT(rc_a, rc_b) || !CHECK_STR(a, b))
        printf("  %s: %s\nA %s\nB %s\n", w.kept[i].sql, sqlite3_errmsg(w.db[0]), a, b);
    sqlite3_free(a);
    sqlite3_free(b);
    return false;
}

static void add_rows(bool odd)
{
    for (int n = (int)test_below(12); n >= 0; n--) {
        char k[40], a[40], sql[200];

        snprintf(sql, sizeof(sql), "INSERT OR %s INTO t VALUES(%s, %s, %d)", test_below(2) ? "IGNORE" : "REPLACE", value(k, odd), value(a, odd),
                 (int)test_below(100));
        for (int i = 0; i < 2; i++)
            sqlite3_exec(w.db[i], sql, NULL, NULL, NULL);      /* NOT NULL and types of keys are others' tests */
    }
}

static void round_of(uint32_t round)
{
    bool odd = false, in_transaction = false;
    int asked = 0;

    begin(shapes[round % SHAPES]);
    for (int step = 0; step < 120 && !test_state.failures; step++) {
        char t[40], sql[100];

        odd = odd || (step > 40 && test_below(40) == 0);
        switch (test_below(14)) {
        case 0: case 1:
            add_rows(odd);
            break;
        case 2:
            snprintf(sql, sizeof(sql), "DELETE FROM u; INSERT INTO u SELECT x, x, x, x, x FROM (SELECT %s AS x)", value(t, true));
            both(sql);
            break;
        case 3:
            both(in_transaction ? test_below(2) ? "COMMIT" : "ROLLBACK" : "BEGIN");
            in_transaction = !in_transaction;
            break;
        case 4:
            if (test_below(20) == 0) {
                CHECK_INT(sqlite3_exec(w.db[0], "INSERT INTO t(t) VALUES('delete-all')", NULL, NULL, NULL), SQLITE_OK);
                CHECK_INT(sqlite3_exec(w.db[1], "DELETE FROM t", NULL, NULL, NULL), SQLITE_OK);
            }
            forget((int)test_below(STATEMENTS));
            break;
        default:
            asked += run_kept((int)test_below(STATEMENTS));
        }
    }
    CHECK(asked < 20);
    end();
}

TEST(note_keys_like_numbers_compare_as_an_ordinary_tables)
{
    for (uint32_t round = 0; round < test_share(400) && !test_state.failures; round++)
        round_of(round);
}

/* The engine's count of rows that cursors moved to. */
static int64_t steps(void)
{
    sqlite3_stmt *stmt;
    int64_t n;

    CHECK_INT(sqlite3_prepare_v2(w.db[0], "SELECT sum(value) FROM lsm_stats('t') WHERE name = 'nexts'", -1, &stmt,
                                 NULL), SQLITE_OK);
    sqlite3_step(stmt);
    n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return n;
}

/* An infinite number's text is 'Inf', which is no number, beside keys that are. */
TEST(note_of_integers_does_not_hide_the_text_of_infinity)
{
    for (int shape = 0; shape < 4; shape++) {
        sqlite3_stmt *stmt;

        begin(shapes[shape]);
        both("INSERT INTO t VALUES('12', 1, 1), ('Inf', 2, 2), ('-Inf', 3, 3)");
        for (int side = 0; side < 2; side++) {
            CHECK_INT(sqlite3_prepare_v2(w.db[side], "SELECT total(v) + (SELECT total(v) FROM t WHERE k = -9e999) FROM t WHERE k = ?1", -1, &stmt, NULL), SQLITE_OK);
            sqlite3_bind_double(stmt, 1, HUGE_VAL);
            CHECK_INT(sqlite3_step(stmt), SQLITE_ROW);
            CHECK_INT(sqlite3_column_int(stmt, 0), shape == 0 || shape == 3 ? 5 : 0);
            sqlite3_finalize(stmt);
        }
        end();
    }
}

TEST(note_of_integers_makes_a_comparison_with_a_number_a_seek)
{
    for (int shape = 0; shape < 4; shape++) {
        int64_t before;

        begin(shapes[shape]);
        both("WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 3000) INSERT INTO t SELECT CAST(i AS TEXT), 1, 1 FROM s");
        before = steps();
        both("SELECT v FROM t WHERE k = 700; SELECT v FROM t WHERE k = CAST('700' AS INTEGER); SELECT v FROM t WHERE k IN (1, 700);"
             "UPDATE t SET v = 2 WHERE k = 700; DELETE FROM t WHERE k = 701.0");
        CHECK(steps() - before < 100);
        both("INSERT INTO t VALUES('0700', 1, 1)");
        before = steps();
        both("SELECT v FROM t WHERE k = CAST('700' AS INTEGER)");
        CHECK(steps() - before > 1000);         /* else this test sees nothing */
        end();
    }
}
