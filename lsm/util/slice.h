/*
 * slice.h -- helpers for borrowed bytes (struct lsm_slice is public: lsm.h).
 */
#ifndef LSM_UTIL_SLICE_H
#define LSM_UTIL_SLICE_H

#include <string.h>

#include "lsm/lsm.h"

static inline struct lsm_slice lsm_slice(const void *data, size_t size)
{
    struct lsm_slice s = { data, size };
    return s;
}

static inline struct lsm_slice lsm_slice_str(const char *text)
{
    return lsm_slice(text, strlen(text));
}

/*
 * The first eight bytes as a number whose order is the bytes' order; shorter
 * keys are padded with zeros. prefix(a) < prefix(b) implies a < b; equal
 * prefixes say nothing.
 */
static inline uint64_t lsm_slice_prefix(struct lsm_slice s)
{
    uint64_t v = 0;
    if (s.size >= 8) {
        memcpy(&v, s.data, 8);
        return __builtin_bswap64(v);
    }
    for (size_t i = 0; i < s.size; i++)
        v |= (uint64_t)s.data[i] << (56 - 8 * i);
    return v;
}

/* memcmp order; a prefix comes first. Most keys differ in their first eight bytes, which costs less than a call. */
static inline int lsm_slice_compare(struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c;

    if (n >= 8) {
        uint64_t x = lsm_slice_prefix(a), y = lsm_slice_prefix(b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    c = n ? memcmp(a.data, b.data, n) : 0;
    if (c)
        return c;
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool lsm_slice_equal(struct lsm_slice a, struct lsm_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Order of two keys in a tree: cmp NULL is bytes. */
static inline int lsm_key_compare(const struct lsm_comparator *cmp, struct lsm_slice a,
                                  struct lsm_slice b)
{
    return cmp ? cmp->compare(cmp->ctx, a, b) : lsm_slice_compare(a, b);
}

#endif
