/*
 * visible.c -- forward: the first version that the snapshot sees decides, the
 * older ones are passed over by key. Backward: versions come oldest first, so
 * the newest one seen so far is kept until the key changes.
 *
 * A compaction may be cut short after some of its outputs were installed; then
 * one row stands in two sources with the same tag. Both passes treat the second
 * one as an older version.
 *
 * Leaps: a source that shows version after version of one key is sent to the end of those
 * that are of no account. Without it a table of 100 counters, each updated 2,000 times in a transaction or since the
 * last flush, costs 5 ms a scan; LevelDB's and RocksDB's users know that as slow queues.
 *
 * Streaks: where many rows of one block come next, before any of another source, they
 * are taken from the block, without a step of the sources: that saves a fifth of the
 * instructions of a scan, a third of one going back. Where another source has each second row it costs a
 * twentieth; with each tenth it is even. Only what needs no judgement is: a row that the reader sees, no
 * tombstone, and with another key than the row before it in the block (backward:
 * the one that comes next, which would be newer). At any other row the source follows, and
 * settles as it would have done without.
 */
#include "lsm/version/visible.h"

#include <assert.h>

#define LEAP_AFTER 8u           /* versions: as many steps cost what a memtable's seek does */
#define STREAK_MIN 8u           /* rows: fewer are not worth the search for their end */
#define STREAK_ASKS 2u          /* after a seek, which may stand anywhere in a block */
#define STREAK_ASKS_MAX 8u

void lsm_visible_init(struct lsm_visible *v, struct lsm_os *os)
{
    memset(v, 0, sizeof *v);
    lsm_buf_init(&v->key_buf, os);
    lsm_buf_init(&v->value_buf, os);
    lsm_buf_init(&v->unseen_key, os);
}

static void begin(struct lsm_visible *v, bool backward)
{
    v->backward = backward;
    v->valid = v->skip = v->paused = v->passed_own = false;
}

/* The sources will be sought: where they stand is of no account. */
static void end_streak(struct lsm_visible *v)
{
    v->streak.block = NULL;
    v->asks = STREAK_ASKS;
}

void lsm_visible_set(struct lsm_visible *v, struct lsm_iter *it, const struct lsm_comparator *cmp,
                     struct lsm_view_point at)
{
    v->it = it;
    v->cmp = cmp;
    v->at = at;
    v->pause_after = 0;
    begin(v, false);
    end_streak(v);
    lsm_buf_reset(&v->key_buf);         /* one that had no memory has it again */
    lsm_buf_reset(&v->value_buf);
    v->rc = LSM_OK;
}

void lsm_visible_clear(struct lsm_visible *v)
{
    lsm_buf_clear(&v->key_buf);
    lsm_buf_clear(&v->value_buf);
    lsm_buf_clear(&v->unseen_key);
    v->it = NULL;
    v->valid = false;
}

static void stop(struct lsm_visible *v, int rc)
{
    v->valid = false;
    if (v->rc == LSM_OK)
        v->rc = rc;
}

static void keep(struct lsm_buf *buf, struct lsm_slice bytes)
{
    lsm_buf_reset(buf);
    lsm_buf_append_slice(buf, bytes);
}

/*
 * Every row's key is kept for telling the key's further versions from the next key, so
 * both go without a call for keys of usual size. Neighbours differ in their last bytes.
 */
static inline void keep_key(struct lsm_visible *v, struct lsm_slice key)
{
    struct lsm_buf *buf = &v->key_buf;

    if (key.data == buf->data && key.size == buf->size)
        return;                 /* of a streak: it was made there */
    if (key.size < 8 || key.size > 32 || key.size > buf->cap || buf->rc) {
        keep(buf, key);
        return;
    }
    if (key.size >= 16) {
        memcpy(buf->data, key.data, 16);
        memcpy(buf->data + key.size - 16, key.data + key.size - 16, 16);
    } else {
        memcpy(buf->data, key.data, 8);
        memcpy(buf->data + key.size - 8, key.data + key.size - 8, 8);
    }
    buf->size = key.size;
}

