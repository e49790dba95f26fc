/*
 * merge.c -- sources that are sorted, kept in the order of the rows where they stand.
 *
 *     order[0]   the source whose row is shown; order[1] the next one, ...
 *
 * After the shown source moved it sinks to its place: one comparison of u64 prefixes where
 * it stays the first, as it does while rows come in runs from one source, and a few
 * where sources are mixed. From SINK_STEPS places on (with a comparator, which costs more,
 * from the second) its place is found by halves.
 *
 * Prefixes are turned over for the way back so that smaller always comes first. A source
 * that is at its end has the greatest prefix and is behind all others with it.
 *
 * Equal rows are ordered by the index of their source, in both directions, so
 * that no two rows are equal here and the way back is the way there.
 *
 * Turning round: the source that is shown stays, the others are sought to the
 * other side of its row (a memtable may have gained rows since they moved, so a
 * single step would not do). An equal row belongs to the one side or the other by
 * its source's index.
 *
 * Threads: as the sources, one at a time.
 */
#include <assert.h>

#include "lsm/format/block.h"
#include "lsm/version/merge.h"

#define SINK_STEPS 4u

struct source {
    struct lsm_iter *it;
    bool ended;
};

struct place {
    uint64_t prefix;            /* of the row where the source stands */
    uint32_t source;
};

struct merge {
    struct lsm_iter base;
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    uint32_t count;
    bool back;                  /* sources stand at or before the row that is shown */
    struct place *order;        /* count of them */
    struct source source[];
};

/* ---- the order ---------------------------------------------------------- */

static bool is_before_at_tie(const struct merge *m, uint32_t i, uint32_t j)
{
    const struct source *a = &m->source[i], *b = &m->source[j];
    int c;

    if (a->ended || b->ended)
        return !a->ended;
    c = lsm_ikey_compare(m->cmp, a->it->key, a->it->tag, b->it->key, b->it->tag);
    if (c == 0)
        c = i < j ? -1 : 1;             /* the same row: in the order of the sources */
    return m->back ? c > 0 : c < 0;
}

static inline bool is_before(const struct merge *m, const struct place *a, const struct place *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    return is_before_at_tie(m, a->source, b->source);
}

/* See where a source stands. False: it failed, and so did the merge. */
static inline bool look(struct merge *m, uint32_t i, struct place *at)
{
    struct source *s = &m->source[i];

    at->source = i;
    s->ended = !s->it->valid;
    if (!s->ended) {
        at->prefix = m->cmp ? 0 : lsm_slice_prefix(s->it->key);
        if (m->back)
            at->prefix = ~at->prefix;
        return true;
    }
    at->prefix = UINT64_MAX;
    if (s->it->rc != LSM_OK) {
        m->base.rc = s->it->rc;
        m->base.valid = false;
        return false;
    }
    return true;
}

/* How many of order[lo, hi) are before it. */
static uint32_t count_before(const struct merge *m, uint32_t lo, uint32_t hi, const struct place *at)
{
    uint32_t from = lo;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (is_before(m, &m->order[mid], at))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - from;
}

/* `at`, which was order[0], belongs behind order[1]. */
static void sink(struct merge *m, struct place at)
{
    struct place *order = m->order;
    uint32_t i = 1, count = m->count, steps = m->cmp ? 2 : SINK_STEPS;

    do {
        order[i - 1] = order[i];
        i++;
    } while (i < count && i < steps && is_before(m, &order[i], &at));
    if (i == steps && i < count) {
        uint32_t more = count_before(m, i, count, &at);

        memmove(order + i - 1, order + i, more * sizeof *order);
        i += more;
    }
    order[i - 1] = at;
}

static inline void show(struct merge *m)
{
    const struct source *s = &m->source[m->order[0].source];

    m->base.valid = !s->ended;
    if (s->ended)
        return;
    m->base.key = s->it->key;
    m->base.tag = s->it->tag;
    m->base.value = s->it->value;
    m->base.begins_block = s->it->begins_block;
    m->base.source = m->order[0].source;
}

/* All sources have moved. */
static void arrange_all(struct merge *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct place at;
        uint32_t before;

        if (!look(m, i, &at))
            return;
        before = count_before(m, 0, i, &at);
        memmove(m->order + before + 1, m->order + before, (i - before) * sizeof at);
        m->order[before] = at;
    }
    show(m);
}

/* The source that is shown has moved. */
static inline void arrange_first(struct merge *m)
{
    struct place at;

    if (!look(m, m->order[0].source, &at))
        return;
    if (is_before(m, &m->order[1], &at))
        sink(m, at);
    else
        m->order[0] = at;
    show(m);
}

/* ---- moves -------------------------------------------------------------- */

