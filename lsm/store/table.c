/*
 * table.c -- an open table: blocks, get. table_open.c opens it.
 *
 *     get:  top index (in memory) -> filter -> index partition -> data block
 *
 * What a block says is checked once, when it is read from the file: its sum
 * and place (seal.c), its inside (block.c), and here that it ends with the key
 * its index names (with separators: not behind it) and begins behind the one before that. So the rows of a table
 * are in order by construction, also for a reader that comes from the cache,
 * and no later step checks anything.
 *
 * Threads: any. What changes in an open table is atomic.
 */
#include <errno.h>

#include "lsm/format/filter.h"
#include "lsm/format/vlog_meta.h"
#include "lsm/store/table_open.h"
#include "lsm/util/hash.h"

#define FILTER_ALIGN 64u
#define SCRATCH_KEEP (256u << 10)       /* by who owns it, from block to block */
#define SCRATCH_SPARE (64u << 10)       /* in the one that is lent */

/* Each last key was compared with the index when it was read. */
static const char unstable_order[] = "the tree's comparator contradicts itself";

/* ---- reading blocks from the file ---- */

void lsm_table_scratch_init(struct lsm_table_scratch *s, struct lsm_os *os)
{
    lsm_buf_init(&s->sealed, os);
    lsm_buf_init(&s->raw, os);
    lsm_buf_init(&s->key, os);
}

void lsm_table_scratch_clear(struct lsm_table_scratch *s)
{
    lsm_buf_clear(&s->sealed);
    lsm_buf_clear(&s->raw);
    lsm_buf_clear(&s->key);
}

/*
 * A reader without a scratch of its own borrows this one: a block that is not in
 * the cache then costs no allocation but its own. Nobody waits for it; who comes
 * second makes another, and the surplus is freed.
 */
static struct lsm_table_scratch *scratch_take(struct lsm_tables *ts)
{
    struct lsm_table_scratch *s = atomic_exchange(&ts->spare_scratch, NULL);

    if (s)
        return s;
    s = lsm_mem_alloc(ts->os, sizeof *s);
    if (s)
        lsm_table_scratch_init(s, ts->os);
    else
        lsm_nomem();
    return s;
}

static void scratch_put(struct lsm_tables *ts, struct lsm_table_scratch *s)
{
    if (s->sealed.cap > SCRATCH_SPARE || s->raw.cap > SCRATCH_SPARE || s->key.cap > SCRATCH_SPARE)
        lsm_table_scratch_clear(s);
    lsm_table_scratch_free(ts->os, atomic_exchange(&ts->spare_scratch, s));
}

void lsm_table_scratch_free(struct lsm_os *os, struct lsm_table_scratch *s)
{
    if (!s)
        return;
    lsm_table_scratch_clear(s);
    lsm_mem_free(os, s);
}

/* A merge has a scratch for each table: what a large value took must not stay beside its block. */
void lsm_table_scratch_trim(struct lsm_table_scratch *s)
{
    if (s->sealed.cap > SCRATCH_KEEP)
        lsm_buf_clear(&s->sealed);
    if (s->raw.cap > SCRATCH_KEEP)
        lsm_buf_clear(&s->raw);
}

int lsm_table_read_at(struct lsm_table *t, void *data, size_t size, uint64_t off)
{
    struct lsm_os *os = t->tables->os;
    size_t got = 0;
    int error = os->file_read(t->file, data, size, off, &got);

    if (error)
        return lsm_fail_os(error, "read", t->name);
    if (got != size)
        return lsm_table_corrupt(t, off, "the file ends within a block");
    return LSM_OK;
}

bool lsm_table_read_intact(struct lsm_table *t, uint8_t *data, uint32_t size, uint64_t off)
{
    struct lsm_os *os = t->tables->os;
    size_t got = 0;

    if (os->file_read(t->file, data, size, off, &got) || got != size)
        return false;
    atomic_fetch_add_explicit(&t->tables->block_reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->tables->block_bytes, size, memory_order_relaxed);
    return lsm_seal_is_intact(lsm_slice(data, size), LSM_BLOCK_DATA, t->seed + off);
}

