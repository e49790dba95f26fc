/*
 * job.h -- the jobs of the background: flush_job.c, compact_job.c, and what they have
 * in common, job.c. Which one runs next is worker.c's. Of the others only those who make
 * tables include this: spill.c and ingest.c.
 */
#ifndef LSM_DB_JOB_H
#define LSM_DB_JOB_H

#include "lsm/compaction/build.h"
#include "lsm/db/db.h"

#define LSM_QUIET_WAIT_US 20000u        /* how often an undecided store is looked at */

/* Give back to the kernel what the cache gave up, if that is wanted. No lock held. */
void lsm_job_trim(struct lsm_db *db);
/* Within a job, after each MiB: that, room for the log, and a sync of it that was asked for. No lock held. */
void lsm_job_pause(struct lsm_db *db);
/* All that the tree and the store say about its tables; `snapshots` and `compressor` stay the caller's.
   Level, file size and what lies beneath are the caller's to fill in. */
void lsm_job_build_init(struct lsm_db *db, struct lsm_build *b, const struct lsm_tree *tree,
                        struct lsm_compressor *compressor, const uint64_t *snapshots, size_t snapshot_count);

/* One job each, no lock held. LSM_DONE: nothing is due, or another one runs. */
int lsm_job_drop(struct lsm_db *db);            /* tables that lie within range deletes */
int lsm_job_compact(struct lsm_db *db);         /* the most urgent tree's next compaction */
int lsm_job_reclaim(struct lsm_db *db);         /* the value log with the most garbage */

/* ---- idle.c: the worker has nothing to do; mutex held ---- */
/* true: there may be, since nobody writes. Else *wait_us until it is to ask again; 0: when it is woken. */
bool lsm_idle_begins(struct lsm_db *db, uint64_t *wait_us);
void lsm_idle_put_off(struct lsm_db *db);       /* a flush was not possible: not again at once */

#endif
