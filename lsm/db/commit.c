/*
 * commit.c -- commits of a store without a host: any number of threads, one
 * append and one sync for all that wait.
 *
 *     thread A   put  lead: [append A  sync]            lead: [append D ...
 *     thread B     put  wait.................[led by C]
 *     thread C      put  wait... lead: [append B C  sync  publish]
 *     thread D               put  wait.......................
 *
 * Whoever finds nobody leading leads: it takes the log slot, then everybody who
 * waits, appends their records, syncs once if one of them asked, and publishes
 * them in the order of the log, all within the slot. So nobody sees a row whose
 * record is not as durable as its writer asked, and a flush, which needs the
 * slot, never stands between a record and its rows.
 *
 * One row that meets nobody, and is not synced, needs nothing of this: single.c.
 *
 * A failed write or sync is everybody's: the state of the log is unknown, none of
 * the group is published, and a fresh log begins without them. Where that cannot
 * be made the log is cut; where that fails, too, the store becomes read-only.
 */
#include "lsm/db/db.h"

#include <assert.h>

#define GROUP_BYTES_MAX (UINT64_C(4) << 20)     /* then the next group begins: nobody waits for long */
#define SOLO_WAIT_US 100000u    /* for a transaction that was prepared by hand */
#define GATHER_US_MAX 200u

struct lsm_commit {             /* on the stack of the thread that waits for it */
    struct lsm_txn *txn;
    struct lsm_prepared *prepared;      /* in the log, to be published */
    struct lsm_commit *next;
    bool sync, done;
    int rc;
    char why[LSM_ERROR_TEXT_SIZE];      /* the leader's error is its own thread's */
};

static void fail_member(struct lsm_commit *m, int rc)
{
    m->rc = rc;
    lsm_error_save(m->why, sizeof m->why);
}

/* Append one record. A failure that leaves the log intact is this member's own. */
static int append_member(struct lsm_db *db, struct lsm_commit *m)
{
    struct lsm_record rec = { .type = LSM_RECORD_SOLO, .is_brief = true, .base = m->txn->base };
    struct lsm_prepared *prep = lsm_txn_prepared_new(m->txn);
    struct lsm_buf adopted;
    int rc;

    if (!prep)
        return lsm_nomem();
    lsm_buf_init(&adopted, db->os);
    lsm_txn_encode(m->txn, prep, &adopted, &rec);
    rc = adopted.rc;
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        rec.id.txid = ++db->txid_max;
        rec.decided = db->decided;
        rec.floor = db->floor;
        lsm_db_unlock(db);
        rc = lsm_write_append(db, &rec, false);
    }
    lsm_buf_clear(&adopted);
    if (rc) {
        lsm_prepared_free(db->os, prep);
        return rc;
    }
    prep->type = rec.type;
    prep->id = rec.id;
    m->prepared = prep;
    return LSM_OK;
}

