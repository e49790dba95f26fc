/*
 * vtab_module.c -- the module `lsm`: its method table, and how a table comes and
 * goes.
 *
 * Connecting does no I/O and makes nothing: SQLite connects for PRAGMA table_list,
 * in databases that someone else made. The store is opened and the shadow tables
 * are read by the first use; so a table whose store is missing can be dropped,
 * and the other tables of the database are not touched by it.
 *
 * A table is the UUID in its shadow row, never a name: xRename only renames the
 * shadow table. xDestroy runs inside a transaction that may be rolled back without
 * a word to us, so it only drops the shadow table; the tree is swept later, and
 * rows of the transaction go with it or come back with it (vtab_txn.c).
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_option.h"

static void table_free(struct lsm_vtab_table *table)
{
    if (table == NULL)
        return;
    lsm_vtab_cursor_free_spare(table);
    lsm_vtab_row_clear(&table->old_row);
    lsm_vtab_schema_free(table->schema);
    lsm_vtab_buf_clear(&table->key);
    lsm_vtab_buf_clear(&table->old_key);
    lsm_vtab_buf_clear(&table->row);
    sqlite3_free(table->values);
    sqlite3_free(table->default_text);
    sqlite3_free(table->base.zErrMsg);
    sqlite3_free(table->name);
    sqlite3_free(table);
}

static int declare(sqlite3 *db, const struct lsm_vtab_schema *schema, char **error)
{
    char *declaration = lsm_vtab_schema_declaration(schema);
    int rc;

    if (declaration == NULL)
        return SQLITE_NOMEM;
    rc = sqlite3_declare_vtab(db, declaration);
    if (rc != SQLITE_OK)
        rc = lsm_vtab_error_set(error, rc, "declaring %s: %s", declaration, sqlite3_errmsg(db));
    sqlite3_free(declaration);
    return rc;
}

static int table_new(sqlite3 *db, struct lsm_vtab_conn *conn, int argc, const char *const *argv,
                     struct lsm_vtab_table **result, char **error)
{
    struct lsm_vtab_table *table = sqlite3_malloc(sizeof(*table));
    bool is_utf8;
    size_t size;
    int i;
    int rc;

    *result = NULL;
    if (table == NULL)
        return SQLITE_NOMEM;
    memset(table, 0, sizeof(*table));
    lsm_vtab_key_init(&table->key);
    lsm_vtab_key_init(&table->old_key);
    lsm_vtab_row_buf_init(&table->row);

    rc = lsm_vtab_schema_parse(argc, argv, &table->schema, error);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_conn_is_utf8(conn, &is_utf8);
    for (i = 0; rc == SQLITE_OK && i < table->schema->key_count; i++)
        table->schema->key[i].foreign_order =
            table->schema->key[i].collation == LSM_VTAB_COLLATION_BINARY && !is_utf8;
    if (rc == SQLITE_OK)
        rc = declare(db, table->schema, error);
    if (rc == SQLITE_OK)
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    if (rc == SQLITE_OK) {
        size = sizeof(table->values[0]) * (size_t)table->schema->column_count;
        table->values = sqlite3_malloc64(size);
        size = sizeof(table->default_text[0]) * (size_t)table->schema->column_count;
        table->default_text = sqlite3_malloc64(size);
        table->name = sqlite3_mprintf("%s", argv[2]);
        table->ctx = lsm_vtab_ctx_get(conn, argv[1]);
        if (table->values == NULL || table->default_text == NULL || table->name == NULL || table->ctx == NULL)
            rc = SQLITE_NOMEM;
    }
    if (rc != SQLITE_OK) {
        table_free(table);
        return rc;
    }
    lsm_vtab_ctx_ref(table->ctx);
    *result = table;
    return SQLITE_OK;
}

static int table_close(struct lsm_vtab_table *table)
{
    struct lsm_vtab_ctx *ctx = table->ctx;

    table_free(table);
    lsm_vtab_ctx_unref(ctx);
    return SQLITE_OK;
}

static struct lsm_slice tree_name(const char text[33])
{
    struct lsm_slice name = { (const uint8_t *)text, 32 };

    return name;
}

int lsm_vtab_table_open(struct lsm_vtab_table *table, char **error)
{
    char *canonical;
    char name[33];
    int rc;

    if (table->tree)
        return SQLITE_OK;
    rc = lsm_vtab_ctx_open(table->ctx, error);
    if (rc != SQLITE_OK)
        return rc;
    canonical = lsm_vtab_schema_canonical(table->schema);
    if (canonical == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_shadow_read_table(table->ctx, table->name, canonical, table->uuid, error);
    sqlite3_free(canonical);
    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_uuid_text(table->uuid, name);
    rc = lsm_tree_find(table->ctx->store->db, tree_name(name), &table->tree);
    if (rc == LSM_NOTFOUND && lsm_tree_was_dropped(table->ctx->store->db, tree_name(name)))
        return lsm_vtab_error_dropped(error, table->name);
    if (rc == LSM_NOTFOUND)
        return lsm_vtab_error_set(error, SQLITE_CORRUPT_VTAB,
                                  "store %s has no tree %s: it is older than table %s, or the table "
                                  "was dropped (bring back the database and the directory of one moment, or "
                                  "DROP TABLE it)", table->ctx->store->path, name, table->name);
    return rc == LSM_OK ? SQLITE_OK : lsm_vtab_error_engine(error, table->ctx->store->path, rc);
}

/* ---- create, connect ------------------------------------------------------------ */

