/*
 * disk.h -- for tests of a whole store: files in memory of which a copy can be
 * taken as a kill or a power cut would leave them, calls that fail, a hook in
 * the middle of a job; and a store with a host that settles as it is told.
 *
 *     kill        everything that was written
 *     power cut   of each file what was synced; of each directory the names that were
 *
 * One thread, one disk at a time: stores are opened without a worker.
 */
#ifndef TESTS_UNIT_DISK_H
#define TESTS_UNIT_DISK_H

#include "lsm/os/os.h"
#include "tests/stat.h"
#include "tests/test.h"

#define DISK_FILES 4000
#define DISK_NAMES 800

enum disk_kind {
    DISK_WRITE = 1, DISK_SYNC = 2, DISK_DIR_SYNC = 4, DISK_TRUNCATE = 8, DISK_CREATE = 16,
    DISK_MEMORY = 32, DISK_REMOVE = 64
};

struct disk_name {
    int dir, file;              /* file < 0: free */
    char name[40];
};

static struct disk {
    struct lsm_os *base, *os;
    struct lsm_os real;         /* the functions as they were */
    struct { uint8_t *synced; size_t size; } files[DISK_FILES];
    int file_count;
    struct disk_name live[DISK_NAMES], durable[DISK_NAMES];
    struct { struct lsm_dir *dir; int id; } dirs[16];
    char paths[128][24];
    int path_count;
    struct { struct lsm_file *file; int id; char name[40]; } open[DISK_FILES];

    unsigned fail;              /* kinds of calls that count */
    int fail_at, fail_seen;     /* the fail_at-th of them fails */
    bool fail_sticky;           /* and all after it */
    const char *fail_name;      /* only of files whose name has this in it */
    struct { char name[40]; uint64_t off, size; } bad[600];     /* bytes that cannot be read: EIO */
    int bad_count;
    unsigned bad_reads;         /* reads that have failed so */
    uint64_t read_bytes;
    int fail_error;             /* what a write answers then; 0: EIO */
    unsigned seen[8];           /* calls by kind (its bit number) */
    unsigned log_syncs, log_writes;
    int link_error;             /* what a link answers; 0: it is made */
    /* Called before every sync of a file; it takes itself off before it does anything. */
    void (*hook)(const char *name);
    void (*hook_synced)(const char *name);      /* the same when its bytes are on disk, and nobody knows yet */
} disk;

static inline bool disk_fails(unsigned kind, const char *name)
{
    if (!(disk.fail & kind) || (disk.fail_name && !strstr(name, disk.fail_name)))
        return false;
    disk.fail_seen++;
    return disk.fail_seen == disk.fail_at || (disk.fail_sticky && disk.fail_seen > disk.fail_at);
}

static inline void disk_fail(unsigned kinds, int at, bool sticky, const char *name)
{
    disk.fail = kinds;
    disk.fail_at = at;
    disk.fail_seen = 0;
    disk.fail_sticky = sticky;
    disk.fail_name = name;
    disk.fail_error = 0;
}

static inline void disk_heal(void)
{
    disk_fail(0, 0, false, NULL);
}

static inline int disk_path_id(const char *path)
{
    for (int i = 0; i < disk.path_count; i++)
        if (strcmp(disk.paths[i], path) == 0)
            return i;
    snprintf(disk.paths[disk.path_count], sizeof disk.paths[0], "%s", path);
    return disk.path_count++;
}

static inline int disk_dir_id(struct lsm_dir *dir)
{
    for (int i = 0; i < 16; i++)
        if (disk.dirs[i].dir == dir)
            return disk.dirs[i].id;
    abort();
}

