/*
 * table_open.c -- from a file to an open table: its frame, its range deletes, the top
 * index; and back.
 *
 * The parts tile the file: header, partitions, properties, top index, footer follow
 * each other without a gap, so no two blocks share bytes and no size is larger than
 * the file.
 */
#include "lsm/store/table_open.h"

#include <errno.h>

#include "lsm/util/hash.h"


/* The 48 bytes that header and footer share behind their magic and before their sum. */
static int check_identity(const struct lsm_table *t, uint64_t off, const uint8_t *p)
{
    uint32_t incompat = lsm_get_u16(p + 12) & ~LSM_TABLE_INCOMPAT_KNOWN;

    if (incompat)
        return lsm_fail(LSM_FORMAT, "%s needs features 0x%x that lsmvtab " LSM_VERSION
                        " does not know: open it with the version that wrote it", t->name,
                        (unsigned)incompat);
    if (lsm_get_u16(p + 14) || lsm_get_u32(p + 44))
        return lsm_table_corrupt(t, off, "reserved bytes are not zero");
    if (memcmp(p + 16, t->tables->uuid, 16) != 0)
        return lsm_table_corrupt(t, off, "the file belongs to another store");
    if (lsm_get_u64(p + 32) != t->meta->number)
        return lsm_table_corrupt(t, off, "the file was written under another number");
    if (lsm_get_u32(p + 40) != t->meta->tree)
        return lsm_table_corrupt(t, off, "the file belongs to another tree");
    return LSM_OK;
}

int lsm_table_read_frame(struct lsm_table *t, struct lsm_table_footer *f, bool *has_separators)
{
    const uint64_t size = t->meta->size_bytes;
    uint64_t footer_off, end;
    uint8_t head[LSM_TABLE_HEADER_SIZE], foot[LSM_TABLE_FOOTER_SIZE];
    const uint8_t *again = foot + LSM_TABLE_FOOTER_SIZE - LSM_TABLE_HEADER_SIZE;
    struct lsm_file_info info;
    int error, rc;

    error = t->tables->os->file_info(t->file, &info);
    if (error)
        return lsm_fail_os(error, "stat", t->name);
    if (info.size < size || (info.size > size && !t->tables->allow_longer))
        return lsm_table_corrupt(t, info.size, "the file's size is not what the MANIFEST says");
    if (size < LSM_TABLE_HEADER_SIZE + LSM_TABLE_FOOTER_SIZE)
        return lsm_table_corrupt(t, size, "the file is shorter than its header and footer");
    footer_off = size - LSM_TABLE_FOOTER_SIZE;
    rc = lsm_table_read_at(t, head, sizeof head, 0);
    if (rc == LSM_OK)
        rc = lsm_table_read_at(t, foot, sizeof foot, footer_off);
    if (rc)
        return rc;

    if (memcmp(head, LSM_TABLE_MAGIC, 8) != 0)
        return lsm_table_corrupt(t, 0, "this is no table file, or its first bytes were overwritten");
    if (lsm_get_u64(head + sizeof head - 8) != lsm_hash64(head, sizeof head - 8, 0))
        return lsm_table_corrupt(t, 0, "the header is damaged: its checksum does not match");
    rc = check_identity(t, 0, head);
    if (rc)
        return rc;
    if (memcmp(again, LSM_TABLE_FOOTER_MAGIC, 8) != 0 ||
        lsm_get_u64(foot + sizeof foot - 8) != lsm_hash64(foot, sizeof foot - 8, 0))
        return lsm_table_corrupt(t, footer_off, "the footer is damaged: its checksum does not match");
    rc = check_identity(t, footer_off, again);
    if (rc)
        return rc;
    if (memcmp(head + 8, again + 8, LSM_TABLE_HEADER_SIZE - 16) != 0)
        return lsm_table_corrupt(t, footer_off, "header and footer do not agree");

    *has_separators = lsm_get_u16(head + 12) & LSM_TABLE_INCOMPAT_SEPARATORS;
    lsm_table_footer_decode(foot, f);
    end = footer_off;
    if (f->top_size <= LSM_SEAL_TRAILER_SIZE || f->top_size > end - LSM_TABLE_HEADER_SIZE ||
        f->top_off != end - f->top_size)
        return lsm_table_corrupt(t, footer_off, "the top index cannot be where the footer says");
    end = f->top_off;
    if (f->properties_size < LSM_SEAL_TRAILER_SIZE ||
        f->properties_size > end - LSM_TABLE_HEADER_SIZE ||
        f->properties_off != end - f->properties_size)
        return lsm_table_corrupt(t, footer_off, "the properties cannot be where the footer says");
    end = f->properties_off;
    if (f->range_delete_size == 0
            ? f->range_delete_off != 0
            : f->range_delete_size <= LSM_SEAL_TRAILER_SIZE ||
                  f->range_delete_size > end - LSM_TABLE_HEADER_SIZE ||
                  f->range_delete_off != end - f->range_delete_size)
        return lsm_table_corrupt(t, footer_off, "the range deletes cannot be where the footer says");
    return LSM_OK;
}

