/*
 * part_meta.c -- a partition's description as bytes.
 *
 * Threads: pure.
 */
#include "lsm/format/part_meta.h"

#include "lsm/format/vlog_meta.h"

void lsm_part_meta_encode(struct lsm_buf *out, const struct lsm_part_meta *meta)
{
    lsm_buf_put_varint(out, meta->raw_bytes);
    lsm_buf_put_varint(out, meta->older);
    lsm_buf_put_varint(out, meta->value_max);
    lsm_buf_put_bytes(out, meta->refs);
}

bool lsm_part_meta_decode(struct lsm_reader *r, struct lsm_part_meta *meta)
{
    meta->raw_bytes = lsm_read_varint(r);
    meta->older = lsm_read_varint(r);
    meta->value_max = lsm_read_varint(r);
    meta->refs = lsm_read_bytes(r);
    if (!r->bad && !lsm_vlog_refs_are_good(meta->refs))
        r->bad = true;
    return !r->bad;
}
