/*
 * chain.c -- what is committed: the host's token, the chain of joint records
 * behind it, and the publishing of what it proves (commit.md R12 to R18).
 *
 *     log      S1   J2   S3   J4   J5   S6          T = J5, J4 was abandoned
 *     base     -    -    J2   J2   J2   J5
 *     chain(T) = J5 -> J2 -> root                   published: S1 J2 S3 J5 S6
 *
 * The array db->chain holds the published links with the sequence at which each
 * begins: a reader whose host still shows J2 sees S1 J2 S3.
 */
#include "lsm/db/db.h"

#include <assert.h>


void lsm_prepared_free(struct lsm_os *os, struct lsm_prepared *rec)
{
    if (!rec)
        return;
    lsm_memtable_unref(rec->mem);
    lsm_buf_clear(&rec->ops);
    lsm_mem_free(os, rec->series);
    for (uint32_t i = 0; i < rec->run_count; i++)
        lsm_run_unref(rec->runs[i]);
    lsm_mem_free(os, rec->runs);
    lsm_unit_unref(rec->unit);
    if (rec->view)
        lsm_mem_free(os, rec->view);    /* never filled */
    lsm_mem_free(os, rec);
}

bool lsm_chain_is_quiet(const struct lsm_db *db, const struct lsm_token *t)
{
    return lsm_token_equal(t, &db->decided) && lsm_token_equal(t, &db->newest_joint);
}

static struct lsm_chain_link *newest_link(const struct lsm_db *db)
{
    return &db->chain[db->chain_count - 1];
}

static bool is_in_chain(const struct lsm_db *db, const struct lsm_token *token)
{
    for (uint32_t i = db->chain_count; i-- > 0;)
        if (lsm_token_equal(&db->chain[i].token, token))
            return true;
    return false;
}

/* ---- hidden records, ascending by txid ---- */

/* Room for so many links, and one for every hidden record, which may become one. */
static int reserve_links(struct lsm_db *db, uint32_t more)
{
    uint64_t count = (uint64_t)db->chain_count + db->record_count + more;
    void *links;

    if (count <= db->chain_cap)
        return LSM_OK;
    count += count / 4 + 16;
    links = count <= UINT32_MAX ? db->os->mem_realloc(db->os, db->chain, count * sizeof *db->chain) : NULL;
    if (!links)
        return lsm_nomem();
    db->chain = links;
    db->chain_cap = (uint32_t)count;
    return LSM_OK;
}

int lsm_chain_reserve(struct lsm_db *db)
{
    if (db->record_count + 1 > db->record_cap) {
        uint32_t cap = db->record_cap ? 2 * db->record_cap : 16;
        void *more = db->os->mem_realloc(db->os, db->records, cap * sizeof *db->records);
        if (!more)
            return lsm_nomem();
        db->records = more;
        db->record_cap = cap;
    }
    return reserve_links(db, 1);
}

void lsm_chain_add_hidden(struct lsm_db *db, struct lsm_prepared *rec)
{
    uint32_t at = db->record_count;

    assert(db->record_count < db->record_cap);
    while (at > 0 && db->records[at - 1]->id.txid > rec->id.txid)
        at--;                   /* only one that comes from the host's redo area is not the newest */
    memmove(&db->records[at + 1], &db->records[at], (db->record_count - at) * sizeof *db->records);
    db->records[at] = rec;
    db->record_count++;
}