bool lsm_table_read_part(struct lsm_table *t, uint32_t p, const struct lsm_table_index *index, struct lsm_buf *buf)
{
    const struct lsm_table_part *part = &t->parts[p];
    const uint64_t off = part->data_off;
    size_t size = (size_t)(part->index_off + part->index_size - off), got = 0;
    bool is_intact = true;

    lsm_buf_reset(buf);
    if (lsm_buf_reserve(buf, size) != LSM_OK || t->tables->os->file_read(t->file, buf->data, size, off, &got) ||
        got != size)
        return false;
    buf->size = size;
    atomic_fetch_add_explicit(&t->tables->block_reads, part->blocks, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->tables->block_bytes, size, memory_order_relaxed);
    for (uint32_t i = 0; i < index->block->count && is_intact; i++) {
        const struct lsm_table_handle *h = &index->data[i];
        is_intact = lsm_seal_is_intact(lsm_slice(buf->data + (h->off - off), h->size), LSM_BLOCK_DATA, t->seed + h->off);
    }
    if (part->filter_size && is_intact) {
        struct lsm_slice filter = lsm_slice(buf->data + (part->filter_off - off), part->filter_size);
        is_intact = lsm_seal_is_intact(filter, LSM_BLOCK_FILTER, t->seed + part->filter_off);
    }
    return is_intact && lsm_seal_is_intact(lsm_slice(buf->data + (part->index_off - off), part->index_size),
                                           LSM_BLOCK_INDEX, t->seed + part->index_off);
}

int lsm_table_read_part_metas(struct lsm_table *t, struct lsm_buf *metas)
{
    struct lsm_table_scratch s;
    struct lsm_slice payload;
    struct lsm_reader r;
    int rc;

    lsm_buf_reset(metas);
    lsm_table_scratch_init(&s, t->tables->os);
    rc = lsm_table_read(t, t->footer.properties_off, t->footer.properties_size, LSM_BLOCK_PROPERTIES, &s, &payload);
    if (rc == LSM_OK) {
        rc = LSM_NOTFOUND;
        for (r = lsm_reader(payload); rc == LSM_NOTFOUND && lsm_reader_left(&r) > 0 && !r.bad;) {
            struct lsm_slice name = lsm_read_bytes(&r), value = lsm_read_bytes(&r);
            if (!r.bad && lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_PARTS))) {
                lsm_buf_append_slice(metas, value);
                rc = metas->rc;
            }
        }
    }
    lsm_table_scratch_clear(&s);
    return rc;
}

int lsm_table_read(struct lsm_table *t, uint64_t off, uint32_t size, enum lsm_block_kind kind,
                   struct lsm_table_scratch *s, struct lsm_slice *payload)
{
    struct lsm_compressor *compressor = NULL;
    int rc;

    if (size < LSM_SEAL_TRAILER_SIZE)
        return lsm_table_corrupt(t, off, "a block is shorter than its trailer");
    lsm_buf_reset(&s->sealed);
    rc = lsm_buf_reserve(&s->sealed, size);
    if (rc)
        return rc;
    rc = lsm_table_read_at(t, s->sealed.data, size, off);
    if (rc)
        return rc;
    s->sealed.size = size;
    atomic_fetch_add_explicit(&t->tables->block_reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->tables->block_bytes, size, memory_order_relaxed);
    if (kind == LSM_BLOCK_DATA && s->sealed.data[size - LSM_SEAL_TRAILER_SIZE] == LSM_CODEC_ZSTD) {
        rc = lsm_compressor_take(t->tables->compressors, &compressor);
        if (rc)
            return rc;
    }
    rc = lsm_unseal(lsm_buf_slice(&s->sealed), kind, t->seed + off, compressor, &s->raw, payload,
                    t->name, off);
    if (compressor)
        lsm_compressor_put(t->tables->compressors, compressor);
    return rc;
}