static inline struct disk_name *disk_find(struct disk_name *names, int dir, const char *name)
{
    for (int i = 0; i < DISK_NAMES; i++)
        if (names[i].file >= 0 && names[i].dir == dir && strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static inline void disk_add(struct disk_name *names, int dir, const char *name, int file)
{
    for (int i = 0; i < DISK_NAMES; i++)
        if (names[i].file < 0) {
            names[i].dir = dir;
            names[i].file = file;
            snprintf(names[i].name, sizeof names[i].name, "%s", name);
            return;
        }
    abort();
}

static inline const char *disk_open_name(struct lsm_file *file)
{
    for (int i = 0; i < DISK_FILES; i++)
        if (disk.open[i].file == file)
            return disk.open[i].name;
    abort();
}

/* ---- the calls ---- */

static inline int disk_dir_open(struct lsm_os *os, const char *path, bool create, uint32_t mode,
                                bool *created, struct lsm_dir **dir)
{
    int error = disk.real.dir_open(os, path, create, mode, created, dir);

    for (int i = 0; i < 16 && error == 0; i++)
        if (!disk.dirs[i].dir) {
            disk.dirs[i].dir = *dir;
            disk.dirs[i].id = disk_path_id(path);
            return 0;
        }
    return error;
}

static inline void disk_dir_close(struct lsm_dir *dir)
{
    for (int i = 0; i < 16; i++)
        if (disk.dirs[i].dir == dir)
            disk.dirs[i].dir = NULL;
    disk.real.dir_close(dir);
}

static inline int disk_dir_sync(struct lsm_dir *dir)
{
    int id = disk_dir_id(dir);

    if (disk_fails(DISK_DIR_SYNC, disk.paths[id]))
        return EIO;
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.durable[i].dir == id)
            disk.durable[i].file = -1;
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id)
            disk_add(disk.durable, id, disk.live[i].name, disk.live[i].file);
    return disk.real.dir_sync(dir);
}

static inline int disk_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                            struct lsm_file **file)
{
    int id = disk_dir_id(dir), error;
    struct disk_name *known = disk_find(disk.live, id, name);

    if (!known && (flags & (LSM_OPEN_CREATE | LSM_OPEN_CREATE_SHARED)) && disk_fails(DISK_CREATE, name))
        return ENOSPC;
    error = disk.real.file_open(dir, name, flags, mode, file);
    if (error)
        return error;
    if (!known) {
        if (disk.file_count == DISK_FILES)
            abort();
        disk_add(disk.live, id, name, disk.file_count++);
        known = disk_find(disk.live, id, name);
    }
    for (int i = 0; i < DISK_FILES; i++)
        if (!disk.open[i].file) {
            disk.open[i].file = *file;
            disk.open[i].id = known->file;
            snprintf(disk.open[i].name, sizeof disk.open[i].name, "%s", name);
            return 0;
        }
    abort();
}

static inline void disk_close(struct lsm_file *file)
{
    for (int i = 0; i < DISK_FILES; i++)
        if (disk.open[i].file == file)
            disk.open[i].file = NULL;
    disk.real.file_close(file);
}

/* From now on these bytes of the file cannot be read, in any directory. */
static inline void disk_make_bad(const char *name, uint64_t off, uint64_t size)
{
    snprintf(disk.bad[disk.bad_count].name, sizeof disk.bad[0].name, "%s", name);
    disk.bad[disk.bad_count].off = off;
    disk.bad[disk.bad_count++].size = size;
}

static inline int disk_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    for (int i = 0; i < disk.bad_count; i++)
        if (off < disk.bad[i].off + disk.bad[i].size && off + size > disk.bad[i].off &&
            strcmp(disk_open_name(file), disk.bad[i].name) == 0) {
            disk.bad_reads++;
            memset(data, 0xbb, size);
            return EIO;
        }
    disk.read_bytes += size;
    return disk.real.file_read(file, data, size, off, got);
}

static inline int disk_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    const char *name = disk_open_name(file);

    disk.log_writes += strstr(name, ".log") != NULL;
    if (disk_fails(DISK_WRITE, name)) {
        disk.real.file_write(file, data, size / 2, off);
        return disk.fail_error ? disk.fail_error : EIO;
    }
    return disk.real.file_write(file, data, size, off);
}

static inline int disk_sync(struct lsm_file *file)
{
    const char *name = disk_open_name(file);
    struct lsm_file_info info;

    disk.log_syncs += strstr(name, ".log") != NULL;
    if (disk.hook)
        disk.hook(name);
    if (disk_fails(DISK_SYNC, name))
        return EIO;             /* the kernel calls the pages clean: a later sync covers nothing new */
    for (int i = 0; i < DISK_FILES; i++)
        if (disk.open[i].file == file && disk.real.file_info(file, &info) == 0) {
            size_t got = 0;
            int id = disk.open[i].id;
            disk.files[id].synced = realloc(disk.files[id].synced, info.size + 1);
            disk.real.file_read(file, disk.files[id].synced, info.size, 0, &got);
            disk.files[id].size = got;
        }
    if (disk.hook_synced)
        disk.hook_synced(name);
    return disk.real.file_sync(file);
}

