/*
 * sim_disk.c -- inodes, names, and the log of what happened to them.
 *
 * Every call that changes something appends one op. A call that is made to fail
 * appends its op with `failed` where the failure itself has an effect: a write
 * that left part of its bytes, a sync after which the kernel calls the pages
 * clean. Other failed calls changed nothing and leave no trace.
 *
 * Running out of the test machine's own memory ends the program: the tests of
 * the engine's behaviour without memory go through os_sim.c.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_disk.h"

static const char *const kind_names[SIM_KIND_COUNT] = {
    "WRITE", "TRUNC", "ALLOC", "SYNC", "CREATE", "UNLINK", "RENAME", "LINK", "MKDIR", "RMDIR",
    "SYNCDIR", "OPEN", "READ", "LIST", "INFO", "LOCK"
};

const char *sim_kind_name(int kind)
{
    return kind >= 0 && kind < SIM_KIND_COUNT ? kind_names[kind] : "?";
}

static void *grow(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p) {
        fprintf(stderr, "simulated disk: no memory\n");
        abort();
    }
    return p;
}

/* Room for one more element. */
#define RESERVE(array, count, cap)                                          \
    ((count) < (cap) ? (void)0                                              \
                     : (void)((cap) = (cap) ? (cap) * 2 : 16,               \
                              (array) = grow((array), (cap) * sizeof *(array))))

uint64_t sim_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t sim_disk_random(struct sim_disk *disk)
{
    disk->chance += 0x9e3779b97f4a7c15u;
    return sim_mix(disk->chance);
}

/* ---- blobs ---- */

struct sim_blob *sim_blob_new(const void *data, size_t size)
{
    struct sim_blob *blob = grow(NULL, sizeof *blob + size);

    blob->refs = 1;
    blob->hashed = false;
    blob->size = size;
    if (data && size)
        memcpy(blob->data, data, size);
    else
        memset(blob->data, 0, size);
    return blob;
}

struct sim_blob *sim_blob_ref(struct sim_blob *blob)
{
    if (blob)
        blob->refs++;
    return blob;
}

void sim_blob_unref(struct sim_blob *blob)
{
    if (blob && --blob->refs == 0)
        free(blob);
}

const uint64_t *sim_blob_hash(struct sim_blob *blob)
{
    if (!blob->hashed) {
        XXH128_hash_t h = XXH3_128bits(blob->data, blob->size);
        blob->hash[0] = h.low64;
        blob->hash[1] = h.high64;
        blob->hashed = true;
    }
    return blob->hash;
}

/* ---- entries: sorted by name ---- */

static size_t entry_place(const struct sim_entries *entries, const char *name, bool *found)
{
    size_t lo = 0, hi = entries->count;

    *found = false;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(entries->at[mid].name, name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t sim_entries_find(const struct sim_entries *entries, const char *name)
{
    bool found;
    size_t i = entry_place(entries, name, &found);

    return found ? entries->at[i].ino : 0;
}

void sim_entries_set(struct sim_entries *entries, const char *name, uint32_t ino)
{
    bool found;
    size_t i = entry_place(entries, name, &found);

    if (found && ino) {
        entries->at[i].ino = ino;
    } else if (found) {
        free(entries->at[i].name);
        entries->count--;
        memmove(entries->at + i, entries->at + i + 1,
                (entries->count - i) * sizeof *entries->at);
    } else if (ino) {
        RESERVE(entries->at, entries->count, entries->cap);
        memmove(entries->at + i + 1, entries->at + i, (entries->count - i) * sizeof *entries->at);
        entries->at[i].name = grow(NULL, strlen(name) + 1);
        strcpy(entries->at[i].name, name);
        entries->at[i].ino = ino;
        entries->count++;
    }
}

void sim_entries_copy(struct sim_entries *to, const struct sim_entries *from)
{
    memset(to, 0, sizeof *to);
    if (from->count == 0)
        return;
    to->at = grow(NULL, from->count * sizeof *to->at);
    to->count = to->cap = from->count;
    for (size_t i = 0; i < from->count; i++) {
        to->at[i].name = grow(NULL, strlen(from->at[i].name) + 1);
        strcpy(to->at[i].name, from->at[i].name);
        to->at[i].ino = from->at[i].ino;
    }
}

void sim_entries_clear(struct sim_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->at[i].name);
    free(entries->at);
    memset(entries, 0, sizeof *entries);
}

/* ---- the disk ---- */

static uint32_t inode_new(struct sim_disk *disk, bool is_dir, uint32_t mode)
{
    struct sim_inode *inode;

    RESERVE(disk->inodes, disk->inode_count, disk->inode_cap);
    inode = &disk->inodes[disk->inode_count];
    memset(inode, 0, sizeof *inode);
    inode->is_dir = is_dir;
    inode->mode = mode;
    return disk->inode_count++;
}

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *disk = grow(NULL, sizeof *disk);

    memset(disk, 0, sizeof *disk);
    disk->seed = disk->chance = seed;
    disk->clock_us = 1700000000000000u;
    disk->fills = 4;
    inode_new(disk, false, 0);
    inode_new(disk, true, 0755);
    disk->inodes[SIM_ROOT].nlink = 1;
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    if (!disk)
        return;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        sim_blob_unref(disk->inodes[i].base);
        sim_entries_clear(&disk->inodes[i].base_entries);
        sim_entries_clear(&disk->inodes[i].entries);
        free(disk->inodes[i].data);
        free(disk->inodes[i].vfs);
    }
    free(disk->inodes);
    free(disk->ops);
    free(disk->arena);
    free(disk->marks);
    free(disk);
}

