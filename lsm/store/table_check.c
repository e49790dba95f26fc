/*
 * table_check.c -- read a whole table from its file, past the cache, and
 * compare everything that is written twice.
 *
 * What every read checks (sums, places, order, tiling; table.c) is checked by
 * reading; here come the counts, the filters, the properties and the meta.
 *
 * Threads: any.
 */
#include "lsm/format/filter.h"
#include "lsm/format/part_meta.h"
#include "lsm/format/vlog_meta.h"
#include "lsm/store/table_open.h"

struct totals {
    uint64_t entries, tombstones, raw_bytes, older, value_max, seq_min, seq_max;
};

struct check {
    struct lsm_table *table;
    struct lsm_table_scratch scratch;   /* of the blocks */
    struct lsm_table_scratch filter;    /* holds the partition's */
    struct lsm_slice filter_bytes;
    struct totals part, all;
    struct lsm_ranges *ranges;          /* as they stand in the file now */
    struct lsm_vlog_refs part_refs, refs;       /* of the rows */
    struct lsm_buf refs_encoded;
    struct lsm_buf before;              /* key of the row before */
    struct lsm_buf part_metas;          /* as they should be */
};

static int corrupt(const struct check *c, uint64_t off, const char *why)
{
    return lsm_corrupt(c->table->name, off, why);
}

static void totals_reset(struct totals *t)
{
    *t = (struct totals){ .seq_min = UINT64_MAX };
}

static void set_key(struct lsm_buf *buf, struct lsm_slice key)
{
    lsm_buf_reset(buf);
    lsm_buf_append_slice(buf, key);
}

static int check_block(struct check *c, const struct lsm_table_part *part,
                       const struct lsm_block *block)
{
    for (uint32_t i = 0; i < block->count; i++) {
        struct lsm_slice key, suffix, value;
        uint64_t tag, seq;
        int rc;

        lsm_block_row(block, i, &suffix, &tag, &value);
        rc = lsm_table_row_key(block, i, &c->scratch.key, &key, &tag);
        if (rc)
            return rc;
        seq = lsm_tag_seq(tag);
        c->part.entries++;
        c->part.tombstones += lsm_tag_kind(tag) == LSM_KIND_DELETE;
        c->part.raw_bytes += key.size + value.size;
        if (lsm_tag_kind(tag) == LSM_KIND_VLOG) {
            struct lsm_vlog_handle handle;
            if (!lsm_vlog_handle_decode(value, &handle))
                return corrupt(c, part->data_off, "a row is not a handle of a value");
            lsm_vlog_refs_add(&c->part_refs, handle.id, handle.size);
            if (c->part_refs.list.rc)
                return c->part_refs.list.rc;
        } else if (value.size > c->part.value_max) {
            c->part.value_max = value.size;
        }
        c->part.older += c->part.entries > 1 && lsm_key_compare(c->table->cmp, lsm_buf_slice(&c->before), key) == 0;
        set_key(&c->before, key);
        if (c->before.rc)
            return c->before.rc;
        if (seq < c->part.seq_min)
            c->part.seq_min = seq;
        if (seq > c->part.seq_max)
            c->part.seq_max = seq;
        if (part->filter_size && lsm_filter_is_possible(c->table->cmp) &&
            !lsm_filter_may_contain(c->filter_bytes, lsm_filter_key_hash(c->table->cmp, key)))
            return corrupt(c, part->filter_off, "a filter denies a key that is there");
    }
    return LSM_OK;
}

/* What the properties should say of it. */
static int add_part_meta(struct check *c)
{
    struct lsm_part_meta meta = { c->part.raw_bytes, c->part.older, c->part.value_max, { NULL, 0 } };

    lsm_buf_reset(&c->refs_encoded);
    lsm_vlog_refs_encode(&c->part_refs, &c->refs_encoded);
    meta.refs = lsm_buf_slice(&c->refs_encoded);
    lsm_part_meta_encode(&c->part_metas, &meta);
    lsm_vlog_refs_add_all(&c->refs, meta.refs);
    lsm_buf_reset(&c->part_refs.list);
    return c->refs_encoded.rc ? c->refs_encoded.rc : c->part_metas.rc ? c->part_metas.rc : c->refs.list.rc;
}

