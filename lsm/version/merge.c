/*
 * merge.c -- a loser tree over sources that are sorted.
 *
 *     loser[0]  the source whose row is shown
 *     loser[n]  who lost the match at inner node n; source i enters at (i + count) / 2
 *
 * After the winner moved only its way up is played again: one comparison a
 * level, of u64 prefixes, turned over for the way back so that smaller always
 * wins. A source that is at its end has the greatest prefix and loses all ties.
 *
 * Rows tend to come in runs from one source. When a source wins twice the best
 * of the others, which is among those that it beat on its way up, is looked for
 * once; as long as the winner stays before it nothing is played.
 *
 * Equal rows are ordered by the index of their source, in both directions, so
 * that no two rows are equal for the tree and the way back is the way there.
 *
 * Turning round: the source that is shown stays, the others are sought to the
 * other side of its row (a memtable may have gained rows since they moved, so a
 * single step would not do). An equal row belongs to the one side or the other by
 * its source's index.
 *
 * Threads: as the sources, one at a time.
 */
#include <assert.h>

#include "lsm/version/merge.h"

#define NONE UINT32_MAX

struct source {
    struct lsm_iter *it;
    uint64_t prefix;
    bool ended;
};

struct merge {
    struct lsm_iter base;
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    uint32_t count;
    uint32_t second;            /* the best but the winner, where it is known, else NONE */
    bool back;                  /* sources stand at or before the row that is shown */
    uint32_t *loser;            /* count of them */
    struct source source[];
};

/* ---- matches ------------------------------------------------------------ */

static bool wins_tie(const struct merge *m, const struct source *a, const struct source *b)
{
    int c;

    if (a->ended || b->ended)
        return !a->ended;
    c = lsm_ikey_compare(m->cmp, a->it->key, a->it->tag, b->it->key, b->it->tag);
    if (c == 0)
        c = a < b ? -1 : 1;             /* the same row: in the order of the sources */
    return m->back ? c > 0 : c < 0;
}

static inline bool wins(const struct merge *m, uint32_t a, uint32_t b)
{
    const struct source *x = &m->source[a], *y = &m->source[b];

    if (x->prefix != y->prefix)
        return x->prefix < y->prefix;
    return wins_tie(m, x, y);
}

/* See where a source stands. False: it failed, and so did the merge. */
static inline bool look(struct merge *m, uint32_t i)
{
    struct source *s = &m->source[i];

    s->ended = !s->it->valid;
    if (!s->ended) {
        s->prefix = m->cmp ? 0 : lsm_slice_prefix(s->it->key);
        if (m->back)
            s->prefix = ~s->prefix;
        return true;
    }
    s->prefix = UINT64_MAX;
    if (s->it->rc != LSM_OK) {
        m->base.rc = s->it->rc;
        m->base.valid = false;
        return false;
    }
    return true;
}

/* Who wins is as good as random where sources are mixed: no branch on it but for ties. */
static inline void play_up(struct merge *m, uint32_t i)
{
    uint32_t winner = i;
    uint64_t prefix = m->source[i].prefix;

    for (uint32_t n = (i + m->count) / 2; n > 0; n /= 2) {
        uint32_t other = m->loser[n], change;
        uint64_t other_prefix = m->source[other].prefix;
        bool other_wins = other_prefix < prefix;

        if (__builtin_expect(other_prefix == prefix, 0))
            other_wins = wins_tie(m, &m->source[other], &m->source[winner]);
        change = (winner ^ other) & -(uint32_t)other_wins;
        winner ^= change;
        m->loser[n] = other ^ change;
        prefix ^= (prefix ^ other_prefix) & -(uint64_t)other_wins;
    }
    m->loser[0] = winner;
}

/* The winner below inner node n, leaving the losers in their places. */
static uint32_t play_below(struct merge *m, uint32_t n)
{
    uint32_t a, b;

    if (n >= m->count)
        return n - m->count;
    a = play_below(m, 2 * n);
    b = play_below(m, 2 * n + 1);
    if (wins(m, b, a)) {
        m->loser[n] = a;
        return b;
    }
    m->loser[n] = b;
    return a;
}

