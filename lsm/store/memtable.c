/*
 * memtable.c -- the trees of a memtable, and what its users do with their rows.
 *
 *     directory -> tree (memtree.c) -> ... -> row -> row added next
 *
 * The directory is a hash table of trees by id; it is replaced by a larger copy,
 * never moved under a reader.
 *
 * Threads: one writer. Readers load the directory and its entries with acquire.
 */
#include <assert.h>
#include <stdatomic.h>

#include "lsm/store/memrange.h"
#include "lsm/store/memtable.h"
#include "lsm/store/memtree.h"

#define LINE LSM_MEMTREE_LINE
#define DIRECTORY_FIRST 8u
#define ROW_ALIGN 8u

_Static_assert(sizeof(struct lsm_memrow) + LSM_MEMTABLE_EXPECT_MAX + ROW_ALIGN <= LSM_ARENA_RESERVE_MAX,
               "an expected row fits in a chunk");

/* Open addressing by id; at most half full. */
struct directory {
    uint32_t size;              /* a power of two */
    uint32_t count;             /* the writer's */
    _Atomic uint32_t tree[];    /* 0: free */
};

struct lsm_memtable {
    struct lsm_os *os;
    void *memory;               /* this struct's, unaligned */
    _Atomic uint32_t directory;
    atomic_uint refs;
    struct lsm_memspace space;

    /* the writer's; the atomics are read by others too */
    _Atomic uint64_t rows, deletes, bytes, used_bytes;
    atomic_bool has_ranges;
    uint64_t range_rows;        /* rows that are range deletes, void ones too: in no tree */
    uint32_t first, newest;     /* rows in the order they were added */
    uint32_t last_tree;         /* the tree added to last */
    struct lsm_memplace place;  /* of the row that is expected */
};

static inline void *at(const struct lsm_memtable *mem, uint32_t off)
{
    return lsm_memspace_at(&mem->space, off);
}

static inline struct lsm_memrow *row_at(const struct lsm_memtable *mem, uint32_t off)
{
    return at(mem, off);
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

        if (off == 0 || ((const struct lsm_memtree *)at(mem, off))->id == id)
            return off;
    }
}

static struct lsm_memtree *tree_find(const struct lsm_memtable *mem, uint32_t id)
{
    uint32_t off = tree_off(mem, id);

    return off ? at(mem, off) : NULL;
}

static void directory_put(struct lsm_memtable *mem, struct directory *d, uint32_t off)
{
    uint32_t i = directory_start(d, ((const struct lsm_memtree *)at(mem, off))->id);

    while (atomic_load_explicit(&d->tree[i], memory_order_relaxed))
        i = (i + 1) & (d->size - 1);
    atomic_store_explicit(&d->tree[i], off, memory_order_release);
    d->count++;
}

static uint32_t directory_new(struct lsm_memtable *mem, uint32_t size)
{
    uint32_t off =
        lsm_arena_alloc(&mem->space.arena, sizeof(struct directory) + size * sizeof(uint32_t),
                        _Alignof(struct directory));
    struct directory *d;

    if (!off)
        return 0;
    d = (void *)lsm_arena_at(&mem->space.arena, off);
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
    uint32_t off = directory_grow(mem) ? lsm_memtree_new(&mem->space, id, has_comparator) : 0;

    if (off)
        directory_put(mem, directory_of(mem), off);
    return off;
}

/* ---- adding ------------------------------------------------------------- */

