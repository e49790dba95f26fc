/*
 * copied.h -- for tests of what a compaction copies as it stands: inputs, a build that decodes all of it and one that
 * copies, and a comparison of the two.
 *
 * Inputs are of streams whose keys grow, so that blocks and partitions of one input lie alone, with a few older keys
 * written again, deletes, range deletes, snapshots, values in logs, orders of keys, codecs and sizes of blocks.
 */
#ifndef TESTS_UNIT_COPIED_H
#define TESTS_UNIT_COPIED_H

#include "lsm/compaction/compact.h"
#include "lsm/store/table_open.h"
#include "lsm/version/merge.h"
#include "tests/unit/disk.h"
#include "tests/unit/orders.h"

#define SOURCES 5
#define TABLES 4
#define ROWS_MAX 6000
#define KEY_MAX 24
#define STREAMS_MAX 8

struct row {
    char key[KEY_MAX];
    uint64_t tag;
    uint32_t size;              /* of the value */
    uint8_t fill;
};

static struct world {
    const struct lsm_comparator *cmp;
    struct lsm_cache *cache[3];
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *compressor;
    struct lsm_dir *dir[3];
    struct lsm_tables *tables[3];       /* of the inputs, the decoding and the copying one's outputs */
    struct source {
        struct row rows[ROWS_MAX];
        int count;
        uint64_t seq_add;
        struct lsm_table_meta *metas[TABLES];
        uint32_t table_count;
    } source[SOURCES];                  /* the newest first */
    int source_count;
    uint64_t snapshots[4];
    size_t snapshot_count;
    struct { char lo[KEY_MAX], hi[KEY_MAX]; } deeper[4];        /* where something older may be */
    int deeper_count;
    struct lsm_ranges *ranges;
    struct lsm_run runs[12], *run_list[12];
    char ends[12][2][KEY_MAX];
    struct lsm_level grand;
    struct lsm_table_options options;
    bool is_mixed;              /* some inputs have other options */
    uint64_t next_number;
    int value_kind;
    uint64_t key_max;           /* ends of stretches are below */
} w;

static const uint8_t uuid[16] = { 1 };

static inline int compare(const char *a, const char *b)
{
    return lsm_key_compare(w.cmp, text(a), text(b));
}

static inline int by_key_and_tag(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = compare(x->key, y->key);

    return c ? c : x->tag > y->tag ? -1 : x->tag < y->tag;
}

static inline int by_key(const void *a, const void *b)
{
    return compare(a, b);
}

/* Of a put: letters that repeat, or a handle. */
static inline struct lsm_slice value_of(const struct row *r)
{
    static uint8_t bytes[4000];

    if (lsm_tag_kind(r->tag) == LSM_KIND_VLOG) {
        struct lsm_vlog_handle h = { 1 + r->fill % 3, r->fill * 100u, 40 + r->fill, 30 + r->fill };
        return lsm_slice(bytes, lsm_vlog_handle_encode(bytes, &h));
    }
    for (uint32_t i = 0; i < r->size; i++)
        bytes[i] = (uint8_t)('a' + (r->fill + i % 7 * i) % 11);
    return lsm_slice(bytes, lsm_tag_kind(r->tag) == LSM_KIND_DELETE ? 0 : r->size);
}

static inline uint32_t value_size(void)
{
    switch (w.value_kind) {
    case 0: return 40;                                  /* all of one size */
    case 1: return (uint32_t)test_below(120);
    case 2: return test_below(30) ? 30 : 2000;          /* some larger than a block */
    default: return test_below(40) ? 20 : 300;          /* some for a log */
    }
}

/* ---- inputs ---- */