enum where { FIRST, LAST, SEEK, SEEK_PREV };

static void position(struct merge *m, enum where where, struct lsm_slice key, uint64_t tag)
{
    m->base.valid = false;
    if (m->base.rc != LSM_OK)
        return;
    m->back = where == LAST || where == SEEK_PREV;
    if (where == SEEK || where == SEEK_PREV)
        for (uint32_t i = 0; i < m->count; i++)
            lsm_iter_aim(m->source[i].it, key, tag);
    for (uint32_t i = 0; i < m->count; i++) {
        struct lsm_iter *it = m->source[i].it;

        switch (where) {
        case FIRST: lsm_iter_first(it); break;
        case LAST: lsm_iter_last(it); break;
        case SEEK: lsm_iter_seek(it, key, tag); break;
        case SEEK_PREV: lsm_iter_seek_prev(it, key, tag); break;
        }
    }
    arrange_all(m);
}

static void merge_first(struct lsm_iter *base)
{
    position((struct merge *)base, FIRST, lsm_slice(NULL, 0), 0);
}

static void merge_last(struct lsm_iter *base)
{
    position((struct merge *)base, LAST, lsm_slice(NULL, 0), 0);
}

static void merge_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    position((struct merge *)base, SEEK, key, tag);
}

static void merge_seek_prev(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    position((struct merge *)base, SEEK_PREV, key, tag);
}

/* The source that is shown steps over its row; the others go to that row's other side. */
static void turn(struct merge *m, bool back)
{
    uint32_t shown = m->order[0].source;
    struct lsm_iter *it = m->source[shown].it;

    m->back = back;
    for (uint32_t i = 0; i < m->count; i++) {
        struct lsm_iter *other = m->source[i].it;

        if (i == shown)
            continue;
        if (back)
            lsm_iter_seek_prev(other, it->key, it->tag);
        else
            lsm_iter_seek(other, it->key, it->tag);
        if (back == (i > shown) && other->valid &&
            lsm_ikey_compare(m->cmp, other->key, other->tag, it->key, it->tag) == 0) {
            if (back)
                lsm_iter_prev(other);
            else
                lsm_iter_next(other);
        }
    }
    if (back)
        lsm_iter_prev(it);
    else
        lsm_iter_next(it);
    arrange_all(m);
}

static void merge_next(struct lsm_iter *base)
{
    struct merge *m = (struct merge *)base;

    if (m->base.rc != LSM_OK)
        return;
    assert(base->valid);
    if (m->back) {
        turn(m, false);
        return;
    }
    lsm_iter_next(m->source[m->order[0].source].it);
    arrange_first(m);
}

static void merge_prev(struct lsm_iter *base)
{
    struct merge *m = (struct merge *)base;

    if (m->base.rc != LSM_OK)
        return;
    assert(base->valid);
    if (!m->back) {
        turn(m, true);
        return;
    }
    lsm_iter_prev(m->source[m->order[0].source].it);
    arrange_first(m);
}

static void merge_leap(struct lsm_iter *base, struct lsm_slice key, uint64_t tag, bool prev)
{
    struct merge *m = (struct merge *)base;

    if (m->base.rc != LSM_OK)
        return;
    assert(base->valid);
    lsm_iter_leap(m->source[m->order[0].source].it, key, tag, prev);
    arrange_first(m);
}

static bool merge_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    struct merge *m = (struct merge *)base;

    return lsm_iter_pin(m->source[m->order[0].source].it, pin);
}

/* The next source's row is the first of all others': a block that ends before its key has no other row between. */
static bool merge_block(struct lsm_iter *base, struct lsm_iter_block *block)
{
    struct merge *m = (struct merge *)base;
    const struct source *next = &m->source[m->order[1].source];

    return !m->back && lsm_iter_block(m->source[m->order[0].source].it, block) &&
           (next->ended || lsm_key_compare(m->cmp, block->last, next->it->key) < 0);
}

static void merge_next_block(struct lsm_iter *base)
{
    struct merge *m = (struct merge *)base;

    if (m->base.rc != LSM_OK)
        return;
    assert(base->valid && !m->back);
    lsm_iter_next_block(m->source[m->order[0].source].it);
    arrange_first(m);
}

static bool merge_part(struct lsm_iter *base, struct lsm_iter_part *part)
{
    struct merge *m = (struct merge *)base;
    const struct source *next = &m->source[m->order[1].source];

    return !m->back && lsm_iter_part(m->source[m->order[0].source].it, part) &&
           (next->ended || lsm_key_compare(m->cmp, part->last, next->it->key) < 0);
}