int lsm_table_row_key(const struct lsm_block *block, uint32_t i, struct lsm_buf *buf,
                      struct lsm_slice *key, uint64_t *tag)
{
    struct lsm_slice suffix, value;

    lsm_block_row(block, i, &suffix, tag, &value);
    lsm_buf_reset(buf);
    lsm_buf_append(buf, block->prefix, block->prefix_size);
    lsm_buf_append_slice(buf, suffix);
    *key = lsm_buf_slice(buf);
    return buf->rc;
}

/* `block` must end with row `at` of `above`, or where that is a separator before it, and begin behind row `before` of
   `above_before` (NULL: there is nothing before it). */
static int check_place(const struct lsm_table *t, uint64_t off, const struct lsm_block *block,
                       const struct lsm_block *above, uint32_t at,
                       const struct lsm_block *above_before, uint32_t before)
{
    if (block->count == 0)
        return lsm_table_corrupt(t, off, "a block has no rows");
    int c = lsm_block_compare(t->cmp, block, block->count - 1, above, at);
    if (c > 0 || (c < 0 && (above == t->top || !t->has_separators)))
        return lsm_table_corrupt(t, off, "a block does not end with the key that its index names");
    if (above_before && lsm_block_compare(t->cmp, above_before, before, block, 0) >= 0)
        return lsm_table_corrupt(t, off, "a block begins before the end of the block before it");
    return LSM_OK;
}

void lsm_table_index_free(void *p)
{
    struct lsm_table_index *index = p;

    if (!index)
        return;
    lsm_block_free(index->block);
    lsm_mem_free(index->os, index);
}

size_t lsm_table_index_memory(const struct lsm_table_index *index)
{
    return sizeof *index + index->block->count * sizeof index->data[0] +
           lsm_block_memory(index->block);
}

/* The handles of a partition's data blocks; they must tile its room. */
static int decode_handles(const struct lsm_table *t, const struct lsm_table_part *part,
                          struct lsm_table_index *index)
{
    uint64_t at = part->data_off, tombstones = 0, seq_max = 0;

    for (uint32_t i = 0; i < index->block->count; i++) {
        struct lsm_table_handle *h = &index->data[i];
        struct lsm_slice suffix, value;
        struct lsm_reader r;
        uint64_t tag, off;

        lsm_block_row(index->block, i, &suffix, &tag, &value);
        r = lsm_reader(value);
        off = lsm_read_varint(&r);
        h->size = lsm_read_varint32(&r);
        h->tombstones = lsm_read_varint(&r);
        h->seq_max = lsm_read_varint(&r);
        if (r.bad || lsm_reader_left(&r) != 0 || off != at - part->data_off ||
            h->size <= LSM_SEAL_TRAILER_SIZE || h->size > part->data_end - at ||
            h->tombstones > part->tombstones - tombstones || h->seq_max > part->seq_max)
            return lsm_table_corrupt(t, part->index_off, "an index names a block that cannot be there");
        h->off = at;
        at += h->size;
        tombstones += h->tombstones;
        if (h->seq_max > seq_max)
            seq_max = h->seq_max;
    }
    if (at != part->data_end || tombstones != part->tombstones || seq_max != part->seq_max)
        return lsm_table_corrupt(t, part->index_off, "an index and the top index do not agree");
    return LSM_OK;
}

int lsm_table_read_index(struct lsm_table *t, uint32_t p, struct lsm_table_scratch *s,
                         struct lsm_table_index **index_out)
{
    const struct lsm_table_part *part = &t->parts[p];
    struct lsm_os *os = t->tables->os;
    struct lsm_table_index *index;
    struct lsm_block *block;
    struct lsm_slice payload;
    int rc;

