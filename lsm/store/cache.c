/*
 * cache.c -- blocks in memory, shared by all readers of a store.
 *
 * Sixteen shards by hash of (file, off), each a chained hash table and two
 * queues under one short mutex:
 *
 *     cold   inserted by a scan that asked not to displace others, or on probation,
 *            and not hit since
 *     warm   all others
 *
 * When the cache is full, a block on probation is warm only if its place was missed
 * before, not long ago; else it is cold, and goes for the next one. So of reads all
 * over a store that is larger than the cache, most use the same few blocks of memory
 * again, which the processor still has near, and push nobody out; what is wanted twice
 * stays. Each shard remembers about as many missed places as a quarter of its entries,
 * and lets every sixteenth block stay all the same: else a set that is read round and
 * round, larger than what is remembered, would never get in.
 *
 * Eviction empties the cold queues of all shards first, then takes from the
 * shard that got the new entry, so that shards keep their share, and from the
 * next ones if it has nothing: the oldest warm entry goes if it is not pinned
 * and has no heat; else it loses one degree and goes to the end. A hit adds one.
 *
 * The capacity is one number for all shards, so that a block larger than a
 * sixteenth of it can stay, and a busy shard may use what others do not.
 *
 * Pins: refs counts the pins and, while the entry can be found, one more for
 * the table. A pin comes into being under the shard's mutex or from a pin, so
 * refs == 1 seen under the mutex means that nobody can reach the entry but
 * through that mutex: it may be freed. An unpin is one atomic subtraction.
 *
 * What is pinned may pass the capacity. Then `over` is set and the unpin that
 * makes an entry evictable evicts it. The order of the accesses keeps an entry
 * from being missed by both sides (all sequentially consistent):
 *
 *     evict():  over = true   ...  reads refs
 *     unpin():  refs -= 1     ...  reads over
 *
 * Threads: any. No two shards' mutexes are held at the same time, values are
 * freed outside.
 */
#include "lsm/store/cache.h"

#include <assert.h>
#include <stdatomic.h>

#define SHARD_COUNT 16u
#define BUCKETS_MIN 64u
#define HEAT_MAX 3u
#define SET_BUCKETS 16u                 /* for each set of four missed places */

struct link {
    struct link *next, *prev;
};

struct entry {                          /* what a hit touches comes first: one line of memory */
    struct lsm_cache_entry pub;         /* first: what users hold */
    struct entry *chain;                /* in its bucket; in a list of the dead */
    uint64_t file, off;
    atomic_uint refs;
    uint8_t heat;
    bool is_cold;
    bool is_found;                      /* in its shard's table */
    uint64_t hash;
    struct link link;                   /* in warm or cold */
    uint64_t charge;                    /* with this struct */
    void (*free_value)(void *value);
};

struct shard {
    struct lsm_mutex *mutex;            /* guards all below */
    struct entry **buckets;
    uint32_t bucket_count;              /* a power of two */
    uint32_t entry_count;
    struct link warm, cold;             /* oldest first */
    atomic_uint cold_count;             /* read without the mutex, as a hint */
    uint64_t hits, misses, evictions;
    uint64_t *missed;                   /* bucket_count / 16 sets of four prints; NULL: no memory */
    uint64_t probations;
    uint64_t pad[3];                    /* neighbours' mutexes on other lines */
};

struct lsm_cache {
    struct lsm_os *os;
    atomic_uint_least64_t capacity;
    atomic_uint_least64_t used;         /* all charges, of forgotten but pinned entries too */
    atomic_uint_least64_t lost;         /* of these: charges that can no longer be found */
    atomic_uint_least64_t cold_count;
    atomic_uint cold_at;                /* the shard that got the last cold entry; a hint */
    atomic_bool over;                   /* used > capacity and all of it pinned */
    uint64_t overdraft_max;
    struct shard shards[SHARD_COUNT];
};

/* ---- lists and hash tables ---- */

static void link_init(struct link *head)
{
    head->next = head->prev = head;
}

