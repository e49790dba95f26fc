/*
 * view.c -- what a reader reads: units of rows in memory, newest first, and a
 * version of tables; and the merged iterator over them.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/version/merge.h"

/* ---- units ---- */

struct lsm_unit *lsm_unit_new(struct lsm_os *os)
{
    struct lsm_unit *unit = lsm_mem_zalloc(os, sizeof *unit);

    if (!unit)
        return NULL;
    atomic_init(&unit->refs, 1);
    unit->os = os;
    return unit;
}

void lsm_unit_unref(struct lsm_unit *unit)
{
    if (!unit || atomic_fetch_sub_explicit(&unit->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (unit->db) {
        struct lsm_db *db = unit->db;
        db->os->mutex_lock(db->obsolete_mutex);
        if (unit->prev)
            unit->prev->next = unit->next;
        else
            db->with_runs = unit->next;
        if (unit->next)
            unit->next->prev = unit->prev;
        atomic_store(&db->obsolete_fresh, true);        /* it may have kept files that are obsolete */
        db->os->mutex_unlock(db->obsolete_mutex);
    }
    lsm_memtable_unref(unit->mem);
    lsm_memfilter_clear(&unit->filter);
    for (uint32_t i = 0; i < unit->run_count; i++)
        lsm_run_unref(unit->runs[i]);
    lsm_mem_free(unit->os, unit->runs);
    lsm_mem_free(unit->os, unit);
}

/* ---- views ---- */

struct lsm_view *lsm_view_alloc(struct lsm_os *os)
{
    struct lsm_view *view = lsm_mem_zalloc(os, sizeof *view);

    if (view) {
        atomic_init(&view->refs, 1);
        view->os = os;
    }
    return view;
}

void lsm_view_fill(struct lsm_view *view, struct lsm_unit *newest, uint32_t unit_count,
                   struct lsm_version *version)
{
    struct lsm_unit *unit = newest;

    assert(!view->version);
    view->version = version;
    lsm_version_ref(version);
    view->newest = unit_count ? newest : NULL;
    view->unit_count = unit_count;
    for (uint32_t i = 0; i < unit_count; i++, unit = unit->older)
        atomic_fetch_add_explicit(&unit->refs, 1, memory_order_relaxed);
}

void lsm_view_unref(struct lsm_view *view)
{
    if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct lsm_unit *unit = view->newest;
    for (uint32_t i = 0; i < view->unit_count; i++) {
        struct lsm_unit *older = unit->older;
        lsm_unit_unref(unit);
        unit = older;
    }
    lsm_version_unref(view->version);
    lsm_mem_free(view->os, view);
}

uint64_t lsm_view_memory(const struct lsm_view *view)
{
    const struct lsm_unit *unit = view->newest;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older)
        if (unit->mem)
            bytes += lsm_memtable_bytes(unit->mem);
    return bytes;
}

uint64_t lsm_view_used(const struct lsm_view *view)
{
    const struct lsm_unit *unit = view->newest;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < view->unit_count; i++, unit = unit->older)
        if (unit->mem)
            bytes += lsm_memtable_used(unit->mem);
    return bytes;
}

/*
 * Readers take the current view with one addition: db->current is its address and, in the bits below, how many
 * took it. Who installs the next one learns from the same word how many that were, and counts them. Until
 * then their unrefs bring `refs` down, so that it begins far above what it stands for.
 *
 * Long before the count could run over into the address, whoever sees that moves it to `refs`: added there
 * first, so that the view never seems to have fewer references than it has.
 */
#define TAKEN_BITS 16
#define TAKEN_MASK ((UINT64_C(1) << TAKEN_BITS) - 1)
#define TAKEN_MOVE (UINT64_C(1) << 14)
#define CURRENT_REFS (INT64_C(1) << 40)

static struct lsm_view *view_of(uint64_t word)
{
    return (struct lsm_view *)(uintptr_t)(word >> TAKEN_BITS);
}

/* 0: an address of more bits than there is room for; readers take the mutex then. */
static uint64_t word_of(const struct lsm_view *view)
{
    uint64_t word = (uint64_t)(uintptr_t)view << TAKEN_BITS;

    return view_of(word) == view ? word : 0;
}