    *index_out = NULL;
    rc = lsm_table_read(t, part->index_off, part->index_size, LSM_BLOCK_INDEX, s, &payload);
    if (rc == LSM_OK)
        rc = lsm_block_new(os, payload, t->cmp, t->name, part->index_off, &block);
    if (rc)
        return rc;
    index = lsm_mem_alloc(os, sizeof *index + block->count * sizeof index->data[0]);
    if (!index) {
        lsm_block_free(block);
        return lsm_nomem();
    }
    index->os = os;
    index->block = block;
    if (block->count != part->blocks)
        rc = lsm_table_corrupt(t, part->index_off, "an index and the top index do not agree");
    if (rc == LSM_OK)
        rc = check_place(t, part->index_off, block, t->top, p, p ? t->top : NULL, p - 1);
    if (rc == LSM_OK)
        rc = decode_handles(t, part, index);
    if (rc) {
        lsm_table_index_free(index);
        return rc;
    }
    *index_out = index;
    return LSM_OK;
}

/* Kinds and sequences: with seq_add they must not carry out of their 56 bits. */
static int check_rows(const struct lsm_table *t, const struct lsm_table_handle *h,
                      const struct lsm_block *block)
{
    const uint32_t step = block->tag_size ? 1 : block->count;  /* one tag stands for all rows */
    uint64_t tombstones = 0, tag_max = 0;
    bool is_foreign = false;

    for (uint32_t i = 0; i < block->count; i += step) {
        struct lsm_slice suffix, value;
        uint64_t tag;

        lsm_block_row(block, i, &suffix, &tag, &value);
        is_foreign |= lsm_tag_kind(tag) > LSM_KIND_VLOG;
        tombstones += lsm_tag_kind(tag) == LSM_KIND_DELETE ? step : 0;
        tag_max = tag > tag_max ? tag : tag_max;
    }
    if (is_foreign)
        return lsm_table_corrupt(t, h->off, "a row's kind has no place in a table");
    if (tombstones != h->tombstones || lsm_tag_seq(tag_max) != h->seq_max)
        return lsm_table_corrupt(t, h->off, "a block and its index do not agree");
    return LSM_OK;
}

int lsm_table_read_data(struct lsm_table *t, uint32_t p, const struct lsm_table_index *index,
                        uint32_t b, struct lsm_table_scratch *s, struct lsm_block **block)
{
    const struct lsm_table_handle *h = &index->data[b];
    const struct lsm_block *before = b ? index->block : p ? t->top : NULL;
    struct lsm_slice payload;
    int rc;

    *block = NULL;
    rc = lsm_table_read(t, h->off, h->size, LSM_BLOCK_DATA, s, &payload);
    if (rc == LSM_OK)
        rc = lsm_block_new(t->tables->os, payload, t->cmp, t->name, h->off, block);
    lsm_table_scratch_trim(s);
    if (rc)
        return rc;
    rc = check_place(t, h->off, *block, index->block, b, before, b ? b - 1 : p - 1);
    if (rc == LSM_OK)
        rc = check_rows(t, h, *block);
    if (rc) {
        lsm_block_free(*block);
        *block = NULL;
    }
    return rc;
}

/* ---- through the cache ---- */

static void free_block(void *block)
{
    lsm_block_free(block);
}

static void free_filter(void *p)
{
    struct lsm_table_filter *filter = p;
    lsm_mem_free(filter->os, filter);
}

size_t lsm_table_filter_memory(const struct lsm_table_filter *filter)
{
    return filter->size;
}

/* Room in the half of the cache that tables may keep? */
static bool may_keep(struct lsm_tables *ts, size_t memory)
{
    if (atomic_fetch_add(&ts->kept_bytes, memory) + memory <= lsm_cache_capacity(ts->cache) / 2)
        return true;
    atomic_fetch_sub(&ts->kept_bytes, memory);
    return false;
}

/* Give the pin to the table, in *slot. False: it has one already, or there is no room. */
static bool keep(struct lsm_table *t, struct lsm_cache_entry *_Atomic *slot,
                 struct lsm_cache_entry *entry, size_t memory)
{
    struct lsm_cache_entry *none = NULL;

