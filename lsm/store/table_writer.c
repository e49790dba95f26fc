/*
 * table_writer.c -- write one sorted run as a table file.
 *
 *     rows -> data block -> sealed --+--> out -> file, 256 KiB at a time
 *                |                   |
 *                +-> row of the index partition
 *                                    |
 *     64 blocks or 4 MiB of rows ----+--> filter, index -> row of the top index
 *
 * A block is cut before the row that would take it over its size, so that a
 * large value stands alone and its neighbours can be read without it.
 *
 * A block of another table is copied between two blocks, so that the rows before it
 * are cut off in a block of their own. For no block to be less than half, a few rows
 * take the next block in, and both are cut in the middle:
 *
 *     [....]  [########]  [########]      ->  [....##] [######]  copied
 *
 * A partition of another table is copied with its filter and its index between two partitions.
 * It may leave one of a single block before it, since it is not small itself. That more of them come
 * to lie alone, partitions end where appended rows do (lsm_table_writer_turn):
 *
 *     older input     [a a a a a a] [a a b b b b] [b b c c c c] ..
 *     newer                 a' a'        b' b'        c' c'           each behind the older of its letter
 *     output          [a a a a a a] [a a a' a'] [b b b b b b b' b'] [c c c c c' c'] ..
 *                                              ^ the next a comes here, and all of these stay whole
 *
 * A tree with a comparator gets no filter unless that hashes, too: keys that it
 * holds for equal need not have equal bytes.
 *
 * Threads: one at a time.
 */
#include "lsm/store/table_writer.h"

#include <assert.h>
#include <errno.h>

#include "lsm/format/filter.h"
#include "lsm/format/vlog_meta.h"
#include "lsm/store/outfile.h"
#include "lsm/store/table_open.h"
#include "lsm/util/hash.h"

#define PARTITION_BLOCKS_MAX 64u
#define PARTITION_RAW_MAX (4u << 20)
#define LARGE_SIZE (1u << 20)           /* a buffer that grew to more for one row is given back */
#define ROW_OVERHEAD 16u                /* sizes, tag, directory */

#define LEVEL_FULL 1                    /* zstd's first level that codes literals, and the default */
#define LEVEL_LIGHT (-1)                /* the same matches, literals as they are: half the time */
#define LOOK_BLOCKS 64u                 /* data blocks between two looks at which of them to take */
#define LOOK_SIZE_MAX (64u << 10)
#define LIGHT_LOSS_MAX 128u             /* of a block's size, for LIGHT to be taken */
#define LZ_LOSS_MAX 64u                 /* the same for lz, which makes up for it with every read */

struct run {                            /* what is told about a block, a partition, the table */
    uint64_t entries, tombstones, seq_min, seq_max;
};

struct lsm_table_writer {
    struct lsm_outfile f;
    struct lsm_compressor *compressor;
    struct lsm_table_options options;
    uint8_t uuid[16];
    uint64_t number;
    uint32_t tree;
    uint64_t seed;
    struct lsm_buf payload;             /* of the block being finished */
    struct lsm_buf trial;               /* of a look */
    uint32_t look_in;                   /* data blocks until the next one */
    int codec, level;                   /* as the last one said */
    struct lsm_buf value;               /* of an index row */

    struct lsm_block_builder data, index, top;
    struct lsm_buf hashes;              /* u64 each: the partition's keys, for the filter */
    uint32_t block_max;                 /* where the block being built is cut */
    bool is_copied;                     /* the last block: it is in the file, but not yet in the index */
    uint64_t copied_off, copied_size;
    struct run block, partition, table;
    uint32_t partition_blocks;
    uint64_t partition_off;             /* of its first block */
    uint64_t partition_raw, raw;
    uint64_t turn_raw;                  /* `raw` where the rows of this input began */
    struct lsm_part_meta part;          /* of the partition, but raw_bytes and refs */
    struct lsm_vlog_refs part_refs;
    struct lsm_buf parts;               /* encoded: of those that are complete */
    struct lsm_buf first_key, last_key;
    uint64_t last_tag;
    struct lsm_buf index_key;           /* what stands for last_key in the indexes */

    struct lsm_buf ranges;              /* encoded */
    struct lsm_buf range_first, range_end;      /* of the first, of the last */
    struct run range;                   /* entries: stretches */
    struct lsm_vlog_refs refs;          /* of the complete partitions' rows to value logs */
    struct lsm_buf refs_encoded;        /* of a partition, or all */
};

/* Several times a row. */
static inline void fail(struct lsm_table_writer *w, int rc)
{
    if (rc)
        lsm_outfile_fail(&w->f, rc);
}

static void run_reset(struct run *run)
{
    *run = (struct run){ .seq_min = UINT64_MAX };
}

