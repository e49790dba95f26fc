/*
 * test_vtab_diff.c -- an lsm table and an ordinary WITHOUT ROWID table with the
 * same columns get the same SQL, each in a database of its own, and must answer
 * alike: rows and their types, order, result codes, error texts, changes().
 *
 * The statements are random, over few values that are close to each other: 1, 1.0,
 * '1', '01', 'a', 'A', 'a ', x'61'. Every table is also compared with a join
 * partner of each affinity.
 */
#include <sqlite3.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

#define PARAM_MAX 16
#define SQL_SIZE 8192

/* ---- the two sides ---------------------------------------------------------------- */

struct table_kind {
    const char *columns;        /* for both */
    const char *key;            /* the key clause */
    const char *names[5];
    const char *key_names[4];
    const char *no_null;        /* a column where INSERT gives no NULL: DEFAULT differs, see manual */
};

static const struct table_kind kinds[] = {
    { "a, b", "PRIMARY KEY(a)", { "a", "b", NULL }, { "a", NULL }, "" },
    { "a TEXT, b INTEGER, c REAL NOT NULL DEFAULT 5, d", "PRIMARY KEY(a, b DESC)",
      { "a", "b", "c", "d", NULL }, { "a", "b", NULL }, "c" },
    { "a TEXT COLLATE NOCASE, b NUMERIC, c BLOB", "PRIMARY KEY(a)", { "a", "b", "c", NULL },
      { "a", NULL }, "" },
    { "a REAL, b, c TEXT", "PRIMARY KEY(b, a)", { "a", "b", "c", NULL }, { "b", "a", NULL }, "" },
    { "a INTEGER, b TEXT NOT NULL, c", "PRIMARY KEY(a DESC)", { "a", "b", "c", NULL },
      { "a", NULL }, "" },
    { "a TEXT COLLATE RTRIM, b TEXT, c INT", "PRIMARY KEY(b, a, c)", { "a", "b", "c", NULL },
      { "b", "a", "c", NULL }, "" },
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

struct side {
    sqlite3 *db;
    char path[200];
    char *rows;                 /* what the last statement gave */
    int rc, changes;
    char error[300];
};

struct param {
    int type;
    int64_t integer;
    double real;
    char text[16];
    int size;
};

struct query {
    char sql[SQL_SIZE];
    size_t size;
    struct param params[PARAM_MAX];
    int param_count;
    bool is_ordered;            /* by all of the key */
};

static void add(struct query *q, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct query *q, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(q->sql + q->size, sizeof(q->sql) - q->size, format, args);
    va_end(args);
    if (n > 0)
        q->size += (size_t)n;
    if (q->size >= sizeof(q->sql))
        abort();
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void side_run(struct side *side, const struct query *q)
{
    sqlite3_stmt *stmt = NULL;
    char **lines = NULL;
    int count = 0, capacity = 0;
    sqlite3_str *text;

    side->rc = sqlite3_prepare_v2(side->db, q->sql, -1, &stmt, NULL);
    for (int i = 0; side->rc == SQLITE_OK && stmt && i < q->param_count; i++) {
        const struct param *p = &q->params[i];

        switch (p->type) {
        case SQLITE_INTEGER: sqlite3_bind_int64(stmt, i + 1, p->integer); break;
        case SQLITE_FLOAT: sqlite3_bind_double(stmt, i + 1, p->real); break;
        case SQLITE_TEXT: sqlite3_bind_text(stmt, i + 1, p->text, p->size, SQLITE_STATIC); break;
        case SQLITE_BLOB: sqlite3_bind_blob(stmt, i + 1, p->text, p->size, SQLITE_STATIC); break;
        default: sqlite3_bind_null(stmt, i + 1); break;
        }
    }
    if (side->rc == SQLITE_OK && stmt) {
        while ((side->rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            sqlite3_str *line = sqlite3_str_new(NULL);

            for (int i = 0; i < sqlite3_column_count(stmt); i++)
                sqlite3_str_appendf(line, "%s%s", i ? "|" : "", sqlite3_column_text(stmt, i));
            if (count == capacity) {
                capacity = capacity ? capacity * 2 : 16;
                lines = realloc(lines, (size_t)capacity * sizeof(*lines));
            }
            sqlite3_str_appendall(line, "\n");
            lines[count++] = sqlite3_str_finish(line);
        }
    }
    side->rc = sqlite3_extended_errcode(side->db);
    /* Where nothing failed, it may still be the text of a step that SQLite tried anew. */
    snprintf(side->error, sizeof(side->error), "%s",
             side->rc == SQLITE_DONE ? "" : sqlite3_errmsg(side->db));
    side->changes = sqlite3_changes(side->db);
    if (side->rc == SQLITE_DONE)
        side->rc = SQLITE_OK;
    sqlite3_finalize(stmt);

    if (!q->is_ordered && count)
        qsort(lines, (size_t)count, sizeof(*lines), compare_strings);
    text = sqlite3_str_new(NULL);
    for (int i = 0; i < count; i++) {
        sqlite3_str_appendall(text, lines[i]);
        sqlite3_free(lines[i]);
    }
    free(lines);
    sqlite3_free(side->rows);
    side->rows = sqlite3_str_finish(text);
}

static void run(struct side *side, const char *sql)
{
    char *error = NULL;

    if (!CHECK(sqlite3_exec(side->db, sql, NULL, NULL, &error) == SQLITE_OK))
        printf("%s: %s\n", sql, error);
    sqlite3_free(error);
}

static void side_open(struct side *side, bool is_lsm)
{
    CHECK(sqlite3_open(side->path, &side->db) == SQLITE_OK);
    if (is_lsm)
        CHECK(sqlite3_lsmvtab_init(side->db, NULL, NULL) == SQLITE_OK);
    sqlite3_extended_result_codes(side->db, 1);
}

/* ---- random SQL --------------------------------------------------------------------- */

static const char *const texts[] = { "", "a", "A", "ab", "aB", "b", "a ", "abc", "1", "01", "1.0",
                                     " 1", "2", "-1", "z", "1e0", "ac", "3" };
static const char *const blobs[] = { "", "61", "6162", "31", "00", "ff" };
static const char *const reals[] = { "1.0", "1.5", "-0.0", "2.0", "1e300", "-1.5", "0.1",
                                     "9223372036854775808.0" };

static int64_t random_integer(void)
{
    static const int64_t edges[] = { INT64_MAX, INT64_MIN, 9007199254740993, -1, 0, 48 };

    return test_below(12) == 0 ? edges[test_below(6)] : (int64_t)test_below(6);
}

static const char *pick_name(const struct table_kind *kind)
{
    int count = 0;

    while (kind->names[count])
        count++;
    return kind->names[test_below((uint64_t)count)];
}

static const char *pick_key(const struct table_kind *kind)
{
    int count = 0;

    while (kind->key_names[count])
        count++;
    return kind->key_names[test_below((uint64_t)count)];
}

/* A value, written out or bound. */
static void add_value(struct query *q, bool may_be_null)
{
    struct param p = { .type = SQLITE_NULL };
    unsigned kind = (unsigned)test_below(may_be_null ? 22 : 20);
    const char *literal = "";

    if (kind < 7) {
        p.type = SQLITE_INTEGER;
        p.integer = random_integer();
    } else if (kind < 10) {
        p.type = SQLITE_FLOAT;
        literal = reals[test_below(sizeof(reals) / sizeof(reals[0]))];
        p.real = strtod(literal, NULL);
    } else if (kind < 18) {
        p.type = SQLITE_TEXT;
        p.size = snprintf(p.text, sizeof(p.text), "%s",
                          texts[test_below(sizeof(texts) / sizeof(texts[0]))]);
    } else if (kind < 20) {
        p.type = SQLITE_BLOB;
        literal = blobs[test_below(sizeof(blobs) / sizeof(blobs[0]))];
        for (p.size = 0; literal[2 * p.size]; p.size++) {
            unsigned byte = 0;

            sscanf(literal + 2 * p.size, "%2x", &byte);
            p.text[p.size] = (char)byte;
        }
    }
    if (q->param_count < PARAM_MAX && test_below(3) == 0) {
        q->params[q->param_count++] = p;
        add(q, "?%d", q->param_count);
        return;
    }
    switch (p.type) {
    case SQLITE_INTEGER: add(q, "%" PRId64, p.integer); break;
    case SQLITE_FLOAT: add(q, "%s", literal); break;
    case SQLITE_TEXT: add(q, "'%s'", p.text); break;
    case SQLITE_BLOB: add(q, "x'%s'", literal); break;
    default: add(q, "NULL"); break;
    }
}

static void add_condition(struct query *q, const struct table_kind *kind, int depth)
{
    static const char *const ops[] = { "=", "=", "=", "==", "IS", "<", "<=", ">", ">=", "<>" };
    const char *name = test_below(4) ? pick_key(kind) : pick_name(kind);
    unsigned what = (unsigned)test_below(depth > 0 ? 15 : 11);

    if (what < 5) {
        add(q, "%s %s ", name, ops[test_below(10)]);
        add_value(q, true);
    } else if (what == 5) {
        add(q, "%s BETWEEN ", name);
        add_value(q, false);
        add(q, " AND ");
        add_value(q, false);
    } else if (what < 8) {
        add(q, "%s IN (", name);
        for (uint64_t i = 0, n = 1 + test_below(4); i < n; i++) {
            add(q, i ? ", " : "");
            add_value(q, true);
        }
        add(q, ")");
    } else if (what == 8) {
        static const char *const patterns[] = { "a*", "ab*", "*", "1*", "?", "a[bc]*", "A*", "" };

        add(q, "%s GLOB '%s'", name, patterns[test_below(8)]);
    } else if (what == 9) {
        static const char *const patterns[] = { "a%", "A%", "1%", "%", "_", "ab%" };

        add(q, "%s LIKE '%s'", name, patterns[test_below(6)]);
    } else if (what == 10) {
        add(q, "%s IS %sNULL", name, test_below(2) ? "NOT " : "");
    } else {
        add(q, "(");
        add_condition(q, kind, depth - 1);
        add(q, what == 14 ? " OR " : " AND ");
        add_condition(q, kind, depth - 1);
        add(q, ")");
    }
}

static const char *random_conflict(void)
{
    static const char *const modes[] = { "", "", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT",
                                         "OR ROLLBACK" };

    return modes[test_below(7)];
}

static void make_insert(struct query *q, const struct table_kind *kind)
{
    add(q, "INSERT %s INTO t(", random_conflict());
    for (int i = 0; kind->names[i]; i++)
        add(q, "%s%s", i ? ", " : "", kind->names[i]);
    add(q, ") VALUES ");
    for (uint64_t row = 0, n = 1 + test_below(3); row < n; row++) {
        add(q, row ? ", (" : "(");
        for (int i = 0; kind->names[i]; i++) {
            add(q, i ? ", " : "");
            add_value(q, strcmp(kind->names[i], kind->no_null) != 0 && test_below(4) == 0);
        }
        add(q, ")");
    }
}

static bool is_key(const struct table_kind *kind, const char *name)
{
    for (int i = 0; kind->key_names[i]; i++)
        if (strcmp(kind->key_names[i], name) == 0)
            return true;
    return false;
}

static void make_update(struct query *q, const struct table_kind *kind)
{
    const char *name = test_below(3) ? pick_name(kind) : pick_key(kind);
    const char *conflict = random_conflict();

    /* SQLite computes all new rows of a virtual table first; an ordinary one sees the rows that
       OR REPLACE has moved. No table can be told. */
    if (strcmp(conflict, "OR REPLACE") == 0 && is_key(kind, name))
        conflict = "";
    add(q, "UPDATE %s t SET %s = ", conflict, name);
    if (test_below(3) == 0)
        add(q, "%s + 1", name);
    else if (test_below(3) == 0)
        add(q, "%s", pick_name(kind));
    else
        add_value(q, true);
    if (test_below(3) == 0) {
        const char *other = pick_name(kind);

        if (strcmp(other, name) != 0 && !is_key(kind, other)) {
            add(q, ", %s = ", other);
            add_value(q, false);
        }
    }
    /* Which row comes first decides who conflicts: OR would let the planner choose. */
    add(q, " WHERE ");
    add_condition(q, kind, is_key(kind, name) ? 0 : 1);
}

static void add_quoted_columns(struct query *q, const struct table_kind *kind)
{
    for (int i = 0; kind->names[i]; i++)
        add(q, "%squote(t.%s)", i ? ", " : "", kind->names[i]);
}

static void make_select(struct query *q, const struct table_kind *kind)
{
    unsigned what = (unsigned)test_below(12);

    if (what < 7) {
        add(q, "SELECT ");
        add_quoted_columns(q, kind);
        add(q, " FROM t WHERE ");
        add_condition(q, kind, 2);
        if (test_below(2)) {            /* the whole key: one order only */
            const char *desc = test_below(2) ? " DESC" : "";
            bool is_mixed = test_below(3) == 0;

            add(q, " ORDER BY ");
            for (int i = 0; kind->key_names[i]; i++)
                add(q, "%s%s%s", i ? ", " : "", kind->key_names[i],
                    is_mixed ? (test_below(2) ? " DESC" : "") : desc);
            q->is_ordered = true;
            if (test_below(3) == 0)
                add(q, " LIMIT %d OFFSET %d", (int)test_below(4), (int)test_below(3));
        }
    } else if (what == 7) {
        const char *name = pick_name(kind);

        add(q, "SELECT quote(min(%s)), quote(max(%s)), count(*), count(%s) FROM t WHERE ", name,
            name, name);
        add_condition(q, kind, 1);
    } else if (what == 8) {
        const char *name = pick_key(kind);

        add(q, "SELECT quote(min(%s)) FROM t", name);
    } else if (what == 9) {
        const char *name = pick_key(kind);

        /* Of values that are equal, which one stands for the group is anyone's guess. */
        add(q, "SELECT count(*) FROM t GROUP BY %s, typeof(%s)", name, name);
    } else if (what == 10) {
        add(q, "SELECT count(DISTINCT %s) FROM t WHERE ", pick_key(kind));
        add_condition(q, kind, 1);
    } else {
        static const char *const partners[] = { "i", "r", "s", "n", "u", "nc" };
        const char *partner = partners[test_below(6)];

        add(q, "SELECT quote(o.%s), ", partner);
        add_quoted_columns(q, kind);
        add(q, " FROM o CROSS JOIN t WHERE %s o.%s AND ",
            test_below(3) ? test_below(2) ? "t.a =" : "t.b =" : test_below(2) ? "t.a >" : "t.a <=",
            partner);
        add_condition(q, kind, 0);
        if (test_below(2)) {
            add(q, " AND o.id = %d ORDER BY ", (int)test_below(20));
            for (int i = 0; kind->key_names[i]; i++)
                add(q, "%s%s", i ? ", " : "", kind->key_names[i]);
            q->is_ordered = true;
        }
    }
}

/* The same statement on both, and the same answer; false: not the same. */
static bool both(struct side *lsm, struct side *plain, struct query *q, bool count_changes)
{
    bool is_same;

    side_run(lsm, q);
    side_run(plain, q);
    if (getenv("DIFF_TRACE")) {
        printf("%s; -- %d %d\n", q->sql, lsm->rc, plain->rc);
        for (int i = 0; i < q->param_count; i++)
            printf("  -- ?%d %d %" PRId64 " %g '%s'\n", i + 1, q->params[i].type,
                   q->params[i].integer, q->params[i].real, q->params[i].text);
    }
    is_same = CHECK_INT(lsm->rc, plain->rc);
    is_same = CHECK_STR(lsm->rows, plain->rows) && is_same;
    is_same = CHECK_STR(lsm->error, plain->error) && is_same;
    is_same = (!count_changes || CHECK_INT(lsm->changes, plain->changes)) && is_same;
    is_same = CHECK_INT(sqlite3_get_autocommit(lsm->db), sqlite3_get_autocommit(plain->db))
              && is_same;
    if (!is_same) {
        printf("  %s\n", q->sql);
        for (int i = 0; i < q->param_count; i++)
            printf("  ?%d type %d %" PRId64 " %g '%s'\n", i + 1, q->params[i].type,
                   q->params[i].integer, q->params[i].real, q->params[i].text);
        return false;
    }
    return true;
}

static bool same_tables(struct side *lsm, struct side *plain, const struct table_kind *kind)
{
    struct query q = { .is_ordered = true };

    add(&q, "SELECT ");
    add_quoted_columns(&q, kind);
    add(&q, " FROM t ORDER BY ");
    for (int i = 0; kind->key_names[i]; i++)
        add(&q, "%st.%s", i ? ", " : "", kind->key_names[i]);
    return both(lsm, plain, &q, false);
}

static void make_partner(struct side *side)
{
    run(side, "CREATE TABLE o(id INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, n NUMERIC, u, "
              "nc TEXT COLLATE NOCASE)");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *sql = sqlite3_mprintf("INSERT INTO o VALUES(%d, '%s', '%s', '%s', '%s', %s, '%s')",
                                    (int)i, texts[i], texts[i], texts[i], texts[i],
                                    i % 3 ? i % 2 ? "1" : "'1'" : "x'61'", texts[i]);

        run(side, sql);
        sqlite3_free(sql);
    }
}

static bool fixed(struct side *lsm, struct side *plain, const char *sql)
{
    struct query q = { .is_ordered = false };

    add(&q, "%s", sql);
    return both(lsm, plain, &q, false);
}

static bool step(struct side *lsm, struct side *plain, const struct table_kind *kind)
{
    static const char *const control[] = {
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT b", "RELEASE a", "RELEASE b",
        "ROLLBACK TO a", "ROLLBACK TO b", "BEGIN IMMEDIATE", "COMMIT", "SAVEPOINT a",
    };
    struct query q = { .is_ordered = false };
    unsigned what = (unsigned)test_below(100);

    if (what < 35) {
        make_insert(&q, kind);
    } else if (what < 47) {
        make_update(&q, kind);
    } else if (what < 54) {
        add(&q, "DELETE FROM t WHERE ");
        add_condition(&q, kind, 1);
    } else if (what < 84) {
        make_select(&q, kind);
    } else if (what < 97) {
        add(&q, "%s", control[test_below(12)]);
    } else {
        if (sqlite3_get_autocommit(lsm->db))
            run(lsm, test_below(2) ? "INSERT INTO t(t) VALUES('flush')"
                                   : "INSERT INTO t(t) VALUES('compact')");
        return same_tables(lsm, plain, kind);
    }
    /* A SELECT in a transaction sets changes() to 0, and UPDATE OR REPLACE counts rows that an
       earlier one replaced: see the manual. */
    return both(lsm, plain, &q, what < 54 && strstr(q.sql, "UPDATE OR REPLACE") == NULL);
}

static void reopen(struct side *side, bool is_lsm)
{
    CHECK(sqlite3_close(side->db) == SQLITE_OK);
    side_open(side, is_lsm);
}

static void compare(const struct table_kind *kind, int step_count, const char *journal)
{
    struct side lsm = { 0 }, plain = { 0 };
    char sql[300];

    snprintf(lsm.path, sizeof(lsm.path), "%s/lsm.db", test_dir());
    snprintf(plain.path, sizeof(plain.path), "%s/plain.db", test_dir());
    side_open(&lsm, true);
    side_open(&plain, false);
    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF", journal);
    run(&lsm, sql);
    run(&plain, sql);
    snprintf(sql, sizeof(sql), "CREATE VIRTUAL TABLE t USING lsm(%s, %s)", kind->columns, kind->key);
    run(&lsm, sql);
    snprintf(sql, sizeof(sql), "CREATE TABLE t(%s, %s) WITHOUT ROWID", kind->columns, kind->key);
    run(&plain, sql);
    make_partner(&lsm);
    make_partner(&plain);

    for (int i = 0; i < step_count; i++) {
        if (!step(&lsm, &plain, kind)) {
            printf("  at step %d of %s, %s\n", i, kind->columns, kind->key);
            break;
        }
        if (i % 100 == 99 && !same_tables(&lsm, &plain, kind))
            break;
        if (i % 400 == 399) {
            if (!sqlite3_get_autocommit(lsm.db) && !fixed(&lsm, &plain, "COMMIT"))
                break;
            reopen(&lsm, true);
            reopen(&plain, false);
            run(&lsm, "PRAGMA synchronous = OFF");
            if (!same_tables(&lsm, &plain, kind))
                break;
        }
    }
    if (!sqlite3_get_autocommit(lsm.db))
        fixed(&lsm, &plain, "ROLLBACK");
    same_tables(&lsm, &plain, kind);
    CHECK(sqlite3_close(lsm.db) == SQLITE_OK);
    CHECK(sqlite3_close(plain.db) == SQLITE_OK);
    sqlite3_free(lsm.rows);
    sqlite3_free(plain.rows);
    snprintf(sql, sizeof(sql), "rm -rf %s/lsm.db* %s/plain.db*", test_dir(), test_dir());
    CHECK(system(sql) == 0);
}

static int step_count(void)
{
    return test_long() ? 40000 : 3000;
}

#define DIFF(name, index, journal)                              \
    TEST(name)                                                  \
    {                                                           \
        compare(&kinds[index], step_count(), journal);          \
    }

/* S-02 */
DIFF(vtab_diff_untyped_key_answers_as_a_plain_table, 0, "WAL")
/* S-14 */
DIFF(vtab_diff_composite_desc_key_answers_as_a_plain_table, 1, "WAL")
DIFF(vtab_diff_nocase_key_answers_as_a_plain_table, 2, "DELETE")
DIFF(vtab_diff_mixed_key_answers_as_a_plain_table, 3, "PERSIST")
DIFF(vtab_diff_integer_key_answers_as_a_plain_table, 4, "WAL")
DIFF(vtab_diff_rtrim_key_answers_as_a_plain_table, 5, "TRUNCATE")
