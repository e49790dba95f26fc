/*
 * vfs_sim.c -- SQLite's file calls on a simulated disk.
 *
 * A database's locks and shared memory hang on its inode and are freed with the
 * disk. A lock is held by a file handle:
 *
 *     NONE < SHARED < RESERVED < PENDING < EXCLUSIVE
 *     many      many     one        one       one, and no SHARED of others
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/vfs_sim.h"

#define SHM_REGIONS_MAX 64

struct file;

struct locks {                      /* of one inode; owned by it */
    int shared;                     /* handles with SHARED and more */
    struct file *reserved, *pending, *exclusive;
    int shm_users;
    void *region[SHM_REGIONS_MAX];
    int shm_shared[SQLITE_SHM_NLOCK];
    struct file *shm_exclusive[SQLITE_SHM_NLOCK];
};

struct file {
    sqlite3_file base;              /* first */
    struct sim_vfs *vfs;
    uint32_t ino;
    uint32_t dir;
    bool dirsync;                   /* the directory is synced with the first sync */
    bool readonly;
    bool has_shm;
    unsigned shm_held;              /* bits: shared locks that this handle has */
    int lock;
    char *doomed;                   /* path to be removed on close, or NULL */
    char *path;                     /* NULL: temporary */
};

static int io_error(int error, int code)
{
    if (error == 0)
        return SQLITE_OK;
    return error == ENOSPC ? SQLITE_FULL : code;
}

static struct file *self(sqlite3_file *file)
{
    return (struct file *)file;
}

static struct sim_disk *disk_of(struct file *f)
{
    return f->vfs->disk;
}

static struct locks *locks_of(struct file *f)
{
    struct sim_inode *inode = sim_inode(disk_of(f), f->ino);

    if (!inode->vfs) {
        inode->vfs = calloc(1, sizeof(struct locks));
        if (!inode->vfs)
            abort();
    }
    return inode->vfs;
}

/* ---- a file ---- */

static int vfs_unlock(sqlite3_file *file, int to)
{
    struct file *f = self(file);
    struct locks *l = locks_of(f);

    if (f->lock <= to)
        return SQLITE_OK;
    if (l->exclusive == f)
        l->exclusive = NULL;
    if (l->pending == f)
        l->pending = NULL;
    if (l->reserved == f)
        l->reserved = NULL;
    if (to == SQLITE_LOCK_NONE)
        l->shared--;
    f->lock = to;
    return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *file, int to)
{
    struct file *f = self(file);
    struct locks *l = locks_of(f);
    int error;

    if (f->lock >= to)
        return SQLITE_OK;
    error = sim_disk_fault(disk_of(f), SIM_LOCK);
    if (error)
        return SQLITE_IOERR_LOCK;
    if (to == SQLITE_LOCK_SHARED) {
        if (l->pending || l->exclusive)
            return SQLITE_BUSY;
        l->shared++;
    } else if (to == SQLITE_LOCK_RESERVED) {
        if (l->reserved || l->pending || l->exclusive)
            return SQLITE_BUSY;
        l->reserved = f;
    } else {
        if ((l->reserved && l->reserved != f) || (l->pending && l->pending != f))
            return SQLITE_BUSY;
        l->pending = f;
        if (f->lock < SQLITE_LOCK_PENDING)
            f->lock = SQLITE_LOCK_PENDING;
        if (l->shared > 1)
            return SQLITE_BUSY;         /* keeps PENDING: new readers wait */
        l->exclusive = f;
    }
    f->lock = to;
    return SQLITE_OK;
}

static int vfs_check_reserved_lock(sqlite3_file *file, int *out)
{
    struct locks *l = locks_of(self(file));

    *out = l->reserved || l->pending || l->exclusive;
    return SQLITE_OK;
}

static int shm_unmap(sqlite3_file *file, int remove)
{
    struct file *f = self(file);
    struct locks *l = locks_of(f);

    (void)remove;
    if (!f->has_shm)
        return SQLITE_OK;
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if (f->shm_held & 1u << i)
            l->shm_shared[i]--;
        if (l->shm_exclusive[i] == f)
            l->shm_exclusive[i] = NULL;
    }
    f->shm_held = 0;
    f->has_shm = false;
    if (--l->shm_users == 0)
        for (int i = 0; i < SHM_REGIONS_MAX; i++) {
            free(l->region[i]);
            l->region[i] = NULL;
        }
    return SQLITE_OK;
}

static int vfs_close(sqlite3_file *file)
{
    struct file *f = self(file);
    struct sim_disk *disk = disk_of(f);

    shm_unmap(file, 0);
    vfs_unlock(file, SQLITE_LOCK_NONE);
    if (f->doomed) {
        const char *name;
        uint32_t dir = sim_disk_parent(disk, f->doomed, &name);
        if (dir)
            sim_unlink(disk, dir, name);
        free(f->doomed);
    }
    sim_inode(disk, f->ino)->handles--;
    disk->handles--;
    f->vfs->files--;
    free(f->path);
    f->base.pMethods = NULL;
    return SQLITE_OK;
}