static void run_add(struct run *run, const struct run *more)
{
    run->entries += more->entries;
    run->tombstones += more->tombstones;
    if (more->seq_min < run->seq_min)
        run->seq_min = more->seq_min;
    if (more->seq_max > run->seq_max)
        run->seq_max = more->seq_max;
}

static uint64_t place(const struct lsm_table_writer *w)
{
    return lsm_outfile_size(&w->f);
}

static bool may_choose(const struct lsm_table_writer *w)
{
    return w->options.codec == LSM_CODEC_ZSTD && w->options.level == LEVEL_FULL;
}

static uint32_t incompat(const struct lsm_table_writer *w)
{
    const struct lsm_comparator *cmp = w->options.comparator;

    return (w->options.codec == LSM_CODEC_LZ || may_choose(w) ? LSM_TABLE_INCOMPAT_LZ : 0) |
           (cmp && (cmp->separator || cmp->successor) ? LSM_TABLE_INCOMPAT_SEPARATORS : 0);
}

/* The size of `payload` compressed so, or the greatest number: it does not fit, or there is no memory. */
static size_t try_codec(struct lsm_table_writer *w, struct lsm_slice payload, int codec, int level)
{
    size_t size = lsm_compress(w->compressor, codec, level, payload, &w->trial, payload.size);

    lsm_buf_reset(&w->trial);
    return size ? size : SIZE_MAX;
}

/*
 * Numbers, hashes and what is encrypted or compressed already have no letters that
 * are more frequent than others: to code what no match covers takes half of zstd's
 * time, and saves nothing. Rows whose columns have one size are as small with lz. So a
 * block is compressed in all ways now and then. A level other than the default is meant.
 */
static void choose_codec(struct lsm_table_writer *w, struct lsm_slice payload)
{
    size_t full, light, lz;

    if (!may_choose(w) || payload.size > LOOK_SIZE_MAX) {
        w->codec = w->options.codec;
        w->level = w->options.level;
        w->look_in = 0;
        return;
    }
    if (w->look_in > 0) {
        w->look_in--;
        return;
    }
    w->look_in = LOOK_BLOCKS - 1;
    full = try_codec(w, payload, LSM_CODEC_ZSTD, LEVEL_FULL);
    lz = try_codec(w, payload, LSM_CODEC_LZ, 0);
    w->codec = LSM_CODEC_ZSTD;
    w->level = LEVEL_FULL;
    if (full == SIZE_MAX)
        return;
    if (lz <= full + full / LZ_LOSS_MAX) {
        w->codec = LSM_CODEC_LZ;
        return;
    }
    light = try_codec(w, payload, LSM_CODEC_ZSTD, LEVEL_LIGHT);
    if (light <= full + full / LIGHT_LOSS_MAX)
        w->level = LEVEL_LIGHT;
}

/* Seal bytes behind all others; where they came to stand and their size. */
static void put_sealed(struct lsm_table_writer *w, struct lsm_slice payload,
                       enum lsm_block_kind kind, uint64_t *off, uint64_t *size)
{
    int codec = LSM_CODEC_NONE, level = 0;

    *off = place(w);
    *size = 0;
    if (w->f.rc)
        return;
    if (kind == LSM_BLOCK_DATA) {
        choose_codec(w, payload);
        codec = w->codec;
        level = w->level;
    }
    lsm_seal(&w->f.out, payload, kind, codec, level, w->compressor, w->seed + *off);
    fail(w, w->f.out.rc);
    *size = place(w) - *off;
    if (*size > UINT32_MAX)
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a block of %llu bytes", w->f.name,
                         (unsigned long long)*size));
    lsm_outfile_grown(&w->f);
}

static void put_block(struct lsm_table_writer *w, struct lsm_block_builder *b,
                      enum lsm_block_kind kind, uint64_t *off, uint64_t *size)
{
    lsm_buf_reset(&w->payload);
    fail(w, lsm_block_builder_finish(b, &w->payload));
    fail(w, w->payload.rc);
    if (b->rows.cap > LARGE_SIZE)   /* a large value: not three times at once */
        lsm_buf_clear(&b->rows);
    put_sealed(w, lsm_buf_slice(&w->payload), kind, off, size);
    if (w->payload.cap > LARGE_SIZE)
        lsm_buf_clear(&w->payload);
    lsm_block_builder_reset(b);
}

static void index_row(struct lsm_table_writer *w, struct lsm_block_builder *b,
                      const uint64_t *numbers, size_t count)
{
    lsm_buf_reset(&w->value);
    for (size_t i = 0; i < count; i++)
        lsm_buf_put_varint(&w->value, numbers[i]);
    fail(w, w->value.rc);
    if (w->f.rc == LSM_OK)
        lsm_block_builder_add(b, lsm_buf_slice(&w->index_key), w->last_tag,
                              lsm_buf_slice(&w->value));
    fail(w, b->rc);
}

