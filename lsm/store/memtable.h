/*
 * memtable.h -- rows in memory, sorted: a tree of 15-slot nodes per lsm tree in
 * one shared arena.
 *
 * A node has the u64 prefix of each key, the row and, inside, the child, all as
 * 32-bit offsets, and one word `perm` (a count and 15 nibbles) that says which
 * slots are used in which order. An insert writes a free slot and publishes it
 * with one release store of perm; a split builds new nodes aside and puts them
 * in the old one's place with one such store in the parent. Readers never
 * write, never wait and never retry. Rows and slots are never reused; the
 * memory goes with the memtable.
 *
 *     row (8-byte aligned) := next:u32 tree:u32 tag:u64 key_size:u32 value_size:u32 key value
 *
 * `next` links the rows in the order they were added, so that a batch can be
 * written out and undone. A RANGE_DELETE (value: the end) is such a row, but
 * stands beside the tree (memrange.h): iterators and get do not see it.
 *
 * Threads: one writer at a time; any number of readers at the same time.
 */
#ifndef LSM_STORE_MEMTABLE_H
#define LSM_STORE_MEMTABLE_H

#include "lsm/format/ranges.h"
#include "lsm/store/iter.h"
#include "lsm/util/arena.h"

struct lsm_memtable;

int lsm_memtable_new(struct lsm_os *os, struct lsm_memtable **mem);   /* one reference */
void lsm_memtable_ref(struct lsm_memtable *mem);                      /* any thread */
void lsm_memtable_unref(struct lsm_memtable *mem);                    /* any thread; NULL is fine */

/*
 * Add a row. (tree, key, tag) must be new. cmp is the tree's, always the same. A
 * RANGE_DELETE ends behind its key, and its seq is above those of its tree before it.
 * LSM_NOMEM: memory or offsets are used up; the memtable is as it was.
 */
int lsm_memtable_add(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                     struct lsm_slice key, uint64_t tag, struct lsm_slice value);

/*
 * A row in two steps: what it needs, and its leaf is fetched meanwhile; then the row, which cannot fail. It is
 * newer than all of its key and no RANGE_DELETE, and nothing is added between the two. It need not come.
 * LSM_NOMEM is the first step's. key and value together are at most LSM_MEMTABLE_EXPECT_MAX bytes.
 */
#define LSM_MEMTABLE_EXPECT_MAX (128u << 10)
int lsm_memtable_expect(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                        struct lsm_slice key, size_t value_size);
void lsm_memtable_add_expected(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                               struct lsm_slice key, uint64_t tag, struct lsm_slice value);

struct lsm_memtable_row {
    uint32_t off;               /* 0: none */
    uint32_t tree;
    uint64_t tag;
    struct lsm_slice key, value;
};

/*
 * The same for each of `rows`, one tree's, of which none is a RANGE_DELETE, one after the other: those before
 * a failure are in. Their leaves are fetched together: of an insert's time 12 in 100, 16 one by one.
 */
#define LSM_MEMTABLE_GROUP 6u   /* the most; their places are on the stack */
int lsm_memtable_add_group(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                           const struct lsm_memtable_row *rows, uint32_t count);

/* As lsm_memtable_add, unless the memtable has, or had, a row of the key: then LSM_EXISTS, and it is as it was. The row
   is newer than all of its key; no RANGE_DELETE. */
int lsm_memtable_add_first(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                           struct lsm_slice key, uint64_t tag, struct lsm_slice value);

uint64_t lsm_memtable_bytes(const struct lsm_memtable *mem);     /* memory held */
/* The same without the room that is left in it: how full it is. */
uint64_t lsm_memtable_used(const struct lsm_memtable *mem);
/* Whoever adds rows: what the next piece of memory will be asked for, bytes; 0: none will. */
size_t lsm_memtable_next_memory(const struct lsm_memtable *mem);
uint64_t lsm_memtable_rows(const struct lsm_memtable *mem);      /* rows added, void ones too */
uint64_t lsm_memtable_deletes(const struct lsm_memtable *mem);   /* rows added as deletes of one key */
uint64_t lsm_memtable_tree_rows(const struct lsm_memtable *mem, uint32_t tree);

/*
 * The newest row of `key` with seq <= seq_max that is not VOID; false: none.
 * seq_add is added to every row's seq (before the comparison).
 * *value points into the memtable.
 */
bool lsm_memtable_get(const struct lsm_memtable *mem, uint32_t tree,
                      const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                      uint64_t seq_add, uint64_t *tag, struct lsm_slice *value);

/* An iterator over one tree's rows, seq_add added, VOID rows left out. Holds a reference. */
int lsm_memtable_iter_new(struct lsm_memtable *mem, uint32_t tree, const struct lsm_comparator *cmp,
                          uint64_t seq_add, struct lsm_iter **it);

/* What a range delete does at `key`, for who sees up to seq_max; seq_add as above. The keys of
   *stretch live as long as the memtable. */
void lsm_memtable_range_at(const struct lsm_memtable *mem, uint32_t tree,
                           const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                           uint64_t seq_add, struct lsm_stretch *stretch);
bool lsm_memtable_has_ranges(const struct lsm_memtable *mem);          /* of any tree; cheap */
/* Range deletes of a tree that are not VOID, and the i-th of them in the order they were added. */
uint32_t lsm_memtable_range_count(const struct lsm_memtable *mem, uint32_t tree);
void lsm_memtable_range(const struct lsm_memtable *mem, uint32_t tree, uint32_t i,
                        struct lsm_slice *lo, struct lsm_slice *hi, uint64_t *seq);

/* Has the tree a row or range delete that is not VOID? */
bool lsm_memtable_has_tree(const struct lsm_memtable *mem, uint32_t tree);

/* Ids of the trees that have rows (void ones too), ascending; returns how many there are, fills at
   most `max`, the smallest. */
size_t lsm_memtable_trees(const struct lsm_memtable *mem, uint32_t *trees, size_t max);

/* ---- rows in the order they were added; the writer's thread only ---- */
uint32_t lsm_memtable_newest(const struct lsm_memtable *mem);   /* offset of the row added last, or 0 */
/* The row added after `off` (0: the first). false: there is none. */
bool lsm_memtable_next_added(const struct lsm_memtable *mem, uint32_t off,
                             struct lsm_memtable_row *row);
/* Turn a row's kind to VOID. Readers see it or not. No other row of its key may have its seq. */
void lsm_memtable_void(struct lsm_memtable *mem, uint32_t off);
/* Someone else holds a reference: an iterator, or who it was published to. */
bool lsm_memtable_is_shared(const struct lsm_memtable *mem);
/* Forget everything but keep the first small chunks. Only with a single reference. */
void lsm_memtable_reset(struct lsm_memtable *mem);

/* Walk the tree and assert every invariant; LSM_CORRUPT in release builds. */
int lsm_memtable_check(const struct lsm_memtable *mem);

#endif