static inline int disk_truncate(struct lsm_file *file, uint64_t size)
{
    if (disk_fails(DISK_TRUNCATE, disk_open_name(file)))
        return EIO;
    return disk.real.file_truncate(file, size);
}

static inline int disk_rename(struct lsm_dir *dir, const char *from, const char *to)
{
    int id = disk_dir_id(dir), error = disk.real.file_rename(dir, from, to);
    struct disk_name *f = disk_find(disk.live, id, from), *t = disk_find(disk.live, id, to);

    if (error)
        return error;
    if (t)
        t->file = -1;
    snprintf(f->name, sizeof f->name, "%s", to);
    return 0;
}

static inline int disk_remove(struct lsm_dir *dir, const char *name)
{
    int error;

    if (disk_fails(DISK_REMOVE, name))
        return EIO;
    error = disk.real.file_remove(dir, name);
    if (error == 0) {
        struct disk_name *n = disk_find(disk.live, disk_dir_id(dir), name);
        if (n)
            n->file = -1;
    }
    return error;
}

static inline int disk_link(struct lsm_dir *dir, const char *name, struct lsm_dir *to, const char *to_name)
{
    struct disk_name *known = disk_find(disk.live, disk_dir_id(dir), name);
    int error = disk.link_error ? disk.link_error : disk.real.file_link(dir, name, to, to_name);

    if (error == 0)
        disk_add(disk.live, disk_dir_id(to), to_name, known->file);
    return error;
}

static inline void *disk_alloc(struct lsm_os *os, size_t size)
{
    return disk_fails(DISK_MEMORY, "memory") ? NULL : disk.real.mem_alloc(os, size);
}

static inline void *disk_realloc(struct lsm_os *os, void *p, size_t size)
{
    return disk_fails(DISK_MEMORY, "memory") ? NULL : disk.real.mem_realloc(os, p, size);
}

static inline void disk_begin(void)
{
    memset(&disk, 0, sizeof disk);
    for (int i = 0; i < DISK_NAMES; i++)
        disk.live[i].file = disk.durable[i].file = -1;
    disk.base = lsm_os_posix_new();
    disk.os = lsm_os_mem_new(disk.base);
    disk.real = *disk.os;
    disk.os->dir_open = disk_dir_open;
    disk.os->dir_close = disk_dir_close;
    disk.os->dir_sync = disk_dir_sync;
    disk.os->file_open = disk_open;
    disk.os->file_close = disk_close;
    disk.os->file_read = disk_read;
    disk.os->file_write = disk_write;
    disk.os->file_sync = disk_sync;
    disk.os->file_truncate = disk_truncate;
    disk.os->file_rename = disk_rename;
    disk.os->file_remove = disk_remove;
    disk.os->file_link = disk_link;
    disk.os->mem_alloc = disk_alloc;
    disk.os->mem_realloc = disk_realloc;
}

/* Everything given back? */
static inline void disk_end(void)
{
    for (int i = 0; i < disk.file_count; i++)
        free(disk.files[i].synced);
    *disk.os = disk.real;
    lsm_os_mem_free(disk.os);
    CHECK_INT(disk.base->mem_used(disk.base), 0);
    lsm_os_posix_free(disk.base);
}

/* ---- what a crash leaves ---- */

static inline void disk_copy(const char *from, const char *to, bool power_cut)
{
    struct disk_name *names = power_cut ? disk.durable : disk.live;
    struct disk_name found[DISK_NAMES];
    int id = disk_path_id(from), count = 0;
    struct lsm_dir *source, *target;
    bool created;

    for (int i = 0; i < DISK_NAMES; i++)
        if (names[i].file >= 0 && names[i].dir == id && strcmp(names[i].name, "LOCK") != 0)
            found[count++] = names[i];
    CHECK_INT(disk.real.dir_open(disk.os, from, false, 0, &created, &source), 0);
    CHECK_INT(disk_dir_open(disk.os, to, true, 0755, &created, &target), 0);
    for (int i = 0; i < count; i++) {
        struct lsm_file *in, *out;
        struct lsm_file_info info;
        uint8_t *bytes = NULL;
        size_t size = 0;

        if (power_cut) {
            size = disk.files[found[i].file].size;
            bytes = malloc(size + 1);
            if (size)
                memcpy(bytes, disk.files[found[i].file].synced, size);
        } else {
            CHECK_INT(disk.real.file_open(source, found[i].name, LSM_OPEN_READ, 0, &in), 0);
            CHECK_INT(disk.real.file_info(in, &info), 0);
            bytes = malloc(info.size + 1);
            CHECK_INT(disk.real.file_read(in, bytes, info.size, 0, &size), 0);
            disk.real.file_close(in);
        }
        CHECK_INT(disk_open(target, found[i].name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &out), 0);
        if (size)
            CHECK_INT(disk.real.file_write(out, bytes, size, 0), 0);
        if (power_cut)
            disk_sync(out);     /* after a kill the page cache holds what is in no durable file */
        disk_close(out);
        free(bytes);
    }
    if (power_cut)
        disk_dir_sync(target);
    disk_dir_close(target);
    disk.real.dir_close(source);
}

