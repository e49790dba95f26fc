/*
 * txn.c -- a transaction: private writes, prepared, then committed or aborted.
 * The rules by number are commit.md's. spill.c has those that outgrow the memory.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/format/filter.h"

#define SOLO_WAIT_US 100000u    /* R3: for the callback of the previous solo; it may be on our thread */

void lsm_txn_forget_memory(struct lsm_txn *txn, uint64_t before)
{
    atomic_fetch_sub(&txn->db->batch_memory, before);
    atomic_fetch_add(&txn->db->batch_memory, lsm_batch_bytes(&txn->batch));
}

int lsm_txn_begin(struct lsm_db *db, const struct lsm_token *base, struct lsm_txn **out)
{
    struct lsm_txn *txn;
    int rc = lsm_db_usable(db);

    *out = NULL;
    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    if (db->has_host && !base)
        return lsm_fail(LSM_MISUSE, "%s: the host's token is missing", db->path);

    if (db->has_host) {
        lsm_db_lock(db);
        uint64_t until = db->os->mono_us(db->os) + SOLO_WAIT_US;
        while (db->solo_in_flight && db->os->mono_us(db->os) < until)
            db->os->cond_wait_us(db->changed, db->mutex, SOLO_WAIT_US);
        bool busy = db->solo_in_flight != NULL;
        lsm_db_unlock(db);
        if (busy)
            return lsm_fail(LSM_BUSY, "%s: the previous writer has not finished its commit", db->path);
        rc = lsm_chain_publish_newest(db, base);
        if (rc)
            return rc;
    }
    txn = lsm_mem_zalloc(db->os, sizeof *txn);
    if (!txn)
        return lsm_nomem();
    txn->db = db;
    lsm_batch_init(&txn->batch, db->os);
    lsm_buf_init(&txn->redo, db->os);
    lsm_db_lock(db);
    db->carry.newest_shown = db->has_host;
    /* Alone: on top of all that is committed, or the record would not count beside the host's. */
    txn->base = db->has_host ? *base : db->chain[db->chain_count - 1].token;
    db->txn_count++;
    txn->batch.mem = db->spare;
    db->spare = NULL;
    atomic_fetch_add(&db->batch_memory, lsm_batch_bytes(&txn->batch));
    lsm_throttle(db);
    lsm_db_unlock(db);
    *out = txn;
    return LSM_OK;
}

/* ---- marks ---- */

uint64_t lsm_txn_mark(const struct lsm_txn *txn)
{
    struct lsm_txn *t = (struct lsm_txn *)txn;
    uint64_t mark = lsm_batch_mark(&txn->batch);

    if (t->mark_count && t->marks[t->mark_count - 1] == mark)
        return mark;
    if (t->mark_count == t->mark_cap) {
        uint32_t cap = t->mark_cap ? 2 * t->mark_cap : 8;
        void *more = t->db->os->mem_realloc(t->db->os, t->marks, cap * sizeof *t->marks);
        if (!more) {
            t->no_spill = true;         /* a mark that is not known here must not be spilled across */
            return mark;
        }
        t->marks = more;
        t->mark_cap = cap;
    }
    t->marks[t->mark_count++] = mark;
    return mark;
}

void lsm_txn_release_mark(struct lsm_txn *txn, uint64_t mark)
{
    while (txn->mark_count && txn->marks[txn->mark_count - 1] > mark)
        txn->mark_count--;
}

void lsm_txn_remove_run(struct lsm_db *db, struct lsm_run *run)
{
    char name[LSM_FILENAME_SIZE];

    lsm_tables_forget(db->tables, run->meta.number);
    db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_TABLE, run->meta.number));
    for (uint32_t i = 0; i < run->vlog_count; i++) {
        lsm_vlogs_forget(db->vlogs, run->vlogs[i].number);
        db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_VLOG, run->vlogs[i].number));
    }
    lsm_run_unref(run);
}

/* The prepared record no longer says what the transaction holds. It stays in the log, hidden: the host
   never committed its token. */
