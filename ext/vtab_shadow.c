/*
 * vtab_shadow.c -- what lsmvtab keeps in the database itself.
 *
 *     lsmvtab_store(id, data)     one row: which store this is, and the token that
 *                                 decides its joint transactions
 *     lsmvtab_redo(slot, data)    records that the token's transaction carries (vtab_redo.c)
 *     "<table>_lsm"(id, uuid, format, declaration)     one row: which tree the table is
 *
 *     data := magic[8]  compat:u16 ro_compat:u16 incompat:u16 zero:u16
 *             uuid[16]  txid:u64  hash[16]  sum:u64              little-endian, 64 bytes
 *     sum   = XXH3-64 of the 56 bytes before it
 *
 * All of it is input: a hostile file may hold anything under these names. A
 * trigger on the store's table would run inside our commit, a view would swallow
 * the token; so the objects are compared with the very SQL that makes them before
 * they are used, and the token goes through sqlite3_blob_write, which runs no
 * trigger and opens no view.
 */
#include <stdarg.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ext/vtab.h"

#define DATA_SIZE 64
#define FORMAT_VERSION 1

static const uint8_t data_magic[8] = { 'L', 'S', 'M', 'T', 'O', 'K', '\r', '\n' };

#define STORE_SQL "CREATE TABLE lsmvtab_store(id INTEGER PRIMARY KEY CHECK(id = 1), data BLOB)"
#define REDO_SQL "CREATE TABLE lsmvtab_redo(slot INTEGER PRIMARY KEY, data BLOB)"
#define TABLE_COLUMNS \
    "(id INTEGER PRIMARY KEY CHECK(id = 1), uuid BLOB, format INTEGER, declaration TEXT)"

/* ---- SQL ------------------------------------------------------------------- */

int lsm_vtab_sql_run(sqlite3 *db, char **error, const char *format, ...)
{
    va_list args;
    char *sql;
    int rc;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sql == NULL)
        return SQLITE_NOMEM;
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc == SQLITE_OK ? rc : lsm_vtab_error_sqlite(error, db, "shadow table");
}

static int prepare(sqlite3 *db, sqlite3_stmt **stmt, unsigned flags, const char *format, va_list args)
{
    char *sql = sqlite3_vmprintf(format, args);
    int rc;

    if (sql == NULL)
        return SQLITE_NOMEM;
    rc = sqlite3_prepare_v3(db, sql, -1, flags, stmt, NULL);
    sqlite3_free(sql);
    return rc;
}

int lsm_vtab_sql_prepare(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = prepare(db, stmt, SQLITE_PREPARE_NO_VTAB, format, args);
    va_end(args);
    return rc;
}

static void forget_stmt(void *slot)
{
    *(sqlite3_stmt **)slot = NULL;
}

int lsm_vtab_sql_keep(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = prepare(db, stmt, SQLITE_PREPARE_PERSISTENT, format, args);
    va_end(args);
    if (rc == SQLITE_OK && *stmt)
        rc = sqlite3_bind_pointer(*stmt, 1, stmt, "lsmvtab", forget_stmt);
    return rc;
}

int lsm_vtab_sql_pragma(sqlite3 *db, sqlite3_stmt **stmt, const char *format, ...)
{
    va_list args;
    int rc;

    *stmt = NULL;
    va_start(args, format);
    rc = prepare(db, stmt, SQLITE_PREPARE_NO_VTAB, format, args);
    va_end(args);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(*stmt);
    if (rc == SQLITE_ROW)
        return SQLITE_OK;
    sqlite3_finalize(*stmt);
    *stmt = NULL;
    return rc;
}

void lsm_vtab_uuid_text(const uint8_t uuid[LSM_VTAB_UUID_SIZE], char text[33])
{
    static const char digits[] = "0123456789abcdef";
    int i;

    for (i = 0; i < LSM_VTAB_UUID_SIZE; i++) {
        text[2 * i] = digits[uuid[i] >> 4];
        text[2 * i + 1] = digits[uuid[i] & 15];
    }
    text[32] = '\0';
}

/* ---- the objects ----------------------------------------------------------- */

#define WAY_OUT "(SELECT lsm_accept() tells the ways out)"

