/*
 * recover.c -- from a directory to a store: MANIFEST, then logs. Opening writes
 * nothing and removes nothing (commit.md R15); what it read can be read again.
 * The first write begins a new MANIFEST, and only then are orphans removed: an
 * edit that showed up late in the old one can no longer name them.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/format/filename.h"

/* ---- MANIFEST ---- */

struct replay {
    struct lsm_db *db;
    struct lsm_version *version;
    struct lsm_edit trees;              /* created, but not yet in `version` */
    uint64_t seq;
    struct lsm_log_end clean_end;       /* number 0: not closed cleanly */
};

/* A version is made for many trees at once: each one copies the list of all, and there is an edit for each
   tree that was created. */
static int apply_trees(struct replay *r)
{
    int rc = r->trees.rc;

    if (rc || lsm_edit_tree_count(&r->trees) == 0)
        return rc;
    rc = lsm_version_advance(&r->version, &r->trees);
    lsm_edit_clear(&r->trees);
    lsm_edit_init(&r->trees, r->db->os);
    return rc;
}

static bool has_only_trees(const struct lsm_edit *e)
{
    return lsm_edit_tree_count(e) > 0 && lsm_edit_dropped_count(e) == 0 && lsm_edit_added_count(e) == 0 &&
           lsm_edit_removed_count(e) == 0 && lsm_edit_vlog_count(e) == 0;
}

static int apply_edit(void *ctx, const struct lsm_edit *e)
{
    struct replay *r = ctx;
    struct lsm_db *db = r->db;
    bool later = has_only_trees(e);
    int rc = later ? LSM_OK : apply_trees(r);

    for (size_t i = 0; i < lsm_edit_tree_count(e) && rc == LSM_OK; i++) {
        rc = lsm_tree_restore(db, &lsm_edit_trees(e)[i]);
        if (later)
            lsm_edit_add_tree(&r->trees, &(struct lsm_edit_tree){ .id = lsm_edit_trees(e)[i].id });
    }
    if (rc == LSM_OK && !later)
        rc = lsm_version_advance(&r->version, e);
    if (rc == LSM_CORRUPT) {    /* tables in an order that is not known look so */
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        rc = lsm_tree_check_comparators(db);
        if (rc == LSM_OK)
            rc = lsm_fail(LSM_CORRUPT, "%s", why);
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < lsm_edit_dropped_count(e); i++) {
        struct lsm_tree *tree = lsm_tree_by_id(db, lsm_edit_dropped(e)[i]);
        if (tree)
            atomic_store(&tree->dropped, true);
    }
    if (e->has & LSM_EDIT_NEXT_FILE)
        atomic_store(&db->next_file, e->next_file);
    if (e->has & LSM_EDIT_NEXT_TREE)
        db->next_tree = e->next_tree;
    if (e->has & LSM_EDIT_LOG)
        db->log_number_min = e->log_number;
    if (e->has & LSM_EDIT_SEQ)
        r->seq = e->seq;
    if (e->has & LSM_EDIT_ROOT)
        db->root = e->root;
    if (e->has & LSM_EDIT_DECIDED)
        db->decided = e->decided;
    if (e->has & LSM_EDIT_FLOOR)
        db->floor = e->floor;
    if (e->has & LSM_EDIT_TXID && db->txid_max < e->txid)
        db->txid_max = e->txid;
    if (e->has & LSM_EDIT_MEMORY) {
        db->memory_bytes = e->memory_bytes;
        db->memory_recorded = true;
    }
    if (e->has & LSM_EDIT_CARRIED)
        db->carry.flag = e->carried;
    if (e->has & LSM_EDIT_LOG_END)
        r->clean_end = (struct lsm_log_end){ e->log_end_number, e->log_end_size, e->log_end_chain };
    return LSM_OK;
}

/* ---- logs ---- */

static void newer_token(struct lsm_token *to, const struct lsm_token *from)
{
    if (from->txid > to->txid)
        *to = *from;
}

static void number_is_taken(struct lsm_db *db, uint64_t number)
{
    if (atomic_load(&db->next_file) <= number)
        atomic_store(&db->next_file, number + 1);
}

