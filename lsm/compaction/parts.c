/*
 * parts.c -- see parts.h.
 */
#include "lsm/compaction/parts.h"

#include <assert.h>

#define TICK_US 10000u                  /* how often the leader looks after the store while it has no part to do */

enum state { FREE, ADMITTED, TAKEN, DONE };

struct part {
    struct parts *parts;
    struct lsm_compact c;               /* a job by itself, but for install */
    struct lsm_job job;
    const struct lsm_version *version;  /* a reference; or NULL */
    enum state state;                   /* mutex; FREE: the leader's */
    bool is_leaders;
    bool is_built;                      /* it has files */
};

struct parts {
    struct lsm_compact *whole;
    const struct lsm_borders *borders;
    struct lsm_build build;             /* as it was given, without results */
    uint32_t count, slots;              /* parts; of which so many are in `part`, i at i % slots */
    struct part *part;
    struct lsm_thread *threads[LSM_PARTS_MAX];
    uint32_t thread_count;
    uint32_t installed;                 /* the leader's */
    struct lsm_mutex *mutex;
    struct lsm_cond *changed;
    /* ---- mutex ---- */
    uint32_t admitted, taken;           /* parts below, in order */
    int rc;                             /* the first failure, and its text */
    char why[LSM_ERROR_TEXT_SIZE];
    atomic_bool given_up;               /* rc is set; asked without the mutex, too */
};

/* ---- what a part asks for ---- */

static uint64_t part_new_file(void *ctx)
{
    struct lsm_compact *whole = ((struct part *)ctx)->parts->whole;
    return whole->new_file(whole->ctx);
}

/* Only the leader asks whether there is something to stop for: the others hear of it from there. */
static int part_pause(void *ctx)
{
    struct part *part = ctx;
    struct lsm_compact *whole = part->parts->whole;

    if (atomic_load(&part->parts->given_up))
        return lsm_fail(LSM_BUSY, "another part of the compaction has failed");
    return part->is_leaders && whole->pause ? whole->pause(whole->ctx) : LSM_OK;
}

/* ---- one part ---- */

static bool is_in(const struct lsm_compact *c, const struct lsm_run *run)
{
    const struct lsm_comparator *cmp = c->build.table.comparator;

    return run && (!c->after.data || lsm_key_compare(cmp, run->meta.largest, c->after) > 0) &&
           (!c->upto.data || lsm_key_compare(cmp, run->meta.smallest, c->upto) <= 0);
}

/* The runs of the job that reach into the part. Those that are installed over do not. */
static int job_of(struct part *part, const struct lsm_job *whole)
{
    struct lsm_os *os = part->c.build.os;
    struct lsm_job *job = &part->job;
    uint32_t at = 0;

    *job = (struct lsm_job){ .tree = whole->tree, .level = whole->level, .output_level = whole->output_level };
    job->upper = lsm_mem_alloc(os, (whole->upper_count + 1) * sizeof(struct lsm_run *));
    job->lower = lsm_mem_alloc(os, (whole->lower_count + 1) * sizeof(struct lsm_run *));
    if (!job->upper || !job->lower)
        return lsm_nomem();
    for (uint32_t level = 0; level < LSM_LEVEL_COUNT_MAX; level++)
        for (uint32_t i = 0; i < whole->upper_of[level]; i++, at++)
            if (is_in(&part->c, whole->upper[at])) {
                job->upper[job->upper_count++] = whole->upper[at];
                job->upper_of[level]++;
            }
    for (uint32_t i = 0; i < whole->lower_count; i++)
        if (is_in(&part->c, whole->lower[i]))
            job->lower[job->lower_count++] = whole->lower[i];
    return LSM_OK;
}

