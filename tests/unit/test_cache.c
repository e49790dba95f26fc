#include "lsm/store/cache.h"
#include "tests/test.h"

#define CHARGE 1000u
#define VALUES_MAX 65536u     /* of one test */

/* A value knows that it was freed, and how often. */
struct value {
    uint64_t file, off;
    int freed;
};

static struct value values[VALUES_MAX];
static size_t value_count;
static int freed_count;

static void free_value(void *p)
{
    struct value *v = p;
    CHECK_INT(v->freed, 0);
    v->freed++;
    freed_count++;
}

static struct value *new_value(uint64_t file, uint64_t off)
{
    struct value *v = &values[value_count++];

    CHECK(value_count <= VALUES_MAX);
    *v = (struct value){ .file = file, .off = off };
    return v;
}

struct place {
    struct lsm_os *os;
    struct lsm_cache *cache;
    uint64_t entry_bytes;       /* of an entry with CHARGE */
};

static struct lsm_cache_stats stats_of(struct place *p)
{
    struct lsm_cache_stats stats;
    lsm_cache_stats(p->cache, &stats);
    return stats;
}

static struct lsm_cache_entry *insert(struct place *p, uint64_t file, uint64_t off,
                                      enum lsm_cache_place where)
{
    struct lsm_cache_entry *e;
    CHECK_OK(lsm_cache_insert(p->cache, file, off, new_value(file, off), CHARGE, free_value, where,
                              &e));
    return e;
}

static void add(struct place *p, uint64_t file, uint64_t off, enum lsm_cache_place where)
{
    lsm_cache_unpin(p->cache, insert(p, file, off, where));
}

static bool has(struct place *p, uint64_t file, uint64_t off)
{
    struct lsm_cache_entry *e = lsm_cache_lookup(p->cache, file, off);
    lsm_cache_unpin(p->cache, e);
    return e != NULL;
}

/* The first `count` blocks of a file. */
static void add_many(struct place *p, uint64_t file, uint64_t count, enum lsm_cache_place where)
{
    for (uint64_t i = 0; i < count; i++)
        add(p, file, i, where);
}

static uint64_t count_found(struct place *p, uint64_t file, uint64_t count)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < count; i++)
        found += has(p, file, i);
    return found;
}

/* Room for `count` entries of CHARGE. */
static void place_open(struct place *p, uint64_t count)
{
    value_count = 0;
    freed_count = 0;
    p->os = lsm_os_posix_new();
    CHECK_OK(lsm_cache_new(p->os, UINT64_MAX, &p->cache));
    add(p, 1, 1, LSM_CACHE_WARM);
    p->entry_bytes = stats_of(p).used_bytes;
    CHECK(p->entry_bytes > CHARGE && p->entry_bytes < CHARGE + 200);
    lsm_cache_forget(p->cache, 1);
    CHECK_INT(freed_count, 1);
    CHECK_INT(stats_of(p).used_bytes, 0);
    freed_count = 0;
    lsm_cache_set_capacity(p->cache, count * p->entry_bytes);
}

static void place_close(struct place *p)
{
    CHECK_INT(stats_of(p).pinned_bytes, 0);
    lsm_cache_free(p->cache);
    CHECK_INT(p->os->mem_used(p->os), 0);
    lsm_os_posix_free(p->os);
}

TEST(cache_finds_what_was_inserted_by_file_and_offset)
{
    struct lsm_cache_entry *e;
    struct place p;

    place_open(&p, 1000);
    for (uint64_t file = 1; file <= 10; file++)
        for (uint64_t off = 0; off < 50; off++)
            add(&p, file, off * 4096, LSM_CACHE_WARM);
    for (uint64_t file = 1; file <= 10; file++) {
        for (uint64_t off = 0; off < 50; off++) {
            e = lsm_cache_lookup(p.cache, file, off * 4096);
            if (CHECK(e != NULL)) {
                CHECK_INT(((struct value *)e->value)->file, file);
                CHECK_INT(((struct value *)e->value)->off, off * 4096);
            }
            lsm_cache_unpin(p.cache, e);
        }
    }
    CHECK(!has(&p, 11, 0));
    CHECK(!has(&p, 1, 1));
    CHECK_INT(stats_of(&p).entries, 500);
    CHECK_INT(stats_of(&p).used_bytes, 500 * p.entry_bytes);
    CHECK_INT(stats_of(&p).hits, 500);
    CHECK_INT(freed_count, 0);
    place_close(&p);
    CHECK_INT(freed_count, 500);
}

