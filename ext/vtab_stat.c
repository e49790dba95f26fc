/*
 * vtab_stat.c -- lsm_stats('kv') and lsm_levels('kv'): table-valued functions that
 * show what the engine counts.
 *
 *     SELECT * FROM lsm_stats('kv');      name, value, unit
 *     SELECT * FROM lsm_levels('kv');     level, files, bytes, raw_bytes, entries, ...
 *
 * The argument is a table, 'kv' or 'schema.kv'. They only read, and work on
 * read-only connections.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_option.h"

struct stat_module {
    const char *name;
    const char *declaration;
    int column_argument;        /* the hidden column of the argument */
    bool is_levels;
};

static const struct stat_module stats_module = {
    "lsm_stats", "CREATE TABLE x(name TEXT, value INTEGER, unit TEXT, \"table\" HIDDEN)", 3, false
};
static const struct stat_module levels_module = {
    "lsm_levels",
    "CREATE TABLE x(level INTEGER, files INTEGER, bytes INTEGER, raw_bytes INTEGER, "
    "entries INTEGER, tombstones INTEGER, score REAL, runs INTEGER, range_deletes INTEGER, jobs INTEGER, "
    "bytes_read INTEGER, bytes_written INTEGER, \"table\" HIDDEN)", 12, true
};

struct stat_vtab {
    sqlite3_vtab base;
    struct lsm_vtab_conn *conn;
    const struct stat_module *module;
};

struct stat_cursor {
    sqlite3_vtab_cursor base;
    char *argument;
    struct lsm_stat *stats;
    struct lsm_tree_stats levels;
    size_t count, at;
};

static int stat_connect(sqlite3 *db, void *conn, const struct stat_module *module,
                        sqlite3_vtab **result)
{
    struct stat_vtab *vtab;
    int rc = sqlite3_declare_vtab(db, module->declaration);

    if (rc != SQLITE_OK)
        return rc;
    vtab = sqlite3_malloc(sizeof(*vtab));
    if (vtab == NULL)
        return SQLITE_NOMEM;
    memset(vtab, 0, sizeof(*vtab));
    vtab->conn = conn;
    vtab->module = module;
    *result = &vtab->base;
    return SQLITE_OK;
}

static int stats_connect(sqlite3 *db, void *conn, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **error)
{
    (void)argc;
    (void)argv;
    (void)error;
    return stat_connect(db, conn, &stats_module, result);
}

static int levels_connect(sqlite3 *db, void *conn, int argc, const char *const *argv,
                          sqlite3_vtab **result, char **error)
{
    (void)argc;
    (void)argv;
    (void)error;
    return stat_connect(db, conn, &levels_module, result);
}

static int stat_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int stat_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    const struct stat_module *module = ((struct stat_vtab *)base)->module;
    bool is_unusable = false;
    int i;

    for (i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];

        if (c->iColumn != module->column_argument || c->op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (!c->usable) {
            is_unusable = true;
            continue;
        }
        info->aConstraintUsage[i].argvIndex = 1;
        info->aConstraintUsage[i].omit = 1;
        info->estimatedCost = 10;
        info->estimatedRows = 20;
        return SQLITE_OK;
    }
    return is_unusable ? SQLITE_CONSTRAINT : SQLITE_OK;
}

static int stat_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **result)
{
    struct stat_cursor *cursor = sqlite3_malloc(sizeof(*cursor));

    (void)vtab;
    if (cursor == NULL)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    *result = &cursor->base;
    return SQLITE_OK;
}

static void cursor_clear(struct stat_cursor *cursor)
{
    sqlite3_free(cursor->argument);
    sqlite3_free(cursor->stats);
    cursor->argument = NULL;
    cursor->stats = NULL;
    cursor->count = cursor->at = 0;
}