static void disown_prepared(struct lsm_txn *txn)
{
    struct lsm_prepared *rec = txn->prepared;

    if (!rec)
        return;
    txn->prepared = NULL;
    txn->db->os->mutex_lock(txn->db->publish);
    rec->owned = false;
    if (rec->state != LSM_RECORD_HIDDEN)
        lsm_prepared_free(txn->db->os, rec);
    txn->db->os->mutex_unlock(txn->db->publish);
    lsm_db_lock(txn->db);
    txn->db->suspect = true;    /* a JOINT off the chain (R16) */
    lsm_db_unlock(txn->db);
}

/* A solo cannot be disowned, since its record alone is a commit: the next prepare, or the end, takes it
   back. */
static void cancel_prepared(struct lsm_txn *txn)
{
    if (txn->prepared && txn->prepared->type == LSM_RECORD_JOINT)
        disown_prepared(txn);
    else if (txn->prepared)
        txn->solo_cancelled = true;
}

void lsm_txn_give_up_run(struct lsm_txn *txn, struct lsm_run *run)
{
    if (txn->prepared)
        lsm_run_unref(run);
    else
        lsm_txn_remove_run(txn->db, run);
}

void lsm_txn_rollback_to(struct lsm_txn *txn, uint64_t mark)
{
    uint64_t before = lsm_batch_bytes(&txn->batch);

    while (txn->run_count && txn->stretches[txn->run_count - 1].first >= mark)
        lsm_txn_give_up_run(txn, txn->runs[--txn->run_count]);
    for (uint32_t i = txn->run_count; i-- > 0 && txn->stretches[i].end > mark;) {
        txn->stretches[i].end = mark;
        txn->stretches[i].is_cut = txn->has_cut = true;
        txn->stretches[i].is_named |= txn->prepared != NULL;
    }
    cancel_prepared(txn);
    lsm_batch_rollback(&txn->batch, mark);
    if (txn->batch.live_count == 0)     /* rows that were taken back use up memory, too */
        lsm_batch_reset(&txn->batch, txn->batch.op_next);
    lsm_own_dead_undo(txn->own_dead, NULL, mark);
    lsm_txn_release_mark(txn, mark);
    lsm_txn_forget_memory(txn, before);
}

bool lsm_txn_is_empty(const struct lsm_txn *txn)
{
    return txn->run_count == 0 && txn->batch.live_count == 0;
}

bool lsm_txn_has_tree(const struct lsm_txn *txn, const struct lsm_tree *tree)
{
    for (uint32_t i = 0; i < txn->run_count; i++)
        if (txn->runs[i]->meta.tree == tree->id)
            return true;
    return lsm_batch_has_tree(&txn->batch, tree->id);
}

void lsm_txn_discard_tree(struct lsm_txn *txn, const struct lsm_tree *tree)
{
    uint32_t kept = 0;

    if (!lsm_txn_has_tree(txn, tree))
        return;
    for (uint32_t i = 0; i < txn->run_count; i++)
        if (txn->runs[i]->meta.tree == tree->id) {
            lsm_txn_give_up_run(txn, txn->runs[i]);
        } else {
            txn->stretches[kept] = txn->stretches[i];
            txn->runs[kept++] = txn->runs[i];
        }
    txn->run_count = kept;
    cancel_prepared(txn);
    lsm_batch_discard_tree(&txn->batch, tree->id);
    lsm_own_dead_undo(txn->own_dead, tree, 0);
}

/* ---- writes ---- */

/* Rows of this size may be spilled for the sake of the others: less would be a file for a few rows. */
#define SPILL_MIN (UINT64_C(64) << 10)

/* Its own share is used up; or all transactions together have twice that. */
static bool must_spill(const struct lsm_txn *txn, uint64_t own, uint64_t more)
{
    const struct lsm_db *db = txn->db;

    if (own == 0 || txn->no_spill)
        return false;
    return own + more > db->batch_bytes ||
           (txn->batch.live_bytes >= SPILL_MIN && atomic_load_explicit(&db->batch_memory, memory_order_relaxed) + more >
                                    2 * db->batch_bytes);
}

