/*
 * worker.c -- what runs next: flush before compaction before removal of files.
 * In production a thread does it; without one (tests, no threads to be had)
 * lsm_db_step() does one job at a time.
 *
 * A flush takes what is published, and only while the store is quiet and
 * settled (commit.md R17): tables are never ahead of the database, and no record
 * that may come to life leaves the log. A compaction is interrupted by a flush
 * that is due, and by close.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/compaction/compact.h"
#include "lsm/compaction/flush.h"
#include "lsm/format/filename.h"
#include "lsm/version/merge.h"

#define RETRY_US 1000000u               /* after a failure */
#define QUIET_WAIT_US 20000u            /* how often an undecided store is looked at */
#define THROTTLE_WAIT_US 30000000u      /* then the writer goes on: better than a dead lock */
#define SLICE_FILES 4u                  /* outputs between two installs: 32 MiB, less in a small store */
#define SEPARATE_BYTES_MIN (UINT64_C(8) << 10)  /* a flush of less makes no value logs */

/* ---- obsolete tables ---- */

static void obsolete_number(struct lsm_db *db, uint64_t number, bool is_vlog)
{
    db->os->mutex_lock(db->obsolete_mutex);
    if (db->obsolete_count == db->obsolete_cap) {
        uint32_t cap = db->obsolete_cap ? 2 * db->obsolete_cap : 32;
        void *more = db->os->mem_realloc(db->os, db->obsolete, cap * sizeof *db->obsolete);
        if (more) {
            db->obsolete = more;
            db->obsolete_cap = cap;
        }
    }
    /* No memory: the file stays until the next open sweeps it. */
    if (db->obsolete_count < db->obsolete_cap)
        db->obsolete[db->obsolete_count++] = (struct lsm_obsolete){ number, is_vlog };
    db->os->mutex_unlock(db->obsolete_mutex);
}

void lsm_worker_obsolete(void *ctx, const struct lsm_run *run)
{
    obsolete_number(ctx, run->meta.number, false);
}

void lsm_worker_obsolete_vlog(void *ctx, const struct lsm_vlog_meta *meta)
{
    obsolete_number(ctx, meta->number, true);
}

struct old_files {
    struct lsm_db *db;
    uint64_t log_min, manifest;
    struct lsm_buf names;
};

static int collect_old(void *ctx, const char *name)
{
    struct old_files *o = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (lsm_filename_parse(name, &kind, &number) &&
        ((kind == LSM_FILE_LOG && number < o->log_min) ||
         (kind == LSM_FILE_MANIFEST && number < o->manifest))) {
        char fixed[LSM_FILENAME_SIZE] = { 0 };
        memcpy(fixed, name, strlen(name));
        lsm_buf_append(&o->names, fixed, sizeof fixed);
    }
    return 0;
}

/* A reader of a unit opens its tables when it needs them. Obsolete mutex held. */
static bool unit_has(const struct lsm_db *db, uint64_t number)
{
    for (const struct lsm_unit *unit = db->with_runs; unit; unit = unit->next)
        for (uint32_t i = 0; i < unit->run_count; i++)
            if (unit->runs[i]->meta.number == number)
                return true;
    return false;
}

