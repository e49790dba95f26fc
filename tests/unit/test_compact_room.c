/*
 * test_compact_room.c -- a compact of everything in a store that is much larger
 * than a slice: its files go as slices are installed, and whoever reads meanwhile
 * sees every row as it was.
 */
#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "lsm/util/slice.h"
#include "tests/unit/one_tree.h"

enum { KEYS = 12000, VALUE = 600 };

static uint32_t rows[KEYS];             /* the value; 0: none */
static uint32_t older[KEYS];            /* as the snapshot sees them */

/* ---- the disk ---- */

static struct disk {
    struct one *one;
    int (*dir_sync)(struct lsm_dir *dir);
    int (*file_remove)(struct lsm_dir *dir, const char *name);
    bool watching;
    uint64_t bytes, peak;
    int looks, removed;
    void (*look)(void);
} disk;

struct sum {
    struct lsm_dir *dir;
    uint64_t bytes;
};

static int add_file(void *ctx, const char *name)
{
    struct sum *sum = ctx;
    struct lsm_file *file;
    struct lsm_file_info info;
    enum lsm_file_kind kind;
    uint64_t n;

    if (!lsm_filename_parse(name, &kind, &n) || (kind != LSM_FILE_TABLE && kind != LSM_FILE_VLOG) ||
        disk.one->os->file_open(sum->dir, name, LSM_OPEN_READ, 0, &file))
        return 0;
    if (disk.one->os->file_info(file, &info) == 0)
        sum->bytes += info.size;
    disk.one->os->file_close(file);
    return 0;
}

static void measure(struct lsm_dir *dir)
{
    struct sum sum = { dir, 0 };

    CHECK_INT(disk.one->os->dir_list(dir, add_file, &sum), 0);
    disk.bytes = sum.bytes;
    if (disk.peak < sum.bytes)
        disk.peak = sum.bytes;
}

/* A slice is written, and nothing of its inputs is gone. */
static int watched_sync(struct lsm_dir *dir)
{
    measure(dir);
    return disk.dir_sync(dir);
}

static int watched_remove(struct lsm_dir *dir, const char *name)
{
    int error = disk.file_remove(dir, name);

    measure(dir);
    if (disk.watching) {
        disk.removed++;
        if (disk.removed % 8 == 1 && disk.look) {
            disk.looks++;
            disk.look();
        }
    }
    return error;
}

static bool disk_begin(struct one *o)
{
    o->base = lsm_os_posix_new();
    o->os = lsm_os_mem_new(o->base);
    disk = (struct disk){ .one = o, .dir_sync = o->os->dir_sync, .file_remove = o->os->file_remove };
    o->os->dir_sync = watched_sync;
    o->os->file_remove = watched_remove;
    return CHECK_OK(one_open(o->os, &o->db)) &&
           CHECK_OK(lsm_tree_create(o->db, lsm_slice_str("t"), NULL, &o->tree));
}

/* ---- rows ---- */

/* Nothing that a codec could make smaller. */
static struct lsm_slice value_of(uint32_t key, uint32_t value)
{
    static uint8_t bytes[VALUE];
    uint64_t x = (uint64_t)value << 32 | key;

    for (size_t i = 0; i < VALUE; i += 8) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t mixed = x ^ x >> 29;
        memcpy(bytes + i, &mixed, 8);
    }
    return (struct lsm_slice){ bytes, VALUE };
}

static void put(struct one *o, uint32_t key, uint32_t value)
{
    CHECK_OK(value ? lsm_db_put(o->db, o->tree, number(key), value_of(key, value), false)
                   : lsm_db_delete(o->db, o->tree, number(key), false));
    rows[key] = value;
}

static void delete_range(struct one *o, uint32_t from, uint32_t to)
{
    struct lsm_txn *txn;

    if (!CHECK_OK(lsm_txn_begin(o->db, NULL, &txn)))
        return;
    CHECK_OK(lsm_txn_delete_range(txn, o->tree, number(from), number(to)));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    for (uint32_t i = from; i < to; i++)
        rows[i] = 0;
}

static void work(struct one *o)
{
    int rc = LSM_OK;

    CHECK_OK(lsm_db_flush(o->db));
    while (rc == LSM_OK)
        rc = lsm_db_step(o->db);
    CHECK_INT(rc, LSM_DONE);
}