static int vfs_read(sqlite3_file *file, void *data, int size, sqlite3_int64 off)
{
    struct file *f = self(file);
    size_t got;
    int error = sim_read(disk_of(f), f->ino, data, (size_t)size, (uint64_t)off, &got);

    if (error)
        return SQLITE_IOERR_READ;
    if (got < (size_t)size) {
        memset((char *)data + got, 0, (size_t)size - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

static int vfs_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 off)
{
    struct file *f = self(file);

    if (f->readonly)
        return SQLITE_READONLY;
    return io_error(sim_write(disk_of(f), f->ino, data, (size_t)size, (uint64_t)off),
                    SQLITE_IOERR_WRITE);
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct file *f = self(file);

    return io_error(sim_truncate(disk_of(f), f->ino, (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

static int vfs_sync(sqlite3_file *file, int flags)
{
    struct file *f = self(file);

    (void)flags;                    /* data only is as strong: the size goes with it */
    if (sim_sync(disk_of(f), f->ino))
        return SQLITE_IOERR_FSYNC;
    if (f->dirsync) {
        f->dirsync = false;
        if (sim_syncdir(disk_of(f), f->dir))
            return SQLITE_IOERR_DIR_FSYNC;
    }
    return SQLITE_OK;
}

static int vfs_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct file *f = self(file);

    if (sim_disk_fault(disk_of(f), SIM_INFO))
        return SQLITE_IOERR_FSTAT;
    *size = (sqlite3_int64)sim_inode(disk_of(f), f->ino)->size;
    return SQLITE_OK;
}

static int vfs_file_control(sqlite3_file *file, int op, void *arg)
{
    struct file *f = self(file);

    switch (op) {
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)arg = f->path && sim_disk_find(disk_of(f), f->path) != f->ino;
        return SQLITE_OK;
    case SQLITE_FCNTL_LOCKSTATE:
        *(int *)arg = f->lock;
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        *(char **)arg = sqlite3_mprintf("%s", f->vfs->name);
        return SQLITE_OK;
    }
    return SQLITE_NOTFOUND;
}

static int vfs_sector_size(sqlite3_file *file)
{
    return self(file)->vfs->sector_size;
}

static int vfs_device_characteristics(sqlite3_file *file)
{
    return self(file)->vfs->characteristics;
}

/* ---- shared memory ---- */

static int shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    struct file *f = self(file);
    struct locks *l = locks_of(f);

    *out = NULL;
    if (region >= SHM_REGIONS_MAX)
        return SQLITE_IOERR_SHMSIZE;
    if (!f->has_shm) {
        f->has_shm = true;
        l->shm_users++;
    }
    if (!l->region[region] && extend) {
        int error = sim_disk_fault(disk_of(f), SIM_ALLOC);
        if (error)
            return io_error(error, SQLITE_IOERR_SHMSIZE);
        l->region[region] = calloc(1, (size_t)size);
        if (!l->region[region])
            return SQLITE_IOERR_NOMEM;
    }
    *out = l->region[region];
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    struct file *f = self(file);
    struct locks *l = locks_of(f);
    bool shared = flags & SQLITE_SHM_SHARED;

    for (int i = first; i < first + count; i++) {
        if (flags & SQLITE_SHM_UNLOCK)
            continue;
        if (l->shm_exclusive[i] && l->shm_exclusive[i] != f)
            return SQLITE_BUSY;
        if (!shared && l->shm_shared[i] - (f->shm_held >> i & 1) > 0)
            return SQLITE_BUSY;
    }
    for (int i = first; i < first + count; i++) {
        bool held = f->shm_held >> i & 1;
        if (flags & SQLITE_SHM_UNLOCK) {
            if (held)
                l->shm_shared[i]--;
            f->shm_held &= ~(1u << i);
            if (l->shm_exclusive[i] == f)
                l->shm_exclusive[i] = NULL;
        } else if (!shared) {
            l->shm_exclusive[i] = f;
        } else if (!held) {
            l->shm_shared[i]++;
            f->shm_held |= 1u << i;
        }
    }
    return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *file)
{
    (void)file;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, .xClose = vfs_close, .xRead = vfs_read, .xWrite = vfs_write,
    .xTruncate = vfs_truncate, .xSync = vfs_sync, .xFileSize = vfs_file_size, .xLock = vfs_lock,
    .xUnlock = vfs_unlock, .xCheckReservedLock = vfs_check_reserved_lock,
    .xFileControl = vfs_file_control, .xSectorSize = vfs_sector_size,
    .xDeviceCharacteristics = vfs_device_characteristics, .xShmMap = shm_map,
    .xShmLock = shm_lock, .xShmBarrier = shm_barrier, .xShmUnmap = shm_unmap,
};

/* ---- names ---- */

static struct sim_vfs *of(sqlite3_vfs *vfs)
{
    return (struct sim_vfs *)vfs;
}

static char *copy_text(const char *text)
{
    char *copy = malloc(strlen(text) + 1);

    if (!copy)
        abort();
    return strcpy(copy, text);
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *out_flags)
{
    struct sim_disk *disk = of(vfs)->disk;
    struct file *f = self(file);
    const char *name = NULL;
    bool created = false;
    int error = 0;

    memset(f, 0, sizeof *f);
    f->vfs = of(vfs);
    if (!path) {
        if (sim_disk_fault(disk, SIM_OPEN))
            return SQLITE_CANTOPEN;
        f->ino = sim_anonymous(disk);
    } else {
        f->dir = sim_disk_parent(disk, path, &name);
        if (!f->dir)
            return SQLITE_CANTOPEN;
        f->ino = sim_entries_find(&sim_inode(disk, f->dir)->entries, name);
        if (f->ino && (flags & SQLITE_OPEN_EXCLUSIVE) && (flags & SQLITE_OPEN_CREATE))
            return SQLITE_CANTOPEN;
        if (!f->ino && !(flags & SQLITE_OPEN_CREATE))
            return SQLITE_CANTOPEN;
        created = !f->ino;
        error = created ? sim_create(disk, f->dir, name, 0644, &f->ino)
                        : sim_disk_fault(disk, SIM_OPEN);
        if (error || sim_inode(disk, f->ino)->is_dir)
            return SQLITE_CANTOPEN;
        f->path = copy_text(path);
        if (flags & SQLITE_OPEN_DELETEONCLOSE)
            f->doomed = copy_text(path);
    }
    /* Like unix: also one that was there, since its name may not be on the disk. */
    f->dirsync = (flags & SQLITE_OPEN_CREATE) &&
                 (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL |
                           SQLITE_OPEN_WAL));
    f->readonly = flags & SQLITE_OPEN_READONLY;
    f->base.pMethods = &methods;
    sim_inode(disk, f->ino)->handles++;
    disk->handles++;
    of(vfs)->files++;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    struct sim_disk *disk = of(vfs)->disk;
    const char *name;
    uint32_t dir = sim_disk_parent(disk, path, &name);
    int error = dir ? sim_unlink(disk, dir, name) : ENOENT;

    if (error)
        return error == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    if (sync_dir & 1 && sim_syncdir(disk, dir))
        return SQLITE_IOERR_DIR_FSYNC;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    struct sim_disk *disk = of(vfs)->disk;
    uint32_t ino = sim_disk_find(disk, path);

    if (sim_disk_fault(disk, SIM_INFO))
        return SQLITE_IOERR_ACCESS;
    *out = ino != 0;
    if (ino && flags == SQLITE_ACCESS_EXISTS && !sim_inode(disk, ino)->is_dir)
        *out = sim_inode(disk, ino)->size > 0;
    return SQLITE_OK;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    int n = snprintf(out, (size_t)size, "%s%s", path[0] == '/' ? "" : "/", path);

    (void)vfs;
    return n >= 0 && n < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void)vfs, (void)path;
    return NULL;
}

static void vfs_dl_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    snprintf(text, (size_t)size, "the simulation loads nothing");
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    for (int i = 0; i < size; i++)
        out[i] = (char)sim_disk_random(of(vfs)->disk);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    of(vfs)->disk->clock_us += (uint64_t)us;
    of(vfs)->slept_us += (uint64_t)us;
    return us;
}

