/*
 * repaired.h -- a store on the simulated disk "a", damage to its files, and the store "b" that a repair makes of it.
 */
#ifndef TESTS_UNIT_REPAIRED_H
#define TESTS_UNIT_REPAIRED_H

#include "lsm/db/db.h"
#include "tests/unit/disk.h"
#include "tests/unit/orders.h"

#define ROWS 3000

static char report[1 << 16];

static inline void add_line(void *ctx, const char *line)
{
    size_t size = strlen(report);

    (void)ctx;
    snprintf(report + size, sizeof report - size, "%s\n", line);
}

static inline struct lsm_slice value_of(char value[64], int i, int version)
{
    int n = snprintf(value, 64, "%08d version %d, and some more to fill it", i, version);
    return (struct lsm_slice){ (const uint8_t *)value, (size_t)n };
}

/* Rows [from, to) of that version; version 0: deleted. */
static inline void put_rows(struct store *s, int from, int to, int version)
{
    struct lsm_txn *txn;
    char key[16], value[64];

    CHECK_OK(lsm_txn_begin(s->db, NULL, &txn));
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%08d", i);
        if (version)
            CHECK_OK(lsm_txn_put(txn, s->tree, text(key), value_of(value, i, version)));
        else
            CHECK_OK(lsm_txn_delete(txn, s->tree, text(key)));
    }
    CHECK_OK(lsm_txn_commit_alone(txn, true));
}

/* The version of row i; 0: it is not there; -1: something else is. */
static inline int version_of(struct store *s, int i)
{
    struct lsm_value found;
    char key[16], value[64];
    int rc, version = -1;

    snprintf(key, sizeof key, "%08d", i);
    rc = lsm_tree_get(s->tree, NULL, text(key), &found);
    if (rc == LSM_NOTFOUND)
        return 0;
    if (!CHECK_OK(rc))
        return -1;
    for (int v = 1; v < 100 && version < 0; v++) {
        struct lsm_slice want = value_of(value, i, v);
        if (found.bytes.size == want.size && memcmp(found.bytes.data, want.data, want.size) == 0)
            version = v;
    }
    lsm_value_release(&found);
    return version;
}

static inline int count_versions(struct store *s, int from, int to, int version)
{
    int count = 0;

    for (int i = from; i < to; i++)
        count += version_of(s, i) == version;
    return count;
}

/* ---- damage ---- */

static inline struct lsm_dir *open_dir(const char *path)
{
    struct lsm_dir *dir = NULL;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    return dir;
}

/* The n-th file with this in its name; NULL: there are fewer. */
static inline const char *file_of(const char *path, const char *part, int n)
{
    int id = disk_path_id(path);

    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, part) && n-- == 0)
            return disk.live[i].name;
    return NULL;
}

static inline uint64_t size_of(const char *path, const char *name)
{
    struct lsm_dir *dir = open_dir(path);
    struct lsm_file_info info = { 0 };
    struct lsm_file *file;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_READ, 0, &file), 0);
    disk.os->file_info(file, &info);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    return info.size;
}

static inline void flip(const char *path, const char *name, uint64_t off, size_t size)
{
    struct lsm_dir *dir = open_dir(path);
    struct lsm_file *file;
    uint8_t bytes[256];
    size_t got;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    disk.os->file_read(file, bytes, size, off, &got);
    for (size_t i = 0; i < got; i++)
        bytes[i] ^= 0x55;
    disk.os->file_write(file, bytes, got, off);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

static inline void cut(const char *path, const char *name, uint64_t size)
{
    struct lsm_dir *dir = open_dir(path);
    struct lsm_file *file;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_truncate(file, size), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

static inline void remove_files(const char *path, const char *part)
{
    struct lsm_dir *dir = open_dir(path);
    const char *name;

    while ((name = file_of(path, part, 0)) != NULL) {
        char copy[40];
        snprintf(copy, sizeof copy, "%s", name);
        CHECK_INT(disk.os->file_remove(dir, copy), 0);
    }
    disk.os->dir_close(dir);
}

/* ---- repair ---- */

static struct lsm_repair_info info;

static inline int repair(const char *from, const char *to, const struct lsm_token *token)
{
    struct lsm_options o;
    struct lsm_repair how = { .token = token, .report = add_line };

    lsm_options_init(&o);
    o.os = disk.os;
    report[0] = 0;
    return lsm_db_repair(from, to, &o, &how, &info);
}

/* Repair "a" into "b" and open it. The original must not change. */
static inline bool repaired(struct store *s)
{
    uint64_t sum = disk_sum("a");
    int files = disk_count("a", "");

    if (!CHECK_OK(repair("a", "b", NULL)))
        return false;
    CHECK(disk_sum("a") == sum);
    CHECK_INT(disk_count("a", ""), files);
    if (!store_open_as(s, "b", true))
        return false;
    CHECK_OK(lsm_db_check(s->db));
    return true;
}

/* Rows 0..ROWS in one table, version 1; a second half of the way in a log of its own, if asked. */
static inline bool make(struct store *s, bool with_log)
{
    disk_and_host_begin();
    if (!store_open_as(s, "a", true))
        return false;
    put_rows(s, 0, ROWS, 1);
    CHECK_OK(lsm_db_compact(s->db, NULL));
    if (with_log)
        for (int i = 0; i < 10; i++)
            put_rows(s, ROWS + i * 10, ROWS + i * 10 + 10, 2);
    store_close(s);
    return true;
}

static inline void done(struct store *s)
{
    if (s->db)
        store_close(s);
    disk_end();
    if (test_state.failures)
        printf("%s", report);
}

/* Stores with up to six wounds each: a repair does not crash, and every row is one that was written. */
static inline void repair_at_random(void (*wound)(const char *name, uint64_t size), bool has_range_delete)
{
    int rounds = test_long() ? 600 : 60;
    uint64_t kept = 0;

    for (int round = 0; round < rounds; round++) {
        struct store s;
        uint64_t seed = test_random();
        int wounds = 1 + (int)(test_random() % 6), rc;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        for (int v = 1; v <= 4; v++) {
            put_rows(&s, v * 50, 600, v);
            if (v == 2 && has_range_delete)
                CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000400"), text("00000420"), true));
            if (v < 4)
                CHECK_OK(v == 2 ? lsm_db_compact(s.db, NULL) : lsm_db_flush(s.db));
        }
        store_close(&s);
        for (int i = 0; i < wounds; i++) {
            const char *name = file_of("a", "", (int)(test_random() % (unsigned)disk_count("a", "")));
            wound(name, size_of("a", name));
        }
        rc = repair("a", "b", NULL);
        disk.bad_count = 0;                     /* the new CURRENT has the name of the old one */
        CHECK(rc == LSM_OK || rc == LSM_NOTFOUND);
        if (rc == LSM_OK && store_open_as(&s, "b", true)) {
            int n = count_at(&s, NULL), known = 0;

            CHECK_OK(lsm_db_check(s.db));
            for (int i = 50; i < 600; i++) {
                int v = version_of(&s, i);

                CHECK(v >= 0);
                known += v > 0;
            }
            CHECK_INT(n, known);
            kept += (uint64_t)n;
            store_close(&s);
        }
        s.db = NULL;
        done(&s);
        if (test_state.failures) {
            printf("  round %d, %" PRIx64 "\n", round, seed);
            return;
        }
    }
    printf("  %d stores, %.1f %% of the rows\n", rounds, (double)kept / rounds / 5.5);
}

#endif
