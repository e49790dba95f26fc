/*
 * idle.c -- deleted data gives its space back without new writes.
 *
 * A delete frees nothing before it meets what it deletes, and in a store that
 * nobody writes to the two would never meet: deletes stay in a memtable, and
 * level 0 waits for more runs. So when nothing was published for a second, the
 * worker flushes memtables that hold deletes, and level 0 goes down early where
 * its tombstones are worth it (compaction/pick.c). Then it rests, without a
 * clock unless something is left that will be worth it later, until somebody
 * deletes again.
 */
#include "lsm/db/job.h"

#define IDLE_US 1000000u
#define AGE_LOOK_US 600000000u          /* while something ages (compaction/pick.c), so often */
#define DELETES_MIN 128u                /* fewer are not worth a table; pick.c's TOMBSTONES_MIN */

/* Do the memtables hold deletes that are worth a flush? */
static bool has_deletes(const struct lsm_db *db)
{
    const struct lsm_unit *unit = db->view->newest;
    uint64_t deletes = 0;

    for (uint32_t i = 0; i < db->view->unit_count; i++, unit = unit->older) {
        if (atomic_load(&unit->has_ranges))
            return true;
        deletes += unit->mem ? lsm_memtable_deletes(unit->mem) : 0;
    }
    return deletes >= DELETES_MIN;
}

static void begin_anew(struct lsm_db *db, uint64_t now)
{
    db->idle_seq = atomic_load(&db->seq_published);
    db->idle_since_us = now;
    db->is_resting = db->idle_flush = false;
}

bool lsm_idle_is_now(const struct lsm_db *db)
{
    return db->is_resting && atomic_load(&db->seq_published) == db->idle_seq;
}

bool lsm_idle_ends(const struct lsm_db *db)
{
    return db->is_resting && atomic_load(&db->seq_published) != db->idle_seq && has_deletes(db);
}

void lsm_idle_put_off(struct lsm_db *db)
{
    if (!db->idle_flush)
        return;
    db->flush_wanted = false;
    begin_anew(db, db->os->mono_us(db->os));
}

bool lsm_idle_begins(struct lsm_db *db, uint64_t *wait_us)
{
    uint64_t now = db->os->mono_us(db->os);

    *wait_us = 0;
    if (db->idle_since_us == 0 || atomic_load(&db->seq_published) != db->idle_seq)
        begin_anew(db, now);
    if (db->is_resting) {
        *wait_us = db->is_aging ? AGE_LOOK_US : 0;
        return false;
    }
    if (now - db->idle_since_us < IDLE_US) {
        *wait_us = IDLE_US - (now - db->idle_since_us);
        return false;
    }
    if (has_deletes(db)) {
        if (db->health >= LSM_HEALTH_READ_ONLY || !lsm_flush_is_quiet(db)) {
            begin_anew(db, now);
            *wait_us = IDLE_US;
            return false;
        }
        db->idle_flush = db->flush_wanted = true;
    }
    db->is_resting = true;
    return true;
}
