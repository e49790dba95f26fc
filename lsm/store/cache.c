/*
 * cache.c -- blocks in memory, shared by all readers of a store.
 *
 * Sixteen shards by hash of (file, off), each a chained hash table, which is read without
 * a lock, and two queues under one short mutex:
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
 * the table. It grows from one or more only, and who frees an entry first brings it from
 * one to none, under the mutex: so a pin is either too late, or it keeps the entry. An unpin
 * is one atomic subtraction.
 *
 * A lookup takes no lock and writes one line of memory, the entry's: its pin counts the hit
 * as well. It may be led astray while others insert and evict: what it walks is memory of
 * entries as long as the cache lives (slabs, never given back; tables that were outgrown,
 * half as large in all), but a chain may turn into another one under it. So it looks
 * at file and offset again once it has its pin, when they can no longer change, and takes
 * but so many steps. A block that it missed for that is read once more, and insert, which
 * looks under the mutex, gives the first one.
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
#define BUCKETS_MIN 128u
#define HEAT_MAX 3u
#define SET_BUCKETS 32u                 /* for each set of four missed places */
#define WALK_MAX 32u                    /* steps in a chain that may have changed into another */
#define FILE_SLOTS 1024u                /* what is counted for files, by number */
#define SLAB_ENTRIES 8u
#define LINE 64u

struct link {
    struct link *next, *prev;
};

/* state: refs below, hits above. A hit is one addition. */
#define HIT (UINT64_C(1) << 32)

struct entry {                          /* a hit touches the first half of a line */
    struct lsm_cache_entry pub;         /* first: what users hold */
    atomic_uint_least64_t file, off;    /* do not change while there are refs */
    atomic_uint_least64_t state;
    struct entry *_Atomic chain;        /* in its bucket; in a list of the dead, or of the free ones */
    uint64_t hash;
    uint32_t hits_seen;                 /* of those in state, they are in heat */
    uint8_t heat;
    bool is_cold;
    bool is_found;                      /* in its shard's table */
    struct link link;                   /* in warm or cold */
    uint64_t charge;                    /* with this struct */
    void (*free_value)(void *value);
    uint64_t pad;
};

_Static_assert(sizeof(struct entry) == 96, "two or none of three lie across a line, never its first half");

struct slab {
    struct slab *next;
    uint8_t bytes[LINE + SLAB_ENTRIES * sizeof(struct entry)];  /* entries, from the first line on */
};

struct bucket {
    struct entry *_Atomic first;
    void *_Atomic value;                /* first's, so that both come from memory at once: not to be relied on */
};

struct table {
    struct table *outgrown;             /* the one before: somebody may walk it still */
    uint64_t bucket_count;              /* a power of two; half of them are used: few entries are in a second's way */
    struct bucket buckets[];
};

struct shard {
    struct lsm_mutex *mutex;            /* guards all below */
    uint32_t bucket_count;              /* of its table */
    uint32_t entry_count;
    struct link warm, cold;             /* oldest first */
    atomic_uint cold_count;             /* read without the mutex, as a hint */
    uint64_t hits, evictions;           /* hits: of entries that are gone */
    atomic_uint_least64_t misses;       /* without the mutex */
    uint64_t *missed;                   /* bucket_count / 32 sets of four prints; NULL: no memory */
    uint64_t probations;
    struct entry *free;                 /* a chain */
    struct slab *slabs;
    uint64_t pad;                       /* neighbours' mutexes on other lines */
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
    atomic_uint_least32_t of_file[FILE_SLOTS];  /* entries that can be found: where there are none, none
                                                   need be looked for */
    struct table *_Atomic tables[SHARD_COUNT];          /* change under the shard's mutex */
    struct shard shards[SHARD_COUNT];
};

/* What is left of an entry that is gone: to be freed outside the mutex. */
struct remains {
    void *value;
    void (*free_value)(void *value);
    uint64_t charge;
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

static uint32_t refs_of(uint64_t state)
{
    return (uint32_t)state;
}

/* Under the mutex; or without it, and then it may be any entry's. */
static struct bucket *bucket_of(struct table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->bucket_count - 1)];
}