static inline bool is_kept(const struct lsm_visible *v, struct lsm_slice key)
{
    const struct lsm_buf *buf = &v->key_buf;

    if (v->cmp)
        return lsm_key_compare(v->cmp, key, lsm_buf_slice(buf)) == 0;
    if (key.size != buf->size)
        return false;
    if (key.size >= 8 && lsm_get_be64(key.data + key.size - 8) != lsm_get_be64(buf->data + key.size - 8))
        return false;
    return key.size == 0 || memcmp(key.data, buf->data, key.size) == 0;
}

static void pass_over(struct lsm_visible *v)
{
    v->passed_over++;
    v->passed_own |= lsm_tag_seq(v->it->tag) > LSM_SEQ_OWN;
}

static inline void step(struct lsm_visible *v)
{
    pass_over(v);
    if (v->backward)
        lsm_iter_prev(v->it);
    else
        lsm_iter_next(v->it);
}

/* ---- leaps ---- */

/* The greatest tag that the reader sees at or below one of the same kind, its own or a published one. */
static uint64_t newest_seen(const struct lsm_visible *v, uint64_t tag)
{
    bool own = lsm_tag_seq(tag) > LSM_SEQ_OWN && v->at.own_max;

    return lsm_tag(own ? v->at.own_max : v->at.seq_max, LSM_KIND_MAX);
}

/* Go past a row that the reader does not see; of many of one key, past all in its source. What is remembered of the
   key is a hint: without memory for it there is no leap. */
static void pass_unseen(struct lsm_visible *v, uint32_t *unseen)
{
    struct lsm_slice key = v->it->key, remembered = lsm_buf_slice(&v->unseen_key);
    uint64_t tag = v->it->tag;

    if (++*unseen % LEAP_AFTER) {
        step(v);
        return;
    }
    if (*unseen == LEAP_AFTER || v->unseen_key.rc || lsm_key_compare(v->cmp, key, remembered) != 0) {
        keep(&v->unseen_key, key);
        step(v);
        return;
    }
    pass_over(v);
    if (!v->backward)
        lsm_iter_leap(v->it, remembered, newest_seen(v, tag), false);
    else if (lsm_tag_seq(tag) > LSM_SEQ_OWN || !v->at.own_max)
        lsm_iter_leap(v->it, remembered, LSM_TAG_MAX, true);
    else                        /* rows of its own are newer, and may be seen */
        lsm_iter_leap(v->it, remembered, lsm_tag(LSM_SEQ_OWN, LSM_KIND_MAX), true);
}

/* Forward: go past an older version of the key that is kept. */
static inline void pass_older(struct lsm_visible *v, uint32_t *older)
{
    if (++*older < LEAP_AFTER) {
        step(v);
        return;
    }
    *older = 0;
    pass_over(v);
    lsm_iter_leap(v->it, lsm_buf_slice(&v->key_buf), 0, false);
}

/* Backward: another version of the key that is kept. True: its source went to the newest one there that is seen. */
static inline bool leap_to_newest(struct lsm_visible *v, uint32_t *newer)
{
    if (++*newer < LEAP_AFTER)
        return false;
    *newer = 0;
    lsm_iter_leap(v->it, lsm_buf_slice(&v->key_buf), newest_seen(v, v->it->tag), false);
    return true;
}

/* ---- settling ---- */

