/*
 * vtab_txn.c -- one commit for two stores, on SQLite's side (commit.md).
 *
 *     xBegin     read the token under the write lock, begin, look for conflicts
 *     xSync      everything that can fail: the log record, and the token
 *     (SQLite commits)
 *     xCommit    publish; cannot fail, runs no SQL, allocates nothing
 *     xRollback  give up; the same, but for SELECTs that go on (vtab_cursor.c): what they need may fail them
 *
 * The transaction is the context's, shared by all its tables: SQLite calls each
 * object of each table, and may call with several objects of one table. The
 * first call does the work, the others find it done.
 *
 * A transaction is *solo* only as one autocommit statement that is proved to
 * have dirtied no page: no page was touched between xBegin and xSync, and the
 * same single writing statement runs in both. All others are joint, decided by
 * the token that SQLite commits. So is the first one of a process: two copies of one
 * pair that are both written to get tokens of their own then, by which a database
 * beside the other's directory is known.
 *
 * Savepoints. SQLite announces a savepoint to a table that took part when it was
 * opened, and to a table that joins later only the innermost one. Hence:
 *   - a mark that is there is not overwritten (another table announced it);
 *   - going to n takes the smallest position of all marks >= n, and for n < 0 or
 *     none the state at xBegin;
 *   - after a release or a rollback the mark moves down to n - 1 or n, because those
 *     that were never announced were open before xBegin. So the innermost open
 *     savepoint has a mark, whatever the order:
 *         BEGIN; SAVEPOINT a; SAVEPOINT b; INSERT t1; RELEASE b; INSERT t2; ROLLBACK TO a
 *     announces 1 for t1, then 0 for t2, which must not keep t1's row.
 */
#include <string.h>

#include "ext/vtab.h"

static struct lsm_vtab_table *as_table(sqlite3_vtab *vtab)
{
    return (struct lsm_vtab_table *)vtab;
}

static void table_join(struct lsm_vtab_table *table)
{
    if (!table->joined)
        table->ctx->joined_count++;
    table->joined = true;
}

static void table_leave(struct lsm_vtab_table *table)
{
    if (table->joined)
        table->ctx->joined_count--;
    table->joined = false;
}

/* ---- is it solo? -------------------------------------------------------------- */

/* Pages touched by the connection, ever. */
static int64_t page_count(sqlite3 *db)
{
    int hit = 0, miss = 0, high = 0;

    if (sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_HIT, &hit, &high, 0) != SQLITE_OK
        || sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &miss, &high, 0) != SQLITE_OK)
        return -1;
    return (int64_t)hit + miss;
}

static bool may_be_solo(struct lsm_vtab_ctx *ctx)
{
    sqlite3 *db = ctx->conn->db;

    return ctx->autocommit && ctx->writer && !ctx->token_written && ctx->created == NULL
           && ctx->conn->txn_count == 1 && ctx->page_count >= 0 && atomic_load(&ctx->store->has_joint)
           && page_count(db) == ctx->page_count && lsm_vtab_conn_busy(db).writer == ctx->writer
           && lsm_txn_may_be_solo(ctx->txn);
}

/* ---- marks --------------------------------------------------------------------- */

void lsm_vtab_sight_end(struct lsm_vtab_ctx *ctx, struct lsm_vtab_sight *sight)
{
    struct lsm_vtab_sight **link = &ctx->sights;

    if (sight->write == 0)
        return;
    while (*link != sight)
        link = &(*link)->next;
    *link = sight->next;
    sight->write = 0;
}

void lsm_vtab_sight_begin(struct lsm_vtab_ctx *ctx, struct lsm_vtab_sight *sight)
{
    lsm_vtab_sight_end(ctx, sight);
    sight->is_taken_back = false;
    sight->write = ctx->last_write;
    if (sight->write == 0)
        return;
    sight->next = ctx->sights;
    ctx->sights = sight;
}

static struct lsm_vtab_mark mark_now(const struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_mark mark = { 0 };

    if (ctx->txn) {
        mark.position = lsm_txn_mark(ctx->txn);
        mark.write = ctx->last_write;
    }
    return mark;
}

