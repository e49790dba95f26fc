/*
 * memrange.c -- persistent treaps in the arena.
 *
 * To add [lo, hi)@seq: split at lo and at hi, drop what lies between, join with
 * a node for lo (seq holds from there on) and one for hi (what held there
 * before). Every node on the way is copied once, none is changed when the map's
 * root is in the history, which is published by its count.
 *
 * Threads: one writer. Readers load the history and its count with acquire.
 */
#include "lsm/store/memrange.h"

#include <assert.h>
#include <stdatomic.h>

struct node {
    uint32_t left, right;
    uint32_t bound;             /* offset of a row; | 1: its value, else its key */
    uint32_t priority;          /* above the children's */
    uint64_t seq;               /* of the delete that holds from here to the next bound; 0: none */
};

struct entry {
    uint64_t seq;
    uint32_t root, row;
};

struct lsm_memranges {          /* ascending by seq */
    _Atomic uint32_t count;
    uint32_t cap;
    struct entry entry[];
};

static struct node *node_at(const struct lsm_memspace *space, uint32_t off)
{
    return lsm_memspace_at(space, off);
}

static struct lsm_memranges *history(const struct lsm_memspace *space,
                                     const struct lsm_memtree *tree)
{
    uint32_t off = atomic_load_explicit(&tree->ranges, memory_order_acquire);

    return off ? lsm_memspace_at(space, off) : NULL;
}

static struct lsm_slice bound_key(const struct lsm_memspace *space, uint32_t bound)
{
    const struct lsm_memrow *row = lsm_memrow_at(space, bound & ~1u);

    return bound & 1 ? lsm_memrow_value(row) : lsm_memrow_key(row);
}

/* ---- the writer --------------------------------------------------------- */

struct writer {
    struct lsm_memspace *space;
    const struct lsm_comparator *cmp;
    bool failed;
    uint32_t first;             /* node made for this delete: it and what is above may be changed */
};

static uint32_t node_new(struct writer *w, struct node node)
{
    uint32_t off = w->failed ? 0
                             : lsm_arena_alloc(&w->space->arena, sizeof node, _Alignof(struct node));

    if (!off) {
        w->failed = true;
        return 0;
    }
    if (node.priority == 0) {           /* as good as random, and always the same */
        uint32_t x = off * UINT32_C(0x9e3779b1);
        x ^= x >> 15;
        x *= UINT32_C(0x85ebca77);
        node.priority = (x ^ x >> 13) | 1;
    }
    *node_at(w->space, off) = node;
    if (!w->first)
        w->first = off;
    return off;
}

/* The node itself if nobody else knows it, else a copy. Offsets of small allocations only grow. */
static uint32_t own(struct writer *w, uint32_t off)
{
    if (w->first && off >= w->first)
        return off;
    return node_new(w, *node_at(w->space, off));
}

/* Keys before `key` to *below, the others to *rest. */
static void split(struct writer *w, uint32_t t, struct lsm_slice key, uint32_t *below, uint32_t *rest)
{
    while (t) {
        uint32_t copy = own(w, t);

        if (!copy)
            break;
        struct node *n = node_at(w->space, copy);
        if (lsm_key_compare(w->cmp, bound_key(w->space, n->bound), key) < 0) {
            *below = copy;
            below = &n->right;
            t = n->right;
        } else {
            *rest = copy;
            rest = &n->left;
            t = n->left;
        }
    }
    *below = *rest = 0;
}

/* All keys of a are before those of b. */
static uint32_t join(struct writer *w, uint32_t a, uint32_t b)
{
    uint32_t top = 0, *slot = &top;

    while (a && b) {
        bool left = node_at(w->space, a)->priority > node_at(w->space, b)->priority;
        uint32_t copy = own(w, left ? a : b);

        if (!copy)
            return 0;
        struct node *n = node_at(w->space, copy);
        *slot = copy;
        if (left) {
            slot = &n->right;
            a = n->right;
        } else {
            slot = &n->left;
            b = n->left;
        }
    }
    *slot = a ? a : b;
    return top;
}

/* The nodes around `key`: the last at or before it, the first behind it. */
static void find(const struct lsm_memspace *space, uint32_t t, const struct lsm_comparator *cmp,
                 struct lsm_slice key, const struct node **at, const struct node **behind)
{
    *at = *behind = NULL;
    while (t) {
        const struct node *n = node_at(space, t);

        if (lsm_key_compare(cmp, bound_key(space, n->bound), key) <= 0) {
            *at = n;
            t = n->right;
        } else {
            *behind = n;
            t = n->left;
        }
    }
}

