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
#include "tests/diff/diff.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_MAX 6

struct column {
    char name[4];
    const char *type;
    const char *collation;      /* "" or " COLLATE X" */
    const char *null;           /* "", " NOT NULL" or " NOT NULL DEFAULT x" */
    bool has_default, not_null;
};

struct table {
    const char *name;           /* "t" */
    const char *path;           /* "main.t" */
    struct column columns[COLUMN_MAX];
    int column_count;
    int key[COLUMN_MAX];
    bool desc[COLUMN_MAX];
    int key_count;
};

struct maker {
    struct diff_history *history;
    uint64_t random;
    struct table tables[4];     /* t, u, w and the ordinary o */
    bool is_utf16;
    struct diff_step step;      /* being made */
    sqlite3_str *sql;
    const struct table *updated;        /* not to be read: SQLite's one pass sees what it changed */
};

static uint64_t below(struct maker *m, uint64_t n)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;      /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

#define PICK(m, list) ((list)[below((m), sizeof(list) / sizeof((list)[0]))])

static void add(struct maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct maker *m, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sqlite3_str_vappendf(m->sql, format, args);
    va_end(args);
}

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

/* ---- values ----------------------------------------------------------------------- */

static char *value(struct maker *m, bool may_be_null)
{
    static const char *const integers[] = { "9223372036854775807", "-9223372036854775807 - 1",
                                            "9007199254740993", "9007199254740992", "-1", "48",
                                            "-9007199254740993", "4503599627370497", "2147483648" };
    static const char *const reals[] = { "1.0", "2.0", "3.0", "1.5", "-0.0", "0.0", "1e300",
                                         "-1.5", "0.1", "9223372036854775808.0", "9e999", "-9e999",
                                         "9007199254740992.0", "-9223372036854775808.0", "1e-300",
                                         "9223372036854774784.0", "0.5", "-1.0" };
    static const char *const texts[] = { "'a'", "'A'", "'a '", "'ab'", "'aB'", "'AB'", "'abc'", "'1'",
                                         "'01'", "'1.0'", "' 1'", "'1 '", "'1e0'", "'2'", "'-1'",
                                         "''", "' '", "'z'", "'ac'", "'9007199254740993'", "'-0'",
                                         "'0x10'", "'1_0'", "'9e999'", "'inf'", "'nan'", "'.5'",
                                         "'é'", "'É'", "'ā'", "'日本'", "'😀'", "'a  '", "'\n'",
                                         "'%'", "'_a'", "'a*'", "'9223372036854775808'",
                                         "'a' || char(0) || 'b'", "char(0)", "'a' || char(0)",
                                         "printf('%.300c', 'x')", "'a' || char(1)", "char(65533)",
                                         "'\xef\xbf\xbf'", "char(57344)" };
    static const char *const wild[] = { "CAST(x'ff' AS TEXT)", "CAST(x'61ff' AS TEXT)",
                                        "CAST(x'c3' AS TEXT)", "CAST(x'31ff' AS TEXT)",
                                        "CAST(x'3100' AS TEXT)", "CAST(x'eda080' AS TEXT)" };
    static const char *const blobs[] = { "x''", "x'61'", "x'6162'", "x'31'", "x'00'", "x'0001'",
                                         "x'ff'", "x'01'", "zeroblob(3)", "zeroblob(300)",
                                         "x'610062'", "x'ffff'" };
    static const char *const blobs16[] = { "x''", "x'6100'", "x'00610062'", "x'3100'", "zeroblob(4)" };
    unsigned kind = (unsigned)below(m, may_be_null ? 24 : 22);

    if (kind < 6)
        return sqlite3_mprintf("%d", (int)below(m, 6));
    if (kind < 7)
        return sqlite3_mprintf("%s", PICK(m, integers));
    if (kind < 10)
        return sqlite3_mprintf("%s", PICK(m, reals));
    if (kind < 13)
        return sqlite3_mprintf("%s", texts[below(m, 8)]);
    if (kind < 19)
        return sqlite3_mprintf("%s", PICK(m, texts));
    if (kind == 19 && !m->is_utf16)
        return sqlite3_mprintf("%s", PICK(m, wild));
    if (kind < 22 && m->is_utf16)       /* blobs that become valid text */
        return sqlite3_mprintf("%s", PICK(m, blobs16));
    if (kind < 22)
        return sqlite3_mprintf("%s", PICK(m, blobs));
    return sqlite3_mprintf("NULL");
}

