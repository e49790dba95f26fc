/*
 * write.c -- the way to disk: the log slot, the log that is appended to, the
 * MANIFEST.
 *
 * After an open, and after a failed append or sync, the next record goes to a
 * fresh log that begins with copies of every record that may still count
 * (commit.md R11): the kernel calls pages of a failed sync clean, and what was
 * read at open may stand in the page cache only. The old logs stay until the
 * fresh one and its name are on disk and the MANIFEST says so.
 */
#include "lsm/db/db.h"

#include <assert.h>
#include <errno.h>

#include "lsm/format/filename.h"
#include "lsm/util/hash.h"

void lsm_write_slot_take(struct lsm_db *db)
{
    uint64_t turn = db->log_turns++;

    /* In turn: a writer that comes again at once would have it again before a flush has woken up. */
    while (db->log_busy || db->log_turn != turn)
        db->os->cond_wait(db->changed, db->mutex);
    db->log_busy = true;
}

void lsm_write_slot_give(struct lsm_db *db)
{
    assert(db->log_busy);
    db->log_busy = false;
    db->log_turn++;
    db->os->cond_broadcast(db->changed);
}

int lsm_write_begin(struct lsm_db *db)
{
    int rc;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    rc = lsm_recover_begin_writing(db);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

/* ---- MANIFEST ---- */

/* A version that did not come to be: its new tables may stand in the MANIFEST all the same, so nobody
   may hear that they are obsolete. */
static void abandon(struct lsm_version *version)
{
    if (version) {
        version->obsolete = NULL;
        version->obsolete_vlog = NULL;
    }
    lsm_version_unref(version);
}

int lsm_write_edit(struct lsm_db *db, struct lsm_edit *edit, uint32_t drop_units)
{
    struct lsm_version *version = NULL, *base;
    struct lsm_view *view, *old;
    int rc;

    assert(db->log_busy);
    edit->has |= LSM_EDIT_NEXT_FILE;
    edit->next_file = atomic_load(&db->next_file);
    view = lsm_view_alloc(db->os);
    if (!view)
        return lsm_nomem();
    lsm_db_lock(db);
    base = db->view->version;
    lsm_version_ref(base);
    rc = edit->rc ? edit->rc : lsm_version_apply(base, edit, &version);
    lsm_db_unlock(db);
    if (rc == LSM_OK && (db->manifest.failed || lsm_manifest_is_long(&db->manifest))) {
        struct lsm_edit snapshot;
        lsm_edit_init(&snapshot, db->os);
        rc = lsm_recover_snapshot(db, &snapshot);
        if (rc == LSM_OK)
            rc = lsm_manifest_create(&db->manifest, db->os, db->dir, db->uuid, lsm_db_new_file(db),
                                     db->file_mode, &snapshot);
        lsm_edit_clear(&snapshot);
        edit->next_file = atomic_load(&db->next_file);
    }
    if (rc == LSM_OK) {
        edit->may_be_on_disk = true;
        rc = lsm_manifest_append(&db->manifest, edit);
    }
    lsm_version_unref(base);
    if (rc) {
        abandon(version);
        lsm_mem_free(db->os, view);
        return rc;
    }
    lsm_db_lock(db);
    old = db->view;
    assert(drop_units <= old->unit_count);
    lsm_view_fill(view, old->newest, old->unit_count - drop_units, version);
    lsm_view_install(db, view);
    lsm_db_unlock(db);
    lsm_version_unref(version);
    lsm_view_unref(old);
    return LSM_OK;
}

/* ---- the log ---- */

struct known_abort {
    uint64_t txid;
    bool is_copied;
};

struct copy {
    struct lsm_db *db;
    struct lsm_log *to;
    struct lsm_buf aborted;     /* struct known_abort */
    uint64_t txid;              /* the newest that was copied */
    struct lsm_token skip;      /* a solo that is being taken back: it must not come back either way */
    const struct lsm_taken *taken;      /* the next of those that no log has */
    bool second_pass;
};

static struct known_abort *find_abort(const struct copy *c, uint64_t txid)
{
    struct known_abort *aborts = (void *)c->aborted.data;

    for (size_t i = 0; i < c->aborted.size / sizeof *aborts; i++)
        if (aborts[i].txid == txid)
            return &aborts[i];
    return NULL;
}

static int note_abort(struct copy *c, uint64_t txid)
{
    struct known_abort known = { .txid = txid };

    if (!find_abort(c, txid))
        lsm_buf_append(&c->aborted, &known, sizeof known);
    return c->aborted.rc;
}

/* Is it what a fresh log that was cut short began with? Copied again, the logs would be twice as large with each open
   that is killed here. */
static bool is_copied(struct copy *c, const struct lsm_record *rec)
{
    struct known_abort *known = rec->type == LSM_RECORD_ABORT ? find_abort(c, rec->id.txid) : NULL;
    bool was_copied = known ? known->is_copied : rec->id.txid <= c->txid;

    if (known)
        known->is_copied = true;
    else if (!was_copied)
        c->txid = rec->id.txid;
    return was_copied;
}

/* Write those below `txid` that no log has (R11). */
static int copy_taken(struct copy *c, uint64_t txid)
{
    int rc = LSM_OK;

    for (; c->taken && rc == LSM_OK; c->taken = c->taken->next) {
        struct lsm_slice bytes = lsm_slice(c->taken->record, c->taken->size);
        struct lsm_record rec;
        if (!lsm_record_decode(bytes, c->db->uuid, &rec) || rec.id.txid >= txid)
            break;
        rc = lsm_log_append(c->to, &bytes, 1);
    }
    return rc;
}

static int copy_record(void *ctx, struct lsm_slice payload, uint64_t off)
{
    struct copy *c = ctx;
    struct lsm_record rec;

    if (!lsm_record_decode(payload, c->db->uuid, &rec))
        return lsm_corrupt("log", off, "not a record of this store");
    if (!c->second_pass)
        return rec.type == LSM_RECORD_ABORT ? note_abort(c, rec.id.txid) : LSM_OK;
    if (rec.type == LSM_RECORD_SOLO && (find_abort(c, rec.id.txid) || lsm_token_equal(&rec.id, &c->skip) ||
                                        (rec.id.txid >= c->db->undo_first && rec.id.txid <= c->db->undo_last)))
        return LSM_OK;
    if (is_copied(c, &rec))
        return LSM_OK;
    int rc = rec.type == LSM_RECORD_ABORT ? LSM_OK : copy_taken(c, rec.id.txid);
    return rc ? rc : lsm_log_append(c->to, &payload, 1);
}

struct log_list {
    struct lsm_buf numbers;
    const struct lsm_db *db;
    uint64_t min, max;
    uint64_t next;              /* log_next_number before the list began: it may be gone by now */
};

static int collect_log(void *ctx, const char *name)
{
    struct log_list *list = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (lsm_filename_parse(name, &kind, &number) && kind == LSM_FILE_LOG && number >= list->min &&
        number <= list->max && number != list->next && number != atomic_load(&list->db->log_next_number) &&
        (number < list->db->void_first || number > list->db->void_last))
        lsm_buf_put_u64(&list->numbers, number);
    return 0;
}

/* The numbers of the logs that count, ascending, as u64s in *out. A flush may make the next one and give it up
   again while the directory is read. */
int lsm_write_logs(struct lsm_db *db, uint64_t min, struct lsm_buf *out)
{
    struct log_list list = { .db = db, .min = min, .max = db->has_log ? db->log.number : UINT64_MAX,
                             .next = atomic_load(&db->log_next_number) };
    int error;

    lsm_buf_init(&list.numbers, db->os);
    lsm_buf_init(out, db->os);      /* the caller clears it also on failure */
    error = db->os->dir_list(db->dir, collect_log, &list);
    if (error || list.numbers.rc) {
        lsm_buf_clear(&list.numbers);
        return error ? lsm_fail_os(error, "list", db->path) : lsm_nomem();
    }
    uint64_t *n = (void *)list.numbers.data;
    size_t count = list.numbers.size / 8;
    for (size_t i = 1; i < count; i++)          /* few */
        for (size_t k = i; k > 0 && n[k] < n[k - 1]; k--) {
            uint64_t t = n[k];
            n[k] = n[k - 1];
            n[k - 1] = t;
        }
    *out = list.numbers;
    return LSM_OK;
}

static int fail_lost(const char *name, uint64_t bytes)
{
    return lsm_fail(LSM_FSYNC, "%s: %llu bytes were lost in a failed sync: nothing can be written behind them "
                               "(open the store anew)", name, (unsigned long long)bytes);
}

/*
 * Is all there that this process wrote, or read at open? After a failed sync the machine may have read anew what is on
 * disk. Without this, records that follow would be kept and those before them not.
 */
static int check_whole(const struct lsm_db *db, const struct lsm_log_end *end)
{
    char name[LSM_FILENAME_SIZE];
    uint64_t size = db->has_log && end->number == db->log.number                 ? db->log.size
                    : db->has_log_before && end->number == db->log_before.number ? db->log_before.size
                                                                                 : 0;

    if (end->size >= size)
        return LSM_OK;
    return fail_lost(lsm_filename(name, LSM_FILE_LOG, end->number), size - end->size);
}

static int copy_live(struct lsm_db *db, struct lsm_log *to, const struct lsm_taken *taken)
{
    struct copy c = { .db = db, .to = to, .taken = taken };
    const struct lsm_log_end *was = (const void *)db->logs_read.data;
    uint64_t bytes = 0, bytes_read = 0;     /* of those that were read at open: now, and then */
    struct lsm_buf logs;
    int rc = lsm_write_logs(db, db->log_number_min, &logs);

    if (rc)
        return rc;
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    if (db->solo_in_flight && db->solo_in_flight->state == LSM_RECORD_DEAD)
        c.skip = db->solo_in_flight->id;
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    lsm_buf_init(&c.aborted, db->os);
    for (int pass = 0; pass < 2 && rc == LSM_OK; pass++) {
        c.second_pass = pass == 1;
        for (size_t i = 0; i + 8 <= logs.size && rc == LSM_OK; i += 8) {
            uint64_t number = lsm_get_u64(logs.data + i);
            struct lsm_log_end end, prev;
            bool torn;
            if (number >= to->number)
                continue;
            rc = lsm_log_read(db->os, db->dir, db->uuid, number, copy_record, &c, &end, &prev, &torn);
            if (rc == LSM_OK)
                rc = check_whole(db, &end);
            if (c.second_pass && number <= db->log_last.number)
                bytes += end.size;
        }
    }
    for (size_t i = 0; i < db->logs_read.size / sizeof *was; i++)
        bytes_read += was[i].number >= db->log_number_min ? was[i].size : 0;
    if (rc == LSM_OK && !db->has_log && bytes < bytes_read)
        rc = fail_lost(db->path, bytes_read - bytes);
    if (rc == LSM_OK)
        rc = copy_taken(&c, UINT64_MAX);
    lsm_buf_clear(&c.aborted);
    lsm_buf_clear(&logs);
    return rc;
}

/* By a backup, which would call a log that is cut at its end damaged. */
static bool logs_are_read(struct lsm_db *db)
{
    bool are_read;

    lsm_db_lock(db);
    are_read = db->backups != NULL;
    lsm_db_unlock(db);
    return are_read;
}

static void close_log(struct lsm_db *db, struct lsm_log *log)
{
    if (logs_are_read(db))
        lsm_log_drop(log);
    else
        lsm_log_close(log);
}

static int begin_fresh_log(struct lsm_db *db)
{
    struct lsm_log log;
    struct lsm_edit edit;
    struct lsm_taken *taken;
    uint64_t number = lsm_db_new_file(db);
    char name[LSM_FILENAME_SIZE];
    int rc = lsm_log_create(&log, db->os, db->dir, db->uuid, number, NULL, db->file_mode);

    uint64_t before = db->log_fresh;

    if (rc)
        return rc;
    log.is_helped = !db->no_worker;
    db->log_fresh = number;
    taken = lsm_carry_take(db);
    rc = copy_live(db, &log, taken);
    if (rc == LSM_OK)
        rc = lsm_log_sync(&log);
    if (rc == LSM_OK) {
        int error = db->os->dir_sync(db->dir);
        if (error)
            rc = lsm_fail_os(error, "sync directory", db->path);
    }
    if (rc == LSM_OK) {
        lsm_edit_init(&edit, db->os);
        edit.has |= LSM_EDIT_LOG;
        edit.log_number = number;
        rc = lsm_write_edit(db, &edit, 0);
        lsm_edit_clear(&edit);
    }
    if (rc) {
        lsm_carry_give_back(db, taken);
        lsm_log_close(&log);
        /* When the MANIFEST may name it, it must stay; if not, what it holds is in the old logs, too. */
        if (!db->manifest.failed &&
            db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_LOG, number)) == 0)
            db->log_fresh = before;
        return rc;
    }
    lsm_carry_free(db->os, taken);
    lsm_carry_covered(db);
    lsm_write_forget_before(db);
    lsm_room_take_back(db);
    if (db->has_log)
        close_log(db, &db->log);
    db->log = log;
    db->has_log = true;
    atomic_store(&db->log_size, log.size);
    lsm_db_lock(db);
    db->log_number_min = number;
    lsm_db_unlock(db);
    return LSM_OK;
}

