/*
 * histogram.c -- see histogram.h. Values below 4 have a bucket each; above, the
 * highest bit and the two behind it choose one.
 */
#include "lsm/util/histogram.h"

uint32_t lsm_histogram_bucket(uint64_t value)
{
    uint32_t log, bucket;

    if (value < 4)
        return (uint32_t)value;
    log = 63 - (uint32_t)__builtin_clzll(value);
    bucket = 4 * (log - 1) + (uint32_t)(value >> (log - 2) & 3);
    return bucket < LSM_HISTOGRAM_BUCKETS ? bucket : LSM_HISTOGRAM_BUCKETS - 1;
}

uint64_t lsm_histogram_bucket_end(uint32_t bucket)
{
    uint32_t log = bucket / 4 + 1;

    if (bucket < 4)
        return bucket;
    if (bucket >= LSM_HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    return ((UINT64_C(4) + bucket % 4 + 1) << (log - 2)) - 1;
}

void lsm_histogram_add(struct lsm_histogram *h, uint64_t value)
{
    lsm_histogram_add_for(h, value, 1);
}

void lsm_histogram_add_for(struct lsm_histogram *h, uint64_t value, uint32_t count)
{
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

    atomic_fetch_add_explicit(&h->bucket[lsm_histogram_bucket(value)], count, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->total, value * count, memory_order_relaxed);
    while (value > max && !atomic_compare_exchange_weak_explicit(&h->max, &max, value, memory_order_relaxed,
                                                                 memory_order_relaxed)) { }
}

uint64_t lsm_histogram_count(const struct lsm_histogram *h)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < LSM_HISTOGRAM_BUCKETS; i++)
        count += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
    return count;
}

uint64_t lsm_histogram_quantile(const struct lsm_histogram *h, uint32_t per_mille)
{
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed), count, rank, seen = 0;

    if (max == 0)               /* all that it holds is 0; most are empty */
        return 0;
    count = lsm_histogram_count(h);
    rank = count / 1000 * per_mille + (count % 1000 * per_mille + 999) / 1000;
    for (uint32_t i = 0; i < LSM_HISTOGRAM_BUCKETS && count; i++) {
        seen += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        if (seen >= rank && seen) {
            uint64_t end = lsm_histogram_bucket_end(i);
            return end < max ? end : max;
        }
    }
    return count ? max : 0;
}
