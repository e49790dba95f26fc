/*
 * memtable.c -- a B-tree whose every insert is one release store.
 *
 *     directory -> tree -> root -> inner -> inner -> leaf -> row
 *
 *     leaf   3 cache lines   perm  used  skip  row[15]  prefix[15]
 *     inner  4 cache lines   the same, and child[15]; its keys are its children's first rows
 *     perm  := count:4 slot:4[15]     slot of the smallest key first
 *
 * A slot is written once, before a perm that names it is published, and never
 * again: a perm that was loaded with acquire is a picture of its node that
 * stays true. Dead slots are garbage, as is a node that was replaced.
 *
 * Insert into a leaf with room: write a slot, publish perm. Into a full one:
 * build two new leaves from its rows and the new one, then replace the child by
 * the two in its parent, again by slots and one perm; a parent without room is
 * itself built anew, and so on up to the root's word. Whatever was built becomes
 * reachable by the one store that ends it, so every state in memory is a whole
 * tree: a reader needs neither links between nodes nor a second try, and a
 * writer that is killed leaves nothing to repair. (B-link nodes need a look at
 * the right neighbour on every level, a cache miss each, and a kill between
 * their stores leaves a tree that only readers can use.)
 *
 * A reader that stands on replaced nodes still finds all that was there when it
 * loaded their perms. An iterator is therefore a path of perms; it never
 * compares keys to go on.
 *
 *     skip    all keys that a node can ever hold share so many first bytes (its
 *             bounds do), and prefix[] holds the eight bytes behind them; paths
 *             and composite keys would otherwise tell nothing in eight bytes
 *     append  a row behind all others of a leaf at the right edge, or of one that
 *             was appended to before, gets a new leaf and leaves the full one full
 *     run     the leaf that was appended to last is tried first: rows in order
 *             are added without a descent
 *     void    once rows were undone, a full leaf sheds its void rows before it
 *             splits, so that undoing again and again leaves no heap of them
 *
 * Offsets, not pointers: the arena may one day be memory shared by processes.
 *
 * Threads: one writer. Readers load directory, root and perm with acquire; all
 * else they read was written before, but for tags (atomic: a row turns VOID).
 */
#include <assert.h>
#include <stdatomic.h>

#include "lsm/store/memtable.h"

#define SLOTS 15u
#define INNER_LIVE_MAX 13u      /* a full inner node with more keys than this splits, else is copied */
#define LEAF_LIVE_MAX 11u       /* the same for a leaf that shed void rows */
#define HEIGHT_MAX 16u          /* levels of inner nodes: 2^32 bytes of rows need 11 */
#define LINE 64u                /* a node's alignment: a root's low bits are free for its height */
#define DIRECTORY_FIRST 8u
#define SLAB_SHARE 64u          /* rows in the memtable for each node of a new slab */
#define SLAB_MAX 256u
#define RUN_SURE 2u             /* appends to a leaf before its right neighbour is looked at */

struct row {
    uint32_t next;              /* added after this one; the writer's */
    uint32_t tree;
    _Atomic uint64_t tag;
    uint32_t key_size, value_size;
    uint8_t bytes[];            /* key value */
};

struct node {                   /* a leaf as it stands */
    _Atomic uint64_t perm;
    uint16_t used;              /* slots written; the writer's */
    uint16_t skip;
    uint32_t row[SLOTS];
    uint64_t prefix[SLOTS];
};

struct inner {
    struct node keys;
    uint32_t child[SLOTS];
};

struct tree {
    uint32_t id;
    _Atomic uint32_t root;      /* offset of a node | levels of inner nodes above the leaves */
    bool has_comparator;
    _Alignas(LINE) _Atomic uint64_t rows;
    /* the writer's: where the last row was appended */
    uint32_t run_leaf;          /* 0: it was not */
    uint32_t run_high;          /* row at which its right neighbour begins, 0: there is none */
    uint32_t run_length;
};

/* Open addressing by id; at most half full. Replaced by a larger copy. */
struct directory {
    uint32_t size;              /* a power of two */
    uint32_t count;             /* the writer's */
    _Atomic uint32_t tree[];    /* 0: free */
};

/* Nodes to come, side by side: among the rows each would take a page of the processor's for itself. */
struct slab {
    uint32_t at, count;         /* offset of the next, and how many there are */
};

struct lsm_memtable {
    struct lsm_os *os;
    uint8_t **chunks;           /* the arena's, here so that readers stay off the line it writes */
    _Atomic uint32_t directory;
    atomic_uint refs;

    /* the writer's; the atomics are read by others too */
    _Alignas(LINE) struct lsm_arena arena;
    _Atomic uint64_t rows, bytes;
    uint32_t first, newest;     /* rows in the order they were added */
    uint32_t last_tree;         /* the tree added to last */
    bool has_void;
    struct slab leaves, inners;
    void *memory;               /* this struct's, unaligned */
};

_Static_assert(sizeof(struct row) == 24, "as memtable.h says");
_Static_assert(sizeof(struct node) == 3 * LINE, "three lines");
_Static_assert(sizeof(struct inner) == 4 * LINE, "four lines");

/* What is looked for: the first row at or after (key, tag), or after it. */
struct target {
    struct lsm_slice key;
    uint64_t tag;
    bool after;
    const struct lsm_comparator *cmp;
};

struct step {
    struct inner *node;
    uint64_t perm;
    uint32_t index;             /* of the child that was taken */
    uint32_t low, high;         /* rows that bound the node: [low, high); 0: none. The writer's */
};

struct path {
    struct step step[HEIGHT_MAX];
    uint32_t height;
    struct node *leaf;
    uint64_t perm;
    uint32_t leaf_off;
    uint32_t low, high;         /* the leaf's */
};

/* ---- nodes -------------------------------------------------------------- */

static inline void *at(const struct lsm_memtable *mem, uint32_t off)
{
    return mem->chunks[off >> LSM_ARENA_SHIFT] + (off & (LSM_ARENA_CHUNK - 1));
}

static inline struct row *row_at(const struct lsm_memtable *mem, uint32_t off)
{
    return at(mem, off);
}

static inline uint64_t row_tag(const struct row *row)
{
    return atomic_load_explicit(&row->tag, memory_order_relaxed);
}

