/*
 * memtree.c -- a B-tree whose every insert is one release store.
 *
 *     tree -> root -> inner -> inner -> leaf -> row
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
 * loaded their perms. A walk is therefore a path of perms; it never compares
 * keys to go on.
 *
 *     skip    all keys that a node can ever hold share so many first bytes (its
 *             bounds do), and prefix[] holds the eight bytes behind them; paths
 *             and composite keys would otherwise tell nothing in eight bytes
 *     append  a row behind all others of a leaf at the right edge, or of one that
 *             was appended to before, gets a new leaf and leaves the full one full
 *     run     the leaf that was appended to last is tried first: rows in order
 *             are added without a descent
 *     group   rows that are added together look for their leaves level by level, all of
 *             them at once: a leaf that is not in the cache is waited for together
 *     void    once rows were undone, a full leaf sheds its void rows before it
 *             splits, so that undoing again and again leaves no heap of them
 *
 * Offsets, not pointers: the arena may one day be memory shared by processes.
 *
 * Threads: one writer. Readers load root and perm with acquire; all else they
 * read was written before, but for tags (atomic: a row turns VOID).
 */
#include <assert.h>
#include <stdatomic.h>

#include "lsm/store/memtree.h"

#define SLOTS LSM_MEMTREE_SLOTS
#define LINE LSM_MEMTREE_LINE   /* a root's low bits are free for its height */
#define INNER_LIVE_MAX 14u      /* a full inner node with more keys splits, else it is copied */
#define LEAF_LIVE_MAX 11u       /* the same for a leaf that shed void rows */
#define SLAB_SHARE (1u << 14)   /* bytes of the arena for each node of a new slab */
#define SLAB_MAX 256u
#define RUN_SURE 2u             /* appends to a leaf before its right neighbour is looked at */

/* ---- nodes -------------------------------------------------------------- */

