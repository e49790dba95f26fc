/*
 * vtab_check.c -- lsm_check(): reads everything of a store, and what the database says of it; "ok", or a
 * line for each fault. It changes nothing.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_token.h"

struct report {
    sqlite3_str *text;
    int lines;
};

#define REPORT_LINES_MAX 100

static void add_fault(void *pointer, int kind, const char *line)
{
    struct report *report = pointer;

    if (kind == LSM_EVENT_INFO)
        return;
    if (report->lines++ < REPORT_LINES_MAX)
        sqlite3_str_appendf(report->text, "%s%s", report->lines > 1 ? "\n" : "", line);
}

struct tree_check {
    struct lsm_vtab_ctx *ctx;
    struct report *report;
};

/* What says nothing of the table: the check itself could not go on. */
static bool is_no_fault(int rc)
{
    rc &= 0xff;
    return rc == SQLITE_NOMEM || rc == SQLITE_INTERRUPT || rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_AUTH;
}

/* Every table of the schema has its tree. */
static int check_tables(struct tree_check *c, char **error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = lsm_vtab_sql_prepare(c->ctx->conn->db, &stmt,
                                  "SELECT substr(name, 1, length(name) - 4) FROM \"%w\".sqlite_master m "
                                  "WHERE type = 'table' AND name LIKE '%%\\_lsm' ESCAPE '\\' AND rootpage > 0 AND "
                                  "EXISTS(SELECT 1 FROM \"%w\".sqlite_master v WHERE v.type = 'table' AND v.rootpage = 0 "
                                  "AND v.name = substr(m.name, 1, length(m.name) - 4) COLLATE NOCASE)",
                                  c->ctx->schema, c->ctx->schema);

    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        uint8_t uuid[LSM_VTAB_UUID_SIZE];
        char text[33], *why = NULL;
        struct lsm_slice slice = { (const uint8_t *)text, 32 };
        struct lsm_tree *tree;

        rc = SQLITE_OK;
        if (name == NULL)
            continue;
        rc = lsm_vtab_shadow_read_table(c->ctx, name, NULL, uuid, &why);
        if (is_no_fault(rc)) {
            *error = why;
            break;
        }
        if (rc != SQLITE_OK) {
            add_fault(c->report, LSM_EVENT_ERROR, why ? why : name);
        } else {
            lsm_vtab_uuid_text(uuid, text);
            if (lsm_tree_find(c->ctx->store->db, slice, &tree) != LSM_OK) {
                why = sqlite3_mprintf("table %s: %s", name, lsm_error_text());
                add_fault(c->report, LSM_EVENT_ERROR, why ? why : name);
            }
        }
        rc = SQLITE_OK;
        sqlite3_free(why);
    }
    if (rc != SQLITE_DONE && *error == NULL)
        lsm_vtab_error_sqlite(error, c->ctx->conn->db, "reading the schema");
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool token_is(const struct lsm_vtab_token *token, const char *name)
{
    char text[8];

    if (token->size >= sizeof text || token->kind == LSM_VTAB_TOKEN_END)
        return false;
    lsm_vtab_token_unquote(token, text);
    return sqlite3_stricmp(text, name) == 0;
}

/* Does CREATE VIRTUAL TABLE name the module lsm? Behind the first USING that is no name in quotes. */
static bool is_ours(const char *sql)
{
    struct lsm_vtab_token token;

    do {
        sql = lsm_vtab_token_read(sql, &token);
        if (token.kind == LSM_VTAB_TOKEN_END || token.kind == LSM_VTAB_TOKEN_BAD)
            return false;
    } while (token.kind != LSM_VTAB_TOKEN_WORD || !token_is(&token, "using"));
    lsm_vtab_token_read(sql, &token);
    return token_is(&token, "lsm");
}