/*
 * The last row's key, or a shorter one of the comparator's before `next` (NULL: no row follows). What it answers is
 * believed only where it is between the two, and not equal to either: rows of one key may stand in both blocks.
 */
static void set_index_key(struct lsm_table_writer *w, const struct lsm_slice *next)
{
    const struct lsm_comparator *cmp = w->options.comparator;
    struct lsm_slice last = lsm_buf_slice(&w->last_key), key;
    size_t size = SIZE_MAX;

    lsm_buf_reset(&w->index_key);
    if (cmp && last.size && (next ? cmp->separator != NULL : cmp->successor != NULL) &&
        lsm_buf_reserve(&w->index_key, last.size) == LSM_OK)
        size = next ? cmp->separator(cmp->ctx, last, *next, w->index_key.data)
                    : cmp->successor(cmp->ctx, last, w->index_key.data);
    key = lsm_slice(w->index_key.data, size);
    if (size >= last.size || lsm_key_compare(cmp, last, key) >= 0 || (next && lsm_key_compare(cmp, key, *next) >= 0))
        lsm_buf_append_slice(&w->index_key, last);
    else
        w->index_key.size = size;
    fail(w, w->index_key.rc);
}

static void finish_block(struct lsm_table_writer *w, const struct lsm_slice *next)
{
    uint64_t off, size;

    if (w->f.rc || w->block.entries == 0)
        return;
    set_index_key(w, next);
    if (w->is_copied) {
        off = w->copied_off;
        size = w->copied_size;
    } else {
        put_block(w, &w->data, LSM_BLOCK_DATA, &off, &size);
    }
    w->is_copied = false;
    w->block_max = w->options.block_bytes;
    if (w->partition_blocks == 0)
        w->partition_off = off;
    off -= w->partition_off;
    index_row(w, &w->index, (uint64_t[]){ off, size, w->block.tombstones, w->block.seq_max }, 4);
    run_add(&w->partition, &w->block);
    run_reset(&w->block);
    w->partition_blocks++;
}

static bool partition_is_full(const struct lsm_table_writer *w)
{
    return w->partition_blocks >= PARTITION_BLOCKS_MAX || w->partition_raw >= PARTITION_RAW_MAX;
}

/* The partition's row of the top index, and what the properties say of it. */
static void add_partition(struct lsm_table_writer *w, const struct run *run, uint32_t blocks, uint64_t off, uint64_t size,
                          uint64_t filter_off, uint64_t filter_size, const struct lsm_part_meta *meta)
{
    index_row(w, &w->top, (uint64_t[]){ off, size, filter_off, filter_size, blocks, run->entries, run->tombstones,
                                        run->seq_min, run->seq_max }, 9);
    run_add(&w->table, run);
    lsm_part_meta_encode(&w->parts, meta);
    lsm_vlog_refs_add_all(&w->refs, meta->refs);
    fail(w, w->parts.rc);
    fail(w, w->refs.list.rc);
}

static void finish_partition(struct lsm_table_writer *w, const struct lsm_slice *next)
{
    uint64_t off, size, filter_off = 0, filter_size = 0;

    finish_block(w, next);
    if (w->f.rc || w->partition_blocks == 0)
        return;
    if (w->hashes.size) {
        lsm_buf_reset(&w->payload);
        lsm_filter_build(&w->payload, (const uint64_t *)(const void *)w->hashes.data,
                         w->hashes.size / sizeof(uint64_t), w->options.filter_bits);
        fail(w, w->payload.rc);
        put_sealed(w, lsm_buf_slice(&w->payload), LSM_BLOCK_FILTER, &filter_off,
                   &filter_size);
        lsm_buf_reset(&w->hashes);
    }
    put_block(w, &w->index, LSM_BLOCK_INDEX, &off, &size);
    w->part.raw_bytes = w->partition_raw - w->partition.entries * ROW_OVERHEAD;
    lsm_buf_reset(&w->refs_encoded);
    lsm_vlog_refs_encode(&w->part_refs, &w->refs_encoded);
    fail(w, w->refs_encoded.rc);
    w->part.refs = lsm_buf_slice(&w->refs_encoded);
    add_partition(w, &w->partition, w->partition_blocks, off, size, filter_off, filter_size, &w->part);
    run_reset(&w->partition);
    w->part = (struct lsm_part_meta){ 0 };
    lsm_buf_reset(&w->part_refs.list);
    w->partition_blocks = 0;
    w->partition_raw = 0;
}

