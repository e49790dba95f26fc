/*
 * flush_job.c -- the memtables become tables.
 *
 * A flush takes what is published, and only while the store is quiet and
 * settled (commit.md R17): tables are never ahead of the database, and no record
 * that may come to life leaves the log.
 */
#include "lsm/db/job.h"

#include "lsm/compaction/flush.h"
#include "lsm/format/filename.h"
#include "lsm/version/merge.h"

#define SYNC_AHEAD_MIN (UINT64_C(256) << 10)    /* unsynced bytes of log that are worth a sync of their own */
#define SEPARATE_BYTES_MIN (UINT64_C(8) << 10)  /* a flush of less makes no value logs */

bool lsm_flush_due(const struct lsm_db *db)
{
    return db->flush_wanted || lsm_view_used(db->view) >= db->memtable_bytes;
}

bool lsm_flush_is_quiet(struct lsm_db *db)
{
    if (db->solo_in_flight || db->joints_in_flight)
        return false;
    return !db->has_host || lsm_chain_is_quiet(db, &db->chain[db->chain_count - 1].token);
}

struct flush {
    struct lsm_db *db;
    struct lsm_view *view;
    uint32_t unit_count;        /* the oldest of the view's units: all of them */
    uint64_t *snapshots;
    size_t snapshot_count;
    uint64_t seq;
    struct lsm_token root;
    struct lsm_policy policy;
    uint64_t log_number;        /* the first log that is still needed afterwards */
    bool suspect;
    struct lsm_edit edit;
    uint64_t begun_us, bytes_in;        /* of memtables */
    struct lsm_build *builds;   /* hold the metas that the edit refers to */
    uint32_t build_count, build_cap;
};

static int add_build(struct flush *f, struct lsm_build **b)
{
    *b = NULL;
    if (f->build_count == f->build_cap) {
        uint32_t cap = f->build_cap ? 2 * f->build_cap : 8;
        void *more = f->db->os->mem_realloc(f->db->os, f->builds, cap * sizeof *f->builds);
        if (!more)
            return lsm_nomem();
        f->builds = more;
        f->build_cap = cap;
    }
    *b = &f->builds[f->build_count++];
    memset(*b, 0, sizeof **b);
    return LSM_OK;
}

static void gather_ranges(const struct lsm_unit *unit, const struct lsm_tree *tree,
                          struct lsm_range_set *set)
{
    uint32_t count = lsm_memtable_range_count(unit->mem, tree->id);

    for (uint32_t i = 0; i < count; i++) {
        struct lsm_slice lo, hi;
        uint64_t seq;

        lsm_memtable_range(unit->mem, tree->id, i, &lo, &hi, &seq);
        lsm_range_set_add(set, lo, hi, seq + unit->seq_add);
    }
}

/* One tree's rows in units [from, to) of the view, counted from the newest. */
static int flush_tree(struct flush *f, struct lsm_tree *tree, uint32_t from, uint32_t to, uint32_t level_max,
                      struct lsm_compressor *compressor)
{
    static const struct lsm_tree_version empty;
    struct lsm_db *db = f->db;
    const struct lsm_tree_version *tv = lsm_version_tree(f->view->version, tree->id);
    const struct lsm_unit *unit = f->view->newest;
    struct lsm_iter **sources = lsm_mem_alloc(db->os, (to - from) * sizeof *sources), *it;
    struct lsm_ranges *ranges = NULL;
    struct lsm_range_set set;
    struct lsm_build *b;
    uint64_t bytes = 0;
    size_t count = 0;
    int rc = sources ? LSM_OK : lsm_nomem();

    lsm_range_set_init(&set, db->os);