static inline void disk_kill(const char *from, const char *to)
{
    disk_copy(from, to, false);
}

static inline void disk_power_cut(const char *from, const char *to)
{
    disk_copy(from, to, true);
}

static inline int disk_count(const char *path, const char *part)
{
    int id = disk_path_id(path), count = 0;

    for (int i = 0; i < DISK_NAMES; i++)
        count += disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, part);
    return count;
}

/* A number that changes with any name or byte in the directory. */
static inline uint64_t disk_sum(const char *path)
{
    int id = disk_path_id(path);
    struct lsm_dir *dir;
    uint64_t sum = 0;
    bool created;

    CHECK_INT(disk.real.dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++) {
        struct lsm_file *file;
        uint64_t one = 14695981039346656037u;
        uint8_t byte;
        size_t got;

        if (disk.live[i].file < 0 || disk.live[i].dir != id || strcmp(disk.live[i].name, "LOCK") == 0)
            continue;
        for (const char *p = disk.live[i].name; *p; p++)
            one = (one ^ (uint8_t)*p) * 1099511628211u;
        CHECK_INT(disk.real.file_open(dir, disk.live[i].name, LSM_OPEN_READ, 0, &file), 0);
        for (uint64_t off = 0; disk.real.file_read(file, &byte, 1, off, &got) == 0 && got; off++)
            one = (one ^ byte) * 1099511628211u;
        disk.real.file_close(file);
        sum += one;
    }
    disk.real.dir_close(dir);
    return sum;
}

/* ---- a store with a host ---- */

static struct {
    int calls, suspect_calls, rc;
} host;

static inline int host_settle(void *ctx, bool suspect)
{
    (void)ctx;
    host.calls++;
    host.suspect_calls += suspect;
    return host.rc;
}

static const struct lsm_host the_host = { .settle = host_settle };
static const struct lsm_token no_token;

struct store {
    struct lsm_db *db;
    struct lsm_tree *tree;
};

static inline struct lsm_slice text(const char *s)
{
    return (struct lsm_slice){ (const uint8_t *)s, strlen(s) };
}

/* Of a small store on the disk; its work is done where lsm_db_step() is called. cmp: its only order, or NULL. */
static inline struct lsm_options small_options(const struct lsm_comparator *const *cmp)
{
    struct lsm_options o;

    lsm_options_init(&o);
    o.os = disk.os;
    o.create_if_missing = true;
    o.no_worker = true;
    o.memory_bytes = 1 << 20;
    o.comparators = cmp;
    o.comparator_count = cmp && *cmp;
    return o;
}

/* Open; the first time with a tree. Alone: without a host. */
static inline bool store_open_as(struct store *s, const char *path, bool alone)
{
    struct lsm_options o = small_options(NULL);

    if (!alone) {
        o.host = &the_host;
        o.wait_for_token = true;
    }
    memset(s, 0, sizeof *s);
    if (!CHECK_OK(lsm_db_open(path, &o, &s->db)))
        return false;
    if (lsm_tree_find(s->db, text("t"), &s->tree) == LSM_OK)
        return true;
    return CHECK_OK(lsm_tree_create(s->db, text("t"), NULL, &s->tree));
}

static inline bool store_open(struct store *s, const char *path)
{
    return store_open_as(s, path, false);
}

/* As a reader whose database shows `token`. */
static inline bool store_open_at(struct store *s, const char *path, const struct lsm_token *token)
{
    return store_open(s, path) && CHECK_OK(lsm_db_publish(s->db, token));
}

