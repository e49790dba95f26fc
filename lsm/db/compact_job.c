/*
 * compact_job.c -- compactions, drops of covered tables and rewrites of value logs:
 * one of them at a time. A compaction is interrupted by a flush that is due, and
 * by close.
 */
#include "lsm/db/job.h"

#include "lsm/compaction/compact.h"
#include "lsm/compaction/flush.h"
#include "lsm/compaction/parts.h"

#define SLICE_FILES 4u                  /* outputs between two installs: 32 MiB, less in a small store; */
#define SLICE_SHARE 8u                  /* or as much of what is asked for, when all of it may be at stake */
#define PARTS_DEFAULT 4u                /* at once: at most so many, */
#define PART_CPUS 2u                    /* one for so many processors, no more than are free, */
#define PART_MEMORY (UINT64_C(8) << 20) /* and for so much of the budget: a part takes 1 MiB, more with values */

struct job_run {
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_version *version;        /* a reference: it has all inputs that are not installed over */
    struct lsm_compact *compact;        /* NULL in a move */
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

    lsm_job_pause(db);
    lsm_db_lock(db);
    stop = db->stop;
    flush = lsm_flush_due(db) && lsm_flush_is_quiet(db) && !db->flushing;
    lsm_db_unlock(db);
    if (stop)
        return lsm_fail(LSM_BUSY, "%s: closing", db->path);
    if (atomic_load(&run->tree->dropped))
        return lsm_fail(LSM_NOTFOUND, "%s: the tree was dropped", db->path);
    if (flush) {
        char why[LSM_ERROR_TEXT_SIZE];
        int rc = lsm_flush_now(db);
        if (rc && rc != LSM_BUSY) {
            lsm_error_save(why, sizeof why);
            lsm_db_set_health(db, LSM_DEGRADED, rc, why);
        }
    }
    return LSM_OK;
}

/* Let go of the files that an install was the end of. A tree that is dropped meanwhile is in no newer
   version: the job, which will hear of it, still needs the one that it has. */
static void let_go(struct job_run *run)
{
    struct lsm_version *old = run->version, *version = lsm_version_current(run->db);
    const struct lsm_tree_version *tree = lsm_version_tree(version, run->tree->id);

    if (!tree) {
        lsm_version_unref(version);
        return;
    }
    run->compact->version = run->version = version;
    run->compact->tree = tree;
    lsm_version_unref(old);
    lsm_obsolete_sweep(run->db);
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
    if (rc == LSM_OK && run->compact)
        let_go(run);
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
        atomic_store(&job->upper[0]->vain_reads, 0);
    }
    if (rc == LSM_OK)
        atomic_fetch_add_explicit(&db->counters.moves, 1, memory_order_relaxed);
    return rc;
}

