/*
 * compact.h -- run one job: merge its inputs into the output level.
 *
 * The result is installed in slices: after a bounded amount of output, the runs
 * of the lower side that are used up are replaced by what was written so far.
 * The upper side stays until the end. In between, rows stand in both levels
 * with the same content, which every reader treats as an older version; so a
 * job can be cut short by a crash, a full disk or close, keeps what it
 * installed, and never needs twice the store. A lower run's range deletes go on
 * in an output behind its last row, so such a run is used up only when an output
 * has passed its end.
 */
#ifndef LSM_COMPACTION_COMPACT_H
#define LSM_COMPACTION_COMPACT_H

#include "lsm/compaction/build.h"
#include "lsm/compaction/pick.h"
#include "lsm/store/table.h"
#include "lsm/store/vlog.h"

struct lsm_compact {
    struct lsm_build build;             /* filled by the caller but ranges, grand, is_bottom, file_done,
                                           ctx's use */
    const struct lsm_job *job;
    const struct lsm_tree_version *tree;
    const struct lsm_policy *policy;
    struct lsm_tables *tables;
    struct lsm_vlogs *vlogs;            /* and the version that the job is of: to read values that are */
    const struct lsm_version *version;  /* written anew (rewrite.h). Both may be NULL: none are */
    uint64_t slice_bytes;               /* install after this much output */
    void *ctx;
    uint64_t (*new_file)(void *ctx);
    int (*pause)(void *ctx);
    /* Sync the directory, make the edit durable and current. Called at least once, the last time when
       the job is done. A failure ends the job; what was installed before stays. LSM_NOTFOUND: the tree
       is gone, and nothing of this edit is on disk. */
    int (*install)(void *ctx, struct lsm_edit *edit);

    /* ---- private to compact.c ---- */
    struct lsm_buf rewrite;             /* ids of logs, u64 */
    struct lsm_buf scratch, value;
    size_t installed;                   /* metas of the build that are installed */
    bool uncertain;                     /* install was begun and failed: its edit may be on disk */
    uint32_t lower_done;                /* runs of the lower side that are removed */
    uint64_t slice_bytes_done;
    uint32_t lower_at;                  /* first run of the lower side that does not end before the output */
    uint32_t deeper_at[LSM_LEVEL_COUNT_MAX];
};

/* On failure files that were not installed are removed, unless the failure was install's. */
int lsm_compact_run(struct lsm_compact *c);

#endif
