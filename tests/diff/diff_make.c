/*
 * diff_make.c -- a random history. See diff.h.
 *
 * The tables t and u, aux.w in an attached file, and the ordinary table o with a
 * trigger that writes u and t, a view and a temp trigger on it. The values are few and
 * close to each other: 1, 1.0, '1', '01', 'a', 'A', 'a ', x'61'.
 *
 * What has no one answer is not asked: which of equal values stands for a group,
 * rows without ORDER BY and with LIMIT, which row an UPDATE of keys meets first.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/diff/diff_maker.h"

static void step_begin(struct maker *m)
{
    memset(&m->step, 0, sizeof(m->step));
    m->step.conn = (int)below(m, (uint64_t)m->history->conn_count);
    m->sql = sqlite3_str_new(NULL);
}

static void step_end(struct maker *m)
{
    struct diff_history *h = m->history;

    m->step.sql = sqlite3_str_finish(m->sql);
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 256;
        h->steps = realloc(h->steps, h->capacity * sizeof(*h->steps));
    }
    h->steps[h->count++] = m->step;
}

static void step_fixed(struct maker *m, int conn, const char *sql)
{
    step_begin(m);
    m->step.conn = conn;
    add(m, "%s", sql);
    step_end(m);
}

/* ---- schemas ---------------------------------------------------------------------- */

static void make_column(struct maker *m, struct column *c, int i)
{
    static const char *const types[] = { "", "", " TEXT", " TEXT", " VARCHAR(10)", " INTEGER", " INT",
                                         " REAL", " DOUBLE", " NUMERIC", " DECIMAL(5,2)", " BLOB",
                                         " BOOLEAN" };
    static const char *const collations[] = { "", "", "", " COLLATE NOCASE", " COLLATE RTRIM",
                                              " COLLATE BINARY" };
    static const char *const defaults[] = { " NOT NULL DEFAULT 5", " NOT NULL DEFAULT 'x'",
                                            " NOT NULL DEFAULT -1.5", " NOT NULL DEFAULT x'00'",
                                            " NOT NULL DEFAULT ''", " NOT NULL DEFAULT 9e999" };

    c->name[0] = (char)('a' + i);
    c->name[1] = '\0';
    c->type = PICK(m, types);
    c->collation = PICK(m, collations);
    c->null = "";
    if (below(m, 5) == 0) {
        c->not_null = true;
        c->null = " NOT NULL";
    } else if (below(m, 7) == 0) {
        c->not_null = c->has_default = true;
        c->null = PICK(m, defaults);
    }
}

static void make_table(struct maker *m, struct table *table, const char *name, const char *path)
{
    int order[COLUMN_MAX];

    memset(table, 0, sizeof(*table));
    table->name = name;
    table->path = path;
    table->column_count = 1 + (int)below(m, 5);
    for (int i = 0; i < table->column_count; i++) {
        make_column(m, &table->columns[i], i);
        order[i] = i;
    }
    for (int i = table->column_count - 1; i > 0; i--) {
        int k = (int)below(m, (uint64_t)i + 1), swap = order[i];

        order[i] = order[k];
        order[k] = swap;
    }
    table->key_count = 1 + (int)below(m, below(m, 2) ? 1 : (uint64_t)table->column_count);
    for (int i = 0; i < table->key_count; i++) {
        table->key[i] = order[i];
        table->desc[i] = below(m, 3) == 0;
    }

    step_begin(m);
    m->step.conn = 0;
    add(m, "@TABLE %s(", path);
    for (int i = 0; i < table->column_count; i++) {
        const struct column *c = &table->columns[i];

        add(m, "%s%s%s%s%s", i ? ", " : "", c->name, c->type, c->null, c->collation);
        if (table->key_count == 1 && table->key[0] == i && !table->desc[0] && i == 0)
            add(m, " PRIMARY KEY");
    }
    if (!(table->key_count == 1 && table->key[0] == 0 && !table->desc[0])) {
        add(m, ", PRIMARY KEY(");
        for (int i = 0; i < table->key_count; i++)
            add(m, "%s%s%s", i ? ", " : "", table->columns[table->key[i]].name,
                table->desc[i] ? " DESC" : "");
        add(m, ")");
    }
    add(m, ")@");
    step_end(m);
}

/* ---- steps ---- */

static void make_ordinary(struct maker *m)
{
    struct table *o = &m->tables[3];

    switch (below(m, 4)) {
    case 0: maker_insert_select(m, o); break;
    case 1: maker_delete(m, o); break;
    default: maker_insert(m, o); break;
    }
}

static void make_control(struct maker *m)
{
    static const char *const controls[] = { "BEGIN", "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "COMMIT",
                                            "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT b",
                                            "RELEASE a", "RELEASE b", "ROLLBACK TO a",
                                            "ROLLBACK TO b", "ROLLBACK TO a" };

    add(m, "%s", PICK(m, controls));
}

static void make_schema_change(struct maker *m)
{
    static const char *const changes[] = {
        "@TABLE x(k PRIMARY KEY, v)@", "@TABLE x(k TEXT, l, v, PRIMARY KEY(k, l))@",
        "INSERT INTO x SELECT 1, 2 UNION ALL SELECT 2, 3", "INSERT INTO x(k, v) VALUES('a', 1)",
        "SELECT * FROM x ORDER BY k", "DELETE FROM x", "ALTER TABLE x RENAME TO y",
        "ALTER TABLE y RENAME TO x", "SELECT * FROM y ORDER BY k", "DROP TABLE x", "DROP TABLE y",
        "ANALYZE o", "VACUUM", "PRAGMA user_version = 7",
    };

    add(m, "%s", PICK(m, changes));
}