bool lsm_commit_undo(struct lsm_db *db, uint64_t first_txid, const struct lsm_log_end *before, int why_rc)
{
    char why[LSM_ERROR_TEXT_SIZE];
    int rc;

    lsm_error_save(why, sizeof why);
    lsm_db_lock(db);
    db->undo_first = first_txid;
    db->undo_last = db->txid_max;
    lsm_db_unlock(db);
    rc = lsm_write_ready(db);
    lsm_room_take_back(db);
    if (rc)
        rc = lsm_log_cut(&db->log, before->size, before->chain);
    if (rc) {
        char text[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(text, sizeof text);
        lsm_db_set_health(db, LSM_HEALTH_READ_ONLY, rc, text);
    }
    lsm_fail(why_rc, "%s", why);
    return rc != LSM_OK;
}

static void fail_group(struct lsm_db *db, struct lsm_commit *group, int rc, bool may_live)
{
    for (struct lsm_commit *m = group; m; m = m->next) {
        if (m->rc == LSM_OK)
            fail_member(m, rc);
        m->txn->keep_files = may_live;
        lsm_prepared_free(db->os, m->prepared);
        m->prepared = NULL;
    }
}

static void publish_group(struct lsm_db *db, struct lsm_commit *group)
{
    uint64_t count = 0;

    db->os->mutex_lock(db->publish);
    for (struct lsm_commit *m = group; m; m = m->next) {
        if (!m->prepared)
            continue;
        (void)lsm_write_active_locked(db);      /* no memory: it becomes a unit of its own */
        lsm_chain_publish_one(db, m->prepared);
        count++;
    }
    db->os->mutex_unlock(db->publish);
    atomic_fetch_add_explicit(&db->counters.commits_solo, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.commit_groups, 1, memory_order_relaxed);
    for (struct lsm_commit *m = group; m; m = m->next) {
        lsm_prepared_free(db->os, m->prepared);
        m->prepared = NULL;
    }
}

/* Log slot held. */
static void commit_group(struct lsm_db *db, struct lsm_commit *group)
{
    struct lsm_log_end before;
    uint64_t first_txid;
    bool sync = false;
    int rc = lsm_db_writable(db);

    if (rc == LSM_OK)
        rc = lsm_write_ready(db);
    if (rc == LSM_OK)
        rc = lsm_write_active(db);
    if (rc) {
        fail_group(db, group, rc, false);
        return;
    }
    before = lsm_log_end(&db->log);
    lsm_db_lock(db);
    first_txid = db->txid_max + 1;
    lsm_db_unlock(db);
    for (struct lsm_commit *m = group; m; m = m->next)
        sync |= m->sync;
    if (sync)                   /* before the records, so that they tell that there is no hole */
        rc = lsm_write_sync_before(db);
    sync = false;
    for (struct lsm_commit *m = group; m && !db->log.failed; m = m->next) {
        rc = append_member(db, m);
        if (rc)
            fail_member(m, rc);
        else
            sync |= m->sync;
    }
    if (!db->log.failed && sync) {
        uint64_t begun = db->os->mono_us(db->os);
        rc = lsm_write_sync(db);
        db->commit_sync_us = db->os->mono_us(db->os) - begun;
    }
    if (db->log.failed) {
        fail_group(db, group, rc, lsm_commit_undo(db, first_txid, &before, rc));
        return;
    }
    publish_group(db, group);
}

/* The waiting ones, the first at least. Mutex held. */
static struct lsm_commit *take_group(struct lsm_db *db)
{
    struct lsm_commit *group = db->commit_first, **end = &group;
    uint64_t bytes = 0;

    db->commit_expected = 0;
    while (*end && (end == &group || bytes < GROUP_BYTES_MAX)) {
        bytes += lsm_batch_bytes(&(*end)->txn->batch);
        end = &(*end)->next;
        db->commit_expected++;
    }
    db->commit_count -= db->commit_expected;
    db->commit_first = *end;
    if (!*end)
        db->commit_last = &db->commit_first;
    *end = NULL;
    return group;
}

/*
 * The threads of the last group were woken a moment ago and may be about to come
 * with their next writes: half a sync's time for them costs less than a sync of
 * their own. Mutex held.
 */
static void gather(struct lsm_db *db)
{
    uint64_t wait = db->commit_sync_us / 2, until;

    if (db->commit_count >= db->commit_expected || !db->commit_first->sync)
        return;
    wait = wait < GATHER_US_MAX ? wait : GATHER_US_MAX;
    until = db->os->mono_us(db->os) + wait;
    db->commit_gathering = true;
    while (db->commit_count < db->commit_expected) {
        uint64_t now = db->os->mono_us(db->os);
        if (now >= until)
            break;
        db->os->cond_wait_us(db->committed, db->mutex, until - now);
    }
    db->commit_gathering = false;
}

/* Mutex held; released meanwhile. */
static void lead(struct lsm_db *db)
{
    struct lsm_commit *group;
    uint64_t until = 0;
    bool busy;

    db->commit_led = true;
    lsm_write_slot_take(db);
    while (db->solo_in_flight) {        /* its record is in the log already: its rows come first */
        uint64_t now = db->os->mono_us(db->os);
        if (!until)
            until = now + SOLO_WAIT_US;
        else if (now >= until)
            break;
        lsm_write_slot_give(db);
        db->os->cond_wait_us(db->changed, db->mutex, SOLO_WAIT_US);
        lsm_write_slot_take(db);
    }
    busy = db->solo_in_flight != NULL;
    gather(db);
    group = take_group(db);
    lsm_db_unlock(db);
    if (busy)
        fail_group(db, group, lsm_fail(LSM_BUSY, "%s: a prepared transaction has not reached its commit or "
                                                 "abort", db->path), false);
    else
        commit_group(db, group);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    while (group) {
        struct lsm_commit *next = group->next;  /* done: its thread may go, and its stack with it */
        group->done = true;
        group = next;
    }
    db->commit_led = false;
    db->os->cond_broadcast(db->committed);
}

/* A transaction that was prepared by hand before. */
static int commit_prepared(struct lsm_txn *txn, bool sync)
{
    struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = sync };
    struct lsm_token token;
    int rc = lsm_txn_prepare(txn, &how, &token);

    if (rc == LSM_OK)
        lsm_txn_commit(txn, true);
    return rc;
}

