/*
 * version.c -- applying an edit, and counting who still has a run.
 *
 *     version --> tree version --> array of a level --> run
 *                                  (level.runs points into it)
 *
 * Each arrow is a counted reference; what an edit does not touch is shared at
 * the highest arrow possible. A run's file is obsolete when the last array that
 * has it goes, which is when the last version goes that has this array.
 *
 * apply() works on two sorted lists, additions and removals, and walks the
 * trees once, so that the edit of a whole store (a snapshot) costs n log n, and an
 * edit of three tables costs the levels that it touches. The edit may come from
 * a hostile file: nothing of it is believed before it fits.
 *
 * No libc sort: it may call malloc.
 */
#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/version/version.h"

#include "lsm/store/table.h"

struct run_array {
    atomic_uint refs;           /* tree versions that have it */
    uint32_t count;
    struct lsm_os *os;
    struct lsm_run *run[];
};

static void check_version(const struct lsm_version *v)
{
    assert(atomic_load_explicit(&v->refs, memory_order_relaxed) > 0);
    for (uint32_t i = 1; i < v->tree_count; i++)
        assert(v->trees[i - 1]->tree < v->trees[i]->tree);
    (void)v;
}

/* ---- references --------------------------------------------------------- */

static bool drop_ref(atomic_uint *refs)
{
    /* acq_rel: whoever frees has seen what all others did with it */
    unsigned before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);

    assert(before > 0);
    return before == 1;
}

