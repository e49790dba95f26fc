/*
 * vtab_func.c -- lsm_version() and lsm_debug(): what is loaded, and what it has
 * open. Both only read what the process knows anyway, so any schema may use them.
 */
#include "ext/vtab.h"

static void func_version(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_text(context, LSM_VERSION, -1, SQLITE_STATIC);
}

static void func_debug(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct lsm_vtab_conn *conn = sqlite3_user_data(context);
    struct lsm_vtab_ctx *ctx;
    char *stores = lsm_vtab_store_list();
    char *text;

    (void)argc;
    (void)argv;
    text = sqlite3_mprintf("lsmvtab %s, SQLite %s (built with %s)\n%z", LSM_VERSION,
                           sqlite3_libversion(), SQLITE_VERSION, stores);
    for (ctx = conn->ctxs; ctx && text; ctx = ctx->next)
        text = sqlite3_mprintf("%zschema %s: tables=%d store=%s txn=%s pin=%s cursors=%d\n", text,
                               ctx->schema, ctx->table_count,
                               ctx->store ? ctx->store->path : "not opened",
                               ctx->txn ? "open" : "none",
                               ctx->pin_guessed ? "guessed" : ctx->pin ? "held" : "none",
                               ctx->cursor_count);
    if (text == NULL)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_text(context, text, -1, sqlite3_free);
}

int lsm_vtab_func_register(struct lsm_vtab_conn *conn)
{
    int rc;

    rc = sqlite3_create_function_v2(conn->db, "lsm_version", 0,
                                    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                                    func_version, NULL, NULL, NULL);
    conn->ref_count++;
    if (rc != SQLITE_OK) {
        lsm_vtab_conn_unref(conn);
        return rc;
    }
    return sqlite3_create_function_v2(conn->db, "lsm_debug", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS,
                                      conn, func_debug, NULL, NULL, lsm_vtab_conn_unref);
}