static uint32_t find_hidden(const struct lsm_db *db, const struct lsm_token *id)
{
    uint32_t lo = 0, hi = db->record_count;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (db->records[mid]->id.txid < id->txid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < db->record_count && lsm_token_equal(&db->records[lo]->id, id) ? lo : UINT32_MAX;
}

struct lsm_prepared *lsm_chain_hidden(const struct lsm_db *db, const struct lsm_token *id)
{
    uint32_t i = find_hidden(db, id);

    return i == UINT32_MAX ? NULL : db->records[i];
}

struct lsm_prepared *lsm_chain_first_at(const struct lsm_db *db, uint64_t txid)
{
    uint32_t lo = 0, hi = db->record_count;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        const struct lsm_prepared *rec = db->records[mid];
        if ((rec->series ? rec->series->txid_first : rec->id.txid) <= txid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? db->records[lo - 1] : NULL;
}

int lsm_chain_joint(struct lsm_db *db, const struct lsm_token *id, struct lsm_prepared **rec)
{
    uint32_t i = find_hidden(db, id);
    int rc;

    *rec = NULL;
    if (i == UINT32_MAX) {
        struct lsm_prepared *in = lsm_chain_first_at(db, id->txid);
        if (!in || !in->series || in->type != LSM_RECORD_JOINT || id->txid >= in->id.txid)
            return LSM_OK;
        i = find_hidden(db, &in->id);
        rc = lsm_series_cut(db, i, id);
        if (rc)
            return rc == LSM_NOTFOUND ? LSM_OK : rc;
    }
    if (db->records[i]->type == LSM_RECORD_JOINT)
        *rec = db->records[i];
    return LSM_OK;
}

struct lsm_token lsm_chain_newest(struct lsm_db *db)
{
    struct lsm_token token;

    lsm_db_lock(db);
    token = newest_link(db)->token;
    lsm_db_unlock(db);
    return token;
}

bool lsm_chain_has(struct lsm_db *db, const struct lsm_token *token)
{
    bool has;

    lsm_db_lock(db);
    has = is_in_chain(db, token);
    lsm_db_unlock(db);
    return has;
}

void lsm_chain_remove_hidden(struct lsm_db *db, struct lsm_prepared *rec)
{
    uint32_t i = find_hidden(db, &rec->id);

    if (i == UINT32_MAX)
        return;
    db->record_count--;
    memmove(&db->records[i], &db->records[i + 1], (db->record_count - i) * sizeof *db->records);
}

/* ---- publishing ---- */

/* Push the record's unit: its memtable as it is, or its private tables. Cannot fail. */
static void link_unit(struct lsm_db *db, struct lsm_prepared *rec, struct lsm_memtable *mem, uint64_t base)
{
    struct lsm_unit *unit = rec->unit;
    struct lsm_view *view = rec->view, *old;

    rec->unit = NULL;
    rec->view = NULL;
    if (mem) {
        unit->mem = mem;
        unit->seq_add = base;
        atomic_store_explicit(&unit->has_ranges, lsm_memtable_has_ranges(mem), memory_order_release);
        lsm_memtable_ref(mem);
    }
    unit->runs = rec->runs;
    unit->run_count = rec->run_count;
    rec->runs = NULL;
    rec->run_count = 0;
    for (uint32_t i = 0; i < unit->run_count; i++) {
        struct lsm_table_meta *m = &unit->runs[i]->meta;
        m->seq_add = base;      /* until now numbered from 1 */
        m->seq_min += base;
        m->seq_max += base;
        lsm_tables_forget(db->tables, m->number);   /* opened with the private numbering */
    }
    if (unit->run_count) {
        unit->db = db;
        db->os->mutex_lock(db->obsolete_mutex);
        unit->next = db->with_runs;
        if (unit->next)
            unit->next->prev = unit;
        db->with_runs = unit;
        db->os->mutex_unlock(db->obsolete_mutex);
    }
    lsm_db_lock(db);
    old = db->view;
    unit->older = old->newest;
    lsm_view_fill(view, unit, old->unit_count + 1, old->version);
    lsm_unit_unref(unit);       /* the view has it */
    lsm_view_install(db, view);
    db->active = NULL;          /* rows that come later are newer: they need a memtable on top */
    lsm_dead_forget_all(db);
    lsm_db_unlock(db);
    lsm_view_unref(old);
}

static bool is_small(const struct lsm_db *db, const struct lsm_prepared *rec)
{
    return rec->run_count == 0 &&
           (!rec->mem || lsm_memtable_bytes(rec->mem) <= db->memtable_bytes / 4);
}

/* The record gets its sequences: returns what is added to its op numbers. */
static uint64_t take_seqs(struct lsm_db *db, struct lsm_prepared *rec)
{
    uint64_t base = db->seq_alloc;

    if (!rec->seq_begin)
        rec->seq_begin = base + 1;
    db->seq_alloc = base + rec->op_max;
    return base;
}

/* The rows are where readers find them: let them be seen. */
static void finish(struct lsm_db *db, struct lsm_prepared *rec)
{
    lsm_db_lock(db);
    if (rec->type == LSM_RECORD_JOINT) {
        assert(db->chain_count < db->chain_cap);
        db->chain[db->chain_count++] = (struct lsm_chain_link){ rec->id, rec->seq_begin };
    } else {
        db->solo_newest = rec->id;
        db->solo_base = rec->base;
    }
    atomic_store_explicit(&db->seq_published, db->seq_alloc, memory_order_release);
    if (db->active)
        lsm_room_look_memory(db);
    lsm_db_unlock(db);
    rec->state = LSM_RECORD_PUBLISHED;
    lsm_dead_publish(db, false);
}

void lsm_chain_publish_one(struct lsm_db *db, struct lsm_prepared *rec)
{
    uint64_t base = take_seqs(db, rec);
    bool copied = false;

    assert(rec->state == LSM_RECORD_HIDDEN);
    lsm_dead_publish(db, true);
    if (db->active && rec->mem && is_small(db, rec)) {
        copied = lsm_copy_batch(db, rec, db->active, base) == LSM_OK;
        if (!copied)
            base = take_seqs(db, rec);  /* what was copied is burnt: older versions of the same rows */
    }
    if (!copied && (rec->mem || rec->run_count))
        link_unit(db, rec, rec->mem, base);
    finish(db, rec);
}

/*
 * Rows that are still encoded, so that this may fail; then nothing is published and it can be tried again.
 */
static int publish_ops(struct lsm_db *db, struct lsm_prepared *rec, struct lsm_slice ops)
{
    int rc = ops.size ? lsm_write_active_locked(db) : LSM_OK;
    uint64_t base;

    if (rc)
        return rc;
    lsm_dead_publish(db, true);
    base = take_seqs(db, rec);
    if (ops.size)
        rc = lsm_copy_ops(db, ops, rec->op_first, db->active, base);
    if (rc)
        lsm_dead_publish(db, false);
    else
        finish(db, rec);
    return rc;
}

/* A hidden record that is no series, or the only one of its series: its `ops`, and what else it has. */
static int publish_read(struct lsm_db *db, struct lsm_prepared *rec, struct lsm_slice ops)
{
    int rc = LSM_OK;

    if (!rec->mem && rec->run_count == 0)
        return publish_ops(db, rec, ops);
    if (!rec->unit)
        rec->unit = lsm_unit_new(db->os);
    if (!rec->view)
        rec->view = lsm_view_alloc(db->os);
    if (!rec->unit || !rec->view)
        return lsm_nomem();
    if (ops.size) {             /* they are newer than the adopted tables: above them, in the same unit */
        struct lsm_unit to = { .mem = NULL };   /* its filter says maybe */
        rc = lsm_memtable_new(db->os, &to.mem);
        if (rc == LSM_OK)
            rc = lsm_copy_ops(db, ops, rec->op_first, &to, 0);
        if (rc) {
            lsm_memtable_unref(to.mem);
            return rc;
        }
        rec->mem = to.mem;
    }
    lsm_chain_publish_one(db, rec);
    return LSM_OK;
}

/* ---- publishing a series ---- */

#define GATHER_BYTES (4u << 10)

/*
 * Small SOLOs are published as if they were one record: the leaves of their rows are waited for in groups. Not joints: a
 * link must be between each and what comes before it, and a group that fails in its middle and is tried again would
 * leave rows of a joint below SOLOs that a reader before it must see.
 */
struct publishing {
    struct lsm_db *db;
    struct lsm_series_reader reader;
    struct lsm_prepared group;
    bool has_published;
};

/* What stands before (off, chain) is published; txid: no record behind it has a lower one. */
static void advance(struct lsm_series *s, uint64_t off, uint64_t chain, uint64_t txid)
{
    s->off = off;
    s->chain = chain;
    s->txid_first = txid;
}

/* The group's ops; it ends before (off, chain). */
static int publish_group(struct publishing *p, struct lsm_series *s, struct lsm_slice ops, uint64_t off, uint64_t chain)
{
    struct lsm_prepared *g = &p->group;
    int rc = g->ops.rc;

    if (rc == LSM_OK && g->id.txid)
        rc = publish_ops(p->db, g, ops);
    if (rc == LSM_OK && g->id.txid)
        advance(s, off, chain, g->id.txid + 1);
    lsm_buf_reset(&g->ops);
    *g = (struct lsm_prepared){ .ops = g->ops };
    return rc;
}

/* What is gathered, before the record that is being read. */
static int publish_gathered(struct publishing *p, struct lsm_series *s)
{
    return publish_group(p, s, lsm_buf_slice(&p->group.ops), p->reader.off, p->reader.chain);
}

static int publish_solo(struct publishing *p, struct lsm_series *s, const struct lsm_record *rec)
{
    const struct lsm_frame_reader *frames = &p->reader.log.frames;
    struct lsm_prepared *g = &p->group;
    bool is_small = rec->ops.size < GATHER_BYTES;
    int rc = is_small ? LSM_OK : publish_gathered(p, s);

    if (rc)
        return rc;
    g->type = LSM_RECORD_SOLO;
    g->state = LSM_RECORD_HIDDEN;
    g->id = rec->id;
    g->base = rec->base;
    g->op_first = 1;
    g->op_max += rec->op_count;
    if (is_small)
        lsm_buf_append_slice(&g->ops, rec->ops);
    if (is_small && g->ops.size < GATHER_BYTES && g->ops.rc == LSM_OK)
        return LSM_OK;
    return publish_group(p, s, is_small ? lsm_buf_slice(&g->ops) : rec->ops, frames->off, frames->chain);
}

static int publish_joint(struct publishing *p, struct lsm_prepared *series, const struct lsm_record *rec)
{
    const struct lsm_frame_reader *frames = &p->reader.log.frames;
    struct lsm_prepared one = { .type = LSM_RECORD_JOINT, .state = LSM_RECORD_HIDDEN, .id = rec->id, .base = rec->base,
                                .op_first = 1, .op_max = rec->op_count };
    int rc = publish_gathered(p, series->series);

    if (rc)
        return rc;
    one.seq_begin = series->seq_begin;
    rc = publish_ops(p->db, &one, rec->ops);
    series->seq_begin = rc ? one.seq_begin : 0;
    if (rc)
        return rc;
    advance(series->series, frames->off, frames->chain, rec->id.txid + 1);
    series->series->joint_count--;
    series->series->has_solos_first = true;
    series->base = rec->id;
    return LSM_OK;
}

/* Of a series all, or the SOLOs on its base. When it fails, what is published is not in it any more. */
static int publish_series(struct publishing *p, struct lsm_prepared *series, bool is_all)
{
    struct lsm_series *s = series->series;
    struct lsm_series_reader *r = &p->reader;
    struct lsm_db *db = p->db;
    int rc;

    lsm_db_lock(db);
    rc = reserve_links(db, s->joint_count);
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        rc = lsm_series_read(r, db, series);
    p->has_published = true;
    if (rc == LSM_OK && db->log_published < s->log)
        db->log_published = s->log;
    while (rc == LSM_OK && (rc = lsm_series_next(r, db)) == LSM_OK) {
        if (s->is_alone)
            return publish_read(db, series, r->rec.ops);
        if (r->rec.type == LSM_RECORD_JOINT && !is_all)
            break;
        if (r->rec.type == LSM_RECORD_JOINT)
            rc = publish_joint(p, series, &r->rec);
        else if (!lsm_series_is_aborted(db, &r->rec.id))
            rc = publish_solo(p, s, &r->rec);
    }
    if (rc == LSM_DONE) {
        rc = publish_group(p, s, lsm_buf_slice(&p->group.ops), s->end, s->end_chain);
        series->state = rc ? LSM_RECORD_HIDDEN : LSM_RECORD_PUBLISHED;
    } else if (rc == LSM_OK) {          /* a joint comes next, which is not to be published */
        rc = publish_gathered(p, s);
        s->has_solos_first = rc != LSM_OK;
    }
    return rc;
}

/* Drop what is published from the array of hidden records. */
static void forget_published(struct lsm_db *db)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < db->record_count; i++) {
        struct lsm_prepared *rec = db->records[i];
        if (rec->state == LSM_RECORD_HIDDEN)
            db->records[kept++] = rec;
        else if (!rec->owned)
            lsm_prepared_free(db->os, rec);
    }
    db->record_count = kept;
    if (kept == 0)
        lsm_buf_clear(&db->aborted);
}