static void count_bytes(struct lsm_memtable *mem)
{
    atomic_store_explicit(&mem->bytes, mem->space.arena.size_bytes + sizeof(*mem) + LINE,
                          memory_order_relaxed);
    atomic_store_explicit(&mem->used_bytes, lsm_arena_used(&mem->space.arena) + sizeof(*mem) + LINE,
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

/* The tree to add to; NULL: no memory. */
static struct lsm_memtree *tree_to_add(struct lsm_memtable *mem, uint32_t id, bool has_comparator)
{
    struct lsm_memtree *tree = mem->last_tree ? at(mem, mem->last_tree) : NULL;
    uint32_t off;

    if (tree && tree->id == id)
        return tree;
    off = tree_off(mem, id);
    if (!off)
        off = tree_add(mem, id, has_comparator);
    if (!off)
        return NULL;
    mem->last_tree = off;
    return at(mem, off);
}

/* A row in the arena, in no tree and no list. 0: no memory. */
static uint32_t write_row(struct lsm_memtable *mem, uint32_t id, struct lsm_slice key, uint64_t tag,
                          struct lsm_slice value)
{
    uint32_t off = lsm_arena_alloc(&mem->space.arena,
                                   sizeof(struct lsm_memrow) + key.size + value.size, ROW_ALIGN);
    struct lsm_memrow *row;

    if (!off)
        return 0;
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
    return off;
}

/* The row is in its tree, or among its range deletes. */
static void list_row(struct lsm_memtable *mem, struct lsm_memtree *tree, uint32_t off)
{
    if (mem->newest)
        row_at(mem, mem->newest)->next = off;
    else
        mem->first = off;
    mem->newest = off;
    count_up(&mem->rows);
    if (lsm_tag_kind(atomic_load_explicit(&row_at(mem, off)->tag, memory_order_relaxed)) == LSM_KIND_DELETE)
        count_up(&mem->deletes);
    count_up(&tree->rows);
    count_bytes(mem);
}

int lsm_memtable_add(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                     struct lsm_slice key, uint64_t tag, struct lsm_slice value)
{
    struct lsm_memtarget t = { key, tag, false, cmp };
    struct lsm_memtree *tree = tree_to_add(mem, id, cmp != NULL);
    struct lsm_memplace place;
    uint32_t off;

    assert(key.size <= LSM_KEY_SIZE_MAX);
    assert(value.size <= LSM_VALUE_SIZE_MAX);
    off = tree ? write_row(mem, id, key, tag, value) : 0;
    if (!off)
        return no_room(mem);
    if (lsm_tag_kind(tag) == LSM_KIND_VOID)
        mem->space.has_void = true;

    if (lsm_tag_kind(tag) == LSM_KIND_RANGE_DELETE) {
        assert(lsm_key_compare(cmp, key, value) < 0);
        if (!lsm_memrange_add(&mem->space, tree, cmp, off, lsm_tag_seq(tag)))
            return no_room(mem);
        mem->range_rows++;
        atomic_store_explicit(&mem->has_ranges, true, memory_order_release);
    } else {
        lsm_memtree_place(&mem->space, tree, &t, &place);
        if (!lsm_memtree_add(&mem->space, tree, &t, &place, off))
            return no_room(mem);
    }
    list_row(mem, tree, off);
    return LSM_OK;
}

int lsm_memtable_expect(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp, struct lsm_slice key,
                        size_t value_size)
{
    struct lsm_memtarget t = { key, LSM_TAG_MAX, false, cmp };
    struct lsm_memtree *tree = tree_to_add(mem, id, cmp != NULL);

    assert(key.size + value_size <= LSM_MEMTABLE_EXPECT_MAX);
    /* The nodes first: they may use up the chunk that has room for the row. */
    if (!tree || !lsm_memtree_reserve(&mem->space, tree) ||
        !lsm_arena_reserve(&mem->space.arena, sizeof(struct lsm_memrow) + key.size + value_size + ROW_ALIGN))
        return no_room(mem);
    lsm_memtree_aim(&mem->space, tree, &t, &mem->place, 1);
    return LSM_OK;
}

void lsm_memtable_add_expected(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                               struct lsm_slice key, uint64_t tag, struct lsm_slice value)
{
    struct lsm_memtarget t = { key, tag, false, cmp };
    struct lsm_memtree *tree = tree_to_add(mem, id, cmp != NULL);
    uint32_t off = write_row(mem, id, key, tag, value);
    bool added;

    assert(off);
    assert(lsm_tag_kind(tag) < LSM_KIND_RANGE_DELETE);
    lsm_memtree_place_aimed(&mem->space, tree, &t, &mem->place);
    added = lsm_memtree_add(&mem->space, tree, &t, &mem->place, off);
    assert(added);
    (void)added;
    list_row(mem, tree, off);
}

int lsm_memtable_add_group(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                           const struct lsm_memtable_row *rows, uint32_t count)
{
    struct lsm_memtree *tree = tree_to_add(mem, id, cmp != NULL);
    struct lsm_memtarget targets[LSM_MEMTABLE_GROUP];
    struct lsm_memplace places[LSM_MEMTABLE_GROUP];

    assert(count <= LSM_MEMTABLE_GROUP);
    if (!tree)
        return no_room(mem);
    for (uint32_t i = 0; i < count; i++)
        targets[i] = (struct lsm_memtarget){ rows[i].key, rows[i].tag, false, cmp };
    lsm_memtree_aim(&mem->space, tree, targets, places, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t off = write_row(mem, id, rows[i].key, rows[i].tag, rows[i].value);
        if (!off)
            return no_room(mem);
        if (lsm_tag_kind(rows[i].tag) == LSM_KIND_VOID)
            mem->space.has_void = true;
        lsm_memtree_place_aimed(&mem->space, tree, &targets[i], &places[i]);
        if (!lsm_memtree_add(&mem->space, tree, &targets[i], &places[i], off))
            return no_room(mem);
        list_row(mem, tree, off);
    }
    return LSM_OK;
}

int lsm_memtable_add_first(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                           struct lsm_slice key, uint64_t tag, struct lsm_slice value)
{
    struct lsm_memtarget t = { key, tag, false, cmp };
    struct lsm_memtree *tree = tree_to_add(mem, id, cmp != NULL);
    struct lsm_memplace place;
    uint32_t off;

    assert(key.size <= LSM_KEY_SIZE_MAX);
    assert(value.size <= LSM_VALUE_SIZE_MAX);
    assert(lsm_tag_kind(tag) != LSM_KIND_RANGE_DELETE && lsm_tag_kind(tag) != LSM_KIND_VOID);
    if (!tree)
        return no_room(mem);
    lsm_memtree_place(&mem->space, tree, &t, &place);
    if (lsm_memtree_has_key(&mem->space, &t, &place))
        return LSM_EXISTS;
    off = write_row(mem, id, key, tag, value);
    if (!off || !lsm_memtree_add(&mem->space, tree, &t, &place, off))
        return no_room(mem);
    list_row(mem, tree, off);
    return LSM_OK;
}

/* ---- the memtable ------------------------------------------------------- */

static bool begin(struct lsm_memtable *mem)
{
    uint32_t directory = directory_new(mem, DIRECTORY_FIRST);

    if (!directory)
        return false;
    mem->space.chunks = mem->space.arena.chunks;    /* there from the first allocation on */
    atomic_store_explicit(&mem->directory, directory, memory_order_release);
    atomic_store_explicit(&mem->rows, 0, memory_order_relaxed);
    atomic_store_explicit(&mem->deletes, 0, memory_order_relaxed);
    mem->first = mem->newest = mem->last_tree = 0;
    mem->range_rows = 0;
    atomic_store_explicit(&mem->has_ranges, false, memory_order_relaxed);
    mem->space.has_void = false;
    mem->space.leaves = mem->space.inners = (struct lsm_memslab){ 0, 0 };
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
    lsm_arena_init(&mem->space.arena, os);
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
    lsm_arena_clear(&mem->space.arena);
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
    lsm_arena_reset(&mem->space.arena);
    ok = begin(mem);
    assert(ok);                         /* the first chunk was kept */
    (void)ok;
}

uint64_t lsm_memtable_bytes(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->bytes, memory_order_relaxed);
}

uint64_t lsm_memtable_used(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->used_bytes, memory_order_relaxed);
}