/* The MANIFEST that says so is synced by now, and its name as well: nothing comes back. */
void lsm_worker_sweep(struct lsm_db *db)
{
    struct old_files old = { .db = db };
    char name[LSM_FILENAME_SIZE];

    for (;;) {
        struct lsm_obsolete o = { 0, false };
        db->os->mutex_lock(db->obsolete_mutex);
        for (uint32_t i = db->obsolete_count; i-- > 0 && !o.number;)
            if (db->obsolete[i].is_vlog || !unit_has(db, db->obsolete[i].number)) {
                o = db->obsolete[i];
                db->obsolete[i] = db->obsolete[--db->obsolete_count];
            }
        db->os->mutex_unlock(db->obsolete_mutex);
        if (!o.number)
            break;
        if (o.is_vlog)
            lsm_vlogs_forget(db->vlogs, o.number);
        else
            lsm_tables_forget(db->tables, o.number);
        db->os->file_remove(db->dir, lsm_filename(name, o.is_vlog ? LSM_FILE_VLOG : LSM_FILE_TABLE, o.number));
    }
    lsm_buf_init(&old.names, db->os);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    bool sure = db->writing_begun && !db->manifest.failed;
    old.log_min = lsm_backup_log_min(db, db->log_number_min);
    old.manifest = db->manifest.number;
    lsm_db_unlock(db);
    if (sure && db->os->dir_list(db->dir, collect_old, &old) == 0)
        for (size_t i = 0; i + LSM_FILENAME_SIZE <= old.names.size; i += LSM_FILENAME_SIZE)
            db->os->file_remove(db->dir, (const char *)old.names.data + i);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    lsm_buf_clear(&old.names);
}

/* ---- memory ---- */

/* What the cache gave up is free, but the process still has it: the kernel must get it before the
   memtables take as much, also while a job runs. It takes milliseconds: without the mutex. */
static void trim_memory(struct lsm_db *db)
{
    bool wanted;

    lsm_db_lock(db);
    wanted = db->trim_wanted;
    lsm_db_unlock(db);
    if (!wanted)
        return;
    db->os->mem_trim(db->os);
    lsm_db_lock(db);
    lsm_db_trimmed(db);
    lsm_db_memory_changed(db);
    lsm_db_unlock(db);
}

/* ---- flush ---- */

bool lsm_worker_flush_due(const struct lsm_db *db)
{
    return db->flush_wanted || lsm_view_memory(db->view) >= db->memtable_bytes;
}

bool lsm_worker_is_quiet(struct lsm_db *db)
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

static uint64_t new_file(void *ctx)
{
    return lsm_db_new_file(ctx);
}

static int stop_asked(void *ctx)
{
    trim_memory(ctx);
    return LSM_OK;              /* a flush is finished, also at close: it is short */
}

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

