/*
 * visible.h -- from the history of a key to what a snapshot sees of it. The only
 * file that knows; reads and compaction both use it.
 *
 *     history of k, newest first     snapshot 25   snapshot 12   oldest needed 25
 *       k@30 PUT c                                               kept
 *       k@20 DELETE                    nothing                   kept (25 needs it)
 *       k@10 PUT b                                   b           dropped
 *       k@05 PUT a                                               dropped
 *
 * A transaction's own rows carry seq LSM_SEQ_OWN + op number: above every
 * published row, and bounded by the ops there were when the cursor was opened.
 */
#ifndef LSM_VERSION_VISIBLE_H
#define LSM_VERSION_VISIBLE_H

#include "lsm/format/block.h"
#include "lsm/store/iter.h"
#include "lsm/util/buf.h"

#define LSM_SEQ_OWN (UINT64_C(1) << 55)

struct lsm_view_point {         /* what a reader may see */
    uint64_t seq_max;           /* published rows up to here */
    uint64_t own_max;           /* own rows up to LSM_SEQ_OWN + ops; 0: none */
};

static inline bool lsm_view_sees(const struct lsm_view_point *at, uint64_t tag)
{
    uint64_t seq = lsm_tag_seq(tag);
    return seq <= at->seq_max || (seq > LSM_SEQ_OWN && seq <= at->own_max);
}

/* ---- reading: rows of a snapshot, one per key, tombstones left out ---- */

/*
 * Wraps an iterator over all versions. key and value point into the source or into
 * the buffers here (going backward the newest version comes last, so it has to be
 * kept), until the next move. rc is latched.
 */
struct lsm_visible {
    struct lsm_iter *it;        /* owned by the caller */
    const struct lsm_comparator *cmp;
    struct lsm_view_point at;
    bool valid, backward;
    int rc;
    struct lsm_slice key, value;
    uint64_t tag;               /* the kind tells a value from a handle */
    struct lsm_buf key_buf, value_buf;
    /*
     * A move that goes past `pause_after` rows without finding one (0: any number) stops
     * for a moment: `paused`, not valid, `it` on a row that was not looked at. The reader
     * may know where a row comes; else it lets the move go on.
     */
    uint32_t pause_after;
    bool paused, skip;          /* skip: key_buf is a key whose further versions are hidden */
    bool passed_own;            /* a row of the reader's transaction was among those */
    uint64_t passed_over;       /* rows that the last move went past, since it began or went on, without those leapt over */
    struct lsm_buf unseen_key;  /* of the rows that the reader does not see, every few */
    /*
     * Rows of one block that are all visible and of different keys are read from it, while `it`
     * stands where the streak begins, in the same block (visible.c). block NULL: no streak.
     */
    struct lsm_iter_streak streak;      /* row: forward the one shown, backward the next to look at */
    uint32_t streak_begin;
    uint32_t asks;              /* so many times within a block it is worth to ask for one */
};

/* Does the row shown lie in the block where `it` stands, so that to pin the one keeps the other? */
static inline bool lsm_visible_in_streak(const struct lsm_visible *v)
{
    return v->streak.block != NULL;
}

void lsm_visible_init(struct lsm_visible *v, struct lsm_os *os);
/* Read from another source; keeps its buffers. */
void lsm_visible_set(struct lsm_visible *v, struct lsm_iter *it, const struct lsm_comparator *cmp,
                     struct lsm_view_point at);
void lsm_visible_clear(struct lsm_visible *v);
void lsm_visible_first(struct lsm_visible *v);
void lsm_visible_last(struct lsm_visible *v);
void lsm_visible_seek(struct lsm_visible *v, struct lsm_slice key);
void lsm_visible_seek_prev(struct lsm_visible *v, struct lsm_slice key);
void lsm_visible_seek_before(struct lsm_visible *v, struct lsm_slice key);     /* last row < key */
/* Go on with the move that paused. */
void lsm_visible_resume(struct lsm_visible *v);
void lsm_visible_next(struct lsm_visible *v);
void lsm_visible_prev(struct lsm_visible *v);

/* ---- compaction: which versions somebody may still see ---- */

struct lsm_retain {
    const struct lsm_comparator *cmp;
    const uint64_t *snapshots;  /* ascending; the newest published seq need not be in it */
    size_t snapshot_count;
    struct lsm_buf key;         /* of the last row given */
    bool has_key;
    bool is_older;              /* the last row given has the key of the one before it */
    uint64_t stratum;           /* oldest snapshot that sees the last row given; UINT64_MAX: the present */
};

void lsm_retain_init(struct lsm_retain *r, struct lsm_os *os, const struct lsm_comparator *cmp,
                     const uint64_t *snapshots, size_t snapshot_count);
void lsm_retain_clear(struct lsm_retain *r);
/* Is a row of `seq` hidden by one of these range deletes (descending, at most one between two
   snapshots) from everybody who would see it? */
bool lsm_retain_covered(const struct lsm_retain *r, const uint64_t *seqs, uint32_t count, uint64_t seq);
/* Does everybody see what has this seq? */
bool lsm_retain_seen_by_all(const struct lsm_retain *r, uint64_t seq);
/*
 * Rows in order. False: nobody can see this row any more. `is_bottom`: no older
 * version of the key can be elsewhere; then a tombstone that every snapshot sees
 * goes too, and other rows that every snapshot sees get seq 0 in *tag.
 * When r->key.rc is set (no memory) the answer is void: give up the job, or a key
 * whose tombstone was dropped would come back.
 */
bool lsm_retain_row(struct lsm_retain *r, struct lsm_slice key, uint64_t *tag, bool is_bottom);

#endif
