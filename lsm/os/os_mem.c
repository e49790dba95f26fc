/*
 * os_mem.c -- files in memory, for :memory: databases and for tests. Threads,
 * time, chance and memory are the base's.
 *
 *     path -> node -> entry (name) -> inode -> chunks[]        handles point at nodes and inodes
 *
 * As on a disk, a name and its file are two things: a file that was removed or
 * replaced lives on while it is open. A chunk that was never written is NULL
 * and reads as zeros; bytes of a chunk at or after the size are always zero, so
 * that growing shows zeros too.
 *
 * Threads: one mutex guards everything below struct mem_os.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lsm/os/os.h"

#define CHUNK_BYTES ((size_t)16 << 10)
#define NAME_SIZE_MAX 255u

struct inode {
    uint8_t **chunks;
    size_t chunk_count;         /* entries of chunks; size may reach beyond: zeros */
    uint64_t size, allocated;
    uint64_t ino;
    uint32_t mode;
    uint32_t names;             /* entries that point here */
    uint32_t handles;           /* open files */
    struct lsm_file *locker;    /* who holds the lock alone, or NULL */
    uint32_t sharer_count;      /* files that hold it together */
};

struct entry {
    struct entry *next;
    struct inode *inode;
    char name[NAME_SIZE_MAX + 1];
};

struct node {
    struct node *next;
    struct entry *entries;
    uint64_t ino;
    uint32_t mode;
    uint32_t handles;           /* open directories */
    bool removed;               /* its path is gone; dies with the last handle */
    char path[];
};

struct mem_os {
    struct lsm_os os;           /* first: the seam's pointer is ours */
    struct lsm_os *base;
    struct lsm_mutex *mutex;
    struct node *nodes;
    uint64_t ino_last;
};

struct lsm_dir {
    struct mem_os *m;
    struct node *node;
};

struct lsm_file {
    struct mem_os *m;
    struct inode *inode;
    bool writable;
    bool shares;                /* the lock, with others */
};

static struct mem_os *self(struct lsm_os *os)
{
    return (struct mem_os *)os;
}

static void lock(struct mem_os *m)
{
    m->base->mutex_lock(m->mutex);
}

static void unlock(struct mem_os *m)
{
    m->base->mutex_unlock(m->mutex);
}

static void *zalloc(struct mem_os *m, size_t size)
{
    return lsm_mem_zalloc(m->base, size);
}

static void release(struct mem_os *m, void *p)
{
    m->base->mem_free(m->base, p);
}

/* ---- inodes: mutex held ------------------------------------------------- */

static void check_inode(const struct inode *inode)
{
    assert(inode->chunk_count == 0 || inode->chunks);
    assert(inode->allocated <= inode->chunk_count * CHUNK_BYTES);
    assert(inode->allocated % CHUNK_BYTES == 0);
    (void)inode;
}

/* Free it when neither a name nor a handle leads to it. */
static void inode_put(struct mem_os *m, struct inode *inode)
{
    if (inode->names || inode->handles)
        return;
    for (size_t i = 0; i < inode->chunk_count; i++)
        release(m, inode->chunks[i]);
    release(m, inode->chunks);
    release(m, inode);
}

/* Have the chunks of [off, off + size). */
static int fill_chunks(struct mem_os *m, struct inode *inode, uint64_t off, size_t size)
{
    size_t first = off / CHUNK_BYTES, end = (off + size - 1) / CHUNK_BYTES + 1;

    if (end > inode->chunk_count) {
        size_t count = inode->chunk_count * 2 > end ? inode->chunk_count * 2 : end;
        uint8_t **chunks = m->base->mem_realloc(m->base, inode->chunks, count * sizeof(*chunks));
        if (!chunks)
            return ENOMEM;
        memset(chunks + inode->chunk_count, 0,
               (count - inode->chunk_count) * sizeof(*chunks));
        inode->chunks = chunks;
        inode->chunk_count = count;
    }
    for (size_t i = first; i < end; i++) {
        if (inode->chunks[i])
            continue;
        inode->chunks[i] = zalloc(m, CHUNK_BYTES);
        if (!inode->chunks[i])
            return ENOMEM;
        inode->allocated += CHUNK_BYTES;
    }
    return 0;
}

