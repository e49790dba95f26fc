/*
 * salvage.c -- rows of a damaged table. salvage_log.c has the logs.
 *
 *     partition   its index is whole        blocks as it says
 *                 its index is damaged      blocks by trying, within the partition
 *     table       its frame or top index is damaged    one stretch, all by trying
 *
 * Trying: a block ends with a trailer of codec, kind, zero flags and a sum over all
 * of it and its place. Positions whose eight bytes could be a trailer are few; the
 * first whose sum is right ends the block. Where none is, every such position may be
 * the end of the damaged block and the beginning of the next.
 */
#include <errno.h>

#include "lsm/format/filename.h"
#include "lsm/store/salvage.h"
#include "lsm/store/table_open.h"
#include "lsm/util/hash.h"

#define TRY_BYTES_MAX (4u << 20)        /* of one block, by trying */
#define WINDOW (2 * TRY_BYTES_MAX)

/* Bytes that may be hashed by trying, of so many that were read. Whole blocks and holes cost some times their size; where
   most places look like the end of a block it would be the square of the stretch, hours for a few hundred KiB. */
#define TRY_WORK_MAX(read_bytes) (UINT64_C(64) * (read_bytes) + (UINT64_C(256) << 20))

struct extent {
    uint64_t off;
    uint32_t size;
};

struct salvage_iter {
    struct lsm_iter base;
    const struct lsm_salvage *s;
    struct lsm_os *os;
    struct lsm_table_meta meta;
    const struct lsm_comparator *cmp;
    char name[LSM_FILENAME_SIZE];
    struct lsm_salvage_file file;
    uint32_t part, part_count;          /* of the top index; count 0: none, one stretch */
    bool scanned;
    struct lsm_buf extents;             /* struct extent, of the present partition */
    size_t at;                          /* next of them */
    struct lsm_block *block;
    uint32_t row;
    struct lsm_buf key, last;           /* of this row; of the last one given out */
    uint64_t last_tag;
    enum lsm_block_kind kind;           /* what is looked for by trying */
    bool has_last, has_lost;
    uint64_t rows;                      /* given out */
    struct lsm_table_scratch scratch;
    struct lsm_buf window;
    uint64_t read_bytes, tried_bytes;   /* by trying: read, and hashed */
};

static struct salvage_iter *self(struct lsm_iter *it)
{
    return (struct salvage_iter *)it;
}

static void lost(struct salvage_iter *it, uint64_t off, uint64_t size, const char *why)
{
    it->has_lost = true;
    lsm_salvage_file_lost(&it->file, &it->s->lost, off, size, why);
}

/* All of it was read. Of a table without rows, and of one that is only known to be there, the count is 0. */
static void lost_rows(const struct salvage_iter *it)
{
    if (it->s->lost.rows && (it->rows < it->meta.entries || (it->has_lost && it->meta.entries == 0)))
        it->s->lost.rows(it->s->lost.ctx, it->meta.entries ? it->meta.entries - it->rows : LSM_SALVAGE_UNCOUNTED);
}

/* ---- finding blocks by trying ---- */

static bool may_end(const uint8_t *p)   /* the last eight bytes of a block */
{
    return p[0] <= LSM_CODEC_MAX && p[1] >= LSM_BLOCK_DATA && p[1] <= LSM_BLOCK_DICT && p[2] == 0 &&
           p[3] == 0;
}

static bool has_tried_enough(const struct salvage_iter *it)
{
    return it->tried_bytes > TRY_WORK_MAX(it->read_bytes);
}