static inline void *at(const struct lsm_memspace *space, uint32_t off)
{
    return lsm_memspace_at(space, off);
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

static inline uint64_t node_perm(const struct lsm_memnode *node)
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

static inline int row_compare(const struct lsm_memrow *row, const struct lsm_memtarget *t)
{
    return lsm_ikey_compare(t->cmp, lsm_memrow_key(row), lsm_memrow_tag(row), t->key, t->tag);
}

/* True: the row comes before the target, or is the target and `inclusive`. */
static inline bool row_is_before(const struct lsm_memspace *space, uint32_t off,
                                 const struct lsm_memtarget *t, bool inclusive)
{
    int c = row_compare(lsm_memrow_at(space, off), t);

    return c < 0 || (c == 0 && inclusive);
}

/* Among keys [i, count) whose prefix is x or more: the first that is not before the target. */
static uint32_t rank_alike(const struct lsm_memspace *space, const struct lsm_memnode *node,
                           uint64_t perm, uint32_t i, uint64_t x, const struct lsm_memtarget *t,
                           bool inclusive)
{
    uint32_t end = perm_count(perm);

    if (!row_is_before(space, node->row[perm_slot(perm, i)], t, inclusive))
        return i;
    i++;
    while (i < end) {
        uint32_t middle = (i + end) / 2, slot = perm_slot(perm, middle);

        if (node->prefix[slot] == x && row_is_before(space, node->row[slot], t, inclusive))
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
static inline uint32_t prefix_rank(const struct lsm_memnode *node, uint64_t perm, uint32_t from,
                                   uint64_t x)
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
static inline uint32_t leaf_rank(const struct lsm_memspace *space, const struct lsm_memnode *leaf,
                                 uint64_t perm, const struct lsm_memtarget *t, uint64_t x)
{
    uint32_t count = perm_count(perm), i;

    if (count == 0)                     /* slot 0 may be in the writing */
        return 0;
    i = prefix_rank(leaf, perm, 0, x);
    if (i < count && leaf->prefix[perm_slot(perm, i)] == x)
        i = rank_alike(space, leaf, perm, i, x, t, t->after);
    return i;
}

/* The child to go to: of the last key that is not after the target. The first key is not looked at:
   no target is before it but at the left edge, and there the first child has what is smaller. */
static inline uint32_t inner_index(const struct lsm_memspace *space, const struct lsm_memnode *keys,
                                   uint64_t perm, const struct lsm_memtarget *t, uint64_t x)
{
    uint32_t i = 1 + prefix_rank(keys, perm, 1, x);

    if (i < perm_count(perm) && keys->prefix[perm_slot(perm, i)] == x)
        i = rank_alike(space, keys, perm, i, x, t, true);
    return i - 1;
}

/* ---- looking ------------------------------------------------------------ */

/* One level down: the path's step there, and its child's lines are asked for. */
static inline void step_down(const struct lsm_memspace *space, const struct lsm_memtarget *t,
                             struct lsm_mempath *path, uint32_t level)
{
    struct lsm_memstep *step = &path->step[level];
    struct lsm_meminner *node = at(space, path->leaf_off);
    uint64_t perm = node_perm(&node->keys);
    uint32_t i = inner_index(space, &node->keys, perm, t, key_prefix(t->cmp, t->key, node->keys.skip));

    *step = (struct lsm_memstep){ node, perm, i, path->low, path->high };
    path->leaf_off = node->child[perm_slot(perm, i)];
    prefetch_inner(at(space, path->leaf_off));
    if (i)
        path->low = node->keys.row[perm_slot(perm, i)];
    if (i + 1 < perm_count(perm))
        path->high = node->keys.row[perm_slot(perm, i + 1)];
}

static inline void start_down(uint32_t root, struct lsm_mempath *path)
{
    path->height = root & (LINE - 1);
    path->leaf_off = root & ~(LINE - 1);
    path->low = path->high = 0;
}

static inline void arrive(const struct lsm_memspace *space, struct lsm_mempath *path)
{
    path->leaf = at(space, path->leaf_off);
    path->perm = node_perm(path->leaf);
}

static void descend(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                    const struct lsm_memtarget *t, struct lsm_mempath *path)
{
    start_down(atomic_load_explicit(&tree->root, memory_order_acquire), path);
    for (uint32_t level = 0; level < path->height; level++)
        step_down(space, t, path, level);
    arrive(space, path);
}

/*
 * No path is kept. The row that follows a leaf is the key at which its right
 * neighbour begins, and was seen on the way down.
 */
uint32_t lsm_memtree_find(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          const struct lsm_memtarget *t, bool *may_match)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);
    uint32_t off = root & ~(LINE - 1), high = 0, i, slot;
    bool high_matches = false;
    const struct lsm_memnode *leaf;
    uint64_t perm, x;

    for (uint32_t height = root & (LINE - 1); height; height--) {
        const struct lsm_meminner *node = at(space, off);

        perm = node_perm(&node->keys);
        x = key_prefix(t->cmp, t->key, node->keys.skip);
        i = inner_index(space, &node->keys, perm, t, x);
        off = node->child[perm_slot(perm, i)];
        prefetch_inner(at(space, off));
        if (i + 1 < perm_count(perm)) {
            slot = perm_slot(perm, i + 1);
            high = node->keys.row[slot];
            high_matches = node->keys.prefix[slot] == x;
        }
    }
    leaf = at(space, off);
    perm = node_perm(leaf);
    x = key_prefix(t->cmp, t->key, leaf->skip);
    i = leaf_rank(space, leaf, perm, t, x);
    if (i == perm_count(perm)) {
        *may_match = high_matches;
        return high;
    }
    slot = perm_slot(perm, i);
    *may_match = leaf->prefix[slot] == x;
    return leaf->row[slot];
}

uint32_t lsm_memtree_seek(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          const struct lsm_memtarget *t, struct lsm_mempath *path)
{
    descend(space, tree, t, path);
    return leaf_rank(space, path->leaf, path->perm, t,
                     key_prefix(t->cmp, t->key, path->leaf->skip));
}

/* ---- walking ------------------------------------------------------------ */

/* From the child that level `level` - 1 points to down to its first or last row. */
static void go_down(const struct lsm_memspace *space, struct lsm_mempath *path, uint32_t level,
                    bool last)
{
    const struct lsm_memstep *up = &path->step[level - 1];
    uint32_t off = up->node->child[perm_slot(up->perm, up->index)];

    for (; level < path->height; level++) {
        struct lsm_meminner *node = at(space, off);
        uint64_t perm = node_perm(&node->keys);
        uint32_t i = last ? perm_count(perm) - 1 : 0;

        path->step[level] = (struct lsm_memstep){ node, perm, i, 0, 0 };
        off = node->child[perm_slot(perm, i)];
    }
    path->leaf_off = off;
    path->leaf = at(space, off);
    path->perm = node_perm(path->leaf);
}

bool lsm_memtree_edge(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                      struct lsm_mempath *path, bool last)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);
    uint32_t off = root & ~(LINE - 1);

    path->height = root & (LINE - 1);
    if (path->height) {
        struct lsm_meminner *node = at(space, off);
        uint64_t perm = node_perm(&node->keys);

        path->step[0] = (struct lsm_memstep){ node, perm, last ? perm_count(perm) - 1 : 0, 0, 0 };
        go_down(space, path, 1, last);
    } else {
        path->leaf_off = off;
        path->leaf = at(space, off);
        path->perm = node_perm(path->leaf);
    }
    return perm_count(path->perm) > 0;
}