static inline void make_rows(int streams, uint64_t rows_max)
{
    uint64_t next[STREAMS_MAX] = { 0 }, seq = 1;
    bool one_kind = test_below(2), quiet = test_below(2);

    for (int i = w.source_count; i-- > 0;) {
        struct source *s = &w.source[i];
        bool is_zero = i == w.source_count - 1 && test_below(3);
        uint64_t rewritten = quiet ? 0 : test_below(3) * 2, deleted = quiet ? 0 : test_below(3);

        s->count = (int)(200 + test_below(rows_max - 400));
        s->seq_add = !is_zero && test_below(5) == 0 ? seq - 1 : 0;
        for (int k = 0; k < s->count; k++) {
            struct row *r = &s->rows[k];
            uint64_t stream = test_below((uint64_t)streams), n = next[stream];
            int kind = one_kind || test_below(4) ? LSM_KIND_PUT : LSM_KIND_VLOG;
            bool old = !is_zero && n > 0 && test_below(100) < rewritten;

            n = old ? test_below(n) : next[stream]++;
            snprintf(r->key, KEY_MAX, "stream%d/%08d", (int)stream, (int)n);
            if (test_below(is_zero ? 400 : 100) < deleted)
                kind = LSM_KIND_DELETE;
            r->tag = lsm_tag(is_zero ? 0 : seq++, (enum lsm_kind)kind);
            r->size = value_size();
            r->fill = (uint8_t)test_random();
        }
        qsort(s->rows, (size_t)s->count, sizeof *s->rows, by_key_and_tag);
    }
    w.snapshot_count = test_below(3) ? 0 : 1 + test_below(4);
    for (size_t i = 0; i < w.snapshot_count; i++)
        w.snapshots[i] = (i ? w.snapshots[i - 1] : 0) + 1 + test_below(seq / 2 + 1);
}

static inline void any_key(char key[KEY_MAX], int streams)
{
    snprintf(key, KEY_MAX, "stream%d/%08d", (int)test_below((uint64_t)streams), (int)test_below(w.key_max));
}

static inline void any_stretch(char lo[KEY_MAX], char hi[KEY_MAX], int streams)
{
    do {
        any_key(lo, streams);
        any_key(hi, streams);
    } while (compare(lo, hi) >= 0);
}

static inline void make_surroundings(int streams)
{
    struct lsm_range_set set;
    char ends[24][KEY_MAX];
    uint64_t ranges = test_below(2) ? test_below(4) : 0;

    w.deeper_count = 0;
    if (test_below(3)) {                /* else the bottom is everywhere */
        w.deeper_count = 1 + (int)test_below(2);
        for (int i = 0; i < w.deeper_count; i++)
            any_stretch(w.deeper[i].lo, w.deeper[i].hi, streams);
        if (test_below(2)) {            /* nowhere */
            strcpy(w.deeper[0].lo, w.cmp == &reverse ? "z" : "a");
            strcpy(w.deeper[0].hi, w.cmp == &reverse ? "a" : "z");
        }
    }
    lsm_range_set_init(&set, disk.os);
    for (uint64_t i = 0; i < ranges; i++) {
        char lo[KEY_MAX], hi[KEY_MAX];
        any_stretch(lo, hi, streams);
        lsm_range_set_add(&set, text(lo), text(hi), 1 + test_below(3000));
    }
    CHECK_OK(lsm_range_set_finish(&set, w.cmp, w.snapshots, w.snapshot_count, &w.ranges));

    for (int i = 0; i < 24; i++)
        any_key(ends[i], streams);
    qsort(ends, 24, sizeof ends[0], by_key);
    memset(w.runs, 0, sizeof w.runs);
    for (int i = 0; i < 12; i++) {
        memcpy(w.ends[i], ends[2 * i], sizeof w.ends[i]);
        w.runs[i].meta.smallest = text(w.ends[i][0]);
        w.runs[i].meta.largest = text(w.ends[i][1]);
        w.runs[i].meta.size_bytes = 100;
        w.run_list[i] = &w.runs[i];
    }
    w.grand = (struct lsm_level){ .runs = w.run_list, .count = 12 };
}