static void add_value(struct maker *m, bool may_be_null)
{
    char *text = value(m, may_be_null);

    if (m->step.param_count < DIFF_PARAM_MAX && below(m, 3) == 0) {
        m->step.params[m->step.param_count++] = text;
        add(m, "?%d", m->step.param_count);
        return;
    }
    add(m, "%s", text);
    sqlite3_free(text);
}

static const char *any_column(struct maker *m, const struct table *t)
{
    if (below(m, 3))
        return t->columns[t->key[below(m, (uint64_t)t->key_count)]].name;
    return t->columns[below(m, (uint64_t)t->column_count)].name;
}

static bool is_key(const struct table *t, int column)
{
    for (int i = 0; i < t->key_count; i++)
        if (t->key[i] == column)
            return true;
    return false;
}

static struct table *any_lsm(struct maker *m)
{
    unsigned which = (unsigned)below(m, 6);

    return &m->tables[which < 4 ? 0 : which - 3];
}

static struct table *any_table(struct maker *m)
{
    struct table *t = below(m, 4) ? any_lsm(m) : &m->tables[3];

    return t == m->updated ? &m->tables[3] : t;
}

static const char *some_collation(struct maker *m)
{
    static const char *const collations[] = { " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY" };

    return below(m, 8) ? "" : PICK(m, collations);
}

static void add_condition(struct maker *m, const struct table *t, const char *alias, int depth);

static void add_subquery_values(struct maker *m, const struct table *t, const char *alias)
{
    add(m, "SELECT %s.%s FROM %s %s WHERE ", alias, any_column(m, t), t->path, alias);
    add_condition(m, t, alias, 0);
}

static void add_in_list(struct maker *m, bool may_be_null)
{
    uint64_t count = 1 + below(m, below(m, 6) ? 4 : 12);

    for (uint64_t i = 0; i < count; i++) {
        add(m, "%s", i ? ", " : "");
        add_value(m, may_be_null);
    }
}

static void add_row_value(struct maker *m, const struct table *t, const char *alias)
{
    static const char *const ops[] = { "=", "<", "<=", ">", ">=", "<>", "IS" };
    const char *first = any_column(m, t), *second = any_column(m, t);
    unsigned what = (unsigned)below(m, 4);

    if (t->key_count > 1 && below(m, 2)) {
        first = t->columns[t->key[0]].name;
        second = t->columns[t->key[1]].name;
    }
    add(m, "(%s.%s, %s.%s) ", alias, first, alias, second);
    if (what < 3) {
        add(m, "%s (", PICK(m, ops));
        add_value(m, true);
        add(m, ", ");
        add_value(m, true);
        add(m, ")");
    } else {
        const struct table *s = any_table(m);

        /* +: SQLite checks a virtual table's row values without the affinity of the subquery. */
        add(m, "IN (SELECT +r.%s, +r.%s FROM %s r)", any_column(m, s), any_column(m, s), s->path);
    }
}

