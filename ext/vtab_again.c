/*
 * vtab_again.c -- a statement that SQLite compiles again, because what xBestIndex told of the keys does not hold any more,
 * or was not known yet (vtab_plan.c, the guess that one key is one row).
 *
 *     xFilter -> SQLITE_SCHEMA -> sqlite3_step() takes back what the statement has written, compiles and runs it anew
 *
 * That is right only where SQLite takes back all of it: outside BEGIN, or when it writes virtual tables, which may fail at
 * any row. What a statement has written into ordinary tables alone stays within BEGIN, and would be written twice.
 *
 * Where SQLite has no memory to take a statement back it rolls back the whole transaction, forgets why, and runs the
 * statement outside of it. So a rollback is noted, and the statement that begins behind it is refused.
 */
#include <string.h>

#include "ext/vtab.h"

enum writes { WRITES_UNKNOWN, WRITES_ORDINARY, WRITES_VIRTUAL };

/* SQLite takes no EXPLAIN before a semicolon. */
static const char *skip_semicolons(const char *sql)
{
    return sql ? sql + strspn(sql, "; \t\n\r\f") : NULL;
}

/*
 * What does the statement write, be it in a trigger? EXPLAIN says so, where it can be asked: not before a comment and a
 * semicolon, at the limit of SQL's length, nor against an authorizer. SQLITE_OK; or out of memory or interrupted,
 * which may have rolled back the transaction and must not be lost.
 */
static int find_writes(sqlite3 *db, sqlite3_stmt *stmt, enum writes *writes)
{
    const char *sql = skip_semicolons(sqlite3_sql(stmt));
    sqlite3_stmt *explain = NULL;
    char *text;
    int rc, rc_end;

    *writes = WRITES_UNKNOWN;
    if (sql == NULL)
        return SQLITE_OK;
    text = sqlite3_mprintf("EXPLAIN %s", sql);
    rc = text ? sqlite3_prepare_v2(db, text, -1, &explain, NULL) : SQLITE_NOMEM;
    sqlite3_free(text);
    if (rc == SQLITE_OK)
        *writes = WRITES_ORDINARY;
    while (rc == SQLITE_OK && *writes == WRITES_ORDINARY && (rc = sqlite3_step(explain)) == SQLITE_ROW) {
        const char *opcode = (const char *)sqlite3_column_text(explain, 1);

        rc = opcode ? SQLITE_OK : SQLITE_NOMEM;
        if (opcode && strcmp(opcode, "VUpdate") == 0)
            *writes = WRITES_VIRTUAL;
    }
    rc_end = sqlite3_finalize(explain);
    if (rc == SQLITE_OK || rc == SQLITE_DONE)
        rc = rc_end;
    if (rc != SQLITE_OK)
        *writes = WRITES_UNKNOWN;
    return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_INTERRUPT ? rc : SQLITE_OK;
}

static int begin_again(struct lsm_vtab_conn *conn, sqlite3_stmt *stmt)
{
    conn->again.stmt = stmt;
    conn->again.count = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_REPREPARE, 0);
    conn->again.is_bereft = false;
    return SQLITE_SCHEMA;
}

int lsm_vtab_again_guess(struct lsm_vtab_table *table, bool *takes_each)
{
    sqlite3 *db = table->ctx->conn->db;
    struct lsm_vtab_busy busy = lsm_vtab_conn_busy(db);
    enum writes writes;
    int rc;

    table->no_guess = true;
    *takes_each = busy.writer_count == 0;
    if (busy.count != 1 || busy.writer == NULL)
        return SQLITE_OK;
    if (sqlite3_get_autocommit(db))
        return SQLITE_SCHEMA;
    rc = find_writes(db, busy.writer, &writes);
    *takes_each = writes == WRITES_ORDINARY;
    return rc == SQLITE_OK && writes == WRITES_VIRTUAL ? begin_again(table->ctx->conn, busy.writer) : rc;
}

int lsm_vtab_again_not_guessed(struct lsm_vtab_table *table)
{
    sqlite3 *db = table->ctx->conn->db;
    uint32_t count = ++table->not_guessed_count;
    struct lsm_vtab_busy busy;
    enum writes writes;
    int rc;

    if ((count & (count - 1)) != 0 || sqlite3_get_autocommit(db) || !lsm_vtab_plan_guesses(table))
        return SQLITE_OK;
    busy = lsm_vtab_conn_busy(db);
    if (busy.count != 1 || busy.writer == NULL)
        return SQLITE_OK;
    rc = find_writes(db, busy.writer, &writes);
    return rc == SQLITE_OK && writes == WRITES_VIRTUAL ? begin_again(table->ctx->conn, busy.writer) : rc;
}

void lsm_vtab_again_rolled_back(struct lsm_vtab_conn *conn)
{
    if (conn->again.stmt && conn->again.stmt == lsm_vtab_conn_busy(conn->db).writer)
        conn->again.is_bereft = true;
}

bool lsm_vtab_again_is_bereft(struct lsm_vtab_conn *conn)
{
    const struct lsm_vtab_again again = conn->again;

    lsm_vtab_again_began(conn);
    return again.is_bereft && again.stmt == lsm_vtab_conn_busy(conn->db).writer
           && sqlite3_stmt_status(again.stmt, SQLITE_STMTSTATUS_REPREPARE, 0) == again.count + 1;
}