/*
 * A walk touches each row once, in no order of memory. Two leaves ahead the
 * node is fetched, one leaf ahead its rows are.
 */
static void prefetch_ahead(const struct lsm_memspace *space, const struct lsm_mempath *path,
                           bool back)
{
    const struct lsm_memstep *up = &path->step[path->height - 1];
    uint32_t count = perm_count(up->perm);
    uint32_t one = back ? up->index - 1 : up->index + 1, two = back ? one - 1 : one + 1;

    if (two < count)                    /* also when it went below 0 */
        prefetch_node(at(space, up->node->child[perm_slot(up->perm, two)]));
    if (one < count) {
        const struct lsm_memnode *leaf = at(space, up->node->child[perm_slot(up->perm, one)]);
        uint32_t rows = perm_count(node_perm(leaf));

        for (uint32_t slot = 0; slot < rows; slot++) {
            const char *row = at(space, leaf->row[slot]);

            __builtin_prefetch(row);
            __builtin_prefetch(row + LINE);
        }
    }
}

bool lsm_mempath_aside(const struct lsm_memspace *space, struct lsm_mempath *path, bool back)
{
    for (uint32_t level = path->height; level > 0; level--) {
        struct lsm_memstep *step = &path->step[level - 1];

        if (back ? step->index == 0 : step->index + 1 == perm_count(step->perm))
            continue;
        step->index += back ? UINT32_MAX : 1;
        go_down(space, path, level, back);
        prefetch_ahead(space, path, back);
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
static bool reserve(struct lsm_memspace *space, struct lsm_memslab *slab, uint32_t count,
                    size_t size)
{
    uint64_t share = space->arena.size_bytes / SLAB_SHARE;
    uint32_t more = share < SLAB_MAX ? (uint32_t)share : SLAB_MAX, off;

    if (slab->count >= count)
        return true;
    if (more < count)
        more = count;
    off = lsm_arena_alloc(&space->arena, more * size, LINE);
    if (!off)
        return false;
    *slab = (struct lsm_memslab){ off, more };
    return true;
}

static uint32_t take(struct lsm_memslab *slab, size_t size)
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
static uint32_t choose_skip(const struct lsm_memspace *space, const struct lsm_comparator *cmp,
                            const struct entries *e, uint32_t from, uint32_t to, uint32_t low,
                            uint32_t high)
{
    const struct lsm_memrow *a, *b;
    uint32_t n = 0, size;

    if (cmp || !low || !high || (e->prefix[from] ^ e->prefix[to - 1]) >> 16)
        return e->skip;
    a = lsm_memrow_at(space, low);
    b = lsm_memrow_at(space, high);
    size = a->key_size < b->key_size ? a->key_size : b->key_size;
    while (n < size && n < UINT16_MAX && a->bytes[n] == b->bytes[n])
        n++;
    assert(n >= e->skip);               /* these bounds lie within the former ones */
    return n;
}

/* A node, not yet reachable, of entries [from, to), which lie in [low, high). */
static uint32_t build_node(struct lsm_memspace *space, const struct lsm_comparator *cmp,
                           const struct entries *e, uint32_t from, uint32_t to, bool is_leaf,
                           uint32_t low, uint32_t high)
{
    uint32_t off = is_leaf ? take(&space->leaves, sizeof(struct lsm_memnode))
                           : take(&space->inners, sizeof(struct lsm_meminner));
    struct lsm_memnode *node = at(space, off);
    uint32_t count = to - from;

    assert(count > 0);
    assert(count <= SLOTS);
    node->skip = (uint16_t)choose_skip(space, cmp, e, from, to, low, high);
    node->used = (uint16_t)count;
    for (uint32_t i = 0; i < count; i++) {
        node->row[i] = e->row[from + i];
        node->prefix[i] = e->prefix[from + i];
        if (node->skip != e->skip)
            node->prefix[i] =
                key_prefix(cmp, lsm_memrow_key(lsm_memrow_at(space, node->row[i])), node->skip);
    }
    if (!is_leaf)
        memcpy(((struct lsm_meminner *)(void *)node)->child, e->child + from,
               count * sizeof(uint32_t));
    atomic_init(&node->perm, perm_straight(count));
    return off;
}

static struct outcome build_nodes(struct lsm_memspace *space, const struct lsm_comparator *cmp,
                                  const struct entries *e, uint32_t live_max, bool is_leaf,
                                  uint32_t low, uint32_t high)
{
    uint32_t half = e->count / 2;
    struct outcome out = { 0, 0, 0 };

    if (e->count <= live_max) {
        out.left = build_node(space, cmp, e, 0, e->count, is_leaf, low, high);
        return out;
    }
    out.right_row = e->row[half];
    out.left = build_node(space, cmp, e, 0, half, is_leaf, low, out.right_row);
    out.right = build_node(space, cmp, e, half, e->count, is_leaf, out.right_row, high);
    return out;
}

/* The full leaf at the end of the path, with the row at index i. */
static struct outcome split_leaf(struct lsm_memspace *space, const struct lsm_memtarget *t,
                                 const struct lsm_mempath *path, uint32_t i, uint64_t x,
                                 uint32_t row, bool append)
{
    const struct lsm_memnode *leaf = path->leaf;
    struct entries e;

    e.count = 0;
    e.skip = leaf->skip;
    for (uint32_t k = 0; k <= SLOTS; k++) {
        uint32_t slot = k < SLOTS ? perm_slot(path->perm, k) : 0;

        if (k == i)
            entries_insert(&e, e.count, x, row, 0);
        if (k < SLOTS &&
            !(space->has_void && lsm_memrow_is_void(lsm_memrow_at(space, leaf->row[slot]))))
            entries_insert(&e, e.count, leaf->prefix[slot], leaf->row[slot], 0);
    }
    if (append && e.count > LEAF_LIVE_MAX) {
        struct outcome out = { 0, 0, row };

        out.right = build_node(space, t->cmp, &e, e.count - 1, e.count, true, row, path->high);
        return out;
    }
    return build_nodes(space, t->cmp, &e, space->has_void ? LEAF_LIVE_MAX : 0, true, path->low,
                       path->high);
}

/* Bring a child's outcome into its parent. True: it is published; else *out is the parent's own. */
static bool change_inner(struct lsm_memspace *space, const struct lsm_memtarget *t,
                         const struct lsm_memstep *step, struct outcome *out)
{
    struct lsm_meminner *node = step->node;
    struct lsm_memnode *keys = &node->keys;
    uint32_t i = step->index, slot = perm_slot(step->perm, i), count = perm_count(step->perm);
    uint64_t perm = step->perm, x = 0;
    struct entries e;

    if (out->right)
        x = key_prefix(t->cmp, lsm_memrow_key(lsm_memrow_at(space, out->right_row)), keys->skip);

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
        out->right = build_node(space, t->cmp, &e, count, count + 1, false, out->right_row,
                                step->high);
    else
        *out = build_nodes(space, t->cmp, &e, INNER_LIVE_MAX, false, step->low, step->high);
    return false;
}

/* The old root became `out`. */
static void change_root(struct lsm_memspace *space, struct lsm_memtree *tree,
                        const struct lsm_memtarget *t, const struct lsm_mempath *path,
                        const struct outcome *out)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_relaxed) & ~(LINE - 1);
    uint32_t left = out->left ? out->left : root, height = path->height;

    if (out->right) {
        const struct lsm_memnode *first = at(space, left);
        uint32_t first_row = first->row[perm_slot(node_perm(first), 0)];
        struct entries e;

        assert(height + 1 < LSM_MEMTREE_HEIGHT_MAX);
        e.count = e.skip = 0;
        entries_insert(&e, 0,
                       key_prefix(t->cmp, lsm_memrow_key(lsm_memrow_at(space, first_row)), 0),
                       first_row, left);
        entries_insert(&e, 1,
                       key_prefix(t->cmp, lsm_memrow_key(lsm_memrow_at(space, out->right_row)), 0),
                       out->right_row, out->right);
        left = build_node(space, t->cmp, &e, 0, 2, false, 0, 0);
        height++;
    }
    atomic_store_explicit(&tree->root, left | height, memory_order_release);
}

