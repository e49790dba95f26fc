/*
 * table_meta.h -- what the MANIFEST and the adoption of a private table say
 * about one table file.
 */
#ifndef LSM_FORMAT_TABLE_META_H
#define LSM_FORMAT_TABLE_META_H

#include "lsm/format/ikey.h"
#include "lsm/util/buf.h"

struct lsm_table_meta {
    uint64_t number;            /* of the file */
    uint32_t tree;
    uint64_t size_bytes;        /* of the file */
    uint64_t raw_bytes;         /* keys and values, uncompressed */
    uint64_t entries, tombstones, range_deletes;
    /* Added to the seq of every row in the file: rows of a private table are numbered from 1 and
       get their place when the transaction is published. seq_min and seq_max have it added already. */
    uint64_t seq_add;
    uint64_t seq_min, seq_max;
    uint64_t created_us;        /* wall clock, for the age */
    struct lsm_slice smallest, largest;     /* user keys; owned by whoever owns the struct */
    struct lsm_slice refs;      /* to value logs (vlog_meta.h), encoded; owned as the keys are */
    uint64_t superseded;        /* rows with a newer one of the same key in the file: some snapshot saw them. Not
                                   encoded here, but by the MANIFEST (version/edit.c); 0 where nobody counted */
};

/* A copy whose keys live in the same allocation: lsm_mem_free frees it. NULL: no memory. */
struct lsm_table_meta *lsm_table_meta_copy(struct lsm_os *os, const struct lsm_table_meta *meta);
void lsm_table_meta_encode(struct lsm_buf *out, const struct lsm_table_meta *meta);
/* The keys point into the reader's bytes. False: malformed. */
bool lsm_table_meta_decode(struct lsm_reader *r, struct lsm_table_meta *meta);

#endif
