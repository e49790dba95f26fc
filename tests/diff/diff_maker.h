/*
 * diff_maker.h -- a history while it is being made:
 *
 *     diff_make.c         tables, and what comes when
 *     diff_statement.c    one statement
 *     diff_value.c        what statements are made of: values, conditions, orders
 */
#ifndef TESTS_DIFF_DIFF_MAKER_H
#define TESTS_DIFF_DIFF_MAKER_H

#include <sqlite3.h>
#include <stdarg.h>

#include "tests/diff/diff.h"

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
    int or_depth;               /* conditions of an OR are being made */
    struct diff_step step;      /* being made */
    sqlite3_str *sql;
    const struct table *updated;        /* not to be read: SQLite's one pass sees what it changed */
};

static inline uint64_t below(struct maker *m, uint64_t n)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;      /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

#define PICK(m, list) ((list)[below((m), sizeof(list) / sizeof((list)[0]))])

/* More of the text of the step that is being made. */
static inline __attribute__((format(printf, 2, 3))) void add(struct maker *m, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sqlite3_str_vappendf(m->sql, format, args);
    va_end(args);
}

/* ---- diff_value.c ---- */

void maker_add_value(struct maker *m, bool may_be_null);
const char *maker_any_column(struct maker *m, const struct table *t);
bool maker_is_key(const struct table *t, int column);
struct table *maker_any_lsm(struct maker *m);
struct table *maker_any_table(struct maker *m);
const char *maker_some_collation(struct maker *m);
void maker_add_condition(struct maker *m, const struct table *t, const char *alias, int depth);
void maker_add_columns(struct maker *m, const struct table *t, const char *alias);
void maker_add_order(struct maker *m, const struct table *t, const char *alias);
const char *maker_some_conflict(struct maker *m);

/* ---- diff_statement.c ---- */

void maker_add_names(struct maker *m, const struct table *t, const bool *given);
void maker_insert(struct maker *m, struct table *t);
void maker_insert_select(struct maker *m, struct table *t);
void maker_update_values(struct maker *m, struct table *t);
void maker_update_key(struct maker *m, struct table *t);
void maker_delete(struct maker *m, struct table *t);
void maker_select(struct maker *m);

#endif