/* What may be written; and room for it. A spill moves all that the batch has to private tables. */
static int prepare_write(struct lsm_txn *txn, const struct lsm_tree *tree, struct lsm_slice key,
                         struct lsm_slice value)
{
    int rc = lsm_tree_check(txn->db, tree);

    if (rc)
        return rc;
    if (key.size > LSM_KEY_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "key of %zu bytes: the limit is %u", key.size, LSM_KEY_SIZE_MAX);
    if (value.size > LSM_VALUE_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "value of %zu bytes: the limit is %u", value.size, LSM_VALUE_SIZE_MAX);
    if (must_spill(txn, lsm_batch_bytes(&txn->batch), key.size + value.size))
        return lsm_txn_spill(txn);
    return LSM_OK;
}

/* The batch grew from `before`; rc: what became of the write. */
static void count_write(struct lsm_txn *txn, uint64_t before, struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_db *db = txn->db;
    uint64_t after = lsm_batch_bytes(&txn->batch);

    atomic_fetch_add_explicit(&db->pace_bytes, key.size + value.size, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.user_bytes, key.size + value.size, memory_order_relaxed);
    if (after == before)
        return;
    atomic_fetch_add_explicit(&db->batch_memory, after - before, memory_order_relaxed);
    if (after - before >= 1u << 20) {
        lsm_db_lock(db);
        lsm_db_memory_changed(db);
        lsm_db_unlock(db);
    }
}

static int write_one(struct lsm_txn *txn, struct lsm_tree *tree, enum lsm_kind kind, struct lsm_slice key,
                     struct lsm_slice value)
{
    uint64_t before;
    int rc = prepare_write(txn, tree, key, value);

    if (rc)
        return rc;
    before = lsm_batch_bytes(&txn->batch);
    rc = lsm_batch_add(&txn->batch, kind, tree->id, tree->cmp, key, value);
    if (rc == LSM_OK)
        lsm_own_dead_write(txn->own_dead, tree, kind != LSM_KIND_DELETE && kind != LSM_KIND_RANGE_DELETE,
                           key, txn->batch.op_next - 1);
    count_write(txn, before, key, value);
    return rc;
}

int lsm_txn_put(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_db *db = txn->db;
    uint64_t n = atomic_fetch_add_explicit(&db->counters.puts, 1, memory_order_relaxed), begun;
    int rc;

    if (n % LSM_LATENCY_SAMPLE)
        return write_one(txn, tree, LSM_KIND_PUT, key, value);
    begun = db->os->mono_us(db->os);
    rc = write_one(txn, tree, LSM_KIND_PUT, key, value);
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_PUT], db->os->mono_us(db->os) - begun);
    return rc;
}

/* Nothing of the key, of whatever age, is in sight. LSM_EXISTS: that cannot be told so cheaply. */
static int insert_first(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key,
                        struct lsm_slice value)
{
    uint64_t before;
    int rc = prepare_write(txn, tree, key, value);    /* first: it may move the key's row to a table */

    if (rc)
        return rc;
    if (!lsm_absent_from_tables(txn, tree, key))
        return LSM_EXISTS;
    before = lsm_batch_bytes(&txn->batch);
    rc = lsm_batch_add_first(&txn->batch, tree->id, tree->cmp, key, value);
    if (rc == LSM_OK) {
        atomic_fetch_add_explicit(&txn->db->counters.puts, 1, memory_order_relaxed);
        lsm_own_dead_write(txn->own_dead, tree, true, key, txn->batch.op_next - 1);
        count_write(txn, before, key, value);
    }
    return rc;
}

/* Not for a single row: the tables would be found for it alone. */
static bool may_insert_first(const struct lsm_txn *txn, const struct lsm_tree *tree)
{
    return txn->has_inserted && tree->filter_bits && lsm_filter_is_possible(tree->cmp);
}

void lsm_txn_insert_aim(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key)
{
    if (may_insert_first(txn, tree))
        lsm_absent_aim(txn, tree, key);
}

