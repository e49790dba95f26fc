/*
 * series.c -- the records of the logs as places: made as they are read, cut where a token
 * lies within, read again.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/format/redo.h"

/* ---- reading again ---- */

static int changed(const struct lsm_series_reader *r)
{
    return lsm_corrupt(r->log.name, r->log.frames.off, "the log changed while the store was open, before its records "
                                                       "were decided");
}

int lsm_series_read(struct lsm_series_reader *r, struct lsm_db *db, const struct lsm_prepared *rec)
{
    const struct lsm_series *s = rec->series;
    struct lsm_log_end prev;
    int rc = LSM_OK;

    if (r->number != s->log) {
        lsm_series_reader_close(r);
        rc = lsm_log_reader_open(&r->log, db->os, db->dir, db->uuid, s->log, &prev);
        if (rc == LSM_OK)
            r->number = s->log;
        else if (rc == LSM_DONE || rc == LSM_NOTFOUND)  /* it was there, and whole */
            rc = changed(r);
        if (rc) {
            lsm_log_reader_close(&r->log);
            return rc;
        }
    }
    lsm_log_reader_seek(&r->log, s->off, s->chain);
    r->of = s;
    r->txid = s->txid_first - 1;
    r->joint = rec->base;
    return LSM_OK;
}

int lsm_series_next(struct lsm_series_reader *r, struct lsm_db *db)
{
    struct lsm_frame_reader *frames = &r->log.frames;
    struct lsm_slice payload;

    while (frames->off < r->of->end) {
        int rc;

        r->off = frames->off;
        r->chain = frames->chain;
        rc = lsm_log_reader_next(&r->log, &payload);
        if (rc == LSM_DONE)
            return changed(r);
        if (rc)
            return rc;
        if (!lsm_record_decode(payload, db->uuid, &r->rec))
            return lsm_corrupt(r->log.name, r->off, "not a record of this store");
        if (r->rec.type == LSM_RECORD_ABORT || r->rec.id.txid <= r->txid)       /* that: a copy */
            continue;
        if (!lsm_token_equal(&r->rec.base, &r->joint))
            return changed(r);
        r->txid = r->rec.id.txid;
        if (r->rec.type == LSM_RECORD_JOINT)
            r->joint = r->rec.id;
        return LSM_OK;
    }
    return frames->off == r->of->end && frames->chain == r->of->end_chain ? LSM_DONE : changed(r);
}

void lsm_series_reader_close(struct lsm_series_reader *r)
{
    if (r->number)
        lsm_log_reader_close(&r->log);
    r->number = 0;
    r->of = NULL;
}

/* ---- made as the logs are read ---- */

/* What the next record of it would be based on. */
static const struct lsm_token *newest_joint(const struct lsm_prepared *rec)
{
    return rec->type == LSM_RECORD_JOINT ? &rec->id : &rec->base;
}

static void grow(struct lsm_prepared *last, const struct lsm_record *rec, const struct lsm_log_end *from,
                 const struct lsm_log_end *to)
{
    static const struct lsm_token none;
    struct lsm_series *s = last->series;

    if (rec->type == LSM_RECORD_JOINT) {
        s->joint_before = last->type == LSM_RECORD_JOINT ? last->id : none;
        s->joint_off = from->size;
        s->joint_chain = from->chain;
        s->joint_count++;
        s->solo_last = none;
        last->type = LSM_RECORD_JOINT;
        last->id = rec->id;
    } else {
        s->solo_last = rec->id;
        if (last->type == LSM_RECORD_SOLO)
            last->id = rec->id;
    }
    s->end = to->size;
    s->end_chain = to->chain;
}

