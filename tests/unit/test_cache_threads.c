#include "lsm/store/cache.h"
#include "tests/test.h"

#define FILES 4u
#define BLOCKS 64u              /* of each */
#define CHARGE 256u

struct block {
    struct lsm_os *os;
    uint64_t file, off;
    uint64_t words[8];          /* all file * 100000 + off, until it is freed */
};

struct shared {
    struct lsm_os *os;
    struct lsm_cache *cache;
    _Atomic int64_t alive;
    _Atomic uint64_t seed;
    int rounds;
};

static struct shared shared;

static void free_block(void *p)
{
    struct block *b = p;
    memset(b->words, 0xee, sizeof b->words);
    atomic_fetch_sub(&shared.alive, 1);
    lsm_mem_free(b->os, b);
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 31);
}

static struct lsm_cache_entry *take(uint64_t file, uint64_t off, bool cold)
{
    struct lsm_cache_entry *e = lsm_cache_lookup(shared.cache, file, off);
    struct block *b;

    if (e)
        return e;
    b = lsm_mem_alloc(shared.os, sizeof *b);
    b->os = shared.os;
    b->file = file;
    b->off = off;
    for (int i = 0; i < 8; i++)
        b->words[i] = file * 100000 + off;
    atomic_fetch_add(&shared.alive, 1);
    CHECK_OK(lsm_cache_insert(shared.cache, file, off, b, CHARGE, free_block, cold, &e));
    return e;
}

static void read_block(const struct lsm_cache_entry *e, uint64_t file, uint64_t off)
{
    const struct block *b = e->value;
    for (int i = 0; i < 8; i++)
        CHECK_INT(b->words[i], file * 100000 + off);
}

static void work(void *ctx)
{
    uint64_t state = atomic_fetch_add(&shared.seed, 1) * 0x2545f4914f6cdd1du;
    struct lsm_cache_entry *held[4] = { 0 };
    uint64_t file[4] = { 0 }, off[4] = { 0 };

    (void)ctx;
    for (int i = 0; i < shared.rounds; i++) {
        uint64_t r = mix(&state), k = r % 4;

        if (held[k]) {
            read_block(held[k], file[k], off[k]);
            lsm_cache_unpin(shared.cache, held[k]);
        }
        file[k] = (r >> 8) % FILES;
        off[k] = (r >> 16) % BLOCKS;
        held[k] = take(file[k], off[k], (r >> 32) % 2);
        read_block(held[k], file[k], off[k]);
        if ((r >> 40) % 512 == 0)
            lsm_cache_forget(shared.cache, (r >> 50) % FILES);
        if ((r >> 40) % 512 == 1)
            lsm_cache_set_capacity(shared.cache, (r >> 50) % 64 * CHARGE);
    }
    for (int k = 0; k < 4; k++)
        lsm_cache_unpin(shared.cache, held[k]);
}

TEST(cache_blocks_live_as_long_as_a_thread_pins_them)
{
    struct lsm_thread *threads[4];
    struct lsm_cache_stats stats;

    shared.os = lsm_os_posix_new();
    atomic_store(&shared.seed, test_random());
    shared.rounds = test_long() ? 200000 : 20000;
    CHECK_OK(lsm_cache_new(shared.os, 40 * CHARGE, &shared.cache));
    for (int i = 0; i < 4; i++)
        CHECK_INT(shared.os->thread_start(shared.os, work, NULL, &threads[i]), 0);
    for (int i = 0; i < 4; i++)
        shared.os->thread_join(threads[i]);
    /* Everything is unpinned: no race may have left more than the capacity. */
    lsm_cache_stats(shared.cache, &stats);
    CHECK_INT(stats.pinned_bytes, 0);
    CHECK(stats.used_bytes <= stats.capacity_bytes);
    CHECK_INT(stats.entries, atomic_load(&shared.alive));
    lsm_cache_free(shared.cache);
    CHECK_INT(atomic_load(&shared.alive), 0);
    CHECK_INT(shared.os->mem_used(shared.os), 0);
    lsm_os_posix_free(shared.os);
}