/* Where the partitions end. */
static uint64_t data_end(const struct lsm_table *t)
{
    return t->footer.range_delete_size ? t->footer.range_delete_off : t->footer.properties_off;
}

int lsm_table_read_ranges(struct lsm_table *t, struct lsm_ranges **ranges)
{
    const struct lsm_table_meta *m = t->meta;
    const uint64_t off = t->footer.range_delete_off;
    struct lsm_table_scratch s;
    struct lsm_slice payload;
    const struct lsm_range *first, *last;
    struct lsm_ranges *r;
    int rc;

    *ranges = NULL;
    if ((m->range_deletes == 0) != (t->footer.range_delete_size == 0))
        return lsm_table_corrupt(t, off, "the MANIFEST and the footer do not agree about range deletes");
    if (m->range_deletes == 0)
        return LSM_OK;
    lsm_table_scratch_init(&s, t->tables->os);
    rc = lsm_table_read(t, off, t->footer.range_delete_size, LSM_BLOCK_RANGE_DELETE, &s, &payload);
    if (rc == LSM_OK)
        rc = lsm_ranges_decode(t->tables->os, t->cmp, payload, t->name, off, &r);
    lsm_table_scratch_clear(&s);
    if (rc)
        return rc;
    first = &r->range[0];
    last = &r->range[r->count - 1];
    if (r->count != m->range_deletes)
        rc = lsm_table_corrupt(t, off, "the range deletes are not what the MANIFEST counts");
    else if (lsm_key_compare(t->cmp, first->lo, m->smallest) < 0 ||
             lsm_key_compare(t->cmp, lsm_range_last(t->cmp, last->hi), m->largest) > 0)
        rc = lsm_table_corrupt(t, off, "the range deletes are not within the table's keys");
    else if (r->seq_max > LSM_SEQ_MAX - m->seq_add)
        rc = lsm_table_corrupt(t, off, "the sequence added to the table is too large");
    if (rc)
        lsm_ranges_free(r);
    else
        *ranges = r;
    return rc;
}

const struct lsm_ranges *lsm_table_ranges(const struct lsm_table *t)
{
    return t->ranges;
}

/* A row of the top index: the partition begins at *at; *at becomes its end. */
static int decode_part(const struct lsm_table *t, struct lsm_slice value, uint64_t *at,
                       struct lsm_table_part *part)
{
    const uint64_t end = data_end(t);
    struct lsm_reader r = lsm_reader(value);

    part->index_off = lsm_read_varint(&r);
    part->index_size = lsm_read_varint32(&r);
    part->filter_off = lsm_read_varint(&r);
    part->filter_size = lsm_read_varint32(&r);
    part->blocks = lsm_read_varint(&r);
    part->entries = lsm_read_varint(&r);
    part->tombstones = lsm_read_varint(&r);
    part->seq_min = lsm_read_varint(&r);
    part->seq_max = lsm_read_varint(&r);
    part->data_off = *at;
    part->data_end = part->filter_size ? part->filter_off : part->index_off;
    if (r.bad || lsm_reader_left(&r) != 0)
        return lsm_table_corrupt(t, t->footer.top_off, "a row of the top index is malformed");
    if (part->index_off > end || part->index_size <= LSM_SEAL_TRAILER_SIZE ||
        part->index_size > end - part->index_off || part->data_end <= *at ||
        part->data_end > part->index_off)
        return lsm_table_corrupt(t, t->footer.top_off, "the top index names an index that cannot be there");
    if (part->filter_size ? part->filter_size < LSM_SEAL_TRAILER_SIZE ||
                            part->filter_size != part->index_off - part->filter_off
                          : part->filter_off != 0)
        return lsm_table_corrupt(t, t->footer.top_off, "the top index names a filter that cannot be there");
    if (part->entries < part->blocks || part->tombstones > part->entries ||
        part->seq_min > part->seq_max || part->seq_max > LSM_SEQ_MAX)
        return lsm_table_corrupt(t, t->footer.top_off, "the counts in the top index are impossible");
    if (part->seq_max > LSM_SEQ_MAX - t->meta->seq_add)
        return lsm_table_corrupt(t, t->footer.top_off, "the sequence added to the table is too large");
    *at = part->index_off + part->index_size;
    return LSM_OK;
}

