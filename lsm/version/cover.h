/*
 * cover.h -- range deletes over the places that a reader merges: memtables,
 * tables and levels, from the newest to the oldest.
 *
 *     place 0   memtable         [d    k)@9
 *     place 1   table       a@7     e@5    m@6      e is gone: place 0 is newer than all of place 1
 *     place 2   level       b@2  [c        m)@3  l@4      l stays: it is newer than the delete beside it
 *
 * A delete of a newer place takes every row of an older one in its stretch,
 * whatever their sequences are: places do not interleave. So an older place is
 * not walked through a stretch but sought behind its end. Within a place the
 * sequences decide.
 *
 * A place's rows are filtered on their way into the merge, so that a reader
 * without range deletes has nothing of all this.
 *
 * Threads: as the iterators, one at a time.
 */
#ifndef LSM_VERSION_COVER_H
#define LSM_VERSION_COVER_H

#include "lsm/store/memtable.h"
#include "lsm/store/table.h"
#include "lsm/version/version.h"
#include "lsm/version/visible.h"

struct lsm_cover;

/* `open` gives run i of a level, as a table with a reference. */
struct lsm_cover_level {
    void *ctx;
    int (*open)(void *ctx, const struct lsm_run *run, struct lsm_table **table);
};

struct lsm_cover *lsm_cover_new(struct lsm_os *os, const struct lsm_comparator *cmp);  /* NULL: no memory */
void lsm_cover_free(struct lsm_cover *cover);   /* after the iterators it filters; NULL is fine */

/* The next older place, if it has range deletes. What is given must outlive the cover, but for the
   table, of which it holds a reference. Its own view point decides which of them count. */
int lsm_cover_add_memtable(struct lsm_cover *cover, const struct lsm_memtable *mem, uint32_t tree,
                           uint64_t seq_add);
int lsm_cover_add_table(struct lsm_cover *cover, struct lsm_table *table, uint64_t seq_add);
int lsm_cover_add_level(struct lsm_cover *cover, const struct lsm_level *level,
                        const struct lsm_cover_level *how);

uint32_t lsm_cover_count(const struct lsm_cover *cover);        /* places added */

/*
 * Filter the rows of a place: deletes of the places added before `own` are of
 * newer places, the one added as `own` (or, when it is lsm_cover_count(), none)
 * is the place's own. Takes *it and gives another in its place; on failure *it
 * is closed.
 */
int lsm_cover_filter(struct lsm_cover *cover, uint32_t newer_count, bool has_own, struct lsm_iter **it);

/* Who reads. Before the first move, and whenever it changes. */
void lsm_cover_set(struct lsm_cover *cover, const struct lsm_view_point *at);

/* Rows that were passed over one by one since the last call. */
uint64_t lsm_cover_passed_over(struct lsm_cover *cover);

#endif