/* Cut series so that the way from token back to the newest link, as far as it is there, is made of last joints. Publish
   mutex held. */
static int cut_path(struct lsm_db *db, const struct lsm_token *token)
{
    struct lsm_token at = *token;

    while (!lsm_token_equal(&at, &newest_link(db)->token)) {
        struct lsm_prepared *rec;
        int rc = lsm_chain_joint(db, &at, &rec);
        if (rc || !rec)
            return rc;
        at = rec->base;
    }
    return LSM_OK;
}

/* The newest joint that is known to be decided and whose way back to what is published is there. Both
   mutexes held, and cut_path() was called for it. */
static struct lsm_token newest_whole(const struct lsm_db *db)
{
    struct lsm_token at = db->decided;

    while (!lsm_token_equal(&at, &newest_link(db)->token)) {
        uint32_t i = find_hidden(db, &at);
        if (i == UINT32_MAX || db->records[i]->type != LSM_RECORD_JOINT)
            return newest_link(db)->token;
        at = db->records[i]->base;
    }
    return db->decided;
}

/* Two copies that went their own ways may have come equally far: the store has another transaction of that number. */
static int stale(struct lsm_db *db, bool is_behind, uint64_t database, uint64_t store)
{
    bool is_apart = is_behind && store >= database;

    return lsm_fail(LSM_STALE, "%s: %s (database at transaction %llu, store at %s%llu): the database and its directory "
                               "are not of the same moment; restore both from one backup", db->path,
                    is_apart    ? "store behind database, each went on without the other"
                    : is_behind ? "store behind database"
                                : "database older than store",
                    (unsigned long long)database, is_apart ? "another " : "", (unsigned long long)store);
}

