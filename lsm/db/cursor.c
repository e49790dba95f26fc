/*
 * cursor.c -- a cursor pins a view, so that files and memtables stay, and reads
 * it as of one sequence. Opened again while the view is the same, it keeps its
 * iterators.
 */
#include "lsm/db/db.h"

#include "lsm/version/visible.h"

struct lsm_cursor {
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_view *view;
    struct lsm_iter *it;
    struct lsm_cover *cover;    /* of `it`; NULL: there are no range deletes */
    bool saw_ranges;            /* the active memtable had some of the tree when `it` was made */
    bool has_own, no_cache;     /* how `it` was made */
    bool saw_rows;              /* the active memtable had rows of the tree when `it` was made */
    struct lsm_visible visible;
    struct lsm_buf lower, upper;
    bool has_lower, has_upper;
    bool valid;
    uint64_t dead_epoch;        /* before the view point was taken */
    struct lsm_memtable *own_mem;       /* the transaction's rows, for looking whether some are in the way */
    bool own_runs;
    struct lsm_buf dead_lo, dead_to;
};

#define DEAD_ROWS_MIN 64u       /* so many rows passed over are worth remembering */

static void release(struct lsm_cursor *c)
{
    lsm_iter_close(c->it);
    c->it = NULL;
    lsm_cover_free(c->cover);
    c->cover = NULL;
    lsm_view_unref(c->view);
    c->view = NULL;
    lsm_memtable_unref(c->own_mem);
    c->own_mem = NULL;
    c->valid = false;
}

static bool has_ranges(const struct lsm_view *view, const struct lsm_tree *tree)
{
    const struct lsm_unit *unit = view->newest;

    return unit && unit->mem && atomic_load_explicit(&unit->has_ranges, memory_order_acquire) &&
           lsm_memtable_range_count(unit->mem, tree->id) > 0;
}

/*
 * The view holds every version that its reader needs: compaction makes new
 * tables and drops from those, never from the ones that the view pins. So no
 * snapshot is registered here.
 */
static int attach(struct lsm_cursor *c, struct lsm_tree *tree, const struct lsm_read *read)
{
    struct lsm_db *db = tree->db;
    struct lsm_view *view = lsm_view_current(db);
    const struct lsm_txn *own = read ? read->txn : NULL;
    bool no_cache = read && read->no_cache, same;
    struct lsm_view_point at;
    int rc = LSM_OK;

    c->dead_epoch = lsm_dead_epoch(db);
    lsm_view_point(db, read, &at);
    same = c->it && c->it->rc == LSM_OK && c->tree == tree && c->view == view && !own && !c->has_own &&
           c->no_cache == no_cache;
    if (same && c->view->newest && c->view->newest->mem && !c->saw_rows &&
        lsm_memtable_tree_rows(c->view->newest->mem, tree->id))
        same = false;           /* the memtable had no rows of the tree then and was left out */
    if (same && !c->saw_ranges && has_ranges(view, tree))
        same = false;           /* nor range deletes */
    if (same) {
        lsm_view_unref(view);
    } else {
        release(c);
        c->view = view;
        c->tree = tree;
        c->has_own = own != NULL;
        c->own_runs = own && own->run_count;
        if (own && own->batch.mem) {
            c->own_mem = own->batch.mem;
            lsm_memtable_ref(c->own_mem);
        }
        c->no_cache = no_cache;
        c->saw_rows = view->newest && view->newest->mem &&
                      lsm_memtable_tree_rows(view->newest->mem, tree->id) > 0;
        c->saw_ranges = has_ranges(view, tree);
        rc = lsm_view_iter(db, view, tree, own, no_cache, &c->it, &c->cover);
        if (rc) {
            c->it = NULL;
            release(c);
            return rc;
        }
    }
    c->has_lower = c->has_upper = c->valid = false;
    if (c->cover)
        lsm_cover_set(c->cover, &at);
    lsm_visible_set(&c->visible, c->it, tree->cmp, at);
    return LSM_OK;
}