static void fill_build(struct lsm_db *db, struct lsm_build *b, const struct lsm_tree *tree,
                       struct lsm_compressor *compressor, const uint64_t *snapshots, size_t snapshot_count)
{
    b->os = db->os;
    b->dir = db->dir;
    b->uuid = db->uuid;
    b->tree = tree->id;
    b->table.block_bytes = tree->block_bytes;
    b->table.filter_bits = tree->filter_bits;
    b->table.comparator = tree->cmp;
    b->table.tree_name = lsm_buf_slice(&tree->name);
    b->compressor = compressor;
    b->file_mode = db->file_mode;
    b->values.bytes_min = tree->value_log_bytes;
    b->values.options = (struct lsm_vlog_options){
        tree->compression_level == LSM_COMPRESSION_NONE ? LSM_CODEC_NONE : LSM_CODEC_ZSTD, tree->compression_level };
    b->snapshots = snapshots;
    b->snapshot_count = snapshot_count;
    b->ctx = db;
    b->new_file = new_file;
    b->pause = stop_asked;
    b->verify = db->paranoid ? lsm_paranoid_table : NULL;
    b->verify_ctx = db;
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
        fill_build(db, b, tree, compressor, f->snapshots, f->snapshot_count);
        if (bytes < SEPARATE_BYTES_MIN)
            b->values.bytes_min = 0;    /* a compaction will do it: not a file for a few values */
        b->ranges = ranges;
        rc = lsm_flush_tree(b, it, tv ? tv : &empty, &f->policy, level_max, tree->compression, &f->edit);
        b->ranges = NULL;
        atomic_fetch_add_explicit(&db->counters.flush_bytes, b->bytes_written + b->values.bytes_written,
                                  memory_order_relaxed);
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

/* Private tables become level-0 tables as they are, or deeper ones. */
static void adopt(struct flush *f, const struct lsm_unit *unit, uint32_t level_max)
{
    for (uint32_t i = unit->run_count; i-- > 0;) {
        const struct lsm_table_meta *m = &unit->runs[i]->meta;
        struct lsm_tree *tree;
        lsm_db_lock(f->db);
        tree = lsm_tree_by_id(f->db, m->tree);
        lsm_db_unlock(f->db);
        if (tree && !atomic_load(&tree->dropped))
            lsm_edit_add_table(&f->edit, adopt_level(f, tree, unit->runs[i], level_max), m);
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

/* Settle, begin the next log, seal. The log slot keeps writers out of all of it. */
static int seal(struct flush *f)
{
    struct lsm_db *db = f->db;
    uint32_t unit_count;
    bool hidden, seen;
    int rc;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    if (!lsm_worker_is_quiet(db)) {
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
        if (rc == LSM_OK)
            rc = lsm_write_rotate(db);
    }
    if (rc == LSM_OK) {
        db->os->mutex_lock(db->publish);
        lsm_db_lock(db);
        rc = lsm_snapshot_gather(db, &f->snapshots, &f->snapshot_count);
        if (rc == LSM_OK) {
            db->active = NULL;
            f->view = db->view;
            atomic_fetch_add(&f->view->refs, 1);
            f->unit_count = f->view->unit_count;
            f->seq = atomic_load(&db->seq_published);
            f->root = db->chain[db->chain_count - 1].token;
            f->log_number = db->log.number;
            f->suspect = db->suspect;
            f->policy = db->policy;
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
            obsolete_number(f->db, added[i].meta.number, false);
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
            obsolete_number(f->db, vlogs[i].number, true);
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
    f->bytes_in = event.bytes_in = lsm_view_memory(f->view);
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
    lsm_db_unlock(db);
}

int lsm_worker_flush(struct lsm_db *db)
{
    struct flush f = { .db = db };
    bool uncertain = false;
    int rc;

    lsm_db_lock(db);
    while (db->flushing)
        db->os->cond_wait(db->changed, db->mutex);
    db->flushing = true;
    lsm_db_unlock(db);

    lsm_edit_init(&f.edit, db->os);
    rc = seal(&f);
    if (rc == LSM_OK) {
        flush_begins(&f);
        rc = write_tables(&f);
        if (rc == LSM_OK) {
            rc = install(&f);
            uncertain = rc != LSM_OK;   /* the edit may be on disk: its tables stay */
        }
        if (rc) {
            lsm_db_lock(db);
            db->suspect |= f.suspect;
            lsm_db_unlock(db);
        }
        if (rc == LSM_OK)
            atomic_fetch_add_explicit(&db->counters.flushes, 1, memory_order_relaxed);
        flush_ends(&f, rc);
    }
    for (uint32_t i = 0; i < f.build_count; i++) {
        for (size_t k = 0; rc && !uncertain && k < f.builds[i].count; k++) {
            char name[LSM_FILENAME_SIZE];
            db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_TABLE, f.builds[i].metas[k]->number));
        }
        if (rc && !uncertain)
            lsm_values_remove(&f.builds[i]);
        lsm_build_clear(&f.builds[i]);
    }
    lsm_mem_free(db->os, f.builds);
    lsm_edit_clear(&f.edit);
    lsm_mem_free(db->os, f.snapshots);
    lsm_view_unref(f.view);
    lsm_db_lock(db);
    db->flushing = false;
    lsm_db_memory_changed(db);  /* the memtables are gone only now */
    db->os->cond_broadcast(db->changed);
    lsm_worker_wake(db);        /* level 0 may be due now */
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_worker_sweep(db);
    return rc == LSM_DONE ? LSM_OK : rc;
}

/* ---- compaction ---- */

struct job_run {
    struct lsm_db *db;
    struct lsm_tree *tree;
};

static uint64_t job_new_file(void *ctx)
{
    return lsm_db_new_file(((struct job_run *)ctx)->db);
}

static int compact_pause(void *ctx)
{
    struct job_run *run = ctx;
    struct lsm_db *db = run->db;
    bool stop, flush;

    trim_memory(db);
    lsm_db_lock(db);
    stop = db->stop;
    flush = lsm_worker_flush_due(db) && lsm_worker_is_quiet(db) && !db->flushing;
    lsm_db_unlock(db);
    if (stop)
        return lsm_fail(LSM_BUSY, "%s: closing", db->path);
    if (atomic_load(&run->tree->dropped))
        return lsm_fail(LSM_NOTFOUND, "%s: the tree was dropped", db->path);
    if (flush) {
        char why[LSM_ERROR_TEXT_SIZE];
        int rc = lsm_worker_flush(db);
        if (rc && rc != LSM_BUSY) {
            lsm_error_save(why, sizeof why);
            lsm_db_set_health(db, LSM_DEGRADED, rc, why);
        }
    }
    return LSM_OK;
}

static int compact_install(void *ctx, struct lsm_edit *edit)
{
    struct job_run *run = ctx;
    struct lsm_db *db = run->db;
    int error = lsm_edit_added_count(edit) ? db->os->dir_sync(db->dir) : 0, rc;

    if (error)
        return lsm_fail_os(error, "sync directory", db->path);
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);
    if (atomic_load(&run->tree->dropped))
        rc = lsm_fail(LSM_NOTFOUND, "%s: the tree was dropped", db->path);
    else
        rc = lsm_write_edit(db, edit, 0);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

static int run_move(struct job_run *run, const struct lsm_job *job)
{
    struct lsm_db *db = run->db;
    struct lsm_edit edit;
    int rc;

    lsm_edit_init(&edit, db->os);
    lsm_edit_remove_table(&edit, job->level, job->tree, job->upper[0]->meta.number);
    lsm_edit_add_table(&edit, job->output_level, &job->upper[0]->meta);
    rc = edit.rc ? edit.rc : compact_install(run, &edit);
    lsm_edit_clear(&edit);
    if (rc == LSM_OK) {         /* other tables lie below its range deletes now */
        atomic_store(&job->upper[0]->is_applied, false);
        atomic_store(&job->upper[0]->sinks, false);
    }
    if (rc == LSM_OK)
        atomic_fetch_add_explicit(&db->counters.moves, 1, memory_order_relaxed);
    return rc;
}

static void mark_inputs(struct lsm_db *db, const struct lsm_job *job, bool busy)
{
    lsm_db_lock(db);
    for (uint32_t i = 0; i < job->upper_count; i++)
        job->upper[i]->in_compaction = busy;
    for (uint32_t i = 0; i < job->lower_count; i++)
        job->lower[i]->in_compaction = busy;
    lsm_db_unlock(db);
}

static uint64_t job_bytes(const struct lsm_job *job)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < job->upper_count; i++)
        bytes += job->upper[i]->meta.size_bytes;
    for (uint32_t i = 0; i < job->lower_count; i++)
        bytes += job->lower[i]->meta.size_bytes;
    return bytes;
}

static void job_begins(struct lsm_db *db, const struct lsm_job *job)
{
    struct lsm_event event = { .what = LSM_EVENT_COMPACTION_BEGIN, .tree = job->tree, .level = job->level,
                               .output_level = job->output_level, .bytes_in = job_bytes(job),
                               .tables_in = (uint64_t)job->upper_count + job->lower_count };

    lsm_db_tell(db, &event, "compaction of tree %u level %u begins: %llu bytes", job->tree, job->level,
                (unsigned long long)event.bytes_in);
}

static void job_ends(struct lsm_db *db, const struct lsm_job *job, const struct lsm_build *b, uint64_t started,
                     int rc)
{
    struct lsm_event event = { .what = LSM_EVENT_COMPACTION_END, .code = rc, .tree = job->tree,
                               .level = job->level, .output_level = job->output_level,
                               .tables_in = (uint64_t)job->upper_count + job->lower_count,
                               .bytes_in = job_bytes(job), .tables_out = b->count_all,
                               .bytes_out = b->bytes_written, .rows_in = b->rows_read,
                               .rows_out = b->rows_written,
                               .duration_us = db->os->mono_us(db->os) - started };
    char why[LSM_ERROR_TEXT_SIZE] = "";

    if (rc)
        lsm_error_save(why, sizeof why);
    if (rc && rc != LSM_BUSY && rc != LSM_NOTFOUND)
        event.kind = LSM_EVENT_WARNING;
    lsm_db_tell(db, &event, "compacted tree %u level %u: %u + %u tables, %llu bytes into level %u: "
                "%llu bytes, %llu of %llu rows kept, %llu ms%s%s", job->tree, job->level, job->upper_count,
                job->lower_count, (unsigned long long)event.bytes_in, job->output_level,
                (unsigned long long)event.bytes_out, (unsigned long long)event.rows_out,
                (unsigned long long)event.rows_in, (unsigned long long)(event.duration_us / 1000),
                rc ? ": " : "", why);
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_COMPACTION], event.duration_us);
    if (rc)
        lsm_fail(rc, "%s", why);
}

