/*
 * table_iter.c -- walk a table in both directions.
 *
 *     part -> index (kept by the table, or pinned here) -> handle -> block (pinned) -> row
 *
 * A step within a block assembles the key in place: the block's prefix stands
 * in the key buffer already, the suffix is copied behind it. Without a prefix
 * (always so with a comparator) the key points into the block, as the value does.
 *
 * Threads: one at a time.
 */
#include <assert.h>

#include "lsm/format/vlog_meta.h"
#include "lsm/store/table_open.h"
#include "lsm/store/table_writer.h"

#define READAHEAD_MIN (16u << 10)
#define READAHEAD_MAX (256u << 10)
#define SEQUENTIAL 2                    /* blocks in a row before reading ahead */
#define FETCH_MAX (8u << 10)            /* of a block; the rest comes row by row */
#define KEY_CAP_MIN 256u

struct table_iter {
    struct lsm_iter base;
    struct lsm_table *table;
    bool no_cache;

    uint32_t part;                      /* of index */
    struct lsm_table_index *index;      /* NULL: none */
    struct lsm_cache_entry *index_entry;
    uint32_t handle;                    /* of block */
    struct lsm_block *block;            /* NULL: none */
    struct lsm_cache_entry *block_entry;
    bool was_read;                      /* it is in scratch.sealed as well, unless it was large */
    uint32_t row;

    uint8_t *key;                       /* begins with the block's prefix */
    size_t key_cap;

    struct lsm_table_index *aimed;      /* aimed_part's, which the table keeps; NULL: no seek was announced */
    uint32_t aimed_part, aimed_handle;

    int run;                            /* blocks moved in one direction: > 0 next, < 0 prev */
    uint32_t ahead_size;
    uint64_t ahead_mark;                /* a block that passes it asks for more */

    struct lsm_table_scratch scratch;

    struct lsm_buf part_metas_bytes;    /* to copy partitions: what the properties say of each, */
    struct lsm_part_meta *part_metas;   /* top->count of them; NULL: not read, or not there */
    bool part_metas_read;
};

static void drop_block(struct table_iter *it)
{
    lsm_cache_unpin(it->table->tables->cache, it->block_entry);
    it->block_entry = NULL;
    it->block = NULL;
    lsm_table_scratch_trim(&it->scratch);       /* a large one may have been read for lsm_table_iter_sealed */
}

static void drop_index(struct table_iter *it)
{
    drop_block(it);
    lsm_cache_unpin(it->table->tables->cache, it->index_entry);
    it->index_entry = NULL;
    it->index = NULL;
}

/* No row here: the end, or with rc a failure that stays. */
static void stop(struct table_iter *it, int rc)
{
    it->base.valid = false;
    it->base.key = it->base.value = lsm_slice(NULL, 0);
    if (rc) {
        it->base.rc = rc;
        drop_index(it);
    }
}

/* Room for `size` bytes of key and a copy that goes beyond; what is in the buffer stays. */
static __attribute__((noinline)) bool grow_key(struct table_iter *it, size_t size)
{
    struct lsm_os *os = it->table->tables->os;
    size_t cap = size + size / 2 + LSM_BLOCK_COPY_SIZE + KEY_CAP_MIN;
    uint8_t *key = os->mem_realloc(os, it->key, cap);

    if (!key) {
        stop(it, lsm_nomem());
        return false;
    }
    it->key = key;
    it->key_cap = cap;
    return true;
}

/* Make row it->row of it->block the current one. */
static inline void show(struct table_iter *it)
{
    const struct lsm_block *block = it->block;
    struct lsm_slice suffix;
    uint64_t tag;

    assert(it->row < block->count);
    lsm_block_row(block, it->row, &suffix, &tag, &it->base.value);
    it->base.tag = tag + it->table->tag_add;
    it->base.valid = true;
    if (block->prefix_size == 0) {
        it->base.key = suffix;
        return;
    }
    if (block->prefix_size + suffix.size > it->key_cap - LSM_BLOCK_COPY_SIZE &&
        !grow_key(it, block->prefix_size + suffix.size))
        return;
    lsm_block_copy_suffix(block, suffix, it->key + block->prefix_size);
    it->base.key = lsm_slice(it->key, block->prefix_size + suffix.size);
}