static void add_match(struct maker *m, const char *alias, const char *name)
{
    static const char *const globs[] = { "a*", "ab*", "*", "1*", "?", "a[bc]*", "A*", "", "[a-b]*",
                                         "é*", "a", "*b", "[^a]*" };
    static const char *const likes[] = { "a%", "A%", "1%", "%", "_", "ab%", "é%", "a!%%", "", "a" };

    /* In UTF-16 an ordinary table gives rows that do not match. */
    if (m->is_utf16)
        add(m, "+%s.%s %sGLOB '%s'", alias, name, below(m, 5) ? "" : "NOT ", PICK(m, globs));
    else if (below(m, 2))
        add(m, "%s.%s %sGLOB '%s'", alias, name, below(m, 5) ? "" : "NOT ", PICK(m, globs));
    else
        add(m, "%s.%s %sLIKE '%s'%s", alias, name, below(m, 5) ? "" : "NOT ", PICK(m, likes),
            below(m, 6) ? "" : " ESCAPE '!'");
}

/* One comparison of a column, or several combined. */
static void add_condition(struct maker *m, const struct table *t, const char *alias, int depth)
{
    static const char *const ops[] = { "=", "=", "=", "IS", "<", "<=", ">", ">=", "<>", "IS NOT",
                                       "IS NOT DISTINCT FROM" };
    const char *name = any_column(m, t);
    unsigned what = (unsigned)below(m, depth > 0 ? 24 : 16);

    if (what < 7) {
        bool is_turned = below(m, 8) == 0;

        if (is_turned) {
            add_value(m, true);
            add(m, " %s %s.%s%s", ops[below(m, 4)], alias, name, some_collation(m));
            return;
        }
        add(m, "%s%s.%s %s ", below(m, 20) ? "" : "+", alias, name, PICK(m, ops));
        if (below(m, 12) == 0)
            add(m, "CAST(");
        else
            is_turned = true;
        add_value(m, true);
        if (!is_turned)
            add(m, " AS TEXT)");        /* of what equals a REAL which is first is not said */
        add(m, "%s", some_collation(m));
    } else if (what < 9) {
        add(m, "%s.%s %sBETWEEN ", alias, name, below(m, 6) ? "" : "NOT ");
        add_value(m, below(m, 9) == 0);
        add(m, " AND ");
        add_value(m, below(m, 9) == 0);
    } else if (what < 11) {
        add(m, "%s.%s%s %sIN (", alias, name, some_collation(m), below(m, 6) ? "" : "NOT ");
        add_in_list(m, true);
        add(m, ")");
    } else if (what < 13) {
        add_match(m, alias, name);
    } else if (what == 13) {
        add(m, "%s.%s IS %sNULL", alias, name, below(m, 2) ? "NOT " : "");
    } else if (what == 14) {
        add_row_value(m, t, alias);
    } else if (what == 15) {
        add(m, "%s.%s %s %s.%s", alias, name, ops[below(m, 9)], alias, any_column(m, t));
    } else if (what < 22) {
        add(m, "(");
        add_condition(m, t, alias, depth - 1);
        add(m, what < 19 ? " AND " : " OR ");
        add_condition(m, t, alias, depth - 1);
        add(m, ")");
    } else if (what == 22) {
        const struct table *s = any_table(m);

        add(m, "%s.%s %sIN (", alias, name, below(m, 3) ? "" : "NOT ");
        add_subquery_values(m, s, "q");
        add(m, ")");
    } else {
        const struct table *s = any_table(m);

        add(m, "%sEXISTS (SELECT 1 FROM %s e WHERE e.%s = %s.%s", below(m, 3) ? "" : "NOT ", s->path,
            any_column(m, s), alias, name);
        if (below(m, 2)) {
            add(m, " AND ");
            add_condition(m, s, "e", 0);
        }
        add(m, ")");
    }
}

static void add_columns(struct maker *m, const struct table *t, const char *alias)
{
    for (int i = 0; i < t->column_count; i++)
        add(m, "%s%s.%s", i ? ", " : "", alias, t->columns[i].name);
}

/* By all of the key: one order. */
static void add_order(struct maker *m, const struct table *t, const char *alias)
{
    unsigned how = (unsigned)below(m, 4);

    for (int i = 0; i < t->key_count; i++) {
        bool desc = how == 0 ? false : how == 1 ? t->desc[i] : how == 2 ? !t->desc[i] : below(m, 2);

        add(m, "%s%s.%s%s", i ? ", " : "", alias, t->columns[t->key[i]].name, desc ? " DESC" : "");
    }
}

