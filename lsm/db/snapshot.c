/*
 * snapshot.c -- states that are held. A list by sequence: few are open at a
 * time, and new ones are nearly always the newest.
 */
#include "lsm/db/db.h"

int lsm_snapshot_open_seq(struct lsm_db *db, uint64_t seq, struct lsm_snapshot **snapshot)
{
    struct lsm_snapshot *s = lsm_mem_zalloc(db->os, sizeof *s), *after = db->newest_snapshot;

    *snapshot = NULL;
    if (!s)
        return lsm_nomem();
    s->db = db;
    s->seq = seq;
    while (after && after->seq > seq)
        after = after->prev;
    s->prev = after;
    s->next = after ? after->next : db->oldest_snapshot;
    if (s->next)
        s->next->prev = s;
    else
        db->newest_snapshot = s;
    if (after)
        after->next = s;
    else
        db->oldest_snapshot = s;
    *snapshot = s;
    return LSM_OK;
}

int lsm_snapshot_open(struct lsm_db *db, struct lsm_snapshot **snapshot)
{
    int rc = lsm_db_usable(db);

    *snapshot = NULL;
    if (rc)
        return rc;
    lsm_db_lock(db);
    rc = lsm_snapshot_open_seq(db, atomic_load(&db->seq_published), snapshot);
    lsm_db_unlock(db);
    return rc;
}

/*
 * What a reader whose host shows `token` may see: everything before the first
 * row of the next joint transaction. History below the horizon may have lost
 * versions that this reader would need (R20).
 */
static int seq_of_token(struct lsm_db *db, const struct lsm_token *token, uint64_t *seq)
{
    for (uint32_t i = db->chain_count; i-- > 0;) {
        if (!lsm_token_equal(&db->chain[i].token, token))
            continue;
        if (i + 1 == db->chain_count) {
            *seq = atomic_load(&db->seq_published);
            return LSM_OK;
        }
        *seq = db->chain[i + 1].seq_begin - 1;
        if (*seq >= db->horizon)
            return LSM_OK;
        break;
    }
    return lsm_fail(LSM_CONFLICT, "%s: the state that this transaction began with is gone "
                                  "(end it and begin anew)", db->path);
}

int lsm_snapshot_open_at(struct lsm_db *db, const struct lsm_token *token, struct lsm_snapshot **snapshot)
{
    uint64_t seq = 0;
    int rc = lsm_db_usable(db);

    *snapshot = NULL;
    if (rc == LSM_OK)
        rc = lsm_chain_publish(db, token);
    if (rc)
        return rc;
    lsm_db_lock(db);
    rc = seq_of_token(db, token, &seq);
    if (rc == LSM_OK)
        rc = lsm_snapshot_open_seq(db, seq, snapshot);
    lsm_db_unlock(db);
    return rc;
}

void lsm_snapshot_close(struct lsm_snapshot *snapshot)
{
    if (!snapshot)
        return;
    struct lsm_db *db = snapshot->db;
    lsm_db_lock(db);
    if (snapshot->prev)
        snapshot->prev->next = snapshot->next;
    else
        db->oldest_snapshot = snapshot->next;
    if (snapshot->next)
        snapshot->next->prev = snapshot->prev;
    else
        db->newest_snapshot = snapshot->prev;
    if (db->drop_blocked) {
        db->drop_blocked = false;
        lsm_worker_wake(db);
    }
    lsm_db_unlock(db);
    lsm_mem_free(db->os, snapshot);
}

uint64_t lsm_snapshot_seq(const struct lsm_snapshot *snapshot)
{
    return snapshot->seq;
}

uint64_t lsm_db_seq_published(struct lsm_db *db)
{
    return atomic_load_explicit(&db->seq_published, memory_order_acquire);
}

bool lsm_db_has_snapshots(struct lsm_db *db)
{
    bool has;

    lsm_db_lock(db);
    has = db->oldest_snapshot != NULL;
    lsm_db_unlock(db);
    return has;
}

int lsm_snapshot_gather(struct lsm_db *db, uint64_t **seqs, size_t *count)
{
    size_t n = 0;

    for (struct lsm_snapshot *s = db->oldest_snapshot; s; s = s->next)
        n++;
    *seqs = lsm_mem_alloc(db->os, (n ? n : 1) * sizeof **seqs);
    if (!*seqs)
        return lsm_nomem();
    *count = 0;
    for (struct lsm_snapshot *s = db->oldest_snapshot; s; s = s->next)
        if (*count == 0 || (*seqs)[*count - 1] != s->seq)
            (*seqs)[(*count)++] = s->seq;
    /* From here on versions between these and the present go: nobody may begin to read there. */
    uint64_t now = atomic_load(&db->seq_published);
    if (db->horizon < now)
        db->horizon = now;
    return LSM_OK;
}