static inline void any_options(struct lsm_table_options *o)
{
    static const int codecs[] = { LSM_CODEC_NONE, LSM_CODEC_LZ, LSM_CODEC_LZ, LSM_CODEC_ZSTD, LSM_CODEC_ZSTD };
    static const uint32_t sizes[] = { 512, 512, 512, 600, 4096 };

    *o = (struct lsm_table_options){ .block_bytes = sizes[test_below(5)], .filter_bits = test_below(4) ? 10 : test_below(2) * 14,
                                     .codec = codecs[test_below(5)], .level = test_below(5) ? 1 : 3,
                                     .comparator = w.cmp };
}

static inline void write_sources(void)
{
    for (int i = 0; i < w.source_count; i++) {
        struct source *s = &w.source[i];
        int at = 0;

        s->table_count = s->seq_add ? 1 : (uint32_t)(1 + test_below(TABLES));
        for (uint32_t t = 0; t < s->table_count; t++) {
            int end = s->count * (int)(t + 1) / (int)s->table_count;
            struct lsm_table_options o = w.options;
            struct lsm_table_writer *writer;
            struct lsm_table_meta meta;

            if (w.is_mixed && test_below(4) == 0)
                any_options(&o);
            while (end < s->count && compare(s->rows[end - 1].key, s->rows[end].key) == 0)
                end++;
            CHECK_OK(lsm_table_writer_open(disk.os, w.dir[0], uuid, w.next_number++, 1, &o, w.compressor, 0644, &writer));
            for (; at < end; at++) {
                const struct row *r = &s->rows[at];
                if (at && by_key_and_tag(&s->rows[at - 1], r) == 0)
                    continue;           /* sequence 0 twice */
                lsm_table_writer_add(writer, text(r->key), r->tag - (s->seq_add << 8), value_of(r));
            }
            CHECK_OK(lsm_table_writer_finish(writer, &meta));
            meta.seq_add = s->seq_add;
            s->metas[t] = lsm_table_meta_copy(disk.os, &meta);
            lsm_table_writer_close(writer);
        }
    }
}

static inline int level_open(void *ctx, uint32_t i, struct lsm_iter **it)
{
    struct source *s = ctx;
    struct lsm_table *t;
    int rc = lsm_tables_get(w.tables[0], s->metas[i], w.cmp, &t);

    if (rc == LSM_OK) {
        rc = lsm_table_iter_new(t, true, it);
        lsm_table_unref(t);
    }
    return rc;
}

static inline struct lsm_iter *open_inputs(void)
{
    struct lsm_iter *its[SOURCES], *it;

    for (int i = 0; i < w.source_count; i++) {
        struct source *s = &w.source[i];
        struct lsm_level_source level = { s, level_open, NULL, s->table_count, NULL, NULL };

        if (s->table_count == 1)
            CHECK_OK(level_open(s, 0, &its[i]));
        else
            CHECK_OK(lsm_level_iter_new(disk.os, &level, &its[i]));
    }
    CHECK_OK(lsm_merge_new(disk.os, w.cmp, its, (size_t)w.source_count, &it));
    return it;
}

/* ---- outputs ---- */

static inline uint64_t new_number(void *ctx)
{
    (void)ctx;
    return w.next_number++;
}

static inline bool is_deeper(struct lsm_slice first, struct lsm_slice last)
{
    for (int i = 0; i < w.deeper_count; i++)
        if (lsm_key_compare(w.cmp, text(w.deeper[i].lo), first) <= 0 &&
            lsm_key_compare(w.cmp, last, text(w.deeper[i].hi)) <= 0)
            return true;
    return false;
}

static inline bool is_bottom(void *ctx, struct lsm_slice key)
{
    (void)ctx;
    return !is_deeper(key, key);
}

static inline bool is_above(void *ctx, struct lsm_slice first, struct lsm_slice last)
{
    (void)ctx;
    return is_deeper(first, last);
}