static inline void store_close(struct store *s)
{
    CHECK_OK(lsm_db_close(s->db));
    s->db = NULL;
}

static inline void disk_and_host_begin(void)
{
    disk_begin();
    memset(&host, 0, sizeof host);
}

/* The usual test has one store, "a": the disk and the host are made with it and go with it. */
static inline bool store_begin(struct store *s)
{
    disk_and_host_begin();
    return store_open(s, "a");
}

static inline void store_end(struct store *s)
{
    store_close(s);
    disk_end();
}

static inline bool has_at(struct store *s, const struct lsm_read *read, const char *key)
{
    struct lsm_value value;
    int rc = lsm_tree_get(s->tree, read, text(key), &value);

    CHECK(rc == LSM_OK || rc == LSM_NOTFOUND);
    if (rc == LSM_OK)
        lsm_value_release(&value);
    return rc == LSM_OK;
}

static inline bool has(struct store *s, const char *key)
{
    return has_at(s, NULL, key);
}

/* Rows that a cursor finds, both ways; -1: they differ. */
static inline int count_at(struct store *s, const struct lsm_read *read)
{
    struct lsm_cursor *c;
    int forward = 0, backward = 0;

    if (!CHECK_OK(lsm_cursor_open(s->tree, read, &c)))
        return -1;
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        forward++;
    for (int rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c))
        backward++;
    lsm_cursor_close(c);
    CHECK_INT(forward, backward);
    return forward == backward ? forward : -1;
}

/* Of "k1 k2 !x": k1 and k2 are there, and no x. */
static inline bool shows(struct store *s, const char *keys)
{
    char key[24];
    bool as_said = true;

    for (int size; sscanf(keys, " %23s%n", key, &size) == 1; keys += size)
        as_said &= has(s, key + (*key == '!')) == (*key != '!');
    return as_said;
}

/* The same of a store that is opened for it, by one whose database shows `token`. */
static inline int count_in(const char *path, const struct lsm_token *token)
{
    struct store s;
    int count = -1;

    if (store_open_at(&s, path, token)) {
        count = count_at(&s, NULL);
        store_close(&s);
    }
    return count;
}

static inline bool shows_at(const char *path, const struct lsm_token *token, const char *keys)
{
    struct store s;
    bool as_said = false;

    if (store_open_at(&s, path, token)) {
        as_said = shows(&s, keys);
        store_close(&s);
    }
    return as_said;
}

static inline struct lsm_txn *begin(struct store *s, const struct lsm_token *base)
{
    struct lsm_txn *txn = NULL;

    CHECK_OK(lsm_txn_begin(s->db, base, &txn));
    return txn;
}

static inline struct lsm_txn *begin_put(struct store *s, const struct lsm_token *base, const char *key)
{
    struct lsm_txn *txn = begin(s, base);

    if (txn)
        CHECK_OK(lsm_txn_put(txn, s->tree, text(key), text("value")));
    return txn;
}

static inline int prepare_joint(struct lsm_txn *txn, struct lsm_token *token)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = true };
    return lsm_txn_prepare(txn, &how, token);
}

static inline int prepare_solo(struct lsm_txn *txn, bool sync, struct lsm_token *token)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = sync, .settle = sync };
    return lsm_txn_prepare(txn, &how, token);
}

/* One whole joint transaction. */
static inline struct lsm_token joint(struct store *s, struct lsm_token base, const char *key, bool settled)
{
    struct lsm_txn *txn = begin_put(s, &base, key);
    struct lsm_token token = base;

    CHECK_OK(prepare_joint(txn, &token));
    lsm_txn_commit(txn, settled);
    return token;
}

/* A joint transaction that is prepared and then rolled back. */
static inline struct lsm_token abandoned(struct store *s, struct lsm_token base, const char *key)
{
    struct lsm_txn *txn = begin_put(s, &base, key);
    struct lsm_token token = base;

    CHECK_OK(prepare_joint(txn, &token));
    CHECK_OK(lsm_txn_abort(txn));
    return token;
}

/* One whole solo transaction. */
static inline struct lsm_token solo(struct store *s, struct lsm_token base, const char *key, bool sync)
{
    struct lsm_txn *txn = begin_put(s, &base, key);
    struct lsm_token token = base;

    CHECK_OK(prepare_solo(txn, sync, &token));
    lsm_txn_commit(txn, true);
    return token;
}

#endif