/* The leader's. */
static int admit(struct parts *p)
{
    const struct lsm_slice none = { NULL, 0 };
    struct lsm_compact *whole = p->whole;
    uint32_t i = p->admitted;
    struct part *part = &p->part[i % p->slots];
    int rc;

    assert(part->state == FREE);
    *part = (struct part){ .parts = p, .version = whole->version };
    part->c = (struct lsm_compact){
        .build = p->build, .job = &part->job, .tree = whole->tree, .policy = whole->policy, .tables = whole->tables,
        .vlogs = whole->vlogs, .version = whole->version, .ctx = part, .new_file = part_new_file,
        .pause = part_pause, .after = i ? lsm_borders_key(p->borders, i - 1) : none,
        .upto = i < p->borders->count ? lsm_borders_key(p->borders, i) : none
    };
    lsm_compact_init(&part->c);
    rc = job_of(part, whole->job);
    if (rc) {
        lsm_job_clear(&part->job, part->c.build.os);
        return rc;
    }
    if (part->version)
        lsm_version_ref((struct lsm_version *)part->version);
    part->state = ADMITTED;
    p->admitted++;
    return LSM_OK;
}

/* Mutex held. The text is this thread's. */
static void note_failure(struct parts *p, int rc)
{
    if (rc && p->rc == LSM_OK) {
        p->rc = rc;
        lsm_error_save(p->why, sizeof p->why);
        atomic_store(&p->given_up, true);
    }
}

/* The next part, if there is one that nobody does. Mutex held; not while it is done. */
static bool do_next(struct parts *p, struct lsm_compressor *compressor, bool is_leader)
{
    struct lsm_os *os = p->build.os;
    struct part *part = &p->part[p->taken % p->slots];
    int rc;

    if (p->taken == p->admitted || p->rc)
        return false;
    p->taken++;
    part->state = TAKEN;
    part->is_leaders = is_leader;
    part->c.build.compressor = compressor;
    os->mutex_unlock(p->mutex);
    rc = lsm_compact_build(&part->c);
    os->mutex_lock(p->mutex);
    part->is_built = rc == LSM_OK;      /* else lsm_build_run has removed them */
    part->state = DONE;
    note_failure(p, rc);
    os->cond_broadcast(p->changed);
    return true;
}

static void help(void *ctx)
{
    struct parts *p = ctx;
    struct lsm_os *os = p->build.os;
    struct lsm_compressor *compressor;

    if (lsm_compressor_take(p->whole->compressors, &compressor))
        return;                 /* the leader does without */
    os->mutex_lock(p->mutex);
    while (p->taken < p->count && !p->rc)
        if (!do_next(p, compressor, false))
            os->cond_wait(p->changed, p->mutex);
    os->mutex_unlock(p->mutex);
    lsm_compressor_put(p->whole->compressors, compressor);
}

/* ---- results ---- */

static void free_part(struct part *part)
{
    struct lsm_build *to = &part->parts->whole->build, *from = &part->c.build;

    to->bytes_written += from->bytes_written;
    to->bytes_copied += from->bytes_copied;
    to->bytes_whole += from->bytes_whole;
    to->rows_read += from->rows_read;
    to->rows_written += from->rows_written;
    to->count_all += from->count_all;
    to->values.bytes_written += from->values.bytes_written;
    lsm_job_clear(&part->job, from->os);
    lsm_compact_clear(&part->c);
    lsm_version_unref((struct lsm_version *)part->version);
    part->state = FREE;
}

static int reserve(struct lsm_os *os, void **items, size_t *cap, size_t count, size_t size)
{
    void *more;

    if (count <= *cap)
        return LSM_OK;
    count = count < 2 * *cap ? 2 * *cap : count;
    more = os->mem_realloc(os, *items, count * size);
    if (!more)
        return lsm_nomem();
    *items = more;
    *cap = count;
    return LSM_OK;
}

/* Its tables and value logs are the job's from now on. On failure they stay the part's. */
static int hand_over(struct part *part)
{
    struct lsm_build *to = &part->parts->whole->build, *from = &part->c.build;
    void *metas = to->metas, *logs = to->values.metas;
    int rc = reserve(to->os, &metas, &to->cap, to->count + from->count, sizeof *to->metas);

    to->metas = metas;
    if (rc == LSM_OK)
        rc = reserve(to->os, &logs, &to->values.cap, to->values.count + from->values.count, sizeof *to->values.metas);
    to->values.metas = logs;
    if (rc)
        return rc;
    for (size_t i = 0; i < from->count; i++)
        to->metas[to->count++] = from->metas[i];
    for (size_t i = 0; i < from->values.count; i++)
        to->values.metas[to->values.count++] = from->values.metas[i];
    from->count = from->values.count = 0;
    part->parts->whole->parts_done++;
    free_part(part);
    return LSM_OK;
}