static inline struct lsm_slice row_key(const struct row *row)
{
    return lsm_slice(row->bytes, row->key_size);
}

static inline struct lsm_slice row_value(const struct row *row)
{
    return lsm_slice(row->bytes + row->key_size, row->value_size);
}

static inline bool row_is_void(const struct row *row)
{
    return lsm_tag_kind(row_tag(row)) == LSM_KIND_VOID;
}

static inline uint32_t perm_count(uint64_t perm)
{
    return perm & 15;
}

static inline uint32_t perm_slot(uint64_t perm, uint32_t i)
{
    return (perm >> (4 + 4 * i)) & 15;
}

/* Slots 0, 1, 2 .. count - 1 in this order. */
static uint64_t perm_straight(uint32_t count)
{
    uint64_t keep = count < SLOTS ? (UINT64_C(1) << (4 + 4 * count)) - 1 : UINT64_MAX;

    return (UINT64_C(0xedcba98765432100) & keep) | count;
}

static uint64_t perm_insert(uint64_t perm, uint32_t i, uint32_t slot)
{
    uint64_t below = (UINT64_C(1) << (4 + 4 * i)) - 1;

    assert(perm_count(perm) < SLOTS);
    return ((perm & ~below) << 4 | (uint64_t)slot << (4 + 4 * i) | (perm & below)) + 1;
}

static uint64_t perm_replace(uint64_t perm, uint32_t i, uint32_t slot)
{
    return (perm & ~(UINT64_C(15) << (4 + 4 * i))) | (uint64_t)slot << (4 + 4 * i);
}

static inline uint64_t node_perm(const struct node *node)
{
    return atomic_load_explicit(&node->perm, memory_order_acquire);
}

static inline void prefetch_node(const void *node)
{
    const char *line = node;

    __builtin_prefetch(line);
    __builtin_prefetch(line + LINE);
    __builtin_prefetch(line + 2 * LINE);
}

static inline void prefetch_inner(const void *inner)
{
    prefetch_node(inner);
    __builtin_prefetch((const char *)inner + 3 * LINE);
}

/* The eight bytes behind the first `skip`. A comparator's order is not the bytes': all alike. */
static inline uint64_t key_prefix(const struct lsm_comparator *cmp, struct lsm_slice key,
                                  uint32_t skip)
{
    if (cmp || key.size <= skip)
        return 0;
    return lsm_slice_prefix(lsm_slice(key.data + skip, key.size - skip));
}

static inline int row_compare(const struct row *row, const struct target *t)
{
    return lsm_ikey_compare(t->cmp, row_key(row), row_tag(row), t->key, t->tag);
}

/* True: the row comes before the target, or is the target and `inclusive`. */
static inline bool row_is_before(const struct lsm_memtable *mem, uint32_t off,
                                 const struct target *t, bool inclusive)
{
    int c = row_compare(row_at(mem, off), t);

    return c < 0 || (c == 0 && inclusive);
}

/* Among keys [i, count) whose prefix is x or more: the first that is not before the target. */
static uint32_t rank_alike(const struct lsm_memtable *mem, const struct node *node, uint64_t perm,
                           uint32_t i, uint64_t x, const struct target *t, bool inclusive)
{
    uint32_t end = perm_count(perm);

    if (!row_is_before(mem, node->row[perm_slot(perm, i)], t, inclusive))
        return i;
    i++;
    while (i < end) {
        uint32_t middle = (i + end) / 2, slot = perm_slot(perm, middle);

        if (node->prefix[slot] == x && row_is_before(mem, node->row[slot], t, inclusive))
            i = middle + 1;
        else
            end = middle;
    }
    return i;
}

/*
 * How many keys from place `from` (0 or 1) on have a prefix below x. All 15
 * places are looked at, so that there is no branch to guess wrong; those behind
 * the last name slot 0.
 */
static inline uint32_t prefix_rank(const struct node *node, uint64_t perm, uint32_t from, uint64_t x)
{
    uint32_t i = 0;
    uint64_t rest = perm >> 4 * from;

    for (uint32_t n = from; n < SLOTS; n++) {
        rest >>= 4;
        i += node->prefix[rest & 15] < x;
    }
    return i - (SLOTS - perm_count(perm)) * (node->prefix[0] < x);
}

/* How many keys of a leaf are before the target. */
static inline uint32_t leaf_rank(const struct lsm_memtable *mem, const struct node *leaf,
                                 uint64_t perm, const struct target *t, uint64_t x)
{
    uint32_t count = perm_count(perm), i;

    if (count == 0)                     /* slot 0 may be in the writing */
        return 0;
    i = prefix_rank(leaf, perm, 0, x);
    if (i < count && leaf->prefix[perm_slot(perm, i)] == x)
        i = rank_alike(mem, leaf, perm, i, x, t, t->after);
    return i;
}

/* The child to go to: of the last key that is not after the target. The first key is not looked at:
   no target is before it, but at the left edge, where smaller ones belong to the first child too. */
static inline uint32_t inner_index(const struct lsm_memtable *mem, const struct node *keys,
                                   uint64_t perm, const struct target *t, uint64_t x)
{
    uint32_t i = 1 + prefix_rank(keys, perm, 1, x);

    if (i < perm_count(perm) && keys->prefix[perm_slot(perm, i)] == x)
        i = rank_alike(mem, keys, perm, i, x, t, true);
    return i - 1;
}

/* ---- trees -------------------------------------------------------------- */

static inline uint32_t directory_start(const struct directory *d, uint32_t id)
{
    return (id * UINT32_C(0x9e3779b1)) >> 7 & (d->size - 1);
}

static struct directory *directory_of(const struct lsm_memtable *mem)
{
    return at(mem, atomic_load_explicit(&mem->directory, memory_order_acquire));
}

static uint32_t tree_off(const struct lsm_memtable *mem, uint32_t id)
{
    const struct directory *d = directory_of(mem);

    for (uint32_t i = directory_start(d, id);; i = (i + 1) & (d->size - 1)) {
        uint32_t off = atomic_load_explicit(&d->tree[i], memory_order_acquire);

        if (off == 0 || ((const struct tree *)at(mem, off))->id == id)
            return off;
    }
}

static struct tree *tree_find(const struct lsm_memtable *mem, uint32_t id)
{
    uint32_t off = tree_off(mem, id);

