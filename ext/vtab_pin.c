/*
 * vtab_pin.c -- which state of the store a statement sees (commit.md R18, R19).
 *
 * The state is named by the token in the connection's own snapshot of the
 * database. In autocommit it is held while a cursor has rows; between BEGIN and
 * COMMIT the first statement's is kept for all. SQLite tells a reader nothing of
 * the end of its transaction, so a companion, a virtual table in temp, is made to
 * take part in it: its xCommit or xRollback is that end. For the same reason it stands
 * in for a table that is dropped: that one would not hear of the end either.
 *
 *     BEGIN; SELECT (token, pin, companion joins) ... SELECT (same pin) ... COMMIT -> pin ends
 *
 * With query_only the companion cannot be written. Then a pin ends with the last cursor that has rows, as in
 * autocommit: kept for longer it would be kept for ever, and each transaction see what the first one saw.
 * Where the companion is missing for another reason the pin is a guess: it ends when the token changes or a statement
 * comes in autocommit. A writer may have read by it.
 *
 * While the context has a transaction its statements see the state that it began
 * with and its own writes. Its own token in the database is no evidence (R14).
 */
#include <string.h>

#include "ext/vtab.h"

#define COMPANION "lsmvtab_pin"

/* ---- the token -------------------------------------------------------------- */

/* Shared cache with read_uncommitted shows tokens that may be rolled back. */
static int check_uncommitted(struct lsm_vtab_ctx *ctx, char **error)
{
    sqlite3_stmt *stmt;
    bool is_on;
    int rc = lsm_vtab_sql_pragma(ctx->conn->db, &stmt, "PRAGMA read_uncommitted");

    if (rc == SQLITE_DONE)
        return SQLITE_OK;
    if (rc != SQLITE_OK)
        return lsm_vtab_error_sqlite(error, ctx->conn->db, "read_uncommitted");
    is_on = sqlite3_column_int(stmt, 0) != 0;
    sqlite3_finalize(stmt);
    if (is_on)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "read_uncommitted is not supported: "
                                  "run PRAGMA read_uncommitted = 0");
    return SQLITE_OK;
}

int lsm_vtab_pin_token(struct lsm_vtab_ctx *ctx, struct lsm_token *token, char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    uint32_t data_version = 0;
    bool has_version, is_known, found;
    int rc;

    if (ctx->txn) {             /* R14: what stands in the row may be our own, and be rolled back */
        *token = ctx->base;
        return SQLITE_OK;
    }
    has_version = sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_DATA_VERSION,
                                       &data_version) == SQLITE_OK;
    is_known = has_version && ctx->token_cached && ctx->token_data_version == data_version;
    /* What is known is read all the same in a shared cache: only the lock on the row's table, which stays, keeps another
       connection from committing while this one goes on to ordinary tables. */
    ctx->token_read = !is_known || atomic_load(&ctx->store->is_shared);
    if (!ctx->token_read) {
        *token = ctx->token;
        return SQLITE_OK;
    }
    ctx->token_cached = false;
    rc = check_uncommitted(ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_read(ctx, &found, uuid, token, error);
    if (rc != SQLITE_OK)
        return rc;
    if (!found || memcmp(uuid, ctx->store->uuid, LSM_VTAB_UUID_SIZE) != 0)
        return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                  "store %s belongs to another database (SELECT lsm_accept() tells the ways out)",
                                  ctx->store->path);
    ctx->token_cached = has_version;
    ctx->token_data_version = data_version;
    ctx->token = *token;
    return SQLITE_OK;
}

/* ---- the companion ----------------------------------------------------------- */

static int companion_connect(sqlite3 *db, void *conn, int argc, const char *const *argv,
                             sqlite3_vtab **vtab, char **error)
{
    struct lsm_vtab_table *companion;
    int rc;

    (void)argc;
    if (sqlite3_stricmp(argv[1], "temp") != 0)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "%s is for lsmvtab itself", COMPANION);
    rc = sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
    if (rc != SQLITE_OK)
        return rc;
    companion = sqlite3_malloc(sizeof(*companion));
    if (companion == NULL)
        return SQLITE_NOMEM;
    memset(companion, 0, sizeof(*companion));
    ((struct lsm_vtab_conn *)conn)->ref_count++;
    companion->values = conn;           /* the one field that a companion has */
    *vtab = &companion->base;
    return SQLITE_OK;
}

static struct lsm_vtab_conn *companion_conn(sqlite3_vtab *vtab)
{
    return (void *)((struct lsm_vtab_table *)vtab)->values;
}

