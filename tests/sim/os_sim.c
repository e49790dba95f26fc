/*
 * os_sim.c -- the seam's calls, one by one, on a simulated disk.
 *
 * Handles come from the counted memory, as in os_posix.c: opening a file or
 * making a mutex can fail with ENOMEM.
 */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os_sim.h"

struct lsm_dir {
    struct sim_os *os;
    uint32_t ino;
};

struct lsm_file {
    struct sim_os *os;
    uint32_t ino;
    bool writable;
    bool shares;                /* the lock, with others */
};

struct lsm_mutex {
    struct sim_os *os;
    bool held;
};

struct lsm_cond {
    struct sim_os *os;
};

static struct sim_os *self(struct lsm_os *os)
{
    return (struct sim_os *)os;
}

static void *mem_alloc(struct lsm_os *os, size_t size);
static void mem_free(struct lsm_os *os, void *p);

static void never(const char *what)
{
    fprintf(stderr, "simulation: %s\n", what);
    abort();
}

/* ---- directories ---- */

static int dir_open(struct lsm_os *os, const char *path, bool create, uint32_t mode, bool *created,
                    struct lsm_dir **out)
{
    struct sim_os *sim = self(os);
    struct sim_disk *disk = sim->disk;
    struct lsm_dir *handle;
    const char *name;
    uint32_t parent, ino;
    bool made = false;
    int error;

    *out = NULL;
    if (created)
        *created = false;
    handle = mem_alloc(os, sizeof *handle);
    if (!handle)
        return ENOMEM;
    if (sim->inside && strncmp(path, sim->inside, strlen(sim->inside)) != 0)
        sim_disk_break(disk, "the directory %s is not in %s", path, sim->inside);
    parent = sim_disk_parent(disk, path, &name);
    ino = sim_disk_find(disk, path);
    error = !parent ? ENOENT : sim_disk_fault(disk, SIM_OPEN);
    if (!error && !ino && create) {
        error = sim_mkdir(disk, parent, name, mode, &ino);
        made = !error;
        if (made && (error = sim_syncdir(disk, parent)) != 0)
            sim_rmdir(disk, parent, name);
    }
    if (!error && (!ino || !sim_inode(disk, ino)->is_dir))
        error = ino ? ENOTDIR : ENOENT;
    if (error) {
        mem_free(os, handle);
        return error;
    }
    *handle = (struct lsm_dir){ sim, ino };
    *out = handle;
    sim->dirs++;
    if (created)
        *created = made;
    return 0;
}

static void dir_close(struct lsm_dir *dir)
{
    if (!dir)
        return;
    dir->os->dirs--;
    mem_free(&dir->os->os, dir);
}

static int dir_sync(struct lsm_dir *dir)
{
    return sim_syncdir(dir->os->disk, dir->ino);
}

static int inode_info(struct sim_disk *disk, uint32_t ino, struct lsm_file_info *info)
{
    struct sim_inode *inode = sim_inode(disk, ino);
    int error = sim_disk_fault(disk, SIM_INFO);

    if (error)
        return error;
    memset(info, 0, sizeof *info);
    info->size = info->allocated = inode->size;
    info->dev = 1;
    info->ino = ino;
    info->mode = inode->mode;
    info->nlink = inode->nlink;
    info->is_dir = inode->is_dir;
    info->is_file = !inode->is_dir;
    return 0;
}

static int dir_info(struct lsm_dir *dir, struct lsm_file_info *info)
{
    return inode_info(dir->os->disk, dir->ino, info);
}

static int dir_list(struct lsm_dir *dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct sim_entries copy;    /* fn may remove files */
    int result = sim_disk_fault(dir->os->disk, SIM_LIST);

    if (result)
        return result;
    sim_entries_copy(&copy, &sim_inode(dir->os->disk, dir->ino)->entries);
    for (size_t i = 0; i < copy.count && !result; i++)
        result = fn(ctx, copy.at[i].name);
    sim_entries_clear(&copy);
    return result;
}

static int dir_remove(struct lsm_os *os, const char *path)
{
    struct sim_disk *disk = self(os)->disk;
    const char *name;
    uint32_t parent = sim_disk_parent(disk, path, &name);

    return parent ? sim_rmdir(disk, parent, name) : ENOENT;
}

/* ---- files ---- */

static int file_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                     struct lsm_file **out)
{
    struct sim_os *sim = dir->os;
    struct sim_disk *disk = sim->disk;
    uint32_t ino = sim_entries_find(&sim_inode(disk, dir->ino)->entries, name);
    bool create = flags & (LSM_OPEN_CREATE | LSM_OPEN_CREATE_SHARED);
    bool writable = create || (flags & LSM_OPEN_WRITE);
    struct lsm_file *file;
    int error;

    assert(!strchr(name, '/') && *name);
    *out = NULL;
    if (ino && (flags & LSM_OPEN_CREATE))
        return EEXIST;
    if (!ino && !create)
        return ENOENT;
    file = mem_alloc(&sim->os, sizeof *file);
    if (!file)
        return ENOMEM;
    error = ino ? sim_disk_fault(disk, SIM_OPEN) : sim_create(disk, dir->ino, name, mode, &ino);
    if (!error && sim_inode(disk, ino)->is_dir)
        error = EINVAL;
    if (!error && writable && sim_inode(disk, ino)->nlink > 1)
        error = EMLINK;
    if (error) {
        mem_free(&sim->os, file);
        return error;
    }
    *file = (struct lsm_file){ sim, ino, writable, false };
    *out = file;
    sim_inode(disk, ino)->handles++;
    disk->handles++;
    sim->files++;
    return 0;
}