    return off ? at(mem, off) : NULL;
}

static void directory_put(struct lsm_memtable *mem, struct directory *d, uint32_t off)
{
    uint32_t i = directory_start(d, ((const struct tree *)at(mem, off))->id);

    while (atomic_load_explicit(&d->tree[i], memory_order_relaxed))
        i = (i + 1) & (d->size - 1);
    atomic_store_explicit(&d->tree[i], off, memory_order_release);
    d->count++;
}

static uint32_t directory_new(struct lsm_memtable *mem, uint32_t size)
{
    uint32_t off = lsm_arena_alloc(&mem->arena, sizeof(struct directory) + size * sizeof(uint32_t),
                                   _Alignof(struct directory));
    struct directory *d;

    if (!off)
        return 0;
    d = (void *)lsm_arena_at(&mem->arena, off);
    d->size = size;
    d->count = 0;
    for (uint32_t i = 0; i < size; i++)
        atomic_init(&d->tree[i], 0);
    return off;
}

/* Room for one more tree. */
static bool directory_grow(struct lsm_memtable *mem)
{
    struct directory *old = directory_of(mem), *d;
    uint32_t off;

    if (2 * (old->count + 1) <= old->size)
        return true;
    off = directory_new(mem, old->size * 2);
    if (!off)
        return false;
    d = at(mem, off);
    for (uint32_t i = 0; i < old->size; i++) {
        uint32_t tree = atomic_load_explicit(&old->tree[i], memory_order_relaxed);

        if (tree)
            directory_put(mem, d, tree);
    }
    atomic_store_explicit(&mem->directory, off, memory_order_release);
    return true;
}

static uint32_t tree_add(struct lsm_memtable *mem, uint32_t id, bool has_comparator)
{
    uint32_t off, root;
    struct tree *tree;
    struct node *leaf;

    if (!directory_grow(mem))
        return 0;
    root = lsm_arena_alloc(&mem->arena, sizeof(struct node), LINE);
    off = root ? lsm_arena_alloc(&mem->arena, sizeof(struct tree), LINE) : 0;
    if (!off)
        return 0;
    leaf = at(mem, root);
    leaf->used = leaf->skip = 0;
    atomic_init(&leaf->perm, 0);
    tree = at(mem, off);
    tree->id = id;
    tree->has_comparator = has_comparator;
    tree->run_leaf = tree->run_high = tree->run_length = 0;
    atomic_init(&tree->rows, 0);
    atomic_init(&tree->root, root);
    directory_put(mem, directory_of(mem), off);
    return off;
}

/* ---- looking ------------------------------------------------------------ */

static void descend(const struct lsm_memtable *mem, const struct tree *tree,
                    const struct target *t, struct path *path)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);
    uint32_t off = root & ~(LINE - 1), low = 0, high = 0;

    path->height = root & (LINE - 1);
    for (uint32_t level = 0; level < path->height; level++) {
        struct step *step = &path->step[level];
        struct inner *node = at(mem, off);
        uint64_t perm = node_perm(&node->keys);
        uint32_t i = inner_index(mem, &node->keys, perm, t,
                                 key_prefix(t->cmp, t->key, node->keys.skip));

        *step = (struct step){ node, perm, i, low, high };
        off = node->child[perm_slot(perm, i)];
        prefetch_inner(at(mem, off));
        if (i)
            low = node->keys.row[perm_slot(perm, i)];
        if (i + 1 < perm_count(perm))
            high = node->keys.row[perm_slot(perm, i + 1)];
    }
    path->leaf_off = off;
    path->leaf = at(mem, off);
    path->perm = node_perm(path->leaf);
    path->low = low;
    path->high = high;
}

/*
 * The first row at or after the target, 0: none. False in *may_match: its key
 * is not the target's, as its prefix says already.
 *
 * The row that follows a leaf is the key at which its right neighbour begins,
 * and was seen on the way down.
 */
static uint32_t find_row(const struct lsm_memtable *mem, const struct tree *tree,
                         const struct target *t, bool *may_match)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);
    uint32_t off = root & ~(LINE - 1), high = 0, i, slot;
    bool high_matches = false;
    const struct node *leaf;
    uint64_t perm, x;

    for (uint32_t height = root & (LINE - 1); height; height--) {
        const struct inner *node = at(mem, off);

        perm = node_perm(&node->keys);
        x = key_prefix(t->cmp, t->key, node->keys.skip);
        i = inner_index(mem, &node->keys, perm, t, x);
        off = node->child[perm_slot(perm, i)];
        prefetch_inner(at(mem, off));
        if (i + 1 < perm_count(perm)) {
            slot = perm_slot(perm, i + 1);
            high = node->keys.row[slot];
            high_matches = node->keys.prefix[slot] == x;
        }
    }
    leaf = at(mem, off);
    perm = node_perm(leaf);
    x = key_prefix(t->cmp, t->key, leaf->skip);
    i = leaf_rank(mem, leaf, perm, t, x);
    if (i == perm_count(perm)) {
        *may_match = high_matches;
        return high;
    }
    slot = perm_slot(perm, i);
    *may_match = leaf->prefix[slot] == x;
    return leaf->row[slot];
}

/* ---- walking ------------------------------------------------------------ */

/* From the child that level `level` - 1 points to down to its first or last row. */
static void go_down(const struct lsm_memtable *mem, struct path *path, uint32_t level, bool last)
{
    const struct step *up = &path->step[level - 1];
    uint32_t off = up->node->child[perm_slot(up->perm, up->index)];

    for (; level < path->height; level++) {
        struct inner *node = at(mem, off);
        uint64_t perm = node_perm(&node->keys);
        uint32_t i = last ? perm_count(perm) - 1 : 0;

        path->step[level] = (struct step){ node, perm, i, 0, 0 };
        off = node->child[perm_slot(perm, i)];
    }
    path->leaf_off = off;
    path->leaf = at(mem, off);
    path->perm = node_perm(path->leaf);
}