int lsm_txn_insert(struct lsm_txn *txn, struct lsm_tree *tree, const struct lsm_read *read,
                   struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_value old;
    int rc = LSM_EXISTS;

    if (may_insert_first(txn, tree))
        rc = insert_first(txn, tree, key, value);
    txn->has_inserted = true;
    if (rc != LSM_EXISTS)
        return rc;
    rc = lsm_tree_get(tree, read, key, &old);
    lsm_value_release(&old);
    if (rc == LSM_OK)
        return LSM_EXISTS;
    return rc == LSM_NOTFOUND ? lsm_txn_put(txn, tree, key, value) : rc;
}

int lsm_txn_delete(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key)
{
    const struct lsm_slice none = { NULL, 0 };
    atomic_fetch_add_explicit(&txn->db->counters.deletes, 1, memory_order_relaxed);
    return write_one(txn, tree, LSM_KIND_DELETE, key, none);
}

int lsm_txn_delete_range(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice begin,
                         struct lsm_slice end)
{
    int rc = lsm_tree_check_range(tree, begin, end);

    if (rc)
        return rc == LSM_DONE ? LSM_OK : rc;
    atomic_fetch_add_explicit(&txn->db->counters.range_deletes, 1, memory_order_relaxed);
    return write_one(txn, tree, LSM_KIND_RANGE_DELETE, begin, end);
}

/* ---- prepare ---- */

struct lsm_prepared *lsm_txn_prepared_new(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepared *rec = lsm_mem_zalloc(db->os, sizeof *rec);

    if (!rec)
        return NULL;
    lsm_buf_init(&rec->ops, db->os);
    rec->owned = true;
    rec->op_first = txn->batch.op_first;
    rec->op_max = txn->batch.op_next - 1;
    rec->base = txn->base;
    rec->unit = lsm_unit_new(db->os);
    rec->view = lsm_view_alloc(db->os);
    rec->runs = lsm_mem_alloc(db->os, (txn->run_count + 1) * sizeof *rec->runs);
    if (!rec->unit || !rec->view || !rec->runs) {
        lsm_prepared_free(db->os, rec);
        return NULL;
    }
    /* Published under their own numbers, so the record has runs of its own; newest first. */
    for (uint32_t i = txn->run_count; i-- > 0;) {
        struct lsm_table_meta meta = txn->runs[i]->meta;
        meta.seq_add = 0;
        if (lsm_run_new(db->os, &meta, &rec->runs[rec->run_count])) {
            lsm_prepared_free(db->os, rec);
            return NULL;
        }
        rec->runs[rec->run_count]->goes_deep = txn->runs[i]->goes_deep;
        rec->run_count++;
        if (lsm_run_set_vlogs(rec->runs[rec->run_count - 1], txn->runs[i]->vlogs, txn->runs[i]->vlog_count)) {
            lsm_prepared_free(db->os, rec);
            return NULL;
        }
    }
    if (txn->batch.mem && txn->batch.live_count) {
        rec->mem = txn->batch.mem;
        lsm_memtable_ref(rec->mem);
    }
    return rec;
}

static void put_ops(void *batch, struct lsm_buf *out)
{
    uint32_t count;

    lsm_batch_encode(batch, out, &count);
}

void lsm_txn_encode(struct lsm_txn *txn, const struct lsm_prepared *prep, struct lsm_buf *adopted,
                    struct lsm_record *rec)
{
    for (uint32_t i = 0; i < prep->run_count; i++)
        rec->adopts_vlogs |= prep->runs[i]->vlog_count > 0;
    for (uint32_t i = 0; i < prep->run_count; i++)
        lsm_record_put_adopted(adopted, rec, &prep->runs[i]->meta, prep->runs[i]->vlogs,
                               prep->runs[i]->vlog_count);
    if (prep->mem) {
        rec->op_count = (uint32_t)txn->batch.live_count;
        rec->put_ops = put_ops;         /* straight into the record: they may be large */
        rec->put_ops_ctx = &txn->batch;
        rec->ops_size = txn->batch.live_bytes;
    }
    rec->adopted = lsm_buf_slice(adopted);
    rec->adopted_count = prep->run_count;
    rec->op_first = txn->batch.op_first;
}