static uint32_t find_second(const struct merge *m)
{
    uint32_t n = (m->loser[0] + m->count) / 2, best = m->loser[n];

    for (n /= 2; n > 0; n /= 2)
        if (wins(m, m->loser[n], best))
            best = m->loser[n];
    return best;
}

static inline void show(struct merge *m)
{
    const struct source *s = &m->source[m->loser[0]];

    m->base.valid = !s->ended;
    if (s->ended)
        return;
    m->base.key = s->it->key;
    m->base.tag = s->it->tag;
    m->base.value = s->it->value;
}

/* All sources have moved. */
static void play_all(struct merge *m)
{
    m->loser[0] = play_below(m, 1);
    m->second = NONE;
    show(m);
}

/* The winner has moved. */
static inline void play_winner(struct merge *m)
{
    uint32_t winner = m->loser[0];

    if (!look(m, winner))
        return;
    if (m->second == NONE || !wins(m, winner, m->second)) {
        play_up(m, winner);
        m->second = m->loser[0] == winner ? find_second(m) : NONE;
    }
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
    for (uint32_t i = 0; i < m->count; i++) {
        struct lsm_iter *it = m->source[i].it;

        switch (where) {
        case FIRST: lsm_iter_first(it); break;
        case LAST: lsm_iter_last(it); break;
        case SEEK: lsm_iter_seek(it, key, tag); break;
        case SEEK_PREV: lsm_iter_seek_prev(it, key, tag); break;
        }
        if (!look(m, i))
            return;
    }
    play_all(m);
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

/* The winner steps over its row; the others go to that row's other side. */
static void turn(struct merge *m, bool back)
{
    uint32_t winner = m->loser[0];
    struct lsm_iter *it = m->source[winner].it;

    m->back = back;
    for (uint32_t i = 0; i < m->count; i++) {
        struct lsm_iter *other = m->source[i].it;

        if (i == winner)
            continue;
        if (back)
            lsm_iter_seek_prev(other, it->key, it->tag);
        else
            lsm_iter_seek(other, it->key, it->tag);
        if (back == (i > winner) && other->valid &&
            lsm_ikey_compare(m->cmp, other->key, other->tag, it->key, it->tag) == 0) {
            if (back)
                lsm_iter_prev(other);
            else
                lsm_iter_next(other);
        }
        if (!look(m, i))
            return;
    }
    if (back)
        lsm_iter_prev(it);
    else
        lsm_iter_next(it);
    if (look(m, winner))
        play_all(m);
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
    lsm_iter_next(m->source[m->loser[0]].it);
    play_winner(m);
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
    lsm_iter_prev(m->source[m->loser[0]].it);
    play_winner(m);
}

static bool merge_pin(struct lsm_iter *base, struct lsm_iter_pin *pin)
{
    struct merge *m = (struct merge *)base;

    return lsm_iter_pin(m->source[m->loser[0]].it, pin);
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
        empty_move, empty_move, empty_seek, empty_seek, empty_move, empty_move, empty_close, NULL
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
        merge_first, merge_last, merge_seek, merge_seek_prev, merge_next, merge_prev, merge_close,
        merge_pin
    };
    struct merge *m;
    size_t size = sizeof(*m) + count * (sizeof(struct source) + sizeof(uint32_t));

    *out = NULL;
    assert(count < NONE / 2);
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
    m->second = NONE;
    m->loser = (uint32_t *)(void *)(m->source + count);
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
    lsm_iter_close(l->run);
    l->run = NULL;
    l->index = index;
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

int lsm_level_iter_new(struct lsm_os *os, const struct lsm_level_source *source,
                       struct lsm_iter **out)
{
    static const struct lsm_iter_methods methods = {
        level_first, level_last, level_seek, level_seek_prev, level_next, level_prev, level_close,
        level_pin
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
