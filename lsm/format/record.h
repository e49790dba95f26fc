/*
 * record.h -- one transaction record as it stands in the log, in a redo row and
 * nowhere else. What the fields mean is commit.md's: R1, R2, R12.
 *
 *     record  := type:u8  flags:u8  zero:u16  op_count:u32
 *                txid:u64  hash[16]  nonce:u64
 *                [base token]  [decided token]  [floor token]      (txid:u64 hash[16] each)
 *                adopted_count:varint  adopted*
 *     adopted := table_meta                                  a private table of a large transaction
 *                [count:varint vlog_meta*]                   and the value logs that come with it
 *                op_first:varint  op*
 *     op      := kind:u8  tree:varint  key:bytes  value:bytes (no value for DELETE)
 *     brief   := type:u8 (SOLO)  flags:u8 (all four)  sum:u64  op_count:varint  txid:varint  op*
 *                a record without a host: its tokens are zero, nobody else names it, it adopts nothing;
 *                its hash is the sum and eight zeros, and it has no nonce
 *     flags    = BASE_ZERO, DECIDED_BASE (decided is base), FLOOR_DECIDED: that token is left
 *                out; each is set whenever it is true. VLOGS: adopted tables have what stands in
 *                brackets; else they bring no value logs. BRIEF
 *     ABORT   :  txid and hash name the SOLO that it takes back; no ops
 *     hash     = XXH3-128 over everything behind it, seeded by the store's uuid and everything
 *                before it (type, flags, zero, op_count, txid)
 *     sum      = XXH3 over everything behind it, seeded by the uuid, type and flags
 *
 * The n-th op (from 1, adopted tables' op numbers included) gets sequence
 * base_seq + its number when the record is published; op numbers run over
 * adopted tables first.
 */
#ifndef LSM_FORMAT_RECORD_H
#define LSM_FORMAT_RECORD_H

#include "lsm/format/table_meta.h"
#include "lsm/format/vlog_meta.h"

#define LSM_TXID_MAX (UINT64_C(1) << 62)        /* that is read: counted on from there, none comes to an end */

enum lsm_record_type { LSM_RECORD_SOLO = 1, LSM_RECORD_JOINT = 2, LSM_RECORD_ABORT = 3 };

#define LSM_RECORD_BASE_ZERO 1u         /* flags */
#define LSM_RECORD_DECIDED_BASE 2u
#define LSM_RECORD_FLOOR_DECIDED 4u
#define LSM_RECORD_BRIEF 8u
#define LSM_RECORD_VLOGS 16u
#define LSM_RECORD_SIZE_MIN 42u         /* a record without tokens, tables and ops, that is not brief */

static inline bool lsm_token_equal(const struct lsm_token *a, const struct lsm_token *b)
{
    return a->txid == b->txid && memcmp(a->hash, b->hash, 16) == 0;
}

struct lsm_record {
    uint8_t type;
    bool is_brief;              /* to be written so where its fields allow it: encode clears it if not */
    uint32_t op_count;          /* in `ops` */
    uint64_t nonce;             /* fresh for every record */
    struct lsm_token id;        /* this record (ABORT: the one it takes back) */
    struct lsm_token base;      /* the token as read under the write lock; a JOINT's prev */
    struct lsm_token decided;   /* newest that the store knew to be decided */
    struct lsm_token floor;     /* newest that the store knew to be settled */
    uint64_t op_first;          /* number of the first op in `ops`, above every adopted seq_max;
                                   1 without adopted tables (encode takes 0 for it) */
    struct lsm_slice adopted;   /* encoded (lsm_record_put_adopted), adopted_count of them */
    uint32_t adopted_count;
    bool adopts_vlogs;          /* flag VLOGS */
    struct lsm_slice ops;       /* encoded ops */
    uint32_t tree_max;          /* set by decode: the largest id of a tree that ops and adopted tables have; 0: none */
    /* When set, encode asks it for the ops instead, of about ops_size bytes. */
    void (*put_ops)(void *ctx, struct lsm_buf *out);
    void *put_ops_ctx;
    uint64_t ops_size;
};

/* Append the record to `out` and set rec->id.hash and rec->is_brief. ABORT keeps the id it is given. */
void lsm_record_encode(struct lsm_buf *out, struct lsm_record *rec, const uint8_t uuid[16]);

/* Slices point into `bytes`. Checks form, every op and the hash (ABORT has none of its own); false:
   not a record of this store. */
bool lsm_record_decode(struct lsm_slice bytes, const uint8_t uuid[16], struct lsm_record *rec);
/* One more for rec->adopted. Without rec->adopts_vlogs, vlog_count is 0. */
void lsm_record_put_adopted(struct lsm_buf *out, const struct lsm_record *rec, const struct lsm_table_meta *meta,
                            const struct lsm_vlog_meta *vlogs, uint32_t vlog_count);
/* The next of rec->adopted, which `r` goes through; *meta's slices point into it. Then *vlog_count calls of
   lsm_vlog_meta_decode give its value logs; whoever does not want them passes NULL. LSM_CORRUPT. */
int lsm_record_next_adopted(struct lsm_reader *r, const struct lsm_record *rec, struct lsm_table_meta *meta,
                            uint32_t *vlog_count);

void lsm_op_encode(struct lsm_buf *out, enum lsm_kind kind, uint32_t tree, struct lsm_slice key,
                   struct lsm_slice value);
/* False: malformed; check lsm_reader_left() == 0 for the end. */
bool lsm_op_decode(struct lsm_reader *r, enum lsm_kind *kind, uint32_t *tree, struct lsm_slice *key,
                   struct lsm_slice *value);

#endif
