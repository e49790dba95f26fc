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

static void begin(struct lsm_visible *v, bool backward)
{
    v->backward = backward;
    v->valid = v->skip = v->paused = v->passed_own = false;
}

void lsm_visible_set(struct lsm_visible *v, struct lsm_iter *it, const struct lsm_comparator *cmp,
                     struct lsm_view_point at)
{
    v->it = it;
    v->cmp = cmp;
    v->at = at;
    v->pause_after = 0;
    begin(v, false);
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

/*
 * Every row's key is kept for telling the key's further versions from the next key, so
 * both go without a call for keys of usual size. Neighbours differ in their last bytes.
 */
static inline void keep_key(struct lsm_visible *v, struct lsm_slice key)
{
    struct lsm_buf *buf = &v->key_buf;

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

/* Stand on the first visible row at or after the source's position. */
static void settle_forward(struct lsm_visible *v)
{
    struct lsm_iter *it = v->it;
    uint64_t pause_at = v->pause_after ? v->pause_after : UINT64_MAX;

    for (v->passed_over = 0; it->valid; pass_over(v), lsm_iter_next(it)) {
        if (v->passed_over == pause_at) {
            v->paused = true;
            return;
        }
        if (!lsm_view_sees(&v->at, it->tag))
            continue;
        if (v->skip && is_kept(v, it->key))
            continue;
        if (lsm_tag_kind(it->tag) == LSM_KIND_DELETE) {
            keep_key(v, it->key);
            if (v->key_buf.rc) {
                stop(v, v->key_buf.rc);
                return;
            }
            v->skip = true;
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

    for (v->passed_over = 0; it->valid; pass_over(v), lsm_iter_prev(it)) {
        bool same = found && is_kept(v, it->key);

        if (!same && v->passed_over >= pause_at && (!found || lsm_tag_kind(tag) == LSM_KIND_DELETE)) {
            v->paused = true;
            return;
        }
        if (!lsm_view_sees(&v->at, it->tag))
            continue;
        if (found && !same && lsm_tag_kind(tag) != LSM_KIND_DELETE)
            break;
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
    lsm_iter_first(v->it);
    settle_forward(v);
}

void lsm_visible_seek(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, false);
    lsm_iter_seek(v->it, key, LSM_TAG_MAX);
    settle_forward(v);
}

void lsm_visible_last(struct lsm_visible *v)
{
    if (v->rc)
        return;
    begin(v, true);
    lsm_iter_last(v->it);
    settle_backward(v);
}

void lsm_visible_seek_prev(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, true);
    lsm_iter_seek_prev(v->it, key, 0);
    settle_backward(v);
}

/* No row has LSM_TAG_MAX, so what is found has a smaller key. */
void lsm_visible_seek_before(struct lsm_visible *v, struct lsm_slice key)
{
    if (v->rc)
        return;
    begin(v, true);
    lsm_iter_seek_prev(v->it, key, LSM_TAG_MAX);
    settle_backward(v);
}

void lsm_visible_next(struct lsm_visible *v)
{
    bool was_backward = v->backward;

    assert(v->valid);
    begin(v, false);
    if (was_backward) {
        /* The source stands before the current key, whose bytes are in key_buf. */
        lsm_iter_seek(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
    } else {
        keep_key(v, v->key);
        if (v->key_buf.rc) {
            stop(v, v->key_buf.rc);
            return;
        }
        lsm_iter_next(v->it);
    }
    v->skip = true;
    settle_forward(v);
}

void lsm_visible_prev(struct lsm_visible *v)
{
    bool was_backward = v->backward;

    assert(v->valid);
    begin(v, true);
    if (!was_backward) {
        /* Go before every version of the current key. */
        keep_key(v, v->key);
        if (v->key_buf.rc) {
            stop(v, v->key_buf.rc);
            return;
        }
        lsm_iter_seek_prev(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX);
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
