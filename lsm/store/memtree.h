/*
 * memtree.h -- the tree of one key space in a memtable: rows and 15-slot nodes
 * in an arena that all trees of the memtable share. memtree.c says how; the
 * memtable is memtable.h, and nobody else includes this.
 *
 * Threads: one writer at a time per space; any number of readers of a tree, who
 * never write, wait or try again. A path belongs to one thread and stays good
 * while rows are added: it finds all that was there when it was made.
 */
#ifndef LSM_STORE_MEMTREE_H
#define LSM_STORE_MEMTREE_H

#include "lsm/format/ikey.h"
#include "lsm/util/arena.h"

#define LSM_MEMTREE_SLOTS 15u
#define LSM_MEMTREE_HEIGHT_MAX 16u  /* levels of inner nodes: 2^32 bytes of rows need 11 */
#define LSM_MEMTREE_LINE 64u        /* of the processor's cache, and a node's alignment */

struct lsm_memrow {
    uint32_t next;              /* added after this one; the writer's */
    uint32_t tree;
    _Atomic uint64_t tag;       /* turns VOID */
    uint32_t key_size, value_size;
    uint8_t bytes[];            /* key value */
};

struct lsm_memnode {            /* a leaf as it stands */
    _Atomic uint64_t perm;      /* count:4 slot:4[15], slot of the smallest key first */
    uint16_t used;              /* slots written; the writer's */
    uint16_t skip;              /* first bytes that all keys share; prefix[]: the eight behind */
    uint32_t row[LSM_MEMTREE_SLOTS];
    uint64_t prefix[LSM_MEMTREE_SLOTS];
};

struct lsm_meminner {
    struct lsm_memnode keys;
    uint32_t child[LSM_MEMTREE_SLOTS];
};

_Static_assert(sizeof(struct lsm_memrow) == 24, "as memtable.h says");
_Static_assert(sizeof(struct lsm_memnode) == 3 * LSM_MEMTREE_LINE, "three lines");
_Static_assert(sizeof(struct lsm_meminner) == 4 * LSM_MEMTREE_LINE, "four lines");

/* Nodes to come, side by side: among the rows each would lie in a page of its own. */
struct lsm_memslab {
    uint32_t at, count;         /* offset of the next, and how many there are */
};

/* What the trees of a memtable share. */
struct lsm_memspace {
    uint8_t **chunks;           /* the arena's, here so that readers stay off the line it writes */
    _Alignas(LSM_MEMTREE_LINE) struct lsm_arena arena;
    struct lsm_memslab leaves, inners;
    bool has_void;              /* some row was undone */
};

struct lsm_memtree {
    uint32_t id;
    _Atomic uint32_t root;      /* offset of a node | levels of inner nodes above the leaves */
    _Atomic uint32_t ranges;    /* memrange.h's; 0: no range was ever deleted */
    bool has_comparator;
    _Alignas(LSM_MEMTREE_LINE) _Atomic uint64_t rows;
    /* the writer's: where the last row was appended */
    uint32_t run_leaf;          /* 0: it was not */
    uint32_t run_high;          /* row at which its right neighbour begins, 0: there is none */
    uint32_t run_length;
};

/* What is looked for: the first row at or after (key, tag), or after it. */
struct lsm_memtarget {
    struct lsm_slice key;
    uint64_t tag;
    bool after;
    const struct lsm_comparator *cmp;
};

struct lsm_memstep {
    struct lsm_meminner *node;
    uint64_t perm;
    uint32_t index;             /* of the child that was taken */
    uint32_t low, high;         /* rows that bound the node: [low, high); 0: none. The writer's */
};

struct lsm_mempath {
    struct lsm_memstep step[LSM_MEMTREE_HEIGHT_MAX];
    uint32_t height;
    struct lsm_memnode *leaf;
    uint64_t perm;
    uint32_t leaf_off;
    uint32_t low, high;         /* the leaf's */
};

/* Where a new row will stand. Good until the tree's next row. */
struct lsm_memplace {
    struct lsm_mempath path;    /* in_run: only leaf, perm, leaf_off and high */
    uint32_t root;              /* the tree's word when the path was made */
    uint32_t index;             /* rows of the leaf before it */
    uint64_t prefix;            /* its own, as the leaf counts */
    bool in_run;                /* behind the row that was added last */
};

