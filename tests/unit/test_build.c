/*
 * test_build.c -- from a stream of versions to files, and jobs: where files are
 * cut, what is never put in two files, orders that are not there, failures that
 * leave nothing behind, slices of a compaction.
 */
#include "lsm/compaction/build.h"
#include "lsm/compaction/compact.h"
#include "lsm/compaction/flush.h"
#include "lsm/format/compress.h"
#include "lsm/store/cache.h"
#include "lsm/store/memtable.h"
#include "lsm/store/table.h"
#include "lsm/version/merge.h"
#include "tests/unit/disk.h"

static struct lsm_dir *dir;
static struct lsm_compressor_pool *pool;
static struct lsm_compressor *compressor;
static struct lsm_cache *cache;
static struct lsm_tables *tables;
static const uint8_t uuid[16] = { 1 };
static uint64_t next_number;

static uint64_t new_number(void *ctx)
{
    (void)ctx;
    return next_number++;
}

static void setup(void)
{
    bool created;

    disk_begin();
    next_number = 1;
    CHECK_INT(disk.os->dir_open(disk.os, "d", true, 0755, &created, &dir), 0);
    CHECK_OK(lsm_compressor_pool_new(disk.os, &pool));
    CHECK_OK(lsm_compressor_take(pool, &compressor));
    CHECK_OK(lsm_cache_new(disk.os, 1 << 20, &cache));
    CHECK_OK(lsm_tables_new(disk.os, dir, uuid, cache, pool, 64, &tables));
}

static void teardown(void)
{
    lsm_tables_free(tables);
    lsm_cache_free(cache);
    lsm_compressor_put(pool, compressor);
    lsm_compressor_pool_free(pool);
    disk.os->dir_close(dir);
    disk_end();
}

static struct lsm_build new_build(void)
{
    struct lsm_build b = { .os = disk.os, .dir = dir, .uuid = uuid, .tree = 1,
                           .table = { .block_bytes = 512, .filter_bits = 10, .codec = LSM_CODEC_NONE },
                           .compressor = compressor, .file_mode = 0644, .new_file = new_number };
    return b;
}

static struct lsm_slice number_key(int i, char buf[16])
{
    return (struct lsm_slice){ (uint8_t *)buf, (size_t)snprintf(buf, 16, "k%05d", i) };
}

/* `versions` versions of each key; values of 100 bytes. */
static struct lsm_memtable *fill(int from, int to, int versions, uint64_t seq)
{
    static const uint8_t value[100] = { 1 };
    struct lsm_memtable *mem;
    char buf[16];

    CHECK_OK(lsm_memtable_new(disk.os, &mem));
    for (int v = 0; v < versions; v++)
        for (int i = from; i < to; i++)
            CHECK_OK(lsm_memtable_add(mem, 1, NULL, number_key(i, buf), lsm_tag(seq++, LSM_KIND_PUT),
                                      (struct lsm_slice){ value, sizeof value }));
    return mem;
}

TEST(build_cuts_files_at_their_size_and_never_between_versions_of_a_key)
{
    uint64_t snapshots[500];
    struct lsm_build b;
    struct lsm_memtable *mem;
    struct lsm_iter *it;
    uint64_t rows = 0;

    setup();
    for (int i = 0; i < 500; i++)
        snapshots[i] = (uint64_t)i + 1;         /* every version is seen by somebody */
    mem = fill(0, 20, 25, 1);
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    b = new_build();
    b.file_bytes = 1000;                        /* less than the versions of one key */
    b.snapshots = snapshots;
    b.snapshot_count = 500;
    CHECK_OK(lsm_build_run(&b, it));
    CHECK_INT(b.rows_read, 500);
    CHECK_INT(b.rows_written, 500);
    CHECK_INT(b.count, 20);
    for (size_t i = 0; i < b.count; i++) {
        rows += b.metas[i]->entries;
        CHECK(lsm_slice_equal(b.metas[i]->smallest, b.metas[i]->largest));
        if (i)
            CHECK(lsm_slice_compare(b.metas[i - 1]->largest, b.metas[i]->smallest) < 0);
    }
    CHECK_INT(rows, 500);
    CHECK_INT(disk_count("d", ".ldb"), 20);
    lsm_build_clear(&b);
    lsm_iter_close(it);

    /* One file when no size is asked for. */
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    b = new_build();
    CHECK_OK(lsm_build_run(&b, it));
    CHECK_INT(b.count, 1);
    CHECK_INT(b.rows_written, 20);
    lsm_build_clear(&b);
    lsm_iter_close(it);
    lsm_memtable_unref(mem);
    teardown();
}