static bool go_to_edge(const struct lsm_memtable *mem, const struct tree *tree, struct path *path,
                       bool last)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);
    uint32_t off = root & ~(LINE - 1);

    path->height = root & (LINE - 1);
    if (path->height) {
        struct inner *node = at(mem, off);
        uint64_t perm = node_perm(&node->keys);

        path->step[0] = (struct step){ node, perm, last ? perm_count(perm) - 1 : 0, 0, 0 };
        go_down(mem, path, 1, last);
    } else {
        path->leaf_off = off;
        path->leaf = at(mem, off);
        path->perm = node_perm(path->leaf);
    }
    return perm_count(path->perm) > 0;
}

/*
 * A walk touches each row once, in no order of memory. Two leaves ahead the
 * node is fetched, one leaf ahead its rows are.
 */
static void prefetch_ahead(const struct lsm_memtable *mem, const struct path *path, bool back)
{
    const struct step *up = &path->step[path->height - 1];
    uint32_t count = perm_count(up->perm);
    uint32_t one = back ? up->index - 1 : up->index + 1, two = back ? one - 1 : one + 1;

    if (two < count)                    /* also when it went below 0 */
        prefetch_node(at(mem, up->node->child[perm_slot(up->perm, two)]));
    if (one < count) {
        const struct node *leaf = at(mem, up->node->child[perm_slot(up->perm, one)]);
        uint32_t rows = perm_count(node_perm(leaf));

        for (uint32_t slot = 0; slot < rows; slot++) {
            const char *row = at(mem, leaf->row[slot]);

            __builtin_prefetch(row);
            __builtin_prefetch(row + LINE);
        }
    }
}

/* To the neighbour leaf; false: there is none, and the path is as it was. */
static bool go_aside(const struct lsm_memtable *mem, struct path *path, bool back)
{
    for (uint32_t level = path->height; level > 0; level--) {
        struct step *step = &path->step[level - 1];

        if (back ? step->index == 0 : step->index + 1 == perm_count(step->perm))
            continue;
        step->index += back ? UINT32_MAX : 1;
        go_down(mem, path, level, back);
        prefetch_ahead(mem, path, back);
        return true;
    }
    return false;
}

/* ---- building ----------------------------------------------------------- */

/* The keys of a node that is built anew, with what is added: one too many for a node. */
struct entries {
    uint32_t count;
    uint32_t row[SLOTS + 1], child[SLOTS + 1];
    uint64_t prefix[SLOTS + 1];
    uint32_t skip;              /* of the prefixes */
};

/* What a node became: a new node in its place (0: it stays), and one behind it (0: none). */
struct outcome {
    uint32_t left, right;
    uint32_t right_row;         /* the first of right */
};

/* At least `count` nodes in the slab; more in a larger memtable. */
static bool reserve(struct lsm_memtable *mem, struct slab *slab, uint32_t count, size_t size)
{
    uint64_t rows = atomic_load_explicit(&mem->rows, memory_order_relaxed);
    uint32_t more = (uint32_t)(rows / SLAB_SHARE < SLAB_MAX ? rows / SLAB_SHARE : SLAB_MAX), off;

    if (slab->count >= count)
        return true;
    if (more < count)
        more = count;
    off = lsm_arena_alloc(&mem->arena, more * size, LINE);
    if (!off)
        return false;
    *slab = (struct slab){ off, more };
    return true;
}

static uint32_t take(struct slab *slab, size_t size)
{
    uint32_t off = slab->at;

    assert(slab->count > 0);
    slab->at += (uint32_t)size;
    slab->count--;
    return off;
}

static void entries_insert(struct entries *e, uint32_t i, uint64_t prefix, uint32_t row,
                           uint32_t child)
{
    assert(e->count <= SLOTS);
    for (uint32_t k = e->count; k > i; k--) {
        e->prefix[k] = e->prefix[k - 1];
        e->row[k] = e->row[k - 1];
        e->child[k] = e->child[k - 1];
    }
    e->prefix[i] = prefix;
    e->row[i] = row;
    e->child[i] = child;
    e->count++;
}

/*
 * How many bytes the keys of [low, high) share. Looking at the bounds costs two
 * cache misses; it is done only where the prefixes have all but run out.
 */
static uint32_t choose_skip(const struct lsm_memtable *mem, const struct lsm_comparator *cmp,
                            const struct entries *e, uint32_t from, uint32_t to, uint32_t low,
                            uint32_t high)
{
    const struct row *a, *b;
    uint32_t n = 0, size;

    if (cmp || !low || !high || (e->prefix[from] ^ e->prefix[to - 1]) >> 16)
        return e->skip;
    a = row_at(mem, low);
    b = row_at(mem, high);
    size = a->key_size < b->key_size ? a->key_size : b->key_size;
    while (n < size && n < UINT16_MAX && a->bytes[n] == b->bytes[n])
        n++;
    assert(n >= e->skip);               /* these bounds lie within the former ones */
    return n;
}

/* A node, not yet reachable, of entries [from, to), which lie in [low, high). */
static uint32_t build_node(struct lsm_memtable *mem, const struct lsm_comparator *cmp,
                           const struct entries *e, uint32_t from, uint32_t to, bool is_leaf,
                           uint32_t low, uint32_t high)
{
    uint32_t off = is_leaf ? take(&mem->leaves, sizeof(struct node))
                           : take(&mem->inners, sizeof(struct inner));
    struct node *node = at(mem, off);
    uint32_t count = to - from;

    assert(count > 0);
    assert(count <= SLOTS);
    node->skip = (uint16_t)choose_skip(mem, cmp, e, from, to, low, high);
    node->used = (uint16_t)count;
    for (uint32_t i = 0; i < count; i++) {
        node->row[i] = e->row[from + i];
        node->prefix[i] = e->prefix[from + i];
        if (node->skip != e->skip)
            node->prefix[i] = key_prefix(cmp, row_key(row_at(mem, node->row[i])), node->skip);
    }
    if (!is_leaf)
        memcpy(((struct inner *)(void *)node)->child, e->child + from, count * sizeof(uint32_t));
    atomic_init(&node->perm, perm_straight(count));
    return off;
}

static struct outcome build_nodes(struct lsm_memtable *mem, const struct lsm_comparator *cmp,
                                  const struct entries *e, uint32_t live_max, bool is_leaf,
                                  uint32_t low, uint32_t high)
{
    uint32_t half = e->count / 2;
    struct outcome out = { 0, 0, 0 };

    if (e->count <= live_max) {
        out.left = build_node(mem, cmp, e, 0, e->count, is_leaf, low, high);
        return out;
    }
    out.right_row = e->row[half];
    out.left = build_node(mem, cmp, e, 0, half, is_leaf, low, out.right_row);
    out.right = build_node(mem, cmp, e, half, e->count, is_leaf, out.right_row, high);
    return out;
}

