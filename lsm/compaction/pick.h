/*
 * pick.h -- the compaction policy: from the shape of a tree to the next job.
 * Pure: no I/O, no clock, nothing remembered but what is passed in.
 *
 * Leveled. Level 0 holds flushed runs that overlap; it is due by their number,
 * and goes straight to the first level that holds anything while that is small.
 * Level i >= 1 is due by bytes against its target, level_bytes * fan_out^(i-1);
 * or by its values in value logs, once they may shadow a quarter of what lies
 * below. Whatever its size, a run is due
 *
 *     by what it holds in vain    half of it tombstones, or old versions that no snapshot sees any more;
 *                                 in the deepest level, which is rewritten alone, a quarter
 *     by what it deletes          as many bytes in value logs as are rewritten
 *     by reads in vain            what it cost readers: a seek is worth vain_read_bytes of rewriting
 *
 * Where nothing is written, level 0 is due with half as many runs, or as soon as
 * its tombstones are worth it, and any tombstones after age_us.
 * Picks rotate through the key space (LevelDB's compact pointer), so that no
 * range is rewritten again and again while others wait.
 */
#ifndef LSM_COMPACTION_PICK_H
#define LSM_COMPACTION_PICK_H

#include "lsm/version/version.h"

#define LSM_VAIN_READ_BYTES 256u        /* 1 to 2.5 us of a reader, 4 us of the worker */

struct lsm_policy {
    uint32_t level0_runs;       /* due from this many, from half of it where nobody writes; 8 */
    uint64_t level_bytes;       /* target of level 1 */
    uint32_t fan_out;           /* 10 */
    uint64_t file_bytes;        /* outputs are cut here */
    uint64_t overlap_bytes_max; /* outputs are cut before they overlap more than this of the level below */
    uint64_t expand_bytes_max;  /* inputs are widened while they stay below this */
    uint64_t vain_read_bytes;   /* of rewriting that spare one read in vain are worth it */
    uint64_t age_us;            /* then an idle store rewrites what it would leave otherwise */
    uint32_t level0_inputs_max; /* runs of level 0 in one job, each of which has its table open: the
                                   oldest; newer ones may always stay above */
};

/* The policy for a memtable of this size. */
void lsm_policy_init(struct lsm_policy *policy, uint64_t memtable_bytes);

struct lsm_job {
    uint32_t tree, level, output_level;
    struct lsm_run **upper;     /* by level, from `level` down; borrowed from the version */
    uint32_t upper_count;
    uint32_t upper_of[LSM_LEVEL_COUNT_MAX];     /* how many of them are of each level: more than one
                                                   level has some only in lsm_pick_range's jobs */
    struct lsm_run **lower;     /* of output_level */
    uint32_t lower_count;
    bool is_move;               /* nothing overlaps: change the level, touch no byte */
    bool is_partial;            /* lsm_pick_range's: level 0 has more than the policy admits; pick again */
};

struct lsm_pick_state {
    /* Where the last pick in each level ended: the next one begins behind it. */
    struct lsm_buf after[LSM_LEVEL_COUNT_MAX];
    uint64_t seq_oldest;        /* of the snapshots that are open, set before a pick; LSM_SEQ_MAX: none is */
    bool is_idle;               /* set before a pick: nobody writes; level 0 need not gather runs */
    uint64_t now_us;            /* wall clock, set before a pick */
    bool is_waiting;            /* after a pick: there will be more to do when that snapshot is closed, */
    bool is_aging;              /* or when age_us is over, if nobody writes until then */
};
void lsm_pick_state_init(struct lsm_pick_state *state, struct lsm_os *os);
void lsm_pick_state_clear(struct lsm_pick_state *state);

/* How due a level is; 1 and more: due. */
double lsm_level_score(const struct lsm_policy *policy, const struct lsm_tree_version *tree, uint32_t level);

/*
 * The next job of this tree. LSM_DONE: none. LSM_NOMEM. Runs that are
 * in_compaction are left alone. The caller clears the job, which holds no
 * references: the version must outlive it.
 */
int lsm_pick(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
             const struct lsm_comparator *cmp, struct lsm_pick_state *state, struct lsm_os *os,
             struct lsm_job *job);
/*
 * What touches the keys from `begin` up to but not `end` (no data: no bound) into the tree's deepest
 * level: of level 0 with all that overlaps it in turn, of each level below with what touches that. Where
 * that is more of level 0 than a job may take, the oldest sink first. LSM_DONE: it is there already,
 * without tombstones or duplicates to drop.
 */
int lsm_pick_range(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                   const struct lsm_comparator *cmp, struct lsm_slice begin, struct lsm_slice end,
                   struct lsm_os *os, struct lsm_job *job);
void lsm_job_clear(struct lsm_job *job, struct lsm_os *os);

/* The deepest level to which a new run with these bounds can go without passing an older version of
   a key of its: 0 if it overlaps level 0, or what level 0 is compacted into. */
uint32_t lsm_pick_flush_level(const struct lsm_policy *policy, const struct lsm_tree_version *tree,
                              const struct lsm_comparator *cmp, struct lsm_slice lo, struct lsm_slice hi);

#endif
