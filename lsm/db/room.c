/*
 * room.c -- the worker makes the room that the log is going to be written to.
 *
 *     log   ....records....|.....room.....|      the writer enters the last room: ASKED
 *                                         |.....room.....|      the worker: BUSY, then MADE
 *
 * The writer goes on meanwhile, behind its room too, if the worker has not begun: a write
 * there costs 2 us more. If it has, he waits for the rest of 0.2 ms: zeros are written where
 * his record would stand. The worker looks whenever it is woken, and between two pieces
 * of a job. It holds no lock then, so that the file must not be closed or cut: whoever
 * wants to takes the room back first.
 *
 * Of a log that is synced record by record the room is not mapped but filled with zeros, which go to the disk at
 * once: a sync within room that is only reserved has to write, beside the record, which of it is in use by now. Synced
 * statements of 10 rows 239 -> 189 us, of 100 rows 430 -> 280, single rows as before (ext4). The log's bytes are
 * written twice then, so not where records are large.
 *
 *     state   NONE -> ASKED    log slot
 *             ASKED -> BUSY -> MADE    the worker
 *             MADE -> NONE, ASKED -> NONE    log slot
 *
 * The same for the active memtable: when it has begun a piece of memory, the pages of the next one are made, which
 * the allocator keeps until it is asked for. That is 0.2 to 0.4 ms of the writer's time for 2 MiB, and of its
 * time for 100 rows a transaction a sixteenth.
 */
#include "lsm/db/db.h"

#define STEP_MIN (UINT64_C(64) << 10)
#define STEP_MAX (UINT64_C(1) << 20)    /* written in 10 ms: a job looks as often */
#define STEP_SYNCED (UINT64_C(256) << 10)       /* a sync beside it waits for as much */

#define WAKE_FROM ((size_t)1 << 20)     /* less than that is made when the worker looks anyway: to wake it takes 14 us */

enum { NONE, ASKED, BUSY, MADE };

/* What the log will take behind its room until the memtable is full, if rows go on as they were. */
static uint64_t expected_bytes(const struct lsm_db *db)
{
    uint64_t full = atomic_load_explicit(&db->memtable_bytes, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&db->room.used, memory_order_relaxed), left;
    const struct lsm_log *log = &db->log;

    if (used < STEP_MIN)
        return full;
    left = used < full ? (uint64_t)((double)log->size / (double)used * (double)(full - used)) : 0;
    if (log->reserved <= log->size)
        return left;
    return left > log->reserved - log->size ? left - (log->reserved - log->size) : 0;
}

void lsm_room_look(struct lsm_db *db)
{
    struct lsm_room *room = &db->room;
    uint64_t step_max = atomic_load_explicit(&db->memtable_bytes, memory_order_relaxed) / 8;
    uint64_t left;
    int state = atomic_load_explicit(&room->state, memory_order_acquire);

    if (state == MADE) {
        lsm_log_room_is_made(&db->log, room->from, room->end, room->ok, room->synced);
        state = NONE;
        atomic_store_explicit(&room->state, state, memory_order_relaxed);
    }
    if (state != NONE || !lsm_log_wants_room(&db->log, &room->from, &room->synced))
        return;
    step_max = step_max < STEP_MIN ? STEP_MIN : step_max > STEP_MAX ? STEP_MAX : step_max;
    if (room->synced && step_max > STEP_SYNCED)
        step_max = STEP_SYNCED;
    left = expected_bytes(db);
    left = left < STEP_MIN ? STEP_MIN : left < step_max ? left : step_max;
    room->end = lsm_log_room_end(&db->log, room->from, room->is_filled ? left : STEP_MIN, left);
    room->is_filled |= room->end - room->from == step_max;
    room->file = db->log.file;
    atomic_store_explicit(&room->state, ASKED, memory_order_release);
    lsm_db_lock(db);            /* the worker may be just about to sleep */
    lsm_worker_wake(db);
    lsm_db_unlock(db);
}

void lsm_room_keep_out(struct lsm_db *db, uint64_t end)
{
    int state = atomic_load_explicit(&db->room.state, memory_order_acquire);

    if ((state == ASKED || state == BUSY) && end > db->room.from)
        lsm_room_take_back(db);
}

void lsm_room_look_memory(struct lsm_db *db)
{
    const struct lsm_memtable *mem = db->active->mem;
    uint64_t held = lsm_memtable_bytes(mem);
    size_t next;

    atomic_store_explicit(&db->room.used, lsm_memtable_used(mem), memory_order_relaxed);
    if (held == db->room.memory_seen || !db->os->mem_ready)
        return;
    db->room.memory_seen = held;
    next = lsm_memtable_next_memory(mem);
    if (next == 0 || db->no_worker ||
        held + next > atomic_load_explicit(&db->memtable_bytes, memory_order_relaxed))
        return;
    atomic_store_explicit(&db->room.memory, next, memory_order_relaxed);
    if (next >= WAKE_FROM)
        lsm_worker_wake(db);
}

bool lsm_room_is_asked(struct lsm_db *db)
{
    return atomic_load_explicit(&db->room.state, memory_order_relaxed) == ASKED ||
           atomic_load_explicit(&db->room.memory, memory_order_relaxed) != 0;
}

void lsm_room_make(struct lsm_db *db)
{
    struct lsm_room *room = &db->room;
    int state = ASKED;
    size_t memory;

    if (!lsm_room_is_asked(db))
        return;
    memory = atomic_exchange(&room->memory, 0);
    if (memory)
        db->os->mem_ready(db->os, memory);
    if (!atomic_compare_exchange_strong(&room->state, &state, BUSY))
        return;
    room->ok = lsm_log_make_room(db->os, room->file, room->from, room->end, room->synced);
    lsm_db_lock(db);
    atomic_store_explicit(&room->state, MADE, memory_order_release);
    if (room->is_awaited)
        db->os->cond_broadcast(db->changed);
    lsm_db_unlock(db);
}

void lsm_room_take_back(struct lsm_db *db)
{
    struct lsm_room *room = &db->room;
    int state = ASKED;

    if (atomic_compare_exchange_strong(&room->state, &state, NONE) || state == NONE)
        return;
    lsm_db_lock(db);
    room->is_awaited = true;
    while (atomic_load_explicit(&room->state, memory_order_acquire) == BUSY)
        db->os->cond_wait(db->changed, db->mutex);
    room->is_awaited = false;
    lsm_db_unlock(db);
    lsm_log_room_is_made(&db->log, room->from, room->end, room->ok, room->synced);
    atomic_store_explicit(&room->state, NONE, memory_order_relaxed);
}