/* Those that are not installed over. */
static void mark_inputs(struct lsm_db *db, const struct lsm_job *job, bool busy)
{
    lsm_db_lock(db);
    for (uint32_t i = 0; i < job->upper_count; i++)
        if (job->upper[i])
            job->upper[i]->in_compaction = busy;
    for (uint32_t i = 0; i < job->lower_count; i++)
        if (job->lower[i])
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

static void job_begins(struct lsm_db *db, const struct lsm_job *job, uint64_t bytes)
{
    struct lsm_event event = { .what = LSM_EVENT_COMPACTION_BEGIN, .tree = job->tree, .level = job->level,
                               .output_level = job->output_level, .bytes_in = bytes,
                               .tables_in = (uint64_t)job->upper_count + job->lower_count };

    lsm_db_tell(db, &event, "compaction of tree %u level %u begins: %llu bytes", job->tree, job->level,
                (unsigned long long)event.bytes_in);
}

static void job_ends(struct lsm_db *db, const struct lsm_job *job, uint64_t bytes, const struct lsm_build *b,
                     uint64_t started, int rc)
{
    struct lsm_event event = { .what = LSM_EVENT_COMPACTION_END, .code = rc, .tree = job->tree,
                               .level = job->level, .output_level = job->output_level,
                               .tables_in = (uint64_t)job->upper_count + job->lower_count,
                               .bytes_in = bytes, .tables_out = b->count_all,
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
    lsm_db_lock(db);
    lsm_throttle_rest(db);
    lsm_db_unlock(db);
    if (rc)
        lsm_fail(rc, "%s", why);
}

static uint64_t slice_of(const struct lsm_policy *policy, uint64_t job_bytes)
{
    uint64_t most = SLICE_FILES * policy->file_bytes, share = job_bytes / SLICE_SHARE;

    return share > most ? most : share < policy->file_bytes ? policy->file_bytes : share;
}

/* Mutex held. */
static uint32_t parts_max(const struct lsm_db *db)
{
    uint64_t parts = db->max_subcompactions, fit = db->memory_bytes / PART_MEMORY;

    if (db->no_worker)
        return parts ? (uint32_t)parts : 1;
    if (parts == 0) {
        uint32_t cpus = db->os->cpu_count ? db->os->cpu_count(db->os) : 1;
        uint32_t used = db->os->cpu_used ? db->os->cpu_used(db->os) : 0;
        uint32_t free = used < cpus ? cpus - used : 0;

        parts = cpus / PART_CPUS;
        parts = parts < 1 + free ? parts : 1 + free;    /* the worker's own is none of the free ones */
        parts = parts < PARTS_DEFAULT ? parts : PARTS_DEFAULT;
    }
    return (uint32_t)(parts < fit ? parts : fit);
}

/* `is_asked`: by a user, for much at a time. */
static int merge(struct job_run *run, struct lsm_job *job, bool is_asked)
{
    struct lsm_db *db = run->db;
    struct lsm_tree *tree = run->tree;
    struct lsm_policy policy;
    struct lsm_compact c = { .job = job, .policy = &policy, .tables = db->tables,
                             .tree = lsm_version_tree(run->version, tree->id),
                             .vlogs = db->vlogs, .version = run->version,
                             .one_thread = db->no_worker, .compressors = db->compressors,
                             .ctx = run, .new_file = job_new_file, .pause = compact_pause,
                             .install = compact_install };
    struct lsm_compressor *compressor;
    uint64_t *snapshots, started = db->os->mono_us(db->os), bytes = job_bytes(job);
    size_t snapshot_count;
    int rc;

    job_begins(db, job, bytes);
    lsm_db_lock(db);
    rc = lsm_snapshot_gather(db, &snapshots, &snapshot_count);
    policy = db->policy;
    c.slice_bytes = slice_of(&policy, is_asked ? bytes : UINT64_MAX);
    c.parts_max = parts_max(db);
    lsm_db_unlock(db);
    if (rc)
        return rc;
    rc = lsm_compressor_take(db->compressors, &compressor);
    if (rc == LSM_OK) {
        run->compact = &c;
        lsm_job_build_init(db, &c.build, tree, compressor, snapshots, snapshot_count);
        lsm_table_options_at(&c.build.table, job->output_level, tree->compression);
        rc = lsm_compact_run(&c);
        run->compact = NULL;
        lsm_compressor_put(db->compressors, compressor);
    }
    lsm_mem_free(db->os, snapshots);
    atomic_fetch_add_explicit(&db->counters.compact_bytes_written,
                              c.build.bytes_written + c.build.values.bytes_written, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.compact_bytes_copied, c.build.bytes_copied, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.compact_bytes_whole, c.build.bytes_whole, memory_order_relaxed);
    job_ends(db, job, bytes, &c.build, started, rc);
    if (rc == LSM_OK) {
        atomic_fetch_add_explicit(&db->counters.compactions, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.subcompactions, c.parts_done, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.compact_bytes_read, bytes, memory_order_relaxed);
        lsm_level_worked(run->tree, job->output_level, bytes,
                         c.build.bytes_written + c.build.values.bytes_written);
    }
    return rc;
}

/* Run a job of this version, of which it takes the caller's reference. The caller has set db->compacting. */
static int run_job(struct lsm_db *db, struct lsm_tree *tree, struct lsm_version *version, struct lsm_job *job,
                   bool is_asked)
{
    struct job_run run = { db, tree, version, NULL };
    int rc;

    mark_inputs(db, job, true);
    rc = lsm_write_begin(db);   /* the sweep of orphans comes before the first new table */
    if (rc == LSM_OK)
        rc = job->is_move ? run_move(&run, job) : merge(&run, job, is_asked);
    mark_inputs(db, job, false);
    lsm_version_unref(run.version);
    return rc == LSM_NOTFOUND ? LSM_OK : rc;    /* the tree was dropped meanwhile */
}

/* The most urgent tree's next job. LSM_DONE: none. */
int lsm_job_compact(struct lsm_db *db)
{
    struct lsm_job job;
    struct lsm_tree *tree = NULL;
    struct lsm_version *version;
    double best = 0;
    int rc = LSM_DONE;

    lsm_db_lock(db);
    if (db->compacting || db->flushing) {       /* a flush may put its tables where a job would, too */
        lsm_db_unlock(db);
        return LSM_DONE;
    }
    version = db->view->version;        /* not the view: memtables that are flushed meanwhile may go */
    lsm_version_ref(version);
    db->is_aging = false;
    for (uint32_t i = 0; i < version->tree_count; i++) {
        const struct lsm_tree_version *tv = version->trees[i];
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
        t->pick.is_idle = lsm_idle_is_now(db);
        t->pick.now_us = db->os->wall_us(db->os);
        t->pick.seq_oldest = db->oldest_snapshot ? db->oldest_snapshot->seq : LSM_SEQ_MAX;
        int picked = lsm_pick(&db->policy, tv, t->cmp, &t->pick, db->os, &candidate);
        db->drop_blocked |= t->pick.is_waiting;
        db->is_aging |= t->pick.is_aging;
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
    if (!tree) {
        lsm_version_unref(version);
    } else {
        rc = run_job(db, tree, version, &job, false);
        lsm_job_clear(&job, db->os);
        lsm_db_lock(db);
        db->compacting = false;
        lsm_db_memory_changed(db);
        db->os->cond_broadcast(db->changed);
        lsm_db_unlock(db);
    }
    if (tree && rc == LSM_OK)
        lsm_obsolete_sweep(db);
    return rc;
}

/* Tables that lie within range deletes: before a compaction would read them. */
int lsm_job_drop(struct lsm_db *db)
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
        lsm_obsolete_sweep(db);
    return rc;
}

/* The caller has set db->compacting. In as many jobs as the runs take that level 0 has now: what is
   flushed meanwhile is newer, and may stay. */
static int compact_tree(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice begin, struct lsm_slice end)
{
    uint32_t left = UINT32_MAX;
    struct lsm_policy policy;
    bool again = true;
    int rc = LSM_OK;

    lsm_db_lock(db);
    policy = db->policy;
    lsm_db_unlock(db);
    while (again && rc == LSM_OK) {
        struct lsm_version *version = lsm_version_current(db);
        const struct lsm_tree_version *tv = lsm_version_tree(version, tree->id);
        struct lsm_job job = { 0 };

        rc = tv ? lsm_pick_range(&policy, tv, tree->cmp, begin, end, db->os, &job) : LSM_DONE;
        if (tv && left > tv->level[0].count)
            left = tv->level[0].count;
        again = job.is_partial && left > job.upper_of[0];
        left -= job.upper_of[0] < left ? job.upper_of[0] : left;
        if (rc == LSM_OK)
            rc = run_job(db, tree, version, &job, true);
        else
            lsm_version_unref(version);
        lsm_job_clear(&job, db->os);
    }
    return rc == LSM_DONE ? LSM_OK : rc;
}

/* One value log that is mostly garbage. LSM_DONE: none. */
int lsm_job_reclaim(struct lsm_db *db)
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
        lsm_obsolete_sweep(db);
    return rc;
}

/* Keep the worker's jobs off, and wait for the one that runs. */
static void begin_compact(struct lsm_db *db)
{
    lsm_db_lock(db);
    db->compact_wait++;
    while (db->compacting || db->flushing)
        db->os->cond_wait(db->changed, db->mutex);
    db->compacting = true;
    db->compact_wait--;
    lsm_db_unlock(db);
}

static void end_compact(struct lsm_db *db, int rc)
{
    lsm_db_lock(db);
    db->compacting = false;
    db->os->cond_broadcast(db->changed);
    lsm_worker_wake(db);
    lsm_db_unlock(db);
    /* What a life before left goes with the first write, of which there may have been none. */
    if (rc == LSM_OK && (!atomic_load(&db->obsolete_fresh) || lsm_write_begin(db) == LSM_OK))
        lsm_obsolete_sweep(db);
}

int lsm_db_compact(struct lsm_db *db, struct lsm_tree *tree)
{
    const struct lsm_slice all = { NULL, 0 };
    int rc = tree ? lsm_tree_check(db, tree) : LSM_OK;

    if (rc == LSM_OK)
        rc = lsm_db_flush(db);
    if (rc)
        return rc;
    begin_compact(db);
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
            rc = compact_tree(db, t, all, all);
        if (tree)
            break;
    }
    while (rc == LSM_OK)
        rc = lsm_reclaim_one(db);
    if (rc == LSM_DONE)
        rc = LSM_OK;
    end_compact(db, rc);
    return rc;
}

int lsm_db_compact_range(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice begin, struct lsm_slice end)
{
    int rc = lsm_tree_check(db, tree);

    if (rc)
        return rc;
    if (begin.data && end.data && lsm_key_compare(tree->cmp, begin, end) >= 0)
        return LSM_OK;
    rc = lsm_db_flush(db);
    if (rc)
        return rc;
    begin_compact(db);
    rc = lsm_drop_covered(db);
    if (rc == LSM_OK || rc == LSM_DONE)
        rc = compact_tree(db, tree, begin, end);
    end_compact(db, rc);
    return rc;
}
