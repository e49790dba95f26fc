/*
 * ranges.h -- range deletes, fragmented: stretches of keys in order, disjoint,
 * each with the sequences at which it was deleted, newest first.
 *
 *     given    [a           m)@5            [p q)@7
 *                   [c f)@9
 *     ranges   [a c)@5  [c f)@9,5  [f m)@5  [p q)@7
 *
 * In a table's range-delete block:
 *
 *     block    := stretch*
 *     stretch  := lo:bytes  hi:bytes  count:varint  seq:varint  (less than the one before by):varint*
 *
 * An end may have one byte more than a key: in the order of bytes k ‖ 0 is the
 * first key behind k, and where a table ends so do its stretches.
 *
 * Threads: immutable once made.
 */
#ifndef LSM_FORMAT_RANGES_H
#define LSM_FORMAT_RANGES_H

#include "lsm/format/ikey.h"
#include "lsm/util/buf.h"

#define LSM_RANGE_KEY_SIZE_MAX (LSM_KEY_SIZE_MAX + 1u)

struct lsm_range {
    struct lsm_slice lo, hi;            /* [lo, hi) */
    uint32_t seq_at, seq_count;         /* of lsm_ranges.seqs */
};

struct lsm_ranges {
    struct lsm_os *os;
    uint32_t count;
    struct lsm_range *range;            /* ascending */
    uint64_t *seqs;                     /* of a stretch: descending */
    uint32_t seq_count;                 /* of all */
    uint64_t seq_min, seq_max;          /* 0 if there is none */
    uint8_t *keys;                      /* the bytes that they point to */
    size_t memory;
};

void lsm_ranges_free(struct lsm_ranges *ranges);        /* NULL is fine */

/* The first stretch that ends behind `key`; count: none. It may begin behind it, too. */
uint32_t lsm_ranges_find(const struct lsm_ranges *ranges, const struct lsm_comparator *cmp,
                         struct lsm_slice key);

/* What holds at one key, and how far: no delete begins or ends within [lo, hi). NULL data: no bound. */
struct lsm_stretch {
    struct lsm_slice lo, hi;
    uint64_t seq;                       /* of the newest delete that the reader sees; 0: none */
};

/* At `key`, for who sees sequences up to seq_max; seq_add is added to all of them first. The keys
   point into `ranges`. */
void lsm_ranges_at(const struct lsm_ranges *ranges, const struct lsm_comparator *cmp,
                   struct lsm_slice key, uint64_t seq_max, uint64_t seq_add,
                   struct lsm_stretch *stretch);

/* ---- making ---- */

/* Range deletes as they come, in any order; keys are copied. Latches errors. */
struct lsm_range_set {
    struct lsm_buf items;
    struct lsm_buf keys;
};
void lsm_range_set_init(struct lsm_range_set *set, struct lsm_os *os);
void lsm_range_set_clear(struct lsm_range_set *set);
/* [lo, hi) must not be empty. */
void lsm_range_set_add(struct lsm_range_set *set, struct lsm_slice lo, struct lsm_slice hi,
                       uint64_t seq);
size_t lsm_range_set_count(const struct lsm_range_set *set);

/*
 * Fragment what was added; the set is empty afterwards. Of the deletes of a
 * stretch that lie between two neighbouring `limits` (ascending; above one, up
 * to and with the next) only the newest is kept: nobody can tell the others.
 * *ranges is NULL when nothing was added. LSM_NOMEM, LSM_TOOBIG.
 */
int lsm_range_set_finish(struct lsm_range_set *set, const struct lsm_comparator *cmp,
                         const uint64_t *limits, size_t limit_count, struct lsm_ranges **ranges);

/* ---- bytes ---- */

/* Append a stretch; they come in order. Latches errors in `out`. */
void lsm_range_encode(struct lsm_buf *out, struct lsm_slice lo, struct lsm_slice hi,
                      const uint64_t *seqs, uint32_t count);
/* `bytes` are copied. LSM_NOMEM, LSM_CORRUPT (file, off: for the text). */
int lsm_ranges_decode(struct lsm_os *os, const struct lsm_comparator *cmp, struct lsm_slice bytes,
                      const char *file, uint64_t off, struct lsm_ranges **ranges);

/* ---- ends ---- */

/* Is `hi` the first key behind `key`, in the order of bytes? */
static inline bool lsm_key_is_next(struct lsm_slice key, struct lsm_slice hi)
{
    return hi.size == key.size + 1 && hi.data[key.size] == 0 &&
           (key.size == 0 || memcmp(hi.data, key.data, key.size) == 0);
}

/* A key that no key before `hi` is greater than: where a stretch makes its table end. */
static inline struct lsm_slice lsm_range_last(const struct lsm_comparator *cmp, struct lsm_slice hi)
{
    if (!cmp && hi.size && hi.data[hi.size - 1] == 0)
        hi.size--;
    return hi;
}

#endif