TEST(build_cuts_before_a_file_overlaps_too_much_of_the_level_below)
{
    struct lsm_build b;
    struct lsm_memtable *mem;
    struct lsm_iter *it;
    struct lsm_run grand[10];
    struct lsm_run *list[10];
    struct lsm_level level = { .runs = list, .count = 10 };
    static char lo[10][16], hi[10][16];

    setup();
    memset(grand, 0, sizeof grand);
    for (int i = 0; i < 10; i++) {
        grand[i].meta.smallest = number_key(i * 10, lo[i]);
        grand[i].meta.largest = number_key(i * 10 + 9, hi[i]);
        grand[i].meta.size_bytes = 100;
        list[i] = &grand[i];
    }
    mem = fill(0, 100, 1, 1);
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    b = new_build();
    b.file_bytes = 1 << 20;
    b.grand = &level;
    b.grand_bytes_max = 250;
    CHECK_OK(lsm_build_run(&b, it));
    CHECK(b.count >= 3 && b.count <= 4);
    for (size_t i = 0; i < b.count; i++)
        CHECK(b.metas[i]->entries <= 30);
    lsm_build_clear(&b);
    lsm_iter_close(it);
    lsm_memtable_unref(mem);
    teardown();
}

/* ---- orders that are not there ---- */

struct liar {
    struct lsm_iter base;
    const struct { const char *key; uint64_t seq; } *rows;
    int count, at;
};

static void liar_show(struct liar *l)
{
    l->base.valid = l->at < l->count;
    if (!l->base.valid)
        return;
    l->base.key = text(l->rows[l->at].key);
    l->base.tag = lsm_tag(l->rows[l->at].seq, LSM_KIND_PUT);
    l->base.value = text("v");
}

static void liar_first(struct lsm_iter *it)
{
    struct liar *l = (struct liar *)it;
    l->at = 0;
    liar_show(l);
}

static void liar_next(struct lsm_iter *it)
{
    struct liar *l = (struct liar *)it;
    l->at++;
    liar_show(l);
}

TEST(build_does_not_act_on_an_order_that_is_not_there)
{
    static const struct lsm_iter_methods methods = { .first = liar_first, .next = liar_next };
    static const struct { const char *key; uint64_t seq; } cases[][4] = {
        { { "b", 5 }, { "a", 4 } },
        { { "a", 5 }, { "a", 6 } },
        { { "a", 5 }, { "c", 4 }, { "b", 3 }, { "d", 1 } },
        { { "a", 5 }, { "b", 9 }, { "b", 8 }, { "ab", 1 } },
    };

    setup();
    for (int i = 0; i < 4; i++) {
        struct liar l = { .base = { .methods = &methods }, .rows = (const void *)cases[i], .count = i < 2 ? 2 : 4 };
        struct lsm_build b = new_build();
        CHECK_RC(lsm_build_run(&b, &l.base), LSM_CORRUPT);
        CHECK_INT(b.count, 0);
        CHECK_INT(disk_count("d", ".ldb"), 0);
        lsm_build_clear(&b);
    }
    teardown();
}