/* Size of the block at the window's `at`, 0: none ends in it. */
static uint32_t try_block(struct salvage_iter *it, size_t at, uint64_t off, uint8_t *kind)
{
    const uint8_t *data = it->window.data + at;
    size_t most = it->window.size - at;
    uint64_t place = lsm_seal_seed(it->s->uuid, it->meta.number) + off;

    if (most > TRY_BYTES_MAX)
        most = TRY_BYTES_MAX;
    for (size_t size = LSM_SEAL_TRAILER_SIZE + 1; size <= most; size++) {
        const uint8_t *trailer = data + size - LSM_SEAL_TRAILER_SIZE;
        if (!may_end(trailer))
            continue;
        it->tried_bytes += size;
        if (lsm_get_u32(trailer + 4) == lsm_hash32(data, size - 4, place)) {
            *kind = trailer[1];
            return (uint32_t)size;
        }
        if (has_tried_enough(it))
            return 0;
    }
    return 0;
}

/* Behind the next position that could end a block, or `size` of the window. */
static size_t next_end(const struct salvage_iter *it, size_t at)
{
    for (size_t end = at + LSM_SEAL_TRAILER_SIZE + 1; end <= it->window.size; end++)
        if (may_end(it->window.data + end - LSM_SEAL_TRAILER_SIZE))
            return end;
    return it->window.size;
}

/* Have the window begin at `from`, and go on with what follows it. No byte is read twice: it may be a bad one. */
static int refill(struct salvage_iter *it, uint64_t from, uint64_t *to, uint64_t *window_off)
{
    size_t kept = it->window.size - (size_t)(from - *window_off), size, got;
    uint64_t end = from + kept;
    int rc;

    size = *to - end < WINDOW - kept ? (size_t)(*to - end) : WINDOW - kept;
    rc = lsm_buf_reserve(&it->window, size);

    if (rc)
        return rc;
    memmove(it->window.data, it->window.data + it->window.size - kept, kept);
    it->window.size = kept;
    *window_off = from;
    rc = lsm_salvage_file_read(&it->file, end, size, it->window.data + kept, &got);
    it->window.size += got;
    it->read_bytes += got;
    if (got < size)
        *to = end + got;
    return rc;
}

/* Where a hole begins at `from`: no block ends within it, and one that begins here and ends behind it is too large. */
static int pass_hole(struct salvage_iter *it, uint64_t *from, uint64_t to)
{
    uint64_t data;
    int rc = lsm_salvage_file_next_data(&it->file, *from, to, &data);

    if (rc == LSM_OK && (data == to || data - *from > TRY_BYTES_MAX))
        *from = data;
    return rc;
}

static int scan(struct salvage_iter *it, uint64_t from, uint64_t to)
{
    uint64_t gap = 0, window_off = from;
    int rc = LSM_OK;

    it->window.size = 0;
    while (from < to && rc == LSM_OK && !has_tried_enough(it)) {
        size_t at = (size_t)(from - window_off);
        struct extent extent = { from, 0 };
        uint8_t kind = 0;

        if (at == it->window.size) {
            rc = pass_hole(it, &from, to);
            if (from > extent.off)
                gap = gap ? gap : extent.off;
            extent.off = window_off = from;
            it->window.size = at = 0;
        }
        if (rc == LSM_OK && it->window.size - at < TRY_BYTES_MAX && window_off + it->window.size < to) {
            rc = refill(it, from, &to, &window_off);
            at = 0;
        }
        if (rc || at >= it->window.size)
            break;
        extent.size = try_block(it, at, from, &kind);
        if (extent.size) {
            if (gap)
                lost(it, gap, from - gap, "no block can be found here");
            gap = 0;
            if (kind == it->kind)
                lsm_buf_append(&it->extents, &extent, sizeof extent);
            from += extent.size;
        } else {
            gap = gap ? gap : from;
            from = window_off + next_end(it, at);
        }
        rc = it->extents.rc;
    }
    if (rc == LSM_NOMEM)
        return rc;
    if (gap || from < to)
        lost(it, gap ? gap : from, to - (gap ? gap : from),
             rc                     ? lsm_error_text()
             : has_tried_enough(it) ? "no block can be found here, and too much of it looks like the end of one "
                                      "to try all"
                                    : "no block can be found here");
    return LSM_OK;
}

/* ---- partitions ---- */