static inline bool is_bottom_range(void *ctx, struct lsm_slice lo, struct lsm_slice hi)
{
    (void)ctx;
    for (int i = 0; i < w.deeper_count; i++)
        if (lsm_key_compare(w.cmp, text(w.deeper[i].hi), lo) >= 0 && lsm_key_compare(w.cmp, text(w.deeper[i].lo), hi) <= 0)
            return false;
    return true;
}

static inline int read_value(void *ctx, const struct lsm_vlog_handle *handle, struct lsm_slice *value)
{
    static uint8_t bytes[300];

    (void)ctx;
    if (handle->off % 700 == 0)
        return LSM_CORRUPT;
    memset(bytes, (int)(handle->off / 100), sizeof bytes);
    *value = lsm_slice(bytes, handle->raw_size);
    return LSM_OK;
}

/* Two whole streams of rows with equal metas, or false. */
static inline bool same_outputs(const struct lsm_build *a, const struct lsm_build *b)
{
    const struct lsm_build *builds[2] = { a, b };
    struct lsm_iter *its[2];
    uint64_t sums[2][6] = { 0 };
    bool same = true;

    for (int i = 0; i < 2; i++) {
        struct lsm_iter *tables[400];

        if (!CHECK(builds[i]->count <= 400))
            return false;
        for (size_t k = 0; k < builds[i]->count; k++) {
            const struct lsm_table_meta *m = builds[i]->metas[k];
            struct lsm_table *t;

            CHECK(m->entries + m->range_deletes > 0);
            CHECK_OK(lsm_tables_get(w.tables[1 + i], m, w.cmp, &t));
            CHECK_OK(lsm_table_check(t));
            CHECK_OK(lsm_table_iter_new(t, true, &tables[k]));
            lsm_table_unref(t);
            sums[i][0] += m->entries, sums[i][1] += m->tombstones, sums[i][2] += m->raw_bytes;
            sums[i][3] += m->superseded;
        }
        sums[i][4] = builds[i]->rows_read, sums[i][5] = builds[i]->rows_written;
        CHECK_OK(lsm_merge_new(disk.os, w.cmp, tables, builds[i]->count, &its[i]));
        lsm_iter_first(its[i]);
    }
    for (int n = 0; same && its[0]->valid && its[1]->valid; n++) {
        same = lsm_slice_equal(its[0]->key, its[1]->key) && its[0]->tag == its[1]->tag &&
               lsm_slice_equal(its[0]->value, its[1]->value);
        if (!same)
            printf("  row %d: %.*s@%llu and %.*s@%llu\n", n, (int)its[0]->key.size, (const char *)its[0]->key.data,
                   (unsigned long long)its[0]->tag, (int)its[1]->key.size, (const char *)its[1]->key.data,
                   (unsigned long long)its[1]->tag);
        lsm_iter_next(its[0]);
        lsm_iter_next(its[1]);
    }
    same = CHECK(same && !its[0]->valid && !its[1]->valid) && CHECK_OK(its[0]->rc) && CHECK_OK(its[1]->rc);
    for (int i = 0; i < 6; i++)
        same &= CHECK_INT(sums[0][i], sums[1][i]);
    lsm_iter_close(its[0]);
    lsm_iter_close(its[1]);
    return same;
}

/* What the range deletes of the outputs do at a key. */
static inline uint64_t deleted_at(const struct lsm_build *b, struct lsm_tables *tables, struct lsm_slice key)
{
    uint64_t seq = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct lsm_stretch at;
        struct lsm_table *t;

        if (b->metas[i]->range_deletes == 0)
            continue;
        CHECK_OK(lsm_tables_get(tables, b->metas[i], w.cmp, &t));
        lsm_table_range_at(t, key, LSM_SEQ_MAX, &at);
        seq = at.seq > seq ? at.seq : seq;
        lsm_table_unref(t);
    }
    return seq;
}

struct layout {
    uint32_t blocks, small, large;      /* less than half; more than was asked for, with several rows */
    uint32_t lz;
};