    for (uint32_t i = 0; i < to && rc == LSM_OK; i++, unit = unit->older) {
        if (i < from || !unit->mem)
            continue;
        bytes += lsm_memtable_bytes(unit->mem);
        rc = lsm_memtable_iter_new(unit->mem, tree->id, tree->cmp, unit->seq_add, &sources[count]);
        if (rc == LSM_OK)
            count++;
        gather_ranges(unit, tree, &set);
    }
    if (rc == LSM_OK)
        rc = lsm_range_set_finish(&set, tree->cmp, f->snapshots, f->snapshot_count, &ranges);
    lsm_range_set_clear(&set);
    if (rc == LSM_OK) {
        rc = lsm_merge_new(db->os, tree->cmp, sources, count, &it);
        count = 0;
    }
    while (count)
        lsm_iter_close(sources[--count]);
    lsm_mem_free(db->os, sources);
    if (rc) {
        lsm_ranges_free(ranges);
        return rc;
    }
    rc = add_build(f, &b);
    if (rc == LSM_OK) {
        lsm_job_build_init(db, b, tree, compressor, f->snapshots, f->snapshot_count);
        if (bytes < SEPARATE_BYTES_MIN)
            b->values.bytes_min = 0;    /* a compaction will do it: not a file for a few values */
        b->ranges = ranges;
        size_t added = lsm_edit_added_count(&f->edit);
        rc = lsm_flush_tree(b, it, tv ? tv : &empty, &f->policy, level_max, tree->compression, &f->edit);
        b->ranges = NULL;
        atomic_fetch_add_explicit(&db->counters.flush_bytes, b->bytes_written + b->values.bytes_written,
                                  memory_order_relaxed);
        if (added < lsm_edit_added_count(&f->edit))
            lsm_level_worked(tree, lsm_edit_added(&f->edit)[added].level, 0,
                             b->bytes_written + b->values.bytes_written);
    }
    lsm_ranges_free(ranges);
    lsm_iter_close(it);
    return rc;
}

/* Units [from, to) of the view, all memtables. */
static int flush_group(struct flush *f, uint32_t from, uint32_t to, uint32_t level_max,
                       struct lsm_compressor *compressor)
{
    struct lsm_db *db = f->db;
    int rc = LSM_OK;

    for (uint32_t t = 0; rc == LSM_OK; t++) {
        const struct lsm_unit *unit = f->view->newest;
        struct lsm_tree *tree;
        bool has_rows = false;

        lsm_db_lock(db);
        tree = t < db->tree_count ? db->trees[t] : NULL;
        lsm_db_unlock(db);
        if (!tree)
            break;
        if (atomic_load(&tree->dropped))
            continue;
        for (uint32_t i = 0; i < to; i++, unit = unit->older)
            has_rows |= i >= from && unit->mem && lsm_memtable_tree_rows(unit->mem, tree->id) > 0;
        if (has_rows)
            rc = flush_tree(f, tree, from, to, level_max, compressor);
    }
    return rc;
}

/* What was ingested goes as deep as nothing overlaps it, neither in the version nor among the tables of
   this flush, which are older. */
static uint32_t adopt_level(const struct flush *f, const struct lsm_tree *tree, const struct lsm_run *run,
                            uint32_t level_max)
{
    static const struct lsm_tree_version empty;
    const struct lsm_tree_version *tv = lsm_version_tree(f->view->version, tree->id);
    const struct lsm_table_meta *m = &run->meta;
    const struct lsm_edit_table *added = lsm_edit_added(&f->edit);
    size_t count = lsm_edit_added_count(&f->edit);
    uint32_t level;

    if (!run->goes_deep || level_max == 0)
        return 0;
    level = lsm_pick_flush_level(&f->policy, tv ? tv : &empty, tree->cmp, m->smallest, m->largest);
    if (level > level_max)
        level = level_max;
    for (size_t i = 0; i < count && level > 0; i++)
        if (added[i].meta.tree == tree->id && level >= added[i].level &&
            lsm_key_compare(tree->cmp, added[i].meta.largest, m->smallest) >= 0 &&
            lsm_key_compare(tree->cmp, added[i].meta.smallest, m->largest) <= 0)
            level = added[i].level ? added[i].level - 1 : 0;
    return level;
}

/* Private tables become level-0 tables as they are, or deeper ones; their value logs come with them. */
static void adopt(struct flush *f, const struct lsm_unit *unit, uint32_t level_max)
{
    for (uint32_t i = unit->run_count; i-- > 0;) {
        const struct lsm_table_meta *m = &unit->runs[i]->meta;
        struct lsm_tree *tree;
        lsm_db_lock(f->db);
        tree = lsm_tree_by_id(f->db, m->tree);
        lsm_db_unlock(f->db);
        if (!tree || atomic_load(&tree->dropped))
            continue;
        lsm_edit_add_table(&f->edit, adopt_level(f, tree, unit->runs[i], level_max), m);
        for (uint32_t k = 0; k < unit->runs[i]->vlog_count; k++)
            lsm_edit_add_vlog(&f->edit, &unit->runs[i]->vlogs[k]);
    }
}

/* From the oldest unit to the newest; private tables divide the memtables into groups, so that runs of
   level 0 do not interleave in age. */
