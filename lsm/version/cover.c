/*
 * cover.c -- see cover.h.
 *
 * Each place remembers the stretch that it looked at last, and each filter the
 * part of it that all its places agree on: as long as rows stay within, a row
 * costs one or two comparisons.
 */
#include "lsm/version/cover.h"

#include <assert.h>

enum place_kind { PLACE_MEMTABLE, PLACE_TABLE, PLACE_LEVEL };

struct place {
    enum place_kind kind;
    const struct lsm_memtable *mem;
    uint32_t tree;
    uint64_t seq_add;
    struct lsm_table *table;            /* of a level: the one that the stretch points into, or NULL */
    const struct lsm_level *level;
    struct lsm_cover_level how;
    const struct lsm_run *run;          /* of `table` in a level */
    bool known;
    struct lsm_stretch stretch;         /* the last looked at */
};

struct lsm_cover {
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    struct lsm_view_point at;
    uint64_t generation;                /* of the view point */
    uint64_t passed_over;
    struct place *places;
    uint32_t count, cap;
};

struct lsm_cover *lsm_cover_new(struct lsm_os *os, const struct lsm_comparator *cmp)
{
    struct lsm_cover *c = lsm_mem_zalloc(os, sizeof *c);

    if (c) {
        c->os = os;
        c->cmp = cmp;
    }
    return c;
}

void lsm_cover_free(struct lsm_cover *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        lsm_table_unref(c->places[i].table);
    lsm_mem_free(c->os, c->places);
    lsm_mem_free(c->os, c);
}

static int add(struct lsm_cover *c, struct place place)
{
    if (c->count == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 4;
        void *more = c->os->mem_realloc(c->os, c->places, cap * sizeof *c->places);
        if (!more) {
            lsm_table_unref(place.table);
            return lsm_nomem();
        }
        c->places = more;
        c->cap = cap;
    }
    c->places[c->count++] = place;
    return LSM_OK;
}

int lsm_cover_add_memtable(struct lsm_cover *c, const struct lsm_memtable *mem, uint32_t tree,
                           uint64_t seq_add)
{
    return add(c, (struct place){ .kind = PLACE_MEMTABLE, .mem = mem, .tree = tree,
                                  .seq_add = seq_add });
}

int lsm_cover_add_table(struct lsm_cover *c, struct lsm_table *table, uint64_t seq_add)
{
    assert(lsm_table_ranges(table));
    lsm_table_ref(table);
    return add(c, (struct place){ .kind = PLACE_TABLE, .table = table, .seq_add = seq_add });
}

int lsm_cover_add_level(struct lsm_cover *c, const struct lsm_level *level,
                        const struct lsm_cover_level *how)
{
    return add(c, (struct place){ .kind = PLACE_LEVEL, .level = level, .how = *how });
}

uint32_t lsm_cover_count(const struct lsm_cover *c)
{
    return c->count;
}

void lsm_cover_set(struct lsm_cover *c, const struct lsm_view_point *at)
{
    c->at = *at;
    c->generation++;
    for (uint32_t i = 0; i < c->count; i++)
        c->places[i].known = false;
}

uint64_t lsm_cover_passed_over(struct lsm_cover *c)
{
    uint64_t passed_over = c->passed_over;

    c->passed_over = 0;
    return passed_over;
}

/* ---- stretches ---------------------------------------------------------- */

static bool is_within(const struct lsm_cover *c, const struct lsm_stretch *s, struct lsm_slice key)
{
    return (!s->lo.data || lsm_key_compare(c->cmp, s->lo, key) <= 0) &&
           (!s->hi.data || lsm_key_compare(c->cmp, s->hi, key) > 0);
}