static const struct lsm_vtab_mark mark_begin;   /* where the transaction began */

static void rollback_to(struct lsm_vtab_ctx *ctx, struct lsm_vtab_mark mark)
{
    ctx->prepared = LSM_VTAB_PREPARED_NOT;
    lsm_vtab_cursor_take_back(ctx, mark.write);
    if (ctx->txn)
        lsm_txn_rollback_to(ctx->txn, mark.position > ctx->begin_mark ? mark.position : ctx->begin_mark);
    lsm_vtab_cursor_put_right(ctx, ctx->txn, mark.write);
}

/* Remove the marks >= savepoint; the one with the smallest position among them, UINT64_MAX if there is none. */
static struct lsm_vtab_mark marks_remove(struct lsm_vtab_ctx *ctx, int savepoint)
{
    struct lsm_vtab_mark lowest = { .position = UINT64_MAX };

    while (ctx->mark_count > 0 && ctx->marks[ctx->mark_count - 1].savepoint >= savepoint) {
        ctx->mark_count--;
        if (ctx->marks[ctx->mark_count].position < lowest.position)
            lowest = ctx->marks[ctx->mark_count];
    }
    return lowest;
}

/* Add a mark above all others, unless it is there. There is always room for one. */
static void marks_add(struct lsm_vtab_ctx *ctx, int savepoint, struct lsm_vtab_mark mark)
{
    if (savepoint < 0
        || (ctx->mark_count > 0 && ctx->marks[ctx->mark_count - 1].savepoint >= savepoint))
        return;
    mark.savepoint = savepoint;
    ctx->marks[ctx->mark_count++] = mark;
}

static int marks_reserve(struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_mark *marks;
    int capacity = ctx->mark_capacity * 2;

    if (ctx->mark_count + 2 <= ctx->mark_capacity)
        return SQLITE_OK;
    marks = sqlite3_realloc64(ctx->marks, sizeof(marks[0]) * (unsigned)capacity);
    if (marks == NULL)
        return SQLITE_NOMEM;
    ctx->marks = marks;
    ctx->mark_capacity = capacity;
    return SQLITE_OK;
}

int lsm_vtab_txn_savepoint(struct lsm_vtab_ctx *ctx, int savepoint)
{
    if (marks_reserve(ctx) != SQLITE_OK)
        return SQLITE_NOMEM;
    marks_add(ctx, savepoint, mark_now(ctx));
    return SQLITE_OK;
}

void lsm_vtab_txn_release(struct lsm_vtab_ctx *ctx, int savepoint)
{
    uint64_t position;

    if (ctx->mark_count == 0 || ctx->marks[ctx->mark_count - 1].savepoint < savepoint)
        return;                 /* another table's call did it */
    marks_add(ctx, savepoint - 1, marks_remove(ctx, savepoint));
    if (ctx->txn) {
        position = ctx->mark_count ? ctx->marks[ctx->mark_count - 1].position : 0;
        lsm_txn_release_mark(ctx->txn, position > ctx->begin_mark ? position : ctx->begin_mark);
    }
}

void lsm_vtab_txn_rollback_to(struct lsm_vtab_ctx *ctx, int savepoint)
{
    struct lsm_vtab_mark mark = marks_remove(ctx, savepoint);

    if (savepoint < 0 || mark.position == UINT64_MAX)
        mark = mark_begin;
    rollback_to(ctx, mark);
    marks_add(ctx, savepoint, mark);
}

int lsm_vtab_txn_xsavepoint(sqlite3_vtab *vtab, int savepoint)
{
    return lsm_vtab_txn_savepoint(as_table(vtab)->ctx, savepoint);
}

int lsm_vtab_txn_xrelease(sqlite3_vtab *vtab, int savepoint)
{
    lsm_vtab_txn_release(as_table(vtab)->ctx, savepoint);
    return SQLITE_OK;
}

int lsm_vtab_txn_xrollbackto(sqlite3_vtab *vtab, int savepoint)
{
    lsm_vtab_txn_rollback_to(as_table(vtab)->ctx, savepoint);
    return SQLITE_OK;
}