static void read_bytes(const struct inode *inode, uint8_t *out, size_t size, uint64_t off)
{
    while (size) {
        size_t chunk = off / CHUNK_BYTES, at = off % CHUNK_BYTES;
        size_t n = size < CHUNK_BYTES - at ? size : CHUNK_BYTES - at;

        if (chunk < inode->chunk_count && inode->chunks[chunk])
            memcpy(out, inode->chunks[chunk] + at, n);
        else
            memset(out, 0, n);
        out += n;
        off += n;
        size -= n;
    }
}

static void write_bytes(struct inode *inode, const uint8_t *data, size_t size, uint64_t off)
{
    while (size) {
        size_t chunk = off / CHUNK_BYTES, at = off % CHUNK_BYTES;
        size_t n = size < CHUNK_BYTES - at ? size : CHUNK_BYTES - at;

        memcpy(inode->chunks[chunk] + at, data, n);
        data += n;
        off += n;
        size -= n;
    }
}

/* Forget what lies at or after `size`. */
static void cut_chunks(struct mem_os *m, struct inode *inode, uint64_t size)
{
    size_t chunk = size / CHUNK_BYTES, at = size % CHUNK_BYTES;

    if (at && chunk < inode->chunk_count && inode->chunks[chunk])
        memset(inode->chunks[chunk] + at, 0, CHUNK_BYTES - at);
    for (size_t i = chunk + (at != 0); i < inode->chunk_count; i++) {
        if (!inode->chunks[i])
            continue;
        release(m, inode->chunks[i]);
        inode->chunks[i] = NULL;
        inode->allocated -= CHUNK_BYTES;
    }
}

/* ---- names: mutex held -------------------------------------------------- */

/* Where the entry hangs, or the NULL at the end of the list. */
static struct entry **find_entry(struct node *node, const char *name)
{
    struct entry **at = &node->entries;

    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static int add_entry(struct mem_os *m, struct node *node, const char *name, struct inode *inode)
{
    struct entry *entry;

    if (strlen(name) > NAME_SIZE_MAX)
        return ENAMETOOLONG;
    if (node->removed)
        return ENOENT;
    entry = zalloc(m, sizeof(*entry));
    if (!entry)
        return ENOMEM;
    strcpy(entry->name, name);
    entry->inode = inode;
    entry->next = node->entries;
    node->entries = entry;
    inode->names++;
    return 0;
}

static void remove_entry(struct mem_os *m, struct entry **at)
{
    struct entry *entry = *at;

    *at = entry->next;
    entry->inode->names--;
    inode_put(m, entry->inode);
    release(m, entry);
}

static size_t path_size(const char *path)
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    return size;
}

static struct node **find_node(struct mem_os *m, const char *path)
{
    struct node **at = &m->nodes;
    size_t size = path_size(path);

    while (*at && ((*at)->removed || strlen((*at)->path) != size ||
                   memcmp((*at)->path, path, size) != 0))
        at = &(*at)->next;
    return at;
}

static struct node *add_node(struct mem_os *m, const char *path, uint32_t mode)
{
    size_t size = path_size(path);
    struct node *node = zalloc(m, sizeof(*node) + size + 1);

    if (!node)
        return NULL;
    memcpy(node->path, path, size);
    node->mode = mode;
    node->ino = ++m->ino_last;
    node->next = m->nodes;
    m->nodes = node;
    return node;
}

static void free_node(struct mem_os *m, struct node **at)
{
    struct node *node = *at;

    *at = node->next;
    while (node->entries)
        remove_entry(m, &node->entries);
    release(m, node);
}

/* ---- directories -------------------------------------------------------- */

static int dir_open(struct lsm_os *os, const char *path, bool create, uint32_t mode,
                    bool *created, struct lsm_dir **out)
{
    struct mem_os *m = self(os);
    struct lsm_dir *dir = zalloc(m, sizeof(*dir));
    struct node *node;
    bool made = false;
    int rc = 0;

    *out = NULL;
    if (created)
        *created = false;
    if (!dir)
        return ENOMEM;

    lock(m);
    node = *find_node(m, path);
    if (!node && (!create || !*path))
        rc = ENOENT;
    if (!node && rc == 0) {
        node = add_node(m, path, mode);
        made = node != NULL;
        rc = made ? 0 : ENOMEM;
    }
    if (rc == 0)
        node->handles++;
    unlock(m);

    if (rc) {
        release(m, dir);
        return rc;
    }
    *dir = (struct lsm_dir){ m, node };
    *out = dir;
    if (created)
        *created = made;
    return 0;
}

