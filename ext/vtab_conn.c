/*
 * vtab_conn.c -- which store belongs to which schema of which connection.
 *
 * One store for each database file in the process, found by the file's (device,
 * inode): two names of one file are one store. It is opened by the first use,
 * not by connecting, and closed with its last connection. A database in memory
 * has a store in memory of its own.
 *
 * Threads: the registry's list and ref counts are under `registry_mutex`. It is
 * never held across lsm_db_open(), which may take long and, with another process
 * in the store, is tried again and again: `opening` marks a store in that state.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_machine.h"

static struct lsm_vtab_store *registry;

/* Made once for the process and never freed, as the registry itself. */
static sqlite3_mutex *registry_mutex;

static void registry_enter(void)
{
    sqlite3_mutex *boot = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);

    sqlite3_mutex_enter(boot);
    if (registry_mutex == NULL)
        registry_mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
    sqlite3_mutex_leave(boot);
    sqlite3_mutex_enter(registry_mutex);
}

static void registry_leave(void)
{
    sqlite3_mutex_leave(registry_mutex);
}

/* ---- stores --------------------------------------------------------------- */

static void store_free(struct lsm_vtab_store *store)
{
    if (store == NULL)
        return;
    sqlite3_free(store->db_path);
    sqlite3_free(store->path);
    sqlite3_free(store->vfs);
    sqlite3_free(store);
}

static struct lsm_vtab_store *store_new(const char *db_path, const char *vfs, uint64_t dev,
                                        uint64_t ino)
{
    struct lsm_vtab_store *store = sqlite3_malloc(sizeof(*store));

    if (store == NULL)
        return NULL;
    memset(store, 0, sizeof(*store));
    store->ref_count = 1;
    store->drop_count = 1;      /* what an earlier process left to sweep */
    atomic_store(&store->redo_slots, -1);
    store->dev = dev;
    store->ino = ino;
    store->in_memory = db_path[0] == '\0';
    atomic_store(&store->has_joint, store->in_memory);
    store->db_path = sqlite3_mprintf("%s", db_path);
    store->path = store->in_memory ? sqlite3_mprintf(":memory:")
                                   : sqlite3_mprintf("%s-lsm", db_path);
    store->vfs = sqlite3_mprintf("%s", vfs);
    if (store->db_path == NULL || store->path == NULL || store->vfs == NULL) {
        store_free(store);
        return NULL;
    }
    return store;
}

static void registry_remove(struct lsm_vtab_store *store)
{
    struct lsm_vtab_store **link;

    for (link = &registry; *link; link = &(*link)->next) {
        if (*link == store) {
            *link = store->next;
            return;
        }
    }
}

static void store_unref(struct lsm_vtab_store *store)
{
    bool is_last;

    if (store == NULL)
        return;
    registry_enter();
    is_last = --store->ref_count == 0;
    if (is_last) {
        store->opening = true;  /* whoever comes now waits until the lock is free again */
        store->ref_count = 1;
    }
    registry_leave();
    if (!is_last)
        return;

    if (store->db)
        lsm_db_close(store->db);
    registry_enter();
    store->db = NULL;
    store->opening = false;
    is_last = --store->ref_count == 0;
    if (is_last)
        registry_remove(store);
    registry_leave();
    if (is_last)
        store_free(store);
}

/*
 * The registry's entry for a database file, with one reference for the caller.
 * If its db is NULL, the caller has the duty to open it (`opening` is set) and
 * then to call registry_opened().
 */
static int registry_get(const char *db_path, const char *vfs, uint64_t dev, uint64_t ino,
                        struct lsm_vtab_store **store)
{
    struct lsm_vtab_store *s;

    for (;;) {
        registry_enter();
        for (s = registry; s; s = s->next) {
            if (s->dev == dev && s->ino == ino)
                break;
        }
        if (s == NULL || !s->opening)
            break;
        registry_leave();
        sqlite3_sleep(1);
    }
    if (s) {
        s->ref_count++;
    } else {
        s = store_new(db_path, vfs, dev, ino);
        if (s) {
            s->next = registry;
            registry = s;
        }
    }
    if (s && s->db == NULL)
        s->opening = true;
    registry_leave();
    *store = s;
    return s ? SQLITE_OK : SQLITE_NOMEM;
}