/* ---- begin ---------------------------------------------------------------------- */

/* A renamed database file would take a commit of ours happily. */
static int check_moved(struct lsm_vtab_ctx *ctx, char **error)
{
    int moved = 0;

    if (sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_HAS_MOVED, &moved)
            == SQLITE_OK && moved)
        return lsm_vtab_error_set(error, SQLITE_READONLY_DBMOVED,
                                  "database file %s was moved or replaced while open",
                                  ctx->db_path);
    return SQLITE_OK;
}

static bool uuid_parse(struct lsm_slice text, uint8_t uuid[LSM_VTAB_UUID_SIZE])
{
    size_t i;

    if (text.size != 2 * LSM_VTAB_UUID_SIZE)
        return false;
    for (i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        uint8_t digit = c <= '9' ? (uint8_t)(c - '0') : (uint8_t)(c - 'a' + 10);

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        uuid[i / 2] = i % 2 ? (uint8_t)(uuid[i / 2] | digit) : (uint8_t)(digit << 4);
    }
    return true;
}

struct sweep_list {
    uint8_t (*uuids)[LSM_VTAB_UUID_SIZE];
    int count, capacity;
};

static int sweep_collect(void *pointer, struct lsm_slice name)
{
    struct sweep_list *list = pointer;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];

    if (!uuid_parse(name, uuid))
        return 0;       /* not a tree of ours */
    if (list->count == list->capacity) {
        int capacity = list->capacity ? list->capacity * 2 : 16;
        void *uuids = sqlite3_realloc64(list->uuids, (sqlite3_uint64)capacity * sizeof(uuid));

        if (uuids == NULL)
            return LSM_NOMEM;
        list->uuids = uuids;
        list->capacity = capacity;
    }
    memcpy(list->uuids[list->count++], uuid, sizeof(uuid));
    return 0;
}

/*
 * Drop the trees of tables that are no longer in the schema. Under the write
 * lock, in a statement that has changed nothing yet, so the schema is as
 * committed; and only once the DROP cannot be lost to a power cut. While somebody
 * reads an older state, where the table may still be, its rows stay.
 */
static void sweep(struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_store *store = ctx->store;
    uint64_t drop_count = store->drop_count;
    struct sweep_list list = { NULL, 0, 0 };
    bool is_settled = false;
    int rc;
    int i;

    if (lsm_db_has_snapshots(store->db))
        return;
    rc = lsm_tree_list(store->db, sweep_collect, &list);
    for (i = 0; rc == LSM_OK && i < list.count; i++) {
        char name[33];
        struct lsm_slice slice = { (const uint8_t *)name, 32 };
        struct lsm_tree *tree;
        bool found;

        if (lsm_vtab_shadow_has_uuid(ctx, list.uuids[i], &found) != SQLITE_OK) {
            rc = LSM_BUSY;
            break;
        }
        if (found)
            continue;
        if (!is_settled)
            rc = lsm_vtab_settle(store, false);
        is_settled = rc == LSM_OK;
        lsm_vtab_uuid_text(list.uuids[i], name);
        if (rc == LSM_OK && lsm_tree_find(store->db, slice, &tree) == LSM_OK)
            rc = lsm_tree_drop(store->db, tree);
    }
    sqlite3_free(list.uuids);
    if (rc == LSM_OK)
        store->sweep_count = drop_count;
}

/* Wait for the previous writer's callback; it may be on our own thread, so not for ever. */
static int begin_waiting(struct lsm_vtab_ctx *ctx, char **error)
{
    int rc = lsm_txn_begin(ctx->store->db, &ctx->base, &ctx->txn);
    int left_ms = 0;

    if (rc == LSM_STALE) {      /* a power cut may have taken what the database carries */
        int redo_rc = lsm_vtab_redo_supply(ctx, error);

        if (redo_rc != SQLITE_OK)
            return redo_rc;
        rc = lsm_txn_begin(ctx->store->db, &ctx->base, &ctx->txn);
    }
    if (rc == LSM_BUSY) {       /* SQLite compiles a PRAGMA anew each time: ask only when it matters */
        int sql_rc = lsm_vtab_conn_timeout_ms(ctx->conn, &left_ms);

        if (sql_rc != SQLITE_OK)
            return lsm_vtab_error_set(error, sql_rc, "busy_timeout: %s", sqlite3_errstr(sql_rc));
    }
    if (left_ms < 20)
        left_ms = 20;
    for (; rc == LSM_BUSY && left_ms > 0; left_ms--) {
        sqlite3_sleep(1);
        rc = lsm_txn_begin(ctx->store->db, &ctx->base, &ctx->txn);
    }
    if (rc != LSM_OK) {
        ctx->txn = NULL;
        return lsm_vtab_error_engine(error, ctx->store->path, rc);
    }
    return SQLITE_OK;
}