static int add_index(struct salvage_iter *it, const struct lsm_table_index *index)
{
    for (uint32_t i = 0; i < index->block->count; i++) {
        struct extent extent = { index->data[i].off, index->data[i].size };
        lsm_buf_append(&it->extents, &extent, sizeof extent);
    }
    return it->extents.rc;
}

/* The blocks of the next partition. LSM_DONE: there is none. */
static int next_part(struct salvage_iter *it)
{
    struct lsm_table *table;
    struct lsm_table_index *index;
    int rc;

    lsm_buf_reset(&it->extents);
    it->at = 0;
    if (it->part == 0 && !it->scanned) {
        rc = lsm_tables_get(it->s->tables, &it->meta, it->cmp, &table);
        if (rc == LSM_NOMEM)
            return rc;
        it->scanned = true;
        if (rc) {
            lost(it, 0, 0, lsm_error_text());
            it->part_count = 0;
            return scan(it, LSM_TABLE_HEADER_SIZE, it->meta.size_bytes);
        }
        it->part_count = table->top->count;
        lsm_table_unref(table);
    }
    if (it->part == it->part_count)
        return LSM_DONE;
    rc = lsm_tables_get(it->s->tables, &it->meta, it->cmp, &table);
    if (rc)
        return rc;
    rc = lsm_table_read_index(table, it->part, &it->scratch, &index);
    if (rc == LSM_OK) {
        rc = add_index(it, index);
        lsm_table_index_free(index);
    } else if (rc != LSM_NOMEM) {
        const struct lsm_table_part *part = &table->parts[it->part];
        lost(it, part->index_off, 0, lsm_error_text());
        rc = scan(it, part->data_off, part->data_end);
    }
    it->part++;
    lsm_table_unref(table);
    return rc;
}

/* ---- blocks and rows ---- */

static int load(struct salvage_iter *it, const struct extent *extent, struct lsm_block **block)
{
    uint64_t place = lsm_seal_seed(it->s->uuid, it->meta.number) + extent->off;
    struct lsm_compressor *compressor;
    struct lsm_slice payload;
    size_t got;
    int rc;

    *block = NULL;
    lsm_buf_reset(&it->scratch.sealed);
    rc = lsm_buf_reserve(&it->scratch.sealed, extent->size);
    if (rc == LSM_OK)
        rc = lsm_salvage_file_read_whole(&it->file, extent->off, extent->size, it->scratch.sealed.data, &got);
    it->scratch.sealed.size = rc ? 0 : got;
    if (rc == LSM_OK && got < extent->size)
        rc = lsm_corrupt(it->name, extent->off, "the file ends within a block");
    if (rc == LSM_OK)
        rc = lsm_compressor_take(it->s->compressors, &compressor);
    if (rc)
        return rc;
    rc = lsm_unseal(lsm_buf_slice(&it->scratch.sealed), LSM_BLOCK_DATA, place, compressor, &it->scratch.raw,
                    &payload, it->name, extent->off);
    lsm_compressor_put(it->s->compressors, compressor);
    return rc ? rc : lsm_block_new(it->os, payload, it->cmp, it->name, extent->off, block);
}

/* A block that would turn back stands where it does not belong. */
static bool is_behind(struct salvage_iter *it, const struct lsm_block *block)
{
    struct lsm_slice key;
    uint64_t tag;

    return block->count > 0 &&
           (!it->has_last || (lsm_table_row_key(block, 0, &it->key, &key, &tag) == LSM_OK &&
                              lsm_ikey_compare(it->cmp, lsm_buf_slice(&it->last), it->last_tag, key, tag) < 0));
}