static void registry_opened(struct lsm_vtab_store *store, struct lsm_db *db)
{
    registry_enter();
    if (db)
        lsm_db_uuid(db, store->uuid);   /* first: whoever waited compares it as soon as it is let go on */
    store->db = db;
    store->opening = false;
    registry_leave();
}

struct lsm_vtab_store *lsm_vtab_store_get(uint64_t dev, uint64_t ino)
{
    struct lsm_vtab_store *s;

    registry_enter();
    for (s = registry; s && (s->dev != dev || s->ino != ino);)
        s = s->next;
    if (s && (s->opening || s->db == NULL))
        s = NULL;
    if (s)
        s->ref_count++;
    registry_leave();
    return s;
}

void lsm_vtab_store_put(struct lsm_vtab_store *store)
{
    store_unref(store);
}

struct lsm_db *lsm_vtab_store_find(const char *db_path)
{
    struct lsm_vtab_store *s;
    struct lsm_db *db;

    registry_enter();
    for (s = registry; s && strcmp(s->db_path, db_path) != 0;)
        s = s->next;
    db = s && !s->opening ? s->db : NULL;
    registry_leave();
    return db;
}

char *lsm_vtab_store_list(void)
{
    struct lsm_vtab_store *s;
    char *list = sqlite3_mprintf("");

    registry_enter();
    for (s = registry; s && list; s = s->next) {
        char uuid[33];
        const char *why = "";
        const char *state = s->db && !s->opening ? lsm_db_state(s->db, &why) : "OPENING";

        lsm_vtab_uuid_text(s->uuid, uuid);
        list = sqlite3_mprintf("%z%s uuid=%s connections=%d state=%s%s%s\n", list, s->path, uuid,
                               s->ref_count, state, why && why[0] ? " " : "", why ? why : "");
    }
    registry_leave();
    return list;
}

/* ---- opening -------------------------------------------------------------- */

/*
 * A nested statement that fails for lack of memory or because of an interrupt has rolled back the
 * whole transaction: its code must not be lost.
 */
int lsm_vtab_conn_timeout_ms(struct lsm_vtab_conn *conn, int *timeout_ms)
{
    sqlite3_stmt *stmt;
    int rc = lsm_vtab_sql_pragma(conn->db, &stmt, "PRAGMA busy_timeout");

    *timeout_ms = rc == SQLITE_OK ? sqlite3_column_int(stmt, 0) : 0;
    if (*timeout_ms < 0)
        *timeout_ms = 0;
    sqlite3_finalize(stmt);
    if (rc == SQLITE_DONE)
        rc = SQLITE_ERROR;
    return rc == SQLITE_AUTH ? SQLITE_OK : rc;
}

int lsm_vtab_conn_is_utf8(struct lsm_vtab_conn *conn, bool *is_utf8)
{
    sqlite3_stmt *stmt = NULL;
    const char *name;
    int rc = SQLITE_OK;

    if (!conn->encoding_known) {
        rc = lsm_vtab_sql_pragma(conn->db, &stmt, "PRAGMA encoding");
        name = rc == SQLITE_OK ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        conn->is_utf8 = name && strcmp(name, "UTF-8") == 0;
        conn->encoding_known = name != NULL;
        if (rc == SQLITE_OK && name == NULL)
            rc = SQLITE_NOMEM;
        if (rc == SQLITE_DONE)
            rc = SQLITE_ERROR;
        sqlite3_finalize(stmt);
    }
    *is_utf8 = conn->is_utf8;
    return rc == SQLITE_AUTH ? SQLITE_OK : rc;
}