static int companion_disconnect(sqlite3_vtab *vtab)
{
    lsm_vtab_conn_unref(companion_conn(vtab));
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int companion_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    (void)info;
    return SQLITE_OK;
}

static int companion_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor)
{
    (void)vtab;
    *cursor = sqlite3_malloc(sizeof(**cursor));
    if (*cursor)
        memset(*cursor, 0, sizeof(**cursor));
    return *cursor ? SQLITE_OK : SQLITE_NOMEM;
}

static int companion_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int companion_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                            sqlite3_value **argv)
{
    (void)cursor;
    (void)number;
    (void)text;
    (void)argc;
    (void)argv;
    return SQLITE_OK;
}

static int companion_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int companion_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int companion_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)cursor;
    (void)context;
    (void)column;
    return SQLITE_OK;
}

static int companion_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}

static int companion_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                            sqlite3_int64 *rowid)
{
    (void)vtab;
    (void)argc;
    (void)argv;
    (void)rowid;
    return SQLITE_READONLY;
}

static int companion_begin(sqlite3_vtab *vtab)
{
    companion_conn(vtab)->pin_joined = true;
    return SQLITE_OK;
}

/* It also stands in for tables that were dropped in a transaction which has rows (vtab_txn.c). */
static int companion_sync(sqlite3_vtab *vtab)
{
    struct lsm_vtab_ctx *ctx;
    int rc = SQLITE_OK;

    for (ctx = companion_conn(vtab)->ctxs; ctx && rc == SQLITE_OK; ctx = ctx->next) {
        if (ctx->has_stand_in)
            rc = lsm_vtab_txn_sync(ctx, &vtab->zErrMsg);
    }
    return rc;
}

static void companion_end(sqlite3_vtab *vtab, bool commit)
{
    struct lsm_vtab_conn *conn = companion_conn(vtab);
    struct lsm_vtab_ctx *ctx;

    conn->pin_joined = false;
    for (ctx = conn->ctxs; ctx; ctx = ctx->next) {
        if (ctx->has_stand_in)
            lsm_vtab_txn_end(ctx, commit);
        if (ctx->pin_explicit && ctx->cursor_count == 0)
            lsm_vtab_pin_end(ctx);
        ctx->pin_explicit = false;      /* else it ends with the last cursor */
    }
}

static int companion_commit(sqlite3_vtab *vtab)
{
    companion_end(vtab, true);
    return SQLITE_OK;
}

static int companion_rollback(sqlite3_vtab *vtab)
{
    companion_end(vtab, false);
    return SQLITE_OK;
}

static int companion_savepoint(sqlite3_vtab *vtab, int savepoint)
{
    struct lsm_vtab_ctx *ctx;
    int rc = SQLITE_OK;

    for (ctx = companion_conn(vtab)->ctxs; ctx && rc == SQLITE_OK; ctx = ctx->next) {
        if (ctx->has_stand_in)
            rc = lsm_vtab_txn_savepoint(ctx, savepoint);
    }
    return rc;
}

static int companion_release(sqlite3_vtab *vtab, int savepoint)
{
    struct lsm_vtab_ctx *ctx;

    for (ctx = companion_conn(vtab)->ctxs; ctx; ctx = ctx->next) {
        if (ctx->has_stand_in)
            lsm_vtab_txn_release(ctx, savepoint);
    }
    return SQLITE_OK;
}

static int companion_rollback_to(sqlite3_vtab *vtab, int savepoint)
{
    struct lsm_vtab_ctx *ctx;

    for (ctx = companion_conn(vtab)->ctxs; ctx; ctx = ctx->next) {
        if (ctx->has_stand_in)
            lsm_vtab_txn_rollback_to(ctx, savepoint);
    }
    return SQLITE_OK;
}

static const sqlite3_module companion_module = {
    .iVersion = 2,
    .xCreate = companion_connect,
    .xConnect = companion_connect,
    .xBestIndex = companion_best_index,
    .xDisconnect = companion_disconnect,
    .xDestroy = companion_disconnect,
    .xOpen = companion_open,
    .xClose = companion_close,
    .xFilter = companion_filter,
    .xNext = companion_next,
    .xEof = companion_eof,
    .xColumn = companion_column,
    .xRowid = companion_rowid,
    .xUpdate = companion_update,
    .xBegin = companion_begin,
    .xSync = companion_sync,
    .xCommit = companion_commit,
    .xRollback = companion_rollback,
    .xSavepoint = companion_savepoint,
    .xRelease = companion_release,
    .xRollbackTo = companion_rollback_to,
};