static int next_block(struct salvage_iter *it)
{
    for (;;) {
        struct extent extent;
        int rc = LSM_OK;

        lsm_block_free(it->block);
        it->block = NULL;
        it->row = 0;
        while (rc == LSM_OK && it->at * sizeof extent == it->extents.size)
            rc = next_part(it);
        if (rc)
            return rc;
        memcpy(&extent, it->extents.data + it->at++ * sizeof extent, sizeof extent);
        rc = load(it, &extent, &it->block);
        if (rc == LSM_OK && is_behind(it, it->block))
            return LSM_OK;
        if (rc == LSM_NOMEM)
            return rc;
        lost(it, extent.off, extent.size, rc ? lsm_error_text() : "its keys are out of order");
    }
}

static void move(struct salvage_iter *it)
{
    uint64_t tag;

    it->base.valid = false;
    while (it->base.rc == LSM_OK) {
        struct lsm_slice suffix;

        if (!it->block || it->row == it->block->count) {
            int rc = next_block(it);
            if (rc == LSM_DONE)
                lost_rows(it);
            if (rc) {
                it->base.rc = rc == LSM_DONE ? LSM_OK : rc;
                return;
            }
        }
        lsm_block_row(it->block, it->row, &suffix, &tag, &it->base.value);
        it->base.rc = lsm_table_row_key(it->block, it->row, &it->key, &it->base.key, &tag);
        it->row++;
        if (it->base.rc || lsm_tag_kind(tag) > LSM_KIND_VLOG ||
            lsm_tag_seq(tag) > LSM_SEQ_MAX - it->meta.seq_add)
            continue;
        lsm_buf_reset(&it->last);
        lsm_buf_append_slice(&it->last, it->base.key);
        it->last_tag = tag;
        it->has_last = true;
        it->base.rc = it->last.rc;
        it->base.tag = tag + (it->meta.seq_add << 8);
        it->base.valid = it->base.rc == LSM_OK;
        it->rows++;
        return;
    }
}

static void iter_first(struct lsm_iter *base)
{
    struct salvage_iter *it = self(base);

    lsm_block_free(it->block);
    it->block = NULL;
    lsm_buf_reset(&it->extents);
    it->part = it->part_count = 0;
    it->at = 0;
    it->scanned = it->has_last = it->has_lost = false;
    it->rows = it->read_bytes = it->tried_bytes = 0;
    lsm_salvage_file_clear(&it->file);
    lsm_salvage_file_init(&it->file, it->os, it->s->dir, it->name);
    move(it);
}

static void iter_next(struct lsm_iter *base)
{
    move(self(base));
}

static void iter_unsupported(struct lsm_iter *base)
{
    base->valid = false;
    base->rc = lsm_fail(LSM_MISUSE, "a salvaged table is read forwards only");
}

static void iter_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    (void)key;
    (void)tag;
    iter_unsupported(base);
}

static void iter_close(struct lsm_iter *base)
{
    struct salvage_iter *it = self(base);

    lsm_block_free(it->block);
    lsm_buf_clear(&it->extents);
    lsm_buf_clear(&it->key);
    lsm_buf_clear(&it->last);
    lsm_buf_clear(&it->window);
    lsm_salvage_file_clear(&it->file);
    lsm_table_scratch_clear(&it->scratch);
    lsm_mem_free(it->os, it);
}

static const struct lsm_iter_methods methods = {
    .first = iter_first, .last = iter_unsupported, .seek = iter_seek, .seek_prev = iter_seek,
    .next = iter_next, .prev = iter_unsupported, .close = iter_close,
};

int lsm_salvage_iter_new(const struct lsm_salvage *s, const struct lsm_table_meta *meta,
                         const struct lsm_comparator *cmp, struct lsm_iter **out)
{
    struct salvage_iter *it = lsm_mem_zalloc(s->os, sizeof *it);

    *out = NULL;
    if (!it)
        return lsm_nomem();
    it->base.methods = &methods;
    it->kind = LSM_BLOCK_DATA;
    it->s = s;
    it->os = s->os;
    it->meta = *meta;
    it->cmp = cmp;
    lsm_filename(it->name, LSM_FILE_TABLE, meta->number);
    lsm_buf_init(&it->extents, s->os);
    lsm_buf_init(&it->key, s->os);
    lsm_buf_init(&it->last, s->os);
    lsm_buf_init(&it->window, s->os);
    lsm_salvage_file_init(&it->file, s->os, s->dir, it->name);
    lsm_table_scratch_init(&it->scratch, s->os);
    *out = &it->base;
    return LSM_OK;
}