TEST(cache_never_holds_more_than_its_capacity_when_nothing_is_pinned)
{
    struct place p;

    place_open(&p, 100);
    for (uint64_t i = 0; i < 2000; i++) {
        add(&p, 1 + test_below(3), i, test_below(2));
        if (test_below(2))
            has(&p, 1 + test_below(3), test_below(i + 1));
        if (!CHECK(stats_of(&p).used_bytes <= 100 * p.entry_bytes))
            break;
    }
    CHECK(stats_of(&p).entries > 90);
    CHECK_INT(stats_of(&p).evictions, freed_count);
    lsm_cache_set_capacity(p.cache, 10 * p.entry_bytes);
    CHECK(stats_of(&p).entries <= 10);
    lsm_cache_set_capacity(p.cache, 0);
    CHECK_INT(stats_of(&p).entries, 0);
    CHECK_INT(stats_of(&p).used_bytes, 0);
    place_close(&p);
}

TEST(cache_that_is_strict_refuses_what_pinned_entries_leave_no_room_for)
{
    struct lsm_cache_entry *pins[15], *entry;
    struct place p;

    place_open(&p, 10);
    lsm_cache_set_overdraft(p.cache, 5 * p.entry_bytes);
    for (uint64_t i = 0; i < 15; i++)
        pins[i] = insert(&p, 7, i, LSM_CACHE_WARM);
    CHECK_RC(lsm_cache_insert(p.cache, 7, 15, new_value(7, 15), CHARGE, free_value, LSM_CACHE_WARM, &entry), LSM_NOMEM);
    CHECK(entry == NULL);
    CHECK(strstr(lsm_error_text(), "strict_memory"));
    CHECK_INT(freed_count, 1);
    CHECK_INT(stats_of(&p).entries, 15);
    CHECK(has(&p, 7, 14) && !has(&p, 7, 15));
    lsm_cache_unpin(p.cache, pins[3]);
    entry = insert(&p, 7, 16, LSM_CACHE_WARM);
    lsm_cache_unpin(p.cache, entry);
    for (uint64_t i = 0; i < 15; i++)
        if (i != 3)
            lsm_cache_unpin(p.cache, pins[i]);
    place_close(&p);
}

TEST(cache_pinned_entries_stay_and_may_pass_the_capacity)
{
    struct lsm_cache_entry *pins[40];
    struct place p;

    place_open(&p, 10);
    for (uint64_t i = 0; i < 40; i++)
        pins[i] = insert(&p, 7, i, LSM_CACHE_WARM);
    CHECK_INT(freed_count, 0);
    CHECK_INT(stats_of(&p).pinned_bytes, 40 * p.entry_bytes);
    add_many(&p, 8, 100, LSM_CACHE_WARM);
    CHECK_INT(freed_count, 100);                    /* none of them found room */
    for (uint64_t i = 0; i < 40; i++) {
        CHECK_INT(((struct value *)pins[i]->value)->freed, 0);
        CHECK(has(&p, 7, i));
    }
    /* The first 30 unpinned must go at once, or the capacity would be passed by them. */
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t used;
        lsm_cache_unpin(p.cache, pins[i]);
        used = stats_of(&p).used_bytes;
        CHECK(used <= (i < 30 ? 39 - i : 10) * p.entry_bytes);
    }
    CHECK_INT(stats_of(&p).entries, 10);
    for (uint64_t i = 30; i < 40; i++)
        CHECK(has(&p, 7, i));
    place_close(&p);
}