int lsm_table_writer_open(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                          uint64_t number, uint32_t tree, const struct lsm_table_options *options,
                          struct lsm_compressor *compressor, uint32_t file_mode,
                          struct lsm_table_writer **writer)
{
    struct lsm_table_writer *w = lsm_mem_zalloc(os, sizeof *w);
    uint8_t header[LSM_TABLE_HEADER_SIZE];
    int rc;

    *writer = NULL;
    if (!w)
        return lsm_nomem();
    w->compressor = compressor;
    w->options = *options;
    w->block_max = options->block_bytes;
    if (!lsm_filter_is_possible(options->comparator))
        w->options.filter_bits = 0;
    memcpy(w->uuid, uuid, 16);
    w->number = number;
    w->tree = tree;
    w->seed = lsm_seal_seed(uuid, number);
    rc = lsm_outfile_open(&w->f, os, dir, LSM_FILE_TABLE, number, file_mode);
    if (rc) {
        lsm_mem_free(os, w);
        return rc;
    }
    lsm_buf_init(&w->payload, os);
    lsm_buf_init(&w->trial, os);
    lsm_buf_init(&w->value, os);
    lsm_buf_init(&w->hashes, os);
    lsm_buf_init(&w->first_key, os);
    lsm_buf_init(&w->last_key, os);
    lsm_buf_init(&w->index_key, os);
    lsm_buf_init(&w->ranges, os);
    lsm_buf_init(&w->range_first, os);
    lsm_buf_init(&w->range_end, os);
    lsm_vlog_refs_init(&w->part_refs, os);
    lsm_buf_init(&w->parts, os);
    lsm_vlog_refs_init(&w->refs, os);
    lsm_buf_init(&w->refs_encoded, os);
    lsm_block_builder_init(&w->data, os);
    lsm_block_builder_init(&w->index, os);
    lsm_block_builder_init(&w->top, os);
    run_reset(&w->block);
    run_reset(&w->partition);
    run_reset(&w->table);
    run_reset(&w->range);
    lsm_table_header_encode(header, LSM_TABLE_MAGIC, uuid, number, tree, incompat(w));
    lsm_put_u64(header + LSM_TABLE_HEADER_SIZE - 8,
                lsm_hash64(header, LSM_TABLE_HEADER_SIZE - 8, 0));
    lsm_buf_append(&w->f.out, header, sizeof header);
    *writer = w;
    return LSM_OK;
}

/* The row must come after the last one. A new key gets into the filter. */
static bool accept_key(struct lsm_table_writer *w, struct lsm_slice key, uint64_t tag)
{
    bool is_first = w->raw == 0;
    int c = -1;

    if (!is_first)
        c = lsm_key_compare(w->options.comparator, lsm_buf_slice(&w->last_key), key);
    if (c > 0 || (c == 0 && tag >= w->last_tag)) {
        fail(w, lsm_fail(LSM_MISUSE, "write %s: rows are not in order", w->f.name));
        return false;
    }
    if (key.size > LSM_KEY_SIZE_MAX || lsm_tag_kind(tag) > LSM_KIND_VLOG) {
        fail(w, lsm_fail(LSM_MISUSE, "write %s: a key of %zu bytes, kind %d", w->f.name, key.size,
                         (int)lsm_tag_kind(tag)));
        return false;
    }
    if (is_first)
        lsm_buf_append_slice(&w->first_key, key);
    if (c != 0) {
        lsm_buf_reset(&w->last_key);
        lsm_buf_append_slice(&w->last_key, key);
    }
    w->last_tag = tag;
    w->part.older += c == 0 && w->partition_raw > 0;
    if (w->options.filter_bits && (c != 0 || w->hashes.size == 0)) {
        uint64_t hash = lsm_filter_key_hash(w->options.comparator, key);
        lsm_buf_append(&w->hashes, &hash, sizeof hash);
    }
    fail(w, w->first_key.rc);
    fail(w, w->last_key.rc);
    fail(w, w->hashes.rc);
    return w->f.rc == LSM_OK;
}

static void count_ref(struct lsm_table_writer *w, struct lsm_slice value)
{
    struct lsm_vlog_handle handle;

    if (!lsm_vlog_handle_decode(value, &handle)) {
        fail(w, lsm_corrupt(w->f.name, place(w), "a row to be written is not a handle of a value"));
        return;
    }
    lsm_vlog_refs_add(&w->part_refs, handle.id, handle.size);
    fail(w, w->part_refs.list.rc);
}

static inline void count_value(struct lsm_table_writer *w, uint64_t tag, struct lsm_slice value)
{
    if (lsm_tag_kind(tag) == LSM_KIND_VLOG)
        count_ref(w, value);
    else if (value.size > w->part.value_max)
        w->part.value_max = value.size;
}

