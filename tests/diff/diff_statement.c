/* diff_statement.c -- statements of a random history: rows put, changed, deleted, asked for. */
#include <string.h>

#include "tests/diff/diff_maker.h"

void maker_add_names(struct maker *m, const struct table *t, const bool *given)
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

void maker_insert(struct maker *m, struct table *t)
{
    bool given[COLUMN_MAX];
    uint64_t rows = 1 + below(m, below(m, 4) ? 3 : 20);
    const char *conflict = maker_some_conflict(m);
    bool is_ignore = strcmp(conflict, " OR IGNORE") == 0;

    choose_columns(m, t, given);
    if (!is_ignore && below(m, 5) == 0)
        conflict = " OR REPLACE";
    add(m, "INSERT%s INTO %s(", conflict, t->path);
    maker_add_names(m, t, given);
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
                maker_add_value(m, !t->columns[i].has_default && below(m, 4) == 0);
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
        maker_add_value(m, !c->has_default);
    if (c->has_default)
        add(m, ", 7)");
}

void maker_insert_select(struct maker *m, struct table *t)
{
    const struct table *s = maker_any_table(m);

    add(m, "INSERT%s INTO %s SELECT ", maker_some_conflict(m), t->path);
    for (int i = 0; i < t->column_count; i++) {
        add(m, "%s", i ? ", " : "");
        if (t->name[0] == 'o' && i == 0)
            add(m, "NULL");
        else
            add_source_value(m, s, &t->columns[i]);
    }
    add(m, " FROM %s s WHERE ", s->path);
    maker_add_condition(m, s, "s", 1);
    add(m, " ORDER BY ");
    maker_add_order(m, s, "s");
    if (below(m, 3) == 0)
        add(m, " LIMIT %d", (int)below(m, 8));
    m->step.flags = DIFF_CHANGES;
}

/* Columns outside of the key: the order of rows does not matter. */
void maker_update_values(struct maker *m, struct table *t)
{
    int n = 0;
    const struct table *s;
    unsigned from = (unsigned)below(m, 5);

    m->updated = t;
    s = maker_any_table(m);
    add(m, "UPDATE%s %s AS t SET ", below(m, 4) ? "" : maker_some_conflict(m), t->path);
    for (int i = 0; i < t->column_count; i++) {
        const struct column *c = &t->columns[i];

        if (maker_is_key(t, i) || (n && below(m, 2)))
            continue;
        add(m, "%s%s = ", n++ ? ", " : "", c->name);
        if (c->not_null)
            add(m, "coalesce(");
        switch (below(m, from == 0 ? 5 : 4)) {
        case 0: add(m, "t.%s || 'u'", c->name); break;
        case 1: add(m, "t.%s + 1", c->name); break;
        case 4: add(m, "s.%s", s->columns[0].name); break;
        default: maker_add_value(m, true); break;
        }
        if (c->not_null)
            add(m, ", 8)");
    }
    if (n == 0)
        add(m, "%s = %s", t->columns[t->key[0]].name, t->columns[t->key[0]].name);
    if (from == 0) {            /* at most one row of it for each */
        add(m, " FROM (SELECT * FROM %s z ORDER BY ", s->path);
        maker_add_order(m, s, "z");
        add(m, " LIMIT 1) AS s");
    }
    add(m, " WHERE ");
    maker_add_condition(m, t, "t", 2);
    m->updated = NULL;
    m->step.flags = DIFF_CHANGES;
}

/* Keys move. Who is met first matters, so the condition leaves one plan. */
void maker_update_key(struct maker *m, struct table *t)
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
    default: maker_add_value(m, true); break;
    }
    for (int i = 0; i < t->column_count; i++) {
        if (maker_is_key(t, i) || below(m, 3))
            continue;
        add(m, ", %s = ", t->columns[i].name);
        maker_add_value(m, !t->columns[i].not_null);
    }
    add(m, " WHERE ");
    if (below(m, 2) && t->key_count == 1) {
        add(m, "t.%s = ", t->columns[t->key[0]].name);
        maker_add_value(m, false);
    } else {
        add(m, "+t.%s > ", maker_any_column(m, t));
        maker_add_value(m, false);
    }
    m->step.flags = DIFF_CHANGES;
}