/* So many parts behind those that are installed are done. */
static int install(struct parts *p, uint32_t count)
{
    const struct lsm_slice all = { NULL, 0 };
    int rc = LSM_OK;

    for (; count > 0 && rc == LSM_OK; count--) {
        rc = hand_over(&p->part[p->installed % p->slots]);
        p->installed += rc == LSM_OK;
    }
    if (rc)
        return rc;
    return lsm_compact_install(p->whole, p->installed == p->count ? all : lsm_borders_key(p->borders, p->installed - 1));
}

static uint32_t done_count(const struct parts *p)
{
    uint32_t n = 0;

    while (p->installed + n < p->admitted && p->part[(p->installed + n) % p->slots].state == DONE)
        n++;
    return n;
}

/* ---- the leader ---- */

/* What it does in turns, mutex held at the beginning and the end. */
static int take_turn(struct parts *p)
{
    struct lsm_os *os = p->build.os;
    struct lsm_compact *whole = p->whole;
    uint32_t done = done_count(p);
    int rc = LSM_OK;

    if (done) {
        os->mutex_unlock(p->mutex);
        rc = install(p, done);
        os->mutex_lock(p->mutex);
        return rc;
    }
    while (rc == LSM_OK && p->admitted < p->count && p->admitted < p->installed + p->slots)
        rc = admit(p);
    os->cond_broadcast(p->changed);
    if (rc || do_next(p, p->build.compressor, true))
        return rc;
    os->mutex_unlock(p->mutex);
    rc = whole->pause ? whole->pause(whole->ctx) : LSM_OK;
    os->mutex_lock(p->mutex);
    if (rc == LSM_OK && !p->rc && done_count(p) == 0)
        os->cond_wait_us(p->changed, p->mutex, TICK_US);
    return rc;
}

static int lead(struct parts *p)
{
    struct lsm_os *os = p->build.os;
    uint32_t threads = p->whole->one_thread ? 1 : p->slots - 1;

    for (; p->thread_count + 1 < threads; p->thread_count++)
        if (os->thread_start(os, help, p, &p->threads[p->thread_count]))
            break;              /* fewer do it as well */
    os->mutex_lock(p->mutex);
    while (p->installed < p->count && !p->rc)
        note_failure(p, take_turn(p));
    os->cond_broadcast(p->changed);
    os->mutex_unlock(p->mutex);
    for (uint32_t i = 0; i < p->thread_count; i++)
        os->thread_join(p->threads[i]);
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->part[i].state != FREE) {
            if (p->part[i].is_built)
                lsm_compact_remove(&p->part[i].c);
            free_part(&p->part[i]);
        }
    return p->rc ? lsm_fail(p->rc, "%s", p->why) : LSM_OK;
}

int lsm_parts_run(struct lsm_compact *c, const struct lsm_borders *borders)
{
    struct lsm_os *os = c->build.os;
    struct parts *p = lsm_mem_zalloc(os, sizeof *p);
    uint32_t threads = c->parts_max < LSM_PARTS_MAX ? c->parts_max : LSM_PARTS_MAX;
    int rc = LSM_OK;

    if (!p)
        return lsm_nomem();
    p->whole = c;
    p->borders = borders;
    p->build = c->build;
    p->count = borders->count + 1;
    if (threads > p->count)
        threads = p->count;
    p->slots = threads + 1;
    p->part = lsm_mem_zalloc(os, p->slots * sizeof *p->part);
    if (!p->part)
        rc = lsm_nomem();
    else if (os->mutex_new(os, &p->mutex) || os->cond_new(os, &p->changed))
        rc = lsm_nomem();
    if (rc == LSM_OK)
        rc = lead(p);
    if (p->changed)
        os->cond_free(p->changed);
    if (p->mutex)
        os->mutex_free(p->mutex);
    lsm_mem_free(os, p->part);
    lsm_mem_free(os, p);
    return rc;
}