static void file_close(struct lsm_file *file)
{
    struct sim_inode *inode;

    if (!file)
        return;
    inode = sim_inode(file->os->disk, file->ino);
    if (inode->locked_by == file)
        inode->locked_by = NULL;
    inode->sharer_count -= file->shares;
    inode->handles--;
    file->os->disk->handles--;
    file->os->files--;
    mem_free(&file->os->os, file);
}

static int file_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    return sim_read(file->os->disk, file->ino, data, size, off, got);
}

static int file_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    assert(file->writable);
    return size ? sim_write(file->os->disk, file->ino, data, size, off) : 0;
}

static int file_sync(struct lsm_file *file)
{
    return sim_sync(file->os->disk, file->ino);
}

static int file_truncate(struct lsm_file *file, uint64_t size)
{
    assert(file->writable);
    return sim_truncate(file->os->disk, file->ino, size);
}

static int file_allocate(struct lsm_file *file, uint64_t size)
{
    assert(file->writable);
    return sim_allocate(file->os->disk, file->ino, size);
}

static void file_expect(struct lsm_file *file, uint64_t off, uint64_t end)
{
    (void)file, (void)off, (void)end;   /* nothing a crash could show; that it is there makes logs reserve room */
}

static int file_info(struct lsm_file *file, struct lsm_file_info *info)
{
    return inode_info(file->os->disk, file->ino, info);
}

static int file_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    return sim_rename(dir->os->disk, dir->ino, from, to);
}

static int file_remove(struct lsm_dir *dir, const char *name)
{
    return sim_unlink(dir->os->disk, dir->ino, name);
}

static int file_link(struct lsm_dir *dir, const char *name, struct lsm_dir *to, const char *to_name)
{
    return sim_link(dir->os->disk, dir->ino, name, to->ino, to_name);
}

static void file_prefetch(struct lsm_file *file, uint64_t off, uint64_t size)
{
    (void)file, (void)off, (void)size;
}

static int file_lock(struct lsm_file *file)
{
    struct sim_inode *inode = sim_inode(file->os->disk, file->ino);
    int error = sim_disk_fault(file->os->disk, SIM_LOCK);

    if (error)
        return error;
    if ((inode->locked_by && inode->locked_by != file) || (file->writable && inode->sharer_count))
        return EAGAIN;
    if (file->writable) {
        inode->locked_by = file;
    } else if (!file->shares) {
        file->shares = true;
        inode->sharer_count++;
    }
    return 0;
}

/* ---- threads: one ---- */

static int mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    *mutex = mem_alloc(os, sizeof **mutex);
    if (!*mutex)
        return ENOMEM;
    **mutex = (struct lsm_mutex){ self(os), false };
    self(os)->mutexes++;
    return 0;
}

static void mutex_free(struct lsm_mutex *mutex)
{
    if (!mutex)
        return;
    assert(!mutex->held);
    mutex->os->mutexes--;
    mem_free(&mutex->os->os, mutex);
}

static void mutex_lock(struct lsm_mutex *mutex)
{
    if (mutex->held)
        never("a mutex is locked twice in one thread");
    mutex->held = true;
}

static void mutex_unlock(struct lsm_mutex *mutex)
{
    assert(mutex->held);
    mutex->held = false;
}

static int cond_new(struct lsm_os *os, struct lsm_cond **cond)
{
    *cond = mem_alloc(os, sizeof **cond);
    if (!*cond)
        return ENOMEM;
    (*cond)->os = self(os);
    self(os)->conds++;
    return 0;
}

static void cond_free(struct lsm_cond *cond)
{
    if (!cond)
        return;
    cond->os->conds--;
    mem_free(&cond->os->os, cond);
}

static void cond_wait(struct lsm_cond *cond, struct lsm_mutex *mutex)
{
    (void)cond, (void)mutex;
    never("a wait that nobody can end");
}

static void cond_wait_us(struct lsm_cond *cond, struct lsm_mutex *mutex, uint64_t us)
{
    assert(mutex->held);
    cond->os->disk->clock_us += us;
    cond->os->slept_us += us;
}

static void cond_broadcast(struct lsm_cond *cond)
{
    (void)cond;
}

static int thread_start(struct lsm_os *os, void (*fn)(void *ctx), void *ctx,
                        struct lsm_thread **thread)
{
    (void)os, (void)fn, (void)ctx;
    *thread = NULL;
    return EAGAIN;
}