/*
 * A statement of our own that fails for lack of memory, or is interrupted, makes SQLite
 * roll back the whole transaction beneath the callback that ran it. SQLite must be told.
 */
static int check_transaction(const struct lsm_vtab_ctx *ctx, char **error)
{
    if (sqlite3_txn_state(ctx->conn->db, ctx->schema) == SQLITE_TXN_WRITE)
        return SQLITE_OK;
    return lsm_vtab_error_set(error, SQLITE_ABORT_ROLLBACK, "the transaction was rolled back");
}

/* R4: what this connection has in sight is older than what is published. */
static bool is_outdated(const struct lsm_vtab_ctx *ctx)
{
    return ctx->seq_viewed < lsm_db_seq_published(ctx->store->db);
}

static int fail_outdated(char **error)
{
    return lsm_vtab_error_set(error, SQLITE_BUSY_SNAPSHOT, "another connection has written since this "
                              "transaction read: roll back and begin anew");
}

static int ctx_begin(struct lsm_vtab_ctx *ctx, char **error)
{
    sqlite3 *db = ctx->conn->db;
    int rc;

    rc = lsm_vtab_ctx_open(ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_verify(ctx, error);
    if (rc == SQLITE_OK)
        rc = check_moved(ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_pin_token(ctx, &ctx->base, error);
    if (rc == SQLITE_OK)
        rc = begin_waiting(ctx, error);
    if (rc != SQLITE_OK)
        return rc;

    if (is_outdated(ctx)) {
        lsm_txn_abort(ctx->txn);
        ctx->txn = NULL;
        return fail_outdated(error);
    }
    ctx->generation++;
    ctx->conn->txn_count++;
    ctx->begin_mark = lsm_txn_mark(ctx->txn);
    ctx->begin_seq = lsm_db_seq_published(ctx->store->db);
    ctx->prepared = LSM_VTAB_PREPARED_NOT;
    ctx->token_written = false;
    ctx->settled = false;
    ctx->autocommit = sqlite3_get_autocommit(db) && ctx->created == NULL;
    ctx->writer = ctx->autocommit ? lsm_vtab_conn_busy(db).writer : NULL;
    if (ctx->writer && ctx->conn->txn_count == 1 && !atomic_load(&ctx->store->settle_failed)
        && ctx->store->sweep_count != ctx->store->drop_count && lsm_txn_may_be_solo(ctx->txn))
        sweep(ctx);
    ctx->page_count = ctx->autocommit ? page_count(db) : -1;
    if (!ctx->autocommit && ctx->created == NULL)
        rc = lsm_vtab_redo_grow(ctx, error);
    if (rc != SQLITE_OK)
        lsm_vtab_txn_end(ctx, false);   /* no callback will come */
    return rc;
}

int lsm_vtab_txn_begin(struct lsm_vtab_table *table)
{
    struct lsm_vtab_ctx *ctx = table->ctx;
    char **error = &table->base.zErrMsg;
    int rc;

    if (table->tree && ctx->txn) {
        table_join(table);
        return SQLITE_OK;
    }
    /* Before pages are counted: finding the tree reads some. */
    rc = lsm_vtab_table_open(table, error);
    if (rc == SQLITE_OK && ctx->txn == NULL)
        rc = ctx_begin(ctx, error);
    if (rc != SQLITE_OK)
        return rc;
    rc = check_transaction(ctx, error);
    if (rc == SQLITE_OK)
        table_join(table);
    else if (ctx->joined_count == 0)
        lsm_vtab_txn_end(ctx, false);
    return rc;
}

int lsm_vtab_txn_xbegin(sqlite3_vtab *vtab)
{
    struct lsm_vtab_table *table = as_table(vtab);

    if (lsm_vtab_again_is_bereft(table->ctx->conn))
        return lsm_vtab_error_set(&vtab->zErrMsg, SQLITE_ABORT_ROLLBACK, "the transaction was rolled back");
    return lsm_vtab_txn_begin(table);
}

/* ---- sync ----------------------------------------------------------------------- */

/*
 * A table that was made in this transaction and is not in the schema any more was
 * taken back by ROLLBACK TO, for which it got no call. Its rows go. Those of one that
 * was dropped do not: after a BUSY commit ROLLBACK TO may still bring it back. They are
 * committed to a tree that nobody asks for, and swept with it.
 */
static int discard_vanished(struct lsm_vtab_ctx *ctx, bool *has_store, char **error)
{
    struct lsm_vtab_created *created;
    bool found;
    int rc;

    if (ctx->created == NULL)
        return SQLITE_OK;
    rc = lsm_vtab_shadow_has_store(ctx, &found, error);
    if (rc != SQLITE_OK)
        return rc;
    *has_store = found;
    if (!found) {               /* the first lsm tables of this database were */
        rollback_to(ctx, mark_begin);
        ctx->token_written = false;
        return SQLITE_OK;
    }
    for (created = ctx->created; created; created = created->next) {
        if (created->is_dropped || !lsm_txn_has_tree(ctx->txn, created->tree))
            continue;
        rc = lsm_vtab_shadow_has_uuid(ctx, created->uuid, &found);
        if (rc != SQLITE_OK)
            return lsm_vtab_error_set(error, rc, "reading the schema: %s", sqlite3_errstr(rc));
        if (!found)
            lsm_txn_discard_tree(ctx->txn, created->tree);
    }
    return SQLITE_OK;
}

static int read_pragma(struct lsm_vtab_ctx *ctx, sqlite3_stmt **stmt, const char *name,
                       char **error)
{
    int rc = lsm_vtab_sql_pragma(ctx->conn->db, stmt, "PRAGMA \"%w\".%s", ctx->schema, name);

    return rc == SQLITE_OK ? rc : lsm_vtab_error_sqlite(error, ctx->conn->db, name);
}

static int read_synchronous(struct lsm_vtab_ctx *ctx, int *synchronous, char **error)
{
    sqlite3_stmt *stmt;
    int rc;

    if (ctx->db_path[0] == '\0') {
        *synchronous = 0;
        return SQLITE_OK;
    }
    rc = read_pragma(ctx, &stmt, "synchronous", error);
    if (rc == SQLITE_OK)
        *synchronous = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return rc;
}

/*
 * SQLite compiles the PRAGMA anew each time, 3 % of a transaction of 100 rows. Taken for NORMAL a joint
 * commit does all that any other setting asks of it; only that a FULL one is settled is found out later,
 * and OFF may sync where it need not. So some may pass before it is asked again. A solo always asks.
 */
#define NORMAL_COMMITS 64u

static int guess_synchronous(struct lsm_vtab_ctx *ctx, bool is_solo, int *synchronous, char **error)
{
    int rc;

    if (!is_solo && ctx->normal_left) {
        ctx->normal_left--;
        *synchronous = 1;
        return SQLITE_OK;
    }
    rc = read_synchronous(ctx, synchronous, error);
    ctx->normal_left = rc == SQLITE_OK && *synchronous == 1 ? NORMAL_COMMITS : 0;
    return rc;
}

/* Will the commit be on disk when it returns (R8)? DELETE syncs nothing after its unlink
   unless EXTRA, and TRUNCATE only from FULL on. */
static int read_settled(struct lsm_vtab_ctx *ctx, int synchronous, bool *settled, char **error)
{
    sqlite3_stmt *stmt;
    const char *mode;
    int rc;

    *settled = false;
    if (synchronous < 2)
        return SQLITE_OK;
    rc = read_pragma(ctx, &stmt, "journal_mode", error);
    if (rc != SQLITE_OK)
        return rc;
    mode = (const char *)sqlite3_column_text(stmt, 0);
    if (mode)
        *settled = strcmp(mode, "wal") == 0 || strcmp(mode, "persist") == 0
                   || strcmp(mode, "truncate") == 0
                   || (synchronous > 2 && strcmp(mode, "delete") == 0);
    sqlite3_finalize(stmt);
    return SQLITE_OK;
}

static bool has_upkeep(const struct lsm_vtab_ctx *ctx)
{
    return ctx->flush_later || ctx->compact_later != NULL;
}

/* What 'flush' and 'compact' could not do while a joint transaction of a process that died was undecided:
   ours is decided now. Nobody can be told of a failure any more; the worker tries again. */
static void run_upkeep(struct lsm_vtab_ctx *ctx)
{
    if (ctx->compact_later && !lsm_tree_is_dropped(ctx->compact_later))
        (void)lsm_db_compact(ctx->store->db, ctx->compact_later);
    else if (has_upkeep(ctx))
        (void)lsm_db_flush(ctx->store->db);
}

static int prepare_joint(struct lsm_vtab_ctx *ctx, int synchronous, char **error)
{
    struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = synchronous > 0 };
    struct lsm_token token;
    bool is_written;
    int rc = SQLITE_OK;

    if (lsm_vtab_pin_is_in_the_way(ctx))
        return lsm_vtab_error_set(error, SQLITE_LOCKED_SHAREDCACHE, "database table is locked: another connection of the "
                                  "shared cache reads lsm tables; end its SELECT and begin anew");
    /* Solos into the new table rest on the schema's commit: it must be on the chain. */
    if (ctx->created || has_upkeep(ctx))
        how.kind = LSM_PREPARE_JOINT_ALWAYS;
    /* A statement in autocommit has its end still before it, where changes() is set. */
    if (how.sync && ctx->autocommit && ctx->writer && lsm_vtab_conn_busy(ctx->conn->db).writer == ctx->writer)
        rc = lsm_vtab_redo_grow(ctx, error);
    if (rc == SQLITE_OK && how.sync)
        rc = lsm_vtab_redo_room(ctx, &how.redo_room, error);
    if (rc != SQLITE_OK)
        return rc;

    do {
        rc = lsm_txn_prepare(ctx->txn, &how, &token);
        if (rc != LSM_OK)
            return lsm_vtab_error_engine(error, ctx->store->path, rc);
        rc = lsm_vtab_redo_write(ctx, &is_written, error);
        how.redo_room = 0;
    } while (rc == SQLITE_OK && !is_written);
    if (rc != SQLITE_OK)
        return rc;
    if (!ctx->token_written && memcmp(&token, &ctx->base, sizeof(token)) == 0) {
        ctx->prepared = LSM_VTAB_PREPARED_EMPTY;
        return SQLITE_OK;
    }
    ctx->token_cached = false;
    ctx->token_written = true;
    rc = lsm_vtab_shadow_write_token(ctx, &token, error);
    if (rc == SQLITE_OK)
        rc = read_settled(ctx, synchronous, &ctx->settled, error);
    if (rc == SQLITE_OK) {
        ctx->prepared = LSM_VTAB_PREPARED_JOINT;
        ctx->prepared_token = token;
    }
    return rc;
}

static int ctx_prepare(struct lsm_vtab_ctx *ctx, char **error)
{
    bool is_solo = may_be_solo(ctx) && !has_upkeep(ctx);        /* first: what follows touches pages */
    bool has_store = true;
    int synchronous;
    int rc;

    rc = discard_vanished(ctx, &has_store, error);
    if (rc != SQLITE_OK)
        return rc;
    if (!has_store) {
        ctx->prepared = LSM_VTAB_PREPARED_EMPTY;
        return SQLITE_OK;
    }
    if (lsm_txn_is_empty(ctx->txn) && !ctx->token_written && ctx->created == NULL
        && !has_upkeep(ctx)) {
        ctx->prepared = LSM_VTAB_PREPARED_EMPTY;
        return SQLITE_OK;
    }
    rc = guess_synchronous(ctx, is_solo, &synchronous, error);
    if (rc != SQLITE_OK)
        return rc;
    if (is_solo) {
        struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = synchronous >= 2,
                                   .settle = synchronous >= 2 };
        struct lsm_token token;

        rc = lsm_txn_prepare(ctx->txn, &how, &token);
        if (rc == LSM_OK) {
            ctx->prepared = LSM_VTAB_PREPARED_SOLO;
            return SQLITE_OK;
        }
        if (rc != LSM_BUSY)
            return lsm_vtab_error_engine(error, ctx->store->path, rc);
    }
    return prepare_joint(ctx, synchronous, error);
}

