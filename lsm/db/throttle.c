/*
 * throttle.c -- writers are slowed down before they must stop.
 *
 *     debt    0 ......... 1        memtables from 1.5 to 2 times their share, or
 *                                  runs in level 0 of a tree from 2 to 4 times what is due
 *     price   of a byte = what flushing one takes (measured) * debt / (1 - debt)
 *
 * A writer pays for what was written since the last payment where its transaction
 * begins, and only once the sum is worth a sleep. At a debt of one half writers go
 * at the pace of the flush; towards one the price grows to a thousand times that, so that
 * memory is kept without anybody being stopped: behind one each small write pays 10 ms, which takes seconds to the
 * stop. Should that not be enough (one transaction may be large), the writer waits for the flush at STOP_DEBT.
 */
#include "lsm/db/db.h"

#define PAY_NS_MIN UINT64_C(1000000)    /* sleeps of 0.2 ms were one put in 1,000 when a flush was behind: its p99.9 */
#define PAY_US_MAX UINT64_C(20000)      /* at once, whatever is owed: no cliff */
#define STOP_DEBT 1500                  /* a flush may wait for its turn on the processor for half a second */
#define WAIT_US_MAX UINT64_C(5000000)   /* then the writer goes on: memory before a dead lock */
#define JOBS_INSTEAD 4                  /* a flush, and what it makes due */
#define NS_PER_KIB_FIRST UINT64_C(10000)        /* until one was measured: 100 MB/s */

/* In thousandths, of the worst of all trees. */
static uint64_t level0_debt(const struct lsm_db *db)
{
    const struct lsm_version *v = db->view->version;
    uint64_t worst = 0, due = db->policy.level0_runs;

    for (uint32_t t = 0; t < v->tree_count; t++)
        if (v->trees[t]->level[0].count > worst)
            worst = v->trees[t]->level[0].count;
    return worst > 2 * due ? (worst - 2 * due) * 1000 / (2 * due) : 0;
}

static uint64_t memory_debt(const struct lsm_db *db)
{
    uint64_t memory = lsm_view_used(db->view), from = db->memtable_bytes / 2 * 3,
             room = db->memtable_bytes / 2;

    return memory > from ? (memory - from) * 1000 / (room + 1) : 0;
}

static bool may_stall(struct lsm_db *db)
{
    return !db->no_worker && db->health < LSM_DEGRADED && !db->settle_refused &&
           lsm_flush_is_quiet(db);
}

/* Mutex held; released meanwhile. */
static void tell_stall(struct lsm_db *db, bool begins)
{
    struct lsm_event event = { .what = begins ? LSM_EVENT_STALL_BEGIN : LSM_EVENT_STALL_END };
    uint64_t paid = db->pace_paid_us;

    if (db->stalling == begins)
        return;
    db->stalling = begins;
    db->pace_paid_us = 0;
    lsm_db_unlock(db);
    if (begins) {
        lsm_db_tell(db, &event, "writers are slowed down");
    } else {
        event.duration_us = paid;
        lsm_db_tell(db, &event, "writers go at full pace again; they waited for %llu ms",
                    (unsigned long long)(paid / 1000));
    }
    lsm_db_lock(db);
}

static void note_wait(struct lsm_db *db, uint64_t us)
{
    db->pace_paid_us += us;
    atomic_fetch_add_explicit(&db->counters.stall_us, us, memory_order_relaxed);
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_STALL], us);
}

/* What `bytes` cost at this debt. */
static uint64_t price_ns(const struct lsm_db *db, uint64_t bytes, uint64_t debt)
{
    uint64_t rate = db->flush_ns_per_kib ? db->flush_ns_per_kib : NS_PER_KIB_FIRST;

    if (debt > 999)
        debt = 999;
    return bytes / 1024 * rate * debt / (1000 - debt) + bytes % 1024 * rate / 1024 * debt / (1000 - debt);
}

/* M-06: there is no worker, so one writer at a time does a piece of its work. Mutex held; released meanwhile. */
static void work_instead(struct lsm_db *db)
{
    int rc = LSM_OK;

    if (db->works_instead || db->health >= LSM_HEALTH_READ_ONLY || db->os->mono_us(db->os) < db->retry_us)
        return;
    db->works_instead = true;
    lsm_db_unlock(db);
    for (int i = 0; i < JOBS_INSTEAD && rc == LSM_OK; i++)
        rc = lsm_db_step(db);
    lsm_db_lock(db);
    db->works_instead = false;
}

void lsm_throttle(struct lsm_db *db)
{
    uint64_t bytes = atomic_exchange_explicit(&db->pace_bytes, 0, memory_order_relaxed);
    uint64_t debt = memory_debt(db), other = level0_debt(db), started, now;

    if (lsm_view_used(db->view) >= db->memtable_bytes)
        lsm_worker_wake(db);
    if (db->no_thread && (other || lsm_view_used(db->view) >= db->memtable_bytes))
        work_instead(db);
    if (debt < other)
        debt = other;
    if (debt == 0 || !may_stall(db)) {
        db->pace_owed_ns = 0;
        if (db->stalling)
            tell_stall(db, false);
        return;
    }
    tell_stall(db, true);
    db->pace_owed_ns += price_ns(db, bytes, debt);
    if (db->pace_owed_ns >= PAY_NS_MIN) {
        uint64_t us = db->pace_owed_ns / 1000;
        db->pace_owed_ns = 0;   /* another thread owes what comes from now on */
        us = us < PAY_US_MAX ? us : PAY_US_MAX;
        started = db->os->mono_us(db->os);
        lsm_db_unlock(db);
        db->os->sleep_us(db->os, us);
        lsm_db_lock(db);
        note_wait(db, db->os->mono_us(db->os) - started);
    }
    if (memory_debt(db) < STOP_DEBT)
        return;
    started = now = db->os->mono_us(db->os);
    while (memory_debt(db) >= STOP_DEBT && may_stall(db) && now - started < WAIT_US_MAX) {
        db->os->cond_wait_us(db->changed, db->mutex, 10000);
        now = db->os->mono_us(db->os);
    }
    note_wait(db, now - started);
}

void lsm_throttle_rest(struct lsm_db *db)
{
    if (db->stalling && (db->stop || (memory_debt(db) == 0 && level0_debt(db) == 0)))
        tell_stall(db, false);
}

void lsm_throttle_flushed(struct lsm_db *db, uint64_t bytes, uint64_t us)
{
    uint64_t rate = bytes >= 1u << 16 ? us * 1000 / (bytes / 1024) : 0;

    if (rate)                   /* the mean of about the last four */
        db->flush_ns_per_kib = db->flush_ns_per_kib ? (3 * db->flush_ns_per_kib + rate) / 4 : rate;
}