    if (!may_keep(t->tables, memory))
        return false;
    if (atomic_compare_exchange_strong(slot, &none, entry))
        return true;
    atomic_fetch_sub(&t->tables->kept_bytes, memory);
    return false;
}

int lsm_table_get_index(struct lsm_table *t, uint32_t p, bool no_cache,
                        struct lsm_table_scratch *s, struct lsm_table_index **index,
                        struct lsm_cache_entry **entry)
{
    struct lsm_table_part *part = &t->parts[p];
    struct lsm_cache *cache = t->tables->cache;

    *entry = NULL;
    *index = atomic_load_explicit(&part->index, memory_order_acquire);
    if (*index)
        return LSM_OK;
    *entry = lsm_cache_lookup(cache, t->meta->number, part->index_off);
    if (!*entry) {
        int rc = lsm_table_read_index(t, p, s, index);
        if (rc == LSM_OK)
            rc = lsm_cache_insert(cache, t->meta->number, part->index_off, *index,
                                  lsm_table_index_memory(*index), lsm_table_index_free,
                                  no_cache ? LSM_CACHE_COLD : LSM_CACHE_WARM, entry);
        if (rc) {
            *index = NULL;
            return rc;
        }
    }
    *index = (*entry)->value;
    if (!no_cache && keep(t, &part->index_entry, *entry, lsm_table_index_memory(*index))) {
        atomic_store_explicit(&part->index, *index, memory_order_release);
        *entry = NULL;
    }
    return LSM_OK;
}

int lsm_table_load_data(struct lsm_table *t, uint32_t p, const struct lsm_table_index *index,
                        uint32_t b, bool no_cache, struct lsm_table_scratch *s,
                        struct lsm_cache_entry **entry)
{
    struct lsm_block *block;
    int rc = lsm_table_read_data(t, p, index, b, s, &block);

    *entry = NULL;
    if (rc)
        return rc;
    return lsm_cache_insert(t->tables->cache, t->meta->number, index->data[b].off, block,
                            lsm_block_memory(block), free_block,
                            no_cache ? LSM_CACHE_COLD : LSM_CACHE_PROBATION, entry);
}

static struct lsm_table_filter *new_filter(struct lsm_os *os, struct lsm_slice bytes)
{
    size_t size = sizeof(struct lsm_table_filter) + FILTER_ALIGN + bytes.size;
    struct lsm_table_filter *filter = lsm_mem_alloc(os, size);
    uint8_t *p;

    if (!filter)
        return NULL;
    p = (uint8_t *)(filter + 1);
    p += -(uintptr_t)p & (FILTER_ALIGN - 1);
    if (bytes.size)
        memcpy(p, bytes.data, bytes.size);
    *filter = (struct lsm_table_filter){ os, p, lsm_filter_line_count(bytes), size };
    return filter;
}

/* NULL: it cannot be had now. One that is damaged is cached as empty, so that it is read and
   counted once and not with every get. */
static struct lsm_table_filter *load_filter(struct lsm_table *t, struct lsm_table_part *part,
                                            bool no_cache, struct lsm_cache_entry **entry)
{
    struct lsm_os *os = t->tables->os;
    struct lsm_table_filter *filter;
    struct lsm_table_scratch s;
    struct lsm_slice bytes;
    int rc;

    lsm_table_scratch_init(&s, os);
    rc = lsm_table_read(t, part->filter_off, part->filter_size, LSM_BLOCK_FILTER, &s, &bytes);
    if (rc) {
        bytes = lsm_slice(NULL, 0);
        atomic_fetch_add(&t->tables->filter_faults, 1);
    }
    filter = rc == LSM_OK || rc == LSM_CORRUPT ? new_filter(os, bytes) : NULL;
    lsm_table_scratch_clear(&s);
    if (!filter)
        return NULL;
    rc = lsm_cache_insert(t->tables->cache, t->meta->number, part->filter_off, filter,
                          lsm_table_filter_memory(filter), free_filter,
                          no_cache ? LSM_CACHE_COLD : LSM_CACHE_WARM, entry);
    return rc ? NULL : (*entry)->value;
}