/* After a BUSY commit, a ROLLBACK TO before a CREATE takes our token back without a call. */
static int check_token(struct lsm_vtab_ctx *ctx, bool *stands, char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token token;
    bool found;
    int rc = SQLITE_OK;

    *stands = true;
    if (ctx->created == NULL)
        return SQLITE_OK;
    rc = lsm_vtab_shadow_read(ctx, &found, uuid, &token, error);
    *stands = rc == SQLITE_OK && found && memcmp(&token, &ctx->prepared_token, sizeof(token)) == 0;
    return rc;
}

int lsm_vtab_txn_sync(struct lsm_vtab_ctx *ctx, char **error)
{
    bool stands = false;
    int rc = SQLITE_OK;

    if (ctx->txn == NULL || ctx->prepared == LSM_VTAB_PREPARED_SOLO)
        return SQLITE_OK;
    if (ctx->prepared == LSM_VTAB_PREPARED_JOINT)
        rc = check_token(ctx, &stands, error);
    if (rc == SQLITE_OK && !stands)
        rc = ctx_prepare(ctx, error);
    return rc == SQLITE_OK ? check_transaction(ctx, error) : rc;
}

int lsm_vtab_txn_xsync(sqlite3_vtab *vtab)
{
    return lsm_vtab_txn_sync(as_table(vtab)->ctx, &vtab->zErrMsg);
}