static int solo_allowed(struct lsm_txn *txn, const struct lsm_prepare *how)
{
    struct lsm_db *db = txn->db;
    bool quiet;

    if (!db->has_host) {
        lsm_db_lock(db);
        quiet = !db->solo_in_flight;
        lsm_db_unlock(db);
        return quiet ? LSM_OK : lsm_fail(LSM_BUSY, "%s: another transaction is prepared and has not reached "
                                                   "its commit or abort", db->path);
    }
    lsm_db_lock(db);
    quiet = lsm_chain_is_quiet(db, &txn->base) && !txn->joint_once;
    lsm_db_unlock(db);
    if (!quiet)
        return lsm_fail(LSM_BUSY, "%s: a joint transaction is undecided", db->path);
    if (how->settle)
        return lsm_chain_settle(db);    /* R6 */
    return LSM_OK;
}

/* Append an ABORT that names the solo, synced (R9). */
static int append_abort(struct lsm_db *db, const struct lsm_prepared *solo)
{
    struct lsm_record rec = { .type = LSM_RECORD_ABORT, .id = solo->id, .op_first = 1 };
    int rc = lsm_write_ready(db);

    if (rc)
        return rc;
    lsm_db_lock(db);
    rec.decided = db->decided;
    rec.floor = db->floor;
    lsm_db_unlock(db);
    return lsm_write_append(db, &rec, true);
}

/* A solo whose record may be in the file is taken back: ABORT; or a fresh log, which begins without it;
   or its log is cut; else nothing more can be promised. Log slot held. */
static int take_back_solo(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepared *solo = txn->prepared;
    int rc;

    atomic_fetch_add_explicit(&db->counters.aborts, 1, memory_order_relaxed);
    db->os->mutex_lock(db->publish);
    solo->state = LSM_RECORD_DEAD;      /* a fresh log leaves it out */
    db->os->mutex_unlock(db->publish);
    rc = append_abort(db, solo);
    if (rc && db->log.number == txn->cut_log)
        rc = append_abort(db, solo);    /* the log has failed: this one goes to a fresh log; or had no room */
    lsm_room_take_back(db);
    lsm_ahead_wait(db);
    if (rc)
        rc = db->log.number == txn->cut_log ? lsm_log_cut(&db->log, txn->cut_size, txn->cut_chain)
                                            : LSM_OK;
    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        lsm_db_set_health(db, LSM_HEALTH_READ_ONLY, rc, why);
        rc = lsm_fail(LSM_READONLY, "%s: a transaction could not be taken back (%.300s); the store is "
                                    "read-only until it is opened anew", db->path, why);
    }
    return rc;
}

/* Forget a solo that was taken back. */
static void end_solo(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;

    db->os->mutex_lock(db->publish);
    lsm_chain_remove_hidden(db, txn->prepared);
    lsm_db_lock(db);
    if (db->solo_in_flight == txn->prepared)
        db->solo_in_flight = NULL;
    db->os->cond_broadcast(db->changed);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    lsm_prepared_free(db->os, txn->prepared);
    txn->prepared = NULL;
    txn->solo_cancelled = false;
}