static struct entry *first_in(struct bucket *b)
{
    return atomic_load_explicit(&b->first, memory_order_acquire);
}

static void set_first(struct bucket *b, struct entry *e)
{
    atomic_store_explicit(&b->value, e ? e->pub.value : NULL, memory_order_relaxed);
    atomic_store_explicit(&b->first, e, memory_order_release);
}

static struct entry *next_of(struct entry *e)
{
    return atomic_load_explicit(&e->chain, memory_order_acquire);
}

static void chain_to(struct entry *e, struct entry *next)
{
    atomic_store_explicit(&e->chain, next, memory_order_release);
}

static bool is_at(struct entry *e, uint64_t file, uint64_t off)
{
    return atomic_load_explicit(&e->off, memory_order_relaxed) == off &&
           atomic_load_explicit(&e->file, memory_order_relaxed) == file;
}

/* Under the shard's mutex. */
static struct table *table_of(struct lsm_cache *cache, struct shard *s)
{
    return atomic_load_explicit(&cache->tables[s - cache->shards], memory_order_relaxed);
}

static struct entry *table_find(struct lsm_cache *cache, struct shard *s, uint64_t hash,
                                uint64_t file, uint64_t off)
{
    struct entry *e = first_in(bucket_of(table_of(cache, s), hash));

    while (e && !is_at(e, file, off))
        e = next_of(e);
    return e;
}

static void table_add(struct table *t, struct entry *e)
{
    struct bucket *b = bucket_of(t, e->hash);

    chain_to(e, first_in(b));
    set_first(b, e);
}

static struct table *table_new(struct lsm_os *os, uint64_t bucket_count)
{
    struct table *t = lsm_mem_zalloc(os, sizeof *t + bucket_count * sizeof t->buckets[0]);

    if (t)
        t->bucket_count = bucket_count;
    return t;
}

