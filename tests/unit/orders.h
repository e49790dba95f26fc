/* orders.h -- comparators for tests: orders of keys that their bytes do not have. */
#ifndef TESTS_UNIT_ORDERS_H
#define TESTS_UNIT_ORDERS_H

#include "lsm/lsm.h"
#include "lsm/util/slice.h"

/* ctx: where to count the comparisons, or NULL. */
static inline int compare_reverse(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    if (ctx)
        ++*(uint64_t *)ctx;
    return lsm_slice_compare(b, a);
}

static const struct lsm_comparator reverse = { .name = "reverse", .compare = compare_reverse };

/* Shorter keys first: the first and the last key of some say nothing of those between. */
static inline int compare_by_size(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return lsm_slice_compare(a, b);
}

static const struct lsm_comparator by_size = { .name = "by size", .compare = compare_by_size };

#endif
