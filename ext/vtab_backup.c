/*
 * vtab_backup.c -- lsm_backup_all('other.db'): a database and its directory,
 * copied as one commit, while other connections write.
 *
 *     writer     BEGIN IMMEDIATE ............... ROLLBACK
 *     reader                BEGIN, token                    backup API ....... COMMIT
 *     store                        lsm_backup_begin         lsm_backup_write
 *                                  ^ one moment for both: nobody can commit here
 *
 * Both are connections of our own: the writer keeps everybody else's commits out for
 * the moment, the reader keeps its snapshot. In WAL mode others then write on; in
 * the rollback modes the reader's lock makes their commits wait until it is done, as
 * any reader's does. A database in memory has no other connection: there the caller's
 * own is the reader.
 *
 * The copy's database is committed last, when its directory is whole and synced. A
 * crash before that leaves an empty database.
 */
#include <errno.h>
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_machine.h"

struct pair {
    struct lsm_vtab_ctx *ctx;
    int left_ms;                        /* to wait for others */
    sqlite3_vfs *vfs;
    char *db_path, *dir_path;           /* of the copy */
    sqlite3 *writer, *reader;           /* ours; reader NULL: a database in memory */
    bool has_store;
    struct lsm_backup *backup;
    struct lsm_backup_info info;
    bool db_made, dir_made;
};

/* ---- names ---- */

static int os_error(char **error, int code, const char *what, const char *path, int number)
{
    return lsm_vtab_error_set(error, code, "%s %s: %s", what, path, strerror(number));
}