/* Stand on the first visible row at or after the source's position. */
static void settle_forward(struct lsm_visible *v)
{
    struct lsm_iter *it = v->it;
    uint64_t pause_at = v->pause_after ? v->pause_after : UINT64_MAX;
    uint32_t unseen = 0, older = 0;

    for (v->passed_over = 0; it->valid;) {
        if (v->passed_over == pause_at) {
            v->paused = true;
            return;
        }
        if (!lsm_view_sees(&v->at, it->tag)) {
            pass_unseen(v, &unseen);
            continue;
        }
        if (v->skip && is_kept(v, it->key)) {
            pass_older(v, &older);
            continue;
        }
        if (lsm_tag_kind(it->tag) == LSM_KIND_DELETE) {
            keep_key(v, it->key);
            if (v->key_buf.rc) {
                stop(v, v->key_buf.rc);
                return;
            }
            v->skip = true;
            older = 0;
            step(v);
            continue;
        }
        v->key = it->key;
        v->value = it->value;
        v->tag = it->tag;
        v->valid = true;
        return;
    }
    stop(v, it->rc);
}

/* The source stands on the last row of the candidate keys; find the nearest key before or at it
   that the snapshot sees, and leave the source before that key's versions. */
static void settle_backward(struct lsm_visible *v)
{
    struct lsm_iter *it = v->it;
    uint64_t pause_at = v->pause_after ? v->pause_after : UINT64_MAX;
    bool found = false;         /* key_buf is the key being looked at, its best version kept */
    uint64_t tag = 0;
    uint32_t unseen = 0, newer = 0;

    for (v->passed_over = 0; it->valid;) {
        bool same = found && is_kept(v, it->key);

        if (!same && v->passed_over >= pause_at && (!found || lsm_tag_kind(tag) == LSM_KIND_DELETE)) {
            v->paused = true;
            return;
        }
        if (!lsm_view_sees(&v->at, it->tag)) {
            pass_unseen(v, &unseen);
            continue;
        }
        if (found && !same && lsm_tag_kind(tag) != LSM_KIND_DELETE)
            break;
        if (!same)
            newer = 0;
        else if (leap_to_newest(v, &newer))
            continue;
        if (!same || v->cmp)    /* a newer row of the key may have other bytes: they are the key's */
            keep_key(v, it->key);
        tag = it->tag;
        if (lsm_tag_kind(tag) != LSM_KIND_DELETE)
            keep(&v->value_buf, it->value);
        found = true;
        if (v->key_buf.rc || v->value_buf.rc) {
            stop(v, LSM_NOMEM);
            return;
        }
        step(v);
    }
    if (it->rc) {
        stop(v, it->rc);
        return;
    }
    if (!found || lsm_tag_kind(tag) == LSM_KIND_DELETE) {
        stop(v, LSM_OK);
        return;
    }
    v->key = lsm_buf_slice(&v->key_buf);
    v->value = lsm_buf_slice(&v->value_buf);
    v->tag = tag;
    v->valid = true;
}

/* ---- streaks ---- */

/* Rows i and i - 1 of the block have one key. */
static inline bool same_key(const struct lsm_block *block, uint32_t i)
{
    struct lsm_slice a, b, value;
    uint64_t tag;

    if (block->key_prefix[i] != block->key_prefix[i - 1])
        return false;
    lsm_block_row(block, i - 1, &a, &tag, &value);
    lsm_block_row(block, i, &b, &tag, &value);
    return lsm_slice_equal(a, b);
}

/* See whether rows of one block come next, where it may be worth it. */
static __attribute__((noinline)) bool begin_streak(struct lsm_visible *v)
{
    struct lsm_iter_streak *s = &v->streak;
    const struct lsm_block *block;

    if (v->cmp)
        return false;           /* equal keys may have other bytes */
    v->asks -= v->asks > 0;
    if (!lsm_iter_streak(v->it, v->backward, s) || (v->backward ? s->row - s->last : s->last - s->row) < STREAK_MIN) {
        s->block = NULL;
        return false;
    }
    block = s->block;
    v->streak_begin = s->row;
    if (v->key_buf.cap < block->prefix_size + LSM_BLOCK_COPY_SIZE) {
        lsm_buf_reset(&v->key_buf);
        if (lsm_buf_reserve(&v->key_buf, block->prefix_size + (size_t)LSM_BLOCK_COPY_SIZE)) {
            s->block = NULL;    /* whoever needs the buffer will say so */
            v->key_buf.rc = LSM_OK;
            return false;
        }
    }
    memcpy(v->key_buf.data, block->prefix, block->prefix_size);
    v->key_buf.size = block->prefix_size;
    return true;
}

