/* carry.c -- joint records that the host's own commit holds. */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/format/redo.h"

/* ---- writing ---- */

void lsm_carry_covered(struct lsm_db *db)
{
    assert(db->log_busy);
    db->carry.bare = false;
    lsm_area_reset(&db->carry.area);
}

void lsm_carry_covered_to(struct lsm_db *db, const struct lsm_log_end *end, struct lsm_area_mark mark)
{
    assert(db->log_busy && db->log.number == end->number);
    if (db->carry.bare_end <= end->size)
        db->carry.bare = false;
    lsm_area_covered(&db->carry.area, mark);
}

void lsm_carry_bare(struct lsm_db *db)
{
    assert(db->log_busy);
    db->carry.bare = true;
    db->carry.bare_end = db->log.size;
}

/*
 * Carry or sync? Carried, a byte is written to the host's log as well, synced there and here, and copied
 * once more by a checkpoint; synced, it costs the host one sync after ours. So it depends on the disk. A
 * thousand rows (121 KiB) beside the log's sync alone: where a sync takes 200 us 1.1 times the time when
 * synced and 1.24 to 1.32 when carried, where it takes 5 ms 1.7 and 1.22.
 */
#define CARRIED_NS_PER_KIB 4700u        /* what a carried KiB costs more than a synced one */
#define SYNCED_NS_PER_KIB 2300u         /* what its bytes cost a sync: 450 MB/s */
#define ALWAYS (64u << 10)              /* up to here it never matters much */
#define TIMED_MAX (256u << 10)          /* a sync of more says too much of its bytes */

void lsm_carry_timed(struct lsm_carry *carry, uint64_t bytes, uint64_t us)
{
    uint64_t ns = us * 1000, of_bytes = (bytes >> 10) * SYNCED_NS_PER_KIB;

    if (bytes > TIMED_MAX) {            /* then at least not more than all of it */
        carry->sync_ns = carry->sync_ns < ns ? carry->sync_ns : ns;
        return;
    }
    ns = ns > of_bytes ? ns - of_bytes : 0;
    carry->sync_ns = carry->sync_ns ? (7 * carry->sync_ns + ns) / 8 : ns;
}

uint64_t lsm_carry_bound(const struct lsm_carry *carry)
{
    uint64_t bytes = carry->sync_ns * 1024 / CARRIED_NS_PER_KIB;

    if (bytes < ALWAYS)
        return ALWAYS;
    return bytes < LSM_REDO_RECORD_MAX ? bytes : LSM_REDO_RECORD_MAX;
}

/* R7a. What was read at open needs no word here: it stands in the fresh log, which was synced before it
   took its first record (write.c). *off: its place in the area. */
static bool is_allowed(const struct lsm_db *db, const struct lsm_record *rec, uint64_t room,
                       size_t record_size, size_t frame_size, uint64_t *off, uint64_t *room_wanted)
{
    const struct lsm_area *area = &db->carry.area;

    *room_wanted = 0;
    if (db->carry.bare || rec->adopted_count || record_size > lsm_carry_bound(&db->carry))
        return false;
    if (lsm_area_find(area, frame_size, room, off))
        return true;
    if (room < LSM_REDO_ROOM_MAX && frame_size <= LSM_REDO_ROOM_MAX - room)
        *room_wanted = room + frame_size;
    return false;
}

/* Half of the area is used: time for a sync beside the writers, and for more of it. */
static void look_ahead(struct lsm_txn *txn, uint64_t room)
{
    if (2 * lsm_area_used(&txn->db->carry.area) < room)
        return;
    if (room < LSM_REDO_ROOM_MAX)
        txn->redo_wanted = room <= LSM_REDO_ROOM_MAX / 2 ? 2 * room : LSM_REDO_ROOM_MAX;
    lsm_ahead_want(txn->db);
}

/* Before the first carried record: whoever opens the log alone must know that it may lack some. */
static int raise_flag(struct lsm_db *db)
{
    struct lsm_edit edit;
    int rc;

    if (db->carry.flag)
        return LSM_OK;
    lsm_edit_init(&edit, db->os);
    edit.has = LSM_EDIT_CARRIED;
    edit.carried = true;
    rc = lsm_write_edit(db, &edit, 0);
    lsm_edit_clear(&edit);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        db->carry.flag = true;
        lsm_db_unlock(db);
    }
    return rc;
}

/* The mark of the newest published SOLO on `base`; 0: none is known. */
static uint32_t newest_solo(struct lsm_db *db, const struct lsm_token *base)
{
    uint32_t mark = 0;

    lsm_db_lock(db);
    if (db->solo_newest.txid && lsm_token_equal(&db->solo_base, base))
        mark = lsm_redo_solo_mark(&db->solo_newest);
    lsm_db_unlock(db);
    return mark;
}