static void thread_join(struct lsm_thread *thread)
{
    if (thread)
        never("a thread to join where none was started");
}

/* ---- time, chance, process ---- */

static uint64_t clock_us(struct lsm_os *os)
{
    return ++self(os)->disk->clock_us;
}

static void sleep_us(struct lsm_os *os, uint64_t us)
{
    self(os)->disk->clock_us += us;
    self(os)->slept_us += us;
}

static int random_bytes(struct lsm_os *os, void *data, size_t size)
{
    uint8_t *to = data;

    while (size) {
        uint64_t x = sim_disk_random(self(os)->disk);
        size_t n = size < 8 ? size : 8;
        memcpy(to, &x, n);
        to += n;
        size -= n;
    }
    return 0;
}

static uint64_t process_id(struct lsm_os *os)
{
    (void)os;
    return 4242;
}

static uint32_t fork_generation(struct lsm_os *os)
{
    (void)os;
    return 0;
}

/* ---- memory ---- */

static bool mem_fails(struct sim_os *sim)
{
    sim->mem_calls++;
    if (sim->mem_fail_at == 0 || sim->mem_calls < sim->mem_fail_at ||
        (sim->mem_calls > sim->mem_fail_at && !sim->mem_fail_sticky))
        return false;
    sim->mem_fired++;
    return true;
}

static void mem_count(struct sim_os *sim, void *p)
{
    sim->mem_used += malloc_usable_size(p);
    sim->mem_blocks++;
    if (sim->mem_peak < sim->mem_used)
        sim->mem_peak = sim->mem_used;
}

static void *mem_alloc(struct lsm_os *os, size_t size)
{
    void *p;

    if (mem_fails(self(os)))
        return NULL;
    p = malloc(size ? size : 1);
    if (p) {
        memset(p, 0xd5, size < 4096 ? size : 4096);     /* what nobody set shows */
        mem_count(self(os), p);
    }
    return p;
}

static void mem_free(struct lsm_os *os, void *p)
{
    if (!p)
        return;
    self(os)->mem_used -= malloc_usable_size(p);
    self(os)->mem_blocks--;
    free(p);
}

static void *mem_realloc(struct lsm_os *os, void *p, size_t size)
{
    size_t before;
    void *q;

    if (!p)
        return mem_alloc(os, size);
    if (mem_fails(self(os)))
        return NULL;
    before = malloc_usable_size(p);
    q = realloc(p, size ? size : 1);
    if (!q)
        return NULL;
    self(os)->mem_used -= before;
    self(os)->mem_blocks--;
    mem_count(self(os), q);
    return q;
}

static uint64_t mem_used(struct lsm_os *os)
{
    return self(os)->mem_used;
}

struct sim_os *sim_os_new(struct sim_disk *disk)
{
    struct sim_os *sim = calloc(1, sizeof *sim);

    if (!sim)
        abort();
    sim->disk = disk;
    sim->os = (struct lsm_os){
        .dir_open = dir_open, .dir_close = dir_close, .dir_sync = dir_sync, .dir_info = dir_info,
        .dir_list = dir_list, .dir_remove = dir_remove,
        .file_open = file_open, .file_close = file_close, .file_read = file_read,
        .file_write = file_write, .file_sync = file_sync, .file_truncate = file_truncate,
        .file_allocate = file_allocate, .file_expect = file_expect, .file_info = file_info, .file_rename = file_rename,
        .file_remove = file_remove, .file_link = file_link, .file_prefetch = file_prefetch,
        .file_lock = file_lock,
        .mutex_new = mutex_new, .mutex_free = mutex_free, .mutex_lock = mutex_lock,
        .mutex_unlock = mutex_unlock, .cond_new = cond_new, .cond_free = cond_free,
        .cond_wait = cond_wait, .cond_wait_us = cond_wait_us, .cond_broadcast = cond_broadcast,
        .thread_start = thread_start, .thread_join = thread_join,
        .wall_us = clock_us, .mono_us = clock_us, .sleep_us = sleep_us, .random = random_bytes,
        .process_id = process_id, .fork_generation = fork_generation,
        .mem_alloc = mem_alloc, .mem_realloc = mem_realloc, .mem_free = mem_free,
        .mem_used = mem_used,
    };
    return sim;
}

bool sim_os_is_clean(const struct sim_os *os)
{
    return !os->mem_blocks && !os->files && !os->dirs && !os->mutexes && !os->conds;
}

bool sim_os_free(struct sim_os *os)
{
    bool clean = sim_os_is_clean(os);

    if (!clean)
        fprintf(stderr, "simulation: left over: %llu bytes in %llu blocks, %u files, "
                "%u directories, %u mutexes, %u conditions\n", (unsigned long long)os->mem_used,
                (unsigned long long)os->mem_blocks, os->files, os->dirs, os->mutexes, os->conds);
    free(os);
    return clean;
}
