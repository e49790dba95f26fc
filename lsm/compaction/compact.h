/*
 * compact.h -- run one job: merge its inputs into the output level.
 *
 * The result is installed in slices: after a bounded amount of output, the runs
 * that are used up are replaced by what was written so far, and whoever installs
 * lets go of their files. So a job can be cut short by a crash, a full disk or
 * close, keeps what it installed, and needs the room of a slice and of those
 * inputs that reach over all keys (level 0's, as a rule), not twice the store.
 *
 *     level 0    [a                             z]    stays until the end
 *     level 1    [a  d][e     h][i     m][n     z]    goes with what lies under it
 *     level 2    [a b][c  f][g  k][l  p][q  t][u z]
 *     output     [a     f][g  k]| next row: l         gone: a-b, c-f, g-k; a-d, e-h
 *
 * Of an upper run that stays, rows stand in both levels with the same content,
 * which every reader treats as an older version. So a run goes only when all
 * older inputs that it touches go with it: else an older version would be the
 * newest one again, or a range delete would hide rows that are newer, since the
 * output with them lies below it. A run's range deletes go on in an output
 * behind its last row, so a run with some is used up only when an output has
 * passed its end.
 *
 * A large job may be done in parts side by side (divide.h, parts.h): each is a stretch
 * of keys, and a job by itself but for its results, which are installed in order
 * of the keys as slices are. What a part ends with is done, range deletes and all.
 */
#ifndef LSM_COMPACTION_COMPACT_H
#define LSM_COMPACTION_COMPACT_H

#include "lsm/compaction/build.h"
#include "lsm/compaction/pick.h"
#include "lsm/store/table.h"
#include "lsm/store/vlog.h"

struct lsm_compact {
    struct lsm_build build;             /* filled by the caller but ranges, grand, is_bottom, is_above,
                                           file_done, ctx's use */
    struct lsm_job *job;                /* a run that was installed over is NULL in it from then on */
    const struct lsm_tree_version *tree;        /* that the job is of; install may set a newer one */
    const struct lsm_policy *policy;
    struct lsm_tables *tables;
    struct lsm_vlogs *vlogs;            /* and the version of `tree`: to read values that are written anew */
    const struct lsm_version *version;  /* (rewrite.h). Both may be NULL: none are */
    uint64_t slice_bytes;               /* install after this much output */
    uint32_t parts_max;                 /* do it in so many parts at once, if it is large; 0 or 1: it is not divided */
    bool one_thread;                    /* ... one after the other */
    struct lsm_compressor_pool *compressors;    /* for other threads than the caller's; new_file is called by all */
    struct lsm_slice after, upto;       /* only the keys behind `after`, up to and with `upto`. No data: all */
    void *ctx;
    uint64_t (*new_file)(void *ctx);
    int (*pause)(void *ctx);
    /* Sync the directory, make the edit durable and current. Called at least once, the last time when
       the job is done. A failure ends the job; what was installed before stays. LSM_NOTFOUND: the tree
       is gone, and nothing of this edit is on disk. After a success it may give version and tree the
       newest ones: the runs that the edit removed, which may be gone with the old ones, are not used again. */
    int (*install)(void *ctx, struct lsm_edit *edit);

    /* ---- private to compact.c ---- */
    struct lsm_buf rewrite;             /* ids of logs, u64 */
    struct lsm_buf from, to;            /* `after` and `upto` as bounds of range deletes; empty: none */
    struct lsm_buf scratch, value;
    size_t installed;                   /* metas of the build that are installed */
    bool uncertain;                     /* an install failed whose edit may be on disk */
    uint32_t lower_done;                /* runs of the lower side that are removed */
    struct lsm_buf going;               /* struct lsm_run **: places in the job, of the slice that is installed */
    uint64_t slice_bytes_done;
    uint32_t lower_at;                  /* first run of the lower side that does not end before the output */
    uint32_t deeper_at[LSM_LEVEL_COUNT_MAX];
    uint32_t parts_done;                /* a result: of a job that was divided */
};

/* On failure files that were not installed are removed, unless the failure was install's. */
int lsm_compact_run(struct lsm_compact *c);

/* ---- for parts.c ---- */
void lsm_compact_init(struct lsm_compact *c);           /* what is private */
void lsm_compact_clear(struct lsm_compact *c);          /* and what was built, not its files */
/* Write the tables, without installing them. build.cut, build.file_done are the caller's. */
int lsm_compact_build(struct lsm_compact *c);
void lsm_compact_remove(struct lsm_compact *c);         /* the files that are not installed */
/* Install the tables of c->build, which hold all up to and with `upto`; no data: all. */
int lsm_compact_install(struct lsm_compact *c, struct lsm_slice upto);

#endif