TEST(build_leaves_no_file_when_anything_fails)
{
    struct lsm_memtable *mem;
    int succeeded = 0;

    setup();
    mem = fill(0, 60, 1, 1);
    for (int kind = 0; kind < 4; kind++) {
        static const unsigned kinds[] = { DISK_WRITE, DISK_SYNC, DISK_CREATE, DISK_MEMORY };
        for (int at = 1; at <= 40; at++) {
            struct lsm_build b = new_build();
            struct lsm_iter *it;

            CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
            b.file_bytes = 1000;
            disk_fail(kinds[kind], at, false, "");
            int rc = lsm_build_run(&b, it);
            disk_heal();
            if (rc) {
                CHECK_INT(b.count, 0);
                CHECK_INT(disk_count("d", ".ldb"), 0);
            } else {
                succeeded++;
                for (size_t i = 0; i < b.count; i++) {
                    char name[40];
                    snprintf(name, sizeof name, "%06d.ldb", (int)b.metas[i]->number);
                    CHECK_INT(disk.os->file_remove(dir, name), 0);
                }
            }
            lsm_build_clear(&b);
            lsm_iter_close(it);
        }
    }
    CHECK(succeeded > 0);
    lsm_memtable_unref(mem);
    teardown();
}

/* ---- a compaction in slices ---- */

static const struct lsm_comparator *bytes_order(void *ctx, uint32_t tree)
{
    (void)ctx, (void)tree;
    return NULL;
}

static struct lsm_version *version;
static int installs, install_max;

static int install_slice(void *ctx, struct lsm_edit *edit)
{
    struct lsm_version *next;

    (void)ctx;
    if (installs == install_max)
        return lsm_fail(LSM_NOTFOUND, "as asked");
    if (!CHECK_OK(lsm_version_apply(version, edit, &next)))
        return LSM_CORRUPT;
    installs++;
    lsm_version_unref(version);
    version = next;
    return LSM_OK;
}

static void write_run(struct lsm_memtable *mem, uint32_t level, uint64_t file_bytes)
{
    struct lsm_build b = new_build();
    struct lsm_ranges *ranges;
    struct lsm_range_set set;
    struct lsm_version *next;
    struct lsm_edit edit;
    struct lsm_iter *it;

    lsm_range_set_init(&set, disk.os);
    for (uint32_t i = 0; i < lsm_memtable_range_count(mem, 1); i++) {
        struct lsm_slice lo, hi;
        uint64_t seq;
        lsm_memtable_range(mem, 1, i, &lo, &hi, &seq);
        lsm_range_set_add(&set, lo, hi, seq);
    }
    CHECK_OK(lsm_range_set_finish(&set, NULL, NULL, 0, &ranges));
    CHECK_OK(lsm_memtable_iter_new(mem, 1, NULL, 0, &it));
    b.file_bytes = file_bytes;
    b.ranges = ranges;
    CHECK_OK(lsm_build_run(&b, it));
    lsm_ranges_free(ranges);
    lsm_edit_init(&edit, disk.os);
    for (size_t i = 0; i < b.count; i++)
        lsm_edit_add_table(&edit, level, b.metas[i]);
    CHECK_OK(lsm_version_apply(version, &edit, &next));
    lsm_version_unref(version);
    version = next;
    lsm_edit_clear(&edit);
    lsm_build_clear(&b);
    lsm_iter_close(it);
    lsm_memtable_unref(mem);
}

/* Rows of the version under the newest tag of each key; -1: something is wrong. */
static int count_keys(void)
{
    const struct lsm_tree_version *tv = lsm_version_tree(version, 1);
    struct lsm_iter *sources[64], *it;
    char last[16] = "";
    int keys = 0;
    size_t n = 0;

    for (int l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t i = 0; i < tv->level[l].count; i++) {
            struct lsm_table *t;
            CHECK_OK(lsm_tables_get(tables, &tv->level[l].runs[i]->meta, NULL, &t));
            CHECK_OK(lsm_table_iter_new(t, false, &sources[n++]));
            lsm_table_unref(t);
        }
    CHECK_OK(lsm_merge_new(disk.os, NULL, sources, n, &it));
    for (lsm_iter_first(it); it->valid; lsm_iter_next(it)) {
        keys += it->key.size != strlen(last) || memcmp(it->key.data, last, it->key.size) != 0;
        snprintf(last, sizeof last, "%.*s", (int)it->key.size, (const char *)it->key.data);
    }
    CHECK_OK(it->rc);
    lsm_iter_close(it);
    return keys;
}