int lsm_vtab_pin_register(struct lsm_vtab_conn *conn)
{
    int rc;

    conn->ref_count++;  /* given back by the destructor, also when this fails */
    rc = sqlite3_create_module_v2(conn->db, COMPANION, &companion_module, conn,
                                  lsm_vtab_conn_unref);
    /* Here, because a change of the schema inside a running statement would abort it. Without the
       companion pins are guesses. */
    if (rc == SQLITE_OK)
        sqlite3_exec(conn->db, "CREATE VIRTUAL TABLE IF NOT EXISTS temp." COMPANION
                     " USING " COMPANION, NULL, NULL, NULL);
    return rc;
}

/*
 * A statement that deletes no row still makes a table take part in the
 * transaction. It sets changes() to 0, as the manual says.
 */
static int companion_step(struct lsm_vtab_conn *conn)
{
    int rc = SQLITE_OK;

    if (conn->pin_stmt == NULL)
        rc = lsm_vtab_sql_keep(conn->db, &conn->pin_stmt,
                               "DELETE FROM temp." COMPANION " WHERE 0 AND ?1");
    if (rc == SQLITE_OK) {
        sqlite3_step(conn->pin_stmt);
        rc = sqlite3_reset(conn->pin_stmt);
    }
    if (rc != SQLITE_OK)
        sqlite3_finalize(conn->pin_stmt);
    return rc;
}

static bool ask_query_only(const struct lsm_vtab_conn *conn)
{
    sqlite3_stmt *stmt;
    bool is_on;

    if (lsm_vtab_sql_pragma(conn->db, &stmt, "PRAGMA query_only") != SQLITE_OK)
        return false;
    is_on = sqlite3_column_int(stmt, 0) != 0;
    sqlite3_finalize(stmt);
    return is_on;
}

/* A failure leaves a guess, or query_only; but one for lack of memory takes SQLite's whole transaction with it. */
static int companion_join(struct lsm_vtab_conn *conn, char **error)
{
    int rc;

    if (conn->pin_joined)
        return SQLITE_OK;
    if (conn->is_query_only) {
        conn->is_query_only = ask_query_only(conn);
        if (conn->is_query_only)
            return SQLITE_OK;
    }
    rc = companion_step(conn);
    if (rc != SQLITE_OK && sqlite3_get_autocommit(conn->db))
        return lsm_vtab_error_set(error, rc, "the transaction was rolled back: %s", sqlite3_errstr(rc));
    conn->is_query_only = !conn->pin_joined && ask_query_only(conn);
    return SQLITE_OK;
}

/* A companion that joined for a pin hears of every savepoint, too; one that joins now of the innermost. */
int lsm_vtab_pin_stand_in(struct lsm_vtab_ctx *ctx, char **error)
{
    struct lsm_vtab_conn *conn = ctx->conn;
    int rc = conn->pin_joined ? SQLITE_OK : companion_step(conn);

    if (rc == SQLITE_OK && conn->pin_joined) {
        ctx->has_stand_in = true;
        ctx->joined_count++;
        return SQLITE_OK;
    }
    if (sqlite3_get_autocommit(conn->db))
        return lsm_vtab_error_set(error, rc, "the transaction was rolled back: %s", sqlite3_errstr(rc));
    return lsm_vtab_error_set(error, SQLITE_LOCKED,
                              "a table cannot be dropped in a transaction that wrote to lsm tables when "
                              "temp." COMPANION " is missing: commit or roll back first");
}

/* ---- pins --------------------------------------------------------------------- */

static void unlocked_begin(struct lsm_vtab_ctx *ctx)
{
    if (!ctx->pin_unlocked)
        atomic_fetch_add(&ctx->store->unlocked, 1);
    ctx->pin_unlocked = true;
}

static void unlocked_end(struct lsm_vtab_ctx *ctx)
{
    if (ctx->pin_unlocked)
        atomic_fetch_sub(&ctx->store->unlocked, 1);
    ctx->pin_unlocked = false;
}

bool lsm_vtab_pin_is_in_the_way(struct lsm_vtab_ctx *ctx)
{
    return atomic_load(&ctx->store->is_shared) && atomic_load(&ctx->store->unlocked) > ctx->pin_unlocked;
}

