/*
 * vtab_machine.h -- what ext/ asks of the machine beside SQLite and the engine:
 * which file a path is, and to sync one. A seam: the crash tests (tests/sim) put a
 * simulated disk here, and under the engine. Not exported from the loadable form.
 */
#ifndef LSM_EXT_VTAB_MACHINE_H
#define LSM_EXT_VTAB_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct lsm_os;
struct lsm_db;

/* Which file it is, and whose. */
struct lsm_vtab_file {
    uint64_t dev, ino;
    uint32_t mode, uid, gid;
};

struct lsm_vtab_machine {
    struct lsm_os *os;          /* the engine's; NULL: the real one */
    bool no_worker;             /* maintenance only where a test steps it */
    uint64_t memory_bytes;      /* of a store; 0: the engine's default */
    int redo_slot_bytes;        /* of a row of the redo area; 0: 64 KiB; negative: none is used */
    void *ctx;
    /* An errno value or 0. */
    int (*file_info)(void *ctx, const char *path, struct lsm_vtab_file *file);
    /* Sync a file or a directory; not through a link. A file that is not there needs none. */
    int (*file_sync)(void *ctx, const char *path, bool is_dir);
    /* Have what was written to a file go to disk, without waiting: a hint, which neither promises anything nor
       takes an error from a later sync. NULL: there is no such call. */
    void (*file_write_back)(void *ctx, const char *path);
    /* Make an empty file with the permissions of `like`, and its owner if we are root. EEXIST: something
       has this name, be it a link. */
    int (*file_create)(void *ctx, const char *path, const struct lsm_vtab_file *like);
    int (*file_remove)(void *ctx, const char *path);
};

const struct lsm_vtab_machine *lsm_vtab_machine(void);

/* For tests, while no store is open: use another machine; NULL: the real one. It is kept, not
   copied. */
void lsm_vtab_machine_use(const struct lsm_vtab_machine *machine);

/* For tests: the open store of this database file, or NULL. */
struct lsm_db *lsm_vtab_store_find(const char *db_path);

#endif
