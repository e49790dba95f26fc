/*
 * cursor.c -- a cursor pins a view, so that files and memtables stay, and reads
 * it as of one sequence. Opened again while the view is the same, it keeps its
 * iterators; in a transaction as long as its own rows are in the same memtable, which
 * the cursor holds, so that no other can come to stand at its place.
 *
 * A move that goes past many rows without finding one looks from time to time
 * whether somebody knows where the next row is (dead.c), and tells what it finds.
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
    uint64_t upper_prefix;
    bool valid;
    uint32_t steps;             /* next and prev */
    int rc;                     /* a value could not be read: the cursor stands still */
    bool is_backward;
    bool has_value;             /* `value` is the row's, which stands in a value log */
    struct lsm_slice value;
    struct lsm_buf scratch, value_buf;
    struct lsm_value_streams streams;
    struct lsm_vlog **own_vlogs;        /* of its transaction's private tables, which may be given up */
    uint32_t own_vlog_count;
    uint64_t dead_epoch;        /* when the view was taken */
    struct lsm_own_reader own_dead;
    struct lsm_memtable *own_mem;       /* the transaction's rows, for looking whether some are in the way */
    bool own_runs, own_ranges;          /* it had spilled tables, or range deletes, when `it` was made */
    struct lsm_buf dead_from;   /* where the stretch begins that is being walked; going back, its end */
    struct lsm_dead_edge dead_edge;
    struct lsm_buf dead_key;    /* scratch */
};

#define DEAD_ROWS_MIN 16u       /* so many rows passed over are worth remembering, */
#define DEAD_ROWS_MORE 2u       /* so many behind a stretch that is known */
#define DEAD_ROWS_LOOK 32u      /* after so many: does somebody know? */

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
    lsm_own_dead_unref(c->own_dead.own);
    c->own_dead.own = NULL;
    lsm_value_let_go(c->db, &c->own_vlogs, &c->own_vlog_count);
    c->valid = false;
}

static bool has_ranges(const struct lsm_view *view, const struct lsm_tree *tree)
{
    const struct lsm_unit *unit = view->newest;

    return unit && unit->mem && atomic_load_explicit(&unit->has_ranges, memory_order_acquire) &&
           lsm_memtable_range_count(unit->mem, tree->id) > 0;
}

static bool own_has_ranges(const struct lsm_txn *own)
{
    return own->batch.mem && lsm_memtable_has_ranges(own->batch.mem);
}

/* Do the iterators show this transaction's rows, too? New ones in its memtable and those that are void by
   now they see; spilled tables and range deletes are added when they are made. */
static bool is_same_own(const struct lsm_cursor *c, const struct lsm_txn *own)
{
    if (!own || !c->has_own)
        return !own && !c->has_own;
    return c->own_mem == own->batch.mem && !c->own_runs && !own->run_count && !c->own_ranges &&
           !own_has_ranges(own);
}

/*
 * The newest view and what of it is seen. It is c->view, without another reference, or comes with one. A memtable that came
 * between the two, with rows that the view point counts, would not be in the view: the cursor would miss them, which it
 * may, but also tell everybody that there is nothing where they are (dead.c). So it looks again whether the view is
 * still the newest; and what comes later changes the epoch.
 */
static struct lsm_view *take_view(struct lsm_cursor *c, struct lsm_db *db, const struct lsm_read *read,
                                  struct lsm_view_point *at)
{
    for (;;) {
        /* A reference keeps it from being another one at the same address. */
        bool is_kept = c->view == atomic_load_explicit(&db->view, memory_order_acquire);
        struct lsm_view *view = is_kept ? c->view : lsm_view_current(db);

        c->dead_epoch = lsm_dead_epoch(db);
        lsm_view_point(db, read, at);
        if (view == atomic_load_explicit(&db->view, memory_order_acquire))
            return view;
        if (!is_kept)
            lsm_view_unref(view);
    }
}

/*
 * The view holds every version that its reader needs: compaction makes new
 * tables and drops from those, never from the ones that the view pins. So no
 * snapshot is registered here.
 */