static void dir_close(struct lsm_dir *dir)
{
    struct mem_os *m;

    if (!dir)
        return;
    m = dir->m;
    lock(m);
    if (--dir->node->handles == 0 && dir->node->removed) {
        struct node **at = &m->nodes;
        while (*at != dir->node)
            at = &(*at)->next;
        free_node(m, at);
    }
    unlock(m);
    release(m, dir);
}

static int dir_sync(struct lsm_dir *dir)
{
    (void)dir;
    return 0;
}

static int dir_info(struct lsm_dir *dir, struct lsm_file_info *info)
{
    lock(dir->m);
    *info = (struct lsm_file_info){ .ino = dir->node->ino, .mode = dir->node->mode,
                                    .nlink = dir->node->removed ? 0 : 1, .is_dir = true };
    unlock(dir->m);
    return 0;
}

/* The callback may change the directory, so it gets a copy of the names. */
static int dir_list(struct lsm_dir *dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct mem_os *m = dir->m;
    struct entry *entry;
    size_t count = 0, i = 0;
    char (*names)[NAME_SIZE_MAX + 1];
    int rc = 0;

    lock(m);
    for (entry = dir->node->entries; entry; entry = entry->next)
        count++;
    names = count ? zalloc(m, count * sizeof(*names)) : NULL;
    for (entry = dir->node->entries; names && entry; entry = entry->next)
        memcpy(names[i++], entry->name, sizeof(*names));
    unlock(m);

    if (count && !names)
        return ENOMEM;
    for (i = 0; i < count && rc == 0; i++)
        rc = fn(ctx, names[i]);
    release(m, names);
    return rc;
}

static int dir_remove(struct lsm_os *os, const char *path)
{
    struct mem_os *m = self(os);
    struct node **at;
    int rc = 0;

    lock(m);
    at = find_node(m, path);
    if (!*at)
        rc = ENOENT;
    else if ((*at)->entries)
        rc = ENOTEMPTY;
    else if ((*at)->handles)
        (*at)->removed = true;
    else
        free_node(m, at);
    unlock(m);
    return rc;
}

/* ---- files -------------------------------------------------------------- */

/* The inode that an open with `flags` finds or makes. Mutex held. */
static int find_inode(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                      struct inode **out)
{
    struct entry *entry = *find_entry(dir->node, name);
    struct inode *inode;
    int rc;

    if (entry) {
        *out = entry->inode;
        if (flags & LSM_OPEN_CREATE)
            return EEXIST;
        return flags != LSM_OPEN_READ && entry->inode->names > 1 ? EMLINK : 0;
    }
    if (!(flags & (LSM_OPEN_CREATE | LSM_OPEN_CREATE_SHARED)))
        return ENOENT;

    inode = zalloc(dir->m, sizeof(*inode));
    if (!inode)
        return ENOMEM;
    inode->mode = mode;
    inode->ino = ++dir->m->ino_last;
    rc = add_entry(dir->m, dir->node, name, inode);
    if (rc)
        inode_put(dir->m, inode);
    else
        *out = inode;
    return rc;
}

static int file_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                     struct lsm_file **out)
{
    struct lsm_file *file = zalloc(dir->m, sizeof(*file));
    struct inode *inode;
    int rc;

    assert(*name);
    assert(!strchr(name, '/'));

    *out = NULL;
    if (!file)
        return ENOMEM;
    lock(dir->m);
    rc = find_inode(dir, name, flags, mode, &inode);
    if (rc == 0)
        inode->handles++;
    unlock(dir->m);

    if (rc) {
        release(dir->m, file);
        return rc;
    }
    *file = (struct lsm_file){ dir->m, inode, flags != LSM_OPEN_READ, false };
    *out = file;
    return 0;
}

static void file_close(struct lsm_file *file)
{
    struct mem_os *m;

    if (!file)
        return;
    m = file->m;
    lock(m);
    if (file->inode->locker == file)
        file->inode->locker = NULL;
    file->inode->sharer_count -= file->shares;
    file->inode->handles--;
    inode_put(m, file->inode);
    unlock(m);
    release(m, file);
}