/* Open the directory, waiting for another process as busy_timeout says. */
static int open_db(struct lsm_vtab_ctx *ctx, struct lsm_vtab_store *store, const uint8_t *uuid,
                   bool create, int left_ms, struct lsm_db **db)
{
    struct lsm_host host = { .ctx = store, .settle = lsm_vtab_settle, .write_back = lsm_vtab_write_back };
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    struct lsm_options options;
    struct lsm_vtab_file file;
    struct lsm_owner owner;
    bool is_readonly = sqlite3_db_readonly(ctx->conn->db, ctx->schema) == 1;
    int pause_ms = 1;
    int rc;

    lsm_options_init(&options);
    options.create_if_missing = create;
    options.wait_for_token = true;
    options.host = &host;
    options.uuid = uuid;
    options.os = machine->os;
    options.no_worker = machine->no_worker;
    options.memory_bytes = machine->memory_bytes;
    if (!store->in_memory
        && machine->file_info(machine->ctx, store->db_path, &file) == 0) {
        owner = (struct lsm_owner){ file.uid, file.gid };
        options.owner = &owner;
        options.file_mode = file.mode & 0666;
    }

    for (;;) {
        rc = lsm_db_open(store->in_memory ? NULL : store->path, &options, db);
        if (is_readonly && !options.read_only && (rc == LSM_READONLY || rc == LSM_CANTOPEN)) {
            options.read_only = true;
            options.create_if_missing = false;
            continue;
        }
        if (rc != LSM_BUSY || left_ms <= 0)
            return rc;
        if (pause_ms > left_ms)
            pause_ms = left_ms;
        sqlite3_sleep(pause_ms);
        left_ms -= pause_ms;
        if (pause_ms < 50)
            pause_ms *= 2;
    }
}

static int open_error(struct lsm_vtab_ctx *ctx, const char *path, int rc, const uint8_t *uuid,
                      char **error)
{
    char text[33];

    (void)ctx;
    if (rc == LSM_CORRUPT && uuid == NULL)
        return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "%s: %s (no lsm table of this database is in that directory: move it "
                                  "away)", path, lsm_error_text());
    if (rc != LSM_NOTFOUND || uuid == NULL)
        return lsm_vtab_error_engine(error, path, rc);
    lsm_vtab_uuid_text(uuid, text);
    return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                              "store %s not found at %s: the database and this directory belong "
                              "together, copy or move both; nothing was created "
                              "(SELECT lsm_accept() tells the ways out)", text, path);
}

/* A database in memory, or a temporary one. */
static int open_in_memory(struct lsm_vtab_ctx *ctx, const uint8_t *uuid, char **error)
{
    struct lsm_vtab_store *store;
    int rc;

    if (uuid)
        return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                  "the store of this database in memory belongs to another "
                                  "connection or is gone: copies of a database do not have it");
    store = store_new("", "", 0, 0);
    if (store == NULL)
        return SQLITE_NOMEM;
    rc = open_db(ctx, store, NULL, true, 0, &store->db);
    if (rc != LSM_OK) {
        store_free(store);
        return lsm_vtab_error_engine(error, NULL, rc);
    }
    lsm_db_uuid(store->db, store->uuid);
    ctx->store = store;
    return SQLITE_OK;
}

static void ctx_attach(struct lsm_vtab_ctx *ctx, struct lsm_vtab_store *store)
{
    const struct lsm_vtab_ctx *other;

    if (sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_FILE_POINTER, &ctx->cache_file) != SQLITE_OK)
        ctx->cache_file = NULL;
    registry_enter();
    for (other = store->ctxs; other; other = other->store_next)
        if (other->cache_file == ctx->cache_file)
            atomic_store(&store->is_shared, true);
    ctx->store_next = store->ctxs;
    store->ctxs = ctx;
    registry_leave();
    ctx->store = store;
}

static void ctx_detach(struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_store *store = ctx->store;

    if (store == NULL)
        return;
    registry_enter();
    for (struct lsm_vtab_ctx **link = &store->ctxs; *link; link = &(*link)->store_next)
        if (*link == ctx) {
            *link = ctx->store_next;
            break;
        }
    registry_leave();
    ctx->store = NULL;
    store_unref(store);
}