/* ---- adding ------------------------------------------------------------- */

/* Remember that the last row went to the end of this leaf, or (0) that it did not. */
static void note_run(struct lsm_memtree *tree, uint32_t leaf, uint32_t high)
{
    tree->run_length = leaf && leaf == tree->run_leaf ? tree->run_length + 1 : 1;
    tree->run_leaf = leaf;
    tree->run_high = high;
}

static void add_slot(struct lsm_memnode *leaf, uint64_t perm, uint32_t i, uint64_t x, uint32_t row)
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
static bool place_in_run(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                         const struct lsm_memtarget *t, struct lsm_memplace *place)
{
    struct lsm_memnode *leaf;
    uint64_t perm, x;
    uint32_t last;

    if (!tree->run_leaf || (tree->run_high && tree->run_length < RUN_SURE))
        return false;
    leaf = at(space, tree->run_leaf);
    perm = node_perm(leaf);
    if (perm_count(perm) == SLOTS)
        return false;
    last = perm_slot(perm, perm_count(perm) - 1);
    x = key_prefix(t->cmp, t->key, leaf->skip);
    if (leaf->skip == 0 && x != leaf->prefix[last]) {
        if (x < leaf->prefix[last])
            return false;
    } else if (!row_is_before(space, leaf->row[last], t, false)) {
        return false;
    }
    if (tree->run_high && row_is_before(space, tree->run_high, t, true))
        return false;
    place->path.leaf = leaf;
    place->path.leaf_off = tree->run_leaf;
    place->path.perm = perm;
    place->path.high = tree->run_high;
    place->index = perm_count(perm);
    place->prefix = x;
    place->in_run = true;
    return true;
}