/* They do not fit: told with the number that lsm_db_newest() gives. Publish mutex held. */
static int misfit(struct lsm_db *db, bool is_behind, const struct lsm_token *token)
{
    struct lsm_token newest;

    lsm_db_lock(db);
    newest = db->decided;
    lsm_db_unlock(db);
    (void)cut_path(db, &newest);        /* if that fails: as if it was not there */
    lsm_db_lock(db);
    newest = newest_whole(db);
    lsm_db_unlock(db);
    return stale(db, is_behind, token->txid, newest.txid);
}

/* Walk from token back to the newest link; mark the path. Publish mutex held. */
static int mark_path(struct lsm_db *db, const struct lsm_token *token, bool *on_path)
{
    struct lsm_token at = *token, oldest;
    bool seen;

    lsm_db_lock(db);
    seen = db->token_seen;
    oldest = db->root.txid > db->floor.txid ? db->root : db->floor;
    lsm_db_unlock(db);
    while (!lsm_token_equal(&at, &newest_link(db)->token)) {
        uint32_t i = find_hidden(db, &at);
        if (i == UINT32_MAX || db->records[i]->type != LSM_RECORD_JOINT) {
            /* Once it was known that the two belong together: an old reader, whose history was pruned. */
            if (seen && token->txid < newest_link(db)->token.txid)
                return lsm_fail(LSM_CONFLICT, "%s: the state that this transaction began with is gone "
                                              "(end it and begin anew)", db->path);
            if (token->txid < oldest.txid)
                return misfit(db, false, token);
            return misfit(db, true, token);
        }
        on_path[i] = true;
        at = db->records[i]->base;
    }
    if (token->txid < oldest.txid && !seen)
        return misfit(db, false, token);
    return LSM_OK;
}