static int file_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    struct inode *inode = file->inode;
    uint64_t left;

    *got = 0;
    if (off > INT64_MAX || size > INT64_MAX - off)
        return EINVAL;
    lock(file->m);
    left = off < inode->size ? inode->size - off : 0;
    *got = size < left ? size : left;
    read_bytes(inode, data, *got, off);
    unlock(file->m);
    return 0;
}

static int file_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    struct inode *inode = file->inode;
    int rc;

    if (!file->writable)
        return EBADF;
    if (off > INT64_MAX || size > INT64_MAX - off)
        return EFBIG;
    if (size == 0)
        return 0;
    lock(file->m);
    rc = fill_chunks(file->m, inode, off, size);
    if (rc == 0) {
        write_bytes(inode, data, size, off);
        if (inode->size < off + size)
            inode->size = off + size;
    }
    check_inode(inode);
    unlock(file->m);
    return rc;
}

static int file_sync(struct lsm_file *file)
{
    (void)file;
    return 0;
}

static int file_truncate(struct lsm_file *file, uint64_t size)
{
    if (!file->writable)
        return EINVAL;
    if (size > INT64_MAX)
        return EFBIG;
    lock(file->m);
    if (size < file->inode->size)
        cut_chunks(file->m, file->inode, size);
    file->inode->size = size;
    check_inode(file->inode);
    unlock(file->m);
    return 0;
}

static int file_allocate(struct lsm_file *file, uint64_t size)
{
    (void)file;
    (void)size;
    return EOPNOTSUPP;          /* memory is taken when it is written */
}

static int file_info(struct lsm_file *file, struct lsm_file_info *info)
{
    struct inode *inode = file->inode;

    lock(file->m);
    *info = (struct lsm_file_info){ .size = inode->size, .allocated = inode->allocated,
                                    .ino = inode->ino, .mode = inode->mode,
                                    .nlink = inode->names, .is_file = true };
    unlock(file->m);
    return 0;
}

static uint64_t file_next_data(struct lsm_file *file, uint64_t off)
{
    const struct inode *inode = file->inode;
    uint64_t data = UINT64_MAX;

    lock(file->m);
    for (uint64_t i = off / CHUNK_BYTES; i < inode->chunk_count && data == UINT64_MAX && off < inode->size; i++)
        if (inode->chunks[i] && i * CHUNK_BYTES < inode->size)
            data = i * CHUNK_BYTES > off ? i * CHUNK_BYTES : off;
    unlock(file->m);
    return data;
}

static int file_link(struct lsm_dir *dir, const char *name, struct lsm_dir *to,
                     const char *to_name)
{
    struct entry *entry;
    int rc;

    lock(dir->m);
    entry = *find_entry(dir->node, name);
    if (!entry)
        rc = ENOENT;
    else if (*find_entry(to->node, to_name))
        rc = EEXIST;
    else
        rc = add_entry(dir->m, to->node, to_name, entry->inode);
    unlock(dir->m);
    return rc;
}

static int file_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    struct entry *entry, **target;
    int rc = 0;

    lock(dir->m);
    entry = *find_entry(dir->node, from);
    target = find_entry(dir->node, to);
    if (!entry) {
        rc = ENOENT;
    } else if (strlen(to) > NAME_SIZE_MAX) {
        rc = ENAMETOOLONG;
    } else if (!*target || (*target)->inode != entry->inode) {  /* POSIX: else nothing to do */
        if (*target)
            remove_entry(dir->m, target);
        strcpy(entry->name, to);
    }
    unlock(dir->m);
    return rc;
}

static int file_remove(struct lsm_dir *dir, const char *name)
{
    struct entry **at;
    int rc = ENOENT;

    lock(dir->m);
    at = find_entry(dir->node, name);
    if (*at) {
        remove_entry(dir->m, at);
        rc = 0;
    }
    unlock(dir->m);
    return rc;
}

static void file_prefetch(struct lsm_file *file, uint64_t off, uint64_t size)
{
    (void)file;
    (void)off;
    (void)size;
}

static int file_lock(struct lsm_file *file)
{
    struct inode *inode = file->inode;
    int rc = 0;

    lock(file->m);
    if ((inode->locker && inode->locker != file) || (file->writable && inode->sharer_count)) {
        rc = EAGAIN;
    } else if (file->writable) {
        inode->locker = file;
    } else if (!file->shares) {
        file->shares = true;
        inode->sharer_count++;
    }
    unlock(file->m);
    return rc;
}