/* Cut short after each slice in turn: the version is whole, and the job can be done again. */
TEST(build_a_compaction_that_is_cut_short_keeps_its_slices_and_can_be_repeated)
{
    for (int cut = 0; cut < 6; cut++) {
        struct lsm_edit edit;
        struct lsm_version *next;
        int rounds = 0, rc;

        setup();
        install_max = cut;
        CHECK_OK(lsm_version_new(disk.os, NULL, bytes_order, NULL, &version));
        lsm_edit_init(&edit, disk.os);
        struct lsm_edit_tree tree = { .id = 1, .name = text("t"), .block_bytes = 512 };
        lsm_edit_add_tree(&edit, &tree);
        CHECK_OK(lsm_version_apply(version, &edit, &next));
        lsm_version_unref(version);
        version = next;
        lsm_edit_clear(&edit);
        write_run(fill(0, 120, 1, 1), 2, 2000);
        write_run(fill(0, 60, 1, 200), 3, 0);   /* not the bottom everywhere: tags stay */
        write_run(fill(20, 100, 1, 1000), 1, 0);
        installs = 0;
        do {
            const struct lsm_policy policy = { .level0_runs = 4, .level_bytes = 1, .fan_out = 10,
                .file_bytes = 1500, .overlap_bytes_max = 1 << 20, .expand_bytes_max = 1 };
            struct lsm_version *pinned = version;
            struct lsm_pick_state state;
            struct lsm_job job;
            struct lsm_compact c = { .job = &job, .policy = &policy, .tables = tables, .slice_bytes = 1500,
                                     .new_file = new_number, .install = install_slice };
            lsm_version_ref(pinned);
            lsm_pick_state_init(&state, disk.os);
            c.tree = lsm_version_tree(pinned, 1);
            c.build = new_build();
            rc = lsm_pick(&policy, c.tree, NULL, &state, disk.os, &job);
            if (rc == LSM_OK && job.level == 1) {
                CHECK_INT(count_keys(), 120);
                rc = lsm_compact_run(&c);
                CHECK(rc == LSM_OK || rc == LSM_NOTFOUND);
            } else {
                rc = LSM_DONE;
            }
            CHECK_INT(count_keys(), 120);
            lsm_job_clear(&job, disk.os);
            lsm_pick_state_clear(&state);
            lsm_version_unref(pinned);
            if (rc == LSM_NOTFOUND)
                install_max = 1000;
            rounds++;
        } while (rc == LSM_NOTFOUND && rounds < 5 && !test_state.failures);
        CHECK(installs > 3);
        CHECK_INT(lsm_version_tree(version, 1)->level[1].count, 0);
        lsm_version_unref(version);
        teardown();
        if (test_state.failures)
            break;
    }
}

/* ---- range deletes in slices ---- */

#define GROUPS 12

/* Keys 10g + 1 .. 10g + 7 of each group are deleted in some table above level 3, whatever is installed. */
static bool all_covered(void)
{
    const struct lsm_tree_version *tv = lsm_version_tree(version, 1);
    char buf[16];

    for (int k = 0; k < 10 * GROUPS; k++) {
        bool covered = false;
        for (int l = 0; l < 3; l++)
            for (uint32_t i = 0; i < tv->level[l].count; i++) {
                struct lsm_stretch at;
                struct lsm_table *t;
                if (tv->level[l].runs[i]->meta.range_deletes == 0)
                    continue;
                CHECK_OK(lsm_tables_get(tables, &tv->level[l].runs[i]->meta, NULL, &t));
                lsm_table_range_at(t, number_key(k, buf), LSM_SEQ_MAX, &at);
                covered |= at.seq > 0;
                lsm_table_unref(t);
            }
        if (!CHECK_INT(covered, k % 10 >= 1 && k % 10 <= 7)) {
            printf("  key %d after %d installs\n", k, installs);
            return false;
        }
    }
    return true;
}

static int install_covered(void *ctx, struct lsm_edit *edit)
{
    int rc = install_slice(ctx, edit);
    return rc == LSM_OK && !all_covered() ? LSM_CORRUPT : rc;
}