/* *fleeting: the stretch begins at `key`, which is not ours to keep. */
static int level_at(struct lsm_cover *c, struct place *p, struct lsm_slice key, bool *fleeting)
{
    uint32_t i = lsm_level_find(p->level, c->cmp, key);
    const struct lsm_run *run = i < p->level->count ? p->level->runs[i] : NULL;
    struct lsm_stretch *s = &p->stretch;
    int rc;

    *s = (struct lsm_stretch){ .seq = 0 };
    *fleeting = !run || lsm_key_compare(c->cmp, run->meta.smallest, key) > 0;
    if (*fleeting) {                    /* between two tables */
        s->lo = key;
        if (run)
            s->hi = run->meta.smallest;
        return LSM_OK;
    }
    if (run->meta.range_deletes && p->run != run) {
        lsm_table_unref(p->table);
        p->table = NULL;
        p->run = NULL;
        rc = p->how.open(p->how.ctx, run, &p->table);
        if (rc)
            return rc;
        p->run = run;
    }
    if (run->meta.range_deletes)
        lsm_table_range_at(p->table, key, c->at.seq_max, s);
    /* Beyond the table its stretches say nothing. */
    if (!s->lo.data)
        s->lo = run->meta.smallest;
    if (!s->hi.data)
        s->hi = run->meta.largest;
    return LSM_OK;
}

/* What the place says about `key`: its stretch. */
static int place_at(struct lsm_cover *c, struct place *p, struct lsm_slice key)
{
    uint64_t seq_max = p->seq_add >= LSM_SEQ_OWN ? c->at.own_max : c->at.seq_max;
    bool fleeting = false;
    int rc = LSM_OK;

    if (p->known && is_within(c, &p->stretch, key))
        return LSM_OK;
    p->known = false;
    if (p->kind == PLACE_MEMTABLE)
        lsm_memtable_range_at(p->mem, p->tree, c->cmp, key, seq_max, p->seq_add, &p->stretch);
    else if (p->kind == PLACE_TABLE)
        lsm_table_range_at(p->table, key, seq_max, &p->stretch);
    else
        rc = level_at(c, p, key, &fleeting);
    p->known = rc == LSM_OK && !fleeting;
    return rc;
}

/* ---- the filter --------------------------------------------------------- */

struct filter {
    struct lsm_iter base;
    struct lsm_iter *it;
    struct lsm_cover *cover;
    uint32_t newer_count;       /* places */
    bool has_own;               /* the place behind them */

    /* What holds in [lo, hi): good for this generation of the view point. */
    uint64_t generation;
    bool known;
    struct lsm_buf lo, hi;      /* copies: places move on for other filters */
    bool has_lo, has_hi;
    bool is_gone;               /* by a newer place */
    uint64_t own_seq;           /* rows of the place below it are gone; 0: none */
};

static void take_bound(struct lsm_buf *buf, bool *has, struct lsm_slice key)
{
    *has = key.data != NULL;
    lsm_buf_reset(buf);
    if (*has)
        lsm_buf_append_slice(buf, key);
}

/* Find what holds at `key`. */
static int learn(struct filter *f, struct lsm_slice key)
{
    struct lsm_cover *c = f->cover;
    struct lsm_slice lo = { NULL, 0 }, hi = { NULL, 0 };
    uint32_t count = f->newer_count + f->has_own;
    int rc;

    f->known = false;
    f->is_gone = false;
    f->own_seq = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct place *p = &c->places[i];

        rc = place_at(c, p, key);
        if (rc)
            return rc;
        if (i < f->newer_count && p->stretch.seq) {
            f->is_gone = true;          /* the first will do, and how far it reaches */
            lo = p->stretch.lo;
            hi = p->stretch.hi;
            break;
        }
        if (i == f->newer_count)
            f->own_seq = p->stretch.seq;
        if (p->stretch.lo.data && (!lo.data || lsm_key_compare(c->cmp, p->stretch.lo, lo) > 0))
            lo = p->stretch.lo;
        if (p->stretch.hi.data && (!hi.data || lsm_key_compare(c->cmp, p->stretch.hi, hi) < 0))
            hi = p->stretch.hi;
    }
    take_bound(&f->lo, &f->has_lo, lo);
    take_bound(&f->hi, &f->has_hi, hi);
    f->known = f->lo.rc == LSM_OK && f->hi.rc == LSM_OK;
    f->generation = c->generation;
    return f->known ? LSM_OK : LSM_NOMEM;
}