static void close_pin(struct lsm_vtab_ctx *ctx)
{
    lsm_snapshot_close(ctx->pin);
    ctx->pin = NULL;
    ctx->pin_explicit = false;
    ctx->pin_guessed = false;
    if (ctx->cursor_count == 0)
        ctx->seq_viewed = UINT64_MAX;
}

void lsm_vtab_pin_end(struct lsm_vtab_ctx *ctx)
{
    close_pin(ctx);
    unlocked_end(ctx);
}

void lsm_vtab_pin_cursor_begin(struct lsm_vtab_ctx *ctx)
{
    ctx->cursor_count++;
}

void lsm_vtab_pin_cursor_end(struct lsm_vtab_ctx *ctx)
{
    if (--ctx->cursor_count == 0 && !ctx->pin_explicit)
        lsm_vtab_pin_end(ctx);
}

int lsm_vtab_pin_stale(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error)
{
    bool is_old;
    int rc = lsm_vtab_shadow_is_old(ctx, token, &is_old);

    if (rc == SQLITE_BUSY)
        return lsm_vtab_error_set(error, SQLITE_BUSY, "the store is not at the moment that this transaction sees; whether "
                                  "another has gone on cannot be seen while somebody keeps the database locked: end the "
                                  "transaction and try again");
    /* It waited for the process that had the store, with the view that it had before. */
    if (is_old)
        return lsm_vtab_error_set(error, SQLITE_BUSY_SNAPSHOT,
                                  "the store has gone on since this statement's transaction read: "
                                  "end it and begin anew");
    return lsm_vtab_error_engine(error, ctx->store->path, LSM_STALE);
}

static int pin_open(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error)
{
    uint64_t seq;
    int rc = lsm_snapshot_open_at(ctx->store->db, token, &ctx->pin);

    if (rc == LSM_STALE) {      /* a power cut may have taken what the database carries */
        int redo_rc = lsm_vtab_redo_supply(ctx, error);

        if (redo_rc != SQLITE_OK) {
            ctx->pin = NULL;
            return redo_rc;
        }
        rc = lsm_snapshot_open_at(ctx->store->db, token, &ctx->pin);
    }
    if (rc != LSM_OK)
        ctx->pin = NULL;
    if (rc == LSM_STALE)
        return lsm_vtab_pin_stale(ctx, token, error);
    if (rc != LSM_OK)
        return lsm_vtab_error_engine(error, ctx->store->path, rc);
    ctx->pin_token = *token;
    seq = lsm_snapshot_seq(ctx->pin);
    if (seq < ctx->seq_viewed)
        ctx->seq_viewed = seq;
    return SQLITE_OK;
}

int lsm_vtab_pin_read(struct lsm_vtab_ctx *ctx, struct lsm_read *read, char **error)
{
    bool is_explicit = !sqlite3_get_autocommit(ctx->conn->db);
    struct lsm_token token;
    int rc;

    memset(read, 0, sizeof(*read));
    if (ctx->txn) {
        read->snapshot = ctx->pin;
        read->txn = ctx->txn;
        return SQLITE_OK;
    }
    if (ctx->pin_guessed && !is_explicit)
        lsm_vtab_pin_end(ctx);
    if (ctx->pin && !ctx->pin_guessed && (ctx->pin_explicit || !is_explicit)) {
        read->snapshot = ctx->pin;
        return SQLITE_OK;
    }

    /* Before it is asked whether the cache is shared: whoever shares it from now on sees that somebody reads. */
    unlocked_begin(ctx);
    rc = lsm_vtab_pin_token(ctx, &token, error);
    if (rc == SQLITE_OK && ctx->token_read)
        unlocked_end(ctx);
    if (rc == SQLITE_OK && ctx->pin && memcmp(&token, &ctx->pin_token, sizeof(token)) != 0)
        close_pin(ctx);
    if (rc == SQLITE_OK && ctx->pin == NULL)
        rc = pin_open(ctx, &token, error);
    if (rc != SQLITE_OK) {
        if (ctx->pin == NULL)
            unlocked_end(ctx);
        return rc;
    }
    if (is_explicit && !ctx->pin_explicit) {    /* also one of a SELECT from before BEGIN */
        rc = companion_join(ctx->conn, error);
        if (rc != SQLITE_OK) {
            lsm_vtab_pin_end(ctx);
            return rc;
        }
        ctx->pin_explicit = !ctx->conn->is_query_only;
        ctx->pin_guessed = ctx->pin_explicit && !ctx->conn->pin_joined;
    }
    read->snapshot = ctx->pin;
    return SQLITE_OK;
}