static int open_store(struct lsm_vtab_ctx *ctx, const uint8_t *uuid, bool create, char **error)
{
    struct lsm_vtab_store *store;
    struct lsm_db *db = NULL;
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    sqlite3_vfs *vfs = NULL;
    struct lsm_vtab_file file;
    int timeout_ms;
    int rc;

    if (ctx->db_path[0] == '\0')
        return open_in_memory(ctx, uuid, error);
    rc = lsm_vtab_conn_timeout_ms(ctx->conn, &timeout_ms);
    if (rc != SQLITE_OK)
        return lsm_vtab_error_set(error, rc, "busy_timeout: %s", sqlite3_errstr(rc));
    rc = sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_VFS_POINTER, &vfs);
    /* Its name may be that of a file that it has nothing to do with. */
    if (rc == SQLITE_OK && strcmp(vfs->zName, "memdb") == 0)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "a deserialized database, or one of the VFS memdb, has no place for a "
                                  "store: copy it into a file or into ':memory:'");
    if (rc == SQLITE_OK && machine->file_info(machine->ctx, ctx->db_path, &file) != 0)
        return lsm_vtab_error_set(error, SQLITE_CANTOPEN, "database file %s is gone", ctx->db_path);
    if (rc == SQLITE_OK)
        rc = registry_get(ctx->db_path, vfs->zName, file.dev, file.ino, &store);
    if (rc != SQLITE_OK)
        return rc;
    if (store->db == NULL) {
        rc = open_db(ctx, store, uuid, create, timeout_ms, &db);
        if (rc != LSM_OK)
            rc = open_error(ctx, store->path, rc, uuid, error);
        registry_opened(store, db);
    }
    if (rc == SQLITE_OK && uuid && memcmp(uuid, store->uuid, LSM_VTAB_UUID_SIZE) != 0)
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                "store %s belongs to another database (SELECT lsm_accept() tells the ways out)",
                                store->path);
    if (rc != SQLITE_OK) {
        store_unref(store);
        return rc;
    }
    ctx_attach(ctx, store);
    return SQLITE_OK;
}

int lsm_vtab_ctx_open(struct lsm_vtab_ctx *ctx, char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token token;
    bool found;
    int rc;

    if (ctx->store)
        return SQLITE_OK;
    rc = lsm_vtab_shadow_verify(ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_read(ctx, &found, uuid, &token, error);
    if (rc == SQLITE_OK && !found)
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                "table lsmvtab_store is missing in database %s: without it the "
                                "store cannot be told from another's (SELECT lsm_accept() tells the ways out)", ctx->schema);
    if (rc == SQLITE_OK)
        rc = open_store(ctx, uuid, false, error);
    return rc;
}

int lsm_vtab_ctx_create(struct lsm_vtab_ctx *ctx, char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token token;
    bool found;
    int rc;

    rc = lsm_vtab_shadow_verify(ctx, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_read(ctx, &found, uuid, &token, error);
    if (rc != SQLITE_OK)
        return rc;
    if (found)
        return ctx->store ? SQLITE_OK : open_store(ctx, uuid, false, error);

    if (ctx->store && ctx->store->in_memory && !lsm_db_is_virgin(ctx->store->db) && !ctx->txn
        && !ctx->pin && ctx->cursor_count == 0) {
        ctx_detach(ctx);                /* from the store of a database that was detached */
    }
    if (ctx->store == NULL)
        rc = open_store(ctx, NULL, true, error);
    if (rc == SQLITE_OK && !lsm_db_is_virgin(ctx->store->db)) {
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                "%s holds a store that this database does not know: "
                                "move it away, or bring back the database it belongs to",
                                ctx->store->path);
        ctx_detach(ctx);
    }
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_create_store(ctx, error);
    return rc;
}

/* ---- contexts -------------------------------------------------------------- */

static void ctx_free(struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_ctx **link;

    lsm_vtab_txn_end(ctx, false);
    lsm_vtab_pin_end(ctx);
    sqlite3_finalize(ctx->token_stmt);
    ctx_detach(ctx);
    for (link = &ctx->conn->ctxs; *link; link = &(*link)->next) {
        if (*link == ctx) {
            *link = ctx->next;
            break;
        }
    }
    sqlite3_free(ctx->schema);
    sqlite3_free(ctx->db_path);
    sqlite3_free(ctx->marks);
    sqlite3_free(ctx);
}

struct lsm_vtab_ctx *lsm_vtab_ctx_get(struct lsm_vtab_conn *conn, const char *schema)
{
    const char *path = sqlite3_db_filename(conn->db, schema);
    struct lsm_vtab_ctx *ctx;

