/*
 * test_compact.c -- what a caller asks to be compacted, and level 0 with more runs
 * than the process has descriptors: it shrinks all the same.
 */
#include <errno.h>

#include "lsm/db/db.h"
#include "lsm/util/slice.h"
#include "tests/unit/one_tree.h"

/* ---- an os with few descriptors ---- */

enum { DESCRIPTORS = 32 };

static struct few {
    int open, peak, max;
    int (*file_open)(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file);
    void (*file_close)(struct lsm_file *file);
} few;

static int few_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file)
{
    int error = few.open < few.max ? few.file_open(dir, name, flags, mode, file) : EMFILE;

    if (!error && ++few.open > few.peak)
        few.peak = few.open;
    return error;
}

static void few_close(struct lsm_file *file)
{
    few.open--;
    few.file_close(file);
}

static uint32_t few_limit(struct lsm_os *os)
{
    (void)os;
    return DESCRIPTORS;
}

static bool few_begin(struct one *o)
{
    o->base = lsm_os_posix_new();
    o->os = lsm_os_mem_new(o->base);
    few = (struct few){ 0, 0, DESCRIPTORS, o->os->file_open, o->os->file_close };
    o->os->file_open = few_open;
    o->os->file_close = few_close;
    o->os->file_limit = few_limit;
    return CHECK_OK(one_open(o->os, &o->db)) &&
           CHECK_OK(lsm_tree_create(o->db, lsm_slice_str("t"), NULL, &o->tree));
}

/* ---- rows, and what they should be ---- */

enum { KEYS = 3000 };

static uint32_t rows[KEYS];             /* the value; 0: none */

static void put(struct one *o, uint32_t key, uint32_t value)
{
    if (value)
        CHECK_OK(lsm_db_put(o->db, o->tree, number(key), number(value), false));
    else
        CHECK_OK(lsm_db_delete(o->db, o->tree, number(key), false));
    rows[key] = value;
}

/* Runs of level 0 that all overlap, with some of the same keys. */
static void pile_up(struct one *o, int runs)
{
    for (int i = 0; i < runs; i++) {
        for (uint32_t k = 0; k < 40; k++)
            put(o, (uint32_t)test_below(KEYS), test_below(5) ? 1 + (uint32_t)test_below(1000000) : 0);
        put(o, 0, 1 + (uint32_t)i);
        put(o, KEYS - 1, 1 + (uint32_t)i);
        CHECK_OK(lsm_db_flush(o->db));
    }
}

static bool get_agrees(struct one *o)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        struct lsm_value v;
        int rc = lsm_tree_get(o->tree, NULL, number(i), &v);
        bool ok = rows[i] ? rc == LSM_OK && lsm_slice_equal(v.bytes, number(rows[i])) : rc == LSM_NOTFOUND;

        lsm_value_release(&v);
        if (!CHECK(ok)) {
            printf("  key %u: %s\n", i, lsm_code_name(rc));
            return false;
        }
    }
    return true;
}

static bool scan_agrees(struct one *o)
{
    struct lsm_cursor *c;
    uint32_t i = 0;
    int rc;

    if (!CHECK_OK(lsm_cursor_open(o->tree, NULL, &c)))
        return false;
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c), i++) {
        while (i < KEYS && !rows[i])
            i++;
        if (!CHECK(i < KEYS && lsm_slice_equal(lsm_cursor_key(c), number(i)) &&
                   lsm_slice_equal(lsm_cursor_value(c), number(rows[i]))))
            break;
    }
    while (i < KEYS && !rows[i])
        i++;
    lsm_cursor_close(c);
    return CHECK_INT(rc, LSM_DONE) && CHECK_INT(i, KEYS);
}

static uint64_t files_of(struct one *o, uint32_t level)
{
    struct lsm_tree_stats stats;

    CHECK_OK(lsm_tree_stats(o->tree, &stats));
    return level < stats.level_count ? stats.level[level].files : 0;
}

static uint64_t files_above_deepest(struct one *o)
{
    struct lsm_tree_stats stats;
    uint64_t files = 0, last = 0;

    CHECK_OK(lsm_tree_stats(o->tree, &stats));
    for (uint32_t i = 0; i < stats.level_count; i++)
        if (stats.level[i].files) {
            files += last;
            last = stats.level[i].files;
        }
    return files;
}

/* ---- more runs than descriptors ---- */

enum how { BY_COMPACT, BY_RANGE, BY_WORKER, HOW_COUNT };