/* Rows in several levels. */
static void fill(struct one *o)
{
    for (uint32_t round = 0; round < 24; round++) {
        for (uint32_t i = 0; i < KEYS / 12; i++)
            put(o, (uint32_t)test_below(KEYS), 1 + round);
        work(o);
    }
}

/* Above them, in level 0, runs of a stretch each: newer rows, tombstones, range deletes. */
static void pile_up(struct one *o)
{
    enum { STRETCH = KEYS / 16 };

    for (uint32_t round = 0; round < 60; round++) {
        uint32_t at = (uint32_t)test_below(KEYS - STRETCH);

        for (uint32_t i = 0; i < 30; i++)
            put(o, at + (uint32_t)test_below(STRETCH), test_below(2) ? 0 : 100 + round);
        if (test_below(2)) {
            uint32_t from = at + (uint32_t)test_below(STRETCH / 2);
            delete_range(o, from, from + 1 + (uint32_t)test_below(STRETCH / 2));
            put(o, from, 200 + round);
        }
        CHECK_OK(lsm_db_flush(o->db));
    }
}

static struct lsm_snapshot *snapshot;

static bool get_agrees(const uint32_t *want, const struct lsm_read *read)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        struct lsm_value v;
        int rc = lsm_tree_get(disk.one->tree, read, number(i), &v);
        bool ok = want[i] ? rc == LSM_OK && lsm_slice_equal(v.bytes, value_of(i, want[i])) : rc == LSM_NOTFOUND;

        lsm_value_release(&v);
        if (!CHECK(ok)) {
            printf("  key %u, look %d: %s\n", i, disk.looks, lsm_code_name(rc));
            return false;
        }
    }
    return true;
}

static void look(void)
{
    struct lsm_read read = { .snapshot = snapshot };

    disk.watching = false;
    get_agrees(rows, NULL);
    if (snapshot)
        get_agrees(older, &read);
    disk.watching = true;
}

static uint64_t files_in_upper_levels(struct one *o)
{
    struct lsm_tree_stats stats;
    uint64_t files = 0;

    CHECK_OK(lsm_tree_stats(o->tree, &stats));
    for (uint32_t i = 1; i + 1 < stats.level_count; i++)
        files += stats.level[i].files;
    return files;
}

static void measure_room(uint32_t parts)
{
    struct one o;
    uint64_t before;

    memset(rows, 0, sizeof rows);
    if (!disk_begin(&o))
        return;
    fill(&o);
    CHECK(files_in_upper_levels(&o) > 3);
    o.db->max_subcompactions = parts;
    before = disk.bytes;
    disk.peak = 0;
    disk.watching = true;
    CHECK_OK(lsm_db_compact(o.db, NULL));
    disk.watching = false;
    printf("  %llu KB before, at most %llu KB, %llu KB after it\n", (unsigned long long)before >> 10,
           (unsigned long long)disk.peak >> 10, (unsigned long long)disk.bytes >> 10);
    CHECK(before > 6u << 20);
    CHECK(disk.peak < before + before / 3);
    get_agrees(rows, NULL);
    one_end(&o);
}

TEST(compact_of_everything_needs_the_room_of_its_slices_not_the_store_twice)
{
    measure_room(1);
}

TEST(compact_of_everything_in_parts_needs_the_room_of_slices_too)
{
    measure_room(3);
}

TEST(compact_in_slices_changes_nothing_that_a_reader_sees_between_them)
{
    for (int how = 0; how < 4; how++) {
        bool with_snapshot = how % 2;
        struct one o;

        memset(rows, 0, sizeof rows);
        snapshot = NULL;
        if (!disk_begin(&o))
            return;
        fill(&o);
        pile_up(&o);
        if (with_snapshot) {
            CHECK_OK(lsm_snapshot_open(o.db, &snapshot));
            memcpy(older, rows, sizeof rows);
            pile_up(&o);
        }
        o.db->max_subcompactions = how < 2 ? 1 : 3;
        disk.look = look;
        disk.watching = true;
        CHECK_OK(lsm_db_compact(o.db, NULL));
        disk.watching = false;
        CHECK(disk.looks > 3);
        look();
        lsm_snapshot_close(snapshot);
        one_end(&o);
    }
}