/* Run a job of this version. The caller has set db->compacting. */
static int run_job(struct lsm_db *db, struct lsm_tree *tree, const struct lsm_version *version,
                   const struct lsm_job *job)
{
    struct job_run run = { db, tree };
    struct lsm_policy policy;
    struct lsm_compact c = { .job = job, .policy = &policy, .tables = db->tables,
                              .vlogs = db->vlogs, .version = version,
                             .ctx = &run, .new_file = job_new_file, .pause = compact_pause,
                             .install = compact_install };
    struct lsm_compressor *compressor;
    uint64_t *snapshots, started = db->os->mono_us(db->os);
    size_t snapshot_count;
    int rc;

    rc = lsm_write_begin(db);   /* the sweep of orphans comes before the first new table */
    if (rc)
        return rc;
    if (job->is_move) {
        rc = run_move(&run, job);
        return rc == LSM_NOTFOUND ? LSM_OK : rc;
    }
    job_begins(db, job);
    lsm_db_lock(db);
    rc = lsm_snapshot_gather(db, &snapshots, &snapshot_count);
    policy = db->policy;
    c.slice_bytes = SLICE_FILES * policy.file_bytes;
    lsm_db_unlock(db);
    if (rc)
        return rc;
    rc = lsm_compressor_take(db->compressors, &compressor);
    if (rc == LSM_OK) {
        c.tree = lsm_version_tree(version, tree->id);
        fill_build(db, &c.build, tree, compressor, snapshots, snapshot_count);
        lsm_table_options_at(&c.build.table, job->output_level, tree->compression);
        rc = lsm_compact_run(&c);
        lsm_compressor_put(db->compressors, compressor);
    }
    lsm_mem_free(db->os, snapshots);
    atomic_fetch_add_explicit(&db->counters.compact_bytes_written,
                              c.build.bytes_written + c.build.values.bytes_written, memory_order_relaxed);
    job_ends(db, job, &c.build, started, rc);
    if (rc == LSM_NOTFOUND)
        return LSM_OK;          /* the tree was dropped meanwhile */
    if (rc == LSM_OK) {
        atomic_fetch_add_explicit(&db->counters.compactions, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.compact_bytes_read, job_bytes(job), memory_order_relaxed);
    }
    return rc;
}