TEST(compact_shrinks_a_level0_of_more_runs_than_there_are_descriptors)
{
    for (int how = 0; how < HOW_COUNT; how++)
        for (int reopens = 0; reopens < 2; reopens++) {
            struct lsm_slice none = { NULL, 0 };
            struct lsm_cursor *c;
            struct one o;
            int rc = LSM_OK;

            memset(rows, 0, sizeof rows);
            if (!few_begin(&o))
                return;
            pile_up(&o, 3 * DESCRIPTORS);
            CHECK(files_of(&o, 0) > 2 * DESCRIPTORS);
            CHECK_OK(lsm_db_check(o.db));
            if (reopens) {
                CHECK_OK(lsm_db_close(o.db));
                CHECK_OK(one_open(o.os, &o.db));
                CHECK_OK(lsm_tree_find(o.db, lsm_slice_str("t"), &o.tree));
            }
            get_agrees(&o);
            CHECK_RC(lsm_cursor_open(o.tree, NULL, &c), LSM_CANTOPEN);
            CHECK(strstr(lsm_error_text(), "compact first") != NULL);
            if (how == BY_WORKER) {
                while (rc == LSM_OK)
                    rc = lsm_db_step(o.db);
                CHECK_INT(rc, LSM_DONE);
                CHECK(files_of(&o, 0) < 8);
            } else {
                rc = how == BY_COMPACT ? lsm_db_compact(o.db, o.tree)
                                       : lsm_db_compact_range(o.db, o.tree, number(KEYS / 2), none);
                CHECK_OK(rc);
                CHECK_INT(files_above_deepest(&o), 0);
            }
            get_agrees(&o);
            scan_agrees(&o);
            CHECK(few.peak <= DESCRIPTORS);
            one_end(&o);
            CHECK_INT(few.open, 0);
        }
}

/* A row that is read opens a table, and a value log where its value is long. */
TEST(compact_tables_and_value_logs_give_each_other_their_idle_descriptors)
{
    const struct lsm_tree_options options = { .value_log_bytes = 64 };
    enum { PARTS = 6 };
    struct lsm_value value;
    uint8_t big[500];
    struct one o;

    if (!few_begin(&o))
        return;
    CHECK_OK(lsm_tree_create(o.db, lsm_slice_str("u"), &options, &o.tree));
    for (uint32_t part = 0; part < PARTS; part++) {
        memset(big, (int)part, sizeof big);
        CHECK_OK(lsm_db_put(o.db, o.tree, number(2 * part), lsm_slice_str("short"), false));
        CHECK_OK(lsm_db_put(o.db, o.tree, number(2 * part + 1), lsm_slice(big, sizeof big), false));
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK_INT(stat_of(o.db, "value_logs"), PARTS);
    CHECK_OK(lsm_db_close(o.db));
    CHECK_OK(one_open(o.os, &o.db));
    CHECK_OK(lsm_tree_find(o.db, lsm_slice_str("u"), &o.tree));
    for (uint32_t part = 0; part < PARTS; part++) {
        CHECK_OK(lsm_tree_get(o.tree, NULL, number(2 * part), &value));
        lsm_value_release(&value);
    }
    CHECK_INT(stat_of(o.db, "tables_open"), PARTS);
    few.max = few.open;
    for (uint32_t part = 0; part < PARTS; part++) {     /* logs take what the tables have */
        CHECK_OK(lsm_tree_get(o.tree, NULL, number(2 * part + 1), &value));
        CHECK(value.bytes.size == sizeof big && value.bytes.data[0] == part);
        lsm_value_release(&value);
    }
    lsm_tables_close_idle(o.db->tables, 100);
    few.max = few.open;
    for (uint32_t part = 0; part < PARTS; part++) {     /* and tables what the logs have */
        CHECK_OK(lsm_tree_get(o.tree, NULL, number(2 * part), &value));
        lsm_value_release(&value);
    }
    few.max = DESCRIPTORS;
    one_end(&o);
}

/* ---- a range ---- */

TEST(compact_range_brings_its_rows_down_and_leaves_the_rest)
{
    struct one o;

    memset(rows, 0, sizeof rows);
    if (!one_begin(&o))
        return;
    /* Three tables in the deepest level, three in level 0 above them, one with the last row of its range. */
    for (uint32_t part = 0; part < 3; part++) {
        for (uint32_t k = 0; k < 900; k++)
            put(&o, part * 1000 + k, k + 1);
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK_INT(files_above_deepest(&o), 0);
    for (uint32_t part = 0; part < 3; part++) {
        for (uint32_t k = 0; k < 900; k += 3)
            put(&o, part * 1000 + k, k % 2 ? k + 7 : 0);
        CHECK_OK(lsm_db_flush(o.db));
    }
    CHECK_INT(files_of(&o, 0), 3);
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(950), number(1000)));    /* nothing stands there */
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(1000), number(1000)));
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(2000), number(1000)));
    CHECK_INT(files_of(&o, 0), 3);
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(1200), number(1201)));
    CHECK_INT(files_of(&o, 0), 2);
    get_agrees(&o);
    /* It flushes what is in memory. */
    put(&o, 1500, 77);
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(1500), number(2000)));
    CHECK_INT(files_of(&o, 0), 2);
    get_agrees(&o);
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, number(2897), (struct lsm_slice){ NULL, 0 }));
    CHECK_INT(files_of(&o, 0), 1);
    CHECK_OK(lsm_db_compact_range(o.db, o.tree, (struct lsm_slice){ NULL, 0 }, number(1)));
    CHECK_INT(files_above_deepest(&o), 0);
    get_agrees(&o);
    scan_agrees(&o);
    one_end(&o);
}

