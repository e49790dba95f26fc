/*
 * worker.c -- what runs next: flush before compaction before removal of files, and
 * after a second without writes what deletes owe (idle.c).
 * In production a thread does it; without one (tests, no threads to be had)
 * lsm_db_step() does one job at a time.
 */
#include "lsm/db/job.h"

#define RETRY_US 1000000u               /* after a failure */
#define TURNS 4u                        /* of that many jobs one may be for value logs */

void lsm_worker_wake(struct lsm_db *db)
{
    db->os->cond_broadcast(db->work);
}

/* Writers that do not rest make compactions due for ever: garbage has its turn now and then. */
static bool is_garbage_first(struct lsm_db *db)
{
    bool is_first;

    lsm_db_lock(db);
    is_first = ++db->compact_turns >= TURNS;
    if (is_first)
        db->compact_turns = 0;
    lsm_db_unlock(db);
    return is_first;
}

/* One job. LSM_DONE: nothing to do now. */
static int step(struct lsm_db *db)
{
    bool ahead, flush, wait;
    int rc;

    lsm_db_lock(db);
    ahead = db->ahead_wanted;
    flush = lsm_flush_due(db) && lsm_flush_is_quiet(db);
    wait = db->compact_wait > 0;
    lsm_db_unlock(db);
    if (ahead && lsm_ahead_sync(db, 0) == LSM_OK)
        return LSM_OK;
    if (flush)
        return lsm_flush_now(db);
    if (wait)
        return LSM_DONE;
    rc = lsm_job_drop(db);
    if (rc == LSM_DONE && is_garbage_first(db))
        rc = lsm_job_reclaim(db);
    if (rc == LSM_DONE)
        rc = lsm_job_compact(db);
    if (rc == LSM_DONE)
        rc = lsm_job_reclaim(db);
    /* What a dropped tree leaves, or a cursor that was the last to see a file: no job will do it. */
    if (rc == LSM_DONE && lsm_obsolete_waits(db))
        lsm_obsolete_sweep(db);
    return rc;
}

static void note_failure(struct lsm_db *db, int rc)
{
    char why[LSM_ERROR_TEXT_SIZE];

    lsm_error_save(why, sizeof why);
    lsm_db_set_health(db, rc == LSM_CORRUPT ? LSM_HEALTH_CORRUPT : LSM_DEGRADED, rc, why);
    lsm_db_lock(db);
    db->retry_us = db->os->mono_us(db->os) + RETRY_US;
    lsm_db_unlock(db);
}

static void note_success(struct lsm_db *db)
{
    lsm_db_lock(db);
    if (db->health == LSM_DEGRADED) {
        db->health = LSM_HEALTHY;
        db->health_text[0] = 0;
    }
    lsm_db_unlock(db);
}

void lsm_worker_main(void *ctx)
{
    struct lsm_db *db = ctx;
    bool rested = true;

    lsm_db_lock(db);
    while (!db->stop) {
        uint64_t now = db->os->mono_us(db->os);
        bool blocked = db->health >= LSM_HEALTH_READ_ONLY;
        uint64_t wait_us;
        int rc;

        if (lsm_room_is_asked(db)) {
            lsm_db_unlock(db);
            lsm_room_make(db);
            lsm_db_lock(db);
            continue;
        }
        if (db->ahead_wanted) {
            lsm_db_unlock(db);
            lsm_ahead_sync(db, 0);
            lsm_db_lock(db);
            continue;
        }
        if (now < db->retry_us) {
            db->os->cond_wait_us(db->work, db->mutex, db->retry_us - now);
            continue;
        }
        lsm_db_unlock(db);
        lsm_job_trim(db);
        rc = blocked ? LSM_DONE : step(db);
        if (rc == LSM_OK)
            note_success(db);
        else if (rc != LSM_DONE && rc != LSM_BUSY)
            note_failure(db, rc);
        lsm_db_lock(db);
        if (rc == LSM_OK)
            rested = false;
        /* All that the jobs held is free by now, also what the last trim could not give back: the cache
           can have it. Until there is work again nobody else would tell it. */
        if (rc != LSM_OK && !rested) {
            rested = true;
            if (db->os->mem_trim && db->memory_lost > db->memory_bytes / 32)
                db->trim_wanted = true;
            else
                lsm_db_memory_changed(db);
        }
        if (rc == LSM_OK || db->stop || db->trim_wanted || lsm_room_is_asked(db) || db->ahead_wanted)
            continue;
        if (rc == LSM_BUSY)
            lsm_idle_put_off(db);
        if (lsm_flush_due(db))
            db->os->cond_wait_us(db->work, db->mutex, LSM_QUIET_WAIT_US);
        else if (lsm_idle_begins(db, &wait_us))
            continue;
        else if (wait_us)
            db->os->cond_wait_us(db->work, db->mutex, wait_us);
        else
            db->os->cond_wait(db->work, db->mutex);
    }
    lsm_db_unlock(db);
}

int lsm_db_step(struct lsm_db *db)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    rc = step(db);
    if (rc == LSM_OK)
        note_success(db);
    else if (rc != LSM_DONE && rc != LSM_BUSY)
        note_failure(db, rc);
    return rc;
}