static void merge_next_part(struct lsm_iter *base)
{
    struct merge *m = (struct merge *)base;

    if (m->base.rc != LSM_OK)
        return;
    assert(base->valid && !m->back);
    lsm_iter_next_part(m->source[m->order[0].source].it);
    arrange_first(m);
}

/* As far as the next source's row. One of the same key is no part of it, but for its last row going back, which
   only says whether the one before it has another key (iter.h). */
static bool merge_streak(struct lsm_iter *base, bool back, struct lsm_iter_streak *streak)
{
    struct merge *m = (struct merge *)base;
    const struct source *next = &m->source[m->order[1].source];
    uint32_t at;

    if (m->back != back || m->cmp || !lsm_iter_streak(m->source[m->order[0].source].it, back, streak))
        return false;
    if (next->ended)
        return true;
    at = lsm_block_seek(streak->block, NULL, next->it->key, back ? 0 : LSM_TAG_MAX);
    if (back) {
        if (at > streak->last)
            streak->last = at;
        return streak->last < streak->row;
    }
    if (at == 0)
        return false;
    if (at - 1 < streak->last)
        streak->last = at - 1;
    return streak->last > streak->row;
}

static void merge_to_row(struct lsm_iter *base, uint32_t row)
{
    struct merge *m = (struct merge *)base;

    lsm_iter_to_row(m->source[m->order[0].source].it, row);
    arrange_first(m);
}

static void merge_close(struct lsm_iter *base)
{
    struct merge *m = (struct merge *)base;

    for (uint32_t i = 0; i < m->count; i++)
        lsm_iter_close(m->source[i].it);
    lsm_mem_free(m->os, m);
}

/* ---- no source ---------------------------------------------------------- */

struct empty {
    struct lsm_iter base;
    struct lsm_os *os;
};

static void empty_move(struct lsm_iter *base) { (void)base; }
static void empty_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    (void)base, (void)key, (void)tag;
}
static void empty_close(struct lsm_iter *base)
{
    struct empty *e = (struct empty *)base;

    lsm_mem_free(e->os, e);
}

static int empty_new(struct lsm_os *os, struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        .first = empty_move, .last = empty_move, .seek = empty_seek, .seek_prev = empty_seek,
        .next = empty_move, .prev = empty_move, .close = empty_close,
    };
    struct empty *e = lsm_mem_zalloc(os, sizeof(*e));

    if (!e)
        return lsm_nomem();
    e->base.methods = &methods;
    e->os = os;
    *out = &e->base;
    return LSM_OK;
}

int lsm_merge_new(struct lsm_os *os, const struct lsm_comparator *cmp, struct lsm_iter **sources,
                  size_t count, struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        .first = merge_first, .last = merge_last, .seek = merge_seek, .seek_prev = merge_seek_prev,
        .next = merge_next, .prev = merge_prev, .close = merge_close, .pin = merge_pin, .leap = merge_leap,
        .block = merge_block, .next_block = merge_next_block, .part = merge_part, .next_part = merge_next_part,
        .streak = merge_streak, .to_row = merge_to_row,
    };
    struct merge *m;
    size_t size = sizeof(*m) + count * (sizeof(struct source) + sizeof(struct place));

    *out = NULL;
    assert(count <= UINT32_MAX);
    if (count == 0)
        return empty_new(os, out);
    if (count == 1) {
        *out = sources[0];
        return LSM_OK;
    }
    m = lsm_mem_zalloc(os, size);
    if (!m) {
        for (size_t i = 0; i < count; i++)
            lsm_iter_close(sources[i]);
        return lsm_nomem();
    }
    m->base.methods = &methods;
    m->os = os;
    m->cmp = cmp;
    m->count = (uint32_t)count;
    m->order = (struct place *)(void *)(m->source + count);
    for (size_t i = 0; i < count; i++)
        m->source[i].it = sources[i];
    *out = &m->base;
    return LSM_OK;
}

/* ---- a level ------------------------------------------------------------ */

struct level {
    struct lsm_iter base;
    struct lsm_os *os;
    struct lsm_level_source source;
    struct lsm_iter *run;       /* the open one, or NULL */
    uint32_t index;             /* its */
};

static bool open_run(struct level *l, uint32_t index)
{
    assert(index < l->source.count);
    if (l->run && l->index == index)
        return true;
    l->index = index;
    if (l->run && l->source.reopen) {
        l->base.rc = l->source.reopen(l->source.ctx, index, l->run);
        return l->base.rc == LSM_OK;
    }
    lsm_iter_close(l->run);
    l->run = NULL;
    l->base.rc = l->source.open(l->source.ctx, index, &l->run);
    return l->base.rc == LSM_OK;
}

