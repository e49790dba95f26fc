/*
 * tables.c -- which tables are open.
 *
 * Found by (number, seq_add): a private table is read by its transaction with
 * seq_add 0 and after its adoption with another one; both share the blocks.
 *
 * refs as in cache.c: users, and one while the table can be found. A reference
 * to an idle table comes into being under its shard's mutex only, so refs == 1
 * seen under it means that the table may be closed.
 *
 * The least recently used idle table goes first; "recently" is a clock that
 * stands still while the same table is used again and again, so that a hit
 * rarely writes to it.
 *
 * A table that stands in a slot (a run's, which a reader's view keeps) has a reference more
 * and no reader counts: a get that finds four tables would else write to four of their lines,
 * twice, and take four mutexes.
 *
 * Threads: any. One shard's mutex at a time; files are opened and closed outside.
 */
#include <assert.h>

#include "lsm/store/table_open.h"

#define BUCKETS_MIN 32u

static struct lsm_tables_shard *shard_of(struct lsm_tables *ts, uint64_t number)
{
    return &ts->shards[number % LSM_TABLES_SHARDS];
}

static struct lsm_table **bucket_of(struct lsm_tables_shard *s, uint64_t number)
{
    return &s->buckets[number / LSM_TABLES_SHARDS & (s->bucket_count - 1)];
}

/* Where the pointer to the table stands, or would. */
static struct lsm_table **find(struct lsm_tables_shard *s, const struct lsm_table_meta *meta)
{
    struct lsm_table **at = bucket_of(s, meta->number);

    while (*at && ((*at)->meta->number != meta->number || (*at)->meta->seq_add != meta->seq_add))
        at = &(*at)->chain;
    return at;
}

/* Without memory the chains only grow longer. */
static void grow(struct lsm_tables *ts, struct lsm_tables_shard *s)
{
    struct lsm_tables_shard bigger = { .bucket_count = s->bucket_count * 2 };

    if (s->count < s->bucket_count)
        return;
    bigger.buckets = lsm_mem_zalloc(ts->os, bigger.bucket_count * sizeof *bigger.buckets);
    if (!bigger.buckets)
        return;
    for (uint32_t i = 0; i < s->bucket_count; i++) {
        struct lsm_table *t = s->buckets[i], *next;
        for (; t; t = next) {
            struct lsm_table **bucket = bucket_of(&bigger, t->meta->number);
            next = t->chain;
            t->chain = *bucket;
            *bucket = t;
        }
    }
    lsm_mem_free(ts->os, s->buckets);
    s->buckets = bigger.buckets;        /* not all of *s: its mutex is read by who waits for it */
    s->bucket_count = bigger.bucket_count;
}

int lsm_tables_new(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                   struct lsm_cache *cache, struct lsm_compressor_pool *compressors,
                   uint32_t open_max, struct lsm_tables **tables)
{
    struct lsm_tables *ts = lsm_mem_zalloc(os, sizeof *ts);

    *tables = NULL;
    if (!ts)
        return lsm_nomem();
    ts->os = os;
    ts->dir = dir;
    memcpy(ts->uuid, uuid, 16);
    ts->cache = cache;
    ts->compressors = compressors;
    ts->open_max = open_max ? open_max : 1;
    atomic_init(&ts->clock, 1);         /* 0 is a table that was not used yet */
    for (uint32_t i = 0; i < LSM_TABLES_SHARDS; i++) {
        struct lsm_tables_shard *s = &ts->shards[i];
        int error;

        s->bucket_count = BUCKETS_MIN;
        s->buckets = lsm_mem_zalloc(os, BUCKETS_MIN * sizeof *s->buckets);
        error = s->buckets ? os->mutex_new(os, &s->mutex) : 0;
        if (!s->buckets || error) {
            if (error)
                s->mutex = NULL;
            lsm_tables_free(ts);
            return error ? lsm_fail_os(error, "make", "a mutex") : lsm_nomem();
        }
    }
    *tables = ts;
    return LSM_OK;
}