static const char *some_conflict(struct maker *m)
{
    static const char *const conflicts[] = { "", "", "", " OR REPLACE", " OR REPLACE", " OR IGNORE",
                                             " OR FAIL", " OR ABORT", " OR ROLLBACK" };

    return PICK(m, conflicts);
}

/* ---- statements ------------------------------------------------------------------- */

static void add_names(struct maker *m, const struct table *t, const bool *given)
{
    int n = 0;

    for (int i = 0; i < t->column_count; i++)
        if (given[i])
            add(m, "%s%s", n++ ? ", " : "", t->columns[i].name);
}

/* Columns to give in an INSERT: now and then one less. A NULL for one with a DEFAULT is not asked. */
static void choose_columns(struct maker *m, const struct table *t, bool *given)
{
    for (int i = 0; i < t->column_count; i++)
        given[i] = true;
    if (t->column_count > 1 && below(m, 4) == 0)
        given[below(m, (uint64_t)t->column_count)] = false;
}

static void make_insert(struct maker *m, struct table *t)
{
    bool given[COLUMN_MAX];
    uint64_t rows = 1 + below(m, below(m, 4) ? 3 : 20);
    const char *conflict = some_conflict(m);
    bool is_ignore = strcmp(conflict, " OR IGNORE") == 0;

    choose_columns(m, t, given);
    if (!is_ignore && below(m, 5) == 0)
        conflict = " OR REPLACE";
    add(m, "INSERT%s INTO %s(", conflict, t->path);
    add_names(m, t, given);
    add(m, ") VALUES ");
    for (uint64_t row = 0; row < rows; row++) {
        int n = 0;

        add(m, row ? ", (" : "(");
        for (int i = 0; i < t->column_count; i++) {
            if (!given[i])
                continue;
            add(m, "%s", n++ ? ", " : "");
            if (t->name[0] == 'o' && i == 0)    /* a mismatch leaves half a statement there */
                add(m, "%d", (int)below(m, 12));
            else
                add_value(m, !t->columns[i].has_default && below(m, 4) == 0);
        }
        add(m, ")");
    }
    /* OR IGNORE: a virtual table's RETURNING shows the rows that were ignored, too. */
    if (!is_ignore && below(m, 12) == 0)
        add(m, " RETURNING 1");
    m->step.flags = DIFF_CHANGES;
}

static void add_source_value(struct maker *m, const struct table *s, const struct column *c)
{
    const char *name = s->columns[below(m, (uint64_t)s->column_count)].name;
    unsigned what = (unsigned)below(m, 6);

    if (c->has_default)
        add(m, "coalesce(");
    if (what < 3)
        add(m, "s.%s", name);
    else if (what == 3)
        add(m, "s.%s || 'x'", name);
    else if (what == 4)
        add(m, "s.%s + 1", name);
    else
        add_value(m, !c->has_default);
    if (c->has_default)
        add(m, ", 7)");
}

static void make_insert_select(struct maker *m, struct table *t)
{
    const struct table *s = any_table(m);

    add(m, "INSERT%s INTO %s SELECT ", some_conflict(m), t->path);
    for (int i = 0; i < t->column_count; i++) {
        add(m, "%s", i ? ", " : "");
        if (t->name[0] == 'o' && i == 0)
            add(m, "NULL");
        else
            add_source_value(m, s, &t->columns[i]);
    }
    add(m, " FROM %s s WHERE ", s->path);
    add_condition(m, s, "s", 1);
    add(m, " ORDER BY ");
    add_order(m, s, "s");
    if (below(m, 3) == 0)
        add(m, " LIMIT %d", (int)below(m, 8));
    m->step.flags = DIFF_CHANGES;
}

