/*
 * ranges.c -- fragmenting, looking up, bytes.
 *
 * Fragmenting paints: all ends in order divide the keys into cells; the deletes
 * of one group (between two limits) are laid on from the newest to the oldest,
 * and a cell takes the first colour that it gets. Cells that are painted are
 * linked to the next free one, so that n deletes cost n log n however they
 * overlap: [0, 1) [0, 2) [0, 3) ... is what a log that is trimmed looks like.
 *
 *     cells      |a    |c    |f    |m
 *     [c f)@9           9
 *     [a m)@5     5     9     5              one group: nobody sees between 5 and 9
 *
 * Threads: pure.
 */
#include "lsm/format/ranges.h"

#include <assert.h>

#include "lsm/util/sort.h"

void lsm_ranges_free(struct lsm_ranges *r)
{
    if (!r)
        return;
    lsm_mem_free(r->os, r->range);
    lsm_mem_free(r->os, r->seqs);
    lsm_mem_free(r->os, r->keys);
    lsm_mem_free(r->os, r);
}

uint32_t lsm_ranges_find(const struct lsm_ranges *r, const struct lsm_comparator *cmp,
                         struct lsm_slice key)
{
    uint32_t lo = 0, hi = r->count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (lsm_key_compare(cmp, r->range[mid].hi, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void lsm_ranges_at(const struct lsm_ranges *r, const struct lsm_comparator *cmp,
                   struct lsm_slice key, uint64_t seq_max, uint64_t seq_add,
                   struct lsm_stretch *stretch)
{
    uint32_t i = lsm_ranges_find(r, cmp, key);
    const struct lsm_range *range = &r->range[i];

    *stretch = (struct lsm_stretch){ .seq = 0 };
    if (i > 0)
        stretch->lo = r->range[i - 1].hi;
    if (i == r->count)
        return;
    if (lsm_key_compare(cmp, range->lo, key) > 0) {
        stretch->hi = range->lo;
        return;
    }
    stretch->lo = range->lo;
    stretch->hi = range->hi;
    for (uint32_t k = 0; k < range->seq_count; k++) {
        uint64_t seq = r->seqs[range->seq_at + k] + seq_add;
        if (seq <= seq_max) {
            stretch->seq = seq;
            return;
        }
    }
}

/* ---- making ------------------------------------------------------------- */

struct item {
    size_t lo_at, hi_at;        /* in keys */
    uint32_t lo_size, hi_size;
    uint64_t seq;
};

void lsm_range_set_init(struct lsm_range_set *set, struct lsm_os *os)
{
    lsm_buf_init(&set->items, os);
    lsm_buf_init(&set->keys, os);
}

void lsm_range_set_clear(struct lsm_range_set *set)
{
    lsm_buf_clear(&set->items);
    lsm_buf_clear(&set->keys);
}

size_t lsm_range_set_count(const struct lsm_range_set *set)
{
    return set->items.size / sizeof(struct item);
}

void lsm_range_set_add(struct lsm_range_set *set, struct lsm_slice lo, struct lsm_slice hi,
                       uint64_t seq)
{
    struct item item = { set->keys.size, set->keys.size + lo.size, (uint32_t)lo.size,
                         (uint32_t)hi.size, seq };

    assert(lo.size <= LSM_RANGE_KEY_SIZE_MAX && hi.size <= LSM_RANGE_KEY_SIZE_MAX);
    lsm_buf_append_slice(&set->keys, lo);
    lsm_buf_append_slice(&set->keys, hi);
    lsm_buf_append(&set->items, &item, sizeof item);
}

struct order {
    const struct lsm_comparator *cmp;
};

static int compare_keys(void *ctx, const void *a, const void *b)
{
    return lsm_key_compare(((struct order *)ctx)->cmp, *(const struct lsm_slice *)a,
                           *(const struct lsm_slice *)b);
}

static int compare_newest_first(void *ctx, const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    (void)ctx;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

struct paint {                  /* one colour of one cell */
    uint32_t cell;
    uint64_t seq;
};

struct canvas {
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    const uint8_t *keys;
    struct lsm_slice *ends;     /* all, ascending; cell i is [ends[i], ends[i + 1]) */
    uint32_t end_count;
    uint32_t *next_free;        /* cell -> itself, or one behind it */
    uint32_t *count;            /* cell -> colours */
    struct lsm_buf paint;
};

static struct lsm_slice item_lo(const struct canvas *c, const struct item *item)
{
    return lsm_slice(c->keys + item->lo_at, item->lo_size);
}

static struct lsm_slice item_hi(const struct canvas *c, const struct item *item)
{
    return lsm_slice(c->keys + item->hi_at, item->hi_size);
}

static void collect_ends(struct canvas *c, const struct item *items, size_t count)
{
    struct order order = { c->cmp };
    uint32_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        c->ends[2 * i] = item_lo(c, &items[i]);
        c->ends[2 * i + 1] = item_hi(c, &items[i]);
    }
    lsm_sort(c->ends, 2 * count, sizeof *c->ends, compare_keys, &order);
    for (size_t i = 0; i < 2 * count; i++)
        if (kept == 0 || lsm_key_compare(c->cmp, c->ends[kept - 1], c->ends[i]) != 0)
            c->ends[kept++] = c->ends[i];
    c->end_count = kept;
}

static uint32_t end_index(const struct canvas *c, struct lsm_slice key)
{
    uint32_t lo = 0, hi = c->end_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (lsm_key_compare(c->cmp, c->ends[mid], key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint32_t free_cell(struct canvas *c, uint32_t cell)
{
    uint32_t end = cell;

    while (c->next_free[end] != end)
        end = c->next_free[end];
    while (c->next_free[cell] != end) {         /* the way is shorter next time */
        uint32_t next = c->next_free[cell];
        c->next_free[cell] = end;
        cell = next;
    }
    return end;
}

/* One group, newest first. */
static void paint_group(struct canvas *c, const struct item *items, size_t count)
{
    for (uint32_t i = 0; i <= c->end_count; i++)
        c->next_free[i] = i;
    for (size_t i = 0; i < count; i++) {
        uint32_t end = end_index(c, item_hi(c, &items[i]));
        uint32_t cell = free_cell(c, end_index(c, item_lo(c, &items[i])));

        for (; cell < end; cell = free_cell(c, cell)) {
            struct paint paint = { cell, items[i].seq };
            lsm_buf_append(&c->paint, &paint, sizeof paint);
            c->count[cell]++;
            c->next_free[cell] = cell + 1;
        }
    }
}

/* Of the limits: the first that is not below. All above the last are one group. */
static size_t group_of(const uint64_t *limits, size_t count, uint64_t seq)
{
    size_t lo = 0, hi = count;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (limits[mid] >= seq)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static bool same_seqs(const struct lsm_ranges *r, const struct lsm_range *a,
                      const struct lsm_range *b)
{
    return a->seq_count == b->seq_count &&
           memcmp(r->seqs + a->seq_at, r->seqs + b->seq_at, a->seq_count * sizeof *r->seqs) == 0;
}

/* From painted cells to stretches; neighbours of the same colours become one. */
static int make_ranges(struct canvas *c, struct lsm_range_set *set, struct lsm_ranges **out)
{
    const struct paint *paint = (const void *)c->paint.data;
    size_t paint_count = c->paint.size / sizeof *paint;
    struct lsm_ranges *r = lsm_mem_zalloc(c->os, sizeof *r);
    uint32_t at = 0;

    if (paint_count > UINT32_MAX) {
        lsm_mem_free(c->os, r);
        return lsm_fail(LSM_TOOBIG, "range deletes make more than 2^32 stretches");
    }
    if (r) {
        r->os = c->os;
        r->range = lsm_mem_alloc(c->os, c->end_count * sizeof *r->range);
        r->seqs = lsm_mem_alloc(c->os, paint_count * sizeof *r->seqs);
    }
    if (!r || !r->range || !r->seqs) {
        lsm_ranges_free(r);
        return lsm_nomem();
    }
    /* next_free is done with: now where a cell's colours begin. */
    for (uint32_t i = 0; i < c->end_count; i++) {
        c->next_free[i] = at;
        at += c->count[i];
    }
    r->seq_count = at;
    for (size_t i = 0; i < paint_count; i++)
        r->seqs[c->next_free[paint[i].cell]++] = paint[i].seq;
    for (uint32_t i = 0; i < c->end_count; i++) {
        struct lsm_range *last = r->count ? &r->range[r->count - 1] : NULL;
        if (c->count[i] == 0)
            continue;
        struct lsm_range range = { c->ends[i], c->ends[i + 1], c->next_free[i] - c->count[i],
                                   c->count[i] };
        for (uint32_t k = 0; k < range.seq_count; k++) {
            uint64_t seq = r->seqs[range.seq_at + k];
            if (r->seq_max < seq)
                r->seq_max = seq;
            if (r->seq_min == 0 || r->seq_min > seq)
                r->seq_min = seq;
        }
        if (last && lsm_key_compare(c->cmp, last->hi, range.lo) == 0 && same_seqs(r, last, &range))
            last->hi = range.hi;
        else
            r->range[r->count++] = range;
    }
    r->keys = set->keys.data;           /* the stretches point into it */
    r->memory = sizeof *r + c->end_count * sizeof *r->range + paint_count * sizeof *r->seqs +
                set->keys.cap;
    set->keys.data = NULL;
    set->keys.size = set->keys.cap = 0;
    *out = r;
    return LSM_OK;
}

int lsm_range_set_finish(struct lsm_range_set *set, const struct lsm_comparator *cmp,
                         const uint64_t *limits, size_t limit_count, struct lsm_ranges **ranges)
{
    struct lsm_os *os = set->items.os;
    struct item *items = (void *)set->items.data;
    size_t count = lsm_range_set_count(set);
    struct canvas c = { .os = os, .cmp = cmp, .keys = set->keys.data };
    int rc = set->items.rc ? set->items.rc : set->keys.rc;

    *ranges = NULL;
    if (rc || count == 0) {
        lsm_range_set_clear(set);
        return rc;
    }
    if (count >= UINT32_MAX / 2)
        return lsm_fail(LSM_TOOBIG, "%zu range deletes at once", count);
    lsm_buf_init(&c.paint, os);
    c.ends = lsm_mem_alloc(os, 2 * count * sizeof *c.ends);
    if (c.ends)
        collect_ends(&c, items, count);
    c.next_free = lsm_mem_alloc(os, (2 * count + 1) * sizeof *c.next_free);
    c.count = lsm_mem_zalloc(os, 2 * count * sizeof *c.count);
    rc = c.ends && c.next_free && c.count ? LSM_OK : lsm_nomem();
    if (rc == LSM_OK) {
        lsm_sort(items, count, sizeof *items, compare_newest_first, NULL);
        for (size_t i = 0, end; i < count; i = end) {
            size_t group = group_of(limits, limit_count, items[i].seq);
            for (end = i + 1; end < count && group_of(limits, limit_count, items[end].seq) == group;)
                end++;
            paint_group(&c, items + i, end - i);
        }
        rc = c.paint.rc ? c.paint.rc : make_ranges(&c, set, ranges);
    }
    lsm_mem_free(os, c.ends);
    lsm_mem_free(os, c.next_free);
    lsm_mem_free(os, c.count);
    lsm_buf_clear(&c.paint);
    lsm_range_set_clear(set);
    return rc;
}

/* ---- bytes -------------------------------------------------------------- */

void lsm_range_encode(struct lsm_buf *out, struct lsm_slice lo, struct lsm_slice hi,
                      const uint64_t *seqs, uint32_t count)
{
    assert(count > 0);
    lsm_buf_put_bytes(out, lo);
    lsm_buf_put_bytes(out, hi);
    lsm_buf_put_varint(out, count);
    lsm_buf_put_varint(out, seqs[0]);
    for (uint32_t i = 1; i < count; i++) {
        assert(seqs[i] < seqs[i - 1]);
        lsm_buf_put_varint(out, seqs[i - 1] - seqs[i]);
    }
}

/* One stretch. Without room (*seqs NULL) it is only checked and counted. */
static bool decode_one(struct lsm_reader *r, struct lsm_range *range, uint64_t *seqs)
{
    uint64_t seq = 0;

    range->lo = lsm_read_bytes(r);
    range->hi = lsm_read_bytes(r);
    range->seq_count = lsm_read_varint32(r);
    if (r->bad || range->lo.size > LSM_RANGE_KEY_SIZE_MAX ||
        range->hi.size > LSM_RANGE_KEY_SIZE_MAX || range->seq_count == 0 ||
        range->seq_count > lsm_reader_left(r))
        return false;
    for (uint32_t i = 0; i < range->seq_count; i++) {
        uint64_t v = lsm_read_varint(r);
        if (r->bad || (i ? v == 0 || v > seq : v > LSM_SEQ_MAX))
            return false;
        seq = i ? seq - v : v;
        if (seqs)
            seqs[i] = seq;
    }
    return true;
}

int lsm_ranges_decode(struct lsm_os *os, const struct lsm_comparator *cmp, struct lsm_slice bytes,
                      const char *file, uint64_t off, struct lsm_ranges **out)
{
    struct lsm_reader reader = lsm_reader(bytes);
    struct lsm_range range, before = { .seq_count = 0 };
    uint64_t count = 0, seq_count = 0;
    struct lsm_ranges *r;

    *out = NULL;
    while (lsm_reader_left(&reader)) {
        if (!decode_one(&reader, &range, NULL))
            return lsm_corrupt(file, off, "a range delete is malformed");
        if (lsm_key_compare(cmp, range.lo, range.hi) >= 0 ||
            (count && lsm_key_compare(cmp, before.hi, range.lo) > 0))
            return lsm_corrupt(file, off, "range deletes are not in order");
        before = range;
        count++;
        seq_count += range.seq_count;
    }
    if (count == 0 || seq_count > UINT32_MAX)
        return lsm_corrupt(file, off, "an impossible number of range deletes");

    r = lsm_mem_zalloc(os, sizeof *r);
    if (r) {
        r->os = os;
        r->range = lsm_mem_alloc(os, count * sizeof *r->range);
        r->seqs = lsm_mem_alloc(os, seq_count * sizeof *r->seqs);
        r->keys = lsm_mem_alloc(os, bytes.size);
    }
    if (!r || !r->range || !r->seqs || !r->keys) {
        lsm_ranges_free(r);
        return lsm_nomem();
    }
    memcpy(r->keys, bytes.data, bytes.size);
    reader = lsm_reader(lsm_slice(r->keys, bytes.size));
    r->seq_min = UINT64_MAX;
    while (r->count < count) {
        struct lsm_range *to = &r->range[r->count++];
        decode_one(&reader, to, r->seqs + r->seq_count);
        to->seq_at = r->seq_count;
        r->seq_count += to->seq_count;
        if (r->seq_max < r->seqs[to->seq_at])
            r->seq_max = r->seqs[to->seq_at];
        if (r->seq_min > r->seqs[r->seq_count - 1])
            r->seq_min = r->seqs[r->seq_count - 1];
    }
    r->memory = sizeof *r + count * sizeof *r->range + seq_count * sizeof *r->seqs + bytes.size;
    *out = r;
    return LSM_OK;
}