static int prepare_in_slot(struct lsm_txn *txn, const struct lsm_prepare *how, struct lsm_token *token)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepared *prep;
    struct lsm_record rec = { .base = txn->base };
    struct lsm_buf adopted;
    int rc = lsm_db_writable(db);

    if (rc == LSM_OK && txn->prepared && txn->prepared->type == LSM_RECORD_SOLO) {
        rc = take_back_solo(txn);
        if (rc == LSM_OK)
            end_solo(txn);
    }
    if (rc == LSM_OK)
        rc = lsm_write_ready(db);
    if (rc == LSM_OK && how->kind == LSM_PREPARE_SOLO)
        rc = solo_allowed(txn, how);
    if (rc == LSM_OK)
        rc = lsm_write_active(db);
    if (rc)
        return rc;
    prep = lsm_txn_prepared_new(txn);
    if (!prep)
        return lsm_nomem();

    lsm_buf_init(&adopted, db->os);
    lsm_txn_encode(txn, prep, &adopted, &rec);
    rc = adopted.rc;
    if (rc == LSM_OK) {
        db->os->mutex_lock(db->publish);
        lsm_db_lock(db);
        rc = lsm_chain_reserve(db);
        rec.type = how->kind == LSM_PREPARE_SOLO ? LSM_RECORD_SOLO : LSM_RECORD_JOINT;
        rec.id.txid = ++db->txid_max;
        rec.decided = db->decided;
        rec.floor = db->floor;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
    }
    if (rc) {
        lsm_buf_clear(&adopted);
        lsm_prepared_free(db->os, prep);
        return rc;
    }
    txn->cut_log = db->log.number;
    txn->cut_size = db->log.size;
    txn->cut_chain = db->log.chain;
    rc = rec.type == LSM_RECORD_SOLO ? lsm_write_append(db, &rec, how->sync)
                                     : lsm_carry_append(txn, &rec, how);
    lsm_buf_clear(&adopted);
    prep->type = rec.type;
    prep->id = rec.id;

    if (rc && (rec.type == LSM_RECORD_JOINT || !db->log.failed)) {
        /* No token was given out (or nothing was written): the record can never come to life. */
        if (rec.type == LSM_RECORD_JOINT && (db->log.failed || db->log.size != txn->cut_size)) {
            lsm_db_lock(db);
            db->suspect = true;
            db->newest_joint = rec.id;      /* it may stand in the log: not quiet */
            lsm_db_unlock(db);
        }
        lsm_prepared_free(db->os, prep);
        return rc;
    }
    /* Also a solo whose append or sync failed: its record may be whole in the page cache (R9). */
    if (txn->prepared)
        disown_prepared(txn);
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    if (rec.type == LSM_RECORD_JOINT) {
        if (!lsm_token_equal(&txn->base, &db->decided))
            db->suspect = true;
        db->newest_joint = rec.id;
        if (!txn->in_flight)
            db->joints_in_flight++;
        txn->in_flight = txn->joint_once = true;
    } else {
        db->solo_in_flight = prep;
    }
    lsm_chain_add_hidden(db, prep);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    txn->prepared = prep;
    *token = rec.id;
    return rc;
}

int lsm_txn_prepare(struct lsm_txn *txn, const struct lsm_prepare *how, struct lsm_token *token)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepare always = *how;
    bool even_empty = how->kind == LSM_PREPARE_JOINT_ALWAYS;
    int rc = lsm_db_usable(db);

    always.kind = LSM_PREPARE_JOINT;
    if (even_empty)
        how = &always;
    *token = txn->base;
    lsm_buf_reset(&txn->redo);
    txn->redo_wanted = 0;
    if (rc)
        return rc;
    if (how->kind != LSM_PREPARE_SOLO && (how->kind != LSM_PREPARE_JOINT || !db->has_host))
        return lsm_fail(LSM_MISUSE, "%s: nobody could decide a joint transaction without a host", db->path);
    rc = lsm_txn_trim(txn);
    if (rc)
        return rc;
    if (lsm_txn_is_empty(txn) && !txn->joint_once && !txn->prepared && !even_empty)
        return LSM_OK;
    bool timed = atomic_fetch_add_explicit(&db->counters.prepares, 1, memory_order_relaxed) % LSM_LATENCY_SAMPLE == 0;
    uint64_t begun = timed ? db->os->mono_us(db->os) : 0;
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    rc = prepare_in_slot(txn, how, token);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    if (timed)
        lsm_histogram_add(&db->counters.latency[LSM_LATENCY_PREPARE], db->os->mono_us(db->os) - begun);
    return rc;
}

void lsm_txn_redo(const struct lsm_txn *txn, struct lsm_redo *redo)
{
    redo->off = txn->redo_off;
    redo->bytes = lsm_buf_slice(&txn->redo);
    redo->room_wanted = txn->redo_wanted;
}

bool lsm_txn_may_be_solo(const struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    bool quiet;

    lsm_db_lock(db);
    quiet = !db->has_host || (lsm_chain_is_quiet(db, &txn->base) && !txn->joint_once);
    lsm_db_unlock(db);
    return quiet;
}

/* ---- the end ---- */

#define SPARE_BYTES (512u << 10)

