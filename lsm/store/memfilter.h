/*
 * memfilter.h -- which keys may be in a memtable: a blocked Bloom filter that
 * grows with it in place. A get that misses costs one cache line here instead of
 * a descent through a tree that is larger than the caches (10 ns against 500).
 *
 * Of a fixed size; with more keys than planned it only says "maybe" more often.
 *
 * Threads: one adder at a time, readers at the same time. A key is found by
 * whoever learned of its row through a later release store (seq_published).
 */
#ifndef LSM_STORE_MEMFILTER_H
#define LSM_STORE_MEMFILTER_H

#include <stdatomic.h>

#include "lsm/util/status.h"

struct lsm_memfilter {
    struct lsm_os *os;
    void *memory;
    _Atomic uint64_t *words;    /* lines of eight, each on a cache line */
    uint32_t line_count;
};

/* About `bytes` of memory, at least one line. */
int lsm_memfilter_init(struct lsm_memfilter *f, struct lsm_os *os, size_t bytes);
void lsm_memfilter_clear(struct lsm_memfilter *f);      /* zeroed is fine */

/* hash: lsm_filter_hash of the key; the tree is mixed in. */
void lsm_memfilter_add(struct lsm_memfilter *f, uint32_t tree, uint64_t hash);
/* Fetch the line that a look for this key, or adding it, will touch. */
void lsm_memfilter_fetch(const struct lsm_memfilter *f, uint32_t tree, uint64_t hash);
/* False: no such key was added. A filter that was not made says true. */
bool lsm_memfilter_may_contain(const struct lsm_memfilter *f, uint32_t tree, uint64_t hash);

#endif