/* Without memory the chains only grow longer. */
static void table_grow(struct lsm_cache *cache, struct shard *s)
{
    struct table *old = table_of(cache, s), *t;
    uint32_t count = s->bucket_count * 2;

    if (s->entry_count < s->bucket_count / 2 || count == 0)
        return;
    t = table_new(cache->os, count);
    if (!t)
        return;
    t->outgrown = old;
    for (uint32_t i = 0; i < s->bucket_count; i++) {
        struct entry *e = first_in(&old->buckets[i]), *next;
        for (; e; e = next) {
            next = next_of(e);
            table_add(t, e);
        }
    }
    atomic_store_explicit(&cache->tables[s - cache->shards], t, memory_order_release);
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

static atomic_uint_least32_t *count_of(struct lsm_cache *cache, uint64_t file)
{
    return &cache->of_file[file % FILE_SLOTS];
}

/* Take an entry out of everything its shard knows. */
static void table_remove(struct lsm_cache *cache, struct shard *s, struct entry *e)
{
    struct bucket *b = bucket_of(table_of(cache, s), e->hash);
    struct entry *before = first_in(b);

    assert(e->is_found);
    if (before == e) {
        set_first(b, next_of(e));
    } else {
        while (next_of(before) != e)
            before = next_of(before);
        chain_to(before, next_of(e));
    }
    link_remove(&e->link);
    s->entry_count--;
    s->hits += atomic_load_explicit(&e->state, memory_order_relaxed) / HIT;
    e->is_found = false;
    atomic_fetch_sub(count_of(cache, atomic_load_explicit(&e->file, memory_order_relaxed)), 1);
    if (e->is_cold) {
        cold_add(s, -1u);
        atomic_fetch_sub(&cache->cold_count, 1);
    }
}

/* Nobody has it any more: it may become another place's. Under the mutex. */
static struct remains retire(struct shard *s, struct entry *e)
{
    struct remains r = { e->pub.value, e->free_value, e->charge };

    assert(!e->is_found && refs_of(atomic_load(&e->state)) == 0);
    chain_to(e, s->free);
    s->free = e;
    return r;
}

static void free_remains(struct lsm_cache *cache, const struct remains *r)
{
    atomic_fetch_sub(&cache->used, r->charge);
    r->free_value(r->value);
}

/* An entry for a new place, with the mutex held, which is released meanwhile if memory is needed. NULL: no
   memory. */
static struct entry *take_free(struct lsm_cache *cache, struct shard *s)
{
    struct entry *e;

    if (!s->free) {
        struct slab *slab;
        uint8_t *at;

        unlock(cache, s);
        slab = lsm_mem_zalloc(cache->os, sizeof *slab);
        lock(cache, s);
        if (!slab)
            return NULL;
        slab->next = s->slabs;
        s->slabs = slab;
        at = slab->bytes + (-(uintptr_t)slab->bytes & (LINE - 1));
        for (unsigned i = 0; i < SLAB_ENTRIES; i++) {
            e = (struct entry *)(void *)(at + i * sizeof *e);
            chain_to(e, s->free);
            s->free = e;
        }
    }
    e = s->free;
    s->free = next_of(e);
    return e;
}

/* ---- eviction ---- */

/* From one, the table's, to none: from here on nobody can pin it. False: somebody did. */
static bool claim(struct entry *e, uint64_t state)
{
    return refs_of(state) == 1 && atomic_compare_exchange_strong(&e->state, &state, state - 1);
}

/* The hits since it was last looked at. */
static void warm_up(struct entry *e, uint64_t state)
{
    uint32_t hits = (uint32_t)(state / HIT), more = hits - e->hits_seen;

    e->hits_seen = hits;
    e->heat = more < HEAT_MAX - e->heat ? (uint8_t)(e->heat + more) : HEAT_MAX;
}

/* At most one round of a queue. False: nothing could go. */
static bool evict_one(struct lsm_cache *cache, struct shard *s, struct link *queue, struct remains *r)
{
    struct link *again = NULL;          /* the first that went to the end of this queue */

    while (queue->next != queue && queue->next != again) {
        struct entry *e = entry_of(queue->next);
        uint64_t state = atomic_load(&e->state);
        bool is_pinned = refs_of(state) > 1;

        warm_up(e, state);
        if (e->heat == 0 && claim(e, state)) {
            table_remove(cache, s, e);
            s->evictions++;
            *r = retire(s, e);
            return true;
        }
        link_remove(&e->link);
        if (e->is_cold && e->heat > 0) {        /* wanted again: like the others from now on */
            e->is_cold = false;
            cold_add(s, -1u);
            atomic_fetch_sub(&cache->cold_count, 1);
            link_append(&s->warm, &e->link);
            continue;
        }
        if (!is_pinned && e->heat > 0)
            e->heat--;
        link_append(queue, &e->link);
        if (!again)
            again = &e->link;
    }
    return false;
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
        struct remains r;
        bool found = false;

        if (!cold_only || atomic_load_explicit(&s->cold_count, memory_order_relaxed) > 0) {
            lock(cache, s);
            found = evict_one(cache, s, cold_only ? &s->cold : &s->warm, &r);
            unlock(cache, s);
        }
        if (found) {
            free_remains(cache, &r);
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
        struct table *t = table_new(os, BUCKETS_MIN);
        int error;

        link_init(&s->warm);
        link_init(&s->cold);
        s->bucket_count = BUCKETS_MIN;
        atomic_init(&cache->tables[i], t);
        s->missed = lsm_mem_zalloc(os, BUCKETS_MIN / SET_BUCKETS * sizeof *s->missed);
        error = t ? os->mutex_new(os, &s->mutex) : 0;
        if (!t || error) {
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
        struct table *t = table_of(cache, s);

        for (uint32_t b = 0; t && b < s->bucket_count; b++) {
            struct entry *e;

            while ((e = first_in(&t->buckets[b]))) {
                struct remains r;
                bool is_free = claim(e, atomic_load(&e->state));

                assert(is_free);        /* nothing is pinned */
                (void)is_free;
                table_remove(cache, s, e);
                r = retire(s, e);
                free_remains(cache, &r);
            }
        }
        while (t) {
            struct table *outgrown = t->outgrown;
            lsm_mem_free(cache->os, t);
            t = outgrown;
        }
        while (s->slabs) {
            struct slab *next = s->slabs->next;
            lsm_mem_free(cache->os, s->slabs);
            s->slabs = next;
        }
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

/* Pin an entry that was found without the mutex, and count the hit. False: it is on its way out, or was. */
static bool pin_hit(struct entry *e)
{
    uint64_t state = atomic_load_explicit(&e->state, memory_order_relaxed);

    do {
        if (refs_of(state) == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&e->state, &state, state + HIT + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}

/* A reader of a block searches what it begins with. */
static void fetch(const void *value)
{
    for (size_t i = 0; i < 5; i++)
        __builtin_prefetch((const void *)((uintptr_t)value + i * LINE));        /* it may be NULL */
}

void lsm_cache_aim(struct lsm_cache *cache, uint64_t file, uint64_t off)
{
    uint64_t hash = place_hash(file, off);
    struct bucket *b = bucket_of(atomic_load_explicit(&cache->tables[hash >> 60], memory_order_acquire), hash);

    __builtin_prefetch(first_in(b), 1);
    fetch(atomic_load_explicit(&b->value, memory_order_relaxed));
}

struct lsm_cache_entry *lsm_cache_lookup(struct lsm_cache *cache, uint64_t file, uint64_t off)
{
    uint64_t hash = place_hash(file, off);
    struct shard *s = shard_of(cache, hash);
    struct table *t = atomic_load_explicit(&cache->tables[s - cache->shards], memory_order_acquire);
    struct bucket *b = bucket_of(t, hash);
    struct entry *e = first_in(b);

    fetch(atomic_load_explicit(&b->value, memory_order_relaxed));
    for (unsigned steps = 0; e && steps < WALK_MAX; steps++, e = next_of(e)) {
        if (!is_at(e, file, off))
            continue;
        if (!pin_hit(e))
            break;
        if (is_at(e, file, off)) {
            if (steps > 0)
                fetch(e->pub.value);
            return &e->pub;
        }
        lsm_cache_unpin(cache, &e->pub);        /* it became another place's just before */
        break;
    }
    atomic_fetch_add_explicit(&s->misses, 1, memory_order_relaxed);
    return NULL;
}

int lsm_cache_insert(struct lsm_cache *cache, uint64_t file, uint64_t off, void *value,
                     uint64_t charge_bytes, void (*free_value)(void *value),
                     enum lsm_cache_place place, struct lsm_cache_entry **entry)
{
    uint64_t hash = place_hash(file, off);
    struct shard *s = shard_of(cache, hash);
    uint32_t at = (uint32_t)(s - cache->shards);
    bool cold = place == LSM_CACHE_COLD;
    struct entry *e, *other;

    *entry = NULL;
    lock(cache, s);
    e = take_free(cache, s);
    if (!e) {
        unlock(cache, s);
        free_value(value);
        return lsm_nomem();
    }
    other = table_find(cache, s, hash, file, off);
    if (other) {
        atomic_fetch_add_explicit(&other->state, 1, memory_order_relaxed);
        chain_to(e, s->free);
        s->free = e;
    } else {
        table_grow(cache, s);
        e->pub.value = value;
        atomic_store_explicit(&e->file, file, memory_order_relaxed);
        atomic_store_explicit(&e->off, off, memory_order_relaxed);
        e->hash = hash;
        e->charge = charge_bytes + sizeof *e;
        e->free_value = free_value;
        e->heat = 0;
        e->hits_seen = 0;
        if (place == LSM_CACHE_PROBATION)
            cold = atomic_load_explicit(&cache->used, memory_order_relaxed) + e->charge >
                       atomic_load_explicit(&cache->capacity, memory_order_relaxed) &&
                   !may_stay(s, hash);
        e->is_cold = cold;
        link_append(cold ? &s->cold : &s->warm, &e->link);
        e->is_found = true;
        s->entry_count++;
        atomic_store_explicit(&e->state, 2, memory_order_release);      /* the table's and the caller's */
        atomic_fetch_add(count_of(cache, file), 1);
        table_add(table_of(cache, s), e);
        if (cold) {
            cold_add(s, 1);
            atomic_fetch_add(&cache->cold_count, 1);
        }
        atomic_fetch_add(&cache->used, e->charge);
    }
    unlock(cache, s);

    if (other) {
        free_value(value);
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
    assert(refs_of(atomic_load_explicit(&e->state, memory_order_relaxed)) > 0);
    atomic_fetch_add_explicit(&e->state, 1, memory_order_relaxed);
}

/* The last pin of what can no longer be found is gone. */
static void free_lost(struct lsm_cache *cache, struct entry *e)
{
    struct shard *s = shard_of(cache, e->hash);
    struct remains r;

    lock(cache, s);
    r = retire(s, e);
    unlock(cache, s);
    atomic_fetch_sub(&cache->lost, r.charge);
    free_remains(cache, &r);
}

/* All other entries are pinned, so this one goes when it is free and there is too much. */
static void unpin_over(struct lsm_cache *cache, struct entry *e)
{
    struct shard *s = shard_of(cache, e->hash);
    struct remains r = { NULL, NULL, 0 };
    uint64_t state;

    lock(cache, s);
    state = atomic_fetch_sub(&e->state, 1) - 1;
    if (e->is_found && is_over(cache) && claim(e, state)) {
        table_remove(cache, s, e);
        s->evictions++;
        r = retire(s, e);
    }
    unlock(cache, s);
    if (r.free_value)
        free_remains(cache, &r);
    else if (refs_of(state) == 0)
        free_lost(cache, e);
    settle(cache);
}

void lsm_cache_unpin(struct lsm_cache *cache, struct lsm_cache_entry *entry)
{
    struct entry *e = (struct entry *)entry;
    uint32_t refs;

    if (!entry)
        return;
    if (atomic_load_explicit(&cache->over, memory_order_relaxed)) {
        unpin_over(cache, e);
        return;
    }
    refs = refs_of(atomic_fetch_sub(&e->state, 1));
    assert(refs > 0);
    if (refs == 1)
        free_lost(cache, e);
    else if (refs == 2 && atomic_load(&cache->over))
        evict(cache, 0, 0);
}

void lsm_cache_forget(struct lsm_cache *cache, uint64_t file)
{
    /* A walk over all of a large cache takes milliseconds, and a store is opened, or compacted, with thousands of
       tables of which few have a block here. */
    for (uint32_t i = 0; i < SHARD_COUNT && atomic_load(count_of(cache, file)); i++) {
        struct shard *s = &cache->shards[i];
        struct entry *dead = NULL, *next;

        lock(cache, s);
        for (uint32_t b = 0; b < s->bucket_count; b++) {
            struct entry *e = first_in(&table_of(cache, s)->buckets[b]);
            for (; e; e = next) {
                next = next_of(e);
                if (atomic_load_explicit(&e->file, memory_order_relaxed) != file)
                    continue;
                table_remove(cache, s, e);
                atomic_fetch_add(&cache->lost, e->charge);
                if (refs_of(atomic_fetch_sub(&e->state, 1)) == 1) {
                    chain_to(e, dead);
                    dead = e;
                }
            }
        }
        unlock(cache, s);
        for (; dead; dead = next) {
            next = next_of(dead);
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
        stats->misses += atomic_load_explicit(&s->misses, memory_order_relaxed);
        stats->evictions += s->evictions;
        stats->entries += s->entry_count;
        for (int q = 0; q < 2; q++)
            for (struct link *l = queues[q]->next; l != queues[q]; l = l->next) {
                uint64_t state = atomic_load(&entry_of(l)->state);

                stats->hits += state / HIT;
                if (refs_of(state) > 1)
                    stats->pinned_bytes += entry_of(l)->charge;
            }
        unlock(cache, s);
    }
}