/* ---- the end --------------------------------------------------------------------- */

void lsm_vtab_txn_end(struct lsm_vtab_ctx *ctx, bool commit)
{
    struct lsm_txn *txn = ctx->txn;
    bool had_created = ctx->created != NULL;
    bool has_written = commit && (ctx->prepared == LSM_VTAB_PREPARED_SOLO || ctx->prepared == LSM_VTAB_PREPARED_JOINT);

    if (had_created)
        ctx->token_cached = false;      /* perhaps that of a store that is gone again */
    while (ctx->created) {
        struct lsm_vtab_created *next = ctx->created->next;

        sqlite3_free(ctx->created);
        ctx->created = next;
    }
    ctx->mark_count = 0;
    if (ctx->has_stand_in)
        ctx->joined_count--;
    ctx->has_stand_in = false;
    if (txn == NULL)
        return;
    lsm_vtab_cursor_drop_lsm(ctx);
    if (!commit) {
        lsm_vtab_cursor_take_back(ctx, 0);
        lsm_vtab_cursor_put_right(ctx, NULL, 0);
    }
    while (ctx->sights)         /* no rollback concerns them any more */
        lsm_vtab_sight_end(ctx, ctx->sights);
    ctx->last_write = 0;
    lsm_vtab_redo_end(ctx);
    ctx->txn = NULL;
    ctx->writer = NULL;
    ctx->conn->txn_count--;
    ctx->token_cached = ctx->token_cached && !ctx->token_written;
    /* Our own commit moves the version, also when no page was written; what it stands for is the token
       that we wrote, or that the transaction began with. Another's commit moves it again when we next
       read. */
    if (commit && ctx->prepared == LSM_VTAB_PREPARED_JOINT)
        atomic_store(&ctx->store->has_joint, true);
    if (commit && ctx->prepared == LSM_VTAB_PREPARED_JOINT && !had_created) {
        ctx->token = ctx->prepared_token;
        ctx->token_cached = true;
    }
    if (has_written && ctx->token_cached)
        ctx->token_cached = sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_DATA_VERSION,
                                                 &ctx->token_data_version) == SQLITE_OK;
    if (has_written)
        lsm_txn_commit(txn, ctx->settled);
    else
        lsm_txn_abort(txn);
    if (commit && ctx->prepared == LSM_VTAB_PREPARED_JOINT) {
        (void)lsm_db_settle_creation(ctx->store->db);   /* R15; of a failure nobody can be told any more */
        run_upkeep(ctx);
    }
    ctx->flush_later = false;
    ctx->compact_later = NULL;
    ctx->prepared = LSM_VTAB_PREPARED_NOT;
    ctx->token_written = false;

    /* Cursors keep what they have. The connection's view is now its own commit, or where it began: SQLite let go of the
       write lock before it called us, and another writer may have come and gone. After a joint SQLite itself tells of
       it, a solo keeps it waiting. */
    lsm_vtab_pin_end(ctx);
    if (ctx->cursor_count)
        ctx->seq_viewed = has_written ? lsm_db_seq_published(ctx->store->db) : ctx->begin_seq;
}

