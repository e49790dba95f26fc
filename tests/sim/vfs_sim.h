/*
 * vfs_sim.h -- a VFS of SQLite over a simulated disk.
 *
 * It keeps unix's manners where they matter to a crash: a new journal's
 * directory is synced with its first sync, a file of no bytes does not exist
 * for xAccess, xDelete syncs the directory when asked. It promises nothing that
 * a plain disk would not (device characteristics 0, sectors of 512 bytes).
 *
 * Locks and shared memory work between connections of this process; shared
 * memory is never on the disk and dies with its last user.
 */
#ifndef SIM_VFS_SIM_H
#define SIM_VFS_SIM_H

#include <sqlite3.h>

#include "tests/sim/sim_disk.h"

struct sim_vfs {
    sqlite3_vfs vfs;            /* first */
    struct sim_disk *disk;
    char name[32];              /* for sqlite3_open_v2 */
    uint32_t files;             /* open now */
    uint64_t slept_us;
    int characteristics;        /* SQLITE_IOCAP_*; 0 */
    int sector_size;            /* 512 */
};

/* Made and registered (not as the default). */
struct sim_vfs *sim_vfs_new(struct sim_disk *disk);
/* Unregistered and freed; false (and a line on stderr) if a file is left open. */
bool sim_vfs_free(struct sim_vfs *vfs);

#endif
