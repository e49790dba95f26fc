/*
 * rewrite.h -- which value logs a compaction writes anew. Pure.
 *
 * Handles pass through a compaction, so that a value is written once while its
 * key goes down the levels. But then the values of neighbours stand in as many
 * logs as there were flushes. When more than LSM_REWRITE_DEPTH logs would be read
 * by a scan of the output, the smallest are merged into new ones, in key order:
 * at most LSM_REWRITE_SHARE bytes for each byte of values that comes from the
 * upper side, so that a value is rewritten a few times at most.
 *
 * Logs of large values do not count: to read such a value costs more than to find
 * it, in whatever log it stands.
 */
#ifndef LSM_COMPACTION_REWRITE_H
#define LSM_COMPACTION_REWRITE_H

#include "lsm/compaction/pick.h"

#define LSM_REWRITE_DEPTH 8u
#define LSM_REWRITE_SHARE 4u
#define LSM_REWRITE_VALUE_MAX 16384u    /* bytes, sealed, in the mean over the refs to a log */

/* The ids, u64s ascending, of the logs whose values this job writes anew; none: leaves *ids empty.
   LSM_NOMEM. */
int lsm_rewrite_plan(const struct lsm_job *job, struct lsm_buf *ids);

#endif