/* Two blocks in a row were read from the file: let the system read what comes next. */
static void read_ahead(struct table_iter *it, const struct lsm_table_handle *h)
{
    struct lsm_os *os = it->table->tables->os;
    uint64_t from, size = it->ahead_size;

    if (it->run >= SEQUENTIAL && h->off + h->size > it->ahead_mark) {
        from = h->off;
        it->ahead_mark = from + size / 2;
    } else if (it->run <= -SEQUENTIAL && h->off < it->ahead_mark) {
        uint64_t end = h->off + h->size;
        from = end > size ? end - size : 0;
        size = end - from;
        it->ahead_mark = from + size / 2;
    } else {
        return;
    }
    os->file_prefetch(it->table->file, from, size);
    if (it->ahead_size < READAHEAD_MAX)
        it->ahead_size *= 2;
}

static void set_direction(struct table_iter *it, int direction)
{
    if (it->run * direction <= 0) {     /* a seek, a turn or the first move */
        it->run = 0;
        it->ahead_size = READAHEAD_MIN;
        it->ahead_mark = direction < 0 ? UINT64_MAX : 0;
    }
    if (it->run < SEQUENTIAL && it->run > -SEQUENTIAL)
        it->run += direction;
}

static bool open_part(struct table_iter *it, uint32_t part)
{
    int rc;

    if (it->index && it->part == part)
        return true;
    drop_index(it);
    rc = lsm_table_get_index(it->table, part, it->no_cache, &it->scratch, &it->index,
                             &it->index_entry);
    if (rc) {
        stop(it, rc);
        return false;
    }
    it->part = part;
    return true;
}

/* A scan comes by: the block's memory, all of it at once instead of row by row, and where the next one is. */
static void fetch(const struct table_iter *it, const struct lsm_block *block, uint32_t next)
{
    size_t size = block->size < FETCH_MAX ? block->size : FETCH_MAX;

    for (size_t i = 0; i < size; i += 64)
        __builtin_prefetch(block->data + i);
    if (next < it->index->block->count)         /* going back, -1 is not */
        lsm_cache_aim(it->table->tables->cache, it->table->meta->number, it->index->data[next].off);
}

/* Block `handle` of the open part; direction 1 and -1: reached by going there, 0: by a seek. */
static bool open_block(struct table_iter *it, uint32_t handle, int direction)
{
    struct lsm_tables *ts = it->table->tables;
    const struct lsm_table_handle *h = &it->index->data[handle];
    int rc = LSM_OK;

    if (it->block && it->handle == handle)
        return true;
    drop_block(it);
    set_direction(it, direction);
    it->block_entry = lsm_cache_lookup(ts->cache, it->table->meta->number, h->off);
    it->was_read = !it->block_entry;
    if (!it->block_entry) {
        read_ahead(it, h);
        rc = lsm_table_load_data(it->table, it->part, it->index, handle, it->no_cache,
                                 &it->scratch, &it->block_entry);
    }
    if (rc) {
        stop(it, rc);
        return false;
    }
    it->block = it->block_entry->value;
    it->handle = handle;
    if (direction && !it->was_read)
        fetch(it, it->block, handle + (uint32_t)direction);
    if (it->block->prefix_size) {
        if (it->block->prefix_size + LSM_BLOCK_COPY_SIZE > it->key_cap &&
            !grow_key(it, it->block->prefix_size))
            return false;
        memcpy(it->key, it->block->prefix, it->block->prefix_size);
    }
    return true;
}

static void to_first(struct table_iter *it, uint32_t part)
{
    if (part >= it->table->top->count) {
        stop(it, LSM_OK);
        return;
    }
    if (!open_part(it, part) || !open_block(it, 0, it->base.valid))
        return;
    it->row = 0;
    it->base.begins_block = true;
    show(it);
}

/* The last row before partition `part`. */
static void to_last_before(struct table_iter *it, uint32_t part)
{
    if (part == 0) {
        stop(it, LSM_OK);
        return;
    }
    if (!open_part(it, part - 1) ||
        !open_block(it, it->index->block->count - 1, -(int)it->base.valid))
        return;
    it->row = it->block->count - 1;
    it->base.begins_block = true;
    show(it);
}

static void iter_first(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (it->base.rc)
        return;
    it->base.valid = false;
    to_first(it, 0);
}

static void iter_last(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (it->base.rc)
        return;
    it->base.valid = false;
    to_last_before(it, it->table->top->count);
}

static __attribute__((noinline)) void next_block(struct table_iter *it)
{
    if (it->handle + 1 == it->index->block->count) {
        to_first(it, it->part + 1);
    } else if (open_block(it, it->handle + 1, 1)) {
        it->row = 0;
        it->base.begins_block = true;
        show(it);
    }
}