static int stat_close(sqlite3_vtab_cursor *base)
{
    cursor_clear((struct stat_cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

/* The lsm table of this name as it is spelt in this schema; NULL: none, or there is no such schema. */
static int spelt_in(struct lsm_vtab_conn *conn, const char *schema, const char *table, char **name)
{
    sqlite3_stmt *stmt = NULL;
    int rc;

    *name = NULL;
    rc = lsm_vtab_sql_prepare(conn->db, &stmt,
                              "SELECT substr(name, 1, length(name) - 4) FROM \"%w\".sqlite_master "
                              "WHERE type = 'table' AND name = '%q_lsm' COLLATE NOCASE", schema, table);
    if (rc == SQLITE_ERROR)
        return SQLITE_OK;
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        *name = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
        if (*name == NULL)
            rc = SQLITE_NOMEM;
    }
    if (rc != SQLITE_OK)
        sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? sqlite3_finalize(stmt) : rc;
}

/* The first schema that has it: temp first, as SQLite does. NULL: none. */
static int find_schema(struct lsm_vtab_conn *conn, const char *table, char **schema, char **name)
{
    sqlite3_stmt *list = NULL;
    int list_rc;
    int rc;

    rc = sqlite3_prepare_v2(conn->db, "SELECT name FROM pragma_database_list ORDER BY seq <> 1, seq",
                            -1, &list, NULL);
    while (rc == SQLITE_OK && *name == NULL && sqlite3_step(list) == SQLITE_ROW) {
        const char *at = (const char *)sqlite3_column_text(list, 0);

        rc = at ? spelt_in(conn, at, table, name) : SQLITE_NOMEM;
        if (rc == SQLITE_OK && *name && (*schema = sqlite3_mprintf("%s", at)) == NULL)
            rc = SQLITE_NOMEM;
    }
    list_rc = sqlite3_finalize(list);
    return rc == SQLITE_OK ? list_rc : rc;
}

/* What there is instead: a name that is near, or all of main's. */
static int fail_no_table(struct lsm_vtab_conn *conn, const char *argument, char **error)
{
    sqlite3_stmt *stmt = NULL;
    char *nearest = NULL;
    char *all = sqlite3_mprintf("");
    int distance = LSM_VTAB_TYPO_MAX + 1;
    int code;

    if (lsm_vtab_sql_prepare(conn->db, &stmt,
                             "SELECT substr(name, 1, length(name) - 4) FROM main.sqlite_master "
                             "WHERE type = 'table' AND name LIKE '%%\\_lsm' ESCAPE '\\' ORDER BY 1 LIMIT 20")
            == SQLITE_OK) {
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(stmt, 0);

            if (name && lsm_vtab_is_nearer(argument, name, &distance)) {
                sqlite3_free(nearest);
                nearest = sqlite3_mprintf("%s", name);
            }
            all = sqlite3_mprintf("%z%s%s", all, all && *all ? ", " : "", name ? name : "?");
        }
    }
    sqlite3_finalize(stmt);
    if (nearest)
        code = lsm_vtab_error_set(error, SQLITE_ERROR, "there is no lsm table '%s' (did you mean '%s'?)",
                                  argument, nearest);
    else if (all && *all)
        code = lsm_vtab_error_set(error, SQLITE_ERROR, "there is no lsm table '%s' (main has %s)", argument,
                                  all);
    else
        code = lsm_vtab_error_set(error, SQLITE_ERROR, "there is no lsm table '%s'", argument);
    sqlite3_free(nearest);
    sqlite3_free(all);
    return code;
}

int lsm_vtab_find_table(struct lsm_vtab_conn *conn, const char *argument, char **schema, char **table,
                        char **error)
{
    const char *dot = strchr(argument, '.');
    int rc = SQLITE_OK;

    *schema = *table = NULL;
    if (dot) {
        rc = spelt_in(conn, "main", argument, table);   /* a dot in its name */
        *schema = *table ? sqlite3_mprintf("main") : sqlite3_mprintf("%.*s", (int)(dot - argument), argument);
        if (rc == SQLITE_OK && *schema && *table == NULL)
            rc = spelt_in(conn, *schema, dot + 1, table);
        if (rc == SQLITE_OK && *schema == NULL)
            rc = SQLITE_NOMEM;
    } else {
        rc = find_schema(conn, argument, schema, table);
    }
    if (rc == SQLITE_OK && *table)
        return SQLITE_OK;
    sqlite3_free(*schema);
    sqlite3_free(*table);
    *schema = *table = NULL;
    if (rc == SQLITE_OK)
        return fail_no_table(conn, argument, error);
    return lsm_vtab_error_set(error, rc, "looking for table %s: %s", argument, sqlite3_errstr(rc));
}

static int load_stats(struct stat_cursor *cursor, struct lsm_db *db, char **error)
{
    size_t count = lsm_db_stats(db, NULL, 0);

    (void)error;
    cursor->stats = sqlite3_malloc64((count + 1) * sizeof(cursor->stats[0]));
    if (cursor->stats == NULL)
        return SQLITE_NOMEM;
    cursor->count = lsm_db_stats(db, cursor->stats, count);
    if (cursor->count > count)
        cursor->count = count;
    return SQLITE_OK;
}

static int load_levels(struct stat_cursor *cursor, struct lsm_vtab_ctx *ctx, const char *table,
                       char **error)
{
    uint8_t uuid[LSM_VTAB_UUID_SIZE];
    struct lsm_tree *tree;
    char text[33];
    struct lsm_slice name = { (const uint8_t *)text, 32 };
    int rc = lsm_vtab_shadow_read_table(ctx, table, NULL, uuid, error);

    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_uuid_text(uuid, text);
    rc = lsm_tree_find(ctx->store->db, name, &tree);
    if (rc == LSM_OK)
        rc = lsm_tree_stats(tree, &cursor->levels);
    cursor->count = rc == LSM_OK ? cursor->levels.level_count : 0;
    return rc == LSM_OK ? SQLITE_OK : lsm_vtab_error_engine(error, ctx->store->path, rc);
}

static int stat_filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                       sqlite3_value **argv)
{
    struct stat_cursor *cursor = (struct stat_cursor *)base;
    struct stat_vtab *vtab = (struct stat_vtab *)base->pVtab;
    struct lsm_vtab_ctx *ctx;
    char **error = &base->pVtab->zErrMsg;
    char *schema, *table;
    int rc;

    (void)number;
    (void)text;
    cursor_clear(cursor);
    if (argc != 1 || sqlite3_value_type(argv[0]) == SQLITE_NULL)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "%s needs a table: SELECT * FROM %s('kv')",
                                  vtab->module->name, vtab->module->name);
    cursor->argument = sqlite3_mprintf("%s", sqlite3_value_text(argv[0]));
    if (cursor->argument == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_find_table(vtab->conn, cursor->argument, &schema, &table, error);
    if (rc != SQLITE_OK)
        return rc;
    ctx = lsm_vtab_ctx_get(vtab->conn, schema);
    sqlite3_free(schema);
    if (ctx == NULL) {
        sqlite3_free(table);
        return SQLITE_NOMEM;
    }
    lsm_vtab_ctx_ref(ctx);
    rc = lsm_vtab_ctx_open(ctx, error);
    if (rc == SQLITE_OK)
        rc = vtab->module->is_levels ? load_levels(cursor, ctx, table, error)
                                     : load_stats(cursor, ctx->store->db, error);
    lsm_vtab_ctx_unref(ctx);
    sqlite3_free(table);
    return rc;
}