/* The most urgent tree's next job. LSM_DONE: none. */
static int compact_once(struct lsm_db *db)
{
    struct lsm_job job;
    struct lsm_tree *tree = NULL;
    struct lsm_view *view;
    double best = 0;
    int rc = LSM_DONE;

    lsm_db_lock(db);
    if (db->compacting || db->flushing) {       /* a flush may put its tables where a job would, too */
        lsm_db_unlock(db);
        return LSM_DONE;
    }
    view = db->view;
    atomic_fetch_add(&view->refs, 1);
    for (uint32_t i = 0; i < view->version->tree_count; i++) {
        const struct lsm_tree_version *tv = view->version->trees[i];
        struct lsm_tree *t = lsm_tree_by_id(db, tv->tree);
        struct lsm_job candidate;
        double score = 0;

        if (!t || atomic_load(&t->dropped))
            continue;
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            double s = lsm_level_score(&db->policy, tv, l);
            score = s > score ? s : score;
        }
        if (tree && score <= best)
            continue;
        int picked = lsm_pick(&db->policy, tv, t->cmp, &t->pick, db->os, &candidate);
        if (picked != LSM_OK) {
            lsm_job_clear(&candidate, db->os);
            if (picked != LSM_DONE)
                rc = picked;
            continue;
        }
        if (tree)
            lsm_job_clear(&job, db->os);
        job = candidate;
        tree = t;
        best = score;
    }
    if (tree)
        db->compacting = true;
    lsm_db_unlock(db);
    if (tree) {
        mark_inputs(db, &job, true);
        rc = run_job(db, tree, view->version, &job);
        mark_inputs(db, &job, false);
        lsm_job_clear(&job, db->os);
        lsm_db_lock(db);
        db->compacting = false;
        lsm_db_memory_changed(db);
        db->os->cond_broadcast(db->changed);
        lsm_db_unlock(db);
    }
    lsm_view_unref(view);
    if (tree && rc == LSM_OK)
        lsm_worker_sweep(db);
    return rc;
}

