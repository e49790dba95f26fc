/*
 * visible.c -- forward: the first version that the snapshot sees decides, the
 * older ones are passed over by key. Backward: versions come oldest first, so
 * the newest one seen so far is kept until the key changes.
 *
 * A compaction may be cut short after some of its outputs were installed; then
 * one row stands in two sources with the same tag. Both passes treat the second
 * one as an older version.
 */
#include "lsm/version/visible.h"

#include <assert.h>

void lsm_visible_init(struct lsm_visible *v, struct lsm_os *os)
{
    memset(v, 0, sizeof *v);
    lsm_buf_init(&v->key_buf, os);
    lsm_buf_init(&v->value_buf, os);
}

void lsm_visible_set(struct lsm_visible *v, struct lsm_iter *it, const struct lsm_comparator *cmp,
                     struct lsm_view_point at)
{
    v->it = it;
    v->cmp = cmp;
    v->at = at;
    v->valid = false;
    v->backward = false;
    v->rc = LSM_OK;
}

void lsm_visible_clear(struct lsm_visible *v)
{
    lsm_buf_clear(&v->key_buf);
    lsm_buf_clear(&v->value_buf);
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

/* Stand on the first visible row at or after the source's position. skip: key_buf is a key whose
   further versions are hidden. */
static void settle_forward(struct lsm_visible *v, bool skip)
{
    struct lsm_iter *it = v->it;

    v->passed_over = 0;
    for (; it->valid; lsm_iter_next(it), v->passed_over++) {
        if (!lsm_view_sees(&v->at, it->tag))
            continue;
        if (skip && lsm_key_compare(v->cmp, it->key, lsm_buf_slice(&v->key_buf)) == 0)
            continue;
        if (lsm_tag_kind(it->tag) == LSM_KIND_DELETE) {
            keep(&v->key_buf, it->key);
            if (v->key_buf.rc) {
                stop(v, v->key_buf.rc);
                return;
            }
            skip = true;
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
    bool found = false;         /* key_buf is the key being looked at, its best version kept */
    uint64_t tag = 0;

    while (it->valid) {
        if (lsm_view_sees(&v->at, it->tag)) {
            bool same = found && lsm_key_compare(v->cmp, it->key, lsm_buf_slice(&v->key_buf)) == 0;
            if (found && !same && lsm_tag_kind(tag) != LSM_KIND_DELETE)
                break;
            if (!same)
                keep(&v->key_buf, it->key);
            tag = it->tag;
            if (lsm_tag_kind(tag) != LSM_KIND_DELETE)
                keep(&v->value_buf, it->value);
            found = true;
            if (v->key_buf.rc || v->value_buf.rc) {
                stop(v, LSM_NOMEM);
                return;
            }
        }
        lsm_iter_prev(it);
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

void lsm_visible_first(struct lsm_visible *v)
{
    if (v->rc)
        return;
    v->backward = false;
    lsm_iter_first(v->it);
    settle_forward(v, false);
}

void lsm_visible_seek(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    v->backward = false;
    lsm_iter_seek(v->it, key, LSM_TAG_MAX);
    settle_forward(v, false);
}

void lsm_visible_last(struct lsm_visible *v)
{
    if (v->rc)
        return;
    v->backward = true;
    lsm_iter_last(v->it);
    settle_backward(v);
}

void lsm_visible_seek_prev(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    v->backward = true;
    lsm_iter_seek_prev(v->it, key, 0);
    settle_backward(v);
}

void lsm_visible_next(struct lsm_visible *v)
{
    assert(v->valid);
    v->valid = false;
    if (v->backward) {
        /* The source stands before the current key, whose bytes are in key_buf. */
        v->backward = false;
        lsm_iter_seek(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
    } else {
        keep(&v->key_buf, v->key);
        if (v->key_buf.rc) {
            stop(v, v->key_buf.rc);
            return;
        }
        lsm_iter_next(v->it);
    }
    settle_forward(v, true);
}

void lsm_visible_prev(struct lsm_visible *v)
{
    assert(v->valid);
    v->valid = false;
    if (!v->backward) {
        /* Go before every version of the current key: the last row below (key, newest tag). */
        v->backward = true;
        keep(&v->key_buf, v->key);
        if (v->key_buf.rc) {
            stop(v, v->key_buf.rc);
            return;
        }
        lsm_iter_seek_prev(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
        /* No row has LSM_TAG_MAX, so what is found has a smaller key. */
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