/* The full leaf at the end of the path, with the row at index i. */
static struct outcome split_leaf(struct lsm_memtable *mem, const struct target *t,
                                 const struct path *path, uint32_t i, uint64_t x, uint32_t row,
                                 bool append)
{
    const struct node *leaf = path->leaf;
    struct entries e;

    e.count = 0;
    e.skip = leaf->skip;
    for (uint32_t k = 0; k <= SLOTS; k++) {
        uint32_t slot = k < SLOTS ? perm_slot(path->perm, k) : 0;

        if (k == i)
            entries_insert(&e, e.count, x, row, 0);
        if (k < SLOTS && !(mem->has_void && row_is_void(row_at(mem, leaf->row[slot]))))
            entries_insert(&e, e.count, leaf->prefix[slot], leaf->row[slot], 0);
    }
    if (append && e.count > LEAF_LIVE_MAX) {
        struct outcome out = { 0, 0, row };

        out.right = build_node(mem, t->cmp, &e, e.count - 1, e.count, true, row, path->high);
        return out;
    }
    return build_nodes(mem, t->cmp, &e, mem->has_void ? LEAF_LIVE_MAX : 0, true, path->low,
                       path->high);
}

/* Bring a child's outcome into its parent. True: it is published; else *out is the parent's own. */
static bool change_inner(struct lsm_memtable *mem, const struct target *t, const struct step *step,
                         struct outcome *out)
{
    struct inner *node = step->node;
    struct node *keys = &node->keys;
    uint32_t i = step->index, slot = perm_slot(step->perm, i), count = perm_count(step->perm);
    uint64_t perm = step->perm, x = 0;
    struct entries e;

    if (out->right)
        x = key_prefix(t->cmp, row_key(row_at(mem, out->right_row)), keys->skip);

    if (keys->used + (out->left ? 1u : 0u) + (out->right ? 1u : 0u) <= SLOTS) {
        if (out->left) {
            uint32_t to = keys->used++;

            keys->row[to] = keys->row[slot];
            keys->prefix[to] = keys->prefix[slot];
            node->child[to] = out->left;
            perm = perm_replace(perm, i, to);
        }
        if (out->right) {
            uint32_t to = keys->used++;

            keys->row[to] = out->right_row;
            keys->prefix[to] = x;
            node->child[to] = out->right;
            perm = perm_insert(perm, i + 1, to);
        }
        atomic_store_explicit(&keys->perm, perm, memory_order_release);
        return true;
    }

    e.count = 0;
    e.skip = keys->skip;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t from = perm_slot(perm, k);

        entries_insert(&e, k, keys->prefix[from], keys->row[from], node->child[from]);
    }
    if (out->left)
        e.child[i] = out->left;
    if (out->right)
        entries_insert(&e, i + 1, x, out->right_row, out->right);

    if (!out->left && i + 1 == count && e.count > INNER_LIVE_MAX)      /* appended to */
        out->right = build_node(mem, t->cmp, &e, count, count + 1, false, out->right_row,
                                step->high);
    else
        *out = build_nodes(mem, t->cmp, &e, INNER_LIVE_MAX, false, step->low, step->high);
    return false;
}

/* The old root became `out`. */
static void change_root(struct lsm_memtable *mem, struct tree *tree, const struct target *t,
                        const struct path *path, const struct outcome *out)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_relaxed) & ~(LINE - 1);
    uint32_t left = out->left ? out->left : root, height = path->height;

    if (out->right) {
        const struct node *first = at(mem, left);
        uint32_t first_row = first->row[perm_slot(node_perm(first), 0)];
        struct entries e;

        assert(height + 1 < HEIGHT_MAX);
        e.count = e.skip = 0;
        entries_insert(&e, 0, key_prefix(t->cmp, row_key(row_at(mem, first_row)), 0), first_row,
                       left);
        entries_insert(&e, 1, key_prefix(t->cmp, row_key(row_at(mem, out->right_row)), 0),
                       out->right_row, out->right);
        left = build_node(mem, t->cmp, &e, 0, 2, false, 0, 0);
        height++;
    }
    atomic_store_explicit(&tree->root, left | height, memory_order_release);
}

/* ---- adding ------------------------------------------------------------- */

/* Remember that the last row went to the end of this leaf, or (0) that it did not. */
static void note_run(struct tree *tree, uint32_t leaf, uint32_t high)
{
    tree->run_length = leaf && leaf == tree->run_leaf ? tree->run_length + 1 : 1;
    tree->run_leaf = leaf;
    tree->run_high = high;
}

static void add_slot(struct node *leaf, uint64_t perm, uint32_t i, uint64_t x, uint32_t row)
{
    uint32_t slot = leaf->used;

    assert(slot == perm_count(perm));
    assert(slot < SLOTS);
    leaf->prefix[slot] = x;
    leaf->row[slot] = row;
    leaf->used++;
    atomic_store_explicit(&leaf->perm, perm_insert(perm, i, slot), memory_order_release);
}

/* The row goes behind the one before it, without a descent? */
static bool add_to_run(struct lsm_memtable *mem, struct tree *tree, const struct target *t,
                       uint32_t row)
{
    struct node *leaf;
    uint64_t perm, x;
    uint32_t last;

    if (!tree->run_leaf || (tree->run_high && tree->run_length < RUN_SURE))
        return false;
    leaf = at(mem, tree->run_leaf);
    perm = node_perm(leaf);
    if (perm_count(perm) == SLOTS)
        return false;
    last = perm_slot(perm, perm_count(perm) - 1);
    x = key_prefix(t->cmp, t->key, leaf->skip);
    if (leaf->skip == 0 && x != leaf->prefix[last]) {
        if (x < leaf->prefix[last])
            return false;
    } else if (!row_is_before(mem, leaf->row[last], t, false)) {
        return false;
    }
    if (tree->run_high && row_is_before(mem, tree->run_high, t, true))
        return false;
    add_slot(leaf, perm, perm_count(perm), x, row);
    tree->run_length++;
    return true;
}