/* ---- what a file says about itself ---- */

static bool read_identity(const uint8_t *p, const char *magic, struct lsm_salvage_table *t)
{
    if (memcmp(p, magic, 8) != 0 || (lsm_get_u16(p + 12) & ~LSM_TABLE_INCOMPAT_KNOWN) ||
        lsm_get_u64(p + 32) != t->number)
        return false;
    memcpy(t->uuid, p + 16, 16);
    t->tree = lsm_get_u32(p + 40);
    return true;
}

static void read_properties(struct lsm_salvage_table *t, struct lsm_slice payload)
{
    struct lsm_reader r = lsm_reader(payload);

    while (lsm_reader_left(&r) > 0 && !r.bad) {
        struct lsm_slice name = lsm_read_bytes(&r), value = lsm_read_bytes(&r);
        if (r.bad)
            return;
        if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_COMPARATOR)))
            lsm_buf_append_slice(&t->comparator, value);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_PRIVATE)))
            t->is_private = true;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SMALLEST)))
            lsm_buf_append_slice(&t->smallest, value);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_LARGEST)))
            lsm_buf_append_slice(&t->largest, value);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_ENTRIES)) && value.size == 8)
            t->entries = lsm_get_u64(value.data);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_RANGE_DELETES)) && value.size == 8)
            t->range_deletes = lsm_get_u64(value.data);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SEQ_MAX)) && value.size == 8)
            t->seq_max = lsm_get_u64(value.data);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_TREE)))
            lsm_buf_append_slice(&t->tree_name, value);
    }
    t->has_properties = true;
}

/* LSM_NOTFOUND: neither header nor footer. *has_foot: the footer is whole. */
static int read_frame(struct lsm_os *os, struct lsm_file *file, struct lsm_salvage_table *t,
                      struct lsm_table_footer *footer, bool *has_foot)
{
    uint8_t head[LSM_TABLE_HEADER_SIZE], foot[LSM_TABLE_FOOTER_SIZE];
    const uint8_t *again = foot + sizeof foot - LSM_TABLE_HEADER_SIZE;
    struct lsm_file_info info;
    bool has_head;
    size_t got;

    *has_foot = false;
    if (os->file_info(file, &info) || info.size < sizeof head)
        return LSM_NOTFOUND;
    if (t->size_bytes < sizeof head || t->size_bytes > info.size)
        t->size_bytes = info.size;
    has_head = os->file_read(file, head, sizeof head, 0, &got) == 0 && got == sizeof head &&
               lsm_get_u64(head + sizeof head - 8) == lsm_hash64(head, sizeof head - 8, 0) &&
               read_identity(head, LSM_TABLE_MAGIC, t);
    *has_foot = t->size_bytes >= sizeof head + sizeof foot &&
                os->file_read(file, foot, sizeof foot, t->size_bytes - sizeof foot, &got) == 0 &&
                got == sizeof foot &&
                lsm_get_u64(foot + sizeof foot - 8) == lsm_hash64(foot, sizeof foot - 8, 0) &&
                read_identity(again, LSM_TABLE_FOOTER_MAGIC, t);
    if (*has_foot)
        lsm_table_footer_decode(foot, footer);
    return has_head || *has_foot ? LSM_OK : LSM_NOTFOUND;
}

/* A block that is never compressed. LSM_CORRUPT, or another failure. */
static int read_plain(struct lsm_os *os, struct lsm_file *file, const struct lsm_salvage_table *t, uint64_t off,
                      uint32_t size, enum lsm_block_kind kind, const char *name, struct lsm_buf *bytes,
                      struct lsm_slice *payload)
{
    size_t got;
    int error, rc;