void lsm_table_writer_add(struct lsm_table_writer *w, struct lsm_slice key, uint64_t tag,
                          struct lsm_slice value)
{
    size_t size = key.size + value.size + ROW_OVERHEAD;
    uint64_t seq = lsm_tag_seq(tag);

    if (w->f.rc)
        return;
    assert(!w->f.is_finished);
    if (value.size > LSM_VALUE_SIZE_MAX) {
        fail(w, lsm_fail(LSM_TOOBIG, "write %s: a value of %zu bytes", w->f.name, value.size));
        return;
    }
    if (w->block.entries && (w->is_copied || lsm_block_builder_size(&w->data) + size > w->block_max)) {
        finish_block(w, &key);
        if (partition_is_full(w))
            finish_partition(w, &key);
        if (w->f.rc)
            return;
    }
    if (!accept_key(w, key, tag))
        return;
    count_value(w, tag, value);
    if (w->f.rc)
        return;
    lsm_block_builder_add(&w->data, key, tag, value);
    fail(w, w->data.rc);
    run_add(&w->block, &(struct run){ 1, lsm_tag_kind(tag) == LSM_KIND_DELETE, seq, seq });
    w->partition_raw += size;
    w->raw += size;
}

/* ---- blocks of other tables ---- */

/* Is it compressed as a block would be that is built now? Where that is to be looked at, the block that is
   being built tells, which its end comes before; without one, this block is built to be looked at. */
static bool has_right_codec(const struct lsm_table_writer *w, int codec, size_t raw_size, bool is_looked_at)
{
    if (w->options.codec != LSM_CODEC_ZSTD)
        return codec == w->options.codec;
    if (!may_choose(w))                 /* nobody knows the level that it was compressed with */
        return false;
    if (raw_size > LOOK_SIZE_MAX)
        return codec == LSM_CODEC_ZSTD;
    if (w->look_in > 0)
        return codec == w->codec;
    return !is_looked_at && w->block.entries && !w->is_copied &&
           (codec == LSM_CODEC_ZSTD || codec == LSM_CODEC_LZ);
}

/* Neither too small nor too large, and so are the rows that would be cut off before it? Else they are cut in
   the middle with its rows. Rows with other beginnings make a block larger than it is asked to be. */
static bool has_right_size(struct lsm_table_writer *w, size_t raw_size, uint32_t count)
{
    size_t limit = w->options.block_bytes, before = 0;

    if (raw_size < limit / 2 || (count > 1 && raw_size > limit + limit / 4))
        return false;
    if (w->block.entries && !w->is_copied)
        before = lsm_block_builder_size(&w->data);
    if (before == 0 || before >= limit / 2 || (count == 1 && before + raw_size > limit))
        return true;
    if (count > 1 && before + raw_size > limit)
        w->block_max = (uint32_t)((before + raw_size + 1) / 2);
    return false;
}

/* The rows of a copied block into the filter and into what is told about the table. */
static void count_rows(struct lsm_table_writer *w, const struct lsm_block *block)
{
    uint64_t raw = 0;
    size_t hashes = w->hashes.size;

    if (w->options.filter_bits)
        lsm_buf_reserve(&w->hashes, block->count * sizeof(uint64_t));
    lsm_buf_reset(&w->last_key);
    lsm_buf_append(&w->last_key, block->prefix, block->prefix_size);
    for (uint32_t i = 0; i < block->count && w->last_key.rc == LSM_OK && w->hashes.rc == LSM_OK; i++) {
        struct lsm_slice suffix, value;
        uint64_t tag, seq;

        lsm_block_row(block, i, &suffix, &tag, &value);
        w->last_key.size = block->prefix_size;
        lsm_buf_append_slice(&w->last_key, suffix);
        if (w->raw == 0 && i == 0)
            lsm_buf_append_slice(&w->first_key, lsm_buf_slice(&w->last_key));
        if (w->options.filter_bits) {
            uint64_t hash = lsm_filter_key_hash(w->options.comparator, lsm_buf_slice(&w->last_key));
            memcpy(w->hashes.data + hashes, &hash, sizeof hash);
            hashes += sizeof hash;
        }
        count_value(w, tag, value);
        seq = lsm_tag_seq(tag);
        run_add(&w->block, &(struct run){ 1, lsm_tag_kind(tag) == LSM_KIND_DELETE, seq, seq });
        raw += w->last_key.size + value.size + ROW_OVERHEAD;
        w->last_tag = tag;
    }
    w->hashes.size = hashes;
    w->partition_raw += raw;
    w->raw += raw;
    fail(w, w->first_key.rc);
    fail(w, w->last_key.rc);
    fail(w, w->hashes.rc);
}

bool lsm_table_writer_copy(struct lsm_table_writer *w, struct lsm_slice first, const struct lsm_block *block,
                           struct lsm_slice sealed)
{
    size_t raw_size;
    int codec;