/* Every table can be read: what it needs beside its tree is there. Where all else is right; damage has been named. */
static int check_first_rows(struct tree_check *c, char **error)
{
    sqlite3 *db = c->ctx->conn->db;
    sqlite3_stmt *stmt = NULL, *rows;
    char *select;
    int rc = lsm_vtab_sql_prepare(db, &stmt, "SELECT name, sql FROM \"%w\".sqlite_master "
                                  "WHERE type = 'table' AND rootpage = 0", c->ctx->schema);

    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0), *sql = (const char *)sqlite3_column_text(stmt, 1);

        rc = SQLITE_OK;
        if (!name || !sql || !is_ours(sql))
            continue;
        rows = NULL;
        select = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\" LIMIT 1", c->ctx->schema, name);
        rc = select ? sqlite3_prepare_v2(db, select, -1, &rows, NULL) : SQLITE_NOMEM;
        sqlite3_free(select);
        if (rc == SQLITE_OK)
            rc = sqlite3_step(rows);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE && !is_no_fault(rc)) {
            char *line = sqlite3_mprintf("table %s: %s", name, sqlite3_errmsg(db));
            add_fault(c->report, LSM_EVENT_ERROR, line ? line : name);
            sqlite3_free(line);
            rc = SQLITE_OK;
        }
        sqlite3_finalize(rows);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        lsm_vtab_error_sqlite(error, db, "reading the schema");
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A foreign key to an lsm table: SQLite takes it and fails at the first write, in words that tell nothing. */
static int check_foreign_keys(struct tree_check *c, char **error)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT m.name, f.\"table\" FROM \"%w\".sqlite_master m, "
                                "pragma_foreign_key_list(m.name, %Q) f WHERE m.type = 'table' AND EXISTS("
                                "SELECT 1 FROM \"%w\".sqlite_master WHERE type = 'table' AND "
                                "name = f.\"table\" || '_lsm' COLLATE NOCASE) GROUP BY 1, 2",
                                c->ctx->schema, c->ctx->schema, c->ctx->schema);
    int rc = sql ? sqlite3_prepare_v2(c->ctx->conn->db, sql, -1, &stmt, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        char *line = sqlite3_mprintf("table %s has a foreign key to the lsm table %s, which cannot be the "
                                     "parent of one: with PRAGMA foreign_keys on, writing to either fails; "
                                     "make %s anew without it", sqlite3_column_text(stmt, 0),
                                     sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 0));

        if (line)
            add_fault(c->report, LSM_EVENT_ERROR, line);
        rc = line ? SQLITE_OK : SQLITE_NOMEM;
        sqlite3_free(line);
    }
    if (rc != SQLITE_DONE)
        rc = lsm_vtab_error_sqlite(error, c->ctx->conn->db, "reading the schema");
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A transaction from before the store's newest is no fault; a database whose newest is, was put back beneath an open store. */
static int check_newest(struct lsm_vtab_ctx *ctx, const struct lsm_token *token, char **error)
{
    int rc;

    if (lsm_db_publish_newest(ctx->store->db, token) != LSM_STALE)
        return SQLITE_OK;
    rc = lsm_vtab_pin_stale(ctx, token, error);
    if ((rc & 0xff) != SQLITE_BUSY)
        return rc;
    sqlite3_free(*error);
    *error = NULL;
    return SQLITE_OK;
}

/* The database and the store are at one state. */
static int check_pair(struct lsm_vtab_ctx *ctx, char **error)
{
    struct lsm_token token;
    int rc = lsm_vtab_pin_token(ctx, &token, error);

    if (rc != SQLITE_OK)
        return rc;
    if (lsm_db_publish(ctx->store->db, &token) == LSM_STALE) {
        /* A power cut may have taken it from the log. */
        rc = lsm_vtab_redo_supply(ctx, error);
        if (rc == SQLITE_OK && lsm_db_publish(ctx->store->db, &token) == LSM_STALE)
            rc = lsm_vtab_pin_stale(ctx, &token, error);
    }
    return rc == SQLITE_OK ? check_newest(ctx, &token, error) : rc;
}

static int run_check(struct lsm_vtab_conn *conn, const char *schema, char **text, char **error)
{
    struct report report = { NULL, 0 };
    struct tree_check check;
    struct lsm_vtab_ctx *ctx;
    bool found;
    int rc;

    if (sqlite3_db_filename(conn->db, schema) == NULL)
        return lsm_vtab_error_set(error, SQLITE_ERROR, "there is no database '%s' in this connection", schema);
    ctx = lsm_vtab_ctx_get(conn, schema);
    if (ctx == NULL)
        return SQLITE_NOMEM;
    lsm_vtab_ctx_ref(ctx);
    rc = lsm_vtab_shadow_has_store(ctx, &found, error);
    if (rc == SQLITE_OK)
        rc = found ? lsm_vtab_ctx_open(ctx, error) : lsm_vtab_shadow_verify(ctx, error);
    if (rc == SQLITE_OK && found)
        rc = check_pair(ctx, error);
    report.text = sqlite3_str_new(conn->db);
    check = (struct tree_check){ ctx, &report };
    if (rc == SQLITE_OK && found)
        rc = check_tables(&check, error);
    if (rc == SQLITE_OK && found)
        rc = check_foreign_keys(&check, error);
    if (rc == SQLITE_OK && found)
        lsm_db_check_report(ctx->store->db, add_fault, &report);
    if (rc == SQLITE_OK && report.lines == 0)
        rc = check_first_rows(&check, error);
    if (rc == SQLITE_OK && report.lines == 0)
        sqlite3_str_appendall(report.text, "ok");
    *text = sqlite3_str_finish(report.text);
    lsm_vtab_ctx_unref(ctx);
    return rc;
}

/* ---- the function -------------------------------------------------------------------- */

/* lsm_check([schema]) */
static void func_check(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *schema = argc > 0 ? (const char *)sqlite3_value_text(argv[0]) : "main";
    char *text = NULL, *error = NULL;
    int rc = run_check(sqlite3_user_data(context), schema ? schema : "", &text, &error);

    lsm_vtab_error_answer(context, rc, text, error);
}

int lsm_vtab_check_register(struct lsm_vtab_conn *conn)
{
    int rc = SQLITE_OK;

    for (int argc = 0; argc <= 1 && rc == SQLITE_OK; argc++) {
        conn->ref_count++;      /* given back by the destructor, also when this fails */
        rc = sqlite3_create_function_v2(conn->db, "lsm_check", argc, SQLITE_UTF8 | SQLITE_DIRECTONLY, conn, func_check, NULL,
                                        NULL, lsm_vtab_conn_unref);
    }
    return rc;
}