static int attach(struct lsm_cursor *c, struct lsm_tree *tree, const struct lsm_read *read)
{
    struct lsm_db *db = tree->db;
    const struct lsm_txn *own = read ? read->txn : NULL;
    bool no_cache = read && read->no_cache, same;
    struct lsm_view_point at;
    struct lsm_view *view = take_view(c, db, read, &at);
    bool is_current = view == c->view;
    int rc = LSM_OK;

    same = c->it && c->it->rc == LSM_OK && c->tree == tree && is_current && is_same_own(c, own) &&
           c->no_cache == no_cache;
    if (same && c->view->newest && c->view->newest->mem && !c->saw_rows &&
        lsm_memtable_tree_rows(c->view->newest->mem, tree->id))
        same = false;           /* the memtable had no rows of the tree then and was left out */
    if (same && !c->saw_ranges && has_ranges(view, tree))
        same = false;           /* nor range deletes */
    if (same && atomic_load(&tree->dropped))
        same = false;
    if (same) {
        lsm_own_dead_unref(c->own_dead.own);
        c->own_dead.own = NULL;
    } else {
        if (is_current)
            atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
        release(c);
        c->view = view;
        c->tree = tree;
        c->has_own = own != NULL;
        c->own_runs = own && own->run_count;
        c->own_ranges = own && own_has_ranges(own);
        if (own && own->batch.mem) {
            c->own_mem = own->batch.mem;
            lsm_memtable_ref(c->own_mem);
        }
        c->no_cache = no_cache;
        c->saw_rows = view->newest && view->newest->mem &&
                      lsm_memtable_tree_rows(view->newest->mem, tree->id) > 0;
        c->saw_ranges = has_ranges(view, tree);
        rc = lsm_view_iter(db, view, tree, own, no_cache, &c->it, &c->cover);
        if (rc)
            c->it = NULL;
        if (rc == LSM_OK && c->own_runs)
            rc = lsm_value_hold(own, &c->own_vlogs, &c->own_vlog_count);
        if (rc) {
            release(c);
            return rc;
        }
    }
    if (own)
        lsm_own_dead_reader(own, at.seq_max, &c->own_dead);
    c->has_lower = c->has_upper = c->valid = false;
    if (c->cover)
        lsm_cover_set(c->cover, &at);
    c->rc = LSM_OK;
    lsm_visible_set(&c->visible, c->it, tree->cmp, at);
    return LSM_OK;
}

int lsm_cursor_open(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_cursor **cursor)
{
    struct lsm_db *db = tree->db;
    struct lsm_cursor *c;
    int rc = lsm_read_usable(db, read);

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
    lsm_buf_init(&c->dead_from, db->os);
    lsm_buf_init(&c->dead_edge.key, db->os);
    lsm_buf_init(&c->dead_key, db->os);
    lsm_buf_init(&c->scratch, db->os);
    lsm_buf_init(&c->value_buf, db->os);
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
    int rc = lsm_read_usable(tree->db, read);

    if (rc == LSM_OK && tree->db != c->db)
        rc = lsm_fail(LSM_MISUSE, "a cursor stays in its store");
    return rc ? rc : attach(c, tree, read);
}

void lsm_cursor_close(struct lsm_cursor *c)
{
    if (!c)
        return;
    struct lsm_db *db = c->db;
    atomic_fetch_add_explicit(&db->counters.nexts, c->steps % LSM_LATENCY_NEXT_SAMPLE, memory_order_relaxed);
    release(c);
    lsm_visible_clear(&c->visible);
    lsm_buf_clear(&c->lower);
    lsm_buf_clear(&c->upper);
    lsm_buf_clear(&c->dead_from);
    lsm_buf_clear(&c->dead_edge.key);
    lsm_buf_clear(&c->dead_key);
    lsm_buf_clear(&c->scratch);
    lsm_buf_clear(&c->value_buf);
    lsm_mem_free(db->os, c);
    lsm_db_lock(db);
    db->cursor_count--;
    if (lsm_obsolete_waits(db))         /* it may have been the last that saw a file */
        lsm_worker_wake(db);
    lsm_db_unlock(db);
}

static int bounds_are_set(struct lsm_cursor *c)
{
    c->upper_prefix = lsm_slice_prefix(lsm_buf_slice(&c->upper));
    return c->lower.rc ? c->lower.rc : c->upper.rc;
}