    if (w->f.rc)
        return false;
    assert(!w->f.is_finished);
    lsm_seal_look(sealed, &codec, &raw_size);
    if (!has_right_codec(w, codec, raw_size, false) || !has_right_size(w, raw_size, block->count))
        return false;
    if (w->raw && lsm_key_compare(w->options.comparator, lsm_buf_slice(&w->last_key), first) >= 0)
        return false;                   /* for add() to say so */
    finish_block(w, &first);
    if (partition_is_full(w))
        finish_partition(w, &first);
    if (w->f.rc || !has_right_codec(w, codec, raw_size, true))
        return false;
    if (w->look_in)
        w->look_in--;
    w->copied_off = place(w);
    lsm_seal_copy(&w->f.out, sealed, w->seed + w->copied_off);
    fail(w, w->f.out.rc);
    w->copied_size = place(w) - w->copied_off;
    w->is_copied = true;
    count_rows(w, block);
    lsm_outfile_grown(&w->f);
    return true;
}

/* ---- partitions of other tables ---- */

bool lsm_table_writer_would_copy(struct lsm_table_writer *w, const struct lsm_table_piece *piece)
{
    const uint32_t bits = w->options.filter_bits;
    const struct lsm_block *block = piece->block;
    size_t raw_size;
    int codec;

    if (w->f.rc || piece->meta.older > 0 ||
        piece->filter_size != (bits ? lsm_filter_size(piece->entries, bits) + LSM_SEAL_TRAILER_SIZE : 0))
        return false;
    lsm_seal_look(piece->block_sealed, &codec, &raw_size);
    if (may_choose(w) && w->look_in == 0)
        choose_codec(w, lsm_slice(block->data, block->size));
    return w->f.rc == LSM_OK && has_right_codec(w, codec, raw_size, true);
}

/* Most of its blocks are compressed as they would be now: where lz and zstd are about as good, the looks while it was
   built said the one and the other. Sizes count together, that blocks of a few rows do not stay so; a large one may be
   of one row. */
static bool has_right_blocks(const struct lsm_table_writer *w, const struct lsm_table_piece *piece)
{
    const struct lsm_table_index *index = piece->index;
    const uint8_t *at = piece->sealed.data;
    uint64_t limit = w->options.block_bytes, sum = 0;
    uint32_t others = 0;

    for (uint32_t i = 0; i < index->block->count; at += index->data[i].size, i++) {
        size_t raw_size;
        int codec;

        lsm_seal_look(lsm_slice(at, index->data[i].size), &codec, &raw_size);
        if (raw_size > limit + limit / 4 + piece->meta.value_max)
            return false;
        if (!has_right_codec(w, codec, raw_size, true)) {
            if (!may_choose(w) || codec == LSM_CODEC_NONE)
                return false;           /* nobody knows which was tried */
            others++;
        }
        sum += raw_size;
    }
    return others <= index->block->count / 2 && sum >= index->block->count * limit / 2;
}

void lsm_table_writer_turn(struct lsm_table_writer *w, struct lsm_slice next, bool is_older)
{
    uint64_t since = w->raw - w->turn_raw;

    w->turn_raw = w->raw;
    /* Less than a block is no stretch: inputs are mixed. */
    if (is_older && since >= w->options.block_bytes && w->partition_blocks >= LSM_TABLE_PIECE_BLOCKS_MIN && w->f.rc == LSM_OK &&
        lsm_key_compare(w->options.comparator, lsm_buf_slice(&w->last_key), next) < 0)
        finish_partition(w, &next);
}

static uint64_t copy_sealed(struct lsm_table_writer *w, const uint8_t *data, uint32_t size)
{
    uint64_t off = place(w);

    lsm_seal_copy(&w->f.out, lsm_slice(data, size), w->seed + off);
    fail(w, w->f.out.rc);
    lsm_outfile_grown(&w->f);
    return off;
}