/* Less room than places, so that an entry becomes another place's under a lookup; from time to time many places, so
   that tables are outgrown. */
static void look_up(void *ctx)
{
    uint64_t state = atomic_fetch_add(&shared.seed, 1) * 0x2545f4914f6cdd1du;

    (void)ctx;
    for (int i = 0; i < shared.rounds; i++) {
        bool few = i / 64 % 64 > 0;
        uint64_t r = mix(&state), file = r % FILES, off = (r >> 8) % (few ? 4 : 16 * BLOCKS);
        struct lsm_cache_entry *e = take(file, off, (r >> 32) % 2);

        read_block(e, file, off);
        lsm_cache_unpin(shared.cache, e);
        if (i % 64 == 0)
            lsm_cache_set_capacity(shared.cache, few ? 10 * CHARGE : 16 * BLOCKS * CHARGE);
    }
}

TEST(cache_lookup_beside_reuse_and_growth_finds_its_own_block)
{
    struct lsm_thread *threads[4];
    struct lsm_cache_stats stats;

    shared.os = lsm_os_posix_new();
    atomic_store(&shared.seed, test_random());
    shared.rounds = test_long() ? 2000000 : 50000;
    CHECK_OK(lsm_cache_new(shared.os, 20 * CHARGE, &shared.cache));
    for (int i = 0; i < 4; i++)
        CHECK_INT(shared.os->thread_start(shared.os, look_up, NULL, &threads[i]), 0);
    for (int i = 0; i < 4; i++)
        shared.os->thread_join(threads[i]);
    lsm_cache_stats(shared.cache, &stats);
    CHECK_INT(stats.pinned_bytes, 0);
    /* One or the other; and what was pinned too late, on its way to another place, was both. */
    CHECK(stats.hits + stats.misses >= 4 * (uint64_t)shared.rounds);
    CHECK(stats.hits > 0 && stats.misses > 0);
    CHECK_INT(stats.entries, atomic_load(&shared.alive));
    lsm_cache_free(shared.cache);
    CHECK_INT(atomic_load(&shared.alive), 0);
    CHECK_INT(shared.os->mem_used(shared.os), 0);
    lsm_os_posix_free(shared.os);
}

/* Only pins, never forgotten: the moment of the last unpin decides. */
static void pin_and_unpin(void *ctx)
{
    uint64_t state = atomic_fetch_add(&shared.seed, 1) * 0x2545f4914f6cdd1du;

    (void)ctx;
    for (int i = 0; i < shared.rounds; i++) {
        uint64_t off = mix(&state) % 8;
        struct lsm_cache_entry *e = take(1, off, false);
        read_block(e, 1, off);
        lsm_cache_unpin(shared.cache, e);
    }
}

TEST(cache_of_no_capacity_is_empty_when_nobody_pins)
{
    struct lsm_thread *threads[4];
    struct lsm_cache_stats stats;

    shared.os = lsm_os_posix_new();
    atomic_store(&shared.seed, test_random());
    shared.rounds = test_long() ? 200000 : 20000;
    CHECK_OK(lsm_cache_new(shared.os, 0, &shared.cache));
    for (int i = 0; i < 4; i++)
        CHECK_INT(shared.os->thread_start(shared.os, pin_and_unpin, NULL, &threads[i]), 0);
    for (int i = 0; i < 4; i++)
        shared.os->thread_join(threads[i]);
    lsm_cache_stats(shared.cache, &stats);
    CHECK_INT(stats.entries, 0);
    CHECK_INT(stats.used_bytes, 0);
    lsm_cache_free(shared.cache);
    CHECK_INT(atomic_load(&shared.alive), 0);
    lsm_os_posix_free(shared.os);
}