/* Columns outside of the key: the order of rows does not matter. */
static void make_update_values(struct maker *m, struct table *t)
{
    int n = 0;
    const struct table *s;
    unsigned from = (unsigned)below(m, 5);

    m->updated = t;
    s = any_table(m);
    add(m, "UPDATE%s %s AS t SET ", below(m, 4) ? "" : some_conflict(m), t->path);
    for (int i = 0; i < t->column_count; i++) {
        const struct column *c = &t->columns[i];

        if (is_key(t, i) || (n && below(m, 2)))
            continue;
        add(m, "%s%s = ", n++ ? ", " : "", c->name);
        if (c->not_null)
            add(m, "coalesce(");
        switch (below(m, from == 0 ? 5 : 4)) {
        case 0: add(m, "t.%s || 'u'", c->name); break;
        case 1: add(m, "t.%s + 1", c->name); break;
        case 4: add(m, "s.%s", s->columns[0].name); break;
        default: add_value(m, true); break;
        }
        if (c->not_null)
            add(m, ", 8)");
    }
    if (n == 0)
        add(m, "%s = %s", t->columns[t->key[0]].name, t->columns[t->key[0]].name);
    if (from == 0) {            /* at most one row of it for each */
        add(m, " FROM (SELECT * FROM %s z ORDER BY ", s->path);
        add_order(m, s, "z");
        add(m, " LIMIT 1) AS s");
    }
    add(m, " WHERE ");
    add_condition(m, t, "t", 2);
    m->updated = NULL;
    m->step.flags = DIFF_CHANGES;
}

/* Keys move. Who is met first matters, so the condition leaves one plan. */
static void make_update_key(struct maker *m, struct table *t)
{
    static const char *const conflicts[] = { "", "", "", " OR IGNORE", " OR FAIL", " OR ROLLBACK" };
    const struct column *c = &t->columns[t->key[below(m, (uint64_t)t->key_count)]];

    /* A scan of a UTF-16 table is in UTF-8 order. */
    add(m, "UPDATE%s %s AS t SET %s = ", m->is_utf16 ? "" : PICK(m, conflicts), t->path, c->name);
    switch (below(m, 6)) {
    case 0: add(m, "t.%s + 1", c->name); break;
    case 1: add(m, "t.%s || 'k'", c->name); break;
    case 2: add(m, "CASE t.%s WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE t.%s END", c->name, c->name); break;
    case 3: add(m, "-t.%s", c->name); break;
    default: add_value(m, true); break;
    }
    for (int i = 0; i < t->column_count; i++) {
        if (is_key(t, i) || below(m, 3))
            continue;
        add(m, ", %s = ", t->columns[i].name);
        add_value(m, !t->columns[i].not_null);
    }
    add(m, " WHERE ");
    if (below(m, 2) && t->key_count == 1) {
        add(m, "t.%s = ", t->columns[t->key[0]].name);
        add_value(m, false);
    } else {
        add(m, "+t.%s > ", any_column(m, t));
        add_value(m, false);
    }
    m->step.flags = DIFF_CHANGES;
}

static void make_delete(struct maker *m, struct table *t)
{
    add(m, "DELETE FROM %s AS t", t->path);
    if (below(m, 15)) {
        add(m, " WHERE ");
        add_condition(m, t, "t", 2);
        if (below(m, 2)) {
            add(m, " AND ");
            add_condition(m, t, "t", 1);
        }
    }
    m->step.flags = DIFF_CHANGES;
}

static void add_limit(struct maker *m)
{
    if (below(m, 3) == 0)
        add(m, " LIMIT %d", (int)below(m, 6));
    else if (below(m, 4) == 0)
        add(m, " LIMIT %d OFFSET %d", (int)below(m, 6) - 1, (int)below(m, 5));
}