/* The table does not keep it: look in the cache, or load it. */
static __attribute__((noinline)) bool cached_filter_passes(struct lsm_table *t,
                                                           struct lsm_table_part *part,
                                                           uint64_t hash, bool no_cache)
{
    struct lsm_cache_entry *entry = lsm_cache_lookup(t->tables->cache, t->meta->number,
                                                     part->filter_off);
    struct lsm_table_filter *filter = entry ? entry->value : load_filter(t, part, no_cache, &entry);
    bool passes;

    if (!filter)
        return true;
    passes = lsm_filter_lines_may_contain(filter->lines, filter->line_count, hash);
    if (!no_cache && keep(t, &part->filter_entry, entry, lsm_table_filter_memory(filter))) {
        part->filter_line_count = filter->line_count;   /* only who put the entry there */
        atomic_store_explicit(&part->filter_lines, filter->lines, memory_order_release);
    } else {
        lsm_cache_unpin(t->tables->cache, entry);
    }
    return passes;
}

/* False: the key is not in this partition. */
static inline bool filter_passes(struct lsm_table *t, struct lsm_table_part *part, uint64_t hash,
                                 bool no_cache)
{
    const uint8_t *lines = atomic_load_explicit(&part->filter_lines, memory_order_acquire);

    if (__builtin_expect(lines == NULL, 0))
        return cached_filter_passes(t, part, hash, no_cache);
    return lsm_filter_lines_may_contain(lines, part->filter_line_count, hash);
}

/* ---- is it there at all? ---- */

bool lsm_table_probe_begin(const struct lsm_table *t, struct lsm_slice key,
                           struct lsm_table_probe *probe)
{
    uint32_t p = lsm_block_seek(t->top, t->cmp, key, LSM_TAG_MAX);

    if (p == t->top->count)
        return false;
    probe->part = &t->parts[p];
    __builtin_prefetch(probe->part);
    return true;
}

bool lsm_table_probe_aim(struct lsm_table_probe *probe, uint64_t hash)
{
    const uint8_t *lines = atomic_load_explicit(&probe->part->filter_lines, memory_order_acquire);

    if (!lines || probe->part->filter_line_count == 0)
        return false;
    probe->line = lsm_filter_line(lines, probe->part->filter_line_count, hash);
    __builtin_prefetch(probe->line);
    return true;
}

bool lsm_table_probe_passes(const struct lsm_table_probe *probe, uint64_t hash)
{
    return lsm_filter_line_may_contain(probe->line, hash);
}

void lsm_tables_count_denied(struct lsm_tables *tables, uint32_t count)
{
    atomic_fetch_add_explicit(&tables->filter_denied, count, memory_order_relaxed);
}

/* ---- get ---- */

void lsm_table_range_at(const struct lsm_table *t, struct lsm_slice key, uint64_t seq_max,
                        struct lsm_stretch *stretch)
{
    if (t->ranges)
        lsm_ranges_at(t->ranges, t->cmp, key, seq_max, t->meta->seq_add, stretch);
    else
        *stretch = (struct lsm_stretch){ .seq = 0 };
}

void lsm_table_unpin(struct lsm_table_pin *pin)
{
    if (pin->entry)
        lsm_cache_unpin(pin->cache, pin->entry);
    pin->entry = NULL;
}

/* Does a row's key equal `key`? With a comparator the suffix is the whole key. */
static bool row_is_key(const struct lsm_table *t, const struct lsm_block *block,
                       struct lsm_slice suffix, struct lsm_slice key)
{
    size_t prefix_size = block->prefix_size;