int lsm_vtab_txn_xcommit(sqlite3_vtab *vtab)
{
    table_leave(as_table(vtab));
    lsm_vtab_txn_end(as_table(vtab)->ctx, true);
    return SQLITE_OK;
}

int lsm_vtab_txn_xrollback(sqlite3_vtab *vtab)
{
    lsm_vtab_again_rolled_back(as_table(vtab)->ctx->conn);
    table_leave(as_table(vtab));
    lsm_vtab_txn_end(as_table(vtab)->ctx, false);
    return SQLITE_OK;
}

/* ---- tables that come and go within a transaction ---------------------------------- */

int lsm_vtab_txn_created(struct lsm_vtab_table *table, char **error)
{
    struct lsm_vtab_created *created = sqlite3_malloc(sizeof(*created));
    int rc;

    if (created == NULL)
        return SQLITE_NOMEM;
    created->is_dropped = false;
    created->tree = table->tree;
    memcpy(created->uuid, table->uuid, sizeof(created->uuid));
    created->next = table->ctx->created;
    table->ctx->created = created;
    rc = table->ctx->txn ? SQLITE_OK : ctx_begin(table->ctx, error);
    if (rc != SQLITE_OK) {
        table->ctx->created = created->next;
        sqlite3_free(created);
        return rc;
    }
    table_join(table);          /* SQLite puts it into the transaction without an xBegin */
    return SQLITE_OK;
}