void lsm_tables_free(struct lsm_tables *ts)
{
    if (!ts)
        return;
    for (uint32_t i = 0; i < LSM_TABLES_SHARDS; i++) {
        struct lsm_tables_shard *s = &ts->shards[i];
        for (uint32_t b = 0; s->buckets && b < s->bucket_count; b++) {
            struct lsm_table *t = s->buckets[b], *next;
            for (; t; t = next) {
                next = t->chain;
                assert(atomic_load(&t->refs) == 1);     /* nothing is in use */
                lsm_table_close(t);
            }
        }
        lsm_mem_free(ts->os, s->buckets);
        if (s->mutex)
            ts->os->mutex_free(s->mutex);
    }
    lsm_table_scratch_free(ts->os, atomic_load(&ts->spare_scratch));
    assert(atomic_load(&ts->open_count) == 0);
    assert(atomic_load(&ts->kept_count) == 0);
    assert(atomic_load(&ts->kept_bytes) == 0);
    lsm_mem_free(ts->os, ts);
}

void lsm_tables_set_relief(struct lsm_tables *ts, uint32_t (*relief)(void *ctx), void *ctx)
{
    ts->relief = relief;
    ts->relief_ctx = ctx;
}

void lsm_tables_allow_longer(struct lsm_tables *ts)
{
    ts->allow_longer = true;
}

static void touch(struct lsm_tables *ts, struct lsm_table *t)
{
    uint64_t now = atomic_load_explicit(&ts->clock, memory_order_relaxed);

    if (atomic_load_explicit(&t->used_at, memory_order_relaxed) == now)
        return;
    /* Two threads may take the same tick: only how recently, not whether, is lost. */
    atomic_store_explicit(&ts->clock, now + 1, memory_order_relaxed);
    atomic_store_explicit(&t->used_at, now + 1, memory_order_relaxed);
}

static void remove_from(struct lsm_tables_shard *s, struct lsm_table **at)
{
    *at = (*at)->chain;
    s->count--;
}

/* Close the idle table that was used longest ago. False: all are in use. */
static bool close_oldest(struct lsm_tables *ts)
{
    for (int tries = 0; tries < 4; tries++) {
        struct lsm_tables_shard *best_shard = NULL, *s;
        uint64_t best_at = UINT64_MAX;
        struct lsm_table *victim = NULL, **best = NULL;

        for (uint32_t i = 0; i < LSM_TABLES_SHARDS; i++) {
            s = &ts->shards[i];
            ts->os->mutex_lock(s->mutex);
            for (uint32_t b = 0; b < s->bucket_count; b++) {
                for (struct lsm_table *t = s->buckets[b]; t; t = t->chain) {
                    if (atomic_load(&t->refs) == 1 && atomic_load(&t->used_at) < best_at) {
                        best_at = atomic_load(&t->used_at);
                        best_shard = s;
                    }
                }
            }
            ts->os->mutex_unlock(s->mutex);
        }
        if (!best_shard)
            return false;
        s = best_shard;
        ts->os->mutex_lock(s->mutex);
        for (uint32_t b = 0; b < s->bucket_count && !best; b++)
            for (struct lsm_table **at = &s->buckets[b]; *at && !best; at = &(*at)->chain)
                if (atomic_load(&(*at)->refs) == 1 && atomic_load(&(*at)->used_at) <= best_at)
                    best = at;
        if (best) {
            victim = *best;
            remove_from(s, best);
        }
        ts->os->mutex_unlock(s->mutex);
        if (victim) {
            lsm_table_close(victim);
            return true;
        }
    }
    return false;                       /* somebody always was faster: they are in use */
}

uint32_t lsm_tables_close_idle(struct lsm_tables *ts, uint32_t count)
{
    uint32_t closed = 0;

    while (closed < count && close_oldest(ts))
        closed++;
    return closed;
}

/* The order of `over`, refs and open_count is that of cache.c's evict() and unpin(). */
static void keep_bound(struct lsm_tables *ts)
{
    atomic_store(&ts->over, true);
    while (atomic_load(&ts->open_count) > ts->open_max)
        if (!close_oldest(ts))
            return;
    atomic_store(&ts->over, false);
    if (atomic_load(&ts->open_count) > ts->open_max)
        atomic_store(&ts->over, true);
}