bool lsm_write_is_ready(const struct lsm_db *db)
{
    return atomic_load(&db->writing_begun) && db->has_log && !db->log.failed && !atomic_load(&db->carry.is_pending);
}

int lsm_write_ready(struct lsm_db *db)
{
    int rc = lsm_recover_begin_writing(db);

    if (rc == LSM_OK && !lsm_write_is_ready(db))
        rc = begin_fresh_log(db);
    return rc;
}

void lsm_write_encode(struct lsm_db *db, struct lsm_record *rec, struct lsm_buf *out)
{
    assert(db->log_busy);
    db->nonce_count++;
    rec->nonce = lsm_hash64(&db->nonce_count, sizeof db->nonce_count, db->nonce_seed[0]) ^ db->nonce_seed[1];
    lsm_record_encode(out, rec, db->uuid);
}

void lsm_write_forget_before(struct lsm_db *db)
{
    if (db->has_log_before)
        lsm_log_drop(&db->log_before);
    db->has_log_before = false;
    if (db->has_log)
        lsm_log_prev_is_safe(&db->log);
}

int lsm_write_sync_before(struct lsm_db *db)
{
    int rc;

    if (!db->has_log_before)
        return LSM_OK;
    rc = lsm_log_sync(&db->log_before);
    if (rc) {                   /* a fresh log gets what both of them hold */
        db->log.failed = true;
        return rc;
    }
    close_log(db, &db->log_before);
    db->has_log_before = false;
    lsm_log_prev_is_safe(&db->log);
    return LSM_OK;
}