    if (off > t->size_bytes || size > t->size_bytes - off)
        return lsm_corrupt(name, off, "a block cannot be where the footer says");
    rc = lsm_buf_reserve(bytes, size + 1);
    if (rc)
        return rc;
    error = os->file_read(file, bytes->data, size, off, &got);
    if (error)
        return lsm_fail_os(error, "read", name);
    return lsm_unseal(lsm_slice(bytes->data, got), kind, lsm_seal_seed(t->uuid, t->number) + off, NULL, NULL,
                      payload, name, off);
}

/* The blocks of a kind in a table without a foot, which would lead to them. */
static int find_blocks(const struct lsm_salvage *s, const struct lsm_table_meta *meta, enum lsm_block_kind kind,
                       struct lsm_buf *extents)
{
    struct lsm_salvage quiet = *s;      /* of rows that are lost the rows' iterator tells */
    struct lsm_iter *it;
    int rc;

    quiet.lost = (struct lsm_salvage_lost){ 0 };
    rc = lsm_salvage_iter_new(&quiet, meta, NULL, &it);
    if (rc)
        return rc;
    self(it)->kind = kind;
    rc = scan(self(it), LSM_TABLE_HEADER_SIZE, meta->size_bytes);
    lsm_buf_append_slice(extents, lsm_buf_slice(&self(it)->extents));
    lsm_iter_close(it);
    return rc ? rc : extents->rc;
}

/* Where its properties stand; extents stay empty: nowhere. */
static int find_properties(struct lsm_os *os, struct lsm_dir *dir, const struct lsm_salvage_table *t,
                           const struct lsm_table_footer *footer, struct lsm_buf *extents)
{
    struct lsm_table_meta meta = { .number = t->number, .size_bytes = t->size_bytes };
    struct lsm_salvage s = { .os = os, .dir = dir };
    struct extent extent;

    if (footer) {
        extent = (struct extent){ footer->properties_off, footer->properties_size };
        lsm_buf_append(extents, &extent, sizeof extent);
        return extents->rc;
    }
    memcpy(s.uuid, t->uuid, 16);
    return find_blocks(&s, &meta, LSM_BLOCK_PROPERTIES, extents);
}

static int identify(struct lsm_os *os, struct lsm_dir *dir, struct lsm_file *file, struct lsm_salvage_table *t,
                    const char *name)
{
    struct lsm_table_footer footer;
    struct lsm_slice payload;
    struct lsm_buf bytes, extents;
    struct extent extent;
    bool has_foot;
    int rc = read_frame(os, file, t, &footer, &has_foot);

    if (rc)
        return rc;
    lsm_buf_init(&bytes, os);
    lsm_buf_init(&extents, os);
    rc = find_properties(os, dir, t, has_foot ? &footer : NULL, &extents);
    if (rc == LSM_OK && extents.size) {
        memcpy(&extent, extents.data, sizeof extent);
        rc = read_plain(os, file, t, extent.off, extent.size, LSM_BLOCK_PROPERTIES, name, &bytes, &payload);
        if (rc == LSM_OK)
            read_properties(t, payload);
    }
    lsm_buf_clear(&extents);
    lsm_buf_clear(&bytes);
    if (rc == LSM_NOMEM)
        return rc;
    return t->tree_name.rc ? t->tree_name.rc : t->comparator.rc ? t->comparator.rc
           : t->smallest.rc ? t->smallest.rc : t->largest.rc;
}

