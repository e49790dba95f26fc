/*
 * commit_gap.c -- a table that joins a transaction before ours, so its callbacks
 * come before ours: what cm_run_gap does in them happens in the gaps of our commit.
 */
#include <string.h>

#include "tests/sim/commit_parts.h"

static int gap_connect(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                       sqlite3_vtab **vtab, char **error);

struct gap {
    sqlite3_vtab base;
    struct cm *cm;
};

static int gap_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int gap_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab, (void)info;
    return SQLITE_OK;
}

static int gap_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor)
{
    (void)vtab;
    *cursor = sqlite3_malloc(sizeof **cursor);
    if (*cursor)
        memset(*cursor, 0, sizeof **cursor);
    return *cursor ? SQLITE_OK : SQLITE_NOMEM;
}

static int gap_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int gap_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                      sqlite3_value **argv)
{
    (void)cursor, (void)number, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

static int gap_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int gap_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int gap_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)cursor, (void)context, (void)column;
    return SQLITE_OK;
}

static int gap_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}

static int gap_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    (void)vtab, (void)argc, (void)argv, (void)rowid;
    return SQLITE_READONLY;
}

static int gap_begin(sqlite3_vtab *vtab)
{
    (void)vtab;
    return SQLITE_OK;
}

static int gap_sync(sqlite3_vtab *vtab)
{
    cm_run_gap(((struct gap *)vtab)->cm, 1);
    return SQLITE_OK;
}

static int gap_commit(sqlite3_vtab *vtab)
{
    cm_run_gap(((struct gap *)vtab)->cm, 2);
    return SQLITE_OK;
}

static int gap_rollback(sqlite3_vtab *vtab)
{
    cm_run_gap(((struct gap *)vtab)->cm, 3);
    return SQLITE_OK;
}

const sqlite3_module cm_gap_module = {
    .iVersion = 1, .xCreate = gap_connect, .xConnect = gap_connect,
    .xBestIndex = gap_best_index, .xDisconnect = gap_disconnect, .xDestroy = gap_disconnect,
    .xOpen = gap_open, .xClose = gap_close, .xFilter = gap_filter, .xNext = gap_next,
    .xEof = gap_eof, .xColumn = gap_column, .xRowid = gap_rowid, .xUpdate = gap_update,
    .xBegin = gap_begin, .xSync = gap_sync, .xCommit = gap_commit, .xRollback = gap_rollback,
};

static int gap_connect(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                       sqlite3_vtab **vtab, char **error)
{
    struct gap *gap = sqlite3_malloc(sizeof *gap);

    (void)argc, (void)argv, (void)error;
    if (!gap)
        return SQLITE_NOMEM;
    memset(gap, 0, sizeof *gap);
    gap->cm = ctx;
    *vtab = &gap->base;
    return sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
}