/* There was no room for a record: the log goes on without it, where what was written can be cut off; else a fresh one is
   begun. */
static void take_back(struct lsm_db *db)
{
    char why[LSM_ERROR_TEXT_SIZE];

    lsm_error_save(why, sizeof why);
    lsm_room_take_back(db);
    lsm_ahead_wait(db);
    if (!logs_are_read(db) && db->ahead_failed != db->log.number)       /* what that sync lost is lost (R11) */
        (void)lsm_log_take_back(&db->log);
    lsm_fail(LSM_FULL, "%s", why);
}

int lsm_write_bytes(struct lsm_db *db, struct lsm_slice bytes, bool sync)
{
    /* Before the record is written, so that it tells that there is no hole. */
    int rc = sync ? lsm_write_sync_before(db) : LSM_OK;
    uint64_t mapped = db->log.mapped_bytes;

    if (rc)
        return rc;
    lsm_room_keep_out(db, db->log.size + lsm_frame_size(bytes.size));
    rc = lsm_log_append(&db->log, &bytes, 1);
    if (rc == LSM_FULL)
        take_back(db);
    if (rc)
        return rc;
    atomic_store_explicit(&db->log_size, db->log.size, memory_order_relaxed);
    lsm_count(&db->counters.log_bytes, bytes.size);
    lsm_count(&db->counters.log_bytes_mapped, db->log.mapped_bytes - mapped);
    if (!sync)
        lsm_room_look(db);
    return sync ? lsm_write_sync(db) : LSM_OK;
}