/* Is all published that `token` proves? What comes before a link is, whatever failed behind it. Mutex held. */
static bool is_shown(const struct lsm_db *db, const struct lsm_token *token)
{
    if (lsm_token_equal(token, &newest_link(db)->token))
        return db->token_seen && !db->is_half_published;
    return is_in_chain(db, token);
}

/*
 * The rows of a store that had more memory, or of a third log and more: what is published goes to tables before the next
 * log's rows come to memory. Not where a flush was in the way of the newest log's only (flush_job.c): an open waits
 * for it. Publish mutex held.
 */
static bool is_too_much(struct lsm_db *db, const struct lsm_series *next)
{
    const struct lsm_log_end *logs = (const void *)db->logs_read.data;
    uint64_t memtable_bytes = atomic_load(&db->memtable_bytes), used, more = 0;
    bool is_first = true;

    for (size_t i = 0; i < db->logs_read.size / sizeof *logs; i++) {
        is_first &= logs[i].number >= next->log;
        if (logs[i].number == next->log)
            more = logs[i].size;
    }
    if (is_first || db->read_only || db->replays_whole)
        return false;
    lsm_db_lock(db);
    used = lsm_view_used(db->view);
    lsm_db_unlock(db);
    return used >= memtable_bytes && used + more >= 2 * memtable_bytes;
}