static bool add_by_descent(struct lsm_memtable *mem, struct tree *tree, const struct target *t,
                           uint32_t row)
{
    struct path path;
    struct outcome out;
    uint64_t x;
    uint32_t i, count;
    bool append;

    descend(mem, tree, t, &path);
    x = key_prefix(t->cmp, t->key, path.leaf->skip);
    i = leaf_rank(mem, path.leaf, path.perm, t, x);
    count = perm_count(path.perm);
    if (count < SLOTS) {
        add_slot(path.leaf, path.perm, i, x, row);
        note_run(tree, i == count ? path.leaf_off : 0, path.high);
        return true;
    }

    if (!reserve(mem, &mem->leaves, 2, sizeof(struct node)) ||
        !reserve(mem, &mem->inners, 2 * path.height + 1, sizeof(struct inner)))
        return false;
    append = i == count && (!path.high || (tree->run_leaf == path.leaf_off &&
                                           tree->run_length >= RUN_SURE));
    out = split_leaf(mem, t, &path, i, x, row, append);
    if (append && !out.left) {
        note_run(tree, out.right, path.high);
        tree->run_length = RUN_SURE;
    } else {
        note_run(tree, 0, 0);           /* the leaf it would name is gone */
    }
    for (uint32_t level = path.height; level > 0; level--)
        if (change_inner(mem, t, &path.step[level - 1], &out))
            return true;
    change_root(mem, tree, t, &path, &out);
    return true;
}

static void count_bytes(struct lsm_memtable *mem)
{
    atomic_store_explicit(&mem->bytes, mem->arena.size_bytes + sizeof(*mem) + LINE,
                          memory_order_relaxed);
}

static void count_up(_Atomic uint64_t *counter)     /* one writer: no need for a locked add */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static int no_room(struct lsm_memtable *mem)
{
    count_bytes(mem);
    return lsm_nomem();
}

int lsm_memtable_add(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                     struct lsm_slice key, uint64_t tag, struct lsm_slice value)
{
    struct target t = { key, tag, false, cmp };
    struct tree *tree = mem->last_tree ? at(mem, mem->last_tree) : NULL;
    struct row *row;
    uint32_t off;

    assert(key.size <= LSM_KEY_SIZE_MAX);
    assert(value.size <= LSM_VALUE_SIZE_MAX);
    if (!tree || tree->id != id) {
        off = tree_off(mem, id);
        if (!off)
            off = tree_add(mem, id, cmp != NULL);
        if (!off)
            return no_room(mem);
        mem->last_tree = off;
        tree = at(mem, off);
    }
    assert(tree->has_comparator == (cmp != NULL));

    off = lsm_arena_alloc(&mem->arena, sizeof(*row) + key.size + value.size, 8);
    if (!off)
        return no_room(mem);
    row = row_at(mem, off);
    row->next = 0;
    row->tree = id;
    atomic_init(&row->tag, tag);
    row->key_size = (uint32_t)key.size;
    row->value_size = (uint32_t)value.size;
    if (key.size)
        memcpy(row->bytes, key.data, key.size);
    if (value.size)
        memcpy(row->bytes + key.size, value.data, value.size);
    if (lsm_tag_kind(tag) == LSM_KIND_VOID)
        mem->has_void = true;

    if (!add_to_run(mem, tree, &t, off) && !add_by_descent(mem, tree, &t, off))
        return no_room(mem);

    if (mem->newest)
        row_at(mem, mem->newest)->next = off;
    else
        mem->first = off;
    mem->newest = off;
    count_up(&mem->rows);
    count_up(&tree->rows);
    count_bytes(mem);
    return LSM_OK;
}

/* ---- the memtable ------------------------------------------------------- */

static bool begin(struct lsm_memtable *mem)
{
    uint32_t directory = directory_new(mem, DIRECTORY_FIRST);

    if (!directory)
        return false;
    mem->chunks = mem->arena.chunks;    /* there since the first allocation, and for good */
    atomic_store_explicit(&mem->directory, directory, memory_order_release);
    atomic_store_explicit(&mem->rows, 0, memory_order_relaxed);
    mem->first = mem->newest = mem->last_tree = 0;
    mem->has_void = false;
    mem->leaves = mem->inners = (struct slab){ 0, 0 };
    count_bytes(mem);
    return true;
}

int lsm_memtable_new(struct lsm_os *os, struct lsm_memtable **out)
{
    size_t size = sizeof(struct lsm_memtable) + LINE;
    uint8_t *memory = lsm_mem_zalloc(os, size);
    struct lsm_memtable *mem;

    *out = NULL;
    if (!memory)
        return lsm_nomem();
    mem = (void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
    mem->memory = memory;
    mem->os = os;
    atomic_init(&mem->refs, 1);
    lsm_arena_init(&mem->arena, os);
    if (!begin(mem)) {
        lsm_memtable_unref(mem);
        return lsm_nomem();
    }
    *out = mem;
    return LSM_OK;
}

void lsm_memtable_ref(struct lsm_memtable *mem)
{
    atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
}

void lsm_memtable_unref(struct lsm_memtable *mem)
{
    if (!mem || atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) != 1)
        return;
    lsm_arena_clear(&mem->arena);
    lsm_mem_free(mem->os, mem->memory);
}

bool lsm_memtable_is_shared(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->refs, memory_order_acquire) > 1;
}

void lsm_memtable_reset(struct lsm_memtable *mem)
{
    bool ok;

    assert(!lsm_memtable_is_shared(mem));
    lsm_arena_reset(&mem->arena);
    ok = begin(mem);
    assert(ok);                         /* the first chunk was kept */
    (void)ok;
}

uint64_t lsm_memtable_bytes(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->bytes, memory_order_relaxed);
}

uint64_t lsm_memtable_rows(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->rows, memory_order_relaxed);
}

uint64_t lsm_memtable_tree_rows(const struct lsm_memtable *mem, uint32_t id)
{
    const struct tree *tree = tree_find(mem, id);

    return tree ? atomic_load_explicit(&tree->rows, memory_order_relaxed) : 0;
}

