/*
 * dead.c -- a stretch of keys of a tree that is known to hold nothing but
 * tombstones: a queue's head. A seek into it goes to its end at once; without
 * that, looking at the head of a queue walks everything that was ever deleted in
 * front of it (20 us become milliseconds after 100,000 deletes).
 *
 *     dead [lo, hi) as of seq:  no reader at seq or later sees a row in it,
 *                               until a put into it is published
 *
 * A reader learns it by walking over many rows that it may not see. It may only
 * tell what it learned if nothing was being published when it began, nor has been
 * since: a put on its way looked only at the stretches that were known then. The
 * epoch says so: odd while something is published, two more afterwards.
 *
 * Threads: any; db->dead_mutex, innermost.
 */
#include "lsm/db/db.h"

#include <assert.h>

static bool is_inside(const struct lsm_tree *tree, struct lsm_slice key)
{
    const struct lsm_dead *d = &tree->dead;

    return lsm_key_compare(tree->cmp, key, lsm_buf_slice(&d->lo)) >= 0 &&
           lsm_key_compare(tree->cmp, key, lsm_buf_slice(&d->hi)) < 0;
}

uint64_t lsm_dead_epoch(const struct lsm_db *db)
{
    return atomic_load(&db->dead_epoch);
}

bool lsm_dead_skip(struct lsm_tree *tree, uint64_t seq, struct lsm_slice key, struct lsm_buf *lo,
                   struct lsm_buf *to)
{
    struct lsm_db *db = tree->db;
    struct lsm_dead *d = &tree->dead;
    bool skip = false;

    if (!atomic_load_explicit(&d->known, memory_order_relaxed))
        return false;
    db->os->mutex_lock(db->dead_mutex);
    if (atomic_load(&d->known) && seq >= d->seq && is_inside(tree, key)) {
        lsm_buf_reset(to);
        lsm_buf_append_slice(to, lsm_buf_slice(&d->hi));
        lsm_buf_reset(lo);
        lsm_buf_append_slice(lo, lsm_buf_slice(&d->lo));
        skip = to->rc == LSM_OK && lo->rc == LSM_OK;
    }
    db->os->mutex_unlock(db->dead_mutex);
    return skip;
}

void lsm_dead_learn(struct lsm_tree *tree, uint64_t epoch, uint64_t seq, struct lsm_slice lo,
                    struct lsm_slice hi)
{
    struct lsm_db *db = tree->db;
    struct lsm_dead *d = &tree->dead;

    db->os->mutex_lock(db->dead_mutex);
    /* An old snapshot says nothing about what was put since. */
    if (epoch % 2 == 0 && atomic_load(&db->dead_epoch) == epoch && seq == atomic_load(&db->seq_published)) {
        /* What was known and touches the new stretch stays known. */
        bool grows = atomic_load(&d->known) &&
                     lsm_key_compare(tree->cmp, lo, lsm_buf_slice(&d->hi)) <= 0 &&
                     lsm_key_compare(tree->cmp, lo, lsm_buf_slice(&d->lo)) >= 0;
        if (!grows) {
            lsm_buf_reset(&d->lo);
            lsm_buf_append_slice(&d->lo, lo);
        }
        if (!grows || lsm_key_compare(tree->cmp, hi, lsm_buf_slice(&d->hi)) > 0) {
            lsm_buf_reset(&d->hi);
            lsm_buf_append_slice(&d->hi, hi);
        }
        if (!grows || seq > d->seq)
            d->seq = seq;
        atomic_store(&d->known, d->lo.rc == LSM_OK && d->hi.rc == LSM_OK);
    }
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_publish(struct lsm_db *db, bool begins)
{
    assert(atomic_load(&db->dead_epoch) % 2 == (begins ? 0 : 1));
    (void)begins;
    /* Under the mutex: whoever learned before is seen by the puts that follow, whoever comes later sees
       the epoch. */
    db->os->mutex_lock(db->dead_mutex);
    atomic_fetch_add(&db->dead_epoch, 1);
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_put(struct lsm_tree *tree, struct lsm_slice key)
{
    struct lsm_db *db = tree->db;

    if (!atomic_load(&tree->dead.known))
        return;
    db->os->mutex_lock(db->dead_mutex);
    if (atomic_load(&tree->dead.known) && is_inside(tree, key))
        atomic_store(&tree->dead.known, false);
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_forget_all(struct lsm_db *db)
{
    for (uint32_t i = 0; i < db->tree_count; i++)
        atomic_store(&db->trees[i]->dead.known, false);
}

void lsm_dead_clear(struct lsm_tree *tree)
{
    lsm_buf_clear(&tree->dead.lo);
    lsm_buf_clear(&tree->dead.hi);
}
