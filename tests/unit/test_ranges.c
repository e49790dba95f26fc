/*
 * test_ranges.c -- range deletes fragmented, against a list of all of them.
 */
#include "tests/unit/format_os.h"
#include "tests/unit/orders.h"

#include "lsm/format/ranges.h"
#include "lsm/util/sort.h"

#define KEYS 24

struct raw { int lo, hi; uint64_t seq; };

static struct lsm_slice key_of(int i)
{
    static char keys[KEYS + 1][4];

    snprintf(keys[i], sizeof keys[i], "%02d", i);
    return lsm_slice_str(keys[i]);
}

static uint64_t newest(const struct raw *raw, int count, int key, uint64_t seq_max)
{
    uint64_t seq = 0;

    for (int i = 0; i < count; i++)
        if (raw[i].lo <= key && key < raw[i].hi && raw[i].seq <= seq_max && raw[i].seq > seq)
            seq = raw[i].seq;
    return seq;
}

/* In the tree's order [lo, hi); `cmp` reverse turns the numbers round. */
static void add(struct lsm_range_set *set, const struct raw *raw, const struct lsm_comparator *cmp)
{
    if (cmp)
        lsm_range_set_add(set, key_of(KEYS - raw->lo), key_of(KEYS - raw->hi), raw->seq);
    else
        lsm_range_set_add(set, key_of(raw->lo), key_of(raw->hi), raw->seq);
}

static bool check_all(const struct lsm_ranges *r, const struct raw *raw, int count,
                      const struct lsm_comparator *cmp, uint64_t seq_max, uint64_t seq_add)
{
    for (int k = 0; k < KEYS; k++) {
        struct lsm_slice key = key_of(cmp ? KEYS - k : k);
        uint64_t want = newest(raw, count, k, seq_max);
        struct lsm_stretch at;

        lsm_ranges_at(r, cmp, key, seq_max + seq_add, seq_add, &at);
        if (!CHECK_INT(at.seq, want ? want + seq_add : 0) ||
            !CHECK(!at.lo.data || lsm_key_compare(cmp, at.lo, key) <= 0) ||
            !CHECK(!at.hi.data || lsm_key_compare(cmp, at.hi, key) > 0))
            return false;
        /* nothing begins or ends within */
        for (int n = k + 1; n < KEYS; n++) {
            struct lsm_slice next = key_of(cmp ? KEYS - n : n);
            if (at.hi.data && lsm_key_compare(cmp, at.hi, next) <= 0)
                break;
            if (!CHECK_INT(newest(raw, count, n, seq_max), want))
                return false;
        }
    }
    return true;
}

TEST(ranges_show_every_reader_at_a_limit_the_newest_delete)
{
    struct format_os f;
    struct lsm_os *os = &f.os;

    format_os_init(&f);
    for (int round = 0; round < (test_long() ? 20000 : 2000); round++) {
        const struct lsm_comparator *cmp = test_below(4) == 0 ? &reverse : NULL;
        int count = 1 + (int)test_below(12);
        uint64_t limits[4], limit_count = test_below(4), at = 0;
        struct raw raw[12];
        struct lsm_range_set set;
        struct lsm_ranges *r, *again;
        struct lsm_buf bytes;

        for (uint64_t i = 0; i < limit_count; i++)
            limits[i] = at += 1 + test_below(9);
        lsm_range_set_init(&set, os);
        for (int i = 0; i < count; i++) {
            raw[i].lo = (int)test_below(KEYS - 1);
            raw[i].hi = raw[i].lo + 1 + (int)test_below((uint64_t)(KEYS - 1 - raw[i].lo));
            raw[i].seq = 1 + (test_below(3) ? (uint64_t)i : test_below(30));
            add(&set, &raw[i], cmp);
        }
        if (!CHECK_OK(lsm_range_set_finish(&set, cmp, limits, limit_count, &r)))
            return;
        bool ok = check_all(r, raw, count, cmp, 1000, test_below(2) * 77);
        for (uint64_t i = 0; i < limit_count; i++)
            ok = ok && check_all(r, raw, count, cmp, limits[i], test_below(2) * 77);

        /* and the same from bytes */
        lsm_buf_init(&bytes, os);
        for (uint32_t i = 0; i < r->count; i++)
            lsm_range_encode(&bytes, r->range[i].lo, r->range[i].hi, r->seqs + r->range[i].seq_at,
                             r->range[i].seq_count);
        if (CHECK_OK(lsm_ranges_decode(os, cmp, lsm_buf_slice(&bytes), "t", 0, &again))) {
            ok = ok && CHECK_INT(again->count, r->count) && CHECK_INT(again->seq_min, r->seq_min) &&
                 CHECK_INT(again->seq_max, r->seq_max) && check_all(again, raw, count, cmp, 1000, 0);
            lsm_ranges_free(again);
        }
        /* cut anywhere but between two stretches it is refused */
        for (size_t cut = 0; cut < bytes.size; cut++)
            if (lsm_ranges_decode(os, cmp, lsm_slice(bytes.data, cut), "t", 0, &again) == LSM_OK) {
                ok = ok && CHECK(again->count < r->count);
                lsm_ranges_free(again);
            }
        lsm_buf_clear(&bytes);
        lsm_ranges_free(r);
        if (!ok || !CHECK_INT(f.used, 0)) {
            printf("  round %d\n", round);
            return;
        }
    }
}