bool lsm_memtable_has_tree(const struct lsm_memtable *mem, uint32_t id)
{
    const struct tree *tree = tree_find(mem, id);
    struct path path;

    if (!tree || !go_to_edge(mem, tree, &path, false))
        return false;
    do {
        for (uint32_t i = 0; i < perm_count(path.perm); i++)
            if (!row_is_void(row_at(mem, path.leaf->row[perm_slot(path.perm, i)])))
                return true;
    } while (go_aside(mem, &path, false));
    return false;
}

size_t lsm_memtable_trees(const struct lsm_memtable *mem, uint32_t *ids, size_t max)
{
    const struct directory *d = directory_of(mem);
    size_t count = 0, filled = 0;

    for (uint32_t i = 0; i < d->size; i++) {
        uint32_t off = atomic_load_explicit(&d->tree[i], memory_order_acquire);
        const struct tree *tree = off ? at(mem, off) : NULL;
        size_t k;

        if (!tree || atomic_load_explicit(&tree->rows, memory_order_relaxed) == 0)
            continue;
        count++;
        if (filled < max)
            filled++;
        else if (max == 0 || ids[max - 1] < tree->id)
            continue;
        for (k = filled - 1; k > 0 && ids[k - 1] > tree->id; k--)
            ids[k] = ids[k - 1];
        ids[k] = tree->id;
    }
    return count;
}

/* ---- reading ------------------------------------------------------------ */

/* The newest row of the target's key that is not void, from the target on; the slow way, which
   knows how to go on to the next leaf. */
static const struct row *skip_void(const struct lsm_memtable *mem, const struct tree *tree,
                                   const struct target *t)
{
    struct path path;
    uint32_t i;

    descend(mem, tree, t, &path);
    i = leaf_rank(mem, path.leaf, path.perm, t, key_prefix(t->cmp, t->key, path.leaf->skip));
    for (;; i++) {
        const struct row *row;

        if (i == perm_count(path.perm)) {
            if (!go_aside(mem, &path, false))
                return NULL;
            i = 0;
        }
        row = row_at(mem, path.leaf->row[perm_slot(path.perm, i)]);
        if (lsm_key_compare(t->cmp, row_key(row), t->key) != 0)
            return NULL;
        if (!row_is_void(row))
            return row;
    }
}

bool lsm_memtable_get(const struct lsm_memtable *mem, uint32_t id,
                      const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                      uint64_t seq_add, uint64_t *tag, struct lsm_slice *value)
{
    const struct tree *tree = tree_find(mem, id);
    const struct row *row;
    struct target t = { key, LSM_TAG_MAX, false, cmp };
    uint64_t row_tag_now;
    bool may_match;
    uint32_t off;

    if (!tree || seq_max < seq_add)
        return false;
    if (seq_max - seq_add <= LSM_SEQ_MAX)
        t.tag = (seq_max - seq_add) << 8 | 0xff;
    off = find_row(mem, tree, &t, &may_match);
    if (!off || !may_match)
        return false;
    row = row_at(mem, off);
    if (lsm_key_compare(cmp, row_key(row), key) != 0)
        return false;
    row_tag_now = row_tag(row);
    if (lsm_tag_kind(row_tag_now) == LSM_KIND_VOID) {
        row = skip_void(mem, tree, &t);
        if (!row)
            return false;
        row_tag_now = row_tag(row);
    }
    *tag = row_tag_now + (seq_add << 8);
    *value = row_value(row);
    return true;
}

struct mem_iter {
    struct lsm_iter base;
    struct lsm_memtable *mem;
    const struct lsm_comparator *cmp;
    const struct tree *tree;    /* NULL: had no rows when last looked for */
    uint32_t id;
    uint32_t index;             /* in the leaf */
    uint64_t tag_add;
    struct path path;
};

/* The row at the index, or the next that way which is not void. */
static void show(struct mem_iter *it, bool back)
{
    struct path *path = &it->path;

    for (;;) {
        const struct row *row;
        uint64_t tag;

        if (it->index >= perm_count(path->perm)) {      /* also below 0 */
            if (!go_aside(it->mem, path, back)) {
                it->base.valid = false;
                return;
            }
            it->index = back ? perm_count(path->perm) - 1 : 0;
        }
        row = row_at(it->mem, path->leaf->row[perm_slot(path->perm, it->index)]);
        tag = row_tag(row);
        if (lsm_tag_kind(tag) != LSM_KIND_VOID) {
            it->base.valid = true;
            it->base.key = row_key(row);
            it->base.tag = tag + it->tag_add;
            it->base.value = row_value(row);
            return;
        }
        it->index += back ? UINT32_MAX : 1;
    }
}

static bool has_tree(struct mem_iter *it)
{
    if (!it->tree)
        it->tree = tree_find(it->mem, it->id);
    it->base.valid = false;
    return it->tree != NULL;
}

static void mem_iter_edge(struct mem_iter *it, bool last)
{
    if (!has_tree(it) || !go_to_edge(it->mem, it->tree, &it->path, last))
        return;
    it->index = last ? perm_count(it->path.perm) - 1 : 0;
    show(it, last);
}

static void mem_iter_first(struct lsm_iter *base)
{
    mem_iter_edge((struct mem_iter *)base, false);
}

static void mem_iter_last(struct lsm_iter *base)
{
    mem_iter_edge((struct mem_iter *)base, true);
}

/* Rows that are smaller than the target, or equal with `after`, are before the index. */
static bool find_index(struct mem_iter *it, struct lsm_slice key, uint64_t tag, bool after)
{
    struct target t = { key, tag - it->tag_add, after, it->cmp };

    if (!has_tree(it))
        return false;
    if (tag < it->tag_add) {            /* older than every row here: behind the key's last */
        t.tag = 0;
        t.after = true;
    }
    descend(it->mem, it->tree, &t, &it->path);
    it->index = leaf_rank(it->mem, it->path.leaf, it->path.perm, &t,
                          key_prefix(t.cmp, key, it->path.leaf->skip));
    return true;
}

static void mem_iter_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct mem_iter *it = (struct mem_iter *)base;

    if (find_index(it, key, tag, false))
        show(it, false);
}

static void mem_iter_seek_prev(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct mem_iter *it = (struct mem_iter *)base;

    if (find_index(it, key, tag, true)) {
        it->index--;
        show(it, true);
    }
}

static void mem_iter_next(struct lsm_iter *base)
{
    struct mem_iter *it = (struct mem_iter *)base;

    assert(base->valid);
    it->index++;
    show(it, false);
}