    if (t->cmp)
        return lsm_key_compare(t->cmp, key, suffix) == 0;
    return key.size == prefix_size + suffix.size &&
           (suffix.size == 0 || memcmp(key.data + prefix_size, suffix.data, suffix.size) == 0) &&
           lsm_block_compare_prefix(block, key) == 0;
}

/* What is not in memory is read here, out of the way of a get that hits. */
static __attribute__((noinline)) int get_index(struct lsm_table *t, uint32_t p, bool no_cache,
                                               struct lsm_table_index **index,
                                               struct lsm_cache_entry **entry)
{
    struct lsm_table_scratch *s = scratch_take(t->tables);
    int rc;

    if (!s)
        return LSM_NOMEM;
    rc = lsm_table_get_index(t, p, no_cache, s, index, entry);
    scratch_put(t->tables, s);
    return rc;
}

static __attribute__((noinline)) int load_data(struct lsm_table *t, uint32_t p,
                                               const struct lsm_table_index *index, uint32_t b,
                                               bool no_cache, struct lsm_cache_entry **entry)
{
    struct lsm_table_scratch *s = scratch_take(t->tables);
    int rc;

    if (!s)
        return LSM_NOMEM;
    rc = lsm_table_load_data(t, p, index, b, no_cache, s, entry);
    scratch_put(t->tables, s);
    return rc;
}

int lsm_table_get(struct lsm_table *t, struct lsm_slice key, uint64_t hash, uint64_t seq_max,
                  bool no_cache, uint64_t *tag, struct lsm_slice *value, struct lsm_table_pin *pin)
{
    struct lsm_cache *cache = t->tables->cache;
    const uint64_t seq_add = t->meta->seq_add;
    struct lsm_cache_entry *index_entry = NULL, *entry;
    struct lsm_table_index *index;
    struct lsm_table_part *part;
    const struct lsm_block *block;
    struct lsm_slice suffix;
    uint64_t from;
    uint32_t p, b, i;
    int rc = LSM_OK;

    pin->cache = cache;
    pin->entry = NULL;
    if (seq_max < seq_add)
        return LSM_NOTFOUND;
    if (seq_max > LSM_SEQ_MAX)
        seq_max = LSM_SEQ_MAX;
    from = (seq_max - seq_add) << 8 | 0xff;     /* before every kind of that seq */

    p = lsm_block_seek(t->top, t->cmp, key, from);
    if (p == t->top->count)
        return LSM_NOTFOUND;
    part = &t->parts[p];
    if (part->filter_size && lsm_filter_is_possible(t->cmp) && !filter_passes(t, part, hash, no_cache)) {
        lsm_tables_count_denied(t->tables, 1);
        return LSM_NOTFOUND;
    }

    index = atomic_load_explicit(&part->index, memory_order_acquire);
    if (!index) {
        rc = get_index(t, p, no_cache, &index, &index_entry);
        if (rc)
            return rc;
    }
    b = lsm_block_seek(index->block, t->cmp, key, from);
    if (b == index->block->count) {
        lsm_cache_unpin(cache, index_entry);
        return lsm_table_corrupt(t, part->index_off, unstable_order);
    }

    entry = lsm_cache_lookup(cache, t->meta->number, index->data[b].off);
    if (!entry)
        rc = load_data(t, p, index, b, no_cache, &entry);
    lsm_cache_unpin(cache, index_entry);
    if (rc)
        return rc;

    block = entry->value;
    i = lsm_block_seek(block, t->cmp, key, from);
    if (i == block->count) {    /* between the last key and its separator, or no order at all */
        lsm_cache_unpin(cache, entry);
        return t->has_separators ? LSM_NOTFOUND : lsm_table_corrupt(t, 0, unstable_order);
    }
    lsm_block_row(block, i, &suffix, tag, value);
    if (!row_is_key(t, block, suffix, key)) {
        lsm_cache_unpin(cache, entry);
        if (part->filter_size && lsm_filter_is_possible(t->cmp))
            atomic_fetch_add_explicit(&t->tables->filter_wrong, 1, memory_order_relaxed);
        return LSM_NOTFOUND;
    }
    *tag += t->tag_add;
    pin->entry = entry;
    return LSM_OK;
}

