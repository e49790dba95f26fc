/*
 * test_visible_leap.c -- a key with many versions is passed in a few steps, and what is shown is what an array
 * of all versions shows: histories in several memtables, rows of the reader's own, rows that it
 * does not see, both directions, turns, comparators.
 */
#include <strings.h>

#include "lsm/store/memtable.h"
#include "lsm/version/merge.h"
#include "lsm/version/visible.h"
#include "tests/test.h"

#define SOURCES 4
#define KEYS 12
#define VERSIONS_MAX 4000
#define STEPS 40                /* for one row: a few for each source and for each side of what is seen */

static struct version {
    uint32_t key;
    uint64_t tag;
} versions[VERSIONS_MAX];
static uint32_t version_count;

static struct {
    struct lsm_os *os;
    struct lsm_memtable *mem[SOURCES];
    const struct lsm_comparator *cmp;
    struct lsm_iter *it;
    struct lsm_visible v;
} w;

static int compare_nocase(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return a.size == b.size ? strncasecmp((const char *)a.data, (const char *)b.data, a.size) : a.size < b.size ? -1 : 1;
}

static const struct lsm_comparator nocase = { .name = "nocase", .compare = compare_nocase };

static void begin(bool with_comparator)
{
    w.cmp = with_comparator ? &nocase : NULL;
    w.os = lsm_os_posix_new();
    for (int i = 0; i < SOURCES; i++)
        CHECK_OK(lsm_memtable_new(w.os, &w.mem[i]));
    version_count = 0;
}

static void read_at(struct lsm_view_point at)
{
    struct lsm_iter *its[SOURCES];

    for (int i = 0; i < SOURCES; i++)
        CHECK_OK(lsm_memtable_iter_new(w.mem[i], 1, w.cmp, 0, &its[i]));
    CHECK_OK(lsm_merge_new(w.os, w.cmp, its, SOURCES, &w.it));
    lsm_visible_init(&w.v, w.os);
    lsm_visible_set(&w.v, w.it, w.cmp, at);
}

static void end_read(void)
{
    CHECK_OK(w.v.rc);
    lsm_visible_clear(&w.v);
    lsm_iter_close(w.it);
}

static void end(void)
{
    for (int i = 0; i < SOURCES; i++)
        lsm_memtable_unref(w.mem[i]);
    CHECK_INT(w.os->mem_used(w.os), 0);
    lsm_os_posix_free(w.os);
}

/* With a comparator a key's versions have different bytes. */
static struct lsm_slice key_bytes(uint32_t key, uint64_t tag, char *out)
{
    bool upper = w.cmp && tag >> 8 & 1;

    return lsm_slice((uint8_t *)out, (size_t)sprintf(out, upper ? "THE KEY %02u" : "the key %02u", key));
}

static void add(uint32_t source, uint32_t key, uint64_t seq, bool is_delete)
{
    uint64_t tag = lsm_tag(seq, is_delete ? LSM_KIND_DELETE : LSM_KIND_PUT);
    char bytes[32], value[32];

    if (version_count == VERSIONS_MAX)
        return;
    versions[version_count++] = (struct version){ key, tag };
    CHECK_OK(lsm_memtable_add(w.mem[source], 1, w.cmp, key_bytes(key, tag, bytes), tag,
                              lsm_slice((uint8_t *)value, (size_t)sprintf(value, "%u@%llu", key, (unsigned long long)seq))));
}

/* The tag that is seen of a key; 0: none. */
static uint64_t seen(struct lsm_view_point at, uint32_t key)
{
    uint64_t best = 0;

    for (uint32_t i = 0; i < version_count; i++)
        if (versions[i].key == key && lsm_view_sees(&at, versions[i].tag) && versions[i].tag > best)
            best = versions[i].tag;
    return lsm_tag_kind(best) == LSM_KIND_DELETE ? 0 : best;
}

static bool shows(struct lsm_view_point at, int key)
{
    char bytes[32], value[32];
    uint64_t tag;

    if (key < 0 || key >= KEYS)
        return CHECK(!w.v.valid) && CHECK_OK(w.v.rc);
    tag = seen(at, (uint32_t)key);
    return CHECK(w.v.valid) && CHECK(w.v.tag == tag) && CHECK(lsm_slice_equal(w.v.key, key_bytes((uint32_t)key, tag, bytes))) &&
           CHECK(lsm_slice_equal(w.v.value, lsm_slice((uint8_t *)value, (size_t)sprintf(value, "%d@%llu", key,
                                                                (unsigned long long)lsm_tag_seq(tag)))));
}

