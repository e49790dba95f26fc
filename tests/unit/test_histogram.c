/*
 * test_histogram.c -- buckets against the definition, quantiles against a sorted array.
 */
#include "lsm/util/histogram.h"
#include "tests/test.h"

TEST(histogram_buckets_tile_the_numbers_and_are_at_most_a_quarter_wide)
{
    uint64_t at = 0;

    for (uint32_t b = 0; b + 1 < LSM_HISTOGRAM_BUCKETS; b++) {
        uint64_t end = lsm_histogram_bucket_end(b);
        CHECK_INT(lsm_histogram_bucket(at), b);
        CHECK_INT(lsm_histogram_bucket(end), b);
        CHECK(end >= at && end - at <= at / 4);
        at = end + 1;
    }
    CHECK_INT(lsm_histogram_bucket(at), LSM_HISTOGRAM_BUCKETS - 1);
    CHECK_INT(lsm_histogram_bucket(UINT64_MAX), LSM_HISTOGRAM_BUCKETS - 1);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

TEST(histogram_quantiles_are_those_of_a_sorted_array_or_a_quarter_above)
{
    static const uint32_t per_mille[] = { 1, 500, 990, 999, 1000 };
    static uint64_t values[3000];

    for (int round = 0; round < 30; round++) {
        struct lsm_histogram h = { .total = 0 };
        size_t n = 1 + test_below(3000);
        uint64_t total = 0;
        for (size_t i = 0; i < n; i++) {
            values[i] = test_random() >> (24 + test_below(40));
            total += values[i];
            lsm_histogram_add(&h, values[i]);
        }
        qsort(values, n, sizeof values[0], ascending);
        CHECK_INT(lsm_histogram_count(&h), n);
        CHECK(atomic_load(&h.total) == total && atomic_load(&h.max) == values[n - 1]);
        for (int i = 0; i < 5; i++) {
            size_t rank = (n * per_mille[i] + 999) / 1000;
            uint64_t want = values[rank ? rank - 1 : 0], got = lsm_histogram_quantile(&h, per_mille[i]);
            CHECK(got >= want && got <= want + want / 4 + 1 && got <= values[n - 1]);
        }
    }
}

TEST(histogram_that_is_empty_has_nothing_to_say)
{
    struct lsm_histogram h = { .total = 0 };

    CHECK_INT(lsm_histogram_count(&h), 0);
    CHECK_INT(lsm_histogram_quantile(&h, 500), 0);
}