/* LSM_DONE: it stopped, to go on behind a flush. Publish mutex held. */
static int publish_path(struct lsm_db *db, const bool *on_path)
{
    struct publishing p = { .db = db };
    uint64_t log = db->log_published;
    int rc = LSM_OK;

    lsm_buf_init(&p.group.ops, db->os);
    for (uint32_t i = 0; i < db->record_count && rc == LSM_OK; i++) {
        struct lsm_prepared *rec = db->records[i];
        bool is_next = lsm_token_equal(&rec->base, &newest_link(db)->token);

        if (rec->state != LSM_RECORD_HIDDEN)
            continue;
        if (rec->series && rec->series->log > log && is_too_much(db, rec->series)) {
            rc = LSM_DONE;
            break;
        }
        log = rec->series ? rec->series->log : log;
        /* A solo of this process is published by its own commit, and by nothing else. */
        if (rec->series && (on_path[i] || (rec->series->has_solos_first && is_next)))
            rc = publish_series(&p, rec, on_path[i]);
        else if (on_path[i] || (rec->type == LSM_RECORD_SOLO && !rec->owned && is_next))
            rc = publish_read(db, rec, lsm_buf_slice(&rec->ops));
    }
    lsm_series_reader_close(&p.reader);
    lsm_buf_clear(&p.group.ops);
    forget_published(db);
    lsm_db_lock(db);
    db->is_half_published = rc != LSM_OK;
    if (p.has_published)
        lsm_db_memory_changed(db);
    lsm_db_unlock(db);
    return rc;
}

/* LSM_DONE: as publish_path(). */
static int publish(struct lsm_db *db, const struct lsm_token *token)
{
    bool *on_path, is_done;
    int rc = LSM_OK;

    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    is_done = is_shown(db, token);
    rc = lsm_chain_reserve(db);
    lsm_db_unlock(db);
    if (rc == LSM_OK && !is_done)
        rc = cut_path(db, token);
    if (is_done || rc)
        goto out;

    on_path = lsm_mem_zalloc(db->os, db->record_count + 1);
    if (!on_path) {
        rc = lsm_nomem();
        goto out;
    }
    rc = mark_path(db, token, on_path);
    if (rc == LSM_OK)
        rc = publish_path(db, on_path);
    lsm_mem_free(db->os, on_path);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        if (!db->token_seen)
            for (uint32_t i = 0; i < db->record_count; i++)
                db->suspect |= db->records[i]->type == LSM_RECORD_JOINT;
        db->token_seen = true;
        if (db->txid_max < token->txid)
            db->txid_max = token->txid;
        lsm_db_unlock(db);
    }
out:
    db->os->mutex_unlock(db->publish);
    return rc;
}

int lsm_chain_publish(struct lsm_db *db, const struct lsm_token *token)
{
    bool is_done;
    int rc;

    lsm_db_lock(db);
    is_done = is_shown(db, token);
    lsm_db_unlock(db);
    if (is_done)
        return LSM_OK;
    for (;;) {
        uint64_t flushes = atomic_load(&db->counters.flushes);

        rc = publish(db, token);
        if (rc != LSM_DONE)
            break;
        if (lsm_flush_replayed(db) == LSM_OK || flushes != atomic_load(&db->counters.flushes))
            continue;           /* this one's, or another reader's */
        /* Where nothing can be written the rows wait in memory (I-03). */
        db->os->mutex_lock(db->publish);
        db->replays_whole = true;
        db->os->mutex_unlock(db->publish);
    }
    return rc;
}