static int make(struct lsm_db *db, const struct lsm_record *rec, const struct lsm_log_end *from,
                const struct lsm_log_end *to)
{
    struct lsm_record bare = *rec;
    struct lsm_prepared *prep;
    struct lsm_series *s;
    int rc = lsm_chain_reserve(db);

    bare.ops = lsm_slice(NULL, 0);
    if (rc == LSM_OK)
        rc = lsm_recover_prepared(db, &bare, &prep);
    if (rc)
        return rc;
    s = lsm_mem_zalloc(db->os, sizeof *s);
    if (!s) {
        lsm_prepared_free(db->os, prep);
        return lsm_nomem();
    }
    s->log = from->number;
    s->off = from->size;
    s->chain = from->chain;
    s->txid_first = rec->id.txid;
    s->end = to->size;
    s->end_chain = to->chain;
    s->is_alone = prep->run_count > 0 || prep->op_first != 1;
    s->has_solos_first = rec->type == LSM_RECORD_SOLO;
    s->joint_count = rec->type == LSM_RECORD_JOINT;
    if (rec->type == LSM_RECORD_SOLO)
        s->solo_last = rec->id;
    prep->series = s;
    lsm_chain_add_hidden(db, prep);
    return LSM_OK;
}

int lsm_series_add(struct lsm_db *db, const struct lsm_record *rec, const struct lsm_log_end *from,
                   const struct lsm_log_end *to)
{
    struct lsm_prepared *last = db->record_count ? db->records[db->record_count - 1] : NULL;
    bool is_alone = rec->adopted_count > 0 || rec->op_first != 1;
    int rc = LSM_OK;

    if (last && last->series->log == from->number && !last->series->is_alone && !is_alone &&
        lsm_token_equal(&rec->base, newest_joint(last))) {
        grow(last, rec, from, to);
        return LSM_OK;
    }
    /* The last joint was abandoned. Without this the way back from a token would be looked for in the logs. */
    if (last && last->series->joint_before.txid && lsm_token_equal(&rec->base, &last->series->joint_before))
        rc = lsm_series_cut(db, db->record_count - 1, &rec->base);
    return rc ? rc : make(db, rec, from, to);
}

/* ---- ABORTs ---- */