/* Behind the upper bound; asked with every row, so that eight bytes decide where they can. */
static inline bool is_behind(const struct lsm_cursor *c, struct lsm_slice key)
{
    if (!c->has_upper)
        return false;
    if (!c->tree->cmp) {
        uint64_t prefix = lsm_slice_prefix(key);

        if (prefix != c->upper_prefix)
            return prefix > c->upper_prefix;
    }
    return lsm_key_compare(c->tree->cmp, key, lsm_buf_slice(&c->upper)) >= 0;
}

/* A step from a row outside of them would have no meaning. */
static void drop_bounds(struct lsm_cursor *c)
{
    lsm_buf_reset(&c->lower);
    lsm_buf_reset(&c->upper);
    c->valid = false;
}

int lsm_cursor_set_bounds(struct lsm_cursor *c, struct lsm_slice lower, struct lsm_slice upper)
{
    drop_bounds(c);
    c->has_lower = lower.data != NULL;
    c->has_upper = upper.data != NULL;
    lsm_buf_append_slice(&c->lower, lower);
    lsm_buf_append_slice(&c->upper, upper);
    return bounds_are_set(c);
}

int lsm_cursor_set_prefix(struct lsm_cursor *c, struct lsm_slice prefix)
{
    const struct lsm_comparator *cmp = c->tree->cmp;
    size_t size = prefix.size;

    drop_bounds(c);
    c->has_lower = c->has_upper = prefix.size > 0;
    if (prefix.size == 0)
        return LSM_OK;
    lsm_buf_append_slice(&c->lower, prefix);
    if (cmp) {
        if (!cmp->prefix_end) {
            c->has_lower = c->has_upper = false;
            return lsm_fail(LSM_MISUSE, "comparator \"%.100s\" says nothing about prefixes", cmp->name);
        }
        if (lsm_buf_reserve(&c->upper, LSM_KEY_SIZE_MAX))
            return LSM_NOMEM;
        size = cmp->prefix_end(cmp->ctx, prefix, c->upper.data);
        c->has_upper = size <= LSM_KEY_SIZE_MAX;
        c->upper.size = c->has_upper ? size : 0;
        return c->lower.rc;
    }
    while (size && prefix.data[size - 1] == 0xff)       /* they have no successor of that length */
        size--;
    c->has_upper = size > 0;
    lsm_buf_append(&c->upper, prefix.data, size);
    if (size && !c->upper.rc)
        c->upper.data[size - 1]++;
    return bounds_are_set(c);
}

/* ---- stretches without a row ---- */

static void set(struct lsm_buf *buf, struct lsm_slice bytes)
{
    lsm_buf_reset(buf);
    lsm_buf_append_slice(buf, bytes);
}

static void fail(struct lsm_visible *v, int rc)
{
    v->valid = v->paused = false;
    v->rc = rc;
}

/* The smallest key above this one, in the order of bytes. */
static struct lsm_slice successor(struct lsm_buf *buf, struct lsm_slice key)
{
    set(buf, key);
    lsm_buf_put_u8(buf, 0);
    return lsm_buf_slice(buf);
}

/* Has the cursor's own transaction a put in [from, to), or from `from` on? */
static bool own_put_between(const struct lsm_cursor *c, struct lsm_slice from, struct lsm_slice to, bool to_end)
{
    struct lsm_iter *it;
    bool found = false;

    if (c->own_runs)
        return true;
    if (!c->own_mem || lsm_memtable_tree_rows(c->own_mem, c->tree->id) == 0)
        return false;
    if (lsm_memtable_iter_new(c->own_mem, c->tree->id, c->tree->cmp, 0, &it))
        return true;
    for (lsm_iter_seek(it, from, LSM_TAG_MAX); it->valid && !found; lsm_iter_next(it)) {
        if (!to_end && lsm_key_compare(c->tree->cmp, it->key, to) >= 0)
            break;
        found = lsm_tag_kind(it->tag) != LSM_KIND_DELETE;
    }
    found |= it->rc != LSM_OK;
    lsm_iter_close(it);
    return found;
}

