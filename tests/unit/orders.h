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

/* The order of bytes, as a comparator that says all there is to say. */
static inline int compare_bytes(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(a, b);
}

static inline uint64_t hash_bytes(void *ctx, struct lsm_slice key)
{
    uint64_t h = 14695981039346656037u;

    (void)ctx;
    for (size_t i = 0; i < key.size; i++)
        h = (h ^ key.data[i]) * 1099511628211u;
    return h ^ h >> 29;
}

/* All that begins as the key does up to a byte, at `from` or behind it, that can be one greater. */
static inline size_t above_prefix(struct lsm_slice key, size_t from, uint8_t *out)
{
    for (size_t i = from; i + 1 < key.size; i++)
        if (key.data[i] < 0xff) {
            memcpy(out, key.data, i + 1);
            out[i]++;
            return i + 1;
        }
    return SIZE_MAX;
}

static inline size_t short_separator(void *ctx, struct lsm_slice a, struct lsm_slice b, uint8_t *out)
{
    size_t same = 0;

    (void)ctx;
    while (same < a.size && same < b.size && a.data[same] == b.data[same])
        same++;
    if (same + 1 >= a.size || same >= b.size || a.data[same] + 1 >= b.data[same])
        return above_prefix(a, same + 1, out);
    return above_prefix(a, same, out);
}

static inline size_t short_successor(void *ctx, struct lsm_slice key, uint8_t *out)
{
    (void)ctx;
    return above_prefix(key, 0, out);
}

/* One of these, or none as often as both; draw: any number. */
static inline const struct lsm_comparator *any_order(uint64_t draw)
{
    static const struct lsm_comparator speaking = { .name = "bytes", .compare = compare_bytes, .hash = hash_bytes,
                                                    .separator = short_separator, .successor = short_successor };
    const struct lsm_comparator *const orders[] = { NULL, NULL, &speaking, &reverse };

    return orders[draw % 4];
}

#endif