static int add_ranges(const struct lsm_salvage *s, struct lsm_file *file, const struct lsm_salvage_table *t,
                      const struct extent *at, const struct lsm_table_meta *meta, const struct lsm_comparator *cmp,
                      const char *name, struct lsm_range_set *set)
{
    struct lsm_ranges *ranges = NULL;
    struct lsm_slice payload;
    struct lsm_buf bytes;
    int rc;

    lsm_buf_init(&bytes, s->os);
    rc = read_plain(s->os, file, t, at->off, at->size, LSM_BLOCK_RANGE_DELETE, name, &bytes, &payload);
    if (rc == LSM_OK)
        rc = lsm_ranges_decode(s->os, cmp, payload, name, at->off, &ranges);
    for (uint32_t i = 0; ranges && i < ranges->count; i++)
        for (uint32_t k = 0; k < ranges->range[i].seq_count; k++) {
            uint64_t seq = ranges->seqs[ranges->range[i].seq_at + k];
            if (seq <= LSM_SEQ_MAX - meta->seq_add)
                lsm_range_set_add(set, ranges->range[i].lo, ranges->range[i].hi, seq + meta->seq_add);
        }
    lsm_ranges_free(ranges);
    lsm_buf_clear(&bytes);
    return rc;
}

int lsm_salvage_ranges(const struct lsm_salvage *s, const struct lsm_table_meta *meta,
                       const struct lsm_comparator *cmp, struct lsm_range_set *set)
{
    struct lsm_salvage_table t = { .number = meta->number, .size_bytes = meta->size_bytes };
    struct lsm_table_footer footer;
    struct extent extent;
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    struct lsm_buf found;
    bool has_foot;
    int rc = LSM_OK;

    if (s->os->file_open(s->dir, lsm_filename(name, LSM_FILE_TABLE, meta->number), LSM_OPEN_READ, 0, &file))
        return LSM_OK;          /* it was told that it is missing */
    lsm_buf_init(&found, s->os);
    read_frame(s->os, file, &t, &footer, &has_foot);
    memcpy(t.uuid, s->uuid, 16);
    if (has_foot && footer.range_delete_size) {
        extent = (struct extent){ footer.range_delete_off, footer.range_delete_size };
        lsm_buf_append(&found, &extent, sizeof extent);
        rc = found.rc;
    } else if (!has_foot && (meta->range_deletes || meta->entries == 0)) {      /* or nobody knows */
        rc = find_blocks(s, meta, LSM_BLOCK_RANGE_DELETE, &found);
        if (rc == LSM_OK && found.size == 0 && meta->range_deletes)
            rc = lsm_corrupt(name, 0, "its range deletes cannot be found");
    }
    for (size_t i = 0; i < found.size / sizeof extent && rc == LSM_OK; i++) {
        memcpy(&extent, found.data + i * sizeof extent, sizeof extent);
        rc = add_ranges(s, file, &t, &extent, meta, cmp, name, set);
    }
    s->os->file_close(file);
    lsm_buf_clear(&found);
    if (rc && rc != LSM_NOMEM && s->lost.fn) {
        s->lost.fn(s->lost.ctx, name, 0, 0, lsm_error_text());
        s->lost.fn(s->lost.ctx, name, 0, 0, "range deletes are lost: rows that they deleted may come back");
    }
    return rc == LSM_NOMEM ? rc : LSM_OK;
}

void lsm_salvage_table_clear(struct lsm_salvage_table *t)
{
    lsm_buf_clear(&t->tree_name);
    lsm_buf_clear(&t->comparator);
    lsm_buf_clear(&t->smallest);
    lsm_buf_clear(&t->largest);
}

int lsm_salvage_identify(struct lsm_os *os, struct lsm_dir *dir, uint64_t number, uint64_t size_bytes,
                         struct lsm_salvage_table *t)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    int error, rc;

    memset(t, 0, sizeof *t);
    t->number = number;
    t->size_bytes = size_bytes;
    lsm_buf_init(&t->tree_name, os);
    lsm_buf_init(&t->comparator, os);
    lsm_buf_init(&t->smallest, os);
    lsm_buf_init(&t->largest, os);
    error = os->file_open(dir, lsm_filename(name, LSM_FILE_TABLE, number), LSM_OPEN_READ, 0, &file);
    if (error)
        return error == ENOMEM ? lsm_nomem() : LSM_NOTFOUND;
    rc = identify(os, dir, file, t, name);
    os->file_close(file);
    return rc;
}