static bool knows(const struct filter *f, struct lsm_slice key)
{
    const struct lsm_comparator *cmp = f->cover->cmp;

    return f->known && f->generation == f->cover->generation &&
           (!f->has_hi || lsm_key_compare(cmp, key, lsm_buf_slice(&f->hi)) < 0) &&
           (!f->has_lo || lsm_key_compare(cmp, key, lsm_buf_slice(&f->lo)) >= 0);
}

/* Show the row where the source stands, or the nearest one that way which is not gone. */
static void settle(struct filter *f, bool back)
{
    struct lsm_iter *it = f->it;

    f->base.valid = false;
    while (it->valid) {
        if (!knows(f, it->key)) {
            f->base.rc = learn(f, it->key);
            if (f->base.rc)
                return;
        }
        if (f->is_gone) {
            if (back ? !f->has_lo : !f->has_hi)
                return;
            if (back)
                lsm_iter_seek_prev(it, lsm_buf_slice(&f->lo), LSM_TAG_MAX);
            else
                lsm_iter_seek(it, lsm_buf_slice(&f->hi), LSM_TAG_MAX);
            continue;
        }
        if (f->own_seq <= lsm_tag_seq(it->tag)) {
            f->base.valid = true;
            f->base.key = it->key;
            f->base.tag = it->tag;
            f->base.value = it->value;
            return;
        }
        f->cover->passed_over++;
        if (back)
            lsm_iter_prev(it);
        else
            lsm_iter_next(it);
    }
    f->base.rc = it->rc;
}

static bool is_inert(struct lsm_iter *base)
{
    base->valid = false;
    return base->rc != LSM_OK;
}

static void filter_first(struct lsm_iter *base)
{
    struct filter *f = (struct filter *)base;

    if (is_inert(base))
        return;
    lsm_iter_first(f->it);
    settle(f, false);
}

static void filter_last(struct lsm_iter *base)
{
    struct filter *f = (struct filter *)base;

    if (is_inert(base))
        return;
    lsm_iter_last(f->it);
    settle(f, true);
}

static void filter_aim(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    lsm_iter_aim(((struct filter *)base)->it, key, tag);
}

static void filter_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct filter *f = (struct filter *)base;

    if (is_inert(base))
        return;
    lsm_iter_seek(f->it, key, tag);
    settle(f, false);
}

static void filter_seek_prev(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct filter *f = (struct filter *)base;

    if (is_inert(base))
        return;
    lsm_iter_seek_prev(f->it, key, tag);
    settle(f, true);
}

static void filter_next(struct lsm_iter *base)
{
    struct filter *f = (struct filter *)base;

    if (base->rc)
        return;
    assert(base->valid);
    lsm_iter_next(f->it);
    settle(f, false);
}

static void filter_prev(struct lsm_iter *base)
{
    struct filter *f = (struct filter *)base;

    if (base->rc)
        return;
    assert(base->valid);
    lsm_iter_prev(f->it);
    settle(f, true);
}

static bool filter_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    return lsm_iter_pin(((struct filter *)base)->it, pin);
}

static void filter_close(struct lsm_iter *base)
{
    struct filter *f = (struct filter *)base;

    lsm_iter_close(f->it);
    lsm_buf_clear(&f->lo);
    lsm_buf_clear(&f->hi);
    lsm_mem_free(f->cover->os, f);
}

int lsm_cover_filter(struct lsm_cover *c, uint32_t newer_count, bool has_own, struct lsm_iter **it)
{
    static const struct lsm_iter_methods methods = {
        .first = filter_first, .last = filter_last, .seek = filter_seek, .seek_prev = filter_seek_prev,
        .next = filter_next, .prev = filter_prev, .close = filter_close, .pin = filter_pin, .aim = filter_aim,
    };
    struct filter *f = lsm_mem_zalloc(c->os, sizeof *f);

    assert(newer_count + has_own <= c->count);
    if (!f) {
        lsm_iter_close(*it);
        *it = NULL;
        return lsm_nomem();
    }
    f->base.methods = &methods;
    f->it = *it;
    f->cover = c;
    f->newer_count = newer_count;
    f->has_own = has_own;
    lsm_buf_init(&f->lo, c->os);
    lsm_buf_init(&f->hi, c->os);
    *it = &f->base;
    return LSM_OK;
}