struct lsm_view *lsm_view_install(struct lsm_db *db, struct lsm_view *view)
{
    struct lsm_view *old = db->view;
    uint64_t word;

    if (view)
        atomic_fetch_add_explicit(&view->refs, CURRENT_REFS, memory_order_relaxed);
    db->view = view;
    word = atomic_exchange_explicit(&db->current, word_of(view), memory_order_acq_rel);
    if (old)
        atomic_fetch_add_explicit(&old->refs, (view_of(word) == old ? (int64_t)(word & TAKEN_MASK) : 0) - CURRENT_REFS,
                                  memory_order_acq_rel);
    return old;
}

/* This thread has a reference, so the view stays, and its address is no other's. */
static __attribute__((noinline)) void move_taken(struct lsm_db *db, uint64_t word)
{
    struct lsm_view *view = view_of(word);
    uint64_t taken = word & TAKEN_MASK;

    atomic_fetch_add_explicit(&view->refs, (int64_t)taken, memory_order_relaxed);
    while (view_of(word) == view && (word & TAKEN_MASK) >= taken)
        if (atomic_compare_exchange_weak_explicit(&db->current, &word, word - taken, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return;
    atomic_fetch_sub_explicit(&view->refs, (int64_t)taken, memory_order_acq_rel);     /* they were counted meanwhile */
}

static __attribute__((noinline)) struct lsm_view *take_locked(struct lsm_db *db)
{
    lsm_db_lock(db);
    struct lsm_view *view = db->view;
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    lsm_db_unlock(db);
    return view;
}

struct lsm_view *lsm_view_current(struct lsm_db *db)
{
    uint64_t word = atomic_load_explicit(&db->current, memory_order_relaxed);

    if (!view_of(word))
        return take_locked(db);
    word = atomic_fetch_add_explicit(&db->current, 1, memory_order_acquire) + 1;
    if (!view_of(word))
        return take_locked(db);
    if ((word & TAKEN_MASK) >= TAKEN_MOVE)
        move_taken(db, word);
    return view_of(word);
}

struct lsm_version *lsm_version_current(struct lsm_db *db)
{
    lsm_db_lock(db);
    struct lsm_version *version = db->view->version;
    lsm_version_ref(version);
    lsm_db_unlock(db);
    return version;
}

int lsm_read_usable(const struct lsm_db *db, const struct lsm_read *read)
{
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK && read && read->snapshot && read->snapshot->db != db)
        rc = lsm_fail(LSM_MISUSE, "%s: the snapshot is another store's", db->path);
    if (rc == LSM_OK && read && read->txn && read->txn->db != db)
        rc = lsm_fail(LSM_MISUSE, "%s: the transaction is another store's", db->path);
    return rc;
}

void lsm_view_point(struct lsm_db *db, const struct lsm_read *read, struct lsm_view_point *at)
{
    at->seq_max = read && read->snapshot
                      ? read->snapshot->seq
                      : atomic_load_explicit(&db->seq_published, memory_order_acquire);
    at->own_max = read && read->txn ? LSM_SEQ_OWN + read->txn->batch.op_next - 1 : 0;
}

/* ---- the iterator over a view ---- */

/* A level below 0 of a tree, for lsm_level_iter. The view keeps the runs alive. */
struct level_ctx {
    struct lsm_db *db;
    struct lsm_tree *tree;
    const struct lsm_level *level;
    bool no_cache;
};

/* cover: gets the table's range deletes; or NULL. */
static int open_run(struct lsm_db *db, const struct lsm_run *run, struct lsm_tree *tree, bool no_cache,
                    struct lsm_cover *cover, struct lsm_iter **it)
{
    struct lsm_table *table;
    int rc = lsm_tables_get(db->tables, &run->meta, tree->cmp, &table);

    if (rc)
        return rc;
    if (cover && run->meta.range_deletes)
        rc = lsm_cover_add_table(cover, table, run->meta.seq_add);
    if (rc == LSM_OK)
        rc = lsm_table_iter_new(table, no_cache, it);
    lsm_table_unref(table);
    return rc;
}

static int open_cover(void *ctx, const struct lsm_run *run, struct lsm_table **table)
{
    struct lsm_tree *tree = ctx;
    return lsm_tables_get(tree->db->tables, &run->meta, tree->cmp, table);
}

static int level_open(void *ctx, uint32_t i, struct lsm_iter **it)
{
    struct level_ctx *l = ctx;
    return open_run(l->db, l->level->runs[i], l->tree, l->no_cache, NULL, it);
}

static int level_reopen(void *ctx, uint32_t i, struct lsm_iter *it)
{
    struct level_ctx *l = ctx;
    struct lsm_run *run = l->level->runs[i];
    struct lsm_table *table;
    bool is_kept;
    int rc = lsm_tables_get_kept(l->db->tables, &run->meta, l->tree->cmp, &run->table, &table, &is_kept);

    if (rc)
        return rc;
    lsm_table_iter_reopen(it, table);
    if (!is_kept)
        lsm_table_unref(table);
    return LSM_OK;
}

static uint32_t level_find(void *ctx, struct lsm_slice key)
{
    struct level_ctx *l = ctx;
    return lsm_level_find(l->level, l->tree->cmp, key);
}

static void level_close(void *ctx)
{
    struct level_ctx *l = ctx;
    lsm_mem_free(l->db->os, l);
}

struct sources {                /* from the newest to the oldest */
    struct lsm_os *os;
    struct lsm_iter **list;
    size_t count, cap;
    struct lsm_cover *cover;    /* NULL: no range delete so far */
};

static int sources_room(struct sources *s)
{
    if (s->count < s->cap)
        return LSM_OK;
    size_t cap = s->cap ? 2 * s->cap : 16;
    void *more = s->os->mem_realloc(s->os, s->list, cap * sizeof *s->list);
    if (!more)
        return lsm_nomem();
    s->list = more;
    s->cap = cap;
    return LSM_OK;
}

/* There are range deletes: from here on places are filtered. */
static int need_cover(struct sources *s, const struct lsm_comparator *cmp)
{
    if (!s->cover)
        s->cover = lsm_cover_new(s->os, cmp);
    return s->cover ? LSM_OK : lsm_nomem();
}

/* How many places had range deletes before the one that is being added. */
static uint32_t covered(const struct sources *s)
{
    return s->cover ? lsm_cover_count(s->cover) : 0;
}

/* The source that was opened counts. newer: covered() before it. */
static int take(struct sources *s, uint32_t newer)
{
    int rc = LSM_OK;

    if (covered(s) > 0)
        rc = lsm_cover_filter(s->cover, newer, covered(s) > newer, &s->list[s->count]);
    if (rc == LSM_OK)
        s->count++;
    return rc;
}

static int add_mem(struct sources *s, struct lsm_memtable *mem, struct lsm_tree *tree, uint64_t seq_add)
{
    uint32_t newer = covered(s);
    int rc;

    if (!mem)
        return LSM_OK;
    if (lsm_memtable_tree_rows(mem, tree->id) == 0 && seq_add != LSM_SEQ_OWN)
        return LSM_OK;          /* rows that come later are not for this reader */
    rc = sources_room(s);
    if (rc == LSM_OK && lsm_memtable_has_ranges(mem) && lsm_memtable_range_count(mem, tree->id)) {
        rc = need_cover(s, tree->cmp);
        if (rc == LSM_OK)
            rc = lsm_cover_add_memtable(s->cover, mem, tree->id, seq_add);
    }
    if (rc == LSM_OK)
        rc = lsm_memtable_iter_new(mem, tree->id, tree->cmp, seq_add, &s->list[s->count]);
    return rc ? rc : take(s, newer);
}

static int add_run(struct sources *s, struct lsm_db *db, struct lsm_tree *tree, struct lsm_run *run,
                   bool no_cache)
{
    uint32_t newer = covered(s);
    int rc;

    if (run->meta.tree != tree->id)
        return LSM_OK;
    rc = sources_room(s);
    if (rc == LSM_OK && run->meta.range_deletes)
        rc = need_cover(s, tree->cmp);
    if (rc == LSM_OK)
        rc = open_run(db, run, tree, no_cache, s->cover, &s->list[s->count]);
    return rc ? rc : take(s, newer);
}

static int add_runs(struct sources *s, struct lsm_db *db, struct lsm_tree *tree,
                    struct lsm_run *const *runs, uint32_t count, bool no_cache)
{
    int rc = LSM_OK;

    for (uint32_t i = 0; i < count && rc == LSM_OK; i++)
        rc = add_run(s, db, tree, runs[i], no_cache);
    return rc;
}

static int add_level(struct sources *s, struct lsm_db *db, struct lsm_tree *tree,
                     const struct lsm_level *level, bool no_cache)
{
    struct level_ctx *ctx = lsm_mem_alloc(db->os, sizeof *ctx);
    uint32_t newer = covered(s);
    int rc = ctx ? sources_room(s) : lsm_nomem();

    if (rc == LSM_OK && level->range_deletes) {
        const struct lsm_cover_level how = { tree, open_cover };
        rc = need_cover(s, tree->cmp);
        if (rc == LSM_OK)
            rc = lsm_cover_add_level(s->cover, level, &how);
    }
    if (rc) {
        lsm_mem_free(db->os, ctx);
        return rc;
    }
    *ctx = (struct level_ctx){ db, tree, level, no_cache };
    struct lsm_level_source source = { ctx, level_open, level_find, level->count, level_close,
                                       level_reopen };
    rc = lsm_level_iter_new(db->os, &source, &s->list[s->count]);      /* frees ctx if it fails */
    return rc ? rc : take(s, newer);
}

/* Runs that overlap are open all at once, while there are more of them than descriptors. */
static int say_why(struct lsm_db *db, size_t open, int rc)
{
    char why[LSM_ERROR_TEXT_SIZE];
    bool are_many;

    lsm_db_lock(db);
    are_many = open >= db->policy.level0_inputs_max;
    lsm_db_unlock(db);
    if (rc != LSM_CANTOPEN || !are_many)
        return rc;
    lsm_error_save(why, sizeof why);
    return lsm_fail(rc, "%s, with %zu tables that overlap open for one cursor: compact first, or give the process "
                    "more descriptors (ulimit -n)", why, open);
}

int lsm_view_iter(struct lsm_db *db, struct lsm_view *view, struct lsm_tree *tree,
                  const struct lsm_txn *own, bool no_cache, struct lsm_iter **it,
                  struct lsm_cover **cover)
{
    struct sources s = { db->os, NULL, 0, 0, NULL };
    const struct lsm_tree_version *tv = lsm_version_tree(view->version, tree->id);
    const struct lsm_unit *unit = view->newest;
    int rc = LSM_OK;

    *cover = NULL;
    if (atomic_load(&tree->dropped))        /* its rows are in memory still */
        return lsm_merge_new(db->os, tree->cmp, NULL, 0, it);
    if (own) {
        rc = lsm_txn_trim((struct lsm_txn *)own);
        if (rc == LSM_OK)
            rc = add_mem(&s, own->batch.mem, tree, LSM_SEQ_OWN);
        for (uint32_t i = own->run_count; i-- > 0 && rc == LSM_OK;)     /* oldest first */
            rc = add_run(&s, db, tree, own->runs[i], no_cache);
    }
    for (uint32_t i = 0; i < view->unit_count && rc == LSM_OK; i++, unit = unit->older) {
        rc = add_mem(&s, unit->mem, tree, unit->seq_add);
        if (rc == LSM_OK)
            rc = add_runs(&s, db, tree, unit->runs, unit->run_count, no_cache);
    }
    if (tv && rc == LSM_OK)
        rc = add_runs(&s, db, tree, tv->level[0].runs, tv->level[0].count, no_cache);
    for (uint32_t i = 1; tv && i < LSM_LEVEL_COUNT_MAX && rc == LSM_OK; i++)
        if (tv->level[i].count)
            rc = add_level(&s, db, tree, &tv->level[i], no_cache);
    if (rc)
        rc = say_why(db, s.count, rc);
    if (rc == LSM_OK)
        rc = lsm_merge_new(db->os, tree->cmp, s.list, s.count, it);
    else
        while (s.count)
            lsm_iter_close(s.list[--s.count]);
    if (rc) {
        lsm_cover_free(s.cover);
        s.cover = NULL;
    }
    *cover = s.cover;
    lsm_mem_free(db->os, s.list);
    return rc;
}