TEST(cache_a_scan_of_cold_blocks_does_not_displace_the_others)
{
    struct place p;

    place_open(&p, 100);
    add_many(&p, 1, 80, LSM_CACHE_WARM);
    add_many(&p, 2, 5000, LSM_CACHE_COLD);
    CHECK_INT(count_found(&p, 1, 80), 80);
    place_close(&p);
}

TEST(cache_a_cold_block_that_is_read_again_stays)
{
    struct place p;

    place_open(&p, 100);
    for (uint64_t i = 0; i < 50; i++) {
        add(&p, 1, i, LSM_CACHE_COLD);
        has(&p, 1, i);
    }
    add_many(&p, 2, 5000, LSM_CACHE_COLD);
    CHECK_INT(count_found(&p, 1, 50), 50);
    place_close(&p);
}

/* Reads all over a store that is larger than the cache: one block goes for the next. */
TEST(cache_on_probation_few_blocks_that_are_read_once_push_others_out)
{
    uint64_t found;
    struct place p;

    place_open(&p, 2000);
    add_many(&p, 1, 2000, LSM_CACHE_PROBATION);             /* there is room: all stay */
    CHECK_INT(stats_of(&p).entries, 2000);
    for (uint64_t i = 0; i < 2000; i++) {
        add(&p, 2, i, LSM_CACHE_PROBATION);
        CHECK(stats_of(&p).used_bytes <= 2000 * p.entry_bytes);
    }
    found = count_found(&p, 1, 2000);
    CHECK(found >= 1800 && found < 1950);
    place_close(&p);
}

TEST(cache_on_probation_a_block_missed_twice_stays)
{
    uint64_t found;
    struct place p;

    place_open(&p, 2000);
    add_many(&p, 1, 2000, LSM_CACHE_PROBATION);
    for (int round = 0; round < 2; round++)             /* what is wanted moves on */
        for (uint64_t i = 0; i < 200; i++)
            if (!has(&p, 2, i))
                add(&p, 2, i, LSM_CACHE_PROBATION);
    found = count_found(&p, 2, 200);
    CHECK(found >= 180);
    place_close(&p);
}

/* Sources of a merge: each pins a block that nobody else wants. What they do not pin goes. */
TEST(cache_pinned_cold_blocks_do_not_keep_others_from_going)
{
    struct lsm_cache_entry *pins[40];
    struct place p;

    place_open(&p, 100);
    add_many(&p, 1, 100, LSM_CACHE_WARM);
    for (uint64_t i = 0; i < 40; i++)
        pins[i] = insert(&p, 2, i, LSM_CACHE_COLD);
    for (uint64_t i = 0; i < 1000; i++) {
        add(&p, 3, i, i % 2 ? LSM_CACHE_COLD : LSM_CACHE_PROBATION);
        CHECK(stats_of(&p).used_bytes <= 100 * p.entry_bytes);
    }
    for (uint64_t i = 0; i < 40; i++) {
        CHECK(has(&p, 2, i));
        lsm_cache_unpin(p.cache, pins[i]);
    }
    place_close(&p);
}

/* More than the missed places that are remembered, less than the cache holds. */
TEST(cache_on_probation_a_large_set_read_round_and_round_gets_in)
{
    uint64_t found;
    struct place p;

    place_open(&p, 2000);
    add_many(&p, 1, 2000, LSM_CACHE_PROBATION);
    for (int round = 0; round < 100; round++)
        for (uint64_t i = 0; i < 1600; i++)
            if (!has(&p, 2, i))
                add(&p, 2, i, LSM_CACHE_PROBATION);
    found = count_found(&p, 2, 1600);
    CHECK(found >= 1300);
    place_close(&p);
}

TEST(cache_keeps_what_is_used_often)
{
    struct place p;

    place_open(&p, 3200);
    add_many(&p, 1, 800, LSM_CACHE_WARM);
    for (uint64_t i = 0; i < 30000; i++) {
        add(&p, 2, i, LSM_CACHE_WARM);
        if (i % 1000 == 0)
            for (uint64_t k = 0; k < 800; k++)
                has(&p, 1, k);
    }
    CHECK_INT(count_found(&p, 1, 800), 800);
    place_close(&p);
}

