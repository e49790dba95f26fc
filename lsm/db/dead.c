/*
 * dead.c -- stretches of keys that are known to hold nothing but tombstones, and
 * rows under them: a queue's head. A seek into one goes to its end at once; without
 * that, looking at the head of a queue walks everything that was ever deleted in
 * front of it (20 us become milliseconds after 100,000 deletes).
 *
 *     [lo, hi) since s     no reader at s or later sees a row in it
 *
 * A reader learns one by walking over many rows that it may not see. There are two
 * memories: a tree's is for everybody and counts in sequences; a transaction's is
 * for its own cursors, who see their own tombstones too, and counts in ops.
 *
 * For everybody. A put that is published cuts the stretch that it falls into. A
 * reader may only tell what it learned if nothing was being published when it
 * began, nor has been since: a put on its way looked only at the stretches that
 * were known then. The epoch says so: odd while something is published, two more
 * afterwards. A transaction's reader tells everybody when it passed no own row.
 *
 * For a transaction. All its readers see the same published rows (others are left
 * out: `seq`). A put of its own cuts. What is learned must be true for all ops so
 * far, and is used by readers who see at least those that it was learned from.
 * Going back to a mark undoes deletes: stretches that rest on them go, and a reader
 * opened before (`generation`) counts no longer, since it may still see what is gone.
 */
#include "lsm/db/db.h"

#include <assert.h>

/* ---- lists ---- */

static void stretch_clear(struct lsm_dead_stretch *s)
{
    lsm_buf_clear(&s->lo);
    lsm_buf_clear(&s->hi);
}

static void list_remove(struct lsm_dead_list *list, uint32_t i)
{
    struct lsm_dead_stretch gone = list->stretch[i];

    list->count--;
    memmove(&list->stretch[i], &list->stretch[i + 1], (list->count - i) * sizeof gone);
    list->stretch[list->count] = gone;          /* keeps its memory */
}

static struct lsm_dead_stretch *list_insert(struct lsm_dead_list *list, uint32_t i)
{
    struct lsm_dead_stretch fresh = list->stretch[list->count];

    assert(list->count < LSM_DEAD_MAX && i <= list->count);
    memmove(&list->stretch[i + 1], &list->stretch[i], (list->count - i) * sizeof fresh);
    list->stretch[i] = fresh;
    list->count++;
    return &list->stretch[i];
}

static struct lsm_dead_list *list_new(struct lsm_os *os, const struct lsm_comparator *cmp)
{
    struct lsm_dead_list *list = lsm_mem_zalloc(os, sizeof *list);

    if (!list)
        return NULL;
    list->os = os;
    list->cmp = cmp;
    for (uint32_t i = 0; i < LSM_DEAD_MAX; i++) {
        lsm_buf_init(&list->stretch[i].lo, os);
        lsm_buf_init(&list->stretch[i].hi, os);
    }
    return list;
}

static void list_free(struct lsm_dead_list *list)
{
    if (!list)
        return;
    for (uint32_t i = 0; i < LSM_DEAD_MAX; i++)
        stretch_clear(&list->stretch[i]);
    lsm_mem_free(list->os, list);
}

static void set(struct lsm_buf *buf, struct lsm_slice bytes)
{
    lsm_buf_reset(buf);
    lsm_buf_append_slice(buf, bytes);
}

static int compare_lo(const struct lsm_dead_list *list, const struct lsm_dead_stretch *s, struct lsm_slice key)
{
    return lsm_key_compare(list->cmp, key, lsm_buf_slice(&s->lo));
}

/* Of the key (the end, which is above all keys) with hi: < 0 is inside. */
static int compare_hi(const struct lsm_dead_list *list, const struct lsm_dead_stretch *s, struct lsm_slice key,
                      bool key_at_end)
{
    if (s->to_end || key_at_end)
        return s->to_end == key_at_end ? 0 : s->to_end ? -1 : 1;
    return lsm_key_compare(list->cmp, key, lsm_buf_slice(&s->hi));
}