static void link_append(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static void link_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
}

static struct entry *entry_of(struct link *l)
{
    return (struct entry *)(void *)((char *)l - offsetof(struct entry, link));
}

static uint64_t place_hash(uint64_t file, uint64_t off)
{
    uint64_t h = (file * UINT64_C(0x9e3779b97f4a7c15)) ^ off;
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

static struct shard *shard_of(struct lsm_cache *cache, uint64_t hash)
{
    return &cache->shards[hash >> 60];
}

static void lock(struct lsm_cache *cache, struct shard *s)
{
    cache->os->mutex_lock(s->mutex);
}

static void unlock(struct lsm_cache *cache, struct shard *s)
{
    cache->os->mutex_unlock(s->mutex);
}

static struct entry *table_find(struct shard *s, uint64_t hash, uint64_t file, uint64_t off)
{
    struct entry *e = s->buckets[hash & (s->bucket_count - 1)];
    while (e && (e->off != off || e->file != file))
        e = e->chain;
    return e;
}

/* Without memory the chains only grow longer. */
static void table_grow(struct lsm_cache *cache, struct shard *s)
{
    uint32_t count = s->bucket_count * 2;
    struct entry **buckets;

    if (s->entry_count < s->bucket_count || count == 0)
        return;
    buckets = lsm_mem_zalloc(cache->os, count * sizeof *buckets);
    if (!buckets)
        return;
    for (uint32_t i = 0; i < s->bucket_count; i++) {
        struct entry *e = s->buckets[i], *next;
        for (; e; e = next) {
            struct entry **bucket = &buckets[e->hash & (count - 1)];
            next = e->chain;
            e->chain = *bucket;
            *bucket = e;
        }
    }
    lsm_mem_free(cache->os, s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
    lsm_mem_free(cache->os, s->missed);
    s->missed = lsm_mem_zalloc(cache->os, count / SET_BUCKETS * sizeof *s->missed);
}

/* Was this place missed not long ago? From now on it was. */
static bool was_missed(struct shard *s, uint64_t hash)
{
    uint64_t *set = &s->missed[(hash >> 32) & (s->bucket_count / SET_BUCKETS - 1)], before = *set;
    uint64_t print = hash >> 16 & 0xffff;
    bool found = false;

    for (uint64_t rest = before, n = 0; n < 4; n++, rest >>= 16)
        found |= (rest & 0xffff) == print;
    *set = before << 16 | print;
    return found;
}

/* Shall a block that is new stay when others must go for it? */
static bool may_stay(struct shard *s, uint64_t hash)
{
    return !s->missed || was_missed(s, hash) || ++s->probations % 16 == 0;
}

/* Under the shard's mutex. */
static void cold_add(struct shard *s, unsigned more)
{
    atomic_store_explicit(&s->cold_count,
                          atomic_load_explicit(&s->cold_count, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* Take an entry out of everything its shard knows. */
static void table_remove(struct lsm_cache *cache, struct shard *s, struct entry *e)
{
    struct entry **at = &s->buckets[e->hash & (s->bucket_count - 1)];

    assert(e->is_found);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    link_remove(&e->link);
    s->entry_count--;
    e->is_found = false;
    if (e->is_cold) {
        cold_add(s, -1u);
        atomic_fetch_sub(&cache->cold_count, 1);
    }
}

static void free_entry(struct lsm_cache *cache, struct entry *e)
{
    assert(!e->is_found);
    atomic_fetch_sub(&cache->used, e->charge);
    e->free_value(e->pub.value);
    lsm_mem_free(cache->os, e);
}

/* ---- eviction ---- */

/* At most one round of a queue. The victim is out of the table and nobody else's. */
static struct entry *evict_one(struct lsm_cache *cache, struct shard *s, struct link *queue)
{
    struct link *again = NULL;          /* the first that went to the end of this queue */

    while (queue->next != queue && queue->next != again) {
        struct entry *e = entry_of(queue->next);
        bool is_pinned = atomic_load(&e->refs) > 1;

        if (!is_pinned && e->heat == 0) {
            table_remove(cache, s, e);
            s->evictions++;
            return e;
        }
        link_remove(&e->link);
        if (e->is_cold && e->heat > 0) {        /* wanted again: like the others from now on */
            e->is_cold = false;
            cold_add(s, -1u);
            atomic_fetch_sub(&cache->cold_count, 1);
            link_append(&s->warm, &e->link);
            continue;
        }
        if (!is_pinned)
            e->heat--;
        link_append(queue, &e->link);
        if (!again)
            again = &e->link;
    }
    return NULL;
}

static bool is_over(struct lsm_cache *cache)
{
    return atomic_load(&cache->used) > atomic_load(&cache->capacity);
}

static bool is_overdrawn(struct lsm_cache *cache)
{
    uint64_t used = atomic_load(&cache->used), capacity = atomic_load(&cache->capacity);

    return used > capacity && used - capacity > cache->overdraft_max;
}

/* Clear `over` unless the capacity is passed again in the same moment. */
static void settle(struct lsm_cache *cache)
{
    if (is_over(cache))
        return;
    atomic_store(&cache->over, false);
    if (is_over(cache))
        atomic_store(&cache->over, true);
}

/* Evict until the capacity is kept or everything left is pinned, beginning at shard `at`.
   cold_pinned: so many cold entries surely cannot go. */
static void evict(struct lsm_cache *cache, uint32_t at, uint64_t cold_pinned)
{
    /* A whole round without a victim cools every unpinned entry by one degree. */
    const uint32_t fruitless_max = SHARD_COUNT * (HEAT_MAX + 2);
    uint32_t fruitless = 0;
    bool cold_only = atomic_load(&cache->cold_count) > cold_pinned;

    atomic_store(&cache->over, true);
    while (fruitless < fruitless_max && is_over(cache)) {
        struct shard *s = &cache->shards[at++ % SHARD_COUNT];
        struct entry *e = NULL;

        if (!cold_only || atomic_load_explicit(&s->cold_count, memory_order_relaxed) > 0) {
            lock(cache, s);
            e = evict_one(cache, s, cold_only ? &s->cold : &s->warm);
            unlock(cache, s);
        }
        if (e) {
            free_entry(cache, e);
            fruitless = 0;
        } else if (++fruitless == SHARD_COUNT && cold_only) {
            cold_only = false;
            fruitless = 0;
        }
    }
    settle(cache);
}

/* ---- the interface ---- */

int lsm_cache_new(struct lsm_os *os, uint64_t capacity_bytes, struct lsm_cache **cache_out)
{
    struct lsm_cache *cache = lsm_mem_zalloc(os, sizeof *cache);

    *cache_out = NULL;
    if (!cache)
        return lsm_nomem();
    cache->os = os;
    atomic_init(&cache->capacity, capacity_bytes);
    atomic_init(&cache->used, 0);
    atomic_init(&cache->lost, 0);
    atomic_init(&cache->cold_count, 0);
    atomic_init(&cache->over, false);
    cache->overdraft_max = UINT64_MAX;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *s = &cache->shards[i];
        int error;

        link_init(&s->warm);
        link_init(&s->cold);
        s->bucket_count = BUCKETS_MIN;
        s->buckets = lsm_mem_zalloc(os, BUCKETS_MIN * sizeof *s->buckets);
        s->missed = lsm_mem_zalloc(os, BUCKETS_MIN / SET_BUCKETS * sizeof *s->missed);
        error = s->buckets ? os->mutex_new(os, &s->mutex) : 0;
        if (!s->buckets || error) {
            if (error)
                s->mutex = NULL;
            lsm_cache_free(cache);
            return error ? lsm_fail_os(error, "make", "a mutex") : lsm_nomem();
        }
    }
    *cache_out = cache;
    return LSM_OK;
}

void lsm_cache_free(struct lsm_cache *cache)
{
    if (!cache)
        return;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *s = &cache->shards[i];
        for (uint32_t b = 0; s->buckets && b < s->bucket_count; b++) {
            while (s->buckets[b]) {
                struct entry *e = s->buckets[b];
                assert(atomic_load(&e->refs) == 1);     /* nothing is pinned */
                table_remove(cache, s, e);
                free_entry(cache, e);
            }
        }
        lsm_mem_free(cache->os, s->buckets);
        lsm_mem_free(cache->os, s->missed);
        if (s->mutex)
            cache->os->mutex_free(s->mutex);
    }
    assert(atomic_load(&cache->used) == 0);
    assert(atomic_load(&cache->lost) == 0);
    lsm_mem_free(cache->os, cache);
}

void lsm_cache_set_capacity(struct lsm_cache *cache, uint64_t capacity_bytes)
{
    atomic_store(&cache->capacity, capacity_bytes);
    if (is_over(cache))
        evict(cache, 0, 0);
    else
        settle(cache);
}

void lsm_cache_set_overdraft(struct lsm_cache *cache, uint64_t bytes_max)
{
    cache->overdraft_max = bytes_max;
}

uint64_t lsm_cache_capacity(struct lsm_cache *cache)
{
    return atomic_load_explicit(&cache->capacity, memory_order_relaxed);
}

uint64_t lsm_cache_used(struct lsm_cache *cache)
{
    return atomic_load_explicit(&cache->used, memory_order_relaxed);
}

struct lsm_cache_entry *lsm_cache_lookup(struct lsm_cache *cache, uint64_t file, uint64_t off)
{
    uint64_t hash = place_hash(file, off);
    struct shard *s = shard_of(cache, hash);
    struct entry *e;

    lock(cache, s);
    e = table_find(s, hash, file, off);
    if (e) {
        __builtin_prefetch(e->pub.value);
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
        if (e->heat < HEAT_MAX)
            e->heat++;
        s->hits++;
    } else {
        s->misses++;
    }
    unlock(cache, s);
    return e ? &e->pub : NULL;
}

int lsm_cache_insert(struct lsm_cache *cache, uint64_t file, uint64_t off, void *value,
                     uint64_t charge_bytes, void (*free_value)(void *value),
                     enum lsm_cache_place place, struct lsm_cache_entry **entry)
{
    uint64_t hash = place_hash(file, off);
    struct shard *s = shard_of(cache, hash);
    uint32_t at = (uint32_t)(s - cache->shards);
    bool cold = place == LSM_CACHE_COLD;
    struct entry *e = lsm_mem_zalloc(cache->os, sizeof *e), *other;

    *entry = NULL;
    if (!e) {
        free_value(value);
        return lsm_nomem();
    }
    e->pub.value = value;
    e->file = file;
    e->off = off;
    e->hash = hash;
    e->charge = charge_bytes + sizeof *e;
    e->free_value = free_value;
    atomic_init(&e->refs, 2);                   /* the table's and the caller's */

    lock(cache, s);
    other = table_find(s, hash, file, off);
    if (other) {
        atomic_fetch_add_explicit(&other->refs, 1, memory_order_relaxed);
    } else {
        struct entry **bucket;
        table_grow(cache, s);
        bucket = &s->buckets[hash & (s->bucket_count - 1)];
        e->chain = *bucket;
        *bucket = e;
        if (place == LSM_CACHE_PROBATION)
            cold = atomic_load_explicit(&cache->used, memory_order_relaxed) + e->charge >
                       atomic_load_explicit(&cache->capacity, memory_order_relaxed) &&
                   !may_stay(s, hash);
        e->is_cold = cold;
        link_append(cold ? &s->cold : &s->warm, &e->link);
        e->is_found = true;
        s->entry_count++;
        if (cold) {
            cold_add(s, 1);
            atomic_fetch_add(&cache->cold_count, 1);
        }
        atomic_fetch_add(&cache->used, e->charge);
    }
    unlock(cache, s);

    if (other) {
        free_value(value);
        lsm_mem_free(cache->os, e);
        e = other;
    } else if (is_over(cache)) {
        /* The cold one before this, if it is alone, is found at once. */
        if (cold)
            at = atomic_exchange_explicit(&cache->cold_at, at, memory_order_relaxed);
        evict(cache, at, cold);
    }
    if (!other && is_overdrawn(cache)) {
        lsm_cache_unpin(cache, &e->pub);
        return lsm_fail(LSM_NOMEM, "the cache is full of blocks that are in use, and strict_memory is set: close "
                                   "cursors, release values, or raise memory_bytes");
    }
    *entry = &e->pub;
    return LSM_OK;
}

void lsm_cache_pin(struct lsm_cache *cache, struct lsm_cache_entry *entry)
{
    struct entry *e = (struct entry *)entry;

    (void)cache;
    assert(atomic_load_explicit(&e->refs, memory_order_relaxed) > 0);
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

static void free_lost(struct lsm_cache *cache, struct entry *e)
{
    atomic_fetch_sub(&cache->lost, e->charge);
    free_entry(cache, e);
}

/* All other entries are pinned, so this one goes when it is free and there is too much. */
static void unpin_over(struct lsm_cache *cache, struct entry *e)
{
    struct shard *s = shard_of(cache, e->hash);
    bool is_victim = false;
    unsigned refs;

    lock(cache, s);
    refs = atomic_fetch_sub(&e->refs, 1);
    if (refs == 2 && e->is_found && is_over(cache)) {
        table_remove(cache, s, e);
        s->evictions++;
        is_victim = true;
    }
    unlock(cache, s);
    if (is_victim)
        free_entry(cache, e);
    else if (refs == 1)
        free_lost(cache, e);
    settle(cache);
}

void lsm_cache_unpin(struct lsm_cache *cache, struct lsm_cache_entry *entry)
{
    struct entry *e = (struct entry *)entry;
    unsigned refs;

    if (!entry)
        return;
    if (atomic_load_explicit(&cache->over, memory_order_relaxed)) {
        unpin_over(cache, e);
        return;
    }
    refs = atomic_fetch_sub(&e->refs, 1);
    assert(refs > 0);
    if (refs == 1)
        free_lost(cache, e);
    else if (refs == 2 && atomic_load(&cache->over))
        evict(cache, 0, 0);
}

void lsm_cache_forget(struct lsm_cache *cache, uint64_t file)
{
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *s = &cache->shards[i];
        struct entry *dead = NULL, *next;

        lock(cache, s);
        for (uint32_t b = 0; b < s->bucket_count; b++) {
            struct entry *e = s->buckets[b];
            for (; e; e = next) {
                next = e->chain;
                if (e->file != file)
                    continue;
                table_remove(cache, s, e);
                atomic_fetch_add(&cache->lost, e->charge);
                if (atomic_fetch_sub(&e->refs, 1) == 1) {
                    e->chain = dead;
                    dead = e;
                }
            }
        }
        unlock(cache, s);
        for (; dead; dead = next) {
            next = dead->chain;
            free_lost(cache, dead);
        }
    }
    settle(cache);
}

void lsm_cache_stats(struct lsm_cache *cache, struct lsm_cache_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->capacity_bytes = atomic_load(&cache->capacity);
    stats->used_bytes = atomic_load(&cache->used);
    stats->pinned_bytes = atomic_load(&cache->lost);
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *s = &cache->shards[i];
        struct link *queues[2] = { &s->warm, &s->cold };

        lock(cache, s);
        stats->hits += s->hits;
        stats->misses += s->misses;
        stats->evictions += s->evictions;
        stats->entries += s->entry_count;
        for (int q = 0; q < 2; q++)
            for (struct link *l = queues[q]->next; l != queues[q]; l = l->next)
                if (atomic_load(&entry_of(l)->refs) > 1)
                    stats->pinned_bytes += entry_of(l)->charge;
        unlock(cache, s);
    }
}
