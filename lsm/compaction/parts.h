/*
 * parts.h -- the parts of a job that was divided, each by a thread of its own as
 * long as threads are to be had.
 *
 *     part       0        1        2        3        4
 *     keys    ......g| h......p| q......s| t......w| x......
 *              installed  done    runs      runs     not begun
 *
 * The caller's thread leads: it does parts as the others do, and besides, alone, all
 * that concerns the store: it pauses for flushes and installs what is done, in
 * order. Parts that are done may wait for one before them, so no more are
 * begun than one more than there are threads: else the room on disk would not be
 * bounded.
 *
 * A part holds the version of when it was admitted, in which all of its inputs
 * are: installing parts before it takes runs out of the newest one only.
 */
#ifndef LSM_COMPACTION_PARTS_H
#define LSM_COMPACTION_PARTS_H

#include "lsm/compaction/compact.h"
#include "lsm/compaction/divide.h"

#define LSM_PARTS_MAX 16u               /* at once */

/* Build and install all of it. c is begun as lsm_compact_run does it, which clears and, on failure,
   removes what is in c->build; files of parts that are not there yet are removed here. */
int lsm_parts_run(struct lsm_compact *c, const struct lsm_borders *borders);

#endif
