/* vtab_t.h -- for tests through SQL: a database with an lsm table t and an ordinary one, p, beside it. */
#ifndef TESTS_UNIT_VTAB_T_H
#define TESTS_UNIT_VTAB_T_H

#include "tests/unit/sql.h"

static inline sqlite3 *open_db(const char *name)
{
    char path[200];
    sqlite3 *db = NULL;

    snprintf(path, sizeof(path), "%s/%s", test_dir(), name);
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_lsmvtab_init(db, NULL, NULL) == SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static inline int64_t stat_value(sqlite3 *db, const char *name)
{
    char sql[200];

    snprintf(sql, sizeof(sql), "SELECT value FROM lsm_stats('t') WHERE name = '%s'", name);
    return sql_value(db, sql);
}

#define CREATE_T "CREATE VIRTUAL TABLE t USING lsm(a INTEGER PRIMARY KEY, b)"

static inline sqlite3 *open_with_t(const char *journal)
{
    sqlite3 *db = open_db("test.db");
    char sql[100];

    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", journal);
    SQL(db, sql);
    SQL(db, CREATE_T);
    SQL(db, "CREATE TABLE p(a INTEGER PRIMARY KEY, b)");
    return db;
}

static inline void close_db(sqlite3 *db)
{
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

#endif