static int near(struct lsm_view_point at, int key, int by)
{
    for (key += by; key >= 0 && key < KEYS && !seen(at, (uint32_t)key); key += by)
        ;
    return key;
}

static bool walk(struct lsm_view_point at)
{
    int key = -1;

    for (int move = 0; move < 60; move++) {
        char bytes[32];
        int to = (int)test_below(KEYS);

        switch (test_below(w.v.valid ? 10 : 4)) {
        case 0:
            lsm_visible_first(&w.v), key = near(at, -1, 1);
            break;
        case 1:
            lsm_visible_last(&w.v), key = near(at, KEYS, -1);
            break;
        case 2:
            lsm_visible_seek(&w.v, key_bytes((uint32_t)to, 0, bytes)), key = near(at, to - 1, 1);
            break;
        case 3:
            lsm_visible_seek_prev(&w.v, key_bytes((uint32_t)to, 0, bytes)), key = near(at, to + 1, -1);
            break;
        case 4: case 5: case 6:
            lsm_visible_next(&w.v), key = near(at, key, 1);
            break;
        default:
            lsm_visible_prev(&w.v), key = near(at, key, -1);
        }
        if (!shows(at, key))
            return false;
    }
    return true;
}

/* Sequences of each key go up in turns through the sources, a stretch in each: as transactions that follow each other. */
static void add_histories(void)
{
    uint64_t seq = 1, own = LSM_SEQ_OWN + 1;

    for (int stretch = 0; stretch < 40; stretch++) {
        uint32_t source = (uint32_t)test_below(SOURCES), key = (uint32_t)test_below(KEYS);
        uint32_t n = (uint32_t)test_below(test_below(3) ? 3 : 60);
        bool is_own = test_below(3) == 0, turns = test_below(4) == 0;

        for (uint32_t i = 0; i < n; i++)
            add(turns ? (uint32_t)test_below(SOURCES) : source, key, is_own ? own++ : seq++, test_below(5) == 0);
    }
}

TEST(visible_leap_shows_what_an_array_of_all_versions_shows)
{
    for (uint32_t round = 0; round < test_share(300); round++) {
        bool same = true;

        begin(test_below(4) == 0);
        add_histories();
        for (int i = 0; i < 6 && same; i++) {
            struct lsm_view_point at = { test_below(700), test_below(3) ? LSM_SEQ_OWN + test_below(300) : 0 };

            read_at(at);
            same = walk(at);
            end_read();
        }
        end();
        if (!same)
            return;
    }
}

/* Forward and backward over all keys; each move passes a few rows. */
static void check_steps(struct lsm_view_point at, int rows)
{
    int n = 0;

    read_at(at);
    for (lsm_visible_first(&w.v); w.v.valid; lsm_visible_next(&w.v), n++)
        CHECK(w.v.passed_over <= STEPS);
    CHECK(w.v.passed_over <= STEPS);
    CHECK_INT(n, rows);
    for (lsm_visible_last(&w.v); w.v.valid; lsm_visible_prev(&w.v), n--)
        CHECK(w.v.passed_over <= STEPS);
    CHECK(w.v.passed_over <= STEPS);
    CHECK_INT(n, 0);
    end_read();
}

TEST(visible_leap_passes_a_key_of_many_versions_in_a_few_steps)
{
    begin(false);
    for (uint64_t seq = 1; seq <= 1000; seq++)
        add(1, 5, seq, false);
    for (uint64_t op = 1; op <= 1000; op++)
        add(2, 5, LSM_SEQ_OWN + op, false);
    add(0, 4, 7, false);
    add(0, 6, 8, false);
    check_steps((struct lsm_view_point){ 1000, 0 }, 3);                     /* own rows are unseen */
    check_steps((struct lsm_view_point){ 1000, LSM_SEQ_OWN + 1000 }, 3);
    check_steps((struct lsm_view_point){ 500, LSM_SEQ_OWN + 500 }, 3);      /* half of each */
    check_steps((struct lsm_view_point){ 500, 0 }, 3);
    check_steps((struct lsm_view_point){ 8, 0 }, 3);
    check_steps((struct lsm_view_point){ 0, 0 }, 0);
    check_steps((struct lsm_view_point){ 0, LSM_SEQ_OWN + 1 }, 1);
    end();
}