/* Blocks have the codec that was asked for, wherever they come from. */
static inline void look_at_layout(const struct lsm_build *b, struct lsm_tables *tables, struct layout *l)
{
    const struct lsm_table_options *o = &b->table;
    struct lsm_table_scratch s;

    memset(l, 0, sizeof *l);
    lsm_table_scratch_init(&s, disk.os);
    for (size_t i = 0; i < b->count; i++) {
        struct lsm_table *t;

        CHECK_OK(lsm_tables_get(tables, b->metas[i], w.cmp, &t));
        for (uint32_t p = 0; p < t->top->count; p++) {
            struct lsm_table_index *index;

            CHECK_OK(lsm_table_read_index(t, p, &s, &index));
            for (uint32_t k = 0; k < index->block->count; k++) {
                struct lsm_slice payload;
                struct lsm_block *block;
                int codec;

                CHECK_OK(lsm_table_read(t, index->data[k].off, index->data[k].size, LSM_BLOCK_DATA, &s, &payload));
                codec = s.sealed.data[s.sealed.size - LSM_SEAL_TRAILER_SIZE];
                CHECK(codec == LSM_CODEC_NONE || codec == o->codec || (o->codec == LSM_CODEC_ZSTD && o->level == 1));
                CHECK_OK(lsm_block_new(disk.os, payload, w.cmp, "t", 0, &block));
                l->blocks++;
                l->lz += codec == LSM_CODEC_LZ;
                l->small += payload.size < o->block_bytes * 2 / 5;
                l->large += block->count > 1 && payload.size > o->block_bytes * 5 / 4;
                lsm_block_free(block);
            }
            lsm_table_index_free(index);
        }
        lsm_table_unref(t);
    }
    lsm_table_scratch_clear(&s);
}

/* No file passes more of the level below than it may. */
static inline bool grand_is_respected(const struct lsm_build *b)
{
    for (size_t i = 0; i < b->count; i++) {
        uint64_t bytes = 0;

        for (int k = 0; k < 12; k++)
            if (lsm_key_compare(w.cmp, w.runs[k].meta.largest, b->metas[i]->smallest) >= 0 &&
                lsm_key_compare(w.cmp, w.runs[k].meta.largest, b->metas[i]->largest) < 0)
                bytes += w.runs[k].meta.size_bytes;
        if (bytes > b->grand_bytes_max)
            return false;
    }
    return true;
}

/* ---- the comparison ---- */

static inline void begin_world(void)
{
    static const char *const names[] = { "inputs", "decoded", "copied" };
    bool created;

    disk_begin();
    memset(&w, 0, sizeof w);
    w.next_number = 1;
    w.key_max = 800;
    CHECK_OK(lsm_compressor_pool_new(disk.os, &w.pool));
    CHECK_OK(lsm_compressor_take(w.pool, &w.compressor));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(disk.os->dir_open(disk.os, names[i], true, 0755, &created, &w.dir[i]), 0);
        CHECK_OK(lsm_cache_new(disk.os, test_below(2) ? 1 << 20 : 1 << 14, &w.cache[i]));
        CHECK_OK(lsm_tables_new(disk.os, w.dir[i], uuid, w.cache[i], w.pool, 64, &w.tables[i]));
    }
}

static inline void end_world(void)
{
    for (int i = 0; i < 3; i++) {
        lsm_tables_free(w.tables[i]);
        lsm_cache_free(w.cache[i]);
        disk.os->dir_close(w.dir[i]);
    }
    for (int i = 0; i < w.source_count; i++)
        for (uint32_t t = 0; t < w.source[i].table_count; t++)
            lsm_mem_free(disk.os, w.source[i].metas[t]);
    lsm_ranges_free(w.ranges);
    lsm_compressor_put(w.pool, w.compressor);
    lsm_compressor_pool_free(w.pool);
    disk_end();
}

static struct { uint64_t bytes, copied, whole, blocks, small; } seen;