static void make_simple_select(struct maker *m, const struct table *t)
{
    add(m, "SELECT ");
    add_columns(m, t, "t");
    add(m, " FROM %s t WHERE ", t->path);
    add_condition(m, t, "t", 3);
    if (below(m, 2)) {
        add(m, " ORDER BY ");
        if (below(m, 3) == 0)
            add(m, "t.%s%s%s%s, ", any_column(m, t), some_collation(m), below(m, 2) ? " DESC" : "",
                below(m, 4) ? "" : below(m, 2) ? " NULLS LAST" : " NULLS FIRST");
        add_order(m, t, "t");
        add_limit(m);
        m->step.flags = DIFF_ORDERED;
    }
}

static void make_aggregate(struct maker *m, const struct table *t)
{
    const char *name = any_column(m, t);

    switch (below(m, 6)) {
    case 0:
        add(m, "SELECT count(*), count(t.%s), sum(length(t.%s)) FROM %s t WHERE ", name, name, t->path);
        add_condition(m, t, "t", 2);
        break;
    case 1:             /* which of equal values min() gives is anyone's guess: how many are */
        add(m, "SELECT count(*) FROM %s t WHERE t.%s = (SELECT %s(z.%s) FROM %s z WHERE ", t->path, name,
            below(m, 2) ? "min" : "max", name, t->path);
        add_condition(m, t, "z", 1);
        add(m, ")");
        break;
    case 2:
        add(m, "SELECT count(*), min(hex(t.%s)), max(typeof(t.%s)) FROM %s t WHERE ", name, name,
            t->path);
        add_condition(m, t, "t", 1);
        add(m, " GROUP BY t.%s", any_column(m, t));
        if (below(m, 2))
            add(m, ", t.%s", any_column(m, t));
        if (below(m, 3) == 0)
            add(m, " HAVING count(*) > %d", (int)below(m, 3));
        break;
    case 3:
        add(m, "SELECT count(*) FROM (SELECT DISTINCT t.%s, t.%s FROM %s t WHERE ", name,
            any_column(m, t), t->path);
        add_condition(m, t, "t", 1);
        add(m, ")");
        break;
    case 4:
        add(m, "SELECT count(*) FROM (SELECT %s.%s FROM %s t %s SELECT o.%s FROM %s o)", "t", name,
            t->path, below(m, 3) ? below(m, 2) ? "EXCEPT" : "INTERSECT" : "UNION",
            m->tables[3].columns[0].name, any_table(m) == t ? t->path : m->tables[3].path);
        break;
    default:
        add(m, "SELECT typeof(t.%s), count(*), count(DISTINCT t.%s) FROM %s t GROUP BY 1", name, name,
            t->path);
        break;
    }
}

static void make_join(struct maker *m, const struct table *t)
{
    static const char *const joins[] = { "JOIN", "LEFT JOIN", "CROSS JOIN", ", " };
    static const char *const ops[] = { "=", "=", "=", "IS", "<", ">=" };
    const struct table *s = any_table(m), *r = below(m, 3) ? NULL : any_table(m);
    const char *join = PICK(m, joins);

    add(m, "SELECT ");
    add_columns(m, t, "t");
    add(m, ", ");
    add_columns(m, s, "s");
    if (r)
        add(m, ", r.%s", any_column(m, r));
    add(m, " FROM %s t %s %s s", t->path, join, s->path);
    add(m, " %s t.%s %s s.%s", join[0] == ',' ? "WHERE" : "ON", any_column(m, t), PICK(m, ops),
        any_column(m, s));
    if (join[0] != ',') {
        if (r)
            add(m, " %s %s r ON s.%s = r.%s", below(m, 2) ? "JOIN" : "CROSS JOIN", r->path,
                any_column(m, s), any_column(m, r));
        add(m, " WHERE 1");
    } else if (r) {
        /* a third in the middle of commas */
        add(m, " AND EXISTS (SELECT 1 FROM %s r WHERE r.%s = s.%s)", r->path, any_column(m, r),
            any_column(m, s));
    }
    add(m, " AND ");
    add_condition(m, t, "t", 1);
    if (below(m, 2)) {
        add(m, " AND ");
        add_condition(m, s, "s", 0);
    }
    if (join[0] == ',' && r) {
        /* r is not in scope there */
        sqlite3_str_reset(m->sql);
        while (m->step.param_count)
            sqlite3_free(m->step.params[--m->step.param_count]);
        add(m, "SELECT count(*) FROM %s t, %s s, %s r WHERE t.%s = s.%s AND s.%s = r.%s", t->path,
            s->path, r->path, any_column(m, t), any_column(m, s), any_column(m, s), any_column(m, r));
    }
}