/* What a log that is trimmed again and again leaves: n prefixes, each longer than the one before. */
TEST(ranges_that_grow_cost_n_log_n)
{
    enum { COUNT = 100000 };
    struct format_os f;
    struct lsm_os *os = &f.os;
    struct lsm_range_set set;
    struct lsm_ranges *r;
    uint8_t key[8], zero[8] = { 0 };

    format_os_init(&f);
    lsm_range_set_init(&set, os);
    for (uint64_t i = 1; i <= COUNT; i++) {
        lsm_put_be64(key, i);
        lsm_range_set_add(&set, lsm_slice(zero, 8), lsm_slice(key, 8), i);
    }
    if (CHECK_OK(lsm_range_set_finish(&set, NULL, NULL, 0, &r))) {
        CHECK_INT(r->count, 1);         /* nobody sees the older ones */
        CHECK_INT(r->seq_max, COUNT);
        lsm_ranges_free(r);
    }
    for (uint64_t i = 1; i <= COUNT; i++) {     /* and the other way: each begins later */
        lsm_put_be64(key, i);
        lsm_range_set_add(&set, lsm_slice(key, 8), lsm_slice("\xff", 1), i);
    }
    if (CHECK_OK(lsm_range_set_finish(&set, NULL, NULL, 0, &r))) {
        CHECK_INT(r->count, COUNT);
        lsm_ranges_free(r);
    }
    CHECK_INT(f.used, 0);
}

TEST(ranges_malformed_bytes_are_corrupt)
{
    struct format_os f;
    struct lsm_os *os = &f.os;
    static const struct { const char *bytes; size_t size; } bad[] = {
        { "", 0 },
        { "\1b\1a\1\5", 6 },                    /* ends before it begins */
        { "\1a\1a\1\5", 6 },                    /* empty */
        { "\1a\1c\1\5\1b\1d\1\5", 12 },         /* overlap */
        { "\1a\1c\0", 5 },                      /* no sequence */
        { "\1a\1c\2\5\0", 7 },                  /* twice the same */
        { "\1a\1c\2\5\6", 7 },                  /* below zero */
        { "\1a\1c\xff\xff\xff\xff\x0f\5", 10 }, /* more sequences than bytes */
        { "\1a\1c\1\xff\xff\xff\xff\xff\xff\xff\xff\x01", 14 },     /* above 2^56 */
        { "\xff\xff\xff\xff\x0f" "a", 6 },
    };

    format_os_init(&f);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lsm_ranges *r;
        if (!CHECK_RC(lsm_ranges_decode(os, NULL, lsm_slice(bad[i].bytes, bad[i].size), "t", 0, &r),
                      LSM_CORRUPT))
            printf("  %zu\n", i);
    }
    CHECK_INT(f.used, 0);
}

TEST(ranges_survive_every_failing_allocation)
{
    struct format_os f;
    struct lsm_os *os = &f.os;
    int rc = LSM_NOMEM;

    format_os_init(&f);
    for (long at = 1; rc == LSM_NOMEM; at++) {
        struct lsm_range_set set;
        struct lsm_ranges *r = NULL;

        f.fail_at = at;
        lsm_range_set_init(&set, os);
        for (int i = 0; i < 9; i++)
            lsm_range_set_add(&set, key_of(i), key_of(i + 3), (uint64_t)i + 1);
        rc = lsm_range_set_finish(&set, NULL, NULL, 0, &r);
        f.fail_at = 0;
        lsm_range_set_clear(&set);
        CHECK(rc == LSM_OK || rc == LSM_NOMEM);
        lsm_ranges_free(r);
        CHECK_INT(f.used, 0);
    }
}

static int compare_ints(void *ctx, const void *a, const void *b)
{
    ++*(int *)ctx;
    return *(const int *)a - *(const int *)b;
}

TEST(sort_sorts)
{
    for (int round = 0; round < 300; round++) {
        int items[40], count = (int)test_below(40), calls = 0;
        long sum = 0;

        for (int i = 0; i < count; i++)
            sum += items[i] = (int)test_below(30);
        lsm_sort(items, (size_t)count, sizeof items[0], compare_ints, &calls);
        for (int i = 0; i < count; i++) {
            sum -= items[i];
            CHECK(i == 0 || items[i - 1] <= items[i]);
        }
        CHECK_INT(sum, 0);
    }
}
