/*
 * vlog_gc.h -- give back what nobody refers to in a value log: its file is
 * written anew without it, under another number; no table is touched.
 */
#ifndef LSM_COMPACTION_VLOG_GC_H
#define LSM_COMPACTION_VLOG_GC_H

#include "lsm/store/table.h"
#include "lsm/store/vlog.h"
#include "lsm/version/version.h"

struct lsm_vlog_gc {
    struct lsm_os *os;
    struct lsm_dir *dir;
    const uint8_t *uuid;
    uint32_t file_mode;
    struct lsm_tables *tables;
    struct lsm_vlogs *vlogs;
    const struct lsm_comparator *cmp;
    const struct lsm_tree_version *tree;        /* of the log's tree, in the newest version; the caller
                                                   keeps compactions off until the result is installed */
    const struct lsm_vlog_meta *vlog;
    uint64_t number;                    /* of the new file */
    void *ctx;
    int (*pause)(void *ctx);            /* non-zero ends the job with that code. May be NULL. */
};

/* Is a log worth it? Less than half of its values is live. */
static inline bool lsm_vlog_is_garbage(const struct lsm_version_vlog *v)
{
    return v->live_bytes < v->file->meta.value_bytes / 2;
}

/* Write and sync the new file (not the directory). On failure there is none. LSM_CORRUPT: a table, or a
   value that is live, is damaged: the log must stay as it is. */
int lsm_vlog_gc_run(const struct lsm_vlog_gc *gc, struct lsm_vlog_meta *meta);

#endif
