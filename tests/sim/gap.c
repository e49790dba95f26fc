/* gap.c -- only its callbacks matter; there are no rows. */
#include <string.h>

#include "tests/sim/gap.h"

static int gap_connect(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                       sqlite3_vtab **vtab, char **error);

struct user {
    void (*run)(void *ctx, enum gap_at at);
    void *ctx;
};

struct gap {
    sqlite3_vtab base;
    const struct user *user;
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

static int run(sqlite3_vtab *vtab, enum gap_at at)
{
    const struct user *user = ((struct gap *)vtab)->user;

    user->run(user->ctx, at);
    return SQLITE_OK;
}

static int gap_sync(sqlite3_vtab *vtab)
{
    return run(vtab, GAP_SYNC);
}

static int gap_commit(sqlite3_vtab *vtab)
{
    return run(vtab, GAP_COMMIT);
}

static int gap_rollback(sqlite3_vtab *vtab)
{
    return run(vtab, GAP_ROLLBACK);
}

static const sqlite3_module module = {
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
    gap->user = ctx;
    *vtab = &gap->base;
    return sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
}

int gap_register(sqlite3 *db, void (*run)(void *ctx, enum gap_at at), void *ctx)
{
    struct user *user = sqlite3_malloc(sizeof *user);

    if (!user)
        return SQLITE_NOMEM;
    *user = (struct user){ run, ctx };
    return sqlite3_create_module_v2(db, "gap", &module, user, sqlite3_free);
}