/* ---- what the base does ------------------------------------------------- */

static int mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    return self(os)->base->mutex_new(self(os)->base, mutex);
}

static int cond_new(struct lsm_os *os, struct lsm_cond **cond)
{
    return self(os)->base->cond_new(self(os)->base, cond);
}

static int thread_start(struct lsm_os *os, void (*fn)(void *ctx), void *ctx,
                        struct lsm_thread **thread)
{
    return self(os)->base->thread_start(self(os)->base, fn, ctx, thread);
}

static uint64_t wall_us(struct lsm_os *os)
{
    return self(os)->base->wall_us(self(os)->base);
}

static uint64_t mono_us(struct lsm_os *os)
{
    return self(os)->base->mono_us(self(os)->base);
}

static void sleep_us(struct lsm_os *os, uint64_t us)
{
    self(os)->base->sleep_us(self(os)->base, us);
}

static int fill_random(struct lsm_os *os, void *data, size_t size)
{
    return self(os)->base->random(self(os)->base, data, size);
}

static uint64_t process_id(struct lsm_os *os)
{
    return self(os)->base->process_id(self(os)->base);
}

static uint32_t fork_generation(struct lsm_os *os)
{
    return self(os)->base->fork_generation(self(os)->base);
}

static uint32_t cpu_count(struct lsm_os *os)
{
    struct lsm_os *base = self(os)->base;
    return base->cpu_count ? base->cpu_count(base) : 1;
}

static uint32_t cpu_used(struct lsm_os *os)
{
    struct lsm_os *base = self(os)->base;
    return base->cpu_used ? base->cpu_used(base) : 0;
}

static void *mem_alloc(struct lsm_os *os, size_t size)
{
    return self(os)->base->mem_alloc(self(os)->base, size);
}

static void *mem_realloc(struct lsm_os *os, void *p, size_t size)
{
    return self(os)->base->mem_realloc(self(os)->base, p, size);
}

static void mem_free(struct lsm_os *os, void *p)
{
    self(os)->base->mem_free(self(os)->base, p);
}

static uint64_t mem_used(struct lsm_os *os)
{
    return self(os)->base->mem_used(self(os)->base);
}

/* ------------------------------------------------------------------------- */

struct lsm_os *lsm_os_mem_new(struct lsm_os *base)
{
    struct mem_os *m = lsm_mem_zalloc(base, sizeof(*m));

    if (!m)
        return NULL;
    m->base = base;
    if (base->mutex_new(base, &m->mutex)) {
        lsm_mem_free(base, m);
        return NULL;
    }
    m->os = (struct lsm_os){
        .dir_open = dir_open, .dir_close = dir_close, .dir_sync = dir_sync,
        .dir_info = dir_info, .dir_list = dir_list, .dir_remove = dir_remove,
        .file_open = file_open, .file_close = file_close, .file_read = file_read,
        .file_write = file_write, .file_sync = file_sync, .file_truncate = file_truncate,
        .file_allocate = file_allocate, .file_info = file_info, .file_rename = file_rename,
        .file_remove = file_remove, .file_link = file_link, .file_prefetch = file_prefetch,
        .file_lock = file_lock, .file_next_data = file_next_data,
        /* Calls on what the base made go to the base. */
        .mutex_new = mutex_new, .mutex_free = base->mutex_free, .mutex_lock = base->mutex_lock,
        .mutex_unlock = base->mutex_unlock,
        .cond_new = cond_new, .cond_free = base->cond_free, .cond_wait = base->cond_wait,
        .cond_wait_us = base->cond_wait_us, .cond_broadcast = base->cond_broadcast,
        .thread_start = thread_start, .thread_join = base->thread_join,
        .wall_us = wall_us, .mono_us = mono_us, .sleep_us = sleep_us, .random = fill_random,
        .process_id = process_id, .cpu_count = cpu_count, .cpu_used = cpu_used, .fork_generation = fork_generation,
        .mem_alloc = mem_alloc, .mem_realloc = mem_realloc, .mem_free = mem_free,
        .mem_used = mem_used,
    };
    return &m->os;
}

void lsm_os_mem_free(struct lsm_os *os)
{
    struct mem_os *m;

    if (!os)
        return;
    m = self(os);
    while (m->nodes)
        free_node(m, &m->nodes);
    m->base->mutex_free(m->mutex);
    lsm_mem_free(m->base, m);
}
