/*
 * vtab_error.c -- the engine's codes as SQLite's: the only such map, so that a
 * failure looks the same wherever it comes up.
 */
#include <stdarg.h>
#include <string.h>

#include "ext/vtab.h"

int lsm_vtab_error_code(int lsm_rc)
{
    switch (lsm_rc) {
    case LSM_OK:
    case LSM_DONE:
        return SQLITE_OK;
    case LSM_BUSY:
        return SQLITE_BUSY;
    case LSM_CONFLICT:
        return SQLITE_BUSY_SNAPSHOT;
    case LSM_IOERR:
        return SQLITE_IOERR;
    case LSM_FSYNC:
        return SQLITE_IOERR_FSYNC;
    case LSM_CORRUPT:
    case LSM_MISMATCH:
    case LSM_STALE:
    case LSM_NOTFOUND:          /* of a tree or a store that the database names */
        return SQLITE_CORRUPT_VTAB;
    case LSM_NOMEM:
        return SQLITE_NOMEM;
    case LSM_FULL:
        return SQLITE_FULL;
    case LSM_READONLY:
        return SQLITE_READONLY;
    case LSM_TOOBIG:
        return SQLITE_TOOBIG;
    case LSM_MISUSE:
        return SQLITE_MISUSE;
    case LSM_CANTOPEN:
        return SQLITE_CANTOPEN;
    case LSM_FORMAT:
        return SQLITE_NOTADB;
    default:
        return SQLITE_ERROR;
    }
}

/* Behind the engine's text: where the extension has a way out. */
static const char *way_out(int lsm_rc)
{
    switch (lsm_rc) {
    case LSM_MISMATCH:
    case LSM_STALE:
        return " (SELECT lsm_accept() tells the ways out)";
    case LSM_CORRUPT:
        return " (restore a backup, or SELECT lsm_repair() in a fresh connection)";
    default:
        return "";
    }
}

/* The engine knows files by their names in the directory. */
static bool is_about_a_file(int lsm_rc)
{
    return lsm_rc == LSM_CORRUPT || lsm_rc == LSM_CANTOPEN || lsm_rc == LSM_FORMAT || lsm_rc == LSM_IOERR
           || lsm_rc == LSM_FSYNC || lsm_rc == LSM_FULL;
}

int lsm_vtab_error_engine(char **error, const char *path, int lsm_rc)
{
    const char *text = lsm_error_text();
    bool add_path = path && is_about_a_file(lsm_rc) && strstr(text, path) == NULL;

    return lsm_vtab_error_set(error, lsm_vtab_error_code(lsm_rc), "%s%s%s%s", add_path ? path : "",
                              add_path ? ": " : "", text, way_out(lsm_rc));
}

int lsm_vtab_error_set(char **error, int code, const char *format, ...)
{
    va_list args;
    char *text;

    if (error == NULL || code == SQLITE_OK)
        return code;
    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    sqlite3_free(*error);
    *error = text ? sqlite3_mprintf("lsm: %s", text) : NULL;
    sqlite3_free(text);
    return *error ? code : SQLITE_NOMEM;
}

int lsm_vtab_error_sqlite(char **error, sqlite3 *db, const char *what)
{
    int code = sqlite3_extended_errcode(db);

    /* It has not failed: a text of ours found no memory. */
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
        code = SQLITE_NOMEM;
    if (code == SQLITE_NOMEM)
        return code;
    return lsm_vtab_error_set(error, code, "%s: %s", what, sqlite3_errmsg(db));
}

int lsm_vtab_error_dropped(char **error, const char *table)
{
    return lsm_vtab_error_set(error, SQLITE_BUSY_SNAPSHOT, "table %s was dropped by another connection: "
                              "roll back and begin anew; if that does not help, the database is older than its "
                              "store (SELECT lsm_accept() tells the ways out)", table);
}

void lsm_vtab_error_answer(sqlite3_context *context, int rc, char *text, char *error)
{
    if (rc == SQLITE_OK && text) {
        sqlite3_result_text(context, text, -1, sqlite3_free);
        text = NULL;
    } else {
        if (error)
            sqlite3_result_error(context, error, -1);
        sqlite3_result_error_code(context, rc == SQLITE_OK ? SQLITE_NOMEM : rc);
    }
    sqlite3_free(text);
    sqlite3_free(error);
}