static int tampered(struct lsm_vtab_ctx *ctx, const char *name, char **error)
{
    bool is_store = sqlite3_strnicmp(name, "lsmvtab_", 8) == 0;

    return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                              "shadow table tampered with: %s.%s is not what lsmvtab made, or has a trigger or "
                              "an index %s", ctx->schema, name,
                              is_store ? WAY_OUT : "(bring the database file back from a copy)");
}

/* The objects of a name, by check_object(). */
static int prepare_check(struct lsm_vtab_ctx *ctx, sqlite3_stmt **stmt)
{
    return lsm_vtab_sql_prepare(ctx->conn->db, stmt,
                                "SELECT type = 'table' AND sql = ?2 FROM \"%w\".sqlite_master "
                                "WHERE tbl_name = ?1 COLLATE NOCASE OR name = ?1 COLLATE NOCASE",
                                ctx->schema);
}

/*
 * Is there exactly one object of this table, the table itself, with this SQL?
 * *found false: there is none at all.
 */
static int check_object(struct lsm_vtab_ctx *ctx, sqlite3_stmt *stmt, const char *name, const char *sql,
                        bool *found, char **error)
{
    bool is_good = true;
    int count = 0;
    int rc;

    *found = false;
    rc = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 2, sql, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        count++;
        is_good = is_good && sqlite3_column_int(stmt, 0) == 1;
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE) {
        rc = lsm_vtab_error_sqlite(error, ctx->conn->db, "reading the schema");
        sqlite3_reset(stmt);
        return rc;
    }
    sqlite3_reset(stmt);
    if (count == 0)
        return SQLITE_OK;
    *found = true;
    return count == 1 && is_good ? SQLITE_OK : tampered(ctx, name, error);
}

static int check_one(struct lsm_vtab_ctx *ctx, const char *name, const char *sql, bool *found, char **error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = prepare_check(ctx, &stmt);

    *found = false;
    rc = rc == SQLITE_OK ? check_object(ctx, stmt, name, sql, found, error)
                         : lsm_vtab_error_sqlite(error, ctx->conn->db, "reading the schema");
    sqlite3_finalize(stmt);
    return rc;
}

/* Is there a table with rows in a store? */
static int has_tables(struct lsm_vtab_ctx *ctx, bool *found)
{
    sqlite3_stmt *names = NULL;
    int rc = lsm_vtab_sql_prepare(ctx->conn->db, &names,
                                  "SELECT substr(name, 1, length(name) - 4) FROM \"%w\".sqlite_master WHERE type = 'table' "
                                  "AND name LIKE '%%\\_lsm' ESCAPE '\\' AND rootpage > 0", ctx->schema);

    *found = false;
    while (rc == SQLITE_OK && !*found && (rc = sqlite3_step(names)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(names, 0);
        uint8_t uuid[LSM_VTAB_UUID_SIZE];

        rc = name ? lsm_vtab_shadow_read_table(ctx, name, NULL, uuid, NULL) : SQLITE_NOMEM;
        *found = rc == SQLITE_OK;
        if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB || rc == SQLITE_ERROR)
            rc = SQLITE_OK;     /* someone else's table of such a name */
    }
    sqlite3_finalize(names);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int lsm_vtab_shadow_verify(struct lsm_vtab_ctx *ctx, char **error)
{
    bool has_store = false, has_redo = false, is_lost = false;
    sqlite3_stmt *stmt = NULL;
    int rc;

    if (ctx->verified)
        return SQLITE_OK;
    rc = prepare_check(ctx, &stmt);
    if (rc == SQLITE_OK) {
        rc = check_object(ctx, stmt, "lsmvtab_store", STORE_SQL, &has_store, error);
        if (rc == SQLITE_OK)
            rc = check_object(ctx, stmt, "lsmvtab_redo", REDO_SQL, &has_redo, error);
    } else {
        rc = lsm_vtab_error_sqlite(error, ctx->conn->db, "reading the schema");
    }
    sqlite3_finalize(stmt);
    if (rc == SQLITE_OK && has_store != has_redo)
        rc = tampered(ctx, has_store ? "lsmvtab_redo" : "lsmvtab_store", error);
    /* Where a store of its own were made now, nothing would lead back to theirs. */
    if (rc == SQLITE_OK && !has_store) {
        rc = has_tables(ctx, &is_lost);
        if (rc != SQLITE_OK)
            rc = lsm_vtab_error_sqlite(error, ctx->conn->db, "reading the schema");
        else if (is_lost)
            rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "tables lsmvtab_store and lsmvtab_redo are missing in "
                                    "database %s, which has lsm tables " WAY_OUT, ctx->schema);
    }
    if (rc == SQLITE_OK)
        ctx->verified = has_store;
    return rc;
}