/* Show the row where the run stands, or the nearest one that way in the next runs. */
static void settle(struct level *l, bool back)
{
    while (!l->run->valid) {
        l->base.rc = l->run->rc;
        if (l->base.rc != LSM_OK || l->index == (back ? 0 : l->source.count - 1))
            return;
        if (!open_run(l, back ? l->index - 1 : l->index + 1))
            return;
        if (back)
            lsm_iter_last(l->run);
        else
            lsm_iter_first(l->run);
    }
    l->base.valid = true;
    l->base.key = l->run->key;
    l->base.tag = l->run->tag;
    l->base.value = l->run->value;
    l->base.begins_block = l->run->begins_block;
}

/* Nothing to do: failed before, or there is no run. */
static bool is_inert(struct level *l)
{
    l->base.valid = false;
    return l->base.rc != LSM_OK || l->source.count == 0;
}

static void level_first(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (is_inert(l) || !open_run(l, 0))
        return;
    lsm_iter_first(l->run);
    settle(l, false);
}

static void level_last(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (is_inert(l) || !open_run(l, l->source.count - 1))
        return;
    lsm_iter_last(l->run);
    settle(l, true);
}

static void level_aim(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct level *l = (struct level *)base;
    uint32_t index;

    if (is_inert(l))
        return;
    index = l->source.find(l->source.ctx, key);
    if (index < l->source.count && open_run(l, index))
        lsm_iter_aim(l->run, key, tag);
}

static void level_seek(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct level *l = (struct level *)base;
    uint32_t index;

    if (is_inert(l))
        return;
    index = l->source.find(l->source.ctx, key);
    if (index >= l->source.count || !open_run(l, index))
        return;
    lsm_iter_seek(l->run, key, tag);
    settle(l, false);
}

static void level_seek_prev(struct lsm_iter *base, struct lsm_slice key, uint64_t tag)
{
    struct level *l = (struct level *)base;
    uint32_t index;

    if (is_inert(l))
        return;
    index = l->source.find(l->source.ctx, key);
    if (index >= l->source.count) {
        level_last(base);
        return;
    }
    if (!open_run(l, index))
        return;
    lsm_iter_seek_prev(l->run, key, tag);
    settle(l, true);
}

static void level_next(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (l->base.rc != LSM_OK)
        return;
    assert(base->valid);
    base->valid = false;
    lsm_iter_next(l->run);
    settle(l, false);
}

static void level_prev(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (l->base.rc != LSM_OK)
        return;
    assert(base->valid);
    base->valid = false;
    lsm_iter_prev(l->run);
    settle(l, true);
}

static void level_close(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    lsm_iter_close(l->run);
    if (l->source.close)
        l->source.close(l->source.ctx);
    lsm_mem_free(l->os, l);
}

static bool level_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    return lsm_iter_pin(((struct level *)base)->run, pin);
}

static bool level_block(struct lsm_iter *base, struct lsm_iter_block *block)
{
    return lsm_iter_block(((struct level *)base)->run, block);
}

static void level_next_block(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (l->base.rc != LSM_OK)
        return;
    assert(base->valid);
    base->valid = false;
    lsm_iter_next_block(l->run);
    settle(l, false);
}

static bool level_part(struct lsm_iter *base, struct lsm_iter_part *part)
{
    return lsm_iter_part(((struct level *)base)->run, part);
}

static void level_next_part(struct lsm_iter *base)
{
    struct level *l = (struct level *)base;

    if (l->base.rc != LSM_OK)
        return;
    assert(base->valid);
    base->valid = false;
    lsm_iter_next_part(l->run);
    settle(l, false);
}

static bool level_streak(struct lsm_iter *base, bool back, struct lsm_iter_streak *streak)
{
    return lsm_iter_streak(((struct level *)base)->run, back, streak);
}

static void level_to_row(struct lsm_iter *base, uint32_t row)
{
    struct level *l = (struct level *)base;

    base->valid = false;
    lsm_iter_to_row(l->run, row);
    settle(l, false);                   /* it is valid, or has failed */
}

int lsm_level_iter_new(struct lsm_os *os, const struct lsm_level_source *source,
                       struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        .first = level_first, .last = level_last, .seek = level_seek, .seek_prev = level_seek_prev,
        .next = level_next, .prev = level_prev, .close = level_close, .pin = level_pin, .aim = level_aim,
        .block = level_block, .next_block = level_next_block, .part = level_part, .next_part = level_next_part,
        .streak = level_streak, .to_row = level_to_row,
    };
    struct level *l = lsm_mem_zalloc(os, sizeof(*l));

    *out = NULL;
    if (!l) {
        if (source->close)
            source->close(source->ctx);
        return lsm_nomem();
    }
    l->base.methods = &methods;
    l->os = os;
    l->source = *source;
    *out = &l->base;
    return LSM_OK;
}