void lsm_write_trim(struct lsm_db *db)
{
    if (db->encode.cap > 1u << 20)
        lsm_buf_clear(&db->encode);
}

int lsm_write_append(struct lsm_db *db, struct lsm_record *rec, bool sync)
{
    int rc;

    lsm_buf_reset(&db->encode);
    lsm_write_encode(db, rec, &db->encode);
    rc = db->encode.rc ? db->encode.rc : lsm_write_bytes(db, lsm_buf_slice(&db->encode), sync);
    if (rc == LSM_OK && !sync)
        lsm_carry_bare(db);
    lsm_write_trim(db);
    return rc;
}

int lsm_write_sync(struct lsm_db *db)
{
    uint64_t begun = db->os->mono_us(db->os), us, bytes = db->log.size - db->log.synced;
    int rc;

    assert(db->log_busy);
    lsm_ahead_wait(db);
    atomic_fetch_add_explicit(&db->counters.log_syncs, 1, memory_order_relaxed);
    rc = lsm_write_sync_before(db);
    if (rc == LSM_OK)
        rc = lsm_log_sync(&db->log);
    us = db->os->mono_us(db->os) - begun;
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_SYNC], us);
    if (rc == LSM_OK) {
        lsm_carry_timed(&db->carry, bytes, us);
        lsm_carry_covered(db);
        lsm_room_look(db);      /* behind the sync: it would wait for the zeros */
    }
    return rc;
}

void lsm_write_prepare_next(struct lsm_db *db)
{
    uint64_t number;

    if (!atomic_load(&db->writing_begun))
        return;                 /* orphans come first */
    number = lsm_db_new_file(db);
    atomic_store(&db->log_next_number, number);
    if (lsm_log_prepare(&db->log_next, db->os, db->dir, number, db->file_mode)) {
        atomic_store(&db->log_next_number, 0);
        return;                 /* whoever needs it will be told */
    }
    if (db->os->dir_sync(db->dir))
        lsm_write_discard_next(db);
}

