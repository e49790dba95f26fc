/*
 * part_meta.h -- what a table's properties say about its index partitions beyond the top index: what a compaction has
 * to know of one that it copies without looking at its rows.
 *
 *     part_metas := part_meta*                     one for each partition, in order
 *     part_meta  := raw_bytes:varint  older:varint  value_max:varint  refs:bytes (vlog_meta.h)
 */
#ifndef LSM_FORMAT_PART_META_H
#define LSM_FORMAT_PART_META_H

#include "lsm/util/buf.h"
#include "lsm/util/coding.h"

struct lsm_part_meta {
    uint64_t raw_bytes;         /* keys and values, uncompressed */
    uint64_t older;             /* rows behind one of the same key, in the partition */
    uint64_t value_max;         /* size of the largest value that stands in it */
    struct lsm_slice refs;      /* to value logs, encoded; borrowed */
};

void lsm_part_meta_encode(struct lsm_buf *out, const struct lsm_part_meta *meta);
/* The refs point into the reader's bytes. False: malformed. */
bool lsm_part_meta_decode(struct lsm_reader *r, struct lsm_part_meta *meta);

#endif