bool lsm_table_writer_copy_piece(struct lsm_table_writer *w, struct lsm_slice first, const struct lsm_table_piece *piece)
{
    const struct lsm_table_index *index = piece->index;
    const struct run run = { piece->entries, 0, piece->seq_min, piece->seq_max };
    const uint8_t *at = piece->sealed.data;
    uint32_t blocks = index->block->count;
    uint64_t raw = piece->meta.raw_bytes + piece->entries * ROW_OVERHEAD, filter_off = 0, off;

    if (w->f.rc || !has_right_blocks(w, piece) ||
        (w->raw && lsm_key_compare(w->options.comparator, lsm_buf_slice(&w->last_key), first) >= 0))
        return false;
    finish_partition(w, &first);
    if (w->raw == 0)
        lsm_buf_append_slice(&w->first_key, first);
    lsm_buf_reset(&w->last_key);
    lsm_buf_append_slice(&w->last_key, piece->last);
    w->last_tag = piece->last_tag;
    lsm_buf_reset(&w->index_key);       /* the key that stands in its index, which is not written anew */
    lsm_buf_append_slice(&w->index_key, piece->last);
    fail(w, w->first_key.rc);
    fail(w, w->last_key.rc);
    fail(w, w->index_key.rc);
    for (uint32_t i = 0; i < blocks && w->f.rc == LSM_OK; at += index->data[i].size, i++)
        copy_sealed(w, at, index->data[i].size);
    if (piece->filter_size && w->f.rc == LSM_OK)
        filter_off = copy_sealed(w, at, piece->filter_size);
    if (w->f.rc)
        return false;
    off = copy_sealed(w, at + piece->filter_size, piece->index_size);
    w->look_in = w->look_in > blocks ? w->look_in - blocks : 0;
    add_partition(w, &run, blocks, off, piece->index_size, filter_off, piece->filter_size, &piece->meta);
    w->raw += raw;
    return true;
}

void lsm_table_writer_add_range(struct lsm_table_writer *w, struct lsm_slice lo, struct lsm_slice hi,
                                const uint64_t *seqs, uint32_t count)
{
    const struct lsm_comparator *cmp = w->options.comparator;

    if (w->f.rc)
        return;
    assert(!w->f.is_finished);
    assert(count > 0);
    if (lsm_key_compare(cmp, lo, hi) >= 0 || lo.size > LSM_KEY_SIZE_MAX ||
        lsm_range_last(cmp, hi).size > LSM_KEY_SIZE_MAX ||
        (w->range.entries && lsm_key_compare(cmp, lsm_buf_slice(&w->range_end), lo) > 0)) {
        fail(w, lsm_fail(LSM_MISUSE, "write %s: range deletes are not in order", w->f.name));
        return;
    }
    if (w->range.entries == 0)
        lsm_buf_append_slice(&w->range_first, lo);
    lsm_buf_reset(&w->range_end);
    lsm_buf_append_slice(&w->range_end, hi);
    lsm_range_encode(&w->ranges, lo, hi, seqs, count);
    run_add(&w->range, &(struct run){ 1, 0, seqs[count - 1], seqs[0] });
    fail(w, w->range_first.rc);
    fail(w, w->range_end.rc);
    fail(w, w->ranges.rc);
}

uint64_t lsm_table_writer_size(const struct lsm_table_writer *w)
{
    return w->ranges.size + place(w) + lsm_block_builder_size(&w->data) + lsm_block_builder_size(&w->index);
}

uint64_t lsm_table_writer_entries(const struct lsm_table_writer *w)
{
    return w->table.entries + w->partition.entries + w->block.entries;
}

static void put_property(struct lsm_buf *b, const char *name, struct lsm_slice value)
{
    lsm_buf_put_bytes(b, lsm_slice_str(name));
    lsm_buf_put_bytes(b, value);
}

static void put_property_u64(struct lsm_buf *b, const char *name, uint64_t value)
{
    uint8_t bytes[8];

    lsm_put_u64(bytes, value);
    put_property(b, name, lsm_slice(bytes, sizeof bytes));
}

static void put_properties(struct lsm_table_writer *w, const struct lsm_table_meta *meta,
                           uint64_t *off, uint64_t *size)
{
    const struct lsm_comparator *cmp = w->options.comparator;
    struct lsm_buf *b = &w->payload;

    lsm_buf_reset(b);
    put_property(b, LSM_TABLE_COMPARATOR, lsm_slice_str(cmp ? cmp->name : ""));
    put_property_u64(b, LSM_TABLE_ENTRIES, meta->entries);
    put_property(b, LSM_TABLE_LARGEST, meta->largest);
    put_property(b, LSM_TABLE_PARTS, lsm_buf_slice(&w->parts));
    if (w->options.is_private)
        put_property(b, LSM_TABLE_PRIVATE, lsm_slice(NULL, 0));
    if (meta->range_deletes)
        put_property_u64(b, LSM_TABLE_RANGE_DELETES, meta->range_deletes);
    put_property_u64(b, LSM_TABLE_RAW_BYTES, meta->raw_bytes);
    if (meta->refs.size)
        put_property(b, LSM_TABLE_REFS, meta->refs);
    put_property_u64(b, LSM_TABLE_SEQ_MAX, meta->seq_max);
    put_property_u64(b, LSM_TABLE_SEQ_MIN, meta->seq_min);
    put_property(b, LSM_TABLE_SMALLEST, meta->smallest);
    put_property_u64(b, LSM_TABLE_TOMBSTONES, meta->tombstones);
    if (w->options.tree_name.size)
        put_property(b, LSM_TABLE_TREE, w->options.tree_name);
    put_property(b, LSM_TABLE_WRITER, lsm_slice_str("lsmvtab " LSM_VERSION));
    fail(w, b->rc);
    put_sealed(w, lsm_buf_slice(b), LSM_BLOCK_PROPERTIES, off, size);
}