static int check_part(struct check *c, uint32_t p)
{
    struct lsm_table *t = c->table;
    const struct lsm_table_part *part = &t->parts[p];
    struct lsm_table_index *index;
    int rc = LSM_OK;

    totals_reset(&c->part);
    if (part->filter_size)
        rc = lsm_table_read(t, part->filter_off, part->filter_size, LSM_BLOCK_FILTER, &c->filter,
                            &c->filter_bytes);
    if (rc == LSM_OK)
        rc = lsm_table_read_index(t, p, &c->scratch, &index);
    if (rc)
        return rc;
    for (uint32_t b = 0; rc == LSM_OK && b < index->block->count; b++) {
        struct lsm_block *block;
        rc = lsm_table_read_data(t, p, index, b, &c->scratch, &block);
        if (rc == LSM_OK)
            rc = check_block(c, part, block);
        lsm_block_free(block);
    }
    lsm_table_index_free(index);
    if (rc)
        return rc;
    if (c->part.entries != part->entries || c->part.tombstones != part->tombstones ||
        c->part.seq_min != part->seq_min || c->part.seq_max != part->seq_max)
        return corrupt(c, part->index_off, "a partition's rows are not what the top index counts");
    rc = add_part_meta(c);
    if (rc)
        return rc;
    c->all.entries += c->part.entries;
    c->all.tombstones += c->part.tombstones;
    c->all.raw_bytes += c->part.raw_bytes;
    if (c->part.seq_min < c->all.seq_min)
        c->all.seq_min = c->part.seq_min;
    if (c->part.seq_max > c->all.seq_max)
        c->all.seq_max = c->part.seq_max;
    return LSM_OK;
}

static bool is_u64(struct lsm_slice value, uint64_t expected)
{
    return value.size == 8 && lsm_get_u64(value.data) == expected;
}

/* Every known property is there and right; unknown ones may stand between. */
static int check_properties(struct check *c, struct lsm_slice smallest, struct lsm_slice largest)
{
    const struct lsm_table *t = c->table;
    const uint64_t off = t->footer.properties_off;
    struct lsm_slice payload, name, value, last = { NULL, 0 };
    uint32_t known = 0, expected = 8u + (c->ranges != NULL) + (c->refs_encoded.size > 0);
    struct lsm_reader r;
    int rc = lsm_table_read(c->table, off, t->footer.properties_size, LSM_BLOCK_PROPERTIES,
                            &c->filter, &payload);

    if (rc)
        return rc;
    for (r = lsm_reader(payload); lsm_reader_left(&r) > 0 && !r.bad; last = name) {
        bool ok = true;
        name = lsm_read_bytes(&r);
        value = lsm_read_bytes(&r);
        if (r.bad || (last.data && lsm_slice_compare(last, name) >= 0))
            return corrupt(c, off, "the properties are malformed");
        known++;
        if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_COMPARATOR)))
            ok = lsm_slice_equal(value, lsm_slice_str(t->cmp ? t->cmp->name : ""));
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_ENTRIES)))
            ok = is_u64(value, c->all.entries);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_LARGEST)))
            ok = lsm_key_compare(t->cmp, value, largest) == 0;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_PARTS))) {
            ok = lsm_slice_equal(value, lsm_buf_slice(&c->part_metas));
            known--;                    /* an older version's table does not have it */
        } else if (c->ranges && lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_RANGE_DELETES)))
            ok = is_u64(value, c->ranges->count);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_RAW_BYTES)))
            ok = is_u64(value, c->all.raw_bytes);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_REFS)))
            ok = lsm_slice_equal(value, lsm_buf_slice(&c->refs_encoded));
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SEQ_MAX)))
            ok = is_u64(value, c->all.seq_max);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SEQ_MIN)))
            ok = is_u64(value, c->all.seq_min);
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_SMALLEST)))
            ok = lsm_key_compare(t->cmp, value, smallest) == 0;
        else if (lsm_slice_equal(name, lsm_slice_str(LSM_TABLE_TOMBSTONES)))
            ok = is_u64(value, c->all.tombstones);
        else
            known--;
        if (!ok)
            return corrupt(c, off, "the properties do not describe the rows");
    }
    if (r.bad || known != expected)
        return corrupt(c, off, "a property is missing");
    return LSM_OK;
}

/* Range deletes reach further than the rows. */
static int add_ranges(struct check *c, struct lsm_buf *first, struct lsm_buf *last)
{
    const struct lsm_ranges *r = c->ranges;
    const struct lsm_comparator *cmp = c->table->cmp;
    struct lsm_slice lo, hi;

    if (!r)
        return LSM_OK;
    lo = r->range[0].lo;
    hi = lsm_range_last(cmp, r->range[r->count - 1].hi);
    if (c->all.entries == 0 || lsm_key_compare(cmp, lo, lsm_buf_slice(first)) < 0)
        set_key(first, lo);
    if (c->all.entries == 0 || lsm_key_compare(cmp, hi, lsm_buf_slice(last)) > 0)
        set_key(last, hi);
    if (c->all.entries == 0 || r->seq_min < c->all.seq_min)
        c->all.seq_min = r->seq_min;
    if (r->seq_max > c->all.seq_max)
        c->all.seq_max = r->seq_max;
    return first->rc ? first->rc : last->rc;
}

static int end_key(struct check *c, bool is_last, struct lsm_buf *to)
{
    struct lsm_table *t = c->table;
    uint32_t p = is_last ? t->top->count - 1 : 0;
    struct lsm_table_index *index;
    struct lsm_block *block;
    struct lsm_slice key;
    uint64_t tag;
    int rc = lsm_table_read_index(t, p, &c->scratch, &index);

    if (rc)
        return rc;
    rc = lsm_table_read_data(t, p, index, is_last ? index->block->count - 1 : 0, &c->scratch, &block);
    if (rc == LSM_OK)
        rc = lsm_table_row_key(block, is_last ? block->count - 1 : 0, to, &key, &tag);
    lsm_block_free(block);
    lsm_table_index_free(index);
    return rc;
}