/* Tables that lie within range deletes: before a compaction would read them. */
static int drop_once(struct lsm_db *db)
{
    bool busy;
    int rc;

    lsm_db_lock(db);
    busy = db->compacting || db->flushing;
    db->compacting |= !busy;
    lsm_db_unlock(db);
    if (busy)
        return LSM_DONE;
    rc = lsm_drop_covered(db);
    lsm_db_lock(db);
    db->compacting = false;
    db->os->cond_broadcast(db->changed);
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_worker_sweep(db);
    return rc;
}

static int compact_tree(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_view *view = lsm_view_current(db);
    const struct lsm_tree_version *tv = lsm_version_tree(view->version, tree->id);
    struct lsm_job job;
    int rc = tv ? lsm_pick_all(tv, db->os, &job) : LSM_DONE;

    if (rc == LSM_OK) {
        mark_inputs(db, &job, true);
        rc = run_job(db, tree, view->version, &job);
        mark_inputs(db, &job, false);
        lsm_job_clear(&job, db->os);
    } else if (tv) {
        lsm_job_clear(&job, db->os);
    }
    lsm_view_unref(view);
    return rc == LSM_DONE ? LSM_OK : rc;
}

/* One value log that is mostly garbage. LSM_DONE: none. */
static int reclaim_once(struct lsm_db *db)
{
    int rc;

    lsm_db_lock(db);
    if (db->compacting || db->compact_wait) {
        lsm_db_unlock(db);
        return LSM_DONE;
    }
    db->compacting = true;
    lsm_db_unlock(db);
    rc = lsm_reclaim_one(db);
    lsm_db_lock(db);
    db->compacting = false;
    db->os->cond_broadcast(db->changed);
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_worker_sweep(db);
    return rc;
}

int lsm_db_flush(struct lsm_db *db)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < 200; i++) {        /* other writers' commits are short */
        rc = lsm_worker_flush(db);
        if (rc != LSM_BUSY || db->has_host)
            break;
        lsm_db_lock(db);
        db->os->cond_wait_us(db->changed, db->mutex, QUIET_WAIT_US);
        lsm_db_unlock(db);
    }
    return rc;
}

