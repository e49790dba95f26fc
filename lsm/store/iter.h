/*
 * iter.h -- the one iterator interface. Rows come as (key, tag, value); a key's
 * versions newest first.
 *
 * Every move sets `valid`; when it is false, rc tells the end (LSM_OK) from a
 * failure, which is latched: the iterator is inert afterwards. key and value
 * are valid until the next move. A structure's iterator embeds this first.
 */
#ifndef LSM_STORE_ITER_H
#define LSM_STORE_ITER_H

#include "lsm/format/ikey.h"

struct lsm_iter;

/* What keeps a row's bytes in place after the iterator has moved or closed: a memtable, or a block in
   the cache. A reference, which the receiver gives back. */
struct lsm_iter_pin {
    struct lsm_memtable *mem;
    struct lsm_cache *cache;
    struct lsm_cache_entry *entry;
};

struct lsm_block;

/* A block of which each row comes next, before any of another source: from the row where the iterator stands
   to the block's last. Until the next move. */
struct lsm_iter_block {
    struct lsm_iter *owner;     /* of the table: lsm_table_iter_sealed() */
    const struct lsm_block *block;
    struct lsm_slice last;      /* its last key; the first is the iterator's */
    uint64_t seq_max;
    bool begins_part;           /* it is the first of its index partition: ask part() */
};

/* The same of an index partition, of which no block but the first has been looked at. */
struct lsm_iter_part {
    struct lsm_iter *owner;     /* of the table: lsm_table_iter_piece() */
    struct lsm_slice last;
    uint64_t last_tag, entries, seq_max;
    uint64_t size;              /* in the file */
};

/* Rows of a block of which each comes next, in the direction of the moves and before any of another source:
   from `row`, where the iterator stands, to `last`; on the way back that is the smaller one, and the rows of another
   source may come before it. The block is the iterator's until it moves. */
struct lsm_iter_streak {
    const struct lsm_block *block;
    uint32_t row, last;
    uint64_t tag_add;           /* to the tags in the block */
};

struct lsm_iter_methods {
    void (*first)(struct lsm_iter *it);
    void (*last)(struct lsm_iter *it);
    void (*seek)(struct lsm_iter *it, struct lsm_slice key, uint64_t tag);      /* first row >= */
    void (*seek_prev)(struct lsm_iter *it, struct lsm_slice key, uint64_t tag); /* last row <= */
    void (*next)(struct lsm_iter *it);
    void (*prev)(struct lsm_iter *it);
    void (*close)(struct lsm_iter *it);         /* releases and frees */
    /* Pin the value of the row that it stands on. False: it cannot be (or NULL). */
    bool (*pin)(struct lsm_iter *it, struct lsm_iter_pin *pin);
    /* The source that is shown goes where seek() would, or with `prev` seek_prev(), and the others stay: for who knows that
       their rows up to there may be shown all the same. NULL: all go. */
    void (*leap)(struct lsm_iter *it, struct lsm_slice key, uint64_t tag, bool prev);
    /* Its next move will be this seek: ask for the memory, so that several sources' comes in at once. Or NULL. */
    void (*aim)(struct lsm_iter *it, struct lsm_slice key, uint64_t tag);
    /* The block that begins here. False: none does, rows of another source come between its rows, it has
       tombstones, or its tags are not those in the file. Or NULL. */
    bool (*block)(struct lsm_iter *it, struct lsm_iter_block *block);
    /* To the first row behind that block, as so many next(). */
    void (*next_block)(struct lsm_iter *it);
    /* The index partition that begins with that block, and to the first row behind it. Asked where block() says so. */
    bool (*part)(struct lsm_iter *it, struct lsm_iter_part *part);
    void (*next_part)(struct lsm_iter *it);
    /* The rows that come from here on. False: none are known of, or the iterator goes the other way. Or NULL. */
    bool (*streak)(struct lsm_iter *it, bool back, struct lsm_iter_streak *streak);
    /* To a row of that streak, as so many moves. */
    void (*to_row)(struct lsm_iter *it, uint32_t row);
};

struct lsm_iter {
    const struct lsm_iter_methods *methods;
    bool valid;
    bool begins_block;          /* after a move by one row, true where the row is the first of a table's block on that
                                   way: ask block(), streak(). After others it may be of an earlier row */
    int rc;
    uint32_t source;            /* of a merge: the row is of this one, counted from the newest; of others 0 */
    struct lsm_slice key;
    uint64_t tag;
    struct lsm_slice value;
};

static inline void lsm_iter_first(struct lsm_iter *it) { it->methods->first(it); }
static inline void lsm_iter_last(struct lsm_iter *it) { it->methods->last(it); }
static inline void lsm_iter_seek(struct lsm_iter *it, struct lsm_slice key, uint64_t tag) { it->methods->seek(it, key, tag); }
static inline void lsm_iter_seek_prev(struct lsm_iter *it, struct lsm_slice key, uint64_t tag) { it->methods->seek_prev(it, key, tag); }
static inline void lsm_iter_next(struct lsm_iter *it) { it->methods->next(it); }
static inline void lsm_iter_prev(struct lsm_iter *it) { it->methods->prev(it); }
static inline void lsm_iter_leap(struct lsm_iter *it, struct lsm_slice key, uint64_t tag, bool prev)
{
    if (it->methods->leap)
        it->methods->leap(it, key, tag, prev);
    else if (prev)
        lsm_iter_seek_prev(it, key, tag);
    else
        lsm_iter_seek(it, key, tag);
}
static inline bool lsm_iter_pin(struct lsm_iter *it, struct lsm_iter_pin *pin)
{
    return it->methods->pin && it->methods->pin(it, pin);
}
static inline void lsm_iter_aim(struct lsm_iter *it, struct lsm_slice key, uint64_t tag)
{
    if (it->methods->aim)
        it->methods->aim(it, key, tag);
}
static inline bool lsm_iter_block(struct lsm_iter *it, struct lsm_iter_block *block)
{
    return it->begins_block && it->methods->block && it->methods->block(it, block);
}
static inline void lsm_iter_next_block(struct lsm_iter *it) { it->methods->next_block(it); }
static inline bool lsm_iter_part(struct lsm_iter *it, struct lsm_iter_part *part)
{
    return it->methods->part && it->methods->part(it, part);
}
static inline void lsm_iter_next_part(struct lsm_iter *it) { it->methods->next_part(it); }
static inline bool lsm_iter_streak(struct lsm_iter *it, bool back, struct lsm_iter_streak *streak)
{
    return it->valid && it->methods->streak && it->methods->streak(it, back, streak);
}
static inline void lsm_iter_to_row(struct lsm_iter *it, uint32_t row) { it->methods->to_row(it, row); }
static inline void lsm_iter_close(struct lsm_iter *it) { if (it) it->methods->close(it); }

#endif
