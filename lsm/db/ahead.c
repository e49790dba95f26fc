/*
 * ahead.c -- the log goes to disk while writers go on: when the host's redo area is half full,
 * so that no writer finds it full and waits for a sync (carry.h); and before a flush begins the next log.
 *
 *     slot     where the log and the area end now
 *     no lock  sync, by a descriptor of its own: the log may be closed meanwhile
 *     slot     that much is covered; or the log has failed
 *
 * Never beside a writer's own sync: pages that a sync could not write the kernel calls clean, and
 * only one of two that run at the same time may hear of it. The other's would lie.
 */
#include "lsm/db/db.h"

#include "lsm/format/filename.h"

struct ahead {
    struct lsm_log_end end;
    uint64_t cuts;
    struct lsm_area_mark mark;
    uint64_t bytes;             /* that were not synced */
};

/* Mutex and log slot held. */
static void latch_failure(struct lsm_db *db)
{
    if (db->has_log && db->log.number == db->ahead_failed)
        db->log.failed = true;
}

static bool begin(struct lsm_db *db, uint64_t bytes_min, struct ahead *a)
{
    bool is_due;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    latch_failure(db);
    db->ahead_wanted = false;
    is_due = db->has_host && db->has_log && !db->log.failed && !db->ahead_runs &&
             db->log.size - db->log.synced > bytes_min;
    if (is_due) {
        db->ahead_runs = true;
        a->end = lsm_log_end(&db->log);
        a->cuts = db->log.cuts;
        a->mark = lsm_area_mark(&db->carry.area);
        a->bytes = db->log.size - db->log.synced;
    }
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return is_due;
}

/* Not synced, and no harm done: LSM_DONE. */
static int sync_file(struct lsm_db *db, const struct ahead *a)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    int error;

    if (db->os->file_open(db->dir, lsm_filename(name, LSM_FILE_LOG, a->end.number), LSM_OPEN_READ, 0, &file))
        return LSM_DONE;
    error = db->os->file_sync(file);
    db->os->file_close(file);
    if (error)
        lsm_db_event(db, LSM_EVENT_WARNING, "%s: %s could not be synced (error %d): the next transaction begins "
                     "a new log", db->path, name, error);
    return error ? LSM_FSYNC : LSM_OK;
}

static void finish(struct lsm_db *db, const struct ahead *a, int rc, uint64_t us)
{
    lsm_db_lock(db);
    if (rc == LSM_FSYNC)
        db->ahead_failed = a->end.number;
    db->ahead_runs = false;     /* before the slot: who has it may wait for this */
    db->os->cond_broadcast(db->changed);
    lsm_write_slot_take(db);
    latch_failure(db);
    /* Where the log was cut, other records may stand before that end, or none: its cut was synced. */
    if (rc == LSM_OK && db->has_log && db->log.number == a->end.number && !db->log.failed && db->log.cuts == a->cuts) {
        lsm_log_synced(&db->log, &a->end);
        lsm_carry_covered_to(db, &a->end, a->mark);
        lsm_carry_timed(&db->carry, a->bytes, us);
    }
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
}

int lsm_ahead_sync(struct lsm_db *db, uint64_t bytes_min)
{
    struct ahead a;
    uint64_t begun;
    int rc;

    if (!begin(db, bytes_min, &a))
        return LSM_DONE;
    if (db->host.write_back)            /* goes on during the sync: a flush settles the host right behind it */
        db->host.write_back(db->host.ctx);
    begun = db->os->mono_us(db->os);
    rc = sync_file(db, &a);
    finish(db, &a, rc, db->os->mono_us(db->os) - begun);
    if (rc != LSM_DONE)
        atomic_fetch_add_explicit(&db->counters.log_syncs, 1, memory_order_relaxed);
    return rc == LSM_DONE ? LSM_DONE : LSM_OK;  /* a failure is the log's: writers hear of it */
}

void lsm_ahead_want(struct lsm_db *db)
{
    lsm_db_lock(db);
    if (!db->ahead_wanted && !db->ahead_runs) {
        db->ahead_wanted = true;
        lsm_worker_wake(db);
    }
    lsm_db_unlock(db);
}

void lsm_ahead_wait(struct lsm_db *db)
{
    lsm_db_lock(db);
    while (db->ahead_runs)
        db->os->cond_wait(db->changed, db->mutex);
    latch_failure(db);
    lsm_db_unlock(db);
}