static uint32_t add_to(struct writer *w, uint32_t root, uint32_t row_off, uint64_t seq)
{
    const struct lsm_memrow *row = lsm_memrow_at(w->space, row_off);
    struct lsm_slice lo = lsm_memrow_key(row), hi = lsm_memrow_value(row);
    const struct node *before, *behind;
    uint32_t below, middle, above, begin, end = 0;

    find(w->space, root, w->cmp, hi, &before, &behind);
    split(w, root, lo, &below, &above);
    split(w, above, hi, &middle, &above);
    begin = node_new(w, (struct node){ .bound = row_off, .seq = seq });
    if (!before || lsm_key_compare(w->cmp, bound_key(w->space, before->bound), hi) != 0)
        end = node_new(w, (struct node){ .bound = row_off | 1, .seq = before ? before->seq : 0 });
    if (w->failed)
        return 0;
    root = join(w, join(w, below, begin), join(w, end, above));
    return w->failed ? 0 : root;
}

/* Room for one more entry. */
static struct lsm_memranges *grow(struct lsm_memspace *space, struct lsm_memtree *tree)
{
    struct lsm_memranges *old = history(space, tree), *ranges;
    uint32_t count = old ? atomic_load_explicit(&old->count, memory_order_relaxed) : 0, off, cap;

    if (old && count < old->cap)
        return old;
    cap = old ? 2 * old->cap : 4;
    off = lsm_arena_alloc(&space->arena, sizeof *ranges + cap * sizeof ranges->entry[0],
                          _Alignof(struct lsm_memranges));
    if (!off)
        return NULL;
    ranges = lsm_memspace_at(space, off);
    atomic_init(&ranges->count, count);
    ranges->cap = cap;
    for (uint32_t i = 0; i < count; i++)
        ranges->entry[i] = old->entry[i];
    atomic_store_explicit(&tree->ranges, off, memory_order_release);
    return ranges;
}

bool lsm_memrange_add(struct lsm_memspace *space, struct lsm_memtree *tree,
                      const struct lsm_comparator *cmp, uint32_t row, uint64_t seq)
{
    struct lsm_memranges *ranges = grow(space, tree);
    struct writer w = { space, cmp, false, 0 };
    uint32_t count, root;

    if (!ranges)
        return false;
    count = atomic_load_explicit(&ranges->count, memory_order_relaxed);
    if (count)
        assert(ranges->entry[count - 1].seq < seq);
    root = add_to(&w, count ? ranges->entry[count - 1].root : 0, row, seq);
    if (!root)
        return false;
    ranges->entry[count] = (struct entry){ seq, root, row };
    atomic_store_explicit(&ranges->count, count + 1, memory_order_release);
    return true;
}

/* How many entries have a seq up to seq_max. */
static uint32_t count_up_to(const struct lsm_memranges *ranges, uint64_t seq_max)
{
    uint32_t lo = 0, hi = atomic_load_explicit(&ranges->count, memory_order_acquire);

    if (hi && ranges->entry[hi - 1].seq <= seq_max)     /* nearly always */
        return hi;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (ranges->entry[mid].seq <= seq_max)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void lsm_memrange_cut(struct lsm_memspace *space, struct lsm_memtree *tree, uint64_t seq)
{
    struct lsm_memranges *ranges = history(space, tree);

    assert(seq > 0);
    if (ranges)
        atomic_store_explicit(&ranges->count, count_up_to(ranges, seq - 1), memory_order_release);
}

/* ---- readers ------------------------------------------------------------ */

void lsm_memrange_at(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                     const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                     struct lsm_stretch *stretch)
{
    const struct lsm_memranges *ranges = history(space, tree);
    uint32_t count = ranges ? count_up_to(ranges, seq_max) : 0;
    const struct node *at, *behind;

    *stretch = (struct lsm_stretch){ .seq = 0 };
    if (count == 0)
        return;
    find(space, ranges->entry[count - 1].root, cmp, key, &at, &behind);
    if (at) {
        stretch->lo = bound_key(space, at->bound);
        stretch->seq = at->seq;
    }
    if (behind)
        stretch->hi = bound_key(space, behind->bound);
}

uint32_t lsm_memrange_count(const struct lsm_memspace *space, const struct lsm_memtree *tree)
{
    const struct lsm_memranges *ranges = history(space, tree);

    return ranges ? atomic_load_explicit(&ranges->count, memory_order_acquire) : 0;
}

uint32_t lsm_memrange_row(const struct lsm_memspace *space, const struct lsm_memtree *tree,
                          uint32_t i)
{
    const struct lsm_memranges *ranges = history(space, tree);

    assert(i < atomic_load_explicit(&ranges->count, memory_order_relaxed));
    return ranges->entry[i].row;
}
