/*
 * values.h -- the value logs of a build: long values of the rows that pass go to
 * logs of their own, in the order of the keys, and the rows get handles.
 *
 * A log is finished and synced before the tables that refer to it are installed.
 */
#ifndef LSM_COMPACTION_VALUES_H
#define LSM_COMPACTION_VALUES_H

#include "lsm/store/vlog_writer.h"

struct lsm_values {
    /* ---- the caller of the build fills these ---- */
    uint32_t bytes_min;                 /* values of this size and more; 0: none */
    struct lsm_vlog_options options;
    /* Logs whose values are written anew: ids ascending. */
    const uint64_t *rewrite;
    size_t rewrite_count;
    void *ctx;
    /* The value of a handle, until the next call. Only for `rewrite`. */
    int (*read)(void *ctx, const struct lsm_vlog_handle *handle, struct lsm_slice *value);

    /* ---- results ---- */
    struct lsm_vlog_meta *metas;        /* finished logs */
    size_t count, cap;
    size_t installed;                   /* the caller's: metas below are in the MANIFEST */
    uint64_t bytes_written;

    /* ---- private to values.c ---- */
    struct lsm_vlog_writer *writer;
    uint8_t handle[LSM_VLOG_HANDLE_SIZE_MAX];
};

struct lsm_build;

/* What the row is written as: *tag and *value change when the value goes to a log. *value then points
   into the build, until the next call. */
int lsm_values_put(struct lsm_build *b, uint64_t *tag, struct lsm_slice *value);
/* Are any values written anew that these refs (vlog_meta.h) are to? */
bool lsm_values_are_rewritten(const struct lsm_values *v, struct lsm_slice refs);
/* Finish the log that is being written, if there is one. */
int lsm_values_finish(struct lsm_build *b);
/* Give up: remove the files of all logs that are not installed. */
void lsm_values_remove(struct lsm_build *b);
void lsm_values_clear(struct lsm_build *b);

#endif