static size_t aborted_at(const struct lsm_db *db, uint64_t txid)
{
    const struct lsm_token *tokens = (const void *)db->aborted.data;
    size_t lo = 0, hi = db->aborted.size / sizeof *tokens;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (tokens[mid].txid < txid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool lsm_series_is_aborted(const struct lsm_db *db, const struct lsm_token *solo)
{
    const struct lsm_token *tokens = (const void *)db->aborted.data;
    size_t count = db->aborted.size / sizeof *tokens;

    for (size_t i = count ? aborted_at(db, solo->txid) : 0; i < count && tokens[i].txid == solo->txid; i++)
        if (lsm_token_equal(&tokens[i], solo))
            return true;
    return false;
}

int lsm_series_abort(struct lsm_db *db, const struct lsm_token *solo)
{
    struct lsm_prepared *known = lsm_chain_hidden(db, solo);
    struct lsm_token *tokens;
    size_t at, count;

    if (known && known->series->is_alone) {     /* its tables are nobody's now */
        known->state = LSM_RECORD_DEAD;
        return LSM_OK;
    }
    lsm_buf_append(&db->aborted, solo, sizeof *solo);
    if (db->aborted.rc)
        return db->aborted.rc;
    tokens = (void *)db->aborted.data;
    count = db->aborted.size / sizeof *tokens - 1;
    for (at = count; at > 0 && tokens[at - 1].txid > solo->txid; at--)  /* as a rule it is the newest */
        tokens[at] = tokens[at - 1];
    tokens[at] = *solo;
    return LSM_OK;
}

/* ---- cut ---- */

struct cut {
    struct lsm_token before;            /* the joint before the one that is looked for; txid 0: none */
    uint64_t joint_off, joint_chain;    /* that one's place */
    uint32_t joint_count;               /* up to it */
    struct lsm_token solo_last;
    uint64_t off, chain, txid;          /* of the next joint */
};

/* Where does the joint behind `token` begin? */
static int find_cut(struct lsm_db *db, const struct lsm_prepared *rec, const struct lsm_token *token, struct cut *cut)
{
    struct lsm_series_reader r = { .number = 0 };
    bool found = false;
    int rc;

    *cut = (struct cut){ .off = 0 };
    rc = lsm_series_read(&r, db, rec);
    while (rc == LSM_OK && (rc = lsm_series_next(&r, db)) == LSM_OK) {
        const struct lsm_record *at = &r.rec;

        if (at->type == LSM_RECORD_SOLO) {
            if (found)
                cut->solo_last = at->id;
            continue;
        }
        cut->off = r.off;
        cut->chain = r.chain;
        cut->txid = at->id.txid;
        if (found)
            break;
        if (at->id.txid > token->txid)
            rc = LSM_DONE;
        found = lsm_token_equal(&at->id, token);
        cut->joint_count++;
        if (found) {
            cut->joint_off = r.off;
            cut->joint_chain = r.chain;
        } else {
            cut->before = at->id;
        }
    }
    lsm_series_reader_close(&r);
    return rc == LSM_DONE ? LSM_NOTFOUND : rc;
}

int lsm_series_cut(struct lsm_db *db, uint32_t i, const struct lsm_token *token)
{
    static const struct lsm_token none;
    struct lsm_prepared *rec = db->records[i], *rest;
    struct lsm_series *s = rec->series;
    struct cut cut;
    int rc = LSM_OK;

    if (s->joint_before.txid && lsm_token_equal(token, &s->joint_before))
        cut = (struct cut){ .joint_count = s->joint_count - 1, .off = s->joint_off, .chain = s->joint_chain,
                            .txid = rec->id.txid };
    else
        rc = find_cut(db, rec, token, &cut);
    lsm_db_lock(db);
    if (rc == LSM_OK)
        rc = lsm_chain_reserve(db);
    lsm_db_unlock(db);
    if (rc)
        return rc;
    rest = lsm_mem_zalloc(db->os, sizeof *rest);
    if (rest)
        rest->series = lsm_mem_alloc(db->os, sizeof *rest->series);
    if (!rest || !rest->series) {
        lsm_mem_free(db->os, rest);
        return lsm_nomem();
    }
    lsm_buf_init(&rest->ops, db->os);
    rest->type = LSM_RECORD_JOINT;
    rest->state = LSM_RECORD_HIDDEN;
    rest->id = rec->id;
    rest->base = *token;
    rest->op_first = 1;
    *rest->series = *s;
    rest->series->off = cut.off;
    rest->series->chain = cut.chain;
    rest->series->txid_first = cut.txid;
    rest->series->joint_count = s->joint_count - cut.joint_count;
    rest->series->has_solos_first = false;
    if (rest->series->joint_count < 2)
        rest->series->joint_before = none;

    rec->id = *token;
    s->end = cut.off;
    s->end_chain = cut.chain;
    s->joint_count = cut.joint_count;
    s->joint_before = cut.before;
    s->joint_off = cut.joint_off;
    s->joint_chain = cut.joint_chain;
    s->solo_last = cut.solo_last;
    lsm_chain_add_hidden(db, rest);
    assert(db->records[i] == rec && db->records[i + 1] == rest);
    return LSM_OK;
}

/* ---- asked of them ---- */

int lsm_series_has_solo(struct lsm_db *db, const struct lsm_prepared *rec, const struct lsm_token *base, uint32_t mark,
                        bool *has)
{
    const struct lsm_series *s = rec->series;
    struct lsm_series_reader r = { .number = 0 };
    int rc;

    /* The one that is asked for is the newest. */
    *has = s->solo_last.txid && lsm_token_equal(base, newest_joint(rec)) &&
           (mark == 0 || lsm_redo_solo_mark(&s->solo_last) == mark) && !lsm_series_is_aborted(db, &s->solo_last);
    if (*has || (!lsm_token_equal(base, &rec->base) && (base->txid < s->txid_first || base->txid > rec->id.txid)))
        return LSM_OK;
    rc = lsm_series_read(&r, db, rec);
    while (rc == LSM_OK && !*has && (rc = lsm_series_next(&r, db)) == LSM_OK)
        *has = r.rec.type == LSM_RECORD_SOLO && lsm_token_equal(&r.rec.base, base) &&
               (mark == 0 || lsm_redo_solo_mark(&r.rec.id) == mark) && !lsm_series_is_aborted(db, &r.rec.id);
    lsm_series_reader_close(&r);
    return rc == LSM_DONE ? LSM_OK : rc;
}

uint64_t lsm_series_log_min(const struct lsm_db *db, uint64_t root_txid)
{
    uint64_t min = UINT64_MAX;

    for (uint32_t i = 0; i < db->record_count; i++) {
        const struct lsm_series *s = db->records[i]->series;
        if (s && s->log < min && db->records[i]->id.txid >= root_txid)
            min = s->log;
    }
    return min;
}