int lsm_cursor_open(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_cursor **cursor)
{
    struct lsm_db *db = tree->db;
    struct lsm_cursor *c;
    int rc = lsm_db_usable(db);

    *cursor = NULL;
    if (rc)
        return rc;
    c = lsm_mem_zalloc(db->os, sizeof *c);
    if (!c)
        return lsm_nomem();
    c->db = db;
    lsm_visible_init(&c->visible, db->os);
    lsm_buf_init(&c->lower, db->os);
    lsm_buf_init(&c->upper, db->os);
    lsm_buf_init(&c->dead_lo, db->os);
    lsm_buf_init(&c->dead_to, db->os);
    rc = attach(c, tree, read);
    if (rc) {
        lsm_visible_clear(&c->visible);
        lsm_mem_free(db->os, c);
        return rc;
    }
    lsm_db_lock(db);
    db->cursor_count++;
    lsm_db_unlock(db);
    *cursor = c;
    return LSM_OK;
}

int lsm_cursor_reopen(struct lsm_cursor *c, struct lsm_tree *tree, const struct lsm_read *read)
{
    int rc = lsm_db_usable(tree->db);

    if (rc == LSM_OK && tree->db != c->db)
        rc = lsm_fail(LSM_MISUSE, "a cursor stays in its store");
    return rc ? rc : attach(c, tree, read);
}

void lsm_cursor_close(struct lsm_cursor *c)
{
    if (!c)
        return;
    struct lsm_db *db = c->db;
    release(c);
    lsm_visible_clear(&c->visible);
    lsm_buf_clear(&c->lower);
    lsm_buf_clear(&c->upper);
    lsm_buf_clear(&c->dead_lo);
    lsm_buf_clear(&c->dead_to);
    lsm_mem_free(db->os, c);
    lsm_db_lock(db);
    db->cursor_count--;
    lsm_db_unlock(db);
}

int lsm_cursor_set_bounds(struct lsm_cursor *c, struct lsm_slice lower, struct lsm_slice upper)
{
    lsm_buf_reset(&c->lower);
    lsm_buf_reset(&c->upper);
    c->has_lower = lower.data != NULL;
    c->has_upper = upper.data != NULL;
    lsm_buf_append_slice(&c->lower, lower);
    lsm_buf_append_slice(&c->upper, upper);
    return c->lower.rc ? c->lower.rc : c->upper.rc;
}

/* ---- moves ---- */

static int stand(struct lsm_cursor *c, bool forward)
{
    struct lsm_visible *v = &c->visible;

    c->valid = false;
    if (!v->valid)
        return v->rc ? v->rc : LSM_DONE;
    if (forward && c->has_upper && lsm_key_compare(c->tree->cmp, v->key, lsm_buf_slice(&c->upper)) >= 0)
        return LSM_DONE;
    if (!forward && c->has_lower && lsm_key_compare(c->tree->cmp, v->key, lsm_buf_slice(&c->lower)) < 0)
        return LSM_DONE;
    if (lsm_tag_kind(v->tag) != LSM_KIND_PUT)
        return lsm_fail(LSM_FORMAT, "%s: a row is of a kind that this version cannot read", c->db->path);
    c->valid = true;
    return LSM_OK;
}

/* Has the cursor's own transaction a row in [from, to)? */
static bool own_row_between(const struct lsm_cursor *c, struct lsm_slice from, struct lsm_slice to)
{
    struct lsm_iter *it;
    bool found = true;

    if (c->own_runs)
        return true;
    if (!c->own_mem || lsm_memtable_tree_rows(c->own_mem, c->tree->id) == 0)
        return false;
    if (lsm_memtable_iter_new(c->own_mem, c->tree->id, c->tree->cmp, 0, &it))
        return true;
    lsm_iter_seek(it, from, LSM_TAG_MAX);
    if (!it->rc)
        found = it->valid && lsm_key_compare(c->tree->cmp, it->key, to) < 0;
    lsm_iter_close(it);
    return found;
}