/* The value logs that come with an adopted table; decoding the record has seen that they are there. */
static int read_vlogs(struct lsm_db *db, struct lsm_reader *r, uint32_t count, struct lsm_run *run)
{
    struct lsm_vlog_meta *metas;
    int rc = LSM_OK;

    if (count == 0)
        return LSM_OK;
    metas = lsm_mem_alloc(db->os, count * sizeof *metas);
    if (!metas)
        return lsm_nomem();
    for (uint32_t i = 0; i < count && rc == LSM_OK; i++) {
        if (!lsm_vlog_meta_decode(r, &metas[i]) || metas[i].tree != run->meta.tree)
            rc = lsm_corrupt("log", 0, "an adopted table brings a value log that cannot be its own");
        else
            number_is_taken(db, metas[i].number);
    }
    if (rc == LSM_OK)
        rc = lsm_run_set_vlogs(run, metas, count);
    lsm_mem_free(db->os, metas);
    return rc;
}

static int read_adopted(struct lsm_db *db, struct lsm_prepared *prep, const struct lsm_record *rec)
{
    struct lsm_reader r = lsm_reader(rec->adopted);

    if (rec->adopted_count == 0)
        return LSM_OK;
    if (rec->adopted_count > rec->adopted.size)
        return lsm_corrupt("log", 0, "more adopted tables than bytes");
    prep->runs = lsm_mem_alloc(db->os, rec->adopted_count * sizeof *prep->runs);
    if (!prep->runs)
        return lsm_nomem();
    for (uint32_t i = 0; i < rec->adopted_count; i++) {
        struct lsm_table_meta meta;
        uint32_t vlog_count;
        int rc = lsm_record_next_adopted(&r, rec, &meta, &vlog_count);
        if (rc == LSM_OK)
            rc = lsm_run_new(db->os, &meta, &prep->runs[prep->run_count]);
        if (rc)
            return rc;
        prep->run_count++;
        number_is_taken(db, meta.number);
        rc = read_vlogs(db, &r, vlog_count, prep->runs[prep->run_count - 1]);
        if (rc)
            return rc;
    }
    return LSM_OK;
}

void lsm_recover_note(struct lsm_db *db, const struct lsm_record *rec)
{
    newer_token(&db->decided, &rec->decided);
    newer_token(&db->floor, &rec->floor);
    if (db->txid_max < rec->id.txid)
        db->txid_max = rec->id.txid;
    if (rec->type == LSM_RECORD_JOINT) {
        newer_token(&db->newest_joint, &rec->id);
        if (!lsm_token_equal(&rec->base, &rec->decided))
            db->suspect = true;
    }
}

int lsm_recover_check_trees(const struct lsm_db *db, const struct lsm_record *rec)
{
    char name[LSM_FILENAME_SIZE];

    if (rec->tree_max < db->next_tree)
        return LSM_OK;
    return lsm_corrupt(lsm_filename(name, LSM_FILE_MANIFEST, db->manifest.number), db->manifest.size,
                       "a log has rows of a tree that it does not know: its newest edits are lost, or it is older "
                       "than the logs");
}

int lsm_recover_prepared(struct lsm_db *db, const struct lsm_record *rec, struct lsm_prepared **out)
{
    struct lsm_prepared *prep = lsm_mem_zalloc(db->os, sizeof *prep);
    int rc;

    *out = NULL;
    if (!prep)
        return lsm_nomem();
    lsm_buf_init(&prep->ops, db->os);
    lsm_buf_append_slice(&prep->ops, rec->ops);
    prep->type = rec->type;
    prep->state = LSM_RECORD_HIDDEN;
    prep->id = rec->id;
    prep->base = rec->base;
    prep->op_first = rec->op_first;
    prep->op_max = rec->op_first + rec->op_count - 1;
    rc = prep->ops.rc ? prep->ops.rc : read_adopted(db, prep, rec);
    if (rc)
        lsm_prepared_free(db->os, prep);
    else
        *out = prep;
    return rc;
}