static int write_tables(struct flush *f)
{
    struct lsm_db *db = f->db;
    struct lsm_compressor *compressor;
    const struct lsm_unit **units = lsm_mem_alloc(db->os, (f->unit_count + 1) * sizeof *units);
    const struct lsm_unit *unit = f->view->newest;
    uint32_t groups = 0, level_max, adopt_max;
    int rc = units ? lsm_compressor_take(db->compressors, &compressor) : lsm_nomem();

    if (rc) {
        lsm_mem_free(db->os, units);
        return rc;
    }
    for (uint32_t i = 0; i < f->unit_count; i++, unit = unit->older) {
        units[i] = unit;
        groups += unit->run_count > 0;
    }
    lsm_db_lock(db);
    /* Beneath a running compaction, outputs that are not installed yet may cover any range. */
    adopt_max = db->compacting ? 0 : LSM_LEVEL_COUNT_MAX - 2;
    level_max = groups ? 0 : adopt_max;
    lsm_db_unlock(db);
    for (uint32_t to = f->unit_count; to > 0 && rc == LSM_OK;) {
        uint32_t from = to;
        if (units[to - 1]->run_count) {
            adopt(f, units[to - 1], adopt_max);
            if (units[to - 1]->mem)
                rc = flush_group(f, to - 1, to, 0, compressor);
            to--;
            continue;
        }
        while (from > 0 && units[from - 1]->run_count == 0)
            from--;
        rc = flush_group(f, from, to, level_max, compressor);
        to = from;
    }
    lsm_compressor_put(db->compressors, compressor);
    lsm_mem_free(db->os, units);
    return rc ? rc : f->edit.rc;
}

/* All that is published by now; log_number: the first log that is still needed then. Publish and mutex held. */
static int take_view(struct flush *f, uint64_t log_number)
{
    struct lsm_db *db = f->db;
    int rc = lsm_snapshot_gather(db, &f->snapshots, &f->snapshot_count);

    if (rc)
        return rc;
    db->active = NULL;
    f->view = db->view;
    atomic_fetch_add(&f->view->refs, 1);
    f->unit_count = f->view->unit_count;
    f->seq = atomic_load(&db->seq_published);
    f->root = db->chain[db->chain_count - 1].token;
    f->log_number = log_number;
    f->policy = db->policy;
    return LSM_OK;
}