int lsm_carry_append(struct lsm_txn *txn, struct lsm_record *rec, const struct lsm_prepare *how)
{
    struct lsm_db *db = txn->db;
    struct lsm_buf *frame = &db->encode, empty;
    uint64_t room = how->redo_room < LSM_REDO_ROOM_MAX ? how->redo_room : LSM_REDO_ROOM_MAX, off;
    size_t record_size;
    bool is_carried;
    int rc;

    assert(db->log_busy && rec->type == LSM_RECORD_JOINT);
    lsm_buf_reset(&txn->redo);
    lsm_buf_reset(frame);
    lsm_redo_begin(frame);
    lsm_write_encode(db, rec, frame);
    record_size = frame->size - LSM_REDO_HEAD_SIZE;
    lsm_redo_finish(frame, lsm_log_mark(&db->log), newest_solo(db, &rec->base));
    if (frame->rc)
        return frame->rc;

    is_carried = is_allowed(db, rec, room, record_size, frame->size, &off, &txn->redo_wanted) &&
                 raise_flag(db) == LSM_OK;
    rc = lsm_write_bytes(db, lsm_slice(frame->data + LSM_REDO_HEAD_SIZE, record_size),
                         how->sync && !is_carried);
    if (rc == LSM_OK && is_carried) {
        txn->redo_off = off;
        lsm_area_take(&db->carry.area, off, frame->size);
        look_ahead(txn, room);
        if (record_size > ALWAYS)       /* a sync is seen again before long */
            db->carry.sync_ns -= db->carry.sync_ns / 64;
        empty = txn->redo;
        txn->redo = *frame;
        *frame = empty;
        atomic_fetch_add_explicit(&db->counters.records_carried, 1, memory_order_relaxed);
    } else if (rc == LSM_OK && !how->sync) {
        lsm_carry_bare(db);
    }
    lsm_write_trim(db);
    return rc;
}

bool lsm_carry_is_over(const struct lsm_db *db)
{
    /* An old reader's token, and a flush for it, say nothing of what the newest one proves. */
    return db->carry.newest_shown && !atomic_load(&db->carry.is_pending);
}

/* ---- what the log has lost ---- */

/* Does the log have the SOLO that came before a carried record? On the root it may be in tables by now, and
   nothing can be said. Publish held. */
static int find_solo(struct lsm_db *db, const struct lsm_token *base, uint32_t mark, bool *has)
{
    struct lsm_token root;
    int rc = LSM_OK;

    *has = true;
    if (mark == 0 || newest_solo(db, base) == mark)
        return LSM_OK;
    lsm_db_lock(db);
    root = db->root;
    lsm_db_unlock(db);
    if (lsm_token_equal(base, &root))
        return LSM_OK;
    *has = false;
    for (uint32_t i = db->record_count; i-- > 0 && rc == LSM_OK && !*has;) {
        const struct lsm_prepared *rec = db->records[i];

        if (rec->series && rec->state == LSM_RECORD_HIDDEN)
            rc = lsm_series_has_solo(db, rec, base, mark, has);
        else if (rec->type == LSM_RECORD_SOLO && rec->state == LSM_RECORD_HIDDEN)
            *has = lsm_token_equal(&rec->base, base) && lsm_redo_solo_mark(&rec->id) == mark;
    }
    return rc;
}

/* Was the log here at open that a lost record once stood in? */
static bool had_log(const struct lsm_db *db, uint32_t mark)
{
    for (size_t i = 0; i + 4 <= db->log_marks.size; i += 4)
        if (lsm_get_u32(db->log_marks.data + i) == mark)
            return true;
    return mark == LSM_REDO_NO_LOG;
}

/* Walk from `token` to what is published; the records on the way that only the area has, newest first,
   as struct lsm_slice in *lost. Publish held. */
static int find_lost(struct lsm_db *db, const struct lsm_token *token, struct lsm_slice area,
                     struct lsm_buf *lost)
{
    const struct lsm_token newest = lsm_chain_newest(db);
    struct lsm_token at = *token;
    size_t off = area.size;
    int rc = LSM_OK;

    while (rc == LSM_OK && !lsm_token_equal(&at, &newest)) {
        struct lsm_prepared *known;
        struct lsm_record rec;
        struct lsm_slice bytes;
        bool has_solo = true;

        rc = lsm_chain_joint(db, &at, &known);
        if (rc || known) {
            at = known ? known->base : at;
            continue;
        }
        /* At or below what is published it is history, or another store's: nothing comes back. */
        rc = at.txid <= newest.txid ? LSM_NOTFOUND
                                    : lsm_redo_find(area, &at, db->uuid, &off, &bytes, &rec);
        if (rc == LSM_OK && !had_log(db, lsm_redo_log(bytes)))
            return lsm_fail(LSM_STALE, "%s: the log in which the database's transaction %llu was written is not there",
                            db->path, (unsigned long long)at.txid);
        if (rc == LSM_OK)
            rc = find_solo(db, &rec.base, lsm_redo_solo(bytes), &has_solo);
        if (rc == LSM_OK && !has_solo)
            return lsm_fail(LSM_STALE, "%s: the store lacks a transaction of its own before the database's %llu",
                            db->path, (unsigned long long)at.txid);
        if (rc == LSM_OK) {
            lsm_buf_append(lost, &bytes, sizeof bytes);
            at = rec.base;
            rc = lost->rc;
        }
    }
    if (rc == LSM_NOTFOUND)
        return lsm_fail(LSM_STALE, "%s: transaction %llu, on which the database's %llu rests, is "
                                   "neither in the store nor carried by the database", db->path,
                        (unsigned long long)at.txid, (unsigned long long)token->txid);
    return rc;
}