/*
 * Is it known that there is no row from key on (back: below key, or below the end)?
 * Then dead_edge is where that stretch ends. What everybody knows becomes the
 * transaction's own knowledge, so that its rows are looked through once.
 */
static bool skip(struct lsm_cursor *c, bool back, struct lsm_slice key, bool key_at_end)
{
    struct lsm_dead_edge *edge = &c->dead_edge;
    struct lsm_slice lo, hi;

    if (!c->has_own)
        return lsm_dead_skip(c->tree, c->visible.at.seq_max, back, key, key_at_end, edge);
    if (lsm_own_dead_skip(&c->own_dead, c->tree, back, key, key_at_end, edge))
        return true;
    if (!lsm_dead_skip(c->tree, c->visible.at.seq_max, back, key, key_at_end, edge))
        return false;
    lo = back ? lsm_buf_slice(&edge->key) : key;
    hi = back ? key : lsm_buf_slice(&edge->key);
    if (own_put_between(c, lo, hi, back ? key_at_end : edge->at_end))
        return false;
    lsm_own_dead_learn(&c->own_dead, c->tree, lo, hi, back ? key_at_end : edge->at_end);
    return true;
}

/* The source went past `passed_over` rows: there is no row in [lo, hi), or from lo on. */
static void learn(struct lsm_cursor *c, struct lsm_slice lo, struct lsm_slice hi, bool to_end)
{
    struct lsm_visible *v = &c->visible;

    if (!to_end && lsm_key_compare(c->tree->cmp, lo, hi) >= 0)
        return;
    if (c->has_own)
        lsm_own_dead_learn(&c->own_dead, c->tree, lo, hi, to_end);
    /* What its own range deletes hide is not seen on the way. */
    if (!v->passed_own && !(c->has_own && c->cover))
        lsm_dead_learn(c->tree, c->dead_epoch, v->at.seq_max, lo, hi, to_end);
}

static void count_passed(struct lsm_cursor *c, uint64_t *passed)
{
    uint64_t n = c->visible.passed_over + (c->cover ? lsm_cover_passed_over(c->cover) : 0);

    *passed += n;
    if (n)
        atomic_fetch_add_explicit(&c->db->counters.rows_passed_over, n, memory_order_relaxed);
}

/*
 * A move forward has begun; dead_from is where it began, if has_from: no row is
 * between there and the source. `jumped`: it began at the end of a stretch. Bring
 * the move to its end.
 */
static void finish_forward(struct lsm_cursor *c, bool has_from, bool jumped)
{
    struct lsm_visible *v = &c->visible;
    uint64_t passed = 0, passed_min = jumped ? DEAD_ROWS_MORE : DEAD_ROWS_MIN;

    for (;;) {
        count_passed(c, &passed);
        if (!v->paused)
            break;
        struct lsm_slice key = v->it->key;
        bool outside = is_behind(c, key);
        if (!has_from && !outside && !c->tree->cmp) {
            /* The row of this key may be the one that the cursor stood on. */
            successor(&c->dead_from, key);
            has_from = c->dead_from.rc == LSM_OK;
            passed = 0;
        }
        if (outside || skip(c, false, key, false)) {
            if (has_from && passed >= passed_min)
                learn(c, lsm_buf_slice(&c->dead_from), key, false);
            v->paused = false;
            if (outside || c->dead_edge.at_end)
                return;
            set(&c->dead_from, lsm_buf_slice(&c->dead_edge.key));
            has_from = c->dead_from.rc == LSM_OK;
            passed = 0;
            passed_min = DEAD_ROWS_MORE;
            lsm_visible_seek(v, lsm_buf_slice(&c->dead_edge.key));
        } else {
            lsm_visible_resume(v);
        }
    }
    if (has_from && passed >= passed_min && v->rc == LSM_OK)
        learn(c, lsm_buf_slice(&c->dead_from), v->valid ? v->key : lsm_slice(NULL, 0), !v->valid);
}

