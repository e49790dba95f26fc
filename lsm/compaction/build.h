/*
 * build.h -- from a sorted stream of versions to new table files: what flush and
 * compaction have in common. Rows that nobody can see are left out; a file is
 * cut at its size and before it overlaps too much of the level below its own.
 * Range deletes are cut with the files: one that reaches over the last row k of
 * a file goes on in the next from k ‖ 0, the first key behind it.
 *
 * A whole block of one input, between whose rows none of another comes and to which nothing is
 * to be done, is copied: it is decoded, for its keys are wanted, but not built and compressed anew,
 * which is most of the work. The output has the same rows either way.
 *
 * Every file is synced before its meta is given out; the directory is not.
 */
#ifndef LSM_COMPACTION_BUILD_H
#define LSM_COMPACTION_BUILD_H

#include "lsm/compaction/values.h"
#include "lsm/store/table_writer.h"
#include "lsm/version/version.h"
#include "lsm/version/visible.h"

struct lsm_build {
    /* ---- the caller fills these ---- */
    struct lsm_os *os;
    struct lsm_dir *dir;
    const uint8_t *uuid;
    uint32_t tree;
    struct lsm_table_options table;
    struct lsm_compressor *compressor;
    uint32_t file_mode;
    struct lsm_values values;           /* where long values go, and its results */
    const uint64_t *snapshots;          /* ascending */
    size_t snapshot_count;
    /* Range deletes among the rows, fragmented with `snapshots` as limits; NULL: none. */
    const struct lsm_ranges *ranges;
    uint64_t file_bytes;                /* cut here; 0: one file */
    const struct lsm_level *grand;      /* below the output level, for cutting; or NULL. file_done may change it */
    uint64_t grand_bytes_max;
    void *ctx;
    uint64_t (*new_file)(void *ctx);    /* a number that sweep leaves alone until the job ends */
    /* May an older version of a row of this key be anywhere else? Asked with ascending keys. NULL: yes. */
    bool (*is_bottom)(void *ctx, struct lsm_slice key);
    /* Is is_bottom surely false for each key in [first, last]? Asked of any keys. NULL: no block is copied. */
    bool (*is_above)(void *ctx, struct lsm_slice first, struct lsm_slice last);
    /* May anything older than a range delete of [lo, hi) be within it, elsewhere? NULL: yes. */
    bool (*is_bottom_range)(void *ctx, struct lsm_slice lo, struct lsm_slice hi);
    /* Should a file end before this key, for the caller's reasons? Asked with ascending keys. May be NULL. */
    bool (*cut)(void *ctx, struct lsm_slice key);
    /* Called every MiB or few thousand rows; non-zero ends the job with that code. May be NULL. */
    int (*pause)(void *ctx);
    /* Read a complete file back, before anything refers to it. May be NULL. */
    int (*verify)(void *ctx, const struct lsm_comparator *cmp, const struct lsm_table_meta *meta);
    void *verify_ctx;
    /* A file is complete and the next row's key is `next` (no data: the end). May be NULL. */
    int (*file_done)(void *ctx, struct lsm_slice next);

    /* ---- results ---- */
    struct lsm_table_meta **metas;      /* owned; created by lsm_table_meta_copy */
    size_t count, cap;
    uint64_t bytes_written, rows_read, rows_written, count_all;     /* also after lsm_build_clear */
    uint64_t bytes_copied;              /* of the written: blocks that were copied, */
    uint64_t bytes_whole;               /* and of these what was copied in whole partitions, and not decoded */
};

/* Drain `it` (not closed). On failure the files made so far are removed (with file_done: only value
   logs that are not finished). */
int lsm_build_run(struct lsm_build *b, struct lsm_iter *it);
void lsm_build_clear(struct lsm_build *b);      /* frees the metas */

#endif
