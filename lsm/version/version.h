/*
 * version.h -- which tables make up each tree: immutable, counted.
 *
 * Level 0 holds runs that may overlap, newest first (by seq_max). Deeper levels
 * hold tables that do not overlap, in key order. A version shares everything
 * that did not change with the one before it.
 *
 * What is shared is counted one step down: versions count tree versions, these
 * the arrays of their levels, arrays the runs. So an edit costs what it touches.
 *
 * Threads: a version is read by any thread that holds a reference; apply and
 * in_compaction are under the store's mutex.
 */
#ifndef LSM_VERSION_VERSION_H
#define LSM_VERSION_VERSION_H

#include <stdatomic.h>

#include "lsm/version/edit.h"

/* One table file of one tree, shared by all versions that have it. */
struct lsm_run {
    struct lsm_table_meta meta;         /* keys in the same allocation */
    atomic_uint refs;                   /* arrays that have it */
    bool in_compaction;                 /* store's mutex */
    bool goes_deep;                     /* ingested: compressed, and as long as its level allows */
    uint64_t value_bytes;               /* in value logs, of its rows: the sum of meta.refs */
    atomic_uint vain_reads;             /* since it is open: seeks, and gets without a filter, that had to look
                                           into it and older runs (db/vain.c); a move begins anew */
    /* Of a run with range deletes; written by whoever may compact (db/drop.c). */
    atomic_bool is_applied;             /* what lies within them was dropped */
    atomic_bool sinks;                  /* what overlaps them is worth rewriting: due whatever its size */
    atomic_uint_least64_t blocked_by;   /* the snapshot that keeps what lies within them + 1; 0: none */
    /* Of a private table: value logs that come and go with it, and that the MANIFEST does not know yet. What
       else the transaction has may refer to them, too. */
    struct lsm_vlog_meta *vlogs;
    uint32_t vlog_count;
    struct lsm_table *_Atomic table;    /* open, for readers of a version that has it (lsm_tables_get_kept) */
    struct lsm_os *os;
};

/* The file of a value log, shared by all versions that have it. */
struct lsm_vlog_file {
    struct lsm_vlog_meta meta;
    atomic_uint refs;                   /* versions that have it */
    atomic_bool is_damaged;             /* found when it was rewritten: its garbage stays */
    struct lsm_os *os;
};

/* A value log in a version. Live is what the version's tables refer to; between the slices of a
   compaction two tables may refer to one value, and it counts twice. */
struct lsm_version_vlog {
    struct lsm_vlog_file *file;
    uint64_t live_count, live_bytes;    /* sealed, as meta.value_bytes */
};

/* A run of its own, with one reference: a private table before the MANIFEST knows it. */
int lsm_run_new(struct lsm_os *os, const struct lsm_table_meta *meta, struct lsm_run **run);
/* Its value logs, copied; it has none yet. */
int lsm_run_set_vlogs(struct lsm_run *run, const struct lsm_vlog_meta *vlogs, size_t count);
/* NULL: none of these runs brings a log of this id. */
const struct lsm_vlog_meta *lsm_runs_vlog(struct lsm_run *const *runs, uint32_t count, uint64_t id);
void lsm_run_ref(struct lsm_run *run);
void lsm_run_unref(struct lsm_run *run);                /* any thread; NULL is fine */

struct lsm_level {
    struct lsm_run **runs;              /* in an array that versions share; NULL when count is 0 */
    uint32_t count;
    uint64_t bytes;                     /* of their files */
    uint64_t value_bytes;               /* of their runs */
    uint64_t range_deletes;             /* stretches in them */
};

struct lsm_tree_version {
    uint32_t tree;
    atomic_uint refs;
    struct lsm_os *os;
    struct lsm_level level[LSM_LEVEL_COUNT_MAX];
};

struct lsm_version {
    atomic_uint refs;
    struct lsm_os *os;
    struct lsm_tree_version **trees;    /* by id, ascending */
    uint32_t tree_count;
    struct lsm_version_vlog *vlogs;     /* by id, ascending; each has something live */
    uint32_t vlog_count;
    uint64_t number_max;                /* no table of it or of its ancestors has a higher number */
    /* Told once per run, when the last version that has it goes (also at close: set it to NULL in
       the newest version first). From the thread of that unref. May be NULL. */
    void (*obsolete)(void *ctx, const struct lsm_run *run);
    /* The same for the file of a value log. Set behind lsm_version_new; descendants take it over. */
    void (*obsolete_vlog)(void *ctx, const struct lsm_vlog_meta *meta);
    /* The order of a tree's keys. NULL, or a NULL answer: bytes. */
    const struct lsm_comparator *(*comparator)(void *ctx, uint32_t tree);
    void *ctx;                          /* of all three */
};

/* The empty version. Its descendants take over the callbacks. */
int lsm_version_new(struct lsm_os *os, void (*obsolete)(void *ctx, const struct lsm_run *run),
                    const struct lsm_comparator *(*comparator)(void *ctx, uint32_t tree), void *ctx,
                    struct lsm_version **version);
void lsm_version_ref(struct lsm_version *v);
void lsm_version_unref(struct lsm_version *v);          /* any thread; NULL is fine */

/*
 * `base` with `edit` applied, one reference. A table that is removed and added
 * moves: its run stays the same. Comparators of trees that the edit creates are
 * asked for. LSM_NOMEM. LSM_CORRUPT: the edit does not fit (removes what is not
 * there, adds what is there, overlap below level 0, unknown tree or value log).
 */
int lsm_version_apply(const struct lsm_version *base, const struct lsm_edit *edit,
                      struct lsm_version **version);
/* The same in its place: the reference to the one before is given up. A failure leaves it. */
int lsm_version_advance(struct lsm_version **version, const struct lsm_edit *edit);
/* NULL: there is none. */
const struct lsm_tree_version *lsm_version_tree(const struct lsm_version *v, uint32_t tree);
/* Append every table and value log of v to a snapshot edit, which borrows keys: keep v until that is
   done. */
void lsm_version_to_edit(const struct lsm_version *v, struct lsm_edit *edit);

/* NULL: no table refers to a log of this id. */
const struct lsm_version_vlog *lsm_version_vlog(const struct lsm_version *v, uint64_t id);

/* ---- version_vlog.c, for version.c ---- */
/* Give `v`, whose trees are made, the value logs of `base` with `edit`; the runs are those that the
   edit takes out and puts in. LSM_NOMEM. LSM_CORRUPT: a table refers to a log that is not there. */
int lsm_version_apply_vlogs(struct lsm_version *v, const struct lsm_version *base,
                            const struct lsm_edit *edit, struct lsm_run *const *out,
                            size_t out_count, struct lsm_run *const *in, size_t in_count);
void lsm_version_unref_vlogs(struct lsm_version *v, const struct lsm_version *told_by);

/* In a level below 0: index of the first run whose largest key is >= key; count if none. */
uint32_t lsm_level_find(const struct lsm_level *level, const struct lsm_comparator *cmp,
                        struct lsm_slice key);
/* Any run of the level that touches [lo, hi]? is_sorted: false for level 0. */
bool lsm_level_overlaps(const struct lsm_level *level, bool is_sorted,
                        const struct lsm_comparator *cmp, struct lsm_slice lo, struct lsm_slice hi);

#endif
