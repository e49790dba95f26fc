/*
 * memrange.h -- the range deletes of one tree in a memtable, as every reader
 * sees them: for each sequence an immutable map from keys to the newest delete
 * that covers them. The memtable is memtable.h, and nobody else includes this.
 *
 *     map of 9    a:5   c:9   f:5   m:0    [a m)@5, then [c f)@9: from `a` on 5, from `c` on 9 ...
 *     map of 5    a:5               m:0
 *
 * A map is a treap; a new one shares all but the way to what it changes with
 * the one before. What a delete covers of older ones leaves the map, so that it
 * is never larger than twice the deletes, however they overlap.
 *
 * Threads: one writer; readers never write, wait or try again.
 */
#ifndef LSM_STORE_MEMRANGE_H
#define LSM_STORE_MEMRANGE_H

#include "lsm/format/ranges.h"
#include "lsm/store/memtree.h"

/* Take in the row [key, value)@seq, which is written; its seq is above all that are there. False: no
   memory; nothing changed. */
bool lsm_memrange_add(struct lsm_memspace *space, struct lsm_memtree *tree,
                      const struct lsm_comparator *cmp, uint32_t row, uint64_t seq);

/* Forget all deletes of seq and later: they were undone. */
void lsm_memrange_cut(struct lsm_memspace *space, struct lsm_memtree *tree, uint64_t seq);

/* What holds at `key` for who sees up to seq_max. */
void lsm_memrange_at(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                     const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                     struct lsm_stretch *stretch);

uint32_t lsm_memrange_count(const struct lsm_memspace *space, const struct lsm_memtree *tree);
/* Row of the i-th delete, in the order they were added. */
uint32_t lsm_memrange_row(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          uint32_t i);

#endif
