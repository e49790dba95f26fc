/*
 * single.c -- one row a commit, and nobody else writes: from the caller's bytes to the log and to the active
 * memtable.
 *
 *     mutex     nobody leads, or waits for the log slot, or has it: take it
 *     slot      room in the memtable, the record to the log
 *     publish   the row to the memtable; mutex: it is seen, the slot is free
 *
 * A transaction with its memtable, what its publishing may need, and a lock for each step are two thirds of the time
 * of such a put. Where anything is in the way -- another writer, a sync, a log or memtable to begin, no
 * memory -- it is no single: lsm_txn_commit_alone can wait for and begin things, and says what is wrong.
 */
#include "lsm/db/db.h"

#define LOOK_BYTES 4096u        /* written between two looks at what writers owe, and at the memory */

struct single {
    struct lsm_db *db;
    struct lsm_tree *tree;
    enum lsm_kind kind;
    struct lsm_slice key, value;
    struct lsm_unit *active;
    bool looks;                 /* it is its turn to look */
    uint64_t hash;              /* lsm_copy_expect's */
};

static bool fits(const struct lsm_db *db, const struct single *s)
{
    return s->tree->db == db && s->key.size <= LSM_KEY_SIZE_MAX && s->value.size <= LSM_MEMTABLE_EXPECT_MAX &&
           s->key.size + s->value.size <= LSM_MEMTABLE_EXPECT_MAX &&
           s->key.size + s->value.size <= atomic_load_explicit(&db->memtable_bytes, memory_order_relaxed) / 8;
}

/* Mutex held. What belongs to the log slot may be read, since nobody has it. */
static bool is_free(const struct lsm_db *db, const struct single *s)
{
    return db->log_turn == db->log_turns && !db->commit_led && !db->commit_first && !db->solo_in_flight && db->active &&
           !atomic_load_explicit(&s->tree->dropped, memory_order_relaxed) && db->health < LSM_HEALTH_READ_ONLY &&
           lsm_write_is_ready(db);
}

static void put_op(void *ctx, struct lsm_buf *out)
{
    const struct single *s = ctx;

    lsm_op_encode(out, s->kind, s->tree->id, s->key, s->value);
}

/* The record is in the log. */
static void publish(struct single *s, const struct lsm_record *rec)
{
    struct lsm_db *db = s->db;
    struct lsm_unit *unit = s->active;
    uint64_t held = lsm_memtable_bytes(unit->mem);
    struct lsm_memtable_row row = { 0, s->tree->id, 0, s->key, s->value };

    db->os->mutex_lock(db->publish);
    lsm_dead_publish(db, true);
    row.tag = lsm_tag(++db->seq_alloc, s->kind);
    lsm_copy_expected(unit, s->tree, &row, s->hash);
    lsm_db_lock(db);
    db->solo_newest = rec->id;
    db->solo_base = rec->base;
    atomic_store_explicit(&db->seq_published, db->seq_alloc, memory_order_release);
    lsm_dead_publish(db, false);
    lsm_count(s->kind == LSM_KIND_PUT ? &db->counters.single_puts : &db->counters.single_deletes, 1);
    lsm_count(&db->counters.single_bytes, s->key.size + s->value.size);
    lsm_room_look_memory(db);
    if (s->looks || held != lsm_memtable_bytes(unit->mem))
        lsm_db_memory_changed(db);
    if ((s->looks && lsm_flush_due(db)) || lsm_idle_ends(db))
        lsm_worker_wake(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
}

/* Log slot held, nothing written. */
static int give_up(struct lsm_db *db, int rc)
{
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

int lsm_single_write(struct lsm_db *db, struct lsm_tree *tree, enum lsm_kind kind, struct lsm_slice key,
                     struct lsm_slice value)
{
    struct single s = { .db = db, .tree = tree, .kind = kind, .key = key, .value = value };
    struct lsm_record rec = { .type = LSM_RECORD_SOLO, .is_brief = true, .op_first = 1, .op_count = 1,
                              .put_ops = put_op, .put_ops_ctx = &s, .ops_size = key.size + value.size };
    struct lsm_log_end before;
    uint64_t begun = 0, number;
    int rc;

    if (lsm_db_usable(db) || db->has_host || db->read_only || !fits(db, &s))
        return LSM_DONE;
    lsm_db_lock(db);
    s.looks = db->stalling || atomic_load_explicit(&db->pace_bytes, memory_order_relaxed) >= LOOK_BYTES;
    if (s.looks)
        lsm_throttle(db);
    if (!is_free(db, &s)) {
        lsm_db_unlock(db);
        return LSM_DONE;
    }
    lsm_write_slot_take(db);    /* without waiting */
    s.active = db->active;
    rec.base = db->chain[db->chain_count - 1].token;
    rec.id.txid = ++db->txid_max;
    rec.decided = db->decided;
    rec.floor = db->floor;
    number = atomic_load_explicit(&db->counters.single_puts, memory_order_relaxed) +
             atomic_load_explicit(&db->counters.single_deletes, memory_order_relaxed);
    lsm_db_unlock(db);

    if (number % LSM_LATENCY_SAMPLE == LSM_LATENCY_SAMPLE - 1)
        begun = db->os->mono_us(db->os);
    if (lsm_copy_expect(s.active, tree, key, value.size, &s.hash))
        return give_up(db, LSM_DONE);
    before = lsm_log_end(&db->log);
    rc = lsm_write_append(db, &rec, false);
    if (rc && db->log.failed)
        lsm_commit_undo(db, rec.id.txid, &before, rc);
    if (rc)
        return give_up(db, rc);
    atomic_fetch_add_explicit(&db->pace_bytes, key.size + value.size, memory_order_relaxed);
    publish(&s, &rec);
    if (begun)
        lsm_histogram_add_for(&db->counters.latency[LSM_LATENCY_COMMIT], db->os->mono_us(db->os) - begun,
                              LSM_LATENCY_SAMPLE);
    return LSM_OK;
}