/* Make the tree under a fresh UUID. If the transaction is rolled back it is swept. */
static int create_tree(struct lsm_vtab_table *table, char **error)
{
    const struct lsm_vtab_options *wanted = &table->schema->options;
    struct lsm_tree_options options;
    char name[33];
    int rc;

    lsm_tree_options_init(&options);
    if (wanted->block_bytes)
        options.block_bytes = wanted->block_bytes;
    if (wanted->filter_bits)
        options.filter_bits = wanted->filter_bits;
    if (wanted->compression_level)
        options.compression_level = wanted->compression_level;
    if (wanted->value_log_bytes)
        options.value_log_bytes = wanted->value_log_bytes;
    do {
        sqlite3_randomness(sizeof(table->uuid), table->uuid);
        lsm_vtab_uuid_text(table->uuid, name);
        rc = lsm_tree_create(table->ctx->store->db, tree_name(name), &options, &table->tree);
    } while (rc == LSM_EXISTS);
    return rc == LSM_OK ? SQLITE_OK : lsm_vtab_error_engine(error, table->ctx->store->path, rc);
}

static int module_create(sqlite3 *db, void *conn, int argc, const char *const *argv,
                         sqlite3_vtab **vtab, char **error)
{
    struct lsm_vtab_table *table;
    char *canonical = NULL;
    int rc;

    rc = lsm_vtab_option_check_typos(argc, argv, error);
    if (rc == SQLITE_OK)
        rc = table_new(db, conn, argc, argv, &table, error);
    if (rc != SQLITE_OK)
        return rc;
    rc = lsm_vtab_ctx_create(table->ctx, error);
    if (rc == SQLITE_OK)
        rc = create_tree(table, error);
    if (rc == SQLITE_OK) {
        canonical = lsm_vtab_schema_canonical(table->schema);
        rc = canonical ? lsm_vtab_shadow_create_table(table->ctx, table->name, table->uuid,
                                                      canonical, error)
                       : SQLITE_NOMEM;
    }
    sqlite3_free(canonical);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_txn_created(table, error);
    if (rc != SQLITE_OK) {
        if (table->ctx->store)
            table->ctx->store->drop_count++;    /* a tree may have been left */
        table_close(table);
        return rc;
    }
    *vtab = &table->base;
    return SQLITE_OK;
}

static int module_connect(sqlite3 *db, void *conn, int argc, const char *const *argv,
                          sqlite3_vtab **vtab, char **error)
{
    struct lsm_vtab_table *table;
    int rc = table_new(db, conn, argc, argv, &table, error);

    *vtab = table ? &table->base : NULL;
    return rc;
}

/* ---- disconnect, destroy, rename -------------------------------------------------- */

static int module_disconnect(sqlite3_vtab *vtab)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;

    if (table->joined)
        lsm_vtab_txn_leave(table);
    return table_close(table);
}

static int module_destroy(sqlite3_vtab *vtab)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;
    int rc;

    rc = lsm_vtab_txn_prepare_drop(table, &vtab->zErrMsg);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_shadow_drop_table(table->ctx, table->name, &vtab->zErrMsg);
    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_txn_leave(table);
    if (table->ctx->store)
        table->ctx->store->drop_count++;
    return table_close(table);
}

static int module_rename(sqlite3_vtab *vtab, const char *name)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;
    char *copy;
    int rc;

    rc = lsm_vtab_schema_check_name(table->schema, name, &vtab->zErrMsg);
    if (rc != SQLITE_OK)
        return rc;
    copy = sqlite3_mprintf("%s", name);
    if (copy == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_shadow_rename_table(table->ctx, table->name, name, &vtab->zErrMsg);
    if (rc != SQLITE_OK) {
        sqlite3_free(copy);
        return rc;
    }
    sqlite3_free(table->name);
    table->name = copy;
    return SQLITE_OK;
}

static int module_shadow_name(const char *suffix)
{
    return sqlite3_stricmp(suffix, "lsm") == 0;
}

static const sqlite3_module module = {
    .iVersion = 3,
    .xCreate = module_create,
    .xConnect = module_connect,
    .xBestIndex = lsm_vtab_plan_best_index,
    .xDisconnect = module_disconnect,
    .xDestroy = module_destroy,
    .xOpen = lsm_vtab_cursor_open,
    .xClose = lsm_vtab_cursor_close,
    .xFilter = lsm_vtab_cursor_filter,
    .xNext = lsm_vtab_cursor_next,
    .xEof = lsm_vtab_cursor_eof,
    .xColumn = lsm_vtab_cursor_column,
    .xRowid = lsm_vtab_cursor_rowid,
    .xUpdate = lsm_vtab_update,
    .xBegin = lsm_vtab_txn_xbegin,
    .xSync = lsm_vtab_txn_xsync,
    .xCommit = lsm_vtab_txn_xcommit,
    .xRollback = lsm_vtab_txn_xrollback,
    .xRename = module_rename,
    .xSavepoint = lsm_vtab_txn_xsavepoint,
    .xRelease = lsm_vtab_txn_xrelease,
    .xRollbackTo = lsm_vtab_txn_xrollbackto,
    .xShadowName = module_shadow_name,
};

/* sqlite3_drop_modules(), or the end: the extension may be loaded again. */
static void module_gone(void *pointer)
{
    struct lsm_vtab_conn *conn = pointer;

    conn->is_registered = false;
    lsm_vtab_conn_unref(conn);
}

int lsm_vtab_module_register(struct lsm_vtab_conn *conn)
{
    conn->ref_count++;  /* given back by the destructor, also when this fails */
    return sqlite3_create_module_v2(conn->db, "lsm", &module, conn, module_gone);
}