/* The keys of the first and last row; empty slices in an empty table. */
static int end_keys(struct check *c, struct lsm_buf *first, struct lsm_buf *last)
{
    int rc;

    if (c->table->top->count == 0)
        return LSM_OK;
    rc = end_key(c, false, first);
    return rc ? rc : end_key(c, true, last);
}

/* The meta's sequences have seq_add in them; those of an empty table say nothing. */
static int check_meta(const struct check *c, struct lsm_slice smallest, struct lsm_slice largest)
{
    const struct lsm_table_meta *m = c->table->meta;

    if (m->entries != c->all.entries || m->tombstones != c->all.tombstones ||
        m->raw_bytes != c->all.raw_bytes)
        return corrupt(c, 0, "the rows are not what the MANIFEST counts");
    if (!lsm_slice_equal(m->refs, lsm_buf_slice(&c->refs_encoded)))
        return corrupt(c, 0, "the rows do not refer to the values that the MANIFEST counts");
    if ((m->entries || m->range_deletes) &&
        (m->seq_min != c->all.seq_min + m->seq_add ||
         m->seq_max != c->all.seq_max + m->seq_add))
        return corrupt(c, 0, "the sequences are not what the MANIFEST says");
    if (lsm_key_compare(c->table->cmp, m->smallest, smallest) != 0 ||
        lsm_key_compare(c->table->cmp, m->largest, largest) != 0)
        return corrupt(c, 0, "the first or last key is not what the MANIFEST says");
    return LSM_OK;
}

/* The frame and the top index were read when the table was opened: they must still be there. */
static int check_frame(struct check *c)
{
    struct lsm_table *t = c->table;
    struct lsm_table_footer footer;
    struct lsm_slice payload;
    bool has_separators;
    int rc = lsm_table_read_frame(t, &footer, &has_separators);

    if (rc)
        return rc;
    if (footer.top_off != t->footer.top_off || footer.top_size != t->footer.top_size ||
        footer.properties_off != t->footer.properties_off ||
        footer.properties_size != t->footer.properties_size ||
        footer.range_delete_off != t->footer.range_delete_off ||
        footer.range_delete_size != t->footer.range_delete_size || has_separators != t->has_separators)
        return corrupt(c, 0, "the footer changed while the table was open");
    return lsm_table_read(t, footer.top_off, footer.top_size, LSM_BLOCK_TOP_INDEX, &c->scratch,
                          &payload);
}

int lsm_table_check(struct lsm_table *table)
{
    struct lsm_os *os = table->tables->os;
    struct check c = { .table = table };
    struct lsm_buf first, last;
    int rc;

    lsm_table_scratch_init(&c.scratch, os);
    lsm_table_scratch_init(&c.filter, os);
    lsm_buf_init(&first, os);
    lsm_buf_init(&last, os);
    totals_reset(&c.all);
    lsm_vlog_refs_init(&c.part_refs, os);
    lsm_vlog_refs_init(&c.refs, os);
    lsm_buf_init(&c.before, os);
    lsm_buf_init(&c.part_metas, os);
    lsm_buf_init(&c.refs_encoded, os);
    rc = check_frame(&c);
    for (uint32_t p = 0; rc == LSM_OK && p < table->top->count; p++)
        rc = check_part(&c, p);
    if (c.all.entries == 0)
        c.all.seq_min = 0;
    lsm_buf_reset(&c.refs_encoded);
    lsm_vlog_refs_encode(&c.refs, &c.refs_encoded);
    if (rc == LSM_OK)
        rc = c.refs_encoded.rc;
    if (rc == LSM_OK)
        rc = end_keys(&c, &first, &last);
    if (rc == LSM_OK)
        rc = lsm_table_read_ranges(table, &c.ranges);
    if (rc == LSM_OK)
        rc = add_ranges(&c, &first, &last);
    if (rc == LSM_OK)
        rc = check_properties(&c, lsm_buf_slice(&first), lsm_buf_slice(&last));
    if (rc == LSM_OK)
        rc = check_meta(&c, lsm_buf_slice(&first), lsm_buf_slice(&last));
    lsm_ranges_free(c.ranges);
    lsm_vlog_refs_clear(&c.part_refs);
    lsm_vlog_refs_clear(&c.refs);
    lsm_buf_clear(&c.before);
    lsm_buf_clear(&c.part_metas);
    lsm_buf_clear(&c.refs_encoded);
    lsm_buf_clear(&first);
    lsm_buf_clear(&last);
    lsm_table_scratch_clear(&c.scratch);
    lsm_table_scratch_clear(&c.filter);
    return rc;
}