/* The source goes where the streak has come to. */
static __attribute__((noinline)) void leave_streak(struct lsm_visible *v)
{
    struct lsm_iter_streak *s = &v->streak;
    uint32_t rows = v->backward ? v->streak_begin - s->row : s->row - v->streak_begin;

    s->block = NULL;
    if (rows == 0)
        return;
    lsm_iter_to_row(v->it, s->row);
    v->asks += rows / 4;        /* another source has a row here: there may be more for us behind it */
    if (v->asks > STREAK_ASKS_MAX)
        v->asks = STREAK_ASKS_MAX;
}

/* Show row i of the streak's block, if it is one that needs no judgement. */
static inline bool show(struct lsm_visible *v, uint32_t i)
{
    const struct lsm_block *block = v->streak.block;
    struct lsm_buf *buf = &v->key_buf;
    struct lsm_slice suffix, value;
    size_t size;
    uint64_t tag;

    lsm_block_row(block, i, &suffix, &tag, &value);
    tag += v->streak.tag_add;
    if (lsm_tag_kind(tag) == LSM_KIND_DELETE || !lsm_view_sees(&v->at, tag))
        return false;
    if (block->prefix_size == 0) {
        v->key = suffix;
    } else {
        size = block->prefix_size + suffix.size;
        if (size + LSM_BLOCK_COPY_SIZE > buf->cap) {
            buf->size = block->prefix_size;
            if (lsm_buf_reserve(buf, suffix.size + LSM_BLOCK_COPY_SIZE)) {
                buf->rc = LSM_OK;
                return false;
            }
        }
        lsm_block_copy_suffix(block, suffix, buf->data + block->prefix_size);
        buf->size = size;
        v->key = lsm_slice(buf->data, size);
    }
    v->value = value;
    v->tag = tag;
    return true;
}

static inline bool streak_next(struct lsm_visible *v)
{
    struct lsm_iter_streak *s = &v->streak;

    if (s->row == s->last || same_key(s->block, s->row + 1) || !show(v, s->row + 1))
        return false;
    s->row++;
    return true;
}

static inline bool streak_prev(struct lsm_visible *v)
{
    struct lsm_iter_streak *s = &v->streak;

    if (s->row == s->last || same_key(s->block, s->row) || !show(v, s->row))
        return false;
    s->row--;
    return true;
}

/* ---- moves ---- */

void lsm_visible_resume(struct lsm_visible *v)
{
    assert(v->paused);
    v->paused = false;
    if (v->backward)
        settle_backward(v);
    else
        settle_forward(v);
}

void lsm_visible_first(struct lsm_visible *v)
{
    if (v->rc)
        return;
    begin(v, false);
    end_streak(v);
    lsm_iter_first(v->it);
    settle_forward(v);
}

void lsm_visible_seek(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, false);
    end_streak(v);
    lsm_iter_seek(v->it, key, LSM_TAG_MAX);
    settle_forward(v);
}

void lsm_visible_last(struct lsm_visible *v)
{
    if (v->rc)
        return;
    begin(v, true);
    end_streak(v);
    lsm_iter_last(v->it);
    settle_backward(v);
}

void lsm_visible_seek_prev(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, true);
    end_streak(v);
    lsm_iter_seek_prev(v->it, key, 0);
    settle_backward(v);
}

/* No row has LSM_TAG_MAX, so what is found has a smaller key. */
void lsm_visible_seek_before(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, true);
    end_streak(v);
    lsm_iter_seek_prev(v->it, key, LSM_TAG_MAX);
    settle_backward(v);
}