static int stat_next(sqlite3_vtab_cursor *base)
{
    ((struct stat_cursor *)base)->at++;
    return SQLITE_OK;
}

static int stat_eof(sqlite3_vtab_cursor *base)
{
    struct stat_cursor *cursor = (struct stat_cursor *)base;

    return cursor->at >= cursor->count;
}

static void level_column(const struct stat_cursor *cursor, sqlite3_context *context, int column)
{
    const struct lsm_level_stats *level = &cursor->levels.level[cursor->at];

    switch (column) {
    case 0: sqlite3_result_int64(context, (sqlite3_int64)cursor->at); break;
    case 1: sqlite3_result_int64(context, (sqlite3_int64)level->files); break;
    case 2: sqlite3_result_int64(context, (sqlite3_int64)level->bytes); break;
    case 3: sqlite3_result_int64(context, (sqlite3_int64)level->raw_bytes); break;
    case 4: sqlite3_result_int64(context, (sqlite3_int64)level->entries); break;
    case 5: sqlite3_result_int64(context, (sqlite3_int64)level->tombstones); break;
    case 6: sqlite3_result_double(context, level->score); break;
    case 7: sqlite3_result_int64(context, (sqlite3_int64)level->runs); break;
    case 8: sqlite3_result_int64(context, (sqlite3_int64)level->range_deletes); break;
    case 9: sqlite3_result_int64(context, (sqlite3_int64)level->jobs); break;
    case 10: sqlite3_result_int64(context, (sqlite3_int64)level->bytes_read); break;
    default: sqlite3_result_int64(context, (sqlite3_int64)level->bytes_written); break;
    }
}

static int stat_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    struct stat_cursor *cursor = (struct stat_cursor *)base;
    const struct stat_module *module = ((struct stat_vtab *)base->pVtab)->module;

    if (column == module->column_argument)
        sqlite3_result_text(context, cursor->argument, -1, SQLITE_TRANSIENT);
    else if (module->is_levels)
        level_column(cursor, context, column);
    else if (column == 0)
        sqlite3_result_text(context, cursor->stats[cursor->at].name, -1, SQLITE_TRANSIENT);
    else if (column == 1)
        sqlite3_result_int64(context, (sqlite3_int64)cursor->stats[cursor->at].value);
    else
        sqlite3_result_text(context, cursor->stats[cursor->at].unit, -1, SQLITE_TRANSIENT);
    return SQLITE_OK;
}

static int stat_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = (sqlite3_int64)((struct stat_cursor *)base)->at;
    return SQLITE_OK;
}

/* No xCreate: eponymous only. */
#define STAT_METHODS(connect)                                                   \
    { .iVersion = 0, .xConnect = (connect), .xBestIndex = stat_best_index,      \
      .xDisconnect = stat_disconnect, .xOpen = stat_open, .xClose = stat_close, \
      .xFilter = stat_filter, .xNext = stat_next, .xEof = stat_eof,             \
      .xColumn = stat_column, .xRowid = stat_rowid }

static const sqlite3_module stats_methods = STAT_METHODS(stats_connect);
static const sqlite3_module levels_methods = STAT_METHODS(levels_connect);

int lsm_vtab_stat_register(struct lsm_vtab_conn *conn)
{
    int rc;

    conn->ref_count++;  /* given back by the destructor, also when this fails */
    rc = sqlite3_create_module_v2(conn->db, stats_module.name, &stats_methods, conn,
                                  lsm_vtab_conn_unref);
    if (rc != SQLITE_OK)
        return rc;
    conn->ref_count++;
    return sqlite3_create_module_v2(conn->db, levels_module.name, &levels_methods, conn,
                                    lsm_vtab_conn_unref);
}