static inline bool builds_agree(uint64_t file_bytes)
{
    static const uint64_t rewrite[] = { 1, 3 };
    struct lsm_build b[2];
    bool in_one_file = file_bytes == 0, has_logs = test_below(2), rewrites = test_below(2), has_grand = test_below(2);
    struct layout layout[2];
    bool same;

    for (int i = 0; i < 2; i++) {
        struct lsm_iter *it = open_inputs();

        b[i] = (struct lsm_build){ .os = disk.os, .dir = w.dir[1 + i], .uuid = uuid, .tree = 1, .table = w.options,
            .compressor = w.compressor, .file_mode = 0644, .new_file = new_number, .snapshots = w.snapshots,
            .snapshot_count = w.snapshot_count, .ranges = w.ranges, .file_bytes = file_bytes, .is_bottom = is_bottom,
            .is_bottom_range = is_bottom_range, .is_above = i ? is_above : NULL };
        if (!in_one_file && has_grand) {
            b[i].grand = &w.grand;
            b[i].grand_bytes_max = 250;
        }
        if (in_one_file && has_logs) {  /* one file, so that the logs have the same numbers in both */
            b[i].values.bytes_min = 200;
            b[i].values.read = read_value;
            b[i].values.rewrite = rewrite;
            b[i].values.rewrite_count = rewrites ? 2 : 0;
        }
        w.next_number = 1000;
        CHECK_OK(lsm_build_run(&b[i], it));
        lsm_iter_close(it);
        look_at_layout(&b[i], w.tables[1 + i], &layout[i]);
        seen.bytes += i ? b[i].bytes_written : 0;
    }
    if (w.options.codec == LSM_CODEC_ZSTD && w.options.level != 1)      /* blocks do not say their level */
        CHECK_INT(b[1].bytes_copied, 0);
    same = CHECK_INT(b[0].bytes_copied, 0) && same_outputs(&b[0], &b[1]);
    for (int i = 0; w.ranges && i < 60; i++) {
        char key[KEY_MAX];

        any_key(key, STREAMS_MAX);
        same &= CHECK_INT(deleted_at(&b[0], w.tables[1], text(key)), deleted_at(&b[1], w.tables[2], text(key)));
    }
    if (b[1].grand && !w.ranges)        /* no file ends within a range delete of a tree with a comparator */
        same &= CHECK(grand_is_respected(&b[1]));
    same &= CHECK(layout[1].small <= layout[0].small + b[1].count + layout[1].blocks / 20 + 4);
    same &= CHECK(layout[1].large <= layout[0].large + 4);
    seen.copied += b[1].bytes_copied;
    seen.whole += b[1].bytes_whole;
    seen.blocks += layout[1].blocks;
    seen.small += layout[1].small;
    lsm_build_clear(&b[0]);
    lsm_build_clear(&b[1]);
    return same;
}

/* One input, of which every block may be copied; every `log_each`th value stands in a log, or none (0). */
static inline void write_one_input_with_refs(int rows, int log_each)
{
    w.options = (struct lsm_table_options){ .block_bytes = 512, .filter_bits = 10, .codec = LSM_CODEC_LZ, .level = 1 };
    w.source_count = 1;
    for (int i = 0; i < rows; i++) {
        struct row *r = &w.source[0].rows[w.source[0].count++];
        bool in_log = log_each && i % log_each == log_each - 1;
        *r = (struct row){ .tag = lsm_tag(0, in_log ? LSM_KIND_VLOG : LSM_KIND_PUT), .size = 40, .fill = (uint8_t)(i / 64) };
        snprintf(r->key, KEY_MAX, "k%05d", i);
    }
    write_sources();
}

static inline void write_one_input(int rows)
{
    write_one_input_with_refs(rows, 0);
}

static inline struct lsm_build new_build(int dir)
{
    w.next_number = 1000;
    return (struct lsm_build){ .os = disk.os, .dir = w.dir[dir], .uuid = uuid, .tree = 1, .table = w.options,
        .compressor = w.compressor, .file_mode = 0644, .new_file = new_number, .is_bottom = is_bottom,
        .is_bottom_range = is_bottom_range, .is_above = is_above };
}