int lsm_tables_get(struct lsm_tables *ts, const struct lsm_table_meta *meta,
                   const struct lsm_comparator *cmp, struct lsm_table **table)
{
    struct lsm_tables_shard *s = shard_of(ts, meta->number);
    struct lsm_table *t, *own, **at;
    int rc;

    *table = NULL;
    ts->os->mutex_lock(s->mutex);
    t = *find(s, meta);
    if (t)
        lsm_table_ref(t);
    ts->os->mutex_unlock(s->mutex);
    if (t) {
        assert(t->cmp == cmp);
        touch(ts, t);
        *table = t;
        return LSM_OK;
    }

    rc = lsm_table_open(ts, meta, cmp, &own);
    if (rc)
        return rc;
    touch(ts, own);
    ts->os->mutex_lock(s->mutex);
    at = find(s, meta);
    t = *at;
    if (t) {
        lsm_table_ref(t);
    } else {
        lsm_table_ref(own);             /* the list's and the caller's */
        grow(ts, s);
        at = bucket_of(s, meta->number);
        own->chain = *at;
        *at = own;
        s->count++;
    }
    ts->os->mutex_unlock(s->mutex);
    if (t)
        lsm_table_close(own);           /* another thread was faster */
    else
        t = own;
    if (atomic_load(&ts->open_count) > ts->open_max)
        keep_bound(ts);
    *table = t;
    return LSM_OK;
}

int lsm_tables_get_kept(struct lsm_tables *ts, const struct lsm_table_meta *meta,
                        const struct lsm_comparator *cmp, struct lsm_table *_Atomic *slot,
                        struct lsm_table **table, bool *is_kept)
{
    struct lsm_table *none = NULL;
    int rc;

    *table = atomic_load_explicit(slot, memory_order_acquire);
    *is_kept = *table != NULL;
    if (*is_kept)
        return LSM_OK;
    rc = lsm_tables_get(ts, meta, cmp, table);
    if (rc)
        return rc;
    *is_kept = atomic_fetch_add(&ts->kept_count, 1) < ts->open_max / 2 &&
               atomic_compare_exchange_strong(slot, &none, *table);
    if (!*is_kept)
        atomic_fetch_sub(&ts->kept_count, 1);
    return LSM_OK;
}

void lsm_table_unkeep(struct lsm_table *t)
{
    if (!t)
        return;
    atomic_fetch_sub(&t->tables->kept_count, 1);
    lsm_table_unref(t);
}

void lsm_table_ref(struct lsm_table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void lsm_table_unref(struct lsm_table *t)
{
    struct lsm_tables *ts;
    unsigned refs;

    if (!t)
        return;
    ts = t->tables;                     /* after the subtraction t may be gone */
    refs = atomic_fetch_sub(&t->refs, 1);
    assert(refs > 0);
    if (refs == 1)
        lsm_table_close(t);
    else if (refs == 2 && atomic_load(&ts->over))
        keep_bound(ts);
}

void lsm_tables_forget(struct lsm_tables *ts, uint64_t number)
{
    struct lsm_tables_shard *s = shard_of(ts, number);
    struct lsm_table *gone = NULL, *next, **at;

    ts->os->mutex_lock(s->mutex);
    for (at = bucket_of(s, number); *at;) {
        struct lsm_table *t = *at;
        if (t->meta->number != number) {
            at = &t->chain;
            continue;
        }
        remove_from(s, at);
        t->chain = gone;
        gone = t;
    }
    ts->os->mutex_unlock(s->mutex);
    for (; gone; gone = next) {
        next = gone->chain;
        atomic_store(&gone->is_forgotten, true);
        lsm_table_unref(gone);
    }
    lsm_cache_forget(ts->cache, number);
}

uint64_t lsm_tables_memory(struct lsm_tables *ts)
{
    return atomic_load(&ts->memory);
}

void lsm_tables_stats(struct lsm_tables *ts, struct lsm_tables_stats *stats)
{
    stats->open = atomic_load(&ts->open_count);
    stats->open_max = ts->open_max;
    stats->opens = atomic_load(&ts->opens);
    stats->filter_faults = atomic_load(&ts->filter_faults);
    stats->kept_bytes = atomic_load(&ts->kept_bytes);
    stats->filter_denied = atomic_load(&ts->filter_denied);
    stats->filter_wrong = atomic_load(&ts->filter_wrong);
    stats->block_reads = atomic_load(&ts->block_reads);
    stats->block_bytes = atomic_load(&ts->block_bytes);
}