static __attribute__((noinline)) void prev_block(struct table_iter *it)
{
    if (it->handle == 0) {
        to_last_before(it, it->part);
    } else if (open_block(it, it->handle - 1, -1)) {
        it->row = it->block->count - 1;
        it->base.begins_block = true;
        show(it);
    }
}

static void iter_next(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (!it->base.valid)
        return;
    if (it->row + 1 < it->block->count) {
        it->row++;
        it->base.begins_block = false;
        show(it);
    } else {
        next_block(it);
    }
}

static void iter_prev(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (!it->base.valid)
        return;
    if (it->row > 0) {
        it->row--;
        it->base.begins_block = false;
        show(it);
    } else {
        prev_block(it);
    }
}

static uint32_t find_block(const struct lsm_table *t, const struct lsm_table_index *index, struct lsm_slice key,
                           uint64_t tag)
{
    uint32_t handle = lsm_block_seek(index->block, t->cmp, key, tag);

    return handle == index->block->count ? handle - 1 : handle;     /* a comparator that contradicts itself */
}

static uint64_t tag_in_file(const struct table_iter *it, uint64_t tag)
{
    return tag >= it->table->tag_add ? tag - it->table->tag_add : 0;
}

static void iter_aim(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct table_iter *it = (struct table_iter *)base;
    struct lsm_table *t = it->table;
    uint32_t part;

    tag = tag_in_file(it, tag);
    part = lsm_block_seek(t->top, t->cmp, key, tag);
    if (part == t->top->count)
        return;
    it->aimed = atomic_load_explicit(&t->parts[part].index, memory_order_acquire);
    if (!it->aimed)
        return;
    it->aimed_part = part;
    it->aimed_handle = find_block(t, it->aimed, key, tag);
    lsm_cache_aim(t->tables->cache, t->meta->number, it->aimed->data[it->aimed_handle].off);
}

/* The first row whose tag in the file is at or behind (key, tag). */
static void seek_raw(struct table_iter *it, struct lsm_slice key, uint64_t tag)
{
    struct lsm_table *t = it->table;
    struct lsm_table_index *aimed = it->aimed;
    uint32_t part = aimed ? it->aimed_part : lsm_block_seek(t->top, t->cmp, key, tag), handle;

    it->aimed = NULL;
    it->base.valid = false;
    if (part == t->top->count) {
        stop(it, LSM_OK);
        return;
    }
    if (!open_part(it, part))
        return;
    handle = aimed ? it->aimed_handle : find_block(t, it->index, key, tag);
    if (!open_block(it, handle, 0))
        return;
    it->row = lsm_block_seek(it->block, t->cmp, key, tag);
    if (it->row < it->block->count) {
        show(it);
    } else if (t->has_separators) {     /* it is between the last key and its separator */
        next_block(it);
    } else {
        it->row--;
        show(it);
    }
}

static void iter_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct table_iter *it = (struct table_iter *)base;
    const uint64_t add = it->table->tag_add;

    if (it->base.rc)
        return;
    if (tag >= add) {
        seek_raw(it, key, tag_in_file(it, tag));
        return;
    }
    /* Every version of the key is newer than tag: the last of them could be 0 in the file. */
    seek_raw(it, key, tag_in_file(it, tag));
    if (it->base.valid && it->base.tag == add &&
        lsm_key_compare(it->table->cmp, it->base.key, key) == 0)
        iter_next(base);
}

static void iter_seek_prev(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct table_iter *it = (struct table_iter *)base;

    iter_seek(base, key, tag);
    if (it->base.rc)
        return;
    if (!it->base.valid)
        iter_last(base);
    else if (lsm_ikey_compare(it->table->cmp, it->base.key, it->base.tag, key, tag) > 0)
        iter_prev(base);
}

static void forget_part_metas(struct table_iter *it)
{
    lsm_mem_free(it->table->tables->os, it->part_metas);
    lsm_buf_clear(&it->part_metas_bytes);
    it->part_metas = NULL;
    it->part_metas_read = false;
}

static void iter_close(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;
    struct lsm_os *os = it->table->tables->os;

    drop_index(it);
    lsm_table_scratch_clear(&it->scratch);
    lsm_mem_free(os, it->key);
    forget_part_metas(it);
    lsm_table_unref(it->table);
    lsm_mem_free(os, it);
}

