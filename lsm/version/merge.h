/*
 * merge.h -- k-way merge of iterators into one: a loser tree over u64 prefixes
 * (Knuth 5.4.1), both directions. One source is handed through.
 *
 * Where equal key and tag come from two sources (a compaction was cut short after
 * a slice) both rows are shown, in either order; visible.h passes over the second.
 */
#ifndef LSM_VERSION_MERGE_H
#define LSM_VERSION_MERGE_H

#include "lsm/store/iter.h"
#include "lsm/util/status.h"

/* Takes ownership of the sources, also on failure. count 0 gives an empty iterator. */
int lsm_merge_new(struct lsm_os *os, const struct lsm_comparator *cmp, struct lsm_iter **sources,
                  size_t count, struct lsm_iter **it);

/* A level below 0 as one iterator: its runs one after the other, opened when they are reached. `open`
   opens run i; the caller keeps the level alive. */
struct lsm_level_source {
    void *ctx;
    int (*open)(void *ctx, uint32_t i, struct lsm_iter **it);
    /* First run whose largest key is >= key. */
    uint32_t (*find)(void *ctx, struct lsm_slice key);
    uint32_t count;
    void (*close)(void *ctx);           /* with the iterator, or if none is made; may be NULL */
};
int lsm_level_iter_new(struct lsm_os *os, const struct lsm_level_source *source, struct lsm_iter **it);

#endif
