/*
 * table_meta.c -- a table's description as bytes.
 *
 *     table_meta := number tree size_bytes raw_bytes entries tombstones range_deletes
 *                   seq_add seq_min seq_max created_us            (varints)
 *                   smallest:bytes largest:bytes refs:bytes (vlog_meta.h)
 *
 * Whether smallest <= largest is for the reader to check who knows the tree's
 * order (version.c).
 *
 * Threads: pure.
 */
#include <assert.h>

#include "lsm/format/table_meta.h"
#include "lsm/format/vlog_meta.h"

struct lsm_table_meta *lsm_table_meta_copy(struct lsm_os *os, const struct lsm_table_meta *meta)
{
    size_t keys = meta->smallest.size + meta->largest.size + meta->refs.size;
    struct lsm_table_meta *copy = lsm_mem_alloc(os, sizeof(*copy) + keys);
    uint8_t *p;

    if (!copy)
        return NULL;
    *copy = *meta;
    p = (uint8_t *)(copy + 1);
    if (meta->smallest.size)
        memcpy(p, meta->smallest.data, meta->smallest.size);
    copy->smallest.data = p;
    p += meta->smallest.size;
    if (meta->largest.size)
        memcpy(p, meta->largest.data, meta->largest.size);
    copy->largest.data = p;
    p += meta->largest.size;
    if (meta->refs.size)
        memcpy(p, meta->refs.data, meta->refs.size);
    copy->refs.data = p;
    return copy;
}

void lsm_table_meta_encode(struct lsm_buf *out, const struct lsm_table_meta *meta)
{
    assert(meta->smallest.size <= LSM_KEY_SIZE_MAX);
    assert(meta->largest.size <= LSM_KEY_SIZE_MAX);
    assert(meta->seq_add <= LSM_SEQ_MAX);
    assert(meta->seq_min <= meta->seq_max);
    assert(meta->seq_max <= LSM_SEQ_MAX);

    lsm_buf_put_varint(out, meta->number);
    lsm_buf_put_varint(out, meta->tree);
    lsm_buf_put_varint(out, meta->size_bytes);
    lsm_buf_put_varint(out, meta->raw_bytes);
    lsm_buf_put_varint(out, meta->entries);
    lsm_buf_put_varint(out, meta->tombstones);
    lsm_buf_put_varint(out, meta->range_deletes);
    lsm_buf_put_varint(out, meta->seq_add);
    lsm_buf_put_varint(out, meta->seq_min);
    lsm_buf_put_varint(out, meta->seq_max);
    lsm_buf_put_varint(out, meta->created_us);
    lsm_buf_put_bytes(out, meta->smallest);
    lsm_buf_put_bytes(out, meta->largest);
    lsm_buf_put_bytes(out, meta->refs);
}

bool lsm_table_meta_decode(struct lsm_reader *r, struct lsm_table_meta *meta)
{
    meta->number = lsm_read_varint(r);
    meta->tree = lsm_read_varint32(r);
    meta->size_bytes = lsm_read_varint(r);
    meta->raw_bytes = lsm_read_varint(r);
    meta->entries = lsm_read_varint(r);
    meta->tombstones = lsm_read_varint(r);
    meta->range_deletes = lsm_read_varint(r);
    meta->seq_add = lsm_read_varint(r);
    meta->seq_min = lsm_read_varint(r);
    meta->seq_max = lsm_read_varint(r);
    meta->created_us = lsm_read_varint(r);
    meta->smallest = lsm_read_bytes(r);
    meta->largest = lsm_read_bytes(r);
    meta->refs = lsm_read_bytes(r);
    meta->superseded = 0;

    if (meta->smallest.size > LSM_KEY_SIZE_MAX || meta->largest.size > LSM_KEY_SIZE_MAX ||
        meta->seq_add > LSM_SEQ_MAX || meta->seq_max > LSM_SEQ_MAX ||
        meta->seq_min > meta->seq_max || !lsm_vlog_refs_are_good(meta->refs))
        r->bad = true;
    return !r->bad;
}