void sim_disk_mark(struct sim_disk *disk, int kind, int64_t value)
{
    assert(kind >= 0 && kind < SIM_MARK_KINDS);
    RESERVE(disk->marks, disk->mark_count, disk->mark_cap);
    disk->marks[disk->mark_count++] = (struct sim_mark){ disk->op_count, kind, value };
}

int64_t sim_disk_mark_at(const struct sim_disk *disk, size_t pos, int kind, int64_t none)
{
    size_t lo = 0, hi = disk->mark_count;

    while (lo < hi) {                   /* marks stand in the order of their positions */
        size_t mid = (lo + hi) / 2;
        if (disk->marks[mid].pos <= pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo-- > 0)
        if (disk->marks[lo].kind == kind)
            return disk->marks[lo].value;
    return none;
}

void sim_disk_break(struct sim_disk *disk, const char *format, ...)
{
    va_list args;

    if (disk->broken[0])
        return;
    va_start(args, format);
    vsnprintf(disk->broken, sizeof disk->broken, format, args);
    va_end(args);
    disk->broken_pos = disk->op_count;
}

int sim_disk_fault(struct sim_disk *disk, int kind)
{
    struct sim_fault *f = &disk->fault;

    if (disk->dead_at && disk->op_count >= disk->dead_at && kind <= SIM_SYNCDIR)
        disk->dead = true;
    if (disk->dead)
        return EIO;
    if (f->at == 0 && f->kinds == 0) {
        f->calls++;
        return 0;
    }
    if (f->kinds && !(f->kinds & 1u << kind))
        return 0;
    f->calls++;
    if (f->at == 0 || f->calls < f->at || (f->calls > f->at && !f->sticky))
        return 0;
    f->fired++;
    if (f->error == 0)
        return kind == SIM_OPEN || kind == SIM_CREATE ? EMFILE : EIO;
    if (f->error == ENOSPC && (kind == SIM_READ || kind >= SIM_OPEN))
        return EIO;                     /* a full disk can be read */
    return f->error;
}

static size_t arena_put(struct sim_disk *disk, const void *data, size_t size)
{
    size_t at = disk->arena_size;

    while (disk->arena_cap - disk->arena_size < size) {
        disk->arena_cap = disk->arena_cap ? disk->arena_cap * 2 : 65536;
        disk->arena = grow(disk->arena, disk->arena_cap);
    }
    if (size)
        memcpy(disk->arena + at, data, size);
    disk->arena_size += size;
    return at;
}

static void log_op(struct sim_disk *disk, struct sim_op op)
{
    if (disk->dead)
        return;
    RESERVE(disk->ops, disk->op_count, disk->op_cap);
    disk->ops[disk->op_count++] = op;
    if (disk->rule)
        disk->rule(disk->rule_ctx, disk, &disk->ops[disk->op_count - 1]);
}

static void log_name(struct sim_disk *disk, int kind, uint32_t dir, uint32_t ino,
                     const char *name, const char *name2)
{
    struct sim_op op = { .kind = (uint8_t)kind, .dir = dir, .ino = ino };

    op.name = arena_put(disk, name, strlen(name) + 1);
    op.name2 = name2 ? arena_put(disk, name2, strlen(name2) + 1) : op.name;
    log_op(disk, op);
}

/* ---- paths ---- */

uint32_t sim_disk_parent(struct sim_disk *disk, const char *path, const char **name)
{
    uint32_t ino = SIM_ROOT;
    char part[256];

    while (*path == '/')
        path++;
    for (;;) {
        const char *end = strchr(path, '/');
        size_t size;
        if (!end || end[1] == '\0') {
            *name = path;
            return ino;
        }
        size = (size_t)(end - path);
        if (size >= sizeof part)
            return 0;
        memcpy(part, path, size);
        part[size] = '\0';
        ino = sim_entries_find(&disk->inodes[ino].entries, part);
        if (!ino || !disk->inodes[ino].is_dir)
            return 0;
        path = end + 1;
    }
}

uint32_t sim_disk_find(struct sim_disk *disk, const char *path)
{
    const char *name;
    uint32_t dir = sim_disk_parent(disk, path, &name);

    if (!dir)
        return 0;
    return *name ? sim_entries_find(&disk->inodes[dir].entries, name) : dir;
}

/* ---- directories ---- */

static int make(struct sim_disk *disk, int kind, uint32_t dir, const char *name, uint32_t mode,
                uint32_t *ino)
{
    int error;

    if (sim_entries_find(&disk->inodes[dir].entries, name))
        return EEXIST;
    error = sim_disk_fault(disk, kind);
    if (error)
        return error;
    *ino = inode_new(disk, kind == SIM_MKDIR, mode);
    disk->inodes[*ino].nlink = 1;
    sim_entries_set(&disk->inodes[dir].entries, name, *ino);
    log_name(disk, kind, dir, *ino, name, NULL);
    return 0;
}

int sim_create(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t mode, uint32_t *ino)
{
    return make(disk, SIM_CREATE, dir, name, mode, ino);
}

int sim_mkdir(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t mode, uint32_t *ino)
{
    return make(disk, SIM_MKDIR, dir, name, mode, ino);
}

static int drop(struct sim_disk *disk, int kind, uint32_t dir, const char *name)
{
    uint32_t ino = sim_entries_find(&disk->inodes[dir].entries, name);
    int error;

    if (!ino)
        return ENOENT;
    if (disk->inodes[ino].is_dir != (kind == SIM_RMDIR))
        return kind == SIM_RMDIR ? ENOTDIR : EISDIR;
    if (kind == SIM_RMDIR && disk->inodes[ino].entries.count)
        return ENOTEMPTY;
    error = sim_disk_fault(disk, kind);
    if (error)
        return error;
    sim_entries_set(&disk->inodes[dir].entries, name, 0);
    disk->inodes[ino].nlink--;
    log_name(disk, kind, dir, ino, name, NULL);
    return 0;
}

int sim_rmdir(struct sim_disk *disk, uint32_t dir, const char *name)
{
    return drop(disk, SIM_RMDIR, dir, name);
}

int sim_unlink(struct sim_disk *disk, uint32_t dir, const char *name)
{
    return drop(disk, SIM_UNLINK, dir, name);
}

int sim_rename(struct sim_disk *disk, uint32_t dir, const char *from, const char *to)
{
    uint32_t ino = sim_entries_find(&disk->inodes[dir].entries, from), over;
    int error;

    if (!ino)
        return ENOENT;
    error = sim_disk_fault(disk, SIM_RENAME);
    if (error)
        return error;
    over = sim_entries_find(&disk->inodes[dir].entries, to);
    if (over && over != ino)
        disk->inodes[over].nlink--;
    sim_entries_set(&disk->inodes[dir].entries, from, 0);
    sim_entries_set(&disk->inodes[dir].entries, to, ino);
    log_name(disk, SIM_RENAME, dir, ino, from, to);
    return 0;
}

int sim_link(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t to,
             const char *to_name)
{
    uint32_t ino = sim_entries_find(&disk->inodes[dir].entries, name);
    int error;

    if (!ino)
        return ENOENT;
    if (sim_entries_find(&disk->inodes[to].entries, to_name))
        return EEXIST;
    error = sim_disk_fault(disk, SIM_LINK);
    if (error)
        return error;
    sim_entries_set(&disk->inodes[to].entries, to_name, ino);
    disk->inodes[ino].nlink++;
    log_name(disk, SIM_LINK, to, ino, to_name, NULL);
    return 0;
}

int sim_syncdir(struct sim_disk *disk, uint32_t dir)
{
    int error = sim_disk_fault(disk, SIM_SYNCDIR);

    if (error && !disk->dead)
        disk->inodes[dir].poisoned = true;
    log_op(disk, (struct sim_op){ .kind = SIM_SYNCDIR, .failed = error != 0, .dir = dir,
                                  .ino = dir });
    return error;
}

/* ---- files ---- */

uint32_t sim_anonymous(struct sim_disk *disk)
{
    uint32_t ino = inode_new(disk, false, 0600);

    disk->inodes[ino].anonymous = true;
    return ino;
}

const uint8_t *sim_inode_bytes(const struct sim_inode *inode)
{
    static const uint8_t none[1];

    if (inode->data)
        return inode->data;
    return inode->base ? inode->base->data : none;
}

/* Own bytes with room for `size`; what is new is zero. */
static void inode_own(struct sim_inode *inode, uint64_t size)
{
    if (!inode->data) {
        inode->cap = inode->size > size ? inode->size : size;
        inode->cap += inode->cap / 2 + 64;
        inode->data = grow(NULL, inode->cap);
        memcpy(inode->data, sim_inode_bytes(&(struct sim_inode){ .base = inode->base }),
               inode->size);
    } else if (inode->cap < size) {
        inode->cap = size + size / 2;
        inode->data = grow(inode->data, inode->cap);
    }
}

static void inode_resize(struct sim_inode *inode, uint64_t size)
{
    inode_own(inode, size);
    if (size > inode->size)
        memset(inode->data + inode->size, 0, size - inode->size);
    inode->size = size;
}

/* Would `more` bytes still fit on the device? */
static bool has_room(const struct sim_disk *disk, uint64_t more)
{
    uint64_t used = 0;

    if (disk->capacity == 0)
        return true;
    for (uint32_t i = 1; i < disk->inode_count; i++)
        if (disk->inodes[i].nlink || disk->inodes[i].handles)
            used += disk->inodes[i].size;
    return used <= disk->capacity && more <= disk->capacity - used;
}

int sim_read(struct sim_disk *disk, uint32_t ino, void *data, size_t size, uint64_t off,
             size_t *got)
{
    struct sim_inode *inode = sim_inode(disk, ino);
    int error = sim_disk_fault(disk, SIM_READ);

    *got = 0;
    if (error)
        return error;
    if (off < inode->size) {
        *got = size < inode->size - off ? size : (size_t)(inode->size - off);
        memcpy(data, sim_inode_bytes(inode) + off, *got);
    }
    return 0;
}

int sim_write(struct sim_disk *disk, uint32_t ino, const void *data, size_t size, uint64_t off)
{
    struct sim_inode *inode = sim_inode(disk, ino);
    uint64_t size_was = inode->size, end = off + size;
    int error = sim_disk_fault(disk, SIM_WRITE);

    if (!error && end > size_was && !has_room(disk, end - size_was))
        error = ENOSPC;
    if (error) {
        size = disk->fault.partial == 0 || disk->dead ? 0 : disk->fault.partial == 1 ? size / 2 : size;
        end = off + size;
        if (size && end > size_was && !has_room(disk, end - size_was))
            size = 0;
    }
    if (size) {
        if (end > inode->size)
            inode_resize(inode, end);
        else
            inode_own(inode, inode->size);
        memcpy(inode->data + off, data, size);
    }
    if (!inode->anonymous)
        log_op(disk, (struct sim_op){ .kind = SIM_WRITE, .failed = error != 0, .no_room = error == ENOSPC, .ino = ino,
                                      .off = off, .size = (uint32_t)size, .size_was = size_was,
                                      .data = arena_put(disk, data, size) });
    return error;
}

static int set_size(struct sim_disk *disk, int kind, uint32_t ino, uint64_t size)
{
    struct sim_inode *inode = sim_inode(disk, ino);
    uint64_t size_was = inode->size;
    int error = sim_disk_fault(disk, kind);

    if (!error && size > size_was && !has_room(disk, size - size_was))
        error = ENOSPC;
    if (error)
        return error;
    inode_resize(inode, size);
    if (!inode->anonymous)
        log_op(disk, (struct sim_op){ .kind = (uint8_t)kind, .ino = ino, .off = size,
                                      .size_was = size_was });
    return 0;
}

int sim_truncate(struct sim_disk *disk, uint32_t ino, uint64_t size)
{
    return set_size(disk, SIM_TRUNC, ino, size);
}

int sim_allocate(struct sim_disk *disk, uint32_t ino, uint64_t size)
{
    if (size <= sim_inode(disk, ino)->size)
        return 0;
    return set_size(disk, SIM_ALLOC, ino, size);
}

int sim_sync(struct sim_disk *disk, uint32_t ino)
{
    struct sim_inode *inode = sim_inode(disk, ino);
    int error;

    if (inode->anonymous)
        return 0;
    error = sim_disk_fault(disk, SIM_SYNC);
    if (error && !disk->dead)
        inode->poisoned = true;
    log_op(disk, (struct sim_op){ .kind = SIM_SYNC, .failed = error != 0, .ino = ino });
    return error;
}

/* ---- for people ---- */

/* The path under which an inode was ever known in the log or in the tree. */
static void inode_path(struct sim_disk *disk, uint32_t ino, char *path, size_t size)
{
    char up[200];

    if (ino == SIM_ROOT) {
        snprintf(path, size, "%s", "");
        return;
    }
    for (size_t i = disk->op_count; i-- > 0;) {
        const struct sim_op *op = &disk->ops[i];
        if (op->ino == ino && op->kind >= SIM_CREATE && op->kind <= SIM_MKDIR) {
            inode_path(disk, op->dir, up, sizeof up);
            snprintf(path, size, "%s/%s", up, (const char *)disk->arena + op->name2);
            return;
        }
    }
    for (uint32_t d = 1; d < disk->inode_count; d++) {
        const struct sim_entries *e = &disk->inodes[d].base_entries;
        for (size_t i = 0; i < e->count; i++)
            if (e->at[i].ino == ino) {
                inode_path(disk, d, up, sizeof up);
                snprintf(path, size, "%s/%s", up, e->at[i].name);
                return;
            }
    }
    snprintf(path, size, "#%u", ino);
}

void sim_op_text(struct sim_disk *disk, const struct sim_op *op, char *text, size_t size)
{
    const char *failed = op->failed ? " FAILED" : "";
    char path[256];

    if (op->kind <= SIM_SYNC) {
        inode_path(disk, op->ino, path, sizeof path);
        if (op->kind == SIM_WRITE)
            snprintf(text, size, "WRITE %s %llu+%u (size %llu)%s", path,
                     (unsigned long long)op->off, op->size, (unsigned long long)op->size_was,
                     failed);
        else if (op->kind == SIM_SYNC)
            snprintf(text, size, "SYNC %s%s", path, failed);
        else
            snprintf(text, size, "%s %s %llu -> %llu%s", sim_kind_name(op->kind), path,
                     (unsigned long long)op->size_was, (unsigned long long)op->off, failed);
        return;
    }
    inode_path(disk, op->dir, path, sizeof path);
    if (op->kind == SIM_SYNCDIR)
        snprintf(text, size, "SYNCDIR %s/%s", path, failed);
    else if (op->kind == SIM_RENAME)
        snprintf(text, size, "RENAME %s/%s -> %s", path, (const char *)disk->arena + op->name,
                 (const char *)disk->arena + op->name2);
    else
        snprintf(text, size, "%s %s/%s", sim_kind_name(op->kind), path,
                 (const char *)disk->arena + op->name);
}

void sim_disk_dump(struct sim_disk *disk, size_t from, size_t to)
{
    char text[768];
    size_t m = 0;

    for (size_t i = 0; i <= disk->op_count && i <= to; i++) {
        for (; m < disk->mark_count && disk->marks[m].pos <= i; m++)
            if (i >= from)
                fprintf(stderr, "        mark %d = %lld\n", disk->marks[m].kind,
                        (long long)disk->marks[m].value);
        if (i >= from && i < disk->op_count) {
            sim_op_text(disk, &disk->ops[i], text, sizeof text);
            fprintf(stderr, "  %5zu %s\n", i, text);
        }
    }
}
