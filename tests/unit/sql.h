/*
 * sql.h -- for tests of the extension: statements on a connection that must
 * succeed, or fail as said, and integers that they give.
 */
#ifndef TESTS_UNIT_SQL_H
#define TESTS_UNIT_SQL_H

#include <sqlite3.h>

#include "ext/lsmvtab.h"
#include "tests/test.h"

#define SQL(db, sql) SQL_FAILS(db, sql, SQLITE_OK)
#define SQL_FAILS(db, sql, code) sql_check(db, sql, code, __FILE__, __LINE__)

static inline int sql_rc(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static inline bool sql_check(sqlite3 *db, const char *sql, int code, const char *file, int line)
{
    int rc = sql_rc(db, sql);

    return test_check(rc == code, file, line, sql, ": %d, not %d: %s", rc, code,
                      sqlite3_errmsg(db));
}

/* One integer; -1000: an error. */
static inline int64_t sql_value(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1000;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    else
        printf("  %s: %s\n", sql, sqlite3_errmsg(db));
    sqlite3_finalize(stmt);
    return value;
}

#endif