/* Settle, begin the next log, seal. The log slot keeps writers out of all of it. */
static int seal(struct flush *f)
{
    struct lsm_db *db = f->db;
    uint32_t unit_count;
    bool hidden, seen;
    int rc;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    if (!lsm_flush_is_quiet(db)) {
        lsm_write_slot_give(db);
        lsm_db_unlock(db);
        return lsm_fail(LSM_BUSY, "%s: a joint transaction is undecided", db->path);
    }
    lsm_db_unlock(db);
    db->os->mutex_lock(db->publish);
    hidden = db->record_count > 0;
    db->os->mutex_unlock(db->publish);
    lsm_db_lock(db);
    seen = db->token_seen;
    unit_count = db->view->unit_count;
    lsm_db_unlock(db);
    if (hidden && !seen) {
        /* What stands in the logs may be committed: it must not go with them (R15). */
        rc = lsm_fail(LSM_BUSY, "%s: the database has not shown yet what is committed", db->path);
    } else if (unit_count == 0 && (db->has_log ? !db->log.failed && db->log.size == LSM_LOG_HEADER_SIZE
                                               : !hidden)) {
        rc = LSM_DONE;
    } else {
        rc = lsm_recover_begin_writing(db);
        if (rc == LSM_OK && db->has_host)
            rc = lsm_chain_settle(db);
        lsm_db_lock(db);
        db->settle_refused = rc == LSM_BUSY;
        lsm_db_unlock(db);
        /* A log without a record is the next one: that of a flush that failed. Another for each try would take what is left
           of a full disk. */
        if (rc == LSM_OK && !(lsm_write_is_ready(db) && db->log.size == LSM_LOG_HEADER_SIZE))
            rc = lsm_write_rotate(db);
    }
    if (rc == LSM_OK) {
        db->os->mutex_lock(db->publish);
        lsm_db_lock(db);
        rc = take_view(f, db->log.number);
        if (rc == LSM_OK) {
            f->suspect = db->suspect;
            db->suspect = false;        /* the new log holds no joint record */
            db->flush_wanted = false;
        }
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
    }
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

/* Seal where a log ends that was there at open; the next one is there, too. */
static int seal_replayed(struct flush *f)
{
    struct lsm_db *db = f->db;
    struct lsm_token newest;
    uint64_t log_number;
    int rc = LSM_OK;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    if (db->has_log)
        rc = LSM_DONE;          /* it has copies of the records */
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        rc = lsm_recover_begin_writing(db);
    if (rc == LSM_OK) {
        db->os->mutex_lock(db->publish);
        lsm_db_lock(db);
        newest = db->chain[db->chain_count - 1].token;
        log_number = lsm_series_log_min(db, newest.txid);
        /* R17: the root was settled when tables got to it, the floor's record says that it is. And no log that stays has
           what goes to tables: it would come twice, its private tables, too. */
        if ((lsm_token_equal(&newest, &db->root) || newest.txid <= db->floor.txid) && db->view->unit_count > 0 &&
            log_number != UINT64_MAX && log_number > db->log_published)
            rc = take_view(f, log_number);
        else
            rc = LSM_DONE;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
    }
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

/* Trees may have been dropped since their tables were written. Log slot held: no more go now. */
static void forget_dropped(struct flush *f)
{
    struct lsm_edit_table *added = (void *)f->edit.added.data;
    size_t kept = 0, count = lsm_edit_added_count(&f->edit);

    for (size_t i = 0; i < count; i++) {
        struct lsm_tree *tree;
        lsm_db_lock(f->db);
        tree = lsm_tree_by_id(f->db, added[i].meta.tree);
        lsm_db_unlock(f->db);
        if (tree && !atomic_load(&tree->dropped))
            added[kept++] = added[i];
        else
            lsm_obsolete_file(f->db, added[i].meta.number, false);
    }
    f->edit.added.size = kept * sizeof *added;
    struct lsm_vlog_meta *vlogs = (void *)f->edit.vlogs.data;
    kept = 0;
    count = lsm_edit_vlog_count(&f->edit);
    for (size_t i = 0; i < count; i++) {
        struct lsm_tree *tree;
        lsm_db_lock(f->db);
        tree = lsm_tree_by_id(f->db, vlogs[i].tree);
        lsm_db_unlock(f->db);
        if (tree && !atomic_load(&tree->dropped))
            vlogs[kept++] = vlogs[i];
        else
            lsm_obsolete_file(f->db, vlogs[i].number, true);
    }
    f->edit.vlogs.size = kept * sizeof *vlogs;
}

static int install(struct flush *f)
{
    struct lsm_db *db = f->db;
    int error = lsm_edit_added_count(&f->edit) ? db->os->dir_sync(db->dir) : 0, rc;

    if (error)
        return lsm_fail_os(error, "sync directory", db->path);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    /* Prevents: records of these rows behind the log that the edit would name, in one that was begun
       fresh meanwhile. They would be read as new ones, and their private tables be adopted twice. */
    if (db->log_fresh > f->log_number) {
        db->flush_wanted = true;
        lsm_write_slot_give(db);
        lsm_db_unlock(db);
        return lsm_fail(LSM_BUSY, "%s: a log has failed while tables were written; the next flush writes "
                                  "them again", db->path);
    }
    f->edit.has |= LSM_EDIT_LOG | LSM_EDIT_SEQ | LSM_EDIT_ROOT | LSM_EDIT_DECIDED | LSM_EDIT_FLOOR |
                   LSM_EDIT_TXID;
    f->edit.log_number = f->log_number;
    f->edit.seq = f->seq;
    f->edit.root = f->root;
    f->edit.decided = db->decided;
    f->edit.floor = db->floor;
    f->edit.txid = db->txid_max;
    lsm_db_unlock(db);
    forget_dropped(f);
    rc = lsm_write_edit(db, &f->edit, f->unit_count);
    db->os->mutex_lock(db->publish);
    lsm_db_lock(db);
    if (rc == LSM_OK) {
        db->root = f->root;
        db->seq_flushed = f->seq;
        db->log_number_min = f->log_number;
        lsm_write_forget_before(db);
        lsm_chain_prune(db);
        lsm_db_memory_changed(db);
    }
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    db->os->mutex_unlock(db->publish);
    return rc;
}

static void flush_begins(struct flush *f)
{
    struct lsm_event event = { .what = LSM_EVENT_FLUSH_BEGIN };

    f->begun_us = f->db->os->mono_us(f->db->os);
    f->bytes_in = event.bytes_in = lsm_view_used(f->view);
    lsm_db_tell(f->db, &event, "flush of %llu bytes begins", (unsigned long long)event.bytes_in);
}

static void flush_ends(struct flush *f, int rc)
{
    struct lsm_db *db = f->db;
    struct lsm_event event = { .kind = rc ? LSM_EVENT_WARNING : LSM_EVENT_INFO, .what = LSM_EVENT_FLUSH_END,
                               .code = rc, .bytes_in = f->bytes_in,
                               .duration_us = db->os->mono_us(db->os) - f->begun_us };
    char why[LSM_ERROR_TEXT_SIZE] = "";

    if (rc)
        lsm_error_save(why, sizeof why);
    for (uint32_t i = 0; i < f->build_count; i++) {
        event.tables_out += f->builds[i].count;
        event.bytes_out += f->builds[i].bytes_written;
    }
    lsm_db_tell(db, &event, "flushed %llu bytes to %llu tables, %llu bytes, in %llu ms%s%s",
                (unsigned long long)event.bytes_in, (unsigned long long)event.tables_out,
                (unsigned long long)event.bytes_out, (unsigned long long)(event.duration_us / 1000),
                rc ? ": " : "", why);
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_FLUSH], event.duration_us);
    if (rc) {
        lsm_fail(rc, "%s", why);
        return;
    }
    lsm_db_lock(db);
    lsm_throttle_flushed(db, f->bytes_in, event.duration_us);
    lsm_throttle_rest(db);
    lsm_db_unlock(db);
}