/* Forward to the first row at or after key. */
static void seek_live(struct lsm_cursor *c, struct lsm_slice key)
{
    struct lsm_visible *v = &c->visible;
    bool jumped = false;

    v->pause_after = DEAD_ROWS_LOOK;
    while (skip(c, false, key, false)) {
        jumped = true;
        if (c->dead_edge.at_end) {
            v->valid = v->paused = false;
            return;
        }
        set(&c->dead_key, lsm_buf_slice(&c->dead_edge.key));
        if (c->dead_key.rc) {
            fail(v, c->dead_key.rc);
            return;
        }
        key = lsm_buf_slice(&c->dead_key);
    }
    set(&c->dead_from, key);
    lsm_visible_seek(v, key);
    finish_forward(c, c->dead_from.rc == LSM_OK, jumped);
}

/*
 * The same for a move backward: dead_from is above the rows that were passed, or
 * from_end: nothing was above them. Only in the order of bytes, where every key has
 * a successor.
 */
static void finish_backward(struct lsm_cursor *c, bool has_from, bool from_end, bool jumped)
{
    struct lsm_visible *v = &c->visible;
    uint64_t passed = 0, passed_min = jumped ? DEAD_ROWS_MORE : DEAD_ROWS_MIN;

    for (;;) {
        count_passed(c, &passed);
        if (!v->paused)
            break;
        bool outside = c->has_lower && lsm_key_compare(NULL, v->it->key, lsm_buf_slice(&c->lower)) < 0;
        struct lsm_slice above = successor(&c->dead_key, v->it->key);
        if (c->dead_key.rc) {
            v->pause_after = 0;
            lsm_visible_resume(v);
            continue;
        }
        if (!has_from) {
            set(&c->dead_from, above);
            has_from = c->dead_from.rc == LSM_OK;
            passed = 0;
        }
        if (outside || skip(c, true, above, false)) {
            if (has_from && passed >= passed_min)
                learn(c, above, lsm_buf_slice(&c->dead_from), from_end);
            v->paused = false;
            if (outside || c->dead_edge.key.size == 0)
                return;
            set(&c->dead_from, lsm_buf_slice(&c->dead_edge.key));
            has_from = c->dead_from.rc == LSM_OK;
            from_end = false;
            passed = 0;
            passed_min = DEAD_ROWS_MORE;
            lsm_visible_seek_before(v, lsm_buf_slice(&c->dead_edge.key));
        } else {
            lsm_visible_resume(v);
        }
    }
    if (has_from && passed >= passed_min && v->rc == LSM_OK) {
        struct lsm_slice lo = { (const uint8_t *)"", 0 };

        if (v->valid)
            lo = successor(&c->dead_key, v->key);
        if (!v->valid || c->dead_key.rc == LSM_OK)
            learn(c, lo, lsm_buf_slice(&c->dead_from), from_end);
    }
}

/* Backward to the last row below key, or (at_end) to the last one. */
static void seek_live_before(struct lsm_cursor *c, struct lsm_slice key, bool at_end)
{
    struct lsm_visible *v = &c->visible;
    bool jumped = false;

    v->pause_after = DEAD_ROWS_LOOK;
    while (skip(c, true, key, at_end)) {
        jumped = true;
        at_end = false;
        set(&c->dead_key, lsm_buf_slice(&c->dead_edge.key));
        if (c->dead_key.rc) {
            fail(v, c->dead_key.rc);
            return;
        }
        key = lsm_buf_slice(&c->dead_key);
        if (key.size == 0) {
            v->valid = v->paused = false;
            return;
        }
    }
    set(&c->dead_from, key);
    if (at_end)
        lsm_visible_last(v);
    else
        lsm_visible_seek_before(v, key);
    finish_backward(c, c->dead_from.rc == LSM_OK, at_end, jumped);
}

/* ---- moves ---- */

static int stand(struct lsm_cursor *c, bool forward)
{
    struct lsm_visible *v = &c->visible;

    c->valid = false;
    c->has_value = false;
    c->is_backward = !forward;
    if (c->rc)
        return c->rc;
    if (!v->valid)
        return v->rc ? v->rc : LSM_DONE;
    if (forward && is_behind(c, v->key))
        return LSM_DONE;
    if (!forward && c->has_lower && lsm_key_compare(c->tree->cmp, v->key, lsm_buf_slice(&c->lower)) < 0)
        return LSM_DONE;
    if (lsm_tag_kind(v->tag) != LSM_KIND_PUT && lsm_tag_kind(v->tag) != LSM_KIND_VLOG)
        return lsm_fail(LSM_FORMAT, "%s: a row is of a kind that this version cannot read", c->db->path);
    c->valid = true;
    return LSM_OK;
}