/* Forward to the first row at or after key, past what is known to be dead (dead.c). */
static void seek_live(struct lsm_cursor *c, struct lsm_slice key)
{
    struct lsm_visible *v = &c->visible;
    struct lsm_slice from = key;

    if (lsm_dead_skip(c->tree, v->at.seq_max, key, &c->dead_lo, &c->dead_to) &&
        !own_row_between(c, key, lsm_buf_slice(&c->dead_to)))
        from = lsm_buf_slice(&c->dead_to);
    if (c->cover)
        lsm_cover_passed_over(c->cover);
    lsm_visible_seek(v, from);
    if (c->cover)
        v->passed_over += lsm_cover_passed_over(c->cover);
    if (v->passed_over)
        atomic_fetch_add_explicit(&c->db->counters.rows_passed_over, v->passed_over, memory_order_relaxed);
    if (v->valid && v->passed_over >= DEAD_ROWS_MIN && !c->has_own)
        lsm_dead_learn(c->tree, c->dead_epoch, v->at.seq_max, key, v->key);
}

int lsm_cursor_first(struct lsm_cursor *c)
{
    if (c->has_lower)
        seek_live(c, lsm_buf_slice(&c->lower));
    else if (!c->tree->cmp)     /* nothing is below the empty key */
        seek_live(c, (struct lsm_slice){ (const uint8_t *)"", 0 });
    else
        lsm_visible_first(&c->visible);
    return stand(c, true);
}

int lsm_cursor_seek(struct lsm_cursor *c, struct lsm_slice key)
{
    if (c->has_lower && lsm_key_compare(c->tree->cmp, key, lsm_buf_slice(&c->lower)) < 0)
        return lsm_cursor_first(c);
    atomic_fetch_add_explicit(&c->db->counters.seeks, 1, memory_order_relaxed);
    seek_live(c, key);
    return stand(c, true);
}

int lsm_cursor_seek_prev(struct lsm_cursor *c, struct lsm_slice key)
{
    if (c->has_upper && lsm_key_compare(c->tree->cmp, key, lsm_buf_slice(&c->upper)) >= 0)
        return lsm_cursor_last(c);
    atomic_fetch_add_explicit(&c->db->counters.seeks, 1, memory_order_relaxed);
    lsm_visible_seek_prev(&c->visible, key);
    return stand(c, false);
}

int lsm_cursor_last(struct lsm_cursor *c)
{
    struct lsm_slice upper = lsm_buf_slice(&c->upper);

    if (!c->has_upper) {
        lsm_visible_last(&c->visible);
        return stand(c, false);
    }
    lsm_visible_seek_prev(&c->visible, upper);
    if (c->visible.valid && lsm_key_compare(c->tree->cmp, c->visible.key, upper) == 0)
        lsm_visible_prev(&c->visible);  /* upper is exclusive */
    return stand(c, false);
}

int lsm_cursor_next(struct lsm_cursor *c)
{
    if (!c->valid)
        return lsm_fail(LSM_MISUSE, "the cursor does not stand on a row");
    lsm_visible_next(&c->visible);
    return stand(c, true);
}

int lsm_cursor_prev(struct lsm_cursor *c)
{
    if (!c->valid)
        return lsm_fail(LSM_MISUSE, "the cursor does not stand on a row");
    lsm_visible_prev(&c->visible);
    return stand(c, false);
}

bool lsm_cursor_valid(const struct lsm_cursor *c)
{
    return c->valid;
}

struct lsm_slice lsm_cursor_key(const struct lsm_cursor *c)
{
    return c->visible.key;
}

struct lsm_slice lsm_cursor_value(const struct lsm_cursor *c)
{
    return c->visible.value;
}