void lsm_write_discard_next(struct lsm_db *db)
{
    if (atomic_load(&db->log_next_number) == 0)
        return;
    lsm_log_discard(&db->log_next, db->dir);
    atomic_store(&db->log_next_number, 0);
}

/* It could not be begun, and has been removed: for good? Else a power cut undoes that. */
static bool is_gone(struct lsm_db *db, uint64_t number)
{
    char name[LSM_FILENAME_SIZE];
    int error = db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_LOG, number));

    return (error == 0 || error == ENOENT) && db->os->dir_sync(db->dir) == 0;
}

/* The log behind `end`, its name on disk. When its file may be there in spite of a failure, which says where the present
   one ends, that one gets no more: it has failed. Not where there was no room, or a full disk would ask for a fresh log. */
static int begin_next(struct lsm_db *db, const struct lsm_log_end *end, bool is_ahead, struct lsm_log *log)
{
    uint64_t number = atomic_load(&db->log_next_number);
    int rc, error = 0;

    /* Not before a log that was begun fresh meanwhile; nor one that is older than a large transaction's tables which
       committed to the log before: to a repair they would be of one that never did (was_never_committed). */
    if (number > db->log.number && number + 1 == atomic_load(&db->next_file)) {
        rc = lsm_log_begin(&db->log_next, db->dir, db->uuid, end, is_ahead);
        *log = db->log_next;
        atomic_store(&db->log_next_number, 0);
    } else {
        number = lsm_db_new_file(db);
        rc = (is_ahead ? lsm_log_create_ahead : lsm_log_create)(log, db->os, db->dir, db->uuid, number, end,
                                                                db->file_mode);
        if (rc == LSM_OK && (error = db->os->dir_sync(db->dir)) != 0) {
            lsm_log_close(log);         /* it stays (I-08) */
            rc = lsm_fail_os(error, "sync directory", db->path);
        }
    }
    if (rc && (error || rc != LSM_FULL || !is_gone(db, number)))
        db->log.failed = true;
    return rc;
}

int lsm_write_rotate(struct lsm_db *db)
{
    struct lsm_log log;
    struct lsm_log_end end;
    bool later;
    int rc = lsm_write_ready(db);

    lsm_ahead_wait(db);
    later = !db->has_host && !db->has_log_before;
    /* Before the first record of the next one: no hole in the middle. */
    if (rc == LSM_OK && !later)
        rc = lsm_write_sync_before(db);
    if (rc == LSM_OK && !later)
        rc = lsm_log_sync(&db->log);
    if (rc)
        return rc;
    if (!later)
        lsm_carry_covered(db);
    lsm_room_take_back(db);
    later = later && db->log.synced < db->log.size;
    end = lsm_log_end(&db->log);
    rc = begin_next(db, &end, later, &log);
    if (rc)
        return rc;
    if (later) {
        db->log_before = db->log;
        db->has_log_before = true;
    } else {
        close_log(db, &db->log);
    }
    log.is_helped = !db->no_worker;
    log.was_synced = lsm_log_is_synced_often(&db->log);
    db->log = log;
    atomic_store(&db->log_size, log.size);
    lsm_room_look(db);
    return LSM_OK;
}

/* ---- the active memtable ---- */

int lsm_write_active_locked(struct lsm_db *db)
{
    struct lsm_unit *unit;
    struct lsm_view *view, *old;
    int rc;

    if (db->active)
        return LSM_OK;
    unit = lsm_unit_new(db->os);
    view = lsm_view_alloc(db->os);
    rc = unit && view ? lsm_memtable_new(db->os, &unit->mem) : lsm_nomem();
    if (rc == LSM_OK)           /* about ten bits a row of 100 bytes */
        rc = lsm_memfilter_init(&unit->filter, db->os, db->memtable_bytes / 128);
    if (rc) {
        lsm_unit_unref(unit);
        lsm_mem_free(db->os, view);
        return rc;
    }
    lsm_db_lock(db);
    old = db->view;
    unit->older = old->newest;
    lsm_view_fill(view, unit, old->unit_count + 1, old->version);
    lsm_view_install(db, view);
    db->active = unit;          /* kept alive by the view that has it on top */
    lsm_unit_unref(unit);
    lsm_db_unlock(db);
    lsm_view_unref(old);
    return LSM_OK;
}

int lsm_write_active(struct lsm_db *db)
{
    int rc;

    db->os->mutex_lock(db->publish);
    rc = lsm_write_active_locked(db);
    db->os->mutex_unlock(db->publish);
    return rc;
}