static int open_top(struct lsm_table *t)
{
    struct lsm_os *os = t->tables->os;
    uint64_t at = LSM_TABLE_HEADER_SIZE;
    struct lsm_table_scratch s;
    struct lsm_slice payload;
    int rc;

    lsm_table_scratch_init(&s, os);
    rc = lsm_table_read(t, t->footer.top_off, t->footer.top_size, LSM_BLOCK_TOP_INDEX, &s,
                        &payload);
    if (rc == LSM_OK)
        rc = lsm_block_new(os, payload, t->cmp, t->name, t->footer.top_off, &t->top);
    lsm_table_scratch_clear(&s);
    if (rc)
        return rc;
    if (t->top->count) {
        t->parts = lsm_mem_zalloc(os, t->top->count * sizeof *t->parts);
        if (!t->parts)
            return lsm_nomem();
    }
    for (uint32_t i = 0; i < t->top->count && rc == LSM_OK; i++) {
        struct lsm_slice suffix, value;
        uint64_t tag;
        lsm_block_row(t->top, i, &suffix, &tag, &value);
        rc = decode_part(t, value, &at, &t->parts[i]);
    }
    if (rc == LSM_OK && at != data_end(t))
        rc = lsm_table_corrupt(t, at, "the top index does not cover the file");
    return rc;
}

int lsm_table_open(struct lsm_tables *ts, const struct lsm_table_meta *meta,
                   const struct lsm_comparator *cmp, struct lsm_table **table)
{
    struct lsm_os *os = ts->os;
    struct lsm_table *t = lsm_mem_zalloc(os, sizeof *t);
    int rc = LSM_OK, error;

    *table = NULL;
    if (!t)
        return lsm_nomem();
    t->tables = ts;
    t->cmp = cmp;
    atomic_init(&t->refs, 1);
    t->meta = lsm_table_meta_copy(os, meta);
    if (!t->meta) {
        lsm_mem_free(os, t);
        return lsm_nomem();
    }
    t->tag_add = meta->seq_add << 8;
    t->seed = lsm_seal_seed(ts->uuid, meta->number);
    lsm_filename(t->name, LSM_FILE_TABLE, meta->number);

    do {
        error = os->file_open(ts->dir, t->name, LSM_OPEN_READ, 0, &t->file);
    } while ((error == EMFILE || error == ENFILE) &&
             (lsm_tables_close_idle(ts, LSM_TABLES_CLOSE_AT_ONCE) > 0 || (ts->relief && ts->relief(ts->relief_ctx) > 0)));
    if (error) {
        t->file = NULL;
        rc = error == ENOENT ? lsm_table_corrupt(t, 0, "the file is missing")
                             : lsm_fail_os(error, "open", t->name);
    }
    if (t->file)
        atomic_fetch_add(&ts->open_count, 1);
    if (meta->seq_add > LSM_SEQ_MAX)
        rc = lsm_table_corrupt(t, 0, "the sequence added to the table is too large");
    if (rc == LSM_OK)
        rc = lsm_table_read_frame(t, &t->footer, &t->has_separators);
    if (rc == LSM_OK)
        rc = open_top(t);
    if (rc == LSM_OK)
        rc = lsm_table_read_ranges(t, &t->ranges);
    if (rc) {
        lsm_table_close(t);
        return rc;
    }
    t->memory = sizeof *t + sizeof *t->meta + meta->smallest.size + meta->largest.size +
                meta->refs.size + lsm_block_memory(t->top) + t->top->count * sizeof *t->parts +
                (t->ranges ? t->ranges->memory : 0);
    atomic_fetch_add(&ts->memory, t->memory);
    atomic_fetch_add(&ts->opens, 1);
    *table = t;
    return LSM_OK;
}

void lsm_table_close(struct lsm_table *t)
{
    struct lsm_tables *ts = t->tables;
    struct lsm_os *os = ts->os;

    for (uint32_t i = 0; t->parts && i < t->top->count; i++) {
        struct lsm_cache_entry *e = atomic_load(&t->parts[i].index_entry);
        if (e)
            atomic_fetch_sub(&ts->kept_bytes, lsm_table_index_memory(e->value));
        lsm_cache_unpin(ts->cache, e);
        e = atomic_load(&t->parts[i].filter_entry);
        if (e)
            atomic_fetch_sub(&ts->kept_bytes, lsm_table_filter_memory(e->value));
        lsm_cache_unpin(ts->cache, e);
    }
    if (atomic_load(&t->is_forgotten))
        lsm_cache_forget(ts->cache, t->meta->number);
    atomic_fetch_sub(&ts->memory, t->memory);
    lsm_mem_free(os, t->parts);
    lsm_ranges_free(t->ranges);
    lsm_block_free(t->top);
    if (t->file) {
        os->file_close(t->file);
        atomic_fetch_sub(&ts->open_count, 1);
    }
    lsm_mem_free(os, t->meta);
    lsm_mem_free(os, t);
}