/* A transaction's view of all three files begins here: SQLite sees no conflict with an
   lsm table that it did not read, since no page was written (README, Limits). */
static void make_view(struct maker *m)
{
    int conn = m->history->steps[m->history->count - 1].conn;

    step_fixed(m, conn, "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM aux.w), "
                        "(SELECT count(*) FROM o)");
}

static void make_step(struct maker *m)
{
    unsigned what = (unsigned)below(m, 1000);

    step_begin(m);
    if (what < 230)
        maker_insert(m, maker_any_lsm(m));
    else if (what < 270)
        maker_insert_select(m, maker_any_lsm(m));
    else if (what < 330)
        maker_update_values(m, maker_any_lsm(m));
    else if (what < 370)
        maker_update_key(m, maker_any_lsm(m));
    else if (what < 430)
        maker_delete(m, maker_any_lsm(m));
    else if (what < 460)
        make_ordinary(m);
    else if (what < 830)
        maker_select(m);
    else if (what < 950)
        make_control(m);
    else if (what < 970)
        make_schema_change(m);
    else if (what < 985)
        add(m, ".flush");
    else if (what < 993)
        add(m, ".compact");
    else
        add(m, ".reopen");
    step_end(m);
    if (what >= 830 && what < 950 && m->history->conn_count > 1)
        make_view(m);
}

/* All rows of all tables. */
static void make_check(struct maker *m)
{
    for (int i = 0; i < 4; i++) {
        const struct table *t = &m->tables[i];

        step_begin(m);
        m->step.flags = DIFF_ORDERED;
        add(m, "SELECT ");
        maker_add_columns(m, t, "t");
        add(m, " FROM %s t ORDER BY ", t->path);
        maker_add_order(m, t, "t");
        step_end(m);
    }
}

static void make_ordinary_table(struct maker *m)
{
    static const char *const types[] = { "INTEGER", "REAL", "TEXT", "NUMERIC", "", "TEXT COLLATE NOCASE" };
    struct table *o = &m->tables[3];

    memset(o, 0, sizeof(*o));
    o->name = "o";
    o->path = "main.o";
    o->column_count = 5;
    o->key_count = 1;           /* its INTEGER PRIMARY KEY */
    step_begin(m);
    m->step.conn = 0;
    add(m, "CREATE TABLE o(a INTEGER PRIMARY KEY");
    for (int i = 0; i < 5; i++) {
        o->columns[i].name[0] = (char)('a' + i);
        if (i)
            add(m, ", %s %s", o->columns[i].name, PICK(m, types));
    }
    add(m, ")");
    step_end(m);
    step_fixed(m, 0, "CREATE INDEX oi ON o(b, c)");
}

/* What a trigger does with a row of o. */
static void make_trigger(struct maker *m, const char *name, const char *event)
{
    struct table *t = &m->tables[below(m, 2)];
    bool given[COLUMN_MAX];

    step_begin(m);
    m->step.conn = 0;
    add(m, "CREATE TRIGGER %s %s BEGIN INSERT%s INTO %s(", name, event,
        maker_some_conflict(m), t->name);
    for (int i = 0; i < t->column_count; i++)
        given[i] = true;
    maker_add_names(m, t, given);
    add(m, ") VALUES(");
    for (int i = 0; i < t->column_count; i++)
        add(m, "%scoalesce(new.%s, %d)", i ? ", " : "", m->tables[3].columns[i % 5].name, i);
    add(m, "); DELETE FROM %s WHERE %s = new.b; END", m->tables[1].name,
        maker_any_column(m, &m->tables[1]));
    step_end(m);
}

void diff_make(struct diff_history *history, uint64_t seed, size_t step_count)
{
    static const char *const journals[] = { "WAL", "WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY" };
    struct maker m = { .history = history, .random = seed };

    memset(history, 0, sizeof(*history));
    history->seed = seed;
    history->journal = PICK(&m, journals);
    history->encoding = below(&m, 5) ? "UTF-8" : below(&m, 2) ? "UTF-16le" : "UTF-16be";
    history->page_size = below(&m, 2) ? 4096 : 512;
    history->conn_count = 1 + (int)below(&m, DIFF_CONN_MAX);
    m.is_utf16 = history->encoding[4] == '1';

    make_table(&m, &m.tables[0], "t", "t");
    make_table(&m, &m.tables[1], "u", "u");
    make_table(&m, &m.tables[2], "w", "aux.w");
    make_ordinary_table(&m);
    make_trigger(&m, "oti", "AFTER INSERT ON o");
    make_trigger(&m, "otu", "AFTER UPDATE ON o");
    step_fixed(&m, 0, "CREATE VIEW v AS SELECT count(*) AS n, count(DISTINCT typeof(a)) AS d FROM t");
    step_fixed(&m, 0, "INSERT INTO o VALUES(1, 1, 1, 1, 1), (2, 'a', 'A', 'a ', 'b'), "
                      "(3, 1.5, '01', x'61', NULL), (4, 'ab', 2, '1', 9007199254740993)");
    for (size_t i = 0; i < step_count; i++) {
        make_step(&m);
        if (i % 50 == 49)
            make_check(&m);
    }
    for (int i = 0; i < history->conn_count; i++)
        step_fixed(&m, i, "ROLLBACK");
    make_check(&m);
    step_fixed(&m, 0, ".reopen");
    make_check(&m);
}

void diff_clear(struct diff_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        sqlite3_free(history->steps[i].sql);
        for (int k = 0; k < history->steps[i].param_count; k++)
            sqlite3_free(history->steps[i].params[k]);
    }
    free(history->steps);
    memset(history, 0, sizeof(*history));
}
