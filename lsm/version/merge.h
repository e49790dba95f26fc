/*
 * merge.h -- k-way merge of iterators into one, by u64 prefixes, in both directions. One
 * source is handed through.
 *
 * Two sources may have the same row, of equal key and tag: a compaction that was
 * cut short leaves it in two levels (compaction/compact.h). Both are shown, the
 * one of the source with the lower index first and, on the way back, last; visible.h
 * passes over the second. A seek goes before all equal rows, seek_prev behind them.
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
    /* Make run i's of another run's iterator, which keeps its buffers; if it fails, it can only be
       closed. NULL: runs are opened anew. */
    int (*reopen)(void *ctx, uint32_t i, struct lsm_iter *it);
};
int lsm_level_iter_new(struct lsm_os *os, const struct lsm_level_source *source, struct lsm_iter **it);

#endif