static bool iter_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    struct table_iter *it = (struct table_iter *)base;
    struct lsm_cache *cache = it->table->tables->cache;

    if (!it->block_entry)
        return false;
    lsm_cache_pin(cache, it->block_entry);
    *pin = (struct lsm_iter_pin){ .cache = cache, .entry = it->block_entry };
    return true;
}

/* Tags are those of the file only where nothing is added to them. */
static bool iter_block(struct lsm_iter *base, struct lsm_iter_block *block)
{
    struct table_iter *it = (struct table_iter *)base;
    const struct lsm_table_handle *h;
    uint64_t tag;

    if (!base->valid || it->row != 0 || it->table->tag_add)
        return false;
    h = &it->index->data[it->handle];
    if (h->tombstones)
        return false;
    *block = (struct lsm_iter_block){ .owner = base, .block = it->block, .seq_max = h->seq_max,
                                      .begins_part = it->handle == 0 };
    return lsm_table_row_key(it->block, it->block->count - 1, &it->scratch.key, &block->last, &tag) == LSM_OK;
}

static void iter_next_block(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (base->valid)
        next_block(it);
}

/* Where keys of indexes are separators, the last row's key is not known, and this one may not be good before the row
   that comes next now. */
static bool iter_part(struct lsm_iter *base, struct lsm_iter_part *part)
{
    struct table_iter *it = (struct table_iter *)base;
    const struct lsm_table *t = it->table;
    const struct lsm_table_part *p = &t->parts[it->part];

    assert(base->valid && it->row == 0 && it->handle == 0 && !t->tag_add);
    if (t->has_separators || p->tombstones)
        return false;
    *part = (struct lsm_iter_part){ .owner = base, .entries = p->entries, .seq_max = p->seq_max,
                                    .size = p->index_off + p->index_size - p->data_off };
    return lsm_table_row_key(t->top, it->part, &it->scratch.key, &part->last, &part->last_tag) == LSM_OK;
}

static void iter_next_part(struct lsm_iter *base)
{
    struct table_iter *it = (struct table_iter *)base;

    if (base->valid)
        to_first(it, it->part + 1);
}

static bool iter_streak(struct lsm_iter *base, bool back, struct lsm_iter_streak *streak)
{
    const struct table_iter *it = (const struct table_iter *)base;
    uint32_t last = back ? 0 : it->block->count - 1;

    *streak = (struct lsm_iter_streak){ it->block, it->row, last, it->table->tag_add };
    return last != it->row;
}

static void iter_to_row(struct lsm_iter *base, uint32_t row)
{
    struct table_iter *it = (struct table_iter *)base;

    it->row = row;
    it->base.begins_block = false;
    show(it);
}

static const struct lsm_iter_methods methods = {
    .first = iter_first, .last = iter_last, .seek = iter_seek, .seek_prev = iter_seek_prev, .next = iter_next,
    .prev = iter_prev, .close = iter_close, .pin = iter_pin, .aim = iter_aim, .block = iter_block,
    .next_block = iter_next_block, .part = iter_part, .next_part = iter_next_part, .streak = iter_streak,
    .to_row = iter_to_row,
};

bool lsm_table_iter_sealed(struct lsm_iter *base, struct lsm_slice *sealed)
{
    struct table_iter *it = (struct table_iter *)base;
    struct lsm_table *t = it->table;
    const struct lsm_table_handle *h = &it->index->data[it->handle];
    struct lsm_buf *buf = &it->scratch.sealed;

    assert(base->methods == &methods && base->valid);
    if (!it->was_read || buf->size != h->size) {
        lsm_buf_reset(buf);
        if (lsm_buf_reserve(buf, h->size) != LSM_OK || !lsm_table_read_intact(t, buf->data, h->size, h->off))
            return false;
        buf->size = h->size;
        it->was_read = true;
    }
    *sealed = lsm_buf_slice(buf);
    return true;
}

/* Do they add up to what the MANIFEST counts? Nobody looks at the rows, and with fewer refs than they have a value log would
   go that they stand in. */
static bool part_metas_add_up(const struct lsm_table *t, const struct lsm_part_meta *metas)
{
    struct lsm_os *os = t->tables->os;
    struct lsm_vlog_refs refs;
    struct lsm_buf encoded;
    uint64_t raw_bytes = 0;
    bool ok;

    lsm_vlog_refs_init(&refs, os);
    lsm_buf_init(&encoded, os);
    for (uint32_t i = 0; i < t->top->count; i++) {
        raw_bytes += metas[i].raw_bytes;
        lsm_vlog_refs_add_all(&refs, metas[i].refs);
    }
    lsm_vlog_refs_encode(&refs, &encoded);
    ok = encoded.rc == LSM_OK && raw_bytes == t->meta->raw_bytes &&
         lsm_slice_equal(lsm_buf_slice(&encoded), t->meta->refs);
    lsm_buf_clear(&encoded);
    lsm_vlog_refs_clear(&refs);
    return ok;
}