/* Logs are read to see what stands in them; rows wait until it is known which of them count (series.h). */
struct reading {
    struct lsm_db *db;
    uint64_t txid;              /* the newest */
    uint64_t first_txid;        /* the first that was read; 0: none was */
    uint32_t beyond;            /* whole records behind the end of the newest log that was read */
    struct lsm_series_reader copies;    /* is where the newest copy's original is, or not open */
};

/*
 * What a fresh log that was cut short begins with: the same record stands in a log before it, or before it in the log. Or
 * before the first log that is needed: the edit that says so did not come back from its sync (its flush has failed, and
 * the fresh log began with all), and a process that died then left it in the page cache. Tables have those.
 */
static int check_copy(struct reading *r, const struct lsm_record *rec, const struct lsm_log_end *at)
{
    struct lsm_prepared *prep = lsm_chain_first_at(r->db, rec->id.txid);
    struct lsm_series_reader *c = &r->copies;
    int rc = LSM_OK;

    if (rec->id.txid < r->first_txid)
        return LSM_OK;
    if (!prep || prep->series->is_alone) {
        rc = prep && lsm_token_equal(&prep->id, &rec->id) ? LSM_OK : LSM_DONE;
    } else {
        if (c->of != prep->series || c->txid >= rec->id.txid)
            rc = lsm_series_read(c, r->db, prep);
        while (rc == LSM_OK && c->txid < rec->id.txid)
            rc = lsm_series_next(c, r->db);
        if (rc == LSM_OK && !lsm_token_equal(&c->rec.id, &rec->id))
            rc = LSM_DONE;
    }
    return rc == LSM_DONE ? lsm_corrupt("log", at->size, "transaction numbers do not ascend") : rc;
}

static int read_record(struct reading *r, struct lsm_slice payload, const struct lsm_log_end *from,
                       const struct lsm_log_end *to)
{
    struct lsm_db *db = r->db;
    struct lsm_record rec;
    int rc;

    if (!lsm_record_decode(payload, db->uuid, &rec))
        return lsm_corrupt("log", from->size, "not a record of this store");
    rc = lsm_recover_check_trees(db, &rec);
    if (rc)
        return rc;
    lsm_recover_note(db, &rec);
    if (rec.type == LSM_RECORD_ABORT)
        return lsm_series_abort(db, &rec.id);
    if (rec.id.txid <= r->txid) {
        db->replays_whole = true;       /* without the log before it a copy would be taken for a new record */
        return check_copy(r, &rec, from);
    }
    r->txid = rec.id.txid;
    if (r->first_txid == 0)
        r->first_txid = rec.id.txid;
    r->copies.of = NULL;        /* a series may have changed */
    return lsm_series_add(db, &rec, from, to);
}

/* As lsm_log_read. */
static int read_log(struct reading *r, uint64_t number, struct lsm_log_end *end, struct lsm_log_end *prev, bool *torn)
{
    struct lsm_db *db = r->db;
    struct lsm_log_reader log;
    struct lsm_slice payload;
    int rc = lsm_log_reader_open(&log, db->os, db->dir, db->uuid, number, prev);

    *end = (struct lsm_log_end){ number, 0, 0 };
    while (rc == LSM_OK) {
        struct lsm_log_end from = { number, log.frames.off, log.frames.chain }, to;

        *end = from;
        rc = lsm_log_reader_next(&log, &payload);
        to = (struct lsm_log_end){ number, log.frames.off, log.frames.chain };
        if (rc == LSM_OK)
            rc = read_record(r, payload, &from, &to);
    }
    *torn = log.frames.torn;
    r->beyond = log.frames.beyond;
    lsm_log_reader_close(&log);
    return rc == LSM_DONE ? LSM_OK : rc;
}

/*
 * A power cut leaves holes where nothing was synced, and so may look like damage in front of the newest sync, which no
 * record names. Who must know asks for paranoid_checks; else the records behind the hole are left out, and told.
 */