TEST(build_range_deletes_hold_after_each_slice_of_a_compaction)
{
    const struct lsm_policy policy = { .level0_runs = 4, .level_bytes = 1, .fan_out = 10,
        .file_bytes = 1, .overlap_bytes_max = 1 << 20, .expand_bytes_max = 1 << 20 };
    struct lsm_run *upper[1], *lower[GROUPS];
    struct lsm_job job = { .tree = 1, .level = 1, .output_level = 2, .upper = upper, .upper_count = 1,
                           .upper_of = { [1] = 1 }, .lower = lower, .lower_count = GROUPS };
    struct lsm_version *next, *pinned;
    struct lsm_edit edit;
    char lo[16], hi[16];

    setup();
    install_max = 1000;
    installs = 0;
    CHECK_OK(lsm_version_new(disk.os, NULL, bytes_order, NULL, &version));
    lsm_edit_init(&edit, disk.os);
    struct lsm_edit_tree tree = { .id = 1, .name = text("t"), .block_bytes = 512 };
    lsm_edit_add_tree(&edit, &tree);
    CHECK_OK(lsm_version_apply(version, &edit, &next));
    lsm_version_unref(version);
    version = next;
    lsm_edit_clear(&edit);

    write_run(fill(0, 10 * GROUPS, 1, 1), 3, 0);
    struct lsm_memtable *above;
    CHECK_OK(lsm_memtable_new(disk.os, &above));
    for (int g = 0; g < GROUPS; g++) {          /* a row, and a delete that reaches further than it */
        struct lsm_memtable *mem = fill(10 * g, 10 * g + 1, 1, 500);
        CHECK_OK(lsm_memtable_add(mem, 1, NULL, number_key(10 * g + 1, lo),
                                  lsm_tag(600, LSM_KIND_RANGE_DELETE), number_key(10 * g + 8, hi)));
        write_run(mem, 2, 0);
        CHECK_OK(lsm_memtable_add(above, 1, NULL, number_key(10 * g + 9, lo),
                                  lsm_tag(1000 + (uint64_t)g, LSM_KIND_PUT), number_key(0, hi)));
    }
    write_run(above, 1, 0);
    CHECK(all_covered());
    pinned = version;
    lsm_version_ref(pinned);
    const struct lsm_tree_version *tv = lsm_version_tree(pinned, 1);
    upper[0] = tv->level[1].runs[0];
    for (int g = 0; g < GROUPS; g++)
        lower[g] = tv->level[2].runs[g];
    struct lsm_compact c = { .job = &job, .policy = &policy, .tables = tables, .slice_bytes = 1, .tree = tv,
                             .new_file = new_number, .install = install_covered };
    c.build = new_build();
    CHECK_OK(lsm_compact_run(&c));
    CHECK(installs > 3);
    CHECK_INT(lsm_version_tree(version, 1)->level[1].count, 0);
    CHECK_INT(count_keys(), 10 * GROUPS);
    lsm_version_unref(pinned);
    lsm_version_unref(version);
    teardown();
}

TEST(build_filters_of_the_newest_levels_are_wrong_less_often)
{
    static const struct { uint32_t level, deep, bits; } rows[] = {
        { 0, 12, 16 }, { 1, 12, 16 }, { 2, 12, 12 }, { 7, 12, 12 },
        { 0, 0, 0 },                    /* no filter is no filter */
        { 1, 28, 32 }, { 1, 29, 29 }, { 0, 32, 32 },
    };
    static const int32_t compression[LSM_LEVEL_COUNT_MAX] = { LSM_COMPRESSION_LZ, LSM_COMPRESSION_LZ, 1, 1, 1, 1, 1, 1 };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lsm_table_options o = { .filter_bits = rows[i].deep };
        lsm_table_options_at(&o, rows[i].level, compression);
        CHECK_INT(o.filter_bits, rows[i].bits);
        CHECK_INT(o.codec, rows[i].level < 2 ? LSM_CODEC_LZ : LSM_CODEC_ZSTD);
    }
}