/* What is there already is never touched; a stale journal would be played back into the copy. */
static int check_free(const struct pair *p, char **error)
{
    static const char *const suffixes[] = { "", "-lsm", "-journal", "-wal", "-shm" };
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    size_t i;

    for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct lsm_vtab_file file;
        char *path = sqlite3_mprintf("%s%s", p->db_path, suffixes[i]);
        int number = path ? machine->file_info(machine->ctx, path, &file) : ENOMEM;
        int rc = SQLITE_OK;

        if (number == 0)
            rc = lsm_vtab_error_set(error, SQLITE_ERROR, "%s is there already, and nothing is "
                                    "overwritten: give another name", path);
        else if (number != ENOENT)
            rc = os_error(error, SQLITE_CANTOPEN, "cannot look at", path ? path : "", number);
        sqlite3_free(path);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

static int pair_init(struct pair *p, struct lsm_vtab_ctx *ctx, const char *path, char **error)
{
    char *full;
    int rc;

    memset(p, 0, sizeof(*p));
    p->ctx = ctx;
    rc = lsm_vtab_conn_timeout_ms(ctx->conn, &p->left_ms);
    if (rc != SQLITE_OK)
        return lsm_vtab_error_set(error, rc, "busy_timeout: %s", sqlite3_errstr(rc));
    if (ctx->db_path[0])
        sqlite3_file_control(ctx->conn->db, ctx->schema, SQLITE_FCNTL_VFS_POINTER, &p->vfs);
    if (p->vfs == NULL)
        p->vfs = sqlite3_vfs_find(NULL);
    full = sqlite3_malloc(p->vfs->mxPathname + 1);
    if (full == NULL)
        return SQLITE_NOMEM;
    rc = p->vfs->xFullPathname(p->vfs, path, p->vfs->mxPathname + 1, full);
    if ((rc & 0xff) != SQLITE_OK) {     /* through a link: SQLITE_OK_SYMLINK */
        sqlite3_free(full);
        return lsm_vtab_error_set(error, SQLITE_CANTOPEN, "%s cannot be a database's name", path);
    }
    p->db_path = full;
    p->dir_path = sqlite3_mprintf("%s-lsm", full);
    return p->dir_path ? check_free(p, error) : SQLITE_NOMEM;
}

/* ---- one moment ---- */

/* SQLite's own handler sleeps longer and longer: against a writer without a pause it would never get
   its turn. */
static int wait_for_turn(void *pointer, int count)
{
    struct pair *p = pointer;

    (void)count;
    if (p->left_ms <= 0)
        return 0;
    sqlite3_sleep(1);
    p->left_ms--;
    return 1;
}

static int open_source(struct pair *p, sqlite3 **db, const char *begin, char **error)
{
    int rc = sqlite3_open_v2(p->ctx->db_path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE,
                             p->vfs->zName);

    if (rc == SQLITE_OK) {
        sqlite3_busy_handler(*db, wait_for_turn, p);
        rc = sqlite3_exec(*db, begin, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        return rc;
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_READONLY)
        return rc;
    return *db ? lsm_vtab_error_sqlite(error, *db, "opening the database once more") : SQLITE_NOMEM;
}

static void close_source(sqlite3 **db)
{
    if (*db)
        sqlite3_exec(*db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(*db);
    *db = NULL;
}

/* What a power cut took from the log and the reader's snapshot carries. */
static int supply_redo(struct pair *p, char **error)
{
    struct lsm_vtab_conn conn = { .db = p->reader };
    struct lsm_vtab_ctx ctx = { .conn = &conn, .schema = "main", .store = p->ctx->store };
    int rc = lsm_vtab_redo_supply(&ctx, error);

    sqlite3_finalize(ctx.token_stmt);
    return rc;
}

/* A solo's xCommit comes after SQLite gave the write lock away; it may be on our own thread. */
static int begin_store(struct pair *p, const struct lsm_token *token, char **error)
{
    int rc = lsm_backup_begin(p->ctx->store->db, token, &p->backup);

    if (rc == LSM_STALE && p->reader) {
        rc = supply_redo(p, error);
        if (rc != SQLITE_OK)
            return rc;
        rc = lsm_backup_begin(p->ctx->store->db, token, &p->backup);
    }
    while (rc == LSM_BUSY && p->left_ms > 0) {
        p->left_ms -= 100;      /* it has waited about that long */
        rc = lsm_backup_begin(p->ctx->store->db, token, &p->backup);
    }
    return rc == LSM_OK ? SQLITE_OK : lsm_vtab_error_engine(error, p->ctx->store->path, rc);
}

static int take_moment(struct pair *p, char **error)
{
    struct lsm_vtab_ctx *ctx = p->ctx;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token token;
    sqlite3 *source = ctx->conn->db;
    int rc = SQLITE_OK;

    if (ctx->db_path[0]) {
        rc = open_source(p, &p->writer, "BEGIN IMMEDIATE", error);
        if (rc == SQLITE_BUSY || (rc & 0xff) == SQLITE_BUSY)
            return lsm_vtab_error_set(error, SQLITE_BUSY, "another connection writes: try again, or "
                                      "wait longer (PRAGMA busy_timeout); or this one keeps its locks (PRAGMA "
                                      "locking_mode = NORMAL and a SELECT give them back)");
        if ((rc & 0xff) == SQLITE_READONLY)
            rc = SQLITE_OK;             /* nobody can write */
        if (rc == SQLITE_OK)
            rc = open_source(p, &p->reader, "BEGIN; SELECT count(*) FROM sqlite_master", error);
        if ((rc & 0xff) == SQLITE_BUSY)
            return lsm_vtab_error_set(error, SQLITE_BUSY, "another connection commits: try again");
        source = p->reader;
    }
    if (rc == SQLITE_OK && p->has_store) {
        if (p->reader)
            rc = lsm_vtab_shadow_read_main(source, uuid, &token, error);
        else
            rc = lsm_vtab_pin_token(ctx, &token, error);
        if (rc == SQLITE_OK)
            rc = begin_store(p, &token, error);
    }
    close_source(&p->writer);
    return rc;
}

/* ---- the copy ---- */

static int copy_store(struct pair *p, char **error)
{
    int rc = p->backup ? lsm_backup_write(p->backup, p->dir_path, &p->info) : LSM_OK;

    if (rc != LSM_OK)
        return lsm_vtab_error_engine(error, p->ctx->store->path, rc);
    p->dir_made = p->backup != NULL;
    return SQLITE_OK;
}

static int create_file(struct pair *p, char **error)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    struct lsm_vtab_file like = { .mode = 0600 };
    int number;

    if (p->ctx->db_path[0]) {
        number = machine->file_info(machine->ctx, p->ctx->db_path, &like);
        if (number)
            return os_error(error, SQLITE_CANTOPEN, "cannot look at", p->ctx->db_path, number);
        like.mode |= 0600;              /* of a database that its owner may only read, too */
    }
    number = machine->file_create(machine->ctx, p->db_path, &like);
    if (number)
        return os_error(error, SQLITE_CANTOPEN, "cannot make", p->db_path, number);
    p->db_made = true;
    return SQLITE_OK;
}

/* One transaction of the copy: it is an empty database until all of it is there. */
static int copy_database(struct pair *p, char **error)
{
    sqlite3 *source = p->reader ? p->reader : p->ctx->conn->db, *db = NULL;
    sqlite3_backup *copy = NULL;
    int rc = sqlite3_open_v2(p->db_path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE,
                             p->vfs->zName);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA synchronous = EXTRA", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        copy = sqlite3_backup_init(db, "main", source, p->reader ? "main" : p->ctx->schema);
        rc = copy ? SQLITE_OK : sqlite3_errcode(db);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_backup_step(copy, -1);
    if (rc == SQLITE_DONE)
        rc = SQLITE_OK;
    if (copy) {
        int finish_rc = sqlite3_backup_finish(copy);

        if (rc == SQLITE_OK)
            rc = finish_rc;
    }
    if (rc != SQLITE_OK)
        rc = db ? lsm_vtab_error_set(error, rc, "copying the database to %s: %s", p->db_path,
                                     sqlite3_errstr(rc))
                : SQLITE_NOMEM;
    if (sqlite3_close(db) != SQLITE_OK && rc == SQLITE_OK)
        rc = lsm_vtab_error_set(error, SQLITE_IOERR, "closing %s", p->db_path);
    return rc;
}

static void remove_copy(struct pair *p)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    struct lsm_options options;
    char *journal = sqlite3_mprintf("%s-journal", p->db_path);

    lsm_options_init(&options);
    options.os = machine->os;
    if (p->db_made) {
        machine->file_remove(machine->ctx, p->db_path);
        if (journal)
            machine->file_remove(machine->ctx, journal);
    }
    if (p->dir_made)
        lsm_db_destroy(p->dir_path, &options);
    sqlite3_free(journal);
}

static bool is_within(const char *path, const char *dir)
{
    size_t size = strlen(dir);

    return strncmp(path, dir, size) == 0 && path[size] == '/';
}

static int backup_pair(struct pair *p, char **error)
{
    struct lsm_vtab_ctx *ctx = p->ctx;
    int rc;

    if (sqlite3_txn_state(ctx->conn->db, ctx->schema) == SQLITE_TXN_WRITE || ctx->txn)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "this connection is within a transaction that "
                                  "writes: commit or roll back before the backup");
    rc = lsm_vtab_shadow_has_store(ctx, &p->has_store, error);
    if (rc == SQLITE_OK)
        rc = p->has_store ? lsm_vtab_ctx_open(ctx, error) : lsm_vtab_shadow_verify(ctx, error);
    if (rc == SQLITE_OK && p->has_store && is_within(p->db_path, ctx->store->path))
        rc = lsm_vtab_error_set(error, SQLITE_ERROR, "%s is within the directory of the store itself: give another name",
                                p->db_path);
    if (rc == SQLITE_OK)
        rc = take_moment(p, error);
    if (rc == SQLITE_OK)
        rc = create_file(p, error);
    if (rc == SQLITE_OK)
        rc = copy_store(p, error);
    if (rc == SQLITE_OK)
        rc = copy_database(p, error);
    if (rc != SQLITE_OK)
        remove_copy(p);
    close_source(&p->writer);
    close_source(&p->reader);
    lsm_backup_end(p->backup);
    return rc;
}