int lsm_db_compact(struct lsm_db *db, struct lsm_tree *tree)
{
    int rc = lsm_db_flush(db);

    if (rc)
        return rc;
    lsm_db_lock(db);
    db->compact_wait++;
    while (db->compacting || db->flushing)
        db->os->cond_wait(db->changed, db->mutex);
    db->compacting = true;
    db->compact_wait--;
    lsm_db_unlock(db);
    rc = lsm_drop_covered(db);
    rc = rc == LSM_DONE ? LSM_OK : rc;
    for (uint32_t i = 0; rc == LSM_OK; i++) {
        struct lsm_tree *t = tree;
        lsm_db_lock(db);
        if (!tree)
            t = i < db->tree_count ? db->trees[i] : NULL;
        lsm_db_unlock(db);
        if (!t)
            break;
        if (!atomic_load(&t->dropped))
            rc = compact_tree(db, t);
        if (tree)
            break;
    }
    while (rc == LSM_OK)
        rc = lsm_reclaim_one(db);
    if (rc == LSM_DONE)
        rc = LSM_OK;
    lsm_db_lock(db);
    db->compacting = false;
    db->os->cond_broadcast(db->changed);
    lsm_worker_wake(db);
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_worker_sweep(db);
    return rc;
}

/* ---- the loop ---- */

void lsm_worker_wake(struct lsm_db *db)
{
    db->os->cond_broadcast(db->work);
}

/* One job. LSM_DONE: nothing to do now. */
static int step(struct lsm_db *db)
{
    bool flush, wait;
    int rc;

    lsm_db_lock(db);
    flush = lsm_worker_flush_due(db) && lsm_worker_is_quiet(db);
    wait = db->compact_wait > 0;
    lsm_db_unlock(db);
    if (flush)
        return lsm_worker_flush(db);
    if (wait)
        return LSM_DONE;
    rc = drop_once(db);
    if (rc == LSM_DONE)
        rc = compact_once(db);
    return rc == LSM_DONE ? reclaim_once(db) : rc;
}

static void note_failure(struct lsm_db *db, int rc)
{
    char why[LSM_ERROR_TEXT_SIZE];

    lsm_error_save(why, sizeof why);
    lsm_db_set_health(db, rc == LSM_CORRUPT ? LSM_HEALTH_CORRUPT : LSM_DEGRADED, rc, why);
    lsm_db_lock(db);
    db->retry_us = db->os->mono_us(db->os) + RETRY_US;
    lsm_db_unlock(db);
}

static void note_success(struct lsm_db *db)
{
    lsm_db_lock(db);
    if (db->health == LSM_DEGRADED) {
        db->health = LSM_HEALTHY;
        db->health_text[0] = 0;
    }
    lsm_db_unlock(db);
}

void lsm_worker_main(void *ctx)
{
    struct lsm_db *db = ctx;
    bool rested = true;

    lsm_db_lock(db);
    while (!db->stop) {
        uint64_t now = db->os->mono_us(db->os);
        bool blocked = db->health >= LSM_HEALTH_READ_ONLY;
        int rc;

        if (now < db->retry_us) {
            db->os->cond_wait_us(db->work, db->mutex, db->retry_us - now);
            continue;
        }
        lsm_db_unlock(db);
        trim_memory(db);
        rc = blocked ? LSM_DONE : step(db);
        if (rc == LSM_OK)
            note_success(db);
        else if (rc != LSM_DONE && rc != LSM_BUSY)
            note_failure(db, rc);
        lsm_db_lock(db);
        if (rc == LSM_OK)
            rested = false;
        /* What the last trim could not give back may be free by now: the cache can have it. */
        if (rc != LSM_OK && !rested && db->os->mem_trim && db->memory_lost > db->memory_bytes / 32)
            rested = db->trim_wanted = true;
        if (rc == LSM_OK || db->stop || db->trim_wanted)
            continue;
        if (lsm_worker_flush_due(db))
            db->os->cond_wait_us(db->work, db->mutex, QUIET_WAIT_US);
        else
            db->os->cond_wait(db->work, db->mutex);
    }
    lsm_db_unlock(db);
}

int lsm_db_step(struct lsm_db *db)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    rc = step(db);
    if (rc == LSM_OK)
        note_success(db);
    else if (rc != LSM_DONE && rc != LSM_BUSY)
        note_failure(db, rc);
    return rc;
}