static int vfs_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *ms)
{
    *ms = (sqlite3_int64)(++of(vfs)->disk->clock_us / 1000) + 210866760000000;
    return SQLITE_OK;
}

static int vfs_current_time(sqlite3_vfs *vfs, double *days)
{
    sqlite3_int64 ms;

    vfs_current_time_int64(vfs, &ms);
    *days = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_get_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    if (size > 0)
        text[0] = '\0';
    return 0;
}

struct sim_vfs *sim_vfs_new(struct sim_disk *disk)
{
    static unsigned count;
    struct sim_vfs *v = calloc(1, sizeof *v);

    if (!v)
        abort();
    v->disk = disk;
    v->sector_size = 512;
    snprintf(v->name, sizeof v->name, "sim%u", ++count);
    v->vfs = (sqlite3_vfs){
        .iVersion = 2, .szOsFile = sizeof(struct file), .mxPathname = 512, .zName = v->name,
        .xOpen = vfs_open, .xDelete = vfs_delete, .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname, .xDlOpen = vfs_dl_open, .xDlError = vfs_dl_error,
        .xRandomness = vfs_randomness, .xSleep = vfs_sleep, .xCurrentTime = vfs_current_time,
        .xGetLastError = vfs_get_last_error, .xCurrentTimeInt64 = vfs_current_time_int64,
    };
    sqlite3_vfs_register(&v->vfs, 0);
    return v;
}

bool sim_vfs_free(struct sim_vfs *vfs)
{
    bool clean = vfs->files == 0;

    if (!clean)
        fprintf(stderr, "simulation: SQLite left %u files open\n", vfs->files);
    sqlite3_vfs_unregister(&vfs->vfs);
    free(vfs);
    return clean;
}