static char *describe(const struct pair *p)
{
    if (!p->has_store)
        return sqlite3_mprintf("%s (the database has no lsm tables)", p->db_path);
    return sqlite3_mprintf("%s and %s (%lld table files, %lld linked, %lld copied)", p->db_path,
                           p->dir_path, (sqlite3_int64)p->info.tables, (sqlite3_int64)p->info.linked,
                           (sqlite3_int64)p->info.copied);
}

/* lsm_backup_all(path [, schema]) */
static void func_backup_all(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct lsm_vtab_conn *conn = sqlite3_user_data(context);
    const char *path = (const char *)sqlite3_value_text(argv[0]);
    const char *schema = argc > 1 ? (const char *)sqlite3_value_text(argv[1]) : "main";
    struct lsm_vtab_ctx *ctx;
    struct pair pair;
    char *error = NULL, *text;
    int rc;

    if (path == NULL || path[0] == '\0') {
        sqlite3_result_error(context, "lsm: the name of the copy is missing: "
                             "SELECT lsm_backup_all('copy.db')", -1);
        return;
    }
    if (schema == NULL || sqlite3_db_filename(conn->db, schema) == NULL) {
        rc = lsm_vtab_error_set(&error, SQLITE_ERROR, "there is no database '%s' in this connection",
                                schema ? schema : "");
        lsm_vtab_error_answer(context, rc, NULL, error);
        return;
    }
    ctx = lsm_vtab_ctx_get(conn, schema);
    if (ctx == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    lsm_vtab_ctx_ref(ctx);
    rc = pair_init(&pair, ctx, path, &error);
    if (rc == SQLITE_OK)
        rc = backup_pair(&pair, &error);
    text = rc == SQLITE_OK ? describe(&pair) : NULL;
    lsm_vtab_error_answer(context, rc, text, error);
    sqlite3_free(pair.db_path);
    sqlite3_free(pair.dir_path);
    lsm_vtab_ctx_unref(ctx);
}

int lsm_vtab_backup_register(struct lsm_vtab_conn *conn)
{
    int argc, rc = SQLITE_OK;

    for (argc = 1; argc <= 2 && rc == SQLITE_OK; argc++) {
        conn->ref_count++;      /* given back by the destructor, also when this fails */
        rc = sqlite3_create_function_v2(conn->db, "lsm_backup_all", argc,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, conn, func_backup_all, NULL,
                                        NULL, lsm_vtab_conn_unref);
    }
    return rc;
}