static int tell_torn(struct lsm_db *db, const struct lsm_log_end *end, uint32_t beyond)
{
    char name[LSM_FILENAME_SIZE];

    lsm_filename(name, LSM_FILE_LOG, end->number);
    if (beyond == 0)
        lsm_db_event(db, LSM_EVENT_INFO, "log %llu ends in a torn record, which was never synced",
                     (unsigned long long)end->number);
    else if (db->paranoid)
        return lsm_corrupt(name, end->size, "torn or damaged, with whole records behind it: a power cut leaves that of "
                                            "records that were not synced; without paranoid_checks they are left out");
    else
        lsm_db_event(db, LSM_EVENT_WARNING, "%s is torn or damaged at offset %llu: %lu whole records behind it are left out. "
                     "A power cut leaves that of records that were not synced; if they were, repair a copy of the "
                     "directory: the next write removes them", name, (unsigned long long)end->size, (unsigned long)beyond);
    return LSM_OK;
}

/*
 * A log that does not go on where the one before it ends. Was that one synced when this was relied on?
 * Then records are missing that were on disk. If nothing in it and in those that follow it ever relied on
 * a sync, a power cut took the tail of the one before, and they are void. A log that follows on none comes
 * from an open that was cut short: it begins with copies of all that counted. *at: the next one to be read.
 */
static int judge_hole(struct lsm_db *db, const struct lsm_buf *logs, size_t *at, const struct lsm_log_end *prev,
                      const struct lsm_log_end *last)
{
    uint64_t number = lsm_get_u64(logs->data + *at), newest = number;
    bool relied = last->number != prev->number || last->size >= prev->size, torn;
    struct lsm_log_end before = *prev;
    size_t i = *at;
    int rc = LSM_OK;

    while (rc == LSM_OK && !relied && before.number) {
        newest = lsm_get_u64(logs->data + i);
        rc = lsm_log_read_relied(db->os, db->dir, db->uuid, newest, &relied);
        i += 8;
        if (i + 8 > logs->size)
            break;
        if (rc == LSM_OK)
            rc = lsm_log_read_prev(db->os, db->dir, db->uuid, lsm_get_u64(logs->data + i), &before, &torn);
    }
    if (rc)
        return rc;
    if (relied)
        return lsm_log_check_prev(number, prev, last);
    *at = i;
    lsm_db_event(db, LSM_EVENT_INFO, "log %llu follows on records that were never synced and are lost: it is left "
                 "out, like them", (unsigned long long)number);
    db->void_first = number;
    db->void_last = newest;
    if (atomic_load(&db->next_file) <= newest)
        atomic_store(&db->next_file, newest + 1);
    return LSM_DONE;
}

static int ends_elsewhere(const struct lsm_log_end *clean_end, uint64_t at)
{
    char name[LSM_FILENAME_SIZE];

    return lsm_corrupt(lsm_filename(name, LSM_FILE_LOG, clean_end->number), at,
                       "the log ends elsewhere than when the store was closed");
}

static int read_logs(struct lsm_db *db, const struct lsm_log_end *clean_end)
{
    struct lsm_log_end last = { 0, 0, 0 }, end, prev;
    struct reading r = { .db = db };
    struct lsm_buf logs;
    bool torn;
    int rc = lsm_write_logs(db, db->log_number_min, &logs);

    if (rc)
        return rc;
    if (db->log_number_min && (logs.size == 0 || lsm_get_u64(logs.data) != db->log_number_min)) {
        char name[LSM_FILENAME_SIZE];
        rc = lsm_corrupt(lsm_filename(name, LSM_FILE_LOG, db->log_number_min), 0,
                         "the log is missing (was it deleted, or left out of a copy?)");
    }
    for (size_t i = 0; i + 8 <= logs.size && rc == LSM_OK; i += 8) {
        uint32_t mark;

        if (lsm_log_read_mark(db->os, db->dir, db->uuid, lsm_get_u64(logs.data + i), &mark) == LSM_OK) {
            lsm_buf_put_u32(&db->log_marks, mark);
            rc = db->log_marks.rc;
        }
    }
    for (size_t i = 0; i + 8 <= logs.size && rc == LSM_OK;) {
        uint64_t number = lsm_get_u64(logs.data + i);

        rc = lsm_log_read_prev(db->os, db->dir, db->uuid, number, &prev, &torn);
        /* Nothing is appended to a log once the next one was begun behind it. */
        if (rc == LSM_OK && !torn && prev.number && prev.number >= db->log_number_min)
            rc = lsm_log_check_prev(number, &prev, &last);
        if (rc == LSM_CORRUPT && prev.number)
            rc = judge_hole(db, &logs, &i, &prev, &last);
        if (rc == LSM_DONE) {
            rc = LSM_OK;
            continue;
        }
        if (rc == LSM_OK)
            rc = read_log(&r, number, &end, &prev, &torn);
        if (rc == LSM_OK && number == clean_end->number &&
            (end.size != clean_end->size || end.chain != clean_end->chain))
            rc = ends_elsewhere(clean_end, end.size);
        if (rc == LSM_OK && end.size) {
            last = end;
            lsm_buf_append(&db->logs_read, &end, sizeof end);
            rc = rc ? rc : db->logs_read.rc;
        }
        if (rc == LSM_OK && torn)
            rc = tell_torn(db, &end, r.beyond);
        if (atomic_load(&db->next_file) <= number)
            atomic_store(&db->next_file, number + 1);
        i += 8;
    }
    lsm_series_reader_close(&r.copies);
    lsm_buf_clear(&logs);
    if (rc == LSM_OK && last.number < clean_end->number)
        rc = ends_elsewhere(clean_end, last.size);
    db->log_last = last;
    db->log_closed = *clean_end;
    atomic_store(&db->log_size, last.size);
    return rc;
}