/* One input of so many rows. Each call and allocation fails once: no file is left, or it went well and the rows are all there.
   *whole: of builds that went well so many copied a partition. */
static inline void check_failing_builds(int rows, uint64_t *whole)
{
    static const unsigned kinds[] = { DISK_WRITE, DISK_SYNC, DISK_CREATE, DISK_MEMORY };
    struct lsm_build b[2];
    struct lsm_iter *it;
    int failed = 0;

    *whole = 0;
    begin_world();
    write_one_input(rows);
    b[0] = new_build(1);
    it = open_inputs();
    CHECK_OK(lsm_build_run(&b[0], it));
    lsm_iter_close(it);
    for (int kind = 0; kind < 4; kind++)
        for (int at = 1; at <= 300; at++) {
            bool was_last;
            int rc;

            lsm_tables_forget(w.tables[2], 1000);
            it = open_inputs();
            b[1] = new_build(2);
            disk_fail(kinds[kind], at, false, "");
            rc = lsm_build_run(&b[1], it);
            was_last = disk.fail_seen < at;
            disk_heal();
            lsm_iter_close(it);
            failed += rc != LSM_OK;
            if (rc) {
                CHECK_INT(disk_count("copied", ".ldb"), 0);
                continue;
            }
            *whole += b[1].bytes_whole > 0;
            if (!CHECK(same_outputs(&b[0], &b[1])))
                printf("  kind %d at %d\n", kind, at);
            CHECK_INT(disk.os->file_remove(w.dir[2], "001000.ldb"), 0);
            lsm_build_clear(&b[1]);
            if (was_last)
                break;
        }
    printf("%d failures\n", failed);
    CHECK(failed > 10);
    lsm_build_clear(&b[0]);
    end_world();
}

#define PART_ENDS 5

/* One input of so many rows, built in parts that end with these keys. What was copied. */
static inline void check_parts(int rows, const char *const ends[PART_ENDS], uint64_t *copied, uint64_t *whole)
{
    static struct lsm_tree_version tree;
    const struct lsm_policy policy = { .file_bytes = 1 << 20, .overlap_bytes_max = 1 << 20 };
    struct lsm_run runs[TABLES], *upper[TABLES];
    struct lsm_job job = { .tree = 1, .level = 1, .output_level = 2, .upper = upper };
    uint64_t entries = 0;

    *copied = *whole = 0;
    begin_world();
    write_one_input(rows);
    memset(runs, 0, sizeof runs);
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        runs[i].meta = *w.source[0].metas[i];
        upper[i] = &runs[i];
    }
    job.upper_count = job.upper_of[1] = w.source[0].table_count;
    for (int i = 0; i <= PART_ENDS; i++) {
        struct lsm_compact c = { .build = new_build(1), .job = &job, .policy = &policy, .tables = w.tables[0],
                                 .tree = &tree, .new_file = new_number };
        const struct lsm_build *b = &c.build;

        if (i > 0)
            c.after = text(ends[i - 1]);
        if (i < PART_ENDS)
            c.upto = text(ends[i]);
        w.next_number = 2000 + 100 * (uint64_t)i;
        lsm_compact_init(&c);
        CHECK_OK(lsm_compact_build(&c));
        for (size_t k = 0; k < b->count; k++) {
            CHECK(!c.after.data || lsm_slice_compare(b->metas[k]->smallest, c.after) > 0);
            CHECK(!c.upto.data || lsm_slice_compare(b->metas[k]->largest, c.upto) <= 0);
            entries += b->metas[k]->entries;
        }
        *copied += b->bytes_copied;
        *whole += b->bytes_whole;
        lsm_compact_clear(&c);
    }
    CHECK_INT(entries, rows);
    end_world();
}

#endif