/*
 * xDestroy runs at once and nothing follows for this table, not even when a savepoint
 * brings it back: a stand-in takes part from here on.
 */
int lsm_vtab_txn_prepare_drop(struct lsm_vtab_table *table, char **error)
{
    struct lsm_vtab_ctx *ctx = table->ctx;

    if (ctx->txn == NULL && ctx->store && is_outdated(ctx))
        return fail_outdated(error);
    if (ctx->txn == NULL
        || (lsm_txn_is_empty(ctx->txn) && !ctx->token_written && ctx->created == NULL))
        return SQLITE_OK;
    if (ctx->created && table->tree == NULL)
        lsm_vtab_table_open(table, NULL);       /* its UUID is in the list, perhaps */
    lsm_vtab_txn_touch(ctx);
    return ctx->has_stand_in ? SQLITE_OK : lsm_vtab_pin_stand_in(ctx, error);
}

/* The last table that took part is gone without a callback: nobody else will end it. */
void lsm_vtab_txn_leave(struct lsm_vtab_table *table)
{
    struct lsm_vtab_ctx *ctx = table->ctx;
    struct lsm_vtab_created **link = &ctx->created;

    while (*link) {
        struct lsm_vtab_created *created = *link;

        if (memcmp(created->uuid, table->uuid, sizeof(table->uuid)) != 0) {
            link = &created->next;
        } else if (ctx->has_stand_in) {
            created->is_dropped = true;
            link = &created->next;
        } else {
            *link = created->next;
            sqlite3_free(created);
        }
    }
    if (table->joined) {
        table_leave(table);
        if (ctx->joined_count == 0)
            lsm_vtab_txn_end(ctx, false);
    }
}