/* ---- opening ---- */

static int first_version(struct lsm_db *db, struct lsm_version *version)
{
    struct lsm_view *view = lsm_view_alloc(db->os);

    if (!view)
        return lsm_nomem();
    lsm_view_fill(view, NULL, 0, version);
    lsm_view_install(db, view);
    return LSM_OK;
}

static int note_number(void *ctx, const char *name)
{
    struct lsm_db *db = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (lsm_filename_parse(name, &kind, &number) && atomic_load(&db->next_file) <= number)
        atomic_store(&db->next_file, number + 1);
    return 0;
}

static int refuse_foreign(void *ctx, const char *name)
{
    enum lsm_file_kind kind;
    uint64_t number;

    (void)ctx;
    if (lsm_filename_parse(name, &kind, &number) &&
        (kind == LSM_FILE_LOCK || kind == LSM_FILE_TEMP || kind == LSM_FILE_MANIFEST ||
         kind == LSM_FILE_INFO_LOG || kind == LSM_FILE_INFO_LOG_OLD))
        return 0;               /* what a creation that was cut short leaves */
    return lsm_fail(LSM_EXISTS, "the directory holds \"%.100s\", which is not of a new store", name);
}

static int create_store(struct lsm_db *db, const uint8_t *uuid_wanted)
{
    struct lsm_edit snapshot;
    int rc = db->os->dir_list(db->dir, refuse_foreign, NULL);

    if (rc) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        return lsm_fail(rc == LSM_EXISTS ? LSM_EXISTS : LSM_IOERR, "%s: no store is created there: %.300s",
                        db->path, why);
    }
    if (uuid_wanted)
        memcpy(db->uuid, uuid_wanted, 16);
    else if (db->os->random(db->os, db->uuid, 16))
        return lsm_fail(LSM_IOERR, "the machine gives no random bytes");
    db->os->dir_list(db->dir, note_number, db);
    lsm_edit_init(&snapshot, db->os);
    rc = lsm_recover_snapshot(db, &snapshot);
    if (rc == LSM_OK)
        rc = lsm_manifest_create(&db->manifest, db->os, db->dir, db->uuid, lsm_db_new_file(db),
                                 db->file_mode, &snapshot);
    lsm_edit_clear(&snapshot);
    db->writing_begun = rc == LSM_OK;
    return rc;
}