/* A batch whose rows were copied leaves its memtable for the next one: making one costs a microsecond. */
static struct lsm_memtable *take_spare(struct lsm_batch *batch, uint64_t batch_bytes)
{
    struct lsm_memtable *mem = batch->mem;

    if (!mem || lsm_memtable_is_shared(mem) || lsm_memtable_bytes(mem) > SPARE_BYTES)
        return NULL;
    batch->mem = NULL;
    lsm_memtable_reset(mem);
    if (lsm_memtable_bytes(mem) > batch_bytes / 2) {    /* the next one would begin by spilling */
        lsm_memtable_unref(mem);
        return NULL;
    }
    return mem;
}

void lsm_txn_free(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    struct lsm_memtable *spare;

    lsm_absent_end(txn->absent, db->os);
    atomic_fetch_sub(&db->batch_memory, lsm_batch_bytes(&txn->batch));
    spare = take_spare(&txn->batch, db->batch_bytes);
    lsm_batch_clear(&txn->batch);
    lsm_own_dead_end(txn->own_dead);
    for (uint32_t i = 0; i < txn->run_count; i++)
        lsm_run_unref(txn->runs[i]);
    lsm_mem_free(db->os, txn->runs);
    lsm_mem_free(db->os, txn->stretches);
    lsm_mem_free(db->os, txn->marks);
    lsm_buf_clear(&txn->redo);
    lsm_db_lock(db);
    if (txn->in_flight)
        db->joints_in_flight--;
    db->txn_count--;
    if (!db->spare) {
        db->spare = spare;
        spare = NULL;
    }
    lsm_db_memory_changed(db);
    db->os->cond_broadcast(db->changed);
    if (lsm_flush_due(db) || lsm_idle_ends(db))
        lsm_worker_wake(db);
    lsm_db_unlock(db);
    lsm_memtable_unref(spare);
    lsm_mem_free(db->os, txn);
}

void lsm_txn_commit(struct lsm_txn *txn, bool settled)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepared *rec = txn->prepared;

    if (txn->solo_cancelled) {
        lsm_txn_abort(txn);
        return;
    }
    if (rec) {
        lsm_batch_rollback(&txn->batch, rec->op_max + 1);       /* what came later was not prepared */
        db->os->mutex_lock(db->publish);
        if (rec->state == LSM_RECORD_HIDDEN) {
            lsm_chain_publish_one(db, rec);
            lsm_chain_remove_hidden(db, rec);
        }
        lsm_db_lock(db);
        if (rec->type == LSM_RECORD_JOINT) {
            /* Another writer may have come and gone between the host's commit and this. */
            if (db->decided.txid < rec->id.txid)
                db->decided = rec->id;
            if (settled && !db->suspect && db->floor.txid < rec->id.txid)
                db->floor = rec->id;    /* R8 */
        } else if (db->solo_in_flight == rec) {
            db->solo_in_flight = NULL;
        }
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
        atomic_fetch_add_explicit(rec->type == LSM_RECORD_JOINT ? &db->counters.commits_joint
                                                                 : &db->counters.commits_solo,
                                  1, memory_order_relaxed);
        txn->prepared = NULL;
        lsm_prepared_free(db->os, rec);
    }
    lsm_txn_free(txn);
}

int lsm_txn_abort(struct lsm_txn *txn)
{
    struct lsm_db *db = txn->db;
    struct lsm_prepared *rec = txn->prepared;
    int rc = LSM_OK;

    if (rec && rec->type == LSM_RECORD_SOLO) {
        lsm_db_lock(db);
        lsm_write_slot_take(db);
        lsm_db_unlock(db);
        rc = take_back_solo(txn);
        lsm_db_lock(db);
        lsm_write_slot_give(db);
        lsm_db_unlock(db);
        end_solo(txn);
    } else if (rec) {
        disown_prepared(txn);           /* R10: decides nothing */
    }
    while (txn->run_count && rc == LSM_OK && !txn->joint_once && !txn->keep_files)
        lsm_txn_remove_run(db, txn->runs[--txn->run_count]);
    lsm_txn_free(txn);
    return rc;
}