int lsm_txn_commit_alone(struct lsm_txn *txn, bool sync)
{
    struct lsm_db *db = txn->db;
    struct lsm_commit me = { .txn = txn, .sync = sync };
    uint64_t begun = db->os->mono_us(db->os);

    if (db->has_host)
        return lsm_fail(LSM_MISUSE, "%s: the host decides its transactions", db->path);
    me.rc = lsm_db_usable(db);
    if (me.rc == LSM_OK)
        me.rc = lsm_txn_trim(txn);
    if (me.rc) {
        lsm_error_save(me.why, sizeof me.why);
    } else if (txn->prepared) {
        me.rc = commit_prepared(txn, sync);
        if (me.rc == LSM_OK)
            return LSM_OK;
        lsm_error_save(me.why, sizeof me.why);
    } else if (!lsm_txn_is_empty(txn)) {
        lsm_db_lock(db);
        *db->commit_last = &me;
        db->commit_last = &me.next;
        if (++db->commit_count >= db->commit_expected && db->commit_gathering)
            db->os->cond_broadcast(db->committed);
        while (!me.done)
            if (db->commit_led)
                db->os->cond_wait(db->committed, db->mutex);
            else
                lead(db);
        lsm_db_unlock(db);
    }
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_COMMIT], db->os->mono_us(db->os) - begun);
    if (me.rc == LSM_OK) {
        lsm_txn_free(txn);
        return LSM_OK;
    }
    lsm_txn_abort(txn);
    return lsm_fail(me.rc, "%s", me.why);
}

/* value: of a RANGE_DELETE its end. */
static int commit_one(struct lsm_db *db, struct lsm_tree *tree, enum lsm_kind kind, struct lsm_slice key,
                      struct lsm_slice value, bool sync)
{
    struct lsm_txn *txn;
    int rc = sync || kind == LSM_KIND_RANGE_DELETE ? LSM_DONE : lsm_single_write(db, tree, kind, key, value);

    if (rc != LSM_DONE)
        return rc;
    rc = lsm_txn_begin(db, NULL, &txn);
    if (rc)
        return rc;
    if (kind == LSM_KIND_PUT)
        rc = lsm_txn_put(txn, tree, key, value);
    else if (kind == LSM_KIND_DELETE)
        rc = lsm_txn_delete(txn, tree, key);
    else
        rc = lsm_txn_delete_range(txn, tree, key, value);
    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        lsm_txn_abort(txn);
        return lsm_fail(rc, "%s", why);
    }
    return lsm_txn_commit_alone(txn, sync);
}

int lsm_db_put(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice key, struct lsm_slice value,
               bool sync)
{
    return commit_one(db, tree, LSM_KIND_PUT, key, value, sync);
}

int lsm_db_delete(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice key, bool sync)
{
    const struct lsm_slice none = { NULL, 0 };
    return commit_one(db, tree, LSM_KIND_DELETE, key, none, sync);
}

int lsm_db_delete_range(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice begin,
                        struct lsm_slice end, bool sync)
{
    return commit_one(db, tree, LSM_KIND_RANGE_DELETE, begin, end, sync);
}

int lsm_db_sync(struct lsm_db *db)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    if (db->has_log && db->log.failed)
        rc = lsm_write_ready(db);       /* a fresh log, synced, with all that counts */
    else if (db->has_log)
        rc = lsm_write_sync(db);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}