int lsm_recover(struct lsm_db *db, bool create, const uint8_t *uuid_wanted)
{
    struct replay r = { .db = db };
    int rc;

    rc = lsm_version_new(db->os, lsm_obsolete_run, lsm_tree_comparator, db, &r.version);
    if (rc)
        return rc;
    r.version->obsolete_vlog = lsm_obsolete_vlog;
    atomic_store(&db->next_file, 1);
    db->next_tree = 1;
    lsm_edit_init(&r.trees, db->os);
    rc = lsm_manifest_open(&db->manifest, db->os, db->dir, db->read_only, apply_edit, &r);
    if (rc == LSM_OK)
        rc = apply_trees(&r);
    lsm_edit_clear(&r.trees);
    if (rc == LSM_NOTFOUND) {
        if (!create) {
            lsm_version_unref(r.version);
            return lsm_fail(LSM_NOTFOUND, "%s: there is no store in this directory", db->path);
        }
        rc = first_version(db, r.version);
        lsm_version_unref(r.version);
        if (rc == LSM_OK)
            rc = lsm_chain_reserve(db);
        if (rc == LSM_OK) {
            db->chain[db->chain_count++] = (struct lsm_chain_link){ db->root, 0 };
            rc = create_store(db, uuid_wanted);
        }
        return rc;
    }
    if (rc == LSM_OK) {
        memcpy(db->uuid, db->manifest.uuid, 16);
        if (uuid_wanted && memcmp(uuid_wanted, db->uuid, 16) != 0)
            rc = lsm_fail(LSM_MISMATCH, "%s: the store belongs to another database", db->path);
    }
    if (rc == LSM_OK)
        rc = lsm_tree_check_comparators(db);
    if (rc == LSM_OK)
        rc = first_version(db, r.version);
    lsm_version_unref(r.version);
    if (rc)
        return rc;

    lsm_db_set_budget(db, db->memory_bytes);    /* the MANIFEST may have recorded another */
    db->seq_alloc = db->seq_flushed = r.seq;
    atomic_store(&db->seq_published, r.seq);
    db->horizon = r.seq;
    db->newest_joint = db->root;
    rc = lsm_chain_reserve(db);
    if (rc)
        return rc;
    db->chain[db->chain_count++] = (struct lsm_chain_link){ db->root, 0 };
    rc = read_logs(db, &r.clean_end);
    if (rc)
        return rc;
    atomic_store(&db->creation_settled, db->floor.txid != 0);
    if (db->os->dir_list(db->dir, note_number, db))
        return lsm_fail(LSM_IOERR, "%s: cannot be listed", db->path);
    return LSM_OK;
}

/* ---- the first write ---- */

int lsm_recover_snapshot(struct lsm_db *db, struct lsm_edit *e)
{
    int rc;

    lsm_db_lock(db);
    e->has |= LSM_EDIT_NEXT_FILE | LSM_EDIT_NEXT_TREE | LSM_EDIT_LOG | LSM_EDIT_SEQ | LSM_EDIT_ROOT |
              LSM_EDIT_DECIDED | LSM_EDIT_FLOOR | LSM_EDIT_TXID | LSM_EDIT_CARRIED;
    e->next_file = atomic_load(&db->next_file) + 2;     /* the MANIFEST's own number is below */
    e->next_tree = db->next_tree;
    e->log_number = db->log_number_min;
    e->seq = db->seq_flushed;
    e->root = db->root;
    e->decided = db->decided;
    e->floor = db->floor;
    e->txid = db->txid_max;
    e->carried = db->carry.flag;
    if (db->memory_recorded) {
        e->has |= LSM_EDIT_MEMORY;
        e->memory_bytes = db->memory_bytes;
    }
    /* It gets no more records, whoever opens the store: the next one goes to a fresh log. Without this, damage in
       its tail looks like a record that was torn by a crash. */
    if (!db->has_log && db->log_closed.number) {
        e->has |= LSM_EDIT_LOG_END;
        e->log_end_number = db->log_closed.number;
        e->log_end_size = db->log_closed.size;
        e->log_end_chain = db->log_closed.chain;
    }
    rc = lsm_tree_to_edit(db, e);
    if (rc == LSM_OK) {
        /* The current version cannot go while the log slot is held. */
        lsm_version_to_edit(db->view->version, e);
        rc = e->rc;
    }
    lsm_db_unlock(db);
    return rc;
}

struct sweep {
    struct lsm_db *db;
    struct lsm_buf names;       /* LSM_FILENAME_SIZE each */
};

