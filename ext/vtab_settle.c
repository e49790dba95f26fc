/*
 * vtab_settle.c -- make sure that a power cut cannot take back what SQLite has
 * committed: sync its -wal or -journal and the directory (commit.md R16).
 *
 * After a failed commit the kernel may call pages clean that never reached the
 * disk, and a sync of the -wal lies; then only a complete checkpoint will do, by
 * a connection of our own.
 *
 * A checkpoint of SQLite's begins with a sync of the -wal, in whose commit it is: what the worker has
 * asked the kernel to write before then (lsm_vtab_write_back) is not waited for.
 *
 * Threads: any; uses only the store's path, which does not change.
 */
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_machine.h"

static int sync_path(const char *path, bool is_dir)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();

    return machine->file_sync(machine->ctx, path, is_dir) == 0 ? LSM_OK : LSM_FSYNC;
}

static int sync_beside(const char *db_path, const char *suffix)
{
    char *path = sqlite3_mprintf("%s%s", db_path, suffix);
    int rc;

    if (path == NULL)
        return LSM_NOMEM;
    rc = sync_path(path, false);
    sqlite3_free(path);
    return rc;
}

static bool has_wal(const struct lsm_vtab_store *store)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    struct lsm_vtab_file file;
    char *path = sqlite3_mprintf("%s-wal", store->db_path);
    bool has = !path || machine->file_info(machine->ctx, path, &file) == 0;

    sqlite3_free(path);
    return has;
}

/*
 * Checkpoint the whole -wal, and empty it: what stands on disk of one of which a sync has failed is an older
 * beginning, which SQLite would put before the newer pages of the database file after a power cut: that it is complete does
 * not count. LSM_BUSY: it must stay for now, since somebody reads or writes; whoever asks for a flush in a statement is one,
 * and a solo in synchronous=FULL, which becomes joint then.
 */
static int checkpoint(const struct lsm_vtab_store *store)
{
    sqlite3 *db = NULL;
    int log_count = -1, done_count = -1;
    int rc;

    rc = sqlite3_open_v2(store->db_path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE,
                         store->vfs);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    /* Behind a writer SQLite would write the pages all the same, and not empty it: the worst of both. */
    if (rc == SQLITE_OK && has_wal(store))
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, &log_count,
                                       &done_count);
    sqlite3_close(db);
    rc = (rc & 0xff) == SQLITE_BUSY ? SQLITE_BUSY : rc;
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return LSM_BUSY;
    if ((rc & 0xff) == SQLITE_FULL)
        return LSM_FULL;        /* nothing was synced, so nothing is hidden: it can be tried again */
    if (rc != SQLITE_OK)
        return (rc & 0xff) == SQLITE_IOERR ? LSM_FSYNC : LSM_IOERR;
    return log_count == done_count ? LSM_OK : LSM_BUSY;
}

static int settle(const struct lsm_vtab_store *store, bool suspect)
{
    const char *slash;
    char *directory;
    int rc;

    if (store->in_memory)
        return LSM_OK;
    if (suspect) {      /* without a -wal there is nothing to checkpoint, and it says so */
        rc = checkpoint(store);
        if (rc != LSM_OK)
            return rc;
    }
    rc = sync_beside(store->db_path, "-wal");
    if (rc == LSM_OK)
        rc = sync_beside(store->db_path, "-journal");
    if (rc != LSM_OK)
        return rc;
    slash = strrchr(store->db_path, '/');
    directory = slash ? sqlite3_mprintf("%.*s", (int)(slash - store->db_path) + 1, store->db_path)
                      : sqlite3_mprintf(".");
    if (directory == NULL)
        return LSM_NOMEM;
    rc = sync_path(directory, true);
    sqlite3_free(directory);
    return rc;
}

void lsm_vtab_write_back(void *ctx)
{
    const struct lsm_vtab_machine *machine = lsm_vtab_machine();
    const struct lsm_vtab_store *store = ctx;
    char *path;

    if (store->in_memory || !machine->file_write_back)
        return;
    path = sqlite3_mprintf("%s-wal", store->db_path);
    if (path)
        machine->file_write_back(machine->ctx, path);
    sqlite3_free(path);
}

int lsm_vtab_settle(void *ctx, bool suspect)
{
    struct lsm_vtab_store *store = ctx;
    int rc = settle(store, suspect);

    if (rc == LSM_FSYNC)
        atomic_store(&store->settle_failed, true);
    return rc;
}
