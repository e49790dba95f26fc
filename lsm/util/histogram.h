/*
 * histogram.h -- how long things take: counts in buckets that grow by a quarter of
 * a power of two, so that a quantile is at most a quarter too large.
 *
 * Threads: any add at the same time; what is read meanwhile may lack the newest.
 */
#ifndef LSM_UTIL_HISTOGRAM_H
#define LSM_UTIL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define LSM_HISTOGRAM_BUCKETS 160u      /* up to 2^40 us, twelve days */

struct lsm_histogram {          /* zeroed: empty */
    atomic_uint_least64_t bucket[LSM_HISTOGRAM_BUCKETS];
    atomic_uint_least64_t total, max;
};

void lsm_histogram_add(struct lsm_histogram *h, uint64_t value);
void lsm_histogram_add_for(struct lsm_histogram *h, uint64_t value, uint32_t count);   /* it stands for so many */
uint64_t lsm_histogram_count(const struct lsm_histogram *h);
/* The least bucket's upper end that `per_mille` of all values do not pass, but never above the
   largest value; 0: empty. */
uint64_t lsm_histogram_quantile(const struct lsm_histogram *h, uint32_t per_mille);
/* The bucket of a value, and the largest value in a bucket. */
uint32_t lsm_histogram_bucket(uint64_t value);
uint64_t lsm_histogram_bucket_end(uint32_t bucket);

#endif