bool lsm_recover_needs_table(const struct lsm_db *db, uint64_t number)
{
    const struct lsm_version *v = db->view->version;

    for (uint32_t t = 0; t < v->tree_count; t++)
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
            for (uint32_t i = 0; i < v->trees[t]->level[l].count; i++)
                if (v->trees[t]->level[l].runs[i]->meta.number == number)
                    return true;
    for (uint32_t i = 0; i < db->record_count; i++)
        for (uint32_t k = 0; k < db->records[i]->run_count; k++)
            if (db->records[i]->runs[k]->meta.number == number)
                return true;
    const struct lsm_unit *unit = db->view->newest;
    for (uint32_t i = 0; i < db->view->unit_count; i++, unit = unit->older)
        for (uint32_t k = 0; k < unit->run_count; k++)
            if (unit->runs[k]->meta.number == number)
                return true;
    return false;
}

static bool runs_need_vlog(struct lsm_run *const *runs, uint32_t count, uint64_t number)
{
    return lsm_runs_vlog(runs, count, number) != NULL;  /* a first file: the number is the id */
}

bool lsm_recover_needs_vlog(const struct lsm_db *db, uint64_t number)
{
    const struct lsm_version *v = db->view->version;
    const struct lsm_unit *unit = db->view->newest;

    for (uint32_t i = 0; i < v->vlog_count; i++)
        if (v->vlogs[i].file->meta.number == number)
            return true;
    for (uint32_t i = 0; i < db->record_count; i++)
        if (runs_need_vlog(db->records[i]->runs, db->records[i]->run_count, number))
            return true;
    for (uint32_t i = 0; i < db->view->unit_count; i++, unit = unit->older)
        if (runs_need_vlog(unit->runs, unit->run_count, number))
            return true;
    return false;
}

static int sweep_name(void *ctx, const char *name)
{
    struct sweep *s = ctx;
    enum lsm_file_kind kind;
    uint64_t number;
    bool is_orphan = false;

    if (!lsm_filename_parse(name, &kind, &number))
        return 0;
    if (kind == LSM_FILE_TEMP)
        is_orphan = true;
    else if (kind == LSM_FILE_MANIFEST)
        is_orphan = number != s->db->manifest.number;
    else if (kind == LSM_FILE_LOG)
        is_orphan = number < s->db->log_number_min;
    else if (kind == LSM_FILE_TABLE)
        is_orphan = !lsm_recover_needs_table(s->db, number);
    else if (kind == LSM_FILE_VLOG)
        is_orphan = !lsm_recover_needs_vlog(s->db, number);
    if (is_orphan) {
        char fixed[LSM_FILENAME_SIZE] = { 0 };
        memcpy(fixed, name, strlen(name));
        lsm_buf_append(&s->names, fixed, sizeof fixed);
    }
    return 0;
}

/* Nothing of this process has made a table yet: what nobody names is an orphan. */
static void sweep_orphans(struct lsm_db *db)
{
    struct sweep s = { .db = db };
    uint64_t removed = 0;

    lsm_buf_init(&s.names, db->os);
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    int error = db->os->dir_list(db->dir, sweep_name, &s);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    for (size_t i = 0; !error && i + LSM_FILENAME_SIZE <= s.names.size; i += LSM_FILENAME_SIZE)
        removed += db->os->file_remove(db->dir, (const char *)s.names.data + i) == 0;
    lsm_buf_clear(&s.names);
    if (removed)
        lsm_db_event(db, LSM_EVENT_INFO, "removed %llu files that nothing refers to",
                     (unsigned long long)removed);
}

int lsm_recover_begin_writing(struct lsm_db *db)
{
    struct lsm_edit snapshot;
    int rc = lsm_db_writable(db);

    assert(db->log_busy);
    if (rc || db->writing_begun)
        return rc;
    lsm_edit_init(&snapshot, db->os);
    rc = lsm_recover_snapshot(db, &snapshot);
    if (rc == LSM_OK)
        rc = lsm_manifest_create(&db->manifest, db->os, db->dir, db->uuid, lsm_db_new_file(db),
                                 db->file_mode, &snapshot);
    lsm_edit_clear(&snapshot);
    if (rc)
        return rc;
    db->writing_begun = true;
    sweep_orphans(db);
    lsm_db_event(db, LSM_EVENT_INFO, "opened for writing, version " LSM_VERSION);
    return LSM_OK;
}