size_t lsm_memtable_next_memory(const struct lsm_memtable *mem)
{
    return lsm_arena_next_memory(&mem->space.arena);
}

uint64_t lsm_memtable_rows(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->rows, memory_order_relaxed);
}

uint64_t lsm_memtable_deletes(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->deletes, memory_order_relaxed);
}

uint64_t lsm_memtable_tree_rows(const struct lsm_memtable *mem, uint32_t id)
{
    const struct lsm_memtree *tree = tree_find(mem, id);

    return tree ? atomic_load_explicit(&tree->rows, memory_order_relaxed) : 0;
}

bool lsm_memtable_has_tree(const struct lsm_memtable *mem, uint32_t id)
{
    const struct lsm_memtree *tree = tree_find(mem, id);
    struct lsm_mempath path;

    if (tree && lsm_memrange_count(&mem->space, tree) > 0)
        return true;
    if (!tree || !lsm_memtree_edge(&mem->space, tree, &path, false))
        return false;
    do {
        for (uint32_t i = 0; i < lsm_mempath_count(&path); i++)
            if (!lsm_memrow_is_void(lsm_mempath_row(&mem->space, &path, i)))
                return true;
    } while (lsm_mempath_aside(&mem->space, &path, false));
    return false;
}

size_t lsm_memtable_trees(const struct lsm_memtable *mem, uint32_t *ids, size_t max)
{
    const struct directory *d = directory_of(mem);
    size_t count = 0, filled = 0;

    for (uint32_t i = 0; i < d->size; i++) {
        uint32_t off = atomic_load_explicit(&d->tree[i], memory_order_acquire);
        const struct lsm_memtree *tree = off ? at(mem, off) : NULL;
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
static const struct lsm_memrow *skip_void(const struct lsm_memtable *mem,
                                          const struct lsm_memtree *tree,
                                          const struct lsm_memtarget *t)
{
    struct lsm_mempath path;
    uint32_t i;

    i = lsm_memtree_seek(&mem->space, tree, t, &path);
    for (;; i++) {
        const struct lsm_memrow *row;

        if (i == lsm_mempath_count(&path)) {
            if (!lsm_mempath_aside(&mem->space, &path, false))
                return NULL;
            i = 0;
        }
        row = lsm_mempath_row(&mem->space, &path, i);
        if (lsm_key_compare(t->cmp, lsm_memrow_key(row), t->key) != 0)
            return NULL;
        if (!lsm_memrow_is_void(row))
            return row;
    }
}

bool lsm_memtable_get(const struct lsm_memtable *mem, uint32_t id,
                      const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                      uint64_t seq_add, uint64_t *tag, struct lsm_slice *value)
{
    const struct lsm_memtree *tree = tree_find(mem, id);
    const struct lsm_memrow *row;
    struct lsm_memtarget t = { key, LSM_TAG_MAX, false, cmp };
    uint64_t row_tag_now;
    bool may_match;
    uint32_t off;

    if (!tree || seq_max < seq_add)
        return false;
    if (seq_max - seq_add <= LSM_SEQ_MAX)
        t.tag = (seq_max - seq_add) << 8 | 0xff;
    off = lsm_memtree_find(&mem->space, tree, &t, &may_match);
    if (!off || !may_match)
        return false;
    row = row_at(mem, off);
    if (lsm_key_compare(cmp, lsm_memrow_key(row), key) != 0)
        return false;
    row_tag_now = lsm_memrow_tag(row);
    if (lsm_tag_kind(row_tag_now) == LSM_KIND_VOID) {
        row = skip_void(mem, tree, &t);
        if (!row)
            return false;
        row_tag_now = lsm_memrow_tag(row);
    }
    *tag = row_tag_now + (seq_add << 8);
    *value = lsm_memrow_value(row);
    return true;
}

void lsm_memtable_range_at(const struct lsm_memtable *mem, uint32_t id,
                           const struct lsm_comparator *cmp, struct lsm_slice key, uint64_t seq_max,
                           uint64_t seq_add, struct lsm_stretch *stretch)
{
    const struct lsm_memtree *tree = tree_find(mem, id);

    *stretch = (struct lsm_stretch){ .seq = 0 };
    if (!tree || seq_max < seq_add)
        return;
    lsm_memrange_at(&mem->space, tree, cmp, key, seq_max - seq_add, stretch);
    if (stretch->seq)
        stretch->seq += seq_add;
}

bool lsm_memtable_has_ranges(const struct lsm_memtable *mem)
{
    return atomic_load_explicit(&mem->has_ranges, memory_order_acquire);
}

uint32_t lsm_memtable_range_count(const struct lsm_memtable *mem, uint32_t id)
{
    const struct lsm_memtree *tree = tree_find(mem, id);

    return tree ? lsm_memrange_count(&mem->space, tree) : 0;
}

void lsm_memtable_range(const struct lsm_memtable *mem, uint32_t id, uint32_t i,
                        struct lsm_slice *lo, struct lsm_slice *hi, uint64_t *seq)
{
    const struct lsm_memrow *row =
        row_at(mem, lsm_memrange_row(&mem->space, tree_find(mem, id), i));

    *lo = lsm_memrow_key(row);
    *hi = lsm_memrow_value(row);
    *seq = lsm_tag_seq(lsm_memrow_tag(row));
}

struct mem_iter {
    struct lsm_iter base;
    struct lsm_memtable *mem;
    const struct lsm_comparator *cmp;
    const struct lsm_memtree *tree;    /* NULL: had no rows when last looked for */
    uint32_t id;
    uint32_t index;             /* in the leaf */
    uint64_t tag_add;
    struct lsm_mempath path;
};

/* The row at the index, or the next that way which is not void. */
static void show(struct mem_iter *it, bool back)
{
    struct lsm_mempath *path = &it->path;

    for (;;) {
        const struct lsm_memrow *row;
        uint64_t tag;

        if (it->index >= lsm_mempath_count(path)) {      /* also below 0 */
            if (!lsm_mempath_aside(&it->mem->space, path, back)) {
                it->base.valid = false;
                return;
            }
            it->index = back ? lsm_mempath_count(path) - 1 : 0;
        }
        row = lsm_mempath_row(&it->mem->space, path, it->index);
        tag = lsm_memrow_tag(row);
        if (lsm_tag_kind(tag) != LSM_KIND_VOID) {
            it->base.valid = true;
            it->base.key = lsm_memrow_key(row);
            it->base.tag = tag + it->tag_add;
            it->base.value = lsm_memrow_value(row);
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
    if (!has_tree(it) || !lsm_memtree_edge(&it->mem->space, it->tree, &it->path, last))
        return;
    it->index = last ? lsm_mempath_count(&it->path) - 1 : 0;
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
    struct lsm_memtarget t = { key, tag - it->tag_add, after, it->cmp };

    if (!has_tree(it))
        return false;
    if (tag < it->tag_add) {            /* older than every row here: behind the key's last */
        t.tag = 0;
        t.after = true;
    }
    it->index = lsm_memtree_seek(&it->mem->space, it->tree, &t, &it->path);
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

static bool mem_iter_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    struct lsm_memtable *mem = ((struct mem_iter *)base)->mem;

    lsm_memtable_ref(mem);
    *pin = (struct lsm_iter_pin){ .mem = mem };
    return true;
}

int lsm_memtable_iter_new(struct lsm_memtable *mem, uint32_t id, const struct lsm_comparator *cmp,
                          uint64_t seq_add, struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        .first = mem_iter_first, .last = mem_iter_last, .seek = mem_iter_seek, .seek_prev = mem_iter_seek_prev,
        .next = mem_iter_next, .prev = mem_iter_prev, .close = mem_iter_close, .pin = mem_iter_pin,
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
    const struct lsm_memrow *row;

    if (!next)
        return false;
    row = row_at(mem, next);
    out->off = next;
    out->tree = row->tree;
    out->tag = lsm_memrow_tag(row);
    out->key = lsm_memrow_key(row);
    out->value = lsm_memrow_value(row);
    return true;
}

void lsm_memtable_void(struct lsm_memtable *mem, uint32_t off)
{
    struct lsm_memrow *row = row_at(mem, off);
    uint64_t tag = lsm_memrow_tag(row);

    if (lsm_tag_kind(tag) == LSM_KIND_RANGE_DELETE)
        lsm_memrange_cut(&mem->space, tree_find(mem, row->tree), lsm_tag_seq(tag));
    atomic_store_explicit(&row->tag, lsm_tag(lsm_tag_seq(tag), LSM_KIND_VOID),
                          memory_order_relaxed);
    mem->space.has_void = true;
}

/* ---- checking ----------------------------------------------------------- */

static int broken(uint32_t off, const char *why)
{
    assert(!why);
    return lsm_corrupt("memtable", off, why);
}

int lsm_memtable_check(const struct lsm_memtable *mem)
{
    const struct directory *d = directory_of(mem);
    struct lsm_memtable_row row = { 0 };
    uint64_t reachable = 0, added = 0;
    int rc = LSM_OK;

    for (uint32_t i = 0; i < d->size && rc == LSM_OK; i++) {
        uint32_t off = atomic_load_explicit(&d->tree[i], memory_order_acquire);
        const struct lsm_memtree *tree = off ? at(mem, off) : NULL;
        uint64_t rows;

        if (!tree)
            continue;
        rc = lsm_memtree_check(&mem->space, tree, &rows);
        if (rc == LSM_OK && rows > atomic_load_explicit(&tree->rows, memory_order_relaxed))
            rc = broken(off, "more rows than were added");
        reachable += rows;
    }
    while (rc == LSM_OK && lsm_memtable_next_added(mem, row.off, &row))
        added++;
    if (rc == LSM_OK && added != lsm_memtable_rows(mem))
        rc = broken(0, "rows lost from the list");
    added -= mem->range_rows;
    if (rc == LSM_OK && (mem->space.has_void ? reachable > added : reachable != added))
        rc = broken(0, "rows lost from the trees");
    return rc;
}
