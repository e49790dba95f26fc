/*
 * batch.h -- a transaction's private writes: a memtable whose rows are numbered
 * from 1 (op numbers, used as seq), with positions to go back to.
 *
 * Going back turns rows VOID in place; runs of void rows are remembered, so
 * that going back again and again to the same position stays linear.
 *
 * Threads: one at a time; iterators of it may be used by their own thread after
 * the batch was published (rows stay).
 */
#ifndef LSM_STORE_BATCH_H
#define LSM_STORE_BATCH_H

#include "lsm/format/record.h"
#include "lsm/store/memtable.h"

#define LSM_BATCH_STEP 16u

struct lsm_batch {
    struct lsm_os *os;
    struct lsm_memtable *mem;   /* allocated with the first row */
    uint64_t op_first;          /* number of the first op in mem: above 1 after a spill */
    uint64_t op_next;           /* number of the next op */
    uint64_t live_count;        /* ops in mem not void */
    uint64_t live_bytes;        /* of their encoded form, about */
    struct lsm_batch_void *void_runs;   /* ascending, disjoint, merged */
    uint32_t void_count, void_cap;
    uint32_t *steps;            /* for every LSM_BATCH_STEP-th op the row before it: to find ops */
    uint32_t step_count, step_cap;
    uint64_t rows_visited;      /* by rollbacks and lsm_batch_rows: their cost */
};

void lsm_batch_init(struct lsm_batch *batch, struct lsm_os *os);
void lsm_batch_clear(struct lsm_batch *batch);          /* frees; usable again */
/* Start anew with op_first; keeps small memory unless someone else holds the memtable. */
void lsm_batch_reset(struct lsm_batch *batch, uint64_t op_first);

int lsm_batch_add(struct lsm_batch *batch, enum lsm_kind kind, uint32_t tree,
                  const struct lsm_comparator *cmp, struct lsm_slice key, struct lsm_slice value);

/* A PUT, unless the batch has, or had, a row of the key: then LSM_EXISTS, and it is as it was. */
int lsm_batch_add_first(struct lsm_batch *batch, uint32_t tree, const struct lsm_comparator *cmp,
                        struct lsm_slice key, struct lsm_slice value);

/* A position: the number of the next op. */
static inline uint64_t lsm_batch_mark(const struct lsm_batch *batch) { return batch->op_next; }
/* Undo every op with number >= mark; a mark below op_first undoes all that is here. Cannot fail
   (void runs are reserved by add). Op numbers are not used again. */
void lsm_batch_rollback(struct lsm_batch *batch, uint64_t mark);
/* Undo every op of one tree. */
void lsm_batch_discard_tree(struct lsm_batch *batch, uint32_t tree);
/* Has the batch a live op of this tree? */
bool lsm_batch_has_tree(const struct lsm_batch *batch, uint32_t tree);

/* Append the live ops of one tree with numbers in [from, to), ascending, as struct lsm_memtable_row. The
   buffer latches errors. */
void lsm_batch_rows(struct lsm_batch *batch, uint32_t tree, uint64_t from, uint64_t to,
                    struct lsm_buf *rows);

/* Append the live ops, in order, as record ops; *count is how many. Ops are renumbered from
   op_first on in this order when the record is read back, so numbers of the encoded form may be
   smaller than here: only their order counts. */
void lsm_batch_encode(const struct lsm_batch *batch, struct lsm_buf *out, uint32_t *count);
uint64_t lsm_batch_bytes(const struct lsm_batch *batch);        /* memory held */

#endif
