/*
 * filter.h -- blocked Bloom filter: six probes within one 64-byte line.
 *
 *     filter := line[64]*  line_count:u32  probes:u8 (6)  zero[3]
 *     line   := (hash >> 32) * line_count >> 32
 *     bit i of the line := (low half of hash * c_i mod 2^32) >> 23,   i = 0 .. 5
 *     c      := 00000001 9e3779b9 e35e67b1 734297e9 35fbe861 deb7c719      powers of c_1
 *
 * Bit b of a line is bit b & 7 of its byte b >> 3. 0.95 % false positives at
 * 10 bits a key, 0.45 at 12, 0.14 at 16. AVX2 or NEON tests all probes at once, chosen at run time, with
 * the same result as the scalar form. Fastest when the filter starts at a
 * multiple of 64 in memory: then a probe touches one cache line.
 */
#ifndef LSM_FORMAT_FILTER_H
#define LSM_FORMAT_FILTER_H

#include "lsm/util/buf.h"

/* The hash of a key, computed once per get for all filters. */
uint64_t lsm_filter_hash(struct lsm_slice key);

/* Of a tree with this comparator: one without a hash of its own has no filters, since it may call
   different bytes one key. */
static inline bool lsm_filter_is_possible(const struct lsm_comparator *cmp)
{
    return !cmp || cmp->hash;
}
static inline uint64_t lsm_filter_key_hash(const struct lsm_comparator *cmp, struct lsm_slice key)
{
    return !cmp ? lsm_filter_hash(key) : cmp->hash ? cmp->hash(cmp->ctx, key) : 0;
}

/* The size of a filter of so many keys. */
size_t lsm_filter_size(size_t count, uint32_t bits_per_key);
/* Append the filter of `count` hashes to `out` (latches errors). */
void lsm_filter_build(struct lsm_buf *out, const uint64_t *hashes, size_t count, uint32_t bits_per_key);

/* False: no key with this hash is in it. A malformed filter matches everything. */
bool lsm_filter_may_contain(struct lsm_slice filter, uint64_t hash);
/* The same in two steps: how many lines a filter begins with, 0 of a malformed one, is found once;
   then a probe touches nothing but its line. */
uint32_t lsm_filter_line_count(struct lsm_slice filter);
/* And in three, for whoever looks into several filters and fetches all lines first. */
const uint8_t *lsm_filter_line(const uint8_t *lines, uint32_t line_count, uint64_t hash);
bool lsm_filter_line_may_contain(const uint8_t *line, uint64_t hash);
bool lsm_filter_lines_may_contain(const uint8_t *lines, uint32_t line_count, uint64_t hash);
/* The form that every machine has: what the fast ones are tested against. */
bool lsm_filter_may_contain_scalar(struct lsm_slice filter, uint64_t hash);

#endif