/* Is there anything in memory? */
static bool begin_flushing(struct lsm_db *db)
{
    bool has_rows;

    lsm_db_lock(db);
    while (db->flushing)
        db->os->cond_wait(db->changed, db->mutex);
    db->flushing = true;
    has_rows = db->view->unit_count > 0;
    lsm_db_unlock(db);
    return has_rows;
}

/* What was sealed, or rc says why nothing was. */
static int flush_sealed(struct flush *f, int rc)
{
    struct lsm_db *db = f->db;

    if (rc == LSM_OK) {
        flush_begins(f);
        rc = write_tables(f);
        if (rc == LSM_OK)
            rc = install(f);
        if (rc) {
            lsm_db_lock(db);
            db->suspect |= f->suspect;
            lsm_db_unlock(db);
        }
        if (rc == LSM_OK)
            atomic_fetch_add_explicit(&db->counters.flushes, 1, memory_order_relaxed);
        flush_ends(f, rc);
    }
    for (uint32_t i = 0; i < f->build_count; i++) {
        for (size_t k = 0; rc && !f->edit.may_be_on_disk && k < f->builds[i].count; k++) {
            char name[LSM_FILENAME_SIZE];
            db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_TABLE, f->builds[i].metas[k]->number));
        }
        if (rc && !f->edit.may_be_on_disk)
            lsm_values_remove(&f->builds[i]);
        lsm_build_clear(&f->builds[i]);
    }
    lsm_mem_free(db->os, f->builds);
    lsm_edit_clear(&f->edit);
    lsm_mem_free(db->os, f->snapshots);
    lsm_view_unref(f->view);
    lsm_db_lock(db);
    db->flushing = false;
    lsm_db_memory_changed(db);  /* the memtables are gone only now */
    db->os->cond_broadcast(db->changed);
    lsm_worker_wake(db);        /* level 0 may be due now */
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_obsolete_sweep(db);
    return rc;
}

int lsm_flush_now(struct lsm_db *db)
{
    struct flush f = { .db = db };
    bool has_rows = begin_flushing(db);
    int rc;

    /* With a host the log is synced when the next one begins, and writers wait for it: 20 ms and more for 16
       MiB. Most of it can go to disk before, while they go on. */
    lsm_ahead_sync(db, SYNC_AHEAD_MIN);
    if (has_rows)
        lsm_write_prepare_next(db);
    lsm_edit_init(&f.edit, db->os);
    rc = seal(&f);
    lsm_write_discard_next(db);
    lsm_room_make(db);          /* of the log that it began */
    rc = flush_sealed(&f, rc);
    return rc == LSM_DONE ? LSM_OK : rc;
}

int lsm_flush_replayed(struct lsm_db *db)
{
    struct flush f = { .db = db };

    (void)begin_flushing(db);
    lsm_edit_init(&f.edit, db->os);
    return flush_sealed(&f, seal_replayed(&f));
}

int lsm_db_flush(struct lsm_db *db)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < 200; i++) {        /* other writers' commits are short */
        bool wait;

        rc = lsm_flush_now(db);
        if (rc != LSM_BUSY)
            break;
        lsm_db_lock(db);
        wait = !db->has_host || db->joints_in_flight || db->solo_in_flight;
        if (wait)
            db->os->cond_wait_us(db->changed, db->mutex, LSM_QUIET_WAIT_US);
        lsm_db_unlock(db);
        if (!wait)
            break;
    }
    return rc;
}
