/*
 * vain.c -- reads that look into more runs than need be. A seek stands in every
 * run that covers its key; each but the oldest costs it a block. A get asks the
 * filters of all runs down to the one that has the key, and a scan merges them. Some
 * reads are counted at the runs that they went through, and once these cost
 * more than it takes to rewrite them, compaction/pick.c finds them due. So level 0
 * may be deep while it is only written to. In memory only: what was read before the
 * open says little of what will be.
 *
 * The unit is a run that a seek stands in (2.4 us). By what they cost beside it (a
 * run that a get asks 0.25 us, a row of a merge some 20 ns more a run):
 */
#include "lsm/db/db.h"

#include "lsm/format/filter.h"

#define GET_SHARE 8u            /* so many gets, */
#define SCAN_SHARE 64u          /* so many rows of scans */

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

/* All that cover the key but the oldest. */
static void charge_all(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                       struct lsm_slice key, uint32_t reads)
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
                charge(db, last, reads);
            last = l->runs[at];
        }
    }
}

void lsm_vain_seek(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                   struct lsm_slice key)
{
    charge_all(db, version, tree, key, LSM_LATENCY_SAMPLE);
}

void lsm_vain_scan(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                   struct lsm_slice key)
{
    charge_all(db, version, tree, key, LSM_SCAN_SAMPLE / SCAN_SHARE);
}

void lsm_vain_get(struct lsm_db *db, const struct lsm_tree *tree, struct lsm_run *run)
{
    bool has_filter = tree->filter_bits && lsm_filter_is_possible(tree->cmp);

    if (atomic_load_explicit(&db->writing_begun, memory_order_relaxed))
        charge(db, run, has_filter ? LSM_LATENCY_SAMPLE / GET_SHARE : LSM_LATENCY_SAMPLE);
}