uint64_t lsm_table_offset_of(struct lsm_table *t, struct lsm_slice key)
{
    struct lsm_cache_entry *entry;
    struct lsm_table_index *index;
    uint32_t p = lsm_block_seek(t->top, t->cmp, key, LSM_TAG_MAX), b;
    uint64_t off;

    if (p == t->top->count)
        return t->meta->size_bytes;
    off = t->parts[p].data_off;
    if (get_index(t, p, false, &index, &entry) != LSM_OK)
        return off;                             /* the partition's start is about right, too */
    b = lsm_block_seek(index->block, t->cmp, key, LSM_TAG_MAX);
    if (b < index->block->count)
        off = index->data[b].off;
    lsm_cache_unpin(t->tables->cache, entry);
    return off;
}

void lsm_table_data_span(const struct lsm_table *t, uint64_t *off, uint64_t *end)
{
    *off = t->top->count ? t->parts[0].data_off : 0;
    *end = t->top->count ? t->parts[t->top->count - 1].data_end : 0;
}

static void sum_block(const struct lsm_table *t, const struct lsm_block *block, struct lsm_slice key,
                      struct lsm_table_place *place)
{
    uint32_t at = lsm_block_seek(block, t->cmp, key, LSM_TAG_MAX);

    for (uint32_t i = 0; i < block->count; i++) {
        struct lsm_slice suffix, value;
        struct lsm_vlog_handle handle;
        uint64_t tag;

        if (i == at)
            place->before = place->block;
        lsm_block_row(block, i, &suffix, &tag, &value);
        place->block.rows += lsm_tag_kind(tag) != LSM_KIND_DELETE;
        if (lsm_tag_kind(tag) == LSM_KIND_VLOG && lsm_vlog_handle_decode(value, &handle))
            place->block.value_bytes += handle.size;
    }
    if (at == block->count)     /* between the last row and its separator */
        place->before = place->block;
    else
        place->before.bytes = place->block.bytes * at / block->count;
}

int lsm_table_place(struct lsm_table *t, struct lsm_slice key, struct lsm_table_place *place)
{
    struct lsm_cache_entry *index_entry, *entry;
    struct lsm_table_index *index;
    uint32_t p = lsm_block_seek(t->top, t->cmp, key, LSM_TAG_MAX), b;
    uint64_t begin;
    int rc = LSM_OK;

    *place = (struct lsm_table_place){ .off = 0 };
    lsm_table_data_span(t, &begin, &place->off);
    if (p == t->top->count)
        return LSM_OK;
    rc = get_index(t, p, false, &index, &index_entry);
    if (rc)
        return rc;
    b = lsm_block_seek(index->block, t->cmp, key, LSM_TAG_MAX);
    if (b < index->block->count) {
        place->off = index->data[b].off;
        place->block.bytes = index->data[b].size;
        entry = lsm_cache_lookup(t->tables->cache, t->meta->number, place->off);
        if (!entry)
            rc = load_data(t, p, index, b, true, &entry);
        if (rc == LSM_OK) {
            sum_block(t, entry->value, key, place);
            lsm_cache_unpin(t->tables->cache, entry);
        }
    } else {
        place->off = t->parts[p].data_end;
    }
    lsm_cache_unpin(t->tables->cache, index_entry);
    return rc;
}

uint32_t lsm_table_part_count(const struct lsm_table *t)
{
    return t->top->count;
}

int lsm_table_part_end(const struct lsm_table *t, uint32_t i, struct lsm_buf *key, uint64_t *bytes)
{
    struct lsm_slice in_buf;
    uint64_t tag;

    *bytes = t->parts[i].data_end - t->parts[i].data_off;
    return lsm_table_row_key(t->top, i, key, &in_buf, &tag);
}
