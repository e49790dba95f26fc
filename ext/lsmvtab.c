/*
 * lsmvtab.c -- the entry point: registers the module, the statistics tables and
 * the functions; nothing else.
 *
 * The loadable form stays in the process (SQLITE_OK_LOAD_PERMANENTLY): a store
 * has threads, and their code must not be unmapped with a connection.
 */
#include "ext/vtab.h"

SQLITE_EXTENSION_INIT1

#define SQLITE_VERSION_MIN 3038000      /* sqlite3_vtab_in() */

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

EXPORT int sqlite3_lsmvtab_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

int sqlite3_lsmvtab_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    struct lsm_vtab_conn *conn;
    int rc = SQLITE_OK;

    SQLITE_EXTENSION_INIT2(api);
    (void)api;
    if (sqlite3_libversion_number() < SQLITE_VERSION_MIN) {
        if (error)
            *error = sqlite3_mprintf("lsmvtab needs SQLite 3.38.0 or newer, this is %s",
                                     sqlite3_libversion());
        return SQLITE_ERROR;
    }
    if (lsm_vtab_conn_exists(db))       /* loaded again: tables that are open would have a transaction of their own */
        goto out;
    conn = lsm_vtab_conn_new(db);
    if (conn == NULL)
        return SQLITE_NOMEM;
    rc = lsm_vtab_module_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_pin_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_stat_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_func_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_backup_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_repair_register(conn);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_check_register(conn);
    conn->is_registered = rc == SQLITE_OK;
    lsm_vtab_conn_unref(conn);
out:
    if (rc != SQLITE_OK)
        return rc;
#ifdef SQLITE_CORE
    return SQLITE_OK;
#else
    return SQLITE_OK_LOAD_PERMANENTLY;
#endif
}

#ifndef SQLITE_CORE
EXPORT int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    return sqlite3_lsmvtab_init(db, error, api);
}
#endif