static void mem_iter_prev(struct lsm_iter *base)
{
    struct mem_iter *it = (struct mem_iter *)base;

    assert(base->valid);
    it->index--;
    show(it, true);
}

static void mem_iter_close(struct lsm_iter *base)
{
    struct mem_iter *it = (struct mem_iter *)base;
    struct lsm_memtable *mem = it->mem;
    struct lsm_os *os = mem->os;

    lsm_memtable_unref(mem);
    lsm_mem_free(os, it);
}

int lsm_memtable_iter_new(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                          uint64_t seq_add, struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        mem_iter_first, mem_iter_last, mem_iter_seek, mem_iter_seek_prev,
        mem_iter_next, mem_iter_prev, mem_iter_close
    };
    struct mem_iter *it = lsm_mem_zalloc(mem->os, sizeof(*it));

    *out = NULL;
    if (!it)
        return lsm_nomem();
    lsm_memtable_ref(mem);
    it->base.methods = &methods;
    it->mem = mem;
    it->cmp = cmp;
    it->id = id;
    it->tag_add = seq_add << 8;
    it->tree = tree_find(mem, id);
    *out = &it->base;
    return LSM_OK;
}

/* ---- rows in the order they were added ---------------------------------- */

uint32_t lsm_memtable_newest(const struct lsm_memtable *mem)
{
    return mem->newest;
}

bool lsm_memtable_next_added(const struct lsm_memtable *mem, uint32_t off,
                             struct lsm_memtable_row *out)
{
    uint32_t next = off ? row_at(mem, off)->next : mem->first;
    const struct row *row;

    if (!next)
        return false;
    row = row_at(mem, next);
    out->off = next;
    out->tree = row->tree;
    out->tag = row_tag(row);
    out->key = row_key(row);
    out->value = row_value(row);
    return true;
}

void lsm_memtable_void(struct lsm_memtable *mem, uint32_t off)
{
    struct row *row = row_at(mem, off);

    atomic_store_explicit(&row->tag, lsm_tag(lsm_tag_seq(row_tag(row)), LSM_KIND_VOID),
                          memory_order_relaxed);
    mem->has_void = true;
}

/* ---- checking ----------------------------------------------------------- */

static int broken(uint32_t off, const char *why)
{
    assert(!why);
    return lsm_corrupt("memtable", off, why);
}

/* A subtree keeps its rows sorted and within [low, high); at the left edge an inner node's first key
   says nothing. The order that a comparator makes is not known here: such a tree is checked for
   the rest. */
static int check_node(const struct lsm_memtable *mem, const struct tree *tree, uint32_t off,
                      uint32_t height, uint32_t low, uint32_t high, uint64_t *rows)
{
    const struct node *node = at(mem, off);
    const struct inner *inner = at(mem, off);
    uint64_t perm = node_perm(node);
    uint32_t count = perm_count(perm), seen = 0;
    int rc = LSM_OK;

    if (off % LINE)
        return broken(off, "node is not on a line");
    if (node->used > SLOTS || count > node->used || (height == 0 && count != node->used))
        return broken(off, "more slots named than written");
    if (height && count == 0)
        return broken(off, "inner node without a child");
    for (uint32_t i = 0; i < count && rc == LSM_OK; i++) {
        uint32_t slot = perm_slot(perm, i), next = high;
        const struct row *row = row_at(mem, node->row[slot]), *bound;

        if (slot >= node->used || (seen & 1u << slot))
            return broken(off, "slot unwritten or named twice");
        seen |= 1u << slot;
        if (row->tree != tree->id)
            return broken(off, "row of another tree");
        if (i + 1 < count)
            next = node->row[perm_slot(perm, i + 1)];
        if (tree->has_comparator) {
            if (node->skip || node->prefix[slot])
                return broken(off, "prefix in a tree with a comparator");
        } else {
            if (node->prefix[slot] != key_prefix(NULL, row_key(row), node->skip))
                return broken(off, "prefix is not the key's");
            if (node->skip && (row->key_size < node->skip || !low ||
                               memcmp(row->bytes, row_at(mem, low)->bytes, node->skip) != 0))
                return broken(off, "row does not share the skipped bytes");
            bound = next && (height == 0 || i || low) ? row_at(mem, next) : NULL;
            if (bound && lsm_ikey_compare(NULL, row_key(row), row_tag(row), row_key(bound),
                                          row_tag(bound)) >= 0)
                return broken(off, "row not before the next one or its bound");
            bound = low && i == 0 ? row_at(mem, low) : NULL;
            if (bound && lsm_ikey_compare(NULL, row_key(row), row_tag(row), row_key(bound),
                                          row_tag(bound)) < 0)
                return broken(off, "row below its bound");
        }
        if (height)
            rc = check_node(mem, tree, inner->child[slot], height - 1,
                            i ? node->row[slot] : low, next, rows);
        else
            (*rows)++;
    }
    return rc;
}

int lsm_memtable_check(const struct lsm_memtable *mem)
{
    const struct directory *d = directory_of(mem);
    struct lsm_memtable_row row = { 0 };
    uint64_t reachable = 0, added = 0;
    int rc = LSM_OK;

    for (uint32_t i = 0; i < d->size && rc == LSM_OK; i++) {
        uint32_t off = atomic_load_explicit(&d->tree[i], memory_order_acquire);
        const struct tree *tree = off ? at(mem, off) : NULL;
        uint64_t rows = 0;
        uint32_t root;

        if (!tree)
            continue;
        root = atomic_load_explicit(&tree->root, memory_order_acquire);
        rc = check_node(mem, tree, root & ~(LINE - 1), root & (LINE - 1), 0, 0, &rows);
        if (rc == LSM_OK && rows > atomic_load_explicit(&tree->rows, memory_order_relaxed))
            rc = broken(off, "more rows than were added");
        reachable += rows;
    }
    while (rc == LSM_OK && lsm_memtable_next_added(mem, row.off, &row))
        added++;
    if (rc == LSM_OK && added != lsm_memtable_rows(mem))
        rc = broken(0, "rows lost from the list");
    if (rc == LSM_OK && (mem->has_void ? reachable > added : reachable != added))
        rc = broken(0, "rows lost from the trees");
    return rc;
}