static void add_ref(atomic_uint *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* `told_by`: whose callback hears of runs that die; NULL: nobody. */
static void run_unref(struct lsm_run *run, const struct lsm_version *told_by)
{
    if (!drop_ref(&run->refs))
        return;
    if (told_by && told_by->obsolete)
        told_by->obsolete(told_by->ctx, run);
    lsm_mem_free(run->os, run->vlogs);
    lsm_table_unkeep(atomic_load_explicit(&run->table, memory_order_acquire));
    lsm_mem_free(run->os, run);
}

static struct run_array *array_of(const struct lsm_level *level)
{
    return level->runs
        ? (struct run_array *)((char *)level->runs - offsetof(struct run_array, run)) : NULL;
}

static void array_unref(struct run_array *array, const struct lsm_version *told_by)
{
    if (!array || !drop_ref(&array->refs))
        return;
    for (uint32_t i = 0; i < array->count; i++)
        run_unref(array->run[i], told_by);
    lsm_mem_free(array->os, array);
}

static void tree_unref(struct lsm_tree_version *tree, const struct lsm_version *told_by)
{
    if (!drop_ref(&tree->refs))
        return;
    for (uint32_t i = 0; i < LSM_LEVEL_COUNT_MAX; i++)
        array_unref(array_of(&tree->level[i]), told_by);
    lsm_mem_free(tree->os, tree);
}

static void version_free(struct lsm_version *v, const struct lsm_version *told_by)
{
    for (uint32_t i = 0; i < v->tree_count; i++)
        tree_unref(v->trees[i], told_by);
    lsm_mem_free(v->os, v->trees);
    lsm_version_unref_vlogs(v, told_by);
    lsm_mem_free(v->os, v);
}

void lsm_version_ref(struct lsm_version *v)
{
    add_ref(&v->refs);
}

void lsm_version_unref(struct lsm_version *v)
{
    if (v && drop_ref(&v->refs))
        version_free(v, v);
}

int lsm_version_new(struct lsm_os *os, void (*obsolete)(void *ctx, const struct lsm_run *run),
                    const struct lsm_comparator *(*comparator)(void *ctx, uint32_t tree), void *ctx,
                    struct lsm_version **version)
{
    struct lsm_version *v = lsm_mem_zalloc(os, sizeof(*v));

    *version = v;
    if (!v)
        return lsm_nomem();
    atomic_init(&v->refs, 1);
    v->os = os;
    v->obsolete = obsolete;
    v->comparator = comparator;
    v->ctx = ctx;
    return LSM_OK;
}

/* ---- looking ------------------------------------------------------------ */

const struct lsm_tree_version *lsm_version_tree(const struct lsm_version *v, uint32_t tree)
{
    uint32_t lo = 0, hi = v->tree_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (v->trees[mid]->tree < tree)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->tree_count && v->trees[lo]->tree == tree ? v->trees[lo] : NULL;
}

uint32_t lsm_level_find(const struct lsm_level *level, const struct lsm_comparator *cmp,
                        struct lsm_slice key)
{
    uint32_t lo = 0, hi = level->count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (lsm_key_compare(cmp, level->runs[mid]->meta.largest, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool lsm_level_overlaps(const struct lsm_level *level, bool is_sorted,
                        const struct lsm_comparator *cmp, struct lsm_slice lo, struct lsm_slice hi)
{
    uint32_t i = is_sorted ? lsm_level_find(level, cmp, lo) : 0;
    uint32_t end = is_sorted && i < level->count ? i + 1 : level->count;

    for (; i < end; i++) {
        const struct lsm_table_meta *meta = &level->runs[i]->meta;

        if (lsm_key_compare(cmp, meta->largest, lo) >= 0 &&
            lsm_key_compare(cmp, meta->smallest, hi) <= 0)
            return true;
    }
    return false;
}

void lsm_version_to_edit(const struct lsm_version *v, struct lsm_edit *edit)
{
    for (uint32_t t = 0; t < v->tree_count; t++) {
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            const struct lsm_level *level = &v->trees[t]->level[l];

            for (uint32_t i = 0; i < level->count; i++)
                lsm_edit_add_table(edit, l, &level->runs[i]->meta);
        }
    }
    for (uint32_t i = 0; i < v->vlog_count; i++)
        lsm_edit_add_vlog(edit, &v->vlogs[i].file->meta);
}

/* ---- applying ----------------------------------------------------------- */

struct addition {
    const struct lsm_edit_table *table;
    struct lsm_run *run;
    const struct lsm_comparator *cmp;   /* of its tree */
    bool is_new;                /* we hold a reference; else the run moves, and base has it */
};

struct removal {
    uint32_t tree, level;
    uint64_t number;
    struct lsm_run *run;        /* in base; NULL: not found yet */
    uint32_t index;             /* in its level */
};

struct work {
    struct lsm_os *os;
    const struct lsm_version *base;
    struct addition *added;
    struct removal *removed;
    uint32_t *created, *dropped;        /* tree ids */
    size_t added_count, removed_count, created_count, dropped_count;
    size_t added_at, removed_at;        /* how far the walk over the trees has used them */
};

static int misfit(uint64_t number, const char *why)
{
    char name[LSM_FILENAME_SIZE];

    return lsm_corrupt(lsm_filename(name, LSM_FILE_TABLE, number), 0, why);
}

static int misfit_tree(const char *why)
{
    return lsm_corrupt("MANIFEST", 0, why);
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_ids(const void *a, const void *b)
{
    return compare_u64(*(const uint32_t *)a, *(const uint32_t *)b);
}

static int compare_added_numbers(const void *a, const void *b)
{
    const struct addition *x = a, *y = b;

    return compare_u64(x->table->meta.number, y->table->meta.number);
}

/* The order of runs within a level. */
static int compare_runs(const struct lsm_run *a, const struct lsm_run *b, uint32_t level,
                        const struct lsm_comparator *cmp)
{
    if (level > 0)
        return lsm_key_compare(cmp, a->meta.smallest, b->meta.smallest);
    if (a->meta.seq_max != b->meta.seq_max)
        return compare_u64(b->meta.seq_max, a->meta.seq_max);
    return compare_u64(b->meta.number, a->meta.number);
}

static int compare_added_places(const void *a, const void *b)
{
    const struct addition *x = a, *y = b;
    int c = compare_u64(x->table->meta.tree, y->table->meta.tree);

    if (c == 0)
        c = compare_u64(x->table->level, y->table->level);
    return c ? c : compare_runs(x->run, y->run, x->table->level, x->cmp);
}

static int compare_removed_numbers(const void *a, const void *b)
{
    const struct removal *x = a, *y = b;
    int c = compare_u64(x->tree, y->tree);

    return c ? c : compare_u64(x->number, y->number);
}

static int compare_removed_places(const void *a, const void *b)
{
    const struct removal *x = a, *y = b;
    int c = compare_u64(x->tree, y->tree);

    if (c == 0)
        c = compare_u64(x->level, y->level);
    return c ? c : compare_u64(x->index, y->index);
}

#define ITEM_SIZE_MAX 40u
_Static_assert(sizeof(struct addition) <= ITEM_SIZE_MAX, "swap() has room");
_Static_assert(sizeof(struct removal) <= ITEM_SIZE_MAX, "swap() has room");

static void swap(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t item[ITEM_SIZE_MAX];

    memcpy(item, a, size);
    memcpy(a, b, size);
    memcpy(b, item, size);
}

/* Heapsort; at once done with what is sorted, as snapshots are. */
static void sort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    uint8_t *p = items;
    size_t i;

    for (i = 1; i < count && compare(p + (i - 1) * size, p + i * size) <= 0; i++)
        ;
    if (i >= count)
        return;
    for (size_t root = count / 2, end = count; end > 1; ) {
        if (root > 0)
            root--;                             /* still building the heap */
        else
            swap(p, p + --end * size, size);
        for (size_t parent = root, child; (child = 2 * parent + 1) < end; parent = child) {
            if (child + 1 < end && compare(p + child * size, p + (child + 1) * size) < 0)
                child++;
            if (compare(p + parent * size, p + child * size) >= 0)
                break;
            swap(p + parent * size, p + child * size, size);
        }
    }
}

/* Runs of base that the edit removes: found in the levels that it names. */
static int find_removed(struct work *w)
{
    sort(w->removed, w->removed_count, sizeof(*w->removed), compare_removed_numbers);

    for (size_t i = 0, end; i < w->removed_count; i = end) {
        const struct lsm_tree_version *tree = lsm_version_tree(w->base, w->removed[i].tree);
        unsigned levels = 0;

        if (!tree)
            return misfit(w->removed[i].number, "removed from a tree that does not exist");
        for (end = i; end < w->removed_count && w->removed[end].tree == tree->tree; end++) {
            if (end > i && w->removed[end].number == w->removed[end - 1].number)
                return misfit(w->removed[end].number, "removed twice");
            levels |= 1u << w->removed[end].level;
        }
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            for (uint32_t k = 0; levels & 1u << l && k < tree->level[l].count; k++) {
                struct lsm_run *run = tree->level[l].runs[k];
                size_t lo = i, hi = end;

                while (lo < hi) {
                    size_t mid = lo + (hi - lo) / 2;

                    if (w->removed[mid].number < run->meta.number)
                        lo = mid + 1;
                    else
                        hi = mid;
                }
                if (lo < end && w->removed[lo].number == run->meta.number &&
                    w->removed[lo].level == l) {
                    w->removed[lo].run = run;
                    w->removed[lo].index = k;
                }
            }
        }
    }
    for (size_t i = 0; i < w->removed_count; i++) {
        if (!w->removed[i].run)
            return misfit(w->removed[i].number, "removed from a level that does not have it");
    }
    return LSM_OK;
}

/* The run that the edit takes out of the addition's tree under the same number, or NULL. */
static struct lsm_run *find_moved(const struct work *w, const struct lsm_table_meta *meta)
{
    const struct removal key = { .tree = meta->tree, .number = meta->number };
    size_t lo = 0, hi = w->removed_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare_removed_numbers(&w->removed[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < w->removed_count && compare_removed_numbers(&w->removed[lo], &key) == 0
        ? w->removed[lo].run : NULL;
}

static uint64_t sum_refs(struct lsm_slice refs)
{
    struct lsm_reader r = lsm_reader(refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0, sum = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last))
        sum += ref.bytes;
    return sum;
}

static struct lsm_run *run_new(struct lsm_os *os, const struct lsm_table_meta *meta)
{
    struct lsm_run *run = lsm_mem_zalloc(os, sizeof(*run) + meta->smallest.size +
                                             meta->largest.size + meta->refs.size);
    uint8_t *keys;

    if (!run)
        return NULL;
    keys = (uint8_t *)(run + 1);
    run->meta = *meta;
    run->os = os;
    atomic_init(&run->refs, 1);
    if (meta->smallest.size)
        memcpy(keys, meta->smallest.data, meta->smallest.size);
    run->meta.smallest.data = keys;
    keys += meta->smallest.size;
    if (meta->largest.size)
        memcpy(keys, meta->largest.data, meta->largest.size);
    run->meta.largest.data = keys;
    keys += meta->largest.size;
    if (meta->refs.size)
        memcpy(keys, meta->refs.data, meta->refs.size);
    run->meta.refs.data = keys;
    run->value_bytes = sum_refs(run->meta.refs);
    return run;
}

int lsm_run_new(struct lsm_os *os, const struct lsm_table_meta *meta, struct lsm_run **run)
{
    *run = run_new(os, meta);
    return *run ? LSM_OK : lsm_nomem();
}

int lsm_run_set_vlogs(struct lsm_run *run, const struct lsm_vlog_meta *vlogs, size_t count)
{
    assert(!run->vlogs);
    if (count == 0)
        return LSM_OK;
    if (count > UINT32_MAX)
        return misfit(run->meta.number, "it has more than 2^32 value logs");
    run->vlogs = lsm_mem_alloc(run->os, count * sizeof(*vlogs));
    if (!run->vlogs)
        return lsm_nomem();
    memcpy(run->vlogs, vlogs, count * sizeof(*vlogs));
    run->vlog_count = (uint32_t)count;
    return LSM_OK;
}

const struct lsm_vlog_meta *lsm_runs_vlog(struct lsm_run *const *runs, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < runs[i]->vlog_count; k++)
            if (runs[i]->vlogs[k].id == id)
                return &runs[i]->vlogs[k];
    return NULL;
}

void lsm_run_ref(struct lsm_run *run)
{
    add_ref(&run->refs);
}

void lsm_run_unref(struct lsm_run *run)
{
    if (run)
        run_unref(run, NULL);
}

/* No addition may have the number of a run that stays: its file would die with one of the two. */
static int check_numbers(const struct work *w)
{
    bool look = false;

    for (size_t i = 0; i < w->added_count; i++) {
        uint64_t number = w->added[i].table->meta.number;

        if (i > 0 && number == w->added[i - 1].table->meta.number)
            return misfit(number, "added twice");
        look |= w->added[i].is_new && number <= w->base->number_max;
    }
    for (uint32_t t = 0; look && t < w->base->tree_count; t++) {
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
            const struct lsm_level *level = &w->base->trees[t]->level[l];

            for (uint32_t k = 0; k < level->count; k++) {
                uint64_t number = level->runs[k]->meta.number;
                size_t lo = 0, hi = w->added_count;

                while (lo < hi) {
                    size_t mid = lo + (hi - lo) / 2;

                    if (w->added[mid].table->meta.number < number)
                        lo = mid + 1;
                    else
                        hi = mid;
                }
                if (lo < w->added_count && w->added[lo].table->meta.number == number &&
                    w->added[lo].is_new)
                    return misfit(number, "added, but it is there already");
            }
        }
    }
    return LSM_OK;
}

/* Give every addition its run. */
static int make_added(struct work *w)
{
    for (size_t i = 0; i < w->added_count; i++) {
        struct addition *a = &w->added[i];
        const struct lsm_table_meta *meta = &a->table->meta;

        if (w->base->comparator)
            a->cmp = w->base->comparator(w->base->ctx, meta->tree);
        if (lsm_key_compare(a->cmp, meta->smallest, meta->largest) > 0)
            return misfit(meta->number, "its smallest key is greater than its largest");
        a->run = find_moved(w, meta);
        if (a->run) {
            if (a->run->meta.size_bytes != meta->size_bytes ||
                a->run->meta.seq_max != meta->seq_max)
                return misfit(meta->number, "moved, but not the same afterwards");
            continue;
        }
        a->run = run_new(w->os, meta);
        if (!a->run)
            return lsm_nomem();
        a->is_new = true;
    }
    sort(w->added, w->added_count, sizeof(*w->added), compare_added_numbers);
    return check_numbers(w);
}

/* Where addition a belongs among the old runs from `lo` on. */
static uint32_t find_place(const struct lsm_level *old, uint32_t lo, const struct addition *a)
{
    uint32_t hi = old->count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (compare_runs(old->runs[mid], a->run, a->table->level, a->cmp) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Put `run` behind what the array has. check: it or the one before is new in a sorted level. */
static int put_run(struct run_array *array, struct lsm_run *run, bool check,
                   const struct lsm_comparator *cmp)
{
    if (check && array->count > 0) {
        const struct lsm_run *left = array->run[array->count - 1];

        if (lsm_key_compare(cmp, left->meta.largest, run->meta.smallest) >= 0)
            return misfit(run->meta.number, "its keys overlap those of its neighbour in the level");
    }
    add_ref(&run->refs);
    array->run[array->count++] = run;
    return LSM_OK;
}

/* old - removed + added, both in the order of the level. */
static int build_level(struct work *w, const struct lsm_level *old, const struct removal *removed,
                       size_t removed_count, const struct addition *added, size_t added_count,
                       struct lsm_level *level)
{
    size_t count = old->count - removed_count + added_count;
    struct run_array *array;
    size_t r = 0, a = 0;
    uint32_t at = 0;
    bool left_is_new = false;
    int rc = LSM_OK;

    assert(removed_count <= old->count);
    *level = (struct lsm_level){ .bytes = 0 };
    if (count == 0)
        return LSM_OK;
    level->bytes = old->bytes;
    level->range_deletes = old->range_deletes;
    level->value_bytes = old->value_bytes;
    if (count > UINT32_MAX)
        return misfit_tree("a level of more than 2^32 tables");
    array = lsm_mem_alloc(w->os, sizeof(*array) + count * sizeof(array->run[0]));
    if (!array)
        return lsm_nomem();
    atomic_init(&array->refs, 1);
    array->os = w->os;
    array->count = 0;
    level->runs = array->run;           /* from here on the tree's owner frees it */

    while (rc == LSM_OK && (at < old->count || a < added_count)) {
        uint32_t stop = a < added_count ? find_place(old, at, &added[a]) : old->count;

        for (; rc == LSM_OK && at < stop; at++) {
            if (r < removed_count && removed[r].index == at) {
                level->range_deletes -= removed[r].run->meta.range_deletes;
                level->value_bytes -= removed[r].run->value_bytes;
                level->bytes -= removed[r++].run->meta.size_bytes;
                continue;
            }
            /* left_is_new: only then is there an addition, and with it a comparator, to its left */
            rc = put_run(array, old->runs[at], left_is_new, left_is_new ? added[a - 1].cmp : NULL);
            left_is_new = false;
        }
        if (rc == LSM_OK && a < added_count) {
            bool is_sorted = added[a].table->level > 0;

            rc = put_run(array, added[a].run, is_sorted, added[a].cmp);
            level->bytes += added[a].run->meta.size_bytes;
            level->range_deletes += added[a].run->meta.range_deletes;
            level->value_bytes += added[a].run->value_bytes;
            left_is_new = is_sorted;
            a++;
        }
    }
    level->count = array->count;
    assert(rc != LSM_OK || (level->count == count && r == removed_count));
    return rc;
}

/* The tree with what the lists, which stand at it, hold for it; `old` NULL: a new tree. */
static int build_tree(struct work *w, const struct lsm_tree_version *old, uint32_t id,
                      struct lsm_tree_version **tree)
{
    static const struct lsm_level none;
    struct lsm_tree_version *t = lsm_mem_zalloc(w->os, sizeof(*t));
    int rc = LSM_OK;

    *tree = NULL;
    if (!t)
        return lsm_nomem();
    t->tree = id;
    t->os = w->os;
    atomic_init(&t->refs, 1);

    for (uint32_t l = 0; rc == LSM_OK && l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *level = old ? &old->level[l] : &none;
        size_t a = w->added_at, r = w->removed_at;

        while (w->added_at < w->added_count && w->added[w->added_at].table->meta.tree == id &&
               w->added[w->added_at].table->level == l)
            w->added_at++;
        while (w->removed_at < w->removed_count && w->removed[w->removed_at].tree == id &&
               w->removed[w->removed_at].level == l)
            w->removed_at++;
        if (a == w->added_at && r == w->removed_at) {
            t->level[l] = *level;
            if (level->runs)
                add_ref(&array_of(level)->refs);
        } else {
            rc = build_level(w, level, w->removed + r, w->removed_at - r, w->added + a,
                             w->added_at - a, &t->level[l]);
        }
    }
    if (rc != LSM_OK)
        tree_unref(t, NULL);
    else
        *tree = t;
    return rc;
}

static bool has_changes(const struct work *w, uint32_t tree)
{
    return (w->added_at < w->added_count && w->added[w->added_at].table->meta.tree == tree) ||
           (w->removed_at < w->removed_count && w->removed[w->removed_at].tree == tree);
}

/* Walk old and created trees in the order of their ids, with all lists alongside. */
static int build_trees(struct work *w, struct lsm_version *v)
{
    const struct lsm_version *base = w->base;
    uint32_t b = 0;
    size_t c = 0, d = 0;
    int rc;

    while (b < base->tree_count || c < w->created_count) {
        struct lsm_tree_version *old = b < base->tree_count ? base->trees[b] : NULL, *tree;
        uint32_t id;

        if (old && c < w->created_count && w->created[c] == old->tree)
            return misfit_tree("a tree is created that exists");
        if (c < w->created_count && (!old || w->created[c] < old->tree)) {
            id = w->created[c++];
            if (c < w->created_count && w->created[c] == id)
                return misfit_tree("a tree is created twice");
            old = NULL;
        } else {
            id = old->tree;
            b++;
        }
        if (old && d < w->dropped_count && w->dropped[d] == id) {
            d++;
            continue;           /* lists that hold something for it stand still: a misfit below */
        }
        if (old && !has_changes(w, id)) {
            add_ref(&old->refs);
            tree = old;
        } else {
            rc = build_tree(w, old, id, &tree);
            if (rc != LSM_OK)
                return rc;
        }
        v->trees[v->tree_count++] = tree;
    }
    if (d < w->dropped_count)
        return misfit_tree("a tree is dropped that does not exist");
    if (w->added_at < w->added_count)
        return misfit(w->added[w->added_at].table->meta.number,
                      "added to a tree that does not exist");
    if (w->removed_at < w->removed_count)
        return misfit(w->removed[w->removed_at].number, "removed from a tree that is dropped");
    return LSM_OK;
}

/* Copy the edit's lists into the work, to be sorted. */
static int take_lists(struct work *w, const struct lsm_edit *edit)
{
    w->added_count = lsm_edit_added_count(edit);
    w->removed_count = lsm_edit_removed_count(edit);
    w->created_count = lsm_edit_tree_count(edit);
    w->dropped_count = lsm_edit_dropped_count(edit);

    /* one byte more: a size of zero may be answered with NULL */
    w->added = lsm_mem_zalloc(w->os, w->added_count * sizeof(*w->added) + 1);
    w->removed = lsm_mem_zalloc(w->os, w->removed_count * sizeof(*w->removed) + 1);
    w->created = lsm_mem_zalloc(w->os, w->created_count * sizeof(*w->created) + 1);
    w->dropped = lsm_mem_zalloc(w->os, w->dropped_count * sizeof(*w->dropped) + 1);
    if (!w->added || !w->removed || !w->created || !w->dropped) {
        w->added_count = 0;     /* nothing of it may be released */
        return lsm_nomem();
    }
    for (size_t i = 0; i < w->added_count; i++)
        w->added[i].table = &lsm_edit_added(edit)[i];
    for (size_t i = 0; i < w->removed_count; i++) {
        const struct lsm_edit_table *table = &lsm_edit_removed(edit)[i];

        w->removed[i].tree = table->meta.tree;
        w->removed[i].level = table->level;
        w->removed[i].number = table->meta.number;
    }
    for (size_t i = 0; i < w->created_count; i++)
        w->created[i] = lsm_edit_trees(edit)[i].id;
    if (w->dropped_count)
        memcpy(w->dropped, lsm_edit_dropped(edit), w->dropped_count * sizeof(*w->dropped));
    sort(w->created, w->created_count, sizeof(*w->created), compare_ids);
    sort(w->dropped, w->dropped_count, sizeof(*w->dropped), compare_ids);
    return LSM_OK;
}

static int apply_vlogs(const struct work *w, struct lsm_version *v, const struct lsm_edit *edit)
{
    struct lsm_run **runs = lsm_mem_alloc(w->os, (w->removed_count + w->added_count) *
                                                     sizeof(*runs) + 1);
    int rc;

    if (!runs)
        return lsm_nomem();
    for (size_t i = 0; i < w->removed_count; i++)
        runs[i] = w->removed[i].run;
    for (size_t i = 0; i < w->added_count; i++)
        runs[w->removed_count + i] = w->added[i].run;
    rc = lsm_version_apply_vlogs(v, w->base, edit, runs, w->removed_count,
                                 runs + w->removed_count, w->added_count);
    lsm_mem_free(w->os, runs);
    return rc;
}

int lsm_version_apply(const struct lsm_version *base, const struct lsm_edit *edit,
                      struct lsm_version **version)
{
    struct work w = { .os = base->os, .base = base };
    struct lsm_version *v = NULL;
    int rc;

    check_version(base);
    assert(edit->rc == LSM_OK);
    *version = NULL;

    rc = take_lists(&w, edit);
    if (rc == LSM_OK)
        rc = find_removed(&w);
    if (rc == LSM_OK)
        rc = make_added(&w);
    if (rc == LSM_OK)
        rc = lsm_version_new(w.os, base->obsolete, base->comparator, base->ctx, &v);
    if (rc != LSM_OK)
        goto out;

    v->obsolete_vlog = base->obsolete_vlog;
    v->number_max = base->number_max;
    for (size_t i = 0; i < w.added_count; i++) {
        if (w.added[i].table->meta.number > v->number_max)
            v->number_max = w.added[i].table->meta.number;
    }
    sort(w.added, w.added_count, sizeof(*w.added), compare_added_places);
    sort(w.removed, w.removed_count, sizeof(*w.removed), compare_removed_places);
    if (base->tree_count + w.created_count > UINT32_MAX) {
        rc = misfit_tree("more than 2^32 trees");
        goto out;
    }
    v->trees = lsm_mem_zalloc(w.os, (base->tree_count + w.created_count) * sizeof(*v->trees) + 1);
    rc = v->trees ? build_trees(&w, v) : lsm_nomem();
    if (rc == LSM_OK)
        rc = apply_vlogs(&w, v, edit);
    if (rc == LSM_OK) {
        check_version(v);
        *version = v;
        v = NULL;
    }
out:
    for (size_t i = 0; i < w.added_count; i++) {
        if (w.added[i].is_new)
            run_unref(w.added[i].run, NULL);
    }
    if (v)
        version_free(v, NULL);
    lsm_mem_free(w.os, w.added);
    lsm_mem_free(w.os, w.removed);
    lsm_mem_free(w.os, w.created);
    lsm_mem_free(w.os, w.dropped);
    return rc;
}

int lsm_version_advance(struct lsm_version **version, const struct lsm_edit *edit)
{
    struct lsm_version *next;
    int rc = lsm_version_apply(*version, edit, &next);

    if (rc)
        return rc;
    lsm_version_unref(*version);
    *version = next;
    return LSM_OK;
}