/* Some are timed: 0 if this one is not. */
static uint64_t begin_seek(struct lsm_cursor *c, struct lsm_slice key)
{
    uint64_t n = atomic_fetch_add_explicit(&c->db->counters.seeks, 1, memory_order_relaxed);

    if (n % LSM_LATENCY_SAMPLE)
        return 0;
    lsm_vain_seek(c->db, c->view->version, c->tree, key);
    return c->db->os->mono_us(c->db->os);
}

static void end_seek(struct lsm_cursor *c, uint64_t begun)
{
    if (begun)
        lsm_histogram_add(&c->db->counters.latency[LSM_LATENCY_SEEK], c->db->os->mono_us(c->db->os) - begun);
}

int lsm_cursor_first(struct lsm_cursor *c)
{
    if (c->has_lower) {
        struct lsm_slice key = lsm_buf_slice(&c->lower);
        uint64_t begun = begin_seek(c, key);
        seek_live(c, key);
        end_seek(c, begun);
    } else if (!c->tree->cmp)     /* nothing is below the empty key */
        seek_live(c, (struct lsm_slice){ (const uint8_t *)"", 0 });
    else {
        c->visible.pause_after = DEAD_ROWS_LOOK;
        lsm_visible_first(&c->visible);
        finish_forward(c, false, false);
    }
    return stand(c, true);
}

int lsm_cursor_seek(struct lsm_cursor *c, struct lsm_slice key)
{
    uint64_t begun;

    if (c->has_lower && lsm_key_compare(c->tree->cmp, key, lsm_buf_slice(&c->lower)) < 0)
        return lsm_cursor_first(c);
    begun = begin_seek(c, key);
    seek_live(c, key);
    end_seek(c, begun);
    return stand(c, true);
}

int lsm_cursor_seek_prev(struct lsm_cursor *c, struct lsm_slice key)
{
    uint64_t begun;

    if (is_behind(c, key))
        return lsm_cursor_last(c);
    begun = begin_seek(c, key);
    c->visible.pause_after = 0;
    if (c->tree->cmp) {
        lsm_visible_seek_prev(&c->visible, key);
    } else {
        struct lsm_slice above = successor(&c->dead_key, key);

        if (c->dead_key.rc)
            return c->dead_key.rc;
        seek_live_before(c, above, false);
    }
    end_seek(c, begun);
    return stand(c, false);
}

int lsm_cursor_last(struct lsm_cursor *c)
{
    const struct lsm_slice none = { NULL, 0 };

    c->visible.pause_after = 0;
    if (c->tree->cmp && c->has_upper)
        lsm_visible_seek_before(&c->visible, lsm_buf_slice(&c->upper));
    else if (c->tree->cmp)
        lsm_visible_last(&c->visible);
    else
        seek_live_before(c, c->has_upper ? lsm_buf_slice(&c->upper) : none, !c->has_upper);
    return stand(c, false);
}

static inline int step(struct lsm_cursor *c)
{
    c->visible.pause_after = DEAD_ROWS_LOOK;
    lsm_visible_next(&c->visible);
    if (c->visible.paused)
        finish_forward(c, false, false);
    return stand(c, true);
}

static inline int step_back(struct lsm_cursor *c)
{
    c->visible.pause_after = c->tree->cmp ? 0 : DEAD_ROWS_LOOK;
    lsm_visible_prev(&c->visible);
    if (c->visible.paused)
        finish_backward(c, false, false, false);
    return stand(c, false);
}

/* Out of line, with the steps in line below: the clock costs no more than a test in 63 of 64 steps. */
static __attribute__((noinline)) int timed_step(struct lsm_cursor *c, bool back)
{
    struct lsm_db *db = c->db;
    uint64_t begun = db->os->mono_us(db->os);
    int rc;

    if (c->steps % LSM_SCAN_SAMPLE == 0)
        lsm_vain_scan(db, c->view->version, c->tree, c->visible.key);
    rc = back ? step_back(c) : step(c);
    lsm_histogram_add(&db->counters.latency[LSM_LATENCY_NEXT], db->os->mono_us(db->os) - begun);
    atomic_fetch_add_explicit(&db->counters.nexts, LSM_LATENCY_NEXT_SAMPLE, memory_order_relaxed);
    return rc;
}