void lsm_memtree_place(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                       const struct lsm_memtarget *t, struct lsm_memplace *place)
{
    place->root = 0;
    lsm_memtree_place_aimed(space, tree, t, place);
}

void lsm_memtree_aim(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                     const struct lsm_memtarget *targets, struct lsm_memplace *places, uint32_t count)
{
    bool in_run = tree->run_leaf && tree->run_length >= RUN_SURE;      /* no descent is to be expected */
    uint32_t root = in_run ? 0 : atomic_load_explicit(&tree->root, memory_order_acquire);

    for (uint32_t i = 0; i < count; i++) {
        start_down(root, &places[i].path);
        places[i].root = root;
    }
    for (uint32_t level = 0; level < (root & (LINE - 1)); level++)
        for (uint32_t i = 0; i < count; i++)
            step_down(space, &targets[i], &places[i].path, level);
}

/* Nothing on the way was replaced: a node that is replaced changes its parent's perm, a root the tree's word. */
static bool is_still_so(const struct lsm_memtree *tree, const struct lsm_memplace *place)
{
    const struct lsm_mempath *path = &place->path;

    if (!place->root || place->root != atomic_load_explicit(&tree->root, memory_order_relaxed))
        return false;
    for (uint32_t level = 0; level < path->height; level++)
        if (node_perm(&path->step[level].node->keys) != path->step[level].perm)
            return false;
    return true;
}

