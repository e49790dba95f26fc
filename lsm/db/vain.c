/*
 * vain.c -- reads that look into more runs than need be. A seek stands in every
 * run that covers its key; each but the oldest of them costs a block, or a walk
 * down a filter that does not help. Some of the seeks are counted where they went
 * through, each for LSM_LATENCY_SAMPLE; once they cost more than it takes to
 * rewrite the run, compaction/pick.c finds it due. In memory only: what was read before
 * the open says little of what will be.
 */
#include "lsm/db/db.h"

/* When the run may have become due, the worker is to look. */
static void charge(struct lsm_db *db, struct lsm_run *run, uint32_t reads)
{
    uint64_t before = atomic_fetch_add_explicit(&run->vain_reads, reads, memory_order_relaxed);
    uint64_t worth = run->meta.size_bytes / LSM_VAIN_READ_BYTES + 1;

    if (before / worth == (before + reads) / worth)
        return;
    lsm_db_lock(db);
    lsm_worker_wake(db);
    lsm_db_unlock(db);
}

static bool covers(const struct lsm_run *run, const struct lsm_comparator *cmp, struct lsm_slice key)
{
    return lsm_key_compare(cmp, run->meta.smallest, key) <= 0 && lsm_key_compare(cmp, run->meta.largest, key) >= 0;
}

void lsm_vain_seek(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                   struct lsm_slice key)
{
    const struct lsm_tree_version *tv = lsm_version_tree(version, tree->id);
    struct lsm_run *last = NULL;

    if (!atomic_load_explicit(&db->writing_begun, memory_order_relaxed))
        return;                 /* who only reads is not made a writer by that */
    for (uint32_t level = 0; tv && level < LSM_LEVEL_COUNT_MAX; level++) {
        const struct lsm_level *l = &tv->level[level];
        uint32_t at = level ? lsm_level_find(l, tree->cmp, key) : 0, end = level && at < l->count ? at + 1 : l->count;

        for (; at < end; at++) {
            if (!covers(l->runs[at], tree->cmp, key))
                continue;
            if (last)
                charge(db, last, LSM_LATENCY_SAMPLE);
            last = l->runs[at];
        }
    }
}