static inline void *lsm_memspace_at(const struct lsm_memspace *space, uint32_t off)
{
    return space->chunks[off >> LSM_ARENA_SHIFT] + (off & (LSM_ARENA_CHUNK - 1));
}

static inline struct lsm_memrow *lsm_memrow_at(const struct lsm_memspace *space, uint32_t off)
{
    return lsm_memspace_at(space, off);
}

static inline uint64_t lsm_memrow_tag(const struct lsm_memrow *row)
{
    return atomic_load_explicit(&row->tag, memory_order_relaxed);
}

static inline struct lsm_slice lsm_memrow_key(const struct lsm_memrow *row)
{
    return lsm_slice(row->bytes, row->key_size);
}

static inline struct lsm_slice lsm_memrow_value(const struct lsm_memrow *row)
{
    return lsm_slice(row->bytes + row->key_size, row->value_size);
}

static inline bool lsm_memrow_is_void(const struct lsm_memrow *row)
{
    return lsm_tag_kind(lsm_memrow_tag(row)) == LSM_KIND_VOID;
}

/* Rows in the leaf where the path stands. */
static inline uint32_t lsm_mempath_count(const struct lsm_mempath *path)
{
    return path->perm & 15;
}

static inline struct lsm_memrow *lsm_mempath_row(const struct lsm_memspace *space,
                                                 const struct lsm_mempath *path, uint32_t i)
{
    return lsm_memrow_at(space, path->leaf->row[(path->perm >> (4 + 4 * i)) & 15]);
}

/* A tree without rows. Offset of it, not yet known to anyone; 0: no memory. */
uint32_t lsm_memtree_new(struct lsm_memspace *space, uint32_t id, bool has_comparator);

/* The place of a row that is new. */
void lsm_memtree_place(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                       const struct lsm_memtarget *t, struct lsm_memplace *place);

/*
 * The same for rows that are added one after the other, in two steps: the ways down to all of them side by
 * side, so that the misses of the cache overlap; then, before each is added, where it stands by now. A way
 * whose nodes were replaced by the rows before it is gone again.
 */
void lsm_memtree_aim(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                     const struct lsm_memtarget *targets, struct lsm_memplace *places, uint32_t count);
void lsm_memtree_place_aimed(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                             const struct lsm_memtarget *t, struct lsm_memplace *place);

/* Is there a row of the target's key, void ones too? Only where all of them are older than the target. It
   may say so of one that was there once. */
bool lsm_memtree_has_key(const struct lsm_memspace *space, const struct lsm_memtarget *t,
                         const struct lsm_memplace *place);

/* Nodes for what the next row may need: lsm_memtree_add will not fail. False: no memory. */
bool lsm_memtree_reserve(struct lsm_memspace *space, const struct lsm_memtree *tree);

/* Bring in a row that is written. One release store makes it visible, whatever had to be rebuilt.
   False: no memory; nothing changed. */
bool lsm_memtree_add(struct lsm_memspace *space, struct lsm_memtree *tree,
                     const struct lsm_memtarget *t, const struct lsm_memplace *place, uint32_t row);

/* The first row at or after the target, 0: none. False in *may_match: its key is not the target's,
   as its prefix says already. */
uint32_t lsm_memtree_find(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          const struct lsm_memtarget *t, bool *may_match);

/* The leaf of the target, and how many of its rows are before it (all: the next leaf has it). */
uint32_t lsm_memtree_seek(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          const struct lsm_memtarget *t, struct lsm_mempath *path);

/* The first or last leaf. False: the tree has no row. */
bool lsm_memtree_edge(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                      struct lsm_mempath *path, bool last);

/* To the neighbour leaf, which has rows; false: there is none, and the path is as it was. */
bool lsm_mempath_aside(const struct lsm_memspace *space, struct lsm_mempath *path, bool back);

/* Assert every invariant, LSM_CORRUPT in release builds; *rows is what it reaches. */
int lsm_memtree_check(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                      uint64_t *rows);

#endif