/* To the hidden records, as if it had been read from a log; and to those that a fresh log begins with. */
static int take_one(struct lsm_db *db, struct lsm_slice bytes)
{
    struct lsm_taken *taken;
    struct lsm_record rec;
    struct lsm_prepared *prep = NULL;
    int rc = LSM_OK;

    if (!lsm_record_decode(bytes, db->uuid, &rec))
        return lsm_corrupt("redo record in the database", 0, "it changed while it was read");
    lsm_db_lock(db);
    rc = lsm_recover_check_trees(db, &rec);
    lsm_db_unlock(db);
    if (rc)
        return rc;
    taken = lsm_mem_alloc(db->os, sizeof *taken + bytes.size);
    if (!taken)
        return lsm_nomem();
    rc = lsm_recover_prepared(db, &rec, &prep);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        rc = lsm_chain_reserve(db);
        if (rc == LSM_OK) {
            lsm_recover_note(db, &rec);
            lsm_chain_add_hidden(db, prep);
        }
        lsm_db_unlock(db);
    }
    if (rc) {
        lsm_prepared_free(db->os, prep);
        lsm_mem_free(db->os, taken);
        return rc;
    }
    taken->next = NULL;
    taken->size = bytes.size;
    memcpy(taken->record, bytes.data, bytes.size);
    *db->carry.last = taken;
    db->carry.last = &taken->next;
    atomic_store(&db->carry.is_pending, true);
    return LSM_OK;
}

int lsm_db_redo(struct lsm_db *db, const struct lsm_token *token, struct lsm_slice area)
{
    struct lsm_buf lost;
    int rc = lsm_db_usable(db);
    bool flag;

    if (rc)
        return rc;
    lsm_db_lock(db);
    flag = db->carry.flag;
    lsm_db_unlock(db);
    lsm_buf_init(&lost, db->os);
    db->os->mutex_lock(db->publish);
    /* Without the flag the log has all that it ever had: it is of an earlier moment than the database, and
       solo transactions may be missing that nothing in the area tells of. */
    if (!lsm_chain_has(db, token) && !flag)
        rc = lsm_fail(LSM_STALE, "%s: the store was closed before the database's transaction %llu", db->path,
                      (unsigned long long)token->txid);
    else if (!lsm_chain_has(db, token))
        rc = find_lost(db, token, area, &lost);
    for (size_t i = lost.size / sizeof(struct lsm_slice); i-- > 0 && rc == LSM_OK;) {
        struct lsm_slice bytes;
        memcpy(&bytes, lost.data + i * sizeof bytes, sizeof bytes);
        rc = take_one(db, bytes);
    }
    db->os->mutex_unlock(db->publish);
    if (rc == LSM_OK && lost.size)
        lsm_db_event(db, LSM_EVENT_INFO, "%zu transactions that the log had lost were taken from the "
                     "database", lost.size / sizeof(struct lsm_slice));
    lsm_buf_clear(&lost);
    return rc;
}

/* ---- into a fresh log ---- */

struct lsm_taken *lsm_carry_take(struct lsm_db *db)
{
    struct lsm_taken *taken;

    db->os->mutex_lock(db->publish);
    taken = db->carry.taken;
    db->carry.taken = NULL;
    db->carry.last = &db->carry.taken;
    atomic_store(&db->carry.is_pending, false);
    db->os->mutex_unlock(db->publish);
    return taken;
}

void lsm_carry_give_back(struct lsm_db *db, struct lsm_taken *taken)
{
    struct lsm_taken *last = taken;

    if (!taken)
        return;
    while (last->next)
        last = last->next;
    db->os->mutex_lock(db->publish);
    last->next = db->carry.taken;       /* what came since is newer */
    if (!last->next)
        db->carry.last = &last->next;
    db->carry.taken = taken;
    atomic_store(&db->carry.is_pending, true);
    db->os->mutex_unlock(db->publish);
}

void lsm_carry_free(struct lsm_os *os, struct lsm_taken *taken)
{
    while (taken) {
        struct lsm_taken *next = taken->next;
        lsm_mem_free(os, taken);
        taken = next;
    }
}