/* A failed move is told again, until the cursor is reopened. */
static __attribute__((noinline)) int no_row(const struct lsm_cursor *c)
{
    return c->visible.rc ? c->visible.rc : lsm_fail(LSM_MISUSE, "the cursor does not stand on a row");
}

int lsm_cursor_next(struct lsm_cursor *c)
{
    if (!c->valid)
        return no_row(c);
    return ++c->steps % LSM_LATENCY_NEXT_SAMPLE ? step(c) : timed_step(c, false);
}

int lsm_cursor_prev(struct lsm_cursor *c)
{
    if (!c->valid)
        return no_row(c);
    return ++c->steps % LSM_LATENCY_NEXT_SAMPLE ? step_back(c) : timed_step(c, true);
}

bool lsm_cursor_valid(const struct lsm_cursor *c)
{
    return c->valid;
}

/* Without data it would say that there is none. */
static inline struct lsm_slice present(struct lsm_slice bytes)
{
    return bytes.data ? bytes : lsm_slice("", 0);
}

struct lsm_slice lsm_cursor_key(const struct lsm_cursor *c)
{
    return c->valid ? present(c->visible.key) : lsm_slice(NULL, 0);
}

#define VALUE_KEEP ((size_t)1 << 20)    /* a buffer larger than this goes when a small value comes */

static __attribute__((noinline)) int read_value_log(struct lsm_cursor *c, struct lsm_slice *value)
{
    const struct lsm_value_source from = { .view = c->view, .held = c->own_vlogs,
                                           .held_count = c->own_vlog_count };
    const struct lsm_visible *v = &c->visible;
    int rc;

    if (!c->has_value) {
        c->value = lsm_slice(NULL, 0);
        if (c->rc)
            return c->rc;
        if (c->value_buf.cap > VALUE_KEEP)
            lsm_buf_clear(&c->value_buf);
        if (c->scratch.cap > VALUE_KEEP)
            lsm_buf_clear(&c->scratch);
        rc = c->is_backward
                 ? lsm_value_read(c->db, &from, v->value, &c->scratch, &c->value_buf, &c->value)
                 : lsm_value_read_next(c->db, &from, v->value, &c->streams, &c->scratch, &c->value_buf,
                                       &c->value);
        c->rc = rc;
        c->has_value = rc == LSM_OK;
    }
    *value = c->value;
    return c->rc;
}

int lsm_cursor_read(struct lsm_cursor *c, struct lsm_slice *value)
{
    *value = lsm_slice(NULL, 0);
    if (!c->valid)      /* what it showed last may be gone */
        return c->rc ? c->rc : no_row(c);
    *value = present(c->visible.value);
    return lsm_tag_kind(c->visible.tag) == LSM_KIND_VLOG ? read_value_log(c, value) : c->rc;
}

struct lsm_slice lsm_cursor_value(struct lsm_cursor *c)
{
    struct lsm_slice value;

    lsm_cursor_read(c, &value);
    return value;
}

int lsm_cursor_pin(struct lsm_cursor *c, struct lsm_value *value)
{
    struct lsm_iter_pin pin;
    struct lsm_slice bytes;
    int rc;

    memset(value, 0, sizeof *value);
    if (!c->valid)
        return no_row(c);
    rc = lsm_cursor_read(c, &bytes);
    if (rc)
        return rc;
    if (c->has_value) {      /* read anew if it is asked for again */
        lsm_value_give(value, bytes, c->db->vlogs, &c->value_buf);
        c->has_value = false;
    } else if ((lsm_visible_in_streak(&c->visible) || bytes.data == c->it->value.data) && lsm_iter_pin(c->it, &pin)) {
        lsm_value_set(value, bytes, &pin);
    } else {
        rc = lsm_value_copy(c->db->os, value, bytes);
    }
    if (rc == LSM_OK)
        lsm_value_is_pinned(value, c->db);
    return rc;
}
