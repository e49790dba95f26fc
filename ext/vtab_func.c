/*
 * vtab_func.c -- lsm_version() and lsm_debug(): what is loaded, and what it has
 * open. Both only read what the process knows anyway, so any schema may use them.
 *
 * lsm_delete_range('t', lo, hi): a write, so that SQLite must know of it: it runs a
 * command of the table, which finds the bounds in the connection (values have no
 * other way that keeps their types). Not from views and triggers.
 */
#include <string.h>

#include "ext/vtab.h"

static void func_version(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_text(context, lsm_version(), -1, SQLITE_STATIC);
}

static void func_debug(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct lsm_vtab_conn *conn = sqlite3_user_data(context);
    struct lsm_vtab_ctx *ctx;
    char *stores = lsm_vtab_store_list();
    char *text;

    (void)argc;
    (void)argv;
    text = sqlite3_mprintf("lsmvtab %s, SQLite %s (built with %s)\n%z", lsm_version(),
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

static void func_delete_range(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct lsm_vtab_conn *conn = sqlite3_user_data(context);
    sqlite3_value **before = conn->delete_bounds;
    const char *argument = (const char *)sqlite3_value_text(argv[0]);
    char *schema, *table, *sql, *error = NULL;
    int rc;

    (void)argc;
    if (sqlite3_value_type(argv[0]) != SQLITE_TEXT || argument == NULL) {
        sqlite3_result_error(context, "lsm: lsm_delete_range needs a table: lsm_delete_range('kv', lo, hi)",
                             -1);
        return;
    }
    rc = lsm_vtab_find_table(conn, argument, &schema, &table, &error);
    if (rc != SQLITE_OK) {
        if (error)
            sqlite3_result_error(context, error, -1);
        sqlite3_result_error_code(context, rc);
        sqlite3_free(error);
        return;
    }
    sql = sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(\"%w\") VALUES('delete-range')", schema, table, table);
    conn->delete_bounds = argv + 1;
    rc = sql ? sqlite3_exec(conn->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    conn->delete_bounds = before;
    if (rc == SQLITE_NOMEM)
        sqlite3_result_error_nomem(context);
    else if (rc != SQLITE_OK) {
        sqlite3_result_error(context, sqlite3_errmsg(conn->db), -1);
        sqlite3_result_error_code(context, rc);
    }
    sqlite3_free(sql);
    sqlite3_free(schema);
    sqlite3_free(table);
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
    rc = sqlite3_create_function_v2(conn->db, "lsm_debug", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS,
                                    conn, func_debug, NULL, NULL, lsm_vtab_conn_unref);
    if (rc != SQLITE_OK)
        return rc;
    conn->ref_count++;
    return sqlite3_create_function_v2(conn->db, "lsm_delete_range", 3,
                                      SQLITE_UTF8 | SQLITE_DIRECTONLY, conn, func_delete_range,
                                      NULL, NULL, lsm_vtab_conn_unref);
}