static void make_window(struct maker *m, const struct table *t)
{
    add(m, "SELECT ");
    add_columns(m, t, "t");
    add(m, ", row_number() OVER (ORDER BY ");
    add_order(m, t, "t");
    add(m, "), count(*) OVER (PARTITION BY t.%s), lag(t.%s) OVER (ORDER BY ", any_column(m, t),
        any_column(m, t));
    add_order(m, t, "t");
    add(m, ") FROM %s t WHERE ", t->path);
    add_condition(m, t, "t", 1);
}

static void make_recursive(struct maker *m, const struct table *t)
{
    const char *key = t->columns[t->key[0]].name;

    /* From each key to the number of keys behind it. */
    add(m, "WITH RECURSIVE c(n, k) AS (SELECT 0, (SELECT min(t.%s) FROM %s t) UNION ALL "
           "SELECT n + 1, (SELECT min(t.%s) FROM %s t WHERE t.%s > c.k) FROM c "
           "WHERE c.k IS NOT NULL AND n < 50) SELECT count(*), max(n) FROM c", key, t->path, key,
        t->path, key);
}

static void make_scalar(struct maker *m, const struct table *t)
{
    const struct table *s = any_table(m);

    add(m, "SELECT ");
    add_columns(m, t, "t");
    add(m, ", (SELECT count(*) FROM %s s WHERE s.%s %s t.%s) FROM %s t WHERE ", s->path,
        any_column(m, s), below(m, 2) ? "=" : "<=", any_column(m, t), t->path);
    add_condition(m, t, "t", 1);
}

static void make_select(struct maker *m)
{
    const struct table *t = any_lsm(m);
    unsigned what = (unsigned)below(m, 20);

    if (what < 9)
        make_simple_select(m, t);
    else if (what < 12)
        make_aggregate(m, t);
    else if (what < 15)
        make_join(m, t);
    else if (what < 16)
        make_window(m, t);
    else if (what < 17)
        make_recursive(m, t);
    else if (what < 19)
        make_scalar(m, t);
    else
        add(m, "SELECT * FROM v");
}

static void make_ordinary(struct maker *m)
{
    struct table *o = &m->tables[3];

    switch (below(m, 4)) {
    case 0: make_insert_select(m, o); break;
    case 1: make_delete(m, o); break;
    default: make_insert(m, o); break;
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
        make_insert(m, any_lsm(m));
    else if (what < 270)
        make_insert_select(m, any_lsm(m));
    else if (what < 330)
        make_update_values(m, any_lsm(m));
    else if (what < 370)
        make_update_key(m, any_lsm(m));
    else if (what < 430)
        make_delete(m, any_lsm(m));
    else if (what < 460)
        make_ordinary(m);
    else if (what < 830)
        make_select(m);
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
        add_columns(m, t, "t");
        add(m, " FROM %s t ORDER BY ", t->path);
        add_order(m, t, "t");
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
    add(m, "CREATE TRIGGER %s %s BEGIN INSERT%s INTO %s(", name, event, some_conflict(m), t->name);
    for (int i = 0; i < t->column_count; i++)
        given[i] = true;
    add_names(m, t, given);
    add(m, ") VALUES(");
    for (int i = 0; i < t->column_count; i++)
        add(m, "%scoalesce(new.%s, %d)", i ? ", " : "", m->tables[3].columns[i % 5].name, i);
    add(m, "); DELETE FROM %s WHERE %s = new.b; END", m->tables[1].name, any_column(m, &m->tables[1]));
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