    if (path == NULL)
        path = "";
    for (ctx = conn->ctxs; ctx; ctx = ctx->next) {
        if (sqlite3_stricmp(ctx->schema, schema) == 0 && strcmp(ctx->db_path, path) == 0)
            return ctx;
    }
    ctx = sqlite3_malloc(sizeof(*ctx));
    if (ctx == NULL)
        return NULL;
    memset(ctx, 0, sizeof(*ctx));
    ctx->conn = conn;
    ctx->seq_viewed = UINT64_MAX;
    ctx->mark_capacity = 16;
    ctx->marks = sqlite3_malloc64(sizeof(ctx->marks[0]) * (unsigned)ctx->mark_capacity);
    ctx->schema = sqlite3_mprintf("%s", schema);
    ctx->db_path = sqlite3_mprintf("%s", path);
    ctx->next = conn->ctxs;
    conn->ctxs = ctx;
    if (ctx->schema == NULL || ctx->db_path == NULL || ctx->marks == NULL) {
        ctx_free(ctx);
        return NULL;
    }
    return ctx;
}

void lsm_vtab_ctx_ref(struct lsm_vtab_ctx *ctx)
{
    ctx->table_count++;
    ctx->conn->table_count++;
}

/*
 * Prepared statements go with the last table, or sqlite3_close() would find the
 * connection busy. The store stays: SQLite disconnects every table after each
 * change of the schema, and opening a store again is not cheap.
 */
void lsm_vtab_ctx_unref(struct lsm_vtab_ctx *ctx)
{
    struct lsm_vtab_conn *conn = ctx->conn;

    ctx->table_count--;
    conn->table_count--;
    if (ctx->table_count == 0) {
        const char *path = sqlite3_db_filename(conn->db, ctx->schema);

        sqlite3_finalize(ctx->token_stmt);      /* which sets it NULL */
        ctx->verified = false;
        if (ctx->db_path[0] && (path == NULL || strcmp(path, ctx->db_path) != 0))
            ctx_free(ctx);
    }
    lsm_vtab_conn_rest(conn);
}

void lsm_vtab_conn_rest(struct lsm_vtab_conn *conn)
{
    if (conn->table_count == 0)
        sqlite3_finalize(conn->pin_stmt);
}

/* ---- connections ------------------------------------------------------------ */

/* All connections of the process: two of ours on one of SQLite's would be two transactions at once. */
static struct lsm_vtab_conn *all_conns;

static sqlite3_mutex *conns_mutex(void)
{
    return sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP2);
}

bool lsm_vtab_conn_exists(sqlite3 *db)
{
    struct lsm_vtab_conn *conn;

    sqlite3_mutex_enter(conns_mutex());
    for (conn = all_conns; conn && (conn->db != db || !conn->is_registered); conn = conn->next)
        ;
    sqlite3_mutex_leave(conns_mutex());
    return conn != NULL;
}

struct lsm_vtab_conn *lsm_vtab_conn_new(sqlite3 *db)
{
    struct lsm_vtab_conn *conn = sqlite3_malloc(sizeof(*conn));

    if (conn == NULL)
        return NULL;
    memset(conn, 0, sizeof(*conn));
    conn->db = db;
    conn->ref_count = 1;
    sqlite3_mutex_enter(conns_mutex());
    conn->next = all_conns;
    all_conns = conn;
    sqlite3_mutex_leave(conns_mutex());
    return conn;
}

void lsm_vtab_conn_unref(void *pointer)
{
    struct lsm_vtab_conn *conn = pointer;
    struct lsm_vtab_conn **link = &all_conns;

    if (--conn->ref_count > 0)
        return;
    sqlite3_mutex_enter(conns_mutex());
    while (*link != conn)
        link = &(*link)->next;
    *link = conn->next;
    sqlite3_mutex_leave(conns_mutex());
    while (conn->ctxs)
        ctx_free(conn->ctxs);
    sqlite3_finalize(conn->pin_stmt);
    sqlite3_free(conn);
}

struct lsm_vtab_busy lsm_vtab_conn_busy(sqlite3 *db)
{
    struct lsm_vtab_busy busy = { 0, 0, NULL };
    sqlite3_stmt *stmt = NULL;

    while ((stmt = sqlite3_next_stmt(db, stmt)) != NULL) {
        if (!sqlite3_stmt_busy(stmt))
            continue;
        busy.count++;
        if (!sqlite3_stmt_readonly(stmt))
            busy.writer = busy.writer_count++ ? NULL : stmt;
    }
    return busy;
}