/* From the properties; once for a table that is merged. What cannot be read, or cannot be, is as if it were not there. */
static void read_part_metas(struct table_iter *it)
{
    struct lsm_table *t = it->table;
    struct lsm_os *os = t->tables->os;
    struct lsm_part_meta *metas;
    struct lsm_reader r;
    uint32_t count = 0;

    if (it->part_metas_read)
        return;
    it->part_metas_read = true;
    if (lsm_table_read_part_metas(t, &it->part_metas_bytes) != LSM_OK)
        return;
    metas = lsm_mem_alloc(os, t->top->count * sizeof *metas);
    if (!metas)
        return;
    r = lsm_reader(lsm_buf_slice(&it->part_metas_bytes));
    while (count < t->top->count && lsm_part_meta_decode(&r, &metas[count]))
        count++;
    if (count == t->top->count && !r.bad && lsm_reader_left(&r) == 0 && part_metas_add_up(t, metas))
        it->part_metas = metas;
    else
        lsm_mem_free(os, metas);
}

bool lsm_table_iter_piece(struct lsm_iter *base, struct lsm_table_piece *piece)
{
    struct table_iter *it = (struct table_iter *)base;
    const struct lsm_table_part *p = &it->table->parts[it->part];
    struct lsm_slice sealed;

    assert(base->methods == &methods && base->valid && it->handle == 0);
    if (p->blocks < LSM_TABLE_PIECE_BLOCKS_MIN)
        return false;
    read_part_metas(it);
    if (!it->part_metas || !lsm_table_iter_sealed(base, &sealed))
        return false;
    *piece = (struct lsm_table_piece){ .meta = it->part_metas[it->part], .entries = p->entries, .seq_min = p->seq_min,
                                       .seq_max = p->seq_max, .index = it->index, .filter_size = p->filter_size,
                                       .index_size = p->index_size, .block = it->block, .block_sealed = sealed };
    return lsm_table_row_key(it->table->top, it->part, &it->scratch.key, &piece->last, &piece->last_tag) == LSM_OK;
}

bool lsm_table_iter_read_piece(struct lsm_iter *base, struct lsm_table_piece *piece, struct lsm_buf *buf)
{
    struct table_iter *it = (struct table_iter *)base;

    assert(base->methods == &methods && base->valid && piece->index == it->index);
    if (!lsm_table_read_part(it->table, it->part, it->index, buf))
        return false;
    piece->sealed = lsm_buf_slice(buf);
    return true;
}

int lsm_table_iter_new(struct lsm_table *table, bool no_cache, struct lsm_iter **iter)
{
    struct lsm_os *os = table->tables->os;
    struct table_iter *it = lsm_mem_zalloc(os, sizeof *it);

    *iter = NULL;
    if (!it)
        return lsm_nomem();
    it->key = lsm_mem_alloc(os, KEY_CAP_MIN);
    if (!it->key) {
        lsm_mem_free(os, it);
        return lsm_nomem();
    }
    it->key_cap = KEY_CAP_MIN;
    it->base.methods = &methods;
    it->no_cache = no_cache;
    it->table = table;
    lsm_table_ref(table);
    lsm_table_scratch_init(&it->scratch, os);
    lsm_buf_init(&it->part_metas_bytes, os);
    *iter = &it->base;
    return LSM_OK;
}

int lsm_tables_iter(struct lsm_tables *tables, const struct lsm_table_meta *meta, const struct lsm_comparator *cmp,
                    struct lsm_iter **it)
{
    struct lsm_table *table;
    int rc = lsm_tables_get(tables, meta, cmp, &table);

    if (rc)
        return rc;
    rc = lsm_table_iter_new(table, true, it);
    lsm_table_unref(table);     /* the iterator holds its own */
    return rc;
}

void lsm_table_iter_reopen(struct lsm_iter *iter, struct lsm_table *table)
{
    struct table_iter *it = (struct table_iter *)iter;

    drop_index(it);
    forget_part_metas(it);
    lsm_table_ref(table);
    lsm_table_unref(it->table);
    it->table = table;
    it->base.rc = LSM_OK;
    it->aimed = NULL;
    it->run = 0;
    stop(it, LSM_OK);
}