void lsm_visible_next(struct lsm_visible *v)
{
    bool was_backward = v->backward;

    assert(v->valid);
    if (v->streak.block || v->asks || v->it->begins_block) {
        if (!was_backward && (v->streak.block || begin_streak(v)) && streak_next(v))
            return;
    }
    keep_key(v, v->key);
    begin(v, false);
    if (v->key_buf.rc) {
        stop(v, v->key_buf.rc);
        return;
    }
    if (was_backward) {         /* the source stands before the current key */
        end_streak(v);
        lsm_iter_seek(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
    } else {
        if (v->streak.block)
            leave_streak(v);
        lsm_iter_next(v->it);
    }
    v->skip = true;
    settle_forward(v);
}

void lsm_visible_prev(struct lsm_visible *v)
{
    bool was_backward = v->backward;

    assert(v->valid);
    if (v->streak.block || v->asks || v->it->begins_block) {
        if (was_backward && (v->streak.block || begin_streak(v)) && streak_prev(v))
            return;
    }
    begin(v, true);
    if (!was_backward) {        /* go before every version of the current key */
        keep_key(v, v->key);
        if (v->key_buf.rc) {
            stop(v, v->key_buf.rc);
            return;
        }
        end_streak(v);
        lsm_iter_seek_prev(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
    } else if (v->streak.block) {
        leave_streak(v);
    }
    settle_backward(v);
}

/* ---- compaction ---- */

void lsm_retain_init(struct lsm_retain *r, struct lsm_os *os, const struct lsm_comparator *cmp,
                     const uint64_t *snapshots, size_t snapshot_count)
{
    memset(r, 0, sizeof *r);
    r->cmp = cmp;
    r->snapshots = snapshots;
    r->snapshot_count = snapshot_count;
    lsm_buf_init(&r->key, os);
}

void lsm_retain_clear(struct lsm_retain *r)
{
    lsm_buf_clear(&r->key);
}

/* The oldest snapshot that sees a row of this seq; UINT64_MAX: only the present does. */
static uint64_t stratum_of(const struct lsm_retain *r, uint64_t seq)
{
    size_t lo = 0, hi = r->snapshot_count;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r->snapshots[mid] >= seq)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < r->snapshot_count ? r->snapshots[lo] : UINT64_MAX;
}

bool lsm_retain_covered(const struct lsm_retain *r, const uint64_t *seqs, uint32_t count, uint64_t seq)
{
    uint64_t stratum = stratum_of(r, seq);

    for (uint32_t i = 0; i < count && seqs[i] > seq; i++)
        if (stratum_of(r, seqs[i]) == stratum)
            return true;
    return false;
}

bool lsm_retain_seen_by_all(const struct lsm_retain *r, uint64_t seq)
{
    return r->snapshot_count == 0 || seq <= r->snapshots[0];
}

bool lsm_retain_row(struct lsm_retain *r, struct lsm_slice key, uint64_t *tag, bool is_bottom)
{
    uint64_t seq = lsm_tag_seq(*tag), stratum = stratum_of(r, seq);
    bool same = r->has_key && lsm_key_compare(r->cmp, key, lsm_buf_slice(&r->key)) == 0;

    assert(lsm_tag_kind(*tag) != LSM_KIND_VOID);
    r->is_older = same;
    if (same && stratum == r->stratum)
        return false;           /* whoever sees it sees the newer one */
    if (!same) {
        keep(&r->key, key);
        r->has_key = true;
    }
    r->stratum = stratum;

    if (is_bottom && lsm_retain_seen_by_all(r, seq)) {
        if (lsm_tag_kind(*tag) == LSM_KIND_DELETE)
            return false;       /* and what is older is in the same stratum: dropped above */
        *tag = lsm_tag(0, lsm_tag_kind(*tag));
    }
    return true;
}