TEST(cache_second_insert_of_a_place_gives_the_first_and_frees_the_second)
{
    struct lsm_cache_entry *a, *b;
    struct place p;

    place_open(&p, 10);
    a = insert(&p, 1, 1, LSM_CACHE_WARM);
    b = insert(&p, 1, 1, LSM_CACHE_WARM);
    CHECK(a == b);
    CHECK_INT(freed_count, 1);
    lsm_cache_pin(p.cache, a);
    lsm_cache_unpin(p.cache, a);
    lsm_cache_unpin(p.cache, a);
    CHECK_INT(stats_of(&p).pinned_bytes, p.entry_bytes);
    lsm_cache_unpin(p.cache, a);
    CHECK_INT(stats_of(&p).pinned_bytes, 0);
    CHECK_INT(stats_of(&p).entries, 1);
    place_close(&p);
}

TEST(cache_forgets_a_file_and_frees_its_pinned_blocks_with_the_last_pin)
{
    struct lsm_cache_entry *pinned;
    struct place p;

    place_open(&p, 100);
    for (uint64_t i = 0; i < 20; i++) {
        add(&p, 1, i, i % 2);
        add(&p, 2, i, i % 2);
    }
    pinned = lsm_cache_lookup(p.cache, 1, 5);
    lsm_cache_pin(p.cache, pinned);
    lsm_cache_forget(p.cache, 1);
    CHECK_INT(freed_count, 19);
    CHECK(!has(&p, 1, 5));
    CHECK_INT(stats_of(&p).used_bytes, 21 * p.entry_bytes);
    CHECK_INT(stats_of(&p).pinned_bytes, p.entry_bytes);
    add(&p, 1, 5, LSM_CACHE_WARM);                       /* the place is free for another value */
    CHECK(has(&p, 1, 5));
    lsm_cache_unpin(p.cache, pinned);
    CHECK_INT(freed_count, 19);
    lsm_cache_unpin(p.cache, pinned);
    CHECK_INT(freed_count, 20);
    CHECK(has(&p, 1, 5));
    CHECK_INT(stats_of(&p).used_bytes, 21 * p.entry_bytes);
    for (uint64_t i = 0; i < 20; i++)
        CHECK(has(&p, 2, i));
    place_close(&p);
}

/* A model without an order of eviction: what was pinned, what may be there. */
TEST(cache_random_operations_free_every_value_exactly_once)
{
    enum { PINS = 64 };
    struct lsm_cache_entry *pins[PINS] = { 0 };
    struct place p;

    place_open(&p, 50);
    for (int i = 0; i < 30000; i++) {
        uint64_t k = test_below(PINS), file = test_below(4), off = test_below(60);
        struct value *v;

        switch (test_below(40)) {
        case 0:
            lsm_cache_forget(p.cache, file);
            break;
        case 1:
            lsm_cache_set_capacity(p.cache, test_below(80) * p.entry_bytes);
            break;
        default:
            if (pins[k]) {
                v = pins[k]->value;
                CHECK_INT(v->freed, 0);
                lsm_cache_unpin(p.cache, pins[k]);
                pins[k] = NULL;
                break;
            }
            pins[k] = lsm_cache_lookup(p.cache, file, off);
            if (!pins[k])
                pins[k] = insert(&p, file, off, test_below(2));
            v = pins[k]->value;
            CHECK_INT(v->file, file);
            CHECK_INT(v->off, off);
        }
        if (i % 64 == 0) {
            struct lsm_cache_stats s = stats_of(&p);
            CHECK(s.used_bytes <= s.capacity_bytes || s.used_bytes == s.pinned_bytes);
        }
    }
    for (int k = 0; k < PINS; k++)
        lsm_cache_unpin(p.cache, pins[k]);
    lsm_cache_set_capacity(p.cache, 0);
    CHECK_INT(stats_of(&p).used_bytes, 0);
    place_close(&p);
}