TEST(compact_range_of_a_dropped_tree_is_told)
{
    struct one o;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_tree_drop(o.db, o.tree));
    CHECK_RC(lsm_db_compact_range(o.db, o.tree, number(0), number(9)), LSM_NOTFOUND);
    one_end(&o);
}

/* ---- what goes without being asked for, and without new writes ---- */

static uint64_t bytes_of_tree(struct one *o)
{
    struct lsm_tree_stats stats;
    uint64_t bytes = 0;

    CHECK_OK(lsm_tree_stats(o->tree, &stats));
    for (uint32_t i = 0; i < stats.level_count; i++)
        bytes += stats.level[i].bytes;
    return bytes;
}

static int work(struct one *o)
{
    int jobs = 0, rc;

    while ((rc = lsm_db_step(o->db)) == LSM_OK)
        jobs++;
    CHECK_INT(rc, LSM_DONE);
    return jobs;
}

TEST(compact_old_versions_go_when_their_snapshot_is_closed)
{
    for (int reopens = 0; reopens < 2; reopens++) {
        struct lsm_snapshot *snapshot;
        struct one o;
        uint64_t both;

        memset(rows, 0, sizeof rows);
        if (!one_begin(&o))
            return;
        for (uint32_t i = 0; i < KEYS; i++)
            put(&o, i, i + 1);
        CHECK_OK(lsm_snapshot_open(o.db, &snapshot));
        for (uint32_t i = 0; i < KEYS; i++)
            put(&o, i, i + 2);
        CHECK_OK(lsm_db_compact(o.db, NULL));
        both = bytes_of_tree(&o);
        CHECK_INT(work(&o), 0);
        lsm_snapshot_close(snapshot);
        if (reopens) {          /* the MANIFEST knows of them */
            CHECK_OK(lsm_db_close(o.db));
            CHECK_OK(one_open(o.os, &o.db));
            CHECK_OK(lsm_tree_find(o.db, lsm_slice_str("t"), &o.tree));
        }
        CHECK(work(&o) > 0);
        CHECK(bytes_of_tree(&o) < both * 3 / 4);
        get_agrees(&o);
        CHECK_INT(work(&o), 0);
        one_end(&o);
    }
}

/* What takes a reader as long as some hundred seeks that go through one run more than need be. */
static void seek_often(struct one *o)
{
    struct lsm_cursor *c;

    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_OK(lsm_cursor_open(o->tree, NULL, &c));
        CHECK_OK(lsm_cursor_seek(c, number((uint32_t)test_below(KEYS - 40))));
        lsm_cursor_close(c);
    }
}

static void get_often(struct one *o)
{
    for (int i = 0; i < 6; i++)
        get_agrees(o);
}

static void scan_often(struct one *o)
{
    for (int i = 0; i < 12; i++)
        scan_agrees(o);
}

TEST(compact_merges_runs_that_reads_go_through_in_vain)
{
    static void (*const how[])(struct one *o) = { seek_often, get_often, scan_often };

    for (size_t h = 0; h < sizeof how / sizeof *how; h++) {
        struct one o;

        memset(rows, 0, sizeof rows);
        if (!one_begin(&o))
            return;
        for (uint32_t i = 0; i < KEYS; i++)
            put(&o, i, i + 1);
        CHECK_OK(lsm_db_flush(o.db));
        for (uint32_t i = 0; i < KEYS; i += 30)
            put(&o, i, i + 2);
        put(&o, KEYS - 1, 5);
        CHECK_OK(lsm_db_flush(o.db));
        CHECK_INT(work(&o), 0);
        CHECK_INT(files_of(&o, 0), 1);
        how[h](&o);
        if (!CHECK_INT(work(&o), 1))
            printf("  way %zu to read\n", h);
        CHECK_INT(files_of(&o, 0), 0);
        get_agrees(&o);
        scan_agrees(&o);
        one_end(&o);
    }
}