/* ---- the token ------------------------------------------------------------- */

static void put_u64(uint8_t *to, uint64_t value)
{
    int i;

    for (i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_u64(const uint8_t *from)
{
    uint64_t value = 0;
    int i;

    for (i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static void data_encode(uint8_t data[DATA_SIZE], const uint8_t uuid[LSM_VTAB_UUID_SIZE],
                        const struct lsm_token *token)
{
    memcpy(data, data_magic, 8);
    memset(data + 8, 0, 8);
    memcpy(data + 16, uuid, LSM_VTAB_UUID_SIZE);
    put_u64(data + 32, token->txid);
    memcpy(data + 40, token->hash, 16);
    put_u64(data + 56, XXH3_64bits(data, 56));
}

static int data_decode(const char *schema, const uint8_t *data, int size,
                       uint8_t uuid[LSM_VTAB_UUID_SIZE], struct lsm_token *token, char **error)
{
    if (size != DATA_SIZE || data == NULL || memcmp(data, data_magic, 8) != 0
        || get_u64(data + 56) != XXH3_64bits(data, 56))
        return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                  "the row of %s.lsmvtab_store is damaged " WAY_OUT, schema);
    if (data[10] || data[11] || data[12] || data[13])
        return lsm_vtab_error_set(error, SQLITE_NOTADB,
                                  "%s.lsmvtab_store was written by a newer lsmvtab: update it",
                                  schema);
    memcpy(uuid, data + 16, LSM_VTAB_UUID_SIZE);
    token->txid = get_u64(data + 32);
    memcpy(token->hash, data + 40, 16);
    return SQLITE_OK;
}

int lsm_vtab_shadow_has_store(struct lsm_vtab_ctx *ctx, bool *found, char **error)
{
    return check_one(ctx, "lsmvtab_store", STORE_SQL, found, error);
}

int lsm_vtab_shadow_read(struct lsm_vtab_ctx *ctx, bool *found, uint8_t uuid[LSM_VTAB_UUID_SIZE],
                         struct lsm_token *token, char **error)
{
    bool has_table = ctx->verified;
    int rc = SQLITE_OK;

    *found = false;
    if (ctx->token_stmt == NULL) {
        if (!has_table)
            rc = lsm_vtab_shadow_has_store(ctx, &has_table, error);
        if (rc != SQLITE_OK || !has_table)
            return rc;
        rc = lsm_vtab_sql_keep(ctx->conn->db, &ctx->token_stmt,
                               "SELECT data FROM \"%w\".lsmvtab_store WHERE id = 1 AND ?1 IS NULL",
                               ctx->schema);
        if (rc != SQLITE_OK) {
            ctx->verified = false;          /* what was seen may have been rolled back */
            return lsm_vtab_error_sqlite(error, ctx->conn->db, "reading lsmvtab_store");
        }
    }
    rc = sqlite3_step(ctx->token_stmt);
    if (rc == SQLITE_ROW) {
        *found = true;
        rc = data_decode(ctx->schema, sqlite3_column_blob(ctx->token_stmt, 0),
                         sqlite3_column_bytes(ctx->token_stmt, 0), uuid, token, error);
    } else if (rc == SQLITE_DONE) {
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "the row of %s.lsmvtab_store is gone " WAY_OUT,
                                ctx->schema);
    } else {
        /* The table may have been made in a transaction that was rolled back. */
        char *text = NULL;

        rc = lsm_vtab_error_sqlite(&text, ctx->conn->db, "reading lsmvtab_store");
        sqlite3_finalize(ctx->token_stmt);
        ctx->token_stmt = NULL;
        ctx->verified = false;
        if ((rc & 0xff) == SQLITE_ERROR
            && lsm_vtab_shadow_has_store(ctx, &has_table, NULL) == SQLITE_OK && !has_table) {
            sqlite3_free(text);
            return SQLITE_OK;
        }
        if (error) {
            sqlite3_free(*error);
            *error = text;
        } else {
            sqlite3_free(text);
        }
        return rc;
    }
    sqlite3_reset(ctx->token_stmt);
    return rc;
}

int lsm_vtab_shadow_read_main(sqlite3 *db, uint8_t uuid[LSM_VTAB_UUID_SIZE], struct lsm_token *token,
                              char **error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = lsm_vtab_sql_prepare(db, &stmt, "SELECT data FROM main.lsmvtab_store WHERE id = 1");

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        rc = data_decode("main", sqlite3_column_blob(stmt, 0), sqlite3_column_bytes(stmt, 0), uuid,
                         token, error);
    else if (rc == SQLITE_DONE)
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "the row of main.lsmvtab_store is gone " WAY_OUT);
    else
        rc = lsm_vtab_error_sqlite(error, db, "reading lsmvtab_store");
    sqlite3_finalize(stmt);
    return rc;
}

/* By a connection of its own: ours cannot leave its snapshot. */
int lsm_vtab_shadow_is_old(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, bool *is_old)
{
    const struct lsm_vtab_store *store = ctx->store;
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_token newest;
    sqlite3 *db = NULL;
    int rc;

    *is_old = false;
    if (store->in_memory)
        return SQLITE_OK;
    rc = sqlite3_open_v2(store->db_path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE, store->vfs);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_read_main(db, uuid, &newest, NULL);
    if (rc == SQLITE_OK)
        *is_old = memcmp(token, &newest, sizeof newest) != 0;
    sqlite3_close(db);
    return (rc & 0xff) == SQLITE_BUSY ? SQLITE_BUSY : SQLITE_OK;
}

static int write_data(struct lsm_vtab_ctx *ctx, const uint8_t data[DATA_SIZE], char **error)
{
    sqlite3 *db = ctx->conn->db;
    uint8_t back[DATA_SIZE];
    sqlite3_blob *blob = NULL;
    int close_rc;
    int rc = sqlite3_blob_open(db, ctx->schema, "lsmvtab_store", "data", 1, 1, &blob);

    if (rc != SQLITE_OK) {
        rc = lsm_vtab_error_sqlite(error, db, "writing the token");
        sqlite3_blob_close(blob);
        return rc;
    }
    rc = sqlite3_blob_bytes(blob) == DATA_SIZE ? SQLITE_OK : SQLITE_CORRUPT_VTAB;
    if (rc == SQLITE_OK)
        rc = sqlite3_blob_write(blob, data, DATA_SIZE, 0);
    if (rc == SQLITE_OK)
        rc = sqlite3_blob_read(blob, back, DATA_SIZE, 0);
    close_rc = sqlite3_blob_close(blob);
    if (rc == SQLITE_OK)
        rc = close_rc;
    if (rc == SQLITE_OK && memcmp(data, back, DATA_SIZE) != 0)
        rc = SQLITE_CORRUPT_VTAB;
    if (rc != SQLITE_OK)
        return lsm_vtab_error_set(error, rc, "writing the token to %s.lsmvtab_store: %s",
                                  ctx->schema, sqlite3_errstr(rc));
    return SQLITE_OK;
}

/* The blob interface leaves changes() and last_insert_rowid() alone. */
int lsm_vtab_shadow_write_token(struct lsm_vtab_ctx *ctx, const struct lsm_token *token,
                                char **error)
{
    uint8_t data[DATA_SIZE];
    int tries = 0, rc;

    data_encode(data, ctx->store->uuid, token);
    while ((rc = write_data(ctx, data, error)) == SQLITE_ABORT && tries++ < LSM_VTAB_BLOB_TRIES) {
        sqlite3_free(*error);
        *error = NULL;
    }
    return rc;
}

/* Insert one row of a shadow table; last_insert_rowid() is the user's. */
static int insert_row(sqlite3 *db, sqlite3_stmt *stmt, char **error)
{
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(db);
    int rc;

    sqlite3_step(stmt);
    rc = sqlite3_finalize(stmt);
    sqlite3_set_last_insert_rowid(db, rowid);
    return rc == SQLITE_OK ? rc : lsm_vtab_error_sqlite(error, db, "shadow table");
}

/* `sql` without its CREATE TABLE: what follows it is what SQLite keeps. */
static const char *sql_body(const char *sql)
{
    return sql + sizeof("CREATE TABLE ") - 1;
}

static int make_store(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error)
{
    sqlite3 *db = ctx->conn->db;
    uint8_t data[DATA_SIZE];
    sqlite3_stmt *stmt = NULL;
    int rc;

    rc = lsm_vtab_sql_run(db, error, "CREATE TABLE IF NOT EXISTS \"%w\".%s; "
                          "CREATE TABLE IF NOT EXISTS \"%w\".%s", ctx->schema, sql_body(STORE_SQL),
                          ctx->schema, sql_body(REDO_SQL));
    if (rc != SQLITE_OK)
        return rc;
    rc = lsm_vtab_sql_prepare(db, &stmt, "INSERT OR REPLACE INTO \"%w\".lsmvtab_store VALUES(1, ?)",
                              ctx->schema);
    if (rc != SQLITE_OK)
        return lsm_vtab_error_sqlite(error, db, "shadow table");
    data_encode(data, ctx->store->uuid, token);
    sqlite3_bind_blob(stmt, 1, data, DATA_SIZE, SQLITE_STATIC);
    return insert_row(db, stmt, error);
}

int lsm_vtab_shadow_create_store(struct lsm_vtab_ctx *ctx, char **error)
{
    struct lsm_token zero = { 0, { 0 } };

    return make_store(ctx, &zero, error);
}

#define OURS "COLLATE NOCASE IN ('lsmvtab_store', 'lsmvtab_redo')"

int lsm_vtab_shadow_mend_store(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error)
{
    sqlite3 *db = ctx->conn->db;
    sqlite3_str *drops = sqlite3_str_new(db);
    sqlite3_stmt *stmt = NULL;
    char *sql;
    int rc;

    /* What hangs on a table goes before it: its type comes first in the alphabet, or goes with it. */
    rc = lsm_vtab_sql_prepare(db, &stmt, "SELECT type, name FROM \"%w\".sqlite_master "
                              "WHERE (name " OURS " OR tbl_name " OURS ") AND sql NOT IN (%Q, %Q) "
                              "ORDER BY type = 'table', type", ctx->schema, STORE_SQL, REDO_SQL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_str_appendf(drops, "DROP %s IF EXISTS \"%w\".\"%w\";", sqlite3_column_text(stmt, 0),
                            ctx->schema, sqlite3_column_text(stmt, 1));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    sql = sqlite3_str_finish(drops);
    if (rc == SQLITE_DONE)
        rc = sql ? lsm_vtab_sql_run(db, error, "%s", sql) : SQLITE_OK;
    else
        rc = lsm_vtab_error_sqlite(error, db, "reading the schema");
    sqlite3_free(sql);
    if (rc == SQLITE_OK)
        rc = make_store(ctx, token, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_sql_run(db, error, "DELETE FROM \"%w\".lsmvtab_redo", ctx->schema);
    return rc;
}

/* ---- tables ---------------------------------------------------------------- */

int lsm_vtab_shadow_create_table(struct lsm_vtab_ctx *ctx, const char *table,
                                 const uint8_t uuid[LSM_VTAB_UUID_SIZE], const char *canonical,
                                 char **error)
{
    sqlite3 *db = ctx->conn->db;
    sqlite3_stmt *stmt = NULL;
    int rc;

    rc = lsm_vtab_sql_run(db, error, "CREATE TABLE \"%w\".\"%w_lsm\"" TABLE_COLUMNS, ctx->schema,
                          table);
    if (rc != SQLITE_OK)
        return rc;
    rc = lsm_vtab_sql_prepare(db, &stmt, "INSERT INTO \"%w\".\"%w_lsm\" VALUES(1, ?, %d, ?)",
                              ctx->schema, table, FORMAT_VERSION);
    if (rc != SQLITE_OK)
        return lsm_vtab_error_sqlite(error, db, "shadow table");
    sqlite3_bind_blob(stmt, 1, uuid, LSM_VTAB_UUID_SIZE, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, canonical, -1, SQLITE_STATIC);
    return insert_row(db, stmt, error);
}

int lsm_vtab_shadow_read_table(struct lsm_vtab_ctx *ctx, const char *table, const char *canonical,
                               uint8_t uuid[LSM_VTAB_UUID_SIZE], char **error)
{
    sqlite3 *db = ctx->conn->db;
    char *name = sqlite3_mprintf("%s_lsm", table);
    char *sql = sqlite3_mprintf("CREATE TABLE \"%w_lsm\"" TABLE_COLUMNS, table);
    sqlite3_stmt *stmt = NULL;
    bool found = false;
    int rc;

    rc = name && sql ? check_one(ctx, name, sql, &found, error) : SQLITE_NOMEM;
    sqlite3_free(name);
    sqlite3_free(sql);
    if (rc == SQLITE_OK && !found)
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "shadow table %s.%s_lsm is missing (bring the database "
                                "file back from a copy)", ctx->schema, table);
    if (rc != SQLITE_OK)
        return rc;
    rc = lsm_vtab_sql_prepare(db, &stmt,
                              "SELECT uuid, format, declaration FROM \"%w\".\"%w_lsm\" "
                              "WHERE id = 1", ctx->schema, table);
    if (rc != SQLITE_OK)
        return lsm_vtab_error_sqlite(error, db, "reading the shadow table");
    rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        rc = rc == SQLITE_DONE
                 ? lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "the row of %s.%s_lsm is gone (bring the database "
                                      "file back from a copy)", ctx->schema, table)
                 : lsm_vtab_error_sqlite(error, db, "reading the shadow table");
    } else if (sqlite3_column_int64(stmt, 1) > FORMAT_VERSION) {
        rc = lsm_vtab_error_set(error, SQLITE_NOTADB,
                                "table %s was written by a newer lsmvtab: update it", table);
    } else if (sqlite3_column_type(stmt, 0) != SQLITE_BLOB
               || sqlite3_column_bytes(stmt, 0) != LSM_VTAB_UUID_SIZE
               || sqlite3_column_type(stmt, 2) != SQLITE_TEXT
               || sqlite3_column_int64(stmt, 1) != FORMAT_VERSION) {
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB, "the row of %s.%s_lsm is damaged (bring the database "
                                "file back from a copy)", ctx->schema, table);
    } else if (canonical && strcmp(canonical, (const char *)sqlite3_column_text(stmt, 2)) != 0) {
        rc = lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                "the declaration of %s is not the one its rows were written with "
                                "(%.400s): bring the database file back from a copy", table, sqlite3_column_text(stmt, 2));
    } else {
        memcpy(uuid, sqlite3_column_blob(stmt, 0), LSM_VTAB_UUID_SIZE);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* The UUIDs of tables live in shadow tables by their own names: all are looked at. */
int lsm_vtab_shadow_has_uuid(struct lsm_vtab_ctx *ctx, const uint8_t uuid[LSM_VTAB_UUID_SIZE],
                             bool *found)
{
    sqlite3 *db = ctx->conn->db;
    sqlite3_stmt *names = NULL;
    int rc;

    *found = false;
    rc = lsm_vtab_sql_prepare(db, &names,
                              "SELECT name FROM \"%w\".sqlite_master WHERE type = 'table' "
                              "AND name LIKE '%%\\_lsm' ESCAPE '\\' AND rootpage > 0", ctx->schema);
    while (rc == SQLITE_OK && !*found) {
        sqlite3_stmt *row = NULL;
        int row_rc;

        rc = sqlite3_step(names);
        if (rc == SQLITE_DONE) {
            rc = SQLITE_OK;
            break;
        }
        if (rc != SQLITE_ROW)
            break;
        rc = lsm_vtab_sql_prepare(db, &row, "SELECT 1 FROM \"%w\".\"%w\" WHERE uuid = ?",
                                  ctx->schema, sqlite3_column_text(names, 0));
        if (rc == SQLITE_ERROR) {       /* someone else's table of such a name */
            rc = SQLITE_OK;
            continue;
        }
        if (rc == SQLITE_OK) {
            sqlite3_bind_blob(row, 1, uuid, LSM_VTAB_UUID_SIZE, SQLITE_STATIC);
            *found = sqlite3_step(row) == SQLITE_ROW;
        }
        row_rc = sqlite3_finalize(row);
        if (rc == SQLITE_OK)
            rc = row_rc;
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_finalize(names);
    else
        sqlite3_finalize(names);
    return rc;
}

int lsm_vtab_shadow_drop_table(struct lsm_vtab_ctx *ctx, const char *table, char **error)
{
    return lsm_vtab_sql_run(ctx->conn->db, error, "DROP TABLE IF EXISTS \"%w\".\"%w_lsm\"",
                            ctx->schema, table);
}

int lsm_vtab_shadow_rename_table(struct lsm_vtab_ctx *ctx, const char *from, const char *to,
                                 char **error)
{
    return lsm_vtab_sql_run(ctx->conn->db, error, "ALTER TABLE \"%w\".\"%w_lsm\" RENAME TO "
                            "\"%w_lsm\"", ctx->schema, from, to);
}