/* How many stretches begin at or before key. */
static uint32_t count_begun(const struct lsm_dead_list *list, struct lsm_slice key)
{
    uint32_t lo = 0, hi = list->count;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if (compare_lo(list, &list->stretch[mid], key) >= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool list_skip(struct lsm_dead_list *list, uint64_t since_max, bool back, struct lsm_slice key,
                      bool key_at_end, struct lsm_dead_edge *edge)
{
    uint32_t i = key_at_end ? list->count : count_begun(list, key);
    struct lsm_dead_stretch *s;
    int hi;

    if (i && back && !key_at_end && compare_lo(list, &list->stretch[i - 1], key) == 0)
        i--;                    /* what is below the key lies in front of it */
    if (i == 0)
        return false;
    s = &list->stretch[i - 1];
    hi = compare_hi(list, s, key, key_at_end);
    if (s->since > since_max || (back ? hi > 0 : hi >= 0))
        return false;
    set(&edge->key, lsm_buf_slice(back ? &s->lo : &s->hi));
    edge->at_end = !back && s->to_end;
    s->used = ++list->clock;
    return edge->key.rc == LSM_OK;
}

/* Put [lo, hi) and what it touches into one stretch; the one used longest ago makes room. */
static void list_add(struct lsm_dead_list *list, struct lsm_slice lo, struct lsm_slice hi, bool to_end,
                     uint64_t since)
{
    struct lsm_dead_stretch *to = NULL;
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < list->count;) {
        struct lsm_dead_stretch *s = &list->stretch[i];
        bool apart = compare_hi(list, s, lo, false) > 0 || (!to_end && compare_lo(list, s, hi) < 0);

        if (apart) {
            if (s->used < list->stretch[oldest].used)
                oldest = i;
            i++;
            continue;
        }
        if (!to) {              /* it grows */
            to = s;
            if (compare_lo(list, to, lo) < 0)
                set(&to->lo, lo);
            if (compare_hi(list, to, hi, to_end) > 0) {
                set(&to->hi, hi);
                to->to_end = to_end;
            }
            i++;
        } else {                /* and takes in another one */
            if (compare_lo(list, to, lsm_buf_slice(&s->lo)) < 0)
                set(&to->lo, lsm_buf_slice(&s->lo));
            if (compare_hi(list, to, lsm_buf_slice(&s->hi), s->to_end) > 0) {
                set(&to->hi, lsm_buf_slice(&s->hi));
                to->to_end = s->to_end;
            }
            if (s->since > to->since)
                to->since = s->since;
            list_remove(list, i);
        }
        if (since > to->since)
            to->since = since;
    }
    if (!to) {
        if (list->count == LSM_DEAD_MAX)
            list_remove(list, oldest);
        to = list_insert(list, count_begun(list, lo));
        set(&to->lo, lo);
        set(&to->hi, hi);
        to->to_end = to_end;
        to->since = since;
    }
    to->used = ++list->clock;
    if (to->lo.rc || to->hi.rc)
        list_remove(list, (uint32_t)(to - list->stretch));
}

/* A row comes at key: what is before it stays dead, what is behind it is forgotten. */
static void list_cut(struct lsm_dead_list *list, struct lsm_slice key)
{
    uint32_t i = count_begun(list, key);
    struct lsm_dead_stretch *s = &list->stretch[i ? i - 1 : 0];

    if (i == 0 || compare_hi(list, s, key, false) >= 0)
        return;
    set(&s->hi, key);
    s->to_end = false;
    if (compare_lo(list, s, key) == 0 || s->hi.rc)
        list_remove(list, i - 1);
}

/* ---- known to everybody ---- */

uint64_t lsm_dead_epoch(const struct lsm_db *db)
{
    return atomic_load(&db->dead_epoch);
}

bool lsm_dead_skip(struct lsm_tree *tree, uint64_t seq, bool back, struct lsm_slice key, bool key_at_end,
                   struct lsm_dead_edge *edge)
{
    struct lsm_db *db = tree->db;
    bool skip;

    if (!atomic_load_explicit(&tree->dead.known, memory_order_relaxed))
        return false;
    db->os->mutex_lock(db->dead_mutex);
    skip = atomic_load(&tree->dead.known) && list_skip(tree->dead.list, seq, back, key, key_at_end, edge);
    db->os->mutex_unlock(db->dead_mutex);
    return skip;
}

void lsm_dead_learn(struct lsm_tree *tree, uint64_t epoch, uint64_t seq, struct lsm_slice lo,
                    struct lsm_slice hi, bool to_end)
{
    struct lsm_db *db = tree->db;
    struct lsm_dead *d = &tree->dead;

    if (epoch % 2)
        return;
    db->os->mutex_lock(db->dead_mutex);
    if (!d->list)
        d->list = list_new(db->os, tree->cmp);
    if (d->list) {
        if (!atomic_load(&d->known))
            d->list->count = 0;
        atomic_store(&d->known, true);  /* before the look at the epoch: lsm_dead_publish */
        /* An old snapshot says nothing about what was put since. */
        if (atomic_load(&db->dead_epoch) == epoch && seq == atomic_load(&db->seq_published))
            list_add(d->list, lo, hi, to_end, seq);
        atomic_store(&d->known, d->list->count > 0);
    }
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_publish(struct lsm_db *db, bool begins)
{
    uint64_t epoch = atomic_load_explicit(&db->dead_epoch, memory_order_relaxed);

    assert(epoch % 2 == (begins ? 0 : 1));
    /* Here the epoch is changed, then `known` is read; whoever learns says `known`, then reads the epoch. One of
       the two sees the other: the put finds the stretch, or the stretch is not told. No lock, since it is for
       each commit. */
    if (begins)
        atomic_store(&db->dead_epoch, epoch + 1);
    else
        atomic_store_explicit(&db->dead_epoch, epoch + 1, memory_order_release);
}

void lsm_dead_put(struct lsm_tree *tree, struct lsm_slice key)
{
    struct lsm_db *db = tree->db;

    if (!atomic_load(&tree->dead.known))
        return;
    db->os->mutex_lock(db->dead_mutex);
    if (atomic_load(&tree->dead.known)) {
        list_cut(tree->dead.list, key);
        atomic_store(&tree->dead.known, tree->dead.list->count > 0);
    }
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_forget_all(struct lsm_db *db)
{
    db->os->mutex_lock(db->dead_mutex);
    for (uint32_t i = 0; i < db->tree_count; i++)
        atomic_store(&db->trees[i]->dead.known, false);
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_dead_clear(struct lsm_tree *tree)
{
    list_free(tree->dead.list);
    tree->dead.list = NULL;
    atomic_store(&tree->dead.known, false);
}

/* ---- known to a transaction ---- */

struct own_tree {
    struct own_tree *next;
    const struct lsm_tree *tree;
    struct lsm_dead_list *list;
};

struct lsm_own_dead {           /* all of it: dead_mutex */
    struct lsm_db *db;
    uint32_t refs;              /* the transaction's and its readers' */
    bool ended;
    uint64_t generation;        /* grows when something is undone */
    uint64_t seq;               /* the readers' view point, of the first who learned */
    bool has_seq;
    uint64_t op_now;            /* the newest op */
    struct own_tree *trees;
};

static struct own_tree *own_find(const struct lsm_own_dead *own, const struct lsm_tree *tree)
{
    struct own_tree *t = own->trees;

    while (t && t->tree != tree)
        t = t->next;
    return t;
}

static void own_free(struct lsm_own_dead *own)
{
    struct lsm_os *os = own->db->os;

    while (own->trees) {
        struct own_tree *t = own->trees;

        own->trees = t->next;
        list_free(t->list);
        lsm_mem_free(os, t);
    }
    lsm_mem_free(os, own);
}

static struct lsm_own_dead *own_new(const struct lsm_txn *txn)
{
    struct lsm_own_dead *own = lsm_mem_zalloc(txn->db->os, sizeof *own);

    if (own) {
        own->db = txn->db;
        own->refs = 1;
        own->op_now = txn->batch.op_next - 1;
    }
    return own;
}

void lsm_own_dead_reader(const struct lsm_txn *txn, uint64_t seq, struct lsm_own_reader *reader)
{
    struct lsm_txn *t = (struct lsm_txn *)txn;
    struct lsm_db *db = txn->db;

    *reader = (struct lsm_own_reader){ .seq = seq, .op = txn->batch.op_next - 1 };
    if (!t->own_dead)
        t->own_dead = own_new(txn);
    if (!t->own_dead)
        return;
    reader->own = t->own_dead;
    db->os->mutex_lock(db->dead_mutex);
    reader->generation = reader->own->generation;
    reader->own->refs++;
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_own_dead_unref(struct lsm_own_dead *own)
{
    bool last;

    if (!own)
        return;
    struct lsm_db *db = own->db;
    db->os->mutex_lock(db->dead_mutex);
    last = --own->refs == 0;
    db->os->mutex_unlock(db->dead_mutex);
    if (last)
        own_free(own);
}

/* dead_mutex held. */
static bool counts(const struct lsm_own_reader *r)
{
    return !r->own->ended && r->own->generation == r->generation && (!r->own->has_seq || r->own->seq == r->seq);
}

bool lsm_own_dead_skip(const struct lsm_own_reader *reader, struct lsm_tree *tree, bool back,
                       struct lsm_slice key, bool key_at_end, struct lsm_dead_edge *edge)
{
    struct lsm_db *db = tree->db;
    bool skip = false;

    if (!reader->own)
        return false;
    db->os->mutex_lock(db->dead_mutex);
    if (counts(reader)) {
        struct own_tree *t = own_find(reader->own, tree);

        skip = t && list_skip(t->list, reader->op, back, key, key_at_end, edge);
    }
    db->os->mutex_unlock(db->dead_mutex);
    return skip;
}

static struct own_tree *own_add(struct lsm_own_dead *own, const struct lsm_tree *tree)
{
    struct own_tree *t = lsm_mem_zalloc(own->db->os, sizeof *t);

    if (t)
        t->list = list_new(own->db->os, tree->cmp);
    if (!t || !t->list) {
        lsm_mem_free(own->db->os, t);
        return NULL;
    }
    t->tree = tree;
    t->next = own->trees;
    own->trees = t;
    return t;
}

void lsm_own_dead_learn(const struct lsm_own_reader *reader, struct lsm_tree *tree, struct lsm_slice lo,
                        struct lsm_slice hi, bool to_end)
{
    struct lsm_own_dead *own = reader->own;
    struct lsm_db *db = tree->db;

    if (!own)
        return;
    db->os->mutex_lock(db->dead_mutex);
    if (counts(reader) && reader->op == own->op_now) {
        struct own_tree *t = own_find(own, tree);

        if (!t)
            t = own_add(own, tree);
        if (t)
            list_add(t->list, lo, hi, to_end, reader->op);
        own->seq = reader->seq;
        own->has_seq = true;
    }
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_own_dead_write(struct lsm_own_dead *own, struct lsm_tree *tree, bool is_put, struct lsm_slice key,
                        uint64_t op)
{
    struct lsm_db *db = tree->db;

    if (!own)
        return;
    db->os->mutex_lock(db->dead_mutex);
    own->op_now = op;
    if (is_put) {
        struct own_tree *t = own_find(own, tree);

        if (t)
            list_cut(t->list, key);
    }
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_own_dead_undo(struct lsm_own_dead *own, const struct lsm_tree *tree, uint64_t mark)
{
    if (!own)
        return;
    struct lsm_db *db = own->db;
    db->os->mutex_lock(db->dead_mutex);
    own->generation++;
    for (struct own_tree *t = own->trees; t; t = t->next)
        for (uint32_t i = 0; (!tree || t->tree == tree) && i < t->list->count;)
            if (tree || t->list->stretch[i].since >= mark)
                list_remove(t->list, i);
            else
                i++;
    db->os->mutex_unlock(db->dead_mutex);
}

void lsm_own_dead_end(struct lsm_own_dead *own)
{
    if (!own)
        return;
    own->db->os->mutex_lock(own->db->dead_mutex);
    own->ended = true;
    own->db->os->mutex_unlock(own->db->dead_mutex);
    lsm_own_dead_unref(own);
}