/*
 * Under the host's write lock nobody can commit, so a token that was published once and is newer
 * than the host's cannot be: the host went back, to a backup that was restored beneath an open store.
 * A record on top of the old token would be on a chain of its own, beside what everybody sees.
 */
int lsm_chain_publish_newest(struct lsm_db *db, const struct lsm_token *token)
{
    struct lsm_token newest;
    bool seen;

    lsm_db_lock(db);
    newest = newest_link(db)->token;
    seen = db->token_seen;
    lsm_db_unlock(db);
    if (seen && token->txid < newest.txid)
        return stale(db, false, token->txid, newest.txid);
    return lsm_chain_publish(db, token);
}

int lsm_db_publish(struct lsm_db *db, const struct lsm_token *token)
{
    int rc = lsm_db_usable(db);
    return rc ? rc : lsm_chain_publish(db, token);
}

int lsm_db_publish_newest(struct lsm_db *db, const struct lsm_token *token)
{
    int rc = lsm_db_usable(db);
    return rc ? rc : lsm_chain_publish_newest(db, token);
}

int lsm_db_newest(struct lsm_db *db, struct lsm_token *token)
{
    struct lsm_token decided;
    int rc = lsm_db_usable(db);

    if (rc)
        return rc;
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    decided = db->decided;
    lsm_db_unlock(db);
    rc = cut_path(db, &decided);
    lsm_db_lock(db);
    *token = newest_whole(db);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    return rc;
}

int lsm_chain_settle(struct lsm_db *db)
{
    struct lsm_token t;
    bool suspect, settled, failed;
    int rc = LSM_OK;

    lsm_db_lock(db);
    t = newest_link(db)->token;
    suspect = db->suspect;
    settled = lsm_token_equal(&t, &db->floor);
    failed = db->unsettled.txid && lsm_token_equal(&t, &db->unsettled);
    lsm_db_unlock(db);
    if (settled)
        return LSM_OK;
    if (failed)
        return lsm_fail(LSM_BUSY, "%s: the database could not be synced; its next transaction will "
                                  "show whether it can", db->path);
    if (db->has_host && db->host.settle)
        rc = db->host.settle(db->host.ctx, suspect);
    if (rc && rc != LSM_BUSY && rc != LSM_FULL) {
        /* A second sync would say that all is well: the kernel calls the pages clean. */
        lsm_db_lock(db);
        db->unsettled = t;
        db->suspect = true;
        lsm_db_unlock(db);
    }
    if (rc)
        return lsm_fail(rc, "%s: the database beside it could not be %s", db->path,
                        rc == LSM_BUSY   ? "checkpointed now: somebody reads or writes it"
                        : rc == LSM_FULL ? "checkpointed: there is no room on the disk"
                                         : "synced");
    atomic_fetch_add_explicit(&db->counters.settles, 1, memory_order_relaxed);
    lsm_db_lock(db);
    if (db->floor.txid < t.txid)
        db->floor = t;
    lsm_db_unlock(db);
    return LSM_OK;
}

void lsm_chain_prune(struct lsm_db *db)
{
    uint32_t first = 0, kept = 0;

    /* Hidden records of logs that go: T is decided and the newest joint, so they are dead (R17). */
    for (uint32_t i = 0; i < db->record_count; i++) {
        struct lsm_prepared *rec = db->records[i];
        if (rec->id.txid >= db->root.txid || rec->owned)
            db->records[kept++] = rec;
        else
            lsm_prepared_free(db->os, rec);
    }
    db->record_count = kept;

    /* A link whose successor begins at or below the horizon cannot be read any more. */
    while (first + 1 < db->chain_count && db->chain[first + 1].seq_begin <= db->horizon)
        first++;
    memmove(db->chain, db->chain + first, (db->chain_count - first) * sizeof *db->chain);
    db->chain_count -= first;
}
