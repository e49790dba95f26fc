/*
 * lsmvtab.h -- the extension linked into an application: compile its sources
 * with -DSQLITE_CORE and call this once for each connection, or give it to
 * sqlite3_auto_extension().
 */
#ifndef LSMVTAB_H
#define LSMVTAB_H

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `api` is ignored and may be NULL. SQLITE_OK, or an error with *error set (sqlite3_free). */
int sqlite3_lsmvtab_init(sqlite3 *db, char **error, const struct sqlite3_api_routines *api);

#ifdef __cplusplus
}
#endif
#endif