static void put_footer(struct lsm_table_writer *w, const struct lsm_table_footer *footer)
{
    uint8_t bytes[LSM_TABLE_FOOTER_SIZE];

    lsm_table_footer_encode(bytes, footer);
    lsm_table_header_encode(bytes + LSM_TABLE_FOOTER_SIZE - LSM_TABLE_HEADER_SIZE,
                            LSM_TABLE_FOOTER_MAGIC, w->uuid, w->number, w->tree, incompat(w));
    lsm_put_u64(bytes + LSM_TABLE_FOOTER_SIZE - 8,
                lsm_hash64(bytes, LSM_TABLE_FOOTER_SIZE - 8, 0));
    lsm_buf_append(&w->f.out, bytes, sizeof bytes);
}

/* What the table covers: rows and range deletes. */
static void set_bounds(const struct lsm_table_writer *w, struct lsm_table_meta *meta)
{
    const struct lsm_comparator *cmp = w->options.comparator;
    struct run all = w->table;

    run_add(&all, &w->range);
    meta->seq_min = all.entries ? all.seq_min : 0;
    meta->seq_max = all.seq_max;
    meta->smallest = lsm_buf_slice(&w->first_key);
    meta->largest = lsm_buf_slice(&w->last_key);
    if (w->range.entries) {
        struct lsm_slice lo = lsm_buf_slice(&w->range_first);
        struct lsm_slice hi = lsm_range_last(cmp, lsm_buf_slice(&w->range_end));

        if (w->table.entries == 0 || lsm_key_compare(cmp, lo, meta->smallest) < 0)
            meta->smallest = lo;
        if (w->table.entries == 0 || lsm_key_compare(cmp, hi, meta->largest) > 0)
            meta->largest = hi;
    }
}

int lsm_table_writer_finish(struct lsm_table_writer *w, struct lsm_table_meta *meta)
{
    struct lsm_table_footer footer = { 0 };
    uint64_t size;
    int rc;

    assert(!w->f.is_finished);
    memset(meta, 0, sizeof *meta);
    finish_partition(w, NULL);

    meta->number = w->number;
    meta->tree = w->tree;
    meta->entries = w->table.entries;
    meta->tombstones = w->table.tombstones;
    meta->raw_bytes = w->raw - w->table.entries * ROW_OVERHEAD;
    meta->range_deletes = w->range.entries;
    set_bounds(w, meta);
    lsm_buf_reset(&w->refs_encoded);
    lsm_vlog_refs_encode(&w->refs, &w->refs_encoded);
    fail(w, w->refs_encoded.rc);
    meta->refs = lsm_buf_slice(&w->refs_encoded);

    if (w->range.entries) {
        put_sealed(w, lsm_buf_slice(&w->ranges), LSM_BLOCK_RANGE_DELETE,
                   &footer.range_delete_off, &size);
        footer.range_delete_size = (uint32_t)size;
    }
    put_properties(w, meta, &footer.properties_off, &size);
    footer.properties_size = (uint32_t)size;
    put_block(w, &w->top, LSM_BLOCK_TOP_INDEX, &footer.top_off, &size);
    footer.top_size = (uint32_t)size;
    put_footer(w, &footer);
    rc = lsm_outfile_finish(&w->f);
    if (rc)
        return rc;
    meta->size_bytes = w->f.written;
    return LSM_OK;
}

void lsm_table_writer_close(struct lsm_table_writer *w)
{
    struct lsm_os *os;

    if (!w)
        return;
    os = w->f.os;
    lsm_outfile_close(&w->f);
    lsm_block_builder_clear(&w->data);
    lsm_block_builder_clear(&w->index);
    lsm_block_builder_clear(&w->top);
    lsm_buf_clear(&w->payload);
    lsm_buf_clear(&w->trial);
    lsm_buf_clear(&w->value);
    lsm_buf_clear(&w->hashes);
    lsm_buf_clear(&w->first_key);
    lsm_buf_clear(&w->last_key);
    lsm_buf_clear(&w->index_key);
    lsm_buf_clear(&w->ranges);
    lsm_buf_clear(&w->range_first);
    lsm_buf_clear(&w->range_end);
    lsm_vlog_refs_clear(&w->part_refs);
    lsm_buf_clear(&w->parts);
    lsm_vlog_refs_clear(&w->refs);
    lsm_buf_clear(&w->refs_encoded);
    lsm_mem_free(os, w);
}