void maker_delete(struct maker *m, struct table *t)
{
    add(m, "DELETE FROM %s AS t", t->path);
    if (below(m, 15)) {
        add(m, " WHERE ");
        maker_add_condition(m, t, "t", 2);
        if (below(m, 2)) {
            add(m, " AND ");
            maker_add_condition(m, t, "t", 1);
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
    maker_add_columns(m, t, "t");
    add(m, " FROM %s t WHERE ", t->path);
    maker_add_condition(m, t, "t", 3);
    if (below(m, 2)) {
        add(m, " ORDER BY ");
        if (below(m, 3) == 0)
            add(m, "t.%s%s%s%s, ", maker_any_column(m, t), maker_some_collation(m),
                below(m, 2) ? " DESC" : "",
                below(m, 4) ? "" : below(m, 2) ? " NULLS LAST" : " NULLS FIRST");
        maker_add_order(m, t, "t");
        add_limit(m);
        m->step.flags = DIFF_ORDERED;
    }
}

static void make_aggregate(struct maker *m, const struct table *t)
{
    const char *name = maker_any_column(m, t);

    switch (below(m, 6)) {
    case 0:
        add(m, "SELECT count(*), count(t.%s), sum(length(t.%s)) FROM %s t WHERE ", name, name, t->path);
        maker_add_condition(m, t, "t", 2);
        break;
    case 1:             /* which of equal values min() gives is anyone's guess: how many are */
        add(m, "SELECT count(*) FROM %s t WHERE t.%s = (SELECT %s(z.%s) FROM %s z WHERE ", t->path, name,
            below(m, 2) ? "min" : "max", name, t->path);
        maker_add_condition(m, t, "z", 1);
        add(m, ")");
        break;
    case 2:
        add(m, "SELECT count(*), min(hex(t.%s)), max(typeof(t.%s)) FROM %s t WHERE ", name, name,
            t->path);
        maker_add_condition(m, t, "t", 1);
        add(m, " GROUP BY t.%s", maker_any_column(m, t));
        if (below(m, 2))
            add(m, ", t.%s", maker_any_column(m, t));
        if (below(m, 3) == 0)
            add(m, " HAVING count(*) > %d", (int)below(m, 3));
        break;
    case 3:
        add(m, "SELECT count(*) FROM (SELECT DISTINCT t.%s, t.%s FROM %s t WHERE ", name,
            maker_any_column(m, t), t->path);
        maker_add_condition(m, t, "t", 1);
        add(m, ")");
        break;
    case 4:
        add(m, "SELECT count(*) FROM (SELECT %s.%s FROM %s t %s SELECT o.%s FROM %s o)", "t", name,
            t->path, below(m, 3) ? below(m, 2) ? "EXCEPT" : "INTERSECT" : "UNION",
            m->tables[3].columns[0].name, maker_any_table(m) == t ? t->path : m->tables[3].path);
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
    const struct table *s = maker_any_table(m), *r = below(m, 3) ? NULL : maker_any_table(m);
    const char *join = PICK(m, joins);

    add(m, "SELECT ");
    maker_add_columns(m, t, "t");
    add(m, ", ");
    maker_add_columns(m, s, "s");
    if (r)
        add(m, ", r.%s", maker_any_column(m, r));
    add(m, " FROM %s t %s %s s", t->path, join, s->path);
    add(m, " %s t.%s %s s.%s", join[0] == ',' ? "WHERE" : "ON", maker_any_column(m, t), PICK(m, ops),
        maker_any_column(m, s));
    if (join[0] != ',') {
        if (r)
            add(m, " %s %s r ON s.%s = r.%s", below(m, 2) ? "JOIN" : "CROSS JOIN", r->path,
                maker_any_column(m, s), maker_any_column(m, r));
        add(m, " WHERE 1");
    } else if (r) {
        /* a third in the middle of commas */
        add(m, " AND EXISTS (SELECT 1 FROM %s r WHERE r.%s = s.%s)", r->path, maker_any_column(m, r),
            maker_any_column(m, s));
    }
    add(m, " AND ");
    maker_add_condition(m, t, "t", 1);
    if (below(m, 2)) {
        add(m, " AND ");
        maker_add_condition(m, s, "s", 0);
    }
    if (join[0] == ',' && r) {
        /* r is not in scope there */
        sqlite3_str_reset(m->sql);
        while (m->step.param_count)
            sqlite3_free(m->step.params[--m->step.param_count]);
        add(m, "SELECT count(*) FROM %s t, %s s, %s r WHERE t.%s = s.%s AND s.%s = r.%s", t->path,
            s->path, r->path, maker_any_column(m, t), maker_any_column(m, s),
            maker_any_column(m, s), maker_any_column(m, r));
    }
}

static void make_window(struct maker *m, const struct table *t)
{
    add(m, "SELECT ");
    maker_add_columns(m, t, "t");
    add(m, ", row_number() OVER (ORDER BY ");
    maker_add_order(m, t, "t");
    add(m, "), count(*) OVER (PARTITION BY t.%s), lag(t.%s) OVER (ORDER BY ", maker_any_column(m, t),
        maker_any_column(m, t));
    maker_add_order(m, t, "t");
    add(m, ") FROM %s t WHERE ", t->path);
    maker_add_condition(m, t, "t", 1);
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
    const struct table *s = maker_any_table(m);

    add(m, "SELECT ");
    maker_add_columns(m, t, "t");
    add(m, ", (SELECT count(*) FROM %s s WHERE s.%s %s t.%s) FROM %s t WHERE ", s->path,
        maker_any_column(m, s), below(m, 2) ? "=" : "<=", maker_any_column(m, t), t->path);
    maker_add_condition(m, t, "t", 1);
}

void maker_select(struct maker *m)
{
    const struct table *t = maker_any_lsm(m);
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
