/*
 * divide.h -- where a job may be divided into parts that know nothing of each other:
 * pure, but for the tables that it opens.
 *
 *     level 0    [a        d     h          p      z]   two runs, with the ends of
 *                [b     f            m         t   z]   their index partitions
 *     output     [a c][e   g][h    l][m  p][q    z]
 *     borders            g|          p|                 of three parts: up to g, up to p, the rest
 *
 * A border is the last key of its part: all versions of a key are in one part. It lies
 * where no run of the output's level is open, so that each part, once it is done, can be
 * installed with all that it replaces; and in a tree with a comparator, where there
 * is no first key behind a key, where no run with range deletes is.
 */
#ifndef LSM_COMPACTION_DIVIDE_H
#define LSM_COMPACTION_DIVIDE_H

#include "lsm/compaction/pick.h"
#include "lsm/store/table.h"

struct lsm_borders {
    uint32_t count;             /* parts - 1; 0: the job is not worth it, or cannot be divided */
    struct lsm_buf keys, ends;  /* ends: a size_t each, where the key ends in `keys` */
};

void lsm_borders_init(struct lsm_borders *borders, struct lsm_os *os);
void lsm_borders_clear(struct lsm_borders *borders);
struct lsm_slice lsm_borders_key(const struct lsm_borders *borders, uint32_t i);

/*
 * Parts of about the same size: as many as `parts_max`, or where that is more than slice_bytes each,
 * a multiple of it; at least two outputs each otherwise. LSM_NOMEM, and what opening a table gives.
 */
int lsm_divide(const struct lsm_job *job, const struct lsm_policy *policy, struct lsm_tables *tables,
               const struct lsm_comparator *cmp, uint32_t parts_max, uint64_t slice_bytes,
               struct lsm_borders *borders);

#endif
