/* diff_value.c -- values that are few and close to each other, conditions over them, orders. */
#include <string.h>

#include "tests/diff/diff_maker.h"

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

void maker_add_value(struct maker *m, bool may_be_null)
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

const char *maker_any_column(struct maker *m, const struct table *t)
{
    if (below(m, 3))
        return t->columns[t->key[below(m, (uint64_t)t->key_count)]].name;
    return t->columns[below(m, (uint64_t)t->column_count)].name;
}

bool maker_is_key(const struct table *t, int column)
{
    for (int i = 0; i < t->key_count; i++)
        if (t->key[i] == column)
            return true;
    return false;
}

struct table *maker_any_lsm(struct maker *m)
{
    unsigned which = (unsigned)below(m, 6);

    return &m->tables[which < 4 ? 0 : which - 3];
}

struct table *maker_any_table(struct maker *m)
{
    struct table *t = below(m, 4) ? maker_any_lsm(m) : &m->tables[3];

    return t == m->updated ? &m->tables[3] : t;
}

const char *maker_some_collation(struct maker *m)
{
    static const char *const collations[] = { " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY" };

    return below(m, 8) ? "" : PICK(m, collations);
}

static void add_subquery_values(struct maker *m, const struct table *t, const char *alias)
{
    add(m, "SELECT %s.%s FROM %s %s WHERE ", alias, maker_any_column(m, t), t->path, alias);
    maker_add_condition(m, t, alias, 0);
}

static void add_in_list(struct maker *m, bool may_be_null)
{
    uint64_t count = 1 + below(m, below(m, 6) ? 4 : 12);

    for (uint64_t i = 0; i < count; i++) {
        add(m, "%s", i ? ", " : "");
        maker_add_value(m, may_be_null);
    }
}

static void add_row_value(struct maker *m, const struct table *t, const char *alias)
{
    static const char *const ops[] = { "=", "<", "<=", ">", ">=", "<>", "IS" };
    const char *first = maker_any_column(m, t), *second = maker_any_column(m, t);
    unsigned what = (unsigned)below(m, 4);

    if (t->key_count > 1 && below(m, 2)) {
        first = t->columns[t->key[0]].name;
        second = t->columns[t->key[1]].name;
    }
    add(m, "(%s.%s, %s.%s) ", alias, first, alias, second);
    if (what < 3) {
        add(m, "%s (", PICK(m, ops));
        maker_add_value(m, true);
        add(m, ", ");
        maker_add_value(m, true);
        add(m, ")");
    } else {
        const struct table *s = maker_any_table(m);

        /* +: SQLite checks a virtual table's row values without the affinity of the subquery. */
        add(m, "IN (SELECT +r.%s, +r.%s FROM %s r)", maker_any_column(m, s),
            maker_any_column(m, s), s->path);
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
void maker_add_condition(struct maker *m, const struct table *t, const char *alias, int depth)
{
    static const char *const ops[] = { "=", "=", "=", "IS", "<", "<=", ">", ">=", "<>", "IS NOT",
                                       "IS NOT DISTINCT FROM" };
    const char *name = maker_any_column(m, t);
    unsigned what = (unsigned)below(m, depth > 0 ? 24 : 16);

    if (what < 7) {
        bool is_turned = below(m, 8) == 0;

        if (is_turned) {
            maker_add_value(m, true);
            add(m, " %s %s.%s%s", ops[below(m, 4)], alias, name, m->or_depth ? "" : maker_some_collation(m));
            return;
        }
        add(m, "%s%s.%s %s ", below(m, 20) ? "" : "+", alias, name, PICK(m, ops));
        if (below(m, 12) == 0)
            add(m, "CAST(");
        else
            is_turned = true;
        maker_add_value(m, true);
        if (!is_turned)
            add(m, " AS TEXT)");        /* of what equals a REAL which is first is not said */
        /* a = 'x' COLLATE BINARY OR a = 'y' becomes an IN of the index, with the index's collation: the
           ordinary table gives rows that it does not give without its index. */
        add(m, "%s", m->or_depth ? "" : maker_some_collation(m));
    } else if (what < 9) {
        add(m, "%s.%s %sBETWEEN ", alias, name, below(m, 6) ? "" : "NOT ");
        maker_add_value(m, below(m, 9) == 0);
        add(m, " AND ");
        maker_add_value(m, below(m, 9) == 0);
    } else if (what < 11) {
        add(m, "%s.%s%s %sIN (", alias, name, maker_some_collation(m), below(m, 6) ? "" : "NOT ");
        add_in_list(m, true);
        add(m, ")");
    } else if (what < 13) {
        add_match(m, alias, name);
    } else if (what == 13) {
        add(m, "%s.%s IS %sNULL", alias, name, below(m, 2) ? "NOT " : "");
    } else if (what == 14) {
        add_row_value(m, t, alias);
    } else if (what == 15) {
        add(m, "%s.%s %s %s.%s", alias, name, ops[below(m, 9)], alias, maker_any_column(m, t));
    } else if (what < 22) {
        m->or_depth += what >= 19;
        add(m, "(");
        maker_add_condition(m, t, alias, depth - 1);
        add(m, what < 19 ? " AND " : " OR ");
        maker_add_condition(m, t, alias, depth - 1);
        add(m, ")");
        m->or_depth -= what >= 19;
    } else if (what == 22) {
        const struct table *s = maker_any_table(m);

        add(m, "%s.%s %sIN (", alias, name, below(m, 3) ? "" : "NOT ");
        add_subquery_values(m, s, "q");
        add(m, ")");
    } else {
        const struct table *s = maker_any_table(m);

        add(m, "%sEXISTS (SELECT 1 FROM %s e WHERE e.%s = %s.%s", below(m, 3) ? "" : "NOT ", s->path,
            maker_any_column(m, s), alias, name);
        if (below(m, 2)) {
            add(m, " AND ");
            maker_add_condition(m, s, "e", 0);
        }
        add(m, ")");
    }
}

void maker_add_columns(struct maker *m, const struct table *t, const char *alias)
{
    for (int i = 0; i < t->column_count; i++)
        add(m, "%s%s.%s", i ? ", " : "", alias, t->columns[i].name);
}

/* By all of the key: one order. */
void maker_add_order(struct maker *m, const struct table *t, const char *alias)
{
    unsigned how = (unsigned)below(m, 4);

    for (int i = 0; i < t->key_count; i++) {
        bool desc = how == 0 ? false : how == 1 ? t->desc[i] : how == 2 ? !t->desc[i] : below(m, 2);

        add(m, "%s%s.%s%s", i ? ", " : "", alias, t->columns[t->key[i]].name, desc ? " DESC" : "");
    }
}

const char *maker_some_conflict(struct maker *m)
{
    static const char *const conflicts[] = { "", "", "", " OR REPLACE", " OR REPLACE", " OR IGNORE",
                                             " OR FAIL", " OR ABORT", " OR ROLLBACK" };

    return PICK(m, conflicts);
}