void lsm_memtree_place_aimed(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                             const struct lsm_memtarget *t, struct lsm_memplace *place)
{
    struct lsm_mempath *path = &place->path;
    bool is_aimed = is_still_so(tree, place);

    assert(tree->has_comparator == (t->cmp != NULL));
    if (place_in_run(space, tree, t, place))
        return;
    if (is_aimed)
        arrive(space, path);
    else
        descend(space, tree, t, path);
    place->prefix = key_prefix(t->cmp, t->key, path->leaf->skip);
    place->index = leaf_rank(space, path->leaf, path->perm, t, place->prefix);
    place->in_run = false;
}

/* Older rows of the key come right behind the target: the first of them stands at its place, or is
   where the leaf's right neighbour began when that was made. */
bool lsm_memtree_has_key(const struct lsm_memspace *space, const struct lsm_memtarget *t,
                         const struct lsm_memplace *place)
{
    const struct lsm_mempath *path = &place->path;
    uint32_t row = path->high;

    if (place->index < perm_count(path->perm)) {
        uint32_t slot = perm_slot(path->perm, place->index);

        if (path->leaf->prefix[slot] != place->prefix)
            return false;
        row = path->leaf->row[slot];
    }
    return row && lsm_key_compare(t->cmp, lsm_memrow_key(lsm_memrow_at(space, row)), t->key) == 0;
}

bool lsm_memtree_reserve(struct lsm_memspace *space, const struct lsm_memtree *tree)
{
    uint32_t height = atomic_load_explicit(&tree->root, memory_order_relaxed) & (LINE - 1);

    return reserve(space, &space->leaves, 2, sizeof(struct lsm_memnode)) &&
           reserve(space, &space->inners, 2 * height + 1, sizeof(struct lsm_meminner));
}

bool lsm_memtree_add(struct lsm_memspace *space, struct lsm_memtree *tree,
                     const struct lsm_memtarget *t, const struct lsm_memplace *place, uint32_t row)
{
    const struct lsm_mempath *path = &place->path;
    uint32_t i = place->index, count = perm_count(path->perm);
    struct outcome out;
    bool append;

    if (place->in_run) {
        add_slot(path->leaf, path->perm, i, place->prefix, row);
        tree->run_length++;
        return true;
    }
    if (count < SLOTS) {
        add_slot(path->leaf, path->perm, i, place->prefix, row);
        note_run(tree, i == count ? path->leaf_off : 0, path->high);
        return true;
    }

    if (!lsm_memtree_reserve(space, tree))
        return false;
    append = i == count && (!path->high || (tree->run_leaf == path->leaf_off &&
                                            tree->run_length >= RUN_SURE));
    out = split_leaf(space, t, path, i, place->prefix, row, append);
    if (append && !out.left) {
        note_run(tree, out.right, path->high);
        tree->run_length = RUN_SURE;
    } else {
        note_run(tree, 0, 0);           /* the leaf it would name is gone */
    }
    for (uint32_t level = path->height; level > 0; level--)
        if (change_inner(space, t, &path->step[level - 1], &out))
            return true;
    change_root(space, tree, t, path, &out);
    return true;
}

uint32_t lsm_memtree_new(struct lsm_memspace *space, uint32_t id, bool has_comparator)
{
    uint32_t root = lsm_arena_alloc(&space->arena, sizeof(struct lsm_memnode), LINE);
    uint32_t off = root ? lsm_arena_alloc(&space->arena, sizeof(struct lsm_memtree), LINE) : 0;
    struct lsm_memnode *leaf;
    struct lsm_memtree *tree;

    if (!off)
        return 0;
    leaf = at(space, root);
    leaf->used = leaf->skip = 0;
    atomic_init(&leaf->perm, 0);
    tree = at(space, off);
    tree->id = id;
    tree->has_comparator = has_comparator;
    tree->run_leaf = tree->run_high = tree->run_length = 0;
    atomic_init(&tree->rows, 0);
    atomic_init(&tree->root, root);
    atomic_init(&tree->ranges, 0);
    return off;
}

/* ---- checking ----------------------------------------------------------- */

static int broken(uint32_t off, const char *why)
{
    assert(!why);
    return lsm_corrupt("memtable", off, why);
}

/* A subtree keeps its rows sorted and within [low, high); at the left edge an inner node's first
   key says nothing. The order that a comparator makes is not known here: such a tree is checked for
   the rest. */
static int check_node(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                      uint32_t off, uint32_t height, uint32_t low, uint32_t high, uint64_t *rows)
{
    const struct lsm_memnode *node = at(space, off);
    const struct lsm_meminner *inner = at(space, off);
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
        const struct lsm_memrow *row = lsm_memrow_at(space, node->row[slot]), *bound;

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
            if (node->prefix[slot] != key_prefix(NULL, lsm_memrow_key(row), node->skip))
                return broken(off, "prefix is not the key's");
            if (node->skip &&
                (row->key_size < node->skip || !low ||
                 memcmp(row->bytes, lsm_memrow_at(space, low)->bytes, node->skip) != 0))
                return broken(off, "row does not share the skipped bytes");
            bound = next && (height == 0 || i || low) ? lsm_memrow_at(space, next) : NULL;
            if (bound && lsm_ikey_compare(NULL, lsm_memrow_key(row), lsm_memrow_tag(row),
                                          lsm_memrow_key(bound), lsm_memrow_tag(bound)) >= 0)
                return broken(off, "row not before the next one or its bound");
            bound = low && i == 0 ? lsm_memrow_at(space, low) : NULL;
            if (bound && lsm_ikey_compare(NULL, lsm_memrow_key(row), lsm_memrow_tag(row),
                                          lsm_memrow_key(bound), lsm_memrow_tag(bound)) < 0)
                return broken(off, "row below its bound");
        }
        if (height)
            rc = check_node(space, tree, inner->child[slot], height - 1,
                            i ? node->row[slot] : low, next, rows);
        else
            (*rows)++;
    }
    return rc;
}

int lsm_memtree_check(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                      uint64_t *rows)
{
    uint32_t root = atomic_load_explicit(&tree->root, memory_order_acquire);

    *rows = 0;
    return check_node(space, tree, root & ~(LINE - 1), root & (LINE - 1), 0, 0, rows);
}
